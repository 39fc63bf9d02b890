# API keys: made once, stored as a hash, revoked everywhere within a second.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Digest::SHA qw(sha256_hex);
use IO::Socket::UNIX;
use Time::HiRes ();

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $a     = $t->nginx(name => 'a', redis => $redis, workers => 2);
my $b     = $t->nginx(name => 'b', redis => $redis, workers => 2);

sub ask ($nginx, $authorization) {
    return $nginx->get('/api/lines/by-user', {defined $authorization ? (Authorization => $authorization) : ()});
}

subtest 'a key is shown once and stored as its SHA-256' => sub {
    is $a->admin(PUT => 'workspaces/org_1', {plan => 'growth', subscription => 'active'})->status, 201, 'workspace made';

    my $made = $a->admin(POST => 'workspaces/org_1/keys');
    is $made->status, 201, 'key made';

    my ($id, $key) = @{$made->json}{qw(id key)};
    like $key, qr/^tuco_[0-9a-f]{48,}$/, 'prefix and at least 192 bits';
    is $id, sha256_hex($key), 'its id is its SHA-256';

    is $redis->client->hget("lines:{k:$id}", 'tenant'), 'w:org_1', 'Redis knows whose it is';

    my $everything = join ' ', map { $redis->cli('DUMP', $_) // '' } $redis->client->keys('*');
    unlike $everything, qr/\Q$key\E/, 'and the key itself is nowhere in it';
    unlike $a->error_log, qr/\Q$key\E/, 'nor in a log';

    my $list = $a->admin(GET => 'workspaces/org_1/keys')->json('/keys');
    is_deeply [map { $_->{id} } @$list], [$id], 'listed by its id';
    unlike Mojo::JSON::encode_json($list), qr/\Q$key\E/, 'but not shown again';

    # written by other hands: milliseconds, nanoseconds
    for my $created ('1790000000000', '1790000000000000000') {
        $redis->client->hset("lines:{k:$id}", 'created', $created);
        my $answer = $a->admin(GET => 'workspaces/org_1/keys');
        is $answer->status, 200, "made at $created: answered";
        is_deeply [map { $_->{id} } @{$answer->json('/keys')}], [$id], 'and listed: what opens the door can be seen';
    }
    $redis->client->hset("lines:{k:$id}", 'created', time);

    is $a->admin(POST => 'workspaces/org_none/keys')->status, 404, 'no keys for a workspace that does not exist';
};

my $key = $a->admin(POST => 'workspaces/org_1/keys')->json('/key');

subtest 'credentials' => sub {
    is ask($a, "Bearer $key")->status, 200, 'a good key';
    is ask($a, "bearer $key")->status, 200, 'the scheme is case-insensitive';
    is ask($a, "BEARER  $key")->status, 200, 'and may be followed by several spaces';

    my %bad = (
        'nothing'           => undef,
        'an empty header'   => '',
        'no scheme'         => $key,
        'another scheme'    => "Basic $key",
        'no token'          => 'Bearer',
        'an unknown key'    => 'Bearer tuco_' . 'a' x 64,
        'another prefix'    => 'Bearer acme_' . substr($key, 5),
        'the prefix alone'  => 'Bearer tuco_',
        'a key and more'    => "Bearer ${key}0",
        'a cut key'         => 'Bearer ' . substr($key, 0, -1),
        'upper case'        => 'Bearer ' . uc $key,
        'a very long key'   => 'Bearer tuco_' . 'a' x 4000,
        'a key in braces'   => 'Bearer tuco_}{*',
        'two words'         => "Bearer $key $key",
    );

    for my $what (sort keys %bad) {
        my $answer = ask($a, $bad{$what});
        is $answer->status, 401, "$what is 401";
        is $answer->body, '{"error":"Unauthorized"}', '... and says no more';
        like $answer->header('WWW-Authenticate'), qr/^Bearer/, '... but how';
    }
};

# by the key's name: others look up things at any time, as the survey does
subtest 'an unknown key is asked of Redis once, then remembered' => sub {
    my $id      = sha256_hex('tuco_' . 'b' x 64);
    my $node    = $redis->node_of("lines:{k:$id}");
    my $monitor = IO::Socket::UNIX->new(Peer => $node->socket);
    print $monitor "MONITOR\r\n";
    is scalar <$monitor>, "+OK\r\n", 'look-ups are seen';

    ask($a, 'Bearer tuco_' . 'b' x 64) for 1 .. 20;
    $node->client->echo('that was all');

    my $asked = 0;
    while (defined(my $line = <$monitor>)) {
        $asked++ if $line =~ /"HMGET" "lines:\{k:$id\}"/;
        last if $line =~ /that was all/;
    }
    cmp_ok $asked, '>', 0, 'it is asked';
    cmp_ok $asked, '<=', 2, 'by the cache of the node, whichever worker asks';
};

subtest 'a revoked key stops working on every node within a second' => sub {
    for my $round (1 .. 3) {
        my ($id, $revoked) = @{$a->admin(POST => 'workspaces/org_1/keys')->json}{qw(id key)};

        for (1 .. 8) {
            is ask($_, "Bearer $revoked")->status, 200, "cached on node $_->{name}" for $a, $b;
        }

        is $a->admin(DELETE => "workspaces/org_1/keys/$id")->status, 200, 'revoked on one node';
        Time::HiRes::sleep(1);
        is ask($_, "Bearer $revoked")->status, 401, "unknown to node $_->{name}" for ($a, $b) x 4;
        is $a->admin(DELETE => "workspaces/org_1/keys/$id")->status, 200, 'revoking it again is fine';
    }
};

# as some tools print a digest; an id that is not listed passes for revoked
subtest 'an id in upper case' => sub {
    my ($id, $key) = @{$a->admin(POST => 'workspaces/org_1/keys')->json}{qw(id key)};
    my $revoked = $a->admin(DELETE => 'workspaces/org_1/keys/' . uc $id);
    is $revoked->status, 200, 'revoked';
    is $revoked->json('/id'), $id, 'by its id';
    is ask($_, "Bearer $key")->status, 401, "unknown to node $_->{name}" for $a, $b;

    my ($key_id, $secret) = $a->account('upper');
    is $a->get('/accounts/lines', $a->pair($key_id, $secret))->status, 200, 'a pair';
    is $a->admin(DELETE => 'accounts/upper/keys/' . uc $key_id)->status, 200, 'revoked by its key_id';
    is $a->get('/accounts/lines', $a->pair($key_id, $secret))->status, 401, 'unknown';
    is_deeply $a->admin(GET => 'accounts/upper/keys')->json('/keys'), [], 'none is listed';
};

subtest 'a node that may have missed a revocation asks Redis again' => sub {
    my ($id, $revoked) = @{$a->admin(POST => 'workspaces/org_1/keys')->json}{qw(id key)};
    is ask($b, "Bearer $revoked")->status, 200, 'cached';

    # revoked behind everybody's back, without a word, while the subscriptions are cut
    $redis->client->del("lines:{k:$id}");
    $redis->cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    wait_for(sub { ask($b, "Bearer $revoked")->status == 401 }, 10, 'the key to be asked again');
    pass 'and learns that it is gone';
};

subtest 'keys of a workspace go with it' => sub {
    is $a->admin(PUT => 'workspaces/org_2', {plan => 'mini', subscription => 'active'})->status, 201, 'another workspace';
    my $gone = $a->admin(POST => 'workspaces/org_2/keys')->json('/key');
    is ask($b, "Bearer $gone")->status, 200, 'its key works';
    is $a->admin(DELETE => 'workspaces/org_2')->status, 200, 'the workspace is deleted';
    wait_for(sub { ask($b, "Bearer $gone")->status == 401 }, 5, 'the key to be forgotten');
    is $redis->client->exists('lines:{k:' . sha256_hex($gone) . '}'), 0, 'nothing of it is left in Redis';
};

subtest 'the prefix of keys can be configured' => sub {
    my $c   = $t->nginx(name => 'c', redis => $redis, http => 'lines_key_prefix acme_;');
    my $own = $c->admin(POST => 'workspaces/org_1/keys')->json('/key');
    like $own, qr/^acme_/, 'a key with it';
    is ask($c, "Bearer $own")->status, 200, 'is good there';
    is ask($a, "Bearer $own")->status, 401, 'and not elsewhere';
};

$t->done;
