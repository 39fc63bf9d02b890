package Test::Lines::Compose;
use Mojo::Base -base, -signatures;

use Carp qw(croak);
use Mojo::File qw(path);
use Test::Lines ();
use Test::Lines::Container;
use Text::ParseWords qw(shellwords);
use YAML::PP;

=head1 NAME

Test::Lines::Compose - a compose file, read, and run without an engine

=head1 SYNOPSIS

    my $compose = Test::Lines::Compose->new(file => 'docker/compose.yaml');
    $compose->services->{node1}{mem_limit};

    $compose->t($t)->up;                    # in the order of depends_on
    my $node = $compose->container('node1');
    $compose->wait_healthy('node1');

=head1 DESCRIPTION

C<up> starts each service as a L<Test::Lines::Container>, on a bridge with the
file's own subnet, once those that it depends on are as it asks: started,
healthy, or completed successfully. Restart rules and memory limits are an
engine's matter, and are only read.

=cut

has [qw(t file)];
has started => sub { [] };    # names, in order
has parts   => sub { {} };

has data => sub ($self) {
    my $text = path($self->file)->slurp;

    # the interpolation that the file uses: ${NAME:-default}, and $$ for $
    $text =~ s/\$\{(\w+):-([^}]*)\}/$ENV{$1} || $2/ge;
    $text =~ s/\$\$/\$/g;

    return YAML::PP->new(schema => ['+', 'Merge'])->load_string($text);
};

sub services ($self) { $self->data->{services} }

# what follows the colon in "secrets:/etc/lines:ro"
sub _volumes ($self, $service) {
    my (@mounts, @volumes);

    for (@{$service->{volumes} // []}) {
        my ($from, $to, $mode) = split /:/;
        if   ($from =~ m{^\.}) { push @mounts,  [path($self->file)->to_abs->dirname . "/$from", $to, $mode] }
        else                   { push @volumes, [$from, $to, $mode] }
    }

    return (mounts => \@mounts, volumes => \@volumes);
}

# Compose takes a list as it is, and splits a string as a shell does
sub words ($value) {
    return undef unless defined $value;
    return ref $value ? $value : [shellwords($value)];
}

sub address ($self, $name) { $self->services->{$name}{networks}{default}{ipv4_address} }

sub container ($self, $name) {
    return $self->parts->{$name} //= do {
        my $service = $self->services->{$name} // croak "no service $name";
        my $check   = $service->{healthcheck};

        $self->t->_part(Test::Lines::Container->new(
            t            => $self->t,
            name         => $name,
            image        => $service->{image},
            read_only    => $service->{read_only},
            tmpfs        => $service->{tmpfs},
            hosts        => $service->{extra_hosts},
            network      => $service->{network_mode},
            address      => $self->address($name),
            entrypoint   => words($service->{entrypoint}),
            command_line => words($service->{command}),
            healthcheck  => $check ? ($check->{disable} ? ['NONE'] : $check->{test}) : undef,
            $self->_volumes($service)
        ));
    };
}

sub subnet ($self) { $self->data->{networks}{default}{ipam}{config}[0] }

sub up ($self) {
    my ($bits) = $self->subnet->{subnet} =~ m{/(\d+)$};
    Test::Lines::Container->bridge($self->subnet->{gateway} . "/$bits");

    $self->_up($_) for sort keys %{$self->services};

    return $self;
}

sub _up ($self, $name) {
    return if $self->{seen}{$name}++;

    my $needs = $self->services->{$name}{depends_on} // {};

    for my $other (sort keys %$needs) {
        $self->_up($other);

        my $condition = $needs->{$other}{condition};

        if    ($condition eq 'service_healthy')                { $self->wait_healthy($other) }
        elsif ($condition eq 'service_completed_successfully') { $self->wait_completed($other) }
    }

    $self->container($name)->start;
    push @{$self->started}, $name;
}

sub wait_healthy ($self, $name) {
    my $container = $self->container($name);
    my $output;

    eval {
        Test::Lines::wait_for(sub {
            croak "$name ended:\n" . $container->output unless $container->alive;
            (my $healthy, $output) = $container->healthy;
            return $healthy;
        }, 90, "$name to be healthy");
    } or croak $@ . ($output // '') . $container->output;
}

sub wait_completed ($self, $name) {
    my $container = $self->container($name);

    Test::Lines::wait_for(sub { !$container->alive }, 90, "$name to complete");
    croak "$name failed:\n" . $container->output if $container->status;
}

1;
