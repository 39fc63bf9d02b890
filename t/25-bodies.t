# Bodies of every kind: the acceptance corpus, over HTTP/1.1, and what the corpus does not have.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, h2 => 1, plans => "lines_plan bulk phone included=1000;\n");
my $key   = $nginx->workspace(org_1 => {plan => 'bulk', subscription => 'active'});
my $auth  = $nginx->bearer($key);
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $id    = $nginx->post_json('/api/line-requests', \%phone, $auth)->json('/line/_id');
my $good  = Mojo::JSON::encode_json(\%phone);

subtest 'the corpus' => sub {
    plan skip_all => 'node is not installed' unless grep { -x "$_/node" } split /:/, $ENV{PATH};
    my $run  = $t->spawn(corpus => [
        'node', $t->root . '/t/corpora/drive.mjs', '--url', $nginx->url, '--path', "/api/line-requests/$id",
        '--suite', 'bodies', '--schema', 'action', '--bearer', $key
    ]);
    my $status = $run->wait_end(240 * $t->slow);
    is $status, 0, 'every case is agreed with' or diag $run->output;
    like $run->output, qr/^(\d\d+) cases, \1 agree/m, 'all of them' or diag $run->output;
};

sub post ($body, %headers) {
    return $nginx->request(POST => '/api/line-requests', {%$auth, 'Content-Type' => 'application/json', %headers}, $body);
}

subtest 'what is no JSON object' => sub {
    my %bad = (
        'nothing'             => '',
        'white space'         => "  \n",
        'an array'            => '[]',
        'a string'            => '"x"',
        'a number'            => '1',
        'null'                => 'null',
        'a cut object'        => substr($good, 0, -1),
        'more after it'       => "$good x",
        'two objects'         => $good x 2,
        'a duplicate member'  => '{"firstName":"A","firstName":"B"}',
        'a nested duplicate'  => '{"x":{"a":1,"a":2}}',
        'a byte-order mark'   => "\xef\xbb\xbf$good",
        'latin-1'             => "{\"firstName\":\"Ad\xe1\"}",
        'an overlong UTF-8'   => "{\"firstName\":\"\xc0\xaf\"}",
        'a surrogate'         => '{"firstName":"\ud800"}',
        'a NUL'               => '{"firstName":"\u0000"}',
        'a raw NUL'           => "{\"firstName\":\"\0\"}",
        'a raw newline'       => "{\"firstName\":\"a\nb\"}",
        'single quotes'       => "{'firstName':'A'}",
        'a trailing comma'    => '{"firstName":"A",}',
        'a comment'           => '{/**/}',
        'NaN'                 => '{"x":NaN}',
        'a deep array'        => '{"x":' . '[' x 33 . ']' x 33 . '}',
        'a very deep array'   => '{"x":' . '[' x 30000,
        'many deep objects'   => '{"x":' x 10000,
    );

    for my $what (sort keys %bad) {
        my $answer = post($bad{$what});
        is $answer->status, 400, "$what is 400";
        ok length($answer->json('/error') // ''), '... in the dialect';
    }

    is post(qq({"a\\"b":"}]","x":[[[{}]]],) . substr $good, 1)->status, 201, 'brackets in strings do not count';
};

subtest 'sizes' => sub {
    my $fill = sub ($n) { my $json = substr($good, 0, -1) . ',"x":"'; $json . 'x' x ($n - length($json) - 2) . '"}' };
    is post($fill->(65536))->status, 201, '64 KiB are fine';
    my $answer = post($fill->(65537));
    is $answer->status, 413, 'one byte more is not';
    is $answer->body, '{"error":"Request body is too large"}', '... in the dialect';

    for my $n (65536, 65537, 300000) {
        my $json = $fill->($n);
        my $head = "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Type: application/json\r\n"
          . "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        my $body = join '', map { sprintf("%x\r\n%s\r\n", length $_, $_) } unpack '(a8000)*', $json;
        like $nginx->raw("$head${body}0\r\n\r\n"), $n > 65536 ? qr{^HTTP/1.1 413 .*too large}s : qr{^HTTP/1.1 201 }, "$n bytes in chunks";
    }

    my $started = "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Type: application/json\r\n"
      . "Content-Length: 999999999999\r\nConnection: close\r\n\r\n{";
    like $nginx->raw($started, half_close => 0), qr{^HTTP/1.1 413 }, 'a length that is too large is refused before the body comes';
};

subtest 'content types' => sub {
    is post($good, 'Content-Type' => $_)->status, 201, "$_" for 'application/json', 'Application/JSON', 'application/json; charset=utf-8', 'application/json ;x=y';
    is post($good, 'Content-Type' => $_)->status, 415, "$_" for 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'application/json-patch+json', 'json', '';
    is post($good, 'Content-Encoding' => 'gzip')->status, 415, 'compressed';
    like $nginx->raw("POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Length: "
          . length($good) . "\r\nConnection: close\r\n\r\n$good"), qr{^HTTP/1.1 415 }, 'none';
};

subtest 'a body that comes slowly, in pieces, or after 100 Continue' => sub {
    my $socket = $nginx->socket;
    my $head   = "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Type: application/json\r\n"
      . 'Content-Length: ' . length($good) . "\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    syswrite $socket, $head;
    sysread $socket, my $continue, 100;
    like $continue, qr{^HTTP/1.1 100 }, '100 Continue';
    syswrite $socket, $_ for split //, $good;
    my $answer = '';
    1 while sysread $socket, $answer, 4096, length $answer;
    like $answer, qr{^HTTP/1.1 201 }, 'byte by byte';
};

subtest 'a connection goes on after a refusal' => sub {
    my $bad  = "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nContent-Type: application/json\r\nContent-Length: "
      . length($good) . "\r\n\r\n$good";
    my $get  = "GET /api/line-requests/$id HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nConnection: close\r\n\r\n";
    my $both = $nginx->raw($bad . $get);
    like $both, qr{^HTTP/1.1 401 .*HTTP/1.1 200 }s, 'the body of a refused request is not taken for the next request';
};

subtest 'HTTP/2' => sub {
    plan skip_all => 'curl is not installed' unless grep { -x "$_/curl" } split /:/, $ENV{PATH};
    my $curl = sub (@args) {
        open my $out, '-|', 'curl', '-sS', '-m', 60 * $t->slow, '--http2-prior-knowledge', '-w', ' %{http_code}', '-H', "Authorization: Bearer $key",
          '-H', 'Content-Type: application/json', @args, 'http://127.0.0.1:' . $nginx->h2_port . '/api/line-requests' or die "curl: $!";
        return join '', <$out>;
    };
    like $curl->('-d', $good), qr/"provisioning".* 201$/s, 'a good body';
    like $curl->('-d', '{'), qr/ 400$/, 'a bad one';
    like $curl->('-d', '{"x":"' . 'x' x 60000 . '"}'), qr/firstName is required"\} 400$/, 'a large one';
    like $curl->('-I'), qr{^HTTP/2 200}, 'HEAD';
};

$t->done;
