package Test::Lines::Unit;
use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use Fcntl qw(LOCK_EX);
use File::Basename qw(dirname);
use Test::More ();

our @EXPORT_OK = qw(build_dir make_unit root run_units);

=head1 NAME

Test::Lines::Unit - builds what t/unit and t/fuzz hold

=head1 FUNCTIONS

=head2 root, build_dir

The project, and the directory of the build (LINES_BUILD).

=cut

sub root {
    return Cwd::abs_path(dirname(__FILE__) . '/../../../..');
}

sub build_dir {
    return Cwd::abs_path($ENV{LINES_BUILD} || root() . '/build') || die "no build directory\n";
}

=head2 make_unit

    my $dir = make_unit('t/unit', $sanitized);

Runs make in that directory and returns the one where the programs are. A
tree of nginx that the module was built in is used again. Ends the test with a
failure where they cannot be built.

=cut

sub make_unit {
    my ($part, $san, @targets) = @_;

    my $build = $ENV{LINES_BUILD} || root() . '/build';

    mkdir $build;

    my ($objs) = grep { -f "$_/ngx_auto_config.h" } $ENV{LINES_NGINX_OBJS} || (),
        map {"$build/$_/nginx/objs"} qw(gcc clang);

    local $ENV{LINES_NGINX_OBJS} = $objs // '';
    delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD)};

    # tests that run side by side build once
    open my $lock, '>', build_dir() . '/unit.lock' or die "unit.lock: $!\n";
    flock $lock, LOCK_EX;

    my $log = qx{make -C \Q${\root()}/$part\E BUILD=\Q${\build_dir()}\E @{[$san ? 'SAN=1' : '']} @targets 2>&1};

    die "$part does not build:\n$log" if $?;

    return build_dir() . '/' . ($part =~ s{^t/}{}r) . ($san ? '-san' : '');
}

=head2 run_units

    run_units(qw(jwk jwt));

Runs the programs t/unit/test_NAME, under the sanitizers too where clang is, and
ends the test.

=cut

sub run_units {
    my @programs = @_;

    for my $san (0, 1) {
    SKIP: {
            Test::More::skip('clang is not installed', 2 * @programs) if $san && !grep { -x "$_/clang" } split /:/, $ENV{PATH};

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

                Test::More::is($?, 0, "$label: ends well");
                Test::More::ok($plan && $plan == $ran && !@bad, "$label: $ran tests") or Test::More::diag(@bad);
            }
        }
    }

    Test::More::done_testing();
}

1;
