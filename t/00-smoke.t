# The module loads, serves, reloads and ends, whatever compiler made it.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 2);

wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready');

my $key = $nginx->workspace(one => {plan => 'growth'});
my $me  = $nginx->bearer($key);

is $nginx->get('/api/lines/by-user')->status, 401, 'no key, no answer';
is_deeply $nginx->get('/api/lines/by-user', $me)->json, {lines => []}, 'no lines yet';

my @answers = concurrently(20, sub ($i) {
    $nginx->post_json_p('/api/line-requests',
        {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone', idempotencyKey => "k$i"}, $me);
});

is scalar(grep { $_->status == 201 } @answers), 2, 'two lines are included, of twenty that were asked for'
  or diag join ' ', map { $_->to_string } @answers;
is scalar @{$nginx->get('/api/lines/by-user', $me)->json('/lines')}, 2, 'and listed';

$nginx->reload;
$nginx->kill_worker;

is scalar @{$nginx->get('/api/lines/by-user', $me)->json('/lines')}, 2, 'after a reload and a dead worker too';

# a stranger who has the port is not taken for the server that a test started
my $stranger = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "listen: $!";
ok !eval { $t->upstream(port => $stranger->sockport); 1 }, 'an upstream whose port is taken does not start';
like $@, qr/upstream \S+ does not start: .*Address already in use/, 'and says why';
my $upstream = $t->upstream(json => {up => 1});
is $t->nginx(redis => $redis, server => "location /x { proxy_pass @{[$upstream->url]}; }")->get('/x')->json('/up'), 1, 'one of its own does';

$t->done;
