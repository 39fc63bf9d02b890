package Test::Lines::Raw;
use Mojo::Base -base, -signatures;

use IO::Socket::INET;
use Mojo::File qw(path);
use Mojo::Util qw(url_unescape);
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::Lines::Util;
use Time::HiRes ();

=head1 NAME

Test::Lines::Raw - an upstream that misbehaves below HTTP

=head1 SYNOPSIS

    my $raw = $t->raw;

    # POST http://127.0.0.1:$port/anything/truncated

    my @requests = $raw->requests;      # {line, headers, body, connection}

=head1 DESCRIPTION

Each connection is served by a process of its own. What a request gets is said
by the last segment of its path that is known:

    ok          200 and an invoice              slowMS      the same, later
    reset       a reset before any byte         drop        a close
    hang        nothing                         stall       half a body, then nothing
    truncated   half a body, then a close       chunked     an answer in chunks
    cut         half of the chunks              endless     a body that the close ends
    bigN        a body of N bytes               chunkedbigN the same in chunks
    redirect    X-Accel-Redirect: /secret       unbuffered  X-Accel-Buffering: no
    statusN     an error of Stripe's with that status, Retry-After: 7
    missingN    the same, of what is not there
    againN      409 until the Nth request of this path on any connection
    empty       200 without a body

=cut

has [qw(t name dir port pid)];

sub url ($self) { 'http://127.0.0.1:' . $self->port }

sub _file ($self) { path($self->dir, $self->name . '.requests') }

sub requests ($self) {
    return () unless -e $self->_file;
    return map {
        my ($connection, $head, $body) = map { url_unescape $_ } split /\t/, $_, 3;
        my ($line, @headers) = split /\r\n/, $head;
        {
            connection => $connection,
            line       => $line,
            headers    => {map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } @headers},
            body       => $body
        };
    } split /\n/, $self->_file->slurp;
}

sub count ($self, $pattern = qr//) { scalar grep { $_->{line} =~ $pattern } $self->requests }

sub clear ($self) {
    Test::Lines::Util::write_file($self->_file, '');
    return $self;
}

sub start ($self) {
    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->port // 0, Listen => 1024, ReuseAddr => 1
    ) or die "listen: $!";

    $self->port($listen->sockport);
    $self->clear;

    my $parent = $$;
    my $pid    = fork // die "fork: $!";

    if (!$pid) {
        setpgrp;
        $SIG{CHLD} = 'IGNORE';
        $SIG{TERM} = sub { $SIG{TERM} = 'IGNORE'; kill TERM => -$$; POSIX::_exit(0) };
        $SIG{ALRM} = sub { getppid == $parent ? alarm 2 : (kill KILL => -$$) };
        alarm 2;

        for (my $n = 1;;) {
            my $socket = $listen->accept or next;
            my $child  = fork // next;

            if (!$child) {
                $SIG{TERM} = $SIG{ALRM} = 'DEFAULT';
                close $listen;
                eval { $self->_serve($socket, $n) };
                POSIX::_exit(0);
            }

            close $socket;
            $n++;
        }
    }

    close $listen;
    return $self->pid($pid);
}

sub stop ($self) {
    my $pid = $self->pid or return $self;
    kill TERM => $pid;
    waitpid $pid, 0;
    return $self->pid(undef);
}

sub kill ($self) {
    my $pid = $self->pid or return $self;
    CORE::kill KILL => -$pid, $pid;
    waitpid $pid, 0;
    return $self->pid(undef);
}

my $OK = '{"id":"in_1","object":"invoice","status":"open","amount_paid":0,"livemode":false}';

sub _serve ($self, $socket, $n) {
    my $write = sub ($bytes) {
        while (length $bytes) {
            my $done = syswrite $socket, $bytes;
            defined $done or die "write: $!";
            substr $bytes, 0, $done, '';
        }
    };

    my $answer = sub ($body, $head = '') {
        $write->("HTTP/1.1 200 OK\r\n${head}Content-Length: " . length($body) . "\r\n\r\n$body");
    };

    while (1) {
        my $bytes = '';
        while ($bytes !~ /\r\n\r\n/) { sysread $socket, $bytes, 65536, length $bytes or return }

        my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
        my $length = $head =~ /^content-length: (\d+)/im ? $1 : 0;
        while (length $body < $length) { sysread $socket, $body, 65536, length $body or return }

        my $quote = sub ($text) { $text =~ s/([%\t\n])/sprintf '%%%02X', ord $1/ger };
        open my $log, '>>', $self->_file or die;
        syswrite $log, join("\t", $n, $quote->($head), $quote->($body)) . "\n";
        close $log;

        my ($path) = $head =~ /^\S+ ([^\s?]+)/;
        my ($how) = grep {/^(?:ok|slow|reset|drop|hang|stall|trunc|chunked|cut|endless|big|redirect|unbuf|status|missing|again|empty)/}
          reverse split /\//, $path;
        $how //= 'ok';
        # the one that was asked for
        my ($id) = $path =~ m{/invoices/([^/]+)};
        my $ok = defined $id ? $OK =~ s/in_1/$id/r : $OK;
        my ($arg) = $how =~ /(\d+)/;

        if    ($how =~ /^slow/)     { Time::HiRes::sleep($arg / 1000); $answer->($ok) }
        elsif ($how eq 'reset')     { setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0; return }
        elsif ($how eq 'drop')      {return}
        elsif ($how eq 'hang')      { sleep 600; return }
        elsif ($how eq 'stall')     { $write->("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"id\":"); sleep 600; return }
        elsif ($how eq 'truncated') { $write->("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"id\":"); return }
        elsif ($how eq 'cut')       { $write->("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n"); return }
        elsif ($how eq 'endless')   { $write->("HTTP/1.1 200 OK\r\n\r\n$ok"); return }
        elsif ($how =~ /^big/)      { $answer->('x' x $arg) }
        elsif ($how =~ /^chunked/)  {
            my $text = $arg ? 'x' x $arg : $ok;
            $write->(sprintf "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", length $text, $text);
        }
        elsif ($how eq 'redirect')   { $answer->($ok, "X-Accel-Redirect: /secret\r\n") }
        elsif ($how eq 'unbuffered') { $answer->($ok, "X-Accel-Buffering: no\r\n") }
        elsif ($how eq 'empty')      { $answer->('') }
        elsif ($how =~ /^status/)    { $write->(_error($arg)) }
        elsif ($how =~ /^missing/)   { $write->(_error($arg, '', 'resource_missing')) }
        elsif ($how =~ /^again/)     {
            my $seen = $self->count(qr/\Q$path\E[? ]/);
            $seen < $arg ? $write->(_error(409, '')) : $answer->($ok);
        }
        else { $answer->($ok) }
    }
}

sub _error ($status, $headers = "Retry-After: 7\r\n", $code = "code_$status") {
    my %type = (402 => 'card_error', 400 => 'invalid_request_error', 404 => 'invalid_request_error');
    my $body = $status == 204 ? '' : sprintf '{"error":{"type":"%s","code":"%s"}}', $type{$status} // 'api_error', $code;
    my $length = $status == 204 ? '' : 'Content-Length: ' . length($body) . "\r\n";
    return "HTTP/1.1 $status X\r\n${headers}${length}Request-Id: req_$status\r\n\r\n$body";
}

1;
