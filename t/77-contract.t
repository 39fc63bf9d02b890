# What clients send, and what they are told of it: actions, texts, and who may still do what.

use Mojo::Base -strict, -signatures;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Compress::Gzip qw(gzip);
use Mojo::JSON qw(encode_json true false);
use Test::More;
use Test::Lines qw(concurrently);
use Test::Lines::Account;

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx(plans => $shop->plans . "lines_plan bulk phone included=1000;\nlines_plan bulk email included=1000;\n",
    server => '        location /v1/ { lines_workspace_api; } location /old/ { rewrite ^/old/(.*)$ /v1/$1 last; }' . "\n");
my $redis = $shop->redis;
my $one   = $shop->account('one');
my $key   = $shop->workspace('one', plan => 'bulk');
my $auth  = $nginx->bearer($key);
my %name  = (firstName => 'Ada', lastName => 'Lovelace');
my %phone = (%name, channelType => 'phone');
my %email = (%name, channelType => 'email', email => 'ada@example.com');
my $n     = 0;

$shop->numbers(3);

# a workspace of its own, with room for one line in the plan
sub workspace (%data) {
    my $id = 'org' . ++$n;
    return ($id, $shop->workspace($id, plan => 'growth', %data));
}

sub request ($key, $body, %headers) { $nginx->post_json('/api/line-requests', $body, $nginx->bearer($key, %headers)) }

# a body as it is, with these headers and no others
sub raw ($path, $headers, $body, $length = length $body) {
    my %all = (Host => 'x', Connection => 'close', (defined $length ? ('Content-Length' => $length) : ()), %$headers);
    my $answer = $nginx->raw(join "\r\n", "POST $path HTTP/1.1", (map {"$_: $all{$_}"} sort keys %all), '', $body);
    my ($status) = $answer =~ m{\AHTTP/1.1 (\d+)};
    my ($head, $text) = split /\r\n\r\n/, $answer, 2;
    return ($status, $text, $head);
}

my $json = 'application/json';

my @empty = (
    # what, headers, body, Content-Length
    ['no body at all',               {}, '', undef],
    ['of no length',                 {}, ''],
    ['of no length, of a type',      {'Content-Type' => $json}, ''],
    ['of no length, of another',     {'Content-Type' => 'text/plain'}, ''],
    ['of no length, but compressed', {'Content-Encoding' => 'gzip'}, ''],
    ['in no chunks',                 {'Transfer-Encoding' => 'chunked'}, "0\r\n\r\n", undef],
    ['in no chunks, of a type',      {'Transfer-Encoding' => 'chunked', 'Content-Type' => $json}, "0\r\n\r\n", undef],
    ['of white space',               {'Content-Type' => $json}, " \r\n\t"],
    ['of a space, of no type',       {}, ' '],
    ['of a line, of another',        {'Content-Type' => 'text/plain'}, "\r\n"],
    ['of a space in a chunk',        {'Transfer-Encoding' => 'chunked'}, "1\r\n \r\n0\r\n\r\n", undef],
);

subtest 'an action is judged after its id' => sub {
    my ($id, $key) = workspace(plan => 'paid');
    my $line = request($key, \%email)->json('/line/_id');
    my $bearer = {Authorization => "Bearer $key"};

    for my $bad ('nonsense', 'f' x 23, 'F' x 24) {
        for my $case (@empty, ['no JSON', {'Content-Type' => $json}, '{'], ['another type', {'Content-Type' => 'text/plain'}, 'x'],
            ['compressed', {'Content-Type' => $json, 'Content-Encoding' => 'gzip'}, 'x'])
        {
            my ($what, $headers, $body, @length) = @$case;
            my ($status, $text) = raw("/api/line-requests/$bad", {%$bearer, %$headers}, $body, @length);
            is "$status $text", '400 {"error":"Invalid line request id"}', "$bad: $what";
        }
    }

    # but for what no location of an API takes, whoever asks
    my ($large, $words) = raw('/api/line-requests/nonsense', {'Content-Type' => $json}, '', 1 << 40);
    is "$large $words", '413 {"error":"Request body is too large"}', 'too large';

    for (@empty) {
        my ($what, $headers, $body, @length) = @$_;
        my ($status, $text) = raw("/api/line-requests/$line", {%$bearer, %$headers}, $body, @length);
        is "$status $text", '400 {"error":"Unsupported action"}', "an empty body counts as {}: $what";
        ($status, $text) = raw('/api/line-requests', {%$bearer, %$headers}, $body, @length);
        is "$status $text", '400 {"error":"firstName is required"}', "... of a line request: $what";
    }

    my ($status, $text) = raw("/api/line-requests/$line", {%$bearer, 'Content-Type' => 'text/plain'}, '{"action":"cancel"}');
    is "$status $text", '415 {"error":"Content-Type must be application/json"}', 'one that is not empty has its type';
    ($status, $text) = raw("/api/line-requests/$line", {%$bearer, 'Transfer-Encoding' => 'chunked'}, "13\r\n{\"action\":\"cancel\"}\r\n0\r\n\r\n", undef);
    is "$status $text", '415 {"error":"Content-Type must be application/json"}', 'in chunks, too';
    is $shop->read($key, $line)->json('/status'), 'awaiting_payment', 'and nothing was done';
};

subtest 'a confirm without a body' => sub {
    for (@empty) {
        my ($what, $headers, $body, @length) = @$_;
        my ($status, $text) = raw('/accounts/lines/provision-confirm', {%{$one->{headers}}, %$headers}, $body, @length);
        is "$status $text", '400 {"status":"ERROR","message":"preview_token is required"}', $what;
        ($status, $text) = raw('/accounts/lines/add-line', {%{$one->{headers}}, %$headers}, $body, @length);
        is "$status $text", '400 {"status":"ERROR","message":"line_request_type must be phone"}', "add-line: $what";
    }
};

subtest 'a compressed body' => sub {
    gzip(\encode_json(\%phone), \my $zipped);
    my %gzip = ('Content-Type' => $json, 'Content-Encoding' => 'gzip');

    for (['/api/line-requests', $auth], ['/api/line-requests/' . 'f' x 24, $auth], ['/accounts/lines/provision-confirm', $one->{headers}],
        ['/accounts/lines/add-line', $one->{headers}], ['/_lines/admin/numbers', {Authorization => 'Bearer ' . $t->admin_token}])
    {
        my ($path, $headers) = @$_;
        my ($status, $text, $head) = raw($path, {%$headers, %gzip}, $zipped);
        is $status, 415, "$path: 415";
        like $text, qr/^\{"(?:error|status":"ERROR","message)":"Content-Encoding is not supported: send the body uncompressed"\}$/, '... says why';
        like $head, qr/^Accept-Encoding: identity\r$/m, '... and what instead';
    }

    for ("identity\r\nContent-Encoding: gzip", "gzip\r\nContent-Encoding: identity", 'identity, gzip', 'identity,gzip', 'identity;q=1', 'identityx') {
        my ($status, $text) = raw('/api/line-requests', {%$auth, 'Content-Type' => $json, 'Content-Encoding' => $_}, $zipped);
        is $status, 415, s/\r\n/ and /r;
        like $text, qr/Content-Encoding is not supported/, '... by name';
    }
    for ('Identity', 'identity, identity', "identity\r\nContent-Encoding: identity", '') {
        my ($status) = raw('/api/line-requests', {%$auth, 'Content-Type' => $json, 'Content-Encoding' => $_}, encode_json {%name});
        is $status, 400, 'identity is none: ' . s/\r\n/ and /r;
    }
};

# every text of a line request, and how many characters it may have
my %max = (firstName => 100, lastName => 100, zipcode => 10, state => 64, idempotencyKey => 255);

subtest 'lengths are characters' => sub {
    for my $field (sort keys %max) {
        for my $char ('x', 'é', '李', '👍') {
            my ($id, $key) = workspace();
            my $answer = request($key, {%phone, $field => $char x $max{$field}});
            is $answer->status, 201, "$field: $max{$field} of $char" or diag $answer->to_string;
            is $answer->json("/line/$field"), $char x $max{$field}, '... come back' if $field ne 'idempotencyKey';

            $answer = request($key, {%phone, $field => $char x ($max{$field} + 1)});
            is $answer->status, 400, '... one more does not';
            is $answer->body, qq({"error":"$field must have at most $max{$field} characters"}), '... in words';
        }
    }

    my ($id, $key) = workspace();
    my $url = 'https://example.com/' . 'é' x 2028;
    is request($key, {%phone, profileImageUrl => "${url}x"})->json('/error'), 'profileImageUrl must have at most 2048 characters', 'a URL';
    is request($key, {%phone, profileImageUrl => $url})->json('/line/profileImageUrl'), $url, '... of so many';

    my $header = Mojo::Util::encode('UTF-8', 'é' x 255);
    ($id, $key) = workspace();
    my $first = request($key, \%phone, 'Idempotency-Key' => $header);
    is $first->status, 201, 'an Idempotency-Key' or diag $first->to_string;
    is request($key, {%phone, idempotencyKey => 'é' x 255})->body, $first->body, '... is the one of the body';
    is request($key, \%phone, 'Idempotency-Key' => "${header}x")->body, '{"error":"Idempotency-Key must have at most 255 characters"}', '... no longer';

    ($id, $key) = workspace();
    my $line = request($key, \%phone)->json('/line/_id');
    my $report = sub ($reason) { $nginx->admin(POST => "lines/$line/status", {status => 'failed', reason => $reason}) };
    is $report->('é' x 501)->body, '{"error":"reason must have at most 500 characters"}', "the operator's reason";
    is $report->('é' x 500)->status, 200, '... of so many';
    is $shop->read($key, $line)->json('/line/reason'), 'é' x 500, '... for the client';

    my $confirm = sub ($token) { $shop->confirm($one, $token) };
    is $confirm->('é' x 1025)->body, '{"status":"ERROR","message":"preview_token must have at most 1024 characters"}', 'a preview token';
    is $confirm->('é' x 1024)->status, 410, '... of so many is none, but may be one';

    my $numbers = sub ($worker) { $nginx->admin(POST => 'numbers', {numbers => [{phone_number => '+14155550199', worker_id => $worker}]})->json('/error') };
    is $numbers->('x' x 129), 'worker_id must have at most 128 characters', 'a worker';
    is $numbers->('é'), 'worker_id must have printable ASCII characters only', '... of ASCII';
};

subtest 'what shows nothing is no name' => sub {
    my ($id, $key) = workspace();
    my %blank = (
        space => ' ', spaces => '    ', 'no-break' => "\x{a0}", ideographic => "\x{3000}", 'em space' => "\x{2003} \x{2009}",
        ogham => "\x{1680}", 'narrow no-break' => "\x{202f}", 'line separator' => "\x{2028}", 'paragraph separator' => "\x{2029}",
        'zero width' => "\x{200b}", 'byte-order mark' => "\x{feff}", 'word joiner' => "\x{2060}", filler => "\x{3164}"
    );

    # the ends of each range that Unicode calls ignorable by default
    $blank{sprintf 'U+%04X', $_} = chr for 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180f, 0x200f, 0x202a, 0x202e, 0x206f, 0x2800, 0xfe00,
      0xfe0f, 0xffa0, 0xfff0, 0xfff9, 0xfffb, 0x1bca0, 0x1bca3, 0x1d173, 0x1d17a, 0xe0000, 0xe0001, 0xe0020, 0xe0fff;

    for my $what (sort keys %blank) {
        for my $field (qw(firstName lastName state zipcode idempotencyKey)) {
            my $answer = request($key, {%phone, $field => $blank{$what}});
            is $answer->status, 400, "$field: $what";
            is $answer->body, qq({"error":"$field must not be blank"}), '... in words';
        }
    }

    like request($key, {%phone, zipcode => chr, state => chr, lastName => ''})->body, qr/lastName is required/, sprintf 'U+%04X shows', $_
      for 0x301, 0x34e, 0x350, 0x1161, 0x17b6, 0x1810, 0x2010, 0x2801, 0x3001, 0x3165, 0xfe10, 0xffa1, 0xfffc, 0x1f600, 0xe1000;
    is request($key, {%phone, $_ => ''})->body, qq({"error":"$_ is required"}), "an empty $_" for qw(firstName lastName);
    is $redis->cli(ZCARD => "lines:{w:$id}:lines"), 0, 'nothing was created';
    is request($key, {%phone, firstName => " \x{3000}Ada "})->json('/line/firstName'), " \x{3000}Ada ", 'white space around a name is left as it is';
};

subtest 'control characters' => sub {
    my ($id, $key) = workspace();

    for my $field (sort keys %max, 'email', 'forwardCallsTo', 'profileImageUrl') {
        for my $char ("\n", "\t", "\x1b", "\x7f", "\x{80}", "\x{85}", "\x{9f}") {
            my $answer = request($key, {%phone, $field => "a${char}b"});
            is $answer->status, 400, sprintf '%s: U+%04X', $field, ord $char;
            is $answer->body, qq({"error":"$field must not have control characters"}), '... in words';
        }
    }

    is request($key, \%phone, 'Idempotency-Key' => "a\tb")->body, '{"error":"Idempotency-Key must not have control characters"}', 'a header';
    is $shop->confirm($one, "a\nb")->body, '{"status":"ERROR","message":"preview_token must not have control characters"}', 'a token';
    is request($key, {%phone, firstName => "a\0b"})->body, '{"error":"Request body must not have the control character U+0000"}', 'the one that no JSON of ours has';
    my $line = request($key, \%phone)->json('/line/_id');
    is $nginx->admin(POST => "lines/$line/status", {status => 'failed', reason => "a\nb"})->body, '{"error":"reason must not have control characters"}', 'a reason';
    is request($key, {%phone, firstName => 7})->body, '{"error":"firstName must be a string"}', 'what is no text at all';
};

subtest 'lineType' => sub {
    my ($id, $key) = workspace(plan => 'bulk');

    for (undef, 'purchased') {
        my $answer = request($key, {%email, lineType => $_});
        is $answer->status, 201, 'an email line' or diag $answer->to_string;
        is $answer->json('/line/lineType'), 'purchased', '... is purchased, said or not';
        is $shop->read($key, $answer->json('/line/_id'))->json('/line/lineType'), 'purchased', '... as read';
    }

    for (qw(byon rented PURCHASED), '', 7, []) {
        is request($key, {%email, lineType => $_})->body, '{"error":"lineType of an email line must be \"purchased\""}', 'nothing else: ' . encode_json [$_];
        next if "$_" eq 'byon';
        is request($key, {%phone, lineType => $_})->body, '{"error":"lineType must be \"purchased\" or \"byon\""}', '... nor of a phone line';
    }

    is_deeply [map { $_->{lineType} } @{$nginx->get('/api/lines/by-user', $nginx->bearer($key))->json('/lines')}], [qw(purchased purchased)], 'listed';

    # one of before
    my ($line) = $redis->cli(ZRANGE => "lines:{w:$id}:lines", 0, 0);
    $line = ref $line ? $line->[0] : $line;
    $redis->line_before("w:$id", $line, type => '');
    $nginx->admin(POST => "lines/$line/status", {status => 'active'});
    is $shop->read($key, $line)->json('/line/lineType'), 'purchased', 'one of before, once it changes';
};

subtest 'no customer at billing' => sub {
    my ($id, $key) = workspace(customer => undef);
    is request($key, \%phone)->status, 201, 'what the plan includes needs none';

    my $answer = request($key, \%phone);
    is $answer->status, 403, 'what has to be paid for does';
    is $answer->json('/status'), 'subscription_required', '... and says so';
    like $answer->json('/message'), qr/no customer at billing/, '... in its own words';
    is $answer->json('/redirect'), '/billing', '... and where to go';

    ($id, $key) = workspace(plan => 'starter', customer => undef);
    is request($key, \%phone)->status, 201, 'in another plan, too';
    $answer = request($key, \%phone);
    is $answer->status, 403, 'what the plan does not sell is something else';
    is $answer->json('/status'), 'forbidden_line_type', '... by name';
    is $answer->json('/redirect'), undef, '... billing would not help';

    ($id, $key) = workspace(customer => undef);
    my %seen;
    $seen{$_->status . ($_->json('/status') // '')}++
      for concurrently(20, sub ($i) { $nginx->post_json_p('/api/line-requests', \%phone, $nginx->bearer($key)) });
    is_deeply \%seen, {'201provisioning' => 1, '403subscription_required' => 19}, 'twenty for the place that is included: no other answer';

    my $other = $shop->workspace('unknown-customer', plan => 'paid', customer => 'cus_nobody');
    $answer = request($other, \%email);
    is $answer->status, 402, 'one that billing does not know';
    is $answer->json('/reason'), 'subscription_required', '... by name';
    like $answer->json('/message'), qr/Billing does not know/, '... in words';
    is $answer->json('/redirect'), '/billing', '... and where to go';
    is $answer->json('/line/reason'), 'subscription_required', 'as the line says';
};

subtest 'Location' => sub {
    for (['in the plan', 'growth'], ['against payment', 'paid']) {
        my ($what, $plan) = @$_;
        my ($id, $key) = workspace(plan => $plan);
        my $body = $plan eq 'paid' ? \%email : \%phone;

        my $answer = request($key, $body, 'Idempotency-Key' => 'k');
        is $answer->status, 201, $what or diag $answer->to_string;
        is $answer->header('Location'), '/api/line-requests/' . $answer->json('/line/_id'), '... says where it is';
        is $nginx->get($answer->header('Location'), $nginx->bearer($key))->json('/line/_id'), $answer->json('/line/_id'), '... and there it is';

        my $again = request($key, $body, 'Idempotency-Key' => 'k');
        is $again->header('Idempotency-Replayed'), 'true', '... given again';
        is $again->header('Location'), $answer->header('Location'), '... with the same';
        is request($key, {})->header('Location'), undef, '... a refusal has none';
    }

    for my $prefix (qw(v1 old)) {
        my $answer = $nginx->post_json("/$prefix/line-requests", \%phone, $auth);
        is $answer->header('Location'), "/$prefix/line-requests/" . $answer->json('/line/_id'), "asked at /$prefix/: below it";
        is $nginx->get($answer->header('Location'), $auth)->json('/line/_id'), $answer->json('/line/_id'), '... and there it is';
    }
};

subtest 'validators of HTTP do not hide what was done' => sub {
    for my $header (['If-Match' => '"x"'], ['If-Unmodified-Since' => 'Sun, 06 Nov 1994 08:49:37 GMT'], ['If-None-Match' => '*']) {
        my ($id, $key) = workspace();
        is request($key, \%phone, @$header)->status, 201, "a request with $header->[0]";
        is $nginx->get('/api/lines/by-user', $nginx->bearer($key, @$header))->status, 200, '... and a read';
    }
};

subtest 'past due, none, canceled' => sub {
    my $set = sub ($id, $state) { $nginx->admin(PUT => "workspaces/$id", {subscription => $state}) };

    my ($id, $key) = workspace(plan => 'paid');
    my $created = request($key, \%email, 'Idempotency-Key' => 'k');
    my $line    = $created->json('/line/_id');

    $set->($id, 'past_due');
    my $refused = request($key, \%email);
    is $refused->status, 402, 'past due: no other line';
    is $refused->body, '{"error":"READ_ONLY","code":"READ_ONLY","reason":"past_due"}', '... in the documented words';
    is request($key, {})->status, 400, '... after what is wrong with the request';
    is request($key, \%email, 'Idempotency-Key' => 'k')->body, $created->body, '... but the answer of before';
    is $shop->read($key, $line)->status, 200, '... it is read';

    my $link = $shop->action($key, $line, 'payment_link');
    is $link->status, 200, '... and paid' or diag $link->to_string;
    is_deeply $link->json, {success => true, status => 'awaiting_payment', paymentUrl => $created->json('/paymentUrl'), invoiceId => $created->json('/invoiceId'), reused => true},
      '... by the same link';
    is $shop->action($key, 'f' x 24, 'payment_link')->status, 404, '... where it is there';
    my $cancel = $shop->action($key, $line, 'cancel');
    is $cancel->status, 200, '... or canceled' or diag $cancel->to_string;
    is $shop->action($key, $line, 'payment_link')->status, 409, '... which ends it';

    for my $state (qw(none canceled)) {
        ($id, $key) = workspace(plan => 'paid');
        $line = request($key, \%email)->json('/line/_id');
        $set->($id, $state);

        for my $answer (request($key, \%email), $shop->action($key, $line, 'payment_link')) {
            is $answer->status, 403, "$state: 403";
            is_deeply [sort keys %{$answer->json}], [qw(message redirect status success)], '... in the documented shape';
            is $answer->json('/status'), 'subscription_required', '... by name';
        }

        is $shop->action($key, 'f' x 24, 'payment_link')->status, 404, "$state: what is not there comes first";
        is $shop->action($key, $line, 'cancel')->status, 200, "$state: what is not wanted may be canceled";
    }
};

$t->done;
