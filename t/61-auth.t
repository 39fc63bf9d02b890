# lines_auth on locations of any kind: identity, refusals, satisfy, configuration.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines qw(wait_for);

my $t        = Test::Lines->new;
my $redis    = $t->redis;
my $upstream = $t->upstream(json => {from => 'upstream'});

my $www = path($t->dir, 'www')->make_path;
$www->child('static')->make_path;
$t->file('www/static/file.txt', 'a file');
$t->file('www/page401.html', 'the page of 401');

my $nginx = $t->nginx(
    redis   => $redis,
    workers => 2,
    http    => <<'END',
log_format identity '$status tenant=$lines_tenant plan=$lines_tenant_plan key=$lines_key_id auth=$lines_auth failure=$lines_auth_failure redis=$lines_redis_time id=$lines_request_id';
END
    server => <<"END",
root $www;
access_log $www/../identity.log identity;

proxy_set_header X-Tenant \$lines_tenant;
proxy_set_header X-Plan \$lines_tenant_plan;
proxy_set_header X-Key \$lines_key_id;
proxy_set_header X-Auth \$lines_auth;
proxy_set_header X-Request-Id \$lines_request_id;

location /workspace/ { lines_auth workspace; proxy_pass @{[$upstream->url]}; }
location /account/   { lines_auth account; proxy_pass @{[$upstream->url]}; }
location /any/       { lines_auth any; proxy_pass @{[$upstream->url]}; }
location /any/off/   { lines_auth off; proxy_pass @{[$upstream->url]}; }
location /static/    { lines_auth workspace; }
location = /gif      { lines_auth workspace; empty_gif; }
location /satisfy-any/ { satisfy any; allow 127.0.0.2; deny all; lines_auth workspace; proxy_pass @{[$upstream->url]}; }
location /satisfy-ip/  { satisfy any; allow 127.0.0.1; deny all; lines_auth workspace; proxy_pass @{[$upstream->url]}; }
location /satisfy-all/ { allow 127.0.0.2; deny all; lines_auth workspace; proxy_pass @{[$upstream->url]}; }
location /page/ { lines_auth workspace; error_page 401 /page401.html; proxy_pass @{[$upstream->url]}; }
location /open/ { proxy_pass @{[$upstream->url]}; }
END
);

my $key = $nginx->workspace('org_one' => {plan => 'growth'});
my ($id, $secret) = $nginx->knows('lines_account_api') ? $nginx->account('acc_one' => {plan => 'inbound_only'}) : ();

sub upstream_saw { $upstream->requests->[-1]{headers} }

# who may pass
{
    my $answer = $nginx->get('/workspace/x', $nginx->bearer($key));
    is $answer->status, 200, 'a key passes' or diag $answer->to_string;
    is $answer->json->{from}, 'upstream', 'to the upstream';

    my $saw = upstream_saw();
    is $saw->{'x-tenant'}, 'w:org_one', 'which hears of the tenant';
    is $saw->{'x-auth'}, 'key', 'of how it was authenticated';
    is $saw->{'x-plan'}, 'growth', 'of its plan';
    like $saw->{'x-key'}, qr/^[0-9a-f]{64}$/, 'and of the key';
    like $saw->{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'and gets a request id';
    unlike encode($saw), qr/\Q$secret\E/, 'no secret' if $secret;

    $upstream->clear;

    for my $headers (
        {}, {Authorization => ''}, {Authorization => 'Bearer'}, {Authorization => 'Bearer '},
        {Authorization => 'Basic dTpw'}, {Authorization => 'Bearer tuco_unknown'},
        {Authorization => "Bearer ${key}x"}, {Authorization => "Bearer x$key"}, {Authorization => $key},
        {Authorization => 'Bearer ' . 'tuco_' . 'x' x 3000}, {'X-Api-Key' => $key}
      )
    {
        my $answer = $nginx->get('/workspace/x', $headers);
        is $answer->status, 401, 'no: ' . substr join(' ', %$headers), 0, 50;
        is_deeply $answer->json, {error => 'Unauthorized'}, 'in the dialect';
        is $answer->header('WWW-Authenticate'), 'Bearer', 'with a challenge';
    }

    is $nginx->post('/workspace/x', 'x' x 100_000)->status, 401, 'a body changes nothing';
    is scalar @{$upstream->requests}, 0, 'none of them reached the upstream';
}

sub encode ($h) { join ' ', map {"$_: $h->{$_}"} sort keys %$h }

# accounts
SKIP: {
    skip 'no accounts in this module', 7 unless $secret;

    is $nginx->get('/account/x', $nginx->pair($id, $secret))->status, 200, 'a key pair passes';
    is upstream_saw()->{'x-tenant'}, 'a:acc_one', 'as an account';
    is $nginx->get('/any/x', $nginx->pair($id, $secret))->status, 200, 'any: a pair';
    is $nginx->get('/any/x', $nginx->bearer($key))->status, 200, 'any: a key';
    is $nginx->get('/workspace/x', $nginx->pair($id, $secret))->status, 401, 'a pair is no key';

    my $answer = $nginx->get('/account/x', $nginx->bearer($key));
    is $answer->status, 401, 'a key is no pair';
    is $answer->json->{status}, 'ERROR', 'in the other dialect';
}

# whatever answers
is $nginx->get('/static/file.txt')->status, 401, 'static: closed';
is $nginx->get('/static/file.txt', $nginx->bearer($key))->body, 'a file', 'static: open';
is $nginx->get('/gif')->status, 401, 'empty_gif: closed';
is $nginx->get('/gif', $nginx->bearer($key))->header('Content-Type'), 'image/gif', 'empty_gif: open';
is $nginx->get('/any/x')->status, 401, 'any: closed';
is $nginx->get('/any/off/x')->status, 200, 'off inside of it: open';
is $nginx->get('/open/x')->status, 200, 'elsewhere: open';
is $nginx->head('/workspace/x')->status, 401, 'HEAD: closed';
is $nginx->head('/workspace/x', $nginx->bearer($key))->status, 200, 'HEAD: open';

# satisfy
{
    my $answer = $nginx->get('/satisfy-any/x');
    is $answer->status, 401, 'satisfy any, neither';
    is $answer->header('WWW-Authenticate'), 'Bearer', 'challenged';
    $answer = $nginx->get('/satisfy-any/x', $nginx->bearer($key));
    is $answer->status, 200, 'satisfy any, the key';
    is $answer->header('WWW-Authenticate'), undef, 'no challenge';
    $answer = $nginx->get('/satisfy-ip/x');
    is $answer->status, 200, 'satisfy any, the address';
    is $answer->header('WWW-Authenticate'), undef, 'no challenge';
    is $nginx->get('/satisfy-all/x')->status, 403, 'satisfy all: the address first';
    is $nginx->get('/satisfy-all/x', $nginx->bearer($key))->status, 403, 'with a key, too';
}

{
    my $answer = $nginx->get('/page/x');
    is $answer->status, 401, 'error_page: the status';
    is $answer->body, 'the page of 401', 'the page';
    is $answer->header('WWW-Authenticate'), 'Bearer', 'the challenge';
}

# request ids
{
    my $answer = $nginx->get('/workspace/x', $nginx->bearer($key, 'X-Request-Id' => 'mine-1.2:3_4'));
    is upstream_saw()->{'x-request-id'}, 'mine-1.2:3_4', 'a well formed request id travels';
    $nginx->get('/workspace/x', $nginx->bearer($key, 'X-Request-Id' => 'a b"c'));
    like upstream_saw()->{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'any other is replaced';
}

# no client forges what the operator sets
for my $name ('X-Tenant', 'x-tenant', 'X_Tenant', 'X-Tenant ', 'X-TENANT') {
    my $raw = $nginx->raw("GET /workspace/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer $key\r\n"
          . "$name: w:org_other\r\n$name: w:org_third\r\n\r\n");
    next if $raw =~ m{^HTTP/1.1 400};
    like $raw, qr{^HTTP/1.1 200}, "forged $name: passes";
    my $saw = upstream_saw();
    is $saw->{'x-tenant'}, 'w:org_one', 'the truth arrives';
    unlike encode($saw), qr/org_other|org_third/, 'alone';
}
{
    $nginx->get('/open/x', {'X-Tenant' => 'w:org_other', 'X-Auth' => 'key'});
    my $saw = upstream_saw();
    is $saw->{'x-tenant'}, undef, 'without lines_auth there is no tenant';
    is $saw->{'x-auth'}, undef, 'and none can be claimed';
}

# the log
{
    my $log = path($t->dir, 'identity.log');
    wait_for(sub { $log->slurp =~ /tenant=- .*failure=credentials-missing/ }, 10, 'the log');
    my $text = $log->slurp;
    like $text, qr/^200 tenant=w:org_one plan=growth key=[0-9a-f]{64} auth=key failure=- redis=\d+\.\d{3} id=/m, 'identity in the log';
    like $text, qr/^401 tenant=- plan=- key=- auth=- failure=key-unknown/m, 'failures in the log';
    unlike $text, qr/\Q$key\E/, 'no key in the log';
    unlike $nginx->error_log, qr/\Q$key\E/, 'nor in the error log';
}

# revoked
{
    my $two = $nginx->workspace('org_two' => {plan => 'growth'});
    is $nginx->get('/workspace/x', $nginx->bearer($two))->status, 200, 'another key';
    my ($kid) = map { $_->{id} } @{$nginx->admin(GET => 'workspaces/org_two/keys')->json->{keys}};
    $nginx->admin(DELETE => "workspaces/org_two/keys/$kid");
    wait_for(sub { $nginx->get('/workspace/x', $nginx->bearer($two))->status == 401 }, 5, 'the revocation');
    pass 'a revoked key passes no more';
}

# configuration
{
    my sub config ($server) { $t->test_config(redis => $redis, server => $server) }

    my ($code, $out) = config('location /a/ { lines_auth workspace; return 200; }');
    is $code, 0, 'return: allowed';
    like $out, qr{\[warn\].*location "/a/".*"return" or "rewrite"}, 'with a warning';

    ($code, $out) = config('location /a/ { lines_auth workspace; rewrite ^ /b last; }');
    like $out, qr{\[warn\].*location "/a/".*"return" or "rewrite"}, 'rewrite: the same';

    ($code, $out) = config('location /a/ { lines_auth workspace; if ($arg_x) { return 403; } }');
    like $out, qr{\[warn\].*location "/a/".*"return" or "rewrite"}, 'return in an if: the same';

    ($code, $out) = config('location /a/ { lines_auth workspace; set $x 1; empty_gif; }');
    unlike $out, qr{\[warn\]}, 'set: no warning';

    ($code, $out) = config('location /a/ { internal; lines_auth workspace; }');
    unlike $out, qr{\[warn\]}, 'internal: subrequests are checked, there is nothing to warn of';

    ($code, $out) = config('location /a/ { internal; lines_auth workspace; return 204; }');
    like $out, qr{\[warn\].*location "/a/".*"return"}, 'internal with return: error_page may lead there';

    ($code, $out) = config('location /a/ { internal; lines_auth workspace; return 204; } location /b/ { auth_request /a/; }');
    unlike $out, qr{\[warn\]}, 'but auth_request is checked before it';

    for (
        ['lines_auth nobody;',                   qr/invalid value "nobody" in "lines_auth"/],
        ['lines_auth;',                          qr/invalid number of arguments in "lines_auth"/],
        ['lines_auth workspace stale=x;',        qr/invalid parameter "stale=x" in "lines_auth"/],
        ['lines_auth off stale=1s;',             qr/invalid parameter "stale=1s"/],
        ['lines_auth workspace; lines_auth any;', qr/"lines_auth" directive is duplicate/],
      )
    {
        ($code, $out) = config("location /a/ { $_->[0] }");
        isnt $code, 0, "refused: $_->[0]";
        like $out, $_->[1], 'and says why';
        like $out, qr/nginx\.conf:\d+/, 'and where';
    }
}

$t->done;
