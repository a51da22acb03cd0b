/* Weights as numbers: bit for bit what rh_dequantize_row gives, for every type and whatever the bytes are, save that a NaN
 * need only be one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "cuda/matrices.h"
#include "kernels/help.h"

static void same(rh_dtype t, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(want[i]) ? !isnan(got[i]) : memcmp(got + i, want + i, sizeof *got))
            fail_msg("%s, value %zu of %zu: %.9g, not %.9g", rh_dtype_get(t)->name, i, n, got[i], want[i]);
}

static float *as_float(const uint16_t *x, size_t n)
{
    float *out = must_malloc(n * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = rh_bf16_to_f32(x[i]);
    return out;
}

/* Rows first .. as float32 and as bf16, and all rows, one of them twice and two that are none, as an embedding. */
static void check(rh_dtype t, const uint8_t *data, int32_t rows, int32_t cols)
{
    const size_t width = (size_t)cols, n = (size_t)rows * width;
    const int32_t first = rows / 3, ids[] = { rows - 1, 0, rows, first, 0, -1 };
    float *want = must_malloc(n * 4), *got = must_malloc((n + 6 * width) * 4), *rounded = must_malloc(n * 4);
    uint16_t *half = must_malloc(n * 2);
    for (int32_t r = 0; r < rows; r++) rh_dequantize_row(want + (size_t)r * width, data + (size_t)r * rh_row_bytes(t, cols), t, cols);
    rh_cuda_expand_args a = { .w = device_matrix(t, data, rows, cols), .first = first, .rows = rows - first };
    const size_t some = (size_t)a.rows * width;
    a.out = device_filled(0xA5, some * 4);
    launched(rh_cuda_expand, &a);
    host_of(got, a.out, some * 4);
    same(t, got, want + (size_t)first * width, some);
    a.bf16 = 1;
    launched(rh_cuda_expand, &a);
    host_of(half, a.out, some * 2);
    for (size_t i = 0; i < some; i++) rounded[i] = rh_bf16_to_f32(rh_f32_to_bf16(want[(size_t)first * width + i]));
    float *values = as_float(half, some);
    same(t, values, rounded, some);
    rh_cuda_embed_args e = { .w = a.w, .out = device_filled(0xA5, 6 * width * 4), .ids = device_of(ids, sizeof ids), .n = 6, .scale = 1.7f };
    launched(rh_cuda_embed, &e);
    host_of(got, e.out, 6 * width * 4);
    for (int i = 0; i < 6; i++) {
        const bool known = ids[i] >= 0 && ids[i] < rows;
        for (size_t c = 0; c < width; c++) rounded[c] = known ? 1.7f * want[(size_t)ids[i] * width + c] : NAN;
        same(t, got + (size_t)i * width, rounded, width);
    }
    device_free(a.out);
    device_free(e.out);
    device_free((void *)(uintptr_t)e.ids);
    device_free((void *)(uintptr_t)a.w.data);
    free(want), free(got), free(rounded), free(half), free(values);
}

static void ordinary(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int t = 0; t < RH_N_DTYPES; t++)
        for (int32_t blocks = 1; blocks < 12; blocks += 5) {
            const int32_t block = rh_dtype_get((rh_dtype)t)->block, cols = block > 1 ? blocks * block : 1 + blocks * 37;
            uint8_t *data = random_rows(&seed, (rh_dtype)t, 5, cols);
            check((rh_dtype)t, data, 5, cols);
            free(data);
        }
}

/* Whatever a file may hold: scales that are infinite, NaN or subnormal among them. */
static void any_bytes(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int t = 0; t < RH_N_DTYPES; t++) {
        const size_t bytes = 30 * rh_row_bytes((rh_dtype)t, 512);
        uint8_t *data = must_malloc(bytes);
        for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)random_u32(&seed);
        check((rh_dtype)t, data, 30, 512);
        free(data);
    }
}

static void rounds(void **state)
{
    (void)state;
    static const float ends[] = { 0, -0.0f, INFINITY, -INFINITY, 3.4e38f, 1e-45f, 1.00390625f, 1.01171875f, -1e-39f };
    enum { N = 3001 };
    float *x = must_malloc(N * 4), *want = must_malloc(N * 4);
    uint16_t *half = must_malloc(N * 2);
    uint64_t seed = 6;
    random_floats(&seed, x, N);
    memcpy(x, ends, sizeof ends);
    x[N - 1] = NAN;
    for (int i = 0; i < N; i++) want[i] = rh_bf16_to_f32(rh_f32_to_bf16(x[i]));
    rh_cuda_round_args a = { .x = device_of(x, N * 4), .out = device_filled(0xA5, N * 2), .n = N };
    launched(rh_cuda_round, &a);
    host_of(half, a.out, N * 2);
    float *got = as_float(half, N);
    same(RH_BF16, got, want, N);
    device_free((void *)(uintptr_t)a.x);
    device_free(a.out);
    free(x), free(want), free(half), free(got);
}

static void adds_bias(void **state)
{
    (void)state;
    static const int32_t shapes[][2] = { { 1, 1 }, { 3, 300 }, { 17, 256 } };
    uint64_t seed = 8;
    for (int s = 0; s < LENGTH(shapes); s++) {
        const size_t n = (size_t)shapes[s][0], rows = (size_t)shapes[s][1];
        float *out = must_malloc(n * rows * 4), *bias = must_malloc(rows * 4), *want = must_malloc(n * rows * 4);
        random_floats(&seed, out, n * rows);
        random_floats(&seed, bias, rows);
        for (size_t i = 0; i < n * rows; i++) want[i] = out[i] + bias[i % rows];
        rh_cuda_bias_args a = { .out = device_of(out, n * rows * 4), .bias = device_of(bias, rows * 4), .n = (int32_t)n, .rows = (int32_t)rows };
        launched(rh_cuda_bias, &a);
        host_of(out, a.out, n * rows * 4);
        same(RH_F32, out, want, n * rows);
        device_free(a.out);
        device_free((void *)(uintptr_t)a.bias);
        free(out), free(bias), free(want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary), cmocka_unit_test(any_bytes), cmocka_unit_test(rounds), cmocka_unit_test(adds_bias),
    };
    return cmocka_run_group_tests_name("expand", tests, NULL, NULL);
}
