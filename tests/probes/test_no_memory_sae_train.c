/* Training an SAE, its checkpoint and what comes out, with allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probes/sae_eval.h"
#include "stage.h"
#include "support/alloc_fail.h"
#include "training.h"

typedef struct job { rh_model *m; training x; } job;

static bool at_96(void *data, const rh_sae_progress *p) { (void)data; return p->reading || p->done < 96; }

/* Stopped, gone on with, and measured. */
static rh_status train(void *data, rh_error *err)
{
    job *j = data;
    rh_sae *s = NULL;
    rh_sae_progress last;
    rh_sae_eval e;
    const rh_sae_eval_options o = {.corpus = j->x.paths, .n_corpus = 2, .context = 16, .tokens = 40, .loss_tokens = 20, .hook = RH_RESID_POST};
    unlink(j->x.checkpoint);
    rh_status status = rh_sae_train(&s, &last, j->m, &j->x.t, at_96, NULL, err);
    if (status == RH_ECANCELLED) status = rh_sae_train(&s, &last, j->m, &j->x.t, NULL, NULL, err);
    if (!status) status = rh_sae_evaluate(&e, j->m, s, &o, err);
    rh_sae_free(s);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    for (int jumprelu = 0; jumprelu < 2; jumprelu++) {
        job j = {.m = stage_small_model("words-bos.gguf")};
        training_open(&j.x, jumprelu);
        j.x.t.bf16 = !jumprelu;
        j.x.t.tokens = 32 * 5;
        j.x.t.threads = 1;
        assert_int_equal(train(&j, NULL), RH_OK); /* the backend keeps its scratch */
        assert_true(alloc_fail_each(train, &j, 60) > 100);
        training_close(&j.x);
        rh_model_free(j.m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
