# nginx -t: every wrong, duplicate or missing value is an error that names directive, value and line.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once store => 'nothing is stored';
use Test::Lines;

my $t     = Test::Lines->new;
my $token = $t->file('token', 'x' x 32 . "\n");
my $empty = $t->file('empty', '');
my $space = $t->file('space', "two words\n");
my $long  = $t->file('long', 'x' x 5000);

# http-level text, server-level text, what the message must hold
my @wrong = (
    ['lines_zone lines;',                  '', qr/"lines" in "lines_zone", it must be NAME:SIZE/],
    ['lines_zone :4m;',                    '', qr/":4m" in "lines_zone"/],
    ['lines_zone lines:big;',              '', qr/"lines:big" in "lines_zone"/],
    ['lines_zone lines:4k;',               '', qr/"lines:4k" in "lines_zone" is too small/],
    ['lines_zone a:4m; lines_zone b:4m;',  '', qr/"lines_zone" directive is duplicate/],
    ['lines_zone;',                        '', qr/number of arguments in "lines_zone"/],
    ['lines_redis redis://127.0.0.1 timeout=1x;', '', qr/timeout=1x.*lines_redis|lines_redis.*timeout=1x/],
    ['lines_redis redis://127.0.0.1 colour=red;', '', qr/colour=red/],
    ['lines_redis unix:/r; lines_redis unix:/s;', '', qr/"lines_redis" directive is duplicate/],
    ['lines_redis rediss://127.0.0.1 verify=never;', '', qr/verify=never.*lines_redis|lines_redis.*verify=never/],
    ['lines_redis redis+cluster://127.0.0.1/1;',  '', qr/a database other than 0.*"lines_redis"/],
    ['lines_redis gopher://127.0.0.1;',           '', qr/gopher/],
    ['lines_plan growth;',                 '', qr/number of arguments in "lines_plan"/],
    ['lines_plan growth fax;',             '', qr/"fax" in "lines_plan"/],
    ['lines_plan growth phone included=x;', '', qr/"included=x" in "lines_plan"/],
    ['lines_plan growth phone included=-1;', '', qr/"included=-1" in "lines_plan"/],
    ['lines_plan growth phone included=;', '', qr/"included=" in "lines_plan"/],
    ['lines_plan growth phone price=;',    '', qr/"price=" in "lines_plan"/],
    ['lines_plan growth phone max=1 max=2;', '', qr/duplicate parameter "max=2" in "lines_plan"/],
    ['lines_plan growth phone colour=red;', '', qr/"colour=red" in "lines_plan"/],
    ['lines_plan growth phone; lines_plan growth phone;', '', qr/duplicate "lines_plan" "growth" "phone"/],
    ['lines_key_prefix a_; lines_key_prefix b_;', '', qr/"lines_key_prefix" directive is duplicate/],
    ['lines_key_ttl soon;',                '', qr/"lines_key_ttl" directive invalid value/],
    ['lines_workspace_api;',               '', qr/"lines_workspace_api" directive is not allowed here/],
    ['', 'location /api/ { lines_workspace_api on; }',                   qr/number of arguments in "lines_workspace_api"/],
    ['', 'location /api/ { lines_workspace_api; lines_workspace_api; }', qr/"lines_workspace_api" directive is duplicate/],
    ['', 'location /api { lines_workspace_api; }',                       qr/"lines_workspace_api" must be in a prefix location that ends with "\/", not in "\/api"/],
    ['', 'location = /api/ { lines_workspace_api; }',                    qr/"lines_workspace_api" must be in a prefix location/],
    ['', 'location ~ /api/ { lines_workspace_api; }',                    qr/"lines_workspace_api" must be in a prefix location/],
    ['', 'location @api { lines_workspace_api; }',                       qr/"lines_workspace_api" must be in a prefix location/],
    ['', 'location /api/ { lines_workspace_api; lines_ready; }',         qr/"lines_ready": location "\/api\/" has another handler/],
    ['', 'location /api/ { proxy_pass http://127.0.0.1:1; lines_workspace_api; }', qr/"lines_workspace_api": location "\/api\/" has another handler/],
    ['', 'location /a/ { lines_admin; }',                                qr/number of arguments in "lines_admin"/],
    ['', 'location /a/ { lines_admin token=secret; }',                   qr/"token=secret" in "lines_admin"/],
    ['', 'location /a/ { lines_admin token_file=; }',                    qr/"token_file=" in "lines_admin"/],
    ['', 'location /a/ { lines_admin token_file=/nowhere/at/all; }',     qr/"lines_admin": open\(\) "\/nowhere\/at\/all" failed \(2:/],
    ['', "location /a/ { lines_admin token_file=$empty; }",              qr/"lines_admin": no token in "\Q$empty\E"/],
    ['', "location /a/ { lines_admin token_file=$space; }",              qr/"lines_admin": not NAME ROLE TOKEN in "\Q$space\E", line 1/],
    ['', "location = /h { lines_billing_webhook secret_file=$space; }",   qr/"lines_billing_webhook": the secret in "\Q$space\E" has white space or control characters/],
    ['', "location = /h { lines_billing_webhook secret_file=$empty; }",   qr/"lines_billing_webhook": no secret in the first line of "\Q$empty\E"/],
    ['', "location = /h { lines_billing_webhook secret_file=$long; }",    qr/"lines_billing_webhook": no secret in the first line of "\Q$long\E"/],
    ['', "location = /h { lines_billing_webhook secret_file=@{[$t->dir]}; }", qr/"lines_billing_webhook": read\(\) "\Q@{[$t->dir]}\E" failed/],
    ['', 'location = /r { lines_ready yes; }',                           qr/number of arguments in "lines_ready"/],
);

for (@wrong) {
    my ($http, $server, $message) = @$_;
    my ($code, $output) = $t->test_config(http => $http, server => $server);
    my $what = $http || $server;
    isnt $code, 0, "refused: $what";
    like $output, $message, '... naming directive and value';
    like $output, qr/nginx\.conf:\d+$/m, '... and the line';
    unlike $output, qr/two words|operator/, '... but no secret';
}

subtest 'what is fine' => sub {
    for my $fine (
        ['', ''],
        ['', 'location /api/ { lines_workspace_api; }'],
        ['', 'location / { lines_workspace_api; }'],
        ['', "location /api/ { lines_workspace_api; client_max_body_size 1; } location /a/ { lines_admin token_file=$token; }"],
        ['lines_redis unix:/nowhere/redis.sock;', 'location /api/ { lines_workspace_api; } location = /ready { lines_ready; }'],
        ['lines_redis redis://127.0.0.1:1/3 timeout=1s;', 'location /api/ { lines_workspace_api; }'],
        ['lines_plan a phone; lines_plan a email included=0 price=p max=7; lines_plan b phone included=2;', ''],
      )
    {
        my ($code, $output) = $t->test_config(http => $fine->[0], server => $fine->[1]);
        is $code, 0, "$fine->[0] $fine->[1]" or diag $output;
    }
};

subtest 'a secret that everybody may read is warned of' => sub {
    chmod 0644, $token;
    my ($code, $output) = $t->test_config(server => "location /a/ { lines_admin token_file=$token; }");
    is $code, 0, 'it works';
    like $output, qr/\[warn\].*everybody may read the secret in "\Q$token\E"/, 'with a warning';
};

subtest 'a module that is loaded and not used does nothing' => sub {
    my $nginx = $t->nginx(name => 'idle', http => 'lines_redis redis://127.0.0.1:1;', server => 'location / { return 204; }');
    is $nginx->get('/')->status, 204, 'nginx serves';
    unlike $nginx->error_log, qr/lines/, 'nobody looked for Redis';
};

$t->done;
