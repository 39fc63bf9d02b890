package Test::Lines::Chaos::Confirms;
use Mojo::Base 'Test::Lines::Chaos', -signatures;

use Mojo::Promise;

=head1 NAME

Test::Lines::Chaos::Confirms - accounts that preview, confirm and confirm again, and operators who release

=head1 DESCRIPTION

C<shop> is a L<Test::Lines::Account>; a client is C<< {account => $account} >>.

=head2 lost

What was acknowledged and is not there, or is another.

=head2 above

Windows that were seen above their limit.

=head2 contradictions

Where one key was told two things.

=head2 silent

Asks with each key once more, and says which is not told before long what became of it.

=cut

has pause          => sub { [0.02, 0.15] };
has above          => sub { [] };
has contradictions => sub { [] };

sub lost ($self) {
    return grep {
        my $h = $self->shop->redis->line("a:$_->{account}{id}", $_->{line});
        ($h->{number} // '') ne $_->{said}{phone_number} || $h->{subscription} ne $_->{said}{subscription_id};
    } @{$self->promised};
}

# what a key was told once it is told for ever
sub _final ($self, $account, $token, $key, $answer) {
    my $error = $answer->json('/error') // '';
    return if $answer->status =~ /^(?:0|401|409)$/ || ($answer->status == 503 && $error ne 'no_lines_available')
        || $error =~ /^(?:declined|billing)_limit_reached$/;
    my $said = $self->{final}{"$account->{id} $token $key"} //= $answer->status . $answer->body;
    push @{$self->contradictions}, "$said, then " . $answer->to_string if $said ne $answer->status . $answer->body && $answer->status != 410;
    $self->promise(account => $account, line => $self->shop->operation_id($token), said => $answer->json) if $answer->status == 200;
}

sub silent ($self) {
    my (%seen, @silent);

    for my $account (grep { !$seen{$_}++ } @{$self->{accounts}}) {
        for my $sent (@{$account->{sent} // []}) {
            my ($token, $key) = @$sent;
            my ($answer, $pending);

            # it may be the first time that billing hears of it
            my $until = time + 30;
            do {
                $answer  = $self->note(last => $self->shop->confirm($account, $token, key => $key));
                $pending = ($answer->json('/error') // '') eq 'provisioning_pending';
            } while $pending && time < $until;

            $self->_final($account, $token, $key, $answer);
            push @silent, $answer->to_string if $pending || $answer->status !~ /^(?:200|402|410|429|500|503)$/;
        }
    }

    return @silent;
}

sub begin ($self, @clients) {
    push @{$self->{accounts}}, map { $_->{account} } @clients;
    return $self->SUPER::begin(@clients);
}

# what a person at billing's dashboard does to a subscription
sub _hand ($self, $sub) {
    my $sandbox = $self->shop->sandbox;
    my $do      = sub ($path, $data) { $sandbox->client->post_json_p("/_sandbox/$path", $data) };
    my $what    = $self->pick(qw(cancel credit unpaid active));

    return $do->("subscriptions/$sub" => {status => $what}) if $what =~ /^(?:unpaid|active)$/;

    return $do->(hand => {method => 'DELETE', path => "/v1/subscriptions/$sub"})->then(sub ($answer) {
        my $invoice = $answer->json('/latest_invoice');
        return $answer unless $what eq 'credit' && $invoice;
        return $do->(hand => {method => 'POST', path => '/v1/credit_notes', params => {invoice => $invoice, refund_amount => 4900}});
    });
}

my $count = 0;

sub deed ($self, $client) {
    my $account  = $client->{account};
    my $shop     = $self->shop;
    my $nginx    = $self->nginx;
    my $what     = $self->pick(qw(buy buy buy buy again again twice list limits release), $self->hands ? ('hand') x 3 : ());
    my $sent     = $account->{sent} //= [];
    my $promised = $self->promised;

    if ($what eq 'again' && @$sent) {
        my ($token, $key) = @{$self->pick(@$sent)};
        return $shop->confirm_p($account, $token, key => $key, nginx => $nginx)->then(sub ($answer) {
            $self->_final($account, $token, $key, $self->note(again => $answer));
        });
    }

    if ($what eq 'list' || $what eq 'limits') {
        my $path = $what eq 'list' ? 'lines' : 'limits';
        return $nginx->get_p("/accounts/$path", $account->{headers})->then(sub ($answer) {
            $self->note($what => $answer);
            return unless $answer->status == 200 && $what eq 'limits';
            my $daily = $answer->json('/limits/api_provision_daily');
            push @{$self->above}, $daily if $daily->{used} > $daily->{limit};
        });
    }

    if ($what eq 'hand') {
        my $one = $self->pick(@$promised > 5 ? @$promised[-5 .. -1] : @$promised) // return Mojo::Promise->resolve;
        return $self->_hand($one->{said}{subscription_id})->then(sub ($answer) { $self->note(hand => $answer) });
    }

    if ($what eq 'release') {
        my $one = $self->pick(@$promised) // return Mojo::Promise->resolve;
        return $nginx->post_json_p("/_lines/admin/lines/$one->{line}/release", {}, $self->admin)->then(sub ($answer) { $self->note(release => $answer) });
    }

    return $nginx->request_p(POST => '/accounts/lines/provision-preview', $account->{headers})->then(sub ($answer) {
        $self->note(preview => $answer);

        # a token that the windows would not give: the confirm must say no
        my $token = ($answer->status == 200 ? $answer->json('/preview_token') : shift @{$account->{tokens}}) // return;
        my $key   = 'k' . ++$count;
        push @$sent, [$token, $key];

        my @confirms = map {
            my $key = $_;
            $shop->confirm_p($account, $token, key => $key, nginx => $self->nginx)->then(sub ($answer) {
                $self->_final($account, $token, $key, $self->note(confirm => $answer));
            })
        } $what eq 'twice' ? ($key, $key, "other$key") : $key;

        return Mojo::Promise->all(@confirms);
    });
}

1;
