# What a client sees of a connection to Redis that is cut: nothing, where the
# request surely has not run, where it only reads, and where it may run twice.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Script;
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 300);
my $plans = "lines_plan big phone included=100000;\nlines_agent_plan agent price=price_1;\n";
my $line  = {channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace'};

sub bytes ($method, $path, $headers, $body = '') {
    return join "\r\n", "$method $path HTTP/1.1", 'Host: x', 'Content-Length: ' . length $body, @$headers, '', $body;
}

# the head of the one answer that is to come
sub answer ($socket) {
    my $in = '';
    while ($in !~ /\r\n\r\n/) { sysread $socket, $in, 65536, length $in or last }
    return $in;
}

sub wait_ready ($nginx) { wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready') }

# in one turn of its loop a worker gets requests first, and then hears that
# the connection they would use was closed before
subtest 'closed in the same instant' => sub {
    my $redis = $t->redis;
    my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1, redis_options => 'timeout=20s connect_timeout=10s');
    my $key   = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
    my $auth  = "Authorization: Bearer $key";
    my ($pid) = $nginx->pids;

    my %request = (
        read  => bytes(GET => '/api/line-requests', [$auth]),
        write => bytes(POST => '/api/line-requests', [$auth, 'Content-Type: application/json'],
            '{"channelType":"phone","firstName":"Ada","lastName":"Lovelace"}'),
        tenant => bytes(PUT => '/_lines/admin/workspaces/w', ['Authorization: Bearer ' . $t->admin_token, 'Content-Type: application/json'],
            '{"plan":"big"}'),
    );

    # so that Redis has no event of its own between the two
    my $cut = $redis->client;

    my %count;
    for my $round (1 .. 10) {
        wait_ready($nginx);

        my %socket = map { $_ => $nginx->socket } keys %request;

        # accepted, and known to the worker
        for my $socket (values %socket) {
            print $socket "GET /_lines/ready HTTP/1.1\r\nHost: x\r\n\r\n";
            $socket->flush;
            sysread $socket, my $in, 65536;
        }

        # what it has not been given before it stands, it has all at once
        kill 'STOP', $pid;
        wait_for(sub { path("/proc/$pid/stat")->slurp =~ /\) T / }, 30, 'the worker stands');

        for my $name (sort keys %request) {
            my $socket = $socket{$name};
            print $socket $request{$name};
            $socket->flush;
        }
        $cut->client_kill('TYPE', $_) for qw(normal pubsub);

        # Redis closes them behind its reply: once it has the next command, they are
        $cut->ping;
        kill 'CONT', $pid;

        $count{"$_ " . (answer($socket{$_}) =~ m{^HTTP/1\.1 (\d+)} ? $1 : 'none')}++ for sort keys %socket;
    }

    is_deeply \%count, {'read 200' => 10, 'write 201' => 10, 'tenant 200' => 10}, 'none of them sees it' or diag explain \%count;
    is $redis->client->zcard('lines:{w:w}:lines'), 10, 'each was done once';

    $nginx->quit;
};

# what is asked about the workspace, a script that has to do with it, what the operator reads; but not what a node asks about it by
# itself: the survey, and the sweeper's walk
my $survey = Test::Lines::Script->new->sha('tenant_survey');
my $itself = qr/(?!.*(?:$survey|SMEMBERS))/s;
my %like   = (
    any    => qr/\A$itself.*\{w:w\}/s,
    script => qr/\A$itself.*EVALSHA.*\{w:w\}/s,
    admin  => qr/\r\n(?:HEXISTS|SRANDMEMBER|ZRANGEBYLEX)\r\n/,
);

subtest 'answered, but the answer is lost' => sub {
    my $redis = $t->redis;
    my $wire  = $t->wire(redis => $redis);
    my $nginx = $t->nginx(redis => $wire->url, plans => $plans, workers => 1, redis_options => 'timeout=20s connect_timeout=10s');

    wait_ready($nginx);
    my $key  = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
    my $auth = $nginx->bearer($key);
    my sub report ($id) { $nginx->admin(POST => "lines/$id/status", {status => 'active', phone => '+12025550123'}) }

    # the key is known, and the scripts are
    is $nginx->get('/api/line-requests', $auth)->status, 200, 'a list';
    my $first = $nginx->post_json('/api/line-requests', $line, $auth);
    is $first->status, 201, 'a line';
    is report($first->json('/line/_id'))->status, 200, 'a report';

    my sub cut ($what, $code) {
        wait_ready($nginx);
        $wire->lose($like{$what});
        return $code->()->status;
    }

    my %count;
    for my $round (1 .. 5) {
        $count{'read ' . cut(any => sub { $nginx->get('/api/line-requests', $auth) })}++;
        $count{'create ' . cut(script => sub { $nginx->post_json('/api/line-requests', $line, $auth) })}++;
    }

    is_deeply \%count, {'read 200' => 5, 'create 201' => 5}, 'asked once more on the next connection' or diag explain \%count;
    is $redis->client->zcard('lines:{w:w}:lines'), 6, 'each line was made once';
    is $redis->client->hget('lines:{w:w}:t', 'phone_included'), 6, '... and takes one place';
    wait_for(sub { ($nginx->get('/_lines/metrics')->body =~ /^lines_redis_repeats_total (\d+)$/m)[0] >= 10 }, 30, 'the metric');

    # what the operator asks
    $nginx->workspace('keys', {plan => 'big'});
    is cut(admin => sub { $nginx->admin(GET => 'workspaces/keys/keys') }), 200, 'is it being deleted?';
    is cut(admin => sub { $nginx->admin(GET => 'numbers') }),            200, 'the numbers';
    is cut(admin => sub { $nginx->admin(DELETE => 'workspaces/keys') }), 200, 'which keys has it?';

    # scripts that only read
    my $id = $first->json('/line/_id');
    for my $path ("/api/line-requests/$id", '/api/line-requests', '/api/lines/by-user') {
        is $nginx->get($path, $auth)->status, 200, $path;
        is cut(script => sub { $nginx->get($path, $auth) }), 200, '... and asked once more';
    }

    # what must not run twice does not: the outcome is unknown
    ($id) = $redis->client->zrange('lines:{w:w}:lines', -1, -1);
    is cut(script => sub { report($id) }), 503, 'a move of a line: unavailable';
    wait_ready($nginx);
    is $redis->client->llen('lines:{w:w}:journal'), 8, 'and it ran once';

    $nginx->quit;
};

# by the time that a line's begin is asked once more it would be too late to begin
subtest 'asked once more, too late' => sub {
    my $redis = $t->redis;
    my $wire  = $t->wire(redis => $redis);
    my $nginx = $t->nginx(
        redis         => $wire->url,
        plans         => "lines_plan big phone included=3 max=3;\n",
        workers       => 1,
        redis_options => 'timeout=20s connect_timeout=10s',
        http          => 'lines_operations late=1s;'
    );

    wait_ready($nginx);
    my $auth = $nginx->bearer($nginx->workspace(w => {plan => 'big', subscription => 'active'}));
    is $nginx->post_json('/api/line-requests', $line, $auth)->status, 201, 'a line: the script is known';

    $wire->lose($like{script}, back => 2);
    my $answer = $nginx->post_json('/api/line-requests', $line, $auth);
    is $answer->status, 201, 'another' or diag $answer->to_string;
    is $redis->client->zcard('lines:{w:w}:lines'), 2, 'it was made once';
    is $redis->client->hget('lines:{w:w}:t', 'phone_included'), 2, '... and takes one place';
    ok $redis->client->exists('lines:{w:w}:line:' . ($answer->json('/line/_id') // '')), '... which the answer names';

    $nginx->quit;
};

subtest 'a stall is not the end' => sub {
    my $redis = $t->redis;
    my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1, redis_options => 'timeout=300ms silence=60s');
    my $key   = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
    my $auth  = $nginx->bearer($key);
    my $mark  = $nginx->log_mark;

    $redis->pause;
    is $nginx->get('/api/line-requests', $auth)->status, 503, 'an operation ends at its timeout' for 1 .. 3;
    is $nginx->get('/_lines/ready')->status, 200, 'the connection is kept';
    $redis->cont;
    wait_for(sub { $nginx->get('/api/line-requests', $auth)->status == 200 }, 30, 'service');
    unlike $nginx->error_log($mark), qr/connection lost/, 'and used again';

    $nginx->redis_options('timeout=300ms silence=1s');
    $nginx->reload(wait_old => 1);
    wait_ready($nginx);
    $redis->pause;
    is $nginx->get('/api/line-requests', $auth)->status, 503, 'with a shorter silence';
    $nginx->wait_log(qr/connection lost: no reply, for "silence="/, $mark);
    wait_for(sub { $nginx->get('/_lines/ready')->status == 503 }, 30, 'not ready');
    pass 'it is given up';
    $redis->cont;
    wait_ready($nginx);

    $nginx->quit;
};

subtest 'each loss is told' => sub {
    my $redis = $t->redis;
    my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1);

    for my $time (1 .. 3) {
        wait_ready($nginx);
        my $mark = $nginx->log_mark;
        $redis->client->client_kill('TYPE', 'normal');
        $nginx->wait_log(qr/\[error\].*commands: connection lost/, $mark);
        $nginx->wait_log(qr/commands: connected again/, $mark);
        pass "loss $time";
    }

    $redis->stop;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 503 }, 30, 'not ready');
    $nginx->wait_log(qr/(?:commands: could not connect.*){4}/s);
    my $vain = () = $nginx->error_log =~ /\[error\].*commands: could not connect/g;
    cmp_ok $vain, '<=', scalar @{$redis->nodes}, 'attempts in vain are not told each time';

    $nginx->quit;
};

$t->done;
