#include <string.h>

#include "kernels/cuda/cuda.h"

static const char *text_of(int code)
{
    return code < 0 ? cublasGetStatusString((cublasStatus_t)-code) : cudaGetErrorString((cudaError_t)code);
}

rh_status rh_cuda_failed(int code, const char *call, rh_error *err)
{
    (void)cudaGetLastError(); /* else the next launch would find it */
    return rh_fail(err, RH_EDEVICE, "the GPU failed: %s: %s", call, text_of(code));
}

void rh_cuda_broke(rh_cuda *c, int code, const char *call)
{
    if (c->failed.code) (void)cudaGetLastError();
    else (void)rh_cuda_failed(code, call, &c->failed);
}

void rh_cuda_broke_nomem(rh_cuda *c)
{
    if (!c->failed.code) (void)rh_fail_nomem(&c->failed);
}

rh_status rh_cuda_report(rh_cuda *c, rh_error *err)
{
    const rh_status status = c->failed.code;
    if (!status) return RH_OK;
    if (err) *err = c->failed;
    memset(&c->failed, 0, sizeof c->failed);
    return status;
}
