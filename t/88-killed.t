# Some scenarios of money, each with a kill of the worker at one of its steps: make kills has them all. LINES_SEED repeats the choice.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path tempdir);
use Mojo::JSON qw(decode_json);
use Test::More;

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $seed = $ENV{LINES_SEED} || time ^ $$;
srand $seed;
diag "LINES_SEED=$seed";

# points that each passes in any case, but for those of a client's request
my %points = (
    request => [map {"op.$_"} map { ("claim.after.$_", "answer.$_", "write.before.$_", "write.after.$_") } qw(request.send request.await)],
    confirm => ['billing.after.subscribe', map {"op.write.after.purchase.$_"} qw(card lease charge assign end)],
    refund  => [map {"op.$_.refund.cancel"} qw(claim.after call.before answer write.before write.after)],
);

my @cases = (
    [lapse => 'unpaid while it is provisioned: it becomes active with the payment', @points{qw(request)}],
    [hands => 'refunded by hand in part, then failed: the rest goes back', @points{qw(request refund)}],
    [ledger => 'a bank takes back what was paid: the bought line ends, and is charged no more', @points{qw(confirm)}],
    ['webhooks-away' => 'paid, then only canceled: no line, and the payment goes back', @points{qw(request)}],
    [deleted => 'an account is deleted, then an old invoice is paid: only that is refunded', @points{qw(confirm)}],
);

# side by side: they mostly wait
my $dir = tempdir;
my @running;

for my $case (@cases) {
    my ($file, $name, @of) = @$case;
    my @among = map {@$_} @of;
    my $kill  = $among[rand @among] . ':1';
    my $out   = $dir->child($file);
    my $pid   = fork // die "fork: $!";

    if (!$pid) {
        @ENV{qw(LINES_KILL LINES_SCENARIO LINES_KILL_LOG)} = ($kill, $name, "$out.json");
        open STDOUT, '>', $out;
        open STDERR, '>&', \*STDOUT;
        exec($^X, "$FindBin::Bin/88-money-$file.t") or POSIX::_exit(127);
    }

    push @running, {pid => $pid, kill => $kill, name => $name, file => $file, out => $out};
}

for my $one (@running) {
    waitpid $one->{pid}, 0;
    ok !$?, "$one->{name}: killed at $one->{kill}"
      or diag "LINES_KILL='$one->{kill}' LINES_SCENARIO='$one->{name}' perl t/88-money-$one->{file}.t\n" . $one->{out}->slurp;
    my $log = path("$one->{out}.json");
    my ($said) = -e $log ? map { decode_json($_) } split /\n/, $log->slurp : ();
    ok $said && defined $said->{where}, '... it was';
}

done_testing;
