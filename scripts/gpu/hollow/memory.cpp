// The hollow runtime's memory: device memory is address space of the host, held against a limit; copies are counted.
//
// What is copied to the device arrives there; what comes back is what fake.cpp's header says, since no kernel wrote it.
#include "hollow.h"

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

static const int RELAXED = cudaStreamCaptureModeRelaxed;

// Address -> bytes: on the device, and pinned on the host.
static std::map<uintptr_t, size_t> on_device, pinned;
static size_t used = 0, peak = 0;

size_t total_bytes() {
    static const char* asked = getenv("FAKE_GB");
    static size_t total = (size_t)(atof(asked ? asked : "79") * 1e9);
    return total;
}

void forget_peak() { peak = used; }

API size_t fake_used() { return used; }

API size_t fake_peak() { return peak; }

static bool lies_in(const std::map<uintptr_t, size_t>& held, const void* pointer) {
    LOCK;
    auto after = held.upper_bound((uintptr_t)pointer);
    if (after == held.begin()) return false;
    auto& [start, bytes] = *std::prev(after);
    return (uintptr_t)pointer < start + bytes;
}

static bool is_device(const void* pointer) { return lies_in(on_device, pointer); }

static bool is_pageable(const void* pointer) { return !is_device(pointer) && !lies_in(pinned, pointer); }

static bool forbidden_now() { return in_capture() && capture_mode != RELAXED; }

// Allocation

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    LOCK;
    count("cudaMalloc");
    if (forbidden_now()) return refuse("cudaMalloc");
    if (used + bytes > total_bytes()) {
        *pointer = nullptr;
        count("cudaMalloc OOM");
        return failed(cudaErrorMemoryAllocation);
    }
    // Without reserve: pages that nobody writes take no memory of the host, so 79 GB fit anywhere.
    void* found = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
    on_device[(uintptr_t)found] = bytes;
    used += bytes;
    if (used > peak) peak = used;
    return give(pointer, found);
}

cudaError_t cudaFree(void* pointer) {
    LOCK;
    if (!pointer) return cudaSuccess;
    count("cudaFree");
    auto found = on_device.find((uintptr_t)pointer);
    if (found == on_device.end()) return cudaSuccess;
    if (forbidden_now()) return refuse("cudaFree");
    munmap(pointer, found->second);
    used -= found->second;
    on_device.erase(found);
    return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return cudaMalloc(pointer, bytes); }

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
    LOCK;
    count("cudaHostAlloc");
    if (forbidden_now()) return refuse("cudaHostAlloc");
    if (posix_memalign(pointer, 4096, bytes ? bytes : 1)) return cudaErrorMemoryAllocation;
    pinned[(uintptr_t)*pointer] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
    LOCK;
    pinned.erase((uintptr_t)pointer);
    free(pointer);
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
    LOCK;
    pinned[(uintptr_t)pointer] = bytes;
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* pointer) {
    LOCK;
    pinned.erase((uintptr_t)pointer);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
    *free_bytes = total_bytes() - used;
    return give(total, total_bytes());
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    memset(attributes, 0, sizeof *attributes);
    attributes->type = is_device(pointer)     ? cudaMemoryTypeDevice
                       : is_pageable(pointer) ? cudaMemoryTypeUnregistered
                                              : cudaMemoryTypeHost;
    attributes->devicePointer = attributes->hostPointer = (void*)pointer;
    return cudaSuccess;
}

// Copies

static void move(void* to, const void* from, size_t bytes) {
    if (!is_device(from)) {
        memcpy(to, from, bytes);
    } else if (!is_device(to)) {
        bool flags = bytes < 1024 && bytes % 4;
        memset(to, flags ? 1 : 0, bytes);
    }
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    LOCK;
    std::string what = std::string("memcpyAsync ") + (is_device(from) ? "D2" : "H2") + (is_device(to) ? "D" : "H");
    if (is_pageable(to) || is_pageable(from)) what += " pageable";
    if (is_captured(stream)) what += " captured";
    count(what);
    counts()["bytes " + what] += bytes;
    move(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    count("memcpy sync");
    if (in_capture()) return refuse("cudaMemcpy");
    move(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyPeerAsync(void*, int, const void*, int, size_t, cudaStream_t) {
    count("memcpyPeer");
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void*, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t) {
    count("memcpy2D");
    return cudaSuccess;
}

cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
    count("memcpyToSymbol");
    return cudaSuccess;
}

cudaError_t cudaMemset(void*, int, size_t) {
    count("memset");
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t stream) {
    bool captured = is_captured(stream);
    count(captured ? "memset captured" : "memset");
    if (captured) captured_node();
    return cudaSuccess;
}

// Pools: torch asks about them, and uses none unless it is told to.

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) { return give(pool, nullptr); }

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

cudaError_t cudaMemPoolSetAccess(cudaMemPool_t, const cudaMemAccessDesc*, size_t) { return cudaSuccess; }

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
