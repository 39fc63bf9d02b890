# What a workspace may have has grown while a line of it awaits payment: whoever looks promotes the line, and nobody is asked to pay.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(
    t           => $t,
    provisioner => $told->url,
    # nobody looks by himself
    operations  => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=1s poll=5m every=5m'
);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);
my $nginx   = $s->nginx(workers => 2);
my $n       = 0;

sub phone () { (request => {channelType => 'phone'}) }

# as a node does that dies before it can say so
sub script ($line, $name, $keys, @args) { $scripts->run($name => [map {"lines:{$line->{tenant}}:$_"} @$keys], @args) }

# a line in the one place of its plan, and another that has to be paid for
sub full () {
    my $name  = 'freed' . ++$n;
    my $key   = $s->workspace($name, plan => 'growth');
    my $first = $s->request($key, channelType => 'phone')->json('/line/_id');
    $s->rest("w:$name");
    return {%{$s->pending_line(name => $name, key => $key, phone())}, first => $first};
}

# none is included
sub small () {
    my $name = 'bought' . ++$n;
    $sandbox->customer("cus_$name");
    return $s->pending_line(name => $name, workspace => {customer => "cus_$name", plan => 'paid'}, phone());
}

# there is room by now, and nobody has said so
my %grown = (
    'a place is freed' => sub {
        my $line = full();
        script($line, line_report => ["line:$line->{first}", qw(t pending journal op:none ops)], 'failed', '', '', 'none');
        return $line;
    },
    'another plan is bought' => sub {
        my $line = small();
        script($line, tenant_put => [qw(t keys lines tickets pending deleted unpaid)], plan => 'growth');
        return $line;
    },
);

sub places ($line) {
    return [map { $redis->cli('HGET', "lines:{$line->{tenant}}:t", "phone_$_") || 0 } qw(included paid)];
}

sub included ($line) {
    $s->soon(sub { $s->now_of($line)->{status} eq 'provisioning' }, 'the line is there') or return;
    $s->rest($line->{tenant});
    is $s->now_of($line)->{place}, 'included', '... in a place of the plan';
    is_deeply places($line), [1, 0], '... and counted there';
    ok !$redis->cli('EXISTS', "lines:{$line->{tenant}}:pending"), '... it blocks nothing';
    is_deeply [($s->money($line->{subscription}))], [0, 0, 'canceled'], '... its subscription is canceled, and nobody was charged';
    is $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status'), 'void', '... its invoice is void';
    is_deeply [@{$s->shown($line)}{qw(status paymentRequired)}], ['provisioning', Mojo::JSON->false], 'its client reads that there is nothing to pay';
    is scalar(grep { ($_->{json}{_id} // '') eq $line->{line} } @{$told->requests}), 1, 'and the provisioner is told';

    # what billing has to say of its end changes nothing
    $s->event('invoice.voided', $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json);
    $s->event('customer.subscription.deleted', $sandbox->call(GET => "/v1/subscriptions/$line->{subscription}")->json);
    $s->rest($line->{tenant});
    $s->report($line, 'active');
    ok $s->is_live($line), 'it works';
}

sub paid ($line) {
    $s->soon(sub { $s->now_of($line)->{status} eq 'provisioning' }, 'the line is there') or return;
    $s->rest($line->{tenant});
    is $s->now_of($line)->{place}, 'paid', '... in a place that is paid for';
    is_deeply places($line), [0, 1], '... the other one is given back';
    is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'active'], '... and it is paid for';
}

for my $how (sort keys %grown) {
    promise "$how: payment_link promotes the line" => sub {
        my $line   = $grown{$how}->();
        my $answer = $s->action($line->{key}, $line->{line}, 'payment_link');
        if (calm) {
            is $answer->status, 200, 'a safe recovery action';
            is_deeply [map { $answer->json("/$_") } qw(success status paymentRequired paymentUrl)], [Mojo::JSON->true, 'provisioning', Mojo::JSON->false, undef],
              '... that answers as the request would';
        }
        included($line);
    };

    promise "$how: a reader promotes the line" => sub {
        my $line = $grown{$how}->();
        $s->soon(sub { $s->shown($line)->{status} eq 'provisioning' }, 'it is read so', 2);
        included($line);
    };

    promise "$how: an event of its invoice promotes the line" => sub {
        my $line = $grown{$how}->();
        $s->event('invoice.payment_failed', $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json);
        included($line);
    };

    promise "$how: another request promotes the line, and is judged anew" => sub {
        my $line   = $grown{$how}->();
        my $answer;
        # who is told that it is not yet, since a worker was killed, tries again
        wait_for(sub { $answer = $s->request($line->{key}, channelType => 'phone'); calm || $answer->status != 409 }, 20, 'its turn');
        is_deeply [$answer->status, $answer->json('/status')], [201, 'awaiting_payment'], 'it is not blocked any more';
        is $s->now_of($line)->{place}, 'included', 'the first one is promoted';
        is_deeply places($line), [1, 1], '... each in a place of its own';
    };

    promise "$how, its invoice was void already: payment_link promotes the line" => sub {
        my $line = $grown{$how}->();
        $s->deaf;
        # who takes over from one that was killed may have promoted it
        eval { $sandbox->void($line->{invoice}); 1 } or !calm or die $@;
        my $answer = $s->action($line->{key}, $line->{line}, 'payment_link');
        is $answer->json('/status'), 'provisioning', 'no other invoice is made' if calm;
        included($line);
        is scalar($s->made_for($line->{tenant})), 1, 'there was one subscription';
        $s->hears;
    };

    promise "$how, and it is paid before anybody looks: the line is a paid one" => sub {
        my $line = $grown{$how}->();
        $s->deaf;
        my $first = $sandbox->pay($line->{invoice})->{status} eq 'paid';
        $s->action($line->{key}, $line->{line}, 'payment_link');
        # the slower one does not pay
        $first || calm ? paid($line) : included($line);
        $s->hears;
    };

    promise "$how, and the void loses to the payment: the line is a paid one" => sub {
        my $line = $grown{$how}->();
        $sandbox->fault(path => '/v1/invoices/:id/void', kind => '500', times => 1000);
        my $answer = $s->action($line->{key}, $line->{line}, 'payment_link');
        is $answer->status, 503, 'billing has not voided it yet' if calm;
        is_deeply places($line), [1, 0], 'a place is kept for the line';
        is $s->shown($line)->{paymentUrl}, undef, '... and nobody is asked to pay';
        $sandbox->pay($line->{invoice});
        $sandbox->clear_faults;
        paid($line);
    };

    promise "$how, and the answer to the void is lost: promoted" => sub {
        my $line = $grown{$how}->();
        $sandbox->fault(path => '/v1/invoices/:id/void', kind => 'drop_after', times => 1);
        $s->action($line->{key}, $line->{line}, 'payment_link');
        included($line);
    };

    promise "$how, and it is canceled while the place is kept for it: that is free again" => sub {
        my $line = $grown{$how}->();
        $sandbox->fault(path => '/v1/invoices/:id/void', kind => '500', times => 1000);
        $s->action($line->{key}, $line->{line}, 'payment_link');
        my $cancel = $s->action($line->{key}, $line->{line}, 'cancel');
        is $cancel->status, 503, 'canceled' if calm;
        $sandbox->clear_faults;
        $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'it is');
        is_deeply places($line), [0, 0], 'it holds no place';
        is_deeply [($s->money($line->{subscription}))], [0, 0, 'canceled'], 'and has no subscription';
    };
}

promise 'it shrinks again while the place is kept: the line keeps it' => sub {
    my $line = $grown{'another plan is bought'}->();
    $sandbox->fault(path => '/v1/invoices/:id/void', kind => '500', times => 1000);
    $s->action($line->{key}, $line->{line}, 'payment_link');
    script($line, tenant_put => [qw(t keys lines tickets pending deleted unpaid)], plan => 'paid');
    $sandbox->clear_faults;
    included($line);
};

promise 'a workspace that is past due is promoted nothing: it is to pay' => sub {
    my $line = $grown{'another plan is bought'}->();
    script($line, tenant_put => [qw(t keys lines tickets pending deleted unpaid)], subscription => 'past_due');
    is $s->action($line->{key}, $line->{line}, 'payment_link')->json('/status'), 'awaiting_payment', 'the link';
    is_deeply places($line), [0, 1], 'in the place that it had';
};

# who makes room says so

promise 'a line of the plan is reported as failed: the one that waits has its place' => sub {
    my $line = full();
    $s->report({line => $line->{first}}, 'failed');
    included($line);
};

promise '... or released' => sub {
    my $line = full();
    $s->report({line => $line->{first}}, 'active');
    $s->release({line => $line->{first}});
    included($line);
};

promise '... or refused by the provisioner' => sub {
    $told->set(status => 503);
    my $name  = 'refused';
    my $key   = $s->workspace($name, plan => 'growth');
    my $first = $s->request($key, channelType => 'phone')->json('/line/_id');
    my $line  = $s->pending_line(name => $name, key => $key, phone());
    $told->set(status => 422);
    wait_for(sub { $redis->cli('HGET', "lines:{w:$name}:rec:$first", 'status') eq 'failed' }, 30, 'the refusal');
    $told->set(status => 200);
    $s->soon(sub { $s->now_of($line)->{status} ne 'awaiting_payment' }, 'the other one has its place');
    is $s->now_of($line)->{required}, 0, '... and is not paid for';
    is_deeply [($s->money($line->{subscription}))], [0, 0, 'canceled'], '... nor billed';
};

promise 'the operator gives it another plan: the one that waits is in it' => sub {
    my $line = small();
    $s->deaf;
    $nginx->admin(PUT => "workspaces/$line->{name}", {plan => 'growth'});
    included($line);
    $s->hears;
};

promise 'billing tells of the plan that was bought: the webhook promotes the line' => sub {
    my $line = small();
    $sandbox->adopt(customer => "cus_$line->{name}", price => 'price_growth');
    included($line);
    is $redis->cli('HGET', "lines:{$line->{tenant}}:t", 'plan'), 'growth', 'by its plan';
};

$t->done;
