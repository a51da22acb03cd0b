/* Every export with each of its allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fabricate.h"
#include "notebooks-export/export.h"
#include "support/alloc_fail.h"

static rh_status texts(void *data, rh_error *err)
{
    const rh_terminal *t = data;
    rh_str out = {0};
    rh_status status = rh_export_steer_text(&out, fabricate_steer(), t, err);
    if (!status) status = rh_export_steer_text(&out, fabricate_hostile(), t, err);
    if (!status) status = rh_export_vec_text(&out, fabricate_vector(), t, err);
    rh_str_free(&out);
    return status;
}

static rh_status json(void *data, rh_error *err)
{
    (void)data;
    rh_str out = {0};
    rh_status status = rh_export_steer_json(&out, fabricate_steer(), err);
    if (!status) status = rh_export_vec_json(&out, fabricate_vector(), err);
    rh_str_free(&out);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    rh_terminal wide = {120, true, true}, narrow = {60, false, false};
    assert_true(alloc_fail_each(texts, &wide, 400) > 100);
    assert_true(alloc_fail_each(texts, &narrow, 400) > 100);
    assert_true(alloc_fail_each(json, NULL, 400) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
