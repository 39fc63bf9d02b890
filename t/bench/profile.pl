#!/usr/bin/env perl
# Instructions of the worker for each request, by who spends them: callgrind, so that a busy machine does not matter.
#
# usage: LINES_MODULE=… LINES_BUILD=… perl t/bench/profile.pl [rows]
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Mojo::File qw(path);
use Test::Lines;
use Test::More ();

my @rows = @ARGV ? @ARGV : qw(return gif auth lease read);
my ($few, $many) = (100, 2100);

my $t   = Test::Lines->new(timeout => 3600);
my $dir = path($t->dir);
my ($redis, $limits) = map { $t->redis(name => $_, conf => "appendonly no\nsave \"\"") } qw(main limits);
my ($auth, $id);

# what Test::Lines::Nginx runs in memcheck
$dir->child('bin')->make_path->child('valgrind')->spurt(<<"END")->chmod(0755);
#!/bin/sh
while :; do case \$1 in -*) shift;; *) break;; esac; done
exec /usr/bin/valgrind -q --tool=callgrind --vgdb-prefix=$dir/vgdb --callgrind-out-file=$dir/out.%p "\$@"
END

sub node () {
    return $t->nginx(
        redis => $redis, workers => 1, plans => "lines_plan bench phone included=100000000;\n",
        http   => 'lines_redis limits ' . $limits->url . '; keepalive_requests 1000000; access_log off;',
        api    => 'lines_rate_limit rate=100000r/s burst=1000000 name=api;',
        server => "access_log off;\nlocation = /return { default_type application/json; return 200 '" . 'x' x 330 . "'; }\n" . <<'END');
location = /gif { empty_gif; }
location = /auth { lines_auth workspace; empty_gif; }
location = /lease { lines_auth workspace; lines_rate_limit rate=100000r/s burst=1000000 name=lease; empty_gif; }
END
}

sub ask ($nginx, $row, $n) {
    my $path   = $row eq 'read' ? "/api/line-requests/$id" : "/$row";
    my $socket = $nginx->socket;

    for (1 .. $n) {
        my $in = '';
        syswrite $socket, "GET $path HTTP/1.1\r\nHost: x\r\nAuthorization: $auth->{Authorization}\r\n\r\n";
        sysread $socket, $in, 65536, length $in or die "$row: closed after $in" until $in =~ /\r\n\r\n/;
        $in =~ m{^HTTP/1\.1 200 } or die "$row: $in";
        my $all = $+[0] + $1 if $in =~ /^Content-Length: (\d+)\r\n.*?\r\n\r\n/ims;
        sysread $socket, $in, 65536, length $in or die "$row: closed after $in" while length $in < $all;
    }
}

# of a worker that answered so many: instructions by place, of a function itself and with what it calls
sub counted ($row, $n) {
    local @ENV{qw(LINES_VALGRIND PATH)} = (1, "$dir/bin:$ENV{PATH}");
    my $nginx = node();

    # until it has a share, and all is known
    $t->wait_for(sub { ($nginx->get('/_lines/metrics')->body =~ /^lines_limit_nodes (\d+)/m)[0] }, 120, 'a share');
    ask($nginx, $row, 50 + $n);

    my ($pid) = $nginx->pids;
    $nginx->stop;

    my %count;
    for my $kind (qw(no yes)) {
        open my $out, '-|', 'callgrind_annotate', "--inclusive=$kind", '--threshold=100', '--auto=no', "$dir/out.$pid" or die $!;
        while (my $line = <$out>) {
            my ($ir, $where) = $line =~ /^\s*([\d,]+) (?:\([^)]*\)\s+)?(\S.*)$/ or next;
            $count{$kind}{$where =~ s/ \[\]$//r} += $ir =~ tr/,//dr;
        }
    }
    return \%count;
}

sub who ($where) {
    return 'libcrypto'            if $where =~ /libcrypto/;
    return 'libc: memory'         if $where =~ /malloc|\bfree|calloc|realloc|memalign/;
    return 'libc'                 if $where =~ /libc\.so|sysdeps|ld-linux/;
    return 'hiredis'              if $where =~ /redisReader|hiredis|\bsds|read\.c/;
    return "src/$1/"              if $where =~ m{src/(http|limit|store|auth|api|directive|operation)/\w+\.c:};
    return 'module, else'         if $where =~ /ngx_http_lines_module\.so/;
    return 'nginx';
}

{
    my $nginx = node();
    $nginx->wait_redis;
    $auth = $nginx->bearer($nginx->workspace(w => {plan => 'bench', subscription => 'active'}));
    $id   = $nginx->post_json('/api/line-requests', {firstName => 'Bench', lastName => 'x' x 16, channelType => 'phone'}, $auth)->json('/line/_id');
    $nginx->quit;
}

for my $row (@rows) {
    my ($less, $more) = map { counted($row, $_) } $few, $many;
    my (%each, %who, %all);

    for my $kind (qw(no yes)) {
        $each{$kind}{$_} = (($more->{$kind}{$_} // 0) - ($less->{$kind}{$_} // 0)) / ($many - $few) for keys %{$more->{$kind}};
    }

    delete @{$each{$_}}{grep {/PROGRAM TOTALS/} keys %{$each{$_}}} for qw(no yes);
    $who{who($_)} += $each{no}{$_} for keys %{$each{no}};
    $all{$row} += $_ for values %who;

    printf "\n%s: %.0f instructions a request\n", $row, $all{$row};
    printf "  %7.0f  %s\n", $who{$_}, $_ for sort { $who{$b} <=> $who{$a} } keys %who;

    for my $kind (qw(no yes)) {
        my @most = sort { $each{$kind}{$b} <=> $each{$kind}{$a} } keys %{$each{$kind}};
        printf "%s\n", $kind eq 'no' ? '  functions themselves' : '  with what they call';
        printf "  %7.0f  %s\n", $each{$kind}{$_}, s{^\S*/}{}r =~ s{\[\S*/}{[}r for @most[0 .. ($kind eq 'no' ? 24 : 149)];
    }
}

$t->done;
