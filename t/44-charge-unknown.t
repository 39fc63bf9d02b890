# The charge whose outcome is not known: repeated under its key, looked up by what it says of itself, tried anew only once its
# absence is proven. Where Prism is there, every call of a purchase and of its undo passes Stripe's schema.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Prism;

my ($node, $why_not) = Test::Lines::Prism->available;

my $t     = Test::Lines->new;
my $told  = $t->upstream(name => 'provisioner', status => 200);
my $shop  = Test::Lines::Account->new(t => $t, provisioner => $told->url, webhooks => 1);
my $prism = $node ? $t->prism(upstream => $shop->sandbox->url) : undef;

diag "without Prism: $why_not" unless $node;
$shop->via($prism->port) if $prism;

my $nginx   = $shop->nginx;
my $sandbox = $shop->sandbox;

$shop->numbers(20);
$nginx->allow(qr/does not take the charge|is stuck/);

sub keys_of ($op) {
    my %keys;
    $keys{$_->{idempotency_key} // ''}++ for grep { index($_->{idempotency_key} // '', "lines:$op:sub") == 0 } $sandbox->requests(POST => '/v1/subscriptions');
    return \%keys;
}

# confirms, and waits for the end
sub ends ($account, $status, $name) {
    my $token  = $shop->token($account);
    my $op     = $shop->operation_id($token);
    my $first  = $shop->confirm($account, $token, key => 'k');
    my $done   = $shop->wait_purchase($account, $op);
    my $answer = $shop->confirm($account, $token, key => 'k');
    is $answer->status, $status, "$name: ends with $status" or diag $answer->to_string;
    return ($op, $first, $answer);
}

subtest 'good calls pass the schema' => sub {
    my $one = $shop->account('one');
    ends($one, 200, 'bought');
    $sandbox->customer(cus_attached => 'ok', 'attached');
    ends($shop->account('attached', customer => 'cus_attached'), 200, 'a card that is only attached');
    ends($shop->account('declined', customer => 'cus_declined'), 402, 'declined');
    $told->set(status => 422);
    ends($shop->account('refused'), 500, 'undone');
    $told->set(status => 200);
    is_deeply [$prism ? $prism->refusals : ()], [], 'nothing is refused';
};

subtest 'the answer is lost' => sub {
    my $two = $shop->account('two');
    $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_after', times => 2);
    my ($op, $first) = ends($two, 200, 'lost');
    is scalar keys %{keys_of($op)}, 1, 'one key';
    cmp_ok((values %{keys_of($op)})[0], '>=', 2, 'sent again under it');
    is scalar $shop->bought($two), 1, 'one charge';
};

subtest 'a 500 that is replayed for ever, with the effect' => sub {
    my $three = $shop->account('three');
    $sandbox->fault(path => '/v1/subscriptions', kind => '500_stored', effect => Mojo::JSON::true, times => 1);
    my ($op) = ends($three, 200, 'stored');
    is_deeply [keys %{keys_of($op)}], ["lines:$op:sub:1"], 'one key';
    is scalar $shop->bought($three), 1, 'what it made is adopted, not made again';
};

subtest 'a 500 that is replayed for ever, without' => sub {
    my $four = $shop->account('four');
    $sandbox->fault(path => '/v1/subscriptions', kind => '500_stored', times => 1);
    my ($op) = ends($four, 200, 'stored');
    is_deeply [sort keys %{keys_of($op)}], ["lines:$op:sub:1", "lines:$op:sub:2"], 'a second attempt under a key of its own';
    my @looks = grep { $_->{method} eq 'GET' } $sandbox->requests(GET => '/v1/subscriptions');
    cmp_ok scalar @looks, '>=', 2, 'after two looks';
    is scalar $shop->bought($four), 1, 'one charge';
    is +(($shop->bought($four))[0]{metadata}{lines_attempt} // 2), 2, 'of the second attempt';
};

subtest 'nothing is sent a day later' => sub {
    for my $effect (0, 1) {
        my $name  = $effect ? 'charged' : 'never arrived';
        my $five  = $shop->account("five$effect");
        my $token = $shop->token($five);
        my $op    = $shop->operation_id($token);

        # a day's outage: what is in Redis is as old as that, and no event tells of it
        $sandbox->webhooks(to => undef);
        $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_after',  times => 1) if $effect;
        $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_before', times => 9);
        is $shop->confirm($five, $token, key => 'k')->json('/error'), 'provisioning_pending', "$name: pending";
        my $then = (time - 23 * 3600 - 60) * 1000;
        $shop->redis->cli(HSET => "lines:{a:five$effect}:op:$op", sent_at => $then, begun => $then);
        my $sent = (values %{keys_of($op)})[0];
        $sandbox->clear_faults;
        $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));

        $shop->wait_purchase($five, $op);
        my $answer = $shop->confirm($five, $token, key => 'k');
        is $answer->status, $effect ? 200 : 500, "$name: known in the end" or diag $answer->to_string;
        is scalar $shop->bought($five), $effect, "$name: charged accordingly";
        is_deeply [keys %{keys_of($op)}], ["lines:$op:sub:1"], "$name: no other key";
    }
};

subtest 'limits of billing, and mistakes' => sub {
    my $six = $shop->account('six');
    $sandbox->fault(path => '/v1/subscriptions', kind => '429', times => 1);
    $sandbox->fault(path => '/v1/subscriptions', kind => '409', times => 1);
    my ($op, $first) = ends($six, 200, '429, then 409');
    is scalar $shop->bought($six), 1, 'one charge';
};

subtest 'an undo whose answers are lost' => sub {
    for my $kind (qw(drop_before drop_after 500)) {
        my $seven = $shop->account("seven$kind");
        $told->set(status => 422);
        $sandbox->fault(path => $_, kind => $kind, times => 1) for '/v1/subscriptions/:id', '/v1/credit_notes', '/v1/invoices/:id';
        ends($seven, 500, $kind);
        my ($charge) = $shop->bought($seven);
        my @refunds = grep { $_->{subscription} eq $charge->{subscription} } $sandbox->ledger('refund');
        is_deeply [map { $_->{amount} } @refunds], [$charge->{amount}], "$kind: refunded once, in full";
        $sandbox->clear_faults;
    }
    $told->set(status => 200);
};

$sandbox->wait_idle;
$shop->agree('charges, lines, numbers and windows agree');

$t->done;
