# Outgoing webhooks, by who means no good: what one tenant, receiver or resolver does is not at others' cost, and nothing is lost by it
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max uniq);
use MIME::Base64 qw(encode_base64);
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Tls;
use Test::Lines::Util qw(write_file);
use Time::HiRes qw(time);

my $t    = Test::Lines->new(timeout => 600);
my $slow = $t->slow;
my $dir  = $t->dir;
my $tls  = Test::Lines::Tls->new(t => $t)->ca('ca');

# The receiver: /NAME is answered as the state's NAME says, {status, body, delay}
my $receiver = $t->upstream(
    tls     => $tls->certificate('ca', 'good', 'hooks.example.com,DNS:late.example.com'),
    handler => sub ($c, $state) {
        my $say = $state->{$c->req->url->path->parts->[0] // ''} // {};
        return $c->render(data => $say->{body} // '', status => $say->{status} // 200) unless $say->{delay};
        $c->render_later;
        my $tx = $c->tx;
        Mojo::IOLoop->timer($say->{delay} => sub { $c->render(data => '', status => $say->{status} // 200); undef $tx });
    }
);
my $port = $receiver->port;

# The resolver: hooks.example.com at once, late.example.com after four seconds
my $dns    = $t->free_port;
my $server = $t->file('dns.pl', <<'PERL');
    use Socket;
    $SIG{CHLD} = 'IGNORE';
    socket my $socket, PF_INET, SOCK_DGRAM, 0 or die $!;
    bind $socket, pack_sockaddr_in(shift, inet_aton('127.0.0.1')) or die $!;
    while (defined(my $from = recv $socket, my $query, 512, 0)) {
        my $end  = index $query, "\0", 12;
        my $type = unpack 'n', substr $query, $end + 1, 2;
        my $late = $query =~ /\x04late/;
        next if $late && fork;
        sleep 4 if $late;
        send $socket, substr($query, 0, 2) . pack('n5', 0x8180, 1, $type == 1 ? 1 : 0, 0, 0) . substr($query, 12, $end - 12 + 5)
            . ($type == 1 ? pack('nnnNn', 0xc00c, 1, 1, 0, 4) . inet_aton('127.0.0.1') : ''), 0, $from;
        exit if $late;
    }
PERL
$t->spawn(dns => [$^X, $server, $dns]);

my $key      = $t->file('seal.key', '00112233445566778899aabbccddeeff' x 2 . "\n");
my $location = 'location = /_lines/webhooks { internal; proxy_pass https://$lines_webhook_address$lines_webhook_uri; proxy_set_header Host $lines_webhook_host; '
  . "proxy_ssl_name \$lines_webhook_host; proxy_ssl_server_name on; proxy_ssl_verify on; proxy_ssl_trusted_certificate @{[$tls->file('ca.pem')]}; "
  . "proxy_next_upstream off; resolver 127.0.0.1:$dns valid=1s; resolver_timeout 8s; }";

sub out ($more = '') { return "lines_plan wide phone included=100000;\nlines_webhooks_out /_lines/webhooks key_file=$key unsafe_allow=127.0.0.1/32 unsafe_port=$port sweep=100ms look=2s $more;\n" }

my $n = 0;
my ($shop, $node, $redis);

# a node, with a Redis of its own: all that follows is of it
sub fleet ($more) {
    $node->quit if $node;
    $redis = $t->redis(name => 'redis' . ++$n);
    $shop  = Test::Lines::Account->new(t => $t, webhooks => 1, redis => $redis, $shop ? (sandbox => $shop->sandbox) : ());
    $node  = $shop->nginx(name => "node$n", http => out("timeout=6s pause=1h $more"), server => $location);
    $node->allow(qr/lines: call to "\/_lines\/webhooks"|upstream timed out|too big subrequest|lines: call timed out/);
    $node->wait_redis;
}

sub workspace ($id = 'w' . ++$n) { return ($id, $node->bearer($shop->workspace($id, plan => 'wide'))) }
sub line ($auth) { $node->post_json('/api/line-requests', $shop->body(channelType => 'phone'), $auth)->json('/line/_id') // die 'no line' }
sub patch ($auth, $hook, $set) { $node->request(PATCH => "/api/webhooks/$hook->{id}", {%$auth, 'Content-Type' => 'application/json'}, encode_json($set)) }
sub show ($auth, $hook) { $node->get("/api/webhooks/$hook->{id}", $auth)->json('/webhook') }
sub calls ($auth, $hook) { @{$node->get("/api/webhooks/$hook->{id}/deliveries", $auth)->json('/deliveries') // []} }
sub url ($path, $host = 'hooks') { "https://$host.example.com:$port/$path" }

sub hook ($auth, $path, %more) {
    my $answer = $node->post_json('/api/webhooks', {url => url($path), %more}, $auth);
    is $answer->status, 201, "a webhook, $path" or diag $answer->to_string;
    return $answer->json('/webhook');
}

sub requests ($path) { grep { $_->{path} eq "/$path" } @{$receiver->requests} }

sub told ($path, $count = 1, $what = "$count for $path") {
    my @all;
    wait_for(sub { @all = requests($path); @all >= $count }, 60 * $slow, $what);
    return @all;
}

# the journal of a workspace becomes so many events long, as if that had happened
sub journal ($id, $count) {
    my ($line) = map {/"line":"([0-9a-f]+)"/} @{scalar $redis->cli(LRANGE => "lines:{w:$id}:journal", 0, -1)};
    my ($last) = map {/"id":(\d+)/} $redis->cli(LINDEX => "lines:{w:$id}:journal", -1);
    my @more = map { qq({"id":@{[$last + $_]},"type":"line.active","sequence":"$_","line":"$line","from":"provisioning","to":"active"}) } 1 .. $count;
    $redis->cli(RPUSH => "lines:{w:$id}:journal", splice @more, 0, 500) while @more;
}

sub redis_now { my ($s, $us) = @{scalar $redis->cli('TIME')}; $s * 1000 + int($us / 1000) }

# what is waited for in vain is a break like any other: those that follow are tried all the same
sub attack ($name, $try) {
    subtest $name => sub { eval { $try->(); 1 } or fail $@ }
}

fleet('retry=100ms');

attack 'an answer that is too long says what it says by its status' => sub {
    my (undef, $auth) = workspace();
    for ([202, 'delivered'], [503, 'failed'], [410, 'failed']) {
        my ($status, $outcome) = @$_;
        my $hook = hook($auth, "long$status");
        $receiver->set("long$status" => {status => $status, body => 'x' x 500_000});
        line($auth);
        wait_for(sub { calls($auth, $hook) }, 20 * $slow, "a call, $status");
        my $call = (calls($auth, $hook))[-1];
        is_deeply [@$call{qw(outcome status reason)}], [$outcome, $status, undef], "$status" or diag explain $call;
        is show($auth, $hook)->{status}, $status == 410 ? 'paused' : 'active', '... and what follows of that';
        $node->request(DELETE => "/api/webhooks/$hook->{id}", $auth);
    }
};

attack 'whose name takes long to resolve is slow, too' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'late', url => url('late', 'late'));
    line($auth);
    told('late');
    wait_for(sub { calls($auth, $hook) }, 20 * $slow, 'the call');
    is $redis->cli(HGET => "lines:{w:$id}:hook:$hook->{id}", 'slow'), 5, 'it has no part any more in what is there for those that are quick';
};

attack 'what is changed is as slow as before' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'crawl');
    my $lag  = sub { $redis->cli(HGET => "lines:{w:$id}:hook:$hook->{id}", 'slow') };
    $redis->cli(HSET => "lines:{w:$id}:hook:$hook->{id}", slow => 5);
    is patch($auth, $hook, {url => url('crawl2')})->status, 200, 'another URL';
    is $lag->(), 5, '... is no way into the quick lane';
    patch($auth, $hook, {status => $_}) for qw(paused active);
    is $lag->(), 5, 'nor is a pause';
};

attack 'the answer of a URL that it has no more' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'former');
    $receiver->set(former => {status => 410, delay => 1});
    line($auth);
    told('former');
    is patch($auth, $hook, {url => url('present')})->status, 200, 'it has another one, while the former is called';
    wait_for(sub { grep { ($_->{status} // 0) == 410 } calls($auth, $hook) }, 20 * $slow, 'the former says that it is gone');
    is show($auth, $hook)->{status}, 'active', '... which the present one is not';
    told('present', 1, 'the event, by the present one');
};

attack 'a clock that was set back loses nothing' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'back');
    is $redis->cli(EXISTS => "lines:{w:$id}:journal"), 0, 'it was made before anything happened';
    my $cursor = $redis->cli(HGET => "lines:{w:$id}:hook:$hook->{id}", 'cursor');
    # by a clock that was an hour ahead
    $redis->cli(HSET => "lines:{w:$id}:hook:$hook->{id}", cursor => $cursor + 3_600_000) if $cursor;
    line($auth);
    told('back');
    ok 1, 'what happened then is told';

    my $ahead = hook($auth, 'ahead');
    $redis->cli(HSET => "lines:{w:$id}:hook:$ahead->{id}", cursor => redis_now() + 3_600_000);
    line($auth);
    told('ahead');
    ok 1, '... also where the journal was lost, and that clock wrote how far it was';
};

attack 'an event that is asked for again waits once' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'again');
    $receiver->set(again => {status => 500});
    line($auth);
    my $event = (told('again'))[0]{json}{data}{event};
    my $due   = "lines:{w:$id}:hook_due:$hook->{id}";
    wait_for(sub { $redis->cli(ZCARD => $due) }, 20, 'it is to be tried again');
    patch($auth, $hook, {status => 'paused'});
    wait_for(sub { !$redis->cli(ZCARD => "lines:{w:$id}:hook_busy:$hook->{id}") }, 20, 'nothing is under way');
    $redis->cli(DEL => $due);
    $redis->cli(ZADD => $due, redis_now() + 60_000, "$event 3", redis_now() + 60_000, ($event + 1) . ' 3');
    is $node->post_json("/api/webhooks/$hook->{id}/replay", {event => "$event"}, $auth)->status, 202, 'asked for';
    is_deeply [sort @{scalar $redis->cli(ZRANGE => $due, 0, -1)}], [sort "$event 0", ($event + 1) . ' 3'], 'it, and no other try of it';
};

attack 'a journal is not read for what cannot be told' => sub {
    my ($id, $auth) = workspace();
    line($auth);
    my @hooks = map { hook($auth, "read$_") } 1 .. 10;
    journal($id, 300);
    my $stat  = sub { (scalar($redis->cli(INFO => 'commandstats')) =~ /cmdstat_lrange:calls=(\d+)/)[0] // 0 };
    my $since = $stat->();
    my $begun = time;
    $receiver->set(map { ("read$_" => {delay => 0.02}) } 1 .. 10);
    line($auth);
    my @least;
    wait_for(sub { @least = sort { $a <=> $b } map { scalar requests("read$_") } 1 .. 10; $least[-1] >= 40 }, 180 * $slow, '40 for one of them');
    my $told = 0;
    $told += $_ for @least;
    my $each = ($stat->() - $since) / $told;
    cmp_ok $each, '<', 4, sprintf 'it is read %.1f times for each event that is told', $each;
    cmp_ok $least[0], '>', 15, "no webhook waits until another has all of its own: @least";
    $node->request(DELETE => "/api/webhooks/$_->{id}", $auth) for @hooks;
};

attack 'what a full journal has lost is noted once' => sub {
    my ($id, $auth) = workspace();
    line($auth);
    my $hook = hook($auth, 'missed');
    my $due  = "lines:{w:$id}:hook_due:$hook->{id}";
    patch($auth, $hook, {status => 'paused'});
    journal($id, 10_000);
    $redis->cli(LTRIM => "lines:{w:$id}:journal", -10_000, -1);
    $redis->cli(HSET => "lines:{w:$id}:hook:$hook->{id}", cursor => 1);
    # a thousand that failed: what is new waits
    $redis->cli(ZADD => $due, map { (redis_now() + 60_000, (redis_now() + $_) . ' 5') } 1 .. 1000);
    patch($auth, $hook, {status => 'active'});
    for (1 .. 5) {
        select undef, undef, undef, 0.2;    # a look for each
        patch($auth, $hook, {types => ['*']});
    }
    cmp_ok scalar(grep { $_->{outcome} eq 'missed' } calls($auth, $hook)), '<', 2, 'looks are none of it';
    $redis->cli(DEL => $due);
    told('missed', 8);
    is scalar(grep { $_->{outcome} eq 'missed' } calls($auth, $hook)), 1, 'once';
    $node->request(DELETE => "/api/webhooks/$hook->{id}", $auth);
};

attack 'the dead webhooks of a tenant are not in the way of its own' => sub {
    my ($id, $auth) = workspace();
    my @dead = map { hook($auth, 'dead') } 1 .. 9;
    $redis->cli(HSET => "lines:{w:$id}:hook:$_->{id}", slow => 5) for @dead;
    my $alive = hook($auth, 'alive');
    $receiver->set(dead => {delay => 5.5});
    line($auth);
    told('alive');
    told('dead', 6);
    my @took;
    for my $i (2 .. 5) {
        my $begun = time;
        line($auth);
        told('alive', $i);
        push @took, time - $begun;
    }
    cmp_ok max(@took), '<', 2 * $slow, "it is told at once: @{[map { sprintf '%.2f', $_ } @took]}";
    $node->request(DELETE => "/api/webhooks/$_->{id}", $auth) for @dead;
};

attack 'a former secret that no key opens' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'sealed');
    my $hash = "lines:{w:$id}:hook:$hook->{id}";
    my $old  = $redis->cli(HGET => $hash, 'secret');

    # a client takes another secret, from a node that has the operator's new key, before any was sealed anew
    my $new = $t->file('seal.new', encode_base64('k' x 32, '') . "\n");
    $node->http($node->http =~ s{(_lines/webhooks) key_file=\S+}{$1 key_file=$new old_key_file=$key}r);
    $node->reload;
    wait_for(sub { $redis->cli(HGET => $hash, 'secret') ne $old }, 40 * $slow, 'the new key');
    is $node->post("/api/webhooks/$hook->{id}/secret", '', $auth)->status, 200, 'another secret';
    my ($begins) = $redis->cli(HGET => $hash, 'secret') =~ /^(v1\.\w+\.)/;
    $redis->cli(HSET => $hash, before => $old);
    wait_for(sub { $redis->cli(HGET => $hash, 'before') =~ /^\Q$begins/ }, 20 * $slow, 'the one before is sealed by the new key, too');

    # of a key that is gone: the present one signs alone
    $redis->cli(HSET => $hash, before => $old =~ s/^v1\.\w+/v1.00000000/r);
    line($auth);
    my ($call) = told('sealed');
    is scalar(split / /, $call->{headers}{'webhook-signature'}), 1, 'who has it is told, signed by the present one';
    $node->allow(qr/secret of webhook .* cannot be opened/);
};

attack 'retry=60s: the longest waits are waited for' => sub {
    fleet('retry=60s');
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'patient');
    my $due  = "lines:{w:$id}:hook_due:$hook->{id}";
    $receiver->set(patient => {status => 500});
    line($auth);
    my $event = (told('patient'))[0]{json}{data}{event};
    wait_for(sub { $redis->cli(ZCARD => $due) }, 20, 'a failure');
    $redis->cli(DEL => $due);
    $redis->cli(ZADD => $due, 0, "$event 8");
    told('patient', 2);
    wait_for(sub { $redis->cli(ZCARD => $due) }, 20, 'the ninth one');
    is_deeply scalar $redis->cli(ZRANGE => $due, 0, -1), ["$event 9"], 'the tenth is to come';
    cmp_ok $redis->cli(ZSCORE => $due, "$event 9") - redis_now(), '>', 7 * 86_400_000, '... in more than a week';
    $receiver->set(patient => {});
    my $mark = requests('patient');
    line($auth);
    told('patient', $mark + 1);
    sleep 3;    # looks, each of which might take it for a clock that was set back
    ok $redis->cli(ZSCORE => $due, "$event 9"), 'and is not tried before';
};

attack 'more tenants than are looked at at once' => sub {
    fleet('retry=100ms concurrency=8');
    $receiver->set(crowd => {delay => 0.25});
    my @crowd = map { [workspace()] } 1 .. 260;
    $node->post_json('/api/webhooks', {url => url('crowd')}, $_->[1])->status == 201 or die for @crowd;
    line($_->[1]) for @crowd;
    journal($_->[0], 200) for @crowd;
    line($_->[1]) for @crowd;
    told('crowd', 300);
    my ($id, $auth) = workspace();
    hook($auth, 'lonely');
    my $mark = requests('crowd');
    line($auth);
    told('lonely', 1, 'one that has come late');
    diag sprintf '%d calls of others before', requests('crowd') - $mark;
    ok 1, 'has its turn';
};

$t->done;
