# After a restart of Redis, or a failover, what was written last may be missing: the auditor does not wait for its next pass.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t     = Test::Lines->new;
my $s     = Test::Lines::Scenario->new(t => $t, operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=1s poll=1s every=1h audit=20ms pass=1h');
my $redis = $s->redis;
my $nginx = $s->nginx;

$nginx->allow(qr/lines/);

sub began { $redis->cli('HGET', 'lines:{audit}', 'began') // 0 }

promise 'as long as the same server answers, none begins before it is due' => sub {
    wait_for(sub { $redis->cli('HGET', 'lines:{audit}', 'servers') }, 30, 'the server to be known');
    $nginx->reload;
    $nginx->admin(GET => 'audit') for 1 .. 50;
    is began(), 0, 'not after a reload either';
};

promise 'another server: one pass at once, to its end' => sub {
    for my $time (1, 2) {
        my $before = began();
        $redis->kill;
        $redis->start;
        $nginx->wait_redis;
        wait_for(sub { began() > $before }, 30, 'a pass');
        my $began = began();
        wait_for(sub { ($redis->cli('HGET', 'lines:{audit}', 'ended') // 0) >= $began }, 60, 'its end');
        $nginx->admin(GET => 'audit') for 1 .. 50;
        is began(), $began, "time $time: and no more";
    }
};

$t->done;
