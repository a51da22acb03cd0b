/* Masks of a book's actions over one prompt's tokens, and text that does not occur. (What actions do is in
 * test_actions.c.) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "concepts/help.h"

typedef struct { const char *mask; bool chat; const char *prompt, *want; } mask_case;

/* Positions covered, + for yes, of prompt and two generated tokens. */
static const mask_case masks[] = {
    {"", false, "The mayor of San Francisco", "+++++++"},
    {" on \"San Francisco\"", false, "The mayor of San Francisco", "...++.."},
    {" on \"Franc\"", false, "The mayor of San Francisco", "....+.."},      /* part of a token */
    {" on \"r of S\"", false, "The mayor of San Francisco", ".+++..."},
    {" on \" rain\"", false, "The rain in rain", ".+.+.."},              /* every occurrence */
    {" on \"a\"", false, "The mayor of San Francisco", ".+.++.."},
    {" on \"rain\"", true, "in rain", NULL},                             /* counted below: the system text has rain too */
    {" on not \"rain\"", false, "The rain in rain", "+.+.++"},
    {" on prompt, not \"mayor\"", false, "The mayor of", "+.+.."},
    {" on last, generated", false, "The mayor of", "..+++"},
    {" on generated 1", false, "The mayor of", "....+"},
    {" on tokens 1..2", false, "The mayor of", ".++.."},
};

static rh_status bind(rh_actions *a, rh_prompt *p, rh_program **program, rh_evaluation **e, rh_concepts *c,
                      const char *expr, bool chat, const char *prompt, rh_diags *diags, rh_error *err)
{
    rh_program_input in = {.expr = expr, .layers = "1"};
    rh_prompt_options o = {.chat = chat};
    if (rh_program_compile(program, &in, rh_concepts_resolver(c), diags, err) ||
        rh_program_eval(e, *program, diags, err))
        fail_msg("%s: %s", expr, err->message);
    assert_int_equal(rh_prompt_make(p, c->model, prompt, strlen(prompt), &o, err), RH_OK);
    return rh_actions_bind(a, *e, p, 2.5, diags, err);
}

static void test_masks(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        char expr[200], got[64] = "";
        rh_actions a;
        rh_prompt p;
        rh_program *program = NULL;
        rh_evaluation *e = NULL;
        rh_diags diags = {0};
        rh_error err = {0};
        snprintf(expr, sizeof expr, "steer 3*random(1)%s", masks[i].mask);
        if (bind(&a, &p, &program, &e, c, expr, masks[i].chat, masks[i].prompt, &diags, &err))
            fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(a.n, 1);
        assert_int_equal(a.items[0].kind, RH_STEER);
        assert_int_equal(a.items[0].layer, 1);
        assert_true(a.items[0].strength == 2.5f);
        int covered = 0;
        for (int32_t pos = 0; pos < p.n + 2; pos++) {
            bool yes = rh_mask_covers(&a.items[0].mask, pos, p.n, false);
            got[pos] = yes ? '+' : '.';
            covered += yes;
        }
        if (masks[i].want && strcmp(got, masks[i].want)) fail_msg("case %zu: %s", i, got);
        if (!masks[i].want) assert_int_equal(covered, 1); /* the user's own rain alone */
        rh_actions_free(&a);
        rh_prompt_free(&p);
        rh_evaluation_free(e);
        rh_program_free(program);
    }
    rh_concepts_free(c);
    rh_model_free(m);
}

static void test_no_match(void **state)
{
    (void)state;
    static const struct { const char *expr, *prompt; bool chat; int column; const char *message, *hint; } cases[] = {
        {"random(1) on \"Berlin\"", "The rain", false, 17, "\"Berlin\" does not occur in the prompt", "the prompt is \"The rain\""},
        {"random(1) on last, not \"Rain\"", "The rain", false, 27, "\"Rain\" does not occur", "letters must match in case"},
        {"random(1) on \"system\"", "The rain", true, 17, "\"system\" does not occur", "templates and generated text"},
    };
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_actions a;
        rh_prompt p;
        rh_program *program = NULL;
        rh_evaluation *e = NULL;
        rh_diags diags = {0};
        rh_error err = {0};
        char expr[100];
        snprintf(expr, sizeof expr, "steer %s", cases[i].expr);
        assert_int_equal(bind(&a, &p, &program, &e, c, expr, cases[i].chat, cases[i].prompt, &diags, &err), RH_EVALUE);
        if (!strstr(err.message, cases[i].message)) fail_msg("case %zu: %s", i, err.message);
        if (!strstr(err.hint, cases[i].hint)) fail_msg("case %zu: %s", i, err.hint);
        assert_int_equal(diags.n, 1);
        assert_non_null(strstr(err.excerpt, "^^^^"));
        rh_prompt_free(&p);
        rh_evaluation_free(e);
        rh_program_free(program);
    }
    rh_concepts_free(c);
    rh_model_free(m);
}

/* A family acts at each of its layers; strength is for steering alone. */
static void test_families(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_concepts *c = new_concepts(m, NULL);
    static const struct { const char *expr; rh_action_kind kind; int32_t n, rank; float strength; } cases[] = {
        {"steer token(\" rain\") @ all", RH_STEER, 3, 1, 2.5f},
        {"ablate token(\" rain\") @ [0, 2]", RH_ABLATE, 2, 1, 1},
        {"ablate span(token(\" rain\"), token(\" snow\"), token(\" city\")) @ 1", RH_ABLATE, 1, 3, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_actions a;
        rh_prompt p;
        rh_program *program = NULL;
        rh_evaluation *e = NULL;
        rh_diags diags = {0};
        rh_error err = {0};
        if (bind(&a, &p, &program, &e, c, cases[i].expr, false, "The rain", &diags, &err)) fail_msg("%s", err.message);
        assert_int_equal(a.n, cases[i].n);
        for (int32_t k = 0; k < a.n; k++) {
            assert_int_equal(a.items[k].kind, cases[i].kind);
            assert_int_equal(a.items[k].rank, cases[i].rank);
            assert_true(a.items[k].strength == cases[i].strength);
            if (k) assert_true(a.items[k].layer > a.items[k - 1].layer);
        }
        rh_actions_free(&a);
        rh_prompt_free(&p);
        rh_evaluation_free(e);
        rh_program_free(program);
    }
    rh_concepts_free(c);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_masks), cmocka_unit_test(test_no_match),
                                       cmocka_unit_test(test_families)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
