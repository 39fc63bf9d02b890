# The guides in conf/api do what they say: each of their lines is run against the demo, as it stands, and answers as it is
# shown there; and each code that clients are answered with is described, and none else.
use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Mojo::File qw(path);
use Mojo::Util qw(decode encode);
use Test::More;
use Test::Lines::Once build => 'the demo is the same', store => 'it has a Redis of its own';
use Test::Lines;
use Test::Lines::Demo;
use YAML::PP;

my $t     = Test::Lines->new;
my $root  = $t->root;
my @pages = qw(request-pay-poll preview-confirm-retry events-and-webhooks errors limits);
my %text  = map { $_ => decode 'UTF-8', path("$root/conf/api/$_.md")->slurp } @pages;

subtest 'the pages' => sub {
    is_deeply [sort map { path($_)->basename('.md') } glob "$root/conf/api/*.md"], [sort @pages], 'each is looked at here';
    my $readme = path("$root/README.md")->slurp;
    for my $page (@pages) {
        like $readme, qr/\]\(conf\/api\/\Q$page\E\.md\)/, "the README leads to $page";
        is_deeply [grep { !-e "$root/conf/api/$_" } $text{$page} =~ /\]\(((?!http)[^)#]+)/g], [], '... whose links lead somewhere';
        cmp_ok scalar(split /\n/, $text{$page}), '<=', 120, '... which is one page';
    }
};

# [command, answer] of each line with a "$", and what follows it
sub examples ($text) {
    my @examples;
    for my $block ($text =~ /^```console\n(.*?)^```$/gms) {
        my $goes_on;
        for my $line (split /\n/, $block) {
            if    ($goes_on)         { $examples[-1][0] .= "\n$line" }
            elsif ($line =~ s/^\$ //) { push @examples, [$line, ''] }
            else                     { $examples[-1][1] .= "$line\n"; next }
            $goes_on = $line =~ /\\$/;
        }
    }
    return @examples;
}

# What is another one each time, but of one form: what stands for it is compared.
my @forms = (
    [id      => qr/\b[0-9a-f]{24}\b/],
    [instant => qr/"\d{4}-\d\d-\d\dT[\d:.]+Z"/],
    [token   => qr/\blpv_[\w-]{20,}/],
    [number  => qr/\+1\d{10}\b/],
    [worker  => qr/\bworker-\d\d\b/],
    [object  => qr/\b(?:sub|in)_\w{10,}\b/],
    [sandbox => qr{http://127\.0\.0\.1:\d+/}],
    [left    => qr/;r=\d+;t=\d+/]
);

# white space is for a reader alone
sub plain ($text) {
    for (@forms) { my ($name, $form) = @$_; $text =~ s/$form/<$name>/g }
    return $text =~ s/\s+//gr;
}

sub alike ($got, $shown) {
    my $pattern = join '.*?', map { quotemeta } split /…/, plain($shown), -1;
    return plain($got) =~ /^$pattern$/s;
}

subtest 'what is alike' => sub {
    ok alike(qq({"_id":"01a219b5f7cb57b6312815d7",\n "a":1}), '{"_id":"01a1fd86764c1b0dfab1efed","a":1}'), 'another id';
    ok !alike('{"_id":"01a219b5","a":1}', '{"_id":"01a1fd86764c1b0dfab1efed","a":1}'), 'no id';
    ok alike('{"a":1,"b":2,"c":3}', '{"a":1,…,"c":3}'), 'what is left out';
    ok !alike('{"a":1,"b":2,"c":3}', '{"a":1,…,"c":4}'), 'another value';
    ok !alike('{"a":1,"b":2}', '{"a":1'), 'more than is shown';
    is_deeply [examples("x\n```console\n\$ one \\\n  two\nhere\nthere\n\$ three\n```\n")], [["one \\\n  two", "here\nthere\n"], ['three', '']], 'examples';
};

my $demo = Test::Lines::Demo->new(t => $t);

for my $page (@pages) {
    subtest $page => sub {
        my ($start, @examples) = examples($text{$page});
        is $start->[0], 'make up && . build/run/env', 'it begins with the demo';
        cmp_ok scalar(@examples), '>=', 4, 'it has examples';

        # one shell for all of a page
        my $script = $t->file("$page.sh", encode 'UTF-8', join "\n", '. ' . $demo->file, map({ ($_->[0], q(printf '\n\036')) } @examples), '');
        my @said   = split /\n\036/, decode('UTF-8', scalar qx{cd @{[$t->dir]} && timeout 120 bash $script 2>&1 < /dev/null}), -1;
        is scalar(@said), @examples + 1, 'all were run';

        for my $n (0 .. $#examples) {
            my ($command, $shown) = @{$examples[$n]};
            my $got = $said[$n] // '';
            ok alike($got, $shown), $command =~ s/\n.*//sr or diag encode "UTF-8", "got:   $got\nshown: $shown";
        }
    };
}

$demo->stop;

# The codes of the source: what lines_error() is told, what a JSON answer is written with, and tables of them.
sub codes () {
    my (%code, @unclear);
    my %table = map { $_ => 1 } 'error', 'tenant_refusals[i].code', 'refusal->code', 'code';

    for my $file (grep { !m{/(?:admin|observe|webhook)/} } glob "$root/src/*/*.c") {
        my $name   = path($file)->to_rel($root)->to_string;
        my $source = path($file)->slurp =~ s{/\*.*?\*/}{}gsr;
        $source =~ s/"\s*\n\s*"//g;

        # the fourth argument, or what is a code of its function's
        while ($source =~ /\blines_error(\((?:[^()"]|"(?:[^"\\]|\\.)*"|(?1))*\))/g) {
            my @args = split /,\s*(?![^()]*\))/, $1 =~ s/^\(|\)$//gr;
            next if $args[0] =~ /^ngx_http_request_t/;
            my ($code) = $args[3] =~ /^\s*(.*?)\s*$/s;
            if    ($code =~ /^"(\w+)"$/) { $code{$1} = $name }
            elsif ($code ne 'NULL' && !$table{$code}) { push @unclear, "$name: $code" }
        }

        $code{$1} = $name while $source =~ /'(?:code|error)':'(\w+)'/g;
        $code{$1} = $name while $source =~ /'success':false,\s*'status':'(\w+)'/g;
        $code{$1} = $name while $source =~ /\b(?:purchase_undo|offer_full)\((?:[^;]*?),\s+"([a-z_]+)"/g;
        $code{$1} = $name while $source =~ /lines_refusal_t  \w+ = \{\s*\w+, "(\w+)"/g;

        for my $table ($source =~ /\btenant_refusals\[\w+\] = \{(.*?)\n\};/gs) {
            $code{$1} = $name while $table =~ /\{ "(\w+)"/g;
        }
    }

    # and a line's status, where that is the answer
    $code{$_} //= 'src/store/moves' for path("$root/src/store/moves")->slurp =~ /^status +(\w+)/gm;

    return (\%code, \@unclear);
}

# what the sources end a line with
sub reasons () {
    my $of = sub ($file) { path("$root/src/$file")->slurp =~ s{/\*.*?\*/}{}gsr };
    my %reason = (suspended => 1);
    $reason{$_} = 1 for map { /^end +\w+ +\w+ +(\w+)/mg } $of->('store/moves');
    $reason{$_} = 1 for $of->('operation/decide.c') =~ /(?:decision\((?:END|FAIL), |LINES_DO_(?:END|FAIL), )"(\w+)"/g;
    $reason{$_} = 1 for $of->('operation/payment.c') =~ /ngx_str_set\(&reason,\s*"(\w+)"/g;
    $reason{$_} = 1 for map { /op_wish\(\w+, 'cancel', '(\w+)'/g } map { $of->($_) } map {"store/scripts/$_.lua"} qw(plan_end op_resolve);
    $reason{$_} = 1 for $of->('admin/lines.c') =~ /ngx_str_set\(&report->reason, "(\w+)"/;
    return \%reason;
}

subtest 'every reason of a line' => sub {
    my $reason = reasons();
    ok $reason->{$_}, "found: $_" for qw(released payment_expired canceled_by_operator payment_refused provisioning_failed);
    my ($table) = $text{errors} =~ /^## Reasons of a line\n(.*)\z/ms;
    is_deeply [sort map { /^\| `(\w+)`/ ? $1 : () } split /\n/, $table], [sort keys %$reason], 'is described, and none else';
};

subtest 'every code' => sub {
    my ($code, $unclear) = codes();
    is_deeply $unclear, [], 'each lines_error() has one, none, or one of a table';
    ok $code->{$_}, "found: $_" for qw(rate_limited key_expired READ_ONLY forbidden_line_type subscription_required token_expired
        provisioning_pending card_declined daily_limit_reached wait_limit_reached cookie_refused origin_not_allowed);

    my ($table) = $text{errors} =~ /^## All codes\n(.*?)(?=^##|\z)/ms;
    my %told = map { $_ => 1 } map { /`(\w+)`/g } $table =~ /^\| (`[^|]*) \|/mg;
    is_deeply [sort grep { !$told{$_} } keys %$code], [], 'is described' or diag explain $code;
    is_deeply [sort grep { !$code->{$_} } keys %told], [], 'and none that is not there';

    # the document has examples of them, but of what comes before an endpoint is known
    my $openapi = path("$root/conf/api/openapi.yaml")->slurp;
    is_deeply [grep { $_ ne 'origin_not_allowed' && $openapi !~ /(?:code|error|status): \Q$_\E\b/ } sort keys %told], [], 'each is an example of the document';
};

$t->done;
