# A real browser opens the link, presses the button, and the line moves on.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(first);
use Mojo::JSON qw(true);
use Mojo::UserAgent;
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Paid;

my $browser = first { -x $_ } map { my $dir = $_; map {"$dir/$_"} qw(chromium-headless-shell chromium) } split /:/, "$ENV{PATH}:/usr/bin";
plan skip_all => 'no chromium here (apt-get install chromium-headless-shell)' unless $browser;

my $t    = Test::Lines->new;
my $paid = Test::Lines::Paid->new(t => $t);
$paid->nginx;

my $key    = $paid->workspace('browser');
my $answer = $paid->request($key);
is $answer->status, 201 or diag $answer->to_string;
my $line = $answer->json('/line/_id');

my $port   = $t->free_port;
my $chrome = $t->spawn(chromium => [
    $browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--window-size=360,640',
    "--user-data-dir=@{[$t->dir]}/profile", '--remote-debugging-address=127.0.0.1', "--remote-debugging-port=$port", 'about:blank'
], env => {HOME => $t->dir});

my $ua   = Mojo::UserAgent->new(inactivity_timeout => 60);
my $page = wait_for(sub {
    my $list = eval { $ua->get("http://127.0.0.1:$port/json/list")->result->json } // [];
    return first { $_->{type} eq 'page' } @$list;
}, 60, 'the browser');

my ($socket, %results, $calls);
$ua->websocket($page->{webSocketDebuggerUrl} => sub ($ua, $tx) {
    die 'no debugger' unless $tx->is_websocket;
    $tx->on(json => sub ($tx, $message) { $results{$message->{id}} = $message if $message->{id} });
    $socket = $tx;
});
wait_for(sub { $socket }, 30, 'the debugger');

sub ask ($method, %params) {
    my $id = ++$calls;
    $socket->send({json => {id => $id, method => $method, params => \%params}});
    my $message = wait_for(sub { $results{$id} }, 30, $method);
    die "$method: $message->{error}{message}" if $message->{error};
    return $message->{result};
}

sub js ($code) { ask('Runtime.evaluate', expression => $code, returnByValue => true)->{result}{value} }

ask('Page.enable');
ask('Page.navigate', url => $answer->json('/paymentUrl'));
wait_for(sub { js("document.readyState === 'complete' && !!document.querySelector('#pay')") }, 30, 'the button');

my $text = js('document.body.innerText');
like $text, qr/\d+[.,]\d\d/, 'an amount';
ok js('document.documentElement.scrollWidth <= window.innerWidth'), 'readable on a phone';
is $paid->record('browser', $line)->{status}, 'awaiting_payment';

js("document.querySelector('#pay').click()");
wait_for(sub { js("document.readyState === 'complete' && !document.querySelector('#pay')") }, 30, 'the next page');
like js('document.body.innerText'), qr/paid/i, 'the page says that it is paid';

$paid->wait_record('browser', $line, 'provisioning');
is $paid->read($key, $line)->json('/paymentStatus'), 'paid', 'and so does the line';

eval { ask('Browser.close') };
wait_for(sub { !$chrome->alive }, 30, 'the browser to close');
wait_for(sub { !grep { $_->{title} =~ /chrom/ } @{$t->processes} }, 30, 'the browser to end');

$t->done;
