package Bench::Peers;
use Mojo::Base -base, -signatures;

use Digest::SHA qw(sha256_hex);
use IO::Socket::INET;
use Mojo::File qw(path);
use Test::Lines::Port;
use Test::Lines::Util qw(write_file);

=head1 NAME

Bench::Peers - others that do the same: nginx' Lua module, and Node.js

=head1 SYNOPSIS

    my $peers = Bench::Peers->new(t => $t, machine => $machine, name => 'thousand');
    $peers->fill($world);
    my ($lua) = $peers->lua('leased');    # name, port, pids, stores, restart
    my ($node) = $peers->node($pem);

=head1 DESCRIPTION

They serve the world's tenants, keys and lines out of a Redis of their own,
which keeps nothing: none of them waits for a disk. Where something is missing
that they need, the list is empty and C<missing> says why.

=cut

has [qw(t machine name)];
has missing => sub { [] };
has dir     => sub { path(__FILE__)->to_abs->dirname->dirname->dirname->child('peers') };
has redis   => sub ($self) { $self->t->redis(name => $self->name . '-peers', conf => "appendonly no\nsave \"\"") };

# as they would have written it: by a key's digest its tenant, by tenant and line its document
sub fill ($self, $world) {
    my $redis = $self->redis->client;
    my $like  = $world->body;
    my $id    = $world->ids->[0][0];
    my $n     = 0;

    for my $i (0 .. $world->tenants - 1) {
        my $tenant = $world->tenant($i);
        my $line   = $world->ids->[$i][0];
        my $json   = $like =~ s/$id/$line/gr =~ s/"workspaceId":"\K[^"]+/$tenant/r;
        $redis->set('key:' . sha256_hex($world->keys->[$i]), $tenant, sub { });
        $redis->set("json:$tenant:$line", $json, sub { });
        $redis->wait_all_responses unless ++$n % 1000;
    }

    $redis->wait_all_responses;
    return $self;
}

sub _ready ($self, $process, $port) {
    $self->t->wait_for(sub {
        die $process->name . ' does not start: ' . $process->output unless $process->alive;
        return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5);
    }, 60, $process->name);
}

# LuaJIT is fast or less fast by what a worker has seen before: it is restarted for each round
sub lua ($self, $form, $connections = 4000) {
    my @modules = grep {-e} map {"/usr/lib/nginx/modules/${_}_module.so"} qw(ndk_http ngx_http_lua);
    my @files   = grep {-e} map {"/usr/share/lua/5.1/$_.lua"} qw(nginx/redis nginx/sha256 resty/core resty/lrucache);

    if (@modules < 2 || @files < 4) {
        push @{$self->missing}, "nginx' Lua module, lua-nginx-redis, lua-nginx-string or lua-resty-core";
        return;
    }

    my $port = Test::Lines::Port::free_port();
    my $name = $self->name . "-lua-$form";
    my $home = path($self->t->dir, $name)->make_path;
    my $load = join '', map {"load_module $_;\n"} @modules;
    my $user = $> == 0 ? 'user root root;' : '';

    write_file("$home/nginx.conf", <<"END");
$load$user
worker_processes 1;
@{[$self->machine->affinity]}
worker_rlimit_nofile 16384;
daemon off;
pid $home/nginx.pid;
error_log $home/error.log warn;
events { worker_connections $connections; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $home/body;
    proxy_temp_path $home/proxy;
    fastcgi_temp_path $home/fastcgi;
    uwsgi_temp_path $home/uwsgi;
    scgi_temp_path $home/scgi;
    lua_shared_dict leases 32m;
    lua_package_path "@{[$self->dir]}/?.lua;/usr/share/lua/5.1/?.lua;;";
    init_by_lua_block { require('peer').init { port = @{[$self->redis->port]}, dir = '@{[$self->dir]}' } }
    server {
        listen 127.0.0.1:$port;
        location /api/ { content_by_lua_block { require('peer').$form() } }
    }
}
END

    my $process;
    my $start = sub {
        $process->signal('QUIT')->wait_end(30) if $process;
        $process = $self->t->spawn($name => ['nginx', '-e', "$home/error.log", '-p', "$home/", '-c', "$home/nginx.conf"]);
        $self->_ready($process, $port);
    };
    $start->();

    return {
        name    => "Lua, $form",
        port    => $port,
        restart => $start,
        stores  => [[$self->redis->pid]],
        pids    => sub { map { $_->{pid} } grep { $_->{ppid} == $process->pid } @{$self->t->processes} }
    };
}

sub node ($self, @clerk) {
    my $build = $self->t->build;
    my $said  = qx(sh "@{[$self->t->root]}/t/node/install.sh" "$build" "@{[$self->dir]}" bench-peer 2>&1);

    if ($?) {
        push @{$self->missing}, $? >> 8 == 77 ? $said =~ s/\s+$//r : "fastify could not be installed: $said";
        return;
    }

    my $port = Test::Lines::Port::free_port();
    my $copy = path($build, 'bench-peer', 'server.mjs');
    write_file($copy, path($self->dir, 'server.mjs')->slurp);

    my $process = $self->t->spawn($self->name . '-fastify' => [$self->machine->pin, 'node', "$copy", $port, $self->redis->port, $self->dir->to_string, @clerk],
        env => {NODE_ENV => 'production'});
    $self->_ready($process, $port);

    return {name => 'fastify', port => $port, stores => [[$self->redis->pid]], pids => sub { $process->pid }};
}

1;
