/* wrong_kernels.h - kernels that do right what the emulator must let pass, and others that each do one thing wrong. */
#ifndef RH_TESTS_CUDA_WRONG_KERNELS_H
#define RH_TESTS_CUDA_WRONG_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Right ones, on 2 blocks of 64 threads. x [128] and out: device memory. They give the cudaError_t. */
int launch_reverse(void *stream, float *x);                   /* each 64 of x turned round, by way of shared memory */
int launch_reverse_warps(void *stream, float *x);             /* each 32 of x, ordered by __syncwarp alone */
int launch_sums(void *stream, const float *x, float *out);    /* out [2]: of each 64, by shuffles and an atomic */
int launch_order(void *stream, unsigned *count, unsigned *out); /* out [128]: when each thread ran; count [1] is 0 */
int launch_collectives(void *stream, unsigned *out);          /* out [128]: bit i is set if check i of the thread failed */

typedef struct wrong_kernel {
    const char *name, *report;              /* what the report must say */
    int (*launch)(float *x, float *freed);  /* x [127]: device memory; freed: no more */
} wrong_kernel;
extern const wrong_kernel wrong_kernels[];
extern const int n_wrong_kernels;

#ifdef __cplusplus
}
#endif
#endif
