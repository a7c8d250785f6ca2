#!/usr/bin/env bash
# What a coordinator takes in memory with a model of 16 million parameters and 4, then 32 clients. Promised for the mean:
# at most 4 × model + 64 MiB + 64 KiB a connection, however many clients. Exit status 1 where that is exceeded.
#   benches/memory.sh [PATH OF tributary]
source "$(dirname "$0")/federation.sh" "$@"
model=$("$tributary" check benches/large.toml --json | grep -o '"model_bytes": [0-9]*' | grep -o '[0-9]*')
exceeded=0
for clients in 4 32; do
  rm -rf "$folder/run" "$folder/address"
  "$tributary" coordinator benches/large.toml --identity "$folder/hub" --listen 127.0.0.1:0 --quiet --json-lines \
    --address-file "$folder/address" --out "$folder/run" \
    --set cohort.wait_for=$clients --set cohort.quorum=$clients >"$folder/events" &
  coordinator=$!
  until [ -s "$folder/address" ]; do sleep 0.05; done
  "$tributary" load --authority "$folder/ca" --coordinator "$(cat "$folder/address")" --clients $clients \
    --pid $coordinator --json --quiet >"$folder/load"
  wait $coordinator
  peak=$(grep -o '"coordinator_peak_bytes": [0-9]*' "$folder/load" | grep -o '[0-9]*$')
  bound=$((4 * model + 64 * 1048576 + clients * 65536))
  echo "$clients clients: peak $((peak / 1048576)) MiB of $((bound / 1048576)) MiB allowed (model $((model / 1048576)) MiB)"
  [ "$peak" -le "$bound" ] || exceeded=1
done
exit $exceeded
