# A line that ended twice over: its money went back and the operator released it, or it lapsed before it was ready, and failed.  And
# of clocks that differ.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx;

$nginx->allow(qr/\[alert\].*is stuck: (?:refund_failed|subscription_refused)/);

sub gives_back ($line) { return $s->op($line->{tenant}, substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24) }

sub stuck ($line) {
    return map { $_->{stuck} } grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}

# reported active while its money was on its way back by hand: it ended with that
sub went_back () {
    state $n = 0;
    my $customer = 'cus_back' . ++$n;
    $told->set(status => 503);
    $sandbox->customer($customer, 'ok', 'default', 'pending');
    my $line = $s->pending_line(workspace => {customer => $customer});
    $sandbox->pay($line->{invoice});
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
    # who looked before would end with what it saw, and between the two let it fail: the report would come too late
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 100_000);
    wait_for(sub { stuck($line) }, 30, 'nobody to look');
    my $refund = $sandbox->refund($line->{invoice});
    $s->report($line, 'active');
    $sandbox->clear_faults;
    $s->soon(sub { $s->now_of($line)->{ended} }, 'the line has ended');
    $told->set(status => 200);
    $s->rest($line->{tenant});
    is $s->now_of($line)->{reason}, 'payment_refunded', '... as its money went back';
    return ($line, $refund);
}

promise 'its money went back, the operator releases it as well, and then that refund fails: it is due again' => sub {
    my ($line, $refund) = went_back();
    $s->release($line);
    $s->rest($line->{tenant});
    is scalar stuck($line), 0, 'nothing is due';
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { $_ eq 'refund_failed' } stuck($line) }, 'it is due again, and reported') or diag explain gives_back($line);
}, leaves => 1;    # that money is an operator's

promise 'the same while its release is under way' => sub {
    my ($line, $refund) = went_back();
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $s->release($line);
    wait_for(sub { (gives_back($line)->{tries} // 0) > 0 }, 20, 'a try');
    $sandbox->settle($refund->{id} => 'failed');
    $sandbox->wait_idle;
    $sandbox->clear_faults;
    $s->soon(sub { grep { $_ eq 'refund_failed' } stuck($line) }, 'it is due again, and reported') or diag explain gives_back($line);
}, leaves => 1;

# a node of a release before let it end so, without an end of its status
promise 'it lapsed before it was ready, what was paid since goes back, and meanwhile it fails: all that it cost goes back' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    my $open = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
    $s->deaf;
    $s->hand(cancel => $line->{subscription});
    my $now = ($redis->cli('TIME'))[0] * 1000;
    $redis->cli('HSET', $redis->line_key(@$line{qw(tenant line)}), lapsed => $now, ended => $now, reason => 'subscription_ended', place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", phone_paid => -1);
    $s->hears;
    wait_for(sub { time * 1000 > $now + 2000 }, 10, 'another second');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $sandbox->pay($open);
    $s->soon(sub { (gives_back($line)->{kind} // '') eq 'release' }, 'what was paid since goes back');
    wait_for(sub { (gives_back($line)->{tries} // 0) > 0 }, 20, 'a try');
    $s->report($line, 'failed');
    $sandbox->clear_faults;
    $s->rest($line->{tenant});
    my ($paid, $back) = $s->money($line->{subscription});
    is $back, $paid, 'all that it cost' or diag explain gives_back($line);
    is $s->now_of($line)->{payment}, 'refunded', '... and its client reads so';
};

# it said "released" alone, and had nothing to void
promise 'released by a release before, without an "ended", and an open invoice of it is paid: that goes back' => sub {
    my $line = $s->active_line;
    my $open = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
    $s->deaf;
    $s->hand(cancel => $line->{subscription});
    my $now = ($redis->cli('TIME'))[0] * 1000;
    $redis->cli('HSET', $redis->line_key(@$line{qw(tenant line)}), released => $now, active => 0, reason => 'released', place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", phone_paid => -1);
    $s->hears;
    wait_for(sub { time * 1000 > $now + 2000 }, 10, 'another second');
    $sandbox->pay($open);
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}, $open); $paid && $paid == $back }, 'it goes back');
    is +($s->money($line->{subscription}, $line->{invoice}))[1], 0, '... and no more';
};

promise 'paid for in the very second in which it was released, and its workspace is deleted: that stays paid, whoever tells it again' => sub {
    my $line = $s->active_line;
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $s->release($line);
    my $paid = $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status_transitions/paid_at');
    my $id   = substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24;
    $redis->cli('HSET', "lines:{$line->{tenant}}:op:$id", since => $paid);
    $redis->cli('HSET', $redis->line_key(@$line{qw(tenant line)}), released => $paid * 1000 + 900, ended => $paid * 1000 + 900);
    wait_for(sub { (gives_back($line)->{tries} // 0) > 0 }, 20, 'a try');
    $sandbox->clear_faults;
    $s->rest($line->{tenant});
    wait_for(sub { time > $paid + 1 }, 10, 'a later second');
    $s->remove($line);
    $s->told_again($line);
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [900, 0, 'canceled'], 'nothing goes back';
};

promise 'its own request cannot look at billing yet, it is released, and a refund of what came in since fails: that is heard of' => sub {
    my $customer = 'cus_untold';
    $told->set(status => 503);
    $sandbox->customer($customer, 'ok', 'default', 'pending');
    my $line = $s->pending_line(workspace => {customer => $customer});
    $sandbox->pay($line->{invoice});
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
    my $open = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 100_000);
    $sandbox->fault(path => '/v1/invoices/:id/void', method => 'POST', kind => 'drop_before', times => 1000);
    wait_for(sub { grep { $_ eq 'subscription_refused' } stuck($line) }, 30, 'nobody to look with what was seen before');
    $s->report($line, 'active');
    $s->release($line);
    my $until = time + 1;
    wait_for(sub { time > $until }, 10, 'a later second');
    $sandbox->pay($open);
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}, $open); $paid && $paid == $back }, 'what came in since goes back');
    $s->soon(sub { gives_back($line)->{step} eq 'done' }, 'its release has ended');
    is $s->op($line->{tenant}, $line->{line})->{step}, 'tell', 'its request has not';
    my ($refund) = grep { ($_->{metadata}{tenant} // '') eq $line->{tenant} } @{$sandbox->call(GET => '/v1/refunds?limit=20')->json('/data')};
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { $_ eq 'refund_failed' } stuck($line) }, 'a person is asked') or diag explain gives_back($line);
    $sandbox->clear_faults;
    $told->set(status => 200);
    $s->soon(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'done' }, 'its request ends');
}, leaves => 1;

promise 'a person has said what is true of a release, and says the same of it once it has begun again: that is heard, too' => sub {
    my $line = $s->active_line;
    my $id   = substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24;
    $nginx->allow(qr/cancel is refused/, qr/\[alert\].*is stuck: cancel_refused/);
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '400', times => 100_000);
    $s->release($line);
    for my $time ('at first', 'again') {
        $s->soon(sub { grep { $_ eq 'cancel_refused' } stuck($line) }, "$time: it is stuck");
        is_deeply [gives_back($line)->{resolved}], [undef], '... and nobody has said anything';
        my $word;
        wait_for(sub { ($word = $nginx->admin(POST => "operations/$id/resolve", {as => 'settled', note => 'by hand'}))->status != 503 }, 10, 'nobody to try it just now');
        is $word->status, 200, '... so he does' or diag $word->to_string;
        $s->soon(sub { gives_back($line)->{step} eq 'done' }, '... and it ends');
        $s->event('invoice.paid', $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json) if $time eq 'at first';
    }
    $sandbox->clear_faults;
}, leaves => 1;

promise 'billing\'s clock is ahead of Redis\': what was paid for a line while it was there stays paid' => sub {
    $sandbox->advance(30);
    my $line = $s->active_line;
    $s->release($line);
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [900, 0, 'canceled'], 'nothing goes back' or diag explain gives_back($line);
};

$t->done;
