package Sandbox::API;
use Mojo::Base 'Mojolicious::Controller', -signatures;

use Mojo::Date;
use Mojo::IOLoop;
use Mojo::JSON qw(encode_json false true);
use Mojo::Util qw(b64_decode secure_compare);
use Sandbox::Error;
use Sandbox::Expand qw(check_expand expand);
use Sandbox::Form qw(decode_form);
use Sandbox::Params qw(check_params);
use Sandbox::Store;
use Scalar::Util qw(blessed);
use Time::HiRes ();

# One call of Stripe's API, from its headers to its answer. The effect of a call is made in one go; a fault that delays or
# swallows the answer comes after it.


sub serve ($self) {
    my $call = $self->stash->{call};
    my $req  = $self->req;
    my $log  = $self->_begin;

    my $ok = eval {
        $self->_authenticate;
        $log->{params} = $self->_params;
        1;
    };

    return $self->_refuse($log, $@) unless $ok;

    my $key   = $req->method eq 'POST' ? $req->headers->header('Idempotency-Key') : undef;
    my $fault = $self->app->faults->take($req->method, $log->{path}, sub ($f) { $self->_usable($f, $key) });
    my $kind  = $fault ? $fault->{kind} : '';

    $log->{fault} = $fault && $kind;

    return $self->_drop if $kind eq 'drop_before';
    return $self->_refuse($log, $self->_injected($fault)) if $kind =~ /^(?:400|401|409|429|500)$/;

    my $record = eval { length($key // '') ? $self->app->idempotency->begin($key, $req->method, $log->{path}, $log->{params}) : {} };

    return $self->_refuse($log, $@) unless $record;
    return $self->_replay($log, $record) if $record->{answer};

    my $answer = $self->_run($call, $log->{params}, $fault);

    if (defined $record->{key}) {
        $self->res->headers->header('Idempotency-Key' => $record->{key});
        $self->app->idempotency->forget($record) unless delete $answer->{kept};
    }

    $answer->{request} = $log->{id};

    my $finish = sub {
        $self->app->idempotency->keep($record, $answer) if defined $record->{key};
    };

    if ($kind eq 'drop_after') {
        $finish->();
        return $self->_drop;
    }

    return $self->_late($log, $answer, $fault->{ms}, $finish) if $kind eq 'delay';
    return $self->_held($log, $answer, $fault, $finish)       if $kind eq 'hold';

    $finish->();
    $self->_answer($log, $answer);
}


sub unknown ($self) {
    my $log  = $self->_begin;
    my $path = $self->req->url->path;

    $self->_refuse($log, Sandbox::Error->new(
        status  => 404,
        type    => 'invalid_request_error',
        message => "Unrecognized request URL (${\$self->req->method}: $path). Please see https://stripe.com/docs or we can help at "
            . 'https://support.stripe.com/.',
    ));
}


sub _begin ($self) {
    my $req     = $self->req;
    my $version = $req->headers->header('Stripe-Version');
    my $id      = $self->app->store->id('req');

    $self->res->headers->date(Mojo::Date->new($self->app->store->now));
    $self->res->headers->header('Request-Id'     => $id);
    $self->res->headers->header('Stripe-Version' => $version // Sandbox::Store->API_VERSION);

    return $self->app->store->log_request({
        id              => $id,
        method          => $req->method,
        path            => $req->url->path->to_string,
        query           => $req->url->query->to_string,
        idempotency_key => $req->headers->header('Idempotency-Key'),
        traceparent     => $req->headers->header('traceparent'),
        stripe_version  => $version,
        params          => {},
        status          => undef,
        fault           => undef,
        replayed        => false,
        at              => $self->app->store->now,
        arrived         => Time::HiRes::time(),
    });
}


sub _authenticate ($self) {
    my $header  = $self->req->headers->authorization // '';
    my $version = $self->req->headers->header('Stripe-Version');
    my $key     = $header =~ /^Bearer +(\S+)$/i ? $1 : $header =~ /^Basic +(\S+)$/i ? b64_decode($1) =~ s/:.*//sr : '';

    Sandbox::Error->unauthorized('You did not provide an API key. You need to provide your API key in the Authorization header, '
            . "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').")
        if $key eq '';

    my $known = $self->app->secret_key;

    # The key itself never shows, in no answer and no log.
    Sandbox::Error->unauthorized('Invalid API Key provided: sk_test_********')
        unless defined $known ? secure_compare($key, $known) : $key =~ /^sk_test_\w/;

    Sandbox::Error->invalid("Invalid Stripe API version: $version", kept => 0)
        if defined $version && $version !~ /^\d{4}-\d\d-\d\d(?:\.[a-z]+)?$/;
}


sub _params ($self) {
    my $req  = $self->req;
    my $type = $req->headers->content_type // '';

    return decode_form($req->url->query->to_string) if $req->method ne 'POST' || $req->body eq '';

    Sandbox::Error->invalid("Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have "
            . 'any questions, we can help at https://support.stripe.com/.', kept => 0)
        if $type !~ m{^application/x-www-form-urlencoded\b}i;

    return decode_form(join '&', grep { $_ ne '' } $req->url->query->to_string, $req->body);
}


# A 500 is kept only under a key that has no answer yet.

sub _usable ($self, $fault, $key) {
    return 0 if defined $key && defined $fault->{except} && $key eq $fault->{except};
    return 0 if defined $fault->{param} && !defined $self->req->url->query->param($fault->{param});
    return $fault->{kind} ne '500_stored' || !defined $key || !$self->app->idempotency->knows($key);
}


sub _injected ($self, $fault) {
    my $error = $fault->{kind} eq '409' ? Sandbox::Error->key_in_use
        : $fault->{kind} eq '400'       ? Sandbox::Error->new(status => 400, type => 'invalid_request_error', message => 'It is refused.')
        : $fault->{kind} eq '401'       ? Sandbox::Error->new(status => 401, type => 'invalid_request_error', message => 'It is revoked.', kept => 0)
        : $fault->{kind} eq '429'       ? Sandbox::Error->rate_limit
        :                                 Sandbox::Error->internal;

    $error->headers->{'Retry-After'} = $fault->{retry_after} if defined $fault->{retry_after};

    return $error;
}


# Returns the answer: status, bytes, headers, and whether a key keeps it.

sub _run ($self, $call, $params, $fault) {
    my $stored = $fault && $fault->{kind} eq '500_stored';
    my $answer;

    if (!$stored || $fault->{effect}) {
        $answer = eval { {status => 200, body => encode_json($self->_result($call, $params)), headers => {}, kept => 1} }
            // $self->_error($@);
    }

    return $answer unless $stored;

    return $self->_error(Sandbox::Error->internal(kept => 1, headers => {'Stripe-Should-Retry' => 'false'}));
}


sub _result ($self, $call, $raw) {
    my $app    = $self->app;
    my $params = check_params($call->{params}, $raw);
    my @paths  = @{delete $params->{expand} // []};

    if ($call->{list}) {
        s/^data\.// || Sandbox::Error->invalid("This property cannot be expanded ($_). You may want to try expanding 'data.$_' "
                . 'instead.', param => 'expand', kept => 0)
            for @paths;
    }

    check_expand($call->{returns}, \@paths);

    my $result = $call->{list} ? $self->_page($params, sub { $call->{run}->($app, $params, $self->stash->{id}) })
        : $call->{run}->($app, $params, $self->stash->{id});

    return expand($app->store, $result, @paths) unless $call->{list};

    $result->{data} = [map { expand($app->store, $_, @paths) } @{$result->{data}}];

    return $result;
}


sub _page ($self, $params, $all) {
    my $limit = $params->{limit} // 10;
    my %page  = map { ($_ => delete $params->{$_}) } qw(created ending_before limit starting_after);

    Sandbox::Error->invalid("This value must be less than or equal to 100 (it currently is '$limit').", param => 'limit') if $limit > 100;
    Sandbox::Error->invalid('This value must be greater than or equal to 1.', param => 'limit') if $limit < 1;

    my @all  = grep { _within($_->{created}, $page{created}) } @{$all->()};
    my $type = $self->stash->{call}{returns};

    # a bound that the list itself no longer has, since it was canceled say, still has its place
    for my $name (grep { defined $page{$_} } qw(starting_after ending_before)) {
        my $known = $self->app->store->ids($type);
        my $place = 0;
        my %place = map { ($_ => $place++) } @$known ? reverse @$known : map { $_->{id} } @all;
        my $bound = $place{$page{$name}} // Sandbox::Error->missing($type =~ s/_/ /gr => $page{$name}, status => 400, param => $name);

        @all = grep { $name eq 'starting_after' ? $place{$_->{id}} > $bound : $place{$_->{id}} < $bound } @all;
    }

    my $more = @all > $limit;
    my @data = defined $page{ending_before} ? splice(@all, $more ? -$limit : 0) : splice(@all, 0, $limit);

    return {object => 'list', data => \@data, has_more => $more ? true : false, url => $self->req->url->path->to_string};
}


sub _within ($instant, $range) {
    return 1 unless $range;

    return $instant > ($range->{gt} // -1) && $instant >= ($range->{gte} // 0)
        && $instant < ($range->{lt} // 'inf') && $instant <= ($range->{lte} // 'inf');
}


sub _error ($self, $error) {
    if (!blessed $error || !$error->isa('Sandbox::Error')) {
        $self->app->log->error($error);
        $error = Sandbox::Error->internal(message => 'The sandbox itself failed; its log says why.');
    }

    return {status => $error->status, body => encode_json($error->body), headers => $error->headers, kept => $error->kept};
}


sub _refuse ($self, $log, $error) { $self->_answer($log, $self->_error($error)) }


sub _replay ($self, $log, $record) {
    $log->{replayed} = true;

    $self->res->headers->header('Idempotency-Key'     => $record->{key});
    $self->res->headers->header('Idempotent-Replayed' => 'true');
    $self->res->headers->header('Original-Request'    => $record->{answer}{request});

    $self->_answer($log, $record->{answer});
}


sub _answer ($self, $log, $answer) {
    my $headers = $self->res->headers;

    $headers->header($_ => $answer->{headers}{$_}) for keys %{$answer->{headers}};
    $headers->content_type('application/json');

    $log->{status} = $answer->{status};

    $self->render(data => $answer->{body}, status => $answer->{status});
}


# Held back with its key in use, and finished even though the client may have left.

sub _late ($self, $log, $answer, $ms, $finish) {
    my $tx = $self->render_later->tx;

    Mojo::IOLoop->timer($ms / 1000 => sub {
        $finish->();
        $self->_answer($log, $answer) unless $tx->is_finished;
    });
}


# answered when its fault is cleared

sub _held ($self, $log, $answer, $fault, $finish) {
    my $tx     = $self->render_later->tx;
    my $faults = $self->app->faults;

    my $id;
    $id = Mojo::IOLoop->recurring(0.02 => sub ($loop) {
        return if grep { $_ == $fault } @{$faults->list};
        $loop->remove($id);
        $finish->();
        $self->_answer($log, $answer) unless $tx->is_finished;
    });
}


sub _drop ($self) {
    $self->render_later->app->save;

    Mojo::IOLoop->remove($self->tx->connection);
}


1;
