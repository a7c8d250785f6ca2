#!/usr/bin/env bash
# What a coordinator takes in memory with a model of 64 MB and 4, then 32 clients, all on this machine, and how long their
# rounds take, fsyncs included. Promised for the mean: at most 4 × model + 64 MiB + 64 KiB a connection, however many clients.
# Exit status 1 where that is exceeded.
#   benches/memory.sh [PATH OF tributary]        MEMORY_GIGABYTE=1 adds a model of 1 GB and 4 clients, which take 20 GB
set -euo pipefail
cd "$(dirname "$0")/.."
tributary=${1:-target/release/tributary}
exceeded=0

measure() { # measure SIZE CLIENTS ROUNDS
  local found
  found=$("$tributary" load --size "$1" --clients "$2" --rounds "$3" --json --quiet)
  number() { grep -o "\"$1\": [0-9.]*" <<<"$found" | head -1 | grep -o '[0-9.]*$'; }
  local model peak bound
  model=$(number model_bytes)
  peak=$(number coordinator_peak_bytes)
  bound=$((4 * model + 64 * 1048576 + $2 * 65536))
  echo "$1, $2 clients: peak $((peak / 1048576)) MiB of $((bound / 1048576)) MiB allowed (model $((model / 1048576)) MiB)," \
    "$3 rounds in $(number seconds | grep -o '^[0-9]*.[0-9]') s"
  [ "$peak" -le "$bound" ] || exceeded=1
}

measure 64MB 4 3
measure 64MB 32 3
[ -z "${MEMORY_GIGABYTE:-}" ] || measure 1GB 4 1
exit $exceeded
