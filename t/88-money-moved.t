# A workspace goes to another customer while billing is asked about a base plan: what it has is what its present customer pays for.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);

sub state_of ($id) { $nginx->admin(GET => "workspaces/$id")->json('/subscription') }

sub moves_to ($id, %to) { is $nginx->admin(PUT => "workspaces/$id", \%to)->status, 200, 'another customer' }

# whose list is asked for from now on, and answered late
sub asked_late ($customer, $code) {
    my $asked = sub { scalar grep { $_->{query} =~ /customer=\Q$customer\E\b/ } $sandbox->requests(GET => '/v1/subscriptions') };
    my $was   = $asked->();
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => 'delay', ms => 1500, times => 1);
    $code->();
    wait_for(sub { $asked->() > $was }, 15, "a look at what $customer has");
}

sub based ($id, $customer) {
    $sandbox->customer($customer);
    $s->workspace($id, customer => $customer, plan => 'starter', subscription => 'none');
    my $base = $sandbox->adopt(customer => $customer, price => 'price_growth');
    $s->soon(sub { state_of($id) eq 'active' }, 'it has a plan');
    $s->rest("w:$id");
    return $base;
}

promise "the former customer's plan ends, and is read as the workspace goes to another: that is nobody's end" => sub {
    my $base = based('moves', 'cus_left');
    $sandbox->customer('cus_came');
    asked_late('cus_left', sub { $sandbox->move($base->{id}, status => 'canceled') });
    moves_to('moves', customer => 'cus_came', plan => 'growth', subscription => 'active');
    $s->rest('w:moves');
    is state_of('moves'), 'active', 'as the operator said of the new one';
};

promise "an event of the former customer, while the new one's plan is read: it is read to its end" => sub {
    my $base = based('moved', 'cus_former');
    $sandbox->customer('cus_next');
    moves_to('moved', customer => 'cus_next', subscription => 'none');
    asked_late('cus_next', sub { $sandbox->adopt(customer => 'cus_next', price => 'price_growth') });
    $sandbox->move($base->{id}, status => 'canceled');
    $s->rest('w:moved');
    $s->soon(sub { state_of('moved') eq 'active' }, 'what the new one has bought counts', 3);
};

$t->done;
