# lines_cors: pages of other sites may ask where they are named, and read every answer; others may not, whatever answers.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::H2;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(json => {from => 'upstream'});
my $party = $clerk->party;
my $url   = $app->url;
my $dir   = $t->dir;
my $one   = 'https://one.example.com';
my $ext   = 'chrome-extension://abcdefghijklmnop';

$t->file('www/page.html', 'x' x 2000);

my $nginx = $t->nginx(
    redis => $redis,
    h2    => 1,
    api   => "lines_cors origin=$one origin=$ext credentials max_age=1h; lines_rate_limit rate=1r/h burst=40 key=tenant sync=each; lines_rate_limit rate=1r/h burst=60 key=ip name=address sync=each;",
    http  => "proxy_cache_path $dir/cache keys_zone=pages:1m;",
    server => $clerk->location . $clerk->directive(authorized_party => $party) . <<"END",
location /app/       { lines_cors origin=$one; lines_auth any; proxy_pass $url; }
location /parties/   { lines_cors credentials; lines_auth any; proxy_pass $url; }
location /none/      { lines_auth any; proxy_pass $url; }
location /outer/     { lines_cors origin=$one; lines_auth any; proxy_pass $url;
    location /outer/off/   { lines_cors off; lines_auth any; proxy_pass $url; }
    location /outer/inner/ { proxy_pass $url; }
}
location /zero/      { lines_cors origin=$one max_age=0; lines_auth any; proxy_pass $url; }
location /open/      { lines_cors origin=$one; proxy_pass $url; }
location /file/      { lines_cors origin=$one; alias $dir/www/; gzip on; gzip_vary on; gzip_types *; }
location /added/     { lines_cors origin=$one; add_header Access-Control-Allow-Origin * always; add_header access-control-max-age 5; add_header Vary "X-A, origin"; add_header Vary X-B; empty_gif; }
location /star/      { lines_cors origin=$one; add_header Vary *; empty_gif; }
location /denied/    { lines_cors origin=$one; deny all; }
location /page/      { lines_cors origin=$one; lines_auth any; error_page 401 =402 /elsewhere; proxy_pass $url; }
location = /elsewhere { return 200 page; }
location /named/     { lines_cors origin=$one; lines_auth any; error_page 401 = \@named; proxy_pass $url; }
location \@named     { return 200 page; }
location /hidden/    { lines_cors origin=$one; lines_auth any; error_page 401 = /without; proxy_pass $url; }
location = /without  { lines_cors off; return 200 page; }
location /away/      { lines_cors origin=$one; lines_auth any; proxy_pass http://127.0.0.1:1; }
location /cached/    { lines_cors origin=$one; lines_auth any cache=shared; proxy_cache pages; proxy_cache_valid 10m; proxy_pass $url; }
location /dead/      { lines_cors origin=$one; return 204; }
location /write/     { lines_cors origin=$one credentials; lines_auth any; proxy_pass $url; }
location /nocookie/  { lines_cors origin=$one; lines_auth any; proxy_pass $url; }
END
);

my $key    = $nginx->workspace(one => {plan => 'growth'});
my $bearer = $nginx->bearer($key);
my $exposed = qr/\bRateLimit\b.*\bRateLimit-Policy\b.*\bRetry-After\b.*\bX-Request-Id\b/;

sub values_of ($answer, $name) { @{$answer->headers->every_header($name)} }

sub cors ($answer) {
    return join ' | ', map { my $name = $_; map {"$name=$_"} values_of($answer, "Access-Control-$name") }
      qw(Allow-Origin Allow-Credentials Allow-Methods Allow-Headers Max-Age);
}

sub vary ($answer) { join ', ', values_of($answer, 'Vary') }

sub preflight ($path, $origin = $one, $method = 'POST', %more) {
    return $nginx->request(OPTIONS => $path, {Origin => $origin, 'Access-Control-Request-Method' => $method, %more});
}

sub allowed ($answer, $what, %may) {
    my $origin = $may{origin} // $one;
    is_deeply [values_of($answer, 'Access-Control-Allow-Origin')], [$origin], "$what: allowed, once" or diag $answer->to_string;
    is_deeply [values_of($answer, 'Access-Control-Allow-Credentials')], [$may{credentials} ? 'true' : ()], '... credentials';
    like $answer->header('Access-Control-Expose-Headers') // '', $exposed, '... what may be read';
    is vary($answer), $may{vary} // 'Origin', '... and a cache is told';
}

sub denied ($answer, $what, $vary = 'Origin') {
    is cors($answer), '', "$what: no word of CORS";
    is $answer->header('Access-Control-Expose-Headers'), undef, '... none';
    is vary($answer), $vary, '... but to a cache';
}

subtest 'preflight' => sub {
    my $asked = {'Access-Control-Request-Headers' => 'authorization,x-evil , Idempotency-Key,content-type'};

    my $answer = preflight('/api/line-requests', $one, 'POST', %$asked);
    is $answer->status, 204, 'without credentials' or diag $answer->to_string;
    is $answer->body, '', '... without a body';
    is $answer->header('Content-Type'), undef, '... of no type';
    is cors($answer), "Allow-Origin=$one | Allow-Credentials=true | Allow-Methods=GET, HEAD, POST"
      . ' | Allow-Headers=Authorization, Content-Type, Idempotency-Key | Max-Age=3600', '... says what the route knows';
    is vary($answer), 'Origin', '... to whom';
    is $answer->header('RateLimit'), undef, '... met no limit';

    is preflight('/api/lines/by-user', $one, 'GET')->header('Access-Control-Allow-Methods'), 'GET, HEAD', 'another route';
    is cors(preflight('/api/nothing')), "Allow-Origin=$one | Allow-Credentials=true | Max-Age=3600", 'no route: its 404 can be read';
    is preflight('/accounts/lines', $one, 'GET', 'Access-Control-Request-Headers' => 'sb-api-key-id, sb-api-secret-key')->header('Access-Control-Allow-Headers'),
      'sb-api-key-id, sb-api-secret-key', 'a pair';
    is preflight('/api/lines/by-user', $ext, 'GET')->header('Access-Control-Allow-Origin'), $ext, 'an extension';

    is cors(preflight('/app/x', $one, 'DELETE', 'Access-Control-Request-Headers' => ['If-None-Match', 'x-request-id'])),
      "Allow-Origin=$one | Allow-Methods=GET, HEAD, POST, PUT, PATCH, DELETE | Allow-Headers=If-None-Match, X-Request-Id | Max-Age=600", 'the gateway';
    is cors(preflight($_)) =~ /Allow-Origin=\Q$one/, 1, $_ for '/outer/inner/x', '/open/x', '/denied/x', '/dead/x', '/away/x', '/file/page.html';
    is preflight('/zero/x')->header('Access-Control-Max-Age'), 0, 'max_age=0';
    is preflight('/parties/x', $party)->header('Access-Control-Allow-Origin'), $party, 'authorized_party';
    is scalar @{$app->requests}, 0, 'no upstream is asked';

    is preflight('/app/x', $one, 'GET', 'Access-Control-Request-Headers' => 'a' x 6000)->header('Access-Control-Allow-Headers'), undef, 'nothing known';
    is preflight('/api/lines/by-user', $one, 'GET')->status, 204, 'again' for 1 .. 100;
    is $nginx->get('/api/lines/by-user', {%$bearer, Origin => $one})->status, 200, 'none of them counted';

    is $nginx->request(OPTIONS => '/api/line-requests', {Origin => $one, %$bearer})->status, 405, 'OPTIONS that is no preflight';
    is $nginx->request(OPTIONS => '/api/line-requests', {'Access-Control-Request-Method' => 'POST', %$bearer})->status, 405, '... nor this';
    is $nginx->request(OPTIONS => '/app/x', {Origin => $one})->status, 401, '... in front of others';
    is preflight('/none/x')->status, 401, 'no lines_cors, no preflight';
    is preflight('/outer/off/x')->status, 401, 'lines_cors off';
};

subtest 'other origins' => sub {
    for my $origin ('https://evil.test', 'null', 'http://one.example.com', "$one/", "$one:443", "$one.evil.test", uc $one, "$one $party", [$one, $one], '', $party) {
        my $what = ref $origin ? "@$origin" : $origin;
        my $answer = preflight('/api/line-requests', $origin);
        is $answer->status, 403, "preflight of $what";
        is $answer->json('/code'), 'origin_not_allowed', '... in words';
        denied($answer, $what);
        is preflight('/accounts/lines', $origin)->json('/error'), 'origin_not_allowed', '... of the dialect';
        is preflight('/open/x', $origin)->status, 403, '... where there is none';

        for my $path ('/app/x', '/open/x', '/file/page.html', '/added/x') {
            $answer = $nginx->get($path, {%$bearer, Origin => $origin});
            is $answer->status, 200, "$what: $path is answered";
            is cors($answer), '', '... but not to a page';
        }
    }

    denied($nginx->get('/app/x', $bearer), 'no Origin at all');
    unlike $nginx->get('/none/x', {%$bearer, Origin => $one})->to_string, qr/Access-Control|Vary/i, 'without lines_cors';
    unlike $nginx->get('/outer/off/x', {%$bearer, Origin => $one})->to_string, qr/Access-Control|Vary/i, 'lines_cors off';
};

subtest 'whatever is answered' => sub {
    my %me = (%$bearer, Origin => $one);

    allowed($nginx->get('/api/lines/by-user', \%me), '200', credentials => 1);
    allowed($nginx->head('/api/lines/by-user', \%me), 'HEAD', credentials => 1);
    allowed($nginx->get('/api/lines/by-user', {Origin => $one}), '401', credentials => 1);
    allowed($nginx->get('/api/none', \%me), '404', credentials => 1);
    allowed($nginx->post('/api/lines/by-user', '', \%me), '405', credentials => 1);
    allowed($nginx->post('/api/line-requests', 'a=b', \%me), '415', credentials => 1);
    allowed($nginx->post('/api/line-requests', 'x' x 70_000, \%me), '413, of nginx', credentials => 1);
    allowed($nginx->get('/api', {Origin => $one}), 'without its slash', credentials => 1);
    allowed($nginx->get('/accounts/lines', {Origin => $one}), '401 of accounts', credentials => 1);
    allowed($nginx->get('/app/x', {Origin => $one}), '401 of lines_auth');
    allowed($nginx->get('/app/x', \%me), '200 of an upstream');
    allowed($nginx->get('/outer/inner/x', \%me), 'inherited');
    allowed($nginx->get('/denied/x', \%me), '403, of nginx');
    allowed($nginx->get('/away/x', \%me), '502, of nginx');
    allowed($nginx->get('/page/x', {Origin => $one}), 'an error_page elsewhere');
    allowed($nginx->get('/named/x', {Origin => $one}), '... in a named location');
    unlike $nginx->get('/hidden/x', {Origin => $one})->to_string, qr/Access-Control/, '... where it is off';
    allowed($nginx->get('/parties/x', {%$bearer, Origin => $party}), 'authorized_party', origin => $party, credentials => 1);
    denied($nginx->get('/parties/x', {%$bearer, Origin => $one}), 'no other than that');

    my $answer = $nginx->get('/file/page.html', {Origin => $one});
    allowed($answer, 'a file', vary => 'Accept-Encoding, Origin');
    allowed($nginx->get('/file/page.html', {Origin => $one, 'If-None-Match' => $answer->header('ETag')}), '304') if $answer->header('ETag');
    $answer = $nginx->get('/file/page.html', {Origin => $one, 'Accept-Encoding' => 'gzip'});
    is $answer->header('Content-Encoding'), 'gzip', 'compressed';
    is_deeply [sort split /, /, vary($answer)], ['Accept-Encoding', 'Origin'], '... each once';

    $answer = wait_for(sub { my $answer = $nginx->get('/api/lines/by-user', \%me); $answer->status == 429 && $answer }, 60, 'a limit');
    allowed($answer, '429', credentials => 1);
    is preflight('/api/lines/by-user', $one, 'GET')->status, 204, 'a preflight then';
};

subtest 'what others say of it' => sub {
    $app->set(json => {}, headers => {
        'Access-Control-Allow-Origin' => '*', 'access-control-allow-credentials' => 'true', 'Access-Control-Expose-Headers' => 'X-Theirs',
        'Access-Control-Allow-Methods' => 'TRACE', Vary => 'Accept, X-Theirs'
    });
    allowed($nginx->get('/app/x', {%$bearer, Origin => $one}), 'an upstream', vary => 'Accept, X-Theirs, Origin');
    denied($nginx->get('/app/x', {%$bearer, Origin => 'https://evil.test'}), 'to others', 'Accept, X-Theirs, Origin');
    is cors($nginx->get('/none/x', {%$bearer, Origin => $one})), 'Allow-Origin=* | Allow-Credentials=true | Allow-Methods=TRACE', 'where there is no lines_cors, it is theirs';

    for my $vary ('Origin', 'accept,ORIGIN', '*') {
        $app->set(json => {}, headers => {Vary => $vary});
        is vary($nginx->get('/app/x', {%$bearer, Origin => $one})), $vary, "Vary: $vary is enough";
    }

    $app->set(json => {}, headers => {Vary => 'X-Origin'});
    is vary($nginx->get('/app/x', {%$bearer, Origin => $one})), 'X-Origin, Origin', 'another name is not';

    $app->set(json => {}, headers => {'Access-Control-Allow-Origin' => 'https://evil.test'});
    allowed($nginx->get('/cached/x', {%$bearer, Origin => $one}), 'a page for the cache');
    denied($nginx->get('/cached/x', {%$bearer, Origin => 'https://evil.test'}), 'from the cache');
    allowed($nginx->get('/cached/x', {%$bearer, Origin => $one}), 'from the cache');
    $app->set(json => {}, headers => {});

    allowed($nginx->get('/added/x', {Origin => $one}), 'add_header', vary => 'X-A, origin, X-B');
    is cors($nginx->get('/added/x', {Origin => $one})), "Allow-Origin=$one", '... is replaced';
    is vary($nginx->get('/star/x')), '*', 'Vary: *';
};

subtest 'cookies' => sub {
    my $cookie = {Cookie => '__session=' . $clerk->token(org => 'one')};
    is $nginx->post('/write/x', '', {%$cookie, Origin => $one})->status, 200, 'credentials: a cookie writes from there';
    is $nginx->post('/write/x', '', {%$cookie, Origin => $party})->status, 403, '... and from nowhere else';
    allowed($nginx->post('/write/x', '', {Origin => $one}), '... and is told', credentials => 1);
    is $nginx->post('/parties/x', '', {%$cookie, Origin => $party})->status, 200, 'by default, from authorized_party';
    is $nginx->post('/nocookie/x', '', {%$cookie, Origin => $one})->status, 403, 'without credentials: not from there';
    is $nginx->post('/nocookie/x', '', {%$cookie, Origin => $party})->status, 200, '... but from authorized_party';
};

subtest 'HTTP/2, keepalive' => sub {
    my $client = Test::Lines::H2->new(port => $nginx->h2_port);
    is $client->answer($client->request(OPTIONS => '/app/x', {origin => $one, 'access-control-request-method' => 'GET'}))->status, 204, 'preflight';
    is $client->answer($client->request(GET => '/app/x', {%$bearer, origin => $one}))->status, 200, 'the answer';
    is $client->answer($client->request(OPTIONS => '/app/x', {origin => 'https://evil.test', 'access-control-request-method' => 'GET'}))->status, 403, 'another site';
    $client->leave;

    my $raw = $nginx->raw("OPTIONS /app/x HTTP/1.1\r\nHost: x\r\nOrigin: $one\r\nAccess-Control-Request-Method: GET\r\nContent-Length: 2\r\n\r\nab"
          . "GET /app/x HTTP/1.1\r\nHost: x\r\nOrigin: $one\r\nAuthorization: Bearer $key\r\nConnection: close\r\n\r\n");
    like $raw, qr{^HTTP/1\.1 204.*^HTTP/1\.1 200}ms, 'one after the other, with a body';
    unlike $nginx->error_log, qr/\[alert\]|answered twice/, 'no alert';
};

subtest 'Redis is away' => sub {
    $redis->pause;
    allowed(wait_for(sub { my $answer = $nginx->get('/app/x', {%$bearer, Authorization => 'Bearer tuco_x', Origin => $one}); $answer->status == 503 && $answer }, 30, '503'), '503');
    is preflight('/app/x')->status, 204, 'a preflight needs none';
    $redis->cont;
};

subtest 'nginx -t' => sub {
    my $refused = sub ($what, $like, $rest = '') {
        my ($code, $output) = $t->test_config(redis => $redis, server => "location /x/ { lines_auth workspace; lines_cors $what; } $rest");
        isnt $code, 0, "lines_cors $what";
        like $output, $like, '... is told why';
    };

    my %bad = (
        'https://a.example/'      => 'slash at the end of', 'https://a.example/b'   => 'path in', 'https://a.example?b' => 'path in',
        'a.example'               => 'origin without scheme in', '//a.example'      => 'origin without scheme in', 'null' => 'origin without scheme in',
        'https://u@a.example'     => 'user in', 'https://u:p@a.example' => 'user in', 'https://A.example' => 'upper case in', 'HTTPS://a.example' => 'upper case in',
        'https://a.example:443'   => 'default port in', 'http://a.example:80' => 'default port in', '*' => 'wildcard in', 'https://*.example' => 'wildcard in',
        'https://a.example:0'     => 'invalid', 'https://a.example:65536' => 'invalid', 'https://a.example:' => 'invalid', 'https://a.example:080' => 'invalid',
        'https://'                => 'invalid', 'https://:1' => 'invalid', 'https://a_b,c' => 'invalid', 'https://[::1' => 'invalid', 'ht tp://a' => 'invalid',
    );

    for my $bad (sort keys %bad) {
        $refused->("\"origin=$bad\"", qr{not an origin as browsers write it, https://app\.example\.com: $bad{$bad} parameter "origin=\Q$bad\E" in "lines_cors" in});
    }

    $refused->('', qr/"lines_cors" in location "\/x\/" needs "origin=", or a "lines_clerk" with "authorized_party="/);
    $refused->('off credentials', qr/none of origin=, credentials, max_age=: invalid parameter "off"/);
    $refused->("origin=$one; lines_cors off", qr/"lines_cors" directive is duplicate/);
    $refused->("origin=$one max_age=2d", qr/not a time from 0 to 1d: invalid parameter "max_age=2d"/);

    my ($code, $output) = $t->test_config(redis => $redis, http => "lines_cors origin=http://[::1]:8080 origin=http://localhost:3000 origin=http://a_b.test origin=$ext;");
    is $code, 0, 'what is right' or diag $output;
};

$t->done;
