# What goes over all tenants by itself leaves the places in flight to requests, however much one tenant has unfinished.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $t     = Test::Lines->new;
my $paid  = Test::Lines::Paid->new(t => $t, operations => 'sweep=100ms retry=300ms due=1h walk=100ms');
my $redis = $paid->redis;

# operations that somebody else has in hand: for each the survey reads a record, the walk writes a hint
sub unfinished ($id, $n) {
    $redis->client->eval(<<'END', 2, "lines:{w:$id}:ops", "lines:{w:$id}:op:", $n);
local now = redis.call('TIME')[1]
for i = 1, ARGV[1] do
    local id = string.format('%024x', i)
    redis.call('SADD', KEYS[1], id)
    redis.call('HSET', KEYS[2] .. id, 'kind', 'request', 'step', 'tell', 'attempt', '1', 'fence', '1',
        'begun', now .. '000', 'lease_until', now + 86400 .. '000')
end
END
}

for my $case (['walk', 'lines_metrics survey=1h'], ['survey', 'lines_metrics survey=1s', walk => '1h']) {
    my ($what, $metrics, %operations) = @$case;

    subtest $what => sub {
        $paid->operations('sweep=100ms retry=300ms due=1h walk=' . ($operations{walk} // '100ms'));
        my $nginx = $paid->nginx(name => $what, redis_options => 'max_inflight=100 timeout=5s', server => "location = /numbers { $metrics; }");
        my $key   = $nginx->workspace("other$what", {plan => 'paid', customer => 'cus_card'});
        $nginx->workspace("busy$what", {plan => 'paid', customer => 'cus_card'});
        $nginx->wait_redis;
        my $refused = sub { $nginx->get('/numbers')->body =~ /^lines_redis_failures_total\{reason="refused"\} (\d+)$/m ? $1 : -1 };
        my $before  = $refused->();
        unfinished("busy$what", 1500);

        my $done = sub {
            return ($nginx->get('/numbers')->body =~ /^lines_operations\{state="running"\} (\d+)$/m ? $1 : 0) >= 1500 if $what eq 'survey';
            my $hints = 0;
            $hints += $redis->cli('ZCARD', "lines:{due:$_}") for 0 .. 15;
            return $hints >= 1500;
        };

        my %status;
        wait_for(sub { $status{$nginx->get('/api/lines/by-user', $nginx->bearer($key))->status}++ for 1 .. 5; $done->() }, 60, "the $what");
        is_deeply [keys %status], [200], 'others are served meanwhile' or diag explain \%status;
        is $refused->(), $before, 'and nothing met the bound';
        $redis->client->del("lines:{w:busy$what}:ops");
        $nginx->quit;
    };
}

$t->done;
