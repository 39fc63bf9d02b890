# The fuzzers of tokens, keys and signatures, briefly ("make fuzz" runs them for longer).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'it builds what it runs, with sanitizers', store => 'nothing is stored';
use Test::Lines::Unit qw(build_dir make_unit root);

plan skip_all => 'clang is not installed' unless grep { -x "$_/clang" } split /:/, $ENV{PATH};

make_unit('t/unit', 0);
make_unit('t/fuzz', 0);

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD)};

for my $target (qw(jwt jwk stripe_signature)) {
    my $found = build_dir() . '/fuzz/found';
    my $log   = qx{make -s -C \Q${\root()}\E/t/fuzz BUILD=\Q${\build_dir()}\E FUZZ_SECONDS=5 run-$target 2>&1};

    is $?, 0, "$target: nothing breaks it" or diag join '', grep {defined} (split /^/, $log)[-40 .. -1], "see $found\n";

    my ($runs) = $log =~ /number_of_executed_units: (\d+)/;
    cmp_ok $runs // 0, '>', 0, "$target: " . ($runs // 0) . ' inputs';
}

done_testing;
