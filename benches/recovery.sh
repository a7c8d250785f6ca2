#!/usr/bin/env bash
# How long a coordinator that was killed takes to be back inside its round, with 1,000 accepted updates of 1 MB in its
# journal. Promised: under 5 s from its start until the one client that is still asked for has its work again. Every run
# ends with the model of the undisturbed one. Exit status 1 where one of that is missed.
#   warm  the updates are still in the system's cache, as after the death of a process
#   cold  they are read from the disk, as after that of a machine
#   benches/recovery.sh [PATH OF tributary]        CLIENTS=1000, TIMES=3 each
source "$(dirname "$0")/federation.sh" "$@"
clients=${CLIENTS:-1000}
times=${TIMES:-3}
missed=0
straggler=
trap 'kill -9 $coordinator $load $straggler 2>/dev/null || true; rm -rf "$folder"' EXIT
"$tributary" certs issue "$folder/ca" straggler --out "$folder/straggler" >/dev/null

milliseconds() { echo $((${EPOCHREALTIME//[!0-9]/} / 1000)); }

serve() { # serve arguments…
  "$tributary" coordinator benches/recovery.toml --identity "$folder/hub" --quiet --json-lines --out "$folder/run" \
    --handshakes-per-address 1000 --set cohort.wait_for=$((clients + 1)) --address-file "$folder/address" "$@" \
    >>"$folder/events" &
  coordinator=$!
  until [ -s "$folder/address" ]; do sleep 0.005; done
}

straggle() {
  : >"$folder/told"
  "$tributary" client --identity "$folder/straggler" --coordinator "$(cat "$folder/address")" --once \
    --run benches/recovery.toml --part 0 2>"$folder/told" &
  straggler=$!
}

told() { # told TEXT: waits until the straggler says it
  until grep -q "$1" "$folder/told"; do sleep 0.005; done
}

accepted() { "$tributary" inspect "$folder/run" --json | grep -o '"accepted": [0-9]*' | tail -1 | grep -o '[0-9]*$'; }

begin() { # the straggler is in the cohort, and does not answer where $1 says so
  rm -rf "$folder/run" "$folder/address" "$folder/events" "$folder/straggler/outbox"
  serve --listen 127.0.0.1:0
  straggle
  told joined
  if [ "$1" = silent ]; then kill -STOP $straggler; fi
  "$tributary" load --authority "$folder/ca" --coordinator "$(cat "$folder/address")" --clients "$clients" --quiet \
    >"$folder/load" &
  load=$!
}

end() { # $model is what the run ends with
  wait $coordinator
  wait $straggler
  model=$(grep '"event":"done"' "$folder/events" | tail -1 | grep -o '"model":"[0-9a-f]*"')
}

disturb() { # disturb warm|cold
  begin silent
  until [ "$(accepted)" = "$clients" ]; do sleep 0.2; done
  # The clients whose updates were accepted have nothing more to do, and would notice within a keep-alive, which is later.
  kill -9 $coordinator $straggler $load
  wait $coordinator $straggler $load 2>/dev/null || true
  address=$(cat "$folder/address")
  rm "$folder/address"
  if [ "$1" = cold ]; then find "$folder/run" -type f -exec dd if={} iflag=nocache count=0 status=none \;; fi
  began=$(milliseconds)
  serve --listen "$address" --resume
  listening=$(($(milliseconds) - began))
  straggle
  told 'got the model'
  continues=$(($(milliseconds) - began))
  end
  committed=$(($(milliseconds) - began))
  echo "$1, $clients accepted updates: listening after $listening ms, the round continues after $continues ms, ended after $committed ms"
  [ "$continues" -lt 5000 ] || missed=1
  if [ "$model" != "$undisturbed" ]; then
    echo "the run ended with another model: $model, undisturbed $undisturbed"
    missed=1
  fi
}

begin willing
end
undisturbed=$model
for _ in $(seq "$times"); do
  disturb warm
  disturb cold
done
exit $missed
