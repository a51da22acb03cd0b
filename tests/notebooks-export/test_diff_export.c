/* diff's report as text, JSON and SVG. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "lines.h"
#include "notebooks-export/chart.h"
#include "notebooks-export/export.h"

enum { LAYERS = 3, POSITIONS = 2, D = 2 };

static rh_diff_site sites[LAYERS * POSITIONS];
static double cosine[POSITIONS * LAYERS * LAYERS];
static float directions[LAYERS * POSITIONS * D];
static int32_t layers[] = {4, 9, 12};

/* hostile: names that no terminal and no markup should see raw; figures that do not exist. */
static rh_diff_report fabricate(bool hostile)
{
    rh_diff_report r = {
        .model = hostile ? "m\x1b[2J" : "SmolLM2", .path = hostile ? "a<b>&\"\xFF.csv" : "examples/sf.csv", .paired = !hostile,
        .n_rows = 200, .n_texts = 256, .n_class = {128, 128}, .n_tokens = 1760, .n_groups = 16, .n_folds = 5, .n_bootstrap = 200,
        .n_permutations = hostile ? 0 : 200, .d = D, .sampled = true, .seed = 7, .tokens_mean = {7.3, 6.4}, .tokens_auc = 0.94,
        .file_bytes = 35450880, .model_layers = 30, .n_layers = LAYERS, .n_positions = POSITIONS, .layers = layers, .sites = sites,
        .cosine = cosine, .directions = directions, .notes = hostile ? "one \x1b[31mred" : "first\nsecond",
        .choice = {.site = 1, .auc = 0.975, .effect = 3.25, .p = 0.005, .agree = 3, .folds = 5, .first_layer = 4, .last_layer = 12,
                   .reason = "layer 9, read at last: the middle of a plateau"}};
    memcpy(r.sha256, "0123", 5);
    for (int32_t s = 0; s < LAYERS * POSITIONS; s++) {
        double x = s + 1;
        sites[s] = (rh_diff_site){.position = s / LAYERS, .layer = layers[s % LAYERS],
                                  .real = {12.5 * x, x / 2, 0.5 + x / 20, 0.9, 0.99, 0.8},
                                  .control = {3, -0.01, 0.5, -0.8, 1, 0.2}, .median_norm = 100, .ratio = x / 8,
                                  .effect_in_sample = x, .auc_control_95 = 0.78, .p = 0.005, .p_max = 0.01 * x, .length = 0.3,
                                  .length_within = hostile ? NAN : 0.1, .outlier = 0.2, .coordinate = 17};
        if (hostile) sites[s].real.effect = sites[s].real.low = sites[s].p_max = sites[s].ratio = NAN;
    }
    for (int i = 0; i < POSITIONS * LAYERS * LAYERS; i++) cosine[i] = 1.0 / (1 + i);
    if (hostile) r.choice = (rh_diff_choice){.site = -1};
    return r;
}

static void text_fits_and_is_clean(void **state)
{
    (void)state;
    static const int widths[] = {72, 80, 120, 200};
    for (int hostile = 0; hostile < 2; hostile++)
        for (size_t w = 0; w < 4; w++)
            for (int unicode = 0; unicode < 2; unicode++) {
                rh_str out = {0};
                rh_diff_report r = fabricate(hostile);
                rh_terminal t = {widths[w], false, unicode};
                assert_int_equal(rh_export_diff_text(&out, &r, &t, NULL), RH_OK);
                assert_int_equal(rh_utf8_valid(out.data, out.len), out.len);
                assert_null(strchr(out.data, 0x1b));
                assert_true(out.data[out.len - 1] == '\n');
                for (const char *at = out.data; *at;) {
                    size_t n = strcspn(at, "\n");
                    if (rh_utf8_width(at, n) > widths[w]) fail_msg("wider than %d: %.*s", widths[w], (int)n, at);
                    if (n) assert_true(at[n - 1] != ' ');
                    for (size_t i = 0; !unicode && i < n; i++) assert_true((unsigned char)at[i] < 128);
                    at += n + 1;
                }
                rh_str_free(&out);
            }
}

static void text_says_it(void **state)
{
    (void)state;
    rh_str out = {0};
    rh_diff_report r = fabricate(false);
    rh_terminal t = {120, false, false};
    assert_int_equal(rh_export_diff_text(&out, &r, &t, NULL), RH_OK);
    static const char *const words[] = {"128 pairs sampled from 200", "16 independent groups", "layer 9, read at last", "AUC 0.97",
                                        "3 of 5 folds", "of 5 folds", ">    9", "0.900..0.990", "note: first", "note: second",
                                        "read at the last token", "read as the mean", "200 permutations"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(out.data, words[i])) fail_msg("no \"%s\" in\n%s", words[i], out.data);
    rh_str_free(&out);
}

static json_t *read_back(const rh_diff_report *r)
{
    rh_str out = {0};
    json_t *o = NULL;
    rh_error err = {0};
    assert_int_equal(rh_export_diff_json(&out, r, NULL), RH_OK);
    assert_int_equal(strcspn(out.data, "\n"), out.len - 1);
    if (rh_json_parse(&o, out.data, out.len, "output", &err)) fail_msg("%s", err.message);
    rh_str_free(&out);
    return o;
}

static double number(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    if (!json_is_number(x)) fail_msg("%s is no number", key);
    return json_number_value(x);
}

static void json_has_everything(void **state)
{
    (void)state;
    rh_diff_report r = fabricate(false);
    json_t *o = read_back(&r), *first = json_object_get(o, "recommended");
    assert_true(number(first, "layer") == 9 && number(first, "auc") == 0.975 && number(first, "folds_agree") == 3);
    assert_string_equal(json_string_value(json_object_get(first, "position")), "last");
    json_t *all = json_object_get(o, "sites");
    assert_int_equal(json_array_size(all), LAYERS * POSITIONS);
    for (size_t s = 0; s < json_array_size(all); s++) {
        static const char *const keys[] = {"layer", "norm", "effect", "auc", "split_half", "median_h", "relative_norm",
                                           "effect_in_sample", "p", "p_max", "length_correlation", "length_correlation_within",
                                           "outlier_share", "outlier_coordinate"};
        json_t *x = json_array_get(all, s), *control = json_object_get(x, "control");
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) number(x, keys[i]);
        assert_int_equal(json_array_size(json_object_get(x, "bootstrap")), 2);
        assert_true(number(control, "auc") == 0.5 && number(control, "auc_95") == 0.78 && number(control, "norm") == 3);
        assert_true(number(x, "norm") == sites[s].real.norm);
    }
    json_t *rows = json_object_get(json_object_get(o, "cosine"), "mean");
    assert_true(fabs(json_real_value(json_array_get(json_array_get(rows, 1), 2)) - cosine[LAYERS * LAYERS + 1 * LAYERS + 2]) < 1e-9);
    assert_int_equal(json_array_size(json_object_get(o, "notes")), 2);
    json_decref(o);
    r = fabricate(true);
    o = read_back(&r);
    assert_true(json_is_null(json_object_get(o, "recommended")));
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o, "sites"), 0), "effect")));
    json_decref(o);
}

static void picture(void **state)
{
    (void)state;
    for (int hostile = 0; hostile < 2; hostile++) {
        rh_str out = {0};
        rh_diff_report r = fabricate(hostile);
        assert_int_equal(rh_export_diff_svg(&out, &r, NULL), RH_OK);
        assert_int_equal(rh_utf8_valid(out.data, out.len), out.len);
        assert_true(strncmp(out.data, "<svg ", 5) == 0 && strcmp(out.data + out.len - 7, "</svg>\n") == 0);
        assert_int_equal(occurrences(out.data, "<path"), 2 * POSITIONS); /* and the permuted ones */
        assert_int_equal(occurrences(out.data, "<circle"), hostile ? 0 : LAYERS * POSITIONS);
        assert_int_equal(occurrences(out.data, "stroke='#ddd'"), !hostile); /* the recommended layer */
        assert_null(strstr(out.data, "nan"));
        assert_null(strstr(out.data, "inf"));
        assert_null(strstr(out.data, "a<b>"));
        assert_null(strchr(out.data, 0x1b));
        rh_str_free(&out);
    }
}

/* Ranges that are no ranges. */
static void odd_charts(void **state)
{
    (void)state;
    static const double x[] = {3}, same[] = {0}, low[] = {-4}, gaps[] = {NAN}, huge[] = {1e300};
    const double *cases[] = {same, low, gaps, huge};
    for (size_t i = 0; i < 4; i++) {
        rh_str out = {0};
        rh_curve curve = {"curve", cases[i], 0, false};
        rh_chart c = {.title = "t", .x_label = "x", .y_label = "y", .x = x, .n = 1, .curves = &curve, .n_curves = 1, .marked = NAN};
        rh_chart_svg(&out, &c);
        assert_false(out.failed);
        assert_null(strstr(out.data, "nan"));
        assert_null(strstr(out.data, "inf"));
        rh_str_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_fits_and_is_clean), cmocka_unit_test(text_says_it),
                                       cmocka_unit_test(json_has_everything), cmocka_unit_test(picture),
                                       cmocka_unit_test(odd_charts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
