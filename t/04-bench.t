# What the bench measures with: a generator that counts what is wrong, medians, what must be reached, a picture.
use Mojo::Base -strict, -signatures;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/bench/lib";
use Bench::Load;
use Bench::Report;
use Bench::World;
use Mojo::DOM;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::Lines;
use Test::Lines::Once build => 'nothing of the module is in it', store => 'nothing is stored';
use Test::Lines::Util qw(write_file);
use Test::More;

my $t    = Test::Lines->new;
my $long = 'x' x 200_000;

path($t->dir, 'files')->make_path;
write_file(path($t->dir, 'files', 'long'),    "$long-the end");
write_file(path($t->dir, 'files', 'chunked'), "$long-the end");

write_file(path($t->dir, 'files', 'limited'), 'ok');

my $nginx = $t->nginx(http => 'limit_req_zone $request_uri zone=limited:1m rate=10r/s;', server => <<"END");
location /short { return 200 'short'; }
location = /one { return 200 '\$http_x_one'; }
location /limited { limit_req zone=limited burst=100 nodelay; limit_req_status 429; root @{[$t->dir]}/files; try_files /limited =404; }
location = /no { return 429 'no'; }
location = /long { root @{[$t->dir]}/files; }
location = /chunked { root @{[$t->dir]}/files; sub_filter_types *; sub_filter 'the end' 'THE END'; }
END

my $load = Bench::Load->new(dir => $t->dir);
my %how  = (port => $nginx->port, connections => 4, seconds => 30);

sub requests ($path, $needle = '', $headers = {}) { $load->file('some', map { Bench::Load::request(GET => $path, $headers, '', $needle) } 1 .. 5) }

subtest 'each answer is looked at' => sub {
    is system($ENV{CC} || 'cc', qw(-O2 -Wall -Wextra -Werror -o), path($t->dir, 'strict'), "$FindBin::Bin/bench/offer.c"), 0, 'it compiles without a warning';

    my $got = $load->run(%how, count => 50, file => requests('/short', 'hor'));
    is $got->{answered}, 50, 'so many, and no more';
    is_deeply $got->{codes}, {200 => 50}, 'by status';
    is $got->{bad}, 0, 'all good';
    is $got->{bytes}, 250, 'bytes of bodies';

    is $load->run(%how, count => 50, file => requests('/short', 'long'))->{bad}, 50, 'another body is wrong';
    is $load->run(%how, count => 50, file => requests('/no'))->{bad}, 50, 'so is another status';
    is $load->run(%how, count => 50, depth => 8, file => requests('/short', 'short'))->{bad}, 0, 'pipelined';
    ok !eval { $load->must(what => %how, count => 5, file => requests('/no')); 1 }, 'where nothing may fail, it is said';

    for ([long => 'the end'], [chunked => 'THE END'], [chunked => 'x-THE END']) {
        my ($name, $end) = @$_;
        my $got = $load->run(%how, count => 10, file => requests("/$name", $end));
        is $got->{bad}, 0, "$name: to its end";
        is $got->{bytes}, 10 * (8 + length $long), "$name: no byte more or less";
        is $load->run(%how, count => 10, file => requests("/$name", 'another end'))->{bad}, 10, "$name: another end is wrong";
    }
};

subtest 'what is kept' => sub {
    my $got = $load->run(%how, count => 5, keep => 1, file => requests('/one', '', {'X-One' => '@' x 16}));
    is scalar(grep { $_->[0] == 200 && $_->[1] =~ /^[0-9a-f]{16}$/ } @{$got->{answers}}), 5, 'status and body by the place in the file';
    is keys(%{{map { $_->[1] => 1 } @{$got->{answers}}}}), 5, 'and a number of its own for each';

    $got = $load->run(%how, count => 5, keep => 1, file => requests('/chunked'));
    is_deeply [map { length $_->[1] } @{$got->{answers}}], [(8 + length $long) x 5], 'chunks are put together';
};

subtest 'an open load' => sub {
    my $got = $load->run(%how, rate => 400, seconds => 0.5, file => requests('/short'));
    cmp_ok $got->{due}, '<=', 200, 'no more than are due';
    is $got->{answered}, $got->{sent}, 'all that was sent is answered';
    cmp_ok $got->{took}, '>=', 0.49, 'when they are due, not before';

    $got = $load->run(%how, connections => 1, rate => 1_000_000, seconds => 0.2, file => requests('/short', 'short'));
    cmp_ok $got->{unsent}, '>', 0, 'who is offered too much does not come to all of it';
    cmp_ok $got->{p50}, '>', $got->{sent_p50}, 'waits count from when it was due';
    is $got->{bad}, 0, 'and what is answered is good';
};

subtest 'a limit that is none is found' => sub {
    my $world   = Bench::World->new(load => $load);
    my $request = Bench::Load::request(GET => '/limited', {});

    ok eval { $world->limited('a limit', $nginx->port, $request, 100, 10); 1 } or diag $@;
    for ([short => 100, 'none'], ['limited?2' => 5000, 'a smaller one'], ['limited?3' => 30, 'a larger one']) {
        my ($path, $burst, $name) = @$_;
        ok !eval { $world->limited($name, $nginx->port, $request =~ s/limited/$path/r, $burst, 10); 1 }, $name;
        like $@, qr/not in force|nothing was refused/, "$name: said";
    }
};

subtest 'medians and goals' => sub {
    my @rows = (
        {id => 'return', group => 'floor', name => 'nothing', tenants => 1000, connections => 128, rate => 15000, floor => 1},
        {id => 'read-1000', group => 'read', name => '`read` & <more>', tenants => 1000, connections => 128, rate => 15000, base => 'return'},
        {id => 'lua-script-1000', group => 'read', name => 'Lua', tenants => 1000, connections => 128, rate => 15000, base => 'return', best => 1}
    );
    my $round = sub ($cpu, %more) { return {rate => 1e6 / $cpu, cpu => $cpu, main => 2, limits => 1, busy => 99, load => 10, kept => 0, rss => 10, bad => 0, asked => 100, p50 => 1, p99 => 2, late => 0, %more} };
    my %rounds = (
        return            => [map { $round->($_) } 10, 9, 30],
        'read-1000'       => [map { $round->($_, main => 2.5) } 12, 11, 13],
        'lua-script-1000' => [$round->(40, p99 => 7), $round->(30, late => 1), $round->(50, bad => 3, p99 => 9)]
    );
    my $report = Bench::Report->new(rows => \@rows, rounds => \%rounds, more => [{id => 'memory', name => 'bytes', value => 5001}], head => {
        cores => 2, apart => 1, model => 'a machine', rounds => 3, seconds => 1, disk => [1, 2], load => 3, limits => 1, versions => {nginx => 1, redis => 7}, at => 'today'
    });

    is $report->value('return', 'cpu'), 10, 'the median';
    is $report->value('lua-script-1000', 'cpu'), 30, 'of Lua the best';
    is $report->figures->{'lua-script-1000'}{bad}, 3, 'all that was wrong';
    is $report->figures->{'lua-script-1000'}{late}, 0, 'behind in one round is not behind';

    my %goals = map { $_->[0] => $_ } $report->goals;
    is_deeply $goals{"read, limit on, 1,000 tenants: CPU of `return 200`'s, ×"}, ["read, limit on, 1,000 tenants: CPU of `return 200`'s, ×", '1.20', '≤ 1.3', 1], 'held';
    is $goals{'read, limit on, 1,000 tenants: Redis, where `return 200` is 9.5 µs'}[1], '3.33 µs', 'both stores, as if the floor were what it was';
    is $goals{"read, limit on, 1,000 tenants: requests/s of the best Lua's, ×"}[3], 1, 'at least so much';
    is $goals{"read, limit on, 60,000 tenants: CPU of `return 200`'s, ×"}[3], undef, 'not measured is neither';
    is $goals{'Redis for a tenant with two lines and a key'}[3], 0, 'not held';
    like $report->text, qr/^\| `read` & <more> \| 1,000 \| 128 \| 83,333 \| 99 % \| 12\.0 \(11\.0–13\.0\) \| 1\.20 \| 2\.50 \| 1\.00 \| 15,000 \|/m, 'a row of the table';

    $report->write($t->dir);
    my $dom = Mojo::DOM->new->xml(1)->parse(Mojo::Util::decode('UTF-8', path($t->dir, 'plot.svg')->slurp));
    is $dom->find('rect.part0')->size, 4, 'a bar for each row, and one of the key';
    is scalar(grep { $_->text eq 'read & <more>' } $dom->find('text.name')->each), 1, 'named';
    is decode_json(path($t->dir, 'results.json')->slurp)->{rows}[1]{id}, 'read-1000', 'and the figures, for other pictures';
};

$t->done;
