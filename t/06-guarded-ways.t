# What must not change where the module's own calls go, or whom they believe: redirects, other handlers, caches, and what
# other locations leave behind: TLS sessions and kept connections.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::URL;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::Tls;

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $t     = Test::Lines->new;
my $dir   = $t->dir;
my $redis = $t->redis;
my $tls  = Test::Lines::Tls->new(t => $t)->ca('ca')->ca('otherca');
my $key  = $t->file('stripe.key', "sk_live_secret\n");
my $common = 'internal; proxy_next_upstream off; subrequest_output_buffer_size 256k; proxy_http_version 1.1; proxy_set_header Connection "";';
my $verified = "proxy_ssl_verify on; proxy_ssl_server_name on; proxy_set_header Authorization \"Bearer \$lines_billing_key\";";
my $refused = qr/\[alert\].* lines: "lines_\w+": a call to "[^"]+" (?:would .*: it is not sent|was redirected to .*, which is refused)\b/;

sub call ($nginx, $uri) {
    my $url = Mojo::URL->new('/debug')->query(op => 'plain', uri => $uri, method => 'POST', body => 'secret=line', timeout => 5000);
    return $nginx->get("$url")->json // {};
}
sub bill ($nginx) { $nginx->get('/debug?op=invoice&id=in_1')->json // {} }
sub lives ($nginx) { unlike $nginx->error_log, qr/exited on signal/, 'no worker died' }

subtest 'X-Accel-Redirect' => sub {
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $probe = $t->upstream(json => {status => 'healthy'}, headers => {'X-Accel-Redirect' => '/api/lines/by-user'});
    $clerk->upstream->set(headers => {'X-Accel-Redirect' => '/api/lines/by-user'});

    my $nginx = $t->nginx(redis => $redis, plans => "lines_plan bulk phone included=1000;\n", http => "lines_probe /_lines/probe plain=loopback;\n",
        server => $clerk->location . $clerk->directive(authorized_party => $clerk->party) . "location = /_lines/probe { internal; proxy_pass @{[$probe->url]}; }\n");

    my $workspace = $nginx->workspace(org_1 => {plan => 'bulk'});
    my $id = $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'}, $nginx->bearer($workspace))->json('/line/_id');
    $nginx->admin(POST => "lines/$id/status", {status => 'active', phone => '+14155550123'});

    my $answer = $nginx->get("/api/lines/check-availability?id=$id", $nginx->bearer($clerk->token(org => 'org_1')));
    is $answer->status, 200, 'a session, by keys that came with it';
    is $answer->json('/status'), 'healthy', 'a probe that answered with it';
    lives $nginx;
    $nginx->quit;
};

subtest 'other ways within nginx' => sub {
    my $up   = $t->upstream(json => {});
    my $pass = "proxy_pass @{[$up->url]};";
    my $echo = $t->load_modules('ngx_http_echo_module');
    my $dead = 'http://127.0.0.1:' . $t->free_port;

    my %ways = (
        ''     => $pass,
        other  => "$pass rewrite ^ /_lines/probe/ last;",
        files  => "$pass try_files /none /_lines/probe/;",
        cached => "$pass proxy_cache answers;",
        image  => "$pass empty_gif;",
        page   => "$pass return 200 '{}';",
        dead   => "proxy_pass $dead; error_page 502 /_lines/probe/;",
        $echo ? (echo => 'echo_exec /_lines/probe/;') : (),
    );

    my $nginx = $t->nginx(
        module => 'failpoints',
        main   => $echo // '',
        http   => "lines_probe /_lines/probe/ plain=loopback;\nproxy_cache_path $dir/cache keys_zone=answers:1m;\n",
        server => join "\n", 'location = /debug { lines_billing_debug; }',
        map {"location /_lines/probe/$_ { $common $ways{$_} }"} sort keys %ways
    );
    $nginx->allow($refused);

    my $asks = sub ($way, $times, $transport) {
        $up->clear;
        is call($nginx, "/_lines/probe/$way")->{transport}, $transport, "'$way': $transport";
        is scalar @{$up->requests}, $times, '... which is true';
    };

    for (1 .. 3) {
        $asks->($_, 1, 'complete') for '', 'other';
        $asks->($_, 0, 'unsent') for grep { !/^(?:other|)$/ } sort keys %ways;
    }

    my $log = $nginx->error_log;
    like $log, qr{"lines_probe": a call to "/_lines/probe/" was redirected to "/_lines/probe/", which is refused}, 'a redirect is told';
    like $log, qr{would go through "proxy_cache"}, 'a cache as well';
    like $log, qr{would not go through "proxy_pass"}, 'and another handler';
    lives $nginx;
    $nginx->quit;
};

my $http = "lines_billing /_lines/billing/ key_file=$key deployment=prod;\nlines_probe /_lines/probe/;\n";

subtest 'TLS sessions of other locations' => sub {

    # as nearly all on the Internet do, these resume sessions
    my %port;
    my $keys = sub ($port) { my $f = path($dir, "side.$port.log"); return scalar(() = (-e $f ? $f->slurp : '') =~ /Bearer/g) };
    my $side = join '', map {
        my ($ca, $c) = ($_, $tls->certificate($_, "side-$_", 'api.stripe.com'));
        my $port = $port{$ca} = $t->free_port;
        "server { listen 127.0.0.1:$port ssl; ssl_certificate $c->{cert}; ssl_certificate_key $c->{key}; ssl_session_cache shared:s$port:1m;
            access_log $dir/side.$port.log side; location / { default_type application/json; return 200 '{}'; } }\n"
    } qw(ca otherca);
    my $other = $t->nginx(http => qq{log_format side '[\$http_authorization]';\n$side});

    for my $ca (qw(ca otherca)) {
        my $to = "proxy_pass https://127.0.0.1:$port{$ca};";
        my $nginx = $t->nginx(module => 'failpoints', redis => $redis, http => $http, server => join "\n",
            (map {"location /_lines/$_/ { $common $verified proxy_ssl_name api.stripe.com; proxy_ssl_trusted_certificate $dir/ca.pem; $to }"} qw(billing probe)),
            "location = /careless { $to }",
            "location = /partner { $to proxy_ssl_verify on; proxy_ssl_name api.stripe.com; proxy_ssl_trusted_certificate $dir/$ca.pem; }",
            'location = /debug { lines_billing_debug; }');

        for my $location ($ca eq 'ca' ? '/careless' : '/partner') {
            is $nginx->get($location)->status, 200, "$location leaves a session";
            my $sent = bill($nginx)->{outcome};
            is $sent eq 'unsent', $ca ne 'ca', 'a call goes by its own settings';
            # that side logs once it has answered
            wait_for(sub { $keys->($port{$ca}) }, 30, 'the log of the other side') if $ca eq 'ca';
            is $keys->($port{$ca}), $ca eq 'ca' ? 1 : 0, '... and the key with it';
        }
        $nginx->quit;
    }
    $other->quit;
};

subtest 'connections that other calls keep' => sub {
    my $other = $t->upstream(json => {}, tls => $tls->certificate('ca', 'other', 'probe.example.com'));
    my $twin  = $t->upstream(json => {}, tls => $tls->certificate('otherca', 'twin', 'api.stripe.com'));

    for (
        ['another name', $other, ['api.stripe.com', 'ca'], ['probe.example.com', 'ca']],
        ['another CA', $twin, ['api.stripe.com', 'ca'], ['api.stripe.com', 'otherca']]
      )
    {
        my ($what, $up, @settings) = @$_;
        my $nginx = $t->nginx(module => 'failpoints', redis => $redis, http => "$http upstream egress { server 127.0.0.1:@{[$up->port]}; keepalive 4; }\n",
            server => join "\n", 'location = /debug { lines_billing_debug; }', map {
                my ($name, $ca) = @{shift @settings};
                "location /_lines/$_/ { $common $verified set \$name $name; proxy_ssl_name \$name; proxy_ssl_trusted_certificate $dir/$ca.pem; proxy_pass https://egress; }"
            } qw(billing probe));
        $nginx->allow($refused);

        is bill($nginx)->{outcome}, 'unsent', "$what: this is not whom billing means";
        is call($nginx, '/_lines/probe/x')->{transport}, 'complete', 'but whom a probe does';
        is call($nginx, '/_lines/probe/x')->{transport}, 'complete', '... again, on the connection that is kept';
        $up->clear;
        is bill($nginx)->{outcome}, 'unsent', 'which is not for billing';
        is scalar @{$up->requests}, 0, 'nothing arrives';
        $nginx->quit;
    }
};

$t->done;
