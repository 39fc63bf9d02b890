use Mojo::Base -strict, -signatures;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'it is of one Redis, its socket and its password';
use Test::Lines qw(wait_for concurrently);
use Time::HiRes ();

# Redis that is not there, hangs, restarts, moves, refuses: the API answers 503
# with Retry-After, does nothing by half, and recovers by itself.

my $t     = Test::Lines->new(timeout => 600);
my $plans = "lines_plan big phone included=100000;\n";
my $line  = {channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace'};

sub ready ($nginx) { $nginx->get('/_lines/ready') }

sub wait_ready ($nginx) { wait_for(sub { ready($nginx)->status == 200 }, 30, 'ready') }
sub wait_away  ($nginx) { wait_for(sub { ready($nginx)->status == 503 }, 30, 'not ready') }

sub is_unavailable ($answer, $what) {
    is $answer->status, 503, "$what: 503" or diag $answer->to_string;
    like $answer->header('Retry-After') // '', qr/^[1-9]\d*$/, '... with Retry-After';
    return;
}

sub lines_of ($redis, $id) { scalar @{[$redis->cli('ZRANGE', "lines:{w:$id}:lines", 0, -1)]} }

subtest 'not there when nginx starts' => sub {
    my $redis = $t->redis(start => 0);
    my $nginx = $t->nginx(redis => $redis, plans => $plans);

    is ready($nginx)->status, 503, 'not ready';
    is_unavailable($nginx->get('/api/lines/by-user', $nginx->bearer('tuco_' . 'x' x 43)), 'a request');
    $nginx->wait_log(qr/\[error\].*127\.0\.0\.1:$redis->{port}\/0.*could not connect: Connection refused/);

    $redis->start;
    wait_ready($nginx);
    pass 'ready once Redis is there';

    my $key = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
    is $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status, 200, 'and at work';

    $nginx->quit;
};

my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, plans => $plans, redis_options => 'silence=2s');
my $key   = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
my $auth  = $nginx->bearer($key);

sub create (%more) { $nginx->post_json('/api/line-requests', {%$line, %more}, $auth) }
sub list () { $nginx->get('/api/line-requests', $auth) }

is create()->status, 201, 'a line is created';

subtest 'stopped, and started again' => sub {
    $redis->stop;

    is_unavailable(create(), 'a write');
    wait_away($nginx);
    is_unavailable(list(), 'a read');

    my $start = Time::HiRes::time();
    is_unavailable(list(), "read $_") for 1 .. 20;
    cmp_ok Time::HiRes::time() - $start, '<', 10 * $t->slow, 'nobody waits for what is known to be away';

    $redis->start;
    wait_ready($nginx);

    is list()->status, 200, 'a read';
    is create()->status, 201, 'a write';
    is lines_of($redis, 'w'), 2, 'nothing lost, nothing half done';
};

subtest 'paused: the deadline, once' => sub {
    my $mark = $nginx->log_mark;

    $redis->pause;

    # the outcome of this one is unknown: it may be done when Redis goes on
    is_unavailable(create(idempotencyKey => 'paused'), 'a write');
    $nginx->wait_log(qr/lines redis "[^"]+": no answer within "timeout=", \d+ms, to \d+ operations/, $mark);

    wait_away($nginx);
    is_unavailable(list(), "read $_") for 1 .. 20;
    $nginx->wait_log(qr/commands: connection lost: no reply, for "silence=", with \d+ under way/, $mark);
    pass 'the hung server is dropped, and it is told what that costs';

    $redis->cont;
    wait_ready($nginx);
    $nginx->wait_log(qr/commands: connected again, after \d+ ms/, $mark);

    my $again;
    wait_for(sub { ($again = create(idempotencyKey => 'paused'))->status != 409 }, 30, 'the key to be free');
    is $again->status, 201, 'the same key again';
    is create(idempotencyKey => 'paused')->json('/line/_id'), $again->json('/line/_id'), '... and again';
    is lines_of($redis, 'w'), 3, 'one line of the three';
};

subtest 'paused for less than the deadline' => sub {
    my $patient = $t->nginx(redis => $redis, plans => $plans, redis_options => 'timeout=30s');
    wait_ready($patient);

    $redis->pause;
    my @answers = concurrently(20, sub ($i) {
        Mojo::IOLoop->timer(0.5 => sub { $redis->cont }) if $i == 0;
        $patient->get_p('/api/line-requests', $auth);
    });

    is grep({ $_->status == 200 } @answers), 20, 'all were answered in the end';
    $patient->quit;
};

subtest 'more in flight than the bound' => sub {
    my $bound = $t->nginx(redis => $redis, plans => $plans, redis_options => 'timeout=30s max_inflight=8');
    wait_ready($bound);

    $redis->pause;

    my $early   = 0;
    my @answers = concurrently(50, sub ($i) {
        $bound->get_p('/api/line-requests', $bound->bearer('tuco_' . sprintf '%043d', $i))->then(sub ($answer) {
            # 50 less 8, and Redis goes on
            $redis->cont if $answer->status == 503 && ++$early == 42;
            return $answer;
        });
    });

    cmp_ok grep({ $_->status == 503 } @answers), '>=', 42, 'what is beyond the bound is refused';
    is grep({ $_->status != 503 && $_->status != 401 } @answers), 0, 'nothing else';
    is_unavailable((grep { $_->status == 503 } @answers)[0], 'one of these');

    wait_for(sub { $bound->get('/api/line-requests', $auth)->status == 200 }, 30, 'service');
    pass 'in service again';
    $bound->quit;
};

# on a busy machine a new connection may take longer than two seconds
subtest 'connections cut, scripts forgotten' => sub {
    my $patient = $t->nginx(redis => $redis, plans => $plans, redis_options => 'timeout=20s connect_timeout=10s');
    wait_ready($patient);

    for (1 .. 5) {
        $redis->client->client_kill('TYPE', $_) for qw(normal pubsub);
        is $patient->get('/api/line-requests', $auth)->status, 200, 'what comes next waits for the new connection';
    }

    for (1 .. 6) {
        is $patient->post_json('/api/line-requests', $line, $auth)->status, 201, 'a write';
        $redis->client->script_flush;
    }

    $patient->quit;
};

subtest 'killed and restarted under load' => sub {
    my %status;
    my $before = lines_of($redis, 'w');

    my @answers = concurrently(600, sub ($i) {
        if ($i == 100 || $i == 300) {
            $redis->kill;
            Mojo::IOLoop->timer(0.3 => sub { $redis->start });
        }

        $nginx->post_json_p('/api/line-requests', {%$line, idempotencyKey => "load-$i"}, $auth);
    }, 20);

    $status{$_->status}++ for @answers;
    is_deeply [grep { $_ != 201 && $_ != 503 } keys %status], [], 'created, or 503' or diag explain \%status;

    wait_ready($nginx);

    my %ids = map { $_->json('/line/_id') => 1 } grep { $_->status == 201 } @answers;

    for my $i (grep { $answers[$_]->status == 503 } 0 .. $#answers) {
        my $answer;
        wait_for(sub {
            $answer = create(idempotencyKey => "load-$i");
            $answer->status != 409 && $answer->status != 503;
        }, 30, 'an answer');
        $ids{$answer->json('/line/_id')} = 1;
    }

    is keys %ids, 600, 'each key has a line';
    is lines_of($redis, 'w'), $before + 600, 'and no key has two';
};

subtest 'no longer the primary' => sub {
    my $mark = $nginx->log_mark;

    $redis->client->replicaof('127.0.0.1', $t->free_port);
    is_unavailable(create(), 'a write');
    $nginx->wait_log(qr/READONLY/, $mark);
    wait_away($nginx);

    $redis->client->replicaof('no', 'one');
    wait_ready($nginx);
    is create()->status, 201, 'primary again';
};

subtest 'reload and quit while it hangs' => sub {
    $redis->pause;
    my @answers = concurrently(5, sub ($i) {
        $nginx->process->signal('HUP') if $i == 4;
        $nginx->get_p('/api/line-requests', $auth);
    });
    is grep({ $_->status == 503 } @answers), 5, 'requests end at their deadline';
    $redis->cont;
    wait_ready($nginx);
    is list()->status, 200, 'the new worker serves';
};

subtest 'what it may lose is said' => sub {
    my $mark = $nginx->log_mark;

    is_deeply ready($nginx)->json('/redis/warnings'), [], 'no warnings';
    unlike $nginx->error_log, qr/maxmemory-policy|no AOF/, '... none in the log';

    $redis->client->config_set('maxmemory-policy', 'allkeys-lru');
    $redis->client->config_set('appendonly',       'no');
    $nginx->reload(wait_old => 1);
    wait_ready($nginx);

    like $nginx->error_log($mark), qr/\[warn\].*127\.0\.0\.1:$redis->{port}\/0.*maxmemory-policy is "allkeys-lru"/,
      'eviction';
    like $nginx->error_log($mark), qr/\[warn\].*127\.0\.0\.1:$redis->{port}\/0.*no AOF/, 'persistence';
    is @{ready($nginx)->json('/redis/warnings')}, 2, 'both shown by lines_ready';

    $redis->client->config_set('maxmemory-policy', 'noeviction');
    $redis->client->config_set('appendonly',       'yes');
};

subtest 'unix socket, database' => sub {
    my $other = $t->nginx(redis => $redis->unix_url . ':7', plans => $plans);
    wait_ready($other);

    my $own = $other->workspace(w7 => {plan => 'big', subscription => 'active'});
    is $other->post_json('/api/line-requests', $line, $other->bearer($own))->status, 201, 'a write';

    my $client = $redis->client;
    is $client->exists('lines:{w:w7}:t'), 0, 'not in database 0';
    $client->select(7);
    is $client->exists('lines:{w:w7}:t'), 1, 'but in 7';
    $other->quit;
};

subtest 'password' => sub {
    my $secret = 'correct-horse-1';
    my $file   = $t->file('redis.pw', "wrong-horse-1\n");
    my $locked = $t->redis(password => $secret, conf => "requirepass $secret\nuser app on >app-$secret ~* &* +\@all\n");
    my $guest  = $t->nginx(redis => $locked, plans => $plans, redis_options => "password_file=$file");

    $guest->wait_log(qr/\[error\].*127\.0\.0\.1:$locked->{port}\/0.*AUTH failed: wrong user or password/);
    is ready($guest)->status, 503, 'wrong: not ready';
    is_unavailable($guest->get('/api/line-requests', $auth), 'wrong');

    $t->file('redis.pw', "$secret\n");
    $guest->reload(wait_old => 1);
    wait_ready($guest);
    is $guest->get('/api/line-requests', $auth)->status, 401, 'right';

    $t->file('redis.pw', "app-$secret\n");
    $guest->redis_options("password_file=$file user=app");
    $guest->reload(wait_old => 1);
    wait_ready($guest);
    is $guest->get('/api/line-requests', $auth)->status, 401, 'right, with a user';

    my $mark = $guest->log_mark;
    $guest->redis_options('');
    $guest->reload(wait_old => 1);
    $guest->wait_log(qr/NOAUTH: the server asks for a password/, $mark);
    is ready($guest)->status, 503, 'none: not ready';

    unlike $guest->error_log, qr/horse/, 'no secret in the log';
    $guest->quit;
};

subtest 'a name that moves' => sub {
    my $old = $t->redis;
    my $new = $t->redis(start => 0, conf => "bind 127.0.0.2\nport $old->{port}\n");
    my $ip  = $t->file('address', '127.0.0.1');
    my $dns = $t->free_port;

    $t->spawn(dns => [$^X, '-MSocket', '-e', <<'END', $dns, $ip]);
        my ($port, $file) = @ARGV;
        socket my $socket, PF_INET, SOCK_DGRAM, 0 or die $!;
        bind $socket, pack_sockaddr_in($port, inet_aton('127.0.0.1')) or die $!;
        while (defined(my $from = recv $socket, my $query, 512, 0)) {
            open my $in, '<', $file or die $!;
            my $address = <$in>;
            my $question = substr $query, 12, index($query, "\0", 12) - 12 + 5;
            my $answer = substr($query, 0, 2) . pack('n5', 0x8180, 1, 1, 0, 0) . $question
                . pack('nnnNn', 0xc00c, 1, 1, 1, 4) . inet_aton($address);
            send $socket, $answer, 0, $from;
        }
END

    my $moved = $t->nginx(
        redis => "redis://redis.lines.test:$old->{port}/0",
        http  => "resolver 127.0.0.1:$dns ipv6=off valid=1s; resolver_timeout 2s;",
        plans => $plans
    );

    wait_ready($moved);
    $moved->workspace(here => {plan => 'big'});
    is $old->client->exists('lines:{w:here}:t'), 1, 'found by nginx\' resolver';

    $old->stop;
    wait_away($moved);
    $t->file('address', '127.0.0.2');
    $new->start;
    wait_ready($moved);

    $moved->workspace(there => {plan => 'big'});
    is $new->client->exists('lines:{w:there}:t'), 1, 'and where it has moved to';
    $moved->quit;
};

is list()->status, 200, 'in service at the end';

$t->done;
