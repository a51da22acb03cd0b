/* A screen made and used with its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/help.h"
#include "support/alloc_fail.h"

static rh_status all(void *job, rh_error *err)
{
    enum { N = 3, ROWS = 40, COLS = 50 };
    const float *numbers = job, base[ROWS] = { 0 };
    const rh_screen_level level = { base, NULL, NULL };
    rh_backend *be = NULL;
    rh_screen *s = NULL;
    rh_buf *x = NULL;
    rh_hits h = { 0 };
    rh_status status = rh_backend_cpu(&be, RH_ISA_BEST, 1, false, err);
    if (status) return status;
    status = be->ops->buf_new(be, &x, N * COLS * sizeof(float), err);
    if (!status) status = be->ops->screen_new(be, &s, numbers, RH_F32, ROWS, COLS, err);
    if (!status) be->ops->upload(be, x, 0, numbers, N * COLS * sizeof(float));
    if (!status) status = be->ops->screen(be, &h, s, x, N, &level, err);
    rh_hits_free(&h);
    be->ops->screen_free(be, s);
    be->ops->buf_free(be, x);
    rh_backend_free(be);
    return status;
}

static void no_memory(void **unused)
{
    (void)unused;
    uint64_t state = 9;
    float numbers[40 * 50];
    random_floats(&state, numbers, 40 * 50);
    assert_true(alloc_fail_each(all, numbers, 200) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_memory) };
    return cmocka_run_group_tests_name("screens without memory", tests, NULL, NULL);
}
