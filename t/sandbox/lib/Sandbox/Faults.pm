package Sandbox::Faults;
use Mojo::Base -base, -signatures;

use Mojo::JSON qw(false true);

has list => sub { [] };

my %KINDS = map { ($_ => 1) } qw(delay hold drop_before drop_after 400 401 409 429 500 500_stored);


# Returns the fault, or a sentence that says what is wrong with it.

sub add ($self, $args) {
    my $kind = $args->{kind} // '';

    return (undef, 'path must begin with "/"') unless ($args->{path} // '') =~ m{^/};
    return (undef, 'kind must be one of ' . join ', ', sort keys %KINDS) unless $KINDS{$kind};

    for my $name (qw(times ms)) {
        return (undef, "$name must be a number, zero or more") if defined $args->{$name} && $args->{$name} !~ /^\d+(?:\.\d+)?$/;
    }

    my $fault = {
        path        => $args->{path},
        method      => defined $args->{method} ? uc $args->{method} : undef,
        kind        => "$kind",
        times       => int($args->{times} // 1),
        ms          => ($args->{ms} // 0) + 0,
        effect      => $args->{effect} ? true : false,
        retry_after => $args->{retry_after},
        except      => $args->{except},
        param       => $args->{param},
        seen        => 0,
    };

    push @{$self->list}, $fault;

    return $fault;
}


# The first fault with times left that matches is used once. `usable` may decline one for this request.

sub take ($self, $method, $path, $usable) {
    for my $fault (@{$self->list}) {
        next if $fault->{times} < 1;
        next if defined $fault->{method} && $fault->{method} ne $method;
        next unless _matches($fault->{path}, $path);
        next unless $usable->($fault);

        $fault->{times}--;
        $fault->{seen}++;

        return $fault;
    }

    return undef;
}


sub _matches ($pattern, $path) {
    return 1 if $pattern eq $path;
    return 0 if $pattern !~ m{/:};

    my $regex = join '/', map { /^:/ ? '[^/]+' : quotemeta } split m{/}, $pattern, -1;

    return $path =~ /^$regex$/;
}


1;
