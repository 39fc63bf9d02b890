# The generator of store/calls: what is declared in a schema, in a script's head
# and in the file of commands becomes Lua and C, and what is wrong is named by
# file and line.

use Mojo::Base -strict, -signatures;
use FindBin;
use Test::More;

use File::Temp qw(tempdir);
use lib "$FindBin::Bin/lib";
use Test::Lines::Once build => 'no module is in it', store => 'nothing is stored';
use Mojo::File qw(path);
use Test::Lines::Util qw(write_file);

my $root  = path("$FindBin::Bin/..")->to_abs;
my $embed = "$root/src/store/scripts/embed.sh";
my $dir   = path(tempdir(CLEANUP => 1));
my $n     = 0;

my $SCHEMA = <<'END';
# a comment
tenant  lines:{<tenant>}:t           hash
    is:      somebody
    fields:  plan customer
             places
    gone:    when it is
             deleted
line    lines:{<tenant>}:line:<id>   hash
    gone:    never
idem    lines:{<tenant>}:idem:<hash> hash
    gone:    by itself
due     lines:{due:<shard:int>}      zset
    gone:    at the end
END

# a store of these files; what it says, and where it stands
sub store (%files) {
    my $store = $dir->child('store' . ++$n)->make_path;
    $store->child('scripts/lib')->make_path;

    %files = (schema => $SCHEMA, commands => "", 'scripts/a.lua' => "return 1\n", %files);
    write_file($store->child($_), $files{$_}) for keys %files;

    my $output = qx{sh $embed $store/scripts $store/out 2>&1};
    $output =~ s/\Q$store\E\///g;

    return ($? >> 8, $output, $store);
}

sub lua ($store, $name) { return scalar qx{sh $embed $store/scripts - $name 2>&1} }

subtest 'who is waited for' => sub {
    my ($rc, $output, $store) = store(
        commands             => "seen GET \@pending -> id\nkept! GET \@pending -> id\n",
        schema               => "$SCHEMA\npending lines:{<tenant>}:pending string\n",
        'scripts/a.lua'      => "--\@key tenant\n--\@value n:int\nreturn 1\n",
        'scripts/light.lua'  => "--\@light\n--\@key tenant\n--\@value n:int\nreturn 1\n",
        'scripts/lighter.lua' => "--\@again\n--\@light\n--\@key tenant\n--\@value n:int\nreturn 1\n",
    );
    is $rc, 0, 'it is taken' or diag $output;
    my %durable = $store->child('out/calls.c')->slurp =~ /lines_store_call_t  lines_call_(\w+) = \{\n.*\n.*, [01], ([01]), [01],\n/g;
    is_deeply \%durable, {a => 1, light => 0, lighter => 0, seen => 0, kept => 1}, 'scripts unless they say --@light, commands that say "!"';
    like lua($store, 'lighter'), qr/^local tenant_key = KEYS\[1\]$/m, 'the head is read on';
};

subtest 'which store has it' => sub {
    my $schema = "${SCHEMA}count lines:{<tenant>}:c string\n    is: a count\n        of something\n    store: limits\n    gone: by itself\n";
    my ($rc, $output, $store) = store(
        schema          => $schema,
        commands        => "seen GET \@count -> n:int\nnamed HMGET \@tenant -> plan\ntime TIME -> s:int us:int\n",
        'scripts/a.lua' => "--\@key count\n--\@value n:int\nreturn 1\n",
        'scripts/b.lua' => "--\@key tenant\n--\@value n:int\nreturn 1\n",
    );
    is $rc, 0, 'it is taken' or diag $output;
    my %limits = $store->child('out/calls.c')->slurp =~ /lines_store_call_t  lines_call_(\w+) = \{\n.*\n.*, [01], [01], ([01]),\n/g;
    is_deeply \%limits, {a => 1, b => 0, seen => 1, named => 0, time => 0}, 'by its keys';
    like qx{sh $embed $store/scripts keys}, qr/^\| `count` \| `lines:\{<tenant>\}:c` \| string \| a count of something \(store: limits\) \|  \| by itself \|$/m, 'and the table says so';

    my @wrong = (
        ['scripts/a.lua' => "--\@key count\n--\@key tenant\n--\@value n:int\nreturn 1\n"] => qr{a\.lua:2: key "tenant" is not in the store of "count"},
        [schema => $schema =~ s/store: limits/store: other/r] => qr{schema:\d+: store "other" is not known},
    );
    while (my ($files, $says) = splice @wrong, 0, 2) {
        my ($rc, $output) = store(schema => $schema, @$files);
        isnt $rc, 0, 'refused';
        like $output, $says, '... by name';
    }
};

subtest 'a head becomes names' => sub {
    my ($rc, $output, $store) = store(
        'scripts/lib/x.lua' => "local function helper() return 1 end\n",
        'scripts/begin.lua' => <<'END');
--@again
--@include lib/x.lua
--@key tenant
--@key line(other) as second
--@given idem?   -- a record
--@keys line(ids)
--@keys idem(ids)
--@arg plan
--@arg price?    -- none: it is free
--@arg most:int
--@arg ttl:digits
--@arg left:int?
--@arg told:flag
--@arg member=<tenant>\s<id>
--@list fields   -- pairs
--@reply done now:int document? fields...
--@reply late

return { 'late' }
END

    is $rc, 0, 'it is taken' or diag $output;

    my $lua = lua($store, 'begin');

    for my $line (
        'local tenant_key = KEYS[1]',
        'local second_key = KEYS[2]',
        q(local idem_key = KEYS[3] ~= '' and KEYS[3] ~= KEYS[1] and KEYS[3] or nil  -- a record),
        'local line_keys = {} for i = 1, (#KEYS - 3) / 2 do line_keys[i] = KEYS[3 + 0 * (#KEYS - 3) / 2 + i] end',
        'local idem_keys = {} for i = 1, (#KEYS - 3) / 2 do idem_keys[i] = KEYS[3 + 1 * (#KEYS - 3) / 2 + i] end',
        'local plan = ARGV[1]',
        q(local price = ARGV[2] ~= '' and ARGV[2] or nil  -- none: it is free),
        'local most = tonumber(ARGV[3])',
        'local ttl = ARGV[4]',
        'local left = tonumber(ARGV[5])',
        q(local told = ARGV[6] == '1'),
        'local member = ARGV[7]',
        'local fields = {} for i = 8, #ARGV do fields[i - 7] = ARGV[i] end  -- pairs',
        )
    {
        like $lua, qr/^\Q$line\E$/m, $line;
    }

    like $lua, qr/^local function helper/m, 'what it includes is there';

    my $header = $store->child('out/calls.h')->slurp;

    my ($args) = $header =~ /typedef struct \{\n([^}]*)\} lines_begin_args_t;/;
    is $args, <<'END', 'its arguments: each parameter once';
    ngx_str_t  tenant;
    ngx_str_t  other;
    ngx_str_t  idem_key;
    lines_list_t  ids;
    ngx_str_t  plan;
    ngx_str_t  price;
    int64_t  most;
    int64_t  ttl;
    int64_t *left;
    ngx_uint_t  told;
    ngx_str_t  id;
    lines_list_t  fields;
END

    my ($reply) = $header =~ /typedef struct \{\n([^}]*)\} lines_begin_reply_t;/;
    is $reply, <<'END', 'its reply';
    ngx_uint_t  is;
    int64_t  now;
    ngx_str_t  document;
    lines_list_t  fields;
END

    like $header, qr/LINES_BEGIN_DONE = 1,\s+LINES_BEGIN_LATE = 2\n/, 'its words';
    unlike $header, qr/lines_a_args_t/, 'a script that declares nothing is embedded only';

    my $sha = qx{sh $embed $store/scripts - begin | sha1sum};
    $sha =~ s/ .*//s;
    like $store->child('out/scripts.c')->slurp, qr/"$sha"/, 'the digest is of the Lua as it is embedded';

    my $before = (stat $store->child('out/calls.h'))[9];
    utime 1, 1, $store->child('out/calls.h');
    system "sh $embed $store/scripts $store/out";
    is((stat $store->child('out/calls.h'))[9], 1, 'what is unchanged is left as it is');
};

subtest 'the moves of a line' => sub {
    my ($rc, $output, $store) = store(moves => <<'END', 'scripts/move.lua' => "--\@moves\nreturn { MOVES, ENDS }\n");
status  waiting     # first
status  live
counted gone
move    new      waiting
move    waiting  live
end     live     gone  over  ended_at
END

    is $rc, 0, 'generated' or diag $output;
    is lua($store, 'move'), <<'END', 'what is legal, for scripts: no creation, and an end by its reason';
local MOVES, ENDS = {}, {}
MOVES.waiting, ENDS.waiting = {}, {}
MOVES.live, ENDS.live = {}, {}
MOVES.gone, ENDS.gone = {}, {}
MOVES.waiting.live = true
ENDS.live.over = { field = 'ended_at', to = 'gone' }
return { MOVES, ENDS }
END
    my $header = $store->child('out/calls.h')->slurp;
    like $header, qr/#define LINES_EACH_MOVE\(move\) \\\n    move\(new, waiting\) \\\n    move\(waiting, live\) \\\n    move\(live, gone\)\n/,
        'all of them, for C';
    like $header, qr/#define LINES_EACH_STATUS\(status\) \\\n    status\(waiting\) \\\n    status\(live\)\n/, 'statuses that clients see';
    like $header, qr/#define LINES_EACH_COUNTED\(status\) .*status\(live\) \\\n    status\(gone\)\n/s, 'and those that are counted';
    like $header, qr/LINES_NEW = 0,\n    LINES_WAITING,\n    LINES_LIVE,\n    LINES_GONE,\n    LINES_STATUSES\n/, '...';
};

subtest 'the schema as a table' => sub {
    my (undef, undef, $store) = store();
    my $table = qx{sh $embed $store/scripts keys};

    like $table, qr/^\| `tenant` \| `lines:\{<tenant>\}:t` \| hash \| somebody \| `plan customer places` \| when it is deleted \|$/m;

    my $real = qx{sh $embed $root/src/store/scripts keys};
    ok index($root->child('src/store/README.md')->slurp, $real) >= 0,
        'that of src/store/README.md is made from the schema: embed.sh SCRIPTS keys';
};

subtest 'what is wrong is named by file and line' => sub {
    my $head = "--\@key tenant\n";

    for (
        # script, message, other files
        ["$head--\@key due(n)\n", 'scripts/bad.lua:2: key "due" does not share the hash tag of "tenant": {due:<n>} and {<tenant>}'],
        ["$head--\@key nothing\n", 'scripts/bad.lua:2: the schema has no key "nothing"'],
        ["$head--\@key line(a, b)\n", 'scripts/bad.lua:2: key "line" has fewer parameters than that'],
        ["$head$head", 'scripts/bad.lua:2: "tenant_key" is there already'],
        ["--\@key tenant?\n", 'scripts/bad.lua:1: the first key is always there'],
        ["$head--\@keys line(ids)\n--\@key idem\n", 'scripts/bad.lua:3: lists of keys come last'],
        ["$head--\@keys line(ids)\n--\@keys idem(others)\n", 'scripts/bad.lua:3: lists of keys are of one list'],
        ["$head--\@keys tenant\n", 'scripts/bad.lua:2: key "tenant" has nothing that a list could fill in'],
        ["$head--\@arg a\n--\@key line\n", 'scripts/bad.lua:3: keys come before arguments'],
        ["$head--\@arg a:float\n", 'scripts/bad.lua:2: type "float" of "a" is not known'],
        ["$head--\@arg tenant:int\n", 'scripts/bad.lua:2: "tenant" is str already, not int'],
        ["$head--\@arg end\n", q(scripts/bad.lua:2: "end" is a word of Lua's)],
        ["$head--\@arg A\n", 'scripts/bad.lua:2: "A" is no name'],
        ["$head--\@arg a\n--\@arg a\n", 'scripts/bad.lua:3: "a" is there already'],
        ["$head--\@list a\n--\@arg b\n", 'scripts/bad.lua:3: the list takes all that follows'],
        ["$head--\@list a\n--\@list b\n", 'scripts/bad.lua:3: there is a list already'],
        ["$head--\@reply ok n:double\n", 'scripts/bad.lua:2: type "double" of "n" is not known'],
        ["$head--\@reply ok n\n--\@reply no n:int\n", 'scripts/bad.lua:3: "n" is str already, not int'],
        ["$head--\@reply ok\n--\@reply ok\n", 'scripts/bad.lua:3: "ok" is there already'],
        ["$head--\@reply ok rest... more\n", 'scripts/bad.lua:2: "rest..." takes all that follows'],
        ["$head--\@reply ok\n--\@row a\n", 'scripts/bad.lua:3: there is a reply already'],
        ["$head--\@value a b\n", 'scripts/bad.lua:2: a value is one string or number'],
        ["$head--\@kay line\n", 'scripts/bad.lua:2: --@kay is not known'],
        ["$head--\@arg\n", 'scripts/bad.lua:2: --@arg says nothing'],
        ["${head}return KEYS[1]\n", 'scripts/bad.lua:2: KEYS and ARGV have names in this script'],
        ["$head--\@include lib/none.lua\n", 'scripts/bad.lua:2: cannot read scripts/lib/none.lua'],
        ["$head--\@include lib/x.lua\n--\@arg helper\n", 'scripts/bad.lua:3: "helper" is a name of lib/x.lua',
            'scripts/lib/x.lua' => "local function helper() end\n"],
        ["$head--\@include lib/x.lua\n", 'scripts/lib/x.lua:1: a part that is included declares nothing',
            'scripts/lib/x.lua' => "--\@arg a\n"],
        ['', 'commands:2: "x" is there already, commands:1', commands => "x TIME\nx TIME\n"],
        ['', 'commands:1: "get" is no verb', commands => "x get \@tenant\n"],
        ['', 'commands:1: the schema has no key "none"', commands => "x GET \@none\n"],
        ['', 'commands:1: a command has a name and a verb', commands => "x\n"],
        ['', 'commands:1: type "float" of "a" is not known', commands => "x GET <a:float>\n"],
        ['', 'commands:1: key "due" does not share the hash tag of "tenant": {due:<shard>} and {<tenant>}',
            commands => "x DEL \@tenant \@due\n"],
        ['', 'commands:1: HMGET has no fields', commands => "x HMGET \@tenant\n"],
        ['', 'schema:1: key "a" has no hash tag, or several', schema => "a lines:a hash\n"],
        ['', 'schema:1: key "a" has no hash tag, or several', schema => "a {a}:{b} hash\n"],
        ['', 'schema:1: type "heap" of key "a" is not known', schema => "a {a} heap\n"],
        ['', 'schema:2: key "a" is there already', schema => "a {a} hash\na {b} hash\n"],
        ['', 'schema:1: it belongs to no key', schema => "  gone: now\n"],
        ['', 'moves:2: there is no status "b"', moves => "status a\nmove a b\n"],
        ['', 'moves:2: status "a" is there already', moves => "status a\nstatus a\n"],
        ['', 'moves:3: that move is there already, moves:2', moves => "status a\nmove new a\nmove new a\n"],
        ['', 'moves:1: "status NAME", "counted NAME", "move FROM TO" or "end FROM TO REASON FIELD" is expected', moves => "move a\n"],
        ["$head--\@moves\n", 'scripts/bad.lua:2: there are no moves'],
        ['', 'schema:2: only a hash has fields', schema => "a {a} set\n  fields: b\n"],
        ['', 'schema:1: a key is its name, its pattern and its type', schema => "a {a}\n"],

        # what would be taken for something else
        ["$head--\@reply ok n n\n", 'scripts/bad.lua:2: "n" is there already'],
        ["$head--\@reply ok n:rest m\n", 'scripts/bad.lua:2: type "rest" of "n" is not known'],
        ["$head--\@reply |ok\n", 'scripts/bad.lua:2: "" is no word'],
        ["$head--\@arg all=<ids...>\n", 'scripts/bad.lua:2: a list is declared by --@list'],
        ["$head--\@arg member=<tenant\n", 'scripts/bad.lua:2: "<tenant" has half a member'],
        ["$head--\@arg member=<tenant>\\t<id>\n", 'scripts/bad.lua:2: "\" stands before "s" only'],
        ["$head--\@again \n", 'scripts/bad.lua:2: --@again stands alone, and in the script itself'],
        ["$head--\@again\r\n", 'scripts/bad.lua:2: --@again stands alone, and in the script itself'],
        ["$head--\@light x\n", 'scripts/bad.lua:2: --@light stands alone, and in the script itself'],
        ["$head --\@arg a\n", 'scripts/bad.lua:2: a declaration begins its line with --@'],
        ["$head-- \@arg a\n", 'scripts/bad.lua:2: a declaration begins its line with --@'],
        ["${head}local x = a\n--\@arg a\n", 'scripts/bad.lua:3: declarations come before code'],
        ["--\@keys slot(ids)\n", 'scripts/bad.lua:1: a list would fill in the hash tag of key "slot"',
            schema => "slot {<id>} set\n"],
        ['', 'commands:1: the schema has no key "line(ids)..."', commands => "x DEL \@line(ids)...\n"],
        ['', 'commands:1: "plan" is there already', commands => "x HMGET \@tenant -> plan plan\n"],
        ['', 'commands:1: "GET" is of a string, key "tenant" a hash', commands => "x GET \@tenant -> s\n"],
        ['', 'commands:1: key "tenant" has no field "plam"', commands => "x HMGET \@tenant -> plam\n"],
        ['', 'commands:1: key "tenant" has no field "plam"', commands => "x HGET =tenant plam -> s\n"],
        ['', 'commands:1: key "tenant" has no field "plam"', commands => "x HSET \@tenant plan <a> plam <b>\n"],
        ['', 'commands:1: "->" would be sent', commands => "x TIME ->\n"],
        ['', 'commands:1: "#" would be sent', commands => "x TIME # the clock\n"],
        ['', 'commands:1: "<at:int" has half a member', commands => "x TIME <at:int\n"],

        # what a compiler would find, in a file that nobody wrote
        ["$head--\@arg default\n", 'scripts/bad.lua:2: "default" is no name'],
        ["$head--\@reply ok unix\n", 'scripts/bad.lua:2: "unix" is no name'],
        ["$head--\@reply ok is\n", 'scripts/bad.lua:2: "is" is no name'],
        ['', 'schema:1: "<pool>" is no parameter', schema => "a {a}:<pool> hash\n"],
        ['', 'schema:1: "<a>" is there already', schema => "a {<a>}:<a> hash\n"],
        ['', 'schema:1: a parameter of key "a" is not closed', schema => "a {a}:<b hash\n"],
        ['', 'schema:1: key "a" has a-z, 0-9 and : { } < > _ . - only', schema => "a {a}:%d hash\n"],
        ['', 'commands:2: in C, "lines_call_time" is of commands:1 already',
            commands => "time TIME -> s:int\ncall_time TIME -> s:int\n"],
        ['', 'commands:1: in C, "lines_key_line" is of schema:8 already', commands => "key_line TIME\n"],
        ["$head--\@reply of_all\n", 'scripts/bad_of.lua:2: in C, "LINES_BAD_OF_ALL" is of bad.lua:2 already',
            'scripts/bad_of.lua' => "$head--\@reply all\n"],
        )
    {
        my ($script, $message, %files) = @$_;
        my ($rc, $output) = store('scripts/bad.lua' => $script, %files);

        isnt $rc, 0, "$message: it fails";
        is $output, "$message\n", 'and says so';
    }
};

# what comes back from Redis, read by the very code: a program that is made of
# store/caller.c, with nginx' and hiredis' headers and a store that answers
subtest 'C: commands and replies' => sub {
    plan skip_all => 'once is enough' if $ENV{LINES_AWK_ASKED};

    my $objs = (grep { -f "$_/ngx_auto_config.h" } glob "$root/build/*/nginx/objs")[0];
    plan skip_all => 'nothing is built' unless $objs;

    my ($rc, $output, $store) = store(
        'scripts/begin.lua' => <<'END', 'scripts/page.lua' => <<'END', 'scripts/count.lua' => <<'END', commands => <<'END');
--@key tenant
--@key line(id)
--@given idem?
--@arg now:int
--@arg most:int?
--@arg told:flag
--@arg member=<tenant>\s<id>
--@list fields
--@reply done number:int document? rest...
--@reply late
--@reply lost step
END
--@key tenant
--@keys line(ids)
--@row n:int text:ref? marks:list rest...:ref
END
--@key tenant
--@value n:int
END
who   HMGET @tenant -> plan places:int
put   ZADD @due <at:int> <tenant>\s<id>
get   GET =line -> value
END

    is $rc, 0, 'generated' or diag $output;
    is_deeply [sort $store->child('out/calls.h')->slurp =~ /^#define lines_keep_(\w+)/gm], [qw(begin count get who)],
      'what is copied may be kept: no reference, nor where nothing comes back';

    

    my $incs = join ' ', map {"-I $_"} "$root/src", "$store/inc", $objs,
        map {"$objs/../src/$_"} qw(core event event/modules event/quic os/unix http http/modules);
    $store->child('inc')->make_path;
    symlink "$store/out", "$store/inc/store";

    # store/caller.h is in src/store, store/calls.h in out: both are "store/"
    my $flags = '-std=gnu11 -g -Wall -Wextra -Werror -Wno-unused-parameter';

    for my $cc (grep { system("command -v $_ > /dev/null 2>&1") == 0 } qw(gcc clang)) {
        my $san = $cc eq 'clang' ? '-fsanitize=address,undefined -fno-sanitize-recover=all' : '';
        my $said = qx{cd $store && $cc $flags $san $incs -o test_$cc $FindBin::Bin/unit/test_calls.c out/calls.c $root/src/store/caller.c $root/src/store/cluster_slot.c 2>&1};
        is $said, '', "$cc compiles it without a warning" or next;

        my @out = split /\n/, qx{cd $store && ./test_$cc 2>&1};
        is $?, 0, "$cc: it runs";
        like pop @out, qr/^1\.\.\d+$/, "$cc: to its end";
        is_deeply [grep { !/^ok / } @out], [], "$cc: all as expected" or diag join "\n", @out;
    }
};

# what an expression does first, and what it takes for a number, awks see
# differently; all of them are asked what is asked above, but what C makes of it
subtest 'the same with every awk there is' => sub {
    plan skip_all => 'one of them asks' if $ENV{LINES_AWK_ASKED};

    my $path = $ENV{PATH};
    my ($first, $made);

    for my $awk (qw(mawk gawk original-awk busybox)) {
        my ($program) = grep { -x } map {"$_/$awk"} split /:/, $path or next;
        my $bin = $dir->child("with-$awk")->make_path;
        symlink $program, $bin->child('awk');

        local $ENV{PATH}            = "$bin:$path";
        local $ENV{LINES_AWK_ASKED} = $awk;

        my $output = qx{$^X $FindBin::Bin/$FindBin::Script 2>&1};
        is $?, 0, $awk or diag $output;

        system "sh $embed $root/src/store/scripts $bin/out";
        my $files = join '', map { $bin->child("out/$_")->slurp } qw(calls.h calls.c scripts.h scripts.c);

        $first //= $awk;
        $made  //= $files;
        ok $files eq $made, "$awk makes of this store what $first does";
    }
};

done_testing;
