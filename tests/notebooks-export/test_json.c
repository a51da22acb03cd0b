/* Reports as JSON: parsed back, keys and kinds of values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "fabricate.h"
#include "notebooks-export/export.h"

static json_t *parse(rh_str *text)
{
    json_t *o = NULL;
    rh_error err = {0};
    assert_int_equal(rh_utf8_valid(text->data, text->len), text->len);
    assert_ptr_equal(strchr(text->data, '\n'), text->data + text->len - 1); /* one line */
    if (rh_json_parse(&o, text->data, text->len, "report", &err)) fail_msg("%s", err.message);
    rh_str_free(text);
    return o;
}

/* The value at a path such as "runs.1.projection.0.after". */
static json_t *at(json_t *o, const char *path)
{
    char key[64];
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, p);
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(key)) : json_object_get(o, key);
        if (!o) fail_msg("no %s (in %s)", key, path);
        p += n + (p[n] == '.');
    }
    return o;
}

static void number_is(json_t *o, const char *path, double want)
{
    json_t *v = at(o, path);
    if (!json_is_number(v) || json_number_value(v) != want) fail_msg("%s: %g", path, json_number_value(v));
}

static void text_is(json_t *o, const char *path, const char *want)
{
    json_t *v = at(o, path);
    assert_true(json_is_string(v));
    assert_string_equal(json_string_value(v), want);
}

static void steer(void **state)
{
    (void)state;
    rh_str text = {0};
    assert_int_equal(rh_export_steer_json(&text, fabricate_steer(), NULL), RH_OK);
    json_t *o = parse(&text);
    assert_int_equal(json_array_size(at(o, "runs")), 3);
    number_is(o, "runs.0.strength", 0);
    number_is(o, "runs.0.kl", 0);
    assert_true(json_is_true(at(o, "runs.0.unsteered")));
    assert_true(json_is_null(at(o, "runs.0.kl_position")));
    text_is(o, "runs.0.stop", "token");
    number_is(o, "runs.1.strength", 1);
    number_is(o, "runs.1.kl", 0.0034);
    number_is(o, "runs.1.kl_position", 0);
    number_is(o, "runs.1.next.position", 19);
    number_is(o, "runs.1.next.kl", 3.414);
    number_is(o, "runs.1.next.up.0.change", 8.5);
    text_is(o, "runs.1.next.down.1.piece", "\xEF\xBF\xBD");
    number_is(o, "runs.1.surprisal", 1.93);
    number_is(o, "runs.1.repeated", 0);
    number_is(o, "runs.1.relative_norm", 0.46);
    number_is(o, "runs.1.projection.0.layer", 16);
    text_is(o, "runs.1.projection.0.hook", "resid_post");
    text_is(o, "runs.1.projection.0.over", "prompt");
    number_is(o, "runs.1.projection.0.before", -12.1);
    number_is(o, "runs.1.projection.0.after", 72.1);
    number_is(o, "runs.1.projection.1.after_last", -1e-9);
    number_is(o, "runs.1.watches.0.tokens.3.value", 97.1);
    assert_true(json_is_false(at(o, "runs.1.watches.0.tokens.2.generated")));
    assert_true(json_is_true(at(o, "runs.1.watches.0.tokens.3.generated")));
    assert_true(json_is_true(at(o, "runs.2.collapsed")));
    assert_int_equal(json_array_size(at(o, "runs.2.ids")), 10);
    text_is(o, "geometry.0.parts.1.label", "rain");
    number_is(o, "geometry.0.parts.2.coefficient", -1);
    number_is(o, "geometry.0.cosine.3.0", 0.62);
    text_is(o, "notes.1", "second note");
    number_is(o, "norm_site.layer", 16);
    json_decref(o);
}

static void features(void **state)
{
    (void)state;
    rh_str text = {0};
    assert_int_equal(rh_export_steer_json(&text, fabricate_features(), NULL), RH_OK);
    json_t *o = parse(&text);
    text_is(o, "runs.2.watches.0.value", "activation");
    assert_true(json_is_null(at(o, "runs.2.watches.0.tokens.4.value")));
    assert_int_equal(json_array_size(at(o, "runs.0.features")), 0);
    assert_int_equal(json_array_size(at(o, "runs.2.features")), 2);
    text_is(o, "runs.2.features.0.sae", "s");
    text_is(o, "runs.2.features.0.path", "sae-16");
    number_is(o, "runs.2.features.0.layer", 16);
    text_is(o, "runs.2.features.1.hook", "mlp_in");
    number_is(o, "runs.2.features.0.active_before", 31.75);
    number_is(o, "runs.2.features.0.total_on", 14);
    number_is(o, "runs.2.features.0.on.0.feature", 3);
    number_is(o, "runs.2.features.0.on.0.tokens", 4);
    number_is(o, "runs.2.features.0.on.0.largest", 49.2);
    assert_true(json_is_null(at(o, "runs.2.features.0.on.1.label")));
    text_is(o, "runs.2.features.0.off.0.label", "rain");
    json_decref(o);
}

static void hostile(void **state)
{
    (void)state;
    rh_str text = {0};
    assert_int_equal(rh_export_steer_json(&text, fabricate_hostile(), NULL), RH_OK);
    json_t *o = parse(&text);
    assert_true(json_is_null(at(o, "runs.0.surprisal")));
    assert_true(json_is_null(at(o, "norm")));
    assert_true(json_is_null(at(o, "norm_site.layer")));
    assert_true(json_is_null(at(o, "runs.2.relative_norm")));
    text_is(o, "runs.0.text", "");
    /* JSON keeps controls: it escapes them itself. Broken UTF-8 is repaired. */
    text_is(o, "runs.1.text", fabricate_hostile()->runs[1].text);
    assert_non_null(strstr(json_string_value(at(o, "runs.2.text")), "fog \xEF\xBF\xBD"));
    text_is(o, "prompt", "line one\nline\ttwo \xEF\xBF\xBD");
    text_is(o, "runs.1.projection.0.over", "generated");
    number_is(o, "runs.1.guards.0.tested", 7);
    number_is(o, "runs.1.guards.0.fired", 3);
    json_decref(o);
}

static void vec(void **state)
{
    (void)state;
    rh_str text = {0};
    assert_int_equal(rh_export_vec_json(&text, fabricate_vector(), NULL), RH_OK);
    json_t *o = parse(&text);
    text_is(o, "kind", "vector");
    number_is(o, "d", 576);
    number_is(o, "layers.1.norm", 113.9);
    assert_null(json_object_get(o, "norm")); /* two layers: none is the norm */
    text_is(o, "cosines.2.name", "東京");
    number_is(o, "cosines.2.cosine", -0.553);
    number_is(o, "nearest.0.up.1.projection", 3.2);
    number_is(o, "geometry.0.parts.0.share", 0.487);
    json_decref(o);

    assert_int_equal(rh_export_vec_json(&text, fabricate_scalar(), NULL), RH_OK);
    o = parse(&text);
    text_is(o, "kind", "scalar");
    assert_true(json_is_null(at(o, "value")));
    number_is(o, "values.0.value", 0.312712345678);
    assert_true(json_is_null(at(o, "values.1.value")));
    json_decref(o);

    double x = 2.5;
    rh_vec_report one = {.expression = "5/2", .kind = RH_VALUE_SCALAR, .scalar = &x, .n_scalar = 1, .notes = ""};
    assert_int_equal(rh_export_vec_json(&text, &one, NULL), RH_OK);
    o = parse(&text);
    number_is(o, "value", 2.5);
    assert_null(json_object_get(o, "values"));
    json_decref(o);

    assert_int_equal(rh_export_vec_json(&text, fabricate_span(), NULL), RH_OK);
    o = parse(&text);
    text_is(o, "kind", "span");
    number_is(o, "rank", 2);
    number_is(o, "given", 3);
    number_is(o, "layers.0.rank", 2);
    assert_int_equal(json_array_size(at(o, "notes")), 1);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steer), cmocka_unit_test(features), cmocka_unit_test(hostile), cmocka_unit_test(vec)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
