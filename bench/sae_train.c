/* sae_train.c - the dictionary alone, from rows in a file: how fast it learns, and how well.
 *
 *   bench-sae-train ROWS.f32 TEST.f32 D M K BATCH STEPS RATE [jumprelu]      TEST -: none
 *
 * Further settings come from the environment: THREADS, REVIVE, IDLE, UNTIL, DECAY, BANDWIDTH, SPARSITY. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "algebra/dictionary.h"
#include "base/file.h"
#include "base/rng.h"
#include "probes/sae_product.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double env(const char *name, double otherwise)
{
    const char *text = getenv(name);
    return text ? atof(text) : otherwise;
}

int main(int argc, char **argv)
{
    rh_error err = {0};
    rh_map rows = {0}, test = {0};
    rh_dictionary *dict = NULL;
    if (argc < 9) return fprintf(stderr, "usage: bench-sae-train ROWS TEST D M K BATCH STEPS RATE [jumprelu]\n"), 2;
    const int32_t d = atoi(argv[3]), m = atoi(argv[4]), k = atoi(argv[5]), batch = atoi(argv[6]), steps = atoi(argv[7]);
    const double rate = atof(argv[8]);
    const int threads = (int)env("THREADS", 2);
    rh_backend *backend = NULL;
    rh_sae_product *product = NULL;
    rh_status status = rh_backend_cpu(&backend, RH_ISA_BEST, threads, false, &err);
    if (!status) status = rh_sae_product_new(&product, backend, d, m, backend->bf16, &err);
    const rh_dictionary_options o = {.d = d, .m = m, .k = k, .threads = threads, .seed = 1, .jumprelu = argc > 9, .product = rh_sae_product_run,
                                     .product_data = product, .bandwidth = env("BANDWIDTH", 0.05), .sparsity = env("SPARSITY", 10)};
    if (!status) status = rh_map_open(&rows, argv[1], &err);
    if (!status && strcmp(argv[2], "-")) status = rh_map_open(&test, argv[2], &err);
    if (!status) status = rh_dictionary_new(&dict, &o, &err);
    if (status) return fprintf(stderr, "%s\n", err.message), 1;
    const float *x = (const float *)rows.data, *y = (const float *)test.data;
    const int64_t n = (int64_t)(rows.size / sizeof(float)) / d, n_test = (int64_t)(test.size / sizeof(float)) / d;
    float *z = malloc((size_t)batch * (size_t)d * sizeof *z);
    double mean = 0, l0 = 0, spent = 0, t0 = seconds();
    const int every = (int)env("REVIVE", 50), idle = (int)env("IDLE", 50);
    for (int32_t s = 0; s < steps; s++) {
        rh_dictionary_step step;
        for (int32_t i = 0; i < batch; i++)
            memcpy(z + (size_t)i * (size_t)d, x + (size_t)(rh_random_u64(3, (uint64_t)s, (uint64_t)i) % (uint64_t)n) * (size_t)d, (size_t)d * sizeof *z);
        const double warm = s < 20 ? (s + 1) / 20.0 : 1, share = (double)s / steps, decay = env("DECAY", 0);
        const double r = rate * warm * (share > decay ? (1 - share) / (1 - decay) + 0.01 : 1), before = seconds();
        if (rh_dictionary_learn(&step, dict, z, batch, r, &err)) return fprintf(stderr, "%s\n", err.message), 1;
        if (every && s % every == every - 1 && share < env("UNTIL", 0.8)) rh_dictionary_revive(dict, idle);
        spent += seconds() - before;
        mean += step.loss;
        l0 += step.l0;
        if (s % 50 == 49) {
            fprintf(stderr, "%d  loss %.2f (%.4f of d)  l0 %.1f  dead %d  %.0f rows/s\n", s + 1, mean / 50, mean / 50 / d, l0 / 50, rh_dictionary_dead(dict, idle),
                    (s + 1.0) * batch / spent);
            mean = l0 = 0;
        }
    }
    double loss = 0, variance = 0;
    for (int32_t j = 0; n_test > 1 && j < d; j++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < n_test; i++) sum += y[i * d + j], square += (double)y[i * d + j] * y[i * d + j];
        variance += square - sum * sum / (double)n_test;
    }
    for (int64_t i = 0; n_test > 1 && (i + batch <= n_test || i == 0); i += batch) {
        rh_dictionary_step step;
        const int32_t rows_n = (int32_t)(n_test - i < batch ? n_test - i : batch);
        if (rh_dictionary_learn(&step, dict, y + i * d, rows_n, 0, &err)) return 1;
        loss += step.loss * rows_n;
        l0 = step.l0;
        if (i + 2 * batch > n_test) variance *= (double)(i + rows_n) / (double)n_test;
    }
    printf("{\"fvu\": %.5f, \"l0\": %.1f, \"dead\": %d, \"rows_per_second\": %.0f, \"seconds\": %.1f}\n", n_test > 1 ? loss / variance : 0, l0,
           rh_dictionary_dead(dict, idle), (double)steps * batch / spent, seconds() - t0);
    rh_dictionary_free(dict);
    rh_sae_product_free(product);
    rh_backend_free(backend);
    free(z);
    rh_map_close(&rows);
    rh_map_close(&test);
    return 0;
}
