/* sample.cu - a token from each row of logits, in the order of engine/sampler.h, without sorting the vocabulary.
 *
 * The candidates, those within reach of the largest logit, stand in an order: logits descend, ids ascend among equals. Their
 * masses p = exp((logit - top) / T) are whole numbers of 2^-45, so that sums do not depend on who adds first. Where a prefix of
 * the order reaches some count or mass is found by counting into bins: BINS over the reach, filled by many blocks a row, and
 * in the bin where it happens by the eight next bits of the order at a time. Three such places are sought: top-k's end, the end
 * of top-p in what that leaves, and the draw in what both and min-p leave. */
#include <assert.h>

#include "kernels/cuda/each.cuh"
#include "kernels/cuda/kernels.h"

typedef unsigned long long rh_mass; /* and keys */

static constexpr int32_t
    THREADS = 256,
    PART = 4096,      /* ids a block */
    MOST_PARTS = 64,
    BINS = 2048,
    LIST = 1024,      /* candidates of a bin that are kept at hand */
    DIGITS = 256,
    DRAW_THREADS = 512,
    MANY = 16384,     /* ids from which on a row's last block is large */
    ID_BITS = 24,
    KEY_BITS = 32 + ID_BITS,
    MOST_VOCAB = 1 << ID_BITS;

/* Of a row, between the kernels. top: the parts' largest logit and its id, as order() has them. */
struct counts {
    rh_mass mass[BINS], above_min_p, top[MOST_PARTS];
    unsigned count[BINS];
};

size_t rh_cuda_sample_scratch(int32_t n) { return (size_t)n * sizeof(counts); }

static int32_t part_size(int32_t n_vocab)
{
    const int32_t least = (n_vocab + MOST_PARTS - 1) / MOST_PARTS;
    return least > PART ? least : PART;
}

/* ---- the order --------------------------------------------------------------------------------------- */

/* Ascends as the order does: NaN last, -0 as 0. In the low bits the id. */
static __device__ inline rh_mass order(float logit, int32_t id)
{
    const uint32_t bits = logit == 0 ? 0 : __float_as_uint(logit);
    const uint32_t up = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (rh_mass)(logit != logit ? 0xffffffffu : ~up) << ID_BITS | (rh_mass)id;
}

static __device__ inline int32_t id_of(rh_mass key) { return (int32_t)(key & (MOST_VOCAB - 1)); }
static __device__ inline float logit_of(rh_mass key)
{
    const uint32_t up = ~(uint32_t)(key >> ID_BITS);
    return __uint_as_float(up & 0x80000000u ? up & 0x7fffffffu : ~up);
}

/* What a row's specification and its largest logit come to. */
struct rule {
    double temperature, reach, least; /* least: logit of a candidate */
    float top, bins;                  /* bins a unit */
    bool greedy;
};

static __device__ inline rule rule_of(const rh_cuda_spec &s, rh_mass best)
{
    rule r;
    r.top = logit_of(best);
    r.temperature = s.temperature;
    r.reach = 40 * (s.temperature > 1 ? s.temperature : 1);
    r.least = r.top - r.reach;
    r.bins = (float)(BINS / r.reach);
    r.greedy = s.temperature <= 0 || s.top_k == 1 || !(r.top - r.top == 0); /* not finite */
    return r;
}

static __device__ inline bool is_candidate(const rule &r, float logit) { return logit >= r.least; }
static __device__ inline double share_of(const rule &r, float logit) { return exp((double)(logit - r.top) / r.temperature); }
static __device__ inline rh_mass mass_of(double share) { return (rh_mass)(share * 35184372088832.0 + 0.5); } /* 2^45 */

static __device__ inline int32_t bin_of(const rule &r, float logit)
{
    const int32_t bin = (int32_t)((r.top - logit) * r.bins);
    return bin < BINS - 1 ? bin : BINS - 1;
}

static __device__ inline rh_mass least_of(rh_mass a, rh_mass b) { return a < b ? a : b; }

/* ---- penalties, and the largest logit of each part ---------------------------------------------------- */

static __device__ inline float penalized(const rh_cuda_spec &s, float logit, int32_t count)
{
    const float l = logit > 0 ? (float)(logit / s.repetition) : (float)(logit * s.repetition);
    return (float)(l - count * s.frequency - s.presence);
}

/* logits [n, n_vocab], a block a row and part of it: 4 n_vocab bytes a row, and the tokens seen. Bound by memory; with
 * one row by the launch. */
static __global__ void __launch_bounds__(THREADS) best_kernel(rh_cuda_sample_args a, int32_t size)
{
    RH_SHARED(rh_mass, warps, THREADS / 32);
    const rh_cuda_spec &s = a.specs[blockIdx.y];
    float *logits = a.logits + (size_t)blockIdx.y * a.n_vocab;
    counts *c = (counts *)a.scratch + blockIdx.y;
    const int32_t from = blockIdx.x * size, to = from + size < a.n_vocab ? from + size : a.n_vocab, t = threadIdx.x;
    for (int32_t i = blockIdx.x * THREADS + t; i < BINS; i += gridDim.x * THREADS) c->mass[i] = c->count[i] = 0;
    if (blockIdx.x == 0 && t == 0) c->above_min_p = 0;
    for (int32_t i = t; i < s.n_seen; i += THREADS) {
        const int32_t id = a.seen[s.first + i];
        if (id >= from && id < to) logits[id] = penalized(s, logits[id], a.count[s.first + i]);
    }
    __syncthreads();
    rh_mass best = ~(rh_mass)0;
    rh_each<8>(logits, from, to, [&](int32_t i, float logit) { best = least_of(best, order(logit, i)); });
    for (int lane = 16; lane; lane >>= 1) best = least_of(best, __shfl_xor_sync(RH_WARP, best, lane));
    if (t % 32 == 0) warps[t / 32] = best;
    __syncthreads();
    if (t != 0) return;
    for (int w = 1; w < THREADS / 32; w++) best = least_of(best, warps[w]);
    c->top[blockIdx.x] = best;
}

static __device__ inline rh_mass best_of(const counts *c, int32_t parts)
{
    rh_mass best = c->top[0];
    for (int32_t i = 1; i < parts; i++) best = least_of(best, c->top[i]);
    return best;
}

/* ---- counts and masses in bins ------------------------------------------------------------------------- */

/* As above: 4 n_vocab bytes a row from the L2 cache, and an exp in double a candidate, which bounds it where few units have
 * doubles. */
static __global__ void __launch_bounds__(THREADS) bins_kernel(rh_cuda_sample_args a, int32_t size)
{
    RH_SHARED(rh_mass, mass, BINS + 1); /* the last: of those that min-p leaves */
    RH_SHARED(unsigned, count, BINS);
    const rh_cuda_spec &s = a.specs[blockIdx.y];
    const float *logits = a.logits + (size_t)blockIdx.y * a.n_vocab;
    counts *c = (counts *)a.scratch + blockIdx.y;
    const rule r = rule_of(s, best_of(c, gridDim.x));
    const int32_t from = blockIdx.x * size, to = from + size < a.n_vocab ? from + size : a.n_vocab, t = threadIdx.x;
    if (r.greedy) return;
    for (int32_t i = t; i <= BINS; i += THREADS) mass[i] = 0;
    for (int32_t i = t; i < BINS; i += THREADS) count[i] = 0;
    __syncthreads();
    rh_mass left = 0;
    rh_each<8>(logits, from, to, [&](int32_t, float logit) {
        if (!is_candidate(r, logit)) return;
        const double share = share_of(r, logit);
        if (share >= s.min_p) left += mass_of(share);
        atomicAdd(&mass[bin_of(r, logit)], mass_of(share));
        atomicAdd(&count[bin_of(r, logit)], 1u);
    });
    if (left) atomicAdd(&mass[BINS], left);
    __syncthreads();
    for (int32_t i = t; i < BINS; i += THREADS) {
        const unsigned many = count[i];
        if (!many) continue;
        atomicAdd(&c->count[i], many);
        atomicAdd(&c->mass[i], (rh_mass)mass[i]);
    }
    if (t == 0 && (rh_mass)mass[BINS]) atomicAdd(&c->above_min_p, (rh_mass)mass[BINS]);
}

/* ---- the place in the order ----------------------------------------------------------------------------- */

/* The last kernel's shared memory, all of one type: counts and masses of the bins and of the values of eight bits; a bin's
 * candidates and their masses; what one warp tells the others. */
static constexpr int32_t BIN_COUNT = 0, BIN_MASS = BIN_COUNT + BINS, DIGIT_COUNT = BIN_MASS + BINS, DIGIT_MASS = DIGIT_COUNT + DIGITS,
                         KEY = DIGIT_MASS + DIGITS, KEY_MASS = KEY + LIST, LISTED = KEY_MASS + LIST, WHERE = LISTED + 1,
                         MANY_THERE = WHERE + 1, MASS_THERE = MANY_THERE + 1, BEFORE_COUNT = MASS_THERE + 1,
                         BEFORE_MASS = BEFORE_COUNT + 1, SPACE = BEFORE_MASS + 1;

/* What is sought: the first candidate with which so many (or 0) and so much mass (or 0) are reached. And what is known:
 * what lies before the place that is looked into, and the mass there. */
struct search { rh_mass count, mass, before_count, before_mass, there; };

/* A warp finds the first of n bins in which the search ends, n / 32 bins a lane, and says so to the block; the barrier is
 * the caller's. Nowhere: n, and all lies before. */
template <class Space>
static __device__ void find_bin(Space &space, int32_t at_count, int32_t at_mass, int32_t n, const search &s)
{
    const int32_t lane = threadIdx.x % 32, from = lane * (n / 32);
    rh_mass count = 0, mass = 0;
    for (int32_t i = from; i < from + n / 32; i++) {
        count += space[at_count + i];
        mass += space[at_mass + i];
    }
    rh_mass before_count = s.before_count - count, before_mass = s.before_mass - mass;
    for (unsigned by = 1; by < 32; by *= 2) {
        const rh_mass lower_count = __shfl_up_sync(RH_WARP, count, by), lower_mass = __shfl_up_sync(RH_WARP, mass, by);
        count += lane >= (int32_t)by ? lower_count : 0;
        mass += lane >= (int32_t)by ? lower_mass : 0;
    }
    before_count += count;
    before_mass += mass;
    const unsigned reached = __ballot_sync(RH_WARP, s.before_count + count >= s.count && s.before_mass + mass >= s.mass);
    if (lane != (reached ? __ffs((int)reached) - 1 : 31)) return;
    int32_t bin = from;
    for (; bin < from + n / 32; bin++) {
        const rh_mass c = space[at_count + bin], m = space[at_mass + bin];
        if (before_count + c >= s.count && before_mass + m >= s.mass) break;
        before_count += c;
        before_mass += m;
    }
    space[WHERE] = reached ? bin : n;
    space[MANY_THERE] = reached ? (rh_mass)space[at_count + bin] : 0;
    space[MASS_THERE] = reached ? (rh_mass)space[at_mass + bin] : 0;
    space[BEFORE_COUNT] = before_count;
    space[BEFORE_MASS] = before_mass;
}

/* The same by the block, with barriers before and after. */
template <class Space> static __device__ int32_t find(Space &space, int32_t at_count, int32_t at_mass, int32_t n, search *s)
{
    __syncthreads();
    if (threadIdx.x < 32) find_bin(space, at_count, at_mass, n, *s);
    __syncthreads();
    s->before_count = space[BEFORE_COUNT];
    s->before_mass = space[BEFORE_MASS];
    s->there = space[MASS_THERE];
    return (int32_t)space[WHERE];
}

/* A row for the last kernel. */
struct row {
    const float *logits;
    int32_t n_vocab;
    rule r;
};

static __device__ inline bool in_bin(const row &w, int32_t bin, float logit)
{
    return is_candidate(w.r, logit) && bin_of(w.r, logit) == bin;
}

/* take(key, mass) for each candidate of a bin. They are few: eight logits are looked at, all on their way at once, and what
 * is found among them is read again. */
template <class Take> static __device__ inline void each_in_bin(const row &w, int32_t bin, Take take)
{
    const int32_t step = (int32_t)blockDim.x;
    for (int32_t first = (int32_t)threadIdx.x; first < w.n_vocab; first += 8 * step) {
        unsigned found = 0;
        for (int k = 0; k < 8; k++)
            if (first + k * step < w.n_vocab) found |= (unsigned)in_bin(w, bin, w.logits[first + k * step]) << k;
        for (; found; found &= found - 1) {
            const int32_t i = first + (__ffs((int)found) - 1) * step;
            take(order(w.logits[i], i), mass_of(share_of(w.r, w.logits[i])));
        }
    }
}

/* They into the list, in whatever order. */
template <class Space> static __device__ void list_bin(Space &space, const row &w, int32_t bin)
{
    if (threadIdx.x == 0) space[LISTED] = 0;
    __syncthreads();
    each_in_bin(w, bin, [&](rh_mass key, rh_mass mass) {
        const int32_t at = (int32_t)atomicAdd(&space[LISTED], (rh_mass)1);
        space[KEY + at] = key;
        space[KEY_MASS + at] = mass;
    });
}

/* Counts, among the candidates of the bin whose key begins like `prefix`, the next eight bits. many: of the bin; more than
 * the list takes are read again from the row. */
template <class Space>
static __device__ void count_digits(Space &space, const row &w, int32_t bin, int32_t many, rh_mass prefix, int shift)
{
    for (int32_t i = threadIdx.x; i < 2 * DIGITS; i += blockDim.x) space[DIGIT_COUNT + i] = 0;
    __syncthreads();
    const auto count = [&](rh_mass key, rh_mass mass) {
        if (key >> shift >> 8 != prefix) return;
        atomicAdd(&space[DIGIT_COUNT + (int32_t)(key >> shift & (DIGITS - 1))], (rh_mass)1);
        atomicAdd(&space[DIGIT_MASS + (int32_t)(key >> shift & (DIGITS - 1))], mass);
    };
    if (many > LIST) each_in_bin(w, bin, count);
    else
        for (int32_t i = threadIdx.x; i < many; i += blockDim.x) count(space[KEY + i], space[KEY_MASS + i]);
}

/* The mass up to and with the candidate at which the search ends, and its id; all mass, where it ends nowhere. */
template <class Space>
static __device__ rh_mass reach(Space &space, const row &w, rh_mass count, rh_mass mass, int32_t *id)
{
    search s = {count, mass, 0, 0, 0};
    const int32_t bin = find(space, BIN_COUNT, BIN_MASS, BINS, &s);
    if (bin == BINS) return s.before_mass;
    const int32_t many = (int32_t)space[MANY_THERE];
    if (many <= LIST) list_bin(space, w, bin);
    rh_mass prefix = 0;
    for (int shift = KEY_BITS - 8; shift >= 0; shift -= 8) {
        __syncthreads();
        count_digits(space, w, bin, many, prefix, shift);
        prefix = prefix << 8 | (rh_mass)find(space, DIGIT_COUNT, DIGIT_MASS, DIGITS, &s);
    }
    *id = id_of(prefix);
    return s.before_mass + s.there;
}

/* A block a row. Of its logits, 4 n_vocab bytes from the L2 cache are read for each of the three places that has to be
 * found, which with some ten barriers for each bounds it; of none if the largest is taken. */
static __global__ void __launch_bounds__(DRAW_THREADS) draw_kernel(rh_cuda_sample_args a, int32_t parts)
{
    RH_SHARED_DYNAMIC(rh_mass, space);
    const rh_cuda_spec &s = a.specs[blockIdx.x];
    const counts *c = (const counts *)a.scratch + blockIdx.x;
    const rh_mass best = best_of(c, parts);
    const row w = {a.logits + (size_t)blockIdx.x * a.n_vocab, a.n_vocab, rule_of(s, best)};
    int32_t id = id_of(best);
    if (!w.r.greedy) {
        for (int32_t i = threadIdx.x; i < BINS; i += blockDim.x) {
            space[BIN_COUNT + i] = c->count[i];
            space[BIN_MASS + i] = c->mass[i];
        }
        rh_mass kept = 0;
#pragma unroll 1 /* top-k's end, top-p's, the draw: one code for all */
        for (int end = 0; end < 3; end++) {
            rh_mass count = 0, mass = 0;
            if (end == 0) count = s.top_k > 0 ? (rh_mass)s.top_k : ~(rh_mass)0;
            if (end == 1 && s.top_p >= 1) continue;
            if (end == 1) mass = (rh_mass)ceil(s.top_p * (double)kept);
            if (end == 2 && c->above_min_p < kept) kept = c->above_min_p;
            if (end == 2) mass = (rh_mass)(s.u * (double)kept) + 1;
            if (end > 0) mass = mass < 1 ? 1 : mass < kept ? mass : kept;
            kept = reach(space, w, count, mass, &id);
        }
    }
    if (threadIdx.x == 0) a.ids[blockIdx.x] = id;
}

int rh_cuda_sample(void *stream, const void *args)
{
    const rh_cuda_sample_args *a = (const rh_cuda_sample_args *)args;
    if (a->n < 1) return cudaSuccess;
    assert(a->n_vocab > 0 && a->n_vocab <= MOST_VOCAB && a->n <= 65535);
    const int32_t size = part_size(a->n_vocab), parts = (a->n_vocab + size - 1) / size;
    const dim3 grid((unsigned)parts, (unsigned)a->n);
    cudaError_t e = RH_LAUNCH(best_kernel, (grid), (THREADS), 0, stream, *a, size);
    if (e == cudaSuccess) e = RH_LAUNCH(bins_kernel, (grid), (THREADS), 0, stream, *a, size);
    if (e != cudaSuccess) return e;
    const unsigned threads = a->n_vocab < MANY ? THREADS : DRAW_THREADS; /* one block reads a row: many loads must be on their way */
    return RH_LAUNCH(draw_kernel, ((unsigned)a->n), (threads), SPACE * sizeof(rh_mass), stream, *a, parts);
}
