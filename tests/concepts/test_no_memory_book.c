/* From opening a model to a bound action, with each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/help.h"
#include "support/alloc_fail.h"

typedef struct { folder f; } job_data;

static rh_status bind_and_save(rh_concepts *c, const rh_model *m, const rh_evaluation *e, rh_error *err)
{
    static const char prompt[] = "The mayor of San Francisco";
    rh_prompt p = {0};
    rh_actions a = {0};
    char *json = NULL;
    rh_prompt_options o = {.chat = true};
    rh_status status = rh_prompt_make(&p, m, prompt, sizeof prompt - 1, &o, err);
    if (!status) status = rh_actions_bind(&a, e, &p, 1, NULL, err);
    if (!status) status = rh_concepts_metadata(&json, c, "x", e->actions[0].value.vector, "now", err);
    free(json);
    rh_actions_free(&a);
    rh_prompt_free(&p);
    return status;
}

static rh_status whole_job(void *data, rh_error *err)
{
    job_data *j = data;
    rh_model *m = NULL;
    rh_concepts *c = NULL;
    rh_program *program = NULL;
    rh_evaluation *e = NULL;
    rh_diags diags = {0};
    rh_settings settings = {.threads = 1, .exact = true};
    rh_concepts_options o = {.batch_tokens = 8};
    rh_program_input in = {.book_path = in_folder(&j->f, "book.rhumb")};
    rh_status status = rh_model_open(&m, RH_TEST_DATA "/models/words.gguf", &settings, err);
    if (!status) status = rh_concepts_new(&c, m, &o, err);
    if (!status) status = rh_program_compile(&program, &in, rh_concepts_resolver(c), &diags, err);
    if (!status) status = rh_program_eval(&e, program, &diags, err);
    if (!status) status = bind_and_save(c, m, e, err);
    rh_evaluation_free(e);
    rh_program_free(program);
    rh_concepts_free(c);
    rh_model_free(m);
    return status;
}

static job_data prepare(void)
{
    job_data j = {.f = folder_new()};
    write_text(&j.f, "pairs.csv", "positive,negative\nThe mayor of San Francisco,The mayor of Paris\nThe rain,The snow\n");
    write_text(&j.f, "book.rhumb", "let a = dim(\"pairs.csv\", at=mean)\nlet b = act(\"The <<rain>>\", at=marked)\n"
                                   "steer a - b + token(\" rain\") @ 1 on \"mayor\", last\nablate a @ 2\n");
    return j;
}

static void test_extract_and_bind(void **state)
{
    (void)state;
    job_data j = prepare();
    /* The rope tables of a backend can be done without. */
    assert_true(alloc_fail_each_or_without(whole_job, &j, 500) > 200);
    folder_remove(&j.f);
}

/* One source with a cache: asked for an empty one, or one that holds another layer already. */
typedef struct { const rh_model *model; const char *csv, *cache; int32_t layer; } cached_data;

static rh_status cached_job(void *data, rh_error *err)
{
    cached_data *j = data;
    rh_concepts *c = NULL;
    rh_concepts_options o = {.cache_dir = j->cache};
    rh_atom_spec spec = dim_spec(j->csv);
    float out[32];
    int32_t culprit;
    rh_atom_request q = {&spec, RH_RESID_POST, 1, &j->layer, 32, out};
    rh_atom_survey each;
    rh_plan_survey all;
    rh_status status = rh_concepts_new(&c, j->model, &o, err);
    if (status) return status;
    const rh_resolver *r = rh_concepts_resolver(c);
    status = r->survey(r->self, &q, 1, &each, &all, err);
    if (!status) status = r->compute(r->self, &q, 1, &culprit, err);
    rh_concepts_free(c);
    return status;
}

static void test_cache(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    job_data j = prepare();
    cached_data d = {m, in_folder(&j.f, "pairs.csv"), in_folder(&j.f, "cache"), 1};
    assert_int_equal(cached_job(&d, NULL), RH_OK);
    /* Found again. The estimate of `explain` can be done without. */
    assert_true(alloc_fail_each_or_without(cached_job, &d, 400) > 50);
    folder_remove(&j.f);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_extract_and_bind), cmocka_unit_test(test_cache)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
