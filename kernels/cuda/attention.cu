/* attention.cu - decoding: softmax(scale q K^T) V with a running maximum, in float32, for one row of each sequence.
 *
 * A block takes a row, up to eight query heads of a kv head, which share its reads of K and V, and a part of the keys. Where
 * there is more than one part, a second kernel makes one of them. */
#include <assert.h>

#include "kernels/cuda/attention.cuh"

enum {
    THREADS = 256,
    KEYS = 128, /* a tile: four for every eight lanes */
    MOST_PARTS = 64,
    MANY_BLOCKS = 264 /* two for each of 132 multiprocessors */
};

/* Query heads head .. head + heads - 1 of a row, and its keys from .. to - 1. */
struct share {
    const rh_kv_span *spans;
    int32_t n_spans, row, kv_head, head, heads, from, to;
};

template <int H> static __device__ bool share_of(const rh_cuda_attention_args &a, share *s)
{
    const rh_cuda_group g = a.groups[blockIdx.z];
    const int32_t grouped = a.p.n_heads / a.p.n_kv_heads, shares = (grouped + H - 1) / H, nth = blockIdx.y % shares;
    s->spans = a.spans + g.first;
    s->n_spans = g.n_spans;
    s->row = g.row;
    s->kv_head = blockIdx.y / shares;
    s->head = s->kv_head * grouped + nth * H;
    s->heads = grouped - nth * H < H ? grouped - nth * H : H;
    const int32_t end = g.pos + 1, first = a.p.window && end > a.p.window ? end - a.p.window : 0;
    const int32_t step = ((end - first + a.parts - 1) / a.parts + KEYS - 1) / KEYS * KEYS;
    s->from = first + (int32_t)blockIdx.x * step;
    s->to = s->from + step < end ? s->from + step : end;
    return g.n > 0;
}

/* weights [KEYS, H] = the products of n keys with q [H, chunks, 8] (of float4). Eight lanes take EACH keys at once, and read a
 * chunk of 32 elements of each together. */
template <class T, int H, class Q, class Slots, class Weights>
static __device__ void few_products(const rh_cuda_attention_args &a, const share &s, Q &q, Slots &slots, Weights &weights, int32_t n)
{
    enum { EACH = KEYS / (THREADS / 8) };
    const int32_t dim = a.p.head_dim, chunks = (dim + 31) / 32, part = threadIdx.x % 8, first = threadIdx.x / 8;
    const T *key[EACH];
    float sum[EACH][H];
    for (int e = 0; e < EACH; e++) {
        const int32_t j = first + e * (THREADS / 8);
        key[e] = (const T *)a.k + ((size_t)slots[j < n ? j : n - 1] * a.p.n_kv_heads + s.kv_head) * dim;
        for (int h = 0; h < H; h++) sum[e][h] = 0;
    }
    for (int32_t c = 0; c < chunks; c++) {
        float4 k[EACH];
        for (int e = 0; e < EACH; e++) k[e] = four(key[e], c * 32 + part * 4, dim);
        for (int h = 0; h < H; h++) {
            const float4 x = q[(h * chunks + c) * 8 + part];
            for (int e = 0; e < EACH; e++) sum[e][h] = dot4(x, k[e], sum[e][h]);
        }
    }
    for (int e = 0; e < EACH; e++) {
        const int32_t j = first + e * (THREADS / 8);
        for (int h = 0; h < H; h++) {
            float x = sum[e][h];
            for (int lane = 4; lane; lane >>= 1) x += __shfl_xor_sync(RH_WARP, x, lane);
            if (part == h && j < n) weights[j * H + h] = x;
        }
    }
}

/* A warp turns head h's products with n keys into weights; the maximum and the sum move along. Returns what the head's O
 * shrinks by. */
template <int H, class Weights>
static __device__ float soften(const rh_attention_params &p, Weights &weights, int32_t h, int32_t n, float *top, float *sum)
{
    float most = *top, all = 0;
    for (int32_t j = threadIdx.x % 32; j < n; j += 32) {
        float s = weights[j * H + h] * p.scale;
        if (p.softcap > 0) s = capped(s, p.softcap);
        weights[j * H + h] = s;
        most = s > most ? s : most;
    }
    most = rh_warp_max(most);
    for (int32_t j = threadIdx.x % 32; j < n; j += 32) {
        const float w = expf(weights[j * H + h] - most);
        weights[j * H + h] = w;
        all += w;
    }
    const float shrink = expf(*top - most);
    *sum = *sum * shrink + rh_warp_sum(all);
    *top = most;
    return shrink;
}

/* o [H] of the thread's two columns += the weighted values of every rows-th key. */
template <class T, int H, class Slots, class Weights>
static __device__ void few_values(const rh_cuda_attention_args &a, const share &s, float2 *o, Slots &slots, Weights &weights, int32_t n)
{
    const int32_t pairs = a.p.head_dim / 2, rows = THREADS / pairs, first = threadIdx.x / pairs;
    const T *v = (const T *)a.v + (size_t)s.kv_head * a.p.head_dim + 2 * (threadIdx.x % pairs);
    const size_t width = (size_t)a.p.n_kv_heads * a.p.head_dim;
    if (first >= rows) return;
#pragma unroll 4
    for (int32_t j = first; j < n; j += rows) {
        const float2 x = two(v + slots[j] * width);
        for (int h = 0; h < H; h++) {
            o[h].x = fmaf(weights[j * H + h], x.x, o[h].x);
            o[h].y = fmaf(weights[j * H + h], x.y, o[h].y);
        }
    }
}

/* O's rows of keys are added in their order: to out, or with m and l to partial [row, head, part, head_dim + 2].
 * state [3, H]: m, l, and what O shrank by. */
template <int H, class State, class Sums>
static __device__ void few_finish(const rh_cuda_attention_args &a, const share &s, const float2 *o, State &state, Sums &sums)
{
    const int32_t dim = a.p.head_dim, pairs = dim / 2, rows = THREADS / pairs, t = threadIdx.x;
    for (int h = 0; h < H; h++) {
        if (h >= s.heads) return;
        __syncthreads();
        sums[2 * t] = o[h].x;
        sums[2 * t + 1] = o[h].y;
        __syncthreads();
        const size_t head = (size_t)s.row * a.p.n_heads + s.head + h;
        float *partial = a.parts > 1 ? a.partial + (head * a.parts + blockIdx.x) * (dim + 2) : NULL;
        if (t < dim) {
            float x = 0;
            for (int32_t r = 0; r < rows; r++) x += sums[r * dim + t];
            if (partial) partial[t] = x;
            else a.out[head * dim + t] = x / state[H + h];
        }
        if (partial && t < 2) partial[dim + t] = state[t * H + h];
    }
}

/* q [n, n_heads, head_dim] of one row a group, K and V [slots, n_kv_heads, head_dim]. With J keys a row and E bytes an
 * element: 2 J n_kv_heads head_dim E bytes a row, once for every eight query heads of a kv head. Bound by memory
 * where contexts are long, by the launch and four barriers a tile of keys where they are short. */
template <class T, int H> static __global__ void __launch_bounds__(THREADS, H == 8 && sizeof(T) == 4 ? 1 : 2) few_kernel(rh_cuda_attention_args a)
{
    RH_SHARED_DYNAMIC(float4, q);
    RH_SHARED(float, weights, KEYS * H);
    RH_SHARED(int32_t, slots, KEYS);
    RH_SHARED(float, state, 3 * H);
    RH_SHARED(float, sums, 2 * THREADS);
    share s;
    if (!share_of<H>(a, &s)) return;
    const int32_t t = threadIdx.x, h = t / 32, chunks = (a.p.head_dim + 31) / 32;
    const float *from = a.q + ((size_t)s.row * a.p.n_heads + s.head) * a.p.head_dim;
    for (int32_t i = t; i < H * chunks * 8; i += THREADS) {
        const int32_t nth = i / (chunks * 8);
        q[i] = four(from + (size_t)nth * a.p.head_dim, i % (chunks * 8) * 4, nth < s.heads ? a.p.head_dim : 0);
    }
    float2 o[H];
    for (int i = 0; i < H; i++) o[i].x = o[i].y = 0;
    float top = -FLT_MAX, sum = 0; /* of head h, in its warp */
    for (int32_t first = s.from; first < s.to; first += KEYS) {
        const int32_t n = s.to - first < KEYS ? s.to - first : KEYS;
        __syncthreads();
        if (t < n) slots[t] = slot_of(s.spans, s.n_spans, first + t);
        __syncthreads();
        few_products<T, H>(a, s, q, slots, weights, n);
        __syncthreads();
        if (h < H) {
            const float shrink = soften<H>(a.p, weights, h, n, &top, &sum);
            if (t % 32 == 0) state[2 * H + h] = shrink;
        }
        __syncthreads();
        for (int i = 0; i < H; i++) {
            o[i].x *= state[2 * H + i];
            o[i].y *= state[2 * H + i];
        }
        few_values<T, H>(a, s, o, slots, weights, n);
    }
    if (h < H && t % 32 == 0) {
        state[h] = top;
        state[H + h] = sum;
    }
    few_finish<H>(a, s, o, state, sums);
}

/* The parts of every row and head become one: out = sum O_i exp(m_i - m) / sum l_i exp(m_i - m). A block a head and row; a
 * part without keys has O = l = 0. Reads parts (head_dim + 2) floats a head, from the L2 cache: bound by the launch. */
static __global__ void __launch_bounds__(THREADS) merge_kernel(rh_cuda_attention_args a)
{
    const rh_cuda_group g = a.groups[blockIdx.y];
    const int32_t dim = a.p.head_dim, t = threadIdx.x;
    if (g.n < 1 || t >= dim) return;
    const size_t head = (size_t)g.row * a.p.n_heads + blockIdx.x;
    const float *part = a.partial + head * a.parts * (dim + 2);
    float top = -FLT_MAX, sum = 0, o = 0;
    for (int32_t i = 0; i < a.parts; i++) {
        const float m = part[i * (dim + 2) + dim];
        top = m > top ? m : top;
    }
    for (int32_t i = 0; i < a.parts; i++, part += dim + 2) {
        const float by = expf(part[dim] - top);
        o += by * part[t];
        sum += by * part[dim + 1];
    }
    a.out[head * dim + t] = o / sum;
}

/* Query heads that a block takes in decoding. */
static int32_t heads_of(const rh_attention_params *p)
{
    const int32_t grouped = p->n_heads / p->n_kv_heads;
    return grouped > 4 ? 8 : grouped > 2 ? 4 : grouped;
}

static int32_t shares_of(const rh_attention_params *p)
{
    return (p->n_heads / p->n_kv_heads + heads_of(p) - 1) / heads_of(p);
}

int32_t rh_cuda_attention_parts(const rh_attention_params *p, int32_t n, int32_t longest, bool few)
{
    const int64_t blocks = (int64_t)n * p->n_kv_heads * shares_of(p);
    const int32_t keys = p->window && p->window < longest ? p->window : longest, most = (keys + KEYS - 1) / KEYS;
    if (!few || blocks < 1 || blocks >= MANY_BLOCKS) return 1;
    int32_t parts = (int32_t)((MANY_BLOCKS + blocks - 1) / blocks);
    if (parts > most) parts = most;
    return parts < 1 ? 1 : parts > MOST_PARTS ? (int32_t)MOST_PARTS : parts;
}

template <class T, int H> static cudaError_t launch_few(void *stream, const rh_cuda_attention_args *a)
{
    const dim3 grid((unsigned)a->parts, (unsigned)(a->p.n_kv_heads * shares_of(&a->p)), (unsigned)a->n_groups);
    const size_t shared = (size_t)H * ((a->p.head_dim + 31) / 32) * 8 * sizeof(float4);
    return RH_LAUNCH((few_kernel<T, H>), (grid), (THREADS), shared, stream, *a);
}

template <class T> static cudaError_t launch_decode(void *stream, const rh_cuda_attention_args *a)
{
    cudaError_t e;
    switch (heads_of(&a->p)) {
    case 1: e = launch_few<T, 1>(stream, a); break;
    case 2: e = launch_few<T, 2>(stream, a); break;
    case 4: e = launch_few<T, 4>(stream, a); break;
    default: e = launch_few<T, 8>(stream, a); break;
    }
    if (e != cudaSuccess || a->parts == 1) return e;
    const dim3 grid((unsigned)a->p.n_heads, (unsigned)a->n_groups);
    return RH_LAUNCH(merge_kernel, (grid), (THREADS), 0, stream, *a);
}

int rh_cuda_attention(void *stream, const void *args)
{
    const rh_cuda_attention_args *a = (const rh_cuda_attention_args *)args;
    assert(a->p.head_dim >= 2 && a->p.head_dim <= RH_CUDA_HEAD && a->p.head_dim % 2 == 0);
    assert(a->n_groups <= 65535 && a->parts >= 1 && (a->few || a->parts == 1));
    if (a->n_groups < 1 || (!a->few && a->most_rows < 1)) return cudaSuccess;
    if (!a->few) return rh_cuda_attention_tiles(stream, a);
    return a->p.kv == RH_F16 ? launch_decode<__half>(stream, a) : launch_decode<float>(stream, a);
}
