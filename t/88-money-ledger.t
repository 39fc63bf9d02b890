# Whatever way money came in, and whatever went back by whom: each invoice ends as its ledger says.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);
my $made    = 0;

$s->numbers(5);
$nginx->allow(qr/\[alert\].*is stuck: refund_failed/);

# a line whose customer is its own
sub line ($what, %card) {
    my $customer = 'cus_l' . ++$made;
    $sandbox->customer($customer, 'ok', 'default', $card{refunds} // 'succeeded');
    $sandbox->endow($customer, $card{balance}) if $card{balance};
    my $method = "${what}_line";
    return {%{$s->$method(workspace => {customer => $customer})}, customer => $customer};
}

sub stuck ($line) {
    return map {"$_->{kind} $_->{stuck}"} grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}

sub refunds_of ($line) { grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')} }

sub refund_ends ($line) {
    $s->soon(sub { ($s->now_of($line)->{payment} // '') eq 'refunded' }, 'its refund ends');
    $s->rest($line->{tenant});
}

sub balance_of ($line) { $sandbox->call(GET => "/v1/customers/$line->{customer}")->json('/balance') }

sub notes_of ($line) { @{$sandbox->call(GET => '/v1/credit_notes', {invoice => $line->{invoice}})->json('/data')} }

promise "paid from the customer's balance, then failed: it is there again" => sub {
    my $line = line(pending => balance => 900);
    $s->soon(sub { $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status') eq 'paid' }, 'it is paid') or $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    is balance_of($line), 0, 'it was taken of the balance';
    $s->report($line, 'failed');
    refund_ends($line);
    is balance_of($line), -900, 'all of it is back';
    is_deeply [$s->money($line->{subscription})], [0, 900, 'canceled'], '... and nothing else';
};

promise 'paid in part from the balance: each goes back where it came from' => sub {
    my $line = line(pending => balance => 400);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->report($line, 'failed');
    refund_ends($line);
    is balance_of($line), -400, 'to the balance';
    is_deeply [map { $_->{amount} } refunds_of($line)], [500], 'to the card';
    is scalar(notes_of($line)), 1, 'by one credit note';
};

promise 'paid outside of billing, then failed: so it is noted, and no card is refunded' => sub {
    my $line = line('pending');
    $sandbox->pay_outside($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->report($line, 'failed');
    refund_ends($line);
    is_deeply [map { [@$_{qw(out_of_band_amount post_payment_amount)}] } notes_of($line)], [[900, 900]], 'a note of it';
    is scalar(refunds_of($line)), 0, 'no refund';
};

promise 'paid by two payments: both go back' => sub {
    my $line = line('pending');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->report($line, 'failed');
    refund_ends($line);
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'all of it, once';
};

promise 'reduced by a credit note before it was paid: what was paid goes back' => sub {
    my $line = line('pending');
    $sandbox->credit($line->{invoice}, amount => 200);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->report($line, 'failed');
    refund_ends($line);
    is_deeply [$s->money($line->{subscription})], [700, 700, 'canceled'], 'and no more';
};

promise 'nothing to pay: a credit note over all before; nothing goes back' => sub {
    my $line = line('pending');
    $sandbox->credit($line->{invoice}, amount => 900);
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->report($line, 'failed');
    refund_ends($line);
    is_deeply [$s->money($line->{subscription})], [0, 0, 'canceled'], 'of nothing';
};

promise 'a refund that fails later is listed for people, and never made again by itself' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->report($line, 'failed');
    refund_ends($line);
    my ($refund) = refunds_of($line);
    is $refund->{status}, 'pending', 'it is under way';
    is_deeply [stuck($line)], [], 'nothing to look at';

    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { $_ eq 'refund refund_failed' } stuck($line) }, 'it is listed, by its event');
    $sandbox->wait_idle;
    is scalar(refunds_of($line)), 1, 'it is not made again';

    my $again = $sandbox->refund($line->{invoice});
    $sandbox->settle($again->{id} => 'succeeded');
    $s->soon(sub { !stuck($line) }, 'somebody has made up for it: it is done', 12);
    is scalar(refunds_of($line)), 2, '... once';
};

promise 'a refund by hand that fails is nothing to those who have their line' => sub {
    my $line   = line(active => refunds => 'pending');
    my $refund = $sandbox->refund($line->{invoice}, 100);
    $sandbox->settle($refund->{id} => 'failed');
    $sandbox->wait_idle;
    $s->rest($line->{tenant});
    is_deeply [stuck($line)], [], 'nothing to look at';
    ok $s->is_live($line), 'the line is there';
    is +($s->money($line->{subscription}))[2], 'active', 'and its subscription';
};

for my $kind (qw(active bought)) {
    promise "a bank takes back what was paid: the $kind line ends, and is charged no more" => sub {
        my $line    = $kind eq 'bought' ? $s->bought_line : line('active');
        my $dispute = $sandbox->dispute($line->{invoice});
        $s->soon(sub { !$s->is_live($line) }, 'there is no line');
        $s->rest($line->{tenant});
        is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], 'nothing else goes back';
        $sandbox->judge($dispute->{id} => 'lost');
        $sandbox->wait_idle;
        $s->rest($line->{tenant});
        is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], '... nor when it is lost';
        is_deeply [stuck($line)], [], 'nobody needs to look';
    };
}

promise 'a bank that only asks ends nothing' => sub {
    my $line = line('active');
    $sandbox->dispute($line->{invoice}, status => 'warning_needs_response');
    $sandbox->wait_idle;
    $s->rest($line->{tenant});
    ok $s->is_live($line), 'the line is there';
    is +($s->money($line->{subscription}))[2], 'active', 'and paid for';
};

promise 'disputed before it was ready, then failed: nothing is given back twice' => sub {
    my $line = line('paid');
    $sandbox->dispute($line->{invoice});
    $s->soon(sub { !$s->is_live($line) }, 'there is no line');
    $s->rest($line->{tenant});
    $s->report($line, 'failed');
    $s->rest($line->{tenant});
    is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], 'the bank has it';
    is_deeply [stuck($line)], [], 'nobody needs to look';
};

promise 'what is told of a payment that is not ours is nothing to us' => sub {
    my $other = $sandbox->adopt(customer => 'cus_card', price => 'price_agent');
    my $bill  = $sandbox->renew($other->{id});
    $sandbox->dispute($bill->{id});
    $sandbox->wait_idle;
    is $sandbox->call(GET => "/v1/subscriptions/$other->{id}")->json('/status'), 'active', 'it goes on';
};

unlike $nginx->error_log, qr/not with what was asked for/, "what billing answered was understood, each time";

$t->done;
