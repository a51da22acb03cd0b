/* vectorfile.h - a saved rh_vector: safetensors with Rhumb's metadata, GGUF control vectors,
 * npy. DESIGN §5. Knows files and rh_vector; the metadata's JSON is made in concepts/. */
#ifndef RH_ENGINE_VECTORFILE_H
#define RH_ENGINE_VECTORFILE_H

#include "base/error.h"

typedef struct rh_vectorfile {
    rh_vector *vector;   /* owned */
    char *metadata;      /* the JSON text of key `rhumb`, or NULL; owned */
    char *model_hint;    /* GGUF: controlvector.model_hint, or NULL; owned */
} rh_vectorfile;

/* By extension: .safetensors, .gguf, .npy. tensor_name (may be NULL) picks one tensor.
 * safetensors: tensors direction.L, or one `direction` (a constant); the hook is read from the metadata, else resid_post.
 * GGUF: direction.N is layer N (llama.cpp adds it to block N's output), duplicates summed;
 * direction.0 is refused, as there. A tensor picked by another name is a constant.
 * npy: [d] is a constant (layers {-1}); [n, d] is refused with a hint.
 * Other tensor names in a safetensors with no direction.L: RH_EFORMAT listing some. A value
 * that is NaN or infinite is RH_EFORMAT, naming the tensor. */
rh_status rh_vectorfile_read(rh_vectorfile *out, const char *path, const char *tensor_name,
                             rh_error *err);
void rh_vectorfile_free(rh_vectorfile *f);

/* By extension. GGUF: layer 0, a hook other than resid_post, and a constant are RH_ESITE;
 * model_hint may be NULL. npy: one layer -> [d]; several are RH_ESITE. Atomic.
 * RH_EVALUE: a value is not finite, or the metadata name another hook than the vector's. */
rh_status rh_vectorfile_write(const char *path, const rh_vector *v, const char *metadata,
                              const char *model_hint, int32_t n_model_layers, rh_error *err);

#endif
