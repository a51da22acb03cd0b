#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/files/safetensors.h"
#include "make.h"
#include "support/scratch_dir.h"

/* One tensor "t" F32 [2] and what else the case needs. */
#define T "\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t n_data;
        rh_status status;
        const char *message; /* part; NULL: can be opened */
    } cases[] = {
        { "{" T "}", 8, RH_OK, NULL },
        { "{" T "}    ", 8, RH_OK, NULL },
        { "{}", 0, RH_OK, NULL },
        { "{\"t\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, RH_OK, NULL },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]}}", 0, RH_OK, NULL },
        { "{\"t\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, RH_OK, NULL },
        { "{" T "}", 7, RH_EFORMAT, "cut off or damaged: tensor 't' ends at byte 8 of the data, but the file has only 7" },
        { "{" T "}", 9, RH_EFORMAT, "1 bytes follow the last tensor" },
        { "{" T, 8, RH_EFORMAT, "JSON" },
        { " {" T "}", 8, RH_EFORMAT, "no safetensors file" },
        { "[]", 0, RH_EFORMAT, "no safetensors file" },
        { "{" T "," T "}", 8, RH_EFORMAT, "duplicate" },
        { "{" T ",\"u\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "overlaps" },
        { "{" T ",\"u\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, RH_EFORMAT, "'u' overlaps" },
        { "{" T ",\"u\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", 20, RH_EFORMAT, "hole" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, RH_EFORMAT, "no valid data_offsets" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, RH_EFORMAT, "no valid data_offsets" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, RH_EFORMAT, "no valid data_offsets" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8.0]}}", 8, RH_EFORMAT, "no valid data_offsets" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":\"x\"}}", 8, RH_EFORMAT, "no valid data_offsets" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}", 8, RH_EFORMAT, "cut off" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "do not fit its shape" },
        { "{\"t\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, RH_EFORMAT, "do not fit its shape" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "absurd" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2305843009213693954],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "do not fit its shape" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "whole numbers" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "whole numbers" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "no shape" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, RH_EUNSUPPORTED, "5 dimensions" },
        { "{\"t\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, RH_EUNSUPPORTED, "unknown dtype 'F33'" },
        { "{\"t\":{\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "no dtype" },
        { "{\"t\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, RH_EFORMAT, "no dtype" },
        { "{\"t\":7}", 8, RH_EFORMAT, "no dtype" },
        { "{\"__metadata__\":7," T "}", 8, RH_EFORMAT, "__metadata__" },
        { "{\"__metadata__\":{\"a\":1}," T "}", 8, RH_EFORMAT, "__metadata__ 'a'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str s = { 0 };
        rh_safetensors *file = NULL;
        rh_error e = { 0 };
        safetensors(&s, cases[i].json, cases[i].n_data);
        const char *path = scratch_write(&dir, "x.safetensors", s.data, s.len);
        rh_status status = rh_safetensors_open(&file, path, &e);
        if (status != cases[i].status || (file != NULL) != (status == RH_OK) ||
            (cases[i].message && (!strstr(e.message, cases[i].message) || !strstr(e.message, path))))
            fail_msg("case %zu: %s: %s (%s)", i, rh_status_name(status), e.message, e.hint);
        rh_safetensors_close(file);
        rh_str_free(&s);
    }
}

static void refuses_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message, *hint;
    } cases[] = {
        { "", 0, "is empty", "" },
        { "x", 1, "no safetensors file", "" },
        { "\2\0\0\0\0\0\0", 7, "no safetensors file", "" },
        { "\2\0\0\0\0\0\0\0", 8, "cut off", "again" },
        { "\2\0\0\0\0\0\0\0{", 9, "cut off: its header has 2 bytes, but the file only 9", "again" },
        { "\0\0\0\0\0\0\0\0{}", 10, "no safetensors file", "" },
        { "\377\377\377\377\377\377\377\377{}", 10, "no safetensors file", "" },
        { "GGUF\3\0\0\0{}", 10, "no safetensors file", ".gguf" },
        { "version https://git-lfs", 23, "no safetensors file", "Git LFS" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_safetensors *file = NULL;
        rh_error e = { 0 };
        const char *path = scratch_write(&dir, "x.safetensors", cases[i].bytes, cases[i].n);
        rh_status status = rh_safetensors_open(&file, path, &e);
        if (status != RH_EFORMAT || !strstr(e.message, cases[i].message) || !strstr(e.hint, cases[i].hint))
            fail_msg("case %zu: %s: %s (%s)", i, rh_status_name(status), e.message, e.hint);
    }
    /* Deep nesting must not exhaust the stack. */
    rh_str deep = { 0 }, s = { 0 };
    rh_str_puts(&deep, "{\"a\":");
    for (int i = 0; i < 500000; i++) rh_str_puts(&deep, "[");
    safetensors(&s, deep.data, 0);
    rh_safetensors *file = NULL;
    assert_int_equal(rh_safetensors_open(&file, scratch_write(&dir, "deep", s.data, s.len), NULL), RH_EFORMAT);
    rh_str_free(&deep);
    rh_str_free(&s);
}

static void reads(void **state)
{
    (void)state;
    rh_str s = { 0 };
    rh_safetensors *f = NULL;
    rh_error e;
    good_safetensors(&s);
    const char *path = scratch_write(&dir, "good.safetensors", s.data, s.len);
    assert_int_equal(rh_safetensors_open(&f, path, &e), RH_OK);
    assert_int_equal(rh_safetensors_n(f), 3);
    const rh_tensor *a = rh_safetensors_find(f, "a"), *b = rh_safetensors_find(f, "b");
    const rh_tensor *d = rh_safetensors_find(f, "direction.3");
    assert_int_equal(a->dtype, RH_F32);
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 3);
    assert_int_equal(a->size, 24);
    assert_int_equal(b->dtype, RH_BF16);
    assert_string_equal(b->raw_type, "BF16");
    assert_ptr_equal(a->data, d->data + 8);
    assert_ptr_equal(b->data, a->data + 24);
    assert_null(rh_safetensors_find(f, "__metadata__"));
    assert_null(rh_safetensors_tensor(f, 3));
    assert_string_equal(rh_safetensors_meta(f, "who"), "me");
    assert_null(rh_safetensors_meta(f, "what"));
    assert_int_equal(rh_safetensors_check(f, &e), RH_OK);
    scratch_write(&dir, "good.safetensors", s.data, s.len - 1);
    assert_int_equal(rh_safetensors_check(f, &e), RH_EIO);
    rh_safetensors_close(f);
    rh_safetensors_close(NULL);
    rh_str_free(&s);
}

/* ---- shards ------------------------------------------------------------------------- */

static void shard(const char *file, const char *tensor)
{
    char json[200];
    rh_str s = { 0 };
    snprintf(json, sizeof json, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", tensor);
    safetensors(&s, json, 4);
    scratch_write(&dir, file, s.data, s.len);
    rh_str_free(&s);
}

static void reads_shards(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        rh_status status;
        const char *message;
    } cases[] = {
        { "{\"metadata\":{},\"weight_map\":{\"a\":\"1.st\",\"b\":\"2.st\"}}", RH_OK, "" },
        { "{\"weight_map\":{\"a\":\"1.st\",\"b\":\"3.st\"}}", RH_EIO, "3.st' is missing" },
        { "{\"weight_map\":{\"a\":\"1.st\",\"c\":\"2.st\"}}", RH_EFORMAT, "tensor 'c' is not in its shard" },
        { "{\"weight_map\":{\"a\":\"1.st\",\"b\":\"../x/2.st\"}}", RH_EFORMAT, "own folder" },
        { "{\"weight_map\":{\"a\":\"1.st\",\"b\":\"/etc/passwd\"}}", RH_EFORMAT, "own folder" },
        { "{\"weight_map\":{\"a\":\"..\"}}", RH_EIO, "is missing" },
        { "{\"weight_map\":{\"a\":\"\"}}", RH_EFORMAT, "own folder" },
        { "{\"weight_map\":{\"a\":1}}", RH_EFORMAT, "no string" },
        { "{\"weight_map\":[]}", RH_EFORMAT, "no weight_map" },
        { "[]", RH_EFORMAT, "no weight_map" },
        { "{", RH_EFORMAT, "JSON" },
        { "{\"weight_map\":{\"a\":\"1.st\",\"b\":\"1 again.st\"}}", RH_EFORMAT, "in two of its shards" },
        { "{\"weight_map\":{\"a\":\"bad.st\"}}", RH_EFORMAT, "bad.st" },
    };
    shard("1.st", "a");
    shard("2.st", "b");
    shard("1 again.st", "a");
    scratch_write(&dir, "bad.st", "x", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const index = "model.safetensors.index.json";
        scratch_write(&dir, index, cases[i].index, strlen(cases[i].index));
        for (int folder = 0; folder < 2; folder++) {
            rh_safetensors *f = NULL;
            rh_error e = { 0 };
            rh_status status = rh_safetensors_open(&f, folder ? dir.dir : scratch_path(&dir, index), &e);
            if (status != cases[i].status || !strstr(e.message, cases[i].message))
                fail_msg("case %zu: %s: %s (%s)", i, rh_status_name(status), e.message, e.hint);
            if (f) {
                assert_int_equal(rh_safetensors_n(f), 2);
                assert_non_null(strstr(rh_safetensors_find(f, "b")->path, "/2.st"));
            }
            rh_safetensors_close(f);
        }
    }
    rh_safetensors *f = NULL;
    rh_error e;
    shard("model.safetensors", "only"); /* goes before an index */
    assert_int_equal(rh_safetensors_open(&f, dir.dir, &e), RH_OK);
    assert_non_null(rh_safetensors_find(f, "only"));
    rh_safetensors_close(f);
    unlink(scratch_path(&dir, "model.safetensors"));
    unlink(scratch_path(&dir, "model.safetensors.index.json"));
    f = NULL;
    assert_int_equal(rh_safetensors_open(&f, dir.dir, &e), RH_EIO);
    assert_non_null(strstr(e.message, "neither"));
    assert_int_equal(rh_safetensors_open(&f, "/nowhere.safetensors", &e), RH_EIO);
    assert_null(f);
}

static void reads_tiny_models(void **state)
{
    (void)state;
    static const char *const folders[] = { "llama-f32", "gemma3-f32" }; /* one file; three shards */
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[600];
        rh_safetensors *f = NULL;
        rh_error e = { 0 };
        snprintf(path, sizeof path, "%s/models/%s", RH_TEST_DATA, folders[i]);
        if (rh_safetensors_open(&f, path, &e)) fail_msg("%s", e.message);
        assert_non_null(rh_safetensors_find(f, "model.embed_tokens.weight"));
        rh_safetensors_close(f);
    }
}

/* ---- writing ------------------------------------------------------------------------ */

static void writes_what_it_reads(void **state)
{
    (void)state;
    const rh_safetensors_entry entries[] = {
        { "x \"quoted\" 東京", RH_F32, 2, { 2, 3 } },
        { "scalar", RH_F32, 0, { 0 } },
        { "half", RH_F16, 1, { 3 } },
        { "empty", RH_BF16, 2, { 0, 5 } },
        { "brain", RH_BF16, 3, { 1, 1, 2 } },
    };
    const char *const meta[][2] = { { "rhumb", "{\"a\":1}" }, { "note", "line\nline" } };
    float x[7] = { 0, 1, 2, 3, 4, 5, 42 };
    uint16_t y[5] = { 1, 2, 3, 4, 5 };
    rh_st_writer *w = NULL;
    rh_safetensors *f = NULL;
    rh_error e = { 0 };
    char path[600];
    snprintf(path, sizeof path, "%s", scratch_path(&dir, "w.safetensors"));
    if (rh_st_writer_open(&w, path, entries, 5, meta, 2, &e)) fail_msg("%s", e.message);
    assert_int_equal(rh_st_writer_put(w, x, 10, &e), RH_OK); /* in any pieces */
    assert_int_equal(rh_st_writer_put(w, (char *)x + 10, sizeof x - 10, &e), RH_OK);
    assert_int_equal(rh_st_writer_put(w, y, sizeof y, &e), RH_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rh_st_writer_commit(w, &e), RH_OK);
    if (rh_safetensors_open(&f, path, &e)) fail_msg("%s", e.message);
    assert_int_equal(rh_safetensors_n(f), 5);
    for (int i = 0; i < 5; i++) {
        const rh_tensor *t = rh_safetensors_find(f, entries[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, entries[i].dtype);
        assert_int_equal(t->n_dims, entries[i].n_dims);
        for (int j = 0; j < t->n_dims; j++) assert_int_equal(t->shape[j], entries[i].shape[j]);
    }
    assert_memory_equal(rh_safetensors_find(f, entries[0].name)->data, x, 24);
    assert_memory_equal(rh_safetensors_find(f, "scalar")->data, x + 6, 4);
    assert_memory_equal(rh_safetensors_find(f, "half")->data, y, 6);
    assert_memory_equal(rh_safetensors_find(f, "brain")->data, y + 3, 4);
    assert_int_equal((uintptr_t)rh_safetensors_find(f, entries[0].name)->data % 8, 0);
    assert_string_equal(rh_safetensors_meta(f, "note"), "line\nline");
    rh_safetensors_close(f);
}

static void refuses_to_write(void **state)
{
    (void)state;
    static const struct {
        rh_safetensors_entry entries[2];
        int64_t n;
        const char *key;
    } cases[] = {
        { { { "a", RH_F32, 1, { 2 } }, { "a", RH_F32, 1, { 2 } } }, 2, "k" },
        { { { "a", RH_Q4_0, 1, { 32 } } }, 1, "k" },
        { { { "a", RH_DTYPE_NONE, 1, { 32 } } }, 1, "k" },
        { { { "a", RH_F32, 5, { 1 } } }, 1, "k" },
        { { { "a", RH_F32, 1, { -1 } } }, 1, "k" },
        { { { "a", RH_F32, 2, { INT64_MAX, 2 } } }, 1, "k" },
        { { { "a", RH_F32, 1, { INT64_MAX / 4 } }, { "b", RH_F32, 1, { INT64_MAX / 4 } } }, 2, "k" },
        { { { "a", RH_F16, 1, { 1 } }, { "b", RH_F32, 1, { 1 } } }, 2, "k" },
        { { { "a\xff", RH_F32, 1, { 1 } } }, 1, "k" },
        { { { "__metadata__", RH_F32, 1, { 1 } } }, 1, "k" },
        { { { "a", RH_F32, 1, { 1 } } }, 1, "k\xff" },
    };
    int before = scratch_count(&dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const meta[][2] = { { cases[i].key, "v" } };
        rh_st_writer *w = NULL;
        rh_error e = { 0 };
        rh_status status = rh_st_writer_open(&w, scratch_path(&dir, "never"), cases[i].entries, cases[i].n,
                                             meta, 1, &e);
        if (status != RH_EVALUE || w) fail_msg("case %zu: %s: %s", i, rh_status_name(status), e.message);
        assert_int_equal(scratch_count(&dir), before);
    }
}

/* Whatever goes wrong, the file that stood there still stands there, and nothing beside it. */
static void keeps_the_old_file(void **state)
{
    (void)state;
    const rh_safetensors_entry entry = { "a", RH_F32, 1, { 5000 } };
    static const float data[5001];
    rh_st_writer *w = NULL;
    rh_error e;
    char path[600];
    snprintf(path, sizeof path, "%s", scratch_write(&dir, "kept", "kept", 4));
    int before = scratch_count(&dir);
    assert_int_equal(rh_st_writer_open(&w, path, &entry, 1, NULL, 0, &e), RH_OK);
    assert_int_equal(rh_st_writer_put(w, data, 19996, &e), RH_OK);
    assert_int_equal(rh_st_writer_commit(w, &e), RH_EVALUE); /* four bytes are missing */
    assert_int_equal(rh_st_writer_open(&w, path, &entry, 1, NULL, 0, &e), RH_OK);
    assert_int_equal(rh_st_writer_put(w, data, 20004, &e), RH_EVALUE); /* four too many */
    rh_st_writer_discard(w);
    rh_st_writer_discard(NULL);

    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 9000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rh_status status = rh_st_writer_open(&w, path, &entry, 1, NULL, 0, &e);
    assert_int_equal(status, RH_OK);
    status = rh_st_writer_put(w, data, 20000, &e);
    if (status) rh_st_writer_discard(w);
    else status = rh_st_writer_commit(w, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, RH_EIO);

    assert_int_equal(scratch_count(&dir), before);
    rh_map m;
    assert_int_equal(rh_map_open(&m, path, &e), RH_OK);
    assert_int_equal(m.size, 4);
    assert_memory_equal(m.data, "kept", 4);
    rh_map_close(&m);
    assert_int_equal(rh_st_writer_open(&w, "/nowhere/x", &entry, 1, NULL, 0, &e), RH_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),          cmocka_unit_test(refuses_bytes),
        cmocka_unit_test(reads),            cmocka_unit_test(reads_shards),
        cmocka_unit_test(reads_tiny_models), cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(refuses_to_write), cmocka_unit_test(keeps_the_old_file),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
