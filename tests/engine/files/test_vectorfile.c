#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/files/safetensors.h"
#include "engine/files/vectorfile.h"
#include "make.h"
#include "support/scratch_dir.h"

/* ---- reading safetensors ------------------------------------------------------------------ */

#define TENSOR(name, type, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"
#define META(text) "\"__metadata__\":{\"rhumb\":\"" text "\"}"
#define D3 TENSOR("direction.3", "F32", "2", "0", "8")

static void reads_safetensors(void **state)
{
    (void)state;
    static const struct {
        const char *json, *tensor;
        size_t n_data;
        rh_status status;
        const char *message;
        int32_t n_layers, layers[2], d;
        rh_hook hook;
    } cases[] = {
        { "{" D3 "}", NULL, 8, RH_OK, "", 1, { 3 }, 2, RH_RESID_POST },
        { "{" D3 "," TENSOR("direction.12", "F16", "2", "8", "12") "}", NULL, 12, RH_OK, "", 2, { 3, 12 }, 2, RH_RESID_POST },
        { "{" TENSOR("direction.12", "BF16", "2", "8", "12") "," D3 "}", NULL, 12, RH_OK, "", 2, { 3, 12 }, 2, RH_RESID_POST },
        { "{" D3 "," TENSOR("direction.0", "F64", "1,2", "8", "24") "}", NULL, 24, RH_OK, "", 2, { 0, 3 }, 2, RH_RESID_POST },
        { "{" D3 "," TENSOR("direction.12", "F16", "2", "8", "12") "}", "direction.12", 12, RH_OK, "", 1, { 12 }, 2, RH_RESID_POST },
        { "{" TENSOR("direction", "F32", "2", "0", "8") "}", NULL, 8, RH_OK, "", 1, { -1 }, 2, RH_RESID_POST },
        { "{" D3 "," TENSOR("other", "I64", "1", "8", "16") "}", NULL, 16, RH_OK, "", 1, { 3 }, 2, RH_RESID_POST },
        { "{" TENSOR("v", "F32", "2", "0", "8") "}", "v", 8, RH_OK, "", 1, { -1 }, 2, RH_RESID_POST },
        { "{" META("{}") "," D3 "}", NULL, 8, RH_OK, "", 1, { 3 }, 2, RH_RESID_POST },
        { "{" META("{\\\"hook\\\":\\\"mlp_out\\\"}") "," D3 "}", NULL, 8, RH_OK, "", 1, { 3 }, 2, RH_MLP_OUT },
        { "{" META("{\\\"hook\\\":\\\"mlp\\\"}") "," D3 "}", NULL, 8, RH_EFORMAT, "unknown hook 'mlp'", 0, { 0 }, 0, 0 },
        { "{" META("{\\\"hook\\\":3}") "," D3 "}", NULL, 8, RH_EFORMAT, "unknown hook", 0, { 0 }, 0, 0 },
        { "{" META("[]") "," D3 "}", NULL, 8, RH_EFORMAT, "no JSON object", 0, { 0 }, 0, 0 },
        { "{" META("{") "," D3 "}", NULL, 8, RH_EFORMAT, "JSON", 0, { 0 }, 0, 0 },
        { "{" D3 "}", "direction.4", 8, RH_ENAME, "no tensor 'direction.4'; it has 'direction.3'", 0, { 0 }, 0, 0 },
        { "{}", NULL, 0, RH_EFORMAT, "no tensor direction.L, and so is no vector file; it has none", 0, { 0 }, 0, 0 },
        { "{" TENSOR("v", "F32", "2", "0", "8") "," TENSOR("w", "F32", "1", "8", "12") "}", NULL, 12, RH_EFORMAT, "it has 'v', 'w'", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.x", "F32", "2", "0", "8") "}", NULL, 8, RH_EFORMAT, "'direction.x'", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.-1", "F32", "2", "0", "8") "}", NULL, 8, RH_EFORMAT, "'direction.-1'", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.", "F32", "2", "0", "8") "}", NULL, 8, RH_EFORMAT, "'direction.'", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.99999999999999999999", "F32", "2", "0", "8") "}", NULL, 8, RH_EFORMAT, "names no layer", 0, { 0 }, 0, 0 },
        { "{" D3 "," TENSOR("direction.03", "F32", "2", "8", "16") "}", NULL, 16, RH_EFORMAT, "same layer", 0, { 0 }, 0, 0 },
        { "{" D3 "," TENSOR("direction.4", "F32", "3", "8", "20") "}", NULL, 20, RH_EFORMAT, "'direction.3' has 2 values, 'direction.4' has 3", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.3", "F32", "2,2", "0", "16") "}", NULL, 16, RH_EFORMAT, "is no vector", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.3", "F32", "", "0", "4") "}", NULL, 4, RH_EFORMAT, "is no vector", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.3", "F32", "0", "0", "0") "}", NULL, 0, RH_EFORMAT, "is no vector", 0, { 0 }, 0, 0 },
        { "{" TENSOR("direction.3", "I32", "2", "0", "8") "}", NULL, 8, RH_EUNSUPPORTED, "of type I32", 0, { 0 }, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str s = { 0 };
        rh_vectorfile f = { 0 };
        rh_error e = { 0 };
        safetensors(&s, cases[i].json, cases[i].n_data);
        const char *path = scratch_write(&dir, "x.safetensors", s.data, s.len);
        rh_status status = rh_vectorfile_read(&f, path, cases[i].tensor, &e);
        if (status != cases[i].status || !strstr(e.message, cases[i].message) ||
            (status && !strstr(e.message, path)))
            fail_msg("case %zu: %s: %s", i, rh_status_name(status), e.message);
        assert_int_equal(f.vector != NULL, status == RH_OK);
        if (f.vector) {
            assert_int_equal(f.vector->d, cases[i].d);
            assert_int_equal(f.vector->hook, cases[i].hook);
            assert_int_equal(f.vector->n_layers, cases[i].n_layers);
            assert_memory_equal(f.vector->layers, cases[i].layers, (size_t)cases[i].n_layers * 4);
            assert_int_equal(f.metadata != NULL, strstr(cases[i].json, "rhumb") != NULL);
        }
        rh_vectorfile_free(&f);
        rh_str_free(&s);
    }
}

/* F32, F16, BF16 and F64 of the same values; and what is not finite in each place. */
static void reads_values(void **state)
{
    (void)state;
    static const float expected[2] = { 1, -2 };
    static const double real[2] = { 1, -2 };
    static const uint16_t half[2] = { 0x3c00, 0xc000 }, brain[2] = { 0x3f80, 0xc000 };
    rh_str s = { 0 };
    rh_vectorfile f = { 0 };
    rh_error e;
    safetensors(&s, "{" D3 "," TENSOR("direction.4", "F16", "2", "8", "12") ","
                TENSOR("direction.5", "BF16", "2", "12", "16") ","
                TENSOR("direction.6", "F64", "2", "16", "32") "}", 0);
    size_t start = s.len;
    rh_str_add(&s, (const char *)expected, 8);
    rh_str_add(&s, (const char *)half, 4);
    rh_str_add(&s, (const char *)brain, 4);
    rh_str_add(&s, (const char *)real, 16);
    assert_int_equal(rh_vectorfile_read(&f, scratch_write(&dir, "v.safetensors", s.data, s.len), NULL, &e), RH_OK);
    assert_int_equal(f.vector->n_layers, 4);
    for (int i = 0; i < 4; i++) assert_memory_equal(f.vector->data + 2 * i, expected, 8);
    rh_vectorfile_free(&f);
    rh_vectorfile_free(&f);
    rh_vectorfile_free(NULL);
    static const struct {
        size_t at;
        const char *bytes;
        size_t n;
        const char *name;
    } damage[] = {
        { 4, "\0\0\300\177", 4, "'direction.3'" },              /* NaN */
        { 0, "\0\0\200\377", 4, "'direction.3'" },              /* -infinity */
        { 10, "\0\174", 2, "'direction.4'" },                   /* infinity in F16 */
        { 12, "\300\177", 2, "'direction.5'" },                 /* NaN in BF16 */
        { 24, "\0\0\0\0\0\0\360\177", 8, "'direction.6'" },     /* infinity in F64 */
        { 24, "\0\0\0\0\0\0\360\176", 8, "'direction.6'" },     /* 2^1008: infinite as float32 */
    };
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        char kept[8];
        memcpy(kept, s.data + start + damage[i].at, damage[i].n);
        memcpy(s.data + start + damage[i].at, damage[i].bytes, damage[i].n);
        rh_status status = rh_vectorfile_read(&f, scratch_write(&dir, "v.safetensors", s.data, s.len), NULL, &e);
        assert_int_equal(status, RH_EFORMAT);
        assert_non_null(strstr(e.message, damage[i].name));
        assert_null(f.vector);
        memcpy(s.data + start + damage[i].at, kept, damage[i].n);
    }
    rh_str_free(&s);
}

/* ---- reading the others ------------------------------------------------------------------- */

static void control_vector(rh_str *s, const char *first, const char *second, const char *architecture)
{
    gguf_header(s, 3, 2, 2);
    gguf_text(s, "general.architecture", architecture);
    gguf_text(s, "controlvector.model_hint", "gemma3");
    gguf_tensor(s, first, 2, 0, 0, 0);
    gguf_tensor(s, second, 2, 0, 0, 32);
    pad(s, 32);
    put_f32(s, 1), put_f32(s, 2), zeros(s, 24);
    put_f32(s, 10), put_f32(s, 20), zeros(s, 24);
}

static void reads_control_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *architecture, *tensor;
        rh_status status;
        const char *message;
        int32_t n_layers, layers[2];
        float data[4];
    } cases[] = {
        { "direction.1", "direction.2", "controlvector", NULL, RH_OK, "", 2, { 1, 2 }, { 1, 2, 10, 20 } },
        { "direction.12", "direction.2", "controlvector", NULL, RH_OK, "", 2, { 2, 12 }, { 10, 20, 1, 2 } },
        { "direction.2", "direction.2", "controlvector", NULL, RH_OK, "", 1, { 2 }, { 11, 22 } },
        { "direction.2", "direction.02", "controlvector", NULL, RH_OK, "", 1, { 2 }, { 11, 22 } },
        { "direction.2", "direction.3", "controlvector", "direction.3", RH_OK, "", 1, { 3 }, { 10, 20 } },
        { "direction.2", "other", "controlvector", NULL, RH_OK, "", 1, { 2 }, { 1, 2 } },
        { "direction.2", "other", "controlvector", "other", RH_OK, "", 1, { -1 }, { 10, 20 } },
        { "direction.0", "direction.1", "controlvector", NULL, RH_EFORMAT, "layers count from 1", 0, { 0 }, { 0 } },
        { "a", "b", "controlvector", NULL, RH_EFORMAT, "it has 'a', 'b'", 0, { 0 }, { 0 } },
        { "direction.1", "direction.2", "llama", NULL, RH_EFORMAT, "architecture 'llama', no control vector", 0, { 0 }, { 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str s = { 0 };
        rh_vectorfile f = { 0 };
        rh_error e = { 0 };
        control_vector(&s, cases[i].first, cases[i].second, cases[i].architecture);
        const char *path = scratch_write(&dir, "x.gguf", s.data, s.len);
        rh_status status = rh_vectorfile_read(&f, path, cases[i].tensor, &e);
        if (status != cases[i].status || !strstr(e.message, cases[i].message))
            fail_msg("case %zu: %s: %s", i, rh_status_name(status), e.message);
        if (status == RH_OK) {
            size_t n = (size_t)cases[i].n_layers;
            assert_string_equal(f.model_hint, "gemma3");
            assert_int_equal(f.vector->hook, RH_RESID_POST);
            assert_int_equal(f.vector->n_layers, n);
            assert_memory_equal(f.vector->layers, cases[i].layers, n * 4);
            assert_memory_equal(f.vector->data, cases[i].data, n * 8);
        }
        rh_vectorfile_free(&f);
        rh_str_free(&s);
    }
    /* Two finite halves whose sum is not. */
    rh_str s = { 0 };
    rh_vectorfile f = { 0 };
    rh_error e;
    float large = 3e38f;
    control_vector(&s, "direction.1", "direction.1", "controlvector");
    memcpy(s.data + s.len - 32, &large, 4);
    memcpy(s.data + s.len - 64, &large, 4);
    assert_int_equal(rh_vectorfile_read(&f, scratch_write(&dir, "x.gguf", s.data, s.len), NULL, &e), RH_EFORMAT);
    assert_non_null(strstr(e.message, "sum"));
    rh_str_free(&s);
}

static void reads_npy(void **state)
{
    (void)state;
    static const struct {
        const char *shape, *tensor;
        float last;
        rh_status status;
        const char *message, *hint;
    } cases[] = {
        { "(4,)", NULL, 1, RH_OK, "", "" },
        { "(1, 4)", NULL, 1, RH_OK, "", "" },
        { "(2, 2)", NULL, 1, RH_EFORMAT, "shape (2, 2)", "one row" },
        { "(4, 1)", NULL, 1, RH_EFORMAT, "shape (4, 1)", "one row" },
        { "(4,)", "v", 1, RH_ENAME, "'v'", "" },
        { "(4,)", NULL, NAN, RH_EFORMAT, "NaN", "" },
        { "(4,)", NULL, INFINITY, RH_EFORMAT, "infinite", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str s = { 0 };
        char header[128];
        rh_vectorfile f = { 0 };
        rh_error e = { 0 };
        snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s}", cases[i].shape);
        npy(&s, 1, header, 12);
        put_f32(&s, cases[i].last);
        rh_status status = rh_vectorfile_read(&f, scratch_write(&dir, "x.npy", s.data, s.len), cases[i].tensor, &e);
        if (status != cases[i].status || !strstr(e.message, cases[i].message) || !strstr(e.hint, cases[i].hint))
            fail_msg("case %zu: %s: %s", i, rh_status_name(status), e.message);
        if (status == RH_OK) {
            assert_int_equal(f.vector->d, 4);
            assert_int_equal(f.vector->n_layers, 1);
            assert_int_equal(f.vector->layers[0], -1);
            assert_true(f.vector->data[3] == 1);
        }
        rh_vectorfile_free(&f);
        rh_str_free(&s);
    }
}

static void knows_kinds_by_name(void **state)
{
    (void)state;
    static const char *const names[] = { "x", "x.pt", "x.npz", "x.safetensors.bak", "" };
    const int32_t layer = 1;
    rh_vector *v = NULL;
    rh_vectorfile f = { 0 };
    rh_error e;
    assert_int_equal(rh_vector_new(&v, 2, RH_RESID_POST, &layer, 1, NULL), RH_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(rh_vectorfile_read(&f, names[i], NULL, &e), RH_EUNSUPPORTED);
        assert_non_null(strstr(e.hint, ".safetensors"));
        assert_int_equal(rh_vectorfile_write(names[i], v, NULL, NULL, 0, &e), RH_EUNSUPPORTED);
    }
    assert_int_equal(rh_vectorfile_read(&f, "/nowhere/X.GGUF", NULL, &e), RH_EIO);
    assert_null(f.vector);
    rh_vector_free(v);
}

/* ---- writing ------------------------------------------------------------------------ */

static void writes(void **state)
{
    (void)state;
    static const char text[] = "{\"version\":1,\"hook\":\"resid_post\",\"note\":\"東京 \\\"x\\\"\"}";
    static const struct {
        const char *name;
        int32_t n, layers[3];
        rh_hook hook;
        const char *metadata, *hint;
        int32_t n_model;
        rh_status status;
        bool floats; /* npy: comes back as a constant */
    } cases[] = {
        { "v.safetensors", 1, { 0 }, RH_RESID_POST, NULL, NULL, 0, RH_OK, false },
        { "v.safetensors", 3, { 0, 7, 31 }, RH_RESID_POST, text, "gemma", 4, RH_OK, false },
        { "v.safetensors", 1, { -1 }, RH_RESID_POST, text, NULL, 0, RH_OK, false },
        { "v.safetensors", 2, { 1, 2 }, RH_ATTN_Z, NULL, NULL, 0, RH_OK, false },
        { "v.safetensors", 2, { 1, 2 }, RH_ATTN_Z, "{\"hook\":\"attn_z\"}", NULL, 0, RH_OK, false },
        { "v.safetensors", 2, { 1, 2 }, RH_ATTN_Z, text, NULL, 0, RH_EVALUE, false },
        { "v.safetensors", 2, { 1, 2 }, RH_ATTN_Z, "{}", NULL, 0, RH_EVALUE, false },
        { "v.safetensors", 1, { 1 }, RH_RESID_POST, "{", NULL, 0, RH_EFORMAT, false },
        { "v.gguf", 1, { 1 }, RH_RESID_POST, NULL, NULL, 0, RH_OK, false },
        { "v.gguf", 3, { 1, 7, 31 }, RH_RESID_POST, text, "llama", 32, RH_OK, false },
        { "v.GGUF", 1, { 2147483646 }, RH_RESID_POST, NULL, "llama", 0, RH_OK, false },
        { "v.gguf", 2, { 0, 1 }, RH_RESID_POST, NULL, NULL, 0, RH_ESITE, false },
        { "v.gguf", 1, { -1 }, RH_RESID_POST, NULL, NULL, 0, RH_ESITE, false },
        { "v.gguf", 1, { 1 }, RH_MLP_OUT, NULL, NULL, 0, RH_ESITE, false },
        { "v.gguf", 2, { 1, 31 }, RH_RESID_POST, NULL, NULL, 31, RH_ESITE, false },
        { "v.npy", 1, { 5 }, RH_RESID_POST, NULL, NULL, 0, RH_OK, true },
        { "v.npy", 1, { -1 }, RH_RESID_POST, text, "x", 0, RH_OK, true },
        { "v.npy", 2, { 1, 2 }, RH_RESID_POST, NULL, NULL, 0, RH_ESITE, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_vector *v = NULL;
        rh_vectorfile f = { 0 };
        rh_error e = { 0 };
        char path[600];
        snprintf(path, sizeof path, "%s", scratch_path(&dir, cases[i].name));
        unlink(path);
        int before = scratch_count(&dir);
        assert_int_equal(rh_vector_new(&v, 5, cases[i].hook, cases[i].layers, cases[i].n, NULL), RH_OK);
        for (int j = 0; j < 5 * v->n_layers; j++) v->data[j] = (float)(j + 1) / 3;
        rh_status status = rh_vectorfile_write(path, v, cases[i].metadata, cases[i].hint, cases[i].n_model, &e);
        if (status != cases[i].status) fail_msg("case %zu: %s: %s", i, rh_status_name(status), e.message);
        assert_int_equal(scratch_count(&dir), before + (status == RH_OK));
        if (status == RH_OK) {
            if (rh_vectorfile_read(&f, path, NULL, &e)) fail_msg("case %zu: %s", i, e.message);
            assert_int_equal(f.vector->d, 5);
            assert_int_equal(f.vector->n_layers, v->n_layers);
            assert_memory_equal(f.vector->data, v->data, (size_t)v->n_layers * 20);
            bool npy_file = cases[i].floats, gguf_file = !npy_file && strchr("gG", cases[i].name[2]);
            if (npy_file) assert_int_equal(f.vector->layers[0], -1);
            else assert_memory_equal(f.vector->layers, v->layers, (size_t)v->n_layers * 4);
            assert_int_equal(f.vector->hook, v->hook);
            if (cases[i].metadata && !npy_file) assert_string_equal(f.metadata, cases[i].metadata);
            if (cases[i].hint && gguf_file) assert_string_equal(f.model_hint, cases[i].hint);
            else assert_null(f.model_hint);
        }
        rh_vectorfile_free(&f);
        rh_vector_free(v);
    }
}

/* For each kind: values that are not finite, places that cannot be, and a full disk. */
static void keeps_the_old_file(void **state)
{
    (void)state;
    static const char *const names[] = { "w.safetensors", "w.gguf", "w.npy" };
    const int32_t layer = 1;
    rh_vector *v = NULL;
    rh_error e;
    struct rlimit old, small;
    assert_int_equal(rh_vector_new(&v, 5000, RH_RESID_POST, &layer, 1, NULL), RH_OK);
    for (size_t i = 0; i < 3; i++) {
        char path[600], nowhere[600];
        snprintf(path, sizeof path, "%s", scratch_write(&dir, names[i], "kept", 4));
        snprintf(nowhere, sizeof nowhere, "/nowhere/%s", names[i]);
        int before = scratch_count(&dir);
        v->data[7] = NAN;
        assert_int_equal(rh_vectorfile_write(path, v, NULL, NULL, 0, &e), RH_EVALUE);
        v->data[7] = 0;
        assert_int_equal(rh_vectorfile_write(nowhere, v, NULL, NULL, 0, &e), RH_EIO);
        assert_non_null(strstr(e.message, nowhere));
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = old;
        small.rlim_cur = 9000;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        rh_status status = rh_vectorfile_write(path, v, NULL, NULL, 0, &e);
        setrlimit(RLIMIT_FSIZE, &old);
        signal(SIGXFSZ, SIG_DFL);
        assert_int_equal(status, RH_EIO);
        assert_non_null(strstr(e.message, path));
        assert_int_equal(scratch_count(&dir), before);
        rh_map m;
        assert_int_equal(rh_map_open(&m, path, NULL), RH_OK);
        assert_int_equal(m.size, 4);
        assert_memory_equal(m.data, "kept", 4);
        rh_map_close(&m);
        assert_int_equal(rh_vectorfile_write(path, v, NULL, NULL, 0, &e), RH_OK);
    }
    rh_vector_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_safetensors), cmocka_unit_test(reads_values),
        cmocka_unit_test(reads_control_vectors), cmocka_unit_test(reads_npy),
        cmocka_unit_test(knows_kinds_by_name), cmocka_unit_test(writes),
        cmocka_unit_test(keeps_the_old_file),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
