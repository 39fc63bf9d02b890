package Test::Lines::Demo;
use Mojo::Base -base, -signatures;

use Mojo::File qw(path);
use Test::Lines qw(wait_for);

=head1 NAME

Test::Lines::Demo - the demo of "make run", of a test's own

=head1 SYNOPSIS

    my $demo = Test::Lines::Demo->new(t => $t);
    my $url  = $demo->env->{LINES_URL};
    system "bash -c '. @{[$demo->file]}; curl \$LINES_READY_URL'";
    $demo->stop;

=head2 new

With the module that is under test, on a free port; it runs when this returns.

=head2 env, file

What F<build/run/env> has, and that file.

=head2 stop

As Ctrl-C does; the end of a test does it, too.

=cut

has 't';
has dir  => sub ($self) { $self->t->dir . '/run' };
has file => sub ($self) { $self->dir . '/env' };
has env  => sub ($self) { +{map { /^(LINES_\w+)=(.*)$/ ? ($1, $2) : () } split /\n/, path($self->file)->slurp} };

sub new ($class, @args) {
    my $self = $class->SUPER::new(@args);
    my $t    = $self->t;

    $self->{process} = $t->spawn(demo => [$^X, $t->root . '/conf/demo/demo.pl', 'run', '--dir', $self->dir, '--module', $ENV{LINES_MODULE}],
        env => {LINES_PORT => $t->free_port});

    # its files come before its words
    wait_for(sub {
        die $self->{process}->output unless $self->{process}->alive;
        return $self->{process}->output =~ /Ctrl-C stops it/;
    }, 120, 'the demo');

    return $self;
}

sub stop ($self) { $self->{process}->stop(60) }

1;
