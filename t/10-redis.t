use Mojo::Base -strict, -signatures;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines::Once store => 'nothing is stored';
use Test::Lines;

# The directive lines_redis: what it takes, and what nginx -t says of the rest.

my $t = Test::Lines->new;

my $good  = $t->file('good.pw',  "open sesame\n");
my $empty = $t->file('empty.pw', "\n");
my $two   = $t->file('two.pw',   "one\ntwo\n");
my $long  = $t->file('long.pw',  'x' x 5000);

# a location that uses Redis, so that its host is looked at
sub check ($value, $http = '') {
    state $n = 0;

    my $nginx = Test::Lines::Nginx->new(
        t      => $t,
        name   => 'config' . ++$n,
        http   => "$http\nlines_redis $value;",
        server => 'location = /ready { lines_ready; }'
    );

    my ($code, $output) = $nginx->test_config;

    my $line = 0;
    for my $text (split /\n/, $nginx->configuration) {
        $line++;
        last if $text =~ /lines_redis/;
    }

    return ($code, $output, $nginx->conf_file . ":$line");
}

subtest 'taken' => sub {
    for my $value (
        'redis://127.0.0.1',
        'redis://127.0.0.1/',
        'redis://127.0.0.1:6380/15',
        'REDIS://127.0.0.1',
        'redis://localhost:6379/0',
        'redis://[::1]:6379/2',
        'redis://[::1]',
        'unix:/run/redis.sock',
        'unix:/run/redis.sock:3',
        'redis://127.0.0.1 timeout=300ms connect_timeout=2s max_inflight=100',
        "redis://127.0.0.1 password_file=$good",
        "redis://app\@127.0.0.1 password_file=$good",
        "redis://127.0.0.1 user=app password_file=$good"
      )
    {
        my ($code, $output) = check($value);
        is $code, 0, $value or diag $output;
    }

    my ($code, $output) = check('redis://redis.invalid/0', 'resolver 127.0.0.1:53;');
    is $code, 0, 'an unknown host, which a resolver may find later' or diag $output;
};

subtest 'refused' => sub {
    my @table = (
        ['redis://127.0.0.1:0',                    qr/invalid port in "redis:\/\/127\.0\.0\.1:0"/],
        ['redis://127.0.0.1:65536',                qr/invalid port/],
        ['redis://127.0.0.1:x',                    qr/invalid port/],
        ['redis://127.0.0.1/one',                  qr/invalid database number/],
        ['redis://127.0.0.1/-1',                   qr/invalid database number/],
        ['redis://127.0.0.1/0?timeout=1s',         qr/invalid database number/],
        ['redis://127.0.0.1/99999999999',          qr/invalid database number/],
        ['redis://',                               qr/no host/],
        ['redis:///0',                             qr/no host/],
        ['redis://@127.0.0.1',                     qr/no user before "\@"/],
        ['redis://[::1',                           qr/invalid host/],
        ['redis://a[::1]',                         qr/invalid host/],
        ['redis://redis]a',                        qr/invalid host/],
        ['redis://unix:redis.sock',                qr/a socket's path is "unix:\/\.\.\." alone/],
        ['redis+cluster://127.0.0.1,UNIX:a',       qr/a socket's path is/],
        ['rediss+sentinel://unix:a/shop',          qr/a socket's path is/],
        ['redis://127.0.0.1:6379-6381',            qr/invalid port/],
        ['redis://redis.invalid/0',                qr/host not found in "redis\.invalid:6379\/0".*resolver/],
        ['http://127.0.0.1',                       qr/neither "redis:\/\/", "rediss:\/\/", "redis\+sentinel:\/\/", "rediss\+sentinel:\/\/", "redis\+cluster:\/\/", "rediss\+cluster:\/\/" nor "unix:"/],
        ['127.0.0.1:6379',                         qr/neither "redis:\/\/", "rediss:\/\/", "redis\+sentinel:\/\/", "rediss\+sentinel:\/\/", "redis\+cluster:\/\/", "rediss\+cluster:\/\/" nor "unix:"/],
        ['unix:',                                  qr/no absolute path/],
        ['unix:redis.sock',                        qr/no absolute path/],
        ['unix:/redis.sock:x',                     qr/invalid database number/],
        ['unix:/' . 'a' x 200,                     qr/too long path/],
        ['redis://127.0.0.1 timeout=0',            qr/invalid time in parameter "timeout=0"/],
        ['redis://127.0.0.1 timeout=soon',         qr/invalid time in parameter "timeout=soon"/],
        ['redis://127.0.0.1 connect_timeout=-1',   qr/invalid time in parameter "connect_timeout=-1"/],
        ['redis://127.0.0.1 max_inflight=0',       qr/invalid number in parameter "max_inflight=0"/],
        ['redis://127.0.0.1 max_inflight=many',    qr/invalid number in parameter "max_inflight=many"/],
        ['redis://127.0.0.1 timeout=',             qr/no value in parameter "timeout="/],
        ['redis://127.0.0.1 timeout=1s timeout=2s', qr/duplicate parameter "timeout=2s"/],
        ['redis://127.0.0.1 retries=3',            qr/invalid parameter "retries=3"/],
        ['redis://127.0.0.1 1',                    qr/invalid parameter "1"/],
        ['redis://127.0.0.1 user=app',             qr/user "app" without "password_file="/],
        ["redis://a\@127.0.0.1 user=b password_file=$good", qr/the URL names a user too: parameter "user=b"/],
        ["redis://127.0.0.1 password_file=$good.no", qr/open\(\) "\Q$good\E\.no".*No such file/],
        ["redis://127.0.0.1 password_file=$empty", qr/an empty file in parameter "password_file=\Q$empty\E"/],
        ["redis://127.0.0.1 password_file=$two",   qr/more than one line/],
        ["redis://127.0.0.1 password_file=$long",  qr/too long a file/],
    );

    for my $case (@table) {
        my ($value, $message) = @$case;
        my ($code, $output, $line) = check($value);

        isnt $code, 0, $value;
        like $output, $message, '... says why';
        like $output, qr/"?lines_redis"?/, '... names the directive';
        like $output, qr/\Q$line\E/, '... and its line';
    }

    my ($code, $output, $line) = check('redis://127.0.0.1; lines_redis redis://127.0.0.2');
    isnt $code, 0, 'two of them';
    like $output, qr/"lines_redis" directive is duplicate in \Q$line\E/, '... says why';

    ($code, $output) = check('');
    isnt $code, 0, 'no value';
    like $output, qr/invalid number of arguments in "lines_redis"/, '... says why';
};

subtest 'a secret is not repeated' => sub {
    for my $value (
        'redis://app:hunter2@127.0.0.1/0',
        'redis://:hunter2@127.0.0.1/0',
        'rediss://app:hunter2@127.0.0.1/0',
        'redis+sentinel://app:hunter2@127.0.0.1/0',
        'http://app:hunter2@127.0.0.1/0',
        'redis://127.0.0.1 password=hunter2'
      )
    {
        my ($code, $output, $line) = check($value);

        isnt $code, 0, $value;
        like $output, qr/lines_redis.*\Q$line\E/, '... names directive and line';
        unlike $output, qr/hunter2/, '... but not the secret';
    }
};

$t->done;
