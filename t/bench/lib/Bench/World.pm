package Bench::World;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use List::Util ();
use Bench::Load;
use Mojo::JSON qw(decode_json encode_json);

=head1 NAME

Bench::World - nginx with a worker that is measured, its Redis, and tenants

=head1 SYNOPSIS

    my $world = Bench::World->new(t => $t, machine => $machine, load => $load,
        name => 'main', tenants => 1000, lines => 2);
    $world->fill;
    my $file = $world->reads;

=head1 DESCRIPTION

Nothing in here knows how the module keeps what it keeps: tenants, keys and
lines are made by its API. All of the limit counters are in a second Redis where
the module knows how to have one.

=cut

has [qw(t machine load name module)];
has tenants => 1000;
has lines   => 2;
has workers => 1;
has zone    => 'lines:16m';
has server  => '';
has http    => '';
has text    => 'x';        # the body of what does nothing, as long as a line's
has keys    => sub { [] };
has ids     => sub { [] };    # of each tenant its lines

my $LIMITS = <<'END';
location = /gif { empty_gif; }
location = /limit-req { limit_req zone=bench burst=1000 nodelay; limit_req_status 429; empty_gif; }
location = /auth { lines_auth workspace; empty_gif; }
location = /lease { lines_auth workspace; lines_rate_limit rate=1000r/s burst=1000 name=lease; empty_gif; }
location = /lease100 { lines_auth workspace; lines_rate_limit rate=1000r/s burst=100 name=lease100; empty_gif; }
location = /each { lines_auth workspace; lines_rate_limit rate=1000r/s burst=1000 name=each sync=each; empty_gif; }
location = /lease-one { lines_auth workspace; lines_rate_limit rate=100000r/s burst=1000000 name=lease1; empty_gif; }
location = /whoami { lines_auth workspace; add_header X-Tenant $lines_tenant; empty_gif; }
location /one/ { lines_workspace_api; lines_rate_limit rate=100000r/s burst=1000000 name=one; }
END

sub knows_limits_store ($self) {
    state %known;
    my %module = $self->module ? (module => $self->module) : ();
    return $known{$self->module // ''} //= ($self->t->test_config(%module, redis => 'redis://127.0.0.1:1/0', http => 'lines_redis limits redis://127.0.0.1:2/0;'))[0] ? 0 : 1;
}

# another nginx for the same tenants
sub twin ($self, %options) {
    my $twin = Bench::World->new(%$self, nginx => undef, pids => undef, %options);
    $twin->nginx->wait_redis;
    return $twin;
}

sub redis ($self) { $self->{redis} //= $self->t->redis(name => $self->name . '-redis', conf => 'auto-aof-rewrite-percentage 0') }

sub limits ($self) {
    return undef unless $self->knows_limits_store;
    return $self->{limits} //= $self->t->redis(name => $self->name . '-limits', conf => "appendonly no\nsave \"\"");
}

sub nginx ($self) { $self->{nginx} //= $self->t->nginx($self->options) }

sub options ($self) {
    my $text   = $self->text;
    my $second = $self->limits ? 'lines_redis limits ' . $self->limits->url . ';' : '';

    return (
        name        => $self->name,
        redis       => $self->redis,
        ($self->module ? (module => $self->module) : ()),
        workers     => $self->workers,
        zone        => $self->zone,
        connections => 4000,
        plans       => "lines_plan bench phone included=100000000;\n",
        main        => 'worker_rlimit_nofile 16384;' . ($self->workers == 1 ? $self->machine->affinity : ''),
        http        => "$second error_log error.log warn; access_log off; keepalive_requests 1000000000;\n"
          . "limit_req_zone \$http_authorization zone=bench:32m rate=1000r/s;\n" . $self->http,
        server => "access_log off;\nlocation = /return { default_type application/json; return 200 '$text'; }\n$LIMITS" . $self->server,
        api    => 'lines_rate_limit rate=1000r/s burst=1000 name=api;'
    );
}

sub port ($self) { $self->nginx->port }
sub pids ($self) { $self->{pids} ||= [$self->nginx->pids]; @{$self->{pids}} }
sub stores ($self) { [map { [$_->pid] } grep {$_} $self->redis, $self->limits] }
sub side ($self) { return {name => 'lines', port => $self->port, pids => sub { $self->pids }, stores => $self->stores} }
sub url ($self, $path) { $self->nginx->url($path) }

# how many requests have passed a limit, so far
sub met ($self, $limit) {
    return sub { $self->nginx->get('/_lines/metrics')->body =~ /^lines_limit_requests_total\{limit="$limit",outcome="passed"\} (\d+)/m ? $1 : 0 };
}

sub tenant ($self, $i) { "b$i" }
sub bearer ($self, $i) { return {Authorization => 'Bearer ' . $self->keys->[$i]} }

# Requests of a file, whose order has nothing to do with that of their tenants: each once, and more of them by chance, so
# that tenants are asked unevenly.  Who asks all of them in turn has what is put off of all come due at one moment.
sub shuffled ($self, $name, @requests) {
    my $more = @requests < 2 ? 0 : @requests > 10_000 ? @requests : 20_000 - @requests;
    srand 1;
    return $self->load->file($self->name . "-$name", List::Util::shuffle(@requests, map { $requests[rand @requests] } 1 .. $more));
}

sub fill ($self) {
    my $nginx = $self->nginx->wait_redis;
    my $load  = $self->load;
    my $n     = $self->tenants;
    my $admin = {Authorization => 'Bearer ' . $self->t->admin_token, 'Content-Type' => 'application/json'};
    my $make  = encode_json({plan => 'bench', subscription => 'active'});
    my %how   = (port => $self->port, connections => 32, depth => 8);

    # what is made here is on the disk once it is looked at
    $self->redis->cli('CONFIG SET', appendfsync => 'no');

    my $before = $self->memory;
    $load->must(tenants => %how, count => $n, file => $load->file('fill', map {
        Bench::Load::request(PUT => '/_lines/admin/workspaces/' . $self->tenant($_), $admin, $make)
    } 0 .. $n - 1));

    my $made   = $load->must(keys => %how, count => $n, keep => 1, file => $load->file('fill', map {
        Bench::Load::request(POST => '/_lines/admin/workspaces/' . $self->tenant($_) . '/keys', $admin, '{}')
    } 0 .. $n - 1));
    $self->keys([map { decode_json($_->[1])->{key} } @{$made->{answers}}]);
    croak 'keys are not distinct' unless keys(%{{map { $_ => 1 } @{$self->keys}}}) == $n;

    for (1 .. $self->lines) {
        my $made = $load->must(lines => %how, count => $n, keep => 1, file => $load->file('fill', map { $self->create($_) } 0 .. $n - 1));
        push @{$self->ids->[$_]}, decode_json($made->{answers}[$_][1])->{line}{_id} for 0 .. $n - 1;
    }

    $self->{each} = ($self->memory - $before) / $n;
    $self->redis->cli('CONFIG SET', appendfsync => 'always');
    $self->whoami;

    # the body that costs nothing is as long as one that costs something
    if ($self->lines) {
        $self->{body} = $nginx->get('/api/line-requests/' . $self->ids->[0][0], $self->bearer(0))->body;
        $self->text('x' x length $self->{body});
        $nginx->server({$self->options}->{server});
        $nginx->reload(wait_old => 1)->wait_redis;
        delete $self->{pids};
    }

    return $self;
}

sub body ($self) { $self->{body} }

# bytes that a tenant with its key and its lines takes
sub each_takes ($self) { $self->{each} }

sub memory ($self) { $self->redis->cli('INFO', 'memory')->{used_memory} }

sub create ($self, $i, $api = '/one') {
    state $body = encode_json({firstName => 'Bench', lastName => '@' x 16, channelType => 'phone'});
    return Bench::Load::request(POST => "$api/line-requests", {%{$self->bearer($i)}, 'Content-Type' => 'application/json'}, $body, '"provisioning"');
}

# each tenant is himself, with his key
sub whoami ($self) {
    for my $i (map { int $_ * ($self->tenants - 1) / 40 } 0 .. 40) {
        my $who = $self->nginx->get('/whoami', $self->bearer($i))->header('X-Tenant') // 'nobody';
        croak "the key of " . $self->tenant($i) . " is $who\'s" unless $who eq 'w:' . $self->tenant($i);
    }
}

sub reads ($self, $api = '/api', $n = $self->tenants) {
    return $self->shuffled("reads$n", map {
        Bench::Load::request(GET => "$api/line-requests/" . $self->ids->[$_][0], $self->bearer($_), '', $self->ids->[$_][0])
    } 0 .. $n - 1);
}

# the same of each tenant
sub gets ($self, $path, $needle = '', $n = $self->tenants) {
    return $self->shuffled('gets' . ($path =~ tr{/}{-}r), map { Bench::Load::request(GET => $path, $self->bearer($_), '', $needle) } 0 .. $n - 1);
}

# a tenant alone asks for more than it may: some pass, some do not, and how many is what the limit says; where answers
# take so long that all of them may pass, it asks again
sub limited ($self, $name, $port, $request, $burst, $rate) {
    my $file = $self->load->file('limited', $request);

    for my $try (1 .. 10) {
        my $got = $self->load->run(port => $port, count => 4 * $burst + 2000, seconds => 30, connections => 8, depth => 16, file => $file);
        my ($passed, $refused) = map { $got->{codes}{$_} // 0 } 200, 429;
        my $most = 1.5 * $burst + $rate * $got->{took} * 1.05 + 20;

        die sprintf "%s: the limit is not in force: %d passed (at most %d should), %d were refused, of %d\n", $name, $passed, $most, $refused, $got->{answered}
          if $passed > $most || $passed < ($try == 1 ? 0.1 * $burst : 1) || $passed + $refused != $got->{answered};
        return if $refused;
    }

    die "$name: nothing was refused in ten tries\n";
}

1;
