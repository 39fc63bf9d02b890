# The module's own calls: what a carrier makes of every answer, and that nothing takes a call away.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json);
use Mojo::URL;
use Mojo::Util qw(url_escape);
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $t       = Test::Lines->new;
my $raw     = $t->_plugin('Test::Lines::Raw', name => 'raw', dir => $t->dir);
my $sandbox = $t->sandbox;
my $key     = $t->file('stripe.key', "sk_test_lines\n");
my $dead    = $t->free_port;

my $http = <<"END";
log_format key '\$request_uri key=[\$lines_billing_key]';
access_log access.key key;
lines_billing /_lines/billing/ key_file=$key deployment=prod plain=loopback rate=1000r/s budget=3s timeout=9s;
lines_billing_plan growth price=price_base;
upstream raw     { server 127.0.0.1:@{[$raw->port]}; keepalive 8; }
upstream sandbox { server 127.0.0.1:@{[$sandbox->port]}; keepalive 8; }
END

my $sound = <<'END';
    internal;
    proxy_intercept_errors off;
    proxy_next_upstream off;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host api.stripe.com;
    proxy_set_header Authorization "Bearer $lines_billing_key";
    proxy_connect_timeout 3s;
    proxy_send_timeout 5s;
    proxy_read_timeout 5s;
    subrequest_output_buffer_size 64k;
END

sub server ($to) {
    return <<"END";
location = /debug { lines_billing_debug; }
location /_lines/billing/ { $sound proxy_pass http://$to/; }
location /raw/ { $sound proxy_pass http://raw/; }
location /obeyed/ { internal; proxy_pass http://raw/; subrequest_output_buffer_size 64k; }
location /unbuffered/ { $sound proxy_buffering off; proxy_pass http://raw/; }
location /dead/ { $sound proxy_pass http://127.0.0.1:$dead/; }
location /static/ { internal; return 200 "static"; }
location /leak/ { proxy_set_header X-Key "\$lines_billing_key"; proxy_pass http://raw/; }
location = /secret { internal; return 200 "secret"; }
END
}

my @nginx = (module => 'failpoints', redis => $t->redis, http => $http, h2 => 1);

sub query (%args) {
    return '/debug?' . join '&', map { "$_=" . url_escape($args{$_}) } sort keys %args;
}

sub call ($nginx, %args) { $nginx->get(query(%args))->json // {} }

subtest 'a call ends as complete, unknown or unsent' => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'));
    $nginx->allow(qr{\[alert\].* a call to "[^"]+" would not go through "proxy_pass": it is not sent});

    my $plain = sub ($uri, %o) { call($nginx, op => 'plain', uri => $uri, %o) };

    my %ok = (transport => 'complete', status => 200);

    for my $location (qw(raw unbuffered)) {
        is_deeply $plain->("/$location/$_")->{transport}, 'complete', "$location: $_"
          for qw(ok chunked unbuffered empty status204 big65536 chunkedbig65536 slow300);

        for (qw(reset drop truncated cut big65537 chunkedbig65537)) {
            my $got = $plain->("/$location/$_");
            is $got->{transport}, 'unknown', "$location: $_";
            is $got->{length}, 0, "and nothing is made of it";
        }
    }

    is $plain->("/raw/endless")->{transport}, 'unknown', 'a body that only the close ends may be cut short';
    is $plain->("/raw/big65536")->{length}, 65536, 'the whole of 64k';

    for my $status (200, 201, 302, 400, 402, 404, 409, 429, 500, 502, 503, 504) {
        my $got = $plain->("/raw/status$status");
        is "$got->{transport} $got->{status}", "complete $status", "$status is the other side's own";
    }

    is $plain->('/dead/x')->{transport}, 'unsent', 'refused';
    is $plain->('/nowhere/x')->{transport}, 'unsent', 'no location';
    is $plain->('/static/x')->{transport}, 'unsent', 'no upstream';

    is $plain->('/raw/hang', timeout => 200)->{transport}, 'unknown', 'a timeout of the call';
    is $plain->('/raw/stall', timeout => 200)->{transport}, 'unknown', 'in mid-body';
    is $plain->('/raw/ok', timeout => 200, times => 5)->{transport}, 'complete', 'calls after one that was in time';

    is $plain->('/raw/redirect')->{body}, $plain->('/raw/ok')->{body}, 'X-Accel-Redirect is a header like others';
    is $plain->('/obeyed/redirect')->{body}, $plain->('/raw/ok')->{body}, 'and where other requests would obey it';

    my $mark = $raw->count;
    is $plain->('/raw/ok', method => 'POST', body => 'a=b&c=d')->{transport}, 'complete', 'a body';
    my $got = ($raw->requests)[$mark];
    is $got->{body}, 'a=b&c=d', 'is sent as it is';
    is $got->{headers}{'x-request-id'}, 'debug', 'with the id';
    like $got->{headers}{authorization}, qr/^Bearer ?$/, 'and without the key, for it is not a call of billing';
    ok !exists $got->{headers}{cookie} && !exists $got->{headers}{'user-agent'}, 'nothing of the client';

    $raw->clear;
    is $plain->('/raw/ok', times => 20)->{transport}, 'complete', 'twenty calls on one carrier';
    is $raw->count, 20, 'are twenty';
    my %connections = map { $_->{connection} => 1 } $raw->requests;
    cmp_ok scalar keys %connections, '<=', 2, 'over a connection that is kept alive';

    $nginx->quit;
};

subtest "the key shows in billing's calls only" => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'));

    $raw->clear;
    is call($nginx, op => 'invoice', id => 'in_1')->{outcome}, 'ok', 'a call of billing';
    is(($raw->requests)[0]{headers}{authorization}, 'Bearer sk_test_lines', 'has it');
    is(($raw->requests)[0]{headers}{'stripe-version'}, '2026-10-28.endive', 'and the version');

    is $nginx->get('/leak/ok')->status, 200, "a client's request";
    is(($raw->requests)[1]{headers}{'x-key'}, undef, 'has it not');

    $raw->clear;
    call($nginx, op => 'void', id => 'in_1', key => 'lines:a:void:1');
    my $void = ($raw->requests)[0];
    is $void->{line}, 'POST /v1/invoices/in_1/void HTTP/1.1', 'POST';
    is $void->{headers}{'idempotency-key'}, 'lines:a:void:1', 'has a key';
    is $void->{headers}{'content-length'}, 0, 'and a length';

    $raw->clear;
    call($nginx, op => 'invoice', id => 'in/../x?y=1');
    my $line = $raw->count ? ($raw->requests)[0]{line} : '';
    like $line, qr{^GET /v1/invoices/[^/? ]+ HTTP/1\.1$}, 'an id stays in its segment';

    $nginx->quit;

    my $log = Mojo::File::path($nginx->home, 'access.key')->slurp;
    like $log, qr/key=\[\]/, 'a log format that names it';
    unlike $log . $nginx->error_log, qr/sk_test/, 'does not show it, nor does the error log';

    my (undef, $dump) = $nginx->test_config('-T');
    like $dump, qr/lines_billing_key/, 'nginx -T shows its name';
    unlike $dump, qr/sk_test/, 'and not the key';
};

subtest 'repeats within the budget' => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'));

    my $got = call($nginx, op => 'invoice', id => 'again3');
    is $got->{outcome}, 'ok', '409 twice, then an answer';
    is $got->{tries}, 3, 'at the third try';

    $raw->clear;
    my $start = Time::HiRes::time();
    $got = call($nginx, op => 'invoice', id => 'again99');
    is $got->{outcome}, 'retry', '409 for ever';
    cmp_ok $got->{tries}, '>', 2, 'is tried';
    cmp_ok $got->{tries}, '<', 25, 'a bounded number of times';
    is $raw->count, $got->{tries}, 'and no more';

    $got = call($nginx, op => 'invoice', id => 'status429');
    is "$got->{outcome} $got->{tries} $got->{retry_after}", 'retry 1 7', 'a Retry-After beyond the budget is not waited for, but told';
    is $got->{request_id}, 'req_429', 'with the id of the request';

    is call($nginx, op => 'invoice', id => "status$_->[0]")->{outcome}, $_->[1], "$_->[0] is $_->[1]"
      for [400 => 'refused'], [402 => 'refused'], [404 => 'refused'], [500 => 'unknown'], [502 => 'unknown'],
      [503 => 'unknown'], [401 => 'alert'], [403 => 'alert'], [302 => 'unknown'];

    is call($nginx, op => 'invoice', id => $_)->{outcome}, 'unknown', "$_ is unknown" for qw(drop truncated big65537 empty);
    is call($nginx, op => 'customer', id => 'ok')->{outcome}, 'unknown', 'an answer about something else is unknown';
    is call($nginx, op => 'cancel', id => 'missing404')->{outcome}, 'ok', 'to cancel what is gone is done';
    is call($nginx, op => 'cancel', id => 'status404')->{outcome}, 'refused', '... which a 404 alone does not say: of a path, perhaps';

    $nginx->server(server("127.0.0.1:$dead"));
    $nginx->reload(wait_old => 1);
    is call($nginx, op => 'invoice', id => 'in_1')->{outcome}, 'unsent', 'nobody there: not sent';
    is call($nginx, op => 'find', id => 'cus_1')->{outcome}, 'unsent', 'a list neither';
    $nginx->quit;
};

subtest "Stripe's calls" => sub {
    my ($node, $why) = eval { require Test::Lines::Prism; Test::Lines::Prism->available };
    my $prism = $node ? $t->prism(upstream => $sandbox->url) : undef;
    diag "without Prism: $why" unless $prism;

    my $nginx = $t->nginx(@nginx, server => server('127.0.0.1:' . ($prism // $sandbox)->port));
    my $secret = 'sk_test_lines';

    my %line = (line => 'aaaaaaaaaaaaaaaaaaaaaaaa', tenant => 'w:one', attempt => 1);
    my %addon = (op => 'addon', id => 'cus_card', price => 'price_phone', key => 'lines:a:sub:1', %line);

    my $first = call($nginx, %addon);
    is $first->{outcome}, 'ok', 'an add-on' or diag explain $first;
    is $first->{subscription}{status}, 'incomplete', 'waits for its payment';
    is $first->{subscription}{line}, $line{line}, 'and names the line';
    is $first->{subscription}{attempt}, 1, 'and the attempt';
    is $first->{subscription}{price}, 'price_phone', 'and the price';
    is $first->{invoice}{status}, 'open', 'its invoice is open';
    like $first->{invoice}{url}, qr{^http}, 'with a link';

    is_deeply call($nginx, %addon)->{subscription}, $first->{subscription}, 'the same key makes no other';
    is call($nginx, %addon, price => 'price_email')->{outcome}, 'unknown', 'what the same key for something else made is to be looked up';
    is call($nginx, %addon, id => 'cus_missing', key => 'k2')->{outcome}, 'missing', 'an unknown customer is missing';

    my $invoice = call($nginx, op => 'invoice', id => $first->{invoice}{id});
    is $invoice->{invoice}{status}, 'open', 'the invoice, read';
    is $invoice->{invoice}{subscription}, $first->{subscription}{id}, 'names its subscription';
    is $invoice->{invoice}{line}, $line{line}, 'and the line';

    my $again = call($nginx, op => 'subscription', id => $first->{subscription}{id});
    is $again->{invoice}{id}, $first->{invoice}{id}, 'the subscription, read, has its invoice';

    is call($nginx, op => 'void', id => $first->{invoice}{id}, key => 'lines:a:void:1')->{invoice}{status}, 'void', 'voided';
    is call($nginx, op => 'void', id => $first->{invoice}{id}, key => 'lines:a:void:2')->{outcome}, 'refused', 'once';
    is call($nginx, op => 'cancel', id => $first->{subscription}{id})->{outcome}, 'ok', 'canceled';
    is call($nginx, op => 'cancel', id => $first->{subscription}{id})->{outcome}, 'ok', 'again';

    is call($nginx, op => 'customer', id => 'cus_nocard')->{payment_method}, '', 'no card';
    my $card = call($nginx, op => 'customer', id => 'cus_card')->{payment_method};
    like $card, qr/^pm_/, 'a card';
    is call($nginx, op => 'card', id => 'cus_nocard')->{outcome}, 'ok', 'cards of one who has none';
    is call($nginx, op => 'card', id => 'cus_nocard')->{payment_method}, '', 'are none';
    is call($nginx, op => 'card', id => 'cus_card')->{payment_method}, $card, 'of one who has one, it';

    my %charge = (op => 'charge', id => 'cus_card', price => 'price_agent', card => $card, tenant => 'a:one');
    my $charge = call($nginx, %charge, key => 'lines:b:sub:1');
    is $charge->{outcome}, 'ok', 'a charge' or diag explain $charge;
    is $charge->{subscription}{status}, 'active', 'is paid';

    my $declined = call($nginx, %charge, id => 'cus_declined', key => 'lines:c:sub:1',
        card => call($nginx, op => 'customer', id => 'cus_declined')->{payment_method});
    is "$declined->{outcome} $declined->{status}", 'refused 402', 'a card is declined';
    is "$declined->{type} $declined->{code}", 'card_error card_declined', 'and says why';

    my $paid = call($nginx, op => 'invoice', id => $charge->{invoice}{id});
    cmp_ok $paid->{invoice}{amount_paid}, '>', 0, 'an amount was paid';
    my $note = call($nginx, op => 'repay', id => $charge->{invoice}{id}, amount => $paid->{invoice}{amount_paid},
        tenant => 'a:one', key => 'lines:b:refund');
    is $note->{outcome}, 'ok', 'and is paid back';
    is $sandbox->call(GET => "/v1/invoices/$charge->{invoice}{id}")->json('/post_payment_credit_notes_amount'), $paid->{invoice}{amount_paid},
        'which the invoice tells';
    is call($nginx, op => 'repay', id => $charge->{invoice}{id}, amount => 1, key => 'lines:b:refund:2')->{outcome}, 'refused', 'not twice';

    $sandbox->call(POST => '/v1/subscriptions', {customer => 'cus_card', 'items[0][price]' => 'price_phone',
        payment_behavior => 'default_incomplete', 'metadata[lines_deployment]' => 'other',
        'metadata[line_request]' => $line{line}, 'metadata[tenant]' => 'w:one'}, {'Idempotency-Key' => "other$_"}) for 1 .. 12;

    my $find = call($nginx, op => 'find', id => 'cus_card', line => $line{line}, tenant => 'w:one');
    is_deeply $find->{subscriptions}, [$first->{subscription}{id}], 'found among many pages, canceled as it is'
      or diag explain $find;
    is_deeply call($nginx, op => 'find', id => 'cus_card', line => $line{line}, tenant => 'w:two')->{subscriptions}, [], "another tenant's is not";
    is_deeply call($nginx, op => 'find', id => 'cus_card', %line, attempt => 2)->{subscriptions}, [], 'nor another attempt';
    is scalar @{call($nginx, op => 'list', id => 'cus_card')->{subscriptions}}, 14, 'all of them';
    is_deeply call($nginx, op => 'list', id => 'cus_card', price => 'price_agent')->{subscriptions}, [$charge->{subscription}{id}], 'or those of a price';

    $sandbox->fault(path => '/v1/subscriptions', kind => '500', times => 1);
    is call($nginx, op => 'find', id => 'cus_card', %line)->{outcome}, 'unknown', 'half a list is no list';
    $sandbox->clear_faults;

    for (['429', 1, 'ok'], ['409', 2, 'ok'], ['500', 1, 'unknown'], ['drop_before', 1, 'unknown'], ['drop_after', 1, 'unknown']) {
        my ($kind, $times, $outcome) = @$_;
        $sandbox->fault(path => '/v1/subscriptions', kind => $kind, times => $times);
        my $got = call($nginx, %addon, line => 'b' x 24, key => "lines:$kind:sub:1");
        is $got->{outcome}, $outcome, "$kind: $outcome" or diag explain $got;
        is call($nginx, %addon, line => 'b' x 24, key => "lines:$kind:sub:1")->{outcome}, 'ok', 'the same key settles it';
        $sandbox->clear_faults;
    }

    is scalar(grep { ($_->{metadata}{line_request} // '') eq 'b' x 24 } $sandbox->ledger('subscription')), 5, 'one subscription for each key';
    is_deeply [$prism->refusals], [], 'the schema refuses nothing' if $prism;

    $nginx->quit;
};

subtest 'a key of another mode' => sub {
    my $live  = $t->file('live.key', "sk_live_lines\n");
    my $nginx = $t->nginx(@nginx, http => $http =~ s/\Q$key\E/$live/r, server => server('raw'));
    is call($nginx, op => 'invoice', id => 'in_1')->{outcome}, 'alert', 'is somebody else\'s object';
    $nginx->quit;
};

subtest 'TLS is verified' => sub {
    my $dir  = $t->dir;
    my $cert = sub ($file, $name) {
        qx(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$name -addext subjectAltName=DNS:$name -keyout $dir/$file.key -out $dir/$file.pem 2>&1);
    };
    $cert->(right => 'api.stripe.com');
    $cert->(other => 'api.stripe.com');
    $cert->(named => 'example.com');

    my %invoice = (object => 'invoice', id => 'in_1', status => 'open', amount_paid => 0, livemode => \0);
    my %up = map { $_ => $t->upstream(name => $_, json => \%invoice, tls => {cert => "$dir/$_.pem", key => "$dir/$_.key"}) }
      qw(right named);

    my $tls = sub ($up, $trusted) {
        return "location = /debug { lines_billing_debug; }\nlocation /_lines/billing/ { $sound"
          . "proxy_ssl_verify on; proxy_ssl_server_name on; proxy_ssl_name api.stripe.com;"
          . "proxy_ssl_trusted_certificate $dir/$trusted.pem; proxy_pass https://127.0.0.1:" . $up{$up}->port . '/; }';
    };

    for ([right => 'right', 'ok'], [right => 'other', 'unsent'], [named => 'named', 'unsent']) {
        my ($up, $trusted, $outcome) = @$_;
        my $nginx = $t->nginx(@nginx, server => $tls->($up, $trusted));
        my $got   = call($nginx, op => 'invoice', id => 'in_1');
        is $got->{outcome}, $outcome, "$up, where $trusted is trusted: $outcome";
        $nginx->quit;
    }

    is scalar @{$up{right}->requests}, 1, 'one request was sent';
    is scalar @{$up{named}->requests}, 0, 'and none to who is not Stripe';
};

subtest 'failpoints' => sub {
    my $nginx = $t->nginx(@nginx, http => $http . "lines_failpoint billing.before.invoice:2; lines_failpoint billing.after.customer;\n",
        server => server('raw'));
    $nginx->allow(qr/exited on signal 9/);

    my ($first) = $nginx->pids;
    my $changed = sub ($from) {
        wait_for(sub { my ($now) = $nginx->pids; $now && $now != $from && $nginx->get('/leak/ok')->status == 200 && $now }, 30, 'another worker');
    };

    $raw->clear;
    is call($nginx, op => 'invoice', id => 'in_1')->{outcome}, 'ok', 'the first pass';
    is $nginx->get(query(op => 'invoice', id => 'in_1'))->status, 0, 'the second pass kills';
    is $raw->count(qr/invoices/), 1, 'before the call';
    my $second = $changed->($first);
    is call($nginx, op => 'invoice', id => 'in_1', times => 3)->{outcome}, 'ok', 'once only';

    is $nginx->get(query(op => 'customer', id => 'cus_1'))->status, 0, 'another point';
    is $raw->count(qr/customers/), 1, 'after the call';
    $changed->($second);
    $nginx->quit;

    my ($code, $output) = $t->test_config(module => 'failpoints', http => 'lines_failpoint x:0;');
    isnt $code, 0, 'a point that never comes is refused';
    like $output, qr/invalid value "x:0" of "lines_failpoint"/, 'by name';
};

# HTTP/2 by hand: one request, then a reset of its stream
sub h2_start ($nginx, $path) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nginx->h2_port) or return;
    my $frame  = sub ($type, $flags, $stream, $payload) {
        return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
    };
    my $literal = sub ($index, $value) {
        my $length = length $value;
        return pack('C', $index) . ($length < 127 ? pack('C', $length) : pack('CC', 127, $length - 127)) . $value;
    };
    my $headers = "\x82\x86" . $literal->(0x04, $path) . $literal->(0x01, 'x');
    syswrite $socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . $frame->(4, 0, 0, '') . $frame->(1, 5, 1, $headers);
    return sub ($code) { syswrite $socket, $frame->(3, 0, 1, pack 'N', $code); close $socket };
}

sub ended ($nginx, $mark = 0) { scalar(() = $nginx->error_log($mark) =~ /debug call ended: \S/g) }

subtest 'clients that leave' => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'), workers => 2);
    my $query = query(op => 'invoice', id => 'slow150', times => 3);

    $raw->clear;
    my $n = 60;

    for (1 .. $n) {
        my $socket = $nginx->socket;
        syswrite $socket, "GET $query HTTP/1.1\r\nHost: x\r\n\r\n";
        push @{$t->{sockets}}, $socket;
    }

    wait_for(sub { $raw->count >= $n }, 30, 'first calls');
    Test::Lines::Client->reset_connection($_) for splice @{$t->{sockets}};
    wait_for(sub { ended($nginx) == $n }, 60, 'every call to end');
    is $raw->count, 3 * $n, 'HTTP/1.1: each made all of its calls';

    $raw->clear;
    my $mark = $nginx->log_mark;
    my @resets = map { h2_start($nginx, $query) } 1 .. $n;
    wait_for(sub { $raw->count >= $n }, 30, 'first calls');
    $_->(8) for @resets;
    wait_for(sub { ended($nginx, $mark) == $n }, 60, 'every call to end');
    is $raw->count, 3 * $n, 'HTTP/2: so did these';

    my @lines = $nginx->error_log =~ /debug call ended: (\{.*\})/g;
    is scalar(grep { decode_json($_)->{outcome} eq 'ok' } @lines), 2 * $n, 'and every one got its answer';
    $nginx->quit;
};

subtest 'reload, shutdown, timeouts of the shutdown' => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'), main => 'worker_shutdown_timeout 1s;');
    my $query = query(op => 'invoice', id => 'slow2500', times => 2);
    my $n     = 20;

    my $start = sub {
        return map {
            my $socket = $nginx->socket;
            syswrite $socket, "GET $query HTTP/1.1\r\nHost: x\r\n\r\n";
            $socket;
        } 1 .. $n;
    };

    $raw->clear;
    my @sockets = $start->();
    wait_for(sub { $raw->count >= $n }, 30, 'first calls');
    $nginx->reload(wait_old => 1);
    is ended($nginx), $n, 'a reload waits for calls, although clients were closed';
    is $raw->count, 2 * $n, 'all of them';

    $raw->clear;
    my $mark = $nginx->log_mark;
    @sockets = $start->();
    wait_for(sub { $raw->count >= $n }, 30, 'first calls');
    $nginx->quit;
    is ended($nginx, $mark), $n, 'so does a graceful end';
    is $raw->count, 2 * $n, 'all of them';
};

subtest 'no connections left' => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'), connections => 64);
    $nginx->allow(qr/\[alert\].*worker_connections are not enough/);

    my $path    = query(op => 'invoice', id => 'slow700', times => 2);
    my @answers = concurrently(45, sub ($i) { $nginx->get_p($path) });

    my %status;
    $status{$_->status}++ for @answers;
    note explain \%status;

    is scalar(grep { $_->status != 200 && $_->status != 503 && $_->status != 0 } @answers), 0, 'answers, or 503, or no connection at all';
    my @done = grep { $_->status == 200 } @answers;
    cmp_ok scalar @done, '>', 0, 'some are done';
    is scalar(grep { $_->json->{outcome} !~ /^(?:ok|unsent)$/ } @done), 0, 'each of them whole, or surely not sent';

    wait_for(sub { (call($nginx, op => 'invoice', id => 'in_1')->{outcome} // '') eq 'ok' }, 30, 'room again');
    pass 'and then there is room again';
    $nginx->quit;
};

subtest 'an upstream that comes and goes' => sub {
    my $nginx = $t->nginx(@nginx, server => server('raw'));

    is call($nginx, op => 'invoice', id => 'in_1')->{outcome}, 'ok', 'there';
    my $port = $raw->port;
    $raw->kill;
    my $gone = call($nginx, op => 'invoice', id => 'in_1');
    like $gone->{outcome}, qr/^(?:unknown|unsent)$/, 'gone, with a connection that was kept alive';
    wait_for(sub { call($nginx, op => 'invoice', id => 'in_1')->{outcome} eq 'unsent' }, 30, 'refused connections');
    $raw->start;
    wait_for(sub { call($nginx, op => 'invoice', id => 'in_1')->{outcome} eq 'ok' }, 60, 'it again');
    pass 'there again';

    # the same memory, however many calls: a carrier is freed
    my ($pid) = $nginx->pids;
    my $size = sub {
        open my $statm, '<', "/proc/$pid/statm" or die "statm: $!";
        return (split ' ', readline $statm)[1];
    };
    my $many = sub { concurrently(400, sub ($i) { $nginx->get_p(query(op => 'invoice', id => 'in_1', times => 5)) }, 20) };
    $many->();
    my $before = $size->();
    $many->() for 1 .. 2;

    SKIP: {
        skip 'sanitizers and valgrind keep what was freed', 1 if $ENV{LINES_PRELOAD} || $ENV{LINES_VALGRIND};
        cmp_ok $size->() - $before, '<', 512, 'memory is flat';
    }

    $nginx->quit;
};

$t->done;
