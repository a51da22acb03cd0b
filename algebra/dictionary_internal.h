/* dictionary_internal.h - what the files of the dictionary share. Private to algebra/dictionary*.c. */
#ifndef RH_ALGEBRA_DICTIONARY_INTERNAL_H
#define RH_ALGEBRA_DICTIONARY_INTERNAL_H

#include "algebra/dictionary.h"
#include "base/best.h"

/* A parameter, and the running mean and square of its gradient (Adam). */
typedef struct rh_learnt { float *w, *m, *v; } rh_learnt;

/* A batch's entries: token t has start[t] .. start[t+1]. */
typedef struct rh_dictionary_codes {
    int32_t *start;   /* [cap_rows + 1] */
    int32_t *index;   /* [cap] feature */
    int32_t *token;   /* [cap] */
    float *value;     /* [cap] f; 0 for a feature that is only near its threshold */
    float *slope;     /* [cap] ∂loss/∂p */
    float *step;      /* [cap] jumprelu: ∂loss/∂θ, the term that holds k left out; 0 beyond the rectangle */
    uint8_t *near;    /* [cap] jumprelu: |p - θ| < bandwidth/2 */
    int32_t *first;   /* [m + 1] the same by feature: order[first[i]] .. order[first[i+1]] */
    int32_t *order;   /* [cap] tokens ascending */
    int32_t cap;
} rh_dictionary_codes;

struct rh_dictionary {
    rh_dictionary_options o;
    rh_learnt encoder, decoder;       /* [m, d] */
    rh_learnt b_enc, b_dec;           /* [m], [d] */
    rh_learnt threshold;              /* [m] ln θ; NULLs for top-k */
    float *updates;                   /* [m] Adam steps of a feature, whole */
    float *idle;                      /* [m] steps since it was active, whole */
    int64_t steps;
    /* the last batch */
    rh_dictionary_codes codes;
    int32_t cap_rows, n;
    float *x;                         /* [cap_rows, d] z - b_dec */
    float *error;                     /* [cap_rows, d] ẑ - z */
    double *square;                   /* [cap_rows] ‖error‖² */
    float *p;                         /* [block, m] */
    int32_t block;
    float *pull;                      /* [m] Σ slope */
    float *gradient;                  /* [threads, 2d] and [d] */
    rh_best *heap;                    /* [threads, k] */
};

/* dictionary.c: room for batches of n rows. */
rh_status rh_dictionary_reserve(rh_dictionary *d, int32_t n, rh_error *err);
/* dictionary_code.c: p, and from it the entries: codes.start .. codes.near but for slope and step. */
rh_status rh_dictionary_code(rh_dictionary *d, int32_t n, rh_error *err);
/* Thresholds under which these rows have k active features on average. */
rh_status rh_dictionary_place_thresholds(rh_dictionary *d, int32_t n, rh_error *err);

#endif
