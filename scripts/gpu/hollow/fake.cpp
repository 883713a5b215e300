// A CUDA runtime without a GPU, for LD_PRELOAD: torch's own C++ host code runs for real, kernels do nothing.
//
// It proves host-side failures, launch counts, waits, what a capture allows, and memory (allocator, limits, peaks).
// It says nothing about numbers, the speed of kernels, or bits. Copies to the host give zeros, but ones where they are
// of fewer than 1,024 bytes and no multiple of 4: so flags of living lanes read as alive if K is no multiple of 4, and a
// cohort of another width looks dead after its first block. Checks of values fail by design. Triton's kernels are compiled
// as ever, and launched through the driver of stubs.py.
//
// FAKE_GB            the device's memory, 79 if not given
// FAKE_TRACE         a backtrace of what a capture refuses
// FAKE_SYNC_TRACE    a backtrace of every wait for a stream
// FAKE_STRICT        a line for every launch beside a capture
//
// What was counted is read in the process itself, through ctypes.CDLL(None): fake_reset(), fake_count(b"SYNC stream"),
// fake_print(b"counts.tsv", 1) with the launches of each kernel, fake_used(), fake_peak() (both size_t).
// This part: counts, launches, streams, events, captures and graphs.
#include "hollow.h"

#include <cstdio>
#include <cstdlib>
#include <execinfo.h>
#include <set>
#include <unordered_map>

std::recursive_mutex everything;
thread_local int capture_mode = 0;
static thread_local cudaError_t last_error = cudaSuccess;

// Streams under capture, and events recorded in one: waiting for such an event draws a stream into the capture.
static std::set<void*> capturing;
static std::map<void*, bool> event_captured;
static bool capture_lost = false;
static long nodes = 0;
static unsigned long long captures = 0;

// Behind functions and never freed: torch registers kernels before our globals are made, and counts after they are gone.
std::map<std::string, long>& counts() {
    static auto* held = new std::map<std::string, long>;
    return *held;
}

static std::map<std::string, long>& launches() {
    static auto* held = new std::map<std::string, long>;
    return *held;
}

static std::unordered_map<const void*, std::string>& names() {
    static auto* held = new std::unordered_map<const void*, std::string>;
    return *held;
}

void count(const std::string& what) {
    LOCK;
    counts()[what]++;
}

bool in_capture() {
    LOCK;
    return !capturing.empty();
}

bool is_captured(void* stream) {
    LOCK;
    return capturing.count(stream);
}

void captured_node() {
    LOCK;
    nodes++;
}

cudaError_t failed(cudaError_t error) {
    last_error = error;
    return error;
}

static void say_where(const char* what) {
    void* frames[40];
    fprintf(stderr, "[fake] %s\n", what);
    backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
}

cudaError_t refuse(const char* what) {
    LOCK;
    capture_lost = true;
    count(std::string("REFUSED in capture: ") + what);
    if (getenv("FAKE_TRACE")) say_where((std::string("refused in capture: ") + what).c_str());
    return failed(cudaErrorStreamCaptureUnsupported);
}

// Counts, for whoever asks

API void fake_reset() {
    LOCK;
    counts().clear();
    launches().clear();
    forget_peak();
}

API long fake_count(const char* what) {
    LOCK;
    auto found = counts().find(what);
    return found == counts().end() ? 0 : found->second;
}

API void fake_print(const char* path, int with_kernels) {
    LOCK;
    FILE* file = fopen(path, "w");
    for (auto& [what, times] : counts()) fprintf(file, "%s\t%ld\n", what.c_str(), times);
    if (with_kernels)
        for (auto& [kernel, times] : launches()) fprintf(file, "kernel %s\t%ld\n", kernel.c_str(), times);
    fclose(file);
}

// Launches

// Also what cuBLAS and cuDNN call here instead of computing (blas.cpp, from stubs.py).
API void fake_kernel(const char* name, void* stream) {
    LOCK;
    bool captured = is_captured(stream);
    count(captured ? "kernel captured" : "kernel");
    launches()[name]++;
    if (captured) captured_node();
    if (!captured && in_capture() && getenv("FAKE_STRICT"))
        fprintf(stderr, "[fake] launch outside the captured stream: %s\n", name);
}

API void** __cudaRegisterFatBinary(void*) {
    static void* handle;
    return &handle;
}

API void __cudaRegisterFatBinaryEnd(void**) {}

API void __cudaUnregisterFatBinary(void**) {}

API char __cudaInitModule(void**) { return 1; }

API void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                                int*) {
    LOCK;
    names()[host] = name;
}

API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

// What <<<grid, block, shared, stream>>> says, until the compiler's launch function takes it.
static thread_local struct {
    dim3 grid, block;
    size_t shared;
    void* stream;
} configured;

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
    configured = {grid, block, shared, stream};
    return 0;
}

API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
    *grid = configured.grid;
    *block = configured.block;
    *shared = configured.shared;
    return give((void**)stream, configured.stream);
}

API cudaError_t __cudaGetKernel(void** kernel, const void* host) { return give(kernel, host); }

static cudaError_t launched(const void* host, cudaStream_t stream) {
    LOCK;
    auto found = names().find(host);
    fake_kernel(found == names().end() ? "?" : found->second.c_str(), stream);
    return cudaSuccess;
}

API cudaError_t __cudaLaunchKernel(void* host, dim3, dim3, void**, size_t, cudaStream_t stream) {
    return launched(host, stream);
}

cudaError_t cudaLaunchKernel(const void* host, dim3, dim3, void**, size_t, cudaStream_t stream) {
    return launched(host, stream);
}

cudaError_t cudaLaunchCooperativeKernel(const void* host, dim3, dim3, void**, size_t, cudaStream_t stream) {
    return launched(host, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* host, void**) {
    return launched(host, config->stream);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
    count("hostfunc");
    if (!is_captured(stream)) function(data);
    return cudaSuccess;
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t function, void* data, unsigned) {
    count("callback");
    function(stream, cudaSuccess, data);
    return cudaSuccess;
}

// Errors

cudaError_t cudaGetLastError() {
    auto error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    default: return "cudaError";
    }
}

// CUDA's own words, which torch and thalweg read.
const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorMemoryAllocation: return "out of memory";
    default: return "fake error";
    }
}

// Streams

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return give(stream, malloc(64)); }

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) { return cudaStreamCreate(stream); }

cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) { return give(priority, 0); }

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    count("streamQuery");
    return is_captured(stream) ? refuse("cudaStreamQuery") : cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    count("SYNC stream");
    if (getenv("FAKE_SYNC_TRACE")) say_where("sync");
    return is_captured(stream) ? refuse("cudaStreamSynchronize") : cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
    count("SYNC device");
    return in_capture() ? refuse("cudaDeviceSynchronize") : cudaSuccess;
}

// Events

cudaError_t cudaEventCreate(cudaEvent_t* event) { return give(event, malloc(64)); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }

// Not freed: a new event at the same place would pass for this one.
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    LOCK;
    count("eventRecord");
    event_captured[event] = is_captured(stream);
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
    return cudaEventRecord(event, stream);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    LOCK;
    count("eventQuery");
    return event_captured[event] ? refuse("cudaEventQuery") : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    LOCK;
    count("SYNC event");
    return event_captured[event] ? refuse("cudaEventSynchronize") : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) { return give(milliseconds, 1); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    LOCK;
    count("streamWaitEvent");
    if (event_captured[event]) capturing.insert(stream);
    return cudaSuccess;
}

// Captures and graphs. A graph is the number of its nodes.

struct Graph {
    long nodes;
};

static cudaStreamCaptureStatus status_of(cudaStream_t stream) {
    return is_captured(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    int before = capture_mode;
    capture_mode = *mode;
    return give(mode, before);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    LOCK;
    count("beginCapture");
    capturing.insert(stream);
    capture_lost = false;
    nodes = 0;
    captures++;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
    LOCK;
    count("endCapture");
    capturing.clear();
    event_captured.clear();
    if (capture_lost) {
        capture_lost = false;
        *graph = nullptr;
        return failed(cudaErrorStreamCaptureInvalidated);
    }
    counts()["kernels in last graph"] = nodes;
    return give(graph, new Graph{nodes});
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    return give(status, status_of(stream));
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, size_t* number) {
    LOCK;
    if (id) *id = captures;
    if (graph) *graph = nullptr;
    if (dependencies) *dependencies = nullptr;
    if (edges) *edges = nullptr;
    if (number) *number = 0;
    return give(status, status_of(stream));
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* program, cudaGraph_t graph, unsigned long long) {
    count("graphInstantiate");
    return give(program, graph);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
    count("graphLaunch");
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }

cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t* number) { return give(number, 1); }

cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t, cudaGraphNode_t*, cudaGraphEdgeData*, size_t* number) {
    return give(number, 0);
}

cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) { return cudaSuccess; }
