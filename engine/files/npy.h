/* npy.h - numpy's .npy, versions 1-3: little-endian f2/f4/f8, C or Fortran order, 1-D and 2-D.
 * Source: numpy.lib.format. */
#ifndef RH_ENGINE_NPY_H
#define RH_ENGINE_NPY_H

#include "base/error.h"

/* data [shape[0], shape[1]] float32, malloc'd; n_dims 1 or 2 (shape[1] = 1 for 1-D). */
rh_status rh_npy_read(float **data, int *n_dims, int64_t shape[2], const char *path, rh_error *err);
rh_status rh_npy_write(const char *path, const float *data, int n_dims, const int64_t shape[2],
                       rh_error *err); /* atomic */

#endif
