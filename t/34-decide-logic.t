# What an operation does next: asked everything that can be asked, and printed, to be read like a specification.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Lines::Unit qw(make_unit root run_units);
use Test::More;
use Test::Lines::Once build => 'it builds what it runs, with sanitizers and without', store => 'nothing is stored';

subtest 'operation/README.md says what is decided' => sub {
    my $dir = make_unit('t/unit', 0);
    my $now = qx{$dir/test_decide table};

    open my $file, '<:raw', root() . '/src/operation/README.md' or die $!;
    my ($said) = do { local $/; <$file> } =~ /^<!-- decisions -->\n(.*?)^<!-- -->\n/ms;

    is $said, $now, 'between its two marks is what build/unit/test_decide table prints';
};

run_units(qw(decide));
