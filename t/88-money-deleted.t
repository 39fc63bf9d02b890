# Money that comes in for a tenant that is gone: that much goes back, once, and no more.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);

$s->numbers(5);

# a line that was paid for, whose next invoice is open; then it is released, and its tenant deleted
sub gone ($line) {
    my $late = $sandbox->renew($line->{subscription}, 'declined')->{id};
    $s->rest($line->{tenant});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->remove($line);
    return $late;
}

sub only_that_goes_back ($line, $late) {
    $s->soon(sub { ($s->money($line->{subscription}, $late))[1] > 0 }, 'it goes back');
    $s->rest($line->{tenant});
    my ($paid, $back) = $s->money($line->{subscription}, $late);
    is $back, $paid, '... in full, and once';
    is_deeply [($s->money($line->{subscription}, $line->{invoice}))[1]], [0], 'what was paid for while it was there stays paid';
    is +($s->money($line->{subscription}))[2], 'canceled', 'the subscription is none any more';
}

my %lines = ('a workspace' => sub { $s->active_line }, 'an account' => sub { $s->bought_line });

for my $whose (sort keys %lines) {
    promise "$whose is deleted, then an old invoice is paid: only that is refunded" => sub {
        my $line = $lines{$whose}->();
        my $late = gone($line);
        $sandbox->pay($late);
        only_that_goes_back($line, $late);
    };

    promise "$whose: ... and told twice, and again later: once" => sub {
        my $line = $lines{$whose}->();
        my $late = gone($line);
        $sandbox->webhooks(duplicate => 3, shuffle => 1);
        $sandbox->pay($late);
        $sandbox->wait_idle;
        $sandbox->webhooks(duplicate => 0, shuffle => 0);
        $s->soon(sub { ($s->money($line->{subscription}, $late))[1] > 0 }, 'it goes back');
        $s->rest($line->{tenant});
        my ($paid, $back) = $s->money($line->{subscription}, $late);
        $s->told_again({%$line, invoice => $late});
        $s->rest($line->{tenant});
        is_deeply [$s->money($line->{subscription}, $late)], [$paid, $paid, 'canceled'], 'once';
    };
}

promise 'another of the name, made since, is not the one that paid' => sub {
    my $line = $s->active_line(name => 'again');
    my $late = gone($line);
    my $new  = $s->active_line(name => 'again');
    $sandbox->pay($late);
    only_that_goes_back($line, $late);
    ok $s->is_live($new), "the new one's line is as it was";
    is_deeply [($s->money($new->{subscription}))[1, 2]], [0, 'active'], '... and paid for';
}, leaves => 1;    # what the former one of the name had paid while it was there

promise 'paid after the first deletion, heard of after the second of that name: it goes back' => sub {
    my $line = $s->active_line(name => 'twice');
    my $late = gone($line);
    my $until = time + 1;
    Test::Lines::wait_for(sub { time > $until }, 10, 'a later second');
    $s->deaf;
    $sandbox->pay($late);
    $until = time + 1;
    Test::Lines::wait_for(sub { time > $until }, 10, 'a later second');
    $s->workspace('twice');
    $s->remove({name => 'twice'});
    $s->hears;
    $s->told_again({%$line, invoice => $late});
    only_that_goes_back($line, $late);
};

promise 'deleted by a clock that was ahead, and was set right: what is paid since goes back' => sub {
    my $line = $s->active_line;
    my $late = gone($line);
    my $redis = $s->redis;
    for my $key ("lines:{$line->{tenant}}:deleted", "lines:{$line->{tenant}}:owed:$line->{line}") {
        my $at = $redis->cli('GET', $key) // next;
        $redis->cli('SET', $key, $at + ($key =~ /owed/ ? 600 : 600_000), 'KEEPTTL');
    }
    my $until = time + 12;
    Test::Lines::wait_for(sub { time > $until }, 20, 'a while');
    $sandbox->pay($late);
    only_that_goes_back($line, $late);
};

promise 'a part of what was awaited was paid, and disputed; canceled, its tenant deleted, the dispute won: it goes back' => sub {
    my $line = $s->pending_line;
    $sandbox->pay($line->{invoice}, 'ok', 400);
    my $dispute = $sandbox->dispute($line->{invoice});
    eval { $s->action($line->{key}, $line->{line}, 'cancel') };
    $s->rest($line->{tenant});
    is $s->now_of($line)->{status}, 'canceled', 'canceled';
    my $until = time + 1;
    Test::Lines::wait_for(sub { time > $until }, 10, 'a later second');
    $s->remove($line);
    $sandbox->judge($dispute->{id}, 'won');
    $s->soon(sub { ($s->money($line->{subscription}))[1] == 400 }, 'what was taken is due again');
    $s->rest($line->{tenant});
};

$t->done;
