# What Sentinels may say beside what they should: names in capitals, words that differ, nothing at all, nonsense. Whoever is served
# stays where he is, whoever is not finds the way back, and the log says what is amiss, once.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines::Once redis => 'its Sentinel is a program of its own';
use Test::Lines qw(wait_for);

my $t = Test::Lines->new;

# answers as its file says, at each command: host, port, epoch, delay (seconds); raw: replies by command; events: so many were told
my $server = $t->file('sentinel.pl', <<'END');
    use strict;
    use warnings;
    use IO::Select;
    use IO::Socket::INET;
    use JSON::PP;

    my ($port, $file) = @ARGV;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1) or die "$port: $!";
    my $select = IO::Select->new($listen);
    my $told   = 0;
    my (%in, %subscribed);
    $SIG{PIPE} = 'IGNORE';

    sub state { open my $in, '<', $file or die "$file: $!"; local $/; return decode_json(<$in>) }
    sub bulk { my $s = shift; return '$' . length($s) . "\r\n$s\r\n" }
    sub list { return '*' . @_ . "\r\n" . join '', map { bulk($_) } @_ }

    while (1) {
        my $now = state();
        if (($now->{events} // 0) > $told) {
            $told = $now->{events};
            syswrite $_, list('message', '+switch-master', 'shop 127.0.0.1 1 127.0.0.1 2') for values %subscribed;
        }
        for my $socket ($select->can_read(0.02)) {
            if ($socket == $listen) {
                $select->add($listen->accept // next);
                next;
            }
            if (!sysread $socket, my $got, 65536) {
                $select->remove($socket);
                delete $_->{$socket} for \%in, \%subscribed;
                close $socket;
                next;
            }
            else { $in{$socket} .= $got }

            while ($in{$socket} =~ s/\A\*(\d+)\r\n((?:\$\d+\r\n[^\r]*\r\n){1,4}?)(?=\*|\z)//) {
                my @args    = $2 =~ /\$\d+\r\n([^\r]*)\r\n/g;
                my $command = uc $args[0] eq 'SENTINEL' ? uc $args[1] : uc $args[0];
                $subscribed{$socket} = $socket if $command eq 'SUBSCRIBE';
                delete $subscribed{$socket}    if $command eq 'UNSUBSCRIBE';
                print "$command\n";
                STDOUT->flush;
                select undef, undef, undef, $now->{delay} if $now->{delay};
                syswrite $socket, $now->{raw}{$command} // (
                      $command eq 'MASTER'                  ? list(name => $args[2], ip => $now->{host}, 'config-epoch' => $now->{epoch})
                    : $command eq 'GET-MASTER-ADDR-BY-NAME' ? list($now->{host}, $now->{port})
                    : $command =~ /SUBSCRIBE/               ? '*3' . "\r\n" . bulk(lc $command) . bulk('+switch-master') . ":1\r\n"
                    : "+PONG\r\n");
            }
        }
    }
END

my $resolver = $t->file('dns.pl', <<'END');
    use Socket;
    my ($port, $file) = @ARGV;
    socket my $socket, PF_INET, SOCK_DGRAM, 0 or die $!;
    bind $socket, pack_sockaddr_in($port, inet_aton('127.0.0.1')) or die $!;
    while (defined(my $from = recv $socket, my $query, 512, 0)) {
        my $gone     = -e $file;
        my $question = substr $query, 12, index($query, "\0", 12) - 12 + 5;
        send $socket, substr($query, 0, 2) . ($gone ? pack('n5', 0x8182, 1, 0, 0, 0) . $question
            : pack('n5', 0x8180, 1, 1, 0, 0) . $question . pack('nnnNn', 0xc00c, 1, 1, 1, 4) . inet_aton('127.0.0.1')), 0, $from;
    }
END

my $plans = "lines_plan big phone included=100;\n";
my $redis = $t->redis;
my $count = 0;

sub said ($of, %more) {
    %$of = (%$of, %more);
    my $new = $t->file('state', encode_json($of->{state} = {%{$of->{state}}, %more{grep { exists $more{$_} } qw(host port epoch delay raw events)}}));
    rename $new, $of->{file} or die "$of->{file}: $!";
    return $of;
}

sub sentinel (%state) {
    my $name = 'sentinel' . ++$count;
    my $of   = said({file => $t->dir . "/$name.json", name => $name, state => {host => '127.0.0.1', port => $redis->port, epoch => 1, %state}});
    $of->{at}      = $t->free_port;
    $of->{process} = $t->spawn($name => [$^X, $server, $of->{at}, $of->{file}]);
    wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $of->{at}) }, 30, $name);
    return $of;
}

sub at (@sentinels) { return 'redis+sentinel://' . join(',', map {"127.0.0.1:$_->{at}"} @sentinels) . '/shop' }

sub ready ($nginx) { return $nginx->get('/_lines/ready')->status == 200 }

sub wait_ready ($nginx) { wait_for(sub { ready($nginx) }, 30, 'ready') }

sub asked ($of) { return scalar(() = $of->{process}->output =~ /^GET-MASTER/mg) }

# each of them tells of a change that is none, so that each is asked again, so often
sub ask ($times, @sentinels) {
    for my $i (1 .. $times) {
        for my $of (@sentinels) {
            my $had = asked($of);
            said($of, events => ($of->{state}{events} // 0) + 1);
            wait_for(sub { asked($of) > $had }, 30, "$of->{name} is asked again");
        }
    }
}

sub often ($nginx, $pattern) { return scalar(() = $nginx->error_log =~ /$pattern/g) }

sub connections ($nginx) { return often($nginx, qr/connection lost/) }

my $dns = $t->free_port;
my $gone = $t->dir . '/dns.gone';
$t->spawn(dns => [$^X, $resolver, $dns, $gone]);
my $names = "resolver 127.0.0.1:$dns ipv6=off valid=1s; resolver_timeout 1s;";

subtest 'a name in capitals' => sub {
    my @all   = map { sentinel(host => 'Redis.Lines.Test') } 1 .. 3;
    my $nginx = $t->nginx(redis => at(@all), http => $names, plans => $plans);
    wait_ready($nginx);
    ask(3, @all);
    ok ready($nginx), 'it is the same one as before';
    is often($nginx, qr/so says/), 1, '... and nobody moved';
    is connections($nginx),        0, '... nor left';

    # who asks for names is away, and Redis' connections are cut
    $t->file('dns.gone', '');
    wait_for(sub {
        my $had = connections($nginx);
        $redis->cli('CLIENT', 'KILL', 'TYPE', $_) for 'normal', 'pubsub';
        wait_for(sub { connections($nginx) > $had }, 30, 'the cut is seen');
        wait_ready($nginx);
        return often($nginx, qr/old address is tried: could not resolve "redis\.lines\.test"/);
    }, 30, 'a name that was resolved a second ago is not any more');
    wait_ready($nginx);
    pass 'the address that was known is used on';
    unlink $gone;
    $nginx->quit;
};

subtest 'two names of one' => sub {
    my @all   = (sentinel(host => 'redis.lines.test'), sentinel(host => '127.0.0.1'));
    my $nginx = $t->nginx(redis => at(@all), http => $names, plans => $plans);
    wait_ready($nginx);
    my $before = connections($nginx);
    ask(4, @all);
    ok ready($nginx), 'one of them is believed';
    cmp_ok often($nginx, qr/so says/), '<=', 2, '... and stays so, whoever is asked';
    is connections($nginx), $before, '... nobody leaves';

    # a word counts once it is another one
    said($all[0], port => $t->free_port);
    ask(1, $all[0]);
    wait_for(sub { !ready($nginx) }, 30, 'not there');
    said($all[1], epoch => 2);
    ask(1, $all[1]);
    wait_ready($nginx);
    pass 'the later epoch';
    $nginx->quit;
};

subtest 'the quick one knows no better' => sub {
    my $stale = sentinel(port => $t->free_port);
    my $good  = sentinel(epoch => 7, delay => 0.03);
    my $nginx = $t->nginx(redis => at($stale, $good), plans => $plans);
    wait_ready($nginx);
    is often($nginx, qr/so says/), 1, 'the first word waits for those of others';
    $nginx->quit;

    # but not for ever
    my $alone = $t->nginx(redis => at({at => $t->free_port}, {at => $t->free_port}, $good), plans => $plans);
    wait_ready($alone);
    pass 'one of three tells';
    $alone->quit;
};

subtest 'the one of the later epoch is gone' => sub {
    my ($gone, $left) = (sentinel(epoch => 7), sentinel(epoch => 3, port => $t->free_port));
    my $nginx = $t->nginx(redis => at($gone, $left), plans => $plans);
    wait_ready($nginx);
    $gone->{process}->stop;
    $nginx->wait_log(qr/"127\.0\.0\.1:$gone->{at}", Sentinel: connection lost/);
    ask(2, $left);
    $nginx->wait_log(qr/Sentinel "127\.0\.0\.1:$left->{at}" names "127\.0\.0\.1" port $left->{state}{port}, of the older epoch 3: not believed/);
    ok ready($nginx), 'half of them do not outvote a later epoch';
    is often($nginx, qr/not believed/), 1, '... which is said once';
    $nginx->quit;
};

subtest 'may not be subscribed to' => sub {
    my $of    = sentinel(raw => {SUBSCRIBE => "-NOPERM this user has no permissions to access one of the channels\r\n"});
    my $other = $t->redis;
    my $nginx = $t->nginx(redis => at($of), plans => $plans);
    wait_ready($nginx);
    $nginx->wait_log(qr/Sentinel: it does not tell changes of "shop": NOPERM/);
    said($of, port => $other->port, epoch => 2);
    $nginx->wait_log(qr/"shop\/0 at 127\.0\.0\.1:@{[$other->port]}": so says/);
    wait_ready($nginx);
    is often($nginx, qr/does not tell/), 1, 'it is asked now and then, and this is said once';
    $nginx->quit;
    $other->stop;
};

subtest 'may not be asked for its epoch' => sub {
    my $of    = sentinel(raw => {MASTER => "-NOPERM this user has no permissions to run the 'sentinel|master' command\r\n"});
    my $nginx = $t->nginx(redis => at($of), plans => $plans);
    wait_ready($nginx);
    ask(3, $of);
    is often($nginx, qr/Sentinel: it does not tell the epoch of "shop": NOPERM/), 1, 'its word counts, and this is said once';
    is often($nginx, qr/does not tell the address/),                              0, '... of the address nothing';
    $nginx->quit;
};

subtest 'forgets' => sub {
    my $of    = sentinel();
    my $nginx = $t->nginx(redis => at($of), redis_options => 'connect_timeout=60s', plans => $plans);
    wait_ready($nginx);
    said($of, raw => {MASTER => "-ERR No such master with that name\r\n", 'GET-MASTER-ADDR-BY-NAME' => "*-1\r\n"});
    ask(1, $of);
    $nginx->wait_log(qr/Sentinel: it does not tell the address of "shop": ERR No such master/);
    $redis->cli('CLIENT', 'KILL', 'TYPE', $_) for 'normal', 'pubsub';
    wait_for(sub { connections($nginx) }, 30, 'the cut is seen');
    wait_ready($nginx);
    pass 'what was known is used as soon as it answers that it knows nothing';
    $nginx->quit;
};

subtest 'nonsense' => sub {
    my @table = (
        ['GET-MASTER-ADDR-BY-NAME', "*2\r\n\$9\r\nbad\nhost\e\r\n\$4\r\n6379\r\n", qr/does not tell the address of "shop": neither an address nor a name/],
        ['GET-MASTER-ADDR-BY-NAME', "*2\r\n\$300\r\n" . 'x' x 300 . "\r\n\$4\r\n6379\r\n", qr/neither an address nor a name/],
        ['GET-MASTER-ADDR-BY-NAME', "*2\r\n\$1\r\nx\r\n\$5\r\n99999\r\n", qr/neither an address nor a name/],
        ['GET-MASTER-ADDR-BY-NAME', "*1000000000\r\n",                    qr/could not connect|connection lost/],
        ['MASTER',                  "*1000000000\r\n",                    qr/a reply of more than 1000000 elements/],
        ['MASTER',                  "*2\r\n" x 6 . ":1\r\n" x 7,          qr/the server is not Sentinel/],
        ['MASTER',                  ":1\r\n",                             qr/the server is not Sentinel/],
        ['SUBSCRIBE',               "*3\r\n:1\r\n:1\r\n:1\r\n",           qr/the server is not Sentinel/],
        ['PING',                    ":1\r\n",                             qr/the server is not Redis/],
        ['PING',                    "-NOAUTH Authentication required.\r\n", qr/see "password_file=", of a Sentinel "sentinel_password_file="/],
    );
    for my $case (@table) {
        my ($command, $reply, $pattern) = @$case;
        my $of    = sentinel(raw => {$command => $reply});
        my $good  = sentinel();
        my $nginx = $t->nginx(redis => at($of, $good), plans => $plans);
        my @pids  = $nginx->pids;
        $nginx->wait_log($pattern);
        wait_ready($nginx);
        is_deeply [$nginx->pids], \@pids, "$command: " . substr($reply =~ s/[\r\n\e]+/ /gr, 0, 40) . ': the other one is asked';
        unlike $nginx->error_log, qr/bad\nhost|\e/, '... its text is not in the log';
        $nginx->quit;
        $_->{process}->stop for $of, $good;
    }
};

$t->done;
