# A payment and the end of what it pays for, in either order, and billing that shows one before the other: who has paid has a line, or the money back.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url, webhooks => 0);
my $alone   = Test::Lines::Scenario->new(t => $t, webhooks => 0);

$_->nginx for $s, $alone;

promise 'paid, and shown as incomplete for a while: nothing is given back' => sub {
    my $line = $s->pending_line;
    $s->unseen(sub {
        $s->sandbox->pay($line->{invoice});
        $s->sandbox->move($line->{subscription}, status => 'incomplete');
    });
    $s->soon(sub { $s->op($line->{tenant}, $line->{line})->{tries} }, 'it is looked at again');
    is $s->now_of($line)->{status}, 'provisioning', '... and has not failed';
    $s->sandbox->move($line->{subscription}, status => 'active');
    $s->soon(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'done' }, 'it is handed out once it is live', 15);
    is_deeply [$s->money($line->{subscription})], [900, 0, 'active'], '... and was paid for';
    ok $s->is_live($line), '... and is there';
};

promise 'reported active, then ended, before the provisioner has heard of it: it ends' => sub {
    $told->set(status => 503);
    my $line = $s->paid_line;
    # who sees it reported before it has ended is done with it: nobody does, once a look was in vain
    my $looks = sub { scalar grep { $_->{path} eq "/v1/subscriptions/$line->{subscription}" } $s->sandbox->requests('GET') };
    $s->sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => 'drop_before', times => 1000);
    my $before = $looks->();
    wait_for(sub { $looks->() > $before }, 20, 'a look');
    $s->report($line, 'active');
    $s->hand(cancel => $line->{subscription});
    $s->sandbox->clear_faults;
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'it comes to its end', 15);
    ok !$s->is_live($line), 'there is no line without a subscription';
    $told->set(status => 200);
};

promise 'paid, and ended before anybody looked, where nobody is told: all goes back' => sub {
    my $line = $alone->pending_line(name => 'alone');
    $alone->unseen(sub {
        $alone->sandbox->pay($line->{invoice});
        $alone->hand(cancel => $line->{subscription});
    });
    $alone->soon(sub { $alone->now_of($line)->{payment} eq 'refunded' }, 'what was paid went back', 15);
    ok !$alone->is_live($line), '... and there is no line';
    is_deeply [$alone->money($line->{subscription})], [900, 900, 'canceled'], '... at billing, too';
};

# what billing says of a line's subscription, though it tells nobody by itself
sub tells ($s, $type, $line) { $s->event($type, $s->sandbox->call(GET => "/v1/subscriptions/$line->{subscription}")->json) }

promise 'paid, and ended before it is ready, where nobody is told: all goes back, and nobody has to say that it failed' => sub {
    my $line = $alone->pending_line(name => 'unready');
    $alone->sandbox->pay($line->{invoice});
    $alone->told_again($line);
    $alone->soon(sub { ($alone->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'it is to be made ready');
    is $alone->now_of($line)->{status}, 'provisioning', '... by people';
    $alone->hand(cancel => $line->{subscription});
    tells($alone, 'customer.subscription.deleted', $line);
    $alone->soon(sub { $alone->now_of($line)->{payment} eq 'refunded' }, 'what was paid went back', 15);
    is_deeply [$alone->money($line->{subscription})], [900, 900, 'canceled'], '... at billing, too';
    is_deeply [@{$alone->shown($line)->{line}}{qw(provisioningStatus reason)}], ['canceled', 'subscription_ended'], 'its client reads why';
    $alone->report($line, 'failed');
    $alone->rest($line->{tenant});
    is_deeply [$alone->money($line->{subscription})], [900, 900, 'canceled'], 'who says so all the same gives nothing back twice';
};

$t->done;
