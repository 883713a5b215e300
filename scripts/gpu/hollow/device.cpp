// What the hollow device says of itself: one that torch takes for an H100 of FAKE_GB, by a driver of CUDA 13.0.
#include "hollow.h"

#include <cstdio>
#include <cstring>

static const int VERSION = 13000;
static const int THREADS = 1024, SHARED = 49152, SHARED_MOST = 232448, SHARED_OF_ALL = 233472, REGISTERS = 65536;
static const int LARGEST_X = 2147483647, LARGEST_YZ = 65535, PROCESSORS = 132, THREADS_OF_ALL = 2048, WARP = 32;

cudaError_t cudaGetDeviceCount(int* number) { return give(number, 1); }

cudaError_t cudaGetDevice(int* device) { return give(device, 0); }

cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaDriverGetVersion(int* version) { return give(version, VERSION); }

cudaError_t cudaRuntimeGetVersion(int* version) { return give(version, VERSION); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* said, int) {
    memset(said, 0, sizeof *said);
    strcpy(said->name, "fake H100");
    said->major = 9;
    said->multiProcessorCount = PROCESSORS;
    said->totalGlobalMem = total_bytes();
    said->sharedMemPerBlock = SHARED;
    said->sharedMemPerBlockOptin = SHARED_MOST;
    said->sharedMemPerMultiprocessor = SHARED_OF_ALL;
    said->regsPerBlock = said->regsPerMultiprocessor = REGISTERS;
    said->warpSize = WARP;
    said->maxThreadsPerBlock = THREADS;
    said->maxThreadsPerMultiProcessor = THREADS_OF_ALL;
    said->maxBlocksPerMultiProcessor = 32;
    for (int axis = 0; axis < 3; axis++) {
        said->maxThreadsDim[axis] = axis < 2 ? THREADS : 64;
        said->maxGridSize[axis] = axis ? LARGEST_YZ : LARGEST_X;
    }
    said->l2CacheSize = 50 << 20;
    said->textureAlignment = 512;
    said->unifiedAddressing = said->concurrentKernels = said->canMapHostMemory = 1;
    said->asyncEngineCount = 3;
    said->memoryBusWidth = 5120;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr asked, int) {
    switch (asked) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: return give(value, THREADS);
    case cudaDevAttrMaxBlockDimZ: return give(value, 64);
    case cudaDevAttrMaxGridDimX: return give(value, LARGEST_X);
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: return give(value, LARGEST_YZ);
    case cudaDevAttrMaxSharedMemoryPerBlock: return give(value, SHARED);
    case cudaDevAttrWarpSize: return give(value, WARP);
    case cudaDevAttrMaxRegistersPerBlock: return give(value, REGISTERS);
    case cudaDevAttrMultiProcessorCount: return give(value, PROCESSORS);
    case cudaDevAttrMaxThreadsPerMultiProcessor: return give(value, THREADS_OF_ALL);
    case cudaDevAttrComputeCapabilityMajor: return give(value, 9);
    case cudaDevAttrComputeCapabilityMinor: return give(value, 0);
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return give(value, SHARED_OF_ALL);
    case cudaDevAttrMaxRegistersPerMultiprocessor: return give(value, REGISTERS);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return give(value, SHARED_MOST);
    case cudaDevAttrMaxBlocksPerMultiprocessor: return give(value, 32);
    default: return give(value, 1);  // mostly "is this possible"
    }
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int) {
    snprintf(text, size, "0000:00:00.0");
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *greatest = -5;
    return give(least, 0);
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return give(can, 0); }

cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return cudaSuccess; }

// Kernels

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* said, const void*) {
    memset(said, 0, sizeof *said);
    said->maxThreadsPerBlock = THREADS;
    said->numRegs = 32;
    said->ptxVersion = said->binaryVersion = 90;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
    return give(blocks, 2);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t, unsigned) {
    return give(blocks, 2);
}

// The driver, and the profiler

// Whatever torch looks up in the driver is a function that succeeds and does nothing.
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
    static int (*success)() = [] { return 0; };
    if (result) *result = cudaDriverEntryPointSuccess;
    return give(function, success);
}

// One place for every __device__ variable: nothing reads them.
cudaError_t cudaGetSymbolAddress(void** pointer, const void*) {
    static char place[1 << 16];
    return give(pointer, place);
}

cudaError_t cudaProfilerStart() { return cudaSuccess; }

cudaError_t cudaProfilerStop() { return cudaSuccess; }
