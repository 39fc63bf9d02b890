# The module's directives and handlers among nginx' own: blocks of a location, nested and named locations, redirects,
# subrequests, and all that lets a request in or keeps it out.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::File qw(path);
use Test::More;
use Test::Lines;
use Test::Lines::H2;
use Time::HiRes qw(time);

my $t     = Test::Lines->new(timeout => 400);
my $redis = $t->redis;
my $hook  = $t->file('hook.secret', "whsec_1\n");
my $token = $t->admin_token_file;
my $www   = path($t->dir, 'www');
my $up    = $t->upstream(handler => sub ($c, $state) { $c->render(text => 'upstream ' . $c->req->method . ' ' . $c->req->body) });
my $proxy = 'proxy_pass ' . $up->url . ';';

$t->file('www/file',        'a file');
$t->file('www/nested/file', 'a nested file');

# what answers: its directive, the path under its location (without one, the location may be any), and what then comes
my %handler = (
    workspace => {directive => 'lines_workspace_api;',                     under => 'lines/by-user',  like => qr/^\{"lines":\[\]\}$/},
    account   => {directive => 'lines_account_api;',                       under => 'lines',          like => qr{^\{"status":"SUCCESS"|"lines":\[\]}, refusal => qr/^\{"status":"ERROR","message":"(?:Forbidden|Not found)"\}$/},
    admin     => {directive => "lines_admin token_file=$token;",           under => 'workspaces/one', like => qr/"id":"one"/},
    webhook   => {directive => "lines_billing_webhook secret_file=$hook;", post => 1,                 like => qr/^\{"received":true\}$/},
    ready     => {directive => 'lines_ready;',                                                        like => qr/^\{"ready":true/},
    metrics   => {directive => 'lines_metrics;',                                                      like => qr{^# HELP lines_http_requests}m},
    behind    => {directive => "lines_auth workspace; lines_rate_limit rate=1000r/s burst=1000; $proxy", gateway => 1, like => qr/^upstream GET/, refusal => qr/<center>nginx/},
);

# where it is: L is its location, D its directive, LU the URI that is asked for. What is not said otherwise answers as
# without all this. "from" is another URI to ask for; a refusal of nginx' own is in the words of the API that it is before.
my @places = (
    ['alone',                    'location =L { D }'],
    ['if, true',                 'location =L { D if ($args ~ "") { add_header X-If 1 always; } }',                      header => 'X-If'],
    ['if, by method',            'location =L { D if ($request_method ~ "^(GET|POST|HEAD)$") { add_header X-If 1 always; } }', header => 'X-If'],
    ['if, false',                'location =L { D if ($arg_x) { return 418; } }'],
    ['if, return',               'location =L { D if ($args = "") { return 418 "x"; } }',                                status => 418],
    ['if, proxy_pass',           "location =L { D if (\$args = '') { $proxy } }",                                        like => qr/^upstream/, open => 1, gateway_not => 1],
    ['if, two',                  'location =L { D if ($args = "") { set $a 1; } if ($a) { add_header X-If $a always; } }', header => 'X-If'],
    ['if, break',                'location =L { D if ($args = "") { break; } add_header X-If 1 always; }',               header => undef],
    ['if, root',                 "location =L { D root $www; if (\$args = '') { root $www/nested; } }"],
    ['if, limit_rate',           'location =L { D if ($args = "") { set $limit_rate 1m; } }'],
    ['if in the server',         'location =L { D } if ($arg_none) { return 418; }'],
    ['limit_except, inside',     'location =L { D limit_except OPTIONS { allow all; } }'],
    ['limit_except, outside',    'location =L { D limit_except GET POST { deny all; } }'],
    ['limit_except, denied',     'location =L { D limit_except OPTIONS { deny all; } }',                                 status => 403],
    ['limit_except, proxy_pass', "location =L { D limit_except OPTIONS { $proxy } }",                                    like => qr/^upstream/, open => 1, gateway_not => 1],
    ['limit_except and if',      'location =L { D limit_except GET POST { deny all; } if ($args = "") { add_header X-If 1 always; } }', header => 'X-If'],
    ['nested, beside',           "location =L { D location ~ ^/never { root $www; } }", nested => 1],
    ['an alias',                 "location =L { D alias $www/; }"],
    ['a root, and an index',     "root $www; location =L { D root $www/nested; index file; }"],
    ['error_page from',          'location =L { D error_page 401 404 /elsewhere; error_page 405 /elsewhere; }', gateway_open => 1],
    ['error_page to',            'location =L { D } location = /from { return 403; error_page 403 =200 LU; }',           from => '/from', post_not => 1, open => 1],
    ['error_page to, its status', 'location =L { D } location = /from { return 403; error_page 403 = LU; }',             from => '/from', post_not => 1],
    ['error_page to, the first status', 'location =L { D } location = /from { return 403; error_page 403 LU; }',         from => '/from', post_not => 1, status => 403, open => 1],
    ['try_files to',             "location =L { D } location = /from { root $www; try_files /none LU; }",                from => '/from'],
    ['try_files in',             "location =L { D root $www; try_files /none LU =404; }",                                status => 404, refusal => 1],
    ['rewrite, last',            'location =L { D } location = /from { rewrite ^ LU last; }',                            from => '/from'],
    ['rewrite, last, from the server', 'location =L { D } rewrite ^/from$ LU last;',                                     from => '/from'],
    ['rewrite in the location',  'location =L { D rewrite ^ LU break; }'],
    ['internal',                 'location =L { internal; D }',                                                          status => 404, refusal => 1],
    ['internal, inside',         'location =L { internal; D } location = /from { rewrite ^ LU last; }',                  from => '/from'],
    ['satisfy any, allowed',     "location =L { D satisfy any; allow all; auth_basic x; auth_basic_user_file /dev/null; }", gateway_open => 1],
    ['satisfy any, by auth_request', "location =L { D satisfy any; deny all; auth_request /yes; } location = /yes { return 204; }", gateway_open => 1],
    ['denied',                   'location =L { D deny all; }',                                                          status => 403, refusal => 1],
    ['auth_request, yes',        "location =L { D auth_request /yes; } location = /yes { proxy_pass_request_body off; proxy_set_header Content-Length ''; $proxy }"],
    ['auth_request, no',         "location =L { D auth_request /no; } location = /no { return 403; }",                    status => 403, refusal => 1],
    ['auth_request to',          'location =L { D } location = /from { root '. $www . '; auth_request LU; try_files /file =404; }', from => '/from', post_not => 1, like => qr/^a file$/],
    ['mirror to',                "location =L { D } location = /from { mirror LU; $proxy }",                             from => '/from', mirrored => 1, like => qr/^upstream/, open => 1],
    ['an ssi include',           "location =L { D } location = /from { root $www; ssi on; ssi_types *; try_files /SSI =404; }", from => '/from', post_not => 1, within => 1, open => 1],
    ['before a body',            "location =L { D } location = /from { root $www; default_type text/html; add_after_body LU; try_files /file =404; }", from => '/from', post_not => 1, after => 1, open => 1],
);

my @exact = (
    ['a named location',         'location @L { D } location = /from { root ' . $www . '; try_files /none @L; }',        from => '/from'],
    ['a named location and if',  'location @L { D if ($args = "") { add_header X-If 1 always; } } location = /from { root ' . $www . '; try_files /none @L; }', from => '/from', header => 'X-If'],
    ['error_page to a name',     'location @L { D } location = /from { auth_request /no; error_page 403 = @L; } location = /no { return 403; }', from => '/from'],
    ['a regex location',         'location ~ ^/re/x+$ { D }',                                                            from => '/re/xxxxxxxx'],
    ['a short regex location',   'location ~ ^/r { D if ($args = "") { add_header X-If 1 always; } }',                   from => '/really', header => 'X-If'],
    ['a prefix location',        'location /pre { D }',                                                                  from => '/pre'],
    ['under a prefix location',  'location /pre { D }',                                                                  from => '/pre/x', status => 404, like => qr/^\{"error":"Not found"\}$/, gateway_not => 1],
    ['a nested exact location',  "location /out/ { root $www; location = /out/in { D if (\$args = '') { add_header X-If 1 always; } } }", from => '/out/in', header => 'X-If'],
    ['another name inside',      'location = /from { rewrite ^ /other break; D }',                                       from => '/from'],
);

my @prefix = (
    ['a regex location',         'location ~ ^/re/ { D }',     refused => qr/must be in a prefix location that ends with "\/"/],
    ['an exact location',        'location = /re/ { D }',      refused => qr/must be in a prefix location/],
    ['a named location',         'location @re { D }',         refused => qr/must be in a prefix location/],
    ['without a slash',          'location /re { D }',         refused => qr/must be in a prefix location/],
    ['another name inside',      'location =L { rewrite ^ /other/x/y break; D }',                                        status => 404, like => qr/"(?:error|message)":"Not found"/],
    ['a nested location inside', "location =L { D location LUx/ { root $www; try_files /file =404; } }",                 more => 'x/y', open => 1, like => qr/^a file$/],
    ['nested, with a regex',     "location =L { D location ~ [.]txt\$ { root $www; try_files /file =404; } }",           more => '.txt', open => 1, like => qr/^a file$/],
    ['nested in another',        "location /out/ { D2 location =L { D } }"],
);

my (@all, @refused);
my $n = 0;

for my $name (sort keys %handler) {
    my $handler = $handler{$name};

    for my $place (@places, $handler->{under} ? @prefix : @exact) {
        my ($what, $text, %o) = @$place;
        next if $o{post_not} && $handler->{post} || $o{gateway_not} && $handler->{gateway} || $o{nested} && !$handler->{under};

        my $number = ++$n;
        my $under  = $handler->{under} // '';
        my $at     = ($text =~ /\bD2\b/ ? '/out' : '') . "/h$number" . ($under && '/');

        $text =~ s/\@L\b/\@h$number/g;
        $text =~ s/=L\b/$under ? $at : "= $at"/ge;
        $text =~ s/\bLU(x?)\b/$at$under$1/g;
        $text =~ s/\bSSI\b/ssi$number/g;
        $text =~ s/\bD2\b/lines_workspace_api;/g;
        $text =~ s/\bD\b/$handler->{directive}/g;
        $t->file("www/ssi$number", qq{[<!--# include virtual="$at$under" -->]}) if $text =~ /ssi/;

        my $one = {
            name   => "$name: $what",
            kind   => $name,
            own    => $handler->{like},
            host   => "h$number.x",
            text   => $text,
            path   => $o{from} // $at . $under . ($o{more} // ''),
            method => $handler->{post} ? 'POST' : 'GET',
            like   => !$o{status} ? $handler->{like} : !$o{refusal} ? undef : $handler->{refusal} // qr/^\{"error":"(?:Forbidden|Not found)"\}$/,
            status => 200,
            %o
        };
        push @{$o{refused} ? \@refused : \@all}, $one;
    }
}

my ($port, $h2_port) = ($t->free_port, $t->free_port);
my $servers = join "\n", map {"server { listen 127.0.0.1:$port; listen 127.0.0.1:$h2_port http2; server_name $_->{host}; $_->{text} }"} @all;

my $nginx = $t->nginx(redis => $redis, http => "server_names_hash_max_size 8192; variables_hash_max_size 4096;\n$servers");
my $key   = $nginx->workspace('one');
my ($id, $secret) = $nginx->account('one');
my $event = '{"id":"evt_1","object":"event","type":"x","livemode":false,"data":{"object":{}}}';
my $at    = int time;

my %headers = (
    workspace => {authorization => "Bearer $key"},
    account   => {'sb-api-key-id' => $id, 'sb-api-secret-key' => $secret},
    admin     => {authorization => 'Bearer ' . $t->admin_token},
    webhook   => {'stripe-signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$event", 'whsec_1')},
    ready     => {},
    metrics   => {},
    behind    => {authorization => "Bearer $key"}
);

sub right ($one, $answer, $over) {
    my $like = $one->{like} // qr//;
    my $text = $answer->body;
    my $ok   = $answer->status == $one->{status};

    $text =~ s/^\[(.*)\]$/$1/s or $ok = 0 if $one->{within};
    $text =~ s/^a file//       or $ok = 0 if $one->{after};
    $ok = 0 if $one->{mirrored} && $text ne "upstream $one->{method} " . ($one->{method} eq 'POST' ? $event : '');

    ok $ok && $text =~ $like, "$one->{name}, $over"
      or diag 'worker: ', $nginx->alive, ' ', $answer->error // '', ' ', $answer->to_string, "\n", $one->{text};
}

subtest 'every handler, in every place' => sub {
    for my $one (@all) {
        my $headers = $headers{$one->{kind}};
        my $body    = $one->{method} eq 'POST' ? $event : undef;

        my $answer = $nginx->request($one->{method}, "http://127.0.0.1:$port$one->{path}", {%$headers, Host => $one->{host}}, $body);
        right($one, $answer, 'HTTP/1.1');
        is $answer->header($one->{header}), 1, "$one->{name}: the block holds" if $one->{header};

        my $h2 = Test::Lines::H2->new(port => $h2_port);
        right($one, $h2->answer($h2->request($one->{method}, $one->{path}, {%$headers, host => $one->{host}}, $body), 20), 'HTTP/2');

        # who may not, may not there either
        next if $one->{kind} !~ /^(?:workspace|account|admin|webhook|behind)$/ || $one->{status} != 200 || $one->{open};
        next if $one->{gateway_open} && $one->{kind} eq 'behind';
        my $no = $one->{kind} eq 'webhook' ? 400 : 401;
        is $nginx->request($one->{method}, "http://127.0.0.1:$port$one->{path}", {Host => $one->{host}}, $body)->status, $no, "$one->{name}: not without a credential";
    }
};

subtest 'what is refused' => sub {
    for my $one (@refused) {
        my ($code, $output) = $t->test_config(redis => $redis, server => $one->{text});
        isnt $code, 0, $one->{name};
        like $output, $one->{refused}, '... and says so';
    }

    # a client that leaves sends such a request on, while it waits
    for my $name (sort keys %handler) {
        my ($code, $output) = $t->test_config(redis => $redis, server => "location /after/ { $handler{$name}{directive} post_action /x; }");
        like $output, qr{"post_action" cannot be used in location "/after/"}, "$name: post_action is refused";
        isnt $code, 0, '... before it starts';
    }

    for my $name (grep { $_ ne 'behind' } sort keys %handler) {
        for my $both ("$proxy $handler{$name}{directive}", "$handler{$name}{directive} $proxy", "$handler{$name}{directive} stub_status;") {
            my ($code, $output) = $t->test_config(redis => $redis, server => "location /both/ { $both }");
            like $output, qr/another handler|is duplicate/, "$name: another handler besides is refused" or diag $both;
            isnt $code, 0, '... before it starts';
        }
    }
};

# each directive in each kind of block: what it says of itself is what nginx -t says
my $source = path($t->root, 'src/ngx_http_lines_module.c')->slurp;
my %argument = (
    lines_auth          => 'workspace',
    lines_clerk         => 'off',
    lines_cors          => 'origin=https://a.example',
    lines_rate_limit    => 'rate=1r/s',
    lines_admin         => "token_file=$token",
    lines_billing_webhook => "secret_file=$hook",
    lines_deprecated_endpoints => 'on',
    lines_tenant_limits => 'tickets=1',
    lines_concurrency   => 'tenant=10',
    lines_console       => "dir=@{[$t->root]}/conf/console chart=@{[$t->file('chart.js', 'x')]}",
    lines_docs          => $t->file('api.html', q(<head><meta http-equiv="Content-Security-Policy" content="default-src 'none'"></head>)),
);

subtest 'every directive, in every block' => sub {
    while ($source =~ /\{ ngx_string\("(lines_\w+)"\),\s+([A-Z0-9_|\s]+),/g) {
        my ($name, $type) = ($1, $2);
        my $here = $type =~ /NGX_HTTP_LOC_CONF/;
        my $text = join(' ', $name, $argument{$name} // ()) . ';';
        my $slash = $name =~ /_api$|^lines_(?:admin|console)$/;

        my @blocks = (
            ['a location',        "location /x/ { $text }",                                       $here],
            ['a nested location', "location / { root $www; location /x/ { $text } }",             $here],
            ['a named location',  "location \@x { $text }",                                       $here && !$slash],
            ['if',                "location /x/ { root $www; if (\$arg_x) { $text } }",           0],
            ['if in the server',  "if (\$arg_x) { $text }",                                       0],
            ['limit_except',      "location /x/ { root $www; limit_except GET { $text } }",       0],
        );

        for (@blocks) {
            my ($block, $server, $fine) = @$_;
            my ($code, $output) = $t->test_config(redis => $redis, server => $server);

            if ($fine) { is $code, 0, "$name in $block" or diag $output }
            else {
                isnt $code, 0, "$name is not for $block";
                like $output, $here && $slash && $block eq 'a named location' ? qr/"$name" must be in a prefix location/ : qr/"$name" directive is not allowed here/, '... and nginx says so';
            }
        }
    }
};

subtest 'bodies' => sub {
    my $nginx = $t->nginx(redis => $redis, h2 => 1, server => <<"END");
client_max_body_size 1k;
location /x/ {
    lines_workspace_api;
    location /x/nested/ { $proxy }
    location /x/own/    { client_max_body_size 0; $proxy }
}
location /if/  { lines_workspace_api; if (\$args = "") { add_header X-If 1 always; } }
location /lim/ { lines_workspace_api; limit_except OPTIONS { allow all; } }
location /elsewhere/if/  { lines_workspace_api; if (\$request_method = POST) { $proxy } }
location /elsewhere/lim/ { lines_workspace_api; limit_except GET { $proxy } }
END
    my $two  = '{"channelType":"phone","firstName":"Ada","lastName":"Lovelace","x":"' . ('y' x 2000) . '"}';

    for my $at (qw(x if lim)) {
        my $key    = $nginx->workspace("bodies_$at");
        my $auth   = {Authorization => "Bearer $key", 'Content-Type' => 'application/json'};
        my $answer = $nginx->request(POST => "/$at/line-requests", $auth, $two);
        is $answer->status, 201, "/$at/: an API has a bound of its own" or diag $answer->to_string;
        $answer = $nginx->request(POST => "/$at/line-requests", $auth, '[' x 300_000);
        is $answer->status, 413, '... which holds';
        like $answer->body, qr/^\{"error":"Request body is too large/, '... in its own words';

        my $chunked = $nginx->raw("POST /$at/line-requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
            . "Content-Type: application/json\r\nAuthorization: Bearer $key\r\n\r\n" . sprintf("%x\r\n%s\r\n0\r\n\r\n", length $two, $two));
        like $chunked, qr{^HTTP/1.1 201}, '... of chunked bodies as well';
    }

    # what a block sends elsewhere, however it came
    for my $at (qw(if lim)) {
        my $head = "POST /elsewhere/$at/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        my %body = (
            'with a length' => sub ($n) { "Content-Length: $n\r\n\r\n" . 'x' x $n },
            'in chunks'     => sub ($n) { sprintf "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", $n, 'x' x $n }
        );

        for my $how (sort keys %body) {
            like $nginx->raw($head . $body{$how}->(2000)),   qr{^HTTP/1.1 200 }, "/elsewhere/$at/: the API's bound, $how";
            like $nginx->raw($head . $body{$how}->(70_000)), qr{^HTTP/1.1 413 }, '... which holds';
        }
    }

    is $nginx->request(POST => '/x/nested/a', {}, 'z' x 2000)->status, 413, 'a nested location has that of nginx';
    is $nginx->request(POST => '/x/own/a',    {}, 'z' x 2000)->status, 200, '... or its own';

    # a GET with a body that comes late: it is dropped, and the connection is of use for the next request
    my $socket = $nginx->socket;
    my $get    = "GET /x/lines/by-user HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n";
    syswrite $socket, "${get}Content-Length: 60000\r\n\r\n" . 'x' x 10;
    select undef, undef, undef, 0.05;
    syswrite $socket, 'x' x 59_990 . "${get}Connection: close\r\n\r\n";
    my ($in, $began) = ('', time);
    while (sysread $socket, $in, 65536, length $in) { }
    is scalar(() = $in =~ m{HTTP/1.1 200 }g), 2, 'two answers on one connection' or diag substr $in, 0, 1000;
    cmp_ok time - $began, '<', 3 * $t->slow, '... at once';
};

$t->done;
