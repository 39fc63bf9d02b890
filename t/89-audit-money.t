# The auditor on money that went back, on base plans, on what outlives its line, and on what cannot be read: nobody tells it, and it
# finds each within a pass.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=10ms pass=200ms');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(server => 'location = /metrics { lines_metrics; }');
my $audit   = Test::Lines::Audit->new(scenario => $s);

$s->numbers(20);

sub workspace_now ($name) { return {@{scalar $redis->cli('HGETALL', "lines:{w:$name}:t")}} }

promise 'all that a line paid was given back by hand, and it goes on: shown as long as it is so' => sub {
    my @lines = ($s->active_line, $s->bought_line, $s->active_line);
    $s->rest($_->{tenant}) for @lines;
    $s->deaf;
    $s->hand(refund => $lines[0]{invoice});
    $s->hand(credit => $lines[1]{invoice});
    $s->hand(refund => $lines[2]{invoice}, 100);
    $audit->shows(credited => $_->{line}, 'shown', qr/^active$/, qr/went back/) for @lines[0, 1];
    $audit->whole_pass for 1 .. 2;
    ok $audit->found(credited => $_->{line}), 'no pass forgets it' for @lines[0, 1];
    ok !$audit->found(credited => $lines[2]{line}), 'a part is nothing of ours';
    ok $s->is_live($_), 'the line goes on' for @lines;
    is_deeply [map { ($s->money($_->{subscription}))[2] } @lines], [('active') x 3], 'and so does its subscription';
    $sandbox->renew($lines[0]{subscription});
    $audit->gone(credited => $lines[0]{line});
    ok !$s->now_of($lines[2])->{doubted}, 'what turned out to be well is not counted again';
    $s->hand(cancel => $lines[1]{subscription});
    $audit->gone(credited => $lines[1]{line});
    $s->hears;
};

promise 'it ends while its money is counted: that is not shown' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    my $told = $audit->counted('credited');
    my $reads = sub { scalar grep { $_->{query} =~ /payment_intent/ } $sandbox->requests(GET => '/v1/disputes') };
    $s->deaf;
    $sandbox->fault(path => '/v1/disputes', method => 'GET', kind => 'delay', ms => 1500, times => 50);
    my $before = $reads->();
    $s->hand(refund => $line->{invoice});
    wait_for(sub { $reads->() >= $before + 2 }, 30, 'its money to be counted once more');
    $s->hears;
    $s->hand(cancel => $line->{subscription});
    $s->soon(sub { $s->now_of($line)->{ended} }, 'it has ended');
    $sandbox->clear_faults;
    $audit->whole_pass;
    ok !$audit->found(credited => $line->{line}), 'nothing is shown';
    is $audit->counted('credited'), $told, '... nor counted';
};

promise 'a bank took the payment back, and the event was lost: the line ends' => sub {
    my @lines = ($s->active_line, $s->bought_line, $s->active_line);
    $s->rest($_->{tenant}) for @lines;
    $s->deaf;
    $sandbox->dispute($_->{invoice}) for @lines[0, 1];
    $sandbox->dispute($lines[2]{invoice}, status => 'warning_needs_response');
    for my $line (@lines[0, 1]) {
        $audit->shows(disputed => $line->{line}, 'repaired', qr/^active$/, qr/bank/);
        $s->soon(sub { $s->now_of($line)->{ended} && ($s->money($line->{subscription}))[2] eq 'canceled' }, 'it ends, and its subscription');
        is +($s->money($line->{subscription}))[1], 0, '... and nothing is given back';
    }
    $audit->whole_pass;
    ok $s->is_live($lines[2]), 'a bank that only asks ends nothing';
    my $once = $audit->counted('disputed');
    $audit->whole_pass;
    is $audit->counted('disputed'), $once, 'it is counted once';
    $s->hears;
};

promise 'a refund of what no line holds failed, and the event was lost: it counts again, and is stuck' => sub {
    my $then = $s->remember;
    my $line = $s->bought_line;
    $s->forget_since($then);
    $audit->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'it was refunded');
    $s->rest($line->{tenant});
    $s->deaf;
    my ($refund) = grep { ($_->{metadata}{tenant} // '') eq $line->{tenant} } @{$sandbox->call(GET => '/v1/refunds?limit=20')->json('/data')};
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { ($_->{subscription} // '') eq $line->{subscription} && ($_->{stuck} // '') eq 'refund_failed' } @{$nginx->admin(GET => 'operations?state=stuck')->json->{operations}} },
        'listed as stuck: people give it back', 15);
    $nginx->allow(qr/refund_failed/);
    $s->hears;
};

promise 'only what was created since the last whole pass is listed, and an overlap' => sub {
    $audit->whole_pass;
    my $before = () = $sandbox->requests('GET');
    $audit->whole_pass;
    my @seen  = ($sandbox->requests('GET'))[$before .. $before + 400];
    my ($one) = grep { $_ && $_->{path} eq '/v1/refunds' && $_->{query} =~ /created/ } @seen;
    my ($gte) = ($one->{query} // '') =~ /created(?:\[|%5B)gte(?:\]|%5D)=(\d+)/;
    cmp_ok abs($gte - (time - 600)), '<', 60, 'ten minutes before it began';
    $redis->cli('HDEL', 'lines:{audit}', 'money');
    my $from = () = $sandbox->requests('GET');
    $audit->soon(sub { grep { $_->{path} eq '/v1/disputes' && $_->{query} =~ /gte(?:\]|%5D)=(\d+)/ && $1 < time - 29 * 86400 } $sandbox->requests('GET') }, 'and a month at first');
};

promise 'a base plan whose event was lost: read, as the event would have it' => sub {
    $s->deaf;
    $sandbox->customer('cus_base');
    my $key  = $s->workspace('base', plan => 'growth', customer => 'cus_base');
    my $plan = $sandbox->adopt(customer => 'cus_base', price => 'price_growth', metadata => {});
    $audit->whole_pass for 1 .. 2;
    ok !$audit->found(plan => 'cus_base'), 'both say the same';

    $s->hand(cancel => $plan->{id});
    $audit->shows(plan => 'cus_base', 'repaired', qr/^active growth$/, qr/^canceled/);
    $s->soon(sub { workspace_now('base')->{subscription} eq 'canceled' }, 'it has ended here, too');

    my $new = $sandbox->adopt(customer => 'cus_base', price => 'price_starter', metadata => {});
    $s->soon(sub { workspace_now('base')->{subscription} eq 'active' && workspace_now('base')->{plan} eq 'starter' }, 'another one begins, and nobody says so', 15);

    $sandbox->move($new->{id}, status => 'past_due');
    $s->soon(sub { workspace_now('base')->{subscription} eq 'past_due' }, 'it is not paid', 15);
    is $audit->counted('plan'), 3, 'each counted once';
    $audit->whole_pass;
    is $audit->counted('plan'), 3, '... and no more';
    $s->hears;
};

promise 'a plan that billing never had is the operator\'s: nothing follows, and it is not asked for in each pass' => sub {
    my $key = $s->workspace('theirs', plan => 'growth', customer => 'cus_card');
    $audit->whole_pass for 1 .. 2;
    is workspace_now('theirs')->{subscription}, 'active', 'it stays as it is';
    my $asked = sub { scalar grep { $_->{query} =~ /price=price_growth/ && $_->{query} =~ /customer=cus_card/ } $sandbox->requests('GET') };
    my $before = $asked->();
    $audit->whole_pass for 1 .. 2;
    is $asked->(), $before, 'billing is left alone';
};

promise 'a plan by hand, of a customer who once had a base plan at billing: shown, and nobody cancels it' => sub {
    $sandbox->customer('cus_contract');
    my $old = $sandbox->adopt(customer => 'cus_contract', price => 'price_starter', metadata => {});
    $s->workspace('contract', plan => 'starter', customer => 'cus_contract');
    $audit->whole_pass;
    $s->hand(cancel => $old->{id});
    $s->soon(sub { workspace_now('contract')->{subscription} eq 'canceled' }, 'it ended, and the event said so', 15);
    $s->rest('w:contract');
    is $nginx->admin(PUT => 'workspaces/contract', {plan => 'paid', subscription => 'active'})->status, 200, 'the operator says otherwise';
    $audit->shows(plan => 'cus_contract', 'shown', qr/^active paid$/, qr/^canceled/);
    is workspace_now('contract')->{subscription}, 'active', 'it stays as the operator said';
    is $nginx->admin(PUT => 'workspaces/contract', {customer => undef})->status, 200, 'it is not billing\'s any more';
    $audit->gone(plan => 'cus_contract');
};

promise 'a dispute that was prevented took nothing' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    $s->deaf;
    my $dispute = $sandbox->dispute($line->{invoice}, status => 'warning_needs_response');
    $sandbox->judge($dispute->{id} => 'prevented');
    $audit->whole_pass for 1 .. 2;
    ok $s->is_live($line), 'the line lives';
    ok !$audit->found(disputed => $line->{line}), 'nothing is found';
    $s->hears;
};

promise 'a list that cannot be read is shown, does not count as read, and the pass goes on' => sub {
    my $money;
    for my $fault (qw(400 401)) {
        $sandbox->fault(path => '/v1/disputes', method => 'GET', kind => $fault, times => 100_000);
        $s->soon(sub { grep { $_->{kind} eq 'unread' && $_->{here} eq 'disputes' } @{$audit->list} }, "$fault: shown", 15);
        $money = $audit->pass->{money};
        $audit->whole_pass;
        is $audit->pass->{money}, $money, 'what was not read does not count as read';
        $sandbox->clear_faults;
        $s->soon(sub { $audit->pass->{money} > $money }, 'it does once it is', 15);
        $s->soon(sub { !grep { $_->{kind} eq 'unread' } @{$audit->list} }, 'and is not shown any more', 15);
    }
};

promise 'a release that was lost: it is begun again, and nothing goes back' => sub {
    my @lines = ($s->active_line, $s->bought_line);
    $s->rest($_->{tenant}) for @lines;
    for my $line (@lines) {
        my $now = 1000 * time;
        $s->unseen(sub {
            $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", released => $now, ended => $now, reason => 'released', active => 0, place => '');
            $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", ($line->{account} ? 'account_lines' : 'email_paid'), -1);
        });
        $audit->shows(released => $line->{line}, 'repaired', qr/^released$/, qr/^active$/);
        $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'its subscription ends');
        is +($s->money($line->{subscription}))[1], 0, '... and nothing is given back';
    }
    my $once = $audit->counted('released');
    $audit->whole_pass;
    is $audit->counted('released'), $once, 'once each';
};

promise 'a line that ended, and was not released, whose subscription lives: what is due is not certain, and it is shown' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    my $now = 1000 * time;
    $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", lapsed => $now, ended => $now, reason => 'subscription_ended', active => 0, place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", 'email_paid', -1);
    $audit->shows(released => $line->{line}, 'shown', qr/^ended$/, qr/^active$/);
    is +($s->money($line->{subscription}))[2], 'active', 'it is the operator\'s to end';
    $s->hand(cancel => $line->{subscription});
    $audit->gone(released => $line->{line});
};

promise 'what can never be read is passed over, and shown; the pass goes on' => sub {
    my ($good, $bad, $tickets) = ($s->active_line, $s->active_line, $s->bought_line);
    $s->rest($_->{tenant}) for $good, $bad, $tickets;
    my @was = map { "lines:{$_->{tenant}}:lines" } $bad, $tickets;
    $redis->cli('RENAME', $_, "$_:was") for @was;
    $redis->cli('SET', $_, 'by hand') for @was;
    $nginx->allow(qr/WRONGTYPE|lines audit/);
    for my $line ($bad, $tickets) {
        $audit->shows(unread => $line->{tenant}, 'shown', qr/^tenants$/, qr/cannot be read/);
    }
    like $nginx->error_log, qr/\[error\].*lines audit: unread, shown: "$bad->{tenant}"/, 'the operator is told';
    $audit->whole_pass;
    $redis->cli('HINCRBY', "lines:{$good->{tenant}}:t", email_paid => 1);
    $audit->soon(sub { $audit->found(counter => 'email_paid') }, 'what can be read is read');
    $redis->cli('HINCRBY', "lines:{$good->{tenant}}:t", email_paid => -1);
    for (@was) { $redis->cli('DEL', $_); $redis->cli('RENAME', "$_:was", $_) }
    $audit->gone(unread => $_->{tenant}) for $bad, $tickets;
};

promise 'billing that is away is waited for: nothing is passed over' => sub {
    my $unread = $audit->counted('unread');
    my $line   = $s->active_line;
    $s->rest($line->{tenant});
    $nginx->allow(qr/billing/);
    $sandbox->fault(path => '/v1/refunds', method => 'GET', kind => '500', times => 8);
    $s->soon(sub { (grep { $_->{path} eq '/v1/refunds' && ($_->{fault} // '') eq '500' } $sandbox->requests('GET')) >= 8 }, 'it fails for a while', 15);
    $audit->whole_pass;
    is $audit->counted('unread'), $unread, 'and is read then';
};

promise 'a purchase that took more than a day: its place has left the window before its line is a month old' => sub {
    my $line = $s->bought_line;
    $s->rest($line->{tenant});
    my ($day, $now, $key) = (86_400_000, 1000 * time, "lines:{$line->{tenant}}");
    cmp_ok abs($s->now_of($line)->{begun} - $now), '<', 60_000, 'its line knows when it began';
    $redis->cli('ZADD', "$key:win", $now - 31 * $day, $line->{line});
    $redis->cli('HSET', "$key:rec:$line->{line}", begun => $now - 31 * $day, created => $now - 28 * $day);
    $s->bought_line(account => $line->{account}, name => $line->{name}, key => 'k2');
    is $redis->cli('ZSCORE', "$key:win", $line->{line}), undef, 'the next purchase has swept it out';
    $audit->whole_pass for 1 .. 2;
    ok !$audit->found(window => $line->{line}), 'nothing disagrees';
};

promise 'a system where all agrees: nothing is shown' => sub {
    $s->rest($_->{tenant}) for map { $s->active_line } 1 .. 2;
    $audit->whole_pass for 1 .. 2;
    is_deeply [grep { $_->{outcome} eq 'shown' } @{$audit->list}], [], 'nothing is left to the operator';
};

promise 'what is larger than an answer may be: those that are older are not seen, which is shown' => sub {
    $nginx->allow(qr/lines|upstream/);
    $sandbox->adopt(customer => 'cus_card', price => 'price_email', metadata => {map { ("note$_" => 'x' x 500) } 1 .. 150});
    $audit->shows(unread => 'page', 'shown', qr/^subscriptions$/, qr/cannot be read/);
    $audit->whole_pass;
    pass 'the pass goes on';
};

$t->done;
