/* The search with its allocations failing: RH_ENOMEM each time, no leak. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "probes/auto.h"
#include "stage.h"
#include "support/alloc_fail.h"

typedef struct job { stage *s; const rh_auto_options *o; int32_t n_tests; } job;

static rh_status search(void *data, rh_error *err)
{
    job *j = data;
    rh_auto_report *r = NULL;
    rh_status status = rh_probe_auto(&r, j->s->m, j->s->e, "x", j->o, &j->s->diags, err);
    if (!status) j->n_tests = r->n_tests;
    rh_auto_report_free(r);
    return status;
}

/* Every layer, a system prompt, and a setting that is picked: the sweep and the test. */
static void sweep_and_test(void **state)
{
    static const char *const prompts[] = {"the city"}, *const held_out[] = {"a"};
    static const rh_strength strengths[] = {{1, RH_UNIT_X}};
    stage s;
    stage_open(&s, *state, NULL, "act(\"rain\") - act(\"snow\")", "all", false);
    const rh_auto_options o = {.generate = {.sampling = rh_sampling_default(), .max_tokens = 5}, .prompts = prompts, .n_prompts = 1,
                               .held_out = held_out, .n_held_out = 1, .strengths = strengths, .n_strengths = 1, 
                               .versus = "rain", .n_random = 1};
    job j = {&s, &o, 0};
    assert_true(alloc_fail_each(search, &j, 200) > 50);
    assert_int_equal(j.n_tests, 4);
    stage_close(&s);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(sweep_and_test)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}
