# W3C Trace Context: a trace is taken over as it comes, and goes on with all calls of what it began, whoever makes them.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

my $t        = Test::Lines->new;
my $upstream = $t->upstream(status => 200);
my $shop     = Test::Lines::Account->new(t => $t, provisioner => $upstream->url);
my $nginx    = $shop->nginx(server => "location = /trace { return 200 \"\$lines_traceparent\n\"; }\n");

$shop->numbers(4);

sub shown (@headers) { $nginx->raw(join("\r\n", 'GET /trace HTTP/1.0', @headers, '', '')) =~ /\r\n\r\n(.*)\n/ ? $1 : 'no answer' }

subtest 'what is taken over' => sub {
    is shown("traceparent: $trace"), $trace, 'one that is well formed';
    is shown("TraceParent: $trace"), $trace, '... whatever the case of its name';
    is shown(),                      '',     'none is made up';

    is shown('traceparent: 01' . substr($trace, 2)), $trace, 'one of a version to come: what is known of it';
    is shown('traceparent: cc' . substr($trace, 2) . '-what-will-be'), $trace, '... with more behind it';
    is shown('traceparent: cc' . substr($trace, 2, 51) . 'fe'), substr($trace, 0, 53) . '00', '... and flags of which one is known';
    is shown('traceparent: cc' . substr($trace, 2, 51) . '0b'), $trace, '... which is set';
    is shown('traceparent: 00' . substr($trace, 2, 51) . 'ff'), substr($trace, 0, 53) . 'ff', 'of this version all of them';

    is shown("traceparent: $_"), '', "not \"$_\""
      for '', 'x' x 55, substr($trace, 0, 54), "${trace}0", "$trace-more", uc $trace, 'ff' . substr($trace, 2), "cc" . substr($trace, 2) . 'x',
      '00-' . '0' x 32 . '-00f067aa0ba902b7-01', '00-4bf92f3577b34da6a3ce929d0e0e4736-' . '0' x 16 . '-01', $trace =~ tr/-/_/r,
      '00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01';
    is shown("traceparent: $trace", "traceparent: $trace"), '', 'nor two of them';
};

subtest 'a purchase: all calls have it, also those of who goes on with it' => sub {
    my $one = $shop->account('one');
    $upstream->set(status => 503);

    my $token  = $shop->token($one);
    my $traced = {%$one, headers => {%{$one->{headers}}, traceparent => $trace}};
    is $shop->confirm($traced, $token)->status, 503, 'the provisioner is away';

    my %calls = map { ("$_->{method} $_->{path}" => $_->{traceparent}) } $shop->sandbox->requests;
    ok exists $calls{'POST /v1/subscriptions'}, 'billing was called';
    is_deeply [grep { ($calls{$_} // '') ne $trace } keys %calls], [], '... each time with the trace';

    my $before = @{$upstream->requests};
    $nginx->reload;
    $upstream->set(status => 200);
    $shop->wait_purchase($one, $shop->operation_id($token));

    my @told = @{$upstream->requests};
    cmp_ok scalar @told, '>', $before, 'another worker tells the provisioner';
    is_deeply [grep { ($_->{headers}{traceparent} // '') ne $trace } @told], [], '... of the same trace';
};

subtest 'one without a trace has none' => sub {
    my $two   = $shop->account('two');
    my $calls = $shop->sandbox->requests;
    $upstream->clear;

    is $shop->confirm($two, $shop->token($two))->status, 200, 'bought';
    is_deeply [grep {defined} map { $_->{traceparent} } @{[$shop->sandbox->requests]}[$calls .. $shop->sandbox->requests - 1]], [], 'billing sees none';
    is_deeply [map { $_->{headers}{traceparent} } @{$upstream->requests}], [undef], 'nor does the provisioner';
};

$shop->agree;
$t->done;
