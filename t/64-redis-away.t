# Redis away: three ways to fail, none of them slow, all of them visible; known keys go on for a while.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Time::HiRes qw(time);

my $t        = Test::Lines->new;
my $redis    = $t->redis;
my $upstream = $t->upstream(json => {from => 'upstream'});
my $url      = $upstream->url;

my $nginx = $t->nginx(
    redis         => $redis,
    redis_options => 'timeout=300ms silence=300ms connect_timeout=300ms',
    workers       => 1,
    http          => <<'END',
log_format limits '$uri $status $lines_limit_status $lines_auth_failure';
END
    server => <<"END",
access_log @{[$t->dir]}/limits.log limits;
location /local/  { lines_rate_limit rate=1r/h burst=20 key=\$arg_who name=local; empty_gif; }
location /localeach/ { lines_rate_limit rate=1r/h burst=20 key=\$arg_who name=localeach sync=each; empty_gif; }
location /both/   { lines_rate_limit rate=1r/h burst=20 key=\$arg_who name=both; lines_rate_limit rate=1r/h burst=2 key=\$arg_part name=part; empty_gif; }
location /open/   { lines_rate_limit rate=1r/h burst=2 key=\$arg_who name=open fail=open; empty_gif; }
location /closed/ { lines_rate_limit rate=1r/h burst=100 key=\$arg_who name=closed fail=closed sync=each; empty_gif; }
location /closeddry/ { lines_rate_limit rate=1r/h burst=100 key=\$arg_who name=closeddry fail=closed dry_run sync=each; empty_gif; }
location /auth/   { lines_auth workspace; proxy_pass $url; }
location /authclosed/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=authclosed fail=closed sync=each; proxy_pass $url; }
location /strict/ { lines_auth workspace stale=0; proxy_pass $url; }
location /short/  { lines_auth workspace stale=3s; proxy_pass $url; }
location /page/   { lines_auth workspace stale=0; error_page 503 =503 \@page; proxy_pass $url; }
location \@page   { default_type text/plain; return 503 'the page'; }
END
);

my $key   = $nginx->workspace(one => {plan => 'growth'});
my $never = $nginx->workspace(two => {plan => 'growth'});
my $auth  = $nginx->bearer($key);

sub ok_in (@paths) {
    return scalar grep { $_->status == 200 } map { $nginx->get($_) } @paths;
}

# the limits are known, and partly used
is ok_in(("/local/x?who=$_") x 15), 15, 'local: before' for qw(stop pause);
is ok_in(("/localeach/x?who=$_") x 15), 15, 'local, each: before' for qw(stop pause);
is ok_in('/closed/x?who=a'), 1, 'closed: before';
is ok_in(('/open/x?who=a') x 3), 2, 'open: before';
is $nginx->get('/auth/x', $auth)->status, 200, 'auth: before';

# stopped, and paused: neither costs time once it is known
for my $how (qw(stop pause)) {
    my $mark = time;

    my $answer = $nginx->get("/local/x?who=$how");
    my ($known) = $answer->header('RateLimit') =~ /r=(\d+)/;
    is $known, 4, "$how: of twenty";

    $redis->$how;

    # the first ones may wait for as long as an operation may take
    my $slowest = 0;
    my $first   = time;
    while (time - $first < 1) {
        my $answer = $nginx->get("/open/x?who=$how");
        is $answer->status, 200, "$how: open lets pass" if $slowest == 0;
        $slowest = $answer->seconds if $answer->seconds > $slowest;
        last if $answer->status != 200;
    }
    cmp_ok $slowest, '<', 0.3 + 0.7 * $t->slow, "$how: nobody waits longer than the deadline";

    # a second later nobody waits at all
    my @times = sort { $a <=> $b } map { $nginx->get("/open/x?who=$how$_")->seconds } 1 .. 60;
    cmp_ok $times[54], '<', 0.25 * $t->slow, sprintf '%s: then none waits: %.4f s for the slowest but five', $how, $times[54];

    # a refusal is remembered for a second
    wait_for(sub { ok_in('/open/x?who=a') }, 10, 'open to let pass');
    is ok_in(map {"/open/x?who=a&$_"} 1 .. 5), 5, "$how: open, beyond the limit";

    is ok_in(("/local/x?who=$how") x 10), $known, "$how: local goes on from what was left";
    is ok_in(("/localeach/x?who=$how") x 10), 5, "$how: with sync=each, too";
    is ok_in(("/local/x?who=new$how") x 30), 20, "$how: local, one never seen: the limit per node";

    is ok_in(("/both/x?who=$how&part=$how-1") x 12), 2, "$how: two local limits, the narrower one rejects ten";
    is ok_in(map {"/both/x?who=$how&part=$how-1-$_"} 1 .. 30), 18, "$how: and these took nothing of the wider one";

    my $rejected = $nginx->get("/local/x?who=$how");
    is $rejected->status, 429, "$how: local rejects";
    ok $rejected->header('Retry-After'), 'with Retry-After';
    like $rejected->header('RateLimit'), qr/^"local";r=0;t=\d+$/, 'and the header';

    my $closed = $nginx->get('/closed/x?who=a');
    is $closed->status, 503, "$how: closed says so";
    is $closed->header('Retry-After'), 1, 'with Retry-After';
    is $closed->header('RateLimit-Policy'), '"closed";q=100;w=360000', 'and the policy';
    is $nginx->get('/closeddry/x?who=a')->status, 200, "$how: not in a dry run";

    is $nginx->get('/auth/x', $auth)->status, 200, "$how: a known key is good for a while";
    is $nginx->get('/auth/x', $nginx->bearer($never))->status, 503, "$how: one never seen is neither good nor bad";

    $answer = $nginx->get('/strict/x', $auth);
    is $answer->status, 503, "$how: unless stale=0";
    is $answer->header('Retry-After'), 1, 'with Retry-After';
    is_deeply $answer->json, {error => 'Service temporarily unavailable'}, 'in the dialect';
    is $nginx->get('/page/x', $auth)->body, 'the page', "$how: or its page";
    is $nginx->get('/auth/x')->status, 401, "$how: who says nothing is nobody";

    $answer = $nginx->get('/authclosed/x', $auth);
    is $answer->status, 503, "$how: known, but closed";
    is_deeply $answer->json, {error => 'Service temporarily unavailable'}, 'in the dialect';

    if ($how eq 'stop') {
        wait_for(sub { $nginx->get('/short/x', $auth)->status == 503 }, 30, 'stale=3s to end');
        pass 'a known key is good for no longer than stale';
        is $nginx->get('/auth/x', $auth)->status, 200, 'stale=60s goes on';
    }

    $how eq 'stop' ? $redis->start : $redis->cont;
    wait_for(sub { $nginx->get('/closed/x?who=a')->status == 200 }, 30, 'Redis to be found again');
    is $nginx->get('/strict/x', $auth)->status, 200, "$how: back again";
    is ok_in(("/$_/x?who=$how") x 10), 0, "$how: $_, and what was let through meanwhile is charged" for qw(local localeach);
}

# traffic all the way through loses nothing but by its limits
{
    my @answers;
    my $half = 0;
    for my $round (1 .. 6) {
        $redis->stop  if $round == 3;
        $redis->start if $round == 5;
        push @answers, concurrently(100, sub ($i) { $nginx->get_p("/open/x?who=t$round-$i") });
    }
    is scalar(grep { $_->status != 200 } @answers), 0, 'not one of 600 requests failed';
}

# as while it waits for its disk: longer than the heartbeat's interval, shorter than what counts as away
{
    my $calm = $t->nginx(
        redis   => $redis,
        workers => 1,
        server  => 'location /known/ { lines_auth workspace stale=0; empty_gif; }'
    );
    is $calm->get('/known/x', $auth)->status, 200, 'before' for 1 .. 2;

    # one that waited would wait in vain, since it goes on after the last one
    my ($n, $bad) = (0, 0);
    $redis->pause;
    for (my $end = time + 2; time < $end; $n++) { $bad++ if $calm->get('/known/x', $auth)->status != 200 }
    $redis->cont;

    is $bad, 0, 'a Redis that answers nothing for two seconds: all requests with a known key are served';
    cmp_ok $n, '>', 1, "of which there were some";
    $calm->quit;
}

{
    my $log = path($t->dir, 'limits.log')->slurp;
    like $log, qr{^/local/x 200 passed_local -$}m,   'passed_local shows';
    like $log, qr{^/local/x 429 rejected_local -$}m, 'rejected_local shows';
    like $log, qr{^/open/x 200 passed_open -$}m,     'passed_open shows';
    like $log, qr{^/closed/x 503 unavailable -$}m,   'unavailable shows';
    like $log, qr{^/closeddry/x 200 unavailable_dry_run -$}m, 'unavailable_dry_run shows';
    like $log, qr{^/strict/x 503 - unavailable$}m, 'authentication without Redis shows';
}

$t->done;
