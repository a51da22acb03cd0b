/* A made-up search in each of its formats. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "notebooks-export/auto_export.h"
#include "notebooks-export/shapes.h"

enum { N = 3 };

/* In static storage, made anew by each call. */
static rh_auto_report fabricate(void)
{
    static rh_auto_setting settings[N];
    static rh_auto_test tests[3];
    static char *texts[3];
    static char prompt[] = "Say \"something\".", hostile[] = "San \x1b[31mFrancisco\xff, \"<&>\"";
    static char model[] = "smol<lm>", expression[] = "sf & rain", target[] = "San Francisco", labels[3][12] = {"unsteered", "steered", "random 1"};
    static char *prompts[] = {prompt};
    const rh_auto_score base = {.n = 4, .presence = 0, .gain = 0, .surprisal = 1.2, .kl = 0};
    for (int i = 0; i < N; i++) {
        settings[i] = (rh_auto_setting){.layer = 10 + i, .strength = 0.5 + i, .resid = 0.3, .sample = hostile,
                                        .score = {.n = 4, .hits = i, .broken = i == 2 ? 4 : 0, .presence = i ? i : NAN, .gain = 3, .surprisal = 2, .kl = 0.4},
                                        .knee = {.value = i, .cost = 0.8 * i, .healthy = i < 2, .frontier = i == 1}};
    }
    for (int i = 0; i < 3; i++) {
        texts[i] = hostile;
        tests[i] = (rh_auto_test){.label = labels[i], .score = base, .lo = 0, .hi = 0.5, .texts = &texts[i]};
        tests[i].score.n = 1;
        tests[i].score.hits = i == 1;
    }
    return (rh_auto_report){.model = model, .expression = expression, .target = target, .read_layer = 24, .n_layers = 30,
                            .hook = RH_RESID_POST, .max_tokens = 8, .prompts = prompts, .n_prompts = 1, .held_out = prompts,
                            .n_held_out = 1, .unsteered = base, .unsteered_sample = hostile, .settings = settings, .n_settings = N,
                            .picked = 1, .tests = tests, .n_tests = 3, .random_n = 1, .random_hi = 0.8, .verdict = RH_AUTO_WORKS};
}

static void has(const rh_str *s, const char *what)
{
    if (!s->data || !strstr(s->data, what)) fail_msg("no '%s' in\n%s", what, s->data ? s->data : "");
}

static void lacks(const rh_str *s, const char *what)
{
    if (s->data && strstr(s->data, what)) fail_msg("'%s' in\n%s", what, s->data);
}

static void text(void **state)
{
    (void)state;
    rh_auto_report r = fabricate();
    static const rh_terminal t = {.width = 100, .unicode = true};
    rh_str s = {0};
    assert_int_equal(rh_export_auto_text(&s, &r, &t, NULL), RH_OK);
    has(&s, "> layer 11, 1.5x (0.3 resid)");
    has(&s, "x layer 12");
    has(&s, "It beats random directions");
    has(&s, "0..50%");
    lacks(&s, "\x1b");
    assert_int_equal(rh_utf8_valid(s.data, s.len), s.len);
    rh_str_free(&s);
    r.verdict = RH_AUTO_NOT_SHOWN;
    assert_int_equal(rh_export_auto_text(&s, &r, &t, NULL), RH_OK);
    has(&s, "NOT shown to beat");
    rh_str_free(&s);
    r.verdict = RH_AUTO_NOTHING;
    r.picked = -1;
    r.n_tests = 0;
    assert_int_equal(rh_export_auto_text(&s, &r, &t, NULL), RH_OK);
    has(&s, "Nothing works");
    lacks(&s, "Picked");
    rh_str_free(&s);
}

static void json(void **state)
{
    (void)state;
    rh_auto_report r = fabricate();
    rh_str s = {0};
    json_t *o = NULL;
    assert_int_equal(rh_export_auto_json(&s, &r, NULL), RH_OK);
    assert_int_equal(rh_json_parse(&o, s.data, s.len, "report", NULL), RH_OK);
    assert_int_equal(json_array_size(json_object_get(o, "settings")), N);
    json_t *picked = json_object_get(o, "picked"), *first = json_array_get(json_object_get(o, "settings"), 0);
    assert_int_equal(json_integer_value(json_object_get(picked, "layer")), 11);
    assert_true(json_is_null(json_object_get(first, "presence"))); /* not a number */
    assert_string_equal(json_string_value(json_object_get(o, "verdict")), "works");
    assert_int_equal(json_array_size(json_object_get(o, "held_out")), 3);
    json_decref(o);
    rh_str_free(&s);
}

static void csv(void **state)
{
    (void)state;
    rh_auto_report r = fabricate();
    rh_str s = {0};
    assert_int_equal(rh_export_auto_csv(&s, &r, NULL), RH_OK);
    has(&s, "\r\n11,1.5,0.3,4,1,0,1,3,2,0,0.4,0.8,1,1,1,\"");
    has(&s, "\"\"<&>\"\"\"\r\n");
    has(&s, "10,0.5,0.3,4,0,0,,3"); /* no number, no digits */
    assert_int_equal(rh_utf8_valid(s.data, s.len), s.len);
    rh_str_free(&s);
}

static void picture(void **state)
{
    (void)state;
    rh_auto_report r = fabricate();
    rh_str s = {0};
    assert_int_equal(rh_export_auto_svg(&s, &r, NULL), RH_OK);
    has(&s, "smol&lt;lm&gt;: steering with sf &amp; rain, 3 settings");
    has(&s, "</svg>\n");
    has(&s, "font-weight='bold'>layer 11, strength 1.5");
    lacks(&s, "nan");
    lacks(&s, "inf");
    rh_str_free(&s);
    r.n_settings = 0;
    r.picked = -1;
    assert_int_equal(rh_export_auto_svg(&s, &r, NULL), RH_OK);
    lacks(&s, "nan");
    rh_str_free(&s);
}

static void steps(void **state)
{
    (void)state;
    static const struct { double range; int n; double want; } cases[] = {
        {10, 5, 2}, {1, 5, 0.2}, {7, 6, 1}, {0, 5, 1}, {NAN, 5, 1}, {2.4, 5, 0.5}, {48, 6, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = rh_round_step(cases[i].range, cases[i].n);
        if (fabs(got - cases[i].want) > 1e-12) fail_msg("%g/%d: %g", cases[i].range, cases[i].n, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(json), cmocka_unit_test(csv),
                                       cmocka_unit_test(picture), cmocka_unit_test(steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
