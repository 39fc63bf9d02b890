package Test::Lines::Paid;
use Mojo::Base -base, -signatures;

use Mojo::JSON qw(decode_json);
use Test::Lines ();
use Test::Lines::Judge;
use Test::More ();

=head1 NAME

Test::Lines::Paid - nginx with billing: what the tests of payments share

=head1 SYNOPSIS

    my $paid = Test::Lines::Paid->new(t => $t);
    my $nginx = $paid->nginx(workers => 2);      # with Redis, sandbox, webhook
    my $key   = $paid->workspace('one', customer => 'cus_card');
    my $line  = $paid->request($key)->json('/line/_id');
    $paid->sandbox->pay($paid->invoice($line));
    $paid->wait_status($key, $line, 'provisioning');
    $paid->agree;              # billing and lines, numbers and operations

=head1 DESCRIPTION

The plan of the workspaces is "paid": no line is included, phone and email
have a price. C<operations> is what C<lines_operations> says; C<via> (a port)
stands before the sandbox; C<webhooks> 0 leaves the webhook out;
C<provisioner> is the URL of one; C<budget> how long a call is repeated, or waits to be sent; C<rate> what the fleet
may call, empty for the default.

=cut

has [qw(t provisioner via main)];
has operations => 'sweep=300ms retry=300ms due=2s lease=2s absent=1s walk=1s';
has webhooks   => 1;
has budget     => '1s';
has rate       => 'rate=1000r/s';
has deployment => 'test';
has redis      => sub ($self) { $self->t->redis };
has sandbox    => sub ($self) { $self->t->sandbox };
has nginxes    => sub { [] };

sub plans ($self) {
    return <<'END';
lines_plan paid phone price=price_phone;
lines_plan paid email price=price_email;
lines_plan growth phone included=1 price=price_phone;
lines_plan growth email price=price_email;
lines_plan starter phone included=1;
lines_plan starter email price=price_email;
END
}

sub http ($self) {
    my $key  = $self->t->file('stripe.key', "sk_test_lines\n");
    my $port = $self->via // $self->sandbox->port;

    my $text = <<"END";
    lines_billing /_lines/billing/ key_file=$key deployment=@{[$self->deployment]} plain=loopback budget=@{[$self->budget]} timeout=6s @{[$self->rate]};
    lines_billing_plan growth price=price_growth;
    lines_billing_plan starter price=price_starter;
    lines_operations @{[$self->operations]};
    upstream billing { server 127.0.0.1:$port; keepalive 8; }
END
    $text .= "    lines_provisioner /_lines/provisioner plain=loopback;\n" if $self->provisioner;

    return $text;
}

sub server ($self) {
    my $secret = $self->t->file('webhook.secret', "whsec_test\n");

    my $call = <<'END';
            internal;
            proxy_intercept_errors off;
            proxy_next_upstream off;
            proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
            proxy_pass_request_headers on;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host api.stripe.com;
            proxy_connect_timeout 1s;
            proxy_send_timeout 2s;
            proxy_read_timeout 2s;
            subrequest_output_buffer_size 64k;
END

    my $text = <<"END";
        location = /webhooks/stripe { lines_billing_webhook secret_file=$secret; }
        location /_lines/billing/ {
$call            proxy_set_header Authorization "Bearer \$lines_billing_key";
            proxy_pass http://billing/;
        }
END
    $text .= "        location /_lines/provisioner {\n$call            proxy_pass @{[$self->provisioner]};\n        }\n"
      if $self->provisioner;

    return $text;
}

sub nginx ($self, %options) {
    my $http   = delete $options{http}   // '';
    my $server = delete $options{server} // '';

    my $nginx = $self->t->nginx(
        redis => $self->redis,
        plans => $self->plans,
        http  => $self->http . $http,
        server => $self->server . $server,
        ($self->main ? (main => $self->main) : ()),
        %options
    );

    $self->sandbox->webhooks(to => $nginx->url('/webhooks/stripe')) if $self->webhooks && !@{$self->nginxes};
    push @{$self->nginxes}, $nginx;

    return $nginx;
}

sub first ($self) { $self->nginxes->[0] }

sub workspace ($self, $id, %data) {
    my $customer = $data{customer} // 'cus_card';
    return $self->first->workspace($id, {plan => 'paid', customer => $customer, %data});
}

my $count = 0;

sub body ($self, %more) {
    $count++;
    return {
        firstName => 'Ada', lastName => "Number $count", channelType => 'email',
        email => "ada$count\@example.com", %more
    };
}

sub request ($self, $key, %more) {
    my $headers = delete $more{headers} // {};
    my $nginx   = delete $more{nginx}   // $self->first;
    return $nginx->post_json('/api/line-requests', $self->body(%more), $nginx->bearer($key, %$headers));
}

sub action ($self, $key, $line, $action, $nginx = $self->first) {
    return $nginx->post_json("/api/line-requests/$line", {action => $action}, $nginx->bearer($key));
}

sub read ($self, $key, $line, $nginx = $self->first) {
    return $nginx->get("/api/line-requests/$line", $nginx->bearer($key));
}

# as Redis knows them, past any reconciling
sub record ($self, $tenant, $line) {
    return $self->redis->line("w:$tenant", $line);
}

sub operation ($self, $tenant, $id) {
    return {@{scalar $self->redis->cli('HGETALL', "lines:{w:$tenant}:op:$id")}};
}

sub wait_record ($self, $tenant, $line, $status, $seconds = 30) {
    my $seen = '';
    eval {
        Test::Lines::wait_for(sub {
            $seen = $self->record($tenant, $line)->{status} // '';
            return $seen eq $status;
        }, $seconds, "line $line to be $status");
        1;
    } or die "$@ (it is $seen)";
    return $self->record($tenant, $line);
}

sub wait_done ($self, $tenant, $id, $seconds = 30) {
    Test::Lines::wait_for(sub { ($self->operation($tenant, $id)->{step} // '') eq 'done' }, $seconds, "operation $id to end");
    return $self->operation($tenant, $id);
}

=head2 disagreements

What is wrong, a sentence each: L<Test::Lines::Judge> says what is looked at.
Ask only once all is at rest.

    is_deeply [$paid->disagreements], [];
    is_deeply [$paid->disagreements(except => ['hint'])], [];

=head2 agree

    $paid->agree;
    $paid->agree('all is at rest again', seconds => 30, except => ['hint']);

A test of its own: waits (60 s) until nothing is wrong, or fails with what is.

=cut

has judge => sub ($self) {
    Test::Lines::Judge->new(redis => $self->redis, sandbox => $self->sandbox, deployment => $self->deployment);
};

sub disagreements ($self, @options) { $self->judge->findings(@options) }

sub agree ($self, $what = 'billing, lines, numbers and operations agree', %options) {
    my $seconds = delete $options{seconds} // 60;
    my @wrong;

    eval { Test::Lines::wait_for(sub { @wrong = $self->disagreements(%options); !@wrong }, $seconds, 'agreement') };

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::is_deeply(\@wrong, [], $what);
}

1;
