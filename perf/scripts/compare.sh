#!/usr/bin/env bash
# Runs the engine beside its yardsticks, in turns, and prints medians and ratios: the figures of docs/measurement.md.
#
# usage: perf/scripts/compare.sh [ROUNDS]      (default 5; about 45 s a round)
#
# In turns, because a machine that is slow for a minute is then slow for everything; medians, because it is
# seldom quiet. Redis is measured if redis-server and redis-benchmark are installed (Debian: redis-server, redis-tools).
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
cargo build --release --quiet
punctual=target/release/punctual
work=$(mktemp -d)
redis_pid=
cleanup() {
    if [ -n "$redis_pid" ]; then kill "$redis_pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

short=(--duration 2s --warmup 500ms)
one=(--ops 1 --in-flight 1 --idle spin)

# bench LABEL FIELD ARGUMENTS...: one run; FIELD is throughput_tps, or p50 of the latency.
bench() {
    local label=$1 field=$2
    shift 2
    if ! "$punctual" bench "$@" "${short[@]}" --json "$work/run.json" >"$work/out" 2>"$work/err"; then
        echo "failed: punctual bench $*" >&2
        cat "$work/out" "$work/err" >&2
        exit 1
    fi
    grep -o "\"$field\": [0-9.]*" "$work/run.json" | head -n 1 | awk '{print $2}' >>"$work/$label"
}

median() { sort -n "$work/$1" | awk '{v[NR]=$1} END {print (NR%2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }
range() { sort -n "$work/$1" | awk '{v[NR]=$1} END {printf "%.0f..%.0f", v[1], v[NR]}'; }

if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    port=$(( 20000 + RANDOM % 20000 ))
    taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no \
        --dir "$work" >"$work/redis.log" 2>&1 &
    redis_pid=$!
    for _ in $(seq 100); do redis-cli -p "$port" ping >/dev/null 2>&1 && break; sleep 0.1; done
    script='for i = 1, 10 do redis.call("INCR", ARGV[i]) end return 10'
else
    echo "skipped: redis-server not found, install redis-server and redis-tools"
fi

redis() {
    taskset -c 1 redis-benchmark -p "$port" -P 32 -n 200000 -r 1000000 --csv \
        eval "$script" 0 __rand_int__ __rand_int__ __rand_int__ __rand_int__ __rand_int__ \
        __rand_int__ __rand_int__ __rand_int__ __rand_int__ __rand_int__ 2>/dev/null |
        tail -n 1 | awk -F'","' '{print $2}' >>"$work/redis"
}

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    bench roofline throughput_tps roofline
    bench tcp throughput_tps micro --transport tcp
    bench ring throughput_tps micro
    bench unix throughput_tps micro --transport unix
    bench tcp_checksum throughput_tps micro --transport tcp --checksum
    bench tcp_unbatched throughput_tps micro --transport tcp --batch off
    bench pingpong_tcp p50 pingpong --transport tcp
    bench single_tcp p50 micro --transport tcp "${one[@]}"
    bench pingpong_ring p50 pingpong --transport ring
    bench single_ring p50 micro "${one[@]}"
    if [ -n "$redis_pid" ]; then redis; fi
done

row() { printf '| %-34s | %12.0f | %s |\n' "$2" "$(median "$1")" "$(range "$1")"; }
echo "| transactions a second | median | range |"
echo "|---|---|---|"
row roofline "roofline"
row tcp "micro over tcp"
row ring "micro over ring"
row unix "micro over unix"
row tcp_checksum "micro over tcp, checksum"
row tcp_unbatched "micro over tcp, batch off"
if [ -n "$redis_pid" ]; then row redis "Redis, Lua of 10 INCR, -P 32"; fi
echo
echo "| p50 of one at a time, ns | median | range |"
echo "|---|---|---|"
row pingpong_tcp "ping-pong over tcp"
row single_tcp "micro, 1 operation, over tcp"
row pingpong_ring "ping-pong over ring"
row single_ring "micro, 1 operation, over ring"
echo
ratio() { printf '%-44s %.2f\n' "$3" "$(awk -v a="$(median "$1")" -v b="$(median "$2")" 'BEGIN {print a/b}')"; }
ratio tcp roofline "tcp / roofline"
ratio ring tcp "ring / tcp"
ratio tcp tcp_unbatched "tcp / tcp with batch off"
ratio single_tcp pingpong_tcp "p50 of one over tcp / ping-pong"
if [ -n "$redis_pid" ]; then ratio tcp redis "tcp / Redis"; fi
