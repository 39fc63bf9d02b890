# Lines as the release before wrote them, and as this one does: both are read and changed by all nodes, and the ones become
# the others while nodes serve.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Mojo::JSON qw(decode_json true false);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my %plans = (plans => "lines_plan bulk phone included=1000;\nlines_plan bulk email included=1000;\n");

# nothing is converted by these
my $before = $t->nginx(%plans, name => 'before', redis => $redis, redis_options => 'layout=1');
my $after  = $t->nginx(%plans, name => 'after', redis => $redis);

my %phone = (firstName => "A\"d,\"phone\":\x{e9}", lastName => 'Love{lace}', channelType => 'phone', zipcode => '94110', forwardCallsTo => '+14155550123');
my %email = (firstName => 'Grace', lastName => '', channelType => 'email', email => 'grace@example.com');

sub type_of ($id, $line) { $redis->cli(TYPE => "lines:{w:$id}:line:$line") }

sub lines_of ($nginx, $key) {
    return map { $_->{_id} => $_ } @{$nginx->get('/api/line-requests?limit=100', $nginx->bearer($key))->json('/lineRequests')};
}

sub read_line ($nginx, $key, $line) { $nginx->get("/api/line-requests/$line", $nginx->bearer($key))->json }

sub workspace ($id, $n = 1) {
    my $key   = $before->workspace($id => {plan => 'bulk'});
    my @lines = map {
        my $answer = $before->post_json('/api/line-requests', $_ % 2 ? \%phone : {%email, firstName => "Grace $_", lastName => "H $_"}, $before->bearer($key));
        $answer->status == 201 or die $answer->to_string;
        $answer->json('/line/_id');
    } 1 .. $n;
    return ($key, @lines);
}

subtest 'a line in either layout' => sub {
    my ($key, @lines) = workspace(one => 2);
    is type_of(one => $_), 'hash', 'as nodes of the release before know it' for @lines;

    my %old = lines_of($before, $key);
    is_deeply {lines_of($after, $key)}, \%old, 'listed alike';
    is_deeply read_line($after, $key, $_), read_line($before, $key, $_), 'read alike' for @lines;

    $after->admin(POST => "lines/$lines[0]/status", {status => 'active', phone => '+14155550001'})->status == 200 or die;
    is type_of(one => $lines[0]), 'hash', 'it keeps its layout when it changes';
    is read_line($before, $key, $lines[0])->{line}{phone}, '+14155550001', '... which all see';

    my $new = $after->post_json('/api/line-requests', \%phone, $after->bearer($key))->json('/line/_id');
    is type_of(one => $new), 'string', 'a new one has the new layout';
    is_deeply read_line($before, $key, $new), read_line($after, $key, $new), '... for all, too';
    $before->admin(POST => "lines/$new/status", {status => 'active', phone => '+14155550002'})->status == 200 or die;
    is type_of(one => $new), 'string', '... and keeps that';
    is_deeply read_line($after, $key, $new)->{line}{phone}, '+14155550002', '... and all see what changed';

    $_->admin(PUT => 'workspaces/one', {subscription => 'past_due'}), is_deeply [map { read_line($after, $key, $_)->{line}{isActive} } $lines[0], $new], [false, false],
      'a workspace that is not paid for suspends both' for $before, $after;
    is_deeply [map { $_->{reason} } @{{lines_of($before, $key)}}{$lines[0], $new}], ['suspended', 'suspended'], '... in lists, too';
    $before->admin(PUT => 'workspaces/one', {subscription => 'active'});
    is_deeply [map { read_line($after, $key, $_)->{line}{isActive} } $lines[0], $new], [true, true], '... until it is';

    is $after->admin(POST => "lines/$_/release")->status, 200, 'both are released' for $lines[0], $new;
    is_deeply [map { @{read_line($_->[0], $key, $_->[1])->{line}}{qw(provisioningStatus reason)} } [$before, $new], [$after, $lines[0]]], [('canceled', 'released') x 2], '... and told so';
};

subtest 'all of them get this one, while nodes serve' => sub {
    my %key;
    my %lines;

    # what happened, as the release before wrote it
    my $hour = 1000 * (time - 3600);
    $redis->cli(XADD => 'lines:{w:many}:ev', $hour + $_ => type => 'line.provisioning', at => $hour + $_, line => "old$_", from => '', to => 'provisioning', reason => '') for 5 .. 7;

    # a node may come by meanwhile: what is made so afterwards gets this one, too
    ($key{$_}, @{$lines{$_}}) = workspace($_ => 60) for qw(many more);
    my %old = map { lines_of($before, $key{$_}) } sort keys %key;

    my $third = $t->nginx(%plans, name => 'third', redis => $redis, server => 'location = /_lines/more { lines_metrics survey=100ms; }');
    my ($n, %said) = (0);

    # asked and reported by all three meanwhile
    my $all = sub { !grep { my $id = $_; grep { type_of($id, $_) ne 'string' } @{$lines{$id}} } keys %lines };
    do {
        my @answers = concurrently(24, sub ($i) {
            my $nginx = ($before, $after, $third)[$i % 3];
            my $id    = (sort keys %key)[$i % 2];
            my $line  = $lines{$id}[($n * 7 + $i) % 60];

            return $nginx->get_p("/api/line-requests/$line", $nginx->bearer($key{$id})) if $i < 12;
            return $nginx->get_p('/api/lines/by-user', $nginx->bearer($key{$id}))       if $i < 16;
            return $nginx->request_p(POST => "/_lines/admin/lines/$line/status", {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'}, '{"status":"active"}');
        });
        $said{$_->status}++ for @answers;
        $n++;
    } until ($all->() || $n > 500);

    ok $all->(), 'all have it' or diag explain {map { $_ => $redis->cli(HGET => "lines:{w:$_}:t", 'layout') } keys %key};
    is_deeply [keys %said], [200], "nobody heard of it, in $n rounds" or diag explain \%said;

    wait_for(sub { 2 == grep { ($redis->cli(HGET => "lines:{w:$_}:t", 'layout') // '') eq '2' } keys %key }, 30, 'the end');

    for my $id (sort keys %key) {
        my %now = lines_of($after, $key{$id});
        $after->admin(POST => "lines/$_/status", {status => 'active'}) for @{$lines{$id}};
        %now = lines_of($before, $key{$id});
        my @lost = grep { my $line = $_; grep { $_ !~ /^(?:updatedAt|isActive|provisioningStatus)$/ && ($now{$line}{$_} // '') ne ($old{$line}{$_} // '') } keys %{$old{$line}} } @{$lines{$id}};
        is_deeply \@lost, [], "$id: nothing is lost" or diag explain [@now{@lost}], [@old{@lost}];
        is scalar(grep { $_->{provisioningStatus} eq 'active' && $_->{isActive} } values %now), 60, '... and what was reported is there';
        is_deeply [grep { my $line = $_; my $told = read_line($after, $key{$id}, $line); encoded($told->{line}) ne encoded($now{$line}) } @{$lines{$id}}], [], '... one by one as in lists';
    }

    my @events = $redis->events('w:many');
    is_deeply [map { $_->{line} } @events[0 .. 2]], [qw(old5 old6 old7)], 'what happened is in the journal';
    is_deeply $events[0], {id => $hour + 5, type => 'line.provisioning', line => 'old5', to => 'provisioning'}, '... as it was';
    is_deeply [grep { $events[$_]{id} <= $events[$_ - 1]{id} } 1 .. $#events], [], '... each with an id that is more than the last';
    ok !$redis->cli(EXISTS => 'lines:{w:many}:ev'), '... and nowhere else';
    is_deeply [$redis->strangers], [], 'all that is there is of the schema';

    # as all of its scripts begin, before they write
    eval { $redis->client->hgetall("lines:{w:many}:line:$lines{many}[0]") };
    like $@, qr/WRONGTYPE/, 'a node of the release before is refused';
};

sub encoded ($document) { Mojo::JSON::encode_json($document) }

$t->done;
