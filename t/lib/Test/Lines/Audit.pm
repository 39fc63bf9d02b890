package Test::Lines::Audit;
use Mojo::Base -base, -signatures;

use Test::Lines qw(wait_for);
use Test::More ();
use Time::HiRes ();

=head1 NAME

Test::Lines::Audit - what the auditor shows of a scenario

=head1 SYNOPSIS

    my $nginx = $s->nginx(server => 'location = /metrics { lines_metrics; }');
    my $audit = Test::Lines::Audit->new(scenario => $s);

    $audit->shows(orphan => $line->{line}, 'repaired', qr/^no such line$/, qr/^active$/);
    $audit->gone(orphan => $line->{line});
    $audit->whole_pass;
    is $audit->counted('orphan'), 1, 'counted once';

=head1 DESCRIPTION

=head2 scenario

A L<Test::Lines::Scenario>, whose first nginx is asked.

=cut

has 'scenario';

=head2 list, found

    my $disagreements = $audit->list;                 # GET audit
    my $one           = $audit->found($kind, $id);    # nothing where it is not shown

=head2 pass

The auditor's own record in Redis.

=head2 counted

How often a kind was counted, as the metrics tell.

=cut

sub list ($self) { $self->scenario->first->admin(GET => 'audit')->json('/disagreements') }

sub found ($self, $kind, $id) { (grep { $_->{kind} eq $kind && $_->{id} eq $id } @{$self->list})[0] }

sub pass ($self) { return {@{scalar $self->scenario->redis->cli('HGETALL', 'lines:{audit}')}} }

sub counted ($self, $kind) {
    return ($self->scenario->first->get('/metrics')->body =~ /^lines_audit_disagreements_total\{kind="$kind"\} (\d+)/m)[0] // 0;
}

=head2 whole_pass

Waits for the end of a pass that begins after now. What it waits in vain for is
that the pass goes on at all (30 s): how long one takes is the machine's affair.

=cut

sub whole_pass ($self, $seconds = 30) { $self->_passes($seconds, sub { 0 }) }

sub _passes ($self, $seconds, $enough) {
    my $now = $self->scenario->redis->client->time;
    my $ms  = $now->[0] * 1000 + int $now->[1] / 1000;
    my $at  = '';
    my ($began, $until);

    # the next one may begin as soon as it ends
    wait_for(sub {
        return 1 if $enough->();
        my $pass = $self->pass;
        my $is   = join ' ', map { $pass->{$_} // '' } qw(began phase cursor ended);
        ($at, $until) = ($is, Time::HiRes::time() + $seconds * ($ENV{LINES_SLOW} || 1)) if !$until || $is ne $at;
        die "waited in vain for the pass to go on: $at\n" if Time::HiRes::time() > $until;
        $began //= $pass->{began} if ($pass->{began} // 0) > $ms;
        return $began && ($pass->{ended} // 0) >= $began;
    }, 10 * $seconds, 'a pass');
}

=head2 one_pass

Asks for a pass, and waits for its end: no other follows where passes are rare.

=cut

sub one_pass ($self, $seconds = 120) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $now = $self->scenario->redis->client->time;
    Test::More::is($self->scenario->first->admin(POST => 'audit', {})->status, 200, 'a pass is asked for');
    wait_for(sub {
        my $pass = $self->pass;
        return ($pass->{began} // 0) >= 1000 * $now->[0] + $now->[1] / 1000 && ($pass->{ended} // 0) >= $pass->{began};
    }, $seconds, 'the pass');
}

=head2 soon

    $audit->soon(sub { ... }, 'what the auditor sees to');

A check that polls: what is to be so once a whole pass has seen all, and some
seconds later at the latest.

=cut

sub soon ($self, $code, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    eval { $self->_passes(15, $code) };
    return $self->scenario->soon($code, $what, 15);
}

=head2 shows

    my $one = $audit->shows($kind, $id, $outcome, qr/this side/, qr/the other/);

Tests that it is found, with both sides, and counted.

=head2 gone

Tests that it is not shown any more.

=cut

sub shows ($self, $kind, $id, $outcome, $here, $there) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $one;
    $self->soon(sub { $one = $self->found($kind, $id) }, "$kind: found") or return $self->_diag;
    Test::More::is($one->{outcome}, $outcome, "... and $outcome");
    Test::More::like($one->{here},  $here,  '... this side is told');
    Test::More::like($one->{there}, $there, '... and the other');
    Test::More::cmp_ok($self->counted($kind), '>=', 1, '... and counted');
    return $one;
}

sub gone ($self, $kind, $id) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $self->soon(sub { !$self->found($kind, $id) }, "$kind: not shown any more") or $self->_diag;
}

sub _diag ($self) { Test::More::diag(Test::More::explain($self->list)) }

1;
