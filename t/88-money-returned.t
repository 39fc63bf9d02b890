# What is given back, and since when: by clocks that differ, by answers that come late, by what a person has settled.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Mojo::JSON qw(decode_json encode_json);
use Mojo::UserAgent;
use Test::More;
use Time::HiRes ();
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise calm);
use Test::Lines::Unit qw(make_unit);

my $t = Test::Lines->new;

# a proxy that tells its own time, as nginx does; and, for a while, that a list has nothing yet
sub proxy ($to, $name) { $t->upstream(name => $name, handler => sub ($c, $state) {
    state %lies;
    state $ua   = Mojo::UserAgent->new(max_redirects => 0);
    my $req     = $c->req;
    my %headers = %{$req->headers->to_hash};
    delete @headers{qw(Host Connection)};
    my $res = $ua->start($ua->build_tx($req->method => $to->url . $req->url->path_query => \%headers => $req->body))->res;
    for my $name (grep { !/^(?:content-length|transfer-encoding|connection|date|server)$/i } @{$res->headers->names}) {
        $c->res->headers->header($name => $res->headers->header($name));
    }
    my $body = $res->body;
    my $lie  = $req->method eq 'GET' && ($state->{unlisted} // '') eq $req->url->path && $res->code == 200
        && index($req->url->query, $state->{of} // '') >= 0;
    $body = encode_json({%{decode_json($body)}, data => []}) if $lie && ($state->{lies} // 9999) > $lies{$state->{unlisted}}++;
    $c->render(data => $body, status => $res->code // 502);
}) }

my $far   = $t->sandbox(name => 'far');
my $proxy = proxy($far, 'proxy');
my $past  = $t->sandbox(name => 'past');
my $shown = proxy($past, 'shown');

my $clock  = make_unit('t/sim', 0, 'clock') . '/clock.so';
my $one    = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'same'));
my $slow   = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'slow'), operations => $one->operations =~ s/lease=2s/lease=20s/r);
my $set    = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'set'));
my $behind = Test::Lines::Scenario->new(t => $t, sandbox => $t->sandbox(name => 'behind'),
    redis => $t->redis(env => {LD_PRELOAD => $clock, LINES_SIM_AHEAD => 300}));
my $by     = Test::Lines::Scenario->new(t => $t, sandbox => $far, via => $proxy->port);

my $seen   = Test::Lines::Scenario->new(t => $t, sandbox => $past, via => $shown->port, operations => $one->operations . ' audit=10ms pass=200ms',
    redis => $t->redis(env => {LD_PRELOAD => $clock, LINES_SIM_AHEAD => 900}));

for my $s ($one, $slow, $set, $behind, $by, $seen) {
    $s->nginx(server => 'location = /metrics { lines_metrics; }')->allow(qr/cancel is refused|cancel_refused|does not take/, qr/\[alert\].*is stuck: (?:cancel_refused|no_answer)/);
}

$far->advance(30);

# a database that is old enough: what was paid before it was born is only shown
$behind->redis->cli('HINCRBY', 'lines:{database}', born => -3_600_000);

sub gives_back ($s, $line) { return $s->op($line->{tenant}, substr sha256_hex("refund:$line->{line}"), 0, 24) }
sub orphan     ($s, $line) { return $s->op($line->{tenant}, substr sha256_hex("orphan:$line->{subscription}"), 0, 24) }

sub back ($s, $line, $invoice) { return ($s->money($line->{subscription}, $invoice))[1] }

sub stuck ($s, $line) {
    return map { $_->{stuck} } grep { $_->{tenant} eq $line->{tenant} } @{$s->first->admin(GET => 'operations?state=stuck')->json('/operations')};
}

sub later () { my $now = time; wait_for(sub { time > $now + 1 }, 5, 'a later second') }

# one that is active, and its renewal is paid
sub renewed ($s) {
    my $line = $s->active_line;
    my $more = $s->sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});
    later;
    return ($line, $more);
}

sub settled ($s, $line, $why = 'cancel_refused', $between = sub { }) {
    $s->soon(sub { grep { $_ eq $why } stuck($s, $line) }, 'it is stuck', 90);
    $between->();
    my $id = substr sha256_hex("refund:$line->{line}"), 0, 24;
    wait_for(sub { $s->first->admin(POST => "operations/$id/resolve", {as => 'settled', note => 'by hand'})->status == 200 }, 30, 'a person to say so');
    $s->soon(sub { gives_back($s, $line)->{step} eq 'done' }, '... and it ends', 30);
}

sub refuse ($s) { $s->sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '400', times => 100_000) }

promise "Redis' clock is ahead of billing's, and support cancels the subscription: a renewal of before that stays paid" => sub {
    my ($line, $more) = renewed($behind);
    $behind->hand(cancel => $line->{subscription});
    $behind->soon(sub { $behind->now_of($line)->{ended} }, 'the line ends');
    $behind->rest($line->{tenant});
    is back($behind, $line, $more), 0, 'it stays paid' or diag explain gives_back($behind, $line);
};

promise '... and a bank takes back what it was bought with: the same' => sub {
    my ($line, $more) = renewed($behind);
    $behind->sandbox->dispute($line->{invoice});
    $behind->soon(sub { $behind->now_of($line)->{ended} }, 'the line ends');
    $behind->rest($line->{tenant});
    is back($behind, $line, $more), 0, 'it stays paid' or diag explain gives_back($behind, $line);
};

promise '... and it is released, and its renewal told again: that stays paid' => sub {
    my ($line, $more) = renewed($behind);
    $behind->release($line);
    $behind->rest($line->{tenant});
    is back($behind, $line, $more), 0, 'nothing goes back';
    later;
    $behind->told_again({%$line, invoice => $more});
    $behind->rest($line->{tenant});
    is back($behind, $line, $more), 0, 'it stays paid' or diag explain gives_back($behind, $line);
};

promise '... and its tenant is gone, too, and it is told twice' => sub {
    my ($line, $more) = renewed($behind);
    $behind->release($line);
    $behind->rest($line->{tenant});
    $behind->remove($line);
    for (1, 2) {
        later;
        $behind->told_again({%$line, invoice => $more});
        $behind->rest($line->{tenant});
        is back($behind, $line, $more), 0, 'it stays paid' or diag explain orphan($behind, $line);
    }
};

promise 'the answer of the cancel comes late: a renewal of just before the release stays paid' => sub {
    my $line = $slow->active_line;
    my $more = $slow->sandbox->renew($line->{subscription})->{id};
    $slow->rest($line->{tenant});
    $slow->sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => 'delay', ms => 1800, times => 1);
    my $paid = $slow->sandbox->call(GET => "/v1/invoices/$more")->json('/status_transitions/paid_at');
    wait_for(sub { Time::HiRes::time() > $paid + 1.4 }, 5, "the next second");
    $slow->release($line);
    $slow->rest($line->{tenant});
    is back($slow, $line, $more), 0, 'it stays paid' or diag explain gives_back($slow, $line);
};

promise "a proxy tells its own time, and billing's clock is ahead: a renewal of before the release stays paid" => sub {
    my ($line, $more) = renewed($by);
    $by->release($line);
    $by->rest($line->{tenant});
    # how far the clocks are apart is told by the answer to the cancel alone, which a kill may lose
    is back($by, $line, $more), 0, 'it stays paid' or diag explain gives_back($by, $line) if calm;
};

promise "Redis' clock is ahead, all goes back, but no credit note can be made, a person settles it, and more is paid: that goes back" => sub {
    my $line = $behind->paid_line;
    my $late = $behind->sandbox->bill($line->{subscription}, draft => 1)->{id};
    $behind->rest($line->{tenant});
    $behind->sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '500', times => 100_000);
    $behind->report($line, 'failed');
    settled($behind, $line, 'no_answer');
    $behind->sandbox->clear_faults;
    later;
    $behind->sandbox->finalize($late);
    $behind->sandbox->pay($late);
    $behind->rest($line->{tenant});
    my ($paid, $back) = $behind->money($line->{subscription}, $late);
    is $back, $paid, 'it goes back' or diag explain gives_back($behind, $line);
};

promise 'clocks are set right while it is stuck: what a person settles counts by those of now' => sub {
    my $line = $set->active_line;
    my $open = $set->sandbox->bill($line->{subscription})->{id};
    $set->rest($line->{tenant});
    refuse($set);
    $set->release($line);
    settled($set, $line, 'cancel_refused', sub {
        $set->sandbox->advance(600);
        later;
        $set->sandbox->pay($open);
        my $id = substr sha256_hex("refund:$line->{line}"), 0, 24;
        $set->sandbox->wait_idle;
        $set->first->admin(POST => "operations/$id/retry", {});
        later;
        $set->soon(sub { grep { $_ eq 'cancel_refused' } stuck($set, $line) }, 'it is stuck, still');
    });
    $set->sandbox->clear_faults;
    $set->told_again({%$line, invoice => $open});
    $set->rest($line->{tenant});
    is back($set, $line, $open), 0, 'nothing goes back' or diag explain gives_back($set, $line);
};

promise 'a person has settled a release, and a part of another invoice is paid, the rest of which is void by us: the part goes back' => sub {
    my $line = $one->active_line;
    my $open = $one->sandbox->bill($line->{subscription})->{id};
    my $late = $one->sandbox->bill($line->{subscription}, draft => 1)->{id};
    $one->rest($line->{tenant});
    refuse($one);
    $one->release($line);
    settled($one, $line);
    $one->sandbox->clear_faults;
    later;
    $one->deaf;
    $one->sandbox->finalize($late);
    $one->sandbox->pay($late, 'ok', 400);
    $one->sandbox->pay($open);
    $one->told_again({%$line, invoice => $open});
    $one->rest($line->{tenant});
    is back($one, $line, $open), 900, 'what was paid since goes back';
    is back($one, $line, $late), 400, '... and so does the part' or diag explain gives_back($one, $line);
    $one->hears;
};

promise 'a bank takes back what a line was bought with, whose payments are not listed for a while: the line ends' => sub {
    my $line = $by->active_line;
    $by->rest($line->{tenant});
    $by->deaf;
    my $dispute = $far->dispute($line->{invoice});
    my $invoice = $far->call(GET => "/v1/invoices/$line->{invoice}")->json;
    # of whose payment it is, billing says; what paid, not yet
    $proxy->reset(unlisted => '/v1/invoice_payments', of => 'invoice=');
    is $by->event('charge.dispute.created', $dispute)->status, 200, 'it is heard';
    my $lapse = substr sha256_hex("lapse:$line->{subscription}"), 0, 24;
    $by->soon(sub { my $op = $by->op($line->{tenant}, $lapse); ($op->{tries} // 0) > 3 || ($op->{step} // '') eq 'done' }, 'it is looked at', 20);
    $proxy->reset;
    $by->soon(sub { $by->now_of($line)->{ended} }, 'it has ended', 15) or diag explain $by->op($line->{tenant}, $lapse);
    $by->hears;
};

promise '... and so it does where the dispute is told, and is not listed as it is looked for' => sub {
    my $line = $by->active_line;
    $by->rest($line->{tenant});
    $by->deaf;
    my $dispute = $far->dispute($line->{invoice});
    $proxy->reset(unlisted => '/v1/disputes', lies => 1);
    is $by->event('charge.dispute.created', $dispute)->status, 200, 'it is heard';
    $by->soon(sub { $by->now_of($line)->{ended} }, 'it has ended', 15)
        or diag explain $by->op($line->{tenant}, substr sha256_hex("lapse:$line->{subscription}"), 0, 24);
    $proxy->reset;
    $by->hears;
};

promise 'a line fails, and its invoice is not listed yet: what it cost goes back' => sub {
    my $line = $by->pending_line;
    $far->pay($line->{invoice});
    $by->wait_record($line->{name}, $line->{line}, 'provisioning');
    $by->rest($line->{tenant});
    $proxy->reset(unlisted => '/v1/invoices', lies => 1);
    $by->report($line, 'failed');
    $by->rest($line->{tenant}, 40);
    is +($by->money($line->{subscription}))[1], 900, 'all of it' or diag explain gives_back($by, $line);
    $proxy->reset;
};

promise 'one of two payments went back in part, and is not listed as such for a while: nothing goes back twice' => sub {
    my $line = $by->pending_line;
    $far->pay($line->{invoice}, 'ok', 450);
    $far->pay($line->{invoice}, 'ok', 450);
    $by->wait_record($line->{name}, $line->{line}, 'provisioning');
    $by->rest($line->{tenant});
    $by->hand(balance => $line->{invoice}, 700);
    # counted, and counted again: of two payments each
    $proxy->reset(unlisted => '/v1/refunds', lies => 4);
    $by->report($line, 'failed');
    $by->rest($line->{tenant}, 40);
    is +($by->money($line->{subscription}))[1], 900, 'all went back, and no more' or diag explain gives_back($by, $line);
};

promise 'all that a line paid went back by hand, and its payments are not listed as the auditor counts: it is shown once they are' => sub {
    my $audit = Test::Lines::Audit->new(scenario => $seen);
    # by the clock of Redis it is longer ago than what a pass looks at twice
    my $line = $seen->active_line;
    $seen->rest($line->{tenant});
    $audit->whole_pass;
    $seen->deaf;
    $seen->hand(refund => $line->{invoice});
    $shown->reset(unlisted => '/v1/invoice_payments', of => 'invoice=');
    # a month: a pass that is under way may just write how far it has read
    my $asked = @{$shown->requests};
    wait_for(sub {
        $seen->redis->cli('HDEL', 'lines:{audit}', 'money');
        my @since = map { $_->{path} eq '/v1/refunds' && $_->{query} =~ /created%5Bgte%5D=(\d+)/ ? $1 : () } @{$shown->requests}[$asked .. $#{$shown->requests}];
        return grep { $_ < time - 20 * 86400 } @since;
    }, 30, 'a month to be read');
    $audit->whole_pass for 1 .. 2;
    ok !$audit->found(credited => $line->{line}), 'nothing is known of it yet';
    $shown->reset;
    $audit->soon(sub { $audit->found(credited => $line->{line}) }, 'shown') or diag explain $seen->now_of($line);
    $seen->hears;
};

$t->done;
