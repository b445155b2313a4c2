#!/usr/bin/env bash
# Samples where a bench spends its time, and draws a flame graph.
#
# usage: perf/scripts/flamegraph.sh [--off-cpu] [OPTION...] [-- BENCH OPTION...]
#
#   perf/scripts/flamegraph.sh
#   perf/scripts/flamegraph.sh -- micro --transport tcp
#   perf/scripts/flamegraph.sh --off-cpu -- --idle park --in-flight 1
#
#   --off-cpu        where threads wait instead, by bpftrace and as root; else how often they give up their core, and where
#
# On-CPU it is 997 samples a second of each core: by cycles, or by the kernel's clock where there is no such counter. The picture
# is made by inferno or FlameGraph if they are installed, else by this script; the stacks are in stacks.folded in any case.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
off_cpu=
own_option() { if [ "$1" = --off-cpu ]; then off_cpu=1 taken=1; else taken=0; fi; }
begin flamegraph "$@"

# draw TITLE: $out/stacks.folded as $out/flame.svg.
draw() {
    if has inferno-flamegraph; then
        inferno-flamegraph --title "$1" <"$out/stacks.folded" >"$out/flame.svg"
    elif has flamegraph.pl; then
        flamegraph.pl --title "$1" "$out/stacks.folded" >"$out/flame.svg"
    else
        own_picture "$1" <"$out/stacks.folded" >"$out/flame.svg"
    fi
}

# own_picture TITLE: sorted folded stacks on standard input; no more than boxes with titles, outermost at the bottom.
own_picture() {
    awk -v title="$1" '
        function text(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
        # A box ends where the stacks stop having it in common.
        function close_from(level,   at) {
            for (at = depth; at >= level; at--) {
                boxes++; box_name[boxes] = open_name[at]; box_from[boxes] = open_at[at]
                box_to[boxes] = total; box_level[boxes] = at
            }
            if (level <= depth) depth = level - 1
        }
        {
            count = $NF; sub(/ [0-9]+$/, ""); levels = split($0, frames, ";")
            same = 0
            while (same < depth && same < levels && open_name[same + 1] == frames[same + 1]) same++
            close_from(same + 1)
            while (depth < levels) { depth++; open_name[depth] = frames[depth]; open_at[depth] = total }
            total += count
        }
        END {
            close_from(1)
            width = 1200; line = 17
            # What takes less than a thousandth is not drawn.
            for (at = 1; at <= boxes; at++)
                if (box_to[at] - box_from[at] >= total / 1000 && box_level[at] > deepest) deepest = box_level[at]
            height = (deepest + 3) * line
            printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\"", width, height
            print " font-family=\"monospace\" font-size=\"11\">"
            printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/><text x=\"6\" y=\"15\">%s</text>\n", text(title)
            for (at = 1; at <= boxes; at++) {
                if (box_to[at] - box_from[at] < total / 1000) continue
                x = width * box_from[at] / total; w = width * (box_to[at] - box_from[at]) / total
                y = height - (box_level[at] + 1) * line; label = box_name[at]; share = 100 * w / width
                # A colour for each function, the same in every picture.
                hue = 0; for (c = 1; c <= length(label); c++) hue = (hue * 31 + index(letters, substr(label, c, 1))) % 55
                printf "<g><title>%s (%.2f %%)</title>", text(label), share
                printf "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"hsl(%d,80%%,65%%)\"/>", x, y, w, line - 1, hue
                room = int((w - 6) / 6.7)
                if (length(label) > room) label = substr(label, 1, room - 2) ".."
                if (room > 3) printf "<text x=\"%.1f\" y=\"%d\">%s</text>", x + 3, y + 12, text(label)
                print "</g>"
            }
            print "</svg>"
        }
        BEGIN { letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:<>" }'
}

show_top() {
    note "$1"
    top_of_stacks 15 <"$out/stacks.folded"
}

on_cpu() {
    local event
    event=$(clock_event)
    if [ "$event" = cpu-clock ]; then note "no cycle counter here: sampling by the kernel's clock"; fi
    record_stacks "$event"
    headline
    if [ ! -s "$out/stacks.folded" ]; then
        note "no samples: $(tail -n 1 "$out/script.err" "$out/bench.err" | tail -n 1)"
        exit 0
    fi
    draw "punctual bench ${bench[*]}: on-CPU, by $event"
    show_top "where most of the $(awk '{ sum += $NF } END { print sum }' "$out/stacks.folded") samples were"
}

# Waiting by bpftrace: from when a thread is switched off to when it is switched on, by the stack that it comes back to.
off_cpu_by_bpftrace() {
    local probe
    probe=$(awk '$3 ~ /^finish_task_switch(\.isra\.0)?$/ { print $3; exit }' /proc/kallsyms)
    start_bench
    if until_measuring; then
        bpftrace -p "$bench_pid" -o "$out/off-cpu.txt" -e "
            kprobe:$probe {
                \$prev = (struct task_struct *)arg0;
                if (\$prev->tgid == $bench_pid) { @start[\$prev->pid] = nsecs; }
                \$last = @start[tid];
                if (\$last != 0) { @[ustack(perf), comm] = sum(nsecs - \$last); delete(@start[tid]); }
            }
            END { clear(@start); }" 2>"$out/bpftrace.err" || note "bpftrace: $(tail -n 1 "$out/bpftrace.err")"
    fi
    finish_bench
    headline
    # A map is printed as @[, the frames, the name of the thread, and the sum.
    awk '
        /^@\[/ { depth = 0; next }
        /^\]: [0-9]+$/ || /, [^ ]+\]: [0-9]+$/ {
            thread = $0; sub(/^, /, "", thread); sub(/\]:.*/, "", thread)
            stack = thread; for (at = depth; at > 0; at--) stack = stack ";" frames[at]
            printf "%s %d\n", stack, $NF / 1000; next
        }
        NF {
            frame = $0; sub(/^[ \t]*[0-9a-f]+ /, "", frame); sub(/\+[0-9]+.*/, "", frame); gsub(/;/, ":", frame)
            frames[++depth] = frame
        }
    ' "$out/off-cpu.txt" | readable | sort >"$out/stacks.folded"
    if [ ! -s "$out/stacks.folded" ]; then return 0; fi
    draw "punctual bench ${bench[*]}: off-CPU, microseconds"
    show_top "where threads waited longest"
}

# The next best: where threads give up their cores, without how long it took.
off_cpu_by_perf() {
    if ! perf_counts sched:sched_switch; then
        note "perf may not see the scheduler either (it takes root, or kernel.perf_event_paranoid -1); sampling on-CPU instead"
        on_cpu
        return 0
    fi
    # Of the program alone: the innermost frames of the kernel are always the scheduler's.
    under perf record --quiet -g --user-callchains -e sched:sched_switch -o "$out/perf.data" --
    perf script -i "$out/perf.data" -F comm,tid,ip,sym 2>"$out/script.err" | readable | fold_stacks >"$out/stacks.folded"
    headline
    if [ ! -s "$out/stacks.folded" ]; then
        note "no thread gave up its core"
        return 0
    fi
    draw "punctual bench ${bench[*]}: switches"
    show_top "where threads gave up their cores"
}

if lacks perf linux-perf "there is no other sampler to fall back to"; then
    if [ -z "$off_cpu" ] || ! has bpftrace; then exit 0; fi
fi
prepare
if [ -z "$off_cpu" ]; then
    on_cpu
elif ! lacks bpftrace bpftrace "counting switches by perf instead" && ((EUID == 0)); then
    off_cpu_by_bpftrace
else
    off_cpu_by_perf
fi
farewell
