# Who somebody is counts by the rules that found it out: an internal redirect to a location with other rules asks again.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $app   = $t->upstream(json => {from => 'upstream'});
my $ours  = Test::Lines::Clerk->new(t => $t, issuer => 'https://ours.example.com', uri => '/_lines/jwks-ours');
my $their = Test::Lines::Clerk->new(t => $t, issuer => 'https://their.example.com', uri => '/_lines/jwks-their');

# the same instance, with each of its parameters otherwise
my %clerk = (
    ours     => $ours->directive,
    same     => $ours->directive,
    their    => $their->directive,
    off      => 'lines_clerk off;',
    party    => $ours->directive(authorized_party => 'https://elsewhere.example.com'),
    cookie   => $ours->directive(cookie => 'other'),
    claim    => $ours->directive(tenant_claim => 'team.id'),
    leeway   => $ours->directive(leeway => 0),
);

my $targets = join '', map {"location \@$_ { set \$before \$lines_tenant; $clerk{$_} lines_auth workspace; proxy_pass @{[$app->url]}; }\n"} sort keys %clerk;
my $sources = join '', map {<<"END"} sort keys %clerk;
location /try/$_/   { $clerk{ours} lines_auth workspace; try_files /nowhere \@$_; }
location /error/$_/ { $clerk{ours} lines_auth workspace; root /nowhere; error_page 404 = \@$_; }
END

my $nginx = $t->nginx(
    redis => $redis,
    http  => <<'END',
log_format who '$uri $status tenant=$lines_tenant user=$lines_user key=$lines_key_id mapped=$mapped';
map $lines_tenant $mapped { default $lines_tenant; '' nobody; }
END
    server => $ours->location . $their->location . <<"END",
access_log @{[$t->dir]}/who.log who;
proxy_set_header X-Tenant \$lines_tenant;
proxy_set_header X-Before \$before;
proxy_set_header X-User \$lines_user;
proxy_set_header X-Mapped \$mapped;
$sources
$targets

set \$before '';

location /stale/  { lines_auth workspace stale=10m; try_files /nowhere \@strict; }
location \@strict { lines_auth workspace stale=0; proxy_pass @{[$app->url]}; }

# the names of the headers are those of the API around
location /partner/ {
    lines_account_api key_id_header=x-partner-id secret_header=x-partner-secret;
    location /partner/app/   { lines_auth account; try_files /nowhere \@account; }
    location /partner/again/ { lines_auth account; try_files /nowhere /partner/page/x; }
    location /partner/page/  { lines_auth account; proxy_pass @{[$app->url]}; }

    # leads to where one of the two is another
    location /partner/id/     { lines_auth account; try_files /nowhere /half-id/page/x; }
    location /partner/secret/ { lines_auth account; try_files /nowhere /half-secret/page/x; }
}
location /half-id/ {
    lines_account_api key_id_header=x-other-id secret_header=x-partner-secret;
    location /half-id/page/ { lines_auth account; proxy_pass @{[$app->url]}; }
}
location /half-secret/ {
    lines_account_api key_id_header=x-partner-id secret_header=x-other-secret;
    location /half-secret/page/ { lines_auth account; proxy_pass @{[$app->url]}; }
}
location \@account { lines_auth account; proxy_pass @{[$app->url]}; }

location /to-api/      { $clerk{ours} lines_auth workspace; error_page 404 = /clerk-api/lines/by-user; root /nowhere; }
location /clerk-api/   { $clerk{their} lines_workspace_api; }
location /two/         { lines_auth workspace; lines_rate_limit rate=1r/h burst=2 name=two; try_files /nowhere \@second; }
location \@second      { lines_auth account; lines_rate_limit rate=1r/h burst=2 name=two; proxy_pass @{[$app->url]}; }
END
);

my $key = $nginx->workspace(org_1 => {plan => 'growth'});
$nginx->workspace(org_2 => {plan => 'growth'});
my ($id, $secret) = $nginx->account(acc => {plan => 'inbound_only'});

sub bearer ($token) { return {Authorization => "Bearer $token"} }
sub saw ()          { $app->requests->[-1]{headers} }

subtest 'session tokens' => sub {
    my $token = $ours->token(org => 'org_1');

    # what the first location takes, the second one does only by the same rules
    my %passes = (ours => 1, same => 1, cookie => 1, leeway => 1);

    for my $how (qw(try error)) {
        for my $target (sort keys %clerk) {
            $app->clear;
            my $answer = $nginx->get("/$how/$target/x", bearer($token));

            if ($passes{$target}) {
                is $answer->status, 200, "$how, $target: passes" or diag $answer->to_string;
                is saw()->{'x-tenant'}, 'w:org_1', 'as itself';
            }
            elsif ($target eq 'claim') {
                is $answer->status, 400, "$how, $target: no workspace by that claim";
                is scalar @{$app->requests}, 0, 'and nothing gets through';
            }
            else {
                is $answer->status, 401, "$how, $target: asked again, and refused" or diag $answer->to_string;
                is scalar @{$app->requests}, 0, 'and nothing gets through';
            }
        }
    }

    is $nginx->get('/try/cookie/x', {Cookie => "__session=$token"})->status, 401, 'a cookie of another name is none';
    is $nginx->get('/try/same/x', {Cookie => "__session=$token"})->status, 200, 'the same cookie is';

    my $expired = $ours->token(org => 'org_1', claims => {exp => time - 2});
    is $nginx->get('/try/same/x', bearer($expired))->status, 200, 'within the leeway of the second';
    is $nginx->get('/try/leeway/x', bearer($expired))->status, 401, 'and beyond it';

    my $two = $ours->token(org => 'org_1', claims => {team => {id => 'org_2'}});
    is $nginx->get('/try/claim/x', bearer($two))->status, 200, 'another workspace by another claim';
    is saw()->{'x-tenant'}, 'w:org_2', 'is what the upstream hears';
    is saw()->{'x-mapped'}, 'w:org_2', 'from a map, too';
    is saw()->{'x-before'}, undef, 'and what the first found is gone before the second asks';
    is $nginx->get('/try/same/x', bearer($two))->status, 200, 'by the same rules';
    is saw()->{'x-before'}, 'w:org_1', 'it stays';
};

subtest 'nothing of who was refused is left' => sub {
    my $token = $ours->token(org => 'org_1');
    is $nginx->get('/try/their/gone', bearer($token))->status, 401, 'refused by the second';
    my $log = Mojo::File->new($t->dir, 'who.log');
    wait_for(sub { $log->slurp =~ m{^/try/their/gone }m }, 10, 'the log');
    like $log->slurp, qr{^/try/their/gone 401 tenant=- user=- key=- mapped=nobody$}m, 'nobody stands in the log';
};

subtest 'an API behind lines_auth' => sub {
    my $token = $ours->token(org => 'org_1');
    is $nginx->get('/to-api/x', bearer($token))->status, 401, 'an API asks by its own rules';
    is $nginx->get('/to-api/x', bearer($key))->status, 200, 'and finds who it knows';
};

subtest 'key pairs' => sub {
    my %partner = ('X-Partner-Id' => $id, 'X-Partner-Secret' => $secret);
    is $nginx->get('/partner/again/x', {%partner})->status, 200, 'the same headers';
    is $nginx->get('/partner/app/x',   {%partner})->status, 401, 'other headers: asked again';
    is $nginx->get('/partner/app/x', {%partner, %{$nginx->pair($id, $secret)}})->status, 200, 'where they are, too';

    for (['id', 'X-Other-Id', $id], ['secret', 'X-Other-Secret', $secret]) {
        my ($which, $header, $value) = @$_;
        $app->clear;
        is $nginx->get("/partner/$which/x", {%partner})->status, 401, "another header of the $which alone: asked again";
        is scalar @{$app->requests}, 0, '... and nothing gets through';
        is $nginx->get("/partner/$which/x", {%partner, $header => $value})->status, 200, '... until it is there';
        is $nginx->get("/partner/$which/x", {%partner, $header => 'odd'})->status, 401, '... and good';
    }
};

subtest 'limits' => sub {
    # the key's workspace first, then the account that the pair names: each has a bucket of its own
    my @both = map { {%{bearer($nginx->workspace("limit_$_" => {plan => 'growth'}))}, %{$nginx->pair($id, $secret)}} } 1 .. 3;
    is_deeply [map { $nginx->get('/two/x', $_)->status } @both], [200, 200, 429], 'whom the second finds is counted, too';
};

subtest 'stale keys' => sub {
    my $old = $nginx->workspace(org_old => {plan => 'growth'});
    is $nginx->get('/stale/x', bearer($old))->status, 200, 'a key';
    $redis->stop;
    wait_for(sub { $nginx->get('/stale/x', bearer($old))->status == 503 }, 20,
        'a location that takes no stale key to refuse what the one before took');
    pass 'how stale a key may be is a rule as well';
    $redis->start;
};

$t->done;
