# What the provisioner is told of a line, when the reply to the write that moved it there was lost.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json true false);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);

my $paid    = Test::Lines::Paid->new(t => $t, provisioner => $told->url, operations => 'sweep=1h retry=300ms due=30s lease=20s poll=20m');
my $sandbox = $paid->sandbox;
my $wire    = $t->wire(redis => $paid->redis);

my $nginx = $paid->nginx(redis => $wire->url, workers => 1, redis_options => 'timeout=20s connect_timeout=10s');
wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'ready');

# paid while billing has not answered yet; the event makes the operation look at once
sub told ($id) {
    my $key  = $paid->workspace($id);
    my $body = encode_json($paid->body);
    $sandbox->fault(path => '/v1/subscriptions', kind => 'delay', ms => 900, times => 1);

    my $socket = $nginx->socket;
    print $socket join "\r\n", 'POST /api/line-requests HTTP/1.1', 'Host: x', "Authorization: Bearer $key", 'Content-Type: application/json',
      'Content-Length: ' . length $body, '', $body;
    $socket->flush;

    my $made;
    wait_for(sub { ($made) = grep { $_->{metadata}{tenant} eq "w:$id" } $sandbox->ledger('subscription') }, 30, 'the subscription');
    my $sub = $sandbox->call(GET => "/v1/subscriptions/$made->{subscription}")->json;
    $sandbox->pay(ref $sub->{latest_invoice} ? $sub->{latest_invoice}{id} : $sub->{latest_invoice});

    my $line = $made->{metadata}{line_request};
    $paid->wait_done($id, $line);
    return map { $_->{json} } grep { $_->{headers}{'idempotency-key'} eq $line } @{$told->requests};
}

sub is_told ($id) {
    my @all = told($id);
    is scalar @all, 1, 'it is told once';
    is_deeply [@{$all[0]}{qw(provisioningStatus paymentStatus paymentRequired)}], ['provisioning', 'paid', false], '... that the line is paid'
      or diag explain $all[0];
}

subtest 'a reply that came' => sub { is_told('first') };

subtest 'a reply that was lost' => sub {
    my $mark = $nginx->log_mark;
    $wire->lose($wire->call(request_paid => 'w:cut'));
    is_told('cut');
    like $nginx->error_log($mark), qr/connection lost/, 'the connection was cut';
};

$t->done;
