#!/usr/bin/env bash
# What a population of a million simulated clients costs, of whom a hundred take part in a round. Promised: under 500 MB of
# memory in all, and a round that takes as long as with a thousand clients, to within a tenth. Both populations are run in
# turn; exit status 1 where a promise is not kept.
#   benches/million.sh [PATH OF tributary] [REPETITIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
tributary=$(realpath "${1:-target/release/tributary}")
repetitions=${2:-5}
folder=$(mktemp -d)
run=
trap 'kill $run 2>/dev/null || true; rm -rf "$folder"' EXIT
peak_max=500000000
median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
exceeded=0
for _ in $(seq "$repetitions"); do
  for clients in 1000 1000000; do
    "$tributary" sim benches/million.toml --no-out --json-lines --quiet --set data.partition.clients=$clients \
      --set "data.source=\"synthetic:${clients}0,test=1000\"" >"$folder/events" &
    run=$!
    peak=0
    # The system keeps the highest value itself; it is gone with the process, so it is asked for again and again.
    while found=$(awk '/^VmHWM:/ { print $2 * 1024 }' "/proc/$run/status" 2>/dev/null) && [ -n "$found" ]; do
      peak=$found
      sleep 0.02
    done
    wait $run
    run=
    awk -F'"seconds":' '/"event":"round"/ { split($2, value, /[,}]/); print value[1] }' "$folder/events" >>"$folder/$clients"
    echo "$clients clients: peak $((peak / 1000000)) MB of $((peak_max / 1000000)) MB allowed"
    [ "$peak" -le $peak_max ] || exceeded=1
  done
done
few=$(median <"$folder/1000")
many=$(median <"$folder/1000000")
awk -v few="$few" -v many="$many" 'BEGIN {
  ratio = many / few
  printf "a round: %.1f ms with 1,000 clients, %.1f ms with 1,000,000, ratio %.3f (allowed: 0.9 to 1.1)\n", few * 1000, many * 1000, ratio
  exit ratio > 1.1 || ratio < 0.9
}' || exceeded=1
exit $exceeded
