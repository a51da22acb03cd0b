/* A made-up forecast as terminal text and as JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "fabricate_forecast.h"
#include "lines.h"
#include "notebooks-export/forecast_export.h"

static void text(void **state)
{
    (void)state;
    for (int width = 60; width <= 120; width += 20)
        for (int unicode = 0; unicode < 2; unicode++) {
            const rh_terminal t = {.width = width, .unicode = unicode};
            rh_str s = {0};
            assert_int_equal(rh_export_forecast_text(&s, fabricate_forecast(), &t, NULL), RH_OK);
            check_lines(&s, width, unicode);
            assert_non_null(strstr(s.data, "15 features will come on, 14 did, 11 are both: precision"));
            assert_non_null(strstr(s.data, "120353"));
            assert_non_null(strstr(s.data, "and 12 more"));
            assert_non_null(strstr(s.data, "not forecast"));
            assert_non_null(strstr(s.data, "and 2 more"));
            assert_non_null(strstr(s.data, "0 features will come off"));
            assert_null(strstr(s.data, "nan"));
            rh_str_free(&s);
        }
    rh_forecast silent = *fabricate_forecast(); /* the model stopped at once: nothing to hold it against */
    rh_str s = {0};
    const rh_terminal t = {.width = 80};
    silent.n_generated = 0;
    assert_int_equal(rh_export_forecast_text(&s, &silent, &t, NULL), RH_OK);
    assert_non_null(strstr(s.data, "15 features will come on\n"));
    rh_str_free(&s);
}

static void json(void **state)
{
    (void)state;
    rh_str s = {0};
    json_t *o = NULL;
    assert_int_equal(rh_export_forecast_json(&s, fabricate_forecast(), NULL), RH_OK);
    assert_int_equal(rh_json_parse(&o, s.data, s.len, "json", NULL), RH_OK);
    const json_t *on = json_object_get(o, "on"), *off = json_object_get(o, "off");
    assert_int_equal(json_integer_value(json_object_get(o, "layer")), 16);
    assert_true(fabs(json_number_value(json_object_get(on, "precision")) - 11 / 15.0) < 1e-12);
    assert_true(fabs(json_number_value(json_object_get(on, "recall")) - 11 / 14.0) < 1e-12);
    assert_true(json_is_null(json_object_get(off, "precision")));
    const json_t *features = json_object_get(on, "features");
    assert_int_equal(json_array_size(features), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(features, 0), "feature")), 120353);
    assert_true(json_is_null(json_object_get(json_array_get(features, 1), "label")));
    assert_true(json_is_null(json_object_get(json_array_get(features, 2), "push")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(on, "missed"), 0), "label")), "rain");
    json_decref(o);
    rh_str_free(&s);
    rh_forecast silent = *fabricate_forecast();
    silent.n_generated = 0;
    assert_int_equal(rh_export_forecast_json(&s, &silent, NULL), RH_OK);
    assert_int_equal(rh_json_parse(&o, s.data, s.len, "json", NULL), RH_OK);
    assert_true(json_is_null(json_object_get(json_object_get(o, "on"), "fact")));
    assert_true(json_is_null(json_object_get(json_object_get(o, "on"), "precision")));
    json_decref(o);
    rh_str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
