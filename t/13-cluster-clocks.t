# The clocks of a cluster's nodes differ: a tenant's requests go by that of the node which has the tenant, and by no other.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'it has a cluster of its own', store => 'one Redis will do';
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Unit qw(make_unit);

my $t     = Test::Lines->new;
my $clock = make_unit('t/sim', 0, 'clock') . '/clock.so';
my $redis = $t->redis(kind => 'cluster', start => 0);
my @ahead = (0, 3600, -3600);

# that of the numbers is between those of most tenants
my $inv = $redis->node_of('lines:{inv}:all');
@ahead = @ahead[1, 2, 0] while $redis->nodes->[(grep { $ahead[$_] == 0 } 0 .. 2)[0]] != $inv;

$redis->nodes->[$_]->env({LD_PRELOAD => $clock, LINES_SIM_AHEAD => $ahead[$_]}) for 0 .. 2;
$redis->start;

my $shop  = Test::Lines::Account->new(t => $t, redis => $redis, operations => 'lease=20s due=30s');
my $nginx = $shop->nginx;
my %phone = (channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace');

# a tenant of that kind at each node
sub at_each ($kind) {
    my @names;
    for my $name (map {"t$_"} 1 .. 100) {
        my $node = $redis->node_of("lines:{$kind:$name}:t");
        my ($of) = grep { $redis->nodes->[$_] == $node } 0 .. 2;
        $names[$of] //= $name;
    }
    return @names;
}

my @clocks = map { scalar(($_->cli('TIME'))[0]) } @{$redis->nodes};
cmp_ok abs($clocks[$_] - time - $ahead[$_]), '<', 5, "a node's clock, $ahead[$_] s ahead" for 0 .. 2;

subtest 'line requests' => sub {
    my @names = at_each('w');
    for my $i (0 .. 2) {
        my $auth = {%{$nginx->bearer($nginx->workspace($names[$i] => {plan => 'growth'}))}, 'Idempotency-Key' => 'k'};
        my $made = $nginx->post_json('/api/line-requests', \%phone, $auth);
        is $made->status, 201, "$ahead[$i] s ahead: a line" or diag $made->to_string;
        is $nginx->post_json('/api/line-requests', \%phone, $auth)->header('Idempotency-Replayed'), 'true', '... and once';
    }
};

subtest 'purchases' => sub {
    my @names = at_each('a');
    $shop->numbers(10);
    for my $i (0 .. 2) {
        my $account = $shop->account($names[$i]);
        my $token   = $shop->token($account);
        my $bought  = $shop->confirm($account, $token, key => 'k');
        is $bought->status, 200, "$ahead[$i] s ahead: a number" or diag $bought->to_string;
        is scalar $shop->lines($account), 1, '... one line';
        is $shop->confirm($account, $token, key => 'k')->header('Idempotency-Replayed'), 'true', '... and once';

        # whose number is leased by another node's clock
        my $ticket = $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $account->{headers});
        is $ticket->status, 200, '... a ticket' or diag $ticket->to_string;
        my $moved = $nginx->admin(POST => 'tickets/' . $ticket->json('/data/id'), {status => 'FULFILLED'});
        is $moved->status, 200, '... which is fulfilled' or diag $moved->to_string;
    }
};

# the call that leases a number stays on its way, until another node has bought, and the number is back
subtest 'who comes too late gets no number' => sub {
    my @names = at_each('a');
    my $wire  = $t->wire(redis => $redis);
    my $swift = Test::Lines::Account->new(t => $t, redis => $redis, sandbox => $shop->sandbox, operations => 'lease=3s due=1s sweep=300ms retry=300ms', quarantine => '1s');
    my $node  = $swift->nginx;
    my $slow  = $swift->nginx(workers => 1, redis => $wire->url, redis_options => 'timeout=30s connect_timeout=10s');
    $swift->numbers(10, 212);

    for my $i (0 .. 2) {
        my $account = $swift->account("$names[$i]");
        my $token   = $swift->token($account);
        my $id      = $swift->operation_id($token);
        my $held    = sub { scalar $redis->cli('HGET', 'lines:{inv}:operations', $id) };
        my $answer;

        $wire->hold($wire->call('inv_lease'));
        $swift->confirm_p($account, $token, key => 'late', nginx => $slow)->then(sub { $answer = shift });
        $wire->reached('inv_lease');
        $swift->wait_purchase($account, $id);
        is $node->admin(POST => "lines/$id/release", {})->status, 200, "$ahead[$i] s ahead: another node buys, and the line is released";
        wait_for(sub { !$held->() }, 30, 'its number to go back');
        $wire->pass;

        # what is asked there next is answered after that
        is $slow->admin(GET => 'numbers?limit=1')->json('/counts/leased'), 0, 'no number is leased by the call that was late';
        is $held->(), undef, '... as what has ended would hold it';
        wait_for(sub { $answer }, 60, 'the answer');
        like $answer->status, qr/^(?:200|503)$/, 'who began it is told no other thing' or diag $answer->to_string;
        is $swift->confirm($account, $token, key => 'late')->status, 200, '... and learns in the end that he has bought';
    }
};

$t->done;
