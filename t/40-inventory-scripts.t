# The inventory's scripts against a real Redis: a number is free, leased or assigned, never two of them.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once build => 'no module is in it';
use Test::Lines;
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $redis   = $t->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);

sub k (@names) { map {"lines:{inv}:$_"} @names }

sub add ($s, @pairs)           { $s->run(inv_add => [k qw(numbers free leased assigned all)], @pairs) }
sub lease ($s, $op, %o)        {
    $s->run(inv_lease => [k qw(numbers free quarantined leased operations leases reserved)],
        $op, $o{tenant} // 'a:one', $o{late} // '', $o{look} // 120_000, $o{area} // '', $o{number} // '', $o{rest} // 86_400_000);
}
sub assign ($s, $number, $op)  { $s->run(inv_assign => [k qw(numbers leased assigned)], $number, $op) }
sub release ($s, $op, $q = 0, $number = '', $looked = '') {
    $s->run(inv_release => [k qw(numbers free quarantined leased assigned operations leases reserved)], $op, 'a:one', $q, $number, $looked);
}
sub remove ($s, $number)       { $s->run(inv_delete => [k qw(numbers free quarantined all leased operations reserved)], $number, 86_400_000) }
sub counts ($s)                { $s->run(inv_count => [k qw(free leased assigned quarantined reserved)]) }
sub page ($s, @of)             { $s->run(inv_page => [k qw(numbers free leased assigned quarantined all operations reserved)], @of, 86_400_000) }

sub reserve ($s, $op, $prefix, %o) {
    $s->run(inv_reserve => [k qw(numbers free quarantined leased operations reserved)], $op, $o{tenant} // 'a:one', $prefix, $o{keep} // 600_000, 86_400_000);
}

# the time of a reservation is over, or will be
sub over ($op, $at = 1) { $redis->cli(ZADD => k('reserved'), $at, $op) }

# how many a look at the list makes free
sub thaw ($s) {
    my $resting = $redis->cli(ZCARD => k 'quarantined');
    page($s, '', '', 1);
    return $resting - $redis->cli(ZCARD => k 'quarantined');
}

# what every state of the inventory must be like
sub sound ($name) {
    my $c       = $redis->client;
    my %numbers = $c->hgetall(k 'numbers');
    my %holds   = $c->hgetall(k 'operations');
    my %in      = map { my $state = $_; map { ($_ => $state) } $c->zrange(k($state), 0, -1) } qw(free leased assigned quarantined);
    my @all     = $c->zrange(k('all'), 0, -1);
    my @wrong;

    # the operator's own, without a worker, are in no list
    my %own = map { $numbers{$_} =~ /^\w+  / ? ($_ => delete $numbers{$_}) : () } keys %numbers;

    push @wrong, 'the list of all differs' if join(' ', @all) ne join(' ', sort keys %numbers);
    push @wrong, 'some are in two lists'
      if keys %in != $c->zcard(k 'free') + $c->zcard(k 'leased') + $c->zcard(k 'assigned') + $c->zcard(k 'quarantined');

    for my $number (keys %numbers) {
        my ($state, undef, $op) = split / /, $numbers{$number};
        push @wrong, "$number is $state, listed as " . ($in{$number} // 'nothing') if ($in{$number} // '') ne $state;
        push @wrong, "$number is $state without an operation" if $state =~ /leased|assigned/ && !length($op // '');
        push @wrong, "$op does not hold $number" if length($op // '') && ($holds{$op} // '') ne $number;
    }
    for my $op ($c->zrange(k('reserved'), 0, -1)) {
        push @wrong, "$op has reserved " . ($holds{$op} // 'nothing') if ($numbers{$holds{$op} // ''} // '') !~ /^leased \S+ $op /;
    }
    for my $op (keys %holds) {
        push @wrong, "$op holds $holds{$op}, which is not its own" if ((split / /, $numbers{$holds{$op}} // $own{$holds{$op}} // '')[2] // '') ne $op;
    }

    is_deeply \@wrong, [], "$name: the inventory is sound";
}

subtest 'numbers are added once' => sub {
    is_deeply add($scripts, '+14155550001', 'w1', '+14155550002', 'w2', '+12125550001', 'w3'), [3, 0], 'three new ones';
    is_deeply add($scripts, '+14155550001', 'other', '+14155550003', 'w4'), [1, 1], 'one is there already';
    is $redis->cli(HGET => k('numbers'), '+14155550001'), 'free w1', 'and is left as it is';
    is_deeply counts($scripts), [4, 0, 0, 0], 'four are free';
    sound('added');
};

subtest 'one operation, one number' => sub {
    is_deeply lease($scripts, 'op1'), ['leased', '+12125550001', 'w3'], 'the first one';
    is_deeply lease($scripts, 'op1'), ['held',   '+12125550001', 'w3'], 'the same one again';
    is_deeply lease($scripts, 'op2', area => '415'), ['leased', '+14155550001', 'w1'], 'of an area';
    is_deeply lease($scripts, 'op3', area => '907'), ['leased', '+14155550002', 'w2'], 'of another one where that has none';
    is_deeply lease($scripts, 'op4', number => '+14155550001'), ['taken', 'leased'], 'not one that is taken';
    is_deeply lease($scripts, 'op4', number => '+14155550003'), ['leased', '+14155550003', 'w4'], 'but the very one that is free';
    is_deeply lease($scripts, 'op5'), ['none'], 'and then none is left';
    is_deeply counts($scripts), [0, 4, 0, 0], 'all are leased';
    sound('leased');
};

subtest 'assigned to who leased it' => sub {
    is_deeply assign($scripts, '+12125550001', 'op2'), ['refused', 'leased'], 'not to another';
    is_deeply assign($scripts, '+12125550001', 'op1'), ['assigned', 'w3'], 'to its own';
    is_deeply assign($scripts, '+12125550001', 'op1'), ['assigned', 'w3'], 'and again';
    is_deeply assign($scripts, '+19990000000', 'op1'), ['refused', 'unknown'], 'not what is not there';
    is_deeply lease($scripts, 'op1'), ['held', '+12125550001', 'w3'], 'its operation still holds it';
    is_deeply counts($scripts), [0, 3, 1, 0], 'counted so';
    sound('assigned');
};

subtest 'free ones only can be deleted' => sub {
    is_deeply remove($scripts, '+14155550001'), ['held', 'leased'],   'not a leased one';
    is_deeply remove($scripts, '+12125550001'), ['held', 'assigned'], 'not an assigned one';
    is_deeply remove($scripts, '+19990000000'), ['unknown'],          'not an unknown one';
    is_deeply release($scripts, 'op2'), ['released', '+14155550001'], 'released';
    is_deeply release($scripts, 'op2'), ['none'], 'once';
    is_deeply remove($scripts, '+14155550001'), ['deleted'], 'then it can go';
    is_deeply assign($scripts, '+14155550001', 'op2'), ['refused', 'unknown'], 'and is not assigned any more';
    sound('deleted');
};

subtest 'quarantine' => sub {
    is_deeply release($scripts, 'op1', 3_600_000), ['released', '+12125550001'], 'an assigned one is released';
    is_deeply counts($scripts), [0, 2, 0, 1], 'it rests';
    is_deeply lease($scripts, 'op6'), ['none'], 'is not handed out';
    is_deeply remove($scripts, '+12125550001'), ['held', 'quarantined'], 'nor deleted';
    sound('in quarantine');

    # its time has passed
    $redis->cli(ZINCRBY => k('quarantined'), -3_600_001, '+12125550001');
    is_deeply counts($scripts), [1, 2, 0, 0], 'then it counts as free';
    is_deeply lease($scripts, 'op6'), ['leased', '+12125550001', 'w3'], 'and is handed out';
    sound('after quarantine');

    release($scripts, 'op6', 1);
    $redis->cli(ZADD => k('quarantined'), 1, '+12125550001');
    is thaw($scripts), 1, 'thawed by itself';
    is thaw($scripts), 0, 'once';
    sound('thawed');
};

subtest 'more have rested than a call frees' => sub {
    my @rested = map { sprintf '+1646555%04d', $_ } 1 .. 1200;

    add($scripts, map { ($_ => 'w') } @rested);
    $redis->cli(HSET => k('numbers'), map { ($_ => 'quarantined w') } @rested);
    $redis->cli(ZREM => k('free'), @rested);
    $redis->cli(ZADD => k('quarantined'), map { ($_ => $rested[$_ - 1]) } 1 .. @rested);

    is_deeply lease($scripts, 'last', number => $rested[-1]), ['leased', $rested[-1], 'w'], 'the one that is wanted by its name is free';
    is_deeply remove($scripts, $rested[-2]), ['deleted'], 'so is the one to take out';
    sound('most of them freed');

    release($scripts, 'last');
    remove($scripts, $_) for @rested;
    sound('and as before');
};

subtest 'whoever lost the operation gets nothing' => sub {
    my ($s, $us) = $redis->client->time;
    my $now = $s * 1000;

    is_deeply lease($scripts, 'op7', late => $now - 5000), ['late'], 'too late';
    is_deeply lease($scripts, 'op7', late => $now + 60_000), ['leased', '+12125550001', 'w3'], 'in time';
    is_deeply lease($scripts, 'op7', late => $now - 5000), ['held', '+12125550001', 'w3'], 'what it holds it holds';
};

subtest 'leases are looked at' => sub {
    my $look = sub { my $r = $scripts->run(inv_look => [k qw(leases operations)], 16, 60_000); [map { $r->[3 * $_] } 0 .. @$r / 3 - 1] };

    is_deeply [sort $redis->client->zrange(k('leases'), 0, -1)], ['a:one op3', 'a:one op4', 'a:one op7'], 'each is remembered';
    is_deeply $look->(), [], 'not yet';
    $redis->cli(ZADD => k('leases'), 1, 'a:one op3');
    is_deeply $look->(), ['a:one op3'], 'one is old enough';
    is_deeply $look->(), [], 'and comes again later only';
    release($scripts, $_) for qw(op3 op4 op7);
    is $redis->client->zcard(k 'leases'), 0, 'released, it is forgotten';
    is_deeply counts($scripts), [3, 0, 0, 0], 'all are free';
    sound('in the end');
};

# a ticket's number that is none of the inventory's
subtest 'a number of the operator\'s own' => sub {
    my ($own, $before) = ('+19990000000', counts($scripts));

    is_deeply lease($scripts, 'ticket.1', number => $own), ['leased', $own, ''], 'held as others are';
    is_deeply lease($scripts, 'ticket.1', number => $own), ['held', $own, ''], 'by one';
    is_deeply lease($scripts, 'ticket.2', number => $own), ['taken', 'leased'], 'and nobody else';
    is_deeply assign($scripts, $own, 'ticket.2'), ['refused', 'leased'], 'to whom it is not assigned';
    is_deeply assign($scripts, $own, 'ticket.1'), ['assigned', ''], 'but to its own';
    is_deeply remove($scripts, $own), ['held', 'assigned'], 'it cannot be deleted';
    is_deeply counts($scripts), $before, 'it counts nowhere';
    sound('held');
    is_deeply release($scripts, 'ticket.1', 3_600_000), ['released', $own], 'released';
    is $redis->cli(HGET => k('numbers'), $own), undef, 'it is forgotten: nobody else was to have it';
    sound('forgotten');

    lease($scripts, 'ticket.1', number => $own);
    assign($scripts, $own, 'ticket.1');
    is_deeply add($scripts, $own, 'w9'), [1, 0], 'one that is held is added to the inventory';
    is_deeply lease($scripts, 'ticket.2', number => $own), ['taken', 'assigned'], 'and stays whose it is';
    sound('of the inventory by now');
    release($scripts, 'ticket.1');
    is $redis->cli(HGET => k('numbers'), $own), 'free w9', 'then it is free';
    is_deeply remove($scripts, $own), ['deleted'], 'and goes';
};

subtest 'what was seen of a lease is not done to another' => sub {
    my ($keep, $fate) = map { my $name = $_; sub ($keys, @args) { $scripts->run($name => $keys, @args) } } qw(inv_keep inv_fate);
    my @keep = k qw(numbers leased assigned operations leases);
    my $look = sub { $redis->cli(ZADD => k('leases'), 1, 'a:one see'); $scripts->run(inv_look => [k qw(leases operations)], 16, 60_000) };
    my $free = counts($scripts)->[0];

    my $number = lease($scripts, 'see')->[1];
    my ($member, $seen, $looked) = @{$look->()};
    is "$member $seen", "a:one see $number", 'what is looked at, and its number';
    like $looked, qr/\.5$/, 'by an instant that only a look sets';
    is lease($scripts, 'see')->[0], 'held', 'it is asked for again';
    is_deeply release($scripts, 'see', 0, '', $looked), ['none'], 'and is not taken back by what was seen before';
    is_deeply $keep->(\@keep, 'see', 'a:one', $looked), ['none'], 'nor forgotten';
    $scripts->run(inv_watch => [k 'leases'], 'a:one see', 1000);
    is_deeply $keep->(\@keep, 'see', 'a:one', $looked), ['none'], 'nor when its line is about to end';
    my $settle = sub { $scripts->run(inv_settle => [k qw(numbers operations leases)], 'a:one see'); scalar @{$redis->client->zrange(k('leases'), 0, -1)} };
    is $settle->(), 1, 'a purchase that ends meanwhile leaves that watch alone';
    is lease($scripts, 'see')->[0], 'held', 'so does who carries it on';
    is $settle->(), 1, '... and ends it then';
    $looked = $look->()->[2];
    is_deeply $keep->(\@keep, 'see', 'a:one', $looked), ['kept', $number], 'only by the last look';
    is counts($scripts)->[2], 1, 'assigned';

    # that one was assigned may be what Redis lost
    my ($worker) = $redis->cli(HGET => k('numbers'), $number) =~ /^assigned (\S*)/;
    $redis->cli(ZADD => k('leases'), 60_000, 'a:one see');
    $redis->cli(HSET => k('numbers'), $number, "leased $worker see a:one");
    is $settle->(), 1, 'a purchase that ends while its number is but leased leaves it to a look';
    $redis->cli(HSET => k('numbers'), $number, "assigned $worker see a:one");
    is $settle->(), 0, '... and no other';

    my @of = map {"lines:{a:one}:$_"} qw(op:see line:see ticket:1 t deleted);
    is $fate->(\@of, $number, 3_600_000), 'lost', 'of a tenant that is not here, and was not deleted, it is not known';
    $redis->cli(SET => $of[4], 1);
    is $fate->(\@of, $number, 3_600_000), 'gone', 'but of one that was';
    $redis->cli(HSET => $of[3], made => 1);
    is $fate->(\@of, $number, 3_600_000), 'gone', 'what nobody names is nobody\'s';
    $redis->cli(HSET => $of[2], status => 'FULFILLED', number => '+19990000001');
    is $fate->(\@of, $number, 3_600_000), 'gone', 'also where a ticket names another';
    $redis->cli(HSET => $of[2], number => $number);
    is $fate->(\@of, $number, 3_600_000), 'held', 'but what a ticket names is held';
    $redis->cli(HSET => $of[1], number => $number);
    is $fate->(\@of, $number, 3_600_000), 'held', 'or a line';
    $redis->cli(HSET => $of[1], ended => 1);
    is $fate->(\@of, $number, 3_600_000), 'released', 'until it ends, however it does';
    my $due = sub ($s) { $redis->cli(HSET => $of[0], step => 'undo:charge', due => 1000 * ($redis->client->time->[0] + $s)); $fate->(\@of, $number, 3_600_000) };
    is $due->(3000), 'rests', 'what is to be looked at later is left alone';
    is $due->(-1), 'unfinished', '... until it is due';
    is $due->(3_700), 'unfinished', '... or by a clock that was set back';
    $redis->cli(DEL => @of);

    is_deeply release($scripts, 'see', 0, '+19990000001'), ['none'], 'not another number than the one that is given back';
    is_deeply release($scripts, 'see', 0, $number), ['none'], 'nor that, which is its own: it was lost, and leased anew';
    is_deeply release($scripts, 'see'), ['released', $number], 'but what it holds';
    is counts($scripts)->[0], $free, 'as before';
    sound('in the end');
};

subtest 'a clock that was set back' => sub {
    my $look = sub { $scripts->run(inv_look => [k qw(leases operations)], 16, 60_000) };

    my $number = lease($scripts, 'back')->[1];
    is_deeply $look->(), [], 'not yet';
    $redis->cli(ZINCRBY => k('leases'), 600_000, 'a:one back');
    is $look->()->[0], 'a:one back', 'no lease is as long as that: it is looked at';
    is_deeply $look->(), [], 'once';
    my ($s, $us) = $redis->client->time;
    is_deeply lease($scripts, 'then', late => ($s + 600) * 1000), ['late'], 'nor is anybody in time by an instant of another clock';
    release($scripts, 'back');

    my $rested = lease($scripts, 'rested')->[1];
    release($scripts, 'rested', 3_600_000);
    $redis->cli(ZINCRBY => k('quarantined'), 365 * 86_400_000, $rested);
    is thaw($scripts), 0, 'a number that would rest for a year';
    ($s) = $redis->client->time;
    cmp_ok $redis->cli(ZSCORE => k('quarantined'), $rested), '<=', ($s + 86_400 + 1) * 1000, 'rests no longer than the longest';
    $redis->cli(ZADD => k('quarantined'), 1, $rested);
    is thaw($scripts), 1, 'and is free then';

    $redis->cli(ZADD => k('leases'), 1, 'nothing');
    is $look->()->[0], 'nothing', 'what names no operation is told once';
    is $redis->cli(ZSCORE => k('leases'), 'nothing'), undef, 'and dropped';
    sound('looked at');
};

# one that a preview was shown: leased to the operation that may begin, until then
subtest 'a number that is reserved' => sub {
    my ($free) = @{counts($scripts)};
    my @new = map {"+4420000000$_"} 0 .. 2;
    add($scripts, map { ($_ => 'w') } @new);

    is_deeply reserve($scripts, 'r0', '+4420'), ['reserved', $new[0]], 'the first that begins so';
    is_deeply reserve($scripts, 'r0', '+4420'), ['held',     $new[0]], 'the same one again';
    is_deeply reserve($scripts, 'r0', '+4420', tenant => 'a:two'), ['none'], 'but not for another tenant';
    is_deeply reserve($scripts, 'r1', '+44200000001'), ['reserved', $new[1]], 'a whole number is a beginning, too';
    is_deeply reserve($scripts, 'r2', '+44200000001'), ['none'], 'which is nobody else\'s';
    is_deeply reserve($scripts, 'r2', '+4421'), ['none'], 'none begins like that';
    is_deeply counts($scripts), [$free + 1, 2, 0, 0], 'reserved is leased';
    is_deeply lease($scripts, 'op', number => $new[0]), ['taken', 'leased'], 'nobody else gets it';
    is_deeply remove($scripts, $new[0]), ['held', 'leased'], 'nor is it taken out';
    is_deeply $scripts->run(inv_look => [k qw(leases operations)], 16, 60_000), [], 'nobody looks what became of it';
    sound('reserved');

    # it is leased
    is_deeply lease($scripts, 'r0', late => 1), ['late'], 'whoever is late does not lease what is reserved';
    is_deeply lease($scripts, 'r0', number => $new[1]), ['taken', 'leased'], 'nor is it leased as another one';
    over('r0');
    is_deeply lease($scripts, 'r0', number => $new[0]), ['held', $new[0], 'w'], 'its operation leases it, though its time is over, as long as nobody came by';
    is $redis->cli(ZSCORE => k('reserved'), 'r0'), undef, 'it is reserved no more';
    is_deeply reserve($scripts, 'r0', '+4420'), ['held', $new[0]], 'it has it';
    is $redis->cli(ZSCORE => k('reserved'), 'r0'), undef, '... for good: no instant ends that';
    sound('leased');
    release($scripts, 'r0');

    # whoever comes by: each of them alone
    my %by = (
        'a count says so' => sub { is counts($scripts)->[0], $free + 3, 'counted as free'; is counts($scripts)->[1], 0, '... and not as leased'; page($scripts, '', '', 1) },
        'a list'        => sub { page($scripts, '', '', 1) },
        'a lease'       => sub { is_deeply lease($scripts, 'op', number => $new[1]), ['leased', $new[1], 'w'], 'leased by another'; release($scripts, 'op') },
        'a reservation' => sub { is_deeply reserve($scripts, 'r2', $new[1]), ['reserved', $new[1]], 'reserved for another'; release($scripts, 'r2') },
        'a deletion'    => sub { is_deeply remove($scripts, $new[1]), ['deleted'], 'taken out'; add($scripts, $new[1], 'w') },
    );
    for my $name (sort keys %by) {
        subtest $name => sub {
            reserve($scripts, 'r1', $new[1]);
            over('r1');
            $by{$name}->();
            is $redis->cli(HGET => k('operations'), 'r1'), undef, 'who had it has it no more';
            is_deeply counts($scripts), [$free + 3, 0, 0, 0], 'all are free';
            sound($name);
        };
    }

    my ($s) = $redis->client->time;
    reserve($scripts, 'r1', $new[1]);
    over('r1', 1000 * ($s + 3 * 86_400));
    is counts($scripts)->[0], $free + 3, 'none is reserved for days: that was a clock that was set back';
    reserve($scripts, 'r2', $new[2]);
    sound('freed');
    release($scripts, 'r2');

    # as a release before leaves it that knows of no reservations
    reserve($scripts, 'r1', $new[1]);
    assign($scripts, $new[1], 'r1');
    over('r1');
    is thaw($scripts), 0, 'what was assigned meanwhile';
    is_deeply [$redis->cli(HGET => k('numbers'), $new[1]), $redis->cli(ZCARD => k('reserved'))], ['assigned w r1 a:one', 0], '... stays so';
    sound('assigned');
    release($scripts, 'r1');

    # more of them are over than a call frees
    my @many = map { sprintf '+4430555%04d', $_ } 1 .. 120;
    add($scripts, map { ($_ => 'w') } @many);
    reserve($scripts, "m$_", $many[$_]) for 0 .. $#many;
    over("m$_", 1 + $_) for 0 .. $#many;
    is_deeply lease($scripts, 'op', number => $many[-1]), ['leased', $many[-1], 'w'], 'the one that is wanted by its name does not wait for its turn';
    is $redis->cli(ZCARD => k('reserved')), 19, '... as others do';
    is counts($scripts)->[0], $free + 3 + 119, '... which are counted as free';
    sound('most of them freed');
    release($scripts, 'op');
    remove($scripts, $_) for @many;

    my @got = map { $_->[1] // $_->[0] } $scripts->race(200, 8, sub ($s, $i) { $i % 2 ? reserve($s, "x$i", '+4420') : lease($s, "y$i", number => $new[$i % 3]) });
    my %count;
    $count{$_}++ for grep {/^\+/} @got;
    is_deeply \%count, {map { $_ => 1 } @new}, 'who reserve and who lease get one each';
    sound('after the race');
    release($scripts, $_) for $redis->client->hkeys(k 'operations');
    remove($scripts, $_) for @new;
};

subtest 'races' => sub {
    add($scripts, map { (sprintf('+1650555%04d', $_) => "w$_") } 1 .. 100);

    my @got = map { $_->[0] eq 'leased' ? $_->[1] : $_->[0] }
      $scripts->race(200, 8, sub ($s, $i) { lease($s, "race$i") });
    my %count;
    $count{$_}++ for @got;

    is $count{none}, 97, '200 operations want 103 numbers: 97 get none';
    is scalar(grep { $_ ne 'none' } keys %count), 103, '103 get one each';
    is scalar(grep { $count{$_} > 1 && $_ ne 'none' } keys %count), 0, 'no number went to two';
    sound('after the race');

    my @same = $scripts->race(200, 8, sub ($s, $i) { lease($s, 'race0')->[1] // 'none' });
    is scalar(keys %{{map { $_ => 1 } @same}}), 1, 'one operation that leases 200 times gets one answer';

    my ($number) = $redis->client->zrange(k('leased'), 0, 0);
    my $op       = (split / /, $redis->cli(HGET => k('numbers'), $number))[2];
    my @mixed    = map { $_->[0] } $scripts->race(200, 8, sub ($s, $i) { $i % 2 ? assign($s, $number, $op) : release($s, $op) });

    is scalar(grep { $_ eq 'released' } @mixed), 1, 'released once, whoever assigns meanwhile';
    sound('after assign against release');

    my @deleted = map { $_->[0] } $scripts->race(200, 8, sub ($s, $i) { $i % 2 ? remove($s, $number) : lease($s, "last$i") });
    is scalar(grep { $_ eq 'deleted' } @deleted) + scalar(grep { $_ eq 'leased' } @deleted), 1, 'deleted or leased, never both';
    sound('after delete against lease');
};

$t->done;
