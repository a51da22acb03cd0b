/* Kernels on single numbers against double precision, within the CPU's bounds (tests/kernels/test_rows.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"

static const int64_t sizes[] = {1, 2, 31, 300, 3584, 20001};

/* Ordinary numbers, large ones, and one that is none. */
static float *numbers(uint64_t *seed, int64_t n)
{
    float *x = must_malloc((size_t)n * sizeof *x);
    random_floats(seed, x, (size_t)n);
    for (int64_t i = 0; i < n; i += 7) x[i] *= 20;
    if (n > 4) {
        x[1] = 1e30f;
        x[2] = -1e30f;
        x[3] = NAN;
        x[4] = -INFINITY;
    }
    return x;
}

static double activation(double g, int act)
{
    const double a = act == RH_ACT_SILU ? g : 2 * sqrt(2 / 3.14159265358979) * (g + 0.044715 * g * g * g);
    return isinf(g) ? g : g / (1 + exp(-a));
}

/* exp errs by 2e-7 and by the rounding of its argument; where it is bounded, at e^88, the result is as good as zero. */
static void test_glu(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 2 * LENGTH(sizes); i++) {
        const int64_t n = sizes[i / 2];
        const size_t bytes = (size_t)n * sizeof(float);
        float *gate = numbers(&seed, n), *up = must_malloc(bytes), *got = must_malloc(bytes);
        random_floats(&seed, up, (size_t)n);
        rh_cuda_glu_args a;
        memset(&a, 0, sizeof a);
        a.gate = device_of(gate, bytes);
        a.up = device_of(up, bytes);
        a.out = i % 4 < 2 ? (float *)(uintptr_t)a.gate : device_of(NULL, bytes);
        a.n = n;
        a.act = i % 2;
        launched(rh_cuda_glu, &a);
        host_of(got, a.out, bytes);
        for (int64_t j = 0; j < n; j++) {
            const double g = gate[j], w = activation(g, a.act) * up[j];
            if (isinf(g)) {
                assert_true(isinf(got[j])); /* as on the CPU: not NaN */
                continue;
            }
            const double argument = fmin(a.act == RH_ACT_SILU ? fabs(g) : fabs(1.6 * (g + 0.0447 * g * g * g)), 90);
            NEAR(got[j], w, fabs(w) * (4e-7 + 8 * UNIT * argument) + fabs(g * up[j]) * exp(-88));
        }
        if (a.out != a.gate) device_free(a.out);
        device_free((void *)(uintptr_t)a.gate);
        device_free((void *)(uintptr_t)a.up);
        free(gate);
        free(up);
        free(got);
    }
}

static void test_add(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int i = 0; i < LENGTH(sizes); i++) {
        const size_t bytes = (size_t)sizes[i] * sizeof(float);
        float *x = numbers(&seed, sizes[i]), *y = must_malloc(bytes), *got = must_malloc(bytes);
        random_floats(&seed, y, (size_t)sizes[i]);
        float *dy = device_of(y, bytes);
        rh_cuda_add_args a;
        memset(&a, 0, sizeof a);
        a.x = device_of(x, bytes);
        a.y = dy;
        a.n = sizes[i];
        launched(rh_cuda_add, &a);
        host_of(got, a.x, bytes);
        for (int64_t j = 0; j < sizes[i]; j++) NEAR(got[j], (double)(x[j] + y[j]), 0);
        device_free(a.x);
        device_free(dy);
        free(x);
        free(y);
        free(got);
    }
}

static void test_softcap(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < LENGTH(sizes); i++) {
        const size_t bytes = (size_t)sizes[i] * sizeof(float);
        float *x = numbers(&seed, sizes[i]), *got = must_malloc(bytes);
        rh_cuda_softcap_args a;
        memset(&a, 0, sizeof a);
        a.x = device_of(x, bytes);
        a.n = sizes[i];
        a.cap = 30;
        launched(rh_cuda_softcap, &a);
        host_of(got, a.x, bytes);
        for (int64_t j = 0; j < sizes[i]; j++) {
            const double want = 30 * tanh(x[j] / 30.0);
            NEAR(got[j], want, fabs(want) * 1e-6);
        }
        device_free(a.x);
        free(x);
        free(got);
    }
}

/* Nothing to do is no launch, which CUDA would refuse. */
static void test_nothing(void **state)
{
    (void)state;
    rh_cuda_glu_args glu;
    rh_cuda_add_args add;
    rh_cuda_softcap_args softcap;
    memset(&glu, 0, sizeof glu);
    memset(&add, 0, sizeof add);
    memset(&softcap, 0, sizeof softcap);
    launched(rh_cuda_glu, &glu);
    launched(rh_cuda_add, &add);
    launched(rh_cuda_softcap, &softcap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_glu), cmocka_unit_test(test_add), cmocka_unit_test(test_softcap),
                                       cmocka_unit_test(test_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
