#include "kernels/dequantize.inc"

#include <assert.h>
#include <stdio.h>

static const rh_dtype_info types[RH_N_DTYPES] = {
    [RH_F32] = { "F32", 1, 4, 0 },       [RH_F16] = { "F16", 1, 2, 1 },
    [RH_BF16] = { "BF16", 1, 2, 30 },    [RH_Q4_0] = { "Q4_0", 32, 18, 2 },
    [RH_Q4_1] = { "Q4_1", 32, 20, 3 },   [RH_Q5_0] = { "Q5_0", 32, 22, 6 },
    [RH_Q5_1] = { "Q5_1", 32, 24, 7 },   [RH_Q8_0] = { "Q8_0", 32, 34, 8 },
    [RH_Q4_K] = { "Q4_K", 256, 144, 12 }, [RH_Q5_K] = { "Q5_K", 256, 176, 13 },
    [RH_Q6_K] = { "Q6_K", 256, 210, 14 }, [RH_NF4] = { "NF4", 64, 36, -1 },
    [RH_Q2_K] = { "Q2_K", 256, 84, 10 },  [RH_Q3_K] = { "Q3_K", 256, 110, 11 },
    [RH_IQ4_NL] = { "IQ4_NL", 32, 18, 20 }, [RH_IQ4_XS] = { "IQ4_XS", 256, 136, 23 },
    [RH_MXFP4] = { "MXFP4", 32, 17, 39 },
};

/* Names by ggml's numbers; the gaps are numbers that ggml has withdrawn. */
static const char *const ggml_names[] = {
    [0] = "F32",     [1] = "F16",      [2] = "Q4_0",   [3] = "Q4_1",      [6] = "Q5_0",
    [7] = "Q5_1",    [8] = "Q8_0",     [9] = "Q8_1",   [10] = "Q2_K",     [11] = "Q3_K",
    [12] = "Q4_K",   [13] = "Q5_K",    [14] = "Q6_K",  [15] = "Q8_K",     [16] = "IQ2_XXS",
    [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL",   [21] = "IQ3_S",
    [22] = "IQ2_S",  [23] = "IQ4_XS",  [24] = "I8",    [25] = "I16",      [26] = "I32",
    [27] = "I64",    [28] = "F64",     [29] = "IQ1_M", [30] = "BF16",     [34] = "TQ1_0",
    [35] = "TQ2_0",  [39] = "MXFP4",
};

const float rh_nf4_values[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
    0.7229568362236023f, 1.0f,
};

const int8_t rh_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
const int8_t rh_mxfp4_values[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

const rh_dtype_info *rh_dtype_get(rh_dtype t)
{
    return (int)t >= 0 && (int)t < RH_N_DTYPES ? &types[t] : NULL;
}

rh_dtype rh_dtype_from_ggml(uint32_t ggml_type)
{
    for (int t = 0; t < RH_N_DTYPES; t++)
        if (types[t].ggml_type >= 0 && (uint32_t)types[t].ggml_type == ggml_type) return (rh_dtype)t;
    return RH_DTYPE_NONE;
}

const char *rh_ggml_type_name(uint32_t ggml_type, char buffer[32])
{
    size_t n = sizeof ggml_names / sizeof *ggml_names;
    const char *name = ggml_type < n ? ggml_names[ggml_type] : NULL;
    if (name) snprintf(buffer, 32, "%s", name);
    else snprintf(buffer, 32, "type %lu", (unsigned long)ggml_type);
    return buffer;
}

size_t rh_row_bytes(rh_dtype t, int64_t n)
{
    const rh_dtype_info *info = rh_dtype_get(t);
    if (!info || n < 0 || n % info->block) return 0;
    uint64_t blocks = (uint64_t)n / (uint64_t)info->block;
    if (blocks > SIZE_MAX / (size_t)info->bytes) return 0;
    return (size_t)blocks * (size_t)info->bytes;
}

void rh_dequantize_row(float *out, const void *src, rh_dtype t, int64_t n)
{
    assert(rh_dtype_get(t) && n % types[t].block == 0);
    dequantize_row(out, src, t, n);
}

/* IEEE 754 half: sign, 5 bits of exponent (bias 15), 10 of mantissa. */
float rh_f16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } x;
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) {
        x.u = sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0); /* NaN: quiet */
    } else if (exponent) {
        x.u = sign | (exponent + 112) << 23 | mantissa << 13;
    } else { /* zero or subnormal: mantissa * 2^-24, exact in float */
        x.f = (float)mantissa * 5.9604644775390625e-8f;
        x.u |= sign;
    }
    return x.f;
}

uint16_t rh_f32_to_f16(float f)
{
    union { float f; uint32_t u; } x = { f };
    uint32_t sign = x.u >> 16 & 0x8000, a = x.u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff)); /* NaN */
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and more: infinity */
    if (a < 0x38800000) { /* below 2^-14: the result counts in 2^-24; 0.5 aligns the bits */
        union { uint32_t u; float f; } y;
        y.u = a;
        y.f += 0.5f;
        return (uint16_t)(sign | (y.u - 0x3f000000));
    }
    uint32_t rounded = a + 0xfff + (a >> 13 & 1); /* ties to even; a carry moves the exponent */
    return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

uint16_t rh_f32_to_bf16(float f)
{
    union { float f; uint32_t u; } x = { f };
    if ((x.u & 0x7fffffff) > 0x7f800000) return (uint16_t)(x.u >> 16 | 0x40);
    return (uint16_t)((x.u + 0x7fff + (x.u >> 16 & 1)) >> 16);
}
