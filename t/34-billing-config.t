# What nginx -t says of lines_billing and of the locations that the module calls.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once store => 'nothing is stored';
use Test::Lines;

my $t   = Test::Lines->new;
my $key = $t->file('stripe.key', "sk_test_lines\n");
my $dir = $t->dir;

qx(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=api.stripe.com -keyout $dir/ca.key -out $dir/ca.pem 2>&1);

my %sound = (
    internal                      => '',
    proxy_pass                    => 'https://127.0.0.1:1/',
    proxy_intercept_errors        => 'off',
    proxy_next_upstream           => 'off',
    proxy_ignore_headers          => 'X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset',
    proxy_http_version            => '1.1',
    proxy_set_header              => 'Authorization "Bearer $lines_billing_key"',
    proxy_ssl_verify              => 'on',
    proxy_ssl_trusted_certificate => "$dir/ca.pem",
    proxy_ssl_server_name         => 'on',
    proxy_ssl_name                => 'api.stripe.com',
    subrequest_output_buffer_size => '64k',
);

sub location ($name, %change) {
    my %all = (%sound, %change);
    return "location $name { " . join(' ', map { defined $all{$_} ? "$_ $all{$_};" : () } sort keys %all) . ' }';
}

sub check (%o) {
    my ($code, $output) = $t->test_config(
        http   => "proxy_cache_path $dir/cache keys_zone=answers:1m; "
          . ($o{http} // "lines_billing /_lines/billing/ key_file=$key deployment=prod;"),
        server => $o{server} // ''
    );
    return ($code == 0, $output);
}

sub accepted ($name, %o) {
    my ($ok, $output) = check(%o);
    ok $ok, "accepted: $name" or diag $output;
}

sub refused ($name, $message, %o) {
    my ($ok, $output) = check(%o);
    ok !$ok, "refused: $name";
    like $output, $message, 'and says why';
}

my $uri = '/_lines/billing/';

accepted 'a sound location', server => location($uri);
accepted 'one of stronger preference', server => location("^~ $uri") . ' location ~ ^/_lines { return 404; }';
accepted 'one inside another', server => 'location /_lines/ { return 404; ' . location($uri) . ' }';
my %plain  = map { $_ => undef } grep {/ssl/} keys %sound;
my $local  = "lines_billing $uri key_file=$key deployment=prod plain=loopback;";

accepted 'plain HTTP on this machine', http => $local, server => location($uri, %plain, proxy_pass => $_)
  for 'http://127.0.0.1:1/', 'http://127.9.9.9:1/', 'http://[::1]:1/', "http://unix:$dir/billing.sock:/", 'http://localhost:1/';
accepted 'an upstream on this machine', http => "$local upstream here { server 127.0.0.1:1; server unix:$dir/billing.sock; }",
    server => location($uri, %plain, proxy_pass => 'http://here/');
accepted 'verified TLS in spite of the parameter', http => $local, server => location($uri, proxy_pass => 'https://192.0.2.1/');
accepted 'the default URI', http => "lines_billing key_file=$key deployment=prod;", server => location($uri);
accepted 'an anchor', http => "lines_billing key_file=$key deployment=prod anchor=cus_Anchor1;", server => location($uri);
accepted 'in the second server', http => "lines_billing $uri key_file=$key deployment=prod; server { listen 127.0.0.1:1; location / { return 204; } }",
    server => location($uri);

my $where = qr/"lines_billing": "$uri"/;
my $line  = qr/ in \S+nginx\.conf:\d+/;

refused 'no location at all', qr/$where is in no location of any server$line/, server => 'location /other { return 204; }';
refused 'a catch-all', qr/$where is in no location of any server/, server => 'location / { return 204; }';
refused 'a location that clients can reach', qr/$where is a location that clients can reach: it lacks "internal"$line/,
    server => location($uri, internal => undef);
refused 'a regular expression before it', qr/$where is (?:in no location|a location that)/,
    server => location($uri) . ' location ~ ^/_lines { return 404; }';
refused 'no proxy_pass', qr/$where is a location without "proxy_pass"/,
    server => "location $uri { internal; return 204; }";

for (
    [proxy_ssl_verify              => 'off', qr/proxies without "proxy_ssl_verify on"/],
    [proxy_ssl_verify              => undef, qr/proxies without "proxy_ssl_verify on"/],
    [proxy_ssl_trusted_certificate => undef, qr/no proxy_ssl_trusted_certificate for proxy_ssl_verify/],
    [proxy_ssl_server_name         => 'off', qr/proxies without "proxy_ssl_server_name on"/],
    [proxy_ssl_server_name         => undef, qr/proxies without "proxy_ssl_server_name on"/],
    [proxy_ssl_name                => undef, qr/proxies without "proxy_ssl_name"/],
    [proxy_next_upstream           => undef, qr/without "proxy_next_upstream off"/],
    [proxy_next_upstream           => 'error timeout non_idempotent', qr/without "proxy_next_upstream off"/],
    [proxy_intercept_errors        => 'on',  qr/with "proxy_intercept_errors on"/],
    [proxy_cache                   => 'answers', qr/with "proxy_cache", its own or inherited: it needs "proxy_cache off"/],
    [proxy_pass_request_headers    => 'off', qr/with "proxy_pass_request_headers off"/],
    [proxy_pass_request_body       => 'off', qr/with "proxy_pass_request_body off"/],
    [subrequest_output_buffer_size => undef, qr/of less than 64k/],
    [subrequest_output_buffer_size => '63k', qr/of less than 64k/],
) {
    my ($directive, $value, $message) = @$_;
    refused "$directive " . ($value // 'missing'), $message, server => location($uri, $directive => $value);
}

accepted 'X-Accel-Redirect, which calls do not follow', server => location($uri, proxy_ignore_headers => undef);
refused 'another handler', qr/without "proxy_pass", or with another handler in its place/,
    server => location($uri) =~ s/\}$/empty_gif; }/r;
refused 'https by a variable', qr/proxies without "proxy_ssl_verify on"/, server => 'set $to 127.0.0.1:1; '
  . location($uri, proxy_pass => 'https://$to/', proxy_ssl_verify => 'off');
refused 'inherited from the server', qr/with "proxy_intercept_errors on"/,
    server => 'proxy_intercept_errors on; ' . location($uri, proxy_intercept_errors => undef);
refused 'a cache of all locations', qr/with "proxy_cache", its own or inherited/, server => 'proxy_cache answers; ' . location($uri);
accepted 'none of this one', server => 'proxy_cache answers; ' . location($uri, proxy_cache => 'off');
refused 'https by an upstream block', qr/proxies without "proxy_ssl_name"/,
    http => "lines_billing $uri key_file=$key deployment=prod; upstream stripe { server 127.0.0.1:1; }",
    server => location($uri, proxy_pass => 'https://stripe/', proxy_ssl_name => undef);

refused 'plain HTTP that nobody allowed', qr/proxies without "proxy_ssl_verify on".* the parameter "plain=loopback"/,
    server => location($uri, %plain, proxy_pass => 'http://127.0.0.1:1/');
refused 'plain HTTP to another machine', qr/proxies to other than loopback addresses and sockets without "proxy_ssl_verify on"/,
    http => $local, server => location($uri, %plain, proxy_pass => 'http://192.0.2.1/');
refused 'one server of many on another machine', qr/proxies to other than loopback addresses/,
    http => "$local upstream mixed { server 127.0.0.1:1; server 192.0.2.1:1 backup; }",
    server => location($uri, %plain, proxy_pass => 'http://mixed/');
refused "$_", qr/is a location without "proxy_pass"/, http => $local, server => "location $uri { internal; $_ 127.0.0.1:1; }"
  for qw(grpc_pass fastcgi_pass uwsgi_pass scgi_pass memcached_pass);

# what another location does is its own affair
accepted 'https elsewhere', http => "$local proxy_ssl_server_name on;",
    server => 'location /other { proxy_pass https://127.0.0.1:1; } ' . location($uri, %plain, proxy_pass => 'http://127.0.0.1:1/');

my $server = location($uri);

for (
    ["$uri key_file=$key" => qr/"lines_billing" lacks "deployment="/],
    ["$uri deployment=prod" => qr/"lines_billing" lacks "key_file="/],
    ["$uri key_file=/nowhere deployment=prod" => qr/"lines_billing": open\(\) "\/nowhere" failed/],
    ["$uri key_file=$key deployment=a/b" => qr{invalid parameter "deployment=a/b" of "lines_billing"}],
    (map { ["$uri key_file=$key deployment=prod rate=$_" => qr/not a rate from 1r\/s up, as 80r\/s: invalid parameter "rate=\Q$_\E" of "lines_billing"/] } qw(0r/s 80 -1r/s 30r/m 100001r/s off)),
    ["$uri key_file=$key deployment=prod budget=x" => qr/invalid parameter "budget=x"/],
    ["$uri key_file=$key deployment=prod budget=0" => qr/invalid parameter "budget=0"/],
    ["$uri key_file=$key deployment=prod budget=9s timeout=8s" => qr/"budget=" exceeds "timeout="/],
    ["$uri key_file=$key deployment=prod plain=on" => qr/invalid parameter "plain=on" of "lines_billing"/],
    ["$uri key_file=$key deployment=prod key=sk_test" => qr/invalid parameter "key=sk_test"/],
    ["$uri key_file=$key deployment=prod version=2024-12-18.acacia" => qr/"version=2024-12-18\.acacia" has no invoice payments: 2025-03-31\.basil is the first/],
    ["$uri key_file=$key deployment=prod version=a;b" => qr/unexpected|invalid|unknown/],
    ["/_lines/billing key_file=$key deployment=prod" => qr{needs a URI that ends with "/"}],
) {
    my ($value, $message) = @$_;
    refused "lines_billing $value", $message, http => "lines_billing $value;", server => $server;
}

refused 'twice', qr/"lines_billing" directive is duplicate/,
    http => "lines_billing $uri key_file=$key deployment=a; lines_billing $uri key_file=$key deployment=b;", server => $server;

my $empty = $t->file('empty.key', "\n");
refused 'an empty key', qr/no secret in the first line/, http => "lines_billing $uri key_file=$empty deployment=prod;", server => $server;

my $plans = 'lines_billing_plan growth price=price_a price=price_b; lines_billing_plan mini price=price_c;';
accepted 'plans before it', http => "$plans lines_billing key_file=$key deployment=prod;", server => $server;
accepted 'plans after it', http => "lines_billing key_file=$key deployment=prod; $plans", server => $server;
refused 'plans without it', qr/"lines_billing_plan" needs "lines_billing"/, http => $plans;
refused 'a price of two plans', qr/duplicate price "price_a"/,
    http => "lines_billing key_file=$key deployment=prod; $plans lines_billing_plan mini price=price_a;", server => $server;
refused 'a plan without a price', qr/invalid parameter "prices=x" of "lines_billing_plan"/,
    http => 'lines_billing_plan mini prices=x;';

my $both = "lines_billing $uri key_file=$key deployment=prod; lines_provisioner /_lines/provisioner;";
my $other = sub ($location) {"server { listen 127.0.0.1:1; $location }"};

accepted 'two locations in a server', http => $both, server => $server . location('= /_lines/provisioner');
refused 'two locations in two servers', qr{"lines_provisioner": "/_lines/provisioner" is in no location of the server that has the other},
    http => $both . $other->(location('= /_lines/provisioner')), server => $server;
refused 'a provisioner that could be told twice', qr{"lines_provisioner".* without "proxy_next_upstream off"},
    http => $both, server => $server . location('= /_lines/provisioner', proxy_next_upstream => 'error');

my $clerk = 'lines_clerk issuer=https://clerk.example.com jwks=/_lines/jwks authorized_party=https://app.example.com;';
accepted 'session keys', http => $clerk, server => location('= /_lines/jwks', subrequest_output_buffer_size => '256k',
    proxy_next_upstream => 'error timeout');
refused 'session keys over 64k', qr{"/_lines/jwks" .* of less than 256k}, http => $clerk, server => location('= /_lines/jwks');
refused 'session keys out of a cache', qr{"/_lines/jwks" .* with "proxy_cache"}, http => $clerk,
    server => location('= /_lines/jwks', subrequest_output_buffer_size => '256k', proxy_cache => 'answers');
refused 'session keys from anybody', qr{"/_lines/jwks" .* without "proxy_ssl_verify on"}, http => $clerk,
    server => location('= /_lines/jwks', subrequest_output_buffer_size => '256k', proxy_ssl_verify => 'off');

chmod 0644, $key;
my ($ok, $output) = check(server => $server);
ok $ok, 'a key that everybody may read is accepted' or diag $output;
like $output, qr/\[warn\].*everybody may read the secret in "\Q$key\E"/, 'with a warning';
unlike $output, qr/sk_test/, 'that does not show it';

SKIP: {
    skip 'the module under test has failpoints', 2 if path_has_failpoints();
    refused 'lines_failpoint', qr/unknown directive "lines_failpoint"/, http => 'lines_failpoint x;';
    refused 'lines_billing_debug', qr/unknown directive "lines_billing_debug"/, server => 'location /x { lines_billing_debug; }';
}

sub path_has_failpoints { Test::Lines::Nginx->new(t => $t, name => 'probe')->knows('lines_failpoint') }

$t->done;
