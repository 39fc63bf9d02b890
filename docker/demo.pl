#!/usr/bin/env perl

# Makes the tenants, numbers and customers of the demo of compose.yaml, once,
# and prints their keys and requests to paste.

use Mojo::Base -strict, -signatures;

use FindBin;
use lib map {"$FindBin::Bin/$_"} 'demo/lib', '../conf/demo/lib';
use Getopt::Long qw(GetOptions);
use Lines::Demo::Client;
use Mojo::File qw(path);
use Time::HiRes ();

my %opt;

GetOptions(\%opt, map {"$_=s"} qw(url admin sandbox token-file keys public))
  or die "usage: demo.pl --url URL --admin URL --sandbox URL --token-file FILE --keys FILE --public URL\n";

my %keys   = -s $opt{keys} ? map { /^(\w+)=(.*)/ ? ($1, $2) : () } split /\n/, path($opt{keys})->slurp : ();
my $token  = path($opt{'token-file'})->slurp =~ s/\s+$//r;
my $client = Lines::Demo::Client->new(base => $opt{url}, operator => $opt{admin}, sandbox => $opt{sandbox}, token => $token);

for (['growth', 'LINES_API_KEY'], ['starter', 'LINES_API_KEY_STARTER'], ['mini', 'LINES_API_KEY_MINI']) {
    my ($plan, $name) = @$_;
    $keys{$name} = $client->workspace("org_demo_$plan", $plan, $keys{$name});
}

@keys{qw(LINES_KEY_ID LINES_KEY_SECRET)} = $client->account('demo', @keys{qw(LINES_KEY_ID LINES_KEY_SECRET)});
$client->numbers;

my $text = join '', map {"$_=$keys{$_}\n"} sort keys %keys;

umask 0077;
open my $file, '>', "$opt{keys}.new" or die "$opt{keys}: $!\n";
print $file $text;
close $file or die "$opt{keys}: $!\n";
rename "$opt{keys}.new", $opt{keys} or die "$opt{keys}: $!\n";

print <<"END";
LINES_URL=$opt{public}
$text
A line, as the plan includes it:

    curl -X POST $opt{public}/api/line-requests -H 'Authorization: Bearer $keys{LINES_API_KEY}' \\
        -H 'Content-Type: application/json' \\
        -d '{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}'

All lines of the workspace; after some seconds the new one is active:

    curl $opt{public}/api/lines/by-user -H 'Authorization: Bearer $keys{LINES_API_KEY}'

A number bought with two calls:

    curl -X POST $opt{public}/accounts/lines/provision-preview \\
        -H 'sb-api-key-id: $keys{LINES_KEY_ID}' -H 'sb-api-secret-key: $keys{LINES_KEY_SECRET}'

    curl -X POST $opt{public}/accounts/lines/provision-confirm -H 'Content-Type: application/json' \\
        -H 'sb-api-key-id: $keys{LINES_KEY_ID}' -H 'sb-api-secret-key: $keys{LINES_KEY_SECRET}' \\
        -d '{"preview_token":"..."}'
END
