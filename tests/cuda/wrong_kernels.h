/* wrong_kernels.h - kernels that each do one thing right or one thing wrong, for the emulator's tests. */
#ifndef RH_TESTS_CUDA_WRONG_KERNELS_H
#define RH_TESTS_CUDA_WRONG_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each launches its kernel on 2 blocks of 64 threads and gives the cudaError_t. x: device memory of n floats. */
int launch_reverse(void *stream, float *x, int n);       /* right: reverses each block's 64 by shared memory */
int launch_block_sums(void *stream, float *x, float *out); /* right: out[block] = sum of its 64, by shuffles and atomics */

#ifdef __cplusplus
}
#endif
#endif
