/* attention.cuh - what both kinds of attention share: the way to keys and values, and the score. .cu files only. */
#ifndef RH_KERNELS_CUDA_ATTENTION_CUH
#define RH_KERNELS_CUDA_ATTENTION_CUH

#include <float.h>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

cudaError_t rh_cuda_attention_tiles(void *stream, const rh_cuda_attention_args *a); /* prefill: attention_tiles.cu */

/* The slot of a position: spans ascend, so that halving finds it. */
static __device__ int32_t slot_of(const rh_kv_span *spans, int32_t n, int32_t position)
{
    int32_t lo = 0;
    while (n - lo > 1) {
        const int32_t middle = (lo + n) / 2;
        if (spans[middle].pos <= position) lo = middle;
        else n = middle;
    }
    return spans[lo].slot + position - spans[lo].pos;
}

static __device__ inline float number(float x) { return x; }
static __device__ inline float number(__half x) { return __half2float(x); }
static __device__ inline float half_of(uint32_t bits) { return __half2float(__ushort_as_half((unsigned short)bits)); }

/* Two and four neighbours, aligned to as many. */
static __device__ inline float2 two(const float *x) { return *(const float2 *)x; }
static __device__ inline float2 two(const __half *x)
{
    const uint32_t bits = *(const uint32_t *)x;
    float2 y;
    y.x = half_of(bits), y.y = half_of(bits >> 16);
    return y;
}
static __device__ inline float4 aligned_four(const float *x) { return *(const float4 *)x; }
static __device__ inline float4 aligned_four(const __half *x)
{
    const uint2 bits = *(const uint2 *)x;
    float4 y;
    y.x = half_of(bits.x), y.y = half_of(bits.x >> 16), y.z = half_of(bits.y), y.w = half_of(bits.y >> 16);
    return y;
}

/* Elements i .. i + 3 of a head of dim, which end in zeros. Heads of a multiple of four are aligned to four. */
template <class T> static __device__ inline float4 four(const T *x, int32_t i, int32_t dim)
{
    if (dim % 4 == 0 && i < dim) return aligned_four(x + i);
    float4 y;
    y.x = i < dim ? number(x[i]) : 0;
    y.y = i + 1 < dim ? number(x[i + 1]) : 0;
    y.z = i + 2 < dim ? number(x[i + 2]) : 0;
    y.w = i + 3 < dim ? number(x[i + 3]) : 0;
    return y;
}

static __device__ inline float dot4(float4 a, float4 b, float sum)
{
    return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, sum))));
}

static __device__ inline float capped(float score, float cap) { return cap * tanhf(score / cap); }

#endif
