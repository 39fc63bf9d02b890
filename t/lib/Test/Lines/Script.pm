package Test::Lines::Script;
use Mojo::Base -base, -signatures;

use Mojo::File qw(path);

=head1 NAME

Test::Lines::Script - the scripts of src/store/scripts, run without nginx

=head1 SYNOPSIS

    my $scripts = Test::Lines::Script->new(redis => $t->redis);

    my $reply = $scripts->run(inv_lease => \@keys, @args);     # a list as an array

    my @replies = $scripts->race(200, 8, sub ($s, $i) { $s->run(...) });

C<race> spreads so many calls over processes with a connection each, which
start at the same instant; replies come in no order.

=cut

has 'redis';
has client => sub ($self) { $self->redis->client };
has root   => sub { path(__FILE__)->to_abs->dirname->dirname->dirname->dirname->dirname };

sub source ($self, $name) {
    state %source;

    my $dir = $self->root . '/src/store/scripts';
    return $source{$name} //= do {
        open my $out, '-|', 'sh', "$dir/embed.sh", $dir, '-', $name or die "embed.sh: $!";
        local $/;
        my $text = <$out>;
        close $out or die "$name does not expand";
        $text;
    };
}

# what it is called by
sub sha ($self, $name) { Mojo::Util::sha1_sum($self->source($name)) }

sub run ($self, $name, $keys, @args) {
    my $sha = $self->{sha}{$name} //= $self->client->script_load($self->source($name));

    return scalar $self->client->evalsha($sha, scalar @$keys, @$keys, @args);
}

sub race ($self, $count, $processes, $code) {
    my $gate = "test:gate:$$:" . ++$self->{gates};
    my @pipes;

    for my $process (0 .. $processes - 1) {
        pipe my $in, my $out or die "pipe: $!";

        my $pid = fork // die "fork: $!";

        if (!$pid) {
            close $in;
            my $mine = Test::Lines::Script->new(redis => $self->redis);

            my @results = eval {
                $mine->client->incr($gate);
                1 until $mine->client->get($gate) >= $processes;
                map { $code->($mine, $_) } grep { $_ % $processes == $process } 0 .. $count - 1;
            };
            print $out Mojo::JSON::encode_json($@ ? ["died: $@"] : \@results);
            close $out;
            POSIX::_exit(0);
        }

        close $out;
        push @pipes, [$pid, $in];
    }

    my @results;

    for my $pipe (@pipes) {
        my $in = $pipe->[1];
        local $/;
        push @results, @{Mojo::JSON::decode_json(scalar <$in>)};
        waitpid $pipe->[0], 0;
    }

    return @results;
}

require Mojo::JSON;
require Mojo::Util;
require POSIX;

1;
