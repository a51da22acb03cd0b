#include "cuda/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

void *device_of(const void *host, size_t bytes)
{
    void *p = NULL;
    assert_int_equal(cudaMalloc(&p, bytes ? bytes : 1), cudaSuccess);
    if (host && bytes) assert_int_equal(cudaMemcpy(p, host, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    return p;
}

void *device_filled(int byte, size_t bytes)
{
    void *p = device_of(NULL, bytes);
    if (bytes) assert_int_equal(cudaMemset(p, byte, bytes), cudaSuccess);
    return p;
}

void device_write(void *device, const void *host, size_t bytes)
{
    if (bytes) assert_int_equal(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), cudaSuccess);
}

void host_of(void *host, const void *device, size_t bytes)
{
    if (bytes) assert_int_equal(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
}

void device_free(void *p) { assert_int_equal(cudaFree(p), cudaSuccess); }

void launched(rh_cuda_launcher launcher, const void *args)
{
    assert_int_equal(launcher(NULL, args), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
}

void near_at(const char *file, int line, double got, double want, double slack)
{
    if (isnan(want) ? isnan(got) : got == want || fabs(got - want) <= slack) return;
    fail_msg("%s:%d: %.9g, expected %.9g within %g", file, line, got, want, slack);
}
