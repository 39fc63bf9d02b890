package Sandbox;
use Mojo::Base 'Mojolicious', -signatures;

use Sandbox::Billing;
use Sandbox::Calls qw(calls);
use Sandbox::Faults;
use Sandbox::Hosted;
use Sandbox::Idempotency;
use Sandbox::Refunds;
use Sandbox::Store;
use Sandbox::Webhooks;

# The application: its parts and its routes.

has [qw(secret_key state_file webhook_url)];
has webhook_secrets => sub { [] };

has store       => sub { Sandbox::Store->new };
has billing     => sub ($self) { Sandbox::Billing->new(store => $self->store) };
has refunds     => sub ($self) { Sandbox::Refunds->new(store => $self->store, billing => $self->billing) };
has idempotency => sub ($self) { Sandbox::Idempotency->new(store => $self->store) };
has faults      => sub { Sandbox::Faults->new };
has webhooks    => sub ($self) { Sandbox::Webhooks->new(to => $self->webhook_url, secrets => $self->webhook_secrets) };


sub startup ($self) {
    my $r = $self->routes;

    $self->log->level('warn');
    $self->secrets([$self->store->id('cookie')]);
    $self->renderer->classes(['Sandbox::Hosted'])->compress(0);
    $self->types->type(json => 'application/json');

    $self->store->on(event => sub ($store, $event) { $self->webhooks->enqueue($event) });

    for my $call (calls) {
        my ($method, $path) = split ' ', $call->{on};

        $r->any([$method] => "/v1$path" =~ s{:id}{#id}r)->to('API#serve', namespace => 'Sandbox', call => $call);
    }

    $r->any('/v1/*rest')->to('API#unknown', namespace => 'Sandbox');

    my $control = $r->any('/_sandbox')->to(namespace => 'Sandbox', controller => 'Control');

    $control->post('/customers')->to(action => 'customer');
    $control->post('/invoices/#id/pay')->to(action => 'pay');
    $control->post('/invoices/#id/void')->to(action => 'void');
    $control->post('/invoices/#id/finalize')->to(action => 'finalize');
    $control->post('/invoices/#id/uncollectible')->to(action => 'uncollectible');
    $control->post('/subscriptions')->to(action => 'adopt');
    $control->post('/subscriptions/#id')->to(action => 'move');
    $control->post('/subscriptions/#id/renew')->to(action => 'renew');
    $control->post('/subscriptions/#id/bill')->to(action => 'bill');
    $control->post('/hand')->to(action => 'hand');
    $control->post('/refunds/#id')->to(action => 'settle_refund');
    $control->post('/disputes')->to(action => 'open_dispute');
    $control->post('/disputes/#id')->to(action => 'move_dispute');
    $control->get('/books')->to(action => 'books');
    $control->get('/ledger')->to(action => 'ledger');
    $control->post('/faults')->to(action => 'add_fault');
    $control->get('/faults')->to(action => 'faults');
    $control->delete('/faults')->to(action => 'clear_faults');
    $control->post('/clock')->to(action => 'advance');
    $control->get('/clock')->to(action => 'clock');
    $control->post('/webhooks')->to(action => 'configure_webhooks');
    $control->get('/webhooks')->to(action => 'webhooks');
    $control->get('/requests')->to(action => 'requests');
    $control->post('/reset')->to(action => 'reset');

    my $hosted = $r->any('/i/#id')->to(namespace => 'Sandbox', controller => 'Hosted');

    $hosted->get('/')->to(action => 'show');
    $hosted->post('/pay')->to(action => 'pay');

    $self->hook(before_dispatch => sub ($c) { $self->billing->expire });
    $self->hook(after_dispatch  => sub ($c) { $self->save unless $c->req->method =~ /^(?:GET|HEAD)$/ });
}


sub base_url ($self, $url) { $self->billing->base_url($url) }


# The state of an earlier run, or a fresh one.

sub resume ($self) {
    my $state = defined $self->state_file ? $self->store->load($self->state_file) : undef;

    return $self->_fresh unless $state;

    $self->billing->waiting($state->{waiting})->numbers($state->{numbers});
    $self->idempotency->records($state->{keys});
    $self->webhooks->resume($state->{deliveries});
}


sub save ($self) {
    return unless defined $self->state_file;

    $self->store->save($self->state_file, {
        deliveries => $self->webhooks->saved,
        keys       => $self->idempotency->saved,
        numbers    => $self->billing->numbers,
        waiting    => $self->billing->waiting,
    });
}


sub reset ($self) {
    $self->store->clear;
    $self->billing->waiting([])->numbers(0);
    $self->idempotency->records({});
    $self->faults->list([]);
    $self->webhooks->clear;

    $self->_fresh;
}


sub _fresh ($self) {
    my %cards = (cus_card => 'ok', cus_nocard => 'none', cus_declined => 'declined', cus_3ds => '3ds');

    $self->billing->set_card($_, $cards{$_}) for sort keys %cards;
}


1;
