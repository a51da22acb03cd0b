#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cpu/limits.h"
#include "base/clock.h"

/* What this machine can do at best, so that a speed can be given as a share of it. Each
 * measurement is short, repeated, and the best taken: other work only ever makes it slower. */

enum { READS = 6, PEAKS = 40, PEAK_MICROSECONDS = 1500, READ_BYTES = 1 << 30 };

static double f32_generic(int64_t rounds, float *sink)
{
    float acc[16];
    for (int i = 0; i < 16; i++) acc[i] = (float)i;
    for (int64_t r = 0; r < rounds; r++) {
#pragma omp simd
        for (int i = 0; i < 16; i++) acc[i] = acc[i] * 0.5f + *sink;
    }
    for (int i = 0; i < 16; i++) *sink += acc[i];
    return 16 * 2.0;
}

static double none(int64_t rounds, float *sink)
{
    (void)rounds;
    (void)sink;
    return 0;
}

static uint64_t read_generic(const uint64_t *p, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < n; i += 4) {
        a += p[i];
        b += p[i + 1];
        c += p[i + 2];
        d += p[i + 3];
    }
    return a + b + c + d;
}

const rh_cpu_peaks rh_peaks_generic = { f32_generic, none, none, read_generic };

static const rh_cpu_peaks *peaks_of(rh_isa isa)
{
    switch (isa) {
#if defined(__x86_64__)
    case RH_ISA_AVX512: return &rh_peaks_avx512;
    case RH_ISA_AVX2: return &rh_peaks_avx2;
#endif
    default: return &rh_peaks_generic;
    }
}

/* 10^9 operations a second, all threads at once */
static double peak(double (*run)(int64_t, float *), int threads)
{
    double best = 0;
    float sink = 0;
    int64_t rounds = 1000;
    double ops = run(rounds, &sink), start = rh_seconds();
    if (ops == 0) return 0;
    run(rounds, &sink);
    double once = rh_seconds() - start;
    if (once > 0) rounds = (int64_t)((double)rounds * PEAK_MICROSECONDS * 1e-6 / once) + 1;
    for (int i = 0; i < PEAKS; i++) {
        start = rh_seconds();
#pragma omp parallel num_threads(threads)
        {
            float mine = sink;
            run(rounds, &mine);
#pragma omp atomic
            sink += mine * 0;
        }
        double speed = ops * (double)rounds * threads / (rh_seconds() - start) * 1e-9;
        if (speed > best) best = speed;
    }
    return best;
}

static double read_speed(uint64_t (*read)(const uint64_t *, size_t), const uint64_t *p, int threads)
{
    enum { PART = 1 << 20 }; /* bytes a thread takes at a time */
    double best = 0;
    uint64_t sum = 0;
    for (int i = 0; i < READS; i++) {
        double start = rh_seconds();
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
        for (size_t at = 0; at < READ_BYTES / PART; at++)
            sum += read(p + at * (PART / sizeof *p), PART / sizeof *p);
        double speed = READ_BYTES / (rh_seconds() - start) * 1e-9;
        if (speed > best && sum + 1 != 0) best = speed;
    }
    return best;
}

rh_status rh_measure_machine(rh_machine_limits *out, int threads, rh_error *err)
{
    const rh_cpu_peaks *p = peaks_of(rh_cpu_best_isa());
    if (threads < 1) threads = omp_get_num_procs();
    uint64_t *buffer = aligned_alloc(2 << 20, READ_BYTES);
    if (!buffer) return rh_fail_nomem(err);
#ifdef MADV_HUGEPAGE
    (void)madvise(buffer, READ_BYTES, MADV_HUGEPAGE); /* advice only */
#endif
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < 1024; i++) memset((char *)buffer + ((size_t)i << 20), 1, 1 << 20);
    out->read_gbs = read_speed(p->read, buffer, threads);
    free(buffer);
    out->f32_gflops = peak(p->f32, threads);
    out->bf16_gflops = peak(p->bf16, threads);
    out->int8_gops = peak(p->int8, threads);
    return RH_OK;
}
