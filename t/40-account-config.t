# Directives of the account dialect: what nginx -t refuses, and names of headers.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines;
use Test::Lines::Account;

my $t = Test::Lines->new;

sub config ($http, $server = '') { $t->test_config(http => $http, server => $server) }

sub refused ($name, $pattern, @text) {
    my ($code, $output) = config(@text);
    isnt $code, 0, "$name is refused";
    like $output, $pattern, '... by name';
    like $output, qr/nginx\.conf:\d+/, '... and line';
}

sub taken ($name, @text) {
    my ($code, $output) = config(@text);
    is $code, 0, "$name is taken" or diag $output;
}

subtest 'lines_agent_plan' => sub {
    my $q = qr/"lines_agent_plan"/;
    refused('no price',            $q, 'lines_agent_plan inbound_only daily=3;');
    refused('an empty price',      $q, 'lines_agent_plan inbound_only price=;');
    refused('a negative limit',    $q, 'lines_agent_plan inbound_only price=p daily=-1;');
    refused('a limit of words',    $q, 'lines_agent_plan inbound_only price=p monthly=many;');
    refused('no time to live',     $q, 'lines_agent_plan inbound_only price=p preview_ttl=0;');
    refused('a bad time to live',  $q, 'lines_agent_plan inbound_only price=p preview_ttl=soon;');
    refused('a long time to live', $q, 'lines_agent_plan inbound_only price=p preview_ttl=2d;');
    refused('an unknown parameter', $q, 'lines_agent_plan inbound_only price=p weekly=3;');
    refused('a double parameter',  $q, 'lines_agent_plan inbound_only price=p price=q;');
    refused('a double plan',       $q, 'lines_agent_plan inbound_only price=p; lines_agent_plan inbound_only price=q;');
    refused('an empty name',       $q, 'lines_agent_plan "" price=p;');
    taken('all of it', 'lines_agent_plan inbound_only price=p daily=unlimited monthly=0 preview_ttl=90s; lines_agent_plan other price=q;');
};

subtest 'lines_account_api' => sub {
    my $q = qr/"?lines_account_api"?/;
    refused('an unknown parameter', $q, '', 'location /accounts/ { lines_account_api header=x; }');
    refused('an empty name',        $q, '', 'location /accounts/ { lines_account_api key_id_header=; }');
    refused('a bad name',           $q, '', 'location /accounts/ { lines_account_api secret_header=a_b; }');
    refused('a double name',        $q, '', 'location /accounts/ { lines_account_api secret_header=a secret_header=b; }');
    refused('an exact location',    $q, '', 'location = /accounts/ { lines_account_api; }');
    refused('a double directive',   $q, '', 'location /accounts/ { lines_account_api; lines_account_api; }');
    taken('two locations', '', 'location /accounts/ { lines_account_api key_id_header=X-Id secret_header=X-Secret; } location /account/ { lines_account_api; }');
};

subtest 'lines_deprecated_endpoints' => sub {
    my $q = qr/"lines_deprecated_endpoints"/;
    refused('neither on nor off',   $q, 'lines_deprecated_endpoints maybe;');
    refused('an unknown parameter', $q, 'lines_deprecated_endpoints on until=2027-01-01;');
    refused("the date $_",          $q, "lines_deprecated_endpoints on sunset=$_;") for qw(soon 2027-13-01 2027-02-30 2027-1-1 1960-01-01);
    refused('a double date',        $q, 'lines_deprecated_endpoints on since=2026-01-01 since=2026-01-02;');
    refused('a double directive',   $q, 'lines_deprecated_endpoints on; lines_deprecated_endpoints off;');
    taken('all of it', 'lines_deprecated_endpoints on since=2024-02-29 sunset=2027-12-31;');
};

subtest 'lines_provisioner, lines_quarantine' => sub {
    refused('a location that is no path', qr/"lines_provisioner"/, 'lines_provisioner x;');
    refused('a location that is not there', qr/"lines_provisioner"/, 'lines_provisioner /none;');
    refused('an unknown parameter', qr/invalid parameter "plain=no" of "lines_provisioner"/, 'lines_provisioner /a plain=no;');
    refused('two provisioners', qr/"lines_provisioner"/, 'lines_provisioner /a; lines_provisioner /b;');
    refused('a bad time', qr/"lines_quarantine"/, 'lines_quarantine soon;');
    taken('no quarantine', 'lines_quarantine 0;');
};

subtest 'headers of other names' => sub {
    my $shop  = Test::Lines::Account->new(t => $t);
    my $nginx = $shop->nginx(server => "location /other/ { lines_account_api key_id_header=X-Id secret_header=X-Secret; }\n");
    my $one   = $shop->account('one');
    my ($id, $secret) = @{$one->{headers}}{qw(sb-api-key-id sb-api-secret-key)};

    is $nginx->get('/accounts/limits', $one->{headers})->status, 200, 'the usual names';
    is $nginx->get('/other/limits', $one->{headers})->status, 401, 'are not those of the other location';
    is $nginx->get('/other/limits', {'x-id' => $id, 'X-SECRET' => $secret})->status, 200, 'whose own work';
    is $nginx->get('/accounts/limits', {'x-id' => $id, 'X-SECRET' => $secret})->status, 401, 'only there';

    is $nginx->admin(DELETE => "accounts/one/keys/$id")->status, 200, 'a key that is revoked';
    Test::Lines::wait_for(sub { $nginx->get('/accounts/limits', $one->{headers})->status == 401 }, 10, 'the key to stop working');
    pass 'stops working';
};

$t->done;
