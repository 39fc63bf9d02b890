package Test::Lines::Container;
use Mojo::Base 'Test::Lines::Process', -signatures;

no warnings 'qw';    # commas of mount's options

use Carp qw(croak);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use POSIX ();
use Test::Lines ();
use Test::Lines::Util qw(write_file);
use Time::HiRes ();

=head1 NAME

Test::Lines::Container - an image's file system, run as a container engine does

=head1 SYNOPSIS

    Test::Lines::Container->alone;                   # at the head of the test
    my $images = Test::Lines::Container->images;     # or skips the test

    my $container = Test::Lines::Container->new(
        t => $t, name => 'node1', image => 'lines',
        read_only => 1, tmpfs => ['/tmp:size=64m,mode=1777'],
        mounts => [["$dir/node.conf", '/etc/nginx/conf.d/lines.conf', 'ro']],
        volumes => [[secrets => '/etc/lines', 'ro']],
        hosts => {redis => '127.0.0.1'}
    )->start;

    my ($status, $output) = $container->exec('nginx', '-t');
    $container->healthy;
    $container->stop;                                # the image's stop signal

=head1 DESCRIPTION

For a machine without a container engine: namespaces, an overlay, chroot and
setpriv. The user, the command, the stop signal and the healthcheck are the
image's, as F<docker/image.sh> found them, unless C<entrypoint>, C<command>,
C<healthcheck> (a list as in F<config.json>) say otherwise. C<address> gives
it a network of its own on the bridge of L</bridge>; else it shares the test's.

=cut

has [qw(t image read_only address healthcheck entrypoint command_line network)];
has [qw(tmpfs mounts volumes)] => sub { [] };
has hosts => sub { {} };
has dir   => sub ($self) { $self->t->dir };

has home   => sub ($self) { path($self->dir, $self->name)->make_path };
has layout => sub ($self) { path($self->images, $self->image) };
has config => sub ($self) { decode_json($self->layout->child('config.json')->slurp) };

=head2 alone

Starts the test anew in a network and a mount namespace of its own, in which
every port is free. Skips the test where that cannot be done.

=cut

sub _skip ($why) { Test::More::plan(skip_all => $why) }

sub alone ($class) {
    return if $ENV{LINES_ALONE};

    _skip('the images have the release build; there is nothing to sanitize') if $ENV{LINES_PRELOAD};
    _skip('only root can make namespaces') if $> != 0;

    for (qw(unshare nsenter ip)) {
        my $program = eval { Test::Lines::Process->program($_) };
        _skip("$_ is not installed: sh conf/packages.sh image") unless $program;
    }

    system('unshare --mount --pid --net --fork true 2>/dev/null') == 0 or _skip('no namespaces here');

    $class->images;
    $ENV{LINES_ALONE} = 1;
    CORE::exec 'unshare', '--mount', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', $^X, $0;
    die "unshare: $!\n";
}

=head2 images

The directory of the images, which C<make image> has made; they are built anew
where their sources have changed since. Where there are none the test is
skipped, unless LINES_IMAGE is set, which builds them. LINES_BASE is another
release, as for C<make image>.

=cut

sub images ($class) {
    state $images;

    return $images if $images;

    my $root  = path(__FILE__)->to_abs->dirname->dirname->dirname->dirname->dirname;
    my $build = path($ENV{LINES_BUILD} || "$root/build")->to_abs;

    my $base  = $ENV{LINES_BASE} || 'trixie';

    $images = "$build/image" . ($base eq 'trixie' ? '' : "-$base");
    return $images if $ENV{LINES_ALONE};

    _skip('there are no images: make image') unless $ENV{LINES_IMAGE} || -d $images;

    my $said = qx(cd '$root' && sh docker/image.sh '$build' 2>&1);
    die "docker/image.sh: $said\n" if $?;

    return $images;
}

=head2 bridge

    Test::Lines::Container->bridge('172.28.7.1/24');

The network that containers with an C<address> are on; the test has this
address there.

=cut

my $bridge;

sub _run (@command) {
    system(@command) == 0 or croak "@command: $?";
}

sub bridge ($class, $address) {
    $bridge = $address;
    _run(qw(ip link add name lines0 type bridge));
    _run(qw(ip addr add), $address, qw(dev lines0));
    _run(qw(ip link set lines0 up));
}

=head2 start

Starts it. C<status> is its exit status once it has ended, as of L<Test::Lines::Process>.

=cut

sub _quoted (@words) { join ' ', map { "'" . s/'/'\\''/gr . "'" } @words }

# as the image's user, without any capability, and without a way to one; a change of user forgets what --kill-child asked for
sub _as_user ($self, $options, @command) {
    my ($user, $group) = split /:/, $self->config->{User} || '0:0';

    return (
        '/usr/bin/env', '-i', '-C', $self->config->{WorkingDir} || '/', 'HOME=/', @{$self->config->{Env} // []},
        'setpriv', "--reuid=$user", '--regid=' . ($group // $user), '--clear-groups', '--no-new-privs',
        '--bounding-set=-all', '--inh-caps=-all', @$options, '--', @command
    );
}

sub argv ($self) {
    my $config  = $self->config;
    my @command = @{$self->command_line // ($self->entrypoint ? [] : $config->{Cmd} // [])};

    return (@{$self->entrypoint // $config->{Entrypoint} // []}, @command);
}

sub _script ($self) {
    my $home  = $self->home;
    my $root  = $self->layout->child('root');
    my $all   = "$home/all";
    my $hosts = "127.0.0.1 localhost\n" . join '', map {"$self->{hosts}{$_} $_\n"} sort keys %{$self->hosts};

    my @lines = (
        'set -e',
        _quoted(qw(mkdir -p), map {"$home/$_"} qw(all upper work)),
        _quoted(qw(mount -t overlay overlay -o), "lowerdir=$root,upperdir=$home/upper,workdir=$home/work", $all)
    );

    write_file("$home/hosts", $hosts);

    for (["$home/hosts", '/etc/hosts', 'ro'], @{$self->mounts}) {
        my ($from, $to, $mode) = @$_;
        push @lines, -d $from ? _quoted(qw(mkdir -p), "$all$to") : (_quoted(qw(mkdir -p), path("$all$to")->dirname),
            _quoted('touch', "$all$to"));
        push @lines, _quoted(qw(mount --bind), $from, "$all$to");
        push @lines, _quoted(qw(mount -o remount,bind,ro), "$all$to") if ($mode // '') eq 'ro';
    }

    # a new volume is as the image's directory is
    for (@{$self->volumes}) {
        my ($name, $to, $mode) = @$_;
        my $from = path($self->dir, 'volumes', $name);

        if (!-d $from) {
            $from->dirname->make_path;
            -d "$root$to" ? _run('cp', '-a', "$root$to", "$from") : $from->make_path;
        }

        push @lines, _quoted(qw(mkdir -p), "$all$to"), _quoted(qw(mount --bind), $from, "$all$to");
        push @lines, _quoted(qw(mount -o remount,bind,ro), "$all$to") if ($mode // '') eq 'ro';
    }

    for (@{$self->tmpfs}) {
        my ($to, $options) = split /:/;
        push @lines, _quoted(qw(mkdir -p), "$all$to"),
          _quoted(qw(mount -t tmpfs -o), $options || 'mode=1777', 'tmpfs', "$all$to");
    }

    push @lines, _quoted(qw(mount -t proc proc), "$all/proc"),
      _quoted(qw(mount -t tmpfs -o mode=755 tmpfs), "$all/dev"),
      (map { (_quoted('touch', "$all/dev/$_"), _quoted(qw(mount --bind), "/dev/$_", "$all/dev/$_")) }
          qw(null zero full random urandom)),
      _quoted(qw(ln -s /proc/self/fd), "$all/dev/fd"),
      (map { _quoted(qw(ln -s), "/proc/self/fd/$_->[0]", "$all/dev/$_->[1]") } [0, 'stdin'], [1, 'stdout'], [2, 'stderr']),
      _quoted('mkdir', "$all/dev/shm"), _quoted(qw(mount -t tmpfs -o mode=1777 tmpfs), "$all/dev/shm");

    push @lines, _quoted(qw(mount -o remount,ro), $all) if $self->read_only;

    if ($self->_own_network) {
        push @lines, 'ip link set lo up';
        push @lines, 'while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done',
          _quoted(qw(ip addr add), $self->address . '/24', qw(dev eth0)), 'ip link set eth0 up',
          _quoted(qw(ip route add default via), $bridge =~ s{/.*}{}r)
          if $self->address;
    }

    push @lines, 'exec ' . _quoted('chroot', $all, $self->_as_user(['--pdeathsig=KILL'], $self->argv));

    return join "\n", @lines, '';
}

sub _own_network ($self) { $self->address || ($self->network // '') eq 'none' }

sub start ($self) {
    write_file($self->home . '/start.sh', $self->_script);

    # what an engine gives a container as its output belongs to its user
    write_file($self->log_file, '') unless -e $self->log_file;
    my ($user) = split /:/, $self->config->{User} || '0';
    chown $user, -1, $self->log_file;

    $self->command([
        'setpriv', '--pdeathsig', 'KILL', '--', Test::Lines::Process->program('unshare'),
        qw(--mount --pid --uts --ipc), ($self->_own_network ? '--net' : ()),
        qw(--fork --kill-child), 'sh', $self->home . '/start.sh'
    ]);
    $self->SUPER::start;

    if ($self->address) {
        state $n = 0;
        my $veth = 'lines' . ++$n;
        my $pid  = Test::Lines::wait_for(sub { $self->init }, 30, "the first process of $self->{name}");

        _run(qw(ip link add name), $veth, qw(type veth peer name eth0 netns), $pid);
        _run(qw(ip link set), $veth, qw(master lines0 up));
    }

    return $self;
}

=head2 init

The pid of its first process, as it is seen from outside.

=cut

sub init ($self) {
    return undef unless $self->alive;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $text = eval { path($stat)->slurp } // next;
        return $1 if $text =~ /^(\d+) \(.*\) \S (\d+) /s && $2 == $self->pid;
    }

    return undef;
}

sub pids ($self) {
    my %parent;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $text = eval { path($stat)->slurp } // next;
        $parent{$1} = $2 if $text =~ /^(\d+) \(.*\) \S (\d+) /s;
    }

    my %ours = map { $_ => 1 } $self->init // return;

    while (my @more = grep { !$ours{$_} && $ours{$parent{$_}} } keys %parent) { @ours{@more} = (1) x @more }

    return sort { $a <=> $b } keys %ours;
}

sub signal ($self, $signal) {
    my $pid = $self->init;
    CORE::kill $signal, $pid if $pid;
    return $self;
}

sub stop ($self, $seconds = 60) {
    return $self->status unless $self->alive;

    my $init = $self->init // return $self->kill;
    CORE::kill +($self->config->{StopSignal} || 'SIGTERM') =~ s/^SIG//r, $init;

    return $self->wait_end($seconds);
}

# with the first process goes all of its namespace
sub kill ($self) {
    my $init = $self->init;
    CORE::kill 'KILL', $init // $self->pid if $self->alive;
    return $self->wait_end;
}

=head2 exec

    my ($status, $output) = $container->exec(@command);

Runs a command in it, as C<docker exec> does: exit status, and stdout and stderr together.

=cut

sub exec ($self, @command) {
    my $init = $self->init // return (-1, 'it does not run');

    # its output, too, belongs to the user
    pipe my $out, my $in or die "pipe: $!\n";
    chown((split /:/, $self->config->{User} || '0')[0], -1, $in);

    my $pid = fork // die "fork: $!\n";

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        POSIX::dup2(fileno $in, $_) for 1, 2;
        { no warnings 'exec'; CORE::exec 'timeout', '60', 'nsenter', '--target', $init,
          qw(--mount --pid --net --uts --ipc --root --), $self->_as_user([], @command) }
        POSIX::_exit(127);
    }

    close $in;
    my $text = do { local $/; <$out> };
    waitpid $pid, 0;

    return ($? >> 8, $text // '');
}

=head2 healthy

Whether its healthcheck succeeds; in list context, what it printed, too. True
where there is none, as long as it runs.

=cut

sub healthy ($self) {
    my $check = $self->healthcheck // ($self->config->{Healthcheck} // {})->{Test} // ['NONE'];
    my ($kind, @command) = @$check;

    return $self->alive if $kind eq 'NONE';

    my ($status, $output) = $self->exec($kind eq 'CMD-SHELL' ? ('/bin/sh', '-c', @command) : @command);

    return wantarray ? ($status == 0, $output) : $status == 0;
}

# what Test::Lines->done fails a test for
sub complaints ($self) { grep {/\[(?:alert|emerg)\]/} split /\n/, $self->output }

1;
