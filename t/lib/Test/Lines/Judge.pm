package Test::Lines::Judge;
use Mojo::Base -base, -signatures;

use Compress::Zlib ();
use List::Util qw(max min sum0);

=head1 NAME

Test::Lines::Judge - whether billing, lines, numbers and operations agree

=head1 SYNOPSIS

    my $judge = Test::Lines::Judge->new(redis => $t->redis, sandbox => $t->sandbox);

    is_deeply [$judge->findings], [];
    is_deeply [$judge->findings(except => ['hint'])], [];      # with a comment that says why

=head1 DESCRIPTION

Reads all that is in Redis and all that is in billing's books, and knows
nothing of how either came about. Ask only once all is at rest.
C<deployment> is that of C<lines_billing>; C<left>, by tenant ("w:one"), since
when it is deleted, in seconds of billing's clock.

Money is counted for each invoice: what was paid, by whatever means; given back
are the refunds that neither failed nor were canceled, each once, though a
credit note lists them again, and what else issued credit notes gave back, to
the balance or out of band; what a dispute took is gone.

=head2 findings

A sentence each, after its kind:

    live       a line that runs has no live subscription
    paid       a line that runs is not paid for, or that was given back
    suspended  a line runs though its subscription is not paid, or the reverse
    ends       a subscription outlives its line
    orphan     a live subscription has no line
    kept       money was kept for what came to nothing
    over       more was given back than was paid
    double     one subscription for two lines, two for one
    place      an end that holds a place, a line that holds none
    counter    a tenant counts other places than its lines hold
    pending    who waits for a payment, and who is said to
    number     numbers, lines, tickets and the inventory's sets
    window     purchases in the windows, and lines
    operation  unfinished, stuck, lost
    hint       unfinished, and nobody will look
    record     records that do not know each other

=cut

has [qw(redis sandbox)];
has deployment => 'test';
has left       => sub { {} };

my %GONE   = map { ($_ => 1) } qw(canceled incomplete_expired);
my %GOOD   = map { ($_ => 1) } qw(active trialing);
my %UNPAID = map { ($_ => 1) } qw(past_due unpaid paused);

sub findings ($self, %options) {
    my %except = map { ($_ => 1) } @{$options{except} // []};

    local $self->{found} = [];
    local $self->{r}     = $self->_redis;
    local $self->{b}     = $self->_billing;

    $self->_lines;
    $self->_subscriptions;
    $self->_tenants;
    $self->_operations;
    $self->_numbers;

    return map { "$_->[0]: $_->[1]" } grep { !$except{$_->[0]} } @{$self->{found}};
}

sub _found ($self, $kind, $text) { push @{$self->{found}}, [$kind, $text]; return }


# All of it, by tenant: t, lines, line, op, ops, pending, win, settled, ticket; and inv, due, ix, tenants, prov.

sub _redis ($self) {
    my $client = $self->redis->client;
    my %r      = (tenant => {}, inv => {}, due => {}, ix => {}, tenants => [], prov => []);

    my $get = sub ($command, $key, $put, @args) {
        $client->$command($key, @args, sub ($reply, $error) { $put->($reply) if !defined $error && defined $reply });
    };

    my %zset = (lines => 1, win => 1, tickets => 1);

    for my $key ($client->keys('lines:*')) {
        if ($key =~ /^lines:\{([wa]:[^}]+)\}:(rec|line|op|ticket):(.+)$/) {
            my ($tenant, $what, $id) = ($1, $2 eq 'rec' ? 'line' : $2, $3);
            $get->(hgetall => $key, sub ($reply) { $r{tenant}{$tenant}{$what}{$id} = {@$reply} if @$reply });
        }
        elsif ($key =~ /^lines:\{([wa]:[^}]+)\}:(t|ops|pending|lines|win|settled)$/) {
            my ($tenant, $what) = ($1, $2);
            $what =~ /^(?:t|settled)$/ ? $get->(hgetall => $key, sub ($reply) { $r{tenant}{$tenant}{$what} = {@$reply} })
              : $what eq 'ops'     ? $get->(smembers => $key, sub ($reply) { $r{tenant}{$tenant}{ops} = $reply })
              : $what eq 'pending' ? $get->(get => $key, sub ($reply) { $r{tenant}{$tenant}{pending} = $reply })
              :                      $get->(zrange => $key, sub ($reply) { $r{tenant}{$tenant}{$what} = $reply }, 0, -1);
        }
        elsif ($key =~ /^lines:\{inv\}:(\w+)$/) {
            my $what = $1;
            $what =~ /^(?:numbers|operations)$/
              ? $get->(hgetall => $key, sub ($reply) { $r{inv}{$what} = {@$reply} })
              : $get->(zrange => $key, sub ($reply) { $r{inv}{$what} = {map { ($_ => 1) } @$reply} }, 0, -1);
        }
        elsif ($key =~ /^lines:\{due:(\d+)\}$/) {
            my $shard = $1;
            $get->(zrange => $key, sub ($reply) { $r{due}{$shard} = {map { ($_ => 1) } @$reply} }, 0, -1);
        }
        elsif ($key =~ /^lines:\{ix:(.+)\}$/) {
            my $id = $1;
            $get->(get => $key, sub ($reply) { $r{ix}{$id} = $reply });    # of a customer it is a set, and none of ours
        }
        elsif ($key eq 'lines:{tenants}') { $get->(smembers => $key, sub ($reply) { $r{tenants} = $reply }) }
        elsif ($key eq 'lines:{prov}')    { $get->(zrange => $key, sub ($reply) { $r{prov} = $reply }, 0, -1) }
    }

    $client->wait_all_responses;
    $client->quit;

    return \%r;
}


# The subscriptions of the deployment by id, each with its invoices, and these with their money.

sub _billing ($self) {
    my $books = $self->sandbox->books;
    my (%subscription, %invoice, %invoice_of, %listed);

    $invoice_of{$_->{id}} = $_->{invoice} for @{$books->{payment}};

    for my $i (@{$books->{invoice}}) {
        my $due = $i->{total} - $i->{pre_payment_credit_notes_amount};
        $invoice{$i->{id}} = {%$i, paid => $i->{status} eq 'paid' ? $due : $i->{amount_paid}, back => 0, disputed => 0};
    }

    for my $refund (@{$books->{refund}}) {
        $listed{$refund->{id}} = 1;
        next if $refund->{status} =~ /^(?:failed|canceled)$/;
        my $i = $invoice{$invoice_of{$refund->{charge}}};
        $i->{back} += $refund->{amount};
        push @{$i->{refunded}}, $refund->{created};
    }

    # what of a note was no refund; its refunds are in the other list
    for my $note (grep { $_->{status} eq 'issued' } @{$books->{credit_note}}) {
        my $refunded = sum0 map { $_->{amount_refunded} } @{$note->{refunds}};
        $invoice{$note->{invoice}}{back} += $note->{post_payment_amount} - $refunded;
        $invoice{$note->{invoice}}{back} += $_->{amount_refunded} for grep { !$listed{$_->{refund}} } @{$note->{refunds}};
    }

    for my $dispute (@{$books->{dispute}}) {
        $invoice{$invoice_of{$dispute->{charge}}}{disputed} += $dispute->{amount} if $dispute->{status} !~ /^(?:warning_|won$|prevented$)/;
    }

    for my $s (@{$books->{subscription}}) {
        my $meta = $s->{metadata};
        next unless ($meta->{lines_deployment} // '') eq $self->deployment && length($meta->{tenant} // '');
        my $line = $meta->{line_request} // $meta->{operation} // '';
        $subscription{$s->{id}} = {%$s, tenant => $meta->{tenant}, line => $line, live => !$GONE{$s->{status}}, invoices => []};
    }

    # the newest first, as all lists are
    for my $i (map { $invoice{$_->{id}} } @{$books->{invoice}}) {
        my $s = $subscription{$i->{parent}{subscription_details}{subscription} // ''} or next;
        $i->{net} = $i->{paid} - $i->{back} - $i->{disputed};

        # what people gave back outside of billing
        my $settled = $self->{r}{tenant}{$s->{tenant}}{settled} // {};
        my $amount  = $settled->{$i->{id}} || 0;
        my $until   = $settled->{$s->{id}} || 0;
        my $outside = $amount eq 'all' || ($i->{status_transitions}{paid_at} // $i->{created}) <= $until ? $i->{net} : $amount;
        $i->{net} -= min(max($i->{net}, 0), $outside);
        push @{$s->{invoices}}, $i;
        $s->{$_} += $i->{$_} for qw(paid back disputed net);
    }

    return \%subscription;
}

sub _money ($s) {
    my %of = map { ($_ => $s->{$_} // 0) } qw(paid back disputed);
    return "paid $of{paid}, given back $of{back}" . ($of{disputed} ? ", disputed $of{disputed}" : '');
}


# What a line is, for all that follows: awaiting, runs, failed, canceled, or ended (released, or its subscription ended).

sub _state ($h) {
    my %has = map { ($_ => length($h->{$_} // '')) } qw(lapsed ended released);

    return $h->{status} if $h->{status} =~ /^(?:failed|canceled)$/;
    return 'ended'      if $has{released} || ($has{lapsed} && $has{ended});
    return $h->{status} eq 'awaiting_payment' ? 'awaiting' : 'runs';
}

sub _lines ($self) {
    for my $tenant (sort keys %{$self->{r}{tenant}}) {
        my $lines = $self->{r}{tenant}{$tenant}{line} // {};

        for my $id (sort keys %$lines) {
            my $h = $lines->{$id};

            if (!length($h->{status} // '')) {
                $self->_found(record => "line $id of $tenant has no status");
                next;
            }

            $h->{state} = _state($h);
            $h->{who}   = "line $id of $tenant ($h->{status}, $h->{payment}" . ($h->{state} eq 'ended' ? ', ended' : '') . ')';
            $self->_line($tenant, $id, $h);
        }
    }
}

sub _line ($self, $tenant, $id, $h) {
    my ($state, $who) = @$h{qw(state who)};
    my $sub   = $h->{subscription} // '';
    my $s     = $self->{b}{$sub};
    my $place = $h->{place} // '';
    my $runs  = $state eq 'runs';

    $self->_found(place => "$who holds no place") if $state =~ /^(?:awaiting|runs)$/ && !length $place;
    $self->_found(place => "$who holds a place")  if $state !~ /^(?:awaiting|runs)$/ && length $place;
    $self->_found(record => "$who is not known by its id") if ($self->{r}{ix}{$id} // '') ne $tenant;

    $self->_found(hint => "$who is in no list of the provisioner's")
      if $runs && $h->{status} eq 'provisioning' && !grep { $_ eq "$tenant $id" } @{$self->{r}{prov}};

    # what the plan includes costs nothing
    if ($runs && $place eq 'included') {
        $self->_found(ends => "$who is included, and has a live subscription: $sub") if $s && $s->{live};
        return;
    }

    $self->_found(double => "$who has the subscription of another line: $sub ($s->{tenant} $s->{line})")
      if $s && ($s->{tenant} ne $tenant || $s->{line} ne $id);

    return $self->_runs($h, $s) if $runs;

    # what it was paid is kept for an end alone, but of one that ended as its money went back; other subscriptions of the line are looked at with them
    return unless $s;

    $self->_found(ends => "$who has a live subscription: $sub ($s->{status})") if $s->{live} && $state ne 'awaiting';
    my $back = length($h->{ended} // '') && ($h->{reason} // '') eq 'payment_refunded';
    $self->_found(kept => "$who is not to be paid for: $sub, " . _money($s)) if $s->{net} && ($state ne 'ended' || $back);
    $self->_found(pending => "$who has a subscription that is paid for: $sub ($s->{status})") if $state eq 'awaiting' && $GOOD{$s->{status}};
}

sub _runs ($self, $h, $s) {
    my $who = $h->{who};
    my $sub = $h->{subscription} // '';

    return $self->_found(live => "$who has no subscription: $sub") unless $s;

    $self->_found(live => "$who has no live subscription: $sub ($s->{status})") unless $GOOD{$s->{status}} || $UNPAID{$s->{status}};

    # nothing has to be paid for what costs nothing, or what somebody made so
    my ($paid) = grep { $_->{status} eq 'paid' } @{$s->{invoices}};
    $self->_found(paid => "$who was not paid for: $sub, " . _money($s))
      if !$paid || ($paid->{paid} && $paid->{net} <= 0) || ($s->{paid} && $s->{net} <= 0);

    my $suspended = length($h->{suspended} // '');
    $self->_found(suspended => "$who is suspended, and its subscription is $s->{status}: $sub") if $suspended && $GOOD{$s->{status}};
    $self->_found(suspended => "$who is not suspended, and its subscription is $s->{status}: $sub") if !$suspended && $UNPAID{$s->{status}};

    return;
}


# The other way round: each subscription has its line, or is gone, and so is its money.

sub _subscriptions ($self) {
    my %known = map { ($_ => 1) } @{$self->{r}{tenants}};
    my (%holder, %lives);

    for my $tenant (sort keys %{$self->{r}{tenant}}) {
        my $lines = $self->{r}{tenant}{$tenant}{line} // {};
        push @{$holder{$lines->{$_}{subscription} // ''}}, $lines->{$_} for sort keys %$lines;
    }

    for my $id (sort keys %{$self->{b}}) {
        my $s       = $self->{b}{$id};
        my @holders = @{$holder{$id} // []};
        my $whose   = "subscription $id ($s->{status}) of $s->{tenant} $s->{line}";

        $self->_found(over => "$whose: " . _money($s)) if ($s->{net} // 0) < 0;
        $self->_found(double => "$whose is that of " . join ' and of ', map { $_->{who} } @holders) if @holders > 1;
        push @{$lives{"$s->{tenant} $s->{line}"}}, $id if $s->{live};

        next if @holders;

        my $why = $self->{r}{tenant}{$s->{tenant}}{line}{$s->{line}} ? 'is not that of its line' : 'has no line';
        $self->_found(orphan => "$whose $why") if $s->{live};

        # of a tenant that left, what was paid afterwards is not to be kept, and nothing else is to be given back then
        my $left  = $known{$s->{tenant}} ? undef : $self->left->{$s->{tenant}};
        my $since = $known{$s->{tenant}} ? 0 : $left // 'inf';
        my $paid  = sub ($i) { $i->{status_transitions}{paid_at} // $i->{created} };
        my $kept  = sum0 map { $_->{net} } grep { $paid->($_) >= $since } @{$s->{invoices}};
        $self->_found(kept => "$whose $why: " . _money($s)) if $kept;
        $self->_found(over => "$whose $why, and got back what it paid before it left: " . _money($s))
          if defined $left && grep { $paid->($_) < $left && grep { $_ >= $left } @{$_->{refunded} // []} } @{$s->{invoices}};
    }

    $self->_found(double => "$_ has live subscriptions @{$lives{$_}}") for grep { @{$lives{$_}} > 1 } sort keys %lives;
}


# What each tenant counts, and whom it waits for.

sub _tenants ($self) {
    my %known = map { ($_ => 1) } @{$self->{r}{tenants}};

    for my $tenant (sort keys %{$self->{r}{tenant}}) {
        my $r     = $self->{r}{tenant}{$tenant};
        my $lines = $r->{line} // {};
        my %listed = map { ($_ => 1) } @{$r->{lines} // []};
        my %places;

        if (!$known{$tenant} && %$lines) { $self->_found(record => "$tenant has lines, and is none of the tenants") }

        $self->_found(record => "$tenant lists line $_, which is not there") for grep { !$lines->{$_} } sort keys %listed;
        $self->_found(record => "$tenant does not list line $_")             for grep { !$listed{$_} } sort keys %$lines;

        for my $h (grep { length($_->{place} // '') } values %$lines) {
            $places{$h->{place} eq 'account' ? 'account_lines' : "$h->{channel}_$h->{place}"}++;
        }

        for my $name (qw(phone_included phone_paid email_included email_paid account_lines)) {
            my ($is, $should) = ($r->{t}{$name} || 0, $places{$name} || 0);
            $self->_found(counter => "$tenant counts $is of $name, and has $should") if $is != $should;
        }

        my $pending  = $r->{pending};
        my @awaiting = grep { ($lines->{$_}{state} // '') eq 'awaiting' } sort keys %$lines;
        $self->_found(pending => "$tenant is blocked by line $pending, which does not await payment")
          if defined $pending && !grep { $_ eq $pending } @awaiting;
        $self->_found(pending => "$lines->{$_}{who} is not what its workspace waits for") for grep { $_ ne ($pending // '') } @awaiting;

        next unless $tenant =~ /^a:/;

        my %window = map { ($_ => 1) } @{$r->{win} // []};
        my %ops    = map { ($_ => 1) } @{$r->{ops} // []};
        my $month  = (time - 30 * 86400) * 1000;
        $self->_found(window => "$_ of $tenant has a place in the window, and no line")
          for grep { !$lines->{$_} && !$ops{$_} } sort keys %window;
        $self->_found(window => "$lines->{$_}{who} is not in the window")
          for grep { !$window{$_} && ($lines->{$_}{created} // 0) > $month } sort keys %$lines;
    }
}


# What is unfinished waits for a payment, and there is a hint to it.

sub _operations ($self) {
    for my $tenant (sort keys %{$self->{r}{tenant}}) {
        my $r   = $self->{r}{tenant}{$tenant};
        my %ops = map { ($_ => 1) } @{$r->{ops} // []};

        for my $id (sort keys %ops) {
            my $o = $r->{op}{$id};

            if (!$o || ($o->{step} // '') eq 'done') {
                $self->_found(operation => "operation $id of $tenant is among the unfinished, and is " . ($o ? 'done' : 'not there'));
                next;
            }

            my $what = "operation $id of $tenant ($o->{kind})";
            $self->_found(operation => "$what is in $o->{step}" . ($o->{stuck} ? ", stuck: $o->{stuck}" : ''))
              unless $o->{kind} eq 'request' && $o->{step} eq 'await' && !$o->{wish} && !$o->{stuck};
            $self->_found(hint => "$what is unfinished, and has no hint")
              unless $self->{r}{due}{Compress::Zlib::crc32($id) % 16}{"$tenant $id"};
        }

        for my $id (sort keys %{$r->{op} // {}}) {
            my $step = $r->{op}{$id}{step} // '';
            $self->_found(operation => "operation $id of $tenant is in $step, and not among the unfinished") if $step ne 'done' && !$ops{$id};
        }

        for my $id (sort keys %{$r->{line} // {}}) {
            my $h = $r->{line}{$id};
            $self->_found(operation => "$h->{who} is waited for by nobody") if ($h->{state} // '') eq 'awaiting' && !$ops{$id};
        }
    }
}


# A number is in one state and one set, and who holds it knows it.

sub _numbers ($self) {
    my $inv     = $self->{r}{inv};
    my %numbers = %{$inv->{numbers} // {}};
    my %holds   = %{$inv->{operations} // {}};
    my (%holders, %entry);

    for my $tenant (sort keys %{$self->{r}{tenant}}) {
        my $r = $self->{r}{tenant}{$tenant};

        for my $id (sort keys %{$r->{line} // {}}) {
            my $h = $r->{line}{$id};
            push @{$holders{$h->{number}}}, [$id, $tenant, "line $id of $tenant"] if length($h->{number} // '') && !length($h->{released} // '') && !length($h->{ended} // '');
        }

        for my $id (sort keys %{$r->{ticket} // {}}) {
            my $h = $r->{ticket}{$id};
            push @{$holders{$h->{number}}}, ["ticket.$id", $tenant, "ticket $id of $tenant"]
              if ($h->{status} // '') eq 'FULFILLED' && length($h->{number} // '');
        }
    }

    $self->_found(number => "number $_ is held by " . join ' and ', map { $_->[2] } @{$holders{$_}}) for grep { @{$holders{$_}} > 1 } sort keys %holders;

    for my $number (sort keys %numbers) {
        my ($state, $worker, $op, $tenant) = split / /, $numbers{$number};
        $entry{$number} = $state;

        # without a worker it is the operator's own, and in no set
        my $own = !length($worker // '');

        for my $set (qw(free leased assigned quarantined)) {
            my $in = $inv->{$set}{$number};
            $self->_found(number => "number $number is $state, and is " . ($in ? '' : 'not ') . "in the set of those that are $set")
              if !!$in != ($state eq $set && !$own);
        }

        $self->_found(number => "number $number is not in the set of all") unless $inv->{all}{$number} || $own;

        if ($state =~ /^(?:leased|assigned)$/) {
            $self->_found(number => "number $number is $state to $op, which holds " . ($holds{$op} // 'none')) if ($holds{$op} // '') ne $number;
        }

        $self->_found(number => "number $number is leased by $op") if $state eq 'leased';
        $self->_found(hint => "number $number is leased by $op, and nobody will look") if $state eq 'leased' && !$inv->{leases}{"$tenant $op"};

        my ($holder) = grep { $_->[0] eq ($op // '') && $_->[1] eq ($tenant // '') } @{$holders{$number} // []};
        $self->_found(number => "number $number is assigned to $op of $tenant, which is no line and no ticket of it") if $state eq 'assigned' && !$holder;
    }

    for my $set (qw(free leased assigned quarantined all)) {
        $self->_found(number => "number $_ is in the set of $set, and is not there") for grep { !$numbers{$_} } sort keys %{$inv->{$set} // {}};
    }

    for my $op (sort keys %holds) {
        my (undef, undef, $holder) = split / /, $numbers{$holds{$op}} // '';
        $self->_found(number => "$op is said to hold number $holds{$op}, and does not") if ($holder // '') ne $op;
    }

    # a ticket's may be none of the inventory's
    for my $number (sort keys %holders) {
        my @mine = grep { $numbers{$number} || $_->[0] !~ /^ticket\./ } @{$holders{$number}};
        my ($state, undef, $op, $tenant) = split / /, $numbers{$number} // 'unknown';
        $self->_found(number => "number $number of $_->[2] is $state" . (length($op // '') ? " to $op of $tenant" : ''))
          for grep { $state ne 'assigned' || $_->[0] ne $op || $_->[1] ne $tenant } @mine;
    }
}

1;
