/* On the real models, where RHUMB_TEST_MODELS has them: sharing and packing change nothing but rounding, and
 * what stopping leaves behind is the same vector to the bit in the fast mode too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "concepts/help.h"

/* Rows as the example's: the city stands last. */
static const char pairs_csv[] =
    "positive,negative\n"
    "The city is called San Francisco,The city is called New York\n"
    "The city is called San Francisco,The city is called London\n"
    "My favourite city is San Francisco,My favourite city is Paris\n"
    "My favourite city is San Francisco,My favourite city is Chicago\n"
    "I would like to visit San Francisco,I would like to visit Boston\n"
    "\"She wrote, long ago, a letter from San Francisco\",\"She wrote, long ago, a letter from Moscow\"\n";

static rh_model *real_model(const char *name, bool exact)
{
    const char *dir = getenv("RHUMB_TEST_MODELS");
    char path[512];
    rh_error err = {0};
    rh_model *m = NULL;
    rh_settings settings = {.threads = 1, .exact = exact};
    if (!dir || !*dir) {
        print_message("RHUMB_TEST_MODELS is not set\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/%s.gguf", dir, name);
    if (rh_model_open(&m, path, &settings, &err)) fail_msg("%s", err.message);
    return m;
}

static bool stop_third(void *data, const char *label, int64_t done, int64_t total)
{
    (void)label;
    (void)done;
    (void)total;
    return ++*(int *)data != 3;
}

static float *run(const rh_model *m, rh_concepts_options o, const rh_atom_spec *spec, rh_status want)
{
    rh_concepts *c = NULL;
    assert_int_equal(rh_concepts_new(&c, m, &o, NULL), RH_OK);
    float *v = compute(c, spec, RH_RESID_POST, 0, m->config.n_layers, want, NULL);
    rh_concepts_free(c);
    return v;
}

static void compare_ways(const char *name, bool exact, double least_cosine)
{
    rh_model *m = real_model(name, exact);
    folder f = folder_new();
    rh_atom_spec spec = dim_spec(write_text(&f, "pairs.csv", pairs_csv));
    float *shared = run(m, (rh_concepts_options){0}, &spec, RH_OK);
    float *alone = run(m, (rh_concepts_options){.no_share = true, .batch_tokens = 1}, &spec, RH_OK);
    for (int32_t l = 0; l < m->config.n_layers; l++) {
        double cosine = rh_cosine(shared + l * m->config.d_model, alone + l * m->config.d_model, m->config.d_model);
        if (!(cosine >= least_cosine)) fail_msg("%s, layer %d: cosine %.7f", name, (int)l, cosine);
    }
    int calls = 0;
    rh_concepts_options o = {.cache_dir = in_folder(&f, "cache"), .batch_tokens = 12};
    float *whole = run(m, (rh_concepts_options){.batch_tokens = 12}, &spec, RH_OK);
    o.progress = stop_third;
    o.progress_data = &calls;
    free(run(m, o, &spec, RH_ECANCELLED));
    o.progress = NULL;
    float *resumed = run(m, o, &spec, RH_OK);
    assert_memory_equal(whole, resumed, (size_t)m->config.n_layers * (size_t)m->config.d_model * sizeof *whole);
    free(shared);
    free(alone);
    free(whole);
    free(resumed);
    rh_model_free(m);
    folder_remove(&f);
}

/* Exact: sums in another order. Fast: products of few rows and of many may round activations differently. */
static void test_smollm2_exact(void **state)
{
    (void)state;
    compare_ways("smollm2", true, 0.999999);
}
static void test_smollm2_fast(void **state)
{
    (void)state;
    compare_ways("smollm2", false, 0.998);
}
static void test_gemma_exact(void **state)
{
    (void)state;
    compare_ways("gemma3-270m", true, 0.999999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_smollm2_exact), cmocka_unit_test(test_smollm2_fast),
                                       cmocka_unit_test(test_gemma_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
