/* Sums of few parts: the normal equations hold, and nothing becomes negative. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "algebra/algebra.h"
#include "algebra/pursuit.h"
#include "base/rng.h"

enum { D = 24, N = 10 };

static void draw(float *x, uint64_t seed)
{
    for (int j = 0; j < D; j++) x[j] = (float)(rh_random_unit(seed, 0, (uint64_t)j) - 0.4);
}

/* What an optimum is known by: the residual has no part along a used part, and, not negative, none along
 * an unused one that would make it smaller. */
static void optimal(bool nonnegative)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        float v[D], parts[N][D];
        rh_pursuit *p = NULL;
        draw(v, 1000 * seed);
        assert_int_equal(rh_pursuit_new(&p, v, D, N, nonnegative, NULL), RH_OK);
        double last = rh_pursuit_residual_norm(p);
        assert_true(fabs(last - rh_norm(v, D)) < 1e-9);
        for (int n = 0; n < N; n++) {
            draw(parts[n], 1000 * seed + 1 + (uint64_t)n);
            assert_int_equal(rh_pursuit_add(p, parts[n], NULL), RH_OK);
            double now = rh_pursuit_residual_norm(p);
            assert_true(now <= last + 1e-9);
            last = now;
            for (int i = 0; i <= n; i++) {
                double along = rh_dot(parts[i], rh_pursuit_residual(p), D), c = rh_pursuit_coefficient(p, i);
                if (nonnegative) assert_true(c >= 0);
                if (!nonnegative || c > 0) assert_true(fabs(along) < 1e-5);
            }
        }
        rh_pursuit_free(p);
    }
}

static void any_sign(void **state) { (void)state; optimal(false); }
static void not_negative(void **state) { (void)state; optimal(true); }

static void finds_a_sum(void **state)
{
    float a[D], b[D], v[D], twice[D];
    rh_error err = { 0 };
    rh_pursuit *p = NULL;
    (void)state;
    draw(a, 1);
    draw(b, 2);
    for (int j = 0; j < D; j++) v[j] = 2 * a[j] - 0.5f * b[j], twice[j] = 2 * a[j];
    assert_int_equal(rh_pursuit_new(&p, v, D, 3, false, NULL), RH_OK);
    assert_int_equal(rh_pursuit_add(p, a, NULL), RH_OK);
    assert_int_equal(rh_pursuit_add(p, b, NULL), RH_OK);
    assert_true(fabs(rh_pursuit_coefficient(p, 0) - 2) < 1e-6 && fabs(rh_pursuit_coefficient(p, 1) + 0.5) < 1e-6);
    assert_true(rh_pursuit_residual_norm(p) < 1e-5);
    assert_int_equal(rh_pursuit_add(p, twice, &err), RH_EVALUE); /* depends on a */
    assert_true(fabs(rh_pursuit_coefficient(p, 0) - 2) < 1e-6);
    rh_pursuit_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_sign), cmocka_unit_test(not_negative), cmocka_unit_test(finds_a_sum) };
    return cmocka_run_group_tests_name("pursuit", tests, NULL, NULL);
}
