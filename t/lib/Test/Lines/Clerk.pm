package Test::Lines::Clerk;
use Mojo::Base -base, -signatures;

use Crypt::PK::RSA;
use Mojo::JSON qw(decode_json encode_json);
use Mojo::Util qw(b64_encode);

=head1 NAME

Test::Lines::Clerk - plays a Clerk instance: keys, their JWKS, session tokens

=head1 SYNOPSIS

    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis  => $redis,
        server => $clerk->location . $clerk->directive(authorized_party => 'https://app.example.com')
    );

    $nginx->get('/api/lines/by-user', $nginx->bearer($clerk->token(org => 'org_1')));

    $clerk->publish('second');                # a rotation: the JWKS has this key alone
    $clerk->token(org => 'org_1', kid => 'second');
    $clerk->token(claims => {exp => 1}, header => {alg => 'none'});
    $clerk->fetches;                          # of the JWKS, so far

=head1 DESCRIPTION

Keys are named by their kid and made when they are first needed. The JWKS is
served by a L<Test::Lines::Upstream>, C<upstream>, whose state may be set
otherwise: C<< $clerk->upstream->set(status => 500) >>.

=cut

has 't';
has issuer => 'https://clerk.example.com';
has party  => 'https://app.example.com';
has uri    => '/_lines/jwks';
has kid    => 'first';
has keys   => sub { {} };

has upstream => sub ($self) {
    $self->t->upstream(json => $self->jwks($self->kid), ($self->{tls} ? (tls => $self->{tls}) : ()));
};

sub key ($self, $kid = $self->kid, $bits = 2048) {
    return $self->keys->{$kid} //= do { my $pk = Crypt::PK::RSA->new; $pk->generate_key($bits / 8, 65537); $pk };
}

sub jwk ($self, $kid) {
    return {%{decode_json($self->key($kid)->export_key_jwk('public'))}, use => 'sig', alg => 'RS256', kid => $kid};
}

sub jwks ($self, @kids) { return {keys => [map { $self->jwk($_) } @kids]} }

sub publish ($self, @kids) {
    $self->upstream->set(json => $self->jwks(@kids));
    return $self;
}

sub pem ($self, $kid = $self->kid) { $self->key($kid)->export_key_pem('public_x509') }

sub fetches ($self) { scalar @{$self->upstream->requests} }

sub _base64url ($bytes) { b64_encode($bytes, '') =~ tr{+/=}{-_}dr }

# options: org, kid, key (that signs, by its name), claims and header (undef takes one away)
sub token ($self, %options) {
    my $now = time;
    my $kid = $options{kid} // $self->kid;

    my %header = (alg => 'RS256', cat => 'cl_B7d4PD111AAA', kid => $kid, typ => 'JWT', %{$options{header} // {}});
    my %claims = (
        azp => $self->party, exp => $now + 300, iat => $now - 5, nbf => $now - 5, iss => $self->issuer,
        jti => sprintf('%016x', rand 2**48), sid => 'sess_1', sub => 'user_1', sts => 'active', v => 2,
        (defined $options{org} ? (o => {id => $options{org}, slg => 'one', rol => 'admin'}) : ()),
        %{$options{claims} // {}}
    );

    delete @header{grep { !defined $header{$_} } keys %header};
    delete @claims{grep { !defined $claims{$_} } keys %claims};

    my $text = join '.', map { _base64url(encode_json($_)) } \%header, \%claims;

    return "$text." . _base64url($self->key($options{key} // $kid)->sign_message($text, 'SHA256', 'v1.5'));
}

# the first of several is named by its own uri
sub location ($self, %options) {
    my $url  = $options{url} // $self->upstream->url . '/.well-known/jwks.json';
    my $more = $options{more} // '';

    return <<"END";
location = @{[$self->uri]} {
    internal;
    proxy_pass $url;
    proxy_pass_request_headers off;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    subrequest_output_buffer_size 256k;
    $more
}
END
}

# options: parameters; a list repeats one, undef leaves one out; without TLS the
# keys may come over loopback all the same, and all of a test's bad tokens come
# from one address
sub directive ($self, %options) {
    %options = (failed => 'unlimited', issuer => $self->issuer, (exists $options{key_file} ? () : (jwks => $self->uri, plain => $self->{tls} ? undef : 'loopback')), %options);

    my @arguments = map {
        my $name = $_;
        map {"$name=$_"} grep {defined} ref $options{$name} ? @{$options{$name}} : $options{$name}
    } sort keys %options;

    return "lines_clerk @arguments;\n";
}

1;
