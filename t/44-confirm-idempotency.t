# A confirm whose answer was lost, repeated, doubled, or sent by two hundred at once: one charge, one line.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Promise;
use Test::More;
use Test::Lines qw(concurrently wait_for);
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my @nodes = map { $shop->nginx(workers => 2, connections => 2000) } 1 .. 2;
my $redis = $shop->redis;

$shop->numbers(50);

sub charges ($account) { scalar $shop->bought($account) }

subtest 'the same key answers the same again' => sub {
    my $one    = $shop->account('one');
    my $token  = $shop->token($one);
    my $first  = $shop->confirm($one, $token, key => 'k1');
    is $first->status, 200, 'bought' or diag $first->to_string;

    for my $node (@nodes) {
        my $again = $shop->confirm($one, $token, key => 'k1', nginx => $node);
        is $again->status, 200, 'again';
        is $again->body, $first->body, 'the same to the byte';
        is $again->header('Idempotency-Replayed'), 'true', 'and says so';
    }

    is $shop->confirm($one, $token)->status, 410, 'no key: 410';
    is $shop->confirm($one, $token, key => 'k2')->status, 410, 'another key: 410';
    is $shop->confirm($one, $token, key => 'k2')->status, 410, 'which is not kept';
    is $shop->confirm($one, $shop->token($one), key => 'k1')->status, 422, 'the key with another token: 422';
    is charges($one), 1, 'one charge';

    my ($record) = $redis->client->keys('lines:{a:one}:idem:*');
    my $ttl = $redis->cli(TTL => $record);
    ok $ttl > 86_300 && $ttl <= 86_400, 'kept for 24 hours from the end';
    is $shop->confirm($one, $token, key => 'k' x 256)->status, 400, 'a key that is too long';
};

subtest 'refusals are kept, too' => sub {
    my $poor  = $shop->account('poor', customer => 'cus_nocard');
    my $token = $shop->token($poor);
    is $shop->confirm($poor, $token, key => 'k')->status, 402, 'no card' for 1 .. 2;
    $shop->first->admin(PUT => 'accounts/poor', {customer => 'cus_card'});
    is $shop->confirm($poor, $token, key => 'k')->status, 402, 'and so it stays';

    my $busy = $shop->account('busy', limits => {api_provision_daily => 1});
    $shop->confirm($busy, $shop->token($busy));
    $token = $shop->issue($busy);
    my $first = $shop->confirm($busy, $token, key => 'k');
    my $again = $shop->confirm($busy, $token, key => 'k');
    is_deeply [$again->status, $again->body], [429, $first->body], 'the limit';
    cmp_ok $again->header('Retry-After'), '>', 86_000, 'with Retry-After';

    my $plan = $shop->account('plan', plan => 'growth');
    $token = $shop->issue($plan);
    is $shop->confirm($plan, $token, key => 'k')->status, 403, 'a 403 used nothing up';
    $shop->first->admin(PUT => 'accounts/plan', {plan => 'inbound_only'});
    is $shop->confirm($plan, $token, key => 'k')->status, 200, 'and is not kept';
};

subtest 'while it runs' => sub {
    my $slow  = $shop->account('slow');
    my $token = $shop->token($slow);
    my $op    = $shop->operation_id($token);

    $shop->sandbox->fault(path => '/v1/subscriptions', kind => 'delay', ms => 1500, times => 1);

    my $answer;
    my $running = $shop->confirm_p($slow, $token, key => 'k')->then(sub { $answer = shift });
    wait_for(sub { ($shop->purchase($slow, $op)->{step} // '') eq 'charge' }, 20, 'the charge to be under way');

    my $same = $shop->confirm($slow, $token, key => 'k', nginx => $nodes[1]);
    is $same->status, 409, 'the same key: in progress' or diag $same->to_string;
    cmp_ok $same->header('Retry-After'), '>=', 1, 'with Retry-After';
    my $other = $shop->confirm($slow, $token, nginx => $nodes[1]);
    is $other->status, 410, 'no key: gone';
    is_deeply [@{$other->json}{qw(operation state)}], [$op, 'pending'], 'with the operation, which is pending';

    wait_for(sub { $answer }, 30, 'the first answer');
    is $answer->status, 200, 'the first succeeds' or diag $answer->to_string;
    is $shop->confirm($slow, $token, key => 'k', nginx => $nodes[1])->body, $answer->body, 'and the key learns it';
    is charges($slow), 1, 'one charge';
};

subtest 'an outcome that is unknown within the budget' => sub {
    my $lost  = $shop->account('lost');
    my $token = $shop->token($lost);
    my $op    = $shop->operation_id($token);

    $shop->sandbox->fault(path => '/v1/subscriptions', kind => 'drop_after', times => 1);
    $shop->sandbox->fault(path => '/v1/subscriptions', kind => 'drop_before', times => 4);

    my $answer = $shop->confirm($lost, $token, key => 'k');
    is $answer->status, 503, 'pending' or diag $answer->to_string;
    is $answer->json('/error'), 'provisioning_pending', 'by name';
    is $answer->json('/operation'), $op, 'with the operation';
    cmp_ok $answer->header('Retry-After'), '>=', 1, 'and Retry-After';

    my $again;
    wait_for(sub { $again = $shop->confirm($lost, $token, key => 'k'); $again->status != 409 }, 60, 'the outcome');
    is $again->status, 200, 'the retry with its key learns which' or diag $again->to_string;
    is charges($lost), 1, 'one charge';
    is scalar $shop->lines($lost), 1, 'one line';
};

subtest 'a client that leaves' => sub {
    my $gone  = $shop->account('gone');
    my $token = $shop->token($gone);
    my $op    = $shop->operation_id($token);
    my $body  = qq({"preview_token":"$token"});

    $shop->sandbox->fault(path => '/v1/subscriptions', kind => 'delay', ms => 700, times => 1);

    my $socket = $shop->first->socket;
    print $socket join "\r\n", 'POST /accounts/lines/provision-confirm HTTP/1.1', 'Host: x', 'Content-Type: application/json',
      "sb-api-key-id: $gone->{headers}{'sb-api-key-id'}", "sb-api-secret-key: $gone->{headers}{'sb-api-secret-key'}",
      'Idempotency-Key: k', 'Content-Length: ' . length $body, '', $body;
    $socket->flush;

    wait_for(sub { ($shop->purchase($gone, $op)->{step} // '') eq 'charge' }, 20, 'the charge to be under way');
    $shop->first->reset_connection($socket);

    my $done = $shop->wait_purchase($gone, $op);
    is $done->{answer_status}, 200, 'its purchase goes on';
    is $shop->confirm($gone, $token, key => 'k')->status, 200, 'and it learns so';
    is charges($gone), 1, 'one charge';
};

subtest 'two hundred at once with one token' => sub {
    for my $key (undef, 'same') {
        my $name  = defined $key ? 'with one key' : 'without a key';
        my $many  = $shop->account('many' . ($key // ''));
        my $token = $shop->token($many);
        my @answers = concurrently(200, sub ($i) { $shop->confirm_p($many, $token, key => $key, nginx => $nodes[$i % 2]) });

        my %count;
        $count{$_->status}++ for @answers;
        $shop->wait_purchase($many, $shop->operation_id($token));

        is charges($many), 1, "$name: one charge";
        is scalar $shop->lines($many), 1, "$name: one line";
        is $count{503} // 0, 0, "$name: nobody hears 503" or diag explain \%count;
        is $count{200}, 1, "$name: one success" unless defined $key;
        is $count{200} + ($count{defined $key ? 409 : 410} // 0), 200, "$name: the others hear that it runs, or is over" or diag explain \%count;
    }

    my $keys  = $shop->account('keys');
    my $token = $shop->token($keys);
    my %count;
    $count{$_->status}++ for concurrently(200, sub ($i) { $shop->confirm_p($keys, $token, key => "key$i", nginx => $nodes[$i % 2]) });
    is_deeply \%count, {200 => 1, 410 => 199}, 'with a key each: one success';
};

$shop->agree('charges, lines, numbers and windows agree');

$t->done;
