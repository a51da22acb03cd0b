/* block.h - what a running thread sees of its block, and how it meets the others. */
#ifndef RH_EMULATOR_BLOCK_H
#define RH_EMULATOR_BLOCK_H

#include <functional>

#include "tests/cuda/emulator/types.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emu {

/* A place in a kernel where threads meet. The same text is the same place. */
struct site {
    const char *what, *file;
    int line;
};

/* The running thread. Epochs order its accesses to shared memory among those of others: barriers passed, counted
 * over all blocks, and __syncwarps passed by its warp. */
struct present {
    uint32_t thread, lane;
    uint32_t epoch, first_epoch; /* first_epoch: at the block's start */
    uint32_t warp_epoch;
};
extern present now;

/* "cuda emulator: kernel K, block (x, y, z), thread (x, y, z): ..." on stderr, then abort(). */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* All 32 lanes come with a value and leave with everybody's [32], valid until the warp meets again. */
const uint64_t *meet_warp(uint64_t mine, unsigned mask, site at, bool orders_memory);
/* All threads of the block come with an int and leave with how many were not 0. */
int meet_block(int mine, site at);

/* Dynamic shared memory of the running launch. */
void *dynamic_shared(size_t *bytes);
enum { DYNAMIC_MOST = 227 * 1024, STATIC_MOST = 48 * 1024 };

/* Runs all blocks of a grid, now. */
void run_grid(const char *kernel, dim3 grid, dim3 block, size_t shared, const std::function<void()> &body);
/* The kernel that is running, or NULL. */
const char *running_kernel();

} // namespace emu

#endif
