# The module in a full source tree of nginx: --with-compat --add-dynamic-module,
# and --add-module.  The tree is that of LINES_NGINX_SOURCE, else the source
# package of the distribution's nginx.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

BEGIN {
    plan skip_all => 'built once, with the release build' if $ENV{LINES_PRELOAD};
}

use Mojo::File qw(path);
use Test::Lines;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL CC CFLAGS)};

my $t = Test::Lines->new(timeout => 1000);

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

subtest 'make NGINX_SRC=TREE' => sub {
    my ($code, $output) = run("make -C @{[$t->root]} module BUILD=@{[$t->dir]}/dynamic NGINX_SRC=$source");
    is $code, 0, 'the dynamic module is built' or diag substr $output, -2000;
    like $output, qr/for nginx \d+\.\d+\.\d+/, 'and says for which nginx';
};

subtest 'configure --add-module' => sub {
    my ($code, $output) = run(<<"END");
cp -R $source static && cd static &&
./configure --with-cc-opt=-O0 --with-compat --with-debug --with-http_ssl_module --with-http_v2_module \\
    --without-http_gzip_module --add-module=@{[$t->root]} > configure.log || { tail configure.log; exit 1; }
make -s -j2
END
    is $code, 0, 'nginx is built with it inside' or return diag substr $output, -2000;

    my $redis = $t->redis;
    my $nginx = $t->nginx(binary => $t->dir . '/static/objs/nginx', module => '', redis => $redis);
    my $key   = $nginx->workspace(one => {plan => 'growth'});

    my $answer = $nginx->post_json('/api/line-requests',
        {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'}, $nginx->bearer($key));

    is $answer->status, 201, 'and serves' or diag $answer->to_string;
    ok $answer->header('X-Request-Id'), 'with the headers that are ours';
    is $answer->header('Cache-Control'), 'no-store', 'all of them';
};

subtest 'load_module in an nginx that is built from the same tree' => sub {
    my ($code, $output) = run(<<"END");
cp -R $source plain && cd plain &&
./configure --with-cc-opt=-O0 --with-compat --without-http_gzip_module > configure.log || { tail configure.log; exit 1; }
make -s -j2
END
    is $code, 0, 'a plain nginx, --with-compat' or return diag substr $output, -2000;

    ($code, $output) = $t->test_config(
        binary => $t->dir . '/plain/objs/nginx',
        module => $t->dir . '/dynamic/gcc/ngx_http_lines_module.so'
    );
    is $code, 0, 'takes it' or diag $output;
};

$t->done;
