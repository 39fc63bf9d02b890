# lines_metrics: exact counters over workers, Prometheus' rules, bounded labels, gauges of the whole fleet.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Open3;
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;

my $t        = Test::Lines->new;
my $redis    = $t->redis;
my $upstream = $t->upstream(json => {from => 'upstream'});
my $url      = $upstream->url;

my $server = <<"END";
location = /metrics { lines_metrics survey=1s; }
location /gate/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=10 name=gate sync=each; proxy_pass $url; }
location /free/ { return 204; }
location /status/ { lines_rate_limit rate=1r/h burst=1 key=ip name=status status=503; empty_gif; }
END

my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=300ms connect_timeout=300ms', workers => 2, server => $server);
my $key   = $nginx->workspace(one => {plan => 'growth'});
my $auth  = $nginx->bearer($key);

# { 'name{labels}' => value }
sub scrape ($headers = {}, $server = $nginx) {
    my $answer = $server->get('/metrics', $headers);
    die $answer->to_string unless $answer->status == 200;
    return {map { /^(\S+\{.*\}|\S+) (\S+)$/ ? ($1 => $2) : () } grep { !/^#/ } split /\n/, $answer->body};
}

sub promtool ($text) {
    my $pid = open3(my $in, my $out, undef, 'promtool', 'check', 'metrics');
    print $in $text;
    close $in;
    my $said = join '', <$out>;
    waitpid $pid, 0;
    return ($? >> 8, $said);
}

# exactly what happened
{
    concurrently(20, sub ($i) { $nginx->get_p("/gate/$i", $auth) });
    concurrently(7,  sub ($i) { $nginx->get_p("/gate/$i") });
    concurrently(5,  sub ($i) { $nginx->get_p("/gate/$i", $nginx->bearer("tuco_wrong$i")) });
    concurrently(6,  sub ($i) { $nginx->get_p('/api/lines/by-user', $auth) });
    concurrently(3,  sub ($i) { $nginx->get_p('/api/nothing', $auth) });
    $nginx->get('/status/x') for 1 .. 3;
    $nginx->get('/free/x')   for 1 .. 4;

    my $m = scrape();
    my %want = (
        'lines_http_requests_total{api="gateway",endpoint="location",code="200"}' => 11,
        'lines_http_requests_total{api="gateway",endpoint="location",code="429"}' => 10,
        'lines_http_requests_total{api="gateway",endpoint="location",code="401"}' => 12,
        'lines_http_requests_total{api="gateway",endpoint="location",code="503"}' => 2,
        'lines_http_requests_total{api="workspace",endpoint="lines_by_user",code="200"}' => 6,
        'lines_http_requests_total{api="workspace",endpoint="none",code="404"}' => 3,
        'lines_http_requests_total{api="admin",endpoint="admin_put_workspace",code="201"}' => 1,
        'lines_auth_attempts_total{method="key",outcome="accepted"}' => 26,
        'lines_auth_attempts_total{method="none",outcome="credentials-missing"}' => 7,
        'lines_auth_attempts_total{method="key",outcome="key-unknown"}' => 5,
        'lines_limit_requests_total{limit="gate",outcome="passed"}' => 10,
        'lines_limit_requests_total{limit="gate",outcome="rejected"}' => 10,
        'lines_limit_requests_total{limit="status",outcome="passed"}' => 1,
        'lines_limit_requests_total{limit="status",outcome="rejected"}' => 2,
        'lines_http_request_duration_seconds_count{api="gateway",endpoint="location"}' => 35,
        'lines_http_request_duration_seconds_bucket{api="gateway",endpoint="location",le="+Inf"}' => 35,
    );

    # a request is counted when it is logged, which a worker does once its answer is sent
    eval { wait_for(sub { $m = scrape(); !grep { ($m->{$_} // 0) < $want{$_} } keys %want }, 10, 'all to be logged') };
    is $m->{$_}, $want{$_}, $_ for sort keys %want;

    my $hits   = $m->{'lines_key_cache_lookups_total{result="hit"}'};
    my $misses = $m->{'lines_key_cache_lookups_total{result="miss"}'};
    is $hits + $misses, 31, 'each key was looked up';
    cmp_ok $hits, '>', 0, 'some were cached';
    ok !(grep {/code="204"/} keys %$m), 'nothing of what is not ours';

    wait_for(sub {
        $m = scrape();
        $m->{lines_redis_operations_total} > 20 && $m->{'lines_redis_operation_duration_seconds_count'} > 20
          && $m->{lines_redis_connected_workers} == 2;
    }, 10, 'the operations to be published, and their time, and what each worker says of itself');
    is $m->{'lines_redis_breaker_workers{state="closed"}'}, 2, 'both breakers are closed';
    is $m->{lines_redis_connected_workers}, 2, 'both workers are connected';
    cmp_ok $m->{'lines_redis_operation_duration_seconds_count'}, '>', 20, 'their time is known';
    cmp_ok $m->{lines_limit_buckets}, '>=', 2, 'buckets';
    cmp_ok $m->{lines_zone_free_bytes}, '>', 0, 'room in the zone';
}

# the text
{
    my $answer = $nginx->get('/metrics');
    is $answer->header('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8', 'Prometheus by default';
    is $answer->header('Cache-Control'), 'no-store', 'not cached';
    ok $answer->header('X-Request-Id'), 'with a name of its own, as every answer';
    my ($code, $said) = promtool($answer->body);
    is $code, 0, 'promtool has no complaint' or diag $said;
    is $said, '', 'not a word';

    is $nginx->head('/metrics')->status, 200, 'HEAD';
    is $nginx->post('/metrics', 'x')->status, 405, 'nothing but reading';

    my $accept = 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
    $answer = $nginx->get('/metrics', {Accept => $accept});
    is $answer->header('Content-Type'), 'application/openmetrics-text; version=1.0.0; charset=utf-8', 'OpenMetrics for those who ask';
    like $answer->body, qr/\n# EOF\n\z/, 'with its end';
    like $answer->body, qr/^# TYPE lines_http_requests counter$/m, 'a family has no suffix';
    like $answer->body, qr/^lines_http_requests_total\{/m, 'its samples have';
    unlike $answer->body, qr/\n\n/, 'no empty lines';
    is $nginx->get('/metrics', {Accept => 'application/openmetrics-text;q=0,text/plain'})->header('Content-Type'),
      'text/plain; version=0.0.4; charset=utf-8', 'nor for those who refuse it';

    my %type;
    my $bad = 0;
    for (split /\n/, $answer->body) {
        $type{$1} = $2 if /^# TYPE (\S+) (\S+)$/;
        next if /^#/;
        my ($name) = /^([a-z_]+)/;
        my $family = $name =~ s/_(?:total|bucket|sum|count)$//r;
        $bad++ unless exists $type{$family} || exists $type{$name};
    }
    is $bad, 0, 'each sample belongs to a family above it';
}

# labels are bounded
{
    my sub crowd ($name) {
        my @keys = map { $nginx->workspace("$name$_" => {plan => 'growth'}) } 1 .. 20;
        concurrently(scalar @keys, sub ($i) { $nginx->get_p("/gate/$i/" . rand, $nginx->bearer($keys[$i])) });
        concurrently(50, sub ($i) { $nginx->get_p('/gate/x', $nginx->bearer('tuco_' . rand)) });
        concurrently(50, sub ($i) { $nginx->get_p('/api/' . rand, $auth) });
    }

    crowd('tenant');
    # the gauges of the survey come with its first pass
    wait_for(sub { exists scrape()->{lines_survey_age_seconds} }, 60, 'the first survey');
    my %before = %{scrape()};
    crowd('other');
    my $answer = $nginx->get('/metrics');
    my @new    = grep { !exists $before{$_} } sort keys %{scrape()};
    cmp_ok @new, '<=', 2, 'a second crowd adds no series' or diag join "\n", @new;
    unlike $answer->body, qr/tenant\d|other\d|w:|tuco_/, 'no tenant, no key';
}

# a reload and the death of a worker lose nothing
{
    my $name   = 'lines_limit_requests_total{limit="gate",outcome="rejected"}';
    my $before = scrape()->{$name};
    $nginx->reload(wait_old => 1);
    is scrape()->{$name}, $before, 'a reload keeps the counters';
    wait_for(sub { scrape()->{lines_redis_connected_workers} == 2 }, 20, 'the new workers to be connected');
    $nginx->get('/gate/x', $auth);
    is scrape()->{$name}, $before + 1, 'and counts on';
    $nginx->kill_worker;
    is scrape()->{$name}, $before + 1, 'so does the death of a worker';

    wait_for(sub { scrape()->{lines_redis_connected_workers} == 2 }, 20, 'gauges of the new workers');
    pass 'gauges are those of the workers that live';
}

# the fleet
{
    my @lines = map {
        $nginx->post_json('/api/line-requests',
            {firstName => 'A', lastName => "B$_", channelType => 'phone'}, $auth)->json->{line}{_id}
    } 1 .. 2;
    $nginx->admin(POST => "lines/$lines[0]/status", {status => 'active', phone => '+15551230001'});
    $nginx->admin(POST => "lines/$lines[1]/status", {status => 'failed', reason => 'none'});

    wait_for(sub { (scrape()->{'lines_line_transitions_total{from="provisioning",to="failed"}'} // 0) == 1 }, 30, 'the survey');
    my $m = scrape();
    is $m->{'lines_line_transitions_total{from="new",to="provisioning"}'}, 2, 'lines begun';
    is $m->{'lines_line_transitions_total{from="provisioning",to="active"}'}, 1, 'made active';
    is $m->{'lines_lines{state="active"}'}, 1, 'active now';
    is $m->{'lines_lines{state="failed"}'}, 1, 'failed now';
    is $m->{'lines_lines{state="provisioning"}'}, 0, 'none on its way';
    is $m->{lines_tenants}, 41, 'tenants';
    cmp_ok $m->{lines_survey_age_seconds}, '<', 60, 'and how old that is';
    ok exists $m->{"lines_numbers{state=\"$_\"}"}, "numbers: $_" for qw(free leased assigned quarantined);
    ok exists $m->{"lines_operations{state=\"$_\"}"}, "operations: $_" for qw(running stuck);

    $nginx->admin(POST => "lines/$lines[0]/release");
    wait_for(sub { scrape()->{'lines_lines{state="released"}'} == 1 }, 30, 'the survey');
    is scrape()->{'lines_lines{state="active"}'}, 0, 'released: no longer active';

    # an operation that nobody finishes
    my ($s) = @{$redis->cli('TIME')};
    $redis->cli('SADD', 'lines:{w:tenant1}:ops', 'aaaa');
    $redis->cli('HSET', 'lines:{w:tenant1}:op:aaaa', step => 'send', begun => ($s - 600) * 1000, stuck => 'refund refused');

    # and what two webhooks could not be told
    $redis->cli('ZADD', 'lines:{w:tenant2}:hooks', map { ($s, "hook$_") } 1 .. 3);
    $redis->cli('ZADD', "lines:{w:tenant2}:hook_due:hook$_", map { (1000 * ($s + 3600), "event$_ 1") } 1 .. $_ + 1) for 1, 2;

    wait_for(sub { (scrape()->{'lines_operations{state="stuck"}'} // 0) == 1 }, 30, 'the survey');
    cmp_ok abs(scrape()->{lines_operations_oldest_seconds} - 600), '<', 60, 'its age';
    is scrape()->{lines_webhook_events_untold}, 5, 'events that are tried again';

    # what is counted up never goes down
    $redis->cli('DEL', 'lines:{w:one}:t');
    wait_for(sub { scrape()->{'lines_lines{state="released"}'} == 0 }, 30, 'the survey');
    is scrape()->{'lines_line_transitions_total{from="new",to="provisioning"}'}, 2, 'a tenant that goes takes nothing back';

    my ($code, $said) = promtool($nginx->get('/metrics')->body);
    is $code . $said, '0', 'promtool has no complaint still';
}

# the breaker
{
    $redis->pause;
    wait_for(sub { $nginx->get('/status/x'); scrape()->{'lines_redis_breaker_workers{state="closed"}'} == 0 }, 30, 'the breakers to open');
    my $m = scrape();
    is $m->{'lines_redis_breaker_workers{state="open"}'} + $m->{'lines_redis_breaker_workers{state="half_open"}'}, 2, 'both are open, or try';
    cmp_ok $m->{'lines_redis_failures_total{reason="timeout"}'}, '>', 0, 'timeouts';
    cmp_ok $m->{lines_redis_breaker_openings_total}, '>=', 2, 'openings';
    my $local = 0;
    $local += $m->{$_} for grep {/limit="status",outcome="\w+_local"/} keys %$m;
    cmp_ok $local, '>', 0, 'limits without Redis';
    $redis->cont;
    wait_for(sub { scrape()->{'lines_redis_breaker_workers{state="closed"}'} == 2 }, 30, 'the breakers to close');
    cmp_ok scrape()->{lines_redis_reconnects_total}, '>=', 1, 'reconnects';
}

# session tokens and their issuer's keys
{
    ok !(grep {/^lines_(?:jwks|token_cache|token_signatures)_/} keys %{scrape()}), 'nothing of keys without lines_clerk';

    my $clerk = Test::Lines::Clerk->new(t => $t);
    $clerk->upstream->stop;
    my $clerked = $t->nginx(
        redis   => $redis,
        workers => 2,
        server  => $clerk->location . 'location = /metrics { lines_metrics; } location = /me { lines_auth clerk; empty_gif; '
          . $clerk->directive(authorized_party => $clerk->party, jwks_ttl => '800ms', jwks_stale => '10m', jwks_cooldown => '500ms') . '}'
    );
    my sub value ($name) { scrape({}, $clerked)->{"lines_$name"} }
    my sub fetches ($outcome) { value(qq{jwks_fetches_total{outcome="$outcome"}}) }
    my sub lookups ($result) { value(qq{token_cache_lookups_total{result="$result"}}) }
    my $token = $clerked->bearer($clerk->token);

    wait_for(sub { fetches('error') >= 2 }, 60, 'fetches of an issuer that is away');
    is value('jwks_issuers_without_keys'), 1, 'its keys are missing';
    is value('jwks_age_seconds'), undef, 'and have no age';
    is fetches('ok') + fetches('invalid'), 0, 'nothing else happened';

    $clerk->upstream->restart;
    wait_for(sub { $clerked->get('/me', $token)->status == 200 }, 60, 'the keys');
    is value('jwks_issuers_without_keys'), 0, 'none is missing';
    cmp_ok fetches('ok'), '>=', 1, 'a good fetch';

    my ($hits, $misses) = map { lookups($_) } qw(hit miss);
    cmp_ok $misses, '>=', 1, 'what was verified had not been cached';
    $clerked->get('/me', $token) for 1 .. 5;
    is lookups('hit') - $hits, 5, 'each further one is a hit';
    is lookups('miss'), $misses, 'and none a miss';
    $clerked->get('/me', $clerked->bearer($clerk->token));
    is lookups('miss'), $misses + 1, 'another token is a miss';

    my $errors = fetches('error');
    $clerk->upstream->set(body => '<html>');
    wait_for(sub { fetches('invalid') >= 2 }, 60, 'what are no keys');
    is fetches('error'), $errors, 'an answer is no error';
    my $good = fetches('ok');
    wait_for(sub { value('jwks_age_seconds') >= 2 }, 60, 'the keys to grow old');
    is fetches('ok'), $good, 'as none were fetched';

    $clerk->upstream->set(body => '{"keys":[]}');
    my $invalid = fetches('invalid');
    wait_for(sub { fetches('invalid') > $invalid }, 60, 'a set of none');
    is fetches('ok'), $good, 'is not a good one';

    $clerk->upstream->reset(json => $clerk->jwks('first'));
    wait_for(sub { fetches('ok') > $good && value('jwks_age_seconds') <= 1 }, 60, 'fresh keys');
    my ($code, $said) = promtool($clerked->get('/metrics')->body);
    is $code . $said, '0', 'promtool has no complaint of these either';
    $clerked->quit;
}

for (['lines_metrics survey=x;', qr/invalid parameter "survey=x"/], ['lines_metrics nonsense;', qr/invalid parameter "nonsense"/]) {
    my ($code, $out) = $t->test_config(redis => $redis, server => "location = /m { $_->[0] }");
    isnt $code, 0, "refused: $_->[0]";
    like $out, $_->[1], 'and says why';
}

$t->done;
