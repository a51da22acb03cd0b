/* rope.cu - heads are normed and rotated, and keys and values kept in the cache, as ops.h has it. */
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

enum { THREADS = 256, WARPS = THREADS / 32 };

/* To nearest even, at most 65504; a NaN stays one. */
static __device__ inline __half narrow(float x)
{
    return __float2half_rn(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x);
}

static __device__ inline void keep(void *cache, size_t at, int32_t type, float x)
{
    if (type == RH_F16) ((__half *)cache)[at] = narrow(x);
    else ((float *)cache)[at] = x;
}

/* Cosine and sine of position * frequency: the product as turns in double, the whole ones taken off there; the rest, at
 * most half a turn, errs by 2^-25 of it as a float. (sincosf would keep a stack for the reduction of large angles.) */
static __device__ inline void turn(int32_t position, float frequency, float *c, float *s)
{
    const double turns = (double)position * (double)frequency * 0.15915494309189535;
    sincospif((float)(2 * (turns - rint(turns))), s, c);
}

/* A warp norms (gain not NULL) and rotates the head x [dim] in place: (a, b) = (a cos - b sin, b cos + a sin) for the pairs
 * (i, i + dim/2). cache not NULL: it is kept there, from element `at` on. */
static __device__ void rotate(const rh_cuda_rope_args &p, float *x, const float *gain, void *cache, size_t at)
{
    const int32_t lane = threadIdx.x % 32, half = p.head_dim / 2, position = p.positions[blockIdx.x];
    float r = 1;
    if (gain) {
        float sum = 0;
        for (int32_t i = lane; i < p.head_dim; i += 32) sum += x[i] * x[i];
        r = rsqrtf(rh_warp_sum(sum) / (float)p.head_dim + p.eps);
    }
    __syncwarp(); /* all have read before any writes */
    for (int32_t i = lane; i < half; i += 32) {
        const float a = gain ? x[i] * r * gain[i] : x[i];
        const float b = gain ? x[i + half] * r * gain[i + half] : x[i + half];
        float c, s;
        turn(position, p.inv_freq[i], &c, &s);
        x[i] = a * c - b * s;
        x[i + half] = b * c + a * s;
        if (!cache) continue;
        keep(cache, at + i, p.kv, x[i]);
        keep(cache, at + i + half, p.kv, x[i + half]);
    }
}

/* q [n, n_heads, head_dim], k and v [n, n_kv_heads, head_dim]; a warp a head, of q, then k, then v, a block a row and
 * eight heads. q is read and written, k read, written and kept, v read and kept: with float16 in the cache
 * n head_dim (8 n_heads + 16 n_kv_heads) bytes. In decoding bound by the launch, in prefill by memory. */
static __global__ void __launch_bounds__(THREADS) rope_kernel(rh_cuda_rope_args p)
{
    const int32_t row = blockIdx.x, dim = p.head_dim;
    const int32_t n_q = p.q ? p.n_heads : 0, n_k = p.k ? p.n_kv_heads : 0, n_v = p.v && p.slots ? p.n_kv_heads : 0;
    int32_t head = (int32_t)(blockIdx.y * WARPS + threadIdx.x / 32);
    if (head < n_q) {
        rotate(p, p.q + ((size_t)row * p.n_heads + head) * dim, p.q_gain, NULL, 0);
        return;
    }
    head -= n_q;
    const bool key = head < n_k;
    if (!key) head -= n_k;
    if (!key && head >= n_v) return;
    const size_t from = ((size_t)row * p.n_kv_heads + head) * dim;
    const size_t to = p.slots ? ((size_t)p.slots[row] * p.n_kv_heads + head) * dim : 0;
    if (key) rotate(p, p.k + from, p.k_gain, p.slots ? p.k_cache : NULL, to);
    else
        for (int32_t i = threadIdx.x % 32; i < dim; i += 32) keep(p.v_cache, to + i, p.kv, p.v[from + i]);
}

int rh_cuda_rope(void *stream, const void *args)
{
    const rh_cuda_rope_args *p = (const rh_cuda_rope_args *)args;
    const int32_t heads = (p->q ? p->n_heads : 0) + (p->k ? p->n_kv_heads : 0) + (p->v && p->slots ? p->n_kv_heads : 0);
    if (p->n < 1 || heads < 1) return cudaSuccess;
    const dim3 grid((unsigned)p->n, (unsigned)(heads + WARPS - 1) / WARPS);
    return RH_LAUNCH(rope_kernel, (grid), (THREADS), 0, stream, *p);
}

/* src [n, width], a block a row; 4 n width bytes read and 2 or 4 n width written: bound by memory, or by the launch. */
static __global__ void __launch_bounds__(THREADS) scatter_kernel(rh_cuda_scatter_args a)
{
    const size_t from = (size_t)blockIdx.x * a.width, to = (size_t)a.slots[blockIdx.x] * a.width;
    for (int32_t i = threadIdx.x; i < a.width; i += THREADS) keep(a.dst, to + i, a.type, a.src[from + i]);
}

int rh_cuda_scatter(void *stream, const void *args)
{
    const rh_cuda_scatter_args *a = (const rh_cuda_scatter_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(scatter_kernel, ((unsigned)a->n), (THREADS), 0, stream, *a);
}
