/* tensor.h - a named tensor in a mapped file. Borrowed: valid while its file is open. */
#ifndef RH_ENGINE_TENSOR_H
#define RH_ENGINE_TENSOR_H

#include "kernels/dtype.h"

#define RH_MAX_DIMS 4

typedef struct rh_tensor {
    const char *name;          /* NUL-terminated */
    rh_dtype dtype;            /* RH_DTYPE_NONE: one Rhumb cannot compute with (see raw_type) */
    char raw_type[16];         /* as the file says it: "I64", "IQ2_XS" */
    int32_t n_dims;
    int64_t shape[RH_MAX_DIMS]; /* slowest first, as in numpy, for GGUF too: [out, in] */
    const uint8_t *data;       /* size bytes, checked to lie in the file; maybe unaligned */
    size_t size;
    const char *path;          /* file it is in, for messages */
} rh_tensor;

#endif
