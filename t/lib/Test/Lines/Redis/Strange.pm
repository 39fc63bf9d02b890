package Test::Lines::Redis::Strange;
use Mojo::Base 'Test::Lines::Process', -signatures;

use IO::Select;
use IO::Socket::INET;
use Mojo::JSON qw(decode_json encode_json);
use Test::Lines ();
use Test::Lines::Port;
use Test::Lines::Redis::Cluster;
use Test::Lines::Util qw(write_file);

=head1 NAME

Test::Lines::Redis::Strange - before a Redis: what it says is what the test wants

=head1 SYNOPSIS

    my $node = $t->strange(redis => $redis, says => {slots => [[0, 16383, '127.0.0.1', 7000]]});
    $nginx = $t->nginx(redis => 'redis+cluster://127.0.0.1:' . $node->port);

    $node->say(ask => 7001);      # from now on
    $node->asked('EVALSHA');         # how often it was

=head1 DESCRIPTION

A program of its own, which hands commands on to a Redis, one by one, and its
replies back. With C<slots> it is a node of a cluster: these are what it answers
to CLUSTER SLOTS, rows of from, to, host, port and, if any, id, with C<epoch>;
C<state> is what CLUSTER INFO says, C<id> what CLUSTER MYID. C<ask> and C<moved>: scripts are sent there, to that
port. C<raw>: replies by command (C<< {'CLUSTER INFO' => "-ERR\r\n"} >>). C<before>:
bytes that stand before the next reply, once for each new value of C<turn>.

=cut

has [qw(t redis)];
has port => sub { Test::Lines::Port::free_port() };
has says => sub { {} };

sub file ($self) { $self->dir . '/' . $self->name . '.json' }

sub say ($self, %says) {
    $self->says({%{$self->says}, %says});
    write_file($self->file . '.new', encode_json($self->says));
    rename $self->file . '.new', $self->file or die $self->file . ": $!";
    return $self;
}

sub start ($self) {
    $self->say;
    my $lib = $self->t->root . '/t/lib';
    $self->command([$^X, "-I$lib", '-MTest::Lines::Redis::Strange', '-e', 'Test::Lines::Redis::Strange->serve(@ARGV)', $self->port, $self->redis->port, $self->file]);
    $self->SUPER::start;
    Test::Lines::wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->port) }, 30, $self->name);
    return $self;
}

sub asked ($self, $command) { return scalar(() = $self->output =~ /^\Q$command\E$/mg) }

sub url ($self) { 'redis+cluster://127.0.0.1:' . $self->port }

sub _bulk ($text) { '$' . length($text) . "\r\n$text\r\n" }

# a whole reply off the front
sub _end ($in, $at) {
    pos($$in) = $at;
    $$in =~ /\G([-+:\$*])([^\r]*)\r\n/gc or return;
    my ($type, $n, $end) = ($1, $2, pos $$in);
    return $end if $type =~ /[-+:]/ || $n < 0;
    if ($type eq '$') { return $end + $n + 2 <= length $$in ? $end + $n + 2 : () }
    for (1 .. $n) { $end = _end($in, $end) // return }
    return $end;
}

sub _reply ($socket, $in) {
    while (1) {
        my $end = _end($in, 0);
        return substr $$in, 0, $end, '' if $end;
        sysread $socket, $$in, 65536, length $$in or return;
    }
}

sub serve ($class, $port, $redis, $file) {
    local $SIG{PIPE} = 'IGNORE';
    STDOUT->autoflush(1);

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "$port: $!";
    my $select = IO::Select->new($listen);
    my (%of, $turn);

    my $close = sub ($one) {
        for my $socket (grep {$_} @$one{qw(client server)}) { $select->remove($socket); delete $of{$socket}; close $socket }
    };

    my $handle = sub ($one, $now, @args) {
        my $verb = uc $args[0];
        my $name = $verb =~ /^(?:CLUSTER|CONFIG|SENTINEL)$/ ? "$verb " . uc $args[1] : $verb;
        print "$name\n";

        return $now->{raw}{$name} if exists +($now->{raw} // {})->{$name};
        if ($now->{slots}) {
            return "+OK\r\n" if $verb eq 'ASKING';
            return _bulk($now->{id}) if $name eq 'CLUSTER MYID';
            return _bulk("cluster_state:@{[$now->{state} // 'ok']}\r\ncluster_current_epoch:@{[$now->{epoch} // 1]}\r\n") if $name eq 'CLUSTER INFO';
            return "*" . @{$now->{slots}} . "\r\n" . join '', map {"*3\r\n:$_->[0]\r\n:$_->[1]\r\n*" . (@$_ - 2) . "\r\n" . _bulk($_->[2]) . ":$_->[3]\r\n" . join '', map { _bulk($_) } @$_[4 .. $#$_]} @{$now->{slots}} if $name eq 'CLUSTER SLOTS';
        }
        if ($verb =~ /^EVAL/ && (my $to = $now->{ask} // $now->{moved})) {
            return '-' . ($now->{ask} ? 'ASK' : 'MOVED') . ' ' . Test::Lines::Redis::Cluster::Client::slot($args[3]) . " 127.0.0.1:$to\r\n";
        }
        return $now->{error} if $now->{error} && $verb =~ /^EVAL/;

        syswrite $one->{server}, '*' . @args . "\r\n" . join '', map { _bulk($_) } @args;
        my $reply = _reply($one->{server}, \$one->{back}) // return;
        if ($verb eq 'SUBSCRIBE') { $reply .= _reply($one->{server}, \$one->{back}) for 3 .. @args; $select->add($one->{server}); $of{$one->{server}} = $one }
        $reply =~ s/cluster_enabled:0/cluster_enabled:1/ if $verb eq 'INFO' && $now->{slots};
        return $reply;
    };

    while (1) {
        for my $socket ($select->can_read) {
            if ($socket == $listen) {
                my $client = $listen->accept // next;
                my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $redis) or (close $client, next);
                $select->add($client);
                $of{$client} = {client => $client, server => $server, in => '', back => ''};
                next;
            }

            my $one = $of{$socket} // next;
            sysread $socket, my $got, 65536 or ($close->($one), next);
            if ($socket == $one->{server}) { syswrite $one->{client}, $got; next }

            open my $state, '<', $file or die "$file: $!";
            my $now = decode_json(do { local $/; <$state> });

            $one->{in} .= $got;
            while ($one->{in} =~ /\A\*(\d+)\r\n/ && defined(my $end = _end(\$one->{in}, 0))) {
                my $command = substr $one->{in}, 0, $end, '';
                my ($n, @args) = $command =~ /\A\*(\d+)\r\n/;
                my $at = length "*$n\r\n";
                while (@args < $n) {
                    pos($command) = $at;
                    $command =~ /\G\$(\d+)\r\n/gc;
                    push @args, substr $command, pos $command, $1;
                    $at = pos($command) + $1 + 2;
                }
                my $reply = $handle->($one, $now, @args) // ($close->($one), last);
                if (defined $now->{turn} && $now->{turn} ne ($turn // '') && $args[0] =~ /^$now->{at}$/i) {
                    $turn  = $now->{turn};
                    $reply = $now->{before} . $reply;
                }
                while (length $reply) { my $wrote = syswrite $one->{client}, $reply or last; substr $reply, 0, $wrote, '' }
            }
        }
    }
}

1;
