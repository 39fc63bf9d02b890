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
new=

# generate MODE [NAME.lua …]
generate() {
    mode=$1
    shift
    awk -v mode="$mode" -v dir="$scripts" -v store="$store" -v out="$new" \
        -f "$(dirname "$0")/../generate.awk" -- "$@"
}

if [ "$out" = keys ]; then
    generate keys
    exit
fi

if [ "$out" = - ]; then
    generate lua "$3.lua"
    exit
fi

# names that are words of C's, and so of the shell's
names=

for file in "$scripts"/*.lua; do
    name=${file##*/}

    case ${name%.lua} in
    \*) ;;
    *[!a-z0-9_]*)
        echo "embed.sh: $file: a name has a-z, 0-9 and _ only" >&2
        exit 1
        ;;
    *)  names="$names $name" ;;
    esac
done

if [ -z "$names" ]; then
    echo "embed.sh: no scripts in $scripts" >&2
    exit 1
fi

new=$out/scripts.new
rm -rf "$new"
mkdir -p "$new/lua"

if [ -f "$store/schema" ]; then
    generate calls $names
else
    generate lua $names
    echo '/* there is no schema */' | tee "$new/calls.c" > "$new/calls.h"
fi

if command -v sha1sum > /dev/null; then
    sha1sum "$new"/lua/*.lua
else
    openssl dgst -sha1 -r "$new"/lua/*.lua
fi > "$new/digests"

generate embed < "$new/digests"

for file in scripts.c scripts.h calls.c calls.h; do
    cmp -s "$new/$file" "$out/$file" || mv "$new/$file" "$out/$file"
done

rm -r "$new"
