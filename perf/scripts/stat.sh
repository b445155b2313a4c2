#!/usr/bin/env bash
# Counts what the cores do during a bench: instructions per cycle, cache misses, context switches, for each thread.
#
# usage: perf/scripts/stat.sh [OPTION...] [-- BENCH OPTION...]
#
#   perf/scripts/stat.sh
#   perf/scripts/stat.sh -- --transport tcp --in-flight 1024
#   perf/scripts/stat.sh --out /tmp/two -- micro --shards 2 --cross 0.1
#
# The threads of cores are pinned: `core0` is what runs on core 0. Counting begins when the warm-up is over. Without hardware
# counters, as in most virtual machines, perf counts what the kernel sees; without perf the kernel's own figures are shown.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
begin stat "$@"

software=(task-clock context-switches cpu-migrations page-faults)
hardware=(cycles instructions branches branch-misses cache-references cache-misses)

# From perf stat: a line for each thread.
table() {
    awk -F, -v txns="$(figure committed)" '
        $4 == "" || $2 !~ /^[0-9.]+$/ { next }
        {
            event = $4; sub(/:.*/, "", event)
            if (!($1 in known)) { known[$1] = 1; order[++threads] = $1 }
            value[$1, event] = $2; total[event] += $2; has_event[event] = 1
        }
        function ratio(a, b, scale, format) { return b > 0 ? sprintf(format, scale * a / b) : "-" }
        END {
            printf "%-24s %10s %10s %10s %8s", "thread", "on core s", "switches", "migrations", "faults"
            if (has_event["cycles"]) printf " %6s %12s %12s", "IPC", "branch miss %", "cache miss %"
            print ""
            for (at = 1; at <= threads; at++) {
                t = order[at]
                if (value[t, "task-clock"] < 1) continue
                printf "%-24s %10.2f %10d %10d %8d", t, value[t, "task-clock"] / 1000, value[t, "context-switches"],
                    value[t, "cpu-migrations"], value[t, "page-faults"]
                if (has_event["cycles"])
                    printf " %6s %12s %12s", ratio(value[t, "instructions"], value[t, "cycles"], 1, "%.2f"),
                        ratio(value[t, "branch-misses"], value[t, "branches"], 100, "%.2f"),
                        ratio(value[t, "cache-misses"], value[t, "cache-references"], 100, "%.2f")
                print ""
            }
            if (txns > 0) {
                printf "per transaction: %.0f ns on a core, %.5f switches", 1e6 * total["task-clock"] / txns,
                    total["context-switches"] / txns
                if (has_event["cycles"])
                    printf ", %.0f cycles, %.0f instructions, %.2f cache misses", total["cycles"] / txns,
                        total["instructions"] / txns, total["cache-misses"] / txns
                print ""
            }
        }' "$out/stat.csv"
}

# From the kernel: the same as far as it goes.
kernel_table() {
    printf '%-24s %10s %10s %10s\n' thread "on core s" "own will" "forced"
    awk -F '\t' '{ printf "%-24s %10.2f %10d %10d\n", $2 "-" $1, $3 / 1e9, $6, $7 }' "$out/threads.tsv"
}

prepare
if lacks perf linux-perf "showing what the kernel counts by itself, from the start of each thread"; then
    start_bench
    watch_threads
    finish_bench
    headline
    kernel_table
    farewell
    exit 0
fi
events=("${software[@]}")
for event in "${hardware[@]}"; do
    if perf_counts "$event"; then events+=("$event"); fi
done
if ((${#events[@]} == ${#software[@]})); then
    note "no hardware counters here (a virtual machine, or kernel.perf_event_paranoid): counting what the kernel sees"
fi
list=$(IFS=, && echo "${events[*]}")
start_bench
if until_measuring; then
    # It ends when the bench does.
    perf stat --per-thread -x, -e "$list" -p "$bench_pid" -o "$out/stat.csv" 2>"$out/perf.err" ||
        note "perf stat could not attach: $(tail -n 1 "$out/perf.err")"
fi
finish_bench
headline
if [ -s "$out/stat.csv" ]; then
    table
else
    note "the bench was over before anything could be counted; give it a longer --duration"
fi
farewell
