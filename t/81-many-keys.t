# A tenant with thousands of API keys: they are listed, and revoked with it, in pages; none outlives it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 1, plans => "lines_plan bulk phone included=100000;\n");
my %paid  = (plan => 'bulk', subscription => 'active');

# as the API makes them
sub keys_of ($id, $n) {
    my @keys  = map { sprintf 'tuco_%s%056x', unpack('H8', $id), $_ } 1 .. $n;
    my @ids   = map { sha256_hex($_) } @keys;
    my $store = $redis->client;
    $store->sadd("lines:{w:$id}:keys", @ids);
    $store->hset("lines:{k:$_}", tenant => "w:$id", created => 1700000000) for @ids;
    return @keys;
}

sub admin_p ($method, $path) { $nginx->request_p($method => "/_lines/admin/$path", {Authorization => "Bearer " . $t->admin_token}) }

sub left (@keys) {
    my $store = $redis->client;
    return scalar grep { $store->exists('lines:{k:' . sha256_hex($_) . '}') } @keys;
}

sub status ($key) { $nginx->get('/api/line-requests', $nginx->bearer($key))->status }

subtest 'five thousand' => sub {
    $nginx->workspace(many => {%paid});
    my @keys = keys_of(many => 5000);
    is status($_), 200, 'a key works' for @keys[0, -1];

    my $list = $nginx->admin(GET => 'workspaces/many/keys');
    is $list->status, 200, 'they are listed';
    my %listed = map { $_->{id} => 1 } @{$list->json('/keys') // []};
    is scalar(grep { !$listed{sha256_hex($_)} } @keys), 0, 'each of them';

    my $deleted = $nginx->admin(DELETE => 'workspaces/many');
    is $deleted->status, 200, 'deleted, at the first try' or diag $deleted->to_string;
    is left(@keys), 0, 'no key is left';
    is $redis->client->exists("lines:{w:many}:$_"), 0, "nor are $_" for qw(t keys);
    is $nginx->admin(PUT => 'workspaces/many', {%paid})->status, 201, 'another of that name';
    wait_for(sub { status($_) == 401 }, 30, 'a key of the former to be refused') for @keys[0, -1];
};

# what a DELETE that Redis failed in the midst of left behind
subtest 'a deletion that was cut short' => sub {
    my @case = (
        ['its keys are being revoked', sub { $redis->client->del('lines:{w:half}:t'); $redis->client->hset('lines:{w:half}:t', plan => '', deleting => 1) }],
        ['the record is gone, its keys are not', sub { $redis->client->del('lines:{w:half}:t') }],
    );

    for (@case) {
        my ($name, $cut) = @$_;
        $nginx->admin(PUT => 'workspaces/half', {%paid});
        my @keys = keys_of(half => 120);
        $cut->();

        my $put = $nginx->admin(PUT => 'workspaces/half', {%paid});
        is $put->status, 409, "$name: none of that name can be made";
        like $put->json('/error'), qr/DELETE/, '... and what to do';
        is $nginx->admin(@$_)->status, 404, "@$_: there is none" for [GET => 'workspaces/half'], [GET => 'workspaces/half/keys'], [POST => 'workspaces/half/keys'];
        is left(@keys), 120, 'the others stay as they are';

        is $nginx->admin(DELETE => 'workspaces/half')->status, 200, 'the next DELETE goes on';
        is left(@keys), 0, 'and revokes what was left';
        is $nginx->admin(PUT => 'workspaces/half', {%paid})->status, 201, 'then the name is free';
        is_deeply $nginx->admin(GET => 'workspaces/half/keys')->json('/keys'), [], 'and has no keys';
        $nginx->admin(DELETE => 'workspaces/half');
    }
};

subtest 'Redis away in the midst of it' => sub {
    $nginx->workspace(cut => {%paid});
    my @keys = keys_of(cut => 3000);
    my $tries = 0;

    # whatever the moment: what works belongs to a tenant that is there, and listed with it
    while ($tries++ < 50) {
        my $timer = Mojo::IOLoop->timer(0.02 * $tries => sub { $redis->client->client_kill('TYPE', 'normal') });
        my ($answer) = concurrently(1, sub ($i) { admin_p(DELETE => 'workspaces/cut') });
        Mojo::IOLoop->remove($timer);
        my $left = left(@keys);
        ok $left == 0 || $redis->client->exists('lines:{w:cut}:t'), "$left keys are left, of a tenant that is there";
        cmp_ok $redis->client->scard('lines:{w:cut}:keys'), '>=', $left, 'and all of them listed';
        last if $answer->status == 200;
        $nginx->wait_redis;
    }

    is left(@keys), 0, "after $tries tries";
    is $redis->client->exists('lines:{w:cut}:t'), 0, 'the tenant is gone';
    $nginx->allow(qr/Redis|redis/);
};

subtest 'keys made meanwhile' => sub {
    for my $round (1 .. 5) {
        $nginx->admin(PUT => 'workspaces/race', {%paid});
        keys_of(race => 100);
        my @answers = concurrently(40, sub ($i) { $i == 10 ? admin_p(DELETE => 'workspaces/race') : admin_p(POST => 'workspaces/race/keys') });
        my @shown = map { $_->json('/key') // () } @answers;
        is scalar(grep { $_->status !~ /^(?:200|201|404)$/ } @answers), 0, 'made, or not found';
        is $redis->client->exists('lines:{w:race}:t'), 0, 'the workspace is gone';
        is left(@shown), 0, 'and so are the ' . @shown . ' keys that were shown';
        is $redis->client->exists('lines:{w:race}:keys'), 0, 'none is listed';
    }
};

$t->done;
