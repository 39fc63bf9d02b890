# The webhook's door: signatures over the raw bytes, sizes, rotation, what is not ours.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json decode_json true false);
use Test::More;
use Test::Lines;

my $SECRET = 'whsec_test_4bQ9kzXw1m7RfV2nC8sLhT3yJ6pD5aGe';
my $NEXT   = 'whsec_next_1111111111111111111111111111';

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $old   = $t->file('hook.old', "$SECRET\n");
my $new   = $t->file('hook.new', "$NEXT\n");
my $key   = $t->file('stripe.key', "sk_test_lines\n");
my $dead  = $t->free_port;

my $billing = <<"END";
lines_billing /_lines/billing/ key_file=$key deployment=prod plain=loopback;
END

my $server = <<"END";
location /_lines/billing/ {
    internal;
    proxy_pass http://127.0.0.1:$dead/;
    proxy_next_upstream off;
    proxy_ignore_headers X-Accel-Redirect;
    subrequest_output_buffer_size 64k;
}
location = /hook { lines_billing_webhook secret_file=$old secret_file=$new; }
location = /short { lines_billing_webhook secret_file=$old tolerance=10s; }
END

my $nginx = $t->nginx(redis => $redis, http => $billing, server => $server);

sub signature ($body, %o) {
    my $at = $o{at} // time;
    return "t=$at,v1=" . hmac_sha256_hex("$at.$body", $o{secret} // $SECRET);
}

sub send_event ($event, %o) {
    my $body = ref $event ? encode_json($event) : $event;
    my $path = $o{path} // '/hook';
    return $nginx->request(
        POST => $path,
        {'Content-Type' => 'application/json', 'Stripe-Signature' => $o{header} // signature($body, %o)}, $body
    );
}

sub event (%o) {
    return {
        id       => 'evt_1',
        object   => 'event',
        type     => 'ping.pong',
        livemode => false,
        data     => {object => {id => 'x_1', object => 'other'}},
        %o
    };
}

subtest 'a signature' => sub {
    my $answer = send_event(event());
    is $answer->status, 200, 'is accepted';
    is_deeply $answer->json, {received => true}, 'and the event is said to be received';

    is send_event(event(), secret => $NEXT)->status, 200, 'by the second secret, too';
    is send_event(event(), secret => 'whsec_other')->status, 400, 'by a third it is not';

    is send_event(event(), at => time - 290)->status, 200, 'may be a few minutes old';
    is send_event(event(), at => time - 310)->status, 400, 'but not more than five';
    is send_event(event(), at => time + 310)->status, 400, 'nor from the future';
    is send_event(event(), at => time - 12, path => '/short')->status, 400, 'tolerance= is heeded';
    is send_event(event(), path => '/short')->status, 200, 'for old ones only';

    my $body = encode_json(event());
    is $nginx->request(POST => '/hook', {'Content-Type' => 'application/json'}, $body)->status, 400, 'must be there';
    is $nginx->request(POST => '/hook',
        {'Stripe-Signature' => [signature($body), signature($body)], 'Content-Type' => 'application/json'}, $body)->status,
        400, 'only once';
    is send_event("$body ", header => signature($body))->status, 400, 'covers each byte';
    is send_event('', header => signature(''))->status, 400, 'an empty body is none';
    is send_event('{"id":', header => signature('{"id":'))->status, 400, 'nor are bytes that are no JSON an event';
    is send_event('[]', header => signature('[]'))->status, 400, 'nor is a list';
    is send_event('{"object":"event","id":"","type":"x"}')->status, 400, 'nor one without an id';
    unlike $nginx->error_log, qr/whsec/, 'no secret in the log';
};

subtest 'a body' => sub {
    my $fits = encode_json(event(pad => 'x' x (256 * 1024 - 200)));
    is send_event($fits)->status, 200, 'of nearly 256k is taken';

    my $large = encode_json(event(pad => 'x' x (256 * 1024)));
    is send_event($large)->status, 413, 'of more is refused';

    my $body = encode_json(event(pad => 'y' x 100_000));
    my $at   = signature($body);
    my $chunks = join '', map { sprintf "%x\r\n%s\r\n", length $_, $_ } $body =~ /(.{1,9973})/gs;
    like $nginx->raw("POST /hook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nStripe-Signature: $at\r\n"
          . "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n"),
        qr{^HTTP/1\.1 200 }, 'may come in chunks';

    is $nginx->get('/hook')->status, 405, 'GET is not allowed';
};

subtest 'what is not ours' => sub {
    my $invoice = {
        id       => 'in_1', object => 'invoice', status => 'paid', customer => 'cus_1', livemode => false,
        parent   => {subscription_details => {subscription => 'sub_1', metadata => {lines_deployment => 'other', tenant => 'w:one'}}}
    };

    is send_event(event(type => 'invoice.paid', livemode => true, data => {object => {%$invoice, livemode => true}}))->status,
        200, 'another livemode is ignored';
    like $nginx->error_log, qr/evt_1.*another livemode/, 'and said so in the log';

    is send_event({id => 'evt_1', object => 'event', type => 'invoice.paid', data => {object => {id => 'sub_1'}}})->status,
        200, 'an event that lacks nearly everything is ignored';
};

subtest 'the directive' => sub {
    my @wrong = (
        ['' => qr/invalid number of arguments in "lines_billing_webhook"/],
        ['tolerance=5s' => qr/"lines_billing_webhook" lacks "secret_file="/],
        ["secret_file=$old tolerance=x" => qr/invalid parameter "tolerance=x" of "lines_billing_webhook"/],
        ["secret_file=/nowhere/x" => qr/"lines_billing_webhook": open\(\) "\/nowhere\/x" failed/],
        ["secret=whsec_1" => qr/invalid parameter "secret=whsec_1"/],
    );

    for (@wrong) {
        my ($value, $message) = @$_;
        my ($code, $output) = $t->test_config(http => $billing,
            server => $server . "location = /other { lines_billing_webhook $value; }");
        isnt $code, 0, "\"$value\" is refused";
        like $output, $message, 'and says why';
    }

    chmod 0644, $old;
    my ($code, $output) = $t->test_config(redis => $redis, http => $billing, server => $server);
    is $code, 0, 'a secret that everybody may read is none to refuse' or diag $output;
    like $output, qr/\[warn\].*everybody may read the secret/, 'but to warn of';
    chmod 0600, $old;

    my (undef, $dump) = $nginx->test_config('-T');
    unlike $dump, qr/whsec_|sk_test/, 'nginx -T shows no secret';
};

subtest 'the acceptance corpus' => sub {
    my $corpora = $ENV{LINES_CORPORA} || $t->root . '/t/corpora';

    plan skip_all => 'no acceptance corpus beside the project (LINES_CORPORA)' unless -f "$corpora/drive.mjs";
    plan skip_all => 'node is not there' if system('node -e "process.exit(0)" 2>/dev/null') != 0;

    my $keys = $t->dir . '/keys';
    is system("node \Q$corpora/keys.mjs\E \Q$keys\E >/dev/null"), 0, 'keys are made';

    is decode_json(path("$keys/settings.json")->slurp)->{stripe_secret}, $SECRET, 'the corpus signs with our secret';

    my $command = join ' ', map { quotemeta } 'node', "$corpora/drive.mjs", '--url', $nginx->url(''), '--path', '/hook',
        '--suite', 'stripe', '--keys', $keys;
    my $output = `$command 2>&1`;

    is $? >> 8, 0, 'the driver is content' or diag $output;
    like $output, qr/^(\d+) cases, \1 agree, 0 disagree/m, 'all agree';
    note $output;
};

$t->done;
