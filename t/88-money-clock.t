# The clock of Redis goes back, as one does that another server takes over: nothing waits longer than a lease.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t);
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx;

$s->numbers(5);

# to a clock that is 600 s back, all that was written before is as much in the future; at once, as clocks do, and not before the
# lists have seen that of the part before
my $back = <<'END';
local ms = 600000
for _, op in ipairs(redis.call('KEYS', 'lines:{*}:op:*')) do
    for _, field in ipairs({'lease_until', 'begun', 'sent_at', 'absent_at', 'refund_at'}) do
        if (redis.call('HGET', op, field) or '') ~= '' then redis.call('HINCRBY', op, field, ms) end
    end
end
local lists = {}
for _, name in ipairs({'lines:{inv}:leases', 'lines:{inv}:quarantined', 'lines:{due:*}'}) do
    for _, list in ipairs(redis.call('KEYS', name)) do lists[#lists + 1] = list end
end
for _, clock in ipairs(redis.call('KEYS', 'lines:{due:*}:clock')) do redis.call('INCRBY', clock, ms) end
for _, list in ipairs(lists) do
    for _, member in ipairs(redis.call('ZRANGE', list, 0, -1)) do redis.call('ZINCRBY', list, ms, member) end
end
END

sub ten_minutes_back () {
    wait_for(sub {
        !grep { my $clock = $redis->cli('GET', s/:clock$//r . ':clock'); !$clock || $clock > 1000 * (time + 60) } $redis->client->keys('lines:{due:*}*');
    }, 30, 'the lists to be looked at');
    $_->cli('EVAL', $back, 0) for @{$redis->nodes};
}


# when it is free, and when it is looked at
sub seen ($tenant, $id) {
    diag sprintf 'held for %d s, due in %d s', map { $_ && $_ / 1000 - time } $s->op($tenant, $id)->{lease_until}, $s->hint($tenant, $id) // 0;
}

promise 'a purchase is held: it goes on once its lease is over' => sub {
    my $account = $s->account('held');
    my $token   = $s->token($account);
    my $op      = $s->operation_id($token);
    $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 1000, times => 1);
    my $confirm = $s->confirm_p($account, $token, key => 'k')->catch(sub { });
    wait_for(sub { $s->bought($account) }, 30, 'the charge');
    ten_minutes_back();
    $nginx->kill_worker;
    $s->soon(sub { $s->op('a:held', $op)->{step} eq 'done' }, 'it has ended', 6) or seen('a:held', $op);
};

promise 'a line that awaits its payment is looked at' => sub {
    my $line = $s->pending_line;
    $s->deaf;
    ten_minutes_back();
    $sandbox->pay($line->{invoice});
    $s->soon(sub { $s->is_live($line) }, 'the line is there', calm ? 6 : 30) or seen($line->{tenant}, $line->{line});
    $s->hears;
};

promise 'a refund whose call is unknown is tried again' => sub {
    my $line = $s->paid_line;
    $s->rest($line->{tenant});
    $sandbox->fault(path => '/v1/credit_notes', kind => 'drop_before', times => 2);
    $s->report($line, 'failed');
    wait_for(sub { $sandbox->requests(POST => '/v1/credit_notes') }, 30, 'the first try');
    ten_minutes_back();
    $s->soon(sub { $s->now_of($line)->{payment} eq 'refunded' }, 'refunded', 6) or seen($line->{tenant}, substr Digest::SHA::sha256_hex("refund:$line->{line}"), 0, 24);
};

promise 'a client is heard at once: its payment link, its cancel' => sub {
    my $line = $s->pending_line;
    ten_minutes_back();
    is $s->action($line->{key}, $line->{line}, 'payment_link')->status, 200, 'the link';
    is $s->action($line->{key}, $line->{line}, 'cancel')->status, 200, 'the cancel';
};

promise 'a look that was to be in long: it is no later than it was' => sub {
    my @hint = ('w:long', 'f' x 24);
    $s->due(@hint, 1000 * (time + 3600));
    ten_minutes_back();
    $s->soon(sub { abs($s->hint(@hint) / 1000 - time - 3600) < 20 }, 'in an hour, still');
};

$t->done;
