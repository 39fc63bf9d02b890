# What is answered is not what was asked for: another object, half of one, or something that is none. It proves nothing, and billing is
# asked again. And what was stuck, and is not any more.
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

    # amounts that are no integers
    reals => sub ($req, $json, $state) {
        return undef unless $req->method eq 'GET' && $req->url->path eq '/v1/invoices';
        $_->{amount_paid} += 0.5 for @{$json->{data}};
        return $json;
    },

    # another one than was asked for
    other_read => sub ($req, $json, $state) {
        return $req->method eq 'GET' && $req->url->path eq "/v1/subscriptions/$state->{subscription}" ? $state->{object} : undef;
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
    my $res   = $ua->start($ua->build_tx($req->method => $sandbox->url . $query => \%headers => $req->body))->res;
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
$nginx->allow(qr/is stuck|not with what was asked for|does not take the charge/);

sub lies ($name, %more) { $billing->reset(lie => $name, %more) }
sub honest { $billing->reset }
sub gives_back ($line) { return $s->op($line->{tenant}, substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24) }
sub stuck ($tenant) { map { $_->{stuck} } grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }

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

promise 'what is read of a line\'s subscription is another one that has ended: the line goes on' => sub {
    my $other = $s->active_line;
    $s->release($other);
    $s->rest($other->{tenant});
    my $object = $sandbox->call(GET => "/v1/subscriptions/$other->{subscription}", {'expand[0]' => 'latest_invoice'})->json;
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    lies('other_read', subscription => $line->{subscription}, object => $object);
    $s->event('customer.subscription.updated', {%{$sandbox->call(GET => "/v1/subscriptions/$line->{subscription}")->json}, status => 'past_due'});
    my $until = time + 3;
    wait_for(sub { time > $until }, 10, 'a while');
    honest();
    $s->rest($line->{tenant});
    ok $s->is_live($line), 'it is there' or diag explain $s->now_of($line);
    is +($s->money($line->{subscription}))[2], 'active', 'and so is its subscription';
};

promise 'a line that awaits its payment could not be looked at for a while, and can by now: it is not stuck any more' => sub {
    my $line = $s->pending_line;
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 100_000);
    $s->action($line->{key}, $line->{line}, 'payment_link');
    $s->soon(sub { stuck($line->{tenant}) }, 'it is stuck', 20);
    $sandbox->clear_faults;
    $s->soon(sub { $s->action($line->{key}, $line->{line}, 'payment_link')->status == 200 }, 'it can be paid', 20);
    $s->soon(sub { !stuck($line->{tenant}) }, 'nobody is told any more that it is stuck', 10);
    is $nginx->admin(POST => "operations/$line->{line}/resolve", {as => 'canceled', note => 'it was stuck'})->status, 409, 'nor can anybody end it as if it was';
    $s->rest($line->{tenant});
    is $s->now_of($line)->{status}, 'awaiting_payment', 'it can be paid yet';
};

promise 'what came in is listed with amounts that are no integers: that is not taken for nothing' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    lies('reals');
    $s->report($line, 'failed');
    my $until = time + 3;
    wait_for(sub { time > $until }, 10, 'a while');
    honest();
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' }, 'it ends', 40);
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'all went back';
};

$t->done;
