# Each allocation of a request fails, one at a time: the worker lives, the request is answered with 500 or 503, or as ever,
# or its connection ends; what it was to write is written once, by whoever asks again; nothing is left over.
#
#   LINES_ALLOC=all  each allocation of each endpoint (otherwise six of each; LINES_SEED says from which one on)
#   LINES_ALLOC_ONLY=REGEX  of these cases; LINES_ALLOC_AT=N: that allocation alone
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json false);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $all  = ($ENV{LINES_ALLOC} // '') eq 'all';
my $some = $ENV{LINES_ALLOC_SOME} // 6;
my $seed = $ENV{LINES_SEED} // int(time / 86400);
my $only = $ENV{LINES_ALLOC_ONLY} // '.';

my $t    = Test::Lines->new(timeout => $all ? 7200 : 900);
my $file = $t->file('allocations', "\0" x 128);
my $told = $t->upstream(name => 'provisioner', handler => sub ($c, $state) { $c->render(json => {}) });
my $shop = Test::Lines::Account->new(
    t           => $t,
    provisioner => 'http://127.0.0.1:' . $told->port . '/told',
    operations  => 'sweep=300ms retry=200ms due=1s lease=2s absent=1s poll=1s,2s,3s every=1s',
    agent       => 'preview_ttl=10m daily=100000 monthly=100000'
);
my $nginx = $shop->nginx(
    module => 'failpoints',
    http   => "lines_allocations $file; lines_tenant_limits tickets=unlimited requests=unlimited declined=unlimited billing=unlimited previews=unlimited waits=unlimited;",
    server => <<'END'
location /gate/ { lines_auth workspace; lines_rate_limit rate=100000r/s burst=100000 name=gate; lines_rate_limit rate=100000r/s burst=100000 key=ip name=address sync=each; empty_gif; }
END
);


sub words () {
    open my $in, '<:raw', $file or die "$file: $!";
    read $in, my $bytes, 128;
    my %is;
    @is{qw(left failed made json name)} = unpack 'q<4 Z*', $bytes;
    return \%is;
}

sub arm ($n) {
    open my $out, '+<:raw', $file or die "$file: $!";
    syswrite $out, pack 'q<3', $n, 0, 0;
    close $out;
}

my ($n, $made, $failures) = (0, 0, 0);

sub key () { 'key-' . ++$n }

# a tenant of its own where what it did before would show
sub workspace (%data) { my $id = 'w' . ++$n; return {id => $id, headers => $nginx->bearer($shop->workspace($id, %data))} }

my $steady  = workspace(plan => 'growth');
my $buyer   = $shop->account('buyer', plan => 'inbound_only');
my $another = 'x' . ++$n;
$nginx->workspace($another);
$shop->numbers($all ? 6000 : 400);

my $line = $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone'}, $steady->{headers})->json('/line/_id');
my ($ticket) = ($nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone', desired_area_code => '415'}, $buyer->{headers})->body =~ /"(?:ticket_id|ticket|id)":"?(\w+)/);

sub get ($path, $headers) {
    return {call => sub ($case) { $nginx->get($path, $headers) }, same => 1};
}

sub known ($query) {
    return {
        before => sub ($case) { $case->{tag} = $nginx->get("/api/line-requests/$line", $steady->{headers})->header('ETag') },
        call   => sub ($case) { $nginx->get("/api/line-requests/$line$query", {%{$steady->{headers}}, 'If-None-Match' => $case->{tag}}) },
        good   => qr/^304$/, same => 1
    };
}

sub operator ($method, $path, $data = undef) {
    return {call => sub ($case) { $nginx->admin($method, $path, $data) }, same => $method eq 'GET'};
}

sub event ($body) {
    my $at = time;
    return $nginx->post('/webhooks/stripe', $body,
        {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')});
}

# call: what is asked, and asked again until it is well; good: a status that is; same: what is read, the same each time;
# before: once for each; rest: what it began has ended; after: what must hold then
my %cases = (
    'nobody'         => {call => sub ($case) { $nginx->get('/api/lines/by-user') }, good => qr/^401$/, same => 1},
    'no such path'   => {call => sub ($case) { $nginx->get('/api/nothing', $steady->{headers}) }, good => qr/^404$/, same => 1},
    'bad body'       => {call => sub ($case) { $nginx->post_json('/api/line-requests', {firstName => "\x01"}, $steady->{headers}) }, good => qr/^400$/, same => 1},
    'lines by user'  => get('/api/lines/by-user', $steady->{headers}),
    'a page'         => get('/api/line-requests?limit=1', $steady->{headers}),
    'a line'         => get("/api/line-requests/$line", $steady->{headers}),
    'a line, known'  => known(''),
    'a line, waited' => known('?wait=1'),
    'events'         => {call => sub ($case) { $nginx->head('/api/events', $steady->{headers}) }, same => 1},
    'events, gone'   => {call => sub ($case) { $nginx->get("/api/line-requests/$line/events", {%{$steady->{headers}}, 'Last-Event-ID' => 1}) }, good => qr/^410$/, same => 1},
    'account lines'  => get('/accounts/lines?limit=2', $buyer->{headers}),
    'account limits' => get('/accounts/limits', $buyer->{headers}),
    'gate'           => get('/gate/x', $steady->{headers}),
    'ready'          => {%{get('/_lines/ready', {})}, same => 0},
    'metrics'        => {%{get('/_lines/metrics', {})}, same => 0},

    'a line that is included' => {
        before => sub ($case) { $case->{who} = workspace(plan => 'starter'); $case->{key} = key() },
        call   => sub ($case) {
            $nginx->post_json('/api/line-requests',
                {firstName => 'Ada', lastName => 'L', channelType => 'phone', idempotencyKey => $case->{key}}, $case->{who}{headers});
        },
        after => sub ($case) { return @{$nginx->get('/api/lines/by-user', $case->{who}{headers})->json('/lines') // []} == 1 }
    },
    'a line to be paid' => {
        before => sub ($case) { $case->{who} = workspace(); $case->{key} = key() },
        call   => sub ($case) {
            $nginx->post_json('/api/line-requests',
                {firstName => 'Ada', lastName => 'L', channelType => 'email', email => 'ada@example.com', idempotencyKey => $case->{key}}, $case->{who}{headers});
        },
        good  => qr/^201$/,
        after => sub ($case) {
            return @{$nginx->get('/api/line-requests', $case->{who}{headers})->json('/lineRequests') // []} == 1;
        }
    },
    'its link' => {
        before => sub ($case) {
            $case->{who} = workspace();
            $case->{line} = $nginx->post_json('/api/line-requests',
                {firstName => 'Ada', lastName => 'L', channelType => 'email', email => 'ada@example.com'}, $case->{who}{headers})->json('/line/_id');
        },
        call => sub ($case) { $nginx->post_json("/api/line-requests/$case->{line}", {action => 'payment_link'}, $case->{who}{headers}) }
    },
    'its end' => {
        before => sub ($case) {
            $case->{who} = workspace();
            $case->{line} = $nginx->post_json('/api/line-requests',
                {firstName => 'Ada', lastName => 'L', channelType => 'email', email => 'ada@example.com'}, $case->{who}{headers})->json('/line/_id');
        },
        call => sub ($case) { $nginx->post_json("/api/line-requests/$case->{line}", {action => 'cancel'}, $case->{who}{headers}) },
        good => qr/^(?:200|409)$/,
        after => sub ($case) { ($shop->record($case->{who}{id}, $case->{line})->{status} // '') eq 'canceled' }
    },
    'its payment, told' => {
        before => sub ($case) {
            $case->{who} = workspace();
            my $answer = $nginx->post_json('/api/line-requests',
                {firstName => 'Ada', lastName => 'L', channelType => 'email', email => 'ada@example.com'}, $case->{who}{headers});
            $case->{line} = $answer->json('/line/_id');
            $shop->sandbox->pay($answer->json('/invoiceId'));
            my $object = $shop->sandbox->call(GET => '/v1/invoices/' . $answer->json('/invoiceId'))->json;
            $case->{event} = encode_json({id => 'evt_' . ++$n, object => 'event', type => 'invoice.paid', created => time, livemode => false, data => {object => $object}});
        },
        call => sub ($case) { event($case->{event}) },
        rest => sub ($case) { ($shop->record($case->{who}{id}, $case->{line})->{status} // '') eq 'provisioning' },
    },
    'a preview'  => {call => sub ($case) { $shop->preview($buyer) }},
    'a purchase' => {
        before => sub ($case) { $case->{token} = $shop->token($buyer); $case->{key} = key() },
        call   => sub ($case) { $shop->confirm($buyer, $case->{token}, key => $case->{key}) },
        rest   => sub ($case) { ($shop->purchase($buyer, $shop->operation_id($case->{token}))->{step} // 'none') =~ /^(?:done|none)$/ },
        good   => qr/^20[0-9]$/,
    },
    'a ticket' => {call => sub ($case) { $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone', desired_area_code => '415'}, $buyer->{headers}) }, good => qr/^20/},

    'put a workspace'   => operator(PUT => 'workspaces/put', {plan => 'growth', subscription => 'active'}),
    'get a workspace'   => operator(GET => "workspaces/$another"),
    'its keys'          => operator(GET => "workspaces/$another/keys"),
    'a key'             => {%{operator(POST => "workspaces/$another/keys", {name => 'one', role => 'read', expires_at => '2099-01-01T00:00:00Z'})}, good => qr/^201$/},
    'a key changed'     => {
        before => sub ($case) { $case->{key} = $nginx->admin(POST => "workspaces/$another/keys", {})->json('/id') // '' },
        call   => sub ($case) { $nginx->admin(PUT => "workspaces/$another/keys/$case->{key}", {name => 'two', role => 'read', expires_at => '2099-01-01T00:00:00Z'}) },
        good   => qr/^(?:20\d|404)$/
    },
    'a key revoked'     => {
        before => sub ($case) { $case->{key} = $nginx->admin(POST => "workspaces/$another/keys", {})->json('/id') // '' },
        call   => sub ($case) { $nginx->admin(DELETE => "workspaces/$another/keys/$case->{key}") },
        good   => qr/^(?:20\d|404)$/
    },
    'a tenant deleted'  => {
        before => sub ($case) { $case->{who} = workspace(plan => 'growth') },
        call   => sub ($case) { $nginx->admin(DELETE => "workspaces/$case->{who}{id}") },
        good   => qr/^(?:20\d|404|409)$/
    },
    'operations'        => operator(GET => 'operations?state=stuck'),
    'the database'      => operator(GET => 'database'),
    'the audit'         => operator(GET => 'audit'),
    'work'              => {%{operator(GET => 'lines?status=provisioning&limit=3')}, same => 0},
    'a report'          => {%{operator(POST => "lines/$line/status", {status => 'active'})}, good => qr/^(?:20\d|409)$/},
    'use of a line'     => operator(POST => "lines/$line/usage", {newConversationsCount => 3, totalMessagesCount => 4}),
    'numbers added'     => operator(POST => 'numbers', {numbers => [{phone_number => '+14150099001', worker_id => 'w1'}]}),
    'numbers'           => operator(GET => 'numbers?limit=5'),
    'a rate'            => operator(PUT => "workspaces/$another/limits/gate", {rate => '5r/s'}),
    'a rate, read'      => {%{operator(GET => "workspaces/$another/limits/gate")}, good => qr/^(?:200|404)$/, same => 0},
    'a plan\'s rate'    => operator(PUT => 'plans/growth/limits/gate', {rate => '100000r/s'}),
    'all rates'         => {%{operator(GET => 'limits')}, same => 0},
);

sub shown ($answer) { return $answer->body =~ s/"(?:request_id|requestId|timestamp|updatedAt|time|now|watermark|age\w*)":[^,}]*//gr }

# NAME, the Nth: whether one failed
sub try ($name, $nth) {
    my $case   = {%{$cases{$name}}};
    my $good   = $case->{good} // qr/^20/;
    my @wrong;

    $case->{before}->($case) if $case->{before};
    arm($nth);

    my $answer = $case->{call}->($case);

    # of what goes on behind the answer, or beside it, as many again are tried
    $made = words()->{made};
    eval { wait_for(sub { words()->{failed} || $case->{rest}->($case) }, 10, 'rest') } if $case->{rest} && $answer->status =~ $good;

    my $is = words();
    arm(0);

    return (0, [$answer->status =~ $good ? () : 'unharmed: ' . $answer->to_string], $answer) unless $is->{failed};

    $failures++;

    my $status = $answer->status;
    # of a string that it has no memory for jansson says that it is none
    push @wrong, "answered with $status" unless $status =~ /^(?:0|500|503)$/ || $status =~ $good || $status == 400 && $is->{name} =~ /^jansson/;
    push @wrong, "another answer:\n" . shown($answer) . "\n" . shown($case->{unharmed})
      if $case->{same} && $status =~ $good && !($status == 400 && $is->{name} =~ /^jansson/) && $case->{unharmed} && shown($answer) ne shown($case->{unharmed});

    # asked again, it is well; what is under way is waited for
    my $again;
    eval { wait_for(sub { $again = $case->{call}->($case); $again->status =~ $good }, 30, 'it to be well') }
      or push @wrong, 'asked again: ' . ($again ? $again->to_string : '');
    if (my $what = $case->{rest}) { eval { wait_for(sub { $what->($case) }, 30, 'rest'); 1 } or push @wrong, 'not at rest' }
    if (my $what = $case->{after}) { eval { wait_for(sub { $what->($case) }, 30, 'what must hold'); 1 } or push @wrong, 'what must hold does not' }

    return (1, [map {"$name, allocation $nth, $is->{name}: $_"} @wrong], $answer);
}

my @before = $nginx->pids;

for my $name (sort grep {/$only/} keys %cases) {
    # what failed last may have cost the connection, and the next one: nobody has waited for it who does not need Redis
    wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'Redis');

    # once unharmed, and to have it warm: what a worker does once it does now
    try($name, 0);
    my (undef, $first, $unharmed) = try($name, 1 << 40);
    is_deeply $first, [], "$name: as it is, $made allocations" or next;
    $cases{$name}{unharmed} = $unharmed;

    my ($failed, @wrong) = (1);
    my $tried = 0;
    my $step  = $all ? 1 : 1 + int($made / $some);
    my $most  = 2 * $made + 20;

    if (my $nth = $ENV{LINES_ALLOC_AT}) {
        my (undef, $bad) = try($name, $nth);
        push @wrong, @$bad;
    }
    else {
        # in its turn each of them is the first of a day
        for (my $nth = 1 + $seed * 7 % $step; $failed && $nth <= $most; $nth += $step) {
            ($failed, my $bad) = try($name, $nth);
            push @wrong, @$bad;
            $tried += $failed;
            last if @wrong > 5 || !$nginx->alive;
        }
    }

    is_deeply \@wrong, [], "$name: $tried of them fail";
    is_deeply [$nginx->pids], \@before, '... and the worker lives' or @before = $nginx->pids;
}

diag "$failures allocations have failed";

$shop->agree('billing, lines, numbers and operations agree');

# what was parsed is given back, when all is at rest
eval { wait_for(sub { words()->{json} <= 20 }, 30, 'jansson to hold nothing') };
cmp_ok words()->{json}, '<=', 20, 'nothing of what was parsed is left';

$t->done;
