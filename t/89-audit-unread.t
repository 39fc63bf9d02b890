# More cannot be read than the auditor remembers at a time: each is passed over and shown, and the pass comes to its end.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t     = Test::Lines->new(timeout => 600);
my $s     = Test::Lines::Scenario->new(t => $t, operations => 'sweep=20ms retry=200ms due=1s lease=2s absent=500ms walk=1h poll=1s every=2s audit=5ms pass=200ms');
my $redis = $s->redis;
my $nginx = $s->nginx(server => 'location = /metrics { lines_metrics; }');
my $sandbox = $s->sandbox;
my $audit = Test::Lines::Audit->new(scenario => $s);
my $many  = 140;
my @bad   = ('a:unread' . 'n' x 100, map { sprintf 'a:unread%03d', $_ } 2 .. $many);

$nginx->allow(qr/WRONGTYPE|lines audit|billing/);

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
    is_deeply [sort(unread())], [sort map { substr $_, 0, 96 } @bad], 'each is shown, however long its name, and nothing else';
    ok !(grep { $_ eq 'page' } unread()), 'no page of them was given up';
    $audit->whole_pass(240);
    ok((grep { $_->{kind} eq 'counter' && $_->{tenant} eq $line->{tenant} } @{listed()->{disagreements}}), 'who can be read is read');

    # one is known as soon as it can be read
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $redis->cli('DEL', map { "lines:{$_}:lines" } @bad);
    $audit->whole_pass(240) for 1 .. 2;
    is_deeply [unread()], [], 'what can be read again is not shown any more';
};

promise 'billing refuses what follows a page, each time: the pass goes on past it, and it is shown' => sub {
    $sandbox->adopt(customer => 'cus_card', price => 'price_phone', metadata => {of => 'nobody'}) for 1 .. 12;
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '400', times => 1, param => 'starting_after');
    $audit->whole_pass;
    $audit->whole_pass;
    is_deeply [unread()], [], 'once: what the page followed was gone, perhaps, and it is listed anew';
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '400', times => 1_000_000, param => 'starting_after');
    $audit->shows(unread => 'page', 'shown', qr/^subscriptions$/, qr/^it cannot be read$/);
    $audit->whole_pass;
    $sandbox->clear_faults;
    $audit->gone(unread => 'page');
};

promise 'the first pass never comes to its end: how long it takes is told, for an alert' => sub {
    my $young = Test::Lines::Scenario->new(t => $t, operations => $s->operations);
    $young->sandbox->fault(path => '/v1/subscriptions', method => 'GET', kind => '500', times => 1_000_000);
    my $node = $young->nginx(server => 'location = /metrics { lines_metrics; }');
    $node->allow(qr/billing/);
    wait_for(sub { $young->redis->cli('HGET', 'lines:{audit}', 'began') }, 30, 'a pass');
    $young->redis->cli('HINCRBY', 'lines:{audit}', 'began', -7 * 3_600_000);
    $young->soon(sub { (($node->get('/metrics')->body =~ /^lines_audit_age_seconds (\d+)/m)[0] // 0) > 21_600 }, 'it is late');
    $node->quit;
};

$t->done;
