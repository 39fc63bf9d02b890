# Sixteen clients preview, confirm, confirm again, and operators release, while workers are killed, Redis is restarted, billing
# drops answers, the provisioner wavers and webhooks come twice. Then everything answers again, and within a minute charges
# less refunds are lines, no number is held by two or by nobody, and no window is above its limit.
# LINES_CHAOS_SECONDS is the number of seconds, 12 by default; LINES_SEED repeats a run's choices. LINES_CHAOS_HANDS=1: support
# cancels, credits and suspends at billing as well.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::IOLoop;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
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

my (%answers, %final, @promised, @above, @failed, $over);
my $count = 0;

sub pick (@list) { $list[rand @list] }

sub note_answer ($what, $answer) {
    $answers{$what}{$answer->status}++;
    push @failed, "$what: " . $answer->to_string if $answer->status == 500 && ($answer->json('/error') // '') ne 'provisioning_failed';
    return $answer;
}

# what a key was told once it is told for ever
sub note_final ($account, $token, $key, $answer) {
    my $error = $answer->json('/error') // '';
    return if $answer->status =~ /^(?:0|401|409)$/ || ($answer->status == 503 && $error ne 'no_lines_available')
        || $error =~ /^(?:declined|billing)_limit_reached$/;
    my $said = $final{"$account->{id} $token $key"} //= $answer->status . $answer->body;
    fail "one key hears two things: $said, then " . $answer->to_string if $said ne $answer->status . $answer->body && $answer->status != 410;
    push @promised, [$account, $shop->operation_id($token), $answer->json] if $answer->status == 200;
}

# what a person at billing's dashboard does to a subscription
sub hand ($sub) {
    my $do   = sub ($path, $data) { $sandbox->client->post_json_p("/_sandbox/$path", $data) };
    my $what = pick(qw(cancel credit unpaid active));

    return $do->("subscriptions/$sub" => {status => $what}) if $what =~ /^(?:unpaid|active)$/;

    return $do->(hand => {method => 'DELETE', path => "/v1/subscriptions/$sub"})->then(sub ($answer) {
        my $invoice = $answer->json('/latest_invoice');
        return $answer unless $what eq 'credit' && $invoice;
        return $do->(hand => {method => 'POST', path => '/v1/credit_notes', params => {invoice => $invoice, refund_amount => 4900}});
    });
}

sub deed ($client) {
    my $account = $client->{account};
    my $nginx   = pick(@nginx);
    my $what    = pick(qw(buy buy buy buy again again twice list limits release), $hands ? ('hand') x 3 : ());
    my $sent    = $account->{sent} //= [];

    if ($what eq 'again' && @$sent) {
        my ($token, $key) = @{pick(@$sent)};
        return $shop->confirm_p($account, $token, key => $key, nginx => $nginx)->then(sub ($answer) {
            note_final($account, $token, $key, note_answer(again => $answer));
        });
    }

    if ($what eq 'list' || $what eq 'limits') {
        my $path = $what eq 'list' ? 'lines' : 'limits';
        return $nginx->get_p("/accounts/$path", $account->{headers})->then(sub ($answer) {
            note_answer($what => $answer);
            return unless $answer->status == 200 && $what eq 'limits';
            my $daily = $answer->json('/limits/api_provision_daily');
            push @above, $daily if $daily->{used} > $daily->{limit};
        });
    }

    if ($what eq 'hand') {
        my $one = pick(@promised > 5 ? @promised[-5 .. -1] : @promised) // return Mojo::Promise->resolve;
        return hand($one->[2]{subscription_id})->then(sub ($answer) { note_answer(hand => $answer) });
    }

    if ($what eq 'release') {
        my $one = pick(@promised) // return Mojo::Promise->resolve;
        return $nginx->post_json_p("/_lines/admin/lines/$one->[1]/release", {}, {Authorization => 'Bearer ' . $t->admin_token})
          ->then(sub ($answer) { note_answer(release => $answer) });
    }

    return $nginx->request_p(POST => '/accounts/lines/provision-preview', $account->{headers})->then(sub ($answer) {
        note_answer(preview => $answer);

        # a token that the windows would not give: the confirm must say no
        my $token = ($answer->status == 200 ? $answer->json('/preview_token') : shift @{$account->{tokens}}) // return;
        my $key   = 'k' . ++$count;
        push @$sent, [$token, $key];

        my @confirms = map {
            my $key = $_;
            $shop->confirm_p($account, $token, key => $key, nginx => pick(@nginx))->then(sub ($answer) {
                note_final($account, $token, $key, note_answer(confirm => $answer));
            })
        } $what eq 'twice' ? ($key, $key, "other$key") : $key;

        return Mojo::Promise->all(@confirms);
    });
}

my $running = 0;

sub live ($client) {
    return $running-- if $over;
    deed($client)->catch(sub ($error) { $answers{error}{$error}++ })->finally(sub {
        Mojo::IOLoop->timer(0.02 + rand(0.15) => sub { live($client) });
    });
    return;
}

for my $i (0 .. 15) {
    $running++;
    live({account => $accounts[$i % @accounts]});
}

sub moment ($longest) {
    my $until = Time::HiRes::time() + rand($longest);
    wait_for(sub { Time::HiRes::time() > $until }, 5, 'a moment');
}

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

$over = 1;
wait_for(sub { !$running }, 120, 'the clients to end');

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

my @lost = grep {
    my ($account, $op, $said) = @$_;
    my $h = $redis->line("a:$account->{id}", $op);
    ($h->{number} // '') ne $said->{phone_number} || $h->{subscription} ne $said->{subscription_id};
} @promised;
is_deeply \@lost, [], scalar(@promised) . ' lines that were promised are there';

my @full = grep { $shop->window($accounts[$_]) > 6 } grep { $_ % 2 } 0 .. 11;
is_deeply \@full,  [], 'no window is above its limit';
is_deeply \@above, [], 'nor was while it went on';

# every key learns what became of its confirm
my @silent;
for my $account (@accounts) {
    for my $sent (@{$account->{sent} // []}) {
        my ($token, $key) = @$sent;
        my $answer = note_answer(last => $shop->confirm($account, $token, key => $key));
        note_final($account, $token, $key, $answer);
        push @silent, $answer->to_string if $answer->status !~ /^(?:200|402|410|429|500|503)$/ || ($answer->json('/error') // '') eq 'provisioning_pending';
    }
}
is_deeply \@silent, [], 'every key learns what became of it';
is_deeply \@failed, [], 'nobody saw a 500 but of a number that could not be set up';

my $net = 0;
$net++ for $sandbox->ledger('charge');
cmp_ok $net, '>=', scalar(map { $shop->lines($_) } @accounts), 'there are no more lines than charges';

is_deeply [$redis->strangers], [], 'all that is in Redis is of the schema';

ok $did{worker} && $did{billing}, 'much went wrong';
ok $answers{confirm}{200}, 'and much went well';

diag join ', ', map { "$_ $did{$_}" } sort keys %did;
for my $what (sort keys %answers) {
    diag "$what: " . join ', ', map { "$_ $answers{$what}{$_}" } sort keys %{$answers{$what}};
}

$t->done;
