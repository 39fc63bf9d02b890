# Every answer arrives whole, however slowly the client takes it, whoever gives it; and a client that leaves in the middle
# leaves nothing behind.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Compress::Zlib ();
use Digest::SHA qw(hmac_sha256_hex);
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Client;
use Test::Lines::H2;
use Time::HiRes qw(time);

my $t     = Test::Lines->new(timeout => 400);
my $redis = $t->redis;
my $hook  = $t->file('hook.secret', "whsec_1\n");
$t->file('www/file', 'a file');

# ports on which the socket, or nginx, takes little at a time
my %port = map { $_ => $t->free_port } qw(slow brisk tight h2slow impatient impatient_h2);

my $nginx = $t->nginx(
    redis       => $redis,
    h2          => 1,
    connections => 3000,
    plans       => "lines_plan bulk phone included=100000;\nlines_plan bulk email included=1;\n",
    http        => <<"END",
map \$server_port \$rate { $port{slow} 200; $port{h2slow} 200; $port{brisk} 4m; default 0; }
server {
    listen 127.0.0.1:$port{impatient} sndbuf=8k;
    listen 127.0.0.1:$port{impatient_h2} http2;
    send_timeout 500ms;
    location /api/ { lines_workspace_api; }
}
END
    server => <<"END",
listen 127.0.0.1:$port{slow};
listen 127.0.0.1:$port{brisk};
listen 127.0.0.1:$port{h2slow} http2;
listen 127.0.0.1:$port{tight} sndbuf=4k;
limit_rate \$rate;
gzip on;
gzip_min_length 1;
gzip_types application/json text/plain;
root @{[$t->dir]}/www;

location = /status      { stub_status; }
location = /hook        { lines_billing_webhook secret_file=$hook; }
location /closed/       { lines_auth workspace; }
location /closed-pair/  { lines_auth account; }
location /few/          { lines_auth workspace; lines_rate_limit rate=1r/h burst=1 key=ip name=few; }
location /fewer/        { lines_auth workspace; lines_rate_limit rate=1r/h burst=1 name=fewer; }
location /api-few/      { lines_workspace_api; lines_rate_limit rate=1r/h burst=1 name=api; }
location /api-few-ip/   { lines_workspace_api; lines_rate_limit rate=1r/h burst=1 key=ip name=api_ip; }
END
);

# one line of each, copied until the list is as long as it shall be
my %phone = (firstName => 'A' . 'd' x 90, lastName => 'L' . 'o' x 90, channelType => 'phone');
my $COPY = <<'END';
local text = redis.call('GET', KEYS[1] .. 'line:' .. ARGV[1])
local line = redis.call('HGETALL', KEYS[1] .. 'rec:' .. ARGV[1])
local sets = {}
for _, key in ipairs(redis.call('KEYS', KEYS[1]:gsub('[%[%]]', '?') .. '*')) do
    if redis.call('TYPE', key).ok == 'zset' then
        local score = redis.call('ZSCORE', key, ARGV[1])
        if score then sets[key] = score end
    end
end
for i = ARGV[2], ARGV[3] do
    local id = string.format('%024x', i)
    redis.call('SET', KEYS[1] .. 'line:' .. id, text)
    redis.call('HSET', KEYS[1] .. 'rec:' .. id, unpack(line))
    for key, score in pairs(sets) do redis.call('ZADD', key, score, id) end
end
END

sub long ($id, $count) {
    my $key  = $nginx->workspace($id => {plan => 'bulk'});
    my $made = $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($key));
    is $made->status, 201, "$id: a line" or diag $made->to_string;

    # Redis is not held for long
    for (my $i = 1; $i < $count; $i += 200) {
        $redis->cli('EVAL', $COPY, 1, "lines:{w:$id}:", $made->json('/line/_id'), $i, $i + 199 < $count ? $i + 199 : $count - 1);
    }

    return {authorization => "Bearer $key"};
}

my $auth = long(few => 3);
my $big  = long(many => 8300);
my ($id, $secret) = $nginx->account('one');
my $pair  = {'sb-api-key-id' => $id, 'sb-api-secret-key' => $secret};
my $admin = {authorization => 'Bearer ' . $t->admin_token};
my $json  = {'content-type' => 'application/json'};
my $event = '{"id":"evt_1","object":"event","type":"x","livemode":false,"data":{"object":{}}}';
my $at    = time;
my $signed = {'stripe-signature' => sprintf 't=%d,v1=%s', $at, hmac_sha256_hex(sprintf('%d.%s', $at, $event), 'whsec_1')};

# the limits' only tokens
is $nginx->get($_->[0], $_->[1])->status, $_->[2], "$_->[0]: a token"
  for ['/few/file', $auth, 404], ['/fewer/file', $auth, 404], ['/api-few/lines/by-user', $auth, 200], ['/api-few-ip/lines/by-user', $auth, 200];

# each handler, each place that answers; the bodies of the last ones change from one answer to the next
my @handlers = (
    ['workspace',                         200, GET  => '/api/lines/by-user', $auth],
    ['workspace: without a credential',   401, GET  => '/api/lines/by-user', {}],
    ['workspace: no such endpoint',       404, GET  => '/api/x', {}],
    ['workspace: no such method',         405, PUT  => '/api/line-requests', {}],
    ['workspace: a wrong body',           400, POST => '/api/line-requests', {%$auth, %$json}, '{'],
    ['workspace: no JSON',                415, POST => '/api/line-requests', $auth, 'x=1'],
    ['workspace: too much',               413, POST => '/api/line-requests', {%$auth, %$json}, '[' x 300_000],
    ['workspace: limited by tenant',      429, GET  => '/api-few/lines/by-user', $auth],
    ['workspace: limited by address',     429, GET  => '/api-few-ip/lines/by-user', $auth],
    ['account',                           200, GET  => '/accounts/lines', $pair],
    ['account: without a credential',     401, GET  => '/accounts/lines', {}],
    ['account: no such endpoint',         404, GET  => '/accounts/x', {}],
    ['admin',                             200, GET  => '/_lines/admin/workspaces/few', $admin],
    ['admin: without the token',          401, GET  => '/_lines/admin/workspaces/few', {}],
    ['webhook',                           200, POST => '/hook', $signed, $event],
    ['webhook: not signed',               400, POST => '/hook', {}, $event],
    ['webhook: no such method',           405, GET  => '/hook', {}],
    ['lines_auth workspace',              401, GET  => '/closed/file', {}],
    ['lines_auth account',                401, GET  => '/closed-pair/file', {}],
    ['lines_rate_limit by tenant',        429, GET  => '/fewer/file', $auth],
    ['lines_rate_limit by address',       429, GET  => '/few/file', $auth],
    ['ready',                             200, GET  => '/_lines/ready', {}, undef, qr/^\{"ready":true,.*\}$/],
    ['metrics',                           200, GET  => '/_lines/metrics', {}, undef, qr/^# HELP .*^lines_zone_free_bytes \d+\n\z/ms],
);

sub url ($port, $path) { "http://127.0.0.1:$port$path" }

sub same ($what, $handler, $answer, $text) {
    my ($name, $status, undef, undef, undef, undef, $pattern) = @$handler;

    return 1 if $answer->status == $status && ($pattern ? $answer->body =~ $pattern : $answer->body eq $text);

    fail "$name, $what";
    diag $answer->error ? $answer->error : substr $answer->to_string, 0, 200;
    return 0;
}

my @plain;

subtest 'HTTP/1.1' => sub {
    for my $handler (@handlers) {
        my ($name, $status, $method, $path, $headers, $body, $pattern) = @$handler;
        my $answer = $nginx->request($method, $path, $headers, $body);
        is $answer->status, $status, $name or diag $answer->to_string;
        is $answer->header('Content-Length'), length $answer->body, '... with its length';
        push @plain, $answer->body;
    }
};

subtest 'HEAD' => sub {
    for my $i (grep { $handlers[$_][2] eq 'GET' } 0 .. $#handlers) {
        my ($name, $status, undef, $path, $headers, $body, $pattern) = @{$handlers[$i]};
        my $h2     = Test::Lines::H2->new(port => $nginx->h2_port, window => 0);
        my $answer = $h2->answer($h2->request(HEAD => $path, $headers), 10);
        is $answer->status, $status, "$name, HTTP/2, no window";

        my $slow = $nginx->request(HEAD => url($port{brisk}, $path), $headers);
        is $slow->status, $status, "$name, limit_rate";
        is $slow->body, '', '... without a body';
        is $slow->header('Content-Length'), length $plain[$i], '... but with its length' unless $pattern;
    }
};

subtest 'limit_rate' => sub {
    my @small = grep { length $plain[$_] < 500 } 0 .. $#handlers;
    my @answers = concurrently(scalar @small, sub ($n) {
        my (undef, undef, $method, $path, $headers, $body) = @{$handlers[$small[$n]]};
        return $nginx->request_p($method, url($port{slow}, $path), $headers, $body);
    });
    my $slower = grep { $_->seconds > 0.9 } @answers;
    ok same('200 bytes a second', $handlers[$small[$_]], $answers[$_], $plain[$small[$_]]), "$handlers[$small[$_]][0]" for 0 .. $#small;
    cmp_ok $slower, '>', 5, 'some took their time';

    my @streams = map {
        my (undef, undef, $method, $path, $headers, $body) = @{$handlers[$_]};
        my $h2 = Test::Lines::H2->new(port => $port{h2slow});
        [$_, $h2, $h2->request($method, $path, $headers, $body)];
    } @small;
    ok same('HTTP/2, 200 bytes a second', $handlers[$_->[0]], $_->[1]->answer($_->[2], 20), $plain[$_->[0]]), "$handlers[$_->[0]][0], HTTP/2" for @streams;
};

subtest 'HTTP/2, windows' => sub {
    for my $how ([65535, 'given'], [1, 'given'], [1, 100_000], [0, 'opened']) {
        my ($window, $credit) = @$how;

        for my $i (0 .. $#handlers) {
            my (undef, undef, $method, $path, $headers, $body) = @{$handlers[$i]};
            next if $credit eq 'given' && $window == 1 && length $plain[$i] > 3000;

            my $h2     = Test::Lines::H2->new(port => $nginx->h2_port, window => $window, credit => $credit eq 'opened' ? 'none' : $credit);
            my $stream = $h2->request($method, $path, $headers, $body);

            if ($credit eq 'opened') {
                $h2->wait($stream, 10, 'headers') or fail "$handlers[$i][0]: no headers";
                $h2->open_window($stream, 5) if length $plain[$i];
                $h2->wait($stream, 10, 5);
                $h2->open_window($stream, 1_000_000) unless $h2->ended($stream);
            }

            ok same("window $window, $credit", $handlers[$i], $h2->answer($stream, 20), $plain[$i]), "window $window, $credit: $handlers[$i][0]";
        }
    }
};

subtest 'gzip' => sub {
    for my $i (0 .. $#handlers) {
        my ($name, $status, $method, $path, $headers, $body, $pattern) = @{$handlers[$i]};
        my $answer = $nginx->request($method, $path, {%$headers, 'Accept-Encoding' => 'gzip'}, $body);
        next unless $status == 200;
        is $answer->header('Content-Encoding'), 'gzip', "$name: compressed" or next;
        my $text = Compress::Zlib::memGunzip($answer->body);
        ok $pattern ? $text =~ $pattern : $text eq $plain[$i], '... and intact';
    }

    my $type = 'text/plain; version=0.0.4; charset=utf-8';
    is $nginx->get('/_lines/metrics', $_)->header('Content-Type'), $type, "the metrics' type is whole" for {}, {'Accept-Encoding' => 'gzip'};
};

subtest 'preconditions' => sub {
    is $nginx->get('/api/lines/by-user', {%$auth, 'If-Match' => '"x"'})->status, 200, 'nothing here has an ETag to match';
    my $answer = $nginx->post_json('/api/line-requests', \%phone, {%$auth, 'If-Match' => '"x"', 'If-Unmodified-Since' => 'Thu, 01 Jan 1970 00:00:00 GMT'});
    is $answer->status, 201, 'what was done is not answered with 412';
};

my $whole;

subtest 'six megabytes' => sub {
    my $path = '/api/lines/by-user';
    $whole = $nginx->get($path, $big)->body;
    cmp_ok length $whole, '>', 6_000_000, 'are there';

    is length $nginx->get(url($port{$_}, $path), $big)->body, length $whole, "$_" for qw(brisk tight);

    my $head = $nginx->head($path, $big);
    is $head->header('Content-Length'), length $whole, 'HEAD';

    my $gzip = $nginx->get($path, {%$big, 'Accept-Encoding' => 'gzip'});
    ok Compress::Zlib::memGunzip($gzip->body) eq $whole, 'gzip';
    $gzip = $nginx->get(url($port{tight}, $path), {%$big, 'Accept-Encoding' => 'gzip'});
    ok Compress::Zlib::memGunzip($gzip->body) eq $whole, 'gzip, sndbuf';

    for my $how ([65535, 'given'], [1, 50_000], [65535, 50_000], [100_000_000, 'none']) {
        my $h2     = Test::Lines::H2->new(port => $nginx->h2_port, window => $how->[0], credit => $how->[1]);
        my $answer = $h2->answer($h2->request(GET => $path, $big), 60);
        ok $answer->status == 200 && $answer->body eq $whole, "HTTP/2, window $how->[0], $how->[1]" or diag $answer->error // length $answer->body;
    }

    my $h2 = Test::Lines::H2->new(port => $nginx->h2_port);
    my @streams = map { $h2->request(GET => $path, $big) } 1 .. 4;
    is length $h2->answer($_, 60)->body, length $whole, 'four streams of one connection' for @streams;

    # a reader that reads now and then
    my $socket = $nginx->socket;
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, 131_072;
    syswrite $socket, "GET $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: $big->{authorization}\r\n\r\n";
    my $in = '';
    while (sysread $socket, $in, 50_000, length $in) { select undef, undef, undef, 0.005 }
    $in =~ s/.*?\r\n\r\n//s;
    ok $in eq $whole, 'a slow reader';

    # the next request of the same connection
    $nginx->keepalive(5);
    is $nginx->get($path, $big)->body eq $whole, 1, 'one connection' for 1 .. 3;
    $nginx->keepalive(0);
    $nginx->ua->max_connections(0);
};

# connections in use, but for the one that asks
sub in_use () { return $nginx->get('/status')->body =~ /^Active connections: (\d+)/m ? $1 - 1 : -1 }
sub at_rest ($what) { ok eval { wait_for(sub { in_use() == 0 }, 20, 'no connection') }, "$what: no connection is left" or diag in_use() . ' are left' }

at_rest('all of these');

subtest 'a client that takes nothing is given up after send_timeout' => sub {
    my $path   = '/api/lines/by-user';
    my $h2     = Test::Lines::H2->new(port => $port{impatient_h2}, window => 0);
    my $stream = $h2->request(GET => $path, $auth);
    $h2->wait($stream, 10);
    like $h2->answer($stream, 1)->error // '', qr/reset/, 'HTTP/2: the stream is reset';

    my $socket = $nginx->new(%$nginx, port => $port{impatient})->socket;
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, 4096;
    syswrite $socket, "GET $path HTTP/1.1\r\nHost: x\r\nAuthorization: $big->{authorization}\r\n\r\n";
    wait_for(sub { in_use() <= 1 }, 20, 'the connection to be closed');
    pass 'HTTP/1.1: the connection is closed';
    $h2->leave;
    close $socket;
    at_rest('after send_timeout');
};

# nginx stays of use to others, whoever leaves how many answers lying
subtest 'clients that ask and leave' => sub {
    my $each = 60;

    for my $handler (@handlers) {
        my ($name, undef, $method, $path, $headers, $body) = @$handler;

        for my $window (0, 1) {
            my @clients = map { Test::Lines::H2->new(port => $nginx->h2_port, window => $window, credit => 'none') } 1 .. $each;
            my @streams = map { $_->request($method, $path, $headers, $body) } @clients;
            my $began   = grep { $clients[$_]->wait($streams[$_], 20, 'headers') } 0 .. $#clients;
            is $began, $each, "$name: all answers began, window $window";
            $_ % 2 ? $clients[$_]->leave : close $clients[$_]->socket for 0 .. $#clients;
        }

        # a stream is left, the connection is not
        my $h2      = Test::Lines::H2->new(port => $nginx->h2_port, window => 0);
        my @streams = map { $h2->request($method, $path, $headers, $body) } 1 .. 20;
        $h2->wait($_, 20, 'headers') for @streams;
        $h2->reset($_) for @streams;
        is $h2->answer($h2->request(HEAD => '/_lines/ready'), 20)->status, 200, "$name: the connection is of use after resets";
        $h2->leave;

        at_rest($name);
    }

    my @honest = concurrently(20, sub ($i) { $nginx->get_p('/api/lines/by-user', $auth) });
    is scalar(grep { $_->status == 200 } @honest), 20, 'honest clients are served';
};

subtest 'clients that leave six megabytes' => sub {
    my $request = "GET /api/lines/by-user HTTP/1.1\r\nHost: x\r\nAuthorization: $big->{authorization}\r\n\r\n";

    for my $read (0, 1, 100_000, 3_000_000) {
        my $socket = $nginx->socket;
        syswrite $socket, $request;
        my $in = '';
        while (length $in < $read && sysread $socket, $in, 65536, length $in) { }
        Test::Lines::Client->reset_connection($socket);

        my $h2     = Test::Lines::H2->new(port => $nginx->h2_port);
        my $stream = $h2->request(GET => '/api/lines/by-user', $big);
        $h2->wait($stream, 20, $read);
        $read % 2 ? $h2->reset($stream) : $h2->leave;
    }

    at_rest('having read a part');
};

# a request and the end of its connection are one event, where they come together
subtest 'clients that have left before they are read' => sub {
    my $patient = $t->nginx(name => 'patient', workers => 1, redis => $redis, redis_options => 'timeout=60s',
        server => 'location = /status { stub_status; } location /closed/ { lines_auth workspace; empty_gif; }');
    my ($worker) = $patient->pids;
    $patient->wait_redis;

    for my $path ('/api/lines/by-user', '/closed/x') {
        $redis->pause;
        kill 'STOP', $worker;
        for (1 .. 5) {
            my $socket = $patient->socket;
            syswrite $socket, "GET $path HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tuco_unknown_$_\r\n\r\n";
            close $socket;
        }
        kill 'CONT', $worker;
        wait_for(sub { $patient->get('/status')->body =~ /^Active connections: 1 /m }, 30, 'nobody to be waited for');
        pass "$path: they are not waited for";
        $redis->cont;
    }

    $patient->quit;
};

subtest 'Redis is away' => sub {
    my $known = $nginx->workspace('known');
    $redis->pause;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 503 }, 30, 'not ready');

    for (['workspace', '/api/lines/by-user', $auth], ['account', '/accounts/lines', $pair], ['admin', '/_lines/admin/workspaces/few', $admin], ['lines_auth', '/closed/file', {authorization => "Bearer $known"}], ['ready', '/_lines/ready', {}]) {
        my ($name, $path, $headers) = @$_;
        my $h2     = Test::Lines::H2->new(port => $nginx->h2_port, window => 1);
        my $answer = $h2->answer($h2->request(GET => $path, $headers), 20);
        is $answer->status, 503, "$name: unavailable" or diag $answer->error;
        like $answer->body, qr/^\{.*\}$/, '... and whole';

        my @clients = map { Test::Lines::H2->new(port => $nginx->h2_port, window => 0) } 1 .. 20;
        my @streams = map { $_->request(GET => $path, $headers) } @clients;
        $clients[$_]->wait($streams[$_], 20, 'headers') for 0 .. $#clients;
        $_->leave for $h2, @clients;
        at_rest($name);
    }

    $redis->cont;
};

$t->done;
