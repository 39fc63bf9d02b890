# A line of which a part was paid, and that the plan includes by now: what went back of that part and failed, or was taken by a bank and is back,
# is heard also while the provisioner is not told yet.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $told    = $t->upstream(name => 'provisioner', status => 200);
my $s       = Test::Lines::Scenario->new(t => $t, provisioner => $told->url);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;
my $made    = 0;
$nginx->allow(qr/\[alert\].*is stuck: (?:refund_failed|subscription_refused)/);

sub line (%its) {
    my $customer = 'cus_heard' . ++$made;
    $sandbox->customer($customer, 'ok', 'default', $its{refunds} // 'pending');
    return {%{$s->pending_line(workspace => {customer => $customer, plan => 'paid'}, request => {channelType => 'phone'})}, customer => $customer};
}
sub stuck ($line) {
    return map {"$_->{kind} $_->{stuck}"} grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}
sub refund_of ($line) { (grep { $_->{customer} eq $line->{customer} } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')})[0] }

sub promoted ($line) {
    $told->set(status => 503);
    $nginx->admin(PUT => "workspaces/$line->{name}", {plan => 'growth'});
    $s->soon(sub { ($s->op(@$line{qw(tenant line)})->{step} // '') eq 'tell' && $s->op(@$line{qw(tenant line)})->{tries} }, 'the plan includes it, and the provisioner is away');
}

promise 'a part went back and fails, once the plan includes the line, which the provisioner is not told of yet' => sub {
    my $line = line();
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->rest($line->{tenant});
    promoted($line);
    $sandbox->settle(refund_of($line)->{id} => 'failed');
    $sandbox->wait_idle;
    $told->set(status => 200);
    $s->soon(sub { grep {/refund_failed/} stuck($line) }, 'what failed is listed', 15) or diag explain [$s->op(@$line{qw(tenant line)}), $s->money($line->{subscription})];
}, leaves => 1;    # what failed is for a person to give back

promise 'a bank has the part, and gives it back' => sub {
    my $line = line(refunds => 'succeeded');
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $s->rest($line->{tenant});
    $s->deaf;
    my $dispute = $sandbox->dispute($line->{invoice});
    $s->hears;
    promoted($line);
    $sandbox->judge($dispute->{id} => 'won');
    $sandbox->wait_idle;
    $told->set(status => 200);
    $s->soon(sub { ($s->money($line->{subscription}))[1] == 300 }, 'it goes back', 15) or diag explain [$s->op(@$line{qw(tenant line)}), $s->money($line->{subscription})];
};

$t->done;
