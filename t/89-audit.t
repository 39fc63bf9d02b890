# The auditor: whatever disagrees between Redis and billing, and between Redis' own records, is found within a pass, counted,
# listed with both sides, and repaired where that is certain.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario;
use Test::Lines::Script;
use Time::HiRes ();

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=20ms pass=300ms');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(server => 'location = /metrics { lines_metrics; }');
my $audit   = Test::Lines::Audit->new(scenario => $s);

$s->numbers(20);

subtest 'a system where all agrees: nothing is shown' => sub {
    my @lines = (map({ $s->active_line } 1 .. 2), $s->bought_line, $s->paid_line, $s->pending_line);
    my $ended = $s->active_line;
    $s->release($ended);
    my $suspended = $s->active_line;
    $sandbox->move($suspended->{subscription}, status => 'past_due');
    $s->soon(sub { $s->now_of($suspended)->{suspended} }, 'one is suspended');
    $s->rest($_->{tenant}) for @lines, $ended;
    $audit->whole_pass for 1 .. 3;
    is_deeply $audit->list, [], 'nothing disagrees';
    like $s->first->admin(GET => 'audit')->json('/ended'), qr/^20\d\d-/, 'a pass has ended';
    like $nginx->get('/metrics')->body, qr/^lines_audit_age_seconds \d$/m, 'as metrics tell';
};

subtest 'billing has what no line holds: it is refunded' => sub {
    my $then = $s->remember;
    my $line = $s->bought_line;
    $s->deaf;
    $s->forget_since($then);
    my $one = $audit->shows(orphan => $line->{line}, 'repaired', qr/^no such line$/, qr/^active$/);
    is $one->{subscription}, $line->{subscription}, 'its subscription is named';
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'what it cost went back');
    is +($s->money($line->{subscription}))[2], 'canceled', '... and it was canceled';
    is $audit->counted('orphan'), 1, 'counted once';
    $audit->whole_pass;
    is $audit->counted('orphan'), 1, '... and not again';
    ok !$redis->cli('EXISTS', "lines:{$line->{tenant}}:line:$line->{line}"), 'no line is made up';
    $s->hears;
};

subtest 'a line whose subscription has ended, and nobody said so: it ends' => sub {
    my @lines = ($s->active_line, $s->bought_line, $s->paid_line);
    $s->rest($_->{tenant}) for @lines;
    $s->deaf;
    $s->hand(cancel => $_->{subscription}) for @lines;
    for my $line (@lines) {
        $audit->shows(unpaid => $line->{line}, 'repaired', qr/^(?:active|provisioning)$/, qr/^canceled$/);
        $s->soon(sub { $s->now_of($line)->{ended} }, '... and it ends');
    }
    $s->hears;
};

subtest 'the clock of Redis was set back since it was begun and seen: it is looked at all the same' => sub {
    my $line = $s->active_line;
    my $key  = "lines:{$line->{tenant}}:rec:$line->{line}";
    $s->rest($line->{tenant});
    $s->deaf;
    $redis->cli('HSET', $key, created => (time + 3600) * 1000);
    $s->hand(cancel => $line->{subscription});
    $redis->cli('HSET', $key, audited => (time + 3600) * 1000);
    $audit->shows(unpaid => $line->{line}, 'repaired', qr/^active$/, qr/^canceled$/);
    $s->soon(sub { $s->now_of($line)->{ended} }, '... and it ends');
    $s->hears;
};

subtest 'a line whose subscription is past due: it is suspended, and comes back' => sub {
    my $line = $s->active_line;
    $s->deaf;
    $sandbox->move($line->{subscription}, status => 'unpaid');
    $audit->shows(unpaid => $line->{line}, 'repaired', qr/^active$/, qr/^unpaid$/);
    $s->soon(sub { $s->now_of($line)->{suspended} }, 'suspended');
    $sandbox->move($line->{subscription}, status => 'active');
    $audit->shows(suspended => $line->{line}, 'repaired', qr/^suspended$/, qr/^active$/);
    $s->soon(sub { !$s->now_of($line)->{suspended} && $s->now_of($line)->{active} eq '1' }, 'active again');
    $s->hears;
};

subtest 'a subscription that billing does not know: shown, since it may be the key of another account' => sub {
    my $line = $s->active_line;
    $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", subscription => 'sub_nobodys');
    $audit->shows(unpaid => $line->{line}, 'shown', qr/^active$/, qr/^no such subscription$/);
    is $s->now_of($line)->{active}, 1, 'its line goes on';
    $audit->shows(orphan => $line->{line}, 'repaired', qr/^its line has another one$/, qr/^active$/);
    $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'the one that was paid is given back');
    $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", status => 'failed', ended => 1, place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $audit->gone(unpaid => $line->{line});
};

subtest 'what is older than the database: shown, until the operator says that it is this one' => sub {
    my $line = $s->active_line;
    $redis->cli('HSET', 'lines:{database}', born => (time + 3600) * 1000);
    $nginx->stop->start;
    $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", subscription => 'sub_nobodys');
    $audit->shows(orphan => $line->{line}, 'shown', qr/^its line has another one$/, qr/^active$/);
    is +($s->money($line->{subscription}))[2], 'active', 'it is not given back';
    is $s->first->admin(POST => 'database/confirm')->status, 200, 'it is this one';
    $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'by now it is');
    $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", status => 'failed', ended => 1, place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $audit->gone(unpaid => $line->{line});
};

subtest 'a subscription that outlives its line' => sub {
    my $line = $s->active_line;
    $redis->cli('HSET', "lines:{$line->{tenant}}:rec:$line->{line}", status => 'failed', ended => 1, place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $audit->shows(orphan => $line->{line}, 'repaired', qr/^failed$/, qr/^active$/);
    $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'it is canceled, and given back');
};

subtest 'one subscription for two lines: shown' => sub {
    my @lines = map { $s->active_line } 1 .. 2;
    $redis->cli('HSET', "lines:{$lines[1]{tenant}}:rec:$lines[1]{line}", subscription => $lines[0]{subscription});
    $audit->shows(shared => $lines[1]{line}, 'shown', qr/^its line's$/, qr/^$lines[0]{line}$/);
    is +($s->money($lines[0]{subscription}))[2], 'active', 'and left to the operator';
    $redis->cli('HSET', "lines:{$lines[1]{tenant}}:rec:$lines[1]{line}", status => 'failed', ended => 1, place => '');
    $redis->cli('HINCRBY', "lines:{$lines[1]{tenant}}:t", email_paid => -1);
    $audit->gone(shared => $lines[1]{line});
};

subtest 'places, and who waits for a payment: shown' => sub {
    my $line = $s->active_line;
    my $key  = "lines:{$line->{tenant}}";
    $redis->cli('HINCRBY', "$key:t", email_paid => 1);
    my $one = $audit->shows(counter => 'email_paid', 'shown', qr/^counts 2$/, qr/^lines hold 1$/);
    is $one->{tenant}, $line->{tenant}, 'the tenant is named';
    $redis->cli('HINCRBY', "$key:t", email_paid => -1);
    $audit->gone(counter => 'email_paid');

    $redis->cli('SET', "$key:pending", $line->{line});
    $audit->shows(pending => $line->{line}, 'shown', qr/waits for it/, qr/does not await/);
    $redis->cli('DEL', "$key:pending");
    $audit->gone(pending => $line->{line});

    my $waits = $s->pending_line;
    $redis->cli('DEL', "lines:{$waits->{tenant}}:pending");
    $audit->shows(pending => $waits->{line}, 'shown', qr/^awaits its payment$/, qr/waits for nothing$/);
    $redis->cli('SET', "lines:{$waits->{tenant}}:pending", $waits->{line});
    $audit->gone(pending => $waits->{line});

    $redis->cli('ZADD', "$key:lines", 1, 'nosuchline');
    $audit->shows(record => 'nosuchline', 'shown', qr/^listed$/, qr/no such line/);
    $redis->cli('ZREM', "$key:lines", 'nosuchline');
    $audit->gone(record => 'nosuchline');
};

subtest 'windows: shown' => sub {
    my $line = $s->bought_line;
    my $key  = "lines:{$line->{tenant}}:win";
    my $at   = $redis->cli('ZSCORE', $key, $line->{line});
    $redis->cli('ZREM', $key, $line->{line});
    $audit->shows(window => $line->{line}, 'shown', qr/^active$/, qr/not in the window/);
    $redis->cli('ZADD', $key, $at, $line->{line});
    $audit->gone(window => $line->{line});

    $redis->cli('ZADD', $key, $at, 'nosuchpurchase');
    $audit->shows(window => 'nosuchpurchase', 'shown', qr/place in the window/, qr/neither a line nor an operation/);
    $redis->cli('ZREM', $key, 'nosuchpurchase');
    $audit->gone(window => 'nosuchpurchase');
};

subtest 'numbers, lines and tickets' => sub {
    my @lines  = map { $s->bought_line } 1 .. 2;
    my ($free) = $redis->cli('ZRANGE', 'lines:{inv}:free', 0, 0)->@*;
    my ($worker) = (split / /, $redis->cli('HGET', 'lines:{inv}:numbers', $free))[1];

    # as if the account had lost its last second, and the inventory had not
    $redis->cli('ZREM', 'lines:{inv}:free', $free);
    $redis->cli('ZADD', 'lines:{inv}:assigned', 0, $free);
    $redis->cli('HSET', 'lines:{inv}:numbers', $free, "assigned $worker lostpurchase $lines[0]{tenant}");
    $redis->cli('HSET', 'lines:{inv}:operations', lostpurchase => $free);
    $audit->shows(number => $free, 'repaired', qr/^assigned to lostpurchase$/, qr/^nobody holds it$/);
    $s->soon(sub { $redis->cli('HGET', 'lines:{inv}:numbers', $free) eq "free $worker" }, 'it is free again');

    # one number for two lines
    my $number = $lines[1]{number};
    $redis->cli('HSET', "lines:{$lines[1]{tenant}}:rec:$lines[1]{line}", number => $lines[0]{number});
    $audit->shows(number => $number, 'shown', qr/^assigned to $lines[1]{line}$/, qr/^\Q$lines[0]{number}\E$/);
    $audit->shows(number => $lines[0]{number}, 'shown', qr/^held by $lines[1]{line}$/, qr/^assigned \S+ $lines[0]{line} /);
    $redis->cli('HSET', "lines:{$lines[1]{tenant}}:rec:$lines[1]{line}", number => $number);
    $audit->gone(number => $number);
};

subtest "a number of the operator's own, and Redis has lost which ticket got it: it is free for another" => sub {
    my $account = $s->account('own');
    $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $account->{headers}) for 1 .. 2;
    my ($lost, $other) = sort { $a <=> $b } map {/:ticket:(\d+)$/} $redis->client->keys('lines:{a:own}:ticket:*');
    my $fulfill = sub ($id) { $nginx->admin(POST => "tickets/$id", {status => 'FULFILLED', fulfilledNumber => '+12125550199'})->status };
    my $then = $redis->client->dump("lines:{a:own}:ticket:$lost");
    is $fulfill->($lost), 200, 'it is one ticket\'s';
    $s->soon(sub { !defined $redis->cli('ZSCORE', 'lines:{inv}:leases', "a:own ticket.$lost") }, '... for good');
    $redis->client->restore("lines:{a:own}:ticket:$lost", 0, $then, 'REPLACE');
    is $nginx->admin(POST => "tickets/$lost", {status => 'CANCELLED'})->status, 200, 'that is forgotten, and the ticket canceled';
    $audit->shows(number => '+12125550199', 'repaired', qr/^assigned to ticket\.$lost$/, qr/^nobody holds it$/);
    $s->soon(sub { $fulfill->($other) == 200 }, 'another ticket gets it');
};

subtest 'an unfinished operation without a hint: it has one again' => sub {
    my $line = $s->pending_line;
    $s->soon(sub { $s->hint($line->{tenant}, $line->{line}) }, 'it has one');
    $redis->cli('ZREM', 'lines:{due:' . $s->shard($line->{line}) . '}', "$line->{tenant} $line->{line}");
    $audit->shows(hint => $line->{line}, 'repaired', qr/^unfinished$/, qr/^no hint$/);
    ok $s->hint($line->{tenant}, $line->{line}), 'and it is due again';
};

subtest 'what is in flight is passed over' => sub {
    my $account = $s->account('flight');
    my $token   = $s->token($account);
    my %before  = map { ($_ => $audit->counted($_)) } qw(orphan unpaid number window counter);
    $sandbox->fault(path => '/v1/subscriptions', kind => 'delay', ms => 1500);
    my $asked = $s->confirm_p($account, $token, key => 'k');
    my $answer;
    $asked->then(sub ($got) { $answer = $got })->wait;
    is $answer->status, 200, 'a purchase that takes its time';
    $audit->whole_pass for 1 .. 2;
    is_deeply {map { ($_ => $audit->counted($_)) } keys %before}, \%before, 'disagrees with nothing';
};

subtest 'a ticket that is being fulfilled: its number is not taken back' => sub {
    my $long  = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations =~ s/lease=\S+/lease=20s/r . ' audit=20ms pass=300ms');
    my $node  = $long->nginx;
    my $wire  = $t->wire(redis => $long->redis);
    my $held  = $long->nginx(redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
    my $keys  = Test::Lines::Audit->new(scenario => $long);
    my ($number) = $long->numbers(1);
    my @tickets  = map {
        my $account = $long->account($_);
        $node->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $account->{headers})->json('/data/id');
    } qw(first second);
    my $fulfill = sub ($nginx, $id) {
        return $nginx->request_p(POST => "/_lines/admin/tickets/$id", {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'},
            encode_json({status => 'FULFILLED', fulfilledNumber => $number}));
    };

    $wire->hold($wire->call('ticket_move'));
    my $answer;
    my $moved = $fulfill->($held, $tickets[0])->then(sub { $answer = shift });
    $wire->reached('ticket_move');
    $keys->whole_pass for 1 .. 2;
    like $long->redis->cli('HGET', 'lines:{inv}:numbers', $number), qr/^assigned \S+ ticket\.$tickets[0] /, 'it is kept for the ticket';
    is $node->admin(POST => "tickets/$tickets[1]", {status => 'FULFILLED', fulfilledNumber => $number})->status, 409, 'nobody else gets it meanwhile';
    $wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');
    is $answer->status, 200, 'it is the ticket\'s';
    is_deeply $keys->list, [], 'nothing disagreed';
};

subtest 'the list is bounded, and what was repaired is told for a while' => sub {
    my $scripts = Test::Lines::Script->new(redis => $redis);
    my @keys    = map { "lines:{audit}:$_" } qw(found order doubts);
    is $scripts->run(audit_found => \@keys, 'record', 'shown', 'w:x', 'n', '', 'a', 'b', 200, '')->[0], 'doubt', 'seen once: a doubt';
    $scripts->run(audit_found => \@keys, 'record', 'shown', 'w:x', "once$_", '', 'a', 'b', 200, '') for 1 .. 2100;
    cmp_ok $redis->cli('HLEN', $keys[2]), '<=', 2000, '... of which there are not more than 2,000 at once';
    $scripts->run(audit_found => \@keys, 'record', 'shown', 'w:x', "n$_", '', 'a', "\"b\\$_", 200, '1') for 1 .. 250;
    cmp_ok scalar @{$audit->list}, '<=', 200, 'at most 200';
    $audit->whole_pass;
    is_deeply [grep { $_->{tenant} eq 'w:x' } grep({ $_->{kind} eq 'record' } @{$audit->list})], [], 'what no pass saw again is not shown any more';
};

subtest 'what lies ahead of a clock that was set back' => sub {
    my $empty   = $t->redis;
    my $client  = $empty->client;
    my $scripts = Test::Lines::Script->new(redis => $empty);
    my @keys    = map { "lines:{audit}:$_" } qw(found order doubts);
    my $hour    = 3_600_000;
    my $now     = sub { my ($s, $us) = @{$client->time}; $s * 1000 + int $us / 1000 };
    my $turn    = sub ($pass = 1) { my %r; @r{qw(is now phase cursor began ended since)} = @{$scripts->run(audit_turn => ['lines:{audit}', 'lines:{audit}:lease'], 'me', 3000, $pass, '', '', '')}; \%r };

    $client->hset('lines:{audit}', began => $now->() + $hour, phase => 'tenants', cursor => '7', money => $now->() + $hour, next => $now->());
    my $first = $turn->();
    is_deeply [@$first{qw(is phase cursor)}], ['mine', 'subscriptions', ''], 'a pass that began ahead begins anew';
    cmp_ok abs($first->{since} + 30 * 86400 - time), '<', 60, '... and reads a month of what went back, not what is to come';
    $client->hset('lines:{audit}', money => $now->() - $hour);
    cmp_ok abs($turn->()->{since} + 600 + 3600 - time), '<', 60, 'else what went back since the last one';

    $scripts->run(audit_found => \@keys, 'record', $_, 'w:x', $_, '', 'a', 'b', 200, '1') for qw(shown repaired);
    $client->zadd('lines:{audit}:order', $now->() + $hour, $_) for @{$client->zrange('lines:{audit}:order', 0, -1)};
    my $end = sub { $client->hset('lines:{audit}', began => my $began = $now->()); $scripts->run(audit_end => ['lines:{audit}', @keys], 86_400_000, $began) };
    $end->();
    is $client->zcount('lines:{audit}:order', $now->() + 1000, '+inf'), 0, 'what was seen ahead was seen now, at the latest';
    wait_for(sub { $end->(); $client->zcard('lines:{audit}:order') == 1 }, 5, 'the next pass does not see it');
    like $client->zrange('lines:{audit}:order', 0, -1)->[0], qr/^repaired /, 'what was repaired is told for a while';
};

subtest 'the rate: never more than one call to billing in the time that is said, by one node of all' => sub {
    my $slow = Test::Lines::Scenario->new(t => $t, redis => $redis, sandbox => $sandbox, webhooks => 0, operations => 'sweep=200ms lease=3s audit=250ms pass=1ms');
    $_->stop for @{$s->nginxes};

    # an operation that happens to be due asks billing as well
    $redis->cli('DEL', map {"lines:{due:$_}"} 0 .. 15);
    my $holder = sub { $redis->cli('GET', 'lines:{audit}:lease') };
    my $asked  = sub { grep { $_->{path} =~ m{^/v1/} && $_->{query} !~ /customer=/ } $sandbox->requests('GET') };
    my $calls  = sub { scalar(() = $asked->()) };
    $_->stop for @{$s->nginxes};
    my @nodes  = $slow->nginx(name => 'slow1');
    my $old    = $holder->() // '';
    my ($first, $second);
    wait_for(sub { length($first = $holder->() // '') && $first ne $old }, 10, 'one that passes');
    push @nodes, $slow->nginx(name => 'slow2');

    # the clock first: to be told of all calls takes its time
    my $from = Time::HiRes::time();
    my ($before, %holders) = $calls->();
    wait_for(sub { $holders{$holder->() // ''}++; Time::HiRes::time() - $from > 4 }, 10, 'some time');
    my ($made, $time) = ($calls->() - $before, Time::HiRes::time() - $from);
    cmp_ok $made, '<=', $time / 0.25 + 1, "$made calls in four seconds, though there are two nodes" or diag explain [($asked->())[$before .. $before + $made - 1]];
    cmp_ok $made, '>=', 2, '... and some';
    is_deeply [keys %holders], [$first], '... all by one of them';

    $nodes[0]->stop;
    wait_for(sub { length($second = $holder->() // '') && $second ne $first }, 10, 'the other');
    $before = $calls->();
    $slow->soon(sub { $calls->() > $before }, 'it ends: the other goes on with the pass');
    $nodes[1]->stop;
};

subtest 'off' => sub {
    my $off = Test::Lines::Scenario->new(t => $t, redis => $redis, sandbox => $sandbox, webhooks => 0, operations => 'sweep=100ms audit=off pass=1ms');
    my $node = $off->nginx(name => 'off');
    $redis->cli('DEL', 'lines:{audit}:lease');
    $node->get('/_lines/ready');
    Time::HiRes::sleep(0.5);
    is $redis->cli('GET', 'lines:{audit}:lease'), undef, 'nobody passes';
};

$t->done;
