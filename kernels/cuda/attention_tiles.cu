/* attention_tiles.cu - prefill: attention as in attention.cu, for many rows of a sequence.
 *
 * A block takes a tile of the queries that share a kv head, and goes through the keys that any of them sees, a tile in
 * shared memory at a time. */
#include "kernels/cuda/attention.cuh"

enum { THREADS = 256, TILE_KEYS = 32, ROW = TILE_KEYS + 1 };

/* A thread's place in its tile: queries y + 16 i; keys x and x + 16 of scores, columns x + 16 k (of four) of O. Query m of
 * a group and kv head is row m / grouped, head m % grouped. */
struct tile {
    rh_cuda_group g;
    int32_t x, y, first, queries, grouped, columns, kv_head;
};

/* 16 R queries, or 32 keys or values from AT(R, C) on, into shared memory, in float4: rows of 16 C, or of one more, so
 * that lanes that read a column each meet other banks. */
#define AT(R, C) (16 * (R) * 16 * (C))
#define STRIDE(C) (16 * (C) + 1)

template <int R, int C, class Shared>
static __device__ void tile_queries(const rh_cuda_attention_args &a, const tile &t, Shared &q)
{
    for (int i = 0; i < R; i++) {
        const int32_t m = t.first + t.y + 16 * i;
        const size_t row = (size_t)t.g.row + m / t.grouped, head = (size_t)t.kv_head * t.grouped + m % t.grouped;
        const int32_t dim = m < t.queries ? a.p.head_dim : 0;
#pragma unroll 1
        for (int32_t c = t.x; c < 16 * C; c += 16)
            q[(t.y + 16 * i) * 16 * C + c] = four(a.q + (row * a.p.n_heads + head) * a.p.head_dim, 4 * c, dim);
    }
}

template <class T, int R, int C, class Shared, class Slots>
static __device__ void tile_rows(const rh_cuda_attention_args &a, const tile &t, const void *from, Shared &q, Slots &slots)
{
    for (int i = 0; i < 2; i++) {
        const int32_t j = t.y + 16 * i, dim = a.p.head_dim;
        const T *row = (const T *)from + ((size_t)slots[j] * a.p.n_kv_heads + t.kv_head) * dim;
        for (int k = 0; k < C; k++) q[AT(R, C) + j * STRIDE(C) + t.x + 16 * k] = four(row, 4 * (t.x + 16 * k), dim);
    }
}

/* Scores of keys at first .. first + 31, then weights [16 R, ROW]; the maximum moves along, and the sum of this thread's
 * weights. shrink [R]: what O shrinks by. The sixteen threads of a query are half a warp. */
template <int R, int C, class Shared, class Weights>
static __device__ void tile_weights(const rh_cuda_attention_args &a, const tile &t, Shared &q, int32_t first, Weights &weights,
                                    float *top, float *sum, float *shrink)
{
    float s[R][2];
    for (int i = 0; i < R; i++) s[i][0] = s[i][1] = 0;
#pragma unroll 1
    for (int32_t c = 0; c < t.columns; c++) {
        const float4 k0 = q[AT(R, C) + t.x * STRIDE(C) + c], k1 = q[AT(R, C) + (t.x + 16) * STRIDE(C) + c];
        for (int i = 0; i < R; i++) {
            const float4 x = q[(t.y + 16 * i) * 16 * C + c];
            s[i][0] = dot4(x, k0, s[i][0]);
            s[i][1] = dot4(x, k1, s[i][1]);
        }
    }
    for (int i = 0; i < R; i++)
        for (int j = 0; j < 2; j++) weights[(t.y + 16 * i) * ROW + t.x + 16 * j] = s[i][j] * a.p.scale;
    if (a.p.softcap > 0)
#pragma unroll 1 /* there are not registers enough for all at once */
        for (int32_t at = t.y * ROW + t.x; at < 16 * R * ROW; at += 16 * ROW) {
            weights[at] = capped(weights[at], a.p.softcap);
            weights[at + 16] = capped(weights[at + 16], a.p.softcap);
        }
    for (int i = 0; i < R; i++) {
        const int32_t at = (t.y + 16 * i) * ROW + t.x, key = first + t.x;
        const int32_t position = t.g.pos + (t.first + t.y + 16 * i) / t.grouped, after = a.p.window ? position - a.p.window : -1;
        const float s0 = weights[at], s1 = weights[at + 16];
        const bool sees0 = key <= position && key > after, sees1 = key + 16 <= position && key + 16 > after;
        float most = top[i];
        most = sees0 && s0 > most ? s0 : most;
        most = sees1 && s1 > most ? s1 : most;
        for (int lane = 8; lane; lane >>= 1) {
            const float other = __shfl_xor_sync(RH_WARP, most, lane);
            most = other > most ? other : most;
        }
        const float w0 = sees0 ? expf(s0 - most) : 0, w1 = sees1 ? expf(s1 - most) : 0;
        weights[at] = w0;
        weights[at + 16] = w1;
        shrink[i] = expf(top[i] - most);
        sum[i] = sum[i] * shrink[i] + w0 + w1;
        top[i] = most;
    }
}

/* O = O shrink + P V over n keys. */
template <int R, int C, class Shared, class Weights>
static __device__ void tile_values(const tile &t, Shared &q, Weights &weights, float4 (&o)[R][C], const float *shrink, int32_t n)
{
    for (int i = 0; i < R; i++)
        for (int k = 0; k < C; k++) {
            o[i][k].x *= shrink[i], o[i][k].y *= shrink[i];
            o[i][k].z *= shrink[i], o[i][k].w *= shrink[i];
        }
#pragma unroll 2
    for (int32_t j = 0; j < n; j++) {
        float4 v[C];
        for (int k = 0; k < C; k++) v[k] = q[AT(R, C) + j * STRIDE(C) + t.x + 16 * k];
        for (int i = 0; i < R; i++) {
            const float w = weights[(t.y + 16 * i) * ROW + j];
            for (int k = 0; k < C; k++) {
                o[i][k].x = fmaf(w, v[k].x, o[i][k].x), o[i][k].y = fmaf(w, v[k].y, o[i][k].y);
                o[i][k].z = fmaf(w, v[k].z, o[i][k].z), o[i][k].w = fmaf(w, v[k].w, o[i][k].w);
            }
        }
    }
}

/* out = O / l */
template <int R, int C>
static __device__ void tile_finish(const rh_cuda_attention_args &a, const tile &t, float4 (&o)[R][C], const float *sum)
{
    const int32_t dim = a.p.head_dim;
    for (int i = 0; i < R; i++) {
        const int32_t m = t.first + t.y + 16 * i;
        float l = sum[i];
        for (int lane = 8; lane; lane >>= 1) l += __shfl_xor_sync(RH_WARP, l, lane);
        if (m >= t.queries) continue;
        const size_t row = (size_t)t.g.row + m / t.grouped, head = (size_t)t.kv_head * t.grouped + m % t.grouped;
        float *out = a.out + (row * a.p.n_heads + head) * dim;
        for (int k = 0; k < C; k++) {
            const int32_t c = 4 * (t.x + 16 * k);
            if (c < dim) out[c] = o[i][k].x / l;
            if (c + 1 < dim) out[c + 1] = o[i][k].y / l;
            if (c + 2 < dim) out[c + 2] = o[i][k].z / l;
            if (c + 3 < dim) out[c + 3] = o[i][k].w / l;
        }
    }
}

/* q [n, n_heads, head_dim], K and V [slots, n_kv_heads, head_dim] of elements of E bytes; 16 R queries a block and heads of up
 * to 64 C, blocks of late rows first, for they are long. With J keys in sight 4 J head_dim multiply-adds a query in float32 from shared memory, which bounds
 * it; K and V come from the L2 cache, 2 J head_dim E bytes for every 16 R queries. */
template <class T, int R, int C> static __global__ void __launch_bounds__(THREADS, 2) tile_kernel(rh_cuda_attention_args a, int32_t tiles)
{
    RH_SHARED_DYNAMIC(float4, q); /* queries, then keys or values */
    RH_SHARED(float, weights, 16 * R * ROW);
    RH_SHARED(int32_t, slots, TILE_KEYS);
    tile t;
    t.g = a.groups[blockIdx.x / tiles];
    t.x = threadIdx.x % 16, t.y = threadIdx.x / 16;
    t.grouped = a.p.n_heads / a.p.n_kv_heads;
    t.queries = t.g.n * t.grouped;
    t.first = (tiles - 1 - (int32_t)(blockIdx.x % tiles)) * 16 * R;
    t.columns = (a.p.head_dim + 3) / 4;
    t.kv_head = blockIdx.y;
    if (t.first >= t.queries) return;
    const int32_t last = t.first + 16 * R < t.queries ? t.first + 16 * R - 1 : t.queries - 1;
    const int32_t to = t.g.pos + last / t.grouped + 1, begin = t.g.pos + t.first / t.grouped - a.p.window + 1;
    float4 o[R][C];
    float top[R], sum[R], shrink[R];
    for (int i = 0; i < R; i++) {
        top[i] = -FLT_MAX;
        sum[i] = 0;
        for (int k = 0; k < C; k++) o[i][k].x = o[i][k].y = o[i][k].z = o[i][k].w = 0;
    }
    tile_queries<R, C>(a, t, q);
    for (int32_t from = a.p.window && begin > 0 ? begin : 0; from < to; from += TILE_KEYS) {
        const int32_t n = to - from < TILE_KEYS ? to - from : TILE_KEYS, j = threadIdx.x;
        __syncthreads();
        if (j < TILE_KEYS) slots[j] = slot_of(a.spans + t.g.first, t.g.n_spans, from + (j < n ? j : n - 1));
        __syncthreads();
        tile_rows<T, R, C>(a, t, a.k, q, slots);
        __syncthreads();
        tile_weights<R, C>(a, t, q, from, weights, top, sum, shrink);
        __syncthreads();
        tile_rows<T, R, C>(a, t, a.v, q, slots);
        __syncthreads();
        tile_values(t, q, weights, o, shrink, n);
    }
    tile_finish(a, t, o, sum);
}

template <class T, int R, int C> static cudaError_t launch_tiles(void *stream, const rh_cuda_attention_args *a)
{
    const int64_t queries = (int64_t)a->most_rows * (a->p.n_heads / a->p.n_kv_heads);
    const int32_t tiles = (int32_t)((queries + 16 * R - 1) / (16 * R));
    const dim3 grid((unsigned)tiles * (unsigned)a->n_groups, (unsigned)a->p.n_kv_heads);
    const size_t shared = (size_t)(AT(R, C) + TILE_KEYS * STRIDE(C)) * sizeof(float4);
    return RH_LAUNCH((tile_kernel<T, R, C>), (grid), (THREADS), shared, stream, *a, tiles);
}

template <class T> static cudaError_t launch_prefill(void *stream, const rh_cuda_attention_args *a)
{
    if (a->p.head_dim <= 64) return launch_tiles<T, 4, 1>(stream, a);
    if (a->p.head_dim <= 128) return launch_tiles<T, 4, 2>(stream, a);
    return launch_tiles<T, 2, 4>(stream, a);
}

cudaError_t rh_cuda_attention_tiles(void *stream, const rh_cuda_attention_args *a)
{
    return a->p.kv == RH_F16 ? launch_prefill<__half>(stream, a) : launch_prefill<float>(stream, a);
}
