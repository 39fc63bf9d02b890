# What would be tried for ever in silence; what billing does not show, and is not taken for not there; events of another shape.
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

    # a list that lacks what is there
    no_payments => sub ($req, $json, $state) {
        return undef unless $req->method eq 'GET' && $req->url->path eq '/v1/invoice_payments';
        return {%$json, data => []};
    },

    # an invoice that is not there, and another one is the latest
    hidden => sub ($req, $json, $state) {
        return {%$json, latest_invoice => $state->{latest}} if $req->method eq 'GET' && $req->url->path eq "/v1/subscriptions/$state->{subscription}";
        return undef unless $req->method eq 'GET' && $req->url->path eq "/v1/invoices/$state->{invoice}";
        return {error => {type => 'invalid_request_error', code => 'resource_missing', param => 'invoice', message => 'No such invoice'}};
    },
);

my $billing = $t->upstream(handler => sub ($c, $state) {
    $ua //= Mojo::UserAgent->new(max_redirects => 0);
    my $req     = $c->req;
    my $lie     = $lies{$state->{lie} // ''};
    my %headers = %{$req->headers->to_hash};
    delete @headers{qw(Host Connection)};

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

    $c->render(data => $body, status => $body =~ /^\{"error"/ && ($res->code // 0) == 200 ? 404 : $res->code // 502);
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
    $s->request($key);
    my ($line) = @{scalar $s->redis->cli('SMEMBERS', 'lines:{w:never}:ops')};
    my $op = {};
    wait_for(sub { $op = $s->op('w:never', $line); $op->{attempt} > 8 || stuck('w:never') }, 90, 'eight attempts, or somebody to be told');
    ok scalar(stuck('w:never')), 'after so many somebody is told' or diag explain $op;
    $sandbox->clear_faults;
    $s->soon(sub { ($s->op('w:never', $line)->{step} // '') eq 'await' }, 'it goes on once they can', 30);
    is_deeply [stuck('w:never')], [], '... and nobody is told any more';
};

promise 'the payments of a paid invoice are not listed, and are later: nobody takes that for nothing paid' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    lies('no_payments');
    $s->report($line, 'failed');
    my $until = time + 3;
    wait_for(sub { time > $until }, 10, 'a while');
    honest();
    $s->soon(sub { (gives_back($line)->{step} // '') eq 'done' || stuck($line->{tenant}) }, 'it ends, or somebody is told', 40);
    ok +(($s->money($line->{subscription}))[1] == 900 || stuck($line->{tenant})), 'all went back, or somebody is told' or diag explain [gives_back($line), $s->now_of($line)];
};

promise 'something besides is paid, the first invoice is not shown, and the line is canceled: what was paid goes back' => sub {
    my $line = $s->pending_line;
    $s->rest($line->{tenant});
    my $besides = $sandbox->bill($line->{subscription})->{id};
    $s->deaf;
    $sandbox->pay($besides);
    lies('hidden', latest => $besides, %$line{qw(invoice subscription)});
    $s->hears;
    $s->action($line->{key}, $line->{line}, 'cancel');
    $s->soon(sub { $s->now_of($line)->{status} eq 'canceled' }, 'canceled', 20);
    honest();
    $s->rest($line->{tenant});
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'all went back') or diag explain [$s->money($line->{subscription})];
};

promise 'its line has ended, and events are of a version of Stripe\'s whose invoices do not copy the metadata: what is paid goes back' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    my $open = $sandbox->bill($line->{subscription})->{id};
    # its release could not void it
    $s->deaf;
    $s->hand(cancel => $line->{subscription});
    my $now = ($redis->cli('TIME'))[0] * 1000;
    $redis->cli('HSET', $redis->line_key(@$line{qw(tenant line)}), released => $now, ended => $now, active => 0, reason => 'released', place => '');
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:t", email_paid => -1);
    $s->later;
    $sandbox->pay($open);
    my $of = $sandbox->call(GET => "/v1/subscriptions/$line->{subscription}")->json('/metadata');
    my %old = (id => $open, object => 'invoice', status => 'paid', amount_paid => 900, subscription => $line->{subscription},
        lines => {object => 'list', has_more => false, data => [{object => 'line_item', subscription => $line->{subscription}, metadata => $of}]});
    is $s->event('invoice.paid', \%old)->status, 200, 'it is heard';
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}, $open); $paid && $paid == $back }, 'it went back') or diag explain [$s->money($line->{subscription}, $open)];
    $s->hears;
};

promise 'a charge whose answer was lost is refused when it is sent again: it is looked for before it counts as none' => sub {
    my $account = $s->account('lost');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    $s->deaf;
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'drop_after', times => 1);
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '400', times => 1);
    my $answer = $s->confirm($account, $token, key => 'k');
    $s->soon(sub { ($s->op('a:lost', $id)->{step} // '') eq 'done' }, 'its end', 30);
    my ($made) = $s->made_for('a:lost');
    my ($paid, $back) = $s->money($made->{subscription});
    is !!($paid - $back), !!$s->is_live({tenant => 'a:lost', line => $id}), 'it is charged if there is a line, and only then' or diag explain [$paid, $back, $answer->to_string];
    $s->hears;
};

$t->done;
