#!/bin/sh
# Builds the hollow CUDA runtime into a folder, for the torch of $PYTHON (a CUDA build): sh build.sh FOLDER
# Torch's own host code then runs where there is no GPU, with kernels that do nothing (fake.cpp says what that proves):
#     LD_LIBRARY_PATH=FOLDER LD_PRELOAD=FOLDER/libfake.so TORCH_CUDNN_V8_API_DISABLED=1 FAKE_GB=79 python -P …
# Needs g++, gcc, nm, and CUDA's headers with crt/: $CUDA_INCLUDE, else a toolkit's, else those of triton. They must be
# of torch's CUDA (13.0 serves 13.2): those of another show as a segmentation fault at the first tensor.
set -eu
[ $# -eq 1 ] || {
    echo "usage: sh build.sh FOLDER" >&2
    exit 2
}
here=$(cd -- "$(dirname -- "$0")" && pwd)
python=$(command -v -- "${PYTHON:-python3}")
case $python in /*) ;; *) python=$PWD/$python ;; esac
folder_of() {
    "$python" -P -c "import $1, os; print(os.path.dirname($1.__file__))"
}

include=${CUDA_INCLUDE:-/usr/local/cuda/include}
[ -d "$include/crt" ] || include=$(folder_of triton)/backends/nvidia/include
torch=$(folder_of torch)
mkdir -p -- "$1"
cd -- "$1"
"$python" -P "$here/stubs.py" "$torch/lib" .
g++ -O1 -g -shared -fPIC -w -I"$include" -I"$here" \
    "$here/fake.cpp" "$here/memory.cpp" "$here/device.cpp" blas.cpp -o libfake.so
gcc -shared -fPIC -w -Wl,-soname,libcuda.so.1 driver.c -o libcuda.so.1 # finds fake_kernel in libfake.so
