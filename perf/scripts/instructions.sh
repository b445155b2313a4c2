#!/usr/bin/env bash
# Counts the instructions of the hot path per transaction, by function. The same in every run, so that small changes show.
#
# usage: perf/scripts/instructions.sh [--path single|pair] [--transactions N] [--top N] [OPTION...]
#        perf/scripts/instructions.sh --gate | --record
#
#   perf/scripts/instructions.sh
#   perf/scripts/instructions.sh --path pair --top 40
#
#   --path NAME        single: a transaction on one shard; pair: one on two (default: both)
#   --transactions N   a multiple of 64 (default: as many as the baseline was made with)
#   --top N            functions that are shown (default 25)
#   --gate             compare with perf/baseline/instructions.toml, and fail if 5 % more are needed
#   --record           write that file
#
# callgrind runs perf/gate, which drives coordinator and shards on one thread: no kernel, no waiting, no clock. It is run with N
# transactions and with twice as many, and the difference is divided by N, so that start and loading cancel out. With
# --program it is perf/gate's program that is given.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
baseline=${PUNCTUAL_BASELINE:-$root/perf/baseline/instructions.toml}
tolerance_percent=5
runs_bench=
how_to_record="record it: perf/scripts/instructions.sh --record"
paths=(single pair) count='' top=25 mode=show

# recorded KEY: from the baseline; nothing if it is not there.
recorded() {
    awk -v key="$1" -F ' *= *' '$1 == key { gsub(/"/, "", $2); print $2; exit }' "$baseline" 2>/dev/null || true
}

own_option() {
    taken=2
    case $1 in
        --path)
            if [[ ${2:-} != single && ${2:-} != pair ]]; then fail "--path is single or pair"; fi
            paths=("$2")
            ;;
        --transactions)
            if [[ ! ${2:-} =~ ^[0-9]+$ ]] || ((10#$2 == 0 || 10#$2 % 64 != 0)); then
                fail "--transactions takes a multiple of 64"
            fi
            count=$2
            ;;
        --top)
            if [[ ! ${2:-} =~ ^[0-9]+$ ]]; then fail "--top takes a number"; fi
            top=$2
            ;;
        --gate | --record)
            mode=${1#--} taken=1
            ;;
        *) taken=0 ;;
    esac
}
begin instructions "$@"
if [ "$mode" != show ]; then paths=(single pair); fi
if [ -z "$count" ]; then count=$(recorded transactions); fi
count=${count:-20480}

# The choice that the C library makes among its ways to copy memory depends on the processor: without these it is the same
# on all of them.
tunables=glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-SSSE3

# count_run PATH N: callgrind's file of a run. The environment is fixed, for it moves the stack.
count_run() {
    local file=$out/$1-$2
    if ! env -i PATH="$PATH" GLIBC_TUNABLES="$tunables" \
        valgrind --tool=callgrind --callgrind-out-file="$file.callgrind" "$program" "$1" "$2" >"$file.txt" 2>"$file.err"; then
        echo "failed: valgrind with ${program##*/} $1 $2" >&2
        tail -n 5 "$file.err" >&2
        exit 1
    fi
}

# total FILE: all instructions of a run.
total() { awk '/^totals:/ { print $2 }' "$1"; }

# per_transaction PATH: with one digit.
per_transaction() {
    awk -v more="$(total "$out/$1-$((2 * count)).callgrind")" -v less="$(total "$out/$1-$count.callgrind")" -v n="$count" \
        'BEGIN { printf "%.1f", (more - less) / n }'
}

# by_function PATH: instructions of each function itself, per transaction. A function's name is written once and then known
# by its number; the line after `calls=` is what was called, which counts there.
by_function() {
    awk -v n="$count" '
        FNR == 1 { run++; delete names; called = 0 }
        /^c?fn=/ {
            id = $0; sub(/^[^(]*\(/, "", id); sub(/\).*/, "", id)
            if (match($0, /\) /)) names[id] = substr($0, RSTART + 2)
            if ($0 ~ /^fn=/) current = names[id]
            next
        }
        /^calls=/ { called = 1; next }
        /^[0-9+*-]/ && NF == 2 { if (!called) self[current] += run == 1 ? -$2 : $2; called = 0 }
        END {
            for (name in self) all += self[name]
            for (name in self) if (self[name] != 0)
                printf "%10.1f %6.2f %%  %s\n", self[name] / n, 100 * self[name] / all, name
        }' "$out/$1-$count.callgrind" "$out/$1-$((2 * count)).callgrind" | readable | sort -gr |
        awk -v most="$top" 'NR <= most'
}

# compiler: its version, and that of what it makes code with, which distributions choose for themselves.
compiler() {
    if ! has rustc; then
        echo unknown
        return 0
    fi
    rustc -vV | awk '/^release:/ { release = $2 } /^LLVM version:/ { llvm = $3 } END { print release, "LLVM", llvm }'
}

# record FIGURE FIGURE: of single and pair.
record() {
    {
        sed -n '/^#/p' "$baseline"
        printf '\nrustc = "%s"\narch = "%s"\nprofile = "release"\ntransactions = %s\n' "$(compiler)" "$(uname -m)" "$count"
        printf '\n[instructions_per_transaction]\nsingle = %s\npair = %s\n' "$1" "$2"
    } >"$out/baseline.toml"
    cp "$out/baseline.toml" "$baseline"
    note "recorded in ${baseline#"$root"/}: single $1, pair $2"
}

# is_comparable: whether the baseline was made by the same compiler for the same kind of processor.
is_comparable() {
    local here there
    here="rustc $(compiler) on $(uname -m)" there="rustc $(recorded rustc) on $(recorded arch)"
    if [ "$here" = "$there" ]; then return 0; fi
    note "warning: this is $here, the baseline is of $there: not compared; $how_to_record"
    return 1
}

# gate PATH FIGURE: one path beside its baseline; false if it got too slow.
gate() {
    local before change
    before=$(recorded "$1")
    change=$(awk -v now="$2" -v before="$before" 'BEGIN { printf "%+.2f", 100 * (now / before - 1) }')
    note "$1: $2 instructions a transaction, $change % of the recorded $before"
    if awk -v c="$change" -v t="$tolerance_percent" 'BEGIN { exit !(c > t) }'; then
        note "FAILED: $1 takes $change % instructions, and +$tolerance_percent % are allowed; if it is worth that, $how_to_record"
        return 1
    fi
    if awk -v c="$change" -v t="$tolerance_percent" 'BEGIN { exit !(c < -t) }'; then
        note "$1 got better by more than $tolerance_percent %; so that it stays so, $how_to_record"
    fi
}

# is_recorded: whether the baseline has figures.
is_recorded() {
    local path value
    for path in single pair; do
        value=$(recorded "$path")
        if ! awk -v v="${value:-0}" 'BEGIN { exit !(v > 0) }'; then return 1; fi
    done
}

if lacks valgrind valgrind "nothing else counts instructions so that they can be compared"; then
    # Where everything is required, a gate that cannot be passed is not passed.
    if [ "$mode" != show ] && [ -n "${PUNCTUAL_REQUIRE:-}" ]; then exit 1; fi
    exit 0
fi
# Flags of somebody's own, say for his processor, are not what was recorded.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
build release punctual-gate
given=$out
make_folder
for path in "${paths[@]}"; do
    count_run "$path" "$count"
    count_run "$path" $((2 * count))
done
case $mode in
    show)
        for path in "${paths[@]}"; do
            note "$path: $(per_transaction "$path") instructions a transaction, of which"
            by_function "$path"
        done
        ;;
    record) record "$(per_transaction single)" "$(per_transaction pair)" ;;
    gate)
        if ! is_recorded; then
            note "nothing is recorded in ${baseline#"$root"/}; $how_to_record"
            for path in "${paths[@]}"; do note "$path: $(per_transaction "$path") instructions a transaction"; done
            if [ -n "${PUNCTUAL_REQUIRE:-}" ]; then exit 1; fi
        elif is_comparable; then
            code=0
            for path in "${paths[@]}"; do gate "$path" "$(per_transaction "$path")" || code=1; done
            if ((code != 0)); then
                farewell
                exit "$code"
            fi
        fi
        # It is run again and again, and what is right needs no looking into.
        if [ -z "$given" ]; then
            rm -r "$out"
            exit 0
        fi
        ;;
esac
farewell
