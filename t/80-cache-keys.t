# Keys of caches behind lines_auth: who asks is a part of the key as soon as the key reads it, whatever else is made of it, and
# no address, header or body writes that part.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(handler => sub ($c, $s) {
    my $headers = $c->req->headers;
    $c->res->headers->cache_control('max-age=60');
    $c->render(text => 'page of ' . join '|', map { $headers->header("X-$_") // '' } qw(Tenant User));
});
my $url = $app->url;

my $nginx = $t->nginx(redis => $redis, http => <<"END", server => $clerk->location . $clerk->directive . <<"END2");
proxy_cache_path @{[$t->dir]}/cache keys_zone=cache:1m;
map \$lines_tenant \$group    { default paid; '' nobody; }
map \$lines_tenant \$volatile { volatile; default paid; '' nobody; }
map \$volatile     \$outer    { default \$volatile; }
map \$lines_tenant \$longer   { default w:acme-group; }
END
proxy_set_header X-Tenant \$lines_tenant;
proxy_set_header X-User \$lines_user;
proxy_cache_methods GET HEAD POST;
proxy_cache_key "\$uri\$lines_tenant";
add_header X-Cache \$upstream_cache_status;

location /group/    { lines_auth workspace cache=tenant; proxy_cache_key "\$group \$uri"; proxy_cache cache; proxy_pass $url; }
location /volatile/ { lines_auth workspace cache=tenant; proxy_cache_key "\$volatile \$uri"; proxy_cache cache; proxy_pass $url; }
location /outer/    { lines_auth workspace cache=tenant; proxy_cache_key "\$outer \$uri"; proxy_cache cache; proxy_pass $url; }
location /longer/   { lines_auth workspace cache=tenant; proxy_cache_key "\$longer \$uri"; proxy_cache cache; proxy_pass $url; }
location /unsaid/   { lines_auth workspace; proxy_cache_key "\$volatile \$uri"; proxy_cache cache; proxy_pass $url; }
location /twice/    { lines_auth workspace cache=tenant; proxy_cache_key "\$lines_tenant \$uri \$lines_tenant \$group"; proxy_cache cache; proxy_pass $url; }
location /shared/   { lines_auth workspace cache=shared; proxy_cache_key "\$group \$uri"; proxy_cache cache; proxy_pass $url; }

location /session/  { lines_auth clerk; proxy_cache cache; proxy_pass $url; }
location /demanded/ { lines_auth clerk cache=tenant; proxy_cache cache; proxy_pass $url; }
location /user/     { lines_auth clerk cache=tenant; proxy_cache_key "\$uri\$lines_tenant\$lines_user"; proxy_cache cache; proxy_pass $url; }
location /post/     { lines_auth clerk; proxy_cache_key "\$uri\$request_body\$lines_tenant"; proxy_cache cache; proxy_pass $url; }
location = /me      { lines_auth clerk cache=tenant; proxy_cache cache; proxy_pass $url; }
location /me        { proxy_cache cache; proxy_pass $url; }
location = /open    { proxy_cache_key "/post/\$request_body"; proxy_cache cache; proxy_pass $url; }
END2

my %who    = map { $_ => $nginx->bearer($nginx->workspace($_)) } qw(a acme one two);
my $one    = $nginx->bearer($clerk->token(org => 'one'));
my $person = $nginx->bearer($clerk->token);

subtest 'whatever a map makes of a tenant' => sub {
    for my $place (qw(group volatile outer longer unsaid twice)) {
        is $nginx->get("/$place/x", $who{$_})->body, "page of w:$_|", "$place: the page of $_" for qw(a acme one two);
        is $nginx->get("/$place/x", $who{$_})->header('X-Cache'), 'HIT', "$place: and $_ has it again" for qw(a acme one two);
        is $nginx->get("/$place/x", $who{$_})->body, "page of w:$_|", "$place: its own" for qw(a acme one two);
    }

    $nginx->get('/shared/x', $who{one});
    is $nginx->get('/shared/x', $who{two})->header('X-Cache'), 'HIT', 'but for cache=shared, where the key is as it is written';
};

subtest 'a tenant in the address' => sub {
    for my $place ('session', 'demanded') {
        is $nginx->get("/$place/x", $one)->body, 'page of w:one|user_1', "$place: one" or diag $nginx->error_log;
        unlike $nginx->get("/$place/xw:one", $person)->body, qr/w:one/, "$place: is not that of a person without a workspace";
        unlike $nginx->get("/$place/x%0Alines_tenant=w:one", $person)->body, qr/w:one/, "$place: nor with the words of the module";
        is $nginx->get("/$place/x%00lines_tenant=w:one", $person)->status, 400, "$place: a zero is in no address";
    }

    is $nginx->get('/me', $one)->body, 'page of w:one|user_1', 'one';
    unlike $nginx->get('/mew:one')->body, qr/w:one/, 'a stranger, in another location of the same cache';
};

subtest 'a tenant in the body' => sub {
    is $nginx->post('/post/', 'x', $one)->body, 'page of w:one|user_1', 'one';
    is $nginx->post('/post/', 'x', $one)->header('X-Cache'), 'HIT', 'from the cache';

    for (['/post/', $person], ['/open', {}]) {
        my $mark   = $nginx->log_mark;
        my $answer = $nginx->post($_->[0], "x\0lines_tenant=w:one", $_->[1]);
        is $answer->status, 400, "$_->[0]: what the module alone may write is no key";
        unlike $answer->to_string, qr/w:one|X-Cache/, '... and nothing is sent';
        $nginx->wait_log(qr/\[error\].*text of the cache's key says who asks: nothing is sent/, $mark);
        is $nginx->post($_->[0], "y\0lines_tenant=w:one", $_->[1])->status, 400, '... nor stored';
    }
    is $nginx->post('/post/', 'y', $one)->header('X-Cache'), 'MISS', 'for one';
    is $nginx->post('/open', "x\0y")->status, 200, 'any other body is one';
};

subtest 'a user whose name is that of a tenant' => sub {
    my $user = $nginx->bearer($clerk->token(claims => {sub => 'w:one'}));
    is $nginx->get('/user/xw:one', $user)->body, 'page of |w:one', 'the user';
    like $nginx->get('/user/x', $one)->body, qr/page of w:one/, 'and the tenant';
    is $nginx->get('/user/x', $user)->body, 'page of |w:one', 'have their own';
};

# an error_page, or X-Accel-Redirect, to a named location
subtest 'a location that was left is not that which answers' => sub {
    my $app = $t->upstream(handler => sub ($c, $state) {
        $c->res->headers->header('X-Accel-Redirect' => '@inside') if $c->req->url->path =~ /inside/;
        $c->render(text => 'page of the application', status => $c->req->url->path =~ /none/ ? 404 : 200);
    });
    my $cache = 'proxy_cache cache; proxy_cache_key $uri; proxy_intercept_errors on; error_page 404 502 = @inside';
    $t->file('www/inside', 'a file');
    my $node = $t->nginx(redis => $redis, http => "proxy_cache_path @{[$t->dir]}/left keys_zone=cache:1m;", server => <<"END3");
location /shared/ { lines_auth workspace cache=shared; $cache; proxy_pass @{[$app->url]}; }
location /open/   { $cache; proxy_pass @{[$app->url]}; }
location /down/   { $cache; proxy_pass http://127.0.0.1:@{[$t->free_port]}; }
location /stored/ { proxy_store on; root @{[$t->dir]}/stored; proxy_pass @{[$app->url]}; }
location \@inside { lines_auth workspace cache=tenant; root @{[$t->dir]}/www; try_files /inside =404; }
END3
    my $key = $node->bearer($node->workspace('left'));

    for my $path ('/shared/inside', '/shared/none', '/open/inside', '/open/none', '/down/x', '/stored/inside') {
        my $mark = $node->log_mark;
        is $node->get($path)->status, 401, "$path: nobody";
        my $answer = $node->get($path, $key);
        like $answer->status, qr/^(?:200|404|502)$/, "$path: somebody";
        is $answer->body, 'a file', '... is sent what is there';
        unlike substr($node->error_log, $mark), qr/lines: .*(?:nothing is sent|not stored)/, '... and nobody speaks of a cache';
    }
    $node->allow(qr/connect\(\) failed/);
    $node->quit;
};

$t->done;
