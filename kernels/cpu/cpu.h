/* cpu.h - inside of the CPU backend: its objects, and the table of inner loops that differ
 * between instruction sets. The drivers (matmul.c, attention.c, rows.c, rope.c) own threads,
 * blocking and scratch; the inner loops own the registers. Nothing above kernels/ sees this.
 *
 * One backend is used by one thread at a time: its scratch is shared by its operations.
 * Weights never change once made and may be shared. */
#ifndef RH_KERNELS_CPU_CPU_H
#define RH_KERNELS_CPU_CPU_H

#include "kernels/ops.h"

enum { RH_PANEL = 16, RH_BLOCK = 32 }; /* rows a panel; columns a block */
enum { RH_KEYS = 64 };                 /* keys a tile of attention */

struct rh_buf {
    float *data; /* 64-byte aligned */
    size_t bytes;
    void *base;
};

struct rh_weight {
    const uint8_t *data; /* [rows] of row_bytes, the caller's */
    size_t row_bytes;
    rh_dtype type;
    int32_t rows, cols;
    int32_t *row_order; /* [rows] or NULL */
    enum {
        RH_AS_FLOATS,   /* rows are expanded to float32 as they are needed */
        RH_AS_PANELS,   /* repacked once, into `panels` */
        RH_AS_STREAM    /* repacked in cache, a panel at a time, as they are needed; read often: panels */
    } kept;
    int32_t reads;      /* of a stream, so far */
    size_t panel_bytes; /* of one panel (panel.h) */
    uint8_t *panels;    /* [ceil(rows/16)] of panel_bytes */
    struct rh_chunk *chunk; /* that holds panels */
};

/* Memory of many panels, in huge pages; freed with the last weight in it. */
typedef struct rh_chunk {
    uint8_t *base;
    size_t size, used;
    int users; /* weights, and the backend while it still fills the chunk */
} rh_chunk;

/* 32 activations of one row as x = s q, q of 16 bits, |q| <= 32512; q = 256 plane[0] + plane[1],
 * or, for 16-bit products, q itself with each four as (0 2 1 3). */
typedef struct rh_xblock {
    union {
        int8_t plane[2][RH_BLOCK];
        int16_t q[RH_BLOCK];
    } u;
    float s, sum;                /* sum = s * (the sum of q) */
    int32_t minus, minus_first;  /* minus the sum of q; of its first 16 */
} rh_xblock;

#define RH_DOTS_PARAMS                                                                             \
    float *out, size_t ldo, const uint8_t *const *w, rh_dtype type, int nw, const float *x, size_t ldx, int nx, int32_t cols

/* 16 rows of a screen: codes of 8 bits, and what bounds the error of a product with them (screen_codes.c). */
typedef struct rh_screen_panel {
    float scale[RH_PANEL];      /* a row is about scale * code */
    int32_t offset[RH_PANEL];   /* 64 times the sum of its codes */
    float norm[RH_PANEL], error[RH_PANEL]; /* at least: of scale * code; of what that leaves, with all roundings */
} rh_screen_panel;

/* An input of a screen beside its codes u, 1 <= u <= 127: it is about scale * (u - 64). */
typedef struct rh_screen_x { float scale, norm, error; } rh_screen_x;

#define RH_DOTS_AT_PARAMS float *out, const uint8_t *const *w, rh_dtype type, const float *const *x, int n, int32_t cols

#define RH_COSINE_ROWS_PARAMS                                                                      \
    float dot[4], float square[4], const uint8_t *const w[4], rh_dtype type, const float *v, int32_t cols, size_t ahead
#define RH_COSINE_COLUMNS_PARAMS                                                                   \
    float *dot, float *square, const uint8_t *const w[4], rh_dtype type, const float x[4], int32_t n, size_t ahead

/* Inner loops of one instruction set. */
typedef struct rh_cpu_kernels {
    const char *name;
    const struct rh_cpu_kernels *nf4; /* whose quantize and panels serve NF4; NULL: these */

    /* out[b * stride], b < blocks: a row of x [32 blocks] quantised. */
    void (*quantize)(rh_xblock *out, size_t stride, const float *x, int32_t blocks);
    /* out [n, 16 n_panels] (rows ldo apart) = x @ panels^T, x [blocks][n]. next: the bytes that
     * were next for pack, to be fetched meanwhile; NULL: what follows the panels is. */
    void (*panels)(float *out, size_t ldo, const uint8_t *panel, size_t panel_bytes, int n_panels,
                   rh_dtype type, int32_t blocks, const rh_xblock *x, int n, const uint8_t *next);

    /* A panel from n <= 16 rows in the file's layout. next: bytes that will be packed after
     * this (as many as this panel's rows take), to be fetched meanwhile; or NULL. */
    void (*pack)(uint8_t *dst, const uint8_t *const *rows, int n, rh_dtype type, int32_t cols,
                 const uint8_t *next);

    void (*dequantize)(float *out, const uint8_t *row, rh_dtype t, int64_t n);
    /* out[t * ldo + r] = x[t] . w[r], t < nx, r < nw <= 8, over cols; rows of F32, F16 or BF16, not aligned;
     * x[t] zero from cols to a multiple of 16. A row gives the same bits in whichever type it has its values. */
    void (*dots)(RH_DOTS_PARAMS);
    /* out[t * ldo + r] = x[t] . w[r] for rows of bf16 as they are in the file, t < nx, r < nw <= 8,
     * over cols; x[t] [2][ldx] is split (split_bf16). NULL where the processor has no product
     * of bf16 pairs: rows are expanded to float32 then. */
    void (*bf16_dots)(float *out, size_t ldo, const uint8_t *const *w, int nw, const uint16_t *x,
                      size_t ldx, int nx, int32_t cols);
    /* out [2][ldo] = x as the sum of two bf16, hi and then lo, |x - hi - lo| <= 2^-18 |x|; zero from
     * cols to ldo. */
    void (*split_bf16)(uint16_t *out, size_t ldo, const float *x, int32_t cols);
    /* out[i] = x[i] . w[i], i < n, as dots has it to the bit. NULL: dots does it, one by one. */
    void (*dots_at)(RH_DOTS_AT_PARAMS);
    /* dot[r] = w[r] . v, square[r] = w[r] . w[r] of four rows; v zero up to a multiple of 16. ahead: bytes from each
     * row to one that is fetched meanwhile; 0: none. */
    void (*cosine_rows)(RH_COSINE_ROWS_PARAMS);
    /* The same of a turned matrix: dot[i] += sum_c x[c] w[c][i], square[i] += sum_c w[c][i]^2, i < n, of four of its
     * stored rows. */
    void (*cosine_columns)(RH_COSINE_COLUMNS_PARAMS);
    /* Bit r of out[t]: row r of a panel may exceed its level with x[t], t < n:
     *     e = p.scale[r] x.scale (sum_k code u - p.offset[r]),  e + p.norm[r] x.error + p.error[r] x.norm
     * is not below base[r] + gain[r] floor[t]. codes [wide/4][16][4], of which those above 0 at columns
     * (0 1 4 5 8 9 12 13), or at the other eight, of every sixteen add up to at most 258, and those below 0 to at
     * least -258, so that 16 bits hold eight products; u [n][wide], 1 .. 127, wide a multiple of 64. base, gain [16]. */
    void (*screen)(uint16_t *out, const int8_t *codes, const rh_screen_panel *p, const float *base, const float *gain,
                   const uint8_t *u, const rh_screen_x *x, const float *floor, int n, int32_t wide);
    /* c [m, 16 nv] (+)= a [m, k] @ b [k, 16 nv] */
    void (*tile)(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                 size_t ldb, int m, int k, int nv);

    /* Float16 and back; what is larger becomes +-65504, NaN stays. */
    void (*narrow)(uint16_t *out, const float *x, int64_t n);
    void (*widen)(float *out, const uint16_t *x, int64_t n);

    /* out [d, n] (rows ldo apart) = rows[i][c] at [c][i]; n a multiple of 16 */
    void (*transpose)(float *out, size_t ldo, const float *const *rows, int32_t n, int32_t d);

    float (*dot)(const float *x, const float *y, int64_t n);
    void (*axpy)(float *y, float a, const float *x, int64_t n); /* y += a x */
    void (*scale)(float *out, float a, const float *x, int64_t n); /* out = a x; may be x */
    void (*rmsnorm)(float *out, const float *x, const float *w, int32_t d, float eps);
    void (*glu)(float *out, const float *gate, const float *up, int64_t n, rh_activation act);
    void (*softcap)(float *x, int64_t n, float cap);
    /* One query's scores of n <= 64 keys -> weights, of which first .. last - 1 count and the
     * others become 0: x = cap(scale x), cap(s) = cap tanh(s/cap) if cap > 0; *max grows to the
     * largest; x = exp(x - *max); *sum = *sum * shrink + sum x. Returns shrink, exp(old max -
     * new), for what else was weighted by the old one. */
    float (*soften)(float *x, int n, int first, int last, float scale, float cap, float *max,
                    float *sum);
    void (*rotate)(float *x, const float *cos_sin, int32_t half); /* [half] cosines, sines */
} rh_cpu_kernels;

/* The entries that have files of their own. */
#define RH_PACK_PARAMS                                                                             \
    uint8_t *dst, const uint8_t *const *rows, int n, rh_dtype type, int32_t cols, const uint8_t *next
void rh_pack_generic(RH_PACK_PARAMS);
void rh_pack_avx2(RH_PACK_PARAMS);
void rh_pack_avx512(RH_PACK_PARAMS);
#define RH_QUANTIZE_PARAMS rh_xblock *out, size_t stride, const float *x, int32_t blocks
#define RH_PANELS_PARAMS                                                                           \
    float *out, size_t ldo, const uint8_t *panel, size_t panel_bytes, int n_panels, rh_dtype type, \
        int32_t blocks, const rh_xblock *x, int n, const uint8_t *next
void rh_quantize_avx2(RH_QUANTIZE_PARAMS);
void rh_panels_avx2(RH_PANELS_PARAMS);
void rh_quantize_avx512(RH_QUANTIZE_PARAMS);
void rh_panels_avx512(RH_PANELS_PARAMS);
void rh_panels_nf4_avx512(RH_PANELS_PARAMS);

#define RH_SCREEN_PARAMS                                                                           \
    uint16_t *out, const int8_t *codes, const rh_screen_panel *p, const float *base, const float *gain,  \
        const uint8_t *u, const rh_screen_x *x, const float *floor, int n, int32_t wide
void rh_screen_avx2(RH_SCREEN_PARAMS);
void rh_screen_avx512(RH_SCREEN_PARAMS);

void rh_cosine_rows_avx2(RH_COSINE_ROWS_PARAMS);
void rh_cosine_columns_avx2(RH_COSINE_COLUMNS_PARAMS);
void rh_cosine_rows_avx512(RH_COSINE_ROWS_PARAMS);
void rh_cosine_columns_avx512(RH_COSINE_COLUMNS_PARAMS);

void rh_narrow_avx2(uint16_t *out, const float *x, int64_t n);
void rh_widen_avx2(float *out, const uint16_t *x, int64_t n);

extern const rh_cpu_kernels rh_cpu_generic, rh_cpu_avx2, rh_cpu_avx512;
rh_isa rh_cpu_best_isa(void); /* of this processor */
const rh_cpu_kernels *rh_cpu_kernels_of(rh_isa isa);

/* Cosines and sines of one set of frequencies, filled as positions come up. */
typedef struct rh_rope_table {
    float *inv_freq; /* [half], a copy: the key */
    int32_t half;
    int32_t n_chunks;
    float **chunks; /* [n_chunks] of [RH_ROPE_CHUNK][2 half], NULL where not needed yet */
} rh_rope_table;
enum { RH_ROPE_CHUNK = 64, RH_ROPE_TABLES = 4 };

typedef struct rh_cpu {
    rh_backend head;
    const rh_cpu_kernels *k;
    rh_chunk *chunk; /* being filled, or NULL */
    void *scratch;   /* 64-byte aligned */
    size_t scratch_bytes;
    rh_rope_table rope[RH_ROPE_TABLES];
    int rope_next; /* the table to give up next */
    int team;      /* threads in use, at most head.threads (team.c) */
    double team_pause_end;
} rh_cpu;

static inline rh_cpu *rh_cpu_of(rh_backend *be) { return (rh_cpu *)be; }

/* work(job, i, thread) for every i < n, in any order and on several threads; thread is below
 * head.threads. Returns when all are done. */
typedef void (*rh_cpu_work)(void *job, int32_t i, int thread);
void rh_cpu_run(rh_cpu *c, int32_t n, rh_cpu_work work, void *job);

/* Scratch of at least `bytes`, 64-byte aligned, contents undefined; NULL: no memory. */
void *rh_cpu_scratch(rh_cpu *c, size_t bytes);
void *rh_cpu_alloc(size_t bytes); /* 64-byte aligned, not zeroed; free() */

/* The operations, by file. */
rh_status rh_cpu_weight_new(rh_backend *be, rh_weight **out, const void *data, rh_dtype t,
                            int32_t rows, int32_t cols, const int32_t *row_order, rh_error *err);
bool rh_cpu_weight_owns(const rh_weight *w);
void rh_cpu_weight_free(rh_backend *be, rh_weight *w);
/* The weight is about to be read whole once more. */
void rh_cpu_stream_read(rh_cpu *c, const rh_weight *w);
void rh_cpu_chunk_drop(rh_chunk *chunk); /* one user less; NULL is fine */
/* Panel p of a weight from its rows; next: also fetch the rows of panel p + 1. */
void rh_cpu_pack(const rh_cpu_kernels *k, uint8_t *dst, const rh_weight *w, int32_t p, bool next);
void rh_cpu_embed(rh_backend *be, rh_buf *out, const rh_weight *w, const int32_t *ids, int32_t n,
                  float scale);
static inline const uint8_t *rh_cpu_row(const rh_weight *w, int32_t r)
{
    return w->data + (size_t)(w->row_order ? w->row_order[r] : r) * w->row_bytes;
}

rh_status rh_cpu_matmul(rh_backend *be, const rh_buf *x, int32_t n,
                        const rh_matmul_target *targets, int32_t n_targets, rh_error *err);

rh_status rh_cpu_screen_new(rh_backend *be, rh_screen **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                            rh_error *err);
void rh_cpu_screen_free(rh_backend *be, rh_screen *s);
rh_status rh_cpu_screen(rh_backend *be, rh_hits *hits, const rh_screen *s, const rh_buf *x, int32_t n,
                        const rh_screen_level *level, rh_error *err);

rh_status rh_cpu_cosines(rh_backend *be, float *out, const void *data, rh_dtype t, int32_t rows, int32_t cols, bool turned,
                         const float *v, rh_error *err);

rh_status rh_cpu_attention(rh_backend *be, rh_buf *out, const rh_buf *q, const rh_buf *k,
                           const rh_buf *v, const rh_attention_group *groups, int32_t n_groups,
                           const rh_attention_params *p, rh_error *err);

void rh_cpu_rope(rh_backend *be, rh_buf *x, int32_t n, int32_t n_heads, int32_t head_dim,
                 const int32_t *positions, const float *inv_freq);
void rh_cpu_rope_free(rh_cpu *c);

void rh_cpu_rmsnorm(rh_backend *be, rh_buf *out, const rh_buf *x, const rh_buf *w, int32_t n,
                    int32_t d, float eps);
void rh_cpu_glu(rh_backend *be, rh_buf *out, const rh_buf *gate, const rh_buf *up, int32_t n,
                int32_t d, rh_activation act);
void rh_cpu_add(rh_backend *be, rh_buf *x, const rh_buf *y, int64_t n);
void rh_cpu_softcap(rh_backend *be, rh_buf *x, int64_t n, float cap);
void rh_cpu_scatter_rows(rh_backend *be, rh_buf *dst, rh_dtype t, const int32_t *slots, const rh_buf *src,
                         int32_t n, int32_t width);
void rh_cpu_gather_rows(rh_backend *be, rh_buf *dst, int32_t dst_row, const rh_buf *src,
                        const int32_t *rows, int32_t n, int32_t width);
void rh_cpu_steer_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                       const rh_buf *v, float c, const rh_gate *gate);
void rh_cpu_ablate_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                        const rh_buf *basis, int32_t rank, const rh_gate *gate);
void rh_cpu_move_rows(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                      const rh_buf *u, rh_move move, float x, const rh_gate *gate);
void rh_cpu_guard_rows(rh_backend *be, rh_buf *flags, int32_t first, const rh_buf *h, const int32_t *rows, int32_t n,
                       int32_t d, const rh_buf *v, const rh_guard_test *test);
rh_status rh_cpu_sample(rh_backend *be, rh_buf *ids, rh_buf *logits, int32_t n, int32_t n_vocab,
                        const rh_sample_spec *specs, rh_error *err);

#endif
