# Base plans that billing wrote and has no more: the auditor shows them, and touches nothing; nor those that billing does not tell of.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=10ms pass=200ms');
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;
my $audit   = Test::Lines::Audit->new(scenario => $s);

sub found ($tenant) { grep { $_->{kind} eq 'plan' && $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'audit')->json('/disagreements')} }

sub is_now ($name, $plan) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $now = sub { my $json = $nginx->admin(GET => "workspaces/$name")->json; "$json->{plan} $json->{subscription}" };
    $s->soon(sub { $now->() eq $plan }, "$name is $plan", 15) or diag $now->();
    $s->rest("w:$name");
}

sub shown ($name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $one;
    $s->soon(sub { ($one) = found("w:$name") }, 'found', 15) or return;
    is_deeply [@$one{qw(outcome here there)}], ['shown', 'active growth', 'none'], '... and shown';
}

# a workspace whose plan was bought at billing
sub bought ($name, %more) {
    my $customer = $more{customer} // "cus_$name";
    $sandbox->customer($customer);
    $s->workspace($name, customer => $customer, subscription => 'none', plan => 'starter');
    my $plan = $sandbox->adopt(customer => $customer, price => 'price_growth', status => 'active', metadata => $more{metadata} // {});
    is_now($name => 'growth active');
    return $plan->{id};
}

promise 'it moves to a price that is none of a plan, then ends' => sub {
    my $plan = bought('moved');
    $sandbox->move($plan, price => 'price_other');
    shown('moved');
    $sandbox->move($plan, status => 'canceled');
    $sandbox->wait_idle;
    is_now(moved => 'growth active');
    is $nginx->admin(PUT => 'workspaces/moved', {subscription => 'canceled'})->status, 200, 'the operator says that it is over';
    $s->soon(sub { !found('w:moved') }, 'it is not shown any more', 15);
};

promise 'the workspace gets another customer, and the plan of the former one ends' => sub {
    my $plan = bought('rebilled');
    $sandbox->customer('cus_after');
    is $nginx->admin(PUT => 'workspaces/rebilled', {customer => 'cus_after'})->status, 200, 'another customer';
    $sandbox->move($plan, status => 'canceled');
    shown('rebilled');
};

promise 'it is made another workspace\'s of the same customer: one of the two has it' => sub {
    my $plan = bought(one => customer => 'cus_both', metadata => {tenant => 'one'});
    $s->workspace('two', customer => 'cus_both', subscription => 'none', plan => 'starter');
    $sandbox->move($plan, metadata => {tenant => 'two'});
    is_now(two => 'growth active');
    shown('one');
};

promise 'billing refuses to list what the customer has: the plan stays' => sub {
    bought('untold');
    my $asked = sub { scalar grep { ($_->{query} // '') =~ /cus_untold/ } $sandbox->requests(GET => '/v1/subscriptions') };
    my $until = $asked->() + 3;
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '400', times => 100_000);
    $s->soon(sub { $asked->() >= $until }, 'billing is asked for it', 30);
    is_now(untold => 'growth active');
    is scalar(() = found('w:untold')), 0, 'nothing is said of it';
    $sandbox->clear_faults;
};

# the last: billing is another account by now
promise 'billing does not know its customer, and the operator settles it: what is here is theirs' => sub {
    bought('strange');
    $nginx->allow(qr/is stuck: customer_missing/);
    $sandbox->reset;
    my $stuck = sub { grep { $_->{tenant} eq 'w:strange' } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} };
    $s->soon(sub { $stuck->() }, 'a person is asked to look', 30);
    my ($op) = $stuck->();
    is_deeply [@$op{qw(kind stuck)}], [qw(plan customer_missing)], '... at the plan';
    $s->soon(sub { $nginx->admin(POST => "operations/$op->{id}/resolve", {as => 'settled', note => 'a contract'})->status == 200 }, 'it is settled');
    $s->soon(sub { ($s->op('w:strange', $op->{id})->{step} // '') eq 'done' }, 'it ends');
    $audit->whole_pass;
    is scalar(my @again = $stuck->()), 0, 'nobody is asked again';
    is_now(strange => 'growth active');
};

$t->done;
