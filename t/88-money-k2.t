# What billing says in another shape than it should, or of something else than it was asked for; what fails for good, or is silent.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA;
use Mojo::JSON qw(decode_json encode_json false true);
use Mojo::UserAgent;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;
my $ua;

# what is answered instead; undef: as it is.  By name, as the state says
my %lies = (

    # an empty page of something that does not say whether there is more
    no_list => sub ($req, $json, $state) {
        return $req->method eq 'GET' && $req->url->path eq '/v1/subscriptions' ? {data => []} : undef;
    },

    # a credit note, of another invoice: as if answers were mixed up.  Nothing is made.
    other_note => sub ($req, $json, $state) {
        return $req->method eq 'POST' && $req->url->path eq '/v1/credit_notes'
            ? {id => 'cn_other', object => 'credit_note', invoice => 'in_other', amount => 1, status => 'issued', livemode => false} : undef;
    },

    # amounts that are not told
    no_amounts => sub ($req, $json, $state) {
        return undef unless $req->method eq 'GET' && $req->url->path eq '/v1/invoice_payments';
        delete $_->{amount_paid} for @{$json->{data}};
        return $json;
    },

    # somebody else's subscription
    other_subscription => sub ($req, $json, $state) {
        return $req->method eq 'POST' && $req->url->path eq '/v1/subscriptions' && $json->{object} ? $state->{object} : undef;
    },

    # paid by charges, which have no intent
    charges => sub ($req, $json, $state) {
        return undef unless $req->url->path eq '/v1/invoice_payments' && $json->{data};
        for my $payment (@{$json->{data}}) {
            my $intent = $payment->{payment}{payment_intent} // next;
            $payment->{payment} = {type => 'charge', charge => "ch_of_$intent"};
        }
        return $json;
    },
);

sub unmade ($req, $state) { ($state->{lie} // '') eq 'other_note' && $req->method eq 'POST' && $req->url->path eq '/v1/credit_notes' }

my $billing = $t->upstream(handler => sub ($c, $state) {
    $ua //= Mojo::UserAgent->new(max_redirects => 0);
    my $req     = $c->req;
    my $lie     = $lies{$state->{lie} // ''};
    my %headers = %{$req->headers->to_hash};
    delete @headers{qw(Host Connection)};

    return $c->render(json => $lie->($req, {}, $state)) if unmade($req, $state);

    my $query = $req->url->path_query;
    $query =~ s/ch_of_//g if $query =~ s{payment%5Btype%5D=charge&payment%5Bcharge%5D}{payment[type]=payment_intent&payment[payment_intent]} || ($lie && ($state->{lie} eq 'charges') && $query =~ m{^/v1/(?:refunds|disputes)});
    $query =~ s/\bcharge=pi_/payment_intent=pi_/;
    my $res  = $ua->start($ua->build_tx($req->method => $sandbox->url . $query => \%headers => $req->body))->res;
    my $body = $res->body;

    if ($lie && ($res->code // 0) == 200) {
        my $json = $lie->($req, decode_json($body), $state);
        $body = encode_json($json) if $json;
    }

    for my $name (grep { !/^(?:content-length|transfer-encoding|connection|date|server)$/i } @{$res->headers->names}) {
        $c->res->headers->header($name => $res->headers->header($name));
    }

    $c->render(data => $body, status => $res->code // 502);
});

my $s     = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $billing->port);
my $redis = $s->redis;
my $nginx = $s->nginx(workers => 2);

$s->numbers(9);
$nginx->allow(qr/is stuck|not with what was asked for|without an answer/);

sub lies ($name, %more) { $billing->reset(lie => $name, %more) }
sub honest { $billing->reset }
sub gives_back ($line) { return $s->op($line->{tenant}, substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24) }
sub stuck ($tenant) { map { $_->{stuck} } grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

promise 'credit notes fail for good, with a 500 each time: that is not tried for ever in silence' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '500', times => 100_000);
    $s->report($line, 'failed');
    my $tried = 0;
    wait_for(sub { $tried = () = $sandbox->requests(POST => '/v1/credit_notes'); $tried > 20 || stuck($line->{tenant}) }, 90, 'twenty tries, or somebody to be told');
    ok scalar(stuck($line->{tenant})), 'after so many somebody is told' or diag "tried $tried times: ", explain gives_back($line);
    $sandbox->clear_faults;
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'it ends once it can', 30);
};

promise 'subscriptions cannot be made, a 500 each time: that is not tried for ever in silence' => sub {
    my $key = $s->workspace('never');
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500', times => 100_000);
    my $line = $s->request($key)->json('/line/_id');
    my $op = {};
    wait_for(sub { $op = $s->op('w:never', $line); $op->{attempt} > 8 || stuck('w:never') }, 90, 'eight attempts, or somebody to be told');
    ok scalar(stuck('w:never')), 'after so many somebody is told' or diag explain $op;
    $sandbox->clear_faults;
};

promise 'a look for a charge is answered with something that is no list: that proves nothing' => sub {
    my $account = $s->account('nolist');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $s->deaf;
    lies('no_list');
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', times => 1, effect => true);
    $s->confirm($account, $token, key => 'k');
    my $until = time + 8;
    wait_for(sub { time > $until || $s->made_for('a:nolist') > 1 }, 20, 'some looks');
    is scalar(() = $s->made_for('a:nolist')), 1, 'nothing is charged once more';
    honest();
    $s->soon(sub { ($s->op('a:nolist', $id)->{step} // '') eq 'done' }, 'its end', 30);
    is scalar(() = $s->made_for('a:nolist')), 1, 'one charge';
    $s->hears;
};

promise 'what is answered to a refund is of another invoice: the money goes back all the same' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    lies('other_note');
    $s->report($line, 'failed');
    wait_for(sub { grep { $_->{path} eq '/v1/credit_notes' && $_->{method} eq 'POST' } @{$billing->requests} }, 20, 'the refund');
    my $until = time + 3;
    wait_for(sub { time > $until }, 10, 'a while');
    honest();
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'it ends', 40);
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'all went back' or diag explain [gives_back($line), $s->now_of($line)];
};

promise 'what was paid is listed without an amount: that is not taken for nothing' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    lies('no_amounts');
    $s->report($line, 'failed');
    my $until = time + 3;
    wait_for(sub { time > $until }, 10, 'a while');
    honest();
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'it ends', 40);
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'all went back' or diag explain [gives_back($line), $s->now_of($line)];
};

promise 'a charge is answered with somebody else\'s subscription: no line has that' => sub {
    my $bought  = $s->bought_line(name => 'else');
    my $account = $s->account('mixed');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    my $object  = $sandbox->call(GET => "/v1/subscriptions/$bought->{subscription}", {'expand[0]' => 'latest_invoice'})->json;
    lies('other_subscription', object => $object);
    $s->confirm($account, $token, key => 'k');
    my $until = time + 3;
    wait_for(sub { time > $until }, 10, 'a while');
    honest();
    $s->soon(sub { ($s->op('a:mixed', $id)->{step} // '') eq 'done' }, 'it ends', 40);
    my $line = {tenant => 'a:mixed', line => $id};
    isnt $s->now_of($line)->{subscription}, $bought->{subscription}, 'it is not billed by that';
    my ($made) = $s->made_for('a:mixed');
    my ($paid, $back) = $s->money($made->{subscription});
    is !!($paid - $back), !!$s->is_live($line), 'it is charged if there is a line, and only then' or diag explain [$paid, $back, $s->now_of($line)];
};

promise 'a bank takes back a charge that has no intent: the line ends' => sub {
    my $line = $s->active_line;
    lies('charges');
    my $dispute = $sandbox->dispute($line->{invoice});
    $sandbox->wait_idle;
    my $object = {%$dispute, charge => "ch_of_$dispute->{payment_intent}", payment_intent => undef};
    my $answer = $s->event('charge.dispute.created', $object);
    diag $answer->status;
    $s->soon(sub { $s->now_of($line)->{ended} }, 'it has ended', 15);
    honest();
};

promise 'the first invoice is not shown, its line is canceled, and something besides is paid: that goes back' => sub {
    my $line = $s->pending_line;
    $s->rest($line->{tenant});
    my $besides = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
    $s->deaf;
    $sandbox->pay($besides);
    $billing->reset(hide => $line->{invoice});
    $s->hears;
    $s->action($line->{key}, $line->{line}, 'cancel');
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled', 20);
    $billing->reset;
    $s->rest($line->{tenant});
    my ($paid, $back) = $s->money($line->{subscription});
    is $back, $paid, "all went back, $paid";
} if 0;

promise 'a line that awaits its payment could not be looked at for a while, and can by now: it is not stuck any more' => sub {
    my $line = $s->pending_line;
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 100_000);
    $s->action($line->{key}, $line->{line}, 'payment_link');
    $s->soon(sub { stuck($line->{tenant}) }, 'it is stuck', 20);
    $sandbox->clear_faults;
    $s->soon(sub { $s->action($line->{key}, $line->{line}, 'payment_link')->status == 200 }, 'it can be paid', 20);
    $s->soon(sub { !stuck($line->{tenant}) }, 'nobody is told any more that it is stuck', 10) or diag explain $s->op($line->{tenant}, $line->{line});
};

$t->done;
