# The auditor where much disagrees at once: what a step of its has room for is not all that there is, and nothing is passed over in silence.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(
    t          => $t,
    agent      => 'daily=unlimited monthly=unlimited',
    operations => Test::Lines::Scenario->new->operations . ' audit=5ms pass=1h'
);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(server => 'location = /metrics { lines_metrics; }', http => "lines_tenant_limits billing=unlimited;");
my $audit   = Test::Lines::Audit->new(scenario => $s);

promise "an account's lines end while billing's events are lost, more than are read in a step: one pass finds all" => sub {
    my $account = $s->account('crowd');
    $s->numbers(70);
    my @lines = map { $s->bought_line(name => 'crowd', account => $account, key => "k$_") } 1 .. 70;
    $s->rest('a:crowd');
    $s->deaf;
    $s->hand(cancel => $_->{subscription}) for @lines;
    $audit->one_pass;
    $s->soon(sub { !grep { $s->is_live($_) } @lines }, 'all of them have ended')
      or diag scalar(grep { $s->is_live($_) } @lines), ' are live';
    $s->hears;
};

promise 'more is wrong with a tenant than is kept in doubt at a time: it is found all the same' => sub {
    $s->account('many');
    my @ids = map { sprintf '%024x', $_ } 1 .. 2500;
    $redis->cli('ZADD', 'lines:{a:many}:lines', map { (1, $_) } splice @ids, 0, 500) while @ids;
    my $before = $audit->counted('record');
    $audit->one_pass;
    cmp_ok $audit->counted('record') - $before, '>=', 1000, 'lines that are listed and not there';
    is scalar(grep { $_->{kind} eq 'record' } @{$audit->list}), 200, '... as many are listed as the list has room for';
    $redis->cli('DEL', 'lines:{a:many}:lines');
};

$t->done;
