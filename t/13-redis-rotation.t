# The password of Redis is changed under load: both are valid at once, nginx reads its file again, the old one goes.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it is of one Redis and its users';
use Test::Lines qw(wait_for);

my $t     = Test::Lines->new;
my $file  = $t->file('redis.pw', "first-horse\n");
my $redis = $t->redis(conf => "user lines on >first-horse ~* &* +\@all\n");
my $nginx = $t->nginx(redis => $redis, redis_options => "user=lines password_file=$file", plans => "lines_plan bulk phone included=100000;\n");

wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready');

my $auth  = $nginx->bearer($nginx->workspace(one => {plan => 'bulk'}));
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my (%answers, $stop, $reads);
my $creating = 0;

# a client reads and writes, one request after the other, each on a connection of its own
sub client ($i) {
    return Mojo::Promise->resolve if $stop;
    my $what = $i % 4 || $reads ? 'read' : 'create';
    my %headers = (%$auth, Connection => 'close');
    my $asked = $what eq 'read' ? $nginx->request_p(GET => '/api/line-requests?limit=1', \%headers)
      : $nginx->request_p(POST => '/api/line-requests', {%headers, 'Content-Type' => 'application/json'}, Mojo::JSON::encode_json(\%phone));
    $creating += $what eq 'create';
    return $asked->then(sub ($answer) {
        $creating -= $what eq 'create';
        $answers{$what}{$answer->status}++;
        return client($i + 1);
    });
}

# meanwhile, until so many more were answered
sub answered () { my $n = 0; $n += $_ for map { values %$_ } values %answers; return $n }
sub more () { my $n = answered(); return sub { answered() > $n + 50 } }

my $clients = Mojo::Promise->all(map { client($_) } 0 .. 5);
wait_for(more(), 30, 'answers');

$redis->client->acl(qw(SETUSER lines >second-horse));
$t->file('redis.pw', "second-horse\n");
$nginx->reload(wait_old => 1);
wait_for(more(), 30, 'answers of new workers');

# nobody comes by the old one any more; whoever is there is made to come again, when nothing is written whose outcome he would not know
$redis->client->acl(qw(SETUSER lines <first-horse));
$reads = 1;
wait_for(sub { !$creating }, 30, 'creates to end');
cmp_ok $redis->client->client(qw(KILL USER lines)), '>=', 2, 'connections are cut';
wait_for(more(), 30, 'answers over new connections');

$stop = 1;
$clients->wait;

is_deeply [sort keys %{$answers{read}}],   [200], "reads: $answers{read}{200}, all answered";
is_deeply [sort keys %{$answers{create}}], [201], "creates: $answers{create}{201}, each made";
is $redis->client->zcard('lines:{w:one}:lines'), $answers{create}{201}, '... and none twice';
unlike $nginx->error_log, qr/horse|AUTH/, 'nothing of it in the log';

$t->done;
