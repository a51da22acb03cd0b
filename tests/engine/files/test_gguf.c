#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/files/gguf.h"
#include "make.h"
#include "support/scratch_dir.h"

static rh_gguf *open_bytes(rh_str *s)
{
    rh_gguf *g = NULL;
    rh_error e = { 0 };
    assert_false(s->failed);
    rh_status status = rh_gguf_open(&g, scratch_write(&dir, "x.gguf", s->data, s->len), &e);
    if (status) fail_msg("%s: %s", rh_status_name(status), e.message);
    rh_str_free(s);
    return g;
}

/* ---- what is wrong, and what is said ---------------------------------------------------- */

/* u32 key "k" = 1, then what comes before the data of one tensor "t" */
static void one_tensor(rh_str *s, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset,
                       size_t data)
{
    gguf_header(s, 3, 1, 0);
    gguf_tensor(s, "t", ne0, ne1, type, offset);
    pad(s, 32);
    zeros(s, data);
}

static void empty(rh_str *s) { rh_str_add(s, "", 0); }
static void one_byte(rh_str *s) { rh_str_puts(s, "G"); }
static void text(rh_str *s) { rh_str_puts(s, "# not a model"); }
static void zip(rh_str *s) { rh_str_puts(s, "PK\3\4 and so on"); }
static void pointer(rh_str *s) { rh_str_puts(s, "version https://git-lfs"); }
static void is_safetensors(rh_str *s) { good_safetensors(s); }
static void version_0(rh_str *s) { gguf_header(s, 0, 0, 0); }
static void version_1(rh_str *s) { gguf_header(s, 1, 0, 0); }
static void version_4(rh_str *s) { gguf_header(s, 4, 0, 0); }
static void big_endian(rh_str *s) { gguf_header(s, 3u << 24, 0, 0); }
static void many_keys(rh_str *s) { gguf_header(s, 3, 0, UINT64_MAX); }
static void many_tensors(rh_str *s) { gguf_header(s, 3, UINT64_C(1) << 60, 0); }
static void key_missing(rh_str *s) { gguf_header(s, 3, 0, 1), zeros(s, 13); }
static void key_empty(rh_str *s) { gguf_header(s, 3, 0, 1), gguf_text(s, "", "value"); }
static void key_with_nul(rh_str *s)
{
    gguf_header(s, 3, 0, 1);
    put_u64(s, 3), rh_str_add(s, "a\0b", 3), put_u32(s, U32), put_u32(s, 1);
}
static void key_long(rh_str *s)
{
    gguf_header(s, 3, 0, 1);
    put_u64(s, 70000), zeros(s, 80000);
}
static void key_twice(rh_str *s)
{
    gguf_header(s, 3, 0, 2), gguf_text(s, "k", "1"), gguf_text(s, "k", "2");
}
static void key_type(rh_str *s) { gguf_header(s, 3, 0, 1), gguf_key(s, "k", 13), zeros(s, 20); }
static void text_long(rh_str *s)
{
    gguf_header(s, 3, 0, 1), gguf_key(s, "k", STRING), put_u64(s, UINT64_MAX - 7);
}
static void array_type(rh_str *s) { gguf_header(s, 3, 0, 1), gguf_array(s, "k", 99, 1); }
static void array_nested(rh_str *s)
{
    gguf_header(s, 3, 0, 1), gguf_array(s, "k", ARRAY, 1), zeros(s, 20);
}
static void array_long(rh_str *s)
{
    gguf_header(s, 3, 0, 1), gguf_array(s, "k", U64, UINT64_C(1) << 61), zeros(s, 20);
}
static void strings_long(rh_str *s)
{
    gguf_header(s, 3, 0, 1), gguf_array(s, "k", STRING, 3), zeros(s, 23);
}
static void no_dims(rh_str *s)
{
    gguf_header(s, 3, 1, 0), put_string(s, "t"), put_u32(s, 0), zeros(s, 40);
}
static void five_dims(rh_str *s)
{
    gguf_header(s, 3, 1, 0), put_string(s, "t"), put_u32(s, 5), zeros(s, 80);
}
static void zero_dim(rh_str *s) { one_tensor(s, 0, 4, 0, 0, 64); }
static void huge(rh_str *s) { one_tensor(s, UINT64_C(1) << 40, UINT64_C(1) << 40, 0, 0, 64); }
static void negative(rh_str *s) { one_tensor(s, UINT64_MAX, 0, 0, 0, 64); }
static void huge_bytes(rh_str *s) { one_tensor(s, INT64_MAX / 2, 2, 0, 0, 64); }
static void part_block(rh_str *s) { one_tensor(s, 33, 0, 2, 0, 64); }
static void misplaced(rh_str *s) { one_tensor(s, 4, 0, 0, 8, 64); }
static void behind(rh_str *s) { one_tensor(s, 4, 0, 0, 64, 64); }
static void far_behind(rh_str *s) { one_tensor(s, 4, 0, 0, UINT64_MAX - 31, 64); }
static void too_long(rh_str *s) { one_tensor(s, 17, 0, 0, 0, 64); }
static void tensor_twice(rh_str *s)
{
    gguf_header(s, 3, 2, 0), gguf_tensor(s, "t", 4, 0, 0, 0), gguf_tensor(s, "t", 4, 0, 0, 32);
    pad(s, 32), zeros(s, 64);
}
static void overlap(rh_str *s)
{
    gguf_header(s, 3, 2, 0), gguf_tensor(s, "one", 16, 0, 0, 0), gguf_tensor(s, "two", 4, 0, 0, 32);
    pad(s, 32), zeros(s, 64);
}
static void same_place(rh_str *s)
{
    gguf_header(s, 3, 2, 0), gguf_tensor(s, "one", 4, 0, 0, 0), gguf_tensor(s, "two", 4, 0, 0, 0);
    pad(s, 32), zeros(s, 64);
}
static void align_0(rh_str *s)
{
    gguf_header(s, 3, 1, 1), gguf_key(s, "general.alignment", U32), put_u32(s, 0);
    gguf_tensor(s, "t", 4, 0, 0, 0), zeros(s, 64);
}
static void align_48(rh_str *s)
{
    gguf_header(s, 3, 1, 1), gguf_key(s, "general.alignment", U32), put_u32(s, 48);
    gguf_tensor(s, "t", 4, 0, 0, 0), zeros(s, 64);
}
static void align_text(rh_str *s)
{
    gguf_header(s, 3, 1, 1), gguf_text(s, "general.alignment", "x");
    gguf_tensor(s, "t", 4, 0, 0, 0), zeros(s, 64);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        void (*make)(rh_str *s);
        rh_status status;
        const char *message, *hint; /* parts */
    } cases[] = {
        { empty, RH_EFORMAT, "is empty", "" },
        { one_byte, RH_EFORMAT, "no GGUF file: it begins with the bytes 47,", "" },
        { text, RH_EFORMAT, "23 20 6e 6f", "GGUF" },
        { zip, RH_EFORMAT, "no GGUF file", "zip" },
        { pointer, RH_EFORMAT, "no GGUF file", "Git LFS" },
        { is_safetensors, RH_EFORMAT, "no GGUF file", ".safetensors" },
        { version_0, RH_EFORMAT, "has no version", "" },
        { version_1, RH_EUNSUPPORTED, "version 1; versions 2 and 3", "convert" },
        { version_4, RH_EUNSUPPORTED, "version 4;", "convert" },
        { big_endian, RH_EUNSUPPORTED, "big-endian", "convert" },
        { many_keys, RH_EFORMAT, "the header wants 18446744073709551615 items", "again" },
        { many_tensors, RH_EFORMAT, "the header wants 1152921504606846976 items", "again" },
        { key_missing, RH_EFORMAT, "cut off", "again" },
        { key_empty, RH_EFORMAT, "key 1 of 1 has an empty name", "" },
        { key_with_nul, RH_EFORMAT, "NUL", "" },
        { key_long, RH_EFORMAT, "more than 65535", "" },
        { key_twice, RH_EFORMAT, "two keys are called 'k'", "" },
        { key_type, RH_EFORMAT, "unknown type", "" },
        { text_long, RH_EFORMAT, "key 1 of 1 wants 18446744073709551608 bytes", "" },
        { array_type, RH_EFORMAT, "array of an unknown type", "" },
        { array_nested, RH_EFORMAT, "array of arrays", "" },
        { array_long, RH_EFORMAT, "wants 2305843009213693952 items", "" },
        { strings_long, RH_EFORMAT, "cut off", "" },
        { no_dims, RH_EFORMAT, "1 to 4 dimensions", "" },
        { five_dims, RH_EFORMAT, "1 to 4 dimensions", "" },
        { zero_dim, RH_EFORMAT, "tensor 1 of 1 has a dimension of size 0", "" },
        { huge, RH_EFORMAT, "absurd size", "" },
        { negative, RH_EFORMAT, "absurd size", "" },
        { huge_bytes, RH_EFORMAT, "absurd size", "" },
        { part_block, RH_EFORMAT, "whole blocks", "" },
        { misplaced, RH_EFORMAT, "'t' is at offset 8, no multiple of 32", "" },
        { behind, RH_EFORMAT, "tensor 't' has 16 bytes at offset 64", "again" },
        { far_behind, RH_EFORMAT, "tensor 't' has 16 bytes", "again" },
        { too_long, RH_EFORMAT, "tensor 't' has 68 bytes at offset 0", "again" },
        { tensor_twice, RH_EFORMAT, "two tensors are called 't'", "" },
        { overlap, RH_EFORMAT, "'one' and 'two' overlap", "" },
        { same_place, RH_EFORMAT, "overlap", "" },
        { align_0, RH_EFORMAT, "general.alignment is 0", "" },
        { align_48, RH_EFORMAT, "general.alignment is 48", "" },
        { align_text, RH_EFORMAT, "'general.alignment' is a string", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str s = { 0 };
        rh_gguf *g = NULL;
        rh_error e = { 0 };
        cases[i].make(&s);
        const char *path = scratch_write(&dir, "bad.gguf", s.data, s.len);
        rh_status status = rh_gguf_open(&g, path, &e);
        if (status != cases[i].status || g || !strstr(e.message, cases[i].message) ||
            !strstr(e.message, path) || !strstr(e.hint, cases[i].hint))
            fail_msg("case %zu: %s: %s (%s)", i, rh_status_name(status), e.message, e.hint);
        rh_str_free(&s);
    }
}

static void refuses_places(void **state)
{
    (void)state;
    rh_gguf *g = NULL;
    rh_error e;
    assert_int_equal(rh_gguf_open(&g, "/nowhere/x.gguf", &e), RH_EIO);
    assert_string_equal(e.message, "cannot open '/nowhere/x.gguf': No such file or directory");
    assert_int_equal(rh_gguf_open(&g, dir.dir, &e), RH_EIO);
    assert_non_null(strstr(e.message, "is a folder"));
    assert_null(g);
    rh_gguf_close(NULL);
}

/* ---- what is right -------------------------------------------------------------------- */

static void reads_tensors(void **state)
{
    (void)state;
    rh_str s = { 0 };
    good_gguf(&s);
    rh_gguf *g = open_bytes(&s);
    assert_int_equal(rh_gguf_n_tensors(g), 3);
    const rh_tensor *a = rh_gguf_find(g, "a"), *b = rh_gguf_find(g, "b"), *c = rh_gguf_find(g, "c");
    assert_ptr_equal(a, rh_gguf_tensor(g, 0));
    assert_int_equal(a->dtype, RH_F32);
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 3);
    assert_int_equal(a->size, 24);
    float value;
    memcpy(&value, a->data + 20, 4);
    assert_true(value == 5);
    assert_int_equal(b->dtype, RH_Q4_0);
    assert_string_equal(b->raw_type, "Q4_0");
    assert_int_equal(b->size, 36);
    assert_ptr_equal(b->data, a->data + 32);
    assert_int_equal(c->dtype, RH_DTYPE_NONE);
    assert_string_equal(c->raw_type, "IQ2_XS");
    assert_null(rh_gguf_find(g, "d"));
    assert_null(rh_gguf_find(g, ""));
    assert_null(rh_gguf_tensor(g, 3));
    assert_null(rh_gguf_tensor(g, -1));
    assert_non_null(strstr(rh_gguf_map(g)->path, "x.gguf"));
    rh_gguf_close(g);
}

static void reads_integers(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        rh_status status;
        int64_t value;
    } cases[] = {
        { "u8", RH_OK, 255 },         { "i8", RH_OK, -1 },
        { "u16", RH_OK, 65534 },      { "i16", RH_OK, -2 },
        { "u32", RH_OK, UINT32_MAX }, { "i32", RH_OK, -1 },
        { "u64", RH_OK, INT64_MAX },  { "u64 large", RH_EFORMAT, 0 },
        { "i64", RH_OK, -1 },         { "f32", RH_EFORMAT, 0 },
        { "bool", RH_EFORMAT, 0 },    { "general.architecture", RH_EFORMAT, 0 },
        { "ints", RH_EFORMAT, 0 },    { "none", RH_ENAME, 0 },
    };
    rh_str s = { 0 };
    good_gguf(&s);
    rh_gguf *g = open_bytes(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;
        rh_error e = { 0 };
        assert_int_equal(rh_gguf_i64(&value, g, cases[i].key, &e), cases[i].status);
        if (cases[i].status) assert_non_null(strstr(e.message, cases[i].key));
        else assert_true(value == cases[i].value);
        assert_int_equal(rh_gguf_has(g, cases[i].key), cases[i].status != RH_ENAME);
    }
    rh_gguf_close(g);
}

static void reads_the_rest(void **state)
{
    (void)state;
    rh_str s = { 0 };
    good_gguf(&s);
    rh_gguf *g = open_bytes(&s);
    double real;
    bool yes = false;
    rh_bytes text_value;
    int64_t n, ints[3];
    float floats[2];
    const rh_bytes *strings, *again;
    rh_error e;
    assert_int_equal(rh_gguf_f64(&real, g, "f32", &e), RH_OK);
    assert_true(real == 1.5);
    assert_int_equal(rh_gguf_f64(&real, g, "f64", &e), RH_OK);
    assert_true(real == -0.25);
    assert_int_equal(rh_gguf_f64(&real, g, "i16", &e), RH_OK);
    assert_true(real == -2);
    assert_int_equal(rh_gguf_f64(&real, g, "u64 large", &e), RH_OK);
    assert_true(real == 18446744073709551615.0);
    assert_int_equal(rh_gguf_f64(&real, g, "bool", &e), RH_EFORMAT);
    assert_int_equal(rh_gguf_bool(&yes, g, "bool", &e), RH_OK);
    assert_true(yes);
    assert_int_equal(rh_gguf_bool(&yes, g, "u8", &e), RH_EFORMAT);
    assert_int_equal(rh_gguf_string(&text_value, g, "general.architecture", &e), RH_OK);
    assert_int_equal(text_value.len, 4);
    assert_memory_equal(text_value.data, "test", 4);
    assert_int_equal(rh_gguf_string(&text_value, g, "u8", &e), RH_EFORMAT);

    assert_int_equal(rh_gguf_array_n(&n, g, "strings", &e), RH_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rh_gguf_array_n(&n, g, "u8", &e), RH_EFORMAT);
    assert_int_equal(rh_gguf_strings(&strings, &n, g, "strings", &e), RH_OK);
    assert_int_equal(n, 3);
    assert_int_equal(strings[0].len, 3);
    assert_memory_equal(strings[0].data, "one", 3);
    assert_int_equal(strings[1].len, 0);
    assert_memory_equal(strings[2].data, "t\0o", 3);
    assert_int_equal(rh_gguf_strings(&again, &n, g, "strings", &e), RH_OK);
    assert_ptr_equal(again, strings);
    assert_int_equal(rh_gguf_strings(&again, &n, g, "empty", &e), RH_OK);
    assert_int_equal(n, 0);
    assert_int_equal(rh_gguf_strings(&again, &n, g, "ints", &e), RH_EFORMAT);

    assert_int_equal(rh_gguf_floats(floats, 2, g, "floats", &e), RH_OK);
    assert_true(floats[0] == 1 && floats[1] == -2);
    assert_int_equal(rh_gguf_floats(floats, 2, g, "ints", &e), RH_OK);
    assert_true(floats[0] == 7 && floats[1] == -1);
    assert_int_equal(rh_gguf_floats(floats, 1, g, "floats", &e), RH_EFORMAT);
    assert_int_equal(rh_gguf_floats(floats, 2, g, "strings", &e), RH_EFORMAT);
    assert_int_equal(rh_gguf_ints(ints, 2, g, "ints", &e), RH_OK);
    assert_true(ints[0] == 7 && ints[1] == -1);
    assert_int_equal(rh_gguf_ints(ints, 3, g, "bools", &e), RH_OK);
    assert_true(ints[0] == 1 && ints[1] == 0 && ints[2] == 1);
    assert_int_equal(rh_gguf_ints(ints, 2, g, "floats", &e), RH_EFORMAT);
    rh_gguf_close(g);
}

static void lists_keys(void **state)
{
    (void)state;
    static const char *const expected[][2] = {
        { "general.architecture", "test" }, { "u8", "255" },      { "i8", "-1" },
        { "u16", "65534" },                 { "i16", "-2" },      { "u32", "4294967295" },
        { "i32", "-1" },                    { "u64", "9223372036854775807" },
        { "u64 large", "18446744073709551615" }, { "i64", "-1" }, { "f32", "1.5" },
        { "f64", "-0.25" },                 { "bool", "true" },   { "strings", "[3 strings]" },
        { "floats", "[2 f32]" },            { "ints", "[2 i32]" }, { "bools", "[3 bools]" },
        { "empty", "[0 strings]" },
    };
    rh_str s = { 0 };
    good_gguf(&s);
    rh_gguf *g = open_bytes(&s);
    assert_int_equal(rh_gguf_n_keys(g), sizeof expected / sizeof *expected);
    for (int64_t i = 0; i < rh_gguf_n_keys(g); i++) {
        rh_str value = { 0 };
        assert_string_equal(rh_gguf_key(g, i, &value), expected[i][0]);
        assert_string_equal(value.data, expected[i][1]);
        assert_string_equal(rh_gguf_key(g, i, NULL), expected[i][0]);
        rh_str_free(&value);
    }
    assert_null(rh_gguf_key(g, 18, NULL));
    rh_gguf_close(g);

    /* A long text is cut, on one line. */
    rh_str value = { 0 };
    gguf_header(&s, 2, 0, 1);
    gguf_text(&s, "k", "line\nline \x1b[31m 東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京東京");
    g = open_bytes(&s);
    assert_string_equal(rh_gguf_key(g, 0, &value), "k");
    assert_non_null(strstr(value.data, "line\\nline ?[31m 東京"));
    assert_non_null(strstr(value.data, "…"));
    rh_str_free(&value);
    rh_gguf_close(g);
}

static void indexes_a_large_vocabulary(void **state)
{
    (void)state;
    enum { N = 262144 };
    rh_str s = { 0 };
    gguf_header(&s, 3, 0, 1);
    gguf_array(&s, "tokens", STRING, N);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        put_string(&s, name);
    }
    rh_gguf *g = open_bytes(&s);
    const rh_bytes *tokens;
    int64_t n;
    assert_int_equal(rh_gguf_strings(&tokens, &n, g, "tokens", NULL), RH_OK);
    assert_int_equal(n, N);
    assert_int_equal(tokens[N - 1].len, 7);
    assert_memory_equal(tokens[N - 1].data, "t262143", 7);
    assert_memory_equal(tokens[0].data, "t0", 2);
    rh_gguf_close(g);
}

/* Control vectors may have a tensor twice: only rh_gguf_open_repeats takes them. Tensors need
 * not be stored in the order of the list, and the alignment may be another. */
static void takes_variants(void **state)
{
    (void)state;
    rh_str s = { 0 };
    rh_gguf *g = NULL;
    gguf_header(&s, 3, 2, 1);
    gguf_key(&s, "general.alignment", U32), put_u32(&s, 8);
    gguf_tensor(&s, "t", 2, 0, 0, 8);
    gguf_tensor(&s, "t", 2, 0, 0, 0);
    pad(&s, 8);
    for (int i = 0; i < 4; i++) put_f32(&s, (float)i);
    const char *path = scratch_write(&dir, "twice.gguf", s.data, s.len);
    assert_int_equal(rh_gguf_open(&g, path, NULL), RH_EFORMAT);
    assert_int_equal(rh_gguf_open_repeats(&g, path, NULL), RH_OK);
    assert_int_equal(rh_gguf_n_tensors(g), 2);
    const rh_tensor *t = rh_gguf_find(g, "t");
    float x;
    assert_ptr_equal(t, rh_gguf_tensor(g, 0));
    memcpy(&x, t->data, 4);
    assert_true(x == 2);
    rh_gguf_close(g);
    rh_str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_places),
        cmocka_unit_test(reads_tensors),
        cmocka_unit_test(reads_integers),
        cmocka_unit_test(reads_the_rest),
        cmocka_unit_test(lists_keys),
        cmocka_unit_test(indexes_a_large_vocabulary),
        cmocka_unit_test(takes_variants),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
