package Test::Lines::Upstream;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use Fcntl qw(:flock);
use IO::Handle;
use Mojo::File qw(path);
use Mojo::IOLoop;
use Mojo::JSON qw(decode_json encode_json);
use Mojo::Server::Daemon;
use Mojolicious;
use POSIX ();
use Test::Lines::Client;
use Test::Lines::Port;
use Test::Lines::Util qw(write_file);

=head1 NAME

Test::Lines::Upstream - an HTTP server of a test's own, in a process of its own

=head1 SYNOPSIS

    my $upstream = $t->upstream(status => 200, json => {status => 'up'});

    $upstream->url;                                # http://127.0.0.1:PORT
    $upstream->set(status => 500, delay => 2);     # from now on
    $upstream->requests;                           # list of all it got
    $upstream->requests->[0]{headers}{Host};
    $upstream->clear;                              # forgets them

    my $upstream = $t->upstream(handler => sub ($c, $state) {
        $c->render(json => {path => $c->req->url->path});
    }, count => 1);

=head1 DESCRIPTION

Answers as its state says: C<status>, C<json> or C<body>, C<headers>, C<delay>
(seconds), C<hold> (until it is not set any more), C<drop> (closes the
connection without an answer), C<times> (the
state holds for so many requests only, then C<200 {}>). A C<handler> gets
the controller and the state instead, and runs in the server's process. With
C<tls>, C<< {cert => $file, key => $file} >>, it speaks TLS.

A request is a hash of method, path, query, headers (by name, in lower case),
body, json, at (milliseconds).

=cut

has [qw(t name dir pid port handler tls)];
has read => 0;
has got  => sub { [] };

sub url ($self) { ($self->tls ? 'https' : 'http') . '://127.0.0.1:' . $self->port }

sub _file ($self, $what) { path($self->dir, $self->name . ".$what") }

sub set ($self, %state) {
    return $self->reset(%{$self->_state}, %state);
}

# replaces the state where set() changes it; the server may read at any moment
sub reset ($self, %state) {
    my $new = $self->_file('state.new');
    write_file($new, encode_json(\%state));
    $new->move_to($self->_file('state'));
    return $self;
}

sub _state ($self) {
    my $file = $self->_file('state');
    return -e $file ? decode_json($file->slurp) : {};
}

# Each is read once, however often they are asked for. The server may be writing
# the last line.
sub requests ($self) {
    open my $file, '<:raw', $self->_file('requests') or return [];
    seek $file, $self->read, 0;

    while (my $line = <$file>) {
        last unless $line =~ /\n\z/;
        push @{$self->got}, decode_json($line);
        $self->read($self->read + length $line);
    }

    return [@{$self->got}];
}

sub clear ($self) {
    write_file($self->_file('requests'), '');
    return $self->got([])->read(0);
}

sub start ($self) {
    $self->port($self->port // Test::Lines::Port::free_port());

    pipe my $said, my $says or die "pipe: $!";

    my $parent = $$;
    my $pid    = fork // die "fork: $!";

    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM ALRM);
        close $said;
        eval { $self->_serve($parent, $says) };
        if ($@) { $says->opened ? syswrite $says, $@ : print STDERR $@ }
        POSIX::_exit(0);
    }

    close $says;
    $said->blocking(0);
    $self->pid($pid);

    # whoever else has the port would answer a connection, too
    my $words = '';
    $self->t->wait_for(sub { defined sysread $said, $words, 4096 }, 30, "upstream $self->{name}");

    if ($words ne "listening\n") {
        $self->stop;
        croak "upstream $self->{name} does not start: $words";
    }

    return $self;
}

sub _serve ($self, $parent, $says) {
    chdir $self->dir;
    Mojo::IOLoop->reset;
    srand;

    my $app = Mojolicious->new;
    $app->log->level('error');
    $app->max_request_size(0);
    $app->routes->any('/*whatever' => {whatever => ''} => sub ($c) { $self->_answer($c) });

    my $listen = $self->url;
    $listen .= "?cert=$self->{tls}{cert}&key=$self->{tls}{key}" if $self->tls;

    # a context for each connection is most of what a handshake costs here
    if (my $tls = $self->tls) {
        require IO::Socket::SSL;
        my $context = IO::Socket::SSL::SSL_Context->new(SSL_server => 1, SSL_verify_mode => 0, SSL_cert_file => $tls->{cert}, SSL_key_file => $tls->{key});
        IO::Socket::SSL::set_server_defaults(SSL_reuse_ctx => $context);
    }

    my $daemon = Mojo::Server::Daemon->new(app => $app, listen => [$listen], silent => 1);
    $daemon->inactivity_timeout(300)->max_clients(10_000)->backlog(1024);

    Mojo::IOLoop->recurring(0.5 => sub { POSIX::_exit(0) if getppid != $parent });

    $daemon->start;
    syswrite $says, "listening\n";
    close $says;

    $daemon->ioloop->start;
}

sub _answer ($self, $c) {
    my $req = $c->req;

    open my $log, '>>', $self->_file('requests') or die $!;
    $log->syswrite(encode_json({
        method  => $req->method,
        path    => $req->url->path->to_string,
        query   => $req->url->query->to_string,
        headers => {map { lc $_ => $req->headers->header($_) } @{$req->headers->names}},
        body    => $req->body,
        json    => $req->json,
        at      => int(Time::HiRes::time() * 1000)
    }) . "\n");
    close $log;

    my $state = $self->_state;

    if (defined $state->{times}) {
        if ($state->{times} > 0) { $self->set(times => $state->{times} - 1) }
        else                     { $state = {} }
    }

    return $self->handler->($c, $state) if $self->handler;

    return $self->_say($c, $state) unless $state->{delay} || $state->{hold};

    $c->render_later;
    my $tx = $c->tx;

    return $self->_held($c, $tx) if $state->{hold};

    Mojo::IOLoop->timer($state->{delay} => sub { $self->_say($c, $state); undef $tx });
}

sub _held ($self, $c, $tx) {
    my $state = $self->_state;
    return $self->_say($c, $state) unless $state->{hold};
    Mojo::IOLoop->timer(0.02 => sub { $self->_held($c, $tx) });
}

sub _say ($self, $c, $state) {
    if ($state->{drop}) {
        $c->render_later;
        my $stream = Mojo::IOLoop->stream($c->tx->connection);
        return $stream ? $stream->close : undef;
    }

    $c->res->headers->header($_ => $state->{headers}{$_}) for keys %{$state->{headers} // {}};

    my $status = $state->{status} // 200;

    return $c->render(data => $state->{body}, status => $status) if defined $state->{body};
    return $c->render(json => $state->{json} // {}, status => $status);
}

sub alive ($self) { $self->pid && !defined $self->{ended} && waitpid($self->pid, POSIX::WNOHANG()) == 0 }

sub stop ($self) {
    return $self if !$self->pid || $self->{ended};

    kill 'KILL', $self->pid;
    waitpid $self->pid, 0;
    $self->{ended} = 1;

    return $self;
}

sub restart ($self) {
    $self->stop;
    delete $self->{ended};
    return $self->start;
}

1;
