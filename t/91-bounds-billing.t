# lines_tenant_limits billing: how often a tenant may have billing asked, whatever it is for; what is under way goes on.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(true);
use Test::More;
use Test::Lines;
use Test::Lines::Account;
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $shop    = Test::Lines::Account->new(t => $t, budget => '4s', operations => 'sweep=300ms retry=300ms due=2s lease=20s absent=1s walk=1s audit=off');
my $nginx   = $shop->nginx(server => <<'END');
location /slow/  { lines_workspace_api; lines_tenant_limits billing=1r/h billing_burst=4; }
location /slowa/ { lines_account_api; lines_tenant_limits billing=1r/h billing_burst=2; }
location /any/   { lines_workspace_api; lines_tenant_limits billing=unlimited; }
END
my $redis   = $shop->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);
my %words   = (error => 'Too many requests that billing has to be asked for', code => 'billing_limit_reached');

sub ask ($key, %more) { $nginx->post_json('/slow/line-requests', $shop->body(%more), $nginx->bearer($key)) }

sub act ($key, $id, $action, $prefix = 'slow') { $nginx->post_json("/$prefix/line-requests/$id", {action => $action}, $nginx->bearer($key)) }

sub calls { scalar(my @all = $shop->sandbox->requests) }

sub refused ($answer, $name, $words = \%words) {
    is $answer->status, 429, $name or diag $answer->to_string;
    is_deeply $answer->json, $words, '... in the words of its API';
    cmp_ok $answer->header('Retry-After') // 0, '>', 3500, '... which says when there is room';
    cmp_ok $answer->header('Retry-After') // 0, '<=', 3600, '... and no later';
}

$shop->numbers(10);

subtest 'line requests and what is asked of them' => sub {
    my $key = $shop->workspace('one', plan => 'growth');
    my $id  = ask($key)->json('/line/_id');
    is act($key, $id, 'payment_link')->status, 200, 'the link again' for 1, 2;

    # a second one looks whether the first is dead: that is the fourth
    is ask($key)->status, 409, 'another one awaits its payment';
    my $before = calls();
    is ask($key)->status, 409, 'and still does' for 1 .. 5;
    is calls(), $before, '... which billing is not asked for any more';
    refused(act($key, $id, 'payment_link'), 'no link any more');
    is calls(), $before, '... of which billing hears nothing';

    is ask($key, channelType => 'phone')->status, 409, 'it blocks what is included, too';
    is act($key, $id, 'cancel')->status, 200, 'the first cancel is free';
    is act($key, $id, 'cancel')->status, 409, 'a second one finds it canceled';
    is ask($key, channelType => 'phone')->status, 201, 'what is included needs no billing';
    my $left = grep {/^lines:\{w:one\}/} $redis->client->keys('*');
    refused(ask($key), 'nothing more that has to be paid for');
    is scalar(grep {/^lines:\{w:one\}/} $redis->client->keys('*')), $left, 'nothing is left of it';

    my $other = $nginx->post_json('/any/line-requests', $shop->body, $nginx->bearer($key));
    is $other->status, 201, 'where there is no bound';
    $id = $other->json('/line/_id');

    # as a cancel that goes on
    $shop->sandbox->fault(path => '/v1/invoices/:id/void', kind => 'drop_before', times => 1000);
    is act($key, $id, 'cancel')->status, 503, 'billing is away: the cancel goes on';
    refused(act($key, $id, 'cancel'), 'asked for once more');
    $shop->sandbox->clear_faults;
    $t->wait_for(sub { $nginx->get("/any/line-requests/$id", $nginx->bearer($key))->json('/line/provisioningStatus') eq 'canceled' }, 60, 'the cancel to go on');
    pass 'and goes on by itself, without a token';

    like $nginx->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="billing"\} 3$/m, 'it is counted';
};

subtest 'confirms' => sub {
    my $one = $shop->account('one');
    my $buy = sub ($token, $key = $token) { $nginx->post_json('/slowa/lines/provision-confirm', {preview_token => $token}, {%{$one->{headers}}, 'Idempotency-Key' => $key}) };
    my @tokens = map { $shop->issue($one) } 1 .. 3;
    is $buy->($tokens[$_])->status, 200, 'bought' for 0, 1;
    refused($buy->($tokens[2]), 'no third', {status => 'ERROR', error => $words{code}, message => $words{error}});
    is $buy->($tokens[0])->header('Idempotency-Replayed'), 'true', 'a repeat has its answer';
    like $redis->cli(GET => $shop->token_key($one, $tokens[2])), qr/^valid/, 'its token is good still';
    is scalar(@{[$shop->window($one)]}), 2, 'no place is taken';
    is $redis->cli(EXISTS => 'lines:{ix:' . $shop->operation_id($tokens[2]) . '}'), 0, 'and nobody looks for it';
    $redis->cli(DEL => 'lines:{a:one}:calls');
    is $buy->($tokens[2])->status, 200, 'later, with the same token and key';
};

# billing is asked for it, too, though nothing is kept of it
subtest 'dry runs of a confirm' => sub {
    my $dry   = $shop->account('dry');
    my $token = $shop->issue($dry);
    my $run   = sub ($prefix, $body = {dry_run => true}) { $nginx->post_json("$prefix/lines/provision-confirm", {preview_token => $token, %$body}, $dry->{headers}) };
    my $words = {status => 'ERROR', error => $words{code}, message => $words{error}};
    is $run->('/slowa')->status, 200, 'it would buy' for 1, 2;
    my $before = calls();
    refused($run->('/slowa'), 'no third', $words) for 1 .. 3;
    refused($run->('/slowa', {}), 'nor a confirm', $words);
    is calls(), $before, '... of which billing hears nothing';
    $redis->cli(DEL => 'lines:{a:dry}:calls');

    my @answers;
    $nginx->post_json_p('/slowa/lines/provision-confirm', {preview_token => $token, dry_run => true}, $dry->{headers})->then(sub ($answer) { push @answers, $answer->status }) for 1 .. 12;
    $t->wait_for(sub { @answers == 12 }, 60, 'all to be answered');
    is_deeply [sort @answers], [200, 200, (429) x 10], 'nor more of those that come at once';
    $redis->cli(DEL => 'lines:{a:dry}:calls');
    is $run->('/slowa', {})->status, 200, 'its token is good still';
};

subtest 'many at once, and the bucket' => sub {
    my @keys = map {"lines:{w:race}:$_"} qw(line:x op:x calls);
    $redis->cli(HSET => $keys[0], id => 'x', tenant => 'w:race', status => 'awaiting_payment', created => 1);
    $redis->cli(HSET => $keys[1], step => 'await', attempt => 1, fence => 1);
    my $wish = sub ($s, $interval, $size) { $s->run(line_wish => \@keys, 'link', '', $interval, $size) };
    my @got  = $scripts->race(100, 8, sub ($s, $i) { $wish->($s, 3_600_000_000, 7) });
    is scalar(grep { $_->[0] eq 'wished' } @got), 7, 'never more than there may be';
    my ($bound) = grep { $_->[0] eq 'bound' } @got;
    cmp_ok $bound->[1], '>', 3_590_000, 'all others hear when';
    cmp_ok $redis->cli(PTTL => $keys[2]), '<=', 7 * 3_600_000, 'it goes when it is full';

    is $wish->($scripts, 1000, 7)->[0], 'bound', 'a rate that was raised: it is empty';
    $t->wait_for(sub { $wish->($scripts, 1000, 7)->[0] eq 'wished' }, 10, 'a token');
    pass 'and no emptier than that';
    $redis->cli(SET => $keys[2], '9e18');
    is $wish->($scripts, 1_000_000, 7)->[0], 'bound', 'a clock that was set back';
    cmp_ok $redis->cli(PTTL => $keys[2]), '<=', 7000, 'is forgotten as fast';
};

subtest 'by default 30 a minute, 60 at once' => sub {
    my $key = $shop->workspace('plain', plan => 'growth');
    my $id  = $nginx->post_json('/api/line-requests', $shop->body, $nginx->bearer($key))->json('/line/_id');
    my ($s, $us) = $redis->client->time;
    $redis->cli(SET => 'lines:{w:plain}:calls', sprintf '%.0f', ($s + 30 + 120 - 2) * 1e6);
    my $answer = act($key, $id, 'payment_link', 'api');
    is $answer->status, 429, 'an empty one';
    cmp_ok $answer->header('Retry-After'), '<=', 3, 'has one more in two seconds';
    $redis->cli(SET => 'lines:{w:plain}:calls', sprintf '%.0f', ($s + 60) * 1e6);
    is act($key, $id, 'payment_link', 'api')->status, 200, 'half of it is left';
};

$t->done;
