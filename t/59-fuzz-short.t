# The fuzzers: what they know (t/fuzz/corpus), and a little more ("make fuzz" runs them for longer).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'it builds what it runs, with sanitizers', store => 'nothing is stored';
use Test::Lines::Unit qw(build_dir make_unit root);

plan skip_all => 'clang is not installed' unless grep { -x "$_/clang" } split /:/, $ENV{PATH};

chomp(my $processors = qx{nproc});
make_unit('t/fuzz', 0, "-j$processors");

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD)};

my @targets = qw(jwt jwk stripe_signature input router replies cursor stripe limit);
my $bytes   = 0;

is_deeply [sort @targets], [sort map { m{/fuzz_(\w+)\.c$} } glob root() . '/t/fuzz/fuzz_*.c'], 'all that there are';

for my $target (@targets) {
    my $found = build_dir() . '/fuzz/found';
    my @known = grep {-f} glob root() . "/t/fuzz/corpus/$target/*";
    my $log   = qx{make -s -C \Q${\root()}\E/t/fuzz BUILD=\Q${\build_dir()}\E FUZZ_SECONDS=1 run-$target 2>&1};

    is $?, 0, "$target: nothing breaks it" or diag join '', grep {defined} (split /^/, $log)[-40 .. -1], "see $found\n";

    my ($runs) = $log =~ /number_of_executed_units: (\d+)/;
    cmp_ok $runs // 0, '>', scalar @known, "$target: " . ($runs // 0) . ' inputs, ' . @known . ' of them kept';
    cmp_ok scalar @known, '>', 9, '... which are some';

    $bytes += -s for @known;
}

cmp_ok $bytes, '<', 200_000, "what is kept is small: $bytes bytes";

done_testing();
