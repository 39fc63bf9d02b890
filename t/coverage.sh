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

# of a report, the file and the columns of lines; of the two builds the one of
# which more ran
"$(tool cov)" report -instr-profile "$dir/all.profdata" $objects 2> /dev/null \
    | awk '$1 ~ /\.c$/ && $1 !~ /(^|\/)t\/module\/|objs\/addon/ {
        name = $1; sub(/^.*src\//, "", name); sub(/^\.\//, "", name)
        if (!(name in lines) || $9 < missed[name]) { lines[name] = $8; missed[name] = $9 }
    }
    END {
        for (name in lines) {
            all += lines[name]; gone += missed[name]
            printf "%6.1f %% of %4d lines  %s\n",
                lines[name] ? 100 * (lines[name] - missed[name]) / lines[name] : 100, lines[name], name
        }
        if (all) printf "%6.1f %% of %d lines  src/\n", 100 * (all - gone) / all, all }' \
    | sort -n > "$dir/report"

cat "$dir/report"
awk '$1 < 85 && $NF != "src/" { print $NF " (" $1 " %)" }' "$dir/report" > "$dir/under"
echo "under 85 %: $(paste -sd, "$dir/under" | sed 's/,/, /g')"
