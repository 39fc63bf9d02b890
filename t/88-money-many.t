# A customer with very many subscriptions is looked at as soon as any other.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File;
use Mojo::JSON qw(decode_json encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox(state => 1);
my $s       = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, operations => 'sweep=200ms retry=200ms due=1s lease=40s');
my $nginx   = $s->nginx(start => 0);

# it is the number that is too much, not the time that this machine takes for them
$nginx->http($nginx->http =~ s/ timeout=6s/ timeout=30s/r)->start;

sub state_of ($id) { $s->redis->cli('HGET', "lines:{w:$id}:t", 'subscription') }

# the base plan is the oldest of so many
sub customer_of ($id, $count) {
    $sandbox->customer("cus_$id");
    $s->workspace($id, customer => "cus_$id", subscription => 'none');
    my $base = $sandbox->adopt(customer => "cus_$id", price => 'price_growth');
    wait_for(sub { state_of($id) eq 'active' }, 30, 'the plan');

    # what a year leaves behind
    $sandbox->wait_idle;
    $sandbox->stop;
    my $file  = Mojo::File::path($sandbox->dir, 'sandbox.state');
    my $state = decode_json($file->slurp);
    for my $i (2 .. $count) {
        my $copy = {%{$state->{collections}{subscription}{$base->{id}}}, id => sprintf('sub_%s%04d', $id, $i)};
        $copy->{items} = {%{$copy->{items}}, data => [{%{$copy->{items}{data}[0]}, price => {%{$copy->{items}{data}[0]{price}}, id => 'price_email'}}]};
        $state->{collections}{subscription}{$copy->{id}} = $copy;
        push @{$state->{order}{subscription}}, $copy->{id};
    }
    Test::Lines::Util::write_file($file, encode_json($state));
    $sandbox->start;
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
    $s->soon(sub { state_of('many') eq 'canceled' }, 'canceled', 14);
}, today => 'all subscriptions of the customer are listed, five a page and 200 pages at most: a longer list is never read to its end, and is begun anew for ever';

$t->done;
