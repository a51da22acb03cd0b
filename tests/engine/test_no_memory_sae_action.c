/* A session that acts through SAEs, with its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/session.h"
#include "golden.h"
#include "support/alloc_fail.h"
#include "support/make_sae.h"
#include "support/scratch.h"

typedef struct job { rh_model *m; rh_sae *sae[2]; float logits[256]; } job;

static rh_status act(void *data, rh_error *err)
{
    job *j = data;
    const int32_t ids[6] = {1, 5, 9, 2, 3, 4};
    const rh_action actions[] = {
        {.kind = RH_FEATURE_CLAMP, .layer = 0, .hook = RH_RESID_POST, .sae = j->sae[0], .feature = 3, .amount = 2},
        {.kind = RH_FEATURE_CLAMP, .layer = 0, .hook = RH_MLP_OUT, .sae = j->sae[1], .feature = 3, .amount = 2},
        {.kind = RH_SPLICE, .layer = 0, .hook = RH_RESID_POST, .sae = j->sae[0]},
        {.kind = RH_SPLICE, .layer = 0, .hook = RH_MLP_OUT, .sae = j->sae[1]},
    };
    rh_session *s = NULL;
    int32_t other;
    rh_step_input in = {.ids = ids, .n = 6, .want = RH_LOGITS_LAST, .logits = j->logits};
    rh_status status = rh_session_new(&s, j->m, 2, 8, err);
    if (!status) status = rh_session_add(s, &in.seq, 6, actions, 4, err);
    if (!status) status = rh_session_add(s, &other, 6, actions, 1, err);
    if (!status) status = rh_session_step(s, &in, 1, err);
    rh_session_free(s);
    return status;
}

static void no_memory(void **state)
{
    static const made_sae kinds[2] = {
        {.architecture = "topk", .more = ", \"k\": 5", .hook = "blocks.0.hook_resid_post", .d_in = 32, .d_out = 32, .d_sae = 20, .seed = 4},
        {.architecture = "transcoder", .hook = "blocks.0.hook_mlp_in", .out = "blocks.0.hook_mlp_out", .d_in = 32, .d_out = 32, .d_sae = 20, .seed = 5},
    };
    (void)state;
    job j = {.m = golden_open_tiny("llama-f32", true)};
    scratch dir;
    scratch_open(&dir);
    assert_true(j.m->config.n_vocab <= 256);
    for (int i = 0; i < 2; i++) {
        rh_error err = {0};
        const char *folder = scratch_path(&dir, "sae");
        make_sae(folder, &kinds[i]);
        golden_ok(rh_sae_open(&j.sae[i], folder, RH_SAE_ENCODE, &err), &err);
        made_sae_remove(folder);
    }
    assert_int_equal(act(&j, NULL), RH_OK); /* the backend keeps its scratch */
    assert_true(alloc_fail_each(act, &j, 200) > 20);
    for (int i = 0; i < 2; i++) rh_sae_free(j.sae[i]);
    rh_model_free(j.m);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests_name("acting through SAEs without memory", tests, NULL, NULL);
}
