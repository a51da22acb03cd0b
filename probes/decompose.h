/* decompose.h - a vector as a sparse sum of an SAE's decoder rows, by orthogonal matching pursuit: the row
 * nearest to what is left is added, and all coefficients are fitted again. Each step reads W_dec once. */
#ifndef RH_PROBES_DECOMPOSE_H
#define RH_PROBES_DECOMPOSE_H

#include "engine/sae.h"

typedef struct rh_decomposition {
    int32_t n;            /* steps taken: fewer than asked for if nothing is left, or nothing helps */
    int32_t *feature;     /* [n] in the order they were chosen */
    double *coefficient;  /* [n] of W_dec's rows as stored, after the last step; 0: it became needless */
    double *residual;     /* [n] ‖v - sum‖ after each step */
    double norm;          /* ‖v‖ */
} rh_decomposition;

/* v [d_out], not zero; k steps at most. sign: coefficients may be negative. */
rh_status rh_decompose(rh_decomposition *out, const rh_sae *s, const float *v, int32_t k, bool sign,
                       const rh_settings *settings, rh_error *err);
void rh_decomposition_free(rh_decomposition *d);

#endif
