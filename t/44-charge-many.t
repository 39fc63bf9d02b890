# A charge whose answer was lost a day ago, of a customer with hundreds of other subscriptions, more than are read at a time: what
# is looked for is found on the last page, and what is not there is proven to be absent in two looks, each of which goes on where it
# came to. What is older than the operation is not read.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Parameters;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t       = Test::Lines->new(timeout => 600);
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $shop    = Test::Lines::Account->new(t => $t, provisioner => $told->url, webhooks => 0);
my $sandbox = $shop->sandbox;
my $nginx   = $shop->nginx;

$shop->numbers(5);
$nginx->allow(qr/gets no answer|is stuck/);

# whether it was charged, how long ago it began, and what becomes of it
my %cases = (
    found => {effect => 1, begun => 22 * 3600,      status => 200, keys => 1},
    anew  => {effect => 0, begun => 22 * 3600,      status => 200, keys => 2},
    ended => {effect => 0, begun => 10 * 86400,     status => 500, keys => 1, others => 40},
);

# all of these are older than what follows
my %old;

for my $name (keys %cases) {
    $sandbox->customer("cus_$name");
    $old{$sandbox->adopt(customer => "cus_$name", age => 4 * 86400)->{id}} = 1 for 1 .. 20;
}

for my $name (sort keys %cases) {
    my $case    = $cases{$name};
    my $others  = $case->{others} // 520;
    my $looks   = $case->{effect} ? 1 : 2;
    my $account = $shop->account($name, customer => "cus_$name");
    my $token   = $shop->token($account);
    my $op      = $shop->operation_id($token);

    # the answer of the first is lost, and then nothing answers
    $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_after', times => 1) if $case->{effect};
    $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_before', times => 10000);
    is $shop->confirm($account, $token, key => 'k')->json('/error'), 'provisioning_pending', "$name: pending";
    is scalar $shop->bought($account), $case->{effect}, "$name: as it says";

    my $then  = time - 23 * 3600 - 60;
    my $begun = time - $case->{begun};
    $shop->redis->cli(HSET => "lines:{a:$name}:op:$op", sent_at => $then * 1000, begun => $begun * 1000);

    # another deployment has operations, too
    $sandbox->adopt(customer => "cus_$name", metadata => {lines_deployment => 'elsewhere', operation => $op}, count => $others);

    my $before = () = $sandbox->requests;
    $sandbox->clear_faults;

    $shop->wait_purchase($account, $op);
    my $answer = $shop->confirm($account, $token, key => 'k');
    is $answer->status, $case->{status}, "$name: known in the end" or diag $answer->to_string;
    is scalar $shop->bought($account), $case->{status} == 200 ? 1 : 0, "$name: charged accordingly";

    my @calls = $sandbox->requests;
    splice @calls, 0, $before;

    # one that was dropped yet, since the count
    @calls = grep { !$_->{fault} } @calls;

    my @sent  = grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/subscriptions' } @calls;
    my @pages = grep { $_->{method} eq 'GET'  && $_->{path} eq '/v1/subscriptions' } @calls;

    is_deeply [map { $_->{idempotency_key} } @sent], [map { "lines:$op:sub:$_" } 2 .. $case->{keys}], "$name: what was sent after";
    cmp_ok scalar @pages, '>=', $looks * $others / 5, "$name: all pages were read, times $looks";
    is scalar(grep { !length(Mojo::Parameters->new($_->{query} // '')->param('starting_after') // '') } @pages), $looks,
      "$name: a look that is too long for a call, of 100 pages, goes on where it came to";

    my @after = map { Mojo::Parameters->new($_->{query} // '')->param('starting_after') // () } @pages;
    my $older = grep { $old{$_} } @after;
    $case->{begun} < 4 * 86400 ? is $older, 0, "$name: but for those that are older" : cmp_ok $older, '>', 0, "$name: the others, too, where they are not older";
}

$shop->agree('charges, lines, numbers and windows agree');

$t->done;
