# What an attack on streams of events has found: who comes again with a Last-Event-ID of long ago, and with all the streams that
# he may have, reads two pages at a time, as lists do, and holds up nobody; nor is he cut off while Redis takes its time.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Time::HiRes qw(time);

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $redis = $shop->redis;
my $node  = $shop->nginx(workers => 1, debug => 1);
my $auth  = $node->bearer($shop->workspace('one'));

# a journal of so many entries, all but every hundredth of other lines
my ($count, $now) = (1000, int(1000 * time));
my $line = 'a' x 24;
$redis->cli(SET => "lines:{w:one}:line:$line", qq(2 active paid 1 {"_id":"$line"}));
$redis->cli(EVAL => 'for i = 1, ARGV[2] do redis.call("RPUSH", KEYS[1], string.format(\'{"id":%.0f,"type":"line.active","line":"%s","to":"active"}\', ARGV[1] + i, '
  . 'i % 100 == 0 and ARGV[3] or string.format("%024x", i))) end', 1, 'lines:{w:one}:journal', $now, $count, $line);

my $n = 0;

sub stream ($path, $nginx = $node) {
    my $socket = $nginx->socket;
    syswrite $socket, join "\r\n", "GET $path HTTP/1.0", 'Host: x', "Authorization: $auth->{Authorization}", 'Last-Event-ID: ' . ($now - 1), 'X-Request-Id: r' . ++$n, '', '';
    $socket->blocking(0);
    return {socket => $socket, in => ''};
}

sub ids ($s) {
    my $read;
    1 while $read = sysread $s->{socket}, $s->{in}, 65536, length $s->{in};
    $s->{gone} = 1 if defined $read;
    return [$s->{in} =~ /^id: (\d+)\nevent:/mg];
}

# two have their turn, and no answer; the others wait for longer than a list would
my $wire = $t->wire(redis => $redis);
my $far  = $shop->nginx(name => 'far', workers => 1, redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
$far->wait_redis;
$wire->hold($wire->call(events_page => 'w:one'), skip => 4);
my @late = map { stream('/api/events', $far) } 1 .. 4;
$wire->reached;
my $until = time + 11;

my @all = map { stream('/api/events') } 1 .. 20;
my @one = map { stream("/api/line-requests/$line/events") } 1 .. 20;
wait_for(sub { !(grep { @{ids($_)} < $count } @all) && !grep { @{ids($_)} < $count / 100 } @one }, 60, 'all to be told');
is_deeply ids($_), [map { $now + $_ } 1 .. $count], 'all that was missed, in its order, once' for @all;
is_deeply ids($_), [map { $now + 100 * $_ } 1 .. $count / 100], 'of one line' for @one;

my ($at_once, $most, $turns, %asked) = (0, 0, 0);
for ($node->error_log =~ /lines store: (r\d+(?: asks|:) events_page)/g) {
    my ($id, $asks) = /^(r\d+)( asks)?/;
    next if !($asks ? $asked{$id}++ : $asked{$id} > 1);    # the first page is as cheap as any request
    $at_once += $asks ? 1 : -1;
    $turns   += !!$asks;
    $most = $at_once if $at_once > $most;
}
is $turns, 40 * 9, 'all pages but the first';
is $most, 2, '... are read two at a time';
is $at_once, 0, '... until all are told';

wait_for(sub { time > $until || grep { ids($_) && $_->{gone} } @late }, 60, 'the others to have waited');
is scalar(grep { $_->{gone} } @late), 0, 'who waits for a turn is not cut off';
$wire->pass;
wait_for(sub { !grep { @{ids($_)} < $count } @late }, 60, 'them to be told');
is_deeply ids($_), [map { $now + $_ } 1 .. $count], '... and has all that was missed' for @late;

# a stream that has caught up is told as ever
$redis->cli(RPUSH => 'lines:{w:one}:journal', sprintf '{"id":%d,"type":"line.refunded","line":"%s"}', $now + $count + 1, $line);
$redis->cli(PUBLISH => 'lines:revoked', 'event w:one');
wait_for(sub { !grep { ids($_)->[-1] != $now + $count + 1 } @all, @one, @late }, 60, 'news to be told');
pass 'they go on';
close $_->{socket} for @all, @one, @late;
$t->done;
