use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
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

    passes(402, POST => '/v1/subscriptions', {%purchase, customer => 'cus_declined', default_payment_method => 'pm_cus_declined'});
    passes(402, POST => '/v1/subscriptions', {%purchase, customer => 'cus_3ds', default_payment_method => 'pm_cus_3ds'});
    passes(400, POST => '/v1/subscriptions', {%purchase, customer => 'cus_nocard'});
    passes(400, POST => '/v1/subscriptions', {%purchase, customer => 'cus_x'});

    passes(200, GET => '/v1/subscriptions', {customer => 'cus_card', status => 'all', limit => 100});
    passes(200, GET => '/v1/subscriptions', {customer => 'cus_nocard', status => 'all', limit => 5});
    passes(200, GET => '/v1/invoices', {customer => 'cus_card', limit => 100});

    my $events = passes(200, GET => '/v1/events', {limit => 100});

    passes(200, GET => "/v1/events/$events->{data}[0]{id}");

    for my $kind (qw(409 429 500 500_stored)) {
        $sandbox->fault(path => '/v1/subscriptions', kind => $kind);
        passes($kind =~ s/_.*//r, POST => '/v1/subscriptions', \%purchase);
    }

    passes(200, POST => '/v1/subscriptions', \%purchase, {'Idempotency-Key' => 'same'}) for 1 .. 2;
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

    # it answers first, and writes then
    wait_for(sub { (() = $prism->refusals) >= 9 }, 30, 'what Prism says of them');
    pass 'each is among the refusals';
};


subtest 'a bad answer' => sub {
    my $liar  = $t->upstream(json => {object => 'customer'}, headers => {'Request-Id' => 'req_x'});
    my $judge = $t->prism(name => 'judge', upstream => $liar->url);

    is $sandbox->client->get($judge->url('/v1/customers/cus_card'),
        {Authorization => 'Bearer sk_test_lines', 'Stripe-Version' => '2026-10-28.endive'})->status, 500, 'does not get through';
    wait_for(sub { (() = $judge->refusals) > 0 }, 30, 'what Prism says of it');
    pass 'and is among the refusals';
};

$t->done;
