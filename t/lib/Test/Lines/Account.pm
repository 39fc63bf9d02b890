package Test::Lines::Account;
use Mojo::Base 'Test::Lines::Paid', -signatures;

use Mojo::JSON qw(decode_json);
use Test::Lines ();
use Test::Lines::Tls;

=head1 NAME

Test::Lines::Account - accounts that buy: what the tests of confirm share

=head1 SYNOPSIS

    my $shop  = Test::Lines::Account->new(t => $t);
    my $nginx = $shop->nginx;                         # with Redis and sandbox
    my $one   = $shop->account('one', customer => 'cus_card');
    $shop->numbers(5);

    my $token  = $shop->token($one);
    my $answer = $shop->confirm($one, $token, key => 'k1');

    is_deeply [$shop->disagreements], [];

An account is a hash of C<id> and C<headers>. C<agent> is what
C<lines_agent_plan inbound_only> says beside its price.

=cut

has agent      => 'preview_ttl=10m';
has webhooks   => 0;
has quarantine => '';

sub plans ($self) {
    my $text = "lines_agent_plan inbound_only price=price_agent @{[$self->agent]};\n" . $self->SUPER::plans;
    $text .= 'lines_quarantine ' . $self->quarantine . ";\n" if length $self->quarantine;
    return $text;
}

sub account ($self, $id, %data) {
    my ($key, $secret) = $self->first->account($id, {customer => 'cus_card', %data});
    return {id => $id, headers => $self->first->pair($key, $secret)};
}

# where webhooks are told from; of a test that has none of them told
sub webhook_location ($self) {
    return 'location = /_lines/webhooks { internal; resolver 127.0.0.1:' . $self->t->free_port . '; resolver_timeout 1s; proxy_next_upstream off; '
      . 'proxy_pass https://$lines_webhook_address$lines_webhook_uri; proxy_set_header Host $lines_webhook_host; proxy_ssl_server_name on; '
      . 'proxy_ssl_name $lines_webhook_host; proxy_ssl_verify on; proxy_ssl_trusted_certificate ' . $self->webhook_authority . '; }' . "\n";
}

sub webhook_authority ($self) { Test::Lines::Tls->new(t => $self->t)->ca('webhooks')->file('webhooks.pem') }

my $numbers = 0;

# adds so many to the inventory; returns them
sub numbers ($self, $count, $area = 415) {
    my @new = map { sprintf '+1%03d%07d', $area, ++$numbers } 1 .. $count;

    for (my $i = 0; $i < @new; $i += 1000) {
        my @some = grep {defined} @new[$i .. $i + 999];
        my $answer = $self->first->admin(POST => 'numbers', {numbers => [map { {phone_number => $_, worker_id => "worker_$_"} } @some]});
        die 'numbers: ' . $answer->to_string unless $answer->status == 200;
    }

    return @new;
}

sub preview ($self, $account, $nginx = $self->first) {
    return $nginx->post('/accounts/lines/provision-preview', '', $account->{headers});
}

sub token ($self, $account, $nginx = $self->first) {
    my $answer = $self->preview($account, $nginx);
    die 'preview: ' . $answer->to_string unless $answer->status == 200;
    return $answer->json('/preview_token');
}

# a token that is there without a preview, which would see the limits
sub issue ($self, $account) {
    my $bytes = join '', map { chr int rand 256 } 1 .. 24;
    $bytes .= substr Digest::SHA::sha256($account->{id}), 0, 8;
    $bytes .= substr Digest::SHA::sha256($bytes), 0, 4;
    my $token = 'lpv_' . MIME::Base64::encode_base64url($bytes);
    $self->redis->cli('SET', $self->token_key($account, $token), 'valid ' . 1000 * (time + 3600));
    return $token;
}

sub token_key ($self, $account, $token) { "lines:{a:$account->{id}}:tok:" . Digest::SHA::sha256_hex($token) }

sub operation_id ($self, $token) { substr Digest::SHA::sha256_hex($token), 0, 24 }

sub _confirm ($self, $account, $token, $options) {
    my %headers = %{$account->{headers}};
    $headers{'Idempotency-Key'} = $options->{key} if defined $options->{key};
    return ('/accounts/lines/provision-confirm', {preview_token => $token}, \%headers);
}

sub confirm ($self, $account, $token, %options) {
    return ($options{nginx} // $self->first)->post_json($self->_confirm($account, $token, \%options));
}

sub confirm_p ($self, $account, $token, %options) {
    return ($options{nginx} // $self->first)->post_json_p($self->_confirm($account, $token, \%options));
}

sub purchase ($self, $account, $id) {
    return {@{scalar $self->redis->cli('HGETALL', "lines:{a:$account->{id}}:op:$id")}};
}

sub wait_purchase ($self, $account, $id, $seconds = 60) {
    my $op = {};
    eval {
        Test::Lines::wait_for(sub { $op = $self->purchase($account, $id); ($op->{step} // '') eq 'done' }, $seconds, "purchase $id to end");
        1;
    } or die "$@ (it is in " . ($op->{step} // 'nothing') . ")\n";
    return $op;
}

sub window ($self, $account) { @{scalar $self->redis->cli('ZRANGE', "lines:{a:$account->{id}}:win", 0, -1)} }

sub lines ($self, $account, $nginx = $self->first) {
    return @{$nginx->get('/accounts/lines?limit=100', $account->{headers})->json('/lines') // []};
}

sub counts ($self) { $self->first->admin(GET => 'numbers?limit=1')->json('/counts') }

# every entry of the ledger's that is about an account
sub bought ($self, $account = undef) {
    return grep { ($_->{metadata}{tenant} // '') =~ /^a:/ && (!$account || $_->{metadata}{tenant} eq "a:$account->{id}") }
      $self->sandbox->ledger('charge');
}

require Digest::SHA;
require MIME::Base64;

1;
