/* switches.h - which features came on and which went off between two encodings of the same tokens. Knows active sets;
 * no model and no SAE. */
#ifndef RH_PROBES_SWITCHES_H
#define RH_PROBES_SWITCHES_H

#include "engine/sae.h"
#include "probes/report.h"

typedef struct rh_switch {
    int32_t tokens;      /* active in one encoding and not in the other */
    float most;          /* the largest of the activations there */
    double sum;          /* of them: what features are ranked by */
} rh_switch;

/* Over d_sae features. Owner: rh_switches_free. */
typedef struct rh_switches {
    int32_t d_sae;
    int64_t tokens;              /* compared so far */
    int64_t active[2];           /* features active before, after; summed over tokens */
    rh_switch *on, *off;         /* [d_sae] */
} rh_switches;

rh_status rh_switches_new(rh_switches *out, int32_t d_sae, rh_error *err);
void rh_switches_free(rh_switches *s);
/* Rows first .. of both, which are encodings of the same tokens. */
void rh_switches_add(rh_switches *s, const rh_sae_active *before, const rh_sae_active *after, int32_t first);
/* The same of states as they are, before and after [n, d_in], by way of the SAE's coder; s is made here. */
rh_status rh_switches_between(rh_switches *out, rh_sae_coder *coder, int32_t d_sae, const float *before, const float *after, int32_t n,
                              int32_t first, rh_error *err);
/* The `top` features with the largest sums, best first, without labels; *n_out of them, *total that have any. Caller
 * frees. */
rh_status rh_switches_rank(rh_feature_switch **out, int32_t *n_out, int32_t *total, const rh_switch *of, int32_t d_sae,
                           int32_t top, rh_error *err);

#endif
