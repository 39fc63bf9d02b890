# A Redis Cluster: tenants on several nodes, a slot that moves and a primary that dies under load, maps of all kinds.
use Mojo::Base -strict, -signatures;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has a cluster of its own';
use Test::Lines qw(wait_for);
use Time::HiRes qw(time);

my $t = Test::Lines->new;

# three primaries, each with a replica; the bus would be 10,000 above the port, where other connections have their near ends
my %bus;
my @nodes = map {
    my $bus  = $t->free_port;
    my $node = $t->redis(conf => "cluster-enabled yes\ncluster-port $bus\ncluster-node-timeout 1000\nrepl-diskless-sync-delay 0\n");
    $bus{$node->port} = $bus;
    $node;
} 0 .. 5;
my %id    = map { $_->port => scalar $_->cli('CLUSTER MYID') } @nodes;
my @first = (0, 5461, 10923, 16384);

$nodes[$_]->cli('CLUSTER ADDSLOTSRANGE', $first[$_], $first[$_ + 1] - 1) for 0 .. 2;
$nodes[$_]->cli('CLUSTER SET-CONFIG-EPOCH', $_ + 1) for 0 .. 5;
$nodes[0]->cli('CLUSTER MEET', '127.0.0.1', $_->port, $bus{$_->port}) for @nodes[1 .. 5];
wait_for(sub { !grep { scalar(() = $_->cli('CLUSTER NODES') =~ / connected/g) != 6 } @nodes }, 60, 'they know each other');
$nodes[$_ + 3]->cli('CLUSTER REPLICATE', $id{$nodes[$_]->port}) for 0 .. 2;

sub info ($node, $what) { return ($node->cli('CLUSTER INFO') =~ /^$what:(\w+)/m)[0] }

wait_for(sub { !grep { info($_, 'cluster_state') ne 'ok' } @nodes },               60, 'the cluster');
wait_for(sub { !grep { $_->cli('ROLE')->[3] ne 'connected' } @nodes[3 .. 5] }, 60, 'replicas');

sub at (@nodes) { return 'redis+cluster://' . join(',', map { '127.0.0.1:' . $_->port } @nodes) }

sub slot ($key) { return scalar $nodes[0]->cli('CLUSTER KEYSLOT', $key) }

# a tenant for each primary
my @tenants;
for my $name (map {"t$_"} 1 .. 100) {
    my $slot = slot("lines:{w:$name}:t");
    my ($of) = grep { $slot >= $first[$_] && $slot < $first[$_ + 1] } 0 .. 2;
    $tenants[$of] //= {name => $name, slot => $slot};
}

my $dead  = $t->free_port;
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my @plans = (plans => "lines_plan bulk phone included=100000;\n");
my $nginx = $t->nginx(redis => at($nodes[4]) =~ s{//}{//127.0.0.1:$dead,}r, redis_options => 'silence=2s', @plans);

sub ready ($nginx) { return $nginx->get('/_lines/ready')->status == 200 }
sub reason ($nginx) { return $nginx->get('/_lines/ready')->json('/redis/reason') // '' }

sub hits ($nginx) { return ($nginx->get('/_lines/metrics')->body =~ /^lines_key_cache_lookups_total\{result="hit"\} (\d+)/m)[0] // die 'no metric' }

# with all of the cluster: it is ready before, for the tenants of what serves
sub wait_ready ($nginx) { wait_for(sub { ready($nginx) && $nginx->get('/_lines/ready')->json('/redis/status') eq 'ok' }, 30, 'ready') }

# clients repeat what was not answered well, by its key
my (%answers, $stop, $n);

sub create ($tenant, $key) {
    return $nginx->request_p(POST => '/api/line-requests', {%{$tenant->{auth}}, 'Content-Type' => 'application/json', 'Idempotency-Key' => $key},
        Mojo::JSON::encode_json(\%phone))->then(sub ($answer) {
        heard($answer);
        if ($answer->status == 201) { $tenant->{made}{$key} = $answer->json('/id') // $answer->body; return }
        my $wait = Mojo::Promise->new;
        Mojo::IOLoop->timer(0.1 => sub { $wait->resolve });
        return $wait->then(sub { create($tenant, $key) });
    });
}

sub heard ($answer) {
    $answers{$answer->status}++;
    $answers{'503 without Retry-After'}++ if $answer->status == 503 && !$answer->header('Retry-After');
    return;
}

sub client ($tenant, $i) {
    return Mojo::Promise->resolve if $stop;
    my $asked = $i % 3 == 0 ? create($tenant, 'key-' . ++$n) : $nginx->request_p(GET => '/api/line-requests?limit=1', $tenant->{auth})->then(\&heard);
    return $asked->then(sub {
        my $wait = Mojo::Promise->new;
        Mojo::IOLoop->timer(0.005 => sub { $wait->resolve });
        return $wait;
    })->then(sub { client($tenant, $i + 1) });
}

sub under_load ($what, $do) {
    %answers = ();
    $stop    = 0;
    my $all = Mojo::Promise->all(map { my $tenant = $_; map { client($tenant, $_) } 0 .. 1 } @tenants);
    wait_for(sub { ($answers{201} // 0) > 10 }, 30, 'clients are served');
    $do->();
    my $had = $answers{201};
    wait_for(sub { $answers{201} > $had + 10 }, 30, 'clients are served afterwards');
    $stop = 1;
    $all->wait;
    is_deeply [grep { !/^(?:200|201|503)$/ } keys %answers], [], "$what: clients heard 200, 201 and 503 with Retry-After" or diag explain \%answers;
    note join ', ', map {"$_: $answers{$_}"} sort keys %answers;
}

sub lines_of ($tenant) {
    my $count = 0;
    for my $node (@nodes) {
        next if !eval { $node->cli('ROLE')->[0] eq 'master' };
        my $there = eval { $node->cli('ZCARD', "lines:{w:$tenant->{name}}:lines") };
        $count += $there if $there;
    }
    return $count;
}

subtest 'tenants on several nodes' => sub {
    wait_ready($nginx);

    # a key is at a slot of its own: take one that is where its tenant is
    for my $i (0 .. 2) {
        my $key = $nginx->workspace($tenants[$i]{name} => {plan => 'bulk'});
        $key = $nginx->admin(POST => "workspaces/$tenants[$i]{name}/keys")->json('/key')
            while !$nodes[$i]->cli('CLUSTER COUNTKEYSINSLOT', slot('lines:{k:' . sha256_hex($key) . '}'));
        $tenants[$i]{auth} = $nginx->bearer($key);
    }

    for my $i (0 .. 2) {
        my $answer = $nginx->post_json('/api/line-requests', \%phone, $tenants[$i]{auth});
        is $answer->status, 201, "a line of tenant $i";
        $tenants[$i]{made}{first} = 1;
        is scalar $nodes[$i]->cli('ZCARD', "lines:{w:$tenants[$i]{name}}:lines"), 1, '... is at its node';
        is scalar @{$nginx->get('/api/lines/by-user', $tenants[$i]{auth})->json('/lines') // [1]}, 1, '... and listed';
    }

    wait_for(sub { $nginx->get('/_lines/metrics')->body =~ /^lines_redis_connected_workers(?:\{.*\})? 1/m }, 30, 'connected, say the metrics');
    like $nginx->error_log, qr/"127\.0\.0\.1:$dead", map of the cluster: could not connect/, 'a node of the configuration that is away is told';
    unlike $nginx->error_log, qr/MOVED|CROSSSLOT/, 'no command went astray';
};

subtest 'limits' => sub {
    my $limited = $t->nginx(redis => at(@nodes[0 .. 2]), @plans, api => "lines_rate_limit rate=1r/h burst=3 key=ip name=ip;\n");
    wait_ready($limited);
    my @got = map { $limited->get('/api/lines/by-user', $_->{auth})->status } @tenants, @tenants;
    is_deeply \@got, [200, 200, 200, 429, 429, 429], 'of an address, whichever tenant it asks for';
    $limited->quit;
};

subtest 'nothing is half done while a slot moves' => sub {
    my ($from, $to, $tenant) = (@nodes[0, 1], $tenants[0]);
    $to->cli('CLUSTER SETSLOT', $tenant->{slot}, 'IMPORTING', $id{$from->port});
    $from->cli('CLUSTER SETSLOT', $tenant->{slot}, 'MIGRATING', $id{$to->port});

    # all keys are where they were: a script could run, but up to one that it removes itself
    my $answer = $nginx->request(POST => '/api/line-requests', {%{$tenant->{auth}}, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone));
    is $answer->status, 503, 'a write waits, and is told to come back';
    ok $answer->header('Retry-After'), '... when';
    is $nginx->get('/api/lines/by-user', $tenants[1]{auth})->status, 200, 'others are served';
    is scalar $from->cli('ZCARD', "lines:{w:$tenant->{name}}:lines"), scalar keys %{$tenant->{made}}, 'nothing was written';

    $_->cli('CLUSTER SETSLOT', $tenant->{slot}, 'STABLE') for $from, $to;
    is $nginx->post_json('/api/line-requests', \%phone, $tenant->{auth})->status, 201, 'and then it is';
    $tenant->{made}{stable} = 1;
};

subtest 'a slot moves while clients read and create' => sub {
    my ($from, $to, $slot) = (@nodes[0, 1], $tenants[0]{slot});
    my $moved = 0;

    under_load('moved', sub {
        $to->cli('CLUSTER SETSLOT', $slot, 'IMPORTING', $id{$from->port});
        $from->cli('CLUSTER SETSLOT', $slot, 'MIGRATING', $id{$to->port});

        # a few keys at a time, and clients between them
        wait_for(sub {
            my @keys = $from->cli('CLUSTER GETKEYSINSLOT', $slot, 20) or return 1;
            $from->cli('MIGRATE', '127.0.0.1', $to->port, '', 0, 5000, 'KEYS', @keys);
            $moved += @keys;
            return 0;
        }, 60, 'all keys to move');

        $_->cli('CLUSTER SETSLOT', $slot, 'NODE', $id{$to->port}) for $to, $from, $nodes[2];
    });

    cmp_ok $moved, '>', 5, "$moved keys were moved";
    wait_ready($nginx);

    for my $tenant (@tenants) {
        is lines_of($tenant), scalar keys %{$tenant->{made}}, "$tenant->{name}: each line once";
    }
};

subtest 'a primary dies' => sub {
    my $promoted = 0;
    my ($there, $took);

    under_load('killed', sub {
        $nodes[2]->kill;
        wait_for(sub { $nginx->get('/_lines/ready')->json('/redis/status') eq 'partial' || info($nodes[5], 'cluster_my_epoch') > 6 }, 30, 'it to be missed');
        wait_for(sub { $nodes[5]->cli('ROLE')->[0] eq 'master' && info($nodes[5], 'cluster_state') eq 'ok' }, 60, 'its replica is promoted');
        $there = time;
        my $had = keys %{$tenants[2]{made}};
        wait_for(sub { keys %{$tenants[2]{made}} > $had }, 30, 'a write at the new primary');
        $took = time - $there;
    });

    cmp_ok $took, '<', 2, sprintf 'served again after %.2f s', $took;
    wait_ready($nginx);

    for my $tenant (@tenants) {
        my @ids = grep { $_ ne 1 } values %{$tenant->{made}};
        my %ids = map { $_ => 1 } @ids;
        is scalar keys %ids, scalar @ids, "$tenant->{name}: no line was told twice";
        cmp_ok lines_of($tenant), '<=', scalar keys %{$tenant->{made}}, '... nor made twice';
    }

    $nodes[2]->start;
    wait_for(sub { $nodes[2]->cli('ROLE')->[0] eq 'slave' }, 60, 'it comes back as a replica');
    is $nginx->get('/api/lines/by-user', $tenants[2]{auth})->status, 200, 'nobody came back to it';
};

# its connections stay, and nothing comes on them: others tell who has its slots, long before "silence="
subtest 'a primary hangs' => sub {
    wait_for(sub { $nodes[2]->cli('ROLE')->[3] eq 'connected' && !grep { info($_, 'cluster_state') ne 'ok' } @nodes }, 60, 'a replica');
    my $patient = $t->nginx(redis => at($nodes[0]), redis_options => 'silence=60s', @plans);
    wait_ready($patient);
    is $patient->get('/api/lines/by-user', $tenants[2]{auth})->status, 200, 'it is served';

    $nodes[5]->pause;
    wait_for(sub { $nodes[2]->cli('ROLE')->[0] eq 'master' && info($nodes[2], 'cluster_state') eq 'ok' }, 60, 'its replica is promoted');
    my $there = time;
    wait_for(sub { $patient->get('/api/lines/by-user', $tenants[2]{auth})->status == 200 }, 30, 'the new primary to be found');
    cmp_ok time - $there, '<', 8 * $t->slow, sprintf 'served again after %.2f s', time - $there;
    is $patient->post_json('/api/line-requests', \%phone, $tenants[2]{auth})->status, 201, '... and written';
    $tenants[2]{made}{hung} = 1;

    $nodes[5]->cont;
    wait_for(sub { $nodes[5]->cli('ROLE')->[0] eq 'slave' }, 60, 'it comes back as a replica');
    $patient->quit;
};

subtest 'a key that is revoked is known everywhere' => sub {
    my $other = $t->nginx(redis => at(@nodes), @plans);
    wait_ready($_) for $other, $nginx;
    $nginx->workspace(gone => {plan => 'bulk'});

    for my $i (1 .. 6) {
        my $made = $nginx->admin(POST => 'workspaces/gone/keys')->json;
        my $auth = $nginx->bearer($made->{key});
        is $other->get('/api/lines/by-user', $auth)->status, 200, "key $i";
        my $hits = hits($other);
        wait_for(sub { $other->get('/api/lines/by-user', $auth); hits($other) > $hits }, 30, 'it to be remembered');
        is $nginx->admin(DELETE => "workspaces/gone/keys/$made->{id}")->status, 200, '... is revoked';
        wait_for(sub { $other->get('/api/lines/by-user', $auth)->status == 401 }, 2, '... at another node as well');
    }
    $other->quit;
};

subtest 'replicas=' => sub {
    # what has moved and failed over before: a replica that is still on its way to its primary acknowledges nothing
    wait_for(sub { !grep { my $role = $_->cli('ROLE'); $role->[0] eq 'master' && !grep { $_->[2] == $role->[1] } @{$role->[2]} } @nodes }, 60, 'replicas');

    my $sure = $t->nginx(redis => at($nodes[0]), redis_options => 'timeout=30s replicas=1 wait=10s', @plans);
    wait_ready($sure);
    wait_for(sub { $sure->get('/_lines/ready')->body !~ /too few replicas/ }, 30, 'replicas');
    for my $tenant (@tenants) {
        is $sure->post_json('/api/line-requests', \%phone, $tenant->{auth})->status, 201, "$tenant->{name}: a line, acknowledged by a replica";
    }

    # what is written before each WAIT is in a slot that may be on its way elsewhere
    my ($on, $other) = @nodes[1, 0];
    my @slots = map { $on->cli('DEL', $_); slot($_) } $on->client->keys('lines:{marker:*');
    cmp_ok scalar @slots, '>', 0, 'a marker was written';
    $on->cli('CLUSTER SETSLOT', $_, 'MIGRATING', $id{$other->port}) for @slots;
    is $sure->post_json('/api/line-requests', \%phone, $tenants[1]{auth})->status, 201, 'its slot moves: another one is taken';
    $on->cli('CLUSTER SETSLOT', $_, 'STABLE') for @slots;

    # a marker whose slot has gone
    my ($to, $marker) = ($other, ($on->client->keys('lines:{marker:*'))[0]);
    my $slot = slot($marker);
    $on->cli('DEL', $marker);
    $_->cli('CLUSTER SETSLOT', $slot, 'NODE', $id{$to->port}) for $to, $on;
    is $sure->post_json('/api/line-requests', \%phone, $tenants[1]{auth})->status, 201, '... or has moved';
    $sure->quit;
};

subtest 'a primary without a replica is away' => sub {
    $_->cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no') for @nodes;
    my ($gone, $spare) = @nodes[1, 4];
    wait_for(sub { !grep { info($_, 'cluster_state') ne 'ok' } @nodes }, 60, 'all nodes');
    wait_for(sub { $nginx->get('/_lines/ready')->json('/redis/status') eq 'ok' }, 30, 'nothing is away');
    $spare->kill;
    $gone->pause;

    my @of = map { my $tenant = $_; (grep { $_ != $gone && $_ != $spare && eval { $_->cli('ROLE')->[0] eq 'master' && $_->cli('ZCARD', "lines:{w:$tenant->{name}}:lines") } } @nodes) ? 'here' : 'away' } @tenants;
    is_deeply [sort @of], ['away', 'away', 'here'], 'two tenants are on it by now' or diag explain \@of;

    wait_for(sub { $nginx->get('/api/lines/by-user', $tenants[1]{auth}); reason($nginx) =~ /^127\.0\.0\.1:@{[$gone->port]}: / }, 30, 'it to be missed');
    my $answer = $nginx->get('/_lines/ready');
    is $answer->json('/redis/status'), 'partial', 'a part is missing';
    is $answer->status, 200, 'ready for the others';
    like $answer->json('/redis/reason'), qr/^127\.0\.0\.1:@{[$gone->port]}: \S/, 'who is away, and why';
    wait_for(sub { $nginx->get('/_lines/metrics')->body =~ /^lines_redis_connected_workers 0/m }, 30, 'metrics to tell');

    for my $i (0 .. 2) {
        for my $try (1 .. 5) {
            my $answer = $nginx->get('/api/line-requests?limit=1', $tenants[$i]{auth});
            is $answer->status, $of[$i] eq 'here' ? 200 : 503, "$tenants[$i]{name} is $of[$i]";
            ok $answer->header('Retry-After'), '... and told when to come back' if $of[$i] ne 'here';
            cmp_ok $answer->seconds, '<', 0.5 * $t->slow, '... at once';
        }

        # what hints at a new line may lie elsewhere than its tenant, at each try by another id
        next if $of[$i] ne 'here';
        my @got;
        wait_for(sub {
            push @got, $nginx->post_json('/api/line-requests', \%phone, $tenants[$i]{auth})->status;
            return $got[-1] == 201;
        }, 30, "a line of $tenants[$i]{name}");
        is_deeply [grep { !/^(?:201|503)$/ } @got], [], "$tenants[$i]{name}: a line, after " . @got . ' tries';
    }

    $gone->cont;
    $spare->start;
    wait_for(sub { $nginx->get('/_lines/ready')->json('/redis/status') eq 'ok' }, 30, 'all is back');
    wait_for(sub { $spare->cli('ROLE')->[3] eq 'connected' }, 60, 'its replica');
    for my $tenant (@tenants) {
        wait_for(sub { $nginx->get('/api/lines/by-user', $tenant->{auth})->status == 200 }, 30, "$tenant->{name} to be served");
    }
};

subtest 'the map is told by CLUSTER SLOTS, by SHARDS where that is refused' => sub {
    my $asked = sub ($how) { scalar grep { $_->cli('INFO commandstats')->{"cmdstat_cluster|$how"} } @nodes };
    ok $asked->('slots'), 'SLOTS was asked for';
    is $asked->('shards'), 0, '... and SHARDS never: Redis 8 may tell less there, or the same many times over';

    $_->cli('ACL SETUSER default -cluster|slots') for @nodes;
    my $other = $t->nginx(redis => at(@nodes), @plans);
    wait_ready($other);
    is_deeply [map { $other->get('/api/lines/by-user', $_->{auth})->status } @tenants], [200, 200, 200], 'SLOTS is refused: all tenants are served';
    ok $asked->('shards'), '... by what SHARDS tells';
    $other->quit;
    $_->cli('ACL SETUSER default +cluster|slots') for @nodes;
};

subtest 'what is no cluster' => sub {
    my $plain = $t->redis;
    my $lost  = $t->nginx(redis => at($plain));
    wait_for(sub { reason($lost) =~ /the server is no node of a cluster/ }, 30, 'readiness says why');
    is $lost->get('/api/lines/by-user', $tenants[0]{auth})->status, 503, 'nothing is served';
    $lost->quit;

    my $whole = $t->nginx(redis => $nodes[0]);
    wait_for(sub { reason($whole) =~ /a cluster node with \d+ of 16384 slots: "redis\+cluster:\/\/" is for several/ }, 30, 'as one Redis it is none');
    pass 'and says how it is served';
    $whole->quit;
};

subtest 'directives' => sub {
    my $file  = $t->file('password', 'p');
    my $table = [
        ['redis+cluster://',                                  qr/no host/],
        ['redis+cluster://127.0.0.1,,127.0.0.2',              qr/an empty host/],
        ['redis+cluster://127.0.0.1:x',                       qr/invalid port/],
        ['redis+cluster://127.0.0.1/1',                       qr/a database other than 0, which a cluster does not have/],
        ['redis+cluster://' . join(',', map {"127.0.0.1:$_"} 1 .. 17), qr/more than 16 nodes/],
        ['redis+cluster://127.0.0.1,127.0.0.1:6379',          qr/the same node twice/],
        ['redis+cluster://127.0.0.1,app@127.0.0.2',           qr/a host before "user@"/],
        ['redis+cluster://app:secret@127.0.0.1',              qr/a password \(it belongs in "password_file="\) in "127\.0\.0\.1"/],
        ['redis+cluster://cluster.invalid',                   qr/host not found in "cluster\.invalid:6379"/],
        ['redis+cluster://127.0.0.1 sentinel_user=me',        qr/are for "redis\+sentinel:\/\/"/],
    ];
    for my $case (@$table) {
        my ($code, $output) = $t->test_config(http => "lines_redis $case->[0];", server => 'location = /ready { lines_ready; }');
        isnt $code, 0, $case->[0];
        like $output, $case->[1], '... says why';
    }
    my ($code, $output) = $t->test_config(http => "lines_redis redis+cluster://app\@127.0.0.1,[::1]:6380/0 password_file=$file;");
    is $code, 0, 'all of it' or diag $output;
};

$t->done;
