package Sandbox::Params;
use Mojo::Base -strict, -signatures;

use Exporter qw(import);
use Sandbox::Error;

our @EXPORT_OK = qw(check_params);

# A specification is a name (string, integer, boolean, metadata, range of numbers, any), a list of the allowed words, {…} for an
# object, or [each => …] for a list. A `!` after a member's name makes it required.


sub check_params ($spec, $params, $where = '') {
    my %known = map { (s/!$//r => $_) } keys %$spec;
    my %checked;

    for my $name (sort keys %$params) {
        my $full = _name($where, $name);

        _refuse("Received unknown parameter: $full", 'parameter_unknown', $full) unless exists $known{$name};

        $checked{$name} = _check($spec->{$known{$name}}, $params->{$name}, $full);
    }

    for my $name (sort grep {/!$/} keys %$spec) {
        my $full = _name($where, $name =~ s/!$//r);

        _refuse("Missing required param: $full.", 'parameter_missing', $full) unless exists $checked{$name =~ s/!$//r};
    }

    return \%checked;
}


sub _check ($spec, $value, $name) {
    return _object($spec, $value, $name) if ref $spec eq 'HASH';
    return _list($spec, $value, $name)   if ref $spec eq 'ARRAY' && $spec->[0] eq 'each';
    return $value                        if $spec eq 'any';
    return _metadata($value, $name)      if $spec eq 'metadata';
    return _range($value, $name)         if $spec eq 'range';

    _refuse("Invalid string: $name", undef, $name) if ref $value;
    _refuse("You passed an empty string for '$name'. We assume empty values are an attempt to unset a parameter; however "
            . "'$name' cannot be unset. You should remove '$name' from your request or supply a non-empty value.",
        'parameter_invalid_empty', $name) if $value eq '';

    return _word($spec, $value, $name) if ref $spec eq 'ARRAY';
    return _integer($value, $name)     if $spec eq 'integer';
    return _boolean($value, $name)     if $spec eq 'boolean';

    _refuse("Invalid string: too long: $name", 'parameter_invalid_string', $name) if length $value > 5000;

    return $value;
}


sub _object ($spec, $value, $name) {
    _refuse("Invalid object: $name", undef, $name) if ref $value ne 'HASH';

    return check_params($spec, $value, $name);
}


sub _list ($spec, $value, $name) {
    _refuse('Invalid array', undef, $name) if ref $value ne 'ARRAY';

    return [map { _check($spec->[1], $value->[$_], _name($name, $_)) } 0 .. $#$value];
}


sub _word ($words, $value, $name) {
    return $value if grep { $_ eq $value } @$words;

    my $list = @$words > 1 ? join(', ', @{$words}[0 .. $#$words - 1]) . ", or $words->[-1]" : $words->[0];

    _refuse("Invalid $name: must be one of $list", undef, $name);
}


sub _integer ($value, $name) {
    _refuse("Invalid integer: $value", 'parameter_invalid_integer', $name) unless $value =~ /^-?\d{1,15}$/;

    return int $value;
}


sub _boolean ($value, $name) {
    _refuse("Invalid boolean: $value", undef, $name) unless $value =~ /^(?:true|false)$/;

    return $value eq 'true';
}


# One instant, or bounds.

sub _range ($value, $name) {
    return {gte => _integer($value, $name), lte => _integer($value, $name)} unless ref $value;

    return check_params({map { ($_ => 'integer') } qw(gt gte lt lte)}, $value, $name) if ref $value eq 'HASH';

    _refuse("Invalid object: $name", undef, $name);
}


# An empty value unsets a key, so at creation it is none.

sub _metadata ($value, $name) {
    return {} if !ref $value && $value eq '';

    _refuse("Invalid object: $name", undef, $name) if ref $value ne 'HASH';
    _refuse('Metadata may have at most 50 keys.', undef, $name) if keys %$value > 50;

    for my $key (keys %$value) {
        my $full = _name($name, $key);

        _refuse("Invalid string: $full", undef, $full) if ref $value->{$key};
        _refuse("Metadata keys may be at most 40 characters long: $key", undef, $full) if length $key > 40;
        _refuse("Metadata values can have up to 500 characters, but you passed in a value that is " . length($value->{$key})
                . " characters. Invalid value: $key", undef, $full)
            if length $value->{$key} > 500;
    }

    return {map { ($_ => $value->{$_}) } grep { $value->{$_} ne '' } keys %$value};
}


sub _name ($where, $name) { $where eq '' ? $name : "${where}[$name]" }


sub _refuse ($message, $code, $param) {
    Sandbox::Error->invalid($message, code => $code, param => $param, kept => 0);
}


1;
