use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(encode_json decode_json);
use Test::More;
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Test::Lines;
use Test::Lines::Node qw(node_dir);

# Stripe's official SDK drives the billing sandbox and takes its webhooks: t/node/sandbox.mjs.

my ($node, $why_not) = node_dir;

plan skip_all => $why_not unless $node;

my $t        = Test::Lines->new;
my $receiver = $t->upstream;
my $sandbox  = $t->sandbox(webhook_url => $receiver->url);

$sandbox->adopt(customer => 'cus_nocard', metadata => {name => "Zo\x{eb} \x{1f4de}"});
$sandbox->wait_idle;

my $hooks = $t->file('hooks.json', encode_json([map { [$_->{json} && decode_utf8($_->{body}), $_->{headers}{'stripe-signature'}] }
    @{$receiver->requests}]));

$sandbox->webhooks(to => undef);

my @command = ('node', "$FindBin::Bin/node/sandbox.mjs", $sandbox->port, $sandbox->secret_key);
my @lines   = split /\n/, qx(@command < $hooks 2>&1);
my $last    = '';

for my $line (@lines) {
    my $check = eval { decode_json($line) };

    if (ref $check ne 'ARRAY') {
        diag $line;
        next;
    }

    my ($passed, $name, $got) = @$check;

    ok $passed, $name or diag encode_json([$got]);
    $last = $name;
}

is $last, 'to the end', 'the script came to its end';
is $?, 0, 'and is content';

$t->done;

sub decode_utf8 ($bytes) { Mojo::Util::decode('UTF-8', $bytes) }
