# What a workspace may have has grown while a line of it awaits payment: whoever looks promotes the line, and nobody is asked to pay.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(workers => 2);
my $n       = 0;

my $never = 'what the plan includes is looked at by the begin of a request alone: the line goes on to await its payment';

sub phone () { (request => {channelType => 'phone'}) }

# one phone line is included: the second has to be paid for; then there is room
my %grown = (
    'a place is freed' => sub {
        my $name  = 'freed' . ++$n;
        my $key   = $s->workspace($name, plan => 'growth');
        my $first = $s->request($key, channelType => 'phone')->json('/line/_id');
        my $line  = $s->pending_line(name => $name, key => $key, phone());
        $s->report({line => $first}, 'failed');
        return $line;
    },
    'another plan is bought' => sub {
        my $name = 'bought' . ++$n;
        $sandbox->customer("cus_$name");
        my $line = $s->pending_line(name => $name, workspace => {customer => "cus_$name", plan => 'paid'}, phone());
        $s->deaf;
        $line->{base} = $sandbox->adopt(customer => "cus_$name", price => 'price_growth');
        $nginx->admin(PUT => "workspaces/$name", {plan => 'growth'});
        $s->hears;
        return $line;
    },
);

sub included ($line) {
    is $s->now_of($line)->{status}, 'provisioning', 'the line is there' or return;
    is $s->now_of($line)->{place}, 'included', '... in a place of the plan';
    is_deeply [map { $redis->cli('HGET', "lines:{$line->{tenant}}:t", "phone_$_") || 0 } qw(included paid)], [1, 0], '... and counted there';
    ok !$redis->cli('EXISTS', "lines:{$line->{tenant}}:pending"), '... it blocks nothing';
    $s->soon(sub { ($s->money($line->{subscription}))[2] eq 'canceled' }, 'its subscription is canceled', 3);
    is $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status'), 'void', '... its invoice is void';
    is_deeply [($s->money($line->{subscription}))[0, 1]], [0, 0], '... and nobody was charged';
    is $s->shown($line)->{paymentRequired}, Mojo::JSON->false, 'its client reads that there is nothing to pay';
}

for my $how (sort keys %grown) {
    promise "$how: payment_link promotes the line" => sub {
        my $line   = $grown{$how}->();
        my $answer = $s->action($line->{key}, $line->{line}, 'payment_link');
        is $answer->status, 200, 'a safe recovery action';
        is_deeply [map { $answer->json("/$_") } qw(success status paymentRequired paymentUrl)], [Mojo::JSON->true, 'provisioning', Mojo::JSON->false, undef],
          '... that answers as the request would';
        included($line);
    }, today => $never;

    promise "$how: a reader promotes the line" => sub {
        my $line = $grown{$how}->();
        $s->soon(sub { $s->shown($line)->{status} eq 'provisioning' }, 'it is read so', 2);
        included($line);
    }, today => $never;

    promise "$how, and the void loses to the payment: the line is a paid one" => sub {
        my $line = $grown{$how}->();
        $s->deaf;
        $sandbox->pay($line->{invoice});
        $s->action($line->{key}, $line->{line}, 'payment_link');
        is $s->now_of($line)->{status}, 'provisioning', 'the line is there';
        is $s->now_of($line)->{place}, 'paid', '... in a place that is paid for';
        is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'active'], '... and it is';
        $s->hears;
    };
}

promise 'billing tells of the plan that was bought: the webhook promotes the line' => sub {
    $sandbox->customer('cus_told');
    my $line = $s->pending_line(name => 'told', workspace => {customer => 'cus_told', plan => 'paid'}, phone());
    $sandbox->adopt(customer => 'cus_told', price => 'price_growth');
    wait_for(sub { $redis->cli('HGET', 'lines:{w:told}:t', 'plan') eq 'growth' }, 30, 'the plan');
    $s->soon(sub { $s->now_of($line)->{status} eq 'provisioning' }, 'promoted', 2);
    included($line);
}, today => $never;

$t->done;
