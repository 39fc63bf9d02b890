use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Test::Lines;

# What the billing sandbox answers: objects, moves between states, errors, lists, the clock, the hosted page, the ledger.

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;
my $keys    = 0;

sub post ($path, %params) {
    return $sandbox->call(POST => $path, \%params, {'Idempotency-Key' => 'key-' . ++$keys});
}

sub get ($path, %params) { $sandbox->call(GET => $path, \%params) }

sub add_on (%params) {
    my $answer = post('/v1/subscriptions',
        customer             => 'cus_card',
        'items[0][price]'    => 'price_phone',
        payment_behavior     => 'default_incomplete',
        'expand[0]'          => 'latest_invoice',
        'metadata[tenant]'   => 'w:one',
        %params);

    is $answer->status, 200, 'an add-on is created' or diag $answer->to_string;

    return ($answer->json, $answer->json('/latest_invoice'));
}

sub purchase (%params) {
    return post('/v1/subscriptions',
        customer           => 'cus_card',
        'items[0][price]'  => 'price_agent',
        payment_behavior   => 'error_if_incomplete',
        off_session        => 'true',
        'metadata[tenant]' => 'a:one',
        %params);
}

# status, type, code and parameter of an error
sub refusal ($answer) {
    my $error = $answer->json('/error') // {};
    return [$answer->status, @{$error}{qw(type code param)}];
}

sub types (@entries) { [map { $_->{type} } @entries] }


subtest 'who may call' => sub {
    for my $header (undef, 'Bearer ', 'Bearer sk_test_other', 'Bearer sk_live_lines', 'Basic c2tfdGVzdF9vdGhlcjo=', 'Digest x') {
        my $answer = $sandbox->call(GET => '/v1/customers/cus_card', {}, {Authorization => $header});

        is $answer->status, 401, 'refused: ' . ($header // 'no header');
        is $answer->json('/error/type'), 'invalid_request_error', 'in the form of an error';
        unlike $answer->body, qr/sk_test_[a-z]/, 'without the key in it';
    }

    is $sandbox->call(GET => '/v1/customers/cus_card', {}, {Authorization => 'Basic c2tfdGVzdF9saW5lczo='})->status, 200,
        'the key as a user name';

    my $answer = get('/v1/customers/cus_card');

    is $answer->status, 200, 'the key as a token';
    like $answer->header('Request-Id'), qr/^req_\w+$/, 'a request id';
    is $answer->header('Stripe-Version'), '2026-10-28.endive', 'the version comes back';
    is $sandbox->call(GET => '/v1/customers/cus_card', {}, {'Stripe-Version' => 'yesterday'})->status, 400, 'no such version';
    is_deeply refusal(get('/v1/nothing')), [404, 'invalid_request_error', undef, undef], 'no such call';
    is_deeply [grep { defined $_ && /sk_test/ } map { (%$_) } $sandbox->requests], [], 'no key in the log of requests';
};


subtest 'customers and their cards' => sub {
    my %methods = (cus_card => 1, cus_nocard => 0, cus_declined => 1, cus_3ds => 1);

    for my $id (sort keys %methods) {
        my $default = get("/v1/customers/$id")->json('/invoice_settings/default_payment_method');
        my $list    = get("/v1/customers/$id/payment_methods", type => 'card', limit => 1)->json;

        is defined $default, !!$methods{$id}, "$id has a default card or none";
        is @{$list->{data}}, $methods{$id}, 'and lists it';
        is $list->{data}[0]{id}, $default, 'the same one';
    }

    is_deeply refusal(get('/v1/customers/cus_x')), [404, 'invalid_request_error', 'resource_missing', 'id'], 'no such customer';

    $sandbox->customer(cus_source => 'ok', 'source');
    $sandbox->customer(cus_attached => 'ok', 'attached');

    my $customer = get('/v1/customers/cus_source')->json;

    like $customer->{default_source}, qr/^card_/, 'a legacy source';
    is $customer->{invoice_settings}{default_payment_method}, undef, 'is no default payment method';
    is purchase(customer => 'cus_source')->json('/status'), 'active', 'and is charged';

    $customer = get('/v1/customers/cus_attached')->json;

    is $customer->{default_source} // $customer->{invoice_settings}{default_payment_method}, undef, 'only attached: no default';
    is refusal(purchase(customer => 'cus_attached'))->[2], 'resource_missing', 'and not charged unless named';

    my $method = get('/v1/customers/cus_attached/payment_methods')->json('/data/0/id');

    is purchase(customer => 'cus_attached', default_payment_method => $method)->json('/status'), 'active', 'named, it is';
    is_deeply refusal(purchase(default_payment_method => $method)),
        [400, 'invalid_request_error', 'resource_missing', 'default_payment_method'], 'but for its own customer only';

    is_deeply get('/v1/customers/cus_card/payment_methods', type => 'link')->json('/data'), [], 'none of another type';

    $sandbox->customer(cus_attached => 'none');
    is_deeply get('/v1/customers/cus_attached/payment_methods')->json('/data'), [], 'a card can be taken away';
};


subtest 'an add-on, paid' => sub {
    $sandbox->reset;

    my ($subscription, $invoice) = add_on('metadata[line_request]' => '7', 'items[0][quantity]' => 2);

    is $subscription->{status}, 'incomplete', 'waits for its payment';
    is_deeply $subscription->{metadata}, {tenant => 'w:one', line_request => '7'}, 'metadata are kept';
    is $invoice->{status}, 'open', 'its invoice is open';
    is $invoice->{amount_due}, 5800, 'twice the price';
    is_deeply $invoice->{metadata}, {}, 'an invoice has no metadata of its own';
    is_deeply $invoice->{parent}{subscription_details},
        {subscription => $subscription->{id}, metadata => $subscription->{metadata}}, 'and names its subscription and its metadata';
    ok !exists $invoice->{subscription}, 'not as old versions did';
    like $invoice->{hosted_invoice_url}, qr/^\Q${\$sandbox->url}\E\/i\/in_\w+$/, 'its page lies at the sandbox itself';

    is get("/v1/subscriptions/$subscription->{id}")->json('/latest_invoice'), $invoice->{id}, 'not expanded: an id';
    is_deeply get("/v1/invoices/$invoice->{id}")->json, $invoice, 'read, it is the same';

    is $sandbox->pay($invoice->{id})->{status}, 'paid', 'paid';

    my $paid = get("/v1/invoices/$invoice->{id}", 'expand[]' => 'payments')->json;

    is_deeply [@{$paid}{qw(status amount_paid amount_remaining)}], ['paid', 5800, 0], 'the invoice says so';
    like $paid->{payments}{data}[0]{payment}{payment_intent}, qr/^pi_/, 'and by what';
    is get("/v1/subscriptions/$subscription->{id}")->json('/status'), 'active', 'the subscription is active';

    $sandbox->pay($invoice->{id});

    my @ledger = $sandbox->ledger;

    is_deeply types(@ledger), [qw(subscription charge)], 'paid once, however often it is tried';
    is_deeply [sort keys %{$ledger[1]}], [qw(amount at currency customer invoice metadata subscription type)], 'an entry has it all';
    is_deeply $ledger[1], {
        type         => 'charge',
        amount       => 5800,
        currency     => 'usd',
        customer     => 'cus_card',
        subscription => $subscription->{id},
        invoice      => $invoice->{id},
        metadata     => $subscription->{metadata},
        at           => $ledger[1]{at},
    }, 'and is right';
    cmp_ok abs($ledger[1]{at} - time), '<', 60, 'to the second';

    is_deeply refusal(post("/v1/invoices/$invoice->{id}/void")), [400, 'invalid_request_error', undef, undef], 'not to be voided';
};


subtest 'an add-on, given up' => sub {
    $sandbox->reset;

    my ($subscription, $invoice) = add_on();

    is post("/v1/invoices/$invoice->{id}/void")->json('/status'), 'void', 'voided';
    is get("/v1/subscriptions/$subscription->{id}")->json('/status'), 'incomplete', 'the subscription is not moved by that';
    is refusal(post("/v1/invoices/$invoice->{id}/void"))->[0], 400, 'voided once only';
    is $sandbox->pay($invoice->{id})->{status}, 'void', 'and not paid any more';

    my $canceled = $sandbox->call(DELETE => "/v1/subscriptions/$subscription->{id}")->json;

    is $canceled->{status}, 'canceled', 'canceled';
    ok $canceled->{canceled_at} && $canceled->{ended_at}, 'with its instants';
    is_deeply refusal($sandbox->call(DELETE => "/v1/subscriptions/$subscription->{id}")),
        [404, 'invalid_request_error', 'resource_missing', 'id'], 'canceled once only';
    is get("/v1/subscriptions/$subscription->{id}")->json('/status'), 'canceled', 'and still there to be read';

    my @ledger = $sandbox->ledger;

    is_deeply types(@ledger), [qw(subscription void cancel)], 'each effect once, in order';
    is_deeply [map { $_->{invoice} } @ledger], [($invoice->{id}) x 3], 'each names the invoice';
};


subtest 'a purchase' => sub {
    $sandbox->reset;

    my $answer = purchase('metadata[operation]' => 'op');

    is $answer->json('/status'), 'active', 'active at once';
    is_deeply types($sandbox->ledger), [qw(subscription charge)], 'charged';

    my %refusals = (
        cus_declined => [402, 'card_error',            'card_declined',           undef],
        cus_3ds      => [402, 'card_error',            'authentication_required', undef],
        cus_nocard   => [400, 'invalid_request_error', 'resource_missing',        undef],
        cus_x        => [400, 'invalid_request_error', 'resource_missing',        'customer'],
    );

    for my $customer (sort keys %refusals) {
        my $refused = purchase(customer => $customer);

        is_deeply refusal($refused), $refusals{$customer}, "$customer is refused";
        ok length $refused->json('/error/message'), 'with a message';
    }

    is purchase(customer => 'cus_declined')->json('/error/decline_code'), 'generic_decline', 'with a decline code';
    is_deeply refusal(purchase('items[0][price]' => 'price_missing')),
        [400, 'invalid_request_error', 'resource_missing', 'items[0][price]'], 'no such price';
    is_deeply types($sandbox->ledger), [qw(subscription charge)], 'a refusal has no effect';
    is_deeply get('/v1/subscriptions', customer => 'cus_declined', status => 'all')->json('/data'), [], 'and leaves nothing behind';

    my $free = purchase('items[0][price]' => 'price_free')->json;

    is $free->{status}, 'active', 'what costs nothing is active';
    is get("/v1/invoices/$free->{latest_invoice}")->json('/amount_paid'), 0, 'and paid with nothing';
    is_deeply types($sandbox->ledger), [qw(subscription charge subscription)], 'no charge of nothing';

    my $tried = purchase(customer => 'cus_declined', payment_behavior => 'allow_incomplete')->json;

    is $tried->{status}, 'incomplete', 'allowed to be incomplete';
    is get("/v1/invoices/$tried->{latest_invoice}")->json('/attempt_count'), 1, 'with its failed attempt';
};


subtest 'money back' => sub {
    $sandbox->reset;

    my $subscription = purchase('metadata[operation]' => 'op')->json;
    my $invoice      = $subscription->{latest_invoice};

    is refusal(post('/v1/credit_notes', invoice => 'in_x', amount => 1, refund_amount => 1))->[3], 'invoice', 'no such invoice';
    is refusal(post('/v1/credit_notes', invoice => $invoice, amount => 5000, refund_amount => 5000))->[0], 400, 'too much';
    is refusal(post('/v1/credit_notes', invoice => $invoice, amount => 4900, refund_amount => 900))->[0], 400, 'a sum that is wrong';
    is refusal(post('/v1/credit_notes', invoice => $invoice, amount => -1, refund_amount => -1))->[0], 400, 'less than nothing';

    my $note = post('/v1/credit_notes', invoice => $invoice, amount => 4900, refund_amount => 4900, 'metadata[why]' => 'undo')->json;

    is $note->{status}, 'issued', 'a credit note';
    is $note->{refunds}[0]{amount_refunded}, 4900, 'with its refund';
    is refusal(post('/v1/credit_notes', invoice => $invoice, amount => 4900, refund_amount => 4900))->[0], 400, 'not twice';

    my ($refund) = $sandbox->ledger('refund');

    is_deeply $refund, {
        type         => 'refund',
        amount       => 4900,
        currency     => 'usd',
        customer     => 'cus_card',
        subscription => $subscription->{id},
        invoice      => $invoice,
        metadata     => {tenant => 'a:one', operation => 'op', why => 'undo'},
        at           => $refund->{at},
    }, 'the ledger has the refund, with whose it is';
    is_deeply types($sandbox->ledger), [qw(subscription charge refund)], 'and nothing else';

    is get("/v1/credit_notes/$note->{id}")->json('/invoice'), $invoice, 'read by id';
    is get('/v1/credit_notes', invoice => $invoice)->json('/data/0/id'), $note->{id}, 'listed by invoice';
    is_deeply get('/v1/credit_notes', invoice => 'in_other')->json('/data'), [], 'another has none';
    is get('/v1/refunds')->json('/data/0/id'), $note->{refunds}[0]{refund}, 'the refund is listed';
    is get("/v1/refunds/$note->{refunds}[0]{refund}")->json('/status'), 'succeeded', 'and read by id';
    is get("/v1/invoices/$invoice")->json('/post_payment_credit_notes_amount'), 4900, 'the invoice knows';

    my $second  = purchase()->json;
    my $payment = get("/v1/invoices/$second->{latest_invoice}", 'expand[]' => 'payments')->json('/payments/data/0/payment/payment_intent');

    is post('/v1/refunds', payment_intent => $payment, amount => 900)->json('/amount'), 900, 'a part, without a note';
    is post('/v1/credit_notes', invoice => $second->{latest_invoice}, amount => 4000, credit_amount => 3000, refund_amount => 1000)
        ->status, 200, 'part credit, part refund';
    is refusal(post('/v1/credit_notes', invoice => $second->{latest_invoice}, amount => 1, refund_amount => 1))->[0], 400,
        'and then nothing is left';
    is_deeply [map { [@{$_}{qw(type amount)}] } ($sandbox->ledger)[5 .. 7]], [[refund => 900], [refund => 1000], [credit => 3000]],
        'each for itself';

    my (undef, $open) = add_on();

    is refusal(post('/v1/credit_notes', invoice => $open->{id}, amount => 1, refund_amount => 1))->[0], 400, 'unpaid: nothing to give';
};


# what a customer's invoice says of its money
sub money ($invoice) {
    return {map { ($_ => get("/v1/invoices/$invoice")->json("/$_")) } qw(status amount_due amount_paid amount_remaining)};
}

sub balance ($customer) { get("/v1/customers/$customer")->json('/balance') }


subtest 'how an invoice is paid' => sub {
    $sandbox->reset;

    my ($subscription, $invoice) = add_on();
    my $id = $invoice->{id};

    is_deeply money($id), {status => 'open', amount_due => 2900, amount_paid => 0, amount_remaining => 2900}, 'not yet';

    my $payments = get('/v1/invoice_payments', invoice => $id)->json('/data');
    is @$payments, 1, 'one payment is expected';
    is_deeply [@{$payments->[0]}{qw(status amount_requested amount_paid)}], ['open', 2900, undef], 'which is open';

    $sandbox->pay($id, 'ok', 900);
    is_deeply money($id), {status => 'open', amount_due => 2900, amount_paid => 900, amount_remaining => 2000}, 'a part of it';
    is get("/v1/subscriptions/$subscription->{id}")->json('/status'), 'incomplete', 'does not do';

    $sandbox->pay($id);
    is_deeply money($id), {status => 'paid', amount_due => 2900, amount_paid => 2900, amount_remaining => 0}, 'the rest does';
    is_deeply [sort { $a <=> $b } map { $_->{amount_paid} } @{get('/v1/invoice_payments', invoice => $id, status => 'paid')->json('/data')}],
        [900, 2000], 'two payments';

    my $intent = $payments->[0]{payment}{payment_intent};
    is_deeply [map { $_->{invoice} } @{get('/v1/invoice_payments', 'payment[type]' => 'payment_intent', 'payment[payment_intent]' => $intent)->json('/data')}],
        [$id], 'whose a payment intent is';
    is refusal(get('/v1/invoice_payments', 'payment[payment_intent]' => $intent))->[3], 'payment[type]', 'its type must be said';
    is get("/v1/invoice_payments/$payments->[0]{id}")->json('/amount_paid'), 2000, 'read by id';

    # more than enough
    (undef, $invoice) = add_on();
    is_deeply [@{$sandbox->pay($invoice->{id}, 'ok', 3000)}{qw(status amount_paid amount_overpaid)}], ['paid', 2900, 100], 'what is too much';
    is balance('cus_card'), -100, 'is on the balance';

    # the next one takes it from there
    (undef, $invoice) = add_on();
    is_deeply [@$invoice{qw(total starting_balance ending_balance amount_due)}], [2900, -100, 0, 2800], 'and is taken from there';
    is balance('cus_card'), 0, 'once';
    is_deeply [map { [@$_{qw(type amount ending_balance)}] } @{get('/v1/customers/cus_card/balance_transactions')->json('/data')}],
        [[applied_to_invoice => 100, 0], [invoice_overpaid => -100, -100]], 'both are written down';
    $sandbox->void($invoice->{id});
    is balance('cus_card'), -100, 'a void invoice gives it back';
    $sandbox->endow(cus_card => 5000);

    my $free = purchase('expand[]' => 'latest_invoice')->json;
    is $free->{status}, 'active', 'a balance that is enough';
    is_deeply money($free->{latest_invoice}{id}), {status => 'paid', amount_due => 0, amount_paid => 0, amount_remaining => 0}, 'pays it all';
    is_deeply get('/v1/invoice_payments', invoice => $free->{latest_invoice}{id})->json('/data'), [], 'without a payment';
    is balance('cus_card'), -200, 'the rest stays';
    is post('/v1/credit_notes', invoice => $free->{latest_invoice}{id}, amount => 4900, refund_amount => 4900)->status, 400, 'no card had it';
    my $note = post('/v1/credit_notes', invoice => $free->{latest_invoice}{id}, amount => 4900, credit_amount => 4900)->json;
    is balance('cus_card'), -5100, 'it goes back to the balance';
    like $note->{customer_balance_transaction}, qr/^cbtxn_/, 'as the note says';

    # outside of Stripe
    my $nobody = post('/v1/subscriptions', customer => 'cus_nocard', 'items[0][price]' => 'price_phone', payment_behavior => 'default_incomplete')->json;
    my $unpaid = $nobody->{latest_invoice};
    is refusal(post("/v1/invoices/$unpaid/pay"))->[0], 400, 'no card';
    is post("/v1/invoices/$unpaid/pay", paid_out_of_band => 'true')->json('/status'), 'paid', 'paid otherwise';
    is_deeply money($unpaid), {status => 'paid', amount_due => 2900, amount_paid => 2900, amount_remaining => 0}, 'which counts as paid';
    is get("/v1/invoices/$unpaid", 'expand[]' => 'amount_paid_off_stripe')->json('/amount_paid_off_stripe'), 2900, 'outside of Stripe';
    is get('/v1/invoice_payments', invoice => $unpaid, status => 'paid')->json('/data/0/payment/type'), 'payment_record', 'by a record';
    is get("/v1/subscriptions/$nobody->{id}")->json('/status'), 'active', 'and active';
    is refusal(post("/v1/invoices/$unpaid/pay"))->[0], 400, 'once';
    is post('/v1/credit_notes', invoice => $unpaid, amount => 2900, refund_amount => 2900)->status, 400, 'no card to give it back to';
    is post('/v1/credit_notes', invoice => $unpaid, amount => 2900, out_of_band_amount => 2900)->json('/out_of_band_amount'), 2900, 'but otherwise';
    is_deeply [map { "$_->{type} $_->{amount}" } grep { $_->{invoice} eq $unpaid } $sandbox->ledger],
        ['subscription 2900', 'out_of_band 2900', 'credit 2900'], 'the ledger has no charge';

    # before it is paid, a note takes from what is due
    $sandbox->customer('cus_new');
    my ($cheaper, $open) = add_on(customer => 'cus_new');
    is post('/v1/credit_notes', invoice => $open->{id}, amount => 900)->json('/type'), 'pre_payment', 'a note on what is open';
    is_deeply money($open->{id}), {status => 'open', amount_due => 2000, amount_paid => 0, amount_remaining => 2000}, 'makes it less';
    is_deeply [@{post('/v1/credit_notes', invoice => $open->{id}, amount => 2000)->json}{qw(pre_payment_amount post_payment_amount)}], [2000, 0], 'or nothing';
    is get("/v1/subscriptions/$cheaper->{id}")->json('/status'), 'active', 'and then it is paid';
};


subtest 'what becomes of refunds' => sub {
    $sandbox->reset;
    $sandbox->customer(cus_slow => 'ok', 'default', 'pending');

    my $invoice = purchase(customer => 'cus_slow')->json('/latest_invoice');
    my $refund  = $sandbox->refund($invoice, 900);

    is_deeply [@$refund{qw(status pending_reason amount)}], ['pending', 'processing', 900], 'it may take a while';
    is $sandbox->settle($refund->{id} => 'succeeded')->{status}, 'succeeded', 'and succeeds';
    is $sandbox->settle($refund->{id} => 'failed')->{failure_reason}, 'expired_or_canceled_card', 'or fails even then';
    ok !eval { $sandbox->settle($refund->{id} => 'succeeded'); 1 }, 'for good';

    my $note = $sandbox->credit($invoice, refund_amount => 4900);
    is $sandbox->settle($note->{refunds}[0]{refund} => 'failed')->{status}, 'failed', 'that of a credit note as well';
    is get("/v1/credit_notes/$note->{id}")->json('/status'), 'issued', 'which is none the wiser';
    is get("/v1/invoices/$invoice")->json('/post_payment_credit_notes_amount'), 4900, 'nor is the invoice';
    is_deeply [map { $_->{status} } @{get('/v1/refunds')->json('/data')}], [qw(failed failed)], 'only the refunds know';
    is_deeply [map { "$_->{type} $_->{amount}" } ($sandbox->ledger)[2 .. 5]], ['refund 900', 'refund_failed 900', 'refund 4900', 'refund_failed 4900'],
        'and the ledger';
    is get('/v1/events', type => 'refund.failed')->json('/data/0/data/previous_attributes/status'), 'pending', 'there is an event';

    my $again = $sandbox->refund($invoice);
    is $again->{amount}, 4900, 'all can be refunded anew';
    is $sandbox->settle($again->{id} => 'canceled')->{status}, 'canceled', 'and canceled while it is pending';

    # a note for what was refunded before
    my $second = purchase()->json('/latest_invoice');
    my $bare   = $sandbox->refund($second, 1000);
    my $late   = post('/v1/credit_notes', invoice => $second, amount => 1000, 'refunds[0][refund]' => $bare->{id}, 'refunds[0][amount_refunded]' => 1000)->json;
    is_deeply [map { $_->{refund} } @{$late->{refunds}}], [$bare->{id}], 'a note may take up a refund';
    is get('/v1/refunds', charge => $bare->{charge})->json('/data/1'), undef, 'which is none more';
    is post('/v1/credit_notes', invoice => $second, amount => 4000, refund_amount => 4000)->status, 400, 'too much';
    is post('/v1/credit_notes', invoice => $second, amount => 3900, refund_amount => 3900)->status, 200, 'the rest';
};


subtest 'disputes' => sub {
    $sandbox->reset;

    my $invoice = purchase()->json('/latest_invoice');
    my $dispute = $sandbox->dispute($invoice, reason => 'fraudulent');

    is_deeply [@$dispute{qw(status amount)}], ['needs_response', 4900], 'a charge is taken back';
    is $dispute->{is_charge_refundable}, Mojo::JSON->false, 'and cannot be refunded';
    is refusal(post('/v1/refunds', charge => $dispute->{charge}))->[2], 'charge_disputed', 'as it says';
    is refusal(post('/v1/credit_notes', invoice => $invoice, amount => 4900, refund_amount => 4900))->[2], 'charge_disputed', 'by no means';
    is get('/v1/disputes', charge => $dispute->{charge})->json('/data/0/id'), $dispute->{id}, 'it is listed';
    is get('/v1/disputes', payment_intent => 'pi_other')->json('/data/0'), undef, 'for its charge';
    is $sandbox->judge($dispute->{id} => 'under_review')->{status}, 'under_review', 'it is looked at';
    is $sandbox->judge($dispute->{id} => 'won')->{is_charge_refundable}, Mojo::JSON->true, 'and won';
    is_deeply [map { $_->{amount} } @{get("/v1/disputes/$dispute->{id}")->json('/balance_transactions')}], [-4900, 4900], 'the money is back';
    ok !eval { $sandbox->judge($dispute->{id} => 'lost'); 1 }, 'for good';

    my $other = $sandbox->dispute(purchase()->json('/latest_invoice'), amount => 1000);
    is $sandbox->judge($other->{id} => 'lost')->{status}, 'lost', 'another is lost';

    my $asked = $sandbox->dispute(purchase()->json('/latest_invoice'), status => 'warning_needs_response');
    is $asked->{is_charge_refundable}, Mojo::JSON->true, 'who only asks takes nothing';
    is $sandbox->judge($asked->{id} => 'warning_closed')->{status}, 'warning_closed', 'and may leave it at that';

    is_deeply [map { "$_->{type} $_->{amount}" } grep { $_->{type} =~ /^(?:dispute|reinstated)$/ } $sandbox->ledger],
        ['dispute 4900', 'reinstated 4900', 'dispute 1000'], 'the ledger has what was taken, and what came back';

    my %events;
    $events{$_->{type}}++ for grep { $_->{type} =~ /dispute/ } @{get('/v1/events', limit => 100)->json('/data')};
    is_deeply \%events, {
        'charge.dispute.created'          => 3,
        'charge.dispute.funds_withdrawn'  => 2,
        'charge.dispute.updated'          => 1,
        'charge.dispute.closed'           => 3,
        'charge.dispute.funds_reinstated' => 1,
    }, 'each with its event';
};


subtest 'lists of all there is' => sub {
    $sandbox->reset;

    my $start = $sandbox->now;
    my @old   = map { purchase()->json } 1 .. 3;
    $sandbox->refund($_->{latest_invoice}, 100) for @old;
    $sandbox->credit($old[0]{latest_invoice}, credit_amount => 100);
    $sandbox->dispute($old[1]{latest_invoice});

    my $later = $sandbox->advance(3600);
    my $new   = purchase('items[0][price]' => 'price_phone')->json;
    my $last = $sandbox->refund($new->{latest_invoice}, 200);

    my %count = (subscriptions => [3, 1], invoices => [3, 1], invoice_payments => [3, 1], refunds => [3, 1], credit_notes => [1, 0], disputes => [1, 0]);

    for my $list (sort keys %count) {
        is_deeply [map { scalar @{get("/v1/$list", limit => 100, @$_)->json('/data')} } ['created[lt]' => $later], ['created[gte]' => $later]],
            $count{$list}, "$list: before, and after";
    }

    is @{get('/v1/refunds', 'created[gte]' => $start, 'created[lte]' => $later + 60)->json('/data')}, 4, 'between';
    is @{get('/v1/refunds', 'created[gt]' => $later + 60)->json('/data')}, 0, 'after all';
    is get('/v1/refunds', created => $last->{created})->json('/data/0/id'), $last->{id}, 'at an instant';
    is refusal(get('/v1/refunds', 'created[gte]' => 'noon'))->[3], 'created[gte]', 'which is a number';
    is refusal(get('/v1/refunds', 'created[after]' => 1))->[2], 'parameter_unknown', 'and its bounds have their names';
    is @{get('/v1/subscriptions', price => 'price_agent', status => 'all')->json('/data')}, 3, 'by price';
    is @{get('/v1/subscriptions', status => 'active')->json('/data')}, 4, 'by status';

    # one that leaves the list while it is read
    my $first = get('/v1/subscriptions', status => 'active', limit => 2)->json;
    $sandbox->cancel($first->{data}[-1]{id});
    is_deeply [map { $_->{id} } @{get('/v1/subscriptions', status => 'active', starting_after => $first->{data}[-1]{id})->json('/data')}],
        [map { $_->{id} } @old[1, 0]], 'a page goes on behind it';
};


subtest 'a hand at the dashboard' => sub {
    $sandbox->reset;

    my $bought = purchase()->json;
    my $before = $sandbox->requests;

    $sandbox->fault(path => '/v1/refunds', kind => '500', times => 9);
    is $sandbox->refund($bought->{latest_invoice})->{amount}, 4900, 'refunds';
    is $sandbox->cancel($bought->{id})->{status}, 'canceled', 'cancels';
    is scalar(my @after = $sandbox->requests), $before, 'and is in no log';
    ok !eval { $sandbox->hand(GET => '/v1/refunds'); 1 }, 'but lists nothing';
    ok !eval { $sandbox->hand(POST => '/v1/refunds', colour => 'red'); 1 }, 'and knows the parameters';
    is_deeply {map { ($_ => scalar @{$sandbox->books->{$_}}) } qw(subscription invoice payment refund credit_note dispute)},
        {subscription => 1, invoice => 1, payment => 1, refund => 1, credit_note => 0, dispute => 0}, 'the books have it all';
};


subtest 'parameters' => sub {
    my @wrong = (
        [parameter_missing         => 'customer',           {customer                        => undef}],
        [parameter_missing         => 'items[0][price]',    {'items[0][price]' => undef, 'items[0][quantity]' => 1}],
        [parameter_missing         => 'items',              {'items[0][price]'               => undef}],
        [parameter_unknown         => 'colour',             {colour                          => 'red'}],
        [parameter_unknown         => 'items[0][prise]',    {'items[0][prise]'               => 'price_phone'}],
        [parameter_invalid_integer => 'items[0][quantity]', {'items[0][quantity]'            => 'two'}],
        [parameter_invalid_empty   => 'customer',           {customer                        => ''}],
        [undef,                       'payment_behavior',   {payment_behavior                => 'hope'}],
        [undef,                       'off_session',        {off_session                     => 'maybe'}],
        [undef,                       'expand',             {'expand[]'                      => 'everything'}],
        [undef,                       "metadata[${\('k' x 41)}]", {'metadata[' . 'k' x 41 . ']' => 1}],
        [undef,                       'metadata[long]',     {'metadata[long]'                => 'v' x 501}],
    );

    for my $wrong (@wrong) {
        my ($code, $param, $change) = @$wrong;
        my %params = (customer => 'cus_card', 'items[0][price]' => 'price_phone', %$change);

        delete $params{$_} for grep { !defined $params{$_} } keys %params;

        is_deeply refusal(post('/v1/subscriptions', %params)), [400, 'invalid_request_error', $code, $param],
            'refused: ' . substr Test::More::explain($change), 0, 60;
    }

    is $sandbox->client->request(POST => '/v1/subscriptions',
        {Authorization => 'Bearer sk_test_lines', 'Content-Type' => 'application/json'}, '{"customer":"cus_card"}')->status, 400,
        'JSON is no form';

    for my $form ('a=1&a[b]=2', 'a[b]=1&a=2', '[x]=1', 'a[=1', 'a]b=1') {
        is $sandbox->client->request(POST => '/v1/subscriptions',
            {Authorization => 'Bearer sk_test_lines', 'Content-Type' => 'application/x-www-form-urlencoded'}, $form)->status, 400,
            "no form either: $form";
    }

    my ($subscription) = add_on('metadata[1]' => 'one', 'metadata[empty]' => '', 'metadata[é]' => 'ü & <b>');

    is_deeply $subscription->{metadata}, {1 => 'one', tenant => 'w:one', 'é' => 'ü & <b>'}, 'keys of metadata are free';
    is_deeply [$sandbox->requests]->[-1]{params}{metadata}{'é'}, 'ü & <b>', 'the log has the parameters decoded';
};


subtest 'lists' => sub {
    $sandbox->reset;

    my @made = map { (add_on('metadata[n]' => $_))[0]{id} } 1 .. 7;

    is_deeply get('/v1/subscriptions', customer => 'cus_nocard', status => 'all')->json,
        {object => 'list', data => [], has_more => Mojo::JSON::false, url => '/v1/subscriptions'}, 'an empty one';

    my (@seen, $after, $pages);

    do {
        my $page = get('/v1/subscriptions', customer => 'cus_card', status => 'all', limit => 3, $after ? (starting_after => $after) : ())
            ->json;
        push @seen, map { $_->{id} } @{$page->{data}};
        $after = $page->{has_more} ? $seen[-1] : undef;
        $pages++;
    } while $after && $pages < 10;

    is_deeply \@seen, [reverse @made], 'page by page, newest first';
    is $pages, 3, 'in three pages';

    is_deeply [map { $_->{id} } @{get('/v1/subscriptions', limit => 2, ending_before => $made[0])->json('/data')}],
        [@made[2, 1]], 'backwards';
    is_deeply refusal(get('/v1/subscriptions', starting_after => 'sub_x')),
        [400, 'invalid_request_error', 'resource_missing', 'starting_after'], 'after nothing';
    is refusal(get('/v1/subscriptions', limit => $_))->[3], 'limit', "limit $_" for 0, 101;
    is refusal(get('/v1/subscriptions', customer => 'cus_x'))->[3], 'customer', 'of no such customer';

    $sandbox->call(DELETE => "/v1/subscriptions/$made[0]");

    my %count = (all => 7, canceled => 1, ended => 1, incomplete => 6, active => 0);

    for my $status (sort keys %count) {
        is @{get('/v1/subscriptions', status => $status)->json('/data')}, $count{$status}, "status $status";
    }

    is @{get('/v1/subscriptions')->json('/data')}, 6, 'canceled ones are hidden by default';
    is ref get('/v1/subscriptions', 'expand[]' => 'data.latest_invoice')->json('/data/0/latest_invoice'), 'HASH', 'expanded in a list';
    is refusal(get('/v1/subscriptions', 'expand[]' => 'latest_invoice'))->[0], 400, 'with "data." only';
    is @{get('/v1/invoices', status => 'open', limit => 100)->json('/data')}, 7, 'invoices';
    is @{get('/v1/invoices', subscription => $made[3])->json('/data')}, 1, 'of one subscription';
    is get('/v1/events', type => 'customer.subscription.deleted')->json('/data/0/data/object/id'), $made[0], 'events';
};


subtest 'the clock' => sub {
    $sandbox->reset;

    my ($early, $first)  = add_on();
    my ($paid,  $second) = add_on();

    $sandbox->pay($second->{id});
    $sandbox->advance(3600);

    my ($late, $third) = add_on();

    $sandbox->advance(22 * 3600 - 60);
    is get("/v1/subscriptions/$early->{id}")->json('/status'), 'incomplete', 'a minute before its end';

    $sandbox->advance(60);
    is get("/v1/subscriptions/$early->{id}")->json('/status'), 'incomplete_expired', 'expired after 23 hours';
    is get("/v1/invoices/$first->{id}")->json('/status'), 'void', 'its invoice is void';
    is get("/v1/subscriptions/$paid->{id}")->json('/status'), 'active', 'what was paid stays';
    is get("/v1/subscriptions/$late->{id}")->json('/status'), 'incomplete', 'what is younger too';
    is $sandbox->pay($first->{id})->{status}, 'void', 'too late to pay';
    is refusal($sandbox->call(DELETE => "/v1/subscriptions/$early->{id}"))->[0], 404, 'nothing left to cancel';
    is_deeply types(($sandbox->ledger)[4 .. 5]), [qw(void cancel)], 'the ledger has its end';
    is get('/v1/subscriptions', status => 'ended')->json('/data/0/id'), $early->{id}, 'ended';

    is $sandbox->pay($third->{id})->{status}, 'paid', 'the younger is still paid';
    cmp_ok abs($sandbox->now - 23 * 3600 - time), '<', 60, 'the clock tells its time';
};


subtest 'bought elsewhere' => sub {
    $sandbox->reset;

    my $base = $sandbox->adopt(customer => 'cus_card', price => 'price_growth', metadata => {plan => 'growth'});

    is $base->{status}, 'active', 'a base plan';
    is $base->{items}{data}[0]{price}{id}, 'price_growth', 'with its price';
    is $sandbox->move($base->{id}, status => $_)->{status}, $_, "becomes $_" for qw(past_due active unpaid);
    is $sandbox->move($base->{id}, price => 'price_mini')->{items}{data}[0]{price}{id}, 'price_mini', 'changes its price';
    is get("/v1/subscriptions/$base->{id}")->json('/status'), 'unpaid', 'as Stripe tells it';
    is $sandbox->move($base->{id}, status => 'canceled')->{status}, 'canceled', 'ends';
    is eval { $sandbox->move($base->{id}, status => 'active') }, undef, 'for good';
    is_deeply types($sandbox->ledger), [qw(subscription cancel)], 'and charges nothing here';

    my ($add_on, $invoice) = add_on();

    $sandbox->pay($invoice->{id});
    is $sandbox->move($add_on->{id}, status => 'past_due')->{status}, 'past_due', 'an add-on lapses likewise';

    (undef, $invoice) = add_on();
    is $sandbox->pay($invoice->{id}, 'declined')->{status}, 'open', 'a declined attempt leaves the invoice open';
    is $sandbox->give_up($invoice->{id})->{status}, 'uncollectible', 'given up';
    is $sandbox->pay($invoice->{id})->{status}, 'paid', 'and paid all the same';
};


subtest 'controls' => sub {
    my $client = $sandbox->client;

    for my $wrong (
        [customers     => {card => 'ok'}],
        [customers     => {id => 'cus_a', card => 'gold'}],
        [faults        => {path => '/v1/subscriptions', kind => 'rain'}],
        [faults        => {kind => '500'}],
        [faults        => {path => '/', kind => 'delay', ms => 'long'}],
        [clock         => {advance => -1}],
        [webhooks      => {duplicate => 'many'}],
        [webhooks      => {to => 'nowhere'}],
        [subscriptions => {}],
        [subscriptions => {customer => 'cus_card', status => 'happy'}],
        [clock         => [1]]
    ) {
        my $answer = $client->post_json("/_sandbox/$wrong->[0]", $wrong->[1]);

        is $answer->status, 400, "refused: $wrong->[0]" or diag $answer->to_string;
        ok length $answer->json('/error'), 'with a reason';
    }

    is $client->post_json('/_sandbox/invoices/in_x/pay', {})->status, 404, 'no such invoice';
    is $client->post('/_sandbox/clock')->status, 200, 'no body is an empty one';
    is $sandbox->control('faults')->{faults}[0], undef, 'nothing was added';
};


subtest 'the hosted page' => sub {
    my ($subscription, $invoice) = add_on('metadata[name]' => '<script>alert("1")</script>');
    my $url  = $invoice->{hosted_invoice_url};
    my $page = $sandbox->client->get($url);
    my $body = Mojo::DOM->new($page->body);

    is $page->status, 200, 'shows';
    like $page->header('Content-Type'), qr{^text/html; *charset=UTF-8}i, 'a page';
    like $page->header('Content-Security-Policy'), qr/default-src 'none'/, 'that loads nothing';
    is $body->at('meta[name=viewport]')->{content}, 'width=device-width, initial-scale=1', 'for phones too';
    like $body->at('.amount')->all_text, qr/\$29\.00/, 'the amount';
    like $body->at('ul')->all_text, qr/Phone line/, 'the line';
    is $body->at('#state')->text, 'Open', 'the state';
    is $body->at('form button')->text, 'Pay', 'the button';
    unlike $page->body, qr/<script/, 'metadata are escaped';
    like $page->body, qr/&lt;script&gt;/, 'and shown';

    my $paid = $sandbox->client->post($sandbox->url($body->at('form')->{action}));

    is $paid->status, 303, 'paying leads';
    is $sandbox->url($paid->header('Location')), $url, 'back to the page';
    is get("/v1/subscriptions/$subscription->{id}")->json('/status'), 'active', 'and pays';

    $page = Mojo::DOM->new($sandbox->client->get($url)->body);
    is $page->at('#state')->text, 'Paid', 'now it is paid';
    is $page->at('form'), undef, 'and cannot be paid again';

    (undef, $invoice) = add_on();
    $sandbox->void($invoice->{id});
    $page = Mojo::DOM->new($sandbox->client->get($invoice->{hosted_invoice_url})->body);
    is $page->at('#state')->text, 'Void', 'a void one says so';
    is $page->at('form'), undef, 'and cannot be paid';
    is $sandbox->client->post("$invoice->{hosted_invoice_url}/pay")->status, 303, 'not by force either';
    is get("/v1/invoices/$invoice->{id}")->json('/status'), 'void', 'it stays void';

    is $sandbox->client->get('/i/in_x')->status, 404, 'a wrong link';
    is $sandbox->client->post('/i/in_x/pay')->status, 404, 'pays nothing';
};


subtest 'renewals' => sub {
    my ($subscription, $first) = add_on();
    my $id = $subscription->{id};

    ok !eval { $sandbox->renew($id); 1 }, 'not before it is paid';
    $sandbox->pay($first->{id});

    my $ends    = get("/v1/subscriptions/$id")->json('/items/data/0/current_period_end');
    my $renewal = $sandbox->renew($id);

    is_deeply [@$renewal{qw(status amount_paid billing_reason)}], ['paid', $first->{total}, 'subscription_cycle'], 'the next period is paid';
    is get("/v1/subscriptions/$id")->json('/items/data/0/current_period_start'), $ends, 'and has begun';
    is get("/v1/subscriptions/$id")->json('/latest_invoice'), $renewal->{id}, 'with its invoice';

    my $open = $sandbox->renew($id, 'declined');

    is $open->{status}, 'open', 'a card that is declined leaves it open';
    is get("/v1/subscriptions/$id")->json('/status'), 'past_due', 'and past due';
    is_deeply [map { $_->{id} } @{get('/v1/invoices', subscription => $id)->json('/data')}], [$open->{id}, $renewal->{id}, $first->{id}],
        'the newest is listed first';
    is_deeply [map { $_->{id} } @{get('/v1/invoices', subscription => $id, starting_after => $open->{id}, limit => 1)->json('/data')}], [$renewal->{id}],
        'page by page';
    is_deeply [map { $_->{amount} } grep { $_->{subscription} eq $id } $sandbox->ledger('charge')], [($first->{total}) x 2], 'two charges';

    $sandbox->pay($open->{id});
    is get("/v1/subscriptions/$id")->json('/status'), 'active', 'paid, it is active again';
};


subtest 'state over a restart' => sub {
    my $kept = $t->sandbox(name => 'kept', state => 1, public_url => 'https://billing.example.com');

    my %create  = (customer => 'cus_card', 'items[0][price]' => 'price_email', 'metadata[name]' => 'Zoë', 'expand[]' => 'latest_invoice',
        payment_behavior => 'default_incomplete');
    my $before = $kept->call(POST => '/v1/subscriptions', \%create, {'Idempotency-Key' => 'kept'});

    is $before->json('/latest_invoice/hosted_invoice_url'),
        'https://billing.example.com/i/' . $before->json('/latest_invoice/id'), 'links name the public address';

    $kept->advance(3600);
    $kept->restart;

    my $after = $kept->call(POST => '/v1/subscriptions', \%create, {'Idempotency-Key' => 'kept'});

    is $after->header('Idempotent-Replayed'), 'true', 'the key is remembered';
    is $after->body, $before->body, 'with its answer';
    is_deeply types($kept->ledger), ['subscription'], 'the ledger too';
    cmp_ok $kept->now, '>=', time + 3500, 'and the clock';

    $kept->advance(22 * 3600);
    is $kept->call(GET => '/v1/subscriptions/' . $before->json('/id'))->json('/status'), 'incomplete_expired', 'and what was to come';
};

$t->done;
