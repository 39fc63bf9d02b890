# src/: arrows point down.  No room knows one above it or beside it, no two files call each other.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines::Once build => 'both are built of the same sources', store => 'nothing is stored';

my $root  = path($FindBin::Bin)->dirname;
my $built = path($ENV{LINES_MODULE} // "$root/build/gcc/ngx_http_lines_module.so")->dirname->child('nginx/objs/addon');
plan skip_all => "the module is not built: no $built" unless -d $built;

# from the ground up; what stands in one line is side by side
my @floors = map { [split] } (
    'directive', 'store', 'http', 'auth', 'limit', 'billing', 'operation', 'api background', 'events deliver',
    'workspace account admin webhook observe'
);
my %floor;
for my $n (0 .. $#floors) { $floor{$_} = $n for @{$floors[$n]} }

# nginx finds a module's configuration by the module's own address
my %free = map { $_ => 1 } qw(ngx_http_lines_module);

sub room ($file) { $file =~ s{/.*}{}r }

# who may not know of whom
sub refused ($from, $to) {
    my ($a, $b) = map { room($_) } $from, $to;
    return $a ne $b && $floor{$b} >= $floor{$a};
}

# circles: what is left when files that nobody calls, or that call nobody, are taken away
sub circles ($calls) {
    my %left = map { $_ => {%{$calls->{$_}}} } keys %$calls;
    while (1) {
        my %called = map { $_ => 1 } map { keys %$_ } values %left;
        my @out = grep { !%{$left{$_}} || !$called{$_} } keys %left or last;
        delete @left{@out};
        delete @$_{@out} for values %left;
        delete @$_{grep { !$left{$_} } keys %$_} for values %left;
    }
    return sort keys %left;
}

subtest 'the judge' => sub {
    ok refused('http/answer', 'auth/auth'), 'up';
    ok refused('admin/keys', 'workspace/check'), 'beside';
    ok !refused('auth/auth', 'http/answer'), 'down';
    is_deeply [circles({a => {b => 1}, b => {c => 1}, c => {b => 1}, d => {}})], ['b', 'c'], 'a circle';
    is_deeply [circles({a => {b => 1}, b => {c => 1}, c => {}})], [], 'none';
};

subtest 'rooms' => sub {
    is_deeply [sort map { path($_)->basename } grep { -d } glob "$root/src/*"], [sort keys %floor], 'each has its floor';
};

subtest 'includes' => sub {
    for my $file (glob "$root/src/*/*.[ch]") {
        my $name = path($file)->to_rel("$root/src")->to_string;
        for my $to (path($file)->slurp =~ /^#include "([^"]+)"/mg) {
            fail "$name includes $to, by its room" unless $to =~ m{/};
            fail "$name includes $to" if refused($name, $to);
        }
    }
    pass 'looked at';
};

# Redis is called by name: keys, arguments and replies are the store's affair
subtest 'Redis' => sub {
    for my $file (glob "$root/src/*/*.[ch]") {
        my $name = path($file)->to_rel("$root/src")->to_string;
        my $text = path($file)->slurp;
        next if $name =~ m{^store/};
        unlike $text, qr/redisReply|REDIS_REPLY/, "$name reads no reply" if $text =~ /redisReply|REDIS_REPLY/;
        unlike $text, qr/"lines:\{/, "$name writes no key" if $text =~ /"lines:\{/;
    }
    for my $file (glob "$root/src/store/scripts/*.lua") {
        my $text = path($file)->slurp =~ s/--.*//gr;
        fail path($file)->basename . ' counts its keys or arguments' if $text =~ /\b(?:KEYS|ARGV)\b/;
    }
    pass 'looked at';
};

subtest 'calls' => sub {
    my (%by, %needs);

    for my $object (glob "$built/*/*.o") {
        my $name = path($object)->to_rel($built)->to_string =~ s/\.o$//r;
        next unless exists $floor{room($name)};
        for (qx{nm -g '$object'}) {
            push @{$needs{$name}}, $1 if /^\s+U (\w+)/;
            $by{$1} = $name if /^[0-9a-f]+ \w (\w+)/;
        }
    }
    ok keys %by > 100, 'symbols are found' or return;

    my %calls = map { $_ => {} } keys %needs;
    for my $from (sort keys %needs) {
        for my $symbol (grep { !$free{$_} } @{$needs{$from}}) {
            my $to = $by{$symbol} // next;
            next if $to eq $from;
            fail "$from calls $to: $symbol" if refused($from, $to);
            $calls{$from}{$to} = 1;
        }
    }

    my @circle = circles(\%calls);
    is_deeply \@circle, [], 'no circle';
};

done_testing;
