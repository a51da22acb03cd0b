/* The host's memory runs out at any point of a backend's life: nothing lost, and said so, or done without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cuda/emulator/control.h"
#include "cuda/script.h"
#include "support/alloc_fail.h"

rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err);

static rh_status life(void *data, rh_error *err)
{
    rh_backend *be = NULL;
    script_results r = {0};
    const uint64_t before = rh_emulator_counted().memory;
    rh_status status = rh_backend_cuda(&be, false, err);
    if (!status) status = script_run(be, &r, data, 33, err);
    rh_backend_free(be);
    script_free(&r);
    assert_int_equal(rh_emulator_counted().memory, before);
    return status;
}

static void each_allocation_fails(void **state)
{
    script_data *d = script_data_new(RH_Q8_0);
    (void)state;
    assert_true(alloc_fail_each_or_without(life, d, 24) > 30);
    script_data_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
