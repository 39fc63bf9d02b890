package Test::Lines::Chaos;
use Mojo::Base -base, -signatures;

use Mojo::IOLoop;
use Test::Lines ();
use Test::More ();
use Time::HiRes ();

=head1 NAME

Test::Lines::Chaos - clients that do all that clients do, while things go wrong

=head1 SYNOPSIS

    my $requests = Test::Lines::Chaos::Requests->new(shop => $paid, nginxes => \@nginx);
    $requests->begin(map { {workspace => $_} } @workspaces);
    ...;    # what goes wrong
    $requests->end;
    is_deeply [$requests->lost], [], 'lines that were promised are there';
    $requests->say;

=head1 DESCRIPTION

What L<Test::Lines::Chaos::Requests> (workspaces) and
L<Test::Lines::Chaos::Confirms> (accounts) share: clients, each of which does a
C<deed> after the other. C<shop> is a L<Test::Lines::Paid>; with C<hands>
support cancels, credits and suspends at billing as well; C<pause> is how long a
client waits between two deeds, from and how much more at the most.

=head2 answers

How often what was answered how: C<< $answers->{create}{201} >>.

=head2 promised

What was acknowledged: a hash each, with C<at>, when.

=head2 failed

Answers that nobody may get: a 500, and a 503 that does not say when to come back.

=cut

has [qw(shop hands)];
has nginxes  => sub { [] };
has pause    => sub { [0.01, 0.1] };
has answers  => sub { {} };
has promised => sub { [] };
has failed   => sub { [] };

sub pick ($self, @list) { $list[rand @list] }

sub nginx ($self) { $self->pick(@{$self->nginxes}) }

sub admin ($self) { return {Authorization => 'Bearer ' . $self->shop->t->admin_token} }

sub promise ($self, %what) { push @{$self->promised}, {%what, at => Time::HiRes::time()} }

sub note ($self, $what, $answer) {
    my ($status, $error) = ($answer->status, $answer->json('/error') // '');

    $self->answers->{$what}{$status}++;

    push @{$self->failed}, "$what: " . $answer->to_string
      if ($status == 500 && $error ne 'provisioning_failed') || ($status == 503 && $error ne 'no_lines_available' && !$answer->header('Retry-After'));

    return $answer;
}

=head2 begin, end

Clients begin; and they end, each when what it does is answered.

=cut

sub begin ($self, @clients) {
    $self->{over} = 0;
    for my $client (@clients) { $self->{running}++; $self->_live($client) }
    return $self;
}

sub _live ($self, $client) {
    return $self->{running}-- if $self->{over};
    my ($least, $more) = @{$self->pause};
    $self->deed($client)->catch(sub ($error) { $self->answers->{error}{$error}++ })->finally(sub {
        Mojo::IOLoop->timer($least + rand($more) => sub { $self->_live($client) });
    });
    return;
}

sub end ($self) {
    $self->{over} = 1;
    Test::Lines::wait_for(sub { !$self->{running} }, 120, 'the clients to end');
    return $self;
}

=head2 moment

    $chaos->moment(1.5);

Some time, so long at the most, while clients go on.

=cut

sub moment ($self, $longest) {
    my $until = Time::HiRes::time() + rand($longest);
    Test::Lines::wait_for(sub { Time::HiRes::time() > $until }, $longest + 5, 'a moment');
}

sub say ($self) {
    for my $what (sort keys %{$self->answers}) {
        my $of = $self->answers->{$what};
        Test::More::diag("$what: " . join ', ', map {"$_ $of->{$_}"} sort keys %$of);
    }
}

1;
