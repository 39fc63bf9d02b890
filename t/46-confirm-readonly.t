# A Redis that goes read-only, or away, in the middle of a confirm: as a failover does.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t, redis => $t->redis(conf => 'appendfsync always'));
my $nginx = $shop->nginx(redis_options => 'timeout=400ms');
my $redis = $shop->redis;

$shop->numbers(20);

# what a node of a cluster says then is MOVED: t/13-redis-cluster.t
my $cluster = @{$redis->nodes} > 1 && 'REPLICAOF is not for the nodes of a cluster';

# a primary that has become a replica of nothing
sub read_only () { $redis->cli(REPLICAOF => '127.0.0.1', 1) }
sub writable ()  { $redis->cli(REPLICAOF => 'NO', 'ONE') }

# a confirm during whose call to billing something happens
sub during ($account, $what, $back) {
    my $token = $shop->token($account);
    my $op    = $shop->operation_id($token);
    my $answer;

    $shop->sandbox->fault(path => '/v1/subscriptions', kind => 'hold', times => 1);
    my $ask = sub { $answer = undef; $shop->confirm_p($account, $token, key => 'k')->then(sub { $answer = shift }) };
    $ask->();
    wait_for(sub {
        my $step = $shop->purchase($account, $op)->{step} // '';
        # by a worker that has not found Redis again yet
        $ask->() if $answer && $answer->status == 503 && !$step;
        return $step eq 'charge';
    }, 30, 'the charge to be under way');

    $what->();
    $shop->sandbox->clear_faults;
    wait_for(sub { $answer }, 30, 'an answer');
    $back->();

    return ($token, $op, $answer);
}

subtest 'read-only in mid-confirm' => sub {
    plan skip_all => $cluster if $cluster;
    my $one = $shop->account('one');
    my ($token, $op, $answer) = during($one, \&read_only, \&writable);

    is $answer->status, 503, 'pending' or diag $answer->to_string;
    is $answer->json('/error'), 'provisioning_pending', 'by name';
    cmp_ok $answer->header('Retry-After'), '>=', 1, 'with Retry-After';

    my $done = $shop->wait_purchase($one, $op);
    is $done->{answer_status}, 200, 'it ends as one line';
    is scalar $shop->bought($one), 1, 'with one charge';
    is $shop->confirm($one, $token, key => 'k')->status, 200, 'and its key learns so';
};

subtest 'read-only from the start' => sub {
    plan skip_all => $cluster if $cluster;
    my $two   = $shop->account('two');
    my $token = $shop->token($two);
    read_only();
    for my $answer ($shop->preview($two), $shop->confirm($two, $token, key => 'k')) {
        is $answer->status, 503, 'not now' or diag $answer->to_string;
        cmp_ok $answer->header('Retry-After'), '>=', 1, 'with Retry-After';
    }
    writable();
    is scalar $shop->bought($two), 0, 'nothing was charged';
    my $answer;
    wait_for(sub { $answer = $shop->confirm($two, $token, key => 'k'); $answer->status == 200 }, 30, 'the same token to be taken');
    is scalar $shop->bought($two), 1, 'then it is charged once';
};

subtest 'away in mid-confirm' => sub {
    my $three = $shop->account('three');
    my ($token, $op, $answer) = during($three, sub { $redis->kill }, sub { $redis->start });

    is $answer->status, 503, 'pending' or diag $answer->to_string;
    my $done = $shop->wait_purchase($three, $op);
    is $done->{answer_status}, 200, 'it ends as one line';
    is scalar $shop->bought($three), 1, 'with one charge';

    my $again;
    wait_for(sub { $again = $shop->confirm($three, $token, key => 'k'); $again->status != 503 }, 30, 'nginx to find Redis');
    is $again->status, 200, 'and its key learns so';
};

subtest 'hung in mid-confirm' => sub {
    my $four = $shop->account('four');
    my ($token, $op, $answer) = during($four, sub { $redis->pause }, sub { $redis->cont });

    is $answer->status, 503, 'pending' or diag $answer->to_string;
    is $shop->wait_purchase($four, $op)->{answer_status}, 200, 'it ends as one line';
    is scalar $shop->bought($four), 1, 'with one charge';
};

subtest 'away for confirms of many' => sub {
    my @accounts = map { $shop->account("many$_") } 1 .. 8;
    my @tokens   = map { $shop->token($_) } @accounts;
    my $calls    = sub { scalar $shop->sandbox->requests(POST => '/v1/subscriptions') };
    my $had      = $calls->();
    my @answers;

    $shop->sandbox->fault(path => '/v1/subscriptions', kind => 'delay', ms => 500, times => 8);
    $shop->confirm_p($accounts[$_], $tokens[$_], key => 'k')->then(sub { push @answers, shift }) for 0 .. 7;
    wait_for(sub { $calls->() > $had + 6 }, 30, 'some charges to be under way');
    $redis->kill;
    wait_for(sub { @answers == 8 }, 60, 'all answers');
    $redis->start;

    for my $i (0 .. 7) {
        my $answer;
        wait_for(sub {
            $answer = $shop->confirm($accounts[$i], $tokens[$i], key => 'k');
            $answer->status !~ /^(?:409|503)$/;
        }, 60, "account $i to learn");
        is $answer->status, 200, "account $i has its line" or diag $answer->to_string;
        is scalar $shop->bought($accounts[$i]), 1, 'for one charge';
    }
};

wait_for(sub { !grep { $redis->cli(SCARD => $_) } map {"lines:{a:$_}:ops"} qw(one two three four), map {"many$_"} 1 .. 8 }, 60, 'all to be at rest');
$shop->agree('charges, lines, numbers and windows agree');

$t->done;
