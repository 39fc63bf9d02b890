# A new nginx in the place of the old one, and back; other numbers of workers; an nginx that is told to go; one that has no
# descriptors left, or whose clock is wrong; nodes of two versions on one Redis, whose lines get another layout meanwhile: under
# load, with purchases under way. Not a request is lost where nginx promises that, no money ever.
# LINES_RELOADS=100 for longer; docker/bare-package.sh is the upgrade of the package.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Digest::SHA qw(sha1_hex sha256_hex);
use Mojo::Date;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Test::Lines::Client;
use Test::Lines::Util qw(write_file);
use Time::HiRes qw(time);

my $t    = Test::Lines->new(timeout => 600);
my $shop = Test::Lines::Account->new(t => $t, webhooks => 1,
    operations => 'sweep=300ms retry=300ms due=2s lease=5s absent=1s walk=1s late=10s');
my $bulk = "lines_plan bulk phone included=100000;\nlines_plan bulk email included=1;\n";

# what a sanitizer is told goes to the next binary, too
my $nginx = $shop->nginx(workers => 2, plans => $shop->plans . $bulk, main => join '', map {"env $_;\n"} qw(LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS));
my $file  = path($nginx->home, 'nginx.pid');
my $key   = $nginx->workspace(bulk => {plan => 'bulk'});
my $auth  = $nginx->bearer($key);
my %ada   = (firstName => 'Ada', lastName => 'Lovelace', channelType => 'phone');
my $known = $nginx->post_json('/api/line-requests', \%ada, $auth)->json('/line/_id');

$shop->numbers(60);

# clients until they are told to stop, one for each of the nodes: what each was answered, and how many lines there are by that
sub load ($nodes = [$nginx, $nginx], $who = $auth, $line = $known) {
    my @children = map {
        my $node = $_;
        pipe my $said, my $says or die "pipe: $!";
        my $pid = fork // die "fork: $!";

        if (!$pid) {
            my ($stop, %count, $n) = (0);
            local $SIG{TERM} = sub { $stop = 1 };

            # nor do they go on when the test has died
            while (!$stop && getppid == $t->owner) {
                my $answer = ++$n % 3 ? $node->get("/api/line-requests/$line", $who) : $node->post_json('/api/line-requests', \%ada, $who);
                $count{$answer->status || "no answer: " . ($answer->error // '')}++;
            }

            syswrite $says, encode_json(\%count) . "\n";
            POSIX::_exit(0);
        }

        [$pid, $said];
    } @$nodes;

    return sub {
        my %all;
        for (@children) {
            my ($pid, $said) = @$_;
            kill TERM => $pid;
            my $count = decode_json(readline $said);
            $all{$_} += $count->{$_} for keys %$count;
            waitpid $pid, 0;
        }
        return \%all;
    };
}

sub unharmed ($count, $what) {
    is_deeply [grep { $_ ne '200' && $_ ne '201' } keys %$count], [], "$what: not one failed" or diag explain $count;
    cmp_ok $count->{200} // 0, '>', 5, "... of $count->{200} reads and $count->{201} writes";
}

# purchases that are at billing while something happens, for so long (a client waits for three seconds); each is one line afterwards
my $names = 0;
our $held = 1500;

sub purchases ($meanwhile, @nodes) {
    @nodes = ($nginx) unless @nodes;

    my @accounts = map { $shop->account('buys' . ++$names) } 1 .. 3;
    my @tokens   = map { $shop->token($_) } @accounts;

    $shop->sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => $held, times => scalar @tokens);

    my $asked = () = $shop->sandbox->requests(POST => '/v1/subscriptions');
    my @promises = map { $shop->confirm_p($accounts[$_], $tokens[$_], key => 'once', nginx => $nodes[$_ % @nodes]) } 0 .. $#tokens;
    $_->catch(sub { }) for @promises;
    wait_for(sub { my $n = () = $shop->sandbox->requests(POST => '/v1/subscriptions'); $n >= $asked + @tokens }, 30, 'billing to be asked');

    $meanwhile->();

    my @answers;
    for (@promises) {
        my $answer;
        $_->then(sub ($a) { $answer = $a }, sub { $answer = undef; })->wait;
        push @answers, $answer;
    }

    $shop->sandbox->clear_faults;
    return (\@accounts, \@tokens, \@answers);
}

sub bought_once ($accounts, $tokens, $what, $node = $nginx) {
    my $began = time;
    my @wrong;

    for my $i (0 .. $#$accounts) {
        my $answer = wait_for(sub {
            my $a = $shop->confirm($accounts->[$i], $tokens->[$i], key => 'once', nginx => $node);
            $a->status =~ /^(?:503|409)$/ ? undef : $a;    # later; still under way
        }, 30, 'the answer of a purchase');
        push @wrong, $answer->to_string unless $answer->status == 200;
        push @wrong, "$accounts->[$i]{id}: charged " . scalar $shop->bought($accounts->[$i]) unless 1 == $shop->bought($accounts->[$i]);
        push @wrong, "$accounts->[$i]{id}: lines" unless 1 == $shop->lines($accounts->[$i], $node);
    }

    is_deeply \@wrong, [], "$what: each purchase is charged once, and one line";
    return time - $began;
}

sub master () { -e $file ? $file->slurp =~ s/\s+//gr : 0 }

sub runs ($pid) {
    return scalar grep { $_->{pid} == $pid } @{$t->processes};
}

sub workers_of ($master) {
    return grep { $_->{ppid} == $master && $_->{title} =~ /^nginx: worker process\s*$/ } @{$t->processes};
}

# the same nginx as a daemon: any other neither changes its binary nor lets its workers go
sub daemon () {
    $nginx->quit;
    wait_for(sub { !-e $file }, 30, 'its end');
    write_file($nginx->conf_file, $nginx->configuration =~ s/^daemon off;$/daemon on;/mr);

    my ($binary, @args) = $nginx->_command;
    local %ENV = (%ENV, %{$nginx->_env});
    system 'sh', '-c', 'cd "$0" && exec "$@"', $t->dir, Test::Lines::Process->program($binary), @args;
    wait_for(sub { master() && workers_of(master()) >= 2 }, 60, 'nginx');
}

# the next master, with its workers, beside the one that there is
sub upgrade () {
    my $old = master();
    kill USR2 => $old;
    wait_for(sub { my $new = master(); -e "$file.oldbin" && $new && $new != $old && workers_of($new) >= 2 }, 60, 'the new nginx');
    return ($old, master());
}

subtest 'the binary is upgraded, taken back, and upgraded again' => sub {
    daemon();
    my $stop = load();

    my ($accounts, $tokens, $answers) = purchases(sub {
        my ($old, $new) = upgrade();
        kill WINCH => $old;
        wait_for(sub { !workers_of($old) }, 60, 'the old workers to end');

        # and back: nobody liked it
        kill HUP => $old;
        wait_for(sub { workers_of($old) >= 2 }, 60, 'the old workers to be back');
        kill QUIT => $new;
        wait_for(sub { master() == $old && !-e "$file.oldbin" }, 60, 'the new nginx to end');
    });
    is_deeply [map { $_ ? $_->status : 'none' } @$answers], [(200) x 3], 'purchases that were under way are answered';
    bought_once($accounts, $tokens, 'back');

    my ($old, $new) = upgrade();
    ($accounts, $tokens, $answers) = purchases(sub { kill QUIT => $old });
    wait_for(sub { !runs($old) }, 60, 'the old nginx to end');
    bought_once($accounts, $tokens, 'again');

    unharmed($stop->(), 'meanwhile');

    kill QUIT => $new;
    wait_for(sub { !runs($new) }, 60, 'its end');
    $nginx->start;
};

subtest 'reloads, also to another number of workers' => sub {
    my $stop = load();
    for my $n ((1, 8, 3, 2), (2) x (($ENV{LINES_RELOADS} || 10) - 4)) {
        $nginx->workers($n);
        $nginx->reload;
    }
    unharmed($stop->(), 'meanwhile');
};

subtest 'with reuseport' => sub {
    $nginx->quit;
    $nginx->listen('reuseport');
    $nginx->start;
    my $stop = load();
    $nginx->reload for 1 .. 3;
    unharmed($stop->(), 'reloads');
    $nginx->quit;
    $nginx->listen('');
    $nginx->start;
};

subtest 'SIGTERM' => sub {
    my ($accounts, $tokens) = purchases(sub { $nginx->stop });
    $nginx->start;
    cmp_ok bought_once($accounts, $tokens, 'after it'), '<', 10 * $t->slow, '... within ten seconds';
};

subtest 'no descriptors are left' => sub {
    my $mark = $nginx->log_mark;
    $nginx->main($nginx->main . "\nworker_rlimit_nofile 60;\n");
    $nginx->reload(wait_old => 1);

    my $account = $shop->account('poor');
    my $token   = $shop->token($account);
    my $held    = Test::Lines::Client->new(host => '127.0.0.1', port => $nginx->port)->socket;
    my @idle    = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nginx->port, Timeout => 5) // () } 1 .. 150;

    $nginx->wait_log(qr/accept4?\(\) failed \(24: Too many open files\)/, $mark);
    pass 'the log says what is short';

    close $_ for @idle;
    wait_for(sub { $nginx->get("/api/line-requests/$known", $auth)->status == 200 }, 30, 'service');
    bought_once([$account], [$token], 'once they are back');
    $nginx->main($nginx->main =~ s/\nworker_rlimit_nofile.*\n//r);
    $nginx->reload(wait_old => 1);
};

# The module with other scripts: each does the same, and has another digest, as those of another version have.
sub another_version () {
    my @parts  = split /\0/, path($ENV{LINES_MODULE})->slurp, -1;
    my %listed = map { $_ => 1 } grep {/^[0-9a-f]{40}\z/} @parts;
    my %digest;

    for (grep {/\n\z/} @parts) {
        my $before = sha1_hex($_);
        next unless $listed{$before};
        s/\n\z/ /;
        $digest{$before} = sha1_hex($_);
    }

    $_ = $digest{$_} // $_ for @parts;

    return ($t->file('another.so', join "\0", @parts), %digest);
}

subtest 'two versions of the scripts and of the layout on one Redis' => sub {
    # two nodes, a migration and events besides are a lot for a busy machine
    local $held = 500;
    my ($module, %digest) = another_version();
    cmp_ok scalar(keys %digest), '>', 50, 'each script has another digest';

    my $before = $shop->nginx(name => 'before', module => $module, redis_options => 'layout=1 connect_timeout=5s', plans => $nginx->plans, main => $nginx->main);
    my @nodes  = ($before, $nginx);
    $nginx->redis_options('layout=1 connect_timeout=5s');
    $nginx->reload(wait_old => 1);

    # what there is when nodes begin with the layout of now, made by both
    my $own   = $before->bearer($before->workspace(mixed => {plan => 'bulk'}));
    my @lines = map { $nodes[$_ % 2]->post_json('/api/line-requests', \%ada, $own)->json('/line/_id') } 0 .. 59;
    my %buyer = map { $_ => $shop->workspace($_) } qw(early late);
    my %open  = map { $_ => $shop->request($buyer{$_}, nginx => $before)->json } keys %buyer;
    my $type  = sub ($tenant, $line) { scalar $shop->redis->cli(TYPE => "lines:{w:$tenant}:line:$line") };
    is $type->(mixed => $_), 'hash', 'a line in the layout before' for $lines[0], $lines[1];

    my $stop = load(\@nodes, $own, $lines[0]);

    my ($accounts, $tokens, $answers) = purchases(sub {
        $nginx->redis_options('connect_timeout=5s');
        $nginx->server($nginx->server . 'location = /_lines/survey { lines_metrics survey=100ms; }');
        $nginx->reload;
        $shop->sandbox->pay($open{early}{invoiceId});
        wait_for(sub {
            !grep { $type->(@$_) ne 'string' } (map { [mixed => $_] } @lines), map { [$_ => $open{$_}{line}{_id}] } keys %open;
        }, 30, 'all lines to have the layout of now');
    }, @nodes);

    is_deeply [map { $_ ? $_->status : 'none' } @$answers], [(200) x 3], 'purchases of before and after are answered';
    bought_once($accounts, $tokens, 'meanwhile');
    $shop->sandbox->pay($open{late}{invoiceId});
    $shop->wait_record($_, $open{$_}{line}{_id}, 'provisioning') for keys %open;
    is_deeply [map { $shop->read($buyer{$_}, $open{$_}{line}{_id}, $before)->body } keys %open],
      [map { $shop->read($buyer{$_}, $open{$_}{line}{_id}, $nginx)->body } keys %open], 'what was paid on either side of it is there, for both';

    unharmed($stop->(), 'meanwhile');

    my @used = map { [grep {$_} @{scalar $shop->redis->cli('SCRIPT', 'EXISTS', @$_)}] } [keys %digest], [values %digest];
    cmp_ok scalar(@$_), '>', 10, 'each version has run scripts of its own' for @used;

    # each takes over what the other left
    for ([$before, $nginx], [$nginx, $before]) {
        my ($dies, $lives) = @$_;
        ($accounts, $tokens) = purchases(sub { $dies->crash }, $dies);
        bought_once($accounts, $tokens, "$dies->{name} has died", $lives);
        $dies->start;
    }

    $before->quit;
    $before->module($ENV{LINES_MODULE});
    $before->redis_options('');
    $before->start;
    is $before->get("/api/line-requests/$_", $own)->status, 200, 'the last is upgraded, and reads what it wrote' for $lines[0], $lines[1];
    $before->quit;
};

# A node's clock jumps, and is put right: what it decides by a clock of its own are session tokens and the age of events alone.
subtest 'a clock that is an hour off' => sub {
    local $held = 500;
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $node  = $shop->nginx(name => 'clock', clock => $t->file('clock.off', pack 'q', 0), plans => $nginx->plans, main => $nginx->main,
        http => 'lines_key_ttl 2s;', server => $clerk->location . $clerk->directive);
    my @nodes = ($node, $nginx);
    my $user  = $node->bearer($node->workspace(clocks => {plan => 'bulk'}));
    my $stop  = load(\@nodes);
    $shop->sandbox->webhooks(to => $node->url('/webhooks/stripe'));

    for my $off (3600, -3600) {
        my $what = $off > 0 ? 'ahead' : 'behind';
        my $name = "clock-$what";
        my $late = $shop->workspace($name);
        my $open = $shop->request($late, nginx => $node)->json;

        $node->ahead($off);
        wait_for(sub { abs(Mojo::Date->new($node->get('/')->header('Date'))->epoch - time - $off) < 60 }, 10, 'its clock to jump');

        my ($accounts, $tokens, $answers) = purchases(sub {
            $shop->sandbox->pay($open->{invoiceId});
        }, @nodes);
        is_deeply [map { $_ ? $_->status : 'none' } @$answers], [(200) x 3], "$what: purchases go on";
        bought_once($accounts, $tokens, $what);

        # what a node remembers by its clock: a session, a key, whether billing is there
        my $session = $node->bearer($clerk->token(org => 'clocks'));
        is $node->get('/api/lines/by-user', $session)->status, 401, '... sessions of now are not' for 1 .. 2;
        my $gone = $node->workspace("gone-$what");
        is $node->get('/api/lines/by-user', $node->bearer($gone))->status, 200, '... keys are known';
        $shop->sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'drop_before', times => 100);
        my ($buyer) = $shop->account("away-$what");
        my $token = $shop->token($buyer);
        isnt $shop->confirm($buyer, $token, key => 'once', nginx => $node)->status, 200, '... and billing is away';
        is $node->get('/_lines/ready')->json('/billing/status'), 'unreachable', '... which the node says';

        my $began = time;
        $node->ahead(0);
        $shop->sandbox->clear_faults;
        $shop->redis->cli(DEL => 'lines:{k:' . sha256_hex($gone) . '}');
        wait_for(sub { $node->get('/api/lines/by-user', $session)->status == 200 }, 10, 'the session');
        wait_for(sub { $node->get('/api/lines/by-user', $node->bearer($gone))->status == 401 }, 10, 'a key that nobody told of to be gone');
        bought_once([$buyer], [$token], 'right again', $node);
        wait_for(sub { $node->get('/_lines/ready')->json('/billing/status') eq 'ok' }, 10, 'billing');
        $shop->wait_record($name, $open->{line}{_id}, 'provisioning');
        cmp_ok time - $began, '<', 10 * $t->slow, '... all of it within ten seconds';
    }

    unharmed($stop->(), 'meanwhile');
    $shop->sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));
    $node->quit;
};

# as of a host that has no battery, until it has asked for the time
subtest 'a clock before 1970' => sub {
    my $node = $shop->nginx(name => 'battery', clock => $t->file('battery.off', pack 'q', -time - 1_000_000), plans => $nginx->plans, main => $nginx->main);
    my $auth = $node->bearer($node->workspace(battery => {plan => 'bulk'}));
    my $date = sub { Mojo::Date->new($node->get('/')->header('Date'))->epoch };
    is $date->(), 0, 'nothing is earlier';

    my @made = map { $node->post_json('/api/line-requests', \%ada, $auth) } 1 .. 3;
    is_deeply [map { $_->status } @made], [(201) x 3], 'lines are made';
    my ($account) = $shop->account('battery');
    is $shop->confirm($account, $shop->token($account, $node), nginx => $node)->status, 200, 'one is bought';

    $node->ahead(0);
    wait_for(sub { time - $date->() < 60 }, 10, 'its clock to be put right');
    push @made, $node->post_json('/api/line-requests', \%ada, $auth);
    my @ids = map { $_->json('/line/_id') } @made;
    is_deeply [sort { $a cmp $b } @ids], \@ids, 'their ids are in the order of time';
    is_deeply [grep { $node->get("/api/line-requests/$_", $auth)->status != 200 } @ids], [], 'and they are there';
    $node->quit;
};

# a file that may not grow is as good as a disk that is full: what nginx writes to fails
subtest 'no room is left for logs and temporary files' => sub {
    my $small = $t->file('small.sh', "#!/bin/sh\ntrap '' XFSZ\nexec @{[$nginx->binary]} \"\$@\"\n");
    chmod 0755, $small or die $!;
    my @accounts = map { $shop->account("full$_") } 1 .. 3;
    $nginx->quit;

    my $full = $shop->t->nginx(redis => $shop->redis, binary => $small, plans => $shop->plans . $bulk, http => $shop->http, server => $shop->server);
    $full->wait_redis;

    my @pids = map { $_->{pid} } workers_of($full->process->pid);
    my $room = sub ($size) { system('prlimit', '--pid', $_, "--fsize=$size") == 0 or die "prlimit: $?" for @pids };

    my @tokens = map { $shop->token($_, $full) } @accounts;

    my $log = path($full->home, 'access.log');

    $room->('0:');
    is $shop->confirm($accounts[$_], $tokens[$_], key => 'once', nginx => $full)->status, 200, 'a purchase goes on' for 0 .. 2;
    is $full->post_json('/api/line-requests', {%ada, notes => 'x' x 7000}, $auth)->status, 201, 'a line, too';
    unlike $log->slurp, qr{POST /api/line-requests}, '... of which no log tells';
    $room->('unlimited:');
    is $full->get("/api/line-requests/$known", $auth)->status, 200, 'there is room again';
    wait_for(sub { $log->slurp =~ m{GET /api/line-requests} }, 30, 'the log');
    $full->quit;
    $nginx->start;
    bought_once(\@accounts, \@tokens, 'on a full disk');
};

subtest 'master_process off' => sub {
    my $account = $shop->account('alone');
    $nginx->quit;
    my $alone = $shop->t->nginx(redis => $shop->redis, workers => 0, plans => $shop->plans . $bulk, http => $shop->http, server => $shop->server,
        main => 'master_process off;');
    is $alone->post_json('/api/line-requests', \%ada, $auth)->status, 201, 'one process serves';
    is $shop->confirm($account, $shop->token($account, $alone), nginx => $alone)->status, 200, 'and buys';
    $alone->quit;
    is $alone->process->status, 0, 'it ends when it is told to';
    $nginx->start;
};

$shop->sandbox->wait_idle;
$shop->agree;
$t->done;
