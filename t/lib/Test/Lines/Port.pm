package Test::Lines::Port;
use Mojo::Base -strict, -signatures;

use Fcntl qw(:flock O_CREAT O_RDWR);
use IO::Socket::INET;
use List::Util qw(shuffle);

=head1 NAME

Test::Lines::Port - free ports that stay one's own

=head1 DESCRIPTION

A port that C<bind(0)> hands out lies in the range from which the kernel also
takes the near end of each outgoing connection, so that it can be gone by the
time a server asks for it, and a server that restarts may not get it again.
These ports lie below that range, and a lock file keeps tests that run at the
same time apart.

=head2 free_port

    my $port = Test::Lines::Port::free_port();

A port of 127.0.0.1, reserved until the test's process ends.

=cut

my %locks;

sub free_port () {
    my $dir = "/tmp/lines-ports-$>";
    mkdir $dir, 0700;

    for my $port (shuffle 10_240 .. 32_000) {
        next if $locks{$port};

        sysopen my $lock, "$dir/$port", O_CREAT | O_RDWR or next;
        flock $lock, LOCK_EX | LOCK_NB or next;

        my $probe = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1',
            LocalPort => $port,
            Proto     => 'tcp',
            Listen    => 1,
            ReuseAddr => 1
        ) or next;

        close $probe;
        $locks{$port} = $lock;

        return $port;
    }

    die "no free port\n";
}

1;
