# limit_settle.lua in a real Redis: exact, on its clock; tokens come back, what is late is charged as of then.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it', cluster => 'its buckets have names of no slot';
use Test::Lines qw(wait_for);
use Test::Lines::Script;
use Time::HiRes ();

my $t       = Test::Lines->new;
my $redis   = $t->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);

my %source = map { $_ => $scripts->source($_) } qw(limit_settle limit_join);

# what nodes let through by themselves: (node, number, need, key => [uses, age in s, interval, burst, version], ...)
sub settle ($node, $number, $need, @of) {
    my (@keys, @uses);
    my $sent = ref $of[0] ? shift(@of)->{sent} : 0;
    while (my ($key, $use) = splice @of, 0, 2) {
        my ($n, $age, $interval, $burst, $version) = @$use;
        push @keys, $key;
        push @uses, sprintf '%d %.0f %.6f %d %d', $n, $age * 1e6, $interval, $burst, $version // 0;
    }
    my ($granted, $settled, @told) = @{$redis->cli('EVAL', $source{limit_settle}, 1 + @keys, "n:$node", @keys, $number, $need, $sent, @uses)};
    my @buckets = map { [split / /] } @told;
    return {granted => $granted, settled => $settled, full => $buckets[0][0], buckets => \@buckets};
}

# who asks (sync=each, and a node without a share): what it is granted, what is left then, when there is more (ms)
sub take ($key, $interval, $burst, $version = 0) {
    my $r    = settle('each', 0, 1, $key => [0, 0, $interval, $burst, $version]);
    my $full = $r->{full};
    return {granted => $r->{granted}, remaining => int($burst - $full / $interval + 1e-6), retry => ($full - ($burst - 1) * $interval) / 1000};
}

my $given = 0;
sub give ($key, $interval, $burst) { settle('each', ++$given, 0, $key => [-1, 0, $interval, $burst]) }

my $hour = 3600 * 1e6;    # a token an hour: what passes was in the bucket

# a burst, exactly
{
    my $passed = grep { take('b1', $hour, 50)->{granted} } 1 .. 80;
    is $passed, 50, 'of 80 requests in a burst of 50';

    my $r = take('b1', $hour, 50);
    is $r->{granted},   0, 'nothing is left';
    is $r->{remaining}, 0, 'and it says so';
    cmp_ok $r->{retry}, '>', 3600 * 1000 * 0.98, 'the next one in an hour';
    cmp_ok $r->{retry}, '<=', 3600 * 1000 + 1, 'not later';

    my $ttl = $redis->cli('PTTL', 'b1');
    cmp_ok abs($ttl - 50 * 3600 * 1000), '<', 60_000, 'the key lives until the bucket is full, and a little longer';
}

# concurrent clients share it
{
    my @clients = map { $redis->client } 1 .. 4;
    my $passed  = 0;
    for my $round (1 .. 30) {
        my @replies;
        $_->eval($source{limit_settle}, 2, 'n:each', 'b2', 0, 1, 0, "0 0 $hour 50 0", sub ($reply, $error) { push @replies, $reply }) for @clients;
        $_->wait_all_responses for @clients;
        $passed += $_->[0] for @replies;
    }
    is $passed, 50, 'four clients together get the burst';
}

# refill, by Redis' clock
{
    my $interval = 10_000;    # 100 a second
    take('b3', $interval, 5) for 1 .. 5;
    my $r = take('b3', $interval, 5);

    SKIP: {
        skip 'a slow machine: it has refilled already', 1 if $r->{granted};
        cmp_ok $r->{retry}, '<=', 11, 'a token comes back within 10 ms';
    }

    my $start  = [Time::HiRes::gettimeofday];
    my $passed = 0;
    while (Time::HiRes::tv_interval($start) < 1) {
        $passed += take('b3', $interval, 5)->{granted};
    }
    my $elapsed = Time::HiRes::tv_interval($start);
    cmp_ok $passed, '<=', 5 + $elapsed * 100 + 1, "$passed in $elapsed s is not too many";
    cmp_ok $passed, '>=', $elapsed * 100 * 0.7, 'nor too few';
}

# what is given back
{
    take('b4', $hour, 100) for 1 .. 2;
    give('b4', $hour, 100);
    is take('b4', $hour, 100)->{remaining}, 98, 'given back';

    give('b4', $hour, 100) for 1 .. 7;
    is scalar(grep { take('b4', $hour, 100)->{granted} } 1 .. 150), 100, 'tokens of a full bucket vanish: it does not overflow';
}

# a limit that is raised counts at once
{
    take('b5', $hour, 100) for 1 .. 100;
    is take('b5', $hour, 100)->{granted}, 0, 'empty for hours';
    wait_for(sub { take('b5', 20_000, 100, 1)->{granted} }, 5, 'the raised rate to count');
    pass 'at the raised rate it fills at once';
}

# tokens that are gone of a bucket that hardly refills
sub gone ($r, $interval = $hour) { return int($r->{full} / $interval + 0.5) }

{
    is gone(settle('a', 1, 0, s1 => [5, 0, $hour, 10])), 5, 'five uses';
    is gone(settle('a', 1, 0, s1 => [5, 0, $hour, 10])), 5, 'sent twice, charged once';
    is gone(settle('a', 2, 0, s1 => [3, 0, $hour, 10])), 8, 'the next ones';
    is gone(settle('a', 1, 0, s1 => [5, 0, $hour, 10])), 8, 'an old one that comes late changes nothing';
    is gone(settle('b', 1, 0, s1 => [7, 0, $hour, 10])), 15, 'another node has numbers of its own; debt is charged in full';
    is gone(settle('b', 2, 0, s1 => [-2, 0, $hour, 10])), 13, 'what was not used after all goes back';
    is settle('a', 0, 1, s1 => [0, 0, $hour, 10])->{granted}, 0, 'who asks meanwhile gets nothing';
    is gone(settle('b', 3, 0, s1 => [-4, 0, $hour, 10])), 9, 'there is one';
    is settle('a', 0, 1, s1 => [0, 0, $hour, 10])->{granted}, 1, 'and who asks gets it';
    is settle('a', 0, 1, s1 => [0, 0, $hour, 10])->{granted}, 0, 'once';

    # of two that a node has let through a settlement is on its way, or has just come
    is settle('d', 1, 1, {sent => 2}, s6 => [3, 0, $hour, 3])->{granted}, 0, 'what will be charged is not there for who asks';
    is settle('d', 1, 0, s6 => [2, 0, $hour, 3])->{settled}, 1, 'it is charged';
    is gone(settle('d', 1, 1, {sent => 2}, s6 => [3, 0, $hour, 3])), 2, 'two are';
    is settle('d', 1, 1, {sent => 2}, s6 => [2, 0, $hour, 3])->{granted}, 1, '... and not once more for who asks';

    my $r = settle('c', 1, 0, map { ("m$_" => [$_ % 7 + 1, 0, $hour, 10]) } 1 .. 100);
    is_deeply [map { int($_->[0] / $hour + 0.5) } @{$r->{buckets}}], [map { $_ % 7 + 1 } 1 .. 100], 'a hundred in a batch, each by itself';
}

# ages
{
    my $second = 1e6;
    my $r = settle('a', 10, 0, s2 => [5, 10, $second, 10]);
    is $r->{full}, 0, 'five uses ten seconds ago are refilled by now';
    cmp_ok $redis->cli('PTTL', 's2'), '>', 20_000, 'the bucket is remembered for what comes later yet';
    $r = settle('b', 10, 0, s2 => [10, 8, $second, 10]);
    is int($r->{full} / $second + 0.5), 5, 'ten more, two seconds later: as if they had been charged then';
    is settle('a', 0, 1, s2 => [0, 0, $second, 10])->{granted}, 1, 'five are there';
}

# exact: a third of a second has no end
{
    my $third = 1e6 / 3;
    my $start = settle('e', 1, 0, s3 => [1, 0, $third, 1000]);
    my ($at)  = $redis->cli('GET', 's3') =~ /^(\d+)/;
    settle('e', $_ + 1, 0, s3 => [1, 0, $third, 1000]) for 1 .. 299;
    my ($tat, $parts) = $redis->cli('GET', 's3') =~ /^(\d+)\.(\d+) /;
    is sprintf('%d.%06d', $tat - $at, $parts), '99666666.999900', '299 more than the first\'s fraction, charged one by one: to the millionth of a microsecond';
}

# ... but of a bucket that is full by now there is no fraction left
{
    my $ms = 1000.333333;

    for my $case ([1, 0], [5, 4]) {
        my ($burst, $uses) = @$case;
        is settle('f', 0, 1, "f$burst" => [0, 0, $ms, $burst])->{granted}, 1, 'one passes';
        wait_for(sub { settle('f', 0, 0, "f$burst" => [0, 0, $ms, $burst])->{full} == 0 }, 5, 'it to be full');
        is settle('f', 0, 1, "f$burst" => [$uses, 0, $ms, $burst])->{granted}, 1, "of $burst, of which a node has let through $uses, the last";
    }
}

# what goes back late is not lost
{
    is settle('g', 1, 0, g1 => [1, 0, 60e6, 2])->{full}, 60e6, 'a token that comes back in a minute';
    my ($tat) = $redis->cli('GET', 'g1') =~ /^(\d+)/;
    $redis->cli('SET', 'g1', sprintf '%.0f.0 %.6f 2 0', $tat - 40e6, 60e6);    # 40 s later
    is settle('g', 2, 0, g1 => [-1, 0, 60e6, 2])->{full}, 0, 'is given back after 40 s';
    is settle('g', 0, 0, g1 => [0, 0, 60e6, 2])->{full}, 0, '... for good';
}

# the largest burst at the lowest rate: 1,140 years
{
    my $r = settle('h', 1, 0, h1 => [10_000_000, 0, $hour, 10_000_000]);
    is gone($r), 10_000_000, 'all of them are gone';
    is settle('h', 0, 1, h1 => [0, 0, $hour, 10_000_000])->{granted}, 0, 'there is none';
    is gone(settle('h', 2, 0, h1 => [30_000_000, 0, $hour, 10_000_000])), 30_000_000, 'nor is a debt shown for less than it is';
}

# whatever else is under one of their names is no reason for the others of a batch not to be charged
{
    $redis->cli('RPUSH', $_,        'x') for 'n:i', 'i1';
    $redis->cli('SET',   'i2',      'x');
    $redis->cli('SET',   'i3',      '1.2 0x 3 4');
    my $r = settle('i', 1, 0, map { ("i$_" => [3, 0, $hour, 10]) } 1 .. 4);
    is_deeply [map { int($_->[0] / $hour + 0.5) } @{$r->{buckets}}], [3, 3, 3, 3], 'all are charged';
    is gone(settle('i', 1, 0, map { ("i$_" => [3, 0, $hour, 10]) } 1 .. 4)), 3, '... once';

    $redis->cli('SET', 'nodes', 'x');
    is_deeply [$redis->cli('EVAL', $source{limit_join}, 1, 'nodes', 'a', 10_000)], [0, 1], 'nor for a node to have no share';
    $redis->cli('DEL', 'nodes');
}

# rates
{
    settle('a', 20, 0, s4 => [3, 0, $hour, 3, 100]);
    my $r = settle('a', 0, 1, s4 => [0, 0, 1000, 100, 200]);
    is $r->{granted}, 1, 'a raised rate counts at once';
    cmp_ok gone($r, 1000), '<=', 4, 'what was used stays used';

    $r = settle('b', 20, 0, s4 => [0, 0, $hour, 3, 100]);
    is_deeply [@{$r->{buckets}[0]}[1 .. 3]], ['1000.000000', 100, 200], 'who knows an older one is told';

    $r = settle('b', 21, 0, s4 => [90, 0, $hour, 3, 100]);
    cmp_ok $r->{full}, '<=', 100 * 1000, 'and charged by the newer one, without a debt';

    $r = settle('b', 22, 0, s4 => [0, 0, $hour, 3, 9e15]);
    is $r->{buckets}[0][1], undef, 'one from the future';
    wait_for(sub { !settle('a', 0, 0, s4 => [0, 0, 1000, 100, time * 1000 + 2000])->{buckets}[0][1] }, 10, 'the next one');
    pass 'is one of now';

    # as a clock leaves it that is set back
    $redis->cli('SET', 's7', sprintf '%.0f.0 1000.000000 100 %.0f', (time + 3700) * 1e6, (time + 3600) * 1000);
    $r = settle('a', 0, 1, s7 => [0, 0, 2000, 50, time * 1000]);
    is $r->{buckets}[0][1], undef, 'a rate of a clock that was ahead is not the latest for long';
    cmp_ok $r->{full}, '<=', 3 * 50 * 2000, '... and leaves no more than a debt';

    settle('a', 30, 0, s5 => [100, 0, 1000, 100, 1]);
    $r = settle('a', 31, 0, s5 => [0, 0, $hour, 3, 2]);
    cmp_ok gone($r), '<=', 3, 'a lowered rate makes no debt of what was used before';
}

# two rates at once, as nodes have them while a configuration goes round
{
    my $half = $hour / 2;
    is gone(settle('k', 1, 0, k1 => [140, 0, $hour, 100])), 140, 'a debt of forty';
    is gone(settle('l', 1, 0, k1 => [0,   0, $half, 50]), $half), 90, 'is one by a smaller burst';
    is gone(settle('k', 2, 0, k1 => [0, 0, $hour, 100])), 140, '... and by the larger one, as before';
    is gone(settle('l', 2, 0, k1 => [5, 0, $half, 50]), $half), 95, 'what is used is charged by the one';
    is gone(settle('l', 2, 0, k1 => [5, 0, $hour, 100])), 145, '... and by the other, once, whichever it is sent with again';
    is settle('k', 0, 1, k1 => [0, 0, $half, 50])->{granted}, 0, 'who asks gets nothing';

    my $passed = grep { take('k2', @{([$hour, 100], [$half, 10])[$_ % 2]})->{granted} } 1 .. 300;
    is $passed, 100, 'who asks by both in turn has as much as by the larger one';

    # the newer one of two that alternate is told
    settle('k', 4, 0, k3 => [140, 0, $hour, 100, 1]);
    is gone(settle('l', 4, 0, k3 => [0, 0, $half, 100, 2]), $half), 140, 'a debt, by a newer rate';
    is gone(settle('k', 5, 0, k3 => [3, 0, $hour, 100, 1]), $half), 140, 'what comes by the older one makes no more of it, nor less';
    is gone(settle('k', 6, 0, k3 => [0, 0, $hour, 100, 3])), 143, '... but is not forgotten, once that is the newer one';

    # not for ever
    my $ago = $redis->cli('TIME')->[0] - 3601;
    $redis->cli('SET', 'k4', sprintf '%.0f.0 %.6f 100 0 %.0f.0 %.6f 50 %d', (time + 50 * 3600) * 1e6, $hour, (time + 40 * 1800) * 1e6, $half, $ago);
    is gone(settle('k', 7, 0, k4 => [0, 0, $half, 50]), $half), 50, 'one that nobody came by for an hour is forgotten';
}

# who is refused writes nothing: a store without memory refuses as well (that of
# t/sim has no end)
if (!$ENV{LINES_SIM_BESIDE}) {
    take('full1', $hour, 5) for 1 .. 5;
    $redis->cli('CONFIG', 'SET', 'maxmemory', 1);
    is take('full1', $hour, 5)->{granted}, 0, 'none is left';
    is eval { take('full2', $hour, 5); 1 }, undef, 'and nobody has one who cannot be counted';
    $redis->cli('CONFIG', 'SET', 'maxmemory', 0);
    is take('full2', $hour, 5)->{remaining}, 4, 'nor is he';
}

# who is there
{
    my sub join_ ($node, $keep = 10_000) { return [$redis->cli('EVAL', $source{limit_join}, 1, 'nodes', $node, $keep)] }

    is_deeply join_('a'), [0, 1], 'the first';
    is_deeply join_('b'), [0, 2], 'another';
    is_deeply join_('a'), [1, 2], 'known';
    $redis->cli('ZADD', 'nodes', (time + 3600) * 1000, 'future');
    is_deeply join_('a'), [1, 2], 'one of a clock that was set back does not stay';
    wait_for(sub { join_('c', 1)->[1] == 1 }, 5, 'the others to be gone');
    pass 'who is not heard counts no more';
}

$t->done;
