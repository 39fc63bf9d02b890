# Addresses that change: conf/lines.conf as it is, but for files and ports, with a resolver of the test's own. It starts
# without one, follows Stripe and Clerk where they go, and believes no address that does not have their certificate.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Clerk;
use Test::Lines::Client;
use Test::Lines::Tls;
use Test::Lines::Util qw(write_file);

my $t       = Test::Lines->new;
my $dir     = path($t->dir, 'etc')->make_path;
my $redis   = $t->redis;
my $sandbox = $t->sandbox;
my $clerk   = Test::Lines::Clerk->new(t => $t);
my $tls     = Test::Lines::Tls->new(t => $t)->ca('ca');
my %port    = map { $_ => $t->free_port } qw(api admin dns peer);

$tls->certificate('ca', stripe => 'api.stripe.com');
$tls->certificate('ca', clerk  => 'clerk.example.com');
$tls->certificate('ca', lines  => 'lines.example.com');

# Stripe, then Clerk, live at 127.0.0.2 and 127.0.0.3, others at 127.0.0.4: which of them was asked is in the log.

my %at = (2 => 'stripe', 3 => 'stripe', 4 => 'lines');

my $peers = $t->nginx(
    name   => 'peers',
    http   => 'log_format at "$server_addr $host $uri $status";' . join '', map {
        my ($host, $name) = ($_, $at{$_});
        join "\n", '', map { <<"END" } [$name, $name eq 'stripe' ? 'api.stripe.com' : 'elsewhere', $sandbox->url], $name eq 'stripe' ? ['clerk', 'clerk.example.com', $clerk->upstream->url] : ();
server {
    listen 127.0.0.$host:$port{peer} ssl;
    server_name $_->[1];
    ssl_certificate $dir/../$_->[0].pem;
    ssl_certificate_key $dir/../$_->[0].key;
    access_log $dir/peers.log at;
    location / { proxy_pass $_->[2]; proxy_set_header Host \$host; }
}
END
    } sort keys %at
);

sub asked ($host, $name) { return scalar grep {/^127\.0\.0\.$host \Q$name\E /} split /\n/, -e "$dir/peers.log" ? path("$dir/peers.log")->slurp : '' }

# The resolver: what it answers is in a file, NAME=ADDRESS; nothing to names that are not there.

my $server = $t->file('dns.pl', <<'END');
    use Socket;
    my ($port, $file) = @ARGV;
    $| = 1;
    socket my $socket, PF_INET, SOCK_DGRAM, 0 or die $!;
    bind $socket, pack_sockaddr_in($port, inet_aton('127.0.0.1')) or die $!;
    while (defined(my $from = recv $socket, my $query, 512, 0)) {
        my $end  = index $query, "\0", 12;
        my $name = join '.', unpack '(C/a)*', substr $query, 12, $end - 12;
        open my $read, '<', $file or next;
        my ($address) = join('', <$read>) =~ /^\Q$name\E=(\S+)$/m or print "$name: silent\n" and next;
        print "$name: $address\n";
        send $socket, substr($query, 0, 2) . pack('n5', 0x8180, 1, 1, 0, 0) . substr($query, 12, $end - 12 + 5)
            . pack('nnnNn', 0xc00c, 1, 1, 1, 4) . inet_aton($address), 0, $from;
    }
END

my $names = "$dir/names";

sub names (%at) {
    write_file("$names.new", join '', map {"$_=127.0.0.$at{$_}\n"} sort keys %at);
    rename "$names.new", $names or die "$names: $!";
}

names();

my $conf = path($t->root, 'conf/lines.conf')->slurp;

write_file("$dir/$_->[0]", "$_->[1]\n") for ['admin.token', 'someone all ' . 'x' x 32], ['stripe.key', 'sk_test_lines'], ['webhook.key', 'whsec_test'];
chmod 0600, "$dir/$_" for qw(admin.token stripe.key webhook.key);
path($dir, '..', "lines.$_->[0]")->copy_to("$dir/tls.$_->[1]") for ['pem', 'crt'], ['key', 'key'];

sub replace ($what, $with) { $conf =~ s/$what/$with/g or die "conf/lines.conf has no $what" }

replace(qr{/etc/lines/}, "$dir/");
replace(qr{/etc/ssl/certs/ca-certificates\.crt}, "$dir/../ca.pem");
replace(qr{redis://127\.0\.0\.1:6379/0}, join(' ', $redis->url, $redis->options));
replace(qr{resolver\s+127\.0\.0\.53}, "resolver 127.0.0.1:$port{dns}");
replace(qr{listen 443 ssl}, "listen 127.0.0.1:$port{api}");
replace(qr{127\.0\.0\.1:8081}, "127.0.0.1:$port{admin}");

# nginx from 1.27.3 may follow the names of an upstream
my %way = (variable => $conf =~ s{(https://\$\w+_host\b)}{$1:$port{peer}}gr);
if (Test::Lines::Nginx->version >= 1.027003) {
    my ($upstream) = path($t->root, 'conf/directives.md')->slurp =~ /^(    upstream stripe \{.*?^    \})/ms or die 'directives.md has no upstream';
    $way{upstream} = $way{variable} =~ s{location ~ \^/_lines/billing\S+}{location /_lines/billing/}r =~ s{^\s+set \$stripe_host .*\n}{}mr
      =~ s{https://\$stripe_host\S+;}{https://stripe/;}r . $upstream =~ s/:443/:$port{peer}/r;
}
else { note 'upstreams follow names from nginx 1.27.3 on: not tested here' }

my $operator = Test::Lines::Client->new(host => '127.0.0.1', port => $port{admin});
my $api      = Test::Lines::Client->new(host => '127.0.0.1', port => $port{api});
my %token    = (Authorization => 'Bearer ' . 'x' x 32);
my $count    = 0;

# A line that has to be paid, of a workspace of its own, which asks Stripe; repeated, it is the same.
sub workspace () {
    my $id     = 'w' . ++$count;
    my $answer = $operator->put_json("/_lines/admin/workspaces/$id", {plan => 'growth', customer => 'cus_card', subscription => 'active'}, \%token);
    die $answer->to_string unless $answer->status =~ /^20/;
    return {id => $id, key => $operator->post_json("/_lines/admin/workspaces/$id/keys", {}, \%token)->json('/key')};
}

sub ask_p ($who) {
    return $api->post_json_p('/api/line-requests', {firstName => 'Ada', lastName => 'Lovelace', channelType => 'email', email => "$who->{id}\@example.com"},
        {Authorization => "Bearer $who->{key}", 'Idempotency-Key' => $who->{id}});
}

sub ask ($who) {
    my $answer;
    ask_p($who)->then(sub ($got) { $answer = $got })->wait;
    return $answer;
}

sub is_asked_for ($who, $what) {
    my $answer;
    wait_for(sub { ($answer = ask($who))->status =~ /^20/ }, 60, $what);
    is $answer->json('/status'), 'awaiting_payment', $what or diag $answer->to_string;
}

my $dns;

for my $way (sort keys %way) {
    subtest $way => sub {
        $dns->stop if $dns;
        names();
        my $nginx = $t->nginx(name => "node-$way", workers => 2, http => $way{$way});
        wait_for(sub { ($operator->get('/_lines/ready')->json('/redis/status') // '') eq 'ok' }, 30, 'Redis');
        is $operator->get('/_lines/ready')->status, 200, 'it starts, and is ready, with nobody who knows names';

        my @who = map { workspace() } 1 .. 64;

        my $first  = shift @who;
        my $answer = ask($first);
        is $answer->status, 503, 'what needs Stripe is 503' or diag $answer->to_string;
        ok $answer->header('Retry-After'), '... with when to ask again';

        $dns = $t->spawn("dns-$way" => [$^X, $server, $port{dns}, $names]);
        names('api.stripe.com' => 2, 'clerk.example.com' => 2);
        is_asked_for($first, 'the resolver comes, and the line is asked for, without a reload');
        cmp_ok asked(2, 'api.stripe.com'), '>', 0, '... of Stripe where it is';

        my $page = {Authorization => 'Bearer ' . $clerk->token(org => $first->{id})};
        wait_for(sub { $api->get('/api/lines/by-user', $page)->status == 200 }, 30, 'a session token to be known');
        cmp_ok asked(2, 'clerk.example.com'), '>', 0, 'Clerk is found as well';

        # it moves, while it is asked, and nobody notices
        my $before = asked(3, 'api.stripe.com');
        my %status;
        my @load = splice @who, 0, 50;
        concurrently(scalar @load, sub ($i) {
            names('api.stripe.com' => 3, 'clerk.example.com' => 3) if $i == 15;
            return ask_p($load[$i])->then(sub ($got) { $status{$got->status}++ });
        }, 5);
        is_deeply \%status, {201 => 50}, 'an answer that changes under load: all are answered';

        wait_for(sub { ask(workspace()); asked(3, 'api.stripe.com') > $before }, 30, 'the other address to be asked');
        my $gone = asked(2, 'api.stripe.com');
        ask(shift @who)->status for 1 .. 3;
        is asked(2, 'api.stripe.com'), $gone, 'where it was nobody is asked any more';

        # an address that is not Stripe's
        names('api.stripe.com' => 4);
        my $who = shift @who;
        wait_for(sub { $answer = ask($who = workspace()); $answer->status == 503 }, 30, 'the third address to be asked');
        $nginx->wait_log(qr/upstream SSL certificate does not match "api\.stripe\.com"/);
        is asked(4, $_), 0, 'who has not its certificate is asked for nothing' for 'api.stripe.com', 'elsewhere';
        names('api.stripe.com' => 3);
        is_asked_for($who, 'and it goes on when the name is right again');

        # silence
        names();
        if ($way eq 'variable') {
            wait_for(sub { $answer = ask($who = workspace()); $answer->status == 503 }, 30, 'what was known of the name to end');
            cmp_ok $answer->seconds, '<', 10 * $t->slow, 'an answer in time';
            ok $answer->header('Retry-After'), '... with when to ask again';
            $nginx->wait_log(qr/api\.stripe\.com could not be resolved \(110: Operation timed out\)/);
        }
        else {
            my $silent = () = $dns->output =~ /silent/g;
            wait_for(sub { (() = $dns->output =~ /silent/g) > $silent + 1 }, 60, 'the silence to be noticed');
            is_asked_for($who = workspace(), 'the addresses that were known are good still');
        }
        names('api.stripe.com' => 2);
        is_asked_for($who, 'and it goes on when the resolver does');

        $nginx->quit;
    };
}

# asked again and again, with answers lost on the way: still one of each
my %subscriptions;
$subscriptions{$_->{metadata}{tenant} // ''}++ for $sandbox->ledger('subscription');
cmp_ok scalar(keys %subscriptions), '>', 50, 'subscriptions';
is_deeply [grep { $subscriptions{$_} != 1 } keys %subscriptions], [], 'one for each line';

$t->done;
