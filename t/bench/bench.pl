#!/usr/bin/env perl
# Requests a second and CPU time of the worker for each, relative to the same
# nginx without the module's work.  See run.sh.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(sum);
use Test::Lines;

my ($rounds, $seconds) = @ARGV;
$rounds  ||= 5;
$seconds ||= 2;

die "wrk is not installed: apt-get install wrk\n" unless grep { -x "$_/wrk" } split /:/, $ENV{PATH};

my $t     = Test::Lines->new(timeout => 3600);
my $redis = $t->redis;

# which a build from before understands, too
$t->admin_token_file($t->file('admin.token', $t->admin_token));

# one worker, everything in one configuration: what differs is the location
sub nginx ($module) {
    my $app = $t->free_port;
    return $t->nginx(
        module  => $module,
        redis   => $redis,
        workers => 1,
        connections => 4000,
        main    => 'worker_rlimit_nofile 16384;',
        http    => <<"END",
keepalive_requests 1000000;
limit_req_zone \$http_authorization zone=bench:4m rate=1000000r/s;
upstream app { server 127.0.0.1:$app; keepalive 64; }
server { listen 127.0.0.1:$app; access_log off; location / { return 200 'application'; } }
END
        server => <<'END',
access_log off;
proxy_http_version 1.1;
proxy_set_header Connection "";
location = /return { return 200 'ok'; }
location = /gif { empty_gif; }
location = /auth { lines_auth workspace; empty_gif; }
location = /limit-req { limit_req zone=bench burst=1000000 nodelay; empty_gif; }
location = /lease { lines_auth workspace; lines_rate_limit rate=100000r/s burst=1000000 name=lease; empty_gif; }
location = /each { lines_auth workspace; lines_rate_limit rate=100000r/s burst=1000000 name=each sync=each; empty_gif; }
location = /proxy { proxy_pass http://app; }
location = /gateway { lines_auth workspace; lines_rate_limit rate=100000r/s burst=1000000 name=gateway; proxy_set_header Connection ""; proxy_set_header X-Tenant $lines_tenant; proxy_pass http://app; }
END
        api => 'access_log off; lines_rate_limit rate=100000r/s burst=1000000 name=api;'
    );
}

my $nginx = nginx($ENV{LINES_MODULE});

# another build of the module, side by side: what does a change cost?
my $other = $ENV{LINES_MODULE_BEFORE} && nginx($ENV{LINES_MODULE_BEFORE});

my $key  = $nginx->workspace(bench => {plan => 'growth'});
my $made = $nginx->post_json('/api/line-requests',
    {firstName => 'Bench', lastName => 'Mark', channelType => 'phone'}, $nginx->bearer($key))->json;
my $line = $made->{line}{_id} // die 'no line: ' . Mojo::JSON::encode_json($made);

# [name, path, the one that it is compared with]
my @contenders = (
    ['nginx: return 200',                   '/return',   undef],
    ['nginx: empty_gif',                    '/gif',      undef],
    ['nginx: limit_req',                    '/limit-req', '/gif'],
    ['lines_auth',                          '/auth',     '/gif'],
    ['lines_auth, limit leased',            '/lease',    '/gif'],
    ['lines_auth, limit each',              '/each',     '/gif'],
    ['nginx: proxy_pass',                   '/proxy',    undef],
    ['gateway: auth, leased limit, proxy',  '/gateway',  '/proxy'],
    ['API: a line, read by its id',         "/api/line-requests/$line", '/return'],
);

my $hz = POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub cpu ($pid) {
    open my $stat, '<', "/proc/$pid/stat" or return 0;
    my @field = split / /, <$stat> =~ s/^.*\) //r;
    return ($field[11] + $field[12]) / $hz;
}

sub measure ($nginx, $path, $time) {
    my ($worker) = $nginx->pids;
    my @before = (cpu($worker), cpu($redis->pid));

    open my $wrk, '-|', 'wrk', '-t1', '-c64', "-d${time}s", '--latency', '-H', "Authorization: Bearer $key", $nginx->url($path) or die;
    my $out = join '', <$wrk>;
    close $wrk;

    my @after = (cpu($worker), cpu($redis->pid));
    my ($requests) = $out =~ /(\d+) requests in/ or die $out;
    die "$path: $out" if $out =~ /Non-2xx/;

    my ($p99, $unit) = $out =~ /99%\s+([\d.]+)(us|ms|s)/;

    return {
        rate   => ($out =~ m{Requests/sec:\s+([\d.]+)})[0],
        cpu    => ($after[0] - $before[0]) / $requests * 1e6,
        redis  => ($after[1] - $before[1]) / $requests * 1e6,
        p99    => $p99 * {us => 0.001, ms => 1, s => 1000}->{$unit}
    };
}

sub median (@values) { return (sort { $a <=> $b } @values)[$#values / 2] }

my (%rounds, %ratios);
for my $contender (@contenders) { measure($_, $contender->[1], 1) for grep {$_} $nginx, $other }

for my $round (1 .. $rounds) {
    for my $path (map { $_->[1] } @contenders) {
        my $now = measure($nginx, $path, $seconds);
        push @{$rounds{$path}}, $now;
        push @{$ratios{$path}}, $now->{cpu} / measure($other, $path, $seconds)->{cpu} if $other;
    }
    print STDERR "round $round of $rounds\n";
}

my %median = map {
    my $path = $_;
    $path => {map { my $what = $_; $what => median(map { $_->{$what} } @{$rounds{$path}}) } qw(rate cpu redis p99)}
} keys %rounds;

printf "%-38s %9s %9s %9s %8s   %s\n", '', 'req/s', 'nginx us', 'redis us', 'p99 ms', 'of';

for (@contenders) {
    my ($name, $path, $base) = @$_;
    my $m = $median{$path};
    my $ratio = $base ? sprintf '%.2f of %s (CPU x%.2f)', $m->{rate} / $median{$base}{rate}, $base, $m->{cpu} / $median{$base}{cpu} : '';
    $ratio .= sprintf ' CPU x%.3f (%.3f to %.3f) of the build before', median(@{$ratios{$path}}), (sort { $a <=> $b } @{$ratios{$path}})[0, -1] if $other;
    printf "%-38s %9.0f %9.1f %9.1f %8.1f   %s\n", $name, @$m{qw(rate cpu redis p99)}, $ratio;
}

print "\nMedians of $rounds rounds of $seconds s; one worker, 64 connections; the load generator, Redis and nginx share the machine.\n";

$t->done;
