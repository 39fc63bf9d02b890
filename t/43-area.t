# A preview with area_code: the number that it shows is reserved for its token, and is what a confirm sells, or 409 with another one.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(true);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx;
my $redis = $shop->redis;

my ($path, $confirm) = map {"/accounts/lines/provision-$_"} qw(preview confirm);
my @paris = map {"+3314000000$_"} 1 .. 3;
my @sf    = map {"+1415555000$_"} 1 .. 3;

sub add (@numbers) { $nginx->admin(POST => 'numbers', {numbers => [map { {phone_number => $_, worker_id => "w$_"} } @numbers]}) }
sub wish ($account, $area) { $nginx->post_json($path, {area_code => $area}, $account->{headers}) }
sub dry ($account, $token) { $nginx->post_json($confirm, {preview_token => $token, dry_run => true}, $account->{headers}) }
sub holder ($number) { (split / /, $redis->cli(HGET => 'lines:{inv}:numbers', $number))[2] }

sub says ($answer, $status, $error) {
    is $answer->status, $status, "$status $error" or diag $answer->to_string;
    is $answer->json('/error'), $error, 'by name';
    return $answer;
}

# a wish that is met: its token, and the number
sub reserved ($account, $area) {
    my $answer = wish($account, $area);
    is $answer->status, 200, "$area: there is one" or diag $answer->to_string;
    return ($answer->json('/preview_token'), $answer->json('/phone_number'));
}

# as if the time of its reservation were over
sub over ($token) { $redis->cli(ZADD => 'lines:{inv}:reserved', 'XX', 1, $shop->operation_id($token)) }

# its time is over, and this account has the number
sub lost ($account, $token, $number) {
    over($token);
    my ($theirs, $same) = reserved($account, $number);
    is $same, $number, 'another account has it now';
    return $theirs;
}

add(@paris, @sf);

subtest 'the number shown is the number sold' => sub {
    my $one = $shop->account('one');
    my ($token, $number) = reserved($one, '415');
    is $number, $sf[0], 'a number of that area';
    is $shop->counts->{leased}, 1, 'it is leased';
    my ($entry) = grep { $_->{phone_number} eq $number } @{$nginx->admin(GET => 'numbers')->json('/numbers')};
    is $entry->{state}, 'leased', '... and listed so';
    is $nginx->admin(DELETE => "numbers/$number")->status, 409, '... and stays in the inventory';

    is dry($one, $token)->json('/phone_number'), $number, 'dry_run says it, too';
    my $any = $shop->confirm($one, $shop->token($one));
    is $any->status, 200, 'who wishes for nothing' or diag $any->to_string;
    isnt $any->json('/phone_number'), $number, '... gets another one';

    my $answer = $shop->confirm($one, $token, key => 'k');
    is $answer->json('/phone_number'), $number, 'confirm sells it' or diag $answer->to_string;
    is_deeply $shop->confirm($one, $token, key => 'k')->json, $answer->json, 'once, whoever asks again';
    is $redis->cli(ZCARD => 'lines:{inv}:reserved'), 0, 'none is reserved any more';
};

subtest 'what area_code means' => sub {
    my $two = $shop->account('two');
    my %numbers = ('+331' => $paris[0], '+33140000003' => $paris[2], 415 => $sf[2], '415555' => undef);
    for my $area (sort keys %numbers) {
        my $answer = wish($two, $area);
        is $answer->json('/phone_number'), $numbers{$area}, "$area: " . ($numbers{$area} // 'none is left');
        says($answer, 503, 'no_lines_in_area') unless $numbers{$area};
    }
    for my $bad ('', '+', 'abc', '41 5', '4155550', '+1234567890123456', '-415', 415, ['415'], true) {
        my $answer = wish($two, $bad);
        is $answer->status, 400, 'refused' or diag $answer->to_string;
        is $answer->json('/message'), 'area_code must be 1 to 6 digits, or + and the first digits of a number', 'in words';
    }
};

add(my @more = map {"+1212555000$_"} 1 .. 9);

subtest 'without it a preview is as ever, whatever its body' => sub {
    my $three = $shop->account('three');
    for my $body ('', '{"anything":1}', '{"area_code":null}', '{}', '[]', '{"area_code":"212"', '"212"', '{' x 1000, "\xff", ' ' x 60_000) {
        my $answer = $nginx->post($path, $body, {%{$three->{headers}}, 'Content-Type' => 'application/json'});
        is $answer->status, 200, 'a token: ' . substr $body, 0, 30 or diag $answer->to_string;
        is_deeply [sort keys %{$answer->json}], [qw(expires_at message preview_token status)], '... and nothing else';
    }
    is $shop->counts->{leased}, 3, 'none of them reserves a number';
    is $nginx->post($path, '{"area_code":"212"}', {%{$shop->account('typed')->{headers}}, 'Content-Type' => 'text/plain'})->json('/phone_number'), $more[0], 'a wish is one in a body of any type';
};

subtest 'a preview that reserves is one of five that are open' => sub {
    my $four = $shop->account('four');
    my $free = $shop->counts->{free};
    my $open = sub { $redis->cli(ZCARD => 'lines:{a:four}:previews') };

    says(wish($four, '907'), 503, 'no_lines_in_area') for 1 .. 6;
    wait_for(sub { !$open->() }, 10, 'nothing to be left of those whose wish was not met');

    my @got = map { [reserved($four, '212')] } 1 .. 5;
    my $answer = says(wish($four, '212'), 429, 'preview_limit_reached');
    cmp_ok $answer->header('Retry-After'), '<=', 600, '... until one expires';
    is $shop->counts->{free}, $free - 5, 'no number is reserved by that';
    is $shop->preview($four)->status, 200, 'one that wishes for nothing has the bound of all';
    is $shop->confirm($four, $got[0][0])->json('/phone_number'), $got[0][1], 'one buys';
    over($got[$_][0]) for 1 .. 4;
    is $shop->counts->{free}, $free - 1, 'the others end, and their numbers are free';
    is $redis->cli(DEL => 'lines:{a:four}:previews'), 1;
};

subtest 'until its token expires, and no longer' => sub {
    my $short = Test::Lines::Account->new(t => $t, redis => $redis, sandbox => $shop->sandbox, agent => 'preview_ttl=2s');
    my $node  = $short->nginx;
    my $five  = $shop->account('five');
    my $free  = $shop->counts->{free};

    my $answer = $node->post_json($path, {area_code => '212'}, $five->{headers});
    is $answer->status, 200, 'reserved' or diag $answer->to_string;
    my $until = $redis->cli(ZSCORE => 'lines:{inv}:reserved', $shop->operation_id($answer->json('/preview_token')));
    my ($expires) = $redis->cli(GET => $shop->token_key($five, $answer->json('/preview_token'))) =~ /^valid (\d+)/;
    cmp_ok $until, '>=', $expires, 'not sooner than the token ends';
    cmp_ok $until, '<', $expires + 1000 * $t->slow, '... and not much later';
    is $shop->counts->{free}, $free - 1, 'as long as that it is not free';
    wait_for(sub { $shop->counts->{free} == $free }, 10, 'it to be free, with nobody who sees to it');
    says($shop->confirm($five, $answer->json('/preview_token'), nginx => $node), 410, 'token_expired');

    is $node->post_json($path, {area_code => '212'}, $five->{headers})->status, 200, 'reserved once more';
    is $nginx->admin(DELETE => 'accounts/five')->status, 200, 'the account is deleted';
    wait_for(sub { $shop->counts->{free} == $free }, 10, 'its number to be free, too');
    is $redis->cli(HLEN => 'lines:{inv}:operations'), $redis->cli(ZCARD => 'lines:{inv}:leased') + $redis->cli(ZCARD => 'lines:{inv}:assigned'), 'and nobody has it';
};

subtest 'what is reserved no more is not sold: another is, after it was shown' => sub {
    my $six = $shop->account('six');
    my ($token, $number) = reserved($six, '212');
    my $theirs = lost($shop->account('rival'), $token, $number);
    my $before = $redis->cli(DUMP => 'lines:{inv}:reserved');

    my $answer = says(dry($six, $token), 409, 'number_changed');
    is $answer->json('/phone_number'), undef, '... and none is reserved by a dry run';
    is $redis->cli(DUMP => 'lines:{inv}:reserved'), $before, '... nor anything written';

    $answer = says($shop->confirm($six, $token, key => 'six'), 409, 'number_changed');
    my $other = $answer->json('/phone_number');
    like $other, qr/^\+1212/, 'another one of the area';
    isnt $other, $number, '... is shown';
    is scalar $shop->bought($six), 0, 'nothing was charged';
    is dry($six, $token)->json('/phone_number'), $other, 'dry_run says the same';
    is holder($other), $shop->operation_id($token), 'it is reserved for the same token';
    is $shop->confirm($six, $token, key => 'six')->json('/phone_number'), $other, 'which buys it, under the same key';
    is $shop->confirm($shop->account('rival'), $theirs)->json('/phone_number'), $number, 'as the other account does the first';
};

subtest 'none is left' => sub {
    my ($seven, @hoard) = map { $shop->account($_) } qw(seven hoard hoarder);
    my ($token, $number) = reserved($seven, '212');
    over($token);
    my @kept;
    while (my ($free) = grep { $_->{state} eq 'free' && $_->{phone_number} =~ /^\+1212/ } @{$nginx->admin(GET => 'numbers?limit=100')->json('/numbers')}) {
        is $nginx->admin(DELETE => "numbers/$free->{phone_number}")->status, 200, 'the operator takes one out';
        push @kept, $free->{phone_number};
    }
    says($shop->confirm($seven, $token), 503, 'no_lines_in_area');
    add($kept[1]);
    is says($shop->confirm($seven, $token), 409, 'number_changed')->json('/phone_number'), $kept[1], 'the token is as good as before';
    is $shop->confirm($seven, $token)->json('/phone_number'), $kept[1], '... and buys';
    add(@kept);
};

subtest 'it is lost while the purchase is under way' => sub {
    my %ways = (
        'another account has it' => [sub ($token, $number) { lost($shop->account('thief'), $token, $number) }, 409],
        'the inventory does not list it any more' => [sub ($token, $number) { over($token); $nginx->admin(DELETE => "numbers/$number") }, 409],
        'it is free again' => [sub ($token, $number) { over($token); $nginx->admin(GET => 'numbers') }, 200],
    );
    for my $name (sort keys %ways) {
        subtest $name => sub {
            my ($lose, $status) = @{$ways{$name}};
            my $eight = $shop->account('eight_' . $name =~ s/\W/_/gr);
            my ($token, $number) = reserved($eight, '212');

            # as long as billing does not say whether there is a card, none is leased
            $shop->sandbox->fault(path => '/v1/customers/:id', method => 'GET', kind => '500', times => 1000);
            says($shop->confirm($eight, $token, key => 'k'), 503, 'provisioning_pending');
            $lose->($token, $number);
            $shop->sandbox->clear_faults;
            my $op = $shop->wait_purchase($eight, $shop->operation_id($token));
            my $answer = $shop->confirm($eight, $token, key => 'k');

            if ($status == 200) {
                is $answer->json('/phone_number'), $number, 'it is bought';
                return;
            }
            says($answer, 409, 'number_lost');
            is $answer->json('/message'), 'The number that was reserved is no longer available; nothing was charged: call preview again', 'which says so';
            is scalar $shop->bought($eight), 0, 'nothing was charged';
            is scalar $shop->window($eight), 0, 'it counts in no window';
            says($shop->confirm($eight, $token), 410, 'token_expired');
            is $redis->cli(HGET => 'lines:{inv}:operations', $shop->operation_id($token)), undef, 'it has no number';
            is $redis->cli(HEXISTS => 'lines:{inv}:numbers', $number), $name =~ /list/ ? 0 : 1, 'and leaves none behind';
        };
    }
};

subtest 'a confirm that fails leaves its number free' => sub {
    my $fresh = '+12135550001';
    add($fresh);
    for my $case (['cus_declined', 402, 'card_declined'], [undef, 402, 'no_card_on_file'], ['cus_card', 429, 'daily_limit_reached']) {
        my ($customer, $status, $error) = @$case;
        my $account = $shop->account("fails_$error", customer => $customer);
        my ($token, $number) = reserved($account, '213');
        is $number, $fresh, 'the only one';
        $nginx->admin(PUT => "accounts/fails_$error", {plan => 'inbound_only', subscription => 'active', limits => {api_provision_daily => 0}, customer => $customer}) if $status == 429;
        says($shop->confirm($account, $token), $status, $error);
        wait_for(sub { $redis->cli(HGET => 'lines:{inv}:numbers', $fresh) eq "free w$fresh" }, 30, 'its number to be free');
        is $redis->cli(ZCOUNT => 'lines:{inv}:reserved', '-inf', '+inf'), $redis->cli(ZCARD => 'lines:{inv}:leased'), 'what is leased is reserved by others';
    }
};

subtest 'many at once' => sub {
    add(my @few = map {"+1646555000$_"} 1 .. 7);
    my @accounts = map { $shop->account("many$_", limits => {api_provision_daily => 4}) } 1 .. 4;
    my @answers;
    for my $account (@accounts) {
        $nginx->post_json_p($path, {area_code => '646'}, $account->{headers})->then(sub ($answer) { push @answers, [$account, $answer] }) for 1 .. 4;
    }
    wait_for(sub { @answers == 16 }, 60, 'all to be answered');
    my @met = grep { $_->[1]->status == 200 } @answers;
    is_deeply [sort map { $_->[1]->json('/phone_number') } @met], \@few, 'each number is reserved once';
    is_deeply [map { $_->[1]->json('/error') } grep { $_->[1]->status != 200 } @answers], [('no_lines_in_area') x 9], 'for the others there is none';

    my @sold;
    $shop->confirm_p($_->[0], $_->[1]->json('/preview_token'))->then(sub ($answer) { push @sold, $answer->json('/phone_number') // $answer->to_string }) for @met;
    wait_for(sub { @sold == 7 }, 60, 'all to be bought');
    is_deeply [sort @sold], \@few, '... and sold to who was shown it';
};

# whatever is still reserved ends
$redis->cli(ZADD => 'lines:{inv}:reserved', 'XX', 1, $_) for @{$redis->cli(ZRANGE => 'lines:{inv}:reserved', 0, -1)};
$shop->counts;
$shop->agree;

$t->done;
