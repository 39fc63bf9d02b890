# What others try with the operator's console: pages of siblings, who may only read, who had a session once, who writes what operators
# read; and what a hurried operator does to himself. By HTTP, and then in a browser.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Mojo::JSON qw(encode_json to_json);
use POSIX ();
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Browser;
use Time::HiRes ();

my $t     = Test::Lines->new(timeout => 600);
my $dir   = $ENV{LINES_CONSOLE_DIR} || $t->root . '/conf/console';
my $chart = $t->file('chart.js', "/* draws nothing */\n");
my ($ada, $bob) = ('a' x 40, 'b' x 40);
my $file  = $t->file('operators', "ada all $ada\nbob read $bob\n");
my $users = $t->file('users', "u:{PLAIN}p\n");
my $redis = $t->redis;

my $nginx = $t->nginx(redis => $redis, workers => 1, api => 'lines_rate_limit rate=100r/s burst=200 key=tenant name=api;', server => <<"END");
        location /ops/ { lines_admin token_file=$file; }
        location /console/ { lines_console admin=/ops/ dir=$dir chart=$chart; }
        location /front/ { lines_console admin=/front/ops/ dir=$dir chart=$chart; auth_basic front; auth_basic_user_file $users; }
        location /front/ops/ { lines_admin token_file=$file; }
END

my %own = ('X-Lines-Console' => 1);
my $me  = {Authorization => "Bearer $ada"};

sub ask ($method, $path, $headers, $json = undef) {
    return $nginx->request($method, "/ops/$path", {%$headers, $json ? ('Content-Type' => 'application/json') : ()}, $json // '');
}

sub login ($token) {
    my $answer = ask(POST => 'session', {Authorization => "Bearer $token"});
    my ($id) = ($answer->header('Set-Cookie') // '') =~ /^lines_session_\d+=([0-9a-f]{64});/;
    return $id;
}

sub cookie ($id, %more) { +{Cookie => "lines_session=$id", %own, %more} }

subtest 'a page of a sibling that sets a cookie of the same name locks nobody out' => sub {
    my $id = login($ada);
    my $no = 'f' x 64;

    # a longer path comes first, and a sign-in does not replace it
    is ask(GET => 'session', {%own, Cookie => "lines_session=$_; lines_session=$id"})->status, 200, 'before: ' . substr($_, 0, 12) for 'x', '', qq("$id"), $no, "$no; lines_session=y";
    is ask(GET => 'session', {%own, Cookie => ["lines_session=$no", 'a=1', "lines_session=$id"]})->status, 200, 'in another header';
    is ask(GET => 'session', {%own, Cookie => "lines_session=$id; lines_session=$no"})->status, 200, 'after';
    is ask(GET => 'session', {%own, Cookie => join '; ', map {"lines_session=$_"} map { sha256_hex($_) } 1 .. 100})->status, 401, 'a hundred, and none is one';
    is ask(DELETE => 'session', {%own, Cookie => "lines_session=$no; lines_session=$id"})->status, 200, 'his own is ended';
    is ask(GET => 'session', cookie($id))->status, 401, '... indeed';
};

subtest 'a session that a worker heard to be over is over there when Redis is away' => sub {
    my ($ended, $told, $good) = map { login($ada) } 1 .. 3;

    is ask(GET => 'node', cookie($_))->status, 200, 'good' for $ended, $told, $good;
    is ask(DELETE => 'session', cookie($ended))->status, 200, 'one is ended here';
    $redis->cli(DEL => 'lines:{admin}:session:' . sha256_hex(pack 'H*', $told));
    is ask(GET => 'node', cookie($told))->status, 401, '... one elsewhere, and it was tried here since';
    $redis->pause;
    wait_for(sub { ask(GET => 'session', cookie($good))->status == 503 }, 30, 'Redis to be away');
    is ask(GET => 'node', cookie($good))->status, 200, 'who was good sees what the node knows';
    is ask(GET => 'node', {%own, Cookie => 'lines_session=' . 'f' x 64 . "; lines_session=$good"})->status, 200, '... whatever else is sent';
    is ask(GET => 'node', cookie($ended))->status, 503, '... not who signed out';
    is ask(GET => 'node', cookie($told))->status, 503, '... nor who was told that it is over';
    $redis->cont;
    wait_for(sub { ask(GET => 'session', cookie($good))->status == 200 }, 30, 'Redis to be back');
    ask(DELETE => 'session', cookie($good));
};

subtest 'who may only read pushes nothing out of the log' => sub {
    is ask(PUT => 'workspaces/org_1', $me, '{"plan":"growth"}')->status, 201, 'what somebody did';
    my $before = $redis->cli(XLEN => 'lines:{admin}:log');
    my $mark   = $nginx->log_mark;
    for (1 .. 20) { my $id = login($bob); ask(DELETE => 'session', cookie($id)) }
    is $redis->cli(XLEN => 'lines:{admin}:log'), $before, 'is there, however often he signs in and out';
    is scalar(() = $nginx->error_log($mark) =~ /the operator "bob" asks for (?:POST|DELETE) "\/ops\/session"/g), 40, "... which is in nginx' log";
};

subtest 'a clock that was set back ends no new session' => sub {
    my @old = map { login($ada) } 1 .. 10;
    for (@old) { $redis->cli(ZINCRBY => 'lines:{admin}:sessions:ada', 3_600_000, sha256_hex(pack 'H*', $_)) }    # begun an hour from now
    my ($one, $two) = (login($ada), login($ada));
    is ask(GET => 'session', cookie($one))->status, 200, 'one that was opened then';
    is ask(GET => 'session', cookie($two))->status, 200, '... and another';
    is ask(GET => 'session', cookie($old[0]))->status, 401, 'what would last for longer than a session does is over';
    cmp_ok scalar(() = $redis->cli(KEYS => 'lines:{admin}:session:*')), '<=', 10, 'and there are not too many';
    ask(DELETE => 'session', cookie($_)) for $one, $two;
};

subtest 'a pipe in place of a file does not hold nginx up' => sub {
    my $pipe = $t->dir . '/pipe';
    POSIX::mkfifo($pipe, 0600) or die "mkfifo: $!";
    my ($code, $output) = eval { local $SIG{ALRM} = sub { die "it waits\n" }; alarm 20; my @said = $t->test_config(server => "location /c/ { lines_console dir=$dir chart=$pipe; }"); alarm 0; @said };
    alarm 0;
    is $@, '', 'it is answered';
    like $output, qr{"lines_console": "\Q$pipe\E" is no file}, '... by what it is';
};


# in a browser

if (my $why = Test::Lines::Browser->missing) {
    note "not in a browser: $why";
    $t->done;
    exit;
}

my $home    = $nginx->url('/console/');
my $api_key = $nginx->workspace(acme => {plan => 'growth'});
my $browser = Test::Lines::Browser->new(t => $t, options => ['--window-size=1440,900', '--disable-popup-blocking', '--enable-precise-memory-info']);
$browser->ask("$_.enable") for qw(Network Log Runtime);
binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);

sub js     ($code) { $browser->js($code) }
sub quoted ($text) { to_json([$text]) =~ s/^\[|\]$//gr }
sub text   () { js('document.body.innerText') // '' }
sub shows  ($pattern, $what, $seconds = 20) { ok eval { wait_for(sub { text() =~ $pattern }, $seconds, $what); 1 }, $what or diag text() }
sub there  ($code, $what, $seconds = 20) { ok eval { wait_for(sub { js($code) }, $seconds, $what); 1 }, $what or diag text() }
sub in     ($hash) { js("location.hash = @{[quoted($hash)]}") }

sub find_button ($name) {
    return "[...(document.querySelector('dialog[open]') || document).querySelectorAll('button')].find(b => (b.getAttribute('aria-label') || b.textContent).trim().startsWith(@{[quoted($name)]}))";
}

sub press ($name) { there("!!@{[find_button($name)]}", $name); js("@{[find_button($name)]}.click()") }
# in the dialog that is open, where one is: one that closes is there a moment longer
sub fill ($selector, $value) {
    my $field = "(document.querySelector('dialog[open]') || document).querySelector(@{[quoted($selector)]})";
    there("!!$field", $selector);
    js("$field.value = @{[quoted($value)]}");
}

sub key ($type, $name, $code, %more) {
    $browser->ask('Input.dispatchKeyEvent', type => $type, key => $name, code => $name, windowsVirtualKeyCode => $code, ($name eq 'Enter' && $type eq 'keyDown' ? (text => "\r") : ()), %more);
}

# anew, signed in; with a fetch of the page's that is ours
sub again ($hash, $fetch = undef) {
    $browser->ask('Page.navigate', url => 'about:blank');
    $browser->go($home . '?' . int(rand 1e9) . $hash, '#main');
    there('!!document.querySelector("#token") || !document.querySelector("#nav").hidden', 'the page');
    if (js('!!document.querySelector("#token")')) {
        fill('#token', $ada);
        press('Sign in');
    }
    shows(qr/ada, may change things/, 'signed in');
    js("window.own = fetch; window.fetch = async (path, options) => { $fetch }; 1") if $fetch;
}

subtest 'an address with a name that is none leads to the overview' => sub {
    again('#overview');
    for my $name (qw(__proto__ constructor toString)) {
        in('#audit');
        shows(qr/Run a pass/, 'another view');
        in("#$name");
        shows(qr/Figures of this node/, $name);
    }
    unlike js('document.title'), qr/function|undefined/, 'nor is its title one';
};

subtest 'a key that is held down confirms nothing' => sub {
    again('#tenant/workspaces/acme');
    for (['Set the rate of api', qr/replaces the rate/, sub { $nginx->admin(GET => 'workspaces/acme/limits/api')->status == 404 }, 'no rate is set'],
        ['Issue a key', qr/shown once, here/, sub { @{$nginx->admin(GET => 'workspaces/acme/keys')->json('/keys')} == 1 }, 'no key is issued'])
    {
        my ($name, $says, $so, $what) = @$_;
        there("!!@{[find_button($name)]}", $name);
        js("@{[find_button($name)]}.focus()");
        key(keyDown => 'Enter', 13);
        key(keyDown => 'Enter', 13, autoRepeat => \1) for 1 .. 5;
        key(keyUp => 'Enter', 13);
        shows($says, '... is asked first');
        Time::HiRes::sleep(0.3);
        ok $so->(), $what;
        ok js('!!document.querySelector("dialog[open] form")'), '... and the question stands there';
        press('Cancel');
    }
};

subtest 'a key is shown whatever is pressed while it is issued' => sub {
    again('#tenant/workspaces/acme', 'const answer = await own(path, options); if (options.method === "POST") { await new Promise(r => setTimeout(r, 1500)); } return answer;');
    press('Issue a key');
    js('document.querySelector("dialog form").requestSubmit()');
    shows(qr/Under way/, 'it is issued');
    for (1 .. 4) { key($_ => 'Escape', 27) for qw(keyDown keyUp) }

    # as the second click of a double one
    js('new MutationObserver(() => { const b = [...document.querySelectorAll("dialog button")].find(b => b.textContent === "Close"); if (b && !window.hit) { window.hit = 1; b.click(); } }).observe(document.body, { childList: true, subtree: true })');
    shows(qr/shown this once/, 'it is shown');
    my $key = js('(document.querySelector("dialog[open] .secret") || {}).textContent');
    is $nginx->get('/api/lines/by-user', $nginx->bearer($key // 'none'))->status, 200, '... and works';
    Time::HiRes::sleep(0.6);
    press('Close');
    there('!document.querySelector("dialog")', 'it can be closed');
};

subtest 'a browser that has a password for what is around sends it along' => sub {
    my $told = $nginx->url('/front/') =~ s{//}{//u:p\@}r;

    # that it is none of the operator's API makes the browser forget it
    for my $load ('first', 'again') {
        $browser->ask('Page.navigate', url => 'about:blank');
        $browser->ask('Page.navigate', url => "$told?$load");
        there('!!document.querySelector("#main")', "it has it: $load");
        $browser->ask('Page.navigate', url => $nginx->url("/front/?$load"));
        next if $load eq 'again';
        there('!!document.querySelector("#token")', 'it asks who is there');
        fill('#token', $ada);
        press('Sign in');
        shows(qr/ada, may change things/, 'signed in');
    }

    shows(qr/ada, may change things/, '... and so he is when it is loaded again');
    press('Sign out');
    there('!!document.querySelector("#token")', 'signed out');
};

subtest 'what may have been done is not said to be undone' => sub {
    again('#tenant/workspaces/acme', <<'END');
        const answer = await own(path, options);
        return options.method === 'PUT'
            ? new Response('{"error":"Service temporarily unavailable"}', { status: 503, headers: { 'Retry-After': '1', 'Content-Type': 'application/json' } }) : answer;
END
    press('Set the rate of api');
    fill('#rate', '9r/s');
    press('Set the rate');
    shows(qr/temporarily unavailable/, 'Redis did not answer');
    is $nginx->admin(GET => 'workspaces/acme/limits/api')->json('/rate'), '9r/s', '... and it was done';
    unlike text(), qr/nothing was done/, 'nobody says that it was not';
    shows(qr/Whether it was done is not known/, '... but that it is not known');
    $nginx->admin(DELETE => 'workspaces/acme/limits/api');
};

subtest 'characters that turn the writing round do so to their own text alone' => sub {
    $redis->cli(RPUSH => 'lines:{w:acme}:journal', '{"id":' . int(Time::HiRes::time() * 1000) . ',"type":"operation.resolved","note":"\u202egnp.","by":"ada"}');
    is $nginx->admin(POST => 'workspaces/acme/keys', {name => "\x{202e}yek"})->status, 201, 'a key of such a name';
    again('#tenant/workspaces/acme');
    shows(qr/A person said what is true/, 'an event');

    my $straight = sub ($root, $words) {
        return js(<<"END");
(() => {
    const walk = document.createTreeWalker(document.querySelector('$root'), NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        const at = node.data.indexOf('$words');
        if (at >= 0) {
            const left = i => { const range = document.createRange(); range.setStart(node, at + i); range.setEnd(node, at + i + 1); return range.getBoundingClientRect().left; };
            return left(0) < left(1) ? 1 : -1;
        }
    }
    return 0;
})()
END
    };
    is $straight->('.story', 'by: '), 1, 'what stands behind it is read from left to right';
    press("Revoke \x{202e}yek");
    shows(qr/stops working/, 'a question about that key');
    is $straight->('dialog', 'of acme stops'), 1, '... as well';
    press('Cancel');
};

subtest 'what was asked for later stands, whichever answer is first' => sub {
    again('#overview', <<'END');
        if (!path.endsWith('/audit')) { return own(path, options); }
        const n = window.asked = (window.asked || 0) + 1;
        if (n === 1) { await new Promise(r => setTimeout(r, 1000)); }
        return new Response(JSON.stringify({ running: Boolean(window.running), began: null, ended: n === 1 ? null : '2026-01-01T00:00:00Z', disagreements: [] }), { status: 200 });
END
    in('#audit');
    there('window.asked === 1', 'one look, which takes long');
    press('Refresh');
    shows(qr/All agrees/, 'another, which does not');
    Time::HiRes::sleep(1.3);
    unlike text(), qr/No whole pass has ended/, 'the old one is not shown';

    js('window.running = true');
    for (1 .. 6) { press('Refresh') }
    shows(qr/is under way/, 'a pass');
    js('window.asked = 1');
    Time::HiRes::sleep(5);
    cmp_ok js('window.asked'), '<=', 4, 'however often it was pressed, one looks on';
    js('Object.defineProperty(document, "hidden", { get: () => true, configurable: true })');
    Time::HiRes::sleep(2.5);
    js('window.asked = 1');
    Time::HiRes::sleep(3);
    is js('window.asked'), 1, '... and none while nobody sees it';
};

subtest 'what is said of an operation is said of what stands there' => sub {
    my ($op, $now) = ('b' x 24, int(Time::HiRes::time() * 1000));
    $redis->cli(SET  => "lines:{ix:$op}", 'w:acme');
    $redis->cli(HSET => "lines:{w:acme}:op:$op", kind => 'refund', step => 'cancel', stuck => 'refund_refused', begun => $now - 1000, tries => 2);
    $redis->cli(SADD => 'lines:{w:acme}:ops', $op);
    $redis->cli(ZADD => 'lines:{stuck}', $now, "w:acme $op");
    again('#operations', 'if (/resolve$/.test(path)) { window.resolved = 1; return new Response("{\"step\":\"cancel\"}", { status: 200 }); } return own(path, options);');
    press("Resolve $op");
    shows(qr/refund_refused/, 'what it is stuck with');
    $redis->cli(HSET => "lines:{w:acme}:op:$op", stuck => 'cancel_refused');
    fill('#note', 'by transfer');
    press('Say so');
    shows(qr/another matter by now: in “cancel”, cancel_refused/, 'it is told that it is another by now');
    is js('window.resolved || 0'), 0, '... and nothing was said of that';
    press('Cancel');
    press('Refresh');
    shows(qr/cancel_refused/, 'what it is now');
    press("Resolve $op");
    fill('#note', 'by transfer');
    press('Say so');
    shows(qr/It goes on by that/, 'of which it is said');
    is js('window.resolved'), 1, '... indeed';
    $redis->cli(ZREM => 'lines:{stuck}', "w:acme $op");
    $redis->cli(DEL => "lines:{w:acme}:op:$op", "lines:{ix:$op}");
    $redis->cli(SREM => 'lines:{w:acme}:ops', $op);
};

subtest 'each tab says who acts in it' => sub {
    again('#operations');
    js("window.tab = window.open(@{[quoted($home)]}); 1");
    there('window.tab && tab.document.readyState === "complete" && !!tab.document.querySelector("#who button")', 'another tab');
    js('tab.document.querySelector("#who button").click()');
    there('!!tab.document.querySelector("#token")', '... is signed out');
    js(qq{tab.document.querySelector('#token').value = '$bob'; tab.document.querySelector('form').requestSubmit()});
    there('/bob, may only read/.test(tab.document.body.innerText)', '... and in as another');
    shows(qr/bob, may only read/, 'so is this, whose requests are his by now', 12);
    js('tab.close()');
};

subtest 'a page that is loaded while Redis is away goes on once it is back' => sub {
    $redis->cli(DEL => $_) for $redis->cli(KEYS => 'lines:{admin}:session*');
    again('#overview');
    $redis->pause;
    wait_for(sub { ask(GET => 'session', $me)->status == 200 && ask(GET => 'audit-log', $me)->status == 503 }, 30, 'Redis to be away');
    $browser->go($home . '?away#audit', '#token');
    shows(qr/could not be asked/, 'it says why it shows nothing', 30);
    $redis->cont;
    shows(qr/Where Redis and billing.*ada, may|ada, may.*Where Redis and billing/s, 'the session was good all the time', 30);
};

subtest 'behind a balancer rates are of one node' => sub {
    $redis->cli(DEL => $_) for $redis->cli(KEYS => 'lines:{admin}:session*');
    my $script = $browser->ask('Page.addScriptToEvaluateOnNewDocument', source => 'const later = setTimeout; window.setTimeout = (f, ms, ...a) => later(f, ms === 5000 ? 200 : ms, ...a);');
    again('#overview', <<'END');
        if (!path.endsWith('/node')) { return own(path, options); }
        const node = await (await own(path, options)).json();
        if ((window.turn = (window.turn || 0) + 1) % 2) {
            node.node += 'other';
            node.requests[0].codes['200'] = (node.requests[0].codes['200'] || 0) + 1e6;
            node.redis.commands += 1e6;
        }
        return new Response(JSON.stringify(node), { status: 200 });
END
    js('window.most = 0; new MutationObserver(() => { for (const dd of document.querySelectorAll("main .figures dd")) { const n = Number(dd.textContent.replace(/[,\s\/s]/g, "")); if (dd.previousSibling.textContent === "answered" && n > most) { most = n; } } }).observe(document.body, { childList: true, subtree: true, characterData: true }); 1');
    there('window.turn > 12', 'looks at two nodes in turn');
    cmp_ok js('window.most'), '<', 1000, 'no rate is made of counters of two';
    shows(qr/leads to several nodes/, '... and it is said');
    $browser->ask('Page.removeScriptToEvaluateOnNewDocument', identifier => $script->{identifier});
};

subtest 'an hour of looks' => sub {
    my $script = $browser->ask('Page.addScriptToEvaluateOnNewDocument', source => 'const later = setTimeout; window.looks = 0; window.setTimeout = (f, ms, ...a) => { if (ms === 5000) { window.looks++; ms = 1; } return later(f, ms, ...a); };');
    $redis->cli(DEL => $_) for $redis->cli(KEYS => 'lines:{admin}:session*');
    again('#log');
    wait_for(sub { js('window.looks') > 20 }, 60, 'some');
    my $used = sub { $browser->ask('HeapProfiler.collectGarbage'); $browser->ask('Runtime.getHeapUsage')->{usedSize} };
    my $before = $used->();
    wait_for(sub { js('window.looks') > 740 }, 200, 'as many as in an hour');
    my $grown = $used->() - $before;
    note "grown by $grown bytes";
    cmp_ok $grown, '<', 1_000_000, 'what is kept of them is less than a megabyte';
    $browser->ask('Page.removeScriptToEvaluateOnNewDocument', identifier => $script->{identifier});
};

is_deeply [map { encode_json $_->{params} } grep { $_->{method} eq 'Runtime.exceptionThrown' } @{$browser->events}], [], 'no error of the script';

$browser->close;
$t->done;
