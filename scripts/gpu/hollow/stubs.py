"""Writes the rest of the hollow CUDA runtime: cuBLAS and cuDNN (blas.cpp) and a driver (driver.c) that do nothing.

    python -P stubs.py TORCH-LIB-FOLDER OUT-FOLDER

build.sh runs it. Which functions there must be is read off torch's own libraries, so that it follows torch's version;
products and convolutions are counted as launches. cuDNN is that of its v7 calls: of the v8 ones nothing is known here,
so TORCH_CUDNN_V8_API_DISABLED=1 must be set, and bf16 convolutions cannot be judged.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HEAD = """#include <cstddef>
#include <cstdlib>
#include <cstring>
#define API extern "C" __attribute__((visibility("default")))
extern "C" void fake_kernel(const char*, void*);
static thread_local void* stream;
"""
SET_STREAM = "(void*, void* given) { stream = given; return 0; }"
NO_MODE = "(void*, int* mode) { *mode = 0; return 0; }"
SPECIAL = {
    "cublasSetStream_v2": f"API int cublasSetStream_v2{SET_STREAM}",
    "cudnnSetStream": f"API int cudnnSetStream{SET_STREAM}",
    "cudnnGetStream": "API int cudnnGetStream(void*, void** asked) { *asked = stream; return 0; }",
    "cublasGetMathMode": f"API int cublasGetMathMode{NO_MODE}",
    "cublasGetPointerMode_v2": f"API int cublasGetPointerMode_v2{NO_MODE}",
    "cublasLtMatmulAlgoGetHeuristic": "API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*,"
    " void*, int, char* result, int* found) { memset(result, 0, 96); *found = 1; return 0; }",
    "cublasLtMatmul": "API int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*,"
    " const void*, const void*, void*, void*, void*, const void*, void*, size_t, void* its_stream)"
    ' { fake_kernel("cublasLtMatmul", its_stream); return 0; }',
    "cudnnGetVersion": "API size_t cudnnGetVersion() { return 91900; }",
    "cudnnGetCudartVersion": "API size_t cudnnGetCudartVersion() { return 13000; }",
    "cudnnGetErrorString": 'API const char* cudnnGetErrorString(int) { return "fake"; }',
    "cudnnGetLastErrorString": "API void cudnnGetLastErrorString(char* text, size_t size) { if (size) *text = 0; }",
}
"""Functions that answer something."""

LAUNCHES = re.compile(
    r"cublas[SDCZ]?(gemm|gemv|dot|trsm|axpy|scal)|cublasGemm|cublasDotEx|cudnnConvolution(Forward|Backward)"
    r"|cudnnBatchNormalization(Forward|Backward)|cudnnPoolingForward"
)
CREATES = re.compile(r"cublasCreate|cudnnCreate|cublasLt\w+Create")
ALGORITHM = {
    r"cudnnGetConvolution\w+Algorithm_v7": ("void*, void*, void*, void*, void*, int", ""),
    r"cudnnFindConvolution\w+AlgorithmEx": (", ".join(["void*"] * 8) + ", int", ", void*, size_t"),
}
"""Functions that choose an algorithm, by rule and by trying, and the arguments around what they answer."""

NO_SPACE = {
    r"cudnnGetConvolution\w+WorkspaceSize": "void*, void*, void*, void*, void*, int",
    "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize": "void*, int, int, void*, void*, void*, void*, void*",
    "cudnnGetBatchNormalizationBackwardExWorkspaceSize": "void*, int, int, " + ", ".join(["void*"] * 7),
    "cudnnGetBatchNormalizationTrainingExReserveSpaceSize": "void*, int, int, void*, void*",
}
"""Functions that ask for no memory, and the arguments before the size."""

FOUND_ONE = (
    "*found = 1; memset(result, 0, 48); int* fields = (int*)result; fields[0] = fields[6] = 1; fields[7] = 3; return 0;"
)
"""Of cuDNN's struct: the algorithm, that it is deterministic, and that it multiplies without TF32."""


IDLE = ("cuCtxSetCurrent", "cuCtxGetLimit", "cuCtxSetLimit", "cuOccupancyMaxActiveClusters", "cuTensorMapEncodeTiled")
"""Functions that Triton looks up in the driver, and which do nothing."""
DRIVER_HEAD = """#include <stddef.h>
#include <string.h>
void fake_kernel(const char*, void*);
static char context, module, names[4096][128];
static int functions;
"""
DRIVER = {
    "cuInit": "int cuInit(unsigned flags) { return 0; }",
    "cuDriverGetVersion": "int cuDriverGetVersion(int* version) { *version = 13000; return 0; }",
    "cuGetErrorString": 'int cuGetErrorString(int error, const char** text) { *text = "fake"; return 0; }',
    "cuDeviceGet": "int cuDeviceGet(int* device, int at) { *device = at; return 0; }",
    "cuDeviceGetAttribute": "int cuDeviceGetAttribute(int* value, int asked, int device) { *value = asked == 75 ? 9 :"
    " asked == 76 ? 0 : asked == 16 ? 132 : asked == 10 ? 32 : asked == 12 ? 65536 : asked == 97 ? 232448 :"
    " asked == 8 ? 49152 : asked == 1 ? 1024 : 1; return 0; }",
    "cuCtxGetCurrent": "int cuCtxGetCurrent(void** held) { *held = &context; return 0; }",
    "cuCtxGetDevice": "int cuCtxGetDevice(int* device) { *device = 0; return 0; }",
    "cuDevicePrimaryCtxRetain": "int cuDevicePrimaryCtxRetain(void** held, int device) { *held = &context; return 0; }",
    "cuDevicePrimaryCtxGetState": "int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active)"
    " { *flags = 0; *active = 1; return 0; }",
    "cuModuleLoad": "int cuModuleLoad(void** loaded, const char* path) { *loaded = &module; return 0; }",
    "cuModuleLoadData": "int cuModuleLoadData(void** loaded, const void* image) { *loaded = &module; return 0; }",
    "cuModuleGetFunction": "int cuModuleGetFunction(void** found, void* from, const char* name)"
    " { char* held = names[functions++ % 4096]; *found = strncpy(held, name, 127); return 0; }",
    "cuFuncGetAttribute": "int cuFuncGetAttribute(int* value, int asked, void* function)"
    " { *value = asked == 4 ? 32 : asked == 0 ? 1024 : 0; return 0; }",
    "cuPointerGetAttribute": "int cuPointerGetAttribute(void* value, int asked, unsigned long long pointer)"
    " { *(unsigned long long*)value = pointer; return 0; }",
    "cuStreamIsCapturing": "int cuStreamIsCapturing(void* stream, int* status) { *status = 0; return 0; }",
    "cuLaunchKernel": "int cuLaunchKernel(const char* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,"
    " unsigned by, unsigned bz, unsigned shared, void* stream, void** given, void** extra)"
    " { fake_kernel(function, stream); return 0; }",
    "cuLaunchKernelEx": "int cuLaunchKernelEx(const char* config, const char* function, void** given, void** extra)"
    " { fake_kernel(function, *(void**)(config + 32)); return 0; }",
}
"""Functions of the driver that answer something, so that the kernels of Triton, which compiles as ever, are counted."""


def undefined(library: Path, kind: str) -> set[str]:
    """The functions of some kind which a library wants from others; none if there is no such library."""
    if not library.exists():
        return set()
    said = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True).stdout
    return set(re.findall(rf" U ({kind}[A-Za-z0-9_]+)", said))


def stub(name: str) -> str:
    """A function of cuBLAS or cuDNN that succeeds."""
    if name in SPECIAL:
        return SPECIAL[name]
    if CREATES.match(name):
        return f"API int {name}(void** handle) {{ *handle = calloc(1, 4096); return 0; }}"
    if LAUNCHES.match(name):
        return f'API int {name}() {{ fake_kernel("{name}", stream); return 0; }}'
    for pattern, (before, after) in ALGORITHM.items():
        if re.match(pattern, name):
            return f"API int {name}({before}, int* found, char* result{after}) {{ {FOUND_ONE} }}"
    for pattern, arguments in NO_SPACE.items():
        if re.match(pattern, name):
            return f"API int {name}({arguments}, size_t* size) {{ *size = 0; return 0; }}"
    return f"API int {name}() {{ return 0; }}"


def blas(lib: Path) -> str:
    """cuBLAS and cuDNN, as far as torch calls them."""
    libraries = (lib / "libtorch_cuda.so", lib / "libtorch_cuda_linalg.so")
    names = set().union(*(undefined(library, "(?:cublas|cudnn)") for library in libraries))
    return HEAD + "\n".join(map(stub, sorted(names))) + "\n"


def driver(lib: Path) -> str:
    """The driver, as far as torch's libraries call it: every look-up gives the same function."""
    nvshmem = lib.parent.parent.glob("nvidia/nvshmem/lib/libnvshmem_host.so*")
    libraries = (lib / "libcaffe2_nvrtc.so", lib / "libtorch_nvshmem.so", *nvshmem)
    names = set().union(*(undefined(library, "cu[A-Z]") for library in libraries), IDLE) - {
        "cuGetProcAddress_v2",
        *DRIVER,
    }
    look_up = (
        "int cuGetProcAddress_v2(const char* name, void** found) { *found = (void*)cuGetProcAddress_v2; return 0; }"
    )
    idle = [f"int {name}() {{ return 0; }}" for name in sorted(names)]
    return DRIVER_HEAD + "\n".join([*idle, *DRIVER.values(), look_up]) + "\n"


def main(lib: str, folder: str) -> None:
    """Write both files."""
    (Path(folder) / "blas.cpp").write_text(blas(Path(lib)))
    (Path(folder) / "driver.c").write_text(driver(Path(lib)))


if __name__ == "__main__":
    main(*sys.argv[1:])
