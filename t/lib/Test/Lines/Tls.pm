package Test::Lines::Tls;
use Mojo::Base -base, -signatures;

use Carp qw(croak);

=head1 NAME

Test::Lines::Tls - authorities and certificates of a test's own

=head1 SYNOPSIS

    my $tls  = Test::Lines::Tls->new(t => $t)->ca('ca');
    my $good = $tls->certificate('ca', 'good', 'api.stripe.com');   # {cert => FILE, key => FILE}
    my $old  = $tls->certificate('ca', 'old', 'IP:127.0.0.1', 0);         # of an address, and it has ended

    my $upstream = $t->upstream(tls => $good, json => {});
    my $nginx = $t->nginx(server => '... proxy_ssl_trusted_certificate ' . $tls->file('ca.pem') . ';');

=cut

has 't';

sub file ($self, $name) { $self->t->dir . "/$name" }

sub _openssl ($self, @args) {
    my $log = $self->file('openssl.log');
    system("openssl @args >>'$log' 2>&1") == 0 or croak "openssl @args: see $log";
}

sub ca ($self, $name) {
    my ($key, $pem) = map { $self->file("$name.$_") } qw(key pem);
    $self->_openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=$name -keyout '$key' -out '$pem'");
    return $self;
}

sub certificate ($self, $ca, $name, $host, $days = 9) {
    return $self->_signed($ca, $name, $host, 'subjectAltName=' . ($host =~ /^IP:/ ? '' : 'DNS:') . $host, $days);
}

# one between, which signs as well
sub authority ($self, $ca, $name) {
    $self->_signed($ca, $name, $name, 'basicConstraints=critical,CA:TRUE', 2);
    return $self;
}

sub _signed ($self, $ca, $name, $subject, $extension, $days) {
    my ($key, $csr, $pem, $ca_pem, $ca_key) = map { $self->file($_) } "$name.key", "$name.csr", "$name.pem", "$ca.pem", "$ca.key";
    my $ext = $self->t->file("$name.ext", "$extension\n");

    $self->_openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$subject -keyout '$key' -out '$csr'");
    $self->_openssl("x509 -req -days $days -in '$csr' -CA '$ca_pem' -CAkey '$ca_key' -CAcreateserial -extfile '$ext' -out '$pem'");

    return {cert => $pem, key => $key};
}

# an authority, and what a server on loopback and its client show each other
sub mutual ($self, $name) {
    $self->ca("$name-ca");
    return {
        ca     => $self->file("$name-ca.pem"),
        server => $self->certificate("$name-ca", "$name-server", 'IP:127.0.0.1'),
        client => $self->certificate("$name-ca", "$name-client", 'lines')
    };
}

1;
