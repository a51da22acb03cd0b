#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

enum { N = 100000 };

/* Computed by another program from the definition: saved seeds stay good. */
static void is_pinned(void **state)
{
    (void)state;
    assert_true(rh_random_u64(0, 0, 0) == rh_random_u64(0, 0, 0));
    assert_true(rh_random_u64(0, 0, 0) == UINT64_C(0xCD22C136C3BB055));
    assert_true(rh_random_u64(1, 2, 3) == UINT64_C(0xAA904E615BB1F1C0));
}

static void arguments_matter(void **state)
{
    (void)state;
    uint64_t x = rh_random_u64(1, 2, 3);
    assert_true(x != rh_random_u64(2, 1, 3));
    assert_true(x != rh_random_u64(1, 3, 2));
    assert_true(x != rh_random_u64(3, 2, 1));
    assert_true(x != rh_random_u64(1, 2, 4));
}

/* mean 1/2, variance 1/12; lag-1 and cross-stream correlation 0; within 5 standard errors */
static void unit_is_uniform(void **state)
{
    (void)state;
    double sum = 0, square = 0, lag = 0, cross = 0, before = 0.5;
    int tenths[10] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rh_random_unit(7, 1, i), other = rh_random_unit(7, 2, i);
        assert_true(u >= 0 && u < 1);
        tenths[(int)(u * 10)]++;
        sum += u - 0.5;
        square += (u - 0.5) * (u - 0.5);
        lag += (u - 0.5) * (before - 0.5);
        cross += (u - 0.5) * (other - 0.5);
        before = u;
    }
    assert_true(fabs(sum / N) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(square / N - 1.0 / 12) < 5 * sqrt(1.0 / 180 / N));
    assert_true(fabs(lag / N) < 5.0 / 12 / sqrt(N));
    assert_true(fabs(cross / N) < 5.0 / 12 / sqrt(N));
    for (int i = 0; i < 10; i++) assert_true(abs(tenths[i] - N / 10) < 5 * sqrt(N * 0.09));
}

static void normal_is_normal(void **state)
{
    (void)state;
    double sum = 0, square = 0, fourth = 0;
    for (uint64_t i = 0; i < N; i++) {
        double z = rh_random_normal(7, 1, i);
        assert_true(isfinite(z));
        sum += z;
        square += z * z;
        fourth += z * z * z * z;
    }
    assert_true(fabs(sum / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_pinned),
        cmocka_unit_test(arguments_matter),
        cmocka_unit_test(unit_is_uniform),
        cmocka_unit_test(normal_is_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
