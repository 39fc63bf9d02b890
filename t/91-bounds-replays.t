# A confirm that is repeated while billing is away: however often, it is asked when the purchase is due.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(concurrently wait_for);
use Test::Lines::Account;

my $t       = Test::Lines->new;
my $shop    = Test::Lines::Account->new(t => $t, budget => '2s', operations => 'sweep=1s retry=40s due=10s lease=20s absent=40s walk=40s audit=off');
my $nginx   = $shop->nginx;
my $redis   = $shop->redis;
my $sandbox = $shop->sandbox;

sub calls { scalar(my @all = $sandbox->requests) }

$shop->numbers(5);
$sandbox->fault(path => '/v1/subscriptions', kind => '500', times => 100_000);

my $one   = $shop->account('one');
my $token = $shop->token($one);
my $op    = $shop->operation_id($token);
my $key   = "lines:{a:one}:op:$op";

is $shop->confirm($one, $token, key => 'k')->status, 503, 'billing is away';
wait_for(sub { $redis->cli(HGET => $key, 'tries') && !$redis->cli(HGET => $key, 'lease_until') }, 30, 'the purchase to rest');

my ($before, $tries) = (calls(), $redis->cli(HGET => $key, 'tries'));

my %got;
$got{$_->status}++ for map { $shop->confirm($one, $token, key => 'k') } 1 .. 20;
$got{$_->status}++ for concurrently(20, sub ($i) { $shop->confirm_p($one, $token, key => 'k') });
$got{$shop->confirm($one, $token)->status}++ for 1 .. 5;
is_deeply \%got, {409 => 40, 410 => 5}, 'all repeats hear that it is in progress';
is calls(), $before, 'billing hears nothing of them';
is $redis->cli(HGET => $key, 'tries'), $tries, 'and it is no nearer to being stuck';

$sandbox->clear_faults;
$redis->cli(HSET => $key, due => 1000 * time - 1);
wait_for(sub { $got{last} = $shop->confirm($one, $token, key => 'k'); $got{last}->status != 409 }, 30, 'the outcome');
is $got{last}->status, 200, 'one that is due goes on with the repeat' or diag $got{last}->to_string;

$redis->cli(HSET => $key, due => 1000 * (time + 86400 * 30));
is $shop->confirm($one, $token, key => 'k')->header('Idempotency-Replayed'), 'true', 'what has ended is answered';

$t->done;
