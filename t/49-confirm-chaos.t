# Sixteen clients preview, confirm, confirm again, and operators release, while workers are killed, Redis is restarted, billing
# drops answers, the provisioner wavers and webhooks come twice. Then everything answers again, and within a minute charges
# less refunds are lines, no number is held by two or by nobody, and no window is above its limit.
# LINES_CHAOS_SECONDS is the number of seconds, 12 by default; LINES_SEED repeats a run's choices. LINES_CHAOS_HANDS=1: support
# cancels, credits and suspends at billing as well.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Chaos::Confirms;
use Time::HiRes ();

my $seconds = $ENV{LINES_CHAOS_SECONDS} || 12;
my $seed    = $ENV{LINES_SEED} || time ^ $$;
my $hands   = $ENV{LINES_CHAOS_HANDS};
srand $seed;
diag "LINES_SEED=$seed, $seconds s" . ($hands ? ', with hands' : '');

my $t    = Test::Lines->new(timeout => 400 + 2 * $seconds);
my $told = $t->upstream(name => 'provisioner', status => 200);
my $shop = Test::Lines::Account->new(
    t           => $t,
    redis       => $t->redis(conf => 'appendfsync always'),
    webhooks    => 1,
    provisioner => $told->url,
    agent       => 'daily=6 monthly=6',
    quarantine  => '1s',
    operations  => 'sweep=500ms retry=500ms due=3s lease=7s absent=1s poll=2s,4s every=5s reconcile=1s budget=1500ms'
);
my $sandbox = $shop->sandbox;
my $redis   = $shop->redis;

my @nginx = map { $shop->nginx(workers => 2) } 1 .. 2;
# a worker may die within a lock of the zone, which nginx then opens by force
$_->allow(qr/exited on signal 9|was locked by|is stuck|gets no answer/) for @nginx;
$sandbox->webhooks(duplicate => 1, shuffle => 1, delay_ms => 100);

# some have no card, or a bad one; half of them have hardly a limit, the others a low one; and few numbers for all
my @accounts = map { $shop->account("chaos$_", customer => $_ % 6 == 5 ? 'cus_declined' : $_ % 6 == 4 ? 'cus_nocard' : "cus_$_",
    limits => $_ % 2 ? {} : {api_provision_daily => 1000, api_provision_monthly => 1000}) } 0 .. 11;
$sandbox->customer("cus_$_") for 0 .. 11;
$shop->numbers(40);

for my $account (@accounts) {
    $account->{tokens} = [map { $shop->issue($account) } 1 .. 20];
}

my $chaos = Test::Lines::Chaos::Confirms->new(shop => $shop, nginxes => \@nginx, hands => $hands);
$chaos->begin(map { {account => $accounts[$_ % @accounts]} } 0 .. 15);

sub pick (@list) { $list[rand @list] }

sub moment ($longest) { $chaos->moment($longest) }

my %wrong = (
    worker => sub { my $one = pick(@nginx); $one->kill_worker(pick($one->pids)) },
    redis  => sub {
        $redis->signal(pick(qw(TERM KILL)));
        wait_for(sub { !$redis->alive }, 30, 'Redis to end');
        moment(1.5);
        $redis->start;
    },
    paused => sub { $redis->pause; moment(1.5); $redis->cont },
    billing => sub {
        $sandbox->fault(
            path  => pick('/v1/subscriptions', '/v1/subscriptions', '/v1/subscriptions/:id', '/v1/invoices/:id', '/v1/customers/:id', '/v1/credit_notes'),
            kind  => pick(qw(delay drop_before drop_after drop_after 409 429 500 500_stored)),
            times => 1 + int rand 4,
            ms    => int rand 2500
        );
    },
    provisioner => sub { $told->reset(%{pick({status => 422}, {status => 503}, {drop => 1}, {status => 200, delay => 3})}); moment(1); $told->reset(status => 200) },
    reload      => sub { pick(@nginx)->process->signal('HUP') },
);

my $end = Time::HiRes::time() + $seconds;
my %did;
my @first = qw(worker billing);    # chance alone might leave them out

while (Time::HiRes::time() < $end) {
    my $what = shift @first // pick(qw(worker worker worker worker worker billing billing billing billing billing redis paused provisioner provisioner reload));
    my $ok   = eval { $wrong{$what}->(); 1 };
    $did{$what}++;
    diag "$what: $@" unless $ok || $@ =~ /has no worker/;
    moment(0.8);
}

$chaos->end;

# all answer again
$redis->cont;
$redis->start unless $redis->alive;
$sandbox->clear_faults;
$told->reset(status => 200);

if (!$told->alive) {
    diag 'the provisioner had died by itself';
    $told->restart;
}

my $start = Time::HiRes::time();

# what is decided by absence may take two minutes, its parts here being shorter
$shop->agree('charges less refunds are lines; no number is held by two or by nobody; nothing is unfinished');
diag sprintf 'at rest after %.1f s', Time::HiRes::time() - $start;

is_deeply [$chaos->lost], [], @{$chaos->promised} . ' lines that were promised are there';

my @full = grep { $shop->window($accounts[$_]) > 6 } grep { $_ % 2 } 0 .. 11;
is_deeply \@full,  [], 'no window is above its limit';
is_deeply $chaos->above, [], 'nor was while it went on';

is_deeply [$chaos->silent],       [], 'every key learns what became of it';
is_deeply $chaos->contradictions, [], '... and no two things';
is_deeply $chaos->failed,         [], 'nobody saw a 500 but of a number that could not be set up, and 503 says when to come back';

my $net = 0;
$net++ for $sandbox->ledger('charge');
cmp_ok $net, '>=', scalar(map { $shop->lines($_) } @accounts), 'there are no more lines than charges';

is_deeply [$redis->strangers], [], 'all that is in Redis is of the schema';

ok $did{worker} && $did{billing}, 'much went wrong';
ok $chaos->answers->{confirm}{200}, 'and much went well';

diag join ', ', map { "$_ $did{$_}" } sort keys %did;
$chaos->say;

$t->done;
