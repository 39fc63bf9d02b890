# What a stranger tried who wanted money to be kept for nothing: lists that stay behind for longer than anybody waits, disputes in the
# bank's own currency, keys that billing keeps for longer than we do.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Mojo::JSON qw(decode_json encode_json false true);
use Mojo::UserAgent;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;

# a list at "unlisted" has nothing of what is there, as long as the state says so; a read by id does
my $billing = $t->upstream(handler => sub ($c, $state) {
    state $ua   = Mojo::UserAgent->new(max_redirects => 0);
    my $req     = $c->req;
    my %headers = %{$req->headers->to_hash};
    delete @headers{qw(Host Connection)};
    my $res = $ua->start($ua->build_tx($req->method => $sandbox->url . $req->url->path_query => \%headers => $req->body))->res;
    for my $name (grep { !/^(?:content-length|transfer-encoding|connection|date|server)$/i } @{$res->headers->names}) {
        $c->res->headers->header($name => $res->headers->header($name));
    }
    my $body = $res->body;
    my $lie  = $req->method eq 'GET' && ($state->{unlisted} // '') eq $req->url->path && $res->code == 200;
    $body = encode_json({%{decode_json($body)}, data => [], has_more => false}) if $lie;
    $c->render(data => $body, status => $res->code // 502);
});

my $s     = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $billing->port);
my $nginx = $s->nginx(workers => 2);

$s->numbers(9);
$nginx->allow(qr/is stuck/);

sub unlisted ($path) { $billing->reset(unlisted => $path) }
sub listed { $billing->reset }
sub gives_back ($line) { return $s->op($line->{tenant}, substr sha256_hex("refund:$line->{line}"), 0, 24) }
sub stuck ($line) { map { $_->{stuck} } grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

sub all_back ($line, $what) {
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, $what, 20)
        or diag explain [$s->money($line->{subscription})], gives_back($line), $s->now_of($line);
}

promise 'a line fails, and its invoice is not listed for longer than anybody waits: what it cost goes back' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    unlisted('/v1/invoices');
    $s->report($line, 'failed');
    wait_for(sub { (gives_back($line)->{step} // '') eq 'done' || (gives_back($line)->{tries} // 0) > 20 }, 60, 'its end, or twenty tries');
    listed();
    all_back($line, 'all of it');
};

promise 'billing was away for a while, and does not list an invoice at once when it is back: what it cost goes back' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '500', times => 100_000);
    $s->report($line, 'failed');
    wait_for(sub { (gives_back($line)->{tries} // 0) > 16 }, 60, 'billing to be away for a while');
    unlisted('/v1/invoices');
    $billing->clear;
    $sandbox->clear_faults;
    wait_for(sub { grep { $_->{method} eq 'GET' && $_->{path} eq '/v1/invoices' } @{$billing->requests} }, 30, 'a look at its invoices');
    listed();
    all_back($line, 'all of it');
};

promise 'a part is paid, the rest is not, and its invoice is not listed: the line is canceled, and the part goes back' => sub {
    my $line = $s->pending_line;
    $s->rest($line->{tenant});
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->rest($line->{tenant});
    unlisted('/v1/invoices');
    $s->action($line->{key}, $line->{line}, 'cancel');
    wait_for(sub { $s->now_of($line)->{status} eq 'canceled' || ($s->op($line->{tenant}, $line->{line})->{tries} // 0) > 20 }, 60, 'its end, or twenty tries');
    listed();
    all_back($line, 'the part');
};

promise 'a bank takes what a line cost, in a currency of its own: the line ends' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    $sandbox->dispute($line->{invoice}, amount => 850, currency => 'eur');
    $s->soon(sub { !$s->is_live($line) }, 'it ends', 20) or diag explain $s->now_of($line);
};

promise '... and so it does where it was bought by an account, and the dispute is opened before the purchase has ended' => sub {
    my $line = $s->bought_line;
    $s->rest($line->{tenant});
    $sandbox->dispute($line->{invoice}, amount => 850, currency => 'eur');
    $s->soon(sub { !$s->is_live($line) }, 'it ends', 20) or diag explain $s->now_of($line);
};

# by two payments of 450
sub of_two () {
    my $line = $s->pending_line;
    $sandbox->pay($line->{invoice}, 'ok', 450) for 1, 2;
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $s->rest($line->{tenant});
    return $line;
}

promise 'what a bank took is won when the record of what went back is gone, and billing still has its key: it goes back' => sub {
    my $line = of_two();
    my $dispute = $sandbox->dispute($line->{invoice});
    $s->soon(sub { !$s->is_live($line) }, 'the line ends', 20);
    $s->report($line, 'failed');
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'the rest goes back', 20);
    is +($s->money($line->{subscription}))[1], 450, '... of the other payment';
    $s->rest($line->{tenant});
    $s->redis->cli('DEL', "lines:{$line->{tenant}}:op:" . substr sha256_hex("refund:$line->{line}"), 0, 24);
    $sandbox->judge($dispute->{id} => 'won');
    all_back($line, 'all of it');
};

promise 'a bank takes a part of one payment, and the rest of that cannot be refunded: the other payment goes back' => sub {
    my $line = of_two();
    $sandbox->dispute($line->{invoice}, amount => 200);
    $s->soon(sub { !$s->is_live($line) }, 'the line ends', 20);
    $s->report($line, 'failed');
    $s->soon(sub { ($s->money($line->{subscription}))[1] == 450 }, 'the other goes back', 20)
        or diag explain [$s->money($line->{subscription})], gives_back($line), [stuck($line)];
}, leaves => 1;

promise 'paid from the balance and by card, and the customer is deleted at billing: the card\'s part goes back, people hear of the rest' => sub {
    $sandbox->customer('cus_leaves');
    $sandbox->endow('cus_leaves', 400);
    my $line = $s->pending_line(workspace => {customer => 'cus_leaves'});
    $sandbox->pay($line->{invoice});
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $s->rest($line->{tenant});
    $sandbox->hand(DELETE => '/v1/customers/cus_leaves');
    $s->soon(sub { !$s->is_live($line) }, 'the line ends', 20);
    $s->report($line, 'failed');
    $s->soon(sub { ($s->money($line->{subscription}))[1] == 500 }, 'what was charged goes back', 20)
        or diag explain [$s->money($line->{subscription})], gives_back($line), [stuck($line)];
    $s->soon(sub { (gives_back($line)->{stuck_due} // 0) == 400 }, 'the rest is for people', 20) or diag explain gives_back($line);
}, leaves => 1;

promise 'what went back of one invoice failed, and is for people: what came in of the others goes back meanwhile' => sub {
    $sandbox->customer('cus_slow', 'ok', 'default', 'pending');
    my $line = $s->paid_line(workspace => {customer => 'cus_slow'});
    $s->rest($line->{tenant});
    my $more = $sandbox->renew($line->{subscription})->{id};
    $sandbox->settle($sandbox->refund($more)->{id} => 'failed');
    $s->rest($line->{tenant});
    $s->report($line, 'failed');
    $s->soon(sub { grep { $_ eq 'refund_failed' } stuck($line) }, 'people hear of it', 20);
    $s->soon(sub { ($s->money($line->{subscription}, $line->{invoice}))[1] == 900 }, 'what the line was bought with goes back')
        or diag explain [$s->money($line->{subscription})], gives_back($line);
    $s->soon(sub { (gives_back($line)->{stuck_invoice} // '') eq $more }, 'they hear of it still');
    is gives_back($line)->{step}, 'cancel', '... and it is not done';
    is_deeply [($s->money($line->{subscription}, $more))[0, 1]], [900, 900], 'nothing more of that goes back' or diag explain [$s->money($line->{subscription}, $more)];
    $sandbox->settle($_ => 'succeeded') for map { $_->{id} } grep { $_->{status} eq 'pending' } @{$sandbox->books->{refund}};
    $s->hand(outside => $more, 900);
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'it ends once people have given it back', 30) or diag explain gives_back($line);
};

promise 'more is paid than was asked for, and the line fails: what it cost goes back, what was too much is on the balance already' => sub {
    $sandbox->customer('cus_over');
    my $line = $s->pending_line(workspace => {customer => 'cus_over'});
    $sandbox->pay($line->{invoice}, 'ok', 500);
    $sandbox->pay($line->{invoice}, 'ok', 500);
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $s->rest($line->{tenant});
    $s->report($line, 'failed');
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'it ends', 20) or diag explain gives_back($line);
    is +($s->money($line->{subscription}))[1], 900, 'no more than it cost';
};

$t->done;
