# The pass over all tenants: no faster than Redis notices, also of those that were deleted, and also where nobody asks for metrics.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time);
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $t     = Test::Lines->new;
my $paid  = Test::Lines::Paid->new(t => $t, operations => 'sweep=1h walk=100ms due=1h');
my $redis = $paid->redis;

sub hint ($id) {
    return grep { defined } map { $redis->cli('ZSCORE', "lines:{due:$_}", $id) } 0 .. 15;
}

# an operation that somebody has in hand, and whose hint is lost
sub unfinished ($tenant, $id) {
    $redis->cli('SADD', "lines:{w:$tenant}:ops", $id);
    $redis->cli('HSET', "lines:{w:$tenant}:op:$id", 'kind', 'request', 'step', 'tell', 'attempt', 1, 'fence', 1, 'begun', time * 1000 % 1e15, 'lease_until', (time + 86400) * 1000);
}

subtest 'without lines_metrics' => sub {
    my $nginx = $paid->nginx(name => 'none');
    $nginx->workspace(one => {plan => 'paid', customer => 'cus_card'});
    unfinished(one => 'a' x 24);
    wait_for(sub { hint('w:one ' . 'a' x 24) }, 30, 'its hint');
    pass 'a hint that was lost is written again';

    # what a deleted tenant left: an operation that gives back; a walk between these two takes who has none off the list
    unfinished(gone => 'b' x 24);
    $redis->cli('SADD', 'lines:{orphaned}', 'w:gone');
    wait_for(sub { hint('w:gone ' . 'b' x 24) }, 30, 'its hint');
    pass '... of a tenant that was deleted, too';
    $nginx->quit;
};

subtest 'a thousand tenants a second' => sub {
    my $n = 3000;
    $redis->client->eval('for i = 1, ARGV[1] do redis.call("SADD", KEYS[1], "w:many" .. i) end', 1, 'lines:{tenants}', $n);
    $redis->client->hset("lines:{w:many$n}", 'x', 1);

    my $began = time;
    my $nginx = $paid->nginx(name => 'many', server => 'location = /numbers { lines_metrics survey=1s; }');
    $redis->cli('DEL', 'lines:{survey}:2');
    my $held = 0;
    my $of   = sub ($name) { $nginx->get('/numbers')->body =~ /^\Q$name\E (\d+)$/m ? $1 : 0 };
    wait_for(sub { $held ||= $redis->cli('EXISTS', 'lines:{survey}:lease'); $of->('lines_tenants') >= $n }, 60, 'all of them');
    cmp_ok time - $began, '>=', $n / 1000 * 0.9, 'are counted, and Redis has time for others';
    ok $held, 'by one node at a time';
    is $of->('lines_operations{state="running"}'), 2, 'with the operations of those that are gone';

    # who counts dies on its way
    $nginx->allow(qr/exited on signal 9/);
    $redis->cli('DEL', 'lines:{survey}:2');
    wait_for(sub { $redis->cli('EXISTS', 'lines:{survey}:lease') }, 30, 'the next pass');
    kill KILL => $nginx->pids;
    wait_for(sub { $redis->cli('HGET', 'lines:{survey}:2', 'at') }, 25, 'another');
    pass 'another counts for one that has died';
    $nginx->quit;
};

$t->done;
