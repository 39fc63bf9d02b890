#!/usr/bin/env perl

# demo.pl run|up|down|audit --dir DIR --module MODULE [--docs PAGE]: the demo of
# "make run".  PAGE is what "make docs" makes, and is served where it is there.
#
# All that it starts, it starts itself, as its own children: a Redis, the
# billing sandbox, the players and nginx.  They die with it, however it dies;
# what a crash of the whole machine leaves in DIR does no harm.

use Mojo::Base -strict, -signatures;

use FindBin;
use lib "$FindBin::Bin/lib";
use Getopt::Long qw(GetOptions);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Lines::Demo::Client;
use Mojo::File qw(path);
use Mojo::UserAgent;
use POSIX qw(:sys_wait_h);
use Time::HiRes ();

my $what = shift @ARGV // '';

my %opt;
GetOptions(\%opt, 'dir=s', 'module=s', 'docs=s') && $opt{dir} && $what =~ /^(?:run|up|down|audit)$/
  or die "usage: demo.pl run|up|down|audit --dir DIR --module MODULE [--docs PAGE]\n";

my $run  = $opt{dir};
my $root = path($FindBin::Bin)->dirname->dirname;
my $port = $ENV{LINES_PORT} || 8080;
my $url  = "http://127.0.0.1:$port";

# Debian's package libjs-chart.js
my $chart = '/usr/share/javascript/chart.js/chart.min.js';

my %clerk = (
    issuer => 'https://clerk.lines.example',
    party  => 'https://app.lines.example',
    kid    => 'ins_demo',
    key    => "$run/secrets/clerk.pem"
);

my @workspaces = (
    [org_demo_growth  => 'growth',  'LINES_API_KEY'],
    [org_demo_starter => 'starter', 'LINES_API_KEY_STARTER'],
    [org_demo_mini    => 'mini',    'LINES_API_KEY_MINI']
);

my @children;    # [name, pid, signal], in the order of their start
my @env;         # [name, value]
my $stopping;

exit main();


sub main () {
    if ($what eq 'down') {
        print stop_other() ? "stopped\n" : "nothing runs\n";
        return 0;
    }

    return audit() if $what eq 'audit';

    path($run)->make_path;
    -e $opt{module} or die "$opt{module} is not there: make\n";
    length("$run/limits.sock") < 108 or die "$run is too long a path for a Unix socket: make BUILD=...\n";

    say 'stopped the demo that was running' if stop_other();

    # said before anything is started, rather than by nginx after all else
    IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1)
      or die "port $port is in use ($!): try LINES_PORT=9090 make $what\n";

    return $what eq 'up' ? in_background() : in_foreground(\*STDOUT);
}


# a whole pass of the auditor, and what it found; 1 where something is left to the operator
sub audit () {
    -e "$run/env" or die "no demo runs: make up\n";

    my %env   = path("$run/env")->slurp =~ /^(\w+)='?([^'\n]*)'?$/mg;
    my $ua    = Mojo::UserAgent->new;
    my @audit = ("$env{LINES_ADMIN_URL}/audit", {Authorization => "Bearer $env{LINES_ADMIN_TOKEN}"});
    my $asked = $ua->post(@audit)->result->json('/began') // '';
    my $told;

    for (1 .. 600) {
        $told = $ua->get(@audit)->result->json;
        last if ($told->{began} // '') gt $asked && !$told->{running};
        Time::HiRes::sleep(0.1);
    }

    die "no pass has ended\n" if $told->{running} || !$told->{ended};

    my @found = @{$told->{disagreements}};

    say "pass of $told->{began}, ended $told->{ended}: " . (@found ? scalar @found . ' disagree' : 'all agrees');
    say join ' ', @$_{qw(lastSeenAt outcome kind)}, grep({defined} @$_{qw(tenant id subscription)}), "- here: $_->{here}, there: $_->{there}"
      for @found;

    return (grep { $_->{outcome} eq 'shown' } @found) ? 1 : 0;
}


sub in_foreground ($out) {
    $SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { $stopping = 1 };
    $SIG{PIPE} = 'IGNORE';

    write_file("$run/pid", "$$ " . started_at($$) . "\n");

    my $failed = !eval { start_all(); 1 };

    if ($failed) {
        print $out 'it did not start: ' . ($stopping ? "stopped\n" : $@);
    }
    else {
        print $out summary();
        $out->flush;
        close $out if $what eq 'up';
    }

    while (!$stopping && !$failed) {
        Time::HiRes::sleep(0.2);

        if (my ($dead) = grep { waitpid($_->[1], WNOHANG) == $_->[1] } @children) {
            say STDERR "$dead->[0] ended: see $run/$dead->[0].log";
            $failed = 1;
        }
    }

    stop_all();
    unlink "$run/pid", "$run/env";

    return $failed && !$stopping ? 1 : 0;
}


sub in_background () {
    pipe my $in, my $out or die "pipe: $!\n";

    my $pid = fork // die "fork: $!\n";

    if (!$pid) {
        close $in;
        POSIX::setsid();
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', "$run/demo.log";
        open STDERR, '>&', \*STDOUT;
        exit in_foreground($out);
    }

    close $out;

    my $text = join '', <$in>;
    print $text;
    return 0 if length $text && $text !~ /^it did not start/;

    waitpid $pid, 0;
    return 1;
}


# Processes

sub started_at ($pid) {
    open my $file, '<', "/proc/$pid/stat" or return 0;
    my @rest = split / /, (<$file> // '') =~ s/^.*\) //sr;
    return $rest[0] eq 'Z' ? 0 : $rest[19];
}

# a pid alone may be another process' by now
sub stop_other () {
    open my $file, '<', "$run/pid" or return 0;
    my ($pid, $start) = split ' ', <$file> // '';

    return 0 unless $pid && $start && started_at($pid) eq $start;

    kill 'TERM', $pid;

    for (1 .. 600) {
        return 1 if started_at($pid) ne $start;
        Time::HiRes::sleep(0.1);
    }

    die "process $pid of the demo does not stop\n";
}

sub start ($name, $signal, @command) {
    my $pid = fork // die "fork: $!\n";

    if (!$pid) {

        # not of the terminal's group: Ctrl-C is for this process, which stops
        # the others in their order
        POSIX::setsid();
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', "$run/$name.log";
        open STDERR, '>&', \*STDOUT;
        $ENV{PATH} .= ':/usr/sbin:/sbin';
        { no warnings 'exec'; exec 'setpriv', '--pdeathsig', 'TERM', '--', @command }
        POSIX::_exit(127);
    }

    push @children, [$name, $pid, $signal];
}

sub wait_for ($seconds, $name, $code) {
    my $end = Time::HiRes::time() + $seconds;

    while (1) {
        die "stopped\n" if $stopping;

        my $value = eval { $code->() };
        return $value if $value;

        for my $child (@children) {
            next unless waitpid($child->[1], WNOHANG) == $child->[1];
            @children = grep { $_ != $child } @children;
            my @log = split /^/, path("$run/$child->[0].log")->slurp;
            splice @log, 0, -10 if @log > 10;
            die join '', "$child->[0] ended:\n", @log;
        }

        die "$name is not ready after $seconds s: see $run/$name.log\n" if Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.05);
    }
}

sub stop_all () {
    for my $child (reverse @children) {
        my ($name, $pid, $signal) = @$child;

        for my $try ($signal, 'TERM', 'KILL') {
            kill $try, $pid;
            my $end = Time::HiRes::time() + 15;
            my $gone;

            until ($gone = waitpid($pid, WNOHANG) != 0) {
                last if Time::HiRes::time() > $end;
                Time::HiRes::sleep(0.02);
            }

            last if $gone;
        }
    }
}


# Files

sub write_file ($name, $text, $mode = 0644) {
    open my $file, '>', "$name.new" or die "$name: $!\n";
    chmod $mode, $file;
    print $file $text;
    close $file or die "$name: $!\n";
    rename "$name.new", $name or die "$name: $!\n";
}

sub secret ($name, $prefix = '', $length = 24) {
    my $file = "$run/secrets/$name";

    if (!-s $file) {
        open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
        read $random, my ($bytes), $length;
        write_file($file, $prefix . unpack('H*', $bytes) . "\n", 0600);
    }

    return path($file)->slurp =~ s/\s+$//r;
}

sub fill ($text, %values) {
    return $text =~ s/\@([A-Z_]+)\@/$values{$1} \/\/ die "no value for $1\n"/ger;
}


# The parts

sub start_all () {
    unlink "$run/env";
    path($run, $_)->make_path for qw(redis nginx);
    path($run, 'secrets')->make_path;
    chmod 0700, "$run/secrets";

    my $token = secret('admin.token');
    secret('seal.key', '', 32);

    start_redis();
    my $billing = 'http://127.0.0.1:' . start_sandbox(secret('stripe.key', 'sk_test_'), secret('webhook.secret', 'whsec_'));
    start_players();
    start_nginx();

    my $client = Lines::Demo::Client->new(base => $url, token => $token, sandbox => $billing);
    my %old    = old_keys();

    @env = ([LINES_URL => $url], [LINES_ADMIN_URL => "$url/_lines/admin"], [LINES_ADMIN_TOKEN => $token]);

    for my $workspace (@workspaces) {
        my ($id, $plan, $name) = @$workspace;
        push @env, [$name => $client->workspace($id, $plan, $old{$name})];
    }

    my ($id, $secret) = $client->account('demo', @old{qw(LINES_KEY_ID LINES_KEY_SECRET)});

    $client->numbers;

    push @env, [LINES_REDIS => "$run/redis.sock"], [LINES_BILLING_URL => $billing], [LINES_KEY_ID => $id],
      [LINES_KEY_SECRET => $secret], [LINES_CLERK_ISSUER => $clerk{issuer}], [LINES_CLERK_KEY => $clerk{key}],
      [LINES_CLERK_KID => $clerk{kid}], [LINES_CLERK_PARTY => $clerk{party}], [LINES_GATEWAY_URL => "$url/app/"],
      [LINES_METRICS_URL => "$url/_lines/metrics"], [LINES_READY_URL => "$url/_lines/ready"];

    write_file("$run/keys", join('', map {"$_->[0]=$_->[1]\n"} grep { $_->[0] =~ /KEY/ } @env), 0600);
    write_file("$run/env", join('', map { "$_->[0]=" . quoted($_->[1]) . "\n" } @env), 0600);
}

# credentials outlive a restart, as the data does
sub old_keys () {
    open my $file, '<', "$run/keys" or return;
    return map { /^(\w+)=(.*)$/ ? ($1, $2) : () } <$file>;
}

sub quoted ($value) {
    return $value if $value =~ m{^[\w./:+-]+$};
    return "'" . $value =~ s/'/'\\''/gr . "'";
}

# and one of limits alone
sub start_redis () {
    start_one('redis',  'redis.conf',        '--dir', "$run/redis");
    start_one('limits', 'redis-limits.conf', '--dir', "$run/redis");
}

sub start_one ($name, $conf, @more) {
    my $socket = "$run/$name.sock";

    unlink $socket;
    start(
        $name, 'TERM', 'redis-server', "$root/conf/$conf", '--port', 0, '--unixsocket', $socket, '--unixsocketperm', 700, @more,
        '--daemonize', 'no'
    );

    wait_for(60, $name, sub {
        my $peer = IO::Socket::UNIX->new(Peer => $socket) or return 0;
        print $peer "PING\r\n";
        return (<$peer> // '') =~ /^\+PONG/;
    });
}

sub port_of ($name) {
    my $file = "$run/$name.port";
    my $port = wait_for(60, $name, sub { -s $file && path($file)->slurp =~ s/\s+//gr });
    return $port;
}

# the port of the last time, if it is free: links that were given out go on working
sub same_port ($name) {
    my $file = "$run/$name.port";
    my $port = -s $file ? path($file)->slurp =~ s/\s+//gr : 0;

    unlink $file;

    return $port if $port && IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1,
        ReuseAddr => 1);

    return 0;
}

sub start_sandbox ($key, $secret) {
    start(
        'sandbox', 'TERM', $^X, "$root/t/sandbox/sandbox.pl", '--listen', 'http://127.0.0.1:' . same_port('sandbox'),
        '--port-file', "$run/sandbox.port", '--exit-with-parent', '--state', "$run/sandbox.state",
        '--webhook-url', "$url/webhooks/stripe", '--webhook-secret', $secret, '--secret-key', $key
    );

    return port_of('sandbox');
}

sub start_players () {
    if (!-s $clerk{key}) {
        umask 0077;
        system('openssl', 'genpkey', '-quiet', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out',
            "$clerk{key}.new") == 0
          or system("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out '$clerk{key}.new' 2>/dev/null") == 0
          or die "openssl genpkey failed\n";
        umask 0022;
        rename "$clerk{key}.new", $clerk{key};
    }

    start(
        'players', 'TERM', $^X, "$FindBin::Bin/players.pl", '--listen', 'http://127.0.0.1:' . same_port('players'), '--port-file',
        "$run/players.port", '--admin', "$url/_lines/admin", '--token-file', "$run/secrets/admin.token",
        (map { ("--$_" => $clerk{$_}) } qw(key kid issuer party)), map { ('--workspace' => $_->[0]) } @workspaces
    );

    return port_of('players');
}

# the page was made of this checkout, or not at all
sub docs () { length($opt{docs} // '') && -s $opt{docs} }

# where its plots can be drawn
sub console () { -e $chart }

sub start_nginx () {
    my $conf = "$run/nginx/nginx.conf";

    write_file($conf, fill(
        path("$FindBin::Bin/nginx.conf")->slurp,
        USER         => $> == 0 ? 'user root root;' : '',
        MODULE       => $opt{module},
        RUN          => $run,
        PORT         => $port,
        BILLING_PORT => port_of('sandbox'),
        PLAYERS_PORT => port_of('players'),
        CLERK_ISSUER => $clerk{issuer},
        CLERK_PARTY  => $clerk{party},
        DOCS         => docs() ? "location = /docs { lines_docs $opt{docs}; }" : '',
        CONSOLE      => console() ? "location /_lines/console/ { lines_console dir=$root/conf/console; allow 127.0.0.1; deny all; }" : ''
    ));

    start('nginx', 'QUIT', $ENV{LINES_NGINX} || 'nginx', '-e', "$run/nginx/error.log", '-p', "$run/nginx/", '-c', $conf);

    my $ua = Mojo::UserAgent->new(connect_timeout => 2, request_timeout => 5);
    $ua->proxy->not([]);

    wait_for(60, 'nginx', sub { ($ua->get("$url/_lines/ready")->res->code // 0) == 200 });
}

sub summary () {
    my %env     = map { $_->[0] => $_->[1] } @env;
    my $players = port_of('players');
    my $text    = "\n" . (console()
        ? "The operator's console, which shows what the lines below bring about; sign in with $env{LINES_ADMIN_TOKEN}:\n\n    $url/_lines/console/\n"
        : "No console: Debian's package libjs-chart.js is not installed.\n");

    $text .= <<"END";

Lines runs at $url.  Of each plan there is a workspace; $run/env has
their keys and all addresses (". $run/env" in a shell).

A line, as the plan includes it:

    curl -X POST $url/api/line-requests -H 'Authorization: Bearer $env{LINES_API_KEY}' \\
        -H 'Content-Type: application/json' \\
        -d '{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}'

All lines of the workspace; after some seconds the new one is active:

    curl $url/api/lines/by-user -H 'Authorization: Bearer $env{LINES_API_KEY}'

What the operator sees:

    curl '$url/_lines/admin/lines?status=provisioning' -H 'Authorization: Bearer $env{LINES_ADMIN_TOKEN}'

A line that has to be paid for: open its paymentUrl in a browser, and pay:

    curl -X POST $url/api/line-requests -H 'Authorization: Bearer $env{LINES_API_KEY_STARTER}' \\
        -H 'Content-Type: application/json' \\
        -d '{"firstName":"Ada","lastName":"Lovelace","channelType":"email","email":"ada\@example.com"}'

A number bought with two calls, preview and confirm:

    TOKEN=\$(curl -s -X POST $url/accounts/lines/provision-preview \\
        -H 'sb-api-key-id: $env{LINES_KEY_ID}' -H 'sb-api-secret-key: $env{LINES_KEY_SECRET}' |
        sed 's/.*"preview_token":"\\([^"]*\\).*/\\1/')

    curl -X POST $url/accounts/lines/provision-confirm -H 'Content-Type: application/json' \\
        -H 'sb-api-key-id: $env{LINES_KEY_ID}' -H 'sb-api-secret-key: $env{LINES_KEY_SECRET}' \\
        -d "{\\"preview_token\\":\\"\$TOKEN\\"}"

With a session token, as a browser would (each lives for a minute; this makes a fresh one):

    curl $url/api/lines/by-user -H "Authorization: Bearer \$(curl -s http://127.0.0.1:$players/token)"

Another application behind the same keys:

    curl $env{LINES_GATEWAY_URL} -H 'Authorization: Bearer $env{LINES_API_KEY}'
END

    $text .= "\n" . (docs() ? "All of the API on a page:\n\n    $url/docs\n" : "All of the API on a page: \"make docs\", then this again.\n");
    $text .= "\nLogs are in $run.  "
      . ($what eq 'up' ? '"make down" stops it.' : 'Ctrl-C stops it.') . "\n";

    return $text;
}

