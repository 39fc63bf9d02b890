package Sandbox::Idempotency;
use Mojo::Base -base, -signatures;

use Mojo::JSON qw(encode_json);
use Sandbox::Error;

# Idempotency keys as Stripe keeps them: the saved status and body come back for 24 hours, whatever they were.

use constant LIFETIME => 24 * 3600;

has store   => undef, weak => 1;
has records => sub { {} };


# Returns the record of a new key, or of one with a saved answer; dies with an Error where the key may not be used now.

sub begin ($self, $key, $method, $path, $params) {
    Sandbox::Error->invalid('Idempotency keys can be at most 255 characters long.', kept => 0) if length $key > 255;

    my $now    = $self->store->now;
    my $print  = encode_json($params);
    my $record = $self->records->{$key};

    undef $record if $record && $record->{answer} && $record->{at} + LIFETIME <= $now;

    return $self->records->{$key} = {key => $key, method => $method, path => $path, print => $print, at => $now}
        unless $record;

    die Sandbox::Error->key_reused("Keys for idempotent requests can only be used for the same endpoint they were first used for "
            . "('$path' vs '$record->{path}'). Try using a key other than '$key' if you meant to execute a different request.")
        if $record->{path} ne $path || $record->{method} ne $method;

    die Sandbox::Error->key_reused('Keys for idempotent requests can only be used with the same parameters they were first used '
            . "with. Try using a key other than '$key' if you meant to execute a different request.")
        if $record->{print} ne $print;

    die Sandbox::Error->key_in_use unless $record->{answer};

    return $record;
}


sub knows ($self, $key) {
    my $record = $self->records->{$key} or return 0;

    return !$record->{answer} || $record->{at} + LIFETIME > $self->store->now;
}


sub keep ($self, $record, $answer) { $record->{answer} = $answer }


sub forget ($self, $record) { delete $self->records->{$record->{key}} }


# A request that was under way when the sandbox stopped is no longer.

sub saved ($self) {
    my $keys = $self->records;

    return {map { ($_ => $keys->{$_}) } grep { $keys->{$_}{answer} } keys %$keys};
}


1;
