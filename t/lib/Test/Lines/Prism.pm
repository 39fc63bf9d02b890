package Test::Lines::Prism;
use Mojo::Base 'Test::Lines::Process', -signatures;

use Carp qw(croak);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Mojo::Util qw(decode);
use Test::Lines ();
use Test::Lines::Client;
use Test::Lines::Node qw(node_dir);
use Test::Lines::Port;

=head1 NAME

Test::Lines::Prism - a proxy that refuses what an OpenAPI document does not allow

=head1 SYNOPSIS

    my ($node, $why_not) = Test::Lines::Prism->available;
    plan skip_all => $why_not unless $node;

    my $sandbox = $t->sandbox;
    my $prism   = $t->prism(upstream => $sandbox->url);
    my $nginx   = $t->nginx(..., http => 'upstream stripe { server 127.0.0.1:' . $prism->port . '; }');
    ...
    is_deeply [$prism->refusals], [], 'every request is as the schema wants it';

=head1 DESCRIPTION

Prism stands between the module and the billing sandbox. A request that
violates the schema is answered with 422 and never reaches the upstream; an
answer that violates it becomes a 500. Options: C<upstream> (a URL; required),
C<spec> (default F<t/data/stripe-openapi.json>), C<port>, C<name>, C<dir>;
C<options>, without whose C<--errors> all goes through, and what is wrong is
told in the header C<sl-violations> of the answer.

=head2 available

The directory of the Node.js packages, or nothing and the reason.

=head2 start, stop

Returns once Prism answers, which takes a second or two.

=head2 url

=head2 refusals

What Prism found wrong so far, a sentence each. An upstream that closed the
connection or timed out is none.

=cut

has name => 'prism';
has dir  => sub ($self) { $self->t->dir };
has port => sub { Test::Lines::Port::free_port() };
has spec => sub ($self) { path(__FILE__)->to_abs->dirname->dirname->dirname->dirname->child('data', 'stripe-openapi.json') };
has options => sub { ['--errors'] };
has [qw(t upstream)];

sub available ($class) { node_dir() }

sub url ($self, $path = '') { 'http://127.0.0.1:' . $self->port . $path }

sub start ($self) {
    my ($node, $why_not) = $self->available;

    croak $why_not unless $node;

    $self->command([
        'node', "$node/node_modules/\@stoplight/prism-cli/dist/index.js",
        'proxy', $self->spec . '', $self->upstream,
        @{$self->options}, '--host', '127.0.0.1', '--port', $self->port
    ]);
    $self->SUPER::start;

    Test::Lines::wait_for(sub {
        croak 'Prism does not start: ' . $self->output unless $self->alive;
        return $self->output =~ /Prism is listening/;
    }, 60, 'Prism');

    return $self;
}

sub refusals ($self) {
    return grep {/Violation:|Request terminated with error: \S+prism\/errors/} split /\n/, decode 'UTF-8', $self->output;
}

1;
