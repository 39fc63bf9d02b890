# Each flow of money, killed at each of its steps: just before and just after each write to Redis, and on both sides of each
# answer of billing. A minute after all answer again, billing, lines and operations agree, and nothing is left to do.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::JSON qw(encode_json false);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $t    = Test::Lines->new(timeout => 900);
my $told = $t->upstream(name => 'provisioner', handler => sub ($c, $state) { $c->render(json => {}) });

# while workers are killed nobody else goes on with what they left
my $still = 'sweep=1h retry=200ms due=1s lease=2s absent=1s';
my $quick = 'sweep=200ms retry=200ms due=1s lease=2s absent=1s poll=1s,2s,3s every=1s';

my $paid    = Test::Lines::Paid->new(t => $t, operations => $still, webhooks => 0, provisioner => 'http://127.0.0.1:' . $told->port . '/told');
my $sandbox = $paid->sandbox;
my $nginx   = $paid->nginx(module => 'failpoints');
my $n       = 0;
my $resent  = 0;

$nginx->allow(qr/exited on signal 9/);
$sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/nobody');

sub event ($type, $object) {
    my $body = encode_json({id => 'evt_' . ++$resent, object => 'event', type => $type, created => time, livemode => false, data => {object => $object}});
    my $at   = time;
    return $nginx->post('/webhooks/stripe', $body,
        {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')});
}

sub paid_event ($case) {
    return event('invoice.paid', $sandbox->call(GET => "/v1/invoices/$case->{invoice}")->json);
}

sub subscription_event ($id) {
    my $subscription = $sandbox->call(GET => "/v1/subscriptions/$id")->json;
    return event($subscription->{status} eq 'canceled' ? 'customer.subscription.deleted' : 'customer.subscription.updated', $subscription);
}

# how far a case is brought before a worker is killed
my %prepare = (
    nothing => sub ($case) { },
    pending => sub ($case) {
        my $answer = $paid->request($case->{key});
        die $answer->to_string unless $answer->status == 201;
        @$case{qw(line invoice)} = ($answer->json('/line/_id'), $answer->json('/invoiceId'));
    },
    paid => sub ($case) {
        $case->{before}{pending}->($case);
        $sandbox->pay($case->{invoice});
    },
    void => sub ($case) {
        $case->{before}{pending}->($case);
        $sandbox->void($case->{invoice});
    },
    # another plan, and who wrote it died before it could say so
    grown => sub ($case) {
        my $answer = $paid->request($case->{key}, channelType => 'phone');
        die $answer->to_string unless $answer->status == 201;
        @$case{qw(line invoice)} = ($answer->json('/line/_id'), $answer->json('/invoiceId'));
        $paid->redis->cli('HSET', "lines:{w:$case->{id}}:t", plan => 'growth');
    },
    provisioning => sub ($case) {
        $case->{before}{paid}->($case);
        paid_event($case);
        $paid->wait_done($case->{id}, $case->{line});
    },
    renewed => sub ($case) {
        $case->{before}{provisioning}->($case);
        $sandbox->renew($paid->record($case->{id}, $case->{line})->{subscription});
    },
    active => sub ($case) {
        $case->{before}{provisioning}->($case);
        $nginx->admin(POST => "lines/$case->{line}/status", {status => 'active'});
    },
    lapsed => sub ($case) {
        $case->{before}{active}->($case);
        $case->{subscription} = $paid->record($case->{id}, $case->{line})->{subscription};
        $sandbox->move($case->{subscription}, status => 'canceled');
    },
    ended => sub ($case) {
        $sandbox->customer("cus_$case->{id}");
        $nginx->admin(PUT => "workspaces/$case->{id}", {customer => "cus_$case->{id}"});
        $case->{base} = $sandbox->adopt(customer => "cus_$case->{id}", price => 'price_growth', status => 'active')->{id};
        $case->{before}{pending}->($case);
        $sandbox->move($case->{base}, status => 'canceled');
    },
    lost => sub ($case) {
        $case->{before}{pending}->($case);
        $paid->redis->cli('DEL', map { "lines:{w:$case->{id}}:$_" } "line:$case->{line}", "rec:$case->{line}", "op:$case->{line}", 'lines', 'pending', 'ops');
        $paid->redis->cli('HSET', "lines:{w:$case->{id}}:t", 'email_paid', 0);
        $sandbox->pay($case->{invoice});
    },
);

# the deed that is killed, what is done once more afterwards (by a client, or by billing), and how it must end
my %flows = (
    create => {
        from => 'nothing',
        act  => sub ($case) { $paid->request($case->{key}, headers => {'Idempotency-Key' => $case->{id}}) },
        again => sub ($case) { },
        end  => sub ($case) {
            my @lines = @{scalar $paid->redis->cli('ZRANGE', "lines:{w:$case->{id}}:lines", 0, -1)};
            return 1 if !@lines && $case->{point} eq 'create.begin.before';
            return @lines == 1 && ($paid->operation($case->{id}, $lines[0])->{step} // '') eq 'await';
        },
        points => ['create.begin.before', 'create.begin.after', points('request.send', calls => 1, writes => 1)],
    },
    pay => {
        from  => 'paid',
        act   => sub ($case) { paid_event($case) },
        again => sub ($case) { paid_event($case) },
        end   => sub ($case) { ends($case, 'provisioning', 'paid') && done($case) },
        points => ['webhook.before', 'event.news.after', points('request.await', calls => 1, writes => 1), points('request.tell', calls => 1, writes => 1, claim => 0)],
    },
    cancel => {
        from  => 'pending',
        act   => sub ($case) { $paid->action($case->{key}, $case->{line}, 'cancel') },
        again => sub ($case) { $paid->action($case->{key}, $case->{line}, 'cancel') if $case->{point} eq 'cancel.begin.before' },
        end   => sub ($case) { ends($case, 'canceled', 'failed') && done($case) },
        points => ['cancel.begin.before', 'cancel.begin.after', points('request.await', calls => 3, writes => 1)],
    },
    late => {
        from  => 'paid',
        act   => sub ($case) { $paid->action($case->{key}, $case->{line}, 'cancel') },
        again => sub ($case) { },
        end   => sub ($case) { ends($case, 'provisioning', 'paid') && done($case) },
        points => [points('request.await', calls => 1, writes => 1)],
    },
    link => {
        from  => 'void',
        act   => sub ($case) { $paid->action($case->{key}, $case->{line}, 'payment_link') },
        again => sub ($case) { },
        end   => sub ($case) { $paid->record($case->{id}, $case->{line})->{status} =~ /^(?:awaiting_payment|canceled)$/ },
        points => [points('request.await', calls => 2, writes => 1), points('request.send', calls => 1, writes => 1)],
    },
    promote => {
        from  => 'grown',
        act   => sub ($case) { $paid->action($case->{key}, $case->{line}, 'payment_link') },
        again => sub ($case) { $paid->action($case->{key}, $case->{line}, 'payment_link') if $case->{point} =~ /claim|call.before.request.await:1|answer.request.await:1/ },
        end   => sub ($case) {
            my %places = @{scalar $paid->redis->cli('HGETALL', "lines:{w:$case->{id}}:t")};
            return ends($case, 'provisioning', 'paid') && done($case) && $paid->record($case->{id}, $case->{line})->{place} eq 'included'
              && "$places{phone_included} $places{phone_paid}" eq '1 0' && !grep { ($_->{invoice} // '') eq $case->{invoice} && $_->{type} =~ /charge|refund/ } $sandbox->ledger;
        },
        points => [points('request.await', calls => 3, writes => 2), 'op.write.after.request.await:3', points('request.tell', calls => 1, writes => 1, claim => 0)],
    },
    fail => {
        from  => 'renewed',
        act   => sub ($case) { $nginx->admin(POST => "lines/$case->{line}/status", {status => 'failed'}) },
        again => sub ($case) { $nginx->admin(POST => "lines/$case->{line}/status", {status => 'failed'}) },
        end   => sub ($case) { ends($case, 'failed', 'refunded') },
        points => [points('refund.cancel', calls => 6, writes => 5)],
    },
    release => {
        from  => 'active',
        act   => sub ($case) { $nginx->admin(POST => "lines/$case->{line}/release", {}) },
        again => sub ($case) { },
        end   => sub ($case) { ends($case, 'active', 'paid') && $paid->record($case->{id}, $case->{line})->{released} },
        points => [points('release.cancel', calls => 1, writes => 1)],
    },
    lapse => {
        from  => 'lapsed',
        act   => sub ($case) { subscription_event($case->{subscription}) },
        again => sub ($case) { subscription_event($case->{subscription}) },
        end   => sub ($case) { $paid->record($case->{id}, $case->{line})->{lapsed} },
        points => ['webhook.before', points('lapse.read', calls => 1, writes => 1)],
    },
    plan => {
        from  => 'ended',
        act   => sub ($case) { subscription_event($case->{base}) },
        again => sub ($case) { subscription_event($case->{base}) if $case->{answer}->status != 200 },
        end   => sub ($case) { $paid->redis->cli('HGET', "lines:{w:$case->{id}}:t", 'subscription') eq 'canceled' && ends($case, 'canceled', 'failed') },
        points => [points('plan.read', calls => 1, writes => 1), points('request.await', calls => 3, writes => 1)],
    },
    orphan => {
        from  => 'lost',
        act   => sub ($case) { paid_event($case) },
        again => sub ($case) { paid_event($case) if $case->{answer}->status != 200 },
        end   => sub ($case) { grep { $_->{type} eq 'refund' && $_->{invoice} eq $case->{invoice} } $sandbox->ledger },
        points => [points('orphan.cancel', calls => 4, writes => 3)],
    },
);

# the points of a step: its claim, both sides of each call and answer, both sides of each write
sub points ($step, %counts) {
    my @points = ($counts{claim} // 1) ? "op.claim.after.$step" : ();
    push @points, map { ("op.call.before.$step:$_", "op.answer.$step:$_") } 1 .. $counts{calls};
    push @points, map { ("op.write.before.$step:$_", "op.write.after.$step:$_") } 1 .. $counts{writes};
    return @points;
}

sub ends ($case, $status, $payment) {
    my $h = $paid->record($case->{id}, $case->{line});
    return $h->{status} eq $status && $h->{payment} eq $payment;
}

sub done ($case) { ($paid->operation($case->{id}, $case->{line})->{step} // '') eq 'done' }

# under a sanitizer every second one, another half each day; LINES_CRASH=all for all of them
my $half = int(time / 86400) % 2;
my @cases;

for my $name (sort keys %flows) {
    for my $point (@{$flows{$name}{points}}) {
        next if ($ENV{LINES_CRASH} // '') ne 'all' && $ENV{LINES_PRELOAD} && ($n + $half) % 2 && ++$n;
        my $id = "c" . ++$n;
        push @cases, {flow => $name, point => $point, id => $id, before => \%prepare, key => $paid->workspace($id)};
    }
}

for my $case (@cases) {
    $prepare{$flows{$case->{flow}}{from}}->($case);
}

diag scalar(@cases) . ' crashes';

my $http = $nginx->http;

for my $case (@cases) {
    $nginx->http("$http\nlines_failpoint $case->{point};\n")->reload(wait_old => 1);

    my ($pid)  = $nginx->pids;
    $case->{answer} = $flows{$case->{flow}}{act}->($case);

    # what has no client is killed a moment later
    $case->{killed} = eval {
        wait_for(sub { $nginx->error_log =~ /worker process $pid exited on signal 9/ }, 30, 'the kill');
    };
    ok $case->{killed}, "$case->{flow}: killed at $case->{point}";
    wait_for(sub { my ($now) = $nginx->pids; $now && $now != $pid }, 30, 'another worker') if $case->{killed};
}

# billing and Redis answer; the sweepers sweep
(my $swept = $http) =~ s/lines_operations [^;]+;/lines_operations $quick;/;
$nginx->http($swept)->reload(wait_old => 1);
$nginx->wait_redis;

# clients and billing say it again
$flows{$_->{flow}}{again}->($_) for @cases;

my $start = time;
my @left  = @cases;

eval {
    wait_for(sub { @left = grep { !$flows{$_->{flow}}{end}->($_) } @left; !@left }, 60, 'all to end');
};

for my $case (@left) {
    fail "$case->{flow} killed at $case->{point} ends as it must";
    diag explain {
        answer => $case->{answer}->to_string,
        line   => $case->{line} && $paid->record($case->{id}, $case->{line}),
        operations => {map { ($_ => $paid->operation($case->{id}, $_)) } @{scalar $paid->redis->cli('SMEMBERS', "lines:{w:$case->{id}}:ops")}},
    };
}

ok !@left, 'all ended as they must, in ' . (time - $start) . ' s';

$paid->agree('at most one live subscription a line; billing and lines agree; nothing is stuck');

$t->done;
