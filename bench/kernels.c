/* kernels.c - how fast the kernels are, beside what the machine can do.
 *
 *     bench_kernels [generic|avx2|avx512] [exact] [THREADS]
 *
 * For each storage type, in shapes of the two default models (NF4 and the last of BF16: of Gemma 2 9B): one token (GB/s of weights), 16
 * and 512 tokens (GFLOP/s, a multiply-add being two), then attention and the small
 * operations. The best of many repeats; nothing else should run meanwhile. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/ops.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t next(uint32_t *s) { return *s = *s * 1664525 + 1013904223; }

static uint8_t *rows_of(rh_dtype t, int32_t rows, int32_t cols)
{
    const rh_dtype_info *info = rh_dtype_get(t);
    size_t bytes = rh_row_bytes(t, cols) * (size_t)rows;
    uint8_t *p = malloc(bytes);
    uint32_t s = 1;
    if (!p) abort();
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(next(&s) >> 24);
    uint16_t h = t == RH_BF16 ? rh_f32_to_bf16(0.01f) : rh_f32_to_f16(0.01f);
    float f = 0.01f;
    for (size_t i = 0; i < bytes; i += (size_t)info->bytes) {
        if (t == RH_F32 || t == RH_NF4) memcpy(p + i, &f, 4);
        else if (t == RH_Q6_K) memcpy(p + i + 208, &h, 2);
        else memcpy(p + i, &h, 2);
        if (t == RH_Q4_1 || t == RH_Q5_1 || t == RH_Q4_K || t == RH_Q5_K) memcpy(p + i + 2, &h, 2);
    }
    return p;
}

static rh_buf *buf(rh_backend *be, size_t n)
{
    rh_buf *b = NULL;
    float *x = malloc(n * sizeof *x);
    uint32_t s = 7;
    if (!x || be->ops->buf_new(be, &b, n * sizeof *x, NULL)) abort();
    for (size_t i = 0; i < n; i++) x[i] = (float)(int32_t)next(&s) * 4.6566129e-10f;
    be->ops->upload(be, b, 0, x, n * sizeof *x);
    free(x);
    return b;
}

/* Best seconds of a product, over copies of the weight so that caches hold none of it when
 * n = 1. */
static double time_matmul(rh_backend *be, rh_weight **w, int copies, rh_buf *x, rh_buf *out, int n,
                          double budget)
{
    double best = 1e9, end = seconds() + budget;
    for (int i = 0; i < 3 || seconds() < end; i++) {
        double start = seconds();
        for (int c = 0; c < copies; c++) {
            rh_matmul_target target = { .w = w[c], .out = out };
            if (be->ops->matmul(be, x, n, &target, 1, NULL)) abort();
        }
        double t = (seconds() - start) / copies;
        if (t < best) best = t;
    }
    return best;
}

static void bench_type(rh_backend *be, rh_dtype t, int32_t rows, int32_t cols,
                       const rh_machine_limits *m)
{
    enum { MAX_COPIES = 256 };
    rh_weight *w[MAX_COPIES];
    size_t bytes = rh_row_bytes(t, cols) * (size_t)rows;
    int copies = (int)(((size_t)100 << 20) / bytes) + 1;
    if (copies > MAX_COPIES) copies = MAX_COPIES;
    uint8_t *data = rows_of(t, rows, cols);
    rh_buf *x = buf(be, (size_t)512 * (size_t)cols), *out = buf(be, (size_t)512 * (size_t)rows);
    double start = seconds();
    for (int c = 0; c < copies; c++)
        if (be->ops->weight_new(be, &w[c], data, t, rows, cols, NULL, NULL)) abort();
    double load = (seconds() - start) / copies;
    double t1 = time_matmul(be, w, copies, x, out, 1, 0.4);
    double t16 = time_matmul(be, w, copies, x, out, 16, 0.4);
    double t512 = rows > 10000 ? 0 : time_matmul(be, w, copies > 4 ? 4 : copies, x, out, 512, 0.4);
    double flop = 2.0 * rows * cols, gbs = (double)bytes / t1 * 1e-9;
    printf("%-5s %6d x %-5d load %5.1f GB/s   1: %5.1f GB/s (%3.0f %%)   16: %5.0f   512: %5.0f GFLOP/s\n",
           rh_dtype_get(t)->name, rows, cols, (double)bytes / load * 1e-9, gbs, 100 * gbs / m->read_gbs,
           16 * flop / t16 * 1e-9, t512 > 0 ? 512 * flop / t512 * 1e-9 : 0);
    fflush(stdout);
    for (int c = 0; c < copies; c++) be->ops->weight_free(be, w[c]);
    be->ops->buf_free(be, x);
    be->ops->buf_free(be, out);
    free(data);
}

typedef struct heads { int32_t n_heads, n_kv, dim; } heads;

/* `groups` sequences of `n` new rows each after `past` keys. */
static void bench_attention(rh_backend *be, heads h, int groups, int n, int past)
{
    int32_t slots = groups * (n + past), rows = groups * n;
    rh_buf *q = buf(be, (size_t)rows * (size_t)(h.n_heads * h.dim)), *out = buf(be, (size_t)rows * (size_t)(h.n_heads * h.dim));
    rh_buf *k = buf(be, (size_t)slots * (size_t)(h.n_kv * h.dim)), *v = buf(be, (size_t)slots * (size_t)(h.n_kv * h.dim));
    rh_attention_group *g = calloc((size_t)groups, sizeof *g);
    rh_kv_span *span = calloc((size_t)groups, sizeof *span);
    if (!g || !span) abort();
    for (int i = 0; i < groups; i++) {
        span[i] = (rh_kv_span){ i * (n + past), 0, n + past };
        g[i] = (rh_attention_group){ i * n, n, past, 1, &span[i] };
    }
    rh_attention_params p = { h.n_heads, h.n_kv, h.dim, 0, 1 / sqrtf((float)h.dim), 0, RH_F32 };
    double best = 1e9, end = seconds() + 0.3;
    for (int i = 0; i < 3 || seconds() < end; i++) {
        double start = seconds();
        if (be->ops->attention(be, out, q, k, v, g, groups, &p, NULL)) abort();
        double t = seconds() - start;
        if (t < best) best = t;
    }
    double pairs = (double)groups * n * (past + (n + 1) / 2.0);
    printf("attention %2d/%d heads of %3d, %3d sequences x %3d after %3d: %8.1f us  %5.0f GFLOP/s  %5.1f GB/s of keys and values\n",
           h.n_heads, h.n_kv, h.dim, groups, n, past, best * 1e6, pairs * 4 * h.n_heads * h.dim / best * 1e-9,
           8.0 * slots * h.n_kv * h.dim / best * 1e-9);
    be->ops->buf_free(be, q);
    be->ops->buf_free(be, k);
    be->ops->buf_free(be, v);
    be->ops->buf_free(be, out);
    free(g);
    free(span);
}

#define TIME(label, call)                                                                          \
    do {                                                                                           \
        double best = 1e9, end = seconds() + 0.1;                                                  \
        for (int i = 0; i < 3 || seconds() < end; i++) {                                           \
            double start = seconds();                                                              \
            call;                                                                                  \
            double t = seconds() - start;                                                          \
            if (t < best) best = t;                                                                \
        }                                                                                          \
        printf("  %-10s %9.2f us\n", label, best * 1e6);                                           \
    } while (0)

static void bench_small(rh_backend *be, int32_t n)
{
    enum { D = 576, FF = 1536, HEADS = 9, DIM = 64 };
    rh_buf *x = buf(be, (size_t)n * FF), *y = buf(be, (size_t)n * FF), *w = buf(be, FF);
    int32_t *positions = calloc((size_t)n, sizeof *positions);
    float inv_freq[DIM / 2];
    if (!positions) abort();
    for (int32_t i = 0; i < n; i++) positions[i] = i;
    for (int i = 0; i < DIM / 2; i++) inv_freq[i] = powf(10000, -(float)i / (DIM / 2));
    printf("small operations, %d rows\n", n);
    TIME("rmsnorm", be->ops->rmsnorm(be, y, x, w, n, D, 1e-5f));
    TIME("glu silu", be->ops->glu(be, y, x, x, n, FF, RH_ACT_SILU));
    TIME("glu gelu", be->ops->glu(be, y, x, x, n, FF, RH_ACT_GELU_TANH));
    TIME("add", be->ops->add(be, y, x, (int64_t)n * D));
    TIME("rope", be->ops->rope(be, x, n, HEADS, DIM, positions, inv_freq));
    TIME("softcap", be->ops->softcap(be, y, (int64_t)n * D, 30));
    TIME("steer", be->ops->steer_rows(be, y, positions, n, D, w, 1, NULL));
    be->ops->buf_free(be, x);
    be->ops->buf_free(be, y);
    be->ops->buf_free(be, w);
    free(positions);
}

int main(int argc, char **argv)
{
    rh_isa isa = RH_ISA_BEST;
    bool exact = false;
    int threads = 0;
    rh_machine_limits m;
    rh_backend *be = NULL;
    rh_error err;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "generic")) isa = RH_ISA_GENERIC;
        else if (!strcmp(argv[i], "avx2")) isa = RH_ISA_AVX2;
        else if (!strcmp(argv[i], "avx512")) isa = RH_ISA_AVX512;
        else if (!strcmp(argv[i], "exact")) exact = true;
        else threads = atoi(argv[i]);
    }
    if (rh_measure_machine(&m, threads, &err) || rh_backend_cpu(&be, isa, threads, exact, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, %d threads. Limits: read %.1f GB/s; f32 %.0f, bf16 %.0f GFLOP/s; int8 %.0f GOP/s\n",
           be->ops->name, be->threads, m.read_gbs, m.f32_gflops, m.bf16_gflops, m.int8_gops);
    bench_type(be, RH_Q4_1, 576, 576, &m);
    bench_type(be, RH_Q4_1, 1536, 576, &m);
    bench_type(be, RH_Q4_1, 576, 1536, &m);
    bench_type(be, RH_Q8_0, 49152, 576, &m);
    bench_type(be, RH_Q5_0, 2048, 640, &m);
    bench_type(be, RH_Q5_0, 256, 640, &m);
    bench_type(be, RH_Q8_0, 256, 640, &m);
    bench_type(be, RH_Q4_K, 640, 1024, &m);
    bench_type(be, RH_Q4_K, 640, 2048, &m);
    bench_type(be, RH_Q6_K, 640, 2048, &m);
    bench_type(be, RH_Q4_0, 1536, 576, &m);
    bench_type(be, RH_Q5_1, 1536, 576, &m);
    bench_type(be, RH_Q5_K, 640, 2048, &m);
    bench_type(be, RH_NF4, 14336, 3584, &m);
    bench_type(be, RH_NF4, 3584, 14336, &m);
    bench_type(be, RH_F32, 1536, 576, &m);
    bench_type(be, RH_F16, 1536, 576, &m);
    bench_type(be, RH_BF16, 1536, 576, &m);
    bench_type(be, RH_BF16, 65536, 3584, &m);
    static const heads models[] = { { 9, 3, 64 }, { 4, 1, 256 } };
    for (int i = 0; i < 2; i++) {
        bench_attention(be, models[i], 1, 512, 0);
        bench_attention(be, models[i], 1, 1, 128);
        bench_attention(be, models[i], 1, 1, 1000);
        bench_attention(be, models[i], 16, 1, 64);
        bench_attention(be, models[i], 300, 10, 0);
    }
    bench_small(be, 1);
    bench_small(be, 512);
    rh_backend_free(be);
    return 0;
}
