/* Every kind of SAE opened, used and saved with its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "engine/sae.h"
#include "support/alloc_fail.h"
#include "support/scratch.h"

#define SAES RH_TEST_DATA "/saes/"

typedef struct job { const char *path; rh_backend *backend; char out[600]; } job;

static rh_status all(void *data, rh_error *err)
{
    job *j = data;
    rh_sae *s = NULL;
    rh_sae_coder *c = NULL;
    rh_sae_active a = { 0 };
    float x[2 * 8], recon[2 * 8];
    for (int i = 0; i < 16; i++) x[i] = (float)(i % 5) - 1.5f;
    rh_status status = rh_sae_open(&s, j->path, RH_SAE_ENCODE, err);
    if (!status) status = rh_sae_coder_new(&c, s, j->backend, err);
    if (!status) status = rh_sae_encode(&a, c, x, 2, err);
    if (!status) status = rh_sae_decode(recon, c, &a, x, err);
    rh_sae_match near[3];
    int32_t n;
    if (!status) status = rh_sae_near(near, &n, s, true, x, 3, false, j->backend, err);
    if (!status) status = rh_sae_write(j->out, s, err);
    rh_sae_active_free(&a);
    rh_sae_coder_free(c);
    rh_sae_free(s);
    return status;
}

static void no_memory(void **state)
{
    static const char *const paths[] = {
        SAES "standard-ln", SAES "topk-rescale", SAES "gated", SAES "transcoder-jumprelu-skip", SAES "sparsify/layers.4",
        SAES "gemma-scope-2b-pt-res-deflated/layer_2/width_14/average_l0_5", SAES "gemma-scope-2b-pt-res-f8/layer_2/width_14/average_l0_5",
        SAES "gemma-scope-2-270m-it/resid_post/layer_5_width_14_l0_small",
    };
    scratch dir;
    job j;
    (void)state;
    scratch_open(&dir);
    snprintf(j.out, sizeof j.out, "%s", scratch_path(&dir, "out.safetensors"));
    assert_int_equal(rh_backend_cpu(&j.backend, RH_ISA_BEST, 1, true, NULL), RH_OK);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        j.path = paths[i];
        assert_int_equal(all(&j, NULL), RH_OK);
        assert_true(alloc_fail_each(all, &j, 200) > 20);
    }
    rh_backend_free(j.backend);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_memory) };
    return cmocka_run_group_tests_name("SAEs without memory", tests, NULL, NULL);
}
