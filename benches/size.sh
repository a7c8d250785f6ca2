#!/usr/bin/env bash
# What a device downloads, and how soon it works. Promised: the stripped client with candle at most 12 MB, the client of the
# profile `edge` at most 8 MB, the first batch of either at most 100 ms after its start. Exit status 1 where that is not kept.
# The time is from the start of the process to the receipt of an update of one batch, over loopback: the handshake, its data,
# the download, that batch with all examples, and more than was promised, the upload and the coordinator's fsync. It means
# something on an idle machine only. MB are 10^6 bytes.
# Where perf and strace were asked, three quarters of that time went into the first random number: AWS-LC begins by
# collecting entropy from the jitter of the processor's own timing, which stays on, because not every device's kernel has
# enough of it when it starts.
#   benches/size.sh [release]    release: nothing but the size of the client with candle, the one that needs no other build
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --workspace --bins
folder=$(mktemp -d)
coordinator=
trap 'kill $coordinator 2>/dev/null || true; rm -rf "$folder"' EXIT
strip -o "$folder/with-candle" target/release/tributary-client
missed=0
check() { # check WHAT VALUE MOST UNIT
  printf '%-52s %8.2f %s of %s allowed\n' "$1" "$2" "$4" "$3"
  awk -v value="$2" -v most="$3" 'BEGIN { exit value > most }' || missed=1
}
megabytes() { stat -c %s "$1" | awk '{ print $1 / 1e6 }'; }
check "client with candle, release, stripped" "$(megabytes "$folder/with-candle")" 12 MB
[ "${1:-}" != release ] || exit $missed
cargo build --profile edge --quiet --package tributary-client --no-default-features --features cli --bins
cp target/edge/tributary-client "$folder/edge"
check "client of the profile edge" "$(megabytes "$folder/edge")" 8 MB

tributary=target/release/tributary
"$tributary" certs init "$folder/ca" --federation bench >/dev/null
"$tributary" certs issue "$folder/ca" hub --role coordinator --out "$folder/hub" >/dev/null
"$tributary" certs issue "$folder/ca" device --role client --out "$folder/device" >/dev/null
first_batch() { # first_batch CLIENT: milliseconds, the median of 5
  rm -f "$folder/microseconds"
  for _ in 1 2 3 4 5; do
    rm -rf "$folder/run" "$folder/address"
    : >"$folder/said"
    "$tributary" coordinator examples/digits.toml --identity "$folder/hub" --listen 127.0.0.1:0 --quiet --json-lines \
      --address-file "$folder/address" --out "$folder/run" --set run.rounds=1 --set cohort.wait_for=1 \
      --set 'train.batch="all"' --set train.epochs=1 --set 'evaluate.on=[]' >"$folder/events" &
    coordinator=$!
    until [ -s "$folder/address" ]; do sleep 0.05; done
    began=$(date +%s%N)
    "$1" --identity "$folder/device" --coordinator "$(cat "$folder/address")" --data digits --once 2>"$folder/said" &
    client=$!
    until grep --quiet 'counts, receipt' "$folder/said"; do sleep 0.002; done
    echo $((($(date +%s%N) - began) / 1000)) >>"$folder/microseconds"
    wait $client $coordinator
    coordinator=
  done
  milliseconds=$(sort -n "$folder/microseconds" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] / 1000 }')
}
first_batch "$folder/with-candle"
check "with candle, start to the first batch's receipt" "$milliseconds" 100 ms
first_batch "$folder/edge"
check "edge, start to the first batch's receipt" "$milliseconds" 100 ms
exit $missed
