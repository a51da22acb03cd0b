/* The texts of a comparison and of a forecast with each of their allocations failing: RH_ENOMEM, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fabricate_compare.h"
#include "fabricate_forecast.h"
#include "notebooks-export/compare_export.h"
#include "notebooks-export/forecast_export.h"
#include "support/alloc_fail.h"

static rh_status text(void *data, rh_error *err)
{
    rh_str out = {0};
    rh_status status = rh_export_compare_text(&out, fabricate_compare(), data, err);
    rh_str_free(&out);
    return status;
}

static rh_status json(void *data, rh_error *err)
{
    rh_str out = {0};
    rh_status status = rh_export_compare_json(&out, fabricate_compare(), err);
    (void)data;
    rh_str_free(&out);
    return status;
}

static rh_status forecast(void *data, rh_error *err)
{
    rh_str out = {0};
    rh_status status = data ? rh_export_forecast_text(&out, fabricate_forecast(), data, err) : rh_export_forecast_json(&out, fabricate_forecast(), err);
    rh_str_free(&out);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    rh_terminal wide = {120, true, true}, narrow = {60, false, false};
    assert_true(alloc_fail_each(text, &wide, 300) > 50);
    assert_true(alloc_fail_each(text, &narrow, 300) > 50);
    assert_true(alloc_fail_each(json, NULL, 300) > 5);
    assert_true(alloc_fail_each(forecast, &wide, 300) > 20);
    assert_true(alloc_fail_each(forecast, NULL, 300) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
