# What is paid around the end of a line, by clocks that differ: of billing, ahead of Redis', and behind it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);
use Test::Lines::Unit qw(make_unit);

my $t = Test::Lines->new;

# by one clock; billing's is ahead; Redis' is ahead
my $one    = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'same'));
my $ahead  = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'ahead'), operations => $one->operations . ' audit=10ms pass=200ms');
my $clock  = make_unit('t/sim', 0, 'clock') . '/clock.so';
my $behind = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'behind'), operations => $one->operations . ' audit=10ms pass=200ms',
    redis => $t->redis(env => {LD_PRELOAD => $clock, LINES_SIM_AHEAD => 300}));

for my $s ($one, $ahead, $behind) {
    $s->nginx(server => 'location = /metrics { lines_metrics; }')->allow(qr/cancel is refused|cancel_refused/, qr/\[alert\].*(?:is stuck: (?:refund_failed|cancel_refused))/);
}

$ahead->sandbox->advance(30);

# a database that is old enough: what was paid before it was born is only shown
$behind->redis->cli('HINCRBY', 'lines:{database}', born => -3_600_000);

sub gives_back ($s, $line) { return $s->op($line->{tenant}, substr sha256_hex("refund:$line->{line}"), 0, 24) }

sub back ($s, $line, $invoice) { return ($s->money($line->{subscription}, $invoice))[1] }

sub stuck ($s, $line) {
    return map { $_->{stuck} } grep { $_->{tenant} eq $line->{tenant} } @{$s->first->admin(GET => 'operations?state=stuck')->json('/operations')};
}

# by the clocks of this machine, a later second
sub later () { my $now = time; wait_for(sub { time > $now + 1 }, 5, 'a later second') }

promise 'an old draft is finalized once the line was released, a part of it is paid, and support voids it: the part goes back' => sub {
    my $line = $one->active_line;
    my $late = $one->sandbox->bill($line->{subscription}, draft => 1)->{id};
    $one->rest($line->{tenant});
    $one->release($line);
    $one->rest($line->{tenant});
    later;
    $one->sandbox->finalize($late);
    $one->sandbox->pay($late, 'ok', 400);
    $one->sandbox->void($late);
    $one->rest($line->{tenant});
    $one->soon(sub { back($one, $line, $late) == 400 }, 'it goes back');
};

promise "billing's clock is ahead, and support cancels the subscription: a renewal of before that stays paid" => sub {
    my $line = $ahead->active_line;
    my $more = $ahead->sandbox->renew($line->{subscription})->{id};
    $ahead->rest($line->{tenant});
    later;
    $ahead->hand(cancel => $line->{subscription});
    $ahead->soon(sub { $ahead->now_of($line)->{ended} }, 'the line ends');
    $ahead->rest($line->{tenant});
    is back($ahead, $line, $more), 0, 'it stays paid' or diag explain gives_back($ahead, $line);
};

promise "... and where a bank takes back what it was bought with" => sub {
    my $line = $ahead->active_line;
    my $more = $ahead->sandbox->renew($line->{subscription})->{id};
    $ahead->rest($line->{tenant});
    later;
    $ahead->sandbox->dispute($line->{invoice});
    $ahead->soon(sub { $ahead->now_of($line)->{ended} }, 'the line ends');
    $ahead->rest($line->{tenant});
    is back($ahead, $line, $more), 0, 'it stays paid' or diag explain gives_back($ahead, $line);
};

promise "... and a refund by hand of a renewal of before a release fails: that is theirs, and the auditor finds nothing" => sub {
    my $audit = Test::Lines::Audit->new(scenario => $ahead);
    $ahead->sandbox->customer('cus_slow', 'ok', 'default', 'pending');
    my $line = $ahead->active_line(workspace => {customer => 'cus_slow'});
    my $more = $ahead->sandbox->renew($line->{subscription})->{id};
    $ahead->rest($line->{tenant});
    later;
    $ahead->release($line);
    $ahead->rest($line->{tenant});
    is back($ahead, $line, $more), 0, 'it stays paid';
    my $refund = $ahead->sandbox->refund($more, 100);
    $ahead->deaf;
    $ahead->sandbox->settle($refund->{id} => 'failed');
    my $once = $audit->counted('released');
    $audit->whole_pass for 1 .. 3;
    is $audit->counted('released'), $once, 'nothing is found, and repaired in vain';
    $ahead->hears;
};

promise "Redis' clock is ahead of billing's, and the cancel of a release comes late: what was paid meanwhile goes back" => sub {
    my $line = $behind->active_line;
    my $open = $behind->sandbox->bill($line->{subscription})->{id};
    $behind->rest($line->{tenant});
    $behind->sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $behind->release($line);
    later;
    $behind->sandbox->pay($open);
    later;
    $behind->sandbox->clear_faults;
    $behind->rest($line->{tenant});
    my ($paid, $back) = $behind->money($line->{subscription}, $open);
    is $back, $paid, 'it goes back' or diag explain gives_back($behind, $line);
};

promise "... and what was paid since went back, that refund fails, and no event says so: the auditor finds it" => sub {
    my $audit = Test::Lines::Audit->new(scenario => $behind);
    $behind->sandbox->customer('cus_slow', 'ok', 'default', 'pending');
    my $line = $behind->active_line(workspace => {customer => 'cus_slow'});
    my $open = $behind->sandbox->bill($line->{subscription})->{id};
    $behind->sandbox->fault(path => '/v1/invoices/:id/void', method => 'POST', kind => 'drop_before', times => 1000);
    $behind->release($line);
    later;
    $behind->sandbox->pay($open);
    $behind->sandbox->clear_faults;
    $behind->rest($line->{tenant});
    is back($behind, $line, $open), 900, 'it went back';
    $behind->deaf;
    my ($refund) = grep { ($_->{metadata}{tenant} // '') eq $line->{tenant} } @{$behind->sandbox->call(GET => '/v1/refunds?limit=20')->json('/data')};
    $behind->sandbox->settle($refund->{id} => 'failed');
    $audit->whole_pass for 1 .. 3;
    $behind->soon(sub { grep { $_ eq 'refund_failed' } stuck($behind, $line) }, 'a person is asked');
    $behind->hears;
}, leaves => 1;

# what a person says of a release whose cancel is refused: nothing more goes back
sub settled ($s, $line) {
    $s->soon(sub { grep { $_ eq 'cancel_refused' } stuck($s, $line) }, 'it is stuck');
    my $id = substr sha256_hex("refund:$line->{line}"), 0, 24;
    wait_for(sub { $s->first->admin(POST => "operations/$id/resolve", {as => 'settled', note => 'by hand'})->status == 200 }, 15, 'a person to say so');
    $s->soon(sub { gives_back($s, $line)->{step} eq 'done' }, '... and it ends');
}

promise "Redis' clock is ahead of billing's, a person has settled a release, and an open invoice is paid after that: it goes back" => sub {
    my $line = $behind->active_line;
    my $open = $behind->sandbox->bill($line->{subscription})->{id};
    $behind->rest($line->{tenant});
    $behind->sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '400', times => 100_000);
    $behind->release($line);
    settled($behind, $line);
    later;
    $behind->sandbox->pay($open);
    later;
    $behind->sandbox->clear_faults;
    $behind->rest($line->{tenant});
    my ($paid, $back) = $behind->money($line->{subscription}, $open);
    is $back, $paid, 'it goes back' or diag explain gives_back($behind, $line);
};

promise "billing's clock is ahead, and a person has settled what was paid since the line was released: that does not go back once more" => sub {
    my $line = $ahead->active_line;
    my $open = $ahead->sandbox->bill($line->{subscription})->{id};
    $ahead->rest($line->{tenant});
    $ahead->sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '400', times => 100_000);
    $ahead->release($line);
    later;
    $ahead->sandbox->pay($open);
    later;
    settled($ahead, $line);
    $ahead->sandbox->clear_faults;
    $ahead->told_again({%$line, invoice => $open});
    $ahead->rest($line->{tenant});
    is back($ahead, $line, $open), 0, 'nothing goes back' or diag explain gives_back($ahead, $line);
};

$t->done;
