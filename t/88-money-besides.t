# What people do at billing's dashboard beside the lines' own invoices: another invoice of a line's subscription, a customer that is
# deleted.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Audit;
use Test::Lines::Scenario qw(calm promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=10ms pass=200ms');
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2, server => 'location = /metrics { lines_metrics; }');
my $audit   = Test::Lines::Audit->new(scenario => $s);

# a line that awaits its payment, and another invoice of its subscription, which is paid
sub billed_besides (%more) {
    my $line = $s->pending_line(%more);
    $line->{besides} = $sandbox->bill($line->{subscription})->{id};
    $sandbox->pay($line->{besides});
    $sandbox->wait_idle;
    $s->rest($line->{tenant});
    return $line;
}

sub went_back ($line) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $s->rest($line->{tenant});
    my ($paid, $back, $status) = $s->money($line->{subscription}, $line->{besides});
    cmp_ok $paid, '>', 0, 'it was paid';
    is_deeply [$back, $status], [$paid, 'canceled'], '... and went back, once';
}

promise 'something besides is paid, and the line is canceled: it goes back' => sub {
    my $line = billed_besides();
    is $s->now_of($line)->{status}, 'awaiting_payment', 'that pays for no line';
    eval { $s->action($line->{key}, $line->{line}, 'cancel') };
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled');
    went_back($line);
};

promise 'it is open yet, and the line is canceled: nobody can pay it any more' => sub {
    my $line    = $s->pending_line;
    my $besides = $sandbox->bill($line->{subscription})->{id};
    eval { $s->action($line->{key}, $line->{line}, 'cancel') };
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled');
    is $sandbox->call(GET => "/v1/invoices/$besides")->json('/status'), 'void', 'void';
};

promise 'something besides is paid, the line\'s own invoice is given up: it goes back' => sub {
    my $line = billed_besides();
    $sandbox->give_up($line->{invoice});
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled');
    # who comes after one that died as it had voided it finds it void
    like $s->now_of($line)->{reason}, calm ? qr/^payment_uncollectible$/ : qr/^payment_(?:uncollectible|expired)$/, '... for that reason';
    went_back($line);
};

promise 'something besides is paid, and the customer is another: it goes back, and he is billed' => sub {
    my $line = billed_besides();
    $sandbox->customer('cus_next');
    is $nginx->admin(PUT => "workspaces/$line->{name}", {customer => 'cus_next'})->status, 200, 'another customer';
    $s->soon(sub { ($s->now_of($line)->{attempt} // 1) == 2 && $s->now_of($line)->{subscription} }, 'another attempt');
    went_back($line);
};

promise 'something besides is paid, and the plan includes the line by then: it goes back' => sub {
    my $line = billed_besides(request => {channelType => 'phone'});
    is $nginx->admin(PUT => "workspaces/$line->{name}", {plan => 'growth'})->status, 200, 'another plan';
    $s->soon(sub { $s->now_of($line)->{status} eq 'provisioning' }, 'the line is there');
    is $s->now_of($line)->{place}, 'included', '... and nobody pays for it';
    went_back($line);
};

promise 'something besides is paid, and then the line: it stays' => sub {
    my $line = billed_besides();
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [1800, 0, 'active'], 'all of it is the line\'s';
};

sub plan_of ($name) { my $json = $nginx->admin(GET => "workspaces/$name")->json; "$json->{plan} $json->{subscription}" }

# a workspace whose plan was bought at billing
sub bought ($name) {
    $sandbox->customer("cus_$name");
    my $key = $s->workspace($name, customer => "cus_$name", subscription => 'none', plan => 'starter');
    $sandbox->adopt(customer => "cus_$name", price => 'price_growth', metadata => {});
    $s->soon(sub { plan_of($name) eq 'growth active' }, 'the plan is there');
    return $key;
}

promise 'a customer is deleted at billing: his plan has ended, and the line that waits' => sub {
    my $key  = bought('gone');
    my $line = $s->pending_line(name => 'gone', key => $key);
    $sandbox->hand(DELETE => '/v1/customers/cus_gone');
    $s->soon(sub { plan_of('gone') eq 'growth canceled' }, 'it has ended') or diag plan_of('gone');
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'nobody is asked to pay any more');
    $s->rest('w:gone');
};

promise 'a customer is deleted, and the events are lost: the auditor finds it' => sub {
    bought('silent');
    $s->deaf;
    $sandbox->hand(DELETE => '/v1/customers/cus_silent');
    $audit->shows(plan => 'cus_silent', 'repaired', qr/^active growth$/, qr/^no such customer$/);
    $s->soon(sub { plan_of('silent') eq 'growth canceled' }, 'it has ended', 20) or diag plan_of('silent');
    my $seen = $audit->counted('plan');
    $audit->whole_pass;
    is $audit->counted('plan'), $seen, 'both say the same then';
    $s->hears;
};

promise 'billing refuses to list a customer\'s plans: that is not taken for none, and people hear of it' => sub {
    bought('refused');
    $nginx->allow(qr/is stuck: plan_refused/);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '400', times => 100_000);
    my ($plan) = grep { $_->{customer} eq 'cus_refused' } @{$sandbox->books->{subscription}};
    $s->hand(cancel => $plan->{id});
    my $stuck = sub { grep { $_->{stuck} eq 'plan_refused' } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations') // []} };
    $s->soon(sub { $stuck->() }, 'it is listed');
    is plan_of('refused'), 'growth active', 'nothing is known yet';
    $sandbox->clear_faults;
    $s->soon(sub { plan_of('refused') eq 'growth canceled' }, 'it goes on by itself', 20);
};

promise 'a customer is deleted while it is not known whether he was charged: billing lists nothing of him, which proves nothing' => sub {
    # what was sold before the database began is shown, and not repaired; billing tells of it in seconds
    $s->later;
    $s->numbers(1);
    $sandbox->customer('cus_leaves');
    my $account = $s->account('leaves', customer => 'cus_leaves');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $nginx->allow(qr/is stuck: customer_deleted/);
    $s->deaf;
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', effect => Mojo::JSON->true, times => 1);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => 'drop_before', times => 1000);
    $s->confirm($account, $token, key => 'k');
    $sandbox->hand(DELETE => '/v1/customers/cus_leaves');
    $sandbox->clear_faults;
    my $stuck = sub { grep { $_->{id} eq $id && $_->{stuck} eq 'customer_deleted' } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations') // []} };
    $s->soon($stuck, 'people hear of it', 30);
    $s->hears;
    $s->soon(sub { $nginx->admin(POST => "operations/$id/resolve", {as => 'canceled', note => 'he is gone'})->status == 200 }, 'one of them says what is true');
    $s->soon(sub { ($s->op('a:leaves', $id)->{step} // '') eq 'done' }, 'it is undone', 30);
    my ($made) = $s->made_for('a:leaves');
    $s->soon(sub { my ($paid, $back) = $s->money($made->{subscription}); $paid && $paid == $back }, 'what he paid goes back', 30)
      or diag join ' ', $s->money($made->{subscription});
};

promise 'billing refuses to list, and to tell of the customer: that is not taken for nobody' => sub {
    $s->numbers(1);
    my $account = $s->account('untold', customer => 'cus_card');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    my $step    = sub { $s->op('a:untold', $id)->{step} // '' };
    $nginx->allow(qr/is stuck: charge_unlisted/);
    $s->deaf;
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', effect => Mojo::JSON->true, times => 1);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '400', times => 100_000);
    $s->confirm($account, $token, key => 'k');
    $sandbox->fault(path => '/v1/customers/:id', method => 'GET', kind => '400', times => 100_000);
    my $looks = sub { scalar(() = $sandbox->requests(GET => '/v1/subscriptions')) };
    my $then  = $looks->();
    $s->soon(sub { $looks->() >= $then + 3 || $step->() ne 'charge' }, 'it is looked for, again and again', 60);
    is $step->(), 'charge', 'it is not given up';
    $sandbox->clear_faults;
    $s->soon(sub { $step->() eq 'done' }, 'it goes on by itself', 60);
    $s->hears;
    is +(my @made = $s->made_for('a:untold')), 1, 'charged once';
    is $s->redis->line('a:untold', $id)->{status}, 'active', '... for a line';
};

$t->done;
