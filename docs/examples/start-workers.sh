#!/usr/bin/env bash
# Starts a worker on each host, by ssh. A host whose worker runs already is left alone.
#
# usage: PUNCTUAL_TASK_SERVER=node0 ./start-workers.sh TOKEN_FILE HOST... [-- OPTION...]
#
#   ./start-workers.sh token node1 node2 node3
#   ./start-workers.sh token $(cat hosts) -- --slots 8 --work-dir /scratch/punctual
#
# What follows -- goes to each worker. A worker is called as its host is here, runs in the home
# directory there, which may be the same for all, and writes what it says to .punctual/HOST.log. The
# program has to be there: PUNCTUAL=/opt/punctual says where, if it is not in the path.
#
# To stop them all in order: punctual task stop-worker --all
set -euo pipefail

server=${PUNCTUAL_TASK_SERVER:?is the address of the task server, as the hosts see it}
program=${PUNCTUAL:-punctual}

if (($# < 2)); then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
  exit 2
fi
token_file=$1
shift
hosts=()
while (($# > 0)) && [[ $1 != -- ]]; do
  hosts+=("$1")
  shift
done
if (($# > 0)); then
  shift
fi

# What runs on each host; the token comes as its standard input, where nobody sees it. The lock is
# held by the worker as long as it lives, and goes with it.
remote='
set -eu
own=.punctual/$1
shift
mkdir -p .punctual
exec 9> "$own.lock"
if ! flock -n 9; then
  echo "runs already"
  exit 0
fi
(umask 077; cat > "$own.token")
setsid "$@" --token-file "$own.token" < /dev/null > "$own.log" 2>&1 &
echo $! > "$own.pid"
echo "started"
'

# An argument as any shell at the other end takes it.
quote() {
  local quoted="'\\''"
  printf "'%s' " "${1//\'/$quoted}"
}

failed=0
for host in "${hosts[@]}"; do
  name=${host##*@}
  call=(sh -c "$remote" sh "$name" "$program" task worker --server "$server" --name "$name" "$@")
  line=$(for word in "${call[@]}"; do quote "$word"; done)
  if outcome=$(ssh -o BatchMode=yes "$host" "$line" < "$token_file"); then
    echo "$host: $outcome"
  else
    echo "$host: failed" >&2
    failed=1
  fi
done
exit "$failed"
