package Test::Lines::Paid;
use Mojo::Base -base, -signatures;

use Mojo::JSON qw(decode_json);
use Test::Lines ();

=head1 NAME

Test::Lines::Paid - nginx with billing: what the tests of payments share

=head1 SYNOPSIS

    my $paid = Test::Lines::Paid->new(t => $t);
    my $nginx = $paid->nginx(workers => 2);      # with Redis, sandbox, webhook
    my $key   = $paid->workspace('one', customer => 'cus_card');
    my $line  = $paid->request($key)->json('/line/_id');
    $paid->sandbox->pay($paid->invoice($line));
    $paid->wait_status($key, $line, 'provisioning');
    $paid->agree;              # ledger and lines, operations and hints

=head1 DESCRIPTION

The plan of the workspaces is "paid": no line is included, phone and email
have a price. C<operations> is what C<lines_operations> says; C<via> (a port)
stands before the sandbox; C<webhooks> 0 leaves the webhook out;
C<provisioner> is the URL of one.

=cut

has [qw(t provisioner via main)];
has operations => 'sweep=300ms retry=300ms due=2s lease=2s absent=1s walk=1s';
has webhooks   => 1;
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
    lines_billing /_lines/billing/ key_file=$key deployment=@{[$self->deployment]} plain=loopback budget=1s timeout=6s;
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
    return {@{scalar $self->redis->cli('HGETALL', "lines:{w:$tenant}:line:$line")}};
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

What is wrong with the money, a sentence each: between the ledger, the lines
of all workspaces, and the operations. Ask only once all is at rest.

=cut

sub disagreements ($self) {
    my @wrong;
    my (%live, %paid, %back, %line_of);

    for my $entry ($self->sandbox->ledger) {
        my ($type, $id) = @{$entry}{qw(type subscription)};
        next unless defined $id;
        my $meta = $entry->{metadata} // {};
        $line_of{$id} //= "$meta->{tenant} " . ($meta->{line_request} // $meta->{operation} // '?') if $meta->{tenant} && $meta->{lines_deployment};

        $live{$id} = 1 if $type eq 'subscription';
        $paid{$id} += $entry->{amount} // 0 if $type eq 'charge';
        $back{$id} += $entry->{amount} // 0 if $type eq 'refund';
    }

    for my $id (keys %live) {
        my $status = $self->sandbox->call(GET => "/v1/subscriptions/$id")->json('/status') // 'canceled';
        delete $live{$id} if $status =~ /^(?:canceled|incomplete_expired)$/;
    }

    my (%known, %holders);

    for my $tenant (@{scalar $self->redis->cli('SMEMBERS', 'lines:{tenants}')}) {
        next unless $tenant =~ /^w:(.+)/;
        my $id = $1;
        my %places;

        for my $line (@{scalar $self->redis->cli('ZRANGE', "lines:{$tenant}:lines", 0, -1)}) {
            my $h   = $self->record($id, $line);
            my $sub = $h->{subscription} // '';
            my $who = "line $line of $tenant ($h->{status}, $h->{payment})";
            $known{"$tenant $line"} = 1;
            $places{"$h->{channel}_$h->{place}"}++ if length($h->{place} // '');

            push @wrong, "$who holds no place" if $h->{status} =~ /^(?:awaiting_payment|provisioning)$/ && !length($h->{place} // '');
            push @wrong, "$who holds a place"  if $h->{status} =~ /^(?:failed|canceled)$/ && length($h->{place} // '');

            next unless $h->{required} eq '1';

            my $net = ($paid{$sub} // 0) - ($back{$sub} // 0);

            if ($h->{status} =~ /^(?:provisioning|active)$/) {
                push @wrong, "$who was not paid for: $sub" unless $net > 0;
                push @wrong, "$who has no live subscription: $sub" unless $live{$sub} || $h->{released} || $h->{lapsed};
            }
            else {
                push @wrong, "$who was paid for: $sub, $net" if length $sub && $net != 0;
                push @wrong, "$who has a live subscription: $sub"
                  if $live{$sub} && $h->{status} =~ /^(?:failed|canceled)$/;
            }
        }

        my $t = {@{scalar $self->redis->cli('HGETALL', "lines:{$tenant}:t")}};
        for my $place (qw(phone_included phone_paid email_included email_paid)) {
            my ($is, $should) = ($t->{$place} || 0, $places{$place} || 0);
            push @wrong, "$tenant counts $is of $place, and has $should" if $is != $should;
        }

        my $pending = $self->redis->cli('GET', "lines:{$tenant}:pending");
        push @wrong, "$tenant is blocked by line $pending, which does not await payment"
          if defined $pending && $self->record($id, $pending)->{status} ne 'awaiting_payment';

        for my $op (@{scalar $self->redis->cli('SMEMBERS', "lines:{$tenant}:ops")}) {
            my $o = $self->operation($id, $op);
            push @wrong, "operation $op of $tenant ($o->{kind}) is in $o->{step}" . ($o->{stuck} ? ", stuck: $o->{stuck}" : '')
              unless $o->{kind} eq 'request' && $o->{step} eq 'await' && !$o->{wish};
        }
    }

    # at most one live subscription a line, and none without a line
    for my $id (keys %line_of) {
        my $line = $line_of{$id};
        push @{$holders{$line}}, $id if $live{$id};
        push @wrong, "subscription $id is of no line: $line" if $live{$id} && $line =~ /^w:/ && !$known{$line};
        push @wrong, "subscription $id was refunded more than paid" if ($back{$id} // 0) > ($paid{$id} // 0);
    }

    push @wrong, "$_ has live subscriptions @{$holders{$_}}" for grep { @{$holders{$_}} > 1 } keys %holders;

    return @wrong;
}

1;
