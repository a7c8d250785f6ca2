#!/usr/bin/env bash
# Gets the CUDA 13.0 toolkit as wheels of the Python package registry and prints what a build with the feature `cuda`
# needs in its environment. Neither a GPU nor its driver nor root is needed:
#
#   eval "$(cuda/toolkit.sh)"            # or: eval "$(cuda/toolkit.sh FOLDER)"
#   cargo build --release --features cuda
#
# FOLDER (by default target/cuda-toolkit) takes 1.2 GB. CUDA_COMPUTE_CAP, where it is set, names the processor to build
# for; else it is that of this machine's first GPU, or 90 where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-target/cuda-toolkit}")
home=$folder/nvidia/cu13

# 13.0 and not the newest: a driver compiles the kernels when it loads them, and refuses those of a newer toolkit.
wheels=(
  "nvidia-cuda-nvcc==13.0.*" "nvidia-cuda-crt==13.0.*" "nvidia-nvvm==13.0.*" "nvidia-cuda-cccl==13.0.*"
  "nvidia-cuda-runtime==13.0.*" "nvidia-cuda-nvrtc==13.0.*" "nvidia-cublas==13.0.*" "nvidia-curand==10.4.0.*"
)

# The driver's library comes with the driver. To link without one, every function of its header is defined as "this is a
# stub" (CUDA_ERROR_STUB_LIBRARY, 34), under the name by which the real one is found when the program starts.
stub() {
  local stubs=$home/lib/stubs
  mkdir -p "$stubs"
  grep -ohE '\bcu[A-Z][A-Za-z0-9_]*\b' "$home/include/cuda.h" | sort -u |
    sed 's/.*/__attribute__((visibility("default"))) int &(void) { return 34; }/' > "$stubs/stub.c"
  cc -w -shared -fPIC -o "$stubs/libcuda.so.1" -Wl,-soname,libcuda.so.1 "$stubs/stub.c"
  ln -sf libcuda.so.1 "$stubs/libcuda.so"
}

if [ ! -e "$folder/complete" ]; then
  echo "getting the CUDA toolkit into $folder" >&2
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --only-binary :all: --upgrade --target "$folder" "${wheels[@]}" >&2
  # Wheels name libraries by their version alone; linkers want the bare name, and some builds the folder lib64.
  for library in "$home"/lib/lib*.so.*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
  done
  ln -sfn lib "$home/lib64"
  stub
  touch "$folder/complete"
fi

capability=${CUDA_COMPUTE_CAP:-}
if [ -z "$capability" ] && command -v nvidia-smi >/dev/null; then
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .) || true
fi

cat <<ENVIRONMENT
export CUDA_HOME='$home'
export NVCC='$home/bin/nvcc'
export PATH='$home/bin':"\$PATH"
export CUDARC_CUDA_VERSION=13000
export CUDA_COMPUTE_CAP='${capability:-90}'
export LD_LIBRARY_PATH='$home/lib'"\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
ENVIRONMENT
