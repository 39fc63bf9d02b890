# Who is held up for longer than his lease finds that another has gone on: nothing is done twice. What else held before has tests
# of its own: kills at every step (37, 49-confirm-crashes, 38 and 49-confirm-chaos), a Redis without memory, read-only or away (11,
# 46, 64, 82), answers that are late, cut or lost (32, 44-charge-unknown, 76), a Redis that holds its answers back (39-paid-hints).
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my @nodes   = map { $s->nginx } 1 .. 2;

$s->numbers(9);

# the first node is stopped while it waits for billing, until the other has brought the operation to its end
sub held_up ($tenant, $begin, $id, $until) {
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 700, times => 1);
    my $answer;
    my $asked = $begin->()->then(sub { $answer = shift });
    wait_for(sub { $s->made_for($tenant) }, 30, 'the charge');
    my @pids = $nodes[0]->pids;
    kill STOP => @pids;
    my $ok = eval { wait_for($until, 20, 'the other node'); 1 };
    kill CONT => @pids;
    ok $ok, 'the other node goes on' or diag $@;
    wait_for(sub { $answer }, 30, 'an answer');
    $s->rest($tenant);
    is scalar(() = $s->made_for($tenant)), 1, 'one subscription';
    return $answer;
}

promise 'a confirm' => sub {
    my $account = $s->account('stopped');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    my $answer  = held_up('a:stopped', sub { $s->confirm_p($account, $token, key => 'k') }, $id, sub { ($s->op('a:stopped', $id)->{step} // '') eq 'done' });
    is $s->confirm($account, $token, key => 'k')->status, 200, 'its client has its line';
    is scalar(() = $s->bought($account)), 1, '... charged once';
    is_deeply [map { $_->{headers}{'idempotency-key'} } @{$told->requests}], [$id], '... told once';
};

promise 'a line request' => sub {
    my $key  = $s->workspace('stopped');
    my $line = sub { $redis->cli('GET', 'lines:{w:stopped}:pending') // '' };
    held_up('w:stopped', sub { $nodes[0]->post_json_p('/api/line-requests', $s->body, $nodes[0]->bearer($key)) }, undef,
        sub { ($s->op('w:stopped', $line->())->{step} // '') eq 'await' });
    is $nodes[1]->post_json('/api/line-requests/' . $line->(), {action => 'payment_link'}, $nodes[1]->bearer($key))->status, 200, 'its client can pay';
};

promise 'a refund' => sub {
    my $line = $s->paid_line(name => 'back');
    $s->rest('w:back');
    $sandbox->fault(path => '/v1/credit_notes', kind => 'delay', ms => 700, times => 1);
    $s->report($line, 'failed');
    wait_for(sub { ($s->money($line->{subscription}))[1] }, 30, 'the refund');
    my @pids = $nodes[0]->pids;
    kill STOP => @pids;
    my $ok = eval { wait_for(sub { $s->now_of($line)->{payment} eq 'refunded' }, 20, 'the other node'); 1 };
    kill CONT => @pids;
    ok $ok, 'the other node goes on' or diag $@;
    $s->rest('w:back');
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'once';
};

promise 'Redis holds its answers back for longer than a lease' => sub {
    my $account = $s->account('paused');
    my $token   = $s->token($account);
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 500, times => 1);
    my $confirm = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { $s->bought($account) }, 30, 'the charge');
    $redis->cli('CLIENT', 'PAUSE', 3000, 'ALL');
    $s->wait_purchase($account, $s->operation_id($token));
    $_->wait_redis for @nodes;
    is $s->confirm($account, $token, key => 'k')->status, 200, 'its client has its line';
    is scalar(() = $s->bought($account)), 1, '... charged once';
};

promise 'nginx is told to end at once (SIGTERM) while billing has the call' => sub {
    my $account = $s->account('term');
    my $token   = $s->token($account);
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 700, times => 1);
    my $confirm = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { $s->bought($account) }, 30, 'the charge');
    $nodes[0]->stop->start;
    $s->wait_purchase($account, $s->operation_id($token));
    is $s->confirm($account, $token, key => 'k')->status, 200, 'its client has its line';
    is scalar(() = $s->bought($account)), 1, '... charged once';
};

is_deeply [$s->disagreements], [], 'charges, lines and numbers agree';

$t->done;
