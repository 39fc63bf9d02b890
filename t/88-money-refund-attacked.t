# What a stranger tried who wanted the operator's refund of a line to give back too much, too little, or something else than was shown.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Mojo::JSON qw(decode_json encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(calm promise);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;

# what stands before billing: of a list that the state names, by its path, the newest so many are not shown
my $billing = $t->upstream(handler => sub ($c, $state) {
    my $req    = $c->req;
    my $res    = $sandbox->pass($c);
    my $body   = $res->body;
    my $hidden = $req->method eq 'GET' && $state->{$req->url->path->to_string};

    if ($hidden && ($res->code // 0) == 200 && !length($req->url->query->param('starting_after') // '')) {
        my $json = decode_json($body);
        splice @{$json->{data}}, 0, $hidden;
        $body = encode_json($json);
    }

    # billing took it, and nobody hears of that
    if ($req->method eq 'POST' && ($state->{unheard} // '') eq $req->url->path) {
        return $c->render(data => '', status => 502);
    }

    $c->render(data => $body, status => $res->code // 502);
});

my $s     = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $billing->port,
    operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=8s walk=1s poll=1s every=2s');
my $nginx = $s->nginx;
$nginx->allow(qr/is stuck|billing .* answers|does not answer|answers 502/);

sub says (%state) { $billing->reset(%state) }
sub honest { $billing->reset }
sub op_id ($line) { substr sha256_hex("refund:$line->{line}"), 0, 24 }
sub op ($line) { return $s->op($line->{tenant}, op_id($line)) }
sub back ($line, $invoice = undef) { return ($s->money($line->{subscription}, $invoice))[1] }
sub preview ($line, $query = '') { return $s->first->admin(GET => "lines/$line->{line}/refund$query") }
sub ask ($line, $body = {}) { return $s->first->admin(POST => "lines/$line->{line}/refund", $body) }

promise 'a release gives back a part that was paid since, nobody knows yet whether billing has done so, and there is a newer invoice: nothing goes back twice' => sub {
    $sandbox->customer('cus_parts');    # what is on its balance pays for others of it
    my $line = $s->active_line(workspace => {customer => 'cus_parts'});
    my $open = $sandbox->bill($line->{subscription})->{id};
    my $more = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});
    $s->later;
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'DELETE', kind => '500', times => 100_000);
    $s->release($line);
    $s->soon(sub { (op($line)->{tries} // 0) > 0 }, 'a try', 20);
    $s->later;
    $sandbox->pay($open, 'ok', 450);
    $sandbox->pay($open);
    $s->hand(balance => $open, 700);
    says(unheard => '/v1/refunds', '/v1/refunds' => 100);
    $sandbox->clear_faults;
    $s->soon(sub { (op($line)->{refund_invoice} // '') eq $open && grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/refunds' } @{$billing->requests} }, 'what was paid since is on its way', 30)
        or diag explain op($line);
    $s->refund($line);
    my $since = $s->redis->client->time->[0];
    wait_for(sub { back($line, $open) > 900 || $s->redis->client->time->[0] > $since + 4 }, 30, 'a while');
    is back($line, $open), 900, 'it is waited for until billing shows it' or diag explain op($line);
    honest();
    $s->rest($line->{tenant}, 40);
    is_deeply [$s->money($line->{subscription})], [2700, 2700, 'canceled'], 'all went back, once' or diag explain op($line);
};

promise '... nor where a newer one of a line that failed is paid meanwhile' => sub {
    $sandbox->customer('cus_newer');
    my $line = $s->pending_line(workspace => {customer => 'cus_newer'});
    $sandbox->pay($line->{invoice}, 'ok', 450) for 1, 2;
    $s->wait_record($line->{name}, $line->{line}, 'provisioning');
    $s->rest($line->{tenant});
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $s->hand(balance => $line->{invoice}, 700);
    $s->rest($line->{tenant});
    says(unheard => '/v1/refunds', '/v1/refunds' => 100);
    $s->report($line, 'failed');
    $s->soon(sub { grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/refunds' } @{$billing->requests} }, 'what is left is on its way', 30) or diag explain op($line);
    $s->later;
    $sandbox->finalize($late);
    $sandbox->pay($late);
    my $since = $s->redis->client->time->[0];
    wait_for(sub { back($line, $line->{invoice}) > 900 || $s->redis->client->time->[0] > $since + 4 }, 30, 'a while');
    is back($line, $line->{invoice}), 900, 'as much as was paid, for now' or diag explain op($line);
    honest();
    $s->rest($line->{tenant}, 40);
    is_deeply [$s->money($line->{subscription})], [1800, 1800, 'canceled'], 'all went back, once' or diag explain op($line);
};

promise 'its invoices are not listed yet: nobody is told that nothing is due' => sub {
    my $line = $s->active_line;
    my $more = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});

    for my $hidden (1, 2) {
        says('/v1/invoices' => $hidden);
        my $answer = preview($line);
        is $answer->status, 503, "$hidden of two are not: a preview waits" or diag explain $answer->json;
        isnt ask($line, {due => $hidden == 2 ? {} : {usd => 900}})->status, 200, '... and so does who says the same';
        ok $s->is_live($line), '... and nothing is done';
        last unless $s->is_live($line);
    }

    honest();
    is_deeply preview($line)->json('/due'), {usd => 1800}, 'they are';
    is ask($line, {due => {usd => 1800}})->status, 200, '... and go back';
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [1800, 1800, 'canceled'], '... once';
} if calm;

promise 'what paid for it is not listed yet: it is no part of what is shown, and goes back once it is listed' => sub {
    my $line = $s->active_line;
    says('/v1/invoice_payments' => 100);
    my $seen = preview($line)->json;
    is_deeply [@$seen{qw(due)}, @{$seen->{invoices}[0]}{qw(due stuck)}], [{}, undef, 'money_unclear'], 'nobody says how much' or diag explain $seen;
    is ask($line, {due => {}})->status, 200, 'it is refunded';
    $s->soon(sub { (op($line)->{tries} // 0) > 0 || op($line)->{stuck} }, 'that waits', 20);
    honest();
    $nginx->admin(POST => 'operations/' . op_id($line) . '/retry', {});
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], '... and goes back';
} if calm;

promise 'released and given back; its tenant is deleted; then what went back fails: people are asked' => sub {
    $sandbox->customer('cus_pending', 'ok', 'default', 'pending');
    my $line = $s->active_line(workspace => {customer => 'cus_pending'});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->refund($line);
    $s->rest($line->{tenant});
    $s->remove($line);
    $s->later;
    $sandbox->settle($_->{id} => 'failed') for grep { $_->{status} eq 'pending' } @{$sandbox->books->{refund}};
    $s->soon(sub { grep { $_->{tenant} eq $line->{tenant} && $_->{stuck} eq 'refund_failed' } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }, 'it is listed', 20);
}, leaves => 1;

promise 'as much is due of a page by then, of other invoices: more would go back than was shown' => sub {
    my $line = $s->active_line;
    $sandbox->renew($line->{subscription}) for 1 .. 11;
    $s->rest($line->{tenant});
    my $seen = preview($line)->json;
    my $more = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});

    for my $body ({due => $seen->{due}, cursor => $seen->{cursor}}, {due => $seen->{due}}, {due => $seen->{due}, cursor => undef}) {
        my $answer = ask($line, $body);
        is $answer->status, 409, 'refused' or diag explain $body;
        is $answer->json('/invoices/0/invoice'), $more, '... with what it is by now';
        return unless ok $s->is_live($line), '... and nothing is done';
    }

    is ask($line, {due => $seen->{due}, cursor => $more})->status, 409, 'nor is it due of less of them';
    is ask($line, {due => {usd => 9000}, cursor => $_})->status, 400, 'no cursor' for '', ' ', 1, ['in_1'];
    $seen = preview($line)->json;
    is ask($line, {due => $seen->{due}, cursor => $seen->{cursor}})->status, 200, 'as it was shown then';
    $s->rest($line->{tenant}, 40);
    is_deeply [$s->money($line->{subscription})], [11700, 11700, 'canceled'], 'all went back, once';
} if calm;

promise 'a preview that was shorter, as billing was slow, is compared as far as it goes' => sub {
    my $line = $s->active_line;
    $sandbox->renew($line->{subscription}) for 1, 2;
    $s->rest($line->{tenant});
    my $second = preview($line)->json('/invoices/1/invoice');
    is ask($line, {due => {usd => $_}, cursor => $second})->status, 409, "$_ are not due of the first two" for 900, 2700;
    is ask($line, {due => {usd => 1800}, cursor => $second})->status, 200, 'this is';
    $s->rest($line->{tenant});
    is_deeply [$s->money($line->{subscription})], [2700, 2700, 'canceled'], 'all went back, once';
} if calm;

promise 'whatever was done by hand before: as much goes back as was shown' => sub {
    my $bill = sub ($line, @parts) {
        my $invoice = $sandbox->bill($line->{subscription})->{id};
        $sandbox->pay($invoice, 'ok', $_) for @parts;
        return $invoice;
    };
    my %hand = (
        'all given back'             => sub ($line) { $s->hand(refund => $line->{invoice}) },
        'a part to the balance'      => sub ($line) { $s->hand(balance => $line->{invoice}, 200) },
        'paid from the balance'      => sub ($line) { $sandbox->endow($line->{customer}, 500); $sandbox->renew($line->{subscription}) },
        'paid elsewhere'             => sub ($line) { $sandbox->pay_outside($bill->($line)) },
        'two payments, and a part back' => sub ($line) { $s->hand(refund => $bill->($line, 300, 600), 100) },
        'paid in part, written off'  => sub ($line) { $sandbox->give_up($bill->($line, 300)) },
        'paid in part, void'         => sub ($line) { $sandbox->void($bill->($line, 300)) },
        'the bank asks'              => sub ($line) { $sandbox->dispute($line->{invoice}, status => 'warning_needs_response') },
        'the bank has it'            => sub ($line) { $sandbox->dispute($line->{invoice}) }
    );
    my @lines;

    for my $what (sort keys %hand) {
        my $customer = 'cus_hand' . @lines;
        $sandbox->customer($customer);
        push @lines, my $line = {%{$s->active_line(workspace => {customer => $customer})}, customer => $customer, what => $what};
        $hand{$what}->($line);
    }

    for my $line (@lines) {
        $s->rest($line->{tenant});
        my $seen = preview($line)->json;
        @$line{qw(due before)} = ($seen->{due}{usd} // 0, back($line));
        is ask($line, {due => $seen->{due}, cursor => $seen->{cursor}})->status, 200, $line->{what};
    }

    for my $line (@lines) {
        $s->rest($line->{tenant}, 40);
        is back($line) - $line->{before}, $line->{due}, "$line->{what}: $line->{due}" or diag explain op($line);
        is_deeply preview($line)->json('/due'), {}, '... and no more is due';
    }
} if calm;

promise 'a bank has a part of a payment, and billing refuses the rest: people are asked, and nothing is lost' => sub {
    my $line    = $s->active_line;
    my $dispute = $sandbox->dispute($line->{invoice}, amount => 300);
    $s->rest($line->{tenant});
    my $seen = preview($line)->json;
    is_deeply [@{$seen->{invoices}[0]}{qw(disputed due)}], [300, 600], 'what is left';
    is ask($line, {due => $seen->{due}})->status, 200, 'it is refunded';
    $s->soon(sub { (op($line)->{stuck} // '') eq 'refund_refused' }, 'that is refused, and told', 20) or diag explain op($line);
    $sandbox->judge($dispute->{id} => 'won');
    $nginx->admin(POST => 'operations/' . op_id($line) . '/retry', {});
    $s->rest($line->{tenant}, 40);
    is_deeply [$s->money($line->{subscription})], [900, 900, 'canceled'], 'the bank gives it up: all goes back, once';
} if calm;

promise 'odd bodies are refused in words, and nothing is done' => sub {
    my $line = $s->active_line;
    my $post = sub ($body) {
        return $s->first->request(POST => "/_lines/admin/lines/$line->{line}/refund",
            {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'}, $body);
    };

    for my $body ('{"due":{"usd":9e2}}', '{"due":{"usd":900.0}}', '{"due":{"usd":99999999999999999999}}', '{"due":{"usd":-0.0}}', '{"due":{"usd":0,"usd":900}}',
        '{"due":{"usd":1},"due":{"usd":900}}', '{"due":{"usd":true}}', '{"due":{"usd":[900]}}', '[]', 'null', '"due"', '{"due":false}', '{"due":0}', '{"due":""}', '{"due":{"u\u0000d":1}}', '{"due":')
    {
        is $post->($body)->status, 400, $body;
    }

    is $post->($_)->status, 409, $_ for '{"due":{"USD":900}}', '{"due":{"":900}}', '{"due":{"usd":9223372036854775807}}', '{"due":{"usd":900,"\u20ac":1}}';
    ok $s->is_live($line), 'nothing is done';
    $s->refund($line);
    $s->rest($line->{tenant});
} if calm;

$t->done;
