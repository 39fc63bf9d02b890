# Where the module's own calls may go: over verified TLS, or plain to this machine where the directive says so.  What
# arrives elsewhere is looked at from there: nothing.  t/34-billing-config.t has what nginx -t says beforehand.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::URL;
use Mojo::Util qw(url_escape);
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::Tls;

my $module = $ENV{LINES_MODULE_FAILPOINTS};
plan skip_all => 'needs a build with failpoints (LINES_MODULE_FAILPOINTS)' unless $module && -e $module;

my $t    = Test::Lines->new;
my $dir  = $t->dir;
my $tls  = Test::Lines::Tls->new(t => $t)->ca('ca')->ca('evilca');
my $key  = $t->file('stripe.key', "sk_live_secret\n");
my $sock = "$dir/local.sock";

my $clerk = Test::Lines::Clerk->new(t => $t);

# what listens: it keeps all that it is sent
my %answer = (json => $clerk->jwks('first'));
my %server = (
    plain    => $t->upstream(%answer),
    good     => $t->upstream(%answer, tls => $tls->certificate('ca',     'good',     'api.stripe.com')),
    forged   => $t->upstream(%answer, tls => $tls->certificate('evilca', 'forged',   'api.stripe.com')),
    misnamed => $t->upstream(%answer, tls => $tls->certificate('ca',     'misnamed', 'elsewhere.example.com')),
);
my %port = map { $_ => $server{$_}->port } keys %server;

# 192.0.2.1 is nobody's; not a packet may go there
my $http = sub ($plain) {
    return <<"END";
lines_billing /_lines/billing/ key_file=$key deployment=prod $plain;
lines_provisioner /_lines/provisioner/ $plain;
lines_probe /_lines/probe/ $plain;
lines_clerk issuer=https://clerk.example.com jwks=/_lines/jwks/ $plain;

upstream local   { server 127.0.0.1:$port{plain}; server unix:$sock; }
upstream mixed   { server 127.0.0.1:$port{plain}; server 192.0.2.1:$port{plain}; }
upstream shared  { server 127.0.0.1:$port{good}; keepalive 4; }
@{[map {"upstream own_$_ { server 127.0.0.1:$port{good}; keepalive 4; }\n"} qw(billing provisioner probe jwks)]}

map \$uri \$to {
    default          https://127.0.0.1:$port{good};
    ~/forged\$       https://127.0.0.1:$port{forged};
    ~/misnamed\$     https://127.0.0.1:$port{misnamed};
    ~/plain\$        http://127.0.0.1:$port{plain};
    ~/plain6\$       http://[::ffff:127.0.0.1]:$port{plain};
    ~/socket\$       http://unix:$sock:;
    ~/local\$        http://local;
    ~/mixed\$        http://mixed;
    ~/mixedtls\$     https://mixed;
    ~^/_lines/(?<kind>\\w+)/own\$ https://own_\$kind;
    ~/shared\$       https://shared;
    ~/away\$         http://192.0.2.1:$port{plain};
    ~/awaytls\$      https://192.0.2.1:$port{plain};
    ~/away6\$        http://[2001:db8::1]:$port{plain};
    ~/almost\$       http://[::ffff:192.0.2.1]:$port{plain};
    ~/name\$         http://localhost.example:$port{plain};
}
server {
    listen unix:$sock;
    location / { proxy_pass http://127.0.0.1:$port{plain}; proxy_set_header X-By socket; }
}
END
};

my $common = <<'END';
    internal;
    proxy_next_upstream off;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer sk_live_literal";
    proxy_connect_timeout 20s;
    subrequest_output_buffer_size 256k;
END

my $verified = <<"END";
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate $dir/ca.pem;
    proxy_ssl_server_name on;
    proxy_ssl_name api.stripe.com;
END

sub server ($more) {
    my $literal = <<"END";
    if (\$uri ~ "/if-plain\$") { proxy_pass http://127.0.0.1:$port{plain}; }
    if (\$uri ~ "/if-grpc\$")  { grpc_pass grpc://127.0.0.1:$port{plain}; }
    if (\$uri ~ "/if-uwsgi\$") { uwsgi_pass uwsgi://127.0.0.1:$port{plain}; }
END

    my $early = 'set $early "key=$lines_billing_key"; proxy_set_header Authorization "Bearer $lines_billing_key"; proxy_set_header X-Early $early;';

    return <<"END" . join '', map {"location /_lines/$_/ { $common $more $literal proxy_pass \$to; }\n"} qw(billing provisioner probe jwks);
location /_lines/billing/v1/ { @{[$common =~ s/proxy_set_header Authorization.*//r]} $more $early proxy_pass \$to; }
resolver 127.0.0.1:1;
location = /debug { lines_billing_debug; }
location = /careless { proxy_pass https://shared; proxy_http_version 1.1; proxy_set_header Connection ""; }
END
}

my @kinds = ([lines_billing => 'billing'], [lines_provisioner => 'provisioner'], [lines_probe => 'probe'], [lines_clerk => 'jwks']);

sub start ($plain, $settings, %more) {
    my $nginx = $t->nginx(%more, module => 'failpoints', debug => 1, http => $http->($plain), server => server($settings));
    $nginx->allow(qr/\[alert\].* lines: "lines_\w+": a call to "[^"]+" would .*: it is not sent\b/);
    return $nginx;
}

sub arrived { return map { @{$_->requests} } values %server }

sub call ($nginx, $kind, $case) {
    my $url = Mojo::URL->new('/debug')->query(op => 'plain', uri => "/_lines/$kind/$case", method => 'POST', body => 'secret=line');
    $_->clear for values %server;
    return $nginx->get("$url")->json // {};
}

sub passes ($nginx, $case, $where) {
    for (@kinds) {
        my ($directive, $kind) = @$_;
        is call($nginx, $kind, $case)->{transport}, 'complete', "$directive: $case" or diag $nginx->error_log =~ /^(.*\[(?:alert|error)\].*)$/mg;
        my @got = @{$server{$where}->requests};
        is_deeply [map { $_->{body} } @got], ['secret=line'], '... and arrives';
        is scalar(arrived()), 1, '... there only';
    }
}

sub refused ($nginx, $case, $why) {
    for (@kinds) {
        my ($directive, $kind) = @$_;
        my $mark = $nginx->log_mark;
        is call($nginx, $kind, $case)->{transport}, 'unsent', "$directive: $case is refused";
        is scalar(arrived()), 0, '... and nothing arrives anywhere';
        like $nginx->error_log($mark), qr{\[(?:alert|info)\].* lines: "$directive": a call to "/_lines/$kind/" .*$why.*: it is not sent},
          '... and the log names directive and location';
        unlike $nginx->error_log($mark), qr/ connect to /, '... and there was no connection';
    }
}

# a connection that nginx itself gives up, having verified
sub fails ($nginx, $case, $why) {
    for (@kinds) {
        my $mark = $nginx->log_mark;
        is call($nginx, $_->[1], $case)->{transport}, 'unsent', "$_->[0]: $case";
        is scalar(arrived()), 0, '... and nothing arrives';
        like $nginx->error_log($mark), $why, '... for that reason';
        unlike $nginx->error_log($mark), qr/\[alert\]/, '... which is no alert';
    }
}

my $name = qr/a name that is yet to be resolved/;
my $away = qr/would go to other than a loopback address or a socket, without verified TLS/;

subtest 'without the parameter' => sub {
    my $nginx = start('', $verified);

    passes $nginx, 'tls', 'good';
    like $nginx->error_log, qr/ connect to 127\.0\.0\.1:$port{good}/, 'the log shows connections';
    fails $nginx, 'forged',   qr/upstream SSL certificate verify error/;
    fails $nginx, 'misnamed', qr/upstream SSL certificate does not match "api\.stripe\.com"/;

    refused $nginx, $_, qr/over plain http, without "plain=loopback"/
      for qw(plain plain6 socket local mixed away away6 almost name if-plain);
    refused $nginx, $_, qr/would not go through "proxy_pass"/ for qw(if-grpc if-uwsgi);

    $nginx->quit;
};

subtest 'with it' => sub {
    my $nginx = start('plain=loopback', '');

    passes $nginx, $_, 'plain' for qw(plain plain6 socket local local if-plain);
    passes $nginx, 'tls', 'good';
    refused $nginx, $_, $away for qw(away awaytls away6 almost);
    refused $nginx, 'name', $name;
    refused $nginx, $_, qr/would not go through "proxy_pass"/ for qw(if-grpc if-uwsgi);

    # each server of an upstream is looked at when it is its turn
    my (%ends, $mark);
    $mark = $nginx->log_mark;
    $ends{call($nginx, 'billing', 'mixed')->{transport}}++ for 1 .. 6;
    is_deeply \%ends, {complete => 3, unsent => 3}, 'an upstream with servers of both kinds';
    like $nginx->error_log($mark), qr/$away/, 'and the log says so';
    unlike $nginx->error_log($mark), qr/connect to 192\.0\.2\.1/, 'without a packet to the other one';

    $nginx->quit;
};

subtest 'an alert a minute' => sub {
    my $nginx = start('', $verified);
    my $mark  = $nginx->log_mark;
    call($nginx, $_, 'plain') for ('billing') x 5, 'probe';
    my @said = $nginx->error_log($mark) =~ /\[(\w+)\].* lines: "(lines_\w+)": a call to .*: it is not sent/g;
    is_deeply \@said, ['alert', 'lines_billing', ('info', 'lines_billing') x 4, 'alert', 'lines_probe'], 'of each location, however many calls there are';
    $nginx->quit;
};

subtest 'of two directives with one location the stricter counts' => sub {
    for my $strict (qw(provisioner probe)) {
        my $two = $http->('plain=loopback') =~ s{^lines_(provisioner|probe) \K\S+ plain=loopback;}{'/_lines/both/' . ($1 eq $strict ? ';' : ' plain=loopback;')}germ;
        my $nginx = $t->nginx(module => 'failpoints', debug => 1, http => $two, server => server('') . "location /_lines/both/ { $common $verified proxy_pass \$to; }\n");
        $nginx->allow(qr/\[alert\].* lines: "lines_$strict": a call to "[^"]+" would .*: it is not sent\b/);

        my $mark = $nginx->log_mark;
        is call($nginx, 'both', 'plain')->{transport}, 'unsent', "lines_$strict has no \"plain=loopback\": refused";
        is scalar(arrived()), 0, '... and nothing arrives';
        like $nginx->error_log($mark), qr{\[alert\].* lines: "lines_$strict": a call to "/_lines/both/" would go over plain http}, '... with an alert that names it';
        is call($nginx, 'billing', 'plain')->{transport}, 'complete', 'another location has its own';

        $nginx->quit;
    }
};

subtest 'with it, and TLS that is verified' => sub {
    my $nginx = start('plain=loopback', $verified);

    passes $nginx, 'tls',   'good';
    passes $nginx, 'plain', 'plain';
    fails $nginx, 'forged', qr/upstream SSL certificate verify error/;
    refused $nginx, $_, $away for qw(away almost);

    $nginx->quit;
};

subtest 'a kept connection that another location made' => sub {
    my $nginx = start('', $verified);

    passes $nginx, 'own', 'good' for 1 .. 2;
    is scalar(() = $nginx->error_log =~ /keepalive peer: using connection/g), 4, 'its own are used again';

    is $nginx->get('/careless')->status, 200, 'one that nobody has verified is kept';

    my $mark = $nginx->log_mark;
    is call($nginx, 'billing', 'shared')->{transport}, 'unsent', 'and not used for a call';
    is scalar(arrived()), 0, 'nothing arrives';
    like $nginx->error_log($mark), qr/"lines_billing": .* a connection that another location keeps/, 'which is said';

    is call($nginx, 'billing', 'shared')->{transport}, 'complete', 'the next call has one of its own';
    is call($nginx, 'billing', 'shared')->{transport}, 'complete', 'which is kept for the next';

    $nginx->quit;
};

subtest 'the key' => sub {
    my $nginx = start('', $verified, redis => $t->redis);
    $nginx->allow(qr/\[alert\].* \$lines_billing_key is asked for before it is known where the call goes: it is empty\b/);

    $_->clear for values %server;
    $nginx->get('/debug?op=invoice&id=in_1');

    my ($got) = grep { $_->{path} =~ /in_1/ } @{$server{good}->requests};
    is $got->{headers}{authorization}, 'Bearer sk_live_secret', 'is sent where the call may go';
    is $got->{headers}{'x-early'}, 'key=', 'and is empty before that is known';
    like $nginx->error_log, qr/\[alert\].* \$lines_billing_key is asked for before/, 'which is said';

    $_->clear for values %server;
    is $nginx->get('/debug?op=invoice&id=plain')->json('/outcome'), 'unsent', 'a call that may not go';
    is scalar(grep { $_->{path} =~ /plain/ || ($_->{headers}{'x-early'} // '') eq 'key=sk_live_secret' } arrived()), 0, 'does not take it along';
    unlike $nginx->error_log, qr/\[(?!debug)\w+\].*sk_live_secret/, 'nor does it show in the log';

    $nginx->quit;
};

$t->done;
