package Sandbox::Form;
use Mojo::Base -strict, -signatures;

use Exporter qw(import);
use Mojo::Parameters;
use Sandbox::Error;

our @EXPORT_OK = qw(decode_form);


# `items[0][price]=p&expand[]=x` → {items => [{price => 'p'}], expand => ['x']}

sub decode_form ($string) {
    my $pairs = Mojo::Parameters->new($string)->pairs;
    my $tree  = {};

    for (my $i = 0; $i < @$pairs; $i += 2) {
        my ($name, $value) = @{$pairs}[$i, $i + 1];
        my ($first, $rest) = $name =~ /^([^\[\]]+)((?:\[[^\[\]]*\])*)$/
            or Sandbox::Error->invalid("Invalid parameter name: $name", kept => 0);

        _insert($tree, $name, $value, $first, $rest =~ /\[([^\[\]]*)\]/g);
    }

    return _lists($tree, 0);
}


sub _insert ($node, $name, $value, @path) {
    my $last = pop @path;

    for my $step (@path) {
        $step = keys %$node if $step eq '';
        $node = $node->{$step} //= {};

        Sandbox::Error->invalid("Invalid parameter, both a value and an object: $name", kept => 0) if ref $node ne 'HASH';
    }

    $last = keys %$node if $last eq '';

    Sandbox::Error->invalid("Invalid parameter, both a value and an object: $name", kept => 0) if ref $node->{$last};

    $node->{$last} = $value;
}


# Metadata's keys are the caller's own and may well be numbers.

sub _lists ($node, $free_keys) {
    return $node if ref $node ne 'HASH';

    for my $key (keys %$node) {
        $node->{$key} = _lists($node->{$key}, $key eq 'metadata');
    }

    return $node if $free_keys || !%$node || grep { !/^\d{1,4}$/ } keys %$node;

    return [map { $node->{$_} } sort { $a <=> $b } keys %$node];
}


1;
