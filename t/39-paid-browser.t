# A real browser opens the link, presses the button, and the line moves on.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Browser;
use Test::Lines::Paid;

plan skip_all => Test::Lines::Browser->missing if Test::Lines::Browser->missing;

my $t    = Test::Lines->new;
my $paid = Test::Lines::Paid->new(t => $t);
$paid->nginx;

my $key    = $paid->workspace('browser');
my $answer = $paid->request($key);
is $answer->status, 201 or diag $answer->to_string;
my $line = $answer->json('/line/_id');

my $browser = Test::Lines::Browser->new(t => $t, options => ['--window-size=360,640']);
$browser->go($answer->json('/paymentUrl'), '#pay');

my $text = $browser->js('document.body.innerText');
like $text, qr/\d+[.,]\d\d/, 'an amount';
ok $browser->js('document.documentElement.scrollWidth <= window.innerWidth'), 'readable on a phone';
is $paid->record('browser', $line)->{status}, 'awaiting_payment';

$browser->js("document.querySelector('#pay').click()");
$browser->wait_page("!document.querySelector('#pay')", 'the next page');
like $browser->js('document.body.innerText'), qr/paid/i, 'the page says that it is paid';

$paid->wait_record('browser', $line, 'provisioning');
is $paid->read($key, $line)->json('/paymentStatus'), 'paid', 'and so does the line';

$browser->close;
$t->done;
