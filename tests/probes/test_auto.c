/* The search on a small model of random weights: what is swept, what is compared, what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/auto.h"
#include "probes/auto_batch.h"
#include "stage.h"

static const char DIRECTION[] = "act(\"rain\") - act(\"snow\")";
static const char *const PROMPTS[] = {"the city", "in the rain"}, *const HELD_OUT[] = {"a", "the", "rain in"};
static const rh_strength STRENGTHS[] = {{0.5, RH_UNIT_X}, {1, RH_UNIT_RESID}};

static rh_auto_options options(void)
{
    return (rh_auto_options){.generate = {.sampling = rh_sampling_default(), .max_tokens = 10}, .prompts = PROMPTS, .n_prompts = 2,
                             .held_out = HELD_OUT, .n_held_out = 3, .strengths = STRENGTHS, .n_strengths = 2};
}

static rh_auto_report *search(stage *s, const rh_auto_options *o)
{
    rh_auto_report *r = NULL;
    rh_error err = {0};
    if (rh_probe_auto(&r, s->m, s->e, DIRECTION, o, &s->diags, &err)) fail_msg("%s", err.message);
    return r;
}

/* One layer, one strength: text, surprisal, repetition and KL are those of rh_probe_steer. */
static void as_steer_says(void **state)
{
    stage s;
    stage_open(&s, *state, NULL, DIRECTION, "1", false);
    rh_auto_options o = options();
    o.n_prompts = 1;
    o.n_strengths = 1;
    rh_auto_report *r = search(&s, &o);
    rh_steer_options so = stage_options(10);
    const double strength = 0.5;
    so.strengths = &strength;
    so.n_strengths = 1;
    rh_steer_report *steer = stage_steer(&s, PROMPTS[0], &so);
    const rh_auto_setting *t = NULL;
    for (int32_t i = 0; i < r->n_settings; i++)
        if (r->settings[i].strength == 0.5) t = &r->settings[i];
    assert_non_null(t);
    assert_int_equal(t->layer, 1);
    assert_string_equal(t->sample, steer->runs[1].text);
    assert_string_equal(r->unsteered_sample, steer->runs[0].text);
    assert_true(fabs(t->score.surprisal - steer->runs[1].surprisal) < 1e-4);
    assert_true(t->score.repeated == steer->runs[1].repeated);
    assert_true(fabs(t->score.kl - steer->runs[1].next.kl) < 1e-5);
    assert_true(fabs(r->unsteered.presence) < 1e-9 && r->unsteered.kl == 0);
    rh_steer_report_free(steer);
    rh_auto_report_free(r);
    stage_close(&s);
}

/* A family is swept layer by layer, below the layer that is read, in order. */
static void layers(void **state)
{
    stage s;
    stage_open(&s, *state, NULL, DIRECTION, "all", false);
    rh_auto_options o = options();
    rh_auto_report *r = search(&s, &o);
    int32_t before = -1;
    assert_true(r->n_settings >= 4);
    for (int32_t i = 0; i < r->n_settings; i++) {
        assert_true(r->settings[i].layer >= before);
        before = r->settings[i].layer;
        assert_true(isfinite(r->settings[i].score.surprisal) && r->settings[i].sample);
    }
    assert_true(before > r->settings[0].layer);
    rh_auto_report_free(r);
    o.together = true;
    r = search(&s, &o);
    for (int32_t i = 0; i < r->n_settings; i++) assert_int_equal(r->settings[i].layer, -1);
    rh_auto_report_free(r);
    stage_close(&s);
}

/* With a setting picked: every column is there, random directions pooled. */
static void columns(void **state)
{
    stage s;
    stage_open(&s, *state, NULL, DIRECTION, "1", false);
    rh_auto_options o = options();
    o.target = "e";
    o.versus = "rain";
    rh_auto_report *r = search(&s, &o);
    if (r->picked >= 0) {
        assert_int_equal(r->n_tests, 6);
        assert_string_equal(r->tests[0].label, "unsteered");
        assert_string_equal(r->tests[2].label, "random 1");
        assert_string_equal(r->tests[5].label, "system prompt");
        assert_int_equal(r->random_n, 9);
        assert_int_equal(r->random_hits, r->tests[2].score.hits + r->tests[3].score.hits + r->tests[4].score.hits);
        assert_true(r->tests[0].score.gain == 0 && isfinite(r->tests[1].score.gain));
    } else {
        assert_int_equal(r->verdict, RH_AUTO_NOTHING);
        assert_int_equal(r->n_tests, 0);
    }
    rh_auto_report_free(r);
    stage_close(&s);
}

/* Strength 0 changes nothing, so nothing can be picked, and it is said. */
static void nothing_works(void **state)
{
    static const rh_strength zero[] = {{0, RH_UNIT_X}};
    stage s;
    stage_open(&s, *state, NULL, DIRECTION, "1", false);
    rh_auto_options o = options();
    o.strengths = zero;
    o.n_strengths = 1;
    rh_auto_report *r = search(&s, &o);
    assert_int_equal(r->picked, -1);
    assert_int_equal(r->verdict, RH_AUTO_NOTHING);
    assert_true(fabs(r->settings[0].score.presence) < 1e-9);
    rh_auto_report_free(r);
    stage_close(&s);
}

static void refused(void **state)
{
    static const struct { const char *expr, *layer; rh_status want; } cases[] = {
        {"ablate act(\"rain\")", "1", RH_EUNSUPPORTED},
        {"act(\"rain\") @ 1.attn_z", NULL, RH_EUNSUPPORTED},
        {"0 * act(\"rain\")", "1", RH_EVALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stage s;
        rh_auto_options o = options();
        rh_auto_report *r = NULL;
        stage_open(&s, *state, NULL, cases[i].expr, cases[i].layer, false);
        rh_status got = rh_probe_auto(&r, s.m, s.e, cases[i].expr, &o, &s.diags, NULL);
        if (got != cases[i].want) fail_msg("%s: %s", cases[i].expr, rh_status_name(got));
        stage_close(&s);
    }
}

static void words(void **state)
{
    (void)state;
    static const struct { const char *text, *word; bool want; } cases[] = {
        {"in San Francisco.", "san francisco", true}, {"SAN", "san", true}, {"Sa", "San", false}, {"", "a", false},
        {"a", "", false}, {"sansan f", "san f", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(rh_holds_word(cases[i].text, cases[i].word), cases[i].want);
}

static void prompts(void **state)
{
    (void)state;
    for (int chat = 0; chat < 2; chat++) {
        int32_t n, k;
        const char *const *sweep = rh_auto_prompts(&n, chat), *const *test = rh_auto_held_out(&k, chat);
        assert_true(n >= 4 && k >= 20);
        for (int32_t i = 0; i < n; i++)
            for (int32_t j = 0; j < k; j++) assert_string_not_equal(sweep[i], test[j]);
    }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_steer_says), cmocka_unit_test(layers), cmocka_unit_test(columns),
                                       cmocka_unit_test(nothing_works), cmocka_unit_test(refused), cmocka_unit_test(words),
                                       cmocka_unit_test(prompts)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}
