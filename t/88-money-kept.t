# What a line was bought with stays paid once it has ended, by whatever clock, also when its tenant is gone.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
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

promise "billing's clock is ahead: a renewal of before the release stays paid" => sub {
    my $line = $s->active_line;
    my $more = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});
    $s->later;
    $s->release($line);
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}, $more))[1], 0, 'it stays paid';
    $s->told_again({%$line, invoice => $more});
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}, $more))[1], 0, '... also when that is told again';
}, held => 1;

promise "Redis' clock is ahead of billing's: what was paid since the release goes back" => sub {
    my $line = $s->active_line;
    my $open = $sandbox->control("subscriptions/$line->{subscription}/bill" => {})->{id};
    $sandbox->fault(path => '/v1/invoices/:id/void', method => 'POST', kind => 'drop_before', times => 1000);
    $s->release($line);
    # as by a clock that is ten minutes ahead
    $redis->cli('HINCRBY', "lines:{$line->{tenant}}:op:" . substr(sha256_hex("refund:$line->{line}"), 0, 24), since => 600);
    $s->later;
    $sandbox->pay($open);
    $sandbox->clear_faults;
    $s->rest($line->{tenant});
    my ($paid, $back) = $s->money($line->{subscription}, $open);
    is $back, $paid, 'it goes back';
}, held => 1;

promise "Redis' clock is set back, and a renewal of before the release is told again: it stays paid" => sub {
    my $line = $s->active_line;
    my $more = $sandbox->renew($line->{subscription})->{id};
    $s->rest($line->{tenant});
    $s->later;
    $s->release($line);
    $s->rest($line->{tenant});
    $redis->cli('HINCRBY', $redis->line_key(@$line{qw(tenant line)}), $_ => 600_000) for qw(released ended);
    my $owed = "lines:{$line->{tenant}}:owed:$line->{subscription}";
    $redis->cli('SET', $owed, $redis->cli('GET', $owed) =~ s/^(\d+)/$1 + 600/er, 'KEEPTTL');
    $s->told_again({%$line, invoice => $more});
    $s->rest($line->{tenant});
    is +($s->money($line->{subscription}, $more))[1], 0, 'it stays paid';
}, held => 1;

$t->done;
