/* elements.cu - operations on single numbers. Bound by memory, and in decoding by the launch: a thread takes every
 * stride-th number, so that a warp's lanes read neighbours. */
#include "kernels/cuda/activate.cuh"

enum { THREADS = 256 };
static const int64_t most_blocks = 132 * 16;

static unsigned blocks_for(int64_t n)
{
    const int64_t blocks = (n + THREADS - 1) / THREADS;
    return (unsigned)(blocks < most_blocks ? blocks : most_blocks);
}

#define RH_EACH(i, n)                                                                              \
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < (n); i += (int64_t)gridDim.x * THREADS)

/* [n]: 12 n bytes. */
static __global__ void __launch_bounds__(THREADS) glu_kernel(rh_cuda_glu_args a)
{
    RH_EACH(i, a.n) a.out[i] = rh_activate(a.gate[i], a.act) * a.up[i];
}

int rh_cuda_glu(void *stream, const void *args)
{
    const rh_cuda_glu_args *a = (const rh_cuda_glu_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(glu_kernel, (blocks_for(a->n)), (THREADS), 0, stream, *a);
}

/* [n]: 12 n bytes. */
static __global__ void __launch_bounds__(THREADS) add_kernel(rh_cuda_add_args a)
{
    RH_EACH(i, a.n) a.x[i] += a.y[i];
}

int rh_cuda_add(void *stream, const void *args)
{
    const rh_cuda_add_args *a = (const rh_cuda_add_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(add_kernel, (blocks_for(a->n)), (THREADS), 0, stream, *a);
}

/* [n]: 8 n bytes. */
static __global__ void __launch_bounds__(THREADS) softcap_kernel(rh_cuda_softcap_args a)
{
    RH_EACH(i, a.n) a.x[i] = a.cap * tanhf(a.x[i] / a.cap);
}

int rh_cuda_softcap(void *stream, const void *args)
{
    const rh_cuda_softcap_args *a = (const rh_cuda_softcap_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(softcap_kernel, (blocks_for(a->n)), (THREADS), 0, stream, *a);
}
