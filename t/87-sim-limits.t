# Fleets that share buckets, on a virtual clock: the bound holds, and what was let through is charged, whatever is lost.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once store => 'its Redis is in the process';
use Test::Lines::Unit qw(make_unit);

# LINES_SIM_FLEETS=10000 for longer; LINES_SEED=7 for others
my $fleets = $ENV{LINES_SIM_FLEETS} || 150;
my $seed   = $ENV{LINES_SEED}       || 1;

my $sanitized = $ENV{LINES_PRELOAD} && grep { -x "$_/clang" } split /:/, $ENV{PATH};
my $fast      = make_unit('t/sim', 0);
our $dir      = $sanitized ? make_unit('t/sim', 1) : $fast;

# what it says, and what became of it
sub limits (@args) {
    open my $out, '-|', "$dir/limits", "$fast/scripts", @args or die "$dir/limits: $!";
    my $said = do { local $/; <$out> };
    close $out;
    return {said => $said, status => $?, $said =~ /(\w+) (\d+)/g, $said =~ /^seed (\d+): (\w+):/m ? (seed => $1, found => $2) : ()};
}

subtest "$fleets fleets" => sub {
    my $run = limits('--seed', $seed, '--runs', $fleets);

    is $run->{status}, 0, 'within burst + rate * t + burst / 2, and charged to the token' or diag $run->{said};
    cmp_ok $run->{$_}, '>=', $fleets, "$_: $run->{$_}" for qw(passed settled asks kills cuts lost doubled aways alone owed deaths refused rolls);
};

# A simulation that cannot fail proves nothing.
subtest 'what is wrong is found' => sub {
    local $dir = $fast;    # the world is the same
    chomp(my @wrongs = qx{$dir/limits --wrongs});
    cmp_ok @wrongs, '>=', 6, "@wrongs";

    for my $wrong (@wrongs) {
        my $run = limits('--wrong', $wrong, '--runs', 2000);
        isnt $run->{status}, 0, "$wrong: " . ($run->{found} // '') or next;
        is limits('--wrong', $wrong, '--seed', $run->{seed})->{found}, $run->{found}, '... and so it is seen again';
        is limits('--seed', $run->{seed})->{status}, 0, '... and without it all is well';
    }
};

done_testing;
