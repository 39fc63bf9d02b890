use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Test::Lines qw(wait_for);
use Test::Lines::Prism;

# Prism, with Stripe's schema, in front of the billing sandbox: it lets good calls pass, refuses bad ones, and has nothing to say
# against any answer of the sandbox.

my ($node, $why_not) = Test::Lines::Prism->available;

plan skip_all => $why_not unless $node;

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;
my $prism   = $t->prism(upstream => $sandbox->url);
my $keys    = 0;

$sandbox->via($prism->url);

my %add_on = (
    'customer'                                       => 'cus_card',
    'items[0][price]'                                => 'price_phone',
    'items[0][quantity]'                             => 1,
    'payment_behavior'                               => 'default_incomplete',
    'payment_settings[save_default_payment_method]'  => 'on_subscription',
    'payment_settings[payment_method_types][0]'      => 'card',
    'metadata[line_request]'                         => 'l1',
    'metadata[tenant]'                               => 'w:one',
    'metadata[lines_deployment]'                     => 'test',
    'expand[0]'                                      => 'latest_invoice',
);
my %purchase = (
    'customer'               => 'cus_card',
    'items[0][price]'        => 'price_agent',
    'default_payment_method' => 'pm_cus_card',
    'payment_behavior'       => 'error_if_incomplete',
    'off_session'            => 'true',
    'metadata[operation]'    => 'o1',
    'metadata[tenant]'       => 'a:one',
);

sub passes ($status, $method, $path, $params = {}, $headers = {}) {
    my $answer = $sandbox->call($method, $path, $params,
        {$method eq 'POST' ? ('Idempotency-Key' => 'key-' . ++$keys) : (), %$headers});

    my $ok = $answer->status == $status && !defined $answer->header('sl-violations') && defined $answer->header('Request-Id');

    ok $ok, "$method $path: $status" or diag $answer->to_string . ' ' . ($answer->header('sl-violations') // '');

    return $answer->json;
}

sub refused ($why, $method, $path, $params = {}, $headers = {}) {
    my $before = $sandbox->requests;
    my $answer = $sandbox->call($method, $path, $params, {'Idempotency-Key' => 'key-' . ++$keys, %$headers});

    is $answer->status, 422, "refused: $why" or diag $answer->to_string;
    is scalar(my @after = $sandbox->requests), $before, 'and not passed on';
}


subtest 'every call and every kind of answer' => sub {
    passes(200, GET => "/v1/customers/$_") for qw(cus_card cus_nocard);
    passes(404, GET => '/v1/customers/cus_x');
    passes(200, GET => "/v1/customers/$_/payment_methods", {type => 'card', limit => 1}) for qw(cus_card cus_nocard);

    $sandbox->customer(cus_source => 'ok', 'source');
    passes(200, GET => '/v1/customers/cus_source');

    passes(200, POST => '/v1/customers/cus_source', {'metadata[lines_database]' => 'id 1'});
    passes(404, POST => '/v1/customers/cus_x', {'metadata[lines_database]' => 'id 1'});

    my $subscription = passes(200, POST => '/v1/subscriptions', \%add_on);
    my $invoice      = $subscription->{latest_invoice}{id};

    passes(200, GET => "/v1/invoices/$invoice");
    passes(200, POST => "/v1/invoices/$invoice/void");
    passes(400, POST => "/v1/invoices/$invoice/void");
    passes(200, DELETE => "/v1/subscriptions/$subscription->{id}");
    passes(404, DELETE => "/v1/subscriptions/$subscription->{id}");
    passes(200, GET => "/v1/subscriptions/$subscription->{id}");

    my $lapsed = passes(200, POST => '/v1/subscriptions', \%add_on);

    $sandbox->advance(23 * 3600);
    passes(200, GET => "/v1/subscriptions/$lapsed->{id}");
    passes(200, GET => "/v1/invoices/$lapsed->{latest_invoice}{id}");

    my $hopeless = passes(200, POST => '/v1/subscriptions', \%add_on)->{latest_invoice}{id};

    $sandbox->give_up($hopeless);
    passes(200, GET => "/v1/invoices/$hopeless");

    my $bought = passes(200, POST => '/v1/subscriptions', \%purchase);
    my $note   = passes(200, POST => '/v1/credit_notes', {
        invoice               => $bought->{latest_invoice},
        amount                => 4900,
        refund_amount         => 4900,
        'metadata[operation]' => 'o1'
    });

    passes(400, POST => '/v1/credit_notes', {invoice => $bought->{latest_invoice}, amount => 4900, refund_amount => 4900});
    passes(200, GET => '/v1/credit_notes', {invoice => $bought->{latest_invoice}});
    passes(200, GET => "/v1/credit_notes/$note->{id}");
    passes(200, GET => '/v1/refunds', {limit => 5});
    passes(200, GET => "/v1/refunds/$note->{refunds}[0]{refund}");
    passes(200, GET => "/v1/invoices/$bought->{latest_invoice}");

    my $again = passes(200, POST => '/v1/subscriptions', \%purchase);
    my $payment = $sandbox->call(GET => "/v1/invoices/$again->{latest_invoice}", {'expand[]' => 'payments'})
        ->json('/payments/data/0/payment/payment_intent');

    passes(200, POST => '/v1/refunds', {payment_intent => $payment, amount => 100});

    my $renewal = $sandbox->renew($again->{id});
    passes(200, GET => "/v1/invoices/$renewal->{id}");
    passes(200, GET => '/v1/invoices', {subscription => $again->{id}, limit => 5, starting_after => $renewal->{id}});

    $sandbox->move($again->{id}, status => $_) && passes(200, GET => "/v1/subscriptions/$again->{id}") for qw(past_due unpaid paused);

    # what tells where the money of an invoice is
    my $open = passes(200, POST => '/v1/subscriptions', \%add_on)->{latest_invoice}{id};

    passes(200, GET => '/v1/invoice_payments', {invoice => $open});
    $sandbox->pay($open, 'ok', 1000);
    passes(200, GET => "/v1/invoices/$open", {'expand[0]' => 'payments', 'expand[1]' => 'amount_paid_off_stripe'});
    passes(200, POST => '/v1/credit_notes', {invoice => $open, amount => 1900});
    passes(400, POST => "/v1/invoices/$open/pay");
    my $part = passes(200, GET => '/v1/invoice_payments', {invoice => $open, status => 'paid'})->{data}[0];
    passes(200, GET => "/v1/invoice_payments/$part->{id}");
    passes(200, GET => '/v1/invoice_payments', {'payment[type]' => 'payment_intent', 'payment[payment_intent]' => $part->{payment}{payment_intent}});
    passes(404, GET => '/v1/invoice_payments/inpay_x');

    my $outside = passes(200, POST => '/v1/subscriptions', \%add_on)->{latest_invoice}{id};

    passes(200, POST => "/v1/invoices/$outside/pay", {paid_out_of_band => 'true'});
    passes(200, GET => '/v1/invoice_payments', {invoice => $outside});
    passes(200, POST => '/v1/credit_notes', {invoice => $outside, amount => 2900, out_of_band_amount => 2900});

    passes(200, POST => '/v1/customers/cus_card/balance_transactions', {amount => -5000, currency => 'usd'});
    my $endowed = passes(200, POST => '/v1/subscriptions', \%purchase)->{latest_invoice};
    passes(200, GET => '/v1/customers/cus_card/balance_transactions', {limit => 5});
    passes(200, GET => '/v1/invoice_payments', {invoice => $endowed});
    passes(200, POST => '/v1/credit_notes', {invoice => $endowed, amount => 4900, credit_amount => 4900});
    $sandbox->endow(cus_card => -5000);
    passes(200, GET => "/v1/invoices/$endowed");

    $sandbox->customer(cus_slow => 'ok', 'default', 'pending');
    my $slow = passes(200, POST => '/v1/subscriptions', {%purchase, customer => 'cus_slow', default_payment_method => 'pm_cus_slow'})->{latest_invoice};
    my $back = $sandbox->refund($slow, 100);
    passes(200, GET => "/v1/refunds/$back->{id}");
    passes(200, POST => '/v1/credit_notes', {
        invoice => $slow, amount => 100, 'refunds[0][refund]' => $back->{id}, 'refunds[0][amount_refunded]' => 100
    });
    $sandbox->settle($back->{id} => 'failed');
    passes(200, GET => '/v1/refunds', {charge => $back->{charge}});
    passes(200, GET => '/v1/refunds', {payment_intent => $back->{payment_intent}});

    my $dispute = $sandbox->dispute($slow);
    passes(400, POST => '/v1/refunds', {charge => $back->{charge}});
    passes(200, GET => "/v1/disputes/$dispute->{id}");
    $sandbox->judge($dispute->{id} => 'won');
    passes(200, GET => '/v1/disputes', {charge => $back->{charge}});
    passes(404, GET => '/v1/disputes/dp_x');

    for my $list (qw(subscriptions invoices invoice_payments refunds credit_notes disputes events)) {
        passes(200, GET => "/v1/$list", {'created[gte]' => 1, 'created[lt]' => $sandbox->now + 60, limit => 100});
        passes(200, GET => "/v1/$list", {created => $sandbox->now, limit => 100});
    }

    passes(200, GET => '/v1/subscriptions', {price => 'price_agent', status => 'active', limit => 100});

    passes(402, POST => '/v1/subscriptions', {%purchase, customer => 'cus_declined', default_payment_method => 'pm_cus_declined'});
    passes(402, POST => '/v1/subscriptions', {%purchase, customer => 'cus_3ds', default_payment_method => 'pm_cus_3ds'});
    passes(400, POST => '/v1/subscriptions', {%purchase, customer => 'cus_nocard'});
    passes(400, POST => '/v1/subscriptions', {%purchase, customer => 'cus_x'});

    passes(200, GET => '/v1/subscriptions', {customer => 'cus_card', status => 'all', limit => 100});
    passes(200, GET => '/v1/subscriptions', {customer => 'cus_card', price => 'price_agent', 'created[gte]' => 1, status => 'all', limit => 5});
    passes(200, GET => '/v1/subscriptions', {customer => 'cus_nocard', status => 'all', limit => 5});
    passes(200, GET => '/v1/invoices', {customer => 'cus_card', limit => 100});

    my $events = passes(200, GET => '/v1/events', {limit => 100});

    passes(200, GET => "/v1/events/$events->{data}[0]{id}");

    for my $kind (qw(409 429 500 500_stored)) {
        $sandbox->fault(path => '/v1/subscriptions', kind => $kind);
        passes($kind =~ s/_.*//r, POST => '/v1/subscriptions', \%purchase);
    }

    passes(200, POST => '/v1/subscriptions', \%purchase, {'Idempotency-Key' => 'same'}) for 1 .. 2;
    is $sandbox->call(POST => '/v1/subscriptions', \%purchase, {'Idempotency-Key' => 'same'})->header('Idempotent-Replayed'), 'true',
        'what is replayed says so';
    passes(400, POST => '/v1/subscriptions', \%add_on, {'Idempotency-Key' => 'same'});
    passes(401, GET => '/v1/customers/cus_card', {}, {Authorization => 'Bearer sk_test_other'});

    is_deeply [$prism->refusals], [], 'Prism has nothing to say against any of it';
};


subtest 'bad calls' => sub {
    my $path = '/v1/subscriptions';

    refused('no key', POST => $path, \%add_on, {'Idempotency-Key' => undef});
    refused('no version', POST => $path, \%add_on, {'Stripe-Version' => undef});
    refused('another version', GET => '/v1/customers/cus_card', {}, {'Stripe-Version' => '2020-08-27'});
    refused('an unknown parameter', POST => $path, {%add_on, colour => 'red'});
    refused('a name misspelt', POST => $path, {%add_on, 'items[0][prise]' => 'price_phone'});
    refused('a value that is none of its words', POST => $path, {%add_on, payment_behavior => 'hope'});
    refused('an unknown status', GET => $path, {customer => 'cus_card', status => 'happy'});
    refused('a limit in words', GET => $path, {customer => 'cus_card', limit => 'five'});
    refused('an amount in words', POST => '/v1/credit_notes', {invoice => 'in_x', amount => 'all'});
    refused('an instant in words', GET => '/v1/refunds', {'created[gte]' => 'noon'});
    refused('an unknown status of payments', GET => '/v1/invoice_payments', {status => 'happy'});
    refused('a payment by nothing known', GET => '/v1/invoice_payments', {'payment[type]' => 'cash'});
    refused('paid by a word', POST => '/v1/invoices/in_x/pay', {paid_out_of_band => 'perhaps'});
    refused('a balance of no currency', POST => '/v1/customers/cus_card/balance_transactions', {amount => 1});

    # it answers first, and writes then
    wait_for(sub { (() = $prism->refusals) >= 14 }, 30, 'what Prism says of them');
    pass 'each is among the refusals';
};


subtest 'a bad answer' => sub {
    my $liar  = $t->upstream(json => {object => 'customer'}, headers => {'Request-Id' => 'req_x'});
    my $judge = $t->prism(name => 'judge', upstream => $liar->url);

    for my $path (qw(customers/cus_card invoice_payments/inpay_x refunds disputes credit_notes/cn_x)) {
        is $sandbox->client->get($judge->url("/v1/$path"),
            {Authorization => 'Bearer sk_test_lines', 'Stripe-Version' => '2026-10-28.endive'})->status, 500, "does not get through: $path";
    }

    wait_for(sub { (() = $judge->refusals) > 0 }, 30, 'what Prism says of it');
    pass 'and is among the refusals';
};

$t->done;
