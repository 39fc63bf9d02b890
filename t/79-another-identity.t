# What was computed, counted or cached for one identity is never another's: maps, limits, caches behind lines_auth.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $app   = $t->upstream(handler => sub ($c, $state) {
    my $headers = $c->req->headers;
    my $path    = $c->req->url->path->to_string;

    if ($path =~ m{^/accel}) {
        $c->res->headers->header('X-Accel-Redirect' => "/behind$path");
        return $c->render(text => '');
    }

    $c->res->headers->cache_control('max-age=60');
    $c->render(text => join '|', map { $headers->header("X-$_") // '' } qw(Tenant Map));
});
my $url = $app->url;

$t->file('www/two.html', '[<!--# include virtual="/part-w" -->][<!--# include virtual="/part-a" -->]');
$t->file('www/one.html', '[<!--# include virtual="/part-w" -->]');
mkdir $t->dir . '/store';
chmod 0777, $t->dir . '/store';

my $lua = $t->load_modules('ndk_http_module', 'ngx_http_lua_module');
my $js  = $t->load_modules('ngx_http_js_module');
$t->file('who.js', "function who(r) { return 'js:' + (r.variables.lines_tenant || ''); } export default {who};");

my $nginx = $t->nginx(
    redis => $redis,
    main  => ($lua // '') . ($js // ''),
    http => <<"END" . ($lua ? 'lua_load_resty_core off; access_by_lua_no_postpone on;' : '') . ($js ? "js_path @{[$t->dir]}; js_import w from who.js; js_set \$who w.who;" : ''),
proxy_cache_path @{[$t->dir]}/cache keys_zone=cache:1m;
map \$lines_tenant \$mapped { default \$lines_tenant; '' nobody; }
map \$lines_tenant \$group { default all; }
map \$asked \$by_asked { default \$asked; '' nobody; }
END
    server => <<"END" . ($lua ? "location /lua/ { access_by_lua_block { ngx.ctx.x = ngx.var.mapped } lines_auth workspace; proxy_pass $url; }" : '') . ($js ? "location /js/ { set \$early \$who; lines_auth workspace; proxy_set_header X-Map \$who; proxy_set_header X-Tenant \$lines_tenant; proxy_pass $url; }" : ''),
proxy_set_header X-Tenant \$lines_tenant;
proxy_set_header X-Map \$mapped;

location /accel/  { proxy_pass $url; }
location /behind/ { internal; lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key "\$mapped \$uri"; proxy_pass $url; }
location /behind/accel/shared { internal; lines_auth workspace cache=shared; proxy_cache cache; proxy_cache_key "\$mapped \$uri"; proxy_pass $url; }

location /ssi/      { ssi on; alias @{[$t->dir]}/www/; }
location /ssi-read/ { add_header X-Seen \$mapped; ssi on; alias @{[$t->dir]}/www/; }
location /ssi-set/  { set \$early \$mapped; ssi on; alias @{[$t->dir]}/www/; }
location = /part-w  { internal; lines_auth workspace; proxy_pass $url; }
location = /part-a  { internal; lines_auth account; proxy_pass $url; }

location /limit/early/ { set \$early \$mapped; lines_auth workspace; lines_rate_limit rate=1r/h burst=3 key=\$mapped name=early; empty_gif; }
location /limit/text/  { auth_request /check; auth_request_set \$asked \$lines_tenant; lines_rate_limit rate=1r/h burst=2 key=t:\$asked name=text; empty_gif; }
location /limit/asked/ { auth_request /check; auth_request_set \$asked \$lines_tenant; lines_rate_limit rate=1r/h burst=2 key=\$by_asked name=asked; empty_gif; }
location /limit/guess/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 key=\$remote_addr\$http_user_agent\$http_x name=guess; empty_gif; }
location /limit/both/  { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 key=\$lines_tenant name=both; try_files /none \@both; }
location \@both        { lines_auth account; lines_rate_limit rate=1r/h burst=2 key=\$lines_tenant name=both; proxy_pass $url; }
location = /check      { internal; lines_auth workspace; }

location /plain/    { lines_auth workspace cache=tenant; proxy_cache cache; proxy_pass $url; }
location /group/    { lines_auth workspace cache=tenant; proxy_cache cache; proxy_cache_key "\$group \$request_uri"; proxy_pass $url; }
location /fallback/ { lines_auth workspace cache=tenant; proxy_cache cache; error_page 500 = \@backup; proxy_pass $url; }
location \@backup   { lines_auth workspace cache=tenant; proxy_cache cache; proxy_pass $url; }

location /unsaid/   { lines_auth workspace; proxy_cache cache; proxy_pass $url; }
location /keyed/    { lines_auth workspace; proxy_cache cache; proxy_cache_key "\$lines_tenant \$uri"; add_header X-Cache \$upstream_cache_status; proxy_pass $url; }
location /try/      { lines_auth workspace; try_files /none \@app; }
location /public/   { lines_auth workspace cache=shared; try_files /none \@app; }
location \@app      { proxy_cache cache; add_header X-Cache \$upstream_cache_status; proxy_pass $url; }
location /inner/    { lines_auth workspace; try_files /none /cached/x; }
location /cached/   { internal; proxy_cache cache; proxy_pass $url; }
location /if/       { lines_auth workspace; if (\$request_method = GET) { proxy_pass $url; } proxy_cache cache; }
location /store/    { lines_auth workspace; root @{[$t->dir]}; error_page 404 = \@fetch; }
location \@fetch    { lines_auth workspace; root @{[$t->dir]}; proxy_store on; proxy_pass $url; }
location /asks/     { auth_request /check; proxy_cache cache; proxy_pass $url; }
END
);

my $one  = $nginx->bearer($nginx->workspace('one'));
my $two  = $nginx->bearer($nginx->workspace('two'));
my $pair = $nginx->pair($nginx->account('acc'));

sub body     ($path, $who) { $nginx->get($path, $who)->body }
sub statuses ($path, $who, $n) { [map { $nginx->get($path, $who)->status } 1 .. $n] }

subtest 'maps' => sub {
    for my $path ('/accel/page', '/accel/shared', $lua ? '/lua/x' : ()) {
        is body($path, $one), 'w:one|w:one', "$path: read before authentication, and good after it";
        is body($path, $two), 'w:two|w:two', "$path: the next one";
    }

    is body('/ssi/two.html', {%$one, %$pair}), '[w:one|w:one][a:acc|a:acc]', 'SSI: each part has its own';
    is body("/$_/one.html", $one), '[w:one|w:one]', "$_: of a page that has read it" for 'ssi-read', 'ssi-set';
    is body('/js/x', $one), 'w:one|js:w:one', 'js_set' if $js;
};

subtest 'limits' => sub {
    for my $path ('/limit/early/x', '/limit/text/x', '/limit/asked/x') {
        is_deeply statuses($path, {}, 4), [(401) x 4], "$path: strangers are not counted";
        is $nginx->get($path, $_)->status, 200, "$path: nor for any tenant" for $one, $two;
    }

    is_deeply statuses('/limit/text/x',  $one, 2), [200, 429], 'each tenant has its own bucket: a text';
    is_deeply statuses('/limit/asked/x', $one, 2), [200, 429], 'a map of what auth_request sets';
    is_deeply statuses('/limit/early/x', $one, 3), [200, 200, 429], 'a map that was read before';
    is_deeply statuses('/limit/guess/x', {}, 3), [401, 401, 429], 'what the client leaves out postpones no limit';

    is $nginx->get('/limit/both/x', {%$one, %$pair})->status, 200, 'whoever else it became on the way';
    is_deeply statuses('/limit/both/x', {%$two, %$pair}, 2), [200, 429], 'is counted by a variable, too';
};

subtest 'cache=tenant' => sub {
    is $nginx->get('/plain/a', $one)->status, 500, 'a key without tenant: nothing is sent';
    is $nginx->get('/plain/a?w:one,w:two', $_)->status, 500, 'what the client writes is no tenant' for $two, $one;

    for my $query ('', '?w:one,w:two') {
        is body("/group/a$query", $_->[0]), "$_->[1]|$_->[1]", "a map of tenants to one text: each has its own page" for ([$one, 'w:one'], [$two, 'w:two']) x 2;
    }

    is $nginx->get('/fallback/a', $_)->status, 500, 'one refusal is no permission for what answers instead' for $one, $two;
};

subtest 'caches that nobody has spoken of' => sub {
    for my $place ('unsaid', 'try', 'inner', 'if', 'store', 'asks') {
        my $mark = $nginx->log_mark;
        is body("/$place/a", $one), 'w:one|w:one', "$place: the page of one";
        is body("/$place/a", $two), 'w:two|w:two', "$place: and of the other";
        my $what = $place eq 'store' ? 'store' : 'cache';
        $nginx->wait_log(qr/\[warn\].*location "[^"]+" has "proxy_$what".*not stored.*"cache=shared"/, $mark);
        body("/$place/a", $two) for 1 .. 3;
        is scalar(() = $nginx->error_log($mark) =~ /not stored/g), 1, "$place: one warning";
    }

    is $nginx->get('/keyed/a', $_)->header('X-Cache'), 'MISS', 'a key with the tenant' for $one, $two;
    is $nginx->get('/keyed/a', $_)->header('X-Cache'), 'HIT', 'needs no more words' for $one, $two;

    $nginx->get('/public/a', $one);
    is $nginx->get('/public/a', $two)->header('X-Cache'), 'HIT', 'cache=shared goes along with try_files';
};

subtest 'nginx -t' => sub {
    my sub config ($server) { my ($code, $out) = $t->test_config(redis => $redis, server => $server); is $code, 0, 'loads'; return $out }

    like config('location = /page { internal; lines_auth workspace; return 200 secret; }'), qr{\[warn\].*location "/page" has.*"return"},
      'return in an internal location, which error_page may lead to';
    unlike config('location /a/ { auth_request /check; } location = /check { internal; lines_auth workspace; return 204; }'), qr/\[warn\]/,
      'but not where auth_request leads to it';
    like config('location /a/ { auth_request /check; } location = /check { internal; lines_auth workspace; lines_rate_limit rate=1r/s; }'),
      qr{\[warn\].*location "/check" has "lines_rate_limit", but is asked by "auth_request"}, 'a limit that never counts';
    like config("location /a/ { lines_auth workspace cache=tenant; proxy_store on; root /nowhere; proxy_pass $url; }"),
      qr{\[warn\].*location "/a/" has "proxy_store"}, 'proxy_store';
};

$t->done;
