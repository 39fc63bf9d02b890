use Mojo::Base -strict, -signatures;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'its Redis is a program of its own';
use Test::Lines qw(wait_for concurrently);

# Something that is not Redis, or no longer in its right mind, answers at its
# address: the worker lives, nobody is served from it, and Redis is found again.

my $t = Test::Lines->new;

my $server = $t->file('strange.pl', <<'END');
    use strict;
    use warnings;
    use IO::Socket::INET;
    use IO::Select;

    my ($port, $mode, $subscribed) = @ARGV;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1)
      or die "$port: $!";
    my $select = IO::Select->new($listen);
    my $info   = "role:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
    my %first;

    $SIG{PIPE} = 'IGNORE';
    srand 12;

    sub bulk { my $s = shift; return '$' . length($s) . "\r\n$s\r\n" }

    sub random {
        my $depth = shift // 0;
        my $kind  = int rand($depth < 3 ? 9 : 6);
        return '+' . 'x' x rand(20) . "\r\n"   if $kind == 0;
        return '-ERR ' . 'x' x rand(20) . "\r\n" if $kind == 1;
        return ':' . int(rand 1000) . "\r\n"   if $kind == 2;
        return "\$-1\r\n"                      if $kind == 3;
        return bulk('message')                 if $kind == 4;
        return bulk('y' x rand 40000)          if $kind == 5;
        return "*-1\r\n"                       if $kind == 6;
        my $n = int rand 4;
        return "*$n\r\n" . join '', map { random($depth + 1) } 1 .. $n;
    }

    while (1) {
        for my $socket ($select->can_read) {
            if ($socket == $listen) {
                my $new = $listen->accept or next;
                $select->add($new);
                syswrite $new, "+OK ready\r\n+OK\r\n:1\r\n*0\r\n"   if $mode eq 'greets';
                syswrite $new, "HTTP/1.1 400 Bad Request\r\n\r\n" if $mode eq 'http';
                next;
            }

            if (!sysread $socket, my $in, 65536) {
                $select->remove($socket);
                close $socket;
                next;
            }
            else {
                my $out = '';

                $out .= bulk($info) if $in =~ /INFO/;
                $out .= "*0\r\n"   if $in =~ /CONFIG/;
                $out .= "+PONG\r\n" if $in =~ /PING/;

                if ($in =~ /SUBSCRIBE\r\n\$\d+\r\n(.*?)\r\n\$\d+\r\n(.*?)\r\n/s) {
                    $out .= "*3\r\n" . bulk('subscribe') . bulk($_) . ":1\r\n" for $1, $2;
                    $out .= $subscribed =~ s/\\r\\n/\r\n/gr x 3 if $mode eq 'subscribed';
                }

                for ($in =~ /(?<!CONFIG\r\n\$3)\r\n(?:PUBLISH|HGET|GET|EVALSHA|HGETALL|HMGET)\r\n/g) {
                    $out .= $mode eq 'raves' ? random() . random() : $mode eq 'words' ? "+OK\r\n" : ":1\r\n";
                    $out .= "+OK\r\n:2\r\n" if $mode eq 'chatters';
                }

                syswrite $socket, $out if length $out;
                syswrite $socket, random() if $mode eq 'raves' && rand() < 0.5;
            }
        }
    }
END

my $plans = "lines_plan big phone included=100;\n";

sub strange ($what, $mode, $pattern, $subscribed = '') {
    subtest $what => sub {
        my $redis = $t->redis(start => 0);
        my $fake  = $t->spawn("strange-" . $redis->port, [$^X, $server, $redis->port, $mode, $subscribed]);
        my $nginx = $t->nginx(redis => $redis, plans => $plans);
        my @pids  = $nginx->pids;

        $nginx->wait_log($pattern);

        for my $round (1 .. 4) {
            my @answers = concurrently(3, sub ($i) { $nginx->get_p('/api/line-requests', $nginx->bearer('tuco_' . sprintf '%043d', 3 * $round + $i)) });
            fail 'neither unknown nor unavailable: ' . $_->to_string for grep { $_->status !~ /^(?:401|503)$/ } @answers;
        }

        is_deeply [$nginx->pids], \@pids, 'the worker lives';

        $fake->kill;
        $redis->start;
        wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready');
        is $nginx->get('/api/line-requests', $nginx->bearer($nginx->workspace(w => {plan => 'big'})))->status,
          200, 'and serves once Redis is there';

        $nginx->quit;
        $redis->stop;
    };
    return;
}

strange('another protocol',           'http',   qr/could not connect: Protocol error/);
strange('a service that speaks first', 'greets', qr/could not connect: the server is not Redis/);
strange('replies that nobody asked for', 'chatters', qr/commands: connection lost: a reply that nobody asked for/);
strange('replies of another form',     'words',  qr/\[error\].* lines store: due_read: the reply is not as declared/);
strange('random replies',             'raves',  qr/connection lost/);

my @messages = (
    ['too short',            '*1\r\n$7\r\nmessage\r\n'],
    ['empty',                '*0\r\n'],
    ['null',                 '*-1\r\n'],
    ['kind is a number',     '*3\r\n:1\r\n$1\r\nc\r\n$1\r\na\r\n'],
    ['kind is unsubscribe',  '*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n$1\r\na\r\n'],
    ['channel is null',      '*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\na\r\n'],
    ['channel is a list',    '*3\r\n$7\r\nmessage\r\n*1\r\n$1\r\na\r\n$1\r\na\r\n'],
    ['a status',             '+OK\r\n'],
);

strange("a message: $_->[0]", 'subscribed', qr/subscription: connection lost/, $_->[1]) for @messages;

$t->done;
