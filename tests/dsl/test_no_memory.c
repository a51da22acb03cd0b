/* Every allocation from text to vectors fails once: RH_ENOMEM, and nothing is left behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "fake_resolver.h"
#include "support/alloc_fail.h"

typedef struct job { rh_program_input in; } job;

static rh_status work(void *data, rh_error *err)
{
    const job *j = data;
    fake_resolver fake;
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_str text = {0};
    fake_init(&fake);
    rh_status status = rh_program_compile(&p, &j->in, &fake.resolver, NULL, err);
    if (!status) status = rh_program_explain(&text, p, err);
    if (!status) status = rh_program_explain_json(&text, p, err);
    if (!status) status = rh_program_eval(&e, p, NULL, err);
    rh_str_free(&text);
    rh_evaluation_free(e);
    rh_program_free(p);
    return status;
}

static void every_allocation(void **state)
{
    (void)state;
    job jobs[] = {
        {{.book_path = "books/main.rhumb", .all_names = true}},
        {{.book_path = "b", .book_text = "layer 14..16; let a = dim(\"a.csv\", prefix=\"x\"); let c = token(\"x\"); let s = span(a, c, a + c)\n"
                                         "steer 2*(a - c) + unit(a)*norm(c) + mean(a, c, a, c, a) on last, \"x\"; ablate s; ablate a @ [3, 9]"}},
        {{.book_path = "b", .book_text = "let a = lda(\"a.csv\", shrink=0.2); let f = load(\"fam.safetensors\"); let q = 1/2\n"
                                         "cap f at norm(f) on last when cos(h, a) > 0.2; scale a @ 3 by resid_norm(q); clamp a @ 3 at dot(neutral(), unit(a))\n"
                                         "ablate span(a, f) when dot(h, pca(\"b.csv\")) <= free(resid_norm() @ 3)"}},
        {{.book_path = "b", .book_text = "sae s = \"layer_31/params.npz\" @ 31; let f = s[3]; steer f + s[3, 17] - 2*dim(\"a.csv\"); ablate s[1]"}},
        {{.expr = "lerp(load(\"fam.safetensors\"), slerp(token(\"x\"), token(\"y\"), 0.5), cos(token(\"x\"), random(7)))", .bare_value = true}},
    };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) assert_true(alloc_fail_each(work, &jobs[i], 2000) > 20);
}

int main(void)
{
    if (chdir(RH_TEST_DATA "/../dsl") != 0) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
