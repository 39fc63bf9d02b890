# replicas=: what is acknowledged is on so many replicas, and where they are missing it is not acknowledged, nor written.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has replicas of its own';
use Test::Lines qw(wait_for);

my $t       = Test::Lines->new;
my $primary = $t->redis;

# between the two: what the primary writes is 50 ms behind, and what is on its way when it dies is lost
my $way = $t->free_port;
$t->spawn(way => [$^X, '-MIO::Socket::INET', '-MIO::Select', '-MTime::HiRes=time,sleep', '-e', <<'END', $way, $primary->port]);
    my ($port, $to) = @ARGV;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 5, ReuseAddr => 1) or die "$port: $!";
    $SIG{CHLD} = 'IGNORE';
    # Redis 8 may read its copy on a connection of its own, beside the first
    while (1) {
        my $replica = $listen->accept or next;
        next if fork;
        my $primary = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to) or exit;
        my ($select, @late) = IO::Select->new($replica, $primary);
        while (1) {
            for my $from ($select->can_read(0.005)) {
                sysread $from, my $bytes, 65536 or exit;
                if ($from == $replica) { syswrite $primary, $bytes or exit }
                else                   { push @late, [time + 0.05, $bytes] }
            }
            while (@late && $late[0][0] <= time) { syswrite $replica, (shift @late)->[1] or exit }
        }
    }
END

my $replica = $t->redis(conf => "replicaof 127.0.0.1 $way\nrepl-diskless-sync-delay 0\n");
my %phone   = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $plans   = "lines_plan bulk phone included=100000;\n";

wait_for(sub { @{$primary->cli('ROLE')->[2]} }, 30, 'the replica');

my $nginx = $t->nginx(redis => $primary, redis_options => 'replicas=1 wait=300ms', plans => $plans);

sub writes_are_refused () { return $nginx->get('/_lines/ready')->body =~ /too few replicas/ }

wait_for(sub { $nginx->get('/_lines/ready')->status == 200 && !writes_are_refused() }, 30, 'ready');

my $auth = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));

sub create (%headers) { return $nginx->post_json('/api/line-requests', \%phone, {%$auth, %headers}) }

sub lines_at ($redis) { return scalar $redis->cli('ZCARD', 'lines:{w:one}:lines') }

subtest 'with its replica' => sub {
    is create()->status, 201, 'a line';
    is lines_at($replica), 1, '... is on the replica by the time that it is acknowledged';
    my $before = $primary->cli('INFO', 'commandstats')->{cmdstat_wait};
    my ($waits) = $before =~ /calls=(\d+)/;
    my @answers;
    Mojo::Promise->all(map { $nginx->request_p(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone)) } 1 .. 100)
      ->then(sub (@all) { @answers = map { $_->[0]->status } @all })->wait;
    is_deeply [grep { $_ != 201 } @answers], [], 'a hundred at once';
    my ($after) = $primary->cli('INFO', 'commandstats')->{cmdstat_wait} =~ /calls=(\d+)/;
    ok $after > $waits && $after < $waits + 100, '... share a WAIT';
    is lines_at($replica), 101, '... and are there';
};

# what nobody waits for is said at start, where there is a failover that may lose it
subtest 'without replicas=' => sub {
    my $said = qr/\[notice\].*what was acknowledged last may be lost in a failover/;

    for my $url ('redis+sentinel://127.0.0.1/shop', 'redis+cluster://127.0.0.1') {
        my $told = $t->nginx(start => 0, http => "lines_redis $url;");
        my ($code, $output) = $told->test_config;
        is $code, 0, $url;
        unlike $output, qr/replicas=/, '... nginx -t finds nothing amiss';
        like $told->error_log, qr/$said in .*nginx\.conf:/, '... its log has a word of it';

        my $calm = $t->nginx(start => 0, http => "lines_redis $url replicas=1;");
        $calm->test_config;
        unlike $calm->error_log, $said, '... and none with it';
    }

    my $limits = $t->nginx(start => 0, http => 'lines_redis limits redis+cluster://127.0.0.1;');
    $limits->test_config;
    unlike $limits->error_log, $said, 'limits may be lost';

    my $other = $t->nginx(redis => $primary, workers => 2);
    $other->wait_log(qr/\[notice\].*it has replicas, and there is no "replicas=": what was acknowledged last/);
    wait_for(sub { $other->get('/_lines/ready')->status == 200 }, 30, 'ready');
    $other->quit;
    is scalar(() = $other->error_log =~ /$said/g), 1, 'a Redis that has replicas: by one worker';
    unlike $nginx->error_log, $said, '... and not where they are waited for';
};

subtest 'a reload' => sub {
    my $had = lines_at($primary);
    my @all = map { $nginx->request_p(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone)) } 1 .. 20;
    $nginx->reload(wait_old => 1);
    push @all, map { $nginx->request_p(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone)) } 1 .. 20;
    my @answers;
    Mojo::Promise->all(@all)->then(sub (@each) { @answers = map { $_->[0]->status } @each })->wait;
    is_deeply [grep { $_ != 201 } @answers], [], 'no request is refused';
    is lines_at($replica), $had + 40, '... and all are on the replica';
};

subtest 'it hangs' => sub {
    $replica->pause;
    my $mark   = $nginx->log_mark;
    my $answer = create('Idempotency-Key' => 'hangs');
    is $answer->status, 503, 'what it does not have is not acknowledged';
    ok $answer->header('Retry-After'), '... but is to be asked again';
    $nginx->wait_log(qr/what is written is not acknowledged, 0 of 1 replicas have it within "wait=300"/, $mark);
    ok writes_are_refused(), 'readiness warns';

    my $had = lines_at($primary);
    is create()->status, 503, 'while it is missing' for 1 .. 3;
    is lines_at($primary), $had, '... nothing is written';
    is $nginx->admin(PUT => 'workspaces/two', {plan => 'bulk'})->status, 503, '... nor for an operator';
    is $nginx->get('/api/lines/by-user', $auth)->status, 200, 'reads go on';

    $replica->cont;
    $nginx->wait_log(qr/1 replicas have what is written again/, $mark);
    wait_for(sub { !writes_are_refused() }, 30, 'writes again');
    my $again = create('Idempotency-Key' => 'hangs');
    is $again->status, 201, 'asked again: acknowledged';
    is lines_at($replica), $had, '... the same line, and on the replica';
};

# the replica is behind, until the primary dies
subtest 'nothing that was acknowledged is lost' => sub {
    my (@ids, $stop);
    my $client;
    $client = sub {
        return Mojo::Promise->resolve if $stop;
        return $nginx->request_p(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone))->then(sub ($answer) {
            push @ids, $answer->header('Location') =~ m{([^/]+)\z} if $answer->status == 201;
            return $client->();
        }, sub { return $client->() });
    };
    my $all = Mojo::Promise->all(map { $client->() } 1 .. 8);
    wait_for(sub { @ids > 100 }, 30, 'lines');
    $primary->kill;
    $stop = 1;
    $all->wait;
    $replica->cli('REPLICAOF', 'NO', 'ONE');
    my @lost = grep { !$replica->cli('EXISTS', "lines:{w:one}:line:$_") } @ids;
    is_deeply \@lost, [], 'the replica has each of ' . @ids . ' lines that were acknowledged';
};

subtest 'directives' => sub {
    my $table = [
        ['replicas=17',            qr/invalid number in parameter "replicas=17"/],
        ['replicas=1 wait=0',      qr/invalid time in parameter "wait=0"/],
        ['replicas=1 wait=2s',     qr/"wait=" is not shorter than "timeout="/]
    ];
    for my $case (@$table) {
        my ($code, $output) = $t->test_config(http => "lines_redis redis://127.0.0.1 $case->[0];");
        isnt $code, 0, $case->[0];
        like $output, $case->[1], '... says why';
    }
};

$nginx->allow(qr/connection lost|could not connect/);
$t->done;
