# Which addresses webhooks may be told at, how they are signed, how their secrets are sealed, linked without nginx; under the
# sanitizers too where clang is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Lines::Once build => 'it builds what it runs, with sanitizers and without', store => 'nothing is stored';
use Test::Lines::Unit qw(run_units);

run_units(qw(webhooks));
