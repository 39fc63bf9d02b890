#!/usr/bin/env perl

# A stateful stand-in for Stripe's servers; `perldoc t/sandbox/sandbox.pl` tells how to use it.

use v5.36;
use FindBin qw($RealBin);
use lib "$RealBin/lib";

use Getopt::Long qw(GetOptions);
use Mojo::IOLoop;
use Mojo::Server::Daemon;
use Pod::Usage qw(pod2usage);
use Sandbox;
use Sandbox::Store;

my %opt;

GetOptions(
    \%opt,            'listen=s@', 'port-file=s', 'public-url=s', 'secret-key=s', 'webhook-url=s',
    'webhook-secret=s@', 'state=s', 'exit-with-parent', 'help'
) or pod2usage(2);

pod2usage(-verbose => 1) if $opt{help};

my @listen = @{$opt{listen} // ['http://127.0.0.1:12111']};

my $app = Sandbox->new(
    mode            => 'production',
    secret_key      => $opt{'secret-key'},
    webhook_url     => $opt{'webhook-url'},
    webhook_secrets => $opt{'webhook-secret'} // ['whsec_sandbox'],
    state_file      => $opt{state},
);

# Answers held back on purpose and pooled connections of a proxy outlive the daemon's own defaults.
my $daemon = Mojo::Server::Daemon->new(
    app                => $app,
    listen             => \@listen,
    inactivity_timeout => 900,
    keep_alive_timeout => 900,
    max_requests       => 1_000_000,
    silent             => 1,
)->start;

my $port = $daemon->ports->[0];

# Links name the address that a browser on this machine can open.
my ($host) = $listen[0] =~ m{^\w+://(\[[^\]]*\]|[^:/?]*)};
$host = '127.0.0.1' if $host =~ /^(?:\*|0\.0\.0\.0|\[::\])?$/;

$app->base_url($opt{'public-url'} // "http://$host:$port");
$app->resume;

Sandbox::Store::write_file($opt{'port-file'}, "$port\n") if $opt{'port-file'};

if ($opt{'exit-with-parent'}) {
    my $parent = getppid;
    Mojo::IOLoop->recurring(1 => sub { Mojo::IOLoop->stop if getppid != $parent });
}

$SIG{INT} = $SIG{TERM} = sub { Mojo::IOLoop->stop };

Mojo::IOLoop->start;

__END__

=head1 NAME

sandbox.pl - a stateful stand-in for Stripe's servers

=head1 SYNOPSIS

    perl t/sandbox/sandbox.pl --listen http://127.0.0.1:12111 \
        --webhook-url http://127.0.0.1:8080/webhooks/stripe --webhook-secret whsec_demo

=head1 OPTIONS

=over 4

=item --listen URL

Where to listen, C<http://127.0.0.1:12111> by default. Port 0 takes any free port. May be given again, as for TLS:
C<https://0.0.0.0:12443?cert=FILE&key=FILE>; links and the port file speak of the first.

=item --port-file FILE

The port is written here, atomically, once the sandbox answers.

=item --public-url URL

The base of the hosted invoice pages, where it is not what C<--listen> says (behind a container's address, say).

=item --secret-key sk_test_...

The one key to accept. Without it any key that begins with C<sk_test_> will do; a key must be there always.

=item --webhook-url URL, --webhook-secret whsec_...

Where events go, and what signs them. A second C<--webhook-secret> adds a second signature, as in a rotation.

=item --state FILE

Keeps everything in this file from one run to the next.

=item --exit-with-parent

Ends within a second after the process that started it.

=back

=head1 CALLS

Those of C<Sandbox::Calls>, with Stripe's own errors, idempotency, lists and expansion. Customers C<cus_card>, C<cus_nocard>,
C<cus_declined> and C<cus_3ds> exist. Every price exists but C<price_missing>; C<Sandbox::Objects> has the amounts. An incomplete
subscription expires after 23 hours of the sandbox's clock.

=head1 CONTROLS

They take and give JSON, need no credential and answer 2xx.

=over 4

=item POST /_sandbox/customers {"id", "card": "ok"|"none"|"declined"|"3ds", "place", "refunds": "succeeded"|"pending"}

Adds a customer, or gives one another card. C<place> says where the card is found: C<default> (the invoice settings), C<source> (a
legacy default source) or C<attached> (only in the list of payment methods). C<refunds> is how refunds to it begin.

=item POST /_sandbox/invoices/:id/pay {"card", "amount"}

Pays as the hosted page does. C<declined> and C<3ds> make the attempt fail, with the events of a failed attempt. A paid or void invoice
is left as it is; the answer is the invoice. C<amount> may be less than is left, which leaves it open, or more, which goes to the
customer's balance.

=item POST /_sandbox/invoices/:id/void, POST /_sandbox/invoices/:id/uncollectible

What an operator does in Stripe's dashboard.

=item POST /_sandbox/subscriptions {"customer", "price", "status", "metadata", "count"}, POST /_sandbox/subscriptions/:id {"status", "price", "metadata"}

A subscription that was bought elsewhere, or C<count> like it, of which the last is the answer; and its life: C<active>, C<past_due>,
C<unpaid>, C<canceled> ...

=item POST /_sandbox/subscriptions/:id/renew {"card"}

The next period of one that is active or past due: its invoice, finalized at once, is paid, or with another card than C<ok> stays open.

=item POST /_sandbox/subscriptions/:id/bill {"draft"}, POST /_sandbox/invoices/:id/finalize

An invoice of it besides, as a person makes one: it stays open, and whether it is paid changes nothing of the subscription. A draft is
open once it is finalized, which may be when its subscription has ended.

=item POST /_sandbox/hand {"method", "path", "params"}

What a person does at Stripe's dashboard: one of the calls that are no lists, with its parameters as JSON. It needs no key, is in no log, and
meets no fault.

=item POST /_sandbox/refunds/:id {"status": "succeeded"|"failed"|"canceled", "reason"}

What becomes of a refund: a pending one comes to its end, one that succeeded fails later.

=item POST /_sandbox/disputes {"charge" or "payment_intent" or "invoice", "amount", "reason", "status"}, POST /_sandbox/disputes/:id {"status"}

The customer's bank takes a charge back (C<needs_response>), or asks about it (C<warning_needs_response>), and what becomes of that:
C<under_review>, C<won>, C<lost>, C<warning_closed> ... A charge that was taken back can no longer be refunded.

=item GET /_sandbox/books

All subscriptions, invoices, charges (C<payment>), refunds, credit notes and disputes, with what says where the money is.

=item GET /_sandbox/ledger

C<{"entries": [...]}>: each effect, in order. A credit note is a C<refund> for what it gives back to the card and a C<credit> for the rest.
Whatever ends a subscription is a C<cancel>, its expiry too. What was not charged to the card is C<balance> or C<out_of_band>; what a
bank took back is a C<dispute>, and C<reinstated> once it was won; C<refund_failed> and C<refund_canceled> take a refund back.

=item POST /_sandbox/faults {"path", "times", "kind", "ms", "method", "param", "effect", "retry_after"}, GET, DELETE

For the next C<times> (default 1) requests for exactly this path; C<:id> in it stands for any one segment, and C<param> is one that the query
must have. Kinds: C<delay> (the effect at once, the
answer after C<ms>), C<drop_before>, C<drop_after>, C<400>, C<409>, C<429>, C<500>, C<500_stored> (kept under the key; C<effect> true lets the
effect happen all the same).

=item POST /_sandbox/clock {"advance"}, GET

Seconds. Signatures of webhooks go by the real clock, as the receiver does.

=item POST /_sandbox/webhooks {"duplicate", "shuffle", "delay_ms", "to", "retry_for"}, GET

Extra copies, random order, delay, target (null: none), and for how many seconds a refused delivery is tried again. Omitted members keep their
value. The answer shows the queue: C<idle> is true once nothing is left to deliver. C<GET /_sandbox/webhooks?deliveries=N> limits the list of
attempts.

=item GET /_sandbox/requests

Every call received: method, path, key, decoded parameters, status; a dropped one has no status.

=item POST /_sandbox/reset

As started; the webhooks' target stays.

=back

=cut
