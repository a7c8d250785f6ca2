#!/usr/bin/env bash
# Compares this product with PyTorch, Flower and pfl-research on this machine, and writes docs/performance.md.
# Makes its own Python environment (about 6 GB, once); nothing else of the system is touched.
#
#   benches/compare.sh [--venv DIR] [--data DIR] [--quick] [--only training|evaluation|simulation|cnn|aggregation|link] [--out FILE]
#
# --data is a folder with MNIST's four IDX files, gzipped; by default ../shared/data/mnist. Keep the machine idle meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/compare
data=../shared/data/mnist
rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --venv) venv=$2 && shift 2 ;;
    --data) data=$2 && shift 2 ;;
    *) rest+=("$1") && shift ;;
  esac
done
if [ ! -s "$data/train-images-idx3-ubyte.gz" ]; then
  echo "error: there is no train-images-idx3-ubyte.gz in \`$data\`" >&2
  echo "  hint: give the folder with MNIST's four files by --data DIR" >&2
  exit 2
fi

cargo build --release --quiet
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --requirement benches/compare/requirements.txt
# Whoever measures on one thread must not start more: PyTorch and NumPy look at this before anything else.
export OMP_NUM_THREADS=1 RAY_DISABLE_DOCKER_CPU_WARNING=1 FLWR_TELEMETRY_ENABLED=0
exec "$venv/bin/python" benches/compare/compare.py --data "$data" "${rest[@]}"
