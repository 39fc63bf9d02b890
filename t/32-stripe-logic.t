# Stripe's forms, objects and errors, linked without nginx; under the sanitizers too where clang is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Lines::Unit qw(run_units);

run_units(qw(stripe money));
