# What conf/openapi.yaml says is what nginx does: the routes of the code are its paths, and Prism, between a client
# and nginx, finds nothing in the answers that the document does not have.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use Mojo::JSON::Pointer;
use Mojo::Util qw(decode);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Test::Lines::Client;
use Test::Lines::Prism;
use YAML::PP;

my $t    = Test::Lines->new(timeout => 600);
my $root = $t->root;
my $doc  = YAML::PP->new(boolean => 'JSON::PP', duplicate_keys => 0)->load_string(decode 'UTF-8', path("$root/conf/openapi.yaml")->slurp);

my @methods = qw(get put post delete options head patch trace);

# each operation of the document, as "POST /api/line-requests"
sub operations () {
    my %all;
    for my $path (keys %{$doc->{paths}}) {
        $all{uc($_) . " $path"} = $doc->{paths}{$path}{$_} for grep { $doc->{paths}{$path}{$_} } @methods;
    }
    return \%all;
}

sub walk ($node, $at, $code) {
    if    (ref $node eq 'HASH')  { $code->($node, $at); walk($node->{$_}, "$at/$_", $code) for sort keys %$node }
    elsif (ref $node eq 'ARRAY') { walk($node->[$_], "$at/$_", $code) for 0 .. $#$node }
}

sub resolve ($ref) { $ref =~ /^#(\/.*)$/ ? Mojo::JSON::Pointer->new($doc)->get($1) : undef }

subtest 'the routes of the code' => sub {
    my %prefix = (
        workspace => '/api/', account => '/accounts/', admin => '/_lines/admin/',
        webhook => '/webhooks/stripe', metrics => '/_lines/metrics', ready => '/_lines/ready'
    );
    my @there;

    for my $file (glob "$root/src/api/*.c") {
        my $source = path($file)->slurp;
        while ($source =~ /ngx_http_lines_route_t\s+ngx_http_lines_(\w+)_routes\[\] = \{(.*?)\n\};/gs) {
            my ($api, $routes) = ($1, $2);
            my $prefix = $prefix{$api} // die "no prefix for the API $api";
            push @there, "$1 $prefix" . $2 =~ s/:(\w+)/{$1}/gr while $routes =~ /\{ NGX_HTTP_(\w+), ngx_string\("([^"]*)"\)/g;
        }
    }

    cmp_ok scalar(@there), '>=', 40, 'they are found';
    is_deeply [sort keys %{operations()}], [sort @there], 'are the operations of the document';
};

subtest 'the document in itself' => sub {
    my (@dangling, %used, %ids);
    walk($doc, '', sub ($node, $at) {
        my $ref = $node->{'$ref'};
        return unless defined $ref && !ref $ref;
        push @dangling, "$at: $ref" unless defined resolve($ref);
        $used{$ref} = 1;
    });
    is_deeply \@dangling, [], 'every reference leads somewhere';

    my @unused;
    for my $kind (grep { $_ ne 'securitySchemes' } sort keys %{$doc->{components}}) {
        push @unused, grep { !$used{$_} } map {"#/components/$kind/$_"} sort keys %{$doc->{components}{$kind}};
    }
    is_deeply \@unused, [], 'every component is used';

    my $operations = operations();
    for my $name (sort keys %$operations) {
        my $operation = $operations->{$name};
        ok !$ids{$operation->{operationId} // ''}++, "$name: an id of its own";
        ok ref $operation->{security} eq 'ARRAY', "$name: says who may";
        is_deeply [grep { !$doc->{components}{securitySchemes}{$_} } map { keys %$_ } @{$operation->{security}}], [], "$name: by schemes that are there";

        my $params = join ' ', sort map { $_->{'$ref'} ? resolve($_->{'$ref'})->{name} : $_->{name} }
          grep { ($_->{'$ref'} ? resolve($_->{'$ref'})->{in} : $_->{in}) eq 'path' } @{$doc->{paths}{$name =~ s/^\S+ //r}{parameters} // []}, @{$operation->{parameters} // []};
        is $params, join(' ', sort $name =~ /\{(\w+)\}/g), "$name: its parameters";

        my @good = grep {/^2/} sort keys %{$operation->{responses}};
        ok scalar(@good), "$name: can succeed";
        for my $answer (map { $operation->{responses}{$_} } @good) {
            ok scalar(grep { exists $_->{example} } values %{$answer->{content}}), "$name: with an example";
        }
        ok exists $operation->{requestBody}{content}{'application/json'}{example}, "$name: and one of its body" if $operation->{requestBody};
    }
};

my ($node, $why_not) = Test::Lines::Prism->available;

unless ($node) {
    note "the judge: $why_not";
    $t->done;
    exit;
}

my $probe = $t->upstream(json => {status => 'healthy', failures => []});
my $clerk = Test::Lines::Clerk->new(t => $t);
my $shop  = Test::Lines::Account->new(t => $t, webhooks => 0);
my $redis = $shop->redis;
my $limit = 'lines_rate_limit rate=1000r/s burst=1000 key=tenant name=api;';
my $nginx = $shop->nginx(
    redis_options => 'timeout=1s',
    api           => $limit,
    http          => "lines_probe /_lines/probe timeout=2s plain=loopback;\n",
    server        => $clerk->location . $clerk->directive(authorized_party => $clerk->party)
      . 'location = /_lines/probe { internal; proxy_pass ' . $probe->url . "/probe; proxy_http_version 1.1; proxy_set_header Connection ''; }\n"
);

sub through ($prism) { Test::Lines::Client->new(host => '127.0.0.1', port => $prism->port) }

my $client = through($t->prism(upstream => $nginx->url, spec => "$root/conf/openapi.yaml", options => []));
my %seen;

sub violations ($answer, $of = 'response') {
    return map {"@{$_->{location}}: $_->{message}"} grep { $_->{location} && $_->{location}[0] eq $of } @{decode_json($answer->header('sl-violations') // '[]')};
}

# one request through Prism; $name is the operation's, with its path's parameters given in order
sub call ($name, $status, $what, %options) {
    my ($method, $path) = split / /, $name;
    my @params  = @{$options{params} // []};
    my $headers = {%{$options{as} // {}}, %{$options{headers} // {}}};
    my $body    = $options{body};

    $path =~ s/\{\w+\}/shift @params/ge;
    $path .= "?$options{query}" if $options{query};

    if (exists $options{json}) {
        $body = encode_json($options{json});
        $headers->{'Content-Type'} //= 'application/json';
    }

    my $answer = $client->request($method, $path, $headers, $body);
    is $answer->status, $status, "$name: $what" or diag $answer->to_string;
    is_deeply [violations($answer)], [], 'as it is described' or diag $answer->to_string;
    is_deeply [violations($answer, 'request')], [], 'asked as it is described' if $status < 300;
    ok operations()->{$name}{responses}{$answer->status}, "with a status that is described" or diag $answer->status;
    $seen{$name}{$answer->status}++;

    return $answer;
}

my %operator = (as => $nginx->bearer($t->admin_token));
my %phone    = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my %email    = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'email', email => 'ada@example.com');

# what every operation with a body does with one that is none
sub bodies ($name, %options) {
    call($name, 400, 'a body that is no object', %options, json => []);
    call($name, 415, 'a body of another type', %options, body => 'x', headers => {'Content-Type' => 'text/plain'});
    call($name, 413, 'a body too large', %options, json => {x => 'x' x 300_000});
}

my (%workspace, %account);

subtest 'tenants and keys' => sub {
    for my $kind (qw(workspace account)) {
        my $base  = "/_lines/admin/${kind}s/{id}";
        my %plan  = $kind eq 'workspace' ? (plan => 'growth', subscription => 'active') : (plan => 'inbound_only', limits => {api_provision_daily => 2});
        my %one   = (%operator, params => ['one']);
        my $store = $kind eq 'workspace' ? \%workspace : \%account;

        call("PUT $base", 201, 'new', %one, json => {%plan, customer => 'cus_card'});
        call("PUT $base", 200, 'merged', %one, json => {customer => 'cus_card'});
        bodies("PUT $base", %one);
        call("PUT $base", 400, 'no plan', %one, json => {plan => 7});
        call("PUT $base", 401, 'nobody', params => ['one'], json => {});
        call("GET $base", 200, 'read', %one);
        call("GET $base", 404, 'not there', %operator, params => ['two']);
        call("GET $base", 400, 'no id', %operator, params => ['t.wo']);
        call("GET $base", 401, 'nobody', params => ['one']);
        call("DELETE $base", 401, 'nobody', params => ['one']);
        call("DELETE $base", 400, 'no id', %operator, params => ['t.wo']);

        my $key = call("POST $base/keys", 201, 'a key', %one)->json;
        $store->{one} = $kind eq 'workspace' ? $nginx->bearer($key->{key}) : $nginx->pair(@$key{qw(key_id secret)});
        my $other = call("POST $base/keys", 201, 'and another', %one)->json('/id');
        call("POST $base/keys", 404, 'for nobody', %operator, params => ['two']);
        call("POST $base/keys", 401, 'by nobody', params => ['one']);
        call("$_ $base/keys", 400, 'no id', %operator, params => ['t.wo']) for qw(GET POST);
        call("GET $base/keys", 404, 'of nobody', %operator, params => ['two']);
        call("DELETE $base/keys/{key}", 400, 'no id', %operator, params => ['t.wo', $other]);
        call("GET $base/keys", 200, 'listed', %one);
        call("GET $base/keys", 401, 'to nobody', params => ['one']);
        call("DELETE $base/keys/{key}", 200, 'revoked', %operator, params => ['one', $other]);
        call("DELETE $base/keys/{key}", 200, 'again', %operator, params => ['one', $other]);
        call("DELETE $base/keys/{key}", 401, 'by nobody', params => ['one', $other]);

        call("PUT $base", 201, 'to be deleted', %operator, params => ['gone'], json => \%plan);
        call("DELETE $base", 200, 'deleted', %operator, params => ['gone']);
    }
};

subtest 'limits' => sub {
    call('GET /_lines/admin/limits', 200, 'of the configuration', %operator);
    call('GET /_lines/admin/limits', 401, 'to nobody');

    for my $base (map {"/_lines/admin/${_}s/{id}/limits/{limit}"} qw(workspace account plan)) {
        my $path = $base =~ s/plans\/\{id\}/plans\/{plan}/r;
        my %api  = (%operator, params => [$base =~ /plans/ ? 'any' : 'one', 'api']);

        call("GET $path", 404, 'none', %api);
        call("PUT $path", 200, 'set', %api, json => {rate => '500r/s', burst => 500});
        call("GET $path", 200, 'read', %api);
        call("DELETE $path", 200, 'deleted', %api);
        bodies("PUT $path", %api);
        call("PUT $path", 404, 'of no such name', %operator, params => [$api{params}[0], 'none'], json => {rate => '1r/s'});
        call("DELETE $path", 404, 'of no such name', %operator, params => [$api{params}[0], 'none']);
        call("$_ $path", 400, 'of no such tenant', %operator, params => ['t.wo', 'api']) for qw(GET DELETE);
        call("$_ $path", 401, 'by nobody', params => $api{params}, ($_ eq 'PUT' ? (json => {rate => '1r/s'}) : ())) for qw(GET PUT DELETE);
    }
};

subtest 'line requests' => sub {
    my $all  = '/api/line-requests';
    my $path = "$all/{id}";
    my %one  = (as => $workspace{one});

    call("POST $all", 401, 'nobody', json => \%phone);
    call("POST $all", 401, 'a token that is none', json => \%phone, as => $nginx->bearer('a.b.c'));
    bodies("POST $all", %one);
    call("POST $all", 400, 'no channel', %one, json => {firstName => 'Ada', lastName => 'Lovelace'});

    my %key  = (headers => {'Idempotency-Key' => 'k1'});
    my $line = call("POST $all", 201, 'in the plan', %one, %key, json => \%phone)->json('/line/_id');
    is call("POST $all", 201, 'again', %one, %key, json => \%phone)->header('Idempotency-Replayed'), 'true', 'replayed';
    call("POST $all", 422, 'another', %one, %key, json => {%phone, firstName => 'Bob'});

    my $paid = call("POST $all", 201, 'against payment', %one, json => \%email);
    is $paid->json('/status'), 'awaiting_payment', 'it awaits payment';
    my %paid = (%one, params => [$paid->json('/line/_id')]);
    call("POST $all", 409, 'not two of them', %one, json => \%email);

    call("GET $all", 200, 'listed', %one);
    call("GET $all", 200, 'a page', %one, query => 'limit=1&status=provisioning');
    call("GET $all", 400, 'no status', %one, query => 'status=odd');
    call("GET $all", 401, 'to nobody');
    call("GET $path", 200, 'read', %paid);
    call("GET $path", 400, 'no id', %one, params => ['x']);
    call("GET $path", 401, 'to nobody', params => [$line]);
    call("GET $path", 404, 'not there', %one, params => ['f' x 24]);

    bodies("POST $path", %paid);
    call("POST $path", 400, 'no action', %paid, json => {action => 'dance'});
    call("POST $path", 401, 'by nobody', params => [$line], json => {action => 'cancel'});
    call("POST $path", 404, 'of none', %one, params => ['f' x 24], json => {action => 'cancel'});
    call("POST $path", 409, 'too late', %one, params => [$line], json => {action => 'cancel'});
    call("POST $path", 200, 'the link', %paid, json => {action => 'payment_link'});
    $nginx->admin(PUT => 'workspaces/one', {subscription => 'none'});
    call("POST $path", 403, 'no link without a subscription', %paid, json => {action => 'payment_link'});
    $nginx->admin(PUT => 'workspaces/one', {subscription => 'active'});
    call("POST $path", 200, 'canceled', %paid, json => {action => 'cancel'});
    call("POST $path", 409, 'not twice', %paid, json => {action => 'cancel'});

    my $none = $nginx->bearer($nginx->workspace('none', {subscription => 'none'}));
    call("POST $all", 403, 'without a subscription', as => $none, json => \%phone);
    my $due = $nginx->bearer($nginx->workspace('due', {subscription => 'past_due'}));
    call("POST $all", 402, 'past due', as => $due, json => \%phone);
    my $starter = $nginx->bearer($nginx->workspace('starter', {plan => 'starter'}));
    call("POST $all", 201, 'the one that the plan has', as => $starter, json => \%phone);
    call("POST $all", 403, 'and no more', as => $starter, json => \%phone);

    my $slow = $nginx->bearer($nginx->workspace('slow'));
    call('PUT /_lines/admin/workspaces/{id}/limits/{limit}', 200, 'a slow one', %operator, params => [qw(slow api)], json => {rate => '1r/h', burst => 1});
    call("GET $all", 200, 'once', as => $slow);
    for my $name ("GET $all", "GET $path", 'GET /api/lines/by-user', "POST $all", "POST $path") {
        call($name, 429, 'not twice', as => $slow, params => ['f' x 24], ($name =~ /POST/ ? (json => \%phone) : ()));
    }
};

subtest 'lines' => sub {
    my $line   = $nginx->get('/api/line-requests?status=provisioning', $workspace{one})->json('/lineRequests/0/_id');
    my $status = '/_lines/admin/lines/{id}/status';
    my %line   = (%operator, params => [$line]);
    my %none   = (%operator, params => ['f' x 24]);
    my $check  = 'GET /api/lines/check-availability';
    my %clerk  = (as => $nginx->bearer($clerk->token(org => 'one')));

    call('GET /_lines/admin/lines', 200, 'the work', %operator, query => 'status=provisioning');
    call('GET /_lines/admin/lines', 400, 'other', %operator, query => 'status=active');
    call('GET /_lines/admin/lines', 401, 'nobody', query => 'status=provisioning');

    call($check, 400, 'not active', %clerk, query => "id=$line");
    bodies("POST $status", %line);
    call("POST $status", 400, 'no status', %line, json => {status => 'odd'});
    call("POST $status", 404, 'none', %none, json => {status => 'active'});
    call("POST $status", 401, 'nobody', params => [$line], json => {status => 'active'});
    call('POST /_lines/admin/lines/{id}/release', 409, 'not yet', %line);
    call("POST $status", 200, 'active', %line, json => {status => 'active', phone => '+14155550123'});
    call("POST $status", 409, 'for ever', %line, json => {status => 'failed'});

    my $usage = '/_lines/admin/lines/{id}/usage';
    my %usage = (json => {newConversationsCount => 1, totalMessagesCount => 2});
    bodies("POST $usage", %line);
    call("POST $usage", 200, 'set', %line, %usage);
    call("POST $usage", 404, 'of none', %none, %usage);
    call("POST $usage", 401, 'by nobody', params => [$line], %usage);

    call($check, 200, 'checked', %clerk, query => "id=$line");
    $probe->set(json => {status => 'down', failures => ['no_signal']});
    my $down = wait_for(sub { my $answer = call($check, 200, 'again', %clerk, query => "id=$line"); $answer->json('/status') eq 'down' }, 30, 'a line that is down');
    ok $down, 'down';
    call($check, 401, 'by a key', as => $workspace{one}, query => "id=$line");
    call($check, 400, 'without a workspace', as => $nginx->bearer($clerk->token), query => "id=$line");
    call($check, 429, 'too often', as => $nginx->bearer($clerk->token(org => 'slow')), query => "id=$line");
    call($check, 404, 'none', %clerk, query => 'id=' . 'f' x 24);

    call('GET /api/lines/by-user', 200, 'listed', as => $workspace{one});
    ok exists call('GET /api/lines/by-user', 200, 'a page', as => $workspace{one}, query => 'limit=1')->json->{cursor}, 'with a cursor';
    call('GET /api/lines/by-user', 400, 'without a workspace', as => $nginx->bearer($clerk->token));
    call('GET /api/lines/by-user', 401, 'to nobody');

    call('DELETE /_lines/admin/workspaces/{id}', 409, 'not with a live line', %operator, params => ['one']);
    call('POST /_lines/admin/lines/{id}/release', 200, 'released', %line);
    call('POST /_lines/admin/lines/{id}/release', 404, 'none', %none);
    call('POST /_lines/admin/lines/{id}/release', 400, 'no id', %operator, params => ['x']);
    call('POST /_lines/admin/lines/{id}/release', 401, 'by nobody', params => [$line]);
};

subtest 'accounts' => sub {
    my $preview = 'POST /accounts/lines/provision-preview';
    my $confirm = 'POST /accounts/lines/provision-confirm';
    my $numbers = '/_lines/admin/numbers';
    my %one     = (as => $account{one});
    my @numbers = map { {phone_number => "+1415555100$_", worker_id => "worker_$_"} } 1 .. 5;

    my sub token () { call($preview, 200, 'a token', %one)->json('/preview_token') }

    call($preview, 503, 'no number', %one);
    call("POST $numbers", 200, 'some', %operator, json => {numbers => \@numbers});
    bodies("POST $numbers", %operator);
    call("POST $numbers", 401, 'by nobody', json => {numbers => \@numbers});
    call("GET $numbers", 200, 'listed', %operator);
    is call("GET $numbers", 200, 'a page', %operator, query => 'limit=1&state=free')->json('/cursor') // '', '14155551001', 'with a cursor';
    call("GET $numbers", 400, 'no state', %operator, query => 'state=odd');
    call("GET $numbers", 401, 'to nobody');
    call("DELETE $numbers/{number}", 200, 'a free one', %operator, params => ['+14155551005']);
    call("DELETE $numbers/{number}", 404, 'not twice', %operator, params => ['+14155551005']);
    call("DELETE $numbers/{number}", 400, 'no number', %operator, params => ['x']);
    call("DELETE $numbers/{number}", 401, 'by nobody', params => ['+14155551005']);

    call($preview, 401, 'nobody');
    call('GET /accounts/limits', 200, 'the limits', %one);
    call('GET /accounts/limits', 401, 'nobody');
    call('GET /accounts/lines', 200, 'no line', %one);
    call('GET /accounts/lines', 400, 'no limit', %one, query => 'limit=0');
    call('GET /accounts/lines', 401, 'nobody');

    bodies($confirm, %one);
    call($confirm, 400, 'no token', %one, json => {});
    call($confirm, 401, 'nobody', json => {preview_token => 'x'});
    call($confirm, 410, 'never issued', %one, json => {preview_token => 'lpv_x'});

    my ($first, $second) = (token(), token());
    my %key = (headers => {'Idempotency-Key' => 'k1'});
    my $bought = call($confirm, 200, 'bought', %one, %key, json => {preview_token => $first})->json('/phone_number');
    is call($confirm, 200, 'again', %one, %key, json => {preview_token => $first})->header('Idempotency-Replayed'), 'true', 'replayed';
    call($confirm, 422, 'another with its key', %one, %key, json => {preview_token => $second});
    is call($confirm, 410, 'without the key', %one, json => {preview_token => $first})->json('/state'), 'succeeded', 'it says what became of it';
    call("DELETE $numbers/{number}", 409, 'its number is held', %operator, params => [$bought]);

    my $third = token();
    call($confirm, 200, 'the last', %one, json => {preview_token => $second});
    call($confirm, 429, 'one more', %one, json => {preview_token => $third});
    like call($preview, 429, 'no token', %one)->header('Retry-After') // '', qr/^\d+$/, 'it says until when';
    call('GET /accounts/lines', 200, 'both', %one);
    is scalar @{call('GET /accounts/lines', 200, 'a page', %one, query => 'limit=1')->json('/lines')}, 1, 'of one';
    call('GET /accounts/limits', 200, 'used up', %one);

    my %two = (as => $shop->account('two', customer => undef)->{headers});
    my $his = call($preview, 200, 'the next', %two)->json('/preview_token');
    call($confirm, 403, "another's token", as => $account{one}, json => {preview_token => $his});
    call($confirm, 402, 'no card', %two, json => {preview_token => $his});
    $shop->first->admin(PUT => 'accounts/two', {limits => {api_provision_daily => 'unlimited'}});
    call('DELETE /_lines/admin/accounts/{id}', 409, 'not with a live line', %operator, params => ['one']);
    call('GET /_lines/admin/accounts/{id}', 200, 'without a limit', %operator, params => ['two']);
    call('GET /accounts/limits', 200, 'without a limit', %two);

    my %other = (as => $shop->account('other', plan => 'other')->{headers});
    call($preview, 403, 'not on the plan', %other);
    call($confirm, 403, 'not on the plan', %other, json => {preview_token => 'lpv_x'});
    call('GET /accounts/limits', 403, 'not on the plan', %other);

    my %slow = (as => $shop->account('slow')->{headers});
    call('PUT /_lines/admin/accounts/{id}/limits/{limit}', 200, 'a slow one', %operator, params => [qw(slow api)], json => {rate => '1r/h', burst => 1});
    call('GET /accounts/lines', 200, 'once', %slow);
    call($_, 429, 'not twice', %slow, params => [1], (/POST/ ? (json => {}) : ()))
      for $preview, $confirm, 'GET /accounts/lines', 'GET /accounts/limits', 'POST /accounts/lines/add-line', 'GET /accounts/lines/line-request/{ticket}';
};

subtest 'tickets' => sub {
    my $add  = 'POST /accounts/lines/add-line';
    my $get  = 'GET /accounts/lines/line-request/{ticket}';
    my $move = 'POST /_lines/admin/tickets/{id}';
    my %one  = (as => $account{one});

    bodies($add, %one);
    call($add, 400, 'not a phone', %one, json => {line_request_type => 'fax'});
    call($add, 401, 'nobody', json => {line_request_type => 'phone'});
    my $id    = call($add, 200, 'wished', %one, json => {line_request_type => 'phone', desired_area_code => '415'})->json('/data/id');
    my $other = call($add, 200, 'anywhere', %one, json => {line_request_type => 'phone'})->json('/data/id');

    call($get, 200, 'open', %one, params => [$id]);
    call($get, 400, 'no id', %one, params => ['x']);
    call($get, 401, 'nobody', params => [$id]);
    call($get, 403, "another's", as => $shop->account('three')->{headers}, params => [$id]);
    call($get, 404, 'none', %one, params => [99999]);

    bodies($move, %operator, params => [$id]);
    call($move, 401, 'nobody', params => [$id], json => {status => 'CANCELLED'});
    call($move, 404, 'none', %operator, params => [99999], json => {status => 'CANCELLED'});
    call($move, 200, 'fulfilled', %operator, params => [$id], json => {status => 'FULFILLED'});
    call($move, 409, 'for good', %operator, params => [$id], json => {status => 'CANCELLED'});
    call($move, 200, 'cancelled', %operator, params => [$other], json => {status => 'CANCELLED'});
    call($get, 200, 'fulfilled', %one, params => [$id]);
    call($get, 200, 'cancelled', %one, params => [$other]);
};

subtest 'webhook and operations' => sub {
    my $webhook = 'POST /webhooks/stripe';
    my $event   = {id => 'evt_1', object => 'event', type => 'invoice.paid', created => time, livemode => Mojo::JSON->false, data => {object => {id => 'in_none', object => 'invoice'}}};
    my $at      = time;

    # Prism writes anew what it forwards: compact, as this is
    my $body   = encode_json($event);
    my %signed = (body => $body, headers => {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')});
    call($webhook, 200, 'taken', %signed);
    call($webhook, 400, 'not signed', json => $event);
    call($webhook, 413, 'too large', json => {x => 'x' x 300_000});

    call('GET /_lines/admin/operations', 200, 'none stuck', %operator, query => 'state=stuck');
    $redis->cli('HSET', "lines:{w:one}:op:" . 'e' x 24, kind => 'refund', step => 'cancel', stuck => 'why', attempt => 1, begun => 1);
    $redis->cli('ZADD', 'lines:{stuck}', 1, 'w:one ' . 'e' x 24);
    my $stuck = call('GET /_lines/admin/operations', 200, 'one that is', %operator, query => 'state=stuck');
    is $stuck->json('/operations/0/stuck'), 'why', 'it says why' or diag $stuck->to_string;
    call('GET /_lines/admin/operations', 400, 'others', %operator, query => 'state=odd');
    call('GET /_lines/admin/operations', 401, 'nobody', query => 'state=stuck');

    my $retry = 'POST /_lines/admin/operations/{id}/retry';
    my $paid  = $nginx->post_json('/api/line-requests', \%email, $workspace{one})->json('/line/_id');
    call($retry, 200, 'tried again', %operator, params => [$paid]);
    call($retry, 404, 'none', %operator, params => ['f' x 24]);
    call($retry, 400, 'no id', %operator, params => ['x']);
    call($retry, 401, 'nobody', params => [$paid]);

    call('GET /_lines/metrics', 200, 'text', headers => {Accept => 'text/plain'});
    call('GET /_lines/metrics', 200, 'OpenMetrics', headers => {Accept => 'application/openmetrics-text'});
    call('GET /_lines/ready', 200, 'ready');
};

subtest 'what no document has a place for' => sub {
    my %shape = ('/api/' => 'Error', '/accounts/' => 'AccountError', '/_lines/admin/' => 'Error');
    for my $prefix (sort keys %shape) {
        my @required = sort @{$doc->{components}{schemas}{$shape{$prefix}}{required}};
        my ($path) = grep {/^\Q$prefix\E[^{]*$/} sort keys %{$doc->{paths}};
        for ([GET => "${prefix}nowhere", 404], [PATCH => $path, 405]) {
            my $answer = $nginx->request(@$_[0, 1]);
            is $answer->status, $_->[2], "@$_";
            is_deeply [sort keys %{$answer->json}], \@required, "in the shape of $shape{$prefix}";
        }
        my $allow = join ', ', map { $_ eq 'GET' ? 'GET, HEAD' : $_ } grep { $doc->{paths}{$path}{lc $_} } qw(GET POST PUT DELETE);
        is $nginx->request(PATCH => $path)->header('Allow'), $allow, "Allow of $path";
    }
};

subtest 'Redis is away' => sub {
    my @ids = ('f' x 24, 'api');
    $redis->pause;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 503 }, 30, 'readiness to end');

    for my $name (sort grep {/ \/(?:api|accounts|_lines)\/(?!metrics|admin\/limits$)/} keys %{operations()}) {
        my $as = $name =~ /admin/ ? $operator{as} : $name =~ /accounts/ ? $account{one}
          : $name =~ /check/ ? $nginx->bearer($clerk->token(org => 'one')) : $workspace{one};
        my $example = operations()->{$name}{requestBody};
        my $query   = $name =~ /check/ ? 'id=' . 'f' x 24 : $name =~ /admin\/lines$/ ? 'status=provisioning' : $name =~ /operations$/ ? 'state=stuck' : '';
        my @params  = $name =~ /\{number\}/ ? '+14155551001' : $name =~ /ticket/ ? 1 : @ids;
        call($name, 503, 'not now', as => $as, params => \@params, query => $query, ($example ? (json => $example->{content}{'application/json'}{example}) : ()));
    }

    $redis->cont;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'readiness');
};

# what would take a race, a broken billing or a thousand plans is seen by other tests
my %rare = (
    'GET /accounts/lines/line-request/{ticket}'           => [410],
    'POST /accounts/lines/add-line'                       => [410],
    'POST /accounts/lines/provision-confirm'              => [409],
    'POST /api/line-requests/{id}'                        => [402],
    'POST /webhooks/stripe'                               => [503],
    'PUT /_lines/admin/plans/{plan}/limits/{limit}'       => [409]
);

subtest 'nothing was left out' => sub {
    for my $name (sort keys %{operations()}) {
        my %not = map { $_ => 1 } 500, @{$rare{$name} // []};
        is_deeply [grep { !$seen{$name}{$_} && !$not{$_} } sort keys %{operations()->{$name}{responses}}], [], "$name: each of its answers was seen";
    }
};

subtest 'the judge judges' => sub {
    my $wrong = YAML::PP->new(boolean => 'JSON::PP')->load_string(encode_json($doc));
    $wrong->{components}{schemas}{Line}{properties}{isActive} = {type => 'integer'};
    delete $wrong->{components}{schemas}{Readiness}{properties}{zone};
    $wrong->{components}{headers}{RequestId}{schema} = {type => 'string', pattern => '^!'};

    my $other = through($t->prism(name => 'prism-wrong', upstream => $nginx->url, options => [], spec => $t->file('wrong.json', encode_json($wrong))));
    my @line  = violations($other->get('/api/line-requests', $workspace{one}));
    ok scalar(grep {/isActive/} @line), 'a member of another type' or diag explain \@line;
    my @ready = violations($other->get('/_lines/ready'));
    ok scalar(grep {/body.*zone|additional/} @ready), 'a member that is not described' or diag explain \@ready;
    ok scalar(grep {/header/} @ready), 'a header of another kind' or diag explain \@ready;
};

$t->done;
