/* weights.h - finding a model's tensors in either container, checking them against the
 * config, and handing them to the backend. */
#ifndef RH_ENGINE_WEIGHTS_H
#define RH_ENGINE_WEIGHTS_H

#include "engine/families.h"

/* layer -1 for the roles outside layers. NULL if absent. */
const rh_tensor *rh_model_tensor(const rh_model *m, const rh_family *f, rh_role role, int32_t layer);

/* All tensors are there with the shapes the config says and of types Rhumb computes with. Also
 * sets m->config.tied, n_params and weight_bytes. */
rh_status rh_weights_check(rh_model *m, const rh_family *f, rh_error *err);

/* The layers' matrices that are floats will be quantised to `type`, "nf4" or "q8". Before rh_weights_check. */
rh_status rh_weights_quantize(rh_model *m, const rh_family *f, const char *type, rh_error *err);

/* A norm's gain as applied (1+w where the container stores w), a bias in the order of its matrix' rows, or
 * rope's factors. The caller frees it. Needs rh_weights_check first. */
rh_status rh_weights_vector(float **out, const rh_model *m, const rh_family *f, rh_role role, int32_t layer, rh_error *err);

/* What they take of a device's memory (plan_memory.h); floats_as: if the layers' float matrices were of this type. */
int64_t rh_weights_bytes(const rh_model *m, const rh_family *f, rh_dtype floats_as);

/* Upload everything; needs rh_weights_check first. Progress counts layers. */
rh_status rh_weights_upload(rh_model *m, const rh_family *f, const rh_settings *settings, rh_error *err);

/* SHA-256 over the config and sampled bytes of every tensor in order of role and layer: equal
 * for the same weights in any folder. */
rh_status rh_weights_fingerprint(rh_model *m, const rh_family *f, rh_error *err);

#endif
