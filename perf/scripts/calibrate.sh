#!/usr/bin/env bash
# Fits the simulator's service times to this machine: runs what tells them apart, and then
# punctual bench calibrate. The table at the end says how far the simulation is from each run.
# usage: perf/scripts/calibrate.sh OUT.toml [SECONDS]
set -euo pipefail
case "${1:-}" in
'' | -h | --help)
  sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
out=$1
seconds=${2:-3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=${PUNCTUAL:-$root/target/release/punctual}
if [[ ! -x $program ]]; then
  echo "calibrate: no $program; build it with cargo build --release, or set PUNCTUAL"
  exit 0
fi
runs=$(mktemp -d)
trap 'rm -r "$runs"' EXIT

# run NAME OPTIONS...
run() {
  local name=$1
  shift
  echo "calibrate: $name" >&2
  "$program" bench micro --transport tcp --duration "${seconds}s" --warmup 1s \
    --json "$runs/$name.json" "$@" >/dev/null 2>&1
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
"$program" bench calibrate --out "$out" "$runs"/*.json
