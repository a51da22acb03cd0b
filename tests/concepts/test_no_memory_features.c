/* A feature's row with each allocation failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "concepts/help.h"
#include "support/alloc_fail.h"

#define SAES RH_TEST_DATA "/saes/"

static rh_status job(void *data, rh_error *err)
{
    const char *path = data;
    rh_atom_spec spec = {.kind = RH_ATOM_SAE, .text = path, .text_len = strlen(path), .prefix = "", .name = "s", .feature = 3, .layer = -1};
    int32_t layer = 2, culprit;
    float out[8] = {0};
    rh_atom_info info;
    rh_concepts *c = NULL;
    rh_status status = rh_concepts_new(&c, NULL, NULL, err);
    if (status) return status;
    const rh_resolver *r = rh_concepts_resolver(c);
    rh_atom_request q = {.spec = &spec, .hook = RH_RESID_POST, .n_layers = 1, .layers = &layer, .d = 8, .out = out};
    status = r->describe(r->self, &spec, &info, err);
    if (!status) status = r->compute(r->self, &q, 1, &culprit, err);
    const struct rh_sae *acting;
    if (!status) status = r->acting_sae(r->self, &spec, &acting, err);
    int32_t found;
    rh_error none = {0};
    if (!status && r->find_feature(r->self, &spec, "rain", 4, &found, &none) == RH_ENOMEM) status = rh_fail_nomem(err);
    spec.kind = RH_ATOM_MAX_ACT;
    if (!status && r->describe(r->self, &spec, &info, &none) == RH_ENOMEM) status = rh_fail_nomem(err);
    rh_concepts_free(c);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    assert_true(alloc_fail_each(job, SAES "gemma-scope-2b-pt-res-stored/layer_2/width_14/average_l0_5", 400) > 20);
    assert_true(alloc_fail_each(job, SAES "topk-rescale", 400) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
