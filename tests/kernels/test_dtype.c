/* Storage types: names and sizes, half floats over their whole range, and dequantisation bit
 * for bit as gguf-py does it (tests/data/dequantize.bin). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

static void test_types(void **state)
{
    static const struct { uint32_t ggml; rh_dtype t; const char *name; } cases[] = {
        { 0, RH_F32, "F32" },         { 1, RH_F16, "F16" },   { 30, RH_BF16, "BF16" },
        { 2, RH_Q4_0, "Q4_0" },       { 3, RH_Q4_1, "Q4_1" }, { 6, RH_Q5_0, "Q5_0" },
        { 7, RH_Q5_1, "Q5_1" },       { 8, RH_Q8_0, "Q8_0" }, { 12, RH_Q4_K, "Q4_K" },
        { 13, RH_Q5_K, "Q5_K" },      { 14, RH_Q6_K, "Q6_K" }, { 10, RH_Q2_K, "Q2_K" },
        { 11, RH_Q3_K, "Q3_K" },      { 20, RH_IQ4_NL, "IQ4_NL" }, { 23, RH_IQ4_XS, "IQ4_XS" },
        { 39, RH_MXFP4, "MXFP4" },    { 17, RH_DTYPE_NONE, "IQ2_XS" },
        { 28, RH_DTYPE_NONE, "F64" }, { 4, RH_DTYPE_NONE, "type 4" },
        { 77, RH_DTYPE_NONE, "type 77" }, { 4294967295u, RH_DTYPE_NONE, "type 4294967295" },
    };
    char buffer[32];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rh_dtype_from_ggml(cases[i].ggml), cases[i].t);
        assert_string_equal(rh_ggml_type_name(cases[i].ggml, buffer), cases[i].name);
        if (cases[i].t != RH_DTYPE_NONE) assert_string_equal(rh_dtype_get(cases[i].t)->name, cases[i].name);
    }
    assert_string_equal(rh_dtype_get(RH_NF4)->name, "NF4");
    assert_null(rh_dtype_get(RH_DTYPE_NONE));
    assert_null(rh_dtype_get(RH_N_DTYPES));
}

static void test_row_bytes(void **state)
{
    static const struct { rh_dtype t; int64_t n; size_t bytes; } cases[] = {
        { RH_F32, 7, 28 },      { RH_BF16, 7, 14 },   { RH_Q4_0, 64, 36 },   { RH_Q4_1, 32, 20 },
        { RH_Q5_0, 32, 22 },    { RH_Q5_1, 32, 24 },  { RH_Q8_0, 640, 680 }, { RH_Q4_K, 512, 288 },
        { RH_Q5_K, 256, 176 },  { RH_Q6_K, 256, 210 }, { RH_Q4_0, 33, 0 },   { RH_Q6_K, 640, 0 },
        { RH_NF4, 128, 72 },    { RH_NF4, 96, 0 },
        { RH_F32, 0, 0 },       { RH_F32, -4, 0 },    { RH_F32, INT64_MAX, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(rh_row_bytes(cases[i].t, cases[i].n), cases[i].bytes);
}

/* Every half goes to float and back unchanged (NaN becomes quiet), and values between two
 * halves round to the nearer, ties to even. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = rh_f16_to_f32((uint16_t)h);
        uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
        if (exponent == 31 && mantissa) {
            assert_true(isnan(f));
            assert_int_equal(rh_f32_to_f16(f), h | 0x200);
            continue;
        }
        double want = exponent == 31 ? INFINITY
                      : exponent     ? ldexp(1024 + mantissa, (int)exponent - 25) : ldexp(mantissa, -24);
        assert_true((double)f == (h >> 15 ? -want : want));
        assert_int_equal(rh_f32_to_f16(f), h);
        if (h >= 0x7bff) continue;
        float next = rh_f16_to_f32((uint16_t)(h + 1)), middle = f + (next - f) / 2;
        assert_int_equal(rh_f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(rh_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(rh_f32_to_f16(nextafterf(middle, 1e9f)), h + 1);
    }
    assert_int_equal(rh_f32_to_f16(65519), 0x7bff);
    assert_int_equal(rh_f32_to_f16(65520), 0x7c00);
    assert_int_equal(rh_f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(rh_f32_to_f16(1e-30f), 0);
}

static void test_bf16(void **state)
{
    static const struct { uint32_t bits; uint16_t b; } cases[] = {
        { 0x3f800000, 0x3f80 }, { 0x3f808000, 0x3f80 }, { 0x3f818000, 0x3f82 }, { 0x3f808001, 0x3f81 },
        { 0x7f7fffff, 0x7f80 }, { 0xff800000, 0xff80 }, { 0x7f800001, 0x7fc0 }, { 0x80000001, 0x8000 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        union { uint32_t u; float f; } x = { cases[i].bits };
        assert_int_equal(rh_f32_to_bf16(x.f), cases[i].b);
    }
    for (uint32_t b = 0; b < 65536; b++) {
        float f = rh_bf16_to_f32((uint16_t)b);
        if (!isnan(f)) assert_int_equal(rh_f32_to_bf16(f), b);
    }
}

static void test_dequantize(void **state)
{
    (void)state;
    FILE *f = fopen(RH_TEST_DATA "/dequantize.bin", "rb");
    assert_non_null(f);
    int types = 0;
    for (uint32_t head[2]; fread(head, sizeof *head, 2, f) == 2; types++) {
        rh_dtype t = rh_dtype_from_ggml(head[0]);
        assert_int_not_equal(t, RH_DTYPE_NONE);
        int64_t n = (int64_t)head[1] * rh_dtype_get(t)->block;
        size_t bytes = rh_row_bytes(t, n), values = (size_t)n * sizeof(float);
        char *raw = must_malloc(bytes + 1);
        float *want = must_malloc(values), *got = must_malloc(values);
        assert_int_equal(fread(raw + 1, 1, bytes, f), bytes); /* unaligned on purpose */
        assert_int_equal(fread(want, 1, values, f), values);
        rh_dequantize_row(got, raw + 1, t, n);
        for (int64_t i = 0; i < n; i++)
            if (memcmp(&got[i], &want[i], sizeof *got))
                fail_msg("%s element %d: %.9g, gguf-py has %.9g", rh_dtype_get(t)->name, (int)i, got[i], want[i]);
        free(raw);
        free(want);
        free(got);
    }
    assert_int_equal(types, 13);
    fclose(f);
}

/* Q8_0 as gguf-py and NF4 as bitsandbytes has it, byte for byte. */
static void test_quantize(void **state)
{
    enum { N = 1024 };
    static const rh_dtype types[] = { RH_Q8_0, RH_NF4 };
    float x[N];
    uint8_t want[N / 32 * 34], got[N / 32 * 34];
    (void)state;
    FILE *f = fopen(RH_TEST_DATA "/quantize.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(x, sizeof *x, N, f), N);
    for (int k = 0; k < 2; k++) {
        const size_t bytes = rh_row_bytes(types[k], N), block = (size_t)rh_dtype_get(types[k])->bytes;
        assert_true(rh_can_quantize(types[k]));
        assert_int_equal(fread(want, 1, bytes, f), bytes);
        rh_quantize_row(got, x, types[k], N);
        for (size_t i = 0; i < bytes; i++)
            if (got[i] != want[i])
                fail_msg("%s block %zu, byte %zu: %02x, not %02x", rh_dtype_get(types[k])->name, i / block, i % block, got[i],
                         want[i]);
    }
    assert_false(rh_can_quantize(RH_Q4_K) || rh_can_quantize(RH_DTYPE_NONE));
    fclose(f);
}

static void test_devices(void **state)
{
    (void)state;
    rh_backend *be = NULL;
    rh_error err;
    assert_int_equal(rh_backend_open(&be, RH_DEVICE_CPU, 1, false, &err), RH_OK);
    assert_memory_equal(be->ops->name, "cpu/", 4);
    rh_backend_free(be);
    be = NULL;
    assert_int_equal(rh_backend_open(&be, RH_DEVICE_AUTO, 0, true, &err), RH_OK);
    assert_true(be->exact && be->threads > 0);
    rh_backend_free(be);
    rh_backend_free(NULL);
}

/* Without the CUDA object, asking for the device is an error that says why. */
static void test_no_cuda(void **state)
{
    (void)state;
    rh_backend *be = NULL;
    rh_error err;
    rh_status status = rh_backend_open(&be, RH_DEVICE_CUDA, 0, false, &err);
    if (status == RH_OK) {
        rh_backend_free(be);
        print_message("skipped: there is a CUDA device here\n");
        skip();
    }
    assert_int_equal(status, RH_EDEVICE);
    assert_non_null(strstr(err.message, "CUDA"));
    assert_true(err.hint[0]);
    assert_null(be);
}

static void count_note(void *data, const char *line)
{
    assert_non_null(strstr(line, "CUDA"));
    ++*(int *)data;
}

/* An object that was never installed is no news; asked for by an instruction set, no device is looked for. */
static void test_notes(void **state)
{
    (void)state;
    int notes = 0;
    rh_backend *be = NULL;
    rh_error err;
    rh_settings s = {.device = RH_DEVICE_AUTO, .threads = 1, .note = count_note, .note_data = &notes};
    assert_int_equal(rh_backend_for(&be, &s, &err), RH_OK);
    rh_backend_free(be);
    be = NULL;
    s.isa = "generic";
    assert_int_equal(rh_backend_for(&be, &s, &err), RH_OK);
    assert_string_equal(be->ops->name, "cpu/generic");
    rh_backend_free(be);
    be = NULL;
    s.device = RH_DEVICE_CUDA;
    assert_int_equal(rh_backend_for(&be, &s, &err), RH_EVALUE);
    assert_null(be);
    assert_int_equal(notes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_row_bytes), cmocka_unit_test(test_halves),
        cmocka_unit_test(test_bf16),    cmocka_unit_test(test_dequantize), cmocka_unit_test(test_quantize), cmocka_unit_test(test_devices),
        cmocka_unit_test(test_no_cuda),   cmocka_unit_test(test_notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
