# The auditor on what has ended, and on what people have settled: what nobody knows to be due any more it finds, and what was kept
# rightly it leaves alone.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA ();
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=10ms pass=200ms');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(server => 'location = /metrics { lines_metrics; }');
my $audit   = Test::Lines::Audit->new(scenario => $s);

$s->numbers(20);

# billing tells whole seconds: what is of the second in which the database was made may be older than it
wait_for(sub { my $born = $redis->cli('HGET', 'lines:{database}', 'born'); $born && $redis->client->time->[0] > $born / 1000 }, 10, 'a later second');

promise 'what no line holds was canceled, and Redis forgot the operation that was to give it back: it is found once more' => sub {
    my $then  = $s->remember;
    my @lines = ($s->bought_line, $s->paid_line);
    my @later = map { $sandbox->renew($_->{subscription}) } @lines;
    $s->rest($_->{tenant}) for @lines;
    $s->deaf;
    $s->hand(refund => $later[0]{id});
    $s->hand(cancel => $_->{subscription}) for @lines;
    $s->forget_since($then);
    for my $line (@lines) {
        $audit->shows(orphan => $line->{line}, 'repaired', qr/^no such line$/, qr/^canceled$/);
        $audit->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'all of it went back, what was renewed, too');
    }
    $audit->whole_pass;
    my $once = $audit->counted('orphan');

    # as a day later
    my %named = map { ($_->{line} => "lines:{$_->{tenant}}:op:" . substr(Digest::SHA::sha256_hex("orphan:$_->{subscription}"), 0, 24)) } @lines;
    for (values %named) { ok $redis->cli('DEL', $_), 'its operation was there' }
    my $deleted = () = $sandbox->requests('DELETE');
    $audit->whole_pass for 1 .. 2;
    is $audit->counted('orphan'), $once, 'where nothing is due nothing is found';
    is scalar(() = $sandbox->requests('DELETE')), $deleted, '... or begun';
    $s->hears;
};

promise 'what was kept rightly: of a tenant that was deleted, of a line that was released' => sub {
    my $once  = $audit->counted('orphan');
    my @lines = ($s->active_line, $s->bought_line, $s->active_line);
    $s->rest($_->{tenant}) for @lines;
    $s->release($_) for @lines;
    $s->rest($_->{tenant}) for @lines;

    # billing tells whole seconds: what was paid in that of the deletion may have been paid since
    my $until = time + 1;
    wait_for(sub { time > $until }, 10, 'a later second');
    $s->remove($_) for @lines[0, 1];
    is_deeply [map { ($s->money($_->{subscription}))[2] } @lines], [('canceled') x 3], 'they have ended';
    $audit->whole_pass for 1 .. 2;
    is $audit->counted('orphan'), $once, 'nothing is found';
    is_deeply [map { ($s->money($_->{subscription}))[1] } @lines], [0, 0, 0], '... nor given back';
};

promise 'a refund failed, and a person has settled it: it is not begun again' => sub {
    my $then = $s->remember;
    my $line = $s->bought_line;
    $s->forget_since($then);
    $audit->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'it was refunded');
    $s->rest($line->{tenant});
    my ($refund) = grep { ($_->{metadata}{tenant} // '') eq $line->{tenant} } @{$sandbox->call(GET => '/v1/refunds?limit=20')->json('/data')};
    $sandbox->settle($refund->{id} => 'failed');
    $nginx->allow(qr/refund_failed/);
    my $op;
    $audit->soon(sub { ($op) = grep { ($_->{subscription} // '') eq $line->{subscription} } @{$nginx->admin(GET => 'operations?state=stuck')->json->{operations}} }, 'it is stuck');
    wait_for(sub { $nginx->admin(POST => "operations/$op->{id}/resolve", {as => 'settled', note => 'by transfer'})->status == 200 }, 15, 'a person to say so');
    $s->rest($line->{tenant});
    my $once = $audit->counted('orphan');
    my $fence = sub { $s->op($line->{tenant}, $op->{id})->{fence} };
    my $was = $fence->();
    $audit->whole_pass for 1 .. 2;
    is $audit->counted('orphan'), $once, 'nothing is found';
    is $fence->(), $was, '... and it rests in peace';
};

# whatever its own request is at
for my $step (qw(done tell)) {
    promise "what was paid since a line ended went back, that refund fails, and nobody tells: it is due again, once; its request: $step" => sub {
        my $customer = "cus_since_$step";
        $sandbox->customer($customer, 'ok', 'default', 'pending');
        my $line = $s->active_line(workspace => {customer => $customer});
        my $open = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
        $sandbox->fault(path => '/v1/invoices/:id/void', method => 'POST', kind => 'drop_before', times => 1000);
        $s->release($line);
        my $until = time + 1;
        wait_for(sub { time > $until }, 10, 'a later second');
        $sandbox->pay($open);
        $sandbox->clear_faults;
        $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}, $open); $paid && $paid == $back }, 'it goes back');
        $s->rest($line->{tenant});

        # what people gave back of what was kept is theirs, should it fail
        my $kept = $sandbox->refund($line->{invoice}, 100);
        $sandbox->wait_idle;
        $s->deaf;
        my ($refund) = grep { ($_->{metadata}{tenant} // '') eq $line->{tenant} } @{$sandbox->call(GET => '/v1/refunds?limit=20')->json('/data')};
        $sandbox->settle($kept->{id} => 'failed');
        my $before = $audit->counted('released');
        $redis->cli('HSET', "lines:{$line->{tenant}}:op:$line->{line}", step => $step);
        $audit->whole_pass;
        is $audit->counted('released'), $before, 'nothing is due';
        $sandbox->settle($refund->{id} => 'failed');
        $nginx->allow(qr/refund_failed/);
        my $op;
        $audit->soon(sub { ($op) = grep { ($_->{subscription} // '') eq $line->{subscription} } @{$nginx->admin(GET => 'operations?state=stuck')->json->{operations}} }, 'a person is asked');
        is $op->{stuck}, 'refund_failed', '... as it failed';
        wait_for(sub { $nginx->admin(POST => "operations/$op->{id}/resolve", {as => 'settled', note => 'by transfer'})->status == 200 }, 15, 'a person to say so');
        $s->rest($line->{tenant});
        my $once = $audit->counted('released');
        $audit->whole_pass for 1 .. 2;
        is $audit->counted('released'), $once, 'nothing more is found';
        $redis->cli('HSET', "lines:{$line->{tenant}}:op:$line->{line}", step => 'done');
        $s->hears;
    };
}

promise 'what a person ended by word, as it could not be read, stays ended' => sub {
    my $then = $s->remember;
    my $line = $s->bought_line;
    $s->deaf;
    $nginx->allow(qr/invoices|invoices_refused/);
    $sandbox->fault(path => '/v1/invoices', method => 'GET', kind => '400', times => 100_000);
    $s->forget_since($then);
    my $op;
    $audit->soon(sub { ($op) = grep { ($_->{subscription} // '') eq $line->{subscription} } @{$nginx->admin(GET => 'operations?state=stuck')->json->{operations}} }, 'it is stuck');
    wait_for(sub { $nginx->admin(POST => "operations/$op->{id}/resolve", {as => 'settled', note => 'by transfer'})->status == 200 }, 15, 'a person to say so');
    $s->soon(sub { $s->op($line->{tenant}, $op->{id})->{step} eq 'done' }, 'it has ended', 15);
    $sandbox->clear_faults;
    $audit->whole_pass for 1 .. 2;
    is +($s->money($line->{subscription}))[1], 0, 'nothing goes back by itself';
    is $s->op($line->{tenant}, $op->{id})->{step}, 'done', 'and it is not begun again';
    $s->hears;
};

promise 'billing\'s clock is ahead, and a refund by hand fails of what a line was bought with, that was released: that is theirs' => sub {
    my $once = $audit->counted('released');
    $sandbox->advance(30);
    $sandbox->customer('cus_ahead', 'ok', 'default', 'pending');
    my $line = $s->active_line(workspace => {customer => 'cus_ahead'});
    $s->release($line);
    $s->rest($line->{tenant});
    my $refund = $sandbox->refund($line->{invoice}, 100);
    $s->deaf;
    $sandbox->settle($refund->{id} => 'failed');
    $audit->whole_pass for 1 .. 2;
    is $audit->counted('released'), $once, 'nothing is found';
    $s->hears;
};

promise '... and the same of one whose tenant is gone' => sub {
    $sandbox->advance(30);
    $sandbox->customer('cus_gone', 'ok', 'default', 'pending');
    my $line = $s->active_line(workspace => {customer => 'cus_gone'});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->remove($line);
    my $refund = $sandbox->refund($line->{invoice}, 100);
    $s->deaf;
    $sandbox->settle($refund->{id} => 'failed');
    my $once = $audit->counted('orphan');
    $audit->whole_pass for 1 .. 2;
    is $audit->counted('orphan'), $once, 'nothing is found';
    is +($s->money($line->{subscription}))[1], 100, '... and no more went back';
    $s->hears;
};

$t->done;
