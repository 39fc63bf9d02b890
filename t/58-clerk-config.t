# lines_clerk and lines_probe as nginx -t sees them.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines;
use Test::Lines::Clerk;

my $t     = Test::Lines->new;
my $redis = $t->redis(start => 0);
my $clerk = Test::Lines::Clerk->new(t => $t);
my $jwks  = $clerk->location(url => 'http://127.0.0.1:1/jwks');
my $me    = 'location = /me { lines_auth clerk; empty_gif; }';
my $good  = 'issuer=https://clerk.example.com jwks=/_lines/jwks plain=loopback';

my %file = (
    pem    => $t->file('good.pem',  $clerk->pem),
    jwks   => $t->file('good.json', encode_json($clerk->jwks('first'))),
    mixed  => $t->file('mixed.json', encode_json({keys => [{kty => 'EC', kid => 'x'}, $clerk->jwk('first')]})),
    weak   => $t->file('weak.json', encode_json({keys => [do { $clerk->key('weak', 1024); $clerk->jwk('weak') }]})),
    junk   => $t->file('junk',  'no key'),
    empty  => $t->file('empty', ''),
    large  => $t->file('large', '{"keys":[]}' . ' ' x (256 * 1024)),
    secret => $t->file('secret.pem', $clerk->key->export_key_pem('private')),
);

sub config (%options) { return $t->test_config(redis => $redis, %options) }

sub accepted ($what, %options) {
    my ($code, $out) = config(%options);
    is $code, 0, "accepted: $what" or diag $out;
    return $out;
}

sub refused ($says, $what, %options) {
    my ($code, $out) = config(%options);
    isnt $code, 0, "refused: $what";
    like $out, $says, '... and says why';
    like $out, qr/nginx\.conf:\d+/, '... and where' unless $options{nowhere};
}

accepted($_, server => "$jwks lines_clerk $_; $me") for (
    $good,
    "$good authorized_party=https://a.example authorized_party=https://b.example leeway=0 cookie=off",
    "$good leeway=5m cookie=__session_x tenant_claim=org.id jwks_ttl=1m jwks_stale=7d jwks_cooldown=1s",
    "issuer=https://clerk.example.com key_file=$file{pem}",
    "issuer=http://127.0.0.1:8080 key_file=$file{jwks}",
);

accepted('at every level', http => "lines_clerk $good;",
    server => "$jwks lines_clerk $good leeway=1s; location /a/ { lines_clerk $good; lines_auth clerk; } location /b/ { lines_clerk off; lines_auth workspace; } $me");
accepted('unused', server => "$jwks lines_clerk $good;");

like accepted('with a key that is skipped', server => "lines_clerk issuer=https://c.example key_file=$file{mixed}; $me"),
  qr/\[warn\].*key 0 of ".*mixed\.json" is skipped: [\w-]+/, 'which is said';

for (
    ['',                                            qr/invalid number of arguments in "lines_clerk"/],
    ['jwks=/_lines/jwks',                           qr/"lines_clerk" needs issuer=https:/],
    ['issuer=clerk.example.com jwks=/_lines/jwks',  qr/"lines_clerk" needs issuer=https:/],
    ['issuer=https:// jwks=/_lines/jwks',           qr/"lines_clerk" needs issuer=https:/],
    ['issuer=https://c.example/ jwks=/_lines/jwks', qr/without a slash at its end/],
    ['issuer=https://c.example',                    qr/either jwks=.* or key_file=/],
    ["$good key_file=$file{pem}",                   qr/either jwks=.* or key_file=/],
    ["$good issuer=https://d.example",              qr/duplicate parameter "issuer=https:\/\/d\.example" in "lines_clerk"/],
    ["$good leeway=1s leeway=1s",                   qr/duplicate parameter "leeway=1s"/],
    ["$good leeway=x",                              qr/invalid time "leeway=x" in "lines_clerk"/],
    ["$good leeway=10m",                            qr/invalid time "leeway=10m"/],
    ["$good jwks_ttl=0",                            qr/invalid time "jwks_ttl=0"/],
    ["$good jwks_cooldown=1ms",                     qr/invalid time "jwks_cooldown=1ms"/],
    ["$good jwks_stale=-1",                         qr/invalid time "jwks_stale=-1"/],
    ["$good cookie=a;b",                            qr/nginx\.conf/],
    ["$good cookie=a=b",                            qr/"a=b" in "lines_clerk" is no cookie's name/],
    ["$good cookie=",                               qr/empty parameter "cookie=" in "lines_clerk"/],
    ["$good party=x",                               qr/invalid parameter "party=x" in "lines_clerk"/],
    ["$good off",                                   qr/invalid parameter "off" in "lines_clerk"/],
    ["$good; lines_clerk off",                      qr/"lines_clerk" directive is duplicate/],
    ["issuer=https://c.example jwks=jwks",          qr/"lines_clerk" needs the URI of an internal location instead of "jwks"/],
    ["issuer=https://c.example key_file=$file{pem} jwks_ttl=1m", qr/no use for jwks_ttl=/],
    ["issuer=https://c.example key_file=$file{pem} plain=loopback", qr/no use for .*plain=/],
    ["$good plain=any",                             qr/invalid parameter "plain=any" in "lines_clerk"/],
    ["issuer=https://c.example jwks=/_lines/jwks",  qr/proxies without "proxy_ssl_verify on".* "plain=loopback"/],
    ["issuer=https://c.example key_file=none.pem",  qr/"lines_clerk": open\(\) ".*none\.pem" failed \(2/],
    ["issuer=https://c.example key_file=/",         qr/is not a regular file/],
    ["issuer=https://c.example key_file=$file{junk}",   qr/no key in ".*junk" of "lines_clerk": not-pem/],
    ["issuer=https://c.example key_file=$file{empty}",  qr/no key in ".*empty" of "lines_clerk"/],
    ["issuer=https://c.example key_file=$file{weak}",   qr/no key in ".*weak\.json" of "lines_clerk": no-usable-key/],
    ["issuer=https://c.example key_file=$file{large}",  qr/".*large" is longer than 256k/],
    ["issuer=https://c.example key_file=$file{secret}", qr/no key in ".*secret\.pem" of "lines_clerk": not-a-public-key/],
  )
{
    refused($_->[1], "lines_clerk $_->[0]", server => "$jwks lines_clerk $_->[0]; $me");
}

refused(qr/names the keys "\/_lines\/jwks" again, but with another jwks_ttl/, 'two ttls for one set',
    server => "$jwks lines_clerk $good; location /a/ { lines_clerk $good jwks_ttl=1m; }");
refused(qr/names the keys "\/_lines\/jwks" again, but with another .*plain/, 'two words on one location',
    server => "$jwks lines_clerk $good; location /a/ { lines_clerk issuer=https://clerk.example.com jwks=/_lines/jwks; }");
refused(qr/location "= ?\/me"|location "\/me" has "lines_auth clerk", but no "lines_clerk"/, 'lines_auth clerk alone', server => $me, nowhere => 1);
refused(qr/"\/_lines\/jwks" is in no location/, 'no such location', server => "lines_clerk $good; $me");
refused(qr/it lacks "internal"/, 'a location that clients can reach', server => ($jwks =~ s/internal;//r) . "lines_clerk $good; $me");
refused(qr/of less than 256k/, 'a small buffer', server => ($jwks =~ s/256k/64k/r) . "lines_clerk $good; $me");
refused(qr/without "proxy_pass"/, 'no proxy', server => "location = /_lines/jwks { internal; } lines_clerk $good; $me");

my $probe = 'location = /_lines/probe { internal; proxy_pass http://127.0.0.1:1; }';

accepted("lines_probe$_", http => "lines_probe /_lines/probe$_;", server => $probe)
  for ' plain=loopback', ' timeout=500ms plain=loopback', ' plain=loopback timeout=5m';
refused($_->[1], "lines_probe $_->[0]", http => "lines_probe $_->[0];", server => $probe) for (
    ['/_lines/probe',                  qr/proxies without "proxy_ssl_verify on".* "plain=loopback"/],
    ['/_lines/probe plain=no',         qr/invalid parameter "plain=no" in "lines_probe"/],
    ['',                               qr/invalid number of arguments in "lines_probe"/],
    ['probe',                          qr/"lines_probe" needs the URI of an internal location/],
    ['/_lines/probe timeout=0',        qr/invalid parameter "timeout=0" in "lines_probe"/],
    ['/_lines/probe timeout=x',        qr/invalid parameter "timeout=x" in "lines_probe"/],
    ['/_lines/probe 5s',               qr/invalid parameter "5s" in "lines_probe"/],
    ['/_lines/probe; lines_probe /x',  qr/"lines_probe" directive is duplicate/],
    ['/_lines/other',                  qr/"\/_lines\/other" is in no location/],
);

my (undef, $dump) = config(option => '-T', server => "lines_clerk issuer=https://c.example key_file=$file{pem}; $me");
unlike $dump, qr/BEGIN PUBLIC KEY/, 'nginx -T shows no key';

$t->done;
