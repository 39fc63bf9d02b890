# The build: what config looks for and says, the scripts that are embedded, and
# what make notices.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Test::Lines::Once build => 'it builds what it looks at', store => 'nothing is stored';

use Cwd ();
use Digest::SHA qw(sha1_hex);
use Mojo::File qw(path);
use Test::Lines;
use Test::Lines::Util qw(write_file);

delete @ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL CC CFLAGS)};

my $t    = Test::Lines->new(timeout => 1100);
my $root = $t->root;
my $tree = '/usr/share/nginx/src';

sub run ($command) {
    my $output = qx{cd @{[quotemeta $t->dir]} && { $command; } 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

# "--@again" is for those that only read; one that writes has it for a reason
subtest 'scripts that may be sent again' => sub {
    my %again = (
        line_begin => 'it finds the line that its first run made, and replies the same',
        key_add    => 'the key is listed then as before',
        due_put    => 'the same hint again, due a moment later',
        due_read   => 'what was late by a clock is late by it no more, what says nothing is gone, and the rest is told as before',
        audit_mark => 'what billing has shown is marked as shown then as before',
        audit_turn => 'whose turn it is by its first run, and where, it is and there by the second',
        database_check => 'what it wrote down it finds, and says the same',
        inv_fate   => 'a ticket that was told hears it once more, and who read it before comes too late as before',
        inv_page   => 'what quarantine has passed is free then as before',
        bound_read => 'a bucket that was emptier than empty is as empty then as it was, and what lay ahead of the clock is gone',
        key_update => 'what is merged is merged then as before, and a key that is gone stays so',
        key_used   => 'a day that was told is known by then',
        limit_put  => 'the rate is stored then as before',
        orphaned_add => 'a tenant that is there is there then as before',
        tenant_left => 'what went of its lists is gone from them then as before',
        stuck_put  => 'it is listed then as before, a moment later',
        window_read => 'what lay ahead of a clock that was set back is now then as before',
    );

    my %reads = map { $_ => 1 } qw(EXISTS GET HEXISTS HGET HGETALL HLEN HMGET HSCAN LINDEX LLEN LRANGE MGET PTTL SCARD SISMEMBER SMEMBERS SRANDMEMBER
        TIME TYPE ZCARD ZCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE XREVRANGE ZREVRANGEBYSCORE ZSCORE);
    my %writes = map { $_ => 1 } qw(DEL EXPIRE HDEL HINCRBY HSET HSETNX LPOP PERSIST PEXPIRE PUBLISH RPUSH SADD SET SREM UNLINK XADD ZADD ZREM ZREMRANGEBYSCORE);

    my @scripts = path("$root/src/store/scripts")->list->grep(qr/\.lua$/)->map('basename', '.lua')->each;
    my (@unmarked, @marked);

    for my $name (@scripts) {
        my $text   = qx{sh \Q$root\E/src/store/scripts/embed.sh \Q$root\E/src/store/scripts - $name};
        my $marked = path("$root/src/store/scripts/$name.lua")->slurp =~ /^--\@again$/m;

        # of what it includes, only what it calls
        $text =~ s/--.*//g;
        my %body;
        $text =~ s/^local function (\w+)(.*?)^end$/$body{$1} = $2; ''/gmse;

        my ($code, %seen) = ($text);
        while (my @more = grep { !$seen{$_} && $code =~ /\b$_\b/ } sort keys %body) {
            $seen{$_}++, $code .= $body{$_} for @more;
        }

        my @calls = $code =~ /redis\.p?call\(\s*(\S+?)[,)]/g;
        is_deeply [grep { !/^'(\w+)'$/ || !($reads{$1} || $writes{$1}) } @calls], [], "$name: its commands are known";

        my $writes = grep { $writes{tr/'//dr} } @calls;
        push @unmarked, $name if !$writes && !$marked;
        push @marked,   $name if $writes  && $marked;
    }

    is_deeply \@unmarked, [], 'what only reads is sent again';
    is_deeply \@marked, [sort keys %again], 'what writes is not, but for a reason';
};

subtest 'the module loads' => sub {
    my ($code, $output) = $t->test_config;
    is $code, 0, 'nginx -t' or diag $output;
    unlike $output, qr/warn|not binary compatible/, 'without a word of complaint';

    ($code, $output) = $t->test_config(http => 'lines_no_such_directive;');
    isnt $code, 0, 'and an error is one';
};

# configure's part that is the module's

sub config ($link, $vars, $path = $ENV{PATH}) {
    my $objs   = path($t->dir, 'config-objs')->make_path;
    my $script = $t->file('config.sh', <<"END");
CC=gcc NGX_OBJS=$objs NGX_AUTOTEST=$objs/autotest NGX_AUTOCONF_ERR=$objs/autoconf.err NGX_AUTO_CONFIG_H=$objs/config.h
NGX_ADDON_DEPS= DYNAMIC_MODULES= ngx_module_link=$link ngx_addon_dir=$root
$vars
. $root/config
echo "libraries:" \$ngx_module_libs
END
    return run("cd $tree && PATH=$path sh $script");
}

subtest 'configure names what is missing' => sub {
    plan skip_all => 'nginx-dev is not installed' unless -e "$tree/conf_flags";

    my %package = (
        'hiredis/async.h' => [qr/hiredis/,  'libhiredis-dev'],
        'jansson.h'       => [qr/jansson/,  'libjansson-dev'],
        'openssl/evp.h'   => [qr/OpenSSL/i, 'libssl-dev']
    );

    for my $header (sort keys %package) {
        my ($what, $package) = @{$package{$header}};

        # a compiler for which the header is not there
        my $cc = $t->file('cc', <<"END");
#!/bin/sh
for file; do
    case \$file in *.c) if grep -q '<$header>' "\$file"; then exit 1; fi ;; esac
done
exec gcc "\$@"
END
        chmod 0755, $cc;

        my ($code, $output) = config('DYNAMIC', "CC=$cc");

        isnt $code, 0, "no $header: configure ends";
        like $output, $what, 'says what it lacks';
        like $output, qr/apt-get install $package$/m, 'and which package has it';
    }

    my ($code, $output) = run("sh -c 'ngx_module_link=; ngx_addon_dir=$root; . $root/config'");
    is $code, 1, 'an nginx without dynamic modules is refused';
    like $output, qr/needs nginx 1\.9\.11 or newer/, 'with a word';
};

subtest 'hiredis is linked from an archive' => sub {
    plan skip_all => 'nginx-dev is not installed' unless -e "$tree/conf_flags";

    my $dir     = $t->dir . '/hiredis';
    my $archive = Cwd::abs_path(qx{gcc -print-file-name=libhiredis.a} =~ s/\n//r);

    path($dir, $_)->make_path for qw(mine bad bin);
    path($archive)->copy_to("$dir/mine");

    my ($code, $output) = config('DYNAMIC', '');
    is $code, 0, 'configure' or diag $output;
    my ($said) = $output =~ /^ \+ libhiredis\.a: (\S+)$/m;
    ok $said && -f $said && Cwd::abs_path($said) eq $archive, 'says which one is taken';
    like $output, qr{^libraries: -Wl,--exclude-libs,ALL -Wl,--version-script=\Q$root\E/src/ngx_http_lines_module\.map \Q$said\E }m,
      'and hides it';
    unlike $output, qr/-lhiredis/, 'no shared one is asked for';

    ($code, $output) = config('ADDON', '');
    like $output, qr{^libraries: -Wl,--exclude-libs,libhiredis\.a -Wl,--whole-archive \Q$said\E }m, 'within nginx: that archive alone is hidden';

    ($code, $output) = config('DYNAMIC', "NGX_LD_OPT=-L$dir/mine NGX_TEST_LD_OPT=-L$dir/mine");
    like $output, qr{^ \+ libhiredis\.a: \Q$dir\E/mine/libhiredis\.a$}m, 'the one of --with-ld-opt goes before';

    # a linker that finds none
    my $cc = $t->file('hiredis/cc', <<'END');
#!/bin/sh
case $* in *-l:libhiredis.a*) exit 1 ;; esac
exec gcc "$@"
END
    my $pc = $t->file('hiredis/bin/pkg-config', "#!/bin/sh\nexit 1\n");
    chmod 0755, $cc, $pc;

    ($code, $output) = config('DYNAMIC', "CC=$cc", "$dir/bin:$ENV{PATH}");
    isnt $code, 0, 'none at all: configure ends';
    like $output, qr/needs the archive of hiredis, libhiredis\.a/, 'says what it lacks';
    like $output, qr/apt-get install libhiredis-dev$/m, 'and which package has it';

    my ($include) = grep { -e "$_/hiredis/hiredis.h" } qw(/usr/local/include /usr/include);
    $t->file('hiredis/bin/pkg-config', <<"END");
#!/bin/sh
case \$* in *=libdir*hiredis) echo $dir/mine ;; *=includedir*hiredis) echo $include ;; *) exit 1 ;; esac
END
    chmod 0755, $pc;

    ($code, $output) = config('DYNAMIC', "CC=$cc", "$dir/bin:$ENV{PATH}");
    is $code, 0, 'one that pkg-config knows' or diag $output;
    like $output, qr{^ \+ libhiredis\.a: \Q$dir\E/mine/libhiredis\.a$}m, 'is taken';

    $t->file('hiredis/bad/a.c', <<'END');
int  value;
void *redisAsyncConnect(void) { return &value; }
void *redisAsyncConnectWithOptions(void) { return &value; }
void redisAsyncFree(void) { value++; }
END
    run("cd $dir/bad && gcc -fno-pic -c a.c && ar rcs libhiredis.a a.o");

    SKIP: {
        skip 'such code may be in a shared object here', 2 unless qx{uname -m} =~ /x86_64/;

        ($code, $output) = config('DYNAMIC', "NGX_LD_OPT=-L$dir/bad NGX_TEST_LD_OPT=\"-no-pie -L$dir/bad\"");
        isnt $code, 0, 'one that no shared object can hold: configure ends';
        like $output, qr/libhiredis\.a that was built with -fPIC/, 'and says what it needs';
    }
};

subtest 'the scripts are embedded to the byte' => sub {
    my $embed = "sh $root/src/store/scripts/embed.sh";

    path($t->dir, $_)->make_path for qw(fake store scripts/lib);
    write_file($t->dir . '/fake/ngx_config.h', "#include <stddef.h>\n");
    write_file($t->dir . '/fake/ngx_core.h', <<'END');
typedef unsigned char u_char;
typedef unsigned long ngx_uint_t;
typedef struct { size_t len; u_char *data; } ngx_str_t;
#define ngx_string(s) { sizeof(s) - 1, (u_char *) s }
END
    write_file($t->dir . '/fake/main.c', <<'END');
#include <stdio.h>
#include "store/scripts.h"
int
main(void)
{
    lines_script_t  **s;

    for (s = lines_scripts; *s; s++) {
        printf("%s %zu ", (char *) (*s)->name.data, (*s)->source.len);
        printf("%s\n", (char *) (*s)->sha1.data);
        fwrite((*s)->source.data, 1, (*s)->source.len, stdout);
    }
    return 0;
}
END

    my $show = "gcc -o show -Wall -Wextra -Werror -Ifake -I. -I$root/src fake/main.c store/scripts.c && ./show";

    my ($code, $output) = run("$embed $root/src/store/scripts store && $show");
    is $code, 0, 'made' or return diag $output;

    my @names = map { path($_)->basename('.lua') } glob "$root/src/store/scripts/*.lua";
    my %seen;

    while ($output =~ s/^(\w+) (\d+) (\w+)\n//) {
        my ($name, $source, $sha1) = ($1, substr($output, 0, $2, ''), $3);
        my (undef, $expected) = run("$embed $root/src/store/scripts - $name");

        $seen{$name} = $source eq $expected && sha1_hex($source) eq $sha1 && $source !~ /^--\@include/m;
    }

    is_deeply [sort grep { $seen{$_} } keys %seen], [sort @names], 'each with its source, its includes and its digest';

    write_file($t->dir . '/scripts/a.lua', qq(--\@include lib/x.lua\nreturn "a\\\\b ??/ \t %s \xc3\xa9" -- */ /*\n));
    write_file($t->dir . '/scripts/lib/x.lua', "--\@include lib/y.lua\nlocal x = 1");
    write_file($t->dir . '/scripts/lib/y.lua', "-- y\n");

    ($code, $output) = run("rm store/*; $embed scripts store && $show");
    my $source = "-- y\nlocal x = 1\nreturn \"a\\\\b ??/ \t %s \xc3\xa9\" -- */ /*\n";
    is $output, join(' ', 'a', length $source, sha1_hex($source)) . "\n$source", 'whatever is in them';

    my $before = (stat $t->dir . '/store/scripts.c')[1];
    run("$embed scripts store");
    is +(stat $t->dir . '/store/scripts.c')[1], $before, 'what has not changed is left alone';

    write_file($t->dir . '/scripts/lib/y.lua', "--\@include lib/none.lua\n");
    ($code, $output) = run("$embed scripts store");
    isnt $code, 0, 'a missing piece is an error';
    like $output, qr{cannot read scripts/lib/none\.lua}, 'that names it';

    unlink $t->dir . '/scripts/lib/y.lua';
    ($code, $output) = run("mv scripts/a.lua scripts/a-b.lua; $embed scripts store");
    isnt $code, 0, 'so is a name that is none in C';
};

subtest 'a path with a space is refused' => sub {
    my $there = $t->dir . '/sp ace';
    my ($code, $output) = run("mkdir '$there' && cp $root/Makefile '$there'/ && make -C '$there' module");
    isnt $code, 0, 'before anything is made or removed';
    like $output, qr/must not contain spaces: "[^"]*sp ace"/, 'and said';
    is_deeply [glob "'$there/*'"], ["$there/Makefile"], 'nothing was';
};

subtest 'make notices what has changed' => sub {
    plan skip_all => 'nginx-dev is not installed' unless -e "$tree/conf_flags";

    my $project = path($t->dir, 'project');

    $project->child('src/store/scripts')->make_path;
    $project->child('conf')->make_path;
    run("cp $root/config $root/Makefile project/; cp $root/src/*.map project/src/; cp $root/conf/packages.sh project/conf/;"
          . " cp $root/src/store/script.h project/src/store/; cp $root/src/store/scripts/embed.sh project/src/store/scripts/;"
          . " cp $root/src/store/generate.awk project/src/store/");
    write_file("$project/src/store/scripts/one.lua", "return 'first'\n");
    write_file("$project/src/ngx_http_lines_module.c", <<'END');
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "store/scripts.h"
static ngx_http_module_t  ctx;
ngx_module_t  ngx_http_lines_module = {
    NGX_MODULE_V1, &ctx, NULL, NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING
};
END

    my $so   = "$project/build/gcc/ngx_http_lines_module.so";
    my $make = sub { run('make -C project module') };
    my $has  = sub ($text) { index(path($so)->slurp, $text) >= 0 };

    my ($code, $output) = $make->();
    is $code, 0, 'a first build' or return diag $output;
    like $output, qr/for nginx \d+\.\d+\.\d+, signature \d,\d,\d,[01]+/, 'says for which nginx it is';
    ok $has->("return 'first'"), 'with its script';

    # as gcc writes down what it was told
    my $machine = qx{gcc -dumpmachine};
    ok $has->($_), "built with $_" for '-fstack-clash-protection', '-fstack-protector-strong',
      $machine =~ /^(?:x86_64|i\d86)-/ ? '-fcf-protection' : (), $machine =~ /^aarch64-/ ? '-mbranch-protection=standard' : ();

    my $before = (stat $so)[9] + (stat _)[1];
    $make->();
    is +(stat $so)[9] + (stat _)[1], $before, 'nothing changed, nothing done';

    write_file("$project/src/store/scripts/one.lua", "return 'second'\n");
    $make->();
    ok $has->("return 'second'"), 'a changed script';

    write_file("$project/src/store/new.c", "int  lines_new_symbol = \"no\";\n");
    ($code, $output) = $make->();
    isnt $code, 0, 'an error in a new source is one';

    write_file("$project/src/store/new.c", "int  lines_new_symbol = 1;\n");
    ($code, $output) = $make->();
    ok $has->('lines_new_symbol'), 'a new source' or diag $output;

    unlink "$project/src/store/new.c";
    is +($make->())[0], 0, 'a source that is gone';
    ok !$has->('lines_new_symbol'), 'is gone from the module';

    my @strays = grep { !m{^(?:config|Makefile|conf/packages\.sh|src/)} } map { path($_)->to_rel($project) }
      path($project)->list_tree->grep(sub { !m{^\Q$project\E/build/} })->each;
    is_deeply \@strays, [], 'all of it out of the tree';
};

$t->done;
