# Limits, attacked: rates with a fraction, bursts of the utmost, strange values under their names, places that look alike.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Script;
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 2, keepalive => 10, server => <<'END');
location /each/    { lines_rate_limit rate=7r/s burst=1 key=$arg_who name=each sync=each; empty_gif; }
location /lease/   { lines_rate_limit rate=7r/s burst=1 key=$arg_who name=lease; empty_gif; }
location /default/ { lines_rate_limit rate=70r/m key=$arg_who name=default; empty_gif; }
location /strange/ { lines_rate_limit rate=1r/h burst=100 key=$arg_who name=strange; empty_gif; }
location /utmost/  { lines_rate_limit rate=1r/h burst=10000000 key=$arg_who name=utmost; empty_gif; }
END

sub metric ($name) { return ($nginx->get('/_lines/metrics')->body =~ /^\Q$name\E (\S+)$/m)[0] }
sub ok_in ($times, $path) { return scalar grep { $_->status == 200 } map { $nginx->get($path) } 1 .. $times }

# the shard of a bucket, as nginx hashes its name
sub shard ($id) {
    my $m = 0x5bd1e995;
    my $h = length $id;

    for my $k (unpack 'V*', $id) {
        $k = $k * $m & 0xffffffff;
        $k = ($k ^ $k >> 24) * $m & 0xffffffff;
        $h = ($h * $m & 0xffffffff) ^ $k;
    }

    if (my $rest = length($id) % 4) {
        $h = ($h ^ unpack('V', substr($id, -$rest) . "\0" x (4 - $rest))) * $m & 0xffffffff;
    }

    $h = ($h ^ $h >> 13) * $m & 0xffffffff;
    return ($h ^ $h >> 15) % 64;
}

sub bucket ($name, $who) {
    my $id = "$name:" . sha256_hex($who);
    return sprintf 'lines:{l:%d}:b:%s', shard($id), $id;
}

sub redis_us { my ($s, $us) = @{$redis->cli('TIME')}; return $s * 1e6 + $us }

# tokens that Redis knows to be gone, of a bucket that hardly refills
sub gone ($name, $who) {
    my ($tat) = (eval { $redis->cli(GET => bucket($name, $who)) } // q{}) =~ /^(\d+)/;
    return $tat ? int(($tat - redis_us()) / 3600e6 + 0.5) : 0;
}

wait_for(sub { metric('lines_limit_nodes') == 1 }, 60, 'a share');

# a seventh of a second has no end in decimals: what is left of it is no reason to refuse the next one
subtest 'one token, which comes back after a fraction' => sub {
    for my $path (qw(each lease default)) {
        my $passed = 0;

        for (1 .. 4) {
            $passed += ok_in(1, "/$path/x?who=one");
            Mojo::Promise->timer($path eq 'default' ? 0.9 : 0.2)->wait;
        }

        is $passed, 4, "$path: one passes as often as there is one";
    }

    my $end    = time + 2;
    my $passed = 0;
    $passed += ok_in(1, '/each/x?who=greedy') while time < $end;
    cmp_ok $passed, '<=', 1 + 7 * (time - $end + 2), "each: $passed in two seconds, not more";
};

# 1,140 years until it is full
subtest 'the largest burst at the lowest rate' => sub {
    is ok_in(1, '/utmost/x?who=a'), 1, 'one of ten million';
    my $key = bucket('utmost', 'a');
    wait_for(sub { gone('utmost', 'a') == 1 }, 60, 'it to be charged');
    $redis->cli('SET', $key, sprintf '%.0f.0 3600000000.000000 10000000 0', redis_us() + 10_000_000 * 3600e6);
    wait_for(sub { $nginx->get('/utmost/x?who=a')->status == 429 }, 60, 'who has used up all of them to be refused');
    is ok_in(20, '/utmost/x?who=a'), 0, 'and refused again';
};

# what is no bucket under the name of one: it makes room, and the others of its shard are settled all the same
subtest 'another type under a name of theirs' => sub {
    my %of;
    push @{$of{bucket('strange', $_) =~ /(\{l:\d+\})/ && $1}}, $_ for 'a' .. 'zz';
    my ($shard)       = sort grep { @{$of{$_}} >= 4 } keys %of;
    my ($list, @good) = @{$of{$shard}}[0 .. 3];

    $redis->cli('RPUSH', bucket('strange', $list), 'x');
    $redis->cli('SET', bucket('strange', $good[0]), 'nonsense');

    is ok_in(6, "/strange/x?who=$_"), 6, 'half of a share, and one' for $list, @good;
    for my $who ($list, @good) {
        wait_for(sub { gone('strange', $who) >= 6 }, 20, 'them to be settled');
        pass 'settled';
    }

    $redis->cli('DEL', 'lines:{l}:nodes');
    $redis->cli('SET', 'lines:{l}:nodes', 'x');
    wait_for(sub { ($redis->cli('TYPE', 'lines:{l}:nodes') // '') eq 'zset' }, 20, 'the nodes to be there again');
    wait_for(sub { metric('lines_limit_nodes') == 1 }, 20, 'who shares');
    is_deeply [$redis->strangers], [], 'nothing that is strange is left';
};

# where a limit without a name stands is said by its path, which others of other servers have as well
subtest 'two places with one path' => sub {
    my $other = 'location /a/ { lines_rate_limit rate=1r/s burst=5 key=ip; } } server { listen 127.0.0.1:1; location /a/';

    for my $limit ('burst=6', 'burst=5 dry_run', 'burst=5 sync=each', 'burst=5') {
        my ($code, $out) = $t->test_config(redis => $redis, server => "$other { lines_rate_limit rate=1r/s $limit key=ip; }");
        is $code, 0, "two servers, with burst=5 and $limit" or diag $out;
    }
};

# which of two rates is the later is told by the clock of the store, not by the node's
subtest 'a rate that is changed after a clock was set back' => sub {
    my $back = $t->nginx(redis => $redis, workers => 1, clock => $t->file('clock.off', pack 'q', 0), server => <<'END');
location /rate/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=500 key=tenant name=rate sync=each; empty_gif; }
END
    my $auth = $back->bearer($back->workspace(back => {plan => 'growth'}));
    my sub policy { return ($back->get('/rate/x', $auth)->header('RateLimit-Policy') =~ /q=(\d+)/)[0] }

    my sub change ($burst) { $back->admin(PUT => 'workspaces/back/limits/rate', {rate => '1r/h', burst => $burst}) }

    wait_for(sub { policy() == 500 }, 30, 'the rate that is written here');
    change(400);
    wait_for(sub { policy() == 400 }, 60, 'one of its own');

    $back->ahead(-3600);
    change(300);
    wait_for(sub { policy() == 300 }, 60, 'another one');
    my %seen;
    for (1 .. 20) { $seen{policy()}++; Mojo::Promise->timer(0.05)->wait }
    is_deeply \%seen, {300 => 20}, 'it counts from then on';
    $back->quit;
};

$t->done;
