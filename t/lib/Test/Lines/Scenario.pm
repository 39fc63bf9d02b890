package Test::Lines::Scenario;
use Mojo::Base 'Test::Lines::Account', -signatures;

use Compress::Zlib ();
use Digest::SHA qw(hmac_sha256_hex);
use Exporter 'import';
use Mojo::JSON qw(encode_json false);
use Test::Lines ();
use Test::Lines::Kill;
use Test::More ();

our @EXPORT_OK = qw(promise calm once);

=head1 NAME

Test::Lines::Scenario - what happens to money in the world, and how it must end

=head1 SYNOPSIS

    use Test::Lines::Scenario qw(promise);

    my $s     = Test::Lines::Scenario->new(t => $t);
    my $nginx = $s->nginx;

    promise 'the line comes back' => sub {
        my $line = $s->active_line;
        $s->sandbox->move($line->{subscription}, status => 'unpaid');
        $s->soon(sub { $s->is_shown($line, 'isActive', 0) }, 'it is suspended');
    };

    promise 'nothing is refunded' => sub { ... }, today => 'all of it is refunded';

    $t->done;

=head1 DESCRIPTION

A L<Test::Lines::Account>, and so a L<Test::Lines::Paid>, with webhooks, short
times and hands: what support does in billing's dashboard, a Redis that goes
back to what it was, a node whose writes are held up on their way.

=head2 promise

A subtest. What it waits for in vain, and what dies in it, fails it. With
C<today>, which says what happens instead, it is one that is to be done (TODO):
take that away with the mend.

Each is run with a kill at each of its steps as well (L<Test::Lines::Kill>,
C<make kills>), and then looked at by L<Test::Lines::Judge>, too: nobody has
bought twice, and nothing is kept, or live, that no line is for. C<< leaves => 1 >>
where that is what the scenario is about. With C<< held => 1 >> nobody is killed:
the scenario itself holds a worker up at one of its steps.

=head2 calm

    is $answer->status, 503, 'it is not known yet' if calm;

Whether nobody is killed. What a client is told at the moment, or how soon
something is so, is promised only then; how all ends is promised always.

=head2 once

    once(sub { $s->confirm(...) });

By a client that does not ask again, though a worker was killed: it is to be
left as it is then.

=cut

has webhooks   => 1;
has operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=1s poll=1s every=2s';

sub promise ($name, $code, %options) {
    no strict 'refs';
    local ${'main::TODO'} = $options{today} if defined $options{today};
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $kill = Test::Lines::Kill->killing;
    return if delete $options{held} && $kill;

    my $run = sub {
        Test::More->builder->subtest($name => sub {
            eval { $code->(); 1 } or Test::More::fail("it goes on: $@");
            $kill->judge(%options) if $kill;
        });
    };

    return $kill ? $kill->scenario($name, $run) : $run->();
}

sub calm () { !$ENV{LINES_KILL} }

sub once ($code) {
    local $Test::Lines::Kill::Nginx::once = 1;
    return $code->();
}

sub nginx ($self, %options) {
    my $kill = Test::Lines::Kill->killing or return $self->SUPER::nginx(%options);
    $kill->worlds->{$self} = $self;
    return $kill->node($self->SUPER::nginx($kill->options($self->t, %options)));
}

=head2 soon, rest, later

    $s->soon(sub { ... }, 'what must be so before long', $seconds);
    $s->rest('w:one');
    $s->later;

A check that polls (8 s by default, and longer where somebody is killed); and until a tenant has nothing under way
but what waits for a payment, and all events are delivered. What happens after later() is in a later second: billing
tells in seconds when it was paid.

=cut

sub soon ($self, $code, $what, $seconds = 8) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $seconds += 12 unless calm;
    return Test::More::ok(eval { Test::Lines::wait_for($code, $seconds, $what) }, $what);
}

sub rest ($self, $tenant, $seconds = 20) {
    $self->sandbox->wait_idle;
    $seconds += 12 unless calm;
    Test::Lines::wait_for(sub {
        for my $id (@{scalar $self->redis->cli('SMEMBERS', "lines:{$tenant}:ops")}) {
            my $op = $self->op($tenant, $id);
            return 0 if $op->{step} ne 'await' || $op->{lease_until} || $op->{wish};
        }
        return 1;
    }, $seconds, "$tenant to be at rest");
}

sub later ($self) {
    my $second = $self->redis->client->time->[0];
    Test::Lines::wait_for(sub { $self->redis->client->time->[0] > $second + 1 }, 5, 'a later second');
}

=head2 pending_line, paid_line, active_line, bought_line

A line of a new workspace that awaits payment, is paid for, is active; one that
a new account bought. Each a hash of tenant, name, key or account, line (its
id), subscription, invoice, and token.

=cut

my $count = 0;

sub pending_line ($self, %more) {
    my $name = $more{name} // 'ws' . ++$count;
    my $key  = $more{key}  // $self->workspace($name, %{$more{workspace} // {}});
    my $made = $self->request($key, %{$more{request} // {}});
    die 'request: ' . $made->to_string unless $made->status == 201;

    my $line = {name => $name, tenant => "w:$name", key => $key, line => $made->json('/line/_id')};
    @$line{qw(subscription invoice)} = @{$self->now_of($line)}{qw(subscription invoice)};
    return $line;
}

sub paid_line ($self, %more) {
    my $line = $self->pending_line(%more);
    $self->sandbox->pay($line->{invoice});
    $self->wait_record($line->{name}, $line->{line}, 'provisioning');
    return $line;
}

sub active_line ($self, %more) {
    my $line = $self->paid_line(%more);
    $self->rest($line->{tenant});
    $self->report($line, 'active');
    return $line;
}

sub bought_line ($self, %more) {
    my $name    = $more{name}    // 'ac' . ++$count;
    my $account = $more{account} // $self->account($name, %{$more{data} // {}});
    my $token   = $more{token}   // $self->token($account);
    my $answer  = $self->confirm($account, $token, key => $more{key} // 'k');
    Test::Lines::wait_for(sub {
        $answer->status !~ /^(?:409|503)$/ || !($answer = $self->confirm($account, $token, key => $more{key} // 'k'));
    }, 20, 'the purchase') unless calm;
    die 'confirm: ' . $answer->to_string unless $answer->status == 200;

    my $line = {name => $name, tenant => "a:$name", account => $account, token => $token, line => $self->operation_id($token)};
    @$line{qw(subscription invoice number)} = @{$self->now_of($line)}{qw(subscription invoice number)};
    ($line->{invoice}) = map { $_->{invoice} } grep { $_->{subscription} eq $line->{subscription} } $self->sandbox->ledger('charge');
    return $line;
}

=head2 now_of, op, shown, report, release, refund, remove

A line's record, an operation's; what clients are told of it; what the operator
reports of it, its release, its refund, and the deletion of its tenant.

=cut

sub now_of ($self, $line) { return $self->redis->line(@$line{qw(tenant line)}) }

sub op ($self, $tenant, $id) { return {@{scalar $self->redis->cli('HGETALL', "lines:{$tenant}:op:$id")}} }

sub shown ($self, $line) { $self->read($line->{key}, $line->{line})->json }

sub report ($self, $line, $status) { $self->_admin(POST => "lines/$line->{line}/status", {status => $status}) }

sub release ($self, $line) { $self->_admin(POST => "lines/$line->{line}/release", {}) }

sub refund ($self, $line) { $self->_admin(POST => "lines/$line->{line}/refund", {}) }

sub remove ($self, $line) {
    $self->_admin(DELETE => ($line->{account} ? 'accounts/' : 'workspaces/') . $line->{name});
}

sub _admin ($self, @call) {
    my $answer = $self->first->admin(@call);
    # who is told of its end only when he asks again
    return {} if !calm && $call[0] eq 'DELETE' && $answer->status == 404;
    die "@call[0, 1]: " . $answer->to_string unless $answer->status == 200;
    return $answer->json;
}

# what nobody may have who has paid for nothing
sub is_live ($self, $line) {
    my $h = $self->now_of($line);
    return ($h->{status} // '') =~ /^(?:provisioning|active)$/ && !length($h->{lapsed} // '') && !length($h->{released} // '');
}

=head2 money

    my ($paid, $back, $status) = $s->money($subscription);
    my ($paid, $back)          = $s->money($subscription, $invoice);

What billing took and gave back for it, in cents, by its ledger; and what it is
there.

=cut

sub money ($self, $subscription, $invoice = undef) {
    my %sum = (charge => 0, refund => 0, credit => 0);

    for my $entry ($self->sandbox->ledger) {
        next if ($entry->{subscription} // '') ne $subscription || (defined $invoice && ($entry->{invoice} // '') ne $invoice);
        $sum{$entry->{type}} += $entry->{amount} // 0;
    }

    return ($sum{charge}, $sum{refund} + $sum{credit}, $self->sandbox->call(GET => "/v1/subscriptions/$subscription")->json('/status'));
}

# the subscriptions that were ever made for a tenant
sub made_for ($self, $tenant) { grep { ($_->{metadata}{tenant} // '') eq $tenant } $self->sandbox->ledger('subscription') }

=head2 hand

    $s->hand(refund => $invoice, $amount);    # a refund of the payment; all of it by default
    $s->hand(credit => $invoice, $amount);    # a credit note that refunds
    $s->hand(balance => $invoice, $amount);   # one that is kept for the customer, or
    $s->hand(outside => $invoice, $amount);   # was given back past billing
    $s->hand(cancel => $subscription);

What somebody does in billing's dashboard, past us.

=cut

my %hands = (
    cancel => sub ($self, $id, $) { (DELETE => "/v1/subscriptions/$id") },
    refund => sub ($self, $id, $amount) {
        my $paid = $self->sandbox->call(GET => "/v1/invoices/$id", {'expand[0]' => 'payments'})->json('/payments/data/0/payment/payment_intent');
        return (POST => '/v1/refunds', {payment_intent => $paid, (defined $amount ? (amount => $amount) : ())});
    },
    credit => sub ($self, $id, $amount) {
        $amount //= $self->sandbox->call(GET => "/v1/invoices/$id")->json('/amount_paid');
        return (POST => '/v1/credit_notes', {invoice => $id, amount => $amount, refund_amount => $amount});
    },
    balance => sub ($self, $id, $amount) { (POST => '/v1/credit_notes', {invoice => $id, amount => $amount, credit_amount => $amount}) },
    outside => sub ($self, $id, $amount) { (POST => '/v1/credit_notes', {invoice => $id, amount => $amount, out_of_band_amount => $amount}) },
);

sub hand ($self, $what, $id, $amount = undef) {
    my @call   = $hands{$what}->($self, $id, $amount);
    my $answer = $self->sandbox->call(@call, $call[0] eq 'DELETE' ? () : {'Idempotency-Key' => 'hand' . ++$count});
    die "$what of $id: " . $answer->to_string unless $answer->status == 200;
    return $answer->json;
}

=head2 unseen

    $s->unseen(sub { ... });

Done before any worker can look: they are stopped meanwhile.

=cut

sub unseen ($self, $code) {

    # one that takes the place of one that was killed is none yet as it begins
    my $kill = Test::Lines::Kill->killing;
    Test::Lines::wait_for(sub { !grep { $_->pids < $_->workers } @{$kill->nginxes} }, 30, 'workers') if $kill;

    my @pids = map { $_->pids } @{$self->nginxes};
    kill STOP => @pids;
    my $ok = eval { $code->(); 1 };
    kill CONT => @pids;
    die $@ unless $ok;
}

=head2 between

    $s->between('w:ws1', sub { ... });

The same, while none of a tenant's operations is on its way: between what one has seen of billing and what it then asks
for, nobody could see it.

=cut

sub between ($self, $tenant, $code) {
    my $done;

    Test::Lines::wait_for(sub {
        $self->unseen(sub {
            return if grep { $self->op($tenant, $_)->{lease_until} } @{scalar $self->redis->cli('SMEMBERS', "lines:{$tenant}:ops")};
            $code->();
            $done = 1;
        });
        return $done;
    }, 30, "$tenant to be at rest");
}

=head2 deaf, hears, event

    $s->deaf;  ...;  $s->hears;                       # billing's events get lost meanwhile
    $s->event('invoice.paid', $object, $nginx);       # one, signed
    $s->told_again($line);                            # that its invoice is paid

=cut

sub deaf ($self) {
    $self->sandbox->wait_idle;
    $self->sandbox->control(webhooks => {to => undef});
}

sub hears ($self, $nginx = $self->first) {
    $self->sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));
}

sub _event ($self, $type, $object) {
    my $body = encode_json({id => 'evt_' . ++$count, object => 'event', type => $type, created => time, livemode => false, data => {object => $object}});
    my $at   = time;
    return ('/webhooks/stripe', $body,
        {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')});
}

sub event   ($self, $type, $object, $nginx = $self->first) { $nginx->post($self->_event($type, $object)) }
sub event_p ($self, $type, $object, $nginx = $self->first) { $nginx->request_p(POST => ($self->_event($type, $object))[0, 2, 1]) }

sub told_again ($self, $line) {
    return $self->event('invoice.paid', $self->sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json);
}

=head2 shard, hint, due

    my $ms = $s->hint($tenant, $id);      # when it is to be looked at, undef: never
    $s->due($tenant, $id, $ms);

=cut

sub shard ($self, $id) { Compress::Zlib::crc32($id) % 16 }

sub hint ($self, $tenant, $id) { $self->redis->cli('ZSCORE', 'lines:{due:' . $self->shard($id) . '}', "$tenant $id") }

sub due ($self, $tenant, $id, $ms) { $self->redis->cli('ZADD', 'lines:{due:' . $self->shard($id) . '}', $ms, "$tenant $id") }

=head2 remember, forget_since

    my $then = $s->remember;
    ...
    $s->forget_since($then);     # Redis is what it was: a replica with a lost suffix, a backup

=cut

sub remember ($self) {
    my $redis = $self->redis->client;
    return {map { my $dump = $redis->dump($_); defined $dump ? ($_ => [$redis->pttl($_), $dump]) : () } $redis->keys('*')};
}

# of a cluster slot by slot: nothing more is at once there; first what names tenants, who would be missed
sub forget_since ($self, $then) {
    my $redis   = $self->redis->client;
    my $cluster = @{$self->redis->nodes} > 1;
    my %now     = map { $_ => 1 } keys %$then, $cluster ? $redis->keys('*') : ();
    my %of;

    push @{$of{$cluster && /(\{[^}]+\})/ ? $1 : ''}}, $_ for sort keys %now;

    for my $keys (map { $of{$_} } sort { $a =~ /^\{[aw]:/ <=> $b =~ /^\{[aw]:/ || $a cmp $b } keys %of) {
        $redis->multi;
        $redis->flushall if !$cluster;

        for my $key (@$keys) {
            my ($ttl, $dump) = @{$then->{$key} // []};
            $dump ? $redis->restore($key => $ttl > 0 ? $ttl : 0, $dump, 'REPLACE') : $redis->del($key);
        }

        $redis->exec;
    }
}

1;
