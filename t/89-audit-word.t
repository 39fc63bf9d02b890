# A person has said of an operation that is stuck that nothing comes of it, and it ended without having seen what billing has. What
# that has cost goes back, whoever cancels it there, and whenever: by its event, or found by the auditor.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new(timeout => 600);
my $s       = Test::Lines::Scenario->new(t => $t, operations => Test::Lines::Scenario->new->operations . ' audit=20ms pass=300ms');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(workers => 2);
my $audit   = Test::Lines::Audit->new(scenario => $s);
my $made    = 0;

$s->numbers(9);
$nginx->allow(qr/is stuck|gets no answer/);

sub stuck ($tenant) { grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

# without its events, where the auditor is to find it
sub canceled_by_hand ($line, $heard) {
    $s->deaf unless $heard;
    $s->hand(cancel => $line->{subscription});
    $sandbox->wait_idle;
    $s->hears unless $heard;
}

# ... and what happens before billing can be read again, and whoever looks cancels it
sub said ($line, $before_it_is_seen = sub { }) {
    wait_for(sub { $nginx->admin(POST => "operations/$line->{line}/resolve", {as => 'canceled', note => 'seen by me'})->status == 200 }, 20, 'a person to say so');
    $s->soon(sub { $s->op($line->{tenant}, $line->{line})->{step} eq 'done' }, 'it ends by that word');
    $before_it_is_seen->();
    $sandbox->clear_faults;
}

# it was charged, and no answer says so, nor an event
sub charged {
    my $account = $s->account('word' . ++$made, customer => 'cus_card');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $s->deaf;
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', times => 1,    kind => '500_stored', effect => Mojo::JSON::true());
    $sandbox->fault(path => '/v1/subscriptions', method => 'GET',  times => 1000, kind => '500');
    is $s->confirm($account, $token, key => 'k')->status, 503, 'it is pending';
    my $line = {tenant => "a:word$made", name => "word$made", account => $account, line => $id};
    wait_for(sub { ($s->op($line->{tenant}, $id)->{tries} // 0) > 0 }, 30, 'it to be tried');
    $redis->cli('HSET', "lines:{$line->{tenant}}:op:$id", tries => 14);
    wait_for(sub { stuck($line->{tenant}) }, 30, 'it to be stuck');
    $s->hears;
    my ($subscription) = grep { ($_->{metadata}{operation} // '') eq $id } @{$sandbox->books->{subscription}};
    return {%$line, subscription => $subscription->{id}};
}

# it was paid for, and nobody may read that, the auditor neither: who sees it live after the word cancels it himself
sub paid {
    my $line = $s->pending_line;
    $sandbox->fault(path => '/v1/subscriptions',     method => 'GET', times => 1000, kind => '500');
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', times => 1000, kind => '401');
    $sandbox->pay($line->{invoice});
    wait_for(sub { stuck($line->{tenant}) }, 30, 'it to be stuck');
    return $line;
}

# all that has been done, by whom
sub fences ($tenant) { return join ' ', map { "$_ " . $redis->cli('HGET', $_, 'fence') } sort $redis->client->keys("lines:{$tenant}:op:*") }

sub all_goes_back ($line) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $audit->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'all of it goes back') or diag join ' ', $s->money($line->{subscription});
    $s->rest($line->{tenant});
    my $begun = fences($line->{tenant});
    $audit->whole_pass for 1 .. 2;
    is fences($line->{tenant}), $begun, '... and then nothing is begun any more';
    is_deeply [stuck($line->{tenant})], [], '... nor stuck';
}

my %of = ('a purchase that was charged' => \&charged, 'a line request that was paid' => \&paid);

for my $what (sort keys %of) {
    promise "$what: canceled at billing after the word" => sub {
        my $line = $of{$what}->();
        said($line, sub { canceled_by_hand($line, 1) });
        all_goes_back($line);
    };

    promise "$what: its tenant is deleted before anybody has looked" => sub {
        my $line = $of{$what}->();
        said($line, sub {
            my $until = time + 1;
            wait_for(sub { time > $until }, 10, 'a second after its payment');
            $s->remove($line);
        });
        all_goes_back($line);
    };

    promise "$what: canceled at billing before the word, or without a sound" => sub {
        for my $before (1, 0) {
            my $line = $of{$what}->();
            # an event of it would tell the purchase what it looks for: then nobody has to say anything
            canceled_by_hand($line, $what !~ /purchase/) if $before;
            said($line, sub { canceled_by_hand($line, 0) unless $before });
            all_goes_back($line);
        }
    };
}

$t->done;
