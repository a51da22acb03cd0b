/* sae_product.h - the dense product of a training, by the backend: in float32, or in bf16 for processors that multiply
 * that faster. Which features are active is then decided with an error of 2⁻⁸ of a pre-activation; how active they are,
 * and every gradient, is float32 as ever. For probes/ alone. */
#ifndef RH_PROBES_SAE_PRODUCT_H
#define RH_PROBES_SAE_PRODUCT_H

#include "kernels/ops.h"

typedef struct rh_sae_product rh_sae_product; /* owner: rh_sae_product_free */

rh_status rh_sae_product_new(rh_sae_product **out, rh_backend *be, int32_t d, int32_t m, bool bf16, rh_error *err);
void rh_sae_product_free(rh_sae_product *p);
/* An rh_dictionary_product; data: the rh_sae_product. */
rh_status rh_sae_product_run(void *data, float *out, const float *x, int32_t n, const float *encoder, rh_error *err);

#endif
