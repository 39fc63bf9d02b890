# What a line is billed by is overdue before it is handed out: it is there, and suspended, whoever heard of that and when.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t     = Test::Lines->new;
my $told  = $t->upstream(name => 'provisioner', status => 200);
my $s     = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $alone = Test::Lines::Scenario->new(t => $t);

$_->nginx for $s, $alone;
$s->numbers(2);

sub state_of ($s, $line) {
    my $shown = $s->shown($line)->{line};
    return [@$shown{qw(provisioningStatus isActive reason)}];
}

my $suspended = ['active', Mojo::JSON->false, 'suspended'];
my $active    = ['active', Mojo::JSON->true,  undef];

# once all is at rest, and the provisioner reports what it was told of
sub is_suspended ($s, $line) {
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'it is handed out', 15);
    $s->rest($line->{tenant});
    $s->report($line, 'active');
    is_deeply state_of($s, $line), $suspended, 'the line is there, and suspended';
    is_deeply [($s->money($line->{subscription}))[1]], [0], '... and nothing is given back';
    $s->sandbox->move($line->{subscription}, status => 'active');
    $s->soon(sub { state_of($s, $line)->[1] }, 'it comes back when it is paid for');
    is_deeply state_of($s, $line), $active, '... as it was';
}

for my $status (qw(past_due unpaid)) {
    promise "a request: the provisioner is down, the subscription is $status, the provisioner comes back" => sub {
        $told->set(status => 503);
        my $line = $s->pending_line;
        $s->sandbox->pay($line->{invoice});
        wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
        $s->sandbox->move($line->{subscription}, status => $status);
        $s->sandbox->wait_idle;
        $told->set(status => 200);
        is_suspended($s, $line);
    };
}

promise 'a request: reported active before the provisioner has answered' => sub {
    $told->set(status => 503);
    my $line = $s->pending_line;
    $s->sandbox->pay($line->{invoice});
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
    $s->report($line, 'active');
    $s->sandbox->move($line->{subscription}, status => 'unpaid');
    $s->sandbox->wait_idle;
    $told->set(status => 200);
    $s->soon(sub { state_of($s, $line)->[2] }, 'it is suspended');
    is_deeply state_of($s, $line), $suspended, 'the line is there, and suspended';
};

promise 'a request: overdue and paid again while the provisioner is down' => sub {
    $told->set(status => 503);
    my $line = $s->pending_line;
    $s->sandbox->pay($line->{invoice});
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'tell' }, 30, 'the payment to be settled');
    $s->sandbox->move($line->{subscription}, status => $_) for qw(past_due active);
    $s->sandbox->wait_idle;
    $told->set(status => 200);
    $s->soon(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'done' }, 'it is handed out', 15);
    $s->rest($line->{tenant});
    $s->report($line, 'active');
    is_deeply state_of($s, $line), $active, 'the line is active';
};

promise 'a confirm: the provisioner is down, the subscription is past due, the provisioner comes back' => sub {
    $told->set(status => 503);
    my $account = $s->account('late');
    my $token   = $s->token($account);
    my $line    = {name => 'late', tenant => 'a:late', account => $account, line => $s->operation_id($token)};
    $s->confirm($account, $token, key => 'k');
    is $s->op($line->{tenant}, $line->{line})->{step}, 'tell', 'the provisioner is away';
    my ($bought) = $s->bought($account);
    $s->sandbox->move($bought->{subscription}, status => 'past_due');
    $s->sandbox->wait_idle;
    $told->set(status => 200);
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'the purchase ends', 15);
    $s->soon(sub { length($s->now_of($line)->{suspended} // '') }, 'its line is suspended', 2);
    $s->sandbox->move($bought->{subscription}, status => 'active');
    $s->soon(sub { !length($s->now_of($line)->{suspended} // '') }, 'it comes back');
    ok $s->is_live($line), '... as it was';
    is_deeply [$s->money($bought->{subscription})], [4900, 0, 'active'], 'paid for once';
};

promise 'paid, and overdue before anybody looked, where nobody is told' => sub {
    my $line = $alone->pending_line(name => 'alone');
    $alone->unseen(sub {
        $alone->sandbox->pay($line->{invoice});
        $alone->sandbox->move($line->{subscription}, status => 'past_due');
    });
    is_suspended($alone, $line);
};

$t->done;
