# The operator gives back what a line cost: after a preview that changes nothing, once, of whatever became of the line.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use IO::Socket::INET;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(calm promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;
$nginx->allow(qr/\[alert\].*is stuck: (?:refund_failed|refund_refused|no_answer)/, qr/billing .* answers|cannot be reached|timed out|does not answer/);

sub op ($line) { return $s->op($line->{tenant}, substr sha256_hex("refund:$line->{line}"), 0, 24) }

sub preview ($line, $query = '') { return $s->first->admin(GET => "lines/$line->{line}/refund$query") }

sub ask ($line, $body = {}) { return $s->first->admin(POST => "lines/$line->{line}/refund", $body) }

# a renewal that was paid for
sub renew ($line) {
    my $invoice = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});
    return $invoice;
}

# all that it cost is back, and nobody has anything of it
sub is_back ($line, $paid) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [$paid, $paid, 'canceled'], 'all went back, once, and its subscription is canceled'
        or diag explain op($line);
    ok !$s->is_live($line), 'it has ended';
    is $s->now_of($line)->{payment}, 'refunded', '... and says that it went back';
}

promise 'an active line, which was renewed: a preview says what goes back, and changes nothing; then it ends, and all is back' => sub {
    my $line = $s->active_line;
    my $more = renew($line);
    my $seen = preview($line)->json;
    is_deeply $seen, {
        line => $line->{line}, status => 'active', subscription => $line->{subscription}, due => {usd => 1800}, cursor => undef,
        invoices => [map { {invoice => $_, status => 'paid', currency => 'usd', paid => 900, given_back => 0, disputed => 0, due => 900, stuck => undef} } $more, $line->{invoice}]
    }, 'each invoice, and the sum' or diag explain $seen;
    ok $s->is_live($line), 'nothing is changed';

    my $shown = $s->refund($line);
    is_deeply [@{$shown->{line}}{qw(_id provisioningStatus reason)}], [$line->{line}, 'canceled', 'released'], 'it ends, as by a release';
    is_back($line, 1800);
    is op($line)->{kind}, 'refund', 'by the operation that gives back what a failed one cost' or diag explain op($line);
    is $s->shown($line)->{line}{reason}, 'released', 'its client reads that it was released';
    is $s->redis->cli('HGET', "lines:{$line->{tenant}}:t", 'email_paid') || 0, 0, 'its place is free';
};

promise 'said again: the same answer, and nothing goes back twice' => sub {
    my $line = $s->active_line;
    my @said = map { $s->refund($line) } 1 .. 2;
    is_deeply $said[1]{operation}, $said[0]{operation}, 'the same operation';
    is_back($line, 900);
    $s->refund($line);
    is_back($line, 900);
    is_deeply preview($line)->json('/due'), {}, 'nothing is due any more';
};

promise 'released before, of which nothing went back: all goes back now' => sub {
    my $line = $s->active_line;
    renew($line);
    $s->release($line);
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [1800, 0, 'canceled'], 'a release keeps it';
    is_deeply preview($line)->json('/due'), {usd => 1800}, 'it is due, is said';
    $s->refund($line);
    is_back($line, 1800);
};

promise '... while its release is under way' => sub {
    my $line = $s->active_line;
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $s->release($line);
    wait_for(sub { (op($line)->{tries} // 0) > 0 }, 30, 'a try');
    $s->refund($line);
    $sandbox->clear_faults;
    is_back($line, 900);
};

promise 'its subscription has ended before: all goes back now' => sub {
    my $line = $s->active_line;
    $s->hand(cancel => $line->{subscription});
    $s->soon(sub { $s->now_of($line)->{ended} }, 'it ends');
    $s->rest($line->{tenant});
    $s->refund($line);
    is_back($line, 900);
    is $s->shown($line)->{line}{reason}, 'subscription_ended', 'its client reads why it ended';
};

promise 'released by a release before, without an "ended"' => sub {
    my $line = $s->active_line;
    $s->release($line);
    $s->rest($line->{tenant});
    $s->redis->cli('HDEL', $s->redis->line_key(@$line{qw(tenant line)}), 'ended');
    $s->refund($line);
    is_back($line, 900);
};

promise 'people gave back a part before: the rest goes back' => sub {
    $sandbox->customer('cus_part');    # what is on its balance pays for others of it
    my $line = $s->active_line(workspace => {customer => 'cus_part'});
    my $more = renew($line);
    $s->hand(refund => $line->{invoice}, 300);
    $s->hand(balance => $more, 200);
    $sandbox->wait_idle;
    is_deeply [map { [@$_{qw(given_back due)}] } @{preview($line)->json('/invoices')}], [[200, 700], [300, 600]], 'that is counted';
    $s->refund($line);
    is_back($line, 1800);
};

promise 'a bank has taken a payment: the rest goes back, and that when the dispute is won' => sub {
    my $line    = $s->active_line;
    my $more    = renew($line);
    my $dispute = $sandbox->dispute($more);
    $s->soon(sub { $s->now_of($line)->{ended} }, 'the line ends');
    $s->rest($line->{tenant});
    is_deeply [map { [@$_{qw(disputed due)}] } @{preview($line)->json('/invoices')}], [[900, 0], [0, 900]], 'the bank has it';
    $s->refund($line);
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}, $line->{invoice}))[1], 900, 'the rest is back';
    is +($s->money($line->{subscription}, $more))[1], 0, '... and no more';
    $sandbox->judge($dispute->{id} => 'won');
    $s->soon(sub { ($s->money($line->{subscription}, $more))[1] == 900 }, 'won: that is back, too', 20) or diag explain op($line);
    $s->rest($line->{tenant});
};

promise 'an invoice of it is paid once it was refunded: it goes back, as of a line that failed' => sub {
    my $line = $s->active_line;
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $s->rest($line->{tenant});
    $s->refund($line);
    is_back($line, 900);
    $s->later;
    $sandbox->finalize($late);
    $sandbox->pay($late);
    $s->soon(sub { ($s->money($line->{subscription}, $late))[1] == 900 }, 'it goes back', 20) or diag explain op($line);
    is_back($line, 1800);
};

promise 'what went back fails: it is listed for people, as of a line that failed' => sub {
    my $customer = 'cus_pending';
    $sandbox->customer($customer, 'ok', 'default', 'pending');
    my $line = $s->active_line(workspace => {customer => $customer});
    $s->refund($line);
    $s->rest($line->{tenant});
    $sandbox->settle($_->{id} => 'failed') for grep { $_->{status} eq 'pending' } @{$sandbox->books->{refund}};
    $s->soon(sub { (op($line)->{stuck} // '') eq 'refund_failed' }, 'it is listed', 20) or diag explain op($line);
    is_deeply [@{preview($line)->json('/invoices/0')}{qw(due stuck)}], [900, 'refund_failed'], '... and a preview says that it does not go back by itself';
    is_deeply preview($line)->json('/due'), {}, '... and is no part of the sum';
}, leaves => 1;    # that money is an operator's

promise 'its tenant is deleted then, and it is told again: nothing goes back twice; what is paid since does' => sub {
    my $line = $s->active_line;
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $s->rest($line->{tenant});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->refund($line);
    is_back($line, 900);
    $s->remove($line);
    $s->told_again($line);
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'once';
    $s->later;
    $sandbox->finalize($late);
    $sandbox->pay($late);
    $s->soon(sub { ($s->money($line->{subscription}, $late))[1] == 900 }, 'and what is paid since', 20);
    $s->rest($line->{tenant});
};

promise "an account's line: its number rests, and what it cost is back" => sub {
    $s->numbers(1);
    my $line = $s->bought_line;
    $s->rest($line->{tenant});
    is_deeply preview($line)->json('/due'), {usd => 4900}, 'what goes back';
    $s->refund($line);
    is_back($line, 4900);
    my $state = sub { $s->first->admin(GET => 'numbers?limit=1000')->json('/numbers') };
    $s->soon(sub { grep { $_->{phone_number} eq $line->{number} && $_->{state} eq 'quarantined' } @{$state->()} }, 'its number rests') or diag explain $state->();
};

promise 'what was shown is said with it: another amount by then is shown anew' => sub {
    my $line = $s->active_line;
    my $due  = preview($line)->json('/due');
    renew($line);
    my $answer = ask($line, {due => $due});
    is $answer->status, 409, 'refused';
    is_deeply [$answer->json('/due'), $answer->json('/error')], [{usd => 1800}, 'Another amount would go back by now'], '... with what it is by now';
    is ask($line, {due => {}})->status, 409, '... nothing is another, too';
    is ask($line, {due => {usd => 1800, eur => 1}})->status, 409, '... and what is none of it';
    is ask($line, {due => $_})->status, 400, 'what says no amounts' for [], 'all', {usd => '1800'}, {usd => -1}, {usd => undef};
    ok $s->is_live($line), 'nothing is changed';
    is ask($line, {due => {usd => 1800, eur => 0}})->status, 200, 'that is right';
    is ask($line, {due => {usd => 1800}})->status, 200, '... and may be said again';
    is_back($line, 1800);
} if calm;

promise 'more invoices than an answer has: the rest by its cursor, and all of them go back' => sub {
    my $line = $s->active_line;
    $sandbox->renew($line->{subscription}) for 1 .. 11;
    $s->rest($line->{tenant});
    my $first = preview($line)->json;
    is_deeply [scalar @{$first->{invoices}}, $first->{due}], [10, {usd => 9000}], 'ten of them' or diag explain $first;
    my $rest = preview($line, "?cursor=$first->{cursor}")->json;
    is_deeply [scalar @{$rest->{invoices}}, $rest->{due}, $rest->{cursor}], [2, {usd => 1800}, undef], '... and two' or diag explain $rest;
    is preview($line, '?cursor=in_nowhere')->status, 400, 'a cursor that billing does not know';
    is preview($line, '?cursor=%20')->status, 400, '... or that is none';
    $s->refund($line);
    is_back($line, 10800);
} if calm;

promise 'what is not to be refunded, and what to do' => sub {
    my $refused = sub ($line, $words) {
        local $Test::Builder::Level = $Test::Builder::Level + 1;
        for my $answer (preview($line), ask($line)) {
            is $answer->status, 409, 'refused';
            like $answer->json('/error'), $words, '... in words';
        }
    };
    my $line = $s->pending_line;
    $refused->($line, qr/awaiting_payment .* ends it by cancel/);
    $sandbox->pay($line->{invoice});
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $refused->($line, qr/provisioning .* report it as failed/);
    $s->rest($line->{tenant});
    is_deeply op($line), {}, 'nothing was begun';
    $s->report($line, 'failed');
    $refused->($line, qr/failed .* goes back by itself/);
    $s->rest($line->{tenant});

    my $key = $s->workspace('plan', plan => 'starter');
    my $own = {tenant => 'w:plan', key => $key, line => $s->request($key, channelType => 'phone')->json('/line/_id')};
    $s->report($own, 'active');
    $refused->($own, qr/Nothing was paid .* release ends it/);
    is $s->first->admin($_ => 'lines/' . 'f' x 24 . '/refund')->status, 404, 'of none' for qw(GET POST);
    is $s->first->admin($_ => 'lines/x/refund')->status, 400, 'of no id' for qw(GET POST);

    my $reader = {Authorization => 'Bearer ' . $t->read_token};
    my $seen   = $s->active_line;
    is $s->first->request(GET  => "/_lines/admin/lines/$seen->{line}/refund", $reader)->status, 200, 'who may only read sees what would go back';
    is $s->first->request(POST => "/_lines/admin/lines/$seen->{line}/refund", $reader)->status, 403, '... and no more';
} if calm;

promise 'billing is away, or goes away while it is asked, or the client does: nobody is told what is not known' => sub {
    my $line = $s->active_line;
    renew($line);
    $sandbox->fault(path => '/v1/refunds', method => 'GET', kind => '500', times => 100_000);
    my $answer = preview($line);
    is $answer->status, 503, 'a part of it cannot be read';
    ok $answer->header('Retry-After'), '... and when to ask again';
    is ask($line, {due => {usd => 1800}})->status, 503, 'what is said is not compared';
    ok $s->is_live($line), '... and nothing is done';
    $sandbox->clear_faults;

    $sandbox->fault(path => '/v1/invoices', method => 'GET', kind => 'delay', ms => 1000, times => 1);
    my $before = $sandbox->requests(GET => '/v1/invoices');
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->first->port) or die "connect: $!";
    print $socket "GET /_lines/admin/lines/$line->{line}/refund HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ", $t->admin_token, "\r\n\r\n";
    $socket->flush;
    $s->soon(sub { $sandbox->requests(GET => '/v1/invoices') > $before }, 'billing is asked');
    $socket->close;
    $sandbox->wait_idle;
    is preview($line)->status, 200, 'who asks then is answered';

    $sandbox->clear_faults;
    is preview($line)->status, 200, 'it is back';
    $s->refund($line);
    is_back($line, 1800);
} if calm;

$t->done;
