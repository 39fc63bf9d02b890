# The subscription of a line ends while the line is on its way, at whichever of its steps: nobody gets an active line that is not paid for.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm once);

plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $ENV{LINES_MODULE_FAILPOINTS} && -e $ENV{LINES_MODULE_FAILPOINTS};

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(module => 'failpoints');
my $http    = $nginx->http;
my $n       = 0;

$s->numbers(9);
$nginx->allow(qr/exited on signal 9|is stuck: refund_failed/);

# a purchase that has begun, and what it has bought by the time that its worker is killed at a point, or the provisioner is away
sub begun ($point = undef) {
    my $account = $s->account('begun' . ++$n);
    my $token   = $s->token($account);
    my $line    = {name => $account->{id}, tenant => "a:$account->{id}", account => $account, line => $s->operation_id($token)};

    $nginx->http("$http\nlines_failpoint $point;\n")->reload(wait_old => 1) if $point;
    my $mark = $nginx->log_mark;
    my $ask  = sub { $s->confirm($account, $token, key => 'k') };
    $point ? once($ask) : $ask->();
    # killed before anything had begun
    once($ask) if $point && !$s->op($line->{tenant}, $line->{line})->{step};
    $nginx->wait_log(qr/failpoint "\Q$point\E"/, $mark) if $point;
    # another one's kill may have come before the purchase
    wait_for(sub { ($line->{subscription}, $line->{invoice}) = map { @$_{qw(subscription invoice)} } $s->bought($account) }, 30, 'the purchase');
    return $line;
}

# the purchase comes to an end that is none
sub no_line ($line) {
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'it comes to an end', 15);
    $s->rest($line->{tenant});
    $s->soon(sub { !$s->is_live($line) }, 'there is no line', 1.5);
    my ($paid, $back, $status) = $s->money($line->{subscription});
    is $status, 'canceled', '... of a subscription that has ended';
    # whose purchase was done before, since somebody else's kill had delayed ours, had the line until it was canceled by hand
    is $back, $paid, '... and what it cost goes back' if calm || !$s->now_of($line)->{status};
}

promise "confirm: the provisioner is down, the subscription is deleted, the provisioner comes back" => sub {
    $told->set(status => 503);
    my $line = begun();
    is $s->op($line->{tenant}, $line->{line})->{step}, 'tell', 'the provisioner is away';
    $s->hand(cancel => $line->{subscription});
    $sandbox->wait_idle;
    $told->set(status => 200);
    no_line($line);
};

$told->set(status => 200);

my %after = (charge => 'op.write.before.purchase.charge', assign => 'op.write.before.purchase.assign', confirm => 'op.write.before.purchase.end');

for my $step (sort keys %after) {
    promise "confirm: killed in \"$step\", the subscription is deleted meanwhile" => sub {
        my $line = begun($after{$step});
        $s->hand(cancel => $line->{subscription});
        no_line($line);
    };
}

promise 'confirm: refused by the provisioner and killed in the undo, the subscription is deleted meanwhile' => sub {
    $told->set(status => 422);
    my $line = begun('op.call.before.purchase.undo:charge');
    $s->hand(cancel => $line->{subscription});
    no_line($line);
    $told->set(status => 200);
};

# now the workspaces; who reports a line active has not heard of billing
sub never_active ($line) {
    $s->rest($line->{tenant});
    $nginx->admin(POST => "lines/$line->{line}/status", {status => 'active'});
    $s->soon(sub { !$s->is_live($line) }, 'there is no line', 1.5);
    is +($s->money($line->{subscription}))[2], 'canceled', '... of a subscription that has ended';
}

promise 'a request: the provisioner is down, the subscription is deleted, the provisioner comes back' => sub {
    $told->set(status => 503);
    my $line = $s->pending_line;
    $sandbox->pay($line->{invoice});
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
    $s->hand(cancel => $line->{subscription});
    $sandbox->wait_idle;
    $told->set(status => 200);
    never_active($line);
};

$told->set(status => 200);

promise 'a request: killed as it is settled, the subscription is deleted meanwhile' => sub {
    my $line = $s->pending_line;
    $nginx->http("$http\nlines_failpoint op.write.before.request.await;\n")->reload(wait_old => 1);
    my $mark = $nginx->log_mark;
    $s->deaf;
    $sandbox->pay($line->{invoice});
    once(sub { $s->told_again($line) });
    $nginx->wait_log(qr/failpoint "op.write.before.request.await"/, $mark);
    $s->hand(cancel => $line->{subscription});
    $s->hears;
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'it comes to an end');
    never_active($line);
};

promise 'a request: reported active while its money is on its way back by hand; the line ends with that, and then that refund fails' => sub {
    $told->set(status => 503);
    $sandbox->customer('cus_back', 'ok', 'default', 'pending');
    my $line = $s->pending_line(workspace => {customer => 'cus_back'});
    $sandbox->pay($line->{invoice});
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
    my $stuck = sub { grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} };

    # who looked before would end with what it saw, and between the two let it fail: the report would come too late
    $nginx->allow(qr/\[alert\].*is stuck: subscription_refused/);
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 100_000);
    wait_for($stuck, 30, 'nobody to look');
    my $refund = $sandbox->refund($line->{invoice});
    $s->report($line, 'active');
    $sandbox->clear_faults;
    $s->soon(sub { $s->now_of($line)->{ended} }, 'the line has ended');
    $told->set(status => 200);
    never_active($line);
    $s->rest($line->{tenant});
    is scalar $stuck->(), 0, 'nothing is due';
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { ($stuck->())[0] }, 'it is due again, and reported');
    is +($stuck->())[0]{stuck}, 'refund_failed', '... as what it is';
}, leaves => 1;    # that money is an operator's

promise 'a request: reported active with the reason of a line whose money went back; its renewal stays paid' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    is $nginx->admin(POST => "lines/$line->{line}/status", {status => 'active', reason => 'payment_refunded'})->status, 200, 'reported';
    $sandbox->renew($line->{subscription});
    $sandbox->wait_idle;
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [1800, 0, 'active'], 'nothing goes back, and its subscription lives';
};

promise 'a request that awaits payment: the subscription is deleted, then its invoice is paid' => sub {
    my $line = $s->pending_line;
    $s->hand(cancel => $line->{subscription});
    $sandbox->wait_idle;
    $sandbox->pay($line->{invoice});
    $s->rest($line->{tenant});
    never_active($line);
    my ($paid, $back) = $s->money($line->{subscription});
    is $back, $paid, 'and what was paid goes back';
};

$t->done;
