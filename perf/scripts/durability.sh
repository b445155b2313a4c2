#!/usr/bin/env bash
# Runs the engine with and without a journal beside the bare disk and Redis, in turns, and prints medians and ratios: the
# figures on durability of docs/measurement.md.
#
# usage: perf/scripts/durability.sh [ROUNDS] [DIR]     (default 5; about 90 s a round)
#
# The journals are below DIR, which says what disk is measured (default .punctual of the checkout). It needs about 4 GiB.
# In turns, because a machine that is slow for a minute is then slow for everything; medians, because it is seldom quiet.
# The disk is measured with fio if that is installed, else with dd; Redis is measured if redis-server and redis-benchmark are
# (Debian: redis-server, redis-tools).
set -euo pipefail
export LC_ALL=C
rounds=${1:-5}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${2:-$root/.punctual}
mkdir -p "$dir"
work=$(mktemp -d "$(cd "$dir" && pwd)/durability-XXXXXX")
cd "$root"
. perf/scripts/figures.sh
redis_pid=
stop_redis() {
    if [ -n "$redis_pid" ]; then
        kill "$redis_pid" 2>/dev/null || true
        wait "$redis_pid" 2>/dev/null || true
        redis_pid=
    fi
}
cleanup() {
    stop_redis
    rm -rf "$work"
}
trap cleanup EXIT
cargo build --release --quiet
punctual=target/release/punctual

short=(--duration 2s --warmup 500ms)
in_flight=(256 1024 4096 16384)
modes=(memory journal journal-async)
fast=1024

# bench LABEL MODE OPTION...: one run on a journal of its own; its figures go to files that begin with LABEL.
bench() {
    local label=$1 mode=$2
    shift 2
    local place=(--durability "$mode")
    if [ "$mode" != memory ]; then place+=(--journal-dir "$work/journal"); fi
    if ! "$punctual" bench micro "${place[@]}" "${short[@]}" "$@" --json "$work/run.json" >"$work/out" 2>"$work/err"; then
        echo "failed: punctual bench micro ${place[*]} $*" >&2
        cat "$work/out" "$work/err" >&2
        exit 1
    fi
    rm -rf "$work/journal"
    local name
    for name in throughput_tps latency_ns/p50 latency_ns/p99 durability/bytes_per_s durability/bytes_per_transaction \
        durability/write_mean_us durability/lag_max_us durability/s_per_million durability/transactions; do
        figure "$name" >>"$work/$label-${name#*/}"
    done
}

# The disk by itself, in a file that has its blocks: one small write after the other, and large ones.
dd if=/dev/zero of="$work/disk" bs=1M count=256 conv=fsync status=none
dd_seconds() {
    dd if=/dev/zero of="$work/disk" oflag=direct,dsync conv=notrunc "$@" 2>&1 | awk -F', ' '/copied/ {print $(NF-1) + 0}'
}
small_writes() {
    if command -v fio >/dev/null; then
        fio --name=sync --filename="$work/disk" --rw=write --bs=4k --size=64m --direct=1 --sync=1 --overwrite=1 \
            --time_based --runtime=2 >"$work/fio"
        awk '/ clat percentiles/ { scale = /nsec/ ? 0.001 : /msec/ ? 1000 : 1; seen = 1 }
            seen && match($0, /50\.00th=\[ *[0-9]+/) {
                text = substr($0, RSTART, RLENGTH); sub(/.*\[ */, "", text); print text * scale; exit
            }' "$work/fio" >>"$work/disk_us"
    else
        # The mean of each hundred: their median is near that of the single writes.
        for _ in $(seq 10); do dd_seconds bs=4k count=100 | awk '{print $1 * 1e6 / 100}' >>"$work/disk_us"; done
    fi
}
large_writes() { dd_seconds bs=1M count=256 | awk '{print 256 * 1048576 / $1}' >>"$work/disk_bytes"; }

with_redis=
if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    with_redis=1
else
    echo "skipped: redis-server not found, install redis-server and redis-tools" >&2
fi
is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Redis with a log that is synced before it answers; it runs only while it is measured.
redis() {
    local port script='for i = 1, 10 do redis.call("INCR", ARGV[i]) end return 10'
    port=$(( 20000 + RANDOM % 20000 ))
    while is_taken "$port"; do port=$(( port + 1 )); done
    mkdir "$work/redis"
    taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly yes --appendfsync always \
        --auto-aof-rewrite-percentage 0 --dir "$work/redis" >"$work/redis.log" 2>&1 &
    redis_pid=$!
    local up=
    for _ in $(seq 100); do
        if redis-cli -p "$port" ping >/dev/null 2>&1; then up=1; break; fi
        sleep 0.1
    done
    if [ -z "$up" ]; then
        echo "failed: redis-server does not answer" >&2
        cat "$work/redis.log" >&2
        exit 1
    fi
    taskset -c 1 redis-benchmark -p "$port" -P 32 -n 50000 -r 1000000 --csv \
        eval "$script" 0 __rand_int__ __rand_int__ __rand_int__ __rand_int__ __rand_int__ \
        __rand_int__ __rand_int__ __rand_int__ __rand_int__ __rand_int__ 2>/dev/null |
        tail -n 1 | awk -F'","' '{print $2}' >>"$work/redis_tps"
    stop_redis
    rm -rf "$work/redis"
}

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    small_writes
    large_writes
    for count in "${in_flight[@]}"; do
        for mode in "${modes[@]}"; do bench "$mode-$count" "$mode" --in-flight "$count"; done
    done
    for mode in "${modes[@]}"; do bench "$mode-1" "$mode" --in-flight 1; done
    for mode in memory journal; do bench "cross-$mode" "$mode" --shards 2 --cross 0.5 --in-flight 256; done
    bench writes-only journal --in-flight "$fast" --reads 0
    if [ -n "$with_redis" ]; then redis; fi
    bench recover journal --in-flight "$fast" --recover
done

# ratio FILE FILE [SCALE]: of the medians, the second one scaled.
ratio() {
    awk -v a="$(median "$1" %.9g)" -v b="$(median "$2" %.9g "${3:-1}")" \
        'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'
}

echo "| in flight | memory, txn/s | journal, txn/s | journal-async, txn/s | journal / memory | async / memory | journal p50, us | async p50, us |"
echo "|---|---|---|---|---|---|---|---|"
best_memory= best_journal=
for count in "${in_flight[@]}"; do
    memory=memory-$count-throughput_tps journal=journal-$count-throughput_tps async=journal-async-$count
    printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$count" "$(median "$memory")" "$(median "$journal")" \
        "$(median "$async-throughput_tps")" "$(ratio "$journal" "$memory")" "$(ratio "$async-throughput_tps" "$memory")" \
        "$(median "journal-$count-p50" %.0f 0.001)" "$(median "$async-p50" %.0f 0.001)"
    if [ -z "$best_memory" ] || [ "$(median "$memory")" -gt "$(median "$best_memory")" ]; then best_memory=$memory; fi
    if [ -z "$best_journal" ] || [ "$(median "$journal")" -gt "$(median "$best_journal")" ]; then best_journal=$journal; fi
done
of=${best_journal%-throughput_tps}
echo
echo "| what | median |"
echo "|---|---|"
row() { printf '| %s | %s |\n' "$1" "$2"; }
row "the disk: 4 KiB written and synced, us" "$(median disk_us %.1f)"
row "the disk: 1 MiB after the other, MB/s" "$(median disk_bytes %.0f 1e-6)"
row "journal at its best in flight (${of#journal-}): MB/s" "$(median "$of-bytes_per_s" %.0f 1e-6)"
row "the same: bytes a transaction" "$(median "$of-bytes_per_transaction" %.1f)"
row "the same: a write, us" "$(median "$of-write_mean_us" %.1f)"
row "journal-async, 1024 in flight: longest time not durable, ms" "$(median "journal-async-$fast-lag_max_us" %.1f 0.001)"
for mode in "${modes[@]}"; do row "one at a time, $mode: p50, us" "$(median "$mode-1-p50" %.1f 0.001)"; done
row "recovery of a million transactions, s" "$(median recover-s_per_million %.2f)"
row "journal, writes only, $fast in flight: txn/s" "$(median writes-only-throughput_tps)"
if [ -n "$with_redis" ]; then row "Redis, appendfsync always, Lua of 10 INCR, -P 32: txn/s" "$(median redis_tps)"; fi
echo
goal() { printf '%-58s %s\n' "$1" "$2"; }
goal "journal / memory, each at its best (goal: 0.5)" "$(ratio "$best_journal" "$best_memory")"
goal "one at a time with a journal / a write of the disk (1.5)" "$(ratio journal-1-p50 disk_us 1000)"
if [ -n "$with_redis" ]; then goal "journal, writes only / Redis (10)" "$(ratio writes-only-throughput_tps redis_tps)"; fi
goal "recovery of a million transactions, s (5)" "$(median recover-s_per_million %.2f)"
goal "2 shards, --cross 0.5, 256 in flight: journal / memory" "$(ratio cross-journal-throughput_tps cross-memory-throughput_tps)"
