#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/dtype.h"

static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most;
}

/* d is rounded to f16 after the codes are chosen, as ggml does. */
static void block_q8_0(uint8_t *out, const float *x)
{
    const float d = largest(x, 32) / 127, inv = d > 0 ? 1 / d : 0;
    const uint16_t half = rh_f32_to_f16(d);
    memcpy(out, &half, sizeof half);
    for (int i = 0; i < 32; i++) out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inv);
}

/* The nearest value is the one above as many midpoints; of two equally near, the lower. */
static void block_nf4(uint8_t *out, const float *x)
{
    const float d = largest(x, 64), inv = d > 0 ? 1 / d : 0;
    int32_t code[64] = {0};
    for (int k = 0; k < 15; k++) {
        const float middle = (rh_nf4_values[k] + rh_nf4_values[k + 1]) / 2;
        for (int i = 0; i < 64; i++) code[i] += x[i] * inv > middle;
    }
    memcpy(out, &d, sizeof d);
    for (int i = 0; i < 32; i++) out[4 + i] = (uint8_t)(code[i] | code[i + 32] << 4);
}

bool rh_can_quantize(rh_dtype t) { return t == RH_Q8_0 || t == RH_NF4; }

void rh_quantize_row(uint8_t *out, const float *x, rh_dtype t, int64_t n)
{
    assert(rh_can_quantize(t) && n % rh_dtype_get(t)->block == 0);
    const rh_dtype_info *info = rh_dtype_get(t);
    for (int64_t i = 0; i < n; i += info->block, out += info->bytes) {
        if (t == RH_Q8_0) block_q8_0(out, x + i);
        else block_nf4(out, x + i);
    }
}
