# A deletion that is slow, and what happens in between on other nodes: another deletion of the name ends, and one is made anew; a failover
# loses that it was to be deleted; a key is made, or revoked while it is. What a node asks is held on its way to Redis, for so long.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my @wires = map { $t->wire(redis => $redis, name => "wire$_") } 1, 2;
my %conf  = (workers => 1, plans => "lines_plan bulk phone included=100000;\n");
my $nginx = $t->nginx(%conf, redis => $redis);
my @slow  = map { $t->nginx(%conf, redis => $_->url, redis_options => 'timeout=20s connect_timeout=10s', name => 'behind-' . $_->name) } @wires;
my %paid  = (plan => 'bulk', subscription => 'active', customer => 'cus_same');
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $list  = qr/SREM\r\n.*\{tenants\}/s;

# what a node is asked, and its answer once that is there
sub ask ($node, $method, $path) {
    my $state = {};
    $node->request_p($method => "/_lines/admin/$path", {Authorization => 'Bearer ' . $t->admin_token})->then(sub ($answer) { $state->{answer} = $answer });
    return $state;
}

sub answer ($state) { wait_for(sub { $state->{answer} }, 30, 'the answer') }

# the tenant as it is by now: back() makes it so again, as a failover does
sub remembered ($tenant) {
    my $key    = "lines:{$tenant}:t";
    my @before = $redis->client->hgetall($key);
    return sub { $redis->client->del($key); $redis->client->hset($key, @before) };
}

# its DELETE, during which a failover takes back that it is to be deleted: as what is held is on its way
sub undone ($path, $back, @held) {
    $wires[0]->hold(@held);
    my $state = ask($slow[0], DELETE => $path);
    $wires[0]->reached;
    $back->();
    $wires[0]->pass;
    my $answer = answer($state);
    is $answer->status, 503, 'whoever asked is told to ask again';
    ok $answer->headers->header('Retry-After'), '... and when';
}

sub indexed ($id) { [map { $redis->client->sismember($_ => "w:$id") } 'lines:{tenants}', 'lines:{ix:cus_same}'] }

sub keys_of ($id) { map { $_->{id} } @{$nginx->admin(GET => "workspaces/$id/keys")->json('/keys')} }

sub keyless ($id) {
    $nginx->workspace($id => {%paid});
    $nginx->admin(DELETE => "workspaces/$id/keys/$_") for keys_of($id);
}

subtest 'another deletion ends first, and one of the name is made: that is found by all that points at it' => sub {
    $nginx->workspace(again => {%paid});
    $wires[0]->hold($list);
    my $state = ask($slow[0], DELETE => 'workspaces/again');
    $wires[0]->reached;
    is $nginx->admin(DELETE => 'workspaces/again')->status, 200, 'deleted';
    is $nginx->admin(PUT => 'workspaces/again', {%paid})->status, 201, 'made';
    $wires[0]->pass;
    is answer($state)->status, 200, 'the slow one ends';
    is $nginx->admin(GET => 'workspaces/again')->status, 200, 'and leaves what was made since';
    is_deeply indexed('again'), [1, 1], '... where it was listed';
};

subtest 'a failover loses it at its end: what lives is found as before' => sub {
    $nginx->workspace(undone => {%paid});
    my $back = remembered('w:undone');
    undone('workspaces/undone', $back, $list);
    is $nginx->admin(GET => 'workspaces/undone')->status, 200, 'it lives';
    is_deeply indexed('undone'), [1, 1], 'and is listed';
};

subtest 'a failover loses it among its lines' => sub {
    my $key  = $nginx->workspace(lost => {%paid});
    my $auth = $nginx->bearer($key);
    my $back = remembered('w:lost');
    for (1 .. 55) {
        my $line = $nginx->post_json('/api/line-requests', \%phone, $auth)->json('/line/_id');
        $nginx->admin(POST => "lines/$line/status", {status => 'failed'});
    }

    # a page is gone, the next one was read
    undone('workspaces/lost', $back, $wires[0]->call('inv_release'), skip => 50);
    is $nginx->admin(GET => 'workspaces/lost')->status, 200, 'the workspace lives';

    my @listed = $redis->client->zrange('lines:{w:lost}:lines', 0, -1);
    my @there  = map {/:line:(.*)/} $redis->client->keys('lines:{w:lost}:line:*');
    is @listed, 5, 'so do the lines of that page';
    is_deeply [sort @there], [sort @listed], 'those that are there are those that it lists';
    is_deeply [grep { $nginx->admin(POST => "lines/$_/status", {status => 'failed'})->status == 404 } @listed], [], '... and the operator finds';

    is $nginx->admin(DELETE => 'workspaces/lost')->status, 200, 'asked again';
    is_deeply [grep {/\{w:lost\}/ && !/:deleted$/} $redis->client->keys('*')], [], 'nothing is left';
};

subtest 'a failover loses it among its tickets' => sub {
    my @pair = $nginx->account('lost');
    my $auth = {'sb-api-key-id' => $pair[0], 'sb-api-secret-key' => $pair[1]};
    my $back = remembered('a:lost');
    is $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $auth)->status, 200, 'a ticket';
    my ($ticket) = map {/ticket:(\d+)$/} $redis->client->keys('lines:{a:lost}:ticket:*');

    undone('accounts/lost', $back, $wires[0]->call('inv_release'));
    is $nginx->admin(POST => "tickets/$ticket", {status => 'CANCELLED'})->status, 200, 'the ticket can be moved';
    is $nginx->admin(DELETE => 'accounts/lost')->status, 200, 'asked again';
    is_deeply [grep {/\{a:lost\}|ticket\./ && !/:deleted$/} $redis->client->keys('*')], [], 'nothing is left';
};

# between a key's place in the list and the key itself
sub stored ($id) { qr/HSET\r\n.*\r\nw:\Q$id\E\r\n/s }

subtest 'a key that is made while its workspace is deleted: it opens none that is made later' => sub {
    keyless('keyed');
    $wires[0]->hold(stored('keyed'));
    $wires[1]->hold($wires[1]->call(tenant_left => 'w:keyed'), skip => 1);

    my $made = ask($slow[0], POST => 'workspaces/keyed/keys');
    $wires[0]->reached('a key, listed');
    my $deleted = ask($slow[1], DELETE => 'workspaces/keyed');
    $wires[1]->reached('it, deleted');
    $wires[0]->pass;
    is answer($made)->status, 404, 'nobody gets it';
    $wires[1]->pass;
    is answer($deleted)->status, 200, 'deleted';
    is_deeply [$redis->client->keys('lines:{k:*')], [], 'nothing is left of it';
};

subtest 'a key that is made while it is revoked' => sub {
    keyless('revoked');
    my ($id, $made, $gone);
    $wires[0]->hold(stored('revoked'));
    $wires[1]->hold(qr/SREM\r\n.*\{w:revoked\}/s);

    $made = ask($slow[0], POST => 'workspaces/revoked/keys');
    $wires[0]->reached('a key, listed');
    ($id) = $redis->client->smembers('lines:{w:revoked}:keys');
    $gone = ask($slow[1], DELETE => "workspaces/revoked/keys/$id");
    $wires[1]->reached('it, revoked');
    $wires[0]->pass;
    my $key = answer($made)->json('/key') // 'none';
    $nginx->get('/api/line-requests', $nginx->bearer($key));
    $wires[1]->pass;
    is answer($gone)->status, 200, 'revoked';
    is_deeply [keys_of('revoked')], [], 'it is not listed';
    wait_for(sub { $nginx->get('/api/line-requests', $nginx->bearer($key))->status == 401 }, 30, 'nodes to know it no more');
    pass 'and opens nothing, also where it did meanwhile';
};

$t->done;
