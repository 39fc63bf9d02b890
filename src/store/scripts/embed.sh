#!/bin/sh
# embed.sh SCRIPTS OUT: makes OUT/scripts.c and .h from SCRIPTS/*.lua, and
# OUT/calls.c and .h from their heads, SCRIPTS/../schema and ../commands
# (store/README.md).  "--@include lib/x.lua" on a line of its own stands for that
# file; "--@again" says that a script may be sent once more when its reply was
# lost (store/redis_op.h).  What is unchanged is left as it is, so that nothing is
# built anew.
#
# embed.sh SCRIPTS - NAME: prints one script as it is embedded.
# embed.sh SCRIPTS keys: prints the schema as a table.

set -eu
LC_ALL=C
export LC_ALL

scripts=$1
out=$2

store=$(dirname "$scripts")

# generate MODE [NAME.lua …]
generate() {
    mode=$1
    shift
    awk -v mode="$mode" -v dir="$scripts" -v store="$store" -v out="$new" \
        -f "$(dirname "$0")/../generate.awk" -- "$@"
}

expand() {
    generate lua "$1"
}

new=-

if [ "$out" = keys ]; then
    generate keys
    exit
fi

if [ "$out" = - ]; then
    expand "$3.lua"
    exit
fi

new=$out/scripts.new
mkdir -p "$new"

{
    printf '/* made by embed.sh from the scripts of src/store/scripts */\n\n'
    printf '#ifndef _LINES_STORE_SCRIPTS_H_INCLUDED_\n'
    printf '#define _LINES_STORE_SCRIPTS_H_INCLUDED_\n\n\n'
    printf '#include "store/script.h"\n\n\n'
} > "$new/scripts.h"

printf '/* made by embed.sh from the scripts of src/store/scripts */\n\n#include "store/scripts.h"\n' \
    > "$new/scripts.c"

names=

for file in "$scripts"/*.lua; do
    [ -f "$file" ] || continue

    name=$(basename "$file" .lua)

    case $name in
    *[!a-z0-9_]*)
        echo "embed.sh: $file: a name has a-z, 0-9 and _ only" >&2
        exit 1
        ;;
    esac

    names="$names $name"

    # the digest is of what is embedded, to the byte
    expand "$name.lua" > "$new/source"

    if command -v sha1sum > /dev/null; then
        sha1=$(sha1sum < "$new/source")
    else
        sha1=$(openssl dgst -sha1 -r < "$new/source")
    fi
    sha1=${sha1%% *}

    again=0
    grep -qx -e '--@again' "$file" && again=1

    printf 'extern lines_script_t  lines_script_%s;\n' "$name" \
        >> "$new/scripts.h"

    {
        printf '\n\nlines_script_t  lines_script_%s = {\n' "$name"
        printf '    ngx_string("%s"),\n    ngx_string(\n' "$name"
        sed -e 's/[\\"?]/\\&/g' -e 's/^/        "/' -e 's/$/\\n"/' "$new/source"
        printf '    ),\n    ngx_string("%s"),\n    %d\n};\n' "$sha1" "$again"
    } >> "$new/scripts.c"
done

if [ -z "$names" ]; then
    echo "embed.sh: no scripts in $scripts" >&2
    exit 1
fi

{
    printf '\n/* all of them; the last is NULL */\n'
    printf 'extern lines_script_t  *lines_scripts[];\n\n\n'
    printf '#endif /* _LINES_STORE_SCRIPTS_H_INCLUDED_ */\n'
} >> "$new/scripts.h"

{
    printf '\n\nlines_script_t  *lines_scripts[] = {\n'
    for name in $names; do
        printf '    &lines_script_%s,\n' "$name"
    done
    printf '    NULL\n};\n'
} >> "$new/scripts.c"

if [ -f "$store/schema" ]; then
    generate calls $(for name in $names; do echo "$name.lua"; done)
else
    echo '/* there is no schema */' | tee "$new/calls.c" > "$new/calls.h"
fi

for file in scripts.c scripts.h calls.c calls.h; do
    cmp -s "$new/$file" "$out/$file" || mv "$new/$file" "$out/$file"
done

rm -r "$new"
