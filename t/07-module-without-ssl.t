# The module as README says for other nginxes, configured with --with-compat and nothing else, in an nginx that has TLS: the
# tests of verified TLS hold as they do for one that was configured as nginx was.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Test::Lines::Once build => 'it builds what it looks at', store => 'any will do', system => 'its configure is the same';

use Mojo::File qw(path);
use Test::Lines;

delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL CC CFLAGS)};

my $t      = Test::Lines->new(timeout => 1100);
my $source = '/usr/share/nginx/src';
my $build  = $t->dir . '/build';

$t->skip_all('no nginx-dev') unless -f "$source/conf_flags";

sub run ($command) {
    my $output = qx{cd @{[quotemeta $t->root]} && { $command\n} 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

# what Debian's nginx was configured with stays out
my ($code, $output) = run(<<"END");
cp -R $source $build-source && rm $build-source/conf_flags &&
make FAILPOINTS=1 CFLAGS=-O0 HARDENING= BUILD=$build NGINX_SRC=$build-source NGINX_CONFIGURE=--with-compat module
END
is $code, 0, 'the module is built' or diag substr $output, -2000;

my $module = "$build/gcc-failpoints/ngx_http_lines_module.so";
unlike path("$build/gcc-failpoints/nginx/objs/ngx_auto_config.h")->slurp, qr/NGX_HTTP_SSL/, 'without a word of TLS';

for my $test (qw(06-guarded-calls 34-billing-config 56-clerk-tls)) {
    local @ENV{qw(LINES_MODULE LINES_MODULE_FAILPOINTS LINES_BUILD)} = ($module, $module, $build);
    ($code, $output) = run("$^X t/$test.t");
    is $code, 0, "t/$test.t" or diag $output;
}

$t->done;
