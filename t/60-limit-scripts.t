# gcra.lua and gcra_return.lua in a real Redis: exact, on its clock, tokens come back.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it';
use Test::Lines qw(wait_for);
use Test::Lines::Script;
use Time::HiRes ();

my $t       = Test::Lines->new;
my $redis   = $t->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);

my %source = map { $_ => $scripts->source($_) } qw(gcra gcra_return);

# (need, extra, interval, burst, name, @plans)
sub take ($keys, @args) {
    my ($granted, $remaining, $retry, $interval, $burst) =
      @{$redis->cli('EVAL', $source{gcra}, scalar @$keys, @$keys, @args)};
    return {granted => $granted, remaining => $remaining, retry => $retry, interval => $interval, burst => $burst};
}

sub give ($key, $tokens, $interval) { $redis->cli('EVAL', $source{gcra_return}, 1, $key, $tokens, $interval) }

my $hour = 3600 * 1e6;    # a token an hour: what passes was in the bucket

# a burst, exactly
{
    my $passed = grep { take(['b1'], 1, 0, $hour, 50, 'x')->{granted} } 1 .. 80;
    is $passed, 50, 'of 80 requests in a burst of 50';

    my $r = take(['b1'], 1, 0, $hour, 50, 'x');
    is $r->{granted},   0, 'nothing is left';
    is $r->{remaining}, 0, 'and it says so';
    cmp_ok $r->{retry}, '>', 3600 * 1000 * 0.98, 'the next one in an hour';
    cmp_ok $r->{retry}, '<=', 3600 * 1000 + 1, 'not later';

    my $ttl = $redis->cli('PTTL', 'b1');
    cmp_ok abs($ttl - 50 * 3600 * 1000), '<', 60_000, 'the key lives until the bucket is full';
}

# concurrent clients share it
{
    my @clients = map { $redis->client } 1 .. 4;
    my $passed  = 0;
    for my $round (1 .. 30) {
        my @replies;
        $_->eval($source{gcra}, 1, 'b2', 1, 0, $hour, 50, 'x', sub ($reply, $error) { push @replies, $reply }) for @clients;
        $_->wait_all_responses for @clients;
        $passed += $_->[0] for @replies;
    }
    is $passed, 50, 'four clients together get the burst';
}

# refill, by Redis' clock
{
    my $interval = 10_000;    # 100 a second
    take(['b3'], 1, 0, $interval, 5, 'x') for 1 .. 5;
    my $r = take(['b3'], 1, 0, $interval, 5, 'x');

    SKIP: {
        skip 'a slow machine: it has refilled already', 1 if $r->{granted};
        cmp_ok $r->{retry}, '<=', 11, 'a token comes back within 10 ms';
    }

    my $start  = [Time::HiRes::gettimeofday];
    my $passed = 0;
    while (Time::HiRes::tv_interval($start) < 1) {
        $passed += take(['b3'], 1, 0, $interval, 5, 'x')->{granted};
    }
    my $elapsed = Time::HiRes::tv_interval($start);
    cmp_ok $passed, '<=', 5 + $elapsed * 100 + 1, "$passed in $elapsed s is not too many";
    cmp_ok $passed, '>=', $elapsed * 100 * 0.7, 'nor too few';
}

# leases
{
    my $r = take(['b4'], 1, 10, $hour, 100, 'x');
    is_deeply [@$r{qw(granted remaining)}], [11, 89], 'one and ten ahead';

    $r = take(['b4'], 1, 1000, $hour, 100, 'x');
    is_deeply [@$r{qw(granted remaining)}], [45, 44], 'ahead never more than half of what is left';

    give('b4', 44, $hour);
    is take(['b4'], 0, 0, $hour, 100, 'x')->{remaining}, 88, 'given back';

    give('b4', 10_000, $hour);
    is take(['b4'], 0, 0, $hour, 100, 'x')->{remaining}, 100, 'a bucket does not overflow';
    is $redis->cli('EXISTS', 'b4'), 0, 'a full bucket needs no key';

    give('b4', 5, $hour);
    is $redis->cli('EXISTS', 'b4'), 0, 'tokens of a full bucket vanish';

    take(['b4'], 1, 0, $hour, 1, 'x');
    $r = take(['b4'], 0, 5, $hour, 1, 'x');
    is_deeply [@$r{qw(granted retry)}], [0, 0], 'a renewal of nothing is no refusal';
}

# rates of tenants and plans
{
    my $tenant = 'lines:{w:one}:t';
    my $key    = 'lines:{w:one}:limit:api';
    my @plans  = (growth => 500, 7, mini => 800, 3);

    is take([$key, $tenant], 1, 0, $hour, 100, 'api', @plans)->{burst}, 100, 'no tenant: the limit\'s own';

    $redis->cli('HSET', $tenant, plan => 'growth');
    my $r = take([$key, $tenant], 0, 0, $hour, 100, 'api', @plans);
    is_deeply [@$r{qw(burst interval)}], [7, 500], 'the plan\'s';
    is take([$key, $tenant], 0, 0, $hour, 100, 'api')->{burst}, 100, 'a plan without one: the limit\'s own';

    $redis->cli('HSET', $tenant, 'limit:api' => '250000 40 4r/s');
    $r = take([$key, $tenant], 0, 0, $hour, 100, 'api', @plans);
    is_deeply [@$r{qw(burst interval)}], [40, 250_000], 'the tenant\'s comes first';
    is take([$key, $tenant], 0, 0, $hour, 100, 'other')->{burst}, 100, 'of that limit only';
}

# a limit that is raised counts at once
{
    take(['b5'], 1, 0, $hour, 100, 'x') for 1 .. 100;
    is take(['b5'], 1, 0, $hour, 100, 'x')->{granted}, 0, 'empty for hours';
    wait_for(sub { take(['b5'], 1, 0, 20_000, 100, 'x')->{granted} }, 5, 'the raised rate to count');
    pass 'at the raised rate it fills at once';
}

$t->done;
