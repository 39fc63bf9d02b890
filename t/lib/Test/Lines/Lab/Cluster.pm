package Test::Lines::Lab::Cluster;
use Mojo::Base 'Test::Lines::Lab::Servers', -signatures;

use List::Util qw(first uniq);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use Mojo::Util qw(sha1_sum);
use Redis;
use Test::Lines qw(wait_for);
use Test::Lines::Redis::Cluster;
use Test::Lines::Util qw(every write_file);
use Time::HiRes ();

=head1 NAME

Test::Lines::Lab::Cluster - three primaries, each with a replica

=head1 DESCRIPTION

C<client> and C<cli> send each command where its key is, by the map of the
moment (L<Test::Lines::Redis::Cluster>).

=cut

my @first = (0, 5461, 10923, 16384);

sub url ($self) { 'rediss+cluster://' . join ',', map {"127.0.0.1:$_"} @{$self->way->ports}[0 .. 5] }

# they know each other from the start: nobody has to meet; the bus has ways of its own
sub start ($self) {
    my $t   = $self->t;
    my @tls = map { $t->free_port } 0 .. 5;
    my @bus = map { $t->free_port } 0 .. 5;
    my $to  = $self->way($t->way(to => [@tls, @bus]))->way->ports;
    my @id  = map { sha1_sum("lab $_ $bus[$_]") } 0 .. 5;

    $self->nodes([map { $self->node($_, $tls[$_], <<"END") } 0 .. 5]);
cluster-enabled yes
cluster-port $bus[$_]
tls-cluster yes
cluster-announce-ip 127.0.0.1
cluster-announce-tls-port $to->[$_]
cluster-announce-bus-port $to->[6 + $_]
cluster-node-timeout @{[2 * $self->down]}
cluster-allow-replica-migration no
cluster-require-full-coverage no
END

    for my $i (0 .. 5) {
        my $node = $self->nodes->[$i];
        $node->{id} = $id[$i];
        my @lines = map {
            "$id[$_] 127.0.0.1:$to->[$_]\@$to->[6 + $_] " . ($_ == $i ? 'myself,' : '')
              . ($_ < 3 ? "master - 0 0 @{[$_ + 1]} connected $first[$_]-@{[$first[$_ + 1] - 1]}\n" : "slave $id[$_ - 3] 0 0 @{[$_ - 2]} connected\n");
        } 0 .. 5;
        write_file(path($node->dir, $node->name)->make_path->child('nodes.conf'), join '', @lines, "vars currentEpoch 3 lastVoteEpoch 0\n");
    }
    $_->start for @{$self->nodes};

    $self->settled;
    return $self;
}

sub _lines ($self, $node) {
    return map { my @of = split / /; {id => $of[0], flags => $of[2], of => $of[3], slots => [@of[8 .. $#of]]} } split /\n/, $self->ask($node, 'CLUSTER NODES') // '';
}

sub primaries ($self) { grep { $self->role($_) eq 'master' && grep { $_->{flags} =~ /myself/ && @{$_->{slots}} } $self->_lines($_) } $self->awake }

# each in turn
sub victim ($self) {
    my @primaries = $self->primaries;
    return $primaries[$self->{turn}++ % @primaries];
}

sub _replica ($self, $old) {
    my ($line) = grep { $_->{flags} =~ /slave/ && $_->{of} eq $old->{id} } $self->_lines(($self->awake)[0]);
    return first { $_->{id} eq $line->{id} } @{$self->nodes};
}

# its own way, and that of the bus
sub ways_of ($self, $node) { [$node->{index}, $node->{index} + 6] }

sub fault ($self, $kind, $old = $self->victim) {
    $self->{promoted} = $self->_replica($old);
    return $self->SUPER::fault($kind, $old);
}

sub ask_failover ($self, $old) { $self->{promoted}->cli('CLUSTER FAILOVER') }

sub serves ($self, $node) {
    my $map = $self->_map;
    return sub ($tenant) { $map->[Test::Lines::Redis::Cluster::Client::slot("{$tenant}")] == $node };
}

# it serves what the other one did
sub other_than ($self, $old) {
    my $new = $self->{promoted};
    return sub { $self->role($new) eq 'master' && ($self->ask($new, 'CLUSTER INFO') // '') =~ /cluster_state:ok/ ? $new : undef };
}

sub back ($self, $node, @) { $node->start }

sub settled ($self) {
    my $why = '';
    eval {
        wait_for(every(0.1, sub {
            my @roles = map { $self->ask($_, 'ROLE') // ['away'] } @{$self->nodes};
            $why = 'roles: ' . join ' ', map { $_->[0] . ($_->[0] eq 'slave' ? " ($_->[3])" : '') } @roles;
            return 0 unless 3 == grep { $_->[0] eq 'slave' && $_->[3] eq 'connected' } @roles;
            my @maps;
            for my $node (@{$self->nodes}) {
                my @lines = $self->_lines($node);
                $why = $node->name . ': ' . join ', ', map {"$_->{flags} @{$_->{slots}}"} @lines;
                return 0 if grep { $_->{flags} =~ /fail|handshake|noaddr/ } @lines;
                return 0 unless $self->ask($node, 'CLUSTER INFO') =~ /cluster_state:ok/;
                push @maps, join ' ', sort map { $_->{flags} =~ /master/ ? "$_->{id} " . join(',', grep { !/\[/ } @{$_->{slots}}) : "$_->{id} of $_->{of}" } @lines;
            }
            return 1 == uniq @maps;
        }), 120, 'all to follow');
        1;
    } or die "$@ ($why)\n";
}

sub _map ($self) {
    my @of;
    for my $node ($self->primaries) {
        my ($me) = grep { $_->{flags} =~ /myself/ } $self->_lines($node);
        for (grep { !/\[/ } @{$me->{slots}}) { my ($from, $to) = split /-/; $of[$_] = $node for $from .. $to // $from }
    }
    defined $of[$_] or die "slot $_ is nobody's\n" for 0 .. 16383;
    return \@of;
}

sub client ($self, %options) { Test::Lines::Lab::Cluster::Client->of($self->_map, %options) }

sub cli ($self, $command, @args) {
    my ($name, @more) = split / /, lc $command;

    # a map holds for a second: it is asked while nothing moves
    my $now = Time::HiRes::time();
    @$self{qw(routed routed_at)} = ($self->client, $now) if !$self->{routed} || $now - $self->{routed_at} > 1;

    return $self->{routed}->$name(@more, @args);
}

sub cut_clients ($self) { $_->cli('CLIENT', 'KILL', 'USER', 'lines') for $self->primaries }

# the one that is promoted is the only one that could acknowledge
sub mark   ($self)     { return }
sub behind ($self, @) {0}

=head2 reshard

    $servers->reshard;
    $servers->reshard(300);

Moves all slots, or so many (those that have keys first), one by one: each
primary's to the next one, in a process of its own. One primary after the other
takes what it gets, as redis-cli has it: several that take slots at once may
choose the same epoch, and servers then differ for good about whose a slot is.

=cut

sub reshard ($self, $count = 16384) {
    my @primaries = $self->primaries;
    my $map       = $self->_map;
    my %used      = map { (Test::Lines::Redis::Cluster::Client::slot($_) => 1) } $count < 16384 ? $self->client->keys('*') : ();
    my @slots     = sort { ($used{$b} // 0) <=> ($used{$a} // 0) || $a <=> $b } 0 .. 16383;
    my $moved     = 0;
    my $said      = '';

    for my $p (0 .. $#primaries) {
        my @mine = grep { $map->[$_] == $primaries[$p] } @slots;
        splice @mine, int $count / @primaries if $count < 16384;
        $moved += @mine;

        my $file = $self->t->file('reshard.json', encode_json({
            slots => \@mine,
            nodes => [map { {socket => $_->socket, id => $_->{id}, port => $_->{tls_port}} } @primaries[map { ($p + $_) % @primaries } 0 .. $#primaries]]
        }));
        my $process = $self->t->spawn("reshard$p-$moved" => [$^X, (map {"-I$_"} @INC), '-MTest::Lines::Lab::Cluster', '-e', 'Test::Lines::Lab::Cluster->move(@ARGV)', $file]);
        wait_for(sub { !$process->alive }, 900, 'slots to move');
        die 'slots did not move: ' . $process->output if $process->status;
        $said .= $process->output;
        $self->settled;
    }

    return ($moved, $said =~ s/\n(?=.)/, /gr);
}

# from the first to the second, as redis-cli --cluster reshard does; of empty ones many at a time
sub move ($class, $file) {
    my $told    = decode_json(path($file)->slurp);
    my @nodes   = @{$told->{nodes}};
    my @clients = map { Redis->new(sock => $_->{socket}, username => 'test', password => 'of the test', encoding => undef) } @nodes;
    my ($from, $to) = @clients;
    my $keys = 0;
    my $all  = sub ($client, $each, @slots) {
        my @replies;
        $client->cluster($each->($_), sub ($reply, $error) { die "$error\n" if defined $error; push @replies, $reply }) for @slots;
        $client->wait_all_responses;
        return @replies;
    };

    my @slots = @{$told->{slots}};
    my @full  = $all->($from, sub ($slot) { ('COUNTKEYSINSLOT', $slot) }, @slots);
    my @groups;

    for my $i (0 .. $#slots) {
        if ($full[$i] || !@groups || $full[$i - 1] || @{$groups[-1]} == 64) { push @groups, [$slots[$i]] }
        else                                                                { push @{$groups[-1]}, $slots[$i] }
    }

    for my $group (@groups) {
        $all->($to,   sub ($slot) { ('SETSLOT', $slot, 'IMPORTING', $nodes[0]{id}) }, @$group);
        $all->($from, sub ($slot) { ('SETSLOT', $slot, 'MIGRATING', $nodes[1]{id}) }, @$group);
        while (my @keys = map {@$_} $all->($from, sub ($slot) { ('GETKEYSINSLOT', $slot, 20) }, @$group)) {
            $from->migrate('127.0.0.1', $nodes[1]{port}, '', 0, 5000, 'AUTH2', 'test', 'of the test', 'KEYS', @$_) for $class->_by_slot(@keys);
            $keys += @keys;
        }
        $all->($_, sub ($slot) { ('SETSLOT', $slot, 'NODE', $nodes[1]{id}) }, @$group) for $to, $from, @clients[2 .. $#clients];
    }

    print "$keys keys moved\n";
}

sub _by_slot ($class, @keys) {
    my %of;
    push @{$of{Test::Lines::Redis::Cluster::Client::slot($_)}}, $_ for @keys;
    return values %of;
}

package Test::Lines::Lab::Cluster::Client;

our @ISA = ('Test::Lines::Redis::Cluster::Client');

sub of ($class, $map, %options) {
    my (@clients, %place);
    for my $node (@$map) { $place{$node} //= push(@clients, $node->client(%options)) - 1 }
    return bless {of => [map { $place{$_} } @$map], clients => \@clients}, $class;
}

sub _of ($self, $key) { $self->{clients}[$self->{of}[Test::Lines::Redis::Cluster::Client::slot($key)]] }

1;
