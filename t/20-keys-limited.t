# API keys with a name, an end, leave to read only, and the day of their last use.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use POSIX qw(strftime);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Script;
use Time::HiRes ();

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $app   = $t->upstream(json => {from => 'upstream'});
my $url   = $app->url;
my $a     = $t->nginx(name => 'a', redis => $redis, workers => 2, server => <<"END");
location /workspace/ { lines_auth workspace stale=1h; proxy_pass $url; }
location /account/   { lines_auth account; proxy_pass $url; }
location /any/       { lines_auth any; proxy_pass $url; }
location /satisfy/   { satisfy any; allow 127.0.0.2; deny all; lines_auth workspace; proxy_pass $url; }
location /page/      { lines_auth workspace; error_page 401 403 = /page; proxy_pass $url; }
location = /page     { return 200 page; }
location /asked/     { auth_request /check; proxy_pass $url; }
location = /check    { internal; lines_auth workspace; }
location /redirected/ { error_page 404 405 = /by-page; }
location = /by-page  { internal; lines_auth workspace; proxy_pass $url; }
location /to-api/    { rewrite ^/to-api/(.*) /api/\$1 last; }
END
my $b = $t->nginx(name => 'b', redis => $redis);

my $expired  = 'The API key has expired: use a new one';
my $readonly = 'The API key may only read: use GET or HEAD, or another key';
my %line     = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

sub made ($tenant, %data) {
    my $answer = $a->admin(POST => "$tenant/keys", %data ? \%data : ());
    is $answer->status, 201, "a key of $tenant" or diag $answer->to_string;
    my $made = $answer->json;
    $made->{auth} = $made->{secret} ? $a->pair(@$made{qw(key_id secret)}) : $a->bearer($made->{key});
    return $made;
}
sub instant ($at) { strftime('%Y-%m-%dT%H:%M:%S', gmtime int $at) . sprintf '.%03dZ', int(1000 * ($at - int $at)) }
sub later   ($s)  { instant(Time::HiRes::time() + $s) }
sub listed ($tenant, $made) { (grep { $_->{id} eq $made->{id} } @{$a->admin(GET => "$tenant/keys")->json('/keys')})[0] }
sub field ($made, $name) { $redis->client->hget("lines:{k:$made->{id}}", $name) }

$a->workspace('org_1');
$a->account('acc_1');

subtest 'what a key may be said to be' => sub {
    my %bad = (
        'name must be a string'                      => [{name => 1}, {name => []}],
        'name must have at most 64 characters'       => [{name => 'x' x 65}],
        'name must not be blank'                     => [{name => ' '}],
        'name must not have control characters'      => [{name => "a\nb"}],
        'role must be all or read'                   => [{role => 'write'}, {role => ''}, {role => 1}],
        'expires_at must be in the future'           => [{expires_at => '2020-01-01T00:00:00.000Z'}, {expires_at => '1970-01-01T00:00:00Z'}, {expires_at => later(-1)}],
        'A key has no other members than name, role and expires_at' => [{read_only => \1}, {expiresAt => '2099-01-01T00:00:00.000Z'}, {access => 'read'}],
        'expires_at must be an instant, as 2030-01-31T00:00:00.000Z, or null' => [
            map { {expires_at => $_} } 1, '', '2099', '2099-01-01', '2099-01-01T00:00:00', '2099-01-01T00:00:00+00:00', '2099-02-29T00:00:00Z', '2100-02-29T00:00:00Z',
            '2099-04-31T00:00:00Z', '2099-13-01T00:00:00Z', '2099-00-01T00:00:00Z', '2099-01-00T00:00:00Z', '2099-01-32T00:00:00Z', '2099-01-01T24:00:00Z', '2099-01-01T00:60:00Z',
            '2099-01-01T00:00:60Z', '2099-01-01 00:00:00Z', '2099-01-01T00:00:00.0Z', '2099-01-01T00:00:00,000Z', '2099-01-01T00:00:00.000z', '1969-12-31T23:59:59Z', '99999-01-01T00:00:00Z', '2099-01-01T00:00:0xZ'
        ],
    );
    for my $words (sort keys %bad) {
        for my $data (@{$bad{$words}}) {
            my $answer = $a->admin(POST => 'workspaces/org_1/keys', $data);
            is $answer->status, 400, Mojo::JSON::encode_json($data) . ' is 400' or diag $answer->to_string;
            is $answer->json('/error'), $words, '... and told why';
        }
    }

    is scalar @{$a->admin(GET => 'workspaces/org_1/keys')->json('/keys')}, 1, 'none of them was made';
    is $a->request(POST => '/_lines/admin/workspaces/org_1/keys', {Authorization => 'Bearer ' . $t->admin_token}, '{"role":"read"}')->status, 415,
      'a limit that does not come as JSON is not passed over';
};

subtest 'and is shown in the list' => sub {
    for my $tenant ('workspaces/org_1', 'accounts/acc_1') {
        my $made = made($tenant, name => "Ada\x{2019}s \"key\" 's", role => 'read', expires_at => '2096-02-29T23:59:59.120Z');
        is_deeply [sort keys %$made], [$made->{secret} ? qw(auth id key_id secret) : qw(auth id key)], 'made as ever';
        my $listed = listed($tenant, $made);
        is $listed->{name}, "Ada\x{2019}s \"key\" 's", 'its name';
        is $listed->{role}, 'read', 'its role';
        is $listed->{expires_at}, '2096-02-29T23:59:59.120Z', 'its end';
        is $listed->{last_used}, undef, 'not used yet';

        my $plain = made($tenant);
        $listed = listed($tenant, $plain);
        is_deeply [sort keys %$listed], [sort qw(id createdAt role), $plain->{secret} ? 'key_id' : ()], 'one without';
        is $listed->{role}, 'all', '... may all';
    }

    for my $day (0 .. 30, 59 .. 61, 364 .. 366, 26_000 .. 26_003, map { 365 * $_ } 1 .. 40) {
        my $at   = 4_102_444_800 + 86400 * $day + 12_345;    # of the year 2100, which has no leap day
        my $made = made('workspaces/org_1', expires_at => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $at));
        is field($made, 'expires'), "${at}000", instant($at);
        is listed('workspaces/org_1', $made)->{expires_at}, instant($at), '... is shown as it was said';
    }
    is field(made('workspaces/org_1', expires_at => '9999-12-31T23:59:59.999Z'), 'expires'), '253402300799999', 'the last of all';
};

subtest 'one that was issued before' => sub {
    my $key = 'tuco_' . 'e' x 64;
    $redis->cli('SADD', 'lines:{w:org_1}:keys', sha256_hex($key));
    $redis->cli('HSET', "lines:{k:@{[sha256_hex($key)]}}", tenant => 'w:org_1', created => time);
    is $a->get('/api/lines/by-user', $a->bearer($key))->status, 200, 'reads';
    is $a->post_json('/api/line-requests', \%line, $a->bearer($key))->status, 201, 'and writes';
};

subtest 'an end' => sub {
    my %api = (
        'workspaces/org_1' => ['/api/lines/by-user', '/workspace/x', '/any/x', '/satisfy/x', '/to-api/lines/by-user', '/asked/x'],
        'accounts/acc_1'   => ['/accounts/lines', '/account/x', '/any/x'],
    );

    for my $tenant (sort keys %api) {
        my $end  = Time::HiRes::time() + 3;
        my $made = made($tenant, expires_at => instant($end));
        my @all  = map { my $path = $_; map { [$_, $path] } $a, $path =~ /^.(?:api|accounts)/ ? $b : () } @{$api{$tenant}};
        my $open = sub { grep { $_->[0]->get($_->[1], $made->{auth})->status == 200 } @all };
        is scalar $open->(), scalar @all, 'good, and remembered on each node';
        my ($until, $from) = (0, 0);
        wait_for(sub {
            my $before = Time::HiRes::time();
            my $n      = $open->();
            $until = $before if $n;
            return !$n;
        }, 10, 'its end');
        cmp_ok $until, '>', $end - 1.5, '... which is not too early';
        cmp_ok $until, '<', $end + 0.5, '... nor late, whatever was remembered';

        for (@all) {
            my ($nginx, $path) = @$_;
            my $answer = $nginx->get($path, $made->{auth});
            is $answer->status, 401, "$path: 401";
            next if $path =~ /asked/;
            is_deeply $answer->json, $path =~ m{^/account} ? {status => 'ERROR', error => 'key_expired', message => $expired} : {error => $expired, code => 'key_expired'}, '... which says why'
              or diag $answer->to_string;
            is $answer->header('WWW-Authenticate'), $path =~ m{^/accounts} ? undef : 'Bearer error="invalid_token", error_description="The API key has expired"', '... and how';
        }

        is listed($tenant, $made)->{expires_at}, instant($end), 'it is listed still';

        if ($made->{secret}) {
            my $answer = $a->get('/accounts/lines', $a->pair($made->{key_id}, 'x' x 64));
            is $answer->json('/message'), 'Invalid API credentials', 'who does not have its secret is not told';
        }

        my $put = $a->admin(PUT => "$tenant/keys/" . ($made->{key_id} // $made->{id}), {expires_at => later(60)});
        is $put->status, 200, 'another end' or diag $put->to_string;
        wait_for(sub { $open->() == @all }, 2, 'the key to be good again');
        pass 'it works again';
    }
};

subtest 'an end while Redis is away' => sub {
    my $made = made('workspaces/org_1', expires_at => later(2));
    is $a->get('/workspace/x', $made->{auth})->status, 200, 'known';
    $redis->pause;
    wait_for(sub { $a->get('/workspace/x', $made->{auth})->status == 401 }, 10, 'its end');
    is $a->get('/workspace/x', $made->{auth})->json('/code'), 'key_expired', 'stale=1h does not make it longer';
    $redis->cont;
    wait_for(sub { $a->get('/workspace/x', $made->{auth})->status == 401 }, 10, 'Redis to be back');
};

subtest 'an end that is not one' => sub {
    my $made = made('workspaces/org_1', expires_at => later(60));
    $redis->client->hset("lines:{k:$made->{id}}", expires => 'tomorrow');
    my $answer = $a->get('/api/lines/by-user', $made->{auth});
    is $answer->status, 401, 'is no leave to go on for ever';
    is $answer->body, '{"error":"Unauthorized"}', '... in no more words';
    like $a->error_log, qr/a key of "w:org_1" has a malformed expiry in Redis/, '... but in the log';
    is $a->admin(GET => 'workspaces/org_1/keys')->status, 200, 'the list is';
};

subtest 'a key that may only read' => sub {
    my $made = made('workspaces/org_1', role => 'read');
    my $auth = $made->{auth};
    $app->clear;

    for my $path ('/api/lines/by-user', '/workspace/x', '/any/x', '/satisfy/x', '/asked/x', '/to-api/lines/by-user') {
        is $a->get($path, $auth)->status,  200, "GET $path";
        is $a->head($path, $auth)->status, 200, "HEAD $path";
    }
    is $a->request(OPTIONS => '/workspace/x', $auth)->status, 200, 'OPTIONS';
    is $a->request(OPTIONS => '/api/lines/by-user', $auth)->status, 405, '... which the API does not have';
    my $passed = @{$app->requests};

    for my $node ($a, $b) {
        my $answer = $node->post_json('/api/line-requests', \%line, $auth);
        is $answer->status, 403, "node $node->{name}: nothing is made";
        is_deeply $answer->json, {error => $readonly, code => 'key_read_only'}, '... and it is told why';
        is $answer->header('WWW-Authenticate'), undef, '... another key is no matter of asking';
    }

    for my $path ('/workspace/x', '/any/x', '/satisfy/x', '/asked/x', '/redirected/x') {
        for my $method (qw(POST PUT DELETE PATCH PROPFIND)) {
            my $answer = $a->request($method => $path, $auth, 'x');
            is $answer->status, 403, "$method $path" or diag $answer->to_string;
            is $answer->json('/error'), $readonly, '... by name' unless $path =~ /asked/;
        }
    }
    is $a->post('/page/x', 'x', $auth)->body, 'page', 'error_page';
    is $a->get('/workspace/x', {%$auth, Upgrade => 'websocket', Connection => 'upgrade'})->status, 403, 'a WebSocket, through which anything may come';
    is $a->get('/workspace/x', {%$auth, Upgrade => 'h2c'})->status, 200, '... but not another protocol that nginx does not speak';
    is scalar @{$app->requests}, $passed + 1, 'none of these came through';

    my $all = made('workspaces/org_1', role => 'all');
    is $a->post('/workspace/x', 'x', $all->{auth})->status, 200, 'one that may all writes';

    $redis->client->hset("lines:{k:$all->{id}}", role => 'some');
    $redis->cli('PUBLISH', 'lines:revoked', $all->{id});
    wait_for(sub { $a->post('/workspace/x', 'x', $all->{auth})->status == 403 }, 5, 'a role that is not known');
    is $a->get('/workspace/x', $all->{auth})->status, 200, '... lets it read';

    my $pair   = made('accounts/acc_1', role => 'read');
    my $answer = $a->post_json('/accounts/lines/provision-preview', {}, $pair->{auth});
    is $answer->status, 403, 'a pair';
    is_deeply $answer->json, {status => 'ERROR', error => 'key_read_only', message => $readonly}, '... in its dialect';
    is $a->get('/accounts/lines', $pair->{auth})->status, 200, '... reads';
    is $a->post('/account/x', 'x', $pair->{auth})->json('/message'), $readonly, '... and the gateway, too';
    is $a->post_json('/accounts/lines/provision-preview', {}, {%{$pair->{auth}}, 'sb-api-secret-key' => 'x'})->status, 401, '... not without its secret';
};

subtest 'a key is changed' => sub {
    my $made = made('workspaces/org_1', name => 'one');
    my $path = "workspaces/org_1/keys/$made->{id}";
    is $_->get('/api/lines/by-user', $made->{auth})->status, 200, "known to $_->{name}" for $a, $b;

    my $put = $a->admin(PUT => $path, {role => 'read', expires_at => '2099-01-01T00:00:00Z'});
    is_deeply {%{$put->json}, createdAt => 1, last_used => 1},
      {id => $made->{id}, name => 'one', role => 'read', createdAt => 1, expires_at => '2099-01-01T00:00:00.000Z', last_used => 1}, 'what is given is merged';
    wait_for(sub { $_->post_json('/api/line-requests', {}, $made->{auth})->status == 403 }, 1, "node $_->{name} to hear of it") for $a, $b;
    pass 'it may read only, within a second';

    is_deeply $a->admin(PUT => $path, {})->json, $put->json, 'nothing is merged';
    $put = $a->admin(PUT => $path, {name => undef, role => 'all', expires_at => undef});
    is_deeply [sort keys %{$put->json}], [qw(createdAt id last_used role)], 'null takes away';
    wait_for(sub { $_->post_json('/api/line-requests', {}, $made->{auth})->status == 400 }, 1, "node $_->{name} to hear of it") for $a, $b;
    is $a->admin(PUT => $path, {role => undef})->json('/role'), 'all', 'but no role is no change';
    is $a->admin(PUT => 'workspaces/org_1/keys/' . uc $made->{id}, {name => 'two'})->json('/name'), 'two', 'an id in upper case';

    is $a->admin(PUT => $path, $_)->status, 400, Mojo::JSON::encode_json($_) for {role => 'none'}, {expires_at => later(-1)}, {name => "\t"}, {tenant => 'w:org_2'};
    for my $other ("workspaces/org_2/keys/$made->{id}", "accounts/acc_1/keys/$made->{id}", 'workspaces/org_1/keys/' . 'a' x 64, 'workspaces/org_1/keys/x') {
        my $answer = $a->admin(PUT => $other, {name => 'mine'});
        is $answer->status, 404, "PUT $other";
        is $answer->json('/error'), 'Key not found', '... says so';
    }
    is listed('workspaces/org_1', $made)->{name}, 'two', 'nothing came of these';
    is $redis->client->exists('lines:{k:' . 'a' x 64 . '}'), 0, '... nor was a key made';
    is $a->admin(POST => $path, {})->header('Allow'), 'PUT, DELETE', 'methods';

    my ($entry) = grep { $_->{method} eq 'PUT' && $_->{path} =~ /keys/ && $_->{body} =~ /2099/ } @{$a->admin(GET => 'audit-log')->json('/entries')};
    like $entry->{path}, qr/$made->{id}$/, 'it is in the log' or diag explain $entry;

    $a->admin(DELETE => $path);
    is $a->admin(PUT => $path, {expires_at => later(60)})->status, 404, 'a revoked one stays revoked';
};

subtest 'last use' => sub {
    my $today = strftime '%Y-%m-%d', gmtime;

    for my $tenant ('workspaces/org_1', 'accounts/acc_1') {
        my $made = made($tenant);
        my $path = $made->{secret} ? '/account/x' : '/workspace/x';
        is listed($tenant, $made)->{last_used}, undef, 'none yet';
        is $a->get($path, $made->{auth})->status, 200, 'used';
        wait_for(sub { listed($tenant, $made)->{last_used} }, 5, 'its use');
        like listed($tenant, $made)->{last_used}, qr/^(?:$today|@{[strftime '%Y-%m-%d', gmtime]})$/, 'today';

        $redis->client->hdel("lines:{k:$made->{id}}", 'used');
        is $a->get($path, $made->{auth})->status, 200 for 1 .. 20;
        is listed($tenant, $made)->{last_used}, undef, 'is told once: not with each request, by whichever worker';

        $redis->client->hset("lines:{k:$made->{id}}", used => 20000);
        is listed($tenant, $made)->{last_used}, '2024-10-04', 'another day';
        $redis->cli('PUBLISH', 'lines:revoked', $made->{id});
        wait_for(sub { $a->get($path, $made->{auth}); listed($tenant, $made)->{last_used} ne '2024-10-04' }, 5, 'a use of today');
        pass 'what was told on another day is told again';
    }

    my $made = made('workspaces/org_1', role => 'read');
    is $a->post_json('/api/line-requests', \%line, $made->{auth})->status, 403, 'what is refused';
    is $a->get('/workspace/x', $a->bearer($made->{key} . 'x'))->status, 401, '... or not shown whole';
    is listed('workspaces/org_1', $made)->{last_used}, undef, '... is no use';

    $a->allow(qr/\[alert\].*it refuses writes \(OOM\)/);
    $redis->cli('CONFIG', 'SET', 'maxmemory', 1);
    is $a->get('/workspace/x', $made->{auth})->status, 200, 'where Redis takes no writes it is a request like another';
    is $a->get('/api/lines/by-user', $made->{auth})->status, 200, '... in the API, too';
    $redis->cli('CONFIG', 'SET', 'maxmemory', 0);
    $redis->cli('PUBLISH', 'lines:revoked', $made->{id});
    wait_for(sub { $a->get('/workspace/x', $made->{auth}); listed('workspaces/org_1', $made)->{last_used} }, 5, 'the next time');
    pass 'and told later';

    my $gone = made('workspaces/org_1');
    $redis->client->del("lines:{k:$gone->{id}}");
    is(Test::Lines::Script->new(redis => $redis)->run(key_used => ["lines:{k:$gone->{id}}"]), 0, 'a use is told too late');
    is $redis->client->exists("lines:{k:$gone->{id}}"), 0, 'and a key that was revoked meanwhile stays so';
};

wait_for(sub { my $m = $a->get('/_lines/metrics'); $m->status != 200 || $m->body =~ /outcome="key-expired"/ && $m->body =~ /outcome="key-read-only"/ }, 5, 'the metrics');
pass 'refusals are counted by name';

$t->done;
