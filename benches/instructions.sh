#!/usr/bin/env bash
# Counts the instructions of the hot kernels under callgrind and compares them with benches/instructions.txt.
#
#   benches/instructions.sh            fails where a count is off by more than 3 %, in either direction
#   benches/instructions.sh --renew    records what it counts
#
# Counts do not depend on how busy the machine is, only on the code and the compiler. Valgrind shows the program a
# processor with AVX2 and without AVX-512, so it is the AVX2 path that is counted, whatever the machine has; on a
# machine without AVX2, or of another architecture, there is nothing to compare.
# Renew the baseline with the change that moves a count, or with the compiler; the commit says why.
set -euo pipefail
cd "$(dirname "$0")/.."

baseline=benches/instructions.txt
within=3 # percent

if ! command -v valgrind >/dev/null; then
  echo "there is no valgrind here: instructions are not counted (apt-get install valgrind)"
  exit 0
fi
if [ "$(uname -m)" != x86_64 ] || ! grep -qw avx2 /proc/cpuinfo; then
  echo "this processor has no AVX2: there is nothing to compare with"
  exit 0
fi

toolchain="$(rustc --version), $(cargo tree --quiet --prefix none -p gemm | head -1)"
cargo build --release --quiet --workspace --example instructions
program=target/release/examples/instructions

count() { # count NAME TIMES
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
    awk '/Collected/ { print $4; found = 1 } END { exit !found }'
}

counted=$(mktemp)
trap 'rm -f "$counted"' EXIT
# The first pass of a kernel grows its buffers and asks the processor what it has; the second is the one that counts.
for name in $("$program"); do
  once=$(count "$name" 1)
  twice=$(count "$name" 2)
  echo "$name $((twice - once))"
done >"$counted"

if [ "${1:-}" = --renew ]; then
  {
    echo "# Instructions of one pass of each kernel on the AVX2 path; written by benches/instructions.sh --renew."
    echo "# $toolchain"
    cat "$counted"
  } >"$baseline"
  cat "$baseline"
  exit 0
fi

recorded=$(sed -n '2s/^# //p' "$baseline")
if [ "$recorded" != "$toolchain" ]; then
  echo "note: the baseline was recorded with another toolchain; a difference may be the compiler's"
  echo "  recorded: $recorded"
  echo "  here:     $toolchain"
fi
awk -v within="$within" '
  NR == FNR { if ($1 != "#") before[$1] = $2; next }
  !($1 in before) { printf "%-22s %10d   is not in the baseline\n", $1, $2; bad = 1; next }
  {
    change = 100 * ($2 - before[$1]) / before[$1]
    off = change > within || change < -within
    printf "%-22s %10d   %+.2f %%%s\n", $1, $2, change, off ? "   beyond the bound" : ""
    bad = bad || off
    delete before[$1]
  }
  END {
    for (name in before) { printf "%-22s is in the baseline and not in the program\n", name; bad = 1 }
    if (bad) print "hint: if the change is meant, or the compiler is another: benches/instructions.sh --renew"
    exit bad
  }' "$baseline" "$counted"
