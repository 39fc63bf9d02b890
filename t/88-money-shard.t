# One primary of a cluster comes back empty, and another one has the database's identity: its tenants are lost, and not what they have been
# sold. Nobody takes that away from them by himself.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'it has a cluster of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t     = Test::Lines->new;
my $redis = $t->redis(kind => 'cluster');
my $s     = Test::Lines::Scenario->new(t => $t, redis => $redis, agent => 'daily=unlimited monthly=unlimited', operations => Test::Lines::Scenario->new->operations . ' audit=10ms pass=200ms');
my $nginx = $s->nginx(server => 'location = /metrics { lines_metrics; }');
$nginx->allow(qr/is known, and lost|lines audit: /);
my $audit = Test::Lines::Audit->new(scenario => $s);

sub at ($key) { $redis->node_of($key)->port }

# tenants on a primary that has nothing that is not a tenant's
my %taken = map { (at("lines:{$_}") => 1) } qw(database tenants);
my ($free) = grep { !$taken{$_} } map { $_->port } @{$redis->nodes};
my ($account, $workspace) = map { my $of = $_; (grep { at("lines:{$of:$_}:t") == $free } map {"t$_"} 1 .. 100)[0] } qw(a w);

$s->numbers(9);

# what is sold in the second of its birth may be older than the database
wait_for(sub { my $born = $redis->cli('HGET', 'lines:{database}', 'born'); $born && time > $born / 1000 }, 10, 'a later second');

promise 'FLUSHALL of one primary: nothing is canceled or refunded, the auditor shows it, and so it stays when they renew' => sub {
    my @lines = ($s->bought_line(name => $account), $s->active_line(name => $workspace));
    $s->rest($_->{tenant}) for @lines;
    $audit->whole_pass;
    my ($node) = grep { $_->port == $free } @{$redis->nodes};
    $node->cli('FLUSHALL');
    $audit->whole_pass for 1 .. 2;
    for my $line (@lines) {
        $audit->shows(orphan => $line->{line}, 'shown', qr/^its tenant is lost$/, qr/^active$/);
        $s->sandbox->renew($line->{subscription});
    }
    $s->sandbox->wait_idle;
    $audit->whole_pass for 1 .. 2;
    for my $line (@lines) {
        my ($paid, $back, $status) = $s->money($line->{subscription});
        is $status, 'active', "$line->{tenant}: it goes on";
        is $back, 0, '... and nothing was given back';
    }
    like $redis->cli('HGET', 'lines:{inv}:numbers', $lines[0]{number}), qr/^assigned /, 'its number is nobody else\'s'
      if at('lines:{inv}:numbers') != $free;

    # the operator's word: it is there again, without a line
    $s->account($account);
    $audit->soon(sub { my ($paid, $back) = $s->money($lines[0]{subscription}); $paid && $paid == $back }, 'who is put there again has back what no line is for');
    is +($s->money($lines[1]{subscription}))[1], 0, '... and nobody else';
}, leaves => 1;    # what is lost is left alone

promise 'the primary of the list of tenants comes back empty: whose line is in an index elsewhere is known by that' => sub {
    my $home = at('lines:{tenants}');
    my ($name) = grep { at("lines:{a:$_}:t") == $home } map {"u$_"} 1 .. 100;
    my $of = $s->account($name);
    my $line;
    for my $try (1 .. 5) {
        $line = $s->bought_line(name => $name, account => $of, key => "k$try");
        last if at("lines:{ix:$line->{line}}") != $home;
        $line = undef;
    }
    plan skip_all => 'all on one primary' unless $line;
    $s->rest($line->{tenant});
    my ($node) = grep { $_->port == $home } @{$redis->nodes};
    $node->cli('FLUSHALL');
    $audit->shows(orphan => $line->{line}, 'shown', qr/^its tenant is lost$/, qr/^active$/);
    $audit->whole_pass for 1 .. 2;
    my (undef, $back, $status) = $s->money($line->{subscription});
    is "$status $back", 'active 0', 'it goes on';
}, leaves => 1;    # what is lost is left alone

promise 'a tenant is lost while it is to pay, and the list of tenants with it: a day later it is known still whose that is' => sub {
    my $soon = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' hint=1s late=500ms audit=10ms pass=200ms');
    my $its  = $soon->redis;
    my $node = $soon->nginx;
    $node->allow(qr/is known, and lost|lines audit: /);
    wait_for(sub { my $born = $its->cli('HGET', 'lines:{database}', 'born'); $born && $its->client->time->[0] > $born / 1000 }, 10, 'a later second');
    my $line = $soon->pending_line;
    $soon->rest($line->{tenant});
    my @keys = $its->client->keys("lines:{$line->{tenant}}:*");
    $its->cli('RENAME', $_, "lost:$_") for @keys;
    $its->cli('DEL', 'lines:{tenants}');
    $soon->due($line->{tenant}, $line->{line}, 0);
    wait_for(sub { !defined $soon->hint($line->{tenant}, $line->{line}) }, 30, 'its hint to go');

    # what goes in a day goes now
    my $ix = "lines:{ix:$line->{line}}";
    $its->cli('DEL', $ix) if $its->cli('TTL', $ix) > 0;
    $soon->sandbox->pay($line->{invoice});
    $soon->sandbox->wait_idle;
    Test::Lines::Audit->new(scenario => $soon)->whole_pass for 1 .. 2;
    my (undef, $back, $status) = $soon->money($line->{subscription});
    is "$status $back", 'active 0', 'what it has paid is not given back';

    $its->cli('RENAME', "lost:$_", $_) for grep { $its->cli('EXISTS', "lost:$_") } @keys;
    $its->cli('SADD', 'lines:{tenants}', $line->{tenant});
    $soon->soon(sub { $soon->now_of($line)->{status} eq 'provisioning' }, 'and it has its line once it is there again', 20);
};

promise 'the list of tenants is lost: who has a line that is paid for is found, and listed again' => sub {
    $s->numbers(2);
    my $line = $s->bought_line;
    $s->rest($line->{tenant});
    $redis->cli('DEL', 'lines:{tenants}');
    $audit->shows(hint => $line->{line}, 'repaired', qr/^its tenant is not listed$/, qr/^active$/);
    ok $redis->cli('SISMEMBER', 'lines:{tenants}', $line->{tenant}), 'so that its lines, and its operations, are looked at';
};

$t->done;
