#!/usr/bin/env bash
# Shows how long the threads of a bench wait for a core although they could run (run-queue latency).
#
# usage: perf/scripts/sched.sh [OPTION...] [-- BENCH OPTION...]
#
#   perf/scripts/sched.sh
#   perf/scripts/sched.sh -- micro --shards 2 --coordinators 2
#
# A thread that owns its core waits for nothing. By perf sched, which takes root; else by the kernel's own sums, which have
# means but no worst case.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
begin sched "$@"

# From the sums of the kernel.
kernel_table() {
    printf '%-24s %10s %12s %10s %14s\n' thread "on core s" "waited ms" "times" "mean wait us"
    awk -F '\t' '{ printf "%-24s %10.2f %12.2f %10d %14.1f\n", $2 "-" $1, $3 / 1e9, $4 / 1e6, $5, $5 ? $4 / $5 / 1e3 : 0 }' \
        "$out/threads.tsv"
}

by_kernel() {
    start_bench
    watch_threads
    finish_bench
    headline
    kernel_table
}

# Threads of ours alone, worst first.
perf_table() {
    perf sched latency -p -i "$out/perf.data" >"$out/latency.txt" 2>"$out/latency.err"
    printf '%-24s %10s %10s %14s %14s\n' thread "on core ms" "switches" "mean wait us" "longest us"
    awk -F '|' -v ids="$(cut -f 1 "$out/threads.tsv" | tr '\n' ' ')" '
        BEGIN { count = split(ids, list, " "); for (at = 1; at <= count; at++) ours[list[at]] = 1 }
        NF >= 5 {
            thread = $1; gsub(/^ +| +$/, "", thread)
            id = thread; sub(/.*:/, "", id)
            if (!(id in ours)) next
            mean = $4; sub(/.*avg: */, "", mean); sub(/ ms.*/, "", mean)
            longest = $5; sub(/.*max: */, "", longest); sub(/ ms.*/, "", longest)
            printf "%-24s %10.1f %10d %14.1f %14.1f\n", thread, $2 + 0, $3 + 0, 1000 * mean, 1000 * longest
        }' "$out/latency.txt" | sort -k5,5gr
}

prepare
if lacks perf linux-perf "showing the sums of the kernel"; then
    by_kernel
elif ! perf sched record -o "$out/probe.data" -- true >"$out/probe.txt" 2>&1; then
    note "perf sched may not record here ($(tail -n 1 "$out/probe.txt")); showing the sums of the kernel"
    by_kernel
else
    rm -f "$out/probe.data"
    start_bench
    # The whole machine, for as long as the bench measures.
    if until_measuring; then
        perf sched record -o "$out/perf.data" -- sh -c 'while kill -0 "$0" 2>/dev/null; do sleep 0.1; done' "$bench_pid" \
            >"$out/record.txt" 2>&1 &
        recorder=$!
        watch_threads
        finish_bench
        wait "$recorder" || note "perf sched record: $(tail -n 1 "$out/record.txt")"
        headline
        perf_table
    else
        finish_bench
        note "the bench was over before anything could be recorded; give it a longer --duration"
    fi
fi
farewell
