# What was to go back when its tenant was deleted is still due after that: a refund that fails then, or a dispute that is won, is seen
# to as ever. What a line had cost that was kept stays paid.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 422, json => {});
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);
my $made    = 0;

$s->numbers(5);
$nginx->allow(qr/is stuck/);

sub customer ($refunds = 'succeeded') {
    my $customer = 'cus_o' . ++$made;
    $sandbox->customer($customer, 'ok', 'default', $refunds);
    return $customer;
}

sub refunds_of ($line) { grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')} }
sub stuck      ($line) { grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

# an instant is told in seconds: what was paid lies before the deletion
sub removed ($line) {
    $s->rest($line->{tenant});
    my $until = time + 2;
    wait_for(sub { time > $until }, 10, 'another second');
    $s->remove($line);
}

# a line request that is paid, and refused by the provisioner
sub failed ($refunds = 'succeeded') {
    my $customer = customer($refunds);
    my $line     = {%{$s->pending_line(workspace => {customer => $customer})}, customer => $customer};
    $sandbox->pay($line->{invoice});
    $s->soon(sub { ($s->now_of($line)->{payment} // '') eq 'refunded' }, 'its refund ends');
    return $line;
}

# a purchase, likewise
sub undone {
    my $customer = customer('pending');
    my $name     = "owed$made";
    my $account  = $s->account($name, customer => $customer);
    my $token    = $s->token($account);
    my $id       = $s->operation_id($token);
    is $s->confirm($account, $token, key => 'k')->status, 500, 'it is undone';
    my $line = {name => $name, tenant => "a:$name", account => $account, line => $id, customer => $customer};
    $s->rest($line->{tenant});
    return {%$line, subscription => $s->op($line->{tenant}, $id)->{subscription}};
}

for my $what ('a line that failed', 'a purchase that was undone') {
    promise "$what: its refund fails once its tenant is deleted" => sub {
        my $line = $what =~ /line/ ? failed('pending') : undone();
        my ($refund) = refunds_of($line);
        removed($line);
        $sandbox->settle($refund->{id} => 'failed');
        my $op;
        $s->soon(sub { ($op) = stuck($line); $op }, 'it is stuck');
        is $op->{stuck}, 'refund_failed', '... for that' or return;
        is $op->{due}{amount}, $refund->{amount}, '... with all of it';
        is scalar(refunds_of($line)), 1, 'it is not made again';

        # as people do by hand
        $sandbox->customer($line->{customer}, 'ok', 'default', 'succeeded');
        $sandbox->refund($op->{due}{invoice});
        $nginx->admin(POST => "operations/$op->{id}/retry");
        $s->soon(sub { !stuck($line) }, 'until they have given it back');
        $s->rest($line->{tenant});
    };
}

promise 'a bank has what a line cost that failed: it is won once its tenant is deleted' => sub {
    my $customer = customer();
    my $line     = {%{$s->pending_line(workspace => {customer => $customer})}, customer => $customer};
    my $dispute;
    $s->unseen(sub { $sandbox->pay($line->{invoice}); $dispute = $sandbox->dispute($line->{invoice}) });
    $s->soon(sub { ($s->now_of($line)->{status} // '') eq 'failed' }, 'it fails');
    removed($line);
    is +($s->money($line->{subscription}))[1], 0, 'nothing could go back';
    $sandbox->judge($dispute->{id} => 'won');
    $s->soon(sub { refunds_of($line) }, 'it is ours again, and goes back');
    $s->rest($line->{tenant});
    is_deeply [map { $_->{amount} } refunds_of($line)], [900], '... once';
};

promise 'what was kept: a part of it, given back by hand, fails once its tenant is deleted' => sub {
    $told->set(status => 200);
    my $customer = customer('pending');
    my $line     = {%{$s->bought_line(data => {customer => $customer})}, customer => $customer};
    $s->hand(refund => $line->{invoice}, 500);
    $sandbox->wait_idle;
    $s->release($line);
    removed($line);
    my ($refund) = refunds_of($line);
    $sandbox->settle($refund->{id} => 'failed');
    $sandbox->wait_idle;
    $s->rest($line->{tenant});
    is_deeply [map { $_->{stuck} } stuck($line)], [], 'nobody asks for the rest';
    is scalar(refunds_of($line)), 1, '... nor is it given back';
};

# A line has its number, and is released: what it was billed by is kept, and its tenant deleted
sub kept ($line) {
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $s->rest($line->{tenant});
    $s->report($line, 'active');
    $s->release($line);
    removed($line);
}

for my $how ('another attempt', 'a place of the plan') {
    promise "$how came after an attempt of which a bank had taken a part: it is won once the tenant is deleted" => sub {
        $told->set(status => 200);
        my $customer = customer();
        my $line     = {%{$s->pending_line(workspace => {customer => $customer}, request => {channelType => 'phone', phone => undef})},
            customer => $customer};
        my ($dispute, $new);

        # an event about it is answered once there is a line
        $s->deaf;
        $sandbox->pay($line->{invoice}, 'ok', 400);
        $dispute = $sandbox->dispute($line->{invoice});
        $s->hears;

        if ($how =~ /attempt/) {
            $sandbox->void($line->{invoice});
            $s->rest($line->{tenant});
            # a look that a kill has put off finds it void before anybody asks for another one
            return if !calm && $s->now_of($line)->{status} eq 'canceled';
            $s->action($line->{key}, $line->{line}, 'payment_link');
            wait_for(sub { $new = $s->now_of($line); ($new->{subscription} || $line->{subscription}) ne $line->{subscription} },
                20, 'another attempt');
            $sandbox->pay($new->{invoice});
        } else {
            is $nginx->admin(PUT => "workspaces/$line->{name}", {plan => 'growth'})->status, 200, 'another plan';
        }

        kept($line);
        is_deeply [refunds_of($line)], [], 'nothing was to go back';
        $sandbox->judge($dispute->{id} => 'won');
        $s->soon(sub { refunds_of($line) }, 'it is ours again, and goes back');
        $s->rest($line->{tenant});
        is_deeply [map { $_->{amount} } refunds_of($line)], [400], '... once';
        is +($s->money($new->{subscription}))[1], 0, '... and nothing of what the line was billed by' if $new;
    };
}

$t->done;
