# The scripts of operations on a real Redis, without nginx: who may move what, and who loses.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines::Once build => 'no module is in it';
use Test::Lines;
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $redis   = $t->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);
my $n       = 0;

sub key ($name) { "lines:{w:one}:$name" }

sub h ($name) { return $name =~ /^line:(.*)/ ? $redis->line('w:one', $1) : {@{scalar $redis->cli('HGETALL', key($name))}} }

sub run ($name, $keys, @args) { $scripts->run($name, [map { key($_) } @$keys], @args) }

# a paid line as line_begin makes it, its operation claimed under fence 1
sub begin (%more) {
    my $id = $more{id} // sprintf '%024x', ++$n;
    $redis->cli('DEL', key('pending'));
    $redis->cli('HSET', key('t'), plan => 'paid', subscription => 'active', customer => 'cus_1');
    my $now   = ($redis->cli('TIME'))[0] * 1000;
    my $reply = run(line_begin => ['t', "line:$id", 'lines', 'pending', "op:$id", 'ops', 'idem:x', 'journal', 'declined', 'calls', "never:$id"],
        $more{not_after} // $now + 5000, $id, 'w:one', 'paid', $more{included} // 0, 'price_email', '', 'cus_1', $more{print} // '', 'the=body',
        "lines:$id:sub:1", 20000, $more{provisioner} // '', $more{requests} // '', '', 0, '', 0, $more{before} // '', '', channel => 'email', type => '', first => 'A', last => 'B', email => 'a@example.com');
    return ($id, $reply);
}

# keys of the scripts that end an operation with its line
sub line_keys ($id, $idem = "op:$id") { ["op:$id", 'ops', "line:$id", 't', 'pending', 'journal', $idem] }

sub sent ($id, $fence = 1, $attempt = 1) {
    return run(request_sent => ["op:$id", "line:$id"], 'send', $attempt, $fence, 20000, 60000, "sub_$id", "in_$id", "http://pay/$id", 'open');
}

sub settle ($id, $fence = 1, %more) {
    return run(request_paid => line_keys($id), 'await', $more{attempt} // 1, $fence, $id, 20000, $more{subscription} // "sub_$id", $more{invoice} // "in_$id", $more{provisioner} // '');
}

subtest 'begin' => sub {
    my ($id, $reply) = begin();
    is_deeply [@$reply[0, 1, 4]], ['created', 'paid', 1];
    my $op = h("op:$id");
    is_deeply {%$op{qw(kind step attempt fence body key customer price)}},
      {kind => 'request', step => 'send', attempt => 1, fence => 1, body => 'the=body', key => "lines:$id:sub:1", customer => 'cus_1', price => 'price_email'},
      'the intent before the effect';
    cmp_ok $op->{lease_until} - $op->{begun}, '==', 20000;
    is $op->{sent_at}, $op->{begun};
    ok $redis->cli('SISMEMBER', key('ops'), $id), 'unfinished';
    is $redis->cli('GET', key('pending')), $id;

    my ($late, $answer) = begin(not_after => 1000);
    is_deeply $answer, ['late'], 'a stalled begin creates nothing';
    ok !$redis->cli('EXISTS', key("op:$late"));

    my $gone = sprintf '%024x', ++$n;
    is run(announced => ["line:$gone", "ticket:$gone", "never:$gone", 't', 'deleted'], 1), 0, 'one whose hint goes, and which is not there';
    is_deeply +(begin(id => $gone))[1], ['late'], '... begins no more, whatever the clock says';
    is_deeply +(begin(id => $gone))[1], ['late'], '... ever';
    cmp_ok $redis->cli('TTL', key("never:$gone")), '>', 86_000, '... which is known for a day';
    is run(announced => ["line:$id", "ticket:$id", "never:$id", 't', 'deleted'], 1), 1, 'one that is there stays';
    is $redis->cli('EXISTS', key("never:$id")), 0, '... as it is';
    is $scripts->run(announced => [map({ "lines:{w:lost}:$_" } "line:$gone", "ticket:$gone", "never:$gone", 't', 'deleted')], $_->[0]), $_->[1], $_->[2]
      for [1, 1, 'of a tenant that is lost what may be charged is not known to be none'], ['', 0, '... but a ticket is nobody\'s'];

    # its reply was lost, and the sweeper has claimed what it made
    $redis->cli('HSET', key("op:$id"), fence => 2);
    my $places = $redis->cli('HGET', key('t'), 'email_paid');
    (undef, $answer) = begin(id => $id, not_after => 1000);
    is_deeply [@$answer[0 .. 4], @$answer[6 .. $#$answer]], [@$reply[0 .. 4]], 'once more, however late: the same line, and its own fence';
    is $redis->cli('HGET', key('t'), 'email_paid'), $places, '... which takes no other place';
};

subtest 'claim' => sub {
    my ($id) = begin();

    is run(op_claim => ["op:$id", 't'], 20000, '')->[0], 'busy', 'held';
    $redis->cli('HSET', key("op:$id"), lease_until => 1);
    is_deeply run(op_claim => ["op:$id", 't'], 20000, 1), ['held'], 'the holder claims anew';
    is h("op:$id")->{fence}, 1, 'under the same fence';
    cmp_ok h("op:$id")->{lease_until}, '>', 1, '... for another lease';
    my %afresh = do { my $r = run(op_claim => ["op:$id", 't'], 20000, 1, 1); @$r[2 .. $#$r] };
    is $afresh{fence}, 1, 'and so where all is read afresh';

    $redis->cli('HSET', key("op:$id"), lease_until => 0);
    my %reply = do { my $r = run(op_claim => ["op:$id", 't'], 20000, ''); @$r[2 .. $#$r] };
    is $reply{fence}, 2, 'another raises it';
    is $reply{step}, 'send', 'and learns what there is to do';
    is run(op_claim => ["op:$id", 't'], 20000, 1)->[0], 'busy', 'the old holder does not get it back';
    is_deeply run(op_claim => ['op:nowhere', 't'], 20000, ''), ['none'];
};

subtest 'two hundred claims, one holder' => sub {
    my ($id) = begin();
    $redis->cli('HSET', key("op:$id"), lease_until => 0);
    my @words = $scripts->race(200, 4, sub ($s, $i) { $s->run(op_claim => [key("op:$id"), key('t')], 20000, '')->[0] });
    is scalar(grep { $_ eq 'claimed' } @words), 1;
    is scalar(grep { $_ eq 'busy' } @words), 199;
    is h("op:$id")->{fence}, 2;
};

subtest 'a step is written by its holder only' => sub {
    my ($id) = begin();
    is run(op_step => ["op:$id"], 'send', 1, 1, 'send', 20000, '', colour => 'red')->[0], 'ok';
    is h("op:$id")->{colour}, 'red';

    for my $case (['another step', 'await', 1, 1], ['another attempt', 'send', 2, 1], ['an older fence', 'send', 1, 0], ['a later fence', 'send', 1, 2]) {
        my ($why, @guard) = @$case;
        is run(op_step => ["op:$id"], @guard, 'tell', 20000, '', colour => 'blue')->[0], 'lost', $why;
    }
    is h("op:$id")->{colour}, 'red';
    is h("op:$id")->{step}, 'send';

    run(op_step => ["op:$id"], 'send', 1, 1, 'send', 20000, 5000, colour => '');
    my $op = h("op:$id");
    is $op->{lease_until}, 0, 'rest gives the lease back';
    cmp_ok $op->{due}, '>', $op->{begun} + 4999, 'and says until when';
    ok !exists h("op:$id")->{colour}, 'and an empty value goes';

    $redis->cli('HSET', key("op:$id"), stuck => 'why', tries => 7);
    run(op_step => ["op:$id"], 'send', 1, 1, 'send', 20000, 0);
    is h("op:$id")->{stuck}, 'why';
    run(op_step => ["op:$id"], 'send', 1, 1, 'other', 20000, 0);
    ok !exists h("op:$id")->{stuck}, 'progress unsticks';

    run(op_wake => ["op:$id", "line:$id"]);
    is_deeply run(op_step => ["op:$id"], 'other', 1, 1, 'other', 20000, 0, colour => 'green'), ['woken'], 'who would rest learns that there is news';
    ok !exists h("op:$id")->{colour}, 'and writes nothing down that was decided without it';
    isnt h("op:$id")->{lease_until}, 0, 'but holds it';
    run(op_claim => ["op:$id", 't'], 20000, 1, 1);
    is run(op_step => ["op:$id"], 'other', 1, 1, 'other', 20000, 0)->[0], 'ok', 'once it has looked it rests';
};

subtest 'a charge that turns up is heard of by who gave it up, or else by whoever gives back' => sub {
    my $id = sprintf '%024x', ++$n;
    my @step = (kind => 'purchase', step => 'charge', attempt => 1, fence => 1);
    $redis->cli('HSET', key("op:$id"), @step);
    for my $next ('charge', 'undo:charge') {
        is run(op_wake => ["op:$id", "line:$id"], 'sub_x', 1), 1, 'it turns up';
        is_deeply run(op_step => ["op:$id"], 'charge', 1, 1, $next, 20000, '', attempt => 2), ['woken'], "nobody goes on to $next";
        is h("op:$id")->{attempt}, 1;
        is run(op_step => ["op:$id"], 'charge', 1, 1, 'assign', 20000, '')->[0], 'ok', 'who has found it does';
        $redis->cli('HSET', key("op:$id"), @step);
        $redis->cli('HDEL', key("op:$id"), 'woken', 'dirty');
    }

    for my $step ('undo:charge', 'undo:lease', 'undone') {
        $redis->cli('HSET', key("op:$id"), step => $step);
        is run(op_wake => ["op:$id", "line:$id"], 'sub_x', 1), 2, "$step: it looks at none";
        is run(orphan_begin => ["op:o$step", 'ops', "line:$id", "op:$id", 'deleted', 'owed:sub_x', "owed:$id", 't'], "o$step", 'sub_x', 'in_x', 1), 'begun', '... an orphan does';
        $redis->cli('HSET', key("op:$id"), subscription => 'sub_x');
        is run(op_wake => ["op:$id", "line:$id"], 'sub_x', 1), 1, '... its own it gives back';
        is run(orphan_begin => ["op:p$step", 'ops', "line:$id", "op:$id", 'deleted', 'owed:sub_x', "owed:$id", 't'], "p$step", 'sub_x', 'in_x', 1), 'held';
        $redis->cli('HDEL', key("op:$id"), 'subscription');
    }
    $redis->cli('SREM', key('ops'), map {"o$_"} 'undo:charge', 'undo:lease', 'undone');
};

subtest 'what a node of the release before says, and hears' => sub {
    my ($id) = begin();
    for my $news (['dirty', 1], ['intent', 'cancel']) {
        $redis->cli('HSET', key("op:$id"), @$news);
        is run(op_claim => ["op:$id", 't'], 20000, '')->[0], 'busy';
        ok exists h("op:$id")->{$news->[0]}, "$news->[0] is left to who holds it";
        is_deeply run(op_step => ["op:$id"], 'send', 1, 1, 'send', 20000, 0), ['woken'], '... who does not rest over it';
        run(op_claim => ["op:$id", 't'], 20000, 1, 1);
        is run(op_step => ["op:$id"], 'send', 1, 1, 'send', 20000, '')->[0], 'ok';
        ok !exists h("op:$id")->{$news->[0]}, '... and is seen with a look';
    }
    is h("op:$id")->{wish}, 'cancel', 'a cancel is a wish';
    run(op_wake => ["op:$id", "line:$id"]);
    ok h("op:$id")->{dirty}, 'news are said in its words, too';

    $redis->cli('HSET', key("op:$id"), step => 'undo:tell', lease_until => 0);
    my %reply = do { my $r = run(op_claim => ["op:$id", 't'], 20000, ''); @$r[2 .. $#$r] };
    is $reply{step}, 'undo:charge', 'what it undid goes on where there is something to take back';
};

subtest 'a page that was wished for is there with the first one' => sub {
    my ($id) = begin();
    run(line_wish => ["line:$id", "op:$id"], 'link', '');
    run(op_claim => ["op:$id", 't'], 20000, 1, 1);
    is sent($id)->[0], 'rests';
    is h("op:$id")->{wish}, undef, 'a void that comes later is no reason for another';
};

subtest 'sent, and settled' => sub {
    my ($id) = begin(provisioner => 1);
    is sent($id, 0)->[0], 'lost';
    my $reply = sent($id);
    is_deeply [@$reply[0, 2]], ['rests', 201];
    my $answer = decode_json($reply->[3]);
    is_deeply [@$answer{qw(status paymentUrl invoiceId)}], ['awaiting_payment', "http://pay/$id", "in_$id"];
    is sent($id)->[0], 'lost', 'once';

    is settle($id, 1, subscription => 'sub_other')->[0], 'orphan', "another subscription's payment";
    is settle($id, 1, invoice => 'in_other')->[0], 'orphan';
    is settle($id, 1, attempt => 2)->[0], 'lost';
    is h("line:$id")->{status}, 'awaiting_payment';

    is_deeply [@{settle($id, 1, provisioner => 1)}[0 .. 2]], ['ok', 'tell', 'provisioning'];
    my $line = h("line:$id");
    is "$line->{status} $line->{payment}", 'provisioning paid';
    ok !$redis->cli('EXISTS', key('pending')), 'it blocks nobody';
    is settle($id)->[0], 'lost', 'final states absorb';
    is decode_json(h("op:$id")->{answer})->{status}, 'awaiting_payment', 'the answer stays what it was';
};

subtest 'the end starts the day of the idempotency record' => sub {
    $redis->cli('DEL', key('idem:x'));
    my ($id) = begin(print => 'f1');
    is $redis->cli('TTL', key('idem:x')), -1, 'for ever while it is unfinished';
    is_deeply [begin(print => 'f1')]->[1], ['idempotent', $id, 'f1'];
    sent($id);
    run(request_paid => line_keys($id, 'idem:x'), 'await', 1, 1, $id, 20000, "sub_$id", "in_$id", '');
    cmp_ok $redis->cli('TTL', key('idem:x')), '>', 86_000, 'for a day';
    cmp_ok $redis->cli('TTL', key("op:$id")), '>', 86_000, 'for a day';
    is h("op:$id")->{step}, 'done';
    ok !$redis->cli('SISMEMBER', key('ops'), $id);
    is run(op_claim => ["op:$id", 't'], 20000, '')->[0], 'done';
    $redis->cli('DEL', key('idem:x'));
};

subtest 'cancel' => sub {
    my ($id) = begin();
    is_deeply run(line_wish => ["line:$id", "op:$id"], 'link', ''), ['wished', 'send'], 'a wish while the creation is undecided';
    is_deeply run(line_wish => ["line:$id", "op:$id"], 'cancel', ''), ['wished', 'send'], 'another';
    is_deeply run(line_wish => ["line:$id", "op:$id"], $_, 'later')->[0], 'wished', 'more' for qw(cancel link);
    is_deeply [@{h("op:$id")}{qw(wish wish_reason)}], ['cancel', ''], 'a cancel stands, and its first reason';
    is_deeply [@{sent($id)}[0, 2, 3]], ['goes', '', ''], 'and the creation learns of it: there is nothing to pay';
    is run(request_again => ["op:$id", "line:$id"], 'await', 1, 1, 20000, 'b', 'k', 'cus_1')->[0], 'canceling', 'nobody tries anew';

    is run(cancel_end => [@{line_keys($id)}, 'settled', "owed:$id"], 'await', 1, 0, $id, '')->[0], 'lost';
    is run(cancel_end => [@{line_keys($id)}, 'settled', "owed:$id"], 'await', 1, 1, $id, '')->[0], 'woken', 'what has come meanwhile is seen before it ends';
    run(op_claim => ["op:$id", 't'], 20000, 1, 1);
    is run(cancel_end => [@{line_keys($id)}, 'settled', "owed:$id"], 'await', 1, 1, $id, '')->[1], 'canceled';
    my $line = h("line:$id");
    is "$line->{status} $line->{payment} $line->{place}", 'canceled failed ';
    is run(line_wish => ["line:$id", "op:$id"], 'cancel', '')->[0], 'illegal';
    is run(line_wish => ['line:none', 'op:none'], 'cancel', '')->[0], 'unknown';
    is settle($id)->[0], 'lost', 'a payment comes too late';
};

subtest 'payment and cancel race' => sub {
    for my $round (1 .. 20) {
        my ($id) = begin();
        sent($id) if $round % 2;
        run(line_wish => ["line:$id", "op:$id"], 'cancel', '');
        sent($id) unless $round % 2;
        my @words = $scripts->race(20, 4, sub ($s, $i) {
            my @keys = map { key($_) } @{line_keys($id)};
            return $i % 2
              ? 'settle ' . $s->run(request_paid => \@keys, 'await', 1, 1, $id, 20000, "sub_$id", "in_$id", '')->[0]
              : 'cancel ' . $s->run(cancel_end => [@keys, map { key($_) } 'settled', "owed:$id"], 'await', 1, 1, $id, '')->[0];
        });
        my ($won, @more) = grep {/ ok$/} @words;
        is_deeply \@more, [], "round $round: $won";
        is h("line:$id")->{status}, $won =~ /settle/ ? 'provisioning' : 'canceled';
        is h("op:$id")->{answer_status}, $won =~ /settle/ ? 201 : 409, 'as a repeat is told';
    }
    my $paid = grep { h("line:$_")->{place} eq 'paid' } @{scalar $redis->cli('ZRANGE', key('lines'), 0, -1)};
    is $redis->cli('HGET', key('t'), 'email_paid'), $paid, 'and the plan counts what is left';
};

subtest 'a place of the plan' => sub {
    my ($id) = begin();
    my @keys = ("op:$id", "line:$id", 't');
    my $taken = sub { $redis->cli('HGET', key('t'), 'email_included') || 0 };
    my $paid  = sub { $redis->cli('HGET', key('t'), 'email_paid') || 0 };
    my $had   = $paid->();
    sent($id);

    is run(request_place => \@keys, 'await', 1, 1), 'none', 'no plan has any';
    is run(request_place => \@keys, 'await', 1, 1, 'mini', 'email', 1, 'paid', 'phone', 1, 'paid', 'email', 0), 'none', 'nor this one, of this channel';
    $redis->cli('HSET', key('t'), subscription => 'past_due');
    is run(request_place => \@keys, 'await', 1, 1, 'paid', 'email', 1), 'none', 'it is to be paid for first';
    $redis->cli('HSET', key('t'), subscription => 'active');
    is run(request_place => \@keys, 'await', 1, 0, 'paid', 'email', 1)->[0], 'lost';
    is run(request_place => \@keys, 'await', 1, 1, 'paid', 'email', 1), 'taken', 'by now it has one';
    is_deeply [h("line:$id")->{place}, h("op:$id")->{place}, $taken->(), $paid->()], ['included', 'included', 1, $had - 1], '... which is counted as taken';
    is h("line:$id")->{status}, 'awaiting_payment', '... and the line waits: its invoice can be paid yet';
    is run(line_read => ["line:$id", 't', "op:$id"])->[6], 'null', '... though nobody is asked to';

    run(op_wake => ["op:$id", "line:$id"]);
    is run(request_paid => line_keys($id), 'await', 1, 1, $id, 20000, "sub_$id", "in_$id", '', 1)->[0], 'woken', 'news is seen before it is given away';
    run(op_claim => ["op:$id", 't'], 20000, 1, 1);

    is settle($id)->[0], 'ok', 'the payment was faster';
    is_deeply [h("line:$id")->{place}, $taken->(), $paid->()], ['paid', 0, $had], '... and the place is given back';
    is h("line:$id")->{subscription}, "sub_$id", '... for a line that is billed';

    ($id) = begin();
    sent($id);
    run(request_place => ["op:$id", "line:$id", 't'], 'await', 1, 1, 'paid', 'email', 1);
    is_deeply [@{run(request_paid => line_keys($id), 'await', 1, 1, $id, 20000, "sub_$id", "in_$id", '', 1)}[0 .. 2]], ['ok', 'done', 'provisioning'], 'void: it is in the plan';
    is_deeply [@{h("line:$id")}{qw(place payment required subscription invoice)}], ['included', 'paid', 0, '', ''], '... and billed by nothing';
    is_deeply [$taken->(), $paid->(), grep { exists h("op:$id")->{$_} } qw(subscription invoice url place)], [1, $had], '... as its operation knows';

    ($id) = begin();
    sent($id);
    is run(request_paid => line_keys($id), 'await', 1, 1, $id, 20000, "sub_$id", "in_$id", '', 1)->[0], 'ok', 'void, and Redis has lost that a place was kept for it';
    is_deeply [h("line:$id")->{place}, $taken->(), $paid->()], ['included', 2, $had], '... it has one all the same: nobody can pay for it any more';
    $redis->cli('HINCRBY', key('t'), email_included => -1);

    ($id) = begin();
    sent($id);
    is run(request_place => ["op:$id", "line:$id", 't'], 'await', 1, 1, 'paid', 'email', 1), 'none', 'that place is not free any more';
    run(request_place => ["op:$id", "line:$id", 't'], 'await', 1, 1, 'paid', 'email', 2);
    run(cancel_end => [@{line_keys($id)}, 'settled', "owed:$id"], 'await', 1, 1, $id, '');
    is_deeply [h("line:$id")->{place}, $taken->(), $paid->()], ['', 1, $had], 'one that is canceled has none';

    # two lines never wait at once; if they did
    my @all = map { my ($one) = begin(); sent($one); $one } 1 .. 8;
    my @is  = $scripts->race(24, 4, sub ($s, $i) {
        return $s->run(request_place => [map { key($_) } "op:$all[$i % 8]", "line:$all[$i % 8]", 't'], 'await', 1, 1, 'paid', 'email', 4);
    });
    is_deeply [$taken->(), scalar(grep { h("line:$_")->{place} eq 'included' } @all)], [4, 3], 'no place is had twice';
    is $paid->(), $had + 5, '... and the others are counted as they were';
    run(cancel_end => [@{line_keys($_)}, 'settled', "owed:$_"], 'await', 1, 1, $_, '') for @all;
    is $paid->(), $had, 'until they end';
};

subtest 'another attempt' => sub {
    my ($id) = begin();
    sent($id);
    is_deeply [@{run(request_again => ["op:$id", "line:$id"], 'await', 1, 1, 20000, 'body2', 'key2', 'cus_2')}[0, 1]], ['ok', 2];
    my $op = h("op:$id");
    is_deeply {%$op{qw(step attempt body key customer)}}, {step => 'send', attempt => 2, body => 'body2', key => 'key2', customer => 'cus_2'};
    ok !exists $op->{subscription} && !exists $op->{invoice};
    is settle($id)->[0], 'lost', 'the old one is nobody\'s';
    is sent($id, 1, 2)->[0], 'rests';
};

subtest 'refused' => sub {
    my ($id) = begin();
    my $reply = run(request_refused => line_keys($id), 'send', 1, 1, $id, 'card_declined', 'No "money"');
    is_deeply [@$reply[0, 1]], ['ok', 'canceled'];
    my $op = h("op:$id");
    is $op->{answer_status}, 402;
    is decode_json($op->{answer})->{message}, 'No "money"';
    is h("line:$id")->{reason}, 'card_declined';
};

subtest 'told, and refused by the provisioner' => sub {
    my ($id) = begin(provisioner => 1);
    sent($id);
    settle($id, 1, provisioner => 1);
    my $reply = run(told => [@{line_keys($id)}, 'op:refund1', 'settled'], 'tell', 1, 1, $id, 'refused', 'no', 'refund1');
    is_deeply [@$reply[0, 1]], ['ok', 'refund1'];
    is h("line:$id")->{status}, 'failed';
    is_deeply {%{h('op:refund1')}{qw(kind step subscription line)}}, {kind => 'refund', step => 'cancel', subscription => "sub_$id", line => $id};
    ok $redis->cli('SISMEMBER', key('ops'), 'refund1'), 'in the same script';

    run(op_claim => ['op:refund1', 't'], 20000, '');
    is run(refund_end => ['op:refund1', 'ops', "line:$id", 'journal'], 'cancel', 1, 1, 'refund1', 'refunded', "sub_$id", 'line.refunded')->[0], 'ok';
    is h("line:$id")->{payment}, 'refunded';
    is run(refund_end => ['op:refund1', 'ops', "line:$id", 'journal'], 'cancel', 1, 1, 'refund1', 'refunded', "sub_$id", 'line.refunded')->[0], 'lost';
};

subtest 'orphans' => sub {
    my ($id) = begin();
    is run(orphan_begin => ['op:o1', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . "sub_$id", "owed:$id", 't'], 'o1', "sub_$id", 'in_1', 1), 'held', 'its creation may yet find it';
    sent($id);
    is run(orphan_begin => ['op:o1', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . "sub_$id", "owed:$id", 't'], 'o1', "sub_$id", 'in_1', 1), 'held';
    is run(orphan_begin => ['op:o1', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . 'sub_older', "owed:$id", 't'], 'o1', 'sub_older', 'in_1', 1), 'begun', 'not what the line holds';
    is run(orphan_begin => ['op:o1', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . 'sub_older', "owed:$id", 't'], 'o1', 'sub_older', 'in_1', 1), 'same';
    settle($id);
    is run(orphan_begin => ['op:o2', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . "sub_$id", "owed:$id", 't'], 'o2', "sub_$id", 'in_1', 1), 'held', 'a line that holds it, done';

    # it has no end: what came in later is asked for by the same name, and has another key
    run(op_claim => ['op:o1', 't'], 20000, '');
    $redis->cli('HSET', key('op:o1'), refunds => 2, refund_after => 'in_1');
    is run(refund_end => ['op:o1', 'ops', "line:$id", 'journal'], 'cancel', 1, 1, 'o1', '', 'sub_older', 'orphan.refunded')->[0], 'woken', 'asked for while it ran';
    run(op_claim => ['op:o1', 't'], 20000, 1, 1);
    is run(refund_end => ['op:o1', 'ops', "line:$id", 'journal'], 'cancel', 1, 1, 'o1', '', 'sub_older', 'orphan.refunded')->[0], 'ok';
    $redis->cli('SET', key('deleted'), 1500_999);
    is run(orphan_begin => ['op:o1', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . 'sub_older', "owed:$id", 't'], 'o1', 'sub_older', 'in_2', 1), 'begun', 'once more';
    is_deeply {%{h('op:o1')}{qw(step refunds refund_after invoice since)}}, {step => 'cancel', refunds => 2, refund_after => undef, invoice => 'in_2', since => 1500},
      '... of what was paid since its tenant was deleted';

    # what had to go back before that
    run(op_claim => ['op:o1', 't'], 20000, '');
    is run(refund_end => ['op:o1', 'ops', "line:$id", 'journal'], 'cancel', 1, h('op:o1')->{fence}, 'o1', '', 'sub_older', 'orphan.refunded')->[0], 'ok';
    $redis->cli('SET', key('owed:sub_older'), 0);
    is run(orphan_begin => ['op:o1', 'ops', "line:$id", "op:$id", 'deleted', 'owed:sub_older', "owed:$id", 't'], 'o1', 'sub_older', 'in_2', 1), 'begun', 'it failed';
    is h('op:o1')->{since}, 0, '... all that was due is so again';
    $redis->cli('DEL', key('deleted'));

    run(line_report => ["line:$id", 't', 'pending', 'journal', 'op:refund9', 'ops'], 'failed', '', '', 'refund9');
    is run(orphan_begin => ['op:o4', 'ops', "line:$id", "op:$id", 'deleted', 'owed:' . "sub_$id", "owed:$id", 't'], 'o4', "sub_$id", 'in_1', 1), 'begun', 'a line that failed holds nothing';
    is run(orphan_begin => ['op:o3', 'ops', 'line:gone', 'op:gone', 'deleted', 'owed:' . 'sub_x', 'owed:gone', 't'], 'o3', 'sub_x', 'in_x', ''), 'begun', 'no line at all';
};

subtest 'the base plan' => sub {
    $redis->cli('HSET', key('t'), customer => 'cus_1');
    is run(plan_begin => ['op:plan', 'ops', 't'], 'plan', 'cus_0'), 0, 'an event of a customer that it has not';
    is_deeply h('op:plan'), {}, '... begins nothing';
    is run(plan_begin => ['op:plan', 'ops', 't'], 'plan', 'cus_1'), 1;
    run(op_claim => ['op:plan', 't'], 20000, '', 1);
    is run(plan_begin => ['op:plan', 'ops', 't'], 'plan', 'cus_1'), 0, 'an event while it is read';
    my @keys = ('op:plan', 'ops', 't', 'pending', 'journal', 't', 't', 'unpaid');
    is run(plan_end => \@keys, 'read', 1, 1, 'plan', 'past_due', '', '')->[0], 'woken', 'what was read may be old';
    run(op_claim => ['op:plan', 't'], 20000, 1, 1);
    is h('t')->{subscription}, 'active';
    is run(plan_end => \@keys, 'read', 1, 0, 'plan', 'past_due', '', '')->[0], 'lost';
    is run(plan_end => \@keys, 'read', 1, 1, 'plan', 'past_due', '', '')->[0], 'ok';
    is h('t')->{subscription}, 'past_due';

    my ($id) = begin();
    sent($id);
    run(plan_begin => ['op:plan', 'ops', 't'], 'plan', 'cus_1');
    my $fence = { @{scalar $redis->cli('HGETALL', key('op:plan'))} }->{fence};
    run(op_claim => ['op:plan', 't'], 20000, '');
    @keys = ('op:plan', 'ops', 't', 'pending', 'journal', "line:$id", "op:$id", 'unpaid');
    is run(plan_end => \@keys, 'read', 1, $fence + 1, 'plan', 'canceled', '', 'another')->[0], 'woken', 'another line awaits by now';
    $redis->cli('HSET', key('t'), customer => 'cus_2');
    is run(plan_end => \@keys, 'read', 1, $fence + 1, 'plan', 'canceled', '', $id)->[0], 'woken', 'another customer has it by now';
    $redis->cli('HSET', key('t'), customer => 'cus_1');
    is_deeply run(plan_end => \@keys, 'read', 1, $fence + 1, 'plan', 'canceled', '', $id), ['ok', $id];
    is h("op:$id")->{wish}, 'cancel', 'its line is to be canceled';
};

subtest 'a line is released after its tenant was deleted' => sub {
    my $keys = sub ($id) { ["line:$id", 't', 'journal', "op:r$id", 'ops', 'pending'] };

    for my $deleted (0, 1) {
        my ($id) = begin();
        sent($id);
        settle($id);
        $redis->cli('HSET', key("rec:$id"), status => 'active', place => '');
        $redis->cli('DEL', key('t'));
        $redis->cli('HSET', key('t'), plan => 'paid') unless $deleted;
        is run(line_release => $keys->($id), "r$id")->[0], 'released', $deleted ? 'deleted' : 'not deleted';
        is h('t')->{'moves:active:released'}, $deleted ? undef : 1, 'counted where there is a tenant';
        is $redis->cli('EXISTS', key('t')), 1 - $deleted, 'which does not come back';
        is h("op:r$id")->{kind}, 'release', 'its billing ends';
        $redis->cli('DEL', key("op:r$id"));
    }

    $redis->cli('DEL', key('ops'));
};

subtest 'hints' => sub {
    my @due = ('lines:{due:3}');
    $scripts->run(due_add => \@due, 'w:one a', 0);
    $scripts->run(due_add => \@due, 'w:one b', 60000);
    my $list = $scripts->run(due_read => [@due, "$due[0]:clock"], 10, 20000);
    is $list->[0], 'w:one a', 'what is due';
    is scalar @$list, 2, 'and nothing else';
    is $scripts->run(due_drop => \@due, 'w:one a', 300000, 5000, 1), 0, 'an idle hint stays';
    is_deeply $scripts->run(due_read => [@due, "$due[0]:clock"], 10, 20000), [], 'but not in the way of others';
    $redis->cli('ZINCRBY', $due[0], -300000 - 5001, 'w:one a');
    is $scripts->run(due_drop => \@due, 'w:one a', 300000, 5000, 0), 2, 'for five minutes';
    is $redis->cli('ZSCORE', $due[0], 'w:one a') > 0, 1, '... until all that came with it has been seen to';
    is $scripts->run(due_drop => \@due, 'w:one a', 300000, 5000, 1), 1, 'it goes';
    is $scripts->run(due_drop => \@due, 'w:one b', 300000, 5000, 1), 0;

    $scripts->run(due_add => \@due, 'w:one c', 0);
    for my $look (5000, 300000) {
        is $scripts->run(due_drop => \@due, 'w:one c', 300000, 5000, 1), 0, "the next look in $look ms";
        my $due = $redis->cli('ZSCORE', $due[0], 'w:one c');
        cmp_ok abs($redis->cli('TIME')->[0] * 1000 + $look - $due), '<', 60000, 'or so';
        $redis->cli('ZINCRBY', $due[0], -$look - 1, 'w:one c');
    }
    is $scripts->run(due_drop => \@due, 'w:one c', 300000, 5000, 1), 1, 'then it goes';

    $scripts->run(due_add => \@due, 'w:one d', 0);
    is $scripts->run(due_done => \@due, 'w:one d', 5000), 0, 'whoever wrote a fresh one may be about to begin';
    $redis->cli('ZINCRBY', $due[0], -5000, 'w:one d');
    is $scripts->run(due_done => \@due, 'w:one d', 5000), 1, 'an old one goes with the end';

    $scripts->run(due_add => \@due, 'w:one e', 0);
    cmp_ok $scripts->run(due_rest => \@due, 'w:one e', 60000, 3600000), '<=', 0, 'who came since it went to rest is heard';
    $redis->cli('ZINCRBY', $due[0], -5000, 'w:one e');
    is $scripts->run(due_rest => \@due, 'w:one e', 1000, 3600000), 3600000, 'what was due before is done with';
    is $scripts->run(due_rest => \@due, 'w:one f', 0, 20000), 20000, 'what cannot be run is looked at later';
    $scripts->run(due_add => \@due, 'w:one g', 30000);
    is $scripts->run(due_rest => \@due, 'w:one g', 60000, 3600000), 3600000, 'and the hint of a begin is done with';

    # who asks for what he does not get puts nothing off
    my $left = sub { $redis->cli('ZSCORE', $due[0], 'w:one h') - ($redis->cli('TIME'))[0] * 1000 };
    for my $hint ([2000, 30000, 2000], [-10000, 30000, 0], [60000, 30000, 30000], [60000, 0, 0]) {
        my ($was, $delay, $is) = @$hint;
        $redis->cli('ZADD', $due[0], ($redis->cli('TIME'))[0] * 1000 + $was, 'w:one h');
        is $scripts->run(due_add => \@due, 'w:one h', $delay), 0, "due in $was ms, asked for in $delay ms";
        cmp_ok abs($left->() - $is), '<', 1500, "... it is in $is ms" or diag $left->();
    }
    $redis->cli('ZADD', $due[0], (($redis->cli('TIME'))[0] * 1000 + 1000) . '.5', 'w:one h');
    $scripts->run(due_add => \@due, 'w:one h', 30000);
    cmp_ok abs($left->() - 30000), '<', 1500, 'the hint of what was not there says nothing of what begins';
    $redis->cli('DEL', $due[0]);
};

# what was to cancel a released line's subscription is gone, and it lives; or it was paid for since
subtest 'a release begins again' => sub {
    my ($id) = begin();
    my $again = sub ($subscription = "sub_$id") {
        run(orphan_begin => ["op:end$id", 'ops', "line:$id", "op:$id", 'deleted', "owed:$subscription", "owed:$id", 't'], "end$id", $subscription, "in_$id", 1);
    };
    is $again->(), 'held', 'of a line that waits for its payment nothing';
    sent($id);
    settle($id);
    $redis->cli('HSET', key("rec:$id"), status => 'active', place => '');
    is $again->(), 'held', 'nor of one that nobody released';
    is run(line_release => ["line:$id", 't', 'journal', "op:end$id", 'ops', 'pending'], "end$id")->[0], 'released', 'released';

    is $again->(), 'same', 'its operation is under way';
    is h("op:end$id")->{woken}, 1, '... and hears of it';
    is $redis->cli('SISMEMBER', key('ops'), "end$id"), 1;

    run(op_claim => ["op:end$id", 't'], 20000, '');
    is run(refund_end => ["op:end$id", 'ops', "line:$id", 'journal'], 'cancel', 1, 1, "end$id", '', "sub_$id", 'line.unsubscribed')->[0], 'woken', 'news before its end';
    run(op_claim => ["op:end$id", 't'], 20000, 1, 1);
    is run(refund_end => ["op:end$id", 'ops', "line:$id", 'journal'], 'cancel', 1, 1, "end$id", '', "sub_$id", 'line.unsubscribed')->[0], 'ok', 'it ended';
    is $redis->cli('SISMEMBER', key('ops'), "end$id"), 0;

    $redis->cli('HSET', key("op:end$id"), refund_after => 'in_9', refund_body => 'invoice=in_9', refunds => 2);
    is $again->(), 'begun', 'its subscription lives: once more';
    my $ended = h("rec:$id")->{ended};
    is_deeply {%{h("op:end$id")}{qw(kind step line subscription invoice fence since)}},
      {kind => 'release', step => 'cancel', line => $id, subscription => "sub_$id", invoice => '', fence => 2, since => int($ended / 1000)},
      'as it began: what was paid since the line ended goes back; and nobody holds it';
    is_deeply {%{h("op:end$id")}{qw(refund_after refund_body refunds)}}, {refund_after => undef, refund_body => undef, refunds => 2}, '... from the newest invoice on, each by a key of its own';
    is $redis->cli('SISMEMBER', key('ops'), "end$id"), 1, 'unfinished';
    is $redis->cli('TTL', key("op:end$id")), -1, 'and kept';
    is run(refund_end => ["op:end$id", 'ops', "line:$id", 'journal'], 'cancel', 1, 1, "end$id", '', "sub_$id", 'line.unsubscribed')->[0], 'lost',
      'the end of the one before, sent once more, or held up on its way, is not its own';
    is $again->(), 'same', 'asked for twice it begins once';

    $redis->cli('DEL', key("op:end$id"));
    $redis->cli('HSET', key("rec:$id"), ended => ($redis->cli('TIME'))[0] * 1000 + 600_000);
    is $again->(), 'begun', 'also where the operation is lost, or a day has passed';
    is h("op:end$id")->{since}, int(h("rec:$id")->{ended} / 1000), '... by a clock that was set back since: billing has its own word for it (88-money-kept)';
    $redis->cli('DEL', key("line:$id"), key("rec:$id"), key("op:end$id"));
    is $again->(), 'begun', 'without its line it is an orphan';
    is h("op:end$id")->{kind}, 'orphan', '... of which all goes back';
    $redis->cli('DEL', key('ops'), key("op:end$id"));
};

subtest 'a person\'s word' => sub {
    my $op      = 'word';
    my $resolve = sub ($as, $note = 'why') { run(op_resolve => ["op:$op", 'journal', 'settled'], $op, $as, 'anna', $note, 20000) };
    my $stands  = sub (%fields) {
        $redis->cli('DEL', key("op:$op"), key('settled'));
        $redis->cli('HSET', key("op:$op"), kind => 'refund', step => 'cancel', attempt => 1, fence => 1, begun => 1, lease_until => 0, %fields);
    };
    my $now = sub { ($redis->cli('TIME'))[0] * 1000 };

    is_deeply $resolve->('settled'), ['unknown'], 'of nothing';
    $stands->();
    is_deeply $resolve->('settled'), ['going', 'cancel'], 'of what is not stuck';
    $stands->(stuck => 'billing_alert');
    is_deeply $resolve->('canceled'), ['other', 'billing_alert', 'settled'], 'the other word';
    $redis->cli('HSET', key("op:$op"), lease_until => $now->() + 15000);
    is_deeply $resolve->('settled'), ['busy'], 'somebody tries it just now';
    $redis->cli('HSET', key("op:$op"), lease_until => $now->() + 60000);
    is_deeply $resolve->('settled'), ['resolved', 'billing_alert', '', ''], 'a lease that is longer than one was written by another clock';

    my $h = h("op:$op");
    is_deeply {%$h{qw(resolved resolved_note resolved_by resolved_step stuck settle_invoice woken)}},
      {resolved => 'settled', resolved_note => 'why', resolved_by => 'anna', resolved_step => 'cancel', stuck => undef, settle_invoice => undef, woken => 1},
      'of a step: a field of the record, who holds it hears';
    my %event = %{($redis->events('w:one'))[-1]};
    is_deeply {%event{qw(type operation kind step stuck as by note)}},
      {type => 'operation.resolved', operation => $op, kind => 'refund', step => 'cancel', stuck => 'billing_alert', as => 'settled', by => 'anna', note => 'why'}, 'an event says who, and why';
    is_deeply $resolve->('settled'), ['same'], 'said twice';
    is_deeply $resolve->('settled', 'other'), ['going', 'cancel'], 'another note is another word';
    $redis->cli('HSET', key("op:$op"), stuck => 'billing_alert');
    is_deeply $resolve->('settled'), ['again', 'billing_alert'], 'it did not help';

    is_deeply h('settled'), {}, 'nobody knows of what';

    # of all that was paid for a subscription by then
    for my $case ([kind => 'refund', 1], [kind => 'orphan', 1], [step => 'undo:charge', 1], [kind => 'release', 1], [step => 'read', 0]) {
        my ($field, $of, $counts) = @$case;
        $stands->(stuck => 'billing_alert', subscription => 'sub_1', $field => $of);
        is $resolve->('settled')->[0], 'resolved', $of;
        my $until = h('settled')->{sub_1} // 0;
        $counts ? cmp_ok($until, '>', $now->() / 1000 - 9, '... whoever counts it later knows until when') : is($until, 0, '... gives nothing back anyway');
    }
    $stands->(stuck => 'billing_alert', subscription => 'sub_1');
    $resolve->('settled');
    cmp_ok $redis->cli('TTL', key('settled')), '>', 86400 * 399, '... as long as that may be asked';

    # the money of an invoice
    for my $case (['refund_failed', 700, 700], ['refund_refused', 700, 700], ['money_unclear', 700, 'all']) {
        my ($stuck, $due, $said) = @$case;
        $stands->(stuck => $stuck, stuck_invoice => 'in_1', stuck_due => $due, resolved_step => 'cancel');
        is_deeply $resolve->('canceled'), ['other', $stuck, 'settled'], "$stuck: the other word";
        is_deeply $resolve->('settled'), ['resolved', $stuck, 'in_1', $due], $stuck;
        is_deeply {%{h("op:$op")}{qw(settle_invoice settle_due resolved_step)}}, {settle_invoice => 'in_1', settle_due => $said, resolved_step => undef},
          '... is of the invoice, not of the step';
        is_deeply h('settled'), {}, '... and counts once somebody has looked';
    }
    is_deeply run(op_settle => ["op:$op", 'settled'], 'cancel', 1, 2, $op, 500), ['lost', 'cancel', 1, 1], 'who lost it counts nothing';
    is_deeply run(op_settle => ["op:$op", 'settled'], 'cancel', 1, 1, $op, ''), ['ok', 'all'], 'all, where it cannot be told';
    is_deeply run(op_settle => ["op:$op", 'settled'], 'cancel', 1, 1, $op, ''), ['ok', ''], 'once';
    is_deeply h('settled'), {in_1 => 'all'}, 'in the ledger';

    # money first, then the step: what was said of the money counts as it was said
    $stands->(stuck => 'refund_failed', stuck_invoice => 'in_1', stuck_due => 700);
    $resolve->('settled');
    $redis->cli('HSET', key("op:$op"), stuck => 'billing_alert');
    $redis->cli('HDEL', key("op:$op"), 'stuck_invoice', 'stuck_due');
    is $resolve->('settled', 'more')->[0], 'resolved', 'of the step, before the money was looked at';
    is_deeply h('settled'), {in_1 => 700}, '... which is booked';
    is h("op:$op")->{settle_invoice}, undef, '... once';

    # one that ends without a look
    $stands->(stuck => 'refund_failed', stuck_invoice => 'in_1', stuck_due => 700);
    $resolve->('settled');
    $redis->cli('HDEL', key("op:$op"), 'woken', 'dirty');
    is run(refund_end => ["op:$op", 'ops', 'line:none', 'journal'], 'cancel', 1, 1, $op, '', 'sub_1', 'line.refunded')->[0], 'ok', 'it ends';
    is h("op:$op")->{settle_invoice}, undef, 'what was said of it is no other\'s';

    # nor does a line's request always count once more: its end books what was said
    $redis->cli('DEL', key('settled'));
    for my $end (qw(cancel_end told)) {
        my ($id) = begin(provisioner => 1);
        sent($id);
        settle($id, 1, provisioner => 1) if $end eq 'told';
        $redis->cli('HSET', key("op:$id"), stuck => 'money_unclear', stuck_invoice => "in_$id", stuck_due => 700, lease_until => 0);
        is run(op_resolve => ["op:$id", 'journal', 'settled'], $id, 'settled', 'anna', 'why', 20000)->[0], 'resolved', $end;
        $redis->cli('HDEL', key("op:$id"), 'woken', 'dirty');
        is_deeply h('settled'), {}, '... nothing counts yet';
        my $ended = $end eq 'told'
          ? run(told => [@{line_keys($id)}, "op:back$id", 'settled'], 'tell', 1, 1, $id, 'refused', 'no', "back$id")
          : run(cancel_end => [@{line_keys($id)}, 'settled', "owed:$id"], 'await', 1, 1, $id, '');
        is $ended->[0], 'ok', '... it ends';
        is_deeply h('settled'), {"in_$id" => 'all'}, '... and what was said is booked';
        cmp_ok $redis->cli('TTL', key('settled')), '>', 86400 * 300, '... for as long as that may be asked';
        is h("op:$id")->{settle_invoice}, undef, '... once';
        $redis->cli('DEL', key('settled'), key("op:back$id"));
    }

    # an old word, by a clock that has been set back since: of the one that begins it says nothing
    $stands->(stuck => 'billing_alert', step => 'cancel', line => 'x', subscription => 'sub_1');
    $resolve->('settled');
    $redis->cli('HSET', key("op:$op"), step => 'done', resolved_at => $now->() + 3600_000, settle_invoice => 'in_1', settle_due => 700);
    $redis->cli('HSET', key('line:x'), subscription => 'sub_1', released => 1, invoice => 'in_1');
    is run(orphan_begin => ["op:$op", 'ops', 'line:x', 'op:x', 'deleted', 'owed:sub_1', 'owed:x', 't'], $op, 'sub_1', 'in_1', 1), 'begun', 'another one by its id';
    is_deeply {%{h("op:$op")}{qw(resolved_step settle_invoice settle_due)}}, {resolved_step => undef, settle_invoice => undef, settle_due => undef}, 'of which nobody has said anything';

    # said by a clock that has been set back since it began: of that it is said all the same
    $stands->(stuck => 'billing_alert', kind => 'orphan', begun => $now->() + 600_000);
    is $resolve->('settled')->[0], 'resolved', 'what began lies ahead';
    $redis->cli('HSET', key("op:$op"), step => 'done');
    is run(audit_flight => ["op:$op"]), 1, '... the auditor leaves alone what it has ended';

    # a request is canceled, with its line
    for my $step (qw(send await)) {
        my ($id) = begin();
        sent($id) if $step eq 'await';
        $redis->cli('HSET', key("op:$id"), stuck => 'invoice_missing', lease_until => 0);
        is_deeply run(op_resolve => ["op:$id", 'journal', 'settled'], $id, 'settled', 'anna', 'why', 20000), ['other', 'invoice_missing', 'canceled'], "$step: there is nothing to settle";
        is run(op_resolve => ["op:$id", 'journal', 'settled'], $id, 'canceled', 'anna', 'why', 20000)->[0], 'resolved';
        is_deeply {%{h("op:$id")}{qw(wish wish_reason resolved_step)}}, {wish => 'cancel', wish_reason => 'canceled_by_operator', resolved_step => $step}, '... it is a wish besides';
    }

    $redis->cli('DEL', key("op:$op"), key('ops'), key('settled'), key('line:x'));
};

subtest 'the journal' => sub {
    begin();
    my $now = ($redis->cli('TIME'))[0] * 1000;
    my $day = 86_400_000;
    my $add = sub ($id) { run(ticket_add => ["ticket:$id", 'tickets', 'journal', 't', 'tickets:open', "never:$id"], $id, '') };

    $redis->cli('DEL', key('journal'));
    $redis->cli('RPUSH', key('journal'), map { qq({"id":$_,"type":"x"}) } $now - 91 * $day, $now - 91 * $day + 1, $now - 1000, $now + $day);
    is $add->(71)->[0], 'added';
    my @events = $redis->events('w:one');
    is_deeply [map { $_->{id} } @events], [$now - 1000, $now + $day, $now + $day + 1], 'what is old goes, and an id is more than the last, whatever the clock says';
    is_deeply [sort keys %{$events[-1]}], [qw(at id ticket type)], 'what is empty is not there';
    cmp_ok abs($events[-1]{at} - $now), '<', 60_000, '... and the instant is told where the id is not it';

    $redis->cli('DEL', key('journal'));
    $redis->cli('EVAL', 'for i = 1, 10001 do redis.call("RPUSH", KEYS[1], string.format(\'{"id":%.0f}\', ARGV[1] - 20000 + i)) end', 1, key('journal'), $now);
    is $add->(72)->[0], 'added';
    is $redis->cli('LLEN', key('journal')), 10_000, 'no more than so many';
    cmp_ok abs($redis->cli('PTTL', key('journal')) - 90 * $day), '<', 60_000, 'and none after 90 days: where its tenant is gone nobody else deletes it';
    @events = $redis->events('w:one');
    is $events[0]{id}, $now - 20_000 + 3, '... the latest';
    ok !exists $events[-1]{at}, 'as a rule the id is the instant';
};

$t->done;
