/* Every action, mask and guard against numpy (tests/generate/actions.py): a book is compiled, evaluated, bound
 * and run, and the states at its sites compared. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "concepts/help.h"
#include "engine/files/safetensors.h"

#define FOLDER RH_TEST_DATA "/actions"
enum { D = 32 };

static rh_evaluation *evaluate(rh_program **program, rh_concepts *c, const char *name, const char *book)
{
    rh_diags diags = {0};
    rh_error err = {0};
    rh_evaluation *e = NULL;
    rh_program_input in = {.book_path = FOLDER "/case.rhumb", .book_text = book};
    if (rh_program_compile(program, &in, rh_concepts_resolver(c), &diags, &err) ||
        rh_program_eval(&e, *program, &diags, &err))
        fail_msg("%s: %s", name, err.message);
    return e;
}

/* The states at one site, all positions, in steps of `step` tokens (0: all at once). */
static void run(float *out, const rh_model *m, const rh_prompt *p, const rh_actions *a, int32_t layer, rh_hook hook,
                int32_t step)
{
    rh_session *s = NULL;
    int32_t seq;
    float *logits = rh_calloc((size_t)m->config.n_vocab, sizeof *logits); /* so that a step goes to the end */
    assert_int_equal(rh_session_new(&s, m, 1, p->n, NULL), RH_OK);
    assert_int_equal(rh_session_add(s, &seq, p->n, a->items, a->n, NULL), RH_OK);
    for (int32_t at = 0; at < p->n; at += step ? step : p->n) {
        int32_t n = step && step < p->n - at ? step : p->n - at, positions[64];
        for (int32_t i = 0; i < n; i++) positions[i] = at + i;
        rh_capture c = {.layer = layer, .hook = hook, .positions = positions, .n = n, .out = out + at * D};
        rh_step_input in = {.seq = seq, .ids = p->ids + at, .n = n, .want = RH_LOGITS_LAST, .logits = logits, .captures = &c, .n_captures = 1};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
    }
    rh_session_free(s);
    free(logits);
}

static void check_site(const rh_safetensors *answers, const rh_model *m, const rh_prompt *p, const rh_actions *a,
                       const char *name, const char *site)
{
    char key[128];
    const char *dot = strrchr(site, '.');
    rh_hook hook;
    assert_non_null(dot);
    assert_true(rh_hook_parse(&hook, site, (size_t)(dot - site)));
    snprintf(key, sizeof key, "%s/%s", name, site);
    const rh_tensor *t = rh_safetensors_find(answers, key);
    if (!t) fail_msg("no %s", key);
    assert_int_equal(t->shape[0], p->n);
    const float *want = (const float *)t->data;
    float *got = rh_calloc((size_t)p->n * D, sizeof *got);
    for (int32_t step = 0; step < 4; step += step ? 2 : 1) { /* all, 1, 3 tokens at a time */
        run(got, m, p, a, dot[1] - '0', hook, step);
        for (int32_t i = 0; i < p->n; i++) {
            double worst = 0, scale = 0;
            for (int32_t j = 0; j < D; j++) {
                double off = fabs((double)got[i * D + j] - want[i * D + j]);
                if (!(off <= worst)) worst = off;
                if (fabs(want[i * D + j]) > scale) scale = fabs(want[i * D + j]);
            }
            if (!(worst <= 3e-6 * scale)) fail_msg("%s, %d at a time, position %d: off by %g of %g", key, step, i, worst, scale);
        }
    }
    free(got);
}

static void test_actions_agree_with_numpy(void **state)
{
    (void)state;
    json_t *root = NULL, *one;
    size_t i, k;
    rh_safetensors *answers = NULL;
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    assert_int_equal(rh_json_load(&root, FOLDER "/cases.json", NULL), RH_OK);
    assert_int_equal(rh_safetensors_open(&answers, FOLDER "/answers.safetensors", NULL), RH_OK);
    json_array_foreach(json_object_get(root, "cases"), i, one) {
        char book[2048];
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *prompt = json_string_value(json_object_get(one, "prompt"));
        rh_prompt_options o = {.chat = json_is_true(json_object_get(one, "chat"))};
        rh_program *program = NULL;
        rh_prompt p = {0};
        rh_actions a = {0};
        rh_error err = {0};
        json_t *site, *sites = json_object_get(one, "sites");
        snprintf(book, sizeof book, "%s%s\n", json_string_value(json_object_get(root, "lets")),
                 json_string_value(json_object_get(one, "book")));
        rh_evaluation *e = evaluate(&program, c, name, book);
        assert_int_equal(rh_prompt_make(&p, m, prompt, strlen(prompt), &o, NULL), RH_OK);
        if (rh_actions_bind(&a, e, &p, 1, NULL, &err)) fail_msg("%s: %s", name, err.message);
        assert_true(json_array_size(sites) > 0);
        json_array_foreach(sites, k, site) check_site(answers, m, &p, &a, name, json_string_value(site));
        rh_actions_free(&a);
        rh_prompt_free(&p);
        rh_evaluation_free(e);
        rh_program_free(program);
    }
    assert_true(i > 40);
    json_decref(root);
    rh_safetensors_close(answers);
    rh_concepts_free(c);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_actions_agree_with_numpy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
