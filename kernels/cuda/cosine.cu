/* cosine.cu - w.v/|w| of every row w: each element is read once and serves w.v and w.w, in float32. */
#include <assert.h>

#include "kernels/cuda/unpack.cuh"

enum { THREADS = 256, WARPS = THREADS / 32 };

RH_UNPACK float quotient(float dot, float square) { return square == 0 ? 0 : dot / sqrtf(square); }

RH_UNPACK float element(rh_unpack_f32, const void *data, int64_t i) { return ((const float *)data)[i]; }
RH_UNPACK float element(rh_unpack_f16, const void *data, int64_t i) { return rh_half_bits(((const uint16_t *)data)[i]); }
RH_UNPACK float element(rh_unpack_bf16, const void *data, int64_t i) { return __uint_as_float((uint32_t)((const uint16_t *)data)[i] << 16); }

/* Elements i .. i+3, where they lie at a multiple of their size */
template <class T> RH_UNPACK float4 four_elements(const void *data, int64_t i)
{
    int no_table = 0;
    typename T::raw raw = {};
    if (T::WIDTH == 4) {
        raw.q = ((const uint4 *)data)[i / 4];
    } else {
        const uint2 two = ((const uint2 *)data)[i / 4];
        raw.q = make_uint4(two.x, two.y, 0, 0);
    }
    return T::codes(raw, 0, 0, no_table);
}

RH_UNPACK void take(const float4 &w, const float4 &v, float &dot, float &square)
{
    dot = fmaf(w.w, v.w, fmaf(w.z, v.z, fmaf(w.y, v.y, fmaf(w.x, v.x, dot))));
    square = fmaf(w.w, w.w, fmaf(w.z, w.z, fmaf(w.y, w.y, fmaf(w.x, w.x, square))));
}

/* out [rows] of data [rows, cols]: a warp a row, lanes 16 bytes each where rows begin at a multiple of 16 (vectors). Read:
 * the matrix once, v from L1; bound by memory. */
template <class T> static __global__ void __launch_bounds__(THREADS) rows_kernel(const rh_cuda_cosines_args a, int vectors)
{
    const int lane = threadIdx.x % 32, units = vectors ? a.cols / T::WIDTH : 0;
    const int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, first = r * a.cols;
    float dot = 0, square = 0;
    int no_table = 0;
    if (r >= a.rows) return;
#pragma unroll 4
    for (int unit = lane; unit < units; unit += 32) {
        const typename T::raw raw = {((const uint4 *)a.data)[first / T::WIDTH + unit]};
#pragma unroll
        for (int quad = 0; quad < T::QUADS; quad++)
            take(T::codes(raw, unit, quad, no_table), ((const float4 *)a.v)[unit * T::QUADS + quad], dot, square);
    }
#pragma unroll 4
    for (int c = units * T::WIDTH + lane; c < a.cols; c += 32) {
        const float w = element(T(), a.data, first + c);
        dot = fmaf(w, a.v[c], dot);
        square = fmaf(w, w, square);
    }
    dot = rh_warp_sum(dot);
    square = rh_warp_sum(square);
    if (lane == 0) a.out[r] = quotient(dot, square);
}

/* The same of data [cols, rows]: a lane takes EACH rows, of which it reads those elements that lie together (4: rows are a
 * multiple of 4), and a block's warps every eighth column; then the warps are added, in order. */
template <class T, int EACH> static __global__ void __launch_bounds__(THREADS) turned_kernel(const rh_cuda_cosines_args a)
{
    RH_SHARED(float, dots, THREADS * EACH); /* [WARPS, 32 * EACH] */
    RH_SHARED(float, squares, THREADS * EACH);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t block = (int64_t)blockIdx.x * 32 * EACH, r = block + lane * EACH;
    float dot[EACH] = {0}, square[EACH] = {0};
#pragma unroll 4
    for (int c = warp; c < (r < a.rows ? a.cols : 0); c += WARPS) {
        const float4 w = EACH == 4 ? four_elements<T>(a.data, c * (int64_t)a.rows + r)
                                   : make_float4(element(T(), a.data, c * (int64_t)a.rows + r), 0, 0, 0);
        const float v = a.v[c], each[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < EACH; i++) dot[i] = fmaf(each[i], v, dot[i]), square[i] = fmaf(each[i], each[i], square[i]);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        dots[(warp * 32 + lane) * EACH + i] = dot[i];
        squares[(warp * 32 + lane) * EACH + i] = square[i];
    }
    __syncthreads();
    if ((int)threadIdx.x >= 32 * EACH || block + threadIdx.x >= a.rows) return;
    float d = 0, s = 0;
    for (int w = 0; w < WARPS; w++) d += dots[w * 32 * EACH + threadIdx.x], s += squares[w * 32 * EACH + threadIdx.x];
    a.out[block + threadIdx.x] = quotient(d, s);
}

template <class T> static cudaError_t launch(void *stream, const rh_cuda_cosines_args *a)
{
    const int vectors = a->cols % T::WIDTH == 0 && (uintptr_t)a->v % 16 == 0;
    if (!a->turned) return RH_LAUNCH((rows_kernel<T>), ((unsigned)((a->rows + WARPS - 1) / WARPS)), (THREADS), 0, stream, *a, vectors);
    if (a->rows % 4 == 0) return RH_LAUNCH((turned_kernel<T, 4>), ((unsigned)((a->rows + 127) / 128)), (THREADS), 0, stream, *a);
    return RH_LAUNCH((turned_kernel<T, 1>), ((unsigned)((a->rows + 31) / 32)), (THREADS), 0, stream, *a);
}

int rh_cuda_cosines(void *stream, const void *args)
{
    const rh_cuda_cosines_args *a = (const rh_cuda_cosines_args *)args;
    assert((uintptr_t)a->data % 16 == 0);
    if (a->rows < 1) return cudaSuccess;
    switch (a->type) {
    case RH_F32: return launch<rh_unpack_f32>(stream, a);
    case RH_F16: return launch<rh_unpack_f16>(stream, a);
    case RH_BF16: return launch<rh_unpack_bf16>(stream, a);
    default: return cudaErrorInvalidValue;
    }
}
