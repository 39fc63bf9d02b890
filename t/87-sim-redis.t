# The Redis of t/sim against a real one: the scripts' own tests, and seeded random calls, reply by reply.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines::Once redis => 'one Redis is compared';
use Test::Lines;
use Test::Lines::Sim;

# LINES_SIM_SECONDS=600 for longer, by another seed each time; LINES_SEED and
# LINES_SIM_EPISODE repeat what failed
my $seconds = $ENV{LINES_SIM_SECONDS} || 0;
my $seed    = $ENV{LINES_SEED} || ($seconds ? time : 1);
my $episode = $ENV{LINES_SIM_EPISODE};

my $t   = Test::Lines->new;
my $sim = Test::Lines::Sim->new(test => $t)->start;

# newer ones say some things otherwise
my $other = $sim->exact ? undef : 't/sim speaks as Redis 7.0 does, here is ' . $sim->version;

subtest "the scripts' own tests" => sub {
    plan skip_all => $other if $other;

    for my $file (qw(34-operation-scripts.t 40-inventory-scripts.t 41-window-scripts.t 60-limit-scripts.t)) {
        my $run = $sim->run_beside("t/$file");
        is $run->{ended}, 0, "$file passes" or diag $run->{said};
        cmp_ok $run->{replies}, '>', 100, "... in $run->{replies} replies";
        is $run->{different}, 0, '... of which none is different';
    }
};

subtest 'random calls' => sub {
    plan skip_all => $other if $other;

    my $run = $sim->random(seed => $seed, seconds => $seconds, defined $episode ? (episode => $episode) : ());

    is $run->{different}, 0, "seed $seed: $run->{calls} replies are the same, $run->{errors} errors of them"
      or diag "$run->{said}\nrepeat it: LINES_SEED=$seed LINES_SIM_EPISODE=$run->{failed}";
    is $run->{ended}, 0, 'and the server ends well' or diag $run->{said};

    return if defined $episode;

    cmp_ok $run->{scripts_run}, '>', 5000, "$run->{scripts_run} scripts";
    cmp_ok $run->{keys}, '>', 100, "$run->{keys} keys, all that was there at the end of each of $run->{ran} episodes";

    note "$_ $run->{words}{$_}" for sort keys %{$run->{words}};
    my %came  = map { $_ => 1 } map {/^(\w+): (?!an error|lost)/} keys %{$run->{words}};
    my @never = grep { !$came{$_} } map { $_->basename('.lua') } path("$FindBin::Bin/../src/store/scripts")->list->grep(qr/\.lua$/)->each;
    is_deeply \@never, [], 'each script came somewhere';
};

subtest 'a wrong one is found' => sub {
    my $redis = $sim->connect(beside => 1);
    $redis->call('SIM', 'TIME', 1_763_000_000_000_000);
    is $redis->call('HINCRBY', 'h', 'n', 1), 1, 'both say 1';
    $redis->call('SIM', 'WRONG');
    like ${$redis->call('HINCRBY', 'h', 'n', 1)}, qr/^DIFFERENT/, 'one says 3';
    like $redis->process->output, qr/here: :3\s+there: :2/, 'and is told of';
    is $redis->end, 0, 'it ends';
};

subtest 'copies' => sub {
    my $redis = $sim->connect;
    my $look  = sub {
        my @all = map { [$_, $redis->call('TYPE', $_), $redis->call('PTTL', $_)] } sort @{$redis->call('KEYS', '*')};
        my %read = (string => ['GET'], hash => ['HGETALL'], set => ['SMEMBERS'], zset => [qw(ZRANGE 0 -1 WITHSCORES)], stream => [qw(XRANGE - +)], list => [qw(LRANGE 0 -1)]);
        push @$_, do { my ($verb, @more) = @{$read{$_->[1]}}; $redis->call($verb, $_->[0], @more) } for @all;
        return \@all;
    };
    my $write = sub ($n) {
        $redis->call('SET', "s$_", $n, 'PX', 5000 + $n), $redis->call('HSET', "h$_", map { ("f$_" => $n) } 1 .. 50), $redis->call('SADD', "m$_", $n),
          $redis->call('ZADD', "z$_", $n, "m$n", 7, 'always'), $redis->call('XADD', "x$_", '*', n => $n),
          $redis->call('RPUSH', "l$_", $n, 'always')
          for 1 .. 5;
    };

    $redis->call('SIM', 'TIME', 1_763_000_000_000_000);
    $write->(1);
    my $then = $look->();
    $redis->call('SIM', 'COPY');

    for my $round (1 .. 3) {
        $write->($_) for 2 .. 5;
        $redis->call('HDEL', 'h1', map {"f$_"} 1 .. 49);
        $redis->call('DEL',  'h2', 'z2');
        $redis->call('PERSIST', 's1');
        isnt "@{$look->()->[0]}", "@{$then->[0]}", "round $round: all is different";
        $redis->call('SIM', 'RESTORE');
        is_deeply $look->(), $then, 'all is as it was';
    }

    is $redis->end, 0, 'nothing is left';
};

$t->done;
