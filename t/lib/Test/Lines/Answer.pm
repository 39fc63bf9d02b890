package Test::Lines::Answer;
use Mojo::Base -base, -signatures;

use Mojo::JSON qw(from_json);

=head1 NAME

Test::Lines::Answer - what a server answered

=head1 SYNOPSIS

    my $answer = $nginx->get('/api/lines/by-user', {Authorization => "Bearer $key"});

    is $answer->status, 200;              # 0 where there was none: see error
    is_deeply $answer->json, {...};       # undef where the body is no JSON
    is $answer->json('/line/id'), '...';  # by JSON pointer
    is $answer->header('Retry-After'), 1; # undef where it is missing
    $answer->body; $answer->headers;      # Mojo::Headers
    $answer->error;                       # of the transport, else undef
    $answer->seconds;                     # how long it took

=cut

has [qw(status body headers error seconds)];

sub json ($self, $pointer = undef) {
    my $data = eval { Mojo::JSON::decode_json($self->body // '') };
    return defined $pointer ? Mojo::JSON::Pointer->new($data)->get($pointer) : $data;
}

sub header ($self, $name) { $self->headers ? $self->headers->header($name) : undef }

# for diag() and test names
sub to_string ($self) {
    return 'no answer: ' . ($self->error // 'unknown') unless $self->status;
    return $self->status . ' ' . substr($self->body // '', 0, 500);
}

sub from_tx ($class, $tx, $seconds = undef) {
    my $res = $tx->res;

    # Mojo fills in an answer of its own where the connection broke before one came
    my $got = defined $res->code && ($res->is_finished || !$tx->error || defined $tx->error->{code});

    return $class->new(
        status  => $got ? $res->code : 0,
        body    => $res->body,
        headers => $res->headers,
        error   => $got ? undef : ($tx->error // {message => 'none'})->{message},
        seconds => $seconds
    );
}

1;
