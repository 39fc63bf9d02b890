# The deployment is renamed while it is not known what became of a charge: what was made under the former name is found.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;
my $http    = $nginx->http;

$s->numbers(3);

# a charge whose answer is a 500 for ever, though it was made; nobody could look it up until the name is another
sub renamed_meanwhile ($tenant, $begin) {
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', effect => Mojo::JSON->true, times => 1);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => 'drop_before', times => 1000);
    is $begin->()->status, 503, 'the charge is not known';
    $nginx->http($http =~ s/deployment=\S+/deployment=renamed/r)->reload(wait_old => 1);
    $sandbox->clear_faults;
}

sub one_subscription ($tenant, $id, $step) {
    $s->soon(sub { ($s->op($tenant, $id)->{step} // '') eq $step }, 'it is known', 15);
    my @made = $s->made_for($tenant);
    is scalar @made, 1, 'one subscription was made';
    is $s->op($tenant, $id)->{subscription}, $made[0]{subscription}, '... and adopted';
    $nginx->http($http)->reload(wait_old => 1);
}

my $today = 'a look-up passes over what bears the former name, and takes the charge for absent: another one is made';

promise 'a line request: one subscription' => sub {
    my $key = $s->workspace('one');
    my $line;
    renamed_meanwhile('w:one', sub { my $answer = $s->request($key); $line = $answer->json('/line/_id'); $answer });
    one_subscription('w:one', $line, 'await');
}, today => $today;

promise 'a confirm: one subscription' => sub {
    my $account = $s->account('one');
    my $token   = $s->token($account);
    renamed_meanwhile('a:one', sub { $s->confirm($account, $token, key => 'k') });
    one_subscription('a:one', $s->operation_id($token), 'done');
}, today => $today;

$t->done;
