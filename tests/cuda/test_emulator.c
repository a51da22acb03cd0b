/* The emulator itself: right kernels pass, each wrong one is reported for what it does; streams are late, graphs are
 * replayed, failures that are asked for come. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cublas_v2.h>

#include "tests/cuda/emulator/control.h"
#include "tests/cuda/wrong_kernels.h"

enum { N = 128 };

static void *device_copy(const void *host, size_t bytes)
{
    void *p;
    assert_int_equal(cudaMalloc(&p, bytes), cudaSuccess);
    if (host) assert_int_equal(cudaMemcpy(p, host, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    return p;
}

static void host_copy(void *host, const void *p, size_t bytes)
{
    assert_int_equal(cudaMemcpy(host, p, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
}

static void right_kernels_pass(void **state)
{
    (void)state;
    float x[N], y[N], sums[2];
    unsigned wrong[N];
    for (int i = 0; i < N; i++) x[i] = (float)i;
    float *dx = device_copy(x, sizeof x), *dy = device_copy(x, sizeof x), *ds = device_copy(NULL, sizeof sums);
    unsigned *dw = device_copy(NULL, sizeof wrong);
    for (uint64_t seed = 1; seed <= 8; seed++) {
        rh_emulator_seed(seed);
        assert_int_equal(launch_sums(NULL, dx, ds), cudaSuccess);
        assert_int_equal(launch_reverse(NULL, dx), cudaSuccess);
        assert_int_equal(launch_reverse_warps(NULL, dy), cudaSuccess);
        assert_int_equal(launch_collectives(NULL, dw), cudaSuccess);
        host_copy(sums, ds, sizeof sums);
        assert_true(sums[0] == 63 * 32 && sums[1] == 63 * 32 + 64 * 64);
        host_copy(wrong, dw, sizeof wrong);
        for (int i = 0; i < N; i++) assert_int_equal(wrong[i], 0);
        host_copy(y, dx, sizeof y);
        for (int i = 0; i < N; i++) assert_true(y[i] == (float)(seed % 2 ? i / 64 * 64 + 63 - i % 64 : i));
        host_copy(y, dy, sizeof y);
        for (int i = 0; i < N; i++) assert_true(y[i] == (float)(seed % 2 ? i / 32 * 32 + 31 - i % 32 : i));
    }
    cudaFree(dx);
    cudaFree(dy);
    cudaFree(ds);
    cudaFree(dw);
}

static void run_order(uint64_t seed, unsigned out[N])
{
    const unsigned zero = 0;
    unsigned *count = device_copy(&zero, sizeof zero), *d = device_copy(NULL, N * sizeof *d);
    rh_emulator_seed(seed);
    assert_int_equal(launch_order(NULL, count, d), cudaSuccess);
    host_copy(out, d, N * sizeof *d);
    cudaFree(count);
    cudaFree(d);
}

/* Threads run in an order that the seed makes: every one of blocks, of warps and of lanes is seen. */
static void seeds_order(void **state)
{
    (void)state;
    unsigned a[N], b[N];
    int block_first = 0, warp_first = 0, lane_first = 0;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        bool seen[N] = { false };
        run_order(seed, a);
        run_order(seed, b);
        assert_memory_equal(a, b, sizeof a);
        for (int i = 0; i < N; i++) {
            assert_true(a[i] < N && !seen[a[i]]);
            seen[a[i]] = true;
        }
        block_first += a[0] < a[64];
        warp_first += a[0] < a[32];
        lane_first += a[0] < a[1];
    }
    assert_in_range(block_first, 1, 15);
    assert_in_range(warp_first, 1, 15);
    assert_in_range(lane_first, 1, 15);
}

/* In a child: what it said on stderr, and that it was ended by abort(). */
static void expect_report(const wrong_kernel *w, void (*body)(const wrong_kernel *), const char *report, const char *name)
{
    char text[4096];
    int out[2], status;
    size_t n = 0;
    assert_int_equal(pipe(out), 0);
    fflush(stdout);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        signal(SIGABRT, SIG_DFL);
        dup2(out[1], 2);
        body(w);
        _exit(0);
    }
    close(out[1]);
    for (ssize_t got; n < sizeof text - 1 && (got = read(out[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    close(out[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    const bool sanitizer = strstr(text, "runtime error"); /* names the place itself */
    const bool said = strstr(text, report) && (!name || sanitizer || strstr(text, name));
    if (!said || !WIFSIGNALED(status)) print_message("expected of %s: %s\ngot: %s\n", name ? name : "the host", report, text);
    assert_true(said);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void run_wrong(const wrong_kernel *w)
{
    float *x = device_copy(NULL, 127 * sizeof *x), *freed = device_copy(NULL, 127 * sizeof *x);
    cudaMemset(x, 0, 127 * sizeof *x);
    cudaFree(freed);
    w->launch(x, freed);
}

static void wrong_kernels_are_reported(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        rh_emulator_seed(seed);
        for (int i = 0; i < n_wrong_kernels; i++) expect_report(&wrong_kernels[i], run_wrong, wrong_kernels[i].report, wrong_kernels[i].name);
    }
}

static void frees_twice(const wrong_kernel *w)
{
    (void)w;
    void *p = device_copy(NULL, 16);
    cudaFree(p);
    cudaFree(p);
}
static void frees_inside(const wrong_kernel *w)
{
    (void)w;
    cudaFree((char *)device_copy(NULL, 64) + 16);
}
static void copies_too_much(const wrong_kernel *w)
{
    (void)w;
    char big[32] = { 0 };
    cudaMemcpy(device_copy(NULL, 16), big, 32, cudaMemcpyHostToDevice);
}
static void copies_backwards(const wrong_kernel *w)
{
    (void)w;
    char host[16];
    cudaMemcpy(host, device_copy(NULL, 16), 16, cudaMemcpyHostToDevice);
}
static void multiplies_too_much(const wrong_kernel *w)
{
    (void)w;
    cublasHandle_t h;
    const float one = 1, zero = 0, *a = device_copy(NULL, 16 * sizeof *a);
    float *c = device_copy(NULL, 15 * sizeof *c);
    cublasCreate(&h);
    cublasSgemm(h, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a, 4, a, 4, &zero, c, 4);
}

static void wrong_calls_are_reported(void **state)
{
    (void)state;
    expect_report(NULL, frees_twice, "for the second time", NULL);
    expect_report(NULL, frees_inside, "which cudaMalloc did not give", NULL);
    expect_report(NULL, copies_too_much, "32 bytes at 0 of an allocation of 16 bytes", NULL);
    expect_report(NULL, copies_backwards, "on the wrong side", NULL);
    expect_report(NULL, multiplies_too_much, "cuBLAS' C: 64 bytes at 0 of an allocation of 60 bytes", NULL);
}

static void fresh_memory_is_no_number(void **state)
{
    (void)state;
    float x[5];
    uint16_t halves[10];
    void *p = device_copy(NULL, sizeof x);
    host_copy(x, p, sizeof x);
    memcpy(halves, x, sizeof x);
    for (int i = 0; i < 5; i++) assert_true(isnan(x[i]));
    for (int i = 0; i < 10; i++) assert_int_equal(halves[i], 0x7fa1); /* a NaN in f16 and in bf16 */
    cudaFree(p);
}

/* What is issued happens when it is waited for, and not before; pageable memory is read at once. */
static void streams_are_late(void **state)
{
    (void)state;
    cudaStream_t s;
    cudaEvent_t event;
    float *pinned, pageable[N], *d = device_copy(NULL, sizeof pageable);
    assert_int_equal(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaMallocHost((void **)&pinned, sizeof pageable), cudaSuccess);
    for (int i = 0; i < N; i++) pageable[i] = (float)i;
    cudaMemcpyAsync(d, pageable, sizeof pageable, cudaMemcpyHostToDevice, s);
    pageable[0] = 100;
    pinned[0] = -1;
    assert_int_equal(launch_reverse(s, d), cudaSuccess);
    cudaMemcpyAsync(pinned, d, sizeof pageable, cudaMemcpyDeviceToHost, s);
    cudaEventRecord(event, s);
    assert_int_equal(launch_reverse(s, d), cudaSuccess);
    assert_int_equal(cudaStreamQuery(s), cudaErrorNotReady);
    assert_true(pinned[0] == -1);
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
    assert_true(pinned[0] == 63 && pinned[63] == 0);
    assert_int_equal(cudaStreamQuery(s), cudaErrorNotReady);
    assert_int_equal(cudaStreamSynchronize(s), cudaSuccess);
    assert_int_equal(cudaStreamQuery(s), cudaSuccess);
    host_copy(pageable, d, sizeof pageable);
    assert_true(pageable[0] == 0 && pageable[63] == 63);
    cudaEventDestroy(event);
    cudaStreamDestroy(s);
    cudaFreeHost(pinned);
    cudaFree(d);
}

static void graphs_are_replayed(void **state)
{
    (void)state;
    float x[N];
    cudaStream_t s;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    void *p;
    for (int i = 0; i < N; i++) x[i] = (float)i;
    float *d = device_copy(x, sizeof x);
    assert_int_equal(cudaStreamCreate(&s), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal), cudaSuccess);
    assert_int_equal(launch_reverse(s, d), cudaSuccess);
    assert_int_equal(cudaMalloc(&p, 16), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamSynchronize(s), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaMemcpyAsync(x, d, sizeof x, cudaMemcpyDeviceToHost, s), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(s, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    assert_int_equal(cudaStreamSynchronize(s), cudaSuccess);
    host_copy(x, d, sizeof x);
    assert_true(x[0] == 0);
    for (int i = 0; i < 3; i++) assert_int_equal(cudaGraphLaunch(exec, s), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(s), cudaSuccess);
    host_copy(x, d, sizeof x);
    assert_true(x[0] == 63);
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(s);
    cudaFree(d);
    assert_int_equal(cudaGetLastError(), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

static void failures_come_when_asked_for(void **state)
{
    (void)state;
    void *p, *q;
    size_t left, total;
    float *d = device_copy(NULL, N * sizeof *d);
    cudaMemset(d, 0, N * sizeof *d);
    rh_emulator_fail_malloc(2);
    assert_int_equal(cudaMalloc(&p, 16), cudaSuccess);
    assert_int_equal(cudaMalloc(&q, 16), cudaErrorMemoryAllocation);
    assert_int_equal(cudaMalloc(&q, 16), cudaSuccess);
    cudaFree(p);
    cudaFree(q);
    rh_emulator_memory(rh_emulator_counted().memory + 1000);
    assert_int_equal(cudaMemGetInfo(&left, &total), cudaSuccess);
    assert_int_equal(left, 1000);
    assert_int_equal(cudaMalloc(&p, 1001), cudaErrorMemoryAllocation);
    assert_int_equal(cudaMalloc(&p, 1000), cudaSuccess);
    cudaFree(p);
    rh_emulator_memory((size_t)8 << 30);
    rh_emulator_fail_launch(2, cudaErrorLaunchFailure);
    assert_int_equal(launch_reverse(NULL, d), cudaSuccess);
    assert_int_equal(launch_reverse(NULL, d), cudaErrorLaunchFailure);
    assert_int_equal(launch_reverse(NULL, d), cudaSuccess);
    rh_emulator_device(0, 13000, 90);
    int count;
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    rh_emulator_device(1, 12000, 90);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    rh_emulator_device(1, 13000, 90);
    cudaFree(d);
    (void)cudaGetLastError();
}

/* C [2, 3] = A^T B, A [4, 2] and B [4, 3] column by column with gaps, of bf16 and of float. */
static void cublas_multiplies(void **state)
{
    (void)state;
    float a[2 * 5], b[3 * 6], c[3 * 2], both[2][6];
    uint16_t a16[10], b16[18];
    const float one = 1, zero = 0;
    cublasHandle_t h;
    for (int i = 0; i < 10; i++) a[i] = (float)(i - 4), a16[i] = (uint16_t)((union { float f; uint32_t u; }){ a[i] }.u >> 16);
    for (int i = 0; i < 18; i++) b[i] = (float)(i % 7), b16[i] = (uint16_t)((union { float f; uint32_t u; }){ b[i] }.u >> 16);
    for (int i = 0; i < 6; i++) {
        c[i] = 0;
        for (int k = 0; k < 4; k++) c[i] += a[i % 2 * 5 + k] * b[i / 2 * 6 + k];
    }
    void *da = device_copy(a, sizeof a), *db = device_copy(b, sizeof b), *dc = device_copy(NULL, sizeof c);
    void *da16 = device_copy(a16, sizeof a16), *db16 = device_copy(b16, sizeof b16), *dc16 = device_copy(NULL, sizeof c);
    assert_int_equal(cublasCreate(&h), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(cublasSgemm(h, CUBLAS_OP_T, CUBLAS_OP_N, 2, 3, 4, &one, da, 5, db, 6, &zero, dc, 2), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, 2, 3, 4, &one, da16, CUDA_R_16BF, 5, db16, CUDA_R_16BF, 6, &zero,
                                  dc16, CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT), CUBLAS_STATUS_SUCCESS);
    host_copy(both[0], dc, sizeof c);
    host_copy(both[1], dc16, sizeof c);
    for (int i = 0; i < 6; i++) assert_true(both[0][i] == c[i] && both[1][i] == c[i]);
    assert_int_equal(cublasSgemm(h, CUBLAS_OP_T, CUBLAS_OP_N, 2, 3, 4, &one, da, 3, db, 6, &zero, dc, 2), CUBLAS_STATUS_INVALID_VALUE);
    cublasDestroy(h);
    void *all[] = { da, db, dc, da16, db16, dc16 };
    for (int i = 0; i < 6; i++) cudaFree(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_kernels_pass), cmocka_unit_test(seeds_order), cmocka_unit_test(wrong_kernels_are_reported),
        cmocka_unit_test(wrong_calls_are_reported), cmocka_unit_test(fresh_memory_is_no_number),
        cmocka_unit_test(streams_are_late), cmocka_unit_test(graphs_are_replayed),
        cmocka_unit_test(failures_come_when_asked_for), cmocka_unit_test(cublas_multiplies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
