# Clients that two generators make of conf/api/openapi.yaml compile under tsc --strict, and go the ways of the guides in
# conf/api against the demo: openapi-typescript with openapi-fetch, and @hey-api/openapi-ts.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines::Once build => 'the document is the same', store => 'the demo has a Redis of its own';
use Test::Lines;
use Test::Lines::Demo;
use Test::Lines::Node qw(node_dir);

my ($node, $why_not) = node_dir;
plan skip_all => $why_not unless $node;

my $t    = Test::Lines->new;
my $root = $t->root;
my $dir  = path($t->dir, 'client')->make_path;

sub spew ($name, $text) {
    open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
    print $file $text;
    close $file or die "$dir/$name: $!";
}

sub run (@command) {
    my $output = qx{cd \Q$dir\E && timeout 180 @{[join ' ', map {quotemeta} @command]} 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

symlink "$node/node_modules", "$dir/node_modules" or die "symlink: $!";
path($_)->copy_to("$dir") for glob "$root/t/node/flows/*.ts";
spew('package.json', '{"type": "module"}');
spew('tsconfig.json', encode_json({
    compilerOptions => {strict => \1, noEmitOnError => \1, target => 'es2022', lib => ['es2022', 'dom', 'dom.iterable'], module => 'nodenext', types => []},
    include         => ['*.ts', 'hey']
}));
spew('hey-api.config.mjs', 'export default ' . encode_json({
    input   => "$root/conf/api/openapi.yaml",
    output  => {path => 'hey', importFileExtension => '.js'},
    plugins => ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
    logs    => {file => \0}
}) . ';');

subtest 'generated' => sub {
    my ($code, $output) = run('node_modules/.bin/openapi-typescript', "$root/conf/api/openapi.yaml", '-o', 'client.ts');
    is $code, 0, 'by openapi-typescript' or diag $output;
    ($code, $output) = run('node_modules/.bin/openapi-ts', '-f', 'hey-api.config.mjs');
    is $code, 0, 'by @hey-api/openapi-ts' or diag $output;
};

subtest 'compiled, strictly' => sub {
    my ($code, $output) = run('node_modules/.bin/tsc', '-p', '.', '--pretty', 'false');
    is $output, '', 'without a word';
    is $code, 0, 'both';

    # it looks, and at all of it
    spew('wrong.ts', <<'END');
import { confirmLine, getLineRequest } from './hey/index.js';
const { data } = await getLineRequest({ path: { id: 'x' } });
console.log(data?.line.colour);
await confirmLine({ body: {} });
END
    (undef, $output) = run('node_modules/.bin/tsc', '-p', '.', '--pretty', 'false', '--noEmit');
    like $output, qr/^wrong\.ts\(3,.*colour/m, 'a member that is not there is an error';
    like $output, qr/^wrong\.ts\(4,.*preview_token/m, 'so is one that is missing';
};

my $demo = Test::Lines::Demo->new(t => $t);
my %of   = (url => 'URL', growth => 'API_KEY', starter => 'API_KEY_STARTER', mini => 'API_KEY_MINI', keyId => 'KEY_ID', keySecret => 'KEY_SECRET');
spew('settings.js', join '', map { "export const $_ = " . encode_json($demo->env->{"LINES_$of{$_}"}) . ";\n" } sort keys %of);

my $ways = <<'END';
request 201 awaiting_payment first
again 201 true true
other 422 This idempotency key was used for another request
next 409 awaiting_payment true
link 200 true
paid 303
poll 200 provisioning paid
poll 200 active paid
preview 200 OK
dry 200 true
confirm 200 first
retry 200 true true
used 410 token_expired succeeded
list true
one 200 active
made 201 provisioning
known 304
news 200 active
wrong 400 wait must be from 1 to 60
name 400 lastName is required
plan 403 forbidden_line_type
none 401 Unauthorized
id 404 Line request not found
token 410 token_expired
left 200 true
windows 3 10
page 400 limit must be from 1 to 100
END

for my $client (qw(openapi-fetch hey-api)) {
    my ($code, $output) = run('node', "$client.js");
    is $output, $ways, "$client goes the ways of the guides";
    is $code, 0, '... to the end';
}

$demo->stop;
$t->done;
