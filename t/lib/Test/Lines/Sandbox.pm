package Test::Lines::Sandbox;
use Mojo::Base 'Test::Lines::Process', -signatures;

use Carp qw(croak);
use Mojo::JSON qw(encode_json);
use Mojo::Parameters;
use Mojo::UserAgent;
use Test::Lines ();
use Test::Lines::Client;
use Test::Lines::Port;

=head1 NAME

Test::Lines::Sandbox - a billing sandbox of a test's own

=head1 SYNOPSIS

    my $sandbox = $t->sandbox;
    my $nginx   = $t->nginx(..., http => 'upstream stripe { server 127.0.0.1:' . $sandbox->port . '; }');

    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'), duplicate => 1, shuffle => 1);

    $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_after');
    ...
    $sandbox->pay($invoice);
    $sandbox->wait_idle;

    is_deeply [map { $_->{type} } $sandbox->ledger], [qw(subscription charge)];

    $sandbox->advance(23 * 3600);

=head1 DESCRIPTION

Runs F<t/sandbox/sandbox.pl>; its own documentation says what it does. A test
that uses L<Test::Lines> gets one from C<< $t->sandbox >>, which ends with it.
Without: C<< Test::Lines::Sandbox->new(dir => $dir)->start >>.

Options: C<webhook_url>, C<webhook_secret> (default "whsec_test"; an array for
two), C<secret_key> (default "sk_test_lines"), C<public_url>, C<state> (1 keeps
the state over a restart), C<port>, C<name>, C<dir>, C<tls>, C<< {port => 12443, cert => $file, key => $file} >>,
to listen with TLS besides.

A method dies where the sandbox refuses what it asks for.

=cut

has name           => 'sandbox';
has dir            => sub ($self) { $self->t->dir };
has port           => sub { Test::Lines::Port::free_port() };
has secret_key     => 'sk_test_lines';
has webhook_secret => 'whsec_test';
has [qw(t webhook_url public_url state tls)];

has root   => sub { Mojo::File::path(__FILE__)->to_abs->dirname->dirname->dirname->dirname->dirname };
has client => sub ($self) { Test::Lines::Client->new(host => '127.0.0.1', port => $self->port) };


=head2 start, stop, kill, restart

Returns once it answers.

=cut

sub start ($self) {
    my $secrets = $self->webhook_secret;
    my $file    = $self->dir . '/' . $self->name . '.port';

    unlink $file;

    my @options = (
        '--listen'     => $self->url,
        '--port-file'  => $file,
        '--secret-key' => $self->secret_key,
        '--exit-with-parent',
        (map { ('--webhook-secret' => $_) } ref $secrets ? @$secrets : $secrets),
    );

    if (my $tls = $self->tls) {
        push @options, '--listen' => "https://127.0.0.1:$tls->{port}?cert=$tls->{cert}&key=$tls->{key}";
    }

    push @options, '--webhook-url' => $self->webhook_url if defined $self->webhook_url;
    push @options, '--public-url'  => $self->public_url  if defined $self->public_url;
    push @options, '--state' => $self->dir . '/' . $self->name . '.state' if $self->state;

    $self->command([$^X, $self->root . '/t/sandbox/sandbox.pl', @options]);
    $self->SUPER::start;

    Test::Lines::wait_for(sub {
        croak 'the sandbox does not start: ' . $self->output unless $self->alive;
        return -s $file;
    }, 30, 'the sandbox');

    return $self;
}

sub restart ($self) {
    $self->stop;
    return $self->start;
}


=head2 url

    $sandbox->url;                      # http://127.0.0.1:PORT
    $sandbox->url('/v1/subscriptions');

=head2 ledger

All entries, or those of a type:

    my @charges = $sandbox->ledger('charge');

=head2 requests

The calls that it got, or those of a method and path, each a hash of method,
path, query, idempotency_key, traceparent, params, status (undef where the answer was
dropped), fault, replayed, arrived (seconds of the real clock):

    my @creations = $sandbox->requests(POST => '/v1/subscriptions');

=head2 fault

    $sandbox->fault(path => '/v1/invoices/:id/void', kind => '500', times => 2);

C<:id> stands for any one segment. Kinds: delay (with C<ms>), hold (until faults are cleared), drop_before,
drop_after, 400, 401, 409, 429, 500, 500_stored (with C<effect>, if it shall have one).
A call whose idempotency key is C<except> is left alone.

=head2 clear_faults

=head2 customer

    $sandbox->customer(cus_new => 'declined');
    $sandbox->customer(cus_old => 'ok', 'attached');
    $sandbox->customer(cus_slow => 'ok', 'default', 'pending');

Adds a customer or changes the card of one: ok, none, declined, 3ds. The card
is the default payment method, unless said to be a legacy C<source> or only
C<attached>. Refunds to it succeed at once, or begin as C<pending>.

=head2 pay, void, give_up

    $sandbox->pay($invoice);
    $sandbox->pay($invoice, 'declined');
    $sandbox->pay($invoice, 'ok', 1000);

What the customer does on the hosted page, and the operator in the dashboard
(C<give_up> marks it uncollectible). Return the invoice.

=head2 hand

    $sandbox->hand(POST => "/v1/invoices/$invoice/pay", paid_out_of_band => 'true');

What a person does at billing's dashboard, where no fault is met and no call is
logged; returns the object. The others are such hands:

    $sandbox->refund($invoice);                 # all that is left of its charges
    $sandbox->refund($invoice, 900);            # returns the refund
    $sandbox->credit($invoice, refund_amount => 900, credit_amount => 100);
    $sandbox->cancel($subscription);
    $sandbox->pay_outside($invoice);
    $sandbox->endow($customer, 2900);           # a credit on its balance

=head2 settle

    $sandbox->settle($refund => 'failed');

What becomes of a refund: succeeded, failed, canceled. Returns it.

=head2 dispute, judge

    my $dispute = $sandbox->dispute($invoice);
    $sandbox->judge($dispute->{id} => 'lost');

The customer's bank takes a charge back, and what comes of it: under_review,
won, lost. With C<< status => 'warning_needs_response' >> it only asks, until
it is C<warning_closed>. Return the dispute.

=head2 books

All of billing's objects that say where money is, by kind.

=head2 adopt, move

    my $base = $sandbox->adopt(customer => 'cus_card', price => 'price_growth');
    $sandbox->move($base->{id}, status => 'past_due');

A subscription that was bought elsewhere, or C<< count => 500 >> like it, and
its life. Return it, or the last.

=head2 renew

    $sandbox->renew($subscription);
    $sandbox->renew($subscription, 'declined');

A period ends, and the next one is invoiced. Returns the invoice.

=head2 bill

    $sandbox->bill($subscription);

A person has it pay something besides. Returns that invoice, which is open.

=head2 advance, now

    $sandbox->advance(23 * 3600);

Moves its clock; returns its time.

=head2 webhooks

    $sandbox->webhooks(to => $url, duplicate => 2, shuffle => 1, delay_ms => 300);
    $sandbox->webhooks->{deliveries};

Changes what is named, and returns the report: idle, queued, in_flight,
delivered, failed, deliveries.

=head2 wait_idle

    $sandbox->wait_idle($seconds);

Until every event is delivered or given up (60 s by default). Returns the
report.

=head2 reset

As it was when it started, but for the webhooks' target.

=cut

sub url ($self, $path = '') { 'http://127.0.0.1:' . $self->port . $path }

sub ledger ($self, $type = undef) {
    return grep { !defined $type || $_->{type} eq $type } @{$self->control('ledger')->{entries}};
}

sub requests ($self, $method = undef, $path = undef) {
    return grep { (!defined $method || $_->{method} eq $method) && (!defined $path || $_->{path} eq $path) }
        @{$self->control('requests')->{requests}};
}

=head2 pass

    my $billing = $t->upstream(handler => sub ($c, $state) {
        my $res = $sandbox->pass($c, qr/date/);
        $c->render(data => $res->body, status => $res->code // 502);
    });

For what stands before billing: passes a request on, and returns the answer, whose
headers are those of the other one's by then, without those of that name (in lower case).

=cut

sub pass ($self, $c, $without = qr/-/) {
    state $ua   = Mojo::UserAgent->new(max_redirects => 0);
    my $req     = $c->req;
    my %headers = %{$req->headers->to_hash};
    delete @headers{qw(Host Connection)};

    my $res = $ua->start($ua->build_tx($req->method => $self->url . $req->url->path_query => \%headers => $req->body))->res;

    for my $name (grep { lc !~ /^(?:content-length|transfer-encoding|connection|server|$without)$/ } @{$res->headers->names}) {
        $c->res->headers->header($name => $res->headers->header($name));
    }

    return $res;
}

sub fault ($self, %fault) { $self->control(faults => \%fault) }

sub clear_faults ($self) { $self->_answer($self->client->delete('/_sandbox/faults')) }

sub customer ($self, $id, $card = 'ok', $place = 'default', $refunds = 'succeeded') {
    return $self->control(customers => {id => $id, card => $card, place => $place, refunds => $refunds});
}

sub pay ($self, $invoice, $card = 'ok', $amount = undef) {
    return $self->control("invoices/$invoice/pay" => {card => $card, defined $amount ? (amount => $amount) : ()});
}

sub hand ($self, $method, $path, %params) { $self->control(hand => {method => $method, path => $path, params => \%params}) }

sub refund ($self, $invoice, $amount = undef) {
    my @charges = grep { $_->{invoice} eq $invoice } @{$self->books->{payment}};
    my $refund;

    croak "$invoice has no charge" unless @charges;
    $refund = $self->hand(POST => '/v1/refunds', charge => $_->{id}, defined $amount ? (amount => $amount) : ())
      for defined $amount ? $charges[0] : @charges;

    return $refund;
}

sub credit ($self, $invoice, %parts) { $self->hand(POST => '/v1/credit_notes', invoice => $invoice, %parts) }

sub cancel ($self, $subscription) { $self->hand(DELETE => "/v1/subscriptions/$subscription") }

sub pay_outside ($self, $invoice) { $self->hand(POST => "/v1/invoices/$invoice/pay", paid_out_of_band => 'true') }

sub endow ($self, $customer, $amount) {
    return $self->hand(POST => "/v1/customers/$customer/balance_transactions", amount => -$amount, currency => 'usd');
}

sub settle ($self, $refund, $status) { $self->control("refunds/$refund" => {status => $status}) }

sub dispute ($self, $invoice, %how) { $self->control(disputes => {invoice => $invoice, %how}) }

sub judge ($self, $dispute, $status) { $self->control("disputes/$dispute" => {status => $status}) }

sub books ($self) { $self->control('books') }

sub void ($self, $invoice) { $self->control("invoices/$invoice/void" => {}) }

sub give_up ($self, $invoice) { $self->control("invoices/$invoice/uncollectible" => {}) }

sub adopt ($self, %subscription) { $self->control(subscriptions => \%subscription) }

sub move ($self, $id, %change) { $self->control("subscriptions/$id" => \%change) }

sub bill ($self, $id, %how) { $self->control("subscriptions/$id/bill" => \%how) }

sub finalize ($self, $id) { $self->control("invoices/$id/finalize" => {}) }

sub renew ($self, $id, $card = 'ok') { $self->control("subscriptions/$id/renew" => {card => $card}) }

sub advance ($self, $seconds) { $self->control(clock => {advance => $seconds})->{now} }

sub now ($self) { $self->control('clock')->{now} }

sub webhooks ($self, %change) { $self->control('webhooks' => %change ? \%change : undef) }

sub reset ($self) { $self->control(reset => {}) }

sub wait_idle ($self, $seconds = 60) {
    Test::Lines::wait_for(sub { $self->control('webhooks?deliveries=0')->{idle} }, $seconds, 'the delivery of all webhooks');

    return $self->webhooks;
}


=head2 control

    $sandbox->control('ledger');
    $sandbox->control(clock => {advance => 60});

Any control: GET, or POST where there is something to send.

=cut

sub control ($self, $name, $args = undef) {
    return $self->_answer($args
        ? $self->client->post_json("/_sandbox/$name", $args)
        : $self->client->get("/_sandbox/$name"));
}

sub _answer ($self, $answer) {
    croak 'the sandbox says ' . $answer->to_string unless $answer->status =~ /^2/;
    return $answer->json;
}


=head2 call

    my $answer = $sandbox->call(POST => '/v1/subscriptions', {customer => 'cus_card', 'items[0][price]' => 'price_phone'},
        {'Idempotency-Key' => 'k1'});

A call as the module makes it: the key, the version, a form. Returns a
L<Test::Lines::Answer>. C<call_p> returns a promise. With C<via>, a URL, it
goes there instead.

=cut

sub call   ($self, @call) { $self->client->request($self->_call(@call)) }
sub call_p ($self, @call) { $self->client->request_p($self->_call(@call)) }

has via => undef;

sub _call ($self, $method, $path, $params = {}, $headers = {}) {
    my $form = Mojo::Parameters->new(map { ($_ => $params->{$_}) } sort keys %$params)->to_string;
    my $url  = ($self->via // $self->url) . $path;
    my $post = $method eq 'POST';

    my %headers = (
        'Authorization'  => 'Bearer ' . $self->secret_key,
        'Stripe-Version' => '2026-10-28.endive',
        $post ? ('Content-Type' => 'application/x-www-form-urlencoded') : (),
        %$headers
    );
    delete $headers{$_} for grep { !defined $headers{$_} } keys %headers;

    $url .= "?$form" if !$post && length $form;

    return ($method, $url, \%headers, $post ? $form : undef);
}


# what Test::Lines->done fails a test for
sub complaints ($self) { grep {/\[(?:error|fatal)\]/} split /\n/, $self->output }

1;
