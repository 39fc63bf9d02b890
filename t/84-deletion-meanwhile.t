# A deletion that is slow, and what happens in between on other nodes: a key is made, or revoked while it is. What a node asks is held on
# its way to Redis, for so long.
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

# what a node is asked, and its answer once that is there
sub ask ($node, $method, $path) {
    my $state = {};
    $node->request_p($method => "/_lines/admin/$path", {Authorization => 'Bearer ' . $t->admin_token})->then(sub ($answer) { $state->{answer} = $answer });
    return $state;
}

sub answer ($state) { wait_for(sub { $state->{answer} }, 30, 'the answer') }

sub keys_of ($id) { map { $_->{id} } @{$nginx->admin(GET => "workspaces/$id/keys")->json('/keys')} }

sub keyless ($id) {
    $nginx->workspace($id => {%paid});
    $nginx->admin(DELETE => "workspaces/$id/keys/$_") for keys_of($id);
}

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
