/* The plan as text, letter by letter, and as JSON that says the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "fake_resolver.h"

static const char BOOK[] = "let a = dim(\"a.csv\"); let b = dim(\"b.csv\",\n  at=mean); let c = token(\"rain\")\n"
                           "let trip = 2*(a - b) + a\nlayer 16\n";

static const struct { const char *expr; bool bare; const char *text; } CASES[] = {
    {"1.5*trip on last", false,
     "steer 1.5*trip on last  at 16.resid_post, width 16\n"
     "  ->  linear form, 2 terms\n"
     "        ->  4.5 *  dim(\"a.csv\")  #1\n"
     "        ->  -3 *  dim(\"b.csv\", at=mean)  #2\n"
     "\n"
     "#  source                 site           coefficient  prompts  distinct  tokens  read  cached\n"
     "1  dim(\"a.csv\")           16.resid_post          4.5       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "2  dim(\"b.csv\", at=mean)  16.resid_post           -3       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "\n"
     "pass: 64 prompts (48 distinct), 480 tokens -> 200 after sharing, to layer 16, about 0.42 s\n"},
    {"ablate unit(a - b) + c", false,
     "ablate unit(a - b) + c  at 16.resid_post, width 16\n"
     "  ->  linear form, 2 terms\n"
     "        ->  1 *  token(\"rain\")  #3  constant\n"
     "        ->  1 *  unit\n"
     "              ->  linear form, 2 terms\n"
     "                    ->  1 *  dim(\"a.csv\")  #1\n"
     "                    ->  -1 *  dim(\"b.csv\", at=mean)  #2\n"
     "\n"
     "#  source                 site           coefficient  prompts  distinct  tokens  read  cached\n"
     "1  dim(\"a.csv\")           16.resid_post            1       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "2  dim(\"b.csv\", at=mean)  16.resid_post           -1       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "3  token(\"rain\")          constant                 1        0         0       0     0  no\n"
     "\n"
     "pass: 64 prompts (48 distinct), 480 tokens -> 200 after sharing, to layer 16, about 0.42 s\n"},
    {"cos(a, c) * 2", true,
     "value cos(a, c) * 2  at 16.resid_post\n"
     "  ->  linear form, 1 term\n"
     "        ->  2 *  cos\n"
     "              ->  dim(\"a.csv\")  #1\n"
     "              ->  token(\"rain\")  #2  constant\n"
     "\n"
     "#  source         site           coefficient  prompts  distinct  tokens  read  cached\n"
     "1  dim(\"a.csv\")   16.resid_post            1       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "2  token(\"rain\")  constant                 1        0         0       0     0  no\n"
     "\n"
     "pass: 32 prompts (24 distinct), 240 tokens -> 100 after sharing, to layer 16, about 0.42 s\n"},
    {"cap a at 0.5*resid_norm(0.9) on last when cos(h, c) >= 0.2", false,
     "cap a at 0.5*resid_norm(0.9) on last when cos(h, c) >= 0.2  at 16.resid_post, width 16\n"
     "  ->  dim(\"a.csv\")  #1\n"
     "  at\n"
     "  ->  linear form, 1 term\n"
     "        ->  0.5 *  resid_norm(0.9)  #3\n"
     "  when cos(h, …)\n"
     "  ->  token(\"rain\")  #2  constant\n"
     "  >=\n"
     "  ->  0.2\n"
     "\n"
     "#  source           site           coefficient  prompts  distinct  tokens  read  cached\n"
     "1  dim(\"a.csv\")     16.resid_post            1       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "2  token(\"rain\")    constant                 1        0         0       0     0  no\n"
     "3  resid_norm(0.9)  16.resid_post          0.5        0         0       0     0  no\n"
     "\n"
     "pass: 32 prompts (24 distinct), 240 tokens -> 100 after sharing, to layer 16, about 0.42 s\n"},
    {"scale lda(\"l.csv\", shrink=0.5) @ 3..4 by norm(neutral())", false,
     "scale lda(\"l.csv\", shrink=0.5) @ 3..4 by norm(neutral())  at 3..4.resid_post, width 16\n"
     "  ->  lda(\"l.csv\", shrink=0.5)  #1\n"
     "  by\n"
     "  ->  norm\n"
     "        ->  neutral()  #2\n"
     "\n"
     "#  source                    site             coefficient  prompts  distinct  tokens  read  cached\n"
     "1  lda(\"l.csv\", shrink=0.5)  3..4.resid_post            1       32        24     240    32  no\n"
     "   sample: The mayor of [San Francisco]\n"
     "2  neutral()                 3..4.resid_post            1        0         0       0     0  no\n"
     "\n"
     "pass: 32 prompts (24 distinct), 240 tokens -> 100 after sharing, to layer 4, about 0.42 s\n"},
    {"(2 + 3)*2", true,
     "value (2 + 3)*2  constant\n"
     "  ->  10\n"
     "\n"
     "pass: none; nothing has to be computed by the model\n"},
};

static rh_program *compile(fake_resolver *fake, const char *expr, bool bare)
{
    rh_program *p = NULL;
    rh_error err = {0};
    fake_init(fake);
    rh_program_input in = {.book_path = "b", .book_text = BOOK, .expr = expr, .bare_value = bare};
    if (rh_program_compile(&p, &in, &fake->resolver, NULL, &err)) fail_msg("%s\n%s", err.message, err.excerpt);
    return p;
}

static void texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        fake_resolver fake;
        rh_str text = {0};
        rh_program *p = compile(&fake, CASES[i].expr, CASES[i].bare);
        assert_int_equal(rh_program_explain(&text, p, NULL), RH_OK);
        assert_string_equal(text.data, CASES[i].text);
        assert_int_equal(fake.computes, 0); /* it plans, and computes nothing */
        rh_str_free(&text);
        rh_program_free(p);
    }
}

static void json(void **state)
{
    (void)state;
    fake_resolver fake;
    rh_str text = {0};
    json_t *o = NULL;
    rh_program *p = compile(&fake, "steer 0.1*trip + unit(act(\"a \\\"quoted\\\"\\ttext\")) on last", false);
    assert_int_equal(rh_program_explain_json(&text, p, NULL), RH_OK);
    assert_int_equal(rh_json_parse(&o, text.data, text.len, "explain", NULL), RH_OK);
    json_t *result = json_array_get(json_object_get(o, "results"), 0);
    assert_string_equal(json_string_value(json_object_get(result, "action")), "steer");
    assert_int_equal(json_integer_value(json_object_get(result, "width")), FAKE_D);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(result, "layers"), 0)), 16);
    json_t *step = json_array_get(json_object_get(o, "steps"), (size_t)json_integer_value(json_object_get(result, "step")));
    assert_string_equal(json_string_value(json_object_get(step, "operation")), "linear form");
    assert_true(json_real_value(json_array_get(json_object_get(step, "coefficients"), 0)) == 3 * 0.1);
    json_t *atoms = json_object_get(o, "atoms");
    assert_int_equal(json_array_size(atoms), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(atoms, 2), "source")), "act(\"a \\\"quoted\\\"\\ttext\")");
    assert_true(json_is_true(json_object_get(json_array_get(atoms, 0), "cached")) == 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "pass"), "shared_tokens")), 200);
    json_decref(o);
    rh_str_free(&text);
    rh_program_free(p);
}

/* An action's amount and guard name the steps that compute them. */
static void json_of_guards(void **state)
{
    (void)state;
    static const struct { const char *expr, *action, *of, *compare; } cases[] = {
        {"cap a at 0.5*resid_norm(0.9) when cos(h, c) >= 0.2", "cap", "cos", ">="}, {"clamp a at 1", "clamp", NULL, NULL},
        {"scale a by 2 when dot(h, c) < norm(a)", "scale", "dot", "<"},             {"ablate a when cos(h, a) <= 1", "ablate", "cos", "<="},
        {"a when dot(h, a) > 3", "steer", "dot", ">"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_resolver fake;
        rh_str text = {0};
        json_t *o = NULL;
        rh_program *p = compile(&fake, cases[i].expr, false);
        assert_int_equal(rh_program_explain_json(&text, p, NULL), RH_OK);
        assert_int_equal(rh_json_parse(&o, text.data, text.len, "explain", NULL), RH_OK);
        json_t *result = json_array_get(json_object_get(o, "results"), 0), *steps = json_object_get(o, "steps");
        json_t *guard = json_object_get(result, "guard"), *amount = json_object_get(result, "amount");
        assert_string_equal(json_string_value(json_object_get(result, "action")), cases[i].action);
        assert_int_equal(amount != NULL, strstr(cases[i].expr, " at ") || strstr(cases[i].expr, " by "));
        assert_int_equal(guard != NULL, cases[i].of != NULL);
        if (i == 0) {
            json_t *step = json_array_get(steps, (size_t)json_integer_value(amount));
            assert_true(json_real_value(json_array_get(json_object_get(step, "coefficients"), 0)) == 0.5);
            step = json_array_get(steps, (size_t)json_integer_value(json_object_get(guard, "threshold")));
            assert_true(json_real_value(json_object_get(step, "number")) == 0.2);
        }
        if (guard) {
            assert_string_equal(json_string_value(json_object_get(guard, "of")), cases[i].of);
            assert_string_equal(json_string_value(json_object_get(guard, "compare")), cases[i].compare);
            json_t *step = json_array_get(steps, (size_t)json_integer_value(json_object_get(guard, "vector")));
            assert_string_equal(json_string_value(json_object_get(step, "operation")), "atom");
        }
        json_decref(o);
        rh_str_free(&text);
        rh_program_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(json), cmocka_unit_test(json_of_guards)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
