#!/usr/bin/env bash
# Lets the kernel delay what leaves a network device, as the emulated network of the same name does, and takes that back.
#
# usage: perf/scripts/netem.sh up NAME [DEVICE] | down [DEVICE] | show [DEVICE]   (as root; default: lo)
#
#   sudo perf/scripts/netem.sh up same-continent          30 ms, jitter 5 ms, for everything on the loopback device
#   target/release/punctual bench micro --transport tcp --shards 2 --cross 1
#   sudo perf/scripts/netem.sh down
#
#   NAME             same-region, same-continent, cross-continent or geo
#
# All that uses the device is delayed, this machine's own services and your remote shell as well. What arrives is not: between two
# machines, run it on both. Packets with jitter overtake each other and TCP puts them back in order; see docs/networks.md.
set -euo pipefail
export LC_ALL=C

usage() {
    echo "error: $1; see $0 --help" >&2
    exit 2
}

case ${1:-} in
    -h | --help)
        awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
    up)
        case ${2:-} in
            same-region) delay=(2ms 500us) ;;
            same-continent) delay=(30ms 5ms) ;;
            cross-continent) delay=(80ms 10ms) ;;
            geo) delay=(150ms 20ms) ;;
            '') usage "up needs the name of a network: same-region, same-continent, cross-continent or geo" ;;
            *) usage "there is no network $2; choose same-region, same-continent, cross-continent or geo" ;;
        esac
        action=up name=$2 device=${3:-lo}
        if (($# > 3)); then usage "up takes a name and a device"; fi
        ;;
    down | show)
        action=$1 device=${2:-lo}
        if (($# > 2)); then usage "$1 takes one device"; fi
        ;;
    '') usage "say up NAME, down or show" ;;
    *) usage "there is no $1; say up NAME, down or show" ;;
esac

# Both may come from a sandbox that has neither: no failure of this script.
if ! command -v tc >/dev/null 2>&1; then
    echo "netem: tc not found (Debian: iproute2); punctual bench --network NAME emulates the same without it"
    exit 0
fi
if [ ! -e "/sys/class/net/$device" ]; then usage "there is no device $device"; fi

is_up() { tc qdisc show dev "$device" root 2>/dev/null | grep -q '^qdisc netem '; }

if [ "$action" = show ]; then
    if is_up; then tc qdisc show dev "$device" root; else echo "netem: nothing is delayed on $device"; fi
    exit 0
fi
if ((EUID != 0)); then
    echo "error: $action takes root; run it with sudo, or use punctual bench --network, which does not" >&2
    exit 1
fi
if [ "$action" = down ]; then
    if is_up; then
        tc qdisc del dev "$device" root
        echo "netem: $device is as before"
    else
        echo "netem: nothing is delayed on $device"
    fi
    exit 0
fi
if is_up; then
    echo "error: something is delayed on $device already; $0 down $device takes it back" >&2
    exit 1
fi
# The default limit of 1000 packets under way would drop what a fast sender has in a tenth of a second.
if ! said=$(tc qdisc add dev "$device" root netem limit 1000000 delay "${delay[@]}" distribution normal 2>&1); then
    case $said in
        *"unknown"* | *"not found"* | *"not supported"* | *"No such file"* | *"not permitted"*)
            echo "netem: this kernel has no netem for us (${said%%$'\n'*}); punctual bench --network $name emulates the same"
            exit 0
            ;;
    esac
    echo "error: tc: $said" >&2
    exit 1
fi
echo "netem: what leaves $device is delayed as in $name: ${delay[0]}, jitter ${delay[1]}; $0 down $device takes it back"
