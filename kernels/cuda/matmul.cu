/* matmul.cu - products with few rows of x, which is decoding: every weight is read once and little else is done with it.
 *
 * A block holds x (all of it, or tiles of its columns) as float32 in shared memory and takes `lines` rows of a matrix, or as
 * many of gate and up together. A warp takes ROWS of them at once, so that what it reads of x serves ROWS times; its
 * lanes take the rows' units one after the other (unpack.cuh), and the next units are on their way while the last are
 * multiplied. Where rows are few, `split` warps share them, each with every split-th 32 units. Then lanes, tiles
 * and warps are added, in that order: the sums of a shape are the same in every run. */
#include <assert.h>

#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/unpack.cuh"

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    LINES = 256,           /* at most, times split, a block */
    X_BYTES = 72 * 1024,   /* of x in shared memory, so that two blocks fit where 164 KB are, and one where 100 are */
    BUSY_WARPS = 1536,     /* 12 on each of 128 multiprocessors: with fewer rows are split */
    BUSY_BLOCKS = 1024     /* with more a block takes more rows, for x is laid out once a block */
};

struct plan {
    int32_t first_block[4];     /* of each product; behind the last one, the number of all */
    int32_t rows, lines, split; /* rows of a product a block; with glu twice as many lines */
    int32_t units, tile;        /* of a row; in shared memory at once */
    int32_t parts;              /* blocks that share rows, N of x's each */
    int32_t vectors;            /* x and gain may be read 16 bytes at a time */
    int32_t onto_gate;          /* out = act(out) * product */
};

template <class T, int N> struct shape {
    static constexpr bool SMALL = !T::LARGE && (N < 8 || T::TABLE || !T::SCALED);
    static constexpr int ROWS = SMALL ? 4 : 2, SUMS = ROWS * N;
    static constexpr int STRIDE = N * T::QUADS | 1; /* float4 a unit: odd, so that 8 lanes read from 8 different banks */
    static constexpr bool FORMED = !T::SCALED || N > 2; /* values are formed and multiplied; else codes are, and their sums scaled */
};

/* A thread's sums, and what it has loaded of its rows. */
template <class T, int N> using sums_of = float[shape<T, N>::SUMS];
template <class T, int N> using raws_of = typename T::raw[shape<T, N>::ROWS];

RH_UNPACK float dot4(const float4 &a, const float4 &b, float sum)
{
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

RH_UNPACK float4 scaled(const float4 &a, float by, float less)
{
    return make_float4(fmaf(a.x, by, -less), fmaf(a.y, by, -less), fmaf(a.z, by, -less), fmaf(a.w, by, -less));
}

/* p[c .. c+3], zeros from n on */
RH_UNPACK float4 four_at(const float *p, int c, int n, bool vectors)
{
    if (vectors && c < n) return *(const float4 *)(p + c);
    return make_float4(c < n ? p[c] : 0, c + 1 < n ? p[c + 1] : 0, c + 2 < n ? p[c + 2] : 0, c + 3 < n ? p[c + 3] : 0);
}

/* Columns of units first .. last-1 of rows n0 .. of x, times gain, into shared memory. Their squares are added up on the
 * way, a warp's in root [WARPS, N], for the root of their mean may as well divide the products. */
template <class T, int N, class X, class Roots>
RH_UNPACK void lay_out(X &x, Roots &root, const rh_cuda_matmul_args &a, const plan &p, int n0, int first, int last)
{
#pragma unroll 1
    for (int n = 0; n < N; n++) {
        const float *row = a.x + (int64_t)(n0 + n) * a.cols;
        const int cols = n0 + n < a.n ? a.cols : 0;
        float square = 0;
#pragma unroll 4
        for (int c = first * T::WIDTH + 4 * (int)threadIdx.x; c < last * T::WIDTH; c += 4 * THREADS) {
            const int at = (T::unit_of(c) - first) * shape<T, N>::STRIDE + n * T::QUADS + T::quad_of(c);
            const float4 v = four_at(row, c, cols, p.vectors), g = a.gain ? four_at(a.gain, c, a.cols, p.vectors) : make_float4(1, 1, 1, 1);
            square = dot4(v, v, square);
            x[at] = make_float4(v.x * g.x, v.y * g.y, v.z * g.z, v.w * g.w);
        }
        square = rh_warp_sum(square);
        const int i = (int)threadIdx.x / 32 * N + n;
        if (threadIdx.x % 32 == 0) root[i] = first ? root[i] + square : square;
    }
}

/* into += the products of ROWS rows' half of a unit with x [N], which lies from `at` on; sum: of x, where mins want it. */
template <class T, int N, class X, class Table>
RH_UNPACK void multiply_half(sums_of<T, N> &into, float (&sum)[N], const raws_of<T, N> &raw, int unit,
                             int half, X &x, int at, Table &table)
{
    constexpr int ROWS = shape<T, N>::ROWS;
#pragma unroll(N < (T::LARGE ? 4 : 8) ? 4 : 1)
    for (int q = 0; q < T::HALF; q++) {
        const int quad = half * T::HALF + q;
        float4 w[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            w[r] = T::codes(raw[r], unit, quad, table);
            if (shape<T, N>::FORMED && T::SCALED) w[r] = scaled(w[r], T::scale(raw[r], unit, half), T::min(raw[r], unit, half));
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            const float4 v = x[at + n * T::QUADS + quad];
            if (T::MIN && !shape<T, N>::FORMED) sum[n] += v.x + v.y + (v.z + v.w);
#pragma unroll
            for (int r = 0; r < ROWS; r++) into[r * N + n] = dot4(w[r], v, into[r * N + n]);
        }
    }
}

/* acc += the products of a unit of ROWS rows with x. */
template <class T, int N, class X, class Table>
RH_UNPACK void multiply_unit(sums_of<T, N> &acc, const raws_of<T, N> &raw, int unit, X &x, int at, Table &table)
{
    constexpr int SUMS = shape<T, N>::SUMS;
#pragma unroll(N < 4 ? 2 : 1)
    for (int half = 0; half < T::QUADS / T::HALF; half++) {
        float part[SUMS] = {0}, sum[N] = {0};
        if constexpr (shape<T, N>::FORMED) {
            multiply_half<T, N>(acc, sum, raw, unit, half, x, at, table);
        } else {
            multiply_half<T, N>(part, sum, raw, unit, half, x, at, table);
#pragma unroll
            for (int i = 0; i < SUMS; i++) {
                acc[i] = fmaf(T::scale(raw[i / N], unit, half), part[i], acc[i]);
                if (T::MIN) acc[i] = fmaf(-T::min(raw[i / N], unit, half), sum[i % N], acc[i]);
            }
        }
    }
}

template <int K> RH_UNPACK void clear(float (&v)[K])
{
#pragma unroll
    for (int i = 0; i < K; i++) v[i] = 0;
}

/* Sum i of K, over all lanes, in lanes i (32 / K) ..: at each step a lane gives half of its sums away and takes the other
 * half from its opposite, so that K of them cost no more than K - 1 + log2(32 / K) shuffles. */
template <int K, int WITH = 16, int ALL> RH_UNPACK float spread_sums(float (&v)[ALL], int lane)
{
    const bool upper = lane & WITH;
#pragma unroll
    for (int i = 0; i < K / 2; i++) {
        const float low = v[i], high = v[i + K / 2];
        v[i] = (upper ? high : low) + __shfl_xor_sync(RH_WARP, upper ? low : high, WITH);
    }
    if (K == 1) v[0] += __shfl_xor_sync(RH_WARP, v[0], WITH);
    if constexpr (WITH > 1) spread_sums<K == 1 ? 1 : K / 2, WITH / 2>(v, lane);
    return v[0];
}

/* A block's: rows row0 .. of a product, and n0 .. of x. */
struct share { int product, row0, n0; };

/* Where a warp is in its part of a tile: lines `line` .. of the block, units from `base` on, a lane its own. */
template <class T, int ROWS> struct place {
    int line, base;
    const uint8_t *row;     /* the first of them */
    int32_t heads;
    int32_t further[ROWS];  /* bytes from there to each; those past the end are the last once more */

    RH_INLINE void enter(const rh_cuda_matmul_args &a, const plan &p, const share &of)
    {
        const bool up = a.glu && line >= p.rows;
        const rh_cuda_matrix &w = a.product[up ? 1 : of.product].w;
        const int first = min(of.row0 + line - (up ? p.rows : 0), w.rows - 1);
        row = w.data + first * w.row_bytes;
        heads = (int32_t)w.heads;
#pragma unroll
        for (int r = 0; r < ROWS; r++) further[r] = min(r, w.rows - 1 - first) * (int32_t)w.row_bytes;
    }
    RH_INLINE void load(typename T::raw (&raw)[ROWS], int lane, int last) const
    {
        if (base + lane >= last) return;
#pragma unroll
        for (int r = 0; r < ROWS; r++) raw[r] = T::load(row + further[r], row + further[r] + heads, base + lane);
    }
};

/* The block's lines times the tile of units first .. last-1, onto sums [split, lines, N]. The first weights are asked for
 * before x is laid out, so that the one does not wait for the other. */
template <class T, int N, class X, class Sums, class Table, class Roots>
RH_UNPACK void multiply_tile(X &x, Sums &sums, Table &table, Roots &root, const rh_cuda_matmul_args &a, const plan &p, const share &of,
                             int first, int last)
{
    constexpr int ROWS = shape<T, N>::ROWS, SUMS = shape<T, N>::SUMS;
    constexpr bool AHEAD = N < 4; /* more rows of x wait for arithmetic, and want the registers */
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, s = warp % p.split, start = first + 32 * s;
    typename T::raw raw[ROWS] = {}, next[ROWS] = {};
    float acc[SUMS];
    place<T, ROWS> at = {warp / p.split * ROWS, start, NULL, 0, {}};
    at.enter(a, p, of);
    if (AHEAD) at.load(next, lane, last);
    if (first) __syncthreads();
    lay_out<T, N>(x, root, a, p, of.n0, first, last);
    __syncthreads();
    clear(acc);
    while (at.line < p.lines) {
        const int line = at.line, unit = at.base + lane;
        if (AHEAD) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) raw[r] = next[r];
        } else {
            at.load(raw, lane, last);
        }
        at.base += 32 * p.split;
        if (at.base >= last) {
            at.base = start;
            at.line += WARPS / p.split * ROWS;
            if (at.line < p.lines) at.enter(a, p, of);
        }
        if (AHEAD && at.line < p.lines) at.load(next, lane, last);
        if (unit < last) multiply_unit<T, N>(acc, raw, unit, x, (unit - first) * shape<T, N>::STRIDE, table);
        if (at.line == line) continue;
        const float sum = spread_sums<SUMS>(acc, lane);
        const int i = (s * p.lines + line) * N + lane / (32 / SUMS);
        if (lane % (32 / SUMS) == 0) sums[i] = first ? sums[i] + sum : sum;
        clear(acc);
    }
}

/* 1 / sqrt(mean x^2 + eps) of x's N rows, of what the warps have added up. */
template <int N, class Roots> RH_UNPACK void finish_roots(Roots &root, int cols, float eps)
{
    __syncthreads();
    if (threadIdx.x < N) {
        float sum = 0;
        for (int w = 0; w < WARPS; w++) sum += root[w * N + threadIdx.x];
        root[threadIdx.x] = rsqrtf(sum / (float)cols + eps);
    }
    __syncthreads();
}

template <int N, class Sums> RH_UNPACK float total(Sums &sums, const plan &p, int line, int n)
{
    float sum = 0;
    for (int s = 0; s < p.split; s++) sum += sums[(s * p.lines + line) * N + n];
    return sum;
}

/* Thread by thread one of the block's results. */
template <int N, class Sums, class Roots>
RH_UNPACK void put(Sums &sums, Roots &root, const rh_cuda_matmul_args &a, const plan &p, const share &of)
{
    const rh_cuda_product &to = a.product[of.product];
    for (int i = threadIdx.x; i < p.rows * N; i += THREADS) {
        const int r = i % p.rows, n = i / p.rows, row = of.row0 + r;
        if (row >= to.w.rows || of.n0 + n >= a.n) continue;
        const float norm = a.gain ? root[n] : 1.0f;
        float *out = to.out + (int64_t)(of.n0 + n) * to.w.rows + row;
        float v = total<N>(sums, p, r, n) * norm + (to.bias ? to.bias[row] : 0);
        if (a.glu) v = rh_activate(v, a.act) * (total<N>(sums, p, p.rows + r, n) * norm + (a.product[1].bias ? a.product[1].bias[row] : 0));
        else if (p.onto_gate) v *= rh_activate(*out, a.act);
        else if (to.add) v += *out;
        *out = v;
    }
}

/* out_i [n, rows_i] (+)= norm(x [n, cols]) w_i^T; a block `rows` rows of one product and N of x. Read: the weights, once
 * (twice from L2 where n > 8), and x once a block; bound by memory, save that NF4 with one row of x takes on an H100
 * about as many cycles of its shared memory (one table entry a weight) as of DRAM, and 8 rows about 2.5 times those. At most
 * 128 registers: two blocks a multiprocessor, of which every warp has 2 KB on their way (N < 4), 32 KB in all; an H100 wants 15. */
template <class T, int N>
static __global__ void __launch_bounds__(THREADS, 2) matmul_kernel(const rh_cuda_matmul_args a, const plan p)
{
    RH_SHARED_DYNAMIC(float4, x); /* [tile, STRIDE] */
    RH_SHARED(float, sums, LINES * N);
    RH_SHARED(float, root, WARPS * N);
    RH_SHARED(float, table, 16);
    const int block = (int)blockIdx.x / p.parts, product = block >= p.first_block[2] ? 2 : block >= p.first_block[1] ? 1 : 0;
    const int before = product == 2 ? p.first_block[2] : product ? p.first_block[1] : 0;
    const share of = {product, (block - before) * p.rows, (int)blockIdx.x % p.parts * N};
    rh_fill_table<T>(table);
    for (int first = 0; first < p.units; first += p.tile)
        multiply_tile<T, N>(x, sums, table, root, a, p, of, first, min(first + p.tile, p.units));
    finish_roots<N>(root, a.cols, a.eps);
    put<N>(sums, root, a, p, of);
    if (!a.normed || block > 0) return;
    for (int n = 0; n < N && of.n0 + n < a.n; n++) {
        const int64_t row = (int64_t)(of.n0 + n) * a.cols;
        for (int c = threadIdx.x; c < a.cols; c += THREADS) a.normed[row + c] = a.x[row + c] * root[n] * a.gain[c];
    }
}

/* ---- host --------------------------------------------------------------------------------------- */

static bool aligned(const void *p) { return (uintptr_t)p % 16 == 0; }

template <class T, int N> static plan plan_of(const rh_cuda_matmul_args *a, bool onto_gate)
{
    constexpr int ROWS = shape<T, N>::ROWS, MOST = X_BYTES / (16 * shape<T, N>::STRIDE);
    plan p = {};
    int32_t lines = 0;
    for (int i = 0; i < a->n_products; i++) lines += a->product[i].w.rows;
    p.parts = (a->n + N - 1) / N;
    p.vectors = a->cols % 4 == 0 && aligned(a->x) && aligned(a->gain);
    p.onto_gate = onto_gate;
    p.units = (a->cols + T::WIDTH - 1) / T::WIDTH;
    p.tile = p.units <= MOST ? p.units : MOST / 32 * 32;
    p.split = 1;
    while (p.split < WARPS && lines / 4 * p.split < BUSY_WARPS && p.tile >= 64 * p.split) p.split *= 2;
    const int32_t at_once = WARPS / p.split * ROWS; /* lines */
    int32_t times = lines / (at_once * BUSY_BLOCKS);
    times = times > LINES / (WARPS * ROWS) ? LINES / (WARPS * ROWS) : times;
    times = times < 1 ? 1 : times;
    if (a->glu && at_once * times < 2 * ROWS) times = 2;
    p.lines = at_once * times;
    p.rows = a->glu ? p.lines / 2 : p.lines;
    assert(p.rows % ROWS == 0 && p.split * p.lines <= LINES);
    for (int i = 0; i < 3; i++) {
        const bool any = i < (a->glu ? 1 : a->n_products);
        p.first_block[i + 1] = p.first_block[i] + (any ? (a->product[i].w.rows + p.rows - 1) / p.rows : 0);
    }
    return p;
}

template <class T, int N> static cudaError_t launch(void *stream, const rh_cuda_matmul_args *a, bool onto_gate)
{
    const plan p = plan_of<T, N>(a, onto_gate);
    const size_t bytes = (size_t)p.tile * shape<T, N>::STRIDE * sizeof(float4);
    return RH_LAUNCH((matmul_kernel<T, N>), ((unsigned)(p.first_block[3] * p.parts)), (THREADS), bytes, stream, *a, p);
}

/* Products of one type */
static cudaError_t launch_type(void *stream, const rh_cuda_matmul_args *a, bool onto_gate)
{
#define WITH(T)                                                                                                        \
    return a->n == 1   ? launch<T, 1>(stream, a, onto_gate)                                                            \
           : a->n == 2 ? launch<T, 2>(stream, a, onto_gate)                                                            \
           : a->n <= 4 ? launch<T, 4>(stream, a, onto_gate)                                                            \
                       : launch<T, 8>(stream, a, onto_gate)
    RH_UNPACK_SWITCH(a->product[0].w.type, WITH)
#undef WITH
}

/* Gate and up of two types: the first product, then the second onto it. */
static cudaError_t launch_mixed_glu(void *stream, const rh_cuda_matmul_args *a)
{
    rh_cuda_matmul_args one = *a;
    one.glu = 0;
    one.n_products = 1;
    cudaError_t e = launch_type(stream, &one, false);
    if (e != cudaSuccess) return e;
    one.product[0].w = a->product[1].w;
    one.product[0].bias = a->product[1].bias;
    return launch_type(stream, &one, true);
}

/* normed [n, cols] for a product whose x it replaces: other blocks still read that. A block a row; 8 n cols bytes. */
static __global__ void __launch_bounds__(THREADS) norm_kernel(const rh_cuda_matmul_args a)
{
    RH_SHARED(float, root, WARPS);
    const int64_t row = (int64_t)blockIdx.x * a.cols;
    float square = 0;
    for (int c = threadIdx.x; c < a.cols; c += THREADS) square = fmaf(a.x[row + c], a.x[row + c], square);
    square = rh_warp_sum(square);
    if (threadIdx.x % 32 == 0) root[threadIdx.x / 32] = square;
    finish_roots<1>(root, a.cols, a.eps);
    for (int c = threadIdx.x; c < a.cols; c += THREADS) a.normed[row + c] = a.x[row + c] * root[0] * a.gain[c];
}

int rh_cuda_matmul(void *stream, const void *args)
{
    rh_cuda_matmul_args a = *(const rh_cuda_matmul_args *)args;
    cudaError_t e = cudaSuccess;
    assert(a.n > 0 && a.n <= RH_CUDA_FEW && a.n_products > 0 && a.n_products <= 3);
    if (a.gain && a.normed == a.x) {
        e = RH_LAUNCH(norm_kernel, ((unsigned)a.n), (THREADS), 0, stream, a);
        a.gain = NULL;
        a.normed = NULL;
    }
    if (a.glu && a.product[0].w.type != a.product[1].w.type) return e == cudaSuccess ? launch_mixed_glu(stream, &a) : e;
    for (int first = 0, n; first < a.n_products && e == cudaSuccess; first += n) {
        rh_cuda_matmul_args some = a;
        for (n = 1; first + n < a.n_products && a.product[first + n].w.type == a.product[first].w.type; n++) {}
        for (int i = 0; i < n; i++) some.product[i] = a.product[first + i];
        some.n_products = n;
        if (first) some.normed = NULL;
        e = launch_type(stream, &some, false);
    }
    return e;
}
