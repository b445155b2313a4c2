#!/usr/bin/env bash
# Runs more and more transactions on two shards, in turns, and prints medians: the table of docs/measurement.md.
#
# usage: perf/scripts/cross.sh [ROUNDS] [OPTION...]   (default 5; about 30 s a round; the options go to every run)
#
# In turns, because a machine that is slow for a minute is then slow for everything.
set -euo pipefail
cd "$(dirname "$0")/../.."
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

# figure NAME: a field of the document, or of an object in it; nothing where it is null.
figure() {
    local object=${1%/*} field=${1#*/}
    if [ "$object" = "$field" ]; then object=; fi
    awk -v object="$object" -v field="$field" '
        object != "" && index($0, "  \"" object "\": {") == 1 { inside = 1 }
        (object == "" || inside) && $1 == "\"" field "\":" { sub(/,$/, "", $2); value = $2; exit }
        END { if (value != "" && value != "null") print value }' "$work/run.json"
}

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

# median FILE FORMAT SCALE: of its numbers, or a dash if it has none.
median() {
    sort -g "$work/$1" | awk -v format="$2" -v scale="$3" '{ v[NR] = $1 }
        END { if (NR) printf format, scale * ((NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2); else printf "-" }'
}

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
