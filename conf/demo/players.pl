#!/usr/bin/env perl

# Plays, for the demo, who else takes part: Clerk, the probe of lines, an
# application behind the gateway, and the provisioner, who asks the admin API
# for the lines to be provisioned and reports those of the demo's own
# workspaces as active.

use Mojo::Base -strict, -signatures;

use Getopt::Long qw(GetOptions);
use IPC::Open2 qw(open2);
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Mojo::Server::Daemon;
use Mojo::UserAgent;
use Mojo::Util qw(b64_encode);
use Mojolicious;
use POSIX ();

my %opt = (listen => [], workspace => []);

GetOptions(\%opt, 'listen=s@', 'port-file=s', 'key=s', 'kid=s', 'issuer=s', 'party=s', 'admin=s', 'token-file=s',
    'workspace=s@')
  or exit 2;

my $parent = getppid;
my $app    = Mojolicious->new;

$app->log->level('error');

sub base64url ($bytes) { b64_encode($bytes, '') =~ tr{+/=}{-_}dr }

sub openssl (@args) {
    open my $out, '-|', 'openssl', @args or die "openssl: $!\n";
    binmode $out;
    local $/;
    my $text = <$out>;
    close $out or die "openssl @args failed\n";
    return $text;
}

# Clerk: a key set, and session tokens for the asking

my ($modulus) = openssl('rsa', '-in', $opt{key}, '-noout', '-modulus') =~ /Modulus=(\w+)/;

my $keys = {
    keys => [{
        kty => 'RSA', use => 'sig', alg => 'RS256', kid => $opt{kid},
        n   => base64url(pack 'H*', $modulus),
        e   => 'AQAB'
    }]
};

sub token ($org) {
    my $now    = time;
    my $claims = {
        azp => $opt{party}, iss => $opt{issuer}, sub => 'user_demo', sid => 'sess_demo', v => 2,
        iat => $now, nbf => $now - 5, exp => $now + 60,
        (length $org ? (o => {id => $org, rol => 'admin', slg => $org}) : ())
    };
    my $text = join '.', map { base64url(encode_json($_)) } {alg => 'RS256', kid => $opt{kid}, typ => 'JWT'}, $claims;

    my $pid = open2(my $out, my $in, 'openssl', 'dgst', '-sha256', '-sign', $opt{key});
    binmode $out;
    print $in $text;
    close $in;
    local $/;
    my $signature = <$out>;
    waitpid $pid, 0;

    return "$text." . base64url($signature);
}

my $r = $app->routes;

$r->get('/.well-known/jwks.json' => sub ($c) { $c->render(json => $keys) });

$r->get('/token' => sub ($c) { $c->render(text => token($c->param('org') // $opt{workspace}[0]) . "\n") });

# the probe: every line of the demo is well

$r->any('/probe' => sub ($c) { $c->render(json => {status => 'healthy', failures => []}) });

# the application: says who nginx says that is calling

$r->any('/app/*rest' => {rest => ''} => sub ($c) {
    my $headers = $c->req->headers;
    $c->render(json => {tenant => $headers->header('X-Tenant'), plan => $headers->header('X-Tenant-Plan')});
});

# the provisioner

my $ua    = Mojo::UserAgent->new(connect_timeout => 5, request_timeout => 10);
my %mine  = map { $_ => 1 } @{$opt{workspace}};
my $auth  = {Authorization => 'Bearer ' . path($opt{'token-file'})->slurp =~ s/\s+$//r};
my $phone = int rand 1_000_000;
my %since;

$ua->proxy->not([]);

sub report ($line) {
    my %status = (status => 'active');

    $status{phone} = sprintf '+1415%07d', 2_000_000 + $phone++ % 7_999_999
      if ($line->{channelType} // '') eq 'phone' && !$line->{phone};

    return $ua->post_p("$opt{admin}/lines/$line->{_id}/status" => $auth => json => \%status);
}

my $busy;

# a line stays in provisioning for some seconds, so that it can be seen there
Mojo::IOLoop->recurring(1 => sub {
    POSIX::_exit(0) if getppid != $parent;
    return if $busy++;

    $ua->get_p("$opt{admin}/lines?status=provisioning" => $auth)->then(sub ($tx) {
        my $lines = ($tx->res->json // {})->{lines} // [];
        my %found = map { $_->{_id} => $_ } grep { $mine{$_->{workspaceId} // ''} } @$lines;

        delete @since{grep { !$found{$_} } keys %since};
        $since{$_} //= time for keys %found;

        return Mojo::Promise->all_settled(map { report($found{$_}) } grep { time - $since{$_} >= 3 } keys %found)
          if %found;
    })->catch(sub { })->finally(sub { $busy = 0 });
});

my $daemon = Mojo::Server::Daemon->new(app => $app, listen => @{$opt{listen}} ? $opt{listen} : ['http://127.0.0.1:0'], silent => 1)->start;

open my $file, '>', "$opt{'port-file'}.new" or die "$opt{'port-file'}: $!\n";
print $file $daemon->ports->[0], "\n";
close $file;
rename "$opt{'port-file'}.new", $opt{'port-file'};

$SIG{INT} = $SIG{TERM} = sub { Mojo::IOLoop->stop };
Mojo::IOLoop->start;
