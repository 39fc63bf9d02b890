# Redis is the database that it was, or nothing is canceled, refunded or charged on its word: its id and its watermark are
# remembered by each node, and by a customer at billing.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File ();
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);
use Test::Lines::Script;

my $KEY  = 'lines:{database}';
my $HELD = qr/\[alert\].*Redis is not the database that it was/;

my $t     = Test::Lines->new;
my $s     = Test::Lines::Scenario->new(t => $t);
my $redis = $s->redis;
$s->sandbox->customer('cus_anchor');

my $nginx = $s->nginx(workers => 2);
$s->numbers(9);

# by mistake, in what lines_redis says
sub exchange ($node, $from, $to) {
    my ($was, $is) = map { ref ? join(' ', $_->url, $_->options) : $_ } $from, $to;
    my $conf = Mojo::File->new($node->conf_file);
    my $own  = $is =~ /connect_timeout=/ ? qr/(?: connect_timeout=\S+)?/ : qr//;
    Test::Lines::Util::write_file($conf, $conf->slurp =~ s/\Q$was\E$own/$is/r);
}

sub base { return {@{scalar $redis->cli('HGETALL', $KEY)}} }

sub seen ($node = $nginx) { $node->get('/_lines/ready')->json->{database} // {} }

sub wait_state ($status, $node = $nginx) {
    wait_for(sub { (seen($node)->{status} // '') eq $status }, 20, "the database to be $status");
}

# what is unfinished has been looked at, and waits
sub wait_rest ($tenant) {
    wait_for(sub {
        my @ops = map { $s->op($tenant, $_) } @{scalar $redis->cli('SMEMBERS', "lines:{$tenant}:ops")};
        return @ops && !grep { !$_->{due} } @ops;
    }, 20, "$tenant to rest");
}

sub alerts ($node = $nginx) { scalar(() = $node->error_log =~ /Redis is not the database that it was/g) }

sub metric ($node = $nginx) { ($node->get('/_lines/metrics')->body =~ /^lines_database_held (\d)$/m)[0] }

sub minutes_ago ($n) { $redis->cli('HINCRBY', $KEY, 'watermark', -$n * 60_000) }

subtest 'a first start' => sub {
    wait_state('ok');
    like base()->{id}, qr/^[0-9a-f]{24}$/, 'it gets an id';
    cmp_ok abs(base()->{watermark} / 1000 - time), '<', 60, '... and a watermark, an instant';
    is metric(), 0, 'it is not held';
    my $told = $nginx->admin(GET => 'database')->json;
    my %both = map { $_ => base()->{$_} } qw(id watermark);
    is_deeply $told, {status => 'ok', reason => undef, %both, known => \%both}, 'the operator can look at it';
    is $nginx->admin(POST => 'database/confirm')->json->{id}, $told->{id}, 'to confirm what is not held changes nothing';
};

subtest 'what is no other database' => sub {
    my $id = base()->{id};
    $nginx->reload(wait_old => 1);
    wait_state('ok');
    $nginx->quit->start;
    wait_state('ok');
    is base()->{id}, $id, 'a reload, a restart: the same id';

    minutes_ago(1);
    wait_for(sub { seen()->{status} eq 'ok' && $nginx->admin(GET => 'database')->json->{watermark} >= base()->{watermark} }, 10);
    is seen()->{status}, 'ok', 'a minute is lost: a suffix, and it goes on';

    my @more = map { $s->nginx } 1 .. 2;
    wait_state(ok => $_) for @more;
    is base()->{id}, $id, 'other nodes take it as it is';
    $_->quit for @more;
    splice @{$s->nginxes}, 1;
};

subtest 'nodes that begin at once agree' => sub {
    my $empty = $t->redis;
    my @nodes = map { $s->nginx(redis => $empty) } 1 .. 3;
    wait_state(ok => $_) for @nodes;
    is_deeply [map { $_->admin(GET => 'database')->json->{known}{id} } @nodes], [($empty->client->hget($KEY, 'id')) x 3], 'on one id';
    $_->quit for @nodes;
    splice @{$s->nginxes}, 1;
};

subtest 'what is compared' => sub {
    my $empty  = $t->redis;
    my $client = $empty->client;
    my $script = Test::Lines::Script->new(redis => $empty);
    my ($one, $two, $three) = map { $_ x 24 } qw(1 2 3);
    my $now    = 1000 * time;

    # known, its watermark, a new id; raise, confirm, the anchor's interval
    my $check = sub ($known, $watermark, $id, @more) { $script->run(database_check => [$KEY], $known, $watermark, $id, (map { $more[$_] // '' } 0 .. 2), 'test') };
    my $mark  = sub { $client->hget($KEY, 'watermark') };
    my $is    = sub (@fields) { $client->del($KEY); $client->hset($KEY, @fields) };

    is_deeply [@{$check->('', 0, $one)}[0, 1]], ['fine', $one], 'who knows nothing makes an id';
    is $check->('', 0, $two)->[1], $one, '... once';

    my $first = $mark->();
    $check->($one, $first - 1, $two, 1);
    is $mark->(), $first, 'another node has raised the watermark meanwhile: it stays';
    $check->($one, $first, $two, 1);
    is $mark->(), $first + 60_000, 'it rises by a minute at least';
    $is->(id => $one, watermark => $now - 3_600_000);
    $check->($one, $now - 3_600_000, $two, 1);
    cmp_ok abs($mark->() - $now), '<', 60_000, '... to now, after an hour of rest';
    $is->(id => $one, watermark => $now + 3_600_000);
    $check->($one, $now + 3_600_000, $two, 1);
    is $mark->(), $now + 3_660_000, '... and goes on, where the clock went back';

    $is->(id => $one, watermark => $now);
    is $check->($one, $now + $_->[0], $two)->[0], $_->[1], "behind by $_->[0] ms: $_->[1]" for [120_000, 'fine'], [120_001, 'held'];
    is $check->($one, $now, $two)->[0], 'held', 'what one node has found holds for all';
    is $check->('', 0, $two)->[0], 'held', '... those that know nothing, too';

    $is->(id => $one, watermark => $now - 3_600_000);
    is $check->($one, $now - 3_600_000, $two, 1)->[0], 'fine', 'a node that remembers no more than the copy that was restored raises its watermark';
    is_deeply [@{$check->($one, $now - 600_000, $two)}[0, 1]], ['held', 'behind'], '... and one that remembers what was lost sees it all the same';
    $is->(id => $one, watermark => $now - 3_600_000);
    my $old = $now - 3_600_000 - 100 * 600_000;
    for (0 .. 100) { $is->(id => $one, watermark => $old, gaps => $client->hget($KEY, 'gaps') // ''); $check->($one, $old, $two, 1); $old += 600_000 }
    cmp_ok length $client->hget($KEY, 'gaps'), '<=', 64 * 28, '... of which not too many are kept';
    $is->(id => $one, watermark => $now - 3_600_000);
    $check->($one, $now - 3_600_000, $two, 1);
    is $check->($one, $_->[0], $two)->[0], 'fine', "a whole fleet that rested for an hour, and $_->[1]: no other database"
        for [$now - 3_600_000, 'knows no more'], [$now - 3_480_000, 'what was lost as a suffix'], [$mark->(), 'knows it'], [$mark->() + 120_000, 'what was lost since'];

    $is->(id => $one, watermark => $now);
    $check->($one, $now + 120_001, $two);
    is_deeply [@{$check->($one, $now + 120_001, $two, '', 1)}[0, 1]], ['fine', $two], 'confirmed: another id';
    is $mark->(), $now + 120_001, '... and the watermark never falls';

    # what is older than that it need not know, until somebody says so, who has heard of the first word
    my $born = $client->hget($KEY, 'born');
    my $said = sub { $check->($two, $mark->(), $three, '', 1)->[1] };
    is $said->(), $two, 'said again, as the answer was lost: it stays as it is';
    is $client->hget($KEY, 'born'), $born, '... and answers for no more';
    $client->hset($KEY, born => $born - 300_000);
    is $said->(), $two, 'five minutes later it stays as it is';
    is $client->hget($KEY, 'born'), 0, '... and answers for all that was sold';
    $client->hset($KEY, born => $born);

    is $check->($one, $now + 150_000, $three)->[0], 'fine', 'a node that remembers the old one takes it';
    is $check->($one, $now + 300_000, $three)->[1], 'another', '... unless it was there after that';

    $is->(id => $one, watermark => $now + 3_600_000, born => $now, deployment => 'test');
    is_deeply [@{$check->($two, $now + 3_600_000, $three)}[0, 1, 5]], ['held', 'another', ''], 'emptied, and begun anew by a node that knew nothing, while the watermark was ahead of the clock: held for all';
    is $check->($one, $now + 3_600_000, $three)->[0], 'held', '... that node, too';

    $is->(id => $one, watermark => $now, born => 1, deployment => 'staging');
    is_deeply [@{$check->($_->[0], $now, $two)}[0, 5]], ['held', 'staging'], "another name: held, $_->[1]" for ['', 'whoever knows nothing'], [$three, 'and who knows another'];
    $client->hset($KEY, confirmed => $now);
    is $check->($three, $now, $two)->[0], 'held', '... though that one was confirmed since';
    $client->hdel($KEY, 'confirmed');
    is $check->($one, $now, $two, 1)->[0], 'fine', 'who knows it goes on, renamed';
    is $client->hget($KEY, 'deployment'), 'staging', '... and the name stays';
    is_deeply [@{$check->('', 0, $two, '', 1)}[0, 1]], ['fine', $one], 'the operator\'s word takes it';
    is $client->hget($KEY, 'deployment'), 'test', '... and its name over';
    is $check->('', 0, $two)->[0], 'fine', '... for the nodes that begin later';

    $is->(id => $one, watermark => $now);
    is_deeply [map { $check->($one, $now, $two, '', '', 300_000)->[3] } 1 .. 2], [1, 0], 'one writes the anchor';
    $client->hset($KEY, watermark => $now + 300_000);
    is $check->($one, $now, $two, '', '', 300_000)->[3], 1, '... and again, five minutes on';
};

promise 'a backup is restored: all is held until it is confirmed' => sub {
    my $paid    = $s->active_line;
    my $bought  = $s->bought_line;
    my $account = $bought->{account};
    my $open    = $s->pending_line;
    my $key     = $s->workspace('buyer');
    my $token   = $s->token($s->account('waits'));
    $s->rest($_->{tenant}) for $paid, $bought, $open;
    wait_state('ok');

    $nginx->allow($HELD);
    my $id = base()->{id};
    minutes_ago(10);
    wait_state('held');
    is seen()->{reason}, 'behind', 'why it is held';
    is $nginx->get('/_lines/ready')->status, 503, 'the node is not ready';
    is metric(), 1, 'the metric';
    is alerts(), 1, 'one alert';
    is $nginx->admin(GET => 'database')->json->{reason}, 'behind', 'the operator sees it';

    my $refused = $s->request($key);
    is $refused->status, 503, 'no new charge of a workspace';
    like $refused->header('Retry-After'), qr/^[1-9]/, '... but later';
    ok $refused->json->{error}, '... in its dialect';
    is_deeply [$s->made_for('w:buyer')], [], '... and nothing asked for at billing';

    $refused = $s->confirm($s->account('waits'), $token, key => 'k');
    is $refused->status, 503, 'nor of an account';
    like $refused->header('Retry-After'), qr/^[1-9]/, '... but later';
    is $refused->json->{status}, 'ERROR', '... in its dialect';

    is $s->action($open->{key}, $open->{line}, 'cancel')->status, 503, 'no cancel';
    $s->release($paid);
    $s->sandbox->wait_idle;

    my %nobody   = (lines_deployment => 'test', tenant => 'w:buyer', line_request => 'f' x 24, attempt => 1);
    my $stranger = $s->sandbox->adopt(customer => 'cus_card', price => 'price_email', metadata => \%nobody);
    $s->sandbox->renew($stranger->{id});
    $s->sandbox->wait_idle;

    wait_rest($_) for $open->{tenant}, $paid->{tenant}, 'w:buyer';

    is +($s->money($_->{subscription}))[2], 'active', 'a released line\'s subscription lives' for $paid;
    is +($s->money($open->{subscription}))[2], 'incomplete', 'and so does what was to be canceled';
    is +($s->money($stranger->{id}))[1], 0, 'and nothing is refunded of what no line holds';
    is +($s->money($stranger->{id}))[2], 'active', '... nor is it canceled';

    my $pays = $s->shown($open);
    $s->sandbox->pay($open->{invoice});
    $s->soon(sub { $s->now_of($open)->{status} ne 'awaiting_payment' }, 'a payment is seen, and written down');

    is alerts(), 1, 'still one alert';
    $nginx->reload(wait_old => 1);
    is seen()->{status}, 'held', 'a reload does not change that';
    $nginx->quit->start;
    wait_state('held');
    pass 'nor a restart';

    my $told = $nginx->admin(POST => 'database/confirm');
    is $told->status, 200, 'the operator confirms';
    is $told->json->{status}, 'ok', '... and is told';
    isnt base()->{id}, $id, '... under another id, which a second restore would not have';
    is $nginx->get('/_lines/ready')->status, 200, 'the node is ready';
    is metric(), 0, 'the metric';

    $s->soon(sub { ($s->money($paid->{subscription}))[2] eq 'canceled' }, 'what was held goes on: the released line\'s subscription ends', 15);
    $s->soon(sub { ($s->money($stranger->{id}))[2] eq 'canceled' }, '... what no line holds does, too', 15);
    $s->soon(sub { my ($in, $out) = $s->money($stranger->{id}); $in == $out }, '... and is refunded', 15);
    is $s->request($key)->status, 201, 'and charges are made';
    is $s->confirm($s->account('waits'), $token, key => 'k')->status, 200, '... of accounts, too: the token was not used up';
};

promise 'an empty database: held by all nodes, whichever looks first' => sub {
    my $alerts = alerts();
    my $other  = $s->nginx;
    wait_state(ok => $other);
    $other->quit;

    $redis->cli('FLUSHALL');
    wait_state('held');
    is seen()->{reason}, 'empty', 'a node that knows better says why';
    $other->start;
    wait_state(held => $other);
    pass 'one that has forgotten all holds as well';
    $other->allow($HELD);

    is $other->admin(POST => 'database/confirm')->json->{status}, 'ok', 'confirmed at that one';
    wait_state($_->[0], $_->[1]) for [ok => $other], [ok => $nginx];
    is alerts() - $alerts, 1, 'one alert of each';
    is alerts($other), 1, '... of the two';
    like base()->{id}, qr/^[0-9a-f]{24}$/, 'and it has an id';
    $other->quit;
    splice @{$s->nginxes}, 1;
};

promise 'nothing that was wrong for a second leaves: an event comes right after it' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    wait_state('ok');

    # within the second between two looks of the node
    $redis->cli('FLUSHALL');
    is $s->told_again($line)->status, 200, 'billing tells of what no line holds';
    wait_for(sub { base()->{held} }, 20, 'it to be held');
    wait_rest($line->{tenant});
    my (undef, $back, $status) = $s->money($line->{subscription});
    is $back,   0,        'nothing is refunded';
    is $status, 'active', '... or canceled';
    is $nginx->admin(POST => 'database/confirm')->json->{status}, 'ok', 'confirmed';
};

promise 'the right one comes back: it is not held any more' => sub {
    wait_state('ok');
    my $then = $s->remember;
    $redis->cli('FLUSHALL');
    wait_state('held');
    $s->forget_since($then);
    wait_state('ok');
    pass 'nobody has to confirm it';

    $redis->cli('HSET', $KEY, id => 'f' x 24, confirmed => 0);
    wait_state('held');
    is seen()->{reason}, 'another', 'another\'s id, however new';
    $s->forget_since($then);
    wait_state('ok');
};

promise 'the wrong Redis, by mistake: only the node that has it is held' => sub {
    my $other = Test::Lines::Scenario->new(t => $t, deployment => 'staging', webhooks => 0);
    my $stag  = $other->nginx(name => 'staging');
    my $redirect = sub ($to) {
        exchange($nginx, $to == $redis ? $other->redis : $redis, $to);
        my $gone = sub { scalar(() = $nginx->error_log =~ /worker process \d+ exited/g) };
        my $then = $gone->();
        kill HUP => $nginx->master;
        wait_for(sub { $gone->() >= $then + 2 }, 20, 'the former workers to be gone');
    };
    wait_state(ok => $_) for $nginx, $stag;
    $nginx->allow($HELD, qr/\[alert\].*that of deployment/);

    for my $name ('staging', 'test') {
        $other->redis->cli('HSET', $KEY, deployment => $name, born => $name eq 'test' ? 1 : 1000 * time);
        $redirect->($other->redis);
        wait_state('held');
        is seen()->{reason}, 'another', $name eq 'test' ? 'the same name, but its nodes go on with it: it is held' : 'another name: it is held';
        is $nginx->get('/_lines/ready')->status, 503, '... and not ready';
        like $nginx->error_log, qr/\[alert\].*that of deployment "(?:staging|test)"/, '... and the operator is told whose it is';
        is $other->redis->cli('HGET', $KEY, 'held'), undef, 'nothing is written there';
        is seen($stag)->{status}, 'ok', 'the others go on';
        $redirect->($redis);
        wait_state('ok');
    }

    my $id = $other->redis->cli('HGET', $KEY, 'id');
    $redirect->($other->redis);
    wait_state('held');
    is $nginx->admin(POST => 'database/confirm')->json->{status}, 'ok', 'the operator\'s word: it is this one';
    is $other->redis->cli('HGET', $KEY, 'id'), $id, '... under its id, which the others know';
    is seen($stag)->{status}, 'ok', '... and they go on';
    $redis->cli('HSET', $KEY, confirmed => 0);
    $redirect->($redis);
    wait_state('held');
    is $nginx->admin(POST => 'database/confirm')->json->{status}, 'ok', 'and back';
    $stag->quit;
};

promise 'a reload to the wrong Redis: no worker takes anything in before it has looked, whatever others have found elsewhere' => sub {
    my $stag = Test::Lines::Scenario->new(t => $t, deployment => 'staging', webhooks => 0);
    my $mine = Test::Lines::Scenario->new(t => $t);
    my ($its, $node) = ($stag->nginx(name => 'its'), $mine->nginx(name => 'mine'));
    my $line = $mine->active_line;
    $mine->rest($line->{tenant});
    wait_state(ok => $_) for $its, $node;
    $node->allow(qr/./);

    # it cannot look yet: its connection is still being made
    my $gone = sub { scalar(() = $node->error_log =~ /worker process \d+ exited/g) };
    my $then = $gone->();
    my $wire = $t->wire(redis => $stag->redis);
    my $slow = 'timeout=20s connect_timeout=10s';
    $wire->hold(qr/./s);
    exchange($node, $mine->redis, $wire->url . " $slow");
    kill HUP => $node->master;
    wait_for(sub { $gone->() > $then }, 20, 'the former worker to be gone');
    my $answer;
    my ($path, $body, $headers) = $mine->_event('invoice.paid', $mine->sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json);
    my $told = $node->request_p(POST => $path, $headers, $body)->then(sub { $answer = shift });
    wait_for(sub { ($node->get('/_lines/metrics')->body =~ /^lines_redis_in_flight(?:\{store=""\})? (\d+)/m)[0] }, 20, 'the event to be there');
    $wire->pass;
    wait_for(sub { $answer }, 30, 'its answer');
    is $answer->status, 503, 'an event is to come again';
    wait_state(held => $node);

    # back, and once more, while a worker of before has yet to answer
    my $back = $t->wire(redis => $mine->redis);
    $then = $gone->();
    exchange($node, $wire->url . " $slow", $back->url . " $slow");
    kill HUP => $node->master;
    wait_for(sub { $gone->() > $then }, 20, 'the former worker to be gone');
    wait_state(ok => $node);
    $back->hold($back->call('database_check'));
    $back->reached('a look');
    my $asked = $node->request_p(GET => '/api/lines/by-user', {Authorization => "Bearer $line->{key}"});
    my ($shown, @seen);
    $asked->then(sub { $shown = shift });
    wait_for(sub { ($node->get('/_lines/metrics')->body =~ /^lines_redis_in_flight(?:\{store=""\})? (\d+)/m)[0] > 1 }, 20, 'the request to be there');
    my $leaving = sub { scalar(() = $node->error_log =~ /gracefully shutting down/g) };
    $then = $leaving->();
    exchange($node, $back->url . " $slow", $stag->redis);
    kill HUP => $node->master;
    # until then it accepts as well
    wait_for(sub { $leaving->() > $then }, 20, 'the former worker to take nobody in');
    wait_state(held => $node);
    $back->pass;
    wait_for(sub { push @seen, seen($node)->{status}; $shown }, 30, 'the answer of the former worker');
    is $shown->status, 200, 'who was there before is answered by the former one';
    push @seen, seen($node)->{status} for 1 .. 20;
    is_deeply [grep { $_ ne 'held' } @seen], [], 'what that has found says nothing of the new one';
    $_->quit for $its, $node;
};

# each look of the auditor right after the other
my $busy = Test::Lines::Scenario->new->operations . ' audit=10ms pass=200ms';
my $pass = sub ($which) { return {@{scalar $which->redis->cli('HGETALL', 'lines:{audit}')}} };

promise 'who holds alone does nothing there: no operation goes on, and nothing is audited by its own billing' => sub {
    my $wrong = Test::Lines::Scenario->new(t => $t, operations => $busy);
    my $right = Test::Lines::Scenario->new(t => $t, operations => $busy, deployment => 'prod', webhooks => 0);
    my ($node, $good) = ($wrong->nginx(name => 'wrong'), $right->nginx(name => 'right'));
    $_->allow(qr/./) for $node, $good;
    wait_state(ok => $_) for $node, $good;

    my $pending = $right->pending_line;
    my $holder  = wait_for(sub { $right->redis->cli('GET', 'lines:{audit}:lease') }, 20, 'the auditor');
    exchange($node, $wrong->redis, $right->redis);
    kill HUP => $node->master;
    wait_state(held => $node);
    wait_for(sub { $node->error_log =~ /worker process \d+ exited/ }, 20, 'the former worker to be gone');

    # nobody else is there to take the lease, or what is due
    my $asked = () = $wrong->sandbox->requests('GET');
    $good->quit;
    wait_for(sub { !$right->redis->cli('EXISTS', 'lines:{audit}:lease') }, 20, 'the lease to be free');
    wait_for(sub { $right->redis->client->time->[0] * 1000 > ($right->op($pending->{tenant}, $pending->{line})->{due} // 0) + 2000 }, 20, 'an operation to be overdue');
    ok !$right->redis->cli('EXISTS', 'lines:{audit}:lease'), 'nobody takes it';
    is scalar(() = $wrong->sandbox->requests('GET')), $asked, 'its own billing is asked for nothing';
    is $wrong->told_again($pending)->status, 503, 'an event is to come again';

    $good->start;
    wait_state(ok => $good);
    is $right->op($pending->{tenant}, $pending->{line})->{stuck} // '', '', 'nothing is stuck';
    $right->sandbox->pay($pending->{invoice});
    $right->soon(sub { $right->now_of($pending)->{status} eq 'provisioning' }, 'and the right node goes on', 15);
    is_deeply $good->admin(GET => 'audit')->json->{disagreements}, [], 'its auditor finds nothing';
    $_->quit for $node, $good;
};

promise 'a new node with the wrong Redis: it knows nothing, but the name is another\'s' => sub {
    my $stag = Test::Lines::Scenario->new(t => $t, operations => $busy, deployment => 'staging');
    my $prod = Test::Lines::Scenario->new(t => $t, operations => $busy, deployment => 'prod');
    my ($its, $good) = ($stag->nginx(name => 'staging'), $prod->nginx(name => 'prod'));
    wait_state(ok => $_) for $its, $good;
    wait_for(sub { $pass->($stag)->{ended} }, 20, 'a pass of staging\'s');
    my $line = $prod->active_line;
    $prod->rest($line->{tenant});
    $its->quit;

    my $wrong = Test::Lines::Scenario->new(t => $t, operations => $busy, deployment => 'prod', webhooks => 0, redis => $stag->redis, sandbox => $prod->sandbox);
    my $new   = $wrong->nginx(name => 'new');
    $new->allow(qr/\[alert\].*that of deployment "staging"/);
    my $said = $pass->($stag);
    wait_state(held => $new);
    is seen($new)->{reason}, 'another', 'it is held';

    wait_for(sub { ($pass->($prod)->{began} // 0) > $said->{began} + 3_000 }, 20, 'passes of the right one');
    is $pass->($stag)->{began}, $said->{began}, 'it begins no pass there';
    my (undef, $back, $status) = $prod->money($line->{subscription});
    is "$status $back", 'active 0', 'what prod has sold is neither canceled nor refunded';
    is $stag->redis->cli('HGET', $KEY, 'deployment'), 'staging', 'staging\'s database says so still';
    $_->quit for $good, $new;
};

promise 'another database that has taken the place of ours is held for all' => sub {
    wait_state('ok');
    my $now = $redis->client->time->[0] * 1000;
    $redis->cli('HSET', $KEY, id => 'e' x 24, confirmed => 0, born => $now + 60_000, watermark => $now);
    wait_state('held');
    is base()->{held}, 'another', 'as young as that it was not there when ours was: others that begin are held, too';
    is $nginx->admin(POST => 'database/confirm')->json->{status}, 'ok', 'confirmed';

    $redis->cli('HSET', $KEY, id => 'd' x 24, confirmed => 0, born => 1, watermark => $now - 600_000);
    wait_state('held');
    is base()->{held}, 'another', 'nobody goes on with it: a copy';
    is $nginx->admin(POST => 'database/confirm')->json->{status}, 'ok', 'confirmed';
};

for my $kind (qw(500 400)) {
    promise "an anchor that cannot be read ($kind): charges wait, and readiness says why; all else is served" => sub {
        $s->sandbox->customer('cus_away');
        my $http = $s->http =~ s/(deployment=test)/$1 anchor=cus_away/r;
        $s->sandbox->fault(path => '/v1/customers/:id', method => 'GET', kind => $kind, times => 1000);
        my $node = $t->nginx(redis => $redis, plans => $s->plans, http => $http, server => $s->server);
        $node->allow(qr/billing/);
        wait_state(untold => $node);
        my $ready = $node->get('/_lines/ready');
        is $ready->status, 200, 'it is ready: webhooks and all that costs nothing go on';
        is $ready->json->{database}{reason}, 'anchor', '... and why nothing is charged is told';
        is metric($node), 1, 'the metric, for an alert';
        my $key = $s->workspace("untold$kind");
        is $s->request($key, nginx => $node)->status, 503, 'no charge';
        $s->sandbox->clear_faults;
        wait_state(ok => $node);
        is metric($node), 0, 'until it has been read';
        $node->quit;
    };
}

promise 'an anchor at billing: a fleet that has forgotten all compares as well' => sub {
    my $http   = $s->http =~ s/(deployment=test)/$1 anchor=cus_anchor/r;
    my $fresh  = $t->redis;
    my %node   = (redis => $fresh, plans => $s->plans, http => $http, server => $s->server);
    my $node   = $t->nginx(%node);
    my $anchor = sub { $s->sandbox->call(GET => '/v1/customers/cus_anchor')->json('/metadata/lines_database') };
    my $id     = sub { $fresh->client->hget($KEY, 'id') };

    wait_state(ok => $node);
    wait_for(sub { $anchor->() }, 20, 'the anchor');
    my $said = $id->() . ' ' . $fresh->client->hget($KEY, 'watermark');
    is $anchor->(), $said, 'it has id and watermark';
    $node->quit->start;
    wait_state(ok => $node);
    is scalar(my @posts = $s->sandbox->requests(POST => '/v1/customers/cus_anchor')), 1, 'it is written once in a while';

    $node->quit;
    $fresh->client->flushall;
    $node->allow($HELD);
    $node->start;
    wait_state(held => $node);
    is $node->get('/_lines/ready')->json->{database}{reason}, 'empty', 'an empty one is held by a node that knows of it by billing alone';
    is $node->admin(POST => 'database/confirm')->status, 200, 'confirmed';
    wait_for(sub { $anchor->() =~ /^@{[$id->()]} / }, 20, 'the anchor to say so');

    $node->quit;
    $fresh->client->hincrby($KEY, watermark => -600_000);
    $node->start;
    wait_state(held => $node);
    is $node->get('/_lines/ready')->json->{database}{reason}, 'behind', 'and so is an old one';
    is $node->admin(POST => 'database/confirm')->status, 200, 'confirmed';
    wait_state(ok => $node);

    $node->quit;
    $s->sandbox->fault(path => '/v1/customers/:id', kind => 'drop_before', times => 1);
    my $before = () = $s->sandbox->requests(GET => '/v1/customers/cus_anchor');
    $node->start;
    wait_for(sub { (() = $s->sandbox->requests(GET => '/v1/customers/cus_anchor')) > $before }, 20, 'the anchor to be asked for');
    wait_state(ok => $node);
    pass 'billing may be away for a while';
};

$t->done;
