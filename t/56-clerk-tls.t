# Clerk's keys over TLS: a forged JWKS behind a certificate that is not Clerk's is never believed.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::Tls;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $dir   = $t->dir;

my $authority = Test::Lines::Tls->new(t => $t)->ca('ca')->ca('evilca');

my $good     = $authority->certificate('ca',     'good',     'clerk.example.com');
my $forged   = $authority->certificate('evilca', 'forged',   'clerk.example.com');
my $misnamed = $authority->certificate('ca',     'misnamed', 'elsewhere.example.com');

my $tls = <<"END";
proxy_ssl_verify on;
proxy_ssl_trusted_certificate $dir/ca.pem;
proxy_ssl_server_name on;
proxy_ssl_name clerk.example.com;
END

sub bearer ($token) { return {Authorization => "Bearer $token"} }

sub start ($clerk) {
    return $t->nginx(
        redis  => $redis,
        server => $clerk->location(more => $tls) . $clerk->directive(authorized_party => $clerk->party, jwks_ttl => '400ms')
          . 'location = /me { lines_auth clerk; empty_gif; }'
    );
}

for (['a certificate of nobody we know', $forged], ['a certificate for another name', $misnamed]) {
    my ($what, $certificate) = @$_;

    my $forger = Test::Lines::Clerk->new(t => $t, tls => $certificate);
    my $nginx  = start($forger);
    my $token  = $forger->token(org => 'org_1');

    is $nginx->get('/me', bearer($token))->status, 503, "$what: nobody knows the keys";
    $nginx->wait_log(qr/upstream SSL certificate (?:verify error|does not match)/);
    wait_for(sub { (() = $nginx->error_log =~ /are not to be had/g) >= 2 }, 30, 'another try');
    is $nginx->get('/me', bearer($token))->status, 503, '... and never will';
    is $forger->fetches, 0, '... and nothing was asked of such a server';
    $nginx->quit;
}

# Clerk itself, and then the forger in its place
{
    my $clerk = Test::Lines::Clerk->new(t => $t, tls => $good);
    my $nginx = start($clerk);
    my $token = $clerk->token(org => 'org_1');

    is $nginx->get('/me', bearer($token))->status, 200, 'the true certificate' or diag $nginx->error_log;

    my $port = $clerk->upstream->port;
    $clerk->upstream->stop;

    my $evil = Test::Lines::Clerk->new(t => $t);
    $t->upstream(json => $evil->jwks('first'), tls => $forged, port => $port);

    my $mark = $nginx->log_mark;
    wait_for(sub { $nginx->error_log($mark) =~ /certificate verify error/ }, 30, 'the forger to be asked');
    is $nginx->get('/me', bearer($evil->token(org => 'org_1')))->status, 401, 'its key is not believed';
    is $nginx->get('/me', bearer($token))->status, 200, 'the last good set is';
    $nginx->quit;
}

# nginx -t insists
for (
    ['proxy_ssl_verify on',                   qr/without "proxy_ssl_verify on"/],
    ['proxy_ssl_server_name on',              qr/without "proxy_ssl_server_name on"/],
    ['proxy_ssl_name clerk.example.com',      qr/without "proxy_ssl_name"/],
  )
{
    my ($line, $says) = @$_;
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my ($code, $out) = $t->test_config(
        redis  => $redis,
        server => $clerk->location(url => 'https://127.0.0.1:1/jwks', more => $tls =~ s/\Q$line\E;//r)
          . $clerk->directive(plain => undef) . 'location = /me { lines_auth clerk; empty_gif; }'
    );
    isnt $code, 0, "refused without $line";
    like $out, $says, 'and says so';
}

$t->done;
