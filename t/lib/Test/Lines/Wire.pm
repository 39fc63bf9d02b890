package Test::Lines::Wire;
use Mojo::Base 'Test::Lines::Process', -signatures;

use IO::Socket::UNIX;
use Mojo::IOLoop;
use Mojo::JSON qw(decode_json encode_json);
use Test::Lines ();
use Test::Lines::Port;
use Test::Lines::Script;
use Time::HiRes qw(time);

=head1 NAME

Test::Lines::Wire - between a node and Redis: what is asked stays there, or its answer is lost

=head1 SYNOPSIS

    my $wire  = $t->wire(redis => $redis);
    my $nginx = $t->nginx(redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');

    $wire->lose($wire->call(request_paid => 'w:one'));    # of the next one like that
    ...
    $wire->keep(qr/EVALSHA.*\{w:one\}/s);
    ...;  $wire->reached;  ...;  $wire->cut;
    $wire->hold(qr/EVALSHA.*\{w:one\}/s);
    ...;  $wire->reached;  ...;  $wire->pass;

=head1 DESCRIPTION

A proxy, in a process of its own. Patterns are for whole commands as they are
sent to Redis (a script by its digest). What a method arms is in force when the
method returns.

=head2 lose

Of the next command like that the answer is lost: it reaches Redis, nothing
comes back any more, and in 50 ms all connections are closed. New ones take
C<< back => 2 >> seconds.

=head2 keep, cut

The same, but the connections are there until C<cut>, or what is armed next,
closes all of them.

=head2 hold, pass

Commands like that stay here, with all that follows on their connections, until
C<pass> hands them on, or C<cut> drops them. With C<< skip => 1 >> the first one
goes its way.

=head2 reached

Waits until there is what was armed.

=head2 call

    my $pattern = $wire->call('op_wake');
    my $pattern = $wire->call(line_begin => 'w:one');

What is like the call of a script, of any tenant or of one.

=cut

has name => 'wire';
has port => sub { Test::Lines::Port::free_port() };
has [qw(t redis)];

# of a cluster, one for each node
has servers => sub ($self) { $self->redis->nodes };
has ports   => sub ($self) { [$self->port, map { Test::Lines::Port::free_port() } 2 .. @{$self->servers}] };

sub url ($self) {
    return 'redis://127.0.0.1:' . $self->port . '/0' if @{$self->servers} == 1;
    return 'redis+cluster://' . join ',', map {"127.0.0.1:$_"} @{$self->ports};
}

sub start ($self) {
    my $path = $self->dir . '/' . $self->name . '.sock';
    my $lib  = $self->t->root . '/t/lib';

    unlink $path;
    $self->command([$^X, "-I$lib", '-MTest::Lines::Wire', '-e', 'Test::Lines::Wire->serve(@ARGV)',
        $path, map { ($self->ports->[$_], $self->servers->[$_]->port) } 0 .. $#{$self->servers}]);
    $self->SUPER::start;

    $self->{control} = Test::Lines::wait_for(sub {
        die 'the wire does not start: ' . $self->output unless $self->alive;
        return IO::Socket::UNIX->new(Peer => $path);
    }, 30, 'the wire');

    return $self;
}

sub lose ($self, $like, %options) { $self->_tell(lose => like => "$like", %options) }
sub keep ($self, $like)           { $self->_tell(keep => like => "$like") }
sub hold ($self, $like, %options) { $self->_tell(hold => like => "$like", %options) }
sub cut  ($self)                  { $self->_tell('cut') }
sub pass ($self)                  { $self->_tell('pass') }

sub reached ($self, $what = 'what was armed') {
    Test::Lines::wait_for(sub { $self->_tell('reached') }, 30, "$what to be on its way");
    return $self;
}

sub call ($self, $script, $tenant = undef) {
    my $sha = Test::Lines::Script->new->sha($script);
    return defined $tenant ? qr/$sha.*\{\Q$tenant\E\}/s : qr/$sha/;
}

sub _tell ($self, $do, %options) {
    my $control = $self->{control};

    $control->print(encode_json({do => $do, %options}) . "\n") && $control->flush or die "the wire: $!";

    return decode_json(readline($control) // die 'the wire is gone: ' . $self->output)->[0];
}

# one whole command off the front
sub _command ($in) {
    $$in =~ /\A\*(\d+)\r\n/ or return;
    my ($n, $end) = ($1, $+[0]);

    for (1 .. $n) {
        pos($$in) = $end;
        $$in =~ /\G\$(\d+)\r\n/gc or return;
        $end = pos($$in) + $1 + 2;
        return if $end > length $$in;
    }

    return substr $$in, 0, $end, '';
}

sub serve ($class, $control, %redis) {
    my %port = reverse %redis;
    my $told = join '|', keys %port;
    my ($armed, $reached, $mute, $until) = (undef, 0, 0, 0);
    my (%client, %held, %pass);

    my $cut = sub {
        ($mute, %held) = (0);
        $_->close for values %client;
    };

    my %do = (
        cut     => $cut,
        reached => sub { $reached },
        pass    => sub {
            ($armed, %held) = ();
            $_->() for values %pass;
        },
    );

    Mojo::IOLoop->server({path => $control}, sub ($loop, $stream, $id) {
        my $in = '';

        $stream->timeout(0);
        $stream->on(read => sub ($s, $bytes) {
            $in .= $bytes;

            while ($in =~ s/\A(.*)\n//) {
                my $said = decode_json($1);
                my $code = $do{$said->{do}};

                if (!$code) {
                    $cut->() if $mute;
                    ($armed, $reached) = ({%$said, like => qr/$said->{like}/}, 0);
                }

                $s->write(encode_json([$code ? scalar $code->() : 1]) . "\n");
            }
        });
    });

    # a map and who is sent elsewhere are told of ports: of these here
    my $here = keys %port == 1 ? sub ($bytes) {$bytes} : sub ($bytes) { $bytes =~ s/:($told)\r\n/:$port{$1}\r\n/gr };

    my $serve = sub ($redis, $stream, $id) {
        my ($in, $out, $upstream) = ('', '');

        my $pass = $pass{$id} = sub {
            while (!$held{$id} && defined(my $command = _command(\$in))) {
                if ($armed && $command =~ $armed->{like} && --($armed->{skip} //= 0) < 0) {
                    $reached = 1;

                    if ($armed->{do} eq 'hold') {
                        $held{$id} = 1;
                        $in = $command . $in;
                        last;
                    }

                    $mute  = 1;
                    $until = time + ($armed->{back} // 0);
                    Mojo::IOLoop->timer(0.05 => $cut) if $armed->{do} eq 'lose';
                    undef $armed;
                }

                $out .= $command;
            }

            return unless $upstream && length $out;
            $upstream->write($out);
            $out = '';
        };

        my $connect = sub {
            Mojo::IOLoop->client({address => '127.0.0.1', port => $redis}, sub ($loop, $err, $s) {
                return $stream->close if $err;
                return $s->close unless $client{$id};
                $upstream = $s;
                $s->timeout(0);
                $s->on(read => sub ($s, $bytes) { $stream->write($here->($bytes)) unless $mute });
                $s->on(close => sub { $stream->close });
                $pass->();
            });
        };

        $client{$id} = $stream;
        $stream->timeout(0);
        $stream->on(read => sub ($s, $bytes) { $in .= $bytes; $pass->() });
        $stream->on(close => sub {
            delete $_->{$id} for \(%client, %held, %pass);
            $upstream->close if $upstream;
        });

        my $wait = $until - time;
        $wait > 0 ? Mojo::IOLoop->timer($wait => $connect) : $connect->();
    };

    for my $port (keys %redis) {
        Mojo::IOLoop->server({address => '127.0.0.1', port => $port}, sub ($loop, $stream, $id) { $serve->($redis{$port}, $stream, $id) });
    }

    Mojo::IOLoop->start;
}

1;
