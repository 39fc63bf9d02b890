#!/usr/bin/env perl
# Lines beside others that do the same, round after round in one run: see
# README.md.
#
# usage: bench.pl [--rounds N] [--seconds N] [--long] [--only PATTERN] [--out DIRECTORY]
use Mojo::Base -strict, -signatures;
use Cwd ();
use FindBin;
use lib "$FindBin::Bin/lib", Cwd::abs_path("$FindBin::Bin/../lib");
use Bench::Load;
use Bench::Machine;
use Bench::Peers;
use Bench::Report;
use Bench::Rows;
use Bench::World;
use Getopt::Long qw(GetOptions);
use List::Util qw(max);
use Mojo::File qw(path);
use POSIX ();
use Test::Lines;
use Time::HiRes qw(time);

my %o = (rounds => 3, seconds => 1, only => '');
GetOptions(\%o, 'rounds=i', 'seconds=f', 'long', 'only=s', 'out=s') or exit 2;

# so that what was changed of this session's order is changed back
$SIG{$_} = sub { exit 1 } for qw(INT TERM);

my $begun   = time;
my $t       = Test::Lines->new(timeout => $o{long} ? 4 * 3600 : 3600);
my $machine = Bench::Machine->new;
my $load    = Bench::Load->new(dir => $t->dir);
my $out     = path($o{out} // $t->build . '/bench')->make_path;
my @disk    = $machine->disk($t->dir);
my ($busy)  = split / /, path('/proc/loadavg')->slurp;

my (%rounds, @wrong);

sub told ($text) { printf STDERR "%4d s  %s\n", time - $begun, $text }

my $rows = Bench::Rows->new(t => $t, machine => $machine, load => $load, long => $o{long}, only => $o{only}, told => \&told);
my @rows = $rows->make;

# of a side: what its processes have used so far, server first, then each store
sub used ($side) {
    my @servers = $side->{pids}->();
    return {
        cpu     => [$machine->cpu(@servers), map { $machine->cpu(@$_) } @{$side->{stores}}],
        starved => $machine->starved(@servers)
    };
}

# what was wrong with some, in words
sub wrong ($row, $got) {
    my %codes = %{$got->{codes}};
    push @wrong, sprintf '%s: of %d answers %d were wrong: %s', $row->{name}, $got->{answered}, $got->{bad},
      join ', ', (map {"$codes{$_} with status $_"} grep { !/^2/ } sort keys %codes), $got->{wrong} ? "$got->{wrong} with another body" : (), $got->{lost} ? "$got->{lost} never came ($got->{cut} connections were closed)" : ()
      if $got->{bad};
}

# as many as it answers: what each costs
sub closed ($row, $side, $met_by = $row->{limit}) {
    my ($file, $count) = $row->{fresh} ? $row->{fresh}->('closed') : ($row->{file}, $row->{count});
    my $met    = $met_by ? $met_by->() : 0;
    my $before = used($side);
    my $got    = $load->run(port => $side->{port}, file => $file, connections => $row->{connections}, seconds => max($o{seconds}, $row->{period} // 0), $count ? (count => $count, seconds => 60) : ());
    my $after  = used($side);
    my $took   = $got->{took} || 1;
    my $n      = $got->{answered} || 1;
    wrong($row, $got);

    # each of them met the limit that the row names
    if ($met_by && (my $of = $met_by->() - $met) != $got->{answered}) {
        push @wrong, "$row->{name}: $of of $got->{answered} met their limit";
    }

    my ($cpu, @stores) = map { 1e6 * ($after->{cpu}[$_] - $before->{cpu}[$_]) / $n } 0 .. $#{$after->{cpu}};

    return {
        rate   => $n / $took,
        cpu    => $cpu,
        main   => $stores[0] // 0,
        limits => $stores[1] // 0,
        busy   => 100 * $cpu * $n / 1e6 / $took,
        load   => 100 * $got->{share},
        kept   => 100 * ($after->{starved} - $before->{starved}) / $took,
        rss    => $machine->rss($side->{pids}->()),
        asked  => $got->{answered},
        bad    => $got->{bad},
        bytes  => $got->{bytes} / $n
    };
}

# so many a second, whatever it answers: how long they wait
sub offered ($row, $side) {
    my ($file, $count) = $row->{fresh} ? $row->{fresh}->('open') : ($row->{file});
    $row->{others}->(0) if $row->{others};

    my @all = ($side->{pids}->(), map {@$_} @{$side->{stores}});
    my @by  = $machine->urgent(1, @all);
    my $for = max($o{seconds}, $o{long} && $row->{period} || 0);
    my $got = $load->run(by => \@by, port => $side->{port}, file => $file, connections => $row->{connections}, rate => $row->{rate}, seconds => $for, $count ? (count => $count, seconds => 60) : ());
    $machine->urgent(0, @all);
    wrong($row, $got);

    my $due = $count // $row->{rate} * $for;
    my $own = $row->{others} ? $row->{others}->($got->{answered}) : 0;

    # who does not answer as many has no p99
    return {asked => $got->{answered}, bad => $got->{bad}, late => $got->{answered} < 0.97 * $due || $got->{p50} > 500 ? 1 : 0,
        p50 => $got->{p50} - $own, ($got->{answered} >= 100 ? (p99 => $got->{p99} - $own) : ()), sent => 100 * $got->{share}, ($row->{others} ? (others => $own) : ())};
}

for my $round (1 .. $o{rounds}) {
    for my $row (@rows) {
        my $side = $row->{side};
        $side->{restart}->() if $side->{restart};

        # as it is after a while: caches are warm, and what was put off is under way
        $load->run(port => $side->{port}, file => $row->{file}, connections => $row->{connections}, seconds => $row->{settle} // 0.3) if $row->{file};

        my $now = closed($row, $side);
        my $then = $row->{rate} ? offered($row, $side) : {};

        # another build of the module
        if (my $other = $row->{before}) {
            $load->run(port => $other->{port}, file => $row->{file}, connections => $row->{connections}, seconds => 0.3);
            $then->{before} = $now->{cpu} / closed($row, $other, undef)->{cpu};
        }

        my $asked = $now->{asked} + ($then->{asked} // 0);
        my $bad   = $now->{bad} + ($then->{bad} // 0);
        push @{$rounds{$row->{id}}}, {%$now, %$then, asked => $asked, bad => $bad};
    }
    told("round $round of $o{rounds}");
}

my @more   = $rows->more;
my $report = Bench::Report->new(
    rows => \@rows, rounds => \%rounds, more => \@more, missing => $rows->missing,
    head => {
        verify => $machine->verify, load => $busy,
        cores => $machine->cores, apart => $machine->apart ? 1 : 0, model => $machine->model, rounds => $o{rounds}, seconds => $o{seconds},
        disk => \@disk, limits => $rows->limits_store ? 1 : 0, took => time - $begun, long => $o{long} ? 1 : 0,
        versions => $rows->versions, at => POSIX::strftime('%Y-%m-%d', gmtime)
    }
);

$report->write($out);
binmode STDOUT, ':encoding(UTF-8)';
print $report->text;
told("written to $out: table.md, results.json, plot.svg");

print "\nWRONG:\n", map {"  $_\n"} @wrong if @wrong;
$t->done;
exit(@wrong ? 1 : 0);
