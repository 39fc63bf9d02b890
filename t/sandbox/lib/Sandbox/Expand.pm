package Sandbox::Expand;
use Mojo::Base -strict, -signatures;

use Exporter qw(import);
use Mojo::JSON qw(false true);
use Sandbox::Error;

our @EXPORT_OK = qw(check_expand expand);

# What may be expanded, and to what. Paths are checked before a call has any effect.

my %EXPANDABLE = (
    credit_note    => {customer => 'customer', invoice => 'invoice'},
    customer       => {},
    event          => {},
    invoice        => {customer => 'customer', payments => \&_payments},
    payment_method => {customer => 'customer'},
    refund         => {},
    subscription   => {customer => 'customer', default_payment_method => 'payment_method', latest_invoice => 'invoice'},
);


sub check_expand ($type, $paths) {
    for my $path (@$paths) {
        my $at = $type;

        for my $name (split /\./, $path) {
            my $next = $EXPANDABLE{$at // ''}{$name}
                // Sandbox::Error->invalid("This property cannot be expanded ($path).", param => 'expand', kept => 0);

            $at = ref $next ? undef : $next;
        }
    }
}


# Returns a copy with the named references replaced by their objects.

sub expand ($store, $object, @paths) {
    my $copy = {%$object};

    for my $path (@paths) {
        my ($name, $rest) = split /\./, $path, 2;
        my $kind = $EXPANDABLE{$object->{object}}{$name};

        if (ref $kind) {
            $copy->{$name} = $kind->($store, $object);
            next;
        }

        my $value = $copy->{$name};
        $value = $store->get($kind => $value) if defined $value && !ref $value;

        $copy->{$name} = $value ? expand($store, $value, $rest // ()) : undef;
    }

    return $copy;
}


sub _payments ($store, $invoice) {
    my $payment = $store->get(payment => $invoice->{id});

    my @data = $payment ? {
        id                 => "inpay_$invoice->{id}",
        object             => 'invoice_payment',
        amount_paid        => $payment->{amount},
        amount_requested   => $payment->{amount},
        created            => $payment->{created},
        currency           => $payment->{currency},
        invoice            => $invoice->{id},
        is_default         => true,
        livemode           => false,
        payment            => {payment_intent => $payment->{payment_intent}, type => 'payment_intent'},
        status             => 'paid',
        status_transitions => {canceled_at => undef, paid_at => $payment->{created}},
    } : ();

    return {object => 'list', data => \@data, has_more => false, url => '/v1/invoice_payments'};
}


1;
