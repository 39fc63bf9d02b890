# nginx's own features behind lines_auth and lines_rate_limit work as they do without.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Compress::Zlib ();
use Mojo::File qw(path);
use Mojo::IOLoop;
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Client;

my $t = Test::Lines->new(timeout => 400);

my $redis = $t->redis;
my $up    = $t->upstream(handler => sub ($c, $state) {
    my $path = $c->req->url->path->to_string;

    return $c->render(text => 'x' x 5000) if $path =~ /gzip/;
    return $c->render(text => $c->req->body) if $path =~ /echo/;
    return $c->render(text => 'no', status => 403) if $path =~ /deny/;

    if ($path =~ /accel/) {
        $c->res->headers->header('X-Accel-Redirect' => '/inside/file.txt');
        return $c->render(text => '');
    }

    $c->res->headers->content_type('application/grpc') if $path =~ /Service/;
    $c->res->headers->cache_control('max-age=60') if $path =~ /cache/;
    $c->render(data => Mojo::JSON::encode_json({path => $path, tenant => $c->req->headers->header('X-Tenant')}));
});
my $url = $up->url;

# a WebSocket server, and an HTTP/2 one for gRPC
my $ws_port = $t->free_port;
$t->spawn(websocket => [$^X, '-MMojolicious::Lite', '-e', <<'END', 'daemon', '-l', "http://127.0.0.1:$ws_port"]);
websocket '/*rest' => sub { my $c = shift; my $tenant = $c->req->headers->header('X-Tenant');
    $c->on(message => sub { my ($c, $message) = @_; $c->send("$tenant: $message") }) };
app->log->level('fatal'); app->start;
END
wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ws_port) }, 20, 'the WebSocket server');

my $grpc_port = $t->free_port;
my $grpc      = Test::Lines::Nginx->listen_h2("127.0.0.1:$grpc_port");

$t->file('www/inside/file.txt',   'inside');
$t->file('www/ssi/page.html',     '<!--# include virtual="/open/included" -->|<!--# include virtual="/static/part.txt" -->');
$t->file('www/static/part.txt',   'a part');
$t->file('www/static/index.html', 'the index');
$t->file('www/page.html',         'a page');
my $www = path($t->dir, 'www');

my $nginx = $t->nginx(
    redis   => $redis,
    redis_options => 'timeout=2s',
    workers => 1,
    h2      => 1,
    http    => <<"END",
proxy_cache_path $www/../cache keys_zone=cache:1m;
map \$http_upgrade \$connection_upgrade { default upgrade; '' close; }
server {
    $grpc
    location / { proxy_pass $url; add_header X-Saw \$http_x_tenant; add_trailer grpc-status 0 always; }
}
END
    server => <<"END",
root $www;
proxy_set_header X-Tenant \$lines_tenant;
grpc_set_header X-Tenant \$lines_tenant;

location /open/  { proxy_pass $url; }
location /cache/ { lines_auth workspace; proxy_cache cache; proxy_cache_key "\$lines_tenant \$uri"; add_header X-Cache \$upstream_cache_status; proxy_pass $url; }
location /gzip/  { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=gzip; gzip on; gzip_proxied any; gzip_types text/plain text/html; proxy_pass $url; }
location /authreq/ { lines_auth workspace; auth_request /check; auth_request_set \$who \$upstream_http_x_who; proxy_pass $url; }
location /authdeny/ { lines_auth workspace; auth_request /deny; proxy_pass $url; }
location = /check { internal; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Tenant \$lines_tenant; proxy_pass $url/check; }
location = /deny  { internal; proxy_pass $url/deny; }
location /mirror/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 name=mirror; mirror /mirrored; proxy_pass $url; }
location = /mirrored { internal; proxy_pass $url/mirrored; }
location /error/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=error; error_page 404 = \@fallback; }
location \@fallback { proxy_pass $url; }
location /errorauth/ { error_page 404 = \@guarded; alias /nowhere/; }
location \@guarded { lines_auth workspace; proxy_pass $url; }
location /if/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=if; if (\$arg_other) { proxy_pass $url; } proxy_pass $url; }
location /named/ { try_files /nowhere \@guarded; }
location /try/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=try; try_files /nowhere \@fallback; }
location /accel/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=accel; proxy_pass $url; }
location /inside/ { internal; lines_auth workspace; }
location /static/ { lines_auth workspace; }
location /ssi/ { lines_auth workspace; ssi on; }
location /sub/ { lines_auth workspace; sub_filter path way; sub_filter_types *; proxy_set_header Accept-Encoding ""; proxy_pass $url; }
location /ws/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=ws; proxy_http_version 1.1; proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection \$connection_upgrade; proxy_set_header X-Tenant \$lines_tenant; proxy_pass http://127.0.0.1:$ws_port; }
location /grpc/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=grpc; grpc_pass grpc://127.0.0.1:$grpc_port; }
location /echo/ { lines_auth workspace; lines_rate_limit rate=1000r/s burst=1000 name=echo sync=each; client_max_body_size 20m; client_body_buffer_size 16k; proxy_pass $url; }
location /unbuffered/ { lines_auth workspace; client_max_body_size 20m; proxy_request_buffering off; proxy_http_version 1.1; proxy_pass $url/echo; }
location /limit-req/ { lines_auth workspace; lines_rate_limit rate=1000r/s burst=1000 name=lr; limit_except GET { deny all; } proxy_pass $url; }
END
);

my $key  = $nginx->workspace(one => {plan => 'growth'});
my $auth = $nginx->bearer($key);

sub seen ($path) { return scalar grep { $_->{path} eq $path } @{$up->requests} }

# proxy cache
{
    is $nginx->get('/cache/a', $auth)->header('X-Cache'), 'MISS', 'proxy_cache: a miss';
    is $nginx->get('/cache/a', $auth)->header('X-Cache'), 'HIT', 'proxy_cache: a hit';
    is $nginx->get('/cache/a')->status, 401, 'proxy_cache: what is cached is protected';
    is seen('/cache/a'), 1, 'proxy_cache: asked once';
}

# gzip
{
    my $answer = $nginx->get('/gzip/a', {%$auth, 'Accept-Encoding' => 'gzip'});
    is $answer->header('Content-Encoding'), 'gzip', 'gzip: compressed';
    is Compress::Zlib::memGunzip($answer->body), 'x' x 5000, 'gzip: intact';
    ok $answer->header('RateLimit'), 'gzip: with the headers';
    $answer = $nginx->get('/gzip/a', {'Accept-Encoding' => 'gzip'});
    is $answer->status, 401, 'gzip: protected';
}

# auth_request, which runs after lines_auth and sees who asks
{
    is $nginx->get('/authreq/a', $auth)->json->{tenant}, 'w:one', 'auth_request: passes';
    is $up->requests->[-2]{headers}{'x-tenant'}, 'w:one', 'auth_request: its subrequest knows the tenant';
    is $nginx->get('/authdeny/a', $auth)->status, 403, 'auth_request: has its say';
    $up->clear;
    is $nginx->get('/authreq/a')->status, 401, 'auth_request: lines_auth comes first';
    is scalar @{$up->requests}, 0, 'auth_request: and saves it';
}

# mirror
{
    is $nginx->get('/mirror/a', $auth)->status, 200, 'mirror: passes';
    wait_for(sub { seen('/mirrored') == 1 }, 20, 'the mirrored request');
    $nginx->get('/mirror/a');
    $nginx->get('/mirror/a', $auth) for 1 .. 5;
    wait_for(sub { seen('/mirrored') == 3 }, 20, 'the mirrored requests');
    is seen('/mirror/a'), 3, 'mirror: what was let through';
    is seen('/mirrored'), 3, 'mirror: and no more';
}

# error_page, if, named locations, internal redirects
{
    my $answer = $nginx->get('/error/a', $auth);
    is $answer->status, 200, 'error_page: a named location answers';
    is $answer->json->{tenant}, 'w:one', 'error_page: which knows the tenant';
    is $answer->header('RateLimit') =~ /r=99;/, 1, 'error_page: counted once';
    is $nginx->get('/error/a')->status, 401, 'error_page: protected';
    is $nginx->get('/errorauth/a')->status, 401, 'error_page: to a protected location';
    is $nginx->get('/errorauth/a', $auth)->json->{tenant}, 'w:one', 'error_page: to a protected location, with a key';

    for my $query ('', '?other=1') {
        is $nginx->get("/if/a$query")->status, 401, "if$query: protected";
        $answer = $nginx->get("/if/a$query", $auth);
        is $answer->json->{tenant}, 'w:one', "if$query: known";
        ok $answer->header('RateLimit'), "if$query: limited";
    }

    is $nginx->get('/named/a')->status, 401, 'named location: protected';
    is $nginx->get('/named/a', $auth)->json->{tenant}, 'w:one', 'named location: known';
    $answer = $nginx->get('/try/a', $auth);
    is $answer->json->{tenant}, 'w:one', 'try_files: the tenant survives';
    like $answer->header('RateLimit'), qr/r=99;/, 'try_files: counted once';
    is $nginx->get('/accel/a', $auth)->body, 'inside', 'X-Accel-Redirect: to a protected location';
    is $nginx->get('/accel/a')->status, 401, 'X-Accel-Redirect: protected';
    is $nginx->get('/static/', $auth)->body, 'the index', 'index: redirected internally';
    is $nginx->get('/static/')->status, 401, 'index: protected';
    is $nginx->get('/inside/file.txt', $auth)->status, 404, 'internal stays internal';
}

# subrequests, filters, ranges
{
    my $answer = $nginx->get('/ssi/page.html', $auth);
    like $answer->body, qr{included.*\|a part}, 'SSI: includes what is open, and, unchecked, what is not';
    like $answer->body, qr/"tenant":"w:one"/, 'SSI: a subrequest knows the tenant of its main request';
    is $nginx->get('/ssi/page.html')->status, 401, 'SSI: protected';
    like $nginx->get('/sub/a', $auth)->body, qr/"way"/, 'sub_filter';
    $answer = $nginx->get('/static/part.txt', {%$auth, Range => 'bytes=2-5'});
    is $answer->status, 206, 'ranges';
    is $answer->body, 'part', 'ranges: the right one';
    my $tag = $nginx->get('/static/part.txt', $auth)->header('ETag');
    is $nginx->get('/static/part.txt', {%$auth, 'If-None-Match' => $tag})->status, 304, 'conditional';
    is $nginx->request(DELETE => '/limit-req/a', $auth)->status, 403, 'limit_except';
}

# bodies, which wait while Redis is asked
for my $size (0, 10, 100_000, 5_000_000) {
    my $fresh = $nginx->bearer($nginx->workspace("body$size" => {plan => 'growth'}));
    my $body  = join '', map { chr(65 + $_ % 26) } 1 .. $size;
    is $nginx->post('/echo/a', $body, $fresh)->body, $body, "a body of $size bytes";
    is $nginx->post('/unbuffered/a', $body, $fresh)->body, $body, "a body of $size bytes, unbuffered";
    is $nginx->post('/echo/a', $body)->status, 401, "a body of $size bytes of nobody's";
}

# keepalive and pipelining
{
    my $one  = "GET /static/part.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n\r\n";
    my $none = "GET /static/part.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    my $in   = $nginx->raw($one . $none . $one . "POST /echo/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Length: 5\r\n\r\nhello" . $one =~ s/\r\n\r\n/\r\nConnection: close\r\n\r\n/r);
    is_deeply [$in =~ m{HTTP/1\.1 (\d+)}g], [200, 401, 200, 200, 200], 'pipelined requests';
    is scalar(() = $in =~ /a part/g), 3, 'and their answers';
}

# WebSocket
{
    my $ua = Mojo::UserAgent->new;
    my ($got, $status);
    $ua->websocket($nginx->url('/ws/a') =~ s/^http/ws/r => $auth => sub ($ua, $tx) {
        $status = $tx->res->code;
        return Mojo::IOLoop->stop unless $tx->is_websocket;
        $tx->on(message => sub ($tx, $message) { $got = $message; $tx->finish; Mojo::IOLoop->stop });
        $tx->send('hello');
    });
    my $timer = Mojo::IOLoop->timer(30 * $t->slow => sub { Mojo::IOLoop->stop });
    Mojo::IOLoop->start;
    Mojo::IOLoop->remove($timer);
    is $status, 101, 'WebSocket: upgraded';
    is $got, 'w:one: hello', 'WebSocket: both ways';

    is $nginx->get('/ws/a', {Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Key' => 'x' x 22 . '==', 'Sec-WebSocket-Version' => 13})->status,
      401, 'WebSocket: protected';
}

# gRPC, HTTP/2
SKIP: {
    skip 'curl without HTTP/2', 9 unless qx(curl --version) =~ /HTTP2/;

    my $h2 = "http://127.0.0.1:" . $nginx->h2_port;
    my sub curl (@args) {
        open my $out, '-|', 'curl', '-sS', '-i', '--max-time', 30 * $t->slow, '--http2-prior-knowledge', @args or die;
        return join '', <$out>;
    }

    my $out = curl('-H', "Authorization: Bearer $key", '-H', 'Content-Type: application/grpc', '-H', 'TE: trailers', '--data-binary', 'x', "$h2/grpc/Service/Method");
    like $out, qr{^HTTP/2 200}, 'gRPC: passes';
    like $out, qr{^content-type: application/grpc}mi, 'gRPC: as gRPC';
    like $out, qr{^x-saw: w:one}mi, 'gRPC: the tenant arrives';
    like $out, qr{^ratelimit: "grpc";r=99;}mi, 'gRPC: with the headers';
    like curl('-X', 'POST', '-H', 'Content-Type: application/grpc', "$h2/grpc/Service/Method"), qr{^HTTP/2 401}, 'gRPC: protected';

    like curl('-H', "Authorization: Bearer $key", "$h2/static/part.txt"), qr{^HTTP/2 200.*a part}s, 'HTTP/2: passes';
    like curl("$h2/static/part.txt"), qr{^HTTP/2 401.*www-authenticate: Bearer.*\{"error":"Unauthorized"\}}s, 'HTTP/2: protected';
    like curl('-H', "Authorization: Bearer $key", '-d', 'b1', "$h2/echo/x"), qr{^HTTP/2 200.*b1}s, 'HTTP/2: a body';

  SKIP: {
        skip 'no h2load', 1 unless grep { -x "$_/h2load" } split /:/, $ENV{PATH};
        my $said = qx(h2load -n 400 -c 4 -m 50 -H 'Authorization: Bearer $key' $h2/static/part.txt);
        like $said, qr/status codes: 400 2xx/, 'HTTP/2: many streams at once';
    }
}

# clients that leave while Redis is asked
{
    my @fresh = map { $nginx->workspace("leaver$_" => {plan => 'growth'}) } 1 .. 3;
    my $pid   = ($nginx->pids)[0];
    $redis->pause;

    for my $round (1 .. 50) {
        my $socket = $nginx->socket;
        syswrite $socket, "POST /echo/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $fresh[$round % 3]\r\nContent-Length: 5\r\n\r\nhel";
        $round % 2 ? Test::Lines::Client->reset_connection($socket) : close $socket;
    }

    my @sockets = map { $nginx->socket } 1 .. 20;
    syswrite $_, "GET /echo/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $fresh[0]\r\n\r\n" for @sockets;
    Test::Lines::Client->reset_connection($_) for @sockets;

    $redis->cont;
    is $nginx->get('/echo/x', $nginx->bearer($fresh[1]))->status, 200, 'those who stay are served';
    is(($nginx->pids)[0], $pid, 'and the worker lives');
}

# reload under load
{
    my @codes;
    for my $round (1 .. 3) {
        $nginx->reload;
        push @codes, map { $_->status } concurrently(60, sub ($i) { $nginx->get_p('/static/part.txt', $auth) });
    }
    is scalar(grep { $_ != 200 } @codes), 0, 'reloads cost nothing';
}

$t->done;
