# lines_billing rate: all calls to billing, of all nodes and workers, take from one bucket; what is under way comes first.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::IOLoop;
use Mojo::Promise;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario;
use Test::Lines::Script;
use Time::HiRes qw(time);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(
    t          => $t,
    rate       => 'rate=5r/s',
    budget     => '3s',
    operations => 'budget=10s sweep=200ms retry=200ms due=1s lease=20s absent=1s walk=1s poll=1h every=1h audit=off pass=1s'
);
my $redis   = $s->redis;
my $sandbox = $s->sandbox;
my $scripts = Test::Lines::Script->new(redis => $redis);
my $bucket  = 'lines:{billing}:budget';
my @nodes   = map { $s->nginx(workers => 2) } 1, 2;

# of those in four ranks: how many have a token
sub take ($c, $interval, $size, @ranks) { $c->run(budget_take => [$bucket], $interval, $size, map { $_ // 0 } @ranks[0 .. 3]) }

sub posts { scalar(my @all = $sandbox->requests(POST => '/v1/subscriptions')) }

sub metric ($name) {
    my $sum = 0;
    $sum += $_ for map { $_->get('/_lines/metrics')->body =~ /^lines_billing_budget_${name}_total (\d+)$/m } @nodes;
    return $sum;
}

sub reloaded ($from, $to) {
    $_->http($_->http =~ s/$from/$to/r)->reload(wait_old => 1) for @nodes;
}

# by when they came, which is later than their tokens were taken: never more than the bucket and what it got back
sub within ($began, $rate, $size, $name) {
    my ($n, $most) = (0, 0);
    for my $at (sort { $a <=> $b } grep { $_ >= $began } map { $_->{arrived} } $sandbox->requests) {
        my $over = ++$n - $size - $rate * ($at - $began);
        $most = $over if $over > $most;
    }
    cmp_ok $most, '<=', 0.1, "$name: $n calls";
    return $n;
}

# nobody gets a token: Redis has an error for whoever asks
sub dry    { $redis->cli(EVAL => q{redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'not', 'a bucket')}, 1, $bucket) }
sub filled { $redis->cli(DEL  => $bucket) }

subtest 'the bucket' => sub {
    my @got = $scripts->race(200, 8, sub ($c, $i) { take($c, 3_600_000_000, 50, 1) });
    is scalar(grep { $_->[0] } @got), 50, 'never more than there may be';
    my ($none) = grep { !$_->[0] } @got;
    cmp_ok $none->[1], '>', 3_590_000, 'all others hear when';
    filled();

    is take($scripts, 3_600_000_000, 20, 3, 2, 20)->[0], 16, 'several at once: new ones leave a fifth';
    is take($scripts, 3_600_000_000, 20, 0, 0, 0, 1)->[0], 0, 'the auditor a half';
    is take($scripts, 3_600_000_000, 20, 0, 5)->[0], 2, 'what recovers a tenth';
    is take($scripts, 3_600_000_000, 20, 5)->[0], 2, 'what is under way nothing';
    filled();
    is take($scripts, 3_600_000_000, 20, 0, 0, 9, 5)->[0], 10, 'in their order';
    filled();
    is take($scripts, 3_600_000_000, 20, 0, 0, 17, 1)->[0], 16, '... nobody before who comes before him';

    cmp_ok take($scripts, 1000, 20, 1)->[1], '<=', 2, 'a rate that was raised: it is empty, and no emptier';
    $t->wait_for(sub { take($scripts, 1000, 20, 1)->[0] }, 10, 'a token');

    my $ahead = sprintf '%.0f', (time + 3600) * 1e6;
    $redis->cli(SET => $bucket, $ahead);
    is_deeply take($scripts, 100_000, 10, 1), [0, 101], 'a clock that was set back: empty for now';
    cmp_ok $redis->cli(PTTL => $bucket), '<=', 1000, '... and the rest is forgotten';
    $t->wait_for(sub { take($scripts, 100_000, 10, 1)->[0] }, 10, 'a token');
    filled();
    take($scripts, 1_000_000, 4, 4);
    cmp_ok $redis->cli(PTTL => $bucket), '<=', 4000, 'it goes when it is full';
    filled();
};

subtest 'two nodes with two workers under load' => sub {
    $sandbox->customer(cus_load => 'ok');
    my @keys = map { $s->workspace("load$_", customer => 'cus_load') } 0 .. 59;
    my $calm = $s->pending_line;
    $s->rest($calm->{tenant});

    my $began = time;
    my ($cancel, $sent);
    my $asked = posts();
    my @all = map { my $i = $_; $nodes[$i % 2]->post_json_p('/api/line-requests', $s->body, $nodes[0]->bearer($keys[$i])) } 0 .. $#keys;
    push @all, Mojo::Promise->timer(0.5)->then(sub {
        return $nodes[1]->post_json_p("/api/line-requests/$calm->{line}", {action => 'cancel'}, $nodes[1]->bearer($calm->{key}));
    })->then(sub ($answer) {
        $cancel = $answer;
        $sent   = posts() - $asked;
    });
    my @answers;
    Mojo::Promise->all(@all)->then(sub (@got) { @answers = map { $_->[0] } @got[0 .. $#keys] })->wait;

    is $cancel->status, 200, 'a cancel' or diag $cancel->to_string;
    note "$sent were sent by then";
    cmp_ok $sent, '<', 25, '... before most of those that came before it';
    is scalar(grep { $_->status !~ /^(?:201|503)$/ } @answers), 0, 'who asked for a line has it, or is told to ask later';
    cmp_ok scalar(grep { $_->status == 201 } @answers), '>', 5, '... and many have';
    is scalar(grep { $_->status == 503 && !$_->header('Retry-After') } @answers), 0, '... when';

    $t->wait_for(sub { posts() - $asked >= @keys }, 120, 'all of them');
    within($began, 5, 2, 'never above the rate');
    cmp_ok metric('waits'), '>', 10, 'waits are counted';
    $s->agree;
};

subtest 'a reload changes the rate' => sub {
    reloaded('rate=5r/s', 'rate=1r/s');
    my $key = $s->workspace('slow');
    filled();
    take($scripts, 1_000_000, 2, 1);
    my $began = time;
    my $waits = metric('waits');
    my $slow  = $s->request($key);
    is $slow->status, 201, 'it waits, and is sent' or diag $slow->to_string;
    cmp_ok time - $began, '>', 0.3, '... when there is a token for what is new';
    cmp_ok metric('waits'), '>', $waits, '... as is counted';
    within($began, 1, 1, 'never above it');

    # a repeat is a call
    $key = $s->workspace('repeat');
    filled();
    $sandbox->fault(path => '/v1/subscriptions', kind => '429', retry_after => 1, times => 1);
    my $sent   = posts();
    my $repeat = $nodes[0]->post_json_p('/api/line-requests', $s->body, $nodes[0]->bearer($key));
    my $timer  = Mojo::IOLoop->recurring(0.02 => sub ($loop) { return if posts() == $sent; dry(); $loop->stop });
    Mojo::IOLoop->start;
    Mojo::IOLoop->remove($timer);
    $repeat->then(sub ($answer) { is $answer->status, 503, 'asked to come again, it does so with a token' })->wait;
    is posts(), $sent + 1, '... and not without';
    filled();
    $t->wait_for(sub { posts() > $sent + 1 }, 30, 'the repeat');

    reloaded('rate=1r/s', 'rate=1000r/s');
    is $s->request($s->workspace('quick0'))->status, 201, 'the bucket as it was is forgotten';
    my $refused = metric('refused');
    is $s->request($s->workspace("quick$_"))->status, 201, 'quick' for 1 .. 10;
    is metric('refused'), $refused, 'and nobody in vain';

    $redis->cli(SET => $bucket, sprintf '%.0f', (time + 3600) * 1e6);
    is $s->request($s->workspace('back'))->status, 201, 'nor for an hour, where the clock of Redis was set back by one';
};

subtest 'past the deadline' => sub {
    reloaded('budget=3s', 'budget=500ms');
    my ($mark, $refused) = ($nodes[0]->log_mark, metric('refused'));
    my $key  = $s->workspace('late');
    my $body = $s->body;
    my $ask  = sub { $nodes[0]->post_json('/api/line-requests', $body, $nodes[0]->bearer($key, 'Idempotency-Key' => 'k')) };

    dry();
    my $sent   = posts();
    my $answer = $ask->();
    is $answer->status, 503, 'not now' or diag $answer->to_string;
    cmp_ok $answer->header('Retry-After') // 0, '>', 0, '... but later';
    is $answer->json('/line/paymentStatus') // $answer->json('/paymentStatus'), 'pending', '... as the line says';
    is $ask->()->status, 409, 'the same key: it is under way';
    is posts(), $sent, 'nothing was sent';
    cmp_ok metric('refused'), '>', $refused, '... as is counted,';
    like $nodes[0]->error_log($mark), qr/\[error\].* calls to billing that were not sent: \d+, as "rate=" of "lines_billing" allows/, 'and logged';
    is $nodes[0]->get('/_lines/ready')->json('/billing/status'), 'ok', 'billing is not away';

    filled();
    $t->wait_for(sub { ($answer = $ask->())->status != 409 }, 60, 'it to go on by itself');
    is $answer->status, 201, 'the same key has it then' or diag $answer->to_string;
    is $answer->header('Idempotency-Replayed'), 'true', '... as the sweeper left it';
    is scalar(@{[grep { $_->{metadata}{tenant} eq 'w:late' } $sandbox->ledger('subscription')]}), 1, 'once';
};

# who reads a list takes "unknown" for something that billing has said
subtest 'between two pages' => sub {
    $sandbox->customer(cus_pages => 'ok');
    $s->workspace('pages', customer => 'cus_pages');
    my $base = $sandbox->adopt(customer => 'cus_pages', price => 'price_growth', count => 12);
    $s->rest('w:pages');

    my %mark = map { $_ => $_->log_mark } @nodes;
    my $said = sub { join '', map { $_->error_log($mark{$_}) =~ /(lines: billing subscriptions: \w+)/ } @nodes };
    my $was  = () = $sandbox->requests(GET => '/v1/subscriptions');
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => 'delay', ms => 500, times => 1);
    $sandbox->move($base->{id}, status => 'past_due');
    $t->wait_for(sub { $sandbox->requests(GET => '/v1/subscriptions') > $was }, 30, 'the first page');
    dry();
    $t->wait_for($said, 30, 'its end');
    is $said->(), 'lines: billing subscriptions: unsent', 'the next page has no token: it was not asked for';

    filled();
    $s->rest('w:pages');
};

subtest 'whoever calls, and whatever for' => sub {
    reloaded('audit=off', 'audit=100ms');
    $sandbox->customer($_ => 'ok') for qw(cus_anchor cus_base);
    $s->workspace('base', customer => 'cus_base');
    $s->numbers(2);
    my $line    = $s->pending_line;
    my $paid    = $s->paid_line;
    my $refund  = $sandbox->refund($paid->{invoice}, 10);
    my $account = $s->account('buyer');
    my $token   = $s->token($account);
    my $base    = $sandbox->adopt(customer => 'cus_base', price => 'price_growth');
    $s->rest($_->{tenant}) for $line, $paid;
    $sandbox->wait_idle;

    dry();

    # what was sent by then has come
    my $calls = sub { scalar(my @all = $sandbox->requests) };
    my $before = -1;
    $t->wait_for(sub { my $was = $before; $before = $calls->(); $was == $before && !grep { !defined $_->{status} } $sandbox->requests }, 10, 'quiet');

    my $new = $s->http =~ s/rate=\d+r.s/rate=1000r\/s/r =~ s/(deployment=test)/$1 anchor=cus_anchor/r;
    my $third = $t->nginx(redis => $redis, plans => $s->plans, http => $new, server => $s->server);
    my $refused = metric('refused');

    is $s->action($line->{key}, $line->{line}, 'cancel')->status, 503, 'a cancel';
    is $s->request($s->workspace('dry'))->status, 503, 'a line request';
    like $s->confirm($account, $token, key => 'k')->status, qr/^(?:409|503)$/, 'a confirm';
    is $s->shown($paid)->{success} // 1, 1, 'a read';
    $sandbox->settle($refund->{id} => 'failed');
    $sandbox->move($base->{id}, status => 'past_due');
    $t->wait_for(sub { metric('refused') >= $refused + 12 }, 60, 'all of them, the auditor and the sweeper to be refused');
    is $third->get('/_lines/ready')->json('/database/status'), 'untold', 'a new node, which cannot read its anchor';
    $third->stop->start;

    is $calls->(), $before, 'nothing was sent' or diag join "\n", map {"$_->{method} $_->{path}"} ($sandbox->requests)[$before .. $calls->() - 1];

    filled();
    $t->wait_for(sub { $s->now_of($line)->{status} eq 'canceled' }, 60, 'the cancel to go on');
    $t->wait_for(sub { $s->confirm($account, $token, key => 'k')->status == 200 }, 60, 'the confirm');
    $t->wait_for(sub { $sandbox->requests(GET => '/v1/customers/cus_anchor') }, 60, 'the anchor to be read');
    $s->agree('all goes on', except => ['refund']);
};

$t->done;
