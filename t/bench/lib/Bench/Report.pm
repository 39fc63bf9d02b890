package Bench::Report;
use Mojo::Base -base, -signatures;
use utf8;

use List::Util qw(max min sum0);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Test::Lines::Util qw(write_file);

=head1 NAME

Bench::Report - medians of rounds, what must be reached, as text and as data

=head1 SYNOPSIS

    my $report = Bench::Report->new(rows => \@rows, rounds => \%rounds, more => \@more, head => \%head);
    print $report->text;
    $report->write($directory);      # table.md, results.json, plot.svg

=cut

has [qw(rows rounds more head)];
has missing => sub { [] };

my @FIGURES = qw(rate cpu main limits busy load kept rss p50 p99 sent others before bytes);

sub median (@values) {
    @values = sort { $a <=> $b } @values;
    return @values % 2 ? $values[$#values / 2] : ($values[@values / 2 - 1] + $values[@values / 2]) / 2;
}

# figure => {value, min, max}; of who is to be seen at its best, the best of each
has figures => sub ($self) {
    my %all;

    for my $row (@{$self->rows}) {
        my @rounds = @{$self->rounds->{$row->{id}} // []} or next;
        my $of     = $all{$row->{id}} = {};

        for my $figure (@FIGURES) {
            my @values = map { $_->{$figure} // () } @rounds or next;
            my $value  = !$row->{best} ? median(@values) : $figure =~ /^(?:rate|busy|load)$/ ? max(@values) : min(@values);
            $of->{$figure} = {value => $value, min => min(@values), max => max(@values)};
        }

        $of->{bad}   = sum0 map { $_->{bad} } @rounds;
        $of->{asked} = sum0 map { $_->{asked} } @rounds;
        $of->{late}  = (grep { $_->{late} } @rounds) > @rounds / 2 ? 1 : 0;
        $of->{best}  = $row->{best};
    }

    return \%all;
};

sub value ($self, $id, $figure) {
    my $of = $self->figures->{$id} or return undef;
    return $figure eq 'stores' ? $of->{main}{value} + $of->{limits}{value} : $of->{$figure}{value};
}

# of one row to another: the median of what it was in each round, as a machine that is slow for a while is so for both
sub ratio ($self, $figure, $id, $base) {
    my ($of, $to) = map { $self->figures->{$_} } $id, $base;
    return undef unless $of && $to && $of->{$figure} && $to->{$figure}{value};
    return $of->{$figure}{value} / $to->{$figure}{value} if $of->{best} || $to->{best};

    my @rounds = map { $self->rounds->{$_} } $id, $base;
    return median(map { $rounds[0][$_]{$figure} / $rounds[1][$_]{$figure} } 0 .. $#{$rounds[0]});
}

sub number ($n, $digits = 0) {
    return '' unless defined $n;
    my $text = sprintf "%.${digits}f", $n;
    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}

sub _spread ($f, $digits) { $f ? sprintf '%s (%s–%s)', map({ number($_, $digits) } @$f{qw(value min max)}) : '' }
sub _digits ($n) { $n < 10 ? 2 : $n < 100 ? 1 : 0 }

has lines => sub ($self) {
    my @lines;

    for my $row (@{$self->rows}) {
        my $of = $self->figures->{$row->{id}} or next;
        my $late = $of->{late} ? 'behind' : undef;
        my $x    = $row->{base} && $self->ratio(cpu => $row->{id}, $row->{base});

        push @lines, {
            %$row{qw(id group name tenants connections best)},
            figures => $of,
            x       => $x,
            cells   => [
                $row->{name}, number($row->{tenants}), $row->{connections},
                ($of->{busy}{value} < 90 ? '≥ ' : '') . number($of->{rate}{value}), number($of->{busy}{value}) . ' %',
                _spread($of->{cpu}, _digits($of->{cpu}{value})), $x ? sprintf('%.2f', $x) : '',
                map({ $of->{$_}{value} >= 0.01 ? number($of->{$_}{value}, _digits($of->{$_}{value})) : '' } qw(main limits)),
                ($row->{rate} ? ($row->{rate} >= 1000 ? number($row->{rate}) : $row->{rate}) : ''),
                $late // ($of->{p50} ? number($of->{p50}{value}, 2) : ''), $late // ($of->{p99} ? _spread($of->{p99}, 2) : ''),
                number($of->{rss}{value}), $of->{bad}
            ]
        };
    }

    return \@lines;
};

my @HEADS = ('', 'tenants', 'connections', 'requests/s', 'server busy', 'server µs', '×', 'Redis µs', 'limits µs', 'offered/s', 'p50 ms', 'p99 ms', 'RSS MB', 'wrong');

=head2 goals

What must be reached, each [what, is, must be, whether it is]; the last is
undefined where it was not measured.

=cut

sub goals ($self) {
    my @goals;

    my $ratio = sub ($what, $is, $most, $unit = '') {
        push @goals, [$what, defined $is ? number($is, 2) . $unit : 'not measured', ($most > 0 ? '≤ ' : '≥ ') . abs($most) . $unit, defined $is ? ($most > 0 ? $is <= $most : $is >= -$most) ? 1 : 0 : undef];
    };
    my $of = sub ($what, @ids) { $self->ratio($what, @ids) };
    my $return = $self->value('return', 'cpu');

    for my $n (1000, 60000) {
        my $name = 'read, limit on, ' . number($n) . ' tenants: ';
        $ratio->("${name}CPU of `return 200`'s, ×", $of->(cpu => "read-$n", 'return'), 1.3);

        my $stores = $self->value("read-$n", 'stores');
        $ratio->("${name}Redis, where `return 200` is 9.5 µs", defined $stores ? $stores * 9.5 / $return : undef, 3.5, ' µs');

        my ($rate, $wait) = map { $self->value("read-$n", $_) } qw(rate p99);
        my @lua = grep { $self->figures->{$_} } map {"lua-$_-$n"} qw(script leases);
        my $late = @lua && !grep { !$self->figures->{$_}{late} } @lua;
        $ratio->("${name}requests/s of the best Lua's, ×", @lua && $rate ? $rate / max(map { $self->value($_, 'rate') } @lua) : undef, -2);

        my $what = "${name}p99 of Lua's, ×";
        if ($self->figures->{"read-$n"} && $self->figures->{"read-$n"}{late}) { push @goals, [$what, 'behind', '≤ 0.33', 0] }
        elsif ($late && defined $wait) { push @goals, [$what, 'Lua is behind', '≤ 0.33', 1] }
        else { $ratio->($what, @lua && defined $wait ? $wait / min(map { $self->value($_, 'p99') } grep { !$self->figures->{$_}{late} } @lua) : undef, 0.33) }
        $ratio->("${name}requests/s of fastify's, ×", $of->(rate => "read-$n", 'fastify-1000'), -4);
    }

    $ratio->('limit alone, ' . number($_) . ' tenant' . ($_ > 1 ? 's' : '') . ': CPU of `empty_gif`\'s, ×', $of->(cpu => "lease-$_", 'gif'), 1.15) for 1, 1000, 60000;
    $ratio->('limit alone, burst 1,000, 1,000 tenants: Redis', $self->value('lease-1000', 'stores'), 0.3, ' µs');
    $ratio->('limit alone, burst 100, 1,000 tenants: Redis', $self->value('lease100-1000', 'stores'), 1.5, ' µs');

    my %more = map { $_->{id} => $_ } @{$self->more};
    $ratio->('the main store stopped for 1 s: requests behind a limit that failed', $more{stall} && $more{stall}{failed}, 0.5);
    $ratio->('the main store stopped for 1 s: the longest wait', $more{stall} && $more{stall}{value}, 100, ' ms');

    $ratio->('Clerk token, repeated: CPU, ×', $of->(cpu => 'token-repeated', 'token-floor'), 1.2);
    my ($unseen, $floor) = map { $self->value($_, 'cpu') } qw(token-unseen token-floor);
    $ratio->('Clerk token, unseen: CPU of a signature\'s and `empty_gif`\'s, ×', $unseen && $self->head->{verify} ? $unseen / ($floor + $self->head->{verify}) : undef, 1.15);

    my ($most) = grep { $self->figures->{"growth-read-$_"} } 1000000, 100000;
    if ($most) {
        $ratio->('1,000 to ' . number($most) . " lines, $_: CPU, ×", $of->(cpu => "growth-$_-$most", "growth-$_-1000"), 1.05) for qw(read create);
    }
    $ratio->('1,000 to 60,000 tenants, read: CPU, ×', $of->(cpu => 'read-60000', 'read-1000'), 1.05);
    $ratio->('Redis for a tenant with two lines and a key', $more{memory} && $more{memory}{value}, 5000, ' bytes');
    $ratio->('RSS of a worker over 10,000,000 requests, ×', $more{rss} && $more{rss}{value} / $more{rss}{first}, 1.02) if $more{rss} || $self->head->{long};

    return @goals;
}

sub _table ($heads, @rows) {
    return join '', map { '| ' . join(' | ', @$_) . " |\n" } $heads, [map {'---'} @$heads], @rows;
}

sub text ($self) {
    my $head = $self->head;
    my $v    = $head->{versions};
    my @text;

    push @text, sprintf "%s; %d cores, of which the server had one for itself: %s; nginx %s, Redis %s%s.  Medians of %d rounds of %g s and their range, of Lua the best round; %s.\n",
      $head->{model}, $head->{cores}, $head->{apart} ? 'yes' : 'NO', $v->{nginx}, $v->{redis}, $v->{node} ? ", Node.js $v->{node}" : '', $head->{rounds}, $head->{seconds}, $head->{at};
    push @text, sprintf "A write and fsync where Redis writes: p50 %.2f, p99 %.2f ms; load average before: %s.  %s\n\n", @{$head->{disk}}, $head->{load}, $head->{limits} ? 'Limits are in a Redis of their own.' : 'Limits are in the one Redis.';
    push @text, _table(\@HEADS, map { $_->{cells} } grep { $_->{group} ne 'two' } @{$self->lines});

    if (my @two = grep { $_->{group} eq 'two' } @{$self->lines}) {
        push @text, "\nTwo workers, which share all cores with the others: CPU alone.\n\n";
        push @text, _table([@HEADS[0, 1, 2, 5, 6, 7, 8, 13]], map { [@{$_->{cells}}[0, 1, 2, 5, 6, 7, 8, 13]] } @two);
    }

    push @text, "\n", map { sprintf "- %s: %s\n", $_->{name}, join ', ', map { number($_, _digits($_)) } grep {defined} @$_{qw(failed first value)} } @{$self->more};
    push @text, map { "- not measured, for it is not here: $_\n" } @{$self->missing};
    push @text, map { sprintf "- the other build: %s: CPU × %.3f (%.3f–%.3f) of it\n", $_->{name}, @{$_->{figures}{before}}{qw(value min max)} } grep { $_->{figures}{before} } @{$self->lines};

    my @slow = grep { ($_->{figures}{kept}{value} // 0) > 10 } @{$self->lines};
    push @text, sprintf "- the machine was not calm: in %d of %d rows others kept the core from the server for more than a tenth of the time, up to %.0f %%\n",
      scalar @slow, scalar @{$self->lines}, max(map { $_->{figures}{kept}{value} } @slow)
      if @slow;
    push @text, "\n", _table(['what must be reached', 'is', 'must be', ''], map { [@$_[0 .. 2], !defined $_->[3] ? '' : $_->[3] ? 'held' : '**not held**'] } $self->goals);

    return join '', @text;
}

sub write ($self, $out) {
    my @goals = map { {what => $_->[0], is => $_->[1], must => $_->[2], held => $_->[3]} } $self->goals;
    my $text  = "# What `make bench" . ($self->head->{long} ? '-long' : '') . "` measured\n\n![The same as a picture](plot.svg)\n\n" . $self->text;
    my $json  = encode_json({head => $self->head, rows => $self->lines, more => $self->more, goals => \@goals});
    utf8::encode($text);
    write_file(path($out, 'table.md'),     $text);
    write_file(path($out, 'results.json'), "$json\n");
    system($^X, path(__FILE__)->dirname . '/../../plot.pl', "$out/results.json", "$out/plot.svg") == 0 or warn "no plot\n";
}

1;
