# What lines_ready says of a Redis that is set otherwise than conf/redis.conf
# asks for, whose disk is full, or which is a node of a cluster.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'it is of the settings of one Redis';
use Test::Lines qw(wait_for);
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 300);
my $plans = "lines_plan big phone included=100000;\n";
my $line  = {channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace'};

sub ready ($nginx) { $nginx->get('/_lines/ready') }
sub wait_ready ($nginx) { wait_for(sub { ready($nginx)->status == 200 }, 30, 'ready') }

subtest 'settings' => sub {
    my $redis = $t->redis;
    my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1);
    wait_ready($nginx);

    is_deeply ready($nginx)->json('/redis/warnings'), [], 'those of conf/redis.conf: no warning';
    ok !exists ready($nginx)->json->{redis}{reason}, '... and no reason to be away';

    my %config = (appendfsync => ['everysec', 'always'], 'hash-max-listpack-value' => [64, 1024], 'stream-node-max-bytes' => [4096, 512]);

    for my $name (sort keys %config) {
        my ($other, $wanted) = @{$config{$name}};
        my $mark = $nginx->log_mark;

        $redis->client->config_set($name, $other);
        $redis->client->client_kill('TYPE', 'normal');
        $nginx->wait_log(qr/\[warn\].*lines redis.*$name is "$other", not "$wanted" as in conf\/redis\.conf/, $mark);
        wait_for(sub {
            my $answer = ready($nginx);
            return $answer->status == 200 && "@{$answer->json('/redis/warnings')}" eq "$name is not $wanted";
        }, 30, "the warning of $name");
        pass "$name: a warning, and ready all the same";
        $redis->client->config_set($name, $wanted);
    }

    # set while it runs: read again, though nobody asks
    wait_for(sub { !@{ready($nginx)->json('/redis/warnings')} }, 30, 'no warning');
    my $mark = $nginx->log_mark;
    $redis->client->config_set('stream-node-max-bytes', 4096);
    wait_for(sub { "@{ready($nginx)->json('/redis/warnings')}" eq 'stream-node-max-bytes is not 512' }, 30, 'the warning');
    $redis->client->config_set('stream-node-max-bytes', 512);
    wait_for(sub { !@{ready($nginx)->json('/redis/warnings')} }, 30, 'no warning');
    my @told = $nginx->error_log($mark) =~ /stream-node-max-bytes is "4096"/g;
    is @told, 1, 'a setting of a Redis that runs: a warning, told once, and none any more';
    unlike $nginx->error_log($mark), qr/connection lost/, '... on the same connection';

    # more is as good; both are read anew with each connection
    $redis->client->config_set('hash-max-listpack-value', 2048);
    $redis->client->client_kill('TYPE', 'normal');
    wait_for(sub { my $answer = ready($nginx); $answer->status == 200 && !@{$answer->json('/redis/warnings')} }, 30, 'no warning');
    pass 'a longer listpack is no reason to warn';

    # worker connections, as conf/directives.md counts them: commands, subscription
    my $count = sub { my $list = $redis->client->client_list; my @all = split /\n/, ref $list ? "@$list" : $list; scalar grep {/ addr=127\.0\.0\.1:/} @all };
    wait_for(sub { $count->() == 2 }, 30, 'two connections');
    pass 'two connections for a worker';

    $nginx->quit;
};

subtest 'what is not allowed' => sub {
    my $redis = $t->redis(conf => "user default on nopass ~* &* +\@all -config\n");
    my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1);
    my $auth  = $nginx->bearer($nginx->workspace(w => {plan => 'big', subscription => 'active'}));

    wait_ready($nginx);
    is_deeply ready($nginx)->json('/redis/warnings'), ['CONFIG is refused: settings are not checked'], 'ready, and CONFIG is not known';

    $redis->client->acl(qw(SETUSER default -info));
    $redis->client->client_kill('TYPE', 'normal');
    wait_for(sub {
        my $answer = ready($nginx);
        return $answer->status == 200 && $answer->json('/redis/warnings/0') eq 'INFO is refused: eviction and persistence are not checked';
    }, 30, 'the warning of INFO');
    pass 'nor is INFO';

    # taken away from a connection that is there
    $redis->client->acl(qw(SETUSER default -eval -evalsha -hmget -hgetall));
    is $nginx->post_json('/api/line-requests', $line, $auth)->status, 503, 'scripts are not allowed any more';
    $nginx->allow(qr/\[alert\].*it refuses a command \(NOPERM\)/);
    wait_for(sub { my $answer = ready($nginx); $answer->status == 503 && ($answer->json('/redis/reason') // '') eq 'NOPERM: scripts are refused' }, 30, 'not ready');
    pass 'not ready, and why';

    $redis->client->acl(qw(SETUSER default +eval +evalsha +hmget +hgetall));
    wait_ready($nginx);
    is $nginx->post_json('/api/line-requests', $line, $auth)->status, 201, 'allowed again';
    my @told = $nginx->error_log =~ /it refuses a command \(NOPERM\)/g;
    is @told, 1, 'told once';

    $nginx->quit;
};

subtest 'how long is waited where nothing is said' => sub {
    my $redis = $t->redis;

    for (['', 'two seconds for an operation', 2, 10], ['timeout=400ms', 'five times that for a connection', 0.4, 2]) {
        my ($options, $what, $timeout, $silence) = @$_;
        my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1, redis_options => $options);
        my $auth  = $nginx->bearer($nginx->workspace(w => {plan => 'big', subscription => 'active'}));
        is $nginx->get('/api/line-requests', $auth)->status, 200, "$options: $what";

        my $mark = $nginx->log_mark;
        $redis->pause;
        my $begun  = Time::HiRes::time();
        my $answer = $nginx->get('/api/line-requests', $auth);
        is $answer->status, 503, '... which ends';
        cmp_ok $answer->seconds, '>', $timeout * 0.95, '... not before';
        cmp_ok $answer->seconds, '<', $timeout + 1.5 * $t->slow, '... nor long after';

        # ten seconds are not waited for here: the rule is the same
        if ($silence < 5) {
            $nginx->wait_log(qr/connection lost: no reply, for "silence="/, $mark);
            my $silent = Time::HiRes::time() - $begun;
            cmp_ok $silent, '>', $silence * 0.95, '... and so does the connection, not before';
            cmp_ok $silent, '<', $silence + 1.5 * $t->slow, '... nor long after';
        }
        $redis->cont;
        $nginx->quit;
    }
};

subtest 'a disk that is full' => sub {
    my $redis = $t->redis(conf => "save 3600 1\n");
    my $nginx = $t->nginx(redis => $redis, plans => $plans, redis_options => 'timeout=10s');
    my $key   = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
    my $auth  = $nginx->bearer($key);

    my $mark = $nginx->log_mark;

    # there is no place for the dump
    mkdir $t->dir . '/' . $redis->name . '/dump.rdb' or die $!;
    $redis->client->bgsave;
    wait_for(sub { $redis->client->info->{rdb_last_bgsave_status} eq 'err' }, 30, 'a dump to fail');

    for (1 .. 3) {
        my $answer = $nginx->post_json('/api/line-requests', $line, $auth);
        is $answer->status, 503, 'a write' or diag $answer->to_string;
        like $answer->header('Retry-After') // '', qr/^[1-9]/, '... with Retry-After';
    }
    is $nginx->get('/api/line-requests', $auth)->status, 200, 'a read';

    my @alerts = $nginx->error_log($mark) =~ /(\[alert\].*lines redis "127\.0\.0\.1:$redis->{port}\/0": it refuses writes \(MISCONF\).*)/g;
    is @alerts, 1, 'an alert, once';
    $nginx->allow(qr/\[alert\].*it refuses writes/);

    is_deeply ready($nginx)->json('/redis/warnings'), ['its disk is full or fails: writes are refused'], 'told by lines_ready';
    wait_for(sub { $nginx->get('/_lines/metrics')->body =~ /^lines_redis_failures_total\{reason="disk"\} [1-9]/m }, 30, 'the metric');
    pass 'and counted';

    # it would not end on SIGTERM, as it could not save
    rmdir $t->dir . '/' . $redis->name . '/dump.rdb' or die $!;
    $nginx->quit;
};

subtest 'a node of a cluster' => sub {
    # its bus would be 10,000 above, where other connections have their near ends
    my $redis = $t->redis(conf => "cluster-enabled yes\ncluster-port @{[$t->free_port]}\ncluster-require-full-coverage no\n");
    my $nginx = $t->nginx(redis => $redis, plans => $plans);

    my $reason = sub ($pattern) {
        wait_for(sub {
            my $answer = ready($nginx);
            return $answer->status == 503 && ($answer->json('/redis/reason') // '') =~ $pattern;
        }, 30, "$pattern");
    };

    $reason->(qr/a cluster node (?:out of service|with 0 of 16384 slots)/);
    pass 'no slots: not ready, and why';

    $redis->cli('CLUSTER ADDSLOTSRANGE', 0, 10, 12, 15, 20, 20);
    $reason->(qr/a cluster node with 16 of 16384 slots: "redis\+cluster:\/\/" is for several/);
    pass 'some slots: not ready, and why';

    $redis->cli('CLUSTER ADDSLOTSRANGE', 11, 11, 16, 19, 21, 16383);
    wait_ready($nginx);
    my $key  = $nginx->workspace(w => {plan => 'big', subscription => 'active'});
    my $auth = $nginx->bearer($key);
    is $nginx->post_json('/api/line-requests', $line, $auth)->status, 201, 'all slots: it serves';

    $redis->cli('CLUSTER DELSLOTSRANGE', 0, 16000);
    wait_for(sub { $nginx->get('/api/line-requests', $auth)->status == 503 }, 30, 'slots to be missed');
    $reason->(qr/a cluster node/);
    pass 'slots have gone elsewhere: not ready';

    $redis->cli('CLUSTER ADDSLOTSRANGE', 0, 16000);
    wait_ready($nginx);
    is $nginx->get('/api/line-requests', $auth)->status, 200, 'back again';

    # what scripts are asked for is not theirs alone to refuse
    $redis->client->acl(qw(SETUSER default -eval -evalsha));
    is $nginx->post_json('/api/line-requests', $line, $auth)->status, 503, 'scripts are not allowed';
    $nginx->allow(qr/\[alert\].*it refuses a command \(NOPERM\)/);
    $reason->(qr/^NOPERM: scripts are refused/);
    $redis->cli('CLUSTER DELSLOTSRANGE', 0, 16000);
    $redis->client->acl(qw(SETUSER default +eval +evalsha));
    $reason->(qr/a cluster node/);
    pass 'the slots that are missing are named, not the scripts';

    $nginx->quit;
};

$t->done;
