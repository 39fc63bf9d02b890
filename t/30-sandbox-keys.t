use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Test::Lines qw(concurrently wait_for);

# Idempotency keys and faults of the billing sandbox.

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;

my %create = (
    customer           => 'cus_card',
    'items[0][price]'  => 'price_phone',
    payment_behavior   => 'error_if_incomplete',
    'metadata[tenant]' => 'a:one',
);

sub create ($key, %change) {
    return $sandbox->call(POST => '/v1/subscriptions', {%create, %change}, {'Idempotency-Key' => $key});
}

sub create_p ($key, %change) {
    return $sandbox->call_p(POST => '/v1/subscriptions', {%create, %change}, {'Idempotency-Key' => $key});
}

sub effects () { [map { $_->{type} } $sandbox->ledger] }

sub error ($answer) { [$answer->status, @{$answer->json('/error') // {}}{qw(type code)}] }

sub add_fault ($kind, %fault) { $sandbox->fault(path => '/v1/subscriptions', kind => $kind, %fault) }

my @IN_USE  = (409, 'idempotency_error', 'idempotency_key_in_use');
my @STORED  = (500, 'api_error', undef);
my @LIMITED = (429, 'invalid_request_error', 'rate_limit');


subtest 'the same key' => sub {
    my $first  = create('one');
    my $second = create('one');

    is $first->status, 200, 'creates';
    is $first->header('Idempotency-Key'), 'one', 'and names its key';
    is $first->header('Idempotent-Replayed'), undef, 'no replay';
    is $second->body, $first->body, 'answers the same bytes again';
    is $second->header('Idempotent-Replayed'), 'true', 'and says so';
    is $second->header('Original-Request'), $first->header('Request-Id'), 'and of what';
    is_deeply effects, [qw(subscription charge)], 'one effect';

    $sandbox->call(DELETE => '/v1/subscriptions/' . $first->json('/id'));
    is create('one')->json('/status'), 'active', 'a replay is stale, as Stripe warns';

    my %shuffled = ('metadata[a]' => 1, 'metadata[b]' => 2);

    is create('order', %shuffled)->status, 200, 'parameters are compared';
    is $sandbox->client->request(POST => '/v1/subscriptions',
        {
            Authorization     => 'Bearer sk_test_lines',
            'Content-Type'    => 'application/x-www-form-urlencoded',
            'Idempotency-Key' => 'order'
        },
        'metadata[b]=2&metadata[a]=1&metadata%5Btenant%5D=a%3Aone&payment_behavior=error_if_incomplete&items[][price]=price_phone'
            . '&customer=cus_card')->header('Idempotent-Replayed'), 'true', 'whatever their order and their writing';
};


subtest 'the same key, otherwise' => sub {
    $sandbox->reset;
    create('one');

    my $other = create('one', customer => 'cus_declined');

    is_deeply error($other), [400, 'idempotency_error', undef], 'other parameters';
    like $other->json('/error/message'), qr/same parameters/, 'are refused';
    is $other->header('Stripe-Should-Retry'), 'false', 'for good';

    my $elsewhere = $sandbox->call(POST => '/v1/credit_notes', {%create}, {'Idempotency-Key' => 'one'});

    is_deeply error($elsewhere), [400, 'idempotency_error', undef], 'another call';
    like $elsewhere->json('/error/message'), qr/same endpoint/, 'is refused too';
    is create('k' x 255)->status, 200, 'a long key';
    is create('k' x 256)->status, 400, 'but not longer';

    is $sandbox->call(POST => '/v1/subscriptions', \%create)->status, 200, 'without a key';
    is $sandbox->call(POST => '/v1/subscriptions', \%create)->header('Idempotent-Replayed'), undef, 'nothing is replayed';
};


subtest 'what a key keeps' => sub {
    $sandbox->reset;

    is create('declined', customer => 'cus_declined')->status, 402, 'a decline';
    $sandbox->customer(cus_declined => 'ok');
    is create('declined', customer => 'cus_declined')->status, 402, 'stays one under its key';
    is create('again', customer => 'cus_declined')->json('/status'), 'active', 'a new key has the new card';

    is create('bad', colour => 'red')->status, 400, 'what was refused unread';
    is create('bad')->status, 200, 'is not kept';

    $sandbox->advance(24 * 3600 - 60);
    is create('bad')->header('Idempotent-Replayed'), 'true', 'kept for a day';
    $sandbox->advance(60);

    my $fresh = create('bad');
    is $fresh->header('Idempotent-Replayed'), undef, 'and no longer';
    is $fresh->status, 200, 'the call is made again';
};


subtest 'one key, many at once' => sub {
    $sandbox->reset;
    add_fault('delay', ms => 1500);

    my @answers = concurrently(20, sub ($i) { create_p('one') });
    my @in_use  = grep { $_->status == 409 } @answers;

    is scalar(grep { $_->status == 200 } @answers), 1, 'one gets the answer';
    is scalar @in_use, 19, 'the others are told that the key is in use';
    is_deeply error($in_use[0]), \@IN_USE, 'in the form of an error';
    is $in_use[0]->header('Stripe-Should-Retry'), 'true', 'to be tried again';
    is create('one')->header('Idempotent-Replayed'), 'true', 'later it is replayed';
    is_deeply effects, [qw(subscription charge)], 'one effect';
};


subtest 'before any effect' => sub {
    my %faults = (409 => \@IN_USE, 429 => \@LIMITED, 500 => \@STORED);

    for my $kind (sort keys %faults) {
        $sandbox->reset;
        add_fault($kind, times => 2, retry_after => 1);

        for (1 .. 2) {
            my $answer = create('one');

            is_deeply error($answer), $faults{$kind}, "answered with $kind";
            is $answer->header('Stripe-Should-Retry'), 'true', 'to be tried again';
            is $answer->header('Retry-After'), 1, 'in a second';
        }

        is_deeply effects, [], 'no effect';
        is create('one')->header('Idempotent-Replayed'), undef, 'and nothing kept';
        is_deeply effects, [qw(subscription charge)], 'then it is done';
    }

    $sandbox->reset;
    add_fault('drop_before');
    is create('one')->status, 0, 'dropped, no answer';
    is_deeply effects, [], 'no effect';
    is create('one')->status, 200, 'then it is done';
    is_deeply [map { $_->{status} } $sandbox->requests(POST => '/v1/subscriptions')], [undef, 200], 'the log knows both';
};


subtest 'after the effect' => sub {
    $sandbox->reset;
    add_fault('drop_after');

    is create('one')->status, 0, 'dropped, no answer';
    is_deeply effects, [qw(subscription charge)], 'but the effect';

    my $again = create('one');

    is $again->status, 200, 'the key has the answer';
    is $again->header('Idempotent-Replayed'), 'true', 'as a replay';
    is_deeply effects, [qw(subscription charge)], 'still one effect';

    $sandbox->reset;
    add_fault('delay', ms => 1200);

    my $late = create('late');

    is $late->status, 200, 'late, but there';
    cmp_ok $late->seconds, '>=', 1.1, 'as late as asked for';

    $sandbox->reset;
    add_fault('delay', ms => 700);

    my $socket = $sandbox->client->socket;
    my $body   = Mojo::Parameters->new(%create)->to_string;

    print {$socket} "POST /v1/subscriptions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test_lines\r\nIdempotency-Key: gone\r\n"
        . "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${\length $body}\r\n\r\n$body";
    wait_for(sub { @{effects()} }, 10, 'the effect');
    is create('gone')->status, 409, 'the effect comes at once, the key is in use';
    Test::Lines::Client->reset_connection($socket);
    wait_for(sub { create('gone')->status == 200 }, 10, 'the end of a call whose caller left');
    is_deeply effects, [qw(subscription charge)], 'it was made once';
};


subtest 'a stored 500' => sub {
    $sandbox->reset;
    add_fault('500_stored');

    my $answer = create('one');

    is_deeply error($answer), \@STORED, 'an error';
    is $answer->header('Stripe-Should-Retry'), 'false', 'not to be tried again';
    is $answer->header('Idempotent-Replayed'), undef, 'the first time no replay';

    my $again = create('one');

    is $again->body, $answer->body, 'the same for ever';
    is $again->header('Idempotent-Replayed'), 'true', 'as a replay';
    is $again->header('Stripe-Should-Retry'), 'false', 'with the same advice';
    is_deeply effects, [], 'no effect';
    is create('two')->status, 200, 'another key is free';

    $sandbox->reset;
    add_fault('500_stored', effect => \1);
    is create('one')->status, 500, 'an error';
    is create('one')->status, 500, 'for ever';
    is_deeply effects, [qw(subscription charge)], 'though it was done';

    $sandbox->reset;
    create('one');
    add_fault('500_stored');
    is create('one')->header('Idempotent-Replayed'), 'true', 'a saved answer comes before it';
    is create('two')->status, 500, 'the next key gets it';
};


subtest 'which request a fault meets' => sub {
    $sandbox->reset;

    my $id = create('one')->json('/id');

    $sandbox->fault(path => "/v1/subscriptions/$id", kind => '500', method => 'delete');
    $sandbox->fault(path => '/v1/subscriptions/:id', kind => '429', times => 2);

    is $sandbox->call(GET => '/v1/subscriptions')->status, 200, 'the path is exact';
    $sandbox->fault(path => '/v1/subscriptions', kind => '400', param => 'starting_after');
    is $sandbox->call(GET => '/v1/subscriptions?limit=1')->status, 200, '... and the parameter that it must have';
    is $sandbox->call(GET => "/v1/subscriptions?starting_after=$id")->status, 400, '... is of the query';
    is $sandbox->call(DELETE => "/v1/subscriptions/$id")->status, 500, 'the first that fits';
    is $sandbox->call(GET => "/v1/subscriptions/$id")->status, 429, 'the method counts';
    is $sandbox->call(GET => '/v1/subscriptions/sub_x')->status, 429, 'any segment';
    is $sandbox->call(DELETE => "/v1/subscriptions/$id")->status, 200, 'until they are used up';
    is_deeply [map { [@{$_}{qw(times seen)}] } @{$sandbox->control('faults')->{faults}}], [[0, 1], [0, 2], [0, 1]], 'which shows';

    add_fault('500', times => 1000);
    $sandbox->clear_faults;
    is create('two')->status, 200, 'cleared';

    add_fault('500');
    is $sandbox->call(POST => '/v1/subscriptions', \%create, {Authorization => undef})->status, 401, 'a stranger uses none up';
    is create('three')->status, 500, 'it is still there';
    is(($sandbox->requests)[-1]{fault}, '500', 'the log names it');
};

$t->done;
