package Test::Lines::Process;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use Mojo::File qw(path);
use POSIX qw(:sys_wait_h);
use Time::HiRes ();

=head1 NAME

Test::Lines::Process - a child process of a test

=head1 SYNOPSIS

    my $process = $t->spawn(sandbox => ['perl', 't/sandbox/sandbox.pl'],
        env => {NAME => 'value'});

    $process->pid;
    $process->alive;
    $process->output;        # stdout and stderr together
    $process->signal('HUP');
    $process->stop;          # TERM, waits, returns the wait status
    $process->kill;          # KILL

=head1 DESCRIPTION

Children run in the test's directory, which is how L<Test::Lines/done> finds
those that were left behind, their children included. They get SIGTERM when
the test's process dies, however it dies.

=cut

has [qw(name command dir pid status)];
has env         => sub { {} };
has stop_signal => 'TERM';

# programs by their absolute path: /usr/sbin is not in everybody's PATH
sub program ($class, $name) {
    return $name if $name =~ m{/};

    for my $dir (split(/:/, $ENV{PATH} // ''), '/usr/sbin', '/usr/local/sbin', '/sbin') {
        return "$dir/$name" if -x "$dir/$name" && !-d _;
    }

    croak "$name is not installed";
}

sub log_file ($self) { path($self->dir, $self->name . '.out') }

sub output ($self) { -e $self->log_file ? $self->log_file->slurp : '' }

sub start ($self) {
    croak $self->name . ' runs already' if $self->alive;

    my ($name, @args) = @{$self->command};
    my @command = (
        Test::Lines::Process->program('setpriv'),
        '--pdeathsig', 'TERM', '--', Test::Lines::Process->program($name), @args
    );
    my $log = $self->log_file;

    my $pid = fork // die "fork: $!";

    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE ALRM);
        chdir $self->dir                or POSIX::_exit(127);
        open STDIN,  '<',  '/dev/null'  or POSIX::_exit(127);
        open STDOUT, '>>', $log         or POSIX::_exit(127);
        open STDERR, '>&', \*STDOUT     or POSIX::_exit(127);

        my $env = $self->env;
        for my $key (keys %$env) {
            if (defined $env->{$key}) { $ENV{$key} = $env->{$key} }
            else                      { delete $ENV{$key} }
        }

        { no warnings 'exec'; exec {$command[0]} @command }
        print STDERR "exec $command[0]: $!\n";
        POSIX::_exit(127);
    }

    $self->pid($pid)->status(undef);

    return $self;
}

sub alive ($self) {
    return 0 unless $self->pid && !defined $self->status;

    my $got = waitpid $self->pid, WNOHANG;
    return 1 if $got == 0;

    $self->status($got == $self->pid ? $? : 0);
    return 0;
}

sub signal ($self, $signal) {
    kill $signal, $self->pid if $self->alive;
    return $self;
}

# waits for the end; kills after so many seconds and says so by returning undef
sub wait_end ($self, $seconds = 30) {
    my $end = Time::HiRes::time() + $seconds;

    while ($self->alive) {
        if (Time::HiRes::time() > $end) {
            $self->signal('CONT')->signal('KILL');
            Time::HiRes::sleep(0.01) while $self->alive;
            return undef;
        }
        Time::HiRes::sleep(0.01);
    }

    return $self->status;
}

sub stop ($self, $seconds = 30) {
    $self->signal($self->stop_signal)->signal('CONT');
    return $self->wait_end($seconds);
}

sub kill ($self) {
    $self->signal('KILL');
    return $self->wait_end;
}

1;
