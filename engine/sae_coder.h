/* sae_coder.h - inside of the coder: what encoding's two halves share. Private to engine/sae_*.c. */
#ifndef RH_ENGINE_SAE_CODER_H
#define RH_ENGINE_SAE_CODER_H

#include "base/best.h"
#include "engine/sae_internal.h"

/* W_enc laid out for the products of one backend: made once, and shared by all coders of an SAE there. */
typedef struct rh_sae_layout {
    rh_backend *be;
    int users;
    rh_weight *encoder;
    rh_screen *screen;
    float *base, *gain;     /* [d_sae] levels (rh_screen_level); gain of topk alone, else NULL */
    rh_weight *sample;      /* some rows of W_enc: where topk guesses how large the k-th will be */
    int32_t *sampled;       /* [n_sampled] */
    int32_t n_sampled, rank; /* the guess is this one of theirs, counted from the largest, 1 on */
    struct rh_sae_layout *next;
} rh_sae_layout;
/* sae_layout.c. take: the one of this backend, empty if nobody has it; what it holds goes when the last gives it back. */
rh_status rh_sae_layout_take(rh_sae_layout **out, const rh_sae *s, rh_backend *be, rh_error *err);
void rh_sae_layout_give_back(rh_sae_layout *l, const rh_sae *s); /* NULL is fine */
rh_status rh_sae_layout_screen(rh_sae_layout *l, const rh_sae *s, rh_error *err);  /* all but encoder is there afterwards */
rh_status rh_sae_layout_encoder(rh_sae_layout *l, const rh_sae *s, rh_error *err);

/* Which of a row's products are its k largest: those not worse than the least, or all; enough: unless the screen kept
 * some back. */
typedef struct rh_topk_cut { rh_best least; bool all, enough; } rh_topk_cut;

struct rh_sae_coder {
    const rh_sae *s;
    rh_backend *be;
    rh_buf *x;              /* [block, d_in] */
    float *rows;            /* [block, d_in] normalised */
    int32_t block;

    rh_sae_layout *layout;  /* NULL before the first encode */
    bool full, screened;    /* which ways are ready; full: every product, of a small SAE, and of rows that the screen cannot serve */
    rh_buf *p;
    float *pre;             /* [pre_rows, d_sae] */
    int32_t pre_rows;

    float *floor, *lowered; /* [block] of topk; and a little less */
    rh_buf *g;
    float *guesses;         /* [block, n_sampled] */
    bool all;               /* no screen */

    rh_weight *skip;
    rh_buf *y;              /* [block, d_out] */
    float *skipped;         /* [block, d_out] */
    float *row;             /* [d_out] of W_dec */
    double *sum;            /* [d_out] */
    rh_best *best;          /* [threads][heap]: heaps, the least on top */
    int32_t heap;           /* k, or layout->rank if that is more */
    rh_topk_cut *cuts;      /* [block] of topk through the screen, or NULL */
};

/* Filling a set, row by row: begin before a row's first feature, a->n++ after its last. */
rh_status rh_sae_active_rows(rh_sae_active *a, int32_t n, rh_error *err);
rh_status rh_sae_active_add(rh_sae_active *a, int32_t i, float value, rh_error *err);
static inline void rh_sae_active_begin(rh_sae_active *a) { a->start[a->n + 1] = a->start[a->n]; }

/* sae_encode.c: c->rows [n, d_in] encoded; what that needs is made when it is first needed. */
void rh_sae_encoder_free(rh_sae_coder *c);
rh_status rh_sae_encode_rows(rh_sae_active *a, rh_sae_coder *c, int32_t n, rh_error *err);

/* out [n, d_out] = x [n, d_in] @ w^T by way of c->x and to. */
rh_status rh_sae_product(rh_sae_coder *c, const rh_weight *w, rh_buf *to, float *out, const float *x, int32_t n, int32_t d_in,
                         int32_t d_out, rh_error *err);

#endif
