# nginx -t: whatever is wrong with a directive's parameter is said in one way,
#     what would be right: what is wrong "name=value" in "directive" in nginx.conf:LINE
# and where nothing is wrong, nothing is said.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once store => 'nothing is stored';
use Test::Lines;

my $t      = Test::Lines->new;
my $secret = $t->file('secret', "whsec_hunter2_hunter2_hunter2_hunter2\n");

my $seal   = $t->file('seal', '0' x 64 . "\n");

chmod 0600, $secret, $seal;

# what stands before the parameters; where (http or server); of or in; those
# that are good, of which a second one is refused unless it is among the last;
# values that are not, and what is said to be right
my %directives = (
    lines_redis => {
        first => 'redis://127.0.0.1', of => 'of',
        good  => ['timeout=1s', 'silence=5s', 'connect_timeout=1s', 'max_inflight=1', 'layout=1'],
        bad   => {
            'timeout=0'            => 'not a time from 1ms up: invalid time in parameter',
            'layout=3' => 'not a number from 1 to 2: invalid number in parameter',
            'max_inflight=1000001' => 'not a number from 1 to 1000000: invalid number in parameter',
        },
        unknown => 'none of timeout=, silence=, connect_timeout=, max_inflight=, replicas=, wait=, fsync=, layout=, user=, password_file=, sentinel_user=, sentinel_password_file=, cacert=, cert=, key=, sni=, verify=: ',
    },
    'lines_redis limits' => {
        first => 'redis://127.0.0.1', of => 'of',
        good  => ['timeout=1s', 'silence=5s', 'connect_timeout=1s', 'max_inflight=1'],
        bad   => {
            'timeout=0'            => 'not a time from 1ms up: invalid time in parameter',
            'max_inflight=1000001' => 'not a number from 1 to 1000000: invalid number in parameter',
            map { ($_ => 'invalid parameter') } qw(replicas=1 wait=1s fsync=on layout=2)
        },
        unknown => 'none of timeout=, silence=, connect_timeout=, max_inflight=, user=, password_file=, sentinel_user=, sentinel_password_file=, cacert=, cert=, key=, sni=, verify=: ',
    },
    lines_plan => {
        first => 'growth phone',
        good  => ['price=p', 'included=0', 'max=2147483647', 'daily_conversations=1', 'daily_messages=1'],
        bad   => {'included=-1' => 'not a number from 0 up: invalid parameter', 'max=2147483648' => 'not a number from 0 up: invalid parameter'},
    },
    lines_agent_plan => {
        first    => 'agent',
        good     => ['price=p', 'preview_ttl=24h', 'daily=unlimited', 'monthly=0'],
        required => 'price=',
        bad      => {
            'preview_ttl=999ms' => 'not a time from 1s to 1d: invalid parameter',
            'preview_ttl=25h'   => 'not a time from 1s to 1d: invalid parameter',
            'daily=many'        => 'not a number or "unlimited": invalid parameter',
        },
    },
    lines_billing => {
        of       => 'of',
        good     => ["key_file=$secret", 'deployment=prod-1', 'version=2026-10-28.endive', 'rate=1r/s', 'budget=1s', 'timeout=2s', 'plain=loopback'],
        required => 'key_file=',
        bad      => {
            'deployment=a/b'               => 'not up to 64 letters, digits, "-", "_" and ".": invalid parameter',
            'deployment=' . 'a' x 65       => 'not up to 64 letters, digits, "-", "_" and ".": invalid parameter',
            'plain=yes'                    => 'not "loopback": invalid parameter',
            'rate=59r/m'                   => 'not a rate from 1r/s up, as 80r/s: invalid parameter',
            'budget=-1'                    => 'not a time from 1ms up: invalid parameter',
        },
    },
    lines_billing_plan => {first => 'growth', of => 'of', good => [], many => ['price=a', 'price=b'], required => 'price='},
    lines_operations => {
        of   => 'of',
        good => ['lease=20s', 'batch=1', 'poll=1m,2m', 'audit=off', 'pass=1m'],
        bad  => {'poll=2m,1m' => 'not times that rise, as 1m,5m,30m: invalid parameter', 'batch=0' => 'not a number from 1 up: invalid parameter', 'audit=never' => 'not a time, or "off": invalid parameter'},
    },
    lines_provisioner => {first => '/p', of => 'of', good => ['plain=loopback'], room => 1},
    lines_probe => {
        first => '/p', room => 2,
        good  => ['timeout=5m', 'plain=loopback'],
        bad   => {'timeout=301s' => 'not a time from 1ms to 5m: invalid parameter'},
    },
    lines_webhooks_out => {
        first => '/p', required => 'key_file=',
        good  => ["key_file=$seal", "old_key_file=$seal", 'timeout=1m', 'concurrency=2', 'retry=1m', 'sweep=1h', 'look=1h', 'pause=30d', 'rotation=30d', 'unsafe_allow=127.0.0.0/8', 'unsafe_port=8443'],
        bad   => {
            'timeout=61s'    => 'not a time from 1ms to 1m: invalid parameter',
            'concurrency=1'  => 'not a number from 2 to 512: invalid parameter',
            'pause=x'        => 'not a time from 1ms up: invalid parameter',
            'unsafe_allow=x' => 'not a network, as 127.0.0.0/8: invalid parameter',
            'unsafe_port=0'  => 'not a number from 1 to 65535: invalid parameter',
        },
    },
    lines_auth => {
        first => 'workspace', empty => 'invalid parameter', twice => 'invalid parameter',
        good  => ['stale=0', 'cache=tenant', 'hide_credentials=on'],
        bad   => {'stale=x' => 'not a time from 0 up: invalid parameter', 'cache=none' => 'neither "tenant" nor "shared": invalid parameter'},
    },
    lines_clerk => {
        empty => 'empty parameter',
        good  => ['issuer=https://clerk.example', 'jwks=/j', 'cookie=s', 'tenant_claim=o.id', 'leeway=0', 'jwks_ttl=1m', 'jwks_stale=1d', 'jwks_cooldown=1s', 'plain=loopback'],
        many  => ['authorized_party=https://a.example', 'authorized_party=https://b.example'],
        bad   => {'leeway=301s' => 'not a time from 0 to 5m: invalid time', 'jwks_ttl=99ms' => 'not a time from 100ms up: invalid time'},
    },
    lines_cors => {
        good => ['credentials', 'max_age=1h'],
        many => ['origin=https://a.example', 'origin=https://b.example:8443'],
        bad  => {
            'max_age=25h'               => 'not a time from 0 to 1d: invalid parameter',
            'origin=https://a.example/' => 'not an origin as browsers write it, https://app.example.com: slash at the end of parameter',
        },
    },
    lines_rate_limit => {
        good => ['rate=5r/s', 'burst=5', 'key=ip', 'name=a', 'sync=each', 'fail=open', 'status=503', 'dry_run', 'x_ratelimit'],
        bad  => {
            'rate=5'         => 'not a rate, as 50r/s or 3000r/m: invalid parameter',
            'burst=10000001' => 'not a number from 1 to 10000000: invalid parameter',
            'key=nobody'     => 'not "tenant", "key", "ip" or a $variable: invalid parameter',
            'fail=maybe'     => 'neither "local", "open" nor "closed": invalid parameter',
            'sync=never'     => 'neither "lease" nor "each": invalid parameter',
            'status=399'     => 'not a number from 400 to 599: invalid parameter',
            'name=' . 'a' x 65 => 'not up to 64 letters, digits, "-", "_" and ".": invalid parameter',
        },
        unknown => 'none of rate=, burst=, key=, name=, sync=, fail=, status=, dry_run, x_ratelimit: ',
    },
    lines_account_api => {
        location => 1,
        good     => ['key_id_header=X-Id', 'secret_header=X-Secret'],
        bad      => {'secret_header=a_b' => 'not letters, digits and "-": invalid name of a header'},
    },
    lines_deprecated_endpoints => {
        first => 'on',
        good  => ['since=2024-02-29', 'sunset=2027-12-31'],
        bad   => {'since=2027-02-29' => 'not YYYY-MM-DD: invalid date'},
    },
    lines_tenant_limits => {
        good => ['tickets=1', 'requests=unlimited', 'declined=1000', 'declined_window=1m', 'billing=5r/m', 'billing_burst=1', 'previews=1', 'waits=1', 'webhooks=50'],
        bad  => {(map { ("$_=0" => 'not a number from 1 up or "unlimited": invalid parameter') } qw(tickets requests previews waits)),
            (map { ("declined=$_" => 'not a number from 1 to 1000 or "unlimited": invalid parameter') } 0, 1001),
            (map { ("webhooks=$_" => 'not a number from 1 to 50: invalid parameter') } 0, 51, 'unlimited'),
            'billing=5' => 'not a rate, as 30r/m, or "unlimited": invalid parameter'},
    },
    lines_admin           => {location => 1, room => 1, good => ["token_file=$secret"], unknown => 'none of token_file=: '},
    lines_metrics         => {location => 1, room => 1, good => ['survey=1s'], bad => {'survey=0' => 'not a time from 1ms up: invalid parameter'}},
    lines_billing_webhook => {
        location => 1, of => 'of',
        good     => ['tolerance=1s'],
        many     => ["secret_file=$secret", "secret_file=$secret"],
        required => 'secret_file=',
        bad      => {'tolerance=0' => 'not a time from 1s up: invalid parameter'},
    },
);

sub check ($name, @parameters) {
    my $directive = $directives{$name};
    my $text      = join ' ', $name, $directive->{first} // (), @parameters;

    return $t->test_config($directive->{location} ? (server => "location /x/ { $text; }") : (http => "$text;"));
}

sub refused ($name, $message, @parameters) {
    my ($code, $output) = check($name, @parameters);
    isnt $code, 0, "refused: @parameters";
    like $output, qr/\[emerg\] (?:none of .*=.*: )?\Q$message\E in \S+nginx\.conf:\d+$/m, '... in one wording';
    unlike $output, qr/hunter2/, '... without a secret';
}

for my $name (sort keys %directives) {
    my $directive = $directives{$name};
    my $where     = ($directive->{of} // 'in') . " \"$name\"";
    my @good      = (@{$directive->{good}}, @{$directive->{many} // []});
    my $room      = $directive->{room} // 99;

    subtest $name => sub {
        my ($code, $output) = check($name, @good[0 .. ($room < @good ? $room : @good) - 1]);
        unlike $output, qr{parameter "|lacks "|: invalid }, 'all that is right';

        refused($name, ($directive->{unknown} // '') . "invalid parameter \"colour=red\" $where", 'colour=red');

        for my $empty (map {/^(\w+=)/ ? $1 : ()} @good) {
            refused($name, ($directive->{empty} // 'no value in parameter') . " \"$empty\" $where", $empty);
        }

        if ($room > 1) {
            refused($name, ($directive->{twice} // 'duplicate parameter') . " \"$_\" $where", $_, $_) for @{$directive->{good}};
        }

        for my $bad (sort keys %{$directive->{bad} // {}}) {
            refused($name, "$directive->{bad}{$bad} \"$bad\" $where", $bad);
        }

        if (my $required = $directive->{required}) {
            my ($other) = grep {index($_, $required)} @good;
            refused($name, "\"$name\" lacks \"$required\"", $other) if $other;
        }
    };
}

subtest 'words without a name' => sub {
    for (
        ['lines_plan growth fax'            => 'neither "phone" nor "email": invalid channel "fax" in "lines_plan"'],
        ['lines_auth nobody'                => 'neither "workspace", "account", "clerk", "any" nor "off": invalid value "nobody" in "lines_auth"'],
        ['lines_deprecated_endpoints maybe' => 'neither "on" nor "off": invalid value "maybe" in "lines_deprecated_endpoints"'],
    ) {
        my ($text, $message) = @$_;
        my ($code, $output) = $t->test_config(http => "$text;");
        isnt $code, 0, $text;
        like $output, qr/\[emerg\] \Q$message\E in \S+nginx\.conf:\d+$/m, '... says what there is';
    }
};

subtest 'lines_operations goes on in another' => sub {
    my ($code, $output) = $t->test_config(http => 'lines_operations lease=20s; lines_operations batch=8;');
    is $code, 0, 'with other parameters' or diag $output;

    ($code, $output) = $t->test_config(http => 'lines_operations lease=20s; lines_operations lease=21s;');
    isnt $code, 0, 'not with the same';
    like $output, qr/duplicate parameter "lease=21s" of "lines_operations" in/, 'which is said';
};

subtest 'a password is not repeated' => sub {
    refused('lines_redis', 'a password belongs in "password_file=": invalid parameter "password=" of "lines_redis"', 'password=hunter2');
};

subtest 'a password that everybody may read' => sub {
    chmod 0644, $secret;
    my ($code, $output) = $t->test_config(http => "lines_redis redis://127.0.0.1 password_file=$secret;");
    is $code, 0, 'is taken';
    like $output, qr/\[warn\].*"lines_redis": everybody may read the secret in "\Q$secret\E"/, 'with a warning';
};

$t->done;
