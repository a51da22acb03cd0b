/* A whole steering run and a look at a vector with their allocations failing: RH_ENOMEM, and nothing
 * leaks. Evaluation has happened before; its own test is elsewhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probes/fit_check.h"
#include "probes/forecast.h"
#include "stage.h"
#include "support/alloc_fail.h"
#include "support/make_sae.h"
#include "support/scratch.h"

typedef struct job { stage steer, watch, vec, features; rh_steer_options o, with_features; rh_sae *sae; } job;

static rh_status steer(void *data, rh_error *err)
{
    job *j = data;
    rh_steer_report *r = NULL;
    rh_status status = rh_probe_steer(&r, j->steer.m, j->steer.e, "expression", "the rain", &j->o, &j->steer.diags, err);
    rh_steer_report_free(r);
    return status;
}

static rh_status features(void *data, rh_error *err)
{
    job *j = data;
    rh_steer_report *r = NULL;
    rh_status status = rh_probe_steer(&r, j->features.m, j->features.e, "expression", "the rain", &j->with_features, &j->features.diags, err);
    rh_steer_report_free(r);
    return status;
}

static rh_status forecast(void *data, rh_error *err)
{
    job *j = data;
    rh_forecast *f = NULL;
    const rh_forecast_options o = {.strength = 40, .generate = j->with_features.generate, .top = 3};
    rh_status status = rh_forecast_make(&f, j->features.m, j->sae, 1, RH_RESID_POST, j->features.e->actions[0].value.vector->data, "v", "the rain", &o, err);
    rh_forecast_free(f);
    return status;
}

static rh_status fit(void *data, rh_error *err)
{
    job *j = data;
    rh_fit_check f;
    return rh_check_fit(&f, j->features.m, j->sae, 1, RH_RESID_POST, NULL, NULL, NULL, err);
}

static rh_status vec(void *data, rh_error *err)
{
    job *j = data;
    rh_vec_report *r = NULL;
    rh_status status = rh_probe_vec(&r, j->vec.m, j->vec.e, "expression", 3, err);
    rh_vec_report_free(r);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    static job j;
    rh_model *m = stage_small_model("words.gguf");
    static const char *const labels[] = {"rain"};
    static const double strengths[] = {1, 2};
    stage_open(&j.steer, m, "let v = act(\"rain\") - act(\"snow\")\nsteer v @ 1 on last\nsteer v @ 0 on generated\nablate v @ 2\n",
               NULL, NULL, false);
    stage_open(&j.watch, m, NULL, "act(\"rain\") @ 1", NULL, true);
    stage_open(&j.vec, m, "let rain = act(\"rain\")\n", "rain - act(\"snow\")", "1", true);
    const rh_evaluation *watches[] = {j.watch.e};
    j.o = stage_options(3);
    j.o.strengths = strengths;
    j.o.n_strengths = 2;
    j.o.watches = watches;
    j.o.watch_labels = labels;
    j.o.n_watches = 1;
    assert_true(alloc_fail_each(steer, &j, 150) > 100);
    assert_true(alloc_fail_each(vec, &j, 100) > 10);
    static const made_sae kind = {.architecture = "topk", .more = ", \"k\": 6", .hook = "blocks.1.hook_resid_post", .d_in = 32, .d_out = 32,
                                  .d_sae = 20, .seed = 4};
    scratch dir;
    char book[700];
    stage feature;
    scratch_open(&dir);
    const char *folder = scratch_path(&dir, "sae");
    make_sae(folder, &kind);
    snprintf(book, sizeof book, "sae s = \"%s\"\n", folder);
    stage_open(&j.features, m, book, "clamp s[3] at 9", NULL, false);
    stage_open(&feature, m, book, "s[3]", NULL, true);
    const rh_evaluation *of_feature[] = {feature.e};
    j.with_features = stage_options(2);
    j.with_features.concepts = j.features.concepts;
    j.with_features.top_features = 3;
    j.with_features.watches = of_feature;
    j.with_features.watch_labels = labels;
    j.with_features.n_watches = 1;
    assert_int_equal(features(&j, NULL), RH_OK); /* the SAE is opened once, and kept */
    assert_true(alloc_fail_each(features, &j, 150) > 100);
    assert_int_equal(rh_sae_open(&j.sae, folder, RH_SAE_ENCODE, NULL), RH_OK);
    assert_true(alloc_fail_each(forecast, &j, 100) > 50);
    assert_int_equal(fit(&j, NULL), RH_OK); /* the backend keeps its scratch */
    assert_true(alloc_fail_each(fit, &j, 12) > 50);
    rh_sae_free(j.sae);
    made_sae_remove(folder);
    scratch_close(&dir);
    stage_close(&feature);
    stage_close(&j.features);
    stage_close(&j.vec);
    stage_close(&j.watch);
    stage_close(&j.steer);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
