package Test::Lines::Nginx;
use Mojo::Base 'Test::Lines::Client', -signatures;

use Carp qw(croak);
use IO::Socket::INET;
use List::Util qw(any);
use Mojo::File qw(path);
use Test::Lines::Port;
use Test::Lines::Process;
use Test::Lines::Unit;
use Test::Lines::Util qw(write_file);
use Time::HiRes ();

=head1 NAME

Test::Lines::Nginx - an nginx of a test's own, with the module loaded

=head1 SYNOPSIS

    my $redis = $t->redis;
    my $nginx = $t->nginx(redis => $redis, workers => 2);

    my $key    = $nginx->workspace(one => {plan => 'growth'});
    my $answer = $nginx->post_json('/api/line-requests', {...}, $nginx->bearer($key));

    my $bare = $t->nginx(name => 'bare', http => 'lines_zone z:1m;',
        server => 'location / { return 204; }');

=head1 DESCRIPTION

Is a L<Test::Lines::Client> of itself. Options of L<Test::Lines/nginx>:

=over

=item name

Of the instance, default "nginx", "nginx2", ...; its files lie in a directory
of that name.

=item before, main, events, http, server

Text for each level of the configuration. C<server> goes into the block of the
one server that listens on C<port>; further servers go into C<http>. C<before>
comes before the module is loaded, C<main> after that.

=item redis

A L<Test::Lines::Redis>, or a URL: writes the standard configuration
(C<lines_zone>, C<lines_redis>, the plans of the seed, C</api/>, C</accounts/>,
C</_lines/admin/>, C</_lines/ready>), so far as the module knows the
directives. C<redis_options> ("timeout=300ms") follow the URL; C<limits>, the
same, is a store of limits alone, C<limits_options> follow its URL; C<plans>
replaces the plans; C<zone> the zone ("lines:4m"); C<api> options of the API
locations; C<concurrency> the C<lines_concurrency> of all, which is many, as
tests ask more at once than a tenant may: '' for the module's own default.

=item workers, connections, debug, module, listen, h2

Worker processes (1) and connections of each (1000); C<debug> writes the debug
log; C<module> is the .so ("failpoints" for the one with failpoints); C<listen>
adds parameters to the listen directive; C<h2> opens a second port for
HTTP/2, C<h2_port>.

=item binary

Another nginx than LINES_NGINX; with C<< module => '' >> one that the module is
built into.

=item clock

A file: its first eight bytes are the seconds by which the clock of this nginx
is ahead, which C<< $nginx->ahead($seconds) >> sets, also while it runs.

=item start

0 to write the configuration without starting.

=back

=cut

has [qw(t name home process port h2_port)];
has host        => '127.0.0.1';
has workers     => 1;
has connections => 1000;
has allowed     => sub { [] };
has killed      => sub { {} };
has [qw(before main events http server redis)] => '';
has [qw(redis_options limits limits_options listen api h2)] => ''; has debug => sub { $ENV{LINES_DEBUG} // '' };
has binary  => \&_under_test;
has clock   => '';
has module  => sub { $ENV{LINES_MODULE} };
has zone    => 'lines:4m';
has concurrency => 'lines_concurrency tenant=10000;';
has plans   => <<'END';
lines_plan mini    email included=1 price=price_email;
lines_plan starter phone included=1;
lines_plan starter email price=price_email;
lines_plan growth  phone included=2 price=price_phone;
lines_plan growth  email price=price_email;
END

sub conf_file  ($self) { path($self->home, 'nginx.conf') }
sub error_file ($self) { path($self->home, 'error.log') }

=head2 error_log

    my $text = $nginx->error_log;
    my $mark = $nginx->log_mark;
    my $text = $nginx->error_log($mark);      # what has come since
    $nginx->wait_log(qr/.../, $mark);

=cut

sub error_log ($self, $mark = 0) {
    return '' unless -e $self->error_file;
    return substr $self->error_file->slurp, $mark;
}

sub log_mark ($self) { -s $self->error_file // 0 }

sub wait_log ($self, $pattern, $mark = 0, $seconds = 30) {
    $self->t->wait_for(sub { $self->error_log($mark) =~ $pattern }, $seconds, "$pattern in error.log");
    return $self;
}

sub access_log ($self) {
    my $file = path($self->home, 'access.log');
    return -e $file ? $file->slurp : '';
}

=head2 configuration

The text of nginx.conf. C<write> writes it; change C<http>, C<server> and so on
first, and C<reload> writes it too.

=cut

sub _standard_http ($self) {
    return '' unless $self->redis;

    my ($url, $limits) = map { ref ? join ' ', $_->url, $_->can('options') ? $_->options : () : $_ } $self->redis, $self->limits;

    # who has more to say to each other, and more processes besides, takes longer on a busy machine
    $url .= ' connect_timeout=5s' if $ENV{LINES_TEST_REDIS} && ref $self->redis && $self->redis_options !~ /connect_timeout=/;

    my $text = '    lines_zone ' . $self->zone . ";\n"
      . "    lines_redis $url " . $self->redis_options . ";\n"
      . $self->plans;

    $text .= "    lines_redis limits $limits " . $self->limits_options . ";\n" if $limits;

    $text .= '    ' . $self->concurrency . "\n" if $self->knows('lines_concurrency');

    return $text;
}

sub _standard_server ($self) {
    return '' unless $self->redis;

    my $token = $self->t->admin_token_file;
    my $api   = $self->api;
    my $text  = <<"END";
        location /api/ { lines_workspace_api; $api }
        location /_lines/admin/ { lines_admin token_file=$token; allow 127.0.0.1; deny all; }
        location = /_lines/ready { lines_ready; }
END

    $text .= "        location /accounts/ { lines_account_api; $api }\n" if $self->knows('lines_account_api');
    $text .= "        location = /_lines/metrics { lines_metrics; }\n"   if $self->knows('lines_metrics');

    return $text;
}

# whether the module under test has a directive
sub knows ($self, $directive) {
    state %text;

    my $file = $self->module_file || $self->binary;
    $text{$file} //= path($file)->slurp;

    return index($text{$file}, "\0$directive\0") >= 0;
}

sub module_file ($self) {
    my $module = $self->module // '';

    return '' if $module eq '' && $self->binary ne _under_test();

    $module = $ENV{LINES_MODULE_FAILPOINTS} // '' if $module eq 'failpoints';
    croak 'no module to test: see LINES_MODULE in Test::Lines' unless length $module && -e $module;

    return $module;
}

sub configuration ($self) {
    my $home   = $self->home;
    my $user   = $> == 0 ? "user root root;\n" : '';
    my $level  = $self->debug ? 'debug' : 'info';
    my $module = $self->module_file;
    my $load   = $module && "load_module $module;";
    my $h2     = $self->h2 ? $self->listen_h2("127.0.0.1:$self->{h2_port}") : '';

    return <<"END";
$self->{before}${user}$load
worker_processes $self->{workers};
daemon off;
pid $home/nginx.pid;
lock_file $home/nginx.lock;
error_log $home/error.log $level;
$self->{main}
events {
    worker_connections $self->{connections};
    $self->{events}
}

http {
    access_log $home/access.log;
    client_body_temp_path $home/body;
    proxy_temp_path $home/proxy;
    fastcgi_temp_path $home/fastcgi;
    uwsgi_temp_path $home/uwsgi;
    scgi_temp_path $home/scgi;
@{[$self->_standard_http]}
$self->{http}

    server {
        listen 127.0.0.1:$self->{port} $self->{listen};
        $h2
@{[$self->_standard_server]}
$self->{server}
    }
}
END
}

=head2 version, listen_h2

    my $number = $nginx->version;                      # 1.022001
    my $text   = $nginx->listen_h2('127.0.0.1:8080');

What C<nginx -v> says, and how this version is told to speak HTTP/2 at an
address of a server.  Of the class, they are those of the nginx under test.

=cut

sub _under_test ($=) { $ENV{LINES_NGINX} || 'nginx' }

sub version ($self) {
    state %version;

    my $binary = ref $self ? $self->binary : _under_test();

    return $version{$binary} //= do {
        my @numbers = qx{\Q$binary\E -v 2>&1} =~ m{nginx/(\d+)\.(\d+)\.(\d+)} or croak "$binary is no nginx";
        sprintf '%d.%03d%03d', @numbers;
    };
}

sub listen_h2 ($self, $address) {
    return $self->version < 1.025001 ? "listen $address http2;" : "listen $address; http2 on;";
}

sub new {
    my $self = shift->SUPER::new(@_);

    $self->$_ for qw(workers connections before main events http server listen);
    $self->{port}    //= Test::Lines::Port::free_port();
    $self->{h2_port} //= Test::Lines::Port::free_port() if $self->h2;
    $self->home(path($self->t->dir, $self->name)->make_path);

    return $self;
}

sub write ($self) {
    write_file($self->conf_file, $self->configuration);
    return $self;
}

sub _command ($self, @args) {
    my @command = ($self->binary, '-e', $self->error_file, '-p', $self->home . '/', '-c', $self->conf_file, @args);

    return @command unless $ENV{LINES_VALGRIND};

    my @suppressions = map {"--suppressions=$_"} glob $self->t->root . "/t/lib/*.supp";

    return (
        'valgrind', '-q', '--leak-check=full', '--show-leak-kinds=definite',
        '--errors-for-leak-kinds=definite', '--num-callers=30', '--gen-suppressions=all',
        "--log-file=$self->{home}/valgrind.%p", @suppressions,
        Test::Lines::Process->program(shift @command), @command
    );
}

sub _env ($self) {
    my %env;

    if (my $preload = !$ENV{LINES_VALGRIND} && $ENV{LINES_PRELOAD}) {
        my $common = "log_path=$self->{home}/sanitizer:print_stacktrace=1";

        # what nginx itself leaves allocated at its end is no concern of the
        # module; valgrind, which can tell the two apart, looks for leaks
        $env{ASAN_OPTIONS}  = "$common:detect_leaks=0:detect_stack_use_after_return=1";
        $env{UBSAN_OPTIONS} = $common;
        $env{LD_PRELOAD}    = $preload;
    }

    if (length $self->clock) {
        $env{LINES_SIM_OFF} = $self->clock;
        $env{LD_PRELOAD} = join ':', grep {length} $env{LD_PRELOAD} // '', Test::Lines::Unit::make_unit('t/sim', 0, 'clock') . '/clock.so';
    }

    return \%env;
}

=head2 test_config

    my ($code, $output) = $nginx->test_config;

What C<nginx -t> says of the configuration; C<test_config('-T')> dumps it too.

=cut

sub test_config ($self, $option = '-t') {
    $self->write;

    my $run = Test::Lines::Process->new(
        name    => $self->name . '-test',
        dir     => $self->t->dir,
        command => [$self->_command($option)],
        env     => $self->_env
    );

    write_file($run->log_file, '');

    # the last -e wins nothing here: errors of -t go to stderr besides
    my $status = $run->start->wait_end(60 * $self->t->slow);

    return (defined $status ? $status >> 8 || $status & 127 : -1, $run->output);
}

=head2 ahead

    $nginx->ahead(-3600);

Sets the clock of an nginx that has a C<clock>. What maps a file sees what is written over it.

=cut

sub ahead ($self, $seconds) {
    open my $file, -e $self->clock ? '+<' : '>', $self->clock or croak $self->clock . ": $!";
    syswrite $file, pack 'q', $seconds;
    return $self;
}

=head2 start, quit, stop, crash, alive

C<quit> ends gracefully, as at a rolling update, C<stop> at once (SIGTERM),
C<crash> kills master and workers with SIGKILL. After each, C<start> brings it
back on the same port.

=cut

sub start ($self) {
    $self->write;

    $self->process(Test::Lines::Process->new(
        name        => $self->name,
        dir         => $self->t->dir,
        command     => [$self->_command],
        env         => $self->_env,
        stop_signal => 'QUIT'
    )) unless $self->process;

    $self->process->start;

    $self->t->wait_for(
        sub {
            croak "nginx $self->{name} does not start: " . $self->process->output . $self->error_log
              unless $self->process->alive;
            return 0 if $self->pids < $self->workers;
            return IO::Socket::INET->new(PeerAddr => $self->host, PeerPort => $self->port, Timeout => 5);
        },
        60,
        "nginx $self->{name} to be ready"
    );

    return $self;
}

# a master that is gone is better said at once than after a time limit
sub _must_live ($self) {
    return $self if $self->alive;
    croak "nginx $self->{name} is gone:\n" . join "\n", $self->process->output, $self->complaints;
}

sub alive ($self) { $self->process && $self->process->alive }

sub quit ($self, $seconds = 60) {
    return $self unless $self->alive;

    my @workers = $self->children_pids;
    my $end     = $self->process->stop($seconds * $self->t->slow);

    $self->t->complain("nginx $self->{name} did not quit within $seconds s") unless defined $end;
    $self->_kill_left(@workers);

    return $self;
}

sub stop ($self) {
    return $self unless $self->alive;

    my @workers = $self->children_pids;
    $self->process->signal('TERM')->wait_end(30 * $self->t->slow);
    $self->_kill_left(@workers);

    return $self;
}

sub crash ($self) {
    return $self unless $self->alive;

    my @workers = $self->children_pids;

    # the master first, so that it neither logs nor replaces the workers
    $self->process->kill;
    $self->_kill_left(@workers);

    return $self;
}

sub _kill_left ($self, @pids) {
    CORE::kill 'KILL', grep { $self->t->is_ours($_) } @pids;

    $self->t->wait_for(sub { !any { $self->t->is_ours($_) } @pids }, 30, 'workers to end');
}

=head2 pids, master

    my @pids = $nginx->pids;

The workers that are in service, those that are shutting down left out;
C<children_pids> has these too.

=cut

sub master ($self) { $self->process->pid }

sub children ($self) {
    my @children = grep { $_->{ppid} == $self->master } @{$self->t->processes};
    return @children;
}

sub children_pids ($self) { map { $_->{pid} } $self->children }

sub pids ($self) {
    my $valgrind = $ENV{LINES_VALGRIND};

    my @pids = map { $_->{pid} }
      grep { $valgrind || $_->{title} =~ /^nginx: worker process\s*$/ } $self->children;

    @pids = sort { $a <=> $b } @pids;

    return @pids;
}

=head2 wait_redis

Waits until each worker has its Redis, for a while: that one says it is ready
tells nothing of the others.

=cut

sub wait_redis ($self, $seconds = 60) {
    my $calm = 0;

    $self->t->wait_for(
        sub {
            my ($have) = $self->get('/_lines/metrics')->body =~ /^lines_redis_connected_workers (\d+)$/m;
            $calm = ($have // 0) == $self->workers ? $calm + 1 : 0;
            return $calm >= 10;
        },
        $seconds,
        "Redis for all workers of $self->{name}"
    );

    return $self;
}

=head2 reload

    $nginx->reload;
    $nginx->reload(wait_old => 1);

Writes the configuration, sends SIGHUP and waits until new workers have taken
over, with C<wait_old> until the old ones are gone, too.

=cut

sub reload ($self, %options) {
    my %old  = map { $_ => 1 } $self->children_pids;
    my $mark = $self->log_mark;

    $self->write;
    $self->process->signal('HUP');

    $self->t->wait_for(
        sub {
            croak "reload of $self->{name} failed: " . $self->error_log($mark)
              if $self->error_log($mark) =~ /\[emerg\]/;
            $self->_must_live;

            # the old ones know that they are to end: else one of them might
            # be taken for a worker in service
            my @pids = $self->pids;
            return @pids >= $self->workers && !any { $old{$_} } @pids;
        },
        60,
        "new workers of $self->{name}"
    );

    $self->wait_old(\%old) if $options{wait_old};

    return $self;
}

sub wait_old ($self, $old) {
    $self->t->wait_for(sub { !any { $old->{$_} } $self->children_pids }, 120,
        "old workers of $self->{name} to end");
}

=head2 kill_worker

    my $pid = $nginx->kill_worker;
    my $pid = $nginx->kill_worker($pid, 'SEGV');

Kills a worker (the first one) and waits until another has taken its place.
The master's alert about this worker is no failure of the test.

=cut

sub kill_worker ($self, $pid = undef, $signal = 'KILL') {
    my @before = $self->pids;
    my %known  = map { $_ => 1 } @before;

    $pid //= $before[0] // croak "nginx $self->{name} has no worker";
    $self->killed->{$pid} = 1;
    CORE::kill $signal, $pid;

    $self->t->wait_for(
        sub {
            my @now = $self->_must_live->pids;
            return 0 if any { $_ == $pid } @now;

            # nobody takes the place of one that a reload was about to end
            return (any { !$known{$_} } @now) || (@before > $self->workers && @now >= $self->workers);
        },
        60,
        "another worker of $self->{name}"
    );

    return $pid;
}

=head2 allow

    $nginx->allow(qr/\[alert\].*is stuck/);

Lines of the error log that the test means to provoke.

=cut

sub allow ($self, @patterns) {
    push @{$self->allowed}, @patterns;
    return $self;
}

=head2 complaints

Lines of the error log, of stderr, of the sanitizers and of valgrind that no
healthy module writes.

=cut

sub complaints ($self) {
    my @lines = grep {
        /\[(?:alert|emerg)\]|AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|double free|corrupt/
    } split /\n/, $self->error_log . ($self->process ? $self->process->output : '');

    @lines = grep {
        my $line = $_;
        !($line =~ /process (\d+) exited on signal 9\b/ && $self->killed->{$1})
          && !any { $line =~ $_ } @{$self->allowed}
    } @lines;

    for my $file (glob "$self->{home}/sanitizer.* $self->{home}/valgrind.*") {
        my $text = path($file)->slurp;
        push @lines, path($file)->basename . ":\n" . substr($text, 0, 8000) if $text =~ /\S/;
    }

    return @lines;
}

=head2 admin

    my $answer = $nginx->admin(PUT => 'workspaces/one', {plan => 'growth'});

A call of the admin API, with the operator's token.

=head2 workspace, account

    my $key = $nginx->workspace(one => {plan => 'growth', subscription => 'active'});
    my ($id, $secret) = $nginx->account(one => {plan => 'inbound_only'});

Makes a tenant with a new credential; C<< $nginx->bearer($key) >> and
C<< $nginx->pair($id, $secret) >> are its headers. A workspace is active unless
something else is said.

=cut

sub admin ($self, $method, $path, $data = undef) {
    return $self->request(
        $method => "/_lines/admin/$path",
        {
            Authorization => 'Bearer ' . $self->t->admin_token,
            (defined $data ? ('Content-Type' => 'application/json') : ())
        },
        defined $data ? Mojo::JSON::encode_json($data) : undef
    );
}

sub _made ($self, @call) {
    my $answer = $self->admin(@call);

    croak "$call[0] $call[1]: " . $answer->to_string unless $answer->status =~ /^20[01]$/;

    return $answer->json;
}

sub workspace ($self, $id, $data = {}) {
    $self->_made(PUT => "workspaces/$id", {plan => 'growth', subscription => 'active', %$data});
    return $self->_made(POST => "workspaces/$id/keys", {})->{key};
}

sub account ($self, $id, $data = {}) {
    $self->_made(PUT => "accounts/$id", {plan => 'inbound_only', %$data});
    return @{$self->_made(POST => "accounts/$id/keys", {})}{qw(key_id secret)};
}

sub bearer ($self, $key, %headers) { return {Authorization => "Bearer $key", %headers} }

sub pair ($self, $id, $secret, %headers) {
    return {'sb-api-key-id' => $id, 'sb-api-secret-key' => $secret, %headers};
}

1;
