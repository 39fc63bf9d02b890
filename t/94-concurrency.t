# lines_concurrency: so many requests of a tenant at once, on a node, whichever worker has them; each given back once, whatever becomes of it and of its worker.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::H2;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $app   = $t->upstream(json => {from => 'upstream'});
my $url   = $app->url;

$t->file('www/big',  'x' x 20_000_000);
$t->file('www/page', 'the page of 429');

# an upstream that upgrades whatever it is asked, and then says nothing
my $ws_port = $t->free_port;
$t->spawn(upgrade => [$^X, '-MIO::Socket::INET', '-e', <<'END', $ws_port]);
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 100, ReuseAddr => 1) or die;
my @all;
while (my $c = $l->accept) { my $in = ''; while ($in !~ /\r\n\r\n/) { sysread $c, $in, 4096, length $in or last } syswrite $c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"; push @all, $c }
END

my %common = (
    redis       => $redis,
    concurrency => 'lines_concurrency tenant=3;',
    connections => 2000,
    server      => <<"END",
client_body_timeout 600s;
send_timeout 600s;
location /gate/   { lines_auth workspace; proxy_pass $url/; location /gate/own/ { lines_concurrency tenant=2 name=own; proxy_pass $url/; } location /gate/off/ { lines_concurrency off; proxy_pass $url/; } }
location /acct/   { lines_auth account; proxy_pass $url/; }
location /one/    { lines_auth workspace; lines_concurrency tenant=1 name=one; rewrite ^/one/(.*) /two/\$1 last; }
location /two/    { lines_auth workspace; lines_concurrency tenant=1 name=one; try_files /nowhere \@named; }
location \@named  { lines_concurrency tenant=1 name=one; proxy_pass $url; }
location /page/   { lines_auth workspace; lines_concurrency tenant=1 name=page; error_page 429 /page429; proxy_pass $url/; }
location = /page429 { lines_auth workspace; lines_concurrency tenant=1 name=page; alias @{[$t->dir]}/www/page; }
location /dry/    { lines_auth workspace; lines_concurrency tenant=1 name=dry dry_run; proxy_pass $url/; }
location /rated/  { lines_auth workspace; lines_concurrency tenant=1 name=rated; lines_rate_limit rate=1r/h burst=3 key=tenant name=rated sync=each; proxy_pass $url/; }
location /big     { lines_auth workspace; lines_concurrency tenant=20 name=big; alias @{[$t->dir]}/www/big; }
location /ws/     { lines_auth workspace; lines_concurrency tenant=2 name=ws; proxy_http_version 1.1; proxy_set_header Upgrade x; proxy_set_header Connection upgrade; proxy_pass http://127.0.0.1:$ws_port; }
location /asked/  { auth_request /ask; lines_concurrency tenant=1 name=asked; proxy_pass $url/; }
location = /ask   { internal; lines_auth workspace; lines_concurrency tenant=1 name=asked; proxy_pass $url; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
location /ssi/    { lines_auth workspace; lines_concurrency tenant=1 name=ssi; ssi on; ssi_types *; alias @{[$t->dir]}/www/; }
location /inner/  { lines_auth workspace; lines_concurrency tenant=1 name=ssi; proxy_pass $url/; }
END
);
$t->file('www/ssi', join ',', map {qq{<!--# include virtual="/inner/$_" -->}} 1 .. 4);

my $nginx = $t->nginx(%common, workers => 2, h2 => 1);
my %auth  = map { $_ => $nginx->bearer($nginx->workspace($_ => {plan => 'growth'})) } qw(one two three four five six seven eight);

sub passed (@answers) { scalar grep { $_->status == 200 } @answers }
sub sample ($what, $node = $nginx) { my ($n) = $node->get('/_lines/metrics')->body =~ /^\Q$what\E (\d+)$/m; $n // 0 }
sub held ($node = $nginx) { sample('lines_concurrency_requests', $node) }
sub counted ($n, $node = $nginx) { wait_for(sub { held($node) == $n }, 30, "$n requests to count, not " . held($node)) }

# one after another: an answer may be read before its worker has done with the request
sub each_of ($n, $path, $headers, $held = 0) { return map { counted($held); $nginx->get("$path$_", $headers) } 1 .. $n }
sub headers ($headers) { join '', map {"$_: $headers->{$_}\r\n"} keys %$headers }

# a request that waits for its body, as long as its socket is open
sub hold ($n, $path, $headers, $node = $nginx) {
    return map { my $s = $node->socket; syswrite $s, "POST $path HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nContent-Type: application/json\r\n" . headers($headers) . "\r\n"; $s } 1 .. $n;
}

subtest 'a gateway and an API' => sub {
    my @held = hold(2, '/gate/x', $auth{one});
    push @held, hold(1, '/api/line-requests', $auth{one});
    counted(3);

    for my $path ('/gate/x', '/api/lines/by-user') {
        my $answer = $nginx->get($path, $auth{one});
        is $answer->status, 429, "$path: the fourth";
        is $answer->header('Retry-After'), 1, 'may come again in a second';
        is_deeply $answer->json, {error => 'Too many requests at once: wait for some to be answered', code => 'concurrency_limit_reached'}, 'in the dialect';
        is $nginx->get($path, $auth{two})->status, 200, "$path: another tenant";
    }
    is $nginx->get('/gate/x')->status, 401, 'nobody is nobody';
    is $nginx->get('/gate/off/x', $auth{one})->status, 200, 'off';
    is $nginx->get('/gate/own/x', $auth{one})->status, 200, 'a name has a count of its own';
    counted(3);

    close shift @held;
    counted(2);
    is $nginx->get('/gate/x', $auth{one})->status, 200, 'one has left: the next may';
    syswrite $_, '{"a":"b"} ' for @held;
    counted(0);
    is sample('lines_concurrency_limited_requests_total{outcome="refused"}'), 2, 'refusals are counted';
    like $nginx->error_log, qr/\[warn\].* lines: too many requests at once of " w:one"/, 'and warned of';
};

subtest 'an account' => sub {
    my ($id, $secret) = $nginx->account(acc => {plan => 'inbound_only'});
    my @held = hold(3, '/acct/x', $nginx->pair($id, $secret));
    counted(3);
    for my $path ('/acct/x', '/accounts/lines') {
        is_deeply $nginx->get($path, $nginx->pair($id, $secret))->json,
          {status => 'ERROR', error => 'concurrency_limit_reached', message => 'Too many requests at once: wait for some to be answered'}, "$path: in its dialect";
    }
    close $_ for @held;
    counted(0);
};

subtest 'given back once' => sub {
    is passed(map { $nginx->get("/gate/$_", $auth{one}) } 1 .. 20), 20, 'one after another, kept alive';
    is passed(each_of(5, '/one/', $auth{one})), 5, 'rewritten, tried, named: counted once';
    is passed(each_of(5, '/asked/', $auth{one})), 5, 'auth_request: its request counts';
    counted(0);
    my $page = $nginx->get('/ssi/ssi', $auth{one});
    is $page->status, 200, 'subrequests do not count by themselves';
    unlike $page->body, qr/429|concurrency/, '... none is refused';
    counted(0);

    my ($held) = hold(1, '/asked/x', $auth{one});
    counted(1);
    is $nginx->get('/asked/x', $auth{one})->status, 429, 'auth_request: one too many is 429';
    close $held;
    counted(0);

    $nginx->reset_connection($_) for hold(3, '/gate/x', $auth{two});
    counted(0);
    is $nginx->get('/gate/x', $auth{two})->status, 200, 'clients that reset';
};

subtest 'error_page, rates, dry_run' => sub {
    my @held = hold(1, '/page/x', $auth{three});
    counted(1);
    my $answer = $nginx->get('/page/x', $auth{three});
    is $answer->status, 429, 'error_page: the status';
    is $answer->body, 'the page of 429', 'its page, which is not refused as well';
    is $answer->header('Retry-After'), 1, 'with Retry-After';

    push @held, hold(1, '/rated/x', $auth{three});
    counted(2);
    is $nginx->get('/rated/x', $auth{three})->status, 429, 'refused' for 1 .. 5;
    close pop @held;
    counted(1);
    is passed(each_of(5, '/rated/', $auth{three}, 1)), 2, 'who is refused takes no token';

    push @held, hold(2, '/dry/x', $auth{three});
    counted(3);
    is $nginx->get('/dry/x', $auth{three})->status, 200, 'dry_run lets pass';
    is sample('lines_concurrency_limited_requests_total{outcome="refused_dry_run"}'), 2, 'and counts';
    close $_ for @held;
    counted(0);
};

subtest 'HTTP/2, an upgrade' => sub {
    my $refused = sub { sample('lines_concurrency_limited_requests_total{outcome="refused"}') };
    my $before  = $refused->();
    my $h2 = Test::Lines::H2->new(port => $nginx->h2_port, window => 1);
    my @streams = map { $h2->request(GET => '/big', {authorization => $auth{four}{Authorization}}) } 1 .. 21;
    ok $h2->wait($_, 30, 'headers'), 'a stream is answered' for @streams;
    counted(20);
    is $refused->() - $before, 1, 'each stream counts: one was too many';
    $h2->reset($streams[0]);
    counted(19);
    $h2->leave;
    counted(0);

    my @ws = map { my $s = $nginx->socket; syswrite $s, "GET /ws/x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n" . headers($auth{four}) . "\r\n"; sysread $s, my $in, 4096; like $in, qr/^HTTP\/1.1 101/, 'upgraded'; $s } 1 .. 2;
    counted(2);
    is $nginx->get('/ws/x', $auth{four})->status, 429, 'what is upgraded counts while it lasts';
    close $_ for @ws;
    counted(0);
};

subtest 'sixty slow readers' => sub {
    my @slow = map { my $s = $nginx->socket; setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096; syswrite $s, "GET /big HTTP/1.1\r\nHost: x\r\n" . headers($auth{five}) . "\r\n"; $s } 1 .. 60;
    my @first = map { sysread $_, my $in, 12; $in } @slow;
    is scalar(grep {/ 200$/} @first), 20, 'twenty are served';
    is scalar(grep {/ 429$/} @first), 40, 'forty are told to wait';
    counted(20);
    is passed(concurrently(30, sub ($i) { $nginx->get_p("/gate/$i", $nginx->bearer(substr $auth{(qw(six seven eight))[$i % 3]}{Authorization}, 7)) }, 30)) > 0, 1, 'others are not held up';
    is $nginx->get('/api/lines/by-user', $auth{six})->status, 200, 'nor at the API';
    close $_ for @slow;
    counted(0);
};

subtest 'a worker that is killed' => sub {
    my $node = $t->nginx(%common, workers => 2);
    my @held = hold(3, '/gate/x', $auth{one}, $node);
    counted(3, $node);
    is $node->get('/gate/x', $auth{one})->status, 429, 'three are held';
    $node->kill_worker($_) for $node->pids;
    counted(0, $node);
    is passed(map { $node->get('/gate/x', $auth{one}) } 1 .. 3), 3, 'what it held is given back';

    # an old one, in whose place nobody comes
    @held = hold(3, '/gate/x', $auth{one}, $node);
    counted(3, $node);
    my @old = $node->pids;
    $node->reload;
    is $node->get('/gate/x', $auth{one})->status, 429, 'a reload: old workers count';
    my @new = hold(1, '/gate/x', $auth{two}, $node);
    counted(4, $node);
    $node->killed->{$_} = 1, kill KILL => $_ for @old;
    wait_for(sub { $node->get('/gate/x', $auth{one})->status == 200 }, 30, 'what dead old workers held');
    counted(1, $node);
    close $_ for @held, @new;
    counted(0, $node);

    # at once, and with a graceful end
    @held = hold(3, '/gate/x', $auth{one}, $node);
    counted(3, $node);
    $node->reload;
    close $_ for @held;
    counted(0, $node);
};

subtest 'a small zone' => sub {
    my $node = $t->nginx(%common, zone => 'lines:1m', workers => 1, concurrency => '');
    my @held = hold(101, '/gate/x', $auth{one}, $node);
    counted(100, $node);
    is $node->get('/gate/x', $auth{one})->status, 429, 'a hundred, by default';
    is $node->get('/gate/x', $auth{two})->status, 200, 'of a tenant';

    close $_ for @held;
    counted(0, $node);
};

subtest 'more tenants than a zone has places' => sub {
    my $node = $t->nginx(%common, zone => 'lines:1m', workers => 1);
    my @keys = map { $node->bearer($node->workspace("many$_")) } 1 .. 300;
    my @held = map { hold(1, '/gate/x', $_, $node) } @keys;
    wait_for(sub { sample('lines_concurrency_limited_requests_total{outcome="uncounted"}', $node) > 0 && held($node) + sample('lines_concurrency_limited_requests_total{outcome="uncounted"}', $node) == 300 }, 60, 'all to be there');
    cmp_ok held($node), '<', 300, 'not all have a place';
    like $node->error_log, qr/\[warn\].*"lines_zone" is too small to count all requests at once/, 'which is said';
    push @held, hold(2, '/gate/x', $keys[0], $node);
    is $node->get('/gate/x', $keys[299])->status, 200, 'one without a place passes';
    wait_for(sub { $node->get('/gate/x', $keys[0])->status == 429 }, 30, 'one who has one is counted still');
    close $_ for @held;
    counted(0, $node);
    is passed(map { $node->get('/gate/x', $keys[299]) } 1 .. 3), 3, 'and all is as before';
};

subtest 'configuration' => sub {
    for (
        ['lines_concurrency 5;', qr/invalid parameter "5" in "lines_concurrency"/],
        ['lines_concurrency tenant=0;', qr/invalid parameter "tenant=0"/],
        ['lines_concurrency name=x;', qr/directive needs "tenant="/],
        ['lines_concurrency tenant=1 name=a/b;', qr/invalid parameter "name=a\/b"/],
        ['lines_concurrency off dry_run;', qr/invalid parameter "off"/],
        ['lines_concurrency off; lines_concurrency tenant=1;', qr/is duplicate/],
      )
    {
        my ($code, $out) = $t->test_config(redis => $redis, server => "location /a/ { $_->[0] }");
        isnt $code, 0, "refused: $_->[0]";
        like $out, $_->[1], 'and says why';
    }
};

$t->done;
