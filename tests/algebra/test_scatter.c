/* Streamed scatter against sums in two passes, in any order, split and weighting. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/fit.h"
#include "base/rng.h"

enum { D = 7, N = 300, CLASSES = 3 };

typedef struct { float x[N][D]; double w[N]; int cls[N]; } samples;

static void fill(samples *s, uint64_t seed)
{
    for (int i = 0; i < N; i++) {
        s->cls[i] = (int)(rh_random_normal(seed, 1, (uint64_t)i) > 0.5) + (i % 11 == 0);
        s->w[i] = i % 5 == 0 ? 3 : i % 17 == 0 ? 0 : 1;
        for (int j = 0; j < D; j++) /* one coordinate far from zero, one huge: what one pass without means loses */
            s->x[i][j] = (float)(rh_random_normal(seed, 2, (uint64_t)(i * D + j)) * (j == 3 ? 1e4 : 1) + (j == 2 ? 1e5 : s->cls[i]));
    }
}

static void slow(double n[CLASSES], double mean[CLASSES][D], double s[D][D], const samples *x)
{
    memset(n, 0, CLASSES * sizeof *n);
    memset(mean, 0, CLASSES * sizeof *mean);
    memset(s, 0, D * sizeof *s);
    for (int i = 0; i < N; i++) n[x->cls[i]] += x->w[i];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++) mean[x->cls[i]][j] += x->w[i] * (double)x->x[i][j] / n[x->cls[i]];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            for (int k = 0; k < D; k++)
                s[j][k] += x->w[i] * (x->x[i][j] - mean[x->cls[i]][j]) * (x->x[i][k] - mean[x->cls[i]][k]);
}

static void check(const rh_scatter *s, const samples *x)
{
    double n[CLASSES], mean[CLASSES][D], m[D][D];
    slow(n, mean, m, x);
    for (int c = 0; c < CLASSES; c++) {
        if (s->n[c] != n[c]) fail_msg("class %d weighs %g, not %g", c, s->n[c], n[c]);
        for (int j = 0; j < D; j++)
            if (!(fabs(s->mean[c * D + j] - mean[c][j]) <= 1e-12 * (1 + fabs(mean[c][j])) * 100)) fail_msg("mean %d.%d", c, j);
    }
    for (int j = 0; j < D; j++)
        for (int k = j; k < D; k++) {
            double scale = sqrt(m[j][j] * m[k][k]);
            if (!(fabs(s->s[j * D + k] - m[j][k]) <= 1e-9 * scale))
                fail_msg("scatter %d,%d is %.17g, not %.17g", j, k, s->s[j * D + k], m[j][k]);
        }
}

static void streamed(void **state)
{
    (void)state;
    static samples x;
    static const int every[] = {N + 1, 1, 7, 64, 100}; /* samples between two flushes */
    for (size_t k = 0; k < sizeof every / sizeof *every; k++) {
        rh_scatter s;
        fill(&x, k);
        assert_int_equal(rh_scatter_new(&s, D, CLASSES, NULL), RH_OK);
        for (int i = 0; i < N; i++) {
            double row[D];
            for (int j = 0; j < D; j++) row[j] = x.x[i][j];
            if (i % 2) rh_scatter_add(&s, x.cls[i], x.x[i], x.w[i]);
            else rh_scatter_add_double(&s, x.cls[i], row, x.w[i]);
            if ((i + 1) % every[k] == 0) rh_scatter_flush(&s);
        }
        rh_scatter_flush(&s);
        check(&s, &x);
        rh_scatter_free(&s);
    }
}

static void merged(void **state)
{
    (void)state;
    static samples x;
    for (int cut = 0; cut <= N; cut += 60) {
        rh_scatter s[3];
        fill(&x, 9);
        for (int k = 0; k < 3; k++) assert_int_equal(rh_scatter_new(&s[k], D, CLASSES, NULL), RH_OK);
        for (int i = 0; i < N; i++) rh_scatter_add(&s[i < cut ? 0 : 1 + i % 2], x.cls[i], x.x[i], x.w[i]);
        for (int k = 0; k < 3; k++) rh_scatter_flush(&s[k]);
        rh_scatter_merge(&s[0], &s[1]);
        rh_scatter_merge(&s[0], &s[2]);
        check(&s[0], &x);
        for (int k = 0; k < 3; k++) rh_scatter_free(&s[k]);
    }
}

/* With fewer and with more pairs than dimensions the principal component is found in different ways: both leave
 * what is orthogonal to it with less. A pair repeated has the same component. */
static void principal(void **state)
{
    (void)state;
    enum { PAIRS = 40, WIDE = 24 };
    static float rows[2 * 2 * PAIRS * WIDE];
    for (size_t n = 6; n <= PAIRS; n += 17) {
        float once[WIDE], twice[WIDE];
        for (size_t i = 0; i < 2 * n * WIDE; i++)
            rows[i] = (float)(rh_random_normal(3, n, i) * (i % WIDE == 5 ? 4 : 1) + (i / WIDE % 2 ? 0 : 2));
        memcpy(rows + 2 * n * WIDE, rows, 2 * n * WIDE * sizeof *rows);
        assert_int_equal(rh_fit_pca(once, rows, n, WIDE, true, NULL), RH_OK);
        assert_int_equal(rh_fit_pca(twice, rows, 2 * n, WIDE, true, NULL), RH_OK);
        for (int j = 0; j < WIDE; j++) assert_true(fabs(once[j] - twice[j]) < 1e-6);
        /* Swapped classes: the differences change their sign, and so does the direction. */
        for (size_t i = 0; i < n; i++)
            for (int j = 0; j < WIDE; j++) {
                float *p = rows + 2 * i * WIDE + j, keep = p[0];
                p[0] = p[WIDE];
                p[WIDE] = keep;
            }
        assert_int_equal(rh_fit_pca(twice, rows, n, WIDE, true, NULL), RH_OK);
        for (int j = 0; j < WIDE; j++) assert_true(fabs(once[j] + twice[j]) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(streamed), cmocka_unit_test(merged), cmocka_unit_test(principal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
