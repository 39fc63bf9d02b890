# What is announced in Redis and never comes, or comes to nothing, leaves no index for ever, whatever a client breaks off.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Compress::Zlib ();
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t     = Test::Lines->new;
my $shop  = Test::Lines::Account->new(t => $t, budget => '6s', agent => 'daily=50 monthly=100 preview_ttl=10m',
    operations => 'sweep=300ms retry=300ms due=1s lease=2s absent=1s walk=1s hint=2s late=1s audit=off');
my $nginx = $shop->nginx(server => <<'END');
location /few/ { lines_account_api; lines_tenant_limits tickets=1 billing=1r/h billing_burst=1; }
END
my $redis = $shop->redis;

sub ix ($name) { $redis->cli(TTL => "lines:{ix:$name}") }

sub hints { map { @{scalar $redis->cli(ZRANGE => "lines:{due:$_}", 0, -1)} } 0 .. 15 }

sub none_left ($name) {
    wait_for(sub { !hints() }, 60, 'the hints to go');
    is_deeply [$redis->ownerless], [], $name;
}

$shop->numbers(5);

subtest 'purchases' => sub {
    my $none = $shop->account('none', customer => 'cus_nocard');
    my @ids  = map { my $token = $shop->token($none); $shop->confirm($none, $token); $shop->operation_id($token) } 1 .. 3;
    none_left('undone');
    cmp_ok ix($_), '>', 86_000, 'found by its id as long as its record' for @ids;

    my $good  = $shop->account('good');
    my $token = $shop->token($good);
    is $shop->confirm($good, $token)->status, 200, 'bought';
    none_left('one that is bought');
    is ix($shop->operation_id($token)), -1, '... is found for ever';
};

subtest 'what never begins' => sub {
    my $one = $shop->account('one');
    my ($begun, $line, $ticket) = ('b' x 24, 'c' x 24, 'ticket.99999');

    # as a client leaves them that breaks off, and a node that is killed: the index, and its hint
    for my $id ($begun, $line, $ticket, 'ticket.99998') {
        $redis->cli(SET => "lines:{ix:$id}", 'a:one');
        $redis->cli(ZADD => 'lines:{due:' . Compress::Zlib::crc32($id) % 16 . '}', 1000 * time, "a:one $id");
    }
    $redis->cli(HSET => "lines:{a:one}:line:$line", id => $line);
    $redis->cli(HSET => 'lines:{a:one}:ticket:99998', id => '99998', json => '{}');
    none_left('nothing stays without an owner');
    cmp_ok ix($_), '>', 86_000, "$_ goes after a day" for $begun, $ticket;
    is ix($_), -1, "$_, which is there, stays" for $line, 'ticket.99998';
    $redis->cli(DEL => "lines:{a:one}:line:$line", "lines:{ix:$line}", 'lines:{a:one}:ticket:99998', 'lines:{ix:ticket.99998}');
};

subtest 'tickets' => sub {
    my $one  = $shop->account('wisher');
    my $wish = sub { $nginx->post_json('/few/lines/add-line', {line_request_type => 'phone'}, $one->{headers}) };
    my $id   = $wish->()->json('/data/id');
    is_deeply [grep {/ticket/} hints()], [], 'a ticket that is there needs no hint';
    is ix("ticket.$id"), -1, 'it is found for ever';
    is $wish->()->status, 429, 'another is refused';

    # clients that leave at once
    for my $after (map { $_ / 5000 } 0 .. 60) {
        my $body   = '{"line_request_type":"phone"}';
        my $socket = $nginx->socket;
        print $socket join "\r\n", 'POST /few/lines/add-line HTTP/1.1', 'Host: x', 'Content-Type: application/json',
          "sb-api-key-id: $one->{headers}{'sb-api-key-id'}", "sb-api-secret-key: $one->{headers}{'sb-api-secret-key'}",
          'Content-Length: ' . length $body, '', $body;
        $socket->flush;
        select undef, undef, undef, $after / 4;
        $nginx->reset_connection($socket);
    }
    none_left('whenever they do');
    is $nginx->get("/few/lines/line-request/$id", $one->{headers})->status, 200, 'the ticket is found';
};

subtest 'a deleted account' => sub {
    is $nginx->admin(DELETE => "accounts/$_")->status, 200, 'deleted' for qw(none one wisher);
    none_left('leaves none');
};

# what a sweeper of another node sees of a clock that was set back: what was announced just now is long overdue
subtest 'a begin on its way while its hint goes' => sub {
    my $wire = $t->wire(redis => $redis, name => 'late');
    my $late = Test::Lines::Account->new(t => $t, redis => $redis, sandbox => $shop->sandbox, plans => $shop->plans, budget => '6s',
        operations => 'sweep=1h retry=300ms due=1h lease=20s late=60s audit=off')
      ->nginx(redis => $wire->url, workers => 1, redis_options => 'timeout=20s connect_timeout=10s');
    wait_for(sub { $late->get('/_lines/ready')->status == 200 }, 30, 'ready');

    # what is announced, its hint overdue, is given a day; then its begin gets there
    my $overtaken = sub ($script, $ask) {
        my %before = map { $_ => 1 } $redis->client->keys('lines:{ix:*}');
        $wire->hold($wire->call($script));
        my ($answer, $id, $hint);
        my $asked = $ask->()->then(sub ($got) { $answer = $got });
        $wire->reached('its begin');
        ($id) = map {/ix:(.*)\}/} grep { !$before{$_} } $redis->client->keys('lines:{ix:*}');
        my $due = 'lines:{due:' . Compress::Zlib::crc32($id) % 16 . '}';
        ($hint) = grep {/ \Q$id\E$/} @{scalar $redis->cli(ZRANGE => $due, 0, -1)};
        $redis->cli(ZADD => $due, 1000 * (time - 600), $hint);
        wait_for(sub { ix($id) > 0 && !defined $redis->cli(ZSCORE => $due, $hint) }, 30, 'its hint to go');
        $wire->pass;
        $asked->wait;
        return ($answer, $id);
    };

    my %workspace = (plan => 'growth', subscription => 'active', customer => 'cus_card');
    my $key       = $late->workspace(overtaken => \%workspace);
    my ($answer, $first) = $overtaken->(line_begin => sub { $late->post_json_p('/api/line-requests', {firstName => 'A', lastName => 'B', channelType => 'phone'}, $late->bearer($key)) });
    is $answer->status, 201, 'a line request is told of a line' or diag $answer->to_string;
    my @lines = $redis->client->zrange('lines:{w:overtaken}:lines', 0, -1);
    is scalar @lines, 1, 'there is one';
    isnt $lines[0], $first, 'of another id';
    is ix($lines[0]), -1, 'it is found for ever';
    cmp_ok ix($first), '<', 86_401, 'what never came is not';

    my $buyer = $shop->account('buyer');
    my $token = $shop->token($buyer);
    ($answer, my $bought) = $overtaken->(confirm_begin => sub { $shop->confirm_p($buyer, $token, nginx => $late) });
    is $answer->status, 200, 'a token is announced once more, and buys' or diag $answer->to_string;
    wait_for(sub { ix($bought) == -1 }, 10, 'it to be found for ever');

    my $wisher = $shop->account('late');
    ($answer, my $never) = $overtaken->(ticket_add => sub { $late->post_json_p('/accounts/lines/add-line', {line_request_type => 'phone'}, $wisher->{headers}) });
    is $answer->status, 503, 'a ticket is to be asked for again' or diag $answer->to_string;
    is $redis->cli(EXISTS => 'lines:{a:late}:tickets'), 0, '... and is not there';
};

subtest 'a token that is confirmed again as the hint of its first confirm goes' => sub {
    my $calm = Test::Lines::Account->new(t => $t, redis => $redis, sandbox => $shop->sandbox, plans => $shop->plans, budget => '6s',
        operations => 'sweep=1h retry=300ms due=1h lease=20s audit=off')->nginx;
    my ($again, $bought) = map { $shop->account($_) } qw(again bought);
    my ($token, $other)  = map { $shop->token($_) } $again, $bought;
    $nginx->stop;
    my $wire = $t->wire(redis => $redis);
    my $slow = $shop->nginx(redis => $wire->url, workers => 1, redis_options => 'timeout=20s connect_timeout=10s');
    wait_for(sub { $_->get('/_lines/ready')->status == 200 }, 30, 'ready') for $calm, $slow;

    # as a confirm leaves them that was refused; who looks at the hint for the last time is slow
    my $hinted = sub ($account, $id) {
        $wire->hold(qr/EXPIRE.*\{ix:$id\}/s);
        $redis->cli(SET => "lines:{ix:$id}", "a:$account->{id}");
        $redis->cli(ZADD => 'lines:{due:' . Compress::Zlib::crc32($id) % 16 . '}', 1000 * time, "a:$account->{id} $id");
        $wire->reached;
    };

    my $id = $shop->operation_id($token);
    $hinted->($again, $id);
    $shop->sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 1500, times => 1);
    my $answer;
    my $confirmed = $shop->confirm_p($again, $token, nginx => $calm)->then(sub ($got) { $answer = $got });
    wait_for(sub { ($shop->purchase($again, $id)->{step} // '') eq 'charge' }, 10, 'a charge');
    $wire->pass;
    wait_for(sub { ix($id) > 0 }, 10, 'the index to be given a day');
    $confirmed->wait;
    is $answer->status, 200, 'bought' or diag $answer->to_string;
    ok eval { wait_for(sub { ix($id) == -1 }, 10, 'it to stay') }, 'the line is found for ever';

    # so slow that it has bought by then
    my $expired = sub { ($redis->cli(INFO => 'commandstats')->{cmdstat_expire} // '') =~ /calls=(\d+)/ ? $1 : 0 };
    $id = $shop->operation_id($other);
    $hinted->($bought, $id);
    is $shop->confirm($bought, $other, nginx => $calm)->status, 200, 'bought';
    wait_for(sub { ($shop->purchase($bought, $id)->{step} // '') eq 'done' }, 10, 'its end');
    my $before = $expired->();
    $wire->pass;
    wait_for(sub { $expired->() > $before }, 10, 'the index to be given a day');
    ok eval { wait_for(sub { ix($id) == -1 }, 10, 'it to stay') }, 'that line is found for ever, too';
};

$t->done;
