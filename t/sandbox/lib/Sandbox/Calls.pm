package Sandbox::Calls;
use Mojo::Base -strict, -signatures;

use Exporter qw(import);
use Mojo::JSON qw(decode_json);
use Sandbox::Error;

our @EXPORT_OK = qw(calls find_call);

# The table of Stripe's calls that the sandbox serves. `returns` is the type of the answer (`list` of them where so marked),
# `params` what is taken, and `run` gets the application, the parameters and the id in the path.

my %PAGE = (ending_before => 'string', limit => 'integer', starting_after => 'string');
my %LIST = (%PAGE, created => 'range');

my $STATUSES = [qw(active all canceled ended incomplete incomplete_expired past_due paused trialing unpaid)];

my %NEW_SUBSCRIPTION = (
    'customer!'            => 'string',
    'items!'               => [each => {'price!' => 'string', quantity => 'integer', metadata => 'metadata'}],
    collection_method      => ['charge_automatically'],
    currency               => 'string',
    default_payment_method => 'string',
    description            => 'string',
    metadata               => 'metadata',
    off_session            => 'boolean',
    payment_behavior       => [qw(allow_incomplete default_incomplete error_if_incomplete)],
    payment_settings       => {
        payment_method_options      => 'any',
        payment_method_types        => [each => 'string'],
        save_default_payment_method => [qw(off on_subscription)],
    },
    proration_behavior => [qw(always_invoice create_prorations none)],
);

my %NEW_CREDIT_NOTE = (
    'invoice!'         => 'string',
    amount             => 'integer',
    credit_amount      => 'integer',
    memo               => 'string',
    metadata           => 'metadata',
    out_of_band_amount => 'integer',
    reason             => [qw(duplicate fraudulent order_change product_unsatisfactory)],
    refund_amount      => 'integer',
    refunds            => [each => {'refund!' => 'string', amount_refunded => 'integer', type => ['refund']}],
);

my %NEW_REFUND = (
    amount         => 'integer',
    charge         => 'string',
    metadata       => 'metadata',
    payment_intent => 'string',
    reason         => [qw(duplicate fraudulent requested_by_customer)],
);

my @CALLS = (
    {
        on      => 'GET /customers/:id',
        returns => 'customer',
        run     => sub ($app, $p, $id) { $app->billing->known_customer($id) },
    },
    {
        on      => 'DELETE /customers/:id',
        returns => 'customer',
        run     => sub ($app, $p, $id) { $app->billing->delete_customer($id) },
    },
    {
        on      => 'POST /customers/:id',
        returns => 'customer',
        params  => {metadata => 'metadata'},
        run     => sub ($app, $p, $id) { $app->billing->change_customer($id, $p) },
    },
    {
        on      => 'GET /customers/:id/payment_methods',
        returns => 'payment_method',
        list    => 1,
        params  => {%PAGE, type => 'string'},
        run     => sub ($app, $p, $id) { $app->billing->payment_methods($id, $p->{type}) },
    },
    {
        on      => 'GET /customers/:id/balance_transactions',
        returns => 'customer_balance_transaction',
        list    => 1,
        params  => {%LIST, invoice => 'string'},
        run     => sub ($app, $p, $id) {
            [grep { !defined $p->{invoice} || ($_->{invoice} // '') eq $p->{invoice} } @{$app->billing->balance_transactions($id)}];
        },
    },
    {
        on      => 'POST /customers/:id/balance_transactions',
        returns => 'customer_balance_transaction',
        params  => {'amount!' => 'integer', 'currency!' => 'string', description => 'string', metadata => 'metadata'},
        run     => sub ($app, $p, $id) {
            $app->billing->change_balance($id, $p->{amount}, 'adjustment', map { ($_ => $p->{$_}) } qw(description metadata));
        },
    },
    {
        on      => 'POST /subscriptions',
        returns => 'subscription',
        params  => \%NEW_SUBSCRIPTION,
        run     => sub ($app, $p, $id) { $app->billing->create_subscription($p) },
    },
    {
        on      => 'GET /subscriptions',
        returns => 'subscription',
        list    => 1,
        params  => {%LIST, collection_method => 'string', customer => 'string', price => 'string', status => $STATUSES},
        run     => sub ($app, $p, $id) { $app->billing->subscriptions($p) },
    },
    {
        on      => 'GET /subscriptions/:id',
        returns => 'subscription',
        run     => sub ($app, $p, $id) { $app->billing->subscription($id) },
    },
    {
        on      => 'DELETE /subscriptions/:id',
        returns => 'subscription',
        params  => {cancellation_details => 'any', invoice_now => 'boolean', prorate => 'boolean'},
        run     => sub ($app, $p, $id) { $app->billing->cancel_subscription($id) },
    },
    {
        on      => 'GET /invoices',
        returns => 'invoice',
        list    => 1,
        params  => {
            %LIST,
            customer     => 'string',
            status       => [qw(draft open paid uncollectible void)],
            subscription => 'string',
        },
        run => sub ($app, $p, $id) { $app->billing->invoices($p) },
    },
    {
        on      => 'GET /invoices/:id',
        returns => 'invoice',
        run     => sub ($app, $p, $id) { $app->billing->invoice($id) },
    },
    {
        on      => 'POST /invoices/:id/void',
        returns => 'invoice',
        run     => sub ($app, $p, $id) { $app->billing->void_invoice($id) },
    },
    {
        on      => 'POST /invoices/:id/pay',
        returns => 'invoice',
        params  => {off_session => 'boolean', paid_out_of_band => 'boolean', payment_method => 'string'},
        run     => sub ($app, $p, $id) { $app->billing->collect_invoice($id, $p) },
    },
    {
        on      => 'GET /invoice_payments',
        returns => 'invoice_payment',
        list    => 1,
        params  => {
            %LIST,
            invoice => 'string',
            payment => {'type!' => [qw(payment_intent payment_record)], payment_intent => 'string', payment_record => 'string'},
            status  => [qw(canceled open paid)],
        },
        run => sub ($app, $p, $id) { $app->billing->invoice_payments($p) },
    },
    {
        on      => 'GET /invoice_payments/:id',
        returns => 'invoice_payment',
        run     => sub ($app, $p, $id) { $app->billing->invoice_payment($id) },
    },
    {
        on      => 'POST /refunds',
        returns => 'refund',
        params  => \%NEW_REFUND,
        run     => sub ($app, $p, $id) { $app->refunds->create_refund($p) },
    },
    {
        on      => 'GET /refunds',
        returns => 'refund',
        list    => 1,
        params  => {%LIST, charge => 'string', payment_intent => 'string'},
        run     => sub ($app, $p, $id) { $app->refunds->refunds($p) },
    },
    {
        on      => 'GET /refunds/:id',
        returns => 'refund',
        run     => sub ($app, $p, $id) { $app->refunds->refund($id) },
    },
    {
        on      => 'POST /credit_notes',
        returns => 'credit_note',
        params  => \%NEW_CREDIT_NOTE,
        run     => sub ($app, $p, $id) { $app->refunds->create_credit_note($p) },
    },
    {
        on      => 'GET /credit_notes',
        returns => 'credit_note',
        list    => 1,
        params  => {%LIST, customer => 'string', invoice => 'string'},
        run     => sub ($app, $p, $id) { $app->refunds->credit_notes($p) },
    },
    {
        on      => 'GET /credit_notes/:id',
        returns => 'credit_note',
        run     => sub ($app, $p, $id) { $app->refunds->credit_note($id) },
    },
    {
        on      => 'GET /disputes',
        returns => 'dispute',
        list    => 1,
        params  => {%LIST, charge => 'string', payment_intent => 'string'},
        run     => sub ($app, $p, $id) { $app->refunds->disputes($p) },
    },
    {
        on      => 'GET /disputes/:id',
        returns => 'dispute',
        run     => sub ($app, $p, $id) { $app->refunds->dispute($id) },
    },
    {
        on      => 'GET /events',
        returns => 'event',
        list    => 1,
        params  => {%LIST, type => 'string'},
        run     => sub ($app, $p, $id) { _events($app->store, $p->{type}) },
    },
    {
        on      => 'GET /events/:id',
        returns => 'event',
        run     => sub ($app, $p, $id) { _event($app->store, $id) },
    },
);


sub calls () {
    return map { +{%$_, params => {expand => [each => 'string'], %{$_->{params} // {}}}} } @CALLS;
}


# The call for a method and a path, and the id in it.

sub find_call ($method, $path) {
    for my $call (calls) {
        my $pattern = "$method /v1" . ($call->{on} =~ s/^\w+ //r =~ s{:id}{([^/]+)}r);

        return ($call, $1) if $call->{on} =~ /^$method / && "$method $path" =~ /^$pattern$/;
    }

    return;
}


sub _events ($store, $type) {
    return [map { decode_json($_->{raw}) } reverse grep { !defined $type || $_->{type} eq $type } @{$store->sent}];
}


sub _event ($store, $id) {
    my ($event) = grep { $_->{id} eq $id } @{$store->sent};

    return $event ? decode_json($event->{raw}) : Sandbox::Error->missing(event => $id);
}


1;
