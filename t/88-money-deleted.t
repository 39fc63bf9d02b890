# Money that comes in for a tenant that is gone: that much goes back, once, and no more.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA ();
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);

$s->numbers(5);

# a line that was paid for; it is released, which leaves no invoice open, and its tenant deleted: then somebody finalizes a draft
sub gone ($line) {
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $s->rest($line->{tenant});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->remove($line);
    $s->later;
    return $sandbox->finalize($late)->{id};
}

sub only_that_goes_back ($line, $late) {
    # an event that a kill has put off made us look before it was paid: then it is void, and nobody can pay it
    return if !calm && $sandbox->call(GET => "/v1/invoices/$late")->json('/status') eq 'void';
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
    $s->later;
    $s->deaf;
    $sandbox->pay($late);
    $s->later;
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
        my $more = $key =~ /owed/ ? 600 : 600_000;
        $redis->cli('SET', $key, $at =~ s/^(\d+)/$1 + $more/er, 'KEEPTTL');
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
    $s->later;
    $s->remove($line);
    $sandbox->judge($dispute->{id}, 'won');
    $s->soon(sub { ($s->money($line->{subscription}))[1] == 400 }, 'what was taken is due again');
    $s->rest($line->{tenant});
};

for my $lost (0, 1) {
    promise 'a part of another open invoice was paid, too, which is void then' . ($lost ? ', and no answer says so' : '') . ': it goes back as well' => sub {
        my $line = $s->active_line;
        my $part = $sandbox->bill($line->{subscription}, draft => 1)->{id};
        my $late = gone($line);
        $sandbox->finalize($part);
        $s->later;
        $sandbox->fault(path => '/v1/invoices/:id/void', kind => 'drop_after', times => 6) if $lost;
        $sandbox->pay($part, 'ok', 400);
        $sandbox->void($part) if !$lost;
        $sandbox->pay($late);
        $s->soon(sub { ($s->money($line->{subscription}, $part))[1] == 400 }, 'the part goes back');
        $sandbox->clear_faults;
        only_that_goes_back($line, $late);
        is +($s->money($line->{subscription}, $part))[1], 400, 'once';
    };
}

promise 'a part of one that was void before: that was paid while it was there, and stays' => sub {
    my $line = $s->active_line;
    my $part = $sandbox->renew($line->{subscription}, 'declined')->{id};
    $sandbox->move($line->{subscription}, status => 'active');
    $sandbox->pay($part, 'ok', 400);
    $sandbox->void($part);
    # what is void in the second in which the line ends is so by its end
    $s->later;
    my $late = gone($line);
    $s->later;
    $sandbox->pay($late);
    only_that_goes_back($line, $late);
    is +($s->money($line->{subscription}, $part))[1], 0, 'the part stays';
};

promise 'paid while the tenant is being deleted, its line not gone yet: it goes back' => sub {
    my $line = $s->active_line(name => 'half');
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $s->rest($line->{tenant});
    $s->release($line);
    $s->rest($line->{tenant});

    # a deletion that was cut short
    my $redis = $s->redis->client;
    $redis->set('lines:{w:half}:deleted', $redis->time->[0] * 1000, EX => 34560000);
    $redis->del('lines:{w:half}:t');
    $redis->hset('lines:{w:half}:t', plan => '', deleting => 1, former_customer => 'cus_card');

    $s->later;
    $sandbox->finalize($late);
    $sandbox->pay($late);
    $sandbox->wait_idle;
    is $redis->exists("lines:{w:half}:line:$line->{line}"), 1, 'its line is there';
    $s->remove($line);
    only_that_goes_back($line, $late);
};

promise 'what goes back of a tenant that is gone, and whose hint is lost: it goes back all the same' => sub {
    my $line = $s->active_line;
    my $late = gone($line);
    my $id   = substr Digest::SHA::sha256_hex("orphan:$line->{subscription}"), 0, 24;
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'drop_before', times => 1000);
    $sandbox->pay($late);
    $s->soon(sub { $s->op($line->{tenant}, $id)->{tries} }, 'it is tried');
    $sandbox->wait_idle;
    $s->unseen(sub {
        $sandbox->clear_faults;
        $s->redis->cli('DEL', map {"lines:{due:$_}"} 0 .. 15);
    });
    only_that_goes_back($line, $late);
};

promise 'an account made anew: a key, a token and a preview of the former one are none of its own' => sub {
    my $line  = $s->bought_line(name => 'anew', key => 'k');
    my $early = $s->token($line->{account});
    $s->release($line);
    $s->rest('a:anew');
    $s->remove($line);

    my $account = $s->account('anew', customer => 'cus_card');
    my $before  = () = $s->bought($account);

    for ([$line->{token} => 'k'], [$line->{token} => 'other'], [$early => 'new']) {
        my $answer = $s->confirm($account, $_->[0], key => $_->[1]);
        is $answer->status, 410, 'the token is none, with key ' . $_->[1];
        is $answer->json('/state'), undef, 'and nothing is said of what it bought';
    }

    is scalar(() = $s->bought($account)), $before, 'nothing was charged';
    ok $s->bought_line(name => 'anew', account => $account, key => 'k')->{line}, 'and it buys with a token of its own, and that key';
}, leaves => 1;

promise "a workspace made anew: a key of the former one's was not used" => sub {
    my $body = $s->body;
    my $post = sub ($key) { $nginx->post_json('/api/line-requests', $body, {%{$nginx->bearer($key)}, 'Idempotency-Key' => 'k'}) };
    my $key  = $s->workspace('idem');
    my $first = $post->($key)->json('/line/_id');
    $s->action($key, $first, 'cancel');
    $s->rest('w:idem');
    $s->remove({name => 'idem'});
    $key = $s->workspace('idem');
    my $answer = $post->($key);
    is $answer->status, 201, 'a request of its own' or diag $answer->to_string;
    isnt $answer->json('/line/_id'), $first, 'another line';
    is $post->($key)->json('/line/_id'), $answer->json('/line/_id'), '... once';
};

promise 'more invoices than one look reads: the one that was paid late is older than all of them' => sub {
    my $line = $s->active_line;
    $sandbox->wait_idle;
    $s->deaf;
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $sandbox->renew($line->{subscription}) for 1 .. 505;
    $s->hears;
    $s->rest($line->{tenant});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->later;
    $s->remove($line);
    $s->later;
    $sandbox->finalize($late);
    $sandbox->pay($late);
    $s->soon(sub { ($s->money($line->{subscription}, $late))[1] == 900 }, 'it goes back', 60);
    only_that_goes_back($line, $late);
};

$t->done;
