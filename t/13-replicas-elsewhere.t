# replicas=: a write is not acknowledged by replicas of another server than the one that has it, however its connections come back.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::IOLoop;
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines::Once redis => 'it has replicas of its own';
use Test::Lines qw(wait_for);

my $t = Test::Lines->new;

# two primaries, as after a failover of which the first one knows nothing
my ($one, $two) = map { $t->redis } 1, 2;
my @replicas = map { $t->redis(conf => "replicaof 127.0.0.1 @{[$_->port]}\nrepl-diskless-sync-delay 0\n") } $one, $two;
wait_for(sub { !grep { $_->cli('ROLE')->[3] ne 'connected' } @replicas }, 60, 'replicas');

# between: connections lead to $to; of what a new one sends only the bytes before $until pass, while that is set
my ($to, $until, @ways) = ($one);

sub forward ($way) {
    return if !$way->{out};
    my $bytes = $way->{in};
    $bytes = $bytes =~ /$way->{until}/ ? substr $bytes, 0, $-[0] : $bytes if defined $way->{until};
    $way->{out}->write($bytes) if length $bytes;
    substr $way->{in}, 0, length $bytes, '';
    return;
}

my $port = $t->free_port;
Mojo::IOLoop->server({address => '127.0.0.1', port => $port} => sub ($loop, $from, $id) {
    my $way = {until => $until, in => '', all => '', from => $from};
    push @ways, $way;
    $from->on(read  => sub ($, $bytes) { $way->{all} .= $bytes; $way->{in} .= $bytes; forward($way) });
    $from->on(close => sub { $way->{gone} = 1; $way->{out}->close if $way->{out} });
    Mojo::IOLoop->client({address => '127.0.0.1', port => $to->port} => sub ($loop, $error, $out) {
        return $from->close if $error || $way->{gone};
        $way->{out} = $out;
        $out->on(read  => sub ($, $bytes) { $from->write($bytes) });
        $out->on(close => sub { $from->close });
        forward($way);
    });
});

sub turn ($check, $what) { wait_for(sub { Mojo::IOLoop->one_tick; $check->() }, 30, $what) }

# one that has sent this
sub way_of ($like) { return (grep { !$_->{gone} && $_->{all} =~ $like } @ways)[-1] }

# it is cut, and the one that comes for it
sub come_back ($way) {
    my $n = @ways;
    $way->{from}->close;
    turn(sub { @ways > $n && length $ways[$n]{all} }, 'a new connection');
    return $ways[$n];
}

# one_tick() waits for something
Mojo::IOLoop->recurring(0.02 => sub { });

my @plans = (plans => "lines_plan bulk phone included=1000;\n");
my $nginx = $t->nginx(workers => 1, redis => "redis://127.0.0.1:$port", redis_options => 'timeout=20s connect_timeout=15s replicas=1 wait=5s', @plans);
my $other = $t->nginx(redis => $one, @plans);
my $auth  = $other->bearer($other->workspace(one => {plan => 'bulk'}));

sub asked ($method, @request) {
    my $got;
    $nginx->request_p($method => @request)->then(sub ($answer) { $got = $answer });
    return \$got;
}

sub create () {
    return asked(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json'}, encode_json({firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'}));
}

sub lines_at ($redis) { return scalar $redis->cli('ZCARD', 'lines:{w:one}:lines') }

my $ready = asked(GET => '/_lines/ready');
turn(sub {
    my $answer = $$ready or return 0;
    return 1 if $answer->status == 200 && $answer->body !~ /too few replicas/ && way_of(qr/WAIT/);
    $ready = asked(GET => '/_lines/ready');
    return 0;
}, 'ready');

my $first = create();
turn(sub {$$first}, 'an answer');
is $$first->status, 201, 'a line';

# the one that asks the replicas comes back to the other server, but is not there yet
my ($commands, $asks) = (way_of(qr/EVALSHA/), way_of(qr/WAIT/));
($to, $until) = ($two, qr/\A/);
my $late = come_back($asks);
my $second = create();
turn(sub { lines_at($one) == 2 }, 'a line is written');
# its reply is on its way through here
for (1 .. 20) { Mojo::IOLoop->one_tick }
ok !$$second, '... and waits for a replica';

# that for commands is about to: it knows which server that is, and may fail yet
$until = qr/\*\d+\r\n\$6\r\nCONFIG\r\n/;
my $next = come_back($commands);
undef $until;
turn(sub { $next->{in} =~ /CONFIG/ }, 'its handshake');
for (1 .. 20) { Mojo::IOLoop->one_tick }

delete $late->{until};
forward($late);
turn(sub { $late->{all} =~ /CONFIG/ }, 'that to be there');
for (1 .. 50) { Mojo::IOLoop->one_tick }
delete $next->{until};
forward($next);

turn(sub {$$second}, 'an answer');
is $$second->status, 503, 'replicas of the other server say nothing of it';
is lines_at($two), 0, '... where it is not';

$nginx->quit;
$other->quit;

$t->done;
