/* Sources and functions against numpy (tests/generate/sources.py): each expression compiled and evaluated at all
 * layers of a hook. */
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

#define FOLDER RH_TEST_DATA "/sources"

static const char BOOK[] = "let a = load(\"../actions/a.npy\"); let b = load(\"../actions/b.npy\"); let c = load(\"../actions/c.npy\")\n"
                           "let fam = load(\"../actions/fam.safetensors\")\n";

/* Row of the value at a layer; *d its width. */
static const void *row(const rh_value *v, int32_t i, int32_t *d)
{
    assert_int_equal(v->n_layers, 3);
    *d = v->kind == RH_VALUE_VECTOR ? v->vector->d : 1;
    return v->kind == RH_VALUE_VECTOR ? (const void *)(v->vector->data + (size_t)i * (size_t)*d) : (const void *)&v->scalar[i];
}

static void check(const rh_value *v, const rh_tensor *t, const char *expression, const char *hook, double tolerance)
{
    const float *want = (const float *)t->data;
    for (int32_t i = 0; i < 3; i++) {
        int32_t d;
        const void *got = row(v, i, &d);
        double worst = 0, scale = 0;
        assert_int_equal(t->shape[1], d);
        for (int32_t j = 0; j < d; j++) {
            double x = v->kind == RH_VALUE_VECTOR ? (double)((const float *)got)[j] : *(const double *)got, y = want[i * d + j];
            if (!(fabs(x - y) <= worst)) worst = fabs(x - y);
            if (fabs(y) > scale) scale = fabs(y);
        }
        if (!(worst <= tolerance * (scale > 0 ? scale : 1))) fail_msg("%s at %s, layer %d: off by %g of %g", expression, hook, (int)i, worst, scale);
    }
}

static void test_values_agree_with_numpy(void **state)
{
    (void)state;
    json_t *cases = NULL, *one;
    size_t i;
    rh_safetensors *answers = NULL;
    rh_model *m = open_model("words.gguf");
    m->config.n_ctx = 256; /* as where the answers were made: the calibration text has many tokens in few words */
    rh_concepts *c = new_concepts(m, NULL);
    assert_int_equal(rh_json_load(&cases, FOLDER "/cases.json", NULL), RH_OK);
    assert_int_equal(rh_safetensors_open(&answers, FOLDER "/answers.safetensors", NULL), RH_OK);
    json_array_foreach(cases, i, one) {
        char book[1024], expr[64], key[24];
        const char *expression = json_string_value(json_object_get(one, "expression")), *hook = json_string_value(json_object_get(one, "hook"));
        rh_program_input in = {.book_path = FOLDER "/case.rhumb", .book_text = book, .expr = expr, .bare_value = true};
        rh_program *program = NULL;
        rh_evaluation *e = NULL;
        rh_diags diags = {0};
        rh_error err = {0};
        snprintf(book, sizeof book, "%slet x = %s\n", BOOK, expression); /* whose paths are relative to the book */
        snprintf(expr, sizeof expr, "x @ all.%s", hook);
        snprintf(key, sizeof key, "%zu", i);
        const rh_tensor *want = rh_safetensors_find(answers, key);
        if (!want) fail_msg("no answer %s", key);
        if (rh_program_compile(&program, &in, rh_concepts_resolver(c), &diags, &err) || rh_program_eval(&e, program, &diags, &err))
            fail_msg("%s at %s: %s", expression, hook, err.message);
        check(e->value, want, expression, hook, rh_program_needs_model(program) ? 2e-5 : 1e-6);
        rh_evaluation_free(e);
        rh_program_free(program);
    }
    assert_true(i > 80);
    json_decref(cases);
    rh_safetensors_close(answers);
    rh_concepts_free(c);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values_agree_with_numpy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
