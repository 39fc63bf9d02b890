# What rests is left to rest: a purchase that cannot give back yet holds a number, and whoever looks at that does not ask billing in its stead.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 422);
my $s       = Test::Lines::Scenario->new(
    t           => $t,
    provisioner => $told->url,
    operations  => 'sweep=100ms retry=200ms due=1s lease=1s absent=500ms walk=1s poll=1s every=1h audit=off'
);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx;

$s->numbers(3);
$nginx->allow(qr/is stuck|refused by billing/);

promise 'a refund is refused, and the purchase is to look again in an hour: billing is left alone until then' => sub {
    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '400', times => 100_000);
    my $account = $s->account('rests');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $s->confirm($account, $token, key => 'k');
    wait_for(sub { ($s->op('a:rests', $id)->{stuck} // '') eq 'refund_refused' }, 30, 'the refund to be refused');
    like $redis->cli('HGET', 'lines:{inv}:operations', $id), qr/^\+1/, 'it holds its number';

    # its lease is looked at several times; a run that was due as it went to rest may still come, of some ten calls
    my ($looks, $score, $asked) = (0, '');
    wait_for(sub {
        my $now = $redis->cli('ZSCORE', 'lines:{inv}:leases', "a:rests $id") // '';
        $looks++ if $now ne $score;
        $score = $now;
        $asked //= () = $sandbox->requests if $looks > 1;
        return $looks > 5;
    }, 60, 'four looks at its number');
    cmp_ok scalar(() = $sandbox->requests) - $asked, '<', 20, 'billing is not asked at each of them';

    # a person's word, or a try, is another thing
    $sandbox->clear_faults;
    is $nginx->admin(POST => "operations/$id/retry", {})->status, 200, 'who asks for a try has one';
    $s->soon(sub { ($s->op('a:rests', $id)->{step} // '') eq 'done' }, '... and it comes to its end');
    $s->soon(sub { $s->counts->{free} == 3 }, '... with all numbers free');
};

$t->done;
