# What billing tells by itself: hints, in any order, any number of times.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::JSON qw(encode_json true false);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Paid;

my $t       = Test::Lines->new;
# calls are counted: the auditor makes none
my $paid    = Test::Lines::Paid->new(t => $t, operations => 'sweep=300ms retry=300ms due=2s lease=2s absent=1s walk=1s audit=off');
my $sandbox = $paid->sandbox;
my $redis   = $paid->redis;
my $nginx   = $paid->nginx(workers => 2, server => 'location /limited/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=1000000 key=tenant name=limited; empty_gif; }');
my $n       = 0;

sub pending (%data) {
    my $id     = delete $data{id} // 'events' . ++$n;
    my $key    = $paid->workspace($id, %data);
    my $answer = $paid->request($key);
    is $answer->status, 201, "$id: created" or diag $answer->to_string;
    return ($id, $key, $answer->json('/line/_id'), $answer->json('/invoiceId'));
}

sub event ($type, $object, %more) {
    my $body = encode_json({id => 'evt_' . ++$n, object => 'event', type => $type, created => time, livemode => false, data => {object => $object}, %more});
    my $at   = time;
    return $nginx->post('/webhooks/stripe', $body,
        {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')});
}

sub subscription ($id) { $sandbox->call(GET => "/v1/subscriptions/$id")->json }

sub base_state ($id) { $redis->cli('HGET', "lines:{w:$id}:t", 'subscription') }

subtest 'twice, shuffled and late' => sub {
    $sandbox->webhooks(duplicate => 2, shuffle => 1, delay_ms => 200);
    my @all = map { [pending()] } 1 .. 6;
    $sandbox->pay($_->[3]) for @all;
    $paid->wait_record(@$_[0, 2], 'provisioning') for @all;
    $sandbox->wait_idle;
    $sandbox->webhooks(duplicate => 0, shuffle => 0, delay_ms => 0);
    for my $one (@all) {
        my @moves = $redis->events("w:$one->[0]");
        is scalar(grep { $_->{type} eq 'line.provisioning' } @moves), 1, 'promoted once';
    }

    # the last of what was told twice may be looked at yet
    wait_for(sub { !grep { $redis->cli('SCARD', "lines:{w:$_->[0]}:ops") } @all }, 30, 'rest');
};

subtest 'what is not ours' => sub {
    my %invoice = (id => 'in_x', object => 'invoice', status => 'paid', subscription => 'sub_x');
    my ($id, $key, $line) = pending();
    $sandbox->wait_idle;
    my $calls = () = $sandbox->requests;

    for my $case (
        ['no metadata', {}],
        ['another deployment', {metadata => {lines_deployment => 'other', tenant => "w:$id", line_request => $line}}],
        ['no tenant', {metadata => {lines_deployment => 'test', line_request => $line}}],
        ['a tenant that breaks keys', {metadata => {lines_deployment => 'test', tenant => 'w:a}b', line_request => $line}}],
        ['a line that breaks keys', {metadata => {lines_deployment => 'test', tenant => "w:$id", line_request => "x:y}"}}],
        ['a long line', {metadata => {lines_deployment => 'test', tenant => "w:$id", line_request => 'f' x 200}}],
      )
    {
        is event('invoice.paid', {%invoice, %{$case->[1]}})->status, 200, $case->[0];
    }

    is event('charge.succeeded', {id => 'ch_1', object => 'charge'})->status, 200, 'an event that we do not know';
    is event('customer.subscription.updated', {id => 'sub_y', object => 'subscription', customer => 'cus_card', status => 'active', items => {data => [{price => {id => 'price_other'}}]}})->status, 200, 'a subscription of no plan';
    is event('invoice.paid', {%invoice, metadata => {lines_deployment => 'test', tenant => "w:$id", line_request => $line}}, livemode => true)->status, 200, 'another livemode';

    is scalar(() = $sandbox->requests), $calls, 'no call of billing for any of them';
    is $paid->record($id, $line)->{status}, 'awaiting_payment';
};

subtest 'an event is no proof' => sub {
    my ($id, $key, $line, $invoice) = pending();
    my $sub = $paid->record($id, $line)->{subscription};
    my $answer = event('invoice.paid', {id => $invoice, object => 'invoice', status => 'paid', parent => {subscription_details => {subscription => $sub, metadata => {lines_deployment => 'test', tenant => "w:$id", line_request => $line, attempt => '1'}}}});
    is $answer->status, 200;
    wait_for(sub { grep { $_->{path} eq "/v1/subscriptions/$sub" } $sandbox->requests('GET') }, 30, 'the subscription to be read');
    wait_for(sub { $paid->operation($id, $line)->{lease_until} == 0 }, 30, 'rest');
    is $paid->record($id, $line)->{status}, 'awaiting_payment', 'it is not paid';
};

subtest 'Redis away: billing has to send it again' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $redis->pause;
    my $sub = 'sub_any';
    is event('invoice.paid', {id => $invoice, object => 'invoice', status => 'paid', parent => {subscription_details => {subscription => $sub, metadata => {lines_deployment => 'test', tenant => "w:$id", line_request => $line}}}})->status, 503;
    $redis->cont;
    $nginx->wait_redis;
};

subtest 'an orphan is refunded' => sub {
    my ($id, $key, $line, $invoice) = pending();
    my $sub = $paid->record($id, $line)->{subscription};

    # a failover lost the line
    $redis->cli('DEL', map { "lines:{w:$id}:$_" } "line:$line", "rec:$line", "op:$line", 'lines', 'pending', 'ops');
    $redis->cli('HSET', "lines:{w:$id}:t", 'email_paid', 0);
    $sandbox->pay($invoice);

    wait_for(sub { grep { $_->{type} eq 'refund' && $_->{subscription} eq $sub } $sandbox->ledger }, 30, 'the refund');
    is subscription($sub)->{status}, 'canceled';
    ok !$redis->cli('EXISTS', "lines:{w:$id}:line:$line"), 'the line is not made up again';
    wait_for(sub { !$redis->cli('SCARD', "lines:{w:$id}:ops") }, 30, 'its end');
};

subtest 'a payment for an older attempt is refunded' => sub {
    my ($id, $key, $line, $invoice) = pending();
    my $old = $paid->record($id, $line)->{subscription};

    # the attempt was taken for dead, and is not: only another's hand does that
    $sandbox->call(POST => '/v1/subscriptions', {customer => 'cus_card', 'items[0][price]' => 'price_email', payment_behavior => 'default_incomplete',
        'metadata[lines_deployment]' => 'test', 'metadata[tenant]' => "w:$id", 'metadata[line_request]' => $line, 'metadata[attempt]' => 1, 'expand[0]' => 'latest_invoice'},
        {'Idempotency-Key' => "older-$id"});
    my ($made) = grep { ($_->{metadata}{tenant} // '') eq "w:$id" && $_->{subscription} ne $old } $sandbox->ledger('subscription');
    $sandbox->pay($made->{invoice});
    wait_for(sub { grep { $_->{type} eq 'refund' && $_->{subscription} eq $made->{subscription} } $sandbox->ledger }, 30, 'the refund');
    is $paid->record($id, $line)->{status}, 'awaiting_payment', "the line's own attempt stands";
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');
};

subtest 'an add-on that lapses' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');
    $nginx->admin(POST => "lines/$line/status", {status => 'active'});
    my $sub = $paid->record($id, $line)->{subscription};
    is $redis->cli('HGET', "lines:{w:$id}:t", 'email_paid'), 1;

    $sandbox->move($sub, status => 'past_due');
    $sandbox->wait_idle;
    is $paid->record($id, $line)->{active}, 1, 'past due has not lapsed yet';

    $sandbox->move($sub, status => 'canceled');
    wait_for(sub { $paid->record($id, $line)->{active} eq '0' }, 30, 'it to lapse');
    my $read = $paid->read($key, $line);
    is $read->json('/line/isActive'), false;
    is $read->json('/status'), 'canceled', 'it has ended';
    is $read->json('/line/reason'), 'subscription_ended', 'and says why';
    is $redis->cli('HGET', "lines:{w:$id}:t", 'email_paid'), 0, 'its place is free';
};

subtest 'the base plan moves the workspace' => sub {
    $sandbox->customer('cus_base');
    my ($id, $key) = ('based', $paid->workspace('based', customer => 'cus_base', plan => 'starter', subscription => 'none'));

    # nodes hear of it at once, and go by the plan's rates
    my %q = (growth => 2_000_000, starter => 1_500_000);
    my sub policy { return ($nginx->get('/limited/x', $nginx->bearer($key))->header('RateLimit-Policy') =~ /q=(\d+)/)[0] }
    $nginx->admin(PUT => "plans/$_/limits/limited", {rate => '1r/h', burst => $q{$_}}) for sort keys %q;
    wait_for(sub { policy() == $q{starter} && $nginx->get('/_lines/metrics')->body =~ /^lines_limit_nodes 1$/m }, 30, 'the rate of its plan, and a share');
    is $paid->request($key)->status, 403;

    my $base = $sandbox->adopt(customer => 'cus_base', price => 'price_growth', status => 'active');
    wait_for(sub { base_state($id) eq 'active' }, 30, 'active');
    is $redis->cli('HGET', "lines:{w:$id}:t", 'plan'), 'growth', 'and the plan is the one of the price';
    my $changed = time;
    wait_for(sub { policy() == $q{growth} }, 30, 'the rate of the other plan');
    cmp_ok time - $changed, '<=', 2 * $t->slow, '... within a second or two';
    $nginx->admin(DELETE => "plans/$_/limits/limited") for sort keys %q;

    $sandbox->move($base->{id}, status => 'past_due');
    wait_for(sub { base_state($id) eq 'past_due' }, 30, 'past due');
    is $paid->request($key)->status, 402;

    $sandbox->move($base->{id}, status => 'active');
    wait_for(sub { base_state($id) eq 'active' }, 30, 'active again');

    my $answer = $paid->request($key);
    is $answer->status, 201;
    my $line = $answer->json('/line/_id');

    $sandbox->move($base->{id}, status => 'canceled');
    wait_for(sub { base_state($id) eq 'canceled' }, 30, 'canceled');
    my $h = $paid->wait_record($id, $line, 'canceled');
    is $h->{reason}, 'subscription_ended', 'the line that awaited payment is voided and canceled';
    is $sandbox->call(GET => "/v1/invoices/$h->{invoice}")->json('/status'), 'void';

    # a second one, while the first is canceled
    $sandbox->adopt(customer => 'cus_base', price => 'price_starter', status => 'active');
    wait_for(sub { base_state($id) eq 'active' }, 30, 'the one that lives counts');
    is $redis->cli('HGET', "lines:{w:$id}:t", 'plan'), 'starter';
};

subtest 'tenants that share a customer' => sub {
    $sandbox->customer('cus_shared');
    $paid->workspace($_, customer => 'cus_shared', subscription => 'none') for qw(left right);
    my $base = $sandbox->adopt(customer => 'cus_shared', price => 'price_growth', status => 'active', metadata => {tenant => 'w:left'});
    wait_for(sub { base_state('left') eq 'active' }, 30, 'the one that it names');
    $sandbox->wait_idle;
    is base_state('right'), 'none', 'and not the other';
    $sandbox->adopt(customer => 'cus_shared', price => 'price_starter', status => 'active');
    wait_for(sub { base_state('right') eq 'active' }, 30, 'one that names nobody is for all');
};

subtest 'events of the base plan by the dozen' => sub {
    $sandbox->customer('cus_many');
    $paid->workspace('many', customer => 'cus_many', subscription => 'none');
    $sandbox->webhooks(duplicate => 3, shuffle => 1, delay_ms => 50);
    my $base = $sandbox->adopt(customer => 'cus_many', price => 'price_growth', status => 'active');
    $sandbox->move($base->{id}, status => $_) for qw(past_due active past_due active past_due);
    wait_for(sub { base_state('many') eq 'past_due' }, 30, 'past due');
    $sandbox->wait_idle;
    wait_for(sub { !$redis->cli('SCARD', 'lines:{w:many}:ops') }, 30, 'rest');
    is base_state('many'), 'past_due', 'the last word is what billing says';
    $sandbox->webhooks(duplicate => 0, shuffle => 0, delay_ms => 0);
};

subtest 'a long outage leaves much to do' => sub {
    # looks are rare and short: it is the backlog that brings the next one forward
    my @all = map { [pending()] } 1 .. 60;
    $sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/gone');
    $sandbox->pay($_->[3]) for @all;
    $nginx->http($nginx->http =~ s/sweep=\d+ms/sweep=20s batch=4/r)->reload(wait_old => 1);
    for my $one (@all) {
        my ($shard) = grep { defined $redis->cli('ZSCORE', "lines:{due:$_}", "w:$one->[0] $one->[2]") } 0 .. 15;
        $redis->cli('ZADD', "lines:{due:$shard}", 1, "w:$one->[0] $one->[2]");
    }
    my @left = @all;
    eval { wait_for(sub { @left = grep { $paid->record(@$_[0, 2])->{status} ne 'provisioning' } @left; !@left }, 60, 'all') };
    is scalar @left, 0, 'sixty are done in less than three ticks of four each';
};

$paid->agree('billing and lines agree');

$t->done;
