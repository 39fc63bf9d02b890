package Bench::Rows;
use Mojo::Base -base, -signatures;

use Bench::Load;
use Bench::Peers;
use Bench::World;
use Digest::SHA qw(hmac_sha256_hex);
use List::Util qw(min max);
use Mojo::File qw(path);
use POSIX ();
use Mojo::JSON qw(decode_json encode_json);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Time::HiRes qw(sleep time);

=head1 NAME

Bench::Rows - what is measured

=head1 DESCRIPTION

C<make> makes worlds and peers, proves of each limit that it holds, and returns
the rows, each a hash:

    id, name, group      group: what stands together in the table
    side                 who serves it: port, pids, stores, restart
    file                 its requests; or fresh, which makes some: (file, count)
    count                so many of them instead of some seconds
    connections, rate    of the closed load; offered to the open one, a second
    tenants, base        how many; the row that it is compared with
    settle, period       seconds of load before it counts, and that it counts
                         at least
    floor                what others are compared with: never left out
    limit                tells how many have met the row's limit
    best                 the best round counts, not the median
    others               ms that others (the sandbox) took of each since it was
                         asked last
    before               the same of another build of the module

C<more> measures what is no row, after them.

=cut

has [qw(t machine load long only told)];
has rows   => sub { [] };
has worlds => sub { {} };
has 'peers';
has missing => sub { [] };

# A node puts off what it owes a bucket, by 15 s at most: what is asked of many tenants is measured for as long, so that it
# has all of it.  It may not begin with the first request of each, which owes nothing yet.
my %MANY = (settle => 3, period => 16);
my %SOME = (settle => 1, period => 2);

sub limits_store ($self) { $self->worlds->{main}->limits }

sub versions ($self) {
    my ($nginx) = qx(nginx -v 2>&1) =~ m{nginx/(\S+)};
    my $redis = $self->worlds->{main}->redis->cli('INFO', 'server')->{redis_version};
    my $node  = qx(node --version 2>/dev/null) =~ s/\s+//gr;
    return {nginx => $nginx, redis => $redis, ($node ? (node => $node) : ())};
}

sub world ($self, $name, %options) {
    my $world = Bench::World->new(t => $self->t, machine => $self->machine, load => $self->load, name => $name, %options);
    my $from  = time;
    $world->fill;
    $self->told->(sprintf '%s: %d tenants, %d lines each, made in %.0f s, %d bytes of Redis each', $name, $world->tenants, $world->lines, time - $from, $world->each_takes);
    return $self->worlds->{$name} = $world;
}

sub add ($self, %row) {
    my $pattern = $self->only;
    push @{$self->rows}, {connections => 128, best => 0, %row} if $row{id} =~ /$pattern/ || $row{floor};
}

# whether any row of that name is wanted
sub wants ($self, @ids) { my $pattern = $self->only; return grep {/$pattern/} @ids }

sub limited ($self, $world, $side, $path, $tenant, $burst = 1000) {
    $world->limited("$side->{name} $path", $side->{port}, Bench::Load::request(GET => $path, $world->bearer($tenant)), $burst, 1000);
}

sub make ($self) {
    my $clerk = Test::Lines::Clerk->new(t => $self->t);
    my $pem   = $self->t->file('clerk.pem', $clerk->pem);
    my $token = $clerk->directive(key_file => $pem);
    my $main  = $self->world('main', server => "location = /session { $token lines_auth workspace; empty_gif; }\n");
    my $side  = $main->side;
    my $peers = $self->peers(Bench::Peers->new(t => $self->t, machine => $self->machine, name => 'main'))->peers;
    my $other = $ENV{LINES_MODULE_BEFORE} && $main->twin(name => 'before', module => $ENV{LINES_MODULE_BEFORE})->side;

    $self->{clerk} = $clerk;
    $peers->fill($main);

    # behind what each location is measured, and that it does what it says
    $self->limited($main, $side, '/limit-req', 900);
    $self->limited($main, $side, $_, 901, $_ eq '/lease100' ? 100 : 1000) for qw(/lease /lease100 /each);
    $self->limited($main, $side, '/api/line-requests/' . $main->ids->[902][0], 902);

    $self->add(id => 'return', floor => 1, group => 'floor', name => 'nginx: `return 200`, as long as a line', side => $side, file => $main->gets('/return', 'xxx'), tenants => 1000, rate => 15000);
    $self->add(id => 'gif', floor => 1, group => 'floor', name => 'nginx: `empty_gif`', side => $side, file => $main->gets('/gif', 'GIF89a'), tenants => 1000, rate => 15000);

    $self->add(group => 'limit', connections => 128, rate => 15000, side => $side, before => $other, base => 'gif', %$_) for (
        {id => 'limit_req', name => 'nginx: `limit_req`, `empty_gif`', file => $main->gets('/limit-req', 'GIF89a'), tenants => 1000},
        {id => 'auth', name => '`lines_auth`, `empty_gif`', file => $main->gets('/auth', 'GIF89a'), tenants => 1000},
        {id => 'lease-1', limit => $main->met('lease1'), name => '`lines_auth`, limit leased, `empty_gif`', file => $main->gets('/lease-one', 'GIF89a', 1), tenants => 1},
        {id => 'lease-1000', limit => $main->met('lease'), name => '`lines_auth`, limit leased, `empty_gif`', file => $main->gets('/lease', 'GIF89a'), tenants => 1000, %SOME},
        {id => 'lease100-1000', limit => $main->met('lease100'), name => 'the same, burst=100', file => $main->gets('/lease100', 'GIF89a'), tenants => 1000, %SOME},
        {id => 'each-1000', limit => $main->met('each'), name => '`lines_auth`, limit asked each time, `empty_gif`', file => $main->gets('/each', 'GIF89a'), tenants => 1000}
    );

    $self->add(group => 'read', connections => 128, rate => 15000, side => $side, before => $other, base => 'return', %$_) for (
        {id => 'read-1', limit => $main->met('one'), name => 'read of a line, limit leased', file => $main->reads('/one', 1), tenants => 1},
        {id => 'read-1000', limit => $main->met('api'), name => 'read of a line, limit leased', file => $main->reads, tenants => 1000, %SOME}
    );
    $self->add_peers($main, $peers, 1000, $pem);
    $self->many           if $self->wants(qw(lease-60000 read-60000 lua-script-60000 lua-leases-60000));
    $self->lists($side, $main) if $self->wants(qw(list-10 list-100 list-10000));
    $self->tokens($main)  if $self->wants(qw(token-repeated token-unseen));
    $self->growth         if $self->wants(qw(growth-read growth-create));
    $self->paid           if $self->wants(qw(preview confirm webhook));

    # fewer connections, and two workers
    if ($self->wants(qw(few-1000-1-read few-1000-32-read two-1000-read few-60000-1-read two-60000-read))) {
        for my $world ($main, $self->long ? $self->worlds->{many} // () : ()) {
            $self->connections($world);
            $self->two($world);
        }
    }

    return @{$self->rows};
}

sub add_peers ($self, $world, $peers, $n, @clerk) {
    my $file = $world->reads;
    my %row  = (group => 'read', tenants => $n, base => 'return', rate => 15000, file => $file, best => 1);
    my @sides;

    if (my $lua = $peers->lua('one_script')) { push @sides, $lua; $self->add(%row, id => "lua-script-$n", name => 'Lua: one script, prepared JSON', side => $lua) }
    if (my $lua = $peers->lua('leased')) { push @sides, $lua; $self->add(%row, id => "lua-leases-$n", name => 'Lua: keys and leases in memory, prepared JSON', side => $lua, $n > 1000 ? (settle => 3, period => 11) : (settle => 1)) }

    if ($n <= 1000 && (my $node = $peers->node($clerk[0], $self->{clerk}->party))) {
        push @sides, $node;
        $self->{node} = $node;
        $self->add(%row, id => "fastify-$n", name => 'fastify: one script, prepared JSON', side => $node, best => 0, settle => 1);
    }

    # one bucket for all of them: each has another tenant
    my $tenant = 910;
    $self->limited($world, $_, '/api/line-requests/' . $world->ids->[++$tenant][0], $tenant) for @sides;

    push @{$self->missing}, @{$peers->missing};
}

sub many ($self) {
    my $many  = $self->world('many', tenants => 60000, zone => 'lines:128m');
    my $side  = $many->side;
    my $peers = Bench::Peers->new(t => $self->t, machine => $self->machine, name => 'many')->fill($many);

    $self->add(id => 'lease-60000', limit => $many->met('lease'), group => 'limit', name => '`lines_auth`, limit leased, `empty_gif`', side => $side, file => $many->gets('/lease', 'GIF89a'),
        tenants => 60000, base => 'gif', rate => 15000, %MANY);
    $self->add(id => 'read-60000', limit => $many->met('api'), group => 'read', name => 'read of a line, limit leased', side => $side, file => $many->reads, tenants => 60000, base => 'return', rate => 15000, %MANY);
    $self->add_peers($many, $peers, 60000);
}

sub lists ($self, $side, $main) {
    my @tenants = (1, 2, 3);

    for my $n (10, 100, 10000) {
        my $i    = shift @tenants;
        my $more = $n - @{$main->ids->[$i]};
        $main->redis->cli('CONFIG SET', appendfsync => 'no');
        $self->load->must(lines => port => $main->port, connections => 8, depth => 8, count => $more, file => $self->load->file("list$n", $main->create($i)));
        $main->redis->cli('CONFIG SET', appendfsync => 'always');

        # the oldest line comes last
        my $lines = $main->nginx->get('/one/lines/by-user', $main->bearer($i))->json('/lines') // [];
        die "the list of $n has " . @$lines . "\n" unless @$lines == $n && $lines->[-1]{_id} eq $main->ids->[$i][0];

        $self->add(id => "list-$n", group => 'list', name => "list of $n lines", side => $side, tenants => 1, limit => $main->met('one'), connections => {10 => 128, 100 => 32, 10000 => 4}->{$n},
            rate => {10 => 1500, 100 => 200, 10000 => 3}->{$n}, ($n > 1000 ? (count => 12) : ()),
            file => $self->load->file("list$n", Bench::Load::request(GET => '/one/lines/by-user', $main->bearer($i), '', qq({"_id":"$main->{ids}[$i][0]"))));
    }
}

# session tokens: some again and again, and each once
sub tokens ($self, $main) {
    my $clerk = $self->{clerk};
    my %hour  = (exp => time + 7200);
    my $ask   = sub ($path, $i) { Bench::Load::request(GET => $path, {Authorization => 'Bearer ' . $clerk->token(org => $main->tenant($i), claims => \%hour)}, '', 'GIF89a') };
    my @again = map { $ask->('/session', $_) } 0 .. 999;
    my $n     = 0;
    my $made  = 0;
    my $fresh = sub ($kind) { my $count = $kind eq 'open' ? 300 : 1000; return ($self->load->file('unseen' . $made++ % 2, map { $ask->('/session', $n++ % 1000) } 1 .. $count), $count) };

    # who has no token of ours comes to nobody
    for ([401, $clerk->token(org => 'b0', claims => {iss => 'https://other.example.com'})], [401, 'x.y.z'], [200, $clerk->token(org => 'b0')]) {
        my $status = $main->nginx->get('/session', {Authorization => "Bearer $_->[1]"})->status;
        die "a token is $status where it should be $_->[0]\n" if $status != $_->[0];
    }

    $self->add(id => 'token-floor', floor => 1, group => 'token', name => 'nginx: `empty_gif`, requests with a token', side => $main->side, tenants => 1000, rate => 1000, file => $self->load->file('again-gif', map {s{/session}{/gif}r} @again));
    $self->add(id => 'token-repeated', group => 'token', name => 'Clerk token, repeated', side => $main->side, tenants => 1000, base => 'token-floor', rate => 1000, file => $self->load->file('again', @again));
    $self->add(id => 'token-unseen', group => 'token', name => 'Clerk token, unseen', side => $main->side, tenants => 1000, base => 'token-floor', rate => 1000, fresh => $fresh);
    $self->add(id => 'fastify-token', group => 'token', name => 'fastify, @clerk/backend: token', side => $self->{node}, tenants => 1000, base => 'token-floor', rate => 1000, settle => 1,
        file => $self->load->file('again-node', map {s{/session}{/auth}r} @again)) if $self->{node};
}

# what a million lines more cost one that is read or made
sub growth ($self) {
    for my $each (1, 100, $self->long ? 1000 : ()) {
        my $lines = 1000 * $each;
        my $world = $self->world("grown$lines", tenants => 1000, lines => $each);
        my $named = $lines =~ s/(?<=\d)(?=(\d{3})+$)/,/gr;
        my %row   = (group => 'growth', side => $world->side, tenants => 1000, settle => 1);

        $self->add(%row, id => "growth-read-$lines", name => "read, $named lines", file => $world->reads, base => $each > 1 ? 'growth-read-1000' : 'return', rate => 15000);
        my @creates = List::Util::shuffle(map { $world->create($_, '/api') } 0 .. 999);
        $self->add(%row, id => "growth-create-$lines", name => "create, $named lines", $each > 1 ? (base => 'growth-create-1000') : (), rate => 300, connections => 32,
            fresh => sub ($kind) { return ($self->load->file("grown$lines-create", @creates), $kind eq 'open' ? 300 : 1000) });
    }
}

# what billing has to be asked for; the sandbox is slow, and its time is not ours
sub paid ($self) {
    my $t    = $self->t;
    my $shop = Test::Lines::Account->new(t => $t, agent => 'daily=unlimited monthly=unlimited preview_ttl=1h', operations => 'audit=off', budget => '5s');
    my $http = 'error_log error.log warn; access_log off; keepalive_requests 1000000000;' . "\n"
      . 'lines_tenant_limits previews=unlimited billing=unlimited declined=1000 requests=unlimited;' . "\n"
      . ($self->limits_store ? 'lines_redis limits ' . $self->limits_store->url . ";\n" : '');
    my $nginx = $shop->nginx(name => 'paid', workers => 1, connections => 4000, http => $http, main => $self->machine->affinity,
        api => 'lines_rate_limit rate=1000r/s burst=1000 name=api;')->wait_redis;
    my @accounts = map { $shop->account("a$_") } 1 .. 50;
    my $side = {name => 'paid', port => $nginx->port, pids => sub { $nginx->pids }, stores => [[$shop->redis->pid], $self->limits_store ? [$self->limits_store->pid] : ()]};
    my $preview = sub (@who) { map { Bench::Load::request(POST => '/accounts/lines/provision-preview', $_->{headers}, '', 'preview_token') } @who };

    $shop->numbers(4000);

    # ms of the sandbox for each of so many requests
    my $billing = sub { $nginx->get('/_lines/metrics')->body =~ /^lines_billing_call_duration_seconds_sum (\S+)/m ? 1000 * $1 : 0 };
    my $before  = 0;
    my $others  = sub ($n) { my $now = $billing->(); my $ms = $n ? ($now - $before) / $n : 0; $before = $now; return $ms };

    my $made = 0;
    my $confirms = sub ($kind) {
        $made += 40;
        my @who    = map { $accounts[$_ % @accounts] } 1 .. 40;
        my $tokens = $self->load->must(previews => port => $nginx->port, connections => 4, count => 40, keep => 1, file => $self->load->file('previews', $preview->(@who)));
        my @ask    = map {
            my $token = decode_json($tokens->{answers}[$_][1])->{preview_token};
            Bench::Load::request(POST => '/accounts/lines/provision-confirm', {%{$who[$_]{headers}}, 'Content-Type' => 'application/json', 'Idempotency-Key' => '@' x 16}, encode_json({preview_token => $token}), 'phone_number')
        } 0 .. 39;
        return ($self->load->file('confirms', @ask), 40);
    };

    $self->add(id => 'preview', group => 'write', name => 'preview, the sandbox taken out', side => $side, tenants => 50, rate => 100, connections => 8, others => $others, count => 200, file => $self->load->file('preview', $preview->(@accounts)));
    $self->add(id => 'confirm', group => 'write', name => 'confirm, the sandbox taken out', side => $side, tenants => 50, rate => 20, connections => 8, others => $others, fresh => $confirms);

    # news of a subscription that is known, as billing tells it twice
    my $key  = $nginx->workspace(told => {plan => 'paid', customer => 'cus_card'});
    my $line = $shop->request($key)->json;
    $shop->sandbox->pay($line->{invoiceId}) if $line->{invoiceId};
    my $id = $line->{line}{_id};
    $t->wait_for(sub { ($shop->read($key, $id)->json('/status') // '') eq 'provisioning' }, 60, 'a line that is paid');
    my ($sub) = map { $_->{subscription} // () } $shop->sandbox->ledger('charge');
    my $object = $shop->sandbox->call(GET => "/v1/subscriptions/$sub")->json;
    my $event  = 0;
    my $events = sub ($kind) {
        my $count = $kind eq 'open' ? 500 : 2000;
        my $at    = int time;
        return ($self->load->file('events', map {
            my $body = encode_json({id => 'evt_bench' . ++$event, object => 'event', type => 'customer.subscription.updated', created => $at, livemode => Mojo::JSON->false, data => {object => $object}});
            Bench::Load::request(POST => '/webhooks/stripe', {'Content-Type' => 'application/json', 'Stripe-Signature' => "t=$at,v1=" . hmac_sha256_hex("$at.$body", 'whsec_test')}, $body)
        } 1 .. $count), $count);
    };
    my $bad = $nginx->post('/webhooks/stripe', '{}', {'Stripe-Signature' => 't=' . int(time) . ',v1=' . '0' x 64})->status;
    die "a webhook that nobody signed is $bad\n" if $bad != 400;

    $self->add(id => 'webhook', group => 'write', name => 'webhook: news of a subscription', side => $side, tenants => 1, rate => 500, connections => 32, fresh => $events);
}

sub connections ($self, $world) {
    my $n   = $world->tenants;
    my %row = (group => 'few', side => $world->side, tenants => $n, $n > 1000 ? %MANY : (settle => 0.5));

    for my $c (1, 32) {
        my $id = "few-$n-$c";
        $self->add(%row, connections => $c, %$_) for (
            {id => "$id-return", floor => 1, name => '`return 200`', file => $world->gets('/return', 'xxx'), settle => 0.3, period => 1},
            {id => "$id-lease", limit => $world->met('lease'), name => '`lines_auth`, limit leased, `empty_gif`', file => $world->gets('/lease', 'GIF89a'), base => "$id-return"},
            {id => "$id-read", limit => $world->met('api'), name => 'read of a line, limit leased', file => $world->reads, base => "$id-return"}
        );
    }
}

sub two ($self, $world) {
    my $n   = $world->tenants;
    my $two = $world->twin(name => $world->name . '-two', workers => 2);
    my %row = (group => 'two', side => $two->side, tenants => $n, $n > 1000 ? %MANY : (settle => 0.5));

    $self->add(%row, %$_) for (
        {id => "two-$n-gif", floor => 1, name => '`empty_gif`', file => $world->gets('/gif', 'GIF89a'), settle => 0.3, period => 1},
        {id => "two-$n-lease", limit => $two->met('lease'), name => '`lines_auth`, limit leased, `empty_gif`', file => $world->gets('/lease', 'GIF89a'), base => "two-$n-gif"},
        {id => "two-$n-read", limit => $two->met('api'), name => 'read of a line, limit leased', file => $world->reads, base => "two-$n-gif"}
    );
}

sub more ($self) {
    my $main = $self->worlds->{main};
    my @more;

    if ($self->wants('stall')) {
        my $got = $self->stall($main);
        push @more, {id => 'stall', name => 'the main store stopped for 1 s, 2,000 requests a second behind `lines_auth` and a limit: failed, longest wait in ms', failed => $got->{bad}, value => $got->{max}};
    }

    my $two = $self->worlds->{many} // $main;
    push @more, {id => 'memory', name => 'Redis, bytes for a tenant with two lines and a key (' . $two->tenants . ' tenants)', value => $two->each_takes};

    if ($self->long && $self->wants('rss')) {
        my $file = $main->reads;
        my @rss;
        for my $count (1_000_000, 9_000_000) {
            my $got = $self->load->run(port => $main->port, file => $file, connections => 128, count => $count, seconds => 3600);
            push @rss, $self->machine->rss($main->pids);
        }
        push @more, {id => 'rss', name => 'MB of the worker after 1,000,000 requests, and after 10,000,000', first => $rss[0], value => $rss[1]};
    }

    return @more;
}

sub stall ($self, $main) {
    my $redis = $main->redis;
    my $file  = $main->gets('/lease', 'GIF89a');
    $self->load->run(port => $main->port, file => $file, connections => 64, seconds => 1);

    my $pid = fork // die "fork: $!";
    if (!$pid) {
        sleep 1;
        kill STOP => $redis->pid;
        sleep 1;
        my ($state) = path('/proc/' . $redis->pid . '/stat')->slurp =~ /\) (\S)/;
        kill CONT => $redis->pid;
        POSIX::_exit($state eq 'T' ? 0 : 1);
    }

    my $got = $self->load->run(port => $main->port, file => $file, connections => 64, rate => 2000, seconds => 3);
    waitpid $pid, 0;
    die "the store was not stopped\n" if $?;
    return $got;
}

1;
