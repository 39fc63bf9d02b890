# The runbook: each alert is in it, and what it says to type does what it says, as it stands there.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines::Once redis => 'it moves from one Redis to another';
use Test::Lines qw(wait_for);
use Test::Lines::Account;

my $t    = Test::Lines->new;
my $text = path($t->root, 'conf/runbook.md')->slurp;
my $shop = Test::Lines::Account->new(t => $t, webhooks => 1);
my $old  = $shop->redis;
my $new  = $t->redis;

my $nginx = $shop->nginx(plans => $shop->plans . "lines_plan bulk phone included=100000;\nlines_plan bulk email included=10;\n");
my $key   = $nginx->workspace(one => {plan => 'bulk'});

my ($head, %section) = split /^## (.*)\n/m, $text;
my @typed = commands($head);

sub commands ($part) { $part =~ /^    \$ (.*)$/mg }

# a shell of its own, with what the head of the runbook sets; nginx -t and -s are for the nginx of this test
sub typed ($what, %env) {
    my @commands = commands($section{$what} // die "there is no section \"$what\"\n");
    my @wanted   = $env{only} ? @commands[@{delete $env{only}}] : @commands;

    my @prelude = ('set -eu', 'nginx() { case $1 in -t) ;; -s) kill -HUP ' . $nginx->process->pid . ';; esac; }');
    my $process = $t->spawn(
        runbook => ['bash', '-c', join "\n", @prelude, @typed, map {"$_\necho"} @wanted],
        env => {ADMIN => $nginx->url('/_lines/admin'), TOKEN_FILE => $t->admin_token_file, LD_PRELOAD => undef, %env}
    );
    my $before = length $process->output;

    return ($process, sub { substr $process->output, $before });
}

sub answers ($what, %env) {
    my ($process, $output) = typed($what, %env);
    is $process->wait_end(60), 0, "typed as it stands there: $what" or diag $output->();
    return map { decode_json($_) } grep {/^\{/} split /\n/, $output->();
}

subtest 'alerts' => sub {
    my @alerts = path($t->root, 'conf/prometheus/lines.rules.yml')->slurp =~ /- alert: (\w+)/g;
    my @named  = $text =~ /`(Lines\w+)`/g;
    is_deeply [sort @named], [sort @alerts], 'each is in it, once, and none that there is not';
};

subtest 'stuck' => sub {
    my $two  = $shop->workspace('two');
    my $made = $shop->request($two)->json;
    $shop->sandbox->pay($made->{invoiceId});
    $shop->wait_record('two', $made->{line}{_id}, 'provisioning');
    $shop->sandbox->fault(path => '/v1/credit_notes', method => 'POST', kind => '400', times => 1000);
    $nginx->admin(POST => "lines/$made->{line}{_id}/status", {status => 'failed'});

    my ($op) = map { $_->{id} } @{wait_for(sub { my $l = $nginx->admin(GET => 'operations?state=stuck')->json('/operations'); @$l && $l }, 60, 'a refund that is stuck')};

    my ($list, $tried, $said) = answers('Operations are stuck', OPERATION => $op);
    is_deeply [map { @$_{qw(id stuck)} } @{$list->{operations}}], [$op, 'refund_refused'], 'it is listed, with its reason';
    is $tried->{stuck}, 'refund_refused', 'tried again, in vain';
    is $said->{step}, 'done', 'and at an end by what was said' or diag explain $said;
    $shop->sandbox->clear_faults;
    $nginx->allow(qr/is stuck: refund_refused/);
};

subtest 'a key' => sub {
    my $leaked = $nginx->workspace('three');
    my ($list) = answers('A key has leaked', only => [0], WORKSPACE => 'three');
    my $id = $list->{keys}[0]{id};

    answers('A key has leaked', WORKSPACE => 'three', KEY => $id);
    wait_for(sub { $nginx->get('/api/lines/by-user', $nginx->bearer($leaked))->status == 401 }, 10, 'its end');
    pass 'is revoked';
};

subtest 'numbers, audit, database' => sub {
    my ($added, $list) = answers('Numbers run out');
    is $added->{added}, 1, 'a number is added';
    is $list->{counts}{free}, 1, 'and counted';
    ok exists((answers('The auditor disagrees'))[-1]{disagreements}), 'what the auditor found';
    is((answers('Redis was emptied, exchanged or restored'))[-1]{status}, 'ok', 'the database is confirmed');
    is((answers('Redis has failed over'))[0]{disagreements} ? 1 : 0, 1, 'the auditor again');
};

subtest 'to another Redis, without losing a write' => sub {
    my $conf = path($nginx->home, 'nginx.conf');
    my ($process, $output) = typed('Moving to another Redis', CONF => "$conf",
        OLD_HOST => '127.0.0.1', OLD_PORT => $old->port, NEW_HOST => '127.0.0.1', NEW_PORT => $new->port);

    my (@made, %other);

    while ($process->alive) {
        my $answer = $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'L', channelType => 'phone'}, $nginx->bearer($key));
        if   ($answer->status == 201) { push @made, $answer->json('/line/_id') }
        else                          { $other{$answer->status . ($answer->header('Retry-After') ? ', later' : '')}++ }
    }

    is $process->status, 0, 'typed as it stands there' or diag $output->();
    my ($database) = map { decode_json($_) } $output->() =~ /(\{"status":"(?:ok|held)".*\})$/mg;    # perhaps behind a 503
    is $database->{status}, 'ok', 'it is the same database';
    like $output->(), qr/^appendfsync\nalways$/m, 'with the settings of redis.conf';
    is_deeply [grep { $_ ne '503, later' && $_ ne '409' } keys %other], [], 'meanwhile clients were told to come back, and no worse' or diag explain \%other;

    $shop->redis($nginx->redis($new)->redis);
    wait_for(sub { $nginx->get('/api/lines/by-user', $nginx->bearer($key))->status == 200 }, 30, 'service');
    my %there = map { $_->{_id} => 1 } @{$nginx->get('/api/lines/by-user', $nginx->bearer($key))->json('/lines')};
    cmp_ok scalar @made, '>', 0, @made . ' lines were made on the way';
    is_deeply [grep { !$there{$_} } @made], [], '... and all are there';

    is $old->cli('ROLE')->[0], 'slave', 'the old one follows';
    $old->stop;
    is $nginx->post_json('/api/line-requests', {firstName => 'Ada', lastName => 'L', channelType => 'email', email => 'a@example.com'}, $nginx->bearer($key))->status,
      201, 'and may go';
};

$t->done;
