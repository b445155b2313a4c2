#!/usr/bin/env bash
# Shows what of this machine makes it late, and what to set. Changes nothing unless it is told to.
#
# usage: perf/scripts/tune.sh [--cores LIST] [--apply] [OPTION...]
#
#   perf/scripts/tune.sh
#   perf/scripts/tune.sh --cores 2-3
#   sudo perf/scripts/tune.sh --cores 2-3 --apply
#
#   --cores LIST     the cores of shards and coordinators, from which interrupts are to keep away (default: the isolated ones)
#   --apply          set what can be set now, as root; undo.sh in the folder for raw data sets it back
#   --root DIR       look at /proc and /sys below DIR, such as those of a container or of a test
#
# What only a boot option or a limit of the session can change is shown, and never changed. All is gone with the next boot.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cores='' apply='' below='' runs_bench=
own_option() {
    taken=2
    case $1 in
        --apply) apply=1 taken=1 ;;
        --cores)
            if [[ ! ${2:-} =~ ^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$ ]]; then fail "--cores takes a list such as 2-3,6"; fi
            cores=$2
            ;;
        --root)
            if [ ! -d "${2:-}" ]; then fail "--root takes a folder that is there"; fi
            below=${2%/}
            ;;
        *) taken=0 ;;
    esac
}
begin tune "$@"
if [ -n "$apply" ] && [ -z "$below" ] && ((EUID != 0)); then
    echo "error: --apply takes root; run it with sudo, or leave it out to see what there is to do" >&2
    exit 1
fi

cpus=$below/sys/devices/system/cpu
# What is to be written where: a path and a value by turns.
changes=()

row() { printf '%-18s %-22s %-22s %s\n' "$1" "$2" "$3" "${4:-}"; }

# value FILE: its first line, or of a choice like `always [madvise] never` the word in brackets; nothing if there is no such file.
value() {
    local text=
    if [ -r "$1" ]; then read -r text <"$1" || true; fi
    if [[ $text =~ \[([a-z_]+)\] ]]; then text=${BASH_REMATCH[1]}; fi
    printf '%s' "$text"
}

# want TOPIC FILE WANTED WHY: one file that is to have one value.
want() {
    local now
    now=$(value "$2")
    if [ -z "$now" ]; then
        row "$1" "not there" "-"
    elif [ "$now" = "$3" ]; then
        row "$1" "$now" "ok"
    else
        row "$1" "$now" "$3" "$4"
        changes+=("$2" "$3")
    fi
}

# want_all TOPIC WANTED WHY FILE...: many files that are to have one value.
want_all() {
    local topic=$1 wanted=$2 why=$3 file wrong=0 others=
    shift 3
    for file in "$@"; do
        if [ -r "$file" ] && [ "$(value "$file")" != "$wanted" ]; then
            wrong=$((wrong + 1)) others=$(value "$file")
            changes+=("$file" "$wanted")
        fi
    done
    if (($# == 0)); then
        row "$topic" "not there" "-"
    elif ((wrong == 0)); then
        row "$topic" "$wanted" "ok"
    else
        row "$topic" "$others ($wrong of $#)" "$wanted" "$why"
    fi
}

# expand LIST: the numbers of a list such as 0-1,3.
expand() {
    local part
    for part in ${1//,/ }; do seq "${part%-*}" "${part#*-}"; done
}

# files PATTERN: those that there are.
files() { compgen -G "$1" || true; }

# States of sleep that take long to leave. A core that spins never enters them, one that parks does.
idle_states() {
    local state latency deep=()
    while read -r state; do
        latency=$(value "$state/latency")
        if ((${latency:-0} > 10)); then deep+=("$state/disable"); fi
    done < <(files "$cpus/cpu[0-9]*/cpuidle/state[0-9]*")
    if ((${#deep[@]} == 0)); then
        row "deep C-states" "none" "ok"
    else
        want_all "deep C-states off" 1 "leaving one takes more than 10 us" "${deep[@]}"
    fi
}

# Interrupts that may run on the cores of the engine. Those that may run nowhere else go to all other cores.
interrupts() {
    local file core allowed others rest='' wrong=0
    if [ -z "$cores" ]; then
        row "interrupts" "not looked at" "-" "name the engine's cores with --cores"
        return 0
    fi
    local -A ours=()
    for core in $(expand "$cores"); do ours[$core]=1; done
    for core in $(expand "$(value "$cpus/online")"); do
        if [ -z "${ours[$core]:-}" ]; then rest=${rest:+$rest,}$core; fi
    done
    while read -r file; do
        allowed=$(value "$file") others=
        for core in $(expand "$allowed"); do
            if [ -z "${ours[$core]:-}" ]; then others=${others:+$others,}$core; fi
        done
        others=${others:-$rest}
        if [ -n "$others" ] && [ "$others" != "$(expand "$allowed" | paste -s -d , -)" ]; then
            wrong=$((wrong + 1))
            changes+=("$file" "$others")
        fi
    done < <(files "$below/proc/irq/[0-9]*/smp_affinity_list")
    if ((wrong == 0)); then
        row "interrupts" "elsewhere" "ok"
    else
        row "interrupts" "$wrong on cores $cores" "elsewhere" "each takes the core away for microseconds; stop irqbalance, too"
    fi
}

# What only a boot option changes.
at_boot() {
    local isolated full
    isolated=$(value "$cpus/isolated") full=$(value "$cpus/nohz_full")
    if [ "$full" = "(null)" ]; then full=; fi
    local list=${cores:-LIST}
    if [ -z "$isolated" ]; then
        row "isolation" "none" "the engine's cores" "boot with isolcpus=$list rcu_nocbs=$list"
    else
        row "isolation" "$isolated" "ok"
    fi
    if [ -z "$full" ]; then
        row "nohz_full" "none" "the engine's cores" "boot with nohz_full=$list: else the tick interrupts them"
    else
        row "nohz_full" "$full" "ok"
    fi
    case $(value "$cpus/smt/active") in
        1) row "SMT" "on" "off, or siblings idle" "two threads of one core halve each other" ;;
        0) row "SMT" "off" "ok" ;;
        *) row "SMT" "not there" "-" ;;
    esac
    local clock
    clock=$(value "$below/sys/devices/system/clocksource/clocksource0/current_clocksource")
    case $clock in
        tsc | arch_sys_counter) row "clock source" "$clock" "ok" ;;
        *) row "clock source" "${clock:-not there}" "tsc" "others are slow to read; if it is constant, boot with clocksource=tsc" ;;
    esac
}

# What belongs to a session or a process.
of_processes() {
    local locked slack
    locked=$(ulimit -l)
    if [ "$locked" = unlimited ] || ((locked >= 512)); then
        row "memlock, KiB" "$locked" "ok"
    else
        row "memlock, KiB" "$locked" "512 or more" "ulimit -l, or LimitMEMLOCK= of the unit: io_uring needs it"
    fi
    slack=$(value "$below/proc/self/timerslack_ns")
    if [ -z "$slack" ]; then
        row "timer slack, ns" "not there" "-"
    elif ((slack <= 1000)); then
        row "timer slack, ns" "$slack" "ok"
    else
        row "timer slack, ns" "$slack" "1" "sleeps end so much later; per thread: echo 1 >/proc/TID/timerslack_ns"
    fi
}

# set_all: writes the changes, and how to take them back.
set_all() {
    local at file before failed=0 done=0
    make_folder
    printf '#!/bin/sh\n# Sets back what perf/scripts/tune.sh --apply has set.\n' >"$out/undo.sh"
    for ((at = 0; at < ${#changes[@]}; at += 2)); do
        file=${changes[at]} before=$(value "${changes[at]}")
        if { printf '%s\n' "${changes[at + 1]}" >"$file"; } 2>/dev/null; then
            printf "echo '%s' >'%s'\n" "$before" "$file" >>"$out/undo.sh"
            done=$((done + 1))
        else
            failed=$((failed + 1))
            printf '%s\n' "$file" >>"$out/refused.txt"
        fi
    done
    note "$done settings changed; sh ${out#"$PWD"/}/undo.sh sets them back"
    if ((failed > 0)); then
        note "the kernel refused $failed, listed in ${out#"$PWD"/}/refused.txt (interrupts that cannot move, mostly)"
    fi
}

if [ -z "$cores" ]; then cores=$(value "$cpus/isolated"); fi
row SETTING NOW WANTED "HOW AND WHY"
mapfile -t governors < <(files "$cpus/cpu[0-9]*/cpufreq/scaling_governor")
want_all "governor" performance "a slow core needs up to a millisecond to be fast" "${governors[@]}"
idle_states
interrupts
at_boot
want "huge pages" "$below/sys/kernel/mm/transparent_hugepage/enabled" madvise "always: page faults that wait; never: TLB misses"
want "swappiness" "$below/proc/sys/vm/swappiness" 1 "a store that is swapped out is late"
want "NUMA balancing" "$below/proc/sys/kernel/numa_balancing" 0 "it takes pages away to see who uses them"
want "NMI watchdog" "$below/proc/sys/kernel/nmi_watchdog" 0 "it interrupts, and holds a hardware counter"
of_processes
if [ -n "$apply" ]; then
    set_all
elif ((${#changes[@]} > 0)); then
    note "$((${#changes[@]} / 2)) of these can be set now: --apply as root. Nothing was changed."
else
    note "nothing to set at run time. Nothing was changed."
fi
