package Test::Lines::Way;
use Mojo::Base 'Test::Lines::Process', -signatures;

use Fcntl qw(F_SETFL O_NONBLOCK);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Mojo::JSON qw(decode_json encode_json);
use Socket qw(inet_ntoa sockaddr_in SOL_SOCKET SO_LINGER);
use Test::Lines ();
use Test::Lines::Port;
use Time::HiRes qw(time);

=head1 NAME

Test::Lines::Way - the ways to servers: what is said on them is late, goes nowhere, or is cut off

=head1 SYNOPSIS

    my $way  = $t->way(to => [$redis->port, $other->port]);
    my $port = $way->ports->[0];               # instead of $redis->port

    $way->rules({to => [0], do => 'drop'});
    $way->rules({from => ['127.0.0.2'], do => 'delay', ms => 50, answers => 1});
    $way->rules;

=head1 DESCRIPTION

A proxy, in a process of its own, that knows nothing of what is said (TLS, too).
What C<rules> says holds for all connections, those that are there included,
when it returns. A rule is for the ways C<to> some servers (by their place;
default: all), and for who comes C<from> some addresses (default: all); of
several that fit the first one counts.

=over

=item drop

Nothing arrives, and nobody is told: as of a network that is parted. What was
sent meanwhile arrives when the rule has gone.

=item cut

Connections are reset, and so are new ones.

=item delay

All is late by C<ms>, or with C<< answers => 1 >> what the server says is.

=back

=cut

has name  => 'way';
has to    => sub { [] };
has ports => sub ($self) { [map { Test::Lines::Port::free_port() } @{$self->to}] };

sub start ($self) {
    my $path = $self->dir . '/' . $self->name . '.sock';

    unlink $path;
    $self->command([$^X, (map {"-I$_"} @INC), '-MTest::Lines::Way', '-e', 'Test::Lines::Way->serve(@ARGV)',
        $path, map { "$self->{ports}[$_]:$self->{to}[$_]" } 0 .. $#{$self->ports}]);
    $self->SUPER::start;

    $self->{control} = Test::Lines::wait_for(sub {
        die 'the way does not start: ' . $self->output unless $self->alive;
        return IO::Socket::UNIX->new(Peer => $path);
    }, 30, 'the way');

    return $self;
}

sub rules ($self, @rules) {
    my $control = $self->{control};

    $control->print(encode_json(\@rules) . "\n") && $control->flush && defined readline $control or die 'the way is gone: ' . $self->output;

    return $self;
}

# An end: fd, peer (fd of the other end), out (what is to be written: [due, bytes]), way, from, server
sub serve ($class, $path, @ways) {
    my (%listen, %end, @rules);
    my $control = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!";
    my ($told, $said) = (undef, '');

    local $SIG{PIPE} = 'IGNORE';

    for my $i (0 .. $#ways) {
        my ($port, $to) = split /:/, $ways[$i];
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 128, ReuseAddr => 1) or die "$port: $!";
        $listen{fileno $socket} = {socket => $socket, way => $i, to => $to};
    }

    my $rule = sub ($way, $from) {
        for my $rule (@rules) {
            next if $rule->{to}   && !grep { $_ == $way } @{$rule->{to}};
            next if $rule->{from} && !grep { $_ eq $from } @{$rule->{from}};
            return $rule;
        }
        return {do => ''};
    };

    my $close = sub ($fd, $reset = 0) {
        for my $end (map { delete $end{$_ // -1} // () } $fd, $end{$fd} ? $end{$fd}{peer} : ()) {
            setsockopt $end->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $reset;
            close $end->{socket};
        }
    };

    my $join = sub ($fd) {
        my $end    = $end{$fd};
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $end->{to}) or return $close->($fd, 1);
        fcntl $server, F_SETFL, O_NONBLOCK;
        $end->{peer} = fileno $server;
        $end{$end->{peer}} = {socket => $server, peer => $fd, out => [], way => $end->{way}, from => $end->{from}, server => 1};
    };

    while (1) {
        my ($in, $out, $now, $wait) = ('', '', time, 1);

        vec($in, $_, 1) = 1 for keys %listen, fileno($told // $control);

        for my $fd (keys %end) {
            my $end = $end{$fd} // next;
            next if $rule->(@$end{qw(way from)})->{do} eq 'drop';
            if (!defined $end->{peer}) { $join->($fd) or next }
            # who does not read is not read for
            vec($in, $fd, 1) = 1 if @{$end{$end->{peer}}{out}} < 100_000;
            next unless @{$end->{out}};
            my $late = $end->{out}[0][0] - $now;
            if    ($late <= 0)    { vec($out, $fd, 1) = 1 }
            elsif ($late < $wait) { $wait = $late }
        }

        select(my $readable = $in, my $writable = $out, undef, $wait) >= 0 or next;
        $now = time;

        if (!$told) {
            $told = $control->accept if vec $readable, fileno $control, 1;
        }
        elsif (vec $readable, fileno $told, 1) {
            sysread $told, $said, 65536, length $said or exit;
            while ($said =~ s/\A(.*)\n//) {
                @rules = @{decode_json($1)};
                # both ends of one go at once
                for my $fd (keys %end) {
                    my $end = $end{$fd} // next;
                    $close->($fd, 1) if $rule->(@$end{qw(way from)})->{do} eq 'cut';
                }
                syswrite $told, "1\n";
            }
            next;
        }

        for my $fd (grep { vec $readable, $_, 1 } keys %listen) {
            my $from   = accept(my $socket, $listen{$fd}{socket}) or next;
            my %one    = (socket => $socket, out => [], way => $listen{$fd}{way}, to => $listen{$fd}{to}, from => inet_ntoa((sockaddr_in($from))[1]));
            fcntl $socket, F_SETFL, O_NONBLOCK;
            $end{fileno $socket} = \%one;
            $close->(fileno $socket, 1) if $rule->(@one{qw(way from)})->{do} eq 'cut';
        }

        for my $fd (grep { vec $readable, $_, 1 } keys %end) {
            my $end  = $end{$fd} // next;
            my $read = sysread $end->{socket}, my $bytes, 65536;
            if (!$read) { $close->($fd) if defined $read || !$!{EAGAIN}; next }
            my $is   = $rule->(@$end{qw(way from)});
            my $peer = $end{$end->{peer}};
            my $due  = $is->{do} eq 'delay' && ($end->{server} || !$is->{answers}) ? $now + $is->{ms} / 1000 : 0;
            # nothing overtakes what is late
            $due = $peer->{out}[-1][0] if @{$peer->{out}} && $peer->{out}[-1][0] > $due;
            push @{$peer->{out}}, [$due, $bytes];
            vec($writable, $end->{peer}, 1) = 1 if $due <= $now;
        }

        for my $fd (grep { vec $writable, $_, 1 } keys %end) {
            my $end = $end{$fd} // next;
            while (@{$end->{out}} && $end->{out}[0][0] <= $now) {
                my $wrote = syswrite $end->{socket}, $end->{out}[0][1];
                if (!defined $wrote) { $close->($fd) unless $!{EAGAIN}; last }
                if ($wrote < length $end->{out}[0][1]) { substr $end->{out}[0][1], 0, $wrote, ''; last }
                shift @{$end->{out}};
            }
        }
    }
}

1;
