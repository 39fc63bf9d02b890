# The demo of the compose file, up without an engine: its services in their images' file systems, in its order, with its
# networks, volumes and healthchecks; then what two nodes and an append-only file are there for.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'the compose file has a Redis of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Client;
use Test::Lines::Container;
use Mojo::File qw(path);

Test::Lines::Container->alone;
require Test::Lines::Compose;

my $t       = Test::Lines->new(timeout => 600);
my $compose = Test::Lines::Compose->new(t => $t, file => $t->root . '/docker/compose.yaml');

subtest 'up' => sub {
    ok eval { $compose->up; 1 }, 'each service, in the order of what it depends on' or diag $@;

    my %place = map { $compose->started->[$_] => $_ } 0 .. $#{$compose->started};
    cmp_ok $place{$_->[0]}, '<', $place{$_->[1]}, "$_->[0] before $_->[1]"
      for [qw(secrets sandbox)], [qw(redis node1)], [qw(sandbox node2)], [qw(node1 balancer)], [qw(balancer demo)];
};

die "the demo is not up\n" unless $compose->parts->{demo};

$compose->wait_completed('demo');
$compose->wait_healthy($_) for qw(replica players node1 node2 balancer);

my %env = $compose->container('demo')->output =~ /^(LINES_\w+)=(.*)$/mg;
my $api = Test::Lines::Client->new(host => $compose->address('balancer'), port => 8080);
my %key = (Authorization => "Bearer $env{LINES_API_KEY}");
my @cli = ('sh', '-c', 'REDISCLI_AUTH=$(cat /etc/lines/redis.key) redis-cli "$@"', 'redis-cli');
my %ada = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

sub line ($id) { $api->get("/api/line-requests/$id", \%key)->json('/line') }

sub becomes ($id, $status) {
    wait_for(sub { ((line($id) // {})->{provisioningStatus} // '') eq $status }, 90, "line $id to be $status");
    pass "it becomes $status";
}

my $id;

subtest "the README's first requests" => sub {
    for (1 .. 2) {
        my $answer = $api->post_json('/api/line-requests', \%ada, \%key);
        is $answer->json('/status'), 'provisioning', 'a line that the plan includes' or diag $answer->to_string;
        becomes($id = $answer->json('/line/_id'), 'active');
    }

    my $answer = $api->post_json('/api/line-requests', \%ada, \%key);
    is $answer->json('/status'), 'awaiting_payment', 'one that it does not' or diag $answer->to_string;

    # the link is for a browser on the host, where the sandbox's port is published
    like $answer->json('/paymentUrl'), qr{^http://127\.0\.0\.1:12111/}, 'the link to pay';
    my $page = $answer->json('/paymentUrl') =~ s{127\.0\.0\.1}{$compose->address('sandbox')}er;
    is $api->get($page)->status, 200, 'leads to a page';
    is $api->post("$page/pay")->status, 303, 'paid';
    becomes($answer->json('/line/_id'), 'active');
};

subtest 'an account' => sub {
    my %pair   = ('sb-api-key-id' => $env{LINES_KEY_ID}, 'sb-api-secret-key' => $env{LINES_KEY_SECRET});
    my $answer = $api->post('/accounts/lines/provision-preview', '', \%pair);
    is $answer->status, 200, 'a preview' or diag $answer->to_string;

    my $token = $answer->body =~ /"preview_token":"([^"]+)"/ ? $1 : '';
    $answer = $api->post_json('/accounts/lines/provision-confirm', {preview_token => $token}, \%pair);
    like $answer->status, qr/^20\d$/, 'confirmed' or diag $answer->to_string;
};

subtest 'who else' => sub {
    my $token = Test::Lines::Client->new(host => $compose->address('players'), port => 12112)->get('/token')->body;
    chomp $token;
    is $api->get('/api/lines/by-user', {Authorization => "Bearer $token"})->status, 200, 'a session token';
    like $api->get('/app/', \%key)->json('/tenant'), qr/^w:org_demo_growth$/, 'an application behind the gateway';
    is $api->get('/_lines/ready')->status, 404, "the operator's side is not the balancer's";

    my (undef, $said) = $compose->container('redis')->exec('redis-cli', 'dbsize');
    like $said, qr/NOAUTH/, 'Redis asks for its password';

    my $operator = Test::Lines::Client->new(host => $compose->address('node1'), port => 8081);
    is $operator->get('/_lines/admin/lines')->status, 401, "the operator's side asks for the token";
    like $operator->get('/_lines/metrics')->body, qr/^lines_/m, 'and has metrics';
};

subtest 'Prometheus looks at both nodes' => sub {
    my $prometheus = Test::Lines::Client->new(host => $compose->address('prometheus'), port => 9090);
    my $up = sub { map { $_->{value}[1] } @{$prometheus->get('/api/v1/query?query=up%7Bjob%3D%22lines%22%7D')->json('/data/result') // []} };
    wait_for(sub { 2 == grep { $_ eq '1' } $up->() }, 60, 'both nodes');
    pass 'both are up';

    my @rules = wait_for(sub {
        my @all = map { @{$_->{rules}} } @{$prometheus->get('/api/v1/rules')->json('/data/groups')};
        return @all && !(grep { $_->{health} eq 'unknown' } @all) && \@all;
    }, 60, 'the rules');
    is_deeply [map { "$_->{name}: $_->{lastError}" } grep { $_->{health} ne 'ok' } @{$rules[0]}], [], 'each alert is looked at';

    my $draw = $t->spawn(draw => [$^X, $t->root . '/t/dashboard.pl', 'http://' . $compose->address('prometheus') . ':9090', $t->root . '/conf/grafana/lines.json', $t->dir . '/board.svg', 120]);
    $draw->wait_end(60 * $t->slow);
    like $draw->output, qr/^Requests: [1-9]\d* series, [1-9]/m, 'its dashboard can be drawn' or diag $draw->output;
};

subtest 'a node leaves, and comes back' => sub {
    is $compose->container('node1')->stop(90), 0, 'gracefully, on SIGQUIT';

    for (1 .. 10) {
        my $answer = $api->get("/api/line-requests/$id", \%key);
        is $answer->status, 200, 'the other serves' or diag $answer->to_string;
    }

    $compose->container('node2')->kill;
    $compose->container('node1')->start;
    $compose->wait_healthy('node1');
    wait_for(sub { $api->get("/api/line-requests/$id", \%key)->status == 200 }, 30, 'service');
    pass 'and after a crash of that, the first again';

    $compose->container('node2')->start;
    $compose->wait_healthy('node2');
};

subtest 'Redis dies, and comes back' => sub {
    my ($code, $info, $answer);

    # the balancer may still have connections to the node that crashed, and repeats no POST; a client may, under its key
    wait_for(sub {
        $answer = $api->post_json('/api/line-requests',
            {%ada, channelType => 'email', email => 'ada@example.com', idempotencyKey => 'last'}, \%key);
        return $answer->status =~ /^2/;
    }, 30, 'a line');

    my $last = $answer->json('/line/_id');

    wait_for(sub {
        ($code, $info) = $compose->container('replica')->exec(@cli, 'dbsize');
        my (undef, $same) = $compose->container('redis')->exec(@cli, 'dbsize');
        return $info =~ /\d/ && $info eq $same;
    }, 30, 'the replica to have it all');
    pass 'the replica has it all';

    $compose->container('redis')->kill;
    $compose->container('redis')->start;
    $compose->wait_healthy($_) for qw(redis node1 node2 replica);

    # the balancer asks one node and then the other, and each finds Redis by itself
    wait_for(sub { (line($last) // {})->{_id} }, 60, 'service');
    pass 'what was answered is there';
    becomes($id, 'active');
};

subtest 'bounds' => sub {
    for my $name (sort grep { $compose->container($_)->alive } keys %{$compose->services}) {
        my $rss = 0;
        for my $pid ($compose->container($name)->pids) {
            my $text = eval { path("/proc/$pid/smaps_rollup")->slurp } // '';
            $rss += $1 if $text =~ /^Pss:\s+(\d+) kB/m;
        }
        my ($limit) = $compose->services->{$name}{mem_limit} =~ /^(\d+)m$/;
        cmp_ok $rss, '<', $limit * 1024 / 2, "$name keeps well within its memory: $rss kB";
    }
};

subtest 'down' => sub {
    # Redis refuses to end while it writes the first AOF after a synchronization
    wait_for(sub {
        my (undef, $info) = $compose->container('replica')->exec(@cli, 'info');
        return $info =~ /^master_link_status:up\r?$/m && $info =~ /^aof_rewrite_in_progress:0\r?$/m
          && $info =~ /^aof_rewrite_scheduled:0\r?$/m;
    }, 120, 'the replica to be at rest');

    for my $name (reverse @{$compose->started}) {
        my $container = $compose->container($name);
        next unless $container->alive;
        my ($seconds) = ($compose->services->{$name}{stop_grace_period} // '10s') =~ /(\d+)/;
        is $container->stop($seconds), 0, "$name ends well within its grace period";
    }
};

$t->done;
