# What support gave back by hand while the subscription goes on is counted before there is a line: nobody has one for nothing, and
# who was given a part has his line.  And of a customer who is another, and is the same again.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);
my $made    = 0;

$s->numbers(9);

# a line that awaits its payment, of a customer of its own
sub line (%its) {
    my $customer = 'cus_counted' . ++$made;
    $sandbox->customer($customer);
    $sandbox->endow($customer, $its{balance}) if $its{balance};
    return {%{$s->pending_line(workspace => {customer => $customer})}, customer => $customer};
}

sub status ($line) { $s->now_of($line)->{status} // '' }

# paid for, and the provisioner does not answer yet
sub to_be_told (%its) {
    $told->set(status => 503);
    my $line = line(%its);
    $sandbox->pay($line->{invoice}) unless $its{balance};
    $s->soon(sub { ($s->op(@$line{qw(tenant line)})->{step} // '') eq 'tell' && $s->op(@$line{qw(tenant line)})->{tries} }, 'paid, and to be told');
    return $line;
}

# a purchase that is charged, and the provisioner does not answer yet
sub bought_to_be_told {
    $told->set(status => 503);
    my $customer = 'cus_counted' . ++$made;
    $sandbox->customer($customer);
    my $account = $s->account("counted$made", customer => $customer);
    my $token   = $s->token($account);
    my $line    = {tenant => "a:$account->{id}", account => $account, line => $s->operation_id($token)};
    $line->{asked} = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { my $op = $s->op(@$line{qw(tenant line)}); ($op->{step} // '') eq 'tell' && $op->{tries} }, 20, 'the purchase, but for the provisioner');
    $line->{subscription} = $s->op(@$line{qw(tenant line)})->{subscription};
    ($line->{invoice}) = map { $_->{invoice} } grep { $_->{subscription} eq $line->{subscription} } $sandbox->ledger('charge');
    return $line;
}

# while nobody has it in hand; from then on the provisioner answers
sub between ($line, $code) {
    wait_for(sub {
        my $done;
        $s->unseen(sub {
            return if $s->op(@$line{qw(tenant line)})->{lease_until};
            $code->($line);
            $told->set(status => 200);
            $done = 1;
        });
        return $done;
    }, 20, 'a rest');
}

sub no_line ($line) {
    $s->rest($line->{tenant});
    ok !$s->is_live($line), 'no line for nothing' or diag explain $s->now_of($line);
    is +($s->money($line->{subscription}))[2], 'canceled', '... and its subscription has ended';
}

sub a_line ($line) {
    $s->soon(sub { $s->is_live($line) }, 'the line is there') or diag explain $s->now_of($line);
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}))[2], 'active', '... and goes on';
}

my %hands = (
    'refunded in full'         => sub ($line) { $s->hand(refund => $line->{invoice}) },
    'credited to the balance'  => sub ($line) { $s->hand(balance => $line->{invoice}, ($s->money($line->{subscription}))[0] || 900) },
    'taken back by a bank'     => sub ($line) { $sandbox->dispute($line->{invoice}) },
    'credited in full'         => sub ($line) { $s->hand(credit => $line->{invoice}) },
);

for my $what (sort keys %hands) {

    promise "$what before the provisioner took it: no line" => sub {
        my $line = to_be_told();
        between($line, $hands{$what});
        no_line($line);
    };

    promise "$what before anybody looked, and events are away: no line" => sub {
        my $line = line();
        $s->deaf;
        $s->unseen(sub { $sandbox->pay($line->{invoice}); $hands{$what}->($line) });
        $s->soon(sub { status($line) eq 'failed' }, 'it fails');
        is $s->now_of($line)->{reason}, 'payment_refunded', '... and says why';
        no_line($line);
        $s->hears;
    };
}

promise 'paid from the balance, credited in full by hand before the provisioner took it: no line' => sub {
    my $line = to_be_told(balance => 900);
    between($line, $hands{'credited to the balance'});
    no_line($line);
};

promise 'a part is given back by hand before the provisioner took it: goodwill, the line is there' => sub {
    my $line = to_be_told();
    between($line, sub { $s->hand(refund => $line->{invoice}, 400) });
    a_line($line);
    is_deeply [$s->money($line->{subscription})], [900, 400, 'active'], '... and no more goes back';
};

promise 'a part is given back before anybody looked: the same' => sub {
    my $line = line();
    $s->deaf;
    $s->unseen(sub { $sandbox->pay($line->{invoice}); $s->hand(balance => $line->{invoice}, 899) });
    a_line($line);
    $s->hears;
};

for my $what (sort keys %hands) {
    promise "a purchase that is $what before the provisioner took it: no line" => sub {
        my $line = bought_to_be_told();
        between($line, $hands{$what});
        $sandbox->wait_idle;
        no_line($line);
        is $s->op(@$line{qw(tenant line)})->{answer_status}, 500, 'its client hears so';
    };
}

promise 'a part of a purchase is given back: the line is there' => sub {
    my $line = bought_to_be_told();
    between($line, sub { $s->hand(refund => $line->{invoice}, 400) });
    a_line($line);
};

promise 'killed after the charge, whose payment is refunded: no line' => sub {
    my $account = $s->account('killed');
    my $token   = $s->token($account);
    my $line    = {tenant => 'a:killed', account => $account, line => $s->operation_id($token)};
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 1500, times => 1);
    my $confirm = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { $s->made_for($line->{tenant}) && $s->bought($account) }, 30, 'the charge');
    $nginx->kill_worker for 1 .. 2;
    ($line->{subscription}, $line->{invoice}) = map { @$_{qw(subscription invoice)} } $s->bought($account);
    $s->unseen(sub { $s->hand(refund => $line->{invoice}) });
    $s->soon(sub { ($s->op(@$line{qw(tenant line)})->{step} // '') eq 'done' }, 'it ends', 12);
    no_line($line);
};

for my $hand (['refunded', sub ($line) { $s->hand(refund => $line->{invoice}) }], ['credited to the balance', sub ($line) { $s->hand(balance => $line->{invoice}, 900) }]) {
    promise "to be told, $hand->[0] in full, and reported active before anybody looks: no line for nothing" => sub {
        my $line = to_be_told();
        wait_for(sub {
            my $done;
            $s->unseen(sub { return if $s->op(@$line{qw(tenant line)})->{lease_until}; $hand->[1]->($line); $s->due($line->{tenant}, $line->{line}, time * 1000 + 4000); $done = 1 });
            $done;
        }, 20, 'a rest');
        $s->report($line, 'active');
        $told->set(status => 200);
        $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'its subscription is canceled');
        $s->rest($line->{tenant});
        ok !$s->is_live($line), 'the line has ended';
        is_deeply [($s->money($line->{subscription}))[0, 1]], [900, 900], 'nothing goes back twice';
    };
}

promise 'what cannot be counted is not settled, and is once it can be' => sub {
    my $line = line();
    $sandbox->fault(path => '/v1/credit_notes', method => 'GET', kind => 'drop_before', times => 1000);
    $sandbox->pay($line->{invoice});
    $sandbox->wait_idle;
    wait_for(sub { ($s->op(@$line{qw(tenant line)})->{tries} // 0) > 0 }, 20, 'a try');
    is status($line), 'awaiting_payment', 'it waits';
    $sandbox->clear_faults;
    a_line($line);
};

promise 'the customer is another, and the same again, while the invoice is void: he is billed anew' => sub {
    my $line  = line();
    my $first = $line->{subscription};
    $sandbox->customer('cus_between');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $nginx->admin(PUT => "workspaces/$line->{name}", {customer => 'cus_between'});
    $s->soon(sub { $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status') eq 'void' }, 'void');
    $nginx->admin(PUT => "workspaces/$line->{name}", {customer => $line->{customer}});
    $sandbox->clear_faults;
    $s->soon(sub { ($s->now_of($line)->{subscription} // '') !~ /^(?:\Q$first\E)?$/ && length($s->shown($line)->{paymentUrl} // '') }, 'it can be paid');
    my $now = $s->now_of($line);
    is $now->{status}, 'awaiting_payment', 'the line is not given up';
    is $sandbox->call(GET => "/v1/subscriptions/$now->{subscription}")->json('/customer'), $line->{customer}, 'by the first customer';
    is $s->op(@$line{qw(tenant line)})->{moved}, undef, 'that is forgotten';
};

is_deeply [$s->disagreements], [], 'charges, lines and numbers agree';

$t->done;
