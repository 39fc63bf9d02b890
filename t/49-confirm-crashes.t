# A confirm, killed at each of its steps and of its undo's: just before and just after each write to Redis, and on both sides
# of each answer. A minute after all answer again it is one line with one charge, or none with none left standing.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $t = Test::Lines->new(timeout => 900);

# refuses the lines of accounts that are named so
my $told = $t->upstream(name => 'provisioner', handler => sub ($c, $state) {
    $c->render(json => {}, status => ($c->req->json->{account} // '') =~ /^refuse/ ? 422 : 200);
});

# while workers are killed nobody else goes on with what they left
my $still = 'sweep=1h retry=200ms due=1s lease=2s absent=1s budget=2s';
my $quick = 'sweep=200ms retry=200ms due=1s lease=2s absent=1s budget=2s';

my $shop    = Test::Lines::Account->new(t => $t, operations => $still, provisioner => 'http://127.0.0.1:' . $told->port . '/told',
    agent => 'daily=1 monthly=1', redis => $t->redis(conf => 'appendfsync always'));
my $nginx   = $shop->nginx(module => 'failpoints');
my $sandbox = $shop->sandbox;

$nginx->allow(qr/exited on signal 9/);

# the points of a step: its claim, both sides of each call and answer, both sides of each write
sub points ($step, %counts) {
    my @points;
    push @points, map { ("op.call.before.purchase.$step:$_", "op.answer.purchase.$step:$_") } 1 .. $counts{calls} // 0;
    push @points, map { ("op.write.before.purchase.$step:$_", "op.write.after.purchase.$step:$_") } 1 .. $counts{writes} // 0;
    return @points;
}

my %flows = (
    buy => {
        status => 200,
        points => [
            'confirm.begin.before', 'confirm.begin.after', 'op.claim.after.purchase.card',
            points('card', calls => 1, writes => 1), points('lease', writes => 2), points('charge', calls => 1, writes => 1),
            points('assign', writes => 2), points('tell', calls => 1, writes => 1), points('end', writes => 1)
        ],
    },
    attached => {
        customer => ['ok', 'attached'], status => 200,
        points   => [points('card', calls => 2, writes => 1)],
    },
    nocard => {
        customer => ['none'], status => 402,
        points   => [points('card', calls => 1, writes => 1), points('undone', writes => 1)],
    },
    declined => {
        customer => ['declined'], status => 402,
        points   => [
            points('charge', calls => 1, writes => 1), points('undo:charge', writes => 1), points('undo:lease', writes => 2),
            points('undone', writes => 1)
        ],
    },
    refuse => {
        status => 500,
        points => [
            points('tell', calls => 1, writes => 1), points('undo:charge', calls => 4, writes => 3),
            points('undo:lease', writes => 2), points('undone', writes => 1)
        ],
    },
);

my @cases;
my $n = 0;

for my $name (sort keys %flows) {
    my $flow = $flows{$name};
    for my $point (@{$flow->{points}}) {
        my $id = $name . ++$n;
        $sandbox->customer("cus_$id", @{$flow->{customer} // ['ok']});
        my $account = $shop->account($id, customer => "cus_$id");
        push @cases, {name => $name, point => $point, status => $flow->{status}, account => $account};
    }
}

$shop->numbers(scalar @cases);
diag scalar(@cases) . ' crashes';

my $http = $nginx->http;

for my $case (@cases) {
    $nginx->http("$http\nlines_failpoint $case->{point};\n")->reload(wait_old => 1);

    my ($pid) = $nginx->pids;
    $case->{token}  = $shop->token($case->{account});
    $case->{answer} = $shop->confirm($case->{account}, $case->{token}, key => 'k');
    $case->{killed} = eval {
        wait_for(sub { $nginx->error_log =~ /worker process $pid exited on signal 9/ }, 30, 'the kill');
    };
    ok $case->{killed}, "$case->{name}: killed at $case->{point}" or diag $case->{answer}->to_string;
    wait_for(sub { my ($now) = $nginx->pids; $now && $now != $pid }, 30, 'another worker') if $case->{killed};
}

# billing and Redis answer; the sweepers sweep, for every other case; the rest is for the client to go on with
(my $swept = $http) =~ s/lines_operations [^;]+;/lines_operations $quick;/;
$nginx->http($swept)->reload(wait_old => 1);
$nginx->wait_redis;

my $start = time;
my @left;

# the client repeats its request with its key, until it learns
for my $case (@cases) {
    my $answer = eval {
        my $answer;
        wait_for(sub {
            $answer = $shop->confirm($case->{account}, $case->{token}, key => 'k');
            return $answer->status !~ /^(?:0|409|503)$/;
        }, 60, 'an answer');
        $answer;
    };
    next if $answer && $answer->status == $case->{status};
    push @left, $case;
    fail "$case->{name} killed at $case->{point} ends with $case->{status}";
    diag explain {
        answer    => $answer ? $answer->to_string : 'none',
        operation => $shop->purchase($case->{account}, $shop->operation_id($case->{token}))
    };
}

ok !@left, 'all ended as they must, in ' . (time - $start) . ' s';

for my $case (@cases) {
    my $lines   = $case->{status} == 200 ? 1 : 0;
    my $charges = $case->{name} eq 'refuse' ? 1 : $lines;
    my @charged = $shop->bought($case->{account});
    next if $shop->lines($case->{account}) == $lines && @charged == $charges;
    fail "$case->{name} killed at $case->{point}: $lines line, $charges charge";
}

$shop->agree('charges less refunds are lines; no number is held by two, or by none; windows are exact');

subtest 'nobody repeats it: the sweeper alone' => sub {
    my @alone = grep { $_->{name} =~ /^(?:buy|refuse)$/ && $_->{point} !~ /^confirm.begin.before/ } @cases;
    @alone = map { $alone[$_ * 4] } grep { $alone[$_ * 4] } 0 .. 9;
    $shop->numbers(scalar @alone);

    my $before;

    for my $case (@alone) {

        # it would pass the point instead, and die in this one's place
        $shop->wait_purchase($before->{alone}, $shop->operation_id($before->{token})) if $before;
        $before = $case;

        my $id = "$case->{account}{id}again";
        $sandbox->customer("cus_$id");
        $case->{alone} = $shop->account($id, customer => "cus_$id");
        $nginx->http("$swept\nlines_failpoint $case->{point};\n")->reload(wait_old => 1);
        my ($pid) = $nginx->pids;
        $case->{token} = $shop->token($case->{alone});
        $shop->confirm($case->{alone}, $case->{token});
        ok eval { wait_for(sub { $nginx->error_log =~ /worker process $pid exited on signal 9/ }, 30, 'the kill') }, "$case->{name}: killed at $case->{point}";
        wait_for(sub { my ($now) = $nginx->pids; $now && $now != $pid }, 30, 'another worker');
    }

    for my $case (@alone) {
        my $done = eval { $shop->wait_purchase($case->{alone}, $shop->operation_id($case->{token})) } // {};
        is $done->{answer_status}, $case->{status}, "$case->{name} killed at $case->{point} ends with $case->{status}";
    }
};

$shop->agree('and all agree again');

$t->done;
