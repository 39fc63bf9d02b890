# A part is paid after an invoice was read, and before it is void: what the void tells is counted.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $wire    = $t->wire(redis => $s->redis);
my $nginx   = $s->nginx(redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'the node');

promise 'a part is paid while a place of the plan is looked for' => sub {
    my $line = $s->pending_line(workspace => {plan => 'paid'}, request => {channelType => 'phone'});
    $s->rest($line->{tenant});
    $wire->hold($wire->call('request_place'));
    $nginx->admin(PUT => "workspaces/$line->{name}", {plan => 'growth'});
    $wire->reached('request_place');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $wire->pass;
    $s->soon(sub { $s->now_of($line)->{status} ne 'awaiting_payment' }, 'the line goes on');
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'the part went back');
    $s->rest($line->{tenant});
};

$t->done;
