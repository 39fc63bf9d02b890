# The judge of all that goes wrong (Test::Lines::Judge): of clean books it says nothing, whatever their lines went through; each
# wrong that is planted in them it names, and nothing else.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::JSON qw(encode_json false);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t = Test::Lines->new;

# refuses the lines of accounts that are named so
my $told = $t->upstream(name => 'provisioner', handler => sub ($c, $state) {
    $c->render(json => {}, status => ($c->req->json->{account} // '') =~ /^refuse/ ? 422 : 200);
});

my $shop    = Test::Lines::Account->new(t => $t, webhooks => 1, quarantine => '1h', provisioner => 'http://127.0.0.1:' . $told->port . '/told');
my $nginx   = $shop->nginx;
my $redis   = $shop->redis;
my $sandbox = $shop->sandbox;
my $n       = 0;

$nginx->allow(qr/is stuck/);

# a workspace with a line that is paid for, provisioned and, unless another status is asked for, active
sub line ($status = 'active', %body) {
    my $id     = 'judged' . ++$n;
    my $key    = $shop->workspace($id);
    my $answer = $shop->request($key, %body);
    my %one    = (id => $id, key => $key, tenant => "w:$id", line => $answer->json('/line/_id'), invoice => $answer->json('/invoiceId'));

    return \%one if $status eq 'awaiting_payment';

    $sandbox->pay($one{invoice});
    $shop->wait_done($id, $one{line});
    $nginx->admin(POST => "lines/$one{line}/status", {status => $status}) unless $status eq 'provisioning';
    $one{subscription} = $shop->record($id, $one{line})->{subscription};
    wait_for(sub { !@{scalar $redis->cli(SMEMBERS => "lines:{w:$id}:ops")} }, 30, 'what it began to end');

    return \%one;
}

# an account that has bought a line
sub bought ($id) {
    my $account = $shop->account($id);
    my $answer  = $shop->confirm($account, $shop->token($account), key => 'k');
    my ($line)  = @{scalar $redis->cli(ZRANGE => "lines:{a:$id}:lines", 0, -1)};

    return {id => $id, account => $account, tenant => "a:$id", line => $line, answer => $answer,
        $line ? (number => $answer->json('/phone_number'), subscription => $answer->json('/subscription_id')) : ()};
}

sub field ($one, $name) { $redis->cli(HGET => "lines:{$one->{tenant}}:rec:$one->{line}", $name) }

sub event ($type, $object) {
    my $body = encode_json({id => 'evt_' . ++$n, object => 'event', type => $type, created => time, livemode => false, data => {object => $object}});
    my $at   = time;
    return $nginx->post('/webhooks/stripe', $body,
        {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')});
}

subtest 'clean books, and all that a line may go through' => sub {
    $shop->numbers(12);
    $sandbox->customer("cus_$_") for qw(other slow);

    my $waiting  = line('awaiting_payment');
    my $canceled = line('awaiting_payment');
    is $shop->action($canceled->{key}, $canceled->{line}, 'cancel')->status, 200, 'one is canceled';
    line('provisioning');
    my $active = line();
    $sandbox->renew($active->{subscription});

    # given back by a credit note, whose refund stands in the list of refunds as well
    my $failed = line('failed');
    is $shop->record(@$failed{qw(id line)})->{payment}, 'refunded', 'one fails, and is refunded';
    is scalar @{$sandbox->books->{credit_note}[0]{refunds}}, 1, 'by a note';
    is $sandbox->books->{credit_note}[0]{refunds}[0]{refund}, $sandbox->books->{refund}[0]{id}, 'with a refund';

    my $released = line();
    is $nginx->admin(POST => "lines/$released->{line}/release", {})->status, 200, 'one is released';
    my $ended = line();
    $sandbox->cancel($ended->{subscription});
    wait_for(sub { field($ended, 'lapsed') }, 30, 'one to end with its subscription');
    my $unpaid = line();
    $sandbox->move($unpaid->{subscription}, status => 'unpaid');
    wait_for(sub { field($unpaid, 'suspended') }, 30, 'one to be suspended');

    my $free = $shop->request($nginx->workspace(free => {plan => 'growth', customer => 'cus_card'}), channelType => 'phone', phone => undef, email => undef);
    is $free->json('/status'), 'provisioning', 'one is included';

    # paid in parts, from the balance, by no card at all; a part of it given back by hand
    my $parts = line('awaiting_payment');
    $sandbox->pay($parts->{invoice}, 'ok', 500);
    $sandbox->pay($parts->{invoice});
    my $outside = line('awaiting_payment');
    $sandbox->pay_outside($outside->{invoice});
    $shop->wait_record(@$_{qw(id line)}, 'provisioning') for $parts, $outside;
    $sandbox->refund($parts->{invoice}, 100);
    $sandbox->credit($outside->{invoice}, out_of_band_amount => 100);
    $sandbox->endow(cus_other => 900);
    my $key  = $shop->workspace('endowed', customer => 'cus_other');
    my $answer = $shop->request($key);
    $shop->wait_record(endowed => $answer->json('/line/_id'), 'provisioning');

    my $bought = bought('buyer');
    is $bought->{answer}->status, 200, 'an account buys';
    is bought('refused')->{answer}->status, 500, 'one in vain';
    my $back = bought('releaser');
    is $nginx->admin(POST => "lines/$back->{line}/release", {})->status, 200, 'one gives back';

    my $ticket = $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $bought->{account}{headers})->json('/data/id');
    is $nginx->admin(POST => "tickets/$ticket", {status => 'FULFILLED'})->status, 200, 'a ticket is fulfilled';

    $sandbox->wait_idle;
    $shop->agree('nothing is wrong');
};

# from here on nobody is told what is done at billing
$sandbox->webhooks(to => undef);

# plants a wrong, which the judge must name, and nothing else; then mends it
sub planted ($what, $plant, $expected, $mend) {
    my @mend  = $plant->();
    my @found = $shop->disagreements;

    subtest $what => sub {
        is scalar @found, scalar @$expected, 'as much is wrong as was planted' or diag explain \@found;

        for my $i (0 .. $#$expected) {
            ok scalar(grep { $_ =~ $expected->[$i] } @found), "it is named: $expected->[$i]" or diag explain \@found;
        }

        $mend->(@mend);
        $shop->agree('mended, nothing is wrong');
    };
}

# one field of a hash is another for a while
sub edited ($what, $key, $field, $value, @expected) {
    my $old = $redis->cli(HGET => $key, $field);
    planted $what, sub { $redis->cli(HSET => $key, $field, $value) }, \@expected,
      sub (@) { defined $old ? $redis->cli(HSET => $key, $field, $old) : $redis->cli(HDEL => $key, $field) };
}


# lines and their subscriptions

my $canceled = line_quietly();
planted 'a settled line whose subscription was canceled',
  sub { $sandbox->cancel($canceled->{subscription}) },
  [qr/^live: line $canceled->{line} of w:\S+ \(active, paid\) has no live subscription: $canceled->{subscription} \(canceled\)$/],
  sub ($subscription) { event('customer.subscription.deleted', $subscription) };

my $stranger;
planted 'a subscription without a line',
  sub {
    $stranger = $sandbox->hand(POST => '/v1/subscriptions', customer => 'cus_card', items => [{price => 'price_email'}],
        metadata => {lines_deployment => 'test', tenant => $canceled->{tenant}, line_request => 'f' x 24});
  },
  [qr/^orphan: subscription \S+ \(active\) of $canceled->{tenant} f{24} has no line$/,
    qr/^kept: subscription \S+ \(active\) of $canceled->{tenant} f{24} has no line: paid 900, given back 0$/],
  sub (@) {
    $sandbox->cancel($stranger->{id});
    is_deeply [map { /^(\w+)/ } $shop->disagreements], ['kept'], 'canceled, its money is still there';
    $sandbox->refund($stranger->{latest_invoice});
  };

planted 'a subscription of another deployment',
  sub {
    $sandbox->hand(POST => '/v1/subscriptions', customer => 'cus_card', items => [{price => 'price_email'}],
        metadata => {lines_deployment => 'elsewhere', tenant => $canceled->{tenant}, line_request => 'e' x 24});
  },
  [], sub (@) { };

my $given = line_quietly();
planted 'a line that was refunded and is still active',
  sub { $sandbox->refund($given->{invoice}) },
  [qr/^paid: line $given->{line} of \S+ \(active, paid\) was not paid for: $given->{subscription}, paid 900, given back 900$/],
  sub (@) { $nginx->admin(POST => "lines/$given->{line}/release", {}) };

my $credited = line_quietly();
planted 'a line that was credited to the balance and is still active',
  sub { $sandbox->credit($credited->{invoice}, credit_amount => 900) },
  [qr/^paid: line $credited->{line} .* given back 900$/],
  sub (@) { $nginx->admin(POST => "lines/$credited->{line}/release", {}) };
$sandbox->hand(POST => '/v1/customers/cus_card/balance_transactions', amount => 900, currency => 'usd');

my $renewed = line_quietly();
planted 'a line whose last renewal was given back',
  sub { $sandbox->refund($sandbox->renew($renewed->{subscription})->{id}) },
  [qr/^paid: line $renewed->{line} .*, paid 1800, given back 900$/],
  sub (@) { $nginx->admin(POST => "lines/$renewed->{line}/release", {}) };

my $disputed = line_quietly();
planted 'a line whose payment the bank took back',
  sub { $sandbox->dispute($disputed->{invoice}) },
  [qr/^paid: line $disputed->{line} .*, paid 900, given back 0, disputed 900$/],
  sub ($dispute) { $sandbox->judge($dispute->{id} => 'won') };

planted 'a bank that only asks',
  sub { $sandbox->dispute($disputed->{invoice}, status => 'warning_needs_response') }, [], sub (@) { };

edited 'a line that is suspended though it is paid for', "lines:{$disputed->{tenant}}:rec:$disputed->{line}", suspended => 1,
  qr/^suspended: line $disputed->{line} .* is suspended, and its subscription is active/;

planted 'a line that runs though it is not paid for',
  sub { $sandbox->move($disputed->{subscription}, status => 'unpaid') },
  [qr/^suspended: line $disputed->{line} .* is not suspended, and its subscription is unpaid/],
  sub (@) { $sandbox->move($disputed->{subscription}, status => 'active') };

edited 'a line that was released, whose subscription lives', "lines:{$disputed->{tenant}}:rec:$disputed->{line}", released => 1,
  qr/^ends: line $disputed->{line} .* has a live subscription/, qr/^place: line $disputed->{line} .* holds a place/;

my $other = line_quietly();
edited 'one subscription for two lines', "lines:{$disputed->{tenant}}:rec:$disputed->{line}", subscription => $other->{subscription},
  qr/^double: line $disputed->{line} .* has the subscription of another line/, qr/^double: subscription $other->{subscription} .* is that of line .* and of line/,
  qr/^orphan: subscription $disputed->{subscription} .* is not that of its line$/, qr/^kept: subscription $disputed->{subscription} .* is not that of its line/;

planted 'two subscriptions for one line',
  sub {
    $stranger = $sandbox->hand(POST => '/v1/subscriptions', customer => 'cus_card', items => [{price => 'price_free'}],
        metadata => {lines_deployment => 'test', tenant => $other->{tenant}, line_request => $other->{line}});
  },
  [qr/^double: $other->{tenant} $other->{line} has live subscriptions/, qr/^orphan: subscription \S+ .* is not that of its line$/],
  sub (@) { $sandbox->cancel($stranger->{id}) };


# a line that failed, and what became of its money

my $failed = line_quietly();
my $failed_key = "lines:{$failed->{tenant}}:rec:$failed->{line}";

planted 'a refund that was counted twice, once as a credit note: the other half is still here',
  sub {
    $sandbox->cancel($failed->{subscription});
    $sandbox->credit($failed->{invoice}, refund_amount => 450);
    $redis->cli(HSET => $failed_key, status => 'failed', active => 0, payment => 'refunded', place => '', ended => 1);
    $redis->cli(HINCRBY => "lines:{$failed->{tenant}}:t", 'email_paid', -1);
  },
  [qr/^kept: line $failed->{line} .* \(failed, refunded\) is not to be paid for: $failed->{subscription}, paid 900, given back 450$/],
  sub (@) { $sandbox->refund($failed->{invoice}, 450) };

planted 'a refund that fails later',
  sub { $sandbox->settle($sandbox->books->{refund}[0]{id} => 'failed') },
  [qr/^kept: line $failed->{line} .*, paid 900, given back 450$/],
  sub (@) { $sandbox->refund($failed->{invoice}, 450) };

# refunded while the bank only asked, and then it took the charge all the same
my $over = line_quietly();
$nginx->admin(POST => "lines/$over->{line}/release", {});
$shop->agree('a line is released');
planted 'more is given back than was paid',
  sub {
    my $dispute = $sandbox->dispute($over->{invoice}, status => 'warning_needs_response');
    $sandbox->refund($over->{invoice});
    return $sandbox->judge($dispute->{id} => 'needs_response');
  },
  [qr/^over: subscription $over->{subscription} \(canceled\) of $over->{tenant} $over->{line}: paid 900, given back 900, disputed 900$/],
  sub ($dispute) { $sandbox->judge($dispute->{id} => 'won') };


# what is paid once its workspace is gone

my $gone = line_quietly();
my $late = $sandbox->bill($gone->{subscription}, draft => 1)->{id};
$nginx->admin(POST => "lines/$gone->{line}/release", {});
wait_for(sub { $nginx->admin(DELETE => "workspaces/$gone->{id}")->status == 200 }, 30, 'the workspace to be deleted');
$sandbox->finalize($late);
$shop->agree('a workspace is deleted, and what it paid is kept');

planted 'an invoice that is paid after its workspace was deleted',
  sub {
    $shop->judge->left->{$gone->{tenant}} = $sandbox->advance(10);
    $sandbox->pay($late);
  },
  [qr/^kept: subscription $gone->{subscription} \(canceled\) of $gone->{tenant} $gone->{line} has no line: paid 1800, given back 0$/],
  sub (@) { $sandbox->refund($late) };

planted 'what was paid before is given back as well',
  sub { $sandbox->refund($gone->{invoice}) },
  [qr/^over: subscription $gone->{subscription} .* has no line, and got back what it paid before it left: paid 1800, given back 1800$/],
  sub ($refund) { $sandbox->settle($refund->{id} => 'failed') };


# numbers

my $one = bought_quietly('one');
my $two = bought_quietly('two');

edited 'a number that is assigned to two lines', "lines:{$two->{tenant}}:rec:$two->{line}", number => $one->{number},
  qr/^number: number \Q$one->{number}\E is held by line $one->{line} of a:one and line $two->{line} of a:two$/,
  qr/^number: number \Q$one->{number}\E of line $two->{line} of a:two is assigned to $one->{line} of a:one$/,
  qr/^number: number \Q$two->{number}\E is assigned to $two->{line} of a:two, which is no line and no ticket of it$/;

planted 'a number that is assigned to nobody',
  sub {
    my ($free) = @{scalar $redis->cli(ZRANGE => 'lines:{inv}:free', 0, 0)};
    my $entry = $redis->cli(HGET => 'lines:{inv}:numbers', $free);
    $redis->cli(HSET => 'lines:{inv}:numbers', $free, 'assigned ' . (split / /, $entry)[1] . ' ' . 'd' x 24 . ' a:one');
    $redis->cli(HSET => 'lines:{inv}:operations', 'd' x 24, $free);
    $redis->cli(ZREM => 'lines:{inv}:free', $free);
    $redis->cli(ZADD => 'lines:{inv}:assigned', 0, $free);
    return ($free, $entry);
  },
  [qr/^number: number \S+ is assigned to d{24} of a:one, which is no line and no ticket of it$/],
  sub ($free, $entry) {
    $redis->cli(HSET => 'lines:{inv}:numbers', $free, $entry);
    $redis->cli(HDEL => 'lines:{inv}:operations', 'd' x 24);
    $redis->cli(ZREM => 'lines:{inv}:assigned', $free);
    $redis->cli(ZADD => 'lines:{inv}:free', 0, $free);
  };

planted 'a number that can be handed out though a line has it',
  sub { $redis->cli(ZADD => 'lines:{inv}:free', 0, $one->{number}) },
  [qr/^number: number \Q$one->{number}\E is assigned, and is in the set of those that are free$/],
  sub (@) { $redis->cli(ZREM => 'lines:{inv}:free', $one->{number}) };

planted 'one number in two tickets',
  sub {
    my @tickets = map { $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $one->{account}{headers})->json('/data/id') } 1 .. 2;
    $redis->cli(HSET => "lines:{a:one}:ticket:$_", status => 'FULFILLED', number => '+12125550199') for @tickets;
    return @tickets;
  },
  [qr/^number: number \+12125550199 is held by ticket \d+ of a:one and ticket \d+ of a:one$/],
  sub (@tickets) { $redis->cli(HSET => "lines:{a:one}:ticket:$_", status => 'OPEN', number => '') for @tickets };


# counters, windows, what blocks

edited 'a counter that is off by one', "lines:{$other->{tenant}}:t", email_paid => 2, qr/^counter: $other->{tenant} counts 2 of email_paid, and has 1$/;
edited 'a counter of included lines', 'lines:{w:free}:t', phone_included => 0, qr/^counter: w:free counts 0 of phone_included, and has 1$/;
edited 'a counter of an account', 'lines:{a:one}:t', account_lines => 3, qr/^counter: a:one counts 3 of account_lines, and has 1$/;

planted 'a place in the window without a line',
  sub { $redis->cli(ZADD => 'lines:{a:one}:win', time * 1000, 'c' x 24) },
  [qr/^window: c{24} of a:one has a place in the window, and no line$/],
  sub (@) { $redis->cli(ZREM => 'lines:{a:one}:win', 'c' x 24) };

planted 'a line that is not in the window',
  sub {
    my $score = $redis->cli(ZSCORE => 'lines:{a:one}:win', $one->{line});
    $redis->cli(ZREM => 'lines:{a:one}:win', $one->{line});
    return $score;
  },
  [qr/^window: line $one->{line} of a:one .* is not in the window$/],
  sub ($score) { $redis->cli(ZADD => 'lines:{a:one}:win', $score, $one->{line}) };

planted 'a workspace that waits for a line that is there',
  sub { $redis->cli(SET => "lines:{$other->{tenant}}:pending", $other->{line}) },
  [qr/^pending: $other->{tenant} is blocked by line $other->{line}, which does not await payment$/],
  sub (@) { $redis->cli(DEL => "lines:{$other->{tenant}}:pending") };


# operations

my $waiting = line('awaiting_payment');
my $shard   = Compress::Zlib::crc32($waiting->{line}) % 16;

planted 'an unfinished operation without a hint',
  sub {
    wait_for(sub { $redis->cli(ZSCORE => "lines:{due:$shard}", "$waiting->{tenant} $waiting->{line}") }, 30, 'the hint');
    my $score = $redis->cli(ZSCORE => "lines:{due:$shard}", "$waiting->{tenant} $waiting->{line}");
    $redis->cli(ZREM => "lines:{due:$shard}", "$waiting->{tenant} $waiting->{line}");
    return $score;
  },
  [qr/^hint: operation $waiting->{line} of $waiting->{tenant} \(request\) is unfinished, and has no hint$/],
  sub ($score) { $redis->cli(ZADD => "lines:{due:$shard}", $score, "$waiting->{tenant} $waiting->{line}") };

planted 'an operation that is not among the unfinished',
  sub { $redis->cli(SREM => "lines:{$waiting->{tenant}}:ops", $waiting->{line}) },
  [qr/^operation: operation $waiting->{line} of $waiting->{tenant} is in await, and not among the unfinished$/,
    qr/^operation: line $waiting->{line} .* is waited for by nobody$/],
  sub (@) { $redis->cli(SADD => "lines:{$waiting->{tenant}}:ops", $waiting->{line}) };

edited 'an operation that is stuck', "lines:{$waiting->{tenant}}:op:$waiting->{line}", stuck => 'refund_refused',
  qr/^operation: operation $waiting->{line} of $waiting->{tenant} \(request\) is in await, stuck: refund_refused$/;

planted 'a line that nobody lists',
  sub { $redis->cli(ZREM => "lines:{$other->{tenant}}:lines", $other->{line}) },
  [qr/^record: $other->{tenant} does not list line $other->{line}$/],
  sub (@) { $redis->cli(ZADD => "lines:{$other->{tenant}}:lines", 1, $other->{line}) };

planted 'a paid invoice of a line that waits for it',
  sub { $sandbox->pay($waiting->{invoice}) },
  [qr/^kept: line $waiting->{line} .* is not to be paid for: \S+, paid 900, given back 0$/, qr/^pending: line $waiting->{line} .* has a subscription that is paid for/],
  sub (@) { $shop->read($waiting->{key}, $waiting->{line}) };


subtest 'one kind is left out by its name' => sub {
    $redis->cli(HSET => 'lines:{a:one}:t', account_lines => 3);
    is_deeply [$shop->disagreements(except => ['counter'])], [], 'that of counters';
    is scalar(my @all = $shop->disagreements(except => ['number'])), 1, 'another is not';
    $redis->cli(HSET => 'lines:{a:one}:t', account_lines => 1);
};

$t->done;

# as above, while nobody is told: events are on just for as long
sub line_quietly (@args) { quietly(sub { line(@args) }) }

sub bought_quietly ($id) { quietly(sub { bought($id) }) }

sub quietly ($do) {
    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));
    my $one = $do->();
    $sandbox->wait_idle;
    $sandbox->webhooks(to => undef);
    wait_for(sub { !$shop->disagreements }, 30, 'agreement');
    return $one;
}
