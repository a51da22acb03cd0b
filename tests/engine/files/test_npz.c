/* npz: what numpy writes, by its bytes, and what a damaged or hostile zip is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <minizip/zip.h>
#include <stdlib.h>
#include <string.h>

#include "engine/files/npz.h"
#include "support/scratch.h"

static scratch dir;

static int setup(void **state) { (void)state; scratch_open(&dir); return 0; }
static int teardown(void **state) { (void)state; scratch_close(&dir); return 0; }

/* A .npy of [2, 3] float32, 0 .. 5; returns its size. */
static size_t npy(uint8_t out[160])
{
    static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    memset(out, ' ', 128);
    memcpy(out, "\x93NUMPY\1\0\x76\0", 10);
    memcpy(out + 10, head, sizeof head - 1);
    out[127] = '\n';
    for (int i = 0; i < 6; i++) {
        float x = (float)i;
        memcpy(out + 128 + 4 * i, &x, 4);
    }
    return 128 + 24;
}

/* a.npy stored and b.npy deflated. */
static size_t make(uint8_t **bytes)
{
    uint8_t array[160];
    size_t n = npy(array);
    char path[600];
    snprintf(path, sizeof path, "%s", scratch_path(&dir, "two.npz"));
    zipFile z = zipOpen64(path, APPEND_STATUS_CREATE);
    zip_fileinfo info = { 0 };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(zipOpenNewFileInZip64(z, i ? "b.npy" : "a.npy", &info, NULL, 0, NULL, 0, NULL, i ? Z_DEFLATED : 0, 6, 0), ZIP_OK);
        assert_int_equal(zipWriteInFileInZip(z, array, (unsigned)n), ZIP_OK);
        assert_int_equal(zipCloseFileInZip(z), ZIP_OK);
    }
    assert_int_equal(zipClose(z, NULL), ZIP_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    *bytes = malloc(4096);
    size_t size = fread(*bytes, 1, 4096, f);
    fclose(f);
    return size;
}

static void check_array(rh_npz *z, const char *name, bool stored)
{
    rh_npz_array a;
    void *own = NULL;
    float x[6];
    assert_int_equal(rh_npz_array_at(&a, z, rh_npz_find(z, name), NULL), RH_OK);
    assert_int_equal(a.info.shape[0], 2);
    assert_int_equal(a.info.shape[1], 3);
    assert_int_equal(a.size, 24);
    assert_int_equal(a.data != NULL, stored);
    if (!stored) assert_int_equal(rh_npz_unpack(&own, z, &a, NULL), RH_OK);
    memcpy(x, stored ? a.data : own, 24);
    for (int i = 0; i < 6; i++) assert_true(x[i] == (float)i);
    free(own);
}

static void both_kinds(void **state)
{
    uint8_t *bytes;
    rh_npz *z = NULL;
    (void)state;
    make(&bytes);
    assert_int_equal(rh_npz_open(&z, scratch_path(&dir, "two.npz"), NULL), RH_OK);
    assert_int_equal(rh_npz_n(z), 2);
    assert_int_equal(rh_npz_find(z, "c"), -1);
    check_array(z, "b", false);
    check_array(z, "a", true);
    check_array(z, "b", false);
    assert_int_equal(rh_npz_check(z, NULL), RH_OK);
    rh_npz_close(z);
    free(bytes);
}

/* The whole way of a reader; its status and message. */
static rh_status read_all(const char *path, rh_error *err)
{
    rh_npz *z = NULL;
    rh_status status = rh_npz_open(&z, path, err);
    for (int32_t i = 0; !status && i < rh_npz_n(z); i++) {
        rh_npz_array a;
        void *own = NULL;
        status = rh_npz_array_at(&a, z, i, err);
        if (!status && !a.data) status = rh_npz_unpack(&own, z, &a, err);
        free(own);
    }
    rh_npz_close(z);
    return status;
}

/* Where the central directory's entry of the nth file begins. */
static size_t central(const uint8_t *bytes, size_t n, int nth)
{
    for (size_t i = 0; i + 4 < n; i++)
        if (!memcmp(bytes + i, "PK\1\2", 4) && nth-- == 0) return i;
    fail();
    return 0;
}

static void put32(uint8_t *p, uint32_t x) { memcpy(p, &x, 4); }

static void hostile(void **state)
{
    static const struct { const char *what; rh_status status; const char *words; } rows[] = {
        { "encrypted", RH_EUNSUPPORTED, "a.npy' is encrypted" },
        { "method", RH_EUNSUPPORTED, "compressed by method 12" },
        { "huge", RH_EFORMAT, "claims to be" },
        { "checksum", RH_EFORMAT, "b.npy' is damaged" },
        { "shape", RH_EFORMAT, "a shape of (9, 3)" },
        { "offset", RH_EFORMAT, "a.npy' is damaged" },
        { "cut", RH_EFORMAT, "is cut off" },
        { "text", RH_EFORMAT, "is no .npz file" },
    };
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        uint8_t *b;
        rh_error err = { 0 };
        size_t n = make(&b), c0 = central(b, n, 0), c1 = central(b, n, 1);
        const char *what = rows[r].what;
        if (!strcmp(what, "encrypted")) b[6] |= 1, b[c0 + 8] |= 1;
        if (!strcmp(what, "method")) b[8] = 12, b[c0 + 10] = 12;
        if (!strcmp(what, "huge")) put32(b + c1 + 24, 0x7fffffff);
        if (!strcmp(what, "checksum")) b[c1 + 16] ^= 1;
        if (!strcmp(what, "shape")) for (size_t i = 0; i < n; i++) if (!memcmp(b + i, "(2, 3)", 6)) { b[i + 1] = '9'; break; }
        if (!strcmp(what, "offset")) put32(b + c0 + 42, 0x00ffffff);
        if (!strcmp(what, "cut")) n /= 2;
        if (!strcmp(what, "text")) memset(b, 'x', n);
        rh_status status = read_all(scratch_write(&dir, "bad.npz", b, n), &err);
        if (status != rows[r].status || !strstr(err.message, rows[r].words)) fail_msg("%s: %d %s", what, status, err.message);
        free(b);
    }
}

/* Every byte changed, every length: never a crash, and an error is always said. */
static void any_damage(void **state)
{
    uint8_t *b;
    size_t n = make(&b);
    (void)state;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) {
            rh_error err = { 0 };
            uint8_t was = b[i];
            b[i] = k == 0 ? 0 : k == 1 ? 0xff : (uint8_t)(was ^ 0x10);
            rh_status status = read_all(scratch_write(&dir, "bad.npz", b, n), &err);
            assert_int_equal(err.code, status);
            b[i] = was;
        }
    for (size_t i = 0; i < n; i++) {
        rh_error err = { 0 };
        if (!read_all(scratch_write(&dir, "bad.npz", b, i), &err)) fail_msg("cut to %zu of %zu bytes", i, n);
    }
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(both_kinds), cmocka_unit_test(hostile), cmocka_unit_test(any_damage) };
    return cmocka_run_group_tests_name("npz", tests, setup, teardown);
}
