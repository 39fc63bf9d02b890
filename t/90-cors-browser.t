# A page of another site, in a real browser: it asks with a session token, reads what it may, and is kept from what it may not.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Browser;
use Test::Lines::Clerk;

plan skip_all => Test::Lines::Browser->missing if Test::Lines::Browser->missing;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(json => {from => 'upstream'}, headers => {'Access-Control-Allow-Origin' => '*'});

# three sites: a port is another origin, and a name another site
my ($port, $other) = map { $t->free_port } 1 .. 2;
my $page  = "http://127.0.0.1:$port";
my $evil  = "http://localhost:$other";
my $token = $clerk->token(org => 'one', claims => {azp => $page});

my $nginx = $t->nginx(
    redis => $redis,
    api   => "lines_cors credentials; lines_rate_limit rate=1r/h burst=9 sync=each;",
    http  => "server { listen 127.0.0.1:$port; listen 127.0.0.1:$other; default_type text/html; location / { return 200 '<p>page</p>'; } }",
    server => $clerk->location . $clerk->directive(authorized_party => $page)
      . "location /app/ { lines_cors credentials; lines_auth workspace; proxy_pass @{[$app->url]}; }\n"
      . "location /cookie/ { add_header Set-Cookie '__session=$token; Path=/'; return 200 '<p>signed in</p>'; default_type text/html; }\n"
      . "location /plain/ { lines_auth workspace; proxy_pass @{[$app->url]}; }\n",
);
$nginx->workspace(one => {plan => 'growth'});
my $api = 'http://127.0.0.1:' . $nginx->port;

my $browser = Test::Lines::Browser->new(t => $t);

sub go ($url) { $browser->go($url, 'p') }

# what a page sees of an answer: nothing, where it may not
sub fetched ($path, %options) {
    my $init = encode_json({headers => {}, %options});
    return $browser->js("fetch('$api$path', $init).then(async r => ({status: r.status, body: await r.text(), id: r.headers.get('x-request-id'),"
          . " limit: r.headers.get('ratelimit'), retry: r.headers.get('retry-after'), location: r.headers.get('location')}), e => ({kept: e.name}))");
}

my %auth = (Authorization => "Bearer $token");
my $line = encode_json({firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'});

go("$page/");

my $answer = fetched('/api/lines/by-user', headers => \%auth);
is $answer->{status}, 200, 'a page that may ask: with its token, past a preflight' or diag explain $answer;
is $answer->{body}, '{"lines":[]}', '... reads the answer';
like $answer->{limit}, qr/r=/, '... and its headers';
ok $answer->{id}, '... the id';

$answer = fetched('/api/line-requests', method => 'POST', body => $line, headers => {%auth, 'Content-Type' => 'application/json', 'Idempotency-Key' => 'one', 'X-Request-Id' => 'mine'});
is $answer->{status}, 201, 'it writes' or diag explain $answer;
like $answer->{location}, qr{/api/line-requests/}, '... and reads where it is';
is $answer->{id}, 'mine', '... by its own id';

is fetched('/api/lines/by-user')->{status}, 401, 'it reads a 401';
is fetched('/api/nothing', headers => \%auth)->{status}, 404, '... a 404';
is fetched('/app/x', headers => \%auth)->{body}, '{"from":"upstream"}', 'what an upstream says, too, with its own word of CORS';
is_deeply fetched('/app/x', method => 'PUT', headers => {%auth, 'X-Unknown' => 1}), {kept => 'TypeError'}, 'a header that is not known';
is_deeply fetched('/api/lines/by-user', method => 'DELETE', headers => \%auth), {kept => 'TypeError'}, 'a method that the route does not have';
is_deeply fetched('/plain/x', headers => \%auth), {kept => 'TypeError'}, 'where there is no lines_cors';

$answer = wait_for(sub { my $answer = fetched('/api/lines/by-user', headers => \%auth); ($answer->{status} // 0) == 429 && $answer }, 60, 'a 429');
like $answer->{retry}, qr/^\d+$/, 'it reads when it may ask again';

# a sign-in at the API's host: its cookie is that of the host, whatever the port
go("$api/cookie/");
go("$page/");
is fetched('/app/x', credentials => 'include')->{status}, 200, 'a cookie of the same site';
is fetched('/app/x', method => 'POST', body => 'a', credentials => 'include', headers => {'Content-Type' => 'text/plain'})->{status}, 200, '... that writes';

$app->clear;
go("http://127.0.0.1:$other/");
is_deeply fetched('/app/x', credentials => 'include'), {kept => 'TypeError'}, 'a sibling site reads nothing by it';
is_deeply fetched('/app/x', method => 'POST', body => 'a', credentials => 'include', headers => {'Content-Type' => 'text/plain'}), {kept => 'TypeError'}, '... nor by writing';
is scalar(grep { $_->{method} eq 'POST' } @{$app->requests}), 0, '... and has written nothing, though the cookie came along';

eval { $browser->js("document.body.innerHTML = '<form method=post action=\"$api/app/x\"><p>form</p><input name=a value=b></form>'; document.forms[0].submit()") };
wait_for(sub { (eval { $browser->js('document.body.innerText') } // '') =~ /not enough to change anything from this Origin/ }, 30, 'the refusal of its form');
is scalar(grep { $_->{method} eq 'POST' } @{$app->requests}), 0, 'a form has written nothing either';

go("$evil/");
is_deeply fetched('/api/lines/by-user', headers => \%auth), {kept => 'TypeError'}, 'another site, though it knew a token';

$browser->close;
$t->done;
