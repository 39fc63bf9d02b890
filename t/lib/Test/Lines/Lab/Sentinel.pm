package Test::Lines::Lab::Sentinel;
use Mojo::Base 'Test::Lines::Lab::Servers', -signatures;

use Test::Lines qw(wait_for);
use Test::Lines::Util qw(every);

=head1 NAME

Test::Lines::Lab::Sentinel - a primary with two replicas, and three Sentinels

=head1 DESCRIPTION

C<client> and C<cli> are of whom the Sentinels call the primary.

=cut

has sentinels => sub { [] };

sub url ($self) { 'rediss+sentinel://' . join(',', map {"127.0.0.1:$_->{tls_port}"} @{$self->sentinels}) . '/lab' }

sub options ($self) {
    my $file = $self->t->file($self->name . '-sentinel.password', $Test::Lines::Lab::Servers::PASSWORD{lines});
    return $self->SUPER::options . " sentinel_user=lines sentinel_password_file=$file";
}

sub start ($self) {
    my $t   = $self->t;
    my @tls = map { $t->free_port } 0 .. 2;
    my $way = $self->way($t->way(to => \@tls))->way;
    my $to  = $way->ports;
    my $of  = \%Test::Lines::Lab::Servers::PASSWORD;

    $self->nodes([map { $self->node($_, $tls[$_], <<"END" . ($_ ? "replicaof 127.0.0.1 $to->[0]\n" : '')) } 0 .. 2]);
replica-announce-ip 127.0.0.1
replica-announce-port $to->[$_]
END
    $_->start for @{$self->nodes};
    wait_for(sub { 2 == @{$self->ask($self->nodes->[0], 'ROLE')->[2]} }, 60, 'replicas');

    $self->sentinels([map {
        my $port = $t->free_port;
        my $one  = $t->redis(args => ['--sentinel'], user => 'test', password => 'of the test', %{$self->server_options}, conf => $self->tls_conf($port) . <<"END");
bind-source-addr 127.0.0.2
user lines on ">$of->{lines}" resetchannels &+switch-master +sentinel|master +sentinel|get-master-addr-by-name +subscribe +unsubscribe +ping
user sentinel on ">$of->{sentinel}" &* +\@all
sentinel announce-ip 127.0.0.1
sentinel announce-port $port
sentinel sentinel-user sentinel
sentinel sentinel-pass "$of->{sentinel}"
sentinel monitor lab 127.0.0.1 $to->[0] 2
sentinel auth-user lab sentinel
sentinel auth-pass lab "$of->{sentinel}"
sentinel down-after-milliseconds lab @{[$self->down]}
sentinel failover-timeout lab 4000
sentinel parallel-syncs lab 2
END
        $one->{tls_port} = $port;
        $one->cli('SENTINEL', 'DEBUG', 'info-period', 1000, 'min-link-reconnect-period', 2000) if $self->brief;
        $one;
    } 0 .. 2]);

    $self->settled;
    return $self;
}

sub servers ($self) { @{$self->sentinels}, $self->SUPER::servers }

sub _says ($self, $sentinel) { my %of = $sentinel->cli('SENTINEL', 'MASTER', 'lab'); return \%of }

# of most Sentinels, as they may differ for a while
sub primary ($self) {
    my (%votes, $best);
    $votes{$self->_says($_)->{port}}++ for @{$self->sentinels};
    ($best) = sort { $votes{$b} <=> $votes{$a} } keys %votes;
    return (grep { $self->way->ports->[$_->{index}] == $best } @{$self->nodes})[0];
}

sub victim ($self) { $self->primary }

sub ways_of ($self, $node) { [$node->{index}] }

sub client ($self, %options) { $self->primary->client(%options) }
sub cli ($self, @command)    { $self->primary->cli(@command) }

sub ask_failover ($self, $old) { $self->sentinels->[0]->cli('SENTINEL', 'FAILOVER', 'lab') }

# another one that takes itself for the primary, which replicas do not
sub other_than ($self, $old) {
    return sub { (grep { $_ != $old && $self->role($_) eq 'master' } $self->awake)[0] };
}

# of the primary that there is; or as it was configured once: as a primary that nobody follows, which Sentinels see to after 10 s or so
sub back ($self, $node, $primary) {
    wait_for(sub { $self->primary != $node }, 30, 'most Sentinels to name another one') if !$primary;
    my $of = $primary ? '' : 'replicaof 127.0.0.1 ' . $self->way->ports->[$self->primary->{index}] . "\n";
    $node->conf($node->conf =~ s/^replicaof .*\n//mr . $of);
    $node->start;
}

sub settled ($self) {
    my $why;
    eval {
        wait_for(every(0.1, sub {
            for my $one (@{$self->sentinels}) {
                my $of = $self->_says($one);
                $why = "$of->{flags}, $of->{'num-slaves'} replicas, $of->{'num-other-sentinels'} others";
                return 0 unless $of->{flags} eq 'master' && $of->{'num-slaves'} == 2 && $of->{'num-other-sentinels'} == 2;
                for my $replica (map { my %replica = @$_; \%replica } $one->cli('SENTINEL', 'REPLICAS', 'lab')) {
                    $why = "replica $replica->{port}: $replica->{flags}, link $replica->{'master-link-status'}, of $replica->{'master-port'}";
                    return 0 unless $replica->{flags} eq 'slave' && $replica->{'master-link-status'} eq 'ok' && $replica->{'master-port'} == $of->{port};
                }
            }
            my $primary = $self->primary;
            $why = 'roles: ' . join ' ', map { $self->role($_) } @{$self->nodes};
            return 1 == (grep { $self->role($_) eq 'master' } @{$self->nodes}) && $self->role($primary) eq 'master';
        }), 120, 'all to follow');
        1;
    } or die "$@ ($why)\n";
}

sub cut_clients ($self) { $self->cli('CLIENT', 'KILL', 'USER', 'lines') }

=head2 mark, behind

    my $mark = $servers->mark;
    my $fault = $servers->fault('kill');
    ...
    $servers->behind($mark, $fault->{old});

Whether the other replica had more than the one that was promoted, which is
Sentinel's choice: what that one alone acknowledged is lost then. The promoted
one says so, as the other cannot go on from where it is.

=cut

sub mark ($self) { return {map { ($_->{index} => -e $_->log_file ? -s $_->log_file : 0) } @{$self->nodes}} }

sub behind ($self, $mark, $old) {
    my $of_old = $self->way->ports->[$old->{index}];

    for my $node (@{$self->nodes}) {
        my $log = substr $node->output, $mark->{$node->{index}};
        while ($log =~ /:(\d+) asks for synchronization\n.*Requested offset for second ID was (\d+), but I can reply up to (\d+)/g) {
            return $2 - $3 if $1 != $of_old && $2 > $3;
        }
    }

    return 0;
}

1;
