#!/usr/bin/env bash
# What a coordinator takes in memory with a model of 64 MB and 4, then 32 clients, and how long a round takes over loopback,
# synthetic updates and fsyncs included. Promised for the mean: at most 4 × model + 64 MiB + 64 KiB a connection, however
# many clients. Exit status 1 where that is exceeded.
#   benches/memory.sh [PATH OF tributary]        MEMORY_GIGABYTE=1 adds a model of 1 GB and 4 clients, which take 9 GB
source "$(dirname "$0")/federation.sh" "$@"
exceeded=0

measure() { # measure CLIENTS ROUNDS WIDTH: a model of two hidden layers of this width
  local clients=$1 peak bound model seconds
  local set=(--set "run.rounds=$2" --set "model.layers=[{ kind = \"linear\", out = $3 }, { kind = \"relu\" },
    { kind = \"linear\", out = $3 }, { kind = \"relu\" }, { kind = \"linear\", out = 10 }]")
  model=$("$tributary" check benches/large.toml "${set[@]}" --json | grep -o '"model_bytes": [0-9]*' | grep -o '[0-9]*')
  rm -rf "$folder/run" "$folder/address"
  "$tributary" coordinator benches/large.toml "${set[@]}" --identity "$folder/hub" --listen 127.0.0.1:0 --quiet \
    --json-lines --address-file "$folder/address" --out "$folder/run" \
    --set cohort.wait_for="$clients" --set cohort.quorum="$clients" >"$folder/events" &
  coordinator=$!
  until [ -s "$folder/address" ]; do sleep 0.05; done
  "$tributary" load --authority "$folder/ca" --coordinator "$(cat "$folder/address")" --clients "$clients" \
    --pid $coordinator --json --quiet >"$folder/load"
  wait $coordinator
  peak=$(grep -o '"coordinator_peak_bytes": [0-9]*' "$folder/load" | grep -o '[0-9]*$')
  seconds=$(grep '"event":"round"' "$folder/events" | tail -1 | grep -o '"seconds":[0-9]*.[0-9]' | grep -o '[0-9.]*$')
  bound=$((4 * model + 64 * 1048576 + clients * 65536))
  echo "$clients clients: peak $((peak / 1048576)) MiB of $((bound / 1048576)) MiB allowed (model $((model / 1048576)) MiB)," \
    "the last round took $seconds s"
  [ "$peak" -le "$bound" ] || exceeded=1
}

measure 4 3 4000
measure 32 3 4000
[ -z "${MEMORY_GIGABYTE:-}" ] || measure 4 1 15780
exit $exceeded
