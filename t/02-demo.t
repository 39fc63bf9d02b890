# What "make up", "make run" and "make down" do, once the module is built.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Test::Lines::Once build => 'the demo builds what it runs';

use IO::Socket::INET;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::Lines qw(wait_for);
use Test::Lines::Client;

my $t    = Test::Lines->new;
my $run  = $t->dir . '/run';
my $port = $t->free_port;

my $page = $t->file('api.html', <<'END');
<!DOCTYPE html><html><head><meta http-equiv="Content-Security-Policy" content="default-src 'none'"></head>the page</html>
END
my $docs = $t->dir . '/docs/api.html';

sub demo ($what) {
    my @command = ($^X, $t->root . '/conf/demo/demo.pl', $what, '--dir', $run, '--module', $ENV{LINES_MODULE}, '--docs', $docs);
    my $output  = qx{LINES_PORT=$port timeout 120 @{[map { quotemeta } @command]} 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

sub env () {
    return {map { /^(LINES_\w+)=(\S+)$/ ? ($1, $2) : die "$_ is no plain assignment" } split /\n/, path("$run/env")->slurp};
}

# the demo, what it started, and what that started
sub processes () {
    my $pid = (split ' ', path("$run/pid")->slurp)[0];
    my %ours = ($pid => 1);
    my %parent;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $text = eval { path($stat)->slurp } // next;
        $parent{$1} = $2 if $text =~ /^(\d+) .*\) \S (\d+)/s;
    }

    for (1 .. 3) { $ours{$_} = 1 for grep { $ours{$parent{$_}} } keys %parent }

    return keys %ours;
}

# one that has ended and waits to be noticed is none
sub alive ($pid) {
    my $stat = eval { path("/proc/$pid/stat")->slurp } // return 0;
    return $stat !~ /\) Z /;
}

my $client = Test::Lines::Client->new(host => '127.0.0.1', port => $port);

subtest 'up' => sub {
    my ($code, $output) = demo('up');
    is $code, 0, 'is ready when it returns' or return diag $output;
    like $output, qr/curl -X POST/, 'and says what to try';
    if (-e '/usr/share/javascript/chart.js/chart.min.js') {
        like $output, qr{\A\s*The operator's console[^\n]*sign in with (\S+):\n\n    http://127\.0\.0\.1:$port/_lines/console/\n}, "... the operator's console first";
        is $client->get('/_lines/console/')->status, 200, '... which is there';
        my ($token) = $output =~ /sign in with (\S+):/;
        is $client->post('/_lines/admin/session', '', {Authorization => "Bearer $token"})->status, 201, '... and can be opened with that';
    }
    else {
        like $output, qr/\A\s*No console: Debian's package libjs-chart\.js is not installed/, '... why there is no console';
    }
    like $output, qr/"make docs", then this again/, '... how to have the page of the API';
    is $client->get('/docs')->status, 404, '... which was not made';

    my $env = env();

    is_deeply [sort keys %$env], [sort map {"LINES_$_"} qw(URL ADMIN_URL ADMIN_TOKEN API_KEY API_KEY_STARTER API_KEY_MINI
        REDIS BILLING_URL KEY_ID KEY_SECRET CLERK_ISSUER CLERK_KEY CLERK_KID CLERK_PARTY GATEWAY_URL METRICS_URL READY_URL)],
      'all addresses and credentials';
    is $env->{LINES_URL}, "http://127.0.0.1:$port", 'where it was told to be';
    ok -S $env->{LINES_REDIS}, 'Redis has a socket';
    is((stat "$run/env")[2] & 0777, 0600, 'secrets are for their owner only');

    is $client->get($env->{$_})->status, 200, $_ for qw(LINES_METRICS_URL LINES_READY_URL);
    is $client->get($env->{LINES_GATEWAY_URL})->status, 401, 'the gateway asks who calls';
    is $client->get($env->{LINES_GATEWAY_URL}, {Authorization => "Bearer $env->{LINES_API_KEY}"})->status, 200, 'and lets in';

    unlike $output, qr/\$env|HASH/, 'no slip in what it says';

    # the commands as they are printed
    my @pasted = $output =~ /^    (\S[^\n]*(?:\n     +[^\n]*)*)/mg;
    cmp_ok scalar @pasted, '>=', 7, 'commands to paste';
    path($t->dir, 'paste')->remove;
    open my $file, '>', $t->dir . '/paste';
    print $file join "\n", map { s/^(TOKEN=\$\(|)curl /$1 . 'curl -sS --fail-with-body -m 20 '/er . "\necho; echo status \$?" } @pasted;
    close $file;
    my $said = qx{bash @{[$t->dir]}/paste 2>&1};
    unlike $said, qr/status [^0]|"error"/, 'work as pasted' or diag $said;
    like $said, qr/"subscription_id"/, 'preview and confirm too';

    wait_for(
        sub {
            my $lines = $client->get('/api/lines/by-user', {Authorization => "Bearer $env->{LINES_API_KEY}"})->json('/lines');
            return grep { $_->{provisioningStatus} eq 'active' } @$lines;
        },
        60,
        'the demo to play the provisioner'
    );
};

subtest 'again, after all that can happen' => sub {
    my $before = env();
    path($docs)->dirname->make_path;
    rename $page, $docs or die $!;
    my ($code, $output) = demo('up');
    is $code, 0, 'while it runs' or diag $output;
    like $output, qr{^    http://127\.0\.0\.1:$port/docs$}m, 'with the page of the API, now that it is there';
    like $client->get('/docs')->body, qr/the page/, '... where it says';
    is env()->{LINES_API_KEY}, $before->{LINES_API_KEY}, 'with the same keys';

    my @processes = processes();
    cmp_ok scalar @processes, '>=', 6, 'several processes';
    kill 'KILL', (split ' ', path("$run/pid")->slurp)[0];
    wait_for(sub { !grep { alive($_) } @processes }, 30, 'what was started to die with what started it');

    ($code, $output) = demo('up');
    is $code, 0, 'after a crash' or diag $output;
    is scalar @{$client->get('/api/lines/by-user', {Authorization => "Bearer $before->{LINES_API_KEY}"})->json('/lines')}, 1,
      'nothing that was answered is lost';

    @processes = processes();
    ($code, $output) = demo('down');
    is $code, 0, 'down';
    ok !(grep { alive($_) } @processes), 'and nothing is left';
    ok !-e "$run/env", 'nor an address where nobody answers';
    is +(demo('down'))[0], 0, 'down twice';
};

subtest 'a port in use' => sub {
    my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1);
    my ($code, $output) = demo('up');
    isnt $code, 0, 'is an error';
    like $output, qr/port $port is in use.*LINES_PORT=/, 'that says what to do';
};

subtest 'run, in the foreground' => sub {
    my $pid = fork // die;

    if (!$pid) {
        open STDOUT, '>', $t->dir . '/run.out';
        open STDERR, '>&', \*STDOUT;
        $ENV{LINES_PORT} = $port;
        exec $^X, $t->root . '/conf/demo/demo.pl', 'run', '--dir', $run, '--module', $ENV{LINES_MODULE};
    }

    wait_for(sub { -e "$run/env" }, 60, 'the demo');
    wait_for(sub { path($t->dir, 'run.out')->slurp =~ /Ctrl-C stops it/ }, 10, 'its summary');
    my @processes = processes();

    kill 'INT', $pid;
    waitpid $pid, 0;
    is $?, 0, 'Ctrl-C ends it';
    ok !(grep { alive($_) } @processes), 'and all that it started';
};

$t->done;
