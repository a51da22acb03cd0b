/* A step as the engine makes it, on a device, real or emulated, and on the CPU; and that tokens which differ in all that
 * changes from one to the next still meet the same graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/script.h"
#include "kernels/cuda/cuda.h"
#include "kernels/help.h"

rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err);

static rh_backend *opened(bool exact)
{
    rh_backend *be = NULL;
    rh_error err;
    if (rh_backend_cuda(&be, exact, &err)) fail_msg("%s", err.message);
    return be;
}

static void same_as_cpu(rh_dtype t, int32_t n, bool exact, double tolerance)
{
    rh_backend *gpu = opened(exact), *cpu = open_or_skip(RH_ISA_GENERIC, 1, true);
    script_results a = {0}, b = {0};
    rh_error err = {0};
    script_data *d = script_data_new(t);
    if (script_run(gpu, &a, d, n, &err)) fail_msg("%s", err.message);
    assert_int_equal(script_run(cpu, &b, d, n, &err), RH_OK);
    double most = 0, worst = 0;
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < b.n; i++) most = fmax(most, fabs((double)b.x[i]));
    for (size_t i = 0; i < b.n; i++) worst = fmax(worst, fabs((double)a.x[i] - b.x[i]));
    if (!(worst <= tolerance * most)) fail_msg("%s, %d rows: off by %g of %g", rh_dtype_get(t)->name, n, worst, most);
    assert_int_equal(a.token, b.token);
    script_data_free(d);
    script_free(&a);
    script_free(&b);
    rh_backend_free(gpu);
    rh_backend_free(cpu);
}

static void step_is_the_cpus(void **state)
{
    (void)state;
    same_as_cpu(RH_F32, 1, true, 1e-5);
    same_as_cpu(RH_F32, 5, true, 1e-5);
    same_as_cpu(RH_Q4_K, 20, true, 1e-5);
    same_as_cpu(RH_Q5_0, 40, true, 1e-5);
}

/* The first token makes scratch on its way, which breaks its list; the second runs command by command; the third
 * becomes the graph that the others launch. */
static void tokens_share_a_graph(void **state)
{
    enum { TOKENS = 20 };
    script_data *d = script_data_new(RH_Q8_0);
    (void)state;
    for (int32_t n = 1; n <= 3; n += 2) {
        rh_backend *gpu = opened(false), *cpu = open_or_skip(RH_ISA_GENERIC, 1, true);
        int32_t drawn[TOKENS * 3], expected[TOKENS * 3];
        rh_error err;
        if (script_decode(gpu, drawn, d, n, TOKENS, &err)) fail_msg("%s", err.message);
        assert_int_equal(script_decode(cpu, expected, d, n, TOKENS, &err), RH_OK);
        const rh_cuda_graphs *g = &rh_cuda_of(gpu)->graphs;
        assert_int_equal(g->captured, 1);
        assert_true(g->replayed >= TOKENS - 2);
        assert_memory_equal(drawn, expected, (size_t)(TOKENS * n) * sizeof *drawn);
        rh_backend_free(gpu);
        rh_backend_free(cpu);
    }
    script_data_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(step_is_the_cpus), cmocka_unit_test(tokens_share_a_graph)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
