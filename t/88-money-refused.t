# What billing refuses to tell is not known: it is neither taken for nothing there, nor for a no.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(calm once promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;

$nginx->allow(qr/is stuck: (?:subscription|card|invoices)_refused/);

$s->numbers(5);

sub refuses ($path, $code) {
    $sandbox->fault(path => $path, method => 'GET', kind => '400', times => 100_000);
    $code->();
    $sandbox->clear_faults;
}

sub stuck ($tenant, $id) { $s->op($tenant, $id)->{stuck} // '' }

promise 'a first invoice that was paid, and is not shown: its line waits, whoever cancels it, and is there once it is' => sub {
    my $line = $s->pending_line;
    $s->rest($line->{tenant});
    $s->deaf;
    refuses('/v1/invoices/:id', sub {
        # what is shown with the subscription is a later one
        $s->unseen(sub { $sandbox->pay($line->{invoice}); $sandbox->renew($line->{subscription}, 'declined') });
        $s->action($line->{key}, $line->{line}, 'cancel');
        $s->soon(sub { stuck($line->{tenant}, $line->{line}) eq 'subscription_refused' }, 'a person is asked to look', 20);
        is $s->now_of($line)->{status}, 'awaiting_payment', '... and it awaits what it has awaited';
    });
    $s->hears;
    $s->soon(sub { $s->is_live($line) }, 'paid for, it is a line', 20);
    is_deeply [($s->money($line->{subscription}, $line->{invoice}))[0, 1]], [900, 0], '... and nothing went back';
};

promise 'a customer who is not shown: a purchase is not told that there is no card' => sub {
    my $account = $s->account('unshown');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    refuses('/v1/customers/:id', sub {
        my $answer = $s->confirm($account, $token, key => 'k');
        is $answer->status, 503, 'it is not known yet' if calm;
        $s->soon(sub { stuck('a:unshown', $id) eq 'card_refused' }, 'a person is asked to look', 20);
    });
    my $answer;
    $s->soon(sub { ($answer = $s->confirm($account, $token, key => 'k'))->status == 200 }, 'once he is shown the line is bought', 20);
    is scalar(() = $s->made_for('a:unshown')), 1, '... once';
};

promise 'what follows an invoice in a list, refused each time: what goes back waits, and a person is asked to look' => sub {
    my $line = $s->paid_line;
    my $id   = substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24;
    $sandbox->fault(path => '/v1/invoices', method => 'GET', kind => '400', times => 100_000, param => 'starting_after');
    $s->report($line, 'failed');
    $s->soon(sub { stuck($line->{tenant}, $id) eq 'invoices_refused' }, 'stuck', 20) or diag explain $s->op($line->{tenant}, $id);
    is +($s->op($line->{tenant}, $id))->{step}, 'cancel', '... and not over: more may be due';
    $sandbox->clear_faults;
    $s->soon(sub { ($s->op($line->{tenant}, $id)->{step} // '') eq 'done' }, 'it goes on by itself', 20);
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], '... all went back, once';
};

$t->done;
