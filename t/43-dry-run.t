# A confirm with dry_run: what it would come upon. Nothing is charged, nothing is written but that billing was asked (t/91-bounds-billing.t),
# and the token is as good as before.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(false true);
use Test::More;
use Test::Lines;
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx;
my $redis = $shop->redis;

$shop->numbers(4);

sub dry ($account, $token, %more) {
    my %headers = %{$account->{headers}};
    $headers{'Idempotency-Key'} = delete $more{key} if $more{key};
    my $before = snapshot($account);
    my $posts  = () = $shop->sandbox->requests('POST');
    my $answer = $nginx->post_json('/accounts/lines/provision-confirm', {preview_token => $token, dry_run => true, %more}, \%headers);
    is_deeply snapshot($account), $before, 'nothing is written';
    is scalar(my @now = $shop->sandbox->requests('POST')), $posts, 'billing is only read';
    return $answer;
}

# all that Redis has of it, but for its rates, and for what the survey writes in between
sub snapshot ($account) {
    my $tenant = "lines:{a:$account->{id}}:t";
    my @keys   = grep { !/:rl:|:calls$/ && $_ ne $tenant } $redis->cli(KEYS => "lines:{a:$account->{id}}:*");
    my %tenant = @{scalar $redis->cli(HGETALL => $tenant)};
    delete $tenant{layout};
    return {t => \%tenant, map { $_ => scalar $redis->cli('DUMP', $_) } @keys, 'lines:{inv}:numbers'};
}

sub says ($answer, $status, $error) {
    is $answer->status, $status, "$status $error" or diag $answer->to_string;
    is $answer->json('/error'), $error, 'by name';
}

my $one = $shop->account('one');

subtest 'it would buy, and does so afterwards' => sub {
    my $token = $shop->token($one);

    for my $key (undef, 'k') {
        my $answer = dry($one, $token, key => $key);
        is $answer->status, 200, 'it would' or diag $answer->to_string;
        is_deeply $answer->json, {status => 'OK', dry_run => true,
            message => 'A confirm would buy a line now; nothing was charged, and the preview_token is still good'}, 'in words';
    }

    is $nginx->post_json('/accounts/lines/provision-confirm', {preview_token => $token, dry_run => false}, {%{$one->{headers}}, 'Idempotency-Key' => 'k'})->status, 200,
      'false is none: bought, by the key of the dry run';
    is dry($one, $token, key => 'k')->json('/phone_number'), ($shop->lines($one))[0]{phone_number}, 'by a key that was used it is what a confirm would say: the line';
    says(dry($one, $token), 410, 'token_expired');
};

subtest 'a card is looked for where a confirm looks' => sub {
    for my $customer (undef, 'cus_nocard', 'cus_unknown') {
        my $poor = $shop->account('poor' . ($customer // ''), customer => $customer);
        says(dry($poor, $shop->token($poor)), 402, 'no_card_on_file');
    }

    for my $place (qw(source attached)) {
        $shop->sandbox->customer("cus_$place", 'ok', $place);
        my $account = $shop->account("acc_$place", customer => "cus_$place");
        is dry($account, $shop->token($account))->status, 200, "a card that is $place";
    }
};

subtest 'what is in the way of a confirm is in its way' => sub {
    my $two = $shop->account('two');
    says(dry($two, 'lpv_abc'), 410, 'token_expired');
    is dry($two, $shop->token($one))->status, 403, "another account's token";
    is dry($two, undef)->status, 400, 'none';

    my $full = $shop->account('full', limits => {api_provision_daily => 1});
    my $token = $shop->token($full);
    is $shop->confirm($full, $shop->token($full))->status, 200, 'bought';
    my $answer = dry($full, $token);
    says($answer, 429, 'daily_limit_reached');
    ok $answer->header('Retry-After'), '... with when';

    for my $bad ('yes', 1, []) {
        my $refused = $nginx->post_json('/accounts/lines/provision-confirm', {preview_token => $token, dry_run => $bad}, $two->{headers});
        is $refused->status, 400, 'neither true nor false';
        is $refused->json('/message'), 'dry_run must be true or false', 'in words';
    }
};

subtest 'billing is away, or nothing is left' => sub {
    my $three = $shop->account('three');
    my $token = $shop->token($three);
    $shop->sandbox->fault(path => '/v1/customers/:id', method => 'GET', kind => '500', times => 100);
    my $answer = dry($three, $token);
    is $answer->status, 503, 'not now' or diag $answer->to_string;
    ok $answer->header('Retry-After'), '... with Retry-After';
    $shop->sandbox->clear_faults;

    is $nginx->admin(DELETE => "numbers/$_")->status, 200, 'a number goes' for map { $_->{phone_number} } grep { $_->{state} eq 'free' } @{$nginx->admin(GET => 'numbers?limit=100')->json('/numbers')};
    says(dry($three, $token), 503, 'no_lines_available');
};

$t->done;
