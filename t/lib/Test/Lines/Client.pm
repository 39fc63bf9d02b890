package Test::Lines::Client;
use Mojo::Base -base, -signatures;

use IO::Select;
use IO::Socket::INET;
use Mojo::JSON qw(encode_json);
use Mojo::UserAgent;
use Mojo::UserAgent::CookieJar;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::Lines::Answer;
use Time::HiRes ();

=head1 NAME

Test::Lines::Client - an HTTP client for tests

=head1 SYNOPSIS

    my $answer = $client->get('/path', {Header => 'value'});
    my $answer = $client->post_json('/path', {a => 1}, {Header => 'value'});
    my $answer = $client->put_json('/path', {a => 1}, {Header => 'value'});
    my $answer = $client->delete('/path', {Header => 'value'});
    my $answer = $client->request(PATCH => '/path', {Header => 'value'}, $bytes);

    my $promise = $client->get_p(...);    # and so on; resolves to the answer

    my $bytes  = $client->raw("GET / HTTP/1.0\r\n\r\n");
    my $socket = $client->socket;
    Test::Lines::Client->reset_connection($socket);

=head1 DESCRIPTION

An answer is a L<Test::Lines::Answer>; a transport that failed is an answer
with status 0, never an exception. A path may be a whole URL. Connections are
not kept alive, unless C<keepalive> is set to a number of them. A header whose
value is undef is left out, Host included; an array sends it repeatedly. Cookies
are sent where a test says so, and only there.

=cut

has [qw(host port)];
has keepalive => 0;
has timeout   => sub { 60 * ($ENV{LINES_SLOW} || 1) };

has ua => sub ($self) {
    my $ua = Mojo::UserAgent->new;

    $ua->max_connections($self->keepalive)->max_redirects(0);
    $ua->connect_timeout($self->timeout)->request_timeout($self->timeout)
      ->inactivity_timeout($self->timeout);
    $ua->max_response_size(0);
    $ua->transactor->compressed(0);
    $ua->cookie_jar(Mojo::UserAgent::CookieJar->new(ignore => sub { 1 }));
    $ua->proxy->not([]);

    return $ua;
};

sub url ($self, $path = '') {
    return $path =~ m{^https?://} ? $path : 'http://' . $self->host . ':' . $self->port . $path;
}

sub _tx ($self, $method, $path, $headers, $body) {
    my $tx = $self->ua->build_tx($method, $self->url($path), {%{$headers // {}}}, $body // ());

    if (defined $body && !length $body) { $tx->req->headers->content_length(0) }

    return $tx;
}

sub request ($self, $method, $path, $headers = {}, $body = undef) {
    my $start = Time::HiRes::time();
    my $tx    = $self->ua->start($self->_tx($method, $path, $headers, $body));

    return Test::Lines::Answer->from_tx($tx, Time::HiRes::time() - $start);
}

sub request_p ($self, $method, $path, $headers = {}, $body = undef) {
    my $start   = Time::HiRes::time();
    my $tx      = $self->_tx($method, $path, $headers, $body);
    my $promise = Mojo::Promise->new;

    # not start_p, which rejects where the transport fails and forgets what came
    $self->ua->start($tx => sub ($ua, $tx) {
        $promise->resolve(Test::Lines::Answer->from_tx($tx, Time::HiRes::time() - $start));
    });

    return $promise;
}

sub _json ($headers) { return {'Content-Type' => 'application/json', %{$headers // {}}} }

sub get    ($self, $path, $headers = {}) { $self->request(GET    => $path, $headers) }
sub head   ($self, $path, $headers = {}) { $self->request(HEAD   => $path, $headers) }
sub delete ($self, $path, $headers = {}) { $self->request(DELETE => $path, $headers) }

sub post ($self, $path, $body = '', $headers = {}) {
    return $self->request(POST => $path, $headers, $body);
}

sub post_json ($self, $path, $data, $headers = {}) {
    return $self->request(POST => $path, _json($headers), encode_json($data));
}

sub put_json ($self, $path, $data, $headers = {}) {
    return $self->request(PUT => $path, _json($headers), encode_json($data));
}

sub get_p    ($self, $path, $headers = {}) { $self->request_p(GET    => $path, $headers) }
sub delete_p ($self, $path, $headers = {}) { $self->request_p(DELETE => $path, $headers) }

sub post_json_p ($self, $path, $data, $headers = {}) {
    return $self->request_p(POST => $path, _json($headers), encode_json($data));
}

sub put_json_p ($self, $path, $data, $headers = {}) {
    return $self->request_p(PUT => $path, _json($headers), encode_json($data));
}

=head2 socket

    my $socket = $client->socket;

A connected L<IO::Socket::INET>; dies where there is none to be had.

=head2 reset_connection

Closes a socket with a reset instead of a proper end.

=head2 raw

    my $bytes = $client->raw($request, timeout => 10, shutdown => 1);

Sends bytes as they are and returns all that comes back until the server
closes or nothing has come for C<timeout> seconds (default 5). With
C<shutdown>, closes the sending side first.

=cut

sub socket ($self) {
    return IO::Socket::INET->new(
        PeerAddr => $self->host,
        PeerPort => $self->port,
        Proto    => 'tcp',
        Timeout  => $self->timeout
    ) || die "connect to $self->{host}:$self->{port}: $@\n";
}

sub reset_connection ($class, $socket) {
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    return close $socket;
}

sub raw ($self, $bytes, %options) {
    my $socket = $self->socket;
    my $select = IO::Select->new($socket);
    my $in     = '';

    local $SIG{PIPE} = 'IGNORE';

    my $sent = 0;
    while ($sent < length $bytes) {
        my $n = syswrite $socket, $bytes, length($bytes) - $sent, $sent;
        last unless defined $n;
        $sent += $n;
    }

    shutdown $socket, 1 if $options{shutdown};

    while ($select->can_read($options{timeout} // 5)) {
        my $n = sysread $socket, $in, 65536, length $in;
        last unless $n;
    }

    close $socket;

    return $in;
}

1;
