/* The backend on the emulator: what it says where it cannot be had, what crosses in which order, and what a failure on the
 * way leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/emulator/control.h"
#include "cuda/script.h"
#include "kernels/cuda/cuda.h"
#include "kernels/help.h"

rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err);

static rh_backend *opened(bool exact)
{
    rh_backend *be = NULL;
    rh_error err;
    assert_int_equal(rh_backend_cuda(&be, exact, &err), RH_OK);
    return be;
}

/* ---- where there is none ------------------------------------------------------------------------- */

static void says_why_there_is_none(void **state)
{
    static const struct { int devices, driver, capability; const char *expected; } cases[] = {
        {1, 0, 90, "this machine has no NVIDIA driver"},
        {1, 11040, 90, "the NVIDIA driver is for CUDA 11.4, and 13."},
        {0, 13000, 90, "the driver shows no GPU"},
        {1, 13000, 75, "of compute capability 7.5, and 8.0 is needed"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_backend *be = NULL;
        rh_error err;
        rh_emulator_device(cases[i].devices, cases[i].driver, cases[i].capability);
        assert_int_equal(rh_backend_cuda(&be, false, &err), RH_EDEVICE);
        assert_null(be);
        if (!strstr(err.message, cases[i].expected)) fail_msg("'%s' says not '%s'", err.message, cases[i].expected);
        assert_true(err.hint[0]);
    }
    rh_emulator_device(1, 13000, 90);
}

static void says_how_little_is_free(void **state)
{
    rh_backend *be = NULL;
    rh_error err;
    (void)state;
    rh_emulator_memory(8 << 20);
    assert_int_equal(rh_backend_cuda(&be, false, &err), RH_ENOMEM);
    assert_non_null(strstr(err.message, "33.6 MB were asked for, "));
    assert_non_null(strstr(err.hint, "nvidia-smi"));
    rh_emulator_memory((size_t)1 << 30);
    be = opened(false);
    size_t left, all, before;
    rh_buf *b;
    be->ops->memory(be, &before, &all);
    assert_int_equal(all, (size_t)1 << 30);
    assert_int_equal(be->ops->buf_new(be, &b, 100 << 20, &err), RH_OK);
    be->ops->memory(be, &left, &all);
    assert_true(left <= before - (100 << 20) && left + (101 << 20) >= before);
    rh_buf *more;
    assert_int_equal(be->ops->buf_new(be, &more, (size_t)1 << 30, &err), RH_ENOMEM);
    assert_non_null(strstr(err.message, "1.07 GB were asked for, "));
    be->ops->buf_free(be, b);
    be->ops->memory(be, &left, &all);
    assert_int_equal(left, before);
    rh_backend_free(be);
    rh_emulator_memory((size_t)8 << 30);
}

/* ---- crossing ------------------------------------------------------------------------------------ */

static void large_things_cross_whole(void **state)
{
    const size_t bytes = 3 * RH_CUDA_STAGE + 12345;
    rh_backend *be = opened(false);
    rh_buf *b;
    (void)state;
    uint8_t *out = must_malloc(bytes), *back = must_malloc(bytes);
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(i * 31 + i / 4096);
    assert_int_equal(be->ops->buf_new(be, &b, bytes, NULL), RH_OK);
    be->ops->download(be, back, b, 0, bytes);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(back[i], 0);
    be->ops->upload(be, b, 0, out, bytes);
    be->ops->upload(be, b, 5000, out + 7, 100);
    memcpy(out + 5000, out + 7, 100);
    be->ops->fetch(be, back, b, 0, bytes);
    assert_int_equal(be->ops->wait(be, NULL), RH_OK);
    assert_memory_equal(back, out, bytes);
    be->ops->buf_free(be, b);
    rh_backend_free(be);
    free(out);
    free(back);
}

/* Every upload, op and fetch sees those before it, also where arena and results run over. */
static void order_is_kept(void **state)
{
    enum { N = 3000, ROUNDS = 600 };
    rh_backend *be = opened(false);
    rh_buf *x, *one;
    float *ones = must_malloc(N * sizeof *ones), *seen = must_malloc(ROUNDS * N * sizeof *seen);
    (void)state;
    for (int i = 0; i < N; i++) ones[i] = 1;
    assert_int_equal(be->ops->buf_new(be, &x, N * sizeof(float), NULL), RH_OK);
    assert_int_equal(be->ops->buf_new(be, &one, N * sizeof(float), NULL), RH_OK);
    be->ops->upload(be, one, 0, ones, N * sizeof *ones);
    for (int k = 0; k < ROUNDS; k++) {
        const float start = (float)(100 * k);
        if (k % 3 == 0) be->ops->upload(be, x, 0, &start, sizeof start);
        be->ops->add(be, x, one, N);
        be->ops->fetch(be, seen + (size_t)k * N, x, 0, N * sizeof(float));
    }
    rh_buf *scrap;
    assert_int_equal(be->ops->buf_new(be, &scrap, 64, NULL), RH_OK);
    be->ops->buf_free(be, scrap); /* in the middle of it */
    assert_int_equal(be->ops->wait(be, NULL), RH_OK);
    for (int k = 0; k < ROUNDS; k++) {
        assert_true(seen[(size_t)k * N] == (float)(100 * (k / 3 * 3) + k % 3 + 1));
        assert_true(seen[(size_t)k * N + N - 1] == (float)(k + 1));
    }
    be->ops->buf_free(be, x);
    be->ops->buf_free(be, one);
    rh_backend_free(be);
    free(ones);
    free(seen);
}

/* ---- failures ------------------------------------------------------------------------------------ */

/* The nth cudaMalloc fails: said so, nothing lost, and the same backend works afterwards. */
static void memory_runs_out_anywhere(void **state)
{
    script_data *d = script_data_new(RH_Q8_0);
    bool reached = true;
    (void)state;
    for (int k = 1; reached; k++) {
        rh_backend *be = NULL;
        script_results r = {0};
        rh_error err = {0};
        const uint64_t before = rh_emulator_counted().memory;
        rh_emulator_fail_malloc(k);
        rh_status status = rh_backend_cuda(&be, false, &err);
        if (!status) status = script_run(be, &r, d, 36, &err);
        reached = status != RH_OK;
        if (reached) {
            assert_int_equal(status, RH_ENOMEM);
            assert_non_null(strstr(err.message, "were asked for"));
            if (be && k % 8 == 0) assert_int_equal(script_run(be, &r, d, 36, &err), RH_OK);
        }
        rh_emulator_fail_malloc(0);
        rh_backend_free(be);
        script_free(&r);
        assert_int_equal(rh_emulator_counted().memory, before);
        assert_true(reached || k > 30);
    }
    script_data_free(d);
}

static void a_launch_fails_anywhere(void **state)
{
    script_data *d = script_data_new(RH_F16);
    bool reached = true;
    (void)state;
    for (int k = 1; reached; k += k < 5 ? 1 : 5) {
        rh_backend *be = opened(false);
        script_results r = {0};
        rh_error err = {0};
        rh_emulator_fail_launch(k, cudaErrorIllegalAddress);
        const rh_status status = script_run(be, &r, d, 2, &err);
        rh_emulator_fail_launch(0, 0);
        reached = status != RH_OK;
        if (reached) {
            assert_int_equal(status, RH_EDEVICE);
            assert_non_null(strstr(err.message, "rh_cuda_"));
            assert_non_null(strstr(err.message, "an illegal memory access"));
            assert_int_equal(be->ops->wait(be, &err), RH_OK); /* told once */
        }
        rh_backend_free(be);
        script_free(&r);
        assert_true(reached || k > 20);
    }
    script_data_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_why_there_is_none),   cmocka_unit_test(says_how_little_is_free),
        cmocka_unit_test(large_things_cross_whole), cmocka_unit_test(order_is_kept),
        cmocka_unit_test(memory_runs_out_anywhere), cmocka_unit_test(a_launch_fails_anywhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
