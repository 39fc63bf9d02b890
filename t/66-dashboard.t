# The dashboard for Grafana: what its panels ask is asked of a real Prometheus, which looks at a real node, and drawn by
# t/dashboard.pl: build/dashboard.svg.  How Grafana draws it was not seen: it is not among Debian's packages.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::DOM;
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Mojo::Util qw(url_escape);
use Test::More;
use Test::Lines::Once build => 'its metrics are the same';
use Test::Lines qw(wait_for);
use Test::Lines::Account;
use Test::Lines::Clerk;
use Test::Lines::Client;

my $t = Test::Lines->new;
$t->skip_all('there is no Prometheus here') unless grep { -x "$_/prometheus" } split /:/, $ENV{PATH};

my $board  = decode_json(path($t->root, 'conf/grafana/lines.json')->slurp);
my @panels = @{$board->{panels}};
my @asked  = map { my $panel = $_; map { [$panel->{title}, $_->{expr}] } @{$panel->{targets} // []} } @panels;

subtest 'it is laid out' => sub {
    my (%id, %taken);
    is_deeply [grep { $id{$_->{id}}++ } @panels], [], 'each panel has an id of its own';

    for my $panel (@panels) {
        my ($x, $y, $w, $h) = @{$panel->{gridPos}}{qw(x y w h)};
        my @over = grep { $taken{$_}++ } map { my $i = $_; map {"$i,$_"} $y .. $y + $h - 1 } $x .. $x + $w - 1;
        ok !@over && $x + $w <= 24, "\"$panel->{title}\" lies over no other, and within the page" or diag "@over";
        next if $panel->{type} eq 'row';
        is $panel->{datasource}{uid}, '${datasource}', '... and asks the Prometheus that is chosen';
        ok $panel->{fieldConfig}{defaults}{unit}, '... in a unit';
    }
    is_deeply [grep { $_->[1] !~ /job="lines",instance=~"\$instance"/ } @asked], [], 'all of the nodes that are chosen';
};

my $clerk = Test::Lines::Clerk->new(t => $t);
my $shop  = Test::Lines::Account->new(t => $t, operations => 'sweep=300ms retry=300ms due=2s lease=2s absent=1s walk=1s audit=1s pass=1s');
my $nginx = $shop->nginx(server => $clerk->location . "location = /metrics { lines_metrics survey=1s; }\n"
      . "location /gate/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=3 name=gate; " . $clerk->directive . " empty_gif; }\n");
my $key = $shop->workspace('one');
$shop->numbers(3);

my $port = $t->free_port;
my $file = $t->file('prometheus.yml', <<"END");
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - {job_name: lines, metrics_path: /metrics, static_configs: [{targets: ['127.0.0.1:@{[$nginx->port]}']}]}
END
$t->spawn(prometheus => ['prometheus', "--config.file=$file", '--storage.tsdb.path=' . $t->dir . '/tsdb', "--web.listen-address=127.0.0.1:$port"],
    env => {LD_PRELOAD => undef});
my $prometheus = Test::Lines::Client->new(host => '127.0.0.1', port => $port);

# what a panel would draw by now: of whole seconds, as its points are, and no "NaN", which a quotient of what has not moved is
sub ask ($expr) {
    $expr =~ s/\$instance/.*/g;
    $expr =~ s/\$__rate_interval/15s/g;
    die "a variable that nobody sets: $expr\n" if $expr =~ /\$/;

    my $answer = $prometheus->get('/api/v1/query?time=' . time . '&query=' . url_escape $expr);
    die "$expr: " . $answer->to_string . "\n" unless $answer->status == 200;
    return grep { $_->{value}[1] !~ /nan|inf/i } @{$answer->json('/data/result')};
}

wait_for(sub { $prometheus->get('/-/ready')->status == 200 }, 60, 'Prometheus');

# a little of all that there is to see
sub traffic () {
    $nginx->get('/gate/x', $nginx->bearer($key)) for 1 .. 5;
    $nginx->get('/gate/x', $nginx->bearer('wrong'));
    $nginx->get('/gate/x', $nginx->bearer($clerk->token(org => 'one')));
    $shop->read($key, 'f' x 24);
}

my $two = $shop->account('two');
is $shop->confirm($two, $shop->token($two))->status, 200, 'a purchase';
is $shop->request($key)->status, 201, 'and a request';

my @empty;
eval {
    wait_for(sub { traffic(); @empty = grep { !ask($_->[1]) } @asked; !@empty }, 90, 'each panel to show something');
};
is_deeply [map {"$_->[0]: $_->[1]"} @empty], [], 'each panel has something to show' or diag $@;

my ($held) = ask((grep { $_->[0] eq 'Money' } @asked)[0][1]);
is $held->{value}[1], 0, 'money goes on';
my %limits = map { $_->{metric}{outcome} => 1 } ask((grep { $_->[0] eq 'By limit' } @asked)[0][1]);
ok $limits{passed} && $limits{rejected}, 'what passed a limit, and what did not';

subtest 'it is drawn' => sub {
    my $svg  = path($t->build, 'dashboard.svg');
    my $draw = $t->spawn(draw => [$^X, $t->root . '/t/dashboard.pl', "http://127.0.0.1:$port", $t->root . '/conf/grafana/lines.json', $svg, time - $^T + 5], env => {LD_PRELOAD => undef});
    my $end  = $draw->wait_end(60 * $t->slow);
    is $end, 0, 'each panel' or diag $draw->output;

    my @parts = Mojo::DOM->new->xml(1)->parse(path($svg)->slurp)->find('svg > svg')->each;
    my @drawn = grep { $_->{type} ne 'row' } @panels;
    is_deeply [map { $_->at('.title')->text } @parts], [map { $_->{title} } @drawn], '... under its title';

    for my $i (0 .. $#drawn) {
        my ($title, $part) = ($drawn[$i]{title}, $parts[$i]);
        my $shown = $drawn[$i]{type} eq 'stat' ? $part->find('.stat')->map('text') : $part->find('.legend tspan')->map('text')->grep(qr/\w/);
        ok $shown->size && $part->all_text !~ /No data/, qq("$title": ) . $shown->join(', ');
    }
    is $parts[1]->at('.stat')->text, 'goes on', 'a number that has a name has it';
};

$t->done;
