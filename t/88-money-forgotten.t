# Redis has forgotten who was to give money back, once the subscription was deleted already: its end tells of it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;

$s->nginx;
$s->numbers(3);

promise 'a purchase is forgotten, and its subscription deleted before anybody gave back what it cost' => sub {
    my $account = $s->account('forgotten');
    my $then    = $s->remember;
    my $line    = $s->bought_line(name => 'forgotten', account => $account);
    $sandbox->wait_idle;
    $s->forget_since($then);
    $s->hand(cancel => $line->{subscription});
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'what it cost goes back', 15);
    $s->rest('a:forgotten');
};

promise 'a line that awaits its payment is forgotten, part of which is there: it goes back once the rest cannot come' => sub {
    my $then = $s->remember;
    my $line = $s->pending_line;
    $sandbox->pay($line->{invoice}, 'ok', 300);
    $sandbox->wait_idle;
    $s->forget_since($then);
    $sandbox->advance(24 * 3600);
    $s->soon(sub { my ($paid, $back) = $s->money($line->{subscription}); $paid && $paid == $back }, 'the part went back', 15);
    $s->rest($line->{tenant});
};

$t->done;
