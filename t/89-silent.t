# Nothing is stuck silently: what somebody has to look at is in the metrics and in the operator's list, whoever's it is; and what leads
# to a line, a ticket or a number is there again, or another's stays that one's, where a part of Redis has lost its last second.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Audit;
use Test::Lines::Scenario qw(promise);
use Time::HiRes ();

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(
    t          => $t,
    operations => 'sweep=200ms retry=200ms due=1s lease=2s absent=500ms walk=300ms poll=1s every=2s audit=20ms pass=500ms'
);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx(server => 'location = /metrics { lines_metrics survey=300ms; }');
my $audit   = Test::Lines::Audit->new(scenario => $s);

$s->numbers(9);
$nginx->allow(qr/is stuck|lines audit|Redis has lost tickets' numbers|gets no answer/);

sub metric ($state) { ($nginx->get('/metrics')->body =~ /^lines_operations\{state="$state"\} (\d+)/m)[0] // 0 }

sub stuck ($tenant) { (grep { $_->{tenant} eq $tenant } @{$nginx->admin(GET => 'operations?state=stuck')->json('/operations')})[0] }

# what is tried just then has not heard of it
sub word ($op, $what, %body) {
    my $answer;
    wait_for(sub { $answer = $nginx->admin(POST => "operations/$op->{id}/$what", \%body); $answer->status != 503 }, 20, 'an answer');
    return $answer->status;
}

# whose bank asks for the payment back, and billing does not say what is with its subscription
sub unreadable ($line) {
    $sandbox->fault(path => '/v1/subscriptions/:id', method => 'GET', kind => '400', times => 100_000);
    $sandbox->dispute($line->{invoice});
    return wait_for(sub { stuck($line->{tenant}) }, 30, 'its lapse to be stuck');
}

# a refund of a tenant that was deleted, which fails
sub gone ($name) {
    $sandbox->customer("cus_$name", 'ok', 'default', 'pending');
    my $line = $s->active_line(name => $name, workspace => {customer => "cus_$name"});
    my $late = $sandbox->bill($line->{subscription}, draft => 1)->{id};
    $s->rest($line->{tenant});
    $s->release($line);
    $s->rest($line->{tenant});
    $s->remove($line);
    $s->later;
    $sandbox->finalize($late);
    $sandbox->pay($late);
    my $refund = wait_for(sub { (grep { $_->{customer} eq "cus_$name" } @{$sandbox->call(GET => '/v1/refunds', {limit => 100})->json('/data')})[0] }, 30, 'the refund');
    $sandbox->settle($refund->{id} => 'failed');
    return wait_for(sub { stuck("w:$name") }, 30, 'it to be listed');
}

promise 'a refund of a tenant that was deleted fails: the metrics tell, it is listed, and a person ends it' => sub {
    my $op = gone('gone');
    is $op->{stuck}, 'refund_failed', 'it is stuck';
    is $op->{due}{amount}, 900, '... with what is due';
    $s->soon(sub { metric('stuck') == 1 }, 'the metrics tell');

    is word($op, 'retry'), 200, 'it can be tried again';
    $s->soon(sub { stuck('w:gone') }, '... and is stuck as before');
    is word($op, 'resolve', as => 'settled', note => 'by transfer'), 200, 'a person has given it back';
    $s->soon(sub { !stuck('w:gone') && metric('stuck') == 0 }, 'and nobody is told any more');
};

promise 'many operations are under way, and the tenant of one that is stuck is in no list: it is told all the same' => sub {
    my @many = map {"w:many$_"} 1 .. 3;
    my $line = $s->bought_line(name => 'among');
    my $shard = <<'END';
local now = redis.call('TIME')[1]
for i = 1, ARGV[1] do
    -- it is nobody's turn
    redis.call('ZADD', KEYS[1], now + 3600 .. '000', ARGV[2] .. ' ' .. string.format('%024x', i))
end
END
    for my $many (@many) { $redis->client->eval($shard, 1, "lines:{due:$_}", 3000, $many) for 0 .. 15 }
    $redis->client->eval(<<'END', 2, "lines:{$_}:ops", "lines:{$_}:op:", 3000) for @many;
local now = redis.call('TIME')[1]
for i = 1, ARGV[1] do
    local id = string.format('%024x', i)
    redis.call('SADD', KEYS[1], id)
    redis.call('HSET', KEYS[2] .. id, 'kind', 'request', 'step', 'tell', 'attempt', '1', 'fence', '1',
        'begun', now .. '000', 'lease_until', now + 86400 .. '000')
end
END
    $redis->cli('SADD', 'lines:{tenants}', @many);
    $redis->cli('SREM', 'lines:{tenants}', $line->{tenant});
    $s->soon(sub { metric('running') > 3000 }, 'there are many', 60);
    unreadable($line);
    $s->soon(sub { metric('stuck') == 1 }, 'the metrics tell', 60);
    $redis->cli('SREM', 'lines:{tenants}', @many);
    $redis->cli('SADD', 'lines:{tenants}', $line->{tenant});
    for my $many (@many) {
        $redis->cli('UNLINK', "lines:{$many}:ops", map { sprintf "lines:{$many}:op:%024x", $_ } 1 .. 3000);
    }
    $redis->cli('DEL', map {"lines:{due:$_}"} 0 .. 15);
    $sandbox->clear_faults;
    $s->soon(sub { !stuck($line->{tenant}) && metric('stuck') == 0 }, 'until it goes on', 60);
    $s->soon(sub { !$redis->cli('EXISTS', 'lines:{stuck}') }, '... and the list is empty, though nobody reads it');
};

promise 'what has just been listed stays, though its record does not say so yet' => sub {
    my $now = $redis->client->time->[0] * 1000;
    $redis->cli('ZADD', 'lines:{stuck}', $now + 3_600_000, 'w:ahead ' . 'a' x 24, $now - 60_000, 'w:old ' . 'b' x 24);
    $s->soon(sub { !$redis->cli('EXISTS', 'lines:{stuck}') }, 'what is not stuck goes, also what lies ahead');
    $s->unseen(sub { $redis->cli('ZADD', 'lines:{stuck}', $redis->client->time->[0] * 1000 + 999, 'w:new ' . 'c' x 24) });
    my $until = Time::HiRes::time() + 1.2;
    my $left;
    wait_for(sub { $left = $redis->cli('ZCARD', 'lines:{stuck}'); Time::HiRes::time() > $until || !$left }, 10, 'a second');
    is $left, 1, 'what is new stays';
    $s->soon(sub { !$redis->cli('EXISTS', 'lines:{stuck}') }, '... a lease long');
};

promise 'no answer, again and again: the list has it again, whatever it lost' => sub {
    my $line = $s->paid_line(name => 'unanswered');
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/subscriptions/:id', kind => 'drop_before', times => 100_000);
    $s->report($line, 'failed');
    my ($id) = @{scalar $redis->cli('SMEMBERS', "lines:{$line->{tenant}}:ops")};
    wait_for(sub { ($s->op($line->{tenant}, $id)->{tries} // 0) > 0 }, 30, 'it to be tried');
    $redis->cli('HSET', "lines:{$line->{tenant}}:op:$id", tries => 14);
    $s->soon(sub { stuck($line->{tenant}) }, 'it is listed', 15);
    $redis->cli('DEL', 'lines:{stuck}');
    $s->soon(sub { stuck($line->{tenant}) }, 'and is listed again', 15);
    $sandbox->clear_faults;
    $s->rest($line->{tenant});
};

for my $what (qw(released failed)) {
    promise "a lapse that cannot be read, of a line that is $what: it ends, and its tenant can be deleted" => sub {
        my $line = $what eq 'released' ? $s->bought_line(name => 'lapsed') : $s->paid_line(name => 'unlapsed');
        $s->rest($line->{tenant});
        my $op = unreadable($line);
        is "$op->{kind} $op->{stuck}", 'lapse subscription_refused', 'it is stuck';
        $what eq 'released' ? $s->release($line) : $s->report($line, 'failed');
        $s->soon(sub { !@{scalar $redis->cli('SMEMBERS', "lines:{$line->{tenant}}:ops")} }, 'it ends, and nobody has to say so');
        $s->remove($line);
        $s->soon(sub { metric('stuck') == 0 }, 'nothing is stuck');
        $sandbox->clear_faults;
    };
}

promise 'those that had an orphan are looked at no longer than it lasts' => sub {
    my $op = gone('orphans');
    $redis->cli('SADD', 'lines:{orphaned}', map {"w:was$_"} 1 .. 120);
    $s->soon(sub { $redis->cli('SCARD', 'lines:{orphaned}') == 1 }, 'who has none is looked at no more', 20);
    $redis->cli('ZREM', 'lines:{due:' . $s->shard($op->{id}) . '}', "w:orphans $op->{id}");
    $s->soon(sub { defined $s->hint('w:orphans', $op->{id}) }, 'who has one is, and its hint is written again');
    is_deeply scalar $redis->cli('SMEMBERS', 'lines:{orphaned}'), ['w:orphans'], 'and stays';
    word($op, 'resolve', as => 'settled', note => 'by transfer');
    $s->soon(sub { !$redis->cli('EXISTS', 'lines:{orphaned}') }, 'until it has ended');
};

sub ticket ($account) { $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $account->{headers})->json('/data/id') }

sub fulfill ($id) { $nginx->admin(POST => "tickets/$id", {status => 'FULFILLED'})->json('/data/fulfilledNumber') }

promise 'how far the numbers of tickets were is lost: each ticket stays whose it is, and so does its number' => sub {
    my ($one, $two) = map { $s->account($_) } qw(one two);
    my $first  = ticket($one);
    my $number = fulfill($first);
    my $seen   = sub ($id, $account) { $nginx->get("/accounts/lines/line-request/$id", $account->{headers}) };

    $redis->cli('DECR', 'lines:{ticketseq}');
    my $other = ticket($two);
    isnt $other, $first, 'another gets another ticket';
    isnt fulfill($other), $number, '... and another number';
    is $seen->($first, $one)->json('/data/fulfilledNumber'), $number, 'the first has its own';

    $redis->cli('DECRBY', 'lines:{ticketseq}', 2);
    isnt ticket($one), $_, 'so does who has one' for $first;
    is $seen->($first, $one)->json('/data/status'), 'FULFILLED', 'nothing is written over';

    # and what its owner is found by
    $redis->cli('DECR', 'lines:{ticketseq}') while $redis->cli('GET', 'lines:{ticketseq}') >= $first;
    $redis->cli('DEL', "lines:{ix:ticket.$first}");
    my $again = ticket($one);
    isnt $again, $first, 'its own, by its record' or diag $again;
    is $seen->($first, $one)->json('/data/status'), 'FULFILLED', '... which is found again';

    $redis->cli('DECR', 'lines:{ticketseq}') while $redis->cli('GET', 'lines:{ticketseq}') >= $first;
    $redis->cli('DEL', "lines:{ix:ticket.$first}");
    is ticket($two), $first, 'the worst: two have the same one';
    is $nginx->admin(POST => "tickets/$first", {status => 'FULFILLED'})->status, 409, '... the number is not handed out twice';
    $s->remove({name => 'two', account => $two});
    like $redis->cli('HGET', 'lines:{inv}:numbers', $number), qr/^assigned \S+ ticket\.$first a:one$/, 'nor taken back with the wrong one';
};

promise 'a line that is not found by its id, and not in the list of work: both are written again' => sub {
    my $line = $s->paid_line(name => 'unlisted');
    $s->rest($line->{tenant});
    $redis->cli('ZREM', 'lines:{prov}', "$line->{tenant} $line->{line}");
    $redis->cli('DEL', "lines:{ix:$line->{line}}");
    $audit->soon(sub { (grep { ($_->{_id} // '') eq $line->{line} } @{$nginx->admin(GET => 'lines?status=provisioning')->json('/lines')}) }, 'it is work to be done');
    $audit->soon(sub { ($redis->cli('GET', "lines:{ix:$line->{line}}") // '') eq $line->{tenant} }, 'it is found');
    is $s->report($line, 'active')->{line}{provisioningStatus}, 'active', 'and can be reported';
    $audit->whole_pass;
    my @found = grep { $_->{kind} eq 'hint' && $_->{id} eq $line->{line} } @{$audit->list};
    is_deeply [sort map { "$_->{outcome} $_->{here}" } @found], ['repaired no index', 'repaired not in the list of work'], 'the operator is told';
    my $ended = $s->paid_line(name => 'ended');
    $s->rest($ended->{tenant});
    $s->report($ended, 'failed');
    $s->rest($ended->{tenant});
    $redis->cli('DEL', "lines:{ix:$ended->{line}}");
    $audit->whole_pass for 1 .. 2;
    ok !$redis->cli('EXISTS', "lines:{ix:$ended->{line}}"), 'of one that has ended nobody needs it';
};

promise 'by a clock that was set back: whose turn it is, and to count, is over as soon as it would have been' => sub {
    my $pass = $audit->pass->{began};
    $redis->cli('SET', 'lines:{audit}:lease', 'gone', 'PX', 3_600_000);
    $s->soon(sub { $audit->pass->{began} ne $pass }, 'the auditor passes');
    my $at = sub { $redis->cli('HGET', 'lines:{survey}:2', 'at') };
    $redis->cli('HSET', 'lines:{survey}:2', at => time + 3600);
    $s->soon(sub { $at->() < time + 1800 }, 'all is counted');
    my $last = $at->();
    $redis->cli('SET', 'lines:{survey}:lease', 1, 'PX', 3_600_000);
    $s->soon(sub { $at->() > $last }, '... whoever was about to');
};

$t->done;
