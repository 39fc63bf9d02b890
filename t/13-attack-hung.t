# Servers that hang, without a word and without an end: more of them at once than one, and those that others are found by. Whoever
# does not need them is served all the while, whoever does hears 503, and nothing is left of it afterwards.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max sum0);
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has servers of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Redis::Cluster;
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my @plans = (plans => "lines_plan bulk phone included=100000;\n");

sub ready ($nginx) { return $nginx->get('/_lines/ready')->json('/redis/status') eq 'ok' }
sub wait_ready ($nginx) { wait_for(sub { ready($nginx) }, 30, 'all is there') }

# clients of several kinds, one request after the other each: what each kind was answered, and how long it took at most
my (%answers, %longest, $stop, $reads);

sub client ($nginx, $kind, $auth, $i = 0) {
    return Mojo::Promise->resolve if $stop;
    my $began = time;
    my $asked = $i % 3 || $reads ? $nginx->get_p("/api/line-requests/$auth->{line}", $auth->{who}) : $nginx->post_json_p('/api/line-requests', \%phone, $auth->{who});
    return $asked->then(sub ($answer) {
        my $status = $answer->status;
        $answers{$kind}{$status . ($status == 503 && !$answer->header('Retry-After') ? ' without Retry-After' : '')}++;
        $longest{$kind} = max $longest{$kind} // 0, time - $began;
        my $wait = Mojo::Promise->new;
        Mojo::IOLoop->timer($status == 503 ? 0.05 : 0.01 => sub { $wait->resolve });
        return $wait;
    })->then(sub { client($nginx, $kind, $auth, $i + 1) });
}

# so many clients of each, while something happens
sub under_load ($nginx, $count, $tenants, $do) {
    (%answers, %longest) = ();
    $stop = 0;
    my $all = Mojo::Promise->all(map { my $kind = $_; map { client($nginx, $kind, $tenants->{$kind}) } 1 .. $count->{$kind} } sort keys %$tenants);
    my $error = eval { $do->(); '' } // $@;
    $stop = 1;
    $all->wait;
    die $error if $error;
}

sub heard ($kind) { return sum0 values %{$answers{$kind} // {}} }
sub forget () { (%answers, %longest) = () }
sub told ($kind) { return [sort keys %{$answers{$kind} // {}}] }
sub for_while ($seconds) { my $end = time + $seconds; return wait_for(sub { time > $end }, $seconds + 30, 'the time') }

sub in_flight ($nginx) { return sum0 $nginx->get('/_lines/metrics')->body =~ /^lines_redis_in_flight\{[^}]*\} (\d+)|^lines_redis_in_flight (\d+)/mg ? map { $_ // 0 } $1, $2 : () }
sub all_done ($nginx) { return eval { wait_for(sub { in_flight($nginx) == 0 }, 15, 'operations to end'); 1 } }

# with a line to read: lists wait for each other, one is read at once
sub tenant ($nginx, $key) {
    my $who = $nginx->bearer($key);
    my $id;
    wait_for(sub { $id = $nginx->post_json('/api/line-requests', \%phone, $who)->json('/line/_id') }, 30, 'a line');
    return {who => $who, line => $id};
}

subtest 'two primaries of three' => sub {
    my $redis = $t->redis(kind => 'cluster');
    my ($first, $second, $third) = @{$redis->nodes};
    my $bus     = $t->free_port;
    my $replica = $t->redis(kind => 'plain', conf => "cluster-enabled yes\ncluster-port $bus\ncluster-announce-ip 127.0.0.1\ncluster-node-timeout 60000\nrepl-diskless-sync-delay 0\n");
    $first->cli('CLUSTER MEET', '127.0.0.1', $replica->port, $bus);
    wait_for(sub { eval { $replica->cli('CLUSTER REPLICATE', $second->{id}); 1 } }, 30, 'they know each other');
    wait_for(sub { my $role = $replica->cli('ROLE'); $role->[0] eq 'slave' && $role->[3] eq 'connected' }, 30, 'the replica');

    my $nginx = $t->nginx(redis => $redis, redis_options => 'max_inflight=100 timeout=1s silence=30s', @plans);
    wait_ready($nginx);
    my @pids    = $nginx->pids;
    my %tenants = map { ("tenant $_" => tenant($nginx, $redis->key_on($nginx, $redis->nodes->[$_ - 1], 'bulk'))) } 1 .. 3;
    my %count   = ('tenant 1' => 10, 'tenant 2' => 10, 'tenant 3' => 2);

    under_load($nginx, \%count, \%tenants, sub {
        wait_for(sub { 3 == grep { heard($_) > 20 } keys %tenants }, 30, 'answers');
        is_deeply [map { told($_) } sort keys %tenants], [([200, 201]) x 3], 'all are served';

        # an id, and what is due, are in slots of their own: a new line needs others than its tenant's
        $reads = 1;
        $_->pause for $first, $second;

        # as many at once as there is room for
        my @burst = map { my $of = $tenants{$_}; map { $nginx->get_p("/api/line-requests/$of->{line}", $of->{who}) } 1 .. 60 } 'tenant 1', 'tenant 2';
        Mojo::Promise->all(@burst)->wait;
        forget();
        for_while(4);
        is_deeply [map { told("tenant $_") } 1, 2], [[503], [503]], 'two hang: their tenants hear 503, with Retry-After';
        cmp_ok max(@longest{'tenant 1', 'tenant 2'}), '<', 4 * $t->slow, '... in time';
        is_deeply told('tenant 3'), [200], '... those of the third read as ever' or diag explain \%answers;
        cmp_ok $longest{'tenant 3'}, '<', 2 * $t->slow, '... without waiting for the two';

        $first->cont;
        wait_for(sub { forget(); for_while(0.3); "@{told('tenant 1')}" eq '200' }, 15, 'service');
        pass 'one comes back: its tenants are served';
        forget();
        for_while(1);
        is_deeply told('tenant 3'), [200], '... those of the third still';
        is_deeply told('tenant 2'), [503], '... and those of the other one not yet';

        $replica->cli('CLUSTER FAILOVER', 'TAKEOVER');
        my $began = time;
        wait_for(sub { forget(); for_while(0.3); "@{told('tenant 2')}" eq '200' }, 15, 'service');
        cmp_ok time - $began, '<', 6 * $t->slow, "the other one's replica is promoted: its tenants are served, too";
        $reads = 0;
        forget();
        wait_for(sub { 3 == grep { heard($_) > 20 } keys %tenants }, 30, 'answers');
        is_deeply [map { told($_) } sort keys %tenants], [([200, 201]) x 3], '... and lines are made';
    });
    ok all_done($nginx), 'nothing of it is under way afterwards, with the old one still hanging' or diag in_flight($nginx);
    $second->cont;
    wait_for(sub { $second->cli('ROLE')->[0] eq 'slave' }, 30, 'the old one to follow');
    forget();
    under_load($nginx, \%count, \%tenants, sub { wait_for(sub { 3 == grep { heard($_) > 20 } keys %tenants }, 30, 'answers') });
    is_deeply [map { told($_) } sort keys %tenants], [([200, 201]) x 3], '... nor when it comes back';
    is_deeply [$nginx->pids], \@pids, 'no worker ended';
    $nginx->quit;
    $_->stop for $replica, $redis;
};

subtest 'a primary of three, and lists of many tenants' => sub {
    my $redis = $t->redis(kind => 'cluster');
    my ($hung, $other, $third) = @{$redis->nodes};
    my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=8s silence=30s', @plans);
    wait_ready($nginx);
    my @waits = map { $nginx->bearer($redis->key_on($nginx, $hung, 'bulk')) } 1 .. 12;
    my %reads = (a => $nginx->bearer($redis->key_on($nginx, $other, 'bulk')), b => $nginx->bearer($redis->key_on($nginx, $third, 'bulk')));
    is $nginx->get('/api/line-requests', $_)->status, 200, 'a list' for @waits[0, 1], values %reads;

    # more of them than a worker has turns for; whose keys are remembered
    $nginx->get('/api/line-requests', $_) for @waits;
    $hung->pause;
    my @lists = map { my $who = $_; map { $nginx->get_p('/api/line-requests', $who) } 1 .. 3 } @waits;
    for_while(0.5);
    my $began = time;
    for my $n (1 .. 10) {
        is $nginx->get('/api/line-requests', $reads{$_})->status, 200, "list $n of a tenant of another primary" for sort keys %reads;
    }
    cmp_ok time - $began, '<', 3 * $t->slow, '... and none of them waits for those that hang';
    $hung->cont;
    my @statuses = map { $_->[0]->status } Mojo::Promise->all(@lists)->then(sub { @lists = @_ })->wait && @lists;
    is_deeply [grep { $_ != 200 } @statuses], [], 'it comes back: all others have theirs';
    ok all_done($nginx), 'nothing of it is under way afterwards';
    $nginx->quit;
    $redis->stop;
};

subtest 'all Sentinels, and not the primary' => sub {
    my $redis     = $t->redis(kind => 'plain');
    my @sentinels = map { $t->redis(kind => 'plain', args => ['--sentinel'], conf => "sentinel monitor shop 127.0.0.1 @{[$redis->port]} 2\n") } 1 .. 3;
    my $nginx = $t->nginx(redis => 'redis+sentinel://' . join(',', map { '127.0.0.1:' . $_->port } @sentinels) . '/shop', redis_options => 'silence=2s', @plans);
    wait_ready($nginx);
    my $auth = tenant($nginx, $nginx->workspace(one => {plan => 'bulk'}));

    under_load($nginx, {all => 4}, {all => $auth}, sub {
        wait_for(sub { heard('all') > 20 }, 30, 'answers');
        forget();
        my $mark = $nginx->log_mark;
        $_->pause for @sentinels;
        my $hung = qr/Sentinel: connection lost: no reply, for "silence="/;
        wait_for(sub { 3 == (() = $nginx->error_log($mark) =~ /$hung/g) }, 40, 'it to be seen');
        is_deeply told('all'), [200, 201], 'all hang: everybody is served';
        cmp_ok $longest{all}, '<', 2 * $t->slow, '... without waiting for them';
        ok ready($nginx), '... and ready it is';

        $redis->cli('CLIENT', 'KILL', 'TYPE', $_) for 'normal', 'pubsub';
        my $began = time;
        wait_for(sub { forget(); for_while(0.2); "@{told('all')}" eq '200 201' }, 15, 'service');
        cmp_ok time - $began, '<', 3 * $t->slow, 'the primary is found again where it was';

        for_while(3);
        is scalar(() = $nginx->error_log($mark) =~ /\[error\].*Sentinel: connection lost/g),   3, 'that they hang is said once of each';
        cmp_ok scalar(() = $nginx->error_log($mark) =~ /\[error\].*Sentinel: could not connect/g), '<=', 3, '... and that nobody answers there';

        # they hang as nginx asks them, where it is led by them
        $_->cont for @sentinels;
        wait_for(sub { 3 == (() = $nginx->error_log($mark) =~ /Sentinel: connected again/g) }, 30, 'them');
        for_while(0.5);
        $_->pause for @sentinels;
        $redis->cli('CLIENT', 'KILL', 'TYPE', $_) for 'normal', 'pubsub';
        forget();
        $began = time;
        wait_for(sub { forget(); for_while(0.2); "@{told('all')}" eq '200 201' }, 15, 'service');
        cmp_ok time - $began, '<', 4 * $t->slow, '... also by those who wait for an answer of theirs';
        $_->cont for @sentinels;
    });
    ok all_done($nginx), 'nothing of it is under way afterwards';
    $nginx->quit;
    $_->stop for @sentinels, $redis;
};

subtest 'a primary whose replica all wait for' => sub {
    my $redis   = $t->redis(kind => 'plain');
    my $replica = $t->redis(kind => 'plain', conf => "replicaof 127.0.0.1 @{[$redis->port]}\nrepl-diskless-sync-delay 0\n");
    wait_for(sub { @{$redis->cli('ROLE')->[2]} }, 30, 'the replica');
    my $nginx = $t->nginx(redis => $redis, redis_options => 'replicas=1 wait=300ms timeout=1s silence=2s', @plans);
    wait_ready($nginx);
    my $key;
    wait_for(sub { eval { $key = $nginx->workspace(one => {plan => 'bulk'}) } }, 20, 'writes');
    my @pids = $nginx->pids;
    my $made = 0;

    under_load($nginx, {all => 6}, {all => tenant($nginx, $key)}, sub {
        for my $hung ($redis, $replica) {
            my $what = $hung == $redis ? 'the primary' : 'the replica';
            wait_for(sub { "@{told('all')}" eq '200 201' && heard('all') > 20 }, 30, 'answers');
            $made += $answers{all}{201};
            forget();
            my $mark = $nginx->log_mark;
            $hung->pause;
            for_while(1.2);
            $made += $answers{all}{201} // 0;
            forget();
            for_while(3);
            is_deeply told('all'), [$hung == $redis ? 503 : (200, 503)], "$what hangs for longer than silence=: 503, with Retry-After, of what needs it";
            cmp_ok $longest{all}, '<', 4 * $t->slow, '... in time';
            if ($hung == $redis) { is scalar(() = $nginx->error_log($mark) =~ /\[error\].*commands: connection lost: no reply, for "silence="/g), 1, '... and the log says so once' }
            $hung->cont;
            my $began = time;
            wait_for(sub { $made += $answers{all}{201} // 0; forget(); for_while(0.3); "@{told('all')}" eq '200 201' }, 15, 'service');
            cmp_ok time - $began, '<', 5 * $t->slow, '... and it serves again';
            unlike $nginx->error_log($mark), qr/\[crit\]/, '... without a word of what is no concern of anybody';
        }
        $stop = 1;
    });
    $made += $answers{all}{201} // 0;
    ok all_done($nginx), 'nothing of it is under way afterwards';
    cmp_ok $redis->cli('ZCARD', 'lines:{w:one}:lines'), '>=', $made, 'what was acknowledged is there';
    is $replica->cli('ZCARD', 'lines:{w:one}:lines'), $redis->cli('ZCARD', 'lines:{w:one}:lines'), '... and where it was waited for';
    is_deeply [$nginx->pids], \@pids, 'no worker ended';
    $nginx->quit;
};

$t->done;
