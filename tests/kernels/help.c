#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/help.h"

#ifdef RH_TEST_CUDA
rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err);

rh_backend *open_or_skip(rh_isa isa, int threads, bool exact)
{
    rh_backend *be = NULL;
    rh_error err;
    (void)isa;
    (void)threads;
    if (rh_backend_cuda(&be, exact, &err)) fail_msg("%s", err.message);
    return be;
}
#else
rh_backend *open_or_skip(rh_isa isa, int threads, bool exact)
{
    rh_backend *be = NULL;
    rh_error err;
    rh_status status = rh_backend_cpu(&be, isa, threads, exact, &err);
    if (status == RH_EDEVICE) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
    assert_int_equal(status, RH_OK);
    return be;
}
#endif

typedef struct trial {
    char name[60];
    check_on check;
    rh_isa isa;
} trial;

static void run_trial(void **state)
{
    const trial *t = *state;
    t->check.run(t->isa, t->check.exact);
}

int run_on_all(const char *group, const check_on *checks, size_t n)
{
    static const char *const isas[] = { "generic", "avx2", "avx512", "best" };
    enum { MOST = 60 };
    static trial trials[MOST];
    struct CMUnitTest tests[MOST];
    size_t all = 0;
    for (size_t i = 0; i < n; i++) {
        const bool once = ON_CUDA || checks[i].once;
        for (rh_isa isa = once ? RH_ISA_BEST : RH_ISA_GENERIC; isa < (once ? RH_ISA_BEST + 1 : RH_ISA_BEST) && all < MOST; isa++) {
            trial *t = &trials[all];
            *t = (trial){ .check = checks[i], .isa = isa };
            snprintf(t->name, sizeof t->name, "%s/%s%s", t->check.name, ON_CUDA ? "cuda" : isas[isa], t->check.exact ? "/exact" : "");
            tests[all++] = (struct CMUnitTest){ .name = t->name, .test_func = run_trial, .initial_state = t };
        }
    }
    return _cmocka_run_group_tests(group, tests, all, NULL, NULL);
}

uint32_t random_u32(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)(z >> 32);
}

double random_unit(uint64_t *state) { return random_u32(state) / 4294967296.0; }

int random_between(uint64_t *state, int from, int to)
{
    return from + (int)(random_u32(state) % (uint32_t)(to - from + 1));
}

void random_floats(uint64_t *state, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double sum = -2;
        for (int j = 0; j < 4; j++) sum += random_unit(state);
        x[i] = (float)(sum * 1.7 * (random_u32(state) % 16 ? 1 : 1e-3));
    }
}

double plain_cosine(double *length, const float *w, const float *v, int32_t n)
{
    double dot = 0, square = 0, v_square = 0;
    for (int32_t i = 0; i < n; i++) {
        dot += (double)w[i] * v[i];
        square += (double)w[i] * w[i];
        v_square += (double)v[i] * v[i];
    }
    *length = sqrt(v_square);
    return square > 0 ? dot / sqrt(square) : 0;
}

void *must_malloc(size_t bytes)
{
    void *p = calloc(bytes + 1, 1);
    assert_non_null(p);
    return p;
}

static void put_half(uint8_t *p, double f)
{
    uint16_t h = rh_f32_to_f16((float)f);
    memcpy(p, &h, sizeof h);
}

static void random_block(uint64_t *s, uint8_t *b, rh_dtype t)
{
    const rh_dtype_info *info = rh_dtype_get(t);
    for (int i = 0; i < info->bytes; i++) b[i] = (uint8_t)random_u32(s);
    double scale = (random_unit(s) - 0.3) * 0.1, min = (random_unit(s) - 0.7) * 0.5;
    float f;
    uint16_t h;
    switch (t) {
    case RH_F32:
        random_floats(s, &f, 1);
        memcpy(b, &f, sizeof f);
        break;
    case RH_F16: put_half(b, scale * 10); break;
    case RH_BF16:
        h = rh_f32_to_bf16((float)scale * 10);
        memcpy(b, &h, sizeof h);
        break;
    case RH_NF4:
        f = (float)scale;
        memcpy(b, &f, sizeof f);
        break;
    case RH_Q6_K: put_half(b + 208, scale * 0.01); break;
    case RH_Q2_K:
        put_half(b + 80, scale * 0.3);
        put_half(b + 82, -min * 0.2);
        break;
    case RH_Q3_K: put_half(b + 108, scale * 0.02); break;
    case RH_IQ4_NL: put_half(b, scale * 0.05); break;
    case RH_IQ4_XS: put_half(b, scale * 0.002); break;
    case RH_MXFP4: b[0] = (uint8_t)(118 + b[0] % 8); break;
    case RH_Q4_K:
    case RH_Q5_K:
        put_half(b, scale * 0.05);
        put_half(b + 2, -min * 0.02);
        break;
    case RH_Q4_1:
    case RH_Q5_1: put_half(b + 2, min); /* fall through */
    default: put_half(b, scale); break;
    }
}

uint8_t *random_rows(uint64_t *state, rh_dtype t, int32_t rows, int32_t cols)
{
    const rh_dtype_info *info = rh_dtype_get(t);
    size_t n = (size_t)rows * (size_t)(cols / info->block);
    uint8_t *p = must_malloc(n * (size_t)info->bytes);
    for (size_t i = 0; i < n; i++) random_block(state, p + i * (size_t)info->bytes, t);
    return p;
}

rh_buf *buf_of(rh_backend *be, const float *x, size_t n)
{
    rh_buf *b = NULL;
    assert_int_equal(be->ops->buf_new(be, &b, n * sizeof(float), NULL), RH_OK);
    if (x) be->ops->upload(be, b, 0, x, n * sizeof(float));
    return b;
}

void read_buf(rh_backend *be, float *x, const rh_buf *b, size_t n)
{
    be->ops->download(be, x, b, 0, n * sizeof(float));
}
