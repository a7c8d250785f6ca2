# What the measurements of a coordinator begin with; read by them with `source`.
# Gives the command to measure in $tributary, a folder that goes with the script in $folder, and in it an authority (ca) and
# a coordinator's identity (hub). Processes whose ids are in $coordinator and $load end with the script.
set -euo pipefail
cd "$(dirname "$0")/.."
tributary=$(realpath "${1:-target/release/tributary}")
folder=$(mktemp -d)
coordinator=
load=
trap 'kill $coordinator $load 2>/dev/null || true; rm -rf "$folder"' EXIT
"$tributary" certs init "$folder/ca" --federation bench >/dev/null
"$tributary" certs issue "$folder/ca" hub --role coordinator --out "$folder/hub" >/dev/null
