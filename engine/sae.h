/* sae.h - sparse autoencoders and transcoders: files of four publishers become one thing that encodes
 * and decodes. Knows files and kernels/ops.h; not a model, nor how activations come about.
 *
 * With x a row at the SAE's hook, n() its normalisation and ° only where the file says so:
 *     p = (n(x) - b_dec°) W_enc + b_enc
 *     standard  f = relu(p)                      topk   f = relu(the k largest of p·‖W_dec‖°)
 *     jumprelu  f = relu(p) where p > threshold  gated  f = relu((p - b_enc) e^r_mag + b_mag) where p > 0
 *     recon = n⁻¹((f/‖W_dec‖°) W_dec + b_dec) + x W_skip°
 * Sources: SAELens, Gemma Scope, Gemma Scope 2, EleutherAI's Sparsify. */
#ifndef RH_ENGINE_SAE_H
#define RH_ENGINE_SAE_H

#include "base/error.h"
#include "kernels/ops.h"

typedef enum rh_sae_format { RH_SAE_GEMMA_SCOPE = 0, RH_SAE_GEMMA_SCOPE_2, RH_SAE_SAELENS, RH_SAE_SPARSIFY } rh_sae_format;
typedef enum rh_sae_kind { RH_SAE_STANDARD = 0, RH_SAE_TOPK, RH_SAE_JUMPRELU, RH_SAE_GATED } rh_sae_kind;
typedef enum rh_sae_norm {
    RH_SAE_NORM_NONE = 0,
    RH_SAE_NORM_CONSTANT, /* constant_norm_rescale: x √d/‖x‖ */
    RH_SAE_NORM_LAYER     /* layer_norm: (x - μ)/(s + 1e-5), s over d - 1 */
} rh_sae_norm;

const char *rh_sae_format_name(rh_sae_format f); /* "Gemma Scope", … */
const char *rh_sae_kind_name(rh_sae_kind k);     /* "jumprelu", as SAELens spells it */
const char *rh_sae_norm_name(rh_sae_norm n);     /* "layer_norm" */

typedef struct rh_sae_facts {
    rh_sae_format format;
    rh_sae_kind kind;
    rh_sae_norm norm;
    int32_t d_in, d_out, d_sae;
    int32_t k;              /* topk, else 0 */
    bool subtract_b_dec;    /* from the input */
    bool rescale;           /* activations are in units of ‖W_dec[i]‖ */
    bool transcoder, skip;  /* skip: an affine map beside the features */
    bool has_threshold;
    rh_dtype dtype;         /* of W_dec as stored */
    int32_t layer;          /* -1: neither the file nor its path says */
    bool hook_known, hook_out_known;
    rh_hook hook, hook_out; /* hook_out is another one only in transcoders */
    const char *hook_name;  /* as the file spells it; "" if it does not */
    const char *model;      /* "gemma-2-9b-it"; "" if nobody says */
    int prepend_bos;        /* -1: not said */
    size_t mapped, owned;   /* bytes of weights: read in place, and held in memory */
    size_t matrix_bytes, encode_bytes; /* of all matrices; and held in memory when opened for RH_SAE_ENCODE */
} rh_sae_facts;

typedef struct rh_sae rh_sae; /* owner: rh_sae_free. Immutable, for any number of threads */

/* What it will be used for. */
typedef enum rh_sae_use {
    RH_SAE_FACTS = 0, /* shapes and names; no weight is read */
    RH_SAE_ROWS,      /* rows, biases, thresholds */
    RH_SAE_ENCODE     /* W_enc laid out for products too: [d_sae, d_in], in memory unless the file has it so */
} rh_sae_use;

/* path: params.npz, a .safetensors, a cfg.json or config.json, or the folder of one. RH_EIO: a file is
 * missing. RH_EFORMAT: a tensor is missing, of a wrong shape, or not finite (named). RH_EUNSUPPORTED: an
 * architecture, normalisation or storage type that is not known (named). */
rh_status rh_sae_open(rh_sae **out, const char *path, rh_sae_use use, rh_error *err);
/* One that was never a file: everything is copied. It can encode, decode and be written. RH_EVALUE: a weight is not finite. */
typedef struct rh_sae_parts {
    rh_sae_kind kind;              /* standard, topk (k) or jumprelu (threshold) */
    int32_t d, d_sae, k;
    const float *encoder, *decoder; /* [d_sae, d] */
    const float *b_enc, *b_dec;     /* [d_sae], [d]; b_dec is subtracted from the input */
    const float *threshold;         /* [d_sae] or NULL */
    int32_t layer;
    rh_hook hook;
    const char *model, *name;       /* name: for messages */
    bool prepend_bos;
} rh_sae_parts;
rh_status rh_sae_from_parts(rh_sae **out, const rh_sae_parts *p, rh_error *err);
void rh_sae_free(rh_sae *s);
const rh_sae_facts *rh_sae_about(const rh_sae *s);
rh_sae_use rh_sae_opened_for(const rh_sae *s);
const char *rh_sae_path(const rh_sae *s); /* of the weights */
rh_status rh_sae_check(const rh_sae *s, rh_error *err); /* RH_EIO: the file changed while it is open */

/* RH_EVALUE, with the range, if there is no feature i. */
rh_status rh_sae_check_feature(const rh_sae *s, int64_t i, rh_error *err);
/* Row i as stored, float32: out [d_out], out [d_in]. Opened for RH_SAE_ROWS or more; i in range.
 * RH_EFORMAT: the row is not finite. */
rh_status rh_sae_decoder_row(float *out, const rh_sae *s, int32_t i, rh_error *err);
rh_status rh_sae_encoder_row(float *out, const rh_sae *s, int32_t i, rh_error *err);
float rh_sae_bias(const rh_sae *s, int32_t i);      /* b_enc; of a gated one b_gate */
float rh_sae_threshold(const rh_sae *s, int32_t i); /* 0 without one */
const float *rh_sae_b_dec(const rh_sae *s);         /* [d_out] */

/* Active features of n rows: row t has index and value [start[t] .. start[t+1]), indices ascending,
 * values above 0. Zero to start; rh_sae_active_free. */
typedef struct rh_sae_active {
    int32_t n;
    size_t *start;  /* [n+1] */
    int32_t *index;
    float *value;
    size_t capacity;
} rh_sae_active;
void rh_sae_active_free(rh_sae_active *a);
/* From dense f [n, d_sae]: whatever is not 0. RH_EVALUE: a value is not finite. */
rh_status rh_sae_active_from(rh_sae_active *out, const float *f, int32_t n, int32_t d_sae, rh_error *err);
void rh_sae_active_dense(float *f, const rh_sae_active *a, int32_t first, int32_t n, int32_t d_sae); /* rows first .. */

/* One thread's way through an SAE that was opened for RH_SAE_ENCODE; borrows it and the backend. W_enc as the backend wants it is
 * made at the first encode and shared with the other coders of the SAE that are there: a second one costs its buffers. */
typedef struct rh_sae_coder rh_sae_coder; /* owner: rh_sae_coder_free */
rh_status rh_sae_coder_new(rh_sae_coder **out, const rh_sae *s, rh_backend *be, rh_error *err);
void rh_sae_coder_free(rh_sae_coder *c);

/* A large SAE's products are not all computed: codes of a byte, made at the first encode, rule most of them out.
 * What is active is the same to the bit; after this every product is computed, for a check or a comparison. */
void rh_sae_coder_compute_all(rh_sae_coder *c);

/* x [n, d_in], float32 throughout. RH_EVALUE: a row is not finite, or cannot be normalised. */
rh_status rh_sae_encode(rh_sae_active *out, rh_sae_coder *c, const float *x, int32_t n, rh_error *err);
/* recon [f->n, d_out], summed in double. x [f->n, d_in] is what was encoded: needed where
 * rh_sae_decode_needs_x, else NULL is fine; recon may be x where both are as wide. */
bool rh_sae_decode_needs_x(const rh_sae *s);
rh_status rh_sae_decode(float *recon, rh_sae_coder *c, const rh_sae_active *f, const float *x, rh_error *err);

/* A feature and how its row lies to a vector. */
typedef struct rh_sae_match { int32_t index; double cosine, norm; } rh_sae_match; /* norm: of the row */

/* The n_top rows of W_dec (or, encoder, of W_enc) nearest to v by cosine, the nearest first; as many as there are
 * features, if that is less; *n_out says how many. v [d_out] or [d_in], finite, not zero. The matrix is read once,
 * in float32, by the backend; what is kept is computed again in double. sign: by |cosine|. */
rh_status rh_sae_near(rh_sae_match *out, int32_t *n_out, const rh_sae *s, bool encoder, const float *v, int32_t n_top,
                      bool sign, rh_backend *be, rh_error *err);

/* Saved as SAELens does, in float32: path is a folder (cfg.json and sae_weights.safetensors are written
 * there), or a .safetensors file that holds the configuration too. Atomic, file by file.
 * RH_EUNSUPPORTED: SAELens has no such architecture. */
rh_status rh_sae_write(const char *path, const rh_sae *s, rh_error *err);

#endif
