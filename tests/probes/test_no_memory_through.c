/* The whole way with its allocations failing: a model is opened, a book with a CSV compiled,
 * its texts read through the model, and the model steered. RH_ENOMEM each time, no leak. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "stage.h"
#include "support/alloc_fail.h"
#include "support/scratch.h"

typedef struct job { char model[512], book[600]; } job;

static rh_status open_to_steer(void *data, rh_error *err)
{
    job *j = data;
    static rh_diags diags; /* large; every run starts it anew */
    rh_model *m = NULL;
    rh_concepts *c = NULL;
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_steer_report *r = NULL;
    diags.n = 0;
    const rh_settings settings = {.threads = 1};
    const rh_concepts_options options = {.cache_dir = NULL}; /* the cache may be left out for want of memory */
    const rh_program_input in = {.book_path = j->book};
    const rh_steer_options o = stage_options(2);
    rh_status status = rh_model_open(&m, j->model, &settings, err);
    if (!status) status = rh_concepts_new(&c, m, &options, err);
    if (!status) status = rh_program_compile(&p, &in, rh_concepts_resolver(c), &diags, err);
    if (!status) status = rh_program_eval(&e, p, &diags, err);
    if (!status) status = rh_probe_steer(&r, m, e, "sf", "the rain", &o, &diags, err);
    rh_steer_report_free(r);
    rh_evaluation_free(e);
    rh_program_free(p);
    rh_concepts_free(c);
    rh_model_free(m);
    return status;
}

static void open_plan_extract_steer(void **state)
{
    (void)state;
    static const char csv[] = "positive,negative\nthe rain,the snow\nmore rain,more snow\n";
    static const char book[] = "let rain = dim(\"pairs.csv\")\nsteer 2*rain @ 1\n";
    scratch s;
    job j;
    scratch_open(&s);
    scratch_write(&s, "pairs.csv", csv, sizeof csv - 1);
    snprintf(j.book, sizeof j.book, "%s", scratch_write(&s, "book.rhumb", book, sizeof book - 1));
    snprintf(j.model, sizeof j.model, "%s/models/words.gguf", RH_TEST_DATA);
    assert_true(alloc_fail_each_or_without(open_to_steer, &j, 120) > 200);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(open_plan_extract_steer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
