# conf/behind-lines-auth.md, sentence by sentence: caches, maps, limits, auth_request and other subrequests behind lines_auth.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;
use Test::Lines::Client;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(handler => sub ($c, $state) {
    my $headers = $c->req->headers;
    my $path    = $c->req->url->path->to_string;

    return $c->render(text => 'no', status => 403) if $path =~ /authz/ && ($headers->header('X-Tenant') // '') ne 'w:one';

    if ($path =~ /accel/) {
        $c->res->headers->header('X-Accel-Redirect' => '/part/secret.txt');
        return $c->render(text => '');
    }

    $c->res->headers->cache_control('max-age=60')                         if $path =~ /cache|slice/;
    $c->res->headers->header('X-Page-Of' => $headers->header('X-Tenant')) if $path =~ /cache/;

    if ($path =~ /slice/) {
        my $body = 'of ' . ($headers->header('X-Tenant') // 'nobody') . '.' x 40;
        my ($from, $to) = ($headers->range // '') =~ /bytes=(\d+)-(\d+)/;
        return $c->render(text => $body) unless defined $to;
        $to = length($body) - 1 if $to >= length $body;
        $c->res->headers->content_range("bytes $from-$to/" . length $body);
        return $c->render(text => substr($body, $from, $to - $from + 1), status => 206);
    }

    $c->render(json => {path => $path, map { $_ => $headers->header("X-$_") // '' } qw(Tenant Who Map Auth)});
});
my $url = $app->url;
my $www = path($t->dir, 'www');

$t->file('www/part/secret.txt', 'the secret');
$t->file('www/other/account.txt', 'an account\'s');
$t->file('www/files/page.txt', 'a page');
$t->file('www/ssi/page.html',   '[<!--# include virtual="/part/secret.txt" -->]');
$t->file('www/ssi/return.html', '[<!--# include virtual="/part-return" -->]');
$t->file('www/ssi/accel.html',  '[<!--# include virtual="/accel" -->]');
$t->file('www/ssi/two.html',    '[<!--# include virtual="/part/secret.txt" -->|<!--# include virtual="/other/account.txt" -->|<!--# include virtual="/who" -->]');
$t->file('www/ssi/many.html',   '[' . join('|', ('<!--# include virtual="/part/secret.txt" -->') x 40) . ']');

my $nginx = $t->nginx(
    redis         => $redis,
    redis_options => 'timeout=1s',
    h2            => 1,
    http          => <<"END",
proxy_cache_path $www/../cache keys_zone=cache:1m;
limit_req_zone \$lines_tenant zone=req:1m rate=1r/m;
limit_conn_zone \$lines_tenant zone=conn:1m;
map \$lines_tenant \$mapped { default \$lines_tenant; '' nobody; }
map \$mapped \$mapped_again { default \$mapped; nobody ''; }
map \$http_x_part \$mixed { default \$lines_user; other \$http_x_part; }
split_clients "\$lines_tenant" \$variant { 50% a; * b; }
log_format who '\$uri \$status \$lines_tenant \$lines_auth_failure';
END
    server => $clerk->location . $clerk->directive . <<"END",
root $www;
access_log @{[$t->dir]}/who.log who;
proxy_set_header X-Tenant \$lines_tenant;
proxy_set_header X-Auth \$lines_auth;
proxy_ignore_headers X-Accel-Buffering;

location /cache/shared/ { lines_auth workspace cache=shared; proxy_cache cache; add_header X-Cache \$upstream_cache_status; proxy_pass $url; }
location /cache/tenant/ { lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key "\$lines_tenant \$uri"; add_header X-Cache \$upstream_cache_status; proxy_pass $url; }
location /cache/wrong/  { lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key \$uri; proxy_pass $url; }
location /cache/page/   { lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key \$uri; error_page 500 /files/page.txt; proxy_pass $url; }
location /cache/map/    { set \$early "\$mapped_again\$variant"; lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key "\$mapped_again \$uri"; add_header X-Variant \$variant; proxy_pass $url; }
location /cache/update/ { lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key "\$lines_tenant \$uri"; proxy_cache_use_stale updating; proxy_cache_background_update on; proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s; add_header X-Cache \$upstream_cache_status; proxy_pass $url; }
location /slice/        { lines_auth workspace cache=tenant; slice 10; proxy_cache cache; proxy_cache_key "\$lines_tenant \$uri \$slice_range"; proxy_set_header Range \$slice_range; proxy_set_header X-Tenant \$lines_tenant; proxy_cache_valid 200 206 1h; proxy_pass $url; }

location /early/set/   { set \$t \$lines_tenant; lines_auth workspace; add_header X-Set "[\$t]"; add_header X-Tenant "[\$lines_tenant]"; }
location /early/req/   { limit_req zone=req; lines_auth workspace; empty_gif; }
location /early/conn/  { limit_conn conn 1; lines_auth workspace; empty_gif; }
location /late/        { lines_auth workspace; add_header X-Variant \$variant; add_header X-Map \$mapped; proxy_set_header X-Map \$mapped; proxy_pass $url; }

location /limit/user/   { lines_auth clerk; lines_rate_limit rate=1r/h burst=2 key=\$lines_user name=user; empty_gif; }
location /limit/tenant/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 key=\$lines_tenant name=tenant-variable; empty_gif; }
location /limit/text/   { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 key=\$http_x_part:\$lines_key_id name=text; empty_gif; }
location /limit/map/    { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 key=\$mapped_again name=map; add_header X-Map \$mapped always; empty_gif; }
location /limit/mixed/  { lines_auth clerk; lines_rate_limit rate=1r/h burst=2 key=\$mixed name=mixed; empty_gif; }
location /limit/early/  { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 key=\$http_x_part name=early; empty_gif; }
location /limit/set/    { auth_request /check; auth_request_set \$asked \$lines_tenant; lines_rate_limit rate=1r/h burst=2 key=\$asked name=asked; empty_gif; }
location /limited-api/  { lines_workspace_api; lines_rate_limit rate=1r/h burst=2 key=\$lines_tenant name=api-variable; }

location = /check        { internal; lines_auth workspace; }
location = /check-any    { internal; lines_auth any; }
location = /check-return { internal; lines_auth workspace; return 204; }
location = /check-authz  { internal; lines_auth workspace; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Tenant \$lines_tenant; proxy_pass $url/authz; }
location = /check-try    { internal; lines_auth workspace; try_files /nowhere \@forbidden; }
location \@forbidden     { return 403; }
location = /check-address { internal; satisfy any; allow 127.0.0.1; deny all; lines_auth workspace; }
location = /check-refuse  { internal; satisfy any; allow 127.0.0.2; deny all; lines_auth workspace; }

location /asked/         { auth_request /check; auth_request_set \$who \$lines_tenant; proxy_set_header X-Who \$who; proxy_set_header X-Map \$mapped; proxy_set_header X-Tenant \$lines_tenant; lines_rate_limit rate=1000r/s key=tenant name=asked-tenant; proxy_pass $url; }
location /asked-return/  { auth_request /check-return; proxy_pass $url; }
location /asked-authz/   { auth_request /check-authz; proxy_pass $url; }
location /asked-try/     { auth_request /check-try; proxy_pass $url; }
location /asked-address/ { auth_request /check-address; proxy_pass $url; }
location /asked-refuse/  { auth_request /check-refuse; proxy_pass $url; }
location /asked-page/    { auth_request /check; error_page 401 = \@login; error_page 503 /files/page.txt; proxy_pass $url; }
location \@login         { return 302 /login; }
location /asked-both/    { lines_auth workspace; auth_request /check-any; proxy_pass $url; }
location /asked-any/     { satisfy any; allow 127.0.0.1; deny all; auth_request /check; proxy_pass $url; }
location /asked-file/    { auth_request /check; alias $www/files/; }

location /part/      { lines_auth workspace; }
location /other/     { lines_auth account; }
location /files/     { }
location = /who      { return 200 "\$lines_tenant"; }
location = /part-return { internal; lines_auth workspace; return 200 secret; }
location = /accel    { proxy_pass $url; }
location /ssi/       { ssi on; }
location /ssi-closed/ { lines_auth workspace; ssi on; alias $www/ssi/; }
location /add/       { add_before_body /part/secret.txt; alias $www/files/; addition_types *; }
location /mirror/    { mirror /mirrored; proxy_pass $url; }
location = /mirrored { internal; lines_auth workspace; proxy_pass $url/mirrored; }
END
);

my $key  = $nginx->workspace(one => {plan => 'growth'});
my $key2 = $nginx->workspace(two => {plan => 'growth'});
my $one  = $nginx->bearer($key);
my $two  = $nginx->bearer($key2);
my ($id, $secret) = $nginx->account(acc => {plan => 'inbound_only'});
my $pair = $nginx->pair($id, $secret);

sub statuses ($code, $n) { [map { $code->()->status } 1 .. $n] }
sub seen ($path) { return scalar grep { $_->{path} eq $path } @{$app->requests} }

subtest 'caches' => sub {
    is $nginx->get('/cache/shared/a', $one)->header('X-Cache'), 'MISS', 'cache=shared: a miss';
    is $nginx->get('/cache/shared/a', $two)->header('X-Cache'), 'HIT', 'and the same page for all tenants';
    is $nginx->get('/cache/shared/a')->status, 401, 'who may see it is still asked';

    for my $place ('tenant', 'map') {
        for (1, 2) {
            is $nginx->get("/cache/$place/a", $one)->json->{Tenant}, 'w:one', "$place: the page of one";
            is $nginx->get("/cache/$place/a", $two)->json->{Tenant}, 'w:two', "$place: the page of the other";
        }
        is seen("/cache/$place/a"), 2, "$place: each asked for once";
    }

    like $nginx->get('/slice/a', $_->[0])->body, qr/^of $_->[1]\.{40}$/, "slices of $_->[1]" for [$one, 'w:one'], [$two, 'w:two'], [$one, 'w:one'];

    # a cache that is updated in the background
    $nginx->get('/cache/update/a', $_) for $one, $two;
    wait_for(sub { $nginx->get('/cache/update/a', $one)->header('X-Cache') eq 'STALE' }, 20, 'the page to be stale');
    wait_for(sub { seen('/cache/update/a') == 3 }, 20, 'its update');
    is_deeply [map { $_->{headers}{'x-tenant'} } grep { $_->{path} eq '/cache/update/a' } @{$app->requests}], ['w:one', 'w:two', 'w:one'],
      'an update knows for whom it is';

    # a key that has no tenant
    my $mark = $nginx->log_mark;
    for my $key ($one, $two) {
        my $answer = $nginx->get('/cache/wrong/a', $key);
        is $answer->status, 500, 'cache=tenant without a tenant in the key: no answer';
        is $answer->header('X-Page-Of'), undef, 'nothing of it';
        unlike $answer->body, qr/tenant|w:/i, 'at all';
    }
    $nginx->wait_log(qr/\[error\].*"cache=tenant", but the cache's key has no \$lines_tenant/, $mark);

    my $answer = $nginx->get('/cache/page/a', $one);
    is $answer->status, 500, 'with a page of one\'s own';
    is $answer->body, 'a page', 'that page';
};

subtest 'variables before authentication' => sub {
    $nginx->get('/early/set/x', $one);

    # once in a while for each variable: /cache/map/ has read $lines_tenant already
    my @warnings = $nginx->error_log =~ /\[warn\].*lines: "\$lines_tenant" was read before authentication.*"lines_rate_limit".*/g;
    is scalar @warnings, 1, 'a warning names the variable, and what to use';
    like $warnings[0], qr{request: "GET /cache/map/a}, 'and the request that met it';

    $nginx->get('/early/set/x', $one) for 1 .. 5;
    @warnings = $nginx->error_log =~ /\[warn\].*was read before authentication/g;
    is scalar @warnings, 1, 'but not again and again';

    is_deeply statuses(sub { $nginx->get('/early/req/x', $one) }, 4), [(200) x 4], 'limit_req by a tenant limits nobody';

    for (1 .. 2) {
        is $nginx->get('/late/x', $one)->header('X-Map'), 'w:one', 'a map, read after it';
        is $nginx->get('/late/x', $two)->json->{Map}, 'w:two', 'is of who asks';
    }
    is $nginx->get('/late/x')->status, 401, 'nobody';

    my @many = map { $nginx->bearer($nginx->workspace("many_$_" => {plan => 'growth'})) } 1 .. 12;
    my @late = map { $nginx->get('/late/x', $_)->header('X-Variant') } @many;
    is_deeply [sort keys %{{map { $_ => 1 } @late}}], ['a', 'b'], 'split_clients, read after it';
    is_deeply [map { $nginx->get('/cache/map/split', $_)->header('X-Variant') } @many], \@late, 'is the same where it was read before, too';

    for my $path ('/early/set/', '/early/req/', '/early/conn/') {
        my $other = $t->nginx(redis => $redis, http => 'limit_req_zone $lines_key_id zone=req:1m rate=1r/m; limit_conn_zone $lines_key_id zone=conn:1m;',
            server => <<'END');
location /early/set/  { set $t $lines_key_id; lines_auth workspace; add_header X-Set "[$t]" always; add_header X-Key "[$lines_key_id]" always; }
location /early/req/  { limit_req zone=req; lines_auth workspace; empty_gif; }
location /early/conn/ { limit_conn conn 1; lines_auth workspace; empty_gif; }
END
        my $answer = $other->get("${path}x", $one);
        $other->wait_log(qr/\[warn\].*lines: "\$lines_key_id" was read before authentication/);
        is $answer->header('X-Set'), '[]', 'set: empty' if $path =~ /set/;
        like $answer->header('X-Key'), qr/^\[[0-9a-f]{64}\]$/, 'and there afterwards' if $path =~ /set/;
        $other->quit;
    }
};

subtest 'no warning where there is nothing to warn of' => sub {
    my $other = $t->nginx(redis => $redis, http => <<'END', server => <<"END2");
map $lines_tenant $by_tenant { default $lines_tenant; }
log_format all '$lines_tenant $lines_user $lines_key_id $lines_auth $lines_auth_failure $lines_tenant_plan $by_tenant';
END
access_log @{[$t->dir]}/all.log all;
proxy_set_header X-Tenant \$lines_tenant;
location /open/   { proxy_pass $url; add_header X-Tenant \$lines_tenant always; }
location /denied/ { deny all; lines_auth workspace; add_header X-Tenant \$lines_tenant always; }
location /closed/ { lines_auth workspace; lines_rate_limit rate=100r/s key=\$by_tenant; proxy_pass $url; }
location /asked/  { auth_request /check; lines_rate_limit rate=100r/s key=\$lines_tenant; proxy_pass $url; }
location = /check { internal; lines_auth workspace; }
location /status/ { return 200 "\$lines_tenant"; }
END2
    my $got = $other->get('/closed/x', $one);
    is $got->status, 200, 'a key' or diag $got->to_string;
    $other->get($_, $one) for '/open/x', '/denied/x', '/closed/x', '/asked/x', '/status/x', '/api/lines/by-user';
    $other->get($_)       for '/open/x', '/denied/x', '/closed/x', '/asked/x', '/status/x', '/api/lines/by-user';
    $other->raw("GET / HTTP/1.1\r\nbad header\r\n\r\n");
    $other->raw("GARBAGE\r\n\r\n");
    unlike $other->error_log, qr/\[warn\]/, 'none';
    $other->quit;
};

subtest 'limits by variables of the identity' => sub {
    my sub session ($user) { $nginx->bearer($clerk->token(org => 'one', claims => {sub => $user})) }

    for my $place ('user', 'mixed') {
        is_deeply statuses(sub { $nginx->get("/limit/$place/x", session("user_$place")) }, 3), [200, 200, 429], "$place: limited";
        is $nginx->get("/limit/$place/x", session("other_$place"))->status, 200, "$place: another has a bucket of its own";
    }

    for my $place ('tenant', 'text', 'map', 'set') {
        is_deeply statuses(sub { $nginx->get("/limit/$place/x", $one) }, 3), [200, 200, 429], "$place: limited";
        is $nginx->get("/limit/$place/x", $two)->status, 200, "$place: another has a bucket of its own";
        is $nginx->get("/limit/$place/x")->status, 401, "$place: who is not known is not counted";
    }

    is $nginx->get('/limit/map/x', $nginx->bearer($nginx->workspace(three => {plan => 'growth'})))->header('X-Map'), 'w:three', 'a map stays right';
    is_deeply statuses(sub { $nginx->get('/limited-api/lines/by-user', $one) }, 3), [200, 200, 429], 'in an API, too';
    is $nginx->get('/limited-api/lines/by-user', $two)->status, 200, 'for each';

    is_deeply statuses(sub { $nginx->get('/limit/early/x', {'X-Part' => 'a'}) }, 3), [401, 401, 429],
      'a limit by anything else comes before authentication';
    is $nginx->get('/limit/early/x')->status, 401, 'an empty value is not counted';
};

subtest 'auth_request' => sub {
    for my $place ('/asked/x', '/asked-return/x', '/asked-authz/x') {
        $app->clear;
        my $answer = $nginx->get($place);
        is $answer->status, 401, "$place: nobody";
        is $answer->header('WWW-Authenticate'), 'Bearer', 'is challenged';
        is $nginx->get($place, $nginx->bearer("${key}x"))->status, 401, 'a wrong key';
        is $nginx->get($place, $pair)->status, 401, 'a pair is no key';
        is scalar @{$app->requests}, 0, 'and nothing gets through';

        $answer = $nginx->get($place, $one);
        is $answer->status, 200, "$place: a key passes" or diag $answer->to_string, $nginx->error_log;
        is $answer->json->{Tenant}, 'w:one', 'and the upstream hears whose it is';
        is $answer->json->{Auth}, 'key', 'and how' if $place ne '/asked/x';
        is $nginx->post($place, 'x' x 50_000, $one)->status, 200, 'with a body';
        is $nginx->head($place, $one)->status, 200, 'HEAD';
    }

    my $answer = $nginx->get('/asked/x', $two);
    is $answer->json->{Who}, 'w:two', 'auth_request_set takes our variables';
    is $answer->json->{Map}, 'w:two', 'a map of them is right';
    like $answer->header('RateLimit'), qr/"asked-tenant"/, 'limits by tenant count';

    is $nginx->get('/asked-authz/x', $two)->status, 403, 'what the location answers itself counts besides';
    is $nginx->get('/asked-try/x', $one)->status, 403, 'try_files there, too';
    is $nginx->get('/asked-try/x')->status, 401, 'after lines_auth';
    is $nginx->get('/asked-address/x')->status, 200, 'satisfy any there: the address';
    is $nginx->get('/asked-refuse/x')->status, 401, 'or not the address';
    is $nginx->get('/asked-refuse/x', $one)->status, 200, 'but the key';
    is $nginx->get('/asked-any/x')->status, 200, 'satisfy any in the location that asks';
    is $nginx->get('/asked-file/page.txt')->status, 401, 'a file';
    is $nginx->get('/asked-file/page.txt', $one)->body, 'a page', 'for those who may';

    $answer = $nginx->get('/asked-page/x');
    is $answer->status, 302, 'error_page of the location that asks';

    is $nginx->get('/asked/x', $nginx->bearer($clerk->token))->status, 403, 'a session without a workspace is 403';
    is $nginx->get('/asked/x', $nginx->bearer($clerk->token(org => 'one')))->json->{Tenant}, 'w:one', 'one with it passes';

    $answer = $nginx->get('/asked-both/x', {%$pair, %$one});
    is $answer->json->{Tenant}, 'w:one', 'a location with lines_auth of its own keeps its own identity';

    wait_for(sub { path($t->dir, 'who.log')->slurp =~ m{^/asked/x 401 - key-unknown$}m }, 10, 'the reason in the log');
    pass 'the reason stands in the log of the request';

    is $nginx->get('/check')->status, 404, 'the location itself stays internal';
};

subtest 'auth_request over HTTP/2' => sub {
    plan skip_all => 'curl without HTTP/2' unless qx(curl --version) =~ /HTTP2/;

    my sub curl (@args) { my $h2 = 'http://127.0.0.1:' . $nginx->h2_port; return qx(curl -sS -i --max-time 60 --http2-prior-knowledge @args $h2/asked/x) }
    like curl(), qr{^HTTP/2 401.*www-authenticate: Bearer}s, 'nobody';
    like curl("-H 'Authorization: Bearer $key'"), qr{^HTTP/2 200.*"Tenant":"w:one"}s, 'a key';
};

subtest 'other subrequests' => sub {
    is $nginx->get('/ssi/page.html', $one)->body, '[the secret]', 'SSI: what is included for those who may';
    unlike $nginx->get($_)->body, qr/secret\]|the secret/, "$_: and not for others" for '/ssi/page.html', '/ssi/return.html', '/ssi/accel.html';
    is $nginx->get('/ssi/return.html', $one)->body, '[secret]', 'SSI: return';
    is $nginx->get('/ssi/accel.html', $one)->body, '[the secret]', 'SSI: an upstream redirects there';
    is $nginx->get('/ssi-closed/page.html', $one)->body, '[the secret]', 'SSI: of a page that is closed';
    like $nginx->get('/ssi/many.html', $one)->body, qr/^\[(?:the secret\|){39}the secret\]$/, 'SSI: many of them';
    unlike $nginx->get('/ssi/many.html')->body, qr/the secret/, 'SSI: none of them';

    like $nginx->get('/ssi-closed/two.html', {%$one, %$pair})->body, qr/^\[the secret\|an account's\|w:one\]$/,
      'SSI: each part by its own rules, and the page keeps its identity';
    like $nginx->get('/ssi-closed/two.html', $one)->body, qr/^\[the secret\|\{"status":"ERROR".*\}\|w:one\]$/, 'SSI: or not';

    like $nginx->get('/add/page.txt', $one)->body, qr/the secret.*a page/s, 'add_before_body';
    unlike $nginx->get('/add/page.txt')->body, qr/the secret/, 'add_before_body: not for others';

    $app->clear;
    is $nginx->get('/mirror/a')->status, 200, 'mirror: an open location';
    is $nginx->get('/mirror/b', $one)->status, 200, 'mirror: with a key';
    wait_for(sub { seen('/mirrored') == 1 }, 20, 'the mirrored request');
    is seen('/mirror/a'), 1, 'both were served';
    is seen('/mirrored'), 1, 'but one was mirrored';
};

subtest 'clients that leave while a subrequest waits for Redis' => sub {
    my $pid = ($nginx->pids)[0];
    $redis->pause;

    for my $path ('/asked/x', '/ssi/page.html', '/mirror/x', '/add/page.txt') {
        for my $round (1 .. 20) {
            my $socket = $nginx->socket;
            syswrite $socket, "GET $path HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}left$round\r\n\r\n";
            $round % 2 ? Test::Lines::Client->reset_connection($socket) : close $socket;
        }
    }

    $redis->cont;
    wait_for(sub { $nginx->get('/asked/x', $one)->status == 200 }, 20, 'those who stay');
    is(($nginx->pids)[0], $pid, 'the worker lives');
};

subtest 'Redis is away' => sub {
    $redis->stop;
    $nginx->get('/asked/x', $nginx->bearer('tuco_never_seen'));

    my $never = $nginx->bearer('tuco_never_seen');

    for my $path ('/asked/x', '/asked-return/x', '/asked-authz/x') {
        my $answer = $nginx->get($path, $never);
        is $answer->status, 503, "$path: neither yes nor no" or diag $answer->to_string;
        ok $answer->header('Retry-After'), 'with Retry-After';
        is_deeply $answer->json, {error => 'Service temporarily unavailable'}, 'in the dialect of who was asked';
    }

    my $answer = $nginx->get('/asked-page/x', $never);
    is $answer->status, 503, 'with a page of one\'s own';
    is $answer->body, 'a page', 'that page';
    ok $answer->header('Retry-After'), 'and Retry-After';
    unlike $nginx->get('/ssi/page.html', $never)->body, qr/the secret/, 'SSI: not included';
    is $nginx->get('/asked/x', $one)->status, 200, 'a key that is known goes on for a while';
    $redis->start;
};

subtest 'the module\'s own calls' => sub {
    my $other = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(redis => $redis, server => 'lines_auth workspace;' . $other->location . $other->directive
          . "location /app/ { proxy_pass $url; } location /off/ { lines_auth off; proxy_pass $url; }");
    is $nginx->get('/app/x', $nginx->bearer($other->token(org => 'one')))->status, 200, 'are not checked: Clerk\'s keys were fetched';
    is $nginx->get('/app/x')->status, 401, 'whoever else is';
    $nginx->quit;
};

subtest 'nginx -t' => sub {
    my sub config ($server, $http = '') { $t->test_config(redis => $redis, server => $server, http => "proxy_cache_path $www/../c2 keys_zone=c:1m; $http") }

    my %pass = (
        proxy   => 'proxy_pass http://127.0.0.1:1;',
        fastcgi => 'fastcgi_pass 127.0.0.1:1; fastcgi_cache_key $uri;',
        uwsgi   => 'uwsgi_pass 127.0.0.1:1; uwsgi_cache_key $uri;',
        scgi    => 'scgi_pass 127.0.0.1:1; scgi_cache_key $uri;',
    );

    for my $kind (sort keys %pass) {
        my $path = "${kind}_cache_path $www/../$kind keys_zone=$kind:1m;";
        my ($code, $out) = config("location /a/ { lines_auth workspace; ${kind}_cache $kind; $pass{$kind} }", $path);
        is $code, 0, "${kind}_cache behind lines_auth";
        like $out, qr{\[warn\].*location "/a/" has "${kind}_cache" behind "lines_auth".*"cache=tenant".*"cache=shared"}, 'is warned of';

        for ('shared', 'tenant') {
            ($code, $out) = config("location /a/ { lines_auth workspace cache=$_; ${kind}_cache $kind; $pass{$kind} }", $path);
            unlike $out, qr/\[warn\]/, "not with cache=$_";
        }
    }

    my ($code, $out) = config("lines_auth workspace; proxy_cache c; location /a/ { proxy_cache off; $pass{proxy} } location /b/ { lines_auth off; $pass{proxy} } location /c/ { }");
    unlike $out, qr/\[warn\].*_cache"/, 'nor without a cache, without lines_auth, without an upstream';
    ($code, $out) = config("lines_auth workspace; proxy_cache c; location /a/ { $pass{proxy} }");
    like $out, qr{\[warn\].*location "/a/" has "proxy_cache"}, 'inherited: it is';

    for ('cache=', 'cache=none', 'cache=shared cache=tenant') {
        ($code, $out) = config("location /a/ { lines_auth workspace $_; }");
        isnt $code, 0, "refused: $_";
        like $out, qr/invalid parameter "cache=.*" in "lines_auth"/, 'and says why';
    }

    ($code, $out) = config("auth_request /check; location = /check { auth_request off; internal; lines_auth workspace; } location /a/ { proxy_cache c; lines_rate_limit rate=1r/s; $pass{proxy} }");
    is $code, 0, 'a cache behind auth_request';
    unlike $out, qr/\[warn\]/, 'is not known of; a limit by tenant is fine there';

    for (['limit_req', 'rate=1r/s'], ['limit_conn', '']) {
        my ($name, $rate) = @$_;
        ($code, $out) = config('location /a/ { lines_auth workspace; }', "${name}_zone x\$lines_tenant zone=z:1m $rate; ${name}_zone \$binary_remote_addr zone=y:1m $rate;");
        is $code, 0, "$name by a tenant";
        like $out, qr{\[warn\].*"${name}_zone" "z" counts by x\$lines_tenant.*use "lines_rate_limit"}, 'is warned of';
        unlike $out, qr{"y"}, 'by anything else it is not';
    }

    ($code, $out) = config('location /a/ { lines_rate_limit rate=1r/s key=x$lines_user; empty_gif; }');
    like $out, qr{\[warn\].*counts by x\$lines_user.*needs "lines_auth"}, 'a limit by a variable that nobody sets';

    # what the page shows
    my $page = path($t->root, 'conf/behind-lines-auth.md')->slurp;
    my @shown = $page =~ /^```nginx\n(.*?)^```$/msg;
    is scalar @shown, 2, 'the examples of the page';
    s{http://app}{http://127.0.0.1:1}g for @shown;
    ($code, $out) = config(join('', @shown) =~ s/pages;/c;/r);
    is $code, 0, 'load as they are' or diag $out;
    unlike $out, qr/\[warn\]/, 'without a warning';

    for my $file ($page =~ /\]\(([^)#]+)[^)]*\)/g) {
        ok -e path($t->root, 'conf', $file), "its link to $file leads somewhere";
    }
};

$t->done;
