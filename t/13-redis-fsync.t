# fsync=on of replicas=: what is acknowledged is on the replicas' disks, where the server can tell (WAITAOF).
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'it has replicas of its own';
use Test::Lines qw(wait_for);

my $t     = Test::Lines->new;
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

# a primary with a replica, and nginx before it
sub fleet ($options, $conf = '') {
    my $primary = $t->redis(conf => $conf, kind => 'plain');
    my $replica = $t->redis(conf => "replicaof 127.0.0.1 @{[$primary->port]}\nrepl-diskless-sync-delay 0\n");
    wait_for(sub { @{$primary->cli('ROLE')->[2]} }, 30, 'the replica');

    my $nginx = $t->nginx(redis => $primary, redis_options => $options, plans => "lines_plan bulk phone included=100000;\n");
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 && $nginx->get('/_lines/ready')->body !~ /too few/ }, 30, 'ready');
    my $auth = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));

    return ($primary, $replica, $nginx, sub (%headers) { $nginx->post_json('/api/line-requests', \%phone, {%$auth, %headers}) });
}

# Redis 7.2 and later, Valkey
my $known = $t->redis(kind => 'plain')->cli('COMMAND', 'INFO', 'WAITAOF')->[0];

sub calls ($redis, $name) { return (($redis->cli('INFO', 'commandstats')->{"cmdstat_$name"} // '') =~ /calls=(\d+)/)[0] // 0 }

subtest 'a server that knows WAITAOF' => sub {
    plan skip_all => 'this one does not: it is from before Redis 7.2' unless $known;
    my ($primary, $replica, $nginx, $create) = fleet('replicas=1 wait=300ms fsync=on');

    unlike $nginx->get('/_lines/ready')->body, qr/WAITAOF/, 'nothing to warn of';
    is $create->()->status, 201, 'a line';
    ok calls($primary, 'waitaof'), '... which the disk was waited for';
    is calls($primary, 'wait'), 0, '... and nothing less';

    # it goes on to take what is written, but keeps it in memory
    my $mark = $nginx->log_mark;
    $replica->cli('CONFIG SET', 'appendonly', 'no');
    is $create->('Idempotency-Key' => 'memory')->status, 503, 'a replica without a file: not acknowledged';
    is $replica->cli('ZCARD', 'lines:{w:one}:lines'), 2, '... though it has the line';
    $nginx->wait_log(qr/what is written is not acknowledged, 0 of 1 replicas have it on their disk within "wait=300"/, $mark);
    is $create->()->status, 503, '... and nothing more is written';

    $replica->cli('CONFIG SET', 'appendonly', 'yes');
    $nginx->wait_log(qr/1 replicas have what is written again/, $mark);
    is $create->('Idempotency-Key' => 'memory')->status, 201, 'with its file: acknowledged';
    is $replica->cli('ZCARD', 'lines:{w:one}:lines'), 2, '... the same line';

    $replica->kill;
    $replica->start;
    is $replica->cli('ZCARD', 'lines:{w:one}:lines'), 2, '... which survives the death of the replica';
};

subtest 'one that does not' => sub {
    my ($primary, $replica, $nginx, $create) = fleet('replicas=1 wait=300ms fsync=on', $known ? qq{rename-command WAITAOF ""\n} : '');

    $nginx->wait_log(qr/\[warn\].*no WAITAOF, which "fsync=on" asks for: what is acknowledged has come to replicas, not to their disks/);
    like $nginx->get('/_lines/ready')->body, qr/the server has no WAITAOF/, 'readiness warns';
    is $create->()->status, 201, 'a line';
    is $replica->cli('ZCARD', 'lines:{w:one}:lines'), 1, '... is on the replica by the time that it is acknowledged';
    my $had = calls($primary, 'wait');
    $create->() for 1 .. 3;
    is calls($primary, 'wait'), $had + 3, '... by WAIT';
    is scalar(() = $nginx->error_log =~ /no WAITAOF/g), 1, 'said once';
};

subtest 'one that refuses it' => sub {
    plan skip_all => 'this one does not know it: it is from before Redis 7.2' unless $known;
    my ($primary, $replica, $nginx, $create) = fleet('replicas=1 wait=300ms');

    $primary->cli('ACL SETUSER', 'default', '-waitaof');
    my $other = $t->nginx(redis => $primary, redis_options => 'replicas=1 wait=300ms fsync=on');
    $other->wait_log(qr/what is written is not acknowledged, refused: NOPERM/);
    like $other->get('/_lines/ready')->body, qr/too few replicas/, 'nobody is told what nobody can know';
};

subtest 'directives' => sub {
    my $table = [
        ['fsync=on',              qr/"fsync=on" without "replicas=" in "lines_redis"/],
        ['replicas=1 fsync=1',    qr/"fsync=1"/],
    ];
    for my $case (@$table) {
        my ($code, $output) = $t->test_config(http => "lines_redis redis://127.0.0.1 $case->[0];");
        isnt $code, 0, $case->[0];
        like $output, $case->[1], '... says why';
    }
};

$t->done;
