# A line that is not paid for is suspended, and comes back once its arrears are paid: only a state of its subscription that is final
# ends it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA;
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=20ms pass=500ms');
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;

$s->numbers(12);
$nginx->allow(qr/\[alert\].*is stuck: invoices_refused/);

sub is_active ($line) { $s->now_of($line)->{active} eq '1' && !$s->now_of($line)->{suspended} }

# a period that was not paid for, until billing gives up; returns the invoice
sub arrears ($line) {
    my $invoice = $sandbox->renew($line->{subscription}, 'declined')->{id};
    $sandbox->move($line->{subscription}, status => 'unpaid');
    return $invoice;
}

sub keeps_its_place ($line) {
    my ($field) = $line->{account} ? 'account_lines' : 'email_paid';
    is $s->redis->cli('HGET', "lines:{$line->{tenant}}:t", $field), 1, 'it has its place';
    is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'active'], 'nothing was given back, its subscription lives';
}

my %lines = ("a workspace's" => sub { $s->active_line }, "an account's" => sub { $s->bought_line });

for my $whose (sort keys %lines) {
    promise "unpaid, then the arrears are paid: $whose line is suspended and comes back" => sub {
        my $line    = $lines{$whose}->();
        my $invoice = arrears($line);
        $s->soon(sub { $s->now_of($line)->{suspended} }, 'suspended');
        ok !$s->now_of($line)->{ended}, '... and not ended';
        is_deeply [@{$s->shown($line)->{line}}{qw(provisioningStatus isActive reason)}], ['active', Mojo::JSON->false, 'suspended'], '... as its client reads'
          unless $line->{account};

        $sandbox->pay($invoice);
        $s->soon(sub { is_active($line) }, 'active again');
        keeps_its_place($line);
    };
}

promise 'unpaid while it is provisioned: it becomes active with the payment' => sub {
    my $line    = $s->paid_line;
    my $invoice = arrears($line);
    $s->soon(sub { $s->now_of($line)->{suspended} }, 'suspended');
    $s->report($line, 'active');
    is $s->shown($line)->{line}{isActive}, Mojo::JSON->false, 'ready, and still not active';
    $sandbox->pay($invoice);
    $s->soon(sub { is_active($line) }, 'active');
    keeps_its_place($line);
};

promise 'the events come twice, late and in any order: what billing says now counts' => sub {
    my $line = $s->active_line;
    $sandbox->webhooks(duplicate => 2, shuffle => 1, delay_ms => 50);
    $sandbox->pay(arrears($line)) for 1 .. 2;
    $sandbox->wait_idle;
    $sandbox->webhooks(duplicate => 0, shuffle => 0, delay_ms => 0);
    $s->rest($line->{tenant});
    ok is_active($line), 'active in the end';
    keeps_its_place($line);
};

promise 'no state but a final one ends a line' => sub {
    for my $state (qw(past_due unpaid paused incomplete)) {
        my $line = $s->active_line;
        $sandbox->move($line->{subscription}, status => $state);
        $s->rest($line->{tenant});
        ok !$s->now_of($line)->{ended}, "$state: not ended";
        $sandbox->move($line->{subscription}, status => 'active');
        $s->rest($line->{tenant});
        ok is_active($line), "$state: active again";
        keeps_its_place($line);
    }
    my $line = $s->active_line;
    $sandbox->move($line->{subscription}, status => 'canceled');
    $s->soon(sub { $s->now_of($line)->{ended} }, 'canceled: ended');
};

promise 'billing is not heard while the arrears are paid: the line comes back all the same' => sub {
    my $line    = $s->active_line;
    my $invoice = arrears($line);
    $s->soon(sub { $s->now_of($line)->{suspended} }, 'suspended');
    $s->deaf;
    $sandbox->pay($invoice);
    $s->soon(sub { $s->shown($line); is_active($line) }, 'active again, and not charged idle');
    $s->hears;
    keeps_its_place($line);
};

promise 'billing is not heard while a subscription ends: the line ends all the same' => sub {
    my $line = $s->active_line;
    $s->deaf;
    $s->hand(cancel => $line->{subscription});
    $s->soon(sub { $s->shown($line); $s->now_of($line)->{ended} }, 'ended');
    $s->hears;
};

# what somebody pays for a line that he does not have any more; what he paid while he had it is kept
my %ends = (
    'is released' => sub ($line) { $s->release($line) },
    'ends with its subscription' => sub ($line) { $s->hand(cancel => $line->{subscription}) },
);

sub goes_back ($line, $invoice) {
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}, $invoice); $paid && $paid == $back }, 'it goes back');
    $s->rest($line->{tenant});
    is_deeply [($s->money($line->{subscription}, $line->{invoice}))[1, 2]], [0, 'canceled'], '... and no more';
}

for my $how (sort keys %ends) {
    for my $whose (sort keys %lines) {
        promise "$whose line $how while a renewal is open: nobody can pay that any more" => sub {
            my $line    = $lines{$whose}->();
            my $invoice = $sandbox->renew($line->{subscription}, 'declined')->{id};
            $s->soon(sub { $s->now_of($line)->{suspended} }, 'suspended');
            $ends{$how}->($line);
            $s->soon(sub { $sandbox->call(GET => "/v1/invoices/$invoice")->json('/status') eq 'void' }, 'it is void');
            $s->rest($line->{tenant});
            is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], 'nothing goes back';
        };

        promise "$whose line $how, and an open renewal is paid before it is void, which nobody tells: that goes back" => sub {
            my $line    = $lines{$whose}->();
            my $invoice = $sandbox->renew($line->{subscription}, 'declined')->{id};
            $s->soon(sub { $s->now_of($line)->{suspended} }, 'suspended');
            $sandbox->fault(path => '/v1/invoices/:id/void', method => 'POST', kind => 'drop_before', times => 1000);
            $ends{$how}->($line);
            $s->soon(sub { $s->now_of($line)->{ended} }, 'ended');
            $s->deaf;
            $s->later;
            $sandbox->pay($invoice);
            $sandbox->clear_faults;
            goes_back($line, $invoice);
            $s->hears;
        };
    }
}

promise 'released while billing is away, and renewed before it is canceled: the renewal goes back' => sub {
    my $line = $s->active_line;
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $s->release($line);
    $s->later;
    $sandbox->renew($line->{subscription});
    $sandbox->clear_faults;
    $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'it is canceled in the end', 20);
    $s->soon(sub { ($s->money($line->{subscription}))[1] == 900 }, 'the renewal goes back');
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [1800, 900, 'canceled'], '... and no more';
};

promise 'a person said that all was settled of a release, and an invoice is paid later: that goes back' => sub {
    my $line    = $s->active_line;
    my $invoice = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
    $sandbox->fault(path => '/v1/invoices', method => 'GET', kind => '400', times => 1000);
    $s->release($line);
    my $id = substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24;
    $s->soon(sub { ($s->op($line->{tenant}, $id)->{stuck} // '') eq 'invoices_refused' }, 'its invoices cannot be read: it is stuck') or diag explain $s->op($line->{tenant}, $id);
    $s->soon(sub { $nginx->admin(POST => "operations/$id/resolve", {as => 'settled', note => 'we have looked'})->status == 200 }, 'settled');
    $s->rest($line->{tenant});
    $sandbox->clear_faults;
    $s->later;
    $sandbox->pay($invoice);
    goes_back($line, $invoice);
};

promise 'the event of a payment comes late, once its line has ended: it is kept' => sub {
    my $line = $s->active_line;
    $s->release($line);
    $s->rest($line->{tenant});
    $s->told_again($line);
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [900, 0, 'canceled'], 'nothing goes back';
};

$t->done;
