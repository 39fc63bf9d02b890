# Nobody is charged on the word of a Redis that is not the database that it was, not even in the second before a node would have
# looked by itself: what begins asks with its hints, what goes on asks before it is sent.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);

$s->numbers(9);
$nginx->allow(qr/\[alert\].*Redis is not the database that it was/);

sub found () { ($nginx->get('/_lines/ready')->json->{database} // {})->{status} // '' }
sub wait_state ($status) { wait_for(sub { found() eq $status }, 20, "the database to be $status") }
sub behind () { $s->redis->cli('HINCRBY', 'lines:{database}', watermark => -600_000) }

sub confirmed () {
    wait_state('held');
    $nginx->admin(POST => 'database/confirm');
    wait_state('ok');
}

wait_state('ok');

promise 'a line request right after a restore' => sub {
    for my $i (1 .. 3) {
        my $key = $s->workspace("late$i");
        behind();
        is $s->request($key)->status, 503, 'it is told to come again';
        is scalar(() = $s->made_for("w:late$i")), 0, 'nobody is charged';
        confirmed();
        is $s->request($key)->status, 201, 'once the database is confirmed it is taken';
        is scalar(() = $s->made_for("w:late$i")), 1, '... and charged once';
    }
};

promise 'a confirm right after a restore' => sub {
    for my $i (1 .. 3) {
        my $account = $s->account("late$i");
        my $token   = $s->token($account);
        behind();
        is $s->confirm($account, $token, key => 'k')->status, 503, 'it is told to come again';
        is scalar(() = $s->made_for("a:late$i")), 0, 'nobody is charged';
        confirmed();
        is $s->confirm($account, $token, key => 'k')->status, 200, 'once the database is confirmed the token is good';
        is scalar(() = $s->made_for("a:late$i")), 1, '... and it is charged once';
    }
};

promise 'a charge that goes on right after a restore' => sub {
    for my $i (1 .. 3) {
        my $key = $s->workspace("resumed$i");
        $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'drop_before', times => 1000);
        my $asked = $nginx->post_json_p('/api/line-requests', $s->body, $nginx->bearer($key))->catch(sub { });
        my ($id) = wait_for(sub { $s->redis->cli('GET', "lines:{w:resumed$i}:pending") }, 20, 'the line');
        wait_for(sub { ($s->op("w:resumed$i", $id)->{tries} // 0) > 0 }, 20, 'a try');
        behind();
        $sandbox->clear_faults;
        wait_state('held');
        is scalar(() = $s->made_for("w:resumed$i")), 0, 'nobody is charged';
        confirmed();
        wait_for(sub { $s->made_for("w:resumed$i") }, 20, 'the charge, once the database is confirmed');
    }
};

$t->done;
