# Redis is not what it was: its last second is lost, a backup is restored, it is empty. What billing has is the truth then.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=20ms pass=500ms');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx;

$s->numbers(9);

sub goes_back ($line, $seconds = 15) {
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'what it cost goes back', $seconds);
    is +($s->money($line->{subscription}))[2], 'canceled', '... and its subscription ends';
}

# the operations of a list of them
sub unfinished ($key) {
    my ($tenant) = $key =~ /\{(.*)\}/;
    return map { $s->op($tenant, $_) } @{scalar $redis->cli('SMEMBERS', $key)};
}

# none that is held, and not paid for
sub nothing_for_nothing ($tenant) {
    for my $id (@{scalar $redis->cli('ZRANGE', "lines:{$tenant}:lines", 0, -1)}) {
        my $line = {tenant => $tenant, line => $id};
        next unless $s->is_live($line);
        my ($paid, $back, $status) = $s->money($s->now_of($line)->{subscription});
        cmp_ok $paid, '>', $back, "line $id is paid for";
        is $status, 'active', '... and goes on to be';
    }
    pass 'no line for nothing';
}

promise 'an orphan was refunded, and its preview token comes again: no line for nothing' => sub {
    my $account = $s->account('token');
    my $token   = $s->token($account);
    my $then    = $s->remember;
    my $line    = $s->bought_line(name => 'token', account => $account, token => $token);
    $sandbox->wait_idle;
    $s->forget_since($then);
    is $s->told_again($line)->status, 200, 'billing tells of what no line holds';
    goes_back($line);
    $s->rest('a:token');
    $s->confirm($account, $token, key => 'k');
    $s->rest('a:token');
    nothing_for_nothing('a:token');
};

promise 'an orphan was refunded, and its idempotency key comes again: no line for nothing' => sub {
    my $key  = $s->workspace('idem');
    my @args = ('/api/line-requests', $s->body, $nginx->bearer($key, 'Idempotency-Key' => 'k1'));
    my $then = $s->remember;
    my $made = $nginx->post_json(@args);
    my $line = {name => 'idem', tenant => 'w:idem', key => $key, line => $made->json('/line/_id'), invoice => $made->json('/invoiceId')};
    $line->{subscription} = $s->now_of($line)->{subscription};
    $s->deaf;
    $sandbox->pay($line->{invoice});
    $s->hears;
    $s->forget_since($then);
    is $s->told_again($line)->status, 200, 'billing tells of what no line holds';
    goes_back($line);
    my $again = $nginx->post_json(@args);
    is $again->status, 201, 'its client tries again';
    isnt $again->json('/invoiceId'), $line->{invoice}, '... and gets another invoice';
    is $again->json('/status'), 'awaiting_payment', '... to pay';
    nothing_for_nothing('w:idem');
};

promise 'restored to before a confirm, the default card changed meanwhile: what was bought is found and adopted' => sub {
    $sandbox->customer('cus_restored');
    my $account = $s->account('restored', customer => 'cus_restored');
    my $token   = $s->token($account);
    my $then    = $s->remember;
    $s->deaf;
    my $line = $s->bought_line(name => 'restored', account => $account, token => $token);
    $s->forget_since($then);
    $sandbox->customer('cus_restored', 'ok', 'source');

    my $again;
    $s->soon(sub { $again = $s->confirm($account, $token, key => 'k'); $again->status == 200 || !calm && $again->status == 500 }, 'its client gets its line', 15);
    # the auditor may be faster than who comes back late
    return goes_back($line) if !calm && $again->status == 500;
    is $again->json('/subscription_id'), $line->{subscription}, '... of the subscription that was bought';
    is scalar(() = $s->bought($account)), 1, '... and charged once';
    is $s->op($line->{tenant}, $line->{line})->{stuck}, undef, 'nothing is stuck';
    $s->hears;
};

promise 'restored to before a confirm, and what its key had made was refused: another attempt, once that is certain' => sub {
    $sandbox->customer('cus_poor', 'declined');
    my $account = $s->account('poor', customer => 'cus_poor');
    my $token   = $s->token($account);
    my $then    = $s->remember;
    is $s->confirm($account, $token, key => 'k')->status, 402, 'declined';
    $s->forget_since($then);
    $sandbox->customer('cus_poor', 'ok', 'source');

    my $again;
    $s->soon(sub { $again = $s->confirm($account, $token, key => 'k'); $again->status == 200 }, 'its client gets its line', 20);
    is scalar(() = $s->bought($account)), 1, '... and is charged once';
};

promise 'the last second is lost after a webhook was consumed: the charge is found and refunded, the line is not made up again' => sub {
    my $key  = $s->workspace('second');

    # an instant at billing is told in seconds: what is older than the database is shown, no more
    my $born = $redis->cli(HGET => 'lines:{database}', 'born');
    wait_for(sub { time > $born / 1000 }, 10, 'another second');

    my $then = $s->remember;
    my $line = $s->paid_line(name => 'second', key => $key);
    $sandbox->wait_idle;
    $s->forget_since($then);
    goes_back($line, 6);
    ok !$redis->cli('EXISTS', "lines:{w:second}:line:$line->{line}"), 'there is no line';
};

promise 'an empty Redis, then renewals: nothing is canceled or refunded, and the node says that it is not ready' => sub {
    my @lines = ($s->active_line, $s->bought_line);
    $s->rest($_->{tenant}) for @lines;
    $sandbox->webhooks(retry_for => 1);
    $nginx->allow(qr/\[alert\].*Redis is not the database that it was/);
    $redis->cli('FLUSHALL');
    $sandbox->renew($_->{subscription}) for @lines;
    $sandbox->wait_idle;
    wait_for(sub { !grep { !$_->{due} } map { unfinished($_) } $redis->client->keys('lines:*:ops') }, 20, 'all to be at rest');

    for my $line (@lines) {
        my (undef, $back, $status) = $s->money($line->{subscription});
        is $back, 0, "$line->{tenant}: nothing is refunded";
        is $status, 'active', '... and nothing canceled';
    }
    $s->soon(sub { $nginx->get('/_lines/ready')->status == 503 }, 'not ready', 3);
}, leaves => 1;    # what nobody touches until an operator has confirmed

$t->done;
