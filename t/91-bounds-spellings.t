# One limit for all spellings of a path: a name means one bucket, and each configuration that is handed out has one.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Test::More;
use Test::Lines;
use Test::Lines::Account;

my $t = Test::Lines->new;

# "location { … }" of a file that has an account API: its prefix and its limits
sub locations ($text) {
    return map { my ($prefix, $inner) = @$_; {prefix => $prefix, limits => [sort $inner =~ /^\s*(lines_rate_limit\s[^;]*);/mg], bounds => [sort $inner =~ /^\s*(lines_tenant_limits\s[^;]*);/mg]} }
      grep { $_->[1] =~ /^\s*lines_account_api\b/m } map { [/(\S+)\s*\{([^{}]*)\}/s] } $text =~ /^\s*location\s+(\S+\s*\{[^{}]*\})/mg;
}

for my $file (qw(conf/lines.conf conf/demo/nginx.conf docker/node.conf)) {
    subtest $file => sub {
        my @all = locations(path($t->root, $file)->slurp);
        is_deeply [sort map { $_->{prefix} } @all], ['/account/', '/accounts/'], 'both spellings answer';
        ok @{$all[0]{limits}}, 'with a limit';
        like $_, qr/\sname=\S/, '... that has a name' for map { @{$_->{limits}} } @all;
        is_deeply $all[1]{$_}, $all[0]{$_}, "... the same $_ for both" for qw(limits bounds);
    };
}

my $shop  = Test::Lines::Account->new(t => $t);
my $nginx = $shop->nginx(api => 'lines_rate_limit rate=1r/h burst=4 sync=each name=accounts;',
    server => "location /account/ { lines_account_api; lines_rate_limit rate=1r/h burst=4 sync=each name=accounts; }\n");

subtest 'one bucket' => sub {
    my $one = $shop->account('one');
    is $nginx->get("/$_/limits", $one->{headers})->status, 200, $_ for qw(accounts account accounts account);
    for my $prefix (qw(accounts account)) {
        my $answer = $nginx->get("/$prefix/limits", $one->{headers});
        is $answer->status, 429, "$prefix: enough";
        is $answer->json('/error'), 'rate_limited', '... in its words';
        cmp_ok $answer->header('Retry-After'), '>', 3500, '... which says when';
    }
    is $nginx->post_json('/account/lines/add-line', {line_request_type => 'phone'}, $one->{headers})->status, 429, 'tickets, too';
};

$t->done;
