package Sandbox::Hosted;
use Mojo::Base 'Mojolicious::Controller', -signatures;

# The hosted invoice: what a customer sees behind a payment link.


sub show ($self) {
    my $billing = $self->app->billing;
    my $invoice = $self->app->store->get(invoice => $self->stash->{id});

    $self->res->headers->header('Content-Security-Policy' => "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'");
    $self->res->headers->cache_control('no-store');

    return $self->render(template => 'missing', status => 404) unless $invoice;

    $self->render(
        template => 'invoice',
        invoice  => $invoice,
        amount   => sprintf('$%.2f', $invoice->{total} / 100),
        refunded => sprintf('$%.2f', $invoice->{post_payment_credit_notes_amount} / 100),
        metadata => $invoice->{parent}{subscription_details}{metadata},
    );
}


sub pay ($self) {
    my $id = $self->stash->{id};

    return $self->show unless $self->app->store->get(invoice => $id);

    $self->app->billing->pay_invoice($id);
    $self->res->code(303);
    $self->redirect_to("/i/$id");
}


1;

__DATA__

@@ layouts/page.html.ep
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><%= title %></title>
<style>
:root { color-scheme: light dark }
body { margin: 0; padding: 1rem; font: 1.0625rem/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText }
main { max-width: 28rem; margin: 1rem auto }
h1 { font-size: 1rem; font-weight: 600; margin: 0; opacity: .75 }
.amount { font-size: 2.75rem; font-weight: 700; line-height: 1.2; margin: .25rem 0 }
.state { display: inline-block; padding: .1rem .75rem; border: 1px solid; border-radius: 1rem; font-weight: 600 }
.paid { color: #15803d }
.void, .uncollectible { color: #b45309 }
ul { padding-left: 1.25rem }
dl { margin: 1rem 0; border-top: 1px solid GrayText }
dl div { display: flex; gap: 1rem; justify-content: space-between; padding: .5rem 0; border-bottom: 1px solid GrayText }
dd { margin: 0; text-align: right; overflow-wrap: anywhere }
button { width: 100%; min-height: 3rem; font: inherit; font-weight: 600; border: 0; border-radius: .5rem; background: #4f46e5; color: #fff }
button:focus-visible { outline: 3px solid; outline-offset: 2px }
footer { margin-top: 2rem; font-size: .875rem; opacity: .75 }
</style>
</head>
<body>
<main>
<%= content %>
<footer>Lines sandbox. No card is asked for and no money moves.</footer>
</main>
</body>
</html>

@@ invoice.html.ep
% layout 'page', title => "Invoice $invoice->{number}";
<h1>Invoice <%= $invoice->{number} %></h1>
<p class="amount"><%= $amount %> <small><%= uc $invoice->{currency} %></small></p>
<p><span id="state" class="state <%= $invoice->{status} %>"><%= ucfirst $invoice->{status} %></span></p>
<ul>
% for my $line (@{$invoice->{lines}{data}}) {
<li><%= $line->{description} %></li>
% }
</ul>
<dl>
<div><dt>Customer</dt><dd><%= $invoice->{customer} %></dd></div>
% for my $name (sort keys %$metadata) {
<div><dt><%= $name %></dt><dd><%= $metadata->{$name} %></dd></div>
% }
</dl>
% if ($invoice->{status} eq 'open' || $invoice->{status} eq 'uncollectible') {
<form method="post" action="/i/<%= $invoice->{id} %>/pay"><button id="pay" type="submit">Pay</button></form>
% } elsif ($invoice->{status} eq 'paid') {
<p>This invoice is paid. Thank you; you can close this page.</p>
%   if ($invoice->{post_payment_credit_notes_amount}) {
<p><%= $refunded %> was given back.</p>
%   }
% } else {
<p>This invoice is void and can no longer be paid.</p>
% }

@@ missing.html.ep
% layout 'page', title => 'No such invoice';
<h1>No such invoice</h1>
<p>This link leads nowhere, or no longer.</p>
