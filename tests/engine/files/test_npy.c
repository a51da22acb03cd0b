#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/files/npy.h"
#include "make.h"
#include "support/scratch_dir.h"

static void reads_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        rh_status status;
        int n_dims;
        int64_t shape[2];
        const char *message;
    } cases[] = {
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 12, RH_OK, 1, { 3, 1 }, "" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   \n", 24, RH_OK, 2, { 3, 2 }, "" },
        { "{\"shape\":(3L,2L),\"fortran_order\":True,\"descr\":\"<f8\"}", 48, RH_OK, 2, { 3, 2 }, "" },
        { "{'descr': '=f2', 'fortran_order': False, 'shape': (3,)}", 6, RH_OK, 1, { 3, 1 }, "" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", 0, RH_OK, 1, { 0, 1 }, "" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000, 0)}", 0, RH_OK, 2, { 1000000000000000000, 0 }, "" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000000)}", 0, RH_OK, 2, { 0, 1000000000000000000 }, "" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 11, RH_EFORMAT, 0, { 0 }, "cut off" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 13, RH_EFORMAT, 0, { 0 }, "does not fit" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", 16, RH_EFORMAT, 0, { 0 }, "does not fit" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}", 16, RH_EFORMAT, 0, { 0 }, "whole numbers" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}", 12, RH_EFORMAT, 0, { 0 }, "whole numbers" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3.0,)}", 12, RH_EFORMAT, 0, { 0 }, "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': [3]}", 12, RH_EFORMAT, 0, { 0 }, "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3", 12, RH_EFORMAT, 0, { 0 }, "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, RH_EUNSUPPORTED, 0, { 0 }, "0 dimensions" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 3)}", 12, RH_EUNSUPPORTED, 0, { 0 }, "3 dimensions" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (3,)}", 12, RH_EUNSUPPORTED, 0, { 0 }, "'>f4'" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}", 12, RH_EUNSUPPORTED, 0, { 0 }, "'<i4'" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", 12, RH_EUNSUPPORTED, 0, { 0 }, "'|O'" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", 12, RH_EUNSUPPORTED, 0, { 0 }, "records" },
        { "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}", 12, RH_EFORMAT, 0, { 0 }, "fortran_order" },
        { "{'descr': '<f4', 'shape': (3,)}", 12, RH_EFORMAT, 0, { 0 }, "wants one of" },
        { "{}", 12, RH_EFORMAT, 0, { 0 }, "wants one of" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 12, RH_EFORMAT, 0, { 0 }, "repeated" },
        { "{'other': 1, 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 12, RH_EFORMAT, 0, { 0 }, "unknown key" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x", 12, RH_EFORMAT, 0, { 0 }, "goes on" },
        { "{'descr': '<f4' 'fortran_order': False, 'shape': (3,)}", 12, RH_EFORMAT, 0, { 0 }, "no dict" },
        { "{'descr", 12, RH_EFORMAT, 0, { 0 }, "no dict" },
        { "{'", 12, RH_EFORMAT, 0, { 0 }, "no dict" },
        { "{", 12, RH_EFORMAT, 0, { 0 }, "no dict" },
        { "", 12, RH_EFORMAT, 0, { 0 }, "no dict" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int version = 1; version <= 3; version++) {
            rh_str s = { 0 };
            rh_error e = { 0 };
            float *data = NULL;
            int n_dims = 0;
            int64_t shape[2] = { 0, 0 };
            npy(&s, version, cases[i].header, cases[i].n_data);
            const char *path = scratch_write(&dir, "x.npy", s.data, s.len);
            rh_status status = rh_npy_read(&data, &n_dims, shape, path, &e);
            if (status != cases[i].status || n_dims != cases[i].n_dims ||
                (data != NULL) != (status == RH_OK) || memcmp(shape, cases[i].shape, sizeof shape) != 0 ||
                !strstr(e.message, cases[i].message) || (status && !strstr(e.message, path)))
                fail_msg("case %zu, version %d: %s: %s", i, version, rh_status_name(status), e.message);
            free(data);
            rh_str_free(&s);
        }
    }
}

static void refuses_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        rh_status status;
        const char *message;
    } cases[] = {
        { "", 0, RH_EFORMAT, "is empty" },
        { "\x93", 1, RH_EFORMAT, "no .npy file" },
        { "\x93NUMPY\1\0\0", 9, RH_EFORMAT, "no .npy file, or is cut off" },
        { "\x93NUMPY\1\0\377\377{}", 12, RH_EFORMAT, "header has 65535 bytes" },
        { "\x93NUMPY\2\0\1\0", 10, RH_EFORMAT, "cut off" },
        { "\x93NUMPY\2\0\377\377\377\377{}", 14, RH_EFORMAT, "header has 4294967295 bytes" },
        { "\x93NUMPY\0\0\2\0{}", 12, RH_EUNSUPPORTED, "version 0" },
        { "\x93NUMPY\4\0\2\0{}", 12, RH_EUNSUPPORTED, "version 4" },
        { "PK\3\4 an archive of arrays", 20, RH_EFORMAT, "no .npy file" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_error e = { 0 };
        float *data = NULL;
        int n_dims;
        int64_t shape[2];
        rh_status status = rh_npy_read(&data, &n_dims, shape,
                                       scratch_write(&dir, "x.npy", cases[i].bytes, cases[i].n), &e);
        if (status != cases[i].status || data || !strstr(e.message, cases[i].message))
            fail_msg("case %zu: %s: %s", i, rh_status_name(status), e.message);
    }
}

/* The same matrix [2, 3] in every type and order. */
static void reads_items(void **state)
{
    (void)state;
    static const float expected[6] = { 0, 1, -2, 0.5f, 4, 65504 };
    static const uint16_t half[6] = { 0, 0x3c00, 0xc000, 0x3800, 0x4400, 0x7bff };
    static const char *const types[] = { "<f2", "<f4", "<f8" };
    for (int type = 0; type < 3; type++) {
        for (int fortran = 0; fortran < 2; fortran++) {
            rh_str s = { 0 };
            char header[128];
            float *data = NULL;
            int n_dims;
            int64_t shape[2];
            snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3)}",
                     types[type], fortran ? "True" : "False");
            npy(&s, 1, header, 0);
            for (int k = 0; k < 6; k++) {
                int i = fortran ? k % 2 * 3 + k / 2 : k;
                double real = expected[i];
                if (type == 0) rh_str_add(&s, (const char *)&half[i], 2);
                if (type == 1) put_f32(&s, expected[i]);
                if (type == 2) rh_str_add(&s, (const char *)&real, 8);
            }
            assert_int_equal(rh_npy_read(&data, &n_dims, shape, scratch_write(&dir, "x.npy", s.data, s.len), NULL), RH_OK);
            assert_memory_equal(data, expected, sizeof expected);
            free(data);
            rh_str_free(&s);
        }
    }
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    static const float x[6] = { 1, -2, 3e-38f, 3e38f, 5, 6 };
    static const struct {
        int n_dims;
        int64_t shape[2];
    } cases[] = { { 1, { 6, 1 } }, { 2, { 2, 3 } }, { 2, { 0, 3 } }, { 1, { 0, 1 } }, { 2, { 6, 1 } } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[600];
        float *data = NULL;
        int n_dims;
        int64_t shape[2];
        snprintf(path, sizeof path, "%s", scratch_path(&dir, "w.npy"));
        assert_int_equal(rh_npy_write(path, x, cases[i].n_dims, cases[i].shape, NULL), RH_OK);
        assert_int_equal(rh_npy_read(&data, &n_dims, shape, path, NULL), RH_OK);
        assert_int_equal(n_dims, cases[i].n_dims);
        assert_memory_equal(shape, cases[i].shape, sizeof shape);
        assert_memory_equal(data, x, (size_t)(shape[0] * shape[1]) * sizeof *x);
        free(data);
    }
    const int64_t wrong[][2] = { { -1, 1 }, { 1, -1 }, { INT64_MAX, INT64_MAX } };
    rh_error e;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rh_npy_write(scratch_path(&dir, "w.npy"), x, 2, wrong[i], &e), RH_EVALUE);
    assert_int_equal(rh_npy_write("/dev/full", x, 1, (int64_t[]){ 6, 1 }, &e), RH_EIO);
    assert_int_equal(rh_npy_write("/nowhere/x.npy", x, 1, (int64_t[]){ 6, 1 }, &e), RH_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_headers),
        cmocka_unit_test(refuses_bytes),
        cmocka_unit_test(reads_items),
        cmocka_unit_test(writes_what_it_reads),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
