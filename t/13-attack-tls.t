# TLS to Redis, cut, stalled and damaged wherever one may: in the handshake and in what follows, of one node, of one primary of a
# cluster and of a Sentinel. Nobody waits for it longer than he would for a server that is away, and nothing of it stays.
use Mojo::Base -strict, -signatures;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max);
use Mojo::JSON qw(encode_json);
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has servers of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Tls;
use Time::HiRes qw(time);

my $t        = Test::Lines->new;
my @plans    = (plans => "lines_plan bulk phone included=100000;\n");
my $files    = Test::Lines::Tls->new(t => $t)->mutual('tls');
my $password = $t->file('redis.pw', 'secret-of-redis');
my $options  = "cacert=$files->{ca} cert=$files->{client}{cert} key=$files->{client}{key} user=lines password_file=$password timeout=1s connect_timeout=1s silence=2s";
my $conf     = "user lines on >secret-of-redis ~* &* +\@all\n";

sub tls_conf ($port) { "tls-port $port\ntls-cert-file $files->{server}{cert}\ntls-key-file $files->{server}{key}\ntls-ca-cert-file $files->{ca}\n" }

# between the two: of each new connection so many bytes pass, of what the server ("from": 0) or the client (1) sends; the next one's is
# the next number of the list
my $between = $t->file('between.pl', <<'PERL');
    use strict;
    use warnings;
    use IO::Select;
    use IO::Socket::INET;
    use JSON::PP;
    use Socket qw(SOL_SOCKET SO_LINGER);
    my ($port, $to, $plain, $file) = @ARGV;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "$port: $!";
    $SIG{$_} = 'IGNORE' for qw(PIPE CHLD);
    $| = 1;
    my $i = 0;
    while (1) {
        my $client = $listen->accept // next;
        open my $in, '<', $file or die "$file: $!";
        my $now = decode_json(do { local $/; <$in> });
        my $list = $now->{after};
        my $left = $list ? $list->[$i++ % @$list] : undef;
        print "$now->{how}\n" if $list;
        next if fork;
        close $listen;
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $now->{how} eq 'plain' ? $plain : $to) or exit;
        my @other  = ($client, $server);
        my $select = IO::Select->new($client, $server);
        while (1) {
            for my $from ($select->can_read) {
                sysread $from, my $bytes, 65536 or exit;
                my $is = $from == $client ? 1 : 0;
                if (defined $left && $is == ($now->{from} // 0)) {
                    if (length $bytes <= $left) { $left -= length $bytes }
                    else {
                        my $rest = substr $bytes, $left;
                        $bytes = substr $bytes, 0, $left;
                        undef $left;
                        if ($now->{how} eq 'damage') { $bytes .= (substr($rest, 0, 1) ^ "\x10") . substr $rest, 1 }
                        elsif ($now->{how} eq 'garbage') { $bytes .= pack 'C*', map { ($_ * 167 + 13) % 256 } 1 .. 300 }
                        elsif ($now->{how} eq 'text') { $bytes .= "-ERR who is there?\r\n" }
                        else {
                            syswrite $other[$is], $bytes if length $bytes;
                            if ($now->{how} eq 'stall') { 1 while sysread $client, $bytes, 65536; exit }
                            if ($now->{how} eq 'reset') { setsockopt $client, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0 }
                            exit;
                        }
                    }
                }
                syswrite $other[$is], $bytes if length $bytes;
            }
        }
    }
PERL

# [$process, $say]: what is said counts for who comes then
sub between ($name, $port, $to, $plain) {
    my $file = $t->dir . "/$name.json";
    my $say  = sub (%now) { rename $t->file("$name.new", encode_json(\%now)), $file or die "$file: $!" };
    $say->(how => 'none');
    return $t->spawn($name => [$^X, $between, $port, $to, $plain, $file]), $say;
}

sub ready ($nginx) { return ($nginx->get('/_lines/ready')->json('/redis/status') // '') eq 'ok' }

sub sockets ($nginx) {
    my $n = 0;
    for my $pid ($nginx->pids) { $n += grep { (readlink // '') =~ /^socket/ } glob "/proc/$pid/fd/*" }
    return $n;
}

# one request after the other, each on a connection of its own, so that all workers are asked
my (%answers, %longest, $stop);

sub client ($nginx, $kind, $auth) {
    return Mojo::Promise->resolve if $stop;
    my $began = time;
    return $nginx->request_p(GET => '/api/line-requests?limit=1', {%$auth, Connection => 'close'})->then(sub ($answer) {
        my $status = $answer->status;
        $answers{$kind}{$status . ($status == 503 && !$answer->header('Retry-After') ? ' without Retry-After' : '')}++;
        $longest{$kind} = max $longest{$kind} // 0, time - $began;
        my $wait = Mojo::Promise->new;
        Mojo::IOLoop->timer(0.02 => sub { $wait->resolve });
        return $wait;
    })->then(sub { client($nginx, $kind, $auth) });
}

sub told ($kind) { return join ' ', sort keys %{$answers{$kind} // {}} }
sub heard () { my $n = 0; $n += $_ for map { values %$_ } values %answers; return $n }

my @after = (0, 1, 4, 5, 6, 80, 127, 140, 300, 700, 900, 1000, 1200, 1500, 2500, 4000, 7000);
my @ways  = (
    [close  => 0], [reset => 0], [stall => 0], [damage => 0], [garbage => 0], [text => 0],
    [close  => 1, 0, 5, 250, 600, 1000, 1200, 1400],
    [damage => 1, 0, 3, 5, 60, 250, 600, 1000, 1200, 1400],
    [plain  => 0, 1e9]
);

# touched: the tenants that may hear 503; cut: ends the connections that there are
sub attack ($nginx, $process, $say, $cut, $tenants, $touched, @some) {
    $nginx->wait_redis;
    my @pids = $nginx->pids;
    my $had  = sockets($nginx);
    $stop = 0;
    my $all = Mojo::Promise->all(map { my $kind = $_; map { client($nginx, $kind, $tenants->{$kind}) } 1, 2 } sort keys %$tenants);

    for my $way (@some ? @ways[@some] : @ways) {
        my ($how, $from, @list) = @$way;
        @list = @after if !@list;
        (%answers, %longest) = ();
        my $mark = $nginx->log_mark;
        my $what = "$how, of what the " . ($from ? 'client' : 'server') . ' sends';
        my $done = sub { scalar(() = $process->output =~ /^$how$/mg) };
        my $n    = $done->();
        $say->(how => $how, from => $from, after => \@list);
        $cut->();
        ok eval { wait_for(sub { $done->() >= $n + ($how eq 'plain' ? 4 : @list) }, 180, $how); 1 }, "$what: nginx tries again and again" or diag $done->() - $n;
        $say->(how => 'none');

        # a moment later all is as before, of all workers
        my $began = time;
        my $good  = 0;
        my %had   = map { ($_ => {%{$answers{$_} // {}}}) } keys %$tenants;
        wait_for(sub { $good = ready($nginx) ? $good + 1 : 0; $good >= 8 }, 60, 'ready');
        wait_for(sub {
            return 0 if heard() < 20;
            return 1 if !grep { told($_) ne '200' } keys %$tenants;
            for my $kind (keys %$tenants) { $had{$kind}{$_}++ for keys %{$answers{$kind}} }
            %answers = ();
            return 0;
        }, 60, 'service');
        cmp_ok time - $began, '<', 15 * $t->slow, '... all are served soon after';

        for my $kind (sort keys %$tenants) {
            my $statuses = join ' ', sort keys %{$had{$kind}};
            like $statuses, $touched->{$kind} ? qr/^(?:200)?(?: ?503)?$/ : qr/^200$/, "... until then $kind hears " . ($touched->{$kind} ? '503 with Retry-After at the worst' : 'nothing of it');
            cmp_ok $longest{$kind}, '<', 3 * $t->slow, '... in time';
        }
        my $log = $nginx->error_log($mark);
        unlike $log, qr/\[(?:crit|alert|emerg)\]/, '... without alarm';
        unlike $log, qr/secret-of-redis/, '... or a secret in the log';
        my (%said, %told);
        $said{$_}++ for $log =~ /\[error\] (\d+#.*could not connect: .*)/mg;
        is_deeply [grep { $said{$_} > 3 } keys %said], [], '... which says the same thing once' or diag explain \%said;
        note "$_\n" for grep { !$told{$_}++ } $log =~ /\[error\].*((?:could not connect|connection lost): .*)/g;
    }

    $stop = 1;
    $all->wait;
    is_deeply [$nginx->pids], \@pids, 'no worker ended';
    ok eval { wait_for(sub { sockets($nginx) <= $had }, 15, 'connections'); 1 }, '... nor keeps a connection' or diag sockets($nginx) . " after $had";
}

for my $version ('TLSv1.3', 'TLSv1.2') {
    subtest "one node, $version" => sub {
        my ($front, $back) = map { $t->free_port } 1, 2;
        my $redis = $t->redis(kind => 'plain', conf => $conf . tls_conf($back) . "tls-protocols \"$version\"\n");
        my ($process, $say) = between("node-$version", $front, $back, $redis->port);
        my $nginx = $t->nginx(redis => "rediss://127.0.0.1:$front/0", redis_options => $options, workers => 2, @plans);
        $nginx->wait_redis;
        my $auth = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));
        attack($nginx, $process, $say, sub { $redis->cli('CLIENT', 'KILL', 'USER', 'lines') }, {all => $auth}, {all => 1}, $version eq 'TLSv1.3' ? () : (0, 3));
        $nginx->quit;
        $_->stop for $process, $redis;
    };
}

subtest 'one primary of a cluster' => sub {
    my $front = $t->free_port;
    my $redis = $t->redis(kind => 'cluster', tls => $files, before => [$front], conf => $conf);
    my ($first, $second) = @{$redis->nodes};
    my ($process, $say) = between('primary', $front, $first->{tls_port}, $first->port);
    my $nginx = $t->nginx(redis => $redis->url, redis_options => $options, workers => 2, @plans);
    $nginx->wait_redis;

    my ($n, %tenants) = (0);
    for my $node ($first, $second) {
        while (1) {
            my $name = 't' . ++$n;
            next if $redis->node_of("lines:{w:$name}:t") != $node;
            my $key = $nginx->workspace($name => {plan => 'bulk'});
            next if $redis->node_of('lines:{k:' . sha256_hex($key) . '}') != $node;
            $tenants{$node == $first ? 'its tenant' : 'another one'} = $nginx->bearer($key);
            last;
        }
    }
    attack($nginx, $process, $say, sub { $first->cli('CLIENT', 'KILL', 'USER', 'lines') }, \%tenants, {'its tenant' => 1}, 1, 2, 3, 5, 8);
    $nginx->quit;
    $_->stop for $process, $redis;
};

subtest 'a Sentinel' => sub {
    my ($front, $back, $at) = map { $t->free_port } 1 .. 3;
    my $redis    = $t->redis(kind => 'plain', conf => $conf . tls_conf($at) . "tls-replication yes\n");
    my $sentinel = $t->redis(kind => 'plain', args => ['--sentinel'], conf => tls_conf($back) . "tls-replication yes\nsentinel monitor shop 127.0.0.1 $at 1\n");
    my ($process, $say) = between('sentinel', $front, $back, $sentinel->port);
    my $nginx = $t->nginx(redis => "rediss+sentinel://127.0.0.1:$front/shop", redis_options => $options, workers => 2, @plans);
    $nginx->wait_redis;
    my $auth = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));
    my $cut  = sub { $sentinel->cli('CLIENT', 'KILL', 'TYPE', $_, 'SKIPME', 'yes') for 'normal', 'pubsub' };
    attack($nginx, $process, $say, $cut, {all => $auth}, {}, 0, 2, 3, 8);

    # the primary's connections are cut meanwhile: where it was is where it is
    attack($nginx, $process, $say, sub { $cut->(); $redis->cli('CLIENT', 'KILL', 'USER', 'lines') }, {all => $auth}, {all => 1}, 2);
    $nginx->quit;
    $_->stop for $process, $sentinel, $redis;
};

# what ends TLS before a Redis, as stunnel does: its certificate, and the key of its sessions' tickets, are those of the file, and it
# does once what a file of that name says to all who are there
my $end = $t->file('end.pl', <<'PERL');
    use strict;
    use warnings;
    use IO::Select;
    use IO::Socket::INET;
    use IO::Socket::SSL;
    use JSON::PP;
    my ($port, $to, $dir, $version) = @ARGV;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "$port: $!";
    $SIG{$_} = 'IGNORE' for qw(PIPE CHLD);
    while (1) {
        my $client = $listen->accept // next;
        next if fork;
        close $listen;
        open my $in, '<', "$dir/end.json" or die $!;
        my $now = decode_json(do { local $/; <$in> });
        my ($key, $own) = (substr($now->{ticket} x 32, 0, 32), substr($now->{ticket} x 16, 0, 16));
        IO::Socket::SSL->start_SSL($client, SSL_server => 1, SSL_cert_file => $now->{cert}, SSL_key_file => $now->{key}, SSL_version => $version,
            SSL_session_id_context => 'end', SSL_ticket_keycb => sub { my (undef, $name) = @_; return !defined $name || $name eq $own ? ($key, $own) : () }) or exit;
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to) or exit;
        my $select = IO::Select->new($client, $server);
        while (1) {
            for my $from ($client->pending ? $client : $select->can_read(0.05)) {
                my $n = sysread $from, my $bytes, 16384;
                next if !defined $n && $!{EAGAIN};
                $n or exit;
                my $other = $from == $client ? $server : $client;
                while (length $bytes) { my $wrote = syswrite $other, $bytes or exit; substr $bytes, 0, $wrote, '' }
            }
            if (-e "$dir/goodbye.$$" && unlink "$dir/goodbye.$$") {
                Net::SSLeay::shutdown($client->_get_ssl_object);
                IO::Select->new($client)->can_read(10);
                exit;
            }
            if (-e "$dir/again.$$" && unlink "$dir/again.$$") {
                Net::SSLeay::renegotiate($client->_get_ssl_object);
                Net::SSLeay::do_handshake($client->_get_ssl_object);
            }
        }
    }
PERL

for my $version ('TLSv1_2', 'TLSv1_3') {
    subtest "who ends TLS before Redis, $version" => sub {
        my $tls = Test::Lines::Tls->new(t => $t)->ca("ca$version")->ca("stranger$version");
        my %of  = (
            good      => $tls->certificate("ca$version",       "good$version",      'IP:127.0.0.1'),
            expired   => $tls->certificate("ca$version",       "expired$version",   'IP:127.0.0.1', 0),
            elsewhere => $tls->certificate("ca$version",       "elsewhere$version", 'elsewhere.example.com'),
            stranger  => $tls->certificate("stranger$version", "strange$version",   'IP:127.0.0.1')
        );
        my $redis = $t->redis(kind => 'plain');
        my $port  = $t->free_port;
        my $say   = sub ($name, $ticket) { rename $t->file('end.new', encode_json({%{$of{$name}}, ticket => $ticket})), $t->dir . '/end.json' or die $! };
        my $cut   = sub { $redis->cli('CLIENT', 'KILL', 'TYPE', $_, 'SKIPME', 'yes') for 'normal', 'pubsub' };
        $say->('good', 'one');
        my $process = $t->spawn("end$version" => [$^X, $end, $port, $redis->port, $t->dir, $version]);
        my $nginx   = $t->nginx(redis => "rediss://127.0.0.1:$port/0", redis_options => "cacert=@{[$tls->file(qq(ca$version.pem))]} timeout=1s connect_timeout=5s", debug => 'debug', @plans);
        wait_for(sub { ready($nginx) }, 30, 'ready');
        my @pids = $nginx->pids;

        for my $bad ([elsewhere => qr/certificate is not of 127/], [expired => qr/has expired/], [stranger => qr/its authority is not known/]) {
            my ($name, $why) = @$bad;
            my $mark = $nginx->log_mark;
            $say->($name, $name);
            $cut->();
            $nginx->wait_log(qr/\[error\].*commands: could not connect: .*$why/, $mark);
            wait_for(sub { !ready($nginx) }, 10, 'refusal');
            is scalar(() = $nginx->error_log($mark) =~ /\[error\].*commands: could not connect: .*$why/g), 1, "another certificate, $name, when it comes again: it is refused, and the log says so once";
            $say->('good', $name);
            ok eval { wait_for(sub { ready($nginx) }, 10, 'ready'); 1 }, '... and once the right one is back it is served, though sessions would go on';
        }

        my $mark = $nginx->log_mark;
        $cut->();
        ok eval { $nginx->wait_log(qr/lines redis TLS: .* reused:1/, $mark, 10); 1 }, 'sessions go on';
        wait_for(sub { ready($nginx) }, 6, 'ready');
        $mark = $nginx->log_mark;
        $say->('good', 'another');
        $cut->();
        ok eval { $nginx->wait_log(qr/lines redis TLS: .* reused:0/, $mark, 10); 1 }, '... and begin anew when the key of tickets is another one';
        ok eval { wait_for(sub { ready($nginx) }, 6, 'ready'); 1 }, '... and it is served';

        for my $what ('goodbye', $version eq 'TLSv1_2' ? 'again' : ()) {
            my @children = split ' ', qx(pgrep -P @{[$process->pid]});
            ok scalar(@children), ($what eq 'again' ? 'it wants a new handshake on ' : 'it takes leave on ') . @children . ' connections';
            $t->file("$what.$_", '') for @children;
            wait_for(sub { !glob $t->dir . "/$what.*" }, 10, $what);
            ok eval { wait_for(sub { my $n = 0; while (ready($nginx)) { return 1 if ++$n > 5 } return 0 }, 6, 'ready'); 1 }, '... and it is served';
        }
        is_deeply [$nginx->pids], \@pids, 'no worker ended';
        $nginx->quit;
        $_->stop for $process, $redis;
    };
}

$t->done;
