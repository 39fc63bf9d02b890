# lines_tenant_limits tickets: how many open tickets an account may have, whoever asks, however many at once.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Account;
use Test::Lines::Script;

my $t       = Test::Lines->new;
my $shop    = Test::Lines::Account->new(t => $t);
my $nginx   = $shop->nginx(server => <<'END');
location /account/   { lines_account_api; }
location /few/       { lines_account_api; lines_tenant_limits tickets=3; }
location /few-alias/ { lines_account_api; lines_tenant_limits tickets=3; }
location /any/       { lines_account_api; lines_tenant_limits tickets=unlimited; }
END
my $redis   = $shop->redis;
my $scripts = Test::Lines::Script->new(redis => $redis);

sub wish ($account, $prefix) { $nginx->post_json("/$prefix/lines/add-line", {line_request_type => 'phone'}, $account->{headers}) }

sub k ($account, $name) { "lines:{a:$account->{id}}:$name" }

sub refused ($answer, $name) {
    is $answer->status, 429, $name;
    is_deeply $answer->json, {status => 'ERROR', error => 'ticket_limit_reached', message => 'Too many tickets are open: wait for one to be fulfilled or canceled'},
      '... in the words of its API';
    is $answer->header('Retry-After'), 3600, '... which says when to ask again';
    like $answer->header('Deprecation') // '', qr/^@/, '... and that it will go';
}

subtest 'as many as the bound says, under both spellings' => sub {
    my $one = $shop->account('one');
    my @ids = map { wish($one, $_)->json('/data/id') } qw(few few-alias few);
    is scalar(grep {defined} @ids), 3, 'three are taken';
    my $names = grep {/^lines:\{ix:ticket/} $redis->client->keys('*');
    refused(wish($one, 'few'),       'a fourth is not');
    refused(wish($one, 'few-alias'), 'nor under the other spelling');
    is scalar(grep {/^lines:\{ix:ticket/} $redis->client->keys('*')), $names, 'nothing of them is left';
    is $redis->cli(ZCARD => k($one, 'tickets')), 3, 'three are listed';
    is wish($one, 'any')->status, 200, 'where there is no bound, one more';

    my $two = $shop->account('two');
    is wish($two, 'few')->status, 200, "another account's are its own";

    is $nginx->admin(POST => "tickets/$_", {status => 'CANCELLED'})->status, 200, 'the operator cancels one' for @ids[0, 1];
    is wish($one, 'few')->status, 200, 'there is room';
    refused(wish($one, 'few'), 'for one');

    like $nginx->get('/_lines/metrics')->body, qr/^lines_tenant_limited_requests_total\{bound="tickets"\} 3$/m, 'it is counted';
};

subtest 'by default 100' => sub {
    my $one = $shop->account('many');
    $redis->cli('ZADD', k($one, 'tickets:open'), map { (1, "x$_") } 1 .. 99);
    $redis->cli('HSET', k($one, "ticket:x$_"), status => 'OPEN') for 1 .. 99;
    is wish($one, 'accounts')->status, 200, 'the hundredth';
    refused(wish($one, 'account'), 'no more');
};

subtest 'many at once' => sub {
    my $one = $shop->account('race');
    my @got = map { ref $_ ? $_->[0] : $_ } $scripts->race(200, 8, sub ($s, $i) {
        $s->run(ticket_add => [k($one, "ticket:9$i"), map({ k($one, $_) } qw(tickets ev t tickets:open), "never:9$i")], "9$i", '', 7);
    });
    is scalar(grep { $_ eq 'added' } @got), 7,   'never more than there may be';
    is scalar(grep { $_ eq 'full' } @got),  193, 'all others are refused';
    is $redis->cli(ZCARD => k($one, 'tickets')), 7, 'so many are there';
};

subtest 'a ticket that the release before has moved' => sub {
    my $one = $shop->account('older');
    my @ids = map { wish($one, 'any')->json('/data/id') } 1 .. 25;
    $redis->cli(HSET => k($one, "ticket:$_"), status => 'FULFILLED') for @ids[2 .. 24];
    my $tries = 0;
    until (wish($one, 'few')->status == 200 || ++$tries > 10) { }
    cmp_ok $tries, '<=', 2, 'counts no more, once it is looked at: ten at a time';
    is $redis->cli(ZCARD => k($one, 'tickets:open')), 3, 'those are counted that are open';
};

subtest 'a deleted account leaves nothing' => sub {
    my $one = $shop->account('quitter');
    wish($one, 'few') for 1 .. 4;
    is $nginx->admin(DELETE => 'accounts/quitter')->status, 200, 'deleted';
    is_deeply [grep { !/:deleted$/ } $redis->client->keys('lines:{a:quitter}:*')], [], 'nothing of it is left';
};

$t->done;
