# A session cookie comes along whichever site made the browser send a request: it changes something only from a site that may.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::SSL ();
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::Client;
use Test::Lines::H2;
use Test::Lines::Tls;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(json => {from => 'upstream'});
my $party = $clerk->party;
my $tls   = Test::Lines::Tls->new(t => $t)->ca('ca');
my $cert  = $tls->certificate('ca', 'own', 'lines.example.com');

my $https = $t->free_port;
my $url   = $app->url;

my $nginx = $t->nginx(
    redis => $redis,
    h2    => 1,
    http  => <<'END',
log_format site '$request_method $uri $status $lines_auth_failure';
END
    server => $clerk->location . $clerk->directive(authorized_party => [$party, 'https://admin.example.com', 'null']) . <<"END",
listen 127.0.0.1:$https ssl;
ssl_certificate $cert->{cert};
ssl_certificate_key $cert->{key};
access_log @{[$t->dir]}/site.log site;
location /clerk/     { lines_auth clerk; proxy_pass $url; }
location /workspace/ { lines_auth workspace; proxy_pass $url; }
location /any/       { lines_auth any; proxy_pass $url; }
location /nobody/    { @{[$clerk->directive]} lines_auth clerk; proxy_pass $url; }
location /satisfy/   { satisfy any; allow 127.0.0.2; deny all; lines_auth clerk; proxy_pass $url; }
location /address/   { satisfy any; allow 127.0.0.1; deny all; lines_auth clerk; proxy_pass $url; }
location /basic/     { satisfy any; auth_basic x; auth_basic_user_file @{[$t->file('passwords', "user:{PLAIN}secret\n")]}; lines_auth clerk; proxy_pass $url; }
location /page/      { lines_auth clerk; error_page 403 = /page403; proxy_pass $url; }
location = /page403  { return 403 page; }
location /asked/     { auth_request /check; proxy_pass $url; }
location = /check    { internal; lines_auth clerk; }
location /redirected/ { error_page 404 405 = /by-page; }
location = /by-page  { internal; lines_auth clerk; proxy_pass $url; }
location /then/      { try_files /none \@then; }
location \@then      { lines_auth clerk; proxy_pass $url; }
END
);

my $token  = $clerk->token(org => 'org_1');
my $cookie = {Cookie => "a=b; __session=$token"};
my %line   = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $unsaid = qr/neither Origin nor Sec-Fetch-Site tells .* send the token as Authorization: Bearer/;
my $other  = qr/not enough to change anything from this Origin: send the token as Authorization: Bearer, or have the origin allowed/;

$nginx->workspace(org_1 => {plan => 'growth'});

sub refused ($answer, $words, $what) {
    is $answer->status, 403, "$what: refused" or diag $answer->to_string;
    like $answer->json('/error') // '', $words, '... and told what to do';
    is $answer->json('/code'), 'cookie_refused', '... by a code';
    is $answer->header('WWW-Authenticate'), undef, '... no new token would help';
}

# what a browser says, and whether it counts
my @said = (
    ['neither header',              {},                                                                        $unsaid],
    ['an allowed Origin',           {Origin => $party}],
    ['the other one',               {Origin => 'https://admin.example.com'}],
    ['an allowed Origin, by a sibling site', {Origin => $party, 'Sec-Fetch-Site' => 'same-site'}],
    ['another Origin',              {Origin => 'https://evil.test'},                                           $other],
    ['a sibling host',              {Origin => 'https://blog.example.com', 'Sec-Fetch-Site' => 'same-site'},   $other],
    ['another Origin, same-origin', {Origin => 'https://evil.test', 'Sec-Fetch-Site' => 'same-origin'},        $other],
    ['http instead of https',       {Origin => 'http://app.example.com'},                                      $other],
    ['another port',                {Origin => "$party:8443"},                                                 $other],
    ['a longer host',               {Origin => "$party.evil.test"},                                            $other],
    ['a shorter one',               {Origin => 'https://app.example.co'},                                      $other],
    ['a path',                      {Origin => "$party/"},                                                     $other],
    ['upper case',                  {Origin => uc $party},                                                     $other],
    ['null',                        {Origin => 'null'},                                                        $other],
    ['null, same-origin',           {Origin => 'null', 'Sec-Fetch-Site' => 'same-origin'},                     $other],
    ['two in one header',           {Origin => "$party https://evil.test"},                                    $other],
    ['two headers',                 {Origin => [$party, 'https://evil.test']},                                 $other],
    ['two headers, both allowed',   {Origin => [$party, $party]},                                              $other],
    ['same-origin',                 {'Sec-Fetch-Site' => 'same-origin'}],
    ['same-site',                   {'Sec-Fetch-Site' => 'same-site'},                                         $other],
    ['cross-site',                  {'Sec-Fetch-Site' => 'cross-site'},                                        $other],
    ['none: by the address bar',    {'Sec-Fetch-Site' => 'none'},                                              $other],
    ['two of those',                {'Sec-Fetch-Site' => ['same-origin', 'cross-site']},                       $other],
    ['the host as it was asked',    {Origin => 'http://' . $nginx->host . ':' . $nginx->port},                 $other],
    ['the same, over TLS',          {Origin => 'https://' . $nginx->host . ':' . $nginx->port},                $other],
);

subtest 'who may write' => sub {
    for my $said (@said) {
        my ($what, $headers, $words) = @$said;
        my %headers = (%$cookie, %$headers);
        $app->clear;

        for my $path ('/clerk/x', '/workspace/x', '/any/x', '/satisfy/x') {
            my $answer = $nginx->post($path, 'a=b', \%headers);
            $words ? refused($answer, $words, "$what: $path") : is $answer->status, 200, "$what: $path";
        }

        is scalar @{$app->requests}, $words ? 0 : 4, '... what is refused does not come through';

        my $answer = $nginx->post_json('/api/line-requests', {}, \%headers);
        $words ? refused($answer, $words, "$what: the API") : is $answer->status, 400, "$what: the API";
    }
};

subtest 'by every method' => sub {
    for my $method (qw(POST PUT PATCH DELETE MKCOL)) {
        my $mark = $nginx->log_mark;
        refused($nginx->request($method => '/clerk/x', $cookie, ''), $unsaid, $method);
        $nginx->wait_log(qr/authentication failed: cookie-refused/, $mark);
        is $nginx->request($method => '/clerk/x', {%$cookie, Origin => $party}, '')->status, 200, "$method from a site that may";
        is $nginx->request($method => '/clerk/x', {Authorization => "Bearer $token", Origin => 'https://evil.test'}, '')->status, 200,
          "$method with a token in the header, from anywhere";
        is $nginx->request($method => '/clerk/x', {%$cookie, Authorization => "Bearer $token"}, '')->status, 200, '... and a cookie beside it';
    }

    for my $method (qw(GET HEAD OPTIONS)) {
        is $nginx->request($method => '/clerk/x', {%$cookie, %{$_->[1]}})->status, 200, "$method changes nothing: $_->[0]" for @said;
    }

    refused($nginx->get('/clerk/x', {%$cookie, Connection => 'Upgrade', Upgrade => 'WebSocket'}), $unsaid, 'a WebSocket');
    refused($nginx->get('/clerk/x', {%$cookie, Connection => 'Upgrade', Upgrade => 'websocket', Origin => 'https://evil.test'}), $other, '... of another site');
    is $nginx->get('/clerk/x', {%$cookie, Connection => 'Upgrade', Upgrade => 'websocket', Origin => $party})->status, 200, '... of one that may';

    is $nginx->post('/clerk/x', '', {Cookie => '__session=x', Origin => $party})->status, 401, 'a bad token is a bad token';
    is $nginx->post('/clerk/x', '', {Origin => $party})->status, 401, 'an Origin alone is nobody';
    is $nginx->post('/clerk/x', '', {%$cookie, Authorization => 'Bearer x', Origin => $party})->status, 401, 'a bad header is not mended by a cookie';
    is $nginx->post('/clerk/x', '', {Cookie => '__session=' . $clerk->token(org => 'org_1', claims => {azp => 'https://evil.test'}), Origin => $party})->status,
      401, 'nor a token of another party by an Origin';
};

subtest 'no site is named' => sub {
    refused($nginx->post('/nobody/x', '', {%$cookie, %{$_->[1]}}), qr/Origin/, "without authorized_party: $_->[0]")
      for grep { !exists $_->[1]{'Sec-Fetch-Site'} } @said;
    is $nginx->post('/nobody/x', '', {%$cookie, 'Sec-Fetch-Site' => 'same-origin'})->status, 200, '... but of the same origin';
};

subtest 'ways into a location' => sub {
    for my $path ('/redirected/x', '/then/x') {
        refused($nginx->post($path, 'a=b', $cookie), $unsaid, $path);
        is $nginx->post($path, 'a=b', {%$cookie, Origin => $party})->status, 200, "$path: by a site that may";
    }

    is $nginx->post('/asked/x', 'a=b', $cookie)->status, 403, 'auth_request: refused';
    is $nginx->post('/asked/x', 'a=b', {%$cookie, Origin => $party})->status, 200, '... or not';
    is $nginx->get('/asked/x', $cookie)->status, 200, '... reading is not';

    is $nginx->post('/page/x', '', $cookie)->body, 'page', 'error_page';
    is $nginx->post('/address/x', '', $cookie)->status, 200, 'satisfy any: by its address';
    is $nginx->post('/basic/x', '', {%$cookie, Authorization => 'Basic dXNlcjpzZWNyZXQ='})->status, 200, '... by a password';
    my $answer = $nginx->post('/basic/x', '', {%$cookie, Authorization => 'Basic eDp5', Origin => 'https://evil.test'});
    is $answer->status, 403, '... by neither';
    like $answer->json('/error'), $other, '... in our words';
};

subtest 'the origin of the request itself' => sub {
    my $post = sub ($origin, $host = 'lines.example.com', $version = '1.1') {
        my $socket = IO::Socket::SSL->new(PeerHost => '127.0.0.1', PeerPort => $https, SSL_verify_mode => 0) or die IO::Socket::SSL::errstr();
        print $socket "POST /clerk/x HTTP/$version\r\n", (length $host ? "Host: $host\r\n" : ''), "Content-Length: 0\r\nConnection: close\r\n",
          "Origin: $origin\r\nCookie: __session=$token\r\n\r\n";
        my $answer = join '', <$socket>;
        return $answer =~ m{^HTTP/1\.1 (\d+)} ? $1 : $answer;
    };

    is $post->('https://lines.example.com'), 200, 'counts where TLS ends here';
    is $post->('https://lines.example.com', 'lines.example.com:443'), 200, 'whether or not Host has the port';
    is $post->('https://lines.example.com:8443', 'lines.example.com:8443'), 200, 'another port';
    is $post->('http://lines.example.com'), 403, 'a page that came without TLS is another site';
    is $post->('https://example.com'), 403, 'so is a host above';
    is $post->('https://a.lines.example.com'), 403, '... and below';
    is $post->('https://lines.example.com:8443'), 403, '... and another port';
    is $post->('https://', ''), 400, 'without a Host';
    is $post->('https://', '', '1.0'), 403, '... of HTTP/1.0';
};

subtest 'HTTP/2' => sub {
    my $client = Test::Lines::H2->new(port => $nginx->h2_port);
    my $post   = sub (%headers) { $client->answer($client->request(POST => '/clerk/x', {cookie => "__session=$token", %headers}, '')) };
    refused($post->(), $unsaid, 'neither header');
    refused($post->(origin => 'https://evil.test'), $other, 'another Origin');
    is $post->(origin => $party)->status, 200, 'an allowed one';
    $client->leave;
};

wait_for(sub { -s $t->dir . '/site.log' }, 10, 'the log');
like join('', do { open my $log, '<', $t->dir . '/site.log' or die; <$log> }), qr{^POST /clerk/x 403 cookie-refused$}m, '$lines_auth_failure';

$t->done;
