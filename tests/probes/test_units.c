/* Strengths with units: what is read, and what each unit makes of a vector. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probes/units.h"
#include "stage.h"

static void parsing(void **state)
{
    (void)state;
    static const struct { const char *text; double value; int unit; } cases[] = {
        {"1", 1, RH_UNIT_X},          {"1.5x", 1.5, RH_UNIT_X},       {"-2", -2, RH_UNIT_X}, {" 0.2resid ", 0.2, RH_UNIT_RESID},
        {"4sigma", 4, RH_UNIT_SIGMA}, {"1.5maxact", 1.5, RH_UNIT_MAXACT}, {"-1e-1sigma", -0.1, RH_UNIT_SIGMA}, {"1e2", 100, RH_UNIT_X},
        {"", 0, -1},  {"x", 0, -1},    {"1y", 0, -1}, {"1 x", 0, -1}, {"1residx", 0, -1}, {"nan", 0, -1}, {"inf", 0, -1},
        {"0x10", 0, -1}, {"1e999", 0, -1}, {"1..2", 0, -1}, {"resid", 0, -1}, {"--1", 0, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_strength s = {0};
        rh_error err = {0};
        rh_status status = rh_strength_parse(&s, cases[i].text, strlen(cases[i].text), &err);
        if (cases[i].unit < 0) {
            if (status != RH_EVALUE) fail_msg("'%s' was read", cases[i].text);
            assert_true(err.hint[0]);
        } else if (status || s.value != cases[i].value || (int)s.unit != cases[i].unit) {
            fail_msg("'%s': %g %d", cases[i].text, s.value, (int)s.unit);
        }
    }
}

static void lists(void **state)
{
    (void)state;
    rh_strength *items = NULL;
    size_t n = 0, cap = 0;
    assert_int_equal(rh_strength_list(&items, &n, &cap, "0.5, 0.2resid,4sigma", NULL), RH_OK);
    assert_int_equal(rh_strength_list(&items, &n, &cap, "3", NULL), RH_OK);
    assert_int_equal(n, 4);
    assert_true(items[1].unit == RH_UNIT_RESID && items[2].value == 4 && items[3].value == 3);
    assert_int_equal(rh_strength_list(&items, &n, &cap, "1,,2", NULL), RH_EVALUE);
    free(items);
}

static void factors(void **state)
{
    (void)state;
    static const struct { rh_strength s; double norm; rh_unit_figures figures; double want; } cases[] = {
        {{2, RH_UNIT_X}, 0, {NAN, NAN, NAN}, 2},
        {{0.2, RH_UNIT_RESID}, 4, {100, NAN, NAN}, 5},
        {{-3, RH_UNIT_SIGMA}, 6, {NAN, 0.5, NAN}, -0.25},
        {{1.5, RH_UNIT_MAXACT}, 2, {NAN, NAN, 40}, 30},
        {{1, RH_UNIT_RESID}, 0, {100, NAN, NAN}, NAN},
        {{1, RH_UNIT_SIGMA}, 1, {100, 0, 40}, NAN},
        {{1, RH_UNIT_SIGMA}, 1, {100, NAN, 40}, NAN},
        {{1, RH_UNIT_MAXACT}, 1, {100, 1, NAN}, NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = 0;
        rh_status status = rh_strength_factor(&got, cases[i].s, cases[i].norm, &cases[i].figures, NULL);
        if (isnan(cases[i].want) ? status != RH_EVALUE : status || fabs(got - cases[i].want) > 1e-12) fail_msg("case %d: %g", (int)i, got);
    }
}

/* The median that a steering report states for the same prompt. */
static void median(void **state)
{
    static const char prompt[] = "the rain in the city", *const prompts[] = {prompt};
    stage s;
    rh_steer_options o = stage_options(1);
    rh_prompt_options plain = {0};
    double got = 0;
    const int32_t layer = 1;
    stage_open(&s, *state, NULL, "act(\"rain\") - act(\"snow\")", "1", false);
    rh_steer_report *r = stage_steer(&s, prompt, &o);
    assert_int_equal(rh_median_norms(&got, s.m, &layer, 1, RH_RESID_POST, prompts, 1, &plain, NULL), RH_OK);
    assert_true(fabs(got - r->median_h) < 1e-5 * got);
    rh_steer_report_free(r);
    stage_close(&s);
}

/* sigma against its definition, from h·u of each text alone. */
static void sigma(void **state)
{
    static const char *const texts[] = {"the rain", "the city", "rain in the city", "the snow", "snow", "a snow storm"};
    char path[] = "/tmp/rhumb-units-XXXXXX", metadata[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fprintf(f, "positive,negative\n%s,%s\n%s,%s\n%s,%s\n", texts[0], texts[3], texts[1], texts[4], texts[2], texts[5]);
    fclose(f);
    const rh_model *m = *state;
    int32_t d = m->config.d_model;
    float *u = rh_calloc((size_t)d, sizeof *u), *h = rh_calloc((size_t)d, sizeof *h);
    assert_true(u && h);
    u[2] = 0.6f;
    u[3] = -0.8f;
    double x[6], mean[2] = {0}, squares = 0, got = 0;
    for (int i = 0; i < 6; i++) {
        rh_prompt p = {0};
        rh_prompt_options o = {0};
        rh_session *s = NULL;
        assert_int_equal(rh_prompt_make(&p, m, texts[i], strlen(texts[i]), &o, NULL), RH_OK);
        const int32_t last = p.n - 1;
        rh_capture c = {.layer = 1, .hook = RH_RESID_POST, .positions = &last, .n = 1, .out = h};
        rh_step_input in = {.ids = p.ids, .n = p.n, .captures = &c, .n_captures = 1};
        assert_int_equal(rh_session_new(&s, m, 1, p.n, NULL), RH_OK);
        assert_int_equal(rh_session_add(s, &in.seq, p.n, NULL, 0, NULL), RH_OK);
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        x[i] = 0.6 * (double)h[2] - 0.8 * (double)h[3];
        mean[i / 3] += x[i] / 3;
        rh_session_free(s);
        rh_prompt_free(&p);
    }
    for (int i = 0; i < 6; i++) squares += (x[i] - mean[i / 3]) * (x[i] - mean[i / 3]);
    snprintf(metadata, sizeof metadata, "{\"sources\":[{\"kind\":\"dim\",\"path\":\"%s\",\"options\":{\"at\":\"last\"}}]}", path);
    assert_int_equal(rh_pairs_sigma(&got, m, metadata, 1, RH_RESID_POST, u, NULL), RH_OK);
    if (fabs(got - sqrt(squares / 4)) > 1e-5 * got) fail_msg("%g, expected %g", got, sqrt(squares / 4));
    rh_error err = {0};
    assert_int_equal(rh_pairs_sigma(&got, m, "{\"sources\":[{\"kind\":\"act\"}]}", 1, RH_RESID_POST, u, &err), RH_EVALUE);
    assert_non_null(strstr(err.hint, "resid"));
    remove(path);
    free(u);
    free(h);
}

static int open_model(void **state)
{
    *state = stage_small_model("words.gguf");
    return 0;
}

static int close_model(void **state)
{
    rh_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsing), cmocka_unit_test(lists), cmocka_unit_test(factors),
                                       cmocka_unit_test(median), cmocka_unit_test(sigma)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}
