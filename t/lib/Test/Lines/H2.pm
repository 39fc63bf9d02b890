package Test::Lines::H2;
use Mojo::Base -base, -signatures;

use IO::Select;
use IO::Socket::INET;
use Test::Lines::Answer;
use Test::Lines::Client;
use Time::HiRes qw(time);

=head1 NAME

Test::Lines::H2 - HTTP/2 by hand, with a window as small as a test likes

=head1 SYNOPSIS

    my $h2     = Test::Lines::H2->new(port => $nginx->h2_port, window => 1);
    my $stream = $h2->request(GET => '/path', {authorization => "Bearer $key"});
    my $answer = $h2->answer($stream, 10);    # a Test::Lines::Answer; status 0: none in time

    $h2->wait($stream, 10, 'headers');        # true once the answer began
    $h2->reset($stream, 8);                   # leave the stream, or
    $h2->leave;                               # the connection, by a reset

=head1 DESCRIPTION

One connection. C<window> is SETTINGS_INITIAL_WINDOW_SIZE; with 65,535 nothing
is said, as clients do that leave it alone. C<credit> says how a stream's window
grows: "given" gives back what came, byte by byte, so that it stays as large as
it is; a number opens it by as much once so many bytes have come that nobody
would wait for the rest; "none" never opens it. The connection's own window is
always given back.

Names of headers are in lower case; C<host> is sent as the authority.
Of the answer's headers, the status alone is decoded; of a request's body, what
the server's first window takes is sent.

=cut

has [qw(socket port)];
has host   => '127.0.0.1';
has window => 65535;
has credit => 'given';

my %STATUS = (0x88 => 200, 0x89 => 204, 0x8a => 206, 0x8b => 304, 0x8c => 400, 0x8d => 404, 0x8e => 500);
my ($DATA, $HEADERS, $RESET, $SETTINGS, $PING, $GOAWAY, $UPDATE) = (0, 1, 3, 4, 6, 7, 8);

sub new {
    my $self = shift->SUPER::new(@_);

    $self->{in}      = '';
    $self->{next}    = 1;
    $self->{streams} = {};
    $self->socket(
        IO::Socket::INET->new(PeerAddr => $self->host, PeerPort => $self->port, Timeout => 30)
          || die "connect to $self->{host}:$self->{port}: $@\n"
    );

    my $settings = $self->window == 65535 ? '' : pack 'nN', 4, $self->window;
    $self->_write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . _frame($SETTINGS, 0, 0, $settings));

    return $self;
}

sub _frame ($type, $flags, $stream, $payload) {
    return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
}

sub _write ($self, $bytes) {
    local $SIG{PIPE} = 'IGNORE';

    while (length $bytes) {
        my $n = syswrite $self->socket, $bytes;
        return $self->{gone} = 1 unless defined $n;
        substr $bytes, 0, $n, '';
    }

    return 0;
}

# a literal without indexing; lengths of 127 and more in several bytes
sub _string ($value) {
    my $length = length $value;
    return pack('C', $length) . $value if $length < 127;

    my $text = pack 'C', 127;
    for ($length -= 127; $length >= 128; $length >>= 7) { $text .= pack 'C', $length & 127 | 128 }
    return $text . pack('C', $length) . $value;
}

sub request ($self, $method, $path, $headers = {}, $body = undef) {
    my $id = $self->{next};
    $self->{next} += 2;
    $self->{streams}{$id} = {status => 0, body => ''};

    my $block = "\x02" . _string($method) . "\x86\x04" . _string($path) . "\x01" . _string($headers->{host} // 'x');
    $block .= "\0" . _string(lc $_) . _string($headers->{$_}) for grep { $_ ne 'host' } sort keys %$headers;
    $block .= "\0" . _string('content-length') . _string(length $body) if defined $body;

    my $bytes = _frame($HEADERS, defined $body ? 4 : 5, $id, $block);

    if (defined $body) {
        my $whole = length $body <= 65535;

        for (my $rest = substr $body, 0, 65535; length $rest || $whole;) {
            my $part = substr $rest, 0, 16384, '';
            my $last = $whole && !length $rest;
            $bytes .= _frame($DATA, $last ? 1 : 0, $id, $part);
            last if $last;
        }
    }

    $self->_write($bytes);

    return $id;
}

=head2 open_window

    $h2->open_window($stream, 100);

=cut

sub open_window ($self, $id, $size) {
    $self->_write(_frame($UPDATE, 0, $id, pack 'N', $size));
    return $self;
}

sub _take ($self, $type, $flags, $id, $payload) {
    my $stream = $self->{streams}{$id};

    if ($type == $DATA) {
        my $n = length $payload or return $stream->{ended} ||= $flags & 1;
        $stream->{body} .= $payload;
        $stream->{ended} = 1 if $flags & 1;

        my $give = '';
        $give = _frame($UPDATE, 0, 0, pack 'N', $n);
        $give .= _frame($UPDATE, 0, $id, pack 'N', $n) if $self->credit eq 'given' && !$stream->{ended};

        if ($self->credit =~ /^\d+$/ && !$stream->{ended}) {
            my $wide = length $stream->{body} > 100;
            $give .= _frame($UPDATE, 0, $id, pack 'N', $wide ? $stream->{wide}++ ? $n : $self->credit : $n);
        }

        $self->_write($give);
    }
    elsif ($type == $HEADERS && !$stream->{began}) {
        $payload =~ s/^[\x20-\x3f]//;
        my $first = ord $payload;
        $stream->{began}  = 1;
        $stream->{status} = $STATUS{$first} // ($payload =~ /^[\x08\x48]\x03(\d{3})/ ? $1 : -1);
        $stream->{ended}  = 1 if $flags & 1;
    }
    elsif ($type == $RESET && !$stream->{ended}) { $stream->{ended} = 1; $stream->{reset} = unpack 'N', $payload }
    elsif ($type == $SETTINGS && !($flags & 1)) { $self->_write(_frame($SETTINGS, 1, 0, '')) }
    elsif ($type == $PING && !($flags & 1))     { $self->_write(_frame($PING, 1, 0, $payload)) }
}

# reads what is there, or waits for it so long; false once the server has closed
sub _read ($self, $seconds) {
    return 1 unless IO::Select->new($self->socket)->can_read($seconds);

    my $n = sysread $self->socket, $self->{in}, 262144, length $self->{in};

    if (!$n) {
        $self->{gone} = 1;
        return 0;
    }

    while (length $self->{in} >= 9) {
        my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $self->{in};
        my $length = $high << 16 | $low;
        last if length $self->{in} < 9 + $length;

        my $payload = substr $self->{in}, 9, $length;
        substr $self->{in}, 0, 9 + $length, '';
        $self->_take($type, $flags, $id & 0x7fffffff, $payload);
    }

    return 1;
}

=head2 wait, gone

    $h2->wait($stream, $seconds, 'headers');    # or 'ended', or so many bytes of the body

C<gone>: the server has closed the connection.

=cut

sub gone ($self) { !!$self->{gone} }

sub wait ($self, $id, $seconds, $what = 'ended') {
    my $stream = $self->{streams}{$id};
    my $end    = time + $seconds * ($ENV{LINES_SLOW} || 1);

    while (1) {
        return 1 if $stream->{ended} || $what eq 'headers' && $stream->{began} || $what =~ /^\d+$/ && length $stream->{body} >= $what;

        my $left = $end - time;
        return 0 if $left <= 0 || $self->{gone};
        $self->_read($left);
    }
}

sub answer ($self, $id, $seconds = 30) {
    my $ended  = $self->wait($id, $seconds);
    my $stream = $self->{streams}{$id};
    my $whole  = $ended && !$stream->{reset};

    return Test::Lines::Answer->new(
        status => $whole ? $stream->{status} : 0,
        body   => $stream->{body},
        error  => $whole ? undef : $ended ? "reset with $stream->{reset}" : "not whole in time: " . length($stream->{body}) . " bytes"
    );
}

sub ended    ($self, $id) { $self->{streams}{$id}{ended} }
sub received ($self, $id) { length $self->{streams}{$id}{body} }

sub reset ($self, $id, $code = 8) {
    $self->_write(_frame($RESET, 0, $id, pack 'N', $code));
    return $self;
}

sub leave ($self) {
    Test::Lines::Client->reset_connection($self->socket);
    return $self;
}

1;
