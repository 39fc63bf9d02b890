# The JSON log, and what the references say of variables and metrics.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json);
use Test::More;
use Test::Lines qw(wait_for);

my $t     = Test::Lines->new;
my $conf  = path($t->root, 'conf');
my $redis = $t->redis;
my $nginx = $t->nginx(
    redis  => $redis,
    http   => "include $conf/log-json.conf;",
    server => <<"END"
access_log @{[$t->dir]}/lines.json lines_json;
location = /metrics { lines_metrics survey=1s; }
location /gate/ { lines_auth workspace; lines_rate_limit rate=1r/h burst=5 name=gate; empty_gif; }
location /plain/ { return 204; }
END
);

my $key = $nginx->workspace(one => {plan => 'growth'});

$nginx->get('/gate/x', $nginx->bearer($key, 'X-Request-Id' => 'mine', traceparent => "00-@{['a' x 32]}-@{['b' x 16]}-00"));
$nginx->get('/gate/x?"quoted"', {'User-Agent' => '"\\'});
$nginx->get('/plain/"x"');
$nginx->raw("NONSENSE\r\n\r\n");

my $file = path($t->dir, 'lines.json');
wait_for(sub { -e $file && grep {/plain/} split /\n/, $file->slurp }, 20, 'the log');

my @lines = map { decode_json($_) } split /\n/, $file->slurp;
my ($good) = grep { ($_->{request_id} // '') eq 'mine' } @lines;

is $good->{status}, 200, 'a line is JSON';
is $good->{tenant}, 'w:one', 'tenant';
is $good->{plan}, 'growth', 'plan';
like $good->{traceparent}, qr/^00-a{32}-b{16}-00$/, 'traceparent';
is $good->{auth}, 'key', 'auth';
is $good->{limit_status}, 'passed', 'limit_status';
is $good->{limit_remaining}, 4, 'limit_remaining';
like $good->{redis_time}, qr/^\d+\.\d{3}$/, 'redis_time';
like $good->{key_id}, qr/^[0-9a-f]{64}$/, 'key_id';

my ($bad) = grep { ($_->{auth_failure} // '') ne '' } @lines;
is $bad->{status}, 401, 'a failure';
is $bad->{tenant}, '', 'of nobody';

# each variable of the reference is one, and each that there is is in it
{
    my @documented = map { /^\| `\$(lines_\w+)`/ ? $1 : () } split /\n/, $conf->child('variables.md')->slurp;
    cmp_ok scalar @documented, '>', 9, 'variables are documented';

    my ($code, $out) = $t->test_config(
        redis => $redis,
        http  => "log_format all '" . join(' ', map {"\$$_"} @documented) . "';"
    );
    is $code, 0, 'and known to nginx' or diag $out;

    my %known = map { $_ => 1 } @documented;
    my @there = map { path($_)->slurp =~ /^\s+\{ ngx_string\("(lines_\w+)"\), NULL,/gm }
      glob($t->root . '/src/http/*variables.c ' . $t->root . '/src/limit/*variables.c');
    is_deeply [grep { !$known{$_} } @there], [], 'all that there are';
}

# each family of metrics, too
{
    wait_for(sub { $nginx->get('/metrics')->body =~ /^lines_survey_age_seconds/m }, 30, 'the survey');

    my $text   = $conf->child('metrics.md')->slurp;
    my %known  = map { $_ => 1 } map { /^\|(.*?)\|/ ? $1 =~ /`(lines_\w+)`/g : () } split /\n/, $text;
    my %family = map { $_ => 1 } $nginx->get('/metrics')->body =~ /^# TYPE (\S+)/gm;

    is_deeply [sort grep { !$known{$_} } keys %family], [], 'all families are documented';
    is_deeply [sort grep { !$family{$_} && !/billing|database|audit|jwks|token_cache|token_signatures/ } keys %known], [], 'and those documented are there';
}

# and each directive
{
    my $text = $conf->child('directives.md')->slurp;
    my ($commands) = path($t->root, 'src/ngx_http_lines_module.c')->slurp =~ /ngx_command_t  commands\[\] = \{(.*?)ngx_null_command/s;
    ok $commands, 'the directives';
    is_deeply [grep { $text !~ /^### $_$/m } grep {/^lines_(?:auth|rate_limit|metrics)$/} $commands =~ /ngx_string\("(\w+)"\)/g], [], 'directives of the gateway';
}

$t->done;
