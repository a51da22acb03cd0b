/* each.cuh - a block's threads go through an array with many loads on their way. .cu files only. */
#ifndef RH_KERNELS_CUDA_EACH_CUH
#define RH_KERNELS_CUDA_EACH_CUH

#include "kernels/cuda/launch.h"

/* take(i, a[i]) for i in from .. to - 1: thread t has from + t, and so on by blockDim.x. N elements are loaded before the
 * first is taken, because a compiler does not move a load before a store that might change what is loaded, and one load
 * at a time waits for memory each time. */
template <int N, class Take> static __device__ inline void rh_each(const float *a, int32_t from, int32_t to, Take take)
{
    const int32_t step = (int32_t)blockDim.x;
    for (int32_t first = from + (int32_t)threadIdx.x; first < to; first += N * step) {
        float x[N];
        for (int k = 0; k < N; k++) x[k] = first + k * step < to ? a[first + k * step] : 0;
        for (int k = 0; k < N; k++)
            if (first + k * step < to) take(first + k * step, x[k]);
    }
}

#endif
