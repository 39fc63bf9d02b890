# Clients that leave, workers that are replaced, and a provisioner that refuses: the operation does not notice.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Client;
use Test::Lines::Paid;

my $t       = Test::Lines->new(timeout => 600);
my $told    = $t->upstream(name => 'provisioner', handler => undef);
my $paid    = Test::Lines::Paid->new(t => $t, provisioner => 'http://127.0.0.1:' . $told->port . '/told', operations => 'sweep=5m lease=7s retry=300ms due=2s');
my $sandbox = $paid->sandbox;
my $nginx   = $paid->nginx(workers => 2, h2 => 1, main => 'worker_shutdown_timeout 500ms;');
my $n       = 0;

# one request over HTTP/2 by hand; returns what resets its stream
sub h2_post ($path, $key, $body) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nginx->h2_port) or die $@;
    my $frame  = sub ($type, $flags, $stream, $payload) {
        return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
    };
    my $string  = sub ($value) { (length $value < 127 ? pack('C', length $value) : pack('CC', 127, length($value) - 127)) . $value };
    my $named   = sub ($index, $value) { pack('C', $index) . $string->($value) };
    my $literal = sub ($name, $value) { "\0" . $string->($name) . $string->($value) };

    # POST, http, :path, :authority, then two headers spelled out
    my $headers = "\x83\x86" . $named->(0x04, $path) . $named->(0x01, 'x') . $literal->('authorization', "Bearer $key")
      . $literal->('content-type', 'application/json');
    syswrite $socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . $frame->(4, 0, 0, '') . $frame->(1, 4, 1, $headers) . $frame->(0, 1, 1, $body);

    return sub ($code) { syswrite $socket, $frame->(3, 0, 1, pack 'N', $code); close $socket };
}

sub creations () { scalar grep { $_->{method} eq 'POST' } $sandbox->requests(POST => '/v1/subscriptions') }

# workspaces whose requests are under way at billing
sub under_way ($count, $start) {
    $sandbox->fault(path => '/v1/subscriptions', kind => 'delay', ms => 900, times => $count);
    my $before = creations();
    my @all    = map { my $id = 'leaving' . ++$n; {id => $id, key => $paid->workspace($id)} } 1 .. $count;
    $_->{leave} = $start->($_) for @all;
    wait_for(sub { creations() - $before == $count }, 60, 'billing to be asked');
    return @all;
}

sub all_await (@all) {
    for my $one (@all) {
        wait_for(sub {
            my ($line) = @{scalar $paid->redis->cli('ZRANGE', "lines:{w:$one->{id}}:lines", 0, -1)};
            return $line && ($paid->operation($one->{id}, $line)->{step} // '') eq 'await';
        }, 60, "the line of $one->{id}");
    }
    return scalar @all;
}

subtest 'HTTP/2 streams are reset while billing is asked' => sub {
    my @all = under_way(20, sub ($one) { h2_post('/api/line-requests', $one->{key}, encode_json($paid->body)) });
    $_->{leave}->(8) for @all;
    is all_await(@all), 20, 'every operation goes on';
    is creations(), 20, 'and asks once';
};

subtest 'HTTP/1.1 connections are reset' => sub {
    my $before = creations();
    my @all = under_way(20, sub ($one) {
        my $socket = $nginx->socket;
        my $body   = encode_json($paid->body);
        syswrite $socket, join "\r\n", 'POST /api/line-requests HTTP/1.1', 'Host: x', "Authorization: Bearer $one->{key}",
          'Content-Type: application/json', 'Content-Length: ' . length $body, '', $body;
        return sub ($code) { Test::Lines::Client->reset_connection($socket) };
    });
    $_->{leave}->(8) for @all;
    is all_await(@all), 20;
    is creations() - $before, 20;
};

subtest 'a reload, with a timeout of the shutdown' => sub {
    my $before = creations();
    my @answers;
    my @all = under_way(10, sub ($one) {
        $nginx->post_json_p('/api/line-requests', $paid->body, $nginx->bearer($one->{key}))->then(sub ($answer) { push @answers, $answer });
        return sub ($code) { };
    });
    $nginx->reload(wait_old => 1);
    is all_await(@all), 10, 'the old workers end what they began';
    is creations() - $before, 10;
};

subtest 'the provisioner' => sub {
    my $key    = $paid->workspace('told');
    my $answer = $paid->request($key);
    my $line   = $answer->json('/line/_id');
    $sandbox->pay($answer->json('/invoiceId'));
    $paid->wait_done('told', $line);
    my @told = grep { $_->{json}{_id} eq $line } @{$told->requests};
    is scalar @told, 1, 'is told once';
    is $told[0]{headers}{'idempotency-key'}, $line, 'under the key of the operation';
    is $told[0]{json}{provisioningStatus}, 'provisioning';
    is $paid->record('told', $line)->{status}, 'provisioning', 'and the line waits for its report';

    # away for a while
    $told->set(status => 503, times => 2);
    $nginx->http($nginx->http =~ s/sweep=5m/sweep=200ms/r)->reload(wait_old => 1);
    my $next = $paid->request($key);
    $sandbox->pay($next->json('/invoiceId'));
    $paid->wait_done('told', $next->json('/line/_id'));
    is scalar(grep { $_->{json}{_id} eq $next->json('/line/_id') } @{$told->requests}), 3, 'told again until it answers';

    # a final refusal
    $told->set(status => 422, times => 1);
    my $last = $paid->request($key);
    my $id   = $last->json('/line/_id');
    $sandbox->pay($last->json('/invoiceId'));
    my $h = $paid->wait_record('told', $id, 'failed');
    is $h->{reason}, 'provisioning_failed';
    wait_for(sub { $paid->record('told', $id)->{payment} eq 'refunded' }, 30, 'the refund');

    # an included line is told of, too, and costs nothing
    my $plan = $nginx->workspace(included => {plan => 'growth', customer => 'cus_card'});
    my $free = $paid->request($plan, channelType => 'phone', phone => undef, email => undef);
    is $free->status, 201 or diag $free->to_string;
    is $free->json('/paymentRequired'), Mojo::JSON->false;
    wait_for(sub { grep { $_->{json}{_id} eq $free->json('/line/_id') } @{$told->requests} }, 30, 'it to be told');
};

$sandbox->wait_idle;
$paid->agree('billing and lines agree');

$t->done;
