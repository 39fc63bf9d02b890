# What came in only in part, in several parts, or was taken back before there was a line: all of it goes back, and no more than that.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;
my $made    = 0;

$s->numbers(3);

# a line that waits for its payment, of a customer of its own
sub line (%its) {
    my $customer = 'cus_part' . ++$made;
    $sandbox->customer($customer);
    $sandbox->endow($customer, $its{balance}) if $its{balance};
    return {%{$s->pending_line(workspace => {customer => $customer, %{$its{workspace} // {}}}, request => $its{request} // {})}, customer => $customer};
}

sub left ($line) { my ($paid, $back) = $s->money($line->{subscription}); return $paid - $back }

sub status ($line) { $s->now_of($line)->{status} }

promise 'a part is paid, then the client cancels' => sub {
    my $line = line();
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->action($line->{key}, $line->{line}, 'cancel');
    $s->soon(sub { status($line) eq 'canceled' }, 'it is canceled');
    $s->rest($line->{tenant});
    is left($line), 0, 'the part went back';
};

promise 'a part is paid, then the plan includes the line' => sub {
    my $line = line(workspace => {plan => 'paid'}, request => {channelType => 'phone'});
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $nginx->admin(PUT => "workspaces/$line->{name}", {plan => 'growth'});
    $s->soon(sub { status($line) ne 'awaiting_payment' }, 'it goes on');
    $s->rest($line->{tenant});
    is left($line), 0, 'the part went back';
};

promise 'a part is paid, then the customer is another' => sub {
    my $line = line();
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->customer('cus_other');
    $nginx->admin(PUT => "workspaces/$line->{name}", {customer => 'cus_other'});
    $s->soon(sub { my $now = $s->now_of($line)->{subscription}; $now && $now ne $line->{subscription} }, 'who is now is billed');
    is left($line), 0, 'the part went back';
};

promise 'a part is paid, and the rest never' => sub {
    my $line = line();
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->advance(24 * 3600);
    $s->soon(sub { status($line) eq 'canceled' }, 'it expires');
    $s->rest($line->{tenant});
    is left($line), 0, 'the part went back';
};

promise 'paid from the balance and by card, and the card\'s part is given back by hand: goodwill, the line is made' => sub {
    my $line = line(balance => 400);
    $s->deaf;
    $s->unseen(sub {
        $sandbox->pay($line->{invoice});
        $s->hand(credit => $line->{invoice}, 500);
    });
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $s->hears;
    $s->report($line, 'failed');
    $s->soon(sub { $sandbox->call(GET => "/v1/customers/$line->{customer}")->json('/balance') == -400 }, 'should it fail, the balance is there again');
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}))[1], 900, '... and no more went back in all';
};

promise 'of two payments, what was written down to go back never arrived, and support gives back most of it: no more than was paid' => sub {
    my $line = line();
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there');
    $sandbox->fault(path => '/v1/refunds', method => 'POST', kind => 'drop_before', times => 1000);
    $s->report($line, 'failed');
    $s->soon(sub {
        grep { $_->{refund_body} } map { $s->op($line->{tenant}, $_) } @{scalar $s->redis->cli('SMEMBERS', "lines:{$line->{tenant}}:ops")};
    }, 'it is written down');
    $s->between($line->{tenant}, sub { $s->hand(balance => $line->{invoice}, 700) });
    $sandbox->clear_faults;
    $s->rest($line->{tenant});
    is left($line), 0, 'all went back, once';
};

promise 'a bank takes it back while the provisioner is away: no line' => sub {
    $told->set(status => 503);
    my $account = $s->account('slow');
    my $token   = $s->token($account);
    my $asked   = $s->confirm_p($account, $token, key => 'k');
    my $id      = $s->operation_id($token);
    wait_for(sub { ($s->op('a:slow', $id)->{step} // '') eq 'tell' }, 20, 'the purchase, but for the provisioner');

    my $subscription = $s->op('a:slow', $id)->{subscription};
    $sandbox->dispute($_->{invoice}) for grep { $_->{subscription} eq $subscription } $sandbox->ledger('charge');
    $told->set(status => 200);
    wait_for(sub { ($s->op('a:slow', $id)->{step} // '') eq 'done' }, 30, 'its end');
    $s->soon(sub { !$s->is_live({tenant => 'a:slow', line => $id}) }, 'there is no line', 20);
    $s->soon(sub { ($s->money($subscription))[2] eq 'canceled' }, 'nor is it charged any more');
};

$t->done;
