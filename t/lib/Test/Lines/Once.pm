package Test::Lines::Once;
use strict;
use warnings;

use Test::More ();

=head1 NAME

Test::Lines::Once - a test that is the same in more than one run of all tests

=head1 SYNOPSIS

    use Test::Lines::Once build => 'no module is in it';
    use Test::Lines::Once build => 'what is built has sanitizers of its own', store => 'nothing is stored';

=head1 DESCRIPTION

All tests run against the release build, and again against the sanitized one
(LINES_PRELOAD) or another store (LINES_REDIS_SERVER). What cannot differ
there, since nothing of the C<build> that is under test is loaded or nothing of
the C<store> is used, is skipped there, with the reason. The run of the release
build with Redis skips nothing.

=cut

my %again = (build => 'LINES_PRELOAD', store => 'LINES_REDIS_SERVER');

sub import {
    my ($class, %why) = @_;

    for my $what (sort keys %why) {
        Test::More::plan(skip_all => "$why{$what}: run with the release build and Redis") if length($ENV{$again{$what}} // '');
    }
}

1;
