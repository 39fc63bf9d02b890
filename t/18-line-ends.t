# How a line ends, or pauses, and that whoever polls is told: each end in each view; what may come back comes back.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(true false);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $t       = Test::Lines->new;
my $paid    = Test::Lines::Paid->new(t => $t);
my $sandbox = $paid->sandbox;
my $redis   = $paid->redis;
my $nginx   = $paid->nginx(http => "    lines_agent_plan inbound_only price=price_agent;\n", server => "        location = /survey { lines_metrics survey=1s; }\n");
my $n       = 0;

sub places ($id) { $redis->cli('HGET', "lines:{w:$id}:t", 'email_paid') }

sub event_types ($id) {
    return map { $_->{type} } $redis->events("w:$id");
}

# a paid line; returns the workspace, its key, the line, its subscription
sub line ($status = 'active') {
    my $id     = 'ends' . ++$n;
    my $key    = $paid->workspace($id);
    my $answer = $paid->request($key);
    my $line   = $answer->json('/line/_id');
    $sandbox->pay($answer->json('/invoiceId'));
    $paid->wait_record($id, $line, 'provisioning');
    wait_for(sub { $redis->cli('HGET', "lines:{w:$id}:op:$line", 'step') eq 'done' }, 30, 'its request to end');
    $nginx->admin(POST => "lines/$line/status", {status => 'active'}) if $status eq 'active';
    return ($id, $key, $line, $paid->record($id, $line)->{subscription});
}

# what a client sees: status, isActive, reason; the same wherever it looks
sub seen ($key, $line) {
    my $auth = $nginx->bearer($key);
    my $read = $paid->read($key, $line)->json;
    my $state = sub ($doc) { $doc && [@{$doc}{qw(provisioningStatus isActive reason)}] };
    my $one   = $state->($read->{line});

    is $read->{status}, $one->[0], 'the request and its line say the same';

    my ($mine) = grep { $_->{_id} eq $line } @{$nginx->get('/api/lines/by-user', $auth)->json('/lines')};
    is_deeply $state->($mine), $one, '... so does the list of lines';

    for my $status (qw(awaiting_payment provisioning active failed canceled)) {
        my ($mine) = grep { $_->{_id} eq $line } @{$nginx->get("/api/line-requests?status=$status", $auth)->json('/lineRequests')};
        is_deeply $state->($mine), $status eq $one->[0] ? $one : undef, "... and the list of requests, status $status";
    }

    my $answer = $paid->action($key, $line, 'cancel')->json;
    is_deeply [$answer->{status}, $state->($answer->{line})], [$one->[0], $one], '... and an action that does not apply' if $one->[0] ne 'awaiting_payment';

    return $one;
}

sub turns ($key, $line, $want, $what) {
    wait_for(sub { my $doc = $paid->read($key, $line)->json('/line'); ($doc->{reason} // '') eq ($want->[2] // '') }, 30, $what);
    is_deeply seen($key, $line), $want, $what;
}

subtest 'released' => sub {
    my ($id, $key, $line, $sub) = line();
    is_deeply seen($key, $line), ['active', true, undef], 'an active line';
    is $nginx->admin(POST => "lines/$line/release")->json('/line/provisioningStatus'), 'canceled', 'the operator sees it, too' for 1 .. 2;
    is_deeply seen($key, $line), ['canceled', false, 'released'], 'released';
    is places($id), 0, 'its place is free';
    wait_for(sub { $sandbox->call(GET => "/v1/subscriptions/$sub")->json('/status') eq 'canceled' }, 30, 'its billing to end');
    $sandbox->wait_idle;
    is_deeply seen($key, $line), ['canceled', false, 'released'], 'the first reason stays when its add-on ends';
    is $nginx->admin(POST => "lines/$line/status", {status => $_})->status, 409, "it is not reported $_ any more" for qw(active failed);
    is scalar(grep { $_->{type} eq 'refund' } $sandbox->ledger), 0, 'and nothing is paid back';
};

subtest 'its add-on has ended' => sub {
    my ($id, $key, $line, $sub) = line();
    $sandbox->move($sub, status => 'canceled');
    turns($key, $line, ['canceled', false, 'subscription_ended'], 'canceled');
    is places($id), 0, 'its place is free';
    is $nginx->admin(POST => "lines/$line/release")->status, 200, 'it may be released';
    is_deeply seen($key, $line), ['canceled', false, 'subscription_ended'], 'which changes nothing for the client';
    is places($id), 0, 'nor does it free a place twice';
};

subtest 'its add-on has ended before it was ready' => sub {
    my ($id, $key, $line, $sub) = line('provisioning');
    $sandbox->move($sub, status => 'canceled');
    turns($key, $line, ['canceled', false, 'subscription_ended'], 'canceled');
    is_deeply [grep { $_->{_id} eq $line } @{$nginx->admin(GET => 'lines?status=provisioning')->json('/lines')}], [], 'no work for the provisioner';
    is $nginx->admin(POST => "lines/$line/status", {status => 'active'})->status, 409, 'it cannot become active';
    is $nginx->admin(POST => "lines/$line/status", {status => 'failed'})->status, 200, 'that it failed may be said';
    is_deeply seen($key, $line), ['canceled', false, 'subscription_ended'], 'it stays canceled';
    wait_for(sub { $paid->record($id, $line)->{payment} eq 'refunded' }, 30, 'what was paid for nothing to be paid back');
};

subtest 'an add-on that is not paid for suspends its line, and brings it back' => sub {
    my ($id, $key, $line, $sub) = line();

    for my $status (qw(past_due unpaid paused)) {
        $sandbox->move($sub, status => $status);
        turns($key, $line, ['active', false, 'suspended'], $status);
        is places($id), 1, 'it keeps its place';
        $sandbox->move($sub, status => 'active');
        turns($key, $line, ['active', true, undef], 'paid for again');
    }

    $sandbox->move($sub, status => $_) for qw(past_due unpaid active past_due active unpaid);
    turns($key, $line, ['active', false, 'suspended'], 'the last word is what billing says');
    $sandbox->move($sub, status => $_) for qw(active past_due unpaid active);
    turns($key, $line, ['active', true, undef], 'and again');

    is_deeply [grep { /suspended|resumed/ } event_types($id)]->[0], 'line.suspended', 'there are events of it';

    $sandbox->move($sub, status => 'unpaid');
    turns($key, $line, ['active', false, 'suspended'], 'suspended');
    $sandbox->move($sub, status => 'canceled');
    turns($key, $line, ['canceled', false, 'subscription_ended'], 'and then for good');
};

subtest 'suspended before it is ready' => sub {
    my ($id, $key, $line, $sub) = line('provisioning');
    $sandbox->move($sub, status => 'past_due');
    wait_for(sub { $paid->record($id, $line)->{suspended} }, 30, 'the news');
    is_deeply seen($key, $line), ['provisioning', false, undef], 'is on its way still';
    $nginx->admin(POST => "lines/$line/status", {status => 'active'});
    is_deeply seen($key, $line), ['active', false, 'suspended'], 'and suspended once it is ready';
    $sandbox->move($sub, status => 'active');
    turns($key, $line, ['active', true, undef], 'until it is paid for');
};

subtest 'a workspace that is past due' => sub {
    my ($id, $key, $line) = line();
    my $put = sub ($subscription) { $nginx->admin(PUT => "workspaces/$id", {subscription => $subscription}) };

    for my $state (qw(past_due canceled none)) {
        $put->($state);
        is_deeply seen($key, $line), ['active', false, 'suspended'], "$state: its lines are suspended";
        $put->('active');
        is_deeply seen($key, $line), ['active', true, undef], 'and come back';
    }

    $nginx->admin(POST => "lines/$line/release");
    $put->('past_due');
    is_deeply seen($key, $line), ['canceled', false, 'released'], 'but for what has ended';
};

# as it was written: the document says "active", and nothing of a reason; what billing says of the add-on is not heard
sub old_record ($field, $status = 'active', %billing) {
    my ($id, $key, $line, $sub) = line($status);
    my $old = $paid->record($id, $line);
    (my $json = $old->{json}) =~ s/"isActive":true/"isActive":false/;

    if (%billing) {
        $sandbox->webhooks(delay_ms => 600_000);
        $sandbox->move($sub, %billing);
        $sandbox->webhooks(delay_ms => 0);
    }

    $redis->line_before("w:$id", $line, active => 0, place => '', ended => '', $field => $old->{updated}, json => $json);
    $redis->client->hset("lines:{w:$id}:t", email_paid => 0);
    return ($id, $key, $line, $sub);
}

subtest 'records from before: released' => sub {
    my ($id, $key, $line, $sub) = old_record('released');
    $redis->client->hset("lines:{w:$id}:t", 'moves:active:released', 1);
    $sandbox->cancel($sub);    # so did its release
    is_deeply seen($key, $line), ['canceled', false, 'released'], 'canceled, and why';
    is $nginx->admin(POST => "lines/$line/release")->json('/line/provisioningStatus'), 'canceled', 'released again';
    is_deeply seen($key, $line), ['canceled', false, 'released'], 'it stays so';
    is places($id), 0, 'and no place is freed twice';
};

# what lapsed then was canceled or unpaid: nobody knows which, until billing is asked
subtest 'records from before: lapsed, which was for good' => sub {
    my ($id, $key, $line) = old_record('lapsed', 'active', status => 'canceled');
    is_deeply [@{$paid->read($key, $line)->json('/line')}{qw(provisioningStatus isActive reason)}],
      ['active', false, 'suspended'], 'may come back, for all that is known';
    turns($key, $line, ['canceled', false, 'subscription_ended'], 'who reads it is told, once billing was asked');
    is $nginx->admin(POST => "lines/$line/release")->json('/line/provisioningStatus'), 'canceled', 'released again';
    is_deeply seen($key, $line), ['canceled', false, 'subscription_ended'], 'it stays so';
    is places($id), 0, 'and no place is freed twice';
};

subtest 'records from before: lapsed, for it was not paid for' => sub {
    my ($id, $key, $line, $sub) = old_record('lapsed', 'active', status => 'unpaid');
    is_deeply seen($key, $line), ['active', false, 'suspended'], 'suspended';
    wait_for(sub { places($id) == 1 }, 30, 'it to take its place again');
    is_deeply seen($key, $line), ['active', false, 'suspended'], 'suspended still';
    $sandbox->move($sub, status => 'active');
    turns($key, $line, ['active', true, undef], 'and it comes back');
    is places($id), 1, 'its place is taken once';
};

subtest 'records from before: lapsed, and paid for since' => sub {
    my ($id, $key, $line, $sub) = old_record('lapsed', 'active', status => 'unpaid');
    $sandbox->move($sub, status => 'active');
    wait_for(sub { $paid->record($id, $line)->{active} eq '1' }, 30, 'the news, which nobody has to read it for');
    is_deeply seen($key, $line), ['active', true, undef], 'it comes back';
    is places($id), 1, 'and takes its place again';
};

subtest 'records from before: lapsed, then released or failed' => sub {
    my ($id, $key, $line) = old_record('lapsed');
    $nginx->admin(POST => "lines/$line/release");
    is_deeply seen($key, $line), ['canceled', false, 'released'], 'the operator ends it';

    ($id, $key, $line) = old_record('lapsed', 'provisioning');
    is $nginx->admin(POST => "lines/$line/status", {status => 'failed'})->status, 200, 'that it failed may be said';
    is_deeply seen($key, $line), ['failed', false, 'provisioning_failed'], 'it failed';
    is places($id), 0, 'no place is freed twice';
    wait_for(sub { $paid->record($id, $line)->{payment} eq 'refunded' }, 30, 'what was paid for nothing to be paid back');
};

subtest 'records from before: an email line' => sub {
    my ($id, $key, $line) = line();
    (my $json = $paid->record($id, $line)->{json}) =~ s/"lineType":"purchased"/"lineType":""/;
    $redis->line_before("w:$id", $line, type => '', json => $json);
    my $auth = $nginx->bearer($key);
    is $_, 'purchased', 'it was purchased, wherever one looks' for $paid->read($key, $line)->json('/line/lineType'),
      $nginx->get('/api/lines/by-user', $auth)->json('/lines/0/lineType'), $nginx->get('/api/line-requests', $auth)->json('/lineRequests/0/lineType');
};

subtest "an account's lines" => sub {
    my ($key, $secret) = $nginx->account(agent => {customer => 'cus_card'});
    my $pair = $nginx->pair($key, $secret);
    my $buy  = sub ($number) {
        $nginx->admin(POST => 'numbers', {numbers => [{phone_number => $number, worker_id => 'worker1'}]});
        my $token = $nginx->post_json('/accounts/lines/provision-preview', {}, $pair)->json('/preview_token');
        my $done  = $nginx->post_json('/accounts/lines/provision-confirm', {preview_token => $token}, $pair);
        is $done->status, 200, 'bought' or diag $done->to_string;
        return $done->json('/subscription_id');
    };
    my $line  = sub ($sub) { (grep { $_->{subscription_id} eq $sub } @{$nginx->get('/accounts/lines', $pair)->json('/lines')})[0] };
    my $state = sub ($sub) { [@{$line->($sub)}{qw(status active reason)}] };

    my ($one, $two) = map { $buy->("+1415555000$_") } 1, 2;
    is_deeply $state->($one), ['active', true, undef], 'active';

    $sandbox->move($two, status => 'past_due');
    wait_for(sub { $state->($two)[2] }, 30, 'the news');
    is_deeply $state->($two), ['active', false, 'suspended'], 'suspended';
    $sandbox->move($two, status => 'active');
    wait_for(sub { !$state->($two)[2] }, 30, 'the news');
    $sandbox->move($two, status => 'canceled');
    wait_for(sub { $state->($two)[2] }, 30, 'the news');
    is_deeply $state->($two), ['canceled', false, 'subscription_ended'], 'ended';

    $nginx->admin(POST => 'lines/' . $line->($_)->{id} . '/release') for $one, $two;
    is_deeply $state->($one), ['canceled', false, 'released'], 'released';
    is_deeply $state->($two), ['canceled', false, 'subscription_ended'], 'the first reason stays';
    is $nginx->admin(GET => 'numbers')->json('/counts/assigned'), 0, 'and the number of either is given back';
};

subtest 'what is counted' => sub {
    my $metric = sub ($name) { my ($value) = $nginx->get('/survey')->body =~ /^\Q$name\E (\d+)$/m; $value // -1 };
    my %is;

    for my $tenant (@{scalar $redis->cli('SMEMBERS', 'lines:{tenants}')}) {
        for my $line (@{scalar $redis->cli('ZRANGE', "lines:{$tenant}:lines", 0, -1)}) {
            my $h = $redis->line($tenant, $line);
            my ($first) = sort { $h->{$a} <=> $h->{$b} } grep { $h->{$_} } qw(lapsed released);
            $is{!$first ? $h->{status} : $first eq 'released' ? 'released' : 'canceled'}++;
        }
    }

    for my $state (qw(active provisioning released canceled failed)) {
        my $want = $is{$state} // 0;
        eval { wait_for(sub { $metric->("lines_lines{state=\"$state\"}") == $want }, 20, "the survey of $state") };
        is $metric->("lines_lines{state=\"$state\"}"), $want, "$state";
    }
};

$paid->agree('billing and lines agree');

$t->done;
