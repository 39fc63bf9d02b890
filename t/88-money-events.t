# An event of billing that comes between two reads of somebody else is never lost on both.
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
my $nginx   = $s->nginx;

# what billing says reaches Redis late by way of another node
my $wire = $t->wire(redis => $s->redis);
my $late = $s->nginx(redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
wait_for(sub { $late->get('/_lines/ready')->status == 200 }, 30, 'the other node');

$s->numbers(3);

promise 'a payment that comes between the read of an invoice and the rest is seen' => sub {
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => 'delay', ms => 600, times => 1);
    my $line = $s->pending_line;
    wait_for(sub { $sandbox->requests(GET => "/v1/subscriptions/$line->{subscription}") }, 30, 'the read');
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->rest($line->{tenant});
};

# the operation is with the provisioner when the subscription ends; the node has seen that the operation is under way, and before
# the node says that there is news, it ends
sub ends_between ($line) {
    wait_for(sub { grep { $_->{headers}{'idempotency-key'} eq $line->{line} } @{$told->requests} }, 30, 'the provisioner to be told');
    $s->hand(cancel => $line->{subscription});
    $wire->hold($wire->call('op_wake'));
    my $answer;
    my $subscription = $sandbox->call(GET => "/v1/subscriptions/$line->{subscription}")->json;
    my $said = $s->event_p('customer.subscription.deleted', $subscription, $late)->then(sub { $answer = shift });
    $wire->reached('op_wake');
    $told->set(hold => 0);
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'done' }, 30, 'the operation to end');
    $wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');
    is $answer->status, 200, 'billing is told that it was heard';
    $s->soon(sub { !$s->is_live($line) }, 'and it was: the line has ended with its subscription', 3);
    $s->hears;
}

promise "a workspace's operation ends between the two reads of an event: it is not swallowed" => sub {
    my $line = $s->pending_line;
    $told->set(hold => 1);
    $s->deaf;
    $sandbox->pay($line->{invoice});
    ends_between($line);
};

promise "an account's purchase ends between the two reads of an event: it is not swallowed" => sub {
    my $account = $s->account('between');
    my $token   = $s->token($account);
    my $line    = {tenant => 'a:between', account => $account, line => $s->operation_id($token)};
    $told->set(hold => 1);
    $s->deaf;
    my $confirm = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { ($line->{subscription}) = map { $_->{subscription} } $s->bought($account) }, 30, 'the charge');
    ends_between($line);
};

$t->done;
