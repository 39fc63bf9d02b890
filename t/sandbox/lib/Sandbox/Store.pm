package Sandbox::Store;
use Mojo::Base 'Mojo::EventEmitter', -signatures;

use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json false);
use Mojo::Util qw(decode encode);

# What the sandbox knows: objects, the ledger, the events, and its clock.

use constant API_VERSION => '2026-10-28.endive';
use constant LOG_LENGTH  => 20_000;

has offset      => 0;
has collections => sub { {} };
has order       => sub { {} };
has ledger      => sub { [] };
has sent        => sub { [] };
has requests    => sub { [] };


sub now ($self) { time + $self->offset }


sub id ($self, $prefix) {
    state $letters = ['0' .. '9', 'A' .. 'Z', 'a' .. 'z'];

    return "${prefix}_" . join '', map { $letters->[rand @$letters] } 1 .. 24;
}


sub put ($self, $collection, $object) {
    push @{$self->order->{$collection}}, $object->{id} unless $self->collections->{$collection}{$object->{id}};

    return $self->collections->{$collection}{$object->{id}} = $object;
}


sub get ($self, $collection, $id) { $self->collections->{$collection}{$id} }


# Newest first, as all of Stripe's lists are.

sub all ($self, $collection, $filter = undef) {
    my $objects = $self->collections->{$collection};
    my @all     = map { $objects->{$_} } reverse @{$self->order->{$collection} // []};

    return [$filter ? grep { $filter->($_) } @all : @all];
}


# of a collection, the first that was made first
sub ids ($self, $collection) { $self->order->{$collection} // [] }


sub record ($self, $type, %entry) {
    push @{$self->ledger}, {
        type         => $type,
        customer     => $entry{customer},
        subscription => $entry{subscription},
        invoice      => $entry{invoice},
        amount       => $entry{amount} // 0,
        currency     => $entry{currency} // 'usd',
        metadata     => {%{$entry{metadata} // {}}},
        at           => $self->now,
    };
}


# The event keeps the object as it is at this instant: its bytes are made here, once.

sub announce ($self, $type, $object, $previous = undef) {
    my $event = {
        id               => $self->id('evt'),
        object           => 'event',
        api_version      => API_VERSION,
        created          => $self->now,
        data             => {object => $object, $previous ? (previous_attributes => $previous) : ()},
        livemode         => false,
        pending_webhooks => 1,
        request          => {id => undef, idempotency_key => undef},
        type             => $type,
    };
    my $record = {id => $event->{id}, type => $type, raw => encode_json($event)};

    _push($self->sent, $record);

    $self->emit(event => $record);
}


sub log_request ($self, $entry) {
    _push($self->requests, $entry);

    return $entry;
}


sub _push ($log, $entry) {
    push @$log, $entry;
    shift @$log if @$log > LOG_LENGTH;
}


sub clear ($self) {
    $self->offset(0)->collections({})->order({})->ledger([])->sent([])->requests([]);
}


# `$more` is what others want to be kept with it.

sub save ($self, $file, $more) {
    my %state = (%$more, map { ($_ => $self->$_) } qw(offset collections order ledger));

    $state{sent} = [map { {%$_, raw => decode('UTF-8', $_->{raw})} } @{$self->sent}];

    write_file($file, encode_json(\%state));
}


# Whole or not at all.

sub write_file ($file, $bytes) {
    open my $out, '>:raw', "$file.tmp" or die "Cannot write $file.tmp: $!\n";

    print {$out} $bytes;
    close $out and rename "$file.tmp", $file or die "Cannot write $file: $!\n";
}


sub load ($self, $file) {
    return undef unless -s $file;

    my $state = decode_json(path($file)->slurp);

    $self->$_($state->{$_}) for qw(offset collections order ledger);
    $self->sent([map { {%$_, raw => encode('UTF-8', $_->{raw})} } @{$state->{sent}}]);

    return $state;
}


1;
