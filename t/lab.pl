# The laboratory: Redis fails over, again and again, in all ways that there are, while clients go on; then it is judged: make lab.
#
#   perl t/lab.pl [--kind sentinel|cluster] [--failovers 20] [--seed N] [--replicas 1] [--slots 16384] [--faults kill,hang] [--options 'silence=2s']
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Getopt::Long qw(GetOptions);
use List::Util qw(shuffle);
use Test::More;
use Test::Lines;
use Test::Lines::Lab;

my %is = (kind => 'sentinel', failovers => 20, seed => time ^ $$, replicas => 1, slots => 16384, faults => '', options => '');
GetOptions(\%is, 'kind=s', 'failovers=i', 'seed=i', 'replicas=i', 'slots=i', 'faults=s', 'options=s') && $is{kind} =~ /^(?:sentinel|cluster)$/
  or die "usage: lab.pl [--kind sentinel|cluster] [--failovers N] [--seed N] [--replicas N] [--slots N] [--faults KIND,...] [--options 'silence=2s']\n";

my ($kind, $failovers, $seed, $replicas) = @is{qw(kind failovers seed replicas)};
srand $seed;
$| = 1;
print "$kind, SEED=$seed, $failovers failovers, replicas=$replicas\n";

my $t   = Test::Lines->new(name => 'lab', timeout => 600 + 60 * $failovers);
my $lab = Test::Lines::Lab->new(t => $t, kind => $kind, replicas => $replicas, options => $is{options})->open;

# each kind before any comes again
my @kinds = $is{faults} ? split /,/, $is{faults} : ($lab->redis->kinds, $replicas ? () : 'past');
my @due;
push @due, shuffle @kinds while @due < $failovers;

for my $n (1 .. $failovers) {
    $lab->cut_clients if rand() < 0.3;
    my $row = $lab->through(shift @due);
    diag sprintf '%d of %d: %s, promoted after %.2f s, back after %s s', $n, $failovers, $row->{what}, $row->{promoted}, defined $row->{back} ? sprintf '%.2f', $row->{back} : 'more than 30';
}

$lab->reshard($is{slots}) if $kind eq 'cluster' && $is{slots};
$lab->close;

my @broken = $lab->broken;
is_deeply \@broken, [], 'nothing is broken';
diag $_ for @broken;
ok scalar($lab->lost), 'without replicas= something was lost' unless $replicas || $is{faults};
print $lab->table;
print "SEED=$seed KIND=$kind FAILOVERS=$failovers: ", (@broken ? scalar(@broken) . ' breaks' : 'nothing is broken'), "\n";

$t->done;
