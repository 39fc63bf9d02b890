# A client that waits instead of asking again and again: GET with ?wait=SECONDS and If-None-Match is answered as soon as
# the line is another than the client knows, whichever node moved it; with 304 where nothing did.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use List::Util qw(sum0);
use Mojo::IOLoop;
use Mojo::JSON qw(true false);
use Mojo::Promise;
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Account;
use Test::Lines::H2;
use Time::HiRes qw(time);

my $t    = Test::Lines->new;
my $slow = $t->slow;

# the workspaces' plan "growth" includes a phone line, "wide" as many as a test wants; others are to be paid for
my $shop  = Test::Lines::Account->new(t => $t, webhooks => 1);
my $redis = $shop->redis;
my %node  = (
    workers => 2, h2 => 1, http => "lines_plan wide phone included=10000;\n",
    server => 'location /few/ { lines_workspace_api; lines_tenant_limits waits=3; } location /any/ { lines_workspace_api; lines_tenant_limits waits=unlimited; }'
);
my ($near, $far) = map { $shop->nginx(%node, name => $_) } qw(near far);
$_->wait_redis for $near, $far;

my $n = 0;

# a workspace, its headers; a line of it, included in the plan, that is provisioning; where that is read
sub workspace ($id = 'w' . ++$n) { return ($id, $near->bearer($shop->workspace($id, plan => 'wide'))) }
sub line ($auth) { $near->post_json('/api/line-requests', $shop->body(channelType => 'phone'), $auth)->json('/line/_id') // die 'no line' }
sub path ($line, $api = '/api') {"$api/line-requests/$line"}
sub report ($line, $status, %more) { $near->admin(POST => "lines/$line/status", {status => $status, %more}) }

sub etag ($path, $auth, $nginx = $near) { $nginx->get($path, $auth)->header('ETag') }

# a request that waits, and what becomes of it; "at" is when it was answered
sub ask ($nginx, $path, $auth, $etag, $seconds = 30) {
    my $state = {asked => time};
    $nginx->get_p("$path?wait=$seconds", {%$auth, 'If-None-Match' => $etag})->then(sub ($answer) { @$state{qw(answer at)} = ($answer, time) });
    return $state;
}

sub answer ($state, $what = 'an answer') {
    wait_for(sub { $state->{answer} }, 40, $what);
    return $state->{answer};
}

# so many wait, as the operator sees it
sub parked (@nodes) {
    return sum0 map { $_->get('/_lines/metrics')->body =~ /^lines_waiting_requests (\d+)$/m ? $1 : die 'no gauge' } @nodes;
}

sub wait_parked ($count, @nodes) { wait_for(sub { parked(@nodes) == $count }, 30, "$count to wait, not " . parked(@nodes)) }

# asks, until it waits
sub waits ($nginx, $path, $auth, $seconds = 30) {
    my $there = parked($nginx);
    my $state = ask($nginx, $path, $auth, etag($path, $auth), $seconds);
    wait_parked($there + 1, $nginx);
    return $state;
}

sub median (@values) { (sort { $a <=> $b } @values)[@values / 2] }

# what is published to whoever waits, from here on
sub told () {
    my $one    = $redis->can('nodes') ? $redis->nodes->[0] : $redis;
    my $socket = IO::Socket::UNIX->new(Peer => $one->socket) or die "redis: $!";
    syswrite $socket, "SUBSCRIBE lines:revoked\r\n";
    sysread $socket, my $in, 4096;
    return sub {
        my $text = '';
        while (IO::Select->new($socket)->can_read(0.2)) { sysread $socket, $text, 65536, length $text or last }
        return $text =~ /line (\S+ [0-9a-f]{24})/g;
    };
}

subtest 'what a client knows' => sub {
    my ($id, $auth) = workspace();
    my $line = line($auth);
    my $path = path($line);
    my $etag = etag($path, $auth);

    like $etag, qr/^W\/"[0-9a-f]{16}"$/, 'each answer has a weak tag';
    is etag($path, $auth, $far), $etag, 'the same on another node';
    is etag($path, $auth), $etag, 'and as long as nothing changes';
    is $near->head($path, $auth)->header('ETag'), $etag, 'HEAD has it, too';

    my ($opaque) = $etag =~ /(".*")/;
    for my $known ($etag, $opaque, "\"x\", $etag", "W/\"a,b\",$etag , \"y\"", ",, $etag", '*') {
        my $answer = $near->get($path, {%$auth, 'If-None-Match' => $known});
        is $answer->status, 304, "If-None-Match: $known";
        is $answer->body, '', 'no body';
        is_deeply [map { $answer->header($_) } 'ETag', 'Content-Type', 'Content-Length', 'Cache-Control'], [$etag, undef, undef, 'no-store'], 'with the tag' ;
    }
    for my $other ('"x"', 'W/"x"', substr($etag, 0, -2) . '"', $etag =~ s/"//gr, "x, $etag", '"*"', '', 'W/', '"') {
        my $answer = $near->get($path, {%$auth, 'If-None-Match' => $other});
        is $answer->status, 200, "If-None-Match: $other";
        is $answer->json('/line/_id'), $line, 'all of it';
    }
    is $near->head($path, {%$auth, 'If-None-Match' => $etag})->status, 304, 'HEAD';

    report($line, 'active', phone => '+14155550100');
    my $active = etag($path, $auth);
    isnt $active, $etag, 'it moves: another tag';
    is $near->admin(POST => "lines/$line/status", {status => 'active', phone => '+14155550100'})->status, 200, 'told once more';
    is etag($path, $auth), $active, 'is no change';
    $shop->first->admin(POST => "lines/$line/usage", {newConversationsCount => 1, totalMessagesCount => 2});
    is etag($path, $auth), $active, 'nor is what lists alone show';

    # what a check writes down: an instant alone is no change, health is
    my $checked = sub ($health, $at) {
        $redis->cli(SET => "lines:{w:$id}:line:$line", $redis->cli(GET => "lines:{w:$id}:line:$line") =~ s/"healthCheck":(?:null|\{.*?\})/"healthCheck":{"status":"$health","lastCheckedAt":"$at"}/r =~ s/"updatedAt":".*?"/"updatedAt":"$at"/r);
        return etag($path, $auth);
    };
    my $healthy = $checked->('healthy', '2026-05-18T14:20:00.000Z');
    isnt $healthy, $active, 'checked for the first time';
    is $checked->('healthy', '2026-05-18T15:20:00.000Z'), $healthy, 'checked again, and the same';
    isnt $checked->('down', '2026-05-18T15:20:00.000Z'), $healthy, 'checked, and it is down';
};

subtest 'what wait may be' => sub {
    my ($id, $auth) = workspace();
    my $path  = path(line($auth));
    my $etag  = etag($path, $auth);
    my $start = time;

    for my $bad (0, 61, -1, 'x', '', '1.5', '1s', '+1', '%201') {
        my $answer = $near->get("$path?wait=$bad", {%$auth, 'If-None-Match' => $etag});
        is $answer->status, 400, "wait=$bad";
        is_deeply $answer->json, {error => 'wait must be from 1 to 60'}, 'in the dialect';
    }

    is $near->get("$path?wait=60", $auth)->status, 200, 'who knows nothing is told at once';
    is $near->get("$path?wait=60", {%$auth, 'If-None-Match' => '"x"'})->status, 200, 'so is who knows something else';
    is $near->get("$path?wait=60", {%$auth, 'If-None-Match' => '*'})->status, 304, '"*" is no state to wait for another of';
    is $near->get(path('f' x 24) . '?wait=60', {%$auth, 'If-None-Match' => $etag})->status, 404, 'nobody waits for what is not there';
    is $near->get("$path?wait=60", {'If-None-Match' => $etag})->status, 401, 'nor does nobody';
    cmp_ok time - $start, '<', 20 * $slow, 'none of them waited';
    is parked($near), 0, 'none waits';
};

subtest 'moved by the operator, on another node' => sub {
    my ($id, $auth) = workspace();
    my $line  = line($auth);
    my $state = waits($far, path($line), $auth);

    is report($line, 'active', phone => '+14155550100')->status, 200, 'the line becomes active, at the one node';
    my $answer = answer($state);
    is $answer->status, 200, 'who waits at the other is told';
    is $answer->json('/status'), 'active', 'that it is active';
    is $answer->json('/line/phone'), '+14155550100', 'all of it';
    is $answer->header('ETag'), etag(path($line), $auth), 'with the tag to wait with again';
    cmp_ok $state->{at} - $state->{asked}, '<', 20 * $slow, 'at once' or return;
    wait_parked(0, $far);

    # from when it is asked for at the one node until who waits at the other has it
    my @lines = map { line($auth) } 1 .. 31;
    my @took  = map {
        my $state = waits($far, path($_), $auth);
        my $sent  = time;
        $near->request_p(POST => "/_lines/admin/lines/$_/status", $near->bearer($t->admin_token, 'Content-Type' => 'application/json'), '{"status":"failed"}');
        is answer($state)->json('/status'), 'failed', 'told';
        $state->{at} - $sent;
    } @lines;
    cmp_ok median(@took), '<', 0.1 * $slow, sprintf 'within %.1f ms at the median', 1000 * median(@took);
};

subtest 'paid on another node' => sub {
    my $key    = $shop->workspace('paid', plan => 'growth');
    my $auth   = $near->bearer($key);
    my $answer = $shop->request($key);
    is $answer->json('/status'), 'awaiting_payment', 'a line that is to be paid for' or diag $answer->to_string;

    my $line  = $answer->json('/line/_id');
    my $state = waits($far, path($line), $auth);
    $shop->sandbox->pay($answer->json('/invoiceId'));
    is answer($state)->json('/status'), 'provisioning', 'the payment is told at the one node; who waits at the other has it';

    # as is who waits for the page to pay at
    $answer = $shop->request($key);
    $line  = $answer->json('/line/_id');
    $state = waits($far, path($line), $auth);
    is $shop->action($key, $line, 'cancel')->status, 200, 'canceled at the one node';
    $answer = answer($state);
    is $answer->json('/paymentUrl'), undef, 'nothing is to be paid';
    $answer = answer(ask($far, path($line), $auth, $answer->header('ETag'))) if $answer->json('/status') eq 'awaiting_payment';
    is $answer->json('/status'), 'canceled', 'it is canceled';
};

subtest 'nothing moves' => sub {
    my ($id, $auth) = workspace();
    my $path = path(line($auth));
    my $etag = etag($path, $auth);

    for my $seconds (1, 2) {
        my $state  = ask($near, $path, $auth, $etag, $seconds);
        my $answer = answer($state);
        is $answer->status, 304, "wait=$seconds: 304";
        is $answer->header('ETag'), $etag, 'with the tag';
        my $took = $state->{at} - $state->{asked};
        cmp_ok $took, '>=', $seconds - 0.05, 'not before';
        cmp_ok $took, '<', $seconds + 1 * $slow, 'nor much later' or diag $took;
    }

    # the same connection may ask again
    my $raw = "GET $path?wait=1 HTTP/1.1\r\nHost: x\r\nAuthorization: $auth->{Authorization}\r\nIf-None-Match: $etag\r\n";
    my @kept = $near->raw("$raw\r\n${raw}Connection: close\r\n\r\n", timeout => 10 * $slow) =~ /^HTTP\/1.1 (\d+)/mg;
    is_deeply \@kept, [304, 304], 'kept alive, pipelined';

    my $head = sub ($etag) { my $s = {}; $near->request_p(HEAD => "$path?wait=1", {%$auth, 'If-None-Match' => $etag})->then(sub ($answer) { $s->{answer} = $answer }); answer($s) };
    is $head->($etag)->status, 304, 'HEAD waits, too';
    wait_parked(0, $near);

    # waits are no latency of the node's
    my ($sum) = $near->get('/_lines/metrics')->body =~ /^lines_http_request_duration_seconds_sum\{api="workspace",endpoint="line_request_get"\} (\S+)$/m;
    cmp_ok $sum, '<', 4 * $slow, 'what was waited is not counted as latency';
};

subtest 'told only where somebody waits' => sub {
    my ($id, $auth)   = workspace();
    my ($other, $his) = workspace();
    my $told = told();
    my $line = line($auth);

    report($line, 'active');
    is_deeply [$told->()], [], 'nobody waits: nothing is published';

    my $state = waits($near, path($line), $auth);
    report(line($his), 'failed');
    is_deeply [$told->()], [], 'nor of another workspace';
    my $more = line($auth);
    is_deeply [$told->()], ["w:$id $more"], 'of this one it is';
    ok !$state->{answer}, 'and is no news of another line';
    $near->admin(POST => "lines/$line/release");
    is answer($state)->json('/line/reason'), 'released', 'until it is this one';
    ok $redis->cli(TTL => "lines:{w:$id}:waited") > 0, 'what says so is forgotten by itself';
};

# between that it is told who waits, and that the line is read
subtest 'moved while a request comes' => sub {
    my ($id, $auth) = workspace();
    my $wire = $t->wire(redis => $redis);
    my $node = $shop->nginx(%node, name => 'wired', workers => 1, redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');

    for my $held (qr/^\*\d+\r\n\$3\r\nSET\r\n.*\{w:$id\}:waited/s, qr/MGET\r\n.*\{w:$id\}:line/s) {
        my $line = line($auth);
        my $etag = etag(path($line), $auth);
        $wire->hold($held);
        my $state = ask($node, path($line), $auth, $etag);
        $wire->reached;
        report($line, 'active');
        $wire->pass;
        is answer($state)->json('/status'), 'active', 'it is told';
        cmp_ok $state->{at} - $state->{asked}, '<', 20 * $slow, 'at once';
    }
    $node->quit;
};

subtest 'Redis: what was published and not heard' => sub {
    my ($id, $auth) = workspace();
    my @lines  = map { line($auth) } 1 .. 40;
    my @states = map { my $path = path($_, '/any'); ask($far, $path, $auth, etag($path, $auth)) } @lines;
    wait_parked(40, $far);

    # nobody is told of these
    $redis->cli(DEL => "lines:{w:$id}:waited");
    report($_, 'failed') for @lines[0 .. 19];
    Mojo::Promise->timer(0.3)->wait;
    is scalar(grep { $_->{answer} } @states), 0, 'a message that was lost';
    $redis->cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    is answer($_)->json('/status'), 'failed', 'the subscription is made anew, and each is looked at' for @states[0 .. 19];
    is scalar(grep { $_->{answer} } @states), 20, 'those that did not move wait on';
    wait_parked(20, $far);

    # the server itself, and what was waited for
    $redis->stop;
    wait_for(sub { $far->get('/_lines/ready')->status == 503 }, 30, 'Redis to be missed');
    is scalar(grep { $_->{answer} } @states), 20, 'Redis is away: who waits does not notice';
    $redis->start;
    $_->wait_redis for $near, $far;
    for my $line (@lines[20 .. 39]) { wait_for(sub { report($line, 'active')->status == 200 }, 30, 'all of it to be back') }
    is answer($_)->json('/status'), 'active', 'it is back: told as ever' for @states[20 .. 39];
    wait_parked(0, $far);
};

subtest 'Redis that is away to the end' => sub {
    my ($id, $auth) = workspace();
    my $state = waits($near, path(line($auth)), $auth, 2);
    $redis->pause;
    my $answer = answer($state);
    $redis->cont;
    is $answer->status, 503, 'whether it moved is not known';
    is $answer->header('Retry-After'), 1, 'and may be asked soon';
    $_->wait_redis for $near, $far;
};

subtest 'a reload' => sub {
    my ($id, $auth) = workspace();
    my $line  = line($auth);
    my @paths = map { path($_) } $line, map { line($auth) } 1 .. 20;
    my @tags  = map { etag($_, $auth) } @paths;
    my @states = map { ask($near, $paths[$_], $auth, $tags[$_], 60) } 0 .. $#paths;
    my $h2    = Test::Lines::H2->new(port => $near->h2_port);
    my $stream = $h2->request(GET => "$paths[0]?wait=60", {authorization => $auth->{Authorization}, 'if-none-match' => $tags[0]});
    wait_parked(22, $near);

    my $start = time;
    $near->reload(wait_old => 1);
    is_deeply [map { answer($_)->status } @states], [(304) x @states], 'who waits is told to ask again';
    is_deeply [map { $_->{answer}->header('ETag') } @states], \@tags, 'and has what he knew';
    is $h2->answer($stream)->status, 304, 'over HTTP/2 as well';
    cmp_ok time - $start, '<', 20 * $slow, 'at once: old workers are gone';

    my $state = waits($near, $paths[0], $auth);
    report($line, 'active');
    is answer($state)->json('/status'), 'active', 'new workers tell';

    # what nobody heard of is told with the end
    $state = waits($near, $paths[1], $auth);
    $redis->cli(DEL => "lines:{w:$id}:waited");
    report($1, 'active') if $paths[1] =~ /(\w+)$/;
    $near->reload(wait_old => 1);
    is answer($state)->json('/status'), 'active', 'the last look is a look';
};

subtest 'who may no more' => sub {
    my ($id, $auth) = workspace();
    my $made  = $near->admin(POST => "workspaces/$id/keys")->json;
    my $line  = line($auth);
    my $path  = path($line);
    my $state = waits($far, $path, $far->bearer($made->{key}));
    my $other = waits($far, $path, $auth);

    is $near->admin(DELETE => "workspaces/$id/keys/$made->{id}")->status, 200, 'a key is revoked, at the one node';
    my $answer = answer($state);
    is $answer->status, 401, 'who waits with it is told at once';
    is_deeply $answer->json, {error => 'Unauthorized'}, 'and no more';
    ok !$other->{answer}, 'another key waits on';
    report($line, 'active');
    is answer($other)->json('/status'), 'active', 'and hears';

    $state = waits($far, $path, $auth);
    $near->admin(PUT => "workspaces/$id", {subscription => 'past_due'});
    $answer = answer($state);
    is_deeply [$answer->json('/line/isActive'), $answer->json('/line/reason')], [false, 'suspended'], 'a workspace that does not pay: its line is suspended';

    $state = waits($far, $path, $auth);
    $near->admin(POST => "lines/$line/release");
    is answer($state)->json('/status'), 'canceled', 'released';
    $state = waits($far, $path, $auth);
    is $near->admin(DELETE => "workspaces/$id")->status, 200, 'the workspace is deleted';
    is answer($state)->status, 401, 'its key is nobody\'s';

    # who is let in by something else is told that there is no such line
    my $made2 = $near->admin(PUT => "workspaces/$id", {plan => 'wide', subscription => 'active'});
    is $made2->status, 201, 'made again';
    my $again = $near->bearer($near->admin(POST => "workspaces/$id/keys")->json('/key'));
    $line  = line($again);
    $state = waits($far, path($line), $again);
    $redis->cli(EVAL => 'redis.call("UNLINK", KEYS[1], KEYS[2]) redis.call("PUBLISH", "lines:revoked", ARGV[1])', 2,
        "lines:{w:$id}:line:$line", "lines:{w:$id}:rec:$line", "line w:$id $line");
    is answer($state)->status, 404, 'a line that is gone';
};

subtest 'clients that leave' => sub {
    my ($id, $auth) = workspace();
    my $path = path(line($auth));
    my $etag = etag($path, $auth);
    my $text = "GET $path?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: $auth->{Authorization}\r\nIf-None-Match: $etag\r\n\r\n";

    my @sockets = map { my $s = $near->socket; syswrite $s, $text; $s } 1 .. 4;
    my $h2      = Test::Lines::H2->new(port => $near->h2_port);
    my @streams = map { $h2->request(GET => "$path?wait=60", {authorization => $auth->{Authorization}, 'if-none-match' => $etag}) } 1 .. 4;
    wait_parked(8, $near);

    close $sockets[0];
    $near->reset_connection($sockets[1]);
    wait_parked(6, $near);
    $h2->reset($streams[0]);
    wait_parked(5, $near);

    my ($held) = $near->get('/_lines/metrics')->body =~ /^lines_concurrency_requests (\d+)$/m;
    is $held, 5, 'each counts as one request at once';

    $h2->leave;
    wait_parked(2, $near);
    $_ = undef for @sockets;
    wait_parked(0, $near);
    wait_for(sub { $near->get('/_lines/metrics')->body =~ /^lines_concurrency_requests 0$/m }, 30, 'nothing to be left');
};

# what is asked on behalf of one that waits goes with it
subtest 'clients that leave while Redis is asked' => sub {
    my ($id, $auth) = workspace();
    my $line = line($auth);
    my $path = path($line);
    my $etag = etag($path, $auth);
    my $wire = $t->wire(redis => $redis);
    my $node = $shop->nginx(%node, name => 'left', workers => 1, redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
    my $pid  = ($node->pids)[0];

    for my $woken (0, 1) {
        for my $held (qr/^\*\d+\r\n\$3\r\nSET\r\n.*\{w:$id\}:waited/s, qr/MGET\r\n.*\{w:$id\}:line/s) {
            my $socket = $node->socket;
            $wire->hold($held) if !$woken;
            syswrite $socket, "GET $path?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: $auth->{Authorization}\r\nIf-None-Match: $etag\r\n\r\n";

            if ($woken) {
                wait_parked(1, $node);
                $wire->hold($held);
                $redis->cli(PUBLISH => 'lines:revoked', "line w:$id $line");
            }

            $wire->reached;
            $node->reset_connection($socket);
            wait_for(sub { $node->get('/_lines/metrics')->body =~ /^lines_concurrency_requests 0$/m }, 30, 'it to be gone');
            $wire->pass;
            is $node->get($path, $auth)->status, 200, $woken ? 'gone at a later look' : 'gone at the first look';
        }
    }
    my $state = waits($node, $path, $auth);
    report($line, 'active');
    is answer($state)->json('/status'), 'active', 'others wait, and hear';
    is_deeply [$node->pids], [$pid], 'by the same worker';
    $node->quit;
};

# nobody has to send one with GET, and who does may be late
subtest 'a body that comes while its request waits' => sub {
    my ($id, $auth) = workspace();
    my $path = path(line($auth));
    my $etag = etag($path, $auth);
    my $head = "Host: x\r\nAuthorization: $auth->{Authorization}\r\n";
    my $ask  = sub ($seconds) {
        my $socket = $near->socket;
        syswrite $socket, "GET $path?wait=$seconds HTTP/1.1\r\n${head}If-None-Match: $etag\r\nContent-Length: 4\r\n\r\n";
        wait_parked(1, $near);
        syswrite $socket, 'body';
        return $socket;
    };
    my $answer = sub ($socket) {
        my $in = '';
        while ($in !~ /\r\n\r\n/ && IO::Select->new($socket)->can_read(20 * $slow)) { sysread $socket, $in, 4096, length $in or last }
        return $in;
    };

    # longer than nginx waits for such a body (lingering_timeout)
    my $socket = $ask->(6);
    like $answer->($socket), qr/^HTTP\/1.1 304 /, 'it waits on';
    syswrite $socket, "GET $path HTTP/1.1\r\n$head\r\n";
    like $answer->($socket), qr/^HTTP\/1.1 200 /, 'and its connection is good for more';

    $socket = $ask->(60);
    Mojo::Promise->timer(0.3)->wait;
    my $left = time;
    $near->reset_connection($socket);
    wait_parked(0, $near);
    cmp_ok time - $left, '<', 20 * $slow, 'who leaves after that is not waited for';
};

subtest 'HTTP/2' => sub {
    my ($id, $auth) = workspace();
    my @lines = map { line($auth) } 1 .. 3;
    my $h2    = Test::Lines::H2->new(port => $far->h2_port);
    my @streams = map { $h2->request(GET => path($_) . '?wait=30', {authorization => $auth->{Authorization}, 'if-none-match' => etag(path($_), $auth)}) } @lines;
    wait_parked(3, $far);
    report($lines[1], 'active');
    is $h2->answer($streams[1])->json('/status'), 'active', 'the stream whose line has moved';
    ok !$h2->ended($streams[$_]), 'not the others' for 0, 2;
    my $now = $h2->request(GET => path($lines[0]), {authorization => $auth->{Authorization}});
    is $h2->answer($now)->status, 200, 'and the connection is free for more';
    $h2->leave;
    wait_parked(0, $far);
};

subtest 'how many may wait' => sub {
    my ($id, $auth)   = workspace();
    my ($other, $his) = workspace();
    my ($line, $hers) = (line($auth), line($his));

    my $ask    = sub ($line, $auth) { my $path = path($line, '/few'); ask($near, $path, $auth, etag($path, $auth)) };
    my @states = map { $ask->($line, $auth) } 1 .. 3;
    wait_parked(3, $near);

    my $answer = answer($ask->($line, $auth));
    is $answer->status, 429, 'a fourth of three, on whichever worker';
    is_deeply $answer->json, {error => 'Too many requests wait at once: ask without wait, or again later', code => 'wait_limit_reached'}, 'in words';
    cmp_ok $answer->header('Retry-After'), '>=', 1, 'and may come again';
    like $near->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="waits"\} 1$/m, 'it is counted';

    my $etag = etag(path($line, '/few'), $auth);
    is $near->get(path($line, '/few'), {%$auth, 'If-None-Match' => $etag})->status, 304, 'without wait it is answered';
    is $near->get(path($line, '/few') . '?wait=30', {%$auth, 'If-None-Match' => '"x"'})->status, 200, 'and so is what has changed already';
    push @states, $ask->($hers, $his);
    wait_parked(4, $near);

    report($_, 'active') for $line, $hers;
    is answer($_)->json('/status'), 'active', 'all of them hear' for @states;
    wait_parked(0, $near);
    wait_for(sub { my $state = $ask->($line, $auth); wait_for(sub { $state->{answer} || parked($near) }, 30, 'either'); !$state->{answer} }, 30, 'there to be room again');

    # a worker keeps half of its connections for others
    my $small = $shop->nginx(name => 'small', workers => 1, connections => 64, http => "lines_plan wide phone included=10000;\n", server => 'location /any/ { lines_workspace_api; lines_tenant_limits waits=unlimited; }');
    my $path  = path($line, '/any');
    $etag   = etag($path, $auth, $small);
    my $raw = "GET $path?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: $auth->{Authorization}\r\nIf-None-Match: $etag\r\n\r\n";
    my @sockets = map { my $s = $small->socket; syswrite $s, $raw; $s } 1 .. 32;
    wait_parked(32, $small);
    $answer = $small->get("$path?wait=60", {%$auth, 'If-None-Match' => $etag});
    is $answer->status, 503, 'one more is sent elsewhere';
    is $answer->header('Retry-After'), 5, 'or later';
    is $small->get($path, $auth)->status, 200, 'who does not wait is served';
    like $small->error_log, qr/\[warn\].*32 requests wait, on half of "worker_connections"/, 'which is said';
    close $_ for @sockets;
    wait_parked(0, $small);
    $small->quit;
};

subtest 'many who wait for one line' => sub {
    my ($id, $auth) = workspace();
    my $line   = line($auth);
    my $path   = path($line, '/any');
    my $etag   = etag($path, $auth);
    my @states = map { ask(($near, $far)[$_ % 2], $path, $auth, $etag) } 1 .. 300;
    wait_parked(300, $near, $far);
    my $sent = time;
    report($line, 'active');
    answer($_) for @states;
    is scalar(grep { $_->{answer}->status == 200 && $_->{answer}->json('/status') eq 'active' } @states), 300, 'all of them are told';
    cmp_ok((sort { $a <=> $b } map { $_->{at} - $sent } @states)[-1], '<', 3 * $slow, 'soon');
    wait_parked(0, $near, $far);
};

subtest 'what changes again and again, and never for the client' => sub {
    my ($id, $auth) = workspace();
    my $line  = line($auth);
    my $state = waits($near, path($line), $auth, 60);
    my $told  = 0;
    wait_for(sub { $redis->cli(PUBLISH => 'lines:revoked', "line w:$id $line"); $told++; $state->{answer} }, 60, 'the end of patience');
    is $state->{answer}->status, 304, 'is told in time that nothing moved: what a look leaves has a bound';
    cmp_ok $told, '>=', 16, 'after some looks';
};

subtest 'an account: its line, by its number' => sub {
    my $one = $shop->account('one');
    my $two = $shop->account('two');
    my ($number) = $shop->numbers(1);
    $shop->confirm($one, $shop->token($one), key => 'k');

    my $get = sub ($number, $account = $one, $nginx = $far) { $nginx->get("/accounts/lines/$number", $account->{headers}) };
    my $answer = $get->($number);
    is $answer->status, 200, 'found' or diag $answer->to_string;
    is_deeply $answer->json('/line'), ($shop->lines($one))[0], 'as the list has it';
    is $answer->json('/status'), 'OK', 'in the dialect';
    is $get->($number =~ s/\+/%2B/r)->json('/line/phone_number'), $number, 'its "+" may be escaped';

    is_deeply [$get->($number, $two)->status, $get->($number, $two)->json], [404, {status => 'ERROR', message => 'Line not found'}], "not another account's";
    is $get->('+14155559999')->status, 404, 'nor a number that is nobody\'s';
    for my $bad ('4155551234', '+0155551234', '+1415555123x', '+1', 'x') {
        is_deeply [$get->($bad)->status, $get->($bad)->json], [400, {status => 'ERROR', message => 'phone_number must be in E.164, as +14155551234'}], "$bad is no number";
    }
    is $far->get("/accounts/lines/$number")->status, 401, 'nobody is nobody';
    is $far->get('/accounts/lines/provision-preview', $one->{headers})->status, 405, 'a name is no number: still 405';
    is $far->get('/accounts/lines/provision-preview', $one->{headers})->header('Allow'), 'POST', 'and says what is allowed';

    my $path = "/accounts/lines/$number";
    is_deeply $far->get("$path?wait=0", $one->{headers})->json, {status => 'ERROR', message => 'wait must be from 1 to 60'}, 'wait: the same bounds';
    is $far->get($path, {%{$one->{headers}}, 'If-None-Match' => $answer->header('ETag')})->status, 304, 'If-None-Match';

    my $state = waits($far, $path, $one->{headers});
    is $near->admin(POST => 'lines/' . $answer->json('/line/id') . '/release')->status, 200, 'released, at the one node';
    is_deeply [@{answer($state)->json('/line')}{qw(status active reason)}], ['canceled', false, 'released'], 'who waits is told';
    is $get->($number)->json('/line/status'), 'canceled', 'one that has ended is found, too';
    is answer(ask($far, $path, $one->{headers}, etag($path, $one->{headers}), 1))->status, 304, 'nothing moves: 304';

    # the latest of that number, among any number of lines
    for my $i (1 .. 250) {
        my $id = sprintf '%024x', $i;
        $redis->cli(ZADD => 'lines:{a:one}:lines', $i, $id);
        $redis->cli(HSET => "lines:{a:one}:rec:$id", qw(channel phone status active active 1 payment paid required 1), phone => '+1212' . sprintf('%07d', $i % 2 ? 7 : $i), created => $i, updated => $i);
        $redis->cli(SET => "lines:{a:one}:line:$id", '2 active paid 1 {"_id":"' . $id . '"}');
    }
    is $get->('+12120000007')->json('/line/id'), sprintf('%024x', 249), 'the latest';
    is $get->('+12120000002')->json('/line/id'), sprintf('%024x', 2),   'the oldest but one, on a third page';
    is $get->('+12120000001')->status, 404, 'none';

    # who asks for what is not there has all of them looked at: two at a time, as with lists, and the others wait
    my $node    = $shop->nginx(name => 'turns', workers => 1, debug => 1);
    my @answers = concurrently(20, sub ($i) { $node->get_p('/accounts/lines/+12120000001', {%{$one->{headers}}, 'X-Request-Id' => "r$i"}) });
    is scalar(grep { $_->status == 404 } @answers), 20, 'each is answered';
    my ($now, $most, %asked) = (0, 0);
    for ($node->error_log =~ /lines store: (r\d+(?: asks|:) line_find)/g) {
        my ($id, $asks) = /^(r\d+)( asks)?/;
        next if !($asks ? $asked{$id}++ : $asked{$id} > 1);    # the first of their lines are as cheap as any request
        $now += $asks ? 1 : -1;
        $most = $now if $now > $most;
    }
    is $most, 2, 'and no more than two ask Redis at once';
    is $now, 0, 'until all are answered';
    $node->quit;
};

subtest 'what one costs that waits' => sub {
    plan skip_all => 'sanitized, or watched: memory is another' if $slow > 1;

    my ($id, $auth) = workspace();
    my $many = $shop->nginx(name => 'many', workers => 1, connections => 5000, main => 'worker_rlimit_nofile 8192;', http => "lines_plan wide phone included=10000;\n",
        server => 'location /any/ { lines_workspace_api; lines_tenant_limits waits=unlimited; }');
    my $path = path(line($auth), '/any');
    my $etag = etag($path, $auth, $many);
    my $raw  = "GET $path?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: $auth->{Authorization}\r\nIf-None-Match: $etag\r\n\r\n";
    my ($pid) = $many->pids;
    my $memory = sub { Mojo::File::path("/proc/$pid/smaps_rollup")->slurp =~ /^Pss_Anon:\s+(\d+)|^Anonymous:\s+(\d+)/m; ($1 // $2) * 1024 };

    my $hold = sub ($count) { map { my $s = $many->socket; syswrite $s, $raw; $s } 1 .. $count };
    my @sockets = $hold->(100);
    wait_parked(100, $many);
    my $before = $memory->();
    push @sockets, $hold->(700);
    wait_parked(800, $many);
    my $each = ($memory->() - $before) / 700;
    note sprintf 'one that waits: %.1f kB', $each / 1024;
    cmp_ok $each, '<', 12 * 1024, 'about 10 kB, most of it what nginx has for any request';
    close $_ for @sockets;
    wait_parked(0, $many);
};

$t->done;
