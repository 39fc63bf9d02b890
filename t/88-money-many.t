# A customer with very many subscriptions is looked at as soon as any other.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;

sub state_of ($id) { $s->redis->cli('HGET', "lines:{w:$id}:t", 'subscription') }

# the base plan is the oldest of so many
sub customer_of ($id, $count) {
    $sandbox->customer("cus_$id");
    $s->workspace($id, customer => "cus_$id", subscription => 'none');
    my $base = $sandbox->adopt(customer => "cus_$id", price => 'price_growth');
    wait_for(sub { state_of($id) eq 'active' }, 30, 'the plan');
    $s->deaf;
    my @made = concurrently($count - 1, sub ($i) {
        $sandbox->client->post_json_p('/_sandbox/subscriptions', {customer => "cus_$id", price => 'price_email', metadata => {number => $i}});
    }, 20);
    is scalar(grep { $_->status == 200 } @made), $count - 1, "so many more: $count in all";
    $s->hears;
    return $base;
}

promise 'the base plan of a customer with 40 subscriptions is canceled: the workspace is' => sub {
    my $base = customer_of('some', 40);
    $sandbox->move($base->{id}, status => 'canceled');
    $s->soon(sub { state_of('some') eq 'canceled' }, 'canceled', 10);
};

promise 'the base plan of a customer with 1,010 subscriptions is canceled: the workspace is, within a minute' => sub {
    my $base = customer_of('many', 1010);
    $sandbox->move($base->{id}, status => 'canceled');
    $s->soon(sub { state_of('many') eq 'canceled' }, 'canceled', 12);
}, today => 'all subscriptions of the customer are listed, five a page and 200 pages at most, within one call\'s time: with more the list has no end, and is begun anew for ever';

$t->done;
