# Limits that something happens to: a store that is full, rates that differ, workers that go, clocks that jump.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use IO::Socket::INET;
use List::Util qw(max min);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Unit qw(make_unit);
use Time::HiRes qw(time);

my $t = Test::Lines->new;

my %store  = map { $_ => $t->redis(name => $_) } qw(full roll hung workers killed way);
my %common = (redis_options => 'timeout=300ms silence=300ms connect_timeout=300ms', workers => 1, keepalive => 10);

sub server (%rate) {
    my $with = {rate => '1r/h', burst => 100, sync => 'lease', key => '$arg_who', %rate};
    return join q{}, map {"location /$_/ { lines_rate_limit rate=$with->{rate} burst=$with->{burst} key=$with->{key} name=$_ sync=@{[$_ eq 'each' ? 'each' : $with->{sync}]}; empty_gif; }\n"} qw(lease each);
}

sub metric ($node, $name) { return ($node->get('/_lines/metrics')->body =~ /^\Q$name\E (\S+)$/m)[0] }
sub wait_shares ($count, @of) { wait_for(sub { !grep { metric($_, 'lines_limit_nodes') != $count } @of }, 60, "$count nodes that share") }

# what became of so many requests: each is let through or refused, and none waits longer than for one that is hung
my %worst = (status => 0, seconds => 0);

sub passed ($times, $path, @of) {
    my @answers = map { my $node = $_; map { $node->get($path) } 1 .. $times } @of;
    $worst{status}  = max $worst{status}, map { $_->status == 429 ? 0 : $_->status || 999 } @answers;
    $worst{seconds} = max $worst{seconds}, map { $_->seconds } @answers;
    return scalar grep { $_->status == 200 } @answers;
}

sub nobody_failed ($seconds) {
    cmp_ok $worst{status}, '<=', 200, 'who does not pass is refused by 429';
    cmp_ok $worst{seconds}, '<', $seconds * $t->slow, sprintf 'none waits: %.3f s', $worst{seconds};
    %worst = (status => 0, seconds => 0);
}

# tokens that Redis knows to be gone, of a bucket that hardly refills, by the rate that it has there
sub gone ($redis, $name, $who) {
    my ($key) = $redis->cli('KEYS', "lines:{l:*}:b:$name:" . sha256_hex($who));
    my ($tat, $interval) = $key ? ($redis->cli('GET', $key) // q{}) =~ /^(\d+)\.\d+ (\S+)/ : ();
    my ($s, $us) = @{$redis->cli('TIME')};
    return $tat ? int(($tat - $s * 1e6 - $us) / $interval + 0.5) : 0;
}

sub charged ($redis, $name, $who, $count) {
    wait_for(sub { gone($redis, $name, $who) == $count }, 30, "$name: $count to be charged, not " . gone($redis, $name, $who));
    pass "$name: $count are charged, each once";
}

# all are there, and have their shares, when their turn comes
my %patient = (%common, redis_options => 'timeout=10s silence=10s');
my $wire    = $t->wire(redis => $store{killed});
my $off     = $t->file('clock.off', pack 'q', 0);
$store{clock} = $t->redis(name => 'clock', env => {LD_PRELOAD => make_unit('t/sim', 0, 'clock') . '/clock.so', LINES_SIM_OFF => $off});

my @full    = map { $t->nginx(%common, redis => $store{full}, server => server()) } 1 .. 2;
my @roll    = map { $t->nginx(%common, redis => $store{roll}, server => server(%$_)) } {}, {rate => '2r/h', burst => 40};
my $workers = $t->nginx(%patient, redis => $store{workers}, keepalive => 0, server => server());
my $killed  = $t->nginx(%patient, redis => $wire->url, server => server());
my $way     = $t->nginx(%common, redis => $store{way}, server => server());
my $clock   = $t->nginx(%common, redis => $store{clock}, server => server(rate => '50r/s'));

# a store that has no memory left is one that cannot be asked, for who needs it
subtest 'a store that is full' => sub {
    $_->allow(qr/OOM/) for @full;
    wait_shares(2, @full);
    is passed(5, "/$_/x?who=a", @full), 10, 'before' for qw(lease each);
    charged($store{full}, $_, 'a', 10) for qw(lease each);

    my %count = (lease => 10, each => 10);
    for my $round (1 .. 2) {
        $store{full}->cli('CONFIG', 'SET', 'maxmemory', 1);
        $count{$_} += passed(55, "/$_/x?who=a", @full) for qw(lease each);
        cmp_ok $count{$_}, '>=', 90, "$_: $count{$_} have passed by now: nobody is refused what there is" for qw(lease each);
        cmp_ok $count{$_}, '<=', 150, "$_: no more than burst and half" for qw(lease each);
        nobody_failed(0.3);
        $store{full}->cli('CONFIG', 'SET', 'maxmemory', 0);
    }

    # who ends settles what can wait otherwise
    $count{$_} += passed(20, "/$_/x?who=a", @full) for qw(lease each);
    $_->quit, $_->start for @full;
    for my $limit (qw(lease each)) {
        cmp_ok $count{$limit}, '<=', 150, "$limit: $count{$limit} in all";
        charged($store{full}, $limit, 'a', $count{$limit});
        is passed(20, "/$limit/x?who=a", @full), 0, "$limit: nothing has come back";
        cmp_ok $full[0]->get("/$limit/x?who=a")->header('Retry-After'), '>=', 3600 * ($count{$limit} - 99) - 60, '... as Retry-After says';
    }
    $_->quit for @full;
};

# the configuration goes round: whoever comes first, all is counted by both rates
subtest 'nodes that have other rates' => sub {
    wait_shares(2, @roll);
    my $count = 0;
    for my $round (1 .. 40) { $count += passed(5, '/each/x?who=flap', @roll[$round % 2, 1 - $round % 2]) }
    is $count, 100, 'sync=each: as many as the larger burst';

    $count = 0;
    for my $round (1 .. 40) { $count += passed(5, '/lease/x?who=flap', $roll[$round % 2]); Mojo::Promise->timer(0.02)->wait }
    cmp_ok $count, '>=', 100, "sync=lease: $count of the larger burst";
    cmp_ok $count, '<=', 150, '... and half';
    nobody_failed(0.3);

    # what was too much is a debt by both, whoever asks, as often as they alternate
    for my $round (1 .. 3) { is passed(2, '/lease/x?who=flap', $_), 0, 'none is left' for @roll }
    my sub waits ($node) { return $node->get('/lease/x?who=flap')->header('Retry-After') }
    wait_for(sub { abs(waits($roll[0]) - 3600 * ($count - 99)) < 60 }, 20, 'the node to know how long it takes, of ' . waits($roll[0]));
    cmp_ok waits($roll[1]), '>', 1800 - 60, 'the other one says so of its rate';

    # until all have the same
    $roll[0]->server($roll[1]->server);
    $roll[0]->reload(wait_old => 1);
    is passed(5, "/$_/x?who=flap", @roll), 0, "$_: nothing comes of that" for qw(lease each);
    nobody_failed(0.3);
    $_->quit for @roll;
    is gone($store{roll}, 'lease', 'flap'), $count, 'each of them is charged, once';
};

subtest 'a store that is hung as nginx begins' => sub {
    $store{hung}->pause;
    my $node = $t->nginx(%common, redis => $store{hung}, server => server());
    is passed(120, "/$_/x?who=a", $node), 100, "$_: the burst" for qw(lease each);
    nobody_failed(0.5);

    $store{hung}->cont;
    wait_shares(1, $node);

    # but for who waited in vain, whom Redis may have counted
    for my $limit (qw(lease each)) {
        wait_for(sub { gone($store{hung}, $limit, 'a') >= 95 }, 30, "$limit: it to be charged");
        my $gone = gone($store{hung}, $limit, 'a');
        cmp_ok $gone, '<=', 100, "$limit: $gone are charged, each once";
        is passed(5, "/$limit/x?who=a", $node), 100 - $gone, "$limit: nothing else comes back";
    }
    is passed(120, "/$_/x?who=b", $node), 100, "$_: as ever" for qw(lease each);
    nobody_failed(0.5);
    $node->quit;
    charged($store{hung}, $_, 'b', 100) for qw(lease each);
};

subtest 'a store that accepts, and never answers' => sub {
    my $silent = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die "listen: $!";
    my $node   = $t->nginx(%common, redis => 'redis://127.0.0.1:' . $silent->sockport . '/0', server => server());
    is passed(120, "/$_/x?who=a", $node), 100, "$_: the burst" for qw(lease each);
    nobody_failed(0.5);

    my $start = time;
    $node->quit;
    cmp_ok time - $start, '<', 2 * $t->slow, 'and ends';
};

# the worker that settles goes with all the others, or is one of four
subtest 'more workers, and fewer' => sub {
    my $node = $workers;
    wait_shares(1, $node);

    for my $workers (4, 1) {
        is passed(4, "/lease/x?who=open$workers-$_", $node), 4, 'less than half of a share' for 1 .. 5;
        $node->workers($workers);
        my @limits  = qw(lease each);
        my @answers = concurrently(400, sub ($i) {
            $node->write, kill HUP => $node->process->pid if $i == 100;
            $node->get_p("/$limits[$i % 2]/x?who=$workers");
        }, 20);
        is scalar(grep { $_->status != 200 && $_->status != 429 } @answers), 0, "to $workers: nobody fails";
        wait_for(sub { $node->pids == $workers }, 30, "$workers workers");

        for my $i (0, 1) {
            my $count = grep { $answers[$_]->status == 200 && $_ % 2 == $i } 0 .. $#answers;
            is $count, 100, "$limits[$i]: a burst";
        }
        wait_shares(1, $node);
    }
    $node->quit;
    for my $workers (4, 1) {
        charged($store{workers}, 'lease', "open$workers-$_", 4)   for 1 .. 5;
        charged($store{workers}, $_,      $workers,          100) for qw(lease each);
    }
};

subtest 'the worker that settles is killed' => sub {
    my $node = $killed;
    wait_shares(1, $node);
    my %how = (hold => 'before it reaches Redis', keep => 'before its answer comes');

    for my $how (sort keys %how) {
        $wire->$how($wire->call('limit_settle'));
        is passed(8, "/lease/x?who=$how", $node), 8, "$how{$how}: most of a share";
        $wire->reached('a settlement');
        wait_for(sub { gone($store{killed}, 'lease', $how) >= 5 }, 10, 'it to be charged') if $how eq 'keep';
        is gone($store{killed}, 'lease', $how), 0, 'not charged' if $how eq 'hold';
        $node->kill_worker;
        is passed(1, "/lease/x?who=$how", $node), 1, 'requests go on';
        $how eq 'hold' ? $wire->pass : $wire->cut;
        $node->wait_redis;
        nobody_failed(0.5);
        wait_for(sub { gone($store{killed}, 'lease', $how) >= 5 }, 10, 'it to be charged by another worker');
        wait_shares(1, $node);
        is passed(120, "/lease/x?who=$how", $node), 91, 'and there is what is left';
    }
    $node->quit;
    charged($store{killed}, 'lease', $_, 100) for sort keys %how;
};

# of a zone that is there already
subtest 'a reload with another way to count' => sub {
    my $node = $way;
    wait_shares(1, $node);
    is passed(4, '/lease/x?who=way', $node), 4, 'a few';

    for my $sync (qw(each lease)) {
        $node->server(server(sync => $sync));
        $node->reload(wait_old => 1);
        my ($left) = $node->get('/lease/x?who=way')->header('RateLimit') =~ /r=(\d+)/;
        is $left, {each => 95, lease => 94}->{$sync}, "sync=$sync: what was left";
    }
    is passed(3, '/lease/x?who=way', $node), 3, 'a few more';
    $node->server(server(key => '$arg_other'));
    $node->reload(wait_old => 1);
    is passed(120, '/lease/x?who=way&other=other', $node), 100, 'another key: another bucket';
    nobody_failed(0.5);
    $node->quit;
    charged($store{way}, 'lease', 'way', 9);
    charged($store{way}, 'lease', 'other', 100);
};

# an hour ahead, and back: by it the tokens of an hour have come, or of no time
subtest 'the clock of the store jumps' => sub {
    my ($node, $redis) = ($clock, $store{clock});
    wait_shares(1, $node);

    my sub span ($seconds) {
        my ($start, $asked, $count) = (time, 0, 0);
        while (time - $start < $seconds) { $asked += 5, $count += passed(5, "/$_/x?who=clock", $node) for qw(lease each) }
        return ($count, time - $start, $asked);
    }
    my sub jump ($seconds) { open my $file, '+<', $off or die "$off: $!"; print $file pack 'q', $seconds; close $file }

    for my $to (0, 3600, 0) {
        my $before = $redis->cli('TIME')->[0];
        jump($to);
        wait_for(sub { abs($redis->cli('TIME')->[0] - time - $to) < 5 }, 10, 'the clock to be set');

        # set back there is a debt, of no more than two bursts
        my $start = time;
        passed(1, '/each/x?who=clock', $node);
        for my $limit (qw(lease each)) {
            wait_for(sub { passed(1, "/$limit/x?who=clock", $node) }, 30, 'one to pass');
            cmp_ok time - $start, '<', 2 * 2 + 3 * $t->slow, sprintf '%s, by %d s: one passes after %.1f s', $limit, $to, time - $start;
        }

        my ($count, $span, $asked) = span(1.5);
        cmp_ok $count, '<=', 2 * (100 + 50 * ($span + 1) + 50), "$count in $span s: burst, rate and half a burst of each";
        # on a busy machine less may be asked than both let through
        cmp_ok $count, '>=', min(50 * $span, $asked / 2), "... and not much less than the rate: of $asked";
    }
    wait_shares(1, $node);
    nobody_failed(0.5);
    $node->quit;
};

$t->done;
