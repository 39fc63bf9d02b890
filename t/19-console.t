# The operator's console by HTTP: the page that lines_console serves, sessions of the operator's API, and what it asks there. What
# a browser makes of it: 19-console-browser.t.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Tls;
use Time::HiRes ();

my $t     = Test::Lines->new;
my $root  = $t->root;
my $dir   = "$root/conf/console";
my $chart = $t->file('chart.js', "/* what draws */\n");
my ($ada, $bob) = ('a' x 40, 'b' x 40);
my $file  = $t->file('operators', "ada all $ada\nbob read $bob\n");
my $tls   = Test::Lines::Tls->new(t => $t);
my $cert = $tls->ca('ca')->certificate('ca', 'nginx', 'IP:127.0.0.1');
my $secure = $t->free_port;
my $redis = $t->redis;
my $api   = "lines_admin token_file=$file;";

my $nginx = $t->nginx(redis => $redis, workers => 2, http => <<"END", server => <<"END2");
    server {
        listen 127.0.0.1:$secure ssl;
        ssl_certificate $cert->{cert};
        ssl_certificate_key $cert->{key};
        location /ops/ { $api }
    }
END
        location /ops/ { $api add_header X-Worker \$pid always; }
        location /other/ { $api lines_cors origin=https://evil.example credentials; }
        location /console/ { lines_console admin=/ops/ dir=$dir chart=$chart; }
        location /limited/ { lines_console admin=/ops/ dir=$dir chart=$chart; limit_except GET { deny all; } }
        location /if/ { lines_console admin=/ops/ dir=$dir chart=$chart; if (\$arg_plain) { gzip off; } }
END2

my %own = ('X-Lines-Console' => 1);

sub ask ($method, $path, $headers, $json = undef, $at = '/ops/') {
    return $nginx->request($method, $path =~ /^http/ ? $path : "$at$path", {%$headers, $json ? ('Content-Type' => 'application/json') : ()}, $json // '');
}

sub login ($token, $at = '/ops/') {
    my $answer = ask(POST => 'session', {Authorization => "Bearer $token"}, undef, $at);
    my ($id) = ($answer->header('Set-Cookie') // '') =~ /^lines_session_\d+=([0-9a-f]{64});/;
    return ($answer, $id);
}

sub cookie ($id, %more) { +{Cookie => "lines_session=$id", %own, %more} }

subtest 'the page' => sub {
    my %type = ('' => 'text/html', 'console.css' => 'text/css', 'console.js' => 'text/javascript', 'chart.js' => 'text/javascript', 'config.json' => 'application/json');
    my %body = ('' => path($dir, 'index.html')->slurp, 'chart.js' => path($chart)->slurp, 'config.json' => qq({"admin":"/ops/"}\n),
        map { $_ => path($dir, $_)->slurp } qw(console.css console.js));

    for my $name (sort keys %type) {
        my $answer = $nginx->get("/console/$name");
        is $answer->status, 200, "/console/$name" or next;
        is $answer->body, $body{$name}, '... is the file';
        is $answer->header('Content-Type'), "$type{$name}; charset=utf-8", '... of its type';
        is $answer->header('Content-Security-Policy'),
          "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
          '... with a strict policy';
        is $answer->header('X-Content-Type-Options'), 'nosniff', '... no other type';
        is $answer->header('Referrer-Policy'), 'no-referrer', '... no referrer';
        is $answer->header('Cache-Control'), 'no-cache', '... asked for again';
        my $etag = $answer->header('ETag');
        is $nginx->get("/console/$name", {'If-None-Match' => $etag})->status, 304, '... and known by its ETag';
        is $nginx->head("/console/$name")->body, '', 'HEAD';
    }

    is $nginx->get("/console/$_")->status, 404, "/console/$_ is not there" for qw(index.html console.js/ x ../ops/x chart.min.js);
    is $nginx->get('/console')->status, 301, 'without the slash it leads there';
    is $nginx->post('/console/', 'x')->status, 405, 'POST is refused';
    is $nginx->get('/limited/')->status, 200, 'limit_except lets in';
    is $nginx->post('/limited/', '')->status, 403, '... or not';
    is $nginx->get('/if/console.css?plain=1')->body, $body{'console.css'}, 'if';
    unlike path($dir, $_)->slurp, qr{https?:(?!//www\.w3\.org)|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bstyle=|sessionStorage},
      "$_ names no address, and makes no HTML of text" for qw(index.html console.css console.js);
    is_deeply [path($dir, 'console.js')->slurp =~ /localStorage\.\w+\((\w+)/g], [qw(name name)], 'one thing is kept in the browser: the low-water mark';
};

subtest 'nginx -t' => sub {
    for (
        ["dir=$dir chart=/nowhere/chart.js", qr{"lines_console": the script of plots "/nowhere/chart\.js" cannot be opened: install Debian's package libjs-chart\.js, or name the file with chart=.*No such file}, 'no chart.js'],
        ["dir=/nowhere chart=$chart", qr{"lines_console": the file "/nowhere/index\.html" cannot be opened: name the folder that has it, conf/console of the sources, with dir=}, 'no page'],
        ["dir=$dir chart=$dir", qr{"lines_console": "\Q$dir\E" is no file}, 'a folder for a file'],
        (map { ["admin=$_ dir=$dir chart=$chart", qr{not a path of this server that begins and ends with "/": invalid parameter "admin=\Q$_\E" in "lines_console"}, "admin=$_"] }
            '/ops', 'ops/', 'https://evil.example/', '//evil.example/', '/o"ps/'),
        ["dir=$dir chart=$chart color=red", qr/"color=red" in "lines_console"/, 'another parameter']
    ) {
        my ($code, $output) = $t->test_config(server => 'location /c/ { lines_console ' . ($_->[0] =~ s/(admin=\S*"\S*)/'$1'/r) . '; }');
        isnt $code, 0, "$_->[2]: an error";
        like $output, $_->[1], '... that says why';
    }

    for (['location = /c', 'a file'], ['location /c', 'no slash'], ['location ~ ^/c/', 'a pattern']) {
        my ($code, $output) = $t->test_config(server => "$_->[0] { lines_console dir=$dir chart=$chart; }");
        isnt $code, 0, "$_->[1]: an error";
        like $output, qr{"lines_console" must be in a prefix location that ends with "/", not in "}, '... that says why';
    }

    my ($code, $output) = $t->test_config(server => "location /c/ { lines_console dir=$dir chart=$chart; lines_console; }");
    like $output, qr/"lines_console" directive is duplicate/, 'twice';
    ($code, $output) = $t->test_config(server => "location /c/ { lines_ready; lines_console dir=$dir chart=$chart; }");
    like $output, qr{"lines_console": location "/c/" has another handler already}, 'besides another';

    SKIP: {
        skip 'libjs-chart.js is not installed', 1 unless -e '/usr/share/javascript/chart.js/chart.min.js';
        is +($t->test_config(server => "location /c/ { lines_console dir=$dir; }"))[0], 0, "by default it is where Debian's package has it";
    }
};

subtest 'a session' => sub {
    my ($answer, $id) = login($ada);
    is $answer->status, 201, 'is opened with a token' or return diag $answer->to_string;
    is $answer->json('/operator'), 'ada', '... of him';
    is $answer->json('/role'), 'all', '... and what he may';
    like $answer->json('/expires_at'), qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, '... until when';
    is $answer->header('Set-Cookie') =~ s/=[0-9a-f]{64}/=ID/r, 'lines_session_' . $nginx->port . '=ID; Path=/ops/; Max-Age=28800; HttpOnly; SameSite=Strict', 'its cookie is for the API alone, and no script';

    my $told = ask(GET => 'session', cookie($id));
    is_deeply $told->json, $answer->json, 'it tells of itself';
    is ask(PUT => 'workspaces/org_1', cookie($id), '{"plan":"growth"}')->status, 201, 'with it he may what he may with his token';
    is ask(GET => 'workspaces/org_1', cookie($id))->json('/plan'), 'growth', '... and read';
    is ask(GET => 'workspaces/org_9', cookie($id))->status, 404, '... or not find';
    is ask(PUT => 'workspaces/org_1', cookie($id), '{"plan":5}')->status, 400, '... and be told what is wrong';
    is ask(PUT => 'workspaces/org_1', cookie($id), '{')->status, 400, '... of no JSON, too';
    is_deeply ask(GET => 'session', {Authorization => "Bearer $ada"})->json, {operator => 'ada', role => 'all', expires_at => undef}, 'a token has no end';

    my $hash = sha256_hex(pack 'H*', $id);
    my %kept = $redis->cli(HGETALL => "lines:{admin}:session:$hash");
    is_deeply [sort keys %kept], [qw(ends operator proof)], 'Redis has its digest, and who he is';
    my $all = join ' ', map { my $one = $_; ($one, $redis->cli($one =~ /sessions:/ ? (ZRANGE => $one, 0, -1) : (HGETALL => $one))) } $redis->cli(KEYS => 'lines:{admin}:session*');
    unlike $all, qr/\Q$id\E|\Q$ada\E|@{[sha256_hex($ada)]}/, '... neither the id, nor the token, nor its digest';
    cmp_ok $redis->cli(PTTL => "lines:{admin}:session:$hash"), '>', 28_000_000, '... for eight hours';
    unlike $nginx->error_log, qr/\Q$id\E|\Q$ada\E/, 'nor have the logs';

    my @log = @{ask(GET => 'audit-log', cookie($id))->json('/entries')};
    is_deeply [map { [@$_{qw(operator method path)}] } grep { $_->{path} eq '/ops/session' } @log], [['ada', 'POST', '/ops/session']], 'that it was opened is in the log';

    my $end = ask(DELETE => 'session', cookie($id));
    is $end->status, 200, 'it ends by his word' or diag $end->to_string;
    is $end->header('Set-Cookie'), 'lines_session=; Path=/ops/; Max-Age=0; HttpOnly; SameSite=Strict', '... and the browser drops the cookie';
    is ask(GET => 'session', cookie($id))->status, 401, '... which is good for nothing';
    is_deeply [$redis->cli(KEYS => 'lines:{admin}:session*')], [], '... nothing of it is left';
    is ask(GET => 'audit-log?limit=1', {Authorization => "Bearer $ada"})->json('/entries/0/method'), 'DELETE', '... and that is in the log';
};

subtest 'by TLS' => sub {
    $nginx->ua->insecure(1);
    my $answer = ask(POST => "https://127.0.0.1:$secure/ops/session", {Authorization => "Bearer $ada"});
    like $answer->header('Set-Cookie') // '', qr/; SameSite=Strict; Secure$/, 'the cookie is for TLS alone' or diag $answer->to_string;
    my ($id) = ($answer->header('Set-Cookie') // '') =~ /=([0-9a-f]{64})/;
    is ask(GET => "https://127.0.0.1:$secure/ops/session", cookie($id, Origin => "https://127.0.0.1:$secure"))->status, 200, 'of its own origin';
    is ask(GET => "https://127.0.0.1:$secure/ops/session", cookie($id, Origin => "http://127.0.0.1:$secure"))->status, 403, '... not of one without TLS';
    ask(DELETE => "https://127.0.0.1:$secure/ops/session", cookie($id));
};

subtest 'what opens none' => sub {
    my ($answer, $id) = login($ada);

    is +(login($_))[0]->status, 401, 'a wrong token: ' . ($_ || 'none') for 'x' x 40, $ada . 'a', '';
    is ask(POST => 'session', {})->status, 401, 'none';
    is ask(POST => 'session', cookie($id))->status, 401, 'another session';
    is ask(POST => 'session', {Authorization => 'Basic ' . $ada})->status, 401, 'another scheme';
    is ask(PUT => 'session', {Authorization => "Bearer $ada"})->status, 405, 'another method';
    is ask(DELETE => 'session', {Authorization => "Bearer $ada"})->json('/error'), 'There is no session: the request has a token', 'a token has none to end';
    ask(DELETE => 'session', cookie($id));
};

subtest 'whose requests count' => sub {
    my (undef, $id) = login($ada);
    my $host = '127.0.0.1:' . $nginx->port;
    my $put  = sub (%headers) { ask(PUT => 'workspaces/org_1', {Cookie => "lines_session=$id", %headers}, '{"plan":"mini"}') };
    my $words = 'A session counts in requests of its own site with the header X-Lines-Console: 1';

    for (
        ['without the header'],
        ['with another one', 'X-Lines-Console' => 2],
        ['of another origin', %own, Origin => 'https://evil.example'],
        ['of another port', %own, Origin => 'http://127.0.0.1:1'],
        ['of a sandboxed page', %own, Origin => 'null'],
        ['of two origins', %own, Origin => ["http://$host", 'https://evil.example']],
        ['of an origin that begins alike', %own, Origin => "http://$host.evil.example"],
        ['of another site, says the browser', %own, 'Sec-Fetch-Site' => 'cross-site'],
        ['of a sibling', %own, 'Sec-Fetch-Site' => 'same-site'],
        ['of a navigation', %own, 'Sec-Fetch-Site' => 'none'],
        ['of an own origin and another site', %own, Origin => "http://$host", 'Sec-Fetch-Site' => 'cross-site']
    ) {
        my ($what, %headers) = @$_;
        my $answer = $put->(%headers);
        is $answer->status, 403, $what;
        is $answer->json('/error'), $words, '... and told why';
    }
    is ask(GET => 'workspaces/org_1', {Cookie => "lines_session=$id"})->status, 403, 'a read is one, too';
    is ask(PUT => 'workspaces/org_1', cookie($id, Origin => 'https://evil.example'), '{"plan":"mini"}', '/other/')->status, 403, '... whom lines_cors lets in is let in by his own credentials';
    is ask(GET => 'workspaces/org_1', cookie($id))->json('/plan'), 'growth', 'nothing was changed';

    is $put->(%own, Origin => "http://$host", 'Sec-Fetch-Site' => 'same-origin')->status, 200, 'its own page';
    is $put->(%own, Origin => "https://$host")->status, 200, '... behind what ends TLS, too';
    is $put->(%own, Cookie => "a=1; lines_session=$id; b=2")->status, 200, 'among other cookies';
    is $put->(%own, Cookie => ['a=1', "lines_session=$id"])->status, 200, '... in another header';
    is $put->(Authorization => "Bearer $ada")->status, 200, 'a token counts before it';
    is $put->(%own, Authorization => 'Bearer ' . 'x' x 40)->status, 401, '... a wrong one as well';

    is ask(GET => 'session', {%own, Cookie => "lines_session=$_"})->status, 401, 'no session: ' . substr($_, 0, 12)
      for '', 'x', 'f' x 64, 'F' x 63, substr($id, 1), "${id}0", uc($id) =~ s/./g/r, 'a' x 5000;
    ask(DELETE => 'session', cookie($id));
};

subtest 'another deployment behind another port of the host' => sub {
    my ($answer, $id) = login($ada);
    my $name = 'lines_session_' . $nginx->port;
    like $answer->header('Set-Cookie'), qr/^$name=/, 'has a cookie of another name: browsers keep one of a name for all ports';

    my $get = sub ($cookie, %headers) { ask(GET => 'session', {%own, Cookie => $cookie, %headers}) };
    is $get->("lines_session_1=$id")->status, 401, 'that of another port counts there';
    is $get->("lines_session=$id")->status, 200, 'one without a port, of a node of before say, counts';
    is $get->("lines_session=" . 'f' x 64 . "; $name=$id")->status, 200, '... after those that have it';
    is $get->("lines_session=$id", Host => 'ops.example.com')->status, 200, 'where no port was named';
    is $get->("$name=$id", Host => $_)->status, 401, "... but not the others: $_" for 'ops.example.com', 'ops.example.com:1', '[::1]';
    is $get->("lines_session_8443=$id", Host => $_)->status, 200, "a port: $_" for 'ops.example.com:8443', '[::1]:8443';

    my $begun = sub ($host) { ask(POST => 'session', {Authorization => "Bearer $ada", Host => $host})->header('Set-Cookie') };
    like $begun->('ops.example.com'), qr/^lines_session=/, 'begun without one';
    like $begun->('[::1]:8443'), qr/^lines_session_8443=/, '... and with one';

    my $end = ask(DELETE => 'session', {%own, Cookie => "$name=$id"});
    is $end->header('Set-Cookie'), "$name=; Path=/ops/; Max-Age=0; HttpOnly; SameSite=Strict", 'the one that counted is dropped, and no other';
    $redis->cli(DEL => $redis->cli(KEYS => 'lines:{admin}:session*'));
};

subtest 'credentials of another scheme' => sub {
    my ($answer, $id) = login($ada);
    is ask(GET => 'workspaces/org_1', cookie($id, Authorization => $_))->status, 200, "are not the session's: $_" for 'Basic dTpw', 'basic dTpw', 'Digest username="u", realm="r"', '';
    is ask(GET => 'workspaces/org_1', cookie($id, Authorization => $_))->status, 401, "a token is, a wrong one, too: $_" for 'Bearer x', 'bearer x', 'Bearer', 'x';
    is ask(GET => 'workspaces/org_1', {Cookie => "lines_session=$id", Authorization => 'Basic dTpw'})->status, 403, 'it is a session, whose header has to be there';
    ask(DELETE => 'session', cookie($id));
};

subtest 'who may only read' => sub {
    my ($answer, $id) = login($bob);
    is $answer->status, 201, 'may open a session';
    is $answer->json('/role'), 'read', '... of his role';
    is ask(GET => 'workspaces/org_1', cookie($id))->status, 200, '... read with it';
    is ask(@$_[0, 1], cookie($id), $_->[2])->json('/error'), 'This token may only read', "... and no more: $_->[0] $_->[1]"
      for [PUT => 'workspaces/org_1', '{"plan":"mini"}'], [POST => 'audit'], [DELETE => 'workspaces/org_1'];
    is ask(DELETE => 'session', cookie($id))->status, 200, '... and end it';
};

subtest 'what nobody opened' => sub {
    my (undef, $id) = login($ada);
    my $hash = sha256_hex(pack 'H*', $id);
    my $mine = 'e' x 64;
    my %kept = $redis->cli(HGETALL => "lines:{admin}:session:$hash");

    $redis->cli(HSET => 'lines:{admin}:session:' . sha256_hex(pack 'H*', $mine), %kept);
    is ask(GET => 'session', cookie($mine))->status, 401, "who may write into Redis, and knows no token, copies another's in vain";
    $redis->cli(HSET => "lines:{admin}:session:$hash", operator => 'bob');
    is ask(GET => 'session', cookie($id))->status, 401, '... or gives it another name';
    $redis->cli(HSET => "lines:{admin}:session:$hash", operator => 'ada');
    is ask(GET => 'session', cookie($id))->status, 200, 'it was good';
    $redis->cli(PEXPIRE => "lines:{admin}:session:$hash", 1);
    wait_for(sub { ask(GET => 'session', cookie($id))->status == 401 }, 10, 'its end');
    pass 'eight hours later it is over';
    $redis->cli(DEL => 'lines:{admin}:session:' . sha256_hex(pack 'H*', $mine));
};

subtest 'ten of them' => sub {
    my @ids = map { my (undef, $id) = login($ada); Time::HiRes::sleep(0.005); $id } 1 .. 11;
    my (undef, $his) = login($bob);
    is ask(GET => 'session', cookie($ids[0]))->status, 401, 'the oldest of too many went';
    is ask(GET => 'session', cookie($_))->status, 200, 'another is good' for @ids[1, 10], $his;
    is $redis->cli(ZCARD => 'lines:{admin}:sessions:ada'), 10, 'ten are listed';
    is scalar(() = $redis->cli(KEYS => 'lines:{admin}:session:*')), 11, '... and there, with the other one of his';
    ask(DELETE => 'session', cookie($_)) for @ids[1 .. 10], $his;
};

subtest 'what the console reads' => sub {
    my $me = {Authorization => "Bearer $ada"};
    my $api_key = $nginx->workspace(org_read => {plan => 'growth'});
    my $made = $nginx->post_json('/api/line-requests', {firstName => '<b>Ada</b>', lastName => 'Lovelace', channelType => 'phone'}, $nginx->bearer($api_key));
    is $made->status, 201, 'a line' or diag $made->to_string;
    my $line = $made->json('/line/_id');
    is ask(POST => "lines/$line/status", $me, '{"status":"active","phone":"+14155550111"}')->status, 200, '... is active';

    my $lines = ask(GET => 'workspaces/org_read/lines', $me);
    is_deeply [map { [@$_{qw(_id firstName provisioningStatus)}] } @{$lines->json('/lines')}], [[$line, '<b>Ada</b>', 'active']], 'its lines' or diag $lines->to_string;
    is $lines->json('/cursor'), undef, '... all of them';
    is ask(GET => 'workspaces/org_none/lines', $me)->status, 404, '... of nobody';

    my $events = ask(GET => 'workspaces/org_read/events', $me)->json;
    is_deeply [map { [@$_{qw(type line)}] } @{$events->{events}}], [['line.active', $line], ['line.provisioning', $line]], 'what happened, the latest first' or diag explain $events;
    like $events->{events}[0]{at}, qr/^20\d\d-.*Z$/, '... and when';
    my $first = ask(GET => 'workspaces/org_read/events?limit=1', $me)->json;
    is_deeply [map { $_->{type} } @{$first->{events}}], ['line.active'], 'a page of it';
    my $second = ask(GET => "workspaces/org_read/events?limit=1&cursor=$first->{cursor}", $me)->json;
    is_deeply [map { $_->{type} } @{$second->{events}}], ['line.provisioning'], '... the next';
    is $second->{cursor}, undef, '... and the last';
    is ask(GET => "workspaces/org_read/events?$_", $me)->status, 400, "not with $_" for 'limit=0', 'limit=101', 'cursor=x', 'cursor=0', 'cursor=-1';
    is ask(GET => 'accounts/none/events', $me)->status, 404, 'of nobody nothing';

    # one that was written down later than its number, and one that nobody wrote
    my $last = $events->{events}[0]{id};
    $redis->cli(RPUSH => 'lines:{w:org_read}:journal', '{"id":' . ($last + 5) . ',"type":"line.released","at":' . ($last + 1) . ',"line":"x"}', 'odd');
    my $odd = ask(GET => 'workspaces/org_read/events?limit=2', $me)->json;
    is_deeply [map { $_->{type} } @{$odd->{events}}], ['line.released', 'line.active'], 'what is no entry is passed over' or diag explain $odd;
    $redis->cli(RPOP => 'lines:{w:org_read}:journal') for 1, 2;

    my $node = ask(GET => 'node', $me);
    is $node->status, 200, 'the node' or diag $node->to_string;
    is $node->json('/health/redis/status'), 'ok', 'Redis';
    like $node->json('/node'), qr/^\S+:\d+$/, 'which one';
    is $node->json('/billing'), undef, 'no billing';
    my ($mine) = grep { $_->{endpoint} eq 'admin_show_node' } @{ask(GET => 'node', $me)->json('/requests')};
    is $mine->{codes}{200}, 1, 'its own requests';
    is scalar(@{$mine->{latency}{buckets}}), 1 + @{$node->json('/bounds')}, '... and how long they took';
    wait_for(sub { ask(GET => 'node', $me)->json('/fleet') }, 60, 'the survey, which lines_console asks for');
    wait_for(sub { (ask(GET => 'node', $me)->json('/fleet/lines/active') // 0) == 1 }, 60, 'the line in it') if !ask(GET => 'node', $me)->json('/fleet/lines/active');
    is_deeply [sort keys %{ask(GET => 'node', $me)->json('/fleet/lines')}], [sort qw(awaiting_payment provisioning active failed canceled released)], 'states of lines';

    is_deeply ask(GET => 'operations?state=running', $me)->json, {operations => [], cursor => undef}, 'nothing is under way';
    is ask(GET => 'operations?state=x', $me)->json('/error'), 'state must be stuck or running', 'another state';
    is ask(GET => 'operations/' . 'a' x 24, $me)->status, 404, 'no such operation';
    is ask(GET => 'operations/x', $me)->status, 400, '... nor id';
};

subtest 'operations and their story' => sub {
    my $me  = {Authorization => "Bearer $ada"};
    my $op  = 'b' x 24;
    my $now = int(Time::HiRes::time() * 1000);

    # as one that rests lies there
    $redis->cli(SET  => "lines:{ix:$op}", 'w:org_read');
    $redis->cli(HSET => "lines:{w:org_read}:op:$op", kind => 'request', step => 'await', line => 'c' x 24, begun => $now - 1000, tries => 2);
    $redis->cli(SADD => 'lines:{w:org_read}:ops', $op);
    $redis->cli(ZADD => 'lines:{due:3}', $now + 3_600_000, "w:org_read $op");
    $redis->cli(ZADD => 'lines:{due:3}', $now + 3_600_001, 'a:none ticket.12');
    $redis->cli(RPUSH => 'lines:{w:org_read}:journal', map { qq({"id":$_->[0],"type":"$_->[1]",$_->[2]}) }
        [$now - 2000, 'line.failed', '"line":"' . 'c' x 24 . '"'], [$now - 900, 'line.awaiting_payment', '"line":"' . 'c' x 24 . '"'],
        [$now - 800, 'operation.resolved', qq("operation":"$op","note":"\\u003cb\\u003e")], [$now - 700, 'line.active', '"line":"' . 'd' x 24 . '"']);

    my $running = ask(GET => 'operations?state=running&limit=5', $me)->json('/operations');
    is_deeply [map { [@$_{qw(id tenant kind step stuck)}] } @$running], [[$op, 'w:org_read', 'request', 'await', undef]], 'what is due, and no ticket';

    # more than are shown, in each list
    my @more = map { my $list = $_; map { ["lines:{due:$list}", $now + 7_200_000 + 16 * $_ + $list, sprintf 'w:org_read %024x', $list * 1000 + $_] } 1 .. 120 } 0 .. 15;
    $redis->cli(ZADD => @$_) for @more;
    $redis->cli(ZADD => 'lines:{due:15}', $now + 1_800_000, 'w:org_read ' . 'e' x 24);
    $redis->cli(HSET => "lines:{w:org_read}:op:$_", kind => 'request', step => 'await') for 'e' x 24, map { $_->[2] =~ s/.* //r } @more;
    is_deeply [map { $_->{id} } @{ask(GET => 'operations?state=running&limit=3', $me)->json('/operations')}], ['e' x 24, $op, sprintf '%024x', 1], 'those that are due first, of all lists';
    is scalar @{ask(GET => 'operations?state=running', $me)->json('/operations')}, 100, '... up to a hundred';
    $redis->cli(ZREM => @$_[0, 2]) for @more, ['lines:{due:15}', undef, 'w:org_read ' . 'e' x 24];
    $redis->cli(DEL => "lines:{w:org_read}:op:$_") for 'e' x 24, map { $_->[2] =~ s/.* //r } @more;

    my $story = ask(GET => "operations/$op", $me)->json;
    is $story->{operation}{step}, 'await', 'where it is';
    is_deeply [map { $_->{type} } @{$story->{events}}], ['operation.resolved', 'line.awaiting_payment'], 'what happened to it and its line since it began';
    is $story->{events}[0]{note}, '<b>', '... with what is known of each';

    $redis->cli(HSET => "lines:{w:org_read}:op:$op", stuck => 'no_answer');
    is_deeply ask(GET => 'operations?state=running', $me)->json('/operations'), [], 'one that is stuck is not running';
    $redis->cli(ZADD => 'lines:{stuck}', $now, "w:org_read $op");
    is ask(GET => 'operations?state=stuck', $me)->json('/operations/0/stuck'), 'no_answer', '... but stuck';
    $redis->cli(HSET => "lines:{w:org_read}:op:$op", step => 'done', stuck => '');
    is_deeply ask(GET => 'operations?state=running', $me)->json('/operations'), [], 'nor is one that has ended';
    is_deeply ask(GET => 'operations?state=stuck', $me)->json('/operations'), [], '... or stuck';
    $redis->cli(ZREM => 'lines:{due:3}', "w:org_read $op", 'a:none ticket.12');
    $redis->cli(DEL => "lines:{w:org_read}:op:$op", "lines:{ix:$op}");
    $redis->cli(SREM => 'lines:{w:org_read}:ops', $op);
};

subtest 'another file at a reload' => sub {
    my (undef, $of_ada) = login($ada);
    my (undef, $of_bob) = login($bob);

    $t->file('operators', "ada all @{['z' x 40]}\nbob all $bob\n");
    $nginx->reload;
    wait_for(sub { ask(GET => 'session', cookie($of_ada))->status == 401 }, 10, 'the session of a token that left');
    is ask(GET => 'session', cookie($of_bob))->status, 401, '... and of one whose role is another';

    $t->file('operators', "ada all $ada\nbob read $bob\n");
    $nginx->reload;
    wait_for(sub { ask(GET => 'session', cookie($of_ada))->status == 200 }, 10, 'it is back with its token');
    is ask(GET => 'session', cookie($of_bob))->json('/role'), 'read', '... so is the other';
};

subtest 'Redis is away' => sub {
    my (undef, $id)    = login($ada);
    my (undef, $ended) = login($ada);
    my (undef, $other) = login($bob);
    my %workers;
    wait_for(sub { $workers{ask(GET => 'node', cookie($_))->header('X-Worker')}{$_} = 1 for $id, $ended; 2 == grep { keys %$_ == 2 } values %workers }, 30, 'both workers to have seen both');
    ask(DELETE => 'session', cookie($ended));
    $redis->pause;
    wait_for(sub { ask(GET => 'session', cookie($id))->status == 503 }, 30, '503');
    my $answer = ask(GET => 'session', cookie($id));
    ok $answer->header('Retry-After'), 'when to ask again';
    is +(login($ada))[0]->status, 503, 'none can be opened';
    is ask(GET => 'session', cookie($id, Origin => 'https://evil.example'))->status, 403, "another site's is refused without asking";
    is ask(GET => 'session', {Cookie => 'lines_session=x', %own})->status, 401, 'so is what is no id';
    wait_for(sub { ask(GET => 'node', {Authorization => "Bearer $ada"})->json('/health/redis/status') eq 'unreachable' }, 30, 'what the node knows, by a token');
    is ask(GET => 'node', cookie($id))->json('/health/redis/status'), 'unreachable', '... and a session that was good there just before';
    is ask(GET => 'node', cookie($other))->status, 503, '... another does not';
    is ask(GET => 'node', {Cookie => "lines_session=$id"})->status, 403, '... nor without its header';
    is ask(GET => 'node', cookie('e' x 64))->status, 503, '... nor one that nobody opened';
    $redis->cont;
    wait_for(sub { ask(GET => 'session', cookie($id))->status == 200 }, 30, 'and it is good again');
    is ask(GET => 'node', cookie($ended))->status, 401, 'one that was ended is not';
    pass 'when Redis is back';
};

$t->done;
