#!/usr/bin/env bash
# Kills shards in the midst of transfers, again and again, and looks for every transfer afterwards.
#
# usage: perf/scripts/crash.sh [KILLS] [SEED]   (default 50 and any seed; about 1 s a kill in each of two modes)
#
# The journals are in the folder for temporary files; set TMPDIR to one on the disk that is to be tried.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PUNCTUAL_CRASH_KILLS=${1:-50}
if [ -n "${2:-}" ]; then export PUNCTUAL_CRASH_SEED=$2; fi
cargo test --release --package punctual --test it -- crash:: --ignored --nocapture --test-threads 1
