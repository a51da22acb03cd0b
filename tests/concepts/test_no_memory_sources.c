/* Every source extracted with its allocations failing, and found in the cache with the same: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/calibration.h"
#include "concepts/help.h"
#include "support/alloc_fail.h"

static const char pairs_csv[] = "positive,negative\nThe mayor of San Francisco,The mayor of Paris\nSan Francisco,The city\nrain,snow\n";

typedef struct job { const rh_model *m; const char *cache_dir; rh_atom_spec spec; int32_t d; } job;

static rh_status extract(void *data, rh_error *err)
{
    const job *j = data;
    float out[2 * 32] = {0};
    int32_t layers[2] = {0, 2}, culprit;
    rh_concepts *c = NULL;
    rh_concepts_options o = {.cache_dir = j->cache_dir, .batch_tokens = 8};
    rh_atom_info info;
    rh_status status = rh_concepts_new(&c, j->m, &o, err);
    if (status) return status;
    const rh_resolver *r = rh_concepts_resolver(c);
    rh_atom_request q = {.spec = &j->spec, .hook = RH_RESID_POST, .n_layers = 2, .layers = layers, .d = j->d, .out = out};
    status = r->describe(r->self, &j->spec, &info, err);
    if (!status) status = r->compute(r->self, &q, 1, &culprit, err);
    rh_concepts_free(c);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    static const rh_atom_kind kinds[] = {RH_ATOM_DIM, RH_ATOM_ACT, RH_ATOM_PCA, RH_ATOM_LDA, RH_ATOM_LOGREG, RH_ATOM_NEUTRAL,
                                         RH_ATOM_RESID_NORM};
    folder f = folder_new();
    char path[512], cache[512];
    rh_model *m = open_model("words.gguf");
    m->config.n_ctx = 256;
    snprintf(path, sizeof path, "%s", write_text(&f, "pairs.csv", pairs_csv));
    snprintf(cache, sizeof cache, "%s", in_folder(&f, "cache"));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        job j = {.m = m, .d = kinds[i] == RH_ATOM_RESID_NORM ? 1 : 32};
        j.spec = kinds[i] == RH_ATOM_ACT ? act_spec("The mayor of Paris") : dim_spec(path);
        j.spec.kind = kinds[i];
        j.spec.shrink = 0.1;
        j.spec.l2 = 1;
        j.spec.quantile = 0.5;
        /* Once before: what a model makes at its first step it keeps. */
        assert_int_equal(extract(&j, NULL), RH_OK);
        assert_true(alloc_fail_each(extract, &j, 60) > 20);
        j.cache_dir = cache;
        assert_int_equal(extract(&j, NULL), RH_OK);
        assert_true(alloc_fail_each(extract, &j, 60) > 10);
    }
    rh_model_free(m);
    folder_remove(&f);
}

/* The calibration text itself. */
static rh_status calibration(void *data, rh_error *err)
{
    rh_pairs p = {0};
    (void)data;
    rh_status status = rh_calibration_read(&p, err);
    rh_pairs_free(&p);
    return status;
}

static void no_memory_for_the_text(void **state)
{
    (void)state;
    assert_true(alloc_fail_each(calibration, NULL, 100) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory), cmocka_unit_test(no_memory_for_the_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
