# fail=local: each node goes on with its part, also again and again and in a zone that is full; what it let through is charged.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;

my %common = (
    redis         => $redis,
    redis_options => 'timeout=300ms silence=300ms connect_timeout=300ms',
    workers       => 1,
    keepalive     => 10,
    server        => <<'END',
location /part/ { lines_rate_limit rate=1r/h burst=20 key=$arg_who name=part; empty_gif; }
location /each/ { lines_rate_limit rate=1r/h burst=20 key=$arg_who name=each sync=each; empty_gif; }
END
);

my @nodes = map { $t->nginx(%common) } 1 .. 2;

sub metric ($node, $name) { return ($node->get('/_lines/metrics')->body =~ /^\Q$name\E (\S+)$/m)[0] }
sub ok_in ($node, $times, $path) { return scalar grep { $_->status == 200 } map { $node->get($path) } 1 .. $times }

# tokens that Redis knows to be gone, of a bucket that hardly refills
sub gone ($name, $who) {
    my ($key) = $redis->cli('KEYS', "lines:{l:*}:b:$name:" . sha256_hex($who));
    my ($tat) = $key ? $redis->cli('GET', $key) =~ /^(\d+)/ : ();
    my ($s)   = @{$redis->cli('TIME')};
    return $tat ? int(($tat / 1e6 - $s) / 3600 + 0.5) : 0;
}

sub wait_shares ($count, @of) {
    wait_for(sub { !grep { metric($_, 'lines_limit_nodes') != $count } @of }, 60, "$count nodes that share");
}

sub wait_away (@of) {
    wait_for(sub { !grep { metric($_, 'lines_redis_breaker_workers{state="closed"}') } @of }, 30, 'nobody to try Redis any more');
}

sub wait_back (@of) {
    $_->wait_redis for @of;
}

# all is gone, once: who was told before the others were charged has its share ahead, and no more
sub refuses ($limit, $who, @of) {
    my $gone = gone($limit, $who);
    my $more = 0;
    for my $node (@of) {
        my $passed = ok_in($node, 5, "/$limit/x?who=$who");
        cmp_ok $passed, '<=', $limit eq 'each' ? 0 : 2, "$limit: none is left, but for a share";
        $more += $passed;
    }
    wait_for(sub { gone($limit, $who) == $gone + $more && !grep { $_->get("/$limit/x?who=$who")->status != 429 } @of }, 30, 'each to be refused');
    is gone($limit, $who), $gone + $more, 'what was let through is charged once';
}

wait_shares(2, @nodes);

subtest 'each has its part, which is charged once Redis is back' => sub {
    $redis->kill;
    wait_away(@nodes);

    for my $path (qw(/part/x?who=a /each/x?who=a)) {
        is ok_in($_, 30, $path), 10, "half of twenty: $path" for @nodes;
    }

    $redis->start;
    wait_back(@nodes);

    for my $limit (qw(part each)) {
        wait_for(sub { gone($limit, 'a') == 20 }, 30, "$limit: what was let through to be charged, though nobody comes");
        refuses($limit, 'a', @nodes);
    }
    wait_for(sub { !grep { metric($_, 'lines_limit_ahead_requests') } @nodes }, 30, 'all to be settled');
};

# Redis has forgotten who shares, and is away again before all of them have said that they are there
subtest 'away again' => sub {
    for my $round (1 .. 2) {
        $redis->cli('DEL', 'lines:{l}:nodes');
        $redis->kill;
        wait_away(@nodes);
        $redis->start;
        wait_for(sub { metric($nodes[$round - 1], 'lines_redis_breaker_workers{state="closed"}') }, 30, 'Redis to be found');
        $redis->kill;
        wait_away(@nodes);

        is ok_in($_, 3, '/part/x?who=a'), 0, 'nothing has come back of what was used up' for @nodes;
        is ok_in($_, 30, "/part/x?who=again$round"), 10, 'they are as many as before' for @nodes;

        $redis->start;
        wait_back(@nodes);
        wait_for(sub { gone('part', "again$round") == 20 }, 30, 'all to be charged');
    }
};

subtest 'a node that begins meanwhile' => sub {
    wait_shares(2, @nodes);
    $redis->kill;
    my $third = $t->nginx(%common);
    wait_away(@nodes, $third);

    is ok_in($_, 30, '/part/x?who=third'), 10, 'who knows of another' for @nodes;
    is ok_in($third, 30, '/part/x?who=third'), 20, 'who knows of none';

    $redis->start;
    wait_back(@nodes, $third);
    wait_for(sub { gone('part', 'third') == 40 }, 30, 'all of it to be charged');
    refuses('part', 'third', @nodes, $third);
    $third->quit;
};

# many requests in each of many connections
sub pipelined ($node, @paths) {
    my $request = join '', map {"GET $_ HTTP/1.1\r\nHost: x\r\n\r\n"} @paths[0 .. $#paths - 1];
    my $socket  = $node->socket;
    print $socket "${request}GET $paths[-1] HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    $socket->flush;

    return scalar grep {m{^HTTP/1\.1 200 }} split m{(?=HTTP/1\.1 \d)}, do { local $/; <$socket> };
}

# a thousand buckets that owe, in a zone that has room for no more: the least used goes, and who comes is counted
subtest 'a zone that is full' => sub {
    my $node = $t->nginx(%common, zone => 'lines:1m');
    wait_for(sub { metric($node, 'lines_limit_nodes') > 0 }, 60, 'a share');
    my $most = 0;

    $redis->kill;
    for my $round (1 .. 3) {
        my $n = 0;
        for my $hundred (1 .. 11) { $n += pipelined($node, map {"/part/x?who=$round-$hundred-$_"} 1 .. 100) }
        is $n, 1100, 'nobody is refused';

        wait_away($node) if $round == 1;
        $most = ok_in($node, 30, "/part/x?who=greedy$round");
        cmp_ok $most, '<=', 20, "of one who comes thirty times $most pass";
        cmp_ok $most, '>=', 5, '... and some do';
    }
    cmp_ok metric($node, 'lines_limit_buckets'), '<=', 1024, 'it remembers a thousand';

    $redis->start;
    wait_back($node);
    wait_for(sub { gone('part', 'greedy3') == $most }, 30, 'what is remembered to be charged');
    wait_for(sub { metric($node, 'lines_limit_ahead_requests') == 0 }, 30, 'all of it');
    is ok_in($node, 30, '/part/x?who=new'), 20, 'and limits go on';
    $node->quit;
};

$t->done;
