# What a request costs in Redis: its commands, in the trips that follow each other.  What need not be asked, or waited for,
# does not come back unseen.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Account;

plan skip_all => 'this nginx writes no debug log' unless qx{@{[$ENV{LINES_NGINX} || 'nginx']} -V 2>&1} =~ /--with-debug/;

my $t    = Test::Lines->new;
my $told = $t->upstream(status => 200);

# The first use of a key on a day is told, by the way.
# "a b | c ~d": a and b are sent together, c once both are answered; at some time d, which nobody waits for
my %without = (
    included => 'key_read | idem_read pending_get tenant_places | due_put ix_put prov_put | line_begin ~due_rem ~key_used',
    paid     => 'key_read | idem_read pending_get tenant_places | database_check due_put ix_put | line_begin | request_sent ~due_rest ~key_used',
    read     => 'line_shown',
    settled  => 'line_shown | poll_take | op_claim | settled_get | prov_put | request_paid | line_read ~due_add ~due_rem',
    preview  => 'key_read | inv_count window_read | preview_issue ~key_used',
    confirm  => 'bound_read idem_read line_exists purchase_get tenant_offer token_get | database_check due_put ix_put | confirm_begin'
      # of a cluster the inventory may be another server's, whose clock is asked
      . ' | op_step' . (($ENV{LINES_TEST_REDIS} // '') eq 'cluster' ? ' | inv_now' : '')
      . ' | inv_lease | op_step | op_step | inv_assign | op_step | confirm_end ~due_rem ~inv_settle ~ix_last',
);

# somebody is told of the line, and the last write of a step is the next one's begin
my %with = (
    %without,
    included => 'key_read | idem_read pending_get tenant_places | due_put ix_put prov_put | line_begin | told ~due_rem ~key_used',
    settled  => 'line_shown | poll_take | op_claim | settled_get | prov_put | request_paid | told | line_read ~due_add ~due_rem',
    confirm  => $without{confirm} =~ s/inv_assign/inv_assign | op_step/r,
);

# by who asks something for a request or an operation: what looks around by itself has no name
sub trips ($log) {
    my (@trips, @forgotten, %left);
    for (split /\n/, $log) {
        if (my ($who, $what, $how) = /lines store: (\S+) asks (\S+), how:(\d)/) {
            next if $who eq $what;
            if ($how == 3) {
                push @forgotten, "~$what";
                next;
            }
            push @trips, [] unless %left;
            push @{$trips[-1]}, $what;
            $left{"$who $what"}++;
        }
        elsif (/lines store: (\S+): (\S+) answered/ && $left{"$1 $2"}) {
            delete $left{"$1 $2"} unless --$left{"$1 $2"};
        }
    }
    return join ' ', join(' | ', map { join ' ', sort @$_ } @trips), sort @forgotten;
}

subtest 'the count' => sub {
    my $log = join "\n", 'lines store: r asks a, how:0', 'lines store: r asks b, how:2', 'lines store: s asks s, how:0', 'lines store: r: b answered, type:1',
      'lines store: o asks f, how:3', 'lines store: r: a answered, type:1', 'lines store: r asks c, how:1';
    is trips($log), 'a b | c ~f';
};

for my $provisioner (undef, $told->url) {
    my $n       = $provisioner ? 2 : 1;
    my $cost    = $provisioner ? \%with : \%without;
    my $shop    = Test::Lines::Account->new(t => $t, operations => 'sweep=1h walk=1h', $provisioner ? (provisioner => $provisioner) : ());
    my $nginx   = $shop->nginx(debug => 1);

    # what is asked from the act on until it is told that all is at rest
    my $costs = sub ($name, $act, $status, $rest) {
        my $from = length $nginx->error_log;
        my $answer = $act->();
        is $answer->status, $status or diag $answer->to_string;
        wait_for(sub { substr($nginx->error_log, $from) =~ $rest }, 30, "$rest");
        is trips(substr $nginx->error_log, $from), $cost->{$name}, $name;
        return $answer;
    };

    subtest +($provisioner ? 'with' : 'without') . ' a provisioner' => sub {
        my $key = $shop->workspace("included$n", plan => 'growth');
        my $line = $costs->(included => sub { $shop->request($key, channelType => 'phone', type => 'purchased') }, 201, $provisioner ? qr/leaves request\.done/ : qr/asks due_rem/);
        $line = $line->json('/line/_id');
        $costs->(read => sub { $shop->read($key, $line) }, 200, qr/line_shown answered/);

        $key = $shop->workspace("paid$n");
        my $answer = $costs->(paid => sub { $shop->request($key) }, 201, qr/leaves request\.await/);
        $shop->sandbox->pay($answer->json('/invoiceId'));
        $costs->(settled => sub { $shop->read($key, $answer->json('/line/_id')) }, 200, qr/leaves request\.done/);

        $shop->numbers(1, 414 + $n);
        my $account = $shop->account("one$n");
        my $token   = $costs->(preview => sub { $shop->preview($account) }, 200, qr/preview_issue answered/)->json('/preview_token');
        my $from    = length $nginx->error_log;
        $costs->(confirm => sub { $shop->confirm($account, $token, key => 'k') }, 200, qr/leaves purchase\.done/);
        is_deeply [substr($nginx->error_log, $from) =~ /lines billing \S+: (\w+) "\S+" try/g], [qw(customer subscribe)], '... and billing no more than whom, and for what';
    };
}

$t->done;
