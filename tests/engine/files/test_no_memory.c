#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/files/gguf.h"
#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "engine/files/vectorfile.h"
#include "make.h"
#include "support/alloc_fail.h"
#include "support/scratch_dir.h"

static rh_status read_gguf(void *path, rh_error *err)
{
    rh_gguf *g = NULL;
    const rh_bytes *strings;
    int64_t n;
    RH_TRY(rh_gguf_open(&g, path, err));
    rh_status status = rh_gguf_strings(&strings, &n, g, "strings", err);
    rh_gguf_close(g);
    return status;
}

static rh_status read_safetensors(void *path, rh_error *err)
{
    rh_safetensors *f = NULL;
    RH_TRY(rh_safetensors_open(&f, path, err));
    rh_safetensors_close(f);
    return RH_OK;
}

static rh_status read_npy(void *path, rh_error *err)
{
    float *data = NULL;
    int n_dims;
    int64_t shape[2];
    RH_TRY(rh_npy_read(&data, &n_dims, shape, path, err));
    free(data);
    return RH_OK;
}

static rh_status read_vector(void *path, rh_error *err)
{
    rh_vectorfile f = { 0 };
    RH_TRY(rh_vectorfile_read(&f, path, NULL, err));
    rh_vectorfile_free(&f);
    return RH_OK;
}

static rh_status write_vector(void *path, rh_error *err)
{
    rh_vector *v = NULL;
    const int32_t layers[] = { 1, 2 };
    RH_TRY(rh_vector_new(&v, 4, RH_RESID_POST, layers, strstr(path, ".npy") ? 1 : 2, err));
    rh_status status = rh_vectorfile_write(path, v, "{\"hook\":\"resid_post\"}", "hint", 8, err);
    rh_vector_free(v);
    return status;
}

static void run(alloc_fail_job job, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir.dir, name);
    int64_t n = alloc_fail_each(job, path, 1000);
    assert_true(n >= 2);
}

static void readers(void **state)
{
    (void)state;
    rh_str s = { 0 };
    good_gguf(&s);
    scratch_write(&dir, "a.gguf", s.data, s.len);
    rh_str_free(&s);
    good_safetensors(&s);
    scratch_write(&dir, "model-1.safetensors", s.data, s.len);
    rh_str_free(&s);
    static const char index[] = "{\"weight_map\":{\"a\":\"model-1.safetensors\",\"b\":\"model-1.safetensors\"}}";
    scratch_write(&dir, "model.safetensors.index.json", index, sizeof index - 1);
    npy(&s, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 12);
    scratch_write(&dir, "a.npy", s.data, s.len);
    rh_str_free(&s);
    run(read_gguf, "a.gguf");
    run(read_safetensors, "model-1.safetensors");
    run(read_safetensors, "model.safetensors.index.json");
    run(read_safetensors, ".");
    run(read_npy, "a.npy");
    run(read_vector, "model-1.safetensors");
    run(read_vector, "a.npy");
}

static void writers(void **state)
{
    (void)state;
    static const char *const names[] = { "w.safetensors", "w.gguf", "w.npy" };
    for (size_t i = 0; i < 3; i++) {
        run(write_vector, names[i]);
        int before = scratch_count(&dir); /* the last run wrote the file; no temporary one is left */
        run(write_vector, names[i]);
        assert_int_equal(scratch_count(&dir), before);
        run(read_vector, names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(readers), cmocka_unit_test(writers) };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
