/* expand.cu - weights as numbers, for what is multiplied by cuBLAS, and for the rows of the embedding. */
#include <assert.h>

#include "kernels/cuda/unpack.cuh"

enum { THREADS = 256, EACH = 4 };

RH_UNPACK uint32_t two_bf16(float a, float b)
{
    return (uint32_t)__bfloat16_as_ushort(__float2bfloat16_rn(a)) | (uint32_t)__bfloat16_as_ushort(__float2bfloat16_rn(b)) << 16;
}

/* A quad at columns c .. of a row of cols: in one store, but where the row's end, or its start, is in the way. A unit may
 * reach beyond the end by whole quads, which are the next row's. */
RH_UNPACK void put_floats(float *row, int c, int cols, const float4 &v)
{
    if (c >= cols) return;
    if (cols % 4 == 0) {
        *(float4 *)(row + c) = v;
        return;
    }
    const float values[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4 && c + i < cols; i++) row[c + i] = values[i];
}
RH_UNPACK void put_bf16(uint16_t *row, int c, int cols, const float4 &v)
{
    const uint2 two = make_uint2(two_bf16(v.x, v.y), two_bf16(v.z, v.w));
    if (c >= cols) return;
    if (cols % 4 == 0) {
        *(uint2 *)(row + c) = two;
        return;
    }
    for (int i = 0; i < 4 && c + i < cols; i++) row[c + i] = (uint16_t)((i < 2 ? two.x : two.y) >> i % 2 * 16);
}

/* out [rows, cols] from w's rows first ..: a thread a unit. Read: the weights; written: 2 or 4 bytes for each, which is most
 * of what moves. */
template <class T> static __global__ void __launch_bounds__(THREADS) expand_kernel(const rh_cuda_expand_args a, int units)
{
    RH_SHARED(float, table, 16);
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int r = (int)(i / units), unit = (int)(i % units);
    rh_fill_table<T>(table);
    __syncthreads();
    if (r >= a.rows) return;
    const uint8_t *row = a.w.data + (a.first + r) * a.w.row_bytes;
    const typename T::raw raw = T::load(row, row + a.w.heads, unit);
    const int64_t to = (int64_t)r * a.w.cols;
#pragma unroll
    for (int quad = 0; quad < T::QUADS; quad++) {
        const int c = T::column(unit, quad);
        const float4 v = rh_exact<T>(raw, unit, quad, table);
        if (a.bf16) put_bf16((uint16_t *)a.out + to, c, a.w.cols, v);
        else put_floats((float *)a.out + to, c, a.w.cols, v);
    }
}

/* out [n, cols] = scale * w[ids[i]]; as expand_kernel. */
template <class T> static __global__ void __launch_bounds__(THREADS) embed_kernel(const rh_cuda_embed_args a, int units)
{
    RH_SHARED(float, table, 16);
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int i = (int)(at / units), unit = (int)(at % units);
    rh_fill_table<T>(table);
    __syncthreads();
    if (i >= a.n) return;
    const int id = a.ids[i];
    const bool known = id >= 0 && id < a.w.rows;
    const uint8_t *row = a.w.data + (known ? id : 0) * a.w.row_bytes;
    const typename T::raw raw = T::load(row, row + a.w.heads, unit);
    const float by = known ? a.scale : __uint_as_float(0x7fffffff);
#pragma unroll
    for (int quad = 0; quad < T::QUADS; quad++) {
        float4 v = rh_exact<T>(raw, unit, quad, table);
        v = make_float4(__fmul_rn(by, v.x), __fmul_rn(by, v.y), __fmul_rn(by, v.z), __fmul_rn(by, v.w));
        put_floats(a.out + (int64_t)i * a.w.cols, T::column(unit, quad), a.w.cols, v);
    }
}

static unsigned blocks_for(int64_t threads) { return (unsigned)((threads + THREADS - 1) / THREADS); }

int rh_cuda_expand(void *stream, const void *args)
{
    const rh_cuda_expand_args *a = (const rh_cuda_expand_args *)args;
    assert(a->first >= 0 && a->first + a->rows <= a->w.rows);
    if (a->rows < 1) return cudaSuccess;
#define WITH(T)                                                                                                        \
    {                                                                                                                  \
        const int units = (a->w.cols + T::WIDTH - 1) / T::WIDTH;                                                       \
        return RH_LAUNCH((expand_kernel<T>), (blocks_for((int64_t)units * a->rows)), (THREADS), 0, stream, *a, units); \
    }
    RH_UNPACK_SWITCH(a->w.type, WITH)
#undef WITH
}

int rh_cuda_embed(void *stream, const void *args)
{
    const rh_cuda_embed_args *a = (const rh_cuda_embed_args *)args;
    if (a->n < 1) return cudaSuccess;
#define WITH(T)                                                                                                        \
    {                                                                                                                  \
        const int units = (a->w.cols + T::WIDTH - 1) / T::WIDTH;                                                       \
        return RH_LAUNCH((embed_kernel<T>), (blocks_for((int64_t)units * a->n)), (THREADS), 0, stream, *a, units);     \
    }
    RH_UNPACK_SWITCH(a->w.type, WITH)
#undef WITH
}

/* [n]: 6 n bytes */
static __global__ void __launch_bounds__(THREADS) round_kernel(const rh_cuda_round_args a)
{
    uint16_t *out = (uint16_t *)a.out;
    const int64_t first = (int64_t)blockIdx.x * THREADS * EACH + threadIdx.x;
#pragma unroll
    for (int k = 0; k < EACH; k++) {
        const int64_t i = first + k * THREADS;
        if (i < a.n) out[i] = __bfloat16_as_ushort(__float2bfloat16_rn(a.x[i]));
    }
}

int rh_cuda_round(void *stream, const void *args)
{
    const rh_cuda_round_args *a = (const rh_cuda_round_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(round_kernel, (blocks_for((a->n + EACH - 1) / EACH)), (THREADS), 0, stream, *a);
}

/* [n, rows]: 8 n rows bytes; blocks along y take tokens */
static __global__ void __launch_bounds__(THREADS) bias_kernel(const rh_cuda_bias_args a)
{
    const int r = (int)blockIdx.x * THREADS + (int)threadIdx.x;
    if (r >= a.rows) return;
    const float bias = a.bias[r];
    for (int i = (int)blockIdx.y; i < a.n; i += (int)gridDim.y) a.out[(int64_t)i * a.rows + r] += bias;
}

int rh_cuda_bias(void *stream, const void *args)
{
    const rh_cuda_bias_args *a = (const rh_cuda_bias_args *)args;
    if (a->n < 1 || a->rows < 1) return cudaSuccess;
    return RH_LAUNCH(bias_kernel, (blocks_for(a->rows), (unsigned)(a->n < 65535 ? a->n : 65535)), (THREADS), 0, stream, *a);
}
