#!/usr/bin/env perl
# What Redis keeps of a tenant with two lines and a key: bytes of each kind of
# key, and of all.  LINES_DEFAULTS: with Redis' own settings instead of those of
# conf/redis.conf.
#
# usage: LINES_MODULE=… LINES_BUILD=… [LINES_DEFAULTS=1] perl t/bench/memory.pl [tenants]
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(sum0);
use Mojo::JSON qw(encode_json);
use Test::Lines qw(concurrently);
use Test::More ();

my $tenants = shift || 1000;

my $t     = Test::Lines->new(timeout => 3600);
my $redis = $t->redis($ENV{LINES_DEFAULTS} ? (conf => "hash-max-listpack-value 64\nstream-node-max-bytes 4096") : ());
my $nginx = $t->nginx(redis => $redis);
my %body  = (
    firstName => 'Margaret', lastName => 'Hamilton', channelType => 'phone',
    zipcode => '94110', state => 'CA', forwardCallsTo => '+14155550123'
);

sub made ($i) {
    # as Clerk names organizations
    my $id  = sprintf 'org_2abcdefghijklmnopqrstu%05d', $i;
    my $key = $nginx->workspace($id, {customer => sprintf 'cus_QabcdefghiJ%05d', $i});

    for my $n (1, 2) {
        my $answer = $nginx->post_json('/api/line-requests', \%body, $nginx->bearer($key));
        die $answer->to_string if $answer->status != 201;

        my $line = $answer->json('/line/_id');
        $answer = $nginx->admin(POST => "lines/$line/status", {status => 'active', phone => sprintf '+1415%06d%d', $i, $n});
        die $answer->to_string if $answer->status != 200;
    }
}

# what is every tenant's: the operators' log is bounded, and not among it
sub used () {
    $redis->client->del('lines:{admin}:log');
    return $redis->client->info('memory')->{used_memory};
}

# scripts, and what grows once
made(0);

my $before = used();
my %before = map { $_ => 1 } $redis->client->keys('*');

made($_) for 1 .. $tenants;

my $after = used();

my (%bytes, %count);

for my $key ($redis->client->keys('*')) {
    next if $before{$key};
    my $kind = $key =~ s/\{[wa]:[^}]*\}/{TENANT}/r =~ s/:[0-9a-f]{24}$/:ID/r =~ s/\{(k|ix):[^}]*\}/{$1:ID}/r;
    $bytes{$kind} += $redis->client->memory_usage($key, 'SAMPLES', 0) // 0;
    $count{$kind}++;
}

printf "%-32s %8s %8s %10s\n", 'key', 'each', 'number', 'of a tenant';
printf "%-32s %8.0f %8.2f %10.0f\n", $_, $bytes{$_} / $count{$_}, $count{$_} / $tenants, $bytes{$_} / $tenants
    for sort { $bytes{$b} <=> $bytes{$a} } keys %bytes;
printf "%-32s %28.0f\n", 'MEMORY USAGE of all', sum0(values %bytes) / $tenants;
printf "%-32s %28.0f\n", 'used_memory', ($after - $before) / $tenants;

$t->done;
