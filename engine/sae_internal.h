/* sae_internal.h - what the files of the SAE share. Private to engine/sae*.c. */
#ifndef RH_ENGINE_SAE_INTERNAL_H
#define RH_ENGINE_SAE_INTERNAL_H

#include "base/json.h"
#include "engine/files/npz.h"
#include "engine/files/safetensors.h"
#include "engine/sae.h"

/* [rows, cols]; element (r, c) at r*cols + c, or, turned, at c*rows + r. */
typedef struct rh_sae_matrix {
    const char *name;   /* in the file */
    const void *data;   /* maybe unaligned; NULL before it is unpacked, or if there is none */
    void *own;          /* data, if it is not the file's */
    rh_dtype dtype;     /* F32, F16 or BF16 */
    int32_t rows, cols;
    bool turned;
    bool unpacked;      /* the file's bytes cannot be used where they are: deflated, or float64 */
} rh_sae_matrix;

/* sae_layout.c: what coders share. */
typedef struct rh_sae_layouts rh_sae_layouts;
rh_status rh_sae_layouts_new(rh_sae_layouts **out, rh_error *err);
void rh_sae_layouts_free(rh_sae_layouts *l);

struct rh_sae {
    rh_sae_facts facts;
    char *path, *model, *hook_name;
    rh_sae_use use;            /* what it was opened for */
    bool whole_heads;          /* SAELens is told that attn_z comes as [heads, head_dim] */
    rh_npz *npz;               /* one of the two, owned */
    rh_safetensors *safetensors;
    rh_sae_matrix encoder;     /* [d_sae, d_in] */
    rh_sae_matrix decoder;     /* [d_sae, d_out] */
    rh_sae_matrix skip;        /* [d_out, d_in] */
    float *b_enc, *b_dec;      /* [d_sae] (a gated one's b_gate), [d_out] */
    float *threshold;          /* [d_sae] or NULL */
    float *b_mag, *r_mag, *gain; /* [d_sae], gated: gain = e^r_mag */
    float *norms;              /* [d_sae] ‖W_dec[i]‖, if facts.rescale */
    rh_sae_layouts *layouts;   /* of coders that are there now */
};

/* sae.c: the bytes among the facts. */
/* Is feature i active where its pre-activation, bias and all, is v? Of top-k's k it still has to be one. */
static inline bool rh_sae_passes(const rh_sae *s, int32_t i, double v)
{
    return s->facts.kind == RH_SAE_JUMPRELU ? v > s->threshold[i] : v > 0;
}

void rh_sae_count_bytes(rh_sae *s);

/* sae_place.c: which files, and what their names say. */
typedef struct rh_sae_place {
    rh_sae_format format;
    char *weights, *config;    /* config NULL: there is none. Owned */
} rh_sae_place;
rh_status rh_sae_find(rh_sae_place *out, const char *path, rh_error *err);
void rh_sae_place_free(rh_sae_place *p);
/* "blocks.2.hook_resid_post", "model.layers.2.output", "layers.2": layer (-1 if none) and hook. False: no hook
 * that Rhumb has. */
bool rh_sae_site_of_name(rh_hook *hook, int32_t *layer, const char *name);
/* Fills what is not known yet in facts, and s->model, from the folders' names. */
rh_status rh_sae_site_of_path(rh_sae *s, const char *weights, rh_error *err);

/* sae_config.c: facts from the configuration; d_in and d_sae are 0 if it does not say. */
rh_status rh_sae_read_config(rh_sae *s, const rh_sae_place *p, rh_error *err);

/* sae_tensors.c: the container opened, tensors found and their shapes checked, weights read. */
rh_status rh_sae_open_container(rh_sae *s, const char *path, rh_error *err);
rh_status rh_sae_bind(rh_sae *s, rh_sae_use use, rh_error *err);
void rh_sae_matrix_free(rh_sae_matrix *m);

/* sae_code.c: n(x) = (x - shift)·scale, and back: y·back + shift. row: for the error. */
typedef struct rh_sae_normal { double scale, back, shift; } rh_sae_normal;
rh_status rh_sae_normal_of(rh_sae_normal *out, const rh_sae_facts *f, const float *x, int64_t row, rh_error *err);

bool rh_sae_screened(const rh_sae_facts *f); /* sae_layout.c: is it large enough for codes to pay? */

/* sae_matrix.c: rows of a matrix, whichever way it lies. */
void rh_sae_matrix_row(float *out, const rh_sae_matrix *m, int32_t r);
/* columns first .. first+n-1 as rows: out [n, rows] */
void rh_sae_matrix_columns(float *out, const rh_sae_matrix *m, int32_t first, int32_t n);
/* Lays m out as [rows, cols], in memory of its own if it was turned. RH_EFORMAT: not finite. */
rh_status rh_sae_matrix_lay_out(rh_sae_matrix *m, const char *path, rh_error *err);
bool rh_sae_finite(const float *x, size_t n);

#endif
