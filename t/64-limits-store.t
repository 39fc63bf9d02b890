# A Redis of limits alone: what is in which, what either may do meanwhile, and what requests notice of it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Tls;
use Time::HiRes qw(time);

my $t      = Test::Lines->new(timeout => 600);
my $main   = $t->redis(name => 'main');
my $counts = $t->redis(name => 'counts', conf => "appendonly no\nappendfsync everysec\nsave \"\"\nmaxmemory-policy volatile-ttl\n");

my %common = (
    redis          => $main,
    redis_options  => 'timeout=1s silence=5s',
    limits         => $counts,
    limits_options => 'timeout=300ms silence=300ms connect_timeout=300ms',
    workers        => 2,
    server         => <<'END',
location /lease/  { lines_auth workspace; lines_rate_limit rate=1r/h burst=1000000 key=tenant name=lease; empty_gif; }
location /key/    { lines_auth workspace; lines_rate_limit rate=1r/h burst=1000000 key=key name=key; empty_gif; }
location /small/  { lines_auth workspace; lines_rate_limit rate=1r/h burst=5 key=tenant name=small; empty_gif; }
location /each/   { lines_auth workspace; lines_rate_limit rate=1r/h burst=1000000 key=tenant name=each sync=each; empty_gif; }
location /var/    { lines_rate_limit rate=1r/h burst=3 key=$arg_who name=var sync=each; empty_gif; }
location /open/   { lines_rate_limit rate=1r/h burst=3 key=$arg_who name=open sync=each fail=open; empty_gif; }
location /closed/ { lines_rate_limit rate=1r/h burst=1000000 key=$arg_who name=closed sync=each fail=closed; empty_gif; }
END
);

my @nodes = map { $t->nginx(%common) } 1 .. 2;
my $nginx = $nodes[0];
my %auth  = map { $_ => $nginx->bearer($nginx->workspace($_ => {plan => 'growth', subscription => 'active'})) } qw(one two three big);

sub ready ($node = $nginx) { return $node->get('/_lines/ready') }
sub left ($answer) { return ($answer->header('RateLimit') =~ /r=(\d+)/)[0] }
sub passed (@paths) { return scalar grep { $_->status == 200 } map { $nginx->get($_) } @paths }
sub metric ($name) { return ($nginx->get('/_lines/metrics')->body =~ /^\Q$name\E (\d+)/m)[0] }
sub ours ($redis) { return grep {/^lines:\{l(?::\d+)?\}:/} $redis->cli('KEYS', '*') }

# each worker finds out by itself
sub wait_limits ($status) {
    my $workers = $status eq 'ok' ? 2 : 0;
    wait_for(sub {
        my $answer = ready();
        return $answer->json && $answer->json('/limits/status') eq $status
          && metric('lines_redis_connected_workers{store="limits"}') == $workers && metric('lines_redis_breaker_workers{store="limits",state="closed"}') == $workers;
    }, 30, "limits: $status");
}

# for as long as something is wrong: what requests are answered, how long the slowest took
sub meanwhile ($seconds, @asks) {
    my (%status, @seconds);
    for (my $end = time + $seconds; time < $end;) {
        for my $ask (@asks) {
            my $answer = $nginx->get(@$ask);
            $status{$answer->status || 'none'}++;
            push @seconds, $answer->seconds;
        }
    }
    return (join(' ', sort keys %status), max @seconds);
}

wait_limits('ok');

subtest 'readiness and metrics name both' => sub {
    my $ready = ready()->json;
    is $ready->{redis}{status}, 'ok', 'the one';
    is_deeply $ready->{limits}, {status => 'ok', breaker => 'closed', inFlight => 0, warnings => []}, 'the other, which need not keep anything';
    unlike $nginx->error_log, qr/lines redis ".*(?:AOF|noeviction|appendfsync)/, 'nor does the log ask for it';

    $nginx->get('/each/x', $auth{one}) for 1 .. 5;
    wait_for(sub { metric('lines_redis_connected_workers') == 2 && metric('lines_redis_connected_workers{store="limits"}') == 2 }, 30, 'the workers of both');
    wait_for(sub { metric('lines_redis_operations_total{store="limits"}') >= 5 }, 30, 'what was asked there');
    is metric('lines_redis_breaker_workers{store="limits",state="closed"}'), 2, 'breakers';
    wait_for(sub { metric('lines_redis_operation_duration_seconds_count{store="limits"}') >= 5 }, 30, 'how long it took');

    my $alone = $t->nginx(redis => $main);
    is ready($alone)->json('/limits'), undef, 'nothing of it where there is none';
    unlike $alone->get('/_lines/metrics')->body, qr/store=/, 'nor in the metrics';
    $alone->quit;
};

subtest 'which keys are where' => sub {
    for my $path (qw(lease key small each)) { $_->get("/$path/x", $auth{$path eq 'key' ? 'two' : 'one'}) for @nodes, @nodes }
    $nginx->get("/$_/x?who=me") for qw(var open closed);
    wait_for(sub { scalar(ours($counts)) >= 8 }, 30, 'buckets');
    wait_for(sub { metric('lines_limit_nodes') == 2 }, 30, 'both nodes share, by the store of limits');

    $nginx->admin(PUT => 'workspaces/one/limits/each', {rate => '1r/h', burst => 900});
    $nginx->admin(PUT => 'plans/growth/limits/key',    {rate => '1r/h', burst => 900});
    $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'}, $auth{three});

    wait_for(sub { grep {/:b:lease:w:one$/} $counts->cli('KEYS', '*') }, 30, 'what was let through is settled there');
    is_deeply [grep { !/^lines:\{l(?::\d+)?\}:/ } $counts->cli('KEYS', '*')], [], 'limits alone';
    is_deeply [ours($main)],                    [], 'and none of them with the tenants';
    is_deeply [$_->strangers],                  [], 'all of the schema' for $main, $counts;

    $nginx->admin(DELETE => $_) for 'workspaces/one/limits/each', 'plans/growth/limits/key';
};

subtest 'rates reach each node, though its limits are elsewhere' => sub {
    my sub policy ($node, $path) { return ($node->get("/$path/x", $auth{big})->header('RateLimit-Policy') =~ /q=(\d+)/)[0] }
    policy($_, 'lease') && policy($_, 'each') for @nodes;

    for my $path (qw(lease each)) {
        $nginx->admin(PUT => "workspaces/big/limits/$path", {rate => '1r/h', burst => 700});
        my $start = time;
        wait_for(sub { policy($_, $path) == 700 }, 10, 'a tenant\'s') for @nodes;
        $nginx->admin(DELETE => "workspaces/big/limits/$path");
        wait_for(sub { policy($_, $path) == 1_000_000 }, 10, 'none') for @nodes;
        $nginx->admin(PUT => "plans/growth/limits/$path", {rate => '1r/h', burst => 800});
        wait_for(sub { policy($_, $path) == 800 }, 10, 'a plan\'s') for @nodes;
        $nginx->admin(DELETE => "plans/growth/limits/$path");
        wait_for(sub { policy($_, $path) == 1_000_000 }, 10, 'none') for @nodes;
        cmp_ok time - $start, '<', 4 * $t->slow, "$path: four changes, each on both nodes within a second";
    }
};

# as an fsync that takes a second: nobody who needs limits and a key that is known waits for it
subtest 'the main store stands still for a second' => sub {
    $nginx->get("/$_/x", $auth{one}) for ('lease', 'each', 'key', 'small') x 4;
    my @asks = map { ["/$_/x", $auth{one}] } qw(lease each key);
    my $n = 0;

    for my $round (1 .. 2) {
        $main->pause;
        my ($status, $slowest) = meanwhile(0.9, @asks, ["/closed/x?who=still$n"]);
        is passed(("/var/x?who=still$n") x 5), 3, 'limits count as ever';
        $n++;
        $main->cont;
        is $status, 200, 'nobody is 503';
        cmp_ok $slowest, '<', 0.7, sprintf 'none waits for it: %.3f s', $slowest;
        wait_for(sub { $nginx->get('/api/lines/by-user', $auth{one})->status == 200 }, 30, 'the API again');
    }

    # as much at once as there is: settled, asked and joined meanwhile
    $main->pause;
    my $ask = sub { concurrently(400, sub ($i) { $nodes[$i % 2]->get_p(('/lease/x', '/each/x')[$i / 2 % 2], $auth{two}) }, 40) };
    my @answers = $ask->();
    $main->cont;

    # how long they take on this machine, as busy as it is
    my $took = max map { $_->seconds } $ask->();
    is scalar(grep { $_->status == 200 } @answers), 400, 'four hundred at once';
    cmp_ok max(map { $_->seconds } @answers), '<', 0.9 + 2 * $took, 'of which none waited for it';
};

# and a key that is in use is never one that has to be asked for
subtest '... nor for a key whose time is over meanwhile' => sub {
    my $node = $t->nginx(%common, workers => 1, http => 'lines_key_ttl 4s;');
    my $slowest = 0;
    my sub ask_for ($seconds) {
        my @answers;
        for (my $end = time + $seconds; time < $end;) { push @answers, $node->get('/lease/x', $auth{three}) }
        is scalar(grep { $_->status != 200 } @answers), 0, 'all are served';
        $slowest = max $slowest, map { $_->seconds } @answers;
    }

    wait_for(sub { ready($node)->status == 200 && ready($node)->json('/limits/status') eq 'ok' }, 30, 'ready');
    wait_for(sub { $node->get('/lease/x', $auth{three}); ($node->get('/_lines/metrics')->body =~ /^lines_key_cache_lookups_total\{result="hit"\} (\d+)/m)[0] > 0 }, 30, 'it is remembered');

    for (1 .. 2) {
        ask_for(3.05);
        $main->pause;
        ask_for(1);
        $main->cont;
    }
    cmp_ok $slowest, '<', 0.7, sprintf 'none waits for it: %.3f s', $slowest;
    $node->quit;
};

subtest 'the store of limits stands still' => sub {
    wait_for(sub { $nginx->get('/lease/x', $auth{one})->status == 200 && metric('lines_limit_nodes') == 2 }, 30, 'a share');
    is passed('/closed/x?who=me'), 1, 'before';
    $counts->pause;

    my ($status, $slowest) = meanwhile(0.5, ['/lease/x', $auth{one}]);
    is $status, 200, 'who has a share goes on';
    cmp_ok $slowest, '<', 0.25 * $t->slow, sprintf 'and waits for nothing: %.3f s', $slowest;

    my $answer = $nginx->get('/each/x', $auth{one});
    is $answer->status, 200, 'who asks goes on alone';
    cmp_ok $answer->seconds, '<', 0.3 + 0.7 * $t->slow, 'after its own timeout, not the other\'s';

    wait_limits('unreachable');
    is ready()->status, 200, 'ready all the same';
    is ready()->json('/redis/status'), 'ok', 'the other is well';

    is $nginx->get('/closed/x?who=me')->status, 503, 'fail=closed';
    is passed(map {"/open/x?who=still$_"} 1 .. 5), 5, 'fail=open';
    is passed(('/var/x?who=still-local') x 9), 1, 'fail=local: its half of three';
    is $nginx->get('/api/lines/by-user', $auth{one})->status, 200, 'the API serves';
    is $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'L', channelType => 'phone'}, $auth{big})->status, 201, '... and sells';
    ($status, $slowest) = meanwhile(0.5, ['/each/x', $auth{one}], ['/api/lines/by-user', $auth{one}]);
    is $status, 200, 'all of them';
    cmp_ok $slowest, '<', 0.25 * $t->slow, sprintf 'none waits once it is known: %.3f s', $slowest;

    $counts->cont;
    wait_limits('ok');
    wait_for(sub { passed('/closed/x?who=me') }, 30, 'all as before');
};

subtest 'the store of limits is lost' => sub {
    my $before = left($nginx->get('/each/x', $auth{three}));
    is left($nginx->get('/each/x', $auth{three})), $before - 1, 'it counts';

    $counts->kill;
    my ($status, $slowest) = meanwhile(1, ['/lease/x', $auth{one}], ['/each/x', $auth{one}], ['/key/x', $auth{one}], ['/api/lines/by-user', $auth{one}]);
    is $status, 200, 'nobody fails';
    cmp_ok $slowest, '<', 0.3 + 0.7 * $t->slow, sprintf 'nor waits: %.3f s', $slowest;
    is ready()->status, 200, 'ready';
    is ready()->json('/limits/status'), 'unreachable', '... and says what is away';
    like ready()->json('/limits/reason'), qr/refused|lost/, '... and why';

    $counts->start;
    wait_limits('ok');
    wait_for(sub { passed('/closed/x?who=me') }, 30, 'found again');
    is left($nginx->get('/each/x', $auth{three})), 999_999, 'what it had counted is gone, and nothing else';
    is passed(('/var/x?who=lost') x 5), 3, 'it counts again';

    # under load
    my @answers = concurrently(300, sub ($i) {
        $counts->cli('FLUSHALL')     if $i % 100 == 50;
        $counts->cli('SCRIPT FLUSH') if $i % 100 == 80;
        $nodes[$i % 2]->get_p((qw(/lease/x /each/x /key/x))[$i % 3], $auth{big});
    }, 20);
    is scalar(grep { $_->status == 200 } @answers), 300, 'flushed three times under load: nobody notices';
    wait_for(sub { metric('lines_limit_nodes') == 2 }, 30, 'they share again');
};

subtest 'the main store is lost' => sub {
    $nginx->get('/small/x', $auth{two}) for 1 .. 2;
    $main->kill;
    my ($status, $slowest) = meanwhile(1.5, ['/lease/x', $auth{one}], ['/each/x', $auth{one}], ['/closed/x?who=me']);
    is $status, 200, 'limits go on, of keys that are known';
    cmp_ok $slowest, '<', 1 + 0.5 * $t->slow, sprintf 'no longer than it takes to know: %.3f s', $slowest;
    is passed(('/var/x?who=away') x 5), 3, 'they count';
    is scalar(grep { $_->status == 200 } map { $nginx->get('/small/x', $auth{two}) } 1 .. 6), 3, 'what was left, by the store of limits';
    is $nginx->get('/api/lines/by-user', $auth{one})->status, 503, 'the API does not';
    is ready()->status, 503, 'not ready';
    is ready()->json('/limits/status'), 'ok', 'though limits are';

    $main->start;
    wait_for(sub { ready()->status == 200 }, 30, 'back');

    # nobody knows the tenants any more: limits are not the ones to care
    is passed('/var/x?who=kept'), 1, 'one of three';
    $main->cli('FLUSHALL');
    is passed(('/var/x?who=kept') x 5), 2, 'flushed: what is counted stays';
    is ready()->json('/limits/status'), 'ok', '... whatever the other has become';
    is_deeply [ours($main)], [], 'and nothing of limits comes there';
};

$_->quit for @nodes;

# one of a fleet, while requests come; what was counted before is forgotten once
subtest 'a reload gives limits a store, and takes it away' => sub {
    my $both = $t->redis(name => 'both');
    my $node = $t->nginx(%common, redis => $both, limits => '', zone => 'lines:2m');
    my $me   = $node->bearer($node->workspace(one => {plan => 'growth'}));
    my %to   = (store => $counts, none => '');
    $counts->cli('FLUSHALL');

    for my $to (qw(store none)) {
        $node->limits($to{$to});
        my $old = join ' ', sort { $a <=> $b } $node->pids;
        my @answers = concurrently(400, sub ($i) {
            $node->write, kill HUP => $node->process->pid if $i == 100;
            $node->get_p((qw(/lease/x /each/x), "/var/x?who=$to")[$i % 3], $me);
        }, 20);
        is scalar(grep { $_->status != 200 && $_->status != 429 } @answers), 0, "$to: nobody fails";
        my $var = grep { $answers[$_]->status == 200 && $_ % 3 == 2 } 0 .. $#answers;
        cmp_ok $var, '>=', 3, "$to: $var of a burst of three";
        cmp_ok $var, '<=', 6, '... once in each store';
        wait_for(sub { my $new = join ' ', sort { $a <=> $b } $node->pids; $new ne $old && $node->pids == 2 }, 30, 'the old workers to be gone');
        wait_for(sub { (defined ready($node)->json('/limits')) == ($to eq 'store') }, 30, 'the new ones');
        is scalar(grep { $_->status == 200 } map { $node->get("/lease/x", $me) } 1 .. 50), 50, 'limits go on';
    }

    wait_for(sub { grep {/:b:each:w:one$/} $counts->cli('KEYS', '*') }, 30, 'buckets were there');
    my %keys = map { $_ => 1 } ours($both);
    ok scalar(grep {/:b:each:w:one$/} keys %keys), 'and are here again';
    $node->quit;
};

subtest 'whatever lines_redis takes' => sub {
    my $main  = $t->redis(name => 'main2');
    my $tls   = Test::Lines::Tls->new(t => $t)->ca('ca');
    my $cert  = $tls->certificate('ca', 'server', 'localhost');
    my $port  = $t->free_port;
    my $ca    = $tls->file('ca.pem');
    my $plain = $t->redis(name => 'plain', user => 'limits', password => 'secret', conf => <<"END");
tls-port $port
tls-cert-file $cert->{cert}
tls-key-file $cert->{key}
tls-ca-cert-file $ca
tls-auth-clients no
user default off
user limits on >secret ~lines:{l* ~lines:{denied} +\@read +\@write +\@scripting +time +ping +select +role +info +config|get
END
    my $file = $t->file('limits.pw', "secret\n");
    my $bus  = $t->free_port;
    my $node = $t->redis(name => 'node', conf => "cluster-enabled yes\ncluster-port $bus\n");
    $node->cli('CLUSTER ADDSLOTSRANGE', 0, 16383);
    wait_for(sub { $node->cli('CLUSTER INFO') =~ /cluster_state:ok/ }, 30, 'a cluster');
    my $shop  = $t->redis(name => 'shop', kind => 'plain');
    my $guard = $t->redis(name => 'guard', args => ['--sentinel'], conf => 'sentinel monitor counts 127.0.0.1 ' . $shop->port . " 1\n");

    my @forms = (
        [$plain->url,                      "user=limits password_file=$file",              $plain, 'a user and its password'],
        ["rediss://limits\@localhost:$port", "password_file=$file cacert=$ca",             $plain, 'TLS'],
        [$shop->unix_url . ':3',           '',                                             $shop,  'a socket, and a database'],
        ['redis+sentinel://127.0.0.1:' . $guard->port . '/counts', '',                     $shop,  'Sentinel'],
        ['redis+cluster://127.0.0.1:' . $node->port, '',                                   $node,  'a cluster'],
        $main->url !~ m{/0$} ? () :
        [$main->url =~ s{/0$}{/7}r,        $main->options,                                 $main,  'another database of the same'],
    );

    for my $form (@forms) {
        my ($url, $options, $redis, $what) = @$form;
        $redis->cli('SELECT', $what =~ /a socket/ ? 3 : $what =~ /another/ ? 7 : 0);
        $redis->cli('FLUSHDB');
        my $nginx = $t->nginx(redis => $main, limits => $url, limits_options => $options, server => 'location /x/ { lines_rate_limit rate=1r/h burst=3 key=$arg_who name=x; empty_gif; }');
        wait_for(sub { (ready($nginx)->json('/limits/status') // '') eq 'ok' }, 30, "$what: connected");
        is scalar(grep { $_->status == 200 } map { $nginx->get('/x/x?who=me') } 1 .. 5), 3, $what;
        wait_for(sub { grep {/:b:x:/} $redis->cli('KEYS', '*') }, 30, "$what: they are there");
        is_deeply [grep { !/^lines:\{l/ } $redis->cli('KEYS', '*')], [], "$what: nothing else is";
        $redis->cli('SELECT', 0);
        $nginx->quit;
    }
};

subtest 'nginx -t' => sub {
    my @wrong = (
        ['lines_redis limits redis://127.0.0.1:1; lines_redis limits redis://127.0.0.1:2;' => qr/"lines_redis" directive "limits" is duplicate/],
        ['lines_redis limits;'                                  => qr/"lines_redis" directive "limits" has no address/],
        ['lines_redis counts redis://127.0.0.1:1;'              => qr/no store is called "counts" in "lines_redis" directive: one may be "limits"/],
        ['lines_redis limits redis://127.0.0.1:1 colour=blue;'  => qr/invalid parameter "colour=blue" of "lines_redis limits"/],
        ['lines_redis limits redis://127.0.0.1:1 replicas=1;'   => qr/invalid parameter "replicas=1" of "lines_redis limits"/],
        ['lines_redis limits redis://127.0.0.1:1 wait=1s;'      => qr/invalid parameter "wait=1s" of "lines_redis limits"/],
        ['lines_redis limits redis://127.0.0.1:1 layout=1;'     => qr/invalid parameter "layout=1" of "lines_redis limits"/],
        ['lines_redis limits redis://127.0.0.1:1 timeout=soon;' => qr/invalid time in parameter "timeout=soon" of "lines_redis limits"/],
        ['lines_redis limits http://127.0.0.1;'                 => qr/neither "redis:\/\/".* in "http:\/\/127.0.0.1" of "lines_redis limits" directive/],
        ['lines_redis limits redis://:secret@127.0.0.1;'        => qr/a password .* of "lines_redis limits" directive/],
        ['lines_redis limits redis://127.0.0.1:1 password=secret;' => qr/a password belongs in "password_file="/],
        ['lines_redis limits redis://127.0.0.1:1 silence=1s timeout=2s;' => qr/"silence=" is shorter than "timeout=" in "lines_redis limits" directive/],
        ['lines_redis limits redis://127.0.0.1:1 sni=x;'        => qr/are for "rediss:\/\/" in "lines_redis limits" directive/],
        ['lines_redis limits redis://nowhere.invalid;'          => qr/host not found in "nowhere.invalid:6379\/0"/],
    );

    for (@wrong) {
        my ($text, $says) = @$_;
        my $nginx = $t->nginx(name => 'wrong', start => 0, http => $text, redis => $main)->allow(qr/\[emerg\]/);
        my ($code, $output) = $nginx->test_config;
        isnt $code, 0, $text;
        like $output, $says, '... by name';
        unlike $output, qr/secret/, '... without a secret' if $text =~ /secret/;
    }

    my $right = $t->nginx(name => 'right', start => 0, redis => $main, http => 'lines_redis limits redis://127.0.0.1:1 timeout=100ms connect_timeout=50ms max_inflight=100;');
    my ($code, $output) = $right->test_config;
    is $code, 0, 'what is right' or diag $output;
};

$t->done;
