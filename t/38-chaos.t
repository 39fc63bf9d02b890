# Sixteen clients do all that clients, operators and customers do, while workers are killed, Redis is restarted, billing drops
# answers and webhooks come twice. Then everything answers again, and within a minute every cent is where it belongs.
# LINES_CHAOS_SECONDS is the number of seconds, 15 by default (make chaos: half an hour); LINES_SEED repeats a run's choices.
# LINES_CHAOS_HANDS=1: support cancels, credits and suspends at billing as well.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(shuffle);
use Mojo::IOLoop;
use Mojo::Promise;
use Test::More;
use Test::Lines qw(wait_for);
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

my (%answers, @promised, $over);
my $count = 0;

sub pick (@list) { $list[rand @list] }

sub note_answer ($what, $answer) {
    $answers{$what}{$answer->status}++;
    return $answer;
}

# what a person at billing's dashboard does to the subscription of an invoice
sub hand ($invoice, $amount) {
    my $do = sub ($path, $data) { $sandbox->client->post_json_p("/_sandbox/$path", $data) };

    return $do->(hand => {method => 'GET', path => "/v1/invoices/$invoice"})->then(sub ($answer) {
        my $sub  = $answer->json('/parent/subscription_details/subscription') // return $answer;
        my $what = pick(qw(cancel credit unpaid active));

        return $do->("subscriptions/$sub" => {status => $what}) if $what =~ /^(?:unpaid|active)$/ && $answer->json('/status') eq 'paid';

        my $credited = $what eq 'credit' ? $do->(hand => {method => 'POST', path => '/v1/credit_notes', params => {invoice => $invoice, refund_amount => $amount}})
          : Mojo::Promise->resolve;
        return $credited->then(sub (@) { $do->(hand => {method => 'DELETE', path => "/v1/subscriptions/$sub"}) });
    });
}

# one deed of one client; resolves to its answer
sub deed ($client) {
    my $w     = $client->{workspace};
    my $nginx = pick(@nginx);
    my $line  = pick(@{$w->{lines} //= []});
    my %auth  = %{$nginx->bearer($w->{key})};
    my $what  = pick(qw(create create create again read read link link cancel pay pay void report report release list), $hands ? ('hand') x 3 : ());

    if ($what eq 'create' || !$line) {
        my $body = $paid->body;
        my %key  = rand() < 0.7 ? ('Idempotency-Key' => 'k' . ++$count) : ();
        push @{$w->{sent}}, [$body, \%key] if %key;
        return $nginx->post_json_p('/api/line-requests', $body, {%auth, %key})->then(sub ($answer) {
            note_answer(create => $answer);
            if (my $id = $answer->json('/line/_id')) {
                push @{$w->{lines}}, {id => $id, invoice => $answer->json('/invoiceId')} unless $answer->status == 409;
                push @promised, [$w->{id}, $id] if $answer->status == 201;
            }
        });
    }

    if ($what eq 'again' && $w->{sent}) {
        my ($body, $key) = @{pick(@{$w->{sent}})};
        return $nginx->post_json_p('/api/line-requests', $body, {%auth, %$key})->then(sub ($answer) {
            note_answer(again => $answer);
            if (my $id = $answer->json('/line/_id')) {
                push @{$w->{lines}}, {id => $id, invoice => $answer->json('/invoiceId')}
                  if $answer->status == 201 && !grep { $_->{id} eq $id } @{$w->{lines}};
                push @promised, [$w->{id}, $id] if $answer->status == 201;
            }
        });
    }

    if ($what eq 'link' || $what eq 'cancel') {
        my $action = $what eq 'link' ? 'payment_link' : 'cancel';
        return $nginx->post_json_p("/api/line-requests/$line->{id}", {action => $action}, \%auth)->then(sub ($answer) {
            note_answer($what => $answer);
            $line->{invoice} = $answer->json('/invoiceId') // $line->{invoice} if $answer->status == 200;
            push @promised, [$w->{id}, $line->{id}, 'canceled'] if $what eq 'cancel' && $answer->status == 200;
        });
    }

    # the last line is the one that something is under way with
    return hand($w->{lines}[-1]{invoice}, 900)->then(sub ($answer) { note_answer(hand => $answer) }) if $what eq 'hand' && $w->{lines}[-1]{invoice};

    if ($what =~ /^(?:pay|void)$/ && $line->{invoice}) {
        return $sandbox->client->post_json_p("/_sandbox/invoices/$line->{invoice}/$what", {})->then(sub ($answer) { note_answer($what => $answer) });
    }

    if ($what eq 'report' || $what eq 'release') {
        my %admin = (Authorization => 'Bearer ' . $t->admin_token);
        my $data  = $what eq 'report' ? {status => pick(qw(active failed))} : {};
        my $path  = $what eq 'report' ? 'status' : 'release';
        return $nginx->post_json_p("/_lines/admin/lines/$line->{id}/$path", $data, \%admin)->then(sub ($answer) { note_answer($what => $answer) });
    }

    return $nginx->get_p('/api/line-requests?limit=20', \%auth)->then(sub ($answer) { note_answer(list => $answer) }) if $what eq 'list';

    return $nginx->get_p("/api/line-requests/$line->{id}", \%auth)->then(sub ($answer) { note_answer(read => $answer) });
}

my $running = 0;

sub live ($client) {
    return $running-- if $over;
    deed($client)->catch(sub ($error) { $answers{error}{$error}++ })->finally(sub {
        Mojo::IOLoop->timer(0.01 + rand(0.1) => sub { live($client) });
    });
    return;
}

for my $i (0 .. 15) {
    $running++;
    live({workspace => $workspaces[$i % @workspaces]});
}

# what goes wrong
my %wrong = (
    worker => sub { my $one = pick(@nginx); $one->kill_worker(pick($one->pids)) },
    redis  => sub {
        $redis->signal(pick(qw(TERM KILL)));
        wait_for(sub { !$redis->alive }, 30, 'Redis to end');
        my $until = Time::HiRes::time() + rand(1.5);
        wait_for(sub { Time::HiRes::time() > $until }, 5, 'a moment');
        $redis->start;
    },
    paused => sub {
        $redis->pause;
        my $until = Time::HiRes::time() + rand(1.5);
        wait_for(sub { Time::HiRes::time() > $until }, 5, 'a moment');
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
    my $until = Time::HiRes::time() + rand(0.8);
    wait_for(sub { Time::HiRes::time() > $until }, 5, 'a moment');
}

$over = 1;
wait_for(sub { !$running }, 120, 'the clients to end');

# all answer again
$redis->cont;
$redis->start unless $redis->alive;
$sandbox->clear_faults;

my $start = Time::HiRes::time();

# what is decided by absence may take two minutes, its parts here being shorter
$paid->agree('billing, lines and operations agree') or diag join "\n", map { "$_->{path} $_->{kind}" } @{$sandbox->control('faults')->{faults} // []};
diag sprintf 'at rest after %.1f s', Time::HiRes::time() - $start;

my @lost = grep { !%{$paid->record(@$_[0, 1])} } @promised;
is_deeply \@lost, [], scalar(@promised) . ' lines that were promised are there';

my @revived = grep { $_->[2] && $paid->record(@$_[0, 1])->{status} ne $_->[2] } @promised;
is_deeply \@revived, [], 'what was answered with success stands';

is_deeply [$redis->strangers], [], 'all that is in Redis is of the schema';

ok $did{worker} && $did{billing}, 'much went wrong';
ok $answers{create}{201}, 'and much went well';
ok !(grep { $answers{$_}{500} } keys %answers), 'nobody saw a 500';

diag join ', ', map { "$_ $did{$_}" } sort keys %did;
for my $what (sort keys %answers) {
    diag "$what: " . join ', ', map { "$_ $answers{$what}{$_}" } sort keys %{$answers{$what}};
}

$t->done;
