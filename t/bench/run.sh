#!/bin/sh
# "make bench": contenders side by side in one run, round after round, so that
# their ratios mean something on a machine whose absolute numbers do not.
#
# usage: LINES_MODULE=… LINES_BUILD=… [LINES_MODULE_BEFORE=another.so]
#        sh t/bench/run.sh [rounds [seconds]]

exec perl "$(dirname "$0")/bench.pl" "$@"
