# Every row of the table of errors of preview and confirm by name, with what is in Redis and in the ledger afterwards.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines;
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx;
my $redis = $shop->redis;

my $iso = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
my $one = $shop->account('one');

# what a refused confirm must leave behind: nothing
sub nothing_left ($account, $token, $name) {
    my $op = $shop->operation_id($token);
    is_deeply [$shop->window($account)], [], "$name: no place in the windows";
    is_deeply [$shop->lines($account)],  [], "$name: no line";
    is_deeply [grep { $_->{type} ne 'refund' } $shop->bought($account)], [], "$name: nothing charged";
    ok !$redis->cli(SISMEMBER => "lines:{a:$account->{id}}:ops", $op), "$name: nothing unfinished";
    is $shop->counts->{leased} + $shop->counts->{assigned}, 0, "$name: no number taken";
}

sub used   ($account, $token, $name) { like $redis->cli(GET => $shop->token_key($account, $token)), qr/^used/,  "$name: the token is used" }
sub marked ($account, $token) { $redis->cli(TTL => "lines:{a:$account->{id}}:owed:" . $shop->operation_id($token)) }
sub unused ($account, $token, $name) { like $redis->cli(GET => $shop->token_key($account, $token)), qr/^valid/, "$name: the token is not burnt" }

subtest '401 Invalid API credentials' => sub {
    for my $headers ({}, {'sb-api-key-id' => 'x', 'sb-api-secret-key' => 'y'},
        {%{$one->{headers}}, 'sb-api-secret-key' => 'wrong'}, {'sb-api-key-id' => $one->{headers}{'sb-api-key-id'}})
    {
        for my $call (['POST', 'lines/provision-preview'], ['POST', 'lines/provision-confirm'], ['GET', 'lines'], ['GET', 'limits']) {
            my $answer = $nginx->request($call->[0], "/accounts/$call->[1]", $headers, $call->[0] eq 'POST' ? '{}' : undef);
            is $answer->status, 401, "$call->[1]" or diag $answer->to_string;
            is_deeply $answer->json, {status => 'ERROR', message => 'Invalid API credentials'}, 'in words';
        }
    }
};

subtest '503 no_lines_available, before anything was added' => sub {
    my $answer = $shop->preview($one);
    is $answer->status, 503, 'preview';
    is_deeply $answer->json, {status => 'ERROR', error => 'no_lines_available', message => 'No lines are currently available'}, 'in words';
    is_deeply [$redis->cli(KEYS => 'lines:{a:one}:tok:*')], [], 'no token is issued';
};

$shop->numbers(3);

subtest '200 preview' => sub {
    for my $body (undef, '', '{}', '{"anything":1}') {
        my $answer = $nginx->request(POST => '/accounts/lines/provision-preview', $one->{headers}, $body);
        is $answer->status, 200, defined $body ? "with body '$body'" : 'with no body' or diag $answer->to_string;
        my $json = $answer->json;
        like delete $json->{preview_token}, qr/^lpv_[A-Za-z0-9_-]{48}$/, 'a token';
        like delete $json->{expires_at}, $iso, 'expires';
        is_deeply $json, {
            status  => 'OK',
            message => 'Call the confirm endpoint with this token within 10 minutes to complete the purchase.'
        }, 'the rest';
    }
    is_deeply [$shop->window($one)], [], 'reserves no place';
    is $shop->counts->{free}, 3, 'and no number';
};

subtest '400 preview_token is missing' => sub {
    for my $body ('{}', '{"preview_token":null}', '{"preview_token":""}', '{"preview_token":1}', '{"preview_token":["x"]}', '{"other":"x"}') {
        my $answer = $nginx->request(POST => '/accounts/lines/provision-confirm', {%{$one->{headers}}, 'Content-Type' => 'application/json'}, $body);
        is $answer->status, 400, $body or diag $answer->to_string;
        is_deeply $answer->json, {status => 'ERROR', message => 'preview_token is required'}, 'in words';
    }
};

subtest '403 another plan' => sub {
    my $other = $shop->account('other', plan => 'growth');
    for my $answer ($shop->preview($other), $shop->confirm($other, $shop->issue($other)), $nginx->get('/accounts/limits', $other->{headers})) {
        is $answer->status, 403, 'refused' or diag $answer->to_string;
        is_deeply [sort keys %{$answer->json}], [qw(message status)], 'without an error code';
    }
    my $token = $shop->issue($other);
    $shop->confirm($other, $token);
    unused($other, $token, 'another plan');
    is $nginx->post_json('/accounts/lines/provision-confirm', {}, $other->{headers})->status, 400, 'a missing token comes first';
    is $shop->confirm($other, 'nonsense')->status, 403, 'a token of no kind comes after';
};

subtest '403 another account\'s token' => sub {
    my $two   = $shop->account('two');
    my $token = $shop->token($one);
    my $answer = $shop->confirm($two, $token);
    is $answer->status, 403, 'refused';
    is_deeply $answer->json, {status => 'ERROR', message => 'The preview_token belongs to another account'}, 'in words';
    unused($one, $token, 'foreign');
    nothing_left($two, $token, 'foreign');
};

subtest '410 token_expired' => sub {
    my $expired = sub ($answer, $name) {
        is $answer->status, 410, "$name: refused" or diag $answer->to_string;
        is $answer->json('/error'), 'token_expired', "$name: by name";
        is $answer->json('/status'), 'ERROR', "$name: an error";
    };

    $expired->($shop->confirm($one, 'lpv_abc123'), 'malformed');
    $expired->($shop->confirm($one, 'x' x 1000), 'long');

    my $token = $shop->token($one);
    $expired->($shop->confirm($one, substr($token, 0, 51) . ($token =~ /x$/ ? 'y' : 'x')), 'checksum');

    $redis->cli(SET => $shop->token_key($one, $token), 'valid ' . (time - 1) * 1000);
    $expired->($shop->confirm($one, $token), 'past its time');
    $redis->cli(DEL => $shop->token_key($one, $token));
    $expired->($shop->confirm($one, $token), 'unknown');
    nothing_left($one, $token, 'expired');
};

subtest '402 no_card_on_file' => sub {
    for my $customer (undef, 'cus_nocard', 'cus_unknown') {
        my $name = $customer // 'no customer';
        my $poor = $shop->account('poor' . ($customer // ''), customer => $customer);
        my $token  = $shop->token($poor);
        my $answer = $shop->confirm($poor, $token);
        is $answer->status, 402, "$name: refused" or diag $answer->to_string;
        is_deeply $answer->json, {status => 'ERROR', error => 'no_card_on_file', message => 'No card is available for the account'}, 'in words';
        used($poor, $token, $name);
        nothing_left($poor, $token, $name);

        my $again = $shop->confirm($poor, $token);
        is $again->status, 410, "$name: the token is gone";
        is $again->json('/operation'), $shop->operation_id($token), 'with the operation';
        is $again->json('/state'), 'failed', 'and its state';
        cmp_ok marked($poor, $token), '<=', 2 * 86400, 'no charge was asked for: a mark of it goes soon';
    }
};

subtest '402 card_declined' => sub {
    for my $customer (qw(cus_declined cus_3ds)) {
        my $account = $shop->account("acc_$customer", customer => $customer);
        my $token   = $shop->token($account);
        my $answer  = $shop->confirm($account, $token);
        is $answer->status, 402, "$customer: refused" or diag $answer->to_string;
        is $answer->json('/error'), 'card_declined', 'by name';
        like $answer->json('/message'), $customer eq 'cus_declined' ? qr/declined/ : qr/authenticat/, "with billing's message";
        used($account, $token, $customer);
        nothing_left($account, $token, $customer);
        cmp_ok marked($account, $token), '>', 399 * 86400, 'should it have cost something after all, it goes back';
    }
};

subtest 'cards in other places' => sub {
    for my $place (qw(source attached)) {
        $shop->sandbox->customer("cus_$place", 'ok', $place);
        my $account = $shop->account("acc_$place", customer => "cus_$place");
        my $answer  = $shop->confirm($account, $shop->token($account));
        is $answer->status, 200, "a card that is $place is found" or diag $answer->to_string;
    }
};

my ($bought_token, $bought);

subtest '200 confirm' => sub {
    my $token  = $bought_token = $shop->token($one);
    my $answer = $shop->confirm($one, $token);
    is $answer->status, 200, 'bought' or diag $answer->to_string;
    $bought = $answer->json;
    like $bought->{phone_number}, qr/^\+1415\d{7}$/, 'a number';
    is $bought->{worker_id}, "worker_$bought->{phone_number}", 'its worker';
    like $bought->{subscription_id}, qr/^sub_/, 'its subscription';
    is_deeply [sort keys %$bought], [qw(phone_number status subscription_id worker_id)], 'and nothing else';
    is $bought->{status}, 'OK', 'OK';

    my @charges = $shop->bought($one);
    is scalar @charges, 1, 'charged once';
    is $charges[0]{subscription}, $bought->{subscription_id}, 'for that subscription';
    is $charges[0]{metadata}{operation}, $shop->operation_id($token), 'which names the operation';
    is $charges[0]{metadata}{lines_deployment}, 'test', 'and the deployment';

    is_deeply [$shop->window($one)], [$shop->operation_id($token)], 'a place in the windows';
    is $redis->cli(HGET => 'lines:{inv}:numbers', $bought->{phone_number}),
      "assigned $bought->{worker_id} " . $shop->operation_id($token) . ' a:one', 'the number is assigned';
    is_deeply [$redis->cli(ZRANGE => 'lines:{inv}:leases', 0, -1)], [], 'no lease is left to be looked at';

    my ($due) = map { $redis->cli(ZCARD => "lines:{due:$_}") } grep { $redis->cli(ZCARD => "lines:{due:$_}") } 0 .. 15;
    is $due // 0, 0, 'no hint is left';

    my $again = $shop->confirm($one, $token);
    is $again->status, 410, 'again: gone';
    is $again->json('/operation'), $shop->operation_id($token), 'with the operation';
    is $again->json('/state'), 'succeeded', 'which succeeded';
};

subtest 'GET lines' => sub {
    my ($line, @more) = $shop->lines($one);
    is scalar @more, 0, 'one line';
    like delete $line->{$_}, $iso, "$_ is an instant" for qw(created_at updated_at);
    is_deeply $line, {
        id => $shop->operation_id($bought_token), operation => $shop->operation_id($bought_token),
        phone_number => $bought->{phone_number}, worker_id => $bought->{worker_id}, subscription_id => $bought->{subscription_id},
        direction => 'inbound_only', status => 'active', active => Mojo::JSON::true, reason => undef, released_at => undef
    }, 'the line';
};

subtest '503 no_lines_available' => sub {
    my $late  = $shop->account('late');
    my $token = $shop->issue($late);
    is $shop->counts->{free}, 0, 'nothing is left';
    is $shop->preview($late)->status, 503, 'preview';
    my $answer = $shop->confirm($late, $token);
    is $answer->status, 503, 'confirm' or diag $answer->to_string;
    is_deeply $answer->json, {status => 'ERROR', error => 'no_lines_available', message => 'No lines are currently available'}, 'in words';
    cmp_ok $answer->header('Retry-After'), '>=', 1, 'with Retry-After';
    used($late, $token, 'no lines');
    is_deeply [$shop->window($late)], [], 'no place in the windows';
    is_deeply [$shop->bought($late)], [], 'nothing charged';
};

subtest '429 daily_limit_reached, monthly_limit_reached' => sub {
    $shop->numbers(20);

    my $busy = $shop->account('busy');
    is $shop->confirm($busy, $shop->token($busy))->status, 200, "line $_" for 1 .. 3;

    my $token = $shop->issue($busy);
    for my $answer ($shop->preview($busy), $shop->confirm($busy, $token)) {
        is $answer->status, 429, 'the fourth';
        is_deeply $answer->json, {status => 'ERROR', error => 'daily_limit_reached', message => 'Maximum 3 lines can be added per day via API'}, 'in words';
        cmp_ok $answer->header('Retry-After'), '>', 86_300, 'until the oldest leaves the window';
        cmp_ok $answer->header('Retry-After'), '<=', 86_400, 'no later';
    }
    used($busy, $token, 'limit');
    is scalar $shop->window($busy), 3, 'no place more';
    is scalar $shop->bought($busy), 3, 'no charge more';

    $nginx->admin(PUT => 'accounts/busy', {limits => {api_provision_daily => 'unlimited', api_provision_monthly => 4}});
    is $shop->confirm($busy, $shop->token($busy))->status, 200, 'unlimited by day: the fourth';
    my $answer = $shop->preview($busy);
    is_deeply $answer->json, {status => 'ERROR', error => 'monthly_limit_reached', message => 'Maximum 4 lines can be added per month via API'}, 'four a month';
    cmp_ok $answer->header('Retry-After'), '>', 29 * 86_400, 'about 30 days';

    my $limits = $nginx->get('/accounts/limits', $busy->{headers})->json;
    like delete $limits->{limits}{$_}{resets_at}, $iso, "$_ resets" for qw(api_provision_daily api_provision_monthly);
    is_deeply $limits, {status => 'OK', limits => {
        api_provision_daily   => {limit => undef, used => 4, remaining => undef, window_seconds => 86400},
        api_provision_monthly => {limit => 4, used => 4, remaining => 0, window_seconds => 2592000}
    }}, 'limits say so';

    $nginx->admin(PUT => 'accounts/busy', {limits => {api_provision_daily => 0}});
    $answer = $shop->preview($busy);
    is $answer->json('/message'), 'Maximum 0 lines can be added per day via API', 'limit 0';
    is $answer->header('Retry-After'), undef, 'waiting is no use';

    my $fresh = $shop->account('fresh');
    is_deeply $nginx->get('/accounts/limits', $fresh->{headers})->json, {status => 'OK', limits => {
        api_provision_daily   => {limit => 3,  used => 0, remaining => 3,  window_seconds => 86400,   resets_at => undef},
        api_provision_monthly => {limit => 10, used => 0, remaining => 10, window_seconds => 2592000, resets_at => undef}
    }}, 'of a fresh account';
};

subtest 'the rest of the dialect' => sub {
    my $answer = $nginx->get('/accounts/nothing', $one->{headers});
    is $answer->status, 404, 'no such endpoint';
    is_deeply $answer->json, {status => 'ERROR', message => 'Not found'}, 'in the dialect';
    $answer = $nginx->get('/accounts/lines/provision-confirm', $one->{headers});
    is $answer->status, 405, 'another method';
    is $answer->header('Allow'), 'POST', 'with Allow';
    ok $answer->header('X-Request-Id'), 'with X-Request-Id';
    is $answer->header('Cache-Control'), 'no-store', 'not to be stored';
    is $nginx->head('/accounts/limits', $one->{headers})->status, 200, 'HEAD';
    is $nginx->get('/accounts/lines?limit=0', $one->{headers})->status, 400, 'a bad limit';
    is $nginx->get('/accounts/lines?cursor=x', $one->{headers})->status, 400, 'a bad cursor';

    my $busy = $shop->account('busy');
    my $page = $nginx->get('/accounts/lines?limit=3', $busy->{headers})->json;
    my $rest = $nginx->get("/accounts/lines?limit=3&cursor=$page->{cursor}", $busy->{headers})->json;
    is scalar @{$page->{lines}}, 3, 'a page';
    is scalar @{$rest->{lines}}, 1, 'and the rest';
    is $rest->{cursor}, undef, 'which is the last';
    my @created = map { $_->{created_at} } @{$page->{lines}}, @{$rest->{lines}};
    is_deeply \@created, [reverse sort @created], 'newest first';
};

$shop->agree('charges, lines, numbers and windows agree');

$t->done;
