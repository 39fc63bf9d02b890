package Test::Lines::Once;
use strict;
use warnings;

use Test::More ();

=head1 NAME

Test::Lines::Once - a test that is the same in more than one run of all tests

=head1 SYNOPSIS

    use Test::Lines::Once build => 'no module is in it';
    use Test::Lines::Once build => 'what is built has sanitizers of its own', store => 'nothing is stored';
    use Test::Lines::Once redis => 'it has a cluster of its own';
    use Test::Lines::Once cluster => 'a wire is before one Redis';

=head1 DESCRIPTION

All tests run against the release build, and again against the sanitized one
(LINES_PRELOAD) or another store (LINES_REDIS_SERVER). What cannot differ
there, since nothing of the C<build> that is under test is loaded or nothing of
the C<store> is used, is skipped there, with the reason. So is what has a
C<redis> of its own where LINES_TEST_REDIS makes it one of another kind, or
what cannot run with that one kind: C<cluster>, C<sentinel>, C<tls>.
C<make test> skips nothing of the release build with Redis.

=cut

my %again = (build => 'LINES_PRELOAD', store => 'LINES_REDIS_SERVER', redis => 'LINES_TEST_REDIS');

sub import {
    my ($class, %why) = @_;

    my $kind = $ENV{LINES_TEST_REDIS} // '';

    # without the module nobody speaks TLS or asks a Sentinel
    $why{tls} //= $why{sentinel} //= $why{build} if $why{build};
    $why{redis} //= $why{store} if $why{store};

    for my $what (sort keys %why) {
        my $set = $again{$what} ? length($ENV{$again{$what}} // '') : $kind eq $what;
        Test::More::plan(skip_all => "$why{$what}: run with the release build and Redis") if $set;
    }
}

1;
