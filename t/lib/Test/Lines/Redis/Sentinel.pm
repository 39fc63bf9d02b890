package Test::Lines::Redis::Sentinel;
use Mojo::Base 'Test::Lines::Redis', -signatures;

use Test::Lines::Port;

=head1 NAME

Test::Lines::Redis::Sentinel - a Redis that nginx is led to by a Sentinel

=head1 DESCRIPTION

What C<< $t->redis >> gives where LINES_TEST_REDIS is C<sentinel>. There is
nobody to be promoted, so that who is killed or paused is away until it comes
back, as the one Redis is which tests are written for; failovers are for
t/13-redis-sentinel and t/lab.

=cut

has sentinel => sub ($self) {
    my $name = $self->name . '-sentinel';

    return Test::Lines::Redis->new(
        name   => $name,
        dir    => $self->dir,
        port   => Test::Lines::Port::free_port(),
        socket => $self->dir . "/$name.sock",
        args   => ['--sentinel'],
        conf   => <<"END"
sentinel monitor lines 127.0.0.1 @{[$self->port]} 1
sentinel down-after-milliseconds lines 500
@{[defined $self->password ? 'sentinel auth-pass lines ' . $self->password : '']}
END
    );
};

sub url ($self) { 'redis+sentinel://127.0.0.1:' . $self->sentinel->port . '/lines' }

sub companions ($self) { $self->sentinel }

sub start ($self) {
    $self->SUPER::start;
    $self->sentinel->start if !$self->sentinel->alive;
    return $self;
}

1;
