package Test::Lines::Redis;
use Mojo::Base 'Test::Lines::Process', -signatures;

use Carp qw(croak);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Mojo::JSON qw(decode_json);
use Mojo::File qw(path);
use Redis;
use Test::Lines::Util qw(write_file);
use Time::HiRes ();

# as in production
my $recommended = path(__FILE__)->realpath->dirname->dirname->dirname->dirname->dirname->child('conf/redis.conf');

=head1 NAME

Test::Lines::Redis - a Redis server of a test's own

=head1 SYNOPSIS

    my $redis = $t->redis;

    $redis->url;               # redis://127.0.0.1:PORT/0
    $redis->unix_url;          # unix:/path
    $redis->port; $redis->socket;
    $redis->client;            # a new connection: Redis (libredis-perl)
    $redis->cli('HGETALL', 'lines:{w:one}:t');    # of a kept connection
    $redis->stop;   $redis->start;   $redis->restart;   $redis->kill;
    $redis->pause;  $redis->cont;                       # SIGSTOP, SIGCONT
    $redis->nodes;                                      # [$redis], or those of a cluster
    $redis->node_of('lines:{w:one}:t');    # itself, or of a cluster the node that has that key

=head1 DESCRIPTION

Has the settings of F<conf/redis.conf> (a restart loses nothing), listens on a
TCP port and on a Unix socket, and allows DEBUG. Options of L<Test::Lines/redis>:
C<name>, C<conf> (lines of redis.conf that follow the harness' own and so win),
C<args> (of the command line), C<password> (for the harness' own connections
where C<conf> sets one), C<user>, C<server> (the program, default
$LINES_REDIS_SERVER or redis-server).

Where LINES_TEST_REDIS says so a test has one of another kind instead, which is
used alike: L<Test::Lines::Redis::Tls>, L<Test::Lines::Redis::Sentinel>,
L<Test::Lines::Redis::Cluster>.

=cut

has [qw(port socket user password)];
has conf   => '';
has args   => sub { [] };
has server => sub { $ENV{LINES_REDIS_SERVER} || 'redis-server' };

# of lines_redis, beside the URL; lines of redis.conf; other parts of the test
sub options    ($self) {''}
sub own_conf   ($self) {''}
sub companions ($self) { () }

sub url ($self) { 'redis://127.0.0.1:' . $self->port . '/0' }

# the servers of which it is one, and that which has the key
sub nodes ($self) { [$self] }
sub node_of ($self, $key) {$self}

sub unix_url ($self) { 'unix:' . $self->socket }

sub start ($self) {
    my $home = path($self->dir, $self->name)->make_path;
    my $file = $home->child('redis.conf');

    # a Sentinel of Redis 8 with a file like this fails as it ends, and says so for seconds
    my $sentinel = (grep { $_ eq '--sentinel' } @{$self->args}) ? 'appendonly no' : '';

    write_file($file, <<"END" . $self->own_conf . $self->conf . "\n");
include $recommended
bind 127.0.0.1
port $self->{port}
unixsocket $self->{socket}
unixsocketperm 777
daemonize no
dir $home
enable-debug-command local
$sentinel
END

    $self->command([$self->server, "$file", @{$self->args}]);
    $self->SUPER::start;

    my $end = Time::HiRes::time() + 30 * ($ENV{LINES_SLOW} || 1);

    until (eval { $self->ready }) {
        croak 'redis does not start: ' . $self->output unless $self->alive;
        croak 'redis is not ready: ' . $self->output if Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.02);
    }

    return $self;
}

# a PONG, or a refusal that only a server in service gives; LOADING is neither
sub ready ($self) {
    my $socket = IO::Socket::UNIX->new(Peer => $self->socket) or return 0;

    print $socket "PING\r\n";
    my $line = <$socket> // '';

    return $line =~ /^\+PONG|^-NOAUTH|^-NOPERM/;
}

sub client ($self, %options) {
    my $redis = Redis->new(
        sock     => $self->socket,
        encoding => undef,
        (defined $self->user     ? (username => $self->user)     : ()),
        (defined $self->password ? (password => $self->password) : ()),
        %options
    );

    return $redis;
}

# runs a command on a connection that is made when needed; replies as Redis.pm
# gives them (lists are flat in list context, else a reference)
sub cli ($self, $command, @args) {
    delete $self->{kept} unless $self->{kept_pid} && $self->{kept_pid} == $$;

    if (!$self->{kept} || !eval { $self->{kept}->ping }) {
        $self->{kept} = $self->client;
        $self->{kept_pid} = $$;
    }

    my ($name, @more) = split / /, lc $command;

    return $self->{kept}->$name(@more, @args);
}

sub pause ($self) { $self->signal('STOP') }
sub cont  ($self) { $self->signal('CONT') }

sub restart ($self) {
    $self->stop;
    return $self->start;
}

=head2 line, line_key, line_before

    my $fields = $redis->line('w:one', $id);          # all of them, whatever the layout
    $redis->cli(HSET => $redis->line_key('w:one', $id), status => 'failed');
    $redis->line_before('w:one', $id, type => '');    # as the release before wrote it

A line's fields; the hash where those are that scripts decide by; and the line
put into the layout before, some of its fields changed.

=cut

sub line_key ($self, $tenant, $id) {
    my $record = "lines:{$tenant}:rec:$id";
    return $self->cli(EXISTS => $record) ? $record : "lines:{$tenant}:line:$id";
}

sub line ($self, $tenant, $id) {
    my $key = $self->line_key($tenant, $id);
    my $all = eval { $self->cli(HGETALL => $key) };

    # it has got the other layout since
    my %h = @{$all // $self->cli(HGETALL => $key = $self->line_key($tenant, $id))};

    return \%h if $key !~ /:rec:/;

    my ($json) = $self->cli(GET => "lines:{$tenant}:line:$id") =~ /(\{.*\})/s;
    my $doc = decode_json($json);
    my %shown = (
        type => 'lineType', first => 'firstName', last => 'lastName', email => 'email', zipcode => 'zipcode', state => 'state',
        forwards => 'forwardCallsTo', image => 'profileImageUrl', conversations => 'dailyNewConversationsLimit', messages => 'dailyTotalMessagesLimit'
    );

    return {(map { $_ => $doc->{$shown{$_}} // '' } keys %shown), (map { $_ => '' } qw(lapsed ended released suspended place reason phone subscription invoice)), %h,
        id => $id, tenant => $tenant, json => $json};
}

sub line_before ($self, $tenant, $id, %fields) {
    my %h = (%{$self->line($tenant, $id)}, %fields);

    $self->cli(DEL => map {"lines:{$tenant}:$_:$id"} 'rec', 'line');
    $self->cli(HSET => "lines:{$tenant}:line:$id", %h);
}

=head2 events

    my @events = $redis->events('w:one');             # as hashes, oldest first

=cut

sub events ($self, $tenant) { map { decode_json($_) } @{scalar $self->cli(LRANGE => "lines:{$tenant}:journal", 0, -1)} }

=head2 strangers

    is_deeply [$redis->strangers], [], 'all that is there is of the schema';

What F<src/store/schema> does not name: keys, keys of another type, fields of
hashes ("line: colour"). A capital word of the schema stands for any.

=cut

sub strangers ($self) {
    my (@keys, $last);
    my $in_schema = path(__FILE__)->realpath->dirname->dirname->dirname->dirname->dirname->child('src/store/schema');

    for (split /\n/, $in_schema->slurp) {
        if (/^(\w+)\s+(\S+)\s+(\w+)/) {
            push @keys, my $key = {name => $1, type => $3, pattern => quotemeta $2, fields => []};
            $key->{pattern} =~ s/\\<\w+?(\\:int)?\\>/$1 ? '\\d+' : '[^{}]+?'/ge;
        }
        elsif (/^\s+(?:(is|store|fields|gone):)?\s*(.*)/) {
            $last = $1 // $last;
            push @{$keys[-1]{fields}}, map { s/([^A-Z]+)|[A-Z]+/defined $1 ? quotemeta $1 : '.+'/ger } split ' ', $2 if $last eq 'fields';
        }
    }

    my %strange;

    for my $name ($self->cli('KEYS', '*')) {
        my $type = $self->cli('TYPE', $name);
        next if $type eq 'none';    # gone meanwhile
        my ($key) = grep { $name =~ /^$_->{pattern}$/ && $type eq $_->{type} } @keys;

        if (!$key) { $strange{"$type $name"}++ }
        elsif (my $known = join '|', @{$key->{fields}}) {
            $strange{"$key->{name}: $_"}++ for grep { !/^(?:$known)$/ } $self->cli('HKEYS', $name);
        }
    }

    return sort keys %strange;
}

=head2 ownerless

    is_deeply [$redis->ownerless], [], 'each index has what it names';

Ids of indices that stay though there is no line, unfinished operation or ticket
of that id.

=cut

sub ownerless ($self) {
    my @ids;

    for my $name ($self->cli('KEYS', 'lines:{ix:*}')) {
        my ($id) = $name =~ /^lines:\{ix:(ticket\.\d+|[0-9a-f]{24})\}$/ or next;
        my $tenant = $self->cli('GET', $name) // next;
        next if $self->cli('TTL', $name) != -1;

        my @keys = $id =~ /^ticket/ ? $id =~ s/\./:/r : ("line:$id", "op:$id");
        my ($there) = grep { $self->cli('EXISTS', "lines:{$tenant}:$_") && $self->cli('TTL', "lines:{$tenant}:$_") == -1 } @keys;
        push @ids, $id if !$there;
    }

    return sort @ids;
}

1;
