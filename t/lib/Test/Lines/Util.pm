package Test::Lines::Util;
use Mojo::Base -strict, -signatures;

use Exporter 'import';
use Time::HiRes ();

our @EXPORT_OK = qw(every write_file);

=head1 NAME

Test::Lines::Util - small things

=head2 write_file

    write_file($path, $bytes);

What Debian 12's and Debian 13's Mojolicious name differently.

=head2 every

    wait_for(every(0.5, sub { ... }), 60, 'what takes long to look at');

False without a look until so many seconds after the one before.

=cut

sub every ($seconds, $code) {
    my $next = 0;
    return sub {
        return if Time::HiRes::time() < $next;
        my $value = $code->();
        $next = Time::HiRes::time() + $seconds;
        return $value;
    };
}

sub write_file ($path, $bytes) {
    open my $file, '>:raw', $path or die "$path: $!\n";
    print {$file} $bytes          or die "$path: $!\n";
    close $file                   or die "$path: $!\n";
    return $path;
}

1;
