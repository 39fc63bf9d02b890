package Test::Lines::Redis::Cluster;
use Mojo::Base 'Test::Lines::Redis', -signatures;

use Carp qw(croak);
use Digest::SHA qw(sha256_hex);
use Mojo::File qw(path);
use Mojo::Util qw(sha1_sum);
use Test::Lines::Port;
use Test::Lines::Util qw(write_file);
use Time::HiRes ();

=head1 NAME

Test::Lines::Redis::Cluster - three primaries, or more, that a test may take for one Redis

=head1 DESCRIPTION

What C<< $t->redis >> gives where LINES_TEST_REDIS is C<cluster>; with C<count> so many. C<client> and
C<cli> send each command to the node that has its key, and what has none
(KEYS, FLUSHALL, CONFIG SET, CLIENT KILL, INFO, ...) to all, of whose replies
one is made; MULTI is one for each node. C<pause>, C<kill> and the like are for
all nodes, C<nodes> for those who want one. There is no C<port>: what stands
between nginx and one Redis has no place here. With C<tls>, files as
Test::Lines::Tls/mutual gives them, the nodes speak TLS; C<before>: ports by
which others are told to come to the first nodes, instead of
C<< $node->{tls_port} >>.

=cut

has count => 3;
has 'tls';
has before => sub { [] };
has slots => sub ($self) { [map { int($_ * 16384 / $self->count + 0.5) } 0 .. $self->count] };

has nodes => sub ($self) {
    return [map {
        my $name = $self->name . '-' . ($_ - 1);
        my $bus  = Test::Lines::Port::free_port();
        my $tls  = $self->tls && Test::Lines::Port::free_port();
        my $at   = $tls && ($self->before->[$_ - 1] // $tls);
        my $node = Test::Lines::Redis->new(
            name     => $name,
            dir      => $self->dir,
            port     => Test::Lines::Port::free_port(),
            socket   => $self->dir . "/$name.sock",
            args     => $self->args,
            env      => $self->env,
            server   => $self->server,
            user     => $self->user,
            password => $self->password,
            conf     => <<"END" . ($tls ? $self->_tls_conf($tls, $at) : '') . $self->conf
cluster-enabled yes
cluster-port $bus
cluster-announce-ip 127.0.0.1
cluster-node-timeout 60000
END
        );
        $node->{bus} = $bus;
        $node->{id}  = sha1_sum("$name $bus");
        @$node{qw(tls_port at)} = ($tls, $at // $node->port);
        $node;
    } 1 .. $self->count];
};

sub port ($self, @)   { croak 'a cluster has no one port' }
sub socket ($self, @) { croak 'a cluster has no one socket' }

sub _tls_conf ($self, $port, $at) {
    my $files = $self->tls;
    return <<"END";
tls-port $port
tls-cluster yes
cluster-announce-tls-port $at
tls-cert-file $files->{server}{cert}
tls-key-file $files->{server}{key}
tls-ca-cert-file $files->{ca}
END
}

sub url ($self) { ($self->tls ? 'rediss' : 'redis') . '+cluster://' . join ',', map {"127.0.0.1:$_->{at}"} @{$self->nodes} }

# they know each other from the start: nobody has to meet
sub _write_map ($self, $node) {
    my $file = path($self->dir, $node->name)->make_path->child('nodes.conf');
    return if -e $file;

    my ($nodes, $slots) = ($self->nodes, $self->slots);

    my @lines = map {
        my $one = $nodes->[$_];
        "$one->{id} 127.0.0.1:$one->{at}\@$one->{bus} " . ($one == $node ? 'myself,' : '')
          . "master - 0 0 @{[$_ + 1]} connected $slots->[$_]-@{[$slots->[$_ + 1] - 1]}\n";
    } 0 .. $#$nodes;

    write_file($file, join '', @lines, "vars currentEpoch @{[$self->count]} lastVoteEpoch 0\n");
}

sub start ($self) {
    for my $node (@{$self->nodes}) {
        $self->_write_map($node);
        $node->start if !$node->alive;
    }

    # each waits two seconds before it says so
    my $end = Time::HiRes::time() + 60 * ($ENV{LINES_SLOW} || 1);

    for my $node (@{$self->nodes}) {
        until ((eval { $node->cli('CLUSTER INFO') } // '') =~ /cluster_state:ok/) {
            croak 'no cluster: ' . $node->output if !$node->alive || Time::HiRes::time() > $end;
            Time::HiRes::sleep(0.02);
        }
    }

    return $self;
}

sub alive ($self) { scalar grep { $_->alive } @{$self->nodes} }
sub ready ($self) { $self->count == grep { $_->ready } @{$self->nodes} }
sub output ($self) { join "\n", map { $_->output } @{$self->nodes} }

sub signal ($self, $signal) {
    $_->signal($signal) for @{$self->nodes};
    return $self;
}

sub wait_end ($self, @seconds) {
    my @status = map { $_->wait_end(@seconds) } @{$self->nodes};
    return (grep { !defined } @status) ? undef : $status[0];
}

sub client ($self, %options) {
    return Test::Lines::Redis::Cluster::Client->new($self->slots, map { $_->client(%options) } @{$self->nodes});
}

sub node_of ($self, $key) {
    my $slot = Test::Lines::Redis::Cluster::Client::slot($key);
    my ($i) = grep { $slot < $self->slots->[$_ + 1] } 0 .. $self->count - 1;
    return $self->nodes->[$i];
}

# the key of a workspace, made by that nginx, that is on that node, as its key is
sub key_on ($self, $nginx, $node, $plan) {
    while (1) {
        my $name = 't' . ++$self->{made};
        next if $self->node_of("lines:{w:$name}:t") != $node;
        my $key = $nginx->workspace($name => {plan => $plan});
        return $key if $self->node_of('lines:{k:' . sha256_hex($key) . '}') == $node;
    }
}

package Test::Lines::Redis::Cluster::Client;

use List::Util qw(max sum0);

sub new ($class, $slots, @clients) { return bless {slots => $slots, clients => \@clients}, $class }

sub slot ($key) {
    my $hashed = $key =~ /^[^{]*\{([^}]+)\}/ ? $1 : $key;
    my $crc    = 0;

    for my $byte (unpack 'C*', $hashed) {
        $crc ^= $byte << 8;
        $crc = ($crc & 0x8000 ? $crc << 1 ^ 0x1021 : $crc << 1) & 0xffff for 1 .. 8;
    }

    return $crc % 16384;
}

sub _of ($self, $key) {
    my $slot = slot($key);
    my ($i) = grep { $slot < $self->{slots}[$_ + 1] } 0 .. $#{$self->{clients}};
    return $self->{clients}[$i];
}

# what is added of the nodes' replies, and what they say together
my $sums   = qr/^(?:dbsize|publish|client_kill|del|unlink|exists|touch)$/;
my $lists  = qr/^(?:keys|exec|client_list)$/;
my $all    = qr/^(?:ping|multi|exec|discard|flush|script|config|client|debug|acl|info|bgsave|bgrewriteaof|save|replicaof|quit|keys|dbsize|latency)/;
my $any    = qr/^(?:time|publish|command|role|lastsave|subscribe|wait_for_messages|unsubscribe|monitor|memory_stats|cluster|wait)/;

our $AUTOLOAD;

sub AUTOLOAD {
    my ($self, @args) = @_;

    my $name = lc $AUTOLOAD =~ s/.*:://r;
    return if $name eq 'destroy';

    my @clients = @{$self->{clients}};

    # "client", "kill" is client_kill
    my $full = $name =~ /^(?:client|config|script|debug|acl|object|memory|cluster)$/ && @args ? "${name}_" . lc $args[0] : $name;

    if ($name =~ /^(?:del|unlink|exists|touch)$/ && @args > 1 && !$self->{multi}) {
        return sum0 map { $self->_of($_)->$name($_) } @args;
    }

    if ($name eq 'mget') {
        my @values = map { scalar $self->_of($_)->get($_) } @args;
        return wantarray ? @values : \@values;
    }

    if ($name eq 'info') { return $self->_info(@args) }

    if ($full =~ $any) { return $clients[0]->$name(@args) }

    if ($full =~ $all) {
        $self->{multi} = 1 if $name eq 'multi';
        $self->{multi} = 0 if $name =~ /^(?:exec|discard)$/;

        my @replies = map { [$_->$name(@args)] } @clients;

        if ($full =~ $lists) {
            my @list = map { @{$_} == 1 && ref $_->[0] eq 'ARRAY' ? @{$_->[0]} : @$_ } @replies;
            return wantarray ? @list : \@list;
        }

        if ($full eq 'script_exists') {
            my @lists = map { ref $_->[0] ? $_->[0] : $_ } @replies;
            my @there = map { my $i = $_; max map { $_->[$i] } @lists } 0 .. $#{$lists[0]};
            return wantarray ? @there : \@there;
        }

        return sum0 map { $_->[0] } @replies if $full =~ $sums;
        return wantarray ? @{$replies[0]} : $replies[0][-1] if $full =~ /^config_get/;
        return wantarray ? @{$replies[0]} : $replies[0][0];
    }

    my $key = $name =~ /^(?:eval|evalsha)$/ ? $args[2] : $full =~ /^(?:object|memory)_/ && $name !~ /_/ ? $args[1] : $args[0];

    return $self->_of($key // '')->$name(@args);
}

# as of one: calls are added
sub _info ($self, @args) {
    my @infos = map { scalar $_->info(@args) } @{$self->{clients}};
    return $infos[0] if ref $infos[0] ne 'HASH';

    my %sum = %{$infos[0]};

    for my $more (@infos[1 .. $#infos]) {
        for my $name (keys %$more) {
            if (!defined $sum{$name}) { $sum{$name} = $more->{$name} }
            elsif ($name =~ /^cmdstat_/) {
                my ($calls) = $more->{$name} =~ /^calls=(\d+)/;
                $sum{$name} =~ s/^calls=(\d+)/'calls=' . ($1 + $calls)/e;
            }
            elsif ($name =~ /^(?:total_|evicted_|expired_|connected_clients|used_memory$)/) { $sum{$name} += $more->{$name} }
        }
    }

    return \%sum;
}

1;
