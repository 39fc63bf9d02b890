package Sandbox::Control;
use Mojo::Base 'Mojolicious::Controller', -signatures;

use Mojo::JSON qw(true);
use Sandbox::Calls qw(find_call);
use Sandbox::Params qw(check_params);
use Scalar::Util qw(blessed);

# The controls, for tests and the demo.

my %CARDS    = map { ($_ => 1) } qw(ok none declined 3ds);
my %PLACES   = map { ($_ => 1) } qw(default source attached);
my %REFUNDS  = map { ($_ => 1) } qw(pending succeeded);
my %STATUSES = map { ($_ => 1) } qw(active canceled incomplete past_due paused trialing unpaid);


sub customer ($self) {
    my $args  = $self->_args or return;
    my $card  = $args->{card} // 'ok';
    my $place = $args->{place} // 'default';

    return $self->_bad('id is missing') unless ($args->{id} // '') =~ /^[\w.-]{1,255}$/;
    return $self->_bad('card must be one of ' . join ', ', sort keys %CARDS)   unless $CARDS{$card};
    return $self->_bad('place must be one of ' . join ', ', sort keys %PLACES) unless $PLACES{$place};

    return $self->_bad('refunds must be one of ' . join ', ', sort keys %REFUNDS) unless $REFUNDS{$args->{refunds} // 'succeeded'};

    $self->render(json => $self->app->billing->set_card($args->{id}, $card, $place, $args->{refunds} // 'succeeded'));
}


sub pay ($self) {
    my $args = $self->_args or return;
    my $card = $args->{card} // 'ok';

    return $self->_bad('card must be ok, declined or 3ds') unless $card =~ /^(?:ok|declined|3ds)$/;

    return $self->_bad('amount must be a number of cents, one or more') unless ($args->{amount} // 1) =~ /^[1-9]\d*$/;

    $self->_try(sub { $self->app->billing->pay_invoice($self->stash->{id}, $card, $args->{amount}) });
}


# What a person does at the dashboard: any of Stripe's calls, unseen in the log, and no fault stands in the way.

sub hand ($self) {
    my $args = $self->_args or return;
    my ($call, $id) = find_call($args->{method} // '', $args->{path} // '');

    return $self->_bad('method and path must be of one of the calls') unless $call && !$call->{list};

    $self->_try(sub { $call->{run}->($self->app, check_params($call->{params}, $args->{params} // {}), $id) });
}


sub settle_refund ($self) {
    my $args = $self->_args or return;

    $self->_try(sub { $self->app->refunds->settle_refund($self->stash->{id}, $args->{status} // '', $args->{reason} // ()) });
}


sub open_dispute ($self) {
    my $args = $self->_args or return;

    $self->_try(sub { $self->app->refunds->open_dispute($args) });
}


sub move_dispute ($self) {
    my $args = $self->_args or return;

    $self->_try(sub { $self->app->refunds->move_dispute($self->stash->{id}, $args->{status} // '') });
}


# All that is about money, as little of each as says where it is.

my %BOOKS = (
    subscription => [qw(id status customer created latest_invoice metadata)],
    invoice      => [qw(id status status_transitions created parent total amount_paid amount_remaining pre_payment_credit_notes_amount)],
    payment      => [qw(id invoice amount)],
    refund       => [qw(id charge amount status created)],
    credit_note  => [qw(id invoice status post_payment_amount refunds)],
    dispute      => [qw(id charge amount status)],
);

sub books ($self) {
    my %books;

    for my $collection (keys %BOOKS) {
        $books{$collection} = [map { my $o = $_; +{map { ($_ => $o->{$_}) } @{$BOOKS{$collection}}} } @{$self->app->store->all($collection)}];
    }

    $self->render(json => \%books);
}


sub void ($self) {
    $self->_try(sub { $self->app->billing->void_invoice($self->stash->{id}) });
}


sub uncollectible ($self) {
    $self->_try(sub { $self->app->billing->give_up_invoice($self->stash->{id}) });
}


sub adopt ($self) {
    my $args = $self->_args or return;

    return $self->_bad('customer is missing') unless defined $args->{customer};
    return unless $self->_status_ok($args);

    $self->_try(sub {
        $self->app->billing->adopt_subscription($args) for 2 .. $args->{count} // 1;
        return $self->app->billing->adopt_subscription($args);
    });
}


sub move ($self) {
    my $args = $self->_args or return;

    return unless $self->_status_ok($args);

    $self->_try(sub { $self->app->billing->move_subscription($self->stash->{id}, $args) });
}


sub bill ($self) {
    my $draft = ($self->req->json // {})->{draft};

    $self->_try(sub { $self->app->billing->bill_subscription($self->stash->{id}, $draft) });
}


sub finalize ($self) {
    $self->_try(sub { $self->app->billing->finalize_invoice($self->stash->{id}) });
}


sub renew ($self) {
    my $args = $self->_args or return;
    my $card = $args->{card} // 'ok';

    return $self->_bad('card must be ok, declined or 3ds') unless $card =~ /^(?:ok|declined|3ds)$/;

    $self->_try(sub { $self->app->billing->renew_subscription($self->stash->{id}, $card) });
}


sub ledger ($self) { $self->render(json => {entries => $self->app->store->ledger}) }


sub add_fault ($self) {
    my $args = $self->_args or return;
    my ($fault, $wrong) = $self->app->faults->add($args);

    return $self->_bad($wrong) unless $fault;

    $self->render(json => $fault, status => 201);
}


sub faults ($self) { $self->render(json => {faults => $self->app->faults->list}) }


sub clear_faults ($self) {
    $self->app->faults->list([]);
    $self->faults;
}


sub advance ($self) {
    my $args    = $self->_args or return;
    my $store   = $self->app->store;
    my $seconds = $args->{advance} // 0;

    return $self->_bad('advance must be a number of seconds, zero or more') unless $seconds =~ /^\d+(?:\.\d+)?$/;

    $store->offset($store->offset + int $seconds);
    $self->app->billing->expire;
    $self->clock;
}


sub clock ($self) {
    my $store = $self->app->store;

    $self->render(json => {now => $store->now, offset => $store->offset});
}


sub configure_webhooks ($self) {
    my $args  = $self->_args or return;
    my $wrong = $self->app->webhooks->configure($args);

    return $self->_bad($wrong) if defined $wrong;

    $self->webhooks;
}


sub webhooks ($self) {
    my $attempts = $self->req->url->query->param('deliveries') // '';

    $self->render(json => $self->app->webhooks->report($attempts =~ /^\d+$/ ? $attempts : ()));
}


sub requests ($self) { $self->render(json => {requests => $self->app->store->requests}) }


sub reset ($self) {
    $self->app->reset;
    $self->render(json => {ok => true});
}


# No body is an empty object.

sub _args ($self) {
    return {} if $self->req->body eq '';

    my $args = $self->req->json;

    return $args if ref $args eq 'HASH';

    $self->_bad('the body must be a JSON object');

    return undef;
}


sub _status_ok ($self, $args) {
    return 1 if !defined $args->{status} || $STATUSES{$args->{status}};

    $self->_bad('status must be one of ' . join ', ', sort keys %STATUSES);

    return 0;
}


sub _try ($self, $do) {
    my $result = eval { $do->() };

    return $self->render(json => $result) if $result;
    die $@ unless blessed $@ && $@->isa('Sandbox::Error');

    $self->render(json => {error => $@->message}, status => $@->status);
}


sub _bad ($self, $message) {
    $self->render(json => {error => $message}, status => 400);
}


1;
