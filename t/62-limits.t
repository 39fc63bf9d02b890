# lines_rate_limit: exact over nodes, headers, keys, several limits, dry run, pages, internal redirects, overrides' absence.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t        = Test::Lines->new;
my $redis    = $t->redis;
my $upstream = $t->upstream(json => {from => 'upstream'});
my $url      = $upstream->url;

$t->file('www/file.txt',  'a file');
$t->file('www/page.html', 'the page of 429');
my $www = path($t->dir, 'www');

# 1r/h: whatever passes was in the bucket
my %common = (
    redis   => $redis,
    redis_options => 'timeout=10s',
    workers => 2,
    api     => 'lines_rate_limit rate=1r/h burst=5 key=tenant name=api;',
    http    => <<'END',
log_format limits '$uri $status $lines_limit_status $lines_limit_remaining';
END
    server => <<"END",
root $www;
access_log $www/../limits.log limits;

location /each/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=60 key=tenant name=each sync=each; proxy_pass $url; }
location /lease/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=60 key=tenant name=lease; proxy_pass $url; }
location /key/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 key=key name=key; proxy_pass $url; }
location /ip/ { lines_rate_limit rate=1r/h burst=3 key=ip name=ip; proxy_pass $url; }
location /var/ { lines_rate_limit rate=1r/h burst=2 key=\$arg_who name=var; proxy_pass $url; }
location /two/ {
    lines_auth workspace;
    lines_rate_limit rate=1r/h burst=2 key=ip name=two-ip sync=each;
    lines_rate_limit rate=60r/m burst=100 key=tenant name=two-tenant sync=each;
    lines_rate_limit rate=1r/h burst=50 key=\$host name=two-host sync=each;
    proxy_pass $url;
}
location /static/ { alias $www/; lines_rate_limit rate=1r/h burst=2 key=ip name=static; }
location /status/ { lines_rate_limit rate=1r/h burst=1 key=ip name=status status=503; proxy_pass $url; }
location /dry/ { lines_rate_limit rate=1r/h burst=1 key=ip name=dry dry_run; proxy_pass $url; }
location /x/ { lines_rate_limit rate=1r/h burst=2 key=ip name=x x_ratelimit; proxy_pass $url; }
location /page/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=1 key=tenant name=page; error_page 429 /page.html; proxy_pass $url; }
location /redirect/ { lines_rate_limit rate=1r/h burst=4 key=ip name=redirect; rewrite ^/redirect/(.*) /redirected/\$1 last; }
location /redirected/ { lines_rate_limit rate=1r/h burst=4 key=ip name=redirect; try_files /nowhere \@named; }
location \@named { lines_rate_limit rate=1r/h burst=4 key=ip name=redirect; proxy_pass $url; }
location /error/ { lines_rate_limit rate=1r/h burst=3 key=ip name=error; error_page 404 /file.txt; alias /nowhere/; }
location /acct/ { lines_auth account; lines_rate_limit rate=1r/h burst=1 key=tenant name=acct; proxy_pass $url; }
location /inherit/ { lines_rate_limit rate=1r/h burst=1 key=ip name=inherit; location /inherit/off/ { lines_rate_limit off; proxy_pass $url; } location /inherit/on/ { proxy_pass $url; } }
location /free/ { proxy_pass $url; }
location /default/ { lines_rate_limit rate=120r/m key=ip; proxy_pass $url; }
END
);

my @nodes = map { $t->nginx(%common) } 1 .. 2;
my $nginx = $nodes[0];
my $key   = $nginx->workspace(one => {plan => 'growth'});
my $other = $nginx->workspace(two => {plan => 'growth'});
my $auth  = $nginx->bearer($key);

sub passed (@answers) { return scalar grep { $_->status == 200 } @answers }

# exact over two nodes
for my $where (qw(each lease)) {
    my @answers = concurrently(160, sub ($i) { $nodes[$i % 2]->get_p("/$where/$i", $auth) });
    my $passed  = passed(@answers);

    is scalar(grep { $_->status == 429 } @answers), 160 - $passed, "$where: the others are 429";

    if ($where eq 'each') {
        is $passed, 60, 'each: exactly the burst, over two nodes';
    } else {
        cmp_ok $passed, '<=', 60 + 2 * 6, "lease: $passed, the burst and what two nodes may be ahead by at the most";
        cmp_ok $passed, '>=', 60 - 2 * 6, 'lease: what is there passes, but what is counted twice on its way';
    }

    is passed($nginx->get("/$where/other", $nginx->bearer($other))), 1, "$where: another tenant has its own";
}

# the headers
{
    my $answer = $nginx->get('/each/x', $auth);
    is $answer->status, 429, 'rejected';
    is_deeply $answer->json, {error => 'Too many requests', code => 'rate_limited'}, 'in the dialect';
    is $answer->header('RateLimit-Policy'), '"each";q=60;w=216000', 'RateLimit-Policy';
    like $answer->header('RateLimit'), qr/^"each";r=0;t=(\d+)$/, 'RateLimit';
    my ($reset) = $answer->header('RateLimit') =~ /t=(\d+)/;
    is $answer->header('Retry-After'), $reset, 'Retry-After is the same time';
    cmp_ok $reset, '<=', 3600, 'within the hour';
    cmp_ok $reset, '>', 3500, 'not sooner';
    is $answer->header('X-RateLimit-Limit'), undef, 'no X-RateLimit unless asked for';

    $answer = $nginx->get('/each/x', $nginx->bearer($other));
    is $answer->header('RateLimit-Policy'), '"each";q=60;w=216000', 'allowed: RateLimit-Policy';
    like $answer->header('RateLimit'), qr/^"each";r=58;t=\d+$/, 'allowed: RateLimit counts down';
    is $answer->header('Retry-After'), undef, 'allowed: no Retry-After';

    $answer = $nginx->get('/each/x');
    is $answer->status, 401, 'who is not known is not counted';
    is $answer->header('RateLimit'), undef, 'and met no limit';
}

# keys of a tenant, addresses, variables
{
    my $second = $nginx->admin(POST => 'workspaces/one/keys')->json->{key};
    is passed(map { $nginx->get('/key/x', $auth) } 1 .. 5), 3, 'a key has its own';
    is passed(map { $nginx->get('/key/x', $nginx->bearer($second)) } 1 .. 5), 3, 'another of the same tenant, too';
    is passed(map { $nodes[$_ % 2]->get('/ip/x') } 1 .. 6), 3, 'an address';
    is passed(map { $nodes[$_ % 2]->get('/var/x?who=a') } 1 .. 5), 2, 'a variable';
    is passed(map { $nginx->get('/var/x?who=' . 'a' x 4000) } 1 .. 3), 2, 'however long';
    is passed(map { $nginx->get('/var/x') } 1 .. 5), 5, 'an empty one is not counted';
}

# several
{
    my @answers = map { $nginx->get('/two/x', $auth) } 1 .. 6;
    is passed(@answers), 2, 'the narrowest decides';
    like $answers[0]->header('RateLimit-Policy'), qr/^"two-ip";q=2;w=7200, "two-host";q=50;w=180000, "two-tenant";q=100;w=100$/, 'all of them in the header';
    like $answers[1]->header('RateLimit'), qr/^"two-ip";r=0;t=\d+, "two-host";r=48;t=\d+, "two-tenant";r=\d+;t=\d+$/, 'as they stand';

    # what was rejected took nothing of the others
    wait_for(sub {
        my ($name) = $redis->cli('KEYS', 'lines:{l:*}:b:two-host:' . host_hash('127.0.0.1'));
        my ($tat) = ($redis->cli('GET', $name) // '') =~ /^(\d+)/;
        my ($s, $us) = @{$redis->cli('TIME')};
        return $tat && int(($tat - ($s * 1e6 + $us)) / 3600e6 + 0.5) == 2;
    }, 10, 'tokens to come back');
    pass 'a rejected request takes no token of the other limits';
}

sub host_hash ($host) { require Digest::SHA; Digest::SHA::sha256_hex($host) }

# whatever answers, however it is rejected
is passed(map { $nginx->get('/static/file.txt') } 1 .. 4), 2, 'static files';
{
    my @answers = map { $nginx->get('/status/x') } 1 .. 2;
    is $answers[1]->status, 503, 'another status';
    ok $answers[1]->header('Retry-After'), 'with Retry-After';

    @answers = map { $nginx->get('/dry/x') } 1 .. 4;
    is passed(@answers), 4, 'dry_run lets all pass';
    is $answers[3]->header('RateLimit'), undef, 'and says nothing';

    @answers = map { $nginx->get('/x/x') } 1 .. 3;
    is $answers[0]->header('X-RateLimit-Limit'), 2, 'X-RateLimit-Limit';
    is $answers[0]->header('X-RateLimit-Remaining'), 1, 'X-RateLimit-Remaining';
    is $answers[2]->header('X-RateLimit-Remaining'), 0, 'of a rejection';
    is $answers[2]->header('X-RateLimit-Reset'), $answers[2]->header('Retry-After'), 'X-RateLimit-Reset';

    @answers = map { $nginx->get('/page/x', $auth) } 1 .. 2;
    is $answers[1]->status, 429, 'error_page: the status';
    is $answers[1]->body, 'the page of 429', 'error_page: the page';
    ok $answers[1]->header('Retry-After'), 'error_page: Retry-After';
    ok $answers[1]->header('RateLimit'), 'error_page: RateLimit';
}

# internal redirects count once, subrequests not at all
{
    my @answers = map { $nginx->get('/redirect/x') } 1 .. 6;
    is passed(@answers), 4, 'rewritten, then named: counted once';
    ok $answers[0]->header('RateLimit'), 'the header has survived';

    @answers = map { $nginx->get('/error/x') } 1 .. 3;
    is_deeply [map { $_->status } @answers], [404, 404, 404], 'an error page of the limited location';
    ok $answers[2]->header('RateLimit'), 'carries the header';
}

SKIP: {
    skip 'no accounts in this module', 2 unless $nginx->knows('lines_account_api');
    my ($id, $secret) = $nginx->account(acc => {plan => 'inbound_only'});
    my @answers = map { $nginx->get('/acct/x', $nginx->pair($id, $secret)) } 1 .. 2;
    is $answers[1]->status, 429, 'an account';
    is $answers[1]->json->{status}, 'ERROR', 'in its dialect';
}

is passed(map { $nginx->get('/inherit/on/x') } 1 .. 3), 1, 'inherited';
is passed(map { $nginx->get('/inherit/off/x') } 1 .. 3), 3, 'turned off';
is passed(map { $nginx->get('/free/x') } 1 .. 3), 3, 'elsewhere none';
is $nginx->get('/free/x')->header('RateLimit'), undef, 'nor a header';
like $nginx->get('/default/x')->header('RateLimit-Policy'), qr/^"ip";q=2;w=1$/, 'without burst: what a second brings';

# API locations: after authentication, in the dialect
{
    my @answers = map { $nodes[$_ % 2]->get('/api/lines/by-user', $auth) } 1 .. 7;
    is passed(@answers), 5, 'the API';
    my ($rejected) = grep { $_->status == 429 } @answers;
    is $rejected->json->{error}, 'Too many requests', 'in the dialect';
    ok $rejected->header('Retry-After'), 'with Retry-After';
    ok $rejected->header('X-Request-Id'), 'and a request id';
    is $nginx->get('/api/lines/by-user')->status, 401, 'who is not known gets 401';
    like $nginx->get('/api/lines/by-user', $nginx->bearer($other))->header('RateLimit'), qr/^"api";r=4;t=/, 'allowed: the header';
}

# the log
{
    my $log = path($t->dir, 'limits.log');
    wait_for(sub { $log->slurp =~ m{^/api/}m }, 10, 'the log');
    my $text = $log->slurp;
    like $text, qr{^/dry/x 200 rejected_dry_run 0$}m, 'a dry rejection shows in the log';
    like $text, qr{^/each/x 429 rejected 0$}m, 'a rejection';
    like $text, qr{^/each/x 200 passed 58$}m, 'and what is left';
    like $text, qr{^/free/x 200 - -$}m, 'nothing elsewhere';
}

# configuration
{
    my sub config ($server) { $t->test_config(redis => $redis, server => $server) }

    for (
        ['lines_rate_limit burst=5;', qr/"lines_rate_limit" directive needs "rate="/],
        ['lines_rate_limit rate=5;', qr/invalid parameter "rate=5" in "lines_rate_limit"/],
        ['lines_rate_limit rate=0r/s;', qr/invalid parameter "rate=0r\/s"/],
        ['lines_rate_limit rate=1r/s burst=0;', qr/invalid parameter "burst=0"/],
        ['lines_rate_limit rate=1r/s key=nobody;', qr/invalid parameter "key=nobody"/],
        ['lines_rate_limit rate=1r/s name=a/b;', qr/invalid parameter "name=a\/b"/],
        ['lines_rate_limit rate=1r/s fail=maybe;', qr/invalid parameter "fail=maybe"/],
        ['lines_rate_limit rate=1r/s sync=never;', qr/invalid parameter "sync=never"/],
        ['lines_rate_limit rate=1r/s status=200;', qr/invalid parameter "status=200"/],
        ['lines_rate_limit rate=1r/s nonsense;', qr/invalid parameter "nonsense"/],
        ['lines_rate_limit off; lines_rate_limit off nonsense;', qr/invalid parameter "off"/],
        ['lines_rate_limit rate=1r/s name=a; lines_rate_limit rate=2r/s name=a;', qr/"a" is written twice/],
        ['lines_rate_limit rate=1r/s name=a; lines_rate_limit rate=1r/s name=a;', qr/"a" is duplicate/],
      )
    {
        my ($code, $out) = config("location /a/ { $_->[0] }");
        isnt $code, 0, "refused: $_->[0]";
        like $out, $_->[1], 'and says why';
        like $out, qr/nginx\.conf:\d+/, 'and where';
    }

    my ($code, $out) = config('location /a/ { lines_rate_limit rate=1r/s; empty_gif; }');
    is $code, 0, 'a limit by tenant without lines_auth';
    like $out, qr/\[warn\].*needs "lines_auth"/, 'is warned of';
}

$t->done;
