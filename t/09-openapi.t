# What conf/api/openapi.yaml (for clients) and conf/openapi-operator.yaml say is what nginx does: each route of the code is a
# path of one of them, all is described, and Prism, between a client and nginx, finds nothing in the answers that the
# document does not have.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::Date;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use Mojo::JSON::Pointer;
use Mojo::Util qw(decode);
use Test::More;
use Test::Lines::Script;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Test::Lines::Client;
use Test::Lines::Prism;
use YAML::PP;

my $t    = Test::Lines->new(timeout => 600);
my $root = $t->root;
my %file = (client => 'api/openapi.yaml', operator => 'openapi-operator.yaml');
my %doc  = map { $_ => YAML::PP->new(boolean => 'JSON::PP', duplicate_keys => 0)->load_string(decode 'UTF-8', path("$root/conf/$file{$_}")->slurp) } keys %file;

my @methods = qw(get put post delete options head patch trace);

# each operation of a document, as "POST /api/line-requests"
sub operations_of ($doc) {
    my %all;
    for my $path (keys %{$doc->{paths}}) {
        $all{uc($_) . " $path"} = $doc->{paths}{$path}{$_} for grep { $doc->{paths}{$path}{$_} } @methods;
    }
    return \%all;
}

# of both
sub operations () { return {map { %{operations_of($doc{$_})} } keys %doc} }

# the document that an operation is in
sub document_of ($name) { return (grep { operations_of($doc{$_})->{$name} } sort keys %doc)[0] }

sub walk ($node, $at, $code) {
    if    (ref $node eq 'HASH')  { $code->($node, $at); walk($node->{$_}, "$at/$_", $code) for sort keys %$node }
    elsif (ref $node eq 'ARRAY') { walk($node->[$_], "$at/$_", $code) for 0 .. $#$node }
}

# what a reference in $doc leads to; the operator's document refers to the client's
sub resolve ($doc, $ref) {
    my ($file, $pointer) = $ref =~ /^([^#]*)#(\/.*)$/ or return undef;
    return undef unless $file eq '' || $file eq $file{client};
    return Mojo::JSON::Pointer->new($file ? $doc{client} : $doc)->get($pointer);
}

sub follow ($doc, $node) { ref $node eq 'HASH' && $node->{'$ref'} ? resolve($doc, $node->{'$ref'}) : $node }

# the examples of a content, of either way to write them
sub examples ($doc, $content) {
    return $content->{example} if exists $content->{example};
    return map { follow($doc, $content->{examples}{$_})->{value} } sort keys %{$content->{examples} // {}};
}

sub body_example ($name) {
    my $body = operations()->{$name}{requestBody} or return;
    return (examples($doc{document_of($name)}, $body->{content}{'application/json'}))[0];
}

# What a reader misses in a document: everything that he meets has a description, an error has an example that says what
# it means and what to do, and no generator of clients is led astray.
sub lint ($doc) {
    my @missing;
    my $wants = sub ($node, $at, @members) { push @missing, map {"$at: no $_"} grep { ($node->{$_} // '') !~ /\S/ } @members };
    my $described = sub ($schema) { $schema->{description} || ($schema->{'$ref'} && (resolve($doc, $schema->{'$ref'}) // {})->{description}) };

    $wants->($doc->{info}, 'info', qw(summary description));
    $wants->($_, "tag $_->{name}", 'description') for @{$doc->{tags}};
    push @missing, 'no server' unless @{$doc->{servers} // []};

    my $operations = operations_of($doc);
    for my $name (sort keys %$operations) {
        my $operation = $operations->{$name};
        $wants->($operation, $name, qw(summary description));
        $wants->($operation->{requestBody}, "$name: body", 'description') if $operation->{requestBody};

        for my $status (sort keys %{$operation->{responses}}) {
            my $answer = follow($doc, $operation->{responses}{$status});
            $wants->($answer, "$name: $status", 'description');
            next if $status < 400;

            my $examples = $answer->{content}{'application/json'}{examples} // {};
            push @missing, "$name: $status: no example" unless %$examples;
            $wants->(follow($doc, $examples->{$_}), "$name: $status: example $_", qw(summary description value)) for sort keys %$examples;
        }
    }

    for my $kind (sort keys %{$doc->{components}}) {
        $wants->($doc->{components}{$kind}{$_}, "$kind $_", 'description') for sort keys %{$doc->{components}{$kind}};
    }

    walk($doc, '', sub ($node, $at) {
        return if $at =~ m{/(?:example|value)(?:/|$)};
        $wants->($node, $at, 'description') if $at =~ m{/(?:servers|parameters)/\d+$} && !$node->{'$ref'};

        if (ref $node->{properties} eq 'HASH') {
            push @missing, map {"$at: $_: no description"} grep { !$described->($node->{properties}{$_}) } sort keys %{$node->{properties}};
        }
        return unless $at =~ m{/schema$|/schemas/\w+$|/properties/\w+$|/items$|/(?:oneOf|anyOf|allOf)/\d+$};

        # a member with a default is taken for one that is always there
        push @missing, "$at: a default" if exists $node->{default};
        my $own = $node->{properties} // {};
        push @missing, map {"$at: $_ is required, and no property of the same schema"} grep { !$own->{$_} } @{$node->{required} // []};
        push @missing, "$at: values without a type" if ($node->{enum} || exists $node->{const}) && !$node->{type};
    });

    return @missing;
}

subtest 'the routes of the code' => sub {
    my %prefix = (
        workspace => '/api/', account => '/accounts/', admin => '/_lines/admin/',
        webhook => '/webhooks/stripe', metrics => '/_lines/metrics', ready => '/_lines/ready'
    );
    my @there;

    for my $file (glob "$root/src/*/*.c") {
        my $source = path($file)->slurp;
        while ($source =~ /lines_route_t\s+(?:lines_)?(\w+)_routes\[\] = \{(.*?)\n\};/gs) {
            my ($api, $routes) = ($1, $2);
            my $prefix = $prefix{$api} // die "no prefix for the API $api";
            push @there, "$1 $prefix" . $2 =~ s/:(\w+)/{$1}/gr while $routes =~ /\{ NGX_HTTP_(\w+), ngx_string\("([^"]*)"\)/g;
        }
    }

    cmp_ok scalar(@there), '>=', 40, 'they are found';
    is_deeply [sort map { keys %{operations_of($doc{$_})} } keys %doc], [sort @there], 'are the operations of the documents, each of one';
    is_deeply [grep { document_of($_) ne (m{ /(?:api|accounts)/} ? 'client' : 'operator') } @there], [], "a client finds his, and the operator the operator's";
};

for my $which (sort keys %doc) {
    my $doc = $doc{$which};

    subtest "the document in itself: $file{$which}" => sub {
        my (@dangling, %used, %ids);
        walk($doc, '', sub ($node, $at) {
            my $ref = $node->{'$ref'};
            return unless defined $ref && !ref $ref;
            push @dangling, "$at: $ref" unless defined resolve($doc, $ref);
            $used{$ref} = 1;
        });
        is_deeply \@dangling, [], 'every reference leads somewhere';

        my @unused;
        for my $kind (grep { $_ ne 'securitySchemes' } sort keys %{$doc->{components}}) {
            push @unused, grep { !$used{$_} } map {"#/components/$kind/$_"} sort keys %{$doc->{components}{$kind}};
        }
        is_deeply \@unused, [], 'every component is used';

        my (%schemes, %tags);
        my $operations = operations_of($doc);
        for my $name (sort keys %$operations) {
            my $operation = $operations->{$name};
            ok !$ids{$operation->{operationId} // ''}++, "$name: an id of its own";
            ok ref $operation->{security} eq 'ARRAY', "$name: says who may";
            is_deeply [grep { !$doc->{components}{securitySchemes}{$_} } map { keys %$_ } @{$operation->{security}}], [], "$name: by schemes that are there";
            $schemes{$_}++ for map { keys %$_ } @{$operation->{security}};
            $tags{$_}++ for @{$operation->{tags}};

            my $params = join ' ', sort map { $_->{name} } grep { $_->{in} eq 'path' } map { follow($doc, $_) }
              @{$doc->{paths}{$name =~ s/^\S+ //r}{parameters} // []}, @{$operation->{parameters} // []};
            is $params, join(' ', sort $name =~ /\{(\w+)\}/g), "$name: its parameters";

            my @good = grep {/^2/} sort keys %{$operation->{responses}};
            ok scalar(@good), "$name: can succeed";
            for my $answer (map { $operation->{responses}{$_} } @good) {
                ok scalar(grep { examples($doc, $_) } values %{$answer->{content}}), "$name: with an example";
            }
            ok defined body_example($name), "$name: and one of its body" if $operation->{requestBody};
        }

        is_deeply [sort keys %schemes], [sort keys %{$doc->{components}{securitySchemes}}], 'every way to authenticate is used';
        is_deeply [sort keys %tags], [sort map { $_->{name} } @{$doc->{tags}}], 'and every tag';
        is_deeply [lint($doc)], [], 'all is described, each error with an example and what to do';
    };
}

subtest 'what stands in both documents' => sub {
    my %both;
    for my $kind (qw(schemas headers parameters)) {
        my ($client, $operator) = map { $doc{$_}{components}{$kind} // {} } qw(client operator);
        $both{$kind} = [grep { $client->{$_} } sort keys %$operator];
    }
    is_deeply $both{$_}, [], "no $_" for qw(schemas headers);

    # generators do not follow a parameter into another file
    for my $name (@{$both{parameters}}) {
        my @same = map {
            my %param = (%{$doc{$_}{components}{parameters}{$name}}, description => '');
            +{%param, schema => follow($doc{$_}, $param{schema})};
        } qw(client operator);
        is_deeply $same[1], $same[0], "the parameter $name, and it is the same";
    }
};

subtest 'each code of an error has an example' => sub {
    my $schemas = $doc{client}{components}{schemas};
    my %shown;

    walk($doc{client}, '', sub ($node, $at) {
        $shown{$_}++ for ref $node->{value} eq 'HASH' ? grep {defined} @{$node->{value}}{qw(error status code)} : ();
    });

    for (['AccountError', 'error'], ['Refusal', 'status'], ['Error', 'code']) {
        my ($schema, $member) = @$_;
        is_deeply [grep { !$shown{$_} } @{$schemas->{$schema}{properties}{$member}{enum}}], [], "$schema: $member";
    }
};

# what the source says: its strings, and the messages of the JSON in them, as patterns
sub messages_of ($file) {
    my $text = path($file)->slurp;
    $text =~ s/(?<!\\)"\s+"//g if $file =~ /\.[ch]$/;
    my @strings = map { s/\A.//sr =~ s/.\z//sr =~ s/\\(.)/$1/gr } $text =~ /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')/g;
    push @strings, map { /(?|"(?:message|error)":"([^"]*)"|'(?:message|error)':'([^']*)')/g } @strings;
    return map { my $pattern = quotemeta($_) =~ s/\\%(?:V|s|ui|uz|i|L|T|M)/.+/gr; qr/\A$pattern\z/ } grep { length(s/%\w+//gr) >= 8 } @strings;
}

subtest 'each example of an error says what the code says' => sub {
    my @said = map { messages_of($_) } glob "$root/src/*/*.[ch] $root/src/store/scripts/*.lua $root/src/store/scripts/lib/*.lua";
    my %shown;

    for my $which (sort keys %doc) {
        walk($doc{$which}, '', sub ($node, $at) {
            $shown{$_} = "$file{$which}$at" for $at =~ m{/value$} ? grep { defined && / / } @{$node}{qw(error message)} : ();
        });
    }

    cmp_ok scalar(keys %shown), '>=', 60, 'there are many';
    is_deeply [map {"$shown{$_}: $_"} grep { my $text = $_; !grep { $text =~ $_ } @said } sort keys %shown], [], 'none is worded otherwise';
    ok !(grep { 'Billing has not answered yet. Read the line request again later.' =~ $_ } @said), 'one that is would be seen';
};

subtest 'the lint sees what is missing' => sub {
    my $changed = sub ($which, $change) {
        my $copy = decode_json(encode_json($doc{$which}));
        $change->($copy);
        return join '; ', lint($copy);
    };
    my $create = '/api/line-requests';

    like $changed->(client => sub ($doc) { delete $doc->{paths}{$create}{post}{description} }), qr/^POST $create: no description$/, 'an operation';
    like $changed->(client => sub ($doc) { delete $doc->{components}{schemas}{Line}{properties}{isActive}{description} }), qr/Line: isActive: no description$/, 'a property';
    like $changed->(client => sub ($doc) { delete $doc->{components}{schemas}{Health}{description} }), qr/Line\/properties\/healthCheck: status: no description/, 'a property by reference';
    like $changed->(operator => sub ($doc) { delete $doc->{components}{parameters}{Key}{description} }), qr/^parameters Key: no description$/, 'a parameter';
    like $changed->(client => sub ($doc) { delete $doc->{paths}{$create}{post}{responses}{403}{content}{'application/json'}{examples} }), qr/^POST $create: 403: no example$/, 'an error';
    like $changed->(client => sub ($doc) { delete $doc->{paths}{$create}{post}{responses}{403}{content}{'application/json'}{examples}{forbidden_line_type}{description} }),
      qr/^POST $create: 403: example forbidden_line_type: no description$/, 'what to do about it';
    like $changed->(client => sub ($doc) { $doc->{components}{schemas}{NewPhoneLine}{properties}{lineType}{default} = 'purchased' }), qr/lineType: a default$/, 'a default';
    like $changed->(client => sub ($doc) { delete $doc->{components}{schemas}{NewByonLine}{properties}{phone} }), qr/phone is required, and no property/, 'a property that generators take for one that may be left out';
    like $changed->(operator => sub ($doc) { delete $doc->{components}{schemas}{NumberState}{type} }), qr/NumberState: values without a type$/, 'values without a type';
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
    http          => "lines_probe /_lines/probe timeout=2s plain=loopback;\nlines_webhooks_out /_lines/webhooks key_file=" . $t->file('seal.key', '0' x 64 . "\n") . ";\n",
    server        => $shop->webhook_location . $clerk->location . $clerk->directive(authorized_party => $clerk->party)
      . 'location = /_lines/probe { internal; proxy_pass ' . $probe->url . "/probe; proxy_http_version 1.1; proxy_set_header Connection ''; }\n"
);

sub through ($prism) { Test::Lines::Client->new(host => '127.0.0.1', port => $prism->port) }

# where webhooks are not offered
my $bare    = $shop->nginx(name => 'bare', api => $limit);
my %without = (client => through($t->prism(name => 'prism-bare', upstream => $bare->url, spec => "$root/conf/$file{client}", options => [])));

my %client = map { $_ => through($t->prism(name => "prism-$_", upstream => $nginx->url, spec => "$root/conf/$file{$_}", options => [])) } sort keys %file;
my %seen;

sub violations ($answer, $of = 'response') {
    return map {"@{$_->{location}}: $_->{message}"} grep { $_->{location} && $_->{location}[0] eq $of } @{decode_json($answer->header('sl-violations') // '[]')};
}

# what a client tells errors apart by
sub kind ($error) {
    return "status $error->{status}" if exists $error->{success};
    return join ' ', map { "$_ " . ($error->{$_} // '-') } ($error->{status} // '') eq 'ERROR' ? qw(status error) : 'code';
}

# headers that no answer of the operation is said to have; those of HTTP itself, and the judge's own, need no word
sub undescribed ($name, $answer) {
    my $doc = $doc{document_of($name)};
    my %there = map { lc $_ => 1 } map { keys %{follow($doc, $_)->{headers} // {}} } values %{operations()->{$name}{responses}};
    return grep { !$there{lc $_} && !/^(?:Server|Date|Connection|Keep-Alive|Content-(?:Type|Length)|Transfer-Encoding|Vary|Access-Control-\S+|sl-\S+)$/i } @{$answer->headers->names};
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

    my $answer = ($options{through} // $client{document_of($name)})->request($method, $path, $headers, $body);
    is $answer->status, $status, "$name: $what" or diag $answer->to_string;
    is_deeply [violations($answer)], [], 'as it is described' or diag $answer->to_string;
    is_deeply [violations($answer, 'request')], [], 'asked as it is described' if $status < 300;
    ok operations()->{$name}{responses}{$answer->status}, "with a status that is described" or diag $answer->status;
    $seen{$name}{$answer->status}++;

    is_deeply [undescribed($name, $answer)], [], 'with headers that are described';

    if ($status >= 400) {
        my $doc     = $doc{document_of($name)};
        my $content = follow($doc, operations()->{$name}{responses}{$status})->{content}{'application/json'};
        my $kind    = kind($answer->json);
        ok scalar(grep { kind($_) eq $kind } examples($doc, $content)), 'with an example of its kind' or diag $kind;
    }

    return $answer;
}

my %operator = (as => $nginx->bearer($t->admin_token));
my %phone    = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my %email    = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'email', email => 'ada@example.com');

# what every operation with a body does with one that is none
sub bodies ($name, %options) {
    call($name, 400, 'a body that is no object', %options, json => []);
    call($name, 415, 'a body of another type', %options, body => 'x', headers => {'Content-Type' => 'text/plain'});

    # Prism would read it first
    my ($method, $path, @params) = (split(/ /, $name), @{$options{params} // []});
    my $answer = $nginx->request($method, $path =~ s/\{\w+\}/shift @params/ger, {%{$options{as}}, 'Content-Type' => 'application/json', 'Content-Encoding' => 'gzip'}, 'x');
    is $answer->status, 415, "$name: a compressed body" or diag $answer->to_string;
    is_deeply [undescribed($name, $answer)], [], 'with headers that are described';

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
        my $other = call("POST $base/keys", 201, 'and another', %one, json => {name => 'x', role => 'read', expires_at => '2099-01-01T00:00:00Z'})->json('/id');
        bodies("POST $base/keys", %one);
        call("POST $base/keys", 404, 'for nobody', %operator, params => ['two']);
        call("POST $base/keys", 401, 'by nobody', params => ['one']);
        call("$_ $base/keys", 400, 'no id', %operator, params => ['t.wo']) for qw(GET POST);
        call("GET $base/keys", 404, 'of nobody', %operator, params => ['two']);
        call("DELETE $base/keys/{key}", 400, 'no id', %operator, params => ['t.wo', $other]);
        my @other = (%operator, params => ['one', $other]);
        call("PUT $base/keys/{key}", 200, 'changed', @other, json => {name => undef, expires_at => undef, role => 'all'});
        call("PUT $base/keys/{key}", 400, 'no such member', @other, json => {access => 'read'});
        call("PUT $base/keys/{key}", 401, 'by nobody', params => ['one', $other], json => {});
        call("PUT $base/keys/{key}", 404, 'none', %operator, params => ['one', 'none'], json => {});
        bodies("PUT $base/keys/{key}", @other);
        call("GET $base/keys", 200, 'listed', %one);
        call("GET $base/keys", 401, 'to nobody', params => ['one']);
        call("DELETE $base/keys/{key}", 200, 'revoked', %operator, params => ['one', $other]);
        call("DELETE $base/keys/{key}", 200, 'again', %operator, params => ['one', $other]);
        call("DELETE $base/keys/{key}", 401, 'by nobody', params => ['one', $other]);

        call("PUT $base", 201, 'to be deleted', %operator, params => ['gone'], json => \%plan);
        call("DELETE $base", 200, 'deleted', %operator, params => ['gone']);
        $redis->cli('SADD', 'lines:{' . substr($kind, 0, 1) . ':gone}:keys', 'f' x 64);
        call("PUT $base", 409, 'not before all of it is gone', %operator, params => ['gone'], json => \%plan);
        call("DELETE $base", 200, 'the rest', %operator, params => ['gone']);
    }
};

subtest 'a token that may only read' => sub {
    for my $name (grep { m{^(?!GET)\w+ /_lines/admin/(?!session$)} } sort keys %{operations()}) {
        my @params = ('x') x (() = $name =~ /\{/g);
        call($name, 403, 'not for it', as => $nginx->bearer($t->read_token), params => \@params, json => {});
    }
};

subtest 'keys that may only read, or have expired' => sub {
    for my $name (grep { m{ /(?:api|accounts)/(?!lines/check)} } sort keys %{operations()}) {
        my $kind = $name =~ /accounts/ ? 'accounts' : 'workspaces';
        my ($read, $expired) = map { call("POST /_lines/admin/$kind/{id}/keys", 201, 'a key', %operator, params => ['one'], json => {role => $_})->json } qw(read all);
        $redis->cli('HSET', "lines:{k:$expired->{id}}", expires => 1);

        my $as     = sub ($key) { $key->{key} ? $nginx->bearer($key->{key}) : $nginx->pair(@$key{qw(key_id secret)}) };
        my @params = ('f' x 24) x (() = $name =~ /\{/g);
        call($name, 403, 'may only read', as => $as->($read), params => \@params, json => {}) unless $name =~ /^GET/;
        call($name, 401, 'has expired', as => $as->($expired), params => \@params, $name =~ /^GET/ ? () : (json => {}));
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
    my $tag = call("GET $path", 200, 'read', %paid)->header('ETag');
    call("GET $path", 304, 'and known', %paid, headers => {'If-None-Match' => $tag}, query => 'wait=1');
    call("GET $path", 400, 'no time', %paid, query => 'wait=100');
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

    # billing knows the customer no more when another invoice is asked for
    my $again = call("POST $all", 201, 'to be refused', %one, json => \%email);
    my $id    = $again->json('/line/_id');
    $shop->sandbox->void($again->json('/invoiceId'));
    my $customer = $redis->client->hget('lines:{w:one}:t', 'customer');
    $redis->client->hset('lines:{w:one}:t', customer => 'cus_nobody');
    my $refused = call("POST $path", 402, 'billing refuses', %one, params => [$id], json => {action => 'payment_link'});
    $redis->client->hset('lines:{w:one}:t', customer => $customer);
    is_deeply [grep { !exists $refused->json->{$_} } qw(success status paymentStatus message reason line)], [], 'with all that its example has';

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
    for my $name ("GET $all", "GET $path", 'GET /api/lines/by-user', 'GET /api/events', "GET $path/events", "POST $all", "POST $path") {
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
    call("$_ /_lines/admin/lines/{id}/refund", 409, 'not yet', %line) for qw(GET POST);
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
    call("$_ /_lines/admin/lines/{id}/refund", 409, 'nothing was paid for it', %line) for qw(GET POST);
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

    my $line = 'GET /accounts/lines/{phone_number}';
    my $tag  = call($line, 200, 'one of them', %one, params => [$bought])->header('ETag');
    call($line, 304, 'and known', %one, params => [$bought], headers => {'If-None-Match' => $tag}, query => 'wait=1');
    call($line, 400, 'no number', %one, params => ['x']);
    call($line, 400, 'no time', %one, params => [$bought], query => 'wait=0');
    call($line, 401, 'nobody', params => [$bought]);
    call($line, 404, 'not his', %one, params => ['+14155559999']);

    my %two = (as => $shop->account('two', customer => undef)->{headers});
    my $his = call($preview, 200, 'the next', %two)->json('/preview_token');
    call($confirm, 403, "another's token", as => $account{one}, json => {preview_token => $his});
    call($confirm, 402, 'no card', %two, json => {preview_token => $his});
    $shop->first->admin(PUT => 'accounts/two', {limits => {api_provision_daily => 'unlimited'}});
    call('DELETE /_lines/admin/accounts/{id}', 409, 'not with a live line', %operator, params => ['one']);
    call('GET /_lines/admin/accounts/{id}', 200, 'without a limit', %operator, params => ['two']);
    call('GET /accounts/limits', 200, 'without a limit', %two);

    # a wish for an area: its number is lost to another account, and once more, when none is left
    my %area = (as => $shop->account('area')->{headers});
    my %rival = (as => $shop->account('rival')->{headers});
    my %wish = (json => {area_code => '415'});
    my $kept = call($preview, 200, 'one of an area', %area, %wish)->json('/preview_token');
    my $lose = sub { $shop->redis->cli(ZADD => 'lines:{inv}:reserved', 'XX', 1, $shop->operation_id($kept)); call($preview, 200, 'another account has it', %rival, %wish) };
    call($preview, 400, 'no area', %area, json => {area_code => 415});
    call($preview, 413, 'a body too large', %area, json => {x => 'x' x 300_000});
    is call($confirm, 200, 'it would buy that', %area, json => {preview_token => $kept, dry_run => Mojo::JSON::true})->json('/phone_number'), '+14155551003', 'which is said';
    $lose->();
    is call($confirm, 409, 'another one', %area, json => {preview_token => $kept})->json('/phone_number'), '+14155551004', 'which is shown';
    $lose->();
    call($confirm, 503, 'none is left', %area, json => {preview_token => $kept});
    call($preview, 503, 'none is left', %area, %wish);
    $shop->redis->cli(ZADD => 'lines:{inv}:reserved', 1, $_) for @{$shop->redis->cli(ZRANGE => 'lines:{inv}:reserved', 0, -1)};

    my %other = (as => $shop->account('other', plan => 'other')->{headers});
    call($preview, 403, 'not on the plan', %other);
    call($confirm, 403, 'not on the plan', %other, json => {preview_token => 'lpv_x'});
    call('GET /accounts/limits', 403, 'not on the plan', %other);

    my %slow = (as => $shop->account('slow')->{headers});
    call('PUT /_lines/admin/accounts/{id}/limits/{limit}', 200, 'a slow one', %operator, params => [qw(slow api)], json => {rate => '1r/h', burst => 1});
    call('GET /accounts/lines', 200, 'once', %slow);
    call($_, 429, 'not twice', %slow, params => [1], (/POST/ ? (json => {}) : ()))
      for $preview, $confirm, 'GET /accounts/lines', 'GET /accounts/limits', 'GET /accounts/events', 'POST /accounts/lines/add-line', 'GET /accounts/lines/line-request/{ticket}';
    call($line, 429, 'not twice', %slow, params => [$bought]);

    my $refund = '/_lines/admin/lines/{id}/refund';
    my %paid   = (%operator, params => [$shop->operation_id($first)]);
    my $seen   = call("GET $refund", 200, 'what would go back', %paid)->json;
    call("GET $refund", 400, 'no cursor', %paid, query => 'cursor=%20');
    call("GET $refund", 404, 'of none', %operator, params => ['f' x 24]);
    call("GET $refund", 401, 'to nobody', params => $paid{params});
    bodies("POST $refund", %paid);
    call("POST $refund", 409, 'another amount', %paid, json => {due => {usd => 1}});
    call("POST $refund", 400, 'no amounts', %paid, json => {due => 1});
    call("POST $refund", 400, 'no cursor', %paid, json => {due => {}, cursor => ''});
    call("POST $refund", 404, 'of none', %operator, params => ['f' x 24]);
    call("POST $refund", 401, 'by nobody', params => $paid{params});
    call("POST $refund", 200, 'refunded', %paid, json => {due => $seen->{due}});
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

# the properties of each variant of a request
sub variants ($doc, $schema) {
    $doc    = $doc{client} if ($schema->{'$ref'} // '') =~ /^[^#]/;
    $schema = follow($doc, $schema);
    return map { variants($doc, $_) } @{$schema->{oneOf}} if $schema->{oneOf};
    my %own = map { $_ => follow($doc, $schema->{properties}{$_}) } keys %{$schema->{properties} // {}};
    return {(map { %$_ } map { variants($doc, $_) } @{$schema->{allOf} // []}), %own};
}

# a text of that many characters, of the kind that a property takes
sub text_of ($name, $length) {
    return 'a@' . 'b' x ($length - 4) . '.c' if $name eq 'email';
    return 'https://example.com/' . 'x' x ($length - 20) if $name =~ /[Uu]rl$/;
    return 'x' x $length;
}

# a stream ends with its key, so that Prism has all of it
subtest 'events' => sub {
    for my $kind (qw(workspace account)) {
        my @names = $kind eq 'account' ? 'GET /accounts/events' : ('GET /api/events', 'GET /api/line-requests/{id}/events');
        my $one   = $kind eq 'account' ? $account{one} : $workspace{one};
        my $id    = $kind eq 'account' ? '' : $nginx->get('/api/line-requests?limit=1', $one)->json('/lineRequests/0/_id');

        for my $name (@names) {
            my @last = (params => [$id], headers => {'Last-Event-ID' => 1});
            my $key  = $nginx->admin(POST => "${kind}s/one/keys", {expires_at => Mojo::Date->new(int(time) + 2)->to_datetime})->json;
            my $as   = $key->{key} ? $nginx->bearer($key->{key}) : $nginx->pair(@$key{qw(key_id secret)});
            like call($name, 200, 'a stream', as => $as, params => [$id])->body, qr/\Aretry: \d+\nid: \d+\n\n(?::.*\n(?:id: \d+\n)?\n)*\z/, 'from where it begins';
            call($name, 410, 'too old', as => $one, @last);
            call($name, 401, 'nobody', @last);
            is call($name, 400, 'no id of an event', as => $one, params => [$id], headers => {'Last-Event-ID' => 'x'})->json('/error') // 'ERROR', $kind eq 'account' ? 'ERROR' : 'Last-Event-ID is not one that was given out', 'said';
        }
    }
    call('GET /api/line-requests/{id}/events', 404, 'no such line', as => $workspace{one}, params => ['f' x 24]);
    call('GET /api/line-requests/{id}/events', 400, 'no id', as => $workspace{one}, params => ['x']);
};

subtest 'webhooks' => sub {
    for my $kind (qw(workspace account)) {
        my $all   = $kind eq 'account' ? '/accounts/webhooks' : '/api/webhooks';
        my $path  = "$all/{id}";
        my %one   = (as => $kind eq 'account' ? $account{one} : $workspace{one});
        my %hook  = (json => {url => 'https://hooks.example.com/x', types => ['line.active']});
        my $made  = call("POST $all", 201, 'made', %one, %hook);
        my %made  = (%one, params => [$made->json('/webhook/id')]);
        my %none  = (%one, params => ['f' x 24]);
        my %event = (json => {event => '1'});
        my $bare  = $kind eq 'account' ? 'bare/accounts' : 'bare/api';

        call("GET $all", 200, 'listed', %one);
        call("GET $path", 200, 'read', %made);
        call("PATCH $path", 200, 'paused', %made, json => {status => 'paused'});
        call("POST $path/secret", 200, 'another secret', %made);
        call("GET $path/deliveries", 200, 'no calls', %made);
        my ($last) = map { decode_json($_)->{id} } @{scalar $redis->cli(LRANGE => 'lines:{' . substr($kind, 0, 1) . ':one}:journal', -1, -1)};
        call("POST $path/replay", 202, 'told again', %made, json => {after => "$last"});
        call("POST $path/replay", 410, 'no such event', %made, %event);
        call("POST $path/replay", 400, 'which?', %made, json => {});
        call("POST $all", 400, 'no URL', %one, json => {});
        bodies("POST $all", %one);
        bodies("PATCH $path", %made);
        bodies("POST $path/replay", %made);

        my %say = ("POST $all" => {%hook}, "PATCH $path" => {json => {status => 'active'}}, "POST $path/replay" => {%event});
        my @each = ("GET $path", "PATCH $path", "DELETE $path", "POST $path/secret", "GET $path/deliveries", "POST $path/replay");
        for my $name (@each) {
            call($name, 404, 'none', %none, %{$say{$name} // {}});
            call($name, 400, 'no id', %one, params => ['x'], %{$say{$name} // {}});
        }
        call($_, 401, 'nobody', params => ['f' x 24], %{$say{$_} // {}}) for "GET $all", "POST $all", @each;
        call("$_ $all", 404, 'where none are offered', %one, %{$say{"$_ $all"} // {}}, through => $without{client}) for qw(GET POST);
        call("GET $all", 400, 'without a workspace', as => $nginx->bearer($clerk->token)) if $kind eq 'workspace';

        my $slow = $kind eq 'workspace' ? $nginx->bearer($nginx->workspace('slow')) : $shop->account('slowly')->{headers};
        call("PUT /_lines/admin/${kind}s/{id}/limits/{limit}", 200, 'a slow one', %operator, params => [$kind eq 'workspace' ? 'slow' : 'slowly', 'api'], json => {rate => '1r/h', burst => 1});
        $nginx->get($all, $slow);
        call($_, 429, 'too often', as => $slow, params => ['f' x 24], %{$say{$_} // {}}) for "GET $all", "POST $all", @each;
        call("DELETE $path", 200, 'deleted', %made);
    }
};

subtest 'lengths' => sub {
    my $workspace = $nginx->bearer($nginx->workspace('lengths'));
    my $account   = $shop->account('lengths')->{headers};
    my %tried;

    # what is judged before it is looked up needs nothing that is there
    my $try = sub ($name, $what, $max, $send) {
        my ($method, $path) = split / /, $name;
        my $as = $path =~ /_lines/ ? $operator{as} : $path =~ /accounts/ ? $account : $workspace;
        my @answers = map { $nginx->request($method, $path =~ s/\{\w+\}/'f' x 24/ger, {%$as, 'Content-Type' => 'application/json', %{$_->{headers}}}, encode_json($_->{json})) }
          map { $send->($_) } $max, $max + 1;
        isnt $answers[0]->status, 400, "$name: $what of $max characters" or diag $answers[0]->to_string;
        is $answers[1]->status, 400, '... and of one more, which is too long' or diag $answers[1]->to_string;
        like $answers[1]->body, qr/\Q$what\E/, '... by its name';
        $tried{$what} = 1;
    };

    for my $name (sort grep { operations()->{$_}{requestBody} } keys %{operations()}) {
        my $doc     = $doc{document_of($name)};
        my $content = operations()->{$name}{requestBody}{content}{'application/json'};

        for my $variant (variants($doc, $content->{schema})) {
            my ($body) = grep {
                my $body = $_;
                !grep { my $key = $_; $variant->{$key}{enum} && !grep { ($_ // '') eq $body->{$key} } @{$variant->{$key}{enum}} } keys %$body
            } examples($doc, $content);

            for my $property (grep { $variant->{$_}{maxLength} } sort keys %$variant) {
                $try->($name, $property, $variant->{$property}{maxLength}, sub ($length) { {headers => {}, json => {%$body, $property => text_of($property, $length)}} });
            }
        }

        for my $header (grep { $_->{in} eq 'header' && $_->{schema}{maxLength} } map { follow($doc, $_) } @{operations()->{$name}{parameters} // []}) {
            $try->($name, $header->{name}, $header->{schema}{maxLength}, sub ($length) { {headers => {$header->{name} => text_of('', $length)}, json => body_example($name)} });
        }
    }

    is_deeply [sort keys %tried], [qw(Idempotency-Key customerReference customer_reference email firstName idempotencyKey lastName name note preview_token profileImageUrl reason state url zipcode)], 'each that has a bound';
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
    call('GET /_lines/admin/operations', 400, 'a page of none', %operator, query => 'state=stuck&limit=0');
    call('GET /_lines/admin/operations', 401, 'nobody', query => 'state=stuck');

    call('GET /_lines/admin/operations', 200, 'those that run', %operator, query => 'state=running');
    $redis->cli('SET', 'lines:{ix:' . 'e' x 24 . '}', 'w:one');
    call('GET /_lines/admin/operations/{id}', 200, 'its story', %operator, params => ['e' x 24]);
    call('GET /_lines/admin/operations/{id}', 404, 'none', %operator, params => ['f' x 24]);
    call('GET /_lines/admin/operations/{id}', 400, 'no id', %operator, params => ['x']);
    call('GET /_lines/admin/operations/{id}', 401, 'nobody', params => ['e' x 24]);

    for my $what (qw(lines events)) {
        for my $path (map {"GET /_lines/admin/$_/{id}/$what"} qw(workspaces accounts)) {
            my $page = call($path, 200, 'a page', %operator, params => ['one'], query => 'limit=1');
            ok scalar(@{$page->json("/$what")}), '... of some' or diag $page->to_string;
            call($path, 400, 'a page of none', %operator, params => ['one'], query => 'limit=0');
            call($path, 404, 'of nobody', %operator, params => ['nobody']);
            call($path, 401, 'to nobody', params => ['one']);
        }
    }

    call('GET /_lines/admin/node', 200, 'the node', %operator);
    call('GET /_lines/admin/node', 401, 'to nobody');

    my $session = '/_lines/admin/session';
    my $begun   = call("POST $session", 201, 'a session', %operator);
    my $cookie = 'lines_session=' . (($begun->header('Set-Cookie') // '') =~ /^lines_session_\d+=(\w+)/)[0];
    my @cookie = (as => {Cookie => $cookie});
    my @own    = (headers => {'X-Lines-Console' => 1});
    call("POST $session", 401, 'of nobody');
    call("GET $session", 200, 'told of', @cookie, @own);
    call("GET $session", 200, 'of a token', %operator);
    call("GET $session", 401, 'of nobody');
    call("$_ $session", 403, 'from elsewhere', @cookie) for qw(GET DELETE);
    call("DELETE $session", 404, 'of a token', %operator);
    call("DELETE $session", 401, 'of nobody');
    call("DELETE $session", 200, 'ended', @cookie, @own);

    my $retry = 'POST /_lines/admin/operations/{id}/retry';
    my $paid  = $nginx->post_json('/api/line-requests', \%email, $workspace{one})->json('/line/_id');
    call($retry, 200, 'tried again', %operator, params => [$paid]);
    call($retry, 404, 'none', %operator, params => ['f' x 24]);
    call($retry, 400, 'no id', %operator, params => ['x']);
    call($retry, 401, 'nobody', params => [$paid]);

    my $resolve = 'POST /_lines/admin/operations/{id}/resolve';
    my @stuck   = (params => ['e' x 24], %operator);
    $redis->cli('SET', 'lines:{ix:' . 'e' x 24 . '}', 'w:one');
    call($resolve, 409, 'the other word', @stuck, json => {as => 'canceled', note => 'n'});
    call($resolve, 200, 'resolved', @stuck, json => {as => 'settled', note => 'n'});
    call($resolve, 409, 'not stuck', %operator, params => [$paid], json => {as => 'canceled', note => 'n'});
    call($resolve, 400, 'no note', @stuck, json => {as => 'settled'});
    call($resolve, 404, 'none', %operator, params => ['f' x 24], json => {as => 'settled', note => 'n'});
    call($resolve, 401, 'nobody', params => ['e' x 24], json => {as => 'settled', note => 'n'});
    bodies($resolve, @stuck);

    my $confirm = 'POST /_lines/admin/database/confirm';
    call('GET /_lines/admin/database', 200, 'the database', %operator);
    call('GET /_lines/admin/database', 401, 'nobody');
    call($confirm, 200, 'it is this one', %operator);
    call($confirm, 401, 'nobody');

    call('GET /_lines/admin/audit', 200, 'nothing disagrees', %operator);
    my @audit = map { "lines:{audit}:$_" } qw(found order doubts);
    Test::Lines::Script->new(redis => $redis)->run(audit_found => \@audit, 'orphan', 'repaired', 'w:one', 'l', 'sub_1', 'no such line', 'active', 9, '1');
    is call('GET /_lines/admin/audit', 200, 'one does', %operator)->json('/disagreements/0/kind'), 'orphan', 'it is told';
    call('GET /_lines/admin/audit', 401, 'nobody');
    call('POST /_lines/admin/audit', 200, 'another pass', %operator);
    call('GET /_lines/admin/audit-log', 200, 'what was asked for', %operator);
    call('GET /_lines/admin/audit-log', 400, 'a page of none', %operator, query => 'limit=0');
    call('GET /_lines/admin/audit-log', 401, 'nobody');
    call('POST /_lines/admin/audit', 401, 'nobody');

    call('GET /_lines/metrics', 200, 'text', headers => {Accept => 'text/plain'});
    call('GET /_lines/metrics', 200, 'OpenMetrics', headers => {Accept => 'application/openmetrics-text'});
    call('GET /_lines/ready', 200, 'ready');
};

subtest 'what no document has a place for' => sub {
    my %shape = ('/api/' => 'Error', '/accounts/' => 'AccountError', '/_lines/admin/' => 'Error');
    for my $prefix (sort keys %shape) {
        my @required = sort @{$doc{client}{components}{schemas}{$shape{$prefix}}{required}};
        my %paths    = map { %{$_->{paths}} } values %doc;
        my ($path)   = grep {/^\Q$prefix\E[^{]*$/} sort keys %paths;
        for ([GET => "${prefix}nowhere", 404], [PATCH => $path, 405]) {
            my $answer = $nginx->request(@$_[0, 1]);
            is $answer->status, $_->[2], "@$_";
            is_deeply [sort keys %{$answer->json}], \@required, "in the shape of $shape{$prefix}";
        }
        my $allow = join ', ', map { $_ eq 'GET' ? 'GET, HEAD' : $_ } grep { $paths{$path}{lc $_} } qw(GET POST PUT DELETE);
        is $nginx->request(PATCH => $path)->header('Allow'), $allow, "Allow of $path";
    }
};

subtest 'Redis is away' => sub {
    my @ids = ('f' x 24, 'api');
    my $cookie = 'lines_session=' . ($nginx->request(POST => '/_lines/admin/session', $operator{as}, '')->header('Set-Cookie') =~ /^lines_session_\d+=(\w+)/)[0];
    $redis->pause;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 503 }, 30, 'readiness to end');

    for my $name (sort grep {/ \/(?:api|accounts|_lines)\/(?!metrics|admin\/(?:limits|node)$)/} keys %{operations()}) {
        my $as = $name =~ /admin/ ? $operator{as} : $name =~ /accounts/ ? $account{one}
          : $name =~ /check/ ? $nginx->bearer($clerk->token(org => 'one')) : $workspace{one};
        $as = {Cookie => $cookie, 'X-Lines-Console' => 1} if $name =~ /^(?:GET|DELETE).*session$/;
        my $example = body_example($name);
        my $query   = $name =~ /check/ ? 'id=' . 'f' x 24 : $name =~ /admin\/lines$/ ? 'status=provisioning' : $name =~ /operations$/ ? 'state=stuck' : '';
        my @params  = $name =~ /\{(?:phone_)?number\}/ ? '+14155551001' : $name =~ /ticket/ ? 1 : @ids;
        call($name, 503, 'not now', as => $as, params => \@params, query => $query, ($example ? (json => $example) : ()));
    }

    $redis->cont;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'readiness');
};

# what would take a race, a broken billing or a thousand plans is seen by other tests
my %rare = (
    'GET /accounts/lines/line-request/{ticket}'           => [410],
    'POST /accounts/lines/add-line'                       => [410],
    'GET /_lines/admin/database'                          => [404],
    'POST /_lines/admin/database/confirm'                 => [404],
    'POST /accounts/lines/provision-confirm'              => [409],
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
    my %wrong = map { $_ => decode_json(encode_json($doc{$_})) } keys %doc;
    $wrong{client}{components}{schemas}{Line}{properties}{isActive} = {type => 'integer'};
    $wrong{client}{components}{headers}{RequestId}{schema} = {type => 'string', pattern => '^!'};
    delete $wrong{operator}{components}{schemas}{Readiness}{properties}{zone};

    # the one refers to the other as they do in conf/
    my %spec  = map { $_ => $t->file($file{$_}, encode_json($wrong{$_})) } sort keys %wrong;
    my %other = map { $_ => through($t->prism(name => "prism-wrong-$_", upstream => $nginx->url, options => [], spec => $spec{$_})) } sort keys %spec;

    my @line  = violations($other{client}->get('/api/line-requests', $workspace{one}));
    ok scalar(grep {/isActive/} @line), 'a member of another type' or diag explain \@line;
    my @ready = violations($other{operator}->get('/_lines/ready'));
    ok scalar(grep {/body.*zone|additional/} @ready), 'a member that is not described' or diag explain \@ready;
    ok scalar(grep {/header/} @ready), 'a header of another kind' or diag explain \@ready;
};

$t->done;
