# The provisioner of accounts' lines: told once for all; it refuses, times out, is away.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t        = Test::Lines->new;
my $upstream = $t->upstream(status => 200);
my $shop     = Test::Lines::Account->new(t => $t, provisioner => $upstream->url);
my $nginx    = $shop->nginx;
my $redis    = $shop->redis;

my @numbers = $shop->numbers(3);

sub ledger_of ($account) {
    my %subs = map { $_->{subscription} => 1 } $shop->bought($account);
    return map { $_->{type} } grep { $subs{$_->{subscription} // ''} } $shop->sandbox->ledger;
}

subtest 'it takes the line' => sub {
    my $one    = $shop->account('one');
    my $token  = $shop->token($one);
    my $answer = $shop->confirm($one, $token);
    is $answer->status, 200, 'bought' or diag $answer->to_string;

    my ($request, @more) = @{$upstream->requests};
    is scalar @more, 0, 'it is told once';
    is $request->{method}, 'POST', 'by POST';
    is $request->{headers}{'idempotency-key'}, $shop->operation_id($token), 'with the operation as its key';
    like $request->{headers}{'content-type'}, qr{^application/json}, 'as JSON';
    is_deeply $request->{json}, {
        operation => $shop->operation_id($token), line => $shop->operation_id($token), account => 'one',
        direction => 'inbound_only', phone_number => $answer->json('/phone_number'),
        worker_id => $answer->json('/worker_id'), subscription_id => $answer->json('/subscription_id')
    }, 'all of the line';
};

subtest 'it refuses for good' => sub {
    $upstream->set(status => 422);
    my $two    = $shop->account('two');
    my $token  = $shop->token($two);
    my $answer = $shop->confirm($two, $token, key => 'k');
    is $answer->status, 500, 'refused' or diag $answer->to_string;
    is_deeply $answer->json, {
        status => 'ERROR', error => 'provisioning_failed', message => 'Subscription was created, but line provisioning failed'
    }, 'in words';

    # certain already: not later
    is_deeply [ledger_of($two)], [qw(subscription charge cancel refund)], 'canceled and refunded' or diag explain [$shop->sandbox->ledger];
    my ($charge) = $shop->bought($two);
    my ($refund) = grep { $_->{subscription} eq $charge->{subscription} } $shop->sandbox->ledger('refund');
    is $refund->{amount}, $charge->{amount}, 'in full';
    is_deeply [$shop->window($two)], [], 'the place in the windows is free';
    is $shop->counts->{free}, 2, 'the number is free';
    is_deeply [$shop->lines($two)], [], 'there is no line';
    is $shop->confirm($two, $token, key => 'k')->body, $answer->body, 'its key hears the same again';
};

subtest 'it times out, then answers' => sub {
    $upstream->clear;
    $upstream->set(status => 200, delay => 3);
    my $three  = $shop->account('three');
    my $token  = $shop->token($three);
    my $op     = $shop->operation_id($token);
    my $answer = $shop->confirm($three, $token, key => 'k');
    is $answer->status, 503, 'pending' or diag $answer->to_string;
    is $answer->json('/error'), 'provisioning_pending', 'by name';
    is $answer->json('/operation'), $op, 'with the operation';
    is $shop->purchase($three, $op)->{step}, 'tell', 'the line is paid for and the provisioner not sure';
    is $shop->counts->{assigned}, 2, 'the number is assigned';

    $upstream->set(status => 200, delay => 0);
    $shop->wait_purchase($three, $op);
    is $shop->confirm($three, $token, key => 'k')->status, 200, 'then it succeeds';
    is scalar $shop->bought($three), 1, 'one charge';
    my %keys = map { $_->{headers}{'idempotency-key'} => 1 } @{$upstream->requests};
    is_deeply \%keys, {$op => 1}, 'all it was told has one key';
    cmp_ok scalar @{$upstream->requests}, '>', 1, 'though it was told again';
};

subtest 'it is away, then refuses' => sub {
    for my $state ({status => 503}, {status => 429}, {drop => 1}) {
        my $name = join ' ', %$state;
        $upstream->reset(%$state);
        my $four   = $shop->account('four' . ++(state $n));
        my $token  = $shop->token($four);
        my $answer = $shop->confirm($four, $token);
        is $answer->json('/error'), 'provisioning_pending', "$name: nothing is decided" or diag $answer->to_string;
        is_deeply [ledger_of($four)], [qw(subscription charge)], "$name: nothing is undone before it is known";

        $upstream->reset(status => 404);
        my $done = $shop->wait_purchase($four, $shop->operation_id($token));
        is $done->{answer_status}, 500, "$name: refused in the end";
        is_deeply [ledger_of($four)], [qw(subscription charge cancel refund)], "$name: and refunded";
        is $shop->counts->{free}, 1, "$name: the number is free again";
    }
};

$shop->agree('charges, lines, numbers and windows agree');

$t->done;
