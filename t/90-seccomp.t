# The seccomp profile of the containers: nginx with the module does all that it does under it, and what it never does is
# refused. Here the kernel's own filter is made of it (t/unit/confine.c), as an engine would.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'the profile is for no sanitizer';
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use Test::Lines qw(wait_for);
use Test::Lines::Client;
use Test::Lines::Process;
use Test::Lines::Tls;

plan skip_all => 'only root can run it as another user' if $> != 0;

my $t       = Test::Lines->new;
my $root    = $t->root;
my $profile = decode_json(path("$root/docker/seccomp.json")->slurp);
my $cc      = $ENV{CC} || 'cc';
my $user    = '33:33';

# the calls of an architecture by their names
sub numbers ($include, @want) {
    my $text = qx{$cc -E -dM @{[map {"-D__ARCH_WANT_$_"} @want]} -include $include -x c /dev/null 2> /dev/null};
    my %value = $text =~ /^#define (__NR3264_\w+|__NR_\w+) (\w+)$/mg;
    my $number = sub ($value) { $value = $value{$value} while defined $value && $value =~ /\D/; $value };
    return {map { /^__NR_(\w+)/ && defined $number->($value{$_}) ? ($1 => $number->($value{$_})) : () } keys %value};
}

my $here  = numbers('sys/syscall.h');
my %known = ('x86-64' => numbers('asm/unistd_64.h'), arm64 => numbers('asm-generic/unistd.h', qw(RENAMEAT NEW_STAT SET_GET_RLIMIT SYS_CLONE3)));
my %name = reverse %$here;

subtest 'its form' => sub {
    is_deeply [sort keys %$profile], [qw(archMap defaultAction defaultErrnoRet syscalls)], 'its members';
    is $profile->{defaultAction}, 'SCMP_ACT_ERRNO', 'what it does not name is refused';
    is $profile->{defaultErrnoRet}, 1, '... with EPERM';
    is_deeply [map { $_->{architecture} } @{$profile->{archMap}}], [qw(SCMP_ARCH_X86_64 SCMP_ARCH_AARCH64)], 'its architectures';
    is_deeply [map { @{$_->{subArchitectures}} } @{$profile->{archMap}}], [], '... without those of 32 bits';

    my (%seen, @wrong);
    for my $rule (@{$profile->{syscalls}}) {
        push @wrong, grep { !/^(?:names|action|args|comment|errnoRet)$/ } keys %$rule;
        push @wrong, $rule->{action} unless $rule->{action} eq 'SCMP_ACT_ALLOW' || ($rule->{action} eq 'SCMP_ACT_ERRNO' && $rule->{errnoRet});
        push @wrong, map { $_->{op} } grep { $_->{op} !~ /^SCMP_CMP_(?:MASKED_)?EQ$/ || $_->{index} != 0 } @{$rule->{args} // []};
        push @wrong, "several arguments: @{$rule->{names}}" if @{$rule->{args} // []} > 1;
        push @wrong, map {"$_, again"} grep { $seen{$_}++ && !$rule->{args} } @{$rule->{names}};
        push @wrong, map {"$_, in no order"} grep { $rule->{names}[$_] lt $rule->{names}[$_ - 1] } 1 .. $#{$rule->{names}};
    }
    is_deeply \@wrong, [], 'its rules';
    is_deeply [grep { !defined $known{'x86-64'}{$_} } sort keys %seen], [], 'every name is a call' if keys %{$known{'x86-64'}};

    # arm64 has not what has a younger sibling
    my %sibling = (
        access => 'faccessat', chmod => 'fchmodat', creat => 'openat', dup2 => 'dup3', epoll_create => 'epoll_create1', epoll_wait => 'epoll_pwait', eventfd => 'eventfd2',
        fork => 'clone', getdents => 'getdents64', getpgrp => 'getpgid', lstat => 'newfstatat', mkdir => 'mkdirat', open => 'openat', pipe => 'pipe2', poll => 'ppoll',
        readlink => 'readlinkat', rename => 'renameat', select => 'pselect6', stat => 'newfstatat', time => 'gettimeofday', unlink => 'unlinkat', utimes => 'utimensat', vfork => 'clone',
        arch_prctl => undef
    );
    is_deeply [grep { defined $sibling{$_} && !$seen{$sibling{$_}} } sort keys %sibling], [], 'with each old call its young sibling, which arm64 has alone';
    is_deeply [grep { !exists $known{arm64}{$_} && !exists $sibling{$_} } sort keys %seen], [], 'all others are calls of arm64, too'
      if keys %{$known{arm64}};

    is_deeply [grep { $seen{$_} } qw(acct add_key adjtimex bpf chroot delete_module fanotify_init finit_module init_module io_uring_setup ioperm iopl kcmp kexec_load keyctl
        memfd_create mknod mknodat mount move_mount name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd pivot_root process_vm_readv process_vm_writev
        ptrace quotactl reboot request_key seccomp setdomainname setgid setgroups sethostname setns setresuid setreuid settimeofday setuid shmget swapon syslog umount2 unshare userfaultfd)],
      [], 'nothing that neither nginx nor the module has a use for';
};

# the filter of a profile, as a program
sub build ($name, $profile) {
    my %action = (SCMP_ACT_ALLOW => sub { 'SECCOMP_RET_ALLOW' }, SCMP_ACT_ERRNO => sub ($errno) { "(SECCOMP_RET_ERRNO|$errno)" });
    my $text = '';

    for my $rule (@{$profile->{syscalls}}) {
        my $action = $action{$rule->{action}}->($rule->{errnoRet} // 0);
        my ($arg) = @{$rule->{args} // []};
        my @test = !$arg ? (0, 0, 0) : $arg->{op} eq 'SCMP_CMP_EQ' ? ($arg->{index}, '~0ULL', $arg->{value}) : ($arg->{index}, $arg->{value}, $arg->{valueTwo} // 0);
        $text .= join '', map {"#ifdef SYS_$_\nRULE(SYS_$_, $action, $test[0], $test[1], $test[2])\n#endif\n"} @{$rule->{names}};
    }

    my $rules   = $t->file("$name.h", $text);
    my $program = $t->dir . "/$name";
    my $said    = qx{$cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 '-DRULES="$rules"' '-DRULES_ELSE=(SECCOMP_RET_ERRNO|$profile->{defaultErrnoRet})' -o \Q$program\E \Q$root\E/t/unit/confine.c 2>&1};
    is $?, 0, "the filter $name" or diag $said;
    return $program;
}

my $confine = build(confine => $profile);
chmod 0755, $t->dir;

sub run (@command) { my $out = qx{@{[map { quotemeta } @command]} 2>&1}; return ($? >> 8, $out) }

subtest 'what is refused' => sub {
    my ($code, $output) = run($confine, $user, '-', 'true');
    is $code, 0, 'something runs at all' or diag $output;

    my $errno = sub ($name, @args) {
        return 'no such call here' unless defined $here->{$name};
        my ($code, $output) = run($confine, $user, '-', $^X, '-e', 'my @a = map { $_ + 0 } @ARGV; my $r = syscall(shift @a, @a); print $r == -1 ? $! + 0 : "done"', $here->{$name}, @args);
        return $output;
    };

    for (['unshare', 0x10000000], ['mount', 0, 0, 0, 0, 0], ['ptrace', 0, 0, 0, 0], ['bpf', 0, 0, 0], ['keyctl', 0, 0], ['setns', 0, 0], ['io_uring_setup', 1, 0], ['userfaultfd', 0], ['setuid', 33],
        ['perf_event_open', 0, 0, 0, 0, 0], ['memfd_create', 0, 0], ['clone', 0x10000011, 0, 0, 0, 0], ['clone', 0x40000011, 0, 0, 0, 0], ['clone', 0x20011, 0, 0, 0, 0],
        (map { ['socket', $_, 3, 0] } 17, 38, 40, 9, 3))
    {
        is $errno->(@$_), 1, "@$_";
    }
    is $errno->(socket => $_->[0], $_->[1], 0), 'done', "socket @$_" for [1, 1], [2, 1], [2, 2], [10, 1], [16, 3];
    is $errno->(clone3 => 0, 0), 38, 'clone3 is not there: libc takes clone';
    is $errno->(getppid => ()), 'done', 'what is in the list is done';
};

my $n = 0;

# what was refused while it ran, by name
sub refused ($log) { return -e $log ? [sort keys %{{map { my ($nr, $arg) = split ' '; ($name{$nr} // $nr) . ($name{$nr} =~ /socket|clone/ ? " $arg" : '') => 1 } split /\n/, path($log)->slurp}}] : [] }

my $redis    = $t->redis;
my $upstream = $t->upstream(json => {from => 'upstream'});
my $cert     = Test::Lines::Tls->new(t => $t)->ca('ca')->certificate('ca', 'own', 'lines.example.com');
my $threads  = qx{\Q@{[$ENV{LINES_NGINX} || 'nginx']}\E -V 2>&1} =~ /--with-threads/;
my $aio      = qx{\Q@{[$ENV{LINES_NGINX} || 'nginx']}\E -V 2>&1} =~ /--with-file-aio/;
my $www      = path($t->dir, 'www')->make_path;
$t->file('www/file.txt', 'a file' x 1000);
$t->file('www/threads/file.txt', 'a file' x 1000);
$t->file('www/aio/file.txt', 'a file' x 1000);
system('chmod', '-R', 'a+rX', $www);

my $nginx_of = sub ($name, $log) {
    my $tls    = $t->free_port;
    my $binary = $t->file("$name.sh", "#!/bin/sh\nexec '$confine' $user '$log' '@{[Test::Lines::Process->program($ENV{LINES_NGINX} || 'nginx')]}' \"\$@\"\n");
    chmod 0755, $binary;

    my $nginx = $t->nginx(
        name => $name, redis => $redis, workers => 2, start => 0, binary => $binary, h2 => 1,
        http => "proxy_cache_path @{[$t->dir]}/$name/cache keys_zone=pages:1m; sendfile on;",
        server => <<"END" . ($threads ? "location /threads/ { root $www; aio threads; }\n" : '') . ($aio ? "location /aio/ { root $www; aio on; directio 1; sendfile off; }\n" : ''));
        listen 127.0.0.1:$tls ssl;
        ssl_certificate $cert->{cert};
        ssl_certificate_key $cert->{key};
        client_body_buffer_size 1k;
        location /app/    { lines_auth any; client_max_body_size 10m; proxy_pass @{[$upstream->url]}; }
        location /cached/ { lines_auth workspace cache=shared; proxy_cache pages; proxy_cache_valid 1m; proxy_pass @{[$upstream->url]}; }
        location /stored/ { root $www; proxy_store @{[$t->dir]}/$name/stored; proxy_pass @{[$upstream->url]}; }
        location = /file.txt { root $www; }
END
    $nginx->{own_tls} = $tls;
    system(qw(chown -R 33:33), $nginx->home, $t->admin_token_file) == 0 or die "chown\n";
    chmod 0644, $cert->{key}, $cert->{cert};
    return $nginx;
};

# a checkout in root's own home is nobody else's to enter
my ($at, $closed) = (path($t->dir));
while (($at = $at->dirname) ne '/') { $closed = $at if !((stat $at)[2] & 0001) }

for my $how (qw(watched refused)) {
    subtest "nginx, what it asks for beyond that is $how" => sub {
        plan skip_all => "$closed is closed to others: run it elsewhere" if $closed;

        my $log   = $how eq 'watched' ? $t->dir . '/refused.log' : '-';
        my $nginx = $nginx_of->($how, $log);
        my ($code, $output) = $nginx->test_config;
        is $code, 0, 'nginx -t' or diag $output;
        system(qw(chown -R 33:33), $nginx->home);
        $nginx->start;

        for my $pid ($nginx->master, $nginx->pids) {
            my %status = path("/proc/$pid/status")->slurp =~ /^(Uid|NoNewPrivs|Seccomp):\s+(\d+)/mg;
            is_deeply \%status, {Uid => 33, NoNewPrivs => 1, Seccomp => 2}, 'master and workers are held by a filter';
        }

        my $works = sub {
            my $key = $nginx->workspace('org_' . ++$n);
            my $me  = $nginx->bearer($key);
            is $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'L', channelType => 'phone'}, $me)->status, 201, 'a line';
            is $nginx->get('/api/lines/by-user', $me)->status, 200, 'lines';
            is $nginx->get('/app/x', $me)->json('/from'), 'upstream', 'an upstream';
            is $nginx->post('/app/x', 'x' x 300_000, $me)->status, 200, 'a body in a file';
            is $nginx->get('/cached/x', $me)->status, 200, 'a cache' for 1 .. 2;
            is $nginx->get('/stored/x')->status, 200, 'a store';
            is $nginx->get('/file.txt')->body =~ s/^(?:a file){1000}$/whole/r, 'whole', 'a file';
            is $nginx->get('/threads/file.txt')->body =~ s/^(?:a file){1000}$/whole/r, 'whole', 'a file, by threads' if $threads;
            is $nginx->get('/aio/file.txt')->body =~ s/^(?:a file){1000}$/whole/r, 'whole', 'a file, by the kernel' if $aio;
            is $nginx->get('/_lines/ready')->status, 200, 'ready';
            is $nginx->get('/_lines/metrics')->status, 200, 'metrics';
            like qx{curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:$nginx->{own_tls}/file.txt 2>&1}, qr/^200$/, 'TLS' if -x '/usr/bin/curl';
        };

        $works->();
        my @before = $nginx->pids;
        $nginx->reload;
        wait_for(sub { my %now = map { $_ => 1 } $nginx->pids; !grep { $now{$_} } @before }, 30, 'other workers');
        $works->();
        unlike $nginx->error_log, qr/Operation not permitted/, 'nothing was refused that nginx tells of';

        CORE::kill 'KILL', ($nginx->pids)[0];
        wait_for(sub { $nginx->pids == 2 }, 30, 'a worker in place of one that died');
        CORE::kill 'USR1', $nginx->master;
        is $nginx->get('/_lines/ready')->status, 200, 'logs anew';

        ($code, $output) = run($confine, $user, $log, '/bin/bash', "$root/docker/healthcheck.sh", $nginx->port, '/_lines/ready');
        is $code, 0, 'the healthcheck' or diag $output;
        ($code, $output) = run($confine, $user, $log, 'sh', '-c', 'ls / | head -n 1; exec id -u');
        is $code, 0, 'a shell, for who looks around' or diag $output;

        $nginx->allow(qr/\[alert\].*exited on signal 9/);
        $nginx->quit;
        is_deeply refused($log), [], 'nothing was refused, heard or unheard' if $how eq 'watched';
    };
}

subtest 'it is seen' => sub {
    my %less = (%$profile, syscalls => [map { {%$_, names => [grep { $_ ne 'uname' } @{$_->{names}}]} } @{$profile->{syscalls}}]);
    my $without = build(less => \%less);
    my $log = $t->dir . '/less.log';
    run($without, $user, $log, 'uname');
    wait_for(sub { -s $log }, 10, 'what was refused');
    is_deeply refused($log), ['uname'], 'what is missing';
};

$t->done;
