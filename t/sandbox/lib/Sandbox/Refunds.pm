package Sandbox::Refunds;
use Mojo::Base -base, -signatures;

use List::Util qw(min sum0);
use Mojo::JSON qw(false true);
use Sandbox::Error;
use Sandbox::Objects qw(new_credit_note new_dispute new_refund);

# Money that goes back: refunds, credit notes, disputes.

has [qw(store billing)];

# what a refund may become, of what it is
my %BECOMES = (
    pending   => {map { ($_ => 1) } qw(succeeded failed canceled)},
    succeeded => {failed => 1},
);

# A chargeback takes the money until it is won, and all of it cannot be refunded; an inquiry takes none.
my %DISPUTES = (
    warning_needs_response => {becomes => [qw(prevented warning_under_review warning_closed needs_response)], refundable => 1},
    warning_under_review   => {becomes => [qw(warning_closed needs_response)], refundable => 1},
    warning_closed         => {becomes => [], closed => 1, refundable => 1},
    needs_response         => {becomes => [qw(under_review won lost)], withdrawn => 1},
    under_review           => {becomes => [qw(won lost)], withdrawn => 1},
    won                    => {becomes => [], closed => 1, refundable => 1},
    prevented              => {becomes => [], closed => 1, refundable => 1},
    lost                   => {becomes => [], closed => 1, withdrawn => 1},
);


sub create_refund ($self, $params) {
    my ($name) = grep { defined $params->{$_} } qw(payment_intent charge)
        or Sandbox::Error->invalid('One of the following params should be provided for this request: payment_intent or charge.',
            code => 'parameter_missing');

    my ($payment) = @{$self->store->all(payment => sub ($p) { $p->{$name} eq $params->{$name} })};

    Sandbox::Error->missing($name => $params->{$name}, status => 400, param => $name) unless $payment;

    $self->_check_disputes($payment);

    my $left = $payment->{amount} - $payment->{refunded};

    Sandbox::Error->invalid("Charge $payment->{charge} has already been refunded.", code => 'charge_already_refunded') if $left == 0;

    my $amount = $params->{amount} // $left;

    _check_amount($amount, $left, 'amount');

    return $self->_refund($payment, $amount, $params->{metadata}, $params->{reason});
}


sub _check_disputes ($self, $payment) {
    Sandbox::Error->invalid("Charge $payment->{charge} has been charged back; cannot issue a refund.", code => 'charge_disputed')
        if grep { !$_->{is_charge_refundable} } @{$self->disputes({charge => $payment->{charge}})};
}


sub _check_amount ($amount, $left, $param) {
    Sandbox::Error->invalid('Amount must be at least 1 cent.', param => $param, code => 'parameter_invalid_integer') if $amount < 1;
    Sandbox::Error->invalid(sprintf('Refund amount ($%.2f) is greater than unrefunded amount on charge ($%.2f)',
            $amount / 100, $left / 100), param => $param)
        if $amount > $left;
}


sub _refund ($self, $payment, $amount, $metadata, $reason) {
    my $card   = $self->store->get(card => $payment->{customer}) // {};
    my $refund = $self->store->put(refund => new_refund(
        id       => $self->store->id('re'),
        now      => $self->store->now,
        payment  => $payment,
        amount   => $amount,
        metadata => $metadata,
        reason   => $reason,
        status   => $card->{refunds},
    ));

    $payment->{refunded} += $amount;

    $self->_record(refund => $payment, $amount, $metadata);
    $self->store->announce('refund.created', $refund);

    return $refund;
}


sub refund ($self, $id) { $self->store->get(refund => $id) // Sandbox::Error->missing(refund => $id) }


sub refunds ($self, $params) {
    return $self->store->all(refund => sub ($r) {
        return !grep { defined $params->{$_} && $r->{$_} ne $params->{$_} } qw(charge payment_intent);
    });
}


# What the bank says of a refund later. One that fails leaves the charge unrefunded by as much.

sub settle_refund ($self, $id, $status, $reason = 'expired_or_canceled_card') {
    my $refund = $self->refund($id);
    my $was    = $refund->{status};

    Sandbox::Error->invalid("A refund that is $was does not become $status.", param => 'status') unless $BECOMES{$was}{$status};

    $refund->{status} = $status;
    delete $refund->{pending_reason};

    if ($status ne 'succeeded') {
        my ($payment) = @{$self->store->all(payment => sub ($p) { $p->{charge} eq $refund->{charge} })};
        $payment->{refunded} -= $refund->{amount};
        $refund->{failure_reason} = $reason if $status eq 'failed';
        $self->_record("refund_$status" => $payment, $refund->{amount}, $refund->{metadata});
    }

    $self->store->announce($status eq 'failed' ? 'refund.failed' : 'refund.updated', $refund, {status => $was});

    return $refund;
}


# A note first takes from what is left to pay; the rest of it goes back to the card, to the customer's balance, or outside of Stripe.

sub create_credit_note ($self, $params) {
    my $invoice = $self->billing->invoice($params->{invoice}, {status => 400, param => 'invoice'});

    Sandbox::Error->invalid("Credit notes can only be created for finalized invoices; this invoice is $invoice->{status}.", param => 'invoice')
        if $invoice->{status} ne 'paid' && $invoice->{status} ne 'open';

    for my $name (qw(amount refund_amount credit_amount out_of_band_amount)) {
        Sandbox::Error->invalid("Invalid $name: must be greater than or equal to 0", param => $name) if ($params->{$name} // 0) < 0;
    }

    my @linked  = map { $self->_linked($_, $invoice) } @{$params->{refunds} // []};
    my $refund  = $params->{refund_amount} // 0;
    my $credit  = $params->{credit_amount} // 0;
    my $outside = $params->{out_of_band_amount} // 0;
    my $back    = $refund + $credit + $outside + sum0 map { $_->{amount} } @linked;
    my $amount  = $params->{amount} // $back;
    my $before  = min($amount, $invoice->{amount_remaining});
    my $after   = $amount - $before;

    Sandbox::Error->invalid('You must specify an amount greater than zero.', param => 'amount') if $amount == 0;
    Sandbox::Error->invalid(sprintf('The sum of credit amount, refund amount and out of band amount ($%.2f) must equal the post '
            . 'payment credit note amount ($%.2f).', $back / 100, $after / 100))
        if $after != $back;

    # Refunds that were made without a credit note count too, once.
    my $left = $self->_creditable($invoice) + sum0 map { $_->{amount} } @linked;

    Sandbox::Error->invalid(sprintf('The amount of the credit note ($%.2f) cannot exceed the amount that is left to credit on the '
            . 'invoice ($%.2f).', $amount / 100, $left / 100), param => 'amount')
        if $after > $left;

    # the balance of a customer who was deleted is gone
    $self->billing->customer($invoice->{customer}) if $credit;

    my @payments = $self->billing->payments($invoice);

    if ($refund) {
        $self->_check_disputes($_) for @payments;
        _check_amount($refund, sum0(map { $_->{amount} - $_->{refunded} } @payments), 'refund_amount');
    }

    my @refunds = @linked;

    for my $payment (@payments) {
        my $part = min($refund, $payment->{amount} - $payment->{refunded}) or next;
        push @refunds, $self->_refund($payment, $part, $params->{metadata}, undef);
        $refund -= $part;
    }

    return $self->_credit_note($params, $invoice, $before, $after, \@refunds);
}


# A refund that was made before, and belongs to the note.

sub _linked ($self, $param, $invoice) {
    my $refund = $self->refund($param->{refund});

    Sandbox::Error->invalid("The refund $refund->{id} is not of this invoice, or of another credit note.", param => 'refunds')
        if !grep({ $_->{charge} eq $refund->{charge} } $self->billing->payments($invoice)) || $self->_noted->{$refund->{id}}
        || ($param->{amount_refunded} // $refund->{amount}) != $refund->{amount};

    return $refund;
}


# the refunds that credit notes list

sub _noted ($self) {
    return {map { ($_->{refund} => 1) } map { @{$_->{refunds}} } @{$self->store->all('credit_note')}};
}


# What was paid, by whatever means, and is neither credited nor refunded. One that failed was not.

sub _creditable ($self, $invoice) {
    my $noted = $self->_noted;
    my $paid  = $invoice->{total} - $invoice->{pre_payment_credit_notes_amount} - $invoice->{amount_remaining};
    my %ours  = map { ($_->{charge} => 1) } $self->billing->payments($invoice);
    my $bare  = sum0 map { $_->{amount} } grep { $ours{$_->{charge}} && !$noted->{$_->{id}} && $_->{status} !~ /^(?:failed|canceled)$/ }
        @{$self->store->all('refund')};

    return $paid - $invoice->{post_payment_credit_notes_amount} - $bare;
}


sub _credit_note ($self, $params, $invoice, $before, $after, $refunds) {
    my $store = $self->store;

    my $note = $store->put(credit_note => new_credit_note(
        (map { ($_ => $params->{$_}) } qw(memo metadata out_of_band_amount reason)),
        id      => $store->id('cn'),
        now     => $store->now,
        number  => sprintf('%02d', 1 + @{$store->all(credit_note => sub ($n) { $n->{invoice} eq $invoice->{id} })}),
        invoice => $invoice,
        before  => $before,
        after   => $after,
        refunds => $refunds,
    ));

    if (my $credit = $params->{credit_amount}) {
        $note->{customer_balance_transaction} = $self->billing->change_balance($invoice->{customer}, -$credit, 'credit_note',
            credit_note => $note->{id}, invoice => $invoice->{id})->{id};
    }

    $invoice->{post_payment_credit_notes_amount} += $after;

    my $rest = $after - sum0 map { $_->{amount} } @$refunds;
    my %of   = (%$invoice, invoice => $invoice->{id}, subscription => $invoice->{parent}{subscription_details}{subscription});

    $self->_record(credit => \%of, $rest, $params->{metadata}) if $rest;
    $store->announce('credit_note.created', $note);
    $self->billing->reduce_invoice($invoice, $before) if $before;

    return $note;
}


sub credit_note ($self, $id) { $self->store->get(credit_note => $id) // Sandbox::Error->missing('credit note' => $id) }


sub credit_notes ($self, $params) {
    return $self->store->all(credit_note => sub ($n) {
        return !grep { defined $params->{$_} && $n->{$_} ne $params->{$_} } qw(invoice customer);
    });
}


# A customer's bank takes a charge back, or asks about it.

sub open_dispute ($self, $args) {
    my $store = $self->store;
    my $by    = defined $args->{charge} ? 'charge' : defined $args->{payment_intent} ? 'payment_intent' : 'invoice';
    my ($payment) = @{$store->all(payment => sub ($p) { $p->{$by} eq ($args->{$by} // '') })};

    Sandbox::Error->missing($by => $args->{$by} // '') unless $payment;

    my $status = $args->{status} // 'needs_response';
    my $left   = $payment->{amount} - $payment->{refunded};

    Sandbox::Error->invalid("A dispute does not begin as $status.", param => 'status') unless $status =~ /^(?:warning_)?needs_response$/;
    _check_amount($args->{amount} // $left, $left, 'amount');

    my $dispute = $store->put(dispute => new_dispute(
        id       => $store->id('dp'),
        now      => $store->now,
        payment  => $payment,
        amount   => $args->{amount} // $left,
        currency => $args->{currency},
        reason   => $args->{reason},
        status   => $status,
    ));

    $dispute->{is_charge_refundable} = $DISPUTES{$status}{refundable} ? true : false;

    $store->announce('charge.dispute.created', $dispute);
    $self->_withdraw($dispute, $payment) if $DISPUTES{$status}{withdrawn};

    return $dispute;
}


sub move_dispute ($self, $id, $status) {
    my $store   = $self->store;
    my $dispute = $self->dispute($id);
    my $was     = $dispute->{status};
    my ($from, $to) = @DISPUTES{$was, $status};

    Sandbox::Error->invalid("A dispute that is $was does not become $status.", param => 'status') unless grep { $_ eq $status } @{$from->{becomes}};

    my ($payment) = @{$store->all(payment => sub ($p) { $p->{charge} eq $dispute->{charge} })};

    $dispute->{status} = $status;
    $dispute->{is_charge_refundable} = $to->{refundable} ? true : false;

    # an inquiry that is escalated
    $dispute->{payment_method_details}{card}{case_type} = 'chargeback' if $status eq 'needs_response';

    $store->announce($to->{closed} ? 'charge.dispute.closed' : 'charge.dispute.updated', $dispute, {status => $was});
    $self->_withdraw($dispute, $payment) if $to->{withdrawn} && !$from->{withdrawn};
    $self->_move_funds($dispute, $payment, reinstated => $dispute->{amount}) if $from->{withdrawn} && !$to->{withdrawn};

    return $dispute;
}


sub _withdraw ($self, $dispute, $payment) { $self->_move_funds($dispute, $payment, withdrawn => -$dispute->{amount}) }


sub _move_funds ($self, $dispute, $payment, $what, $amount) {
    my $store = $self->store;
    my $fee   = $amount < 0 ? 1500 : 0;

    push @{$dispute->{balance_transactions}}, {
        id                 => $store->id('txn'),
        object             => 'balance_transaction',
        amount             => $amount,
        available_on       => $store->now,
        created            => $store->now,
        currency           => $dispute->{currency},
        description        => "Chargeback $what for $dispute->{charge}",
        exchange_rate      => undef,
        fee                => $fee,
        fee_details        => [],
        net                => $amount - $fee,
        reporting_category => $amount < 0 ? 'dispute' : 'dispute_reversal',
        source             => $dispute->{id},
        status             => 'available',
        type               => 'adjustment',
    };

    $self->_record($what eq 'withdrawn' ? 'dispute' : 'reinstated', $payment, $dispute->{amount}, {});
    $store->announce("charge.dispute.funds_$what", $dispute);
}


sub dispute ($self, $id) { $self->store->get(dispute => $id) // Sandbox::Error->missing(dispute => $id) }


sub disputes ($self, $params) {
    return $self->store->all(dispute => sub ($d) {
        return !grep { defined $params->{$_} && $d->{$_} ne $params->{$_} } qw(charge payment_intent);
    });
}


# The entry carries the subscription's metadata, and the note's own on top.

sub _record ($self, $type, $payment, $amount, $metadata) {
    my $subscription = $self->billing->subscription($payment->{subscription});

    $self->store->record(
        $type,
        (map { ($_ => $payment->{$_}) } qw(customer subscription invoice currency)),
        amount   => $amount,
        metadata => {%{$subscription->{metadata}}, %{$metadata // {}}},
    );
}


1;
