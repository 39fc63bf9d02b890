# More cannot be read than the auditor remembers at a time: each is passed over and shown, and the pass comes to its end.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t     = Test::Lines->new(timeout => 600);
my $s     = Test::Lines::Scenario->new(t => $t, operations => 'sweep=20ms retry=200ms due=1s lease=2s absent=500ms walk=1h poll=1s every=2s audit=5ms pass=200ms');
my $redis = $s->redis;
my $nginx = $s->nginx;
my $many  = 140;
my @bad   = map { sprintf 'a:unread%03d', $_ } 1 .. $many;

$nginx->allow(qr/WRONGTYPE|lines audit/);

sub audit { $nginx->admin(GET => 'audit')->json }

sub pass_of { my %h = @{scalar $redis->cli('HGETALL', 'lines:{audit}')}; \%h }

sub unread { map { $_->{id} } grep { $_->{kind} eq 'unread' } @{audit()->{disagreements}} }

# a whole pass that begins after now
sub whole_pass {
    my $now = $redis->client->time;
    my $ms  = $now->[0] * 1000 + int $now->[1] / 1000;
    wait_for(sub { !length pass_of()->{phase} && (pass_of()->{began} // 0) > $ms }, 240, 'a pass');
}

promise "$many tenants that cannot be read: one pass passes over each, and sees what comes after" => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    for my $tenant (@bad) {
        $redis->cli('HSET', "lines:{$tenant}:t", plan => 'paid');
        $redis->cli('SET', "lines:{$tenant}:lines", 'by hand');
    }
    $redis->cli('SADD', 'lines:{tenants}', @bad);
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => 1);

    whole_pass();
    is_deeply [sort(unread())], \@bad, 'each is shown, and nothing else';
    ok !(grep { $_ eq 'page' } unread()), 'no page of them was given up';
    whole_pass();
    ok((grep { $_->{kind} eq 'counter' && $_->{tenant} eq $line->{tenant} } @{audit()->{disagreements}}), 'who can be read is read');

    # one is known as soon as it can be read
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $redis->cli('DEL', map { "lines:{$_}:lines" } @bad);
    whole_pass() for 1 .. 2;
    is_deeply [unread()], [], 'what can be read again is not shown any more';
};

$t->done;
