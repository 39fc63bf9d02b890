package Sandbox::Objects;
use Mojo::Base -strict, -signatures;

use Exporter qw(import);
use Mojo::JSON qw(false true);

our @EXPORT_OK = qw(new_balance_transaction new_credit_note new_customer new_dispute new_invoice new_invoice_payment new_payment_method
    new_refund new_subscription price);

# The shapes of Stripe's objects, of the version that Sandbox::Store names.

use constant MONTH => 30 * 24 * 3600;

my %AMOUNTS = (price_email => 900, price_phone => 2900, price_agent => 4900, price_free => 0);
my %NAMES   = (price_email => 'Email line', price_phone => 'Phone line', price_agent => 'Agent line', price_free => 'Free line');


# Every price exists, but for one.

sub price ($id) {
    return undef if $id eq 'price_missing';

    return {
        id             => $id,
        object         => 'price',
        active         => true,
        billing_scheme => 'per_unit',
        currency       => 'usd',
        livemode       => false,
        lookup_key     => undef,
        metadata       => {},
        nickname       => $NAMES{$id} // "Line ($id)",
        product        => "prod_$id" =~ s/^prod_price_/prod_/r,
        recurring      => {interval => 'month', interval_count => 1, meter => undef, usage_type => 'licensed'},
        tax_behavior   => 'unspecified',
        type           => 'recurring',
        unit_amount    => $AMOUNTS{$id} // 2900,
    };
}


sub new_customer ($id, $now) {
    return {
        id               => $id,
        object           => 'customer',
        address          => undef,
        balance          => 0,
        created          => $now,
        currency         => 'usd',
        default_source   => undef,
        delinquent       => false,
        description      => undef,
        email            => "$id\@example.com",
        invoice_settings => {custom_fields => undef, default_payment_method => undef, footer => undef, rendering_options => undef},
        livemode         => false,
        metadata         => {},
        name             => undef,
        phone            => undef,
    };
}


sub new_payment_method ($id, $customer, $now) {
    return {
        id       => $id,
        object   => 'payment_method',
        card     => {
            brand         => 'visa',
            country       => 'US',
            exp_month     => 12,
            exp_year      => 2099,
            fingerprint   => "fp_$id",
            funding       => 'credit',
            last4         => '4242',
            three_d_secure_usage => {supported => true},
        },
        created         => $now,
        customer        => $customer,
        livemode        => false,
        metadata        => {},
        type            => 'card',
        billing_details => {address => undef, email => undef, name => undef, phone => undef},
    };
}


sub new_subscription (%args) {
    my ($id, $now) = @args{qw(id now)};

    my @items = map { +{
        id                   => $_->{id},
        object               => 'subscription_item',
        created              => $now,
        current_period_end   => $now + MONTH,
        current_period_start => $now,
        metadata             => $_->{metadata} // {},
        price                => $_->{price},
        quantity             => $_->{quantity},
        subscription         => $id,
        tax_rates            => [],
    } } @{$args{items}};

    return {
        id                     => $id,
        object                 => 'subscription',
        application            => undef,
        automatic_tax          => {enabled => false},
        billing_cycle_anchor   => $now,
        cancel_at              => undef,
        cancel_at_period_end   => false,
        canceled_at            => undef,
        cancellation_details   => {comment => undef, feedback => undef, reason => undef},
        collection_method      => 'charge_automatically',
        created                => $now,
        currency               => 'usd',
        customer               => $args{customer},
        days_until_due         => undef,
        default_payment_method => $args{default_payment_method},
        description            => $args{description},
        discounts              => [],
        ended_at               => undef,
        items                  => {
            object      => 'list',
            data        => \@items,
            has_more    => false,
            total_count => scalar @items,
            url         => "/v1/subscription_items?subscription=$id",
        },
        latest_invoice       => undef,
        livemode             => false,
        metadata             => $args{metadata} // {},
        pause_collection     => undef,
        payment_settings     => {
            payment_method_options      => undef,
            payment_method_types        => $args{payment_settings}{payment_method_types},
            save_default_payment_method => $args{payment_settings}{save_default_payment_method} // 'off',
        },
        pending_setup_intent => undef,
        schedule             => undef,
        start_date           => $now,
        status               => $args{status},
        trial_end            => undef,
        trial_start          => undef,
    };
}


# The metadata of a subscription's invoice is its own and empty; the subscription's stands under `parent`.

sub new_invoice (%args) {
    my ($id, $now, $subscription) = @args{qw(id now subscription)};

    my $parent = {
        quote_details        => undef,
        subscription_details => {metadata => {%{$subscription->{metadata}}}, subscription => $subscription->{id}},
        type                 => 'subscription_details',
    };

    my @lines = map { +{
        id          => "il_$_->{id}",
        object      => 'line_item',
        amount      => $_->{price}{unit_amount} * $_->{quantity},
        currency    => $_->{price}{currency},
        description => sprintf('%d × %s (at $%.2f / month)', $_->{quantity}, $_->{price}{nickname}, $_->{price}{unit_amount} / 100),
        invoice     => $id,
        livemode    => false,
        metadata    => {%{$subscription->{metadata}}},
        parent      => {
            invoice_item_details      => undef,
            subscription_item_details => {
                proration         => false,
                subscription      => $subscription->{id},
                subscription_item => $_->{id},
            },
            type => 'subscription_item_details',
        },
        period   => {end => $_->{current_period_end}, start => $_->{current_period_start}},
        pricing  => {price_details => {price => $_->{price}{id}, product => $_->{price}{product}}, type => 'price_details'},
        quantity => $_->{quantity},
    } } @{$subscription->{items}{data}};

    my $total = 0;
    $total += $_->{amount} for @lines;

    # what the customer owes is added, what it has is taken first
    my $balance = $args{balance} // 0;
    my $due     = $total + $balance > 0 ? $total + $balance : 0;

    return {
        id                               => $id,
        object                           => 'invoice',
        account_country                  => 'US',
        account_name                     => 'Lines sandbox',
        amount_due                       => $due,
        amount_overpaid                  => 0,
        amount_paid                      => 0,
        amount_remaining                 => $due,
        amount_shipping                  => 0,
        attempt_count                    => 0,
        attempted                        => false,
        auto_advance                     => false,
        billing_reason                   => $args{reason} // 'subscription_create',
        collection_method                => 'charge_automatically',
        created                          => $now,
        currency                         => $subscription->{currency},
        customer                         => $subscription->{customer},
        customer_email                   => "$subscription->{customer}\@example.com",
        default_payment_method           => undef,
        description                      => undef,
        discounts                        => [],
        due_date                         => undef,
        effective_at                     => $now,
        ending_balance                   => $balance + $total - $due,
        hosted_invoice_url               => $args{url},
        invoice_pdf                      => undef,
        lines                            => {
            object      => 'list',
            data        => \@lines,
            has_more    => false,
            total_count => scalar @lines,
            url         => "/v1/invoices/$id/lines",
        },
        livemode                         => false,
        metadata                         => {},
        next_payment_attempt             => undef,
        number                           => $args{number},
        parent                           => $parent,
        payment_settings                 => {payment_method_options => undef, payment_method_types => undef},
        period_end                       => $now,
        period_start                     => $now,
        post_payment_credit_notes_amount => 0,
        pre_payment_credit_notes_amount  => 0,
        starting_balance                 => $balance,
        status                           => 'open',
        status_transitions               =>
            {finalized_at => $now, marked_uncollectible_at => undef, paid_at => undef, voided_at => undef},
        subtotal                         => $total,
        total                            => $total,
    };
}


# How an invoice is, was or will be paid. The first of an invoice is Stripe's own, and follows what is left to pay.

sub new_invoice_payment (%args) {
    my $invoice = $args{invoice};

    return {
        id                 => $args{id},
        object             => 'invoice_payment',
        amount_paid        => undef,
        amount_requested   => $args{amount},
        created            => $args{now},
        currency           => $invoice->{currency},
        invoice            => $invoice->{id},
        is_default         => $args{is_default} ? true : false,
        livemode           => false,
        payment            => {$args{type} => $args{payment}, type => $args{type}},
        status             => 'open',
        status_transitions => {canceled_at => undef, paid_at => undef},
    };
}


sub new_refund (%args) {
    return {
        id                       => $args{id},
        object                   => 'refund',
        amount                   => $args{amount},
        balance_transaction      => undef,
        charge                   => $args{payment}{charge},
        created                  => $args{now},
        currency                 => $args{payment}{currency},
        customer                 => $args{payment}{customer},
        customer_account         => undef,
        destination_details      => {card => {type => 'refund'}, type => 'card'},
        metadata                 => $args{metadata} // {},
        payment_intent           => $args{payment}{payment_intent},
        payment_method           => undef,
        reason                   => $args{reason},
        receipt_number           => undef,
        source_transfer_reversal => undef,
        status                   => $args{status} // 'succeeded',
        transfer_reversal        => undef,
        ($args{status} // '') eq 'pending' ? (pending_reason => 'processing') : (),
    };
}


# Of its amount, `before` was taken from what was left to pay, and `after` goes back.

sub new_credit_note (%args) {
    my ($id, $invoice, $before, $after) = @args{qw(id invoice before after)};
    my $amount = $before + $after;

    return {
        id                           => $id,
        object                       => 'credit_note',
        amount                       => $amount,
        amount_shipping              => 0,
        created                      => $args{now},
        currency                     => $invoice->{currency},
        customer                     => $invoice->{customer},
        customer_account             => undef,
        customer_balance_transaction => undef,
        discount_amount              => 0,
        discount_amounts             => [],
        effective_at                 => $args{now},
        invoice                      => $invoice->{id},
        lines                        => {
            object      => 'list',
            data        => [],
            has_more    => false,
            total_count => 0,
            url         => "/v1/credit_notes/$id/lines",
        },
        livemode              => false,
        memo                  => $args{memo},
        metadata              => $args{metadata} // {},
        number                => "$invoice->{number}-CN-$args{number}",
        out_of_band_amount    => $args{out_of_band_amount},
        pdf                   => '',
        post_payment_amount   => $after,
        pre_payment_amount    => $before,
        pretax_credit_amounts => [],
        reason                => $args{reason},
        refunds               => [
            map { +{amount_refunded => $_->{amount}, payment_record_refund => undef, refund => $_->{id}, type => 'refund'} }
                @{$args{refunds}}
        ],
        shipping_cost          => undef,
        status                 => 'issued',
        subtotal               => $amount,
        subtotal_excluding_tax => $amount,
        total                  => $amount,
        total_excluding_tax    => $amount,
        total_taxes            => [],
        type                   => $before && $after ? 'mixed' : $before ? 'pre_payment' : 'post_payment',
        voided_at              => undef,
    };
}


# A customer's balance moves by `amount`: less is a credit, as Stripe counts it.

sub new_balance_transaction (%args) {
    return {
        id               => $args{id},
        object           => 'customer_balance_transaction',
        amount           => $args{amount},
        checkout_session => undef,
        created          => $args{now},
        credit_note      => $args{credit_note},
        currency         => 'usd',
        customer         => $args{customer}{id},
        customer_account => undef,
        description      => $args{description},
        ending_balance   => $args{customer}{balance},
        invoice          => $args{invoice},
        livemode         => false,
        metadata         => $args{metadata} // {},
        type             => $args{type},
    };
}


my @EVIDENCE = qw(
    access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal customer_communication
    customer_email_address customer_name customer_purchase_ip customer_signature duplicate_charge_documentation
    duplicate_charge_explanation duplicate_charge_id product_description receipt refund_policy refund_policy_disclosure
    refund_refusal_explanation service_date service_documentation shipping_address shipping_carrier shipping_date
    shipping_documentation shipping_tracking_number uncategorized_file uncategorized_text
);

sub new_dispute (%args) {
    my ($payment, $status) = @args{qw(payment status)};

    return {
        id                         => $args{id},
        object                     => 'dispute',
        amount                     => $args{amount},
        balance_transactions       => [],
        charge                     => $payment->{charge},
        created                    => $args{now},
        currency                   => $args{currency} // $payment->{currency},
        enhanced_eligibility_types => [],
        evidence                   => {enhanced_evidence => {}, map { ($_ => undef) } @EVIDENCE},
        evidence_details           => {
            due_by               => $args{now} + 7 * 24 * 3600,
            enhanced_eligibility => {},
            has_evidence         => false,
            past_due             => false,
            submission_count     => 0,
            submission_method    => 'not_submitted',
        },
        intended_submission_method => undef,
        is_charge_refundable       => false,
        livemode                   => false,
        metadata                   => {},
        payment_intent             => $payment->{payment_intent},
        payment_method_details     => {
            card => {
                brand               => 'visa',
                case_type           => $status =~ /^warning_/ ? 'inquiry' : 'chargeback',
                network             => 'visa',
                network_reason_code => '10.4',
            },
            type => 'card',
        },
        reason => $args{reason} // 'fraudulent',
        status => $status,
    };
}


1;
