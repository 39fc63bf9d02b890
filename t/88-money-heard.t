# That a refund has failed, or a bank took money, is heard by somebody who does something about it: also where what it concerns is about to end, begins
# anew, is taken over, or cannot be read.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Parameters;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;

# who carries an operation, and is held up; billing's events come to another
my $wire  = $t->wire(redis => $s->redis);
my $late  = $s->nginx(redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
my $nginx = $s->nginx;
my $made  = 0;

# who is held up by the test at one call is not killed at another as well
my @held = (held => 1);

# and one that events reach late
my $other_wire = $t->wire(redis => $s->redis, name => 'other_wire');
my $other_late = $s->nginx(redis => $other_wire->url, redis_options => 'timeout=20s connect_timeout=10s');

for my $node ($late, $nginx, $other_late) {
    $node->allow(qr/\[alert\].*is stuck: (?:refund_failed|subscription_refused)/);
    wait_for(sub { $node->get('/_lines/ready')->status == 200 }, 30, 'a node');
}

$s->numbers(3);
$s->hears($nginx);

# whose refunds can fail yet
sub customer {
    my $id = 'cus_heard' . ++$made;
    $sandbox->customer($id, 'ok', 'default', 'pending');
    return $id;
}

sub line ($what, %its) {
    my $customer = customer();
    my $method   = "${what}_line";
    return {%{$s->$method(workspace => {customer => $customer, %its})}, customer => $customer};
}

sub stuck ($line) {
    return map {"$_->{kind} $_->{stuck}"} grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}

sub refund_of ($line) { (grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')})[0] }

# the refund fails while that call is on its way to Redis
sub fails_before ($line, $call, $code, @then) {
    $wire->hold($wire->call($call));
    my $done = $code->();
    $wire->reached($call);
    my $refund = refund_of($line) or die 'no refund';
    is $refund->{status}, 'pending', 'it goes back';
    $sandbox->settle($refund->{id} => 'failed');
    $sandbox->wait_idle;
    $wire->$_ for @then;
    return $done;
}

sub is_listed ($line) {
    $s->soon(sub { grep {/refund_failed/} stuck($line) }, 'what failed is listed', 15) or diag explain [$s->op(@$line{qw(tenant line)}), $s->money($line->{subscription})];
    my $again = $sandbox->refund($line->{invoice});
    $sandbox->settle($again->{id} => 'succeeded');
    $s->soon(sub { !stuck($line) }, '... until somebody has made up for it', 15);
}

promise 'a part goes back and fails, as the line that it was paid for is about to be canceled' => sub {
    my $line = line('pending');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->rest($line->{tenant});
    fails_before($line, cancel_end => sub { $late->post_json_p("/api/line-requests/$line->{line}", {action => 'cancel'}, $late->bearer($line->{key}))->catch(sub { }) }, 'pass');
    is_listed($line);
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'it is canceled');
}, @held;

promise 'a part goes back and fails, as another customer is about to be billed' => sub {
    my $line = line('pending');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->rest($line->{tenant});
    my $other = customer();
    fails_before($line, request_again => sub { $late->admin(PUT => "workspaces/$line->{name}", {customer => $other}) }, 'pass');
    is_listed($line);
    $s->soon(sub { $s->now_of($line)->{attempt} == 2 && length $s->now_of($line)->{subscription} }, 'who is now is billed');
}, @held;

promise 'another customer is billed between the two reads of the event that says so' => sub {
    my $line = line('pending');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->rest($line->{tenant});
    $s->deaf;
    my $other = customer();
    my ($said, $answer);
    $other_wire->hold($other_wire->call('op_wake'));
    fails_before($line, request_again => sub { $late->admin(PUT => "workspaces/$line->{name}", {customer => $other}) });
    $said = $s->event_p('refund.failed', refund_of($line), $other_late)->then(sub { $answer = shift });
    $other_wire->reached('op_wake');
    $wire->pass;
    $s->soon(sub { $s->now_of($line)->{attempt} == 2 && length $s->now_of($line)->{subscription} }, 'who is now is billed');
    $other_wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');
    is $answer->status, 200, 'billing is told that it was heard';
    is_listed($line);
    $s->hears($nginx);
}, @held;

promise 'what a person gave back of a purchase that is undone fails, and who undoes it claims it anew' => sub {
    my $account = $s->account('heard', customer => customer());
    my $token   = $s->token($account);
    my $line    = {tenant => 'a:heard', customer => "cus_heard$made", line => $s->operation_id($token)};
    $told->set(delay => 1, status => 422);
    fails_before($line, inv_release => sub {
        my $asked = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
        wait_for(sub { ($line->{subscription}) = map { $_->{subscription} } $s->bought($account) }, 30, 'the charge');
        ($line->{invoice}) = map { $_->{invoice} } $s->bought($account);
        $s->hand(refund => $line->{invoice});
        return $asked;
    }, 'cut', 'pass');
    $told->set(delay => 0, status => 200);
    is_listed($line);
}, @held;

promise 'a bank has taken one invoice, and takes another and gives it back, before anybody could read the subscription: the line ends' => sub {
    my $line = line('active');
    $sandbox->renew($line->{subscription});
    my ($second) = grep { $_ ne $line->{invoice} } map { $_->{invoice} } grep { $_->{subscription} eq $line->{subscription} } $sandbox->ledger('charge');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => 'drop_before', times => 1000);
    $sandbox->dispute($line->{invoice});
    $sandbox->wait_idle;
    my $other = $sandbox->dispute($second);
    $sandbox->wait_idle;
    $sandbox->judge($other->{id} => 'under_review');
    $sandbox->judge($other->{id} => 'won');
    $sandbox->wait_idle;
    $sandbox->clear_faults;
    $s->soon(sub { !$s->is_live($line) }, 'the line ends', 15);
    is +($s->money($line->{subscription}))[2], 'canceled', '... and is not charged again';
};

promise "a bank has taken it, and billing refuses to show the subscription for a while: the line ends" => sub {
    my $line = line('active');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 1000);
    $sandbox->dispute($line->{invoice});
    $sandbox->wait_idle;
    wait_for(sub { grep { $_->{status} == 400 } $sandbox->requests(GET => "/v1/subscriptions/$line->{subscription}") }, 30, 'a refusal');
    $sandbox->clear_faults;
    $s->soon(sub { !$s->is_live($line) }, 'the line ends', 15);
    is +($s->money($line->{subscription}))[2], 'canceled', '... and is not charged again';
};

promise 'reported active, canceled and refunded in full before anybody looks; that it fails is heard as of one whose subscription goes on' => sub {
    my $line = line('pending');
    $told->set(status => 503);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->now_of($line)->{status} eq 'provisioning' }, 'it is paid for', 15);
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => 'drop_before', times => 1000);
    # a run that had looked before would end with what it saw
    $s->soon(sub { grep { !$_->{status} } $sandbox->requests(GET => "/v1/subscriptions/$line->{subscription}") }, 'whoever tells looks in vain', 30);
    $s->report($line, 'active');
    $s->hand(refund => $line->{invoice});
    $s->hand(cancel => $line->{subscription});
    $sandbox->clear_faults;
    $s->soon(sub { ($s->op(@$line{qw(tenant line)})->{step} // '') eq 'done' }, 'it comes to its end', 15);
    $told->set(status => 200);
    ok !$s->is_live($line), 'there is no line for nothing';
    $s->rest($line->{tenant});
    $sandbox->settle(refund_of($line)->{id} => 'failed');
    $sandbox->wait_idle;
    is_listed($line);
};

# the same charge as was asked for, which billing has made late
sub turns_up ($account, $id) {
    my $body = Mojo::Parameters->new($s->purchase($account, $id)->{body});
    my $made = $sandbox->call(POST => '/v1/subscriptions', $body->to_hash, {'Idempotency-Key' => 'late' . ++$made});
    is $made->status, 200, 'billing has made it after all' or diag $made->to_string;
    $sandbox->wait_idle;
    return $made->json('/id');
}

# who is held up carries it, and nobody else
sub alone ($code) {
    my @pids = map { $_->pids } $nginx, $other_late;
    kill STOP => @pids;
    my $ok = eval { $code->(); 1 };
    kill CONT => @pids;
    die $@ unless $ok;
}

sub live_of ($account) {
    return grep { ($s->money($_))[2] eq 'active' } map { $_->{subscription} } $s->bought($account);
}

promise 'a charge that two looks did not find turns up, as another one is about to be made: it is that one' => sub {
    my $account = $s->account('late', customer => customer());
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', times => 1);
    $wire->hold(qr/lines:$id:sub:2/);
    alone(sub {
        $s->confirm_p($account, $token, key => 'k')->catch(sub { });
        $wire->reached('another attempt');
    });
    my $first = turns_up($account, $id);
    $wire->pass;
    $s->wait_purchase($account, $id);
    is_deeply [live_of($account)], [$first], 'charged once';
    is $s->confirm($account, $token, key => 'k')->status, 200, '... and bought';
}, @held;

for my $case (['is about to be given up', 'op_step'], ['was given up', 'inv_release']) {
    promise "a charge turns up, as its purchase $case->[0]" => sub {
        my $account = $s->account("gone$case->[1]", customer => customer());
        my $token   = $s->token($account);
        my $id      = $s->operation_id($token);
        $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'drop_before', times => 1000);
        $wire->hold($case->[1] eq 'op_step' ? qr/undo:charge/ : $wire->call($case->[1]));
        alone(sub {
            $s->confirm_p($account, $token, key => 'k')->catch(sub { });
            wait_for(sub { ($s->purchase($account, $id)->{step} // '') eq 'charge' }, 30, 'the charge');
            my $then = (time - 24 * 3600) * 1000;
            $s->redis->cli(HSET => "lines:{a:$account->{id}}:op:$id", sent_at => $then, begun => $then);
            $wire->reached($case->[1]);
        });
        $sandbox->clear_faults;
        turns_up($account, $id);
        $wire->pass;
        $s->wait_purchase($account, $id);
        $s->soon(sub { live_of($account) == (() = $s->lines($account)) }, 'it has its line, or ends', 15) or diag explain [live_of($account)];
        $s->soon(sub { my ($paid, $back) = $s->money(($s->bought($account))[0]{subscription}); $back == ($s->lines($account) ? 0 : $paid) }, '... with all that it cost', 15);
    }, @held;
}

$t->done;
