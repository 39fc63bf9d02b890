# More cannot be read than the auditor remembers at a time: each is passed over and shown, and the pass comes to its end.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t     = Test::Lines->new(timeout => 600);
my $s     = Test::Lines::Scenario->new(t => $t, operations => 'sweep=20ms retry=200ms due=1s lease=2s absent=500ms walk=1h poll=1s every=2s audit=5ms pass=200ms');
my $redis = $s->redis;
my $nginx = $s->nginx;
my $audit = Test::Lines::Audit->new(scenario => $s);
my $many  = 140;
my @bad   = map { sprintf 'a:unread%03d', $_ } 1 .. $many;

$nginx->allow(qr/WRONGTYPE|lines audit/);

sub listed { $nginx->admin(GET => 'audit')->json }

sub unread { map { $_->{id} } grep { $_->{kind} eq 'unread' } @{listed()->{disagreements}} }

promise "$many tenants that cannot be read: one pass passes over each, and sees what comes after" => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    for my $tenant (@bad) {
        $redis->cli('HSET', "lines:{$tenant}:t", plan => 'paid');
        $redis->cli('SET', "lines:{$tenant}:lines", 'by hand');
    }
    $redis->cli('SADD', 'lines:{tenants}', @bad);
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => 1);

    $audit->whole_pass(240);
    is_deeply [sort(unread())], \@bad, 'each is shown, and nothing else';
    ok !(grep { $_ eq 'page' } unread()), 'no page of them was given up';
    $audit->whole_pass(240);
    ok((grep { $_->{kind} eq 'counter' && $_->{tenant} eq $line->{tenant} } @{listed()->{disagreements}}), 'who can be read is read');

    # one is known as soon as it can be read
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $redis->cli('DEL', map { "lines:{$_}:lines" } @bad);
    $audit->whole_pass(240) for 1 .. 2;
    is_deeply [unread()], [], 'what can be read again is not shown any more';
};

$t->done;
