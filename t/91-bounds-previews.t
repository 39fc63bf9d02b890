# lines_tenant_limits previews: how many an account may have open, so that what confirms leave behind is bounded, too.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t, budget => '6s', agent => 'daily=2 monthly=10 preview_ttl=10m');
my $nginx = $shop->nginx(server => <<'END');
location /few/ { lines_account_api; lines_tenant_limits previews=3; }
location /any/ { lines_account_api; lines_tenant_limits previews=unlimited; }
END
my $redis = $shop->redis;

sub preview ($account, $prefix = 'few') { $nginx->post("/$prefix/lines/provision-preview", '', $account->{headers}) }

sub open_of ($account) { $redis->cli(ZCARD => "lines:{a:$account->{id}}:previews") }

sub refused ($answer, $name) {
    is $answer->status, 429, $name or diag $answer->to_string;
    is_deeply $answer->json, {status => 'ERROR', error => 'preview_limit_reached', message => 'Too many previews are open: confirm one, or wait for one to expire'},
      '... in the words of its API';
    cmp_ok $answer->header('Retry-After') // 0, '>', 540, '... which says until when';
    cmp_ok $answer->header('Retry-After') // 0, '<=', 600, '... and no longer';
}

$shop->numbers(10);

subtest 'as many as the bound says' => sub {
    my $one    = $shop->account('one');
    my @tokens = map { preview($one)->json('/preview_token') } 1 .. 3;
    refused(preview($one), 'a fourth is not given');
    is scalar(grep {/:tok:/} $redis->client->keys('lines:{a:one}:*')), 3, 'nothing of it is left';
    is preview($one, 'any')->status, 200, 'where there is no bound, it is';
    is preview($shop->account('two'))->status, 200, "another account's are its own";

    is $shop->confirm($one, $tokens[$_])->status, 200, 'bought' for 0, 1;
    is open_of($one), 2, 'those are open no more';

    # a refused confirm leaves a record, and so counts on
    is $shop->confirm($one, $tokens[2])->json('/error'), 'daily_limit_reached', 'a third is not';
    is open_of($one), 2, 'its token counts until its time has passed';
    like $nginx->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="previews"\} 1$/m, 'it is counted';
};

subtest 'they go by themselves' => sub {
    my $one = $shop->account('later');
    preview($one) for 1 .. 3;
    my $key = 'lines:{a:later}:previews';
    cmp_ok $redis->cli(PTTL => $key), '<=', 600_000, 'with the last one';
    my ($first) = @{scalar $redis->cli(ZRANGE => $key, 0, 0)};
    $redis->cli(ZINCRBY => $key, -600_000, $first);
    is preview($one)->status, 200, 'its time has passed: there is room for another';
    is open_of($one), 3, '... in its place';

    # no token is good for longer than a day: a clock that was set back wrote these
    my $now = 1000 * time;
    $redis->cli(ZADD => $key, map { ($now + 90_000_000, "ahead$_") } 1 .. 3);
    is preview($one, 'few')->status, 429, 'three of its own are open';
    is open_of($one), 3, '... and those that nobody could use count no more';
    ($first) = @{scalar $redis->cli(ZRANGE => $key, 0, 0)};
    $redis->cli(ZINCRBY => $key, 80_000_000, $first);
    is preview($one, 'few')->status, 429, 'what may be good still counts';

    is $nginx->admin(DELETE => 'accounts/later')->status, 200, 'deleted';
    is $redis->cli(EXISTS => $key), 0, 'they go with their account';
};

$t->done;
