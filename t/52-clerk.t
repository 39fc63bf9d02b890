# Session tokens as credentials: of the workspace API, of any location, beside API keys; the cookie; what an answer says.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(json => {from => 'upstream'});
my $party = $clerk->party;

my $nginx = $t->nginx(
    redis   => $redis,
    workers => 2,
    http    => <<'END',
log_format session '$request_method $status tenant=$lines_tenant user=$lines_user auth=$lines_auth failure=$lines_auth_failure plan=$lines_tenant_plan';
END
    server => $clerk->location . $clerk->directive(authorized_party => [$party, 'https://admin.example.com']) . <<"END",
access_log @{[$t->dir]}/session.log session;
proxy_set_header X-Tenant \$lines_tenant;
proxy_set_header X-User \$lines_user;
proxy_set_header X-Auth \$lines_auth;

location /clerk/     { lines_auth clerk; proxy_pass @{[$app->url]}; }
location /workspace/ { lines_auth workspace; proxy_pass @{[$app->url]}; }
location /any/       { lines_auth any; proxy_pass @{[$app->url]}; }
location /satisfy/   { satisfy any; allow 127.0.0.2; deny all; lines_auth clerk; proxy_pass @{[$app->url]}; }
location /page/      { lines_auth clerk; error_page 401 /page401; proxy_pass @{[$app->url]}; }
location = /page401  { return 401 page; }
location /noparty/   { @{[$clerk->directive]} lines_auth clerk; proxy_pass @{[$app->url]}; }
location /nocookie/  { @{[$clerk->directive(authorized_party => $party, cookie => 'off')]} lines_auth clerk; proxy_pass @{[$app->url]}; }
location /named/     { @{[$clerk->directive(authorized_party => $party, cookie => 'other')]} lines_auth clerk; proxy_pass @{[$app->url]}; }
location /claim/     { @{[$clerk->directive(authorized_party => $party, tenant_claim => 'team.id')]} lines_auth clerk; proxy_pass @{[$app->url]}; }
location /strict/    { @{[$clerk->directive(authorized_party => $party, leeway => '0')]} lines_auth clerk; proxy_pass @{[$app->url]}; }
location /limited/   { lines_auth clerk; lines_rate_limit rate=1r/m burst=3 key=tenant sync=each; empty_gif; }
location /off/       { lines_clerk off; lines_auth workspace; proxy_pass @{[$app->url]}; }
END
);

my $key   = $nginx->workspace(org_1 => {plan => 'growth'});
my $token = $clerk->token(org => 'org_1');
my %line  = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

sub saw ()            { $app->requests->[-1]{headers} }
sub bearer ($token)   { return {Authorization => "Bearer $token"} }
sub cookie ($value)   { return {Cookie => $value} }
sub session ($token)  { return cookie("a=b; __session=$token; c=d") }

subtest 'the workspace API' => sub {
    my $answer = $nginx->get('/api/lines/by-user', bearer($token));
    is $answer->status, 200, 'a session token reads' or diag $answer->to_string, $nginx->error_log;
    is $answer->body, '{"lines":[]}', 'the lines of its workspace';

    $answer = $nginx->post_json('/api/line-requests', \%line, bearer($token));
    is $answer->status, 201, 'and writes' or diag $answer->to_string;
    is $answer->json('/line/workspaceId'), 'org_1', 'for its workspace';

    is @{$nginx->get('/api/lines/by-user', bearer($token))->json('/lines')}, 1, 'a token sees it';
    is @{$nginx->get('/api/lines/by-user', $nginx->bearer($key))->json('/lines')}, 1, 'and the workspace\'s key';
    is @{$nginx->get('/api/lines/by-user', session($token))->json('/lines')}, 1, 'and the cookie';
    is $nginx->head('/api/lines/by-user', session($token))->status, 200, 'HEAD too';
    is $nginx->post_json('/api/line-requests', \%line, {%{session($token)}, Origin => $party})->status, 201,
      'a cookie writes where the authorized parties are known';

    is $nginx->get('/api/lines/by-user', bearer($clerk->token(claims => {v => undef, org_id => 'org_1'})))->status, 200,
      'an organization of version 1';
    is $nginx->get('/api/lines/by-user', bearer($clerk->token(claims => {v => undef, org_id => 'org_2'})))->body,
      '{"lines":[]}', 'another organization sees its own lines only';
};

subtest 'no organization' => sub {
    my $personal = $clerk->token;

    for my $answer (
        $nginx->get('/api/lines/by-user', bearer($personal)), $nginx->get('/api/line-requests', bearer($personal)),
        $nginx->get('/api/lines/check-availability?id=' . 'a' x 24, bearer($personal)),
        $nginx->post_json('/api/line-requests', \%line, bearer($personal)),
        $nginx->get('/workspace/x', bearer($personal)), $nginx->get('/any/x', bearer($personal))
      )
    {
        is $answer->status, 400, 'no workspace';
        is $answer->body, '{"error":"No active workspace"}', 'said so';
    }

    my $answer = $nginx->get('/clerk/x', bearer($personal));
    is $answer->status, 200, 'lines_auth clerk asks for a person only' or diag $answer->to_string;
    is saw()->{'x-user'}, 'user_1', 'whom it names';
    is saw()->{'x-auth'}, 'clerk', 'as a session';
    ok !length(saw()->{'x-tenant'} // ''), 'without a tenant';
};

subtest 'a workspace that nobody made' => sub {
    my $stranger = bearer($clerk->token(org => 'org_unknown'));

    is $nginx->get('/api/lines/by-user', $stranger)->body, '{"lines":[]}', 'has no lines';
    is_deeply $nginx->get('/api/line-requests', $stranger)->json('/lineRequests'), [], 'no requests';
    is $nginx->get('/api/line-requests/' . 'a' x 24, $stranger)->status, 404, 'none at all';

    my $answer = $nginx->post_json('/api/line-requests', \%line, $stranger);
    is $answer->status, 403, 'and none to be had';
    is $answer->json('/status'), 'subscription_required', 'without a subscription';
    is $nginx->admin(GET => 'workspaces/org_unknown')->status, 404, 'and is still not there';
};

subtest 'refused' => sub {
    my ($h, $p, $s) = split /\./, $token;
    my $other = Test::Lines::Clerk->new(t => $t);

    my %bad = (
        'token-malformed'         => ['Bearer x', 'Bearer a.b', "Bearer $token.", "Bearer $h.$p", "Bearer $token x", 'Bearer'],
        'token-invalid-signature' => ["Bearer $h.$p." . ('A' x length $s), 'Bearer ' . $clerk->token(key => 'other')],
        'token-invalid-algorithm' => ['Bearer ' . $clerk->token(header => {alg => 'none'}), 'Bearer ' . $clerk->token(header => {alg => 'HS256'})],
        'token-expired'           => ['Bearer ' . $clerk->token(claims => {exp => time - 10})],
        'token-not-active-yet'    => ['Bearer ' . $clerk->token(claims => {nbf => time + 60})],
        'token-issued-in-future'  => ['Bearer ' . $clerk->token(claims => {iat => time + 60})],
        'token-invalid-issuer'    => ['Bearer ' . $clerk->token(claims => {iss => 'https://evil.test'})],
        'token-invalid-party'     => ['Bearer ' . $clerk->token(claims => {azp => 'https://evil.test'}), 'Bearer ' . $clerk->token(claims => {azp => undef})],
        'token-invalid-subject'   => ['Bearer ' . $clerk->token(claims => {sub => undef})],
        'session-pending'         => ['Bearer ' . $clerk->token(claims => {sts => 'pending'})],
        'kid-missing'             => ['Bearer ' . $clerk->token(header => {kid => undef})],
        'kid-unknown'             => ['Bearer ' . $clerk->token(kid => 'third')],
        'tenant-malformed'        => ['Bearer ' . $clerk->token(org => 'org}1'), 'Bearer ' . $clerk->token(org => 'o' x 65)],
        'token-too-long'          => [],
    );

    for my $reason (sort keys %bad) {
        for my $header (@{$bad{$reason}}) {
            for my $path ('/api/lines/by-user', '/clerk/x', '/workspace/x') {
                my $mark   = $nginx->log_mark;
                my $answer = $nginx->get($path, {Authorization => $header, Cookie => "__session=$token"});
                is $answer->status, 401, "$reason at $path" or diag substr $header, 0, 60;
                is $answer->body, '{"error":"Unauthorized"}', 'in the dialect, without the reason';
                is $answer->header('WWW-Authenticate'), 'Bearer error="invalid_token"', 'a token was shown';
                $nginx->wait_log(qr/\[info\].*authentication failed: \Q$reason\E/, $mark);
            }
        }
    }

    for my $headers ({}, cookie('x=y'), cookie('__session='), cookie("x__session=$token"), {Authorization => 'Basic dTpw'}) {
        my $answer = $nginx->get('/api/lines/by-user', $headers);
        is $answer->status, 401, 'nothing was shown';
        is $answer->header('WWW-Authenticate'), 'Bearer', 'no error code then';
    }

    is $nginx->get('/api/lines/by-user', {Authorization => 'Basic dTpw', Cookie => "__session=$token"})->status, 200,
      'another scheme leaves the cookie to be seen';
    # nginx refuses them by itself, and logs them: not the token that is looked for below
    my ($one, $two) = map { 'Bearer ' . $clerk->token(org => 'org_1') } 1, 2;
    is $nginx->get('/api/lines/by-user', {Authorization => [$one, $two]})->status, 400, 'two Authorization headers are ambiguous';
    is $nginx->get('/api/lines/by-user', {Cookie => ['a=b', "__session=$token"]})->status, 200, 'a second Cookie header counts';
    is $nginx->get('/off/x', bearer($token))->status, 401, 'lines_clerk off: no tokens';
    is $nginx->get('/off/x', $nginx->bearer($key))->status, 200, 'but keys';
    is $nginx->get('/clerk/x', $nginx->bearer($key))->status, 401, 'lines_auth clerk: no keys';
    is $nginx->get('/api/lines/check-availability?id=' . 'a' x 24, $nginx->bearer($key))->status, 401, 'nor does the check take one';
};

subtest 'the cookie and writes' => sub {
    for my $method (qw(POST PUT PATCH DELETE)) {
        my $mark   = $nginx->log_mark;
        my $answer = $nginx->request($method => '/noparty/x', {%{session($token)}, Origin => $party}, '');
        is $answer->status, 403, "$method by a cookie is refused where any site may have sent it";
        is $answer->header('WWW-Authenticate'), undef, 'no other token would help';
        $nginx->wait_log(qr/authentication failed: cookie-refused/, $mark);
        is $nginx->request($method => '/noparty/x', bearer($token), '')->status, 200, '... by a header it is not';
        is $nginx->request($method => '/clerk/x', session($token), '')->status, 403, '... where the parties are known, from none of them';
        is $nginx->request($method => '/clerk/x', {%{session($token)}, Origin => $party}, '')->status, 200, '... it is not from one';
        is $nginx->request($method => '/clerk/x', {%{session($clerk->token(org => 'org_1', claims => {azp => 'https://evil.test'}))}, Origin => $party}, '')->status,
          401, '... but not for another party';
    }

    is $nginx->request(OPTIONS => '/noparty/x', session($token))->status, 200, 'OPTIONS is harmless';

    is $nginx->get('/noparty/x', session($token))->status, 200, 'reading is harmless';
    is $nginx->head('/noparty/x', session($token))->status, 200, 'HEAD too';

    is $nginx->get('/nocookie/x', session($token))->status, 401, 'cookie=off';
    is $nginx->get('/nocookie/x', bearer($token))->status, 200, '... leaves the header';
    is $nginx->get('/named/x', session($token))->status, 401, 'cookie=other: not this one';
    is $nginx->get('/named/x', cookie("other=$token"))->status, 200, '... but that';
};

subtest 'options' => sub {
    is $nginx->get('/claim/x', bearer($clerk->token(claims => {team => {id => 'team_7'}})))->status, 200, 'tenant_claim';
    is saw()->{'x-tenant'}, 'w:team_7', 'names the tenant';
    is $nginx->get('/claim/x', bearer($clerk->token(org => 'org_1')))->status, 200, 'without it';
    ok !length(saw()->{'x-tenant'} // ''), 'there is none';

    my $past = $clerk->token(org => 'org_1', claims => {exp => time - 2});
    is $nginx->get('/clerk/x', bearer($past))->status, 200, 'within the leeway';
    is $nginx->get('/strict/x', bearer($past))->status, 401, 'leeway=0: expired, though another location has just accepted it';
};

subtest 'gateway' => sub {
    is $nginx->get('/satisfy/x')->status, 401, 'satisfy any: closed';
    is $nginx->get('/satisfy/x', bearer($token))->status, 200, 'open';
    is $nginx->get('/satisfy/x', bearer("${token}A"))->header('WWW-Authenticate'), 'Bearer error="invalid_token"', 'the challenge';
    my $page = $nginx->get('/page/x', bearer("${token}A"));
    is $page->status, 401, 'error_page: the status';
    is $page->body, 'page', 'the page';

    $nginx->get('/workspace/x', bearer($token));
    is saw()->{'x-tenant'}, 'w:org_1', 'the upstream hears of the tenant';
    is saw()->{'x-user'}, 'user_1', 'and of the user';

    my @answers = concurrently(200, sub ($i) { $nginx->get_p($i % 2 ? '/clerk/x' : '/api/lines/by-user', $i % 3 ? bearer($token) : session($token)) });
    is scalar(grep { $_->status == 200 } @answers), 200, 'many at once';
};

subtest 'limits' => sub {
    my sub statuses (%options) { join ' ', map { $nginx->get('/limited/x', bearer($clerk->token(%options)))->status } 1 .. 4 }

    is statuses(org => 'org_1'), '200 200 200 429', 'a workspace has its bucket, whatever token comes';
    is statuses(org => 'org_2'), '200 200 200 429', 'another has another';
    is statuses(), '200 200 200 429', 'a person without a workspace has one, too';
    is statuses(claims => {sub => 'user_2'}), '200 200 200 429', 'each person';
};

subtest 'the logs' => sub {
    my $log = path($t->dir, 'session.log');
    wait_for(sub { $log->slurp =~ /failure=token-expired/ }, 10, 'the log');
    my $text = $log->slurp;
    like $text, qr/^GET 200 tenant=w:org_1 user=user_1 auth=clerk failure=- plan=growth$/m, 'who it was';
    like $text, qr/^GET 200 tenant=- user=user_1 auth=clerk failure=- plan=-$/m, 'a person';
    like $text, qr/^GET 401 tenant=- user=- auth=- failure=kid-unknown plan=-$/m, 'and why not';

    my ($h, $p, $s) = split /\./, $token;
    for ($text, $nginx->error_log, $nginx->access_log) {
        unlike $_, qr/\Q$s\E/, 'no token in any log';
        unlike $_, qr/\Q$p\E/, 'nor a part of one';
    }
};

$t->done;
