package Test::Lines::Sim;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use IO::Socket::UNIX;
use Mojo::File qw(path);
use Test::Lines::Unit qw(make_unit root);
use Test::Lines::Util qw(write_file);

=head1 NAME

Test::Lines::Sim - the Redis of t/sim, side by side with a real one

=head1 SYNOPSIS

    my $sim = Test::Lines::Sim->new(test => $t)->start;

    my $run = $sim->run_beside('t/40-inventory-scripts.t');    # {ended, replies, ...}

    my $run = $sim->random(seed => 1);    # {calls, different, ...}

=head1 DESCRIPTION

C<start> builds t/sim, sanitized where the module is, and starts a real Redis whose
clock is t/sim/clock.c's. Behind the program t/sim/server is the Redis of t/sim,
which hands on each command to the real one and compares the replies; a test
that is run so needs no change (C<LINES_REDIS_SERVER>).

C<random> sends seeded random calls of all scripts, random commands of each
type of key, and lets the clock run, stand and go back; after each episode it
reads all keys, and empties both. It ends at the first difference. A seed and
C<episode> repeat one alone. Options: L<Test::Lines::Sim::Random>.

=cut

has 'test';
has sanitized => sub { $ENV{LINES_PRELOAD} && !!grep { -x "$_/clang" } split /:/, $ENV{PATH} };

sub start ($self) {
    $self->{programs} = make_unit('t/sim', $self->sanitized);
    my $clock = $self->{clock} = $self->test->dir . '/clock';
    write_file($clock, "\0" x 24);

    # what differs between encodings is the order of fields and how much of a
    # stream goes at once: one encoding, then
    $self->{real} = $self->test->redis(
        name => 'real',
        env  => {LD_PRELOAD => "$self->{programs}/clock.so", LINES_SIM_CLOCK => $clock},
        conf => join "\n", 'appendonly no', 'hash-max-listpack-entries 100000',
            'hash-max-listpack-value 1000000', 'stream-node-max-bytes 0'
    );

    # a key that has expired goes when it is asked for: the clock may go back before
    $self->{real}->cli('DEBUG', 'SET-ACTIVE-EXPIRE', 0);

    my $info = $self->{real}->client->info;
    $self->{version} = ($info->{server_name} // 'redis') . ' ' . ($info->{valkey_version} // $info->{redis_version});

    return $self;
}

sub version ($self) { $self->{version} }
sub exact   ($self) { $self->version =~ m{^redis 7\.0\.} ? 1 : 0 }

# what a program needs to be the server of both
sub env ($self) {
    return (
        LINES_SIM_BESIDE => $self->{real}->socket,
        LINES_SIM_CLOCK  => $self->{clock},
        LINES_SIM_LOOSE  => $self->exact ? undef : 1
    );
}

sub counts ($self) { my (undef, @counts) = unpack 'q<3', path($self->{clock})->slurp; @counts }

sub run_beside ($self, $file) {
    my @before = $self->counts;
    my %env    = $self->env;
    local @ENV{keys %env} = values %env;
    delete local $ENV{LINES_SIM_LOOSE} unless defined $env{LINES_SIM_LOOSE};
    local $ENV{LINES_REDIS_SERVER} = "$self->{programs}/server";
    delete local $ENV{LINES_PRELOAD};    # what else would be the same: Test::Lines::Once

    my $said  = qx{perl \Q${\root()}/$file\E 2>&1};
    my $ended = $?;
    my @after = $self->counts;

    return {ended => $ended, said => $said, replies => $after[0] - $before[0], different => $after[1] - $before[1]};
}

=head2 connect

The Redis of t/sim, with (C<< beside => 1 >>) or without the real one: C<call>
sends a command and returns the reply, lists as arrays, errors as references
to their text; C<end> ends it and returns the wait status.

=cut

sub connect ($self, %options) {
    my $name = $options{beside} ? 'beside' : 'alone';
    my $conf = $self->test->dir . "/$name.conf";
    my $path = $self->test->dir . "/$name.sock";

    write_file($conf, "unixsocket $path\n");
    my $process = $self->test->spawn($name => ["$self->{programs}/server", $conf],
        env => {$options{beside} ? $self->env : (LINES_SIM_BESIDE => undef)});

    my $socket;
    Test::Lines::wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => $path) }, 10, 'a server');

    return Test::Lines::Sim::Connection->new(process => $process, socket => $socket);
}

sub random ($self, %options) {
    require Test::Lines::Sim::Random;

    my $redis  = $self->connect(beside => 1);
    my $random = Test::Lines::Sim::Random->new(redis => $redis, exact => $self->exact, %options);
    my $run    = $random->run;

    $run->{ended} = $redis->end;
    $run->{said}  = $redis->process->output;

    return $run;
}

package Test::Lines::Sim::Connection;
use Mojo::Base -base, -signatures;

has [qw(process socket)];

sub call ($self, @command) {
    my $request = '*' . @command . "\r\n" . join '', map { '$' . length . "\r\n$_\r\n" } @command;

    $self->socket->syswrite($request) == length $request or die "request: $!";

    return $self->reply;
}

sub end ($self) {
    $self->socket->syswrite("SIM END\r\n");
    return $self->process->wait_end;
}

sub line ($self) {
    my $end;
    $self->more while ($end = index $self->{in} //= '', "\r\n") < 0;
    my $line = substr $self->{in}, 0, $end;
    substr($self->{in}, 0, $end + 2) = '';
    return $line;
}

sub more ($self) {
    $self->socket->sysread($self->{in}, 65_536, length $self->{in}) or die 'the server is gone: ' . $self->process->output;
}

sub reply ($self) {
    my ($type, $rest) = unpack 'a1a*', $self->line;

    return $rest  if $type eq '+' || $type eq ':';
    return \$rest if $type eq '-';
    return undef  if $rest == -1;
    return [map { $self->reply } 1 .. $rest] if $type eq '*';

    $self->more while length $self->{in} < $rest + 2;
    my $bulk = substr $self->{in}, 0, $rest;
    substr($self->{in}, 0, $rest + 2) = '';
    return $bulk;
}

1;
