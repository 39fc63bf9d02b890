# Who may use the operator's API: tokens with names and roles, and the log of what they asked for.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for concurrently);

my $t     = Test::Lines->new;
my $redis = $t->redis;
my $ada   = 'a' x 40;
my $bob   = 'b' x 32;
my $grace = '~!#$%&' x 8;
my $file  = $t->file('operators', <<END);
# who, what, token
ada\tall  $ada\r
   bob read $bob   

grace all $grace
END

my $nginx = $t->nginx(redis => $redis, workers => 2, http => <<END, server => "        location /ops/ { lines_admin token_file=$file; access_log $t->{dir}/ops.log ops; }");
    log_format ops '\$request_method \$uri \$status "\$lines_operator"';
END
my $ops = '/ops/workspaces/org_1';

sub ask ($token, $method, $path, $json = undef) {
    return $nginx->request($method, "/ops/$path", {Authorization => "Bearer $token", $json ? ('Content-Type' => 'application/json') : ()}, $json // '');
}

sub refused ($name, $text, $like) {
    my ($code, $output) = $t->test_config(server => "location /a/ { lines_admin token_file=@{[$t->file('bad', $text)]}; }");
    isnt $code, 0, "$name is refused";
    like $output, $like, '... and told why';
    unlike $output, qr/secret/, '... without a token';
}

subtest 'roles' => sub {
    is ask($ada, PUT => 'workspaces/org_1', '{"plan":"growth"}')->status, 201, 'who may all makes a workspace';
    is ask($grace, PUT => 'workspaces/org_1', '{"plan":"growth"}')->status, 200, 'so may another';
    is ask($bob, GET => 'workspaces/org_1')->json('/plan'), 'growth', 'who may read reads it';
    is ask($bob, HEAD => 'workspaces/org_1')->status, 200, '... or whether it is there';

    for (['PUT', 'workspaces/org_1', '{"plan":"mini"}'], ['PUT', 'workspaces/org_1', '{'], ['DELETE', 'workspaces/org_1'], ['POST', 'workspaces/org_1/keys'],
        ['POST', 'audit'], ['POST', 'database/confirm'], ['DELETE', 'workspaces/t.wo'])
    {
        my $answer = ask($bob, @$_);
        is $answer->status, 403, "$_->[0] $_->[1] is not for him";
        is $answer->json('/error'), 'This token may only read', '... and he is told';
    }

    is ask($bob, GET => 'workspaces/org_1')->json('/plan'), 'growth', 'nothing was changed';
    is ask($_, GET => 'workspaces/org_1')->status, 401, 'not a token: ' . ($_ || 'none') for '', 'ada', $ada . 'a', substr($ada, 1), "$ada,$bob", 'all';
    is ask($bob, POST => 'workspaces/org_1')->status, 405, 'a method that there is not, is none for anybody';
};

subtest 'each is named' => sub {
    my $log = join '', map { Mojo::File::path($t->dir, 'ops.log')->slurp } 1;
    like $log, qr{^PUT /ops/workspaces/org_1 201 "ada"$}m, 'by $lines_operator';
    like $log, qr{^PUT /ops/workspaces/org_1 403 "bob"$}m, '... refused or not';
    like $log, qr{^GET /ops/workspaces/org_1 401 "-?"$}m, '... and nobody';
    unlike $nginx->error_log . $log, qr/$ada|$bob|\Q$grace\E/, 'no token is in a log';
};

sub entries ($query = '') { ask($bob, GET => "audit-log$query")->json }

subtest 'the log' => sub {
    my $first = entries()->{entries};
    is_deeply [map { [@$_{qw(operator method path body address)}] } @$first],
      [['grace', 'PUT', $ops, '{"plan":"growth"}', '127.0.0.1'], ['ada', 'PUT', $ops, '{"plan":"growth"}', '127.0.0.1']],
      'what was asked for, the latest first, and nothing that was refused or only reads';
    cmp_ok abs(($first->[0]{id} =~ s/-.*//r) / 1000 - time), '<', 30, 'when';

    my $answer = ask($ada, POST => 'workspaces/org_1/keys');
    my $key    = $answer->json('/key');
    my ($last) = @{entries('?limit=1')->{entries}};
    is $last->{path}, "$ops/keys", 'a key that was made';
    is $last->{request_id}, $answer->header('X-Request-Id'), '... by this request';
    is $last->{body}, undef, '... which had no body';
    unlike join('', @{$redis->cli('XRANGE', 'lines:{admin}:log', '-', '+')}), qr/\Q$key\E/, '... and the key is not there';

    ask($ada, PUT => 'workspaces/org_1', '{"plan":"no such: ' . "\x{e9}" x 700 . '"}');
    ask($ada, PUT => 'workspaces/%C3%A9%00%22', '{"plan":"growth"}');
    ask($ada, PUT => 'workspaces/org_1', '{"plan": "growth",  "customer":"' . "\xc3\xa9" x 700 . '"}');
    my ($long) = @{entries('?limit=1')->{entries}};
    like $long->{body}, qr/^\{"plan":"growth","customer":"\\u00E9\\u00E9/, 'of a long body the beginning';
    is length $long->{body}, 512, '... is kept';
    is ask($bob, GET => 'audit-log')->status, 200, 'and read';
};

# a secret that was meant for another API, or stands where nobody reads, is not kept for all who may read
subtest 'of a body only what is known' => sub {
    my $logged = sub ($status, $method, $path, $json) {
        is ask($ada, $method => $path, $json)->status, $status, "$method $path: $json";
        my ($last) = @{entries('?limit=1')->{entries}};
        is $last->{path}, "/ops/$path", '... is in the log' or return '';
        return $last->{body};
    };

    is $logged->(200, PUT => 'workspaces/org_1', '{"secret":"s1","plan":"growth","limits":{"api_provision_daily":1},"":0}'), '{"plan":"growth"}',
      'members that are not known are left out';
    is $logged->(400, PUT => 'workspaces/org_1', '{"token":"s2","subscription":"none","plan":{"plan":"s3","of":["s4"]}}'), '{"subscription":"none","plan":{}}',
      'a write that is refused is written down all the same';
    is $logged->(400, PUT => 'workspaces/org_1', '{"plan":["s5",{"plan":"s6"}]}'), '{"plan":[]}', '... of a list where there is none nothing';
    is $logged->(201, PUT => 'accounts/acc_1', '{"plan":"mini","limits":{"api_provision_daily":5,"api_provision_monthly":null,"card":"s7"}}'),
      '{"plan":"mini","limits":{"api_provision_daily":5,"api_provision_monthly":null}}', 'an object within';
    is $logged->(400, PUT => 'accounts/acc_1', '{"limits":null}'), '{"limits":null}', '... that is none';
    is $logged->(400, POST => 'workspaces/org_1/keys', '{"role":"read","expires":"s8"}'), '{"role":"read"}', 'also where they are refused';
    is $logged->(200, POST => 'numbers', '{"numbers":[{"phone_number":"+14155550100","worker_id":"w1","pin":"s10"},{"worker_id":"w2","phone_number":"+14155550101"}],"by":"s11"}'),
      '{"numbers":[{"phone_number":"+14155550100","worker_id":"w1"},{"worker_id":"w2","phone_number":"+14155550101"}]}', 'a list';
    is $logged->(400, POST => 'numbers', '{"numbers":{"phone_number":"+14155550102","pin":"s12"}}'), '{"numbers":{"phone_number":"+14155550102"}}', '... that is none';
    is $logged->(400, POST => 'numbers', '{"numbers":' . '[' x 31 . ']' x 31 . '}'), '{"numbers":' . '[' x 31 . ']' x 31 . '}', '... a deep one';
    is $logged->(400, POST => 'numbers', '{"number":"s13"}'), '{}', 'nothing of it is known';
    like ask($ada, POST => 'numbers', $_)->json('/error'), qr/numbers must be a list of 1 to 1000 objects/, "numbers: $_"
      for '{}', '{"numbers":null}', '{"numbers":[]}', '{"numbers":"x"}', '{"numbers":{}}', '{"numbers":[' . join(',', (0) x 1001) . ']}';
    is ask($ada, PUT => 'accounts/acc_1', qq({"limits":$_}))->json('/error'), 'limits must be an object', "limits: $_" for 'null', '[]', '"unlimited"', '5';
    unlike join('', @{$redis->cli('XRANGE', 'lines:{admin}:log', '-', '+')}), qr/s\d+"/, 'no secret is in Redis';
};

# who tries what the API takes is known by that, though none of it was JSON
subtest 'a body that is no JSON' => sub {
    my %why = (
        '{"plan":"growth","t":"s20"'          => 'Request body is not valid JSON',
        'secret=s21'                          => 'Request body is not valid JSON',
        '["s22"]'                             => 'Request body must be a JSON object',
        '{"plan":"s23","plan":"growth"}'      => 'Request body has a duplicate member',
        '{"plan":"s24\u0000"}'               => 'Request body must not have the control character U+0000',
        '{"plan":' . '[' x 40 . ']' x 40 . '}' => 'Request body is nested too deeply'
    );
    for my $json (sort keys %why) {
        my $answer = ask($ada, PUT => 'workspaces/org_1', $json);
        is $answer->status, 400, "refused: $json";
        is $answer->json('/error'), $why{$json}, '... and told why';
        my ($last) = @{entries('?limit=1')->{entries}};
        is_deeply {%$last{qw(operator method path body status address request_id)}},
          {operator => 'ada', method => 'PUT', path => $ops, body => undef, status => 400, address => '127.0.0.1', request_id => $answer->header('X-Request-Id')},
          '... it is in the log, without its body' or diag explain $last;
    }
    my $answer = ask($grace, POST => 'workspaces/org_1/keys', '{"name":');
    is $answer->status, 400, 'where a body may be left away';
    is_deeply [@{entries('?limit=1')->{entries}[0]}{qw(operator path status)}], ['grace', "$ops/keys", 400], '... it is as well';
    like $nginx->error_log, qr{the operator "grace" asks for POST "$ops/keys"}, '... also in the error log';

    # it comes behind its head, on a connection that goes on, or that is left while Redis is asked
    my $head = "PUT $ops HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $ada\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n";
    my $late = sub ($behind = '') {
        my $socket = $nginx->socket;
        $socket->syswrite($head);
        select undef, undef, undef, 0.2;
        $socket->syswrite("s25, \"$behind");
        return $socket;
    };
    my $socket = $late->("GET $ops HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $ada\r\nConnection: close\r\n\r\n");
    like join('', <$socket>), qr{^HTTP/1.1 400 .*is not valid JSON.*HTTP/1.1 200 .*"growth"}s, 'a body that comes late, and what follows';
    is_deeply [@{entries('?limit=1')->{entries}[0]}{qw(path body status)}], [$ops, undef, 400], '... it is in the log';

    my $kept = $redis->cli(XLEN => 'lines:{admin}:log');
    $redis->pause;
    $socket = $late->();
    select undef, undef, undef, 0.2;
    Test::Lines::Client->reset_connection($socket);
    $redis->cont;
    wait_for(sub { $redis->cli(XLEN => 'lines:{admin}:log') == $kept + 1 }, 10, 'that of a client that is gone');

    my $before = entries('?limit=1')->{entries}[0]{id};
    is ask($bob, PUT => 'workspaces/org_1', '{')->status, 403, 'who may only read';
    is ask('x' x 40, PUT => 'workspaces/org_1', '{')->status, 401, '... and nobody';
    is entries('?limit=1')->{entries}[0]{id}, $before, '... are not in it';
    is ask($ada, PUT => 'workspaces/org_1', '{"plan":5}')->status, 400, 'what is refused for what it says';
    is_deeply [@{entries('?limit=1')->{entries}[0]}{qw(body status)}], ['{"plan":5}', undef], '... is there with that';
    unlike join('', @{$redis->cli('XRANGE', 'lines:{admin}:log', '-', '+')}), qr/s2\d/, 'nothing of the bodies is in Redis';
};

# an entry that a node of the release before wrote, or somebody by hand
subtest 'other entries' => sub {
    $redis->cli(qw(XADD lines:{admin}:log * operator old method PUT path /x body), '{}', qw(address ::1 request r));
    $redis->cli(qw(XADD lines:{admin}:log * operator odd method PUT path /x body), '{}', qw(address ::1 request r status x));
    is_deeply [map { [@$_{qw(operator status)}] } @{entries('?limit=2')->{entries}}], [['odd', undef], ['old', undef]], 'are read';
};

subtest 'in pages' => sub {
    my $all = entries()->{entries};
    my (@ids, $cursor);

    do {
        my $page = entries('?limit=2' . (defined $cursor ? "&cursor=$cursor" : ''));
        push @ids, map { $_->{id} } @{$page->{entries}};
        $cursor = $page->{cursor};
    } while (defined $cursor);

    is_deeply \@ids, [map { $_->{id} } @$all], 'each once';
    is ask($bob, GET => "audit-log?$_")->status, 400, "not with $_" for 'limit=0', 'limit=101', 'cursor=x', 'cursor=1-', 'cursor=-1', 'cursor=1-2-3', 'cursor=0-0', 'cursor=99999999999999999999-0';
    is_deeply entries('?cursor=1-0'), {entries => [], cursor => undef}, 'nothing is older than the first';
};

subtest 'nothing is done that is not in it' => sub {
    my ($key, $leaked) = @{ask($ada, POST => 'workspaces/org_1/keys')->json}{qw(id key)};
    is $nginx->get('/api/lines/by-user', $nginx->bearer($leaked))->status, 200, 'a key';
    $redis->cli('SET', 'lines:{admin}:log:old', 1);
    $redis->cli('RENAME', 'lines:{admin}:log', 'kept:{admin}');
    $redis->cli('SET', 'lines:{admin}:log', 'in the way');
    my $answer = ask($ada, PUT => 'workspaces/org_2', '{"plan":"growth"}');
    cmp_ok $answer->status, '>=', 500, 'where it cannot be written' or diag $answer->to_string;
    is ask($ada, GET => 'workspaces/org_2')->status, 404, 'nothing is done';
    $answer = ask($ada, PUT => 'workspaces/org_2', '{');
    cmp_ok $answer->status, '>=', 500, '... nor said of a body' or diag $answer->to_string;
    is ask($ada, DELETE => "workspaces/org_1/keys/$key")->status, 200, 'but a key that leaked goes: Redis may be full';
    is $nginx->get('/api/lines/by-user', $nginx->bearer($leaked))->status, 401, '... at once';
    like $nginx->error_log, qr{the operator "ada" asks for DELETE "/ops/workspaces/org_1/keys/$key"}, '... and is in the error log';
    $redis->cli('RENAME', 'kept:{admin}', 'lines:{admin}:log');
    is ask($ada, PUT => 'workspaces/org_2', '{"plan":"growth"}')->status, 201, 'and again where it can';
};

subtest 'another file at a reload' => sub {
    $t->file('operators', "ada all $bob\n");
    $nginx->reload;
    wait_for(sub { ask($ada, GET => 'workspaces/org_1')->status == 401 }, 10, 'the old one is gone');
    is ask($bob, PUT => 'workspaces/org_1', '{"plan":"growth"}')->status, 200, 'and the new one may';
    is entries()->{entries}[0]{operator}, 'ada', '... by its new name';

    $t->file('operators', "$ada\n");
    $nginx->reload;
    wait_for(sub { ask($ada, GET => 'workspaces/org_1')->status == 200 }, 10, 'a token alone');
    is ask($ada, DELETE => 'workspaces/org_1')->status, 200, 'may all';
    wait_for(sub { Mojo::File::path($t->dir, 'ops.log')->slurp =~ m{^DELETE /ops/workspaces/org_1 200 "operator"$}m }, 10, 'and is "operator"');
};

subtest 'files that are refused' => sub {
    my $long = 'secret' x 6;

    refused('an empty file',           '',                                   qr/"lines_admin": no token in ".*bad"/);
    refused('one of comments',         "# x\n\n#ada all $long\n",            qr/"lines_admin": no token in ".*bad"/);
    refused('a short token',           "secret\n",                           qr/"lines_admin": a token of less than 32 characters in ".*bad", line 1/);
    refused('one of 31',               "ada all $ada\nbob read " . substr($long, 0, 31) . "\n", qr/a token of less than 32 characters in ".*bad", line 2/);
    refused('two words',               "ada $long\n",                        qr/"lines_admin": not NAME ROLE TOKEN in ".*bad", line 1/);
    refused('four words',              "ada all $long x\n",                  qr/"lines_admin": more than NAME ROLE TOKEN in/);
    refused('another role',            "ada write $long\n",                  qr/"lines_admin": a role that is neither all nor read in/);
    refused('a name of other letters', "a.da all $long\n",                   qr/"lines_admin": a name that is not 1 to 64 of/);
    refused('a long name',             'a' x 65 . " all $long\n",            qr/"lines_admin": a name that is not 1 to 64 of/);
    refused('a name twice',            "ada all $long\nada read ${long}x\n", qr/"lines_admin": a name for the second time in ".*bad", line 2/);
    refused('a token twice',           "ada all $long\nbob read $long\n",    qr/"lines_admin": a token for the second time in ".*bad", line 2/);
    refused('other characters',        "ada all $long\xe9\n",                qr/"lines_admin": a token with other than printable ASCII/);
    refused('a large file',            "# x\n" x 5000,                       qr/"lines_admin": ".*bad" is larger than 16k/);
};

$t->done;
