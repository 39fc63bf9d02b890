# Commands in the protocol of Redis, linked without nginx; under the sanitizers too where clang is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Unit qw(make_unit);

my @programs = qw(resp);

for my $san (0, 1) {
    SKIP: {
        skip 'clang is not installed', 1 if $san && !grep { -x "$_/clang" } split /:/, $ENV{PATH};

        my $dir = make_unit('t/unit', $san);

        for my $name (@programs) {
            open my $out, '-|', "$dir/test_$name" or die "$dir/test_$name: $!";

            my ($ran, $plan, @bad) = (0);

            while (<$out>) {
                $ran++          if /^(?:not )?ok /;
                $plan = $1      if /^1\.\.(\d+)/;
                push @bad, $_   if /^not ok / .. !/^#|^not ok /;
            }

            close $out;

            my $label = $name . ($san ? ', sanitized' : '');

            is $?, 0, "$label: ends well";
            ok $plan && $plan == $ran && !@bad, "$label: $ran tests" or diag @bad;
        }
    }
}

done_testing;
