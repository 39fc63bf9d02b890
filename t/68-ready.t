# lines_ready: what this node knows of all that it needs, at no cost.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::Util qw(b64_encode);
use Test::More;
use Test::Lines qw(wait_for);

my $t      = Test::Lines->new;
my $redis  = $t->redis;
my $issuer = $t->upstream(status => 503);
my $url    = $issuer->url;

my $nginx = $t->nginx(
    redis         => $redis,
    redis_options => 'timeout=1s silence=1s connect_timeout=1s',
    http          => "lines_clerk issuer=https://clerk.test jwks=/_lines/jwks plain=loopback jwks_cooldown=1s;",
    server        => <<"END"
location = /_lines/jwks { internal; proxy_pass $url/jwks; proxy_intercept_errors off; proxy_next_upstream off; subrequest_output_buffer_size 256k; }
location /session/ { lines_auth clerk; empty_gif; }
END
);

sub ready { my $answer = $nginx->get('/_lines/ready'); return ($answer->status, $answer->json) }

{
    # it says so as soon as Redis is there, which may be after the first question
    wait_for(sub { (ready())[0] == 200 }, 30, 'ready');
    my ($status, $json) = ready();
    is $status, 200, 'ready';
    ok $json->{ready}, 'it says so';
    is $json->{redis}{status},  'ok',     'Redis';
    is $json->{redis}{breaker}, 'closed', 'its breaker';
    is $json->{zone}{status},   'ok',     'the zone';
    cmp_ok $json->{zone}{freeBytes}, '>', 0, 'with room';
    like $json->{jwks}{status}, qr{^un(?:known|reachable)$}, 'the issuer has given no keys yet';
    ok !exists $json->{billing}, 'no billing, no word of it';

    my ($version) = path($t->root, 'src/observe/observe.h')->slurp =~ /LINES_VERSION\s+"(.*)"/;
    is $json->{version}{lines}, $version, 'its version';
    like qx{\Q${\$nginx->binary}\E -v 2>&1}, qr{/\Q$json->{version}{nginx}\E(?:\s|$)}, 'of nginx';
    like $json->{version}{hiredis}, qr/^\d+\.\d+\.\d+$/, 'of hiredis';

    my $told = join ',', map {"$_->[0]=\"$json->{version}{$_->[1]}\""} [qw(version lines)], [qw(nginx nginx)], [qw(hiredis hiredis)];
    like $nginx->get('/_lines/metrics')->body, qr/^lines_build_info\{\Q$told\E\} 1$/m, 'the same in the metrics';
}

# an issuer that is away leaves the node in service
{
    my $part  = sub ($text) { b64_encode($text, '') =~ tr{+/=}{-_}dr };
    my $token = join '.', $part->('{"alg":"RS256","typ":"JWT","kid":"k"}'), $part->('{"sub":"u","iss":"https://clerk.test","exp":9999999999}'), $part->('x' x 256);
    $nginx->get('/session/x', $nginx->bearer($token));
    wait_for(sub { (ready())[1]{jwks}{status} eq 'unreachable' }, 30, 'the issuer to be given up');
    is((ready())[0], 200, 'an issuer that is away: ready all the same');
}

for my $how (qw(stop pause)) {
    $redis->$how;
    wait_for(sub { $nginx->get('/api/lines/by-user', $nginx->bearer('tuco_x')); (ready())[0] == 503 }, 30, 'Redis to be missed');
    my ($status, $json) = ready();
    ok !$json->{ready}, "$how: not ready";
    is $json->{redis}{status}, 'unreachable', "$how: and why";
    like $nginx->get('/_lines/ready')->header('Retry-After'), qr/^[1-9]\d*$/, "$how: and when to ask again";
    like $json->{redis}{breaker}, qr/^(?:open|half_open)$/, "$how: the breaker";
    my $slow = grep { $nginx->get('/_lines/ready')->seconds > 0.5 * $t->slow } 1 .. 50;
    cmp_ok $slow, '<=', 5, "$how: it does not wait for what is away";
    $how eq 'stop' ? $redis->start : $redis->cont;
    # a cluster serves before all of it is back
    wait_for(sub { ($status, $json) = ready(); $status == 200 && $json->{redis}{status} eq 'ok' }, 30, 'Redis to be back');
    is $json->{redis}{breaker}, 'closed', "$how: back";
}

$t->done;
