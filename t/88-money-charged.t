# A charge whose answer was lost, and what is told of it then: by headers that are missing, by a refusal that is said again, by a list
# that shows it late, by an event alone, by a person.  One live, paid line for each charge that is kept; all else goes back.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json encode_json false true);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);
use Test::Lines::Unit qw(make_unit);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;

# what stands before billing: charges (POST subscription) are passed on unless `off` says with what they are answered; their answer is
# lost (`cut`), or says not that it is a replay (`bare`), or that the subscription was made at another instant (`created`); customers'
# lists show none of `hidden`, a tenant; a customer's lists are refused while `unlisted`
my $billing = $t->upstream(handler => sub ($c, $state) {
    my $req     = $c->req;
    my $charge  = $req->method eq 'POST' && $req->url->path eq '/v1/subscriptions';
    my $list    = $req->method eq 'GET'  && $req->url->path eq '/v1/subscriptions';
    my $off     = $charge ? $state->{off} : $list ? $state->{unlisted} : undef;

    if ($off) {
        my $type = $off->{status} == 402 ? 'card_error' : $off->{status} == 429 ? 'rate_limit_error' : 'api_error';
        $c->res->headers->header('Idempotent-Replayed' => 'true') if $off->{replayed};
        return $c->render(json => {error => {type => $type, message => 'It is not to be.'}}, status => $off->{status});
    }

    my $res  = $sandbox->pass($c, $state->{bare} ? qr/date|idempotent-replayed/ : qr/date/);
    my $body = $res->body;

    $body =~ s/"created":\d+/"created":$state->{created}/ if $charge && exists $state->{created};

    if ($charge && $state->{cut}) {
        $c->render_later;
        my $stream = Mojo::IOLoop->stream($c->tx->connection);
        return $stream ? $stream->close : undef;
    }

    if ($list && defined $state->{hidden} && ($res->code // 0) == 200) {
        my $json = decode_json($body);
        $json->{data} = [grep { ($_->{metadata}{tenant} // '') ne $state->{hidden} } @{$json->{data}}];
        $json->{has_more} = false unless @{$json->{data}};
        $body = encode_json($json);
    }

    $c->render(data => $body, status => $res->code // 502);
});

my $s     = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $billing->port,
    operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=2s walk=1s poll=1s every=2s');
my $redis = $s->redis;
my $nginx = $s->nginx(workers => 2);

$s->numbers(20);
$nginx->allow(qr/is stuck|does not take the charge/);

sub says (%state) { $billing->reset(%state) }
sub honest { $billing->reset }

sub stuck ($tenant) { grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

# how often a tenant is charged, and keeps being so
sub kept ($tenant) {
    return grep { my ($paid, $back) = $s->money($_->{subscription}); $paid > $back } $s->made_for($tenant);
}

# a purchase under way whose charge was taken, and its answer lost, and no event tells of it
sub lost ($name, %then) {
    $s->deaf;
    my $account = $s->account($name);
    my $buy     = {name => $name, tenant => "a:$name", account => $account, token => $s->token($account)};
    $buy->{line} = $s->operation_id($buy->{token});
    says(cut => 1);
    my $pid = fork // die "fork: $!";
    if (!$pid) { eval { $s->confirm($account, $buy->{token}, key => 'k') }; POSIX::_exit(0) }
    wait_for(sub { $s->made_for($buy->{tenant}) }, 20, 'the charge');
    says(%then);
    waitpid $pid, 0;
    ($buy->{subscription}) = map { $_->{subscription} } $s->made_for($buy->{tenant});
    ($buy->{invoice}) = map { $_->{invoice} } grep { $_->{subscription} eq $buy->{subscription} } $sandbox->ledger('charge');
    return $buy;
}

sub ended ($buy, $seconds = 40) {
    return $s->soon(sub { ($s->op($buy->{tenant}, $buy->{line})->{step} // '') eq 'done' }, 'it ends', $seconds);
}

# one line for what is kept, or nothing
sub agrees ($buy) {
    my $live = $s->is_live({tenant => $buy->{tenant}, line => $buy->{line}}) ? 1 : 0;
    is(scalar(() = kept($buy->{tenant})), $live, 'charged for a line, if there is one, once') or diag explain [$s->op($buy->{tenant}, $buy->{line}), $s->made_for($buy->{tenant})];
}

promise 'support has canceled and refunded a charge whose answer was lost, and the answer does not say that it is an old one: no line' => sub {
    my $buy = lost('bare', off => {status => 429});
    $s->hand(refund => $buy->{invoice});
    $s->hand(cancel => $buy->{subscription});
    says(bare => 1);
    ended($buy);
    ok !$s->is_live($buy), 'there is none' or diag explain $s->now_of($buy);
    agrees($buy);
    $s->hears;
};

promise 'a charge whose answer was lost is refused, and the refusal is said again: it is looked for all the same' => sub {
    my $buy = lost('again', off => {status => 402}, unlisted => {status => 503});
    wait_for(sub { grep { $_->{path} eq '/v1/subscriptions' && $_->{method} eq 'GET' } @{$billing->requests} }, 20, 'a look');
    says(off => {status => 402, replayed => 1});
    ended($buy);
    agrees($buy);
    $s->hears;
};

promise 'billing tells of a charge by an event, while its list does not show it yet: it is charged once' => sub {
    my $buy = lost('late', off => {status => 500}, hidden => 'a:late');
    wait_for(sub { $s->op($buy->{tenant}, $buy->{line})->{absent_at} }, 20, 'a look in vain');
    $s->told_again($buy);
    wait_for(sub { ($s->op($buy->{tenant}, $buy->{line})->{attempt} // 0) > 1 || ($s->op($buy->{tenant}, $buy->{line})->{step} // '') ne 'charge' }, 20, 'what follows');
    honest();
    ended($buy);
    $s->rest($buy->{tenant});
    # whoever asks again for long is told of it after two more looks in vain
    is scalar(() = $s->made_for($buy->{tenant})), 1, 'nobody is charged once more' if calm;
    agrees($buy);
    $s->hears;
};

promise 'the same of a line request: one subscription' => sub {
    my $key = $s->workspace('late');
    $s->deaf;
    says(cut => 1);
    my $pid = fork // die "fork: $!";
    if (!$pid) { eval { $s->request($key) }; POSIX::_exit(0) }
    wait_for(sub { $s->made_for('w:late') }, 20, 'the charge');
    says(off => {status => 500}, hidden => 'w:late');
    waitpid $pid, 0;
    my ($line) = @{scalar $redis->cli('ZRANGE', 'lines:{w:late}:lines', 0, -1)};
    wait_for(sub { $s->op('w:late', $line)->{absent_at} }, 20, 'a look in vain');
    my ($made) = $s->made_for('w:late');
    my $object = $sandbox->call(GET => "/v1/subscriptions/$made->{subscription}", {'expand[0]' => 'latest_invoice'})->json;
    $s->event('customer.subscription.updated', $object);
    wait_for(sub { ($s->op('w:late', $line)->{attempt} // 0) > 1 || ($s->op('w:late', $line)->{step} // '') ne 'send' }, 20, 'what follows');
    honest();
    $s->rest('w:late');
    is scalar(() = $s->made_for('w:late')), 1, 'one';
    $s->hears;
};

promise 'a person cancels what is looked for, and was there at the next look: that is what is true, and nobody is charged for nothing' => sub {
    my $buy = lost('word', off => {status => 401}, hidden => 'a:word');
    wait_for(sub { stuck('a:word') }, 20, 'it is stuck');
    says(off => {status => 500}, hidden => 'a:word');
    wait_for(sub { $s->op('a:word', $buy->{line})->{absent_at} }, 30, 'a look in vain');
    honest();
    my $said = $nginx->admin(POST => "operations/$buy->{line}/resolve", {as => 'canceled', note => 'nothing there'});
    is $said->status, 200, 'it is said';
    ended($buy);
    agrees($buy);
    $s->hears;
};

promise 'a person cancels a charge that cannot be made, and was not: nobody is charged after that' => sub {
    my $account = $s->account('never');
    my $buy     = {tenant => 'a:never', token => $s->token($account)};
    $buy->{line} = $s->operation_id($buy->{token});
    says(off => {status => 500});
    $s->confirm($account, $buy->{token}, key => 'k');
    my $op = sub { $s->op('a:never', $buy->{line}) };
    wait_for(sub { stuck('a:never') }, 60, 'it is stuck');
    my $said;
    wait_for(sub { ($said = $nginx->admin(POST => "operations/$buy->{line}/resolve", {as => 'canceled', note => 'sold otherwise'}))->status == 200 }, 20, 'a word');
    honest();
    ended($buy);
    is scalar(() = $s->made_for('a:never')), 0, 'never' or diag explain $op->();
    agrees($buy);
};

promise 'a person cancels what was looked for once, and cannot be since: once it can, and is not there, nobody is charged anew' => sub {
    my $account = $s->account('anew');
    my $buy     = {tenant => 'a:anew', token => $s->token($account)};
    $buy->{line} = $s->operation_id($buy->{token});
    says(off => {status => 500});
    $s->confirm($account, $buy->{token}, key => 'k');
    wait_for(sub { $s->op('a:anew', $buy->{line})->{absent_at} }, 30, 'a look in vain');
    says(off => {status => 500}, unlisted => {status => 400});
    wait_for(sub { my $op = $s->op('a:anew', $buy->{line}); ($op->{stuck} // '') eq 'charge_unlisted' && !$op->{lease_until} }, 20, 'it is stuck');
    honest();
    is $nginx->admin(POST => "operations/$buy->{line}/resolve", {as => 'canceled', note => 'sold otherwise'})->status, 200, 'it is said';
    ended($buy);
    is scalar(() = $s->made_for('a:anew')), 0, 'nobody is';
    agrees($buy);
};

promise 'what billing has just made is not asked for again; what it made before it was asked, by its own clock, is' => sub {
    my %asks = (now => 0, 4_102_444_800 => 0, '9223372036854775807' => 0, 1_500_000_000 => 1);

    $s->deaf;
    for my $created (sort keys %asks) {
        says($created eq 'now' ? () : (created => $created));
        my $account = $s->account("made-$created");
        is $s->confirm($account, $s->token($account), key => 'k')->status, 200, "$created: bought";
        my ($made) = $s->made_for("a:made-$created");
        is scalar(() = $sandbox->requests(GET => "/v1/subscriptions/$made->{subscription}")), $asks{$created}, '... and asked for so often';
    }
    honest();
};

promise "Redis' clock is days ahead of billing's: what was charged is found" => sub {
    my $clock = make_unit('t/sim', 0, 'clock') . '/clock.so';
    my $ahead = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $billing->port, operations => $s->operations, deployment => 'ahead',
        redis => $t->redis(env => {LD_PRELOAD => $clock, LINES_SIM_AHEAD => 3 * 86400}));
    my $node = $ahead->nginx;
    $node->allow(qr/is stuck|does not take the charge|clock/);
    $ahead->deaf;
    $ahead->numbers(2);
    my $account = $ahead->account('ahead');
    my $token   = $ahead->token($account);
    my $id      = $ahead->operation_id($token);
    says();
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', times => 1, effect => true);
    $ahead->confirm($account, $token, key => 'k');
    $ahead->soon(sub { ($ahead->op('a:ahead', $id)->{step} // '') eq 'done' }, 'it ends', 40);
    is scalar(() = $ahead->made_for('a:ahead')), 1, 'one charge';
    is scalar(() = kept('a:ahead')), $ahead->is_live({tenant => 'a:ahead', line => $id}) ? 1 : 0, 'for a line, if there is one';
};

$t->done;
