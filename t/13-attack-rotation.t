# Who nginx is to Redis changes under load, over TLS: password, certificate and key, then the user; of one node, of a cluster and
# behind a Sentinel that asks for a password of its own. Both are valid at once, nginx reads its files again, the old ones go: no
# request is lost.
use Mojo::Base -strict, -signatures;
use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has servers of its own';
use Test::Lines qw(wait_for);
use Test::Lines::Tls;

my $t     = Test::Lines->new;
my $tls   = Test::Lines::Tls->new(t => $t);
my $files = $tls->mutual('tls');
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

# clients were certified by another authority before; of the server's side both count at first
$tls->ca('old-ca');
my %client = (old => $tls->certificate('old-ca', 'old-client', 'lines'), new => $files->{client});
my $both   = $t->file('both.pem', join '', map { path($tls->file($_))->slurp } 'old-ca.pem', 'tls-ca.pem');
my %files  = map { ($_ => $t->file("client.$_", '')) } qw(cert key password sentinel);

sub show ($certificate, $password) {
    $t->file("client.$_", path($client{$certificate}{$_})->slurp) for qw(cert key);
    $t->file('client.password', "$password-horse\n");
    $t->file('client.sentinel', "$password-donkey\n");
}

my (%answers, $stop, $reads);
my $creating = 0;

sub client ($nginx, $tenant, $i) {
    return Mojo::Promise->resolve if $stop;
    my $what = $i % 4 || $reads ? 'read' : 'create';
    my %headers = (%{$tenant->{auth}}, Connection => 'close');
    my $asked = $what eq 'read' ? $nginx->request_p(GET => '/api/line-requests?limit=1', \%headers)
      : $nginx->request_p(POST => '/api/line-requests', {%headers, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone));
    $creating += $what eq 'create';
    return $asked->then(sub ($answer) {
        $creating -= $what eq 'create';
        $answers{$what}{$answer->status}++;
        $tenant->{made} += $answer->status == 201;
        return client($nginx, $tenant, $i + 1);
    });
}

sub answered () { my $n = 0; $n += $_ for map { values %$_ } values %answers; return $n }
sub more () { my $n = answered(); return sub { answered() > $n + 60 } }

# nodes, and Sentinels if any; kill: the connections of a user
sub rotate ($nginx, $redis, $sentinels, $options) {
    $nginx->wait_redis;
    my @tenants = map { my $name = "t$_"; {name => $name, auth => $nginx->bearer($nginx->workspace($name => {plan => 'bulk'})), made => 0} } 1 .. 3;
    my @nodes = @{$redis->nodes};

    (%answers, $stop, $reads) = ();
    my $clients = Mojo::Promise->all(map { my $tenant = $_; map { client($nginx, $tenant, $_) } 0, 1 } @tenants);
    my $quiet = sub { $reads = 1; wait_for(sub { !$creating }, 30, 'creates to end') };

    # nobody comes by the old one any more, and whoever is there comes again
    my $kill = sub ($user) {
        my $n = 0;
        $quiet->();
        $n += $_->cli('CLIENT', 'KILL', 'USER', $user) for @nodes, @$sentinels;
        wait_for(more(), 30, 'answers over new connections');
        $reads = 0;
        wait_for(more(), 30, 'answers');
        return $n;
    };

    my $error = eval {
        wait_for(more(), 30, 'answers');
        $_->cli('ACL', 'SETUSER', 'lines', '>second-horse')  for @nodes;
        $_->cli('ACL', 'SETUSER', 'lines', '>second-donkey') for @$sentinels;

        # cut while only the file is another one: what was read at start counts
        show('new', 'second');
        cmp_ok $kill->('lines'), '>=', 2 * @nodes, 'what the files hold by now is of no concern to who runs';

        $nginx->reload;
        wait_for(more(), 30, 'answers of new workers');
        $nginx->reload;
        $nginx->reload(wait_old => 1);
        wait_for(more(), 30, 'answers of new workers');
        $_->cli('ACL', 'SETUSER', 'lines', '<first-horse')  for @nodes;
        $_->cli('ACL', 'SETUSER', 'lines', '<first-donkey') for @$sentinels;
        $_->cli('CONFIG', 'SET', 'tls-ca-cert-file', $files->{ca}) for @nodes;
        cmp_ok $kill->('lines'), '>=', 2 * @nodes, 'the old password is gone, and the authority of the old certificate';

        $_->cli('ACL', 'SETUSER', 'other', 'on', '>third-horse', '~*', '&*', '+@all') for @nodes, @$sentinels;
        $t->file('client.password', "third-horse\n");
        $t->file('client.sentinel', "third-horse\n");
        $nginx->redis_options($options =~ s/user=lines/user=other/gr);
        $nginx->reload(wait_old => 1);
        wait_for(more(), 30, 'answers of another user');
        is_deeply [map { $_->cli('ACL', 'DELUSER', 'lines') } @nodes, @$sentinels], [map {1} @nodes, @$sentinels], 'the old user is gone';
        cmp_ok $kill->('other'), '>=', 2 * @nodes, '... and is not needed';
        '';
    } // $@;

    $stop = 1;
    $clients->wait;
    die $error if $error;

    is_deeply [sort keys %{$answers{read}}],   [200], "reads: $answers{read}{200}, all answered" or diag explain \%answers;
    is_deeply [sort keys %{$answers{create}}], [201], "creates: $answers{create}{201}, each made" or diag explain \%answers;
    is_deeply [map { $redis->client->zcard("lines:{w:$_->{name}}:lines") } @tenants], [map { $_->{made} } @tenants], '... and none twice';
    unlike $nginx->error_log, qr/horse|donkey|PRIVATE KEY/, 'nothing of it in the log';
    unlike $nginx->error_log, qr/\[error\].*could not connect/, '... nor that anybody could not come';
    $nginx->quit;
}

my $conf    = "user lines on >first-horse ~* &* +\@all\n";
# a machine that is busy has its time to shake hands
my $options = "timeout=8s connect_timeout=5s user=lines password_file=$files{password} cacert=$files->{ca} cert=$files{cert} key=$files{key}";
my @more    = (workers => 2, plans => "lines_plan bulk phone included=100000;\n");

sub tls_conf ($port) { "tls-port $port\ntls-cert-file $files->{server}{cert}\ntls-key-file $files->{server}{key}\ntls-ca-cert-file $both\n" }

subtest 'one node' => sub {
    show('old', 'first');
    my $port  = $t->free_port;
    my $redis = $t->redis(kind => 'plain', conf => $conf . tls_conf($port));
    rotate($t->nginx(redis => "rediss://127.0.0.1:$port/0", redis_options => $options, @more), $redis, [], $options);
    $redis->stop;
};

subtest 'behind Sentinel, which asks for a password, too' => sub {
    show('old', 'first');
    my ($port, @at) = map { $t->free_port } 1 .. 3;
    my $redis     = $t->redis(kind => 'plain', conf => $conf . tls_conf($port) . "tls-replication yes\n");
    my @sentinels = map { $t->redis(kind => 'plain', args => ['--sentinel'], conf => "user lines on >first-donkey ~* &* +\@all\n" . tls_conf($_) . "tls-replication yes\nsentinel monitor shop 127.0.0.1 $port 1\n") } @at;
    my $options = "$options sentinel_user=lines sentinel_password_file=$files{sentinel}";
    rotate($t->nginx(redis => 'rediss+sentinel://' . join(',', map {"127.0.0.1:$_"} @at) . '/shop', redis_options => $options, @more), $redis, \@sentinels, $options);
    $_->stop for @sentinels, $redis;
};

subtest 'a cluster' => sub {
    show('old', 'first');
    my $redis = $t->redis(kind => 'cluster', tls => {%$files, ca => $both}, conf => $conf);
    rotate($t->nginx(redis => $redis->url, redis_options => $options, @more), $redis, [], $options);
    $redis->stop;
};

$t->done;
