# Errors that nginx itself raises: in the words of the API under its prefix, and of conf/lines.conf before a location is
# known.  And no 503 without Retry-After.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $token = $t->admin_token_file;

my $nginx = $t->nginx(
    redis  => $redis,
    plans  => "lines_plan bulk phone included=1000;\n",
    http   => "lingering_timeout 200ms;\nlimit_req_zone \$binary_remote_addr zone=slow:1m rate=1r/m;\nlimit_req_zone \$uri zone=said:1m rate=1r/m;\n",
    server => $clerk->location . $clerk->directive(authorized_party => $clerk->party) . <<"END");
        location /denied/api/ { lines_workspace_api; deny all; }
        location /denied/accounts/ { lines_account_api; deny all; }
        location /denied/admin/ { lines_admin token_file=$token; deny all; }
        location = /denied/ready { lines_ready; deny all; }
        location = /denied/metrics { lines_metrics; deny all; }
        location /slow/api/ { lines_workspace_api; limit_req zone=slow; }
        location /slow/accounts/ { lines_account_api; limit_req zone=slow; limit_req_status 429; }
        location /page/ { lines_workspace_api; deny all; error_page 403 \@page; }
        location \@page { return 403 "a page of its own"; }
        location /gone/ { lines_account_api; return 410; }
        location /text/ { lines_account_api; return 503 "as it is"; }
        location /exact/ { lines_workspace_api; }
        location = /exact { return 200 "another's"; }
        location /plain/ { deny all; }
        location /said/ {
            lines_workspace_api; limit_req zone=said;
            add_header Retry-After 30 always; add_header X-Request-Id "the operator's" always; add_header Cache-Control private always;
        }
        location /expires/ { lines_workspace_api; expires 1h; }
        location /named/ { lines_workspace_api; limit_req zone=said; error_page 503 \@busy; }
        location /uri/ { lines_account_api; error_page 503 /busy; return 503; }
        location = /busy { return 503 "busy"; }
        location \@busy { default_type application/json; return 503 '{"error":"busy"}'; }
        location = /elsewhere { return 503 "as it is"; }
        location /missing/ { lines_workspace_api; error_page 404 /nothing; }
        location = /nothing { return 404 "nothing is here"; }
        location /named-missing/ { lines_workspace_api; error_page 404 = \@away; }
        location \@away { proxy_pass http://127.0.0.1:\$server_port/exact; }
        location /gateway/ { lines_account_api; if (\$arg_p) { proxy_pass http://127.0.0.1:1; } }
        location /late/ { lines_account_api; return 504; }
        location /mirror/ { lines_workspace_api; mirror /mirrored; }
        location = /mirrored { internal; return 204; }
END

my $key  = $nginx->workspace(org_1 => {plan => 'bulk'});
my $auth = $nginx->bearer($key);
my %body = (api => sub ($text) { qq({"error":"$text"}) }, accounts => sub ($text) { qq({"status":"ERROR","message":"$text"}) });

sub in_dialect ($answer, $status, $body, $what) {
    is $answer->status, $status, $what or diag $answer->to_string;
    is $answer->body, $body, '... in the dialect';
    is $answer->header('Content-Type'), 'application/json', '... of its type';
    is $answer->header('Cache-Control'), 'no-store', '... not for a cache';
    like $answer->header('X-Request-Id') // '', qr/^[0-9a-f]{32}$/, '... with an id';
}

# one request as it is; its answer's status, body and head
sub raw ($server, $bytes, %options) {
    my $answer = $server->raw($bytes, timeout => 20 * $t->slow, %options);
    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    my ($status) = ($head // '') =~ m{\AHTTP/1.1 (\d+)};
    return ($status // "none: $answer", $body // '', $head // '');
}

subtest 'the prefix without its slash' => sub {
    for my $api (qw(api accounts)) {
        for my $method (qw(GET POST PUT PROPFIND)) {
            my $answer = $nginx->request($method, "/$api", $auth, $method eq 'POST' ? '{}' : undef);
            in_dialect($answer, 404, $body{$api}->('Not found'), "$method /$api");
            is $answer->header('Location'), undef, '... leads nowhere else';
        }
        in_dialect($nginx->get("/$api?x=1", $auth), 404, $body{$api}->('Not found'), "/$api with arguments");
        my $head = $nginx->head("/$api", $auth);
        is $head->status, 404, "HEAD /$api";
        is $head->header('Content-Length'), length $body{$api}->('Not found'), '... has the length';
    }

    is $nginx->get('/_lines/admin')->body, '{"error":"Not found"}', "the operator's, too";
    is $nginx->get('/exact')->body, q(another's), 'a location of that name goes before';
    like $nginx->access_log, qr{"GET /api HTTP/1.1" 404 }, 'logged as it was answered';
};

subtest 'what other modules refuse' => sub {
    in_dialect($nginx->get("/denied/$_/lines", $auth), 403, $body{$_}->('Forbidden'), "denied: $_") for qw(api accounts);
    in_dialect($nginx->get("/denied/$_"), 403, '{"error":"Forbidden"}', "denied: $_") for qw(admin/numbers ready metrics);
    is $nginx->head('/denied/api/lines')->body, '', 'HEAD has no body';

    my ($first, @more) = map { $nginx->get('/slow/api/lines/by-user', $auth) } 1 .. 2;
    is $first->status, 200, 'within the limit';
    in_dialect($more[0], 503, $body{api}->('Service temporarily unavailable'), 'beyond it');
    is $more[0]->header('Retry-After'), 1, '... come back later';
    in_dialect($nginx->get('/slow/accounts/lines', $auth), 429, $body{accounts}->('Too many requests'), 'with another status');

    in_dialect($nginx->get('/gone/lines'), 410, $body{accounts}->('Bad request'), 'return in the location');
    is $nginx->get('/text/lines')->body, 'as it is', 'a text of its own is left as it is';
    is $nginx->get('/page/lines')->body, 'a page of its own', 'and an error_page';
    like $nginx->get('/plain/x')->body, qr/<html>/, 'where no API is, nginx says it';

    my ($status, $text) = raw($nginx, "GET /denied/api/x HTTP/1.0\r\n\r\n");
    is $text, '{"error":"Forbidden"}', 'HTTP/1.0';
    my $both = $nginx->raw("GET /denied/api/x HTTP/1.1\r\nHost: x\r\n\r\nGET /denied/accounts/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout => 20 * $t->slow);
    like $both, qr/\{"error":"Forbidden"\}HTTP.*\r\n\r\n\{"status":"ERROR","message":"Forbidden"\}\z/s, 'a connection goes on';
};

subtest "what the operator's add_header says goes before" => sub {
    my $end = "HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nConnection: close\r\n\r\n";
    for my $status (200, 503) {
        my ($code, $text, $head) = raw($nginx, "GET /said/lines/by-user $end");
        is_deeply [sort $head =~ /^((?:Retry-After|X-Request-Id|Cache-Control): .*?)\r?$/mgi],
          ['Cache-Control: private', 'Retry-After: 30', "X-Request-Id: the operator's"], "$status: each once" or diag $head;
        is $code, $status, '... of its status';
    }
    my ($code, $text, $head) = raw($nginx, "GET /expires/lines/by-user $end");
    like $head, qr/^Cache-Control: no-store\r?$/m, '"expires" makes it no answer for caches';
};

subtest "an error_page elsewhere: the API's 503 says when all the same" => sub {
    my @named = map { $nginx->get('/named/lines/by-user', $auth) } 1 .. 2;
    is $named[1]->body, '{"error":"busy"}', 'a named location';
    is $named[1]->header('Retry-After'), 1, '... says when';
    my $uri = $nginx->get('/uri/lines');
    is $uri->body, 'busy', 'another URI';
    is $uri->header('Retry-After'), 1, '... says when';
    is $nginx->get('/elsewhere')->header('Retry-After'), undef, "what never was the API's is not spoken for";

    is $nginx->request($_ => '/missing', {}, $_ eq 'POST' ? 'x' x 50_000 : undef)->body, 'nothing is here', "$_ of the prefix without its slash has the error_page for 404" for qw(GET POST);
    is $nginx->get('/named-missing')->body, q(another's), '... one that is fetched, too';
    is $nginx->head('/missing')->status, 404, '... HEAD';
    my $both = $nginx->raw("GET /missing HTTP/1.1\r\nHost: x\r\n\r\nGET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout => 20 * $t->slow);
    like $both, qr/\r\n\r\nnothing is hereHTTP.*\{"error":"Not found"\}\z/s, '... and the connection goes on';
};

subtest 'gateways' => sub {
    in_dialect($nginx->get('/gateway/x?p=1'), 502, $body{accounts}->('Bad gateway'), 'proxy_pass in if');
    in_dialect($nginx->get('/late/x'), 504, $body{accounts}->('Gateway timeout'), 'too late');
};

subtest 'a mirror keeps no more of a body than the API takes' => sub {
    my $head = "POST /mirror/line-requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    my ($status, $text) = raw($nginx, "${head}Content-Length: 99999999999\r\n\r\n{");
    is "$status $text", '413 {"error":"Request body is too large"}', 'said to be larger';
    ($status, $text) = raw($nginx, "${head}Transfer-Encoding: chunked\r\n\r\n" . join('', map { "2000\r\n" . 'x' x 8192 . "\r\n" } 1 .. 20) . "0\r\n\r\n");
    is "$status $text", '413 {"error":"Request body is too large"}', 'in chunks';
    is $nginx->post_json('/mirror/line-requests', {firstName => 'x' x 30_000}, $auth)->body, '{"error":"firstName must have at most 100 characters"}', 'others pass';
};

subtest 'methods' => sub {
    for my $api (qw(api accounts)) {
        my $path = $api eq 'api' ? '/api/line-requests' : '/accounts/lines';
        for my $method (qw(PUT PATCH DELETE OPTIONS PROPFIND MKCOL LOCK FOO QUERY)) {
            my $answer = $nginx->request($method, $path, $auth);
            in_dialect($answer, 405, $body{$api}->('Method not allowed'), "$method $path");
            is $answer->header('Allow'), $api eq 'api' ? 'GET, HEAD, POST' : 'GET, HEAD', '... says what is';
        }
        in_dialect($nginx->request(FOO => "/$api/x"), 404, $body{$api}->('Not found'), "FOO /$api/x");
    }
};

subtest 'bodies' => sub {
    my $head = "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Type: application/json\r\nConnection: close\r\n";

    my ($status, $text, $heading) = raw($nginx, "${head}Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n");
    is "$status $text", '413 {"error":"Request body is too large"}', 'too large, and it is not asked for';
    ($status, $text) = raw($nginx, "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    is "$status $text", '401 {"error":"Unauthorized"}', 'nor is that of nobody';
    ($status, $text) = raw($nginx, "${head}Content-Length: 2\r\nExpect: odd\r\n\r\n{}");
    is "$status $text", '400 {"error":"firstName is required"}', 'an Expect that nobody knows';

    my $chunked = "${head}Transfer-Encoding: chunked\r\n\r\n";
    for ("zz\r\n", "-1\r\n", "5\r\nabcdefgh\r\n", "ffffffffffffffffff\r\n", "1\r\n{zz\r\n") {
        ($status, $text) = raw($nginx, "$chunked$_");
        is "$status $text", '400 {"error":"Request body could not be read"}', 'chunks that are none: ' . s/[^ -~]/./gr;
    }
    ($status, $text) = raw($nginx, $chunked . join('', map { "2000\r\n" . 'x' x 8192 . "\r\n" } 1 .. 20));
    is "$status $text", '413 {"error":"Request body is too large"}', 'too many chunks';
    ($status, $text) = raw($nginx, "POST /accounts/lines/provision-preview HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n");
    is "$status $text", '401 {"status":"ERROR","message":"Invalid API credentials"}', 'nobody has no chunks';

    # a length is not demanded: without one there is no body
    ($status, $text) = raw($nginx, "POST /api/line-requests HTTP/1.0\r\nAuthorization: Bearer $key\r\n\r\n");
    is "$status $text", '400 {"error":"firstName is required"}', 'no length';

    my $late = $t->nginx(name => 'late', redis => $redis, plans => '', server => 'client_body_timeout 1s;');
    ($status, $text) = raw($late, "${head}Content-Length: 20\r\n\r\n{");
    is "$status $text", '408 {"error":"Request body did not come in time"}', 'a body that does not come';
};

subtest 'HTTP/2' => sub {
    plan skip_all => 'curl is not installed' unless grep { -x "$_/curl" } split /:/, $ENV{PATH};
    my $two = $t->nginx(name => 'two', redis => $redis, plans => '', h2 => 1, server => 'location /denied/ { lines_account_api; deny all; }');
    my $curl = sub (@args) {
        my $path = pop @args;
        open my $out, '-|', 'curl', '-sS', '-m', 60 * $t->slow, '--http2-prior-knowledge', '-w', ' %{http_code} %{content_type}', @args,
          'http://127.0.0.1:' . $two->h2_port . $path or die "curl: $!";
        return join '', <$out>;
    };
    is $curl->('/api'), '{"error":"Not found"} 404 application/json', 'without the slash';
    is $curl->('/denied/x'), '{"status":"ERROR","message":"Forbidden"} 403 application/json', 'denied';
    is $curl->('-X', 'PROPFIND', '/api/line-requests'), '{"error":"Method not allowed"} 405 application/json', 'a method';
};

subtest 'Retry-After on every 503' => sub {
    my %session = %{$nginx->bearer($clerk->token(org => 'org_1'))};
    my $line    = $nginx->post_json('/api/line-requests', {firstName => 'A', lastName => 'B', channelType => 'phone'}, $auth)->json('/line/_id');
    my $check   = $nginx->get("/api/lines/check-availability?id=$line", \%session);
    is $check->status, 503, 'checks are not configured' or diag $check->to_string;
    is $check->body, '{"error":"Line checks are not configured"}', '... in words';
    is $check->header('Retry-After'), 60, '... not soon';

    $redis->stop;
    wait_for(sub { $nginx->get('/api/lines/by-user', $nginx->bearer('tuco_x')); $nginx->get('/_lines/ready')->status == 503 }, 30, 'Redis to be missed');

    my %pair = ('sb-api-key-id' => 'x', 'sb-api-secret-key' => 'y');
    my @all  = (
        [GET => '/_lines/ready'], [HEAD => '/_lines/ready'], [GET => '/api/lines/by-user', $auth], [GET => '/api/line-requests', $auth],
        [GET => "/api/line-requests/$line", $auth], [POST => '/api/line-requests', $auth, '{}'], [GET => "/api/lines/check-availability?id=$line", \%session],
        [GET => '/accounts/lines', \%pair], [GET => '/accounts/limits', \%pair], [POST => '/accounts/lines/provision-preview', \%pair],
        [GET => '/_lines/admin/numbers', $nginx->bearer($t->admin_token)],
    );
    for (@all) {
        my ($method, $path, $headers, $body) = @$_;
        my $answer = $nginx->request($method, $path, $headers // {}, $body);
        next if $answer->status == 400 && $method eq 'POST';
        is $answer->status, 503, "$method $path" or diag $answer->to_string;
        my @when = grep {/^Retry-After: /i} split /\r?\n/, ($nginx->raw("$method $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            . join('', map {"$_: $headers->{$_}\r\n"} sort keys %{$headers // {}}) . "\r\n", timeout => 20 * $t->slow));
        is scalar @when, 1, '... says when, once';
        like $when[0] // '', qr/^Retry-After: [1-9]\d*$/i, '... in seconds';
    }

    $redis->start;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'Redis to be back');
    is $nginx->get('/_lines/ready')->header('Retry-After'), undef, 'nothing to wait for any more';
};

# conf/lines.conf as it is, but for the files and the addresses
subtest 'conf/lines.conf' => sub {
    my $conf = path($t->root, 'conf/lines.conf')->slurp;
    my $dir  = path($t->dir, 'etc')->make_path;
    my ($http, $https, $admin, $h2) = map { $t->free_port } 1 .. 4;

    my $made = qx{openssl req -x509 -newkey rsa:2048 -nodes -batch -subj /CN=lines.example.com -days 2 -keyout $dir/tls.key -out $dir/tls.crt 2>&1};
    is $?, 0, 'a certificate' or diag $made;
    $t->file("etc/$_", 'x' x 32 . "$_\n") for qw(admin.token webhook.key);
    $t->file('etc/stripe.key', "sk_live_x\n");

    $conf =~ s{/etc/lines/}{$dir/}g;
    $conf =~ s{/etc/ssl/certs/ca-certificates.crt}{$dir/tls.crt}g;
    $conf =~ s{redis://127\.0\.0\.1:6379/0}{@{[join ' ', $redis->url, $redis->options]}} or die 'no Redis';
    $conf =~ s{listen 443 ssl;}{listen 127.0.0.1:$http; listen 127.0.0.1:$https ssl; @{[$nginx->listen_h2("127.0.0.1:$h2 ssl")]}} or die 'no listen';
    $conf =~ s{listen 127\.0\.0\.1:8081;}{listen 127.0.0.1:$admin;} or die 'no address of the operator';

    my $server = $t->nginx(name => 'alone', http => $conf);
    my ($alone, $tls) = map { Test::Lines::Client->new(host => '127.0.0.1', port => $_) } $http, $https;
    my $long = 'x' x 40_000;
    my $malformed = 'Malformed request, or a header that is too large';

    for (
        ['a path that is nobody\'s',  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",                       404, 'Not found'],
        ['one of its own',            "GET /_lines/error HTTP/1.1\r\nHost: x\r\n\r\n",           404, 'Not found'],
        ['an internal one',           "GET /_lines/billing/x HTTP/1.1\r\nHost: x\r\n\r\n",       404, 'Not found'],
        ['nonsense',                  "\x16\x03\x01\r\n\r\n",                                    400, $malformed],
        ['no method',                 "get /api/x HTTP/1.1\r\nHost: x\r\n\r\n",                  400, $malformed],
        ['no Host',                   "GET /api/x HTTP/1.1\r\n\r\n",                             400, $malformed],
        ['two lengths',               "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, $malformed],
        ['no length',                 "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, $malformed],
        ['a URI too long',            "GET /api/$long HTTP/1.1\r\nHost: x\r\n\r\n",              414, 'Request URI is too long'],
        ['a header too large',        "GET /api/x HTTP/1.1\r\nHost: x\r\nX: $long\r\n\r\n",      400, $malformed],
        ['TRACE',                     "TRACE /api/x HTTP/1.1\r\nHost: x\r\n\r\n",                405, 'Method not allowed'],
        ['a version',                 "GET /api/x HTTP/9.0\r\nHost: x\r\n\r\n",                  505, 'HTTP version is not supported'],
        ['an encoding',               "POST /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, 'Not implemented'],
        ['accounts: TRACE',           "TRACE /accounts/x HTTP/1.1\r\nHost: x\r\n\r\n",           405, 'Method not allowed', 1],
        ['accounts: a header',        "GET /account/x HTTP/1.1\r\nHost: x\r\nX: $long\r\n\r\n",  400, $malformed, 1],
        ['accounts: a length',        "POST /accounts HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, $malformed, 1],
        ['accounts: with the host',  "TRACE http://x/accounts/x HTTP/1.1\r\nHost: x\r\n\r\n",  405, 'Method not allowed', 1],
        ['... of another case',      "TRACE HTTP://x:80/account?x HTTP/1.1\r\nHost: x\r\n\r\n", 405, 'Method not allowed', 1],
        ['workspaces: with the host', "TRACE http://x/api/accounts/ HTTP/1.1\r\nHost: x\r\n\r\n", 405, 'Method not allowed'],
        ['the API itself',            "GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, 'Not found'],
        ['and the other',             "GET /accounts/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, 'Not found', 1],
        ['with its own words',        "GET /api/line-requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 401, 'Unauthorized'],
    ) {
        my ($what, $request, $status, $message, $account) = @$_;
        $request =~ s/\r\n\r\n\z/\r\nConnection: close\r\n\r\n/ unless $request =~ /Connection/;
        my ($code, $text, $head) = raw($alone, $request, timeout => 3);
        is $code, $status, $what;
        is $text, $body{$account ? 'accounts' : 'api'}->($message), '... in words';
        like $head, qr{^Content-Type: application/json\r$}m, '... of their type';
        like $head, qr{^Cache-Control: no-store\r$}m, '... not for a cache';
        like $head, qr{^X-Request-Id: [0-9a-f]{32}\r?$}m, '... with an id';
    }

    my $large = "HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nConnection: close\r\n\r\n";
    for (['/', 'api'], ['/apix', 'api'], ['/webhooks/x', 'api']) {
        my ($path, $dialect) = @$_;
        my ($code, $text) = raw($alone, "POST $path $large", timeout => 3);
        is "$code $text", '413 ' . $body{$dialect}->('Request body is too large'), "a large body to $path";
    }
    my ($none, $text_of_none) = raw($alone, "POST /_lines/error $large", timeout => 3);
    is "$none $text_of_none", '404 {"error":"Not found"}', 'and to what is internal';

    SKIP: {
        skip 'curl is not installed', 1 unless grep { -x "$_/curl" } split /:/, $ENV{PATH};
        my $file = $t->file('large', 'x' x 2_000_000);
        my $curl = sub (@args) {
            my $path = pop @args;
            open my $out, '-|', 'curl', '-sk', '-m', 60 * $t->slow, '--http2', '-w', ' %{http_code} %{http_version}', @args, "https://127.0.0.1:$h2$path" or die "curl: $!";
            return join '', <$out>;
        };
        is $curl->('-d', "\@$file", $_), '{"error":"Request body is too large"} 413 2', "HTTP/2: a large body to $_" for '/', '/apix';
        is $curl->('-X', 'TRACE', '/accounts/x'), '{"status":"ERROR","message":"Method not allowed"} 405 2', 'HTTP/2: TRACE';
        like $curl->('-H', "X: $long", '/api/x'), qr/^ 000 /, 'HTTP/2: a header too large has no answer';
    }

    # the whole API of accounts answers under both spellings
    my $operator = Test::Lines::Client->new(host => '127.0.0.1', port => $admin);
    my %operator = (Authorization => 'Bearer ' . 'x' x 32 . 'admin.token');
    wait_for(sub { $operator->get('/_lines/ready')->status == 200 }, 30, 'ready');
    is $operator->put_json('/_lines/admin/accounts/one', {plan => 'inbound_only', customer => 'cus_1'}, {%operator})->status, 201, 'an account';
    my $pair = $operator->post_json('/_lines/admin/accounts/one/keys', {}, {%operator})->json;
    for my $spelling (qw(accounts account)) {
        my $answer = $alone->get("/$spelling/lines", $nginx->pair(@$pair{qw(key_id secret)}));
        is $answer->status, 200, "/$spelling/" or diag $answer->to_string;
        is $answer->header('RateLimit-Policy'), '"accounts";q=100;w=2', '... has the one limit';
    }

    my ($code, $text) = raw($tls, "GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n");
    is "$code $text", "400 {\"error\":\"$malformed\"}", 'HTTP where HTTPS is spoken';
};

$t->done;
