# A short run of everything under valgrind: no invalid access, nothing lost at the end.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

BEGIN {
    plan skip_all => 'the sanitized build has its own checks' if $ENV{LINES_PRELOAD};
    plan skip_all => 'valgrind is not installed' unless grep { -x "$_/valgrind" } split /:/, $ENV{PATH};
    $ENV{LINES_VALGRIND} = 1;
}

use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, redis_options => 'timeout=5s connect_timeout=10s');
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'Redis to be connected');

my $key  = $nginx->workspace(org_1 => {plan => 'growth', subscription => 'active', customer => 'cus_card'});
my $auth = $nginx->bearer($key);

my @created = map { $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($key, 'Idempotency-Key' => $_)) } qw(a b a c);
is_deeply [map { $_->status } @created], [201, 201, 201, 503], 'lines are requested';
my $id = $created[0]->json('/line/_id');

is $nginx->get($_, $auth)->status, 200, $_ for '/api/lines/by-user', '/api/line-requests?limit=1', "/api/line-requests/$id";
is $nginx->post_json("/api/line-requests/$id", {action => 'cancel'}, $auth)->status, 409, 'managed';
is $nginx->request(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, $_)->status, 400, 'a bad body'
  for '', '{', '[]', '{"a":1,"a":2}', '[' x 100;
is $nginx->admin(POST => "lines/$id/status", {status => 'active'})->status, 200, 'reported';
is $nginx->admin(POST => "lines/$id/release")->status, 200, 'released';
is $nginx->admin(GET => 'lines?status=provisioning')->status, 200, 'listed';

# clients that leave in the middle
for my $part (20, 60, 200) {
    my $socket = $nginx->socket;
    syswrite $socket, substr "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n"
      . "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"firstName\":\"A\"}", 0, $part;
    Test::Lines::Client->reset_connection($socket);
}

$redis->restart;
wait_for(sub { $nginx->get('/api/lines/by-user', $auth)->status == 200 }, 60, 'Redis to be found again');
$nginx->reload;
is $nginx->get('/api/lines/by-user', $auth)->status, 200, 'after a reload';

$t->done;
