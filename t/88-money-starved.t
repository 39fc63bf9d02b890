# What cannot be run is out of the way of what can: it starves nobody.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

# an invoice is looked at once, soon, and then after an hour
my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=1s poll=500ms every=1h');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx;

# one that is due, and sixteen that are due for longer in the same list
sub behind_sixteen ($each) {
    my $line = $s->pending_line;
    my ($shard, $n) = ($s->shard($line->{line}), 0);
    wait_for(sub { ($s->hint($line->{tenant}, $line->{line}) // 0) > (time + 60) * 1000 }, 30, 'its rest, after the first poll');
    $s->deaf;
    $sandbox->pay($line->{invoice});

    for my $i (1 .. 16) {
        my $id;
        do { $id = sprintf '%024x', ++$n } until $s->shard($id) == $shard;
        $each->("w:$line->{name}", $id);
    }
    $s->due($line->{tenant}, $line->{line}, 1000 * time);

    my $ok = $s->soon(sub { $s->is_live($line) }, 'the seventeenth is on time', 2.5);
    $redis->cli('DEL', "lines:{due:$shard}");
    $redis->cli('DEL', $_) for grep {/:op:0{8}/} $redis->client->keys("lines:{$line->{tenant}}:op:*");
    $s->hears;
    return $ok;
}

promise 'sixteen of a kind that a newer release began: the seventeenth is on time' => sub {
    $nginx->allow(qr/\[alert\].*unknown kind "tomorrow\.send"/);
    behind_sixteen(sub ($tenant, $id) {
        $redis->cli('HSET', "lines:{$tenant}:op:$id", kind => 'tomorrow', step => 'send', attempt => 1, fence => 1, lease_until => 0);
        $s->due($tenant, $id, 1000);
    });
};

promise 'sixteen of a step that is not known: the seventeenth is on time' => sub {
    $nginx->allow(qr/\[alert\].*no such step "request\.tomorrow"/);
    behind_sixteen(sub ($tenant, $id) {
        $redis->cli('HSET', "lines:{$tenant}:op:$id", kind => 'request', step => 'tomorrow', attempt => 1, fence => 1, lease_until => 0);
        $s->due($tenant, $id, 1000);
    });
};

promise 'sixteen that a node held that is gone, for longer than any lease: the seventeenth is on time' => sub {
    behind_sixteen(sub ($tenant, $id) {
        $redis->cli('HSET', "lines:{$tenant}:op:$id", kind => 'request', step => 'send', attempt => 1, fence => 1, lease_until => (time + 600) * 1000);
        $s->due($tenant, $id, 1000);
    });
};

promise 'sixteen that say nothing: the seventeenth is on time' => sub {
    $nginx->allow(qr/\[error\].*"nothing[0-9a-f]{24}" in the list "due" names no operation/);
    behind_sixteen(sub ($tenant, $id) { $redis->cli('ZADD', 'lines:{due:' . $s->shard($id) . '}', 1000, "nothing$id") });
};

promise 'sixteen of operations that are not there: the seventeenth is on time' => sub {
    behind_sixteen(sub ($tenant, $id) { $s->due($tenant, $id, 1000) });
};

$t->done;
