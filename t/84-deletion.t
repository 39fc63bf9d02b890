# A workspace or an account that is deleted is one until all that it leaves behind is gone: none of its name is made meanwhile,
# who would find what is the former one's, or lose what is its own.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 1, plans => "lines_plan bulk phone included=100000;\n",
    server => 'location /limited/ { lines_auth workspace; lines_rate_limit rate=1r/s key=tenant name=own; empty_gif; }');
my %paid  = (plan => 'bulk', subscription => 'active', customer => 'cus_same');
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

sub admin_p ($method, $path, $json = undef) {
    my %headers = (Authorization => 'Bearer ' . $t->admin_token);
    return $nginx->request_p($method => "/_lines/admin/$path", \%headers) unless $json;
    return $nginx->request_p($method => "/_lines/admin/$path", {%headers, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json($json));
}

# a workspace whose lines have failed, and hold it no longer
sub failed ($id, $n) {
    my $key = $nginx->workspace($id => {%paid});
    my $line = $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($key))->json('/line/_id');
    $nginx->admin(POST => "lines/$line/status", {status => 'failed'});
    $redis->client->eval(<<'END', 2, "lines:{w:$id}:lines", "lines:{w:$id}:line:$line", $n);
local text = redis.call('GET', KEYS[2])
local name = string.sub(KEYS[2], 1, -25)
local record = string.gsub(name, 'line:$', 'rec:')
local h = redis.call('HGETALL', record .. string.sub(KEYS[2], -24))
for i = 1, ARGV[1] - 1 do
    local id = string.format('%024x', i)
    redis.call('SET', name .. id, text)
    redis.call('HSET', record .. id, unpack(h))
    redis.call('ZADD', KEYS[1], i, id)
end
END
    return $key;
}

sub revoke ($id) { $nginx->admin(DELETE => "workspaces/$id/keys/$_->{id}") for @{$nginx->admin(GET => "workspaces/$id/keys")->json('/keys')} }

subtest 'a deletion that was cut short among its lines' => sub {
    my %case = (
        'by a node of today' => sub { $redis->client->del('lines:{w:half}:t'); $redis->client->hset('lines:{w:half}:t', plan => '', deleting => 1, former_customer => 'cus_same') },
        'by an older one'    => sub { $redis->client->del('lines:{w:half}:t') },
    );

    for my $name (sort keys %case) {
        failed(half => 120);
        revoke('half');
        $case{$name}->();

        my $put = $nginx->admin(PUT => 'workspaces/half', {%paid});
        is $put->status, 409, "$name: none of that name can be made";
        like $put->json('/error'), qr/DELETE/, '... and what to do';
        is $nginx->admin(@$_)->status, 404, "@$_: there is none" for [GET => 'workspaces/half'], [POST => 'workspaces/half/keys'];

        is $nginx->admin(DELETE => 'workspaces/half')->status, 200, 'the next DELETE goes on';
        is $nginx->admin(GET => 'workspaces/half')->status, 404, 'until it is gone';
        is_deeply [grep {/half|000077/ && !/:deleted$/} $redis->client->keys('*')], [], 'with all that it had';

        my $new = $nginx->bearer($nginx->workspace(half => {%paid}));
        is_deeply $nginx->get('/api/line-requests', $new)->json('/lineRequests'), [], 'then the name is free, and has no lines';
        $nginx->admin(DELETE => 'workspaces/half');
    }
};

subtest 'an account, among its tickets' => sub {
    my @pair = $nginx->account('half');
    my $auth = {'sb-api-key-id' => $pair[0], 'sb-api-secret-key' => $pair[1]};
    my $add  = sub { $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $auth) };
    is $add->()->status, 200, 'a ticket' for 1 .. 3;

    my ($ticket) = map {/ticket:(\d+)$/} $redis->client->keys('lines:{a:half}:ticket:*');
    $redis->client->del('lines:{a:half}:t');
    $redis->client->hset('lines:{a:half}:t', plan => '', deleting => 1);

    is $nginx->admin(PUT => 'accounts/half', {})->status, 409, 'none of that name can be made';
    isnt $add->()->status, 200, 'whose key makes no further one';
    is $nginx->admin(POST => "tickets/$ticket", {status => 'CANCELLED'})->status, 404, 'none is moved';
    is $nginx->admin(DELETE => 'accounts/half')->status, 200, 'the next DELETE goes on';
    is_deeply [grep {/half|ticket\./ && !/:deleted$/} $redis->client->keys('*')], [], 'nothing is left';

    my $days = $redis->client->ttl('lines:{w:half}:deleted') / 86400;
    ok $days > 399 && $days <= 400, '... but when that was, of a workspace that billing may yet hear of, for a while';
};

subtest 'made again while it is being deleted' => sub {
    failed(busy => 3000);

    # who wants another of the name asks until there is, and makes a line in it
    my ($deleted, %seen, @made);
    my $again;
    $again = sub {
        admin_p(PUT => 'workspaces/busy', {%paid})->then(sub ($put) {
            $seen{$put->status}++;
            return $deleted ? $put : $again->() if $put->status != 201;
            return admin_p(POST => 'workspaces/busy/keys')->then(sub ($answer) {
                my $auth = $nginx->bearer($answer->json('/key') // 'none');
                return $nginx->post_json_p('/api/line-requests', \%phone, $auth)->then(sub ($made) { push @made, [$auth, $made]; return $made });
            });
        });
    };
    my @answers = concurrently(10, sub ($i) { $i == 5 ? admin_p(DELETE => 'workspaces/busy')->then(sub ($answer) { $deleted = 1; return $answer }) : $again->() });

    is $answers[5]->status, 200, 'deleted';
    is_deeply [grep { !/^(?:200|201|409)$/ } keys %seen], [], 'made, or refused';

    for (@made) {
        my ($auth, $made) = @$_;
        is $made->status, 201, 'the new one takes lines';
        is_deeply [map { $_->{_id} } @{$nginx->get('/api/line-requests', $auth)->json('/lineRequests')}], [$made->json('/line/_id')],
          '... keeps its own, and has none of the former';
    }
    cmp_ok scalar(@made), '<=', 1, 'there is one';
};

subtest 'a rate of its own, set meanwhile' => sub {
    for my $round (1 .. 10) {
        $nginx->admin(PUT => 'workspaces/rated', {%paid});
        my @answers = concurrently(40, sub ($i) { $i == 10 ? admin_p(DELETE => 'workspaces/rated') : admin_p(PUT => 'workspaces/rated/limits/own', {rate => '2r/s'}) });
        is_deeply [grep { !/^(?:200|404)$/ } map { $_->status } @answers], [], 'set, or not found';
        is $redis->client->exists('lines:{w:rated}:t'), 0, 'it is gone, and stays so';
    }
};

# by its customer, billing's events find a workspace; by the list of all, the survey
subtest 'found by what points at it' => sub {
    my $there = sub ($id) { [map { $redis->client->sismember($_ => "w:$id") } 'lines:{tenants}', 'lines:{ix:cus_same}'] };

    $nginx->workspace(found => {%paid});
    is_deeply $there->('found'), [1, 1], 'while it is there';
    is $nginx->admin(DELETE => 'workspaces/found')->status, 200, 'deleted';
    is_deeply $there->('found'), [0, 0], 'no longer: a customer has room for so many';

    for my $round (1 .. 10) {
        concurrently(40, sub ($i) { $i % 2 ? admin_p(DELETE => 'workspaces/found') : admin_p(PUT => 'workspaces/found', {%paid}) });
        is_deeply $there->('found'), [1, 1], 'made and deleted in turns, and there in the end' if $nginx->admin(GET => 'workspaces/found')->status == 200;
    }

    is $nginx->admin(DELETE => 'workspaces/found')->status, 200, 'deleted';
};

$t->done;
