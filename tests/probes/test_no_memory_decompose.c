/* A vector decomposed with its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probes/decompose.h"
#include "support/alloc_fail.h"

typedef struct job { rh_sae *s; bool sign; } job;

static rh_status decompose(void *data, rh_error *err)
{
    const job *j = data;
    const float v[8] = { 1, -2, 0.5f, 0, 3, -1, 0.25f, 2 };
    const rh_settings settings = { .threads = 1 };
    rh_decomposition d = { 0 };
    RH_TRY(rh_decompose(&d, j->s, v, 5, j->sign, &settings, err));
    bool falls = d.n == 5;
    for (int32_t i = 1; i < d.n; i++) falls = falls && d.residual[i] <= d.residual[i - 1] + 1e-9;
    rh_decomposition_free(&d);
    return falls ? RH_OK : rh_fail(err, RH_EVALUE, "the residual grew");
}

static void no_memory(void **state)
{
    job j = { NULL, false };
    (void)state;
    assert_int_equal(rh_sae_open(&j.s, RH_TEST_DATA "/saes/jumprelu", RH_SAE_ROWS, NULL), RH_OK);
    for (int sign = 0; sign < 2; sign++) {
        j.sign = sign;
        assert_true(alloc_fail_each(decompose, &j, 200) > 20);
    }
    rh_sae_free(j.s);
}

/* As many steps as are asked for, or as make sense: 14 rows in 8 dimensions leave nothing after 8. */
static void ends(void **state)
{
    const float v[8] = { 1, -2, 0.5f, 0, 3, -1, 0.25f, 2 }, zero[8] = { 0 };
    const rh_settings settings = { .threads = 1 };
    rh_decomposition d = { 0 };
    rh_error err = { 0 };
    rh_sae *s = NULL;
    (void)state;
    assert_int_equal(rh_sae_open(&s, RH_TEST_DATA "/saes/jumprelu", RH_SAE_ROWS, NULL), RH_OK);
    assert_int_equal(rh_decompose(&d, s, v, 14, true, &settings, &err), RH_OK);
    assert_in_range(d.n, 6, 8);
    assert_true(d.residual[d.n - 1] < 1e-4 * d.norm);
    rh_decomposition_free(&d);
    assert_int_equal(rh_decompose(&d, s, zero, 3, true, &settings, &err), RH_EVALUE);
    rh_sae_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_memory), cmocka_unit_test(ends) };
    return cmocka_run_group_tests_name("decompose", tests, NULL, NULL);
}
