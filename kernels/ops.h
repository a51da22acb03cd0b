/* ops.h - the numeric operations the engine calls, on whole tensors.
 *
 * This is the only door between the engine and a processor. A backend is a table of these
 * functions; buffers and weights are handles that only their backend may look into, so the
 * same engine drives a GPU. The engine never loops over elements.
 *
 * Conventions: tensors are row-major float32 unless said; n rows are n token positions;
 * `rows` arrays are host memory, read before the call returns. Operations are ordered as
 * issued; download waits. Shapes stand in brackets, slowest first. Sizes are checked by
 * the engine once; a backend asserts them. An operation that must allocate scratch returns
 * RH_ENOMEM and changes nothing; the others return void, and what of them fails on a device is
 * told by the next wait.
 */
#ifndef RH_KERNELS_OPS_H
#define RH_KERNELS_OPS_H

#include "base/error.h"
#include "kernels/dtype.h"

typedef struct rh_backend rh_backend; /* context: threads, streams, scratch */
typedef struct rh_buf rh_buf;         /* device memory */
typedef struct rh_weight rh_weight;   /* a matrix [rows, cols] in the backend's own layout */
typedef struct rh_screen rh_screen;   /* the same in few bits, beside the matrix itself */

/* What an action does to the projection on a unit direction. */
typedef enum rh_move { RH_MOVE_SCALE = 0, RH_MOVE_CAP, RH_MOVE_CLAMP } rh_move;

/* A test per row on h, before any action has moved it: h.v, or its cosine with v, against a threshold. */
typedef enum rh_compare { RH_COMPARE_GT = 0, RH_COMPARE_GE, RH_COMPARE_LT, RH_COMPARE_LE } rh_compare;
typedef struct rh_guard_test {
    bool cosine;     /* h.v / (|h| norm), 0 where either is 0 */
    rh_compare compare;
    float norm;      /* |v| */
    float threshold;
} rh_guard_test;

/* Where a guard's answers are: row r acts if flags[first + r] (int32) is not 0. */
typedef struct rh_gate { const rh_buf *flags; int32_t first; } rh_gate;

/* What is drawn from one row of logits (engine/sampler.h says in which order; temperature 0: the largest). seen, count [n_seen]: the distinct
 * tokens in the penalties' window, ascending, and how often each; host. */
typedef struct rh_sample_spec {
    double temperature, top_p, min_p;
    double repetition, frequency, presence;
    double u;        /* the draw, 0 <= u < 1 */
    int32_t top_k;   /* 0: off */
    const int32_t *seen, *count;
    int32_t n_seen;
} rh_sample_spec;

typedef enum rh_activation { RH_ACT_SILU = 0, RH_ACT_GELU_TANH } rh_activation;

/* One product of a group that shares its input: out [n, w.rows] = x @ w^T (+ bias).
 * add: accumulate into out instead of overwriting it. */
typedef struct rh_matmul_target {
    const rh_weight *w;
    const rh_buf *bias; /* [w.rows] or NULL */
    rh_buf *out;
    bool add;
} rh_matmul_target;

/* A run of consecutive cache slots: positions pos .. pos+len-1 at slots slot .. slot+len-1. */
typedef struct rh_kv_span { int32_t slot, pos, len; } rh_kv_span;

/* Query rows row .. row+n-1 (positions pos .. pos+n-1 of one sequence) and where the keys of
 * positions 0 .. pos+n-1 are: spans in ascending, gapless order of position. Row at position
 * p sees keys at positions j <= p, and with a window w only j > p - w. */
typedef struct rh_attention_group {
    int32_t row, n, pos;
    int32_t n_spans;
    const rh_kv_span *spans;
} rh_attention_group;

typedef struct rh_attention_params {
    int32_t n_heads, n_kv_heads, head_dim;
    int32_t window;  /* 0: none */
    float scale;     /* multiplies q.k */
    float softcap;   /* 0: none; s = cap*tanh(s/cap) */
    rh_dtype kv;     /* of K and V: RH_F32 or RH_F16 */
} rh_attention_params;

/* What a screen lets through: of input t the rows row[start[t] .. start[t+1]), ascending, and p, their
 * products with it. Zero to start; rh_hits_free. */
typedef struct rh_hits {
    size_t *start; /* [n+1] */
    int32_t *row;
    float *p;
    size_t computed; /* products that the few bits left open */
} rh_hits;
void rh_hits_free(rh_hits *h);

/* A level for each row and input that a product must exceed: base[row] + gain[row] * floor[t]. */
typedef struct rh_screen_level {
    const float *base;  /* [rows] */
    const float *gain;  /* [rows], not negative; NULL: base alone */
    const float *floor; /* [n], with gain */
} rh_screen_level;

/* A machine's own limits: what ratios are taken against. */
typedef struct rh_machine_limits {
    double read_gbs;        /* reading what no cache holds, GB/s */
    double f32_gflops;      /* fused multiply-adds */
    double bf16_gflops;     /* 0 if the processor has no bf16 dot product */
    double int8_gops;       /* 0 if it has no int8 dot product */
} rh_machine_limits;

typedef struct rh_ops {
    const char *name; /* "cpu/avx512", … */

    void (*free)(rh_backend *be);

    /* Memory. upload/download count floats... in bytes, at a byte offset. */
    rh_status (*buf_new)(rh_backend *be, rh_buf **out, size_t bytes, rh_error *err); /* zeroed, lazily */
    void (*buf_free)(rh_backend *be, rh_buf *b); /* NULL is fine */
    void (*upload)(rh_backend *be, rh_buf *dst, size_t offset, const void *src, size_t bytes);
    void (*download)(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes);
    /* As download, but dst is filled by the next wait or download, and must live until then: what a step leaves
     * for its end, so that it need not stop on its way. */
    void (*fetch)(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes);
    /* All that was issued is done. RH_EDEVICE: something of it failed, since the last wait. */
    rh_status (*wait)(rh_backend *be, rh_error *err);
    /* Bytes that buffers and weights may still take, and that there are in all; SIZE_MAX: the system's own memory,
     * about which it can be asked. */
    void (*memory)(rh_backend *be, size_t *free_bytes, size_t *all_bytes);
    /* What lies there is not read again before it is written: its memory may go back to the system. */
    void (*buf_forget)(rh_backend *be, rh_buf *b, size_t offset, size_t bytes);

    /* A weight from host memory: `rows` rows of `cols` elements of type t, row r at
     * data + r*rh_row_bytes(t, cols). row_order (may be NULL): weight row r is data row
     * row_order[r] (un-permutes Llama's q and k). The data must stay mapped as long as the
     * weight lives, unless weight_owns. Whether and how it is repacked is the backend's affair; in exact mode
     * products use the exact dequantised values and float32 activations. */
    rh_status (*weight_new)(rh_backend *be, rh_weight **out, const void *data, rh_dtype t,
                            int32_t rows, int32_t cols, const int32_t *row_order, rh_error *err);
    /* The weight holds all that products read: its data may go, if embed is never called on it. */
    bool (*weight_owns)(const rh_weight *w);
    void (*weight_free)(rh_backend *be, rh_weight *w);

    /* out [n, cols] = scale * w[ids[i]], exact values */
    void (*embed)(rh_backend *be, rh_buf *out, const rh_weight *w, const int32_t *ids,
                  int32_t n, float scale);

    /* out[i] = x[i] * rsqrt(mean(x[i]^2) + eps) * w, rows of d; out may be x. w [d].
     * A per-head norm is the same with n = rows*heads, d = head_dim. */
    void (*rmsnorm)(rh_backend *be, rh_buf *out, const rh_buf *x, const rh_buf *w, int32_t n,
                    int32_t d, float eps);

    /* All targets share x [n, cols]; cols are equal. */
    rh_status (*matmul)(rh_backend *be, const rh_buf *x, int32_t n,
                        const rh_matmul_target *targets, int32_t n_targets, rh_error *err);

    /* A matrix of which only those products are wanted that exceed a level: few. Data and type as in
     * weight_new (no blocks); finite. The data must stay. hits: all rows whose product, as matmul has it to the
     * bit, exceeds its level, and none else but of equals; x [n, cols] finite. */
    rh_status (*screen_new)(rh_backend *be, rh_screen **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                            rh_error *err);
    void (*screen_free)(rh_backend *be, rh_screen *s); /* NULL is fine */
    rh_status (*screen)(rh_backend *be, rh_hits *hits, const rh_screen *s, const rh_buf *x, int32_t n,
                        const rh_screen_level *level, rh_error *err);

    /* Host out [rows] = w.v/|w| of each row w of host data [rows, cols], read once, in float32; 0 where w is zero, not
     * finite or 0 where w is not finite. t F32, F16 or BF16. turned: data is [cols, rows]. v [cols] host. */
    rh_status (*cosines)(rh_backend *be, float *out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                         bool turned, const float *v, rh_error *err);

    /* Rotate pairs (i, i+head_dim/2) of every head of x [n, n_heads*head_dim] by
     * positions[row] * inv_freq[i] (computed in double, applied in float);
     * inv_freq [head_dim/2] host. */
    void (*rope)(rh_backend *be, rh_buf *x, int32_t n, int32_t n_heads, int32_t head_dim,
                 const int32_t *positions, const float *inv_freq);

    /* dst[slots[i]] = src[i], rows of width floats that become elements of type t, RH_F32 or RH_F16
     * (rounded to nearest even, at most 65504): how keys and values are kept. */
    void (*scatter_rows)(rh_backend *be, rh_buf *dst, rh_dtype t, const int32_t *slots, const rh_buf *src,
                         int32_t n, int32_t width);
    /* dst[dst_row + i] = src[rows[i]]: forking rows, picking rows for logits. dst may be src
     * where the ranges are disjoint. */
    void (*gather_rows)(rh_backend *be, rh_buf *dst, int32_t dst_row, const rh_buf *src,
                        const int32_t *rows, int32_t n, int32_t width);

    /* out [n_rows, n_heads*head_dim] for the rows of all groups; K, V [slots, n_kv_heads*head_dim] of type p->kv.
     * kv head of head h is h / (n_heads/n_kv_heads). Softmax in float32. */
    rh_status (*attention)(rh_backend *be, rh_buf *out, const rh_buf *q, const rh_buf *k,
                           const rh_buf *v, const rh_attention_group *groups, int32_t n_groups,
                           const rh_attention_params *p, rh_error *err);

    /* out = act(gate) * up, [n, d]; out may be gate. What up held may be gone. */
    void (*glu)(rh_backend *be, rh_buf *out, const rh_buf *gate, const rh_buf *up, int32_t n,
                int32_t d, rh_activation act);
    void (*add)(rh_backend *be, rh_buf *x, const rh_buf *y, int64_t n);     /* x += y */
    void (*softcap)(rh_backend *be, rh_buf *x, int64_t n, float cap);       /* x = cap*tanh(x/cap) */

    /* Actions on rows of h [*, d]; rows distinct. Of these, those act that the gate lets through; NULL: all.
     * steer: h[r] += c * v, v [d].   ablate: h[r] -= B^T (B h[r]), B [rank, d] orthonormal. */
    void (*steer_rows)(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                       const rh_buf *v, float c, const rh_gate *gate);
    void (*ablate_rows)(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                        const rh_buf *basis, int32_t rank, const rh_gate *gate);
    /* With p = h[r].u, u [d] unit:  scale: h[r] += (x-1)p u.  cap: where p > x, h[r] += (x-p) u.
     * clamp: h[r] += (x-p) u. A NaN row stays NaN. */
    void (*move_rows)(rh_backend *be, rh_buf *h, const int32_t *rows, int32_t n, int32_t d,
                      const rh_buf *u, rh_move move, float x, const rh_gate *gate);
    /* flags[first + rows[i]] = 1 where the test holds for h[rows[i]], else (and for NaN) 0; flags int32. What stands
     * at other rows stays. */
    void (*guard_rows)(rh_backend *be, rh_buf *flags, int32_t first, const rh_buf *h, const int32_t *rows, int32_t n,
                       int32_t d, const rh_buf *v, const rh_guard_test *test);

    /* ids[i] (int32) = the token drawn from logits[i], [n, n_vocab], as rh_sample_row (sample.h) has it; penalties
     * may change the logits. specs and what they point to are read before the call returns. */
    rh_status (*sample)(rh_backend *be, rh_buf *ids, rh_buf *logits, int32_t n, int32_t n_vocab,
                        const rh_sample_spec *specs, rh_error *err);

    /* What this backend can do at most, measured now or known. */
    rh_status (*limits)(rh_backend *be, rh_machine_limits *out, rh_error *err);
} rh_ops;

struct rh_backend { /* the head every backend's context begins with */
    const rh_ops *ops;
    bool exact;
    int threads;
    bool bf16; /* products of bf16 are its fastest of floats */
};

size_t rh_screen_bytes(int32_t rows, int32_t cols); /* that a screen holds on a CPU */

/* CPU features that a backend may use, best first; RH_ISA_BEST takes what CPUID offers. */
typedef enum rh_isa { RH_ISA_GENERIC = 0, RH_ISA_AVX2, RH_ISA_AVX512, RH_ISA_BEST } rh_isa;

/* RH_EDEVICE if this processor lacks the isa. threads 0: one a processor. */
rh_status rh_backend_cpu(rh_backend **out, rh_isa isa, int threads, bool exact, rh_error *err);
/* auto: cuda if it is there, else cpu. cuda: RH_EDEVICE with the reason if it is not. */
rh_status rh_backend_open(rh_backend **out, rh_device device, int threads, bool exact,
                          rh_error *err);
/* As the settings say; on a CPU settings->isa narrows the choice (RH_EVALUE: unknown name). */
rh_status rh_backend_for(rh_backend **out, const rh_settings *settings, rh_error *err);
/* settings->note is told that RH_DEVICE_AUTO takes the CPU, and why no GPU. */
void rh_backend_note(const rh_settings *settings, const rh_error *why);
void rh_backend_free(rh_backend *be);

/* As the CPU's op `limits` does it, about 0.5 s. */
rh_status rh_measure_machine(rh_machine_limits *out, int threads, rh_error *err);

#endif
