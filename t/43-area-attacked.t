# What an attack on wishes for an area has found: a confirm that comes too late for its token leaves no number reserved, and a
# wish that is not met leaves nothing in Redis, of which there might be any number.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx;
my $redis = $shop->redis;
my $wire  = $t->wire(redis => $redis);
my $slow  = $shop->nginx(name => 'slow', redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
$slow->wait_redis;

sub wish ($account) { $nginx->post_json('/accounts/lines/provision-preview', {area_code => '212'}, $account->{headers}) }

$shop->numbers(3, 212);

# two confirms of one token: the one has read that it is good, and reserves once the other has used it
subtest 'a confirm that is late' => sub {
    my %ways = (
        'is refused'  => [undef, 402, 'no_card_on_file'],
        'is declined' => ['cus_declined', 402, 'card_declined'],
        'buys'        => ['cus_card', 200, undef]
    );
    for my $name (sort keys %ways) {
        my ($customer, $status, $error) = @{$ways{$name}};
        my $account = $shop->account($name =~ s/\W/_/gr, customer => $customer);
        my $token   = wish($account)->json('/preview_token');
        my $answer;
        $wire->hold($wire->call(inv_reserve => 'inv'));
        $shop->confirm_p($account, $token, nginx => $slow)->then(sub ($got) { $answer = $got });
        $wire->reached;
        my $first = $shop->confirm($account, $token);
        is_deeply [$first->status, $first->json('/error')], [$status, $error], "the first $name";
        my $id = $shop->operation_id($token);
        $shop->wait_purchase($account, $id);
        $wire->pass;
        wait_for(sub { $answer }, 30, 'the second to be answered');
        is_deeply [$answer->status, $answer->json('/error'), $answer->json('/state')], [410, 'token_expired', $status == 200 ? 'succeeded' : 'failed'], '... the second is too late';
        my $held = $status == 200 ? $first->json('/phone_number') : undef;
        wait_for(sub { ($redis->cli(HGET => 'lines:{inv}:operations', $id) // '') eq ($held // '') }, 30, 'its number to be free, or the line\'s');
        is $redis->cli(ZCARD => 'lines:{inv}:reserved'), 0, '... and leaves none reserved';
    }
};

subtest 'wishes that are not met' => sub {
    my $account = $shop->account('wishful');
    my $keys    = sub { grep {/^lines:\{a:wishful\}:(?:tok|area|previews)/} $redis->client->keys('lines:{a:wishful}:*') };
    for (1 .. 10) {
        my $answer = $nginx->post_json('/accounts/lines/provision-preview', {area_code => '907'}, $account->{headers});
        is_deeply [$answer->status, $answer->json('/error')], [503, 'no_lines_in_area'], 'there is none';
    }
    wait_for(sub { !$keys->() }, 30, 'nothing to be left of them');
    is wish($account)->status, 200, 'one that is met';
    is scalar(my @left = $keys->()), 3, '... has its token, what it wished for, and its place';
};

$redis->cli(ZADD => 'lines:{inv}:reserved', 'XX', 1, $_) for @{$redis->cli(ZRANGE => 'lines:{inv}:reserved', 0, -1)};
is $shop->counts->{free}, 2, 'once that is over, all but the one that was bought can be had';
$shop->agree;
$t->done;
