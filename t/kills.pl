# All scenarios of money, each with a kill at each of its steps: make kills. What a step is, and how one case is repeated:
# Test::Lines::Kill. First each scenario runs once, and says which points it passes how often; then once for each point behind an
# effect, the first and the last time that it is passed, in an order that a seed shuffles. A point before an effect finds the world
# as the one behind the effect before it left it: LINES_KILLS=all is for these as well, and for each pass. A part, K/N, is the same
# cases whenever it runs: all N are all.
#
#   perl t/kills.pl [--jobs 4] [--seconds 0] [--seed N] [--part K/N] t/88-money-*.t
use Mojo::Base -strict, -signatures;
use Getopt::Long qw(GetOptions);
use List::Util qw(max shuffle sum0 uniq);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use POSIX ();

my ($k, $n) = (1, 1);
GetOptions('jobs=i' => \(my $jobs = 4), 'seconds=i' => \(my $seconds = 0), 'seed=i' => \(my $seed = time ^ $$),
  'part=s' => sub ($name, $part) { ($k, $n) = $part =~ m{^([1-9]\d*)/([1-9]\d*)$} or die "--part takes K/N\n" })
  && @ARGV
  && $k <= $n
  or die "usage: kills.pl [--jobs N] [--seconds N] [--seed N] [--part K/N] t/88-money-*.t\n";

srand $seed;
$| = 1;

my $root = path($0)->to_abs->dirname->dirname;
$ENV{LINES_MODULE_FAILPOINTS} //= "$root/build/gcc-failpoints/ngx_http_lines_module.so";
my $work = path($ENV{LINES_BUILD} || "$root/build", "kills-$$")->make_path->to_abs;
my $ran  = 0;
my $end;

# runs jobs, [test, LINES_KILL, names]; what each wrote is given to a function
sub run ($all, $each) {
    my (%running, @wait);
    my @left = @$all;

    while (@left || %running) {
        @left = () if $end && time > $end;

        while (@left && keys %running < $jobs) {
            my $job = shift @left;
            my $out = $work->child(++$ran);
            my $pid = fork // die "fork: $!";
            if (!$pid) {
                @ENV{qw(LINES_KILL LINES_KILL_LOG LINES_SCENARIO)} = ($job->[1], "$out.json", join "\n", @{$job->[2] // []});
                open STDIN,  '<', '/dev/null';
                open STDOUT, '>', "$out.out";
                open STDERR, '>&', \*STDOUT;
                exec($^X, $job->[0]) or POSIX::_exit(127);
            }
            $running{$pid} = [$job, $out];
        }

        my $pid = waitpid -1, 0;
        my ($job, $out) = @{delete $running{$pid} // next};
        my $status = $?;
        my @said = -e "$out.json" ? map { decode_json($_) } split /\n/, path("$out.json")->slurp : ();
        $each->($job, $status, \@said, path("$out.out")->slurp);
        path("$out.json")->remove;
        path("$out.out")->remove unless $status;
    }
}

# env: what is set may be quoted as a whole
sub shown (@words) { join ' ', map { /^[\w.\/=:-]+$/ ? $_ : "'" . s/'/'\\''/gr . "'" } @words }

# what one says that fails, without what went well
sub failures ($text) { join '', map {"    $_\n"} grep { !/^\s*(?:ok|1\.\.|# Subtest)/ } split /\n/, $text }

my (%scenarios, %cases, $broken);

run([map { [$_, 0] } @ARGV], sub ($job, $status, $said, $text) {
    my ($test) = @$job;
    print "$test fails without any kill:\n" . failures($text) and $broken++ if $status;

    for my $one (grep { $_->{ok} } @$said) {
        my %passes;
        $passes{$_}++ for @{$one->{steps}};
        $scenarios{$test}{$one->{name}} = {points => scalar keys %passes, steps => scalar @{$one->{steps}}, kills => 0, missed => 0, failed => 0};
        for my $point (keys %passes) {
            my $n   = $passes{$point};
            my $all = ($ENV{LINES_KILLS} // '') eq 'all';
            next if !$all && $point =~ /\.before(?:\.|$)|^op\.answer\./;
            push @{$cases{$test}{"$point:$_"}}, $one->{name} for $all ? 1 .. $n : uniq 1, $n;
        }
    }
});

my @cases = map { my $test = $_; map { [$test, $_, $cases{$test}{$_}] } sort keys %{$cases{$test}} } sort keys %cases;
@cases = grep { unpack("%32C*", "$_->[0] $_->[1]") % $n == $k - 1 } @cases;
my $due = sum0 map { scalar @{$_->[2]} } @cases;
printf "%d scenarios, %d steps, %d cases; seed %d\n", (sum0 map { scalar keys %$_ } values %scenarios), (sum0 map { $_->{steps} } map { values %$_ } values %scenarios), $due, $seed;

$end = time + $seconds if $seconds;

run([shuffle @cases], sub ($job, $status, $said, $text) {
    my ($test, $kill, $names) = @$job;
    my %said = map { ($_->{name} => $_) } @$said;
    my @failed;

    for my $name (@$names) {
        my $one = $scenarios{$test}{$name};
        my $is  = $said{$name};
        $one->{defined $is->{where} ? 'kills' : 'missed'}++ if $is;
        push @failed, $name if !$is || !$is->{ok};
    }

    $scenarios{$test}{$_}{failed}++ for @failed;
    return unless $status;
    print "\n", (@failed ? (map { shown('env', "LINES_KILL=$kill", "LINES_SCENARIO=$_", 'perl', $test) . "\n" } @failed)
      : shown('env', "LINES_KILL=$kill", 'LINES_SCENARIO=' . join("\n", @$names), 'perl', $test) . "\n"), failures($text);
    $broken++;
});

printf "\n%-100s %6s %6s %6s %6s\n", 'scenario', 'points', 'steps', 'kills', 'failed';
for my $test (sort keys %scenarios) {
    print path($test)->basename, "\n";
    printf "  %-98.98s %6d %6d %6d %6s\n", $_, @{$scenarios{$test}{$_}}{qw(points steps kills)}, $scenarios{$test}{$_}{failed} || '' for sort keys %{$scenarios{$test}};
}

my @all = map { values %$_ } values %scenarios;
printf "%d scenarios, %d kills, %d of %d cases whose point did not come, %d failures; seed %d\n",
  scalar @all, (map { my $what = $_; sum0 map { $_->{$what} } @all } qw(kills missed)), $due, (sum0 map { $_->{failed} } @all), $seed;

$work->remove_tree unless $broken;
exit($broken ? 1 : 0);
