#include "kernels/cuda/launch.h"
#include "tests/cuda/wrong_kernels.h"

static __global__ void reverse(float *x, int n)
{
    RH_SHARED(float, tile, 64);
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) tile[threadIdx.x] = x[i];
    __syncthreads();
    if (i < n) x[i] = tile[63 - threadIdx.x];
}
int launch_reverse(void *stream, float *x, int n) { return RH_LAUNCH(reverse, (2), (64), 0, stream, x, n); }

static __global__ void block_sums(const float *x, float *out)
{
    RH_SHARED_DYNAMIC(float, total);
    if (threadIdx.x == 0) total[0] = 0;
    __syncthreads();
    const float sum = rh_warp_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
    if (threadIdx.x % 32 == 0) atomicAdd(&total[0], sum);
    __syncthreads();
    if (threadIdx.x == 0) out[blockIdx.x] = total[0];
}
int launch_block_sums(void *stream, float *x, float *out) { return RH_LAUNCH(block_sums, (2), (64), sizeof(float), stream, x, out); }
