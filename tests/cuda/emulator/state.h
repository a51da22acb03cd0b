/* state.h - what the emulator's own files know of each other. */
#ifndef RH_EMULATOR_STATE_H
#define RH_EMULATOR_STATE_H

#include <cuda_runtime_api.h>

#include <functional>

#include "tests/cuda/emulator/control.h"

namespace emu {

/* ---- control.cpp */
struct device_state {
    uint64_t seed = 1, random = 1;
    size_t memory = (size_t)8 << 30;
    int fail_malloc = 0, fail_launch = 0, launch_error = cudaErrorLaunchFailure;
    int devices = 1, driver = 13000, capability = 90;
    bool trace = false;
    rh_emulator_counts counts = {};
};
device_state &device(); /* reads the environment at its first call */
uint64_t seed();
void write_counts();
uint32_t random_below(uint32_t n);

/* ---- memory.cpp */
/* Fails unless [p, p + bytes) lies in one allocation that is alive. what: for the message. */
void check_device(const void *p, size_t bytes, const char *what);
bool on_device(const void *p); /* anywhere in the device's addresses */
bool is_pinned(const void *p);
void check_canaries(const char *kernel); /* fails if it wrote beside an allocation */
/* While a kernel runs, a fault is reported with its address and the nearest allocation. */
void catch_faults();
void release_faults();

/* ---- stream.cpp */
/* Runs, queues or records op: what is issued to a stream is done when somebody waits for it. */
cudaError_t issue(cudaStream_t stream, std::function<void()> op);
void drain_all();
cudaError_t keep_error(cudaError_t e); /* for cudaGetLastError */
bool capturing();                      /* any stream: what waits or allocates is then refused */

} // namespace emu

#endif
