/* matrices.h - what the tests of the kernels that read weights share: a matrix in device memory. */
#ifndef RH_TESTS_CUDA_MATRICES_H
#define RH_TESTS_CUDA_MATRICES_H

#include "kernels/cuda/kernels.h"

/* [rows, cols] of t from rows as files have them. device_free((void *)m.data). */
rh_cuda_matrix device_matrix(rh_dtype t, const uint8_t *data, int32_t rows, int32_t cols);

#endif
