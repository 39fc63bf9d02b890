# What README's table "When things fail" says, where no other test does: a disk that is full, how soon a Redis that is back is found,
# and how often the auditor asks billing.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario;
use Time::HiRes ();

my $t     = Test::Lines->new;
my $plans = "lines_plan big phone included=100000;\n";
my $line  = {channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace'};

# a file that may not grow is as good as a disk that is full: the write fails
subtest "Redis' disk is full, and every write is to be on it: Redis ends, and has all that it acknowledged once there is room" => sub {
    my $small = $t->file('small.sh', "#!/bin/sh\ntrap '' XFSZ\nulimit -f 1000\nexec redis-server \"\$@\"\n");
    chmod 0755, $small or die $!;

    my $redis = $t->redis(kind => 'plain', server => "$small", conf => "appendfsync always\nauto-aof-rewrite-percentage 0\nsave \"\"\n");
    my $nginx = $t->nginx(redis => $redis, plans => $plans);
    my $auth  = $nginx->bearer($nginx->workspace(w => {plan => 'big', subscription => 'active'}));
    $nginx->allow(qr/lines redis|Redis/);

    $redis->client->set(filler => 'x' x 440_000);

    my (@made, $refused);

    for (1 .. 500) {
        my $answer = $nginx->post_json('/api/line-requests', $line, $auth);
        $refused = $answer, last if $answer->status != 201;
        push @made, $answer->json('/line/_id');
    }

    cmp_ok scalar @made, '>', 0, 'some were written: ' . @made;
    is $refused && $refused->status, 503, '... and then one was not' or diag $refused && $refused->to_string;
    like $refused->header('Retry-After') // '', qr/^[1-9]\d*$/, 'with Retry-After';
    wait_for(sub { !$redis->alive }, 30, 'Redis to end');
    like $redis->output, qr/AOF.*(?:Exiting|exiting)/i, 'Redis has ended, since it cannot keep what it would acknowledge';
    is $nginx->get('/_lines/ready')->status, 503, 'not ready';

    $redis->server('redis-server')->start;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'the node');
    is_deeply [grep { $nginx->get("/api/line-requests/$_", $auth)->status != 200 } @made], [], 'room was made: all that was answered is there';
    is $nginx->post_json('/api/line-requests', $line, $auth)->status, 201, 'and it goes on';
};

subtest 'Redis is away for a while: it is looked for every second at least' => sub {
    my $redis = $t->redis(kind => 'plain');
    my $nginx = $t->nginx(redis => $redis, plans => $plans, workers => 1);
    $nginx->allow(qr/lines redis|Redis/);
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready');

    # whoever answers there hangs up
    $redis->stop;
    my $there = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $redis->port, Listen => 16, ReuseAddr => 1) or die $!;
    my $ready = IO::Select->new($there);
    my $begun = Time::HiRes::time();
    my @came;

    while (Time::HiRes::time() < $begun + 10) {
        next unless $ready->can_read(0.1);
        my $from = $there->accept or next;
        push @came, Time::HiRes::time() - $begun;
        close $from;
    }

    my @gaps = map { $came[$_] - $came[$_ - 1] } 1 .. $#came;
    cmp_ok +(sort { $b <=> $a } @gaps)[0], '<', 1 + 0.5 * ($ENV{LINES_SLOW} || 1), 'no longer than 1 s between two tries' or diag "@came";
    cmp_ok scalar(grep { $_ > 4 } @came), '<', 26, '... nor all the time';
    cmp_ok $came[-1], '>', 7, '... to the end';

    close $there;
    $redis->start;
    my $back = Time::HiRes::time();
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'it to be found');
    cmp_ok Time::HiRes::time() - $back, '<', 3 * ($ENV{LINES_SLOW} || 1), 'it is found by itself';
};

subtest 'the auditor asks billing twice a second at most, whatever there is, by whichever node' => sub {
    my $s       = Test::Lines::Scenario->new(t => $t, operations => 'pass=100ms');
    my $sandbox = $s->sandbox;
    $s->nginx for 1 .. 2;

    $sandbox->customer('cus_many');
    $sandbox->adopt(customer => 'cus_many') for 1 .. 120;
    $sandbox->wait_idle;

    my $asked = sub { scalar(() = $sandbox->requests) };
    my $first = $asked->();
    wait_for(sub { $asked->() > $first }, 30, 'the auditor to ask');

    my ($n, $at) = ($asked->(), Time::HiRes::time());
    Time::HiRes::sleep(6);
    my ($calls, $seconds) = ($asked->() - $n, Time::HiRes::time() - $at);

    cmp_ok $calls, '<=', 2 * $seconds + 1, "two a second at most: $calls calls in $seconds s";
    cmp_ok $calls, '>=', 4, '... all the time';
};

$t->done;
