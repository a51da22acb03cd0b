/* sae_action.h - what actions do to hidden states through an autoencoder. Rows in host memory: a backend without
 * operations of its own for this downloads them and uploads what comes back. Knows SAEs; no session, no site.
 *
 * With f_i(x) the activation of feature i after any top-k, and n⁻¹ and ° as in sae.h:
 *     clamp    h += n⁻¹'((a - f_i(x)) W_dec[i]/‖W_dec[i]‖°)   n⁻¹' is the linear part of n⁻¹: what the SAE does not
 *                                                              explain of h stays as it is
 *     splice   h  = recon(x)                                   or zero */
#ifndef RH_ENGINE_SAE_ACTION_H
#define RH_ENGINE_SAE_ACTION_H

#include "engine/sae.h"

/* One session's way of acting through one SAE; borrows both. */
typedef struct rh_sae_actor rh_sae_actor; /* owner: rh_sae_actor_free */
rh_status rh_sae_actor_new(rh_sae_actor **out, const rh_sae *s, rh_backend *be, rh_error *err);
void rh_sae_actor_free(rh_sae_actor *a);

/* h [n, d_out] is changed; x [n, d_in] is what the SAE reads, and may be h. A top-k SAE must be opened for
 * RH_SAE_ENCODE, of the others one feature's rows are read (RH_SAE_ROWS). RH_EVALUE: a row is not finite. */
rh_status rh_sae_clamp(rh_sae_actor *a, float *h, const float *x, int32_t n, int32_t feature, float amount, rh_error *err);
/* RH_SAE_ENCODE. */
rh_status rh_sae_splice(rh_sae_actor *a, float *h, const float *x, int32_t n, rh_error *err);

/* out [n] = f_i of the rows x [n, d_in]; opened as for rh_sae_clamp. */
rh_status rh_sae_activation(float *out, rh_sae_actor *a, int32_t feature, const float *x, int32_t n, rh_error *err);

#endif
