# A Redis, or nodes of a cluster, whose answers are wrong in a way that no real one's should be: what is lost ends, and what can be served is.
use Mojo::Base -strict, -signatures;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Mojo::File;
use Test::More;
use Test::Lines::Once redis => 'its Redis has a program before it';
use Test::Lines qw(wait_for);
use Test::Lines::Redis::Cluster;
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my @plans = (plans => "lines_plan bulk phone included=100000;\n");

sub redis_of ($nginx) { return $nginx->get('/_lines/ready')->json('/redis') }
sub ready ($nginx) { return $nginx->get('/_lines/ready')->status == 200 }
sub wait_ok ($nginx, $seconds = 30) { wait_for(sub { (redis_of($nginx) // {})->{status} eq 'ok' }, $seconds, 'all is there') }
sub url (@nodes) { return 'redis+cluster://' . join ',', map { '127.0.0.1:' . $_->port } @nodes }

# so many nodes with as many slots each, all before one Redis
sub cluster ($redis, $count, %says) {
    my @nodes = map { $t->strange(redis => $redis) } 1 .. $count;
    my @first = map { int($_ * 16384 / $count) } 0 .. $count;
    my @slots = map { [$first[$_], $first[$_ + 1] - 1, '127.0.0.1', $nodes[$_]->port] } 0 .. $count - 1;
    $_->say(slots => \@slots, %says) for @nodes;
    return \@slots, @nodes;
}

sub node_of ($slots, $key) {
    my $slot = Test::Lines::Redis::Cluster::Client::slot($key);
    return (grep { $slot >= $slots->[$_][0] && $slot <= $slots->[$_][1] } 0 .. $#$slots)[0];
}

# a workspace of each node, with a key that is there as well
sub tenants ($nginx, $slots) {
    my @auth;
    for my $name (map {"t$_"} 1 .. 1000) {
        my $of = node_of($slots, "lines:{w:$name}:t");
        next if $auth[$of];
        my $key = $nginx->workspace($name => {plan => 'bulk'});
        $auth[$of] = $nginx->bearer($key) if node_of($slots, 'lines:{k:' . sha256_hex($key) . '}') == $of;
        last if @$slots == grep {$_} @auth;
    }
    return @auth;
}

# bytes come all the time, and no reply: its length was said wrong
subtest 'a stream that has lost its place' => sub {
    my $redis = $t->redis;
    my $node  = $t->strange(redis => $redis);
    my $nginx = $t->nginx(redis => 'redis://127.0.0.1:' . $node->port, redis_options => 'timeout=500ms silence=2s', @plans);
    wait_for(sub { ready($nginx) }, 30, 'ready');
    $node->say(turn => 1, before => "\$900000000\r\n", at => 'PUBLISH');
    my $began = time;
    wait_for(sub { $nginx->error_log =~ /no answer within "timeout="/ }, 30, 'answers to be missed');
    ok eval { wait_for(sub { $nginx->error_log =~ /commands: connection lost: no reply, for "silence="/ }, 15, 'it to be given up') }, 'it is given up';
    cmp_ok time - $began, '<', 8 * $t->slow, '... in time';
    ok eval { wait_for(sub { ready($nginx) }, 15, 'another one') }, 'another connection serves';
    $nginx->quit;
};

# its first answer to a command is a string that has no end
my $flood = $t->file('flood.pl', <<'END');
    use strict;
    use warnings;
    use IO::Socket::INET;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 9, ReuseAddr => 1) or die "$ARGV[0]: $!";
    $SIG{$_} = 'IGNORE' for qw(PIPE CHLD);
    while (my $socket = $listen->accept) {
        next if fork;
        sysread $socket, my $bytes, 65536;
        my $info = "role:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
        syswrite $socket, '$' . length($info) . "\r\n$info\r\n*0\r\n" if $bytes =~ /INFO/;
        syswrite $socket, "+PONG\r\n"                                    if $bytes =~ /PING/;
        sysread $socket, $bytes, 65536;
        syswrite $socket, "\$90000000000\r\n";
        my $junk = 'x' x 65536;
        1 while syswrite $socket, $junk;
        exit;
    }
END

subtest 'a reply that has no end' => sub {
    my $port  = $t->free_port;
    my $fake  = $t->spawn(flood => [$^X, $flood, $port]);
    my $nginx = $t->nginx(redis => "redis://127.0.0.1:$port", redis_options => 'timeout=500ms silence=60s', @plans);
    my @pids  = $nginx->pids;
    # sanitized, what was freed is kept for a while
    my $lost  = qr/(?:commands|subscription): connection lost: a reply of more than 1000000 elements or 128 MB/;
    ok eval { wait_for(sub { $nginx->error_log =~ $lost || peak(@pids) > ($t->slow > 1 ? 2_500_000 : 500_000) }, 60 * $t->slow, 'an end'); $nginx->error_log =~ $lost }, 'it is not read on and on';
    $fake->kill;
    is_deeply [$nginx->pids], \@pids, 'the worker lives';
    $nginx->quit;
};

sub peak (@pids) {
    return max map { my $status = "/proc/$_/status"; -e $status && Mojo::File->new($status)->slurp =~ /VmHWM:\s+(\d+)/ ? $1 : 0 } @pids;
}

subtest 'two nodes that send to each other, by ASK' => sub {
    my $redis = $t->redis;
    my ($slots, @nodes) = cluster($redis, 2);
    my $nginx = $t->nginx(redis => url(@nodes), @plans);
    wait_ok($nginx);
    my ($auth) = tenants($nginx, $slots);
    is $nginx->post_json('/api/line-requests', \%phone, $auth)->status, 201, 'served';
    my $had = $nodes[0]->asked('ASKING') + $nodes[1]->asked('ASKING');
    $nodes[0]->say(ask => $nodes[1]->port);
    $nodes[1]->say(ask => $nodes[0]->port);
    is $nginx->post_json('/api/line-requests', \%phone, $auth)->status, 503, 'nobody is served';
    my $n = $nodes[0]->asked('ASKING') + $nodes[1]->asked('ASKING') - $had;
    cmp_ok $n, '<', 200, "not without a pause: $n times";
    delete $_->says->{ask}, $_->say for @nodes;
    wait_for(sub { $nginx->post_json('/api/line-requests', \%phone, $auth)->status == 201 }, 30, 'served again');
    $nginx->quit;
};

# as of one that has no port of the kind that is asked for
subtest 'a primary that cannot be reached by what it announces' => sub {
    for my $what (['no port', '127.0.0.1', 0], ['a name of more bytes than names have', 'x' x 300, 6379], ['a name that is none', 'a b', 6379]) {
        my ($why, $host, $port) = @$what;
        my $redis = $t->redis;
        my ($slots, @nodes) = cluster($redis, 3);
        my $nginx = $t->nginx(redis => url(@nodes), @plans);
        wait_ok($nginx);
        my @auth = tenants($nginx, $slots);
        is_deeply [map { $nginx->get('/api/line-requests?limit=1', $_)->status } @auth], [200, 200, 200], "$why: served before";
        my @bad = (@$slots[0, 1], [@{$slots->[2]}[0, 1], $host, $port]);
        $_->say(slots => \@bad, epoch => 2) for @nodes;
        my $other = $t->nginx(redis => url(@nodes), admin => 0, @plans);
        ok eval { wait_for(sub { ready($other) }, 10, 'ready'); 1 }, 'another node of Lines serves what there is';
        is_deeply [map { $nginx->get('/api/line-requests?limit=1', $_)->status } @auth[0, 1]], [200, 200], '... tenants of the other primaries';
        $_->quit for $nginx, $other;
    }
};

# a shard of CLUSTERDOWN that nobody hears the end of
subtest 'a cluster that was down, and does not say so' => sub {
    my $redis = $t->redis;
    my ($slots, @nodes) = cluster($redis, 2, raw => {'CLUSTER INFO' => "-NOPERM this user has no permissions to run the 'cluster|info' command\r\n"});
    my $nginx = $t->nginx(redis => url(@nodes), redis_options => 'connect_timeout=300ms', @plans);
    wait_ok($nginx);
    my @auth = tenants($nginx, $slots);
    my $make = sub ($auth) { $nginx->post_json('/api/line-requests', \%phone, $auth)->status };
    is_deeply [map { $make->($_) } @auth], [201, 201], 'served';
    $_->say(error => "-CLUSTERDOWN The cluster is down\r\n") for @nodes;
    is $make->($auth[0]), 503, 'it is down';
    delete $_->says->{error}, $_->say for @nodes;
    ok eval { wait_for(sub { $make->($_) == 201 }, 10, 'service'); 1 }, 'it serves again' for @auth;
    $nginx->quit;
};

# a MOVED without a port, as of one of whom nobody knows it: where it is the map tells
subtest 'a redirection that leads nowhere' => sub {
    my $redis = $t->redis;
    my ($slots, @nodes) = cluster($redis, 2, epoch => 1);
    my @moved = ([0, $slots->[0][1], '127.0.0.1', $nodes[1]->port], $slots->[1]);
    for my $where ('127.0.0.1:0', 'a/b:6379', ':', '') {
        my $nginx = $t->nginx(redis => url(@nodes), @plans);
        wait_ok($nginx);
        my ($auth) = tenants($nginx, $slots);
        $_->say(slots => \@moved, epoch => $_->says->{epoch} + 1) for @nodes;
        $nodes[0]->say(error => "-MOVED 1 $where\r\n");
        is $nginx->post_json('/api/line-requests', \%phone, $auth)->status, 201, qq{"MOVED 1 $where": the map is asked};
        $nginx->quit;
        delete $_->says->{error}, $_->say(slots => $slots, epoch => $_->says->{epoch} + 1) for @nodes;
    }
};

# its address went to a node of another cluster, whose map is that one's
subtest 'a node answers as another cluster' => sub {
    my ($redis, $other) = map { $t->redis } 1 .. 2;
    my ($slots, @nodes) = cluster($redis, 3, epoch => 1);
    my @id = map { $_ x 40 } 'a' .. 'f';
    $_->say(slots => [map { [@{$slots->[$_]}, $id[$_]] } 0 .. 2]) for @nodes;
    $nodes[$_]->say(id => $id[$_]) for 0 .. 2;
    my $nginx = $t->nginx(redis => url(@nodes), redis_options => 'connect_timeout=300ms', @plans);
    $nginx->allow(qr/another node than the one|connection lost/);
    wait_ok($nginx);
    my @auth = tenants($nginx, $slots);
    my $read = sub ($auth) { $nginx->get('/api/line-requests?limit=1', $auth)->status };
    is_deeply [map { $read->($_) } @auth], [200, 200, 200], 'all are served';

    my @strangers = map { $t->strange(redis => $other) } 1 .. 2;
    my @theirs    = map { [@{$slots->[$_]}[0, 1], '127.0.0.1', ($nodes[0], @strangers)[$_]->port, $id[$_ + 3]] } 0 .. 2;
    $nodes[0]->stop;
    ($nodes[0]{redis}, $nodes[0]{says}) = ($other, {%{$nodes[0]->says}, slots => \@theirs, epoch => 100, id => $id[3]});
    $nodes[0]->start;
    $strangers[$_]->say(slots => \@theirs, epoch => 100, id => $id[$_ + 4]) for 0, 1;
    ok eval { wait_for(sub { $nginx->error_log =~ /another node than the one that the cluster's map names there/ }, 10, 'the log'); 1 }, 'it is told';
    my (@status, $began);
    $began = time;
    while (time - $began < 5) { $status[$_ > 0]{$read->($auth[$_])}++ for 0 .. 2; select undef, undef, undef, 0.1 }
    is_deeply [map { [sort keys %$_] } @status], [[503], [200]], 'who is not known there is not unknown, and the others are served' or diag explain \@status;

    # the node has another id since it was made anew, and its cluster says so
    $nodes[0]->stop;
    ($nodes[0]{redis}, $nodes[0]{says}) = ($redis, {slots => [map { [@{$slots->[$_]}, $id[$_ || 5]] } 0 .. 2], epoch => 2, id => $id[5]});
    $_->say(slots => $nodes[0]->says->{slots}, epoch => 2) for @nodes[1, 2];
    $nodes[0]->start;
    ok eval { wait_for(sub { 3 == grep { $read->($_) == 200 } @auth }, 15, 'service'); 1 }, 'one that has another id by the map is used';
    $nginx->quit;
};

# what the user of Redis may do is mended while nginx runs
subtest 'the ACL lacks what replicas= needs' => sub {
    my $redis   = $t->redis(conf => "user default on nopass ~* &* +\@all\nuser app on >secret ~* &* +\@all -info\n", kind => 'plain');
    my $replica = $t->redis(conf => "replicaof 127.0.0.1 @{[$redis->port]}\nrepl-diskless-sync-delay 0\n", kind => 'plain');
    wait_for(sub { @{$redis->cli('ROLE')->[2]} }, 30, 'the replica');
    my $file  = $t->file('app.pw', 'secret');
    my $nginx = $t->nginx(redis => 'redis://app@127.0.0.1:' . $redis->port, redis_options => "password_file=$file replicas=1 wait=300ms", @plans);
    $nginx->wait_log(qr/what is written is not acknowledged, INFO is refused/);
    my $key;
    $redis->cli('ACL SETUSER', 'app', '+info');
    ok eval { wait_for(sub { eval { $key = $nginx->workspace(one => {plan => 'bulk'}) } }, 20, 'writes') }, 'INFO is allowed: what is written is acknowledged';
    $redis->cli('ACL SETUSER', 'app', 'resetkeys', '~lines:{w*', '~lines:{l*', '~lines:{k*', '~lines:{t*', '~lines:{d*', '~lines:{s*', '~lines:{a*', '~lines:{p*', '~lines:{ix*', '~lines:{o*');
    wait_for(sub { $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($key))->status == 503 }, 30, 'a refusal') if $key;
    ok eval { $nginx->wait_log(qr/not acknowledged, the marker before WAIT is refused: NOPERM/, 10); 1 }, 'a marker that is refused is told as that';
    $nginx->quit;
};

$t->done;
