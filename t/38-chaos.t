# Sixteen clients do all that clients, operators and customers do, while workers are killed, Redis is restarted, billing drops
# answers and webhooks come twice. Then everything answers again, and within a minute every cent is where it belongs.
# LINES_CHAOS_SECONDS is the number of seconds, 15 by default (make chaos: half an hour); LINES_SEED repeats a run's choices.
# LINES_CHAOS_HANDS=1: support cancels, credits and suspends at billing as well.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Chaos::Requests;
use Test::Lines::Paid;
use Time::HiRes ();

my $seconds = $ENV{LINES_CHAOS_SECONDS} || 15;
my $seed    = $ENV{LINES_SEED} || time ^ $$;
my $hands   = $ENV{LINES_CHAOS_HANDS};
srand $seed;
diag "LINES_SEED=$seed, $seconds s" . ($hands ? ', with hands' : '');

my $t    = Test::Lines->new(timeout => 300 + 2 * $seconds);
my $paid = Test::Lines::Paid->new(
    t          => $t,
    redis      => $t->redis(conf => 'appendfsync always'),
    operations => 'sweep=500ms retry=500ms due=3s lease=7s absent=1s poll=2s,4s every=5s reconcile=1s budget=1500ms'
);
my $sandbox = $paid->sandbox;
my $redis   = $paid->redis;

# the webhook goes to a port of its own on each nginx; the first one gets them all
my @nginx = map { $paid->nginx(workers => 2) } 1 .. 2;
# a worker may die within a lock of the zone, which nginx then opens by force
$_->allow(qr/exited on signal 9|was locked by|is stuck|gets no answer/) for @nginx;
$sandbox->webhooks(duplicate => 1, shuffle => 1, delay_ms => 100);

my @workspaces = map { {id => "chaos$_"} } 1 .. 8;
$_->{key} = $paid->workspace($_->{id}) for @workspaces;

my $chaos = Test::Lines::Chaos::Requests->new(shop => $paid, nginxes => \@nginx, hands => $hands);
$chaos->begin(map { {workspace => $workspaces[$_ % @workspaces]} } 0 .. 15);

sub pick (@list) { $list[rand @list] }

# what goes wrong
my %wrong = (
    worker => sub { my $one = pick(@nginx); $one->kill_worker(pick($one->pids)) },
    redis  => sub {
        $redis->signal(pick(qw(TERM KILL)));
        wait_for(sub { !$redis->alive }, 30, 'Redis to end');
        $chaos->moment(1.5);
        $redis->start;
    },
    paused => sub {
        $redis->pause;
        $chaos->moment(1.5);
        $redis->cont;
    },
    billing => sub {
        $sandbox->fault(
            path  => pick('/v1/subscriptions', '/v1/subscriptions/:id', '/v1/invoices/:id', '/v1/invoices/:id/void', '/v1/credit_notes'),
            kind  => pick(qw(delay drop_before drop_after drop_after 409 429 500 500_stored)),
            times => 1 + int rand 4,
            ms    => int rand 2500
        );
    },
    reload => sub { pick(@nginx)->process->signal('HUP') },
);

my $end = Time::HiRes::time() + $seconds;
my %did;
my @first = qw(worker billing);    # chance alone might leave them out

while (Time::HiRes::time() < $end) {
    my $what = shift @first // pick(qw(worker worker worker worker worker billing billing billing billing billing redis paused reload));
    my $ok   = eval { $wrong{$what}->(); 1 };
    $did{$what}++;
    diag "$what: $@" unless $ok || $@ =~ /has no worker/;
    $chaos->moment(0.8);
}

$chaos->end;

# all answer again
$redis->cont;
$redis->start unless $redis->alive;
$sandbox->clear_faults;

my $start = Time::HiRes::time();

# what is decided by absence may take two minutes, its parts here being shorter
$paid->agree('billing, lines and operations agree') or diag join "\n", map { "$_->{path} $_->{kind}" } @{$sandbox->control('faults')->{faults} // []};
diag sprintf 'at rest after %.1f s', Time::HiRes::time() - $start;

is_deeply [$chaos->lost],    [], @{$chaos->promised} . ' lines that were promised are there';
is_deeply [$chaos->revived], [], 'what was answered with success stands';
is_deeply $chaos->failed,    [], 'nobody saw a 500, and 503 says when to come back';

is_deeply [$redis->strangers], [], 'all that is in Redis is of the schema';

ok $did{worker} && $did{billing}, 'much went wrong';
ok $chaos->answers->{create}{201}, 'and much went well';

diag join ', ', map { "$_ $did{$_}" } sort keys %did;
$chaos->say;

$t->done;
