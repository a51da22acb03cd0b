#include "kernels/cuda/layout.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* Where a block's codes lie in files is dequantize.inc's; the fifth bits of Q5_K lie beside its nibbles and are codes
 * too, those of Q5_0 and Q5_1 are four bytes and go with the head. */
static const rh_cuda_layout layouts[RH_N_DTYPES] = {
    [RH_F32] = {1, 4, 0, 4},
    [RH_F16] = {1, 2, 0, 2},
    [RH_BF16] = {1, 2, 0, 2},
    [RH_Q4_0] = {32, 18, 2, 16},
    [RH_Q4_1] = {32, 20, 4, 16},
    [RH_Q5_0] = {32, 22, 6, 16},
    [RH_Q5_1] = {32, 24, 8, 16},
    [RH_Q8_0] = {32, 34, 2, 32},
    [RH_Q4_K] = {256, 144, 16, 128},
    [RH_Q5_K] = {256, 176, 16, 160},
    [RH_Q6_K] = {256, 210, 0, 192},
    [RH_NF4] = {64, 36, 4, 32},
    [RH_Q2_K] = {256, 84, 16, 64},
    [RH_Q3_K] = {256, 110, 0, 96},
    [RH_IQ4_NL] = {32, 18, 2, 16},
    [RH_IQ4_XS] = {256, 136, 8, 128},
    [RH_MXFP4] = {32, 17, 1, 16},
};

const rh_cuda_layout *rh_cuda_layout_of(rh_dtype t)
{
    assert(t >= 0 && t < RH_N_DTYPES);
    return &layouts[t];
}

rh_cuda_matrix rh_cuda_matrix_of(rh_dtype t, int32_t rows, int32_t cols)
{
    const rh_cuda_layout *l = rh_cuda_layout_of(t);
    rh_cuda_matrix m;
    assert(rows > 0 && cols > 0 && cols % l->block == 0);
    memset(&m, 0, sizeof m); /* it will stand in arguments */
    m.type = (int32_t)t;
    m.rows = rows;
    m.cols = cols;
    const size_t blocks = (size_t)(cols / l->block), codes = (size_t)l->codes, head = (size_t)(l->bytes - l->codes);
    m.heads = (int64_t)rh_round_up(blocks * codes, 16);
    m.row_bytes = m.heads + (int64_t)rh_round_up(blocks * head, 16);
    return m;
}

void rh_cuda_pack_row(uint8_t *dst, const uint8_t *row, const rh_cuda_matrix *m)
{
    const rh_cuda_layout l = *rh_cuda_layout_of((rh_dtype)m->type);
    const int32_t n = m->cols / l.block, head = l.bytes - l.codes, after = head - l.at; /* bytes of it behind the codes */
    uint8_t *codes = dst, *heads = dst + m->heads;
    if (!head) {
        memcpy(dst, row, (size_t)n * (size_t)l.codes);
        codes += (size_t)n * (size_t)l.codes;
    }
    for (int32_t b = 0; head && b < n; b++, row += l.bytes) {
        memcpy(codes, row + l.at, (size_t)l.codes);
        memcpy(heads, row, (size_t)l.at);
        memcpy(heads + l.at, row + l.at + l.codes, (size_t)after);
        codes += l.codes;
        heads += head;
    }
    memset(codes, 0, (size_t)(dst + m->heads - codes));
    if (head) memset(heads, 0, (size_t)(dst + m->row_bytes - heads));
}
