# What is written about the module is true: the configuration to copy loads, every directive, variable, route
# of the operator's API and metric is described, and nothing is described that is not there.

use Mojo::Base -strict, -signatures;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Test::Lines qw(wait_for);
use Test::Lines::Clerk;
use Test::Lines::Paid;
use Mojo::File qw(path);
use Mojo::Util qw(decode);

my $t    = Test::Lines->new;
my $root = $t->root;
my $source = join "\n", map { path($_)->slurp } glob("$root/src/*.c $root/src/*/*.c");

sub same ($what, $there, $told) {
    my %there = map { $_ => 1 } @$there;
    my %told  = map { $_ => 1 } @$told;
    is_deeply [sort grep { !$told{$_} } keys %there], [], "every $what is described";
    is_deeply [sort grep { !$there{$_} } keys %told], [], "no $what is described that is not there";
}

subtest 'conf/lines.conf' => sub {
    my $conf = path("$root/conf/lines.conf")->slurp;
    my $dir  = path($t->dir, 'etc')->make_path;

    my $made = qx{openssl req -x509 -newkey rsa:2048 -nodes -batch -subj /CN=lines.example.com -days 2 -keyout $dir/tls.key -out $dir/tls.crt 2>&1};
    is $?, 0, 'a certificate' or diag $made;

    for (['admin.token', 'operator' x 4], ['stripe.key', 'sk_live_x'], ['webhook.key', 'whsec_x']) {
        my $file = $t->file(@$_);
        symlink $file, "$dir/$_->[0]" or die "symlink: $!";
    }

    # the files are elsewhere here; names are asked for later
    $conf =~ s{/etc/lines/}{$dir/}g;
    $conf =~ s{/etc/ssl/certs/ca-certificates.crt}{$dir/tls.crt}g;

    my ($code, $output) = $t->test_config(http => $conf);
    is $code, 0, 'loads as it is' or diag $output;
    unlike $output, qr/\[warn\]/, 'without a warning';
};

subtest 'directives' => sub {
    my ($commands) = path("$root/src/ngx_http_lines_module.c")->slurp =~ /ngx_command_t  commands\[\] = \{(.*?)\n\};/s;
    my @there = ($commands =~ /ngx_string\("(lines_\w+)"\)/g, qw(lines_failpoint lines_allocations));
    my $text  = path("$root/conf/directives.md")->slurp;
    my @told  = $text =~ /^### (lines_\w+)/gm;
    same(directive => \@there, \@told);

    for my $section ($text =~ /^### (lines_\w+\n.*?)(?=^##|\z)/gms) {
        my ($name) = $section =~ /^(\w+)/;
        like $section, qr/^Syntax: +\*\*$name\*\*.*;$/m, "$name: syntax";
        like $section, qr/^Default: +\S/m, "$name: default";
        like $section, qr/^Context: +(http|server|location)/m, "$name: context";
    }
};

subtest 'variables' => sub {
    my @there = $source =~ /ngx_string\("(lines_\w+)"\), NULL,\s+(?:lines_)?\w+,/g;
    push @there, $source =~ /static ngx_str_t +name = ngx_string\("(lines_\w+)"\)/g;
    push @there, 'lines_billing_key', 'lines_limit_status', 'lines_limit_remaining';
    my %seen;
    same(variable => [grep { !$seen{$_}++ } @there], [path("$root/conf/variables.md")->slurp =~ /^\| `\$(lines_\w+)`/gm]);
    like $source, qr/"$_"/, "\$$_ is there" for qw(lines_billing_key lines_limit_status lines_limit_remaining);
};

subtest "the operator's API" => sub {
    my ($routes) = path("$root/src/admin/routes.c")->slurp =~ /admin_routes\[\] = \{(.*?)\n\};/s;
    my @there;
    my $text = decode 'UTF-8', path("$root/conf/admin.md")->slurp;

    while ($routes =~ /NGX_HTTP_(\w+), ngx_string\("([^"]*)"\)/g) {
        my ($method, $path) = ($1, $2);
        (my $pattern = $path) =~ s{^(workspaces|accounts)/:id/keys}{(?:$1/:id|…)/keys};
        $pattern =~ s{^(workspaces|accounts)/:id$}{$1/:id};
        $pattern =~ s/:\w+/:\\w+/g;
        $pattern = 'of these' if $path =~ m{/limits/} && $method ne 'PUT';
        like $text, qr/^\|.*\b$method\b.*`?$pattern\b/m, "$method $path";
    }
};

subtest 'metrics' => sub {
    my %there = map { $_->[1] eq 'counter' ? "$_->[0]_total" : $_->[0] => 1 }
      map { [/"(lines_\w+)",\s*"(\w+)"/] } $source =~ /\{ ("lines_\w+", "(?:counter|gauge|histogram)"),/g;
    my @told = map { /`(lines_\w+)`/g } path("$root/conf/metrics.md")->slurp =~ /^\|([^|]*`lines_[^|]*)\|/gm;
    cmp_ok scalar(keys %there), '>', 20, 'families were found';
    same(family => [keys %there], \@told);
};

# what they ask for is there, each comes when it should, and none when all is well
subtest 'alerts' => sub {
    my $file  = "$root/conf/prometheus/lines.rules.yml";
    my $rules = path($file)->slurp;
    my $tests = path("$root/t/data/lines.rules.test.yml")->slurp =~ s/\@RULES\@/$file/gr;

    my @names = $rules =~ /^ +- alert: (\w+)$/mg;
    my %times;
    $times{$_}++ for $tests =~ /alertname: (\w+)/g;
    is_deeply [grep { ($times{$_} // 0) < 2 } @names], [], 'each is tested, coming and not';

    # of a node that has all of it; what comes with an auditor's pass, or an issuer's keys, is told in metrics.md
    my $clerk = Test::Lines::Clerk->new(t => $t);
    my $paid  = Test::Lines::Paid->new(t => $t);
    my $nginx = $paid->nginx(limits => $t->redis(name => 'counts'), server => 'location = /metrics { lines_metrics survey=1s; }' . $clerk->location . $clerk->directive);
    is $nginx->get('/api/lines/by-user')->status, 401, 'a request';
    my $real;
    wait_for(sub { ($real = $nginx->get('/metrics')->body) =~ /^lines_survey_age_seconds /m }, 60, 'the survey');
    my %later = map { $_ => 1 } path("$root/conf/metrics.md")->slurp =~ /^\| `(lines_(?:audit|jwks)_age_seconds)`/mg;

    my @asked = map { /\b(lines_\w+(?:\{.*?\})?)/g } $rules =~ /^ +expr: (\|\n(?: {10,}.*\n)+|.*\n)/mg;
    cmp_ok scalar(@asked), '>=', @names - 1, 'metrics are asked for';

    for my $asked (@asked) {
        my ($name, @labels) = grep {defined} $asked =~ /^(\w+)|(\w+=~?"[^"]*")/g;
        my @there = grep {/^\Q$name\E[ {]/} split /\n/, $real;

        for (@labels) {
            my ($label, $values) = /^(\w+)=~?"(.*)"$/;
            next if $label eq 'code';
            for my $value (split /\|/, $values) {
                ok scalar(grep {/[{,]$label="\Q$value\E"/} @there), "$name: $label=\"$value\" is there";
            }
        }
        ok @there || $later{$name}, "$name is there";
    }

    $nginx->quit;

    for (['check rules', $file], ['test rules', $t->file('rules.test.yml', $tests)]) {
        my $said = qx{promtool $_->[0] \Q$_->[1]\E 2>&1};
        is $?, 0, "promtool $_->[0]" or diag $said;
    }
};

subtest 'the pages' => sub {
    my $readme = path("$root/README.md")->slurp;
    my $told   = path("$root/conf/directives.md")->slurp;

    for my $page (map { path($_)->basename } glob "$root/conf/*.md") {
        my $text = path("$root/conf/$page")->slurp;
        like $readme, qr/\]\(conf\/\Q$page\E\)/, "the README leads to conf/$page";
        is_deeply [grep { !-e "$root/conf/$_" } $text =~ /\]\(((?!http)[^)#]+)/g], [], '... whose links lead somewhere';
    }

    my $upgrading = path("$root/conf/upgrading.md")->slurp;
    is_deeply [grep { $told !~ /^### $_$/m } $upgrading =~ /`(lines_\w+)`/g], [], 'directives that changed are there';
    is_deeply [grep { !/^\| [^|]+ \| [^|]+ \| [^|]+ \|$/ } grep {/^\|(?!-)/} split /\n/, $upgrading], [], 'each change: what, why, what to do';
};

subtest 'the README' => sub {
    my $readme = path("$root/README.md")->slurp;
    cmp_ok scalar(split /\n/, $readme), '<=', 170, 'at most three screens';
    for my $file ($readme =~ /\]\(((?!http)[^)#]+)\)/g) {
        ok -e "$root/$file", "its link to $file leads somewhere";
    }
};

$t->done;
