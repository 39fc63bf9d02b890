# What must not cost a request, a crash or a lost write: resets, reloads, killed workers, a flushed Redis.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use IO::Select;
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 600);
my $redis = $t->redis;
my $nginx = $t->nginx(redis => $redis, workers => 2, zone => 'lines:8m', plans => "lines_plan bulk phone included=1000000;\n");
my $key   = $nginx->workspace(org_1 => {plan => 'bulk', subscription => 'active'});
my $auth  = $nginx->bearer($key);
my %phone = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $first = $nginx->post_json('/api/line-requests', \%phone, $auth)->json('/line/_id');

# lines, places and documents agree
sub coherent ($id) {
    my @ids    = $redis->client->zrange("lines:{w:$id}:lines", 0, -1);
    my $places = $redis->client->hget("lines:{w:$id}:t", 'phone_included') // 0;
    is $places, @ids, "places taken and lines of $id agree: " . @ids;
    my $client = $redis->client;
    my @bad    = grep { ($client->get("lines:{w:$id}:line:$_") // '') !~ /^2 .*\{.*\}$/ } @ids;
    is @bad, 0, 'every line has its document';
    return scalar @ids;
}

subtest '10,000 requests, of which a third is reset by the client' => sub {
    my $body = Mojo::JSON::encode_json(\%phone);
    my @kinds = (
        "GET /api/lines/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n\r\n",
        "GET /api/line-requests/$first HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n\r\n",
        "GET /api/line-requests?limit=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tuco_unknown\r\n\r\n",
        "POST /api/line-requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\nContent-Type: application/json\r\nContent-Length: "
          . length($body) . "\r\n\r\n$body",
    );
    my ($answered, $reset, $broken) = (0, 0, 0);
    my $batch = 50;

    srand 20;

    for my $round (1 .. 10_000 / $batch) {
        my @sockets;

        for my $i (1 .. $batch) {
            my $bytes  = $kinds[int rand @kinds];
            my $socket = $nginx->socket or next;

            if ($i % 3 == 0) {
                my $part = substr $bytes, 0, int rand 1 + length $bytes;
                syswrite $socket, rand() < 0.5 ? $part : $bytes;
                Time::HiRes::sleep(rand 0.002) if rand() < 0.2;
                Test::Lines::Client->reset_connection($socket);
                $reset++;
                next;
            }

            syswrite $socket, $bytes;
            push @sockets, $socket;
        }

        for my $socket (@sockets) {
            my $head = '';
            IO::Select->new($socket)->can_read(60) && sysread $socket, $head, 4096;
            $head =~ m{^HTTP/1\.1 (200|201|401|404) } ? $answered++ : $broken++;
            close $socket;
        }
    }

    is $broken, 0, "every request that was not reset has its answer ($answered answered, $reset reset)";
    wait_for(sub { $nginx->get("/api/line-requests/$first", $auth)->status == 200 }, 10, 'the worker to go on');
    coherent('org_1');
};

subtest 'fifty reloads under load' => sub {
    my $stop = 0;
    my (%status, @failed);
    my $pid = open(my $load, '-|') // die "fork: $!";

    if (!$pid) {
        # the load, in a process of its own, until it is told to stop
        local $SIG{TERM} = sub { $stop = 1 };
        my (%count, $n);

        while (!$stop) {
            my $answer = ++$n % 4
              ? $nginx->get("/api/line-requests/$first", $auth)
              : $nginx->post_json('/api/line-requests', \%phone, $auth);
            $count{$answer->status || $answer->error}++;
        }

        print Mojo::JSON::encode_json(\%count), "\n";
        close STDOUT;
        POSIX::_exit(0);
    }

    for (1 .. 50) {
        $nginx->reload;
    }

    kill TERM => $pid;
    my $report = Mojo::JSON::decode_json(readline $load);
    close $load;

    cmp_ok(($report->{200} // 0), '>', 50, 'requests were served throughout');
    is_deeply [grep { $_ ne '200' && $_ ne '201' } keys %$report], [], 'not one failed' or diag explain $report;
    unlike $nginx->error_log, qr/open socket/, 'no socket was left open';
    coherent('org_1');
};

subtest 'a worker is killed under load' => sub {
    my $killed = 0;
    my @answers = concurrently(400, sub ($i) {
        if ($i == 100 || $i == 250) {
            my ($pid) = $nginx->pids;
            $nginx->killed->{$pid} = 1;
            kill KILL => $pid;
            $killed++;
        }
        return $nginx->post_json_p('/api/line-requests', \%phone, $nginx->bearer($key, 'Idempotency-Key' => "kill-$i"));
    }, 40);
    my @made = grep { ($_->status // 0) == 201 } @answers;
    is $killed, 2, 'twice';
    cmp_ok @made, '>', 100, 'most were served: ' . @made;

    wait_for(sub { $nginx->get("/api/line-requests/$first", $auth)->status == 200 }, 30, 'workers to be back');

    my $client = $redis->client;
    my @lost = grep { !$client->exists('lines:{w:org_1}:line:' . $_->json('/line/_id')) } @made;
    is @lost, 0, 'nothing that was answered with success is lost';

    # who lost the answer asks again
    my @again = concurrently(400, sub ($i) {
        $nginx->post_json_p('/api/line-requests', \%phone, $nginx->bearer($key, 'Idempotency-Key' => "kill-$i"));
    }, 40);
    is grep({ $_->status == 201 } @again), 400, 'a retry under its key has its line';
    my %ids = map { $_->json('/line/_id') => 1 } @again;
    is keys %ids, 400, 'one each';
    coherent('org_1');
};

subtest 'SCRIPT FLUSH in mid-traffic' => sub {
    my @answers = concurrently(300, sub ($i) {
        $redis->client->script_flush if $i % 50 == 0;
        $nginx->post_json_p('/api/line-requests', \%phone, $auth);
    }, 30);
    is grep({ $_->status == 201 } @answers), 300, 'nobody noticed';
    coherent('org_1');
};

subtest 'FLUSHALL' => sub {
    $redis->client->flushall;
    my $answer = $nginx->get("/api/line-requests/$first", $auth);
    like $answer->status, qr/^(401|404)$/, 'what is gone is gone: ' . $answer->status;
    my $create = $nginx->post_json('/api/line-requests', \%phone, $auth);
    like $create->status, qr/^(401|403)$/, 'no stale success: ' . $create->status;
    my $new = $nginx->workspace(org_new => {plan => 'bulk', subscription => 'active'});
    is $nginx->post_json('/api/line-requests', \%phone, $nginx->bearer($new))->status, 201, 'and life goes on';
};

$t->done;
