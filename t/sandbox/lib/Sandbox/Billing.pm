package Sandbox::Billing;
use Mojo::Base -base, -signatures;

use Mojo::JSON qw(false true);
use Sandbox::Error;
use Sandbox::Objects qw(new_balance_transaction new_customer new_invoice new_invoice_payment new_payment_method new_subscription price);

# Customers, subscriptions and invoices, with the moves between their states. Each method checks everything first and changes
# things after, so that what dies has done nothing.

use constant FIRST_PAYMENT => 23 * 3600;

has 'store';
has base_url => '';
has waiting  => sub { [] };
has numbers  => 0;

my %ENDED = map { ($_ => 1) } qw(canceled incomplete_expired);


# Customers

sub customer ($self, $id, $missing = {}) {
    my $customer = $self->store->get(customer => $id);

    Sandbox::Error->missing(customer => $id, %$missing) if !$customer || $customer->{deleted};

    return $customer;
}


# All that it has ends with it. What is left of it says no more than that; calls that name it do not know it.

sub delete_customer ($self, $id) {
    my $customer = $self->customer($id);

    $self->_end($_, 'canceled', 'customer.subscription.deleted', 'cancellation_requested')
        for grep { $_->{customer} eq $id && !$ENDED{$_->{status}} } @{$self->store->all('subscription')};

    return $self->store->put(customer => {id => $id, object => 'customer', deleted => true});
}


sub known_customer ($self, $id) {
    return $self->store->get(customer => $id) // Sandbox::Error->missing(customer => $id);
}


sub change_customer ($self, $id, $params) {
    my $customer = $self->customer($id);
    $customer->{metadata} = {%{$customer->{metadata}}, %{$params->{metadata} // {}}};
    return $customer;
}


# `refunds` is how refunds to it begin: succeeded, or pending.

sub set_card ($self, $id, $card, $place = 'default', $refunds = 'succeeded') {
    my $store    = $self->store;
    my $customer = $store->get(customer => $id) // $store->put(customer => new_customer($id, $store->now));

    $store->put(card => {id => $id, card => $card, place => $place, refunds => $refunds});

    $customer->{default_source} = undef;
    $customer->{invoice_settings}{default_payment_method} = undef;

    if ($card ne 'none') {
        my $prefix = $place eq 'source' ? 'card' : 'pm';
        my $method = $store->put(payment_method => new_payment_method("${prefix}_$id", $id, $store->now));

        $customer->{default_source} = $method->{id} if $place eq 'source';
        $customer->{invoice_settings}{default_payment_method} = $method->{id} if $place eq 'default';
    }

    return $customer;
}


sub payment_methods ($self, $id, $type = undef) {
    my $card = $self->store->get(card => $self->customer($id)->{id});

    return [] if !$card || $card->{card} eq 'none' || (defined $type && $type ne 'card');

    return [grep { $self->_usable($_, $id) } @{$self->store->all('payment_method')}];
}


sub _usable ($self, $method, $customer) {
    my $card   = $self->store->get(card => $customer);
    my $prefix = ($card->{place} // '') eq 'source' ? 'card' : 'pm';

    return $method && $card && $card->{card} ne 'none' && $method->{id} eq "${prefix}_$customer";
}


# What a customer has is less than nothing, as Stripe counts it. It goes towards the next invoice.

sub change_balance ($self, $id, $amount, $type, %more) {
    my $store    = $self->store;
    my $customer = $self->customer($id);

    $customer->{balance} += $amount;

    return $store->put(customer_balance_transaction => new_balance_transaction(
        %more,
        id       => $store->id('cbtxn'),
        now      => $store->now,
        customer => $customer,
        amount   => $amount,
        type     => $type,
    ));
}


sub balance_transactions ($self, $id) {
    $self->customer($id);

    return $self->store->all(customer_balance_transaction => sub ($t) { $t->{customer} eq $id });
}


# Subscriptions

sub create_subscription ($self, $params) {
    my $store    = $self->store;
    my $customer = $self->customer($params->{customer}, {status => 400, param => 'customer'});
    my $items    = $self->_items($params->{items});
    my $behavior = $params->{payment_behavior} // 'allow_incomplete';
    my $method   = $params->{default_payment_method};

    Sandbox::Error->missing(PaymentMethod => $method, status => 400, param => 'default_payment_method')
        if defined $method && !$self->_usable($store->get(payment_method => $method), $customer->{id});

    my $amount = 0;
    $amount += $_->{price}{unit_amount} * $_->{quantity} for @$items;

    $amount += $customer->{balance};

    my $outcome = $amount <= 0 ? 'ok' : $behavior eq 'default_incomplete' ? 'wait' : $self->_charge_outcome($customer, $method);

    if ($behavior eq 'error_if_incomplete' && $outcome ne 'ok') {
        Sandbox::Error->card($outcome) if $outcome ne 'none';
        Sandbox::Error->invalid('This customer has no attached payment source or default payment method. Please consider adding '
                . 'a default payment method. For more information, visit '
                . 'https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.',
            code => 'resource_missing');
    }

    my $subscription = $self->_open_subscription($params, $customer, $items);
    my $invoice      = $store->get(invoice => $subscription->{latest_invoice});

    $self->_paid($invoice, $amount > 0 ? $method // $self->_default_method($customer) : undef) if $outcome eq 'ok';
    $self->_attempt_failed($invoice, $outcome) if $outcome ne 'ok' && $outcome ne 'wait';

    return $subscription;
}


sub _items ($self, $items) {
    my @items;

    for my $i (0 .. $#$items) {
        my $price = price($items->[$i]{price})
            // Sandbox::Error->missing(price => $items->[$i]{price}, status => 400, param => "items[$i][price]");

        push @items, {
            id       => $self->store->id('si'),
            metadata => $items->[$i]{metadata},
            price    => $price,
            quantity => $items->[$i]{quantity} // 1,
        };
    }

    return \@items;
}


sub _default_method ($self, $customer) {
    return $customer->{invoice_settings}{default_payment_method} // $customer->{default_source};
}


# A card that is only attached is not charged unless it is named.

sub _charge_outcome ($self, $customer, $method) {
    my $card = $self->store->get(card => $customer->{id});

    return 'none' unless $card && $card->{card} ne 'none';
    return 'none' unless defined($method // $self->_default_method($customer));

    return $card->{card};
}


sub _open_subscription ($self, $params, $customer, $items) {
    my $store = $self->store;
    my $now   = $store->now;

    my $subscription = $store->put(subscription => new_subscription(
        (map { ($_ => $params->{$_}) } qw(default_payment_method description metadata payment_settings)),
        id       => $store->id('sub'),
        now      => $now,
        customer => $customer->{id},
        items    => $items,
        status   => 'incomplete',
    ));

    my $invoice = $self->_new_invoice($subscription);

    push @{$self->waiting}, {id => $subscription->{id}, due => $now + FIRST_PAYMENT};

    $self->_record(subscription => $subscription, $invoice, $invoice->{total});

    $store->announce('customer.subscription.created', $subscription);
    $store->announce('invoice.finalized',             $invoice);

    return $subscription;
}


sub _new_invoice ($self, $subscription, %more) {
    my $store    = $self->store;
    my $id       = $store->id('in');
    my $number   = $self->numbers($self->numbers + 1)->numbers;
    my $customer = $self->customer($subscription->{customer});

    $subscription->{latest_invoice} = $id;

    my $invoice = $store->put(invoice => new_invoice(
        id           => $id,
        now          => $store->now,
        subscription => $subscription,
        balance      => $customer->{balance},
        number       => sprintf('SANDBOX-%04d', $number),
        url          => $self->base_url . "/i/$id",
        %more,
    ));

    if (my $applied = $invoice->{ending_balance} - $invoice->{starting_balance}) {
        $self->change_balance($customer->{id}, $applied, 'applied_to_invoice', invoice => $id);
        $self->_record(balance => $subscription, $invoice, $applied);
    }

    $self->_new_payment($invoice, payment_intent => $store->id('pi'), $invoice->{amount_due}, 1) if $invoice->{amount_due};

    return $invoice;
}


sub _new_payment ($self, $invoice, $type, $payment, $amount, $is_default = 0) {
    my $store = $self->store;

    return $store->put(invoice_payment => new_invoice_payment(
        id         => $store->id('inpay'),
        now        => $store->now,
        invoice    => $invoice,
        type       => $type,
        payment    => $payment,
        amount     => $amount,
        is_default => $is_default,
    ));
}


sub invoice_payments ($self, $params) {
    my $by = $params->{payment} // {};

    return $self->store->all(invoice_payment => sub ($p) {
        return 0 if grep { defined $params->{$_} && $p->{$_} ne $params->{$_} } qw(invoice status);
        return !grep { ($p->{payment}{$_} // '') ne $by->{$_} } keys %$by;
    });
}


sub invoice_payment ($self, $id) { $self->store->get(invoice_payment => $id) // Sandbox::Error->missing('invoice payment' => $id) }


# Stripe's own, while it is open.

sub _open_payment ($self, $invoice) {
    my ($payment) = grep { $_->{is_default} && $_->{status} eq 'open' } @{$self->invoice_payments({invoice => $invoice->{id}})};

    return $payment;
}


# A state that was kept from before there were any has none.

sub _default_payment ($self, $invoice) {
    return $self->_open_payment($invoice)
        // $self->_new_payment($invoice, payment_intent => $self->store->id('pi'), $invoice->{amount_remaining}, 1);
}


sub _cancel_payment ($self, $invoice) {
    my $payment = $self->_open_payment($invoice) or return;

    $payment->{status} = 'canceled';
    $payment->{status_transitions}{canceled_at} = $self->store->now;
}


# The charges of an invoice, the first one first.

sub payments ($self, $invoice) {
    return reverse @{$self->store->all(payment => sub ($p) { $p->{invoice} eq $invoice->{id} })};
}


# The next period of what is active, with the hour of its draft left out. A payment that fails leaves an open invoice behind,
# and the subscription past due.

sub renew_subscription ($self, $id, $card = 'ok') {
    my $store        = $self->store;
    my $subscription = $self->subscription($id);

    Sandbox::Error->invalid("A subscription that is $subscription->{status} is not renewed.") if $subscription->{status} !~ /^(?:active|past_due)$/;

    for my $item (@{$subscription->{items}{data}}) {
        my $length = $item->{current_period_end} - $item->{current_period_start};
        $item->{current_period_start} = $item->{current_period_end};
        $item->{current_period_end}  += $length;
    }

    my $invoice = $self->_new_invoice($subscription, reason => 'subscription_cycle');

    $store->announce('invoice.finalized', $invoice);

    if ($card eq 'ok') {
        my $customer = $self->customer($subscription->{customer});
        $self->_paid($invoice, $subscription->{default_payment_method} // $self->_default_method($customer));

    } else {
        my $was = $subscription->{status};
        $self->_attempt_failed($invoice, $card);
        $subscription->{status} = 'past_due';
        $store->announce('customer.subscription.updated', $subscription, {status => $was}) if $was ne 'past_due';
    }

    return $invoice;
}


# What a person has it pay besides, or will, once it is finalized, whatever became of its subscription. Its status, and its latest
# invoice, stay what they are.

sub bill_subscription ($self, $id, $draft) {
    my $subscription = $self->subscription($id);
    my $latest       = $subscription->{latest_invoice};

    Sandbox::Error->invalid("A subscription that is $subscription->{status} is not billed.") if $ENDED{$subscription->{status}};

    my $invoice = $self->_new_invoice($subscription, reason => 'manual');

    $subscription->{latest_invoice} = $latest;
    $invoice->{status} = 'draft';

    return $draft ? $invoice : $self->finalize_invoice($invoice->{id});
}


sub finalize_invoice ($self, $id) {
    my $invoice = $self->invoice($id);

    Sandbox::Error->invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.") if $invoice->{status} ne 'draft';

    $invoice->{status} = 'open';
    $invoice->{status_transitions}{finalized_at} = $self->store->now;

    $self->store->announce('invoice.finalized', $invoice);

    return $invoice;
}


sub subscription ($self, $id) {
    return $self->store->get(subscription => $id) // Sandbox::Error->missing(subscription => $id);
}


# By default only the canceled ones are hidden.

sub subscriptions ($self, $params) {
    my $status = $params->{status} // '';

    $self->customer($params->{customer}, {status => 400, param => 'customer'}) if defined $params->{customer};

    return $self->store->all(subscription => sub ($s) {
        return 0 if defined $params->{customer} && $s->{customer} ne $params->{customer};
        return 0 if defined $params->{price} && !grep { $_->{price}{id} eq $params->{price} } @{$s->{items}{data}};

        return $status eq 'all'   ? 1
             : $status eq 'ended' ? $ENDED{$s->{status}}
             : $status ne ''      ? $s->{status} eq $status
             :                      $s->{status} ne 'canceled';
    });
}


sub cancel_subscription ($self, $id, $reason = 'cancellation_requested') {
    my $subscription = $self->subscription($id);

    Sandbox::Error->missing(subscription => $id) if $ENDED{$subscription->{status}};

    $self->_end($subscription, 'canceled', 'customer.subscription.deleted', $reason);

    return $subscription;
}


sub _end ($self, $subscription, $status, $event, $reason) {
    my $store    = $self->store;
    my $previous = $subscription->{status};

    $subscription->{status}      = $status;
    $subscription->{canceled_at} = $store->now;
    $subscription->{ended_at}    = $store->now;
    $subscription->{cancellation_details}{reason} = $reason;

    $self->_record(cancel => $subscription, undef, 0);
    $store->announce($event, $subscription, $status eq 'canceled' ? undef : {status => $previous});
}


# What was bought elsewhere: no invoice of ours, no charge.

sub adopt_subscription ($self, $args) {
    my $store        = $self->store;
    my $customer     = $self->customer($args->{customer});
    my $items        = $self->_items([{price => $args->{price} // 'price_base'}]);
    my $subscription = $store->put(subscription => new_subscription(
        id       => $store->id('sub'),
        now      => $store->now - ($args->{age} // 0),
        customer => $customer->{id},
        items    => $items,
        metadata => $args->{metadata},
        status   => $args->{status} // 'active',
    ));

    $self->_record(subscription => $subscription, undef, 0);
    $store->announce('customer.subscription.created', $subscription);

    return $subscription;
}


sub move_subscription ($self, $id, $args) {
    my $subscription = $self->subscription($id);
    my $status       = $args->{status} // $subscription->{status};
    my %previous;

    return $subscription if $ENDED{$subscription->{status}} && $status eq $subscription->{status};
    Sandbox::Error->missing(subscription => $id) if $ENDED{$subscription->{status}};

    my $items = defined $args->{price} ? $self->_items([{price => $args->{price}}]) : undef;

    if ($items) {
        $previous{items} = {data => [{%{$subscription->{items}{data}[0]}}]};
        $subscription->{items}{data}[0]{price} = $items->[0]{price};
    }

    if ($args->{metadata}) {
        $previous{metadata} = $subscription->{metadata};
        $subscription->{metadata} = {%{$subscription->{metadata}}, %{$args->{metadata}}};
    }

    if ($status eq 'canceled') {
        $self->_end($subscription, 'canceled', 'customer.subscription.deleted', 'cancellation_requested');
        return $subscription;
    }

    if ($status ne $subscription->{status}) {
        $previous{status} = $subscription->{status};
        $subscription->{status} = $status;
    }

    $self->store->announce('customer.subscription.updated', $subscription, \%previous) if %previous;

    return $subscription;
}


# Invoices

sub invoice ($self, $id, $missing = {}) {
    return $self->store->get(invoice => $id) // Sandbox::Error->missing(invoice => $id, %$missing);
}


sub invoices ($self, $params) {
    return $self->store->all(invoice => sub ($i) {
        return 0 if defined $params->{customer} && $i->{customer} ne $params->{customer};
        return 0 if defined $params->{status} && $i->{status} ne $params->{status};
        return 0 if defined $params->{subscription} && _subscription_of($i) ne $params->{subscription};
        return 1;
    });
}


sub _subscription_of ($invoice) { $invoice->{parent}{subscription_details}{subscription} }


# The hosted page takes any card, so a customer without one can pay there. What can no longer be paid stays as it is. Less than is
# left leaves the invoice open; more goes to the customer's balance.

sub pay_invoice ($self, $id, $card = 'ok', $amount = undef) {
    my $invoice = $self->invoice($id);

    return $invoice if $invoice->{status} ne 'open' && $invoice->{status} ne 'uncollectible';

    if ($card eq 'ok') {
        my $method = $self->_default_method($self->customer($invoice->{customer})) // "pm_$id";
        defined $amount && $amount != $invoice->{amount_remaining} ? $self->_paid_part($invoice, $method, $amount) : $self->_paid($invoice, $method);

    } else {
        $self->_attempt_failed($invoice, $card);
    }

    return $invoice;
}


# As Stripe's call does it: by the card on file, or outside of Stripe.

sub collect_invoice ($self, $id, $params) {
    my $invoice = $self->invoice($id);

    Sandbox::Error->invalid('Invoice is already paid') if $invoice->{status} eq 'paid';
    Sandbox::Error->invalid("You can only pass in open invoices. This invoice isn't open.")
        if $invoice->{status} ne 'open' && $invoice->{status} ne 'uncollectible';

    if ($params->{paid_out_of_band}) {
        $self->_paid_outside($invoice);
        return $invoice;
    }

    my $customer = $self->customer($invoice->{customer});
    my $method   = $params->{payment_method} // $self->subscription(_subscription_of($invoice))->{default_payment_method};
    my $outcome  = $self->_charge_outcome($customer, $method);

    Sandbox::Error->invalid('This customer has no attached payment source or default payment method.', code => 'resource_missing')
        if $outcome eq 'none';

    if ($outcome ne 'ok') {
        $self->_attempt_failed($invoice, $outcome);
        Sandbox::Error->card($outcome);
    }

    $self->_paid($invoice, $method // $self->_default_method($customer));

    return $invoice;
}


sub _paid ($self, $invoice, $method) {
    my $left = $invoice->{amount_remaining};

    if ($left) {
        $self->_charged($invoice, $self->_default_payment($invoice), $left);
        $invoice->{attempt_count}++;
    }

    $self->_settled($invoice, $method);
}


sub _paid_part ($self, $invoice, $method, $amount) {
    my $left    = $invoice->{amount_remaining};
    my $payment = $self->_new_payment($invoice, payment_intent => $self->store->id('pi'), $amount);

    $self->_charged($invoice, $payment, $amount);

    if ($amount < $left) {
        $self->_default_payment($invoice)->{amount_requested} = $invoice->{amount_remaining};
        return;
    }

    $self->_cancel_payment($invoice);
    $invoice->{amount_overpaid} = $amount - $left;
    $self->change_balance($invoice->{customer}, $left - $amount, 'invoice_overpaid', invoice => $invoice->{id});
    $self->_settled($invoice, $method);
    $self->store->announce('invoice.overpaid', $invoice);
}


sub _paid_outside ($self, $invoice) {
    my $left = $invoice->{amount_remaining};

    $self->_cancel_payment($invoice);
    $self->_received($invoice, $self->_new_payment($invoice, payment_record => $self->store->id('pr'), $left), $left);
    $self->_record(out_of_band => $self->subscription(_subscription_of($invoice)), $invoice, $left);
    $self->_settled($invoice, undef);
}


sub _charged ($self, $invoice, $payment, $amount) {
    my $store        = $self->store;
    my $subscription = $self->subscription(_subscription_of($invoice));
    my $charge       = $store->id('ch');

    $self->_received($invoice, $payment, $amount);

    $store->put(payment => {
        id             => $charge,
        charge         => $charge,
        payment_intent => $payment->{payment}{payment_intent},
        invoice        => $invoice->{id},
        customer       => $invoice->{customer},
        subscription   => $subscription->{id},
        amount         => $amount,
        currency       => $invoice->{currency},
        refunded       => 0,
        created        => $store->now,
    });

    $self->_record(charge => $subscription, $invoice, $amount);
}


sub _received ($self, $invoice, $payment, $amount) {
    my $left = $invoice->{amount_remaining};

    $payment->{status}      = 'paid';
    $payment->{amount_paid} = $amount;
    $payment->{status_transitions}{paid_at} = $self->store->now;

    $invoice->{amount_paid} += $amount < $left ? $amount : $left;
    $invoice->{amount_remaining} -= $amount < $left ? $amount : $left;
    $invoice->{attempted} = true;
}


# Nothing is left to pay.

sub _settled ($self, $invoice, $method) {
    my $store        = $self->store;
    my $subscription = $self->subscription(_subscription_of($invoice));
    my $was          = $subscription->{status};

    $invoice->{status}    = 'paid';
    $invoice->{attempted} = true;
    $invoice->{status_transitions}{paid_at} = $store->now;

    if ($invoice->{billing_reason} ne 'manual' && $was =~ /^(?:incomplete|past_due|unpaid)$/) {
        $subscription->{status} = 'active';
        $subscription->{default_payment_method} //= $method
            if $subscription->{payment_settings}{save_default_payment_method} eq 'on_subscription';
    }

    $store->announce('invoice.paid', $invoice);
    $store->announce('customer.subscription.updated', $subscription, {status => $was}) if $was ne $subscription->{status};
}


# A credit note takes from what is left to pay, which may be all of it.

sub reduce_invoice ($self, $invoice, $amount) {
    $invoice->{$_} -= $amount for qw(amount_due amount_remaining);
    $invoice->{pre_payment_credit_notes_amount} += $amount;

    if ($invoice->{amount_remaining}) {
        $self->_default_payment($invoice)->{amount_requested} = $invoice->{amount_remaining};

    } else {
        $self->_cancel_payment($invoice);
        $self->_settled($invoice, undef);
    }
}


sub _attempt_failed ($self, $invoice, $why) {
    $invoice->{attempted} = true;
    $invoice->{attempt_count}++;

    $self->store->announce('invoice.payment_failed',          $invoice);
    $self->store->announce('invoice.payment_action_required', $invoice) if $why eq '3ds';
}


# Documented: a void invoice does not move its subscription, which stays incomplete until it is canceled or expires.

sub void_invoice ($self, $id) {
    my $invoice = $self->invoice($id);

    Sandbox::Error->invalid("You can only pass in open invoices. This invoice isn't open.")
        if $invoice->{status} ne 'open' && $invoice->{status} ne 'uncollectible';

    $self->_void($invoice);

    return $invoice;
}


sub _void ($self, $invoice) {
    $invoice->{status}       = 'void';
    $invoice->{auto_advance} = false;
    $invoice->{status_transitions}{voided_at} = $self->store->now;
    $self->_cancel_payment($invoice);

    # what was taken of the customer's balance goes back there
    if (my $applied = $invoice->{ending_balance} - $invoice->{starting_balance}) {
        $self->change_balance($invoice->{customer}, -$applied, 'unapplied_from_invoice', invoice => $invoice->{id});
    }

    $self->_record(void => $self->subscription(_subscription_of($invoice)), $invoice, $invoice->{amount_remaining});
    $self->store->announce('invoice.voided', $invoice);
}


sub give_up_invoice ($self, $id) {
    my $invoice = $self->invoice($id);

    Sandbox::Error->invalid("You can only pass in open invoices. This invoice isn't open.") if $invoice->{status} ne 'open';

    $invoice->{status} = 'uncollectible';
    $invoice->{status_transitions}{marked_uncollectible_at} = $self->store->now;

    $self->store->announce('invoice.marked_uncollectible', $invoice);

    return $invoice;
}


# The first that was created is the first to expire.

sub expire ($self) {
    my $waiting = $self->waiting;
    my $now     = $self->store->now;

    while (@$waiting && $waiting->[0]{due} <= $now) {
        my $subscription = $self->subscription((shift @$waiting)->{id});

        next if $subscription->{status} ne 'incomplete';

        my $invoice = $self->invoice($subscription->{latest_invoice});

        $self->_void($invoice) if $invoice->{status} =~ /^(?:open|uncollectible)$/;
        $self->_end($subscription, 'incomplete_expired', 'customer.subscription.updated', undef);
    }
}


sub _record ($self, $type, $subscription, $invoice, $amount) {
    $self->store->record(
        $type,
        customer     => $subscription->{customer},
        subscription => $subscription->{id},
        invoice      => $invoice ? $invoice->{id} : $subscription->{latest_invoice},
        amount       => $amount,
        currency     => $subscription->{currency},
        metadata     => $subscription->{metadata},
    );
}


1;
