# What an attack on fleets has found: a reload that is refused leaves the old configuration whole, also for workers that are
# started by it later; peers of lines.conf may have a chain of certificates that is longer than one; the package upgrades no
# nginx that would not hear of it; the runbook's commands, as they stand there, are for lines.conf.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Mojo::File qw(path);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Tls;

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $dir   = $t->dir;

# nginx' filters are the master's: what a configuration that is refused has left of them, the next worker has.
subtest 'a reload that is refused, and then a worker that dies' => sub {
    my $upstream = $t->upstream(json => {});
    $t->file('page.txt', join '', map {"line $_\n"} 1 .. 100);

    my $http  = "proxy_cache_path $dir/cache keys_zone=pages:1m;";
    my $serve = <<"END";
location /gate/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=100 name=gate; proxy_pass @{[$upstream->url]};
    proxy_cache pages; proxy_cache_valid 1h; proxy_cache_key \$uri; }
location = /page.txt { root $dir; }
location = /denied { return 403; }
END

    my $nginx = $t->nginx(redis => $redis, http => $http, server => $serve);
    my @keys  = map { $nginx->workspace($_) } qw(one two);
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $!;
    my ($page, $standard_redis) = (0, $nginx->redis);

    my $is_whole = sub ($what) {
        my @pages = map {
            $upstream->reset(json => {tenant => $_});
            $nginx->get("/gate/$page", $nginx->bearer($keys[$_]));
        } 0, 1;
        $page++;

        is_deeply [map { $_->json('/tenant') } @pages], [0, 1], "$what: no page of another tenant comes from a cache";
        ok $pages[1]->header('RateLimit'), '... limits are told';
        is $nginx->post('/api')->json('/error'), 'Not found', '... the words of the API';

        my $part = $nginx->get('/page.txt', {Range => 'bytes=-9', Connection => 'close'});
        is $part->status . $part->body, "206line 100\n", '... a part of a file is that part';
        is $nginx->get('/page.txt')->body, path("$dir/page.txt")->slurp, '... and the whole of it that';
    };

    # each is refused at another point: by what locations are for, by the address of Redis, and after all of it, where nothing
    # of ours is configured any more
    my %wrong = (
        'a location'   => sub { $nginx->http("$http lines_probe /_lines/nowhere;") },
        'an address'   => sub { $nginx->limits('redis://nobody.invalid:6379/0') },
        'nothing'      => sub { $nginx->redis('')->server('listen 127.0.0.1:' . $taken->sockport . ';') },
        'none to know' => sub { $nginx->server(($serve =~ s/lines_auth workspace;//r) . 'listen 127.0.0.1:' . $taken->sockport . ';') }
    );

    $nginx->allow(qr/\[emerg\]/);
    $is_whole->('before');

    for my $what (sort keys %wrong) {
        $wrong{$what}->();
        my $mark = $nginx->log_mark;
        $nginx->write->process->signal('HUP');
        $nginx->wait_log($what =~ /no/ ? qr/\[emerg\].*still could not bind/s : qr/\[emerg\]/, $mark, 60);
        $nginx->redis($standard_redis)->limits('')->http($http)->server($serve);
        $nginx->kill_worker;
        wait_for(sub { $nginx->get('/_lines/ready')->status == 200 }, 30, 'the next worker');
        $is_whole->("$what refused");
    }

    $nginx->quit;
};

# As public authorities have them: the one that the machine trusts has signed another one's root.
subtest 'a chain of two authorities between' => sub {
    my $tls = Test::Lines::Tls->new(t => $t)->ca('root');
    $tls->authority('root', 'cross')->authority('cross', 'issuing');
    my $peer = $tls->certificate('issuing', 'peer', 'clerk.example.com');
    $t->file('peer.chain', join '', map { path($tls->file("$_.pem"))->slurp } qw(peer issuing cross));
    my $port = $t->free_port;
    my $conf = path($t->root, 'conf/lines.conf')->slurp;

    my $nginx = $t->nginx(
        http => <<"END",
server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate $dir/peer.chain;
    ssl_certificate_key $peer->{key};
    location / { return 200 "it is \$ssl_server_name\\n"; }
}
END
        server => join '', map {
            my ($block) = $conf =~ /^    location (?:= |~ \^)\Q$_\E.*?(\{.*?^    \})/ms or die "lines.conf has no $_";
            $block =~ s/internal;|set \S+ \S+;|^\s*proxy_set_header .*?;//gm;
            $block =~ s{proxy_pass \S+;}{proxy_pass https://127.0.0.1:$port;};
            $block =~ s{/etc/ssl/certs/ca-certificates\.crt}{@{[$tls->file('root.pem')]}};
            $block =~ s{proxy_ssl_name \S+;}{proxy_ssl_name clerk.example.com;};
            "location = $_ $block\n";
        } '/_lines/billing', '/_lines/jwks'
    );

    is $nginx->get($_)->body, "it is clerk.example.com\n", $_ for '/_lines/billing', '/_lines/jwks';
    $nginx->quit;
};

# Debian's script sends its signals to one that hears none while its parent ends, as long as a client of that downloads, and says
# that it went well.  What it is given here, in a name space of its own, writes down what it is asked for.
SKIP: {
    skip 'no root, or no mount name spaces', 1 if system "unshare -m true 2> $dir/unshare";
    subtest 'an upgrade of the package while the one before still ends' => sub {
        my $script = path($t->root, 'docker/debian/libnginx-mod-http-lines.postinst');
        my $bin    = path($dir, 'bin')->make_path;
        for (['invoke-rc.d', "echo \"\$@\" >> $dir/asked"], ['nginx', 'exit 0'], ['sleep', 'exit 0']) {
            chmod 0755, $t->file("bin/$_->[0]", "#!/bin/sh\n$_->[1]\n") or die $!;
        }

        my $configure = sub ($old) {
            unlink "$dir/asked";
            my $said = qx{unshare -m sh -c 'mount -t tmpfs none /run && $old; PATH=$bin:\$PATH sh $script configure 1.0' 2>&1};
            return $? >> 8, $said, path("$dir/asked")->slurp;
        };

        my ($code, $said, $asked) = $configure->('echo $$ > /run/nginx.pid.oldbin');
        is $code, 0, 'it is configured';
        like $said, qr/goes on with the old module/, 'says that the old module goes on';
        unlike $asked, qr/upgrade|restart/, 'and asks for nothing that nobody hears';

        ($code, $said, $asked) = $configure->('true');
        is "$code$said", '0', 'otherwise it has nothing to say';
        like $asked, qr/^nginx upgrade$/m, 'and upgrades';
    };
}

subtest 'the runbook' => sub {
    my ($address) = path($t->root, 'conf/lines.conf')->slurp =~ m{listen (127\S+);.*?location /_lines/admin/}s;
    my ($typed)   = path($t->root, 'conf/runbook.md')->slurp =~ m{^    \$ ADMIN=\$\{ADMIN:-(\S+?)\}}m;
    is $typed, "http://$address/_lines/admin", 'asks the admin API where lines.conf has it';
};

$t->done;
