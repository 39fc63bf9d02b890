#!/usr/bin/env perl
# What an honest tenant has while 100 hostile ones and strangers offer 30,000
# requests a second to one worker: see README.md.
#
# usage: hostile.pl [SECONDS [TENANTS' RATE [STRANGERS' RATE]]]
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Handle;
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

# the generator, and what looks into the worker's loop
my $offer = path($t->dir, 'offer');
my $loop  = path($t->dir, 'loop.so');
my $turns = path($t->dir, 'turns');

sub compile (@args) { system($ENV{CC} || 'cc', '-O2', '-o', @args) == 0 or die "@args: does not compile\n" }
compile("$offer", "$FindBin::Bin/offer.c");
compile("$loop", '-shared', '-fPIC', "$FindBin::Bin/loop.c", '-ldl');

# The worker has a core of its own; all that would stand on other machines has the others: generators, Redis, the
# application, the honest client, and this program, whose children are where it is.
my $cores = () = path('/proc/cpuinfo')->slurp =~ /^processor/mg;
my $apart = $cores > 1 && system("taskset -pc 1-@{[$cores - 1]} $$ > /dev/null 2>&1") == 0;

# There what answers comes before what offers, and the honest client before all, and all of them before what else the
# machine does: by the kernel's own order where that is allowed.  What offers has no part in that order, of which a core
# gives all together 95 % at most, and nobody the rest; it has the most of what is left, as one that waits offers in bursts.
my $first = system('chrt -f 1 true 2> /dev/null') == 0;

sub first ($rank, @pids) {
    system("chrt -a -f -p $rank $_ > /dev/null") for $first ? @pids : ();
}

my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);

# who answers behind the gateway is no part of what is measured
my $app = $t->nginx(
    name        => 'app',
    connections => 500,
    http        => 'access_log off; keepalive_requests 100000000;',
    server      => "access_log off; location / { return 200 'application'; }"
);

# limits as in conf/lines.conf; all that is hostile has one address, as all who sit behind one proxy would
local @ENV{qw(LD_PRELOAD LINES_LOOP)} = ("$loop", "$turns");
my $nginx = $t->nginx(
    redis       => $redis,
    workers     => 1,
    zone        => 'lines:16m',
    concurrency => '',
    connections => 4000,
    main        => 'worker_rlimit_nofile 16384;' . ($apart ? 'worker_cpu_affinity ' . '0' x ($cores - 1) . '1;' : ''),
    http        => "error_log error.log warn; access_log off; keepalive_requests 100000000;\n"
      . "log_format times '\$request_time';\n"
      . "upstream app { server 127.0.0.1:@{[$app->port]}; keepalive 64; }\n",
    server => $clerk->location . $clerk->directive(failed => undef) . <<'END',
access_log times.log times if=$http_x_honest;
location = /status { stub_status; access_log off; }
location /gate/ { lines_auth workspace; lines_rate_limit rate=50r/s burst=100 key=tenant name=gate; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app; }
END
    api => 'lines_rate_limit rate=50r/s burst=100 key=tenant name=api;'
);
delete @ENV{qw(LD_PRELOAD LINES_LOOP)};

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

my $me     = {%{$nginx->bearer($nginx->workspace('honest'))}, 'X-Honest' => 1};
my $honest = $t->file('honest', request(GET => '/api/lines/by-user', $me) . request(GET => '/gate/x', $me));

sub offer ($how, @args) {
    my @order = !$first ? ('nice', '-n', $how eq 'first' ? 0 : 5) : $how eq 'first' ? qw(chrt -f 3) : qw(nice -n -20);
    my $pid   = open my $out, '-|', @order, "$offer", $nginx->port, @args or die "offer: $!";
    return sub { my $text = join '', <$out>; close $out; decode_json($text || '{}') };
}

sub ask_honest () { offer(first => $HONEST, $seconds, 4, 8, $honest)->() }

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

# of each core, seconds that it worked, and that another guest of its machine had it
sub work () {
    my $text = path('/proc/stat')->slurp;
    return map { my @n = split ' '; [(sum0(@n[0 .. 2, 5, 6]) / $hz, ($n[7] // 0) / $hz)] } $text =~ /^cpu\d+ (.*)$/mg;
}

# what loop.c counts
sub turns () { [-e $turns ? unpack 'Q*', $turns->slurp : ()] }

# of the turns between two of these: how many, their events, the share of the time; the length of the turn that
# a moment falls into, by share of the moments
sub between ($from, $to, $took) {
    my @n = map { $to->[$_] - ($from->[$_] // 0) } 0 .. $#$to;
    my ($count, $events, $us, @by) = @n ? @n : (0, 0, 0);
    my %share = (0.5 => 0, 0.99 => 0, 0.999 => 0, 1 => 0);

    for my $share (keys %share) {
        my $sum = $took * 1e6 - $us;    # asleep: who comes then waits for nothing
        for my $step (0 .. @by / 2 - 1) {
            last if $sum >= $share * $took * 1e6;
            next unless $by[2 * $step];
            $sum += $by[2 * $step + 1];
            $share{$share} = ($step + 1) / 10;
        }
    }

    return {turns => $count / $took, events => $events / max($count, 1), busy => 100 * $us / 1e6 / $took, share => \%share};
}

sub times_of ($from) {
    my $file = path($nginx->home, 'times.log');
    my @times = sort { $a <=> $b } map { 1000 * $_ } split /\n/, substr -e $file ? $file->slurp : '', $from;
    return map { $_ // 0 } scalar @times, @times[map { int $_ * $#times } 0.5, 0.99, 1];
}

sub requests () { ($nginx->get('/status')->body =~ /^ \d+ \d+ (\d+)/m)[0] }
sub times_size () { -s path($nginx->home, 'times.log') // 0 }

# how long Redis took for a command, as the worker sees it: the histogram since another look at it
sub operations () {
    return {$nginx->get('/_lines/metrics')->body =~ /^lines_redis_operation_duration_seconds_bucket\{le="([^"]+)"\} (\d+)/mg};
}

sub share_of ($from, $to, $share) {
    my @bounds = sort { ($a eq '+Inf' ? 1e9 : $a) <=> ($b eq '+Inf' ? 1e9 : $b) } keys %$to;
    my $all    = $to->{'+Inf'} - ($from->{'+Inf'} // 0);

    for (@bounds) { return $_ eq '+Inf' ? 'more' : 1000 * $_ if $to->{$_} - ($from->{$_} // 0) >= $share * $all }
    return 0;
}

sub memory () { $redis->cli('INFO', 'memory')->{used_memory} }
sub keys_of () { $redis->cli('DBSIZE') }

sub sample ($pattern) {
    return sum0 map { /^$pattern (\d+)/ ? $1 : () } split /\n/, $nginx->get('/_lines/metrics')->body;
}

sub failed ($result) { sum0(map { $result->{codes}{$_} } grep { $_ < 200 || $_ > 299 } keys %{$result->{codes}}) + $result->{lost} + $result->{no_room} }

sub show ($name, $rate, $time, $result) {
    printf "%-22s offered %7.0f/s, sent %7.0f/s, answered %7.0f/s  p50 %8.2f  p99 %8.2f  (sent to answered: %.2f, %.2f)\n", $name, $rate,
      map({ $result->{$_} / $time } qw(timely answered)), @{$result}{qw(p50 p99 sent_p50 sent_p99)};
    printf "%-22s %s\n", '', join ', ', map {"$_: $result->{codes}{$_}"} sort keys %{$result->{codes}};
}

$nginx->wait_redis;
my ($worker) = $nginx->pids;
first(2, $worker, $redis->pid, $app->pids);

# each write of Redis' is on the disk before it is answered: how long that takes here
sub disk () {
    my @ms;
    open my $file, '>', path($t->dir, 'written') or die "written: $!";

    for (1 .. 200) {
        my $from = time;
        syswrite $file, 'x' x 300;
        $file->sync;
        push @ms, 1000 * (time - $from);
    }

    @ms = sort { $a <=> $b } @ms;
    return @ms[100, 197];
}

# a look at all that counts, and what became of it since
sub look () {
    return {
        time => time, work => [work()], turns => turns(), log => times_size(), requests => requests(), operations => operations(),
        map({ ("cpu$_" => cpu($_), "starved$_" => starved($_)) } $worker, $redis->pid)
    };
}

sub since ($from) {
    my $to   = look();
    my $took = $to->{time} - $from->{time};
    my %n    = map { my $name = $_; ($name => 100 * ($to->{$name} - $from->{$name}) / $took) } grep {/^(?:cpu|starved)/} keys %$to;

    return {
        %n,
        took   => $took,
        rate   => ($to->{requests} - $from->{requests}) / $took,
        cores  => [map { my $i = $_; [map { 100 * ($to->{work}[$i][$_] - $from->{work}[$i][$_]) / $took } 0, 1] } 0 .. $#{$to->{work}}],
        loop   => between($from->{turns}, $to->{turns}, $took),
        seen   => [times_of($from->{log})],
        redis  => [map { share_of($from->{operations}, $to->{operations}, $_) } 0.5, 0.99]
    };
}

sub show_since ($name, $n) {
    printf "%s\n", $name;
    printf "  \$request_time of the honest tenant's %d: p50 %.0f, p99 %.0f, max %.0f ms; Redis' commands: p50 <= %s, p99 <= %s ms\n", @{$n->{seen}}, @{$n->{redis}};
    printf "  the worker had %.0f requests a second; its loop: %.0f turns a second of %.1f events, %.0f %% of the time; who becomes ready meets a turn of p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f ms\n",
      $n->{rate}, @{$n->{loop}}{qw(turns events busy)}, @{$n->{loop}{share}}{0.5, 0.99, 0.999, 1} if $n->{loop}{turns};
    printf "  CPU: worker %.0f %% of a core, and none was free for it for %.1f %% of the time; Redis %.0f %%, and %.1f %%\n",
      map { ($n->{"cpu$_"}, $n->{"starved$_"}) } $worker, $redis->pid;
    printf "  cores: %s\n", join ', ', map { sprintf '%d busy for %.0f %%%s', $_, $n->{cores}[$_][0],
          $n->{cores}[$_][1] > 0.5 ? sprintf(', taken from this machine for %.0f %%', $n->{cores}[$_][1]) : '' } 0 .. $#{$n->{cores}};
}

offer(first => $HONEST, 1, 4, 8, $honest)->();
my @disk        = disk();
my $from        = look();
my $quiet       = ask_honest();
my $quiet_since = since($from);

# what is hostile is offered once a millisecond, four requests together
my @before  = (memory(), keys_of());
my @running = (
    offer(hostile => $hostile, $seconds + 3, 200, 32, $hostiles, 1, 4),
    offer(hostile => $strange, $seconds + 3, 100, 32, $strangers, 1, 4)
);
sleep 1;
$from = look();
my $loud       = ask_honest();
my $loud_since = since($from);
my @results    = map { $_->() } @running;
my @after      = (memory(), keys_of());

my ($load) = split / /, path('/proc/loadavg')->slurp;
printf "One worker%s; %d cores%s; load average %s.  Waits in ms, from when a request was due.\n\n",
  $apart ? ' on a core of its own' : '', $cores, $first ? '; Redis and the honest client come before the generators' : '', $load;
show('honest, quiet',     $HONEST, $seconds, $quiet);
show('honest, hostile',   $HONEST, $seconds, $loud);
show("$TENANTS hostile tenants", $hostile, $seconds + 3, $results[0]);
show('strangers',         $strange, $seconds + 3, $results[1]);
printf "%-22s the generators used %.0f %% of a core\n\n", '', 100 * sum0(map { $_->{cpu} / $_->{took} } @results);

printf "a write and fsync where Redis writes, before: p50 %.2f, p99 %.2f ms\n", @disk;
show_since('quiet:', $quiet_since);
show_since('hostile:', $loud_since);

printf "\nsession tokens: %d signatures good, %d bad, %d not looked at\n", map { sample(qr/lines_token_signatures_total\{result="$_"\}/) } qw(good bad refused);
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

my $sent = ($results[0]{timely} + $results[1]{timely}) / ($seconds + 3);
printf "\nOf %.0f requests a second the generators sent %.0f in time: no connection had room for the others, as nginx had not answered those before, or the generators had no time.\n", $hostile + $strange, $sent
  if $sent < 0.98 * ($hostile + $strange);
print "Others kept the cores from the worker: these figures are the machine's, run it on a calm one.\n" if $loud_since->{"starved$worker"} > 10;
print @wrong ? 'NOT HELD: ' . join('; ', @wrong) . "\n" : "Held: none of its requests failed, and its p99 is within $bound ms.\n";

$t->done;
exit(@wrong ? 1 : 0);
