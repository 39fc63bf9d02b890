# The deployment is renamed while it is not known what became of a charge: what was made under the former name is found.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;
my $http    = $nginx->http;

$s->numbers(3);

# a charge whose answer is a 500 for ever, though it was made; nobody could look it up, or was told of it, until the name is another
sub renamed_meanwhile ($tenant, $begin) {
    $s->deaf;
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', effect => Mojo::JSON->true, times => 1);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => 'drop_before', times => 1000);
    my $answer = $begin->();
    is $answer->status, 503, 'the charge is not known' if calm;
    $nginx->http($http =~ s/deployment=\S+/deployment=renamed/r)->reload(wait_old => 1);
    $sandbox->clear_faults;
    $s->hears;
}

sub one_subscription ($tenant, $id, $step) {
    $s->soon(sub { ($s->op($tenant, $id)->{step} // '') eq $step }, 'it is known', 15);
    my @made = $s->made_for($tenant);
    is scalar @made, 1, 'one subscription was made';
    is $s->op($tenant, $id)->{subscription}, $made[0]{subscription}, '... and adopted';
    $nginx->http($http)->reload(wait_old => 1);
}

promise 'a line request: one subscription' => sub {
    my $key = $s->workspace('one');
    renamed_meanwhile('w:one', sub { $s->request($key) });
    one_subscription('w:one', $s->redis->cli('GET', 'lines:{w:one}:pending'), 'await');
};

promise 'a confirm: one subscription' => sub {
    my $account = $s->account('one');
    my $token   = $s->token($account);
    renamed_meanwhile('a:one', sub { $s->confirm($account, $token, key => 'k') });
    one_subscription('a:one', $s->operation_id($token), 'done');
};

promise 'what happens to a line of the former name is heard, and what nobody holds may be of another deployment' => sub {
    my $line = $s->active_line;
    my $lost = $s->bought_line;
    $s->rest($_->{tenant}) for $line, $lost;
    $nginx->http($http =~ s/deployment=\S+/deployment=renamed/r)->reload(wait_old => 1);

    # as where a database knows nothing of what another one holds
    $s->redis->cli('DEL', "lines:{$lost->{tenant}}:line:$lost->{line}", "lines:{$lost->{tenant}}:rec:$lost->{line}", "lines:{$lost->{tenant}}:op:$lost->{line}");
    is $s->told_again($lost)->status, 200, 'billing tells of what nobody here holds';
    $sandbox->move($line->{subscription}, status => 'unpaid');
    $s->soon(sub { $s->now_of($line)->{suspended} }, 'the line is suspended');
    $sandbox->move($line->{subscription}, status => 'canceled');
    $s->soon(sub { $s->now_of($line)->{ended} }, '... and ends');

    my ($paid, $back, $status) = $s->money($lost->{subscription});
    is "$paid $back $status", "$paid 0 active", 'what may be of another is let alone';
    $nginx->http($http)->reload(wait_old => 1);
}, leaves => 1;    # what may be of another deployment

promise 'two deployments with copies of one database: each charges for what it confirms itself' => sub {
    my $account = $s->account('copied');
    my $token   = $s->token($account);
    my $then    = $s->remember;
    my $line    = $s->bought_line(account => $account, name => 'copied', token => $token);
    $s->rest('a:copied');
    $s->forget_since($then);
    $nginx->http($http =~ s/deployment=\S+/deployment=copy/r)->reload(wait_old => 1);

    my $again;
    $s->soon(sub { $again = $s->confirm($account, $token, key => 'k'); $again->status == 200 }, 'the other one confirms', 15);
    isnt $again->json('/subscription_id'), $line->{subscription}, '... and has a subscription of its own';
    is_deeply [map { $_->{metadata}{lines_deployment} } $s->made_for('a:copied')], ['test', 'copy'], '... which says whose it is';
}, leaves => 1;    # what is of the other deployment

$t->done;
