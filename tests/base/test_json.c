#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "support/scratch.h"

static void places_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        rh_status status;
        int line;
    } cases[] = {
        { "{}", RH_OK, 0 },
        { "[1, 2.5, \"x\", null]", RH_OK, 0 },
        { "\"a string\"", RH_OK, 0 },
        { "\xef\xbb\xbf{}", RH_OK, 0 },
        { "", RH_EFORMAT, 1 },
        { "{", RH_EFORMAT, 1 },
        { "{\n\"a\": 1,\n}", RH_EFORMAT, 3 },
        { "{\"a\": 1,\n \"a\": 2}", RH_EFORMAT, 2 }, /* a key twice */
        { "{} x", RH_EFORMAT, 1 },
        { "[\"\xff\"]", RH_EFORMAT, 1 },
        { "[99999999999999999999]", RH_EFORMAT, 1 },
        { "{\"a\\u0000b\": 1}", RH_EFORMAT, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = NULL;
        rh_error e = { 0 };
        assert_int_equal(rh_json_parse(&value, cases[i].text, strlen(cases[i].text), "f.json", &e),
                         cases[i].status);
        if (cases[i].status) {
            assert_null(value);
            assert_string_equal(e.file, "f.json");
            assert_int_equal(e.line, cases[i].line);
            assert_non_null(strstr(e.message, "f.json"));
        }
        json_decref(value);
    }
    assert_int_equal(rh_json_parse(&(json_t *){ NULL }, "{", 1, "x", NULL), RH_EFORMAT);
}

static void bounds_depth(void **state)
{
    (void)state;
    rh_str s = { 0 };
    for (int i = 0; i < 1000000; i++) rh_str_puts(&s, "[");
    json_t *value = NULL;
    assert_int_equal(rh_json_parse(&value, s.data, s.len, "deep", NULL), RH_EFORMAT);
    rh_str_free(&s);
}

static void loads(void **state)
{
    (void)state;
    scratch dir;
    scratch_open(&dir);
    json_t *value = NULL;
    rh_error e;
    const char *path = scratch_write(&dir, "a.json", "{\"a\": 3}", 8);
    assert_int_equal(rh_json_load(&value, path, &e), RH_OK);
    assert_int_equal(json_integer_value(json_object_get(value, "a")), 3);
    json_decref(value);
    value = NULL;
    assert_int_equal(rh_json_load(&value, scratch_path(&dir, "none.json"), &e), RH_EIO);
    assert_int_equal(rh_json_load(&value, dir.dir, &e), RH_EIO);
    assert_null(value);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_errors),
        cmocka_unit_test(bounds_depth),
        cmocka_unit_test(loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
