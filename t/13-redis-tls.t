# Redis over TLS: the server is the one that is meant, or nothing is told to it; who is refused says why.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Mojo::File qw(path);
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has certificates of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Tls;

my $t   = Test::Lines->new;
my $tls = Test::Lines::Tls->new(t => $t)->ca('ca')->ca('stranger');
my $ca  = $tls->file('ca.pem');

my %server = (
    good    => $tls->certificate('ca', 'good',    'localhost'),
    address => $tls->certificate('ca', 'address', 'IP:127.0.0.1'),
    wrong   => $tls->certificate('ca', 'wrong',   'elsewhere.example.com'),
    expired => $tls->certificate('ca', 'expired', 'localhost', 0),
    other   => $tls->certificate('stranger', 'other', 'localhost')
);
my $client = $tls->certificate('ca', 'client', 'lines');

sub redis ($certificate, %more) {
    my $port = $t->free_port;
    my $auth = $more{auth} ? 'yes' : 'no';
    my $redis = $t->redis(conf => "tls-port $port\ntls-cert-file $certificate->{cert}\ntls-key-file $certificate->{key}\ntls-ca-cert-file $ca\n"
          . "tls-auth-clients $auth\n");
    return ($redis, $port);
}

my %running;

sub server ($name) { @{$running{$name} //= [redis($server{$name})]} }

sub at ($port, $options, %more) {
    my $host = $more{host} // 'localhost';
    return $t->nginx(redis => "rediss://$host:$port/0", redis_options => $options, %more{grep { $_ ne 'host' } keys %more});
}

sub wait_ready ($nginx) { wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready') }

sub works ($nginx, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_ready($nginx);
    my $key = $nginx->workspace(one => {plan => 'growth'});
    is $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status, 200, $what;
    return $nginx->bearer($key);
}

# nothing but TLS' own is said to a server that is not the one
sub refused ($nginx, $why, $redis, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $nginx->wait_log(qr/\[error\].*lines redis "[^"]+", commands: could not connect: $why/);

    # the word of a server that hangs up may be lost, of one try or another
    wait_for(sub { $nginx->get('/_lines/ready')->json('/redis/reason') =~ $why }, 30, 'readiness');
    pass "$what: readiness says why";
    unlike $nginx->error_log, qr/\[crit\]/, '... and the log says it once';
    is $redis->cli('INFO commandstats') =~ /cmdstat_(?:auth|config\|get):calls=(\d+)/ && $1 || 0, 0, '... and was told nothing' if $redis;
    $nginx->quit;
}

subtest 'directives' => sub {
    my $table = [
        ["redis://127.0.0.1 cacert=$ca",                         qr/"cacert=".*"verify=" are for "rediss:\/\/"/],
        ['redis://127.0.0.1 verify=off',                         qr/are for "rediss:\/\/"/],
        ["unix:/redis.sock sni=redis",                           qr/are for "rediss:\/\/"/],
        ["rediss://127.0.0.1 cert=$client->{cert}",              qr/"cert=" and "key=" belong together/],
        ["rediss://127.0.0.1 key=$client->{key}",                qr/"cert=" and "key=" belong together/],
        ["rediss://127.0.0.1 cacert=$ca.no",                     qr/\Q$ca\E\.no/],
        ["rediss://127.0.0.1 cert=$ca.no key=$ca.no",            qr/\Q$ca\E\.no/],
        ["rediss://127.0.0.1 cert=$client->{cert} key=$server{good}{key}", qr/key values mismatch/],
        ['rediss://127.0.0.1 verify=no',                         qr/invalid parameter "verify=no"|not "on" or "off"|"verify=no"/],
        ['rediss://',                                            qr/no host/]
    ];
    for my $case (@$table) {
        my ($code, $output) = $t->test_config(http => "lines_redis $case->[0];");
        isnt $code, 0, $case->[0];
        like $output, $case->[1], '... says why';
    }
    my ($code, $output) = $t->test_config(http => "lines_redis rediss://app\@[::1]:6380/2 password_file=" . $t->file('password', 'p') . " cacert=$ca;");
    is $code, 0, 'all of it' or diag $output;
};

subtest 'by its name' => sub {
    my ($redis, $port) = server('good');
    my $nginx = at($port, "cacert=$ca timeout=5s", workers => 2, debug => 'debug');
    my $auth  = works($nginx, 'it serves');

    my %big = (firstName => 'Ada', lastName => 'L' x 90, channelType => 'phone', profileImageUrl => 'https://example.com/' . 'i' x 1900);
    is $nginx->post_json('/api/line-requests', {%big, firstName => "A$_"}, $auth)->status, 201, 'a record of some size' for 1 .. 2;

    my @asked = map { $nginx->get_p('/api/line-requests', $auth) } 1 .. 50;
    my $whole = 0;
    Mojo::Promise->all(@asked)->then(sub (@answers) { $whole = grep { $_->[0]->status == 200 && $_->[0]->body =~ /A1.*A2|A2.*A1/s } @answers })->wait;
    is $whole, 50, '... read by many at once, in replies larger than a record of TLS';

    my $mark = $nginx->log_mark;
    $nginx->wait_log(qr/lines redis TLS: .* reused:0/);
    $redis->cli('CLIENT KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    $nginx->wait_log(qr/lines redis TLS: .* reused:1/, $mark);
    $nginx->allow(qr/connection lost/);
    works($nginx, 'a session goes on where one was');

    $nginx->quit;
};

subtest 'by its address' => sub {
    my (undef, $port) = server('address');
    my $nginx = at($port, "cacert=$ca", host => '127.0.0.1');
    works($nginx, 'a certificate of the address');
    $nginx->quit;

    my ($redis, $named) = server('good');
    $nginx = at($named, "cacert=$ca", host => '127.0.0.1');
    $nginx->allow(qr/could not connect/);
    refused($nginx, qr/the server's certificate is not of 127\.0\.0\.1/, undef, 'one of a name only');

    $nginx = at($named, "cacert=$ca sni=localhost", host => '127.0.0.1');
    works($nginx, 'a name of its own to ask for');
    $nginx->quit;
};

subtest 'the name that is asked for' => sub {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "listen: $@";
    my $nginx  = at($listen->sockport, "cacert=$ca connect_timeout=30s");
    $nginx->allow(qr/could not connect/);

    # the first of TLS' records, which is not encrypted: a server name is type 0, in a list of one
    my $client = $listen->accept;
    my $hello  = '';
    sysread $client, $hello, 4096, length $hello until length $hello > 5 && length $hello >= 5 + unpack 'x3 n', $hello;
    like $hello, qr/\0\0\0\x0e\0\x0c\0\0\x09localhost(?!:)/, 'is the host, without its port';

    $client->close;
    $listen->close;
    $nginx->quit;
};

subtest 'another server' => sub {
    for my $case ([wrong => qr/the server's certificate is not of "localhost"/], [expired => qr/the server's certificate is refused: certificate has expired/],
        [other => qr/the server's certificate is refused: its authority is not known, see "cacert="/])
    {
        my ($redis, $port) = server($case->[0]);
        my $nginx = at($port, "cacert=$ca");
        $nginx->allow(qr/could not connect/);
        refused($nginx, $case->[1], $redis, $case->[0]);
    }

    my ($redis, $port) = server('good');
    my $nginx = at($port, '');
    $nginx->allow(qr/could not connect/);
    refused($nginx, qr/the server's certificate is refused: its authority is not known, see "cacert="/, undef, 'an authority that the system does not know');

    (undef, $port) = server('wrong');
    $nginx = at($port, 'verify=off');
    works($nginx, 'who asks for it believes anybody');
    $nginx->quit;
};

subtest 'who is asked for a certificate' => sub {
    my ($redis, $port) = redis($server{good}, auth => 1);
    my $nginx = at($port, "cacert=$ca");
    $nginx->allow(qr/could not connect/);
    refused($nginx, qr/TLS: the server says "certificate required"/, undef, 'has none');

    $nginx = at($port, "cacert=$ca cert=$client->{cert} key=$client->{key}");
    works($nginx, 'has one');
    $nginx->quit;
};

subtest 'not TLS' => sub {
    my ($redis, $port) = server('good');
    my $nginx = at($redis->port, "cacert=$ca");
    $nginx->allow(qr/could not connect/);
    refused($nginx, qr/TLS handshake (?:timed out|failed)/, undef, 'a plain server');

    $nginx = $t->nginx(redis => "redis://localhost:$port/0");
    $nginx->allow(qr/could not connect/);
    $nginx->wait_log(qr/\[error\].*lines redis "[^"]+", commands: could not connect/);
    is $nginx->get('/_lines/ready')->status, 503, 'a plain client';
    $nginx->quit;
};

# a bit of what comes is another one: that is neither the server's word nor an error of the system
subtest 'a stream that is damaged' => sub {
    my ($redis, $port) = server('good');
    my ($between, $flag) = ($t->free_port, $t->dir . '/damage');
    my $proxy = $t->spawn(proxy => [$^X, $t->file('proxy.pl', <<'END'), $between, $port, $flag]);
use Mojo::Base -strict, -signatures;
use Mojo::IOLoop;
my ($port, $to, $flag) = @ARGV;
Mojo::IOLoop->server({address => '127.0.0.1', port => $port}, sub ($loop, $client, $id) {
    my ($server, $early) = (undef, '');
    $client->timeout(0);
    $client->on(read => sub ($s, $bytes) { $server ? $server->write($bytes) : ($early .= $bytes) });
    $client->on(close => sub { $server->close if $server });
    Mojo::IOLoop->client({address => '127.0.0.1', port => $to}, sub ($loop, $err, $s) {
        return $client->close if $err;
        $server = $s;
        $s->timeout(0);
        $s->on(read => sub ($s, $bytes) {
            substr($bytes, -1) ^= "\x01" if unlink $flag;
            $client->write($bytes);
        });
        $s->on(close => sub { $client->close });
        $s->write($early) if length $early;
    });
});
Mojo::IOLoop->start;
END

    my $nginx = at($between, "cacert=$ca");
    $nginx->allow(qr/could not connect|connection lost/);
    my $auth = works($nginx, 'whole');

    # the answer to a request is damaged, but for when a connection was just being made: then its handshake is
    my $told = qr/lines redis "[^"]+", \w+: connection lost: TLS: what the server sent is refused: "bad record mac"/;
    for (1 .. 20) {
        $t->file('damage', '');
        $nginx->get('/api/lines/by-user', $auth);
        wait_for(sub { !-e $flag }, 30, 'damage');
        last if $nginx->error_log =~ $told;
        wait_ready($nginx);
    }
    like $nginx->error_log, $told, 'what was damaged is told';
    unlike $nginx->error_log, qr/connection lost: (?:Success|TLS: the server says)/, 'it is told as what it is';
    works($nginx, 'and another connection is made');
    $nginx->quit;
    $proxy->stop;
};

subtest 'files are read again at reload' => sub {
    my ($redis, $port) = redis($server{good});
    my $trusted  = $t->file('trusted.pem', path($tls->file('stranger.pem'))->slurp);
    my $nginx    = at($port, "cacert=$trusted");
    $nginx->allow(qr/could not connect/);
    $nginx->wait_log(qr/certificate is refused/);

    $t->file('trusted.pem', path($ca)->slurp);
    $nginx->reload;
    works($nginx, 'the authority that is right');
    $nginx->quit;
};

$t->done;
