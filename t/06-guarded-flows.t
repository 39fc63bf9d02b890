# What clients and the other sides see of calls that the guard refuses: 503 and nothing half done; once the location is
# mended, what was begun goes on.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Test::Lines::Tls;

my $t           = Test::Lines->new;
my $tls         = Test::Lines::Tls->new(t => $t)->ca('ca');
my $provisioner = $t->upstream(status => 200);
my $probe       = $t->upstream(json => {status => 'healthy'});
my $clerk       = Test::Lines::Clerk->new(t => $t);
my $shop        = Test::Lines::Account->new(t => $t, provisioner => $provisioner->url);
my $sandbox     = $shop->sandbox;

my %url = (
    billing     => 'http://billing',
    provisioner => $provisioner->url,
    probe       => $probe->url,
    jwks        => $clerk->upstream->url
);

# as an operator would begin: all that nginx -t asks for, and then a scheme that comes from somewhere else
my $verified = "proxy_ssl_verify on; proxy_ssl_trusted_certificate " . $tls->file('ca.pem')
  . "; proxy_ssl_server_name on; proxy_ssl_name api.stripe.com;";

my $probing  = "lines_probe /_lines/probe plain=loopback;\n";
my $location = "location = /_lines/probe { internal; proxy_pass $url{probe}; }\n";
my $session  = $clerk->location . $clerk->directive(authorized_party => $clerk->party);

my %careful = (http => $shop->http . $probing, server => $shop->server . $location . $session);
my %careless = (
    http   => $careful{http} =~ s/ plain=loopback//gr,
    server => join '', map {"set \$$_ $url{$_};\n"} sort keys %url
);
{
    my $server = $careful{server} =~ s/ plain=loopback//gr;
    $server =~ s{proxy_pass \Q$url{$_}\E}{$verified proxy_pass \$$_} for sort keys %url;
    $careless{server} .= $server;
}

my $nginx = $t->nginx(redis => $shop->redis, plans => $shop->plans, %careless);
push @{$shop->nginxes}, $nginx;
$nginx->allow(qr/\[alert\].* lines: "lines_\w+": a call to "[^"]+" would go over plain http, .*: it is not sent\b/);

$shop->numbers(3);

my $key  = $shop->workspace('one');
my $free = $nginx->workspace(two => {plan => 'growth', subscription => 'active'});
my $one  = $shop->account('one');

# what the plan includes needs no call
my $line = $nginx->post_json('/api/line-requests', $shop->body(channelType => 'phone', email => undef), $nginx->bearer($free))->json('/line/_id');
ok $line, 'a line that is included';
$nginx->admin(POST => "lines/$line/status", {status => 'active', phone => '+14155550123'});

my $before = scalar @{[$sandbox->ledger]};
my $token  = $shop->token($one);

for (
    ['a line to be paid for', lines_billing => sub { $shop->request($key) }],
    ['a number to be bought', lines_billing => sub { $shop->confirm($one, $token, key => 'k1') }],
    ['a session', lines_clerk => sub { $nginx->get('/api/lines/by-user', $nginx->bearer($clerk->token(org => 'one'))) }],
  )
{
    my ($what, $directive, $ask) = @$_;
    my $answer = $ask->();
    is $answer->status, 503, "$what: 503" or diag $answer->to_string, $nginx->error_log;
    ok $answer->header('Retry-After'), 'with Retry-After';
    $nginx->wait_log(qr/\[alert\].* lines: "$directive": a call to "[^"]+" would go over plain http/);
}

is_deeply $nginx->get('/_lines/ready')->json('/billing'), {status => 'insecure'}, 'lines_ready says so of billing';
is $nginx->get('/_lines/ready')->json('/jwks/status'), 'insecure', 'and of the keys of sessions';
is scalar @{[$sandbox->ledger]}, $before, 'billing has heard nothing';
is scalar @{$_->requests}, 0, 'nor has anybody else' for $provisioner, $probe, $clerk->upstream;
unlike $nginx->error_log, qr/sk_test|whsec/, 'no secret in the log';

# billing and sessions are mended, provisioner and probe are not
$nginx->http($careful{http} =~ s/(lines_pro(?:visioner|be) \S+) plain=loopback/$1/gr);
$nginx->server(join "\n", map {"set \$$_ $url{$_};"} qw(provisioner probe));
{
    my $server = $careful{server};
    $server =~ s{proxy_pass \Q$url{$_}\E}{$verified proxy_pass \$$_} for qw(provisioner probe);
    $nginx->server($nginx->server . $server);
}
$nginx->reload(wait_old => 1);
$nginx->wait_redis;

my $answer = $shop->confirm($one, $token, key => 'k1');
$nginx->wait_log(qr/\[alert\].* lines: "lines_provisioner": a call to "[^"]+" would go over plain http/);
is scalar @{$provisioner->requests}, 0, 'the provisioner is not told';
ok wait_for(sub { scalar @{[$sandbox->ledger('subscription')]} }, 30, 'a subscription'), 'billing is asked again';

sub check () { $nginx->get("/api/lines/check-availability?id=$line", $nginx->bearer($clerk->token(org => 'two'))) }

is check()->status, 503, 'a check: 503';
$nginx->wait_log(qr/\[alert\].* lines: "lines_probe": a call to "[^"]+" would go over plain http/);
is scalar @{$probe->requests}, 0, 'nobody is asked';
is $nginx->get('/api/lines/by-user', $nginx->bearer($free))->json('/lines/0/healthCheck'), undef, 'and nothing is said of the line';

$nginx->http($careful{http})->server($careful{server});
$nginx->reload(wait_old => 1);
$nginx->wait_redis;

wait_for(sub { @{$provisioner->requests} }, 30, 'the provisioner to be told');
wait_for(sub { $shop->confirm($one, $token, key => 'k1')->status == 200 }, 30, 'the number');
is scalar @{$provisioner->requests}, 1, 'once';

is $nginx->get('/api/lines/by-user', $nginx->bearer($clerk->token(org => 'one')))->status, 200, 'sessions';
is check()->json('/status'), 'healthy', 'checks';
isnt $nginx->get('/_lines/ready')->json('/billing/status'), 'insecure', 'and lines_ready is content';

$shop->agree('money and lines agree');

$t->done;
