# Limits are exact: 500 confirms at once over two nginx nodes, a place that comes back, an age of 24 hours.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(concurrently);
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my @nodes = map { $shop->nginx(workers => 2, connections => 2000) } 1 .. 2;
my $redis = $shop->redis;

use constant DAY => 86_400_000;

sub now { my ($s, $us) = $redis->client->time; $s * 1000 + int($us / 1000) }

$shop->numbers(600);

subtest '500 at once over two nodes' => sub {
    my $one    = $shop->account('one');
    my @tokens = map { $shop->issue($one) } 1 .. 500;

    my %by_status;
    my @answers = concurrently(500, sub ($i) { $shop->confirm_p($one, $tokens[$i], nginx => $nodes[$i % 2]) }, 150);
    $by_status{$_->status}++ for @answers;

    # a confirm that is not finished within its budget is pending, not lost
    Test::Lines::wait_for(sub { !$redis->cli(SCARD => 'lines:{a:one}:ops') }, 60, 'all purchases to end');

    is scalar $shop->lines($one), 3, 'exactly three succeed';
    is $by_status{200} + ($by_status{503} // 0), 3, 'three were answered so' or diag explain \%by_status;
    is $by_status{429}, 497, 'and the others refused';
    is scalar $shop->bought($one), 3, 'three are charged';
    is scalar $shop->window($one), 3, 'three places are taken';
    is scalar(grep { $redis->cli(GET => $shop->token_key($one, $_)) !~ /^used/ } @tokens), 0, 'every token is used';
};

subtest 'a failed purchase gives its place back' => sub {
    my $two = $shop->account('two', customer => 'cus_nocard');
    is $shop->confirm($two, $shop->token($two))->status, 402, "refused for want of a card, time $_" for 1 .. 5;
    is_deeply [$shop->window($two)], [], 'no place is taken';

    $shop->first->admin(PUT => 'accounts/two', {customer => 'cus_card'});
    is $shop->confirm($two, $shop->token($two))->status, 200, "with a card, line $_" for 1 .. 3;
    is $shop->preview($two)->status, 429, 'and then no more';
};

subtest '23 h 59 min counts, 24 h does not' => sub {
    my $three = $shop->account('three', limits => {api_provision_daily => 1});
    is $shop->confirm($three, $shop->token($three))->status, 200, 'one line';
    my ($op) = $shop->window($three);

    $redis->cli(ZADD => 'lines:{a:three}:win', now() - DAY + 60_000, $op);
    for my $answer ($shop->preview($three, $nodes[1]), $shop->confirm($three, $shop->issue($three), nginx => $nodes[1])) {
        is $answer->status, 429, '23 h 59 min old: it counts';
        cmp_ok $answer->header('Retry-After'), '<=', 60, 'for a minute yet';
    }

    $redis->cli(ZADD => 'lines:{a:three}:win', now() - DAY, $op);
    is $shop->first->get('/accounts/limits', $three->{headers})->json('/limits/api_provision_daily/used'), 0, '24 h old: it does not';
    is $shop->first->get('/accounts/limits', $three->{headers})->json('/limits/api_provision_monthly/used'), 1, 'but in the month';
    is $shop->confirm($three, $shop->token($three))->status, 200, 'one more line';

    $redis->cli(ZADD => 'lines:{a:three}:win', now() - 30 * DAY, $op);
    is $shop->first->get('/accounts/limits', $three->{headers})->json('/limits/api_provision_monthly/used'), 1, '30 days old: not there either';
    $redis->cli(ZADD => 'lines:{a:three}:win', now() - 29 * DAY, $op);
};

subtest 'many accounts at once' => sub {
    my @accounts = map { $shop->account("many$_") } 1 .. 20;
    my @jobs     = map { my $account = $_; map { [$account, $shop->issue($account)] } 1 .. 6 } @accounts;

    concurrently(scalar @jobs, sub ($i) { $shop->confirm_p(@{$jobs[$i]}, nginx => $nodes[$i % 2]) }, 60);
    for my $account (@accounts) {
        Test::Lines::wait_for(sub { !$redis->cli(SCARD => "lines:{a:$account->{id}}:ops") }, 60, 'all purchases to end');
    }
    is_deeply [map { scalar $shop->lines($_) } @accounts], [(3) x 20], 'three lines each';
};

$shop->agree('charges, lines, numbers and windows agree');

$t->done;
