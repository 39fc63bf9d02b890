# POST /api/line-requests: the plan table, the four buckets, what is refused, and idempotency.

use Mojo::Base -strict, -signatures;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Mojo::JSON qw(encode_json decode_json true false);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 2);

my %phone = (firstName => 'Ada',   lastName => 'Lovelace', channelType => 'phone');
my %email = (firstName => 'Grace', lastName => 'Hopper',   channelType => 'email', email => 'grace@example.com');
my $n     = 0;

sub workspace ($plan, %more) {
    my $id = 'org_' . ++$n;
    return ($id, $nginx->workspace($id => {plan => $plan, subscription => 'active', %more}));
}

sub request ($key, $body, %headers) {
    return $nginx->post_json('/api/line-requests', $body, $nginx->bearer($key, %headers));
}

sub lines_of ($id) { $redis->client->zcard("lines:{w:$id}:lines") }

subtest 'an included line' => sub {
    my ($id, $key) = workspace('growth');
    my $answer = request($key, {%phone, zipcode => '94110', state => 'CA', forwardCallsTo => '+14155550123', unknown => 1});

    is $answer->status, 201, 'created' or diag $answer->to_string;
    is $answer->json('/success'),         true,           'success';
    is $answer->json('/status'),          'provisioning', 'goes straight to provisioning';
    is $answer->json('/paymentStatus'),   'paid',         'is paid for';
    is $answer->json('/paymentRequired'), false,          'needs no payment';

    my $line = $answer->json('/line');
    like $line->{_id}, qr/^[0-9a-f]{24}$/, '24 hex digits';
    is $line->{firstName}, 'Ada', 'first name';
    is $line->{lastName}, 'Lovelace', 'last name';
    is $line->{channelType}, 'phone', 'channel';
    is $line->{lineType}, 'purchased', 'purchased by default';
    is $line->{workspaceId}, $id, 'of the workspace';
    is $line->{provisioningStatus}, 'provisioning', 'status on the line';
    is $line->{isActive}, false, 'not active yet';
    like $line->{createdAt}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'ISO 8601, milliseconds, UTC';
    ok !exists $line->{unknown}, 'what is unknown is ignored';
    unlike join(' ', %{$redis->line("w:$id", $line->{_id})}), qr/unknown/, '... and not stored';

    is $answer->header('Cache-Control'), 'no-store', 'not to be cached';
    ok $answer->header('X-Request-Id'), 'has a request id';
    is request($key, \%phone, 'X-Request-Id' => 'mine-1')->header('X-Request-Id'), 'mine-1', 'or the one of the client';
    like request($key, {}, 'X-Request-Id' => 'bad id"')->header('X-Request-Id'), qr/^[0-9a-f]{32}$/, '... where it is well formed';

    my $events = encode_json([$redis->events("w:$id")]);
    like $events, qr/line\.provisioning/, 'an event for the workspace';
};

subtest 'the plan table' => sub {
    my @table = (
        # plan      channel   answers, one request after another
        [mini    => \%phone, 'forbidden_line_type'],
        [mini    => \%email, 'provisioning', 'unavailable'],
        [starter => \%phone, 'provisioning', 'forbidden_line_type', 'forbidden_line_type'],
        [starter => \%email, 'unavailable'],
        [growth  => \%phone, 'provisioning', 'provisioning', 'unavailable'],
        [growth  => \%email, 'unavailable'],
        [none    => \%phone, 'forbidden_line_type'],
    );

    for (@table) {
        my ($plan, $body, @wanted) = @$_;
        my ($id, $key) = workspace($plan, customer => 'cus_card');
        my $lines = 0;

        for my $wanted (@wanted) {
            my $answer = request($key, $body);
            my $what   = "$plan $body->{channelType}: $wanted";

            if ($wanted eq 'provisioning') {
                is $answer->status, 201, $what;
                $lines++;
            }
            elsif ($wanted eq 'forbidden_line_type') {
                is $answer->status, 403, $what;
                is $answer->json('/status'), $wanted, '... by name';
                is $answer->json('/success'), false, '... without success';
                ok length $answer->json('/message'), '... and with a message';
            }
            else {
                is $answer->status, 503, "$what: payment is needed, and there is no billing";
                ok $answer->header('Retry-After'), '... come back later';
            }
        }

        is lines_of($id), $lines, "$plan: $lines lines are there";
    }
};

subtest 'max= counts included and paid lines' => sub {
    my $capped = $t->nginx(name => 'capped', redis => $redis, plans => "lines_plan solo phone included=5 max=2;\n");
    my $key    = $capped->workspace(org_capped => {plan => 'solo', subscription => 'active'});
    is $capped->post_json('/api/line-requests', \%phone, $capped->bearer($key))->status, $_, "over a ceiling of two: $_" for 201, 201, 403;
};

subtest 'a subscription is required' => sub {
    for my $state (qw(none canceled)) {
        my ($id, $key) = workspace('growth', subscription => $state);
        my $answer = request($key, \%phone);
        is $answer->status, 403, "$state: 403";
        is $answer->json('/status'), 'subscription_required', 'subscription_required';
        is $answer->json('/redirect'), '/billing', 'redirect';
        is lines_of($id), 0, 'nothing was created';
    }

    my ($id, $key) = workspace('growth', subscription => 'past_due');
    my $answer = request($key, \%phone);
    is $answer->status, 402, 'past due: 402';
    is_deeply $answer->json, {error => 'READ_ONLY', code => 'READ_ONLY', reason => 'past_due'}, 'READ_ONLY';
    is $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status, 200, 'reads still work';
};

subtest 'validation names the field' => sub {
    my ($id, $key) = workspace('growth');
    my @bad = (
        [firstName       => {lastName => 'B', channelType => 'phone'}],
        [firstName       => {%phone, firstName => ''}],
        [firstName       => {%phone, firstName => 7}],
        [firstName       => {%phone, firstName => 'x' x 101}],
        [firstName       => {%phone, firstName => "a\nb"}],
        [firstName       => {%phone, firstName => undef}],
        [lastName        => {%phone, lastName => ['B']}],
        [lastName        => {firstName => 'A', channelType => 'phone'}],
        [channelType     => {firstName => 'A', lastName => 'B'}],
        [channelType     => {%phone, channelType => 'fax'}],
        [channelType     => {%phone, channelType => 'PHONE'}],
        [channelType     => {%phone, channelType => {}}],
        [lineType        => {%phone, lineType => 'rented'}],
        [email           => {firstName => 'A', lastName => 'B', channelType => 'email'}],
    );
    push @bad, [email => {%email, email => $_}]
      for '', 'a', 'a@b', '@example.com', 'a@@example.com', 'a b@example.com', 'a@example..com', 'a@-x.com', 'a@x-.com',
      'a@example.com.', 'a' x 65 . '@example.com', 'a@' . 'b' x 250 . '.com';
    push @bad, [email => {%phone, lineType => 'byon', phone => '+14155550123'}],
      [phone => {%phone, lineType => 'byon', email => 'a@example.com'}];
    push @bad, [phone => {%phone, lineType => 'byon', email => 'a@example.com', phone => $_}]
      for '14155550123', '+0155550123', '+1415', '+1415555012345678', '+1415555O123', '+1 4155550123', 14155550123;
    push @bad, [forwardCallsTo => {%phone, forwardCallsTo => 'home'}], [zipcode => {%phone, zipcode => 'x' x 11}],
      [state           => {%phone, state           => 'x' x 65}], [state => {%phone, state => 5}],
      [profileImageUrl => {%phone, profileImageUrl => 'javascript:alert(1)'}],
      [idempotencyKey  => {%phone, idempotencyKey  => ''}], [idempotencyKey => {%phone, idempotencyKey => 'x' x 256}];

    for (@bad) {
        my ($field, $body) = @$_;
        my $answer = request($key, $body);
        is $answer->status, 400, "400 for $field in " . substr(encode_json($body), 0, 100);
        like $answer->json('/error') // '', qr/\b$field\b/, '... which the message names';
    }

    is lines_of($id), 0, 'nothing was created';

    is request($key, {%phone, lineType => 'byon', phone => '+14155550123', email => 'o\'hara+x@ex-ample.co.uk'})->status,
      201, 'byon with phone and email';
    is request($key, {%phone, firstName => 'Zoë "Z" \\ 李', lastName => '</script>'})->json('/line/firstName'),
      'Zoë "Z" \\ 李', 'any name comes back as it was';
};

subtest 'idempotency' => sub {
    my ($id, $key) = workspace('growth');

    my $first = request($key, \%phone, 'Idempotency-Key' => 'one');
    is $first->status, 201, 'created';
    ok !defined $first->header('Idempotency-Replayed'), 'for the first time';

    my $again = request($key, \%phone, 'Idempotency-Key' => 'one');
    is $again->status, 201, 'the same status';
    is $again->body, $first->body, 'the same body';
    is $again->header('Idempotency-Replayed'), 'true', 'said to be a replay';

    is request($key, {%phone, idempotencyKey => 'one'})->body, $first->body, 'the key may stand in the body';
    is request($key, {%phone, idempotencyKey => 'one', unknown => 2})->body, $first->body, 'what is unknown makes no difference';
    is request($key, {%phone, idempotencyKey => 'one'}, 'Idempotency-Key' => 'one')->status, 201, 'or in both';
    is request($key, {%phone, idempotencyKey => 'one'}, 'Idempotency-Key' => 'two')->status, 400, 'but not two different ones';
    is request($key, {%phone, firstName => 'Eve'}, 'Idempotency-Key' => 'one')->status, 422, 'another request under it is 422';
    is request($key, \%phone, 'Idempotency-Key' => '')->status, 400, 'an empty key is 400';
    is request($key, \%phone, 'Idempotency-Key' => 'x' x 256)->status, 400, 'an overlong key is 400';
    is lines_of($id), 1, 'one line came of it';

    my ($other_id, $other) = workspace('growth');
    isnt request($other, \%phone, 'Idempotency-Key' => 'one')->json('/line/_id'), $first->json('/line/_id'),
      'the key of one workspace is nothing to another';

    is $nginx->admin(PUT => "workspaces/$id", {subscription => 'canceled'})->status, 200, 'subscription canceled';
    is request($key, \%phone, 'Idempotency-Key' => 'one')->body, $first->body, 'the answer is still the same';
    is request($key, \%phone, 'Idempotency-Key' => 'three')->status, 403, 'a refusal';
    is $nginx->admin(PUT => "workspaces/$id", {subscription => 'active'})->status, 200, 'active again';
    is request($key, \%phone, 'Idempotency-Key' => 'three')->status, 201, 'is not kept: nothing had been created';

    my @records = $redis->client->keys("lines:{w:$id}:idem:*");
    cmp_ok $redis->client->ttl($_), '>', 86000, 'a record is kept for a day' for @records;
};

subtest 'two hundred requests with one key make one line' => sub {
    my ($id, $key) = workspace('growth');
    my @answers = concurrently(200, sub ($i) {
        $nginx->post_json_p('/api/line-requests', \%phone, $nginx->bearer($key, 'Idempotency-Key' => 'burst'));
    });

    my %status;
    $status{$_->status}++ for @answers;
    is_deeply [grep { $_ != 201 && $_ != 409 } keys %status], [], 'created, replayed or in progress' or diag explain \%status;

    my %ids = map { $_->json('/line/_id') => 1 } grep { $_->status == 201 } @answers;
    is keys %ids, 1, 'one line for all';
    is lines_of($id), 1, 'one line in Redis';
    is $redis->client->hget("lines:{w:$id}:t", 'phone_included'), 1, 'one place is taken';
};

subtest 'two hundred requests for two places' => sub {
    my ($id, $key) = workspace('growth');
    my @answers = concurrently(200, sub ($i) { $nginx->post_json_p('/api/line-requests', \%phone, $nginx->bearer($key)) });
    is grep({ $_->status == 201 } @answers), 2, 'two are given';
    is lines_of($id), 2, 'two lines';
};

subtest 'ids are ordered by time and never the same' => sub {
    my ($id, $key) = workspace('bulk');
    my $bulk = $t->nginx(name => 'bulk', redis => $redis, workers => 2, plans => "lines_plan bulk phone included=1000;\n");
    my @ids  = map { $bulk->post_json('/api/line-requests', \%phone, $bulk->bearer($key))->json('/line/_id') } 1 .. 20;
    is_deeply [sort @ids], \@ids, 'one after the other';

    my @answers = concurrently(300, sub ($i) { $bulk->post_json_p('/api/line-requests', \%phone, $bulk->bearer($key)) });
    my %seen    = map { $_->json('/line/_id') => 1 } @answers;
    is keys %seen, 300, 'all different';
};

subtest 'a downgrade takes nothing away, and failed lines free their place' => sub {
    my ($id, $key) = workspace('growth');
    my @ids = map { request($key, \%phone)->json('/line/_id') } 1, 2;

    is $nginx->admin(PUT => "workspaces/$id", {plan => 'starter'})->status, 200, 'downgraded to one phone line';
    is lines_of($id), 2, 'both lines stay';
    is request($key, \%phone)->status, 403, 'and no more can be had';

    is $nginx->admin(POST => "lines/$ids[0]/status", {status => 'failed', reason => 'no number'})->status, 200, 'one fails';
    is request($key, \%phone)->status, 403, 'the other one still takes the place';
    is $nginx->admin(POST => "lines/$ids[1]/status", {status => 'failed', reason => 'no number'})->status, 200, 'the other too';
    is request($key, \%phone)->status, 201, 'now there is room';
};

$t->done;
