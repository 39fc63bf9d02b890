# The tests of paid requests once more, with Prism and Stripe's schema between nginx and the sandbox.
use Mojo::Base -strict;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Lines::Prism;
use Test::More;
use Test::Lines::Once redis => 'it is t/35-paid-request for a store';

my ($node, $why_not) = Test::Lines::Prism->available;
plan skip_all => $why_not unless $node;

$ENV{LINES_PAID_VIA} = 'prism';
do "$FindBin::Bin/35-paid-request.t" or die $@ || $!;
