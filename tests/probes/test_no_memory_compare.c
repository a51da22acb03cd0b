/* A comparison with its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probes/compare.h"
#include "stage.h"
#include "support/alloc_fail.h"

typedef struct job { rh_model *m; stage stages[3]; } job;

static rh_status compare(void *data, rh_error *err)
{
    job *j = data;
    static const char *const labels[] = {"a", "b", "zero"}, *const prompts[] = {"the cab", "rain"};
    const rh_value *v[] = {j->stages[0].e->value, j->stages[1].e->value, j->stages[2].e->value};
    rh_compare_options o = {.prompts = prompts, .n_prompts = 2, .strength = 1};
    rh_compare_report *r = NULL;
    rh_status status = rh_probe_compare(&r, j->m, v, labels, 3, &o, err);
    rh_compare_report_free(r);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    static job j;
    static const char *const exprs[] = {"random(1) @ 0..1", "random(2) @ 0.mlp_out", "0*random(3) @ 1"};
    j.m = stage_small_model("words.gguf");
    for (int i = 0; i < 3; i++) stage_open(&j.stages[i], j.m, NULL, exprs[i], NULL, true);
    assert_int_equal(compare(&j, NULL), RH_OK); /* what the model keeps for its next session */
    assert_true(alloc_fail_each(compare, &j, 200) > 50);
    for (int i = 0; i < 3; i++) stage_close(&j.stages[i]);
    rh_model_free(j.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
