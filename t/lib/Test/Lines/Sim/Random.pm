package Test::Lines::Sim::Random;
use Mojo::Base -base, -signatures;

use Mojo::File qw(path);
use Mojo::Util ();
use Test::Lines::Script;
use Test::Lines::Unit qw(root);
use Time::HiRes ();

=head1 NAME

Test::Lines::Sim::Random - random calls of all scripts, by their heads

=head1 DESCRIPTION

What a script's head declares (src/store/README.md) is filled in: keys by the
schema, arguments by their names. Names that mean something have values that
often fit (C<%VALUE>); a guard (step, attempt, fence) mostly is what the
operation holds just now, and half of the calls go on with what is there
(C<%NEXT>); now and then anything is anything (C<@ODD>), a key is
another's, or is of another type. A script that is new needs nothing here, but
where an argument's values matter.

=cut

has [qw(redis episode)];
has seed     => 1;
has steps    => 3000;    # of an episode
has episodes => 4;
has exact    => 1;       # the real one is of the version that t/sim speaks like
has seconds  => 0;       # as many episodes as there is time for instead

my @TENANTS = qw(w:one w:two a:one);
my @ODD     = ('', '0', '-1', '1.5', '1e3', 'x', '9223372036854775807', '99999999999999999999', 'nan', '-inf', ' 7',
    "\0", "\xff\xfe", "a\r\nb", '{"a/b":"\\"}', "\x01\x1f\x7f", "gr\xc3\xbc\xc3\x9fe", 'w:one', 'y' x 300);

sub pick (@of) { $of[int rand @of] }

sub one_in ($n) { rand() * $n < 1 }

my ($now, %env);

# releases after 7.0 write numbers with as few digits as can be
my $exact = 1;

sub ms { int($now / 1000) }

my @LIMITS = qw(0 1 2 3 10 unlimited);

# by an argument's or a parameter's name
my %VALUE = (
    tenant       => sub { pick(@TENANTS) },
    id           => sub { pick(qw(l1 l2 l3 l4 o1 o2 plan)) },
    line         => sub { pick(qw(l1 l2 l3 l4)) },
    operation    => sub { pick(qw(o1 o2 o3 l1 l2)) },
    refund       => sub { pick(qw(r1 r2)) },
    ticket       => sub { pick(7 .. 9) },
    hash         => sub { pick(qw(h1 h2 h3)) },
    shard        => sub { pick(0, 1) },
    limit        => sub { 'api' },
    whose        => sub { pick(qw(u1 u2)) },
    customer     => sub { pick(qw(cus_1 cus_1 cus_1 cus_2), '') },
    plan         => sub { pick(qw(paid paid paid mini), '') },
    state        => sub { pick(qw(active past_due canceled), '') },
    status       => sub { pick(qw(active failed FULFILLED CANCELLED)) },
    subscription => sub { pick(qw(sub_1 sub_1 sub_1 sub_2)) },
    invoice      => sub { pick(qw(in_1 in_1 in_1 in_2)) },
    invoice_status => sub { pick(qw(open open paid void)) },
    url          => sub { pick('https://pay/1', '') },
    step         => sub { pick(qw(send await tell read cancel card done)) },
    next_step    => sub { pick(qw(send await tell read cancel card)) },
    attempt      => sub { pick(1, 1, 1, 2) },
    fence        => sub { pick(0, 1, 1, 2) },
    wish         => sub { pick(qw(cancel link yield)) },
    afresh       => sub { pick(1, '') },
    rest         => sub { pick('', 0, 60_000) },
    verdict      => sub { pick(qw(ended suspended live taken refused), '') },
    payment      => sub { pick(qw(refunded paid), '') },
    not_after    => sub { ms() + pick((5000) x 12, 0, -1000) },
    lease        => sub { pick(20_000, 20_000, 0) },
    now          => sub { ms() },
    since        => sub { ms() - pick(0, 10, 5000) },
    included     => sub { pick(0, 1, 2) },
    max          => sub { pick('', '', 3, 10) },
    requests     => sub { pick('', '', 2, 100) },
    declines     => sub { pick('', '', 1, 5) },
    within       => sub { pick(1000, 3_600_000) },
    card         => sub { pick(1, '') },
    price        => sub { pick(('price_email') x 6, '') },
    body         => sub { pick(('the=body') x 6, '') },
    fingerprint  => sub { pick(('') x 6, 'f1', 'f2') },
    provisioner  => sub { pick(1, '') },
    news         => sub { pick(1, '') },
    suspended    => sub { pick(1, '') },
    daily        => sub { pick(@LIMITS, 10, 10) },
    monthly      => sub { pick(@LIMITS, 10, 10) },
    need         => sub { pick(0, 0, 1, 5) },
    sent         => sub { pick(0, 1, 3) },
    keep         => sub { pick(1, 10_000) },
    rate         => sub { pick('20000', '1000000', '250000 40 4r/s') },
    interval     => sub { pick('20000', '333333.33333333331') },
    size         => sub { pick(1, 7, 50) },
    tokens       => sub { pick(1, 3, 1000) },
    (map { $_ => sub { pick(0, 1, 3) } } qw(first again new last)),    # of billing's budget
    most         => sub { pick(0, 1, 2, 100, 100) },
    known        => sub { pick('', qw(l1 l1 l2)) },
    watermark    => sub { ms() - pick(0, 0, 60_000, 600_000) },
    raise        => sub { pick(1, '') },
    confirm      => sub { pick(('') x 4, 1) },
    after        => sub { pick('', 300_000) },
    number       => sub { '+1' . pick(qw(415 212 650)) . '555000' . pick(0 .. 3) },
    wanted       => sub { pick('', '', 'active', '+14155550001', '+12125550002') },
    area         => sub { pick('', '415', '212', '907') },
    quarantine   => sub { pick(0, 1000, 3_600_000) },
    delay        => sub { pick(0, 1000, 60_000) },
    (map { $_ => sub { pick(0, 4, 4, 4) } } qw(fast slow each)),    # of webhooks, as what follows
    idle         => sub { pick(1000, 60_000) },
    seal         => sub { pick('v1.', 'v2.') },
    secret       => sub { pick('v1.a', 'v2.b') },
    entry        => sub { ms() - pick(0, 1, 1000) },
    tries        => sub { pick(0, 0, 1, 10) },
    outcome      => sub { pick(qw(delivered failed)) },
    took         => sub { pick(0, 30, 10_000) },
    pause        => sub { pick(0, 1000, 86_400_000) },
    looked       => sub { pick('', ms() . '.5') },
    late         => sub { pick(0, 5000) },
    overdue      => sub { pick(5000, 300_000) },
    age          => sub { pick(0, 60_000) },
    ttl          => sub { pick(1000, 600_000, 86_400_000) },
    list         => sub { pick(qw(requests lines account work)) },
    health       => sub { pick('', qw(healthy down)) },
    failures     => sub { pick('[]', '["sms"]') },
    phone        => sub { pick('', '+14155550001') },
    reason       => sub { pick('', 'no "reason"', "gr\xc3\xbcnde/viele") },
    as           => sub { pick(qw(settled canceled)) },
    note         => sub { pick('why', 'else', "gr\xc3\xbcn") },
    by           => sub { '127.0.0.1' },
    message      => sub { pick('No "money"', "a\tb") },
    conversations => sub { pick(0, 3, 17) },
    messages     => sub { pick(0, 3, 170) },
    field        => sub { pick('limit:api', 'api paid') },
    name         => sub { pick(qw(line.refunded line.released)) },
    payment_method => sub { 'pm_1' },
);

# lists, by "script list"
my %LIST = (
    'line_begin fields' => sub {
        return (channel => pick(qw(email email phone)), type => '', first => pick('Ada', 'A"da/'), last => 'L', @{pick([email => 'a@example.com'], [phone => '+1415'])});
    },
    'tenant_put fields' => sub {
        return map {@$_} grep { one_in(2) } [plan => pick(qw(paid paid mini), '')], [subscription => pick(('active') x 8, 'past_due', '')],
          [customer => pick(qw(cus_1 cus_1 cus_2), '')], [limit_daily => pick(@LIMITS)], [limit_monthly => pick(@LIMITS)];
    },
    'op_step fields' => sub {
        return map {@$_} grep { one_in(2) } [declined => pick(1, '')], [payment_method => 'pm_1'], [number => '+14155550001'], [worker => pick('w/1"', '')], [subscription => pick('sub_1', 'sub_2', '')],
          [invoice => 'in_1'], [stuck => pick('why', 'refund_failed', '')], [stuck_invoice => pick('in_1', '')], [stuck_due => 900], [tries => pick(1, 2)], [url => 'https://pay/2'];
    },
    'inv_add numbers'   => sub { return map { (value('number'), pick(qw(w1 w2))) } 1 .. pick(1, 2, 5) },
    (map { ("$_ types" => sub { return pick('*', '*', 'line.active', 'line.provisioning') }) } qw(hook_put hook_change)),
    'limit_settle uses' => sub {
        return map {
            join ' ', pick(-1, 0, 1, 3, 50), pick(0, 1_000_000, 60_000_000), pick('20000.000000', '333333.333333', '3600000000.000000'), pick(1, 9, 100),
              pick(0, 5, 1_800_000_000_000)
        } @{$env{'list ids'}};
    },
    'request_place plans' => sub { return map { my $plan = $_; map { ($plan, $_, pick(0, 1, 2)) } qw(phone email) } qw(mini paid) },
    'window_read plans' => sub { return map { ($_ => pick(@LIMITS), pick(@LIMITS)) } grep { one_in(2) } qw(mini paid) },
    ids                 => sub { return map { pick(qw(l1 l2 l3 l4 none)) } 1 .. pick(0, 1, 2, 4) },
);

sub value ($name, $c = undef) {
    return $env{$name} if exists $env{$name};

    my $value = $VALUE{$name} ? $VALUE{$name}->() : pick('a', 'b', 17, '');

    # a settlement's number is none of the inventory
    $value = pick(0 .. 5) if $name eq 'number' && ($c // '') eq 'limit_settle';

    $value = pick(0, 200, 410, 500) if $name eq 'status' && ($c // '') eq 'hook_done';

    return $env{$name} = $value;
}

# what goes on with an operation, by its kind and step; "": any
my %NEXT = (
    request => {
        send  => [qw(request_sent request_sent request_sent request_refused request_again line_wish op_claim op_wake op_step op_resolve)],
        await => [qw(request_paid request_paid request_paid request_place line_wish cancel_end request_again answer_read line_read op_resolve)],
        tell  => [qw(told told op_claim line_report)],
    },
    (map { $_ => {'' => [qw(refund_end op_claim op_step op_resolve)]} } qw(refund orphan release)),
    purchase => {'' => [qw(op_step op_claim confirm_end confirm_end undo_end window_read inv_lease)]},
    plan     => {'' => [qw(plan_end plan_begin op_claim)]},
    lapse    => {'' => [qw(lapse_end lapse_end lapse_begin)]},
);

# and with a line
my @LINE = qw(line_check line_health line_report line_report line_usage lapse_begin lapse_begin line_release line_read line_list line_wish);

# declarations of heads: [kind, what...]
sub scripts ($self) {
    return $self->{scripts} //= do {
        my %scripts;

        for my $file (path(root(), 'src/store/scripts')->list->grep(qr/\.lua$/)->each) {
            my @head;
            my $name = $file->basename('.lua');

            for (split /\n/, $file->slurp) {
                next unless s/^--\@(keys?|given|arg|list)\s+//;
                my $kind = $1;
                s/\s--\s.*//;
                s/\s+$//;
                push @head, [$kind, $_];
            }

            my $source = Test::Lines::Script->new->source($name);
            $scripts{$name} = {name => $name, head => \@head, sha => $self->redis->call('SCRIPT', 'LOAD', $source)};
        }

        \%scripts;
    };
}

# name => {pattern, type}
sub schema ($self) {
    return $self->{schema} //= {map { /^(\w+)\s+(\S+)\s+(\w+)$/ ? ($1 => {pattern => $2, type => $3}) : () }
            split /\n/, path(root(), 'src/store/schema')->slurp};
}

sub key ($self, $what) {
    $what =~ s/ as \w+\??$//;
    $what =~ s/\?$//;

    my ($name, $params) = $what =~ /^(\w+)(?:\((.*)\))?$/;
    my @params = split /\s*,\s*/, $params // '';
    my $key    = $self->schema->{$name}{pattern};

    $key =~ s{<(\w+)(?::int)?>}{value($1 ne 'tenant' && @params ? shift @params : $1)}ge;

    return $key;
}

# Mostly what is there: an operation that is unfinished, its guard, its line and
# what that was billed by, the tenant's plan, the number that is held.
sub look ($self, $script) {
    my %has = map { s/:.*|\?$//gr => 1 } map { $_->[1] } @{$script->{head}};
    my ($op)   = map { $_->[1] =~ /^(op\(\w+\))/   ? $1 : () } @{$script->{head}};
    my ($line) = map { $_->[1] =~ /^(line\(\w+\))/ ? $1 : () } @{$script->{head}};

    if ($has{fence} && $op && !one_in(8)) {
        my %held;
        @held{qw(step attempt fence line)} = @{$self->ask('HMGET', $self->key($op), qw(step attempt fence line))};
        $env{$_} = $held{$_} for grep { $has{$_} && defined $held{$_} } qw(step attempt fence);
        $env{line} = $held{line} // $env{id} if $has{'line(line)'};
    }

    if ($line && ($has{subscription} || $has{invoice}) && !one_in(5)) {
        my ($subscription, $invoice) = @{$self->ask('HMGET', $self->key($line =~ s/^line/record/r), qw(subscription invoice))};
        $env{subscription} = $subscription if length($subscription // '');
        $env{invoice}      = $invoice      if length($invoice // '');
    }

    if ($has{plan} && $has{not_after} && !one_in(10)) {
        my ($plan, $customer) = @{$self->ask('HMGET', $self->key('tenant'), qw(plan customer))};
        $env{plan}     = $plan     // '';
        $env{customer} = $customer // '';
    }

    if ($has{'hook_busy(id)'} && $has{entry} && !one_in(8)) {
        my $told;

        for my $id (@{$self->ask('ZRANGE', $self->key('hooks'), 0, -1)}) {
            local $env{id} = $id;
            my ($member) = @{$self->ask('ZRANGE', $self->key('hook_busy(id)'), 0, 0)} or next;
            $told = [$id, $1, $2] if $member =~ /^(\d+) (\d+)$/;
        }

        @env{qw(id entry tries)} = @$told if $told;
    }

    if ($has{number} && $has{operation} && !one_in(5)) {
        my ($number) = @{$self->ask('HMGET', $self->key('inv_operations'), value('operation'))};
        $env{number} = $number if defined $number;
    }
}

# a list; an empty one where the key is of another type by now
sub ask ($self, @command) {
    my $reply = $self->call(@command);
    return ref $reply eq 'ARRAY' ? $reply : [];
}

# a script that goes on with an operation or a line of a tenant, where there is one
sub go_on ($self) {
    %env = ();

    if (one_in(3)) {
        my @lines = @{$self->ask('ZRANGE', $self->key('lines'), 0, -1)} or return;
        return (pick(@LINE), tenant => $env{tenant}, map { ($_ => $lines[-1]) } qw(id line));
    }

    return (pick(qw(hook_claim hook_done)), tenant => $env{tenant}) if one_in(3) && @{$self->ask('ZRANGE', $self->key('hooks'), 0, -1)};

    my @ops = sort @{$self->ask('SMEMBERS', $self->key('ops'))} or return;
    $env{id} = pick(@ops);
    my ($kind, $step) = @{$self->ask('HMGET', $self->key('op(id)'), qw(kind step))};
    my $next = $NEXT{$kind // ''}{$step // ''} || $NEXT{$kind // ''}{''} or return;

    return (pick(@$next), %env);
}

# the keys and arguments of a call
sub fill ($self, $script, %known) {
    my (@keys, @args);
    my $name = $script->{name};

    %env = ();

    # an account's purchases are an account's
    $env{tenant} = 'a:one' if $name =~ /^(?:confirm|undo|window|ticket)/ && !one_in(10);
    $env{tenant} = pick('w:one', 'w:two') if $name =~ /^(?:line_begin|request|plan)/ && !one_in(10);
    %env = (%env, %known);

    $self->look($script);

    for (@{$script->{head}}) {
        my ($kind, $what) = @$_;

        if ($kind eq 'key' || $kind eq 'given') {
            my $key = $self->key($what);
            $key = $keys[0] if $what =~ /\?$/ && one_in(4);
            $key = $self->key(pick(qw(tenant lines ops events pending))) if one_in(300);
            push @keys, $key;
        }
        elsif ($kind eq 'keys') {
            my ($name, $others, $list) = $what =~ /^(\w+)\((.*?)(\w+)\)/;
            my @ids = @{$env{"list $list"} //= [$LIST{$list}->()]};
            push @keys, map { local $env{id} = $_; $self->key("$name(${others}id)") } @ids;
        }
        elsif ($kind eq 'list') {
            push @args, @{$env{"list $what"} //= [($LIST{"$name $what"} // $LIST{$what} // sub { map { pick('a', 'b') } 1 .. 2 })->()]};
        }
        elsif ($what =~ /^(\w+)=(.*)/) {
            push @args, $2 =~ s/\\s/ /gr =~ s/<(\w+)>/value($1)/ger;
        }
        else {
            my ($member) = $what =~ /^(\w+)/;
            push @args, one_in(120) ? pick(@ODD) : value($member, $name);
        }
    }

    pop @args if @args && one_in(400);
    push @args, pick(@ODD) if one_in(400);

    return (\@keys, \@args);
}

sub score  { pick(0, 1, -1, 2, '1.5', '0.25', $exact ? '1e300' : 4, 'inf', '-inf', ms(), ms() + .25, pick(@ODD)) }
sub bound  { pick('-inf', '+inf', '(' . pick(0, 1, ms()), ms(), 1, '(', '', pick(@ODD)) }
sub lex    { pick('-', '+', "[+1415\xff", pick('[', '(') . pick('+1415', '+14155550001', '+12125550002', 'l1', 'l3', ''), pick(@ODD)) }
sub member { pick(qw(l1 l2 l3 o1 +14155550001 +12125550002 -1 7), 'w:one l1', pick(@ODD)) }
sub field  { pick(qw(step fence attempt plan n status), pick(@ODD)) }
sub int_   { pick(0, 1, 2, -1, -2, 5, 100, pick(@ODD)) }

sub odd_case ($word) { one_in(4) ? lc $word : $word }

# plain commands: of a type of key, what follows it
my @COMMANDS = (
    [string => GET => sub { }],
    [string => SET => sub { (member(), one_in(3) ? (pick('PX', 'ex'), pick(1000, 60_000, int_())) : (), one_in(4) ? pick('NX', 'XX', 'KEEPTTL', 'x') : ()) }],
    [string => INCR => sub { }],
    [string => INCRBY => sub { int_() }],
    [hash => HGET => sub { field() }],
    [hash => HMGET => sub { map { field() } 1 .. pick(1, 3, 5) }],
    [hash => HGETALL => sub { }],
    [hash => HKEYS => sub { }],
    [hash => HVALS => sub { }],
    [hash => HLEN => sub { }],
    [hash => HSCAN => sub { (0, one_in(2) ? (COUNT => pick(50, 0, 'x')) : ()) }],
    [hash => HSET => sub { map { field() } 1 .. pick(2, 2, 4, 3) }],
    [hash => HSETNX => sub { (field(), member()) }],
    [hash => HINCRBY => sub { (field(), int_()) }],
    [hash => HEXISTS => sub { field() }],
    [hash => HDEL => sub { map { field() } 1 .. pick(1, 2) }],
    [set => SADD => sub { map { member() } 1 .. pick(1, 3) }],
    [set => SREM => sub { map { member() } 1 .. pick(1, 3) }],
    [set => SCARD => sub { }],
    [set => SISMEMBER => sub { member() }],
    [set => SMEMBERS => sub { }],
    [set => SRANDMEMBER => sub { one_in(3) ? () : pick(0, 1, 2, 100) }],
    [set => SSCAN => sub { (0, one_in(2) ? (COUNT => pick(50, 0, 'x')) : ()) }],
    [zset => ZADD => sub { ((one_in(3) ? pick(qw(NX XX CH GT LT INCR)) : ()), (one_in(6) ? pick(qw(NX XX CH GT)) : ()), map { (score(), member()) } 1 .. pick(1, 1, 2)) }],
    [zset => ZINCRBY => sub { (score(), member()) }],
    [zset => ZREM => sub { map { member() } 1 .. pick(1, 2) }],
    [zset => ZCARD => sub { }],
    [zset => ZSCORE => sub { member() }],
    [zset => ZCOUNT => sub { (bound(), bound()) }],
    [zset => ZREMRANGEBYSCORE => sub { (bound(), bound()) }],
    [zset => ZRANGE => sub { (int_(), int_(), one_in(3) ? pick(qw(WITHSCORES REV BYLEX)) : ()) }],
    [zset => ZRANGE => sub { (bound(), bound(), 'BYSCORE', one_in(3) ? pick(qw(WITHSCORES REV)) : (), limit()) }],
    [zset => ZRANGEBYSCORE => sub { (bound(), bound(), one_in(2) ? 'WITHSCORES' : (), limit()) }],
    [zset => ZREVRANGEBYSCORE => sub { (bound(), bound(), one_in(2) ? 'WITHSCORES' : (), limit()) }],
    ([lex => ZRANGEBYLEX => sub { (lex(), lex(), limit()) }]) x 2,
    [stream => XADD => sub { ((one_in(2) ? ('MAXLEN', pick('~', '~', '='), pick(0, 1, 100, 150, 10_000)) : ()), pick('*', '*', '*', '5-1', '0-0', 'x'), map { field() } 1 .. pick(2, 2, 4, 1)) }],
    [stream => XLEN => sub { }],
    [stream => XRANGE => sub { (pick('-', ms(), '5-1'), pick('+', ms(), '5', 'x'), one_in(2) ? (COUNT => int_()) : ()) }],
    [stream => XREVRANGE => sub { ('+', '-', COUNT => pick(1, 3)) }],
    [list => RPUSH => sub { map { field() } 1 .. pick(1, 1, 3) }],
    [list => LPOP => sub { }],
    [list => LLEN => sub { }],
    [list => LINDEX => sub { int_() }],
    [list => LRANGE => sub { (int_(), int_()) }],
    [any => DEL => sub { }],
    [any => EXISTS => sub { }],
    [any => TYPE => sub { }],
    [any => EXPIRE => sub { pick(1, 60, 86_400, int_()) }],
    [any => PEXPIRE => sub { pick(1, 60_000, int_()) }],
    [any => PERSIST => sub { }],
    [any => TTL => sub { }],
    [any => PTTL => sub { }],
    [none => TIME => sub { }],
    [none => KEYS => sub { pick('*', 'lines:{w:one}*', '*:op:?1') }],
    [none => PING => sub { one_in(2) ? 'x' : () }],
    [none => NOTHING => sub { map { member() } 1 .. pick(0, 2, 30) }],
    [none => EVALSHA => sub { ('no' x 20, pick(0, 1, -1, 'x')) }],
    ([none => EVAL => sub { eval_() }]) x 2,
    [none => EVAL => sub { ('for i = 1, ARGV[1] do redis.call("XADD", KEYS[1], "MAXLEN", ARGV[2], ARGV[3], "*", "n", i) end return redis.call("XLEN", KEYS[1])',
        1, 'lines:{w:one}:ev', pick(1, 50, 120), pick('~', '~', '='), pick(0, 99, 100, 101, 150, 10_000)) }],
);

sub limit { one_in(2) ? (LIMIT => pick(0, 0, 1, 5, -1, pick(@ODD)), pick(1, 2, 100, -1, 0)) : () }

# what scripts may return, and how they may fail
sub eval_ {
    return (pick(
        !$exact ? () : (
            'return {redis.call("SET", KEYS[1], 12345678901234567890), redis.call("GET", KEYS[1])}',
            'return {redis.call("SET", KEYS[1], 0.1), redis.call("GET", KEYS[1])}',
        ),
        'return {1, 2.9, -1.5, "a", true, false, 7}', 'return {1, nil, 3}', 'return nil', 'return 3.99', 'return -2^70', 'return {ok = "fine"}',
        'return {err = "MINE not fine"}', 'return redis.status_reply("a\nb")', 'return redis.error_reply("OWN no")', 'return redis.error_reply("no")',
        'return redis.call("GET", KEYS[1])', 'return redis.pcall("HGET", KEYS[1], "a")', 'return redis.call("HINCRBY", KEYS[1], "step", 1)',
        'return redis.pcall("NOTHING")', 'return redis.call("NOTHING")', 'return redis.call("GET")', 'return redis.call("GET", nil)', 'return redis.call()',
        'return redis.call("SCRIPT", "LOAD", "return 1")',
        'local t = {} for i = 0, 255 do t[i + 1] = string.char(i) end return cjson.encode(table.concat(t))', 'return nosuch', 'nosuch = 1', "\n\nlocal x = nil\nreturn x.y", 'return 1 < "x"', 'return cjson.encode(ARGV[1])', 'return this is no Lua',
        'error("mine")', 'error({err = "MINE table"})', 'return select(2, pcall(redis.call, "GET"))', 'return {pcall(error, "x")}', 'return tostring(redis.call("GET", KEYS[1]))',
        'return {redis.call("PING"), redis.call("TIME")}', 'return tostring(1763400000000) .. string.format("%.17g", 0.1) .. 1e15', 'return {{{}, {1, {"x"}}}, {}}',
        'return redis.sha1hex("x")', 'return #KEYS + #ARGV', 'local t = {} for k, v in pairs({a=1, b=2, c=3, plan=4, step=5}) do t[#t + 1] = k end return t',
    ), 1, 'lines:{w:one}:' . pick('pending', 't', 'lines', 'op:l1'), pick(@ODD));
}

sub command ($self) {
    my ($type, $verb, $args) = @{pick(@COMMANDS)};

    %env = ();

    my @names = grep { my $has = $self->schema->{$_}{type}; $type eq 'any' || $has eq $type || one_in(60) } sort keys %{$self->schema};
    @names = qw(inv_all inv_free inv_assigned) if $type eq 'lex';
    my @key = $type eq 'none' ? () : $self->key(pick(@names));

    # members of one score: of others nobody says what ZRANGEBYLEX does
    return $self->call(ZADD => $key[0], 0, member()) if $type eq 'lex' && one_in(3);
    return if $verb =~ /^Z(?:ADD|INCRBY)$/ && $key[0] =~ /inv\}:(?:all|free|assigned)/;

    return $self->call(odd_case($verb), @key, $args->());
}

sub call ($self, @command) {
    my $reply = $self->redis->call(@command);

    $self->{calls}++;
    $self->{different}++ if ref $reply eq 'SCALAR' && $$reply =~ /^DIFFERENT/;
    $self->{errors}++    if ref $reply eq 'SCALAR';

    return $reply;
}

# what the scripts say, so that a run shows that it came somewhere
sub count ($self, $name, $reply) {
    my $word = ref $reply eq 'ARRAY' ? $reply->[0] : ref $reply eq 'SCALAR' ? 'an error' : $reply;
    $word = 'a value' unless defined $word && $word =~ /^[a-z ]+$/;
    $self->{words}{"$name: $word"}++;
}

sub tick ($self) {
    my $ms = one_in(20) ? pick(1000, 60_000, 3_600_000, 86_400_000, 7 * 86_400_000, -1000, -600_000) : pick(0, 0, 1, 7, 50);

    $now += $ms * 1000 + int rand 1000;
    $self->redis->call(SIM => TIME => $now);
}

sub step ($self) {
    $self->tick if one_in(2);

    return $self->command if one_in(4);

    # of tenants and numbers there is mostly something
    my ($name, %known) = one_in(2) ? $self->go_on : ();
    $name //= one_in(4) ? pick(qw(tenant_put line_begin line_begin preview_issue confirm_begin inv_add plan_begin)) : pick(sort keys %{$self->scripts});

    my $script = $self->scripts->{$name};
    my ($keys, $args) = $self->fill($script, %known);

    $self->{scripts_run}++;
    $self->count($name, $self->call(EVALSHA => $script->{sha}, scalar @$keys, @$keys, @$args));
}

# all that is there, read from both
sub sweep ($self) {
    my %read = (
        string => sub ($k) { $self->call(GET => $k) },
        hash   => sub ($k) { $self->call(HGETALL => $k) },
        set    => sub ($k) { $self->call(SMEMBERS => $k) },
        zset   => sub ($k) { $self->call(ZRANGE => $k, 0, -1, 'WITHSCORES') },
        stream => sub ($k) { $self->call(XRANGE => $k, '-', '+') },
        list   => sub ($k) { $self->call(LRANGE => $k, 0, -1) },
    );
    my $keys = $self->call(KEYS => '*');

    for my $key (sort @$keys) {
        my $type = $self->call(TYPE => $key);
        $self->call(PTTL => $key);
        $read{$type}->($key) if $read{$type};
    }

    $self->{keys} += @$keys;
}

sub run ($self) {
    my $end   = Time::HiRes::time() + $self->seconds;
    my $first = $self->episode // 0;
    my $last  = defined $self->episode ? $first : $self->seconds ? 1e9 : $self->episodes - 1;

    $exact = $self->exact;
    $self->{$_} = 0 for qw(calls different errors scripts_run keys ran);
    $self->scripts;

    for my $episode ($first .. $last) {
        srand($self->seed * 100_003 + $episode);
        $now = 1_763_000_000_000_000;
        $self->redis->call(SIM => TIME => $now);
        $self->call('FLUSHALL');

        for (1 .. $self->steps) {
            $self->step;
            last if $self->{different};
        }

        $self->sweep unless $self->{different};
        $self->{ran}++;

        if ($self->{different}) {
            $self->{failed} = $episode;
            last;
        }

        last if $self->seconds && Time::HiRes::time() > $end;
    }

    return {map { $_ => $self->{$_} } qw(ran calls different errors scripts_run keys failed words)};
}

1;
