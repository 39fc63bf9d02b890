# Tokens whose signature is wrong cost an RSA verification each: so many of an address are looked at, and no more; what is remembered as good passes all the same.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::UNIX;
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $clerk = Test::Lines::Clerk->new(t => $t);
my $app   = $t->upstream(json => {from => 'upstream'});
my $url   = $app->url;
my $sock  = $t->dir . '/s';

$t->file('www/page', 'the page of 429');

my %common = (
    redis  => $redis,
    server => $clerk->location . $clerk->directive(failed => '1r/m') . <<"END",
listen unix:$sock;
set_real_ip_from 127.0.0.1;
real_ip_header X-Test-Address;
location /gate/   { lines_auth workspace; proxy_pass $url; }
location /page/   { lines_auth workspace; error_page 429 /page429; proxy_pass $url; }
location = /page429 { alias @{[$t->dir]}/www/page; }
location /any/    { satisfy any; auth_basic x; auth_basic_user_file $sock.users; lines_auth workspace; proxy_pass $url; }
location /asks/   { auth_request /ask; proxy_pass $url; }
location = /ask   { internal; lines_auth workspace; }
location /quick/  { @{[$clerk->directive(failed => '10r/s')]} lines_auth workspace; proxy_pass $url; }
location /preset/ { @{[$clerk->directive(failed => undef)]} lines_auth workspace; proxy_pass $url; }
location /all/    { @{[$clerk->directive(failed => 'unlimited')]} lines_auth workspace; proxy_pass $url; }
END
);
$t->file('s.users', "user:{PLAIN}password\n");

my $nginx = $t->nginx(%common);
$nginx->workspace(org_1 => {plan => 'growth'});

my $n = 0;
sub bearer ($token, $address = undef) { return {Authorization => "Bearer $token", $address ? ('X-Test-Address' => $address) : ()} }
sub good () { $clerk->token(org => 'org_1') }
sub bad () { state @parts = split /\./, good(); my ($h, $p, $s) = @parts; return join '.', $h, $p, sprintf('%06d', ++$n) . substr $s, 6 }
sub sample ($result, $node = $nginx) { my ($n) = $node->get('/_lines/metrics')->body =~ /^lines_token_signatures_total\{result="$result"\} (\d+)$/m; $n // 0 }
sub statuses (@answers) { my %n; $n{$_->status}++ for @answers; return \%n }

# what was looked at, in which result, by some code
sub looked ($code) {
    my @before = map { sample($_) } qw(good bad refused);
    $code->();
    my @after = map { sample($_) } qw(good bad refused);
    return [map { $after[$_] - $before[$_] } 0 .. 2];
}

subtest 'an API' => sub {
    my $known = good();
    is $nginx->get('/api/lines/by-user', bearer($known))->status, 200, 'a good one';
    my $answer;

    is_deeply looked(sub {
        is_deeply statuses(map { $nginx->get('/api/lines/by-user', bearer(bad())) } 1 .. 50), {401 => 1, 429 => 49}, 'fifty bad ones';
    }), [0, 1, 49], 'one was looked at';

    $answer = $nginx->get('/api/lines/by-user', bearer(bad()));
    is_deeply $answer->json, {error => 'Too many session tokens of this address failed', code => 'rate_limited'}, 'the words';
    cmp_ok $answer->header('Retry-After'), '>', 50, 'with Retry-After';
    cmp_ok $answer->header('Retry-After'), '<=', 60, '... of the rate';
    is $answer->header('WWW-Authenticate'), undef, 'nobody is asked for another token';
    like $nginx->error_log, qr/authentication failed: too-many-failures/, 'the log says why';
    is scalar(() = $nginx->error_log =~ /\[warn\].*too many session tokens of "127\.0\.0\.1" had a wrong signature/g), 1, '... and warns, once in a while';
    like $nginx->get('/_lines/metrics')->body, qr/^lines_auth_attempts_total\{method="clerk",outcome="too-many-failures"\} 50$/m, 'so do metrics';

    is_deeply looked(sub { is $nginx->get('/api/lines/by-user', bearer($known))->status, 200, 'who is known passes' for 1 .. 5 }), [0, 0, 0], '... without a look';
    is $nginx->get('/api/lines/by-user', bearer(good()))->status, 429, 'who is not has to wait';
    is $nginx->get('/api/lines/by-user', {%{bearer(bad())}, $_ => '10.9.8.7'})->status, 429, "$_ does not help" for 'X-Forwarded-For', 'X-Real-IP', 'Forwarded';
    is $nginx->get('/api/lines/by-user', bearer(good(), '10.0.0.1'))->status, 200, 'another address does not pay for it';
};

subtest 'what does not count' => sub {
    my $from = '10.0.1.1';
    my $get  = sub ($token) { $nginx->get('/gate/x', bearer($token, $from)) };
    my ($h, $p, $s) = split /\./, good();

    is_deeply looked(sub { is $get->("$h.$p." . 'A' x length($s) . 'AAAA')->status, 401, 'a signature of another length' for 1 .. 5 }), [0, 0, 0], '... is not computed';
    is_deeply looked(sub { is $get->($clerk->token(header => {alg => 'HS256'}))->status, 401, 'another algorithm' for 1 .. 5 }), [0, 0, 0], '... is not';

    my @old = map { $clerk->token(org => 'org_1', claims => $_) } {exp => time() - 10 | 0}, {iss => 'https://other.example.com'}, {sts => 'pending'};
    is_deeply looked(sub { for my $old (@old) { is $get->($old)->status, 401, 'signed, and refused' for 1 .. 10 } }), [3, 0, 0], '... is computed once';
    like $nginx->error_log, qr/authentication failed: $_/, $_ for qw(token-expired token-invalid-issuer session-pending);

    my $early = $clerk->token(org => 'org_1', claims => {nbf => time() + 7 | 0});
    is $get->($early)->status, 401, 'not yet active';
    wait_for(sub { $get->($early)->status == 200 }, 30, 'one that is not active yet to be it');
    is $get->(good())->status, 200, 'none of them has counted';
};

subtest 'addresses' => sub {
    my $spend = sub ($address) { $nginx->get('/gate/x', bearer(bad(), $address))->status };

    is $spend->('2001:db8:1:2::1'), 401, 'an address of IPv6';
    is $spend->('2001:db8:1:2:ffff::9'), 429, 'another of its /64';
    is $spend->('2001:db8:1:3::1'), 401, 'another /64';
    is $spend->('10.0.2.1'), 401, 'of IPv4';
    is $spend->('::ffff:10.0.2.1'), 429, 'the same, mapped';
    is $spend->('10.0.2.2'), 401, 'another';

    my $unix = sub () {
        my $s = IO::Socket::UNIX->new(Peer => $sock) or die "$sock: $!";
        syswrite $s, "GET /gate/x HTTP/1.0\r\nAuthorization: Bearer " . bad() . "\r\n\r\n";
        local $/; my $in = <$s>; return $in =~ m{^HTTP/1.1 (\d+)} ? $1 : 0;
    };
    is $unix->(), 401, 'a Unix socket';
    is $unix->(), 429, 'all of them are one';
};

subtest 'gateways' => sub {
    my %json = (error => 'Too many session tokens of this address failed', code => 'rate_limited');
    my $bad  = sub ($path, %headers) { $nginx->get($path, {%{bearer(bad(), '10.0.3.1')}, %headers}) };

    is $bad->('/gate/x')->status, 401, 'the first';
    for my $path (qw(/gate/x /asks/x /any/x)) {
        my $answer = $bad->($path);
        is $answer->status, 429, "$path: the next";
        ok $answer->header('Retry-After'), 'with Retry-After';
        is_deeply $answer->json, \%json, 'in the dialect';
    }
    my $answer = $bad->('/page/x');
    is $answer->status, 429, 'error_page: the status';
    is $answer->body, 'the page of 429', 'and the page';
    ok $answer->header('Retry-After'), 'with Retry-After';
    is $nginx->get('/any/x', {Authorization => 'Basic dXNlcjpwYXNzd29yZA==', 'X-Test-Address' => '10.0.3.1'})->status, 200, 'satisfy any: another way in';
};

subtest 'time' => sub {
    for my $path ('/quick/x', '/preset/x') {
        my $from  = $path =~ /quick/ ? '10.0.4.1' : '10.0.4.2';
        my $begun = time;
        my $looked = looked(sub { concurrently(100, sub ($i) { $nginx->get_p($path, bearer(bad(), $from)) }) });
        my $took  = time - $begun;
        cmp_ok $looked->[1], '>=', 10, "$path: as many at once as a second brings";
        cmp_ok $looked->[1], '<=', 10 + 10 * $took + 1, sprintf '... and no more than ten a second (%d in %.1f s)', $looked->[1], $took;
        is $looked->[1] + $looked->[2], 100, 'all others are refused';
        wait_for(sub { $nginx->get($path, bearer(good(), $from))->status == 200 }, 30, 'it passes by');
    }
    is_deeply looked(sub { $nginx->get('/all/x', bearer(bad(), '10.0.4.3')) for 1 .. 30 }), [0, 30, 0], 'unlimited';
};

subtest 'more addresses than there is room for' => sub {
    my $node = $t->nginx(%common, zone => 'lines:1m', server => $common{server} =~ s/^listen unix.*\n//mr);
    my $free = sub () { my ($n) = $node->get('/_lines/metrics')->body =~ /^lines_zone_free_bytes (\d+)$/m; $n };
    is $node->get('/gate/x', bearer(bad(), '10.1.0.1'))->status, 401, 'one';
    my $before = $free->();
    my %seen = %{statuses(concurrently(1000, sub ($i) { $node->get_p('/gate/x', bearer(bad(), sprintf '10.2.%d.%d', $i / 200, $i % 200)) }))};
    is_deeply \%seen, {401 => 1000}, 'a thousand of others';
    is $free->(), $before, 'nothing has grown';
    is $node->get('/gate/x', bearer(bad(), '10.3.0.1'))->status, 401, 'a new one';
    is $node->get('/gate/x', bearer(bad(), '10.3.0.1'))->status, 429, '... is remembered';
};

subtest 'configuration' => sub {
    for (qw(0r/s 1001r/s 10 10r/h r/s 10r/d x)) {
        my ($code, $out) = $t->test_config(redis => $redis, server => $clerk->location . $clerk->directive(failed => $_));
        isnt $code, 0, "refused: $_";
        like $out, qr/invalid parameter "failed=\Q$_\E" in "lines_clerk"/, 'and says so';
    }
};

$t->done;
