package Test::Lines::Lab::Servers;
use Mojo::Base 'Test::Lines::Redis', -signatures;

use Mojo::File qw(path);
use Test::Lines qw(wait_for);
use Test::Lines::Tls;
use Time::HiRes ();

=head1 NAME

Test::Lines::Lab::Servers - several Redis that stand for one, and what befalls them

=head1 DESCRIPTION

What L<Test::Lines::Lab::Sentinel> and L<Test::Lines::Lab::Cluster> share: six
or three servers that speak TLS and know users, each behind a way of its own
(L<Test::Lines::Way>), by which all others call it. nginx comes from 127.0.0.1,
Sentinels from 127.0.0.2, the servers from 127.0.0.10 and so on. The test comes
by their sockets.

=head2 fault

    my $fault = $servers->fault('kill');

Does what the kind says, to a primary; returns a hash: C<what> happened, C<old>
and C<new>, functions: whether there is another primary (C<there>), and what
ends it (C<mend>).

    failover    asked for
    kill        kill -9 of the primary, which comes back as a replica
    hang        SIGSTOP, and later SIGCONT: it takes itself for the primary
    cut         all connections to it are cut, and new ones
    drop        nothing arrives at it
    split       the other servers, and Sentinels, are parted from it: nginx is not
    slow        what its replicas hear is late, and then it is killed
    old         kill -9; it comes back as a primary with the data of some time before
    past        the same, at once: nobody else is promoted, and all follow it

=head2 serves

    my $serves = $servers->serves($node);
    $serves->('w:one');

Whether a node, which is a primary, has a tenant.

=head2 settled

Waits until all follow, whoever was away.

=head2 cut_clients

CLIENT KILL of all that nginx has.

=cut

has 't';
has password => 'of the test';
has user     => 'test';
has nodes    => sub { [] };
has 'way';
has server_options => sub { {} };
has brief    => 0;

# how long one is silent before it counts as dead, ms
has down => sub { 500 * ($ENV{LINES_SLOW} || 1) };

my @passwords = (lines => 'of lines', replica => 'of replicas', sentinel => 'of Sentinels');
our %PASSWORD = @passwords;

has tls => sub ($self) { Test::Lines::Tls->new(t => $self->t)->mutual($self->name) };

sub options ($self) {
    my $tls  = $self->tls;
    my $file = $self->t->file($self->name . '.password', $PASSWORD{lines});

    return "user=lines password_file=$file cacert=$tls->{ca} cert=$tls->{client}{cert} key=$tls->{client}{key}";
}

# the default user cannot come, but keeps his rights: conf/redis.conf says why
sub tls_conf ($self, $port) {
    my $tls = $self->tls;

    return <<"END";
tls-port $port
tls-cert-file $tls->{server}{cert}
tls-key-file $tls->{server}{key}
tls-ca-cert-file $tls->{ca}
tls-replication yes
user default off ~* &* +\@all
user test on ">of the test" ~* &* +\@all
END
}

# a server, behind its way; more lines of its configuration
sub node ($self, $i, $tls_port, $more) {
    my $node = $self->t->redis(user => 'test', password => 'of the test', %{$self->server_options}, conf => $self->tls_conf($tls_port) . <<"END" . $more, start => 0);
bind-source-addr @{[$self->address($i)]}
repl-diskless-sync-delay 0
# who is killed loses nothing by it; a disk that others use too is no part of this
appendfsync no
user lines on ">$PASSWORD{lines}" ~lines:* &lines* &__redis__:* +\@read +\@write +\@scripting +\@pubsub +time +ping +select +role +info +config|get +wait +client +cluster|info +cluster|myid +cluster|shards +cluster|slots +asking
user replica on ">$PASSWORD{replica}" +psync +replconf +ping
user sentinel on ">$PASSWORD{sentinel}" allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info +client|setname +client|kill +script|kill
masteruser replica
masterauth "$PASSWORD{replica}"
END
    $node->{index}    = $i;
    $node->{tls_port} = $tls_port;
    return $node;
}

sub address ($self, $i) { '127.0.0.' . (10 + $i) }

# whom one may ask without waiting for who stands still
sub awake ($self) { grep { $_->alive && !$_->{stopped} } @{$self->nodes} }

sub ask ($self, $node, @command) { return $node->alive && !$node->{stopped} ? eval { scalar $node->cli(@command) } : undef }

sub role ($self, $node) { return ($self->ask($node, 'ROLE') // [''])->[0] }

sub hang ($self, $node) { $node->{stopped} = 1; $node->pause }
sub wake ($self, $node) { $node->{stopped} = 0; $node->cont }

# as kill -9 of the machine, all but its disk
sub crash ($self, $node) { $node->kill; return $node }

sub data ($self, $node) { path($self->t->dir, $node->name, 'appendonlydir') }

sub remember ($self, $node) {
    my $copy = path($self->t->dir, $node->name . '.before');
    $copy->remove_tree;
    # it may write a new file meanwhile
    system('cp', '-r', $self->data($node), $copy) == 0 or die "cp: $?";
    return $copy;
}

sub put_back ($self, $node, $copy) {
    $self->data($node)->remove_tree;
    system('mv', $copy, $self->data($node)) == 0 or die "mv: $?";
}

# all processes
sub servers ($self) { @{$self->nodes}, $self->way }
sub alive ($self) { scalar grep { $_->alive } @{$self->nodes} }

=head2 kinds

All kinds of faults there are.

=cut

sub kinds ($self) {qw(failover kill hang cut drop split slow old)}

# of replicas when a primary is slow, ms
has late => 60;

sub serves ($self, $node) { sub ($tenant) {1} }

# how many lines were acknowledged so far
has made => sub { sub {0} };

sub fault ($self, $kind, $old = $self->victim) {
    my $i   = $old->{index};
    my %fault = (what => $kind, old => $old, there => $self->other_than($old), mend => sub { });

    # whoever else is in the cluster, or watches
    my @others = ((map { $self->address($_) } grep { $_ != $i } 0 .. $#{$self->nodes}), '127.0.0.2');
    my $part   = sub (@rules) {
        $self->way->rules(@rules);
        $fault{mend} = sub { $self->way->rules };
    };

    if ($kind eq 'failover') { $self->ask_failover($old) }
    elsif ($kind eq 'hang') {
        $self->hang($old);
        $fault{mend} = sub { $self->wake($old) };
    }
    elsif ($kind eq 'cut' || $kind eq 'drop') { $part->({to => $self->ways_of($old), do => $kind}, {from => [$self->address($i)], do => $kind}) }
    elsif ($kind eq 'split') { $part->({to => $self->ways_of($old), from => \@others, do => 'drop'}, {from => [$self->address($i)], do => 'drop'}) }
    else {
        my $copy = $kind =~ /^(?:old|past)$/ && $self->remember($old);
        $part->({to => $self->ways_of($old), from => [grep { $_ ne '127.0.0.2' } @others], do => 'delay', ms => $self->late, answers => 1}) if $kind eq 'slow';
        $self->t->wait_for($self->_meanwhile, 60, 'what is acknowledged meanwhile') if $kind =~ /^(?:slow|old|past)$/;
        $self->crash($old);
        $self->way->rules;
        my $back = sub { $self->put_back($old, $copy) if $copy; $self->back($old, $kind ne 'kill') };
        $fault{mend} = $back if $kind ne 'past';
        if ($kind eq 'past') {
            # Sentinels, or the others of a cluster, may promote another one all the same
            my $other = $fault{there};
            $fault{again} = 1;
            $back->();
            $fault{there} = sub { $self->role($old) eq 'master' ? $old : $other->() };
        }
    }

    return \%fault;
}

# a second, and something that is to be lost
sub _meanwhile ($self) {
    my ($until, $had) = (Time::HiRes::time() + 1, $self->made->());
    return sub { Time::HiRes::time() > $until && $self->made->() > $had + 3 };
}

1;
