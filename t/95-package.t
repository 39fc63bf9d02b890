# Debian's package, as "make deb" makes it: what is in it, what it needs, and what lintian says. docker/bare-package.sh is
# its life on a host.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Test::Lines::Once build => 'it builds what it looks at', store => 'nothing is stored';

use Mojo::File qw(path);
use Test::Lines;

my $t    = Test::Lines->new(timeout => 900);
my $root = $t->root;
my $name = 'libnginx-mod-http-lines';

if (my @missing = grep { !-e "/usr/bin/$_" } qw(dh dh_nginx dpkg-buildpackage lintian)) {
    $t->skip_all("not installed: @missing: see conf/packages.sh") unless $ENV{CI};
    die "not installed: @missing\n";
}

$t->skip_all("the package is for Debian's nginx") if $ENV{LINES_NGINX};

sub run ($command) {
    my $output = qx{cd \Q$root\E && { $command\n} 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

my ($version) = path("$root/src/observe/observe.h")->slurp =~ /^#define LINES_VERSION  "(.*)"$/m;

# the page of "make docs", where it was made; else what stands for it
my $page = path($t->dir, 'build/docs')->make_path->child('api.html');
system 'cp', -e "$root/build/docs/api.html" ? "$root/build/docs/api.html" : $t->file('api.html', '<!DOCTYPE html><title>Lines</title>'), $page;

my ($code, $output) = run('sh docker/deb.sh ' . quotemeta $t->dir . '/build');
is $code, 0, 'it is built' or diag $output;
my ($deb) = $output =~ m{^(/\S+\.deb)$}m or die "no package: $output\n";
my $dir = $t->dir . '/root';
is((run("dpkg-deb -x \Q$deb\E \Q$dir\E"))[0], 0, 'it is one');

subtest 'what it says' => sub {
    my %field = (run("dpkg-deb -f \Q$deb\E"))[1] =~ /^([\w-]+): (.*)$/mg;
    my ($abi) = path('/usr/share/nginx/src/debian/libnginx-mod.abisubstvars')->slurp =~ /^nginx:abi=(\S+)$/m;

    is $field{Package}, $name, 'its name';
    like $field{Version}, qr/^\Q$version\E\+[a-z]+[\d.]*$/, "the module's version, and the release that it is for";
    is_deeply [grep {/^nginx-abi/} split /, /, $field{Depends}], [$abi], 'it wants the nginx that it was built for';
    is_deeply [grep { !/^(?:nginx-abi-\S+|libc6|libjansson4|libssl3\S*|libjs-chart\.js)(?: |$)/ } split /, /, $field{Depends}], [], 'jansson, OpenSSL and what draws plots, and nothing else';
};

subtest 'what is in it' => sub {
    my $doc  = "usr/share/doc/$name";
    my @conf = map { substr $_, length "$root/conf/" } glob "$root/conf/*.md $root/conf/*.conf $root/conf/*.yaml $root/conf/api/*.md $root/conf/api/*.yaml $root/conf/*/*.yml $root/conf/grafana/*.json";
    my @want = (
        'usr/lib/nginx/modules/ngx_http_lines_module.so', 'usr/share/nginx/modules-available/mod-http-lines.conf',
        'usr/share/lines/api.html', (map {"usr/share/lines/console/$_"} qw(index.html console.css console.js)), 'usr/share/man/man7/ngx_http_lines_module.7.gz', "$doc/README.md", "$doc/copyright", "$doc/changelog.gz",
        (map {"$doc/conf/$_"} @conf), map {"$doc/examples/$_.conf"} qw(lines log-json redis redis-limits)
    );

    is_deeply [sort map { substr $_, length "$dir/" } split /\n/, qx{find \Q$dir\E ! -type d}], [sort @want], 'the files';
    is path("$dir/usr/share/nginx/modules-available/mod-http-lines.conf")->slurp, "load_module modules/ngx_http_lines_module.so;\n", 'what loads it';

    for my $page (glob "$dir/$doc/*.md $dir/$doc/conf/*.md $dir/$doc/conf/api/*.md") {
        my $from = path($page)->dirname;
        is_deeply [grep { !-e "$from/$_" } path($page)->slurp =~ /\]\(((?!http)[^)#]+)/g], [], path($page)->basename . ': its links lead somewhere';
    }

    ok -s "$dir/$doc/examples/lines.conf", 'the configuration to copy';
};

subtest 'the manual page' => sub {
    my $page = qx{gzip -dc \Q$dir\E/usr/share/man/man7/ngx_http_lines_module.7.gz};
    my @there = path("$root/conf/directives.md")->slurp =~ /^### (lines_\w+)/gm;

    is_deeply [$page =~ /^\.SS (\S+)$/gm], \@there, 'has every directive, in its order';
    like $page, qr/^\\fB$_\\fR.*;$/m, "$_: its syntax" for @there;
    unlike $page, qr/\*|`|<br>|\]\(/, 'no marks are left';

    SKIP: {
        skip 'groff is not installed', 1 unless -x '/usr/bin/groff';
        my ($code, $said) = run("gzip -dc \Q$dir\E/usr/share/man/man7/ngx_http_lines_module.7.gz | groff -man -Tutf8 -ww -z");
        is $said, '', 'groff has no complaint';
    }
};

subtest 'the module' => sub {
    my $nginx = $t->nginx(module => "$dir/usr/lib/nginx/modules/ngx_http_lines_module.so", redis => $t->redis);
    $nginx->wait_redis;
    is $nginx->get('/_lines/ready')->json('/version/lines'), $version, 'runs, and is of this version';
    $nginx->quit;
};

subtest 'lintian' => sub {
    my ($changes) = glob $t->dir . '/build/deb/*.changes';
    my ($code, $said) = run("lintian --allow-root --fail-on error \Q$changes\E");
    is $code, 0, 'no error';
    diag $said if $code || $said =~ /\S/;
};

$t->done;
