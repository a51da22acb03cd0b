/* algebra/ against slow, obvious twins in double precision. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "algebra/algebra.h"
#include "base/rng.h"

enum { D_MAX = 1031, N_MAX = 24 };

typedef struct { float v[N_MAX][D_MAX]; const float *rows[N_MAX]; } sample;

/* n rows of d normal numbers; row i is a function of (seed, i). */
static void fill(sample *s, uint64_t seed, int n, int d)
{
    for (int i = 0; i < n; i++) {
        s->rows[i] = s->v[i];
        for (int j = 0; j < d; j++) s->v[i][j] = (float)rh_random_normal(seed, (uint64_t)i, (uint64_t)j);
    }
}

static double slow_dot(const float *a, const float *b, int d)
{
    long double sum = 0;
    for (int j = 0; j < d; j++) sum += (long double)a[j] * b[j];
    return (double)sum;
}

static void close_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, expected %.17g (within %g)", got, want, tolerance);
}

static const int WIDTHS[] = {1, 2, 3, 4, 5, 31, 255, 256, 257, 576, 1031};
#define N_WIDTHS (sizeof WIDTHS / sizeof *WIDTHS)

static void dots_and_norms(void **state)
{
    sample *s = *state;
    for (size_t w = 0; w < N_WIDTHS; w++) {
        int d = WIDTHS[w];
        fill(s, 7, 2, d);
        close_to(rh_dot(s->v[0], s->v[1], d), slow_dot(s->v[0], s->v[1], d), 1e-12 * d);
        close_to(rh_norm(s->v[0], d), sqrt(slow_dot(s->v[0], s->v[0], d)), 1e-12 * d);
    }
    /* Sums that float32 would lose: a huge coordinate beside small ones. */
    for (int j = 0; j < 1000; j++) s->v[0][j] = s->v[1][j] = 1;
    s->v[0][0] = 1e12f;
    close_to(rh_dot(s->v[0], s->v[1], 1000) - (double)s->v[0][0], 999, 1e-3);
}

static void cosines(void **state)
{
    sample *s = *state;
    static const struct { float a[2], b[2]; double want; } cases[] = {
        {{1, 0}, {0, 1}, 0},     {{1, 0}, {3, 0}, 1},   {{1, 0}, {-2, 0}, -1},
        {{0, 0}, {1, 0}, 0},     {{0, 0}, {0, 0}, 0},   {{1, 1}, {1, 0}, 0.70710678118654752},
        {{1e-30f, 0}, {1e-30f, 1e-30f}, 0.70710678118654752}, {{3e38f, 3e38f}, {3e38f, 3e38f}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        close_to(rh_cosine(cases[i].a, cases[i].b, 2), cases[i].want, 1e-15);

    double c[9];
    fill(s, 3, 3, 64);
    for (int j = 0; j < 64; j++) s->v[1][j] = 0;
    rh_cosine_matrix(c, s->rows, 3, 64);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            close_to(c[i * 3 + j], i == j ? i != 1 : rh_cosine(s->v[i], s->v[j], 64), 1e-15);
}

static void linear_combinations(void **state)
{
    sample *s = *state;
    for (size_t w = 0; w < N_WIDTHS; w++)
        for (int n = 0; n < 5; n++) {
            int d = WIDTHS[w];
            double c[5] = {3, -0.5, 1e3, -1e-3, 7};
            static float out[D_MAX];
            fill(s, 11 + (uint64_t)n, n, d);
            assert_int_equal(rh_linear_combination(out, c, s->rows, n, d, NULL), RH_OK);
            for (int j = 0; j < d; j++) {
                long double want = 0;
                for (int i = 0; i < n; i++) want += (long double)c[i] * s->v[i][j];
                assert_true(out[j] == (float)want); /* rounded once */
            }
        }
    float huge[1] = {3e38f}, out[1];
    const float *rows[1] = {huge};
    double two = 2;
    rh_error err;
    assert_int_equal(rh_linear_combination(out, &two, rows, 1, 1, &err), RH_EVALUE);
}

/* Rank and projection of n vectors of which some are sums of others, against a plain
 * Gram-Schmidt in long double. */
static void spans(void **state)
{
    static const struct { int n, d, independent; } cases[] = {
        {1, 1, 1}, {1, 5, 1}, {2, 5, 2}, {3, 5, 2}, {5, 3, 3}, {8, 576, 8}, {24, 100, 10}, {3, 7, 0}, {24, 16, 16},
    };
    sample *s = *state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int n = cases[c].n, d = cases[c].d, k = cases[c].independent;
        fill(s, 100 + c, n, d);
        for (int i = k; i < n; i++)
            for (int j = 0; j < d; j++)
                s->v[i][j] = k == 0 ? 0 : d < n ? s->v[i][j] : s->v[i % k][j] - 2 * s->v[(i + 1) % k][j];
        rh_span span;
        assert_int_equal(rh_span_new(&span, s->rows, n, d, NULL), RH_OK);
        assert_int_equal(span.rank, k);
        for (int a = 0; a < span.rank; a++)
            for (int b = 0; b <= a; b++)
                close_to(slow_dot(span.basis + a * d, span.basis + b * d, d), a == b, 1e-6);
        static float inside[D_MAX], again[D_MAX];
        for (int i = 0; i < n; i++) { /* every vector lies in its own span */
            rh_span_project(inside, s->v[i], &span);
            for (int j = 0; j < d; j++) close_to(inside[j], s->v[i][j], 1e-5 * (1 + rh_norm(s->v[i], d)));
        }
        fill(s, 900, 1, d); /* and what is left over is orthogonal to it */
        rh_span_project(inside, s->v[0], &span);
        for (int j = 0; j < d; j++) again[j] = s->v[0][j] - inside[j];
        for (int a = 0; a < span.rank; a++) close_to(slow_dot(again, span.basis + a * d, d), 0, 1e-4);
        rh_span_project(s->v[0], s->v[0], &span); /* in place */
        for (int j = 0; j < d; j++) assert_true(s->v[0][j] == inside[j]);
        rh_span_free(&span);
    }
}

static void bad_spans(void **state)
{
    (void)state;
    rh_span span;
    float bad[2] = {NAN, 1};
    const float *rows[1] = {bad};
    assert_int_equal(rh_span_new(&span, rows, 1, 2, NULL), RH_EVALUE);
    assert_int_equal(rh_span_new(&span, rows, RH_SPAN_MAX + 1, 2, NULL), RH_ELIMIT);
    assert_int_equal(rh_span_new(&span, NULL, 0, 2, NULL), RH_OK);
    assert_int_equal(span.rank, 0);
    rh_span_free(&span);
    rh_span_free(NULL);
}

static void slerps(void **state)
{
    const double h = 0.70710678118654752;
    static const struct { float a[2], b[2]; double t; rh_status status; } cases[] = {
        {{1, 0}, {0, 1}, 0, RH_OK},   {{1, 0}, {0, 1}, 1, RH_OK},    {{2, 0}, {0, 4}, 0.5, RH_OK},
        {{1, 0}, {2, 0}, 0.5, RH_OK}, {{1, 0}, {-1, 0}, 0.5, RH_EVALUE}, {{0, 0}, {1, 0}, 0.5, RH_EVALUE},
        {{1, 0}, {0, 0}, 0.5, RH_EVALUE}, {{1, 0}, {-1, 1e-3f}, 0.5, RH_OK},
    };
    const double want[][2] = {{1, 0}, {0, 1}, {3 * h, 3 * h}, {1.5, 0}, {0, 0}, {0, 0}, {0, 0}, {0.0005, 1.0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float out[2] = {9, 9};
        assert_int_equal(rh_slerp(out, cases[i].a, cases[i].b, cases[i].t, 2, NULL), cases[i].status);
        if (cases[i].status) continue;
        close_to(out[0], want[i][0], 1e-6);
        close_to(out[1], want[i][1], 1e-6);
    }
    /* Constant angular speed, linear length. */
    sample *s = *state;
    fill(s, 5, 3, 300);
    for (int j = 0; j < 300; j++) s->v[1][j] *= 3;
    double angle = acos(rh_cosine(s->v[0], s->v[1], 300));
    for (int step = 0; step <= 10; step++) {
        double t = step / 10.0;
        assert_int_equal(rh_slerp(s->v[2], s->v[0], s->v[1], t, 300, NULL), RH_OK);
        close_to(acos(rh_cosine(s->v[2], s->v[0], 300)), t * angle, 1e-3);
        close_to(rh_norm(s->v[2], 300), (1 - t) * rh_norm(s->v[0], 300) + t * rh_norm(s->v[1], 300), 1e-4);
    }
}

static void moments(void **state)
{
    sample *s = *state;
    enum { D = 37 };
    for (int split = 0; split <= N_MAX; split += 6) {
        rh_moments all, rest;
        fill(s, 42, N_MAX, D);
        for (int i = 0; i < N_MAX; i++) s->v[i][0] += 1e4f; /* a mean that a naive sum of squares would drown in */
        assert_int_equal(rh_moments_new(&all, D, NULL), RH_OK);
        assert_int_equal(rh_moments_new(&rest, D, NULL), RH_OK);
        for (int i = 0; i < N_MAX; i++) rh_moments_add(i < split ? &all : &rest, s->v[i], i % 3 + 0.5);
        rh_moments_merge(&all, &rest);
        for (int j = 0; j < D; j++) {
            long double n = 0, mean = 0, m2 = 0;
            for (int i = 0; i < N_MAX; i++) { n += i % 3 + 0.5; mean += (i % 3 + 0.5) * (long double)s->v[i][j]; }
            mean /= n;
            for (int i = 0; i < N_MAX; i++) m2 += (i % 3 + 0.5) * (s->v[i][j] - mean) * (s->v[i][j] - mean);
            close_to(all.n, (double)n, 1e-12);
            close_to(all.mean[j], (double)mean, 1e-10 * (1 + fabs((double)mean)));
            close_to(all.m2[j], (double)m2, 1e-9 * (1 + (double)m2));
        }
        rh_moments_free(&all);
        rh_moments_free(&rest);
    }
    rh_moments_free(NULL);
}

static int setup(void **state) { return (*state = malloc(sizeof(sample))) ? 0 : -1; }
static int teardown(void **state) { free(*state); return 0; }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots_and_norms), cmocka_unit_test(cosines), cmocka_unit_test(linear_combinations),
        cmocka_unit_test(spans),          cmocka_unit_test(bad_spans), cmocka_unit_test(slerps),
        cmocka_unit_test(moments),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
