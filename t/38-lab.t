# The laboratory, briefly: Redis fails over behind Sentinel, and a cluster's slots move and a primary of it hangs, while clients
# of all kinds go on. Nothing that was acknowledged is lost, nothing is charged twice, and reads are back. Without
# replicas= lines are lost, which the judge of this laboratory must find, and what was paid for them goes back. make lab: all of it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'its times are those of a release build', redis => 'it has servers of its own';
use Test::Lines;
use Test::Lines::Lab;


my $seed = $ENV{LINES_SEED} || time ^ $$;
srand $seed;
diag "LINES_SEED=$seed";

my $t = Test::Lines->new(timeout => 600);

# how soon is for make lab, on a machine that is calm
my %common = (t => $t, bound => 20 * $t->slow, crowd => 2, brief => 1);

my $lab = Test::Lines::Lab->new(%common, kind => 'sentinel')->open;

subtest 'behind Sentinel' => sub {
    ok $lab->through('kill')->{to}, 'a primary dies: another one is there' for 1, 2;
    $lab->close;
    is_deeply [$lab->broken], [], 'nothing is broken';
};

subtest 'without replicas= what was acknowledged is lost, and found' => sub {
    my %before = map { ($_->{line} => 1) } $lab->lost;
    my @lost;

    # Sentinels that missed it at once promote one that has it all: nothing is lost then
    for (1 .. 4) {
        $lab->go_on(replicas => 0);
        $lab->through('past');
        $lab->close;

        is_deeply [$lab->broken], [], 'what was paid for lines that were lost goes back';

        # not before: what was canceled, and is not any more, is canceled again as billing has it
        last if @lost = grep { !$before{$_->{line}} } $lab->lost;
    }

    cmp_ok scalar @lost, '>', 0, '... some were lost';
    $lab->replicas(1);
    is scalar(grep {/^lost: /} $lab->broken), scalar @lost, '... were they promised, the judge says so';
};

diag $lab->table;
$lab->end;

subtest 'a cluster' => sub {
    my $lab = Test::Lines::Lab->new(%common, kind => 'cluster')->open;
    ok $lab->through('hang')->{to}, 'hang: another primary';
    $lab->reshard(45);
    $lab->close;
    is_deeply [$lab->broken], [], 'nothing is broken';
    diag $lab->table;
};

$t->done;
