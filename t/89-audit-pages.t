# The auditor's pages: what is looked at twice is the same, what is not the line's own says nothing of it, and no place is written
# that is another pass'.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);
use Test::Lines::Script;

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

# billing tells whole seconds: what is of the second in which the database was made may be older than it
wait_for(sub { my $born = $redis->cli('HGET', 'lines:{database}', 'born'); $born && $redis->client->time->[0] > $born / 1000 }, 10, 'a later second');

promise 'billing fails once while many are lost, and its page is smaller: one pass finds all' => sub {
    my $account = $s->account('many');
    $s->numbers(15);
    $s->rest('a:many');
    my $then  = $s->remember;
    my @lines = map { $s->bought_line(name => 'many', account => $account, key => "k$_") } 1 .. 12;
    $s->rest('a:many');
    $s->deaf;
    $s->forget_since($then);
    $nginx->allow(qr/billing/);
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '500', times => 1);
    $audit->one_pass;
    my $back = sub ($line) { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back };
    $s->soon(sub { !grep { !$back->($_) } @lines }, 'all of them were paid back') or diag scalar(grep { !$back->($_) } @lines), ' were not';
    ok scalar(grep { ($_->{fault} // '') eq '500' } $sandbox->requests('GET')), 'billing had failed';
    $s->hears;
};

promise 'another subscription names the line, under another deployment: the line\'s own is looked at all the same' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    $s->deaf;
    $sandbox->adopt(customer => 'cus_card', price => 'price_phone', metadata => {lines_deployment => 'another', tenant => $line->{tenant}, line_request => $line->{line}});
    $s->hand(cancel => $line->{subscription});
    $audit->one_pass;
    $s->soon(sub { !$s->is_live($line) }, 'it has ended') or diag explain $s->now_of($line);
    $s->hears;
};

promise 'an account is lost, and the inventory is not: its number is nobody else\'s, and it is whole once the account is there again' => sub {
    my $line = $s->bought_line;
    my $of   = $s->account('ticketed');
    $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $of->{headers});
    my ($ticket) = map {/:ticket:(\d+)$/} $redis->client->keys('lines:{a:ticketed}:ticket:*');
    is $nginx->admin(POST => "tickets/$ticket", {status => 'FULFILLED'})->status, 200, 'so has a ticket';
    my $theirs = $redis->cli('HGET', "lines:{a:ticketed}:ticket:$ticket", 'number');
    $s->rest($line->{tenant});
    wait_for(sub { !$redis->cli('ZCARD', 'lines:{inv}:leases') }, 30, 'no number to be looked at');
    $nginx->allow(qr/is known, and lost|lines audit: /);
    my @keys = map { $redis->client->keys("lines:{$_}:*") } $line->{tenant}, 'a:ticketed';
    $redis->cli('RENAME', $_, "lost:$_") for @keys;
    $audit->one_pass;
    $audit->shows(number => $_, 'shown', qr/^assigned to /, qr/^its tenant is lost$/) for $line->{number}, $theirs;

    # nor when one looks at it
    $redis->cli('ZADD', 'lines:{inv}:leases', 1, "$line->{tenant} $line->{line}");
    wait_for(sub { $redis->cli('ZSCORE', 'lines:{inv}:leases', "$line->{tenant} $line->{line}") != 1 }, 10, 'a look');
    $audit->one_pass;
    like $redis->cli('HGET', 'lines:{inv}:numbers', $_), qr/^assigned/, 'it stays as it is' for $line->{number}, $theirs;
    $redis->cli('RENAME', "lost:$_", $_) for @keys;
    wait_for(sub { !$redis->cli('ZCARD', 'lines:{inv}:leases') }, 30, 'no number to be looked at');
    $audit->one_pass;
    ok !$audit->found(number => $_), 'then all agrees' for $line->{number}, $theirs;
};

promise 'a tenant is deleted while the auditor lists it: its name does not stay' => sub {
    my $world = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=off');
    my $eyes  = Test::Lines::Scenario->new(t => $t, redis => $world->redis, sandbox => $world->sandbox, webhooks => 0,
        operations => Test::Lines::Scenario->new->operations . ' audit=5ms pass=200ms');
    my $node = $world->nginx(name => 'acts');
    my $wire = $t->wire(redis => $world->redis);
    my $line = $world->active_line;
    my $of   = $line->{tenant} =~ s/^w://r;
    my $list = sub { $world->redis->cli('SISMEMBER', 'lines:{tenants}', $line->{tenant}) };
    $world->rest($line->{tenant});
    $wire->hold(qr/SADD\r.*lines:\{tenants\}/s);
    my $sees = $eyes->nginx(name => 'sees', redis => $wire->url, redis_options => 'timeout=60s connect_timeout=10s');
    $wire->reached('the list');
    $world->release($line);
    wait_for(sub { $node->admin(DELETE => "workspaces/$of")->status == 200 }, 30, 'it to be deleted');
    ok !$list->(), 'it is not listed';
    $wire->pass;
    Test::Lines::Audit->new(scenario => $eyes)->whole_pass for 1 .. 2;
    ok !$list->(), '... nor later';
    is $node->admin(PUT => "workspaces/$of", {plan => 'growth'})->status, 201, 'there is one of its name again';
    Test::Lines::Audit->new(scenario => $eyes)->whole_pass;
    ok $list->(), '... which is listed';
    $_->quit for $sees, $node;
};

promise 'a worker that stood still while others went on: its place is none of their pass' => sub {
    my $empty   = $t->redis;
    my $scripts = Test::Lines::Script->new(redis => $empty);
    my $turn    = sub ($me, @place) { my %r; @r{qw(is now phase cursor began)} = @{$scripts->run(audit_turn => ['lines:{audit}', 'lines:{audit}:lease'], $me, 3000, 1, @place)}; \%r };
    $empty->cli('HSET', 'lines:{audit}', asked => 1);
    my $first = $turn->('one', '', '', '', '');
    is $first->{phase}, 'subscriptions', 'one begins a pass, and stands still';
    $empty->cli('DEL', 'lines:{audit}:lease');
    $turn->('two', 'end', '', '', '', $first->{began});
    $empty->cli('HSET', 'lines:{audit}', phase => '', asked => 1);
    wait_for(sub { $empty->client->time->[0] * 1000 > $first->{began} + 1000 }, 5, 'a later instant');
    my $second = $turn->('two', '', '', '', '');
    cmp_ok $second->{began}, '>', $first->{began}, 'another ends it, and begins the next one';
    $empty->cli('DEL', 'lines:{audit}:lease');
    is $turn->('one', 'tenants', '', '', '', $first->{began})->{phase}, 'subscriptions', 'the first one goes on where that is, not where it was itself';

    # nor does it end what is not its own
    my @keys = map { "lines:{audit}:$_" } qw(found order doubts);
    $scripts->run(audit_found => \@keys, 'record', 'shown', 'w:x', 'one', '', 'a', 'b', 200, '1');
    $empty->cli('ZADD', $keys[1], $first->{began}, $_) for @{$empty->cli('ZRANGE', $keys[1], 0, -1)};
    $scripts->run(audit_end => ['lines:{audit}', @keys], 86_400_000, $first->{began});
    is $empty->cli('HGET', 'lines:{audit}', 'phase'), 'subscriptions', 'and it ends none but its own';
    is $empty->cli('HLEN', $keys[0]), 1, '... what was found is shown until the pass has not seen it';
    $scripts->run(audit_end => ['lines:{audit}', @keys], 86_400_000, $second->{began});
    is $empty->cli('HLEN', $keys[0]), 0, '... and no longer';
};

$t->done;
