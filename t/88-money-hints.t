# When an operation is looked at again: what came meanwhile is looked at soon, whoever dies.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $ENV{LINES_MODULE_FAILPOINTS} && -e $ENV{LINES_MODULE_FAILPOINTS};

# an invoice is looked at once, soon, and then after an hour
my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=1s poll=1s every=1h');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(module => 'failpoints');
my $http    = $nginx->http;

$nginx->allow(qr/exited on signal 9/);

# a line whose invoice the sweeper is just asking billing for; the answer takes its time
sub polled () {
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => 'delay', ms => 1200, times => 1);
    my $line = $s->pending_line;
    # what a kill has put off is not looked at so soon
    wait_for(sub { $sandbox->requests(GET => "/v1/subscriptions/$line->{subscription}") }, 30, 'the poll') if calm;
    return $line;
}

# dies as soon as it has written that it rests
sub dies_after ($code) {
    $nginx->http("$http\nlines_failpoint op.write.after.request.await;\n")->reload(wait_old => 1);
    my $mark = $nginx->log_mark;
    my $line = $code->();
    $nginx->wait_log(qr/failpoint "op.write.after.request.await"/, $mark);
    return $line;
}

my $hint = sub ($line) { int((($s->hint($line->{tenant}, $line->{line}) // 0) - 1000 * time) / 1000) };
promise 'a payment while a poll is in flight: settled at once' => sub {
    my $line = polled();
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
};

promise 'a cancel while a poll is in flight: done at once' => sub {
    my $line = polled();
    my $answer = $s->action($line->{key}, $line->{line}, 'cancel');
    like $answer->status, qr/^(?:200|503)$/, 'it is canceled, or will be' if calm;
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled');
};

promise 'a payment while a poll is in flight, then the worker dies: settled soon all the same' => sub {
    my $line = dies_after(sub {
        my $line = polled();
        $sandbox->pay($line->{invoice});
        return $line;
    });
    $s->soon(sub { $s->is_live($line) }, 'the line is there', 4) or diag "it is looked at in @{[$hint->($line)]} s";
};

promise 'a cancel while a poll is in flight, then the worker dies: done soon all the same' => sub {
    my $line = dies_after(sub {
        my $line = polled();
        my $cancel = $nginx->post_json_p("/api/line-requests/$line->{line}", {action => 'cancel'}, $nginx->bearer($line->{key}))->catch(sub { });
        wait_for(sub { $s->op($line->{tenant}, $line->{line})->{wish} }, 30, 'the wish');
        return $line;
    });
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled', 4) or diag "it is looked at in @{[$hint->($line)]} s";
};

$t->done;
