# Refusals where several have a say: bodies in an API's location, error pages that lead back there, auth_delay, satisfy any,
# and whose words are used.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Util qw(b64_encode);
use Test::More;
use Test::Lines qw(wait_for);
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $app   = $t->upstream(handler => sub ($c, $s) {
    my $headers = $c->res->headers;
    if ($c->req->url->path =~ /legacy/) { $headers->content_encoding('br'); $headers->etag('"x"') }
    if ($c->req->url->path =~ /dated/)  { $headers->last_modified('Sun, 06 Nov 1994 08:49:37 GMT') }
    $c->render(text => 'upstream got ' . length $c->req->body);
});
my $url   = $app->url;
my $proxy = "proxy_pass $url;";
my $users = $t->file('passwords', "user:{PLAIN}secret\n");
my $basic = {Authorization => 'Basic ' . b64_encode('user:secret', '')};

subtest "no body in an API's location is larger than the API takes" => sub {
    my $nginx = $t->nginx(redis => $redis, http => 'limit_req_zone $uri zone=slow:1m rate=1r/m;', server => <<"END");
client_max_body_size 1m;
location /if/     { lines_workspace_api; if (\$http_x_legacy) { $proxy } }
location /except/ { lines_workspace_api; limit_except GET { $proxy } }
location /denied/ { lines_workspace_api; deny all; error_page 403 = \@legacy; }
location /slow/   { lines_workspace_api; limit_req zone=slow; error_page 503 = \@legacy; }
location /own/    { lines_workspace_api; client_max_body_size 0; deny all; error_page 403 = \@legacy; }
location /named/  { lines_account_api; deny all; error_page 403 = \@legacy; error_page 413 = \@large; }
location /nested/ { lines_workspace_api; location /nested/up/ { $proxy } }
location \@legacy { $proxy }
location \@large  { return 413 "too large"; }
END
    my %legacy = ('X-Legacy' => 1, 'Content-Type' => 'application/json');
    $nginx->get('/slow/x') for 1, 2;

    for my $place (qw(if except denied slow own)) {
        my $answer = $nginx->post("/$place/x", 'x' x 3_000_000, {%legacy});
        is $answer->status, 413, "$place: a large body";
        is $answer->body, '{"error":"Request body is too large"}', '... in the words of the API';
        my $chunked = $nginx->raw("POST /$place/x HTTP/1.1\r\nHost: x\r\nX-Legacy: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
              . join('', map { "8000\r\n" . 'x' x 32768 . "\r\n" } 1 .. 92) . "0\r\n\r\n");
        unlike $chunked, qr/upstream got/, '... nor in chunks';
        is $nginx->post("/$place/x", 'x' x 60_000, {%legacy})->body, 'upstream got 60000', '... others get there';
    }

    is $nginx->post('/named/x', 'x' x 3_000_000)->body, 'too large', 'an error_page for it comes first';
    is $nginx->post('/nested/up/x', 'x' x 500_000)->body, 'upstream got 500000', 'a nested location has that of nginx';
    is $nginx->post('/nested/up/x', 'x' x 3_000_000)->status, 413, '... all of it';
    $nginx->quit;
};

subtest "what an error_page leads to in an API's location is left as it is" => sub {
    my $nginx = $t->nginx(redis => $redis, server => <<"END");
location /equal/    { lines_workspace_api; error_page 404 = /equal/legacy; if (\$uri = /equal/legacy) { $proxy } }
location /same/     { lines_workspace_api; error_page 404 /same/legacy;    if (\$uri = /same/legacy) { $proxy } }
location /dated/    { lines_workspace_api; error_page 404 /dated/dated;    if (\$uri = /dated/dated) { $proxy } }
location /said/     { lines_workspace_api; error_page 404 /said/oops;      if (\$uri = /said/oops) { return 404 "see the manual"; } }
location /again/    { lines_workspace_api; error_page 404 /again/oops;     if (\$uri = /again/oops) { return 404; } }
location /gone/     { lines_workspace_api; error_page 404 /gone/oops;      if (\$uri = /gone/oops) { proxy_pass http://127.0.0.1:1; } }
location /api-says/ { lines_workspace_api; error_page 404 /api-says/line-requests; }
location /away/     { lines_workspace_api; error_page 404 /away/oops; if (\$uri = /away/oops) { rewrite ^ /elsewhere last; } }
location = /elsewhere { return 404 "elsewhere"; }
END
    is $nginx->get('/equal')->body, 'upstream got 0', 'an upstream';
    my $answer = $nginx->get('/same');
    is $answer->status, 404, 'with the status of the error';
    is $answer->body, 'upstream got 0', '... an upstream';
    is $answer->header('Content-Encoding'), 'br', '... whose headers are of its page';
    is $nginx->get('/dated')->body, 'upstream got 0', 'one that says since when';
    is $nginx->get('/dated')->header('Last-Modified'), 'Sun, 06 Nov 1994 08:49:37 GMT', '... has said it';
    is $nginx->get('/said')->body, 'see the manual', 'a text';
    is $nginx->get('/said')->header('Last-Modified'), undef, '... and nothing that is not so';
    is $nginx->get('/again')->body, '{"error":"Not found"}', 'but what nginx says there is said in the dialect';
    is $nginx->get('/gone')->body, '{"error":"Bad gateway"}', '... that it reaches no upstream, too';
    is $nginx->get('/api-says')->body, '{"error":"Unauthorized"}', 'and so does the API';
    is $nginx->get('/away')->body, 'elsewhere', 'or another location';
    $nginx->quit;
};

subtest 'auth_delay' => sub {
    my $nginx = $t->nginx(redis => $redis, http => 'auth_delay 1s;', server => <<"END");
location /own/     { lines_auth workspace; empty_gif; }
location /account/ { lines_auth account; empty_gif; }
location /page/    { lines_auth workspace; error_page 401 \@page; empty_gif; }
location \@page    { return 401 "a page"; }
location /asked/   { auth_request /check; empty_gif; }
location = /check  { internal; lines_auth workspace; }
location /any/     { satisfy any; lines_auth workspace; auth_basic x; auth_basic_user_file $users; empty_gif; }
location /twice/   { lines_auth workspace; lines_workspace_api; }
END
    my $key = $nginx->bearer($nginx->workspace('one'));

    my %says = (
        own => qr/^\{"error":"Unauthorized"\}$/, account => qr/^\{"status":"ERROR".*"Unauthorized"\}$/, page => qr/^a page$/,
        asked => qr/401/, any => qr/^\{"error":"Unauthorized"\}$/, twice => qr/^\{"error":"Unauthorized"\}$/,
    );
    for my $place (sort keys %says) {
        my $began  = time;
        my $answer = $nginx->get("/$place/x");
        is $answer->status, 401, "$place: nobody";
        cmp_ok time - $began, '>=', 0.9, '... is told later';
        like $answer->body, $says{$place}, '... as at once';
        next if $place eq 'page';
        ok $answer->header('WWW-Authenticate'), '... and is asked';
        is $answer->header('Content-Type'), $place eq 'asked' ? 'text/html' : 'application/json', '... with the type of what is said';
    }

    my $both = $nginx->raw("GET /own/x HTTP/1.1\r\nHost: x\r\n\r\nGET /own/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout => 20 * $t->slow);
    is scalar(() = $both =~ /\{"error":"Unauthorized"\}/g), 2, 'the connection goes on';
    is $nginx->head('/own/x')->header('Content-Length'), length '{"error":"Unauthorized"}', 'HEAD has the length';

    my $began = time;
    is $nginx->get("/$_/x", $key)->status, 200, "$_: a key passes" for qw(own page asked any);
    is $nginx->get('/any/x', $basic)->status, 200, '... and a password';
    cmp_ok time - $began, '<', 0.9 * $t->slow, '... at once';
    $nginx->quit;
};

subtest "whose words: those of the API, where one answers" => sub {
    my $nginx = $t->nginx(redis => $redis, server => <<"END");
lines_auth workspace;
location /acc/     { lines_account_api; }
location /acc-own/ { lines_account_api; lines_auth workspace; auth_delay 1ms; }
location /ws/      { lines_workspace_api; lines_auth account; }
location /gate/    { lines_auth account; empty_gif; }
location /asked/   { lines_auth off; lines_account_api; auth_request /check; }
location = /check  { internal; lines_auth workspace; }
END
    my $account   = '{"status":"ERROR","message":"Unauthorized"}';
    my $workspace = '{"error":"Unauthorized"}';
    is $nginx->get('/acc/lines')->body, $account, "lines_auth of the server, an account API's location";
    is $nginx->get('/acc-own/lines')->body, $account, '... of the location';
    is $nginx->get('/ws/lines/by-user')->body, $workspace, 'the other way around';
    is $nginx->get('/gate/x')->body, $account, 'where no API answers, those of lines_auth';
    is $nginx->get('/x')->body, $workspace, '... as everywhere';
    is $nginx->get('/asked/lines')->body, $account, 'asked by auth_request: as what nginx refuses';

    $redis->stop;
    my $never = $nginx->bearer('tuco_never_seen');
    wait_for(sub { $nginx->get('/gate/x', $nginx->pair('tuco_x', 'y'))->status == 503 }, 20, '503');
    is $nginx->get('/acc/lines', $never)->body, '{"status":"ERROR","message":"Service temporarily unavailable"}', 'nobody can tell';
    is $nginx->get('/asked/lines', $never)->body, '{"status":"ERROR","message":"Service temporarily unavailable"}', '... nor whom auth_request asks';
    $redis->start;
    $nginx->quit;
};

subtest 'satisfy any: auth_request that cannot tell' => sub {
    my $lua   = $t->load_modules('ndk_http_module', 'ngx_http_lua_module');
    my $nginx = $t->nginx(
        redis => $redis,
        main  => $lua // '',
        http  => $lua ? 'lua_load_resty_core off;' : '', server => <<"END"
location /any/    { satisfy any; auth_request /check; @{[$lua ? 'access_by_lua_block { if ngx.var.http_x_ok then return ngx.exit(0) end return ngx.exit(403) }' : '']} empty_gif; }
location /basic/  { satisfy any; auth_basic x; auth_basic_user_file $users; auth_request /check; empty_gif; }
location /page/   { satisfy any; auth_basic x; auth_basic_user_file $users; auth_request /check; error_page 503 /busy; empty_gif; }
location /own/    { satisfy any; lines_auth account; auth_request /check; empty_gif; }
location /then/   { satisfy any; auth_request /check; error_page 503 /later/x; empty_gif; }
location /later/  { satisfy any; deny all; auth_basic x; auth_basic_user_file $users; empty_gif; }
location = /busy  { return 200 "busy"; }
location = /check { internal; lines_auth workspace; }
END
    );
    my $key  = $nginx->bearer($nginx->workspace('two'));
    my $pair = $nginx->pair($nginx->account('acc'));
    is $nginx->get("/$_/x", $key)->status, 200, "$_: the key" for qw(any basic own);
    is $nginx->get("/$_/x")->status, 401, "$_: nobody" for qw(any basic own);
    is $nginx->get('/own/x', $pair)->status, 200, 'own: a pair';

    $redis->stop;
    my $never = $nginx->bearer('tuco_never_seen');
    wait_for(sub { $nginx->get('/own/x', $never)->status == 503 }, 20, '503');

    for my $place (qw(any basic own)) {
        my $answer = $nginx->get("/$place/x", $never);
        is $answer->status, 503, "$place: nobody can tell";
        is_deeply $answer->json, {error => 'Service temporarily unavailable'}, '... in the dialect';
        ok $answer->header('Retry-After'), '... with Retry-After';
    }
    is $nginx->get('/any/x', {%$never, 'X-OK' => 1})->status, 200, 'but another method, which comes later, lets pass' if $lua;
    is $nginx->get('/basic/x', $basic)->status, 200, '... and one that comes before';
    is $nginx->get('/own/x', {%$pair, %$never})->status, 200, '... and lines_auth itself, for a while';
    is $nginx->get('/page/x', $never)->body, 'busy', 'an error_page for it';
    is $nginx->get('/then/x', $never)->status, 401, 'what could not be told in one location is nothing in the next';
    $redis->start;
    $nginx->quit;
};

$t->done;
