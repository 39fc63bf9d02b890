# A slot of a cluster that moves, or that a reshard left open: the survey passes over its tenants, says so, and goes on with the others.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'it has a cluster of its own', store => 'one Redis will do';
use Test::Lines qw(wait_for);
use Test::Lines::Paid;
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $redis = $t->redis(kind => 'cluster');
my $paid  = Test::Lines::Paid->new(t => $t, redis => $redis, operations => 'sweep=1h walk=1h due=1h');
my $nginx = $paid->nginx(redis_options => 'timeout=500ms', server => 'location = /numbers { lines_metrics survey=1s; }');
my %phone = (channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace');
my @names = map {"t$_"} 1 .. 6;

$nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($nginx->workspace($_ => {plan => 'starter'})))->status == 201 or die $_ for @names;

my $of = sub ($name) { $nginx->get('/numbers')->body =~ /^\Q$name\E (\d+)$/m ? $1 : -1 };
my $at = sub { $redis->cli('HGET', 'lines:{survey}:2', 'at') // 0 };

# one that began after now
sub another_pass {
    for (1, 2) { my $had = $at->(); wait_for(sub { $at->() > $had }, 30, 'a pass') }
    return;
}

my $new = 'lines_line_transitions_total{from="new",to="provisioning"}';

wait_for(sub { $of->($new) == 6 }, 30, 'all lines are counted');
is $of->('lines_survey_skipped'), 0, 'nothing is passed over';

my $key = "lines:{w:$names[0]}:t";
my $from = $redis->node_of($key);
my ($to) = grep { $_ != $from } @{$redis->nodes};
my $slot = $from->cli('CLUSTER KEYSLOT', $key);
$to->cli('CLUSTER SETSLOT', $slot, 'IMPORTING', $from->cli('CLUSTER MYID'));
$from->cli('CLUSTER SETSLOT', $slot, 'MIGRATING', $to->cli('CLUSTER MYID'));

# an operation of another one, in somebody's hands, whose hint is lost
my ($tenant, $id) = ("w:$names[1]", 'a' x 24);
$redis->cli('SADD', "lines:{$tenant}:ops", $id);
$redis->cli('HSET', "lines:{$tenant}:op:$id", 'kind', 'request', 'step', 'tell', 'attempt', 1, 'fence', 1, 'begun', time * 1000 % 1e15, 'lease_until', (time + 86400) * 1000);

wait_for(sub { grep { defined } map { $redis->cli('ZSCORE', "lines:{due:$_}", "$tenant $id") } 0 .. 15 }, 30, 'its hint is written again');
another_pass();
is $of->('lines_survey_skipped'), 1, 'one is passed over';
is $of->('lines_tenants'), 6, 'all are known';
is $of->('lines_lines{state="provisioning"}'), 6, 'no line is missed';

$_->cli('CLUSTER SETSLOT', $slot, 'STABLE') for $from, $to;
wait_for(sub { $of->('lines_survey_skipped') == 0 }, 30, 'it is closed');
is $of->($new), 6, 'what was passed over is not counted again';

# its own slot is another matter: whose turn it is cannot be asked
my ($age, @others) = (sub { $of->('lines_survey_age_seconds') });
$key = 'lines:{survey}:2';
($from) = $redis->node_of($key);
($to, @others) = grep { $_ != $from } @{$redis->nodes};
$slot = $from->cli('CLUSTER KEYSLOT', $key);
$to->cli('CLUSTER SETSLOT', $slot, 'IMPORTING', $from->cli('CLUSTER MYID'));
$from->cli('CLUSTER SETSLOT', $slot, 'MIGRATING', $to->cli('CLUSTER MYID'));
wait_for(sub { $age->() > 7 }, 60, 'a survey to be missed');
is $of->('lines_tenants'), 6, 'its own slot moves: what is known is shown';
is $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($nginx->workspace(more => {plan => 'starter'})))->status, 201, 'nobody else waits for that';

while (my @keys = $from->cli('CLUSTER GETKEYSINSLOT', $slot, 100)) {
    $from->cli('MIGRATE', '127.0.0.1', $to->port, '', 0, 5000, 'KEYS', @keys);
}
$_->cli('CLUSTER SETSLOT', $slot, 'NODE', $to->cli('CLUSTER MYID')) for $to, $from, @others;
my $moved = time;
wait_for(sub { $of->('lines_tenants') == 7 }, 30, 'the next one');
cmp_ok time - $moved, '<', 10 * $t->slow, sprintf 'the next one has counted %.1f s after it has moved', time - $moved;
cmp_ok $age->(), '<', 7, '... and is as old as that';

$t->done;
