# sync=lease: what four nodes let through together is bounded, few questions to Redis, unused tokens go back.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;

# the reference's bound: burst + rate * span + nodes * floor(burst / 10)
my ($nodes, $rate, $burst) = (4, 100, 100);
my $held = $nodes * int($burst / 10);

my @nodes = map {
    $t->nginx(
        redis   => $redis,
        redis_options => 'timeout=10s',
        workers => 2,
        server  => <<"END",
location /bound/ { lines_rate_limit rate=${rate}r/s burst=$burst key=\$arg_who name=bound; empty_gif; }
location /wide/  { lines_rate_limit rate=50000r/s burst=50000 key=ip name=wide; empty_gif; }
location /back/  { lines_rate_limit rate=1r/h burst=200 key=\$arg_who name=back; empty_gif; }
location /small/ { lines_rate_limit rate=1r/h burst=9 key=\$arg_who name=small; empty_gif; }
END
        keepalive => 100
    )
} 1 .. $nodes;

sub redis_time { my ($s, $us) = @{$redis->cli('TIME')}; return $s + $us / 1e6 }

sub bucket ($name, $who) {
    require Digest::SHA;
    return "lines:{limit:$name:" . Digest::SHA::sha256_hex($who) . '}';
}

# tokens left in a bucket that hardly refills
sub left ($name, $who, $burst) {
    my $tat = $redis->cli('GET', bucket($name, $who)) // return $burst;
    return $burst - int(($tat - redis_time() * 1e6) / 3600e6 + 0.5);
}

sub scripts_run {
    my $info = $redis->cli('INFO', 'commandstats');
    my $text = ref $info ? $info->{cmdstat_evalsha} : ($info =~ /cmdstat_evalsha:(\S+)/)[0];
    return $text =~ /calls=(\d+)/ ? $1 : die "no commandstats: $text";
}

# sustained overload, over and over: the nodes hold tokens while the bucket fills up, then all come at once
for my $round (1 .. 5) {
    my $who   = "round$round";
    my $start = redis_time();
    my $count = 0;

    # each node takes a lease and leaves it there
    $count += grep { $_->status == 200 }
      concurrently(80, sub ($i) { $nodes[$i % $nodes]->get_p("/bound/x?who=$who") });

    # the bucket is full again, the leases are not given back yet
    Mojo::Promise->timer(0.7)->wait;

    my $burst_start = redis_time();
    my $in_burst    = grep { $_->status == 200 }
      concurrently(600, sub ($i) { $nodes[$i % $nodes]->get_p("/bound/x?who=$who") });
    my $end = redis_time();

    my $bound = $burst + $rate * ($end - $burst_start) + $held;
    cmp_ok $in_burst, '<=', $bound, sprintf 'round %d: %d of 600 passed, the bound is %.1f', $round, $in_burst, $bound;

    $count += $in_burst;
    $bound = $burst + $rate * ($end - $start) + $held;
    cmp_ok $count, '<=', $bound, sprintf 'in all %d, the bound is %.1f', $count, $bound;
    cmp_ok $in_burst, '>=', $burst - $held, 'and what the bucket holds does pass';
}

# in the long run the rate
{
    my $start  = redis_time();
    my $passed = 0;
    my $asked  = 0;

    while (redis_time() - $start < 3) {
        $asked  += 80;
        $passed += grep { $_->status == 200 }
          concurrently(80, sub ($i) { $nodes[$i % $nodes]->get_p('/bound/x?who=long') });
    }

    my $span = redis_time() - $start;
    cmp_ok $passed, '<=', $burst + $rate * $span + $held, sprintf '%d in %.2f s: within the bound', $passed, $span;

    # a busy machine may ask for less than there is
    my $there = $burst + $rate * $span;
    cmp_ok $passed, '>=', 0.6 * ($asked < $there ? $asked : $there), "of $asked that asked: they are not starved";
}

# many requests in each of many connections: they come as fast as the node takes them, however busy the machine is
sub pipelined ($node, $path, $connections, $each) {
    my $request = "GET $path HTTP/1.1\r\nHost: x\r\n";
    my $text    = "$request\r\n" x ($each - 1) . "${request}Connection: close\r\n\r\n";
    my @sockets = map { my $socket = $node->socket; print $socket $text; $socket->flush; $socket } 1 .. $connections;

    return map { my $socket = $_; split m{(?=HTTP/1\.1 \d)}, do { local $/; <$socket> } } @sockets;
}

# Redis is asked for many at a time
{
    pipelined($nodes[0], '/wide/x', 20, 20);
    my $before  = scripts_run();
    my @answers = pipelined($nodes[0], '/wide/x', 20, 100);
    my $asked   = scripts_run() - $before;
    is scalar(grep { m{^HTTP/1\.1 200 } } @answers), 2000, 'two thousand requests';
    cmp_ok $asked, '>', 0, 'some are asked';
    cmp_ok $asked, '<', 500, "asked Redis $asked times";
    like $answers[-1], qr/^RateLimit: "wide";r=\d+;t=\d+\r$/m, 'and carry the header all the same';
}

# tokens go back
{
    my $passed = grep { $_->status == 200 } concurrently(40, sub ($i) { $nodes[$i % 2]->get_p('/back/x?who=a') });
    is $passed, 40, 'a burst on two nodes';
    my $left = left('back', 'a', 200);
    cmp_ok $left, '>=', 200 - 40 - 2 * 20, "$left tokens are left in Redis: a node holds no more than a tenth";
    wait_for(sub { left('back', 'a', 200) == 160 }, 20, 'unused tokens to go back');
    pass 'what was not used is in Redis again';
    Mojo::Promise->timer(1.5)->wait;
    is left('back', 'a', 200), 160, 'once';
}

# a reload keeps leases, the death of a node loses at most its tenth
{
    concurrently(40, sub ($i) { $nodes[0]->get_p('/back/x?who=b') });
    $nodes[0]->reload;
    wait_for(sub { left('back', 'b', 200) == 160 }, 20, 'leases to go back after a reload');
    pass 'leases survive a reload, and go back';

    concurrently(40, sub ($i) { $nodes[1]->get_p('/back/x?who=c') });
    $nodes[1]->crash;
    my $left = left('back', 'c', 200);
    cmp_ok $left, '>=', 160 - 20, "a node that dies takes $left..160 with it, at most a tenth";
    $nodes[1]->start;
}

# small bursts know no leases
{
    my $passed = grep { $_->status == 200 } concurrently(60, sub ($i) { $nodes[$i % $nodes]->get_p('/small/x?who=a') });
    is $passed, 9, 'a burst below ten is exact over four nodes';
}

$t->done;
