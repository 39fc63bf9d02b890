package Sandbox::Webhooks;
use Mojo::Base -base, -signatures;

use Digest::SHA qw(hmac_sha256_hex);
use Mojo::IOLoop;
use Mojo::JSON qw(false true);
use Mojo::UserAgent;
use Mojo::Util qw(decode encode);
use Time::HiRes ();

# Events go out signed, several at a time, and again when they are refused; with copies, in random order or late when asked for.

use constant {
    AT_ONCE    => 4,
    FIRST_WAIT => 0.2,
    LONG_WAIT  => 3,
    SHUFFLE_MS => 300,
    HISTORY    => 2_000,
};

has to        => undef;
has secrets   => sub { [] };
has duplicate => 0;
has delay_ms  => 0;
has shuffle   => sub {false};
has retry_for => 300;

has ready     => sub { [] };
has waiting   => sub { {} };
has in_flight => sub { {} };
has history   => sub { [] };
has delivered => 0;
has failed    => 0;
has ua        => sub { Mojo::UserAgent->new(connect_timeout => 3, request_timeout => 15, max_redirects => 0) };


sub enqueue ($self, $event) {
    return unless defined $self->to;

    for my $copy (0 .. $self->duplicate) {
        my $hold = $self->delay_ms + ($self->shuffle ? rand SHUFFLE_MS : 0);

        $self->_hold({%$event, copy => $copy, attempts => 0, since => Time::HiRes::time()}, $hold / 1000);
    }
}


sub _hold ($self, $delivery, $seconds) {
    my $id;

    $id = Mojo::IOLoop->timer($seconds => sub {
        delete $self->waiting->{$id};
        push @{$self->ready}, $delivery;
        $self->_pump;
    });

    $self->waiting->{$id} = $delivery;
}


sub _pump ($self) {
    my $ready = $self->ready;

    while (@$ready && keys %{$self->in_flight} < AT_ONCE) {
        $self->_send(splice @$ready, $self->shuffle ? rand @$ready : 0, 1);
    }
}


# Signed anew at each attempt, and by the real clock: the receiver has no other.

sub _send ($self, $delivery) {
    return unless defined $self->to;

    my $time   = time;
    my @v1     = map { 'v1=' . hmac_sha256_hex("$time.$delivery->{raw}", $_) } @{$self->secrets};
    my $number = ++$delivery->{attempts};
    my $key    = "$delivery->{id}/$delivery->{copy}/$number";

    $self->in_flight->{$key} = $delivery;

    my $headers = {
        'Content-Type'     => 'application/json; charset=utf-8',
        'Stripe-Signature' => join(',', "t=$time", @v1),
        'User-Agent'       => 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
    };

    $self->ua->post($self->to, $headers, $delivery->{raw} => sub ($ua, $tx) {
        delete $self->in_flight->{$key};
        $self->_sent($delivery, $tx);
        $self->_pump;
    });
}


sub _sent ($self, $delivery, $tx) {
    my $status = $tx->res->code;
    my $ok     = !$tx->error && $status =~ /^2/;
    my $wait   = FIRST_WAIT * 2**($delivery->{attempts} - 1);
    my $left   = $delivery->{since} + $self->retry_for - Time::HiRes::time();

    $wait = LONG_WAIT if $wait > LONG_WAIT;

    my $history = $self->history;
    shift @$history if @$history >= HISTORY;
    push @$history, {
        event   => $delivery->{id},
        type    => $delivery->{type},
        copy    => $delivery->{copy},
        attempt => $delivery->{attempts},
        status  => $status,
        error   => $status ? undef : $tx->error && $tx->error->{message},
        at      => Time::HiRes::time(),
    };

    return $self->delivered($self->delivered + 1)  if $ok;
    return $self->failed($self->failed + 1) if $wait > $left;

    $self->_hold($delivery, $wait);
}


# Returns a sentence that says what is wrong, or nothing.

sub configure ($self, $args) {
    for my $name (qw(duplicate delay_ms retry_for)) {
        return "$name must be a number, zero or more" if exists $args->{$name} && ($args->{$name} // '') !~ /^\d+(?:\.\d+)?$/;
    }

    return 'to must be an http URL or null' if defined $args->{to} && $args->{to} !~ m{^https?://};

    $self->duplicate(int $args->{duplicate}) if exists $args->{duplicate};
    $self->$_($args->{$_} + 0) for grep { exists $args->{$_} } qw(delay_ms retry_for);
    $self->shuffle($args->{shuffle} ? true : false) if exists $args->{shuffle};
    $self->to($args->{to}) if exists $args->{to};

    return undef;
}


sub pending ($self) {
    return (@{$self->ready}, values %{$self->waiting}, values %{$self->in_flight});
}


# With the last so many attempts.

sub report ($self, $attempts = HISTORY) {
    my @pending = $self->pending;
    my $history = $self->history;
    my $first   = $attempts < @$history ? @$history - $attempts : 0;

    return {
        (map { ($_ => $self->$_) } qw(to duplicate shuffle delay_ms retry_for delivered failed)),
        idle       => @pending ? false : true,
        queued     => scalar(@{$self->ready}) + keys %{$self->waiting},
        in_flight  => scalar keys %{$self->in_flight},
        deliveries => [@{$history}[$first .. $#$history]],
    };
}


sub saved ($self) {
    return [map { +{%$_, raw => decode('UTF-8', $_->{raw})} } $self->pending];
}


sub resume ($self, $deliveries) {
    $self->_hold({%$_, raw => encode('UTF-8', $_->{raw})}, 0) for @$deliveries;
}


sub clear ($self) {
    Mojo::IOLoop->remove($_) for keys %{$self->waiting};

    $self->waiting({})->ready([])->history([])->delivered(0)->failed(0);
    $self->duplicate(0)->delay_ms(0)->shuffle(false)->retry_for(300);
}


1;
