/* limits.cu - what the device can do at best: so that a speed can be given as a share of it. */
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

enum { THREADS = 256, CHAINS = 8 };

/* in [n] of 16 bytes: read once, n * 16 bytes, nothing else; limit: memory's bandwidth. Each thread has four loads under
 * way. out [1] is written only if all bits that were read are 0 but one: so that the compiler keeps the loads. */
static __global__ void read_all(const uint4 *__restrict__ in, int64_t n, unsigned *out)
{
    const int64_t step = (int64_t)gridDim.x * THREADS;
    unsigned sum = 0;
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    for (; i + 3 * step < n; i += 4 * step) {
        const uint4 a = in[i], b = in[i + step], c = in[i + 2 * step], d = in[i + 3 * step];
        sum |= a.x | a.y | a.z | a.w | b.x | b.y | b.z | b.w | c.x | c.y | c.z | c.w | d.x | d.y | d.z | d.w;
    }
    for (; i < n; i += step) {
        const uint4 a = in[i];
        sum |= a.x | a.y | a.z | a.w;
    }
    if (sum == 1) *out = sum;
}

/* `rounds` multiply-adds in each of CHAINS independent chains a thread: no memory; limit: the float32 units. */
static __global__ void multiply_add(int32_t rounds, float by, float plus, float *out)
{
    float x[CHAINS];
    for (int i = 0; i < CHAINS; i++) x[i] = (float)(threadIdx.x + i);
    for (int32_t r = 0; r < rounds; r++) {
        for (int i = 0; i < CHAINS; i++) x[i] = fmaf(x[i], by, plus);
    }
    float sum = 0;
    for (int i = 0; i < CHAINS; i++) sum += x[i];
    if (sum == 1.5f) *out = sum; /* never: what is asked of them grows */
}

extern "C" int rh_cuda_read(void *stream, const void *args)
{
    const rh_cuda_read_args *a = (const rh_cuda_read_args *)args;
    return RH_LAUNCH(read_all, ((unsigned)a->blocks), (THREADS), 0, stream, (const uint4 *)a->in, a->bytes / 16, (unsigned *)a->out);
}

extern "C" int rh_cuda_multiply(void *stream, const void *args)
{
    const rh_cuda_multiply_args *a = (const rh_cuda_multiply_args *)args;
    return RH_LAUNCH(multiply_add, ((unsigned)a->blocks), (THREADS), 0, stream, a->rounds, 1.0f, 1.0f, (float *)a->out);
}

extern "C" double rh_cuda_multiply_flops(const rh_cuda_multiply_args *a)
{
    return 2.0 * a->blocks * THREADS * CHAINS * a->rounds;
}
