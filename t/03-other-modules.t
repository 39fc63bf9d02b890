# Among other modules: the loader has one name space for all of them, where the
# first of a name is everybody's.  What the module shows, and what it takes; then
# nginx with the modules that the distribution packages, in both orders.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'nchan has the same Redis';
use Mojo::File qw(path);
use Test::Lines qw(wait_for concurrently);

my $t   = Test::Lines->new;
my $ada = {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'};

sub symbols ($which, $file) {
    return map { (split ' ')[-1] =~ s/\@.*//r } split /\n/, qx{nm -D --$which-only \Q$file\E};
}

my @built = grep { -e } $ENV{LINES_MODULE}, $ENV{LINES_MODULE_FAILPOINTS} || ();
my @shown = qw(ngx_module_names ngx_module_order ngx_modules);

for my $module (@built) {
    my $name = path($module)->dirname->basename;

    is_deeply [sort(symbols(defined => $module))], \@shown, "$name: three symbols are to be seen";
    is_deeply [grep { /^(?:__)?(?:redis|sds|hi_)/ } symbols(undefined => $module)], [], 'none of hiredis is taken from elsewhere';
    unlike qx{readelf -d \Q$module\E}, qr/NEEDED.*hiredis/, 'and no library of it';
}

# The modules that the distribution has enabled for its nginx, in its order.

my $nginx   = Test::Lines::Nginx->new(t => $t, name => 'none');
my ($where) = qx{\Q${\$nginx->binary}\E -V 2>&1} =~ /--modules-path=(\S+)/;
my %load;

for my $file (sort glob '/etc/nginx/modules-enabled/*.conf') {
    my ($so) = path($file)->slurp =~ m{^\s*load_module\s+modules/(\S+\.so);}m or next;
    my $path = path($where // '/none', $so);
    $load{"$file"} = "load_module $path;" if -e $path;
}

delete $load{$_} for grep { $load{$_} =~ /ngx_http_lines_module/ } keys %load;

my ($code, $output) = $t->test_config(main => join ' ', @load{sort keys %load});

if (!%load || $output =~ /is not binary compatible|version \d+ instead of/) {
    diag 'no packaged module here that fits this nginx: see conf/packages.sh';
    $t->done;
    exit;
}

sub load (@patterns) {
    return join "\n", map { my $file = $_; grep { $_ =~ /\/\w*$file\w*\.so/ } @load{sort keys %load} } @patterns;
}

# what is packaged and loaded shows nothing that the module takes

subtest 'no other module has what the module takes' => sub {
    my %taken = map { $_ => 1 } symbols(undefined => $ENV{LINES_MODULE});

    for my $load (@load{sort keys %load}) {
        my ($so) = $load =~ /(\S+\.so)/;
        my @same = grep { $taken{$_} } symbols(defined => $so);
        is_deeply \@same, [], path($so)->basename;
    }
};

sub both_orders ($modules, $code) {
    for my $order ('Lines first', 'Lines last') {
        subtest $order => sub { $code->(($order eq 'Lines first' ? 'main' : 'before') => $modules) };
    }
}

# Workers that keep dying at their start come to be ready now and then: the log
# tells.

sub stays_up ($nginx) {
    unlike $nginx->error_log, qr/exited on signal/, 'no worker has died';
}

# A subscriber waits, its message comes.

sub message_p ($nginx, $channel, $count) {
    my $got  = $nginx->get_p("/sub/$channel")->then(sub ($answer) { $count->{message}++ if $answer->body eq "to $channel" });
    my $sent = $nginx->request_p(POST => "/pub/$channel", {}, "to $channel")->then(sub ($answer) { $count->{sent}++ if $answer->status =~ /^20[12]$/ });

    return $got, $sent;
}

my $redis   = $t->redis;
my $patient = 'timeout=5s connect_timeout=10s';

subtest 'nchan, with Redis for both' => sub {
    my $nchan = load('nchan');
    plan skip_all => 'libnginx-mod-nchan is not installed' unless $nchan;

    both_orders($nchan, sub (%order) {
        my $nginx = $t->nginx(
            %order,
            redis         => $redis,
            redis_options => $patient,
            workers       => 2,
            http          => "upstream messages { nchan_redis_server @{[$redis->url =~ s{/0$}{/1}r]}; }",
            server        => <<'END'
location ~ ^/pub/(\w+)$ { nchan_publisher; nchan_channel_id $1; nchan_redis_pass messages; }
location ~ ^/sub/(\w+)$ { nchan_subscriber longpoll; nchan_channel_id $1; nchan_redis_pass messages; }
END
        );

        wait_for(sub { $nginx->post('/pub/first', 'x')->status =~ /^20[12]$/ }, 30, 'nchan to have its Redis');
        $nginx->wait_redis;

        my $key = $nginx->workspace("order$$" . rand =~ s/\D//gr => {plan => 'growth', customer => 'cus_card'});
        my %count;

        # messages come, and lines are read and asked for meanwhile
        concurrently(100, sub ($i) {
            my @message = message_p($nginx, "channel$i", \%count);
            my $made = $nginx->post_json_p('/api/line-requests', $ada, $nginx->bearer($key, 'Idempotency-Key' => "$i"))
              ->then(sub ($answer) { $count{answered}++ if $answer->status =~ /^(?:201|402|403|503)$/; $count{made}++ if $answer->status == 201 });
            my $read = $nginx->get_p('/api/lines/by-user', $nginx->bearer($key))->then(sub ($answer) { $count{read}++ if $answer->status == 200 });

            return Mojo::Promise->all(@message, $made, $read);
        }, 20);

        is $count{sent},    100, 'all messages are accepted';
        is $count{message}, 100, 'and arrive';
        is $count{read},    100, 'lines are listed';
        is $count{made},    2,   'and made, as many as the plan has' or diag explain \%count;

        stays_up($nginx);

        # From here on nchan has its own memory, no Redis: alone, without this module, nchan 1.3.6 dies within a few
        # reloads, as the timers of its Redis upstreams keep the log of the configuration before, which nginx has freed
        # (nchan_init_timer at its reading, ngx_add_timer in nodeset_set_status at the start of a worker).
        $nginx->http('')->server($nginx->server =~ s/ nchan_redis_pass messages;//gr);

        for my $reload (1, 2) {
            $nginx->reload(wait_old => 1);
            $nginx->wait_redis;

            my %count;
            concurrently(20, sub ($i) { Mojo::Promise->all(message_p($nginx, "reload$reload$i", \%count)) });

            is_deeply \%count, {sent => 20, message => 20}, "reload $reload: messages arrive";
            is @{$nginx->get('/api/lines/by-user', $nginx->bearer($key))->json('/lines')}, 2, 'lines are listed';
        }

        stays_up($nginx);
        $nginx->quit;
    });
};

# What those may know who answer behind lines_auth.

sub serves ($nginx, @paths) {
    my $key = $nginx->wait_redis->workspace(one => {plan => 'growth'});

    for my $path (@paths) {
        is $nginx->get($path)->status, 401, "$path: protected";
        is $nginx->get($path, $nginx->bearer($key))->body, "w:one\n", 'the tenant is known';
    }

    is $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status, 200, 'lines are served';
    stays_up($nginx);
    $nginx->quit;
}

my $script = $t->file('tenant.js', "function tenant(r) { r.return(200, r.variables.lines_tenant + '\\n'); }\nexport default {tenant};\n");

my %http = (
    lua => '',
    js  => "js_import tenant from $script;"
);
my %server = (
    lua => 'location = /lua { lines_auth workspace; content_by_lua_block { ngx.say(ngx.var.lines_tenant) } }',
    js  => 'location = /js  { lines_auth workspace; js_content tenant.tenant; }'
);

my %needs = (lua => ['ndk', 'http_lua'], js => ['http_js']);

for my $name ('lua', 'js') {
    subtest $name => sub {
        plan skip_all => "libnginx-mod-http-$name is not installed" unless load("http_$name");

        both_orders(load(@{$needs{$name}}), sub (%order) {
            serves($t->nginx(%order, redis => $redis, redis_options => $patient, http => $http{$name}, server => $server{$name}), "/$name");
        });
    };
}

subtest 'all that are packaged' => sub {
    my @there = grep { load("http_$_") } 'lua', 'js';
    note join "\n", @load{sort keys %load};

    both_orders(load(''), sub (%order) {
        serves(
            $t->nginx(
                %order,
                redis         => $redis,
                redis_options => $patient,
                http          => join("\n", @http{@there}),
                server        => join("\n", @server{@there})
            ),
            map {"/$_"} @there
        );
    });
};

$t->done;
