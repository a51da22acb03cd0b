/* npy.h - numpy's .npy, versions 1-3: little-endian f2/f4/f8, C or Fortran order, 1-D and 2-D.
 * Source: numpy.lib.format. */
#ifndef RH_ENGINE_NPY_H
#define RH_ENGINE_NPY_H

#include "base/error.h"

typedef struct rh_npy_info {
    int width;         /* bytes a float: 2, 4 or 8 */
    bool fortran;      /* the first index runs fastest */
    int n_dims;        /* 1 or 2 */
    int64_t shape[2];  /* shape[1] = 1 for 1-D */
    size_t start;      /* where the items begin */
} rh_npy_info;

/* The header alone, from the first n bytes of an array of `total` bytes; whether the items fit the
 * shape is checked against total. path is for messages. */
rh_status rh_npy_header(rh_npy_info *out, const uint8_t *bytes, size_t n, size_t total, const char *path,
                        rh_error *err);

/* data [shape[0], shape[1]] float32, malloc'd; n_dims 1 or 2 (shape[1] = 1 for 1-D). */
rh_status rh_npy_read(float **data, int *n_dims, int64_t shape[2], const char *path, rh_error *err);
rh_status rh_npy_write(const char *path, const float *data, int n_dims, const int64_t shape[2],
                       rh_error *err); /* atomic */

#endif
