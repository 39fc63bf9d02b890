# A list's pages, as the script reads them: all lines, once, in their order, whatever comes and goes in between.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it';
use Test::Lines;
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $redis   = $t->redis;
my $client  = $redis->client;
my $scripts = Test::Lines::Script->new(redis => $redis);
my $key     = 'lines:{prov}';

# behind: score and member of the last one; "between" runs before each page but the first
sub pages ($oldest, $most, $behind = ['', ''], $between = sub { }) {
    my (@pages, $exhausted);
    for (my $n = 0; !$exhausted; $n++) {
        $between->(\@pages) if $n;
        my @members;
        ($exhausted, @members) = @{$scripts->run(lines_page => [$key], $oldest ? 1 : '', @$behind, $most)};
        BAIL_OUT('it does not end') if $n > 500;
        push @pages, [@members[grep { !($_ % 2) } 0 .. $#members]];
        $behind = [@members[-1, -2]] if @members;
    }
    return @pages;
}

sub fill (%scores) {
    $client->del($key);
    $client->zadd($key, map { ($scores{$_}, $_) } keys %scores) if %scores;
    return map { $_ } $client->zrange($key, 0, -1);
}

subtest 'nothing' => sub {
    fill();
    is_deeply [pages($_, 3)], [[]], $_ ? 'oldest first' : 'newest first' for 0, 1;
};

subtest 'many of one instant' => sub {
    for my $round (1 .. 30) {
        my @all  = fill(map { (sprintf('%s:%s %x', qw(w a)[rand 2], join('', map { ('a', 'B', '_', '-', 'z')[rand 5] } 1 .. 3), rand 16) => int rand 4) } 1 .. 40);
        my $most = 1 + int rand 9;
        my @old  = pages(1, $most);
        my @new  = pages(0, $most);
        is_deeply [map {@$_} @old], \@all, "oldest first, by $most" or last;
        is_deeply [map {@$_} @new], [reverse @all], "newest first, by $most" or last;
        ok !(grep { !@$_ } @old[0 .. $#old - 1]), 'no page is empty while others follow';
    }
};

subtest 'the last one of a page goes, others come' => sub {
    my @all = fill(map { ($_ => 7) } 'a' .. 'j');
    my $gone = sub ($pages) { $client->zrem($key, $pages->[-1][-1]); $client->zadd($key, 7, 'aa', 9, 'new') };
    is_deeply [map {@$_} pages(0, 3, ['', ''], $gone)], [reverse('b' .. 'j'), 'aa', 'a'], 'newest first';

    fill(map { ($_ => 7) } 'a' .. 'j');
    is_deeply [map {@$_} pages(1, 3, ['', ''], sub ($pages) { $client->zrem($key, $pages->[-1][-1]) })], ['a' .. 'j'], 'oldest first';
    is_deeply [map {@$_} pages(1, 3, [7, 'zz'])], [], 'behind the last of all';
    is_deeply [map {@$_} pages(0, 3, [7, 'zz'])], [reverse map { $_ } $client->zrange($key, 0, -1)], 'and before it';
};

subtest 'the order of bytes' => sub {
    my @all = fill(map { ($_ => 1) } 'A', 'a', 'aa', 'a b', 'B', 'b', '_', "\x{e4}", '-');
    is_deeply [map {@$_} pages(1, 1)], \@all, 'is the order';
    is_deeply [map {@$_} pages(0, 1)], [reverse @all], 'both ways';
};

$t->done;
