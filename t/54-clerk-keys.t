# Clerk's keys while Clerk is away, slow or talks nonsense: one fetch for a whole node, the last good set, no wrong answer.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::IOLoop;
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 600);
my $redis = $t->redis;

my $n = 0;

# a Clerk of its own, and an nginx that asks it
sub setup ($clerk, %options) {
    my $directive = $clerk->directive(authorized_party => $clerk->party, %{delete $options{clerk} // {}});

    return $t->nginx(
        redis   => $redis,
        workers => 2,
        %options,
        server => $clerk->location . "location = /me { $directive lines_auth clerk; empty_gif; }\n" . ($options{server} // '')
    );
}

sub clerk (%options) { Test::Lines::Clerk->new(t => $t, issuer => 'https://clerk' . ++$n . '.example.com', %options) }
sub bearer ($token)  { return {Authorization => "Bearer $token"} }

subtest 'away from the start' => sub {
    my $clerk = clerk();
    $clerk->upstream->stop;
    my $nginx = setup($clerk);
    my $token = $clerk->token(org => 'org_1');

    my $answer = $nginx->get('/me', bearer($token));
    is $answer->status, 503, 'nobody knows whether the token is good' or diag $answer->to_string;
    cmp_ok $answer->header('Retry-After') // 0, '>=', 1, 'ask again';
    like $answer->body, qr/^\{"error":"[\w ]+"\}$/, 'in the dialect';
    is $answer->header('WWW-Authenticate'), undef, 'it is no refusal';
    is $nginx->get('/api/lines/by-user', bearer($token))->status, 401, 'no lines_clerk there, though';

    is $nginx->get('/me', bearer('nonsense'))->status, 401, 'nonsense is refused all the same';
    is $nginx->get('/me', bearer($clerk->token(header => {alg => 'HS256'})))->status, 401, 'the wrong algorithm too';
    is $nginx->get('/me')->status, 401, 'and nothing';

    my @answers = concurrently(50, sub ($i) { $nginx->get_p('/me', bearer($token)) });
    is scalar(grep { $_->status == 503 } @answers), 50, 'many at once';

    $clerk->upstream->restart;
    wait_for(sub { $nginx->get('/me', bearer($token))->status == 200 }, 30, 'the keys');
    pass 'once Clerk is there, tokens are good';
    like $nginx->error_log, qr/\[error\].*keys of "\Q@{[$clerk->issuer]}\E" are not to be had/, 'the log said why not';
    $nginx->quit;
};

subtest 'away later' => sub {
    my $clerk = clerk();
    my $nginx = setup($clerk, clerk => {jwks_ttl => '400ms', jwks_stale => '12s', jwks_cooldown => '500ms'});
    my $token = $clerk->token(org => 'org_1');

    is $nginx->get('/me', bearer($token))->status, 200, 'a token' or diag $nginx->error_log;

    for my $state ({status => 500}, {drop => 1}, {body => '<html>'}) {
        my $mark = $nginx->log_mark;
        $clerk->upstream->set(%$state);

        wait_for(sub { (() = $nginx->error_log($mark) =~ /are not to be had/g) >= 2 }, 30, 'failed fetches');
        is $nginx->get('/me', bearer($_))->status, 200, 'the last good keys serve' for $token, $clerk->token(org => 'org_1');
        is $nginx->get('/me', bearer($clerk->token(kid => 'unknown')))->status, 401, 'an unknown key stays unknown';

        $clerk->upstream->reset(json => $clerk->jwks('first'));
        my $fetches = $clerk->fetches;
        wait_for(sub { $clerk->fetches > $fetches + 1 }, 30, 'good fetches again');
    }

    $clerk->upstream->stop;
    my $mark = $nginx->log_mark;
    wait_for(sub { $nginx->error_log($mark) =~ /are not to be had/ }, 30, 'a failed fetch');
    is $nginx->get('/me', bearer($token))->status, 200, 'still good';

    $nginx->reload;
    is $nginx->get('/me', bearer($token))->status, 200, 'after a reload too, though Clerk is away';

    my $start = Time::HiRes::time();
    is $nginx->get('/me', bearer($token))->status, 200, 'and again';
    note sprintf '%.3f s', Time::HiRes::time() - $start;

    wait_for(sub { $nginx->get('/me', bearer($token))->status == 503 }, 30, 'the end of jwks_stale');
    pass 'not for ever: after jwks_stale nobody knows';

    $clerk->upstream->restart;
    wait_for(sub { $nginx->get('/me', bearer($token))->status == 200 }, 30, 'the keys');
    pass 'and back';
    $nginx->quit;
};

subtest 'one fetch for all' => sub {
    my $clerk = clerk();
    $clerk->upstream->set(delay => 1);
    my $nginx = setup($clerk, workers => 4);
    my $token = $clerk->token(org => 'org_1');

    my @answers = concurrently(200, sub ($i) { $nginx->get_p('/me', bearer($i % 4 ? $token : $clerk->token)) });
    is scalar(grep { $_->status == 200 } @answers), 200, 'two hundred requests wait for the keys'
      or diag join ' ', map { $_->status } @answers;
    is $clerk->fetches, 1, 'which are fetched once, by four workers together';
    $nginx->quit;
};

subtest 'clients that leave' => sub {
    my $clerk = clerk();
    $clerk->upstream->set(delay => 2);
    my $nginx = setup($clerk);
    my $token = $clerk->token(org => 'org_1');

    my @sockets = map {
        my $socket = $nginx->socket;
        print $socket "GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $token\r\n\r\n";
        $socket->flush;
        $socket;
    } 1 .. 50;

    wait_for(sub { $clerk->fetches }, 30, 'the fetch');
    $nginx->reset_connection($_) for @sockets;

    is $nginx->get('/me', bearer($token))->status, 200, 'the fetch goes on without them';
    is $clerk->fetches, 1, 'and is the only one';
    $nginx->quit;
};

subtest 'a worker that dies in the middle of a fetch' => sub {
    my $clerk = clerk();
    $clerk->upstream->set(delay => 3);
    my $nginx = setup($clerk);
    my $token = $clerk->token(org => 'org_1');

    wait_for(sub { $clerk->fetches }, 30, 'the fetch');
    my @waiting = map { $nginx->get_p('/me', bearer($token)) } 1 .. 20;

    # both, so that the one that fetches is among them; the keys that come next are good
    $clerk->upstream->set(delay => 0);
    $nginx->kill_worker for 1 .. 2;

    my $answer = wait_for(
        sub { my $answer = $nginx->get('/me', bearer($token)); $answer->status == 200 ? $answer : undef }, 60, 'the keys');
    is $answer->status, 200, 'another fetches once the mark has expired';
    Mojo::Promise->all(@waiting)->wait;
    $nginx->quit;
};

subtest 'a reload in the middle of a fetch' => sub {
    my $clerk = clerk();
    $clerk->upstream->set(delay => 2);
    my $nginx = setup($clerk, debug => 1);
    my $token = $clerk->token(org => 'org_1');

    wait_for(sub { $clerk->fetches }, 30, 'the fetch');
    my @answers;
    $nginx->get_p('/me', bearer($token))->then(sub ($answer) { push @answers, $answer }) for 1 .. 20;
    wait_for(sub { (() = $nginx->error_log =~ /lines clerk: wait/g) >= 20 }, 30, 'them to wait');

    $nginx->reload(wait_old => 1);
    wait_for(sub { @answers == 20 }, 30, 'answers');
    is scalar(grep { $_->status == 200 } @answers), 20, 'no request is lost' or diag join ' ', map { $_->status } @answers;
    is $nginx->get('/me', bearer($token))->status, 200, 'and the new workers know the keys';
    $nginx->quit;
};

subtest 'a server that does not answer' => sub {
    my $clerk = clerk();
    $clerk->upstream->set(delay => 60);
    my $nginx = setup($clerk);

    my $answer = $nginx->get('/me', bearer($clerk->token));
    is $answer->status, 503, 'is waited for, but not for ever';

    $nginx->quit;
};

# what is no set of keys leaves the one that is known
subtest 'nonsense instead of keys' => sub {
    my $clerk = clerk();
    my $nginx = setup($clerk, clerk => {jwks_ttl => '400ms', jwks_cooldown => '500ms'});
    my $good  = $clerk->token(org => 'org_1');
    my $evil  = $clerk->token(org => 'org_1', kid => 'evil');

    is $nginx->get('/me', bearer($good))->status, 200, 'a good set';

    my $weak   = $clerk->key('weak', 1024) && $clerk->jwk('weak');
    my $padded = Mojo::JSON::encode_json({keys => [$clerk->jwk('evil')], padding => 'x' x 1_000_000});

    my %nonsense = (
        'HTML'                    => {body => "<html>@{['x' x 1000]}</html>"},
        'a JWKS of 1 MB'          => {body => $padded},
        'just above 256 KiB'      => {body => $clerk->jwks('evil') && substr($padded, 0, 60) . '"}' . ' ' x (256 * 1024)},
        'nothing'                 => {body => ''},
        'no keys'                 => {json => {keys => []}},
        'an array'                => {json => [$clerk->jwk('evil')]},
        'keys that are an object' => {json => {keys => $clerk->jwk('evil')}},
        'a weak key alone'        => {json => {keys => [$weak]}},
        'a PEM file'              => {body => $clerk->pem('evil')},
        'a 404 with keys'         => {status => 404, json => $clerk->jwks('evil')},
        'a redirect'              => {status => 302, headers => {Location => '/elsewhere'}, json => $clerk->jwks('evil')},
        'broken JSON'             => {body => '{"keys":[' . '{' x 100_000},
        'keys twice'              => {body => '{"keys":[],"keys":[]}'},
    );

    for my $name (sort keys %nonsense) {
        my $mark = $nginx->log_mark;
        $clerk->upstream->reset(%{$nonsense{$name}});
        wait_for(sub { $nginx->error_log($mark) =~ /are not to be had/ }, 30, "$name to be fetched");
        is $nginx->get('/me', bearer($good))->status, 200, "$name: the good set stays";
        is $nginx->get('/me', bearer($evil))->status, 401, '... and nothing else is believed';
    }

    $clerk->upstream->reset(json => $clerk->jwks('first', 'evil'));
    wait_for(sub { $nginx->get('/me', bearer($evil))->status == 200 }, 30, 'a good set again');
    is $nginx->get('/me', bearer($good))->status, 200, 'both keys then';
    $nginx->quit;
};

subtest 'two hundred keys' => sub {
    my $clerk = clerk();
    my @keys  = map {
        my $kid = "key_$_";
        my $key = $clerk->jwk('first');
        # of the right size, and nobody's
        substr $key->{n}, 10, 20, join '', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 20;
        +{%$key, kid => $kid};
    } 1 .. 199;

    $clerk->upstream->set(json => {keys => [@keys, $clerk->jwk('last')]});
    my $nginx = setup($clerk);

    is $nginx->get('/me', bearer($clerk->token(kid => 'last')))->status, 200, 'the last of them is known'
      or diag $nginx->error_log;
    is $nginx->get('/me', bearer($clerk->token(kid => 'key_7', key => 'last')))->status, 401, 'another cannot sign for it';
    like $nginx->error_log, qr/has 200 keys, 0 skipped/, 'all of them are';
    $nginx->quit;
};

# a zone of the least size: what is remembered of tokens makes room
subtest 'a crowded zone' => sub {
    my $clerk = clerk();
    my $nginx = setup($clerk, zone => 'crowded:1m', clerk => {jwks_ttl => '400ms'});
    my $token = $clerk->token(org => 'org_1');
    is $nginx->get('/me', bearer($token))->status, 200, 'a small set';

    # more tokens than the zone has room for
    my @tokens = map { $clerk->token(org => "org_$_") } 1 .. 1000;
    my @answers = concurrently(1000, sub ($i) { $nginx->get_p('/me', bearer($tokens[$i])) });
    is scalar(grep { $_->status == 200 } @answers), 1000, 'a thousand tokens';
    is $nginx->get('/me', bearer($tokens[$_]))->status, 200, 'old and new ones stay good' for 0, 999;

    my @many = map { {%{$clerk->jwk('first')}, kid => "copy_$_"} } 1 .. 400;
    $clerk->upstream->set(json => {keys => [$clerk->jwk('first'), @many]});
    is $nginx->get('/me', bearer($clerk->token(kid => 'copy_400', key => 'first')))->status, 200, 'a large set too';
    is $nginx->get('/me', bearer($token))->status, 200, 'beside the tokens';

    $nginx->quit;
};

# whoever fills the zone with API keys that nobody knows stops neither a rotation nor another Clerk
subtest 'a full zone' => sub {
    my $clerk = clerk();
    my $other = clerk(uri => '/_lines/other');
    my $nginx = setup($clerk, workers => 1, zone => 'full:1m', http => 'keepalive_requests 100000;',
        server => 'location = /key { lines_auth workspace; empty_gif; }');
    is $nginx->get('/me', bearer($clerk->token))->status, 200, 'a token';

    my %count;
    for my $round (1 .. 50) {
        my $socket = $nginx->socket;
        my $text   = join '', map {"GET /key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tuco_$round-$_\r\n\r\n"} 1 .. 100;
        my ($in, $sent) = ('', 0);
        $sent += syswrite($socket, $text, length($text) - $sent, $sent) // die "write: $!" while $sent < length $text;
        while ((() = $in =~ m{HTTP/1\.1 \d}g) < 100) { sysread $socket, $in, 65536, length $in or last }
        $count{$_}++ for $in =~ m{HTTP/1\.1 (\d+)}g;
    }
    is_deeply \%count, {401 => 5000}, 'five thousand unknown API keys';

    $clerk->publish(map {"second_$_"} 1 .. 3);
    is $nginx->get('/me', bearer($clerk->token(kid => 'second_3')))->status, 200, 'a rotation';

    $nginx->server($nginx->server . $other->location . "location = /other { @{[$other->directive]} lines_auth clerk; empty_gif; }\n");
    $nginx->reload;
    is $nginx->get('/other', bearer($other->token))->status, 200, 'another Clerk, after a reload';
    is $nginx->get('/me', bearer($clerk->token(kid => 'second_3')))->status, 200, 'beside the first';
    $nginx->quit;
};

$t->done;
