# The image: Lines is served from its file system as an engine would run it, with nothing but what the image and the
# mounted files have.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'the image has a Redis of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Client;
use Test::Lines::Container;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);

Test::Lines::Container->alone;

my $t    = Test::Lines->new;
my $root = $t->root;

# what mounted secrets are: files of the user that the container has
sub secret ($name, $text) {
    my $file = $t->file("etc/$name", "$text\n");
    chown 33, 33, $file;
    return $text;
}

my $token = secret('admin.token', 'operator' x 4);
my $key   = secret('stripe.key',  'sk_test_lines');
my $whsec = secret('webhook.key', 'whsec_test');
system(qw(chown 33:33), $t->dir . '/etc');

system('sh', "$root/docker/secrets.sh", $t->dir . '/etc') == 0 or die "secrets.sh failed\n";
chown 33, 33, glob $t->dir . '/etc/*';

my $redis = $t->redis(port => 6379, conf => 'include ' . $t->dir . '/etc/redis.conf',
    password => path($t->dir, 'etc/redis.key')->slurp =~ s/\n//r);

my $sandbox = $t->sandbox(port => 12111, tls => {port => 12443, map { $_->[0] => $t->dir . "/etc/tls.$_->[1]" } [cert => 'crt'], [key => 'key']},
    webhook_url => 'http://127.0.0.1:8080/webhooks/stripe');

my $image = $t->_part(Test::Lines::Container->new(
    t         => $t,
    name      => 'lines',
    image     => 'lines',
    read_only => 1,
    tmpfs     => ['/tmp:size=16m,mode=1777'],
    mounts    => [["$root/docker/node.conf", '/etc/nginx/conf.d/lines.conf', 'ro'], [$t->dir . '/etc', '/etc/lines', 'ro']],
    hosts     => {map { $_ => '127.0.0.1' } qw(redis limits sandbox players)}
));

my $client = Test::Lines::Client->new(host => '127.0.0.1', port => 8080);
my $operator = Test::Lines::Client->new(host => '127.0.0.1', port => 8081);

subtest 'what the image says of itself' => sub {
    my $config = $image->config;
    like $config->{User}, qr/^[1-9]\d*:[1-9]\d*$/, 'a user by number, who is not root';
    is $config->{StopSignal}, 'SIGQUIT', 'it is stopped gracefully';
    is_deeply $config->{Healthcheck}{Test}, ['CMD', 'lines-healthcheck'], 'a healthcheck';

    my $fs = $image->layout->child('root');
    ok -f "$fs/usr/lib/nginx/modules/ngx_http_lines_module.so", 'the module';
    ok !-e "$fs/usr/bin/gcc", 'no compiler';
    ok !-e "$fs/lines",       'no sources';
    ok -f "$fs/usr/share/lines/openapi.yaml", 'the API, beside its page where that was made';
    ok -f "$fs/usr/share/$_", "the console: $_" for (map {"lines/console/$_"} qw(index.html console.css console.js)), 'javascript/chart.js/chart.min.js';
    is_deeply [glob "$fs/usr/lib/*/libhiredis*"], [], 'no library that the module has inside';
    is_deeply [glob "$fs/etc/lines/* $fs/etc/nginx/conf.d/*"], [], 'neither secrets nor a configuration';
};

$image->start;
wait_for(sub { $image->alive or die $image->output; scalar $image->healthy }, 60, 'the healthcheck');

subtest 'how it runs' => sub {
    my @pids = $image->pids;
    cmp_ok scalar(@pids), '>', 1, 'a master and workers';

    for my $pid (@pids) {
        my $status = path("/proc/$pid/status")->slurp;
        like $status, qr/^Uid:\s+33\s+33\s+33\s+33$/m, "process $pid is not root's";
        like $status, qr/^CapEff:\s+0+$/m,             'has no capability';
        like $status, qr/^NoNewPrivs:\s+1$/m,          'and no way to one';
    }

    my ($code, $output) = $image->exec('sh', '-c', 'touch /etc/x /var/lib/x /usr/x');
    isnt $code, 0, 'the file system is read-only';
    like $output, qr/Read-only/, 'it says';

    ($code, $output) = $image->exec('nginx', '-t');
    is $code, 0, 'nginx -t' or diag $output;
    like $output, qr/test is successful/, 'its configuration is sound';

    ($code, $output) = $image->exec('nginx', '-V');
    like $output, qr/nginx version: nginx\/1\.(?:2[2-9]|[3-9]\d)/, 'the distribution\'s nginx';
};

my %admin = (Authorization => "Bearer $token");
my %api;

subtest "the README's first requests" => sub {
    wait_for(sub { $operator->get('/_lines/ready')->status == 200 }, 30, 'ready');

    $sandbox->customer('cus_growth');

    my $answer = $operator->put_json('/_lines/admin/workspaces/org_growth',
        {plan => 'growth', subscription => 'active', customer => 'cus_growth'}, \%admin);
    like $answer->status, qr/^20[01]$/, 'a workspace' or diag $answer->to_string;

    $answer = $operator->post_json('/_lines/admin/workspaces/org_growth/keys', {}, \%admin);
    is $answer->status, 201, 'a key' or diag $answer->to_string;
    %api = (Authorization => 'Bearer ' . $answer->json('/key'));

    my %ada = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

    for (1 .. 2) {
        $answer = $client->post_json('/api/line-requests', \%ada, \%api);
        is $answer->json('/status'), 'provisioning', 'a line that the plan includes' or diag $answer->to_string;
    }

    $answer = $client->post_json('/api/line-requests', \%ada, \%api);
    is $answer->json('/status'), 'awaiting_payment', 'one that it does not' or diag $answer->to_string;
    like $answer->json('/paymentUrl'), qr{^http}, 'with a link to pay';

    my $id = $answer->json('/line/_id');
    my ($invoice) = map { $_->{id} } @{$sandbox->call(GET => '/v1/invoices')->json('/data')};
    $sandbox->pay($invoice);

    wait_for(sub { $client->get("/api/line-requests/$id", \%api)->json('/line/provisioningStatus') eq 'provisioning' },
        60, 'the paid line to go on');
    pass 'paid, and provisioning';

    $answer = $client->get('/api/lines/by-user', \%api);
    is $answer->status, 200, 'the lines' or diag $answer->to_string;

    is $client->get('/api/lines/by-user')->status, 401, 'not without a key';
};

subtest 'logs' => sub {
    my $log = $image->output;
    like $log, qr{"POST /api/line-requests HTTP/1\.1" 20}, 'requests on stdout';
    like $log, qr{\[notice\] .*start worker process},      'what nginx has to say on stderr';
    unlike $log, qr/\Q$_\E/, 'no secret in it' for $token, $key, $whsec, $api{Authorization} =~ s/Bearer //r;
};

subtest 'the healthcheck' => sub {
    $redis->stop;
    wait_for(sub { !$image->healthy }, 60, 'it to fail without Redis');
    my (undef, $output) = $image->healthy;
    like $output, qr{^HTTP/1\.1 503}, 'a node without Redis is not ready';

    $redis->start;
    wait_for(sub { scalar $image->healthy }, 60, 'it to be well again');
    pass 'and ready again';
};

subtest 'the end' => sub {
    my $body   = '{"firstName":"Ada","lastName":"Lovelace","channelType":"email","email":"ada@example.com"}';
    my $socket = $client->socket;
    print $socket "POST /api/line-requests HTTP/1.1\r\nHost: lines\r\nConnection: close\r\n"
      . "Authorization: $api{Authorization}\r\nContent-Type: application/json\r\nContent-Length: " . length($body)
      . "\r\n\r\n" . substr $body, 0, 10;
    $socket->flush;

    # the worker has it once it serves a request that came after
    wait_for(sub { $operator->get('/_lines/metrics')->body =~ /./ }, 10, 'an answer');

    $image->signal('QUIT');
    wait_for(sub { !$client->get('/')->status }, 30, 'the listening sockets to close');
    ok $image->alive, 'SIGQUIT waits for the request under way';

    print $socket substr $body, 10;
    my $answer = do { local $/; <$socket> };
    like $answer, qr{^HTTP/1\.1 20[012]}, 'which is answered';

    is $image->wait_end(60), 0, 'then it ends';
};

$t->done;
