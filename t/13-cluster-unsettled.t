# A cluster that has not settled: nodes that name each other, maps that are read again, nodes that come back, and those that leave.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::IOLoop;
use Mojo::JSON qw(encode_json);
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has a cluster of its own', store => 'one Redis will do';
use Test::Lines qw(wait_for);
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my @plans = (plans => "lines_plan bulk phone included=100000;\n");

sub answer ($nginx) { return $nginx->get('/_lines/ready')->json('/redis') }

sub wait_ok ($nginx, $seconds = 30) { wait_for(sub { answer($nginx)->{status} eq 'ok' }, $seconds, 'all of the cluster is there') }

sub id ($node) { return scalar $node->cli('CLUSTER MYID') }

sub create_p ($nginx, $auth) {
    return $nginx->request_p(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, encode_json(\%phone));
}

sub after ($seconds, $do) { Mojo::IOLoop->timer($seconds => sub { $do->() }); return }

# a tenant whose slot that node has
sub tenant_at ($redis, $node) {
    for my $name (map {"t$_"} 1 .. 1000) {
        return $name if $redis->node_of("lines:{w:$name}:t") == $node;
    }
}

subtest 'two nodes name each other' => sub {
    my $redis = $t->redis(kind => 'cluster');
    my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=5s', @plans);
    wait_ok($nginx);
    my ($from, $to, $third) = @{$redis->nodes};
    my $name = tenant_at($redis, $from);
    my $auth = $nginx->bearer($nginx->workspace($name => {plan => 'bulk'}));
    is $nginx->post_json('/api/line-requests', \%phone, $auth)->status, 201, 'a line';

    # a reshard that has moved the keys, and told only who had them
    my $slot = $from->cli('CLUSTER KEYSLOT', "lines:{w:$name}:t");
    $to->cli('CLUSTER SETSLOT', $slot, 'IMPORTING', id($from));
    $from->cli('CLUSTER SETSLOT', $slot, 'MIGRATING', id($to));
    $from->cli('MIGRATE', '127.0.0.1', $to->port, '', 0, 5000, 'KEYS', $from->cli('CLUSTER GETKEYSINSLOT', $slot, 1000));
    $to->cli('CLUSTER SETSLOT', $slot, 'STABLE');
    $from->cli('CLUSTER SETSLOT', $slot, 'NODE', id($to));

    my $status;
    my $told = sub { ($from->cli('INFO', 'errorstats')->{errorstat_MOVED} // 'count=0') =~ /count=(\d+)/; $1 };
    my $had  = $told->();
    my $done = create_p($nginx, $auth)->then(sub ($answer) { $status = $answer->status });
    my $much;
    after(0.5 => sub { $much = $told->() - $had; $to->cli('CLUSTER SETSLOT', $slot, 'NODE', id($to)) });
    $done->wait;
    is $status, 201, 'a request waits until one of them has the slot';
    cmp_ok $much // 1000, '<', 60, 'and does not ask without a pause';
    $nginx->quit;
    $redis->stop;
};

subtest 'a map that is read again and again' => sub {
    my $redis = $t->redis(kind => 'cluster');
    my $nginx = $t->nginx(redis => $redis, workers => 4, @plans);
    wait_ok($nginx);
    my ($gone, @here) = @{$redis->nodes};
    $gone->kill;
    wait_for(sub { answer($nginx)->{status} eq 'partial' }, 30, 'one is missed');

    my $read = sub { my $n = 0; $n += ($_->cli('INFO', 'commandstats')->{'cmdstat_cluster|slots'} // '') =~ /calls=(\d+)/ ? $1 : 0 for @here; $n };
    my $before = $read->();
    my $began  = time;
    wait_for(sub { time - $began > 5 }, 30, 'five seconds');
    my $rate = ($read->() - $before) / (time - $began) / 4;
    cmp_ok $rate, '<', 3, sprintf 'each worker reads it %.1f times a second', $rate;
    cmp_ok $rate, '>', 0.5, '... and does';

    $gone->start;
    wait_ok($nginx);
    $nginx->quit;
    $redis->stop;
};

# CLUSTERDOWN: no connection is lost, and nobody tells when it is over
subtest 'nodes that serve again' => sub {
    my $redis = $t->redis(kind => 'cluster', count => 12);
    my $nginx = $t->nginx(redis => $redis, redis_options => 'connect_timeout=300ms', @plans);
    wait_ok($nginx);
    my @nodes = @{$redis->nodes};
    my @auth = map { $nginx->bearer($nginx->workspace(tenant_at($redis, $_) => {plan => 'bulk'})) } @nodes;
    my $reads = sub ($status) { scalar grep { $nginx->get('/api/line-requests?limit=1', $_)->status == $status } @auth };

    # a slot is nobody's: none serves
    $_->cli('CLUSTER DELSLOTS', 0) for @nodes;
    wait_for(sub { $reads->(503) == @auth && (() = $nginx->error_log =~ /CLUSTERDOWN: it does not serve/g) >= @nodes }, 60, 'all are missed');
    $nodes[0]->cli('CLUSTER ADDSLOTS', 0);
    $_->cli('CLUSTER SETSLOT', 0, 'NODE', id($nodes[0])) for @nodes[1 .. $#nodes];
    wait_for(sub { !grep { $_->cli('CLUSTER INFO') !~ /cluster_state:ok/ } @nodes }, 60, 'all serve');
    my $there = time;
    wait_for(sub { $reads->(200) == @auth }, 30, 'they are asked again');
    cmp_ok time - $there, '<', 1.5 * $t->slow, sprintf 'served again after %.2f s', time - $there;
    $nginx->quit;
    $redis->stop;
};

subtest 'a node leaves, and a write there waits for its replica' => sub {
    my $redis = $t->redis(kind => 'cluster', conf => "cluster-allow-replica-migration no\nrepl-diskless-sync-delay 0\n");
    my ($from, $to, $third) = @{$redis->nodes};
    my @replicas = map { $t->redis(kind => 'plain', conf => "replicaof 127.0.0.1 @{[$_->port]}\n") } @{$redis->nodes};
    wait_for(sub { !grep { $_->cli('ROLE')->[3] ne 'connected' } @replicas }, 60, 'replicas');
    my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=60s replicas=1 wait=50s', @plans);
    wait_for(sub { answer($nginx)->{status} eq 'ok' && $nginx->get('/_lines/ready')->body !~ /too few replicas/ }, 30, 'ready');
    my $name = tenant_at($redis, $from);
    my $auth = $nginx->bearer($nginx->workspace($name => {plan => 'bulk'}));
    is $nginx->post_json('/api/line-requests', \%phone, $auth)->status, 201, 'a line';

    $replicas[0]->pause;
    my ($got, $began);
    my $done = create_p($nginx, $auth)->then(sub ($answer) { $got = $answer });
    wait_for(sub { Mojo::IOLoop->one_tick; $from->cli('ZCARD', "lines:{w:$name}:lines") == 2 }, 30, 'it is written, and waits');

    my $last = $redis->slots->[1] - 1;
    my $client = $to->client;
    $client->cluster('setslot', $_, 'node', id($to), sub { }) for 0 .. $last;
    $client->wait_all_responses;
    $to->cli('CLUSTER BUMPEPOCH');
    $began = time;
    $done->wait;
    is $got->status, 503, 'it is answered' or diag $got->to_string;
    ok $got->header('Retry-After'), '... to come back';
    cmp_ok time - $began, '<', 15 * $t->slow, sprintf '... after %.1f s', time - $began;
    wait_for(sub { $nginx->error_log =~ /it has no slots any more/ }, 30, 'the node is left');
    $replicas[0]->cont;
    $nginx->quit;
};

subtest 'what is idle tells no node of the others' => sub {
    my $redis = $t->redis(kind => 'cluster');
    my $nginx = $t->nginx(redis => $redis, workers => 4, @plans);
    wait_ok($nginx);
    my $auth  = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));
    my $of    = sub ($what) { ($redis->cli('INFO', 'commandstats')->{"cmdstat_$what"} // '') =~ /calls=(\d+)/ ? $1 : 0 };
    my $hits  = sub { ($nginx->get('/_lines/metrics')->body =~ /^lines_key_cache_lookups_total\{result="hit"\} (\d+)/m)[0] };
    my ($published, $pings) = ($of->('publish'), $of->('ping'));
    my $began = time;
    wait_for(sub { time - $began > 4 }, 30, 'longer than a heartbeat may be missing');
    is $of->('publish') - $published, 0, 'nothing is published';
    my $rate = ($of->('ping') - $pings) / (time - $began) / 12;
    cmp_ok $rate, '<', 2.5, sprintf '%.1f heartbeats a second, of each worker at each node', $rate;
    my $had = $hits->();
    wait_for(sub { $nginx->get('/api/lines/by-user', $auth)->status == 200 && $hits->() > $had + 3 }, 30, 'keys to be remembered');
    pass 'keys are remembered: all subscriptions are alive';

    # one that hangs counts no more, and is made anew
    my $patient = $t->nginx(redis => $redis, redis_options => 'silence=2s', @plans);
    wait_ok($patient);
    $_->pause for $redis->nodes->[0];
    wait_for(sub { $patient->error_log =~ /the subscription is silent/ }, 30, 'it to be noticed');
    $_->cont for $redis->nodes->[0];
    wait_for(sub { $patient->get('/api/lines/by-user', $auth)->status == 200 }, 30, 'keys to be known again');
    $_->quit for $nginx, $patient;
    $redis->stop;
};

$t->done;
