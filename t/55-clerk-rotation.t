# Rotation of Clerk's keys under load, unknown keys as an attack, several instances side by side, remembered tokens.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(shuffle);
use POSIX ();
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 600);
my $redis = $t->redis;

sub bearer ($token) { return {Authorization => "Bearer $token"} }

subtest 'rotation under load' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 2,
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party, jwks_ttl => '1s')
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );

    my $wave = 0;

    # each a token of its own, so that none is merely remembered
    my sub load ($count, @kids) {
        $wave++;
        my @answers = concurrently($count, sub ($i) {
            my $token = $clerk->token(org => "org_$i", kid => $kids[$i % @kids]);
            $nginx->get_p($i % 2 ? '/me' : '/api/lines/by-user', $i % 3 ? bearer($token) : {Cookie => "__session=$token"});
        });
        my %count;
        $count{$_->status}++ for @answers;
        is_deeply \%count, {200 => $count}, "wave $wave: " . join(' and ', @kids) or diag explain \%count;
    }

    load(200, 'first');
    my $fetches = $clerk->fetches;

    # published and used in one moment: whoever brings it first has the keys fetched
    $clerk->publish('first', 'second');
    load(300, 'first', 'second');
    cmp_ok $clerk->fetches, '>', $fetches, 'the new key was fetched';
    load(200, 'second', 'first');

    $clerk->publish('second');
    load(200, 'second');

    wait_for(sub { $nginx->get('/me', bearer($clerk->token(kid => 'first')))->status == 401 }, 30, 'the end of the old key');
    pass 'the old key ends, within jwks_ttl';
    load(100, 'second');

    # remembered tokens end with their key
    my $token = $clerk->token(kid => 'second');
    is $nginx->get('/me', bearer($token))->status, 200, 'a remembered token' for 1, 2;
    $clerk->publish('third');
    wait_for(sub { $nginx->get('/me', bearer($token))->status == 401 }, 30, 'the end of its key');
    pass 'ends with its key';

    $nginx->quit;
};

# each worker has a clock of its own, which stands while it is busy: one worker's fetch lies in another's future
subtest 'keys that are fetched all the time' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 4,
        http    => 'keepalive_requests 100000;',
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party, jwks_ttl => '100ms', jwks_stale => '1h')
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );

    my $token = $clerk->token(org => 'org_1', claims => {exp => time + 3600});
    is $nginx->get('/me', bearer($token))->status, 200, 'a token';

    my $fetches = $clerk->fetches;
    my $burst   = "GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $token\r\n\r\n" x 100;
    my %count;

    # stands still even longer when it is stopped in the middle of its work
    my @pids  = $nginx->pids;
    my $owner = $$;
    my $child = fork // die "fork: $!";
    if (!$child) {
        while (getppid == $owner) {
            my $pid = $pids[rand @pids];
            kill 'STOP', $pid;
            select undef, undef, undef, 0.15;
            kill 'CONT', $pid;
            select undef, undef, undef, 0.01;
        }
        POSIX::_exit(0);
    }

    for my $round (1 .. 1000) {
        last if $clerk->fetches >= $fetches + 30;
        my @sockets = map { $nginx->socket } 1 .. 4;
        print $_ $burst and $_->flush for @sockets;

        for my $socket (@sockets) {
            my $in = '';
            while ((() = $in =~ m{HTTP/1\.1 \d}g) < 100) { sysread $socket, $in, 65536, length $in or last }
            $count{$_}++ for $in =~ m{HTTP/1\.1 (\d+)}g;
        }
    }

    kill 'KILL', $child;
    waitpid $child, 0;
    kill 'CONT', @pids;

    is_deeply [keys %count], [200], 'no request finds them missing' or diag explain \%count;
    note $clerk->fetches - $fetches . ' fetches';
    $nginx->quit;
};

subtest 'ten thousand unknown keys' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 2,
        http    => 'keepalive_requests 100000;',
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party)
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );

    my $good = $clerk->token(org => 'org_1');
    is $nginx->get('/me', bearer($good))->status, 200, 'a good token';
    is $clerk->fetches, 1, 'one fetch';

    my ($header, $payload, $signature) = split /\./, $clerk->token;
    my %count;

    for my $round (1 .. 100) {
        my $socket = $nginx->socket;
        my $text   = join '', map {
            my $kid = join '', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 20;
            my $h   = Test::Lines::Clerk::_base64url(qq({"alg":"RS256","kid":"$kid","typ":"JWT"}));
            "GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $h.$payload.$signature\r\n\r\n"
        } 1 .. 100;

        my ($in, $sent) = ('', 0);
        $sent += syswrite($socket, $text, length($text) - $sent, $sent) // die "write: $!" while $sent < length $text;

        while ((() = $in =~ m{HTTP/1\.1 \d}g) < 100) {
            sysread $socket, $in, 65536, length $in or last;
        }

        $count{$_}++ for $in =~ m{HTTP/1\.1 (\d+)}g;
        close $socket;

        is $nginx->get('/me', bearer($good))->status, 200, "a good token passes meanwhile, round $round" if $round % 20 == 0;
    }

    is_deeply \%count, {401 => 10_000}, 'all are refused' or diag explain \%count;
    cmp_ok $clerk->fetches, '<=', 4, 'with a handful of fetches' or diag $clerk->fetches;
    note $clerk->fetches . ' fetches';

    $nginx->quit;
};

# whichever worker is up first, and whatever becomes of it
subtest 'one fetch for a node' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 3,
        debug   => 1,
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party)
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );

    # each worker looks what is due a millisecond after its start, and has heard
    # of Redis so often only later
    my sub settled () {
        wait_for(sub {
            my %replies;
            $replies{$_}++ for $nginx->error_log =~ /\[debug\] (\d+)#.*lines redis reply/g;
            return !grep { ($replies{$_} // 0) < 3 } $nginx->pids;
        }, 60, 'all workers to have looked');
        is $nginx->get('/me', bearer($clerk->token))->status, 200, 'a good token';
    }

    settled();
    is $clerk->fetches, 1, 'one fetch';

    $nginx->allow(qr/exited on signal 9/);
    for my $pid ($nginx->pids) {
        kill 'KILL', $pid;
        wait_for(sub { my @now = $nginx->pids; @now == 3 && !grep { $_ == $pid } @now }, 30, 'another worker');
    }

    settled();
    is $clerk->fetches, 1, 'none more for workers that take the place of others';

    $nginx->reload(wait_old => 1);
    wait_for(sub { $clerk->fetches > 1 }, 30, 'the fetch of a new configuration');
    settled();
    is $clerk->fetches, 2, 'which is one, too';

    $nginx->quit;
};

subtest 'the cool-down of unknown keys' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 2,
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party, jwks_cooldown => '2s')
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );

    my %unknown = map { $_ => $clerk->token(kid => "none$_", key => 'none') } 0 .. 5;

    is $nginx->get('/me', bearer($clerk->token))->status, 200, 'a good token';
    is $clerk->fetches, 1, 'one fetch';

    my $start = Time::HiRes::time();
    is $nginx->get('/me', bearer($unknown{0}))->status, 401, 'an unknown key';
    is $clerk->fetches, 2, 'was looked for';
    is $nginx->get('/me', bearer($unknown{$_}))->status, 401, 'another' for 1 .. 5;

    # a busy machine may take longer than the cool-down for so little
    my $fetches = $clerk->fetches;
    cmp_ok $fetches, '<=', 2 + int((Time::HiRes::time() - $start) / 2), 'not at once again';

    $clerk->publish('first', 'second');
    wait_for(sub { $nginx->get('/me', bearer($clerk->token(kid => 'second')))->status == 200 }, 30, 'the cool-down to end');
    is $clerk->fetches, $fetches + 1, 'then it is';

    $nginx->quit;
};

subtest 'side by side' => sub {
    my $one = Test::Lines::Clerk->new(t => $t, issuer => 'https://one.example.com', uri => '/_lines/jwks/one');
    my $two = Test::Lines::Clerk->new(t => $t, issuer => 'https://two.example.com', uri => '/_lines/jwks/two');
    my $pem = $t->file('two.pem', $two->pem);
    my $p   = $one->party;

    # both call their key "first"
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 2,
        server  => $one->location . $two->location . $one->directive(authorized_party => $p) . <<"END",
location = /one     { lines_auth clerk; empty_gif; }
location = /two     { @{[$two->directive(authorized_party => $p)]} lines_auth clerk; empty_gif; }
location = /pem     { @{[$two->directive(authorized_party => $p, key_file => $pem)]} lines_auth clerk; empty_gif; }
location = /party   { @{[$one->directive(authorized_party => 'https://other.example.com')]} lines_auth clerk; empty_gif; }
location = /any     { @{[$one->directive]} lines_auth clerk; empty_gif; }
location /api2/     { @{[$two->directive(authorized_party => $p)]} lines_workspace_api; }
END
    );

    my %token = (
        one   => $one->token(org => 'org_1'),
        two   => $two->token(org => 'org_1'),
        mixed => $two->token(org => 'org_1', claims => {iss => $one->issuer}),
        party => $one->token(org => 'org_1', claims => {azp => 'https://other.example.com'}),
    );

    my %passes = (
        '/one'               => {one => 1},
        '/two'               => {two => 1},
        '/pem'               => {two => 1},
        '/party'             => {party => 1},
        '/any'               => {one => 1, party => 1},
        '/api/lines/by-user' => {one => 1},
        '/api2/lines/by-user' => {two => 1},
    );

    # several times, in any order: what one location remembers is nothing to another
    for my $round (1 .. 3) {
        for my $path (shuffle keys %passes) {
            for my $name (sort keys %token) {
                is $nginx->get($path, bearer($token{$name}))->status, $passes{$path}{$name} ? 200 : 401, "token $name at $path";
            }
        }
    }

    is $one->fetches, 1, 'one is fetched once for all its locations';
    is $two->fetches, 1, 'two too';

    $nginx->quit;
};

subtest 'remembered tokens' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 2,
        debug   => 1,
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party, leeway => '0')
          . 'location = /me { lines_auth clerk; empty_gif; add_header X-Tenant $lines_tenant; add_header X-User $lines_user; }'
    );

    my $end   = time + 3;
    my $token = $clerk->token(org => 'org_1', claims => {exp => $end});

    for my $time (1 .. 4) {
        my $answer = $nginx->get('/me', bearer($token));
        last if time >= $end;
        is $answer->status, 200, "time $time";
        is $answer->header('X-Tenant'), 'w:org_1', 'the same tenant';
        is $answer->header('X-User'), 'user_1', 'the same user';
    }

    like $nginx->error_log, qr/lines clerk: cached/, 'remembered by all workers';

    wait_for(sub { $nginx->get('/me', bearer($token))->status == 401 }, 30, 'the token to expire');
    # time() is of a coarser clock than nginx' own, and may be late by a tick
    cmp_ok Time::HiRes::time(), '>=', $end, 'believed up to its time, and not longer';

    my $long = $clerk->token(org => 'o' x 64, claims => {sub => 'u' x 500});
    for (1, 2) {
        my $answer = $nginx->get('/me', bearer($long));
        is $answer->status, 200, 'long names';
        is $answer->header('X-Tenant'), 'w:' . 'o' x 64, '... of the tenant';
        is $answer->header('X-User'), 'u' x 500, '... of the user';
    }

    $nginx->quit;
};

# what the old configuration asks is of no use to the new one, which leads elsewhere
subtest 'another issuer while the old one is asked' => sub {
    my %same = (t => $t, issuer => 'https://clerk.example.com');
    my $old  = Test::Lines::Clerk->new(%same, kid => 'old');
    my $new  = Test::Lines::Clerk->new(%same, kid => 'new');
    $old->upstream->set(delay => 3);

    my sub server ($clerk) {
        my $directive = $clerk->directive(authorized_party => $clerk->party, jwks_ttl => '60s');
        return $clerk->location . "location = /me { $directive lines_auth clerk; empty_gif; }\n";
    }

    my $nginx = $t->nginx(redis => $redis, workers => 2, debug => 1, server => server($old));
    wait_for(sub { $old->fetches }, 30, 'a fetch');

    my $answer;
    $nginx->get_p('/me', bearer($new->token(org => 'org_1')))->then(sub ($a) { $answer = $a });
    wait_for(sub { $nginx->error_log =~ /lines clerk: wait/ }, 30, 'a client that waits for it');

    $nginx->server(server($new));
    $nginx->reload(wait_old => 1);
    wait_for(sub { $answer }, 30, 'its answer');
    is $answer->status, 200, 'it gets what the new issuer says';
    is $new->fetches, 1, 'who was asked at once';
    is $nginx->get('/me', bearer($new->token(org => 'org_1')))->status, 200, 'a key of the new issuer';
    is $nginx->get('/me', bearer($old->token(org => 'org_1')))->status, 401, 'a key of the old one';

    $nginx->quit;
};

subtest 'a worker that starts after those of a newer configuration' => sub {
    my $load = $t->load_modules('ndk_http_module', 'ngx_http_lua_module');
    plan skip_all => 'no Lua, which can hold up the start of a worker' if !$load || $ENV{LINES_PRELOAD};

    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $held  = $t->file('held', '');
    my $lua   = 'lua_load_resty_core off;';
    my $nginx = $t->nginx(
        redis   => $redis,
        workers => 2,
        before  => $load,
        http    => $lua,
        server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party, jwks_ttl => '1s')
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );

    my $token = $clerk->token(org => 'org_1', claims => {exp => time + 3600});
    is $nginx->get('/me', bearer($token))->status, 200, 'a token';

    # two reloads: the workers of the first one are held up until those of the
    # second are there
    $nginx->http("$lua init_worker_by_lua_block { os.execute('echo >> $held; while [ -e $held ]; do sleep 0.05; done') }");
    $nginx->write;
    kill 'HUP', $nginx->master;
    wait_for(sub { -s $held == 2 }, 30, 'workers that are held up');
    my $fetches = $clerk->fetches;
    $nginx->http($lua);
    $nginx->write;
    kill 'HUP', $nginx->master;
    wait_for(sub { $clerk->fetches > $fetches }, 30, 'the fetch of the newer ones');
    unlink $held or die $!;
    wait_for(sub { $nginx->pids == 2 }, 60, 'the others to have gone');

    $clerk->publish('second');
    wait_for(sub { $nginx->get('/me', bearer($token))->status == 401 }, 30, 'the end of the key');
    pass 'keys are kept fresh';

    $nginx->quit;
};

$t->done;
