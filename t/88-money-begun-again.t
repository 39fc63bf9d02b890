# A request whose begin is asked twice, since the first reply was lost: what became of it meanwhile is what its client is told.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);
use Test::Lines::Script;

my $t = Test::Lines->new;

my $told = $t->upstream(name => 'provisioner', status => 200);
my $s    = Test::Lines::Scenario->new(t => $t, webhooks => 0, provisioner => $told->url);
my $wire = $t->wire(redis => $s->redis);

# Redis knows the script
$s->redis->client->script_load(Test::Lines::Script->new->source('line_begin'));

my $nginx = $s->nginx;
my $cut   = $s->nginx(redis => $wire->url, workers => 1, redis_options => 'timeout=30s connect_timeout=10s');
wait_for(sub { $cut->get('/_lines/ready')->status == 200 }, 30, 'ready');

# its first begin reaches Redis, and no answer comes back: the other node goes on with it, until $end; what its client is told
# then, and the line
sub again ($name, $end, %more) {
    my $key    = $s->workspace($name, %{$more{workspace} // {}});
    my $body   = encode_json({%{$s->body}, %{$more{body} // {}}});
    my $socket = $cut->socket;
    $wire->keep($wire->call(line_begin => "w:$name"));
    print $socket join "\r\n", 'POST /api/line-requests HTTP/1.1', 'Host: x', "Authorization: Bearer $key", 'Content-Type: application/json',
      'Connection: close', 'Content-Length: ' . length $body, '', $body;
    $socket->flush;

    my $line = {key => $key, name => $name, tenant => "w:$name"};
    my $there = eval { wait_for(sub { ($line->{line}) = @{scalar $s->redis->cli('ZRANGE', "lines:{w:$name}:lines", 0, -1)}; $line->{line} }, calm ? 30 : 5, 'the line') };
    $there or !calm and return or die $@;
    wait_for(sub { $end->($line) }, 30, 'its end');
    my $mark = $cut->log_mark;
    $wire->cut;
    my $answer = do { local $/; <$socket> };
    # of a worker that was killed
    return if !calm && !length($answer // '');
    like $cut->error_log($mark), qr/connection lost/, 'the connection was cut';
    my ($status, $text) = $answer =~ m{^HTTP/1.1 (\d+).*?\r\n\r\n(.*)}s;
    $text =~ s/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$//g;
    is scalar @{scalar $s->redis->cli('ZRANGE', "lines:{w:$name}:lines", 0, -1)}, 1, 'there is one line';
    return ($status, Mojo::JSON::decode_json($text), $line);
}

promise 'billing refused it: 402, as the first begin would have been told' => sub {
    my ($status, $json) = again(refused => sub ($line) { $s->now_of($line)->{status} eq 'canceled' }, workspace => {customer => 'cus_nobody'});
    defined $status or return pass 'nobody is told';
    is $status, 402, 'refused' or diag explain $json;
    is_deeply [@$json{qw(success status reason)}], [Mojo::JSON->false, 'canceled', 'subscription_required'], '... and why';
};

promise 'it awaits its payment: 201, and where to pay' => sub {
    my ($status, $json) = again(awaits => sub ($line) { $s->op($line->{tenant}, $line->{line})->{step} eq 'await' });
    defined $status or return pass 'nobody is told';
    is $status, 201, 'created';
    is $json->{status}, 'awaiting_payment', 'it waits';
    like $json->{paymentUrl}, qr/^http/, '... for that page';
};

promise 'it was canceled: 409' => sub {
    my ($status, $json) = again(canceled => sub ($line) {
        my $step = $s->op($line->{tenant}, $line->{line})->{step};
        return $step eq 'done' if $step ne 'await';
        $s->action($line->{key}, $line->{line}, 'cancel')->status == 200;
    });
    defined $status or return pass 'nobody is told';
    is $status, 409, 'canceled' or diag explain $json;
    is $json->{status}, 'canceled', '... is its status';
};

promise 'one that is included: 201' => sub {
    my ($status, $json) = again(included => sub ($line) { $s->op($line->{tenant}, $line->{line})->{step} eq 'done' },
        workspace => {plan => 'growth'}, body => {channelType => 'phone'});
    defined $status or return pass 'nobody is told';
    is $status, 201, 'created';
    is_deeply [@$json{qw(status paymentRequired)}], ['provisioning', Mojo::JSON->false], '... in the plan';
};

promise 'one that is included, and was refused by the provisioner: 201, as it was' => sub {
    $told->set(status => 422);
    my ($status, $json, $line) = again(failed => sub ($line) { $s->now_of($line)->{status} eq 'failed' },
        workspace => {plan => 'growth'}, body => {channelType => 'phone'});
    defined $status or return pass 'nobody is told';
    is $status, 201, 'created';
    is $json->{status}, 'provisioning', '... as its first answer would have been';
    is $s->shown($line)->{status}, 'failed', 'its reader knows more';
};

$t->done;
