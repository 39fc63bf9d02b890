# The operator's API: workspaces, keys, lines' status, usage and release, the provisioner's list of work.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Mojo::JSON qw(encode_json true false);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 2, server => <<END);
        location /closed/ { lines_admin token_file=@{[$t->admin_token_file]}; deny all; }
END
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');

subtest 'the token' => sub {
    my $path = '/_lines/admin/workspaces/org_1';

    for my $bad (undef, '', 'Bearer', 'Bearer wrong', 'Basic ' . $t->admin_token, 'Bearer ' . $t->admin_token . 'x', 'Bearer ' . substr $t->admin_token, 1) {
        my $answer = $nginx->get($path, {defined $bad ? (Authorization => $bad) : ()});
        is $answer->status, 401, '401 for ' . ($bad // 'nothing');
        is $answer->body, '{"error":"Unauthorized"}', '... and no more';
    }

    is $nginx->get($path, {Authorization => 'Bearer ' . $t->admin_token})->status, 404, 'the right one gets further';
    is $nginx->get('/closed/workspaces/org_1', {Authorization => 'Bearer ' . $t->admin_token})->status, 403, "nginx's deny comes first";
    my $token = $t->admin_token;
    unlike $nginx->error_log, qr/\Q$token\E/, 'it is in no log';
    my (undef, $dump) = $nginx->test_config('-T');
    unlike $dump, qr/\Q$token\E/, 'nor in nginx -T';
};

subtest 'workspaces' => sub {
    my $put = sub ($id, $data) { $nginx->admin(PUT => "workspaces/$id", $data) };

    my $made = $put->(org_1 => {plan => 'growth', subscription => 'active', customer => 'cus_card'});
    is $made->status, 201, 'made';
    is_deeply [@{$made->json}{qw(id plan subscription customer)}], [qw(org_1 growth active cus_card)], 'as asked';
    is $put->(org_1 => {plan => 'growth', subscription => 'active', customer => 'cus_card'})->status, 200, 'PUT is idempotent';
    is_deeply [@{$put->(org_1 => {subscription => 'past_due'})->json}{qw(plan subscription customer)}], [qw(growth past_due cus_card)], 'and merges';
    is $put->(org_1 => {customer => undef})->json('/customer'), undef, 'null takes the customer away';
    is $nginx->admin(GET => 'workspaces/org_1')->json('/subscription'), 'past_due', 'GET shows it';
    is $nginx->admin(GET => 'workspaces/org_9')->status, 404, 'one that is not there';
    is $put->(org_bare => {})->json('/subscription'), 'none', 'nothing given: no subscription';

    for my $bad ({subscription => 'paused'}, {subscription => 1}, {plan => ''}, {plan => 'a b'}, {plan => 5}, {customer => 'a b'}, {customer => ''}, {customer => []}) {
        my $answer = $put->(org_1 => $bad);
        my ($name) = keys %$bad;
        is $answer->status, 400, "a bad $name";
        like $answer->json('/error'), qr/\b$name\b/, '... is named';
    }

    is $put->($_ => {plan => 'mini'})->status, 400, "$_ is no id" for 'a.b', 'a%7Db', 'x' x 65, 'a%20b', '%00';
    is $nginx->admin(POST => 'workspaces/org_1', {})->status, 405, 'POST is not for workspaces';
    is $nginx->request(PUT => '/_lines/admin/workspaces/org_1', {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'}, '[1')->status,
      400, 'broken JSON';
};

my $key  = $nginx->workspace(org_2 => {plan => 'growth', subscription => 'active'});
my $line = sub { $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($key))->json('/line/_id') };
my $get  = sub ($id) { $nginx->get("/api/line-requests/$id", $nginx->bearer($key))->json };

subtest 'the provisioner reports' => sub {
    my $status = sub ($id, $data) { $nginx->admin(POST => "lines/$id/status", $data) };
    my ($one, $two) = ($line->(), $line->());

    my $active = $status->($one, {status => 'active', phone => '+14155550123'});
    is $active->status, 200, 'active' or diag $active->to_string;
    my $seen = $get->($one);
    is $seen->{status}, 'active', 'the client sees it';
    is_deeply [@{$seen->{line}}{qw(phone isActive)}], ['+14155550123', true], 'with its number';
    is $status->($one, {status => 'active'})->status, 200, 'the same report again is fine';
    is $status->($one, {status => 'failed'})->status, 409, 'an active line cannot fail';
    is $get->($one)->{status}, 'active', 'and nothing changed';

    is $status->($two, {status => 'failed', reason => 'No "number" left'})->status, 200, 'failed';
    is $get->($two)->{line}{reason}, 'No "number" left', 'the client sees why';
    is $status->($two, {status => 'active'})->status, 409, 'a failed line cannot become active';

    is $status->('f' x 24, {status => 'active'})->status, 404, 'a line that is not there';
    is $status->('nonsense', {status => 'active'})->status, 400, 'no id at all';
    is $status->($one, $_)->status, 400, 'a bad report' for {}, {status => 'provisioning'}, {status => 'canceled'}, {status => 1},
      {status => 'active', phone => '123'}, {status => 'failed', reason => 'x' x 501}, {status => 'failed', reason => {}};

    my $events = encode_json([$redis->events('w:org_2')]);
    is scalar(() = $events =~ /"line\.active"/g), 1, 'one event for each move';
    is scalar(() = $events =~ /"line\.failed"/g), 1, 'and none for what changed nothing';
};

subtest 'concurrent reports of one line' => sub {
    my $id = $line->();
    my @answers = concurrently(60, sub ($i) {
        $nginx->request_p(POST => "/_lines/admin/lines/$id/status",
            {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'},
            $i % 2 ? '{"status":"active"}' : '{"status":"failed"}');
    });

    my $state = $get->($id)->{status};
    my %count;
    $count{$_->status}++ for @answers;
    is_deeply \%count, {200 => 30, 409 => 30}, "one of the two won ($state)" or diag explain \%count;
};

subtest 'release' => sub {
    my $fresh = $nginx->workspace(org_3 => {plan => 'starter', subscription => 'active'});
    my $ask   = sub { $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($fresh)) };
    my $id    = $ask->()->json('/line/_id');

    is $nginx->admin(POST => "lines/$id/release")->status, 409, 'only an active line can be released';
    $nginx->admin(POST => "lines/$id/status", {status => 'active', phone => '+14155550124'});
    is $ask->()->status, 403, 'it takes the one place';
    is $nginx->admin(DELETE => 'workspaces/org_3')->status, 409, 'a workspace with a live line stays';

    is $nginx->admin(POST => "lines/$id/release")->status, 200, 'released';
    is $nginx->admin(POST => "lines/$id/release")->status, 200, 'again: the same';
    my $seen = $nginx->get("/api/line-requests/$id", $nginx->bearer($fresh))->json;
    is_deeply [$seen->{status}, @{$seen->{line}}{qw(isActive reason)}], ['canceled', false, 'released'], 'the client sees that it has ended, and why';
    is $ask->()->status, 201, 'its place is free';
};

subtest 'usage' => sub {
    my $id = $line->() // $redis->client->zrange('lines:{w:org_2}:lines', 0, 0);
    ($id) = @$id if ref $id;
    my $usage = sub ($data) { $nginx->admin(POST => "lines/$id/usage", $data) };
    is $usage->({newConversationsCount => 1, totalMessagesCount => 2})->status, 200, 'reported';
    is $usage->({newConversationsCount => 1, totalMessagesCount => 2})->status, 200, 'set, not added: again is fine';
    is $usage->($_)->status, 400, 'a bad one' for {}, {newConversationsCount => 1}, {newConversationsCount => -1, totalMessagesCount => 1},
      {newConversationsCount => 1.5, totalMessagesCount => 1}, {newConversationsCount => '1', totalMessagesCount => 1};
    is $nginx->admin(POST => 'lines/' . 'f' x 24 . '/usage', {newConversationsCount => 1, totalMessagesCount => 2})->status, 404, 'of no line';
};

subtest 'the list of work, over all workspaces' => sub {
    $nginx->workspace("org_w$_" => {plan => 'growth', subscription => 'active'}) for 1 .. 3;
    my (@wanted, $cursor, @seen);

    for my $round (1, 2) {
        for my $w (1 .. 3) {
            my $its = $nginx->admin(POST => "workspaces/org_w$w/keys")->json('/key');
            push @wanted, $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($its))->json('/line/_id');
        }
    }

    do {
        my $page = $nginx->admin(GET => 'lines?status=provisioning&limit=2' . ($cursor ? "&cursor=$cursor" : ''))->json;
        push @seen, @{$page->{lines}};
        $cursor = $page->{cursor};
    } while (defined $cursor && @seen < 100);

    my %wanted = map { $_ => 1 } @wanted;
    is_deeply [map { $_->{_id} } grep { $wanted{$_->{_id}} } @seen], \@wanted, 'oldest first';
    is_deeply [grep { $_->{provisioningStatus} ne 'provisioning' } @seen], [], 'nothing but work';

    $nginx->admin(POST => "lines/$wanted[0]/status", {status => 'active'});
    my $left = $nginx->admin(GET => 'lines?status=provisioning')->json('/lines');
    ok !grep({ $_->{_id} eq $wanted[0] } @$left), 'what is done is gone';
    is $nginx->admin(GET => $_)->status, 400, $_ for 'lines', 'lines?status=active', 'lines?status=provisioning&limit=1000';
};

subtest 'hints of the list of work' => sub {
    my $now  = (scalar $redis->cli('TIME'))->[0] * 1000;
    my @at   = ($now - 120_000, $now - 310_000);
    my ($young, $old) = map { 'w:org_none ' . $_ x 24 } qw(a b);
    my ($work) = @{$nginx->admin(GET => 'lines?status=provisioning')->json('/lines')};
    my ($real) = grep {/$work->{_id}/} @{scalar $redis->cli(ZRANGE => 'lines:{prov}', 0, -1)};

    $redis->cli(ZADD => 'lines:{prov}', $at[0], $young, $at[1], $old, 1, $real);
    $nginx->admin(GET => 'lines?status=provisioning');
    Test::Lines::wait_for(sub { !defined scalar $redis->cli(ZSCORE => 'lines:{prov}', $old) }, 30, 'a hint of no line to go');
    ok defined scalar $redis->cli(ZSCORE => 'lines:{prov}', $young), 'its line may come yet';
    ok defined scalar $redis->cli(ZSCORE => 'lines:{prov}', $real), 'one of a line stays, however old';
    is $nginx->admin(GET => 'lines?status=provisioning')->json('/lines/0/_id'), $work->{_id}, 'which is listed';
};

subtest 'deleting a workspace' => sub {
    my $its = $nginx->workspace(org_gone => {plan => 'starter', subscription => 'active'});
    my $id  = $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($its))->json('/line/_id');
    is $nginx->admin(DELETE => 'workspaces/org_gone')->status, 409, 'not with a live line';
    $nginx->admin(POST => "lines/$id/status", {status => 'failed'});
    is $nginx->admin(DELETE => 'workspaces/org_gone')->status, 200, 'but with a failed one';
    is $nginx->admin(GET => 'workspaces/org_gone')->status, 404, 'it is gone';
    is $nginx->admin(DELETE => 'workspaces/org_gone')->status, 200, 'deleting it again is fine';
    is_deeply [grep {/org_gone/} $redis->client->keys('*')], ['lines:{w:org_gone}:deleted'], 'nothing of it is left but when that was';
};

subtest 'operations that are stuck, in pages' => sub {
    my %at = map { ($_ => $_ < 6 ? 7 : 10 + $_) } 1 .. 9;
    for my $i (keys %at) {
        $redis->cli('HSET', "lines:{w:w$i}:op:" . $i x 24, kind => 'refund', step => 'cancel', stuck => 'why', attempt => 1, begun => 1);
        $redis->cli('ZADD', 'lines:{stuck}', $at{$i}, "w:w$i " . $i x 24);
    }
    my $page = sub ($query) { my $json = $nginx->admin(GET => "operations?state=stuck$query")->json; return $json->{cursor}, map { $_->{id} =~ /^(.)/ } @{$json->{operations}} };
    is_deeply [$page->('')], [undef, 1 .. 9], 'all of them';
    my ($cursor, @all) = $page->('&limit=3');
    is_deeply \@all, [1 .. 3], 'three of one instant';
    $redis->cli('ZREM', 'lines:{stuck}', 'w:w3 ' . 3 x 24);
    ($cursor, my @next) = $page->("&limit=3&cursor=$cursor");
    is_deeply \@next, [4 .. 6], 'the next ones, though the last one is not stuck any more';
    ($cursor, @next) = $page->("&limit=3&cursor=$cursor");
    is_deeply [$cursor, @next], [undef, 7 .. 9], 'the rest';
    $redis->cli('DEL', 'lines:{stuck}');
};

subtest 'without billing nobody looks which database it is' => sub {
    for my $ask ([GET => 'database'], [POST => 'database/confirm', {}]) {
        my $answer = $nginx->admin(@$ask);
        is $answer->status, 404, "@$ask[0, 1]: 404";
        like $answer->json('/error'), qr/there is no lines_billing/, '... which says why';
    }
};

$t->done;
