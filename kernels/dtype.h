/* dtype.h - the storage types of tensors and how a row of each becomes float32.
 * The one place that knows block layouts of files; nothing here knows a processor. */
#ifndef RH_KERNELS_DTYPE_H
#define RH_KERNELS_DTYPE_H

#include "base/error.h"

typedef enum rh_dtype {
    RH_F32 = 0, RH_F16, RH_BF16,
    RH_Q4_0, RH_Q4_1, RH_Q5_0, RH_Q5_1, RH_Q8_0, RH_Q4_K, RH_Q5_K, RH_Q6_K,
    RH_NF4, /* in memory only: how bitsandbytes' NF4 is kept (engine/nf4.h) */
    RH_Q2_K, RH_Q3_K, RH_IQ4_NL, RH_IQ4_XS, RH_MXFP4,
    RH_N_DTYPES,
    RH_DTYPE_NONE = -1
} rh_dtype;

typedef struct rh_dtype_info {
    const char *name;   /* "Q4_K" */
    int block;          /* elements a block: 1, 32, 64 or 256 */
    int bytes;          /* bytes a block */
    int ggml_type;      /* its number in GGUF files; -1: none */
} rh_dtype_info;

const rh_dtype_info *rh_dtype_get(rh_dtype t);
rh_dtype rh_dtype_from_ggml(uint32_t ggml_type); /* RH_DTYPE_NONE if unknown */
/* Name of any ggml type number, known to Rhumb or not, for messages: "IQ2_XS", "type 77". */
const char *rh_ggml_type_name(uint32_t ggml_type, char buffer[32]);

/* Bytes of a row of n elements; 0 if n is not a multiple of the block. */
size_t rh_row_bytes(rh_dtype t, int64_t n);

/* out [n] = the row's values as float32, exactly (bit for bit what ggml's dequantisation
 * gives). src need not be aligned. n a multiple of the block. */
void rh_dequantize_row(float *out, const void *src, rh_dtype t, int64_t n);

/* The way back, for the types that weights can be quantised to while they are loaded: Q8_0 as ggml
 * and NF4 as bitsandbytes does it. n a multiple of the block; x finite. */
bool rh_can_quantize(rh_dtype t);
void rh_quantize_row(uint8_t *out, const float *x, rh_dtype t, int64_t n);

/* The 16 values of an NF4 code, ascending: quantiles of a normal distribution, 0 and +-1 among them. */
extern const float rh_nf4_values[16];
/* Those of IQ4_NL and IQ4_XS, and twice those of FP4 (so that all are whole): sign, 2 bits of exponent, 1 of
 * mantissa. */
extern const int8_t rh_iq4_values[16], rh_mxfp4_values[16];

float rh_f16_to_f32(uint16_t h);
uint16_t rh_f32_to_f16(float f); /* round to nearest even */
static inline float rh_bf16_to_f32(uint16_t b)
{
    union { uint32_t u; float f; } x = { (uint32_t)b << 16 };
    return x.f;
}
uint16_t rh_f32_to_bf16(float f); /* round to nearest even, NaN kept */

/* Sub-block j < 8 of the packed 6-bit scales and mins of Q4_K and Q5_K. */
static inline void rh_k_scale_min(const uint8_t s[12], int j, uint8_t *sc, uint8_t *mn)
{
    *sc = (uint8_t)(j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4);
    *mn = (uint8_t)(j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4);
}

#endif
