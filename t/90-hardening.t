# Small bolts: a webhook without a signature that may be one is not kept, answers are no pages, a live key does not leave in the clear.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use IO::Select;
use Test::More;
use Test::Lines qw(wait_for);

my $t      = Test::Lines->new;
my $redis  = $t->redis;
my $app    = $t->upstream(json => {});
my $secret = $t->file('webhook.key', "whsec_test\n");
my $live   = $t->file('live.key',    "sk_live_x\n");
chmod 0600, $secret, $live;

my $nginx = $t->nginx(redis => $redis, debug => 1, server => <<"END");
location = /hook  { lines_billing_webhook secret_file=$secret; }
location = /short { lines_billing_webhook secret_file=$secret tolerance=30s; }
location = /own   { lines_billing_webhook secret_file=$secret; add_header X-Content-Type-Options theirs always; }
location /denied/ { lines_auth workspace; deny all; }
location /app/    { lines_auth workspace; proxy_pass @{[$app->url]}; }
END

my $key = $nginx->workspace('one');

our $path = '/hook';
sub hook (@headers) { return join '', "POST $path HTTP/1.1\r\nHost: x\r\n", (map {"$_\r\n"} @headers), "\r\n" }

# what comes of it until it is an answer; nginx lingers for the body
sub answer ($request) {
    my $socket = $nginx->socket;
    my ($in, $select) = ('', IO::Select->new($socket));
    print $socket $request;
    while ($in !~ /\}\s*$/ && $select->can_read(20)) { sysread $socket, $in, 65536, length $in or last }
    return $in;
}

subtest 'a webhook without a signature' => sub {
    my $mac    = hmac_sha256_hex('x');
    my $signed = 't=' . time . ",v1=$mac";

    for (
        ['none',  [],                                                                             'no-signature|signature-missing'],
        ['empty', ['Stripe-Signature: '],                                                         'no-signature|signature-missing'],
        ['two',   ["Stripe-Signature: $signed", "Stripe-Signature: $signed"],                     'two-signatures'],

        # what is wrong with it shows before there is a body
        ['no list',     ['Stripe-Signature: x'],                                                  'signature-missing'],
        ['no v1',       ['Stripe-Signature: t=' . time],                                          'signature-missing'],
        ['no time',     ["Stripe-Signature: v1=$mac"],                                            'signature-malformed'],
        ['of the past', ["Stripe-Signature: t=1,v1=$mac"],                                        'signature-too-old'],
        ['just gone',   ['Stripe-Signature: t=' . (time - 302) . ",v1=$mac"],                     'signature-too-old'],
        ['to come',     ['Stripe-Signature: t=' . (time + 900) . ",v1=$mac"],                     'signature-in-future'],
        ['by tolerance', ['Stripe-Signature: t=' . (time - 60) . ",v1=$mac"],                     'signature-too-old', '/short'],
      )
    {
        my ($what, $headers, $reason) = @$_;
        local $path = $_->[3] // '/hook';
        my $mark = $nginx->log_mark;

        # the body never comes: who waited for it would not answer
        my $answer = answer(hook(@$headers, 'Content-Length: 200000', 'Connection: close'));
        like $answer, qr{^HTTP/1\.1 400 .*Invalid signature}s, "$what: refused before the body is there";
        $answer = answer(hook(@$headers, 'Content-Length: 200000', 'Expect: 100-continue', 'Connection: close'));
        like $answer, qr{^HTTP/1\.1 400 }, '... which is not asked for';
        $nginx->wait_log(qr/webhook refused: (?:$reason)/, $mark);
        unlike $nginx->error_log($mark), qr/lines body:/, '... and not read';
    }

    like $nginx->raw(hook("Stripe-Signature: $signed", 'Content-Length: 5', 'Expect: 100-continue', 'Connection: close') . 'abcde', timeout => 20),
        qr{^HTTP/1\.1 100 .*HTTP/1\.1 400 .*Invalid signature}s, 'where it may be right the body is asked for';

    my $two = $nginx->raw(hook('Content-Length: 5') . 'abcde' . hook('Content-Length: 0', 'Connection: close'), timeout => 20);
    is scalar(() = $two =~ m{HTTP/1\.1 400 }g), 2, 'the next request on the connection is understood';

    my $body = '{"id":"evt_1","object":"event","type":"x","livemode":false,"created":1,"data":{"object":{}}}';
    my $at   = time;
    is $nginx->post('/hook', $body, {'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')})->status, 200, 'with one it counts';
    is $nginx->post('/hook', $body, {'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'other')})->status, 400, 'with a wrong one it does not';
};

subtest 'nosniff' => sub {
    my $sniff = sub ($answer) { join ',', @{$answer->headers->every_header('X-Content-Type-Options')} };
    my $me    = $nginx->bearer($key);

    for (
        ['200',                   $nginx->get('/api/lines/by-user', $me),                200],
        ['401',                   $nginx->get('/api/lines/by-user'),                     401],
        ['404',                   $nginx->get('/api/none', $me),                         404],
        ['405',                   $nginx->post('/api/lines/by-user', '', $me),           405],
        ['413, of nginx',         $nginx->post('/api/line-requests', 'x' x 70_000, $me), 413],
        ['without its slash',     $nginx->get('/api'),                                   404],
        ['accounts',              $nginx->get('/accounts/lines'),                        401],
        ['the operator\'s',       $nginx->admin(GET => 'workspaces/one'),                200],
        ['readiness',             $nginx->get('/_lines/ready'),                          200],
        ['a webhook',             $nginx->post('/hook', ''),                             400],
        ['in front of others',    $nginx->get('/app/x'),                                 401],
      )
    {
        is $_->[1]->status, $_->[2], "the answer: $_->[0]";
        is $sniff->($_->[1]), 'nosniff', '... once';
    }

    is $sniff->($nginx->post('/own', '')), 'theirs', 'that of add_header goes before';
    is $sniff->($nginx->get('/app/x', $me)), '', 'an upstream says it itself';
};

subtest 'a live key' => sub {
    my $config = sub ($to, $more = '') {
        return $t->test_config(redis => $redis, http => "lines_billing key_file=$live deployment=test $more;", server => <<"END");
location /_lines/billing/ { internal; proxy_pass $to; proxy_http_version 1.1; proxy_next_upstream off; subrequest_output_buffer_size 64k; }
END
    };

    for my $to ('http://127.0.0.1:12111/', 'http://unix:/run/stripe.sock:/') {
        my ($code, $output) = $config->($to);
        isnt $code, 0, "$to: not without the flag";
        like $output, qr/plain http.*plain=loopback/, '... which it is told of';
        ($code, $output) = $config->($to, 'plain=loopback');
        is $code, 0, '... with it' or diag $output;
    }

    my ($code, $output) = $config->('http://192.0.2.1/', 'plain=loopback');
    isnt $code, 0, 'to another machine: never';
    like $output, qr/proxies to other than loopback/, '... and it is told so';
};

$t->done;
