package Test::Lines::Redis::Tls;
use Mojo::Base 'Test::Lines::Redis', -signatures;

use Test::Lines::Port;
use Test::Lines::Tls;

=head1 NAME

Test::Lines::Redis::Tls - a Redis that nginx speaks TLS with

=head1 DESCRIPTION

What C<< $t->redis >> gives where LINES_TEST_REDIS is C<tls>: both ends show a
certificate, and nginx comes as a user of its own (unless C<conf> has users or
a password). The test itself comes by the Unix socket, and whatever stands
between by C<port>, which is plain.

=cut

has 't';
has tls_port => sub { Test::Lines::Port::free_port() };

has files => sub ($self) { Test::Lines::Tls->new(t => $self->t)->mutual($self->name) };

has own_user => sub ($self) { $self->conf !~ /^(?:user|requirepass) /m };

sub url ($self) { 'rediss://' . ($self->own_user ? 'lines@' : '') . '127.0.0.1:' . $self->tls_port . '/0' }

sub options ($self) {
    my $files    = $self->files;
    my $password = $self->own_user && ' password_file=' . $self->t->file($self->name . '-password', 'of the harness');

    return "cacert=$files->{ca} cert=$files->{client}{cert} key=$files->{client}{key}$password";
}

sub own_conf ($self) {
    my $files = $self->files;
    my $user  = $self->own_user ? qq{user lines on ">of the harness" ~* &* +\@all\n} : '';

    return $user . <<"END";
tls-port @{[$self->tls_port]}
tls-cert-file $files->{server}{cert}
tls-key-file $files->{server}{key}
tls-ca-cert-file $files->{ca}
END
}

1;
