package Test::Lines::Util;
use Mojo::Base -strict, -signatures;

use Exporter 'import';

our @EXPORT_OK = qw(write_file);

=head1 NAME

Test::Lines::Util - what Debian 12's and Debian 13's Mojolicious name differently

=head2 write_file

    write_file($path, $bytes);

=cut

sub write_file ($path, $bytes) {
    open my $file, '>:raw', $path or die "$path: $!\n";
    print {$file} $bytes          or die "$path: $!\n";
    close $file                   or die "$path: $!\n";
    return $path;
}

1;
