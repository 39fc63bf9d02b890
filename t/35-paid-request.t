# A line that has to be paid for: every sentence about its request, its link, its cancel and its end.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Paid;

# 39-paid-prism.t runs all of it with the schema's judge between nginx and billing
my $judged = ($ENV{LINES_PAID_VIA} // '') eq 'prism';

my $t       = Test::Lines->new(timeout => 600);
my $paid    = Test::Lines::Paid->new(t => $t);
my $sandbox = $paid->sandbox;
my $prism   = $judged ? $t->prism(upstream => $sandbox->url) : undef;
$paid->via($prism->port) if $prism;
my $redis   = $paid->redis;
my $nginx   = $paid->nginx(workers => 2);
my $n       = 0;

# a workspace, its key, and a line that awaits payment
sub pending (%data) {
    my $id     = 'pending' . ++$n;
    my $key    = $paid->workspace($id, %data);
    my $answer = $paid->request($key);
    is $answer->status, 201, "$id: created" or diag $answer->to_string;
    return ($id, $key, $answer->json('/line/_id'), $answer->json('/invoiceId'), $answer);
}

# the answer comes first, then the operation goes to rest; until then an event makes it look at once
sub rested ($id, $line) {
    my $hint = sub {
        my ($found) = grep { defined } map { $redis->cli('ZSCORE', "lines:{due:$_}", "w:$id $line") } 0 .. 15;
        return $found // 0;
    };
    wait_for(sub { $hint->() > (time + 20) * 1000 }, 30, 'its hint to be for later');
}

# billing takes effect once, and is not heard of again
sub silence ($path) {
    $sandbox->fault(path => $path, kind => 'drop_after', times => 1);
    $sandbox->fault(path => $path, kind => 'drop_before', times => 1000);
}

subtest 'a request that needs payment' => sub {
    my ($id, $key, $line, $invoice, $answer) = pending();

    my $json = $answer->json;
    is $json->{success}, Mojo::JSON->true;
    is $json->{status}, 'awaiting_payment';
    is $json->{paymentStatus}, 'pending';
    is $json->{paymentRequired}, Mojo::JSON->true;
    is $json->{line}{provisioningStatus}, 'awaiting_payment';
    is $json->{line}{isActive}, Mojo::JSON->false;
    like $line, qr/^[0-9a-f]{24}$/;
    like $json->{paymentUrl}, qr{^http://127\.0\.0\.1:\d+/\S+$};
    like $invoice, qr/^in_/;
    is_deeply [sort keys %$json], [sort qw(success status paymentStatus paymentRequired line paymentUrl invoiceId)], 'and no more';

    my ($made) = grep { $_->{metadata}{tenant} eq "w:$id" } $sandbox->ledger('subscription');
    is_deeply {%{$made->{metadata}}{qw(lines_deployment tenant line_request)}},
      {lines_deployment => 'test', tenant => "w:$id", line_request => $line}, 'the subscription says whose it is';

    my $read = $paid->read($key, $line);
    is $read->status, 200;
    is $read->json('/status'), 'awaiting_payment';

    my $second = $paid->request($key);
    is $second->status, 409, 'it blocks the next request';
    is_deeply {map { $_ => $second->json->{$_} } qw(success status)}, {success => Mojo::JSON->false, status => 'awaiting_payment'};
    ok length $second->json('/message');
    is $second->json('/line/_id'), $line, 'with the line';
    is $second->json('/paymentUrl'), $json->{paymentUrl}, 'and the way out';

    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');

    $read = $paid->read($key, $line);
    is_deeply [map { $read->json("/$_") } qw(status paymentStatus paymentRequired)], ['provisioning', 'paid', Mojo::JSON->false],
      'paid, and promoted by the webhook: no payment is required any more';

    my $third = $paid->request($key);
    is $third->status, 201, 'provisioning blocks nobody';
    isnt $third->json('/line/_id'), $line;

    $nginx->admin(POST => "lines/$line/status", {status => 'active'});
    is $paid->read($key, $line)->json('/line/isActive'), Mojo::JSON->true;
};

subtest 'no customer, no subscription' => sub {
    my $key    = $nginx->workspace(bare => {plan => 'paid'});
    my $answer = $paid->request($key);
    is $answer->status, 403;
    is $answer->json('/status'), 'subscription_required';
    is $redis->cli('ZCARD', 'lines:{w:bare}:lines'), 0, 'nothing was created';

    $key    = $paid->workspace('late', subscription => 'past_due');
    $answer = $paid->request($key);
    is $answer->status, 402;
    is $answer->json('/error'), 'READ_ONLY';
};

subtest 'idempotency' => sub {
    my $key  = $paid->workspace('again');
    my $body = $paid->body;
    my @args = ('/api/line-requests', $body, $nginx->bearer($key, 'Idempotency-Key' => 'k1'));

    my @answers = concurrently(40, sub ($i) { $nginx->post_json_p(@args) }, 40);
    my %by;
    push @{$by{$_->status}}, $_ for @answers;
    ok $by{201}, 'one at least is created';
    is_deeply [grep { !/^(?:201|409)$/ } keys %by], [], 'created, or in progress' or diag explain [map { $_->to_string } @answers];
    is scalar(grep { defined $_->header('Retry-After') } @{$by{409} // []}), scalar @{$by{409} // []}, 'to be tried again';

    my $replay = $nginx->post_json(@args);
    is $replay->status, 201;
    is $replay->header('Idempotency-Replayed'), 'true';
    is $replay->body, $by{201}[0]->body, 'word for word';

    is scalar(grep { $_->{metadata}{tenant} eq 'w:again' } $sandbox->ledger('subscription')), 1, 'one subscription';
    is $redis->cli('ZCARD', 'lines:{w:again}:lines'), 1, 'one line';

    my $other = $nginx->post_json('/api/line-requests', $paid->body, $args[2]);
    is $other->status, 422, 'another request under the key';

    my $operation = $replay->json('/line/_id');
    $sandbox->pay($replay->json('/invoiceId'));
    my $done = $paid->wait_done('again', $operation);
    is $nginx->post_json(@args)->body, $replay->body, 'the same after the payment';

    my $ttl = $redis->cli('TTL', $done->{idempotency});
    cmp_ok $ttl, '>', 86000, 'kept for a day from its end';
    cmp_ok $ttl, '<=', 86400;
};

subtest 'a refusal for good' => sub {
    my $key    = $paid->workspace('refused', customer => 'cus_nobody');
    my $answer = $paid->request($key, headers => {'Idempotency-Key' => 'r1'});
    is $answer->status, 402 or diag $answer->to_string;
    is $answer->json('/success'), Mojo::JSON->false;
    is $answer->json('/status'), 'canceled';
    ok length $answer->json('/message');
    ok length $answer->json('/line/reason'), 'with a reason';
    is $answer->json('/line/paymentStatus'), 'failed';

    my $line = $answer->json('/line/_id');
    is $paid->read($key, $line)->json('/status'), 'canceled';
    ok !$redis->cli('EXISTS', 'lines:{w:refused}:pending'), 'it blocks nothing';
    is $redis->cli('HGET', 'lines:{w:refused}:t', 'email_paid'), 0, 'and counts nothing';

    my $body = $nginx->post_json('/api/line-requests', {%{$paid->body}}, $nginx->bearer($key, 'Idempotency-Key' => 'r1'));
    is $body->status, 422;
    is $paid->request($key)->status, 402, 'the next one is heard';
};

subtest 'an outcome that is not known' => sub {
    my $key = $paid->workspace('unknown');
    silence('/v1/subscriptions');

    my $answer = $paid->request($key, headers => {'Idempotency-Key' => 'u1'});
    is $answer->status, 503 or diag $answer->to_string;
    ok $answer->header('Retry-After');
    my $line = $answer->json('/line/_id');
    like $line, qr/^[0-9a-f]{24}$/, 'with the line';
    is $answer->json('/paymentUrl'), undef, 'and no link';
    cmp_ok $answer->seconds, '<', 10 * $t->slow, 'within the budget';

    is $paid->action($key, $line, 'payment_link')->status, 503, 'nor is there one later';

    my $made = scalar grep { ($_->{metadata}{tenant} // '') eq 'w:unknown' } $sandbox->ledger('subscription');
    is $made, 1, 'though it was made, and once only';

    $sandbox->clear_faults;
    wait_for(sub { $paid->operation('unknown', $line)->{step} eq 'await' }, 30, 'the sweeper to resolve it');

    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200 or diag $link->to_string;
    is $link->json('/reused'), Mojo::JSON->true;
    is scalar(grep { ($_->{metadata}{tenant} // '') eq 'w:unknown' } $sandbox->ledger('subscription')), 1, 'with the same key';
};

subtest 'a repeat of what was canceled is told so, and not to pay' => sub {
    for my $when ('before billing answered', 'after it') {
        my $key  = $paid->workspace($when =~ s/ /-/gr);
        my $id   = $when =~ s/ /-/gr;
        my @args = ('/api/line-requests', $paid->body, $nginx->bearer($key, 'Idempotency-Key' => 'c1'));
        my $line;

        if ($when =~ /before/) {
            silence('/v1/subscriptions');
            my $answer = $nginx->post_json(@args);
            is $answer->status, 503, "$when: not known" or diag $answer->to_string;
            $line = $answer->json('/line/_id');
            is $paid->action($key, $line, 'cancel')->status, 503, '... nor canceled yet';
            $sandbox->clear_faults;
            $paid->wait_record($id, $line, 'canceled');
        }
        else {
            $line = $nginx->post_json(@args)->json('/line/_id');
            is $paid->action($key, $line, 'cancel')->status, 200, "$when: canceled";
        }

        my $again = $nginx->post_json(@args);
        is $again->status, 409, '... a repeat' or diag $again->to_string;
        is_deeply [map { $again->json($_) } qw(/success /status /message /line/_id /line/provisioningStatus /paymentUrl)],
          [Mojo::JSON->false, 'canceled', 'The line request was canceled.', $line, 'canceled', undef], '... is told so';
        is $again->header('Idempotency-Replayed'), 'true', '... as a repeat';
    }
};

subtest 'a saved 500 is replayed for ever: the object is looked up' => sub {
    my $key = $paid->workspace('saved');
    $sandbox->fault(path => '/v1/subscriptions', kind => '500_stored', times => 1, effect => Mojo::JSON->true);

    my $answer = $paid->request($key);
    is $answer->status, 201, 'found' or diag $answer->to_string;
    my $line = $answer->json('/line/_id');
    is $paid->operation('saved', $line)->{attempt}, 1, 'and adopted';
    my ($made) = grep { ($_->{metadata}{tenant} // '') eq 'w:saved' } $sandbox->ledger('subscription');
    is $answer->json('/invoiceId'), $made->{invoice};

    $key = $paid->workspace('lost');
    $sandbox->fault(path => '/v1/subscriptions', kind => '500_stored', times => 1, effect => Mojo::JSON->false);
    $answer = $paid->request($key);
    is $answer->status, 503;
    $line = $answer->json('/line/_id');
    wait_for(sub { $paid->operation('lost', $line)->{step} eq 'await' }, 60, 'it to be sent anew');
    is $paid->operation('lost', $line)->{attempt}, 2, 'absent twice: under a new key';
    is scalar(grep { ($_->{metadata}{tenant} // '') eq 'w:lost' } $sandbox->ledger('subscription')), 1;

    is $paid->action($key, $line, 'payment_link')->json('/reused'), Mojo::JSON->true;
};

subtest 'after 23 hours nothing is sent again, but looked up' => sub {
    my $day = 23 * 3600 * 1000;

    for my $case (['made', 'drop_after', 'await'], ['never', 'drop_before', 'done']) {
        my ($id, $kind, $step) = @$case;
        my $key = $paid->workspace($id);
        $sandbox->fault(path => '/v1/subscriptions', kind => $kind, times => 1);
        $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_before', times => 1000);
        my $line = $paid->request($key)->json('/line/_id');
        wait_for(sub { !$paid->operation($id, $line)->{lease_until} }, 30, 'rest');
        $redis->cli('HINCRBY', "lines:{w:$id}:op:$line", 'sent_at', -$day);
        my $posts = () = $sandbox->requests(POST => '/v1/subscriptions');
        $sandbox->clear_faults;
        wait_for(sub { $paid->operation($id, $line)->{step} eq $step }, 60, "it to be found, or not: $id");
        is scalar(() = $sandbox->requests(POST => '/v1/subscriptions')), $posts, "$id: nothing is sent";
        is $paid->operation($id, $line)->{attempt}, 1;
        is $paid->record($id, $line)->{status}, $step eq 'await' ? 'awaiting_payment' : 'canceled';
    }
};

subtest 'a hint that was lost is written again' => sub {
    my ($id, $key, $line, $invoice) = pending();
    my @shards = map {"lines:{due:$_}"} 0 .. 15;
    $redis->cli('ZREM', $_, "w:$id $line") for @shards;
    wait_for(sub { grep { defined $redis->cli('ZSCORE', $_, "w:$id $line") } @shards }, 30, 'the hint');
    pass 'the record is the truth';
};

subtest 'the link again' => sub {
    my ($id, $key, $line, $invoice, $answer) = pending();

    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200;
    is_deeply $link->json,
      {success => Mojo::JSON->true, status => 'awaiting_payment', paymentUrl => $answer->json('/paymentUrl'), invoiceId => $invoice, reused => Mojo::JSON->true},
      'the same link';

    is $paid->action($key, '0' x 24, 'payment_link')->status, 404;
    is $paid->action($key, 'nonsense', 'payment_link')->status, 400;
    is $paid->action($key, $line, 'explode')->json('/error'), 'Unsupported action';

    my $stranger = $paid->workspace('stranger');
    is $paid->action($stranger, $line, 'payment_link')->status, 404, "another workspace's";

    $nginx->admin(PUT => "workspaces/$id", {subscription => 'past_due'});
    is $paid->action($key, $line, 'payment_link')->body, $link->body, 'past due: paying is what there is to do';

    for my $state (qw(canceled none)) {
        $nginx->admin(PUT => "workspaces/$id", {subscription => $state});
        my $refused = $paid->action($key, $line, 'payment_link');
        is $refused->status, 403, $state;
        is $refused->json('/status'), 'subscription_required';
        is $refused->json('/redirect'), '/billing';
    }
    $nginx->admin(PUT => "workspaces/$id", {subscription => 'active'});

    # paid behind our back
    $sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/gone');
    $sandbox->pay($invoice);
    $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200, 'paid meanwhile: promoted';
    is_deeply [map { $link->json("/$_") } qw(success status paymentStatus)], [Mojo::JSON->true, 'provisioning', 'paid'];
    is $link->json('/line/_id'), $line;
    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));

    my $late = $paid->action($key, $line, 'payment_link');
    is $late->status, 409;
    is $late->json('/status'), 'provisioning';
};

# a script that Redis does not know is sent once more, behind what was sent with it
subtest 'a link from a Redis that has just forgotten its scripts' => sub {
    my ($id, $key, $line, $invoice, $answer) = pending();
    rested($id, $line);
    $redis->cli('SCRIPT', 'FLUSH');
    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200 or diag $link->to_string;
    is $link->json('/invoiceId'), $invoice;
};

subtest 'voided elsewhere: another attempt' => sub {
    my ($id, $key, $line, $invoice, $answer) = pending();
    rested($id, $line);
    $sandbox->void($invoice);
    $sandbox->wait_idle;
    is $paid->record($id, $line)->{status}, 'awaiting_payment', 'an event does not cancel';

    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200 or diag $link->to_string;
    is $link->json('/reused'), Mojo::JSON->false;
    isnt $link->json('/invoiceId'), $invoice;
    isnt $link->json('/paymentUrl'), $answer->json('/paymentUrl');

    my @made = grep { ($_->{metadata}{tenant} // '') eq "w:$id" } $sandbox->ledger('subscription');
    is scalar @made, 2;
    is_deeply [map { $_->{metadata}{attempt} } @made], [1, 2];

    $sandbox->pay($link->json('/invoiceId'));
    $paid->wait_record($id, $line, 'provisioning');
};

subtest 'an invoice that died blocks nobody for ever' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->void($invoice);
    $sandbox->wait_idle;

    my $next = $paid->request($key);
    is $next->status, 201, 'the next request cancels it' or diag $next->to_string;
    is $paid->read($key, $line)->json('/status'), 'canceled';
    ok length $paid->read($key, $line)->json('/line/reason');

    # the sweeper, at its next look
    my $second = $next->json('/line/_id');
    $sandbox->void($next->json('/invoiceId'));
    $sandbox->wait_idle;
    rested($id, $second);
    # an event that is still looked at may write down once more that it is later
    wait_for(sub {
        return 1 if $paid->record($id, $second)->{status} eq 'canceled';
        my ($shard) = grep { ($redis->cli('ZSCORE', "lines:{due:$_}", "w:$id $second") // 0) > 1000 * time } 0 .. 15;
        return 0 unless defined $shard;
        $redis->cli('HSET', "lines:{w:$id}:op:$second", 'due', 1);
        $redis->cli('ZADD', "lines:{due:$shard}", 1, "w:$id $second");
        return 0;
    }, 30, 'it to be canceled');
};

subtest 'expired after 23 hours' => sub {
    my ($id, $key, $line, $invoice) = pending();

    # whoever hears of it from billing may be faster, and cancel the line
    $sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/nobody');
    $sandbox->advance(24 * 3600);
    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200 or diag $link->to_string;
    is $link->json('/reused'), Mojo::JSON->false;
    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));
};

subtest 'uncollectible: canceled with a reason' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->give_up($invoice);
    my $h = $paid->wait_record($id, $line, 'canceled');
    is $h->{payment}, 'failed';
    ok length $h->{reason};
};

subtest 'cancel' => sub {
    my ($id, $key, $line, $invoice) = pending();

    my $cancel = $paid->action($key, $line, 'cancel');
    is $cancel->status, 200 or diag $cancel->to_string;
    is_deeply [map { $cancel->json($_) } qw(/success /status /line/_id /line/provisioningStatus /line/paymentStatus)],
      [Mojo::JSON->true, 'canceled', $line, 'canceled', 'failed'];

    my @effects = map { $_->{type} } grep { ($_->{metadata}{tenant} // '') eq "w:$id" } $sandbox->ledger;
    is_deeply \@effects, [qw(subscription void cancel)], 'void first';

    my $again = $paid->action($key, $line, 'cancel');
    is $again->status, 409;
    is $again->json('/status'), 'canceled';
    is $paid->action($key, $line, 'payment_link')->status, 409;
    is $paid->action($key, 'f' x 24, 'cancel')->status, 404;

    is $paid->request($key)->status, 201, 'the next request is free to go';
};

subtest 'cancel of a past-due workspace' => sub {
    my ($id, $key, $line) = pending();
    $nginx->admin(PUT => "workspaces/$id", {subscription => 'past_due'});
    is $paid->action($key, $line, 'cancel')->status, 200;
};

subtest 'payment wins over the cancel' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/gone');
    $sandbox->pay($invoice);
    my $cancel = $paid->action($key, $line, 'cancel');
    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));
    is $cancel->status, 409 or diag $cancel->to_string;
    is $cancel->json('/status'), 'provisioning';
    is $paid->operation($id, $line)->{wish} // '', '', 'and clears the wish';
};

subtest 'a cancel that billing does not answer' => sub {
    my ($id, $key, $line, $invoice) = pending();
    silence('/v1/invoices/:id/void');
    silence('/v1/subscriptions/:id');

    my $cancel = $paid->action($key, $line, 'cancel');
    is $cancel->status, 503 or diag $cancel->to_string;
    ok $cancel->header('Retry-After');
    is $paid->operation($id, $line)->{wish}, 'cancel', 'the wish stands';
    is $paid->action($key, $line, 'payment_link')->status, 409, 'and nobody gets the link';

    $sandbox->clear_faults;
    $paid->wait_record($id, $line, 'canceled');
};

subtest 'a cancel while the creation is undecided' => sub {
    my $key = $paid->workspace('undecided');
    silence('/v1/subscriptions');
    my $line = $paid->request($key)->json('/line/_id');
    my $cancel = $paid->action($key, $line, 'cancel');
    is $cancel->status, 503;
    $sandbox->clear_faults;
    $paid->wait_record('undecided', $line, 'canceled');
    is_deeply [map { $_->{type} } grep { ($_->{metadata}{tenant} // '') eq 'w:undecided' } $sandbox->ledger],
      [qw(subscription void cancel)], 'what was created goes on to void';
};

subtest 'forty cancels and a payment at once' => sub {
    for my $round (1 .. 4) {
        my ($id, $key, $line, $invoice) = pending();
        my @promises = (
            (map { $nginx->post_json_p("/api/line-requests/$line", {action => 'cancel'}, $nginx->bearer($key)) } 1 .. 10),
            $sandbox->client->post_json_p("/_sandbox/invoices/$invoice/pay", {card => 'ok'}),
            (map { $nginx->post_json_p("/api/line-requests/$line", {action => 'cancel'}, $nginx->bearer($key)) } 1 .. 10),
        );
        my @answers = concurrently(scalar @promises, sub ($i) { $promises[$i] });
        splice @answers, 10, 1;
        wait_for(sub { $paid->record($id, $line)->{status} ne 'awaiting_payment' }, 30, 'a decision');
        my $status = $paid->record($id, $line)->{status};
        my %seen = map { $_->status => 1 } @answers;
        ok !$seen{500}, "round $round: $status";
        ok !$seen{200}, 'nobody was told that it is canceled' if $status eq 'provisioning';
    }
};

subtest 'reading reconciles, once in five seconds' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/gone');

    my $sub    = $paid->record($id, $line)->{subscription};
    my $before = () = $sandbox->requests(GET => "/v1/subscriptions/$sub");
    my @reads  = concurrently(50, sub ($i) { $nginx->get_p("/api/line-requests/$line", $nginx->bearer($key)) }, 50);
    is_deeply [grep { $_->status != 200 } @reads], [], 'fifty readers';
    my $after = () = $sandbox->requests(GET => "/v1/subscriptions/$sub");
    is $after - $before, 1, 'one call';

    $sandbox->pay($invoice);
    wait_for(sub { $paid->read($key, $line)->json('/status') eq 'provisioning' }, 30, 'a reader to find out');
    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));

    ($id, $key, $line, $invoice) = pending();
    $sandbox->fault(path => '/v1/subscriptions/:id', kind => 'delay', ms => 1900, times => 1);
    my $read = $paid->read($key, $line);
    is $read->status, 200, 'billing is slow';
    is $read->json('/status'), 'awaiting_payment', 'what is known is answered';
    ok $paid->operation($id, $line)->{lease_until}, 'and billing is still being asked';
    $sandbox->clear_faults;
};

subtest 'a paid line that fails is refunded, a released one unsubscribed' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');
    is $nginx->admin(POST => "lines/$line/status", {status => 'failed', reason => 'no number'})->status, 200;
    wait_for(sub { $paid->record($id, $line)->{payment} eq 'refunded' }, 30, 'the refund');
    is $paid->read($key, $line)->json('/paymentStatus'), 'refunded';
    is $paid->read($key, $line)->json('/line/reason'), 'no number';
    is_deeply [map { $_->{type} } grep { ($_->{metadata}{tenant} // '') eq "w:$id" } $sandbox->ledger],
      [qw(subscription charge cancel refund)];

    ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');
    $nginx->admin(POST => "lines/$line/status", {status => 'active'});
    is $nginx->admin(POST => "lines/$line/release", {})->status, 200;
    wait_for(sub { grep { $_->{type} eq 'cancel' && ($_->{metadata}{tenant} // '') eq "w:$id" } $sandbox->ledger }, 30, 'the cancel');
    my $h = $paid->record($id, $line);
    is "$h->{status} $h->{active} $h->{payment}", 'active 0 paid', 'its history stays';
};

subtest 'a line that fails after renewals gets every charge back' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');

    # another's invoices stand between, and are none of this line's business
    my ($other, undef, $others, $theirs) = pending();
    $sandbox->pay($theirs);
    $paid->wait_record($other, $others, 'provisioning');

    my ($mine, $not) = map { $paid->record(@$_)->{subscription} } [$id, $line], [$other, $others];
    my @renewals = map { $sandbox->renew($not); $sandbox->renew($mine)->{id} } 1 .. 7;
    my $open     = $sandbox->renew($mine, 'declined')->{id};
    push @renewals, $sandbox->renew($mine)->{id};

    # the first answers of each kind are lost, with and without the effect
    $sandbox->fault(path => '/v1/credit_notes', kind => 'drop_after',  times => 2);
    $sandbox->fault(path => '/v1/credit_notes', kind => '500',         times => 1);
    $sandbox->fault(path => '/v1/invoices',     kind => 'drop_before', times => 2);
    is $nginx->admin(POST => "lines/$line/status", {status => 'failed', reason => 'no number'})->status, 200;
    wait_for(sub { $paid->record($id, $line)->{payment} eq 'refunded' }, 120, 'the refund');
    $sandbox->clear_faults;

    my @entries = grep { $_->{subscription} eq $mine } $sandbox->ledger;
    my %sum;
    $sum{$_->{type}}{$_->{invoice}} += $_->{amount} for grep { $_->{type} =~ /^(?:charge|refund)$/ } @entries;
    is_deeply [sort keys %{$sum{charge}}], [sort $invoice, @renewals], 'all were paid';
    is_deeply $sum{refund}, $sum{charge}, 'and each was paid back, once and in full';
    is $sandbox->call(GET => "/v1/invoices/$open")->json('/status'), 'void', 'what was open cannot be paid any more';

    my %keys;
    for my $note (grep { $_->{params}{invoice} && exists $sum{charge}{$_->{params}{invoice}} } $sandbox->requests(POST => '/v1/credit_notes')) {
        $keys{$note->{idempotency_key}}{$note->{params}{invoice}} = 1;
    }
    is_deeply [grep { keys %$_ != 1 } values %keys], [], 'no key was used for two of them';

    ok !(grep { $_->{type} eq 'refund' && $_->{subscription} eq $not } $sandbox->ledger), 'the other keeps what it paid for';
    is $paid->record($other, $others)->{status}, 'provisioning';
};

subtest 'what gets no answer is stuck, and is tried again by the word of the operator' => sub {
    $nginx->allow(qr/\[alert\].*(?:is stuck|gets no answer)/);
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');

    wait_for(sub { $paid->operation($id, $line)->{step} eq 'done' }, 30, 'the request to be done with');

    my $subscription = $paid->record($id, $line)->{subscription};
    $sandbox->fault(path => "/v1/subscriptions/$subscription", kind => '500', times => 1000);
    $nginx->admin(POST => "lines/$line/status", {status => 'failed'});

    my $list = sub { $nginx->admin(GET => 'operations?state=stuck')->json->{operations} };
    is $nginx->admin(GET => 'operations')->status, 400;
    is $nginx->admin(GET => "operations?state=stuck&cursor=$_")->status, 400, "cursor $_" for qw(1 x:w:one:a 1:w:one 1:w::a 1:one:a 1:w:one:a:b);
    my ($stuck) = @{wait_for(sub { my $l = $list->(); @$l && $l }, 60, 'it to be stuck')};
    is_deeply [@$stuck{qw(tenant kind step stuck line)}], ["w:$id", 'refund', 'cancel', 'no_answer', $line];

    $sandbox->clear_faults;
    my $retry = $nginx->admin(POST => "operations/$stuck->{id}/retry");
    is $retry->status, 200 or diag $retry->to_string;
    is $retry->json('/step'), 'done';
    is_deeply $list->(), [], 'no more';
    is $paid->record($id, $line)->{payment}, 'refunded';
    is $nginx->admin(POST => 'operations/' . ('0' x 24) . '/retry')->status, 404;
};

subtest 'lines_operations' => sub {
    for my $case (
        ['lease=20s sweep=5s due=30s budget=3s poll=1m,5m,30m every=1h dead=23h5m batch=16', 0],
        ['lease', 1], ['lease=', 1], ['lease=0', 1], ['lease=soon', 1], ['patience=1s', 1], ['batch=0', 1], ['batch=x', 1],
        ['lease=1s lease=2s', 1], ['poll=5m,1m', 1], ['poll=', 1], ['poll=1m,', 1], ['poll=1m poll=2m', 1]
      )
    {
        my ($args, $bad) = @$case;
        my ($code, $output) = $t->test_config(redis => $redis, http => "lines_operations $args;");
        is !!$code, !!$bad, $args or diag $output;
        like $output, qr/parameter ".*" of "lines_operations" in .*:\d+/, 'by name and line' if $bad;
    }
};

subtest 'a refund that is refused is counted again, and stuck if as much is due; never silently done' => sub {
    my ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');

    # between our count and our refund somebody refunds a part: what is left is another amount
    my $asked = () = $sandbox->requests(POST => '/v1/credit_notes');
    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '500', times => 1000, except => "part-$id");
    $nginx->admin(POST => "lines/$line/status", {status => 'failed'});
    my ($op) = map { $_ eq $line ? () : $_ } @{wait_for(sub { my $l = $redis->cli('SMEMBERS', "lines:{w:$id}:ops"); @$l && $l }, 30, 'the refund')};
    wait_for(sub { my $n = () = $sandbox->requests(POST => '/v1/credit_notes'); $n > $asked }, 30, 'its first try');
    my $part = $sandbox->call(POST => '/v1/credit_notes', {invoice => $invoice, amount => 1, refund_amount => 1}, {'Idempotency-Key' => "part-$id"});
    is $part->status, 200 or diag $part->to_string;
    $sandbox->clear_faults;

    wait_for(sub { $paid->record($id, $line)->{payment} eq 'refunded' }, 60, 'what is left');
    is $paid->operation($id, $op)->{step}, 'done';

    ($id, $key, $line, $invoice) = pending();
    $sandbox->pay($invoice);
    $paid->wait_record($id, $line, 'provisioning');
    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '400', times => 1000);
    my $mark = $nginx->log_mark;
    $nginx->admin(POST => "lines/$line/status", {status => 'failed'});
    $nginx->wait_log(qr/\[alert\].* is stuck: refund_refused, invoice "$invoice"/, $mark);
    ($op) = map { $_ eq $line ? () : $_ } @{wait_for(sub { my $l = $redis->cli('SMEMBERS', "lines:{w:$id}:ops"); @$l && $l }, 30, 'the refund')};
    wait_for(sub { ($paid->operation($id, $op)->{stuck} // '') eq 'refund_refused' }, 60, 'the refusal');
    is $paid->record($id, $line)->{payment}, 'paid';
    is_deeply [map { $_->{id} } @{$nginx->admin(GET => 'operations?state=stuck')->json->{operations}}], [$op];
    $sandbox->clear_faults;

    my $retry = $nginx->admin(POST => "operations/$op/retry");
    is $retry->json('/step'), 'done', 'again: it is refunded' or diag $retry->to_string;
    is $paid->record($id, $line)->{payment}, 'refunded';
};

$sandbox->wait_idle;
$paid->agree('billing and lines agree about every cent');

is_deeply [$prism->refusals], [], 'not one request was refused by the schema' if $prism;

$t->done;
