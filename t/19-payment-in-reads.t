# How to pay is told wherever a request that awaits payment is read, and after an outage of billing, too.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $t       = Test::Lines->new;
my $paid    = Test::Lines::Paid->new(t => $t, operations => 'sweep=300ms retry=300ms due=2s lease=2s absent=1s walk=1s reconcile=1s');
my $sandbox = $paid->sandbox;
my $nginx   = $paid->nginx(workers => 2);
my $n       = 0;

sub pay ($doc) { [@{$doc}{qw(paymentUrl invoiceId)}] }

# of the line, in the lists
sub listed ($key, $line) {
    my @lists = (
        @{$nginx->get('/api/line-requests?status=awaiting_payment', $nginx->bearer($key))->json('/lineRequests')},
        @{$nginx->get('/api/lines/by-user', $nginx->bearer($key))->json('/lines')}
    );
    return grep { $_->{_id} eq $line } @lists;
}

sub invoice_of ($id) {
    my ($made) = grep { ($_->{metadata}{tenant} // '') eq "w:$id" } $sandbox->ledger('subscription');
    return $made && $made->{invoice};
}

subtest 'a request that awaits payment' => sub {
    my $key   = $paid->workspace('plain');
    my $made  = $paid->request($key);
    my $line  = $made->json('/line/_id');
    my $known = pay($made->json);
    like $known->[0], qr/^http/, 'the answer to the request has the link';
    like $known->[1], qr/^in_/,  'and the invoice';

    is_deeply pay($paid->read($key, $line)->json), $known, 'so does reading it';
    is_deeply [map { pay($_) } listed($key, $line)], [$known, $known], 'so do the lists';

    $sandbox->pay($known->[1]);
    $paid->wait_record('plain', $line, 'provisioning');
    my $read = $paid->read($key, $line)->json;
    ok !exists $read->{$_}, "once it is paid there is no $_" for qw(paymentUrl invoiceId);
    is_deeply [grep { exists $_->{paymentUrl} || exists $_->{invoiceId} } listed($key, $line)], [], 'nor in the lists';
};

subtest 'an invoice that is void' => sub {
    my $key  = $paid->workspace('void');
    my $made = $paid->request($key);
    my $line = $made->json('/line/_id');
    $sandbox->void($made->json('/invoiceId'));
    wait_for(sub { !defined $paid->read($key, $line)->json('/paymentUrl') }, 30, 'the link to go');
    is_deeply [map { $_->{paymentUrl} } listed($key, $line)], [undef, undef], 'from the lists, too';

    my $link = $paid->action($key, $line, 'payment_link')->json;
    isnt $link->{invoiceId}, $made->json('/invoiceId'), 'there is another one for who asks';
    is_deeply pay($paid->read($key, $line)->json), pay($link), 'and it is told from then on';
};

subtest 'one that is being canceled cannot be paid' => sub {
    my $key  = $paid->workspace('cancel');
    my $line = $paid->request($key)->json('/line/_id');
    $sandbox->fault(path => '/v1/invoices/:id/void', kind => 'drop_before', times => 1000);
    is $paid->action($key, $line, 'cancel')->status, 503, 'billing has not voided it yet';
    is_deeply [map { $_->{paymentUrl} } listed($key, $line), $paid->read($key, $line)->json], [undef, undef, undef], 'no link to what is about to be void';
    my $more = $paid->request($key);
    is $more->status, 409, 'it is in the way of another one still';
    is $more->json('/line/_id'), $line, '... which says so';
    is $more->json('/paymentUrl'), undef, '... and has no link to it, either';
    $sandbox->clear_faults;
    $paid->wait_record('cancel', $line, 'canceled');
};

subtest 'one that is in the way of another' => sub {
    my $key  = $paid->workspace('blocked');
    my $made = $paid->request($key);
    my $more = $paid->request($key);
    is $more->status, 409, 'refused';
    is_deeply pay($more->json), pay($made->json), 'with all that is needed to pay';
};

subtest 'a workspace that may not pay' => sub {
    my $key   = $paid->workspace('plan');
    my $made  = $paid->request($key);
    my $line  = $made->json('/line/_id');
    my $known = pay($made->json);

    for my $state (qw(none canceled past_due active)) {
        $nginx->admin(PUT => 'workspaces/plan', {subscription => $state});
        my $may = $state =~ /past_due|active/;
        is $paid->action($key, $line, 'payment_link')->status, $may ? 200 : 403, "$state: payment_link";
        my $want = $may ? $known : [undef, $known->[1]];
        is_deeply [map { pay($_) } $paid->read($key, $line)->json, listed($key, $line)], [$want, $want, $want], '... and what reading it says';
    }
};

# an outage that came before the effect, and one that came after it
for my $kind (qw(drop_before drop_after)) {
    for my $way ('GET', 'payment_link') {
        subtest "an outage ($kind), then $way" => sub {
            my $id  = 'away' . ++$n;
            my $key = $paid->workspace($id);
            $sandbox->fault(path => '/v1/subscriptions', kind => $kind, times => 1);
            $sandbox->fault(path => '/v1/subscriptions', kind => 'drop_before', times => 1000);

            my $answer = $paid->request($key);
            is $answer->status, 503, 'not known yet';
            ok $answer->header('Retry-After'), 'come again';
            like $answer->json('/message'), qr/Read the line request.*paymentUrl.*payment_link/, 'and how';
            my $line = $answer->json('/line/_id');

            my $read = $paid->read($key, $line);
            is $read->status, 200, 'it can be read';
            is_deeply pay($read->json), [undef, undef], 'and has no link yet';
            is $paid->action($key, $line, 'payment_link')->status, 503, 'nor for who asks for it';

            $sandbox->clear_faults;

            # its own attempt under way may have to end first
            my $seen;
            if ($way eq 'GET') {
                wait_for(sub { $seen = $paid->read($key, $line)->json; $seen->{paymentUrl} }, 30, 'the link');
            }
            else {
                $answer = $paid->action($key, $line, 'payment_link');
                is $answer->status, 200, 'at once' or diag $answer->to_string;
                $seen = $answer->json;
            }

            is $seen->{invoiceId}, invoice_of($id), 'it is of the one invoice';
            is_deeply pay($paid->read($key, $line)->json), pay($seen), 'which is told from then on';
            is scalar(grep { ($_->{metadata}{tenant} // '') eq "w:$id" } $sandbox->ledger('subscription')), 1, 'there is one subscription';
            $sandbox->pay($seen->{invoiceId});
            $paid->wait_record($id, $line, 'provisioning');
        };
    }
}

$paid->agree('billing and lines agree');

$t->done;
