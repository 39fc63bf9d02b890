package Sandbox::Refunds;
use Mojo::Base -base, -signatures;

use Sandbox::Error;
use Sandbox::Objects qw(new_credit_note new_refund);

# Money that goes back: refunds, and credit notes on paid invoices.

has [qw(store billing)];


sub create_refund ($self, $params) {
    my ($name) = grep { defined $params->{$_} } qw(payment_intent charge)
        or Sandbox::Error->invalid('One of the following params should be provided for this request: payment_intent or charge.',
            code => 'parameter_missing');

    my ($payment) = @{$self->store->all(payment => sub ($p) { $p->{$name} eq $params->{$name} })};

    Sandbox::Error->missing($name => $params->{$name}, status => 400, param => $name) unless $payment;

    my $left = $payment->{amount} - $payment->{refunded};

    Sandbox::Error->invalid("Charge $payment->{charge} has already been refunded.", code => 'charge_already_refunded') if $left == 0;

    my $amount = $params->{amount} // $left;

    _check_amount($amount, $left, 'amount');

    return $self->_refund($payment, $amount, $params->{metadata}, $params->{reason});
}


sub _check_amount ($amount, $left, $param) {
    Sandbox::Error->invalid('Amount must be at least 1 cent.', param => $param, code => 'parameter_invalid_integer') if $amount < 1;
    Sandbox::Error->invalid(sprintf('Refund amount ($%.2f) is greater than unrefunded amount on charge ($%.2f)',
            $amount / 100, $left / 100), param => $param)
        if $amount > $left;
}


sub _refund ($self, $payment, $amount, $metadata, $reason) {
    my $refund = $self->store->put(refund => new_refund(
        id       => $self->store->id('re'),
        now      => $self->store->now,
        payment  => $payment,
        amount   => $amount,
        metadata => $metadata,
        reason   => $reason,
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


sub create_credit_note ($self, $params) {
    my $invoice = $self->billing->invoice($params->{invoice}, {status => 400, param => 'invoice'});

    Sandbox::Error->invalid("Invoice must be paid to be credited here; this invoice is $invoice->{status}.", param => 'invoice')
        if $invoice->{status} ne 'paid';

    my $payment = $self->store->get(payment => $invoice->{id});
    my $refund  = $params->{refund_amount} // 0;
    my $credit  = $params->{credit_amount} // 0;
    my $outside = $params->{out_of_band_amount} // 0;
    my $amount  = $params->{amount} // $refund + $credit + $outside;

    for my $name (qw(amount refund_amount credit_amount out_of_band_amount)) {
        Sandbox::Error->invalid("Invalid $name: must be greater than or equal to 0", param => $name) if ($params->{$name} // 0) < 0;
    }

    Sandbox::Error->invalid('You must specify an amount greater than zero.', param => 'amount') if $amount == 0;
    Sandbox::Error->invalid(sprintf('The sum of credit amount, refund amount and out of band amount ($%.2f) must equal the post '
            . 'payment credit note amount ($%.2f).', ($refund + $credit + $outside) / 100, $amount / 100))
        if $amount != $refund + $credit + $outside;

    # Refunds that were made without a credit note count too, once.
    my $left = $invoice->{amount_paid} - $invoice->{post_payment_credit_notes_amount} - $self->_bare_refunds($payment);

    Sandbox::Error->invalid(sprintf('The amount of the credit note ($%.2f) cannot exceed the amount that is left to credit on the '
            . 'invoice ($%.2f).', $amount / 100, $left / 100), param => 'amount')
        if $amount > $left;

    _check_amount($refund, $payment->{amount} - $payment->{refunded}, 'refund_amount') if $refund;

    return $self->_credit_note($params, $invoice, $payment, $amount, $refund);
}


sub _bare_refunds ($self, $payment) {
    my $noted = 0;

    return 0 unless $payment;

    for my $note (@{$self->store->all(credit_note => sub ($n) { $n->{invoice} eq $payment->{invoice} })}) {
        $noted += $_->{amount_refunded} for @{$note->{refunds}};
    }

    return $payment->{refunded} - $noted;
}


sub _credit_note ($self, $params, $invoice, $payment, $amount, $refunded) {
    my $store  = $self->store;
    my $refund = $refunded ? $self->_refund($payment, $refunded, $params->{metadata}, undef) : undef;

    my $note = $store->put(credit_note => new_credit_note(
        (map { ($_ => $params->{$_}) } qw(memo metadata out_of_band_amount reason)),
        id      => $store->id('cn'),
        now     => $store->now,
        number  => sprintf('%02d', 1 + @{$store->all(credit_note => sub ($n) { $n->{invoice} eq $invoice->{id} })}),
        invoice => $invoice,
        amount  => $amount,
        refunds => [$refund // ()],
    ));

    $invoice->{post_payment_credit_notes_amount} += $amount;

    $self->_record(credit => $payment, $amount - $refunded, $params->{metadata}) if $amount > $refunded;
    $store->announce('credit_note.created', $note);

    return $note;
}


sub credit_note ($self, $id) { $self->store->get(credit_note => $id) // Sandbox::Error->missing('credit note' => $id) }


sub credit_notes ($self, $params) {
    return $self->store->all(credit_note => sub ($n) {
        return !grep { defined $params->{$_} && $n->{$_} ne $params->{$_} } qw(invoice customer);
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
