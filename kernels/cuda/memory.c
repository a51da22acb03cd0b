#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

typedef struct amount { char text[24]; } amount;

static amount amount_of(size_t bytes)
{
    amount a;
    if (bytes >= 1000000000) snprintf(a.text, sizeof a.text, "%.2f GB", (double)bytes / 1e9);
    else snprintf(a.text, sizeof a.text, "%.1f MB", (double)bytes / 1e6);
    return a;
}

rh_status rh_cuda_alloc(void *out, size_t bytes, rh_error *err)
{
    void **to = out;
    const cudaError_t e = cudaMalloc(to, bytes ? bytes : 1);
    if (e == cudaSuccess) return RH_OK;
    *to = NULL;
    if (e != cudaErrorMemoryAllocation) return rh_cuda_failed((int)e, "cudaMalloc", err);
    size_t left = 0, all = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&left, &all);
    return rh_fail(err, RH_ENOMEM, "out of memory on the GPU: %s were asked for, %s of %s are free", amount_of(bytes).text,
                   amount_of(left).text, amount_of(all).text);
}

rh_status rh_cuda_alloc_host(void *out, size_t bytes, rh_error *err)
{
    void **to = out;
    const cudaError_t e = cudaMallocHost(to, bytes);
    if (e == cudaSuccess) return RH_OK;
    *to = NULL;
    if (e != cudaErrorMemoryAllocation) return rh_cuda_failed((int)e, "cudaMallocHost", err);
    (void)cudaGetLastError();
    return rh_fail(err, RH_ENOMEM, "out of memory: %s that the GPU can read were asked for", amount_of(bytes).text);
}

/* Pending commands may hold the old address, so they go first. A little more than was asked for, for sizes creep. */
rh_status rh_cuda_scratch(rh_cuda *c, uint8_t **out, size_t bytes, rh_error *err)
{
    if (bytes > c->scratch_bytes) {
        rh_cuda_drain(c);
        RH_TRY(rh_cuda_report(c, err));
        (void)cudaFree(c->scratch);
        c->scratch = NULL;
        c->scratch_bytes = 0;
        const size_t grown = bytes + bytes / 8;
        RH_TRY(rh_cuda_alloc(&c->scratch, grown, err));
        c->scratch_bytes = grown;
    }
    *out = c->scratch;
    return RH_OK;
}

void rh_cuda_free(rh_cuda *c, const void *p)
{
    rh_cuda_flush(c);
    const cudaError_t e = cudaStreamSynchronize(c->stream), f = cudaFree((void *)p);
    if (e) rh_cuda_broke(c, (int)e, "cudaStreamSynchronize");
    if (f) rh_cuda_broke(c, (int)f, "cudaFree");
}

void *rh_cuda_host(rh_cuda *c, size_t bytes)
{
    if (bytes > c->host_bytes) {
        uint8_t *grown = rh_realloc_array(c->host, bytes, 2);
        if (!grown) return NULL;
        c->host = grown;
        c->host_bytes = 2 * bytes;
    }
    return c->host;
}

/* ---- the ops ------------------------------------------------------------------------------------- */

rh_status rh_cuda_buf_new(rh_backend *be, rh_buf **out, size_t bytes, rh_error *err)
{
    rh_cuda *c = rh_cuda_of(be);
    rh_buf *b = rh_calloc(1, sizeof *b);
    if (!b) return rh_fail_nomem(err);
    rh_status status = rh_cuda_alloc(&b->data, bytes, err);
    if (!status) {
        const cudaError_t e = cudaMemsetAsync(b->data, 0, bytes, c->stream);
        if (e) status = rh_cuda_failed((int)e, "cudaMemsetAsync", err);
    }
    if (status) {
        (void)cudaFree(b->data);
        free(b);
        return status;
    }
    b->bytes = bytes;
    *out = b;
    return RH_OK;
}

void rh_cuda_buf_free(rh_backend *be, rh_buf *b)
{
    if (!b) return;
    rh_cuda_free(rh_cuda_of(be), b->data);
    free(b);
}

void rh_cuda_buf_forget(rh_backend *be, rh_buf *b, size_t offset, size_t bytes)
{
    (void)be; /* memory of a GPU does not go back in parts */
    (void)b;
    (void)offset;
    (void)bytes;
}

void rh_cuda_memory(rh_backend *be, size_t *free_bytes, size_t *all_bytes)
{
    rh_cuda *c = rh_cuda_of(be);
    const size_t owed = c->scratch_bytes < RH_CUDA_RESERVE ? RH_CUDA_RESERVE - c->scratch_bytes : 0;
    const cudaError_t e = cudaMemGetInfo(free_bytes, all_bytes);
    if (e) {
        rh_cuda_broke(c, (int)e, "cudaMemGetInfo");
        *free_bytes = *all_bytes = 0;
    }
    *free_bytes = *free_bytes > owed ? *free_bytes - owed : 0;
}
