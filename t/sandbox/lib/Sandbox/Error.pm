package Sandbox::Error;
use Mojo::Base -base, -signatures;

# Stripe's errors, with its wording. `kept` says whether an idempotency key keeps the answer: Stripe does not keep what it
# refused before it began.

has [qw(status type code message param)];
has kept    => 1;
has details => sub { {} };
has headers => sub { {} };


sub throw ($class, %args) { die $class->new(%args) }


sub body ($self) {
    my %error = (type => $self->type, message => $self->message, %{$self->details});

    $error{code}    = $self->code                                        if defined $self->code;
    $error{param}   = $self->param                                       if defined $self->param;
    $error{doc_url} = 'https://stripe.com/docs/error-codes/' . ($self->code =~ s/_/-/gr) if defined $self->code;

    return {error => \%error};
}


sub invalid ($class, $message, %args) {
    $class->throw(status => 400, type => 'invalid_request_error', message => $message, %args);
}


# Named in the path, a missing object is a 404; named in a parameter, a 400.

sub missing ($class, $what, $id, %args) {
    $class->throw(
        status  => 404,
        type    => 'invalid_request_error',
        code    => 'resource_missing',
        message => "No such $what: '$id'",
        param   => 'id',
        %args
    );
}


sub card ($class, $card, %details) {
    my %by_card = (
        declined => {
            code    => 'card_declined',
            message => 'Your card was declined.',
            details => {decline_code => 'generic_decline'},
        },
        '3ds' => {
            code    => 'authentication_required',
            message => 'Your card was declined. This transaction requires authentication.',
            details => {decline_code => 'authentication_required'},
        },
    );
    my %error = %{$by_card{$card}};

    $error{details} = {%{$error{details}}, %details};

    $class->throw(status => 402, type => 'card_error', headers => {'Stripe-Should-Retry' => 'false'}, %error);
}


sub key_in_use ($class) {
    return $class->new(
        status  => 409,
        type    => 'idempotency_error',
        code    => 'idempotency_key_in_use',
        message => 'There is currently another in-progress request using this Idempotent Key (that probably means you submitted '
            . 'twice, and the other request is still going through). Please try again later.',
        headers => {'Stripe-Should-Retry' => 'true'},
        kept    => 0,
    );
}


sub key_reused ($class, $message) {
    return $class->new(
        status  => 400,
        type    => 'idempotency_error',
        message => $message,
        headers => {'Stripe-Should-Retry' => 'false'},
        kept    => 0,
    );
}


sub rate_limit ($class) {
    return $class->new(
        status  => 429,
        type    => 'invalid_request_error',
        code    => 'rate_limit',
        message => 'Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.',
        headers => {'Stripe-Should-Retry' => 'true'},
        kept    => 0,
    );
}


sub internal ($class, %args) {
    return $class->new(
        status  => 500,
        type    => 'api_error',
        message => 'An unknown error occurred',
        headers => {'Stripe-Should-Retry' => 'true'},
        kept    => 0,
        %args
    );
}


sub unauthorized ($class, $message) {
    $class->throw(status => 401, type => 'invalid_request_error', message => $message, kept => 0);
}


1;
