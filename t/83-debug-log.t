# "error_log … debug": a paid request can be followed by its id, from its begin to its line's payment.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

plan skip_all => 'this nginx writes no debug log' unless qx{@{[$ENV{LINES_NGINX} || 'nginx']} -V 2>&1} =~ /--with-debug/;

my $t       = Test::Lines->new;
my $paid    = Test::Lines::Paid->new(t => $t);
my $sandbox = $paid->sandbox;
my $nginx   = $paid->nginx(debug => 1);

# the lines of the log that name it, without what nginx puts before them
sub told ($id) {
    return [map {/ (lines .*)/} grep {/\Q$id\E/} split /\n/, $nginx->error_log];
}

# these, in this order, whatever stands between
sub in_order ($lines, @expected) {
    my $at = 0;
    for my $pattern (@expected) {
        $at++ while $at < @$lines && $lines->[$at] !~ $pattern;
        ok $at < @$lines, "$pattern" or return diag join "\n", @$lines;
    }
}

my $key    = $paid->workspace('traced');
my $answer = $paid->request($key);
is $answer->status, 201 or diag $answer->to_string;
my $line = $answer->json('/line/_id');
$sandbox->pay($answer->json('/invoiceId'));
$paid->wait_record('traced', $line, 'provisioning');

wait_for(sub { grep {/leaves request\.done/} @{told($line)} }, 30, 'the operation to end');

in_order told($line),
  qr/^lines operation $line: request\.send, attempt 1/,
  qr/^lines carrier $line: create/,
  qr/^lines operation $line: call of request\.send/,
  qr/^lines billing $line: subscribe "\S+" try 1/,
  qr/^lines carrier $line: POST "\S+", \d+ bytes/,
  qr/^lines carrier $line: end rc:0 status:200/,
  qr/^lines billing $line: subscribe ok, 200/,
  qr/^lines operation $line: request\.send answered, outcome 0/,
  qr/^lines store: $line asks request_sent/,
  qr/^lines store: $line: \S+ answered/,
  qr/^lines operation $line: rests in request\.await/,
  qr/^lines operation $line: request\.await, attempt 1/,
  qr/^lines billing $line: subscription ok, 200/,
  qr/^lines store: $line asks request_paid/,
  qr/^lines operation $line: leaves request\.done/;

# an answer that is none says why
$sandbox->fault(path => '/v1/subscriptions', kind => 'drop_after', times => 1);
$answer = $paid->request($paid->workspace('cut'));
is $answer->status, 201, 'asked again' or diag $answer->to_string;
$line = $answer->json('/line/_id');
wait_for(sub { grep {/rests in request/} @{told($line)} }, 30, 'the operation to rest');
ok +(grep {/^lines call $line: no answer, .+, sent:1/} @{told($line)}), 'why it was no answer' or diag join "\n", @{told($line)};

$t->done;
