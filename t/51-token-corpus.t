# The acceptance corpus, and the official SDK as a judge, put to the logic without a server.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once store => 'nothing is stored';
use Test::Lines::Unit qw(build_dir make_unit root);

my $corpora = $ENV{LINES_CORPORA} || root() . '/t/corpora';

plan skip_all => 'no acceptance corpus beside the project (LINES_CORPORA)' unless -f "$corpora/load.mjs";

my $dir = make_unit('t/unit', $ENV{LINES_PRELOAD} ? 1 : 0);

system 'sh', "$FindBin::Bin/node/install.sh", build_dir();
plan skip_all => 'node is not there' if $? >> 8 == 77;

my @modules = $? == 0 ? build_dir() . '/node' : ();
my $work    = "$dir/corpus";

mkdir $work;

local $ENV{LINES_CORPORA} = $corpora;
local $ENV{CLERK_TELEMETRY_DISABLED} = 1;

open my $out, '-|', 'node', "$FindBin::Bin/unit/corpus.mjs", "$dir/verify", $work, @modules or die "node: $!";

my ($ran, $plan, @bad) = (0);

while (<$out>) {
    $ran++        if /^(?:not )?ok /;
    $plan = $1    if /^1\.\.(\d+)/;
    push @bad, $_ if /^not ok / .. !/^#|^not ok /;
    note $_       if /stricter than/;
}

close $out;

is $?, 0, 'ends well';
ok @modules, 'the official SDK was asked';

# without the third-party data, which are no part of the project, there are fewer
my $data  = grep { -e "$_/wycheproof-jws.json" } "$corpora/data", root() . '/../shared/corpora/data', $ENV{LINES_CORPORA_DATA} // ();
my $least = $data ? 500 : 300;

ok $plan && $plan == $ran && $ran > $least && !@bad, "$ran verdicts agree" or diag @bad;

done_testing;
