package Bench::Load;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use List::Util qw(sum0);
use Mojo::File qw(path);
use Test::Lines::Util qw(write_file);
use Mojo::JSON qw(decode_json);

=head1 NAME

Bench::Load - requests in files, and offer.c, which sends them

=head1 SYNOPSIS

    my $file = $load->file(reads => map { request(GET => "/x/$_", {}, '', $_) } 1 .. 1000);
    my $got  = $load->run(port => $port, file => $file, connections => 128, seconds => 1);

=head1 DESCRIPTION

C<request> is of a method, a path, headers, a body, and what the body of its
answer must have. C<run> offers C<rate> requests a second, or, without, as many
as are answered; C<count> ends it; C<by> is a command that runs it. It returns what offer.c prints, with C<bad>:
how many were not answered as they should have been, and C<share>, which the
generator had of its core. With C<keep> there is C<answers>, by the place in the
file: [status, body].

=cut

has [qw(dir)];
has offer => sub ($self) {
    my $binary = path($self->dir, 'offer')->to_string;
    system($ENV{CC} || 'cc', '-O2', '-o', $binary, path(__FILE__)->dirname . '/../../offer.c') == 0 or die "offer.c does not compile\n";
    return $binary;
};

sub request ($method, $path, $headers, $body = '', $needle = '') {
    my $text = "$method $path HTTP/1.1\r\nHost: lines\r\n" . join '', map {"$_: $headers->{$_}\r\n"} sort keys %$headers;
    $text .= "Content-Length: " . length($body) . "\r\n" if $method ne 'GET';
    return "$text\r\n$body" . (length $needle ? "\1$needle" : '');
}

sub file ($self, $name, @requests) {
    my $file = path($self->dir, "$name.requests");
    write_file($file, join '', map {"$_\0"} @requests);
    return "$file";
}

sub run ($self, %o) {
    my $kept = path($self->dir, 'kept');
    my @args = (
        ($o{count} ? ('-n', $o{count}) : ()), ($o{keep} ? ('-o', "$kept") : ()), '-q',
        $o{port}, $o{rate} // 0, $o{seconds} // 600, $o{connections} // 32, $o{depth} // 1, $o{file}
    );

    open my $out, '-|', @{$o{by} // []}, $self->offer, @args or die "offer: $!";
    my $text = join '', <$out>;
    close $out;
    my $got = $text =~ /^\{/ ? decode_json($text) : croak "offer @args: $text";

    my $good = sum0 map { $got->{codes}{$_} } grep {/^2/} keys %{$got->{codes}};
    $got->{bad}   = $got->{answered} - $good + $got->{wrong} + $got->{lost};
    $got->{share} = $got->{cpu} / ($got->{took} || 1);

    # what was due in time, and never sent
    $got->{unsent} = $o{rate} && !$o{count} ? $o{rate} * $o{seconds} - $got->{timely} : 0;

    if ($o{keep}) {
        open my $in, '<', "$kept" or die "$kept: $!";
        while (<$in>) { $got->{answers}[$1] = [$2, $3] if /^(\d+) (\d+) (.*)/ }
        unlink $kept;
    }

    return $got;
}

# of what nothing may fail
sub must ($self, $what, %o) {
    my $got = $self->run(%o);
    croak "$what: $got->{bad} of $got->{answered} failed: " . Mojo::JSON::encode_json({%$got, answers => [List::Util::head(4, grep { $_ && $_->[0] !~ /^2/ } @{$got->{answers} // []})]})
      if $got->{bad} || !$got->{answered} || ($o{count} && $got->{answered} != $o{count});
    return $got;
}

1;
