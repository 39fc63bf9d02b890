# GET lines/check-availability: the live check of a line, by a probe of the operator's.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json encode_json true false);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 600);
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $probe = $t->upstream(json => {status => 'healthy', failures => []});
my $url   = $probe->url;

my %common = (
    redis   => $redis,
    workers => 2,
    plans   => "lines_plan bulk phone included=1000;\nlines_plan bulk email included=1000;\n",
);
my $server = $clerk->location . $clerk->directive(authorized_party => $clerk->party)
  . "location = /_lines/probe { internal; proxy_pass $url/probe; proxy_http_version 1.1; proxy_set_header Connection ''; }\n";

my $nginx = $t->nginx(%common, http => 'lines_probe /_lines/probe timeout=2s plain=loopback;', server => $server);

my $key   = $nginx->workspace(org_1 => {plan => 'bulk'});
my $other = $nginx->workspace(org_2 => {plan => 'bulk'});
my %auth  = map { $_ => $nginx->bearer($clerk->token(org => $_)) } qw(org_1 org_2);

sub line ($key, $channel, $active = 1) {
    my $answer = $nginx->post_json('/api/line-requests',
        {firstName => 'Ada', lastName => 'Lovelace', channelType => $channel, $channel eq 'email' ? (email => 'ada@example.com') : ()},
        $nginx->bearer($key));
    my $id = $answer->json('/line/_id') // die $answer->to_string;
    return $id unless $active;
    my $report = $nginx->admin(POST => "lines/$id/status", {status => 'active', ($channel eq 'phone' && $active ne 'bare' ? (phone => '+14155550123') : ())});
    die $report->to_string unless $report->status == 200;
    return $id;
}

sub check ($id, $auth = $auth{org_1}, $where = $nginx) { $where->get("/api/lines/check-availability?id=$id", $auth) }

sub listed ($id) { (grep { $_->{_id} eq $id } @{$nginx->get('/api/lines/by-user', $auth{org_1})->json('/lines')})[0] }

my $phone = line($key, 'phone');
my $email = line($key, 'email');

subtest 'a line that works' => sub {
    is listed($phone)->{healthCheck}, undef, 'nobody knows yet';

    my $trace  = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    my $answer = check($phone, {%{$auth{org_1}}, traceparent => $trace});
    is $answer->status, 200, 'checked' or diag $answer->to_string, $nginx->error_log;
    my $said = $answer->json;
    my $when = delete $said->{checkedAt};
    is_deeply $said, {success => true, lineId => $phone, status => 'healthy', failures => [], shouldNotify => false, notificationSent => false},
      'the documented shape';
    like $when, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'with its time';
    like $answer->body, qr/^\{"success":true,"lineId":"$phone","status":"healthy","failures":\[\],"checkedAt":"[^"]+","shouldNotify":false,"notificationSent":false\}$/,
      'in the documented order';
    is $answer->header('Cache-Control'), 'no-store', 'not for a cache';

    is_deeply listed($phone)->{healthCheck}, {status => 'healthy', lastCheckedAt => $when}, 'the line keeps it';

    my $asked = $probe->requests->[-1];
    is $asked->{method}, 'POST', 'the probe is called';
    is $asked->{headers}{'content-type'}, 'application/json', 'with JSON';
    is_deeply [@{decode_json($asked->{body})}{qw(_id phone channelType workspaceId)}], [$phone, '+14155550123', 'phone', 'org_1'], 'the line';
    is $asked->{headers}{'x-request-id'}, $answer->header('X-Request-Id'), 'and the request\'s id';
    is $asked->{headers}{traceparent}, $trace, 'its trace';
    is $asked->{headers}{authorization}, undef, 'but no credentials';
    is $asked->{headers}{cookie}, undef, 'of any kind';

    is check($email)->json('/status'), 'healthy', 'an email line';
    is $nginx->get("/api/lines/check-availability?id=$phone", {Cookie => '__session=' . $clerk->token(org => 'org_1')})->status, 200, 'by a cookie';
    is $nginx->head("/api/lines/check-availability?id=$phone", $auth{org_1})->status, 200, 'HEAD';
};

subtest 'who may ask' => sub {
    my $answer = check($phone, $nginx->bearer($key));
    is $answer->status, 401, 'no API key';
    is $answer->body, '{"error":"Unauthorized"}', 'in the dialect';
    is check($phone, {})->status, 401, 'nobody';
    is check($phone, $nginx->bearer($clerk->token))->body, '{"error":"No active workspace"}', 'nobody without a workspace';
    is check($phone, $auth{org_2})->status, 404, 'another workspace\'s line is not there';
    is check($phone, $auth{org_2})->body, '{"error":"Line not found"}', 'in words';
    is check('f' x 24)->status, 404, 'one that is not there';
    my $post = $nginx->post("/api/lines/check-availability?id=$phone", '', $auth{org_1});
    is $post->status, 405, 'only GET';
    is $post->header('Allow'), 'GET, HEAD', 'it says';
};

subtest 'what is asked' => sub {
    my $before = @{$probe->requests};

    for (['', 'id is required'], ['?id=', 'id is required'], ['?id=1', 'Invalid line id'],
        ['?id=' . uc($phone), 'Invalid line id'], ["?id=${phone}0", 'Invalid line id'], ['?id=' . 'x' x 5000, 'Invalid line id'],
        ['?id=%00' . substr($phone, 1), 'Invalid line id'], ['?id=' . substr($phone, 0, 23) . '}', 'Invalid line id'])
    {
        my $answer = $nginx->get("/api/lines/check-availability$_->[0]", $auth{org_1});
        is $answer->status, 400, substr "bad: $_->[0]", 0, 60;
        is_deeply $answer->json, {error => $_->[1]}, 'in words';
    }

    my $answer = check(line($key, 'phone', 0));
    is $answer->status, 400, 'a line that is not active';
    is_deeply $answer->json, {error => 'Line is not active'}, 'in words';

    $answer = check(line($key, 'phone', 'bare'));
    is $answer->status, 400, 'an active line without a number';
    is_deeply $answer->json, {error => 'Line has no phone number configured'}, 'in words';

    my $failed = line($key, 'phone', 0);
    $nginx->admin(POST => "lines/$failed/status", {status => 'failed', reason => 'none'});
    is check($failed)->status, 400, 'a failed line';

    my $released = line($key, 'email');
    $nginx->admin(POST => "lines/$released/release");
    is check($released)->status, 400, 'a released line';

    is scalar @{$probe->requests}, $before, 'none of them was probed';
};

subtest 'a line, or a probe, that does not work' => sub {
    my @cases = (
        [{json => {status => 'down', failures => ['no-carrier', 'sim "lost"']}}, ['no-carrier', 'sim "lost"']],
        [{json => {status => 'down'}},                       ['probe_reported_down']],
        [{json => {status => 'healthy', failures => ['x']}}, ['x']],
        [{json => {status => 7}},                            ['probe_reported_down']],
        [{json => {status => 'down', failures => [1, {}, 'x' x 300, "\x{2713}"]}}, ['unnamed', 'unnamed', 'unnamed', "\x{2713}"]],
        [{json => {status => 'down', failures => [map {"f$_"} 1 .. 50]}}, [map {"f$_"} 1 .. 16]],
        [{status => 500},                                    ['probe_status_500']],
        [{status => 404, json => {status => 'healthy'}},     ['probe_status_404']],
        [{status => 302, headers => {Location => '/x'}},     ['probe_status_302']],
        [{body => '<html>'},                                 ['probe_answer_invalid']],
        [{body => '["healthy"]'},                            ['probe_answer_invalid']],
        [{body => '{"status":"healthy","status":"down"}'},   ['probe_answer_invalid']],
        [{body => '{' x 100_000},                            ['probe_no_answer', 'probe_answer_invalid']],
        [{drop => 1},                                        ['probe_no_answer']],
        [{delay => 8},                                       ['probe_timeout']],
    );

    for (@cases) {
        my ($state, $failures) = @$_;
        $probe->reset(%$state);
        my $start  = Time::HiRes::time();
        my $answer = check($phone);
        my $took   = Time::HiRes::time() - $start;

        is $answer->status, 200, 'an answer all the same: ' . substr encode_json($state), 0, 60;
        is $answer->json('/status'), 'down', 'down';

        # a body beyond the location's buffer has no whole answer
        if (@$failures == 2 && $failures->[0] eq 'probe_no_answer') {
            like $answer->json('/failures/0'), qr/^probe_(?:no_answer|answer_invalid)$/, 'and why';
        }
        else { is_deeply $answer->json('/failures'), $failures, 'and why' or diag $answer->to_string }

        is listed($phone)->{healthCheck}{status}, 'down', 'the line keeps it';
        is listed($phone)->{healthCheck}{lastCheckedAt}, $answer->json('/checkedAt'), 'and when';
        cmp_ok $took, '<', 8 * $t->slow, 'within bounds' if $state->{delay};
    }

    $probe->reset->stop;
    my $answer = check($phone);
    is $answer->json('/status'), 'down', 'nobody there: down';
    is_deeply $answer->json('/failures'), ['probe_unreachable'], 'and why';
    $probe->restart;

    for my $state ({json => {}}, {json => {status => 'ok'}}, {json => {status => 'pass'}}, {status => 204, body => ''}, {body => " \n"}) {
        $probe->reset(%$state);
        is check($phone)->json('/status'), 'healthy', 'up again: ' . encode_json($state);
        is_deeply check($phone)->json('/failures'), [], 'no failures';
    }
};

subtest 'one check at a time, over a fleet' => sub {
    my %fleet  = (%common, http => 'lines_probe /_lines/probe timeout=60s plain=loopback;', server => $server);
    my $first  = $t->nginx(%fleet, name => 'first');
    my $second = $t->nginx(%fleet, name => 'second');

    # long enough for all of them to come
    $probe->reset(json => {status => 'down', failures => ['x']}, delay => 2 * $t->slow);
    my $before = @{$probe->requests};

    my @answers = concurrently(60, sub ($i) {
        ($i % 2 ? $first : $second)->get_p("/api/lines/check-availability?id=$phone", $auth{org_1});
    });
    is scalar(grep { $_->status == 200 } @answers), 60, 'all are answered' or diag map { $_->to_string } @answers;
    my %said = map { $_->body => 1 } @answers;
    is scalar(keys %said), 1, 'all the same';
    is_deeply $answers[0]->json('/failures'), ['x'], 'as the probe said';
    is @{$probe->requests} - $before, 1, 'which was asked once';

    $before = @{$probe->requests};
    concurrently(2, sub ($i) { $nginx->get_p('/api/lines/check-availability?id=' . ($i ? $phone : $email), $auth{org_1}) });
    is @{$probe->requests} - $before, 2, 'another line is another check';

    # who leaves does not take the check away
    $probe->reset(json => {status => 'healthy'}, delay => 1);
    $before = @{$probe->requests};
    my @sockets = map {
        my $socket = $nginx->socket;
        print $socket "GET /api/lines/check-availability?id=$phone HTTP/1.1\r\nHost: x\r\nAuthorization: $auth{org_1}{Authorization}\r\n\r\n";
        $socket->flush;
        $socket;
    } 1 .. 30;
    wait_for(sub { @{$probe->requests} > $before }, 30, 'the probe');
    $nginx->reset_connection($_) for @sockets;
    wait_for(sub { (listed($phone)->{healthCheck} // {})->{status} eq 'healthy' }, 30, 'the result');
    is @{$probe->requests} - $before, 1, 'clients that leave: the line learns of it all the same';

    # a node that dies leaves a mark, which expires
    $probe->reset(json => {status => 'healthy'}, delay => 1);
    $before = @{$probe->requests};
    my $mortal  = $t->nginx(%common, name => 'mortal', http => 'lines_probe /_lines/probe timeout=2s plain=loopback;', server => $server);
    my $waiting = $mortal->get_p("/api/lines/check-availability?id=$phone", $auth{org_1});
    wait_for(sub { @{$probe->requests} > $before }, 30, 'the probe');
    $mortal->crash;
    $waiting->wait;
    my $answer = check($phone);
    is $answer->status, 200, 'a node that dies in the middle: another checks';
    is @{$probe->requests} - $before, 2, 'anew';
};

subtest 'Redis away' => sub {
    $probe->reset(json => {status => 'healthy'}, delay => 1);
    my $before  = @{$probe->requests};
    my $waiting = $nginx->get_p("/api/lines/check-availability?id=$phone", $auth{org_1});
    wait_for(sub { @{$probe->requests} > $before }, 30, 'the probe');
    $redis->pause;
    my $answer;
    $waiting->then(sub ($a) { $answer = $a })->wait;
    is $answer->status, 503, 'what cannot be kept is not said';
    ok $answer->header('Retry-After'), 'ask again';
    $redis->cont;
    $probe->reset(json => {status => 'healthy'});
    wait_for(sub { check($phone)->status == 200 }, 30, 'Redis');
    pass 'and again';
};

subtest 'without a probe' => sub {
    my $none   = $t->nginx(%common, name => 'none', server => $clerk->location . $clerk->directive(authorized_party => $clerk->party));
    my $answer = check($phone, $auth{org_1}, $none);
    is $answer->status, 503, 'there is nothing to say';
    is_deeply $answer->json, {error => 'Line checks are not configured'}, 'in words';
    $none->quit;
};

$t->done;
