#!/usr/bin/env bash
# What a coordinator with 100 connected clients takes of a core while nothing happens. Promised: under 1 %, for nothing
# polls. Exit status 1 where that is exceeded.
#   benches/idle.sh [PATH OF tributary]
source "$(dirname "$0")/federation.sh" "$@"
# One client more than will come: the run waits for it.
"$tributary" coordinator examples/digits.toml --identity "$folder/hub" --listen 127.0.0.1:0 --quiet --json-lines \
  --address-file "$folder/address" --out "$folder/run" --set cohort.wait_for=101 >"$folder/events" &
coordinator=$!
until [ -s "$folder/address" ]; do sleep 0.05; done
"$tributary" load --authority "$folder/ca" --coordinator "$(cat "$folder/address")" --clients 100 --seconds 60 --quiet &
load=$!
until grep -q '100 of 101 have joined' "$folder/events"; do sleep 0.1; done
ticks() { awk '{ print $14 + $15 }' "/proc/$coordinator/stat"; }
seconds=30
before=$(ticks)
sleep $seconds
used=$(($(ticks) - before))
hertz=$(getconf CLK_TCK)
echo "100 idle clients: $used ticks of 1/$hertz s in $seconds s, $(awk "BEGIN { printf \"%.2f\", 100 * $used / $hertz / $seconds }") % of a core"
[ $((used * 100)) -lt $((hertz * seconds)) ]
