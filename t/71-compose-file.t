# The compose file says what it means to: each name in it is there, and each service has what a service must have.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Mojo::File qw(path tempdir);
use Mojo::JSON qw(decode_json);
use Test::Lines::Compose;
use YAML::PP;

my $root     = path($FindBin::Bin)->dirname;
my $compose  = Test::Lines::Compose->new(file => "$root/docker/compose.yaml");
my $services = $compose->services;
my $docker   = path("$root/docker/Dockerfile")->slurp;
my %once     = map { $_ => 1 } grep { ($services->{$_}{restart} // '') eq 'no' } keys %$services;

# of the compose specification, what this file uses
my %known = map { $_ => 1 } qw(build cap_drop command depends_on entrypoint extra_hosts healthcheck image logging mem_limit
    network_mode networks ports read_only restart security_opt stop_grace_period tmpfs volumes);

subtest 'the whole' => sub {
    is_deeply [sort grep { !/^x-/ } keys %{$compose->data}], [qw(name networks services volumes)], 'its sections';
    is_deeply [sort keys %$services], [sort qw(secrets redis limits replica sandbox players node1 node2 balancer prometheus demo)], 'its services';
    is_deeply [sort keys %once], [qw(demo secrets)], 'two of them end by themselves';

    my %used = map { $_ => 1 } map { map { $_->[0] } @{{$compose->_volumes($_)}->{volumes}} } values %$services;
    is_deeply [sort keys %{$compose->data->{volumes}}], [sort keys %used], 'the volumes that are used';

    my %address = map { $_ => $compose->address($_) } grep { $compose->address($_) } keys %$services;
    my %taken;
    is_deeply [grep { $taken{$_}++ } values %address], [], 'each address is of one service';
    my ($net) = $compose->subnet->{subnet} =~ /^(\d+\.\d+\.\d+)\./;
    is_deeply [grep { !/^\Q$net\E\.\d+$/ } values %address], [], 'in the subnet';

    for my $name (grep { %{$services->{$_}{extra_hosts}} } sort keys %$services) {
        my $hosts = $services->{$name}{extra_hosts};
        is_deeply $hosts, {map { $_ => $address{$_} } keys %$hosts}, "$name knows the addresses of the others";
    }

    my @ports = map { @{$_->{ports} // []} } values %$services;
    is_deeply [grep { !/^127\.0\.0\.1:\d+:\d+$/ } @ports], [], 'what is published is so on loopback only';
};

for my $name (sort keys %$services) {
    my $service = $services->{$name};

    subtest $name => sub {
        is_deeply [grep { !$known{$_} } keys %$service], [], 'no key that an engine would not know';

        my $build = $service->{build};

        if ($build) {
            ok -d path("$root/docker", $build->{context}), 'the context of its build';
            ok -f path("$root/docker", $build->{context}, $build->{dockerfile}), 'the Dockerfile';
            like $docker, qr/^FROM \S+ AS \Q$build->{target}\E$/m, 'a target of it';
            like $build->{args}{BASE}, qr/^docker\.io\/library\/debian:\w+-slim$/, 'the base';
            is $service->{image}, $build->{target} eq 'lines' ? 'lines' : "lines-$build->{target}", 'the name of its image';
        }
        else {
            ok +(grep { ($_->{image} // '') eq $service->{image} && $_->{build} } values %$services),
              'an image that another service builds';
        }

        like $service->{mem_limit} // '', qr/^\d+m$/, 'a bound of memory';
        like $service->{restart}, $once{$name} ? qr/^no$/ : qr/^unless-stopped$/, 'a restart rule';
        ok $service->{read_only}, 'a file system that it cannot write to';
        is_deeply $service->{cap_drop}, ['ALL'], 'no capability';
        my ($no_way, @others) = @{$service->{security_opt}};
        is $no_way, 'no-new-privileges:true', 'no way to one';
        is_deeply \@others, [$service->{image} eq 'lines' ? 'seccomp=./seccomp.json' : ()], 'the calls that it may make';
        ok -f path("$root/docker", s/^seccomp=//r), 'which lies beside the file' for @others;
        ok $service->{logging}{options}{'max-size'}, 'a bound of logs';

        for my $other (sort keys %{$service->{depends_on} // {}}) {
            my $condition = $service->{depends_on}{$other}{condition};
            ok $services->{$other}, "$other, which it waits for, is there";
            is $condition, $once{$other} ? 'service_completed_successfully' : 'service_healthy', 'as it must be';
        }

        my %volumes = $compose->_volumes($service);
        ok -f $_->[0], "$_->[0] is there" for @{$volumes{mounts}};
        is $_->[2], 'ro', 'read-only' for @{$volumes{mounts}};

        my $check = $service->{healthcheck};

        if ($once{$name}) {
            is_deeply $check, {disable => 1}, 'ends by itself: no healthcheck';
        }
        elsif ($check) {
            like $check->{test}[0], qr/^CMD(?:-SHELL)?$/, 'a healthcheck';
            like $check->{$_}, qr/^\d+s$/, $_ for qw(interval timeout start_period);
        }
        else {
            my $target = $service->{image} =~ s/^lines-//r;
            my ($stage) = $docker =~ /^FROM base AS \Q$target\E$(.*?)(?=^FROM|\z)/ms;
            like $stage, qr/^HEALTHCHECK .*CMD \[/m, "the image's healthcheck";
        }
    };
}

is $compose->data->{services}{redis}{volumes}[0], 'redis:/data', 'Redis keeps its data';
like $docker, qr{^COPY .*conf/redis\.conf /usr/local/etc/redis\.conf$}m,           'by the settings that Lines asks for';
like $docker, qr{^ENTRYPOINT \["redis-server", "/usr/local/etc/redis\.conf"\]$}m, '... with which it starts';
unlike $services->{$_}{command}, qr/--(?:appendonly|maxmemory-policy|hash|stream)/, "... and which $_ leaves as they are" for qw(redis replica);
unlike $services->{redis}{command}, qr/--appendfsync/, '... the primary all of them';
for my $name (qw(redis limits replica)) {
    like $services->{$name}{command}, qr{^--include /etc/lines/redis\.conf\b}, "$name has a password";
    unlike $services->{$name}{command}, qr/--protected-mode|--requirepass|--masterauth/, '... that is in a file';
    ok +(grep { $_ eq 'secrets:/etc/lines:ro' } @{$services->{$name}{volumes}}), '... which it has';
    like $services->{$name}{healthcheck}{test}[1], qr{^REDISCLI_AUTH=\$\(cat /etc/lines/redis\.key\) }, '... and its healthcheck as well';
}
like path("$root/docker/node.conf")->slurp, qr{^lines_redis  redis://redis.*password_file=/etc/lines/redis\.key;$}m, 'as have the nodes';
like path("$root/docker/node.conf")->slurp, qr{^lines_redis  limits redis://limits:6379/0 password_file=/etc/lines/redis\.key timeout=}m, '... whose limits are elsewhere';
like $docker, qr{^COPY .*conf/redis-limits\.conf /usr/local/etc/redis-limits\.conf$}m, 'where nothing is kept';
is_deeply $services->{limits}{entrypoint}, ['redis-server', '/usr/local/etc/redis-limits.conf'], '... by the settings for that';
like $services->{replica}{command}, qr/--replicaof redis 6379/,              'it has a replica';

subtest 'Prometheus' => sub {
    my $conf = YAML::PP->new->load_file("$root/docker/prometheus.yml");
    my ($scrape) = @{$conf->{scrape_configs}};
    is $scrape->{job_name}, 'lines', 'its job is that of the rules and the dashboard';
    is_deeply [sort map { s/:8081$//r } map { @{$_->{targets}} } @{$scrape->{static_configs}}], [qw(node1 node2)], 'it looks at each node';
    like path("$root/docker/node.conf")->slurp, qr/^\s*location = \Q$scrape->{metrics_path}\E +\{ lines_metrics; \}$/m, '... where metrics are';
    like $docker, qr{^COPY .*conf/prometheus/$_ .*/etc/prometheus/$}m, "$_ is in the image" for @{$conf->{rule_files}};
};

# Compose 2 needs no engine to read a file: as a plugin of docker's client, or as Debian 13 has it
my ($cli) = grep { (qx($_ version 2> /dev/null) // '') =~ /version v?2\./ } 'docker compose', 'docker-compose';

subtest 'as Compose itself reads it' => sub {
    plan skip_all => 'there is no Compose 2 here' unless $cli;

    my $read = sub ($file) {
        my $text = qx($cli -f '$file' config --format json 2>&1);
        return $? ? diag $text : decode_json $text;
    };

    my $known = $read->($compose->file) or return fail 'it is refused';
    is_deeply [sort keys %{$known->{services}}], [sort keys %$services], 'the services';

    # a "$" is printed as it would have to be written
    my $words = sub ($list) { $list && [map { s/\$\$/\$/gr } @$list] };

    for my $name (sort keys %$services) {
        my ($mine, $its) = ($services->{$name}, $known->{services}{$name});

        for my $key (qw(entrypoint command)) {
            my $argv = Test::Lines::Compose::words($mine->{$key});
            is_deeply $words->($its->{$key}), $argv, "$name: $key" if $argv && @$argv;
        }

        is_deeply {map { $_ => $its->{depends_on}{$_}{condition} } keys %{$its->{depends_on} // {}}},
          {map { $_ => $mine->{depends_on}{$_}{condition} } keys %{$mine->{depends_on} // {}}}, 'what it waits for';
        is_deeply [sort map { $_->{target} } @{$its->{volumes}}],
          [sort map { (split /:/)[1] } @{$mine->{volumes}}], 'its volumes';
        is $its->{mem_limit}, ($mine->{mem_limit} =~ s/m$//r) * 1024 * 1024, 'its memory';
        is $its->{networks}{default}{ipv4_address}, $compose->address($name), 'its address';
    }

    my $broken = tempdir->child('compose.yaml')->spew(path($compose->file)->slurp =~ s/^    mem_limit/    memory_limit/mr
          =~ s/^  mem_limit/  memory_limit/mr);
    isnt system("$cli -f '$broken' config -q > /dev/null 2>&1"), 0, 'a key that it does not know is refused';
};

done_testing;
