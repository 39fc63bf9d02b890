# What is asked again and again: a line whose add-on billing is asked about, a request under its key, one that is refused, one that is
# read while Redis takes no writes, and whether a node is ready.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::Paid;
use Time::HiRes ();

my $t       = Test::Lines->new(timeout => 300);
my $paid    = Test::Lines::Paid->new(t => $t);
my ($sandbox, $redis) = ($paid->sandbox, $paid->redis);
my $nginx   = $paid->nginx;
my %phone   = (channelType => 'phone', firstName => 'Ada', lastName => 'Lovelace');

sub all ($redis, $pattern) { my @keys = $redis->client->keys($pattern); return ref $keys[0] ? @{$keys[0]} : grep {defined} @keys }

# as a former version left one that lapsed: nobody knows whether its add-on has ended
sub unclear ($id) {
    my $key  = $paid->workspace($id);
    my $made = $paid->request($key);
    my $line = $made->json('/line/_id');
    $sandbox->pay($made->json('/invoiceId'));
    $paid->wait_record($id, $line, 'provisioning');
    $nginx->admin(POST => "lines/$line/status", {status => 'active'});
    $sandbox->wait_idle;
    $redis->line_before("w:$id", $line, active => 0, place => '', lapsed => $paid->record($id, $line)->{updated}, ended => '');
    $redis->client->hset("lines:{w:$id}:t", email_paid => 0);
    return ($key, $line, $paid->record($id, $line)->{subscription});
}

sub asked ($sub) { scalar $sandbox->requests(GET => "/v1/subscriptions/$sub") }

subtest 'reading is no news' => sub {
    my ($key, $line, $sub) = unclear('poll');
    my $before = asked($sub);
    $sandbox->fault(path => '/v1/subscriptions/:id', kind => 'delay', ms => 500, times => 1000);

    # faster than billing answers: alone, and in the list
    wait_for(sub {
        $nginx->get('/api/lines/by-user', $nginx->bearer($key));
        return $paid->read($key, $line)->json('/line/isActive');
    }, 30, 'the line to be active, as its add-on is');
    pass 'who polls is told';
    is asked($sub) - $before, 1, 'and billing was asked once';
    $sandbox->clear_faults;
};

subtest 'an answer that decides nothing' => sub {
    my ($key, $line, $sub) = unclear('rest');
    my $before = asked($sub);
    $sandbox->move($sub, status => 'incomplete');
    $sandbox->wait_idle;

    my $read = sub { $paid->read($key, $line)->status };
    wait_for(sub {
        $read->();
        my $record = $paid->record('rest', $line);
        return length($record->{asked} // '') && !length($record->{reading} // '');
    }, 30, 'billing to be asked, and to have answered');
    my $once = asked($sub);
    my $end  = Time::HiRes::time() + 3;
    while (Time::HiRes::time() < $end) { $read->(); Time::HiRes::sleep(0.1) }
    is asked($sub), $once, 'is not asked for again by who reads on';
    ok !length($paid->record('rest', $line)->{reading} // ''), 'nothing is under way';

    # an hour later, as far as the record tells
    my $mark = $paid->record('rest', $line)->{asked};
    $redis->cli(HSET => $redis->line_key('w:rest', $line), asked => $mark - 3_601_000);
    wait_for(sub { $read->(); asked($sub) > $once }, 30, 'billing to be asked once more');
    pass 'after an hour it is';
    wait_for(sub { length($paid->record('rest', $line)->{asked} // '') && !length($paid->record('rest', $line)->{reading} // '') }, 30, 'the answer');

    # by a clock that has been set back since
    $once = asked($sub);
    $redis->cli(HSET => $redis->line_key('w:rest', $line), asked => $mark + 86_400_000);
    wait_for(sub { $read->(); asked($sub) > $once }, 30, 'billing to be asked once more');
    pass '... and what lies ahead says nothing';
    $sandbox->move($sub, status => 'active');
    wait_for(sub { $paid->read($key, $line)->json('/line/isActive') }, 30, 'the line');
    pass 'and an event is heard at any time';
};

subtest 'a repeat never sells what cannot be paid' => sub {
    my $key  = $paid->workspace('again');
    my @args = ('/api/line-requests', $paid->body, $nginx->bearer($key, 'Idempotency-Key' => 'k1'));
    my $made = $nginx->post_json(@args);
    my $line = $made->json('/line/_id');
    my $same = sub ($answer, $what) {
        is $answer->status, 201, "$what: 201";
        is $answer->header('Idempotency-Replayed'), 'true', '... a repeat';
        is $answer->header('Location'), $made->header('Location'), '... of the same request';
        is_deeply $answer->json('/line'), $made->json('/line'), '... with the same line';
    };

    is $nginx->post_json(@args)->body, $made->body, 'while the invoice is open: word for word';

    $sandbox->void($made->json('/invoiceId'));
    wait_for(sub { !defined $paid->read($key, $line)->json('/paymentUrl') }, 30, 'the link to go');
    wait_for(sub { !$paid->operation('again', $line)->{lease_until} }, 30, 'the operation to rest');
    my $repeat = $nginx->post_json(@args);
    $same->($repeat, 'the invoice is void');
    is_deeply [map { $repeat->json($_) } qw(/paymentUrl /invoiceId)], [undef, undef], '... and none to pay';

    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 200 or diag $link->to_string;
    isnt $link->json('/invoiceId'), $made->json('/invoiceId'), 'payment_link makes another';
    $repeat = $nginx->post_json(@args);
    $same->($repeat, 'another invoice');
    is_deeply [map { $repeat->json($_) } qw(/paymentUrl /invoiceId)], [map { $link->json($_) } qw(/paymentUrl /invoiceId)], '... which it names';

    $sandbox->pay($link->json('/invoiceId'));
    $paid->wait_record('again', $line, 'provisioning');
    $same->($nginx->post_json(@args), 'once it is paid');
    is $nginx->post_json(@args)->body, $repeat->body, '... it is the same still';
};

subtest 'a link that billing refuses' => sub {
    my $key  = $paid->workspace('refused');
    my $made = $paid->request($key);
    my $line = $made->json('/line/_id');
    $sandbox->void($made->json('/invoiceId'));
    wait_for(sub { !defined $paid->read($key, $line)->json('/paymentUrl') }, 30, 'the link to go');
    wait_for(sub { !$paid->operation('refused', $line)->{lease_until} }, 30, 'the operation to rest');
    $redis->client->hset("lines:{w:refused}:t", customer => 'cus_nobody');

    my $link = $paid->action($key, $line, 'payment_link');
    is $link->status, 402 or diag $link->to_string;
    is_deeply [map { $link->json($_) } qw(/success /status /paymentStatus /reason /line/_id /line/provisioningStatus)],
      [Mojo::JSON->false, 'canceled', 'failed', 'subscription_required', $line, 'canceled'], 'says what became of the line';
    ok length $link->json('/message'), '... and why';
};

subtest 'two keys' => sub {
    my $key  = $nginx->workspace(keys => {plan => 'growth', subscription => 'active'});
    my $body = encode_json(\%phone);
    my $post = sub (@keys) {
        my $head = join "\r\n", 'POST /api/line-requests HTTP/1.0', "Authorization: Bearer $key", 'Content-Type: application/json',
          'Content-Length: ' . length $body, map {"Idempotency-Key: $_"} @keys;
        return $nginx->raw("$head\r\n\r\n$body");
    };
    like $post->('one', 'two'), qr{^HTTP/1\.\d 400 .*\{"error":"Idempotency-Key is given twice, and differs"\}}s, 'two that differ are refused';
    like $post->('one', ''), qr{^HTTP/1\.\d 400 .*must not be empty}s, 'each has to be one';
    is $redis->cli('ZCARD', 'lines:{w:keys}:lines'), 0, 'nothing was made';
    like $post->('one', 'one'), qr{^HTTP/1\.\d 201 }, 'the same key twice is one';
    like $post->('one'), qr{^HTTP/1\.\d 201 .*Idempotency-Replayed: true}s, '... as which it is known';
};

subtest 'Redis takes no writes' => sub {
    my $full  = $t->redis;
    my $other = Test::Lines::Paid->new(t => $t, redis => $full, webhooks => 0);
    my $node  = $other->nginx(workers => 1);
    my $key   = $other->workspace('full');
    my $made  = $other->request($key);
    my $line  = $made->json('/line/_id');
    is $made->status, 201 or diag $made->to_string;
    my $mark = $node->log_mark;

    $full->client->config_set('maxmemory', 1);
    my $read = $other->read($key, $line);
    is $read->status, 200, 'a request that awaits payment is read' or diag $read->to_string;
    is $read->json('/paymentUrl'), $made->json('/paymentUrl'), '... as it is known';
    is $other->request($key)->status, 409, 'what is read only is decided upon';

    for (1 .. 3) {
        my $answer = $other->action($key, $line, 'cancel');
        is $answer->status, 503, 'a write is refused' or diag $answer->to_string;
        like $answer->header('Retry-After') // '', qr/^[1-9]\d*$/, '... with Retry-After';
    }
    is_deeply $node->get('/_lines/ready')->json('/redis/warnings'), ['its memory is full (maxmemory): writes are refused'], 'told by lines_ready';
    my @alerts = $node->error_log($mark) =~ /(\[alert\].*lines redis .*: it refuses writes \(OOM\): its memory is full)/g;
    ok @alerts >= 1 && @alerts <= @{$full->nodes}, 'an alert, once of each server' or diag "@alerts";
    wait_for(sub { $node->get('/_lines/metrics')->body =~ /^lines_redis_failures_total\{reason="disk"\} [1-9]/m }, 30, 'the metric');

    $full->client->config_set('maxmemory', 0);
    is $other->action($key, $line, 'cancel')->status, 200, 'room again';

    $mark = $node->log_mark;
    $full->client->config_set('min-replicas-to-write', 1);
    is $other->request($key)->status, 503, 'too few replicas';
    is_deeply $node->get('/_lines/ready')->json('/redis/warnings'), ['it has too few replicas (min-replicas-to-write): writes are refused'], '... told as well';
    $full->client->config_set('min-replicas-to-write', 0);
    is $other->request($key)->status, 201, 'enough of them';
    $node->allow(qr/it refuses writes|Redis refused|lines redis/);
    $node->quit;
};

subtest 'what a refused request leaves in Redis' => sub {
    my $store = $t->redis;
    my $node  = $t->nginx(redis => $store, workers => 1, plans => "lines_plan paid phone included=1 price=price_phone;\nlines_plan other phone included=3;\n");
    my $auth  = $node->bearer($node->workspace(poor => {plan => 'paid', subscription => 'active', customer => 'cus_x'}));
    is $node->post_json('/api/line-requests', \%phone, $auth)->status, 201, 'one is included';

    # its hint goes once it is done
    wait_for(sub { !grep { $store->cli('ZCARD', $_) } all($store, 'lines:{due:*}') }, 30, 'its hint to go');

    my $left = sub { [scalar all($store, 'lines:{ix:*'), map { $store->cli('ZCARD', $_) } 'lines:{prov}', all($store, 'lines:{due:*}')] };
    my $before = $left->();
    is $node->post_json('/api/line-requests', \%phone, $auth)->status, 503, 'another cannot be paid for without billing' for 1 .. 5;
    is_deeply $left->(), $before, 'nothing';
    $node->quit;
};

# the first begin never reaches Redis, and its connection is lost; in that moment the plan becomes another one.  So the repeat finds
# it changed; the one begun after that finds the subscription gone.
subtest 'what may begin yet is not taken back' => sub {
    my $store = $t->redis;
    my $wire  = $t->wire(redis => $store);
    my $begin = $wire->call(line_begin => 'w:w');
    my $node  = $t->nginx(
        redis         => $wire->url,
        plans         => "lines_plan big phone included=100;\nlines_plan other phone included=100;\n",
        workers       => 1,
        redis_options => 'timeout=20s connect_timeout=10s'
    );
    wait_for(sub { $node->get('/_lines/ready')->status == 200 }, 30, 'ready');
    my $auth = $node->bearer($node->workspace(w => {plan => 'big', subscription => 'active'}));
    is $node->post_json('/api/line-requests', \%phone, $auth)->status, 201, 'a line: the script is known';
    my $due = sub { my $n = 0; $n += $store->cli('ZCARD', $_) for all($store, 'lines:{due:*}'); $n };
    wait_for(sub { !$due->() }, 30, 'its hint to go');

    my $answer;
    $wire->hold($begin);
    $node->post_json_p('/api/line-requests', \%phone, $auth)->then(sub { $answer = shift });
    $wire->reached('the first begin');
    $store->cli('HSET', 'lines:{w:w}:t', plan => 'other');
    $wire->hold($begin, skip => 1);
    $wire->cut;
    $wire->reached('the one after the repeat');
    $store->cli('HSET', 'lines:{w:w}:t', subscription => 'none');
    $wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');
    is $answer->status, 403, 'refused in the end: no subscription' or diag $answer->to_string;
    is $due->(), 1, 'but the first begin, whose fate is not known, is looked at';
    is $store->cli('ZCARD', 'lines:{w:w}:lines'), 1, 'nothing was made';
    $node->allow(qr/connection lost|connected again/);
    $node->quit;
};

subtest 'of several issuers the worst is told' => sub {
    my @clerk = map { Test::Lines::Clerk->new(t => $t, issuer => "https://$_.example.com", uri => "/_lines/jwks-$_") } qw(a b);
    my $node  = $t->nginx(redis => $redis, plans => $paid->plans, server => join '', (map { $_->location } @clerk),
        map { "location /app$_/ { " . $clerk[$_]->directive . " lines_workspace_api; }\n" } 0, 1);
    $node->workspace(org => {plan => 'growth', subscription => 'active'});
    my $ask    = sub ($n, %token) { $node->get("/app$n/line-requests", $node->bearer($clerk[$n]->token(org => 'org', %token))) };
    my $status = sub { $node->get('/_lines/ready')->json('/jwks/status') };

    is $ask->(0)->status, 200, 'one issuer';
    is $ask->(1)->status, 200, 'both';
    is $status->(), 'ok', '... are well';
    $node->allow(qr/./);

    # the one that is configured first: the last one is well
    $clerk[0]->upstream->set(status => 500);
    my $n = 0;
    wait_for(sub { $ask->(0, kid => 'new' . ++$n); $status->() eq 'stale' }, 30, 'the keys of the first to be told stale');
    is $ask->(1)->status, 200, 'the other is well';
    is $status->(), 'stale', '... and hides nothing';
    $node->quit;
};

subtest 'Location is where the client is' => sub {
    my $where = $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($nginx->workspace(at => {plan => 'growth', subscription => 'active'})))->header('Location');
    like $where, qr{^/api/line-requests/[0-9a-f]{24}$}, 'below the request';

    my $node = $t->nginx(redis => $redis, plans => $paid->plans, server => <<'END_OF_SERVER');
        location /v1/ { rewrite ^/v1/(.*)$ /hidden/api/$1 last; rewrite ^ /hidden/api/line-requests last; }
        location /short { rewrite ^ "/a b/line-requests" last; }
        location /hidden/api/ { internal; lines_workspace_api; }
        location "/a b/" { lines_workspace_api; }
END_OF_SERVER
    my %path = (
        '/v1/line-requests'        => qr{^/v1/line-requests/[0-9a-f]{24}$},
        '/v1/line-requests?x=/y'   => qr{^/v1/line-requests/[0-9a-f]{24}$},
        '/a%20b/line-requests'     => qr{^/a%20b/line-requests/[0-9a-f]{24}$},
        '/short'                   => qr{^/a%20b/line-requests/[0-9a-f]{24}$},
        '//api/line-requests'      => qr{^/api/line-requests/[0-9a-f]{24}$}
    );
    my $n = 0;
    for my $path (sort keys %path) {
        my $auth = $node->bearer($node->workspace('at' . ++$n => {plan => 'growth', subscription => 'active'}));
        my $answer = $node->post_json($path, \%phone, $auth);
        is $answer->status, 201, $path or diag $answer->to_string;
        like $answer->header('Location') // '', $path{$path}, '... its Location';
    }

    # as the client wrote it, where that is a path and nothing else
    %path = (
        '/v1/line-requests#/line-requests'             => qr{^/v1/line-requests/[0-9a-f]{24}$},
        '/v1/line-requests#x?y'                        => qr{^/v1/line-requests/[0-9a-f]{24}$},
        '/v1/line-requests?x=#y/line-requests'         => qr{^/v1/line-requests/[0-9a-f]{24}$},
        '/\\elsewhere/../v1/line-requests'           => qr{^/hidden/api/line-requests/[0-9a-f]{24}$}
    );
    for my $path (sort keys %path) {
        my $key = $node->workspace('at' . ++$n => {plan => 'growth', subscription => 'active'});
        my $body = encode_json(\%phone);
        my $raw = $node->raw("POST $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer $key\r\nContent-Type: application/json\r\n"
            . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
        like $raw, qr{^HTTP/1.1 201 }, $path;
        like +($raw =~ /^Location: (.*?)\r$/m)[0] // '', $path{$path}, '... its Location';
    }
    $node->quit;
};

$nginx->quit;
$t->done;
