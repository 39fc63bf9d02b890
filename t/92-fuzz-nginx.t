# Streams of HTTP/1.1 and HTTP/2 as no client would send them, to every route that there is: no worker ends, nothing is
# said that is an alert or a sanitizer's, nobody gets a 500, no connection is left, and who asks well is answered well.
#
#   LINES_FUZZ_SECONDS=3600   for longer ("make fuzz")
#   LINES_SEED=N              from this batch on: the first that a failure names; LINES_FUZZ_BATCHES=1: that one alone
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Errno qw(EAGAIN EWOULDBLOCK EINPROGRESS);
use IO::Select;
use IO::Socket::INET;
use List::Util qw(shuffle);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Client;
use Time::HiRes qw(time);

my $seconds = $ENV{LINES_FUZZ_SECONDS} // 10;
my $batches = $ENV{LINES_FUZZ_BATCHES} // 1e9;
my $seed    = $ENV{LINES_SEED} // time & 0xffffff;

my $t    = Test::Lines->new(timeout => 900 + 2 * $seconds);
my $shop = Test::Lines::Account->new(t => $t, webhooks => 0);

my $nginx = $shop->nginx(
    h2      => 1,
    workers => 2,
    http    => <<'END',
client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s; keepalive_timeout 2s; lingering_timeout 1s;
lingering_time 2s; reset_timedout_connection on; large_client_header_buffers 4 4k;
END
    server => <<'END'
location /account/ { lines_account_api; }
location /gate/ { lines_auth workspace; lines_rate_limit rate=50r/s burst=50 key=ip name=gate; lines_rate_limit rate=50r/s; empty_gif; }
location /limited/ { lines_workspace_api; lines_rate_limit rate=5r/s burst=5; }
location = /status { stub_status; }
END
);

my $steady = $nginx->bearer($nginx->workspace('steady'));
my $key    = $nginx->workspace('one');
my $pair   = $shop->account('two', plan => 'inbound_only');
my $paid   = $shop->workspace('three');
my $token  = $t->admin_token;
$shop->numbers(200);

# all that the documents name, and what they do not
my @routes = (map { [GET => $_] } qw(/gate/x /gate/ /_lines/metrics /_lines/ready /nothing / /api /api/ /limited/lines/by-user));
push @routes, [POST => '/webhooks/stripe'], [POST => '/limited/line-requests'], [POST => '/account/lines/add-line'];

for my $file (map { path($t->root, 'conf', $_) } qw(api/openapi.yaml openapi-operator.yaml)) {
    my $at;
    for (split /\n/, $file->slurp) {
        if    (m{^  (/\S+):\s*$})                          { $at = $1 }
        elsif (/^\S/)                                      { $at = undef }
        elsif ($at && /^    (get|post|put|delete):\s*$/)   { push @routes, [uc $1, $at] }
    }
}
cmp_ok scalar @routes, '>', 40, scalar(@routes) . ' routes';

# ---- what is drawn

sub one (@of) { $of[rand @of] }
sub chance ($n) { rand() < $n }

my @known = ('x');    # lines, operations that were seen

sub uri ($path) {
    $path =~ s/\{[^}]*\}/one('one', 'two', 'three', @known, 'x' x int rand 80, '%00', '%2f', '..', 'gate')/ge;
    $path .= '?' . join '&', map { one(qw(limit= cursor= status= id= state= & %)) . one(1, 100, -1, 'abc', '%ff', 'MTcwMDAwMDAwMC94', 'provisioning', @known) } 1 .. 1 + rand 3 if chance(.3);
    $path = one("/$path", "$path/", "$path#x", uc $path, $path =~ s{/}{//}r, $path =~ s{a}{%61}r, "http://x$path") if chance(.1);
    return $path;
}

my @bodies = (
    {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'},
    {firstName => 'Ada', lastName => 'L', channelType => 'email', email => 'ada@example.com', idempotencyKey => 'k'},
    {action => 'cancel'}, {action => 'payment_link'}, {preview_token => 'lpv_x'}, {line_request_type => 'phone', desired_area_code => '415'},
    {plan => 'growth', subscription => 'active'}, {status => 'active'}, {rate => '5r/s'},
    {numbers => [{phone_number => '+14155550000', worker_id => 'w'}]}, {newConversationsCount => 1, totalMessagesCount => 2},
    {note => 'seen', outcome => 'refunded'}, {}
);

sub body () {
    my $text = encode_json(one(@bodies));
    return $text                                                       if chance(.5);
    return ''                                                          if chance(.1);
    return one('[' x 40, '{"a":' x 300, 'null', "\0", "\xff\xfe", '"', '{"firstName":"\ud800"}') if chance(.2);
    return $text . ' ' x (10 ** int rand 6)                            if chance(.2);
    substr($text, rand length $text, rand 4) = chr rand 256            for 1 .. 1 + rand 4;
    return $text;
}

# who may ask that, mostly
sub headers ($h2, $path) {
    my @headers;
    my $right = chance(.75);
    if    ($right && $path =~ m{^/_lines/})    { push @headers, [Authorization => "Bearer $token"] }
    elsif ($right && $path =~ m{^/accounts?/}) { push @headers, map { [$_ => $pair->{headers}{$_}] } sort keys %{$pair->{headers}} }
    elsif ($right)                             { push @headers, [Authorization => 'Bearer ' . one($key, $paid)] }
    push @headers, [Authorization => one("Bearer $key", "Bearer $token", 'Bearer x', 'Basic eDp5', 'Bearer ' . 'a' x rand 9000, '')] if chance($right ? .05 : .8);
    push @headers, ['Idempotency-Key', one('a', 'b', 'c' x 300, "\x80", '')] if chance(.2);
    push @headers, [Cookie => '__session=' . one('', 'x', 'a.b.c', 'eyJ.eyJ.e')] if chance(.1);
    push @headers, ['Content-Encoding' => one(qw(gzip identity), ',')] if chance(.05);
    push @headers, ['X-Request-Id' => one('mine', 'x' x 300, '"')] if chance(.1);
    push @headers, ['If-None-Match' => '*'], [Range => 'bytes=0-1,2-'] if chance(.05);
    push @headers, ['Expect' => '100-continue'] if chance(.05) && !$h2;
    push @headers, ["X-$_" => 'y' x rand 200] for 1 .. (chance(.05) ? 120 : 0);
    return shuffle @headers;
}

sub method ($is) { chance(.9) ? $is : one(qw(GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT FOO)) }

# ---- HTTP/1.1: bytes, and how they end

sub chunked ($body) {
    my $out = '';
    while (length $body) {
        my $part = substr $body, 0, 1 + rand(one(3, 100, 70000)), '';
        $out .= sprintf('%x', length $part) . one('', '', '', ';x=y', ' ') . "\r\n$part\r\n";
    }
    return $out . one("0\r\n\r\n", "0\r\n\r\n", "0\r\n\r\n", "0\r\nX: y\r\n\r\n", 'zz', "ffffffffffffffff\r\n", '0', "-1\r\n");
}

sub http1 () {
    my $bytes = '';

    for (1 .. one(1, 1, 1, 2, 5, 20)) {
        my ($method, $path) = @{one(@routes)};
        my $body = $method =~ /^P/ || chance(.1) ? body() : undef;
        my @lines = (method($method) . ' ' . uri($path) . ' ' . one(('HTTP/1.1') x 12, 'HTTP/1.0', 'HTTP/9.9', ''));
        push @lines, 'Host: x' unless chance(.02);
        push @lines, map {"$_->[0]: $_->[1]"} headers(0, $path);
        push @lines, 'Connection: ' . one(qw(close keep-alive upgrade)) if chance(.2);

        if (defined $body) {
            push @lines, 'Content-Type: ' . one(('application/json') x 8, 'text/plain', '', 'application/x-www-form-urlencoded');
            if    (chance(.3)) { push @lines, 'Transfer-Encoding: chunked'; $body = chunked($body) }
            elsif (chance(.1)) { push @lines, 'Content-Length: ' . one(0, length($body) + 5, int(length($body) / 2), '-1', '99999999999', '1e3', '300000') }
            else               { push @lines, 'Content-Length: ' . length $body }
        }

        my $eol = chance(.03) ? "\n" : "\r\n";
        $bytes .= join($eol, @lines, '', '') . ($body // '');
        substr($bytes, rand length $bytes, 1) = chr rand 256 if chance(.05);
        $bytes = substr $bytes, 0, rand length $bytes if chance(.08);
    }

    return $bytes;
}

# ---- HTTP/2

sub frame ($type, $flags, $stream, $payload) { substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload }

sub text ($value) {
    my $length = length $value;
    return pack('C', $length) . $value if $length < 127;
    my $out = pack 'C', 127;
    for ($length -= 127; $length >= 128; $length >>= 7) { $out .= pack 'C', $length & 127 | 128 }
    return $out . pack('C', $length) . $value;
}

sub settings () {
    return join '', map { pack 'nN', @$_ } map {
        one([4, one(0, 1, 100, 65535, 0x7fffffff, 0x80000000)], [5, one(16384, 16777215, 1)], [1, one(0, 4096, 65536)], [3, one(0, 1, 1000)], [2, one(0, 1, 2)], [6, 100], [99, 1])
    } 1 .. rand 4;
}

sub noise ($id) {
    return one(
        sub { frame(8, 0, one(0, $id), pack 'N', one(1, 100, 65535, 0x7fffffff, 0)) },
        sub { frame(4, 0, 0, settings()) },
        sub { frame(4, 1, 0, '') },
        sub { frame(6, one(0, 1), 0, 'x' x 8) },
        sub { frame(2, 0, one($id, $id + 2, 1), pack 'NC', one(0, $id, 1, 0x80000001), rand 256) },
        sub { frame(3, 0, one($id, 1, $id + 2), pack 'N', int rand 14) },
        sub { frame(9, 4, $id, 'x') },
        sub { frame(int rand 20, int rand 256, one(0, $id), join '', map { chr rand 256 } 1 .. rand 40) },
        sub { frame(7, 0, 0, pack 'NN', $id, one(0, 2)) },
    )->();
}

sub http2 () {
    my $bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, settings());
    my $flood = chance(.1);
    my $id    = 1;

    # most connections stay lawful: what is not ends them at once
    my $law = chance(.6);

    for (1 .. ($flood ? 100 : 1 + rand 12)) {
        my ($method, $path) = @{one(@routes)};
        my $body  = $method =~ /^P/ || chance(.1) ? body() : undef;
        my $block = "\x02" . text(method($method)) . one("\x86", "\x86", "\x87") . "\x04" . text(uri($path)) . "\x01" . text('x');
        $block .= one("\0", "\0", "\x40", "\x10") . text(lc $_->[0]) . text($_->[1]) for headers(1, $path);
        $block .= "\0" . text('content-type') . text('application/json') if defined $body && !chance(.1);
        $block .= "\0" . text('content-length') . text(chance(.05) ? one(0, length($body) + 1, 999999) : length $body) if defined $body && chance(.6);
        $block .= "\0" . text(one(qw(connection transfer-encoding te :path :x X-Upper))) . text('x') if !$law && chance(.1);
        $block = substr $block, 0, rand length $block if !$law && chance(.1);

        my $end = defined $body ? 0 : 1;

        if (chance(.2) && length $block > 10) {
            my @parts = map { substr $block, 0, 1 + rand 60, '' } 1 .. 1 + rand 5;
            $bytes .= frame(1, $end, $id, shift @parts);
            $bytes .= frame(9, 0, $id, $_) for @parts;
            $bytes .= noise($id) if !$law && chance(.1);
            $bytes .= frame(9, chance(.97) ? 4 : 0, $id, $block);
        }
        else { $bytes .= frame(1, 4 | $end, $id, $block) if $law || !chance(.02) }

        if (defined $body) {
            my @parts = chance(.3) ? map { substr $body, 0, 1 + rand 3000, '' } 1 .. 1 + rand 4 : ();
            $bytes .= chance(.1) ? frame(0, 8, $id, "\x03$_\0\0\0") : frame(0, 0, $id, $_) for grep {length} @parts;
            $bytes .= frame(0, 1, $id, substr $body, 0, 16384) unless chance(.1);
        }

        $bytes .= frame(3, 0, $id, pack 'N', 8) if $flood || chance(.15);
        $bytes .= frame(8, 0, one(0, $id), pack 'N', one(1, 100, 65535)) if chance(.3);
        $bytes .= frame(4, 0, 0, settings()) if chance(.1);
        $bytes .= noise($id) if !$law && chance(.2);
        $id += 2 unless !$law && chance(.03);
    }

    $bytes = substr $bytes, 0, rand length $bytes if chance(.1);
    return $bytes;
}

# ---- a batch: all at once, each at its own pace

sub batch ($count) {
    local $SIG{PIPE} = 'IGNORE';
    my @open;

    for (1 .. $count) {
        my $h2     = chance(.5);
        my $bytes  = $h2 ? http2() : http1();
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $h2 ? $nginx->h2_port : $nginx->port, Timeout => 10) or next;
        $socket->blocking(0);
        push @open, {
            socket => $socket, bytes => $bytes, in => '',
            piece  => one(1e9, 1e9, 1e9, 1, 7, 100, 1400),        # how much at a time
            deaf   => chance(.1),                                  # reads nothing
            end    => one(qw(wait wait wait wait close reset half)),
            until  => time + 5
        };
    }

    my $end = time + 8 * ($ENV{LINES_SLOW} || 1);

    while (@open && time < $end) {
        my $read  = IO::Select->new(map { $_->{socket} } grep { !$_->{deaf} } @open);
        my $write = IO::Select->new(map { $_->{socket} } grep { length $_->{bytes} } @open);
        my ($can_read, $can_write) = IO::Select->select($read, $write, undef, .05);
        my %r = map { $_ => 1 } @{$can_read // []};
        my %w = map { $_ => 1 } @{$can_write // []};

        for my $c (@open) {
            if ($w{$c->{socket}}) {
                my $n = syswrite $c->{socket}, substr $c->{bytes}, 0, $c->{piece};
                if (defined $n) { substr $c->{bytes}, 0, $n, '' }
                elsif ($! != EAGAIN) { $c->{over} = 1 }
                # a byte at a time only so long
                $c->{piece} = 1e9 if $c->{piece} < 1e9 && ++$c->{writes} > 60;
            }
            if ($r{$c->{socket}}) {
                my $n = sysread $c->{socket}, $c->{in}, 65536, length $c->{in};
                $c->{over} = 1 if defined $n ? $n == 0 : $! != EAGAIN;
                $c->{last} = time;
            }
            next if length $c->{bytes} || $c->{over};

            # all is said
            $c->{said} //= time;
            if    ($c->{end} eq 'close') { $c->{over} = 1 }
            elsif ($c->{end} eq 'reset') { $c->{over} = 1; Test::Lines::Client->reset_connection($c->{socket}) }
            elsif ($c->{end} eq 'half')  { shutdown $c->{socket}, 1; $c->{end} = 'wait' }
            elsif (time - ($c->{last} // $c->{said}) > .3 && time - $c->{said} > .3) { $c->{over} = 1 }
        }

        for my $c (grep { $_->{over} } @open) {
            push @known, $1 while $c->{in} =~ /"_id":"(\w+)"/g;
            close $c->{socket};
        }
        splice @known, 1, @known - 30 if @known > 30;
        @open = grep { !$_->{over} } @open;
    }

    close $_->{socket} for @open;
}

# ---- the oracle

my @workers = $nginx->pids;
my ($log_at, $access_at, $asked, %status, %errors) = (0, 0, 0);

sub wrong () {
    my @wrong;

    my $answer = $nginx->get('/api/lines/by-user', $steady);
    push @wrong, 'who asks well is answered ' . $answer->to_string unless $answer->status == 200;
    push @wrong, 'a worker has ended' if "@{[sort $nginx->pids]}" ne "@{[sort @workers]}";
    push @wrong, map {"$_: " . substr path($_)->slurp, 0, 4000} glob path($nginx->home, 'sanitizer.*');

    my $log = $nginx->error_log($log_at);
    $log_at += length $log;
    push @wrong, $log =~ /^(.*\[(?:alert|emerg|crit)\].*)$/mg;

    for ($log =~ /^(.*\[error\].*)$/mg) {
        next if /\] \S+ (?:\*\d+ )?(?:client (?:sent|intended)|open\(\) ".*" failed|".*" is not found|limiting)/;
        my $kind = s/^\S+ \S+ \[error\] \S+ (?:\*\d+ )?//r =~ s/, client: .*//r =~ s/[0-9a-f]{8,}/ID/gr =~ s/\d+/N/gr;
        $errors{$kind}++;
    }

    my $access = path($nginx->home, 'access.log');
    open my $in, '<', $access or return @wrong;
    seek $in, $access_at, 0;
    while (<$in>) {
        my ($code, $bytes) = /" (\d{3}) (\d+) "[^"]*" "[^"]*"$/ or next;
        $asked++;
        $status{$code}++;

        # who has left is told nothing, not even to go on ("Expect"): nginx notes that as a 500 of no bytes
        push @wrong, "500: $_" if $code == 500 && ($bytes || /"HEAD /);
        push @wrong, "$code: $_" if $code =~ /^5/ && $code !~ /^50[0135]$/;
    }
    $access_at = tell $in;

    return @wrong;
}

my $end = time + $seconds;
my ($number, @wrong) = (0);
my $first = $seed;

while (time < $end && $number < $batches && !@wrong) {
    srand $seed;
    batch(30);
    $number++;
    @wrong = wrong();
    $seed++ unless @wrong;
}

is_deeply [map { substr $_, 0, 3000 } @wrong], [], "$number batches from seed $first: nothing is wrong"
  or diag "repeat it: LINES_SEED=$seed LINES_FUZZ_BATCHES=1 prove -v t/92-fuzz-nginx.t";
cmp_ok $asked, '>', 100, "$asked requests were answered: " . join ', ', map {"$_ x $status{$_}"} sort keys %status;
diag "$asked requests in $number batches, seeds $first to $seed: " . join ', ', map {"$_ x $status{$_}"} sort keys %status;
diag "[error] x $errors{$_}: $_" for sort keys %errors;

my $left = '';
ok eval { wait_for(sub { ($left) = $nginx->get('/status')->body =~ /Active connections: (\d+)/; $left <= 1 }, 20, 'rest'); 1 }, 'no connection is left'
  or diag "$left are";
$shop->agree('billing and lines agree');

$t->done;
