# What stands at Redis' address answers in the shape that is expected, but with nothing in it: nil where there is a name, a
# member or a score. Whoever asked goes on; no worker ends.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once redis => 'its Redis is a program of its own';
use Test::Lines qw(wait_for);

my $t       = Test::Lines->new;
my $scripts = "$FindBin::Bin/../src/store/scripts";
my %sha     = map { my ($sum) = split / /, qx{sh $scripts/embed.sh $scripts - $_ | sha1sum}; ($_ => $sum) } qw(due_read op_claim line_list lines_page);

my $server = $t->file('hollow.pl', <<'END');
    use strict;
    use warnings;
    use IO::Select;
    use IO::Socket::INET;

    my ($port, $due, $claim, $list, $page) = @ARGV;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "$port: $!";
    my $select = IO::Select->new($listen);
    my %in;

    $SIG{PIPE} = 'IGNORE';
    $| = 1;

    sub bulk { return join '', map { defined $_ ? '$' . length($_) . "\r\n$_\r\n" : "\$-1\r\n" } @_ }
    sub list { return '*' . @_ . "\r\n" . bulk(@_) }

    sub reply {
        my ($name, $first, @more) = @_;

        return bulk("role:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n") if $name eq 'INFO';
        return "+PONG\r\n" if $name eq 'PING';
        return join '', map { '*3' . "\r\n" . bulk('subscribe', $_) . ":1\r\n" } $first, @more if $name eq 'SUBSCRIBE';
        return list(time, 1)     if $name eq 'TIME';
        return list(('') x @more)  if $name eq 'CONFIG';
        return list((undef) x @more) if $name eq 'HMGET';
        return list('member', undef, undef, 2) if $name =~ /^Z(?:REV)?RANGEBYSCORE$/;
        return "*2\r\n" . bulk('0') . list(undef) if $name eq 'SSCAN';
        return list(undef, undef) if $name =~ /^(?:HGETALL|SMEMBERS|ZRANGE)$/;
        return ":1\r\n" if $name ne 'EVALSHA';

        return list(undef, undef, 'w:x lr_1', 5000) if $first eq $due;
        return "*4\r\n:2\r\n*0\r\n" . list(undef, undef) . bulk(undef) if $first eq $list;

        return "*5\r\n:1\r\n" . bulk('member', undef, undef, 2) if $first eq $page;

        if ($first eq $claim) {
            print "claimed\n";
            return list('claimed', 1700000000000, undef, 'value', 'kind', undef);
        }

        return ":1\r\n";
    }

    while (1) {
        for my $socket ($select->can_read) {
            if ($socket == $listen) { $select->add($listen->accept); next }

            if (!sysread $socket, $in{$socket}, 65536, length($in{$socket} // '')) {
                delete $in{$socket};
                $select->remove($socket);
                close $socket;
                next;
            }

            while ($in{$socket} =~ /\A\*(\d+)\r\n/) {
                my ($left, $p, @words) = ($1, $+[0]);

                while ($left && substr($in{$socket}, $p) =~ /\A\$(\d+)\r\n/) {
                    my ($len, $head) = ($1, $+[0]);
                    last if length($in{$socket}) < $p + $head + $len + 2;
                    push @words, substr $in{$socket}, $p + $head, $len;
                    $p += $head + $len + 2;
                    $left--;
                }

                last if $left;
                substr($in{$socket}, 0, $p) = '';
                syswrite $socket, reply(@words);
            }
        }
    }
END

my $redis = $t->redis(start => 0);
my $fake  = $t->spawn(hollow => [$^X, $server, $redis->port, @sha{qw(due_read op_claim line_list lines_page)}]);
my $nginx = $t->nginx(
    redis   => $redis,
    workers => 1,
    plans   => "lines_plan big phone included=100;\n",
    http    => 'lines_operations sweep=100ms due=1s lease=1s;'
);
my ($pid) = $nginx->pids;

$nginx->allow(qr/unknown kind/);

wait_for(sub { (() = $fake->output =~ /claimed/g) >= 3 }, 30, 'operations that nobody can make sense of');
like $nginx->error_log, qr/unknown kind/, 'is said of each of them';

is $nginx->admin(GET => 'lines?status=provisioning')->status, 200, 'a list of what has no score';
is $nginx->get('/_lines/metrics')->status, 200, 'metrics';
is_deeply [$nginx->pids], [$pid], 'the worker lives';

$t->done;
