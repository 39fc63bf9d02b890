package Test::Lines::Kill;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Test::Lines ();
use Test::Lines::Util qw(write_file);
use Test::More ();

=head1 NAME

Test::Lines::Kill - scenarios whose worker is killed at one of their steps

=head1 SYNOPSIS

    LINES_KILL=0 perl t/88-money-lapse.t          # how many steps each scenario has
    LINES_KILL=7 perl t/88-money-lapse.t          # a kill at the seventh of each
    LINES_KILL=op.answer.lapse.read:2 LINES_SCENARIO='no state but a final one ends a line' perl t/88-money-lapse.t

=head1 DESCRIPTION

A step is a pass of any failpoint of any node: both sides of each call of an
operation, of each script that writes, and of what a request writes. At the one
that is the LINES_KILL-th since a scenario (a C<promise> of
L<Test::Lines::Scenario>) began, or the N-th of those with a NAME, its worker is
killed with SIGKILL. The scenario must end as it does otherwise.

Meanwhile clients are as clients are: one whose request breaks off, or is told
to try again, since a worker was killed, asks again, with the same idempotency
key. What a client is told at the moment is no end: C<calm> of
L<Test::Lines::Scenario> says so at the place.

=over

=item LINES_SCENARIO

Names of scenarios, by newlines: the others are left out.

=item LINES_KILL_LOG

A file that gets a line of JSON for each scenario: test, name, steps (the points
that were passed), where (the one of the kill, or null), ok.

=back

=head2 killing

    my $kill = Test::Lines::Kill->killing;

The one of this process, or undef where nobody is killed.

=cut

sub killing ($class) {
    state $one = length($ENV{LINES_KILL} // '') ? $class->new : undef;
    return $one;
}

has n     => sub { ($ENV{LINES_KILL} =~ /(\d+)$/)[0] };
has point => sub { $ENV{LINES_KILL} =~ /^(.+):\d+$/ ? $1 : '' };
has only    => sub { length($ENV{LINES_SCENARIO} // '') ? {map { $_ => 1 } split /\n/, $ENV{LINES_SCENARIO}} : undef };
has nginxes => sub { [] };
has worlds  => sub { {} };
has known   => sub { {} };
has 'file';

=head2 options, node

    my $nginx = $kill->node($t->nginx($kill->options($t, %options)));

A node with the counter, whose clients are such ones.

=cut

sub options ($self, $t, %options) {
    $self->file($t->file('kill', pack 'q a120', $self->{left} // 0, $self->point)) unless $self->file;
    return (%options, module => 'failpoints', http => '    lines_failpoint ' . $self->file . ";\n" . ($options{http} // ''));
}

sub node ($self, $nginx) {
    bless $nginx, 'Test::Lines::Kill::Nginx';
    push @{$self->nginxes}, $nginx;
    # a worker may die within a lock of the zone, which nginx then opens by force; and what is away for as long as
    # clients go on to ask is told of: how it ends is for the scenario to say
    return $nginx->allow(qr/exited on signal 9|was locked by|is stuck: no_answer/);
}

=head2 left

How many passes are left until the kill; less than one: it has been.

=cut

sub left ($self, $new = undef) {
    return $self->{left} = $new // $self->{left} // 0 unless $self->file;
    open my $file, '+<:raw', $self->file or croak $!;
    sysread $file, my $bytes, 8;
    if (defined $new) { sysseek $file, 0, 0; syswrite $file, pack 'q', $new }
    return unpack 'q', $bytes;
}

=head2 judge

What no scenario looks for by itself: that a kill has made nothing besides. What
was found before is not found again.

=cut

sub judge ($self, %options) {
    my @except = qw(live paid suspended ends place counter pending number window operation hint record);
    my @new;

    eval {
        Test::Lines::wait_for(sub {
            @new = grep { !$self->known->{$_} } map { $_->disagreements(except => \@except) } values %{$self->worlds};
            return !@new;
        }, $options{leaves} ? 0 : 10);
    };

    $self->known->{$_} = 1 for @new;
    return if $options{leaves};
    Test::More::is_deeply(\@new, [], 'and there is nothing besides');
}

=head2 scenario

    $kill->scenario($name, $code);

Runs it, armed.

=cut

sub scenario ($self, $name, $code) {
    return if $self->only && !$self->only->{$name};
    # a test with many has longer, by what each may wait for
    alarm 300 * ($ENV{LINES_SLOW} || 1);
    my %marks = map { ($_ => $_->log_mark) } @{$self->nginxes};

    $self->left($self->n);
    $code->();
    my $killed = $self->n && $self->left(0) <= 0;

    my (@where, @steps);
    for my $nginx (@{$self->nginxes}) {
        my $log = $nginx->error_log($marks{$nginx} // 0);
        push @where, $log =~ /lines: failpoint "([^"]+)"/g;
        push @steps, $log =~ /lines: passes "([^"]+)"/g;
    }
    Test::More::diag("$name: " . ($self->n ? $killed ? "killed at " . ($where[-1] // "?") : 'nobody is killed' : @steps . ' steps'));

    my $log = $ENV{LINES_KILL_LOG} or return;
    my $ok  = (Test::More->builder->details)[-1]{ok} ? 1 : 0;
    open my $file, '>>', $log or croak "$log: $!";
    print $file encode_json({test => $0, name => $name, steps => \@steps, where => $killed ? $where[-1] : undef, ok => $ok}), "\n";
}


# a node and its clients, who ask again

package Test::Lines::Kill::Nginx;
use Mojo::Base 'Test::Lines::Nginx', -signatures;

our $once = 0;
my $asked = 0;
my $patience = 30;

# since a kill fell into it
sub _again ($answer) { $answer->status =~ /^(?:0|503)$/ || ($answer->status == 409 && $answer->header('Retry-After')) }

sub _armed ($) { my $kill = Test::Lines::Kill->killing; return $kill->left > 0 }

sub _keyed ($method, $path, $headers) {
    return $headers if $method ne 'POST' || $path !~ m{/(?:line-requests|provision-confirm)$};
    return {'Idempotency-Key' => 'asked' . ++$asked, %{$headers // {}}};
}

sub request ($self, $method, $path, $headers = {}, $body = undef) {
    my $armed  = $self->_armed;
    my @call   = ($method, $path, _keyed($method, $path, $headers), $body);
    my $answer = $self->SUPER::request(@call);
    return $answer if $once || !$armed || $self->_armed;

    # they know no better than to go on for a while, which outlasts a lease, and ask less and less often
    my $end = time + $patience;
    for (my $pause = 0.2; _again($answer) && time < $end; $pause *= 2) {
        Mojo::Promise->timer($pause)->wait;
        $answer = $self->SUPER::request(@call);
    }
    return $answer;
}

sub request_p ($self, $method, $path, $headers = {}, $body = undef) {
    my $armed = $self->_armed;
    my @call  = ($method, $path, _keyed($method, $path, $headers), $body);
    my $end   = $once ? 0 : time + $patience;
    my $pause = 0.1;

    my $ask;
    $ask = sub {
        return $self->SUPER::request_p(@call)->then(sub ($answer) {
            return $answer if !$armed || $self->_armed || !_again($answer) || time > $end;
            return Mojo::Promise->timer($pause *= 2)->then($ask);
        });
    };
    return $ask->();
}

# there is one to kill
sub kill_worker ($self, @args) {
    $self->t->wait_for(sub { $self->pids >= $self->workers }, 30, 'workers');
    return $self->SUPER::kill_worker(@args);
}

1;
