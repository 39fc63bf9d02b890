package Test::Lines::Lab;
use Mojo::Base 'Test::Lines::Account', -signatures;

use List::Util qw(max);
use Mojo::IOLoop;
use Test::Lines qw(wait_for);
use Test::Lines::Chaos::Confirms;
use Test::Lines::Chaos::Requests;
use Test::Lines::Util qw(every);
use Time::HiRes qw(time);

=head1 NAME

Test::Lines::Lab - the laboratory: nodes of Lines and their clients, while Redis fails over

=head1 SYNOPSIS

    my $lab = Test::Lines::Lab->new(t => $t, kind => 'sentinel')->open;

    $lab->through('kill');       # a fault, and what becomes of it; again and again
    $lab->cut_clients;
    $lab->close;                 # clients end, and all comes to rest

    is_deeply [$lab->broken], [];
    print $lab->table;

=head1 DESCRIPTION

Two nodes of Lines with C<< replicas => 1 >> (0: without) before servers of a
C<kind> (L<Test::Lines::Lab::Sentinel>, L<Test::Lines::Lab::Cluster>), with the
sandbox as billing. Workspaces request, pay and cancel lines, others make
included ones, accounts confirm (L<Test::Lines::Chaos>); and of each node it is
asked without a pause whether it reads and whether its gateway lets through.

=head2 bound

How long both may be missing once the new primary is there: 2 s, times C<slow>.

=head2 brief

Sentinels look each second, not each ten, who follows whom: of a server that
comes back they know sooner. When a primary is given up is as ever.

=head2 broken

What may not be, a sentence each. Ask once, after C<close>.

=cut

has kind        => 'sentinel';
has replicas    => 1;
has bound       => sub ($self) { 2 * $self->t->slow };
has webhooks    => 1;
has quarantine  => '1s';
has agent       => 'daily=6 monthly=6';
has options     => '';
has crowd       => 4;
has operations  => 'sweep=500ms retry=500ms due=3s lease=7s absent=1s poll=2s,4s every=5s reconcile=1s budget=1500ms audit=20ms pass=10s';
has rows        => sub { [] };
has breaks      => sub { [] };
has server_options => sub { {} };
has brief       => 0;

has redis => sub ($self) {
    my $class = 'Test::Lines::Lab::' . ucfirst $self->kind;
    eval "require $class; 1" or die $@;
    return $class->new(t => $self->t, name => 'lab-' . $self->kind, late => $self->replicas ? 60 : 400, made => sub { $self->lines_made }, dir => $self->t->dir, server_options => $self->server_options, brief => $self->brief)->start;
};

sub plans ($self) { $self->SUPER::plans . "lines_plan bulk phone included=100000;\n" }

sub redis_options ($self) { ($self->replicas ? 'replicas=' . $self->replicas . ' wait=500ms ' : '') . $self->options }

=head2 open

Servers, nodes, tenants, and all clients at work.

=cut

sub open ($self) {
    for (1 .. 2) {
        my $nginx = $self->nginx(workers => 2, redis_options => $self->redis_options, server => <<"END");
        location = /gateway { lines_auth workspace; lines_rate_limit rate=1000r/s burst=1000 name=gateway sync=each; return 204; }
END
        push @{$self->{nodes}}, $nginx;
        # a node says so when it hears nothing of servers that are away
        $nginx->allow(qr/is stuck|gets no answer/);
    }
    $self->_workers;

    wait_for(sub { !grep { my $a = $_->get('/_lines/ready'); $a->status != 200 || $a->body =~ /too few replicas|partial/ } @{$self->{nodes}} }, 60, 'ready');

    my @common = (shop => $self, nginxes => $self->{nodes});
    my $n      = $self->crowd;
    $self->{requests} = Test::Lines::Chaos::Requests->new(@common);
    $self->{included} = Test::Lines::Chaos::Requests->new(@common);
    $self->{confirms} = Test::Lines::Chaos::Confirms->new(@common);

    $self->sandbox->webhooks(duplicate => 1, shuffle => 1, delay_ms => 100);
    $self->sandbox->customer("cus_$_") for 0 .. 5;
    my @paid     = map { {id => "paid$_", key => $self->workspace("paid$_")} } 0 .. 3;
    my @included = map { {id => "bulk$_", key => $self->workspace("bulk$_", plan => 'bulk'), body => {channelType => 'phone', phone => undef, email => undef}} } 0 .. 3;
    my @accounts = map { $self->account("buys$_", customer => "cus_$_", limits => $_ % 2 ? {} : {api_provision_daily => 10_000, api_provision_monthly => 10_000}) } 0 .. 5;
    $self->numbers(200);
    for my $account (@accounts) { $account->{tokens} = [map { $self->issue($account) } 1 .. 10] }
    $self->{accounts} = \@accounts;

    # a second for each of them, of any of the servers
    $self->{read} = [map { {name => "read$_", key => $self->workspace("probe$_")} } 0 .. 5];

    $self->{clients}{requests} = [map { {workspace => $paid[$_ % @paid]} } 1 .. $n];
    $self->{clients}{included} = [map { {workspace => $included[$_ % @included]} } 1 .. max 3, $n / 2];
    $self->{clients}{confirms} = [map { {account => $accounts[$_ % @accounts]} } 1 .. $n];
    $self->{probes}            = [map { my $node = $_; map { {node => $node, what => $_, n => 0} } qw(read gateway) } @{$self->{nodes}}];

    return $self->go_on;
}

sub _workers ($self) { $self->{workers} = {map { ($_ => 1) } map { $_->pids } @{$self->{nodes}}} }

=head2 go_on

    $lab->go_on(replicas => 0);

After C<close>: clients are at work again, the nodes with other C<replicas>.

=cut

sub go_on ($self, %options) {
    if (defined $options{replicas}) {
        $self->replicas($options{replicas});
        $_->redis_options($self->redis_options)->reload(wait_old => 1) for @{$self->{nodes}};
        $self->_workers;
    }

    my ($had, $now) = ($self->made, time);
    $self->{over} = 0;
    $_->{asked} = [], $self->_ask($_) for @{$self->{probes}};
    $self->{$_}->begin(@{$self->{clients}{$_}}) for qw(requests included confirms);
    wait_for(every(0.1, sub { $self->made > $had + 4 && $self->_good_since($now) }), 60, 'clients are served');

    return $self;
}

sub chaos ($self) { @$self{qw(requests included confirms)} }

# lines that were acknowledged: the first time that each was
sub _lines ($self) {
    my $lines = $self->{lines} //= {};

    for my $chaos ($self->chaos) {
        my $promised = $chaos->promised;
        for my $n (($chaos->{counted} // 0) .. $#$promised) { $lines->{$promised->[$n]{line}} //= $promised->[$n] }
        $chaos->{counted} = @$promised;
    }

    return $lines;
}

sub lines_made ($self) { scalar keys %{$self->_lines} }

# when the first line was acknowledged that was made since, of a tenant that these servers have by now; not what is only told again
sub _made_since ($self, $from, $serves) {
    for my $one (sort { $a->{at} <=> $b->{at} } grep { $_->{at} >= $from } values %{$self->_lines}) {
        my $tenant = $one->{workspace} ? "w:$one->{workspace}" : "a:$one->{account}{id}";
        next if !$serves->($tenant);

        # one may be on its way to another primary, or gone
        my $line = eval { $self->redis->line($tenant, $one->{line}) };
        $self->{unread} = $@ if !$line;
        return $one->{at} if $line && ($line->{created} || 0) >= $from * 1000;
    }

    return;
}

# what was acknowledged, some of it again
sub made ($self) { my $n = 0; $n += @{$_->promised} for $self->chaos; return $n }

# a question each tenth of a second, to a node, of tenants in turn, whether the ones before are answered or not
sub _ask ($self, $probe) {
    return if $self->{over};
    Mojo::IOLoop->timer(0.1 => sub { $self->_ask($probe) });

    my $tenant = $self->{read}[$probe->{n}++ % @{$self->{read}}];
    my $path   = $probe->{what} eq 'read' ? '/api/line-requests?limit=1' : '/gateway';
    my $one    = {began => time, tenant => $tenant->{name}};
    push @{$probe->{asked}}, $one;

    $probe->{node}->get_p($path, $probe->{node}->bearer($tenant->{key}))->then(sub ($answer) {
        @$one{qw(ended ok)} = (time, $answer->status =~ /^20[04]$/ ? 1 : 0);
        $self->{answers}{$probe->{what}}{$answer->status}++;
        $self->_break("$probe->{what}: " . $answer->to_string) if !$one->{ok} && ($answer->status != 503 || !$answer->header('Retry-After'));
    })->catch(sub ($error) { $self->_break("$probe->{what}: $error") });
    return;
}

sub _break ($self, $what) { push @{$self->breaks}, $what; return }

sub _forget ($self) {
    $_->{asked} = [grep { !$_->{ended} } @{$_->{asked}}] for @{$self->{probes}};
    return time;
}

# when all that was asked from some instant on was answered well, of each node and each tenant, and that since so long: the instant
sub _good_since ($self, $from, $for = 0) {
    my $back = $from;

    for my $probe (@{$self->{probes}}) {
        my @asked = grep { $_->{began} >= $from } @{$probe->{asked}};
        pop @asked while @asked && !$asked[-1]{ended};
        return if !@asked || grep { !$_->{ended} } @asked;

        my ($bad, %tenants) = -1;
        $asked[$_]{ok} or $bad = $_ for 0 .. $#asked;
        my @good = @asked[$bad + 1 .. $#asked] or return;
        $tenants{$_->{tenant}}++ for @good;
        return if keys %tenants < @{$self->{read}} || $good[-1]{began} - $good[0]{began} < $for;
        $back = max $back, $good[0]{ended};
    }

    return $back;
}

=head2 through

    my $row = $lab->through('kill');

One fault: until there is another primary, reads and gateway are back, all
servers follow, and lines are made on that primary. Returns, and keeps for the
table, what it was and how long it took: C<wrote> until the first one of these,
of a cluster with C<replicas> only once the new primary has one again.

=cut

sub through ($self, $kind) {
    my $redis = $self->redis;
    my $mark  = $redis->mark;
    my $made  = $self->lines_made;
    my $began = $self->_forget;
    my $fault = $redis->fault($kind);
    my $done  = time;
    my $new   = wait_for(sub { $fault->{there}->() }, 60, "$kind: a new primary");
    my $there = time;

    my $back = eval { wait_for(every(0.1, sub { $self->_good_since($there, 0.5) }), 30, 'reads and the gateway to be back') };
    my $took = $back ? $back - $there : undef;
    $self->_break("$kind: reads and gateway were not back for 30 s: " . $self->_missing($there)) if !$back;
    $self->_break(sprintf '%s: reads and gateway were back after %.2f s: %s', $kind, $took, $self->_missing($there)) if $back && $took > $self->bound && !$fault->{again};

    # writes as well, in the end, wherever they are
    my $had = $self->lines_made;
    eval { wait_for(every(0.1, sub { $self->lines_made > $had + 2 }), 30, 'lines') } or $self->_break("$kind: no line was made for 30 s");

    $fault->{mend}->();
    $redis->settled;

    my $serves = $redis->serves($new);
    my $wrote  = eval { wait_for(every(0.1, sub { $self->_made_since($there, $serves) }), 30, 'lines there') };
    $self->_break("$kind: no line was made on the new primary for 30 s" . ($self->{unread} ? ", the last that cannot be read: $self->{unread}" : '')) if !$wrote;

    my $row = {what => $kind, from => $fault->{old}->name, to => $new->name, began => $began, there => $there, ended => time, promoted => $there - $done, back => $took,
        wrote => $wrote && $wrote - $there, made => $self->lines_made - $made, behind => $fault->{again} ? 0 : $redis->behind($mark, $fault->{old})};
    push @{$self->rows}, $row;
    return $row;
}

# who was refused, and what took longest
sub _missing ($self, $from) {
    my @said;
    for my $probe (@{$self->{probes}}) {
        my @asked = grep { $_->{began} >= $from && $_->{ended} } @{$probe->{asked}};
        my ($bad) = reverse grep { !$_->{ok} } @asked;
        push @said, sprintf '%s, %s%s: the slowest took %.2f s', $probe->{node}->name, $probe->{what},
          $bad ? sprintf(' of %s refused until %.2f s', $bad->{tenant}, $bad->{ended} - $from) : '', max 0, map { $_->{ended} - $_->{began} } @asked;
    }
    return join '; ', @said;
}

=head2 cut_clients

    $lab->cut_clients;

CLIENT KILL: a row without a failover.

=cut

sub cut_clients ($self) {
    my $began = $self->_forget;
    $self->redis->cut_clients;
    my $cut = time;
    my $back = eval { wait_for(every(0.1, sub { $self->_good_since($cut, 0.5) }), 30, 'reads and the gateway to be back') };
    $self->_break('CLIENT KILL: reads and gateway were not back for 30 s') if !$back;
    $self->_break(sprintf 'CLIENT KILL: reads and gateway were back after %.2f s', $back - $cut) if $back && $back - $cut > $self->bound;
    push @{$self->rows}, {what => 'CLIENT KILL', began => $began, there => $cut, back => $back && $back - $cut};
}

=head2 reshard

    $lab->reshard(16384);

Of a cluster: so many slots move while clients go on, the first time each primary's to the next one.

=cut

sub reshard ($self, $slots) {
    my $began = time;
    my $made  = $self->lines_made;
    my ($moved, $said) = $self->redis->reshard($slots);
    Test::More::diag(sprintf '%d slots moved in %.1f s: %s', $moved, time - $began, $said);
    my $done  = $self->_forget;
    my $back  = eval { wait_for(every(0.1, sub { $self->_good_since($done, 0.5) }), 30, 'reads and the gateway') };
    $self->_break("reshard: reads and gateway were not back for 30 s: " . $self->_missing($done)) if !$back;
    $self->redis->settled;
    push @{$self->rows}, {what => 'reshard', of => "$moved slots", began => $began, there => $done, ended => time, promoted => $done - $began, back => $back && $back - $done, made => $self->lines_made - $made};
    return $self->rows->[-1];
}

=head2 close

Clients end; all that is under way comes to its end.

=cut

sub close ($self) {
    $self->{over} = 1;
    $_->end for $self->chaos;
    $self->redis->settled;
    return $self;
}

=head2 end

Nodes and servers end, where another laboratory follows.

=cut

sub end ($self) {
    $_->quit for @{$self->{nodes}};
    $_->stop for $self->redis->servers;
    return $self;
}

=head2 lost

What was acknowledged, and is not there: since when, and whose.

=cut

sub lost ($self) { sort { $a->{at} <=> $b->{at} } map { ($_->lost, $_->can('revived') ? $_->revived : ()) } $self->chaos }

# what another replica alone acknowledged than the one that was promoted is nobody's promise; a moment before: the replica was late
sub _may_be_lost ($self, $one) { grep { $_->{behind} && $one->{at} > $_->{began} - 1 && $one->{at} < $_->{ended} } @{$self->rows} }

sub broken ($self, %options) {
    my @broken = @{$self->breaks};
    my @lost   = $self->lost;
    $self->{lost} = @lost;

    push @broken, map { 'lost: ' . ($_->{workspace} // $_->{account}{id}) . " $_->{line} " . ($_->{status} // '') . sprintf ' of %.3f', $_->{at} }
      grep { $self->replicas && !$self->_may_be_lost($_) } @lost;

    # what is decided by absence may take two minutes, and a pass of the auditor
    my (@wrong, %paid);
    eval {
        wait_for(every(0.5, sub {
            @wrong = $self->disagreements;

            # who has the link of a line that was lost may pay for it still, and gets it back; what was voided nobody can: it expires
            if (!$self->replicas) {
                my $sandbox = $self->sandbox;
                for my $s (map { /^orphan: subscription (\S+) \(incomplete\)/ && !$paid{$1}++ ? $1 : () } @wrong) {
                    my ($one) = grep { $_->{id} eq $s } @{$sandbox->books->{subscription}};
                    $sandbox->hand(DELETE => "/v1/subscriptions/$s") if $sandbox->pay($one->{latest_invoice})->{status} eq 'void';
                }
            }

            return !@wrong;
        }), $options{seconds} // 120, 'agreement');
    } or push @broken, @wrong;

    push @broken, map {"a window is above its limit: $_->{id}"} grep { $self->window($_) > 6 } grep { $_->{id} =~ /[13579]$/ } @{$self->{accounts}};
    push @broken, map {"a window was above its limit: $_->{used} of $_->{limit}"} @{$self->{confirms}->above};
    push @broken, map { @{$_->failed} } $self->chaos;
    push @broken, map {"a key of nobody: $_"} $self->redis->strangers;

    if ($self->replicas) {
        push @broken, map {"no end: $_"} $self->{confirms}->silent;

        # who was told what is lost then is told something else afterwards
        push @broken, map {"two answers: $_"} @{$self->{confirms}->contradictions} unless grep { $_->{behind} } @{$self->rows};
    }

    my %now = map { ($_ => 1) } map { $_->pids } @{$self->{nodes}};
    push @broken, map {"a worker died: $_"} grep { !$now{$_} } sort keys %{$self->{workers}};
    push @broken, map { $_->complaints } @{$self->{nodes}};

    return @broken;
}

=head2 table

What happened, a line each.

=cut

sub table ($self) {
    my $start = @{$self->rows} ? $self->rows->[0]{began} : 0;
    my $text  = sprintf "%8s  %-12s %-16s %9s %9s %9s %7s %7s\n", 'at', 'what', 'of', 'promoted', 'back', 'written', 'lines', 'behind';

    for my $row (@{$self->rows}) {
        $text .= sprintf "%8.1f  %-12s %-16s %9s %9s %9s %7s %7s\n", $row->{began} - $start, $row->{what},
          $row->{to} ? "$row->{from} > $row->{to}" : $row->{of} // '', (map { defined $row->{$_} ? sprintf '%.2f s', $row->{$_} : '' } qw(promoted back wrote)),
          $row->{made} // '', $row->{behind} || '';
    }

    my %all;
    for my $answers ($self->{answers}, map { $_->answers } $self->chaos) {
        for my $what (keys %$answers) { $all{$what}{$_} += $answers->{$what}{$_} for keys %{$answers->{$what}} }
    }
    for my $what (sort keys %all) { $text .= "$what: " . join(', ', map {"$_ $all{$what}{$_}"} sort keys %{$all{$what}}) . "\n" }

    return $text . sprintf "%d acknowledged, %s lost; worst time back %.2f s\n", $self->made, $self->{lost} // '?', max 0, map { $_->{back} // 30 } @{$self->rows};
}

1;
