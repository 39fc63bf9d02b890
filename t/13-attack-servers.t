# One primary of a cluster that hangs, and limits in a store of any form: what is not concerned goes on.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Promise;
use Test::More;
use Test::Lines::Once redis => 'it has servers of its own';
use Test::Lines qw(wait_for concurrently);
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my @plans = (plans => "lines_plan bulk phone included=100000;\n");

sub answer ($nginx) { return $nginx->get('/_lines/ready')->json }
sub wait_ok ($nginx) { wait_for(sub { my $a = answer($nginx); $a && $a->{redis}{status} eq 'ok' && ($a->{limits} // {status => 'ok'})->{status} eq 'ok' }, 30, 'all is there') }

subtest 'a primary hangs, and is asked much' => sub {
    my $redis = $t->redis(kind => 'cluster');
    my $nginx = $t->nginx(redis => $redis, redis_options => 'max_inflight=60 timeout=1s silence=30s', @plans);
    wait_ok($nginx);
    my @auth = map { $nginx->bearer($redis->key_on($nginx, $_, 'bulk')) } @{$redis->nodes};
    my $path = '/api/line-requests?limit=1';
    is_deeply [map { $nginx->get($path, $_)->status } @auth], [200, 200, 200], 'all are served';
    my ($gone) = @{$redis->nodes};
    $gone->pause;
    my %had;
    for (1 .. 3) { $had{$_->status}++ for concurrently(40, sub ($i) { $nginx->get_p($path, $auth[0]) }) }
    is_deeply [keys %had], [503], 'those of that primary are not';
    my %status;
    for (1 .. 10) { $status{$nginx->get($path, $auth[$_])->status}++ for 1, 2 }
    is_deeply \%status, {200 => 20}, 'all others are' or diag explain \%status, grep {/redis_failures|in_flight/} split /\n/, $nginx->get('/_lines/metrics')->body;
    $gone->cont;
    wait_ok($nginx);
    $nginx->quit;
};

subtest 'limits, in a store of another form' => sub {
    my $main = $t->redis(kind => 'plain');
    my $tls  = $t->redis(kind => 'tls');
    for my $limits ($t->redis(kind => 'cluster'), $t->redis(kind => 'sentinel'), $tls) {
        for my $main ($main, $t->redis(kind => 'cluster')) {
            my $what = ref($limits) . ' beside ' . ref $main;
            my $nginx = $t->nginx(redis => $main, limits => $limits, workers => 2, server => <<'NGINX', @plans);
location /small/ { lines_rate_limit rate=1r/h burst=3 key=$arg_who name=small sync=each; empty_gif; }
location /lease/ { lines_rate_limit rate=1r/h burst=40 key=$arg_who name=lease; empty_gif; }
NGINX
            wait_ok($nginx);
            my $who = ref($main) . ref $limits;
            my @small = map { $_->status } concurrently(30, sub ($i) { $nginx->get_p("/small/?who=$who") });
            is scalar(grep { $_ == 200 } @small), 3, "$what: a limit is a limit";
            is scalar(grep { $_ == 429 } @small), 27, '... and nothing else';
            my @keys = grep {/lines:\{l[}:]/} $limits->cli('KEYS', '*');
            ok scalar(@keys), '... it is there';
            is scalar(grep {/lines:\{l[}:]/} $main->cli('KEYS', '*')), 0, '... and nowhere else';
            my @lease = map { $_->status } concurrently(60, sub ($i) { $nginx->get_p("/lease/?who=$who") });
            my $n = grep { $_ == 200 } @lease;
            ok $n >= 30 && $n <= 40, "... leases let $n through";
            $nginx->reload(wait_old => 1);
            wait_ok($nginx);
            $limits->pause;
            my $began = time;
            $nginx->get("/small/?who=else$who");
            cmp_ok time - $began, '<', 5 * $t->slow, '... hangs no longer than its timeout';
            $limits->cont;
            $nginx->allow(qr/no answer|connection lost|could not connect|limits/);
            $nginx->quit;
        }
    }
};

$t->done;
