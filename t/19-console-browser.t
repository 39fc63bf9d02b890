# The operator's console in a real browser: each view and each action, on a phone and on a desk, in light and dark; with Redis and
# billing away; for who may only read; and nothing of what a tenant writes is more than text.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Mojo::Util qw(b64_decode);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Browser;
use Test::Lines::Scenario;
use Test::Lines::Util qw(write_file);
use Time::HiRes ();

plan skip_all => Test::Lines::Browser->missing if Test::Lines::Browser->missing;
plan skip_all => 'libjs-chart.js is not installed: see conf/packages.sh' unless -e '/usr/share/javascript/chart.js/chart.min.js';

my $t       = Test::Lines->new(timeout => 900);
my $root    = $t->root;
my $build   = $ENV{LINES_BUILD} || "$root/build";
my $s       = Test::Lines::Scenario->new(t => $t);
my $redis   = $s->redis;
my $sandbox = $s->sandbox;
my $nginx   = $s->nginx(workers => 1, api => 'lines_rate_limit rate=100r/s burst=200 key=tenant name=api;',
    server => "location /_lines/console/ { lines_console dir=$root/conf/console; }");
my $markup  = q(<img src=x onerror="document.title='run'"><b>bold</b>);

# what judges whether everybody can use it
my $said = qx{sh \Q$root\E/t/node/install.sh \Q$build\E \Q$root\E/t/node/axe axe 2>&1};
my $axe  = $? ? undef : path("$build/axe/node_modules/axe-core/axe.min.js")->slurp;
note 'without axe-core: ' . $said unless $axe;

my $pictures = path($build, 'console')->make_path;

my $acme;

subtest 'a world to look at' => sub {
    $s->numbers(9);
    $acme = $s->active_line(name => 'acme', request => {firstName => $markup, lastName => 'Lovelace', customerReference => $markup});
    ok $acme->{line}, 'a line whose name is markup';
    $s->bought_line(name => 'shop');
    is $nginx->admin(POST => 'workspaces/acme/keys', {name => '<i>key</i>'})->status, 201, 'a key whose name is, too';

    # a refund that billing refuses, as a note and of the payment itself, is stuck
    $nginx->allow(qr/is stuck|gets no answer/);
    my $failed = $s->paid_line(name => 'stuck');
    $sandbox->fault(path => "/v1/$_", method => 'POST', kind => '400', times => 1000) for qw(credit_notes refunds);
    $s->report($failed, 'failed');
    wait_for(sub { grep { ($_->{stuck} // '') eq 'refund_refused' } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')} }, 60, 'it to be stuck');

    # what an auditor of before has shown, until the next pass
    my $now  = int(Time::HiRes::time() * 1000);
    my $what = 'shown window a:shop day day';
    $redis->cli(HSET => 'lines:{audit}:found', $what => "$now " . encode_json({
        kind => 'window', outcome => 'shown', tenant => 'a:shop', id => "day $markup", subscription => undef, here => $markup, there => 'two purchases',
        firstSeenAt => '2026-11-27T10:00:00.000Z', lastSeenAt => '2026-11-27T11:00:00.000Z'}));
    $redis->cli(ZADD => 'lines:{audit}:order', $now, $what);
    ok scalar @{$nginx->admin(GET => 'audit')->json('/disagreements')}, 'a disagreement';
};

my $browser = Test::Lines::Browser->new(t => $t, options => ['--window-size=1440,900', '--force-device-scale-factor=1', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1']);
$browser->ask("$_.enable") for qw(Network Log Runtime);

my $home = $nginx->url('/_lines/console/');

sub js     ($code) { $browser->js($code) }
sub quoted ($text) { encode_json([$text]) =~ s/^\[|\]$//gr }
sub text   () { js('document.body.innerText') // '' }

sub shows ($pattern, $what, $seconds = 30) {
    my $seen = eval { wait_for(sub { text() =~ $pattern }, $seconds, $what); 1 };
    ok $seen, $what or diag text();
}

sub size  ($width) { $browser->ask('Emulation.setDeviceMetricsOverride', width => $width, height => 900, deviceScaleFactor => 1, mobile => \0) }
sub theme ($name)  { $browser->ask('Emulation.setEmulatedMedia', features => [{name => 'prefers-color-scheme', value => $name}]) }

# the one that is shown of that name, in the dialog where it is open
sub try_press ($name) {
    return js(<<"END");
(() => {
    const root = document.querySelector('dialog[open]') || document;
    const all = [...root.querySelectorAll('button, nav a')].filter(one => (one.getAttribute('aria-label') || one.textContent).trim().startsWith(@{[quoted($name)]}));
    if (!all.length) { return 0; }
    all[0].focus();
    all[0].click();
    return all.length;
})()
END
}

sub press ($name) { ok eval { wait_for(sub { try_press($name) }, 15, $name) }, "press $name" or diag text() }

# until it is so, pressing it now and then
sub pressing ($name, $code, $what, $seconds = 60) {
    my $next = 0;
    my $so   = eval {
        wait_for(sub {
            return 1 if $code->();
            return 0 if Time::HiRes::time() < $next;
            try_press($name);
            $next = Time::HiRes::time() + 0.7;
            return 0;
        }, $seconds, $what);
        1;
    };
    ok $so, $what or diag text();
}

sub fill ($selector, $value) {
    ok js(<<"END"), "fill $selector" or diag text();
(() => {
    const field = (document.querySelector("dialog[open]") || document).querySelector(@{[quoted($selector)]});   // one that is closed leaves a moment later
    if (!field) { return 0; }
    field.value = @{[quoted($value)]};
    field.dispatchEvent(new Event('input', { bubbles: true }));
    field.dispatchEvent(new Event('change', { bubbles: true }));
    return 1;
})()
END
}

sub in ($hash) { js("location.hash = @{[quoted($hash)]}") }

sub picture ($name) {
    my $shot = $browser->ask('Page.captureScreenshot', format => 'png', captureBeyondViewport => \0);
    write_file($pictures->child("$name.png"), b64_decode $shot->{data});
}

binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);

# nothing sticks out, and everybody can use it
sub sound ($name, @widths) {
    for my $width (@widths ? @widths : (360, 1440)) {
        size($width);
        wait_for(sub { js('innerWidth') == $width }, 10, "$width px");

        # plots follow a moment later
        my $fits = eval { wait_for(sub { js('document.documentElement.scrollWidth <= innerWidth') }, 5, 'it to fit'); 1 };
        ok $fits, "$name: nothing sticks out at $width px"
          or diag js('[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll")).map(e => e.tagName + "." + e.className).slice(0, 9).join()');

        for my $scheme (qw(light dark)) {
            theme($scheme);
            picture("$name-$width-$scheme");
            next unless $axe;
            js($axe) unless js('!!window.axe');
            my $wrong = js('axe.run(document, { resultTypes: ["violations"] }).then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary).join("; ")))');
            is_deeply $wrong, [], "$name: no violations at $width px, $scheme";
        }
        theme('light');
    }
}

sub login ($token) {
    $browser->go($home, '#token');
    fill('#token', $token);
    press('Sign in');
}

# both ways of the dialog: it says what it does, Escape does nothing; then it is done
sub confirmed ($name, $says, $does, $done, %fields) {
    press($name);
    shows($says, '... it says what it does');
    is js('document.activeElement.closest("dialog") !== null'), Mojo::JSON->true, '... and has the focus' if $name !~ /^Issue/;
    sound('dialog-' . lc($name =~ s/\W+.*//r), 360);
    size(1440);
    press('Cancel');
    ok js('!document.querySelector("dialog[open]")'), '... or not';
    press($name);
    shows($says, '... again');
    fill($_, $fields{$_}) for sort keys %fields;
    press($does);
    shows($done, '... it is done');
}

size(1440);

subtest 'signing in' => sub {
    $browser->go($home, '#token');
    sound('signin');
    fill('#token', 'x' x 40);
    press('Sign in');
    shows(qr/none of the node’s/, 'a wrong token is told so');
    fill('#token', $t->admin_token);
    press('Sign in');
    shows(qr/ops, may change things/, 'who it is');
    unlike js('document.documentElement.outerHTML + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie') // '', qr/\Q@{[$t->admin_token]}\E|lines_session/,
      'neither token nor session are where a script finds them';
    $browser->go("$home#overview", 'nav a');
    shows(qr/ops, may change things/, 'a page that is loaded again is signed in');
};

subtest 'overview' => sub {
    in('#overview');
    shows(qr/Figures of this node/, 'whose figures');
    wait_for(sub { text() =~ /by a pass over all tenants/ }, 60, 'the fleet');
    wait_for(sub { js('document.querySelectorAll("canvas").length') == 3 }, 10, 'three plots');
    ok js('[...document.querySelectorAll("canvas")].every(c => Chart.getChart(c) && Chart.getChart(c).data.labels.length > 0)'), 'which draw';
    $nginx->get('/api/lines/by-user') for 1 .. 20;
    wait_for(sub { js('Chart.getChart(document.querySelector("canvas")).data.datasets[1].data.some(n => n > 0)') }, 30, 'traffic');
    pass 'what was refused is in the plot';
    shows(qr/Redis, as this node sees it.*ok/s, 'Redis');
    sound('overview');
};

subtest 'operations' => sub {
    in('#operations');
    shows(qr/refund_refused/, 'what is stuck');
    shows(qr/Nothing is under way|Operations under way/, 'what is in flight');
    sound('operations');
    my ($stuck) = @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')};
    confirmed('Retry', qr/nothing is charged or given back twice/, 'Try again', qr/It is being tried/);
    js('document.querySelector("td a.id").click()');
    shows(qr/What happened, step by step/, 'its story');
    shows(qr/The line failed/, '... as its line has it');
    sound('story');
    pressing('Refresh', sub { $s->op(@$stuck{qw(tenant id)})->{stuck} && text() =~ /refund_refused/ }, 'it is stuck again');

    press('Resolve');
    shows(qr/goes to its end by your word/, 'resolve says what it does');
    press('Say so');
    shows(qr/a note is required/, '... and wants a note');
    fill('#note', "by transfer $markup");
    pressing('Say so', sub { text() =~ /It goes on by that/ }, 'it is said, once nobody tries it');
    wait_for(sub { $s->op(@$stuck{qw(tenant id)})->{step} eq 'done' }, 30, 'its end');
    press('Refresh');
    shows(qr/by transfer \Q$markup\E/, 'a note is text');
    in('#operations');
    shows(qr/Nothing is stuck/, 'nothing is left');
};

subtest 'audit' => sub {
    in('#audit');
    shows(qr/two purchases/, 'both sides');
    like text(), qr/\Q$markup\E/, '... as text';
    sound('audit');
    confirmed('Run a pass', qr/as soon as none is under way/, 'Run a pass', qr/A pass begins/);
    pressing('Refresh', sub { text() !~ /two purchases/ }, 'what a pass does not see is gone', 90);
};

subtest 'inventory' => sub {
    in('#inventory');
    shows(qr/8 numbers free: the mark is 10/i, 'numbers, and that they are few');
    shows(qr/\+1415/, 'the list');
    sound('inventory');
    fill('#mark', 3);
    shows(qr/8 numbers free: the mark is 3\./, 'another mark');
    fill('#state', 'assigned');
    wait_for(sub { js('document.querySelectorAll("tbody tr").length') == 1 }, 30, 'one that is assigned');
    $browser->go($home, 'nav a');
    in('#inventory');
    shows(qr/the mark is 3\./, 'it is remembered');
};

subtest 'tenant' => sub {
    in('#tenant');
    shows(qr/Give the id/, 'asks whose');
    fill('#tenant-id', 'w:acme');
    press('Look');
    shows(qr/Workspace acme/, 'finds it');
    shows(qr/\Q$markup\E/, 'a name with markup is text');
    shows(qr/<i>key<\/i>/, "... so is a key's");
    shows(qr/The line is active/, 'what happened');
    is js('document.querySelectorAll("main img, main b, main i").length'), 0, 'no element came of it';
    sound('tenant');

    press('Issue a key');
    shows(qr/It is shown once/, 'a key: what it is');
    fill('#key-name', '<u>new</u>');
    fill('#key-role', 'read');
    press('Issue the key');
    shows(qr/shown this once/, '... is issued');
    my $key = js('document.querySelector("dialog .secret").textContent');
    is $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status, 200, '... and works';
    sound('issued', 360);
    size(1440);
    pressing('Close', sub { js('!document.querySelector("dialog[open]")') }, 'it is closed, once it was there for a moment');
    unlike text(), qr/\Q$key\E/, '... and is gone from the page';
    shows(qr/<u>new<\/u>/, '... listed');
    confirmed('Revoke <u>new', qr/stops working on every node/, 'Revoke the key', qr/The key is revoked/);
    wait_for(sub { $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status == 401 }, 10, 'the key to be gone');

    confirmed('Set the rate of api', qr/replaces the rate of its plan/, 'Set the rate', qr/The rate is set/, '#rate' => '7r/s');
    is $nginx->admin(GET => 'workspaces/acme/limits/api')->json('/rate'), '7r/s', 'a rate of its own';
    press('Change the rate of api');
    fill('#rate', 'fast');
    press('Set the rate');
    shows(qr/rate must be a rate, as 50r\/s/, '... a bad one is refused, in the words of the API');
    press('Cancel');
    confirmed('Remove the rate of api', qr/back to its plan/, 'Remove the rate', qr/The rate is removed/);
    is $nginx->admin(GET => 'workspaces/acme/limits/api')->status, 404, '... and gone';

    confirmed('Release', qr/ends now, and does not come back/, 'Release the line', qr/The line is released/);
    shows(qr/canceled/, 'its line');

    # what cannot be is said in the words of the API
    $redis->cli(HSET => 'lines:{w:acme}:rec:' . $acme->{line}, status => 'failed');
    press('Refund');
    shows(qr/A line that is failed cannot be refunded/, 'what cannot be refunded is told so');
    press('Cancel');
    $redis->cli(HSET => 'lines:{w:acme}:rec:' . $acme->{line}, status => 'active');

    # what was released kept its money until now; and billing refuses nothing any more
    $sandbox->clear_faults;
    press('Refund');
    shows(qr/has ended. What was kept for it until now goes back, too/, '... it says what it does');
    shows(qr/Goes back: 900 usd/, '... and how much');
    shows(qr/in_\w+\s+paid\s+900 usd\s+0 usd\s+0 usd\s+900 usd/, '... of which invoice');
    sound('dialog-refund', 360);
    size(1440);

    # somebody gives it back by hand meanwhile, or a part
    $sandbox->hand(POST => '/v1/credit_notes', invoice => $acme->{invoice}, amount => 300, refund_amount => 300);
    press('Refund the line');
    shows(qr/Another amount would go back by now/, 'another amount by then is refused');
    shows(qr/Goes back: 600 usd/, '... and shown anew');
    press('Refund the line');
    shows(qr/The line is refunded by operation/, 'refunded');
    wait_for(sub { ($s->money($acme->{subscription}))[1] == 900 }, 30, 'all of it to go back');
    pass '... all of it';

    in('#tenant/accounts/shop');
    shows(qr/Account shop/, 'an account');
    shows(qr/\+1415/, '... and its number');
    sound('account');
    in('#tenant/workspaces/nobody');
    shows(qr/Workspace not found/, 'one that is not there');
    in('#tenant/workspaces/%3Cb%3E');
    shows(qr/Invalid workspace id/, '... or cannot be');
    in('#tenant/workspaces/stuck');
    shows(qr/There is no key|API keys/, 'another');
};

subtest 'log' => sub {
    in('#log');
    shows(qr{POST /_lines/admin/session}, 'who signed in');
    shows(qr{PUT /_lines/admin/workspaces/acme/limits/api}, 'what was set');
    sound('log');
};

subtest 'by keyboard' => sub {
    my $key = sub ($name, $code) { $browser->ask('Input.dispatchKeyEvent', type => $_, key => $name, code => $name, windowsVirtualKeyCode => $code, ($name eq 'Enter' && $_ eq 'keyDown' ? (text => "\r") : ())) for qw(keyDown keyUp) };
    $browser->go("$home?again#operations", 'nav a');
    shows(qr/Nothing is stuck/, 'a view');
    js('document.activeElement.blur()');
    $key->(Tab => 9);
    is js('document.activeElement.id'), 'skip', 'Tab comes to the link to the content';
    $key->(Enter => 13);
    is js('document.activeElement.id'), 'main', '... which leads there';
    in('#audit');
    shows(qr/Run a pass/, 'another view');
    js('[...document.querySelectorAll("button")].find(b => b.textContent === "Run a pass").focus()');
    $key->(Enter => 13);
    ok js('!!document.querySelector("dialog[open]")'), 'Enter opens a dialog';
    $key->(Escape => 27);
    wait_for(sub { js('!document.querySelector("dialog[open]")') }, 10, 'Escape to close it');
    is js('document.activeElement.textContent'), 'Run a pass', '... and the focus is back';
};

subtest 'billing is away' => sub {
    my $key = $s->workspace('late');
    $sandbox->signal('STOP');
    $nginx->allow(qr/./);
    $s->request($key, channelType => 'email');
    in('#overview');
    shows(qr/Billing is unreachable/, 'is said, whatever the view', 60);
    sound('billing-away');
    in('#operations');
    shows(qr/Operations under way/, 'what waits for it is in flight');
    $sandbox->signal('CONT');
    wait_for(sub { text() !~ /Billing is unreachable/ }, 90, 'it to be back');
};

subtest 'Redis is away' => sub {
    $redis->pause;
    in('#overview');
    shows(qr/This node does not reach Redis/, 'is said', 60);
    shows(qr/Redis, as this node sees it.*unreachable/s, '... and what the node knows is shown on', 60);
    sound('redis-away');
    for my $view (qw(operations audit inventory tenant/workspaces/acme log)) {
        in("#$view");
        ok eval { wait_for(sub { js('[...document.querySelectorAll("main .error")].some(e => e.textContent.includes("nothing was done"))') }, 60, $view) },
          "$view says that it cannot be read" or diag text();
    }
    sound('log-away', 360);
    $redis->cont;
    pressing('Try again', sub { text() =~ m{POST /_lines/admin/session} }, 'it is back');
    wait_for(sub { text() !~ /could not be asked|does not reach/ }, 60, 'the words to be gone');
};

subtest 'signing out' => sub {
    press('Sign out');
    shows(qr/An operator’s token/, 'leads back');
    is $nginx->admin(GET => 'audit-log?limit=1')->json('/entries/0/method'), 'DELETE', '... and is in the log';
    is scalar(() = $redis->cli(KEYS => 'lines:{admin}:session:*')), 0, 'no session is left';
};

subtest 'who may only read' => sub {
    login($t->read_token);
    shows(qr/watch, may only read/, 'is told so');
    for (['operations', qr/Nothing is stuck/], ['audit', qr/Disagreements|All agrees|No whole pass/i], ['tenant/workspaces/acme', qr/The line was released/], ['inventory', qr/numbers free/], ['log', qr/session/]) {
        my ($view, $there) = @$_;
        in("#$view");
        shows($there, $view);
        unlike js('[...document.querySelectorAll("main button")].map(b => b.textContent).join("|")'), qr/Retry|Resolve|Run|Issue|Revoke|Set|Change|Remove|Release|Refund/, '... without buttons that change something';
    }
    sound('reader', 360);

    # and a session that is over leads back
    $redis->cli(DEL => $_) for $redis->cli(KEYS => 'lines:{admin}:session:*');
    size(1440);
    in('#audit');
    shows(qr/Your session is over: sign in again/, 'a session that is over');
};

subtest 'what the browser says' => sub {
    my @events = @{$browser->events};
    my $own    = $nginx->url('/');
    is_deeply [grep { index($_, $own) && !/^data:/ } map { $_->{params}{request}{url} } grep { $_->{method} eq 'Network.requestWillBeSent' } @events], [], 'no request to another host';
    is_deeply [grep {/Content Security Policy|violates/} map { $_->{params}{entry}{text} // '' } grep { $_->{method} eq 'Log.entryAdded' } @events], [], 'nothing was against the policy';
    is_deeply [map { encode_json $_->{params} } grep { $_->{method} eq 'Runtime.exceptionThrown' } @events], [], 'no error of the script';
    isnt js('document.title'), 'run', 'no markup ran';
};

$browser->close;
$t->done;
