#!/usr/bin/env bash
# The figures of the task farm in docs/tasks.md: processes beside a bare spawn loop, the queue by itself, one task at a time,
# many workers, and what an idle farm costs. In turns; medians and ratios. Then, if there is a redis-server, the table of the
# switches in docs/redis.md, once.
#
# usage: perf/scripts/tasks.sh [ROUNDS] [DIR]     (default 5; about 60 s a round and 150 s for the rest; the journals are
# below DIR, by default .punctual of the checkout)
set -euo pipefail
export LC_ALL=C
rounds=${1:-5}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${2:-$root/.punctual}
mkdir -p "$dir"
work=$(mktemp -d "$(cd "$dir" && pwd)/tasks-XXXXXX")
cd "$root"
. perf/scripts/figures.sh
started=()
cleanup() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
    rm -rf "$work"
}
trap cleanup EXIT
cargo build --release --quiet
punctual=$root/target/release/punctual
cc -O2 -o "$work/spawn-loop" perf/scripts/spawn-loop.c

# Lines that differ in their priority alone, so that all run the same program.
for ((line = 1; line <= 10000; line++)); do echo "shell:$line:0:0:true"; done >"$work/true.task"

# run LABEL OPTION...: processes through the farm.
run() {
    local label=$1
    shift
    rm -rf "$work/run"
    "$punctual" task run "$work/true.task" --slots 2 --quiet "$@" --json "$work/run.json" >/dev/null 2>&1
    figure tasks_per_s >>"$work/$label"
}

# queue LABEL OPTION...: no-op tasks through the queue.
queue() {
    local label=$1
    shift
    rm -rf "$work/queue"
    "$punctual" task bench "$@" --json "$work/run.json" >/dev/null 2>&1
    figure throughput_tps >>"$work/$label"
}

# serve: a server with a journal and a worker, until the script ends.
serve() {
    (cd "$work" && exec "$punctual" task serve --listen unix:"$work/socket" --journal-dir "$work/served") 2>"$work/serve.log" &
    started+=($!)
    server=$!
    until grep -q ready "$work/serve.log"; do sleep 0.1; done
    "$punctual" task worker --server unix:"$work/socket" --no-task-dirs 2>"$work/worker.log" &
    started+=($!)
    worker=$!
    until grep -q ready "$work/worker.log"; do sleep 0.1; done
}

# answers PORT: whether a Redis is there.
answers() {
    local answer
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'PING\r\n' >&3
    read -r -t 5 answer <&3 || answer=
    exec 3>&-
    [ "${answer%$'\r'}" = +PONG ]
}

# switches: what each switch of a worker brings, at a Redis of its own on a port that nobody has.
switches() {
    local port pid
    command -v redis-server >/dev/null || { echo "no redis-server: no table of the switches" >&2; return; }
    for port in $(shuf -i 20000-29999 -n 10); do
        redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$work" >"$work/redis.log" &
        pid=$!
        started+=("$pid")
        # One whose port is taken ends.
        while kill -0 "$pid" 2>/dev/null; do
            if answers "$port"; then
                "$punctual" task bench --broker "redis://127.0.0.1:$port/0" --json "$work/switches.json"
                return
            fi
            sleep 0.1
        done
    done
    echo "no port for a Redis was free" >&2
    return 1
}

# ratio A B: with two digits.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }

# spent PID: nanoseconds of processor time that a process has used, all its threads together.
spent() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { print sum }'; }

for ((round = 1; round <= rounds; round++)); do
    echo "round $round of $rounds" >&2
    "$work/spawn-loop" 10000 2 true >>"$work/floor"
    run farm-memory
    run farm-journal --journal-dir "$work/run"
    queue queue-memory --tasks 1000000
    queue queue-journal --tasks 1000000 --durability journal --journal-dir "$work/queue"
    queue queue-tcp --tasks 1000000 --transport tcp
    queue queue-64 --tasks 100000 --workers 64 --transport tcp
    queue behind-1k --tasks 200000 --queued 1000
    queue behind-1m --tasks 200000 --queued 1000000
done

serve
# Submit to done of single tasks on an idle farm, in milliseconds, the connection of the client included.
for ((number = 1; number <= 20; number++)); do
    echo "shell:$number:0:0:true" >"$work/one.task"
    "$punctual" task submit "$work/one.task" --server unix:"$work/socket" --wait --quiet \
        --json "$work/run.json" >/dev/null 2>&1
    figure wall_s | awk '{ print $1 * 1000 }' >>"$work/single"
done
before=$(($(spent "$server") + $(spent "$worker")))
sleep 30
after=$(($(spent "$server") + $(spent "$worker")))
resident=$(awk '/VmRSS/ { sum += $2 } END { print sum / 1024 }' /proc/"$server"/status /proc/"$worker"/status)

floor=$(median "floor")
echo "tasks a second, medians of $rounds rounds"
for label in floor farm-memory farm-journal; do
    printf '%-16s %10.0f   %s of the floor\n' "$label" "$(median "$label")" \
        "$(ratio "$(median "$label")" "$floor")"
done
for label in queue-memory queue-journal queue-tcp queue-64 behind-1k behind-1m; do
    printf '%-16s %10.0f\n' "$label" "$(median "$label")"
done
printf 'behind a million / behind a thousand  %s\n' "$(ratio "$(median "behind-1m")" "$(median "behind-1k")")"
printf 'submit to done of one task            %s ms\n' "$(median single %.2f)"
printf 'idle server and worker                %s %% of a core, %.1f MiB resident\n' \
    "$(ratio $((after - before)) 300000000)" "$resident"
# The farm must not take part of the cores.
kill "$server" "$worker"
wait "$server" "$worker" || true
switches
