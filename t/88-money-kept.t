# What a line was bought with stays paid once it has ended, by whatever clock, also when its tenant is gone.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Scenario qw(promise);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;

$s->nginx;

$s->numbers(5);

my %lines = ('a workspace' => sub { $s->active_line }, 'an account' => sub { $s->bought_line });

for my $whose (sort keys %lines) {
    promise "$whose: billing's clock is ahead, the line is released, its tenant deleted, and the payment told again" => sub {
        $sandbox->advance(30);
        my $line = $lines{$whose}->();
        $s->rest($line->{tenant});
        $s->release($line);
        $s->rest($line->{tenant});
        is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], 'nothing goes back';
        $s->remove($line);
        $s->told_again($line);
        $s->rest($line->{tenant});
        is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], '... nor of a tenant that is gone';
    };

    promise "$whose: the same by a clock that is set back once the tenant is deleted" => sub {
        my $line = $lines{$whose}->();
        $s->rest($line->{tenant});
        $s->release($line);
        $s->rest($line->{tenant});
        $s->remove($line);
        # by billing's clock it was all one
        for my $key ($redis->client->keys("lines:{$line->{tenant}}:*")) {
            next unless $key =~ /:(deleted|owed:.*)$/;
            my $more = $1 eq 'deleted' ? 600_000 : 600;
            $redis->cli('SET', $key, $redis->cli('GET', $key) =~ s/^(\d+)/$1 + $more/er, 'KEEPTTL');
        }
        $s->told_again($line);
        $s->rest($line->{tenant});
        $s->told_again($line);
        $s->rest($line->{tenant});
        is_deeply [($s->money($line->{subscription}))[1, 2]], [0, 'canceled'], 'nothing goes back';
    };
}

$t->done;
