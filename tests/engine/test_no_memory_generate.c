/* Generating with allocations failing, under guards, penalties and an aim: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/generate.h"
#include "golden.h"
#include "support/alloc_fail.h"

typedef struct job { rh_model *m; float v[32]; int32_t seed; } job;

static rh_status generate(void *data, rh_error *err)
{
    job *j = data;
    const int32_t prompt[4] = {1, 5, 9, 2}, other[3] = {1, 7, 9}, aim[2] = {3, 4};
    int64_t tested = 0, fired = 0;
    const rh_guard guard = {.test = {.threshold = 0.01f}, .v = j->v, .tested = &tested, .fired = &fired};
    const rh_action actions[] = {
        {.kind = RH_STEER, .layer = 0, .hook = RH_RESID_POST, .v = j->v, .strength = 1, .guard = &guard},
        {.kind = RH_CLAMP, .layer = 1, .hook = RH_MLP_OUT, .v = j->v, .amount = 1, .guard = &guard}};
    rh_generation g[2] = {{.prompt = prompt, .n_prompt = 4, .actions = actions, .n_actions = 2, .aim = aim, .n_aim = 2},
                          {.prompt = other, .n_prompt = 3}};
    const rh_generate_options o = {.sampling = {.temperature = 1, .top_p = 1, .repetition = 1.2, .penalty_last = 3}, .max_tokens = 4};
    const rh_status status = rh_generate(j->m, g, 2, &o, err);
    for (int i = 0; i < 2; i++) rh_generation_free(&g[i]);
    if (!status) assert_int_equal(tested, 2 * (4 + 3 + 1)); /* the prompt, what follows, and the aim's first token */
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    job j = {.m = golden_open_tiny("llama-f32", true)};
    assert_int_equal(j.m->config.d_model, 32);
    for (int i = 0; i < 32; i++) j.v[i] = (float)(i % 5 - 2);
    assert_int_equal(generate(&j, NULL), RH_OK); /* the backend keeps its scratch */
    assert_true(alloc_fail_each(generate, &j, 200) > 40);
    rh_model_free(j.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests_name("generating without memory", tests, NULL, NULL);
}
