# lines_tenant_limits declined: whoever tries one card after the other is stopped, and told until when.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(concurrently wait_for);
use Test::Lines::Account;

my $t       = Test::Lines->new;
my $shop    = Test::Lines::Account->new(t => $t, budget => '6s', agent => 'daily=50 monthly=100 preview_ttl=10m');
my $nginx   = $shop->nginx(server => <<'END');
location /two/  { lines_account_api; lines_tenant_limits declined=2 declined_window=10m; }
location /any/  { lines_account_api; lines_tenant_limits declined=unlimited; }
location /twow/ { lines_workspace_api; lines_tenant_limits declined=2; }
END
my $redis   = $shop->redis;
my $sandbox = $shop->sandbox;

sub k ($tenant, $name) { "lines:{$tenant}:$name" }

sub confirm ($account, $prefix, $token, $key = "key-$token") {
    return $nginx->post_json("/$prefix/lines/provision-confirm", {preview_token => $token}, {%{$account->{headers}}, 'Idempotency-Key' => $key});
}

sub refused ($answer, $name, $seconds) {
    is $answer->status, 429, $name or diag $answer->to_string;
    my $left = $answer->header('Retry-After') // 0;
    cmp_ok $left, '>', $seconds - 60, '... which says until when';
    cmp_ok $left, '<=', $seconds, '... and no longer';
    return $answer->json;
}

$shop->numbers(20);

subtest 'cards that are tried' => sub {
    my $one = $shop->account('one', customer => 'cus_declined');
    my @tokens = map { $shop->issue($one) } 1 .. 6;

    is confirm($one, 'accounts', $tokens[0])->status, 402, 'declined';
    is confirm($one, 'accounts', $tokens[0])->header('Idempotency-Replayed'), 'true', 'asked again with its key' for 1 .. 9;
    is $redis->cli(ZCARD => k('a:one', 'declined')), 1, '... it counts once';
    is confirm($one, 'accounts', $tokens[$_])->status, 402, 'another' for 1 .. 4;
    is_deeply [$shop->window($one)], [], 'none of them is a purchase';

    my $json = refused(confirm($one, 'accounts', $tokens[5]), 'the sixth is not tried', 3600);
    is_deeply $json, {status => 'ERROR', error => 'declined_limit_reached', message => 'Too many payments were declined: try again later'}, '... in the words of its API';
    like $redis->cli(GET => $shop->token_key($one, $tokens[5])), qr/^valid/, 'its token is good still';
    is $redis->cli(EXISTS => k('a:one', 'op:' . $shop->operation_id($tokens[5]))), 0, 'nothing has begun';
    is confirm($one, 'accounts', $tokens[0])->header('Idempotency-Replayed'), 'true', 'a repeat has its answer';
    is $shop->preview($one)->status, 200, 'a preview says what it said';

    # a card that is good, and the oldest counts no more
    $sandbox->customer(cus_better => 'ok');
    $nginx->admin(PUT => 'accounts/one', {plan => 'inbound_only', customer => 'cus_better'});
    refused(confirm($one, 'accounts', $tokens[5]), 'a good card, tried at once', 3600);
    my ($oldest) = @{scalar $redis->cli(ZRANGE => k('a:one', 'declined'), 0, 0)};
    $redis->cli(ZINCRBY => k('a:one', 'declined'), -3_600_000, $oldest);
    my $answer = confirm($one, 'accounts', $tokens[5]);
    is $answer->status, 200, '... and later, with the same token and key' or diag $answer->to_string;

    my $two = $shop->account('two');
    is confirm($two, 'accounts', $shop->token($two))->status, 200, 'others are nothing to that';
    like $nginx->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="declined"\} 2$/m, 'it is counted';
};

subtest 'as many as the bound says, of its window' => sub {
    my $one = $shop->account('three', customer => 'cus_declined');
    is confirm($one, 'two', $shop->issue($one))->status, 402, 'declined' for 1, 2;
    refused(confirm($one, 'two', $shop->issue($one)), 'no third', 600);
    is confirm($one, 'any', $shop->issue($one))->status, 402, 'where there is no bound, it is';
    $redis->cli(ZADD => k('a:three', 'declined'), 9_000_000_000_000 + $_, "far$_") for 1 .. 9;
    $redis->cli(ZINCRBY => k('a:three', 'declined'), -600_000, $_) for @{scalar $redis->cli(ZRANGE => k('a:three', 'declined'), 0, 2)};
    is confirm($one, 'two', $shop->issue($one))->status, 402, 'what is to come does not count';
};

subtest 'many at once' => sub {
    my $one    = $shop->account('racer', customer => 'cus_declined');
    my $tried  = sub { scalar grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/subscriptions' } $sandbox->requests };
    my @tokens = map { $shop->issue($one) } 1 .. 40;
    my $before = $tried->();

    my %got;
    $got{join ' ', $_->status, $_->json('/error')}++ for concurrently(40, sub ($i) { $shop->confirm_p($one, $tokens[$i], key => "race$i") });
    is $tried->() - $before, 5, 'five cards are tried, however many are asked for' or diag explain \%got;
    is $got{'402 card_declined'}, 5, '... and declined';
    is $got{'429 declined_limit_reached'}, 35, 'all others are refused';
    is scalar(grep { $redis->cli(GET => $shop->token_key($one, $_)) =~ /^valid/ } @tokens), 35, '... and their tokens good';

    # one that is under way, for as long as a window and no longer
    my $good = $shop->account('goods');
    my $ops  = sub ($age) {
        $redis->cli(ZADD => k('a:goods', 'win'), 1000 * time - $age, 'other');
        $redis->cli(SADD => k('a:goods', 'ops'), 'other');
    };
    is confirm($good, 'two', $shop->issue($good))->status, 200, 'bought' for 1 .. 4;
    $ops->(590_000);
    is confirm($good, 'two', $shop->issue($good))->status, 200, 'one is under way';
    $redis->cli(ZADD => k('a:goods', 'declined'), 1000 * time, 'x');
    my ($refused) = $nginx->get('/_lines/metrics')->body =~ /^lines_tenant_limited_requests_total\{bound="declined"\} (\d+)$/m;
    my $answer = confirm($good, 'two', my $token = $shop->issue($good));
    is $answer->status, 429, 'it may be declined as another was';
    is $answer->header('Retry-After'), 2, '... which is known soon';
    is_deeply $answer->json, {status => 'ERROR', error => 'declined_limit_reached', message => 'Too many payments are under way or were declined: try again soon'},
      '... and not told that too many were declined';
    like $nginx->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="declined"\} @{[$refused + 1]}$/m, '... it counts as the bound';
    $ops->(610_000);
    is confirm($good, 'two', $token)->status, 200, 'what hangs for longer bars nobody';
};

subtest 'no more than a day of them is kept, or a thousand' => sub {
    my $one = $shop->account('four', customer => 'cus_declined');
    my $now = 1000 * time;
    $redis->cli(ZADD => k('a:four', 'declined'), map { ($now - 90_000_000 - $_, "old$_") } 1 .. 50);
    $redis->cli(ZADD => k('a:four', 'declined'), map { ($now - 80_000_000 - $_, "new$_") } 1 .. 1100);
    is confirm($one, 'accounts', $shop->issue($one))->status, 402, 'declined';
    is $redis->cli(ZCARD => k('a:four', 'declined')), 1000, 'a thousand are kept';
    is $redis->cli(ZSCORE => k('a:four', 'declined'), 'old1'), undef, '... of a day';
    cmp_ok $redis->cli(PTTL => k('a:four', 'declined')), '<=', 86_400_000, '... and a day long';

    my $gone = $shop->account('gone', customer => 'cus_declined');
    is confirm($gone, 'accounts', $shop->issue($gone))->status, 402, 'declined';
    is $nginx->admin(DELETE => 'accounts/gone')->status, 200, 'deleted';
    is $redis->cli(EXISTS => k('a:gone', 'declined')), 0, 'it goes with its account';
};

# a thousand that lie ahead would be kept, and each new one go
subtest 'a clock that was set back' => sub {
    my $one = $shop->account('back', customer => 'cus_declined');
    my $now = 1000 * time;
    $redis->cli(ZADD => k('a:back', 'declined'), map { ($now + 3_600_000 + $_, "ahead$_") } 1 .. 1000);
    is confirm($one, 'any', $shop->issue($one))->status, 402, 'declined' for 1, 2;
    is $redis->cli(ZCARD => k('a:back', 'declined')), 2, 'what lies ahead is gone';
    refused(confirm($one, 'two', $shop->issue($one)), 'what is new counts', 600);

    my $two = $shop->account('reader');
    $redis->cli(ZADD => k('a:reader', 'declined'), $now + 30_000, 'near', $now + 3_600_000, 'far', $now + 7_200_000, 'farther');
    is confirm($two, 'two', $shop->token($two))->status, 200, 'nor does it count later, where no more are declined';
    is_deeply scalar $redis->cli(ZRANGE => k('a:reader', 'declined'), 0, -1), ['near'], '... but a server that is behind by a little forgets nothing';
};

subtest 'a line request' => sub {
    my $key = $shop->workspace('one', plan => 'growth');
    my $ask = sub (%more) { $nginx->post_json('/twow/line-requests', $shop->body(%more), $nginx->bearer($key)) };
    my $now = 1000 * time;
    $redis->cli(ZADD => k('w:one', 'declined'), $now - $_, "x$_") for 1, 2;
    $redis->cli(ZADD => k('w:one', 'declined'), $now + 3_600_000, 'ahead');
    is_deeply refused($ask->(), 'that has to be paid for', 3600), {error => 'Too many payments were declined: try again later', code => 'declined_limit_reached'}, '... in its words';
    is $redis->cli(ZCARD => k('w:one', 'declined')), 2, '... and what lay ahead of the clock is gone';
    is $ask->(channelType => 'phone')->status, 201, 'one that the plan includes';
};

$t->done;
