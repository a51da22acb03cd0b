/* statistics.h against definitions written out, and against what chance must look like. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/statistics.h"
#include "base/rng.h"

static void close_to(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.17g, expected %.17g", what, got, want);
}

/* ---- two classes ------------------------------------------------------------------------------------ */

static void cohens_d(void **state)
{
    (void)state;
    /* Textbook: means 6 and 3, variances 2.5 and 2.5, so d = 3/sqrt(2.5). */
    static const double a[] = {4, 5, 6, 7, 8}, b[] = {1, 2, 3, 4, 5};
    rh_class_moments one = {.n = {0}}, shifted[2] = {{.n = {0}}};
    double sd;
    for (int i = 0; i < 5; i++) {
        rh_class_moments_add(&one, a[i], 0);
        rh_class_moments_add(&one, b[i], 1);
    }
    close_to(rh_cohen_d(&one, 1, &sd), 3 / sqrt(2.5), 1e-12, "d");
    close_to(sd, sqrt(2.5), 1e-12, "deviation");
    /* The same data in two strata, one of them far away: an offset of a stratum changes nothing. */
    for (int i = 0; i < 5; i++)
        for (int s = 0; s < 2; s++) {
            rh_class_moments_add(&shifted[s], a[i] + 1000 * s, 0);
            rh_class_moments_add(&shifted[s], b[i] + 1000 * s, 1);
        }
    close_to(rh_cohen_d(shifted, 2, NULL), 3 / sqrt(2.5), 1e-9, "strata");
    /* A stratum of one class has no gap, but its spread counts. */
    rh_class_moments lone[2] = {one, {.n = {0}}};
    rh_class_moments_add(&lone[1], 0, 0);
    rh_class_moments_add(&lone[1], 2, 0);
    close_to(rh_cohen_d(lone, 2, NULL), 3 / sqrt((20.0 + 2) / 9), 1e-12, "one class");
    rh_class_moments none = {.n = {0}};
    assert_true(isnan(rh_cohen_d(&none, 1, NULL)));
    rh_class_moments_add(&none, 1, 0);
    rh_class_moments_add(&none, 0, 1);
    assert_true(isnan(rh_cohen_d(&none, 1, NULL)));
}

static void auc(void **state)
{
    (void)state;
    enum { N = 700 };
    static float score[N];
    static uint8_t cls[N];
    static uint64_t scratch[2 * N];
    static const int sizes[] = {1, 2, 3, 10, 257, N};
    for (int coarse = 0; coarse < 2; coarse++) /* coarse: many ties */
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            int n = sizes[s];
            double wins = 0, pairs = 0, want = 0, want_pairs = 0;
            for (int i = 0; i < n; i++) {
                double x = rh_random_normal(5, s, (uint64_t)i);
                cls[i] = rh_random_u64(6, s, (uint64_t)i) & 1;
                score[i] = (float)(coarse ? floor(x) : x * pow(10, (int)(i % 7) - 3)) + (cls[i] ? 0 : 0.3f);
            }
            for (int i = 0; i < n; i++)
                for (int k = 0; k < n; k++)
                    if (!cls[i] && cls[k]) {
                        want_pairs++;
                        want += score[i] > score[k] ? 1 : score[i] == score[k] ? 0.5 : 0;
                    }
            rh_auc_add(&wins, &pairs, score, cls, n, scratch);
            close_to(wins, want, 0, "wins");
            close_to(pairs, want_pairs, 0, "pairs");
        }
    /* -0 and 0 are equal. */
    static const float zeros[] = {0.0f, -0.0f};
    static const uint8_t both[] = {0, 1};
    double wins = 0, pairs = 0;
    rh_auc_add(&wins, &pairs, zeros, both, 2, scratch);
    close_to(wins, 0.5, 0, "zeros");
}

static void quantiles_and_p(void **state)
{
    (void)state;
    double x[] = {5, 1, 4, 2, 3}, with_nan[] = {2, NAN, 1};
    close_to(rh_quantile(x, 5, 0.5), 3, 0, "median");
    close_to(rh_quantile(x, 5, 0), 1, 0, "least");
    close_to(rh_quantile(x, 5, 1), 5, 0, "most");
    close_to(rh_quantile(x, 5, 0.1), 1.4, 1e-12, "between");
    assert_true(isnan(rh_quantile(x, 0, 0.5)));
    close_to(rh_quantile(with_nan, 3, 0), 1, 0, "NaN last");
    static const double null[] = {0.1, 0.5, 0.5, 0.9};
    close_to(rh_p_value(0.5, null, 4), 4.0 / 5, 1e-15, "ties count");
    close_to(rh_p_value(2, null, 4), 1.0 / 5, 1e-15, "never 0");
    close_to(rh_p_value(0, null, 4), 1, 1e-15, "1");
    assert_true(isnan(rh_p_value(NAN, null, 4)));
}

static void correlations(void **state)
{
    (void)state;
    enum { N = 400 };
    double x[N], y[N], mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    rh_comoments whole = {0}, part[3] = {{0}}, merged = {0}, within = {0}, flat = {0};
    for (int i = 0; i < N; i++) {
        x[i] = 1e3 + rh_random_normal(1, 0, (uint64_t)i) + 50 * (i % 3);
        y[i] = 0.5 * x[i] + rh_random_normal(2, 0, (uint64_t)i) - 25 * (i % 3);
        mx += x[i] / N;
        my += y[i] / N;
        rh_comoments_add(&whole, x[i], y[i]);
        rh_comoments_add(&part[i % 3], x[i], y[i]);
        rh_comoments_add(&flat, x[i], 7);
    }
    for (int i = 0; i < N; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    double within_xy = 0, within_xx = 0, within_yy = 0;
    for (int k = 0; k < 3; k++) {
        rh_comoments_merge(&merged, &part[k], false);
        rh_comoments_merge(&within, &part[k], true);
        within_xy += part[k].xy;
        within_xx += part[k].xx;
        within_yy += part[k].yy;
    }
    close_to(rh_correlation(&whole), xy / sqrt(xx * yy), 1e-10, "r");
    close_to(rh_correlation(&merged), xy / sqrt(xx * yy), 1e-10, "merged");
    close_to(rh_correlation(&within), within_xy / sqrt(within_xx * within_yy), 1e-10, "within");
    assert_true(isnan(rh_correlation(&flat)));
}

/* ---- groups and folds -------------------------------------------------------------------------------- */

static void groups(void **state)
{
    (void)state;
    enum { N = 60 };
    for (uint64_t seed = 0; seed < 50; seed++) {
        int32_t a[N], b[N], group[N], n_groups;
        bool linked[N][N];
        int ids = 5 + (int)(seed % 50);
        for (int i = 0; i < N; i++) {
            a[i] = (int32_t)(rh_random_u64(seed, 0, (uint64_t)i) % (uint64_t)ids);
            b[i] = (int32_t)(rh_random_u64(seed, 1, (uint64_t)i) % N);
        }
        const int32_t *second = seed % 3 ? b : NULL;
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) linked[i][k] = a[i] == a[k] || (second && b[i] == b[k]);
        for (int k = 0; k < N; k++) /* Warshall */
            for (int i = 0; i < N; i++)
                for (int j = 0; j < N; j++) linked[i][j] = linked[i][j] || (linked[i][k] && linked[k][j]);
        assert_int_equal(rh_groups(group, &n_groups, a, second, N, NULL), RH_OK);
        int32_t next = 0;
        for (int i = 0; i < N; i++) {
            assert_true(group[i] <= next); /* numbered by first appearance */
            next += group[i] == next;
            for (int k = 0; k < N; k++)
                if ((group[i] == group[k]) != linked[i][k]) fail_msg("seed %d: %d and %d", (int)seed, i, k);
        }
        assert_int_equal(n_groups, next);
    }
}

static void folds(void **state)
{
    (void)state;
    enum { N = 103, K = 5 };
    int32_t counts[N][2], fold[N], again[N], other[N];
    int64_t load[K][2] = {{0}};
    for (int g = 0; g < N; g++) { /* pairs, and single texts of either class */
        counts[g][0] = g % 3 != 1;
        counts[g][1] = g % 3 != 2;
    }
    assert_int_equal(rh_folds(fold, K, (const int32_t(*)[2])counts, N, 1, NULL), RH_OK);
    assert_int_equal(rh_folds(again, K, (const int32_t(*)[2])counts, N, 1, NULL), RH_OK);
    assert_int_equal(rh_folds(other, K, (const int32_t(*)[2])counts, N, 2, NULL), RH_OK);
    assert_memory_equal(fold, again, sizeof fold);
    assert_memory_not_equal(fold, other, sizeof fold);
    for (int g = 0; g < N; g++) {
        assert_in_range(fold[g], 0, K - 1);
        for (int c = 0; c < 2; c++) load[fold[g]][c] += counts[g][c];
    }
    for (int f = 1; f < K; f++)
        for (int c = 0; c < 2; c++) assert_true(llabs(load[f][c] - load[0][c]) <= 1);
}

/* ---- chance ------------------------------------------------------------------------------------------ */

static void reservoirs(void **state)
{
    (void)state;
    enum { N = 20, KEEP = 5, TRIALS = 4000 };
    int64_t picked[N];
    int seen[N] = {0};
    for (uint64_t seed = 0; seed < TRIALS; seed++) {
        assert_int_equal(rh_reservoir(picked, KEEP, N, seed, 3), KEEP);
        for (int i = 0; i < KEEP; i++) {
            assert_true(i == 0 || picked[i] > picked[i - 1]);
            seen[picked[i]]++;
        }
    }
    for (int i = 0; i < N; i++) close_to(seen[i], TRIALS * KEEP / N, 5 * sqrt(TRIALS * 0.25 * 0.75), "item");
    assert_int_equal(rh_reservoir(picked, 50, N, 0, 0), N);
    for (int i = 0; i < N; i++) assert_int_equal(picked[i], i);
    assert_int_equal(rh_reservoir(picked, 5, 0, 0, 0), 0);
}

static void chosen_bits(void **state)
{
    (void)state;
    enum { N = 30, M = 11, TRIALS = 3000 };
    int32_t items[N];
    int seen[64] = {0};
    for (int i = 0; i < N; i++) items[i] = 2 * i;
    for (uint64_t stream = 0; stream < TRIALS; stream++) {
        uint8_t bits[8] = {0};
        int set = 0;
        assert_int_equal(rh_choose_bits(bits, items, N, M, 9, stream, NULL), RH_OK);
        for (int i = 0; i < 64; i++) {
            set += rh_bit(bits, i);
            seen[i] += rh_bit(bits, i);
        }
        assert_int_equal(set, M);
    }
    for (int i = 0; i < 64; i++) {
        double share = i % 2 == 0 && i < 2 * N ? (double)M / N : 0;
        close_to(seen[i], TRIALS * share, 5 * sqrt(TRIALS * share * (1 - share)), "bit");
    }
}

/* Mean and variance of a Poisson variable are both 1. */
static void bootstrap_counts(void **state)
{
    (void)state;
    enum { N = 200000 };
    double sum = 0, square = 0, none = 0;
    for (uint64_t i = 0; i < N; i++) {
        int32_t x = rh_bootstrap_count(4, i % 7, i);
        sum += x;
        square += (double)x * x;
        none += x == 0;
    }
    close_to(sum / N, 1, 0.012, "mean");
    close_to(square / N - sum / N * sum / N, 1, 0.03, "variance");
    close_to(none / N, exp(-1), 0.006, "none");
}

static void products(void **state)
{
    (void)state;
    enum { N = 13, K = 4, D = 37 };
    double w[N][K], x[N][D], v[K][D], sums[K][D], scores[N][K];
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < K; k++) w[i][k] = rh_random_normal(1, (uint64_t)i, (uint64_t)k);
        for (int j = 0; j < D; j++) x[i][j] = rh_random_normal(2, (uint64_t)i, (uint64_t)j);
    }
    for (int k = 0; k < K; k++)
        for (int j = 0; j < D; j++) {
            v[k][j] = rh_random_normal(3, (uint64_t)k, (uint64_t)j);
            sums[k][j] = 1; /* added to */
        }
    rh_weighted_sums(&sums[0][0], &w[0][0], &x[0][0], N, K, D);
    rh_scores(&scores[0][0], &x[0][0], &v[0][0], N, K, D);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < D; j++) {
            double want = 1;
            for (int i = 0; i < N; i++) want += w[i][k] * x[i][j];
            close_to(sums[k][j], want, 1e-12, "sum");
        }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < K; k++) {
            double want = 0;
            for (int j = 0; j < D; j++) want += x[i][j] * v[k][j];
            close_to(scores[i][k], want, 1e-12, "score");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cohens_d),   cmocka_unit_test(auc),         cmocka_unit_test(quantiles_and_p),
        cmocka_unit_test(correlations), cmocka_unit_test(groups),    cmocka_unit_test(folds),
        cmocka_unit_test(reservoirs), cmocka_unit_test(chosen_bits), cmocka_unit_test(bootstrap_counts),
        cmocka_unit_test(products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
