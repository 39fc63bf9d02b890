#!/bin/sh
# coverage.sh DIR MODULE...: what DIR's profiles say of the modules' sources,
# least covered first; those under 85 % of their lines are named at the end.

set -eu
dir=$1
shift

version=$(clang --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
tool() {
    command -v "llvm-$1-$version" || command -v "llvm-$1"
}

"$(tool profdata)" merge -sparse -o "$dir/all.profdata" "$dir"/*.profraw

objects=$1
shift
for module; do
    objects="$objects -object $module"
done

# of a report, the file and the columns of lines
"$(tool cov)" report -instr-profile "$dir/all.profdata" $objects 2> /dev/null \
    | awk '$1 ~ /\.c$/ && $1 !~ /(^|\/)t\/module\/|objs\/addon/ {
        name = $1; sub(/^.*src\//, "", name); sub(/^\.\//, "", name)
        lines = $8; missed = $9; all += lines; gone += missed
        printf "%6.1f %% of %4d lines  %s\n", lines ? 100 * (lines - missed) / lines : 100, lines, name
    }
    END { if (all) printf "%6.1f %% of %d lines  src/\n", 100 * (all - gone) / all, all }' \
    | sort -n > "$dir/report"

cat "$dir/report"
awk '$1 < 85 && $NF != "src/" { print $NF " (" $1 " %)" }' "$dir/report" > "$dir/under"
echo "under 85 %: $(paste -sd, "$dir/under" | sed 's/,/, /g')"
