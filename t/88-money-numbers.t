# Numbers, invoices and customers change hands: one number is one line's or one ticket's, and who is gone holds none.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Scenario qw(promise calm);

my $t       = Test::Lines->new;
my $s       = Test::Lines::Scenario->new(t => $t, quarantine => '1s');
my $sandbox = $s->sandbox;
my $redis   = $s->redis;
my $nginx   = $s->nginx;
my $wire    = $t->wire(redis => $s->redis);
my $slow    = $s->nginx(redis => $wire->url, redis_options => 'timeout=20s connect_timeout=10s');

sub ticket ($account) {
    my $answer = $nginx->post_json('/accounts/lines/add-line', {line_request_type => 'phone'}, $account->{headers});
    my ($id) = sort { $b <=> $a } map {/:ticket:(\d+)$/} $redis->client->keys("lines:{a:$account->{id}}:ticket:*");
    return $id;
}

sub fulfill ($id, $number = undef, $node = $nginx) {
    return $node->admin(POST => "tickets/$id", {status => 'FULFILLED', (defined $number ? (fulfilledNumber => $number) : ())});
}

promise 'one number in two tickets: refused' => sub {
    my ($one, $two) = map { $s->account($_) } qw(one two);
    my @tickets = (ticket($one), ticket($one), ticket($two));
    is fulfill($tickets[0], '+12125550100')->status, 200, "a number of the operator's own";
    is fulfill($tickets[0], '+12125550100')->status, 200, 'told again';
    is fulfill($_, '+12125550100')->status, 409, 'is nobody else\'s' for @tickets[1, 2];
    is $redis->cli('HGET', "lines:{a:two}:ticket:$tickets[2]", 'status'), 'OPEN', 'the other ticket stays open';
    is fulfill($tickets[2], '+12125550101')->status, 200, 'and gets another number';
};

promise 'one number of the inventory in two tickets: refused' => sub {
    my $three = $s->account('three');
    my ($number) = $s->numbers(1);
    my @tickets = map { ticket($three) } 1 .. 2;
    is fulfill($tickets[0], $number)->status, 200, 'the first';
    is fulfill($tickets[1], $number)->status, 409, 'the second';
};

promise "an account that is deleted with a line that lapsed: the line's number comes free" => sub {
    $s->numbers(1);
    my $free = $s->counts->{free};
    my $line = $s->bought_line;
    $s->hand(cancel => $line->{subscription});
    wait_for(sub { $s->now_of($line)->{ended} }, 30, 'the end of the line');
    $s->rest($line->{tenant});
    $s->remove($line);
    $s->soon(sub { $s->counts->{free} == $free }, 'free', 6) or diag explain $s->counts;
    is +(split / /, $redis->cli('HGET', 'lines:{inv}:numbers', $line->{number}))[0], 'free', '... by its entry, too';
};

promise 'a line whose add-on has ended: its number comes free, and nobody has to release it' => sub {
    my $free = $s->counts->{free};
    $s->numbers(1, 917);
    my $line = $s->bought_line;
    $s->hand(cancel => $line->{subscription});
    wait_for(sub { $s->now_of($line)->{ended} }, 30, 'the end of the line');
    $s->soon(sub { $s->counts->{free} == $free + 1 }, 'free') or diag explain $s->counts;
    is $s->counts->{assigned}, scalar(grep { / ticket\./ && /^assigned \S/ } $redis->client->hvals('lines:{inv}:numbers')), 'assigned is what tickets have';
    is $s->release($line)->{line}{provisioningStatus}, 'canceled', 'it can be released all the same';
    $s->rest($line->{tenant});
    $s->remove($line);
};

promise 'a number of the operator\'s own: the next one has it when the account is gone' => sub {
    my ($one, $other) = map { $s->account($_) } qw(leaves stays);
    my @tickets = (ticket($one), ticket($other));
    is fulfill($tickets[0], '+12125550102')->status, 200, 'it is one\'s';
    is fulfill($tickets[1], '+12125550102')->status, 409, 'and no other\'s';
    $s->remove({name => 'leaves', account => $one});
    is fulfill($tickets[1], '+12125550102')->status, 200, 'then it is';
    my $added = $nginx->admin(POST => 'numbers', {numbers => [{phone_number => '+12125550102', worker_id => 'w'}]});
    is $added->json('/added'), 1, 'added to the inventory meanwhile' if calm;
    my ($held) = grep { $_->{phone_number} eq '+12125550102' } @{$nginx->admin(GET => 'numbers')->json('/numbers')};
    is $held->{state}, 'assigned', '... it is whose it was';
};

promise 'an invoice that billing does not know: the line can be canceled' => sub {
    $nginx->allow(qr/is stuck: invoice_missing/);    # who polls before may find out
    my $line = $s->pending_line;
    $s->deaf;
    $redis->cli('HSET', "lines:{$line->{tenant}}:$_:$line->{line}", invoice => 'in_gone') for qw(op rec);
    my $answer = $s->action($line->{key}, $line->{line}, 'cancel');
    is $answer->status, 200, 'canceled' or diag $answer->to_string if calm;
    is $s->now_of($line)->{status}, 'canceled', 'the line is';
    is +($s->money($line->{subscription}))[2], 'canceled', 'and what there is at billing of it';
    ok !$redis->cli('EXISTS', "lines:{$line->{tenant}}:pending"), 'it blocks nothing';
    $s->hears;
};

promise 'the customer changed while a line awaits its payment: the new one is billed' => sub {
    my $line = $s->pending_line;
    $sandbox->customer('cus_new');
    $nginx->admin(PUT => "workspaces/$line->{name}", {customer => 'cus_new'});
    my $link = $s->action($line->{key}, $line->{line}, 'payment_link');
    is $link->status, 200, 'there is a link';
    my $invoice = $sandbox->call(GET => '/v1/invoices/' . $link->json('/invoiceId'))->json;
    is $invoice->{customer}, 'cus_new', '... of an invoice to the new one';
    $s->soon(sub { $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status') eq 'void' }, 'the old one is void', 3);
    is +($s->money($line->{subscription}))[2], 'canceled', '... and its subscription canceled';
    $sandbox->pay($link->json('/invoiceId'));
    $s->soon(sub { $s->is_live($line) }, 'who pays it has the line');
};

promise 'the customer changed, and nobody asks for a link: the next look has the new one billed' => sub {
    $sandbox->customer('cus_new');
    my $line = $s->pending_line;
    $nginx->admin(PUT => "workspaces/$line->{name}", {customer => 'cus_new'});
    $s->soon(sub { ($s->now_of($line)->{invoice} // '') !~ /^(?:\Q$line->{invoice}\E)?$/ }, 'another invoice');
    my $now = $s->now_of($line);
    is $sandbox->call(GET => "/v1/invoices/$now->{invoice}")->json('/customer'), 'cus_new', '... to the new one';
    is $sandbox->call(GET => "/v1/invoices/$line->{invoice}")->json('/status'), 'void', 'the old one is void';
    is scalar(grep { $sandbox->call(GET => "/v1/subscriptions/$_->{subscription}")->json('/status') ne 'canceled' } $s->made_for($line->{tenant})), 1, 'one subscription is left';

    # who has paid before it was void has the line
    my $paid = $s->pending_line;
    $s->unseen(sub {
        $redis->cli('HSET', "lines:{$paid->{tenant}}:t", customer => 'cus_new');
        $sandbox->pay($paid->{invoice});
    });
    $s->soon(sub { $s->is_live($paid) }, 'a payment of the former one that was faster');
    is $s->now_of($paid)->{subscription}, $paid->{subscription}, '... is the line\'s';
};

promise 'a ticket that is moved after its lease of a number: refused, the number is not two\'s' => sub {
    my $four = $s->account('four');
    my ($number) = $s->numbers(1, 646);
    my $id = ticket($four);

    # the operator's call leases the number, and is held up; the lease ends, and the number is another's
    $wire->hold($wire->call('ticket_move'));
    my $answer;
    my $moved = $slow->request_p(POST => "/_lines/admin/tickets/$id", {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'},
        Mojo::JSON::encode_json({status => 'FULFILLED', fulfilledNumber => $number}))->then(sub { $answer = shift });
    $wire->reached('ticket_move');
    wait_for(sub { $redis->cli('HGET', 'lines:{inv}:numbers', $number) =~ /^free/ }, 30, 'the lease to end');
    my $five = ticket($s->account('five'));
    is fulfill($five, $number)->status, 200, 'the number is handed out to another';
    $wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');

    isnt $answer->status, 200, 'who comes too late is refused';
    is $redis->cli('HGET', "lines:{a:four}:ticket:$id", 'status'), 'OPEN', 'his ticket stays open';
    is_deeply [map { $redis->cli('HGET', $_, 'number') || () } grep { $redis->cli('HGET', $_, 'number') eq $number } $redis->client->keys('lines:{a:*}:ticket:*')], [$number],
      'one ticket has the number';
};

promise 'the clock of Redis goes back while a ticket is moved: its number is looked at sooner, and is not two\'s' => sub {
    my $of = $s->account('back');
    my ($number) = $s->numbers(2, 332);
    my ($id, $other) = (ticket($of), ticket($s->account('forth')));

    $wire->hold($wire->call('ticket_move'));
    my $answer;
    $slow->request_p(POST => "/_lines/admin/tickets/$id", {Authorization => 'Bearer ' . $t->admin_token, 'Content-Type' => 'application/json'},
        Mojo::JSON::encode_json({status => 'FULFILLED', fulfilledNumber => $number}))->then(sub { $answer = shift });
    $wire->reached('ticket_move');

    # as far ahead as that no lease is
    $redis->cli('ZINCRBY', 'lines:{inv}:leases', 1500, "a:back ticket.$id");
    wait_for(sub { $redis->cli('HGET', 'lines:{inv}:numbers', $number) =~ /^free/ }, 30, 'its number to go back');
    is fulfill($other, $number)->status, 200, 'it is handed out to another';
    $wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');

    isnt $answer->status, 200, 'who has lost it is refused';
    is $redis->cli('HGET', "lines:{a:back}:ticket:$id", 'status'), 'OPEN', 'his ticket stays open';
    is fulfill($id)->status, 200, '... and gets another number' if calm;
};

promise 'who has lost a purchase, and its number, does not take from it what it has by now' => sub {
    $s->numbers(9, 201);
    my $client = $redis->client;
    my $inv    = sub ($name) {"lines:{inv}:$name"};
    my ($answer, $account, $id, $number);

    # while it is charged the inventory loses its last second; whoever finds that out is held up, and another goes on
    $wire->hold($wire->call('inv_release'));
    for my $try (1 .. 5) {
        $account = "six$try";
        my $of    = $s->account($account);
        my $token = $s->token($of);
        $id = $s->operation_id($token);
        $sandbox->fault(path => '/v1/subscriptions', method => 'POST', kind => 'delay', ms => 1500);
        $s->confirm_p($of, $token, key => 'k', nginx => $slow)->then(sub { $answer = shift });
        wait_for(sub { $number = $redis->cli('HGET', $inv->('operations'), $id) }, 30, 'the lease');
        my ($worker) = $redis->cli('HGET', $inv->('numbers'), $number) =~ /^\S+ (\S+)/;
        $client->multi;
        $client->hdel($inv->('operations'), $id);
        $client->hset($inv->('numbers'), $number, "free $worker");
        $client->zrem($inv->($_), $number) for qw(leased assigned);
        $client->zadd($inv->('free'), 0, $number);
        $client->zrem($inv->('leases'), "a:$account $id");
        $client->exec;
        last if $s->op("a:$account", $id)->{step} =~ /^(?:lease|charge)$/;
    }
    $wire->reached('inv_release');
    wait_for(sub { ($s->op("a:$account", $id)->{step} // '') eq 'done' }, 30, 'the purchase');
    is $redis->line("a:$account", $id)->{number}, $number, 'the line has a number, the same one';
    $wire->pass;
    wait_for(sub { $answer }, 30, 'the answer');
    like $redis->cli('HGET', $inv->('numbers'), $number), qr/^assigned \S+ $id a:$account$/, 'it is the line\'s, and stays so';
}, held => 1;

$t->done;
