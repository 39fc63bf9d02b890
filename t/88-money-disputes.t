# What banks take back, and give again; and what a line says of its payment while that changes.
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

$s->numbers(9);
$nginx->allow(qr/\[alert\].*is stuck: refund_failed/);

sub line ($what, %its) {
    my $customer = 'cus_dispute' . ++$made;
    $sandbox->customer($customer, 'ok', 'default', $its{refunds} // 'succeeded');
    $sandbox->endow($customer, $its{balance}) if $its{balance};
    my $method = "${what}_line";
    return {%{$s->$method(workspace => {customer => $customer})}, customer => $customer};
}

sub stuck ($line) {
    return map {"$_->{kind} $_->{stuck}"} grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}

sub payment ($line) { $s->now_of($line)->{payment} // '' }

sub money_is ($line, $back, $what) {
    $s->soon(sub { ($s->money($line->{subscription}))[1] == $back }, $what) or diag explain [$s->money($line->{subscription})];
    $s->rest($line->{tenant});
    is_deeply [($s->money($line->{subscription}))[1, 2]], [$back, 'canceled'], '... and no more, once';
    is_deeply [stuck($line)], [], 'nobody needs to look';
}

# paid by two: 300, then 600
sub of_two_payments {
    my $line = line('pending');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    return $line;
}

sub won ($dispute) {
    $sandbox->judge($dispute->{id} => 'under_review');
    $sandbox->judge($dispute->{id} => 'won');
    $sandbox->wait_idle;
}

promise 'a bank takes one of two payments of a line that failed: the other goes back, and the first as well, once we have it again' => sub {
    my $line = of_two_payments();
    $sandbox->fault(path => '/v1/refunds', method => 'POST', kind => 'drop_before', times => 1000);
    $s->report($line, 'failed');
    $s->soon(sub { grep { $_->{refund_body} } map { $s->op($line->{tenant}, $_) } @{scalar $s->redis->cli('SMEMBERS', "lines:{$line->{tenant}}:ops")} }, 'it is written down');
    my $dispute;
    $s->between($line->{tenant}, sub { $dispute = $sandbox->dispute($line->{invoice}) });
    $sandbox->clear_faults;
    money_is($line, 900 - $dispute->{amount}, 'the rest goes back');
    is payment($line), 'refunded', 'that is said';
    won($dispute);
    money_is($line, 900, 'what we have again goes back');
    is payment($line), 'refunded', '... and is said again';
};

promise 'a bank takes one of two payments before the line failed: the other goes back' => sub {
    my $line    = of_two_payments();
    my $dispute = $sandbox->dispute($line->{invoice});
    $s->soon(sub { !$s->is_live($line) }, 'the line ends');
    $s->report($line, 'failed');
    money_is($line, 900 - $dispute->{amount}, 'the rest goes back');
};

promise 'a bank takes the card\'s part, the other was of the balance: it is there again' => sub {
    my $line = line(pending => balance => 400);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $sandbox->dispute($line->{invoice});
    $s->soon(sub { !$s->is_live($line) }, 'the line ends');
    $s->report($line, 'failed');
    money_is($line, 400, 'the rest goes back');
    is $sandbox->call(GET => "/v1/customers/$line->{customer}")->json('/balance'), -400, '... to the balance';
};

promise 'billing does not show of which invoice a dispute is: its event has to come again' => sub {
    my $line = line('active');
    my $dispute;
    $sandbox->fault(path => '/v1/invoices/:id', method => 'GET', kind => '400', times => 100_000);
    $s->unseen(sub { $dispute = $sandbox->dispute($line->{invoice}) });
    my $answer = $s->event('charge.dispute.created', $dispute);
    is $answer->status, 503, 'it is not taken' or diag $answer->to_string;
    like $answer->header('Retry-After') // '', qr/^[1-9]\d*$/, 'with Retry-After';
    ok $s->is_live($line), 'the line is there';
    $sandbox->clear_faults;
    is $s->event('charge.dispute.created', $dispute)->status, 200, 'it is taken';
    $s->soon(sub { !$s->is_live($line) }, 'the line ends');
};

promise 'a line that ended because of a dispute that we win: it stays ended, and nothing is given back' => sub {
    my $line    = line('active');
    my $dispute = $sandbox->dispute($line->{invoice});
    $s->soon(sub { !$s->is_live($line) }, 'the line ends');
    won($dispute);
    money_is($line, 0, 'it is ours');
    ok !$s->is_live($line), 'the line stays ended';
};

promise 'a line that failed, all of which a bank took, and we won: it goes back' => sub {
    my $line    = line('paid');
    my $dispute = $sandbox->dispute($line->{invoice});
    $s->soon(sub { !$s->is_live($line) }, 'the line ends');
    $s->report($line, 'failed');
    money_is($line, 0, 'the bank has it');
    won($dispute);
    money_is($line, 900, 'it goes back');
};

promise 'a line that was never there, all of which a bank took, and we won: it goes back' => sub {
    my $line = line('pending');
    $s->deaf;
    my $dispute;
    $s->unseen(sub { $sandbox->pay($line->{invoice}); $dispute = $sandbox->dispute($line->{invoice}) });
    $s->soon(sub { $s->now_of($line)->{status} eq 'failed' }, 'no line for nothing');
    $s->hears;
    won($dispute);
    money_is($line, 900, 'it goes back');
};

promise 'a line that failed, and its refund fails later: nobody reads that it was refunded, until it is' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->report($line, 'failed');
    $s->soon(sub { payment($line) eq 'refunded' }, 'its refund ends');
    my ($refund) = grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')};
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { $_ eq 'refund refund_failed' } stuck($line) }, 'it is listed');
    is payment($line), 'paid', 'and so it is said';
    is $s->shown($line)->{paymentStatus}, 'paid', '... to clients';
    my $again = $sandbox->refund($line->{invoice});
    $sandbox->settle($again->{id} => 'succeeded');
    $s->soon(sub { !stuck($line) }, 'somebody has made up for it: it is done', 12);
    is payment($line), 'refunded', '... and that is said';
};

promise 'a refund fails while the request of its line, which had failed, is still under way, since who held it died: it is listed' => sub {
    my $line = line(paid => refunds => 'pending');
    $s->report($line, 'failed');
    $s->soon(sub { payment($line) eq 'refunded' }, 'its refund ends');
    $s->rest($line->{tenant});
    my ($refund) = grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')};
    my ($now, $redis) = (time . '000', $s->redis);
    $redis->cli('HSET', "lines:{$line->{tenant}}:op:$line->{line}", step => 'tell', lease_until => $now + 2000);
    $redis->cli('SADD', "lines:{$line->{tenant}}:ops", $line->{line});
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { $_ eq 'refund refund_failed' } stuck($line) }, 'what failed is listed');
    is payment($line), 'paid', 'and so it is said';
    my $again = $sandbox->refund($line->{invoice});
    $sandbox->settle($again->{id} => 'succeeded');
    $s->soon(sub { !stuck($line) }, 'somebody has made up for it: it is done', 12);
};

$t->done;
