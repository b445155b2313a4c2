#!/usr/bin/env bash
# Looks for cache lines that two cores fight for (false sharing, and true sharing that is dearer than it need be).
#
# usage: perf/scripts/c2c.sh [OPTION...] [-- BENCH OPTION...]
#
#   perf/scripts/c2c.sh
#   perf/scripts/c2c.sh -- micro --shards 2 --cross 0.5
#
# It takes a processor that samples memory accesses (PEBS, IBS or SPE), which a virtual machine seldom has. Then it is shown
# instead how much time goes into the code where cores meet: rings, flags, wake-ups and counters.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
begin c2c "$@"

if lacks perf linux-perf "there is nothing to fall back to"; then exit 0; fi
prepare
if perf c2c record -o "$out/probe.data" -- true >"$out/probe.txt" 2>&1; then
    rm -f "$out/probe.data"
    under perf c2c record -o "$out/perf.data" --
    perf c2c report -i "$out/perf.data" --stdio >"$out/c2c.txt" 2>"$out/report.err"
    headline
    # Totals, then the lines that were found modified in another core's cache.
    awk '/HITM|Total records|Load Operations|Store Operations/ && ++shown <= 12' "$out/c2c.txt"
    awk '/Shared Data Cache Line Table/ { inside = 1 } inside && ++shown <= 25' "$out/c2c.txt"
    farewell
    exit 0
fi
event=$(clock_event)
note "no memory events here ($(tail -n 1 "$out/probe.txt")): time where cores meet instead, by $event"
record_stacks "$event"
headline
if [ ! -s "$out/stacks.folded" ]; then
    note "no samples"
    exit 0
fi
awk '
    {
        count = $NF; all += count; sub(/ [0-9]+$/, ""); at = split($0, frames, ";"); frame = frames[at]
        if (frame ~ /[Rr]ing|ArrayQueue|crossbeam|flume|[Aa]tomic|[Ww]ak(e|ing)|[Pp]ark|futex|[Cc]ounters/)
            self[frame] += count
    }
    END {
        for (frame in self) { sum += self[frame]; printf "%6.2f %%  %s\n", 100 * self[frame] / all, frame }
        printf "%6.2f %%  of all samples together\n", all ? 100 * sum / all : 0
    }' "$out/stacks.folded" | sort -gr | awk 'NR <= 12'
note "a high share of one of these is a reason to look at it on a machine with memory events"
farewell
