# The module in a full source tree of nginx: --with-compat --add-dynamic-module,
# and --add-module, both beside another module with a hiredis of its own.  The
# tree is that of LINES_NGINX_SOURCE, a release or a checkout, else the source
# package of the distribution's nginx, which then loads the module as well: it
# was configured without TLS, and that nginx has it.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Test::Lines::Once build => 'it builds what it looks at', store => 'any will do';

use Mojo::File qw(path);
use Test::Lines;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL CC CFLAGS)};

my $t = Test::Lines->new(timeout => 1150);

@ENV{qw(PATH CCACHE_DIR CCACHE_NOHASHDIR)} = ("/usr/lib/ccache:$ENV{PATH}", $t->dir . '/ccache', 1);

sub run ($command) {
    my $output = qx{cd @{[quotemeta $t->dir]} && { $command\n} 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

# with lists and a cache of its own: the machine's sources are left as they are
sub fetch () {
    return $ENV{LINES_NGINX_SOURCE} if $ENV{LINES_NGINX_SOURCE};

    my $dir  = path($t->build, 'nginx-source')->make_path;
    my $tree = sub { (grep { -x "$_/configure" && -d "$_/src/core" } glob "$dir/nginx-*")[0] };

    run(<<"END") unless $tree->();
cd $dir && mkdir -p lists/partial cache/archives/partial && . /etc/os-release &&
mirror=\$(apt-get indextargets --format '\$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*\$' | head -n 1) &&
test -n "\$mirror" && echo "deb-src \$mirror \$VERSION_CODENAME main" > list &&
apt="timeout 120 apt-get -qq -o Dir::Etc::SourceList=$dir/list -o Dir::Etc::SourceParts=/dev/null \\
    -o Dir::State::Lists=$dir/lists -o Dir::Cache=$dir/cache -o APT::Sandbox::User=" &&
\$apt update && \$apt source nginx
END

    return $tree->();
}

my $source = fetch();

if (!$source) {
    diag 'no source tree of nginx here: set LINES_NGINX_SOURCE to try one';
    $t->skip_all('no source tree of nginx');
}

# Two trees are built, of no more than what is looked at, and what is the same in
# both is compiled once

my $options = join ' ', "--with-cc-opt=-O0 --with-compat --add-dynamic-module=@{[$t->dir]}/other",
  map {"--without-http_${_}_module"} qw(gzip charset ssi userid autoindex geo split_clients referer grpc
  memcached limit_conn limit_req empty_gif browser mirror);

# What any module with a hiredis inside is to the loader, nchan for one: it has
# all of its names, and shows them.  Each function of its own says so.

my $archive = qx{gcc -print-file-name=libhiredis.a} =~ s/\n//r;
my @names   = map { /^\S+ T (\w+)$/ ? $1 : () } split /\n/, qx{nm -g --defined-only $archive};

$t->file('other/names.c', join "\n", map {"long $_(void);\nlong $_(void) { return 4242; }"} @names);
$t->file('other/config', <<'END');
ngx_addon_name=ngx_http_other_module
ngx_module_type=HTTP
ngx_module_name=$ngx_addon_name
ngx_module_incs=
ngx_module_deps=
ngx_module_libs=
ngx_module_srcs="$ngx_addon_dir/other.c $ngx_addon_dir/names.c"
. auto/module
END
$t->file('other/other.c', <<"END");
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

@{[map {"long $_(void);\n"} @names]}
static ngx_int_t
handler(ngx_http_request_t *r)
{
    size_t                     i;
    ngx_str_t                  type = ngx_string("text/plain");
    ngx_http_complex_value_t   answer;
    static long              (*names[])(void) = { @{[join ', ', @names]} };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i]() != 4242) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ngx_memzero(&answer, sizeof(ngx_http_complex_value_t));
    ngx_str_set(&answer.value, "its own");

    return ngx_http_send_response(r, NGX_HTTP_OK, &type, &answer);
}

static char *
other(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = handler;

    return NGX_CONF_OK;
}

static ngx_command_t  commands[] = {
    { ngx_string("other"), NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS, other, 0, 0, NULL },
    ngx_null_command
};

static ngx_http_module_t  context;

ngx_module_t  ngx_http_other_module = {
    NGX_MODULE_V1, &context, commands, NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING
};
END

my $redis = $t->redis;

sub serves (%options) {
    state $n = 0;

    my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=5s connect_timeout=10s', server => 'location = /other { other; }', %options);
    my $key   = $nginx->wait_redis->workspace('one' . ++$n => {plan => 'growth'});

    my $answer = $nginx->post_json('/api/line-requests',
        {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'}, $nginx->bearer($key));

    is $answer->status, 201, 'it serves' or diag $answer->to_string;
    ok $answer->header('X-Request-Id'), 'with the headers that are ours';
    is $answer->header('Cache-Control'), 'no-store', 'all of them';

    is $nginx->get('/other')->body, 'its own', 'the other module calls what is its own';
    unlike $nginx->error_log, qr/exited on signal/, 'and no worker has died';
    $nginx->quit;
}

sub shown ($file) {
    return {map { (split ' ')[-1] => 1 } split /\n/, qx{nm -D --defined-only \Q$file\E}};
}

my $dynamic = $t->dir . '/dynamic';
my $built   = "$dynamic/gcc-failpoints/ngx_http_lines_module.so";
my $objs    = "$dynamic/gcc-failpoints/nginx/objs";

subtest 'make NGINX_SRC=CHECKOUT' => sub {
    my ($code, $output) = run(<<"END");
mkdir checkout && tar -C $source --exclude=./.git --exclude=./objs -cf - . | tar -C checkout -xf - &&
{ test ! -f checkout/configure || mv checkout/configure checkout/auto/; } && mkdir checkout/.git &&
echo 'ref: refs/heads/master' > checkout/.git/HEAD && chmod -R a-w checkout && find checkout | sort > before
END
    is $code, 0, 'as git has it: configure in auto/' or return diag $output;

    # as "make test-nginx" does it: module and nginx
    ($code, $output) = run("make -C @{[$t->root]} module $objs/nginx FAILPOINTS=1 CFLAGS=-O0 HARDENING= BUILD=$dynamic "
          . "NGINX_SRC=@{[$t->dir]}/checkout NGINX_CONFIGURE=\"$options\"");
    is $code, 0, 'the dynamic module is built, and the nginx of that tree' or diag $output;
    like $output, qr/for nginx \d+\.\d+\.\d+/, 'and says for which nginx';

    is +(run('find checkout | sort | diff before -'))[1], '', 'nothing is written to the checkout';
    ok !-e "$dynamic/gcc-failpoints/nginx/.git", 'its history is not copied';
    unlike path("$objs/ngx_auto_config.h")->slurp, qr/NGX_HTTP_SSL/, 'and it is without a word of TLS';
    run('chmod -R u+w checkout');
};

subtest 'without TLS, in an nginx that has it: what is verified is verified' => sub {
    plan skip_all => 'another nginx than the distribution\'s' if $ENV{LINES_NGINX_SOURCE} || $ENV{LINES_NGINX};

    for my $test (qw(06-guarded-calls 34-billing-config 56-clerk-tls)) {
        local @ENV{qw(LINES_MODULE LINES_MODULE_FAILPOINTS LINES_BUILD)} = ($built, $built, $dynamic);
        my ($code, $output) = run("cd @{[quotemeta $t->root]} && $^X t/$test.t");
        is $code, 0, "t/$test.t" or diag $output;
    }
};

subtest 'that module in that nginx' => sub {
    my $other = "load_module $objs/ngx_http_other_module.so;";

    is_deeply [sort keys %{shown($built)}], [qw(ngx_module_names ngx_module_order ngx_modules)],
      'the module shows what nginx takes of it, and no more';

    serves(binary => "$objs/nginx", module => $built, main   => $other);
    serves(binary => "$objs/nginx", module => $built, before => $other);
};

subtest 'configure --add-module' => sub {
    my ($code, $output) = run(<<"END");
mkdir static && tar -C $source --exclude=./.git --exclude=./objs -cf - . | tar -C static -xf - && cd static &&
configure=./configure && { test -f \$configure || configure=auto/configure; } &&
{ \$configure $options --add-module=@{[$t->root]} > configure.log ||
  { tail configure.log; exit 1; }; } &&
make -s -j2
END
    is $code, 0, 'nginx is built with it inside' or return diag $output;

    my $shown = shown($t->dir . '/static/objs/nginx');
    is_deeply [grep { $shown->{$_} } @names], [], 'its hiredis is not to be seen';
    ok $shown->{$_}, "nginx' own is: $_" for qw(ngx_pcalloc ngx_http_core_module ngx_http_send_response);

    serves(
        binary => $t->dir . '/static/objs/nginx',
        module => '',
        main   => "load_module @{[$t->dir]}/static/objs/ngx_http_other_module.so;"
    );
};

$t->done;
