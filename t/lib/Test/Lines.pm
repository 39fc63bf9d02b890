package Test::Lines;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use Cwd ();
use Exporter 'import';
use File::Basename qw(basename dirname);
use List::Util qw(any max min);
use Mojo::File qw(path);
use Mojo::IOLoop;
use Mojo::Promise;
use Mojo::Util;
use Test::Lines::Nginx;
use Test::Lines::Port;
use Test::Lines::Process;
use Test::Lines::Redis;
use Test::Lines::Upstream;
use Test::Lines::Util qw(write_file);
use Test::More ();
use Time::HiRes ();

our @EXPORT_OK = qw(wait_for concurrently);

=head1 NAME

Test::Lines - nginx with the module, Redis and all else that a test needs

=head1 SYNOPSIS

    use Mojo::Base -strict, -signatures;
    use FindBin;
    use lib "$FindBin::Bin/lib";
    use Test::More;
    use Test::Lines qw(wait_for concurrently);

    my $t     = Test::Lines->new;
    my $redis = $t->redis;
    my $nginx = $t->nginx(redis => $redis, workers => 2);
    my $key   = $nginx->workspace(one => {plan => 'growth'});

    my $answer = $nginx->get('/api/lines/by-user', $nginx->bearer($key));
    is $answer->status, 200, 'lines are listed' or diag $answer->to_string;

    my @answers = concurrently(200, sub ($i) {
        $nginx->post_json_p('/api/line-requests', {...}, $nginx->bearer($key));
    });

    $redis->pause;
    wait_for(sub { $nginx->get('/_lines/ready')->status == 503 }, 10, 'not ready');
    $redis->cont;

    $t->done;

=head1 DESCRIPTION

Everything is private to the test: free ports of 127.0.0.1, Unix sockets, a
directory of its own, C<< $t->dir >>. Processes are children of the test and
are killed by pid, whatever becomes of it.

C<done> ends them gracefully, fails the test for any process that is left
behind and for any alert, emergency or sanitizer line in nginx' error log
(except for those of processes that the test itself killed, and for those that
it C<allow>s), and then calls C<done_testing>. No test calls C<done_testing>
itself.

=head1 ENVIRONMENT

C<make test> sets these; by hand, C<LINES_MODULE> defaults to the gcc release
build of C<make>.

=over

=item LINES_MODULE, LINES_MODULE_FAILPOINTS

The .so to test, and the one with failpoints.

=item LINES_NGINX

The nginx to test with, for which the module must have been built: C<make
test-nginx>. The default is the one in PATH.

=item LINES_PRELOAD

The sanitizer's runtime, preloaded into nginx.

=item LINES_TEST_REDIS

C<cluster>, C<sentinel> or C<tls>: each Redis that a test asks for is of that
kind. A test that can have one Redis only says so by L<Test::Lines::Once>.

=item LINES_VALGRIND

1 runs nginx under valgrind.

=item LINES_BUILD

Where the directories of the tests are made: C<$LINES_BUILD/t/NAME-PID>. The
directory of a test that passes is removed, unless LINES_KEEP is set.

=item LINES_SLOW

A factor for all time limits. Sanitizers set 3, valgrind 10.

=back

=head1 METHODS

=head2 new

    my $t = Test::Lines->new;
    my $t = Test::Lines->new(timeout => 600);

The timeout (default 300 s, times C<slow>) kills the whole test.

=cut

has root    => sub { Cwd::abs_path(dirname(__FILE__) . '/../../..') };
has build   => sub ($self) { path($ENV{LINES_BUILD} || $self->root . '/build')->to_abs };
has timeout => 300;
has slow    => sub { $ENV{LINES_SLOW} || ($ENV{LINES_VALGRIND} ? 10 : $ENV{LINES_PRELOAD} ? 3 : 1) };
has name    => sub { basename($0, '.t') };
has owner   => sub {$$};

my @open;

sub new {
    my $self = shift->SUPER::new(@_);

    $self->owner;
    $self->{parts}      = [];
    $self->{complaints} = [];
    $ENV{LINES_SLOW}    = $self->slow;
    $ENV{LINES_MODULE} //= $self->build . '/gcc/ngx_http_lines_module.so';

    for (qw(LINES_MODULE LINES_MODULE_FAILPOINTS)) {
        $ENV{$_} = path($ENV{$_})->to_abs->to_string if length($ENV{$_} // '');
    }

    # a name alone is looked for in PATH
    $ENV{LINES_NGINX} = path($ENV{LINES_NGINX})->to_abs->to_string if ($ENV{LINES_NGINX} // '') =~ m{/};

    $self->dir;
    push @open, $self;

    $SIG{ALRM} = sub {
        Test::More::diag('timed out after ' . $self->timeout * $self->slow . ' s: ' . Carp::longmess());
        $_->_kill_all for grep { $_->owner == $$ } @open;
        Test::More::BAIL_OUT('timeout') if $ENV{LINES_BAIL};
        POSIX::_exit(124);
    };
    alarm $self->timeout * $self->slow;

    return $self;
}

=head2 dir

The test's directory, absolute.

=cut

# a Unix socket's path has 107 characters at most
has dir => sub ($self) {
    my $dir = path($self->build, 't', $self->name . '-' . $self->owner);
    $dir = path('/tmp', 'lines-' . substr($self->name, 0, 20) . '-' . $self->owner) if length "$dir" > 80;
    $dir->remove_tree->make_path;
    return Cwd::abs_path("$dir");
};

sub _part ($self, $part) {
    push @{$self->{parts}}, $part;
    return $part;
}

sub _name ($self, $kind) {
    my $n = ++$self->{count}{$kind};
    return $n == 1 ? $kind : "$kind$n";
}

=head2 redis

A running L<Test::Lines::Redis>, or what stands for one where LINES_TEST_REDIS
is C<cluster>, C<sentinel> or C<tls>. C<< start => 0 >> leaves it for later;
C<< kind => 'plain' >> is for who needs a server and no other, as is a C<conf>
that makes it a part of something.

=cut

my %kinds = (cluster => 'Cluster', sentinel => 'Sentinel', tls => 'Tls');

sub _redis_class ($self, $kind, %options) {
    $kind //= 'plain' if $options{args} || ($options{conf} // '') =~ /^(?:cluster-enabled|replicaof|tls-port|port|bind) /m;
    $kind //= $ENV{LINES_TEST_REDIS} || 'plain';

    return 'Test::Lines::Redis' if $kind eq 'plain';

    my $class = 'Test::Lines::Redis::' . ($kinds{$kind} // croak "LINES_TEST_REDIS: no \"$kind\", but cluster, sentinel, tls");
    eval "require $class; 1" or croak $@;

    return $class;
}

sub redis ($self, %options) {
    my $start = delete $options{start} // 1;
    my $name  = delete $options{name}  // $self->_name('redis');

    my $class = $self->_redis_class(delete $options{kind}, %options);

    my $redis = $self->_part($class->new(
        name   => $name,
        dir    => $self->dir,
        port   => Test::Lines::Port::free_port(),
        socket => $self->dir . "/$name.sock",
        $class->can('t') ? (t => $self) : (),
        %options
    ));

    $self->_part($_) for $redis->companions;

    return $start ? $redis->start : $redis;
}

=head2 nginx

A running L<Test::Lines::Nginx>; its options are described there. C<start> is 0
to leave it for later.

=cut

sub nginx ($self, %options) {
    my $start = delete $options{start} // 1;

    my $nginx = $self->_part(Test::Lines::Nginx->new(
        t    => $self,
        name => delete $options{name} // $self->_name('nginx'),
        %options
    ));

    return $start ? $nginx->start : $nginx;
}

=head2 test_config

    my ($code, $output) = $t->test_config(http => 'lines_redis gopher://x;');

What C<nginx -t> says of a configuration, with the options of C<nginx>.

=cut

sub test_config ($self, %options) {
    state $n = 0;

    my $option = delete $options{option} // '-t';
    my $nginx  = Test::Lines::Nginx->new(t => $self, name => 'config' . ++$n, %options);

    return $nginx->test_config($option);
}

=head2 load_modules

    my $main = $t->load_modules('ndk_http_module', 'ngx_http_lua_module');

What loads other modules, of Debian's packages; undef where they are not here, or
are for another nginx than the one under test.

=cut

sub load_modules ($self, @names) {
    my @files = map { my $name = $_; grep {-e} map {"$_/nginx/modules/$name.so"} '/usr/lib', '/usr/lib64' } @names;
    return undef if @files < @names;

    my $text = join '', map {"load_module $_;\n"} @files;
    my ($code, $said) = $self->test_config(main => $text);
    return $said =~ /version \d+ instead of|is not binary compatible/ ? undef : $text;
}

=head2 upstream

A running L<Test::Lines::Upstream>.

=cut

sub upstream ($self, %options) {
    my $upstream = $self->_part(Test::Lines::Upstream->new(
        t       => $self,
        name    => delete $options{name} // $self->_name('upstream'),
        dir     => $self->dir,
        handler => delete $options{handler},
        tls     => delete $options{tls},
        port    => delete $options{port}
    ));

    return $upstream->reset(%options)->start;
}

=head2 sandbox, prism, wire, way, strange

    my $sandbox = $t->sandbox(%options);

The billing sandbox (Test::Lines::Sandbox), a Prism in front of it
(Test::Lines::Prism), what holds or loses what a node and Redis say
(Test::Lines::Wire), and ways to servers that are late, or parted
(Test::Lines::Way), each made by C<< CLASS->new(t => $t, %options) >> and
started by its C<start>, which returns the object.

=cut

sub sandbox ($self, %options) { $self->_plugin('Test::Lines::Sandbox', %options) }
sub prism   ($self, %options) { $self->_plugin('Test::Lines::Prism',   %options) }

sub wire ($self, %options) {
    return $self->_plugin('Test::Lines::Wire', dir => $self->dir, name => $self->_name('wire'), %options);
}

sub way ($self, %options) {
    return $self->_plugin('Test::Lines::Way', dir => $self->dir, name => $self->_name('way'), %options);
}

sub strange ($self, %options) {
    return $self->_plugin('Test::Lines::Redis::Strange', dir => $self->dir, name => $self->_name('strange'), %options);
}

sub _plugin ($self, $class, %options) {
    eval "require $class; 1" or croak $@;
    return $self->_part($class->new(t => $self, %options))->start;
}

=head2 spawn

    my $process = $t->spawn(name => ['program', @arguments], env => {A => 1});

A running L<Test::Lines::Process>.

=cut

sub spawn ($self, $name, $command, %options) {
    return $self->_part(Test::Lines::Process->new(
        name    => $name,
        command => $command,
        dir     => $self->dir,
        %options
    ))->start;
}

=head2 free_port

A port for a server of the test's own.

=cut

sub free_port ($self) { Test::Lines::Port::free_port() }

=head2 file

    my $path = $t->file('name.pem', $content);

A file in the test's directory, readable by its owner only.

=cut

sub file ($self, $name, $content) {
    my $file = path($self->dir, $name);
    $file->dirname->make_path;
    write_file($file, $content);
    chmod 0600, $file;
    return "$file";
}

=head2 admin_token, read_token, admin_token_file

The operators' tokens, made anew for each test: of C<ops>, who may all, and of
C<watch>, who may read.

=cut

has read_token => sub { Mojo::Util::sha1_sum(rand . $$ . 'read') };

has admin_token => sub { Mojo::Util::sha1_sum(rand . $$ . Time::HiRes::time()) };

has admin_token_file => sub ($self) { $self->file('admin.token', "ops all @{[$self->admin_token]}\nwatch read @{[$self->read_token]}\n") };

=head2 wait_for

    my $value = wait_for(sub { ... }, $seconds, 'what');

Polls until the code returns something true, and returns that. Dies naming
C<what> when it takes longer, times C<slow>. Servers on the test's own event
loop go on being served meanwhile. A function and a method.

=cut

sub wait_for {
    shift if ref $_[0] && ref $_[0] ne 'CODE';
    my ($code, $seconds, $what) = @_;

    my $begin = Time::HiRes::time();
    my $end   = $begin + ($seconds // 30) * ($ENV{LINES_SLOW} || 1);

    while (1) {
        my $value = $code->();
        return $value if $value;

        my $now = Time::HiRes::time();
        croak 'waited in vain for ' . ($what // 'it') if $now > $end;

        # the longer it takes, the less often is asked: what asks is most of what a busy machine does
        my $timer = Mojo::IOLoop->timer(max(0.005, min(0.1, ($now - $begin) / 8)) => sub { });
        Mojo::IOLoop->one_tick;
        Mojo::IOLoop->remove($timer);
    }
}

=head2 concurrently

    my @answers = concurrently($count, sub ($i) { $nginx->get_p(...) });
    my @answers = concurrently($count, $code, $limit);

Calls the code C<$count> times, with at most C<$limit> (default 200) of the
promises that it returns under way at once, and returns their results in
order. A promise that is rejected dies. A function and a method.

=cut

sub concurrently {
    shift if ref $_[0] && ref $_[0] ne 'CODE';
    my ($count, $code, $limit) = @_;

    my ($next, $running, $error, @results) = (0, 0);
    $limit //= 200;

    my $all = Mojo::Promise->new;
    my $more;

    $more = sub {
        while (!$error && $next < $count && $running < $limit) {
            my $i       = $next++;
            my $promise = eval { $code->($i) };

            if (!ref $promise) {
                $error = $@ || "call $i returned no promise";
                last;
            }

            $running++;
            $promise->then(
                sub { $results[$i] = $_[0] },
                sub { $error //= $_[0] || 'rejected' }
            )->finally(sub { $running--; $more->() });
        }

        $all->resolve if !$running && ($error || $next >= $count);
    };

    $more->();
    $all->wait;
    undef $more;

    croak $error if $error;

    return @results;
}

=head2 processes, is_ours

The processes of this test that are there now, whoever started them.

=cut

sub processes ($self) {
    my $dir = $self->dir;
    my @found;

    for my $proc (glob '/proc/[0-9]*') {
        my $pid = substr $proc, 6;
        next if $pid == $$;

        my $cwd = readlink "$proc/cwd" // next;
        next unless $cwd =~ m{^\Q$dir\E(?:/|$| \(deleted\)$)};

        my $stat  = eval { path("$proc/stat")->slurp }    // next;
        my $title = eval { path("$proc/cmdline")->slurp } // '';
        my ($state, $ppid) = $stat =~ /\) (\S) (\d+)/ or next;
        next if $state eq 'Z';

        $title =~ s/\0+$//;
        $title =~ tr/\0/ /;
        push @found, {pid => $pid, ppid => $ppid, title => $title};
    }

    return \@found;
}

sub is_ours ($self, $pid) {
    $pid = $pid->{pid} if ref $pid;
    return any { $_->{pid} == $pid } @{$self->processes};
}

=head2 skip_all

    $t->skip_all('why');

Ends a test that cannot run here, and says so.

=cut

sub skip_all ($self, $why) {
    $self->_stop_all;
    $self->_kill_all;
    @open = grep { $_ != $self } @open;
    path($self->dir)->remove_tree;
    Test::More::plan(skip_all => $why);
}

# something that done() will fail the test for
sub complain ($self, $what) {
    push @{$self->{complaints}}, $what;
    return $self;
}

=head2 done

The end of a test: see above.

=cut

sub done ($self) {
    $self->_stop_all;

    my @complaints = @{$self->{complaints}};

    for my $part (@{$self->{parts}}) {
        next unless $part->can('complaints');
        my @lines = $part->complaints;
        splice @lines, 20 if @lines > 20;
        push @complaints, map { $part->name . ": $_" } @lines;
    }

    for my $left (@{$self->processes}) {
        push @complaints, "process $left->{pid} is left: $left->{title}";
    }

    Test::More::ok(!@complaints, 'nothing in the logs, nothing left behind');
    Test::More::diag($_) for @complaints;

    alarm 0;
    @open = grep { $_ != $self } @open;
    $self->_kill_all;

    Test::More::done_testing();

    if (Test::More->builder->is_passing && !$ENV{LINES_KEEP}) {
        path($self->dir)->remove_tree;
    }
    else {
        Test::More::diag('see ' . $self->dir) unless Test::More->builder->is_passing;
    }
}

# in the reverse order of their start: what uses others ends before them
sub _stop_all ($self) {
    for my $part (reverse @{$self->{parts}}) {
        if ($part->can('quit')) { $part->quit; next }

        my $runs = $part->can('alive') && $part->alive;
        my $end  = $part->stop;
        $self->complain($part->name . ' did not end, and was killed') if $runs && !defined $end;
    }
}

sub _kill_all ($self) {
    for (1 .. 5) {
        my @left = @{$self->processes} or last;
        kill 'KILL', map { $_->{pid} } @left;
        Time::HiRes::sleep(0.05);
    }

    for my $part (@{$self->{parts}}) {
        $part->alive if $part->can('alive');
    }
}

END {
    my $code = $?;

    for my $self (grep { $_->owner == $$ } @open) {
        Test::More::diag("the test ended without done(): see " . $self->dir);
        $self->_kill_all;
        $code ||= 1;
    }

    $? = $code;
}

1;
