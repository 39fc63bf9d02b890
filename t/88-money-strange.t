# What is rare at billing, and costs money all the same: a debt that is paid with a line, answers that do not fit, payments that take
# days, plans of many parts.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);
my $made    = 0;

$s->numbers(5);

# the line of a customer who owes 500 for something else
sub owing () {
    my $customer = 'cus_owes' . ++$made;
    $sandbox->customer($customer);
    $sandbox->endow($customer, -500);
    return {%{$s->pending_line(workspace => {customer => $customer})}, customer => $customer};
}

sub goes_back ($line) {
    $s->report($line, 'failed');
    $s->soon(sub { ($s->now_of($line)->{payment} // '') eq 'refunded' }, 'its refund ends');
    $s->rest($line->{tenant});
    return [$s->money($line->{subscription})];
}

sub balance_of ($line) { $sandbox->call(GET => "/v1/customers/$line->{customer}")->json('/balance') }

promise 'the customer owed something before, and paid it with the line, which fails: what the line cost goes back' => sub {
    my $line = owing();
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    is_deeply goes_back($line), [1400, 900, 'canceled'], 'and no more';
    is balance_of($line), 0, 'he owes nothing';
};

promise '... by two payments' => sub {
    my $line = owing();
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    is_deeply goes_back($line), [1400, 900, 'canceled'], 'no more than the line cost';
};

promise '... and support credits all that the line cost before anybody looked: no line' => sub {
    my $line = owing();
    $s->unseen(sub { $sandbox->pay($line->{invoice}); $s->hand(credit => $line->{invoice}, 900) });
    $s->soon(sub { $s->now_of($line)->{status} eq 'failed' }, 'there is none', 20);
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}))[1], 900, 'nothing more goes back';
};

# objects of 22k each: two fit in an answer of 64k, five do not
my %large = (metadata => {map { ("note$_" => 'x' x 490) } 1 .. 40});

promise 'a charge whose outcome is unknown, among subscriptions that fill an answer: it is found' => sub {
    $nginx->allow(qr/too big|has no whole answer/);
    $sandbox->customer('cus_large');
    $sandbox->adopt(customer => 'cus_large', price => 'price_email', %large) for 1 .. 4;
    my $account = $s->account('large', customer => 'cus_large');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', times => 1, effect => Mojo::JSON->true);
    $s->confirm($account, $token, key => 'k');
    $s->soon(sub { ($s->op('a:large', $id)->{step} // '') eq 'done' }, 'its end', 60);
    ok $s->is_live({tenant => 'a:large', line => $id}), 'there is a line';
    is scalar(() = $s->made_for('a:large')), 1, '... charged once';
};

sub plan_of ($name) { my $json = $nginx->admin(GET => "workspaces/$name")->json; "$json->{plan} $json->{subscription}" }

promise 'a base plan that is the tenth of a subscription\'s prices: it is seen' => sub {
    $sandbox->customer('cus_parts');
    $s->workspace('parts', customer => 'cus_parts', subscription => 'none', plan => 'starter');
    my %items = map { ("items[$_][price]" => $_ == 9 ? 'price_growth' : 'price_email') } 0 .. 9;
    my $made  = $sandbox->call(POST => '/v1/subscriptions', {customer => 'cus_parts', %items}, {'Idempotency-Key' => 'parts'});
    is scalar @{$made->json('/items/data') // []}, 10, 'all of them are told' or diag $made->to_string;
    $s->soon(sub { plan_of('parts') eq 'growth active' }, 'the plan is there') or diag plan_of('parts');
};

$t->done;
