# Long lists: a page for those who ask, all of it for those who do not; what one tenant reads costs the others nothing.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(true);
use IO::Select;
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::H2;
use Time::HiRes ();

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=3s', plans => <<'END', server => 'location = /ping { return 204; }');
lines_plan bulk phone included=100000;
lines_plan bulk email included=1000;
END

my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $day   = 86400 * 1000;

# a line as the API makes it, and copies of it, each older than the one before, by a second
sub copies ($id, $key, $n, $step = 1000, $like = \%phone) {
    my $line = $nginx->post_json('/api/line-requests', $like, $nginx->bearer($key))->json('/line/_id');
    $redis->client->eval(<<'END', 1, "lines:{w:$id}:lines", "lines:{w:$id}:line:", $line, $n, $step);
local doc = redis.call('GET', ARGV[1] .. ARGV[2])
local record = string.gsub(ARGV[1], 'line:$', 'rec:')
local h = redis.call('HGETALL', record .. ARGV[2])
local at = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]))
for i = 1, ARGV[3] - 1 do
    local id = string.format('%024x', i)
    redis.call('SET', ARGV[1] .. id, (string.gsub(doc, ARGV[2], id)))
    redis.call('HSET', record .. id, unpack(h))
    redis.call('ZADD', KEYS[1], string.format('%.0f', at - i * ARGV[4]), id)
end
END
    return ($line, map { sprintf '%024x', $_ } 1 .. $n - 1);
}

sub h ($id, $line, %fields) { $redis->line_before("w:$id", $line, %fields) }

my $key  = $nginx->workspace(long => {plan => 'bulk', subscription => 'active'});
my $auth = $nginx->bearer($key);
my @ids  = copies(long => $key, 300);

my $other = $nginx->bearer($nginx->workspace(other => {plan => 'bulk', subscription => 'active'}));
my $mine  = $nginx->post_json('/api/line-requests', \%phone, $other)->json('/line/_id');

my $huge = $nginx->bearer(my $huge_key = $nginx->workspace(huge => {plan => 'bulk', subscription => 'active'}));
copies(huge => $huge_key, 10_000);

subtest 'all lines, or a page for those who ask' => sub {
    my $all = $nginx->get('/api/lines/by-user', $auth)->json;
    is_deeply [map { $_->{_id} } @{$all->{lines}}], \@ids, 'all, newest first';
    is_deeply [keys %$all], ['lines'], 'and nothing else, as documented';
    is $nginx->request(HEAD => '/api/lines/by-user', $auth)->header('Content-Length'), length $nginx->get('/api/lines/by-user', $auth)->body, 'HEAD says how long it is';

    for my $limit (1, 49, 50, 51, 99, 100, undef) {
        my (@seen, $cursor, $pages);

        do {
            my @query = ((defined $limit ? "limit=$limit" : ()), (defined $cursor ? "cursor=$cursor" : ()));
            @query = ('limit=100') unless @query;
            my $page = $nginx->get('/api/lines/by-user?' . join('&', @query), $auth)->json;
            cmp_ok @{$page->{lines}}, '<=', $limit // 100, 'a page' unless $limit && $limit == 1;
            push @seen, map { $_->{_id} } @{$page->{lines}};
            ok $page->{lines}[0]{usage}, 'with the usage' unless $pages++ || !@{$page->{lines}};
            $cursor = $page->{cursor};
        } while (defined $cursor && @seen < 400);

        is_deeply \@seen, \@ids, 'each once, a page of ' . ($limit // 'no limit given');
    }

    is $nginx->get("/api/lines/by-user?$_", $auth)->status, 400, "$_ is refused" for qw(limit=0 limit=101 limit=x cursor= cursor=x);
    is @{$nginx->get('/api/lines/by-user?page=2', $auth)->json('/lines')}, 300, 'what is not known is ignored';
};

subtest 'thousands of lines of one instant' => sub {
    my $same = $nginx->bearer(my $same_key = $nginx->workspace(same => {plan => 'bulk', subscription => 'active'}));
    copies(same => $same_key, 2300, 0);
    my (%seen, $cursor, $pages);

    do {
        my $page = $nginx->get('/api/lines/by-user?limit=100' . (defined $cursor ? "&cursor=$cursor" : ''), $same)->json;
        $seen{$_->{_id}}++ for @{$page->{lines}};
        $cursor = $page->{cursor};
    } while (defined $cursor && ++$pages < 40);

    is keys %seen, 2300, 'each is on a page';
    is_deeply [grep { $_ != 1 } values %seen], [], 'once';
};

subtest 'what has ended is shown for 30 days' => sub {
    my $now  = time * 1000;
    my %case = (
        $ids[1] => [1, status => 'failed',   active => 0, ended => $now - 29 * $day],
        $ids[2] => [0, status => 'failed',   active => 0, ended => $now - 31 * $day],
        $ids[3] => [1, status => 'canceled', active => 0, ended => $now - 29 * $day],
        $ids[4] => [0, status => 'canceled', active => 0, ended => $now - 31 * $day],
        $ids[5] => [0, status => 'canceled', active => 0, updated  => $now - 31 * $day],     # of before there was "ended"
        $ids[6] => [1, status => 'active',   active => 0, released => $now - 29 * $day],
        $ids[7] => [0, status => 'active',   active => 0, released => $now - 31 * $day],
        $ids[8] => [0, status => 'active',   active => 0, lapsed   => $now - 31 * $day],
        $ids[9] => [1, status => 'active',   active => 1, updated  => $now - 310 * $day, created => $now - 310 * $day],
        $ids[10] => [1, status => 'provisioning', updated => $now - 310 * $day],
    );
    h(long => $_, @{$case{$_}}[1 .. $#{$case{$_}}]) for keys %case;

    my %seen = map { $_->{_id} => 1 } @{$nginx->get('/api/lines/by-user', $auth)->json('/lines')};
    is $seen{$_} // 0, $case{$_}[0], "$case{$_}[2]: @{$case{$_}}[3 .. $#{$case{$_}}]" for sort keys %case;
    is keys %seen, 295, 'all others are shown';

    my $list = $nginx->get('/api/line-requests?limit=11', $auth)->json('/lineRequests');
    is_deeply [map { $_->{_id} } @$list], [@ids[0 .. 10]], 'requests are listed for ever';
};

subtest 'many readers of a long list take nothing from others' => sub {
    my @answers = concurrently(96, sub ($i) {
        $i % 2 ? $nginx->get_p('/api/lines/by-user', $auth) : $nginx->get_p("/api/line-requests/$mine", $other);
    });
    my %status;
    $status{$_->status}++ for @answers;
    is_deeply \%status, {200 => 96}, 'all are answered' or diag explain \%status;
    is scalar(grep { @{$_->json('/lines') // []} == 295 } @answers), 48, 'each list is whole';
};

# a client that is not of this event loop; returns how long each answer took
sub pings ($seconds) {
    pipe my $in, my $out or die;
    my $pid = fork // die;

    if (!$pid) {
        my @took;
        my $end = Time::HiRes::time() + $seconds;
        while (Time::HiRes::time() < $end) {
            my $start = Time::HiRes::time();
            $nginx->raw("GET /ping HTTP/1.0\r\n\r\n") =~ / 204 / or last;
            push @took, Time::HiRes::time() - $start;
        }
        print $out "@took\n";
        close $out;
        POSIX::_exit(0);
    }

    close $out;
    return sub { my @took = split ' ', <$in>; waitpid $pid, 0; return sort { $a <=> $b } @took };
}

# MB of the largest process; with a sanitizer what is freed is not given back at once
sub resident ($of) {
    my @kb = map { path("/proc/$_/status")->slurp =~ /^VmRSS:\s+(\d+)/m ? $1 : 0 } $of->pids;
    return $t->slow == 1 ? (sort { $b <=> $a } @kb)[0] / 1024 : 0;
}

subtest 'the worker is not held, nor is Redis' => sub {
    my $before = resident($nginx);
    $redis->cli('CONFIG', 'SET', 'slowlog-log-slower-than', 3000);
    $redis->cli('SLOWLOG', 'RESET');
    my $pings = pings(2);
    my $start = Time::HiRes::time();

    # HEAD makes the whole list, and does not send it
    my @answers = concurrently(24, sub ($i) {
        $i % 12 ? $nginx->request_p(HEAD => '/api/lines/by-user', $huge) : $nginx->get_p('/api/line-requests', $other);
    });
    my $took  = Time::HiRes::time() - $start;
    my @pings = $pings->();

    is scalar(grep { $_->status == 200 } @answers), 24, 'all are answered';
    my %length = map { $_ => 1 } grep { $_ > 5_000_000 } map { $_->header('Content-Length') } @answers;
    is keys %length, 1, 'ten thousand lines each';
    cmp_ok resident($nginx) - $before, '<', 60, 'what is not sent is not kept';
    my $usual = $pings[@pings / 2];
    cmp_ok $usual, '<', 0.1 * $t->slow, sprintf 'another client waits %.1f ms as a rule, %.1f at the most, in %d tries; the lists took %.1f s',
      1000 * $usual, 1000 * $pings[-1], scalar @pings, $took;

    my @long = sort { $a <=> $b } map { $_->[2] / 1000 } @{scalar $redis->cli('SLOWLOG', 'GET', 1000)};

    # the machine may be busy, and hold this one or that; a list read as one would show each time
    cmp_ok scalar(grep { $_ > 50 } @long), '<', 20 * $t->slow, sprintf 'no command holds Redis: of thousands, %d took more than 3 ms, the longest %.1f', scalar @long, $long[-1] // 0;
};

subtest 'clients that leave' => sub {
    for my $round (1 .. 40) {
        my $socket = $nginx->socket;
        syswrite $socket, "GET /api/lines/by-user HTTP/1.1\r\nHost: x\r\nAuthorization: $huge->{Authorization}\r\n\r\n";
        Time::HiRes::sleep(0.01) if $round % 4 == 0;
        $nginx->reset_connection($socket);
    }
    is $nginx->get('/api/lines/by-user?limit=100', $huge)->status, 200, 'leave their turns to others';

    # some left before anybody could see it: their lists come to an end by themselves
    wait_for(sub { $nginx->get('/_lines/ready')->json('/redis/inFlight') == 0 }, 150, 'nothing to be in flight');
};

subtest 'Redis away: who waits for a turn is answered as the others' => sub {
    $redis->pause;
    my $start   = Time::HiRes::time();
    my @answers = concurrently(40, sub ($i) { $nginx->get_p('/api/lines/by-user', $i % 2 ? $auth : $other) });
    my $took    = Time::HiRes::time() - $start;
    $redis->cont;
    is scalar(grep { $_->status == 503 && $_->header('Retry-After') } @answers), 40, '503, and when to come again';
    cmp_ok $took, '<', 30 * $t->slow, 'after ten seconds without a turn, and two without Redis, at the latest';
    $nginx->wait_redis;
    is @{$nginx->get('/api/lines/by-user', $auth)->json('/lines')}, 295, 'and then it is as before';
};

subtest 'who has to wait for too long is told so' => sub {
    my $heard = sub { (my @of = $redis->cli('PUBSUB NUMSUB', 'lines:revoked'))[1] };
    my $then  = $heard->();
    my $slow  = $t->nginx(name => 'slow', redis => $redis, redis_options => 'timeout=' . 60 * $t->slow . 's');
    wait_for(sub { $heard->() > $then }, 20, 'its subscription, without which no key is known for long');
    is $slow->get('/api/lines/by-user?limit=1', $_)->status, 200, 'known' for $auth, $other;
    $redis->pause;
    my @left;

    # two of a tenant may read at a time: two wait for them, another tenant's does not
    for my $headers (($auth) x 4, $other) {
        my $socket = $slow->socket;
        syswrite $socket, "GET /api/lines/by-user?limit=1 HTTP/1.0\r\nAuthorization: $headers->{Authorization}\r\n\r\n";
        push @left, $socket;
    }

    my $start  = Time::HiRes::time();
    my $select = IO::Select->new(@left);
    my @answers;
    while (@answers < 2 && (my @ready = $select->can_read(45 * $t->slow))) {
        for my $socket (@ready) {
            sysread $socket, my $answer, 65536;
            push @answers, $answer;
            $select->remove($socket);
        }
    }
    my $took = Time::HiRes::time() - $start;
    cmp_ok $took, '>', 8, 'after ten seconds';
    cmp_ok $took, '<', 40 * $t->slow, '... or a few more on a busy machine';
    is scalar(grep { m{^HTTP/1.1 503 .*^Retry-After: }ms } @answers), 2, '503, and when to come again';
    $redis->cont;
    is $select->count, 3, 'the others have their turn, or had it';

    for my $socket ($select->handles) {
        ok $select->can_read(30) && sysread($socket, my $answer, 65536), 'answered';
        like $answer, qr{^HTTP/1.1 200 }, 'those whose turn it was have their list';
    }
};

# of HTTP/2, whose client does not read
my $h2nginx = $t->nginx(name => 'h2', redis => $redis, redis_options => 'timeout=3s', h2 => 1);

sub unread ($auth, $n) {
    my $h2 = Test::Lines::H2->new(port => $h2nginx->h2_port, window => 0, credit => 'none');
    return ($h2, map { $h2->request(GET => '/api/lines/by-user', {authorization => $auth->{Authorization}}) } 1 .. $n);
}

subtest 'whoever was answered has no turn any more, though it does not read' => sub {
    is $h2nginx->get('/api/lines/by-user', $other)->status, 200, 'known';
    $redis->pause;
    my ($h2, @streams) = unread($other, 2);
    is scalar(grep { $h2->wait($_, 20, 'headers') } @streams), 2, 'errors, while Redis is away';
    $redis->cont;
    $h2nginx->wait_redis;
    wait_for(sub { $h2nginx->get("/api/line-requests/$mine", $other)->status == 200 }, 30, 'Redis');
    is $h2nginx->get('/api/lines/by-user', $other)->status, 200, 'and the next one has its list';
    $h2->leave;
};

subtest 'lists that nobody reads take a bounded room' => sub {
    is $h2nginx->get('/api/lines/by-user?limit=1', $_)->status, 200, 'known' for $huge, $other;
    my $before = resident($h2nginx);
    my ($h2, @streams) = unread($huge, 24);
    ok $h2->wait($streams[0], 30, 'headers'), 'one is let through';
    is $h2nginx->get('/api/lines/by-user?limit=100', $huge)->status, 200, 'a page never waits for it';
    is $h2nginx->get('/api/lines/by-user', $other)->status, 200, 'nor does another tenant';
    is @{$h2nginx->get('/api/lines/by-user', $auth)->json('/lines')}, 295, '... which has more';

    is scalar(grep { $h2->wait($_, 60, 'headers') } @streams), 24, 'all have begun in the end';
    is scalar(grep { $h2->{streams}{$_}{status} != 200 } @streams), 0, 'with what there was room for';
    cmp_ok resident($h2nginx) - $before, '<', 60, 'MB, where 24 whole lists were 140';
    is @{$h2nginx->get('/api/lines/by-user', $huge)->json('/lines') // []}, 10_000, 'another client of the tenant, which reads, has it all meanwhile';

    $h2->leave;
    is scalar(grep { @{$_->json('/lines') // []} == 10_000 } concurrently(3, sub ($i) { $h2nginx->get_p('/api/lines/by-user', $huge) })), 3,
      'who reads has it, whoever else does';
};

# each line with all that a client can put into it
my %big = (
    %phone, map({ $_ => "\x{1f600}" x 100 } qw(firstName lastName)), state => "\x{1f600}" x 64,
    profileImageUrl => 'https://x/' . "\x{1f600}" x 2038
);

sub greedy ($id, $n) {
    my $key = $h2nginx->workspace($id => {plan => 'bulk', subscription => 'active'});
    copies($id, $key, $n, 1000, \%big);
    return $h2nginx->bearer($key);
}

subtest 'long lines: no tenant has more than its part' => sub {
    my $greedy = greedy(greedy => 300);
    my @query  = ('', '?limit=100', '?limit=50');
    my $before = resident($h2nginx);
    my @h2     = map { Test::Lines::H2->new(port => $h2nginx->h2_port, window => 0, credit => 'none') } 1, 2;
    my @all    = map { my $h2 = $_; map { [$h2, $h2->request(GET => "/api/lines/by-user$query[$_ % 3]", {authorization => $greedy->{Authorization}})] } 1 .. 80 } @h2;

    $_->[0]->wait($_->[1], 60, 'headers') for @all;
    my %status;
    $status{$_->[0]{streams}{$_->[1]}{status}}++ for @all;
    ok $status{200} && $status{503} && $status{200} + $status{503} == 160, 'some begin, the others hear that it is too much' or diag explain \%status;
    cmp_ok resident($h2nginx) - $before, '<', 45, 'MB, where first pages alone were 130';

    my $slow   = Test::Lines::H2->new(port => $h2nginx->h2_port, window => 0, credit => 'none');
    my $unread = $slow->request(GET => '/api/lines/by-user', {authorization => $other->{Authorization}});
    ok $slow->wait($unread, 20, 'headers'), 'another tenant does not read, either';
    is @{$h2nginx->get('/api/lines/by-user', $auth)->json('/lines') // []}, 295, 'a third has its list';
    is @{$h2nginx->get('/api/lines/by-user', $huge)->json('/lines') // []}, 10_000, 'and a fourth a long one';
    $_->leave for @h2, $slow;
};

subtest 'a list larger than all there is for a tenant' => sub {
    my $n      = 3000;
    my $greedy = greedy(larger => $n);
    my $before = resident($h2nginx);

    # each reads when it likes; a list of its own is 29 MB
    my @answers = concurrently(3, sub ($i) { $h2nginx->get_p('/api/lines/by-user', $greedy) });
    is scalar(grep { @{$_->json('/lines') // []} == $n } @answers), 3, 'is sent, in parts, to whoever reads';
    my %seen = map { $_->{_id} => 1 } @{$answers[0]->json('/lines')};
    is keys %seen, $n, 'each line once';
    cmp_ok $h2nginx->request(HEAD => '/api/lines/by-user', $greedy)->header('Content-Length'), '==', length $answers[0]->body, 'HEAD says how long it is';

    my $h2 = Test::Lines::H2->new(port => $h2nginx->h2_port);
    my $stream = $h2->request(GET => '/api/lines/by-user', {authorization => $greedy->{Authorization}});
    is @{$h2->answer($stream, 60)->json('/lines') // []}, $n, 'over HTTP/2 as well';
    $h2->leave;
    cmp_ok resident($h2nginx) - $before, '<', 60, 'MB at the most' if $t->slow == 1;
};

subtest 'what fails once a list has begun cuts it off' => sub {
    my $greedy = $h2nginx->bearer($h2nginx->workspace(cut => {plan => 'bulk', subscription => 'active'}));
    my ($key) = $greedy->{Authorization} =~ /(\S+)$/;
    copies(cut => $key, 3000, 1000, \%big);
    my $socket = $h2nginx->socket;
    syswrite $socket, "GET /api/lines/by-user HTTP/1.1\r\nHost: x\r\nAuthorization: $greedy->{Authorization}\r\n\r\n";
    IO::Select->new($socket)->can_read(30);
    sysread $socket, my $got, 65536;
    like $got, qr{^HTTP/1.1 200 .*^Transfer-Encoding: chunked}ms, 'it has begun';
    $redis->pause;
    my $end = time + 60;
    while (time < $end && IO::Select->new($socket)->can_read(20)) { sysread($socket, $got, 1 << 20, length $got) or last }
    $redis->cont;
    unlike $got, qr/\r\n0\r\n\r\n\z/, 'its end is missing';
    unlike $got, qr/\]\}\r\n/, 'of the JSON, too';
    $h2nginx->wait_redis;
    wait_for(sub { $h2nginx->get('/_lines/ready')->json('/redis/inFlight') == 0 }, 30, 'nothing in flight');
};

$t->done;
