/* sae.c - encoding and nearest rows of one SAE, timed: bench/sae runs it beside SAELens.
 *
 *     bench-sae encode|near SAE ROWS.f32 THREADS SECONDS
 *
 * ROWS.f32: float32 [n, d_in]. For each line on stdin one on stdout: `encode N`, the best seconds of so many rows
 * of the file; `all N`, the same with every product computed; `near`, the 50 rows of W_dec nearest to the
 * first row, and the bytes of W_dec; `read`, GB/s that memory gives; `active`, the active set of all rows: counts
 * a row, then indices, as int32. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "engine/sae.h"

typedef struct bench {
    rh_sae *sae;
    rh_backend *backend;
    rh_sae_coder *coder, *all;
    rh_map rows;
    int32_t n;
    int threads;
    double budget;
} bench;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(rh_status status, const rh_error *err)
{
    if (!status) return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void encode(const bench *b, rh_sae_coder *c, int32_t n)
{
    rh_sae_active a;
    rh_error err;
    check(rh_sae_encode(&a, c, (const float *)b->rows.data, n, &err), &err);
    rh_sae_active_free(&a);
}

static void nearest(const bench *b)
{
    rh_sae_match best[50];
    rh_error err;
    int32_t n;
    check(rh_sae_near(best, &n, b->sae, false, (const float *)b->rows.data, 50, false, b->backend, &err), &err);
}

static double best_of(const bench *b, rh_sae_coder *c, int32_t n)
{
    double best = 1e9, end = seconds() + b->budget;
    for (int i = 0; i < 3 || seconds() < end; i++) {
        const double start = seconds();
        if (c) encode(b, c, n);
        else nearest(b);
        const double t = seconds() - start;
        if (t < best) best = t;
    }
    return best;
}

static void active(const bench *b)
{
    rh_sae_active a;
    rh_error err;
    check(rh_sae_encode(&a, b->coder, (const float *)b->rows.data, b->n, &err), &err);
    for (int32_t t = 0; t < b->n; t++) {
        const int32_t many = (int32_t)(a.start[t + 1] - a.start[t]);
        fwrite(&many, sizeof many, 1, stdout);
    }
    fwrite(a.index, sizeof *a.index, a.start[b->n], stdout);
    rh_sae_active_free(&a);
}

static void answer(const bench *b, const char *line)
{
    rh_machine_limits limits;
    rh_error err;
    const rh_sae_facts *f = rh_sae_about(b->sae);
    if (!strncmp(line, "encode ", 7)) printf("%.9g\n", best_of(b, b->coder, atoi(line + 7)));
    else if (!strncmp(line, "all ", 4)) printf("%.9g\n", best_of(b, b->all, atoi(line + 4)));
    else if (!strncmp(line, "near", 4))
        printf("%.9g %.0f\n", best_of(b, NULL, 0), (double)f->d_sae * f->d_out * (f->dtype == RH_F32 ? 4 : 2));
    else if (!strncmp(line, "read", 4)) {
        check(rh_measure_machine(&limits, b->threads, &err), &err);
        printf("%.9g\n", limits.read_gbs);
    } else if (!strncmp(line, "active", 6)) active(b);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    bench b = { 0 };
    rh_error err;
    char line[64];
    if (argc != 6) return fprintf(stderr, "usage: bench-sae encode|near SAE ROWS.f32 THREADS SECONDS\n"), 2;
    const bool encodes = !strcmp(argv[1], "encode");
    b.threads = atoi(argv[4]);
    b.budget = atof(argv[5]);
    check(rh_sae_open(&b.sae, argv[2], encodes ? RH_SAE_ENCODE : RH_SAE_ROWS, &err), &err);
    check(rh_map_open(&b.rows, argv[3], &err), &err);
    check(rh_backend_cpu(&b.backend, RH_ISA_BEST, b.threads, false, &err), &err);
    check(rh_sae_coder_new(&b.coder, b.sae, b.backend, &err), &err);
    check(rh_sae_coder_new(&b.all, b.sae, b.backend, &err), &err);
    rh_sae_coder_compute_all(b.all);
    b.n = (int32_t)(b.rows.size / sizeof(float)) / rh_sae_about(b.sae)->d_in;
    while (fgets(line, sizeof line, stdin)) answer(&b, line);
    rh_sae_coder_free(b.coder);
    rh_sae_coder_free(b.all);
    rh_backend_free(b.backend);
    rh_map_close(&b.rows);
    rh_sae_free(b.sae);
    return 0;
}
