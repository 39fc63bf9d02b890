# Preview tokens, windows, the begin and the end of a purchase: the scripts against a real Redis.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines::Once build => 'no module is in it';
use Test::Lines;
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $redis   = $t->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);

use constant {DAY => 86_400_000, MONTH => 30 * 86_400_000};

my $n = 0;
my $account;

sub k ($name) { "lines:{a:$account}:$name" }
sub now       { my ($s, $us) = $redis->client->time; $s * 1000 + int($us / 1000) }

sub account ($plan = 'inbound_only', %fields) {
    $account = 'acc' . ++$n;
    $redis->client->hset(k('t'), plan => $plan, customer => 'cus_card', %fields);
}

sub issue ($s, $token, $ttl = 600_000) {
    $s->run(preview_issue => [k("tok:$token"), k('t'), k('previews')], $ttl, $token)->[1];
}

sub begin ($s, $token, %o) {
    my $op = $o{op} // "op-$token";
    return $s->run(
        confirm_begin => [k('t'), k("tok:$token"), k('win'), k("op:$op"), k('ops'), k('idem:' . ($o{idem} // 'none')), map { k($_) } qw(ev declined calls previews), "never:$op"],
        $o{late} // now() + 5000, $op, $o{plan} // 'inbound_only', $o{customer} // 'cus_card', 'price_agent',
        $o{daily} // 3, $o{monthly} // 10, $o{print} // '', 20_000, $o{ttl} // 600_000, '', 0, '', 0, $token
    );
}

# issued and begun
sub buy ($s, $token, %o) {
    issue($s, $token);
    return begin($s, $token, %o);
}

sub window ($s, $daily = 3, $monthly = 10) {
    my ($now, $plan, @rest) = @{$s->run(window_read => [k('t'), k('win'), k('ops')], 'other', 7, 7, 'inbound_only', $daily, $monthly)};
    my (%day, %month);
    @day{qw(limit used full retry resets)}   = @rest[0 .. 4];
    @month{qw(limit used full retry resets)} = @rest[5 .. 9];
    return {now => $now, plan => $plan, day => \%day, month => \%month};
}

sub guard ($op) { $redis->client->hmget(k("op:$op"), 'step', 'attempt', 'fence') }

sub undo ($s, $op, %o) {
    $s->run(undo_end => [k("op:$op"), k('ops'), k('win'), k('journal'), $o{idem} ? k("idem:$o{idem}") : k("op:$op"), k('declined'), k("owed:$op")],
        @{$o{guard} // [guard($op)]}, $op);
}

sub finish ($s, $op, %o) {
    $redis->client->hset(k("op:$op"), number => "+1415555$op" =~ s/\D//gr, worker => 'w/1"', subscription => 'sub_1', invoice => 'in_1');
    $s->run(confirm_end => [k("op:$op"), k('ops'), k("line:$op"), k('lines'), k('t'), k('journal'), $o{idem} ? k("idem:$o{idem}") : k("op:$op")],
        @{$o{guard} // [guard($op)]}, $op, "a:$account");
}

sub op ($op) { my %h = $redis->client->hgetall(k "op:$op"); \%h }

subtest 'a token' => sub {
    account();
    like issue($scripts, 'one'), qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'expires at an instant';
    like $redis->client->get(k 'tok:one'), qr/^valid \d+$/, 'and is kept';

    is_deeply begin($scripts, 'unknown'), ['expired'], 'an unknown one is refused';
    is_deeply begin($scripts, 'one', late => now() - 1000), ['late'], 'a begin that was stalled is refused';
    is_deeply begin($scripts, 'one', plan => 'other'), ['changed'], 'one that read another plan is refused';
    is_deeply begin($scripts, 'one', customer => 'cus_other'), ['changed'], 'or another customer';
    like $redis->client->get(k 'tok:one'), qr/^valid/, 'none of these burns it';

    is $scripts->run(announced => [k('line:op-one'), k('ticket:op-one'), k('never:op-one'), k('t'), k('deleted')], 1), 0, 'its hint goes meanwhile';
    is_deeply begin($scripts, 'one'), ['late'], 'it is to be announced once more';
    is_deeply [@{begin($scripts, 'one')}[0, 1]], ['begun', 1], 'it begins a purchase';
    is $redis->client->get(k 'tok:one'), 'used op-one', 'and is used';
    cmp_ok $redis->client->pttl(k 'tok:one'), '>', 25 * DAY, 'which is remembered for long';
    is_deeply begin($scripts, 'one'), ['used'], 'once';

    is_deeply op('op-one')->{step}, 'card', 'the operation is at its first step';
    is $redis->client->zscore(k('win'), 'op-one') + 0, op('op-one')->{begun}, 'and has its place in the window';
    is_deeply [$redis->client->smembers(k 'ops')], ['op-one'], 'it is unfinished';

    issue($scripts, 'old');
    $redis->client->set(k('tok:old'), 'valid ' . (now() - 1));
    is_deeply begin($scripts, 'old'), ['expired'], 'one whose time has passed is refused';

    $redis->client->del(k 'tok:one');
    is_deeply begin($scripts, 'one'), ['used'], 'one whose operation exists is used, whatever became of its mark';
};

subtest 'the limit of a day' => sub {
    account();
    is_deeply window($scripts)->{day}, {limit => 3, used => 0, full => '', retry => '', resets => ''}, 'an empty window';

    is buy($scripts, "t$_")->[0], 'begun', "line $_ of 3" for 1 .. 3;

    my $window = window($scripts);
    is $window->{day}{full}, 1, 'full';
    cmp_ok $window->{day}{retry}, '>', 86_390, 'a place is free in about a day';
    cmp_ok $window->{day}{retry}, '<=', 86_400, 'no later';

    my $refused = buy($scripts, 't4', idem => 'i4', print => 'f4');
    is_deeply [@$refused[0, 1]], ['refused', '429'], 'the fourth is refused';
    is_deeply decode_json($refused->[2]),
      {status => 'ERROR', error => 'daily_limit_reached', message => 'Maximum 3 lines can be added per day via API'}, 'in words';
    cmp_ok $refused->[3], '>', 86_390, 'with the time to wait';
    like $redis->client->get(k 'tok:t4'), qr/^used/, 'its token is used';
    is op('op-t4')->{answer_status}, 429, 'its answer is kept';
    cmp_ok $redis->client->ttl(k 'op:op-t4'), '>', 86_000, 'for a day';
    cmp_ok $redis->client->ttl(k 'idem:i4'), '>', 86_000, 'and its record too';
    ok !$redis->client->sismember(k('ops'), 'op-t4'), 'it is not unfinished';
    is $redis->client->zcard(k 'win'), 3, 'and has no place';
    is_deeply begin($scripts, 't4', idem => 'i4', print => 'f4'), ['idempotent', 'op-t4', 'f4'], 'the same key finds it';
};

subtest '23 h 59 min counts, 24 h does not' => sub {
    account();
    buy($scripts, $_) for qw(a b c);
    finish($scripts, "op-$_") for qw(a b c);

    $redis->client->zadd(k('win'), now() - DAY + 60_000, 'op-a');
    my $window = window($scripts);
    is $window->{day}{used}, 3, '23 h 59 min old: it counts';
    cmp_ok $window->{day}{retry}, '<=', 60, 'for another minute';
    cmp_ok $window->{day}{retry}, '>', 50, 'about';
    is buy($scripts, 'd')->[0], 'refused', 'none more';

    $redis->client->zadd(k('win'), now() - DAY, 'op-a');
    $window = window($scripts);
    is $window->{day}{used}, 2, '24 h old: it does not';
    is $window->{day}{full}, '', 'there is a place';
    is $window->{month}{used}, 3, 'in the month it counts still';
    is buy($scripts, 'e')->[0], 'begun', 'one more';
    is buy($scripts, 'f')->[0], 'refused', 'and then none';
};

subtest 'the limit of a month' => sub {
    account();
    for my $i (1 .. 10) {
        buy($scripts, "m$i", daily => 'unlimited');
        finish($scripts, "op-m$i");
        $redis->client->zadd(k('win'), now() - 3 * DAY - $i, "op-m$i");
    }

    my $refused = buy($scripts, 'n');
    is_deeply decode_json($refused->[2]),
      {status => 'ERROR', error => 'monthly_limit_reached', message => 'Maximum 10 lines can be added per month via API'}, 'reached';
    cmp_ok abs($refused->[3] - 27 * 86_400), '<=', 2, 'until the oldest leaves, 27 days on';

    $redis->client->zadd(k('win'), now() - MONTH + 60_000, 'op-m10');
    is buy($scripts, 'o')->[0], 'refused', '29 days, 23 h and 59 min: it counts';
    $redis->client->zadd(k('win'), now() - MONTH, 'op-m10');
    is buy($scripts, 'p')->[0], 'begun', '30 days: it does not';
    ok !defined $redis->client->zscore(k('win'), 'op-m10'), 'and is gone';
};

subtest 'what is unresolved always counts' => sub {
    account();
    buy($scripts, $_) for qw(a b c);
    finish($scripts, "op-$_") for qw(b c);
    $redis->client->zadd(k('win'), now() - 2 * DAY, "op-$_") for qw(a b c);

    is window($scripts)->{day}{used}, 1, 'one that is two days old';
    is window($scripts, 1)->{day}{full}, 1, 'it fills a limit of one';
    is window($scripts, 1)->{day}{retry}, 1, 'and may be resolved at any moment';
    $redis->client->zadd(k('win'), now() - 40 * DAY, "op-$_") for qw(a b);
    is buy($scripts, 'd')->[0], 'begun', 'another begins';
    ok defined $redis->client->zscore(k('win'), 'op-a'), 'what is unresolved is never swept out';
    ok !defined $redis->client->zscore(k('win'), 'op-b'), 'what is done is';
    finish($scripts, 'op-a');
    is window($scripts)->{day}{used}, 1, 'done, it counts no more';
};

subtest 'an account of its own kind' => sub {
    account('inbound_only', limit_daily => 0);
    my $window = window($scripts);
    is_deeply [@{$window->{day}}{qw(limit full retry)}], [0, 1, ''], 'limit 0: full, and waiting is no use';
    my $refused = buy($scripts, 'z');
    is $refused->[3], '', 'nor for a confirm';
    like $refused->[2], qr/Maximum 0 lines/, 'the number is its own';

    account('inbound_only', limit_daily => 'unlimited', limit_monthly => 'unlimited');
    is buy($scripts, "u$_")->[0], 'begun', 'unlimited' for 1 .. 20;
    is_deeply [@{window($scripts)->{day}}{qw(limit used full)}], ['', 20, ''], 'and counted';

    account('inbound_only', limit_daily => 5);
    buy($scripts, "v$_") for 1 .. 4;
    $redis->client->zadd(k('win'), now() - $_ * 3_600_000, "op-v$_") for 1 .. 4;
    $redis->client->hset(k('t'), limit_daily => 2);
    cmp_ok abs(window($scripts)->{day}{retry} - 22 * 3600), '<=', 2, 'a limit lowered to 2: three of four must leave first';
};

subtest 'a clock that was set back' => sub {
    account();
    buy($scripts, 'a');
    $redis->client->zadd(k('win'), now() + 365 * DAY, 'op-a');
    is window($scripts)->{day}{used}, 1, 'what lies ahead counts';
    cmp_ok abs($redis->client->zscore(k('win'), 'op-a') - now()), '<', 5000, '... as of now, and not for a year';
};

subtest 'a failed purchase gives its place back' => sub {
    account();
    buy($scripts, 'a', idem => 'ia', print => 'fa');
    $redis->client->hset(k('op:op-a'), answer_status => 402, answer => '{}');

    is_deeply begin($scripts, 'a', idem => 'ia', print => 'fa'), ['idempotent', 'op-a', 'fa'], 'its key finds it while it runs';
    is $redis->client->ttl(k 'idem:ia'), -1, 'for as long as it runs';
    is undo($scripts, 'op-a', guard => ['card', 1, 7])->[0], 'lost', 'not by one who lost the lease';
    is $redis->client->zcard(k 'win'), 1, 'which changes nothing';
    is_deeply undo($scripts, 'op-a', idem => 'ia'), ['ok'], 'undone';
    is $redis->client->zcard(k 'win'), 0, 'the place is free';
    is op('op-a')->{step}, 'done', 'the operation is done';
    cmp_ok $redis->client->ttl(k 'idem:ia'), '>', 86_000, 'the day of its key starts now';
    is undo($scripts, 'op-a', guard => ['card', 1, 1])->[0], 'lost', 'once';
};

subtest 'a purchase that succeeds' => sub {
    account();
    buy($scripts, '1', idem => 'i', print => 'f');
    is finish($scripts, 'op-1', guard => ['tell', 1, 1])->[0], 'lost', 'not at another step';
    is finish($scripts, 'op-1', idem => 'i')->[0], 'ok', 'recorded';

    my %line = %{$redis->line("a:$account", 'op-1')};
    is_deeply [@line{qw(id tenant channel type phone worker status active payment place subscription invoice operation)}],
      ['op-1', "a:$account", 'phone', 'inbound_only', '14155551', 'w/1"', 'active', 1, 'paid', 'account', 'sub_1', 'in_1', 'op-1'],
      'the line';
    is decode_json($line{json})->{workspaceId}, $account, 'its document is one';
    is_deeply decode_json(op('op-1')->{answer}),
      {status => 'OK', phone_number => '14155551', worker_id => 'w/1"', subscription_id => 'sub_1'}, 'the answer';
    is $redis->client->hget(k('t'), 'account_lines'), 1, 'the account has one line';
    is $redis->client->zcard(k 'lines'), 1, 'in its list';
    is $redis->client->zcard(k 'win'), 1, 'which keeps its place in the windows';
    is_deeply $scripts->run(tenant_delete => [k('t'), k('ops'), k('pending'), k('keys'), k('lines'), k('tickets'), k('deleted'), k('unpaid')]), 'lines', 'it cannot be deleted';

    is $scripts->run(line_release => [k('line:op-1'), k('t'), k('journal'), k('op:rel'), k('ops'), k('pending')], 'rel')->[3], '14155551', 'released';
    is $redis->client->hget(k('t'), 'account_lines'), 0, 'it has none any more';
    is finish($scripts, 'op-1', guard => ['card', 1, 1])->[0], 'lost', 'a line is recorded once';
};

subtest 'races' => sub {
    account();
    issue($scripts, 'shared');
    my %got;
    $got{$_->[0]}++ for $scripts->race(200, 8, sub ($s, $i) { begin($s, 'shared') });
    is_deeply \%got, {begun => 1, used => 199}, '200 confirms with one token begin one purchase';

    account();
    issue($scripts, "r$_") for 0 .. 199;
    %got = ();
    $got{$_->[0]}++ for $scripts->race(200, 8, sub ($s, $i) { begin($s, "r$i") });
    is_deeply \%got, {begun => 3, refused => 197}, '200 with a token each begin three';
    is $redis->client->zcard(k 'win'), 3, 'which have the three places';

    account();
    issue($scripts, "s$_") for 0 .. 199;
    %got = ();
    $got{$_->[0]}++ for $scripts->race(200, 8, sub ($s, $i) { begin($s, "s$i", idem => 'same', print => 'same') });
    is $got{begun} + ($got{idempotent} // 0), 200, 'with one idempotency key and 200 tokens';
    is $got{begun}, 1, 'one begins';
};

subtest 'tickets' => sub {
    account();
    my $key = k 'ticket:7';
    my $doc = decode_json($scripts->run(ticket_add => [$key, k('tickets'), k('journal'), k('t'), k('tickets:open'), k('never:7')], 7, '415')->[1]);
    like delete $doc->{createdAt}, qr/^\d{4}-.*Z$/, 'created at an instant';
    is_deeply $doc, {id => 7, type => 'PHONE', status => 'OPEN', desiredAreaCode => '415'}, 'an open one';

    my $move = sub (@args) { $scripts->run(ticket_move => [$key, k('journal'), k('t'), k('tickets:open')], @args) };
    is $move->('FULFILLED', '+14155550001', '', 20_000)->[0], 'moved', 'fulfilled';
    is $move->('FULFILLED', '+14155550001', '', 20_000)->[0], 'same',  'again: the same';
    is_deeply $move->('FULFILLED', '+14155550002', '', 20_000), ['illegal', 'FULFILLED'], 'not with another number';
    is_deeply $move->('CANCELLED', '', '', 20_000), ['illegal', 'FULFILLED'], 'nor canceled';

    $doc = decode_json($move->('FULFILLED', '', '', 20_000)->[1]);
    is $doc->{fulfilledNumber}, '+14155550001', 'the number';
    like $doc->{fulfilledAt}, qr/Z$/, 'and the instant';
    is_deeply $scripts->run(ticket_move => [k('ticket:8'), k('journal'), k('t'), k('tickets:open')], 'CANCELLED', '', '', 20_000), ['unknown'], 'an unknown one';

    $doc = decode_json($scripts->run(ticket_add => [k('ticket:9'), k('tickets'), k('journal'), k('t'), k('tickets:open'), k('never:9')], 9, '')->[1]);
    is $doc->{desiredAreaCode}, undef, 'no wish is null';
    is decode_json($scripts->run(ticket_move => [k('ticket:9'), k('journal'), k('t'), k('tickets:open')], 'CANCELLED', '', '', 20_000)->[1])->{status}, 'CANCELLED', 'canceled';

    is $scripts->run(announced => [k('line:12'), k('ticket:12'), k('never:12'), k('t'), k('deleted')], ''), 0, 'one that was announced, and whose hint goes';
    is $scripts->run(ticket_add => [k('ticket:12'), k('tickets'), k('journal'), k('t'), k('tickets:open'), k('never:12')], 12, ''), 'late', '... comes no more';
    is $scripts->run(announced => [k('line:9'), k('ticket:9'), k('never:9'), k('t'), k('deleted')], ''), 1, 'one that is there stays';

    $scripts->run(ticket_add => [k('ticket:10'), k('tickets'), k('journal'), k('t'), k('tickets:open'), k('never:10')], 10, '');
    my $events = $redis->client->llen(k 'journal');
    is $scripts->run(tenant_delete => [k('t'), k('ops'), k('pending'), k('keys'), k('lines'), k('tickets'), k('deleted'), k('unpaid')])->[0], 'deleting', 'tickets keep no tenant';
    is_deeply $scripts->run(ticket_move => [k('ticket:10'), k('journal'), k('t'), k('tickets:open')], 'FULFILLED', '+14155550001', '', 20_000), ['unknown'], 'a deleted one\'s are not fulfilled';
    is $scripts->run(ticket_add => [k('ticket:11'), k('tickets'), k('journal'), k('t'), k('tickets:open'), k('never:11')], 11, ''), 'gone', 'nor are there new ones';
    is $redis->client->exists(k 'ticket:11'), 0, 'of which nothing is there';
    is $redis->client->hget(k('ticket:10'), 'status'), 'OPEN', 'nothing has changed';
    is $redis->client->zcard(k 'tickets'), 3, 'in the list neither';
    is $redis->client->llen(k 'journal'), $events, 'and nothing is told';
};

$t->done;
