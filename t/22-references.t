# A name of the client's own for what it asks for: shown with the line as long as that is there, and found by it.
use Mojo::Base -strict, -signatures;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Mojo::Util qw(encode url_escape);
use Test::Lines;
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx(http => "lines_plan wide phone included=10000;\n");
my $ours  = $nginx->bearer($shop->workspace('ours', plan => 'wide'));
my $other = $nginx->bearer($shop->workspace('other', plan => 'wide'));

sub ask ($auth, %more) { $nginx->post_json('/api/line-requests', $shop->body(channelType => 'phone', %more), $auth) }

sub query ($reference, $name) { "$name=" . url_escape encode 'UTF-8', $reference }

sub found ($auth, $reference, $more = '') {
    my $answer = $nginx->get('/api/line-requests?' . query($reference, 'customerReference') . $more, $auth);
    is $answer->status, 200, 'a page' or diag $answer->to_string;
    return map { $_->{_id} } @{$answer->json('/lineRequests')};
}

my @odd = ('order 7', 'order 70', 'a"b\\c', '","isActive":true', 'Zoë 李 😀', '%s {x} [%w]', 'x' x 100);
my %line;

subtest 'a workspace' => sub {
    ok !exists ask($ours)->json('/line')->{customerReference}, 'who gives none is shown none';
    ok !exists ask($ours, customerReference => undef)->json('/line')->{customerReference}, 'null is none';

    for my $reference (@odd) {
        my $line = ask($ours, customerReference => $reference)->json('/line');
        is $line->{customerReference}, $reference, 'it is shown as it was given';
        $line{$reference} = $line->{_id};
    }

    is_deeply [found($ours, $_)], [$line{$_}], 'found by it' for @odd;
    is_deeply [found($ours, 'order')], [], 'a part of one is none';
    is_deeply [found($other, 'order 7')], [], "another workspace's is not found";

    is ask($ours, customerReference => $_)->status, 400, 'refused' for 'x' x 101, "a\nb", '  ', 7;
    is $nginx->get('/api/line-requests?customerReference=' . 'x' x 101, $ours)->status, 400, 'nor can it be looked for';
};

subtest 'what becomes of the line' => sub {
    my $id = $line{'a"b\\c'};
    $nginx->admin(POST => "lines/$id/status", {status => 'active', phone => '+14155550999'});
    is $nginx->get("/api/line-requests/$id", $ours)->json('/line/customerReference'), 'a"b\\c', 'active: it is there';
    is_deeply [found($ours, 'a"b\\c', '&status=active')], [$id], '... and found with its status';
    is_deeply [found($ours, 'a"b\\c', '&status=provisioning')], [], '... not with another';
    $nginx->admin(POST => "lines/$id/release", {});
    is $nginx->get("/api/line-requests/$id", $ours)->json('/line/customerReference'), 'a"b\\c', 'released: it is there';
    is scalar(grep { $_->{_id} eq $id && $_->{customerReference} } @{$nginx->get('/api/lines/by-user', $ours)->json('/lines')}), 1, 'in the list of lines, too';
};

subtest 'several of one reference, in pages' => sub {
    my @ids = map { ask($ours, customerReference => 'batch')->json('/line/_id'), ask($ours)->json('/line/_id') } 1 .. 5;
    my (@seen, $cursor);

    do {
        my $page = $nginx->get('/api/line-requests?customerReference=batch&limit=2' . ($cursor ? "&cursor=$cursor" : ''), $ours)->json;
        cmp_ok @{$page->{lineRequests}}, '<=', 2, 'a page';
        push @seen, map { $_->{_id} } @{$page->{lineRequests}};
        $cursor = $page->{cursor};
    } while ($cursor);

    is_deeply \@seen, [reverse map { $ids[2 * $_] } 0 .. 4], 'all of them, the newest first';
};

subtest 'an idempotency key is of one reference' => sub {
    my %key = (idempotencyKey => 'one', firstName => 'Ada', lastName => 'Lovelace', email => 'ada@example.com');
    my $first = ask($ours, %key, customerReference => 'mine');
    is ask($ours, %key, customerReference => 'mine')->json('/line/_id'), $first->json('/line/_id'), 'the same again is the same line';
    my $mixed = ask($ours, %key, customerReference => 'yours');
    isnt $mixed->status, 201, 'another is another request' or diag $mixed->to_string;
    isnt ask($ours, %key)->status, 201, 'and so is none';
};

subtest 'an account' => sub {
    my $account = $shop->account('buyer');
    my $seller  = $shop->account('other');
    $shop->numbers(4);

    my $confirm = sub ($token, $reference, %headers) {
        $nginx->post_json('/accounts/lines/provision-confirm', {preview_token => $token, customer_reference => $reference}, {%{$account->{headers}}, %headers});
    };
    my $find = sub ($who, $reference) {
        map { $_->{phone_number} } @{$nginx->get('/accounts/lines?' . query($reference, 'customer_reference'), $who->{headers})->json('/lines')};
    };

    my $token  = $shop->token($account);
    my $bought = $confirm->($token, 'job "7"', 'Idempotency-Key' => 'k1');
    is $bought->status, 200, 'bought' or diag $bought->to_string;
    my $number = $bought->json('/phone_number');
    is $confirm->($token, 'job "7"', 'Idempotency-Key' => 'k1')->json('/phone_number'), $number, 'the same again is answered as before';
    isnt $confirm->($token, 'job 8', 'Idempotency-Key' => 'k1')->status, 200, 'another reference is another request';

    my ($line) = @{$nginx->get('/accounts/lines', $account->{headers})->json('/lines')};
    is $line->{customer_reference}, 'job "7"', 'shown in the list';
    is_deeply [$find->($account, 'job "7"')], [$number], 'found';
    is_deeply [$find->($account, 'job 7')], [], '... by nothing else';
    is_deeply [$find->($seller, 'job "7"')], [], '... nor by another account';
    is $nginx->get("/accounts/lines/$number", $account->{headers})->json('/line/customer_reference'), 'job "7"', 'and by its number';

    is $confirm->($shop->token($account), 'x' x 101)->status, 400, 'too long';
    my $none = $confirm->($shop->token($account), undef);
    is $none->status, 200, 'none' or diag $none->to_string;
    my ($last) = grep { $_->{phone_number} eq $none->json('/phone_number') } @{$nginx->get('/accounts/lines', $account->{headers})->json('/lines')};
    ok !exists $last->{customer_reference}, '... is shown none';
};

is_deeply [$shop->redis->strangers], [], 'all that is in Redis is of the schema';

$t->done;
