/* nf4.h - matrices that bitsandbytes quantised to NF4, as safetensors checkpoints hold them.
 *
 * Beside NAME, U8 [rows*cols/2, 1], stand NAME.absmax, NAME.quant_map and the JSON text
 * NAME.quant_state.bitsandbytes__nf4; absmax that was quantised too ("double quantisation") is U8
 * and has NAME.nested_absmax and NAME.nested_quant_map. Element i of the flat matrix is
 *   value(code i) * absmax[i / block],   absmax[b] = map[u8 b] * nested_absmax[b / nested_block] + offset
 * with the high nibble of a byte first. Knows the format only; threads and memory are made.h's. */
#ifndef RH_ENGINE_NF4_H
#define RH_ENGINE_NF4_H

#include "engine/files/safetensors.h"

typedef struct rh_nf4 {
    const rh_tensor *codes, *absmax;
    const rh_tensor *nested_absmax, *nested_map; /* NULL: absmax is F32 */
    float nested_offset;
    int64_t rows, cols;
    int64_t block, nested_block;
} rh_nf4;

/* What a checkpoint says of the way a tensor is quantised, in the tensor's name after the matrix's own. */
#define RH_NF4_STATE ".quant_state.bitsandbytes__nf4"
#define RH_FP4_STATE ".quant_state.bitsandbytes__fp4"

/* The matrix `name`, all its parts found and of the sizes they must have. */
rh_status rh_nf4_find(rh_nf4 *out, const rh_safetensors *s, const char *name, rh_error *err);

/* RH_NF4 where no block reaches from one row into the next, else RH_F32. */
rh_dtype rh_nf4_dtype(const rh_nf4 *q);
/* One row as that type: out of rh_row_bytes(rh_nf4_dtype(q), cols). */
void rh_nf4_row(uint8_t *out, const rh_nf4 *q, int64_t row);

#endif
