package Lines::Demo::Client;

use Mojo::Base -base, -signatures;

use Mojo::UserAgent;

# The operator's hand: makes the demo's tenants, numbers and customers.

# the operator's side may be on another address
has [qw(base token sandbox)];
has operator => sub { $_[0]->base };
has ua => sub {
    my $ua = Mojo::UserAgent->new(connect_timeout => 5, request_timeout => 30);
    $ua->proxy->not([]);
    return $ua;
};

sub call ($self, $method, $path, $data = undef) {
    my $tx = $self->ua->build_tx(
        $method => $self->operator . "/_lines/admin/$path",
        {Authorization => "Bearer $self->{token}"}, defined $data ? (json => $data) : ()
    );
    my $res = $self->ua->start($tx)->res;

    die "$method $path: " . ($res->code // 'no answer') . ' ' . $res->body . "\n" unless $res->is_success;

    return $res->json;
}

sub works ($self, $path, %headers) {
    return ($self->ua->get("$self->{base}$path", \%headers)->res->code // 0) == 200;
}

sub workspace ($self, $id, $plan, $key) {
    $self->customer("cus_$id");
    $self->call(PUT => "workspaces/$id", {plan => $plan, subscription => 'active', customer => "cus_$id"});

    return $key if defined $key && $self->works('/api/lines/by-user', Authorization => "Bearer $key");

    return $self->call(POST => "workspaces/$id/keys", {})->{key};
}

sub account ($self, $id, @pair) {
    $self->customer('cus_demo_account');
    $self->call(PUT => "accounts/$id", {plan => 'inbound_only', customer => 'cus_demo_account'});

    return @pair
      if defined $pair[1]
      && $self->works('/accounts/limits', 'sb-api-key-id' => $pair[0], 'sb-api-secret-key' => $pair[1]);

    my $made = $self->call(POST => "accounts/$id/keys", {});

    return @$made{qw(key_id secret)};
}

sub numbers ($self) {
    my @numbers = map {
        { phone_number => sprintf('+1628555%04d', $_), worker_id => sprintf 'worker-%02d', $_ % 5 }
    } 1 .. 50;

    $self->call(POST => 'numbers', {numbers => \@numbers});
}

sub customer ($self, $id) {
    my $res = $self->ua->post("$self->{sandbox}/_sandbox/customers", json => {id => $id, card => 'ok'})->res;
    die "customer $id: " . ($res->code // 'no answer') . ' ' . $res->body . "\n" unless $res->is_success;
}

1;
