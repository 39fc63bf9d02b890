# Reading: one request, the list, all lines of a workspace; and what every answer has in common.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Mojo::JSON qw(true false);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 2, plans => <<'END');
lines_plan bulk phone included=1000 daily_conversations=25 daily_messages=300;
lines_plan bulk email included=1000;
END

my $key   = $nginx->workspace(org_1 => {plan => 'bulk', subscription => 'active'});
my $other = $nginx->workspace(org_2 => {plan => 'bulk', subscription => 'active'});
my $auth  = $nginx->bearer($key);
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my %email = (firstName => 'Grace', lastName => 'Hopper', channelType => 'email', email => 'grace@example.com');

subtest 'a workspace without lines' => sub {
    is $nginx->get('/api/lines/by-user', $auth)->body, '{"lines":[]}', 'no lines';
    is_deeply $nginx->get('/api/line-requests', $auth)->json, {success => true, lineRequests => [], cursor => undef}, 'no requests';
};

my @ids = map { $nginx->post_json('/api/line-requests', $_ % 3 ? \%phone : \%email, $auth)->json('/line/_id') } 1 .. 45;

subtest 'one request' => sub {
    my $answer = $nginx->get("/api/line-requests/$ids[0]", $auth);
    is $answer->status, 200, 'found';
    is_deeply [@{$answer->json}{qw(success status paymentStatus paymentRequired)}], [true, 'provisioning', 'paid', false], 'the documented shape';
    is $answer->json('/line/_id'), $ids[0], 'with its line';

    is $nginx->get("/api/line-requests/$ids[0]", $nginx->bearer($other))->status, 404, "another workspace's is 404";
    my $none = $nginx->get('/api/line-requests/' . 'f' x 24, $auth);
    is $none->status, 404, 'one that is not there is 404';
    is $none->body, '{"error":"Line request not found"}', 'in words';

    for my $bad ('1', 'x' x 24, uc $ids[0], "$ids[0]0", '*', 'w:org_1}') {
        my $answer = $nginx->get("/api/line-requests/$bad", $auth);
        is $answer->status, 400, "$bad is no id";
        is $answer->body, '{"error":"Invalid line request id"}', '... in words';
    }
};

subtest 'the list is newest first, page by page' => sub {
    for my $limit (1, 7, 44, 45, 46, 100) {
        my (@seen, $cursor);

        do {
            my $answer = $nginx->get("/api/line-requests?limit=$limit" . ($cursor ? "&cursor=$cursor" : ''), $auth);
            is $answer->status, 200, 'a page' or diag $answer->to_string;
            my $page = $answer->json('/lineRequests');
            cmp_ok @$page, '<=', $limit, "at most $limit";
            push @seen, map { $_->{_id} } @$page;
            $cursor = $answer->json('/cursor');
        } while (defined $cursor && @seen < 200);

        is_deeply \@seen, [reverse @ids], "all of them, once, with limit $limit";
    }

    is @{$nginx->get('/api/line-requests', $auth)->json('/lineRequests')}, 20, 'twenty by default';
};

subtest 'the list by status' => sub {
    is $nginx->admin(POST => "lines/$ids[$_]/status", {status => 'active'})->status, 200, 'one becomes active' for 3, 20, 40;
    my $list = $nginx->get('/api/line-requests?status=active', $auth)->json;
    is_deeply [map { $_->{_id} } @{$list->{lineRequests}}], [@ids[40, 20, 3]], 'those';
    is $list->{cursor}, undef, 'and no more';

    my $page = $nginx->get('/api/line-requests?status=active&limit=2', $auth)->json;
    is_deeply [map { $_->{_id} } @{$page->{lineRequests}}], [@ids[40, 20]], 'a page of them';
    $page = $nginx->get("/api/line-requests?status=active&limit=2&cursor=$page->{cursor}", $auth)->json;
    is_deeply [map { $_->{_id} } @{$page->{lineRequests}}], [$ids[3]], 'the rest';
};

subtest 'lines that came in the same millisecond' => sub {
    my $ties = $nginx->workspace(org_ties => {plan => 'bulk', subscription => 'active'});
    my @tied = map { $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($ties))->json('/line/_id') } 1 .. 12;
    $redis->client->zadd('lines:{w:org_ties}:lines', 1700000000000, $_) for @tied;

    my (@seen, $cursor);
    do {
        my $answer = $nginx->get('/api/line-requests?limit=5' . ($cursor ? "&cursor=$cursor" : ''), $nginx->bearer($ties));
        push @seen, map { $_->{_id} } @{$answer->json('/lineRequests')};
        $cursor = $answer->json('/cursor');
    } while (defined $cursor && @seen < 50);

    is_deeply [sort @seen], [sort @tied], 'each is listed once';
};

subtest 'what a list refuses' => sub {
    for my $bad ('limit=0', 'limit=101', 'limit=-1', 'limit=x', 'limit=', 'status=open', 'cursor=', 'cursor=x', 'cursor=%00', 'cursor=' . 'a' x 600) {
        my $answer = $nginx->get("/api/line-requests?$bad", $auth);
        is $answer->status, 400, "$bad is 400";
        my ($name) = $bad =~ /^(\w+)/;
        like $answer->json('/error'), qr/\b$name\b/, '... and named';
    }
};

subtest 'all lines of a workspace' => sub {
    my $lines = $nginx->get('/api/lines/by-user', $auth)->json('/lines');
    is @$lines, 45, 'all of them';

    my ($phone) = grep { $_->{_id} eq $ids[0] } @$lines;
    my $today = $redis->cli('TIME');
    like $phone->{usage}{date}, qr/^\d{4}-\d\d-\d\d$/, 'usage of a day';
    is $phone->{usage}{newConversationsCount}, 0, 'none yet';
    is $phone->{dailyNewConversationsLimit}, 25, 'conversations a day, by plan';
    is $phone->{dailyTotalMessagesLimit}, 300, 'messages a day, by plan';
    is $phone->{provisioningStatus}, 'provisioning', 'provisioning state';
    is $phone->{paymentStatus}, 'paid', 'payment state';
    is $phone->{isActive}, false, 'not active';
    ok exists $phone->{healthCheck}, 'health';

    is $nginx->admin(POST => "lines/$ids[0]/usage", {newConversationsCount => 3, totalMessagesCount => 17})->status, 200, 'usage reported';
    ($phone) = grep { $_->{_id} eq $ids[0] } @{$nginx->get('/api/lines/by-user', $auth)->json('/lines')};
    is_deeply [@{$phone->{usage}}{qw(newConversationsCount totalMessagesCount)}], [3, 17], 'and seen';

    $redis->client->hset("lines:{w:org_1}:rec:$ids[0]", usage_date => '2020-01-01');
    ($phone) = grep { $_->{_id} eq $ids[0] } @{$nginx->get('/api/lines/by-user', $auth)->json('/lines')};
    is $phone->{usage}{totalMessagesCount}, 0, 'yesterday\'s usage is not today\'s';

    my @many = concurrently(260, sub ($i) { $nginx->post_json_p('/api/line-requests', \%phone, $nginx->bearer($other)) });
    is @{$nginx->get('/api/lines/by-user', $nginx->bearer($other))->json('/lines')}, scalar(grep { $_->status == 201 } @many), 'hundreds, in one answer';
};

subtest 'cancel and payment_link, for what awaits no payment' => sub {
    my $manage = sub ($id, $body) { $nginx->post_json("/api/line-requests/$id", $body, $auth) };

    my $answer = $manage->($ids[3], {action => 'cancel'});
    is $answer->status, 409, 'an active line cannot be canceled';
    is_deeply [@{$answer->json}{qw(success status)}], [false, 'active'], 'its status is named';
    ok length $answer->json('/message'), 'with a message';
    is $manage->($ids[0], {action => 'cancel'})->json('/status'), 'provisioning', 'nor can one in provisioning';
    is $manage->($ids[0], {action => 'payment_link'})->status, 409, 'nor does it have a payment link';
    is $manage->('f' x 24, {action => 'cancel'})->status, 404, 'not there';
    is $nginx->post_json("/api/line-requests/$ids[0]", {action => 'cancel'}, $nginx->bearer($other))->status, 404, "another workspace's";
    is $manage->('nonsense', {action => 'cancel'})->body, '{"error":"Invalid line request id"}', 'an invalid id';

    is $manage->($ids[0], $_)->body, '{"error":"Unsupported action"}', 'an unsupported action'
      for {}, {action => 'delete'}, {action => ''}, {action => undef}, {action => 1}, {action => ['cancel']}, {action => 'Cancel'};
};

subtest 'HEAD, 404, 405' => sub {
    for my $path ('/api/lines/by-user', '/api/line-requests', "/api/line-requests/$ids[0]") {
        my $get  = $nginx->get($path, $auth);
        my $head = $nginx->head($path, $auth);
        is $head->status, 200, "HEAD $path";
        is $head->body, '', 'has no body';
        is $head->header('Content-Length'), length $get->body, 'but its length';
    }

    my %allow = ('/api/lines/by-user' => 'GET, HEAD', '/api/line-requests' => 'GET, HEAD, POST', "/api/line-requests/$ids[0]" => 'GET, HEAD, POST');

    for my $path (sort keys %allow) {
        for my $method (qw(PUT DELETE PATCH OPTIONS)) {
            my $answer = $nginx->request($method, $path, $auth);
            is $answer->status, 405, "$method $path is 405";
            is $answer->header('Allow'), $allow{$path}, '... and says what is allowed';
            is $answer->body, '{"error":"Method not allowed"}', '... in the dialect';
        }
    }

    for my $path (qw(/api/ /api/lines /api/line-requests/ /api/lines/by-user/ /api/nothing), "/api/line-requests/$ids[0]/x") {
        my $answer = $nginx->get($path, $auth);
        is $answer->status, 404, "$path is 404";
        is $answer->body, '{"error":"Not found"}', '... in the dialect';
        ok $answer->header('X-Request-Id'), '... with a request id';
        is $answer->header('Cache-Control'), 'no-store', '... not to be cached';
    }
};

subtest 'a context survives internal redirects' => sub {
    my $redirects = $t->nginx(name => 'redirects', redis => $redis, plans => '', server => <<'END');
        location /old/ { rewrite ^/old/(.*)$ /api/$1 last; }
        location /named/ { try_files /nothing @api; }
        location @api { rewrite ^/named/(.*)$ /api/$1 last; }
        location /error { error_page 404 = /api/lines/by-user; return 404; }
END
    is $redirects->get("/$_", $auth)->status, 200, $_ for qw(old/lines/by-user named/lines/by-user error);
};

$t->done;
