# What people do by hand at billing counts as done: it is neither done again nor fought, and nobody gets a line that is not paid for.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;

$s->numbers(5);

# the operation that gives back what a failed line cost
sub refund_of ($line) {
    my ($id) = grep { $s->op($line->{tenant}, $_)->{kind} eq 'refund' } map {/:op:(.+)/} $s->redis->client->keys("lines:{$line->{tenant}}:op:*");
    return $s->op($line->{tenant}, $id // '');
}

sub fails_and_is_even ($line, $by_hand, %options) {
    my ($paid) = $s->money($line->{subscription});
    is +($s->money($line->{subscription}))[1], $by_hand // $paid, 'so much went back by hand';
    $s->report($line, 'failed');
    $s->soon(sub { refund_of($line)->{step} eq 'done' }, 'its refund ends', 4);
    is refund_of($line)->{stuck}, undef, '... and is not stuck';
    is_deeply [$s->money($line->{subscription})], [$paid, $paid, 'canceled'], 'all is given back, once';
    is $s->now_of($line)->{payment}, 'refunded', 'and the line says so';
}

promise 'credited by hand in full, then failed: nothing is left to give back' => sub {
    my $line = $s->paid_line;
    $s->hand(credit => $line->{invoice});
    fails_and_is_even($line, undef);
};

promise 'credited by hand in part, then failed: the rest goes back' => sub {
    my $line = $s->paid_line;
    $s->hand(credit => $line->{invoice}, 400);
    fails_and_is_even($line, 400);
};

promise "credited in part to the customer's balance, or past billing, then failed: the rest goes back" => sub {
    for my $where (qw(balance outside)) {
        $sandbox->customer("cus_$where");
        my $line = $s->paid_line(workspace => {customer => "cus_$where"});
        $s->hand($where => $line->{invoice}, 300);
        fails_and_is_even($line, 300);
    }
};

promise 'refunded by hand in full, then failed: nothing is left to give back' => sub {
    my $line = $s->paid_line;
    $s->hand(refund => $line->{invoice});
    fails_and_is_even($line, undef);
};

promise 'refunded by hand in part, then failed: the rest goes back' => sub {
    my $line = $s->paid_line;
    $s->hand(refund => $line->{invoice}, 400);
    fails_and_is_even($line, 400);
};

# billing takes effect at once and answers late: the worker is gone by then
sub killed_after_the_charge ($account) {
    my $token = $s->token($account);
    my $line  = {name => $account->{id}, tenant => "a:$account->{id}", account => $account, line => $s->operation_id($token)};
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 1500, times => 1);
    my $confirm = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { $s->made_for($line->{tenant}) && $s->bought($account) }, 30, 'the charge');
    $nginx->kill_worker;
    ($line->{subscription}, $line->{invoice}) = map { @$_{qw(subscription invoice)} } $s->bought($account);
    return $line;
}

sub no_line ($line) {
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'it ends', 12);
    ok !$s->is_live($line), 'there is no line';
    is $s->op($line->{tenant}, $line->{line})->{answer_status}, 500, 'and its client hears so';
    is $s->counts->{assigned}, 0, 'no number is taken';
    my ($paid, $back, $status) = $s->money($line->{subscription});
    is_deeply [$back, $status], [$paid, 'canceled'], 'nobody paid for it';
    is scalar(() = $s->made_for($line->{tenant})), 1, 'nothing else was bought';
}

promise 'killed after the charge; support cancels and refunds; the sweeper goes on: no line' => sub {
    my $line = killed_after_the_charge($s->account('killed'));
    $s->unseen(sub {
        $s->hand(cancel => $line->{subscription});
        $s->hand(refund => $line->{invoice});
    });
    no_line($line);
};

# without events only Idempotent-Replayed says that the answer is not what is so now
promise 'killed after the charge; support cancels and refunds; billing is not heard: no line' => sub {
    $s->deaf;
    my $line = killed_after_the_charge($s->account('unheard'));
    $s->unseen(sub {
        $s->hand(cancel => $line->{subscription});
        $s->hand(refund => $line->{invoice});
    });
    no_line($line);
    $s->hears;
};

promise 'killed after the charge; support credits it: no line' => sub {
    my $line = killed_after_the_charge($s->account('credited'));
    $s->unseen(sub {
        $s->hand(credit => $line->{invoice});
        $s->hand(cancel => $line->{subscription});
    });
    no_line($line);
};

promise 'canceled by support while it awaits its payment: nobody is asked to pay for what has ended' => sub {
    my $line = $s->pending_line;
    $s->hand(cancel => $line->{subscription});
    $sandbox->wait_idle;
    my $link = $s->action($line->{key}, $line->{line}, 'payment_link');
    like $link->status, qr/^(?:200|409)$/, 'another link, or none';
    return if $link->status == 409;
    my $invoice = $sandbox->call(GET => '/v1/invoices/' . $link->json('/invoiceId'))->json;
    my $behind  = $sandbox->call(GET => '/v1/subscriptions/' . $invoice->{parent}{subscription_details}{subscription})->json('/status');
    is $behind, 'incomplete', 'what is behind the link can still become active';
};

$t->done;
