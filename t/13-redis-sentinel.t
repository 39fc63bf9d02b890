# Redis behind Sentinel: the primary is found, followed through failovers, and one that was demoted is left.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has Sentinels of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Tls;
use Time::HiRes qw(time);

my $t = Test::Lines->new;

# a primary with replicas, and Sentinels that agree
my $tls   = Test::Lines::Tls->new(t => $t)->ca('ca');
my $cert  = $tls->certificate('ca', 'redis', 'IP:127.0.0.1');
my $ca    = $tls->file('ca.pem');
my @nodes = $t->redis;
push @nodes, map { $t->redis(conf => "replicaof 127.0.0.1 @{[$nodes[0]->port]}\nrepl-diskless-sync-delay 0\n") } 1, 2;

my @sentinels;

sub sentinel ($primary, $quorum = 2, %more) {
    return $t->redis(args => ['--sentinel'], %more, conf => <<"END" . ($more{conf} // ''));
sentinel monitor shop 127.0.0.1 @{[$primary->port]} $quorum
sentinel down-after-milliseconds shop 500
sentinel failover-timeout shop 4000
sentinel parallel-syncs shop 1
END
}

sub at (@sentinels) { return 'redis+sentinel://' . join(',', map { '127.0.0.1:' . $_->port } @sentinels) . '/shop' }

sub primary_port ($sentinel) { my %of = $sentinel->cli('SENTINEL', 'MASTER', 'shop'); return $of{port} }

# Sentinel cuts the connections to a server whose role it changes: those of the test, too
sub of ($node, @command) {
    my $reply;
    wait_for(sub { defined($reply = eval { scalar $node->cli(@command) }) }, 30, "reply to @command");
    return $reply;
}

sub role ($node) { return of($node, 'ROLE')->[0] }

sub node ($port) { (grep { $_->port == $port } @nodes)[0] }

# no failover is under way, and whoever is promoted has all
sub settled () {
    wait_for(sub {
        my %of       = $sentinels[0]->cli('SENTINEL', 'MASTER', 'shop');
        my @replicas = map { my %replica = @$_; \%replica } $sentinels[0]->cli('SENTINEL', 'REPLICAS', 'shop');
        return $of{flags} eq 'master' && 2 == grep { $_->{flags} eq 'slave' && $_->{'master-link-status'} eq 'ok' } @replicas;
    }, 60, 'both replicas follow');
}

sub ready ($nginx) { return $nginx->get('/_lines/ready')->status == 200 }

sub wait_ready ($nginx) { wait_for(sub { ready($nginx) }, 30, 'ready') }

@sentinels = map { sentinel($nodes[0]) } 1 .. 3;

wait_for(
    sub {
        for my $one (@sentinels) {
            my %of = $one->cli('SENTINEL', 'MASTER', 'shop');
            return 0 unless $of{'num-slaves'} == 2 && $of{'num-other-sentinels'} == 2;
        }
        return 1;
    },
    60,
    'Sentinels know each other'
);

my $dead  = $t->free_port;
my $nginx = $t->nginx(redis => at(@sentinels) =~ s{//}{//127.0.0.1:$dead,}r, plans => "lines_plan bulk phone included=100000;\n");
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $auth;

# clients, one request after the other each, and what they were answered
my (%answers, $stop);

sub client ($i) {
    return Mojo::Promise->resolve if $stop;
    my $create = $i % 3 == 0;
    my $asked  = $create ? $nginx->request_p(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone))
      : $nginx->request_p(GET => '/api/line-requests?limit=1', $auth);
    return $asked->then(sub ($answer) {
        $answers{$answer->status}++;
        $answers{'503 without Retry-After'}++ if $answer->status == 503 && !$answer->header('Retry-After');
        my $wait = Mojo::Promise->new;
        Mojo::IOLoop->timer($answer->status == 503 ? 0.05 : 0.005 => sub { $wait->resolve });
        return $wait;
    })->then(sub { client($i + 1) });
}

# clients ask while something happens, until they are served again; how long the new primary was there before that
sub through ($what, $do, $new) {
    %answers = ();
    $stop    = 0;
    my $all = Mojo::Promise->all(map { client($_) } 0 .. 3);
    my $ok  = sub { ($answers{200} // 0) + ($answers{201} // 0) };
    wait_for(sub { $ok->() > 20 }, 30, 'clients are served');
    $do->();
    my ($there, $had);
    wait_for(sub {
        if (!$there) { return 0 unless $new->(); $there = time; $had = $answers{201} // 0 }
        return ($answers{201} // 0) > $had;
    }, 60, 'a write after the failover');
    my $took = time - $there;
    cmp_ok $took, '<', 6, "$what: writes are served soon after the new primary is there";
    $stop = 1;
    $all->wait;
    is_deeply [grep { !/^(?:200|201|503)$/ } keys %answers], [], '... clients heard 200, 201 and 503 with Retry-After' or diag explain \%answers;
    note sprintf('%.2f s, ', $took), join ', ', map {"$_: $answers{$_}"} sort keys %answers;
}

subtest 'any of them tells' => sub {
    wait_ready($nginx);
    $auth = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));
    is $nginx->get('/api/lines/by-user', $auth)->status, 200, 'with one of four away';
    is of($nodes[0], 'EXISTS', 'lines:{w:one}:t'), 1, '... at the primary';
    like $nginx->error_log, qr{"shop/0 at 127\.0\.0\.1:@{[$nodes[0]->port]}": so says Sentinel "127\.0\.0\.1:\d+"}, 'the log says where it is';
    like $nginx->error_log, qr{"127\.0\.0\.1:$dead", Sentinel: could not connect}, '... and who of them is away';
};

subtest 'a failover that is asked for' => sub {
    settled();
    my $old = primary_port($sentinels[0]);
    through('asked for', sub { $sentinels[0]->cli('SENTINEL', 'FAILOVER', 'shop') }, sub { primary_port($sentinels[1]) != $old });
    my $new = primary_port($sentinels[1]);
    $nginx->wait_log(qr{"shop/0 at 127\.0\.0\.1:$new": so says});
    is role(node($new)), 'master', 'it is the primary';
};

subtest 'the primary dies, and comes back' => sub {
    my $old = primary_port($sentinels[0]);
    settled();
    through('killed', sub { node($old)->kill }, sub { primary_port($sentinels[0]) != $old && primary_port($sentinels[1]) != $old });
    my $new = node(primary_port($sentinels[0]));

    node($old)->start;
    wait_for(sub { role(node($old)) eq 'slave' }, 60, 'it becomes a replica');
    is $nginx->post_json('/api/line-requests', \%phone, $auth)->status, 201, 'a write afterwards';
    cmp_ok of($new, 'ZCARD', 'lines:{w:one}:lines'), '>', 0, '... is at the new primary';
};

subtest 'a primary that hangs' => sub {
    my $old = primary_port($sentinels[0]);
    settled();
    through('hangs', sub { node($old)->pause }, sub { primary_port($sentinels[0]) != $old && primary_port($sentinels[1]) != $old });

    # once it goes on it still takes itself for the primary, until it is told
    node($old)->cont;
    wait_for(sub { role(node($old)) eq 'slave' }, 60, 'it becomes a replica');
    is $nginx->get('/api/lines/by-user', $auth)->status, 200, 'nobody came back to it';
};

subtest 'a Sentinel that knows no better' => sub {
    my $alone = $t->redis;
    my $stale = sentinel($alone, 1);
    settled();
    my $other = $t->nginx(redis => at(@sentinels, $stale), plans => "lines_plan bulk phone included=100000;\n");
    my $port  = primary_port($sentinels[0]);
    $other->wait_log(qr{"shop/0 at 127\.0\.0\.1:$port": so says});

    # all have told, the one that knows no better as well
    wait_for(sub { scalar $stale->cli('CLIENT', 'LIST') =~ / sub=1 / }, 30, 'all were asked');
    wait_ready($other);
    is $other->get('/api/lines/by-user', $auth)->status, 200, 'the one with the latest word is believed';
    like +($other->error_log =~ /"(shop\S* at \S+)": so says/g)[-1], qr/:$port$/, '... by all that heard others';
    $other->quit;
    $stale->stop;
    $alone->stop;
};

subtest 'no Sentinel' => sub {
    my $asked = sentinel($nodes[0], 2, start => 0);
    my $lost  = $t->nginx(redis => at($asked));
    wait_for(sub { ($lost->get('/_lines/ready')->json('/redis/reason') // '') =~ /no Sentinel tells where it is/ }, 30, 'readiness says why');
    is $lost->get('/api/lines/by-user', $auth)->status, 503, 'nothing is served';

    # of a name that it does not know, and then does
    $asked->conf('');
    $asked->start;
    $lost->wait_log(qr{Sentinel: it does not tell the address of "shop": ERR No such master});
    $asked->cli('SENTINEL', 'MONITOR', 'shop', '127.0.0.1', primary_port($sentinels[0]), 4);
    wait_ready($lost);
    is $lost->get('/api/lines/by-user', $auth)->status, 200, 'one tells';

    $asked->stop;
    $lost->wait_log(qr{"127\.0\.0\.1:@{[$asked->port]}", Sentinel: (?:connection lost|could not connect)});
    is $lost->get('/api/lines/by-user', $auth)->status, 200, 'what is known is used without one';
    $lost->quit;
};

subtest 'a password, and TLS' => sub {
    my ($port, $guard) = ($t->free_port, $t->free_port);
    my $keys = "tls-cert-file $cert->{cert}\ntls-key-file $cert->{key}\ntls-ca-cert-file $ca\ntls-auth-clients no\ntls-replication yes\n";
    my $redis = $t->redis(conf => "tls-port $port\n$keys");
    my $asked = $t->redis(args => ['--sentinel'], password => 'horse', conf => "tls-port $guard\n$keys" . "requirepass horse\nsentinel monitor shop 127.0.0.1 $port 1\n");

    my $file  = $t->file('sentinel.pw', "horse\n");
    my $wrong = $t->file('wrong.pw',    "mule\n");
    my $url   = "rediss+sentinel://127.0.0.1:$guard/shop/1";

    my $refused = $t->nginx(redis => $url, redis_options => "cacert=$ca sentinel_password_file=$wrong");
    $refused->wait_log(qr{Sentinel: could not connect: AUTH failed: wrong user or password});
    $refused->quit;

    my $secure = $t->nginx(redis => $url, redis_options => "cacert=$ca sentinel_password_file=$file");
    wait_ready($secure);
    $secure->workspace(two => {plan => 'bulk'});
    ok $redis->cli('INFO', 'keyspace')->{db1}, 'all of it over TLS, in its database';
    unlike $secure->error_log . $refused->error_log, qr/horse|mule/, 'no password in the log';
    $secure->quit;
};

subtest 'directives' => sub {
    my $file  = $t->file('password', 'p');
    my $table = [
        ['redis+sentinel://a,b',                             qr/no name of a primary behind the Sentinels/],
        ['redis+sentinel://127.0.0.1/',                      qr/no name of a primary/],
        ['redis+sentinel://127.0.0.1//0',                    qr/no name of a primary/],
        ['redis+sentinel:///shop',                           qr/no host/],
        ['redis+sentinel://127.0.0.1,,127.0.0.2/shop',       qr/an empty host/],
        ['redis+sentinel://127.0.0.1:x/shop',                qr/invalid port/],
        ['redis+sentinel://127.0.0.1/shop/x',                qr/invalid database number/],
        ['redis+sentinel://' . join(',', map {"127.0.0.1:$_"} 1 .. 17) . '/shop', qr/more than 16 Sentinels/],
        ['redis+sentinel://127.0.0.1,127.0.0.1:26379/shop',  qr/the same Sentinel twice/],
        ['redis+sentinel://127.0.0.1,app@127.0.0.2/shop',    qr/a host before "user@"/],
        ["redis+sentinel://app\@127.0.0.1,app\@127.0.0.2/shop password_file=$file", qr/invalid host/],
        ['redis+sentinel://*/shop',                          qr/invalid host/],
        ['"redis+sentinel://127.0.0.1, 127.0.0.2/shop"',     qr/invalid host/],
        ['redis+sentinel://127.0.0.1/shop@x',                qr/a name of a primary of other than letters, digits/],
        ['redis+sentinel://127.0.0.1/shop?db=1',             qr/a name of a primary of other than/],
        ['redis+sentinel://app:secret@127.0.0.1/shop',       qr/a password \(it belongs in "password_file="\) in "127\.0\.0\.1\/shop"/],
        ['redis+sentinel://127.0.0.1/shop sentinel_password=horse', qr/a password belongs in "sentinel_password_file=": (?!.*horse)/],
        ['redis+sentinel://sentinel.invalid/shop',           qr/host not found in "sentinel\.invalid:26379"/],
        ['redis+sentinel://127.0.0.1/shop sentinel_user=me', qr/"sentinel_user=" without "sentinel_password_file="/],
        ['redis://127.0.0.1 sentinel_user=me',               qr/are for "redis\+sentinel:\/\/"/]
    ];
    for my $case (@$table) {
        my ($code, $output) = $t->test_config(http => "lines_redis $case->[0];", server => 'location = /ready { lines_ready; }');
        isnt $code, 0, $case->[0];
        like $output, $case->[1], '... says why';
    }
    my ($code, $output) = $t->test_config(http => "lines_redis redis+sentinel://app\@127.0.0.1,[::1]:26380/shop/2 password_file=$file sentinel_user=me "
          . "sentinel_password_file=$file;");
    is $code, 0, 'all of it' or diag $output;
};

$t->done;
