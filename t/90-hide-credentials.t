# hide_credentials: by which key somebody may pass is nobody's business behind lines_auth.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(json => {from => 'upstream'});
my $party = $clerk->party;
my $url   = $app->url;
my $dir   = $t->dir;

$t->file('www/page.html', '<!--# include virtual="/part/x" -->');

my $nginx = $t->nginx(
    redis => $redis,
    http  => <<"END",
proxy_cache_path $dir/cache keys_zone=pages:1m;
log_format shown '\$uri "\$http_authorization" "\$http_sb_api_secret_key" "\$http_cookie" "\$cookie___session" \$status';
END
    server => $clerk->location . $clerk->directive(authorized_party => $party) . <<"END",
access_log $dir/shown.log shown;
proxy_set_header X-Tenant \$lines_tenant;

location /keys/      { lines_auth any; proxy_pass $url; }
location /on/        { lines_auth any hide_credentials=on; proxy_pass $url; }
location /off/       { lines_auth any hide_credentials=off; proxy_pass $url; }
location /said/      { lines_auth any; proxy_set_header X-Key \$http_authorization; proxy_pass $url; }
location /account/   { lines_auth account; proxy_pass $url; }

location /then/      { lines_auth any; try_files /none \@app; }
location \@app       { proxy_pass $url; }
location /again/     { lines_auth any; try_files /none \@again; }
location \@again     { lines_auth any; proxy_pass $url; }
location /shown/     { lines_auth any; try_files /none \@shown; }
location \@shown     { lines_auth any hide_credentials=off; proxy_pass $url; }
location /other/     { lines_auth any hide_credentials=on; try_files /none \@other; }
location \@other     { lines_auth workspace hide_credentials=off; proxy_pass $url; }

location /mirrored/  { lines_auth any; mirror /mirror; proxy_pass $url; }
location = /mirror   { internal; proxy_pass $url/mirror; }
location /ssi/       { lines_auth any; ssi on; alias $dir/www/; }
location /part/      { lines_auth any; proxy_pass $url; }
location /asked/     { auth_request /check; proxy_pass $url; }
location = /check    { internal; lines_auth any; }
location /asks/      { lines_auth any; auth_request /service; proxy_pass $url; }
location = /service  { internal; proxy_pass $url/service; }

location /cached/    { lines_auth any; proxy_cache pages; proxy_cache_key "\$lines_tenant\$uri"; proxy_cache_valid 10m; proxy_pass $url; }
location /groups/    { lines_auth any cache=shared; proxy_cache pages; proxy_cache_key "\$http_authorization\$uri"; proxy_cache_valid 10m; proxy_pass $url; }
location /address/   { satisfy any; allow 127.0.0.1; deny all; lines_auth any; proxy_pass $url; }
END
);

my $key    = $nginx->workspace(one => {plan => 'growth'});
my $two    = $nginx->workspace(two => {plan => 'growth'});
my @pair   = $nginx->account('acc');
my $bearer = $nginx->bearer($key);
my $pair   = $nginx->pair(@pair);
my $token  = $clerk->token(org => 'one');

# what the upstream saw of it
sub saw ($path, $headers, $method = 'GET') {
    $app->clear;
    my $answer = $nginx->request($method => $path, {'X-First' => 1, %$headers, 'X-Last' => 2}, $method eq 'POST' ? 'a=b' : undef);
    is $answer->status, 200, "$method $path" or diag $answer->to_string;
    my $seen = $app->requests->[-1]{headers};
    is $seen->{'x-first'} . $seen->{'x-last'}, '12', '... with all else of the request';
    return join ' ', map {"$_=$seen->{$_}"} grep { defined $seen->{$_} } qw(authorization sb-api-key-id sb-api-secret-key cookie);
}

my $shown = "authorization=Bearer $key";
my $cookie = {Cookie => "a=b; __session=$token; c=d"};

subtest 'keys' => sub {
    for my $method (qw(GET POST)) {
        is saw('/keys/x', $bearer, $method), '', 'an API key is hidden';
        is saw('/on/x', $bearer, $method), '', 'on: too';
        is saw('/off/x', $bearer, $method), $shown, 'off: not';
        is saw('/keys/x', $pair, $method), '', 'a pair is';
        is saw('/account/x', {%$pair, Authorization => 'Basic eDp5'}, $method), 'authorization=Basic eDp5', 'what is no credential to us is not';
        is saw('/keys/x', {%$pair, %$bearer}, $method), '', 'of two, both';
        like saw('/off/x', $pair, $method), qr/^sb-api-key-id=\S+ sb-api-secret-key=\S+$/, 'off: the pair';
    }

    is saw('/keys/x', {%$bearer, %$cookie}), "cookie=a=b; __session=$token; c=d", 'cookies are left';
};

subtest 'tokens' => sub {
    my $header = {Authorization => "Bearer $token"};
    is saw('/keys/x', $header), "authorization=Bearer $token", 'a session token is the upstream\'s, too';
    is saw('/on/x', $header), '', 'on: it is hidden';
    is saw('/keys/x', $cookie), "cookie=$cookie->{Cookie}", 'so is a cookie';
    is saw('/on/x', $cookie), 'cookie=a=b; c=d', 'on: it is hidden, others are not';
    is saw('/on/x', {Cookie => "__session=$token"}), '', '... alone';
    is saw('/on/x', {Cookie => ['x=y', "__session=$token; __session=z"]}), 'cookie=x=y', '... of several headers';
    is saw('/on/x', {Cookie => "__session=$token" . ';a' x 1500}), 'cookie=' . join('; ', ('a') x 1500), '... of many that nothing is between';
    is saw('/on/x', {%$header, %$cookie}), 'cookie=a=b; c=d', '... beside a header with the same token';
    is saw('/on/x', {%$bearer, %$cookie}), 'cookie=a=b; c=d', '... beside a key';
    is saw('/on/x', {%$pair, %$header}), '', 'a token beside a pair';

    # Clerk sends it twice, and whoever has it can ask with it
    is saw('/on/x', {Cookie => "a=b; __session_Ab3=$token; __session=$token; c=d"}), 'cookie=a=b; c=d', 'its cookie with a suffix is hidden as well';
    is saw('/on/x', {%$header, Cookie => "__session_Ab3=$token; c=d"}), 'cookie=c=d', '... beside a header';
    is saw('/on/x', {%$bearer, Cookie => "c=d; __session_Ab3=x; __session_="}), 'cookie=c=d', '... beside a key, whatever it holds';
    is saw('/on/x', {Cookie => ["mine=$token; c=d", "__session=$token;\tx=y"]}) =~ s/\t//r, 'cookie=c=d; x=y', 'another cookie with the same token';
    is saw('/on/x', {%$header, Cookie => "c=d; mine=$token ; e=f"}), 'cookie=c=d; e=f', '... as in the header';
    is saw('/on/x', {%$bearer, Cookie => "c=d; mine=$key"}), 'cookie=c=d', '... as a key';
    is saw('/on/x', {%$header, Cookie => "c=d; $token"}), 'cookie=c=d', '... without a name';
    my $near = "__sessions=1;  __sessio_n=2;__Session_x=3; x__session=4; a=; =; b; mine=${token}x; __session-x=5";
    is saw('/on/x', {%$header, Cookie => $near}), "cookie=$near", 'all else is as it was sent';
    is saw('/keys/x', {Cookie => "__session=$token; __session_Ab3=$token"}), "cookie=__session=$token; __session_Ab3=$token", 'keys: all of them are left';
};

subtest 'ways' => sub {
    is saw('/then/x', $bearer), '', 'try_files, to a location without lines_auth';
    is saw('/again/x', $bearer), '', '... with another, which finds the key again';
    is saw('/shown/x', $bearer), $shown, '... that shows it';
    is saw('/shown/x', $pair) =~ tr/=//, 2, '... a pair';
    is saw('/other/x', $cookie), "cookie=$cookie->{Cookie}", '... a cookie, by other rules';
    is saw('/asked/x', $bearer), '', 'auth_request: the location that asks';
    is saw('/address/x', $bearer), $shown, 'satisfy any: nobody looked at it';

    $app->clear;
    is $nginx->get('/mirrored/x', $bearer)->status, 200, 'mirror';
    wait_for(sub { @{$app->requests} == 2 }, 10, 'both');
    is_deeply [grep {defined} map { $_->{headers}{authorization} } @{$app->requests}], [], '... of neither upstream';

    $app->clear;
    is $nginx->get('/asks/x', $bearer)->status, 200, 'a service that auth_request asks';
    is_deeply [grep {defined} map { $_->{headers}{authorization} } @{$app->requests}], [], '... is an upstream';

    $app->clear;
    is $nginx->get('/ssi/page.html', $bearer)->body, '{"from":"upstream"}', 'SSI: the part is of the same tenant';
    is $app->requests->[-1]{headers}{authorization}, undef, '... and its upstream sees no key';
};

subtest 'caches' => sub {
    is $nginx->get('/cached/x', $_)->status, 200, 'a cached page' for $bearer, $bearer, $pair;
    is saw('/cached/y', $bearer), '', '... is asked for without the key';

    $app->set(json => {of => 'one'});
    is $nginx->get('/groups/x', $bearer)->json('/of'), 'one', 'a cache by the key';
    $app->set(json => {of => 'two'});
    is $nginx->get('/groups/x', $nginx->bearer($two))->json('/of'), 'two', '... is so though upstreams do not see it';
    is $nginx->get('/groups/x', $bearer)->json('/of'), 'one', '... still';
};

subtest 'variables' => sub {
    $app->clear;
    is $nginx->get('/said/x', $bearer)->status, 200;
    is $app->requests->[-1]{headers}{'x-key'}, "Bearer $key", 'what proxy_set_header names is sent';
    $nginx->get('/on/log', {%$bearer, %$cookie});
    $nginx->get('/on/log2', $cookie);
    $nginx->get('/keys/log3', $pair);

    my $log = wait_for(sub { open my $file, '<', "$dir/shown.log" or return; my $text = join '', <$file>; $text =~ /log3/ && $text }, 10, 'the log');
    like $log, qr{^/on/log "Bearer \Q$key\E" "-" "\Q$cookie->{Cookie}\E" "\Q$token\E" 200$}m, 'a log is as it was';
    like $log, qr{^/on/log2 "-" "-" "\Q$cookie->{Cookie}\E" "\Q$token\E" 200$}m, '... of a cookie';
    like $log, qr{^/keys/log3 "-" "\Q$pair[1]\E" "-" "-" 200$}m, '... of a pair';
};

subtest 'keepalive' => sub {
    my $raw = join '', map {"GET /$_/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n" . ($_ eq 'off' ? "Connection: close\r\n" : '') . "\r\n"} qw(keys on keys off);
    $app->clear;
    my $answers = $nginx->raw($raw);
    is scalar(() = $answers =~ m{HTTP/1\.1 200}g), 4, 'one after the other';
    is_deeply [map { defined $_->{headers}{authorization} ? 1 : 0 } @{$app->requests}], [0, 0, 0, 1], 'each by its location';
};

my ($code, $output) = $t->test_config(server => 'location /x/ { lines_auth workspace hide_credentials=all; }');
isnt $code, 0;
like $output, qr/neither "keys", "on" nor "off": invalid parameter "hide_credentials=all" in "lines_auth"/;

$t->done;
