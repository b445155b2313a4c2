#!/usr/bin/env bash
# Counts the system calls of a bench, by kind and per transaction.
#
# usage: perf/scripts/syscalls.sh [OPTION...] [-- BENCH OPTION...]
#
#   perf/scripts/syscalls.sh -- --transport tcp
#   perf/scripts/syscalls.sh -- --transport tcp --batch off
#
# By perf trace, which takes root; else by strace, which slows every call down and so changes how full frames are. What start
# and loading need is in the counts: with millions of transactions it does not matter. Calls by way of io_uring are none.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
begin syscalls "$@"

# Sums by call over all threads; columns CALL and COUNT of the tool's summary in a common form.
perf_counts_by_call() {
    awk '$2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ && $4 ~ /^[0-9.]+$/ { calls[$1] += $2 }
        END { for (call in calls) print calls[call], call }' "$out/trace.txt"
}
strace_counts_by_call() {
    awk '$1 ~ /^[0-9.]+$/ && $4 ~ /^[0-9]+$/ && $NF != "total" { calls[$NF] += $4 }
        END { for (call in calls) print calls[call], call }' "$out/trace.txt"
}

table() {
    local txns
    txns=$(transactions)
    printf '%-18s %12s %18s\n' call calls "per transaction"
    sort -gr "$out/calls.txt" | awk -v txns="$txns" '
        function row(call, calls,   each) {
            if (txns > 0) each = sprintf("%.6f", calls / txns); else each = "-"
            printf "%-18s %12d %18s\n", call, calls, each
        }
        { all += $1; if (NR <= 12) row($2, $1) }
        END { row("all", all) }'
}

tool=
if has perf && perf trace -s -o /dev/null true >/dev/null 2>&1; then
    tool=perf
elif has strace; then
    note "perf trace is not to be had here (it takes linux-perf, and root): strace, which slows the bench down"
    tool=strace
else
    note "neither perf (Debian: linux-perf) as root nor strace (Debian: strace): nothing counts system calls here"
    exit 0
fi
prepare
case $tool in
    perf)
        under perf trace -s -o "$out/trace.txt" --
        perf_counts_by_call >"$out/calls.txt"
        ;;
    strace)
        under strace -f -c -o "$out/trace.txt" --
        strace_counts_by_call >"$out/calls.txt"
        ;;
esac
headline
table
farewell
