# lines_tenant_limits requests: how many line requests a workspace may make in a day, and that no more than one awaits payment.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Paid;

my $t       = Test::Lines->new;
my $paid    = Test::Lines::Paid->new(t => $t);
my $nginx   = $paid->nginx(server => <<'END');
location /few/ { lines_workspace_api; lines_tenant_limits requests=3; }
location /any/ { lines_workspace_api; lines_tenant_limits requests=unlimited; }
END
my $redis   = $paid->redis;

my $body = $paid->body;

sub ask ($key, $prefix, %headers) { $nginx->post_json("/$prefix/line-requests", $body, $nginx->bearer($key, %headers)) }

sub cancel ($key, $answer) { $nginx->post_json('/api/line-requests/' . $answer->json('/line/_id'), {action => 'cancel'}, $nginx->bearer($key)) }

sub k ($workspace, $name) { "lines:{w:$workspace}:$name" }

sub refused ($answer, $name) {
    is $answer->status, 429, $name;
    is_deeply $answer->json, {error => 'Too many line requests were made within a day', code => 'request_limit_reached'}, '... in the words of its API';
}

subtest 'asked for and canceled, again and again' => sub {
    my $key = $paid->workspace('one');
    my $first;
    for (1 .. 3) {
        my $answer = ask($key, 'few', 'Idempotency-Key' => "k$_");
        is $answer->status, 201, 'asked for' or diag $answer->to_string;
        $first //= $answer;
        is ask($key, 'few')->status, 409, 'no more than one awaits its payment';
        is cancel($key, $answer)->status, 200, 'canceled';
    }

    my $left = sub { [sort grep {/^lines:\{(?:w:one|ix|due|prov)/} $redis->client->keys('*')] };
    my $before = $left->();
    my $answer = ask($key, 'few', 'Idempotency-Key' => 'k4');
    refused($answer, 'enough for today');
    cmp_ok $answer->header('Retry-After'), '>', 86_300, 'it says when there is room';
    cmp_ok $answer->header('Retry-After'), '<=', 86_400, '... and no later';
    $t->wait_for(sub { "@{$left->()}" eq "@$before" }, 10, 'nothing to be left of it');
    pass 'nothing is left of it';

    is ask($key, 'few', 'Idempotency-Key' => 'k3')->header('Idempotency-Replayed'), 'true', 'a repeat is none';

    # a day later; one that a clock has written which was set back counts not at all
    my $ids = $redis->cli(ZRANGE => k('one', 'lines'), 0, -1);
    $redis->cli(ZINCRBY => k('one', 'lines'), -86_400_000, $ids->[0]);
    my $new = ask($key, 'few', 'Idempotency-Key' => 'k4');
    is $new->status, 201, 'there is room, and the key is good';
    cancel($key, $new);
    refused(ask($key, 'few'), 'for one');
    $redis->cli(ZINCRBY => k('one', 'lines'), 9_000_000_000, $ids->[1]);
    $new = ask($key, 'few');
    is $new->status, 201, 'what is to come does not count';
    cancel($key, $new);
    refused(ask($key, 'few'), 'enough again');
    is ask($key, 'any')->status, 201, 'where there is no bound, one more';

    like $nginx->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="requests"\} 3$/m, 'it is counted';
};

subtest 'by default 500' => sub {
    my $key = $paid->workspace('many');
    my $now = ($redis->cli('TIME'))[0] * 1000;
    $redis->cli('ZADD', k('many', 'lines'), map { ($now - $_, "x$_") } 1 .. 499);
    is cancel($key, ask($key, 'api'))->status, 200, 'one more';
    refused(ask($key, 'api'), 'and no more');
};

subtest 'what a plan includes' => sub {
    my $key = $paid->workspace('roomy', plan => 'growth');
    my $now = ($redis->cli('TIME'))[0] * 1000;
    $redis->cli('ZADD', k('roomy', 'lines'), map { ($now - $_, "x$_") } 1 .. 500);
    refused(ask($key, 'api'), 'what has to be paid for is refused');
    is $nginx->post_json('/api/line-requests', $paid->body(channelType => 'phone'), $nginx->bearer($key))->status, 201, 'what the plan includes is not';
};

$t->done;
