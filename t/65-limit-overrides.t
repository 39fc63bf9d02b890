# Rates of a tenant's or a plan's own, by the admin API: on every node, without a reload.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $redis = $t->redis;

my %common = (
    redis   => $redis,
    redis_options => 'timeout=10s',
    workers => 2,
    server  => <<'END',
location /each/  { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 key=tenant name=each sync=each; empty_gif; }
location /lease/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 key=tenant name=lease; empty_gif; }
location /key/   { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 key=key name=key; empty_gif; }
location /large/ { lines_auth workspace; lines_rate_limit rate=1000r/h burst=1000000 key=tenant name=large; empty_gif; }
location /ip/    { lines_rate_limit rate=1r/h burst=3 key=ip name=ip; empty_gif; }
END
);

my @nodes = map { $t->nginx(%common) } 1 .. 2;
my $nginx = $nodes[0];
my %auth  = map { $_ => $nginx->bearer($nginx->workspace($_ => {plan => $_ eq 'big' ? 'growth' : 'mini'})) } qw(one two three big);

# each node, and its workers, hear of it as of a revoked key
sub within ($node, $path, $who, $policy, $what) {
    my $start = time;
    wait_for(sub { policy($node, $path, $who) eq $policy }, 10, $what);
    cmp_ok time - $start, '<', $t->slow, "within a second: $what";
}

# what the first request of a tenant finds on a node: no request waits for it, so it is by the directive's rate where the tenant is
# in another server than the bucket, of a cluster
sub first_finds ($node, $path, $who, $policy, $what) {
    return within($node, $path, $who, $policy, $what) if @{$redis->nodes} > 1;
    is policy($node, $path, $who), $policy, $what;
}

sub policy ($node, $path, $who) { return $node->get($path, $auth{$who})->header('RateLimit-Policy') }

# the configuration's
is policy($nodes[1], '/each/x', 'one'), '"each";q=3;w=10800', 'at first the configuration counts';

{
    my $limits = $nginx->admin(GET => 'limits')->json->{limits};
    is_deeply [sort map { $_->{limit} } @$limits], [qw(each ip key large lease)], 'the admin API lists the limits';
    my ($each) = grep { $_->{limit} eq 'each' } @$limits;
    is_deeply $each, {limit => 'each', key => 'tenant', rate => '1r/h', burst => 3, sync => 'each', fail => 'local', status => 429, dryRun => Mojo::JSON::false}, 'as they are';
}

# a tenant's
{
    my $answer = $nginx->admin(PUT => 'workspaces/one/limits/each', {rate => '10r/h', burst => 20});
    is $answer->status, 200, 'put';
    is_deeply $answer->json, {limit => 'each', rate => '10r/h', burst => 20}, 'and told';
    is_deeply $nginx->admin(GET => 'workspaces/one/limits/each')->json, $answer->json, 'and kept';
    within($_, '/each/x', 'one', '"each";q=20;w=7200', 'on each node') for @nodes;
    is policy($nginx, '/each/x', 'two'), '"each";q=3;w=10800', 'for nobody else';
    is policy($nginx, '/lease/x', 'one'), '"lease";q=3;w=10800', 'nor for another limit';

    $answer = $nginx->admin(DELETE => 'workspaces/one/limits/each');
    is $answer->status, 200, 'deleted';
    is $nginx->admin(DELETE => 'workspaces/one/limits/each')->status, 200, 'twice is once';
    is $nginx->admin(GET => 'workspaces/one/limits/each')->status, 404, 'gone';
    within($_, '/each/x', 'one', '"each";q=3;w=10800', 'the configuration counts again') for @nodes;
}

# what is no rate, whoever wrote it, is as none: the configuration's counts
for my $rate ('1e300 5', '1000 99999999999') {
    $nginx->admin(PUT => 'workspaces/two/limits/each', {rate => '5r/h', burst => 5});
    within($nginx, '/each/x', 'two', '"each";q=5;w=3600', 'a rate');
    $redis->cli('HSET', 'lines:{w:two}:t', 'limit:each', $rate);
    $redis->cli('PUBLISH', 'lines:revoked', 'w:two');
    within($nginx, '/each/x', 'two', '"each";q=3;w=10800', "a limit of its own that says \"$rate\"");
}
$redis->cli('HDEL', 'lines:{w:two}:t', 'limit:each');

# one that was refused is let in within a second, lease or not
for my $where (qw(each lease key)) {
    $nodes[$_ % 2]->get("/$where/x", $auth{three}) for 1 .. 8;
    is $nginx->get("/$where/x", $auth{three})->status, 429, "$where: refused";
    $nginx->admin(PUT => "workspaces/three/limits/$where", {rate => '1000r/s', burst => 100});
    wait_for(sub { ($nodes[1]->get("/$where/x", $auth{three})->header('RateLimit') =~ /r=(\d+)/)[0] > 60 }, 10, 'the raised limit');
    is scalar(grep { $_->status == 200 } concurrently(40, sub ($i) { $nodes[$i % 2]->get_p("/$where/x", $auth{three}) })), 40,
      "$where: the raised limit counts";
}

# a plan's
{
    is $nginx->admin(PUT => 'plans/growth/limits/each', {rate => '7r/h', burst => 7})->status, 200, 'put';
    within($_, '/each/x', 'big', '"each";q=7;w=3600', 'all nodes learn of a plan\'s rate without a reload') for @nodes;
    is policy($nginx, '/each/x', 'two'), '"each";q=3;w=10800', 'for that plan only';
    is_deeply $nginx->admin(GET => 'plans/growth/limits/each')->json, {limit => 'each', rate => '7r/h', burst => 7}, 'kept';

    $nginx->admin(PUT => 'workspaces/big/limits/each', {rate => '9r/h', burst => 9});
    within($nginx, '/each/x', 'big', '"each";q=9;w=3600', 'a tenant\'s own comes before its plan\'s');
    $nginx->admin(DELETE => 'workspaces/big/limits/each');

    $nginx->admin(PUT => 'workspaces/two', {plan => 'growth'});
    within($_, '/each/x', 'two', '"each";q=7;w=3600', 'a tenant that changes its plan') for @nodes;

    $nginx->admin(DELETE => 'plans/growth/limits/each');
    within($_, '/each/x', 'big', '"each";q=3;w=10800', 'the plan\'s end') for @nodes;
}

# who comes later finds the new rate at once, on each worker: nobody is decided by the one before
{
    my %q = (each => 11, lease => 12, key => 13);
    $nginx->admin(PUT => "workspaces/one/limits/$_", {rate => '1r/h', burst => $q{$_}}) for sort keys %q;
    Time::HiRes::sleep($t->slow);
    for my $where (sort keys %q) {
        first_finds($_, "/$where/x", 'one', qq{"$where";q=$q{$where};w=} . 3600 * $q{$where}, "$where: the first that asks on a node") for @nodes;
    }

    $nginx->admin(PUT => 'plans/growth/limits/lease', {rate => '1r/h', burst => 8});
    policy($_, '/lease/x', 'big') for @nodes;
    $nginx->admin(PUT => 'plans/growth/limits/lease', {rate => '1r/h', burst => 9});
    Time::HiRes::sleep($t->slow);
    is policy($_, '/lease/x', 'big'), '"lease";q=9;w=32400', 'a plan\'s' for @nodes;
    $nginx->admin(PUT => 'workspaces/big', {plan => 'mini'});
    Time::HiRes::sleep($t->slow);
    is policy($_, '/lease/x', 'big'), '"lease";q=3;w=10800', 'another plan\'s, which has none' for @nodes;
}

# what a node may have missed, as its subscription was cut, it asks for as soon as that is back
{
    policy($_, '/large/x', 'one') for @nodes;
    wait_for(sub { $_->get('/_lines/metrics')->body =~ /^lines_limit_nodes 2$/m }, 30, 'a share') for @nodes;
    is policy($_, '/large/x', 'one'), '"large";q=1000000;w=3600000', 'before' for @nodes;

    $redis->cli('HSET', 'lines:{w:one}:t', 'limit:large', '3600000.000000 500000 1000r/h');
    $redis->cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    my $start = time;
    wait_for(sub { policy($_, '/large/x', 'one') eq '"large";q=500000;w=1800000' }, 30, 'what nobody told') for @nodes;
    cmp_ok time - $start, '<', 8 * $t->slow, 'soon';
}

# what makes no sense
for (
    ['workspaces/one/limits/nothing',  {rate => '1r/s'}, 404],
    ['workspaces/nobody/limits/each',  {rate => '1r/s'}, 404],
    ['workspaces/one/limits/ip',       {rate => '1r/s'}, 400],
    ['plans/a%20b/limits/each',        {rate => '1r/s'}, 400],
    ['workspaces/one/limits/each',     {}, 400],
    ['workspaces/one/limits/each',     {rate => 5}, 400],
    ['workspaces/one/limits/each',     {rate => '0r/s'}, 400],
    ['workspaces/one/limits/each',     {rate => '1r/s', burst => 0}, 400],
    ['workspaces/one/limits/each',     {rate => '1r/s', burst => '5'}, 400],
    ['workspaces/one/limits/each',     {rate => '1r/s', burst => 1e12}, 400],
  )
{
    is $nginx->admin(PUT => $_->[0], $_->[1])->status, $_->[2], "$_->[2]: $_->[0] " . Mojo::JSON::encode_json($_->[1]);
}
is $nginx->put_json('/_lines/admin/workspaces/one/limits/each', {rate => '1r/s'})->status, 401, 'the operator only';
is $redis->cli('EXISTS', 'lines:{w:nobody}:t'), 0, 'nobody was made by accident';

# the other dialect
SKIP: {
    skip 'no accounts in this module', 1 unless $nginx->knows('lines_account_api');
    $nginx->account(acc => {plan => 'inbound_only'});
    is $nginx->admin(PUT => 'accounts/acc/limits/each', {rate => '1r/s'})->json->{burst}, 1, 'accounts, and a burst left out';
}

# nodes that share a bucket, of which one hears of the store of limits late, and is behind by that: which rate is the latest is not
# for the nodes' clocks to say
{
    my $counts = $t->redis(name => 'counts', kind => 'plain');
    my $way    = $t->way(to => [$counts->port]);
    $way->rules({do => 'delay', ms => 700, answers => 1});

    my ($late, $prompt) = map {
        $t->nginx(%common, limits => "redis://127.0.0.1:$_", limits_options => 'timeout=10s connect_timeout=10s')
    } $way->ports->[0], $counts->port;
    my $policy = sub ($node) { policy($node, '/each/x', 'three') };
    $_->wait_redis && $policy->($_) for $late, $prompt;

    for my $round (1 .. 2) {
        $nginx->admin(PUT => 'workspaces/three/limits/each', {rate => '10r/h', burst => 20});
        wait_for(sub { $policy->($prompt) eq '"each";q=20;w=7200' }, 10, 'a rate of its own');
        $nginx->admin(DELETE => 'workspaces/three/limits/each');

        # each of these takes as long as that store
        my @told = map { $policy->($late) } 1 .. 3;
        is $told[-1], '"each";q=3;w=10800', 'the rate that was taken away just then counts no more' or diag "@told";
        within($prompt, '/each/x', 'three', '"each";q=3;w=10800', '... on the other one either');
    }
}

$t->done;
