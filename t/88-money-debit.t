# An active subscription is not a paid one: with a bank debit its first invoice stays open for days.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json encode_json);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $sandbox = $t->sandbox;

# what is made is active, and its invoice open: as billing says it of a debit
my $debits = $t->upstream(handler => sub ($c, $state) {
    my $req  = $c->req;
    my $res  = $sandbox->pass($c, qr/date/);
    my $body = $res->body;

    if ($req->method eq 'POST' && $req->url->path eq '/v1/subscriptions' && $res->code == 200) {
        my $json = decode_json($body);
        @{$json->{latest_invoice}}{qw(status amount_paid)} = ('open', 0) if ref $json->{latest_invoice};
        $body = encode_json($json);
    }

    $c->render(data => $body, status => $res->code);
});

my $s     = Test::Lines::Scenario->new(t => $t, sandbox => $sandbox, via => $debits->port);
my $nginx = $s->nginx(workers => 2);

$s->numbers(2);

promise 'a confirm whose payment is under way: undone, as it is not paid' => sub {
    my $account = $s->account('debit', customer => 'cus_card');
    my $token   = $s->token($account);
    my $id      = $s->operation_id($token);
    my $answer  = $s->confirm($account, $token, key => 'k');
    $s->soon(sub { ($s->op('a:debit', $id)->{step} // '') eq 'done' }, 'it ends');
    my ($made) = $s->made_for('a:debit');

    # a look that a kill has put off finds it paid
    if (!calm && $s->is_live({tenant => 'a:debit', line => $id})) {
        is_deeply [$s->money($made->{subscription})], [4900, 0, 'active'], 'the line is paid for';
        return;
    }

    is $answer->status, 500, 'it is told so' or diag $answer->to_string;
    is $answer->json('/error'), 'provisioning_failed', '... as documented';
    ok !$s->is_live({tenant => 'a:debit', line => $id}), 'there is no line';
    $s->soon(sub { join(' ', $s->money($made->{subscription})) eq '4900 4900 canceled' }, 'what came in after all went back')
        or diag explain [$s->money($made->{subscription})];
};

$t->done;
