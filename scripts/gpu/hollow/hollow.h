// What the parts of the hollow CUDA runtime share: counts, the memory that is held, and what is being captured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime_api.h>
#include <map>
#include <mutex>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

// Ours alone: no other library is to take these for its own.
#pragma GCC visibility push(hidden)

extern std::recursive_mutex everything;
#define LOCK std::lock_guard<std::recursive_mutex> lock_(everything)

// fake.cpp

std::map<std::string, long>& counts();

// One more of whatever `what` names.
void count(const std::string& what);

// Whether any stream is being captured, and whether this one is.
bool in_capture();
bool is_captured(void* stream);

// How strictly a thread takes a capture; relaxed allows what would break it, as torch does while it allocates.
extern thread_local int capture_mode;

// What CUDA answers to a call that a capture does not allow; the capture is lost.
cudaError_t refuse(const char* what);

// A captured stream has got one node more.
void captured_node();

// Returns an error, and keeps it for cudaGetLastError.
cudaError_t failed(cudaError_t error);

// memory.cpp

size_t total_bytes();
void forget_peak();

#pragma GCC visibility pop

// Writes an answer where the caller wants it.
template <class T, class V> cudaError_t give(T* where, V value) {
    *where = (T)value;
    return cudaSuccess;
}
