# What a client's developer makes of the documents: Redocly finds nothing wrong with them, openapi-typescript makes types
# of them, and with these types and openapi-fetch the README's first request compiles under tsc --strict as it stands,
# works, and what is missing in a request is an error of the compiler's.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::JSON qw(encode_json);
use Mojo::JSON::Pointer;
use Mojo::Util qw(decode);
use Test::More;
use Test::Lines::Once build => 'the documents are the same', store => 'any will do';
use Test::Lines;
use Test::Lines::Node qw(node_dir);
use YAML::PP;

my ($node, $why_not) = node_dir;
plan skip_all => $why_not unless $node;

my $t    = Test::Lines->new;
my $root = $t->root;
my $dir  = path($t->dir, 'client')->make_path;
my %file = (client => 'api/openapi.yaml', operator => 'openapi-operator.yaml');
my %doc  = map { $_ => YAML::PP->new(boolean => 'JSON::PP')->load_string(decode 'UTF-8', path("$root/conf/$file{$_}")->slurp) } keys %file;

sub spew ($name, $text) {
    open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
    print $file $text;
    close $file or die "$dir/$name: $!";
}

sub run (@command) {
    my $output = qx{cd @{[quotemeta $dir]} && @{[join ' ', map {quotemeta} @command]} 2>&1 < /dev/null};
    return ($? >> 8, $output);
}

symlink "$node/node_modules", "$dir/node_modules" or die "symlink: $!";
spew('package.json', '{"type": "module"}');
spew('settings.d.ts', 'export const baseUrl: string, token: string;');

# what a document shows as a request
sub example ($content) { exists $content->{example} ? $content->{example} : (map { $content->{examples}{$_}{value} } sort keys %{$content->{examples}})[0] }

sub follow ($which, $node) {
    my ($file, $pointer) = ($node->{'$ref'} // return $node) =~ /^([^#]*)#(.*)$/;
    return Mojo::JSON::Pointer->new($doc{$file ? 'client' : $which})->get($pointer);
}

my $import = <<'END';
import createClient from 'openapi-fetch';
import type { paths as Client } from './client.js';
import type { paths as Operator } from './operator.js';
import { baseUrl, token } from './settings.js';

const client = createClient<Client>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const operator = createClient<Operator>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
END

subtest 'Redocly' => sub {
    my ($code, $output) = run('node', "$root/t/node/openapi-lint.mjs", map {"$root/conf/$_"} sort values %file);
    is $code,   0,  'reads them' or diag $output;
    is $output, '', 'and finds nothing wrong';

    my $wrong = YAML::PP->new(boolean => 'JSON::PP')->load_string(encode_json($doc{client}));
    $wrong->{components}{responses}{TooMany}{content}{'application/json'}{examples}{rate_limited}{value}{code} = 'odd';
    (undef, $output) = run('node', "$root/t/node/openapi-lint.mjs", $t->file('wrong.json', encode_json($wrong)));
    like $output, qr/no-invalid-media-type-examples: .*TooMany/, 'but sees an example that its schema does not have';
};

subtest 'openapi-typescript' => sub {
    for my $which (sort keys %file) {
        my ($code, $output) = run("$node/node_modules/.bin/openapi-typescript", "$root/conf/$file{$which}", '-o', "$which.ts");
        is $code, 0, "makes types of $file{$which}" or diag $output;
    }
};

# The first request of the README: path and body are those of its command.
my ($path, $body) = path("$root/README.md")->slurp =~ m{curl -s \$LINES_URL(\S+) .*?-d '(\{.*?\})'}s;

my %source = (first => <<"END");
const { data, error, response } = await client.POST('$path', { body: $body });

if (data) {
    const id: string = data.line._id;
    const { data: again } = await client.GET('$path/{id}', { params: { path: { id } } });
    console.log(response.status, data.status, data.line.channelType, again?.line._id === id);

} else if ('success' in error) {
    console.log(response.status, error.status, error.redirect ?? error.message);

} else {
    console.log(response.status, error.error, error.code ?? 'no code');
}
END

# each operation of both documents, with the request that it shows
$source{all} = '';
for my $which (sort keys %doc) {
    for my $path (sort keys %{$doc{$which}{paths}}) {
        my $item = $doc{$which}{paths}{$path};
        for my $method (grep { $item->{$_} } qw(get put post delete)) {
            my (%params, @options);
            for my $param (map { follow($which, $_) } @{$item->{parameters} // []}, @{$item->{$method}{parameters} // []}) {
                next unless $param->{required};
                my $schema = follow($which, $param->{schema});
                $params{$param->{in}}{$param->{name}} = $schema->{const} // ($schema->{enum} // $schema->{examples} // ['x'])->[0];
            }
            push @options, 'params: ' . encode_json(\%params) if %params;
            push @options, 'body: ' . encode_json(example($item->{$method}{requestBody}{content}{'application/json'})) if $item->{$method}{requestBody};
            $source{all} .= "await $which.@{[uc $method]}('$path', { @{[join ', ', @options]} });\n";
        }
    }
}

my $name  = q(firstName: 'Ada', lastName: 'Lovelace');
my %right = (
    'a phone line'              => "{ $name, channelType: 'phone' }",
    'a bought number'           => "{ $name, channelType: 'phone', lineType: 'purchased' }",
    'null for what is left out' => "{ $name, channelType: 'phone', lineType: null, zipcode: null }",
    "a number of one's own"     => "{ $name, channelType: 'phone', lineType: 'byon', phone: '+14155551234', email: 'ada\@example.com' }",
    'an email line'             => "{ $name, channelType: 'email', email: 'ada\@example.com' }"
);
my %wrong = (
    'no channel'                          => "{ $name }",
    'no name'                             => "{ firstName: 'Ada', channelType: 'phone' }",
    'another channel'                     => "{ $name, channelType: 'fax' }",
    'another type'                        => "{ $name, channelType: 'phone', lineType: 'rented' }",
    'an email line without an address'    => "{ $name, channelType: 'email' }",
    "one's own number without the number" => "{ $name, channelType: 'phone', lineType: 'byon', email: 'ada\@example.com' }",
    "one's own number without an address" => "{ $name, channelType: 'phone', lineType: 'byon', phone: '+14155551234' }"
);

$source{right} = join '', map {"await client.POST('$path', { body: $right{$_} });\n"} sort keys %right;
$source{wrong} = join '', map {"await client.POST('$path', { body: $wrong{$_} });\n"} sort keys %wrong;

# all in one run, which takes the compiler seconds; what it says of each file
spew("$_.ts", $import . $source{$_}) for keys %source;
my (undef, $said) = run("$node/node_modules/.bin/tsc", qw(--strict --target es2022 --module nodenext --skipLibCheck --pretty false),
    map {"$_.ts"} qw(client operator), sort keys %source);
my %of  = map { my $file = $_; $file => join "\n", $said =~ /^(\Q$file\E\.ts\(.*)$/gm } keys %source, keys %doc;

subtest "the README's first request" => sub {
    ok $path && $body, 'is there';
    is $of{first}, '', 'compiles as it stands';

    my $nginx = $t->nginx(redis => $t->redis);
    my sub first ($token) {
        spew('settings.js', 'export const [baseUrl, token] = ' . encode_json([$nginx->url, $token]));
        return (run('node', 'first.js'))[1];
    }

    my $key = $nginx->workspace(one => {plan => 'growth'});
    is first($key), "201 provisioning phone true\n", 'and works';
    my $none = $nginx->workspace(none => {plan => 'growth', subscription => 'none'});
    is first($none), "403 subscription_required /billing\n", 'errors are told apart by their types';
    is first('none'), "401 Unauthorized no code\n", 'each';
};

subtest 'each request that the documents show' => sub {
    cmp_ok scalar(() = $source{all} =~ /^await/gm), '>=', 40, 'there are many';
    is $of{all}, '', 'compiles';
    is $of{$_}, '', "the types of $file{$_} do, too" for sort keys %doc;
};

subtest 'what each channel needs' => sub {
    is $of{right}, '', join ', ', sort keys %right;

    my $line = $import =~ tr/\n//;
    like $of{wrong}, qr/^wrong\.ts\(@{[++$line]},\d+\): error TS2322: /m, "$_: an error" for sort keys %wrong;
    is scalar(() = $said =~ /error TS/g), scalar(() = $of{wrong} =~ /error TS/g), 'and there is no other' or diag $said;
};

$t->done;
