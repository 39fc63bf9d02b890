# A hint too many, never one too few: what the lists of due operations must outlive.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Compress::Zlib qw(crc32);
use Digest::SHA qw(sha256_hex);
use Test::More;
use Test::Lines qw(wait_for concurrently);
use Test::Lines::Paid;

my $t    = Test::Lines->new;
my $told = $t->upstream(name => 'provisioner');
my $fail = $ENV{LINES_MODULE_FAILPOINTS};

# an open invoice is not looked at by itself for as long as the test runs
my $paid = Test::Lines::Paid->new(
    t          => $t,
    webhooks   => 0,
    operations => 'sweep=200ms retry=300ms due=1s lease=2s absent=1s late=2s poll=20m every=1h'
);
my $sandbox = $paid->sandbox;
my $redis   = $paid->redis;
my $nginx   = $paid->nginx;

sub hint ($tenant, $id) {
    for my $shard (0 .. 15) {
        my $due = $redis->cli('ZSCORE', "lines:{due:$shard}", "$tenant $id");
        return wantarray ? ($due, $shard) : $due if defined $due;
    }
    return;
}

sub hints { map { @{scalar $redis->cli('ZRANGE', "lines:{due:$_}", 0, -1)} } 0 .. 15 }

# what is waited for in vain fails its own part only
sub part ($name, $code) {
    return if $ENV{ONLY} && $name !~ /$ENV{ONLY}/;
    subtest $name => sub { eval { $code->(); 1 } or fail $@ };
}

sub now_ms {
    my ($seconds, $us) = @{scalar $redis->cli('TIME')};
    return $seconds * 1000 + int $us / 1000;
}

part 'hints of what never began do not hide what did' => sub {
    my $key    = $paid->workspace('crowd');
    my $answer = $paid->request($key);
    is $answer->status, 201, 'created';
    my $line = $answer->json('/line/_id');
    wait_for(sub { hint('w:crowd', $line) > now_ms() + 60_000 }, 30, 'the operation to rest');
    $sandbox->pay($answer->json('/invoiceId'));

    my ($due, $shard) = hint('w:crowd', $line);
    my $now = now_ms();
    my @ids = (grep { crc32($_) % 16 == $shard } map { substr sha256_hex("idle$_"), 0, 24 } 1 .. 2000)[0 .. 59];
    $redis->cli('ZADD', "lines:{due:$shard}", map { ($now - 60_000, "w:crowd $_") } @ids);
    $redis->cli('ZADD', "lines:{due:$shard}", $now, "w:crowd $line");

    $paid->wait_record('crowd', $line, 'provisioning', 60);
    # but for its own, which goes a moment after the line has moved
    my @idle = grep { /^w:crowd / && !/ \Q$line\E$/ } hints();
    is scalar @idle, 60, 'the hints stay: the ones of a begin that is on its way are such';

    # a second look five minutes later: then it is over
    $redis->cli('ZADD', "lines:{due:$shard}", map { (now_ms() - 300_001, $_) } @idle);
    wait_for(sub { !grep {/^w:crowd /} hints() }, 60, 'old idle hints to be dropped');
    pass 'dropped';
};

part 'a begin that is refused leaves no hint' => sub {
    my $key    = $paid->workspace('storm');
    my $begun  = sub { ($redis->cli('INFO', 'commandstats')->{cmdstat_set} // '') =~ /calls=(\d+)/ ? $1 : 0 };
    my $looked = $begun->();

    # all have looked before the first begins
    $redis->cli('CLIENT', 'PAUSE', 200, 'ALL');
    my @answers = concurrently(30, sub ($i) { $nginx->post_json_p('/api/line-requests', $paid->body, $nginx->bearer($key)) });
    cmp_ok $begun->() - $looked, '>', 2, 'several were to begin: each announces its id first';
    is scalar(grep { $_->status == 201 } @answers), 1, 'one is created';
    my @mine;
    wait_for(sub { @mine = grep {/^w:storm /} hints(); @mine <= 1 }, 30, 'the hints of the others to go');
    is scalar @mine, 1, 'and has a hint';
};

part 'the end of an operation that may begin again leaves a fresh hint alone' => sub {
    $sandbox->customer('cus_again');
    $paid->workspace('again', customer => 'cus_again');
    my $base = $sandbox->adopt(customer => 'cus_again', price => 'price_growth', status => 'active');
    $sandbox->webhooks(to => $nginx->url('/webhooks/stripe'));
    $sandbox->move($base->{id}, status => 'past_due');
    wait_for(sub { scalar grep {/^w:again /} hints() }, 30, 'the event');
    my ($id) = map { (split / /)[1] } grep {/^w:again /} hints();
    ok defined $id, 'there is a hint' or return;
    $paid->wait_done('again', $id);
    ok defined hint('w:again', $id), 'the hint of an event that came this moment is still there';
    $sandbox->webhooks(to => 'http://127.0.0.1:' . $t->free_port . '/nobody');
    wait_for(sub { !defined hint('w:again', $id) }, 60, 'the hint to go');
    is $redis->cli('HGET', 'lines:{w:again}:t', 'subscription'), 'past_due', 'read';
};

part 'a refund that was sent a day ago and is nowhere' => sub {
    my $key    = $paid->workspace('day');
    my $answer = $paid->request($key);
    my $line   = $answer->json('/line/_id');
    $sandbox->pay($answer->json('/invoiceId'));
    is $paid->read($key, $line)->json('/status'), 'provisioning', 'paid';

    $sandbox->fault(path => '/v1/credit_notes', method => 'POST', times => 1000, kind => '429');
    is $nginx->admin(POST => "lines/$line/status", {status => 'failed'})->status, 200, 'failed';
    my $op = substr sha256_hex("refund:$line"), 0, 24;
    wait_for(sub { $paid->operation('day', $op)->{refund_body} && $paid->operation('day', $op)->{tries} }, 60, 'the refund to be tried');
    $redis->cli('HSET', "lines:{w:day}:op:$op", 'refund_at', now_ms() - 86_400_000);
    $sandbox->clear_faults;
    $paid->wait_done('day', $op, 60);
    is scalar(grep { $_->{subscription} eq $paid->record('day', $line)->{subscription} } $sandbox->ledger('refund')), 1, 'refunded, once';
    is $paid->record('day', $line)->{payment}, 'refunded', 'and the line says so';
};

part 'billing is counted once' => sub {
    my $count = sub {
        my $sum = 0;
        my $text = $nginx->get('/_lines/metrics')->body;
        $sum += $1 while $text =~ /^lines_billing_calls_total\{[^}]*\} (\d+)/mg;
        return $sum;
    };
    my $key = $paid->workspace('count');
    my ($before, $calls) = ($count->(), scalar(() = $sandbox->requests));
    is $paid->request($key)->status, 201, 'created';
    is $count->() - $before, scalar(() = $sandbox->requests) - $calls, 'as many as were made';
};

part 'killed once a reader has found it paid' => sub {
    return pass 'needs a build with failpoints' unless $fail && -e $fail;

    my $other = Test::Lines::Paid->new(
        t => $t, redis => $redis, sandbox => $sandbox, webhooks => 0, operations => $paid->operations,
        provisioner => 'http://127.0.0.1:' . $told->port . '/told'
    );
    my $second = $other->nginx(module => 'failpoints', http => "    lines_failpoint op.write.after.request.await;\n");
    $nginx->stop;
    $second->allow(qr/exited on signal 9/);
    my $key    = $other->workspace('reader');
    my $answer = $other->request($key);
    is $answer->status, 201, 'created';
    my $line = $answer->json('/line/_id');
    $sandbox->pay($answer->json('/invoiceId'));
    eval { $other->read($key, $line) };
    $other->wait_record('reader', $line, 'provisioning');
    $other->wait_done('reader', $line, 60);
    ok scalar(grep { ($_->{json}{_id} // '') eq $line } @{$told->requests}), 'the provisioner was told';
};

$t->done;
