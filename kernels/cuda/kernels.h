/* kernels.h - the launchers: what stands between the backend, which is C, and the kernels, which are CUDA.
 *
 * A launcher is `int name(void *stream, const void *args)`: it starts its kernel on the stream (a cudaStream_t) with
 * a struct of its own, and returns a cudaError_t. One signature for all, so that the backend can keep a step as a
 * list of (launcher, arguments), compare it with the last one byte for byte, and capture it in a graph. Hence also:
 *   - arguments are plain data, their padding zero (made by memset, or calloc);
 *   - numbers that change at every step (rows, positions, slots, lengths, token ids) stand in device memory that
 *     the arguments point to, and no grid depends on them but by a bound that is among the arguments;
 *   - a launcher neither waits nor allocates nor copies to the host.
 * All pointers are device memory unless said. Shapes as in ops.h. n rows are n token positions. */
#ifndef RH_KERNELS_CUDA_KERNELS_H
#define RH_KERNELS_CUDA_KERNELS_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int (*rh_cuda_launcher)(void *stream, const void *args);

enum { RH_CUDA_FEW = 16 }; /* rows that the kernels for decoding take at once */

/* ---- matrices -----------------------------------------------------------------------------
 * A row of a quantised type keeps its file's bytes, parted: a block of `bytes` bytes is its codes, `codes` bytes from
 * offset `at` on (a multiple of 16), and its head, all the rest in the file's order. Row r:
 *     codes of all blocks, then, at a multiple of 16, heads of all blocks, to a multiple of 16.
 * So lanes load codes 16 bytes at a time. Types without blocks keep their elements, rows at multiples of 16. */
typedef struct rh_cuda_layout { int32_t block, bytes, at, codes; } rh_cuda_layout;
const rh_cuda_layout *rh_cuda_layout_of(rh_dtype t); /* layout.c; Q5_K: its fifth bits and nibbles, 160 bytes, are codes */

typedef struct rh_cuda_matrix {
    const uint8_t *data;
    int64_t row_bytes; /* a multiple of 16 */
    int64_t heads;     /* offset of the heads in a row */
    int32_t type;      /* rh_dtype */
    int32_t rows, cols;
    int32_t unused;
} rh_cuda_matrix;

/* ---- matmul.cu ------------------------------------------------------------------------------
 * Up to three products that share x [n, cols], n <= RH_CUDA_FEW:  out_i [n, rows_i] (+)= x w_i^T (+ bias_i), float32 sums.
 * gain not NULL: x is first normed, x * rsqrt(mean x^2 + eps) * gain, and kept in normed [n, cols] where that is not NULL
 * (it may be x). glu: targets are gate and up, of equal rows and without add, and only
 * out_0 = act(gate) * up is written. */
typedef struct rh_cuda_product { rh_cuda_matrix w; const float *bias; float *out; int32_t add, unused; } rh_cuda_product;
typedef struct rh_cuda_matmul_args {
    const float *x, *gain;
    float *normed;
    int32_t n, cols, n_products;
    float eps;
    int32_t glu, act; /* rh_activation */
    rh_cuda_product product[3];
} rh_cuda_matmul_args;
int rh_cuda_matmul(void *stream, const void *args);

/* ---- expand.cu ------------------------------------------------------------------------------
 * Rows first .. first+rows-1 of w as bf16 (to nearest even) or float32 [rows, cols], exact before rounding: for large products. */
typedef struct rh_cuda_expand_args { rh_cuda_matrix w; void *out; int32_t first, rows, bf16, unused; } rh_cuda_expand_args;
int rh_cuda_expand(void *stream, const void *args);
typedef struct rh_cuda_round_args { const float *x; void *out; int64_t n; } rh_cuda_round_args; /* out [n] bf16 */
int rh_cuda_round(void *stream, const void *args);
typedef struct rh_cuda_bias_args { float *out; const float *bias; int32_t n, rows; } rh_cuda_bias_args; /* out [n, rows] += bias */
int rh_cuda_bias(void *stream, const void *args);
/* out [n, cols] = scale * w[ids[i]], exact values; an id out of range gives NaN */
typedef struct rh_cuda_embed_args { rh_cuda_matrix w; float *out; const int32_t *ids; int32_t n; float scale; } rh_cuda_embed_args;
int rh_cuda_embed(void *stream, const void *args);

/* ---- rows.cu --------------------------------------------------------------------------------
 * A list of steps on rows of d floats, one block a row: what follows what on the same row needs one launch. A step takes
 * rows r < n with on[r] (NULL: all) and gate[r] (NULL: all; as a guard left it, earlier in this launch or before). */
typedef enum rh_cuda_row_kind {
    RH_CUDA_NORM,   /* out[r] = t[r] * rsqrt(mean t[r]^2 + x) * a   a [d]; out may be t */
    RH_CUDA_ADD,    /* t[r] += a[r]                                 a [n, d] */
    RH_CUDA_STEER,  /* t[r] += x a                                  a [d] */
    RH_CUDA_ABLATE, /* t[r] -= B^T (B t[r])                         a [count, d] */
    RH_CUDA_MOVE,   /* rh_move `mode` of t[r] on a by x */
    RH_CUDA_GUARD,  /* flags[r] = does t[r].a, or the cosine of the two (y = |a|; 0 if a norm is 0), stand to x as `mode` says? NaN: 0 */
    RH_CUDA_COPY    /* out[r] = t[r]: a capture */
} rh_cuda_row_kind;
typedef struct rh_cuda_row_step {
    float *t;
    const float *a;
    float *out;
    const uint8_t *on;
    const int32_t *gate;
    int32_t *flags;
    int32_t kind, mode, count, cosine; /* mode: rh_move, or rh_compare */
    float x, y;
} rh_cuda_row_step;
enum { RH_CUDA_ROW_STEPS = 12 };
typedef struct rh_cuda_rows_args { int32_t n, d, n_steps, unused; rh_cuda_row_step step[RH_CUDA_ROW_STEPS]; } rh_cuda_rows_args;
int rh_cuda_rows(void *stream, const void *args);

/* dst[dst_row + i] = src[rows[i]], rows of width floats */
typedef struct rh_cuda_gather_args { float *dst; const float *src; const int32_t *rows; int32_t dst_row, n, width, unused; } rh_cuda_gather_args;
int rh_cuda_gather(void *stream, const void *args);

/* ---- elements.cu ----------------------------------------------------------------------------- */
typedef struct rh_cuda_glu_args { float *out; const float *gate, *up; int64_t n; int32_t act, unused; } rh_cuda_glu_args; /* [n] */
int rh_cuda_glu(void *stream, const void *args);
typedef struct rh_cuda_add_args { float *x; const float *y; int64_t n; } rh_cuda_add_args;
int rh_cuda_add(void *stream, const void *args);
typedef struct rh_cuda_softcap_args { float *x; int64_t n; float cap; int32_t unused; } rh_cuda_softcap_args;
int rh_cuda_softcap(void *stream, const void *args);

/* ---- rope.cu ----------------------------------------------------------------------------------
 * Rotation as ops.h has it, of q and k, and k and v kept in the cache: k_cache[slots[i]], v_cache[slots[i]] of type kv.
 * q_gain, k_gain not NULL: heads are normed before (eps). Any of q, k, v may be NULL, and so is its part then; slots NULL: nothing is kept. k also keeps the
 * rotated values in place. inv_freq [head_dim/2] float, positions [n]: the angle in double. */
typedef struct rh_cuda_rope_args {
    float *q, *k;
    const float *v, *q_gain, *k_gain, *inv_freq;
    const int32_t *positions, *slots;
    void *k_cache, *v_cache;
    int32_t n, n_heads, n_kv_heads, head_dim, kv; /* rh_dtype: RH_F32 or RH_F16 */
    float eps;
} rh_cuda_rope_args;
int rh_cuda_rope(void *stream, const void *args);
/* dst[slots[i]] = src[i] as scatter_rows has it */
typedef struct rh_cuda_scatter_args { void *dst; const float *src; const int32_t *slots; int32_t type, n, width, unused; } rh_cuda_scatter_args;
int rh_cuda_scatter(void *stream, const void *args);

/* ---- attention.cu ------------------------------------------------------------------------------
 * ops.h's attention. groups and spans as there, in device memory; a group's spans are spans[first ..]. longest: at
 * least as many keys as any row sees, which fixes the grid: parts = rh_cuda_attention_parts(). partial: floats of
 * parts * n * n_heads * (head_dim + 2), NULL if parts is 1. few: no group has more than one row; else tiles of rows are taken.
 * head_dim is even and at most RH_CUDA_HEAD. */
enum { RH_CUDA_HEAD = 256 };
typedef struct rh_cuda_group { int32_t row, n, pos, first, n_spans; } rh_cuda_group;
typedef struct rh_cuda_attention_args {
    float *out;
    const float *q;
    const void *k, *v;
    const rh_cuda_group *groups;
    const rh_kv_span *spans;
    float *partial;
    rh_attention_params p;
    int32_t n, n_groups, longest, parts, few, most_rows; /* most_rows: of a group */
} rh_cuda_attention_args;
int32_t rh_cuda_attention_parts(const rh_attention_params *p, int32_t n, int32_t longest, bool few); /* host; deterministic */
int rh_cuda_attention(void *stream, const void *args);

/* ---- sample.cu -----------------------------------------------------------------------------------
 * ids[i] from logits[i], as ops.h's sample has it; one spec a row. seen, count: device, at spec.first. scratch: bytes of
 * rh_cuda_sample_scratch(n), in which nothing need lie. */
typedef struct rh_cuda_spec {
    double temperature, top_p, min_p, repetition, frequency, presence, u;
    int32_t top_k, first, n_seen, unused;
} rh_cuda_spec;
typedef struct rh_cuda_sample_args {
    int32_t *ids;
    float *logits;        /* penalties change it */
    const rh_cuda_spec *specs;
    const int32_t *seen, *count;
    void *scratch;
    int32_t n, n_vocab;
} rh_cuda_sample_args;
size_t rh_cuda_sample_scratch(int32_t n); /* host */
int rh_cuda_sample(void *stream, const void *args);

/* ---- screen.cu ------------------------------------------------------------------------------------
 * Of p [n, rows] the products above base[row] + gain[row] * floor[t] (ops.h's screen; gain may be NULL): count[t] of them, and,
 * where row is not NULL, at start[t] on, ascending, row[] and value[]. Two launches: count, then fill. */
typedef struct rh_cuda_screen_args {
    const float *p, *base, *gain, *floor;
    int32_t *count;         /* [n] */
    const int64_t *start;   /* [n] */
    int32_t *row;
    float *value;
    int32_t n, rows;
} rh_cuda_screen_args;
int rh_cuda_screen(void *stream, const void *args);

/* ---- cosine.cu -------------------------------------------------------------------------------------
 * ops.h's cosines: out [rows] of data [rows, cols] (turned: [cols, rows]) of F32, F16 or BF16, rows not padded, data aligned to 16. */
typedef struct rh_cuda_cosines_args { float *out; const void *data; const float *v; int32_t type, rows, cols, turned; } rh_cuda_cosines_args;
int rh_cuda_cosines(void *stream, const void *args);

/* ---- limits.cu --------------------------------------------------------------------------------------
 * What the device can do at best: `bytes` of `in` read once (a multiple of 16); multiply-adds. out: room for 4 bytes. */
typedef struct rh_cuda_read_args { const void *in; void *out; int64_t bytes; int32_t blocks, unused; } rh_cuda_read_args;
int rh_cuda_read(void *stream, const void *args);
typedef struct rh_cuda_multiply_args { void *out; int32_t blocks, rounds; } rh_cuda_multiply_args;
int rh_cuda_multiply(void *stream, const void *args);
double rh_cuda_multiply_flops(const rh_cuda_multiply_args *a); /* of one launch */

#ifdef __cplusplus
}
#endif
#endif
