# shellcheck shell=bash
# What the profiling scripts have in common; to be sourced, and then:
#
#   begin NAME "$@"      reads the arguments
#   prepare              makes the folder for raw data and builds the program
#
# A script with options of its own defines own_option, which looks at "$@" and sets `taken` to how many words it used; one that
# runs no bench empties `runs_bench`.
# A tool or counter that is missing is no failure: one line says so, and the next best thing is done.
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/perf/scripts/figures.sh"
script=$0
name='' out='' program='' bench=() bench_pid='' taken=0 runs_bench=1

# Nothing by default.
own_option() { taken=0; }

note() { printf '%s: %s\n' "$name" "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}
has() { command -v "$1" >/dev/null 2>&1; }

# The header of the script, and what all have in common.
help() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$script"
    cat <<'END'

options of every profiling script:
  --out DIR        keep raw data there, in a new or empty folder (default: profiles/NAME-TIME of the checkout)
  --program FILE   profile this build of punctual, and build none
  -h, --help       this text
END
    if [ -z "$runs_bench" ]; then return 0; fi
    cat <<'END'

What follows -- goes to `punctual bench`: a workload and its options, or options alone for micro.
By default that is: micro --duration 5s
END
}

begin() {
    name=$1
    shift
    while (($# > 0)); do
        case $1 in
            -h | --help)
                help
                exit 0
                ;;
            --out | --program)
                if (($# < 2)); then fail "$1 needs a value; see $script --help"; fi
                if [ "$1" = --out ]; then out=$2; else program=$2; fi
                shift 2
                ;;
            --)
                if [ -z "$runs_bench" ]; then fail "this script runs no bench, so nothing may follow --; see $script --help"; fi
                shift
                bench=("$@")
                break
                ;;
            *)
                own_option "$@"
                if ((taken == 0)); then fail "there is no option $1; see $script --help"; fi
                shift "$taken"
                ;;
        esac
    done
    if ((${#bench[@]} == 0)) || [[ ${bench[0]} == -* ]]; then bench=(micro "${bench[@]}"); fi
    if [[ " ${bench[*]} " != *" --duration"[\ =]* ]]; then bench+=(--duration 5s); fi
}

# make_folder: for raw data.
make_folder() {
    if [ -z "$out" ]; then
        out=$root/profiles/$name-$(date +%Y%m%d-%H%M%S)
        # No profile is ever committed by accident.
        mkdir -p "$root/profiles"
        echo '*' >"$root/profiles/.gitignore"
    fi
    if [ -e "$out" ] && [ -n "$(ls -A "$out")" ]; then fail "$out is not empty; give another folder with --out"; fi
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    # For `figure`.
    work=$out
}

# build PROFILE PACKAGE: with frame pointers, so that stacks can be walked cheaply. Sets `program`.
build() {
    if [ -n "$program" ]; then
        if [ ! -x "$program" ]; then fail "$program is no program; give one with --program, or leave it out to build it"; fi
        return 0
    fi
    if ! has cargo; then
        note "cargo not found: there is nothing to profile; give a program with --program FILE"
        exit 0
    fi
    echo "building $2 ($1)" >&2
    if [ "$1" = profiling ]; then export RUSTFLAGS="${RUSTFLAGS:-} -C force-frame-pointers=yes"; fi
    cargo build --quiet --manifest-path "$root/Cargo.toml" --package "$2" --profile "$1"
    program=${CARGO_TARGET_DIR:-$root/target}/$1/$2
}

prepare() {
    build profiling punctual
    make_folder
}

# lacks TOOL PACKAGE WHAT: whether a tool is missing. Then one line says so, and WHAT is done instead.
lacks() {
    if has "$1"; then return 1; fi
    note "$1 not found (Debian: $2); $3"
}

# perf_counts EVENT: whether perf can count it here.
perf_counts() {
    local said
    said=$(perf stat -x, -e "$1" true 2>&1 >/dev/null) || return 1
    [[ $said != *"<not "* && $said == *,* ]]
}

# clock_event: what to sample by: cycles, or where there is no such counter the clock of the kernel.
clock_event() { if perf_counts cycles; then echo cycles; else echo cpu-clock; fi; }

# command_line: the words of the bench, in `run`. It says its process id in $out/pid, also below a tool.
command_line() {
    run=(sh -c 'echo $$ >"$0" && exec "$@"' "$out/pid" "$program" bench "${bench[@]}" --json "$out/run.json")
}

bench_failed() {
    echo "failed: punctual bench ${bench[*]}" >&2
    cat "$out/bench.txt" "$out/bench.err" >&2
    exit 1
}

# under TOOL...: the bench below a tool, to its end.
under() {
    local run
    command_line
    if ! "$@" "${run[@]}" >"$out/bench.txt" 2>"$out/bench.err"; then bench_failed; fi
}

# start_bench: the bench by itself in the background, as bench_pid; it ends with the script.
start_bench() {
    local run
    command_line
    trap stop_bench EXIT
    "${run[@]}" >"$out/bench.txt" 2>"$out/bench.err" &
    bench_pid=$!
}
stop_bench() {
    if [ -z "$bench_pid" ]; then return 0; fi
    kill "$bench_pid" 2>/dev/null || true
    wait "$bench_pid" 2>/dev/null || true
    bench_pid=
}
is_running() { kill -0 "$bench_pid" 2>/dev/null; }
finish_bench() {
    local pid=$bench_pid code=0
    bench_pid=
    wait "$pid" || code=$?
    if ((code != 0)); then bench_failed; fi
}

# until_measuring: waits until the bench says so, a minute at most; false if it has ended.
until_measuring() {
    local look
    for ((look = 0; look < 600; look++)); do
        if ! is_running; then return 1; fi
        if grep -q '^measuring' "$out/bench.err"; then return 0; fi
        sleep 0.1
    done
}

# watch_threads: until the bench ends. What the kernel last said of each thread is in $out/threads.tsv: id, name, ns on a
# core, ns of waiting for one, times on one, switches of its own will, switches against it.
watch_threads() {
    local -A last=()
    local dir thread on waited times own forced
    while is_running; do
        for dir in "/proc/$bench_pid/task"/*; do
            # A thread may end while it is looked at.
            {
                thread=$(<"$dir/comm") && read -r on waited times <"$dir/schedstat" &&
                    read -r own forced < <(awk '/ctxt_switches/ { printf "%s ", $2 } END { print "" }' "$dir/status")
            } 2>/dev/null || continue
            last[${dir##*/}]=$thread$'\t'$on$'\t'$waited$'\t'$times$'\t'$own$'\t'$forced
        done
        sleep 0.2
    done
    for thread in "${!last[@]}"; do printf '%s\t%s\n' "$thread" "${last[$thread]}"; done |
        sort -t $'\t' -k3,3nr >"$out/threads.tsv"
}

# transactions: how many committed, warm-up included where the document says so.
transactions() {
    local count
    count=$(figure whole_run/committed)
    if [ -z "$count" ]; then count=$(figure committed); fi
    echo "${count:-0}"
}

# headline: what ran, and how fast it was with the tool upon it.
headline() {
    note "punctual bench ${bench[*]}: $(figure throughput_tps | awk '{ printf "%.0f", $1 }') txn/s while it was profiled"
}

farewell() { note "raw data in ${out#"$PWD"/}"; }

# readable: names of functions as people write them.
readable() {
    local -a demangle=(cat)
    if has rustfilt; then demangle=(rustfilt); elif has c++filt; then demangle=(c++filt); fi
    # The hashes at the end of names say nothing.
    "${demangle[@]}" | sed -E 's/::h[0-9a-f]+([;+ \t]|$)/\1/g'
}

# fold_stacks: samples of perf script on standard input; a line for each stack, outermost first, and how often it was seen.
fold_stacks() {
    awk '
        NF == 0 { if (inside) end_sample(); next }
        !inside { inside = 1; depth = 0; thread = $1; next }
        {
            frame = $0
            sub(/^[ \t]*[0-9a-f]+[ \t]+/, "", frame)
            gsub(/;/, ":", frame)
            frames[++depth] = frame
        }
        function end_sample(   stack, at) {
            inside = 0
            stack = thread
            for (at = depth; at > 0; at--) stack = stack ";" frames[at]
            seen[stack]++
        }
        END { if (inside) end_sample(); for (stack in seen) print stack, seen[stack] }' | sort
}

# top_of_stacks COUNT: of folded stacks, the functions where most samples were.
top_of_stacks() {
    awk '
        { count = $NF; sub(/ [0-9]+$/, ""); at = split($0, frames, ";"); self[frames[at]] += count; all += count }
        END { for (frame in self) printf "%6.2f %%  %s\n", 100 * self[frame] / all, frame }' |
        sort -gr | awk -v most="$1" 'NR <= most'
}

# record_stacks EVENT: samples the bench into $out/perf.data, and folds it into $out/stacks.folded.
record_stacks() {
    under perf record --quiet -F 997 -g -e "$1" -o "$out/perf.data" --
    perf script -i "$out/perf.data" -F comm,tid,ip,sym 2>"$out/script.err" | readable | fold_stacks >"$out/stacks.folded"
}
