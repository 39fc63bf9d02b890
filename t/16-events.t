# Server-sent events: GET /api/events, /api/line-requests/:id/events and /accounts/events are told what is written into the
# tenant's journal, as it is, by whichever node; who comes again with Last-Event-ID is told what he has missed, and nothing twice.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use List::Util qw(sum0 uniq);
use Mojo::Date;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json true false);
use Mojo::Promise;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Test::Lines::H2;
use Time::HiRes qw(time);

my $t    = Test::Lines->new(timeout => 900);
my $slow = $t->slow;

my $clerk = Test::Lines::Clerk->new(t => $t);
my $shop  = Test::Lines::Account->new(t => $t, webhooks => 1);
my $redis = $shop->redis;
my %node  = (
    workers => 2, h2 => 1, http => "lines_plan wide phone included=100000;\n",
    server  => $clerk->location . $clerk->directive(authorized_party => $clerk->party, leeway => '1s')
      . 'location /few/ { lines_workspace_api; lines_tenant_limits waits=3; }'
      . 'location /any/ { lines_workspace_api; lines_tenant_limits waits=unlimited; lines_concurrency off; }'
);
my ($near, $far) = map { $shop->nginx(%node, name => $_) } qw(near far);
$_->wait_redis for $near, $far;

my $n = 0;

# a workspace, its headers; a line of it, included in the plan, that is provisioning
sub workspace ($id = 'w' . ++$n) { return ($id, $near->bearer($shop->workspace($id, plan => 'wide'))) }
sub line ($auth) { $near->post_json('/api/line-requests', $shop->body(channelType => 'phone'), $auth)->json('/line/_id') // die 'no line' }
sub report ($line, $status = 'active', %more) { $near->admin(POST => "lines/$line/status", {status => $status, %more}) }

# an entry of the journal, as old nodes or other days wrote it
sub journal ($tenant, @entries) { $redis->cli(RPUSH => "lines:{$tenant}:journal", $_) for @entries }

# a stream by hand: its socket, and what came of it
sub ask ($nginx, $path, $headers = {}, %options) {
    my $socket = $nginx->socket;
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, $options{room} if $options{room};
    $headers = {%$headers, 'Last-Event-ID' => $options{last}} if defined $options{last};
    syswrite $socket, join "\r\n", "GET $path HTTP/1.1", 'Host: x', (map {"$_: $headers->{$_}"} sort keys %$headers), '', '';
    $socket->blocking(0);
    return {socket => $socket, in => '', body => '', ended => 0, gone => 0, options => \%options, blocks => []};
}

# takes what has come; true while there may be more
sub take ($s) {
    while (!$s->{gone}) {
        my $read = sysread $s->{socket}, $s->{in}, 65536, length $s->{in};
        last unless defined $read;
        $s->{gone} = 1 unless $read;
    }
    $s->{head} = $1 if !$s->{head} && $s->{in} =~ s/\A(HTTP.*?\r\n\r\n)//s;
    return !$s->{gone} unless $s->{head};

    if ($s->{head} =~ /^Transfer-Encoding: chunked/mi) {
        while ($s->{in} =~ /\A([0-9a-f]+)\r\n/i && length $s->{in} >= $+[0] + hex($1) + 2) {
            my ($from, $size) = ($+[0], hex $1);
            $s->{ended} = 1 unless $size;
            $s->{body} .= substr $s->{in}, $from, $size;
            substr $s->{in}, 0, $from + $size + 2, '';
        }
    }
    else { $s->{body} .= $s->{in}; $s->{in} = '' }
    while ($s->{body} =~ s/\A(.*?\n)\n//s) { push @{$s->{blocks}}, $1 }

    for my $block (splice @{$s->{blocks}}) {
        my %field = map { /^(\w*): ?(.*)/ ? ($1 => $2) : () } split /\n/, $block;
        $s->{last} = $field{id} if defined $field{id};
        $s->{retry} //= $field{retry};
        $s->{beats}++ if exists $field{''};
        next unless defined $field{data};
        push @{$s->{events}}, {id => $field{id}, %{decode_json($field{data})}, event => $field{event}};
        $s->{heard} = time;
    }
    return !$s->{gone} && !$s->{ended};
}

sub status ($s) { ($s->{head} // '') =~ /\AHTTP\/1.1 (\d+)/ ? $1 : 0 }

sub answered ($s) {
    wait_for(sub { take($s); status($s) }, 30 * $slow, 'an answer');
    return status($s);
}

# that is open, and told from where it begins
sub stream ($nginx, $path, $auth, %options) {
    my $s = ask($nginx, $path, $auth, %options);
    wait_for(sub { take($s); defined $s->{last} || $s->{gone} }, 30 * $slow, "a stream of $path");
    is status($s), 200, "$path: a stream" or diag $s->{head}, $s->{in};
    return $s;
}

sub events ($s, $count, $what = "$count events") {
    wait_for(sub { take($s); @{$s->{events} // []} >= $count }, 60 * $slow, $what);
    return splice @{$s->{events}}, 0, $count;
}

sub ended ($s, $what = 'it to end') {
    wait_for(sub { take($s); $s->{ended} || $s->{gone} }, 60 * $slow, $what);
    return $s->{ended};
}

sub leave ($s) { close $s->{socket} }

sub gauge ($name, @nodes) {
    return sum0 map { $_->get('/_lines/metrics')->body =~ /^$name (\d+)$/m ? $1 : die "no $name" } @nodes;
}

sub open_streams ($count, @nodes) { wait_for(sub { gauge('lines_event_streams', @nodes) == $count }, 60, "$count streams, not " . gauge('lines_event_streams', @nodes)) }

sub median (@values) { (sort { $a <=> $b } @values)[@values / 2] }

subtest 'what a workspace is told' => sub {
    my ($id, $auth) = workspace();
    my $s = stream($far, '/api/events', $auth);

    like $s->{head}, qr/^Content-Type: text\/event-stream\r$/m, 'its type';
    like $s->{head}, qr/^Cache-Control: no-store\r$/m, 'no cache keeps it';
    like $s->{head}, qr/^X-Accel-Buffering: no\r$/m, 'nor an nginx in front';
    like $s->{head}, qr/^X-Request-Id: \w+\r$/m, 'its name';
    cmp_ok $s->{retry}, '>=', 1000, 'who is cut off is not to come at once';
    cmp_ok $s->{retry}, '<', 5000, 'nor much later';
    like $s->{last}, qr/^\d{13}$/, 'from where it begins is said at once';

    my $line = line($auth);
    my ($made) = events($s, 1);
    is $made->{event}, 'line.provisioning', 'a line is requested, at the one node; who listens at the other hears';
    like delete $made->{at}, qr/./, 'with the instant';
    is_deeply [@$made{qw(type line from to reason)}], ['line.provisioning', $line, undef, 'provisioning', undef], 'all that clients may know';
    is_deeply [sort keys %$made], [qw(event from id line reason to type)], 'and no more';

    report($line, 'active', phone => '+14155550100');
    my ($active) = events($s, 1);
    is_deeply [@$active{qw(event line from to)}], ['line.active', $line, 'provisioning', 'active'], 'it becomes active';
    cmp_ok $active->{id}, '>', $made->{id}, 'ids grow';
    $near->admin(POST => "lines/$line/release");
    is_deeply [@{(events($s, 1))[0]}{qw(event to reason)}], ['line.released', 'canceled', 'released'], 'and is released';

    # not the affair of clients
    my $next = 1 + ($redis->events("w:$id"))[-1]{id};
    journal("w:$id", qq({"id":$next,"type":"operation.resolved","operation":"x","by":"root","note":"secret"}), sprintf('{"id":%d,"type":"line.unsubscribed","line":"%s","subscription":"sub_1"}', $next + 1, $line), '{"id":' . ($next + 2) . ',"type":"made.up"}', 'nonsense');
    journal("w:$id", sprintf '{"id":%d,"type":"line.refunded","line":"%s","subscription":"sub_1"}', $next + 3, $line);
    $redis->cli(PUBLISH => 'lines:revoked', "event w:$id");
    my ($refunded) = events($s, 1);
    delete $refunded->{at};
    is_deeply $refunded, {id => $next + 3, event => 'line.refunded', type => 'line.refunded', line => $line}, 'operations, billing and what is not known are passed over';

    # a stream of one line
    my $other = line($auth);
    my $one   = stream($far, "/api/line-requests/$other/events", $auth);
    report(line($auth));
    report($other);
    is_deeply [map { @$_{qw(event line)} } events($one, 1)], ['line.active', $other], 'of one line: that one alone';
    events($s, 4);
    is_deeply [take($s), take($one), @{$s->{events}}, @{$one->{events}}], [1, 1], 'nothing else';
    leave($_) for $s, $one;
    open_streams(0, $far);
};

subtest 'who may, and what is asked for' => sub {
    my ($id, $auth) = workspace();
    my ($other, $his) = workspace();
    my $line  = line($auth);
    my @paths = ('/api/events', "/api/line-requests/$line/events");

    for my $path (@paths) {
        is $near->get($path)->status, 401, "$path: nobody";
        is_deeply $near->get($path)->json, {error => 'Unauthorized'}, 'in the dialect';
        my $post = $near->post($path, '', $auth);
        is_deeply [$post->status, $post->header('Allow'), $post->json], [405, 'GET, HEAD', {error => 'Method not allowed'}], 'POST';
        my $head = $near->head($path, $auth);
        is_deeply [$head->status, $head->header('Content-Type')], [200, 'text/event-stream'], 'HEAD is answered, and ends';
        for my $bad ('x', '-1', '1.5', '1' x 16, '1 2') {
            my $answer = $near->get($path, {%$auth, 'Last-Event-ID' => $bad});
            is_deeply [$answer->status, $answer->json], [400, {error => 'Last-Event-ID is not one that was given out'}], "Last-Event-ID: $bad";
        }
    }
    is_deeply $near->get("/api/line-requests/$line/events", $his)->json, {error => 'Line request not found'}, 'a line of another workspace is not there';
    is $near->get('/api/line-requests/' . 'f' x 24 . '/events', $auth)->status, 404, 'nor one that is none';
    is $near->get('/api/line-requests/x/events', $auth)->status, 400, 'an id that is none';
    is $near->get('/accounts/events')->json('/status'), 'ERROR', 'accounts have their own words';
    is $near->get('/accounts/events', $auth)->status, 401, 'and their own keys';
    open_streams(0, $near);
};

subtest 'an account' => sub {
    my $one = $shop->account('one');
    my $two = $shop->account('two');
    $shop->numbers(1);
    my ($s, $his) = map { stream($far, '/accounts/events', $_->{headers}) } $one, $two;

    is $shop->confirm($one, $shop->token($one), key => 'k')->status, 200, 'it buys a line';
    my ($line) = $shop->lines($one);
    is_deeply [@{(events($s, 1))[0]}{qw(event line to)}], ['line.active', $line->{id}, 'active'], 'which is told; that it was begun is not';
    is $near->post_json('/accounts/lines/add-line', {line_request_type => 'phone', desired_area_code => '415'}, $one->{headers})->status, 200, 'a ticket';
    my ($ticket) = events($s, 1);
    is $ticket->{event}, 'ticket.open', 'is told';
    is $near->admin(POST => "tickets/$ticket->{ticket}", {status => 'CANCELLED'})->status, 200, 'moved';
    is_deeply [@{(events($s, 1))[0]}{qw(event ticket)}], ['ticket.cancelled', $ticket->{ticket}], 'as well';
    take($his);
    is_deeply $his->{events} // [], [], 'another account hears nothing';
    my $gone = $far->get('/accounts/events', {%{$one->{headers}}, 'Last-Event-ID' => 1});
    is_deeply [$gone->status, $gone->json('/status'), $gone->json('/error')], [410, 'ERROR', 'events_gone'], 'gone, in the dialect';
    leave($_) for $s, $his;
};

subtest 'how soon' => sub {
    my ($id, $auth) = workspace();
    my @lines = map { line($auth) } 1 .. 41;
    my @s     = map { stream($_, '/any/events', $auth) } ($near, $far) x 10;
    my @took  = map {
        my $sent = time;
        $near->request_p(POST => "/_lines/admin/lines/$_/status", $near->bearer($t->admin_token, 'Content-Type' => 'application/json'), '{"status":"failed"}');
        my $line = $_;
        map { my $s = $_; my ($event) = events($s, 1); $event->{line} eq $line or fail 'that line'; $s->{heard} - $sent } @s;
    } @lines;
    cmp_ok median(@took), '<', 0.1 * $slow, sprintf 'within %.1f ms at the median, on both nodes', 1000 * median(@took);
    is_deeply [uniq map { scalar @{$_->{events} // []} } @s], [0], 'once';
    leave($_) for @s;
    open_streams(0, $near, $far);
};

subtest 'who comes again' => sub {
    my ($id, $auth) = workspace();
    my $s = stream($near, '/any/events', $auth);
    my $begin = $s->{last};
    leave($s);
    my @lines = map { line($auth) } 1 .. 250;

    my $all = stream($far, '/any/events', $auth, last => $begin);
    my @told = events($all, 250);
    is_deeply [map { $_->{line} } @told], \@lines, 'is told all that he has missed, in its order, some at a time';
    is_deeply [map { $_->{id} } @told], [sort { $a <=> $b } uniq map { $_->{id} } @told], 'each once';

    for my $i (0, 1, 98, 99, 100, 101, 248, 249) {
        my $s = stream($near, '/any/events', $auth, last => $told[$i]{id});
        is_deeply [map { $_->{id} } events($s, 249 - $i)], [map { $_->{id} } @told[$i + 1 .. 249]], "from the entry $i on";
        leave($s);
    }
    # an id between two of them, as that of another line's stream
    my $between = stream($near, '/any/events', $auth, last => $told[0]{id} - 1);
    is ((events($between, 1))[0]{line}, $lines[0], 'from between');
    leave($between);

    # of one line, whose events lie far apart
    my $one = stream($near, "/any/line-requests/$lines[0]/events", $auth, last => $begin);
    report($lines[0]);
    is_deeply [map { $_->{event} } events($one, 2)], ['line.provisioning', 'line.active'], 'a line';
    leave($one);
    leave($all);
};

subtest 'what is gone' => sub {
    my ($id, $auth) = workspace();
    my $day = 86400_000;
    my $now = int(1000 * time);
    my $ask = sub ($last) { my $s = ask($near, '/any/events', $auth, last => $last); answered($s); leave($s); return $s };
    my $gone = sub ($last) { my $s = $ask->($last); return status($s) == 410 && $s->{in} . $s->{body} =~ /"code":"events_gone"/ };

    is status($ask->($now - 1000)), 200, 'nothing has happened: nothing is missed';
    ok $gone->($now - 91 * $day), 'but 90 days ago it may have';

    my $new = stream($near, '/any/events', $auth);
    journal("w:$id", map {sprintf '{"id":%d,"type":"line.active","line":"%024x","to":"active"}', $now + $_, $_} 1 .. 20);
    ok !$gone->($now), 'all is there';
    ok !$gone->($now + 10), 'what follows is there';
    is status($ask->($now - 5 * $day)), 200, 'from before the first: none was dropped';
    ok $gone->($now - 90 * $day), 'from before the oldest that could be there';
    ok $gone->($now + 21), 'from an entry that this database does not know';

    $redis->cli(DEL => "lines:{w:$id}:journal");
    $redis->cli(EVAL => 'for i = 1, 10000 do redis.call("RPUSH", KEYS[1], string.format(\'{"id":%.0f,"type":"line.active","line":"%024x","to":"active"}\', ARGV[1] + i, i)) end', 1, "lines:{w:$id}:journal", $now);
    ok $gone->($now), 'as many as are kept: others may have been before';
    my $answer = $near->get('/any/events', {%$auth, 'Last-Event-ID' => $now});
    is_deeply [$answer->status, $answer->json], [410, {error => 'What follows Last-Event-ID is not kept any more: connect without it, then list all anew', code => 'events_gone'}], 'it is said what to do';
    my $s = stream($near, '/any/events', $auth, last => $now + 1);
    my @told = events($s, 9999);
    is_deeply [$told[0]{id}, $told[-1]{id}], [$now + 2, $now + 10000], 'all others, page by page';
    leave($_) for $s, $new;
};

subtest 'no event lost, or twice over: reloads, Redis, two nodes' => sub {
    my ($id, $auth) = workspace();
    my @s = map { stream($_, '/any/events', $auth) } ($near, $far) x 3;
    my (@lines, %got, %again);
    my %node_of = map { $_ => ($near, $far)[$_ % 2] } 0 .. $#s;

    # clients as browsers are: they come again with the last id that they have
    my $turn = sub {
        for my $i (0 .. $#s) {
            my $s = $s[$i];
            take($s);
            push @{$got{$i}}, splice @{$s->{events} // []};
            next unless $s->{ended} || $s->{gone} || (status($s) && status($s) != 200);
            $again{$i}++;
            my $last = $s->{last} // $s->{options}{last};
            leave($s);
            $s[$i] = eval { ask($node_of{$i}, '/any/events', $auth, last => $last) } // $s;
        }
    };
    my $until = sub ($what) {
        wait_for(sub { $turn->(); !grep { @{$got{$_} // []} < @lines } 0 .. $#s }, 60 * $slow, $what);
        for my $i (0 .. $#s) { is_deeply [map { $_->{line} } @{$got{$i}}], \@lines, "$what: $i has each, once, in order" or return }
    };
    my $make = sub ($count) { push @lines, line($auth) for 1 .. $count };

    $make->(3);
    $until->('as ever');
    $near->reload;
    $make->(5);
    $until->('a reload');
    is scalar(grep { $again{$_} } 0 .. $#s), 3, 'of which those of that node know';
    $redis->cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $make->(5);
    $until->('the subscription was lost');
    $redis->cli(DEL => "lines:{w:$id}:waited");
    $redis->cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $make->(2);
    $until->('so was that somebody waits');
    %again = ();
    $redis->stop;
    wait_for(sub { $turn->(); $far->get('/_lines/ready')->status == 503 }, 30 * $slow, 'Redis to be missed');
    my $refused = ask($far, '/any/events', $auth);
    is answered($refused), 503, 'Redis is away: a stream does not begin';
    like $refused->{head}, qr/^Retry-After: 1\r$/m, 'but may soon';
    $redis->start;
    $_->wait_redis for $near, $far;
    $make->(5);
    $until->('a restart of Redis');
    is_deeply \%again, {}, 'which they do not notice';
    $near->kill_worker;
    $near->wait_redis;
    $make->(2);
    $until->('a worker that is killed');
    $_->reload(wait_old => 1) for $near, $far;
    $make->(2);
    $until->('both reloaded');
    leave($_) for @s;
    open_streams(0, $near, $far);
};

subtest 'Redis that is slow' => sub {
    my ($id, $auth) = workspace();
    my $line = line($auth);
    my $s    = stream($far, '/any/events', $auth);
    report($line);
    events($s, 1);
    $redis->pause;
    $far->get('/_lines/ready');
    Mojo::Promise->timer(3)->wait;
    take($s);
    ok !$s->{ended} && !$s->{gone}, 'a stream stays';
    $redis->cont;
    $_->wait_redis for $near, $far;
    $near->admin(POST => "lines/$line/release");
    is ((events($s, 1))[0]{event}, 'line.released', 'and hears');

    # a message that nobody heard is made up for by who says that he waits
    my $quiet = stream($near, '/any/events', $auth);
    $redis->cli(DEL => "lines:{w:$id}:waited");
    my $more = line($auth);
    my @told = map { (events($_, 1, 'what was missed'))[0]{line} } $quiet, $s;
    is_deeply \@told, [$more, $more], 'what was not told at all is found within a minute';
    leave($_) for $s, $quiet;
};

subtest 'signs of life' => sub {
    my ($id, $auth) = workspace();
    my $line = line($auth);
    my ($s, $one) = map { stream($near, $_, $auth) } '/any/events', "/any/line-requests/$line/events";
    my $begin = $one->{last};
    my $start = time;
    my $other = line($auth);
    # also where it is told again and again of what is not for it
    my $tell = sub { $redis->cli(PUBLISH => 'lines:revoked', "event w:$id"); 1 };
    wait_for(sub { $tell->() && !take($one) || $one->{beats} }, 30 * $slow, 'a comment');
    cmp_ok time - $start, '<', 16 * $slow, 'within 15 seconds';
    cmp_ok $one->{last}, '>', $begin, 'with a newer id, though nothing of that line has happened';
    is $one->{last}, (events($s, 1))[0]{id}, 'that of what has happened';
    is_deeply $one->{events} // [], [], 'which is not told here';
    leave($_) for $s, $one;
};

subtest 'who may no more' => sub {
    my ($id, $auth) = workspace();
    my $made  = $near->admin(POST => "workspaces/$id/keys")->json;
    my $s     = stream($far, '/any/events', $far->bearer($made->{key}));
    my $other = stream($far, '/any/events', $auth);

    my $start = time;
    is $near->admin(DELETE => "workspaces/$id/keys/$made->{id}")->status, 200, 'a key is revoked, at the one node';
    ok ended($s), 'its stream ends, as an answer does';
    cmp_ok time - $start, '<', 5 * $slow, 'at once';
    is $far->get('/any/events', $far->bearer($made->{key}))->status, 401, 'and there is no other';
    ok take($other), 'that of another key does not';

    # revoked while it begins: after it was looked at, before anybody listens
    my $wire = $t->wire(redis => $redis);
    my $node = $shop->nginx(%node, name => 'wired', workers => 1, redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
    $made = $near->admin(POST => "workspaces/$id/keys")->json;
    $wire->hold(qr/EXISTS\r\n.*\{w:$id\}:line/s);
    my $line = line($auth);
    my $late = ask($node, "/any/line-requests/$line/events", $node->bearer($made->{key}));
    $wire->reached;
    $near->admin(DELETE => "workspaces/$id/keys/$made->{id}");
    Mojo::Promise->timer(1)->wait;
    $wire->pass;
    is answered($late), 401, 'a key that is revoked while a stream begins';
    $node->quit;

    $near->admin(PUT => "workspaces/$id", {subscription => 'past_due'});
    ok ended($other), 'a workspace is suspended: its streams end';
    my $had = $other->{events};
    $other = stream($far, '/any/events', $auth, last => $other->{last});
    $other->{events} = $had;
    report($line);
    is_deeply [map { $_->{event} } events($other, 2)], ['line.provisioning', 'line.active'], 'and begin again, as it may read';
    is $near->admin(DELETE => "workspaces/$id")->status, 409, 'it has lines';
    leave($other);

    my ($gone, $his) = workspace();
    $s = stream($far, '/any/events', $his);
    is $near->admin(DELETE => "workspaces/$gone")->status, 200, 'a workspace is deleted';
    ok ended($s), 'its streams end';

    # a key that expires, a session token
    my ($timed) = workspace();
    my $key = $near->admin(POST => "workspaces/$timed/keys", {expires_at => Mojo::Date->new(int(time) + 4)->to_datetime})->json;
    $s = stream($near, '/any/events', $near->bearer($key->{key}));
    my $token = stream($near, '/any/events', $near->bearer($clerk->token(org => $timed, claims => {exp => int(time) + 3})));
    $start = time;
    ok ended($_), 'ends with its credential' for $s, $token;
    cmp_ok time - $start, '<', 7 * $slow, 'in time';
    open_streams(0, $near, $far);
};

subtest 'readers that are slow' => sub {
    my ($id, $auth) = workspace();
    my $now = int(1000 * time);
    my $fill = 'for i = 1, 9000 do redis.call("RPUSH", KEYS[1], string.format(\'{"id":%.0f,"type":"line.active","line":"%024x","to":"active","reason":"%s"}\', ARGV[1] + i, i, string.rep("x", 300))) end';
    $redis->cli(EVAL => $fill, 1, "lines:{w:$id}:journal", $now);
    my $node = $shop->nginx(%node, name => 'slow', workers => 1);
    my $rss  = sub { my ($pid) = $node->pids; path("/proc/$pid/status")->slurp =~ /VmRSS:\s+(\d+)/ ? $1 : die };

    my $fast = stream($node, '/any/events', $auth, last => $now + 1);
    events($fast, 8999);
    my $before = $rss->();
    my @slow = map { ask($node, "/any/events", $auth, last => $now + ($_ == 1 ? 8800 : 1), room => 4096) } 1 .. 20;
    my $h2   = Test::Lines::H2->new(port => $node->h2_port, window => 1, credit => 'none');
    my $h2s  = $h2->request(GET => '/any/events', {authorization => $auth->{Authorization}, 'last-event-id' => $now + 1});
    ok $h2->wait($h2s, 10, 'headers'), 'they begin';
    open_streams(22, $node);
    Mojo::Promise->timer(1)->wait;
    cmp_ok $rss->() - $before, '<', 20 * 200, 'a page of each is in memory, of 3.5 MB that they could have' unless $ENV{LINES_PRELOAD};
    report(line($auth));
    events($fast, 1);
    is gauge('lines_event_streams', $node), 22, 'others are told meanwhile';

    # one reads on in time
    my $reader = shift @slow;
    events($reader, 200, "all of it, late");
    open_streams(2, $node);
    ok !take($fast) == 0, 'who reads stays';
    $node->wait_log(qr/a stream of "w:$id" is cut off: the client does not take what is sent/);
    is $h2->answer($h2s)->status, 0, 'of HTTP/2 as well';
    leave($_) for @slow, $reader, $fast;
    $node->quit;
};

subtest 'clients that leave' => sub {
    my ($id, $auth) = workspace();
    my @s       = map { stream($near, '/any/events', $auth) } 1 .. 4;
    my $h2      = Test::Lines::H2->new(port => $near->h2_port);
    my @streams = map { $h2->request(GET => '/any/events', {authorization => $auth->{Authorization}}) } 1 .. 4;
    open_streams(8, $near);
    leave($s[0]);
    $near->reset_connection($s[1]{socket});
    open_streams(6, $near);
    $h2->reset($streams[0]);
    open_streams(5, $near);
    $h2->leave;
    open_streams(2, $near);
    leave($_) for @s[2, 3];
    open_streams(0, $near);
    my ($sum) = $near->get('/_lines/metrics')->body =~ /^lines_http_request_duration_seconds_sum\{api="workspace",endpoint="events"\} (\S+)$/m;
    cmp_ok $sum, '<', 20 * $slow, 'how long a stream is open is no latency';

    # while Redis is asked: for the first time, and later
    my $wire = $t->wire(redis => $redis);
    my $node = $shop->nginx(%node, name => 'left', workers => 1, redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');
    my $pid  = ($node->pids)[0];
    for my $held (qr/^\*\d+\r\n\$3\r\nSET\r\n.*\{w:$id\}:waited/s, qr/EVALSHA\r\n.*\{w:$id\}:journal/s) {
        $wire->hold($held);
        my $s = ask($node, '/any/events', $auth);
        $wire->reached;
        $node->reset_connection($s->{socket});
        open_streams(0, $node);
        $wire->pass;
    }
    my $s = stream($node, '/any/events', $auth);
    $wire->hold(qr/EVALSHA\r\n.*\{w:$id\}:journal/s);
    $redis->cli(PUBLISH => 'lines:revoked', "event w:$id");
    $wire->reached;
    $node->reset_connection($s->{socket});
    open_streams(0, $node);
    $wire->pass;
    is $node->get('/api/lines/by-user', $auth)->status, 200, 'the worker goes on';
    is_deeply [$node->pids], [$pid], 'the same';
    $node->quit;
};

subtest 'HTTP/2' => sub {
    my ($id, $auth) = workspace();
    my $h2 = Test::Lines::H2->new(port => $far->h2_port);
    my @streams = map { $h2->request(GET => '/any/events', {authorization => $auth->{Authorization}}) } 1 .. 3;
    $h2->wait($_, 10, 30) for @streams;
    my $line = line($auth);
    for my $stream (@streams) {
        my $had = $h2->received($stream);
        wait_for(sub { $h2->wait($stream, 0.05, $had + 1); $h2->{streams}{$stream}{body} =~ /^event: line.provisioning\ndata: .*"line":"$line".*\n\n/m }, 20, 'the event');
    }
    pass 'each has it';
    is $h2->answer($h2->request(GET => "/api/line-requests/$line", {authorization => $auth->{Authorization}}))->status, 200, 'and the connection is free for more';
    $far->reload;
    $h2->wait($_, 20) for @streams;
    is_deeply [map { [$h2->ended($_), $h2->{streams}{$_}{reset}] } @streams], [([1, undef]) x 3], 'a reload ends them properly';
    open_streams(0, $far);
};

subtest 'how many' => sub {
    my ($id, $auth) = workspace();
    my @s = map { stream($near, '/few/events', $auth) } 1 .. 3;
    my $answer = $near->get('/few/events', $auth);
    is $answer->status, 429, 'a fourth of three, on whichever worker';
    is $answer->json('/code'), 'wait_limit_reached', 'in words';
    cmp_ok $answer->header('Retry-After'), '>=', 1, 'and may come again';
    my $path = '/few/line-requests/' . line($auth);
    is $near->get("$path?wait=30", {%$auth, 'If-None-Match' => $near->get($path, $auth)->header('ETag')})->status, 429, 'who waits counts with them';
    my ($held) = $near->get('/_lines/metrics')->body =~ /^lines_concurrency_requests (\d+)$/m;
    is $held, 3, 'each counts as one request at once';
    leave($_) for @s;
    open_streams(0, $near);

    my $small = $shop->nginx(%node, h2 => 0, name => 'small', workers => 1, connections => 64);
    @s = map { stream($small, '/any/events', $auth) } 1 .. 32;
    for (1 .. 5) {
        my $answer = $small->get('/any/events', $auth);
        is_deeply [$answer->status, $answer->header('Retry-After')], [503, 5], 'half of the connections are for others';
    }
    my @warnings = $small->error_log =~ /\[warn\].*32 requests wait, on half of "worker_connections"/g;
    is scalar(@warnings), 1, 'which is said once';
    is $small->get('/api/lines/by-user', $auth)->status, 200, 'who are served';
    leave($_) for @s;
    open_streams(0, $small);
    $small->quit;
};

subtest 'what an idle listener costs' => sub {
    plan skip_all => 'memory is another thing, sanitized' if $ENV{LINES_PRELOAD};
    my $count = $ENV{LINES_LISTENERS} || 500;
    my ($id, $auth) = workspace();
    my $node = $shop->nginx(%node, name => 'memory', workers => 1, connections => 2 * $count + 200);
    my $rss  = sub { my ($pid) = $node->pids; path("/proc/$pid/smaps_rollup")->slurp =~ /^Private_Dirty:\s+(\d+)/m ? $1 : die };
    leave(stream($node, '/any/events', $auth)) for 1 .. 3;
    my $before = $rss->();
    my @s = map { stream($node, '/any/events', $auth) } 1 .. $count;
    open_streams($count, $node);
    my $each = ($rss->() - $before) / $count;
    diag sprintf '%d listeners: %.2f KB each', $count, $each;
    cmp_ok $each, '<', 10, sprintf 'over HTTP/1.1 with an API key: %.2f KB', $each;

    my $line = line($auth);
    my $sent = time;
    events($_, 1) for @s;
    cmp_ok time - $sent, '<', 5 * $slow, 'all are told soon';
    leave($_) for @s;
    open_streams(0, $node);
    $node->quit;
};

$t->done;
