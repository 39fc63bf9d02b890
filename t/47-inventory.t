# The operator's numbers and tickets, the release of a line, and 100,000 numbers.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use POSIX ();
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Script;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t, quarantine => '1h', budget => '5s');
my $nginx = $shop->nginx(http => "lines_tenant_limits tickets=300;\n");
my $redis = $shop->redis;

sub add (@numbers) { $nginx->admin(POST => 'numbers', {numbers => [map { {phone_number => $_, worker_id => "w$_"} } @numbers]}) }

subtest 'POST numbers' => sub {
    is_deeply add('+14155550001', '+14155550002')->json, {added => 2, present => 0}, 'two new ones';
    my $answer = $nginx->admin(POST => 'numbers', {numbers => [{phone_number => '+14155550001', worker_id => 'x'}, {phone_number => '+12125550003', worker_id => 'w3'}]});
    is_deeply $answer->json, {added => 1, present => 1}, 'one is there already';
    is $redis->cli(HGET => 'lines:{inv}:numbers', '+14155550001'), 'free w+14155550001', 'and is left as it is';

    for my $bad (
        {}, {numbers => []}, {numbers => {}}, {numbers => ['+14155550001']}, {numbers => [{phone_number => '4155550001', worker_id => 'w'}]},
        {numbers => [{phone_number => '+1415555000x', worker_id => 'w'}]}, {numbers => [{phone_number => '+14155550009'}]},
        {numbers => [{phone_number => '+14155550009', worker_id => ''}]}, {numbers => [{phone_number => '+14155550009', worker_id => 'a b'}]},
        {numbers => [{phone_number => '+14155550009', worker_id => 'x' x 129}]},
        {numbers => [map { {phone_number => sprintf('+1650%07d', $_), worker_id => 'w'} } 1 .. 1001]}
      )
    {
        my $answer = $nginx->admin(POST => 'numbers', $bad);
        is $answer->status, 400, 'refused: ' . $answer->json('/error');
    }
    is $nginx->post_json('/_lines/admin/numbers', {numbers => []})->status, 401, 'for the operator only';
    is $shop->counts->{free}, 3, 'nothing of these was added';
};

subtest 'GET numbers' => sub {
    my $answer = $nginx->admin(GET => 'numbers');
    is_deeply $answer->json, {
        numbers => [map { {phone_number => $_->[0], worker_id => $_->[1], state => 'free'} }
            ['+12125550003', 'w3'], ['+14155550001', 'w+14155550001'], ['+14155550002', 'w+14155550002']],
        cursor => undef, counts => {free => 3, leased => 0, assigned => 0, quarantined => 0}
    }, 'all';

    my $page = $nginx->admin(GET => 'numbers?limit=2&state=free')->json;
    is scalar @{$page->{numbers}}, 2, 'a page of two';
    my $rest = $nginx->admin(GET => "numbers?limit=2&state=free&cursor=$page->{cursor}")->json;
    is_deeply [map { $_->{phone_number} } @{$rest->{numbers}}], ['+14155550002'], 'and the rest';
    is $rest->{cursor}, undef, 'the last';
    is_deeply $nginx->admin(GET => 'numbers?state=assigned')->json('/numbers'), [], 'none is assigned';
    is $nginx->admin(GET => "numbers?$_")->status, 400, "$_: refused" for qw(state=x limit=0 limit=1001 limit=x cursor=x cursor=);
};

subtest 'DELETE numbers' => sub {
    add('+14155550004', '+14155550005');
    is_deeply $nginx->admin(DELETE => 'numbers/+14155550004')->json, {phone_number => '+14155550004', deleted => Mojo::JSON::true}, 'with "+"';
    is $nginx->admin(DELETE => 'numbers/%2B14155550005')->status, 200, 'with "%2B"';
    is $nginx->admin(DELETE => 'numbers/+14155550005')->status, 404, 'gone';
    is $nginx->admin(DELETE => 'numbers/14155550001')->status, 400, 'no number';
};

subtest 'a line, from its number to its quarantine' => sub {
    my $one    = $shop->account('one');
    my $answer = $shop->confirm($one, $shop->token($one));
    my $number = $answer->json('/phone_number');
    my ($line) = $shop->lines($one);

    my $held = $nginx->admin(DELETE => "numbers/$number");
    is $held->status, 409, 'an assigned number cannot be deleted';
    is $held->json('/state'), 'assigned', 'and says so';
    is $nginx->admin(DELETE => 'accounts/one')->status, 409, 'nor an account with a live line';

    is $nginx->admin(POST => "lines/$line->{id}/status", {status => 'failed'})->status, 409, 'an active line does not fail';
    is $nginx->admin(POST => "lines/$line->{id}/release")->status, 200, 'released' for 1 .. 2;
    my ($released) = $shop->lines($one);
    is $released->{active}, Mojo::JSON::false, 'it is active no more';
    like $released->{released_at}, qr/Z$/, 'since an instant';

    is_deeply $shop->counts, {free => 2, leased => 0, assigned => 0, quarantined => 1}, 'its number rests';
    is_deeply [map { $_->{phone_number} } @{$nginx->admin(GET => 'numbers?state=quarantined')->json('/numbers')}], [$number], 'and is listed so';
    is $nginx->admin(DELETE => "numbers/$number")->status, 409, 'it cannot be deleted yet';

    wait_for(sub { !$redis->cli(SCARD => 'lines:{a:one}:ops') }, 30, 'its billing to be canceled');
    is $shop->sandbox->call(GET => "/v1/subscriptions/$line->{subscription_id}")->json('/status'), 'canceled', 'its billing is canceled';
    is scalar(grep { $_->{subscription} eq $line->{subscription_id} } $shop->sandbox->ledger('refund')), 0, 'and not refunded';

    $redis->cli(ZADD => 'lines:{inv}:quarantined', 1, $number);
    is_deeply $shop->counts, {free => 3, leased => 0, assigned => 0, quarantined => 0}, 'its time over, it is free';
    is scalar $shop->window($one), 1, 'the line keeps its place in the windows';
    is $nginx->admin(DELETE => 'accounts/one')->status, 200, 'the account can be deleted';
};

subtest 'what nothing holds goes back' => sub {
    my $two = $shop->account('two');
    my $script = Test::Lines::Script->new(redis => $redis);
    my @k = map {"lines:{inv}:$_"} qw(numbers free quarantined leased operations leases reserved);

    # a worker that was stalled leased a number for a purchase that is over
    is $script->run(inv_lease => \@k, 'a' x 24, 'a:two', '', 1, '', '', 1)->[0], 'leased', 'leased for an operation that is not there';
    wait_for(sub { $shop->counts->{leased} == 0 }, 30, 'the lease to be looked at');
    is $shop->counts->{free}, 3, 'it is free again';

    # the same for a line that was released before its number was
    my $token = $shop->token($two);
    $shop->confirm($two, $token);
    my $op = $shop->operation_id($token);
    $redis->cli(ZADD => 'lines:{inv}:leases', 1, "a:two $op");
    wait_for(sub { !$redis->cli(ZCARD => 'lines:{inv}:leases') }, 30, 'it to be looked at');
    is $shop->counts->{assigned}, 1, 'what has a line stays';
    $redis->cli(HSET => "lines:{a:two}:rec:$op", 'released', 1);
    $redis->cli(ZADD => 'lines:{inv}:leases', 1, "a:two $op");
    wait_for(sub { $shop->counts->{assigned} == 0 }, 30, 'it to be looked at');
    is $shop->counts->{quarantined}, 1, 'what has a released one rests';
};

subtest 'tickets' => sub {
    my $three = $shop->account('three');
    my $post = sub ($body, $path = '/accounts/lines/add-line', $account = $three) { $nginx->post_json($path, $body, $account->{headers}) };

    my $answer = $post->({line_request_type => 'phone', desired_area_code => '415'});
    is $answer->status, 200, 'a ticket' or diag $answer->to_string;
    my $data = $answer->json('/data');
    like $data->{id}, qr/^\d+$/, 'its id';
    like delete $data->{createdAt}, qr/Z$/, 'created';
    is_deeply $answer->json, {status => 'OK', data => {id => $data->{id}, type => 'PHONE', status => 'OPEN', desiredAreaCode => '415', createdAt => $answer->json('/data/createdAt')}}, 'as documented';
    is $answer->header('Deprecation'), '@1767225600', 'Deprecation';
    is $answer->header('Link'), '</accounts/lines/provision-preview>; rel="successor-version"', 'Link';
    is $answer->header('Sunset'), undef, 'no Sunset unless configured';

    is $post->({line_request_type => 'phone'})->json('/data/desiredAreaCode'), undef, 'without a wish';
    is $post->({line_request_type => 'phone', desired_area_code => '94105'})->status, 200, 'by zip code';
    for my $bad ({}, {line_request_type => 'fax'}, map { {line_request_type => 'phone', desired_area_code => $_} } '41', '4155', 'abc', '', 415) {
        my $answer = $post->($bad);
        is $answer->status, 400, 'refused: ' . ($answer->json('/message') // '');
        is_deeply [sort keys %{$answer->json}], [qw(message status)], 'in the dialect';
    }

    my $get = sub ($id, $account = $three) { $nginx->get("/accounts/lines/line-request/$id", $account->{headers}) };
    is_deeply $get->($data->{id})->json('/data/status'), 'OPEN', 'read again';
    is $get->($data->{id}, $shop->account('stranger'))->status, 403, 'another account\'s';
    is $get->(99999)->status, 404, 'an unknown one';
    is $get->('x')->status, 400, 'no id';
    is $nginx->get("/accounts/lines/line-request/$data->{id}")->status, 401, 'nobody\'s';

    my $move = sub ($id, $body) { $nginx->admin(POST => "tickets/$id", $body) };
    is $move->($data->{id}, $_)->status, 400, 'refused' for {}, {status => 'OPEN'}, {status => 'FULFILLED', fulfilledNumber => 'x'}, {status => 'CANCELLED', fulfilledNumber => '+14155550001'};
    is $move->(99999, {status => 'CANCELLED'})->status, 404, 'an unknown one';

    my $fulfilled = $move->($data->{id}, {status => 'FULFILLED'});
    is $fulfilled->status, 200, 'fulfilled' or diag $fulfilled->to_string;
    like $fulfilled->json('/data/fulfilledNumber'), qr/^\+1415/, 'with a number of its area';
    is $shop->counts->{assigned}, 1, 'which is assigned';
    is $move->($data->{id}, {status => 'FULFILLED'})->body, $fulfilled->body, 'again: the same';
    is $move->($data->{id}, {status => 'CANCELLED'})->status, 409, 'not canceled any more';
    my $seen = $get->($data->{id})->json('/data');
    is $seen->{fulfilledNumber}, $fulfilled->json('/data/fulfilledNumber'), 'the client sees the number';
    like $seen->{fulfilledAt}, qr/Z$/, 'and the instant';

    my $other = $post->({line_request_type => 'phone'})->json('/data/id');
    is $move->($other, {status => 'FULFILLED', fulfilledNumber => $seen->{fulfilledNumber}})->status, 409, 'a number that is taken';
    is $move->($other, {status => 'FULFILLED', fulfilledNumber => '+442071234567'})->json('/data/fulfilledNumber'), '+442071234567', 'one of the operator\'s own';
    my $third = $post->({line_request_type => 'phone'})->json('/data/id');
    is $move->($third, {status => 'CANCELLED'})->json('/data/status'), 'CANCELLED', 'canceled';
};

subtest 'tickets go with their account' => sub {
    my $quitter = $shop->account('quitter');
    my $ask     = sub { $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $quitter->{headers})->json('/data/id') };
    my $move    = sub ($id, @body) { $nginx->admin(POST => "tickets/$id", {@body}) };
    my $left    = sub { [sort grep {/quitter/ && !/:deleted$/} $redis->client->keys('*')] };
    my $taken   = $shop->counts;

    # more than a page of them
    my ($open, $fulfilled, $own, $canceled, @more) = map { $ask->() } 1 .. 205;
    is_deeply [map { $move->(@$_)->status } [$fulfilled, status => 'FULFILLED'], [$own, status => 'FULFILLED', fulfilledNumber => '+442071234568'], [$canceled, status => 'CANCELLED']], [200, 200, 200], 'in every state';
    my ($number) = grep { $redis->cli(HGET => 'lines:{inv}:numbers', $_) =~ / ticket\.$fulfilled / } map { $_->{phone_number} } @{$nginx->admin(GET => 'numbers?state=assigned')->json('/numbers')};
    ok $number, 'one holds a number';
    is $redis->cli(ZCARD => 'lines:{a:quitter}:tickets'), 205, 'all are listed';

    # one that was cut short after the first page's numbers
    my @inv  = map {"lines:{inv}:$_"} qw(numbers free quarantined leased assigned operations leases reserved);
    $redis->cli(RENAME => 'lines:{a:quitter}:t', 'aside:{a:quitter}');
    Test::Lines::Script->new(redis => $redis)->run(inv_release => \@inv, "ticket.$fulfilled", 'a:quitter', 3_600_000, '', '');
    is $nginx->get("/accounts/lines/line-request/$open", $quitter->{headers})->status, 200, 'its key is known still';
    my $answer = $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $quitter->{headers});
    is $answer->status, 401, 'no ticket of an account that is going';
    is_deeply $answer->json, {status => 'ERROR', message => 'Invalid API credentials'}, 'as if its key had gone first';
    is $move->($more[0], status => 'FULFILLED', fulfilledNumber => '+442071234569')->status, 404, 'nor one fulfilled';
    $redis->cli(DEL => 'aside:{a:quitter}');

    is $nginx->admin(DELETE => 'accounts/quitter')->status, 200, 'deleted, open ones or not' for 1 .. 2;
    is_deeply $left->(), [], 'nothing of it is left';
    is_deeply [grep { $redis->cli(EXISTS => "lines:{ix:ticket.$_}") } $open .. $open + 210], [], 'nor of its index';
    is $redis->cli(HGET => 'lines:{inv}:numbers', $number), "quarantined w$number", 'the number rests';
    is $shop->counts->{assigned}, $taken->{assigned}, 'others keep theirs';
    is $move->($fulfilled, status => 'FULFILLED')->status, 404, 'no ticket any more';

    # at once, and with its number
    add('+14155550020');
    my $other = $shop->account('quitter');
    $number = $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $other->{headers})->json('/data/id');
    my $held = $move->($number, status => 'FULFILLED')->json('/data/fulfilledNumber');
    is $nginx->admin(DELETE => 'accounts/quitter')->status, 200, 'deleted';
    is $redis->cli(HGET => 'lines:{inv}:numbers', $held), "quarantined w$held", 'its number rests';
    is_deeply $left->(), [], 'nothing of it is left again';
    $redis->cli(ZADD => 'lines:{inv}:quarantined', 1, $_) for @{$redis->cli(ZRANGE => 'lines:{inv}:quarantined', 0, -1)};
};

subtest 'deprecated endpoints are turned off' => sub {
    my $off = $t->nginx(name => 'off', redis => $redis, plans => $shop->plans, http => $shop->http . "lines_deprecated_endpoints off since=2025-06-01 sunset=2027-01-01;\n",
        server => $shop->server . "location /account/ { lines_account_api; }\nlocation /still/ { lines_account_api; lines_deprecated_endpoints on sunset=2027-01-01; }\n");
    my $three = $shop->account('three');
    for my $path ('/accounts/', '/account/') {
        my $answer = $off->post_json("${path}lines/add-line", {line_request_type => 'phone'}, $three->{headers});
        is $answer->status, 410, "$path: gone";
        like $answer->json('/message'), qr{POST ${path}lines/provision-preview}, 'the successor is named';
        is $answer->header('Link'), "<${path}lines/provision-preview>; rel=\"successor-version\"", 'and linked';
        is $answer->header('Deprecation'), '@1748736000', 'since when';
        is $answer->header('Sunset'), 'Fri, 01 Jan 2027 00:00:00 GMT', 'until when';
        is $off->get("${path}lines/line-request/1", $three->{headers})->status, 410, 'tickets too';
        is $off->get("${path}limits", $three->{headers})->status, 200, 'nothing else';
    }
    is $off->post_json('/still/lines/add-line', {line_request_type => 'phone'}, $three->{headers})->status, 200, 'a location of its own';
    is $off->post('/account/lines/provision-preview', '', $three->{headers})->status, 200, 'preview under the alias';
    is $off->post_json('/account/lines/provision-confirm', {preview_token => $shop->token($three)}, $three->{headers})->status, 200, 'confirm under the alias';
};

# what the worker and Redis have worked, whatever else the machine does
sub worked () {
    my $ticks = 0;
    $ticks += $_ for map { (split ' ', path("/proc/$_/stat")->slurp =~ s/.*\) //sr)[11, 12] } $nginx->pids, map { $_->pid } @{$redis->nodes};
    return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

subtest '100,000 numbers' => sub {
    my $start = worked();
    for my $call (0 .. 99) {
        my $answer = $nginx->admin(POST => 'numbers', {numbers => [map { {phone_number => sprintf('+1702%07d', $call * 1000 + $_), worker_id => "worker_$_"} } 0 .. 999]});
        $answer->status == 200 && $answer->json('/added') == 1000 or return fail $answer->to_string;
    }
    my $took = worked() - $start;
    note sprintf '100,000 numbers in %.1f s of work', $took;
    cmp_ok $took, '<', 10 * $t->slow, 'loaded without much work';
    cmp_ok $shop->counts->{free}, '>=', 100_000, 'all of them';

    my ($n, $cursor) = (0, '');
    do {
        my $page = $nginx->admin(GET => 'numbers?state=free&limit=1000' . ($cursor ? "&cursor=$cursor" : ''))->json;
        $n += @{$page->{numbers}};
        $cursor = $page->{cursor};
    } while $cursor;
    is $n, $shop->counts->{free}, 'and all are listed, page by page';

    my $four = $shop->account('four');
    is $shop->confirm($four, $shop->token($four))->status, 200, 'one is bought as before';
};

$t->done;
