# What is declared becomes code: of a script's head named locals in its Lua;
# of schema, commands and all heads store/calls.h and .c.  embed.sh runs it;
# how things are declared: store/README.md.
#
#   awk -v mode=lua   -v dir=SCRIPTS -v store=DIR -f generate.awk NAME.lua
#   awk -v mode=calls -v dir=SCRIPTS -v store=DIR -v out=DIR -f … NAME.lua …
#   awk -v mode=keys  -v store=DIR -f generate.awk
#
# With OUT both leave OUT/lua/NAME.lua as it is embedded, and
#
#   sha1sum OUT/lua/*.lua | awk -v mode=embed -v out=OUT -f generate.awk
#
# makes store/scripts.h and .c of these.
#
# A mistake ends it: "file:line: what is wrong".

BEGIN {
    IDENT = "^[a-z][a-z0-9_]*$"

    split("and break do else elseif end false for function if in local nil " \
          "not or repeat return then true until while redis cjson string " \
          "table math tonumber tostring type ipairs pairs unpack error " \
          "pcall next select KEYS ARGV bit struct cmsgpack", words, " ")
    for (i in words)
        RESERVED[words[i]] = 1

    # what a member of a struct, or a parameter, is not; two are macros of gcc

    split("auto break case char const continue default do double else enum " \
          "extern float for goto if inline int long register restrict " \
          "return short signed sizeof static struct switch typedef union " \
          "unsigned void volatile while asm typeof linux unix", words, " ")
    for (i in words)
        C_WORD[words[i]] = 1

    # of the commands that are used; one that is not named is not repeated

    split("EXISTS GET HEXISTS HGET HGETALL HMGET HSCAN MGET SISMEMBER " \
          "SMEMBERS SRANDMEMBER SSCAN TIME ZRANGE ZRANGEBYLEX ZRANGEBYSCORE " \
          "ZREVRANGEBYSCORE", words, " ")
    for (i in words)
        READS[words[i]] = 1

    DECLARES = "again|light|include|key|keys|given|arg|list|reply|row|value"

    C["str"] = "ngx_str_t"
    C["int"] = "int64_t"
    C["maybe"] = "int64_t *"
    C["flag"] = "ngx_uint_t"
    C["list"] = "lines_list_t"

    PIECE["str"] = "LINES_PIECE_STR"
    PIECE["int"] = "LINES_PIECE_INT"
    PIECE["maybe"] = "LINES_PIECE_MAYBE"
    PIECE["flag"] = "LINES_PIECE_FLAG"

    # with a flag: by reference

    MEMBER["str"] = "LINES_MEMBER_STR, 0"
    MEMBER["ref"] = "LINES_MEMBER_STR, 1"
    MEMBER["int"] = "LINES_MEMBER_INT, 0"
    MEMBER["list"] = "LINES_MEMBER_LIST, 0"
    MEMBER["refs"] = "LINES_MEMBER_LIST, 1"
    MEMBER["rest"] = "LINES_MEMBER_REST, 0"
    MEMBER["rests"] = "LINES_MEMBER_REST, 1"

    if (mode == "embed") {
        embed(out "/scripts.h", out "/scripts.c")
        exit 0
    }

    if (mode == "lua") {
        for (a = 1; a < ARGC; a++)
            embedded(ARGV[a])
        exit 0
    }

    read_schema(store "/schema")

    if (mode == "keys") {
        print_keys()
        exit 0
    }

    for (a = 1; a < ARGC; a++)
        embedded(ARGV[a])

    read_commands(store "/commands")
    read_moves(store "/moves")

    write_header(out "/calls.h")
    write_source(out "/calls.c")
    exit 0
}


function fail(at, text) {
    print at ": " text > "/dev/stderr"
    exit 1
}


function trim(s) {
    sub(/^[ \t]+/, "", s)
    sub(/[ \t\r]+$/, "", s)
    return s
}


# a script as Redis gets it, to the byte

function embedded(file,    i, to) {
    read_script(file)

    if (out == "") {
        for (i = 1; i <= nlines; i++)
            print LINE[i]
        return
    }

    to = out "/lua/" file
    printf "" > to
    for (i = 1; i <= nlines; i++)
        print LINE[i] > to
    close(to)
}


# of lines "SHA1 FILE", as digests are printed

function embed(header, source,    s, file, name, sha1, again, all) {
    print "/* made by embed.sh from the scripts of src/store/scripts */\n\n" \
          "#ifndef _LINES_STORE_SCRIPTS_H_INCLUDED_\n" \
          "#define _LINES_STORE_SCRIPTS_H_INCLUDED_\n\n\n" \
          "#include \"store/script.h\"\n\n" > header
    print "/* made by embed.sh from the scripts of src/store/scripts */\n\n" \
          "#include \"store/scripts.h\"" > source

    while ((getline s) > 0) {
        sha1 = file = s
        sub(/ .*$/, "", sha1)
        sub(/^[^ ]* [ *]/, "", file)
        name = file
        sub(/^.*\//, "", name)
        sub(/\.lua$/, "", name)

        all = all "    &lines_script_" name ",\n"
        again = 0

        print "extern lines_script_t  lines_script_" name ";" > header
        print "\n\nlines_script_t  lines_script_" name " = {\n    ngx_string(\"" \
              name "\"),\n    ngx_string(" > source

        while ((getline s < file) > 0) {
            if (s == "--@again")
                again = 1
            gsub(/[\\"?]/, "\\\\&", s)
            print "        \"" s "\\n\"" > source
        }
        close(file)

        print "    ),\n    ngx_string(\"" sha1 "\"),\n    " again "\n};" > source
    }

    print "\n/* all of them; the last is NULL */\n" \
          "extern lines_script_t  *lines_scripts[];\n\n\n" \
          "#endif /* _LINES_STORE_SCRIPTS_H_INCLUDED_ */" > header
    print "\n\nlines_script_t  *lines_scripts[] = {\n" all "    NULL\n};" > source

    close(header)
    close(source)
}


# of one name there is one thing in C

function is_made(name, at) {
    if (name in IS_MADE)
        fail(at, "in C, \"" name "\" is of " IS_MADE[name] " already")

    IS_MADE[name] = at
    sub(/^.*\//, "", IS_MADE[name])
}


# The schema

function read_schema(file,    s, n, found, at, f, k, rest, left, p) {
    while ((found = (getline s < file)) > 0) {
        at = file ":" ++n

        if (s ~ /^[ \t\r]*(#.*)?$/)
            continue

        if (s ~ /^[ \t]/) {
            if (k == "")
                fail(at, "it belongs to no key")

            s = trim(s)

            if (s ~ /^fields:/) {
                if (KTYPE[k] != "hash")
                    fail(at, "only a hash has fields")
                sub(/^fields:[ \t]*/, "", s)
                KFIELDS[k] = KFIELDS[k] (KFIELDS[k] == "" ? "" : " ") s
                last_of = "fields"
            } else if (s ~ /^gone:/) {
                sub(/^gone:[ \t]*/, "", s)
                KGONE[k] = s
                last_of = "gone"
            } else if (s ~ /^store:/) {
                sub(/^store:[ \t]*/, "", s)
                if (s != "limits")
                    fail(at, "store \"" s "\" is not known")
                KSTORE[k] = s
                last_of = ""
            } else if (s ~ /^is:/) {
                sub(/^is:[ \t]*/, "", s)
                KIS[k] = s
                last_of = "is"
            } else if (last_of == "gone")
                KGONE[k] = KGONE[k] " " s
            else if (last_of == "fields")
                KFIELDS[k] = KFIELDS[k] " " s
            else if (last_of == "is")
                KIS[k] = KIS[k] " " s
            else
                fail(at, "\"is:\", \"store:\", \"fields:\" or \"gone:\" is " \
                     "expected")

            continue
        }

        if (split(trim(s), f, /[ \t]+/) != 3)
            fail(at, "a key is its name, its pattern and its type")

        k = f[1]
        last_of = ""

        if (k !~ IDENT)
            fail(at, "\"" k "\" is no name")
        if (k in KPATTERN)
            fail(at, "key \"" k "\" is there already")
        if (f[3] !~ /^(string|hash|set|zset|list|stream|channel)$/)
            fail(at, "type \"" f[3] "\" of key \"" k "\" is not known")
        if (f[2] !~ /^[^{}]*[{][^{}]+[}][^{}]*$/)
            fail(at, "key \"" k "\" has no hash tag, or several")

        if (f[2] !~ /^[A-Za-z0-9_:.{}<>-]+$/)
            fail(at, "key \"" k "\" has a-z, 0-9 and : { } < > _ . - only")

        is_made("lines_key_" k, at)

        KPATTERN[k] = f[2]
        KTYPE[k] = f[3]
        KAT[k] = at
        KEY[++nkeys_known] = k

        # the parameters, in order

        rest = f[2]
        p = 0

        while (match(rest, /<[^<>]*>/)) {
            left = substr(rest, RSTART + 1, RLENGTH - 2)
            rest = substr(rest, RSTART + RLENGTH)

            if (left ~ /:int$/) {
                sub(/:int$/, "", left)
                KPTYPE[k, p + 1] = "int"
            } else
                KPTYPE[k, p + 1] = "str"

            if (left !~ IDENT || left in C_WORD || left ~ /^(pool|key)$/)
                fail(at, "\"<" left ">\" is no parameter")
            if ((k, left) in IS_PARAM)
                fail(at, "\"<" left ">\" is there already")

            IS_PARAM[k, left] = 1
            KPARAM[k, ++p] = left
        }

        if (rest ~ /[<>]/)
            fail(at, "a parameter of key \"" k "\" is not closed")

        KPARAMS[k] = p
    }

    if (found < 0)
        fail(file, "it cannot be read")

    close(file)
}


function print_keys(    i, k) {
    print "| key | pattern | type | what it is | fields | who deletes it |"
    print "|---|---|---|---|---|---|"

    for (i = 1; i <= nkeys_known; i++) {
        k = KEY[i]
        print "| `" k "` | `" KPATTERN[k] "` | " KTYPE[k] " | " KIS[k] \
              (k in KSTORE ? " (store: limits)" : "") \
              " | " (KFIELDS[k] == "" ? "" : "`" KFIELDS[k] "`") \
              " | " KGONE[k] " |"
    }
}


# Calls: what scripts' heads and commands have in common

function new_call(name, at,    n, f, i) {
    if (name !~ IDENT)
        fail(at, "a name has a-z, 0-9 and _ only")
    if (name in CALL)
        fail(at, "\"" name "\" is there already, " CALL[name])

    is_made("lines_" name, at)

    n = split("then try keep forget call", f, " ")
    for (i = 1; i <= n; i++)
        is_made("lines_" f[i] "_" name, at)

    CALL[name] = at
    sub(/^.*\//, "", CALL[name])
    CALLS[++ncalls] = name
    NARGS[name] = NTOKENS[name] = NKEYS[name] = NSHAPES[name] = 0
    KIND[name] = "NONE"
}


# a member of the arguments, which may stand in several places

function argument(c, name, type, at) {
    if (name !~ IDENT || name in C_WORD)
        fail(at, "\"" name "\" is no name")

    if ((c, name) in ATYPE) {
        if (ATYPE[c, name] != type)
            fail(at, "\"" name "\" is " ATYPE[c, name] " already, not " type)
        return
    }

    ATYPE[c, name] = type
    ANAME[c, ++NARGS[c]] = name
}


function quoted(s) {
    gsub(/\\s/, " ", s)
    gsub(/["\\]/, "\\\\&", s)
    return s == "" ? "ngx_null_string" : "ngx_string(\"" s "\")"
}


function piece(c, text, type, name) {
    npieces++
    pieces = pieces (pieces == "" ? "" : ",\n") "            { " \
             quoted(text) ",\n              " \
             (type == "text" ? "LINES_PIECE_TEXT, 0 }" \
              : type == "each" ? "LINES_PIECE_EACH, 0 }" \
              : PIECE[type] ", offsetof(lines_" c "_args_t, " name ") }")
}


function token(c, list, is_key, optional, at,    before) {
    if (npieces > 6)
        fail(at, "it has too many parts")

    # which side of an assignment awk looks at first is up to it

    before = NTOKENS[c]++

    TOKEN[c, before + 1] = "    { " npieces ", " \
        (list == "" ? "-1" : "offsetof(lines_" c "_args_t, " list ")") \
        ", " (is_key ? 1 : 0) ", " (optional ? before : 0) ",\n" \
        "        {\n" pieces "\n        } }"

    npieces = 0
    pieces = ""
}


# "text<name:type>text": one string of the command

function template(c, s, at,    left, text, type, list) {
    npieces = 0
    pieces = ""

    if (s ~ /\\([^s]|$)/)
        fail(at, "\"\\\" stands before \"s\" only")

    while (match(s, /<[^<>]*>/)) {
        text = substr(s, 1, RSTART - 1)
        left = substr(s, RSTART + 1, RLENGTH - 2)
        s = substr(s, RSTART + RLENGTH)

        if (left ~ /\.\.\.$/) {
            sub(/\.\.\.$/, "", left)

            if (list != "")
                fail(at, "it has two lists")

            list = left
            argument(c, left, "list", at)
            piece(c, text, "each", left)
            continue
        }

        type = "str"

        if (match(left, /:/)) {
            type = substr(left, RSTART + 1)
            left = substr(left, 1, RSTART - 1)
        }

        if (type == "int?")
            type = "maybe"

        if (!(type in PIECE))
            fail(at, "type \"" type "\" of \"" left "\" is not known")

        argument(c, left, type, at)
        piece(c, text, type, left)
    }

    if (s ~ /[<>]/)
        fail(at, "\"" s "\" has half a member")

    if (s != "" || npieces == 0)
        piece(c, s, "text", "")

    token(c, list, 0, 0, at)
}


# a key: "name", "name(member, …)"; list: a parameter is a list's element

function key(c, s, optional, list, given, at,
             k, n, f, i, j, p, name, pattern, tag, text, each) {
    gsub(/[ \t]/, "", s)
    k = s
    n = 0

    if (match(s, /\(.*\)$/)) {
        k = substr(s, 1, RSTART - 1)
        n = split(substr(s, RSTART + 1, RLENGTH - 2), f, ",")
    }

    if (!(k in KPATTERN))
        fail(at, "the schema has no key \"" k "\"")

    npieces = 0
    pieces = ""
    pattern = KPATTERN[k]
    tag = ""
    j = 0

    for (p = 1; p <= KPARAMS[k]; p++) {
        match(pattern, /<[^<>]*>/)
        text = substr(pattern, 1, RSTART - 1)
        pattern = substr(pattern, RSTART + RLENGTH)
        name = KPARAM[k, p]

        if (n && name != "tenant") {
            if (++j > n)
                fail(at, "key \"" k "\" has more parameters than that")
            name = f[j]
        }

        tag = tag text "<" name ">"

        if (given)
            continue

        if (list && name != "tenant" && p == KPARAMS[k]) {
            if (KPTYPE[k, p] != "str")
                fail(at, "a list is of strings")
            if (tag ~ /[{][^}]*$/)
                fail(at, "a list would fill in the hash tag of key \"" k "\"")
            argument(c, name, "list", at)
            piece(c, text, "each", name)
            each = name
            continue
        }

        argument(c, name, KPTYPE[k, p], at)
        piece(c, text, KPTYPE[k, p], name)
    }

    if (j != n)
        fail(at, "key \"" k "\" has fewer parameters than that")

    tag = tag pattern

    if (list && each == "")
        fail(at, "key \"" k "\" has nothing that a list could fill in")

    if (given) {
        argument(c, given "_key", "str", at)
        piece(c, "", "str", given "_key")
    } else if (pattern != "" || npieces == 0)
        piece(c, pattern, "text", "")

    if (optional && NTOKENS[c] == 0)
        fail(at, "the first key is always there")

    token(c, each, 1, optional, at)

    match(tag, /[{][^{}]*[}]/)
    tag = substr(tag, RSTART, RLENGTH)

    if (NKEYS[c]++ == 0) {
        TAG[c] = tag
        TAGGED[c] = k
        STORE[c] = k in KSTORE ? KSTORE[k] : ""
    } else if (STORE[c] != (k in KSTORE ? KSTORE[k] : ""))
        fail(at, "key \"" k "\" is not in the store of \"" TAGGED[c] "\"")
    else if (TAG[c] != tag)
        fail(at, "key \"" k "\" does not share the hash tag of \"" \
             TAGGED[c] "\": " tag " and " TAG[c])

    EACH = each
    return k
}


# members of a reply; all: each may be missing

function shape(c, word, s, all, at,
               n, f, i, name, type, optional, text, there) {
    if (KIND[c] == "WORD") {
        if (word !~ IDENT)
            fail(at, "\"" word "\" is no word")
        if ((c, word) in WORD)
            fail(at, "\"" word "\" is there already")
        is_made(toupper("lines_" c "_" word), at)
        WORD[c, word] = ++NSHAPES[c]
    } else if (++NSHAPES[c] > 1)
        fail(at, "there is a reply already")

    WORDS[c, NSHAPES[c]] = word

    n = split(trim(s), f, /[ \t]+/)
    if (trim(s) == "")
        n = 0

    for (i = 1; i <= n; i++) {
        name = f[i]
        type = "str"
        optional = all

        if (name ~ /\?$/) {
            optional = 1
            sub(/\?$/, "", name)
        }

        if (match(name, /:/)) {
            type = substr(name, RSTART + 1)
            name = substr(name, 1, RSTART - 1)

            if (type ~ /^rests?$/)
                fail(at, "type \"" type "\" of \"" name "\" is not known")
        }

        if (name ~ /\.\.\.$/) {
            if (i < n)
                fail(at, "\"" name "\" takes all that follows")
            if (type != "str" && type != "ref")
                fail(at, "type \"" type "\" of \"" name "\" is not known")
            type = type == "ref" ? "rests" : "rest"
            sub(/\.\.\.$/, "", name)
        }

        if (name !~ IDENT || name in C_WORD || name == "is")
            fail(at, "\"" name "\" is no name")
        if (name in there)
            fail(at, "\"" name "\" is there already")
        there[name] = 1

        if (!(type in MEMBER))
            fail(at, "type \"" type "\" of \"" name "\" is not known")

        if (!((c, name) in RTYPE)) {
            RTYPE[c, name] = type
            RNAME[c, ++NMEMBERS[c]] = name
        } else if (RTYPE[c, name] != type)
            fail(at, "\"" name "\" is " RTYPE[c, name] " already, not " type)

        text = text (text == "" ? "" : ",\n") "    { " MEMBER[type] \
               ", offsetof(lines_" c "_reply_t, " name "), " optional " }"
    }

    SHAPE[c, NSHAPES[c]] = text
    SHAPED[c, NSHAPES[c]] = n
}


# Scripts

function read_script(file,    c, at, i, nodes) {
    c = file
    sub(/\.lua$/, "", c)

    nlines = 0
    split("", seen)
    split("", lib_local)
    split("", has_local)
    ndecl = keys_fixed = key_lists = argn = 0
    arg_list = code = ""

    take(dir "/" file, file, c, 0)

    if (ndecl == 0)
        return

    for (i = 1; i <= nlines; i++)
        if (LINE[i] !~ /^[ \t]*--/ && !(i in MADE) \
            && LINE[i] ~ /(^|[^A-Za-z0-9_])(KEYS|ARGV)([^A-Za-z0-9_]|$)/)
            fail(WHERE[i], "KEYS and ARGV have names in this script")

    # each list of keys is as long as the others

    for (i = 1; i <= nlines; i++)
        if (LINE[i] ~ /@LISTS@/)
            gsub(/@LISTS@/, key_lists, LINE[i])
        else if (i in MADE && MADE[i] != "" && MADE[i] in lib_local)
            fail(WHERE[i], "\"" MADE[i] "\" is a name of " lib_local[MADE[i]])

    split("", MADE)
}


function take(file, shown, c, depth,    s, found, n, part, at) {
    if (depth > 8)
        fail(file, "includes nest too deep")

    while ((found = (getline s < file)) > 0) {
        at = file ":" ++n

        if (s ~ /^--@include[ \t]/) {
            part = s
            sub(/^--@include[ \t]+/, "", part)
            sub(/[ \t\r]+$/, "", part)

            if (!(part in seen)) {
                seen[part] = 1

                if ((getline s < (dir "/" part)) < 0)
                    fail(at, "cannot read " dir "/" part)

                close(dir "/" part)
                take(dir "/" part, part, c, depth + 1)
            }

            continue
        }

        if (s ~ /^--@moves[ \t\r]*$/) {
            print_moves(at)
            continue
        }

        if (depth && match(s, /^local (function )?[A-Za-z_0-9]+/)) {
            part = substr(s, RSTART, RLENGTH)
            sub(/^local (function )?/, "", part)
            lib_local[part] = shown
        }

        LINE[++nlines] = s
        WHERE[nlines] = at

        if (s ~ /^--@/)
            declare(c, s, depth, at)
        else if (s ~ "^[ \t]*--[ \t]*@(" DECLARES ")([ \t\r]|$)")
            fail(at, "a declaration begins its line with --@")
        else if (!depth && s !~ /^[ \t\r]*(--.*)?$/)
            code = at
    }

    if (found < 0)
        fail(file, "it cannot be read")

    close(file)
}


function named(c, name, at) {
    if (name !~ IDENT)
        fail(at, "\"" name "\" is no name")
    if (name in RESERVED)
        fail(at, "\"" name "\" is a word of Lua's")
    if (name in has_local)
        fail(at, "\"" name "\" is there already")
    has_local[name] = 1
}


# one line of a head, which Lua gets a local for in its place

function declare(c, s, depth, at,
                 what, note, name, type, optional, lua, i, n, f, k, stem) {
    note = ""

    if (match(s, /[ \t]--[ \t]/)) {
        note = "  " substr(s, RSTART + 1)
        s = substr(s, 1, RSTART - 1)
    }

    what = s
    sub(/^--@/, "", what)
    s = what
    sub(/[ \t].*$/, "", what)
    sub(/^[^ \t]+[ \t]*/, "", s)
    s = trim(s)
    what = trim(what)

    if (what ~ /^(again|light)$/) {
        if (LINE[nlines] != "--@" what || depth)
            fail(at, "--@" what " stands alone, and in the script itself")
        if (what == "light")
            LIGHT[c] = 1
        return
    }

    if (depth)
        fail(at, "a part that is included declares nothing")

    if (what !~ "^(" DECLARES ")$")
        fail(at, "--@" what " is not known")
    if (code != "")
        fail(at, "declarations come before code")
    if (s == "")
        fail(at, "--@" what " says nothing")

    if (mode == "calls" && !(c in SCRIPT)) {
        new_call(c, at)
        SCRIPT[c] = 1
    }

    ndecl++

    if (what ~ /^(key|keys|given)$/) {
        if (argn || arg_list != "")
            fail(at, "keys come before arguments")

        stem = ""

        if (match(s, / as [a-z0-9_]+[?]?$/)) {
            stem = trim(substr(s, RSTART + 4))
            s = trim(substr(s, 1, RSTART - 1))
            if (sub(/[?]$/, "", stem))
                s = s "?"
        }

        optional = sub(/[?]$/, "", s)

        k = s
        sub(/[ \t]*\(.*$/, "", k)

        if (stem == "")
            stem = k
        name = stem (what == "keys" ? "_keys" : "_key")
        named(c, name, at)

        if (what == "keys") {
            if (optional)
                fail(at, "a list may be empty, never missing")
            key_lists++
            lua = "local " name " = {} for i = 1, (#KEYS - " keys_fixed \
                  ") / @LISTS@ do " name "[i] = KEYS[" keys_fixed " + " \
                  (key_lists - 1) " * (#KEYS - " keys_fixed \
                  ") / @LISTS@ + i] end"
        } else {
            if (key_lists)
                fail(at, "lists of keys come last")
            n = ++keys_fixed
            lua = "local " name " = KEYS[" n "]"
            if (optional)
                lua = "local " name " = KEYS[" n "] ~= '' and KEYS[" n \
                      "] ~= KEYS[1] and KEYS[" n "] or nil"
        }

        if (mode == "calls") {
            key(c, s, optional, what == "keys",
                what == "given" ? stem : "", at)

            if (what == "keys") {
                if (key_lists > 1 && EACH != keys_of)
                    fail(at, "lists of keys are of one list")
                keys_of = EACH
            }
        }

        LINE[nlines] = lua note
        MADE[nlines] = name
        return
    }

    if (what == "arg") {
        if (arg_list != "")
            fail(at, "the list takes all that follows")

        n = ++argn

        if (match(s, /=/)) {
            name = trim(substr(s, 1, RSTART - 1))
            s = trim(substr(s, RSTART + 1))
            named(c, name, at)

            if (s ~ /\.\.\.>/)
                fail(at, "a list is declared by --@list")

            if (mode == "calls")
                template(c, s, at)

            LINE[nlines] = "local " name " = ARGV[" n "]" note
            MADE[nlines] = name
            return
        }

        optional = sub(/[?]$/, "", s)
        name = s
        type = "str"

        if (match(s, /:/)) {
            name = substr(s, 1, RSTART - 1)
            type = substr(s, RSTART + 1)
        }

        named(c, name, at)

        if (type == "str" || type == "digits")
            lua = optional ? "ARGV[" n "] ~= '' and ARGV[" n "] or nil" \
                           : "ARGV[" n "]"
        else if (type == "int")
            lua = "tonumber(ARGV[" n "])"
        else if (type == "flag" && !optional)
            lua = "ARGV[" n "] == '1'"
        else
            fail(at, "type \"" type "\" of \"" name "\" is not known")

        if (mode == "calls") {
            if (type == "digits" || type == "int")
                type = optional ? "int?" : "int"
            template(c, "<" name ":" type ">", at)
        }

        LINE[nlines] = "local " name " = " lua note
        MADE[nlines] = name
        return
    }

    if (what == "list") {
        if (arg_list != "")
            fail(at, "there is a list already")

        arg_list = s
        named(c, s, at)

        if (mode == "calls")
            template(c, "<" s "...>", at)

        LINE[nlines] = "local " s " = {} for i = " (argn + 1) \
                       ", #ARGV do " s "[i - " argn "] = ARGV[i] end" note
        MADE[nlines] = s
        return
    }

    if (mode != "calls")
        return

    if (what == "reply") {
        reply(c, s, at)
        return
    }

    if (KIND[c] != "NONE")
        fail(at, "there is a reply already")

    KIND[c] = toupper(what)
    shape(c, "", s, 0, at)

    if (what == "value" && (NMEMBERS[c] != 1 || RTYPE[c, RNAME[c, 1]] !~ \
                            /^(str|ref|int)$/))
        fail(at, "a value is one string or number")
}


function reply(c, s, at,    words, n, f, i) {
    if (KIND[c] != "NONE" && KIND[c] != "WORD")
        fail(at, "there is a reply without words already")

    KIND[c] = "WORD"

    words = s
    sub(/[ \t].*$/, "", words)
    sub(/^[^ \t]+[ \t]*/, "", s)

    n = split(words, f, "|")

    for (i = 1; i <= n; i++)
        shape(c, f[i], s, 0, at)
}


# a command's verb is of the key's type; what it names in a hash is a field

function check_type(k, verb, at,    type) {
    type = verb ~ /^H/ ? "hash" : verb ~ /^Z/ ? "zset" \
           : verb ~ /^X/ ? "stream" : verb ~ /^(GET|MGET|SET|INCR)$/ ? "string" \
           : verb ~ /^S(ADD|CARD|ISMEMBER|MEMBERS|RANDMEMBER|REM|SCAN)$/ \
           ? "set" : KTYPE[k]

    if (KTYPE[k] != type)
        fail(at, "\"" verb "\" is of a " type ", key \"" k "\" a " KTYPE[k])
}


function check_field(k, field, at) {
    if (KFIELDS[k] != "" && field !~ /</ \
        && index(" " KFIELDS[k] " ", " " field " ") == 0)
        fail(at, "key \"" k "\" has no field \"" field "\"")
}


# Commands: NAME VERB strings -> what comes back

function read_commands(file,    s, n, found, at, f, m, i, c, verb, t, back,
                       plain, k) {
    while ((found = (getline s < file)) > 0) {
        at = file ":" ++n

        while (s ~ /\\$/) {
            sub(/\\$/, "", s)
            if ((getline t < file) <= 0)
                fail(at, "it ends within a command")
            n++
            s = s " " t
        }

        if (s ~ /^[ \t\r]*(#.*)?$/)
            continue

        back = ""
        t = index(s, " -> ")

        if (t) {
            back = trim(substr(s, t + 4))
            s = substr(s, 1, t - 1)
        }

        m = split(trim(s), f, /[ \t]+/)

        if (m < 2)
            fail(at, "a command has a name and a verb")

        c = f[1]
        verb = f[2]

        if (sub(/!$/, "", c))
            DURABLE[c] = 1

        if (verb !~ /^[A-Z]+$/)
            fail(at, "\"" verb "\" is no verb")

        new_call(c, at)
        template(c, verb, at)
        AGAIN[c] = verb in READS

        plain = 0

        for (i = 3; i <= m; i++) {
            if (f[i] ~ /^#/ || f[i] == "->")
                fail(at, "\"" f[i] "\" would be sent")

            if (f[i] ~ /^[@=]/) {
                t = substr(f[i], 2)
                k = key(c, t, 0, 0, f[i] ~ /^=/ ? t : "", at)
                if (f[i] ~ /^@/)
                    check_type(k, verb, at)
            } else {
                template(c, f[i], at)
                plain++
                if (verb ~ /^H(MGET|GET|DEL|EXISTS)$/ \
                    || (verb == "HSET" && plain % 2))
                    check_field(k, f[i], at)
            }
        }

        if (verb == "HMGET" && plain == 0) {
            if (back == "")
                fail(at, "HMGET has no fields")

            m = split(back, f, /[ \t]+/)

            for (i = 1; i <= m; i++) {
                t = f[i]
                sub(/[?]$/, "", t)
                sub(/:.*$/, "", t)
                check_field(k, t, at)
                template(c, t, at)
            }
        }

        if (back == "")
            continue

        shape(c, "", back, 1, at)
        KIND[c] = verb != "HMGET" && NMEMBERS[c] == 1 \
                  && RTYPE[c, RNAME[c, 1]] ~ /^(str|ref|int)$/ ? "VALUE" : "ROW"
    }

    if (found < 0)
        fail(file, "it cannot be read")

    close(file)
}


# What is written

function write_header(file,    i, j, k, c, text, p) {
    print "\n/* made by generate.awk of src/store/schema, commands and scripts */\n" > file
    print "#ifndef _LINES_STORE_CALLS_H_INCLUDED_" > file
    print "#define _LINES_STORE_CALLS_H_INCLUDED_\n\n" > file
    print "#include \"store/caller.h\"\n\n" > file
    print "/* keys, in the pool; NGX_ERROR without memory */\n" > file

    for (i = 1; i <= nkeys_known; i++)
        print key_function(KEY[i]) ";" > file

    for (i = 1; i <= ncalls; i++) {
        c = CALLS[i]

        print "\n\n/* " CALL[c] " */\n" > file
        print "typedef struct {" > file

        for (j = 1; j <= NARGS[c]; j++) {
            text = C[ATYPE[c, ANAME[c, j]]]
            print "    " text (text ~ /[*]$/ ? "" : "  ") ANAME[c, j] ";" > file
        }

        if (NARGS[c] == 0)
            print "    ngx_uint_t  none;" > file

        print "} lines_" c "_args_t;\n" > file

        if (KIND[c] == "WORD") {
            print "enum {" > file
            for (j = 1; j <= NSHAPES[c]; j++)
                print "    LINES_" toupper(c) "_" toupper(WORDS[c, j]) \
                      " = " j (j < NSHAPES[c] ? "," : "") > file
            print "};\n" > file
        }

        print "typedef struct {" > file

        if (KIND[c] == "WORD" || NMEMBERS[c] == 0)
            print "    ngx_uint_t  is;" > file

        for (j = 1; j <= NMEMBERS[c]; j++) {
            k = RTYPE[c, RNAME[c, j]]
            print "    " (k == "int" ? "int64_t" \
                          : k == "str" || k == "ref" ? "ngx_str_t" \
                          : "lines_list_t") "  " RNAME[c, j] ";" > file
        }

        print "} lines_" c "_reply_t;\n" > file

        print "typedef ngx_int_t (*lines_" c "_pt)(void *data,\n" \
              "    lines_" c "_reply_t *reply);\n" > file
        print "extern lines_store_call_t  lines_call_" c ";\n" > file

        senders(file, c)
    }

    moves_header(file)

    print "\n\n#endif /* _LINES_STORE_CALLS_H_INCLUDED_ */" > file
    close(file)
}


# what is not copied does not outlive its answer
function keepable(c,    j, k) {
    for (j = 1; j <= NMEMBERS[c]; j++) {
        k = RTYPE[c, RNAME[c, j]]
        if (k ~ /^(ref|refs|rests)$/)
            return 0
    }
    return NMEMBERS[c] > 0
}


# what sends, of the arguments' struct, and the macros that are called: they
# take the arguments by name, and who is not named is empty; where there are
# none, none are given, for macros that hand on what they got

function senders(file, c) {
    print "static ngx_inline ngx_int_t" > file
    print "lines_send_" c "(lines_caller_t *caller, ngx_uint_t how,\n    lines_" \
          c "_args_t *args, lines_" c "_pt done, void *data)\n{" > file
    print "    return lines_caller_call(caller, &lines_call_" c \
          ", args, how,\n        (lines_done_pt) done, data);\n}\n" > file

    if (keepable(c)) {
        print "static ngx_inline ngx_int_t" > file
        print "lines_kept_" c "(lines_caller_t *caller, lines_" c \
              "_reply_t *reply,\n    lines_" c "_args_t *args)\n{" > file
        print "    return lines_caller_call(caller, &lines_call_" c \
              ", args,\n        LINES_CALL_KEEP, NULL, reply);\n}\n" > file
    }

    macro(file, "lines_" c "(caller, done, data", \
          "lines_send_" c "(caller, LINES_CALL, ", ", done, data)", c)
    macro(file, "lines_then_" c "(caller, next, data", \
          "lines_caller_then(caller, &lines_call_" c ", ", \
          ", next, data)", c)
    macro(file, "lines_try_" c "(caller, done, data", \
          "lines_send_" c "(caller, LINES_CALL_TRY, ", ", done, data)", c)
    if (keepable(c))
        macro(file, "lines_keep_" c "(caller, reply", \
              "lines_kept_" c "(caller, reply, ", ")", c)
    macro(file, "lines_forget_" c "(caller", \
          "lines_send_" c "(caller, LINES_CALL_FORGET, ", ", NULL, NULL)", c)
}


function macro(file, head, call, tail, c) {
    print "#define " head ", ...) \\\n    " call \
          (NARGS[c] ? "\\\n        (&(lines_" c "_args_t) { __VA_ARGS__ })" \
                    : "NULL") tail > file
}


function key_function(k,    p, text) {
    text = "ngx_int_t lines_key_" k "(ngx_pool_t *pool, ngx_str_t *key"
    for (p = 1; p <= KPARAMS[k]; p++)
        text = text ",\n    " (KPTYPE[k, p] == "int" ? "int64_t " \
                               : "ngx_str_t *") KPARAM[k, p]
    return text ")"
}


# The moves of a line

function read_moves(file,    s, n, found, at, f, nf, i) {
    if (MOVES_READ)
        return

    MOVES_READ = 1

    while ((found = (getline s < file)) > 0) {
        at = file ":" ++n
        sub(/#.*/, "", s)
        nf = split(trim(s), f, /[ \t]+/)

        if (nf == 0 || f[1] == "")
            continue

        for (i = 2; i <= nf; i++)
            if (f[i] !~ IDENT)
                fail(at, "\"" f[i] "\" is no name")

        if (f[1] ~ /^(status|counted)$/ && nf == 2) {
            if (f[2] in STATUS)
                fail(at, "status \"" f[2] "\" is there already")
            STATUS[f[2]] = ++nstatuses
            STATUSES[nstatuses] = f[2]
            COUNTED[nstatuses] = f[1] == "counted"
            continue
        }

        if (!(f[1] == "move" && nf == 3) && !(f[1] == "end" && nf == 5))
            fail(at, "\"status NAME\", \"counted NAME\", \"move FROM TO\" " \
                     "or \"end FROM TO REASON FIELD\" is expected")

        for (i = 2; i <= 3; i++)
            if (!(f[i] in STATUS) && !(i == 2 && f[i] == "new"))
                fail(at, "there is no status \"" f[i] "\"")

        if ((f[2], f[3]) in MOVE)
            fail(at, "that move is there already, " MOVE[f[2], f[3]])

        MOVE[f[2], f[3]] = at
        FROM[++nmoves] = f[2]
        TO[nmoves] = f[3]
        REASON[nmoves] = f[1] == "end" ? f[4] : ""
        FIELD[nmoves] = f[5]
    }

    if (found == 0)
        close(file)
}


# "--@moves" in a script: MOVES[from][to], and ENDS[from][reason]

function print_moves(at,    i, j) {
    read_moves(store "/moves")

    if (nmoves == 0)
        fail(at, "there are no moves")

    LINE[++nlines] = "local MOVES, ENDS = {}, {}"
    WHERE[nlines] = at
    lib_local["MOVES"] = lib_local["ENDS"] = at

    for (i = 1; i <= nstatuses; i++) {
        LINE[++nlines] = "MOVES." STATUSES[i] ", ENDS." STATUSES[i] " = {}, {}"
        WHERE[nlines] = at
    }

    for (i = 1; i <= nmoves; i++) {
        if (FROM[i] == "new")
            continue

        LINE[++nlines] = REASON[i] == "" \
            ? "MOVES." FROM[i] "." TO[i] " = true" \
            : "ENDS." FROM[i] "." REASON[i] " = { field = '" FIELD[i] \
              "', to = '" TO[i] "' }"
        WHERE[nlines] = at
    }
}


# lists in C are made of these, never by hand

function moves_header(file,    i, text) {
    if (nstatuses == 0)
        return

    print "\n\n/* what becomes of a line: moves */\n" > file
    print "enum {\n    LINES_NEW = 0," > file

    for (i = 1; i <= nstatuses; i++)
        print "    LINES_" toupper(STATUSES[i]) "," > file

    print "    LINES_STATUSES\n};\n" > file

    text = "#define LINES_EACH_STATUS(status)"
    for (i = 1; i <= nstatuses; i++)
        if (!COUNTED[i])
            text = text " \\\n    status(" STATUSES[i] ")"
    print text "\n" > file

    text = "#define LINES_EACH_COUNTED(status)"
    for (i = 1; i <= nstatuses; i++)
        text = text " \\\n    status(" STATUSES[i] ")"
    print text "\n" > file

    text = "#define LINES_EACH_MOVE(move)"
    for (i = 1; i <= nmoves; i++)
        text = text " \\\n    move(" FROM[i] ", " TO[i] ")"
    print text "\n" > file

    print "#define LINES_MOVES  " nmoves "\n" > file
    print "/* LINES_NEW: it is none */" > file
    print "ngx_uint_t lines_status(ngx_str_t *name);" > file
}


function moves_source(file,    i) {
    if (nstatuses == 0)
        return

    print "\n\nngx_uint_t\nlines_status(ngx_str_t *name)\n{" > file
    print "    ngx_uint_t  i;\n" > file
    print "    static const ngx_str_t  statuses[] = {" > file
    print "        ngx_string(\"\")," > file
    for (i = 1; i <= nstatuses; i++)
        print "        ngx_string(\"" STATUSES[i] "\")" (i < nstatuses ? "," : "") > file
    print "    };\n" > file
    print "    for (i = LINES_STATUSES - 1; i > LINES_NEW; i--) {" > file
    print "        if (name->len == statuses[i].len" > file
    print "            && ngx_memcmp(name->data, statuses[i].data, " \
          "name->len) == 0)\n        {" > file
    print "            break;\n        }\n    }\n\n    return i;\n}" > file
}


function write_source(file,    i, j, k, c, p, text, pattern) {
    print "\n/* made by generate.awk of src/store/schema, commands and scripts */\n" > file
    print "#include \"store/calls.h\"" > file
    print "#include \"store/scripts.h\"" > file

    for (i = 1; i <= nkeys_known; i++) {
        k = KEY[i]
        pattern = KPATTERN[k]
        gsub(/<[^<>]*:int>/, "%L", pattern)
        gsub(/<[^<>]*>/, "%V", pattern)
        text = ""

        for (p = 1; p <= KPARAMS[k]; p++)
            text = text ", " KPARAM[k, p]

        print "\n\n" key_function(k) "\n{" > file
        print "    return lines_redis_format(pool, key, \"" pattern "\"" \
              text ");\n}" > file
    }

    for (i = 1; i <= ncalls; i++) {
        c = CALLS[i]

        print "\n\n/* " CALL[c] " */\n" > file
        print "static ngx_int_t\n" c "_deliver(lines_done_pt done, " \
              "void *data, void *reply)\n{" > file
        print "    return ((lines_" c "_pt) done)(data, reply);\n}\n" > file

        print "static const lines_store_token_t  " c "_tokens[] = {" > file
        for (j = 1; j <= NTOKENS[c]; j++)
            print TOKEN[c, j] (j < NTOKENS[c] ? "," : "") > file
        if (NTOKENS[c] == 0)
            print "    { 0, -1, 0, 0, { { ngx_null_string, 0, 0 } } }" > file
        print "};\n" > file

        if (NSHAPES[c] == 0) {
            NSHAPES[c] = 1
            SHAPED[c, 1] = 0
            WORDS[c, 1] = ""
        }

        for (j = 1; j <= NSHAPES[c]; j++)
            if (SHAPED[c, j])
                print "static const lines_store_member_t  " c "_members_" j \
                      "[] = {\n" SHAPE[c, j] "\n};\n" > file

        print "static const lines_store_shape_t  " c "_shapes[] = {" > file
        for (j = 1; j <= NSHAPES[c]; j++)
            print "    { " quoted(WORDS[c, j]) ", " SHAPED[c, j] ", " \
                  (SHAPED[c, j] ? c "_members_" j : "NULL") " }" \
                  (j < NSHAPES[c] ? "," : "") > file
        print "};\n" > file

        print "lines_store_call_t  lines_call_" c " = {" > file
        print "    ngx_string(\"" c "\")," > file
        print "    " (c in SCRIPT ? "&lines_script_" c : "NULL") ", " \
              AGAIN[c] + 0 ", " \
              (c in SCRIPT ? !(c in LIGHT) : c in DURABLE) ", " \
              (STORE[c] == "limits") "," > file
        print "    " NKEYS[c] ", " NTOKENS[c] ", " c "_tokens," > file
        print "    LINES_REPLY_" KIND[c] ", sizeof(lines_" c "_reply_t)," > file
        print "    " NSHAPES[c] ", " c "_shapes, " \
              ((c, "lost") in WORD ? WORD[c, "lost"] : 0) ", " \
              ((c, "woken") in WORD ? WORD[c, "woken"] : 0) "," > file
        print "    " c "_deliver, 0\n};" > file
    }

    moves_source(file)
    close(file)
}
