#!/usr/bin/env bash
# Runs more and more transactions on two shards, in turns, and prints medians: the table of docs/measurement.md.
#
# usage: perf/scripts/cross.sh [ROUNDS] [OPTION...]   (default 5; about 30 s a round; the options go to every run)
#
# In turns, because a machine that is slow for a minute is then slow for everything.
set -euo pipefail
cd "$(dirname "$0")/../.."
. perf/scripts/figures.sh
rounds=${1:-5}
shift || true
cargo build --release --quiet
punctual=target/release/punctual
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

short=(--shards 2 --duration 2s --warmup 500ms)
transports=(ring tcp)
shares=(0 0.01 0.1 0.5 1)
figures=(throughput_tps latency_ns/p50 latency_ns/p99 on_time_ratio hold_ns/p50 agreement_ns/p50)

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    for share in "${shares[@]}"; do
        for transport in "${transports[@]}"; do
            if ! "$punctual" bench micro "${short[@]}" --transport "$transport" --cross "$share" "$@" \
                --json "$work/run.json" >"$work/out" 2>"$work/err"; then
                echo "failed: --transport $transport --cross $share $*" >&2
                cat "$work/out" "$work/err" >&2
                exit 1
            fi
            for name in "${figures[@]}"; do
                figure "$name" >>"$work/$transport-$share-${name//\//-}"
            done
        done
    done
done

echo "| transport | \`--cross\` | txn/s | p50, us | p99, us | on time, % | hold p50, us | agreement p50, us |"
echo "|---|---|---|---|---|---|---|---|"
for transport in "${transports[@]}"; do
    for share in "${shares[@]}"; do
        of="$transport-$share"
        printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$transport" "$share" \
            "$(median "$of-throughput_tps" '%.0f' 1)" \
            "$(median "$of-latency_ns-p50" '%.1f' 0.001)" "$(median "$of-latency_ns-p99" '%.1f' 0.001)" \
            "$(median "$of-on_time_ratio" '%.2f' 100)" \
            "$(median "$of-hold_ns-p50" '%.1f' 0.001)" "$(median "$of-agreement_ns-p50" '%.1f' 0.001)"
    done
done
