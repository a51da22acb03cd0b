/* An SAE's fit with its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probes/sae_fit.h"
#include "stage.h"
#include "support/alloc_fail.h"
#include "support/make_sae.h"
#include "support/scratch.h"

typedef struct job { rh_model *m; rh_sae *sae; } job;

static rh_status measure(void *data, rh_error *err)
{
    static const int32_t ids[6] = {1, 5, 9, 2, 3, 4};
    const rh_id_text texts[2] = {{ids, 6}, {ids + 1, 4}};
    const job *j = data;
    rh_sae_fit fit;
    return rh_sae_measure(&fit, j->m, j->sae, 1, RH_RESID_POST, texts, 2, NULL, NULL, err);
}

static void no_memory(void **state)
{
    static const made_sae kind = {.architecture = "transcoder", .hook = "blocks.0.hook_mlp_in", .out = "blocks.0.hook_mlp_out", .d_in = 32,
                                  .d_out = 32, .d_sae = 20, .seed = 5};
    (void)state;
    job j = {.m = stage_small_model("llama-f32")};
    scratch dir;
    scratch_open(&dir);
    const char *folder = scratch_path(&dir, "sae");
    make_sae(folder, &kind);
    assert_int_equal(rh_sae_open(&j.sae, folder, RH_SAE_ENCODE, NULL), RH_OK);
    made_sae_remove(folder);
    assert_int_equal(measure(&j, NULL), RH_OK); /* the backend keeps its scratch */
    assert_true(alloc_fail_each(measure, &j, 200) > 10);
    rh_sae_free(j.sae);
    rh_model_free(j.m);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
