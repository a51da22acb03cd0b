/* gguf_write.h - writing a vector as a GGUF control vector (FORMATS: general.architecture
 * "controlvector", tensors direction.N, 1-D F32, added to the output of block N). */
#ifndef RH_ENGINE_GGUF_WRITE_H
#define RH_ENGINE_GGUF_WRITE_H

#include "base/error.h"

/* v: at resid_post, layers >= 1; the caller checks. metadata goes into key `rhumb`; it and
 * model_hint may be NULL. Atomic. */
rh_status rh_gguf_write_vector(const char *path, const rh_vector *v, const char *metadata,
                               const char *model_hint, rh_error *err);

#endif
