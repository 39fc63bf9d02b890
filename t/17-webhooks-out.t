# Outgoing webhooks: what is written into a tenant's journal is told to URLs of its choice, signed as Standard Webhooks says,
# at least once, and again for three days. Names are asked of a server of the test's own: who gives a name means no good.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256);
use IPC::Open2 qw(open2);
use List::Util qw(uniq);
use MIME::Base64 qw(decode_base64 encode_base64);
use Mojo::JSON qw(decode_json encode_json true false);
use Mojo::Date;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Node qw(node_dir);
use Test::Lines::Tls;
use Test::Lines::Util qw(write_file);
use Time::HiRes qw(time);

my $t    = Test::Lines->new(timeout => 900);
my $slow = $t->slow;
my $dir  = $t->dir;
my $tls  = Test::Lines::Tls->new(t => $t)->ca('ca');

# The receiver: /NAME is answered as the state's NAME says, a status, or {status, headers, body, delay}
my $receiver = $t->upstream(
    tls     => $tls->certificate('ca', 'good', 'hooks.example.com,DNS:moves.example.com,DNS:inner.example.com'),
    handler => sub ($c, $state) {
        my $say = $state->{$c->req->url->path->parts->[0] // ''} // 200;
        $say = {status => $say} unless ref $say;
        $c->res->headers->header($_ => $say->{headers}{$_}) for keys %{$say->{headers} // {}};
        return $c->render(data => $say->{body} // '', status => $say->{status} // 200) unless $say->{delay};
        $c->render_later;
        my $tx = $c->tx;
        Mojo::IOLoop->timer($say->{delay} => sub { $c->render(data => '', status => $say->{status} // 200); undef $tx });
    }
);
my $port = $receiver->port;

# The resolver: NAME=ADDRESS,… in a file; with NAME=FIRST|THEN the first question has another answer than those that follow
my $dns    = $t->free_port;
my $server = $t->file('dns.pl', <<'END');
    use Socket qw(:DEFAULT inet_pton AF_INET AF_INET6);
    my ($port, $file) = @ARGV;
    my %asked;
    $| = 1;
    socket my $socket, PF_INET, SOCK_DGRAM, 0 or die $!;
    bind $socket, pack_sockaddr_in($port, inet_aton('127.0.0.1')) or die $!;
    while (defined(my $from = recv $socket, my $query, 512, 0)) {
        my $end  = index $query, "\0", 12;
        my $name = join '.', unpack '(C/a)*', substr $query, 12, $end - 12;
        my $type = unpack 'n', substr $query, $end + 1, 2;
        open my $read, '<', $file or next;
        my ($says) = join('', <$read>) =~ /^\Q$name\E=(\S*)$/m;
        my @turns = split /\|/, $says // '';
        my $turn  = @turns > 1 ? $turns[$asked{$name}{$type}++ ? 1 : 0] : $turns[0];
        my @all   = map { inet_pton($type == 1 ? AF_INET : AF_INET6, $_) } grep { /:/ ? $type == 28 : $type == 1 } split /,/, $turn // '';
        print "$name $type: ", $turn // 'nothing', "\n";
        send $socket, substr($query, 0, 2) . pack('n5', defined $says ? 0x8180 : 0x8183, 1, scalar @all, 0, 0) . substr($query, 12, $end - 12 + 5)
            . join('', map { pack('nnnNn', 0xc00c, $type, 1, 0, length) . $_ } @all), 0, $from;
    }
END

my $GOOD = '127.0.0.1';    # which this configuration allows, and no other address of loopback

sub names (%more) {
    my %all = (map({ ("$_.example.com" => $GOOD) } qw(hooks moves inner)), %more);
    write_file("$dir/names.new", join '', map {"$_=$all{$_}\n"} sort keys %all);
    rename "$dir/names.new", "$dir/names" or die $!;
}
names();
my $resolver = $t->spawn(dns => [$^X, $server, $dns, "$dir/names"]);

my $key = $t->file('seal.key', '00112233445566778899aabbccddeeff' x 2 . "\n");

sub location (%set) {
    my %line = (
        proxy_pass => 'https://$lines_webhook_address$lines_webhook_uri', proxy_ssl_name => '$lines_webhook_host', proxy_ssl_verify => 'on',
        proxy_ssl_server_name => 'on', proxy_ssl_trusted_certificate => $tls->file('ca.pem'), proxy_next_upstream => 'off',
        resolver => "127.0.0.1:$dns valid=1s", resolver_timeout => '2s', %set
    );
    return 'location = /_lines/webhooks { internal; proxy_set_header Host $lines_webhook_host; '
      . join(' ', map {"$_ $line{$_};"} grep { defined $line{$_} } sort keys %line) . ' }';
}

sub out ($more = '') { return "lines_webhooks_out /_lines/webhooks key_file=$key unsafe_allow=$GOOD/32 unsafe_port=$port sweep=100ms look=2s $more;\n" }

my $fast = 'retry=100ms timeout=2s pause=1h';
my $shop = Test::Lines::Account->new(t => $t, webhooks => 1);
my %node = (http => "lines_plan wide phone included=100000;\n" . out($fast), workers => 2, server => location());
my ($near, $far) = map { $shop->nginx(%node, name => $_) } qw(near far);
my $redis = $shop->redis;
$_->wait_redis for $near, $far;

# a receiver that is slow, or answers nothing, is an error of nginx' own in the log, and no more
$_->allow(qr/lines: call to "\/_lines\/webhooks"|upstream timed out|too big subrequest|lines: call timed out/) for $near, $far;

my $n = 0;
sub workspace ($id = 'w' . ++$n) { return ($id, $near->bearer($shop->workspace($id, plan => 'wide'))) }
sub line ($auth) { $near->post_json('/api/line-requests', $shop->body(channelType => 'phone'), $auth)->json('/line/_id') // die 'no line' }
sub report ($line, $status = 'active') { $near->admin(POST => "lines/$line/status", {status => $status}) }

sub hook ($auth, $path = 'ok', %more) {
    my $answer = $near->post_json('/api/webhooks', {url => "https://hooks.example.com:$port/$path", %more}, $auth);
    is $answer->status, 201, "a webhook, $path" or diag $answer->to_string;
    return {%{$answer->json('/webhook')}, secret => $answer->json('/secret')};
}

sub show ($auth, $hook) { $near->get("/api/webhooks/$hook->{id}", $auth)->json('/webhook') }
sub calls ($auth, $hook) { @{$near->get("/api/webhooks/$hook->{id}/deliveries", $auth)->json('/deliveries') // []} }

# what came for a path, at least so many
sub told ($path, $count = 1, $what = "$count for $path") {
    my @all;
    wait_for(sub { @all = grep { $_->{path} eq "/$path" } @{$receiver->requests}; @all >= $count }, 90 * $slow, $what);
    return @all;
}

# by Debian's perl, not by OpenSSL's C
sub signature ($secret, $call) {
    return 'v1,' . encode_base64(hmac_sha256(join('.', @{$call->{headers}}{'webhook-id', 'webhook-timestamp'}, $call->{body}),
        decode_base64($secret =~ s/^whsec_//r)), '');
}

subtest 'what nginx -t says' => sub {
    my $bad  = $t->file('bad.key', "tooshort\n");
    my $test = sub ($http, $server) { $t->nginx(name => 'test' . ++$n, redis => $redis, start => 0, http => $http, server => $server)->allow(qr/\[emerg\]/)->test_config };
    my $line = "lines_webhooks_out /_lines/webhooks key_file=$key";

    my ($code, $said) = $test->("$line;", location());
    is $code, 0, 'it is taken' or diag $said;
    unlike $said, qr/unsafe/, 'and nothing said';
    like +($test->("$line unsafe_port=8443;", location()))[1], qr/\[warn\].*"lines_webhooks_out" is unsafe/, 'what is unsafe is told';

    for (
        ['lines_webhooks_out /_lines/webhooks sweep=1s;', {}, qr/key_file/],
        ["lines_webhooks_out /_lines/webhooks key_file=$bad;", {}, qr/"key_file" of "lines_webhooks_out" must have a key of 32 bytes/],
        ["$line old_key_file=$bad;", {}, qr/"old_key_file" of "lines_webhooks_out" must have/],
        ["$line unsafe_allow=x;", {}, qr/unsafe_allow=x/], ["$line concurrency=1;", {}, qr/concurrency=1/],
        ["$line; $line;", {}, qr/is duplicate/],
        ["$line;", {resolver => undef}, qr/"lines_webhooks_out": .* without "resolver"/],
        ["$line;", {proxy_ssl_verify => 'off'}, qr/without "proxy_ssl_verify on"/],
        ["$line;", {proxy_next_upstream => undef}, qr/without "proxy_next_upstream off"/],
    ) {
        my ($http, $set, $like) = @$_;
        my ($code, $said) = $test->($http, location(%$set));
        isnt $code, 0, "refused: $like";
        like $said, $like, '... in these words';
    }
};

subtest 'made, seen, changed, deleted: of a workspace' => sub {
    my ($id, $auth) = workspace();
    my (undef, $other) = workspace();
    my $url    = "https://hooks.example.com:$port/crud?a=1";
    my $answer = $near->post_json('/api/webhooks', {url => $url, types => ['line.active', 'line.failed']}, $auth);
    my $hook   = $answer->json('/webhook');
    is $answer->status, 201, 'made' or diag $answer->to_string;
    like $answer->json('/secret'), qr/^whsec_[A-Za-z0-9+\/]{43}=$/, 'with a secret';
    is_deeply [@$hook{qw(url types status reason waiting deliveredAt failingSince previousSecretUntil)}], [$url, ['line.active', 'line.failed'], 'active', undef, 0, undef, undef, undef], 'as it was asked for';
    like $hook->{createdAt}, qr/^20\d\d-.*Z$/, 'and when';
    is_deeply $near->get('/api/webhooks', $auth)->json, {success => true, webhooks => [$hook]}, 'it is listed, without its secret';
    is_deeply $far->get("/api/webhooks/$hook->{id}", $auth)->json, {success => true, webhook => $hook}, 'and shown, by any node';
    is_deeply $near->get('/api/webhooks', $other)->json, {success => true, webhooks => []}, "another's are none of it";
    is $near->get("/api/webhooks/$hook->{id}", $other)->status, 404, 'nor found by it';

    my $changed = $near->request(PATCH => "/api/webhooks/$hook->{id}", {%$auth, 'Content-Type' => 'application/json'}, encode_json({status => 'paused', types => ['*']}));
    is $changed->status, 200, 'changed' or diag $changed->to_string;
    is_deeply [@{$changed->json('/webhook')}{qw(url types status reason)}], [$url, ['*'], 'paused', 'requested'], 'what was said, and no more';
    is $changed->json('/secret'), undef, 'no secret is shown again';

    my @bad = (
        [{}, 'url is required'],
        [{url => 'http://hooks.example.com/x'}, 'url must begin with https://'],
        [{url => 'https://hooks.example.com:8443/x'}, 'url must be of port 443'],
        [{url => 'https://hooks.example.com'}, 'url must have a path, as /hooks, and no fragment'],
        [{url => 'https://hooks.example.com/x#y'}, 'url must have a path, as /hooks, and no fragment'],
        (map { [{url => "https://$_/x"}, 'url must have the name of a host, as hooks.example.com, and no user or address'] }
          qw(127.0.0.1 127.1 0x7f.1 2130706433 [::1] localhost user@hooks.example.com hooks.example.com. -x.com x..com a_b.com x.0x7f)),
        [{url => "https://hooks.example.com/\r\nX: y"}, 'url must not have control characters'],
        (map { [{url => 'https://hooks.example.com/x', types => $_}, 'types must be a list of event types, as line.active, or of *'] } [], 'line.active', ['line.nosuch'], [1]),
    );
    for (@bad) {
        my $refused = $near->post_json('/api/webhooks', $_->[0], $auth);
        is $refused->status, 400, encode_json($_->[0]) or diag $refused->to_string;
        is_deeply $refused->json, {error => $_->[1]}, '... in these words';
    }
    is $near->request(PATCH => "/api/webhooks/$hook->{id}", {%$auth, 'Content-Type' => 'application/json'}, '{"status":"off"}')->status, 400, 'no such status';
    is $near->get('/api/webhooks/nosuch', $auth)->status, 400, 'no id';
    is $near->get('/api/webhooks/' . '0' x 24, $auth)->status, 404, "nobody's id";
    is $near->request(PUT => "/api/webhooks/$hook->{id}", $auth)->header('Allow'), 'GET, HEAD, PATCH, DELETE', 'what there is';

    is $near->request(DELETE => "/api/webhooks/$hook->{id}", $auth)->status, 200, 'deleted';
    is $near->request(DELETE => "/api/webhooks/$hook->{id}", $auth)->status, 404, 'once';
    is_deeply [grep {/:hook/} $redis->client->keys("lines:{w:$id}:*")], [], 'nothing of it is left';

    hook($auth) for 1 .. 10;
    my $full = $near->post_json('/api/webhooks', {url => $url}, $auth);
    is $full->status, 429, 'no more than ten';
    is_deeply $full->json, {error => 'There are too many webhooks: change one, or delete one', code => 'webhook_limit_reached'}, '... in these words';
};

subtest 'what is told, and how it is signed' => sub {
    my ($id, $auth) = workspace();
    my $all   = hook($auth, 'all');
    my $some  = hook($auth, 'some', types => ['line.active']);
    my $since = time;
    my @lines = map { line($auth) } 1, 2;
    report($_) for @lines;
    $near->admin(POST => "lines/$lines[0]/release");

    my @all  = told('all', 5);
    my %line = map { my $l = $_; $l => [map { $_->{json} } grep { $_->{json}{data}{line} eq $l } @all] } @lines;
    is_deeply [map { $_->{type} } sort { $a->{data}{sequence} <=> $b->{data}{sequence} } @{$line{$lines[0]}}], ['line.provisioning', 'line.active', 'line.released'], 'all that happens to a line, in its sequence';
    is_deeply [sort map { $_->{data}{sequence} } @{$line{$_}}], [1 .. @{$line{$_}}], "of each line, without a gap" for @lines;
    is_deeply [map { $_->{json}{type} } told('some', 2)], ['line.active', 'line.active'], 'or the types that were chosen';

    my $call = $all[0];
    is $call->{method}, 'POST', 'a POST';
    is $call->{headers}{host}, 'hooks.example.com', 'of the name, which the certificate was of';
    is $call->{headers}{'content-type'}, 'application/json', '... of JSON';
    my %event = map { $_ => 1 } keys %{$call->{json}{data}};
    is_deeply [sort keys %{$call->{json}}], [qw(data timestamp type)], 'as Standard Webhooks has it';
    is_deeply [sort keys %event], [qw(event from line reason sequence to)], '... with what streams of events say';
    cmp_ok abs(Mojo::Date->new($call->{json}{timestamp})->epoch - $since), '<', 60, 'when it happened';
    cmp_ok abs($call->{headers}{'webhook-timestamp'} - time), '<', 60, 'and when it is told';
    is scalar(uniq map { $_->{headers}{'webhook-id'} } @all), 5, 'each by an id of its own';
    is $_->{headers}{'webhook-signature'}, signature($all->{secret}, $_), 'signed' for @all;
    isnt $call->{headers}{'webhook-signature'}, signature($some->{secret}, $call), 'by its own secret';

    SKIP: {
        my ($node, $why) = node_dir;
        skip $why unless $node;
        my $pid = open2(my $out, my $in, 'node', $t->root . '/t/node/webhooks.mjs');
        my %head = map { $_ => $call->{headers}{$_} } grep {/^webhook-/} keys %{$call->{headers}};
        print $in encode_json([map { {secret => $_->[0], headers => \%head, body => $_->[1]} } [$all->{secret}, $call->{body}], [$some->{secret}, $call->{body}], [$all->{secret}, "$call->{body} "]]);
        close $in;
        my $said = decode_json(join '', <$out>);
        waitpid $pid, 0;
        is $said->[0], 'good', 'the library of Standard Webhooks believes it';
        isnt $said->[$_], 'good', 'and not what is forged' for 1, 2;
    }

    wait_for(sub { calls($auth, $some) == 2 }, 20, 'the log');
    my ($last) = calls($auth, $some);
    is_deeply [@$last{qw(outcome attempt status reason next)}], ['delivered', 1, 200, undef, undef], 'the log says so';
    like show($auth, $some)->{deliveredAt}, qr/Z$/, 'and when it was last';
    like $near->get('/_lines/metrics')->body . $far->get('/_lines/metrics')->body, qr/^lines_webhook_calls_total\{outcome="delivered"\} [1-9]/m, 'it is counted';
};

subtest 'of an account' => sub {
    my $one = $shop->account('acc');
    $shop->numbers(2);
    my $answer = $near->post_json('/accounts/webhooks', {url => "https://hooks.example.com:$port/account"}, $one->{headers});
    is $answer->status, 201, 'made' or diag $answer->to_string;
    my $hook = $answer->json('/webhook');
    is $answer->json('/status'), 'OK', 'in the words of accounts';
    is_deeply [sort keys %$hook], [sort qw(id url types status reason waiting created_at updated_at delivered_at failing_since previous_secret_until)], '... spelled as theirs';
    is $shop->confirm($one, $shop->token($one))->status, 200, 'a line is bought';
    my ($call) = told('account');
    is $call->{json}{type}, 'line.active', 'and told of';
    is $call->{headers}{'webhook-signature'}, signature($answer->json('/secret'), $call), '... signed';
    is $near->post_json('/accounts/webhooks', {}, $one->{headers})->json('/message'), 'url is required', 'an error, in theirs';
    is_deeply $near->get('/accounts/webhooks', $one->{headers})->json('/webhooks/0/id'), $hook->{id}, 'listed';
    is $near->get("/accounts/webhooks/$hook->{id}/deliveries", $one->{headers})->json('/status'), 'OK', 'its log';
    is $near->post("/accounts/webhooks/$hook->{id}/secret", '', $one->{headers})->json('/status'), 'OK', 'another secret';
    is_deeply $near->request(DELETE => "/accounts/webhooks/$hook->{id}", $one->{headers})->json, {status => 'OK', id => $hook->{id}, deleted => true}, 'deleted';
};

subtest 'what fails is tried again, and holds up nothing' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'flaky');
    $receiver->set(flaky => 500);
    my $first = line($auth);
    my ($call) = told('flaky');
    wait_for(sub { my ($last) = calls($auth, $hook); $last && $last->{outcome} eq 'failed' && $last->{next} }, 20, 'a failure');
    $receiver->set(flaky => 200);
    my $mark = @{$receiver->requests};
    report($first);
    wait_for(sub { grep { ($_->{json}{type} // '') eq 'line.active' && $_->{path} eq '/flaky' } @{$receiver->requests}[$mark .. $#{$receiver->requests}] }, 20, 'a later event');
    wait_for(sub { !show($auth, $hook)->{waiting} }, 30, 'the first one, too');
    my @same = grep { $_->{headers}{'webhook-id'} eq $call->{headers}{'webhook-id'} } told('flaky', 2);
    cmp_ok scalar(@same), '>=', 2, 'it is the same id that is told again';
    is scalar(uniq map { $_->{body} } @same), 1, '... and the same body';
    is $_->{headers}{'webhook-signature'}, signature($hook->{secret}, $_), '... signed anew' for @same;
    is show($auth, $hook)->{failingSince}, undef, 'it fails no more';

    $receiver->set(flaky => {status => 302, headers => {Location => "https://hooks.example.com:$port/elsewhere"}});
    line($auth);
    wait_for(sub { grep { ($_->{status} // 0) == 302 } calls($auth, $hook) }, 20, 'a redirect');
    is scalar(grep { $_->{path} eq '/elsewhere' } @{$receiver->requests}), 0, 'is followed nowhere, and a failure';
    $receiver->set(flaky => {status => 200, body => 'x' x 500_000});
    wait_for(sub { !show($auth, $hook)->{waiting} }, 30, 'an answer that is too long');
    is +(calls($auth, $hook))[0]{outcome}, 'delivered', '... says what it says by its status';
};

subtest 'it is given up in the end, and told again when asked for' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'never');
    $receiver->set(never => 503);
    line($auth);
    my ($call) = told('never');
    my $event  = $call->{json}{data}{event};
    for my $try (2 .. 11) {
        wait_for(sub { $redis->cli(ZCARD => "lines:{w:$id}:hook_due:$hook->{id}") }, 20, "try $try to be due");
        my ($member) = @{scalar $redis->cli(ZRANGE => "lines:{w:$id}:hook_due:$hook->{id}", 0, 0)};
        is $member, "$event " . ($try - 1), "try $try is to come";
        $redis->cli(ZADD => "lines:{w:$id}:hook_due:$hook->{id}", 0, $member);
        told('never', $try);
        wait_for(sub { (() = calls($auth, $hook)) == $try }, 20, "try $try is noted");
    }
    my ($last) = calls($auth, $hook);
    is_deeply [@$last{qw(outcome attempt status next)}], ['given_up', 11, 503, undef], 'the last one';
    is show($auth, $hook)->{waiting}, 0, 'nothing waits any more';

    my $replay = sub ($body, $who = $auth) { $near->post_json("/api/webhooks/$hook->{id}/replay", $body, $who) };
    $receiver->set(never => 200);
    is $replay->({event => "$event"})->status, 202, 'asked for once more';
    my @again = told('never', 12);
    is $again[-1]{headers}{'webhook-id'}, $call->{headers}{'webhook-id'}, '... it comes, by its id';
    line($auth);
    told('never', 13);
    is $replay->({after => "" . ($event - 1)})->status, 202, 'all from there on';
    my @events = map { $_->{json}{data}{event} } told('never', 15);
    is_deeply [sort @events[-2, -1]], [sort @events[11, 12]], '... come again';
    is $replay->({event => "" . (1 + $events[-1])})->status, 410, 'one that there is not';
    is $replay->({})->status, 400, 'none';
    is $replay->({event => 'x'})->status, 400, 'no id';
    is $replay->({event => "$event"}, (workspace())[1])->status, 404, "another's";
};

subtest 'how long it is tried' => sub {
    my ($source) = map { s/.*delivery_delays\[[^\]]*\] = \{(.*?)\}.*/$1/sr } Mojo::File->new($t->root, 'src/deliver/delivery.c')->slurp;
    my $seconds = eval join '+', $source =~ /\d+/g;
    cmp_ok abs($seconds / 86400 - 3), '<', .1, 'three days';
};

subtest 'where a name may lead' => sub {
    my ($id, $auth) = workspace();
    my @refused = (
        qw(127.0.0.2 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1),
        qw(:: ::1 fe80::1 fc00::1 fd12::1 ff02::1 2001:db8::1 ::ffff:127.0.0.2 ::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 2002:7f00:2::1 2001::1 ::127.0.0.2 100::1),
        "$GOOD,127.0.0.2", "$GOOD,::1"
    );
    names(map { ("n$_.example.com" => $refused[$_]) } 0 .. $#refused);
    my $mark = @{$receiver->requests};

    for my $i (0 .. $#refused) {
        my $answer = $near->post_json('/api/webhooks', {url => "https://n$i.example.com:$port/inner"}, $auth);
        if ($answer->status == 429) { $near->request(DELETE => "/api/webhooks/$_->{id}", $auth) for @{$near->get('/api/webhooks', $auth)->json('/webhooks')}; redo }
        my $hook = $answer->json('/webhook');
        line($auth);
        wait_for(sub { calls($auth, $hook) }, 30 * $slow, "$refused[$i] to be looked at");
        is_deeply [@{(calls($auth, $hook))[-1]}{qw(outcome reason status)}], ['failed', 'address_not_public', undef], "$refused[$i] is not called";
    }
    is scalar(grep { $_->{path} eq '/inner' } @{$receiver->requests}), 0, 'nobody was';

    # rebinding: what was looked at is what is called; nothing is asked once more
    names('moves.example.com' => "$GOOD|127.0.0.2");
    $near->request(DELETE => "/api/webhooks/$_->{id}", $auth) for @{$near->get('/api/webhooks', $auth)->json('/webhooks')};
    my $hook = $near->post_json('/api/webhooks', {url => "https://moves.example.com:$port/moves"}, $auth)->json('/webhook');
    line($auth);
    my ($call) = told('moves');
    is $call->{headers}{host}, 'moves.example.com', 'a name that moves is told where it was looked at';
    my @asked = grep {/^moves\.example\.com 1:/} split /\n/, $resolver->output;
    cmp_ok scalar(@asked), '<=', 2, '... once on a node';
    sleep 2;    # until what the resolver said is over: its answer is valid for a second
    line($auth);
    wait_for(sub { grep { ($_->{reason} // '') eq 'address_not_public' } calls($auth, $hook) }, 30 * $slow, '... and then, when it has moved, no more');

    names('hooks.example.com' => '');
    $near->request(DELETE => "/api/webhooks/$_->{id}", $auth) for @{$near->get('/api/webhooks', $auth)->json('/webhooks')};
    $hook = $near->post_json('/api/webhooks', {url => "https://gone.example.com:$port/gone"}, $auth)->json('/webhook');
    line($auth);
    wait_for(sub { grep { ($_->{reason} // '') eq 'name_not_resolved' } calls($auth, $hook) }, 30 * $slow, 'a name that there is not');
    names();

    # another name's certificate
    names('other.example.com' => $GOOD);
    $hook = $near->post_json('/api/webhooks', {url => "https://other.example.com:$port/other"}, $auth)->json('/webhook');
    line($auth);
    wait_for(sub { grep { ($_->{reason} // '') eq 'not_reached' } calls($auth, $hook) }, 30 * $slow, 'a certificate of another name');
    is scalar(grep { $_->{path} eq '/other' } @{$receiver->requests}), 0, '... is told nothing';
    $_->allow(qr/SSL_do_handshake|certificate/) for $near, $far;
    $near->request(DELETE => "/api/webhooks/$hook->{id}", $auth);
};

subtest 'a location that would ask once more' => sub {
    for (
        [{proxy_pass => "https://\$lines_webhook_host:$port\$lines_webhook_uri"}, qr/would go to another address than the one that was looked at/],
        [{proxy_pass => "https://127.0.0.2:$port\$lines_webhook_uri"}, qr/would go to another address than the one that was looked at/],
        [{proxy_ssl_name => 'moves.example.com'}, qr/would ask for another name's certificate by "proxy_ssl_name"/],
        [{proxy_pass => 'http://$lines_webhook_address$lines_webhook_uri'}, qr/would go over plain http/],
    ) {
        my ($set, $like) = @$_;
        my $db   = $t->redis;
        my $node = $t->nginx(redis => $db, http => "lines_plan wide phone included=100;\n" . out($fast), server => location(%$set));
        $node->allow(qr/\[alert\].*"lines_webhooks_out"|lines: call to/);
        $node->wait_redis;
        my $auth = $node->bearer($node->workspace('w', {plan => 'wide'}));
        my $mark = @{$receiver->requests};
        is $node->post_json('/api/webhooks', {url => "https://hooks.example.com:$port/wrong"}, $auth)->status, 201, 'made';
        $node->post_json('/api/line-requests', $shop->body(channelType => 'phone'), $auth);
        $node->wait_log($like);
        is scalar(@{$receiver->requests}), $mark, 'nothing is sent';
        $node->quit;
    }
};

subtest 'another secret' => sub {
    my ($id, $auth) = workspace();
    my $hook   = hook($auth, 'rotated');
    my $answer = $near->post("/api/webhooks/$hook->{id}/secret", '', $auth);
    my $secret = $answer->json('/secret');
    is $answer->status, 200, 'made' or diag $answer->to_string;
    isnt $secret, $hook->{secret}, 'another one';
    like $answer->json('/webhook/previousSecretUntil'), qr/Z$/, 'the one before counts yet';
    line($auth);
    my ($call) = told('rotated');
    is $call->{headers}{'webhook-signature'}, join(' ', map { signature($_, $call) } $secret, $hook->{secret}), 'both sign';
    $redis->cli(HSET => "lines:{w:$id}:hook:$hook->{id}", before_until => 1);
    line($auth);
    $call = (told('rotated', 2))[1];
    is $call->{headers}{'webhook-signature'}, signature($secret, $call), 'then the new one alone';

    my $kept = $redis->cli(HGET => "lines:{w:$id}:hook:$hook->{id}", 'secret');
    my @all  = map { my $k = $_; $redis->cli(TYPE => $k) eq 'hash' ? @{scalar $redis->cli(HGETALL => $k)} : () } $redis->client->keys('lines:*:hook:*');
    ok !(grep { index($_, $secret =~ s/^whsec_//r) >= 0 || index($_, unpack 'H*', decode_base64($secret =~ s/^whsec_//r)) >= 0 } @all), 'in Redis it is sealed';

    # of another webhook it is no secret
    my $other = hook($auth, 'swapped');
    $redis->cli(HSET => "lines:{w:$id}:hook:$other->{id}", secret => $kept);
    line($auth);
    wait_for(sub { grep { ($_->{reason} // '') eq 'secret' } calls($auth, $other) }, 20, 'one that was moved elsewhere');
    $_->allow(qr/the secret of webhook .* cannot be opened/) for $near, $far;
    $near->request(DELETE => "/api/webhooks/$other->{id}", $auth);

    # the operator's key
    my $new = $t->file('seal.new', encode_base64('k' x 32, '') . "\n");
    my $mark = (() = told('rotated', 3));
    for my $node ($near, $far) {
        $node->http($node->http =~ s{(_lines/webhooks) key_file=\S+}{$1 key_file=$new old_key_file=$key}r);
        $node->reload;
    }
    wait_for(sub { $redis->cli(HGET => "lines:{w:$id}:hook:$hook->{id}", 'secret') ne $kept }, 40 * $slow, 'it is sealed by the new key');
    for my $node ($near, $far) {
        $node->http($node->http =~ s/ old_key_file=\S+//r);
        $node->reload;
    }
    line($auth);
    $call = (told('rotated', $mark + 1))[-1];
    is $call->{headers}{'webhook-signature'}, signature($secret, $call), 'and signs as before';
};

subtest 'a receiver that does not answer is in nobody\'s way' => sub {
    $receiver->set(dead => {delay => 30});
    my @dead = map { [workspace()] } 1 .. 3;
    for my $who (@dead) { hook($who->[1], 'dead') for 1 .. 8; line($who->[1]) for 1 .. 4 }
    told('dead', 8);
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'alive');
    sleep 3;    # all of them have been found to be slow by then
    my @took;
    for my $i (1 .. 5) {
        my $begun = time;
        line($auth);
        told('alive', $i);
        push @took, time - $begun;
    }
    cmp_ok((sort { $a <=> $b } @took)[2], '<', 2 * $slow, "another's events come at once: @{[map { sprintf '%.2f', $_ } @took]}");
    $near->request(DELETE => "/api/webhooks/$_->{id}", $dead[0][1]) for @{$near->get('/api/webhooks', $dead[0][1])->json('/webhooks')};
    for my $who (@dead) { $near->request(DELETE => "/api/webhooks/$_->{id}", $who->[1]) for @{$near->get('/api/webhooks', $who->[1])->json('/webhooks')} }
};

subtest 'one that fails for days is paused, and says so' => sub {
    my ($id, $auth) = workspace();
    my $hook  = hook($auth, 'weary');
    my $watch = hook($auth, 'watch', types => ['webhook.paused']);
    $receiver->set(weary => 500);
    line($auth);
    wait_for(sub { show($auth, $hook)->{failingSince} }, 20, 'it fails');
    is show($auth, $hook)->{status}, 'active', 'for now it is tried';
    $redis->cli(HINCRBY => "lines:{w:$id}:hook:$hook->{id}", failing => -3_700_000);
    wait_for(sub { show($auth, $hook)->{status} eq 'paused' }, 40 * $slow, 'paused');
    is show($auth, $hook)->{reason}, 'failing', 'and why';
    my ($call) = told('watch');
    is_deeply $call->{json}{data}{webhook}, $hook->{id}, 'another webhook is told';
    is $call->{json}{data}{reason}, 'failing', '... why';

    my $mark = (() = told('weary', 1));
    $receiver->set(weary => 200);
    my $missed = line($auth);
    my $back   = $near->request(PATCH => "/api/webhooks/$hook->{id}", {%$auth, 'Content-Type' => 'application/json'}, '{"status":"active"}');
    is_deeply [@{$back->json('/webhook')}{qw(status reason failingSince)}], ['active', undef, undef], 'active again';
    wait_for(sub { grep { ($_->{json}{data}{line} // '') eq $missed && $_->{path} eq '/weary' } @{$receiver->requests} }, 30 * $slow, 'what it has missed is told');
    wait_for(sub { !show($auth, $hook)->{waiting} }, 40 * $slow, 'and what had failed');

    $receiver->set(weary => 410);
    line($auth);
    wait_for(sub { show($auth, $hook)->{status} eq 'paused' }, 40 * $slow, 'paused at once');
    is show($auth, $hook)->{reason}, 'gone', 'by one that says it is gone';
};

subtest 'a worker that is killed loses nothing' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'killed');
    $receiver->set(killed => {delay => 1.5});
    line($auth);
    my ($call) = told('killed');
    for my $node ($near, $far) { kill KILL => $_ for $node->children_pids; $node->killed->{$_} = 1 for $node->children_pids; $node->allow(qr/exited on signal 9/) }
    wait_for(sub { $_->get('/_lines/ready')->status == 200 }, 60, 'workers') for $near, $far;
    $receiver->set(killed => 200);
    my @again = told('killed', 2);
    is $again[-1]{headers}{'webhook-id'}, $call->{headers}{'webhook-id'}, 'another tells it, by the same id';
    wait_for(sub { !show($auth, $hook)->{waiting} }, 30, 'and that is that');
};

subtest 'they go with their tenant' => sub {
    my ($id, $auth) = workspace();
    my $hook = hook($auth, 'last');
    ok scalar(grep {/:hook/} $redis->client->keys("lines:{w:$id}:*")), 'there is something';
    is $near->admin(DELETE => "workspaces/$id")->status, 200, 'deleted';
    is_deeply [grep {/:hook/} $redis->client->keys("lines:{w:$id}:*")], [], 'nothing is left';
    wait_for(sub { !grep { grep {/^w:$id$/} @{scalar $redis->cli(ZRANGE => $_, 0, -1)} } $redis->client->keys('lines:{hd:*}') }, 30, 'nor looked at');
};

subtest 'there is room for one call: who has news while it is told has another turn' => sub {
    my $few  = Test::Lines::Account->new(t => $t, webhooks => 1, sandbox => $shop->sandbox, redis => $t->redis(name => 'few'));
    my $node = $few->nginx(%node, name => 'few', http => "lines_plan wide phone included=100000;\n" . out("$fast concurrency=2"));
    $node->wait_redis;
    my $auth = $node->bearer($few->workspace('few', plan => 'wide'));
    is $node->post_json('/api/webhooks', {url => "https://hooks.example.com:$port/turns"}, $auth)->status, 201, 'a webhook';
    $receiver->set(turns => {delay => 0.5});
    for my $n (1 .. 4) {
        $node->post_json('/api/line-requests', $few->body(channelType => 'phone'), $auth);
        told('turns', $n, "call $n");
    }
    ok 1, 'each was told, while the one before was under way';
};

subtest 'where none are offered' => sub {
    my $bare = $t->nginx(name => 'bare', redis => $redis);
    my ($id, $auth) = workspace();
    is_deeply $bare->get('/api/webhooks', $auth)->json, {error => 'Webhooks are not offered here'}, 'it is said';
};

$t->done;
