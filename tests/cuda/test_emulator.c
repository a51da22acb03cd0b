#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <cuda_runtime_api.h>

#include "tests/cuda/wrong_kernels.h"

static void runs(void **state)
{
    (void)state;
    float x[128], y[128], sums[2], *d, *s;
    for (int i = 0; i < 128; i++) x[i] = (float)i;
    assert_int_equal(cudaMalloc((void **)&d, sizeof x), 0);
    assert_int_equal(cudaMalloc((void **)&s, sizeof sums), 0);
    assert_int_equal(cudaMemcpy(d, x, sizeof x, cudaMemcpyHostToDevice), 0);
    assert_int_equal(launch_block_sums(NULL, d, s), 0);
    assert_int_equal(launch_reverse(NULL, d, 128), 0);
    assert_int_equal(cudaMemcpy(y, d, sizeof y, cudaMemcpyDeviceToHost), 0);
    assert_int_equal(cudaMemcpy(sums, s, sizeof sums, cudaMemcpyDeviceToHost), 0);
    for (int i = 0; i < 128; i++) assert_true(y[i] == (float)(i / 64 * 64 + 63 - i % 64));
    assert_true(sums[0] == 63 * 32 && sums[1] == 63 * 32 + 64 * 64);
    cudaFree(d);
    cudaFree(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(runs) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
