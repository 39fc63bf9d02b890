package Test::Lines::Chaos::Requests;
use Mojo::Base 'Test::Lines::Chaos', -signatures;

use Mojo::Promise;

=head1 NAME

Test::Lines::Chaos::Requests - workspaces that request lines, pay, cancel, and ask again

=head1 DESCRIPTION

A client is C<< {workspace => {id => 'one', key => $key}} >>; several may be of
one workspace. C<body> of it goes into what it requests.

=head2 lost, revived

What was acknowledged and is not there; what was canceled and is not.

=cut

sub lost ($self) { grep { !%{$self->_record($_)} } @{$self->promised} }

sub revived ($self) {
    return grep { $_->{status} && %{$self->_record($_)} && $self->_record($_)->{status} ne $_->{status} } @{$self->promised};
}

sub _record ($self, $one) { $self->shop->record($one->{workspace}, $one->{line}) }

# what a person at billing's dashboard does to the subscription of an invoice
sub _hand ($self, $invoice, $amount) {
    my $sandbox = $self->shop->sandbox;
    my $do      = sub ($path, $data) { $sandbox->client->post_json_p("/_sandbox/$path", $data) };

    return $do->(hand => {method => 'GET', path => "/v1/invoices/$invoice"})->then(sub ($answer) {
        my $sub  = $answer->json('/parent/subscription_details/subscription') // return $answer;
        my $what = $self->pick(qw(cancel credit unpaid active));

        return $do->("subscriptions/$sub" => {status => $what}) if $what =~ /^(?:unpaid|active)$/ && $answer->json('/status') eq 'paid';

        my $credited = $what eq 'credit' ? $do->(hand => {method => 'POST', path => '/v1/credit_notes', params => {invoice => $invoice, refund_amount => $amount}})
          : Mojo::Promise->resolve;
        return $credited->then(sub (@) { $do->(hand => {method => 'DELETE', path => "/v1/subscriptions/$sub"}) });
    });
}

my $count = 0;

# one deed of one client; resolves to its answer
sub deed ($self, $client) {
    my $w     = $client->{workspace};
    my $nginx = $self->nginx;
    my $line  = $self->pick(@{$w->{lines} //= []});
    my %auth  = %{$nginx->bearer($w->{key})};
    my $what  = $self->pick(qw(create create create again read read link link cancel pay pay void report report release list), $self->hands ? ('hand') x 3 : ());

    if ($what eq 'create' || !$line) {
        my $body = $self->shop->body(%{$w->{body} // {}});
        my %key  = rand() < 0.7 ? ('Idempotency-Key' => 'k' . ++$count) : ();
        push @{$w->{sent}}, [$body, \%key] if %key;
        return $nginx->post_json_p('/api/line-requests', $body, {%auth, %key})->then(sub ($answer) {
            $self->note(create => $answer);
            if (my $id = $answer->json('/line/_id')) {
                push @{$w->{lines}}, {id => $id, invoice => $answer->json('/invoiceId')} unless $answer->status == 409;
                $self->promise(workspace => $w->{id}, line => $id) if $answer->status == 201;
            }
        });
    }

    if ($what eq 'again' && $w->{sent}) {
        my ($body, $key) = @{$self->pick(@{$w->{sent}})};
        return $nginx->post_json_p('/api/line-requests', $body, {%auth, %$key})->then(sub ($answer) {
            $self->note(again => $answer);
            if (my $id = $answer->json('/line/_id')) {
                push @{$w->{lines}}, {id => $id, invoice => $answer->json('/invoiceId')}
                  if $answer->status == 201 && !grep { $_->{id} eq $id } @{$w->{lines}};
                $self->promise(workspace => $w->{id}, line => $id) if $answer->status == 201;
            }
        });
    }

    if ($what eq 'link' || $what eq 'cancel') {
        my $action = $what eq 'link' ? 'payment_link' : 'cancel';
        return $nginx->post_json_p("/api/line-requests/$line->{id}", {action => $action}, \%auth)->then(sub ($answer) {
            $self->note($what => $answer);
            $line->{invoice} = $answer->json('/invoiceId') // $line->{invoice} if $answer->status == 200;
            $self->promise(workspace => $w->{id}, line => $line->{id}, status => 'canceled') if $what eq 'cancel' && $answer->status == 200;
        });
    }

    # the last line is the one that something is under way with
    return $self->_hand($w->{lines}[-1]{invoice}, 900)->then(sub ($answer) { $self->note(hand => $answer) }) if $what eq 'hand' && $w->{lines}[-1]{invoice};

    if ($what =~ /^(?:pay|void)$/ && $line->{invoice}) {
        return $self->shop->sandbox->client->post_json_p("/_sandbox/invoices/$line->{invoice}/$what", {})->then(sub ($answer) { $self->note($what => $answer) });
    }

    if ($what eq 'report' || $what eq 'release') {
        my $data = $what eq 'report' ? {status => $self->pick(qw(active failed))} : {};
        my $path = $what eq 'report' ? 'status' : 'release';
        return $nginx->post_json_p("/_lines/admin/lines/$line->{id}/$path", $data, $self->admin)->then(sub ($answer) { $self->note($what => $answer) });
    }

    return $nginx->get_p('/api/line-requests?limit=20', \%auth)->then(sub ($answer) { $self->note(list => $answer) }) if $what eq 'list';

    return $nginx->get_p("/api/line-requests/$line->{id}", \%auth)->then(sub ($answer) { $self->note(read => $answer) });
}

1;
