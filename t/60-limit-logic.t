# The arithmetic of limits, linked without nginx; under the sanitizers too where clang is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Unit qw(make_unit);

for my $san (0, 1) {
    SKIP: {
        skip 'clang is not installed', 2 if $san && !grep { -x "$_/clang" } split /:/, $ENV{PATH};

        my $dir   = make_unit('t/unit', $san);
        my @lines = qx("$dir/test_gcra");
        my @bad   = grep {/^not ok/} @lines;
        my $ran   = grep {/^ok/} @lines;

        is $?, 0, 'ends well' . ($san ? ', sanitized' : '');
        ok !@bad && $ran > 30, "$ran tests" or diag @bad;
    }
}

done_testing;
