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

# how many, and what they are: add-ons that live, or the same plan again, which has ended
my %customers = (
    some  => {count => 40,   price => 'price_email'},
    many  => {count => 1010, price => 'price_email'},
    again => {count => 520,  price => 'price_growth', status => 'canceled'},
    lost  => {count => 520,  price => 'price_growth', status => 'canceled'},
);
my %base;

for my $id (sort keys %customers) {
    $sandbox->customer("cus_$id");
    $s->workspace($id, customer => "cus_$id", subscription => 'none');
    $base{$id} = $sandbox->adopt(customer => "cus_$id", price => 'price_growth')->{id};
    wait_for(sub { state_of($id) eq 'active' }, 30, 'the plan');
}

# what a year leaves behind: the base plan is the oldest of them
$sandbox->wait_idle;
$sandbox->stop;

my $file  = Mojo::File::path($sandbox->dir, 'sandbox.state');
my $state = decode_json($file->slurp);
my $all   = $state->{collections}{subscription};

for my $id (keys %customers) {
    my $of = $customers{$id};

    for my $i (2 .. $of->{count}) {
        my $copy = {%{$all->{$base{$id}}}, id => sprintf('sub_%s%04d', $id, $i), $of->{status} ? (status => $of->{status}) : ()};
        my ($item) = @{$copy->{items}{data}};
        $copy->{items} = {%{$copy->{items}}, data => [{%$item, price => {%{$item->{price}}, id => $of->{price}}}]};
        $all->{$copy->{id}} = $copy;
        push @{$state->{order}{subscription}}, $copy->{id};
    }
}

Test::Lines::Util::write_file($file, encode_json($state));
$sandbox->start;
$s->hears;

for my $id (qw(some many)) {
    promise "the base plan of a customer with $customers{$id}{count} subscriptions is canceled: the workspace is, within a minute" => sub {
        my $before = () = $sandbox->requests;
        $sandbox->move($base{$id}, status => 'canceled');
        $s->soon(sub { state_of($id) eq 'canceled' }, 'canceled', 55);

        my @calls = $sandbox->requests;
        cmp_ok @calls - $before, '<', 10, '... and few calls were made for it';
    };
}

promise 'it had the plan 520 times: more than are read at a time, and it goes on where it came to' => sub {
    for my $status (qw(past_due canceled)) {
        $sandbox->move($base{again}, status => $status);
        $s->soon(sub { state_of('again') eq $status }, $status, 55);
    }

    my @firsts = grep {
        my $p = $_->{params};
        ($p->{customer} // '') eq 'cus_again' && ($p->{price} // '') eq 'price_growth' && !$p->{starting_after}
    } $sandbox->requests(GET => '/v1/subscriptions');
    my @told = grep { $_->{type} =~ /^customer\.subscription/ } @{$sandbox->webhooks->{deliveries}};
    cmp_ok scalar @firsts, '<=', scalar @told, '... and begins anew for news alone';
};

promise 'billing refuses what follows the first of them, each time: that is not tried for ever in silence' => sub {
    $nginx->allow(qr/is stuck: plan_refused/);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '400', times => 100_000, param => 'starting_after');
    $sandbox->move($base{lost}, status => 'past_due');
    my $stuck = sub { grep { $_->{stuck} eq 'plan_refused' } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations') // []} };
    $s->soon($stuck, 'a person is asked to look', 55);
    is state_of('lost'), 'active', 'nothing is known yet';
    $sandbox->clear_faults;
    $s->soon(sub { state_of('lost') eq 'past_due' }, 'it goes on by itself', 80);
};

$t->done;
