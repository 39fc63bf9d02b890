package Test::Lines::Node;
use Mojo::Base -strict, -signatures;

use Cwd ();
use Exporter qw(import);
use File::Basename qw(dirname);

our @EXPORT_OK = qw(node_dir);

=head1 NAME

Test::Lines::Node - the judges that Lines did not write

=head1 SYNOPSIS

    use Test::Lines::Node qw(node_dir);

    my ($dir, $why_not) = node_dir;
    plan skip_all => $why_not unless $dir;

=head1 DESCRIPTION

=head2 node_dir

The directory whose F<node_modules> has the packages of F<t/node/package.json>:
C<$LINES_BUILD/node>, where they are installed on first use. Nothing, and why,
where Node.js is missing or older than 20. Dies where the installation fails.

A script imports a package from it by F<t/node/judges.mjs>, and finds the
directory in the environment as C<LINES_NODE>, which this sets.

=cut

sub node_dir () {
    my $root  = Cwd::abs_path(dirname(__FILE__) . '/../../../..');
    my $build = $ENV{LINES_BUILD} || "$root/build";
    my $said  = qx("$root/t/node/install.sh" "$build" 2>&1);
    my $code  = $? >> 8;

    return (undef, $said =~ s/\s+$//r) if $code == 77;
    die "t/node/install.sh: $said\n" if $?;

    return $ENV{LINES_NODE} = Cwd::abs_path("$build/node");
}

1;
