# Billing is not heard for a while: what is found when somebody looks is what is so now, not what came first.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, webhooks => 0);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 2);

sub no_line ($line) {
    $s->soon(sub { ($s->op($line->{tenant}, $line->{line})->{step} // '') eq 'done' }, 'a look comes to an end');
    $s->rest($line->{tenant});
    ok !$s->is_live($line), 'there is no line';
    like $s->now_of($line)->{status}, qr/^(?:canceled|failed)$/, '... it has ended';
    is $s->redis->cli('HGET', "lines:{$line->{tenant}}:t", 'email_paid'), 0, '... and has no place';
    ok !$s->redis->cli('EXISTS', "lines:{$line->{tenant}}:pending"), '... nor blocks the next';
    my ($paid, $back, $status) = $s->money($line->{subscription});
    is_deeply [$back, $status], [$paid, 'canceled'], 'nobody has paid for it';
}

promise 'paid: the poll finds it, and the line is there' => sub {
    my $line = $s->pending_line;
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'provisioning');
    is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'active'], 'and it is paid for';
};

promise 'paid, then credited and canceled by support, before the poll: no line' => sub {
    my $line = $s->pending_line;
    $s->unseen(sub {
        $sandbox->pay($line->{invoice});
        $s->hand(credit => $line->{invoice});
        $s->hand(cancel => $line->{subscription});
    });
    no_line($line);
};

promise 'paid, then refunded and canceled by support, before the poll: no line' => sub {
    my $line = $s->pending_line;
    $s->unseen(sub {
        $sandbox->pay($line->{invoice});
        $s->hand(refund => $line->{invoice});
        $s->hand(cancel => $line->{subscription});
    });
    no_line($line);
};

promise 'paid, then only canceled: no line, and the payment goes back' => sub {
    my $line = $s->pending_line;
    $s->unseen(sub {
        $sandbox->pay($line->{invoice});
        $s->hand(cancel => $line->{subscription});
    });
    no_line($line);
};

promise 'canceled and voided by support, never paid: no line' => sub {
    my $line = $s->pending_line;
    $s->unseen(sub {
        $sandbox->void($line->{invoice});
        $s->hand(cancel => $line->{subscription});
    });
    no_line($line);
};

promise 'a client that asks for its link after all that hears that there is none' => sub {
    my $line = $s->pending_line;
    $s->unseen(sub {
        $sandbox->pay($line->{invoice});
        $s->hand(credit => $line->{invoice});
        $s->hand(cancel => $line->{subscription});
    });
    is $s->action($line->{key}, $line->{line}, 'payment_link')->status, 409, 'no line, no link';
    no_line($line);
};

$t->done;
