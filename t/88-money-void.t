# A part of an open invoice was paid, which the end of its line voids: it goes back, though all that is of one second of billing's.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx;

$nginx->allow(qr/\[alert\].*is stuck: refund_failed/);

sub gives_back ($line) { return $s->op($line->{tenant}, substr sha256_hex("refund:$line->{line}"), 0, 24) }

sub back ($line, $invoice) { return ($s->money($line->{subscription}, $invoice))[1] }

sub stuck ($line) {
    return map { $_->{stuck} } grep { $_->{tenant} eq $line->{tenant} } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
}

# a line, and an open invoice of it of which a part was paid
sub in_part (%more) {
    my $line = $s->active_line(%more);
    $s->rest($line->{tenant});
    my $part = $sandbox->bill($line->{subscription})->{id};
    $sandbox->pay($part, 'ok', 400);
    $s->rest($line->{tenant});
    $s->later;
    return ($line, $part);
}

promise 'a part of an open invoice, which the release voids in its own second, and the first refund gets lost: it goes back' => sub {
    my ($line, $part) = in_part();
    $sandbox->fault(path => '/v1/refunds', method => 'POST', kind => 'drop_before', times => 3);
    $s->release($line);
    $s->rest($line->{tenant});
    $sandbox->clear_faults;
    is $sandbox->call(GET => "/v1/invoices/$part")->json('/status'), 'void', 'the invoice is void';
    is back($line, $part), 400, 'the part went back' or diag explain gives_back($line);
};

promise '... and where no answer says that it is void: the part goes back' => sub {
    my ($line, $part) = in_part();
    $sandbox->fault(path => '/v1/invoices/:id/void', method => 'POST', kind => 'drop_after', times => 1);
    $s->release($line);
    $s->rest($line->{tenant});
    $sandbox->clear_faults;
    is $sandbox->call(GET => "/v1/invoices/$part")->json('/status'), 'void', 'the invoice is void';
    is back($line, $part), 400, 'the part went back' or diag explain gives_back($line);
};

promise '... and where it went back at once, and that refund fails: a person is asked' => sub {
    $sandbox->customer('cus_slow', 'ok', 'default', 'pending');
    my ($line, $part) = in_part(workspace => {customer => 'cus_slow'});
    $s->release($line);
    $s->rest($line->{tenant});
    is back($line, $part), 400, 'the part went back';
    my ($refund) = grep { ($_->{metadata}{tenant} // '') eq $line->{tenant} } @{$sandbox->call(GET => '/v1/refunds?limit=20')->json('/data')};
    $sandbox->settle($refund->{id} => 'failed');
    $s->soon(sub { grep { $_ eq 'refund_failed' } stuck($line) }, 'a person is asked') or diag explain gives_back($line);
}, leaves => 1;

$t->done;
