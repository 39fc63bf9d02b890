# The operator's way out of what is stuck: a person says what is true, and why. What billing shows comes first; where that does not
# help, the operation goes to its end by what was said, and it is written down who said it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);
use Time::HiRes ();

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(module => 'failpoints', workers => 2);
my $made    = 0;

$s->numbers(9);
$nginx->allow(qr/is stuck|gets no answer|exited on signal 9/);

sub listed ($tenant) { grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

# the operation of a tenant that is listed, once it is stuck for that
sub stuck ($tenant, $why) {
    my $found = wait_for(sub { my ($op) = grep { ($_->{stuck} // '') eq $why } listed($tenant); $op }, 30, "$tenant to be stuck: $why");
    pass "it is stuck: $why";
    return $found;
}

# sixteen rests later
sub no_answer ($tenant, $id) {
    wait_for(sub { my $op = $s->op($tenant, $id); ($op->{step} // 'done') ne 'done' && ($op->{tries} // 0) > 0 }, 30, 'it to be tried');
    $redis->cli('HSET', "lines:{$tenant}:op:$id", tries => 14);
    return stuck($tenant, 'no_answer');
}

# what is tried just then has not heard of it: 503, and it is to be repeated
sub resolve ($op, $as, $note = 'seen by me') {
    my $answer;
    wait_for(sub { $answer = $nginx->admin(POST => "operations/$op->{id}/resolve", {as => $as, note => $note}); $answer->status != 503 }, 20, 'an answer');
    return $answer;
}

# it is not tried by itself for a while
sub rests ($op) {
    wait_for(sub {
        $s->due($op->{tenant}, $op->{id}, time * 1000 + 60_000);
        Time::HiRes::sleep(0.1);
        !$s->op($op->{tenant}, $op->{id})->{lease_until} && ($s->hint($op->{tenant}, $op->{id}) // 0) > time * 1000 + 30_000;
    }, 20, 'it to be at rest');
    return $op;
}

# to its end, by that word
sub ends ($op, $as, $note = 'seen by me') {
    my $answer = resolve($op, $as, $note);
    is $answer->status, 200, "it is $as" or diag $answer->to_string;
    $s->soon(sub { $s->op($op->{tenant}, $op->{id})->{step} eq 'done' }, 'it comes to its end');
    ok !(grep { $_->{id} eq $op->{id} } listed($op->{tenant})), '... and is listed no more';
    return $answer;
}

sub line ($what, %card) {
    my $customer = 'cus_r' . ++$made;
    $sandbox->customer($customer, 'ok', 'default', $card{refunds} // 'succeeded');
    my $method = "${what}_line";
    return {%{$s->$method(name => "r$made", workspace => {customer => $customer})}, customer => $customer};
}

sub refunds_of ($line) { grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')} }

sub refused ($line) {
    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '400', times => 1000);
    $s->report($line, 'failed');
    return stuck($line->{tenant}, 'refund_refused');
}

# begun, and not yet at its end
sub confirms ($name, $wanted) {
    my $account = $s->account($name);
    my $token   = $s->token($account);
    my $answer  = $s->confirm($account, $token, key => 'k');
    is $answer->status, 503, 'it is pending' or diag $answer->to_string;
    my $line = {name => $name, tenant => "a:$name", account => $account, token => $token, line => $s->operation_id($token)};
    is $s->op($line->{tenant}, $line->{line})->{step}, $wanted, "... in \"$wanted\"";
    return $line;
}

sub undone ($line) {
    my $answer = $s->confirm($line->{account}, $line->{token}, key => 'k');
    is $answer->status, 500, 'its client hears that there is none' or diag $answer->to_string;
    is $s->counts->{assigned} + $s->counts->{leased}, 0, 'no number is taken';
    is_deeply [$s->window($line->{account})], [], 'nor a place in the window';
    for my $bought ($s->bought($line->{account})) {
        my ($paid, $back, $status) = $s->money($bought->{subscription});
        is_deeply [$back, $status], [$paid, 'canceled'], 'nobody paid for it';
    }
}

promise 'a refund that failed was made up for by a transfer: nothing more goes back, and it is written down' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->report($line, 'failed');
    $s->soon(sub { ($s->now_of($line)->{payment} // '') eq 'refunded' }, 'its refund ends');
    $s->rest($line->{tenant});
    $sandbox->settle((refunds_of($line))[0]{id} => 'failed');

    my $op = stuck($line->{tenant}, 'refund_failed');
    is_deeply $op->{due}, {invoice => $line->{invoice}, amount => 900}, 'it says what is due';
    is_deeply $op->{resolved}, {as => undef, note => undef, by => undef, at => undef}, 'and that nobody has said anything';

    my $mark = $nginx->log_mark;
    my $said = ends($op, 'settled', 'Sent by transfer, ticket 17');
    is_deeply [@{$said->json('/resolved')}{qw(as note by)}], ['settled', 'Sent by transfer, ticket 17', 'ops'], 'what was said, and by whom';
    cmp_ok abs($said->json('/resolved/at') / 1000 - time), '<', 30, '... and when';
    is scalar(refunds_of($line)), 1, 'nothing went back again';

    $nginx->wait_log(qr/\[notice\].*$op->{id}.*refund_failed.*$line->{invoice}.*due "900".*settled.*ticket 17/, $mark);
    my %event = map { $_->{type} eq 'operation.resolved' ? %$_ : () } $redis->events($line->{tenant});
    delete @event{qw(id at)};
    is_deeply \%event, {type => 'operation.resolved', operation => $op->{id}, kind => 'refund', step => 'cancel', stuck => 'refund_failed', invoice => $line->{invoice},
        due => 900, as => 'settled', by => 'ops', note => 'Sent by transfer, ticket 17'}, "it is among the tenant's events";

    my $again = resolve($op, 'settled', 'Sent by transfer, ticket 17');
    is $again->status, 200, 'the same again says the same' or diag $again->to_string;
    is_deeply $again->json('/resolved'), $said->json('/resolved'), '... as it was';
    my $other = resolve($op, 'settled', 'or not');
    is $other->status, 409, 'something else: it is not stuck';
    is $other->json('/step'), 'done', '... and says so';

    # another event about it begins it once more: what was said of that invoice is still true
    $s->event('refund.failed', (refunds_of($line))[0]);
    $s->rest($line->{tenant});
    is_deeply [listed($line->{tenant})], [], 'nobody is asked again';
};

promise 'a refund that failed was made up for at billing: that counts first, and where it fails as well it is due again' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->report($line, 'failed');
    $s->soon(sub { ($s->now_of($line)->{payment} // '') eq 'refunded' }, 'its refund ends');
    $s->rest($line->{tenant});
    $sandbox->settle((refunds_of($line))[0]{id} => 'failed');
    my $op = rests(stuck($line->{tenant}, 'refund_failed'));

    my $again = $sandbox->refund($line->{invoice});
    ends($op, 'settled', 'Refunded in the dashboard');
    $sandbox->settle($again->{id} => 'failed');
    $op = stuck($line->{tenant}, 'refund_failed');
    is_deeply $op->{due}, {invoice => $line->{invoice}, amount => 900}, 'all of it is due';

    # of what he gives back in part there, the word is good for the rest
    $sandbox->customer($line->{customer}, 'ok', 'default', 'succeeded');
    rests($op);
    $sandbox->refund($line->{invoice}, 400);
    ends($op, 'settled', 'The rest by transfer');
    is_deeply [@{$redis->cli('HGETALL', "lines:{$line->{tenant}}:settled")}], [$line->{invoice}, 500], 'no more than what was left';
};

promise 'what is settled is not sent once more, though it could be by now; the other invoices go back' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    $sandbox->renew($line->{subscription});
    $sandbox->wait_idle;
    my $op = rests(refused($line));
    isnt $op->{due}{invoice}, $line->{invoice}, 'the renewal is looked at first';
    $sandbox->clear_faults;
    ends($op, 'settled');
    is +($s->money($line->{subscription}, $op->{due}{invoice}))[1], 0, 'the one that is settled stays as it is';
    is +($s->money($line->{subscription}, $line->{invoice}))[1], 900, 'the other goes back';
    is $s->now_of($line)->{payment}, 'refunded', 'and the line says so';
};

promise 'the next invoice is stuck, too: the same word is not taken for it' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    $sandbox->renew($line->{subscription});
    $sandbox->wait_idle;
    my $op = refused($line);
    is resolve($op, 'settled', 'one')->status, 200, 'it is settled';
    my $next = wait_for(sub { my ($o) = grep { $_->{stuck} && $_->{due}{invoice} eq $line->{invoice} } listed($line->{tenant}); $o }, 20, 'the other to be stuck');
    my $again = resolve($op, 'settled', 'one');
    is $again->status, 409, 'a repeat is about the first';
    is $again->json('/stuck'), 'refund_refused', '... and says what it is now';
    ends($op, 'settled', 'two');
    $sandbox->clear_faults;
    is +($s->money($line->{subscription}))[1], 0, 'nothing went back';
};

promise 'one invoice was reported, then billing knows us no more: nothing is shown as due, and the word is about all' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    refused($line);
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '401', times => 1000);
    my $now = stuck($line->{tenant}, 'billing_alert');
    is_deeply $now->{due}, {invoice => undef, amount => undef}, 'what was reported before is not what it is about';
    ends($now, 'settled');
    $sandbox->clear_faults;
    my %event = map { $_->{type} eq 'operation.resolved' ? %$_ : () } $redis->events($line->{tenant});
    is_deeply [map { $event{$_} // '' } qw(stuck invoice due)], ['billing_alert', '', ''], '... nor does the event say so';
};

promise 'a purchase that was undone, its refund refused, settled: its payment is told again, and nothing goes back' => sub {
    $told->set(status => 503);
    my $line = confirms('paid' . ++$made, 'tell');
    $line->{subscription} = $s->op(@$line{qw(tenant line)})->{subscription};
    ($line->{invoice}) = map { $_->{invoice} } grep { $_->{subscription} eq $line->{subscription} } $sandbox->ledger('charge');
    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '400', times => 1000);
    $told->set(status => 400);
    my $op = stuck($line->{tenant}, 'refund_refused');
    is $op->{step}, 'undo:charge', 'in its undo';
    ends($op, 'settled');
    $sandbox->clear_faults;
    $told->set(status => 200);
    $nginx->allow(qr/no line holds/);
    is $s->told_again($line)->status, 200, 'the event comes again';
    $s->soon(sub { scalar grep { $_->{type} eq 'orphan.refunded' } $redis->events($line->{tenant}) }, 'an orphan looks at it');
    is +($s->money($line->{subscription}))[1], 0, '... which finds nothing due: the customer has it already';
};

promise 'a line that was canceled, a part was paid, its refund refused, settled: nothing goes back by an event' => sub {
    my $line = line('pending');
    $sandbox->pay($line->{invoice}, 'ok', 400);
    $sandbox->fault(path => '/v1/refunds', method => 'POST', kind => '400', times => 1000);
    eval { $s->action($line->{key}, $line->{line}, 'cancel') };
    ends(stuck($line->{tenant}, 'refund_refused'), 'settled');
    $sandbox->clear_faults;
    is $s->now_of($line)->{status}, 'canceled', 'the line is canceled, as was asked for';
    is $s->event('invoice.paid', $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json)->status, 200, 'an event';
    $s->soon(sub { scalar grep { $_->{type} eq 'orphan.refunded' } $redis->events($line->{tenant}) }, 'an orphan looks at it');
    is +($s->money($line->{subscription}))[1], 0, '... which finds nothing due';
};

promise 'settled of what was due; what had gone back before fails later: that is due, and reported' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->rest($line->{tenant});
    $s->hand(refund => $line->{invoice}, 300);
    my $op = refused($line);
    is_deeply $op->{due}, {invoice => $line->{invoice}, amount => 600}, '600 are due';
    ends($op, 'settled', '600 sent by transfer');
    $sandbox->clear_faults;
    $sandbox->settle((refunds_of($line))[0]{id} => 'failed');
    my $next = stuck($line->{tenant}, 'refund_failed');
    is_deeply $next->{due}, {invoice => $line->{invoice}, amount => 300}, 'the other 300 are';
    ends($next, 'settled', 'and 300');
    is $redis->cli('HGET', "lines:{$line->{tenant}}:settled", $line->{invoice}), 900, 'all of it is remembered';
    cmp_ok $redis->cli('TTL', "lines:{$line->{tenant}}:settled"), '>', 399 * 86400, '... as long as it may be asked for';
};

promise 'settled, and its operation forgotten; a dispute of it is won: nothing goes back once more' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    my $op = refused($line);
    ends($op, 'settled');
    $sandbox->clear_faults;
    $s->rest($line->{tenant});
    $redis->cli('DEL', "lines:{$line->{tenant}}:op:$op->{id}");
    my $dispute = $sandbox->dispute($line->{invoice});
    $sandbox->wait_idle;
    $s->rest($line->{tenant});
    $sandbox->judge($dispute->{id}, 'won');
    $s->soon(sub { ($s->op($line->{tenant}, $op->{id})->{step} // '') eq 'done' }, 'it is counted again');
    is +($s->money($line->{subscription}))[1], 0, 'nothing is due';
};

for my $case (['its subscription cannot be canceled', '/v1/subscriptions/:id', 'DELETE', '400', 'cancel_refused'],
    ['its invoices cannot be read', '/v1/invoices', 'GET', '400', 'invoices_refused'],
    ['its money cannot be counted', '/v1/credit_notes', 'GET', '400', 'money_refused'],
    ['billing knows us no more', '/v1/subscriptions/:id', 'DELETE', '401', 'billing_alert'],
    ['billing does not answer', '/v1/subscriptions/:id', 'DELETE', '500', 'no_answer'])
{
    my ($what, $path, $method, $kind, $why) = @$case;

    promise "a refund of which $what: settled, it ends without asking" => sub {
        my $line = line('paid');
        $s->rest($line->{tenant});
        $sandbox->fault(path => $path, method => $method, kind => $kind, times => 1000);
        $s->report($line, 'failed');
        my ($id) = @{wait_for(sub { my $ops = $redis->cli('SMEMBERS', "lines:{$line->{tenant}}:ops"); @$ops && $ops }, 20, 'the refund')};
        my $op = $why eq 'no_answer' ? no_answer($line->{tenant}, $id) : stuck($line->{tenant}, $why);
        is resolve($op, 'canceled')->json('/as'), 'settled', 'there is nothing to cancel: it says what can be said';
        my $until = time + 1;
        wait_for(sub { time > $until }, 10, 'a second after its payment');
        ends($op, 'settled');
        $sandbox->clear_faults;
        $s->hand(cancel => $line->{subscription}) if ($s->money($line->{subscription}))[2] ne 'canceled';
        is +($s->money($line->{subscription}))[1], 0, 'nothing went back';
        my $fence = sub { $s->op($line->{tenant}, $op->{id})->{fence} };
        my $was = $fence->();
        $nginx->allow(qr/no line holds/);
        is $s->told_again($line)->status, 200, 'its payment is told again';
        $s->soon(sub { $fence->() > $was }, 'it is looked at');
        $s->rest($line->{tenant});
        is +($s->money($line->{subscription}))[1], 0, '... and nothing goes back';
        is $s->now_of($line)->{payment}, 'refunded', '... which its line says';
    };
}

promise 'settled as it could not be read; what had gone back before fails later: that is reported, once more' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->rest($line->{tenant});
    $s->hand(refund => $line->{invoice}, 300);
    $sandbox->fault(path => '/v1/credit_notes', method => 'GET', kind => '400', times => 1000);
    $s->report($line, 'failed');
    my $op    = stuck($line->{tenant}, 'money_refused');
    my $until = time + 1;
    wait_for(sub { time > $until }, 10, 'a second after its payment');
    ends($op, 'settled', '600 sent by transfer');
    $sandbox->clear_faults;
    $sandbox->settle((refunds_of($line))[0]{id} => 'failed');
    my $next = stuck($line->{tenant}, 'refund_failed');
    ends($next, 'settled', 'and 300');
};

promise 'said when the clock had been set back since it began: it ends all the same' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '401', times => 1000);
    $s->report($line, 'failed');
    my $op = rests(stuck($line->{tenant}, 'billing_alert'));
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:op:$op->{id}", begun => 600_000);
    ends($op, 'settled');
    $sandbox->clear_faults;
};

promise 'a release whose subscription cannot be canceled' => sub {
    my $line = line('active');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '400', times => 1000);
    $s->release($line);
    ends(stuck($line->{tenant}, 'cancel_refused'), 'settled');
    $sandbox->clear_faults;
};

promise 'an add-on that cannot be read' => sub {
    my $line = line('active');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '401', times => 1000);
    $sandbox->move($line->{subscription}, status => 'past_due');
    ends(stuck($line->{tenant}, 'billing_alert'), 'settled');
    $sandbox->clear_faults;
    ok $s->is_live($line), 'the line stays as it was';
};

promise 'a base plan that cannot be read' => sub {
    my $name = 'base' . ++$made;
    $sandbox->customer("cus_$name");
    $s->workspace($name, customer => "cus_$name");
    my $plan = $sandbox->adopt(customer => "cus_$name", price => 'price_growth');
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '401', times => 1000);
    $s->event('customer.subscription.updated', $plan);
    ends(stuck("w:$name", 'billing_alert'), 'settled');
    $sandbox->clear_faults;
    is $redis->cli('HGET', "lines:{w:$name}:t", 'subscription'), 'active', 'the workspace stays as it was';
};

promise 'a line that nobody could be billed for: canceled, and another can be requested' => sub {
    my $name = 'sent' . ++$made;
    $sandbox->customer("cus_$name");
    my $key = $s->workspace($name, customer => "cus_$name");
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '401', times => 1000);
    my $made = $s->request($key);
    my $op   = stuck("w:$name", 'billing_alert');
    is $op->{step}, 'send', 'nothing is sent';
    is resolve($op, 'settled')->json('/as'), 'canceled', 'no money came in: it says what can be said';
    ends($op, 'canceled');
    my $line = {tenant => "w:$name", key => $key, line => $op->{line}};
    is $s->now_of($line)->{status}, 'canceled', 'the line is';
    is $s->shown($line)->{reason} // $s->now_of($line)->{reason}, 'canceled_by_operator', '... and says why';
    $sandbox->clear_faults;
    is $s->request($key)->status, 201, 'its place is free';
};

promise 'an invoice that billing does not know any more: its line is canceled' => sub {
    my $line = line('pending');
    $redis->cli('HSET', "lines:{$line->{tenant}}:op:$line->{line}", invoice => 'in_none');
    $s->read($line->{key}, $line->{line});
    ends(stuck($line->{tenant}, 'invoice_missing'), 'canceled');
    is $s->now_of($line)->{status}, 'canceled', 'the line is';
};

promise 'canceled by a person, paid meanwhile: what is true wins, and the line is a paid one' => sub {
    my $line = line('pending');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '401', times => 1000);
    $s->read($line->{key}, $line->{line});
    my $op = rests(stuck($line->{tenant}, 'billing_alert'));
    $s->deaf;
    $sandbox->pay($line->{invoice});
    $sandbox->clear_faults;
    is resolve($op, 'canceled')->status, 200, 'it is canceled';
    $s->soon(sub { $s->is_live($line) }, 'it was paid: the line is there');
    $s->hears;
    my ($paid, $back) = $s->money($line->{subscription});
    is_deeply [$paid, $back], [900, 0], 'for its money';
};

promise 'canceled where billing said nothing, and it was paid: its money goes back with the next event' => sub {
    my $line = line('pending');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '401', times => 1000);
    $s->read($line->{key}, $line->{line});
    my $op = rests(stuck($line->{tenant}, 'billing_alert'));
    $s->deaf;
    $sandbox->pay($line->{invoice});
    ends($op, 'canceled');
    is $s->now_of($line)->{status}, 'canceled', 'there is no line';
    $sandbox->clear_faults;
    $s->hears;
    $s->told_again($line);
    $s->soon(sub { my ($paid, $back, $status) = $s->money($line->{subscription}); $back == $paid && $status eq 'canceled' }, 'nor its money');
};

promise 'the provisioner of a paid line is gone for good: it fails, and is paid back' => sub {
    $told->set(status => 503);
    my $line = line('paid');
    ends(no_answer($line->{tenant}, $line->{line}), 'canceled');
    is_deeply [@{$s->now_of($line)}{qw(status reason)}], ['failed', 'canceled_by_operator'], 'the line failed, and says why';
    $s->soon(sub { ($s->now_of($line)->{payment} // '') eq 'refunded' }, 'its money is back');
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], '... all of it, once';
};

promise 'a purchase that the provisioner is not told of: undone' => sub {
    my $line = confirms('tell' . ++$made, 'tell');
    ends(no_answer($line->{tenant}, $line->{line}), 'canceled');
    undone($line);
};

promise '... unless it is told of it by then: its line is there' => sub {
    my $line = confirms('tell' . ++$made, 'tell');
    my $op   = rests(no_answer($line->{tenant}, $line->{line}));
    $told->set(status => 200);
    ends($op, 'canceled');
    is $s->confirm($line->{account}, $line->{token}, key => 'k')->status, 200, 'the client has it';
};

for my $case (['card', '/v1/customers/:id', 'GET'], ['charge', '/v1/subscriptions', 'POST']) {
    my ($step, $path, $method) = @$case;

    promise "a purchase in \"$step\", and billing knows us no more: undone" => sub {
        $sandbox->fault(path => $path, method => $method, kind => '401', times => 1000);
        my $before = $s->counts->{leased} + $s->counts->{assigned};
        my $line   = confirms("c$step", $step);
        ends(stuck($line->{tenant}, 'billing_alert'), 'canceled');
        $sandbox->clear_faults;
        is $s->confirm($line->{account}, $line->{token}, key => 'k')->status, 500, 'its client hears so';
        is $s->counts->{leased} + $s->counts->{assigned}, $before, 'no number is taken';
        is_deeply [$s->window($line->{account})], [], 'nor a place in the window';
        is_deeply [$s->bought($line->{account})], [], 'nothing was charged';
    };
}

promise 'a purchase whose subscription is gone, and then cannot be undone: two words' => sub {
    $told->set(status => 503);
    my $line = confirms('gone' . ++$made, 'tell');
    $sandbox->fault(path => '/v1/subscriptions/:id', kind => '401', times => 1000);
    my $op = stuck($line->{tenant}, 'billing_alert');
    is resolve($op, 'canceled')->status, 200, 'it is canceled';
    my $next = wait_for(sub { my ($o) = grep { $_->{step} eq 'undo:charge' && $_->{stuck} } listed($line->{tenant}); $o }, 20, 'the undo to be stuck');
    is resolve($op, 'canceled', 'else')->json('/as'), 'settled', 'of an undo something else is to be said';
    ends($op, 'settled', 'canceled and refunded in the dashboard');
    $sandbox->clear_faults;
    $told->set(status => 200);
    is $s->confirm($line->{account}, $line->{token}, key => 'k')->status, 500, 'its client hears that there is none';
};

promise 'what is no word, or no note, or of nothing' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    my $op   = refused($line);
    my $post = sub ($id, $body) { my $a = $nginx->admin(POST => "operations/$id/resolve", $body); [$a->status, $a->json('/error')] };

    is_deeply $post->($op->{id}, {note => 'n'}), [400, 'as must be settled or canceled'];
    is_deeply $post->($op->{id}, {as => 'done', note => 'n'}), [400, 'as must be settled or canceled'];
    is_deeply $post->($op->{id}, {as => 'settled'}), [400, 'note is required'];
    is $post->($op->{id}, {as => 'settled', note => $_})->[0], 400, 'no note' for '', ' ', 7, "a\nb", 'x' x 501;
    is_deeply $post->('f' x 24, {as => 'settled', note => 'n'}), [404, 'Operation not found'];
    is_deeply $post->('x', {as => 'settled', note => 'n'}), [400, 'Invalid operation id'];
    is $nginx->post_json("/_lines/admin/operations/$op->{id}/resolve", {as => 'settled', note => 'n'}, {})->status, 401, 'nobody';
    is $s->op($line->{tenant}, $op->{id})->{resolved}, undef, 'nothing was written down';

    # somebody holds it
    rests($op);
    $redis->cli('HSET', "lines:{$line->{tenant}}:op:$op->{id}", lease_until => time * 1000 + 2000);
    my $busy = $nginx->admin(POST => "operations/$op->{id}/resolve", {as => 'settled', note => 'n'});
    is $busy->status, 503, 'who tries it just now has not heard of it';
    ok $busy->header('Retry-After'), '... say it again';
    ends($op, 'settled', 'x' x 500);
    $sandbox->clear_faults;
};

promise 'the worker dies with the word written down: another goes on by it' => sub {
    my $line = line('paid');
    $s->rest($line->{tenant});
    my $op = refused($line);
    $nginx->http($nginx->http . "\nlines_failpoint op.claim.after.$op->{kind}.$op->{step};\n")->reload(wait_old => 1);
    # it may be killed by the hourly try: then the word comes to another
    my $answer = eval { resolve($op, 'settled') };
    resolve($op, 'settled');
    $s->soon(sub { $s->op($line->{tenant}, $op->{id})->{step} eq 'done' }, 'it comes to its end', 15);
    $sandbox->clear_faults;
    is +($s->money($line->{subscription}))[1], 0, 'nothing went back';
};

$t->done;
