#!/usr/bin/env bash
# Measures how long the cores of this machine go away when nothing else is to run on them: the floor under every tail.
#
# usage: perf/scripts/jitter.sh [--seconds S] [OPTION...]
#
#   perf/scripts/jitter.sh
#   perf/scripts/jitter.sh --seconds 60
#
#   --seconds S      how long to look at each core (default 5)
#
# By `punctual env`, which reads the clock of each core as fast as it can and notes the gaps; and by cyclictest if that is
# installed, which measures how late sleeping threads wake up.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
seconds=5 runs_bench=
own_option() {
    taken=0
    if [ "$1" != --seconds ]; then return 0; fi
    if [[ ! ${2:-} =~ ^[0-9]+$ || $2 == 0 ]]; then fail "--seconds takes a whole number of at least 1"; fi
    seconds=$2 taken=2
}
begin jitter "$@"

gaps() {
    awk '
        { gsub(/[",]/, ""); sub(/:$/, "", $1) }
        $1 == "core" { core = $2 }
        $1 == "pinned" && $2 == "false" { unpinned = 1 }
        $1 == "max_ns" { max = $2 }
        $1 == "p99_ns" { p99 = $2 }
        $1 == "over_10us" { over10 = $2 }
        $1 == "over_100us" { over100 = $2 }
        $1 == "lost_ns" { lost = $2 }
        $1 == "stolen_share" {
            if (!head++)
                printf "%-6s %12s %10s %10s %10s %12s %10s\n", "core", "longest us", "p99 ns", "> 10 us", "> 100 us",
                    "lost ms", "stolen %"
            printf "%-6s %12.1f %10d %10d %10d %12.2f %10.3f\n", core, max / 1e3, p99, over10, over100, lost / 1e6, 100 * $2
        }
        END { if (unpinned) print "a core could not be pinned to: its figures are those of several" }' "$out/env.json"
}

build profiling punctual
make_folder
if ! "$program" env --seconds "$seconds" --json "$out/env.json" >"$out/env.txt" 2>"$out/env.err"; then
    cat "$out/env.txt" "$out/env.err" >&2
    exit 1
fi
note "gaps in $seconds s of spinning on each core"
gaps
if ! lacks cyclictest rt-tests "showing gaps alone, and not how late a sleeper wakes up"; then
    if cyclictest --quiet --smp --interval 1000 --duration "$seconds" >"$out/cyclictest.txt" 2>"$out/cyclictest.err"; then
        note "how late sleepers of 1 ms woke up, us"
        grep '^T:' "$out/cyclictest.txt" || true
    else
        note "cyclictest: $(tail -n 1 "$out/cyclictest.err")"
    fi
fi
farewell
