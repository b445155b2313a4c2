#!/usr/bin/env bash
# Fits the simulator's service times to this machine: makes the runs that tell them apart, and then
# punctual bench calibrate. The table at the end says how far the simulation is from each run.
#
# usage: perf/scripts/calibrate.sh OUT.toml [SECONDS]
#
# Ten runs of bench micro over loopback TCP, of SECONDS each (default 3) and a second before that; then the procedures of
# the workloads are timed. Nothing else should run meanwhile. OUT.toml must not be there yet; punctual bench WORKLOAD
# --engine sim --service OUT.toml uses it. PUNCTUAL names the program (default: target/release/punctual of the checkout,
# which cargo build --release makes).
set -euo pipefail
export LC_ALL=C
case "${1:-}" in
    '' | -h | --help)
        awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
esac
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}
out=$1
seconds=${2:-3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=${PUNCTUAL:-$root/target/release/punctual}
if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then fail "$seconds is no whole number of seconds; see $0 --help"; fi
if [[ ! -x $program ]]; then fail "no program $program; make it by cargo build --release, or set PUNCTUAL"; fi
# What would be refused after the runs is refused before.
if [[ -e $out ]]; then fail "$out exists; remove it or give another file"; fi
if [[ ! -d $(dirname "$out") ]]; then fail "there is no folder $(dirname "$out")"; fi
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

# run NAME OPTIONS...
run() {
    local name=$1
    shift
    printf 'calibrate: %s\n' "$name" >&2
    if ! "$program" bench micro --transport tcp --duration "${seconds}s" --warmup 1s --json "$runs/$name.json" "$@" \
        >"$runs/log" 2>&1; then
        fail "the run $name failed: $(tail -n 1 "$runs/log")"
    fi
}

run many-ops
run one-op --ops 1
run batch-16 --batch 16
run batch-off --batch off --in-flight 64
run few-in-flight --in-flight 64
run one-at-a-time --in-flight 1
run two-shards --shards 2
run cross-half --shards 2 --cross 0.5
run cross-all --shards 2 --cross 1
run cross-one-at-a-time --shards 2 --cross 1 --in-flight 1
"$program" bench calibrate --out "$out" --procedures "$runs"/*.json
