# lines_auth has its place among the access modules, whatever else is loaded, and in which order: after allow and deny.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::Util qw(b64_encode);
use Test::More;
use Test::Lines;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $app   = $t->upstream(json => {from => 'upstream'});

# each stands in the access phase once its directive is used
my %other = (
    'auth_pam' => [['ngx_http_auth_pam_module'], '', 'auth_pam "none"; auth_pam_service_name "no-such-service";'],
    'lua'      => [['ndk_http_module', 'ngx_http_lua_module'], 'lua_load_resty_core off;',
        'access_by_lua_block { ngx.header["X-Lua"] = "seen" }'],
    'lua at once' => [['ndk_http_module', 'ngx_http_lua_module'], 'lua_load_resty_core off; access_by_lua_no_postpone on;',
        'access_by_lua_block { ngx.header["X-Lua"] = "seen" }'],
);

my $passwords = $t->file('passwords', "user:{PLAIN}secret\n");

sub nginx ($text, $order, $http, $directive) {
    my $nginx = $t->nginx(
        start => 0,
        redis => $redis,
        http  => $http,
        server => <<"END",
location /denied/ { allow 127.0.0.2; deny all; lines_auth workspace; proxy_pass @{[$app->url]}; }
location /any/    { satisfy any; allow 127.0.0.2; deny all; lines_auth workspace; proxy_pass @{[$app->url]}; }
location /open/   { allow 127.0.0.1; deny all; lines_auth workspace; proxy_pass @{[$app->url]}; }
location /basic/  { lines_auth workspace; auth_basic realm; auth_basic_user_file $passwords; proxy_pass @{[$app->url]}; }
location /request/ { lines_auth workspace; auth_request /never; proxy_pass @{[$app->url]}; }
location = /never { internal; return 403; }
location /other/  { $directive proxy_pass @{[$app->url]}; }
location = /closed { internal; lines_auth workspace; return 200 secret; }
location /both/   { $directive lines_auth workspace; proxy_pass @{[$app->url]}; }
END
    );
    $nginx->server($nginx->server . 'location /capture/ { content_by_lua_block { ngx.say(ngx.location.capture("/closed").status) } }')
      if $directive =~ /lua/;

    # main comes after the module; events cannot come before it
    if ($order eq 'after') { $nginx->main($text) }
    else                   { $nginx->before($text) }

    return $nginx->start;
}

sub judge ($what, $nginx) {
    my $key = $nginx->bearer($nginx->workspace("org_$nginx->{port}" => {plan => 'growth'}));

    is $nginx->get('/denied/x')->status,       403, "$what: deny comes before lines_auth";
    is $nginx->get('/denied/x', $key)->status, 403, "$what: for those with a key, too";
    is $nginx->get('/any/x')->status,          401, "$what: satisfy any, neither";
    is $nginx->get('/any/x', $key)->status,    200, "$what: satisfy any, the key";
    is $nginx->get('/open/x')->status,         401, "$what: who is allowed needs a key";
    is $nginx->get('/open/x', $key)->status,   200, "$what: and passes with it";

    my $answer = $nginx->get('/basic/x');
    is $answer->header('WWW-Authenticate'), 'Bearer', "$what: auth_basic comes after lines_auth";
    is $nginx->get('/basic/x', $key)->header('WWW-Authenticate'), 'Basic realm="realm"', "$what: and has its say";
    is $nginx->get('/request/x')->status,       401, "$what: auth_request comes after lines_auth";
    is $nginx->get('/request/x', $key)->status, 403, "$what: and has its say";

    # a subrequest of a module's own
    if ($what =~ /^lua/) {
        is $nginx->get('/capture/x')->body,       "401\n", "$what: a captured location is closed";
        is $nginx->get('/capture/x', $key)->body, "200\n", "$what: and open with a key";
    }

    $nginx->quit;
}

judge('nothing else', nginx('', 'after', '', ''));

for my $name (sort keys %other) {
    my ($load, $http, $directive) = @{$other{$name}};

  SKIP: {
        my $text = $t->load_modules(@$load) // skip "no $load->[-1] for this nginx", 1;
        # sanitizers are preloaded, and Lua's allocator cannot live beside them
        skip "$name under sanitizers", 1 if $ENV{LINES_PRELOAD} && $name =~ /lua/;

        judge("$name, $_ Lines", nginx($text, $_, $http, $directive)) for qw(before after);
    }
}

$t->done;
