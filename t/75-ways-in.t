# Ways into a location with lines_auth: whose subrequest it is, whose method and credentials count, who comes in by another
# method of "satisfy any", and that each refusal is one answer.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Util qw(b64_encode);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(handler => sub ($c, $s) { $c->render(text => 'page of ' . ($c->req->headers->header('X-Tenant') // '')) });
my $url   = $app->url;

my $passwords = $t->file('passwords', "user:{PLAIN}secret\n");
my $basic     = {Authorization => 'Basic ' . b64_encode('user:secret', '')};
$t->file('www/busy.html', 'busy');
$t->file('www/ssi/page.html', '[<!--# include virtual="/part" -->]');

my $nginx = $t->nginx(redis => $redis, server => $clerk->location . $clerk->directive . <<"END");
root @{[$t->dir]}/www;
proxy_set_header X-Tenant \$lines_tenant;
location /own/        { lines_auth workspace; proxy_pass $url; }
location /asked/      { auth_request /check; proxy_pass $url; }
location = /check     { internal; lines_auth workspace; }
location /asked-then/ { auth_request /check; try_files /none \@own; }
location \@own        { lines_auth workspace; proxy_pass $url; }
location /redirected/ { error_page 404 405 = /by-page; }
location = /by-page   { internal; lines_auth workspace; proxy_pass $url; }

location /any/        { satisfy any; lines_auth workspace; auth_request /check-account; lines_rate_limit rate=1r/h burst=2 name=any; proxy_pass $url; }
location = /check-account { internal; lines_auth account; }
location /basic/      { satisfy any; lines_auth workspace; auth_basic r; auth_basic_user_file $passwords; proxy_pass $url; }
location /basic-page/ { satisfy any; lines_auth workspace; auth_basic r; auth_basic_user_file $passwords; error_page 400 503 = \@page; proxy_pass $url; }
location \@page       { return 200 "a page"; }

location = /after     { lines_auth account; proxy_pass $url; }
location /busy/       { lines_auth workspace; error_page 401 503 /busy.html; empty_gif; }
location = /busy.html { lines_auth workspace; }

location /anon/       { auth_request /check-anon; proxy_pass $url; }
location = /check-anon { internal; lines_auth workspace; error_page 401 403 503 = \@anon; }
location \@anon       { return 204; }
location /ssi/        { ssi on; }
location = /part      { internal; lines_auth workspace; error_page 401 = \@login; proxy_pass $url; }
location \@login      { return 200 "please log in"; }

location /two/        { lines_auth workspace; lines_rate_limit rate=1r/h burst=9 key=\$lines_tenant name=two; try_files /none \@two; }
location \@two        { lines_auth account; lines_rate_limit rate=1r/h burst=9 key=\$lines_tenant name=two; proxy_pass $url; }
END

my ($k1, $k2) = map { $nginx->workspace($_) } qw(one two);
my $one  = $nginx->bearer($k1);
my $pair = $nginx->pair($nginx->account('acc'));

subtest 'a cookie is good for what the client itself reads' => sub {
    my $cookie = {Cookie => '__session=' . $clerk->token(org => 'one')};

    for my $path ('/own/x', '/asked/x', '/asked-then/x', '/redirected/x') {
        is $nginx->get($path, $cookie)->body, 'page of w:one', "$path: GET";
        $app->clear;
        is $nginx->post($path, 'a=b', $cookie)->status, 403, "$path: POST";
        is $nginx->request(DELETE => $path, $cookie)->status, 403, "$path: DELETE";
        is scalar @{$app->requests}, 0, 'nothing gets through';
    }
};

subtest 'satisfy any' => sub {
    my $person = {Cookie => '__session=' . $clerk->token};

    is $nginx->get('/any/x', $one)->body, 'page of w:one', 'by lines_auth';
    is $nginx->get('/any/x', $pair)->body, 'page of a:acc', 'by auth_request: its identity';
    is_deeply [map { $nginx->get('/any/x', $pair)->status } 1 .. 2], [200, 429], 'and its limits';

    is $nginx->get('/basic/x', {%$basic, %$person})->status, 200, 'a password, and a session without workspace';
    my $answer = $nginx->get('/basic/x', $person);
    is $answer->status, 400, 'that session alone';
    is_deeply $answer->json, {error => 'No active workspace'}, 'is told why, in the dialect';
    is $nginx->get('/basic-page/x', $person)->body, 'a page', 'or by the error_page';
    is $nginx->get('/basic/x')->status, 401, 'nobody';
};

subtest 'one answer to each refusal' => sub {
    my $mark = $nginx->log_mark;

    my $raw = $nginx->raw("GET /busy/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    like $raw, qr{^HTTP/1.1 401}, 'an error_page behind lines_auth itself';
    is scalar(() = $raw =~ /^WWW-Authenticate/mig), 1, 'asks once';

    unlike $nginx->error_log($mark), qr/\[alert\]/, 'no alert';
};

subtest 'a filter refuses the refusal' => sub {
    my $load = $t->load_modules('ngx_http_image_filter_module') or plan skip_all => 'no image_filter';
    my $nginx = $t->nginx(redis => $redis, main => $load, server => <<'END');
location /img/    { lines_auth workspace; image_filter resize 10 10; error_page 415 = /empty; empty_gif; }
location = /empty { lines_auth workspace; empty_gif; }
END
    is $nginx->get('/img/x')->status, 401, 'the page in its place is refused as well, and that is the answer';
    $nginx->quit;
};

subtest 'the error_page of the location that is asked' => sub {
    is $nginx->get('/anon/x')->status, 200, 'auth_request: lets pass who is not known';
    is $nginx->get('/ssi/page.html')->body, '[please log in]', 'SSI: is included';

    my $nginx = $t->nginx(redis => $redis, server => <<"END");
error_page 401 = \@login;
location \@login  { return 302 /login; }
location /asked/  { auth_request /check; proxy_pass $url; }
location = /check { internal; lines_auth workspace; }
END
    is $nginx->get('/asked/x')->status, 302, 'that of the server is left to the request itself';
    $nginx->quit;
};

subtest 'limits by a variable' => sub {
    is $nginx->get('/two/x', {%$one, %$pair})->body, 'page of a:acc', 'one after the other';

    # in Redis when they are settled
    my @keys;
    eval { wait_for(sub { @keys = grep {/two/} $redis->client->keys('lines:{l:*'); @keys >= 2 }, 30, 'both') };
    is scalar @keys, 2, 'count both, as key=tenant does' or diag "@keys";
};

subtest 'credentials that another module changes' => sub {
    my $load = $t->load_modules('ndk_http_module', 'ngx_http_lua_module') or plan skip_all => 'no Lua';
    my $set  = 'ngx.req.set_header("Authorization", "Bearer " .. ngx.var.arg_k)';
    my $nginx = $t->nginx(redis => $redis, main => $load, http => 'lua_load_resty_core off;', server => <<"END");
proxy_set_header X-Tenant \$lines_tenant;
location /capture/ { lines_auth workspace; content_by_lua_block { $set local r = ngx.location.capture("/who"); ngx.print(r.status .. " " .. r.body) } }
location /exec/    { lines_auth workspace; content_by_lua_block { $set ngx.exec("/who") } }
location = /who    { lines_auth workspace; proxy_pass $url; }
END
    is $nginx->get("/capture/?k=$k2", $one)->body, '200 page of w:two', 'a subrequest with another key';
    is $nginx->get("/exec/?k=$k2", $one)->body, 'page of w:two', 'an internal redirect with another key';
    like $nginx->get('/capture/?k=nonsense', $one)->body, qr/^401/, 'with a wrong one';
    $nginx->quit;
};

subtest 'subrequests of a module that makes them without a client\'s connection' => sub {
    my $load = $t->load_modules('ngx_nchan_module') or plan skip_all => 'no nchan';
    my $nginx = $t->nginx(redis => $redis, main => $load, server => <<"END");
location = /pub { nchan_publisher; nchan_channel_id c; }
location = /sub { nchan_subscriber; nchan_channel_id c; nchan_authorize_request /check; nchan_subscriber_first_message oldest; }
location = /check { internal; lines_auth workspace; proxy_pass $url/authz; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Tenant \$lines_tenant; }
END
    $nginx->post('/pub', 'secret');
    $app->clear;

    is $nginx->get('/sub', $one)->body, 'secret', 'a key may';
    is $app->requests->[0]{headers}{'x-tenant'}, 'w:one', 'and is known there: it was checked';
    $nginx->quit;
};

subtest 'Redis is away' => sub {
    $redis->stop;
    my $never = 'tuco_never_seen';
    wait_for(sub { $nginx->get('/own/x', $nginx->bearer($never))->status == 503 }, 20, '503');

    my $raw = $nginx->raw("GET /busy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $never\r\nConnection: close\r\n\r\n");
    is scalar(() = $raw =~ /^Retry-After/mig), 1, 'one Retry-After';

    my $answer = $nginx->get('/any/x', {%{$nginx->bearer($never)}});
    is $answer->status, 503, 'satisfy any: nobody can tell';
    is_deeply $answer->json, {error => 'Service temporarily unavailable'}, 'in the dialect';
    ok $answer->header('Retry-After'), 'with Retry-After';

    is $nginx->get('/asked/x', $nginx->bearer($never))->status, 503, 'auth_request: neither';
    is $nginx->get('/anon/x', $nginx->bearer($never))->status, 200, 'unless the error_page of the location that is asked says so';
    $redis->start;
};

$t->done;
