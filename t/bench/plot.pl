#!/usr/bin/env perl
# What a run of bench.pl measured, as a picture.
#
# usage: plot.pl RESULTS.json PLOT.svg
use v5.36;
use utf8;
use JSON::PP qw(decode_json);

my ($from, $to) = @ARGV;
die "usage: plot.pl RESULTS.json PLOT.svg\n" unless defined $to;

my $run = decode_json(do { local (@ARGV, $/) = $from; <> });

my %title = (
    floor => 'nginx without work',
    limit => 'a limit before an image: as a gateway',
    read  => 'the read of a line: key, limit, JSON',
    token => 'Clerk session tokens'
);

my @groups = grep { $_->{rows}->@* } map { my $g = $_; {title => $title{$g}, rows => [grep { $_->{group} eq $g } $run->{rows}->@*]} } qw(floor limit read token);
my $most   = 0;
for my $group (@groups) { my %n = map { $_->{tenants} => 1 } $group->{rows}->@*; $group->{many} = keys %n > 1 }
for my $row (map { $_->{rows}->@* } @groups) {
    my $f = $row->{figures};
    $row->{parts} = [map { $f->{$_}{value} // 0 } qw(cpu main limits)];
    $row->{sum}   = $row->{parts}[0] + $row->{parts}[1] + $row->{parts}[2];

    # a signature, checked in JavaScript, would make all others short: it is cut
    $most = $row->{sum} if $row->{sum} > $most && $row->{group} ne 'token';
}

my ($left, $width, $bar, $step) = (420, 400, 13, 21);
my $step_of = (grep { $most / $_ <= 8 } 5, 10, 20, 25, 50, 100, 200, 500)[0] // 1000;
my $scale   = $width / ($most || 1);
my $right   = $left + $width;
my @svg;
my $y = 78;

sub escape ($text) { $text =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/`//gr }
sub text ($x, $y, $class, $text) { sprintf qq(<text x="%.1f" y="%.1f" class="%s">%s</text>\n), $x, $y, $class, escape($text) }
sub commas ($n) { my $t = sprintf '%.0f', $n; 1 while $t =~ s/^(\d+)(\d{3})/$1,$2/; $t }

push @svg, text($right + 118, $y - 8, 'head end', 'requests/s'), text($right + 188, $y - 8, 'head end', 'p99 ms');

for my $group (@groups) {
    push @svg, text(16, $y + 10, 'head', $group->{title});
    $y += $step;

    for my $row ($group->{rows}->@*) {
        my $f = $row->{figures};
        my $name = $row->{name} . ($group->{many} ? ', ' . commas($row->{tenants}) . ' tenant' . ($row->{tenants} > 1 ? 's' : '') : '');
        my $x = $left;
        push @svg, text($left - 8, $y + 10.5, 'name end', $name);

        for my $i (0 .. 2) {
            my $w = $row->{parts}[$i] * $scale;
            my $cut = $x + $w > $right;
            $w = $right - $x if $cut;
            push @svg, sprintf qq(<rect x="%.1f" y="%.1f" width="%.1f" height="%d" class="part%d%s"/>\n), $x, $y, $w, $bar, $i, $row->{id} =~ /^(?:lua|fastify)/ ? ' peer' : '' if $w >= 0.1;
            $x += $w;
            push @svg, sprintf qq(<path d="M%.1f %.1fl4 -%d" class="cut"/>\n), $x - 12 + 5 * $_, $y + $bar + 1, $bar + 2 for $cut ? (0, 1) : ();
        }

        push @svg, text($x + 5, $y + 10.5, 'value', sprintf $row->{sum} < 100 ? '%.1f' : '%.0f', $row->{sum});
        push @svg, text($right + 118, $y + 10.5, 'value end', ($f->{busy}{value} < 90 ? '≥ ' : '') . commas($f->{rate}{value}));
        push @svg, text($right + 188, $y + 10.5, 'value end', $f->{late} ? 'behind' : $f->{p99} ? sprintf '%.1f', $f->{p99}{value} : '');
        $y += $step;
    }
    $y += 8;
}

my @grid;
for (my $v = 0; $v <= $most; $v += $step_of) {
    my $x = $left + $v * $scale;
    push @grid, sprintf qq(<line x1="%.1f" y1="84" x2="%.1f" y2="%.1f" class="grid"/>\n), $x, $x, $y;
    push @grid, text($x, $y + 14, 'tick middle', $v);
}
push @grid, text($left + $width / 2, $y + 31, 'tick middle', 'µs of CPU for each request');

my $h = $run->{head};
my @key;
my $x = $left;
for (['part0', 'nginx or Node.js'], ['part1', 'Redis'], ['part2', 'Redis for limits']) {
    next if $_->[0] eq 'part2' && !$h->{limits};
    push @key, sprintf(qq(<rect x="%d" y="46" width="11" height="11" class="%s"/>\n), $x, $_->[0]), text($x + 16, 56, 'name', $_->[1]);
    $x += 130;
}

my $height = $y + 78;
my $total  = $right + 204;
my @about  = (
    sprintf('nginx %s, Redis %s%s, %s. One worker with a core of its own, 128 connections, 1,000 tenants where nothing else is said.', $h->{versions}->@{qw(nginx redis)},
        $h->{versions}{node} ? ", Node.js $h->{versions}{node}" : '', $h->{at}),
    sprintf('Medians of %d rounds, of Lua the best. ≥: the server was not what was used up. p99 at 15,000 requests a second, tokens at 1,000; behind: fewer were answered.', $h->{rounds})
);

my $style = <<'END';
svg { background: #fff; font: 12px system-ui, sans-serif }
text { fill: #24292f } .title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 } .tick, .small { fill: #57606a; font-size: 11px }
.cut { stroke: #fff; stroke-width: 2 } .end { text-anchor: end } .middle { text-anchor: middle } .grid { stroke: #d0d7de }
.part0 { fill: #1f6feb } .part1 { fill: #d1640a } .part2 { fill: #8250df } .peer { fill-opacity: .55 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } .cut { stroke: #0d1117 } text { fill: #e6edf3 } .tick, .small { fill: #8d96a0 } .grid { stroke: #30363d }
.part0 { fill: #58a6ff } .part1 { fill: #f0883e } .part2 { fill: #a371f7 } }
END

open my $out, '>:encoding(UTF-8)', $to or die "$to: $!\n";
print $out qq(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $total $height" width="$total" height="$height" role="img">\n<title>What a request costs: Lines, nginx alone, Lua, fastify</title>\n<style>\n$style</style>\n),
  qq(<rect width="100%" height="100%" fill="none"/>\n), text(16, 28, 'title', 'What a request costs'), @key, @grid, @svg, text(16, $height - 26, 'small', $about[0]), text(16, $height - 10, 'small', $about[1]), "</svg>\n";
close $out or die "$to: $!\n";
