# The page of the client's API: lines_docs serves it, "make docs" makes it of what npm has, and a browser that reaches
# nothing but this nginx shows all of it.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::Date;
use Mojo::File qw(path);
use Mojo::Util qw(decode);
use Test::More;
use Test::Lines::Once store => 'nothing is stored';
use Test::Lines qw(wait_for);
use Test::Lines::Browser;
use YAML::PP;

my $t    = Test::Lines->new;
my $root = $t->root;

sub page ($name, $text, $policy = "default-src 'none'; img-src data:") {
    return $t->file($name, qq{<!DOCTYPE html>\n<html><head>\n<meta http-equiv="Content-Security-Policy" content="$policy">\n</head>$text</html>\n});
}

my $short = page('short.html', 'the first' . ' page' x 500);
my $nginx = $t->nginx(
    http   => 'gzip_min_length 100;',
    server => <<"END");
location = /docs    { lines_docs $short; }
location = /packed  { lines_docs $short; gzip on; }
location = /limited { lines_docs $short; limit_except GET { deny all; } }
location = /if      { lines_docs $short; if (\$arg_plain) { gzip off; } }
END

subtest 'what is answered' => sub {
    my $answer = $nginx->get('/docs');
    is $answer->status, 200, 'the page';
    is $answer->body, path($short)->slurp, '... as it is in the file';
    is $answer->header('Content-Type'), 'text/html; charset=utf-8', 'its type';
    is $answer->header('Content-Length'), -s $short, 'its length';
    is $answer->header('Content-Security-Policy'), "default-src 'none'; img-src data:; frame-ancestors 'none'", "the page's policy, and who may frame it";
    is $answer->header('X-Content-Type-Options'), 'nosniff', 'no other type';
    is $answer->header('Referrer-Policy'), 'no-referrer', 'nobody is told where a reader comes from';
    is $answer->header('Cache-Control'), 'no-cache', 'kept, and asked for again';
    is $answer->header('Last-Modified'), Mojo::Date->new((stat $short)[9])->to_string, 'since when';

    my $etag = $answer->header('ETag');
    like $etag, qr/^"[0-9a-f]{32}"$/, 'a strong ETag';

    my $known = $nginx->get('/docs', {'If-None-Match' => qq{"other", $etag}});
    is $known->status, 304, 'who knows it is told so';
    is $known->body, '', '... and no more';
    is $known->header('ETag'), $etag, '... but which';
    ok $known->header('Content-Security-Policy'), '... and the policy';
    is $nginx->get('/docs', {'If-None-Match' => '"other"'})->status, 200, 'who knows another one has it';
    is $nginx->get('/docs', {'If-Modified-Since' => $answer->header('Last-Modified')})->status, 304, 'so does a time';

    my $head = $nginx->head('/docs');
    is $head->status, 200, 'HEAD';
    is $head->header($_), $answer->header($_), "... $_" for qw(Content-Length Content-Type ETag Content-Security-Policy);
    is $head->body, '', '... and nothing else';

    my $part = $nginx->get('/docs', {Range => 'bytes=0-14'});
    is $part->status, 206, 'a part';
    is $part->body, '<!DOCTYPE html>', '... of it';

    is $nginx->post('/docs', 'x')->status, 405, 'POST is refused';
    is $nginx->get('/docs/more')->status, 404, 'of an exact location nothing else is';
};

subtest 'gzip is left to nginx' => sub {
    is $nginx->get('/docs', {'Accept-Encoding' => 'gzip'})->header('Content-Encoding'), undef, 'off';
    my ($got) = $nginx->raw("GET /packed HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n") =~ /^(.*)$/s;
    like $got, qr/^Content-Encoding: gzip\r$/m, 'on';
    like $got, qr/^ETag: W\/"[0-9a-f]{32}"\r$/m, 'its ETag is a weak one';
    my ($etag) = $got =~ /^ETag: (.*)\r$/m;
    is $nginx->get('/packed', {'If-None-Match' => $etag})->status, 304, '... that is known again';
};

subtest 'blocks of the location' => sub {
    is $nginx->get('/limited')->status, 200, 'limit_except lets in';
    is $nginx->post('/limited', '')->status, 403, 'or not';
    is $nginx->get('/if?plain=1')->body, path($short)->slurp, 'if';
};

subtest 'behind lines_auth' => sub {
    my $with = $t->nginx(name => 'with', redis => $t->redis, server => "location = /docs { lines_auth workspace; lines_docs $short; }");
    $with->wait_redis;
    is $with->get('/docs')->status, 401, 'nobody';
    is $with->get('/docs', $with->bearer($with->workspace(one => {plan => 'growth'})))->body, path($short)->slurp, 'who has a key';
    $with->quit;
};

subtest 'another node, another page' => sub {
    my $etag  = $nginx->get('/docs')->header('ETag');
    my $copy  = $t->file('copy.html', path($short)->slurp);
    utime 1e9, 1e9, "$copy" or die $!;
    my $other = $t->nginx(server => "location / { lines_docs $copy; }");
    is $other->get('/anything')->header('ETag'), $etag, 'the same page has the same ETag';
    $other->quit;

    my $before = $nginx->get('/docs')->body;
    rename page('second.html', 'the second page'), $short or die $!;
    is $nginx->get('/docs')->body, $before, 'an exchanged file';
    $nginx->reload;
    like $nginx->get('/docs')->body, qr/the second page/, '... comes with a reload';
    isnt $nginx->get('/docs')->header('ETag'), $etag, '... and has an ETag of its own';
};

subtest 'nginx -t' => sub {
    my $none  = $t->file('none.html', '<!DOCTYPE html><html></html>');
    my $late  = $t->file('late.html', ' ' x 5000 . path($short)->slurp);
    my $odd   = page('odd.html', '', "default-src\n'none'");
    my $open  = $t->file('open.html', q{<meta http-equiv="Content-Security-Policy" content="default-src});
    my $empty = $t->file('nothing.html', '');

    for (
        ['lines_docs /nowhere/api.html;', qr{"lines_docs": the page "/nowhere/api\.html" cannot be opened: "make docs" makes it.*\(2: No such file}, 'is not there'],
        ['lines_docs nowhere.html;', qr{"/[^"]+/nowhere\.html" cannot be opened}, 'is looked for beside nginx.conf'],
        ["lines_docs @{[$t->dir]};", qr/"lines_docs": "\Q@{[$t->dir]}\E" is no file/, 'a folder'],
        (map { ["lines_docs $_;", qr/"lines_docs": "\Q$_\E" is no page of "make docs": there is no Content-Security-Policy in its head/, path($_)->basename] }
            $none, $late, $odd, $open, $empty),
        ["lines_docs $short; lines_docs $short;", qr/"lines_docs" directive is duplicate/, 'twice'],
        ["lines_docs $short again;", qr/number of arguments in "lines_docs"/, 'two of them'],
        ["lines_ready; lines_docs $short;", qr/"lines_docs": location "\/docs" has another handler already/, 'besides another'],
        ["lines_docs $short; lines_ready;", qr/"lines_ready": location "\/docs" has another handler already/, 'before another']
    ) {
        my ($code, $output) = $t->test_config(server => "location = /docs { $_->[0] }");
        isnt $code, 0, "$_->[2]: an error";
        like $output, $_->[1], '... that says why';
        like $output, qr/nginx\.conf:\d+/, '... and where';
    }

    SKIP: {
        skip 'a package is installed', 1 if -e '/usr/share/lines/api.html';
        like +($t->test_config(server => 'location = /docs { lines_docs; }'))[1], qr{"/usr/share/lines/api\.html" cannot be opened}, 'by default it is where the package has it';
    }
};

subtest 'make docs' => sub {
    plan skip_all => 'the page is the same' if $ENV{LINES_PRELOAD};
    my $build = $ENV{LINES_BUILD} || "$root/build";
    my $said  = qx{cd \Q$root\E && sh t/node/install.sh \Q$build\E conf/api redoc 2>&1};
    plan skip_all => $said =~ s/\s+$//r if $? >> 8 == 77;
    is $?, 0, 'npm has what it needs' or return diag $said;

    my $page = $t->dir . '/made/api.html';
    $said = qx{node \Q$root\E/conf/api/docs.mjs \Q$build\E/redoc \Q$root\E/conf/api/openapi.yaml \Q$page\E 2>&1};
    is $?, 0, 'it is made' or return diag $said;

    my $text = path($page)->slurp;
    my ($policy) = $text =~ /<meta http-equiv="Content-Security-Policy" content="([^"]*)">/;
    unlike $policy, qr/unsafe|\*|https?:/, 'its policy is strict';
    is scalar(() = $text =~ /<script>.*?<\/script>/gs), 2, 'its scripts are in it';
    unlike $text =~ s/<script>.*?<\/script>|<link rel="icon" href="data:,">//gsr, qr/<(?:link|script|img|iframe)\b/, '... and nothing else is asked for';
    like $text, qr/Copyright \(c\) 2015-present, Rebilly/, 'the license that asks to be there is';
    is system("git -C \Q$root\E check-ignore -q build/docs/api.html"), 0, 'it is never committed' if -e "$root/.git";

    my $server = $t->nginx(name => 'server', server => "location = /docs { lines_docs $page; }");
    is $server->get('/docs')->header('Content-Security-Policy'), "$policy; frame-ancestors 'none'", 'the header says as much';

    SKIP: {
        skip(Test::Lines::Browser->missing, 1) if Test::Lines::Browser->missing;

        # it finds no name, and no address but this one
        my $browser = Test::Lines::Browser->new(t => $t, options => ['--window-size=1280,900', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1']);
        $browser->ask("$_.enable") for qw(Network Log Runtime);
        $browser->go($server->url('/docs'), 'h1');

        my $openapi    = YAML::PP->new(boolean => 'JSON::PP')->load_string(decode 'UTF-8', path("$root/conf/api/openapi.yaml")->slurp);
        my @operations = map { my $item = $_; map { $item->{$_} // () } qw(get post put patch delete) } values %{$openapi->{paths}};
        wait_for(sub { ($browser->js('document.querySelectorAll("[data-section-id^=\"tag/\"][data-section-id*=\"/operation/\"], [data-section-id^=\"operation/\"]").length') // 0) >= @operations }, 60, 'all operations');

        my $shown = $browser->js('document.body.innerText');
        like $shown, qr/\Q$_->{summary}\E/, $_->{operationId} for @operations;
        like $shown, qr/Never twice/, 'what holds for all';

        # it finds what is looked for, in a worker of the page's own
        $browser->js(<<'END');
const input = document.querySelector('input[type=text], input[placeholder]');
Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, 'confirm');
input.dispatchEvent(new Event('input', { bubbles: true }));
END
        wait_for(sub { ($browser->js('document.querySelector("[data-role=\"search:results\"]")?.innerText') // '') =~ /Buy the line/ }, 30, 'the search');

        my @events = @{$browser->events};
        is_deeply [grep { !/^(?:data|blob):/ && $_ ne $server->url('/docs') } map { $_->{params}{request}{url} } grep { $_->{method} eq 'Network.requestWillBeSent' } @events],
          [], 'it asks for nothing besides itself';
        is_deeply [map { $_->{params}{entry}{text} } grep { $_->{method} eq 'Log.entryAdded' } @events], [], 'nothing of it is refused';
        is_deeply [map { $_->{method} } grep { $_->{method} eq 'Runtime.exceptionThrown' } @events], [], 'no error';

        # and what it does not allow is
        $browser->js('document.body.appendChild(document.createElement("script")).textContent = "document.title = \"run\""');
        isnt $browser->js('document.title'), 'run', "another script does not run";
        wait_for(sub { grep { $_->{method} eq 'Log.entryAdded' && $_->{params}{entry}{text} =~ /Content Security Policy/ } @{$browser->events} }, 30, 'the browser to say so');
        $browser->close;
    }

    $server->quit;
};

$t->done;
