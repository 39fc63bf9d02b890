package Test::Lines::Browser;
use Mojo::Base -base, -signatures;

use List::Util qw(first);
use Mojo::JSON qw(true);
use Mojo::UserAgent;
use Test::Lines qw(wait_for);

=head1 NAME

Test::Lines::Browser - one tab of a headless Chromium, by its debugger

=head1 SYNOPSIS

    plan skip_all => Test::Lines::Browser->missing if Test::Lines::Browser->missing;

    my $browser = Test::Lines::Browser->new(t => $t, options => ['--window-size=360,640']);
    $browser->go($url, '#pay');
    like $browser->js('document.body.innerText'), qr/paid/;
    $browser->close;

=head1 DESCRIPTION

=head2 t, options

The test's L<Test::Lines>, whose folder has the profile; options of the command line.

=head2 events

What the browser has told by itself, of the domains that were enabled (C<Network.enable>), in its order: C<method> and
C<params> of each.

=head2 missing

Why there is none here, or nothing.

=cut

has 't';
has options => sub { [] };
has events  => sub { [] };

sub _command { first { -x $_ } map { my $dir = $_; map {"$dir/$_"} qw(chromium-headless-shell chromium) } split /:/, "$ENV{PATH}:/usr/bin" }

sub missing ($class) { $class->_command ? undef : 'no chromium here (apt-get install chromium-headless-shell)' }

sub new ($class, @args) {
    my $self = $class->SUPER::new(@args);
    my $t    = $self->t;
    my $port = $t->free_port;

    $self->{process} = $t->spawn(chromium => [
        $self->_command, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', @{$self->options},
        "--user-data-dir=@{[$t->dir]}/profile", '--remote-debugging-address=127.0.0.1', "--remote-debugging-port=$port", 'about:blank'
    ], env => {HOME => $t->dir});

    my $ua  = $self->{ua} = Mojo::UserAgent->new(inactivity_timeout => 60);
    my $tab = wait_for(sub {
        my $list = eval { $ua->get("http://127.0.0.1:$port/json/list")->result->json } // [];
        return first { $_->{type} eq 'page' } @$list;
    }, 60, 'the browser');

    $ua->websocket($tab->{webSocketDebuggerUrl} => sub ($ua, $tx) {
        die 'no debugger' unless $tx->is_websocket;
        $tx->on(json => sub ($tx, $message) {
            if   ($message->{id}) { $self->{results}{$message->{id}} = $message }
            else                  { push @{$self->events}, $message }
        });
        $tx->max_websocket_size(32 << 20);
        $self->{socket} = $tx;
    });
    wait_for(sub { $self->{socket} }, 30, 'the debugger');
    $self->ask('Page.enable');

    return $self;
}

=head2 ask

    my $result = $browser->ask('Page.navigate', url => $url);

A method of the DevTools protocol. Dies where it is refused.

=head2 js

The value of an expression, in the page; of a promise, what it becomes.

=head2 go

    $browser->go($url, $selector);

Until the page is there, whole, and has what is looked for.

=head2 wait_page

    $browser->wait_page($expression, $what);

Until a page is whole and the expression is true in it.

=cut

sub ask ($self, $method, %params) {
    my $id = ++$self->{calls};
    $self->{socket}->send({json => {id => $id, method => $method, params => \%params}});
    my $message = wait_for(sub { $self->{results}{$id} }, 60, $method);
    die "$method: $message->{error}{message}" if $message->{error};
    return $message->{result};
}

sub js ($self, $code) { $self->ask('Runtime.evaluate', expression => $code, returnByValue => true, awaitPromise => true)->{result}{value} }

sub wait_page ($self, $expression, $what) {
    wait_for(sub { eval { $self->js("document.readyState === 'complete' && ($expression)") } }, 30, $what);
}

sub go ($self, $url, $selector) {
    $self->ask('Page.navigate', url => $url);
    $self->wait_page("location.href.startsWith('$url') && !!document.querySelector('$selector')", $url);
}

=head2 close

Ends it, and waits until none of its processes is left.

=cut

sub close ($self) {
    eval { $self->ask('Browser.close') };
    wait_for(sub { !$self->{process}->alive }, 30, 'the browser to close');
    wait_for(sub { !grep { $_->{title} =~ /chrom/ } @{$self->t->processes} }, 30, 'the browser to end');
}

1;
