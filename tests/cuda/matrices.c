#include "cuda/matrices.h"

#include <stdlib.h>

#include "cuda/device.h"
#include "kernels/cuda/layout.h"
#include "kernels/help.h"

rh_cuda_matrix device_matrix(rh_dtype t, const uint8_t *data, int32_t rows, int32_t cols)
{
    rh_cuda_matrix m = rh_cuda_matrix_of(t, rows, cols);
    const size_t bytes = (size_t)m.row_bytes;
    uint8_t *packed = must_malloc((size_t)rows * bytes);
    for (int32_t r = 0; r < rows; r++) rh_cuda_pack_row(packed + (size_t)r * bytes, data + (size_t)r * rh_row_bytes(t, cols), &m);
    m.data = device_of(packed, (size_t)rows * bytes);
    free(packed);
    return m;
}
