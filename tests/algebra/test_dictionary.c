/* The dictionary: its gradients against differences of a loss computed the long way, what a step keeps, the same bits
 * for the same seed on any number of threads, a state copied out and in, and a planted dictionary found again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/dictionary.h"
#include "base/rng.h"

enum { D = 12, M = 30, K = 4, N = 40 };

static rh_dictionary *make(bool jumprelu, int threads, uint64_t seed)
{
    const rh_dictionary_options o = {.d = D, .m = M, .k = K, .jumprelu = jumprelu, .bandwidth = 0.5, .sparsity = 3, .seed = seed, .threads = threads};
    rh_dictionary *d = NULL;
    assert_int_equal(rh_dictionary_new(&d, &o, NULL), RH_OK);
    return d;
}

static void rows(float *z, int32_t n, int32_t d, uint64_t stream)
{
    for (int32_t i = 0; i < n * d; i++) z[i] = (float)rh_random_normal(7, stream, (uint64_t)i);
}

static rh_dictionary_array find(rh_dictionary *d, const char *name)
{
    rh_dictionary_array all[RH_DICTIONARY_ARRAYS];
    const int32_t n = rh_dictionary_arrays(all, d);
    for (int32_t i = 0; i < n; i++)
        if (!strcmp(all[i].name, name)) return all[i];
    fail_msg("no array %s", name);
    return all[0];
}

/* ---- gradients ------------------------------------------------------------------------------ */

typedef struct model { double e[M][D], w[M][D], be[M], bd[D], theta[M]; bool jumprelu; } model;

static model copy(rh_dictionary *d, bool jumprelu)
{
    const rh_dictionary_view v = rh_dictionary_look(d);
    model c = {.jumprelu = jumprelu};
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < D; j++) c.e[i][j] = v.encoder[i * D + j], c.w[i][j] = v.decoder[i * D + j];
        c.be[i] = v.b_enc[i];
        c.theta[i] = jumprelu ? exp(v.log_threshold[i]) : 0;
    }
    for (int j = 0; j < D; j++) c.bd[j] = v.b_dec[j];
    return c;
}

/* mean ‖ẑ - z‖²; active [N][M] says who is on: a gradient does not see that change. */
static double loss_of(const model *c, const float *z, bool active[N][M], bool choose)
{
    double loss = 0;
    for (int t = 0; t < N; t++) {
        double p[M], recon[D];
        for (int i = 0; i < M; i++) {
            p[i] = c->be[i];
            for (int j = 0; j < D; j++) p[i] += (z[t * D + j] - c->bd[j]) * c->e[i][j];
        }
        for (int i = 0; choose && i < M; i++) {
            int larger = 0;
            for (int l = 0; l < M; l++) larger += p[l] > p[i];
            active[t][i] = c->jumprelu ? p[i] > c->theta[i] : larger < K && p[i] > 0;
        }
        for (int j = 0; j < D; j++) {
            recon[j] = c->bd[j];
            for (int i = 0; i < M; i++)
                if (active[t][i]) recon[j] += p[i] * c->w[i][j];
            loss += pow(recon[j] - z[t * D + j], 2) / N;
        }
    }
    return loss;
}

static double slope_at(model *c, double *at, const float *z, bool active[N][M])
{
    const double h = 1e-5, was = *at;
    *at = was + h;
    const double up = loss_of(c, z, active, false);
    *at = was - h;
    const double down = loss_of(c, z, active, false);
    *at = was;
    return (up - down) / (2 * h);
}

/* After one step the mean of the gradient is a tenth of it. */
static void same(double got, double want) { if (!(fabs(10 * got - want) < 2e-4 * (1 + fabs(want)))) fail_msg("%g, not %g", 10 * got, want); }

static void gradients_of(bool jumprelu)
{
    static bool active[N][M];
    float z[N * D];
    rh_dictionary_step step;
    rh_dictionary *d = make(jumprelu, 2, 5), *before = make(jumprelu, 2, 5);
    rows(z, N, D, 1);
    if (jumprelu) { /* at rate 0 the thresholds are placed and nothing else moves */
        assert_int_equal(rh_dictionary_learn(&step, before, z, N, 0, NULL), RH_OK);
        assert_true(step.l0 > K / 2.0 && step.l0 < 2 * K);
    }
    model c = copy(before, jumprelu);
    const double loss = loss_of(&c, z, active, true);
    assert_int_equal(rh_dictionary_learn(&step, d, z, N, 0, NULL), RH_OK);
    assert_true(fabs(step.loss - loss) < 1e-5 * loss);
    const float *e = find(d, "encoder.mean").data, *w = find(d, "decoder.mean").data, *be = find(d, "b_enc.mean").data, *bd = find(d, "b_dec.mean").data;
    for (int i = 0; i < M; i++) {
        double g[D], along = 0;
        for (int j = 0; j < D; j++) {
            same(e[i * D + j], slope_at(&c, &c.e[i][j], z, active));
            g[j] = slope_at(&c, &c.w[i][j], z, active);
            along += g[j] * c.w[i][j];
        }
        for (int j = 0; j < D; j++) same(w[i * D + j], g[j] - along * c.w[i][j]);
        same(be[i], slope_at(&c, &c.be[i], z, active));
    }
    for (int j = 0; j < D; j++) same(bd[j], slope_at(&c, &c.bd[j], z, active));
    rh_dictionary_free(d);
    rh_dictionary_free(before);
}

static void gradients(void **state)
{
    (void)state;
    gradients_of(false);
    gradients_of(true);
}

/* The rectangle's: -θ/ε 1[|p - θ| < ε/2] (2/N e·D_i + what one more active feature costs), by ln θ one θ more. */
static void gradient_of_thresholds(void **state)
{
    (void)state;
    static bool active[N][M];
    float z[N * D];
    rh_dictionary_step step;
    rh_dictionary *d = make(true, 1, 5);
    rows(z, N, D, 1);
    assert_int_equal(rh_dictionary_learn(&step, d, z, N, 0, NULL), RH_OK);
    const model c = copy(d, true);
    loss_of(&c, z, active, true);
    const double push = 2 * 3.0 * D * (step.l0 / K - 1) / (K * (double)N), eps = 0.5;
    int near = 0;
    for (int i = 0; i < M; i++) {
        double want = 0;
        for (int t = 0; t < N; t++) {
            double p[M], along = 0;
            for (int l = 0; l < M; l++) {
                p[l] = c.be[l];
                for (int j = 0; j < D; j++) p[l] += (z[t * D + j] - c.bd[j]) * c.e[l][j];
            }
            if (fabs(p[i] - c.theta[i]) >= eps / 2) continue;
            near++;
            for (int j = 0; j < D; j++) {
                double e = c.bd[j] - z[t * D + j];
                for (int l = 0; l < M; l++)
                    if (active[t][l]) e += p[l] * c.w[l][j];
                along += 2.0 / N * e * c.w[i][j];
            }
            want += -c.theta[i] / eps * along * c.theta[i] - push / eps * c.theta[i];
        }
        same(find(d, "log_threshold.mean").data[i], want);
    }
    assert_true(near > N);
    rh_dictionary_free(d);
}

/* A state of two hundred times the mean norm is over most thresholds at once. It counts as an error of 4√d: what it does to the
 * moments of the gradient is what a state of some times the norm does, and not all that Adam sees for a thousand steps. */
static void an_outlier(void **state)
{
    (void)state;
    float z[N * D];
    double size[2];
    rows(z, N, D, 1);
    for (int with = 0; with < 2; with++) {
        rh_dictionary_step step;
        rh_dictionary *d = make(true, 1, 5);
        assert_int_equal(rh_dictionary_learn(&step, d, z, N, 0, NULL), RH_OK); /* the thresholds are placed */
        for (int j = 0; with && j < D; j++) z[j] *= 200;
        assert_int_equal(rh_dictionary_learn(&step, d, z, N, 0, NULL), RH_OK);
        if (with) assert_true(step.loss > 1000); /* it is said as it is */
        const rh_dictionary_array bias = find(d, "b_dec.mean");
        size[with] = 0;
        for (int64_t j = 0; j < bias.n; j++) size[with] += fabs(bias.data[j]);
        rh_dictionary_free(d);
    }
    if (size[1] > 20 * size[0]) fail_msg("gradient %g with one, %g without", size[1], size[0]);
}

/* ---- steps ------------------------------------------------------------------------------------ */

static void learn_all(rh_dictionary *d, int32_t from, int32_t to)
{
    float z[N * D];
    rh_dictionary_step step;
    for (int32_t s = from; s < to; s++) {
        rows(z, N - s % 3, D, 100 + (uint64_t)s);
        assert_int_equal(rh_dictionary_learn(&step, d, z, N - s % 3, 0.01, NULL), RH_OK);
        if (s % 10 == 9) rh_dictionary_revive(d, 2);
    }
}

static bool equal(rh_dictionary *a, rh_dictionary *b)
{
    rh_dictionary_array x[RH_DICTIONARY_ARRAYS], y[RH_DICTIONARY_ARRAYS];
    const int32_t n = rh_dictionary_arrays(x, a);
    assert_int_equal(rh_dictionary_arrays(y, b), n);
    for (int32_t i = 0; i < n; i++)
        if (memcmp(x[i].data, y[i].data, (size_t)x[i].n * sizeof(float))) return false;
    return true;
}

static void bits_and_states(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        rh_dictionary *a = make(kind, 1, 5), *b = make(kind, 3, 5), *c = make(kind, 2, 5), *other = make(kind, 1, 6);
        learn_all(a, 0, 25);
        learn_all(b, 0, 25);
        assert_true(equal(a, b));
        learn_all(other, 0, 25);
        assert_false(equal(a, other));
        rh_dictionary_array x[RH_DICTIONARY_ARRAYS], y[RH_DICTIONARY_ARRAYS];
        const int32_t n = rh_dictionary_arrays(x, a);
        rh_dictionary_arrays(y, c);
        for (int32_t i = 0; i < n; i++) memcpy(y[i].data, x[i].data, (size_t)x[i].n * sizeof(float));
        rh_dictionary_set_steps(c, rh_dictionary_steps(a));
        learn_all(b, 25, 40);
        learn_all(c, 25, 30);
        learn_all(c, 30, 40);
        assert_true(equal(b, c));
        const rh_dictionary_view v = rh_dictionary_look(b);
        for (int i = 0; i < M; i++) {
            double square = 0;
            for (int j = 0; j < D; j++) square += pow(v.decoder[i * D + j], 2);
            assert_true(fabs(square - 1) < 1e-5);
        }
        rh_dictionary_free(a);
        rh_dictionary_free(b);
        rh_dictionary_free(c);
        rh_dictionary_free(other);
    }
}

/* Rows that are sums of two of 20 directions: they are found, and nearly everything is explained. */
static void planted(void **state)
{
    (void)state;
    enum { P = 20, BATCH = 256, STEPS = 600 };
    static float truth[P * D], z[BATCH * D];
    const rh_dictionary_options o = {.d = D, .m = 32, .k = 2, .seed = 2, .threads = 2};
    rh_dictionary *d = NULL;
    rh_dictionary_step step = {0};
    rows(truth, P, D, 55);
    assert_int_equal(rh_dictionary_new(&d, &o, NULL), RH_OK);
    double variance = 0;
    for (int32_t s = 0; s < STEPS; s++) {
        variance = 0;
        for (int32_t t = 0; t < BATCH; t++) {
            const uint64_t r = rh_random_u64(9, (uint64_t)s, (uint64_t)t);
            const int32_t a = (int32_t)(r % P), b = (int32_t)(r / P % P);
            for (int32_t j = 0; j < D; j++) {
                z[t * D + j] = truth[a * D + j] + truth[b * D + j];
                variance += pow(z[t * D + j], 2) / BATCH;
            }
        }
        assert_int_equal(rh_dictionary_learn(&step, d, z, BATCH, 0.01 * (1 - (double)s / STEPS), NULL), RH_OK);
        if (s % 50 == 49 && s < STEPS / 2) rh_dictionary_revive(d, 50);
    }
    if (!(step.loss < 0.1 * variance)) fail_msg("%g of %g is left", step.loss, variance);
    rh_dictionary_free(d);
}

static void refused(void **state)
{
    (void)state;
    rh_dictionary *d = NULL;
    rh_error err = {0};
    rh_dictionary_options o = {.d = 4, .m = 4, .k = 5, .threads = 1};
    assert_int_equal(rh_dictionary_new(&d, &o, &err), RH_EVALUE);
    o.k = 2;
    assert_int_equal(rh_dictionary_new(&d, &o, &err), RH_OK);
    float z[4] = {1, 2, INFINITY, 0};
    rh_dictionary_step step;
    assert_int_equal(rh_dictionary_learn(&step, d, z, 1, 0.1, &err), RH_EVALUE);
    assert_int_equal(rh_dictionary_steps(d), 0);
    rh_dictionary_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients),       cmocka_unit_test(gradient_of_thresholds), cmocka_unit_test(an_outlier), cmocka_unit_test(bits_and_states),
        cmocka_unit_test(planted),         cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
