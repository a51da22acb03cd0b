/* A whole diff with its allocations failing: RH_ENOMEM, nothing leaks, no file is left. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probes/diff.h"
#include "stage.h"
#include "support/alloc_fail.h"
#include "support/scratch.h"

typedef struct job { rh_model *m; rh_diff_options o; } job;

static rh_status run(void *data, rh_error *err)
{
    const job *j = data;
    rh_diff_report *r = NULL;
    rh_vector *v = NULL;
    char *json = NULL;
    rh_status status = rh_probe_diff(&r, j->m, &j->o, err);
    if (!status) status = rh_diff_vector(&v, r, err);
    if (!status) status = rh_diff_metadata(&json, j->m, &j->o, r, v, "2026-01-01T00:00:00Z", err);
    free(json);
    rh_vector_free(v);
    rh_diff_report_free(r);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    static const char csv[] = "positive,negative\n<<rain>> in San Francisco,<<snow>>\nI love <<rain>>,I love <<snow>>\n"
                              "the <<city>>,the <<rain>>\nI love <<rain>>,<<Paris>>\n";
    scratch dir, states;
    char path[300];
    scratch_open(&dir);
    snprintf(path, sizeof path, "%.299s", scratch_write(&dir, "pairs.csv", csv, sizeof csv - 1));
    scratch_open(&states);
    job j = {.m = stage_small_model("words.gguf"),
             .o = {.path = path, .folds = 3, .bootstrap = 5, .permutations = 5, .sample = 3, .dir = states.dir}};
    rh_error err = {0};
    if (run(&j, &err)) fail_msg("%s", err.message); /* what the model makes at its first step stays */
    assert_true(alloc_fail_each(run, &j, 300) > 100);
    assert_int_equal(scratch_count(&states), 0);
    rh_model_free(j.m);
    scratch_close(&states);
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
