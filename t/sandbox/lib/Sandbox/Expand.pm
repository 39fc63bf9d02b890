package Sandbox::Expand;
use Mojo::Base -strict, -signatures;

use Exporter qw(import);
use List::Util qw(sum0);
use Mojo::JSON qw(false);
use Sandbox::Error;

our @EXPORT_OK = qw(check_expand expand);

# What may be expanded, and to what. Paths are checked before a call has any effect.

my %EXPANDABLE = (
    credit_note => {customer => 'customer', customer_balance_transaction => 'customer_balance_transaction', invoice => 'invoice'},
    customer    => {},
    customer_balance_transaction => {credit_note => 'credit_note', customer => 'customer', invoice => 'invoice'},
    dispute         => {},
    event           => {},
    invoice         => {amount_paid_off_stripe => \&_paid_outside, customer => 'customer', payments => \&_payments},
    invoice_payment => {invoice => 'invoice'},
    payment_method  => {customer => 'customer'},
    refund          => {},
    subscription    => {customer => 'customer', default_payment_method => 'payment_method', latest_invoice => 'invoice'},
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
    my $payments = $store->all(invoice_payment => sub ($p) { $p->{invoice} eq $invoice->{id} });

    return {object => 'list', data => $payments, has_more => false, url => '/v1/invoice_payments'};
}


sub _paid_outside ($store, $invoice) {
    return sum0 map { $_->{amount_paid} // 0 } grep { $_->{payment}{type} eq 'payment_record' } @{_payments($store, $invoice)->{data}};
}


1;
