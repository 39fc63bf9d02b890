#!/usr/bin/perl
# Draws conf/grafana/lines.json as SVG, of what a Prometheus has recorded: each query of each panel asked of it for a span of
# time, where Grafana would put it, in its unit.  It is not Grafana: colours, fonts and what a mouse does are other ones.
# usage: dashboard.pl PROMETHEUS BOARD.json PLOT.svg [SECONDS [INSTANCES]]
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(max min);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Mojo::UserAgent;
use Mojo::Util qw(encode xml_escape);
use Test::Lines::Util qw(write_file);

my ($url, $file, $to, $span, $instances) = @ARGV;
die "usage: dashboard.pl PROMETHEUS BOARD.json PLOT.svg [SECONDS [INSTANCES]]\n" unless defined $to;

my $board = decode_json(path($file)->slurp);
my $agent = Mojo::UserAgent->new;
my $end   = time;
my $begin = $end - ($span ||= 3600);
my $step  = max(1, int $span / 200);
my %set   = (instance => $instances // '.*', __rate_interval => max(15, 4 * $step) . 's');

# as Grafana names them: what goes behind a number, and by how much it is multiplied
my %units = (short => ['', 1], percentunit => [' %', 100], s => [' s', 1], bytes => [' B', 1], reqps => [' req/s', 1], ops => [' ops/s', 1]);
my @inks  = map {"#$_"} qw(2f6fb7 c2562c 3f8f4f 8a5aa8 b0892b 3f9aa0 b0457a 6b6f76);
my ($column, $row, $gap) = (60, 34, 6);
my @svg;

sub short ($value) { sprintf +(abs $value >= 100 ? '%.0f' : '%.3g'), $value }

sub number ($value, $unit) {
    my ($name, $times) = @{$units{$unit // 'short'} // die "no unit \"$unit\" is known\n"};
    $value *= $times;
    for (['G', 1e9], ['M', 1e6], ['k', 1e3]) {
        return short($value / $_->[1]) . " $_->[0]" . $name =~ s/^ //r if abs $value >= 10 * $_->[1];
    }
    return short($value) . $name;
}

# the series of a query: a name, and points of time and value
sub ask ($target) {
    my $expr = $target->{expr} =~ s/\$(\w+)/$set{$1} \/\/ die "\$$1 is set by nobody\n"/ger;
    my $json = $agent->post("$url/api/v1/query_range", form => {query => $expr, start => $begin, end => $end, step => $step})->result->json;
    die "$expr: " . ($json->{error} // 'no answer') . "\n" unless ($json->{status} // '') eq 'success';

    return map {
        my $series = $_;
        my $name   = ($target->{legendFormat} // '') =~ s/\{\{\s*(\w+)\s*\}\}/$series->{metric}{$1} \/\/ ''/ger;
        {name => $name, points => [grep { $_->[1] !~ /nan|inf/i } @{$series->{values}}]};
    } @{$json->{data}{result}};
}

sub text ($x, $y, $class, $text) { sprintf qq(<text x="%.1f" y="%.1f" class="%s">%s</text>\n), $x, $y, $class, xml_escape $text }

sub stat_panel ($panel, $x, $y, $w, $h, @series) {
    my ($last)   = map { $_->{points}[-1][1] } grep { @{$_->{points}} } @series;
    my $defaults = $panel->{fieldConfig}{defaults};
    my $said     = 'No data';
    my $ink      = '';

    if (defined $last) {
        my ($mapped) = map { $_->{options}{0 + $last}{text} // () } @{$defaults->{mappings} // []};
        $said  = $mapped // number($last, $defaults->{unit});
        ($ink) = map { $_->{color} } grep { !defined $_->{value} || $last >= $_->{value} } reverse @{$defaults->{thresholds}{steps} // []};
    }

    return text($x + $w / 2, $y + $h / 2 + 18, 'stat ' . ($ink // ''), $said);
}

sub time_panel ($panel, $x, $y, $w, $h, @series) {
    my $unit   = $panel->{fieldConfig}{defaults}{unit};
    my @values = map { map { $_->[1] } @{$_->{points}} } @series;
    return text($x + $w / 2, $y + $h / 2, 'none', 'No data') unless @values;

    my $low  = min(0, @values);
    my $high = max(@values);
    $high = $low + 1 if $high == $low;

    my ($left, $right, $top, $bottom) = ($x + 70, $x + $w - 8, $y + 28, $y + $h - 50);
    my $at = sub ($point) {
        sprintf '%.1f,%.1f', $left + ($right - $left) * ($point->[0] - $begin) / $span, $bottom - ($bottom - $top) * ($point->[1] - $low) / ($high - $low);
    };
    my @drawn;

    for my $i (0 .. 2) {
        my $line = $bottom - ($bottom - $top) * $i / 2;
        push @drawn, sprintf(qq(<path d="M%.1f %.1fH%.1f" class="grid"/>\n), $left, $line, $right), text($left - 4, $line + 4, 'end', number($low + ($high - $low) * $i / 2, $unit));
        push @drawn, text($left + ($right - $left) * $i / 2, $bottom + 14, (qw(start middle end))[$i], sprintf '%02d:%02d:%02d', (localtime($begin + $span * $i / 2))[2, 1, 0]);
    }

    my $legend = '';
    for my $i (0 .. $#series) {
        my @points = @{$series[$i]{points}} or next;
        my $ink    = $inks[$i % @inks];
        push @drawn, @points > 1
          ? sprintf(qq(<polyline points="%s" stroke="%s"/>\n), join(' ', map { $at->($_) } @points), $ink)
          : sprintf(qq(<circle cx="%s" cy="%s" r="2" fill="%s"/>\n), split(/,/, $at->($points[0])), $ink);
        $legend .= sprintf qq(<tspan fill="%s" dx="%d">%s</tspan>), $ink, $legend ? 8 : 0, xml_escape $series[$i]{name};
    }

    return @drawn, sprintf qq(<text x="%.1f" y="%.1f" class="legend">%s</text>\n), $x + 8, $y + $h - 12, $legend;
}

my ($empty, $drawn, $height) = (0, 0, 0);

for my $panel (@{$board->{panels}}) {
    my ($x, $y, $w, $h) = map { $_ * $column } @{$panel->{gridPos}}{qw(x y w h)};
    ($y, $h) = map { $_ / $column * $row } $y, $h;
    $height = max($height, $y + $h);

    if ($panel->{type} eq 'row') {
        push @svg, text($x + 8, $y + 22, 'row', $panel->{title});
        next;
    }

    my $draw   = {stat => \&stat_panel, timeseries => \&time_panel}->{$panel->{type}} // die "no panel of type \"$panel->{type}\" is known\n";
    my @series = map { ask($_) } @{$panel->{targets}};
    my $points = 0;
    $points += @{$_->{points}} for @series;
    $points ? $drawn++ : $empty++;

    # a part of its own, so that nothing is over the next
    push @svg, sprintf(qq(<svg x="%d" y="%d" width="%d" height="%d"><rect x="0.5" y="0.5" width="%d" height="%d" class="panel"/>\n), $x, $y, $w - $gap, $h - $gap, $w - $gap - 1, $h - $gap - 1),
      text(8, 18, 'title', $panel->{title}), $draw->($panel, 0, 0, $w - $gap, $h - $gap, @series), "</svg>\n";
    printf "%s: %d series, %d points\n", $panel->{title}, scalar @series, $points;
}

my $width = 24 * $column;
path($to)->dirname->make_path;
write_file($to, encode 'UTF-8', <<"END" . join('', @svg) . "</svg>\n");
<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$height" viewBox="0 0 $width $height">
<style>
text { font: 11px sans-serif; fill: #444 } .title, .row { font-size: 13px; font-weight: bold; fill: #222 } .row { font-size: 15px }
.end { text-anchor: end } .middle, .stat, .none { text-anchor: middle } .none { fill: #999 }
.stat { font-size: 32px } .green { fill: #3f8f4f } .red { fill: #b83232 } .orange, .yellow { fill: #b0892b }
.panel { fill: #fff; stroke: #ccc } .grid { stroke: #e4e4e4 } polyline { fill: none; stroke-width: 1.5 } svg { background: #f4f5f5 }
</style>
END
say "$to: $drawn panels drawn, $empty without data";
exit($empty ? 1 : 0);
