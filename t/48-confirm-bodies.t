# Bodies of confirm: the acceptance corpus.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx;
my $one   = $shop->account('one');

$shop->numbers(2);

subtest 'the corpus' => sub {
    plan skip_all => 'node is not installed' unless grep { -x "$_/node" } split /:/, $ENV{PATH};

    my $run = $t->spawn(corpus => [
        'node', $t->root . '/t/corpora/drive.mjs', '--url', $nginx->url, '--path', '/accounts/lines/provision-confirm',
        '--suite', 'bodies', '--schema', 'preview', map { ('--header', "$_: $one->{headers}{$_}") } sort keys %{$one->{headers}}
    ]);
    my $status = $run->wait_end(240 * $t->slow);

    is $status, 0, 'every case is agreed with' or diag $run->output;
    like $run->output, qr/^(\d\d+) cases, \1 agree/m, 'all of them' or diag $run->output;
};

my $token = $shop->token($one);

sub post ($body, %headers) {
    return $nginx->request(POST => '/accounts/lines/provision-confirm', {%{$one->{headers}}, 'Content-Type' => 'application/json', %headers}, $body);
}

subtest 'in the dialect' => sub {
    my %cases = (
        'no JSON'            => ['{', 400],
        'no object'          => ['[]', 400],
        'a duplicate member' => [qq({"preview_token":"$token","preview_token":"x"}), 400],
        'too large'          => ['{"x":"' . 'x' x 70000 . '"}', 413],
        'control characters' => [qq({"preview_token":"$token\\u0001"}), 400],
    );
    for my $name (sort keys %cases) {
        my $answer = post($cases{$name}[0]);
        is $answer->status, $cases{$name}[1], $name or diag $answer->to_string;
        is_deeply [sort keys %{$answer->json // {}}], [qw(message status)], "$name: in the dialect's words";
        is $answer->json('/status'), 'ERROR', "$name: an error";
    }
    is post(qq({"preview_token":"$token"}), 'Content-Type' => 'text/plain')->status, 415, 'of another type';
};

is post(qq({ "preview_token" : "$token", "more": [1, {"x": null}] }))->status, 200, 'after all of that the token is as good as new';

for my $body ('{', 'x' x 60_000, '[1]', "\0") {
    is $nginx->request(POST => '/accounts/lines/provision-preview', $one->{headers}, $body)->status, 200, 'what preview is sent does not matter';
}
is $nginx->request(POST => '/accounts/lines/provision-preview', $one->{headers}, 'x' x 70_000)->status, 413, 'but for its size: no location of an API takes more';

$t->done;
