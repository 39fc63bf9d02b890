# Two nginx instances with two workers each, one Redis: they agree on every count under concurrency.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my @nodes = map { $t->nginx(name => $_, redis => $redis, workers => 2, plans => <<'END') } qw(a b);
lines_plan wide phone included=60 max=60;
lines_plan wide email included=25;
END

my %body = (
    phone => {firstName => 'Ada',   lastName => 'Lovelace', channelType => 'phone'},
    email => {firstName => 'Grace', lastName => 'Hopper',   channelType => 'email', email => 'g@example.com'}
);
my %keys = map { $_ => $nodes[0]->workspace($_ => {plan => 'wide', subscription => 'active'}) } qw(org_1 org_2);

my @answers = concurrently(500, sub ($i) {
    my $id = $i % 2 ? 'org_1' : 'org_2';
    return $nodes[$i / 2 % 2]->post_json_p('/api/line-requests', $body{$i % 5 ? 'phone' : 'email'}, $nodes[0]->bearer($keys{$id}));
});

my %status;
$status{$_->status}++ for @answers;
is $status{201}, 170, 'as many as both plans include: 2 x (60 + 25)' or diag explain \%status;
is $status{201} + ($status{403} // 0), 500, 'the rest is refused';

for my $id (sort keys %keys) {
    my %count;
    my $client = $redis->client;
    $count{$client->hget("lines:{w:$id}:rec:$_", 'channel')}++ for $client->zrange("lines:{w:$id}:lines", 0, -1);
    is_deeply \%count, {phone => 60, email => 25}, "$id: lines in Redis";
    is $client->hget("lines:{w:$id}:t", 'phone_included'), 60, 'places for phones';
    is $client->hget("lines:{w:$id}:t", 'email_included'), 25, 'places for email';

    my @seen = map { [sort map { $_->{_id} } @{$_->get('/api/lines/by-user', $_->bearer($keys{$id}))->json('/lines')}] } @nodes;
    is @{$seen[0]}, 85, 'one node lists them';
    is_deeply $seen[0], $seen[1], 'and the other the same';
    is $client->llen("lines:{w:$id}:journal"), 85, 'an event for each';
}

# places are given back and taken again, from both nodes at once
my @lines = $redis->client->zrange('lines:{w:org_1}:lines', 0, -1);
my @churn = concurrently(300, sub ($i) {
    my $node = $nodes[$i % 2];
    return $node->post_json_p('/api/line-requests', $body{phone}, $node->bearer($keys{org_1})) if $i % 2;
    my $line = $lines[$i / 2 % @lines];
    return $node->request_p(POST => "/_lines/admin/lines/$line/status",
        {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'}, '{"status":"failed"}');
});
is grep({ $_->status >= 500 } @churn), 0, 'no failure';

my $client = $redis->client;
my $live   = grep { $client->hget("lines:{w:org_1}:rec:$_", 'status') eq 'provisioning' && $client->hget("lines:{w:org_1}:rec:$_", 'channel') eq 'phone' }
  $client->zrange('lines:{w:org_1}:lines', 0, -1);
cmp_ok $live, '<=', 60, "never more than the plan has: $live";
is $client->hget('lines:{w:org_1}:t', 'phone_included'), $live, 'places taken and live lines agree';

$t->done;
