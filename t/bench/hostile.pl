#!/usr/bin/env perl
# What an honest tenant has while 100 hostile ones and strangers offer 30,000
# requests a second to one worker: see README.md.
#
# usage: hostile.pl [SECONDS [TENANTS' RATE [STRANGERS' RATE]]]
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(max min sum0);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use POSIX ();
use Test::Lines;
use Test::Lines::Clerk;
use Time::HiRes qw(sleep time);

my ($seconds, $hostile, $strange) = @ARGV;
$seconds ||= 10;
$hostile ||= 20_000;
$strange ||= 10_000;

my $TENANTS = 100;
my $HONEST  = 40;       # requests a second, below its own rate
my $TICKETS = 100;      # lines_tenant_limits tickets=, its default

my $t = Test::Lines->new(timeout => 3600);

# the generator
my $offer = path($t->dir, 'offer');
system($ENV{CC} || 'cc', '-O2', '-o', "$offer", "$FindBin::Bin/offer.c") == 0 or die "offer.c does not compile\n";

my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->free_port;

# limits as in conf/lines.conf; a log as production has it; all that is hostile has one address, as all who
# sit behind one proxy would
my $nginx = $t->nginx(
    redis       => $redis,
    workers     => 1,
    zone        => 'lines:16m',
    concurrency => '',
    connections => 4000,
    main        => 'worker_rlimit_nofile 16384;',
    http        => "error_log error.log warn; access_log off; keepalive_requests 100000000;\n"
      . "upstream app { server 127.0.0.1:$app; keepalive 64; }\n"
      . "server { listen 127.0.0.1:$app; access_log off; location / { return 200 'application'; } }\n",
    server => $clerk->location . $clerk->directive(failed => undef) . <<'END',
access_log off;
location /gate/ { lines_auth workspace; lines_rate_limit rate=50r/s burst=100 key=tenant name=gate; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app; }
END
    api => 'access_log off; lines_rate_limit rate=50r/s burst=100 key=tenant name=api;'
);

sub request ($method, $path, $headers, $body = '') {
    my $text = "$method $path HTTP/1.1\r\nHost: lines\r\n" . join '', map {"$_: $headers->{$_}\r\n"} sort keys %$headers;
    $text .= "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n" if $method eq 'POST';
    return "$text\r\n$body\0";
}

my $line = encode_json({firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'});

# workspaces and accounts by half: what is cheap to ask, and what is kept
my (@workspaces, @accounts);
push @workspaces, $nginx->bearer($nginx->workspace("hostile$_")) for 1 .. $TENANTS / 2;
push @accounts,   $nginx->pair($nginx->account("hostile$_"))     for 1 .. $TENANTS / 2;

my $hostiles = $t->file('hostile', join '', map {
    my ($w, $a) = ($workspaces[$_], $accounts[$_]);
    (
        request(GET  => '/api/lines/by-user', $w), request(GET => '/gate/x', $w),
        request(POST => '/api/line-requests', {%$w, 'Idempotency-Key' => '@' x 16}, $line),
        request(GET  => '/accounts/lines', $a),
        request(POST => '/accounts/lines/add-line', $a, '{"line_request_type":"phone"}'),
        request(GET  => '/accounts/limits', $a)
    );
} 0 .. $TENANTS / 2 - 1);

# keys that nobody has, tokens that nobody signed, and nothing at all
my ($head, $payload, $signature) = split /\./, $clerk->token(org => 'hostile1');
my $strangers = $t->file('strangers', join '',
    request(GET => '/api/lines/by-user', {Authorization => 'Bearer tuco_' . '0' x 32 . '@' x 16}),
    request(GET => '/gate/x',            {Authorization => "Bearer $head.$payload." . '@' x 16 . substr $signature, 16}),
    request(GET => '/accounts/lines',    {'sb-api-key-id' => 'nobody' . '@' x 16, 'sb-api-secret-key' => 'x' x 40}),
    request(GET => '/api/lines/by-user', {}),
    request(GET => '/api/lines/by-user', {Authorization => "Bearer $head.$payload." . '@' x 16 . substr $signature, 16}));

my $me     = $nginx->bearer($nginx->workspace('honest'));
my $honest = $t->file('honest', request(GET => '/api/lines/by-user', $me) . request(GET => '/gate/x', $me));

# what begins hostile must not be what measures: it yields
sub offer ($rate, $time, $connections, $depth, $file, $nice = 0) {
    my $pid = open my $out, '-|', 'nice', '-n', $nice, "$offer", $nginx->port, $rate, $time, $connections, $depth, $file or die "offer: $!";
    return sub { my $text = join '', <$out>; close $out; decode_json($text || '{}') };
}

my $hz = POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub cpu ($pid) {
    open my $stat, '<', "/proc/$pid/stat" or return 0;
    my @field = split / /, <$stat> =~ s/^.*\) //r;
    return ($field[11] + $field[12]) / $hz;
}

# seconds that a process was ready to run, and no core was free for it
sub starved ($pid) {
    my @field = split / /, eval { path("/proc/$pid/schedstat")->slurp } // '';
    return ($field[1] // 0) / 1e9;
}

sub memory () { $redis->cli('INFO', 'memory')->{used_memory} }
sub keys_of () { $redis->cli('DBSIZE') }

sub sample ($pattern) {
    return sum0 map { /^$pattern (\d+)/ ? $1 : () } split /\n/, $nginx->get('/_lines/metrics')->body;
}

sub failed ($result) { sum0(map { $result->{codes}{$_} } grep { $_ < 200 || $_ > 299 } keys %{$result->{codes}}) + $result->{lost} + $result->{no_room} }

sub show ($name, $rate, $time, $result) {
    printf "%-22s offered %7.0f/s, sent %7.0f/s, answered %7.0f/s  p50 %8.2f  p99 %8.2f  (sent to answered: %.2f, %.2f)\n", $name, $rate,
      map({ $result->{$_} / $time } qw(sent answered)), @{$result}{qw(p50 p99 sent_p50 sent_p99)};
    printf "%-22s %s\n", '', join ', ', map {"$_: $result->{codes}{$_}"} sort keys %{$result->{codes}};
}

$nginx->wait_redis;
offer($HONEST, 1, 4, 8, $honest)->();
my $quiet = offer($HONEST, $seconds, 4, 8, $honest)->();

my ($worker)  = $nginx->pids;
my @before    = (memory(), keys_of());
my @running   = (offer($hostile, $seconds + 2, 200, 8, $hostiles, 5), offer($strange, $seconds + 2, 100, 8, $strangers, 5));
sleep 1;
my ($begun, @cpu) = (time, map { cpu($_), starved($_) } $worker, $redis->pid);
my $loud      = offer($HONEST, $seconds, 4, 8, $honest)->();
my $took      = time - $begun;
my @share     = map { my ($pid, $n) = @$_; map { 100 * $_ / $took } cpu($pid) - $cpu[$n], starved($pid) - $cpu[$n + 1] } [$worker, 0], [$redis->pid, 2];
my @results   = map { $_->() } @running;
my @after     = (memory(), keys_of());

my $cores = () = path('/proc/cpuinfo')->slurp =~ /^processor/mg;
my ($load) = split / /, path('/proc/loadavg')->slurp;
print "One worker; $cores cores for nginx, Redis and the generators; load average $load.  Waits in ms, from when a request was due.\n\n";
show('honest, quiet',     $HONEST, $seconds, $quiet);
show('honest, hostile',   $HONEST, $seconds, $loud);
show("$TENANTS hostile tenants", $hostile, $seconds + 2, $results[0]);
show('strangers',         $strange, $seconds + 2, $results[1]);

printf "\nCPU: worker %.0f %% of a core, and none was free for it for %.0f %% of the time; Redis %.0f %%, and %.0f %%\n", @share;
printf "session tokens: %d signatures good, %d bad, %d not looked at\n", map { sample(qr/lines_token_signatures_total\{result="$_"\}/) } qw(good bad refused);
printf "requests at once: %d refused; billing: %d calls\n", sample(qr/lines_concurrency_limited_requests_total\{outcome="refused"\}/), sample(qr/lines_billing_calls_total\{.*\}/);

# Redis: what stays, once what expires is gone; keys that a tenant may have
my $most = $TENANTS * ($TICKETS + 200);
printf "Redis: %.1f MB before, %.1f MB after; %d keys before, %d after: %d more, of %d that the bounds allow\n",
  $before[0] / 2**20, $after[0] / 2**20, $before[1], $after[1], $after[1] - $before[1], $most;

# A budget of calls to billing belongs here: with a sandbox for it, their rate
# is compared with "rate" of lines_billing.

my $bound   = max(3 * $quiet->{p99}, 10);
my @wrong;
push @wrong, sprintf('its p99 is %.2f ms, and may be %.2f', $loud->{p99}, $bound) if $loud->{p99} > $bound;
push @wrong, failed($loud) . ' of its requests failed'                            if failed($loud);
push @wrong, 'Redis has more keys than the bounds allow'                          if $after[1] - $before[1] > $most;

my $sent = ($results[0]{sent} + $results[1]{sent}) / ($seconds + 2);
printf "\nThe generators could offer %.0f of %.0f requests a second: no connection had room for the others, as nginx had not answered those before, or the generators had no time.\n", $sent, $hostile + $strange
  if $sent < 0.98 * ($hostile + $strange);
print "Others kept the cores from the worker: these figures are the machine's, run it on a calm one.\n" if $share[1] > 25;
print @wrong ? 'NOT HELD: ' . join('; ', @wrong) . "\n" : "Held: none of its requests failed, and its p99 is within $bound ms.\n";

$t->done;
exit(@wrong ? 1 : 0);
