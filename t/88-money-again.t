# Money, once more: what a list does not show, or not for long, next to what it shows; a part that a person settled, next to one that
# came later; an invoice that is not there; and who is called stuck.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Mojo::JSON qw(decode_json encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;

# what stands before billing: a list of `list` whose query has `of` shows the first `shows` of it alone; what `gone` names is not known;
# charges fail by `off`
my $billing = $t->upstream(handler => sub ($c, $state) {
    my $req  = $c->req;
    my $path = $req->url->path->to_string;

    if (defined $state->{gone} && $req->method eq 'GET' && $path eq "/v1/invoices/$state->{gone}") {
        my %error = (type => 'invalid_request_error', code => 'resource_missing', param => 'invoice', message => 'No such invoice');
        return $c->render(json => {error => \%error}, status => 404);
    }

    if ($state->{off} && $req->method eq 'POST' && $path eq '/v1/subscriptions') {
        return $c->render(json => {error => {type => 'api_error', message => 'It is not to be.'}}, status => $state->{off});
    }

    my $res  = $sandbox->pass($c);
    my $body = $res->body;

    if ($req->method eq 'GET' && ($state->{list} // '') eq $path && index($req->url->query->to_string, $state->{of} // '') >= 0 && $res->code == 200) {
        my $json = decode_json($body);
        my $n    = $state->{shows} // 0;
        my @data = $state->{oldest} ? reverse @{$json->{data}} : @{$json->{data}};
        $json->{data} = [@data > $n ? @data[0 .. $n - 1] : @data];
        $body = encode_json($json);
    }

    # of what is told with a subscription it says no more than its id
    if (defined $state->{gone} && $req->method eq 'GET' && $path =~ m{^/v1/subscriptions/} && $res->code == 200) {
        my $json = decode_json($body);
        $json->{latest_invoice} = $json->{latest_invoice}{id} if ref $json->{latest_invoice};
        $body = encode_json($json);
    }

    $c->render(data => $body, status => $res->code // 502);
});

my $s     = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $billing->port);
my $nginx = $s->nginx;

$s->numbers(20);
$nginx->allow(qr/is stuck|is refused by billing|does not take/);

sub says (%state) { $billing->reset(%state) }
sub honest { $billing->reset }

sub stuck ($tenant) {
    return map { $_->{stuck} } grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}

sub gives_back ($line) { return $s->op($line->{tenant}, substr sha256_hex("refund:$line->{line}"), 0, 24) }
sub lapse      ($line) { return $s->op($line->{tenant}, substr sha256_hex("lapse:$line->{subscription}"), 0, 24) }

sub back ($line, $invoice = undef) { return ($s->money($line->{subscription}, $invoice))[1] }

# one that was paid in two parts
sub in_parts ($amount = 450) {
    my $line = $s->pending_line;
    $sandbox->pay($line->{invoice}, 'ok', $amount);
    $sandbox->pay($line->{invoice}, 'ok', 900 - $amount);
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $s->rest($line->{tenant});
    return $line;
}

sub settled ($line, $why = 'cancel_refused') {
    $s->soon(sub { grep { $_ eq $why } stuck($line->{tenant}) }, 'it is stuck', 40);
    my $id = substr sha256_hex("refund:$line->{line}"), 0, 24;
    wait_for(sub { $nginx->admin(POST => "operations/$id/resolve", {as => 'settled', note => 'by hand'})->status == 200 }, 30, 'a person to say so');
    $s->soon(sub { gives_back($line)->{step} eq 'done' }, '... and it ends', 30);
}

sub refuse { $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '400', times => 100_000) }

promise 'a bank takes one of two payments back, and the other is not listed: the line ends all the same' => sub {
    my $line = in_parts();
    $s->report($line, 'active');
    $s->deaf;
    my $dispute = $sandbox->dispute($line->{invoice});
    my ($paid)  = map { $_->{id} } @{$sandbox->call(GET => '/v1/invoice_payments', {invoice => $line->{invoice}})->json('/data')};
    my @shown   = @{$sandbox->call(GET => '/v1/invoice_payments', {invoice => $line->{invoice}})->json('/data')};
    my $oldest  = ($shown[0]{payment}{payment_intent} // '') eq ($dispute->{payment_intent} // 'none') ? 0 : 1;
    says(list => '/v1/invoice_payments', of => 'invoice=', shows => 1, oldest => $oldest);
    $s->event('charge.dispute.created', $dispute);
    $s->soon(sub { $s->now_of($line)->{ended} }, 'it has ended', 12) or diag explain lapse($line);
    honest();
    $s->rest($line->{tenant});
    $s->hears;
};

promise 'a bank is said to have taken two invoices, and what paid one is not listed: the line ends by the other' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    my $more = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});
    $s->deaf;
    # an inquiry, by now, of the first one; and money of the second
    my $first = $sandbox->dispute($line->{invoice});
    says(list => '/v1/invoice_payments', of => "invoice=$line->{invoice}");
    $s->event('charge.dispute.created', $first);
    $s->soon(sub { lapse($line)->{tries} }, 'the first is waited for', 12);
    $s->event('charge.dispute.created', $sandbox->dispute($more));
    $s->soon(sub { $s->now_of($line)->{ended} }, 'it has ended', 15) or diag explain lapse($line);
    honest();
    $s->rest($line->{tenant});
    $s->hears;
};

promise 'what paid for it is not listed, a bank is said to have it, and nobody pays meanwhile: the line is suspended' => sub {
    my $line = $s->active_line;
    $s->rest($line->{tenant});
    $s->deaf;
    my $dispute = $sandbox->dispute($line->{invoice});
    says(list => '/v1/invoice_payments', of => 'invoice=');
    $s->event('charge.dispute.created', $dispute);
    $s->soon(sub { lapse($line)->{tries} }, 'it is waited for', 12);
    $sandbox->move($line->{subscription}, status => 'unpaid');
    $s->event('customer.subscription.updated', $sandbox->call(GET => "/v1/subscriptions/$line->{subscription}")->json);
    $s->soon(sub { $s->now_of($line)->{suspended} || $s->now_of($line)->{ended} }, 'it is', 12) or diag explain lapse($line), $s->now_of($line);
    honest();
    $s->soon(sub { $s->now_of($line)->{ended} }, 'and ends once it is listed', 15) or diag explain lapse($line);
    $s->rest($line->{tenant});
    $s->hears;
};

promise 'a part of an invoice was paid before a person settled all, and another after that: only that goes back' => sub {
    my $line = $s->active_line;
    my $open = $sandbox->bill($line->{subscription})->{id};
    $s->rest($line->{tenant});
    $sandbox->pay($open, 'ok', 400);
    $s->later;
    refuse();
    $s->release($line);
    settled($line);
    $sandbox->clear_faults;
    $s->later;
    $sandbox->pay($open, 'ok', 300);
    $sandbox->pay($open);
    $s->told_again({%$line, invoice => $open});
    $s->rest($line->{tenant});
    is back($line, $open), 500, 'what was paid since' or diag explain gives_back($line);
};

promise '... and the later part of one that is void is not listed for a while: it goes back then' => sub {
    my $line = $s->active_line;
    my $open = $sandbox->bill($line->{subscription})->{id};
    my $more = $sandbox->bill($line->{subscription})->{id};
    $s->rest($line->{tenant});
    $sandbox->pay($open, 'ok', 400);
    $s->later;
    refuse();
    $s->release($line);
    settled($line);
    $sandbox->clear_faults;
    $s->later;
    $s->deaf;
    $sandbox->pay($open, 'ok', 300);
    $sandbox->pay($more);
    says(list => '/v1/invoice_payments', of => "invoice=$open", shows => 1, oldest => 1);
    $s->told_again({%$line, invoice => $more});
    $s->soon(sub { my $op = gives_back($line); $op->{step} eq 'done' || ($op->{stuck} // '') eq 'money_unclear' }, 'it is looked at', 30);
    is gives_back($line)->{stuck}, 'money_unclear', 'a person is asked' or diag explain gives_back($line);
    honest();
    $nginx->admin(POST => 'operations/' . substr(sha256_hex("refund:$line->{line}"), 0, 24) . '/retry', {});
    $s->rest($line->{tenant});
    is back($line, $more), 900, 'what was paid since goes back';
    is back($line, $open), 300, '... and so does the part' or diag explain gives_back($line);
    $s->hears;
};

promise 'a part went back by hand, what we gave is not listed for longer than that is waited for: it is not given twice' => sub {
    my $line = in_parts();
    $s->hand(balance => $line->{invoice}, 700);
    says(list => '/v1/refunds');
    $s->report($line, 'failed');
    wait_for(sub { (gives_back($line)->{absent_at} // 0) > 0 }, 20, 'it is waited for');
    my $since = gives_back($line)->{absent_at};
    wait_for(sub { my $op = gives_back($line); $op->{step} eq 'done' || $s->redis->client->time->[0] * 1000 > $since + 4000 }, 20, 'longer than that');
    is back($line), 900, 'not twice' or diag explain gives_back($line);
    honest();
    $s->rest($line->{tenant}, 40);
    is back($line), 900, 'all went back, and no more' or diag explain gives_back($line);
};

promise 'what support gave back is not listed for a while, and the invoice has it: the rest goes back, and no more' => sub {
    my $line = in_parts();
    $s->hand(balance => $line->{invoice}, 700);
    says(list => '/v1/credit_notes');
    $s->report($line, 'failed');
    $s->soon(sub { gives_back($line)->{tries} }, 'it is waited for', 20);
    is back($line), 700, 'nothing goes back meanwhile' or diag explain gives_back($line);
    honest();
    $s->rest($line->{tenant}, 40);
    is back($line), 900, 'all went back, and no more' or diag explain gives_back($line);
};

promise 'billing does not know the invoice of a purchase: that it needs no payment is not known by that' => sub {
    my $account = $s->account('gone');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    my $buy     = {tenant => 'a:gone', line => $id, account => $account};
    # a provisioner that is away would do; billing does not answer as it is looked at anew
    $s->deaf;
    says(list => '/v1/invoice_payments', of => 'invoice=');
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => '500_stored', times => 1, effect => Mojo::JSON->true);
    $s->confirm($account, $token, key => 'k');
    wait_for(sub { ($s->op('a:gone', $id)->{step} // '') eq 'assign' }, 40, 'it is charged');
    says(gone => $s->op('a:gone', $id)->{invoice});
    $s->soon(sub { $s->is_live($buy) || grep { $_ eq 'invoice_missing' } stuck('a:gone') }, 'it is looked at', 20);
    # whoever goes on with it after a kill may be past that
    ok !$s->is_live($buy), 'there is no line yet' or diag explain $s->op('a:gone', $id) if calm;
    is_deeply [stuck('a:gone')], ['invoice_missing'], 'a person is asked' if calm;
    honest();
    $s->soon(sub { $s->is_live($buy) }, 'and once it is there it goes on', 20);
    $s->hears;
};

# a line whose page is void ends where anybody looks before its client asks for another, as after a kill
promise 'a page was asked for again and again, and a charge is looked for: nobody is alarmed by the pages' => sub {
    my $line = $s->pending_line;
    for (1 .. 3) {
        my $now = $s->now_of($line);
        $sandbox->void($now->{invoice});
        $s->rest($line->{tenant});
        next if $_ == 3;
        $s->action($line->{key}, $line->{line}, 'payment_link');
        $s->soon(sub { $s->now_of($line)->{invoice} ne $now->{invoice} }, 'another page');
    }
    is $s->op($line->{tenant}, $line->{line})->{attempt}, 3, 'so many attempts';
    says(off => 500);
    $s->action($line->{key}, $line->{line}, 'payment_link');
    wait_for(sub { $s->op($line->{tenant}, $line->{line})->{absent_at} }, 30, 'a look in vain');
    is_deeply [stuck($line->{tenant})], [], 'not stuck';
    $s->soon(sub { stuck($line->{tenant}) }, 'but it is, where it goes on so', 60);
    honest();
    $s->rest($line->{tenant});
    is $s->op($line->{tenant}, $line->{line})->{step}, 'await', 'and ends well';
}, held => 1;

$t->done;
