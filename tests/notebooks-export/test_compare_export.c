/* A made-up comparison as terminal text and as JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "fabricate_compare.h"
#include "lines.h"
#include "notebooks-export/compare_export.h"

enum { N = FABRICATED_VECTORS };

static void text(void **state)
{
    (void)state;
    for (int width = 60; width <= 160; width += 10)
        for (int unicode = 0; unicode < 2; unicode++) {
            rh_terminal t = {.width = width, .unicode = unicode};
            rh_str s = {0};
            assert_int_equal(rh_export_compare_text(&s, fabricate_compare(), &t, NULL), RH_OK);
            check_lines(&s, width, unicode);
            assert_non_null(strstr(s.data, "smol: 9 vectors on 1 prompts, the mean over 7"));
            assert_non_null(strstr(s.data, "0*rain is zero"));
            assert_non_null(strstr(s.data, "46 runs a prompt in 1.2 s"));
            assert_null(strstr(s.data, "nan"));
            /* The first, the middle and the last layer; each pair once, however many columns have room. */
            assert_int_equal(occurrences(s.data, "effects at layer"), 3);
            assert_int_equal(occurrences(s.data, "crosstalk at layer"), 3);
            assert_null(strstr(s.data, "effects at layer 24"));
            assert_int_equal(occurrences(s.data, "1+2 cos"), 1);
            assert_int_equal(occurrences(s.data, "8+9 cos"), 1);
            rh_str_free(&s);
        }
}

static void last_token(void **state)
{
    (void)state;
    rh_compare_report r = *fabricate_compare();
    rh_terminal t = {.width = 80, .unicode = true};
    rh_str s = {0};
    r.last = true;
    r.strength = 1;
    r.n_layers = 1;
    assert_int_equal(rh_export_compare_text(&s, &r, &t, NULL), RH_OK);
    assert_non_null(strstr(s.data, "on 1 prompts, the last token of each\n"));
    assert_int_equal(occurrences(s.data, "effects at layer"), 1);
    rh_str_free(&s);
}

static void json(void **state)
{
    (void)state;
    rh_str s = {0};
    json_t *o = NULL;
    assert_int_equal(rh_export_compare_json(&s, fabricate_compare(), NULL), RH_OK);
    assert_int_equal(rh_json_parse(&o, s.data, s.len, "report", NULL), RH_OK);
    json_t *layers = json_object_get(o, "layers"), *layer = json_array_get(layers, 2), *pairs = json_object_get(o, "additivity");
    assert_string_equal(json_string_value(json_object_get(o, "over")), "mean");
    assert_int_equal(json_array_size(layers), FABRICATED_LAYERS);
    assert_int_equal(json_integer_value(json_object_get(layer, "layer")), 24);
    assert_int_equal(json_array_size(json_object_get(layer, "moved")), N);
    assert_true(json_real_value(json_array_get(json_array_get(json_object_get(layer, "moved"), 1), 1)) == 1233.5);
    assert_true(json_is_null(json_array_get(json_array_get(json_object_get(o, "cosine"), 0), 2))); /* no direction, no number */
    assert_int_equal(json_array_size(pairs), N * (N - 1) / 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(pairs, 1), "b")), "0*rain");
    assert_int_equal(json_array_size(json_object_get(json_array_get(pairs, 0), "layers")), FABRICATED_LAYERS);
    assert_int_equal(json_array_size(json_object_get(o, "notes")), 1);
    assert_int_equal(rh_utf8_valid(s.data, s.len), s.len);
    json_decref(o);
    rh_str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(last_token), cmocka_unit_test(json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
