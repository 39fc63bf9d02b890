use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(hmac_sha256_hex);
use List::Util qw(max uniq);
use Test::More;
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Test::Lines qw(wait_for);

# Events of the billing sandbox: their shape, signature and delivery.

my $t        = Test::Lines->new;
my $receiver = $t->upstream;
my $sandbox  = $t->sandbox(webhook_url => $receiver->url . '/hook', webhook_secret => [qw(whsec_new whsec_old)]);

sub add_on ($customer = 'cus_card') {
    return $sandbox->call(POST => '/v1/subscriptions', {
        customer                   => $customer,
        'items[0][price]'          => 'price_phone',
        payment_behavior           => 'default_incomplete',
        'metadata[tenant]'         => 'w:one',
        'payment_settings[save_default_payment_method]' => 'on_subscription',
    })->json;
}

sub received () {
    $sandbox->wait_idle;
    return @{$receiver->requests};
}

sub fresh () {
    $sandbox->wait_idle;
    $sandbox->reset;
    $receiver->reset;
    $receiver->clear;
}

sub types (@requests) { [map { $_->{json}{type} } @requests] }


subtest 'an event' => sub {
    my $subscription = add_on();

    $sandbox->pay($subscription->{latest_invoice});

    my @got = received;

    is_deeply [sort @{types(@got)}],
        [sort qw(customer.subscription.created invoice.finalized invoice.paid customer.subscription.updated)], 'each change is told';

    for my $request (@got) {
        my ($time, @v1) = $request->{headers}{'stripe-signature'} =~ /^t=(\d+),v1=([0-9a-f]{64}),v1=([0-9a-f]{64})$/;

        is_deeply \@v1, [map { hmac_sha256_hex("$time.$request->{body}", $_) } qw(whsec_new whsec_old)], 'signed with each secret';
        cmp_ok abs($time - time), '<', 60, 'now';
        is $request->{path}, '/hook', 'to where it shall go';
        is $request->{method}, 'POST', 'posted';
        like $request->{headers}{'content-type'}, qr{^application/json}, 'as JSON';

        my $event = $request->{json};

        is_deeply [sort keys %$event], [qw(api_version created data id livemode object pending_webhooks request type)], 'shaped';
        like $event->{id}, qr/^evt_\w+$/, 'an id';
        is $event->{object}, 'event', 'an event';
        is $event->{api_version}, '2026-10-28.endive', 'of the version';
        ok !$event->{livemode}, 'not live';
    }

    my %event = map { ($_->{json}{type} => $_->{json}) } @got;

    is $event{'customer.subscription.created'}{data}{object}{status}, 'incomplete', 'an event has the object as it was';
    is $event{'customer.subscription.updated'}{data}{object}{status}, 'active', 'and as it became';
    is_deeply $event{'customer.subscription.updated'}{data}{previous_attributes}, {status => 'incomplete'}, 'and what changed';
    is $event{'invoice.paid'}{data}{object}{parent}{subscription_details}{metadata}{tenant}, 'w:one', 'whose it is';
    is $event{'customer.subscription.updated'}{data}{object}{default_payment_method}, 'pm_cus_card', 'the card is saved';

    is $sandbox->call(GET => "/v1/events/$event{'invoice.paid'}{id}")->json('/id'), $event{'invoice.paid'}{id}, 'it can be read';
};


subtest 'which events there are' => sub {
    my %ways = (
        'customer.subscription.deleted'   => sub ($s) { $sandbox->call(DELETE => "/v1/subscriptions/$s->{id}") },
        'customer.subscription.updated'   => sub ($s) { $sandbox->move($s->{id}, status => 'past_due') },
        'invoice.marked_uncollectible'    => sub ($s) { $sandbox->give_up($s->{latest_invoice}) },
        'invoice.payment_action_required' => sub ($s) { $sandbox->pay($s->{latest_invoice}, '3ds') },
        'invoice.payment_failed'          => sub ($s) { $sandbox->pay($s->{latest_invoice}, 'declined') },
        'invoice.voided'                  => sub ($s) { $sandbox->void($s->{latest_invoice}) },
    );

    for my $type (sort keys %ways) {
        fresh;
        $ways{$type}->(add_on());
        is scalar(grep { $_ eq $type } @{types(received)}), 1, $type;
    }

    fresh;
    add_on();
    $sandbox->advance(23 * 3600);

    my @got = received;

    is_deeply [grep {/voided|updated/} sort @{types(@got)}], [qw(customer.subscription.updated invoice.voided)], 'an expiry';
    cmp_ok abs(($got[-1]{headers}{'stripe-signature'} =~ /t=(\d+)/)[0] - time), '<', 60, 'signed by the real clock';
};


subtest 'refused deliveries' => sub {
    fresh;
    $receiver->set(status => 503, times => 4);

    my $id = $sandbox->adopt(customer => 'cus_card')->{id};
    my @got;

    # the receiver answers 200 once its state is used up
    @got = received;

    is scalar(@got), 5, 'tried until it is taken';
    is scalar(uniq map { $_->{body} } @got), 1, 'the same bytes';
    is_deeply [map { $_->{status} } @{$sandbox->webhooks->{deliveries}}], [(503) x 4, 200], 'the report tells how it went';
    cmp_ok $got[-1]{at} - $got[0]{at}, '>', 1000, 'with pauses';

    fresh;
    $receiver->set(status => 400);
    $sandbox->webhooks(retry_for => 1);
    $sandbox->adopt(customer => 'cus_card');
    is $sandbox->wait_idle->{failed}, 1, 'given up in the end';

    fresh;
    $receiver->stop;
    $sandbox->adopt(customer => 'cus_card');
    wait_for(sub { @{$sandbox->webhooks->{deliveries}} }, 20, 'an attempt');
    ok defined $sandbox->webhooks->{deliveries}[0]{error}, 'nobody listens';
    $receiver->restart;
    is scalar(received), 1, 'until somebody does';
};


subtest 'copies, disorder, delay' => sub {
    fresh;
    $sandbox->webhooks(duplicate => 2);
    $sandbox->adopt(customer => 'cus_card');

    my @got = received;

    is scalar(@got), 3, 'two extra copies';
    is scalar(uniq map { $_->{body} } @got), 1, 'of the same event';

    $sandbox->webhooks(shuffle => \1);
    is $sandbox->webhooks->{duplicate}, 2, 'what is not named stays';
    $sandbox->webhooks(duplicate => 0);

    # Four deliveries at most are under way at once, and overtake each other even so; how far disorder goes beyond that
    # depends on how many events a slow machine makes while one is held back.
    my $furthest = 0;

    for my $try (1 .. 5) {
        $receiver->clear;

        my @made = map { $sandbox->adopt(customer => 'cus_card', metadata => {n => $_})->{id} } 1 .. 40;
        my @seen = map { $_->{json}{data}{object}{id} } received;
        my %at   = map { ($seen[$_] => $_) } 0 .. $#seen;

        is_deeply [sort @seen], [sort @made], 'each comes';

        $furthest = max($furthest, map { abs($_ - $at{$made[$_]}) } 0 .. $#made);
        last if $furthest > 4;
    }

    cmp_ok $furthest, '>', 4, 'in quite another order';

    fresh;
    $sandbox->webhooks(delay_ms => 1500);
    $sandbox->adopt(customer => 'cus_card');

    my $report = $sandbox->webhooks;

    ok !$report->{idle}, 'not idle while one waits';
    is $report->{queued}, 1, 'in the queue';

    my $event = $sandbox->call(GET => '/v1/events')->json('/data/0');
    my ($only) = received;

    is $only->{json}{id}, $event->{id}, 'there in the end';
    cmp_ok $only->{at} / 1000 - $event->{created}, '>', 1.4, 'late';
};


subtest 'where to' => sub {
    fresh;

    my $other = $t->upstream(name => 'other');

    $sandbox->webhooks(to => undef);
    $sandbox->adopt(customer => 'cus_card');
    is scalar(received), 0, 'nowhere';

    $sandbox->webhooks(to => $other->url . '/there?x=1');
    $sandbox->adopt(customer => 'cus_card');
    is scalar(received), 0, 'no longer to the first';
    is $other->requests->[0]{query}, 'x=1', 'but to the other';

    $sandbox->reset;
    is $sandbox->webhooks->{to}, $other->url . '/there?x=1', 'and a reset leaves it so';
};

$t->done;
