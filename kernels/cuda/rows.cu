/* rows.cu - steps on rows of the residual stream: norm, add, the actions on concepts, guards, captures. What follows on
 * the same row runs in one launch, and a row goes through memory once.
 *
 * A block takes a row, and of it thread t the elements t, t + THREADS, … in every step: what a step has written the same
 * thread reads in the next, and only sums need the whole block. */
#include "kernels/cuda/each.cuh"
#include "kernels/cuda/kernels.h"

enum { THREADS = 256, WARPS = THREADS / 32, DIRECTIONS = 64 /* ablated at once */ };

template <class Take> static __device__ inline void each(const float *a, int32_t d, Take take) { rh_each<8>(a, 0, d, take); }

/* The sum of all threads' x, in every thread, always added in the same order. sums [WARPS]. */
template <class Sums> static __device__ float block_sum(Sums &sums, float x)
{
    x = rh_warp_sum(x);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    float all = 0;
    for (int w = 0; w < WARPS; w++) all += sums[w];
    __syncthreads();
    return all;
}

/* This thread's part of row . a */
template <class Row> static __device__ float part_of_dot(Row &row, const float *a, int32_t d)
{
    float sum = 0;
    each(a, d, [&](int32_t i, float x) { sum += row[i] * x; });
    return sum;
}

template <class Row, class Sums> static __device__ float square(Row &row, Sums &sums, int32_t d)
{
    float sum = 0;
    for (int32_t i = threadIdx.x; i < d; i += THREADS) sum += row[i] * row[i];
    return block_sum(sums, sum);
}

/* row += by * a, and so t */
template <class Row> static __device__ void axpy(Row &row, float *t, float by, const float *a, int32_t d)
{
    each(a, d, [&](int32_t i, float x) {
        const float y = row[i] + by * x;
        row[i] = y;
        t[i] = y;
    });
}

template <class Row, class Sums>
static __device__ void norm(Row &row, Sums &sums, const rh_cuda_row_step &s, size_t at, int32_t d)
{
    const float r = rsqrtf(square(row, sums, d) / (float)d + s.x);
    const bool in_place = s.out == s.t;
    each(s.a, d, [&](int32_t i, float gain) {
        const float x = row[i] * r * gain;
        s.out[at + i] = x;
        if (in_place) row[i] = x;
    });
}

/* t -= B^T (B t): all products are with the t that came in, for B is orthonormal only up to rounding. sums [DIRECTIONS
 * WARPS]: the warps' parts of each product. */
template <class Row, class Sums>
static __device__ void ablate(Row &row, Sums &sums, float *t, const float *basis, int32_t count, int32_t d)
{
    for (int32_t from = 0; from < count; from += DIRECTIONS) {
        const int32_t n = count - from < DIRECTIONS ? count - from : DIRECTIONS;
        const float *b = basis + (size_t)from * d;
        for (int32_t j = 0; j < n; j++) {
            const float sum = rh_warp_sum(part_of_dot(row, b + (size_t)j * d, d));
            if (threadIdx.x % 32 == 0) sums[j * WARPS + threadIdx.x / 32] = sum;
        }
        __syncthreads();
        for (int32_t j = 0; j < n; j++) {
            float p = 0;
            for (int w = 0; w < WARPS; w++) p += sums[j * WARPS + w];
            axpy(row, t, -p, b + (size_t)j * d, d);
        }
        __syncthreads();
    }
}

/* How far along a the projection p has to go. */
static __device__ inline float move_by(int32_t mode, float p, float x)
{
    if (mode == RH_MOVE_SCALE) return (x - 1) * p;
    return mode == RH_MOVE_CLAMP || p > x ? x - p : 0;
}

static __device__ inline bool holds(int32_t compare, float x, float threshold)
{
    switch (compare) {
    case RH_COMPARE_GT: return x > threshold;
    case RH_COMPARE_GE: return x >= threshold;
    case RH_COMPARE_LT: return x < threshold;
    default: return x <= threshold;
    }
}

/* A NaN says no, whatever is compared. Later steps of this launch read the flag through their gate: the barrier shows it to
 * the block. */
template <class Row, class Sums>
static __device__ void guard(Row &row, Sums &sums, const rh_cuda_row_step &s, int32_t d)
{
    const float product = block_sum(sums, part_of_dot(row, s.a, d));
    float x = product;
    if (s.cosine) {
        const float length = sqrtf(square(row, sums, d));
        x = length > 0 && s.y > 0 ? product / length / s.y : 0;
    }
    if (threadIdx.x == 0) s.flags[blockIdx.x] = product == product && holds(s.mode, x, s.x);
    __syncthreads();
}

/* n rows of d floats, the row a step works on in shared memory. Bytes: of each row at least what the steps name, once:
 * with h += y and x = norm(h) that is 16 n d, and 4 d a direction, from the L2 cache but for the first row. In decoding bound
 * by the latency of one load and two barriers a step (about 2 us), in prefill by memory. */
static __global__ void __launch_bounds__(THREADS, 3) rows_kernel(rh_cuda_rows_args a)
{
    RH_SHARED_DYNAMIC(float, row);
    RH_SHARED(float, sums, DIRECTIONS * WARPS);
    const int32_t r = blockIdx.x, d = a.d;
    const size_t at = (size_t)r * d;
    const float *held = NULL; /* whose row is in shared memory */
    for (int32_t k = 0; k < a.n_steps; k++) {
        const rh_cuda_row_step &s = a.step[k];
        if ((s.on && !s.on[r]) || (s.gate && !s.gate[r])) continue;
        if (s.t != held) each(s.t + at, d, [&](int32_t i, float x) { row[i] = x; });
        held = s.t;
        switch (s.kind) {
        case RH_CUDA_NORM: norm(row, sums, s, at, d); break;
        case RH_CUDA_ADD: axpy(row, s.t + at, 1, s.a + at, d); break;
        case RH_CUDA_STEER: axpy(row, s.t + at, s.x, s.a, d); break;
        case RH_CUDA_ABLATE: ablate(row, sums, s.t + at, s.a, s.count, d); break;
        case RH_CUDA_MOVE: {
            const float by = move_by(s.mode, block_sum(sums, part_of_dot(row, s.a, d)), s.x);
            if (by != 0) axpy(row, s.t + at, by, s.a, d);
            break;
        }
        case RH_CUDA_GUARD: guard(row, sums, s, d); break;
        case RH_CUDA_COPY:
            for (int32_t i = threadIdx.x; i < d; i += THREADS) s.out[at + i] = row[i];
            break;
        }
    }
}

int rh_cuda_rows(void *stream, const void *args)
{
    const rh_cuda_rows_args *a = (const rh_cuda_rows_args *)args;
    if (a->n < 1 || a->n_steps < 1) return cudaSuccess;
    return RH_LAUNCH(rows_kernel, ((unsigned)a->n), (THREADS), (size_t)a->d * sizeof(float), stream, *a);
}

/* n rows of width floats: 8 n width bytes. */
static __global__ void __launch_bounds__(THREADS) gather_kernel(rh_cuda_gather_args a)
{
    const size_t from = (size_t)a.rows[blockIdx.x] * a.width, to = ((size_t)a.dst_row + blockIdx.x) * a.width;
    each(a.src + from, a.width, [&](int32_t i, float x) { a.dst[to + i] = x; });
}

int rh_cuda_gather(void *stream, const void *args)
{
    const rh_cuda_gather_args *a = (const rh_cuda_gather_args *)args;
    if (a->n < 1) return cudaSuccess;
    return RH_LAUNCH(gather_kernel, ((unsigned)a->n), (THREADS), 0, stream, *a);
}
