# The acceptance corpus against a live server: every suite of tokens, in every mode, by header and by cookie.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines;

my $corpora = $ENV{LINES_CORPORA} || "$FindBin::Bin/corpora";

plan skip_all => 'no acceptance corpus (LINES_CORPORA)' unless -f "$corpora/drive.mjs";
plan skip_all => 'node 20 is not there'
  if system('node -e "process.exit(process.versions.node.split(\'.\')[0] < 20 ? 1 : 0)" 2>/dev/null') != 0;

my $t    = Test::Lines->new(timeout => 600);
my $keys = $t->dir . '/keys';

is system("node \Q$corpora/keys.mjs\E \Q$keys\E >/dev/null"), 0, 'keys are made';

my $settings = decode_json(path("$keys/settings.json")->slurp);
my $parties  = join ' ', map {"authorized_party=$_"} @{$settings->{authorized_parties}};
my $common   = "issuer=$settings->{iss} $parties leeway=$settings->{clock_skew_s}s failed=unlimited";

my $jwks = $t->upstream(handler => sub ($c, $state) {
    my ($name) = $c->req->url->path->parts->[-1] =~ /^([\w-]+\.json)$/;
    $c->res->headers->content_type('application/json');
    $c->render(data => path("$keys/$name")->slurp);
});

my %file = (jwks => 'jwks.json', hostile => 'jwks-hostile.json', optional => 'jwks-optional.json');

my $locations = join '', map { <<"END" } sort keys %file;
location = /_lines/$_ {
    internal;
    proxy_pass @{[$jwks->url]}/$file{$_};
    proxy_pass_request_headers off;
    subrequest_output_buffer_size 256k;
}
location = /$_ { lines_clerk $common jwks=/_lines/$_ plain=loopback; lines_auth clerk; empty_gif; }
END

my $nginx = $t->nginx(
    redis   => $t->redis,
    workers => 2,
    http    => 'map $lines_tenant $org { ~^w:(?<org>.*)$ $org; }',
    server  => <<"END" . $locations,
add_header X-Claim-sub \$lines_user;
add_header X-Claim-org_id \$org;
location = /pem  { lines_clerk $common key_file=$keys/jwt.pem; lines_auth clerk; empty_gif; }
location = /file { lines_clerk $common key_file=$keys/jwks.json; lines_auth clerk; empty_gif; }
END
);

sub drive ($what, @options) {
    my $command = join ' ', map { quotemeta } 'node', "$corpora/drive.mjs", '--keys', $keys, '--url', $nginx->url(''), @options;
    my $output  = `$command 2>&1`;

    is $?, 0, "$what: the driver is content" or diag $output;
    like $output, qr/^([1-9]\d*) cases, \1 agree, 0 disagree/m, "$what: all agree";
    note "$what: $output";

    return $output;
}

my $said = '';

for my $via (qw(bearer cookie)) {
    $said .= drive("$_ by $via", '--path', "/$_", '--mode', $_, '--via', $via) for qw(jwks pem hostile optional);
    drive("a JWKS in a file by $via", '--path', '/file', '--mode', 'jwks', '--via', $via);
}

drive('transport', '--path', '/jwks', '--suite', 'transport');

SKIP: {
    skip "pkcs1: the third-party data are not there (t/corpora/NOTICE)", 1 if $said =~ /pkcs1: skipped/;
    pass 'the pkcs1 suite was among them';
}

# what the hostile JWKS has of unusable keys is said once
{
    my $log = $nginx->error_log;
    like $log, qr/\[warn\].*key \d+ of "\Q$settings->{iss}\E" is skipped: weak/, 'a weak key';
    my @said = $log =~ /(key \d+ of "[^"]+" is skipped: [\w-]+)/g;
    my %times;
    $times{$_}++ for @said;
    is scalar(grep { $_ > 1 } values %times), 0, 'each is logged once' or diag explain \%times;
}

$t->done;
