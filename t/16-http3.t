# HTTP/3, where nginx has it, asked by a real browser: the API, its errors, a body of many packets, a long list, and the gateway.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_base64);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines;
use Test::Lines::Browser;
use Test::Lines::Tls;

my $binary = $ENV{LINES_NGINX} || 'nginx';
plan skip_all => 'this nginx is without HTTP/3' if qx{\Q$binary\E -V 2>&1} !~ /--with-http_v3_module/;
plan skip_all => Test::Lines::Browser->missing if Test::Lines::Browser->missing;

my $t    = Test::Lines->new;
my $tls  = Test::Lines::Tls->new(t => $t)->ca('ca');
my $own  = $tls->certificate('ca', 'server', 'IP:127.0.0.1');
my $port = $t->free_port;
my $app  = $t->upstream(handler => sub ($c, $state) { $c->render(json => {got => length $c->req->body, tenant => $c->req->headers->header('X-Tenant')}) });

my $nginx = $t->nginx(
    redis  => $t->redis,
    plans  => "lines_plan growth phone included=1000;\nlines_plan growth email included=1;\n",
    http   => 'log_format versions "$server_protocol $request_method $uri $status";',
    server => <<"END",
listen 127.0.0.1:$port quic;
listen 127.0.0.1:$port ssl;
ssl_certificate $own->{cert};
ssl_certificate_key $own->{key};
ssl_protocols TLSv1.3;
access_log @{[$t->dir]}/versions.log versions;
location = / { return 200 '<p>page</p>'; default_type text/html; }
location /small/ { lines_auth workspace; client_max_body_size 1k; proxy_pass @{[$app->url]}; }
location /app/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 sync=each; client_max_body_size 2m; proxy_set_header X-Tenant \$lines_tenant; proxy_pass @{[$app->url]}; }
END
);
my $key = $nginx->workspace(one => {plan => 'growth'});

# the browser speaks TCP with nobody here, and believes the one key
my $spki   = qx{openssl x509 -in \Q$own->{cert}\E -pubkey -noout | openssl pkey -pubin -outform DER};
my $digest = sha256_base64($spki);
$digest .= '=' while length($digest) % 4;
my $browser = Test::Lines::Browser->new(t => $t, options => [
    '--enable-quic', "--origin-to-force-quic-on=127.0.0.1:$port", "--ignore-certificate-errors-spki-list=$digest"
]);
$browser->go("https://127.0.0.1:$port/", 'p');

sub fetched ($path, %options) {
    my $init = encode_json({%options, headers => {Authorization => "Bearer $key", %{$options{headers} // {}}}});
    return $browser->js("fetch('$path', $init).then(async r => ({status: r.status, body: await r.text(), id: r.headers.get('x-request-id'),"
          . " limit: r.headers.get('ratelimit'), retry: r.headers.get('retry-after')}), e => ({kept: e.name}))");
}

sub sent ($body, %headers) { return (method => 'POST', body => $body, headers => {'Content-Type' => 'application/json', %headers}) }

my %line   = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $answer = fetched('/api/line-requests', sent(encode_json(\%line), 'Idempotency-Key' => 'once'));
is $answer->{status}, 201, 'a line is requested' or diag explain $answer;
ok $answer->{id}, '... with a request id';
is fetched('/api/line-requests', sent(encode_json(\%line), 'Idempotency-Key' => 'once'))->{body}, $answer->{body}, '... once';

is fetched('/api/line-requests', sent('{"firstName":'))->{status}, 400, 'half a body';
# of what is longer than its window, and not read, nginx leaves the rest with the client: no browser reads the answer
is fetched('/small/x', sent('x' x 5000))->{status}, 413, 'too long a body';
is fetched('/api/nothing')->{status}, 404, 'no such path';
is fetched('/api/lines/by-user', headers => {Authorization => 'Bearer none'})->{status}, 401, 'no such key';

fetched('/api/line-requests', sent(encode_json({%line, lastName => "L$_"}))) for 1 .. 40;
my $list = fetched('/api/lines/by-user');
is $list->{status}, 200, 'a list of several packets';
is scalar(() = $list->{body} =~ /"_id"/g), 41, '... whole';

$answer = fetched('/app/x', sent('y' x 1_000_000));
is $answer->{body}, '{"got":1000000,"tenant":"w:one"}', 'the gateway hands on a body of a million bytes, and whose it is' or diag explain $answer;
like $answer->{limit}, qr/r=2/, '... with what is left';
fetched('/app/x') for 1 .. 2;
$answer = fetched('/app/x');
is $answer->{status}, 429, '... until nothing is';
like $answer->{retry}, qr/^\d+$/, '... and for how long';

# a browser says where what changes something is from, and names its own site in :authority alone
my $console = $browser->js("fetch('/_lines/admin/session', {method: 'POST', headers: {Authorization: 'Bearer @{[$t->admin_token]}'}})"
      . ".then(() => fetch('/_lines/admin/session', {method: 'DELETE', headers: {'X-Lines-Console': '1'}})).then(r => r.text(), e => e.name)");
is $console, '{"ended":true}', 'a session of the console is of its own site';

my @versions = grep { !m{ /_lines/} } split /\n/, path($t->dir, 'versions.log')->slurp;
cmp_ok scalar(@versions), '>', 50, 'all that was asked';
is_deeply [grep { !m{^HTTP/3\.0 } } @versions], [], '... was asked by HTTP/3';

# a reload, as the connection of the browser goes on
$nginx->reload(wait_old => 0);
is fetched('/api/lines/by-user')->{status}, 200, 'after a reload';

$browser->close;
$t->done;
