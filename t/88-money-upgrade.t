# What the release before left unfinished is taken over: its records, written here word for word as it wrote them, at each step of
# each kind. None of these may be changed with the code; a release that writes others adds its own.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url, webhooks => 0, operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=500ms poll=2h every=2h');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(workers => 2);
my $n       = 0;

my @numbers = $s->numbers(20);

sub ms ($ago = 60) { 1000 * (time - $ago) }

# as billing got it, whether or not its answer was heard
sub charged ($body, $key) {
    my $answer = $sandbox->client->request(POST => '/v1/subscriptions',
        {Authorization => 'Bearer sk_test_lines', 'Content-Type' => 'application/x-www-form-urlencoded', 'Idempotency-Key' => $key}, $body);
    die $answer->to_string unless $answer->status == 200;
    my $invoice = $answer->json('/latest_invoice');
    return ($answer->json('/id'), ref $invoice ? $invoice->{id} : $invoice);
}

# a line of a workspace, and what was to be called for it
sub request (%line) {
    my $name = 'ws' . ++$n;
    my $id   = sprintf '%024x', 0x5c0000 + $n;
    $s->workspace($name);

    my $body = "customer=cus_card&items[0][price]=price_email&items[0][quantity]=1&payment_behavior=default_incomplete"
      . "&payment_settings[save_default_payment_method]=on_subscription&payment_settings[payment_method_types][0]=card"
      . "&metadata[lines_deployment]=test&metadata[tenant]=w%3A$name&metadata[line_request]=$id&metadata[attempt]=1&expand[0]=latest_invoice";
    my $key = "lines:$id:sub:1";
    my ($subscription, $invoice) = delete $line{unsent} ? ('', '') : charged($body, $key);
    my $known = delete $line{unheard} ? 0 : length $subscription;

    $redis->cli('HSET', "lines:{w:$name}:line:$id", id => $id, tenant => "w:$name", channel => 'email', type => 'purchased', first => 'Ada', last => 'Lovelace',
        phone => '', email => 'ada@example.com', zipcode => '', state => '', forwards => '', image => '', status => 'awaiting_payment', payment => 'pending', active => 0,
        required => 1, place => 'paid', conversations => 50, messages => 500, attempt => 1, created => ms, updated => ms, json => '{}',
        ($known ? (subscription => $subscription, invoice => $invoice, url => 'http://127.0.0.1/i') : ()), %line);
    $redis->cli('ZADD', "lines:{w:$name}:lines", ms, $id);
    $redis->cli('SET', "lines:{w:$name}:pending", $id) if !$line{status};
    $redis->cli('HSET', "lines:{w:$name}:t", 'email_paid', 1) unless exists $line{place};
    $redis->cli('SET', "lines:{ix:$id}", "w:$name");

    my @record = (kind => 'request', attempt => 1, fence => 1, lease_until => ms, begun => ms, line => $id, customer => 'cus_card', price => 'price_email',
        body => $body, key => $key, sent_at => ms);
    push @record, (subscription => $subscription, invoice => $invoice, url => 'http://127.0.0.1/i', invoice_status => 'open', answer_status => 201, answer => '{"success":true}') if $known;

    return {name => $name, tenant => "w:$name", line => $id, subscription => $subscription, invoice => $invoice, record => \@record};
}

# of an account
sub purchase (%op) {
    my $name = 'ac' . ++$n;
    my $id   = sprintf '%024x', 0xac0000 + $n;
    my $account = $s->account($name);
    my $body = "customer=cus_card&items[0][price]=price_agent&default_payment_method=pm_cus_card&payment_behavior=error_if_incomplete&off_session=true"
      . "&metadata[lines_deployment]=test&metadata[tenant]=a%3A$name&metadata[operation]=$id&metadata[attempt]=1";
    my $key  = "lines:$id:sub:1";
    my $one  = {name => $name, tenant => "a:$name", line => $id, account => $account, record => [kind => 'purchase', attempt => 1, fence => 1, lease_until => ms, begun => ms,
        customer => 'cus_card', price => 'price_agent']};

    $redis->cli('ZADD', "lines:{a:$name}:win", ms, $id);
    $redis->cli('SET', "lines:{ix:$id}", "a:$name");
    push @{$one->{record}}, payment_method => 'pm_cus_card', body => $body, key => $key if $op{carded};
    if (my $state = $op{number}) {
        my $number = shift @numbers;
        $redis->cli('HSET', 'lines:{inv}:numbers', $number, "$state worker_$number $id a:$name");
        $redis->cli('ZREM', 'lines:{inv}:free', $number);
        $redis->cli('ZADD', "lines:{inv}:$state", 0, $number);
        $redis->cli('HSET', 'lines:{inv}:operations', $id, $number);
        $redis->cli('ZADD', 'lines:{inv}:leases', ms, "a:$name $id");
        push @{$one->{record}}, number => $number, worker => "worker_$number", sent_at => ms;
    }
    ($one->{subscription}, $one->{invoice}) = charged($body, $key) if $op{charged} || $op{unheard};
    push @{$one->{record}}, subscription => $one->{subscription}, invoice => $one->{invoice} // '' if $op{charged};
    return $one;
}

# an operation without a hint: they may all be lost
sub left ($one, %record) {
    my $id = delete $record{id} // $one->{line};
    $redis->cli('HSET', "lines:{$one->{tenant}}:op:$id", ($record{kind} ? (attempt => 1, fence => 1, lease_until => ms, begun => ms) : @{$one->{record}}), %record);
    $redis->cli('SADD', "lines:{$one->{tenant}}:ops", $id);
    $redis->cli('SET', "lines:{ix:$id}", $one->{tenant});
    $one->{op} = $id;
    return $one;
}

sub is_line ($one, $status, $payment) {
    $s->soon(sub { $s->now_of($one)->{status} eq $status && $s->now_of($one)->{payment} eq $payment }, "$status, $payment")
      or diag explain $s->op($one->{tenant}, $one->{op}), $s->now_of($one);
}

sub ends ($one) {
    $s->soon(sub { ($s->op($one->{tenant}, $one->{op})->{step} // '') eq 'done' }, 'it ends') or diag explain $s->op($one->{tenant}, $one->{op});
}

promise 'a request' => sub {
    my $unsent = left(request(unsent => 1), step => 'send');
    my $sent   = left(request(unheard => 1), step => 'send');
    my $tried  = left(request(unheard => 1), step => 'send', tries => 3, absent_at => ms(1));

    my $cancel = request(intent => 'cancel');
    left($cancel, step => 'await', intent => 'cancel', intent_reason => '');
    my $undecided = left(request(unheard => 1, intent => 'cancel'), step => 'send', intent => 'cancel', intent_reason => 'subscription_ended');

    my $paid = request();
    $sandbox->pay($paid->{invoice});
    left($paid, step => 'await', dirty => 2);
    $s->due($paid->{tenant}, $paid->{line}, ms);

    my $tell = request(status => 'provisioning', payment => 'paid', required => 0);
    $sandbox->pay($tell->{invoice});
    left($tell, step => 'tell', dirty => 1, tries => 2);

    for my $one ($unsent, $sent, $tried) {
        $s->soon(sub { $s->op($one->{tenant}, $one->{line})->{step} eq 'await' }, 'it has its invoice') or diag explain $s->op($one->{tenant}, $one->{line});
        is scalar(() = $s->made_for($one->{tenant})), 1, '... and one subscription';
        is $s->now_of($one)->{status}, 'awaiting_payment', '... to pay';
    }
    is_line($_, 'canceled', 'failed') for $cancel, $undecided;
    is $s->now_of($undecided)->{reason}, 'subscription_ended', 'with the reason that it had';
    is_line($paid, 'provisioning', 'paid');
    is_line($tell, 'provisioning', 'paid');
    ends($_) for $cancel, $undecided, $paid, $tell;
    ok +(grep { $_->{headers}{'idempotency-key'} eq $tell->{line} } @{$told->requests}), 'the provisioner is told';
};

promise 'a purchase' => sub {
    my %left = (
        card           => left(purchase(), step => 'card'),
        lease          => left(purchase(carded => 1), step => 'lease'),
        charge         => left(purchase(carded => 1, number => 'leased'), step => 'charge'),
        'charge, sent' => left(purchase(carded => 1, number => 'leased', unheard => 1), step => 'charge'),
        assign         => left(purchase(carded => 1, number => 'leased', charged => 1), step => 'assign', dirty => 2),
        tell           => left(purchase(carded => 1, number => 'assigned', charged => 1), step => 'tell'),
        end            => left(purchase(carded => 1, number => 'assigned', charged => 1), step => 'end'),
    );
    for my $step (sort keys %left) {
        my $one = $left{$step};
        ends($one);
        is $s->op($one->{tenant}, $one->{line})->{answer_status}, 200, "$step: bought";
        ok $s->is_live($one), '... the line is there';
        is_deeply [map { $_->{amount} } $s->bought($one->{account})], [4900], '... and was paid for once';
    }

    my @undo = (answer_status => 500, answer => '{"status":"ERROR","error":"provisioning_failed","message":"Subscription was created, but line provisioning failed"}');
    my %undo = (
        'undo:card'   => left(purchase(), step => 'undo:card', @undo),
        'undo:tell'   => left(purchase(carded => 1, number => 'assigned', charged => 1), step => 'undo:tell', @undo),
        'undo:charge' => left(purchase(carded => 1, number => 'leased', charged => 1), step => 'undo:charge', @undo),
        'undo:lease'  => left(purchase(carded => 1, number => 'leased'), step => 'undo:lease', @undo),
        undone        => left(purchase(carded => 1), step => 'undone', @undo),
    );
    for my $step (sort keys %undo) {
        my $one = $undo{$step};
        ends($one);
        ok !$s->is_live($one), "$step: there is no line";
        my ($paid, $back) = $one->{subscription} ? $s->money($one->{subscription}) : (0, 0);
        is $back, $paid, '... and what was paid went back';
    }
};

promise 'what gives money back, or ends' => sub {
    my @failed = (status => 'failed', payment => 'paid', required => 0, place => '', ended => ms);
    my ($refund, $known, $orphan, $release, $lapse) = map { my $one = request(@$_); $sandbox->pay($one->{invoice}); $one }
      [@failed], [@failed], [status => 'canceled', payment => 'failed', required => 0, place => '', subscription => '', invoice => ''],
      [status => 'active', payment => 'paid', required => 0, active => 0, place => '', released => ms, ended => ms, reason => 'released'],
      [status => 'active', payment => 'paid', required => 0, active => 1];

    # it was paid for while it was there
    $redis->cli('HSET', $redis->line_key(@$release{qw(tenant line)}), released => ms(0), ended => ms(0));

    my $id = sub ($one) { substr Digest::SHA::sha256_hex("end:$one->{line}"), 0, 24 };
    my @of = map { [line => $_->{line}, subscription => $_->{subscription}, invoice => $_->{invoice}] } $refund, $known, $release;
    left($refund, id => $id->($refund), kind => 'refund', step => 'cancel', @{$of[0]});

    # its credit note was sent, and not heard of
    my $body = "invoice=$known->{invoice}&amount=900&refund_amount=900&metadata[lines_deployment]=test&metadata[tenant]=w%3A$known->{name}&metadata[line_request]=$known->{line}&metadata[operation]=" . $id->($known);
    my $key  = 'lines:' . $id->($known) . ':refund';
    $s->hand(cancel => $known->{subscription});
    my $sent = $sandbox->client->request(POST => '/v1/credit_notes',
        {Authorization => 'Bearer sk_test_lines', 'Content-Type' => 'application/x-www-form-urlencoded', 'Idempotency-Key' => $key}, $body);
    is $sent->status, 200, 'a credit note' or diag $sent->to_string;
    left($known, id => $id->($known), kind => 'refund', step => 'cancel', @{$of[1]}, refund_body => $body, refund_key => $key, refund_at => ms, refunds => 1);

    left($orphan, id => substr(Digest::SHA::sha256_hex("orphan:$orphan->{subscription}"), 0, 24), kind => 'orphan', step => 'cancel', subscription => $orphan->{subscription}, invoice => $orphan->{invoice});
    left($release, id => $id->($release), kind => 'release', step => 'cancel', begun => ms(0), @{$of[2]});

    $s->hand(cancel => $lapse->{subscription});
    left($lapse, id => substr(Digest::SHA::sha256_hex("lapse:$lapse->{subscription}"), 0, 24), kind => 'lapse', step => 'read', line => $lapse->{line}, subscription => $lapse->{subscription}, dirty => 1);
    $redis->cli('HSET', $redis->line_key(@$lapse{qw(tenant line)}), reading => $lapse->{op});

    ends($_) for $refund, $known, $orphan, $release, $lapse;
    is_deeply [$s->money($_->{subscription})], [900, 900, 'canceled'], 'all went back, once' for $refund, $known, $orphan;
    is $s->now_of($_)->{payment}, 'refunded', '... and the line says so' for $refund, $known;
    is_deeply [$s->money($release->{subscription})], [900, 0, 'canceled'], 'of what was released nothing';
    ok $s->now_of($lapse)->{ended}, 'what lapsed has ended';
};

promise 'the look at a base plan' => sub {
    $sandbox->customer('cus_base');
    $s->workspace('base', customer => 'cus_base');
    $sandbox->move($sandbox->adopt(customer => 'cus_base', price => 'price_growth')->{id}, status => 'canceled');
    my $plan = left({tenant => 'w:base', line => ''}, id => substr(Digest::SHA::sha256_hex('plan:w:base'), 0, 24), kind => 'plan', step => 'read', customer => 'cus_base', dirty => 3);
    ends($plan);
    is $redis->cli('HGET', 'lines:{w:base}:t', 'subscription'), 'canceled', 'it has ended';
};

$t->done;
