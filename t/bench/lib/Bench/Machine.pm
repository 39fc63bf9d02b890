package Bench::Machine;
use Mojo::Base -base, -signatures;

use Mojo::File qw(path);
use Test::Lines::Util qw(write_file);
use POSIX ();
use Time::HiRes qw(time);

=head1 NAME

Bench::Machine - where things run, and what they take of it

=head1 DESCRIPTION

What is measured has core 0 for itself (C<affinity>, C<pin>), all that would
stand on other machines has the others: generator, Redis, this program, whose
children are where it is. As root all of them come before what else the machine
does, by the same measure, so that nobody of them starves another.

=cut

has cores => sub { scalar(() = path('/proc/cpuinfo')->slurp =~ /^processor/mg) };

my $group = '/proc/self/autogroup';

sub new {
    my $self = shift->SUPER::new(@_);

    $self->{apart} = $self->cores > 1 && system("taskset -pc 1-@{[$self->cores - 1]} $$ > /dev/null 2>&1") == 0;

    # where the kernel shares by sessions, their order counts besides
    $self->{first} = system("renice -n -20 -p $$ > /dev/null 2>&1") == 0;
    if ($self->{first} && -w $group && path($group)->slurp =~ /nice (-?\d+)/) {
        $self->{group} = $1;
        eval { write_file($group, '-20') };
    }

    $self->{pid} = $$;
    return $self;
}

sub DESTROY ($self) {
    eval { write_file($group, $self->{group}) } if defined $self->{group} && $self->{pid} == $$;
}

sub apart ($self) { $self->{apart} }

# of nginx' configuration; a command that is to have the measured core
sub affinity ($self) { $self->apart ? 'worker_cpu_affinity ' . '0' x ($self->cores - 1) . '1;' : '' }
sub pin ($self) { $self->apart ? qw(taskset -c 0) : () }

# seconds that all threads of processes worked, exact to the nanosecond once they rest
sub cpu ($self, @pids) {
    my $sum = 0;
    for (map { glob "/proc/$_/task/*/schedstat" } @pids) { $sum += (split / /, eval { path($_)->slurp } // 0)[0] }
    return $sum / 1e9;
}

# those for which a process was ready to run, and no core was free
sub starved ($self, @pids) {
    my $sum = 0;
    for (@pids) { $sum += (split / /, eval { path("/proc/$_/schedstat")->slurp } // '0 0')[1] }
    return $sum / 1e9;
}

# Where the kernel may put some before all others, those that answer and who asks wait for nobody else: for figures of
# waiting.  Not for figures of a core that is used up: of those the kernel takes a twentieth away.  In turns (-r), for of
# Node.js' threads one waits for another without leaving the core: with -f it answered nobody any more, now and then.
sub urgent ($self, $on, @pids) {
    state $may = system('chrt -r 1 true 2> /dev/null') == 0;
    system('chrt', '-a', $on ? ('-r', '-p', 2) : ('-o', '-p', 0), $_) for $may ? @pids : ();
    return $may && $on ? qw(chrt -r 3) : ();
}

# how long a signature is checked with a key that is ready, by OpenSSL's own measure, in us
sub verify ($self) {
    my @pin = $self->pin;
    my ($each) = qx(@pin openssl speed -seconds 1 -mr rsa2048 2>/dev/null) =~ /^\+F2:\d+:2048:[^:]+:(\S+)/m;
    return $each ? 1e6 / $each : undef;
}

sub rss ($self, @pids) {
    my $sum = 0;
    for (@pids) { $sum += $1 if (eval { path("/proc/$_/status")->slurp } // '') =~ /^VmRSS:\s+(\d+)/m }
    return $sum / 1024;
}

# seconds that cores worked, by anybody, and that another guest of this machine had them
sub work ($self) {
    my ($cpu) = path('/proc/stat')->slurp =~ /^cpu +(.*)$/m;
    my @n = split ' ', $cpu;
    my $hz = POSIX::sysconf(POSIX::_SC_CLK_TCK());
    return [($n[0] + $n[1] + $n[2] + $n[5] + $n[6]) / $hz, ($n[7] // 0) / $hz];
}

# what a write and fsync cost in a directory: p50, p99 in ms
sub disk ($self, $dir) {
    my @ms;
    open my $file, '>', path($dir, 'written') or die "written: $!";

    for (1 .. 200) {
        my $from = time;
        syswrite $file, 'x' x 300;
        $file->sync;
        push @ms, 1000 * (time - $from);
    }

    return (sort { $a <=> $b } @ms)[100, 197];
}

sub model ($self) { path('/proc/cpuinfo')->slurp =~ /^model name\s*:\s*(.*)$/m ? $1 : 'unknown' }

1;
