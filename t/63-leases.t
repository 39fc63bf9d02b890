# sync=lease: what four nodes let through together is bounded, debts are paid, nobody waits, and all is settled whoever dies.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use IO::Select;
use List::Util qw(max min);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $redis = $t->redis;

# the bound: burst + rate * span + burst / 2, however many nodes
my ($nodes, $rate, $burst) = (4, 100, 100);

my $server = <<"END";
location = /metrics { lines_metrics; }
location /bound/ { lines_rate_limit rate=${rate}r/s burst=$burst key=\$arg_who name=bound; empty_gif; }
location /wide/  { lines_rate_limit rate=50000r/s burst=2000 key=ip name=wide; empty_gif; }
location /debt/  { lines_rate_limit rate=1r/h burst=100 key=\$arg_who name=debt; empty_gif; }
location /back/  { lines_rate_limit rate=1r/h burst=200 key=\$arg_who name=back; empty_gif; }
location /many/  { lines_rate_limit rate=1r/h burst=200 key=\$arg_who name=many; empty_gif; }
location /crowd/ { lines_rate_limit rate=1r/h burst=200 key=\$arg_who name=crowd; empty_gif; }
location /small/ { lines_rate_limit rate=1r/h burst=9 key=\$arg_who name=small; empty_gif; }
location /pair/ {
    lines_rate_limit rate=1r/h burst=2 key=\$arg_part name=narrow;
    lines_rate_limit rate=1r/h burst=200 key=\$arg_who name=pair;
    empty_gif;
}
END

my @nodes = map {
    $t->nginx(redis => $redis, redis_options => 'timeout=10s silence=10s', workers => 2, server => $server, keepalive => 100);
} 1 .. $nodes;

sub redis_time { my ($s, $us) = @{$redis->cli('TIME')}; return $s + $us / 1e6 }

# tokens that Redis knows to be gone, of a bucket that hardly refills
sub gone ($name, $who) {
    my ($key) = $redis->cli('KEYS', "lines:{l:*}:b:$name:" . sha256_hex($who));
    my ($tat) = $key ? $redis->cli('GET', $key) =~ /^(\d+)/ : ();
    return $tat ? int(($tat - redis_time() * 1e6) / 3600e6 + 0.5) : 0;
}

sub metric ($node, $name) { return ($node->get('/metrics')->body =~ /^\Q$name\E (\S+)$/m)[0] }

# all of them have a share, and know of each other
sub wait_shares ($count, @of) {
    wait_for(sub { !grep { metric($_, 'lines_limit_nodes') != $count } @of }, 60, "$count nodes that share");
}

sub ok_in (@answers) { return scalar grep { $_->status == 200 } @answers }

sub scripts_run {
    my $info = $redis->cli('INFO', 'commandstats');
    my $text = ref $info ? $info->{cmdstat_evalsha} : ($info =~ /cmdstat_evalsha:(\S+)/)[0];
    return $text =~ /calls=(\d+)/ ? $1 : die "no commandstats: $text";
}

# who joins asks each time: where none has a share by the end, it is exactly the burst
{
    my $passed = ok_in(concurrently(160, sub ($i) { $nodes[$i % $nodes]->get_p('/debt/x?who=joiners') }));
    my $shared = grep { metric($_, 'lines_limit_nodes') > 0 } @nodes;
    cmp_ok $passed, '>=', 100, 'nodes that have just joined: the burst';
    cmp_ok $passed, '<=', $shared ? 150 : 100, "and no more, but for what $shared of them have a share of";
}
wait_shares($nodes, @nodes);

# sustained overload, over and over: the bucket fills up, then all come at once
for my $round (1 .. 5) {
    my $who   = "round$round";
    my $start = redis_time();

    my $count = ok_in(concurrently(80, sub ($i) { $nodes[$i % $nodes]->get_p("/bound/x?who=$who") }));
    Mojo::Promise->timer(0.9)->wait;

    my $burst_start = redis_time();
    my $in_burst    = ok_in(concurrently(600, sub ($i) { $nodes[$i % $nodes]->get_p("/bound/x?who=$who") }));
    my $end         = redis_time();

    my $bound = $burst + $rate * ($end - $burst_start) + $burst / 2;
    cmp_ok $in_burst, '<=', $bound, sprintf 'round %d: %d of 600 passed, the bound is %.1f', $round, $in_burst, $bound;

    $count += $in_burst;
    $bound = $burst + $rate * ($end - $start) + $burst / 2;
    cmp_ok $count, '<=', $bound, sprintf 'in all %d, the bound is %.1f', $count, $bound;
    cmp_ok $in_burst, '>=', 0.9 * $burst, 'and what the bucket holds does pass';
}

# in the long run the rate
{
    my $start  = redis_time();
    my $passed = 0;
    my $asked  = 0;

    while (redis_time() - $start < 3) {
        $asked  += 80;
        $passed += ok_in(concurrently(80, sub ($i) { $nodes[$i % $nodes]->get_p('/bound/x?who=long') }));
    }

    my $span = redis_time() - $start;
    cmp_ok $passed, '<=', $burst + $rate * $span + $burst / 2, sprintf '%d in %.2f s: within the bound', $passed, $span;

    # a busy machine may ask for less than there is
    my $there = $burst + $rate * $span;
    cmp_ok $passed, '>=', 0.6 * ($asked < $there ? $asked : $there), "of $asked that asked: they are not starved";
}

# what was let through ahead of Redis is a debt: all of it is charged, and refilled first
{
    my $passed = ok_in(concurrently(400, sub ($i) { $nodes[$i % $nodes]->get_p('/debt/x?who=a') }));
    cmp_ok $passed, '>=', 100, "$passed of 400 passed";
    cmp_ok $passed, '<=', 150, 'no more than burst and half';
    wait_for(sub { gone('debt', 'a') >= $passed }, 30, 'all of them to be charged');
    is gone('debt', 'a'), $passed, 'to the last one';

    wait_for(sub {
        my $retry = $nodes[1]->get('/debt/x?who=a')->header('Retry-After');
        return $retry && abs($retry - ($passed - 99) * 3600) <= 60;
    }, 20, 'the node to know of the debt');
    pass 'the next one passes when the debt is paid';
    is ok_in(map { $_->get('/debt/x?who=a') } @nodes), 0, 'until then none';
}

# many requests in each of many connections: they come as fast as the node takes them, however busy the machine is
sub pipelined ($node, @paths) {
    my $request = join '', map {"GET $_ HTTP/1.1\r\nHost: x\r\n\r\n"} @paths[0 .. $#paths - 1];
    my $socket  = $node->socket;
    print $socket "${request}GET $paths[-1] HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    $socket->flush;

    return split m{(?=HTTP/1\.1 \d)}, do { local $/; <$socket> };
}

# Redis is asked for many at a time
{
    my $before  = scripts_run();
    my @answers = map { pipelined($nodes[0], ('/wide/x') x 100) } 1 .. 40;
    my $asked   = scripts_run() - $before;
    is scalar(grep { m{^HTTP/1\.1 200 } } @answers), 4000, 'four thousand requests';
    cmp_ok $asked, '>', 0, 'some are settled';
    cmp_ok $asked, '<', 400, "asked Redis $asked times";
    like $answers[-1], qr/^RateLimit: "wide";r=\d+;t=\d+\r$/m, 'and carry the header all the same';
}

# what is open is settled after 15 s, once
{
    my $start = time;
    is ok_in(map { $nodes[0]->get('/back/x?who=a') } 1 .. 8), 8, 'a few, on a node that has a share of 20';
    my $answer = $nodes[0]->get('/back/x?who=a');
    like $answer->header('RateLimit'), qr/^"back";r=191;t=/, 'the header knows of them';
    my $gone = gone('back', 'a');
    cmp_ok $gone, '<', 9, 'Redis does not, yet' if time - $start < 10;
    wait_for(sub { gone('back', 'a') == 9 }, 40, 'them to be settled');
    pass 'settled';
}

# whoever dies, all is settled, and once; requests go on
{
    is ok_in(map { $nodes[0]->get('/back/x?who=b') } 1 .. 9), 9, 'a few more';
    for (1 .. 2) {
        $nodes[0]->kill_worker;
        $nodes[0]->wait_redis;
    }
    wait_for(sub { gone('back', 'b') == 9 }, 60, 'them to be settled by another worker');
    pass 'workers that are killed lose nothing';
    is ok_in(map { $nodes[0]->get('/back/x?who=b') } 1 .. 12), 12, 'it goes on';
    wait_for(sub { gone('back', 'b') == 21 }, 60, 'them to be settled, too');
    pass 'none is lost, and none charged twice';
}

{
    is ok_in(map { $nodes[1]->get('/back/x?who=c') } 1 .. 9), 9, 'before a reload';
    $nodes[1]->reload;
    wait_for(sub { gone('back', 'c') == 9 }, 60, 'settled after it');
    pass 'a reload loses nothing';

    is ok_in(map { $nodes[1]->get('/back/x?who=d') } 1 .. 9), 9, 'before the end';
    $nodes[1]->quit;
    wait_for(sub { gone('back', 'd') == 9 }, 10, 'settled by the end');
    pass 'nor does an end, by QUIT';

    is ok_in(map { $nodes[2]->get('/back/x?who=e') } 1 .. 9), 9, 'before another end';
    $nodes[2]->stop;
    wait_for(sub { gone('back', 'e') == 9 }, 10, 'settled by the end');
    pass 'nor by TERM';

    is ok_in(map { $nodes[3]->get('/back/x?who=f') } 1 .. 30), 30, 'before a death';
    $nodes[3]->crash;
    Mojo::Promise->timer(1)->wait;
    cmp_ok gone('back', 'f'), '>=', 10, 'a node that dies errs by its share at most';
    cmp_ok gone('back', 'f'), '<=', 30, 'and by no more than it let through';
}

# the others are gone: the one that is left has what it may have alone
wait_shares(1, $nodes[0]);

# a request that another limit refuses costs nothing
{
    is ok_in(map { $nodes[0]->get('/pair/x?who=a&part=a') } 1 .. 6), 2, 'the narrower one decides';
    my $answer = $nodes[0]->get('/pair/x?who=a&part=b');
    like $answer->header('RateLimit'), qr/"pair";r=197;t=/, 'the others took nothing of the wider one';
    wait_for(sub { gone('pair', 'a') == 3 }, 40, 'that to be settled');
    pass 'in Redis neither';
}

# small bursts are asked for
is ok_in(concurrently(60, sub ($i) { $nodes[0]->get_p('/small/x?who=a') })), 9, 'a burst below ten is exact';

# Redis stands still: who has a share does not wait, nor who is refused
{
    is ok_in(map { $nodes[0]->get('/back/x?who=known') } 1 .. 4), 4, 'a bucket that is known';
    is ok_in(concurrently(300, sub ($i) { $nodes[0]->get_p('/debt/x?who=empty') })), 100, 'one that is empty, on a node alone: to the token';
    wait_for(sub { metric($nodes[0], 'lines_limit_ahead_requests') == 0 && $nodes[0]->get('/debt/x?who=empty')->status == 429 },
        60, 'all to be settled');

    $redis->pause;
    my @answers = map { $nodes[0]->get("/back/x?who=$_") } ('known') x 9, map {"new$_"} 1 .. 20;
    my @refused = map { $nodes[0]->get('/debt/x?who=empty') } 1 .. 3;
    $redis->cont;

    is ok_in(@answers), 29, 'while Redis stands still: all pass';
    is scalar(grep { $_->status == 429 } @refused), 3, 'but those of the empty one';
    my $slowest = max map { $_->seconds } @answers, @refused;
    cmp_ok $slowest, '<', 0.5 * $t->slow, sprintf 'nobody waits: %.3f s', $slowest;
    wait_for(sub { gone('back', 'known') == 13 }, 60, 'them to be settled');
    pass 'what passed meanwhile is charged';
}

# who leaves before Redis has answered asked for nobody: those who come have what the node may let through by itself
{
    $redis->pause;
    my @sockets = map { $nodes[0]->socket } 1 .. 150;
    my $select  = IO::Select->new(@sockets);
    syswrite $_, "GET /bound/x?who=leavers HTTP/1.1\r\nHost: x\r\n\r\n" for @sockets;
    my $end = time + 30;
    Mojo::Promise->timer(0.1)->wait until (() = $select->can_read(0)) >= 10 || time > $end;
    $nodes[0]->reset_connection($_) for @sockets;
    $redis->cont;

    # until it is full again, and what they asked for is forgotten
    for (1 .. 25) {
        $nodes[0]->get('/bound/x?who=leavers');
        Mojo::Promise->timer(0.1)->wait;
    }

    $redis->pause;
    my $answer = $nodes[0]->get('/bound/x?who=leavers');
    $redis->cont;
    is $answer->status, 200, 'after many who left: one passes';
    cmp_ok $answer->seconds, '<', 0.5 * $t->slow, '... at once';
}

# all that Redis knows to be gone of a limit's buckets
sub gone_of_all ($name) {
    my @keys = $redis->cli('KEYS', "lines:{l:*}:b:$name:*");
    my $now  = redis_time() * 1e6;
    my $all  = 0;

    while (my @some = splice @keys, 0, 500) {
        $all += int(((split /[. ]/, $_)[0] - $now) / 3600e6 + 0.5) for $redis->cli('MGET', @some);
    }

    return $all;
}

# more than one settlement of a shard takes, each with one that is open: an end settles all of them
{
    my %ends = map { $_ => $t->nginx(redis => $redis, redis_options => 'timeout=10s silence=10s', workers => 1, server => $server) } qw(quit stop);
    wait_shares(3, values %ends);

    for my $end (sort keys %ends) {
        my $before = gone_of_all('crowd');
        my $passed = 0;
        $passed += grep {m{^HTTP/1\.1 200 }} pipelined($ends{$end}, map {"/crowd/x?who=$end-$_"} 100 * $_ .. 100 * $_ + 99) for 0 .. 99;
        is $passed, 10_000, "$end: ten thousand of as many";

        my $start = time;
        $ends{$end}->$end;
        cmp_ok time - $start, '<', 5 * $t->slow, 'an end that waits for little';
        is gone_of_all('crowd') - $before, 10_000, 'all of them are settled';
    }
}

# what is on its way, and what came after it
{
    my $wire = $t->wire(redis => $redis);
    my $node = $t->nginx(redis => $wire->url, redis_options => 'timeout=10s silence=10s', workers => 1, server => $server);
    wait_shares(2, $node);

    $wire->hold($wire->call('limit_settle'));
    is ok_in(map { $node->get('/back/x?who=busy') } 1 .. 15), 15, 'most of a share';
    $wire->reached('their settlement');
    is ok_in(map { $node->get('/back/x?who=busy') } 1 .. 3), 3, 'three more';
    is gone('back', 'busy'), 0, 'of which Redis has not heard';

    $node->process->signal('QUIT');
    Mojo::Promise->timer(0.3)->wait;
    $wire->pass;
    $node->quit;
    is gone('back', 'busy'), 18, 'settled by the end, once';
}

# a Redis that stands still, or is gone, holds up no end
for my $how (qw(pause kill)) {
    my $own  = $t->redis(name => "own-$how");
    my $node = $t->nginx(redis => $own, redis_options => 'timeout=10s silence=10s', workers => 1, server => $server);
    wait_shares(1, $node);
    is ok_in(map { $node->get('/back/x?who=a') } 1 .. 5), 5, "$how: five that are open";

    $own->$how;
    my $start = time;
    $node->stop;
    cmp_ok time - $start, '<', 1.5 + 3 * ($t->slow - 1), sprintf '%s: it ends after %.2f s', $how, time - $start;
    $own->cont if $how eq 'pause';
}

# more than the zone has room for: nobody is refused, nothing is lost
{
    my $node = $t->nginx(redis => $redis, redis_options => 'timeout=10s', workers => 2, server => $server, zone => 'lines:1m');
    wait_shares(2, $node);

    my @answers = map { my $from = $_; pipelined($node, map { ("/many/x?who=$_") x 2 } $from .. $from + 99) } map { 100 * $_ } 0 .. 29;
    is scalar(grep { m{^HTTP/1\.1 200 } } @answers), 6000, 'six thousand requests of three thousand';
    cmp_ok metric($node, 'lines_limit_buckets'), '<=', 1024, 'it remembers a thousand';

    my $all = 0;
    wait_for(sub { ($all = gone_of_all('many')) == 6000 }, 60, 'all to be settled');
    is $all, 6000, 'each of them was charged, once';
}

$t->done;
