#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "support/alloc_fail.h"
#include "support/scratch.h"

static scratch dir;

static rh_status map_and_hash(void *data, rh_error *err)
{
    (void)data;
    rh_map m = { 0 };
    char hex[65];
    RH_TRY(rh_map_open(&m, dir.path, err));
    rh_map_close(&m);
    rh_sha256 *h = rh_sha256_new();
    if (!h) return rh_fail_nomem(err);
    rh_sha256_free(h);
    return rh_sha256_file(hex, dir.path, err);
}

static rh_status write_and_read(void *data, rh_error *err)
{
    (void)data;
    rh_writer w = { 0 };
    char path[600], *text = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/written", dir.dir);
    RH_TRY(rh_writer_open(&w, path, err));
    rh_status status = rh_writer_put(&w, "hello", 5, err);
    if (status) rh_writer_discard(&w);
    else status = rh_writer_commit(&w, err);
    if (status == RH_OK) status = rh_read_file(&text, &n, path, 100, err);
    free(text);
    if (status == RH_OK) status = rh_make_dirs(dir.dir, err);
    return status;
}

static rh_status grow(void *data, rh_error *err)
{
    (void)data;
    rh_str s = { 0 };
    int *items = NULL;
    size_t capacity = 0;
    rh_status status = RH_OK;
    rh_arena *a = rh_arena_new();
    if (!a) return rh_fail_nomem(err);
    for (int i = 0; i < 100 && status == RH_OK; i++) {
        rh_str_printf(&s, "number %d", i);
        if (!rh_arena_alloc(a, 1000, 1) || !RH_GROW(items, capacity, (size_t)i))
            status = rh_fail_nomem(err);
        else items[i] = i;
    }
    if (s.failed) status = rh_fail_nomem(err);
    rh_str_free(&s);
    free(items);
    rh_arena_free(a);
    return status;
}

static rh_status vector(void *data, rh_error *err)
{
    (void)data;
    rh_vector *v = NULL;
    const int32_t layers[] = { 1, 2 };
    RH_TRY(rh_vector_new(&v, 8, RH_RESID_POST, layers, 2, err));
    rh_vector_free(v);
    return RH_OK;
}

static void each(void **state)
{
    (void)state;
    scratch_open(&dir);
    scratch_write(&dir, "a", "hello", 5);
    assert_true(alloc_fail_each(map_and_hash, NULL, 1000) >= 3);
    assert_true(alloc_fail_each(write_and_read, NULL, 1000) >= 4);
    assert_true(alloc_fail_each(grow, NULL, 1000) >= 10);
    assert_int_equal(alloc_fail_each(vector, NULL, 1000), 3);
    assert_int_equal(scratch_count(&dir), 2); /* no temporary file is left either */
    scratch_close(&dir);
}

static rh_status load(void *data, rh_error *err)
{
    (void)data;
    json_t *value = NULL;
    RH_TRY(rh_json_load(&value, dir.path, err));
    json_decref(value);
    return RH_OK;
}

static void each_of_json(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [1, \"text\", {\"b\": null}]}";
    scratch_open(&dir);
    scratch_write(&dir, "a.json", text, sizeof text - 1);
    assert_true(alloc_fail_each(load, NULL, 1000) > 0);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each), cmocka_unit_test(each_of_json) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
