/* layout.h - a matrix as kernels.h has it, from the rows of a file: sizes, and the packing of one row. Host only. */
#ifndef RH_KERNELS_CUDA_LAYOUT_H
#define RH_KERNELS_CUDA_LAYOUT_H

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All but the data, which is NULL. cols a multiple of the type's block. */
rh_cuda_matrix rh_cuda_matrix_of(rh_dtype t, int32_t rows, int32_t cols);
/* dst [m->row_bytes], wholly written, from a row as files have it. */
void rh_cuda_pack_row(uint8_t *dst, const uint8_t *row, const rh_cuda_matrix *m);

#ifdef __cplusplus
}
#endif
#endif
