/* The entry: is there a device, and does it do? */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

enum { OLDEST = 8 /* compute capability: bf16, and what librhumb-cuda.so has code for */, BLAS_SPACE = 32 << 20 };

/* Errors of the past, of pending commands among them, no longer interest anybody. */
static void backend_free(rh_backend *be)
{
    rh_cuda *c = rh_cuda_of(be);
    if (c->stream) (void)cudaStreamSynchronize(c->stream);
    rh_cuda_graphs_free(&c->graphs);
    if (c->blas) (void)cublasDestroy(c->blas);
    (void)cudaFree(c->blas_space);
    (void)cudaFree(c->scratch);
    (void)cudaFree(c->found);
    rh_cuda_transfer_free(c);
    if (c->stream) (void)cudaStreamDestroy(c->stream);
    rh_cuda_commands_free(&c->list);
    rh_cuda_commands_free(&c->fused);
    free(c->host);
    free(c);
}

static const rh_ops table = {
    .free = backend_free, .buf_new = rh_cuda_buf_new, .buf_free = rh_cuda_buf_free, .upload = rh_cuda_upload,
    .download = rh_cuda_download, .fetch = rh_cuda_fetch, .wait = rh_cuda_wait, .memory = rh_cuda_memory,
    .buf_forget = rh_cuda_buf_forget, .weight_new = rh_cuda_weight_new, .weight_owns = rh_cuda_weight_owns,
    .weight_free = rh_cuda_weight_free, .embed = rh_cuda_op_embed, .rmsnorm = rh_cuda_op_rmsnorm, .matmul = rh_cuda_op_matmul,
    .screen_new = rh_cuda_screen_new, .screen_free = rh_cuda_screen_free, .screen = rh_cuda_op_screen,
    .cosines = rh_cuda_op_cosines, .rope = rh_cuda_op_rope, .scatter_rows = rh_cuda_op_scatter_rows,
    .gather_rows = rh_cuda_op_gather_rows, .attention = rh_cuda_op_attention, .glu = rh_cuda_op_glu, .add = rh_cuda_op_add,
    .softcap = rh_cuda_op_softcap, .steer_rows = rh_cuda_op_steer_rows, .ablate_rows = rh_cuda_op_ablate_rows,
    .move_rows = rh_cuda_op_move_rows, .guard_rows = rh_cuda_op_guard_rows, .sample = rh_cuda_op_sample,
    .limits = rh_cuda_op_limits};

/* ---- is there a device --------------------------------------------------------------------------- */

static rh_status no_device(cudaError_t e, rh_error *err)
{
    (void)cudaGetLastError();
    if (e == cudaErrorInsufficientDriver) {
        int driver = 0;
        (void)cudaDriverGetVersion(&driver);
        if (driver)
            return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: the NVIDIA driver is for CUDA %d.%d, and %d.%d is needed", driver / 1000,
                                     driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10), err,
                             "install a newer driver, or use --device cpu");
    }
    if (e == cudaErrorInsufficientDriver)
        return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: this machine has no NVIDIA driver"), err,
                         "install the driver, or use --device cpu");
    if (e == cudaErrorNoDevice)
        return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: the driver shows no GPU"), err,
                         "see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu");
    return rh_hinted(rh_cuda_failed((int)e, "cudaGetDeviceCount", err), err, "see nvidia-smi, or use --device cpu");
}

static rh_status look(struct cudaDeviceProp *p, rh_error *err)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (!e && !n) e = cudaErrorNoDevice;
    if (e) return no_device(e, err);
    RH_CUDA_TRY(cudaSetDevice(0), "cudaSetDevice", err);
    RH_CUDA_TRY(cudaGetDeviceProperties(p, 0), "cudaGetDeviceProperties", err);
    if (p->major < OLDEST)
        return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: the %s is of compute capability %d.%d, and %d.0 is needed", p->name,
                                 p->major, p->minor, OLDEST), err, "use --device cpu, or a GPU from 2020 or later (Ampere)");
    return RH_OK;
}

/* ---- the context --------------------------------------------------------------------------------- */

static rh_status new_blas(rh_cuda *c, rh_error *err)
{
    RH_CUDA_TRY(-(int)cublasCreate(&c->blas), "cublasCreate", err);
    RH_TRY(rh_cuda_alloc(&c->blas_space, BLAS_SPACE, err));
    RH_CUDA_TRY(-(int)cublasSetStream(c->blas, c->stream), "cublasSetStream", err);
    /* its own, so that a graph may hold it; after the stream, which resets it */
    RH_CUDA_TRY(-(int)cublasSetWorkspace(c->blas, c->blas_space, BLAS_SPACE), "cublasSetWorkspace", err);
    RH_CUDA_TRY(-(int)cublasSetMathMode(c->blas, c->head.exact ? CUBLAS_PEDANTIC_MATH : CUBLAS_DEFAULT_MATH), "cublasSetMathMode", err);
    return RH_OK;
}

static rh_status set_up(rh_cuda *c, rh_error *err)
{
    RH_CUDA_TRY(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags", err);
    RH_TRY(rh_cuda_transfer_new(c, err));
    return new_blas(c, err);
}

rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err);
rh_status rh_backend_cuda(rh_backend **out, bool exact, rh_error *err)
{
    struct cudaDeviceProp device;
    RH_TRY(look(&device, err));
    rh_cuda *c = rh_calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->ops = table;
    snprintf(c->name, sizeof c->name, "cuda/%s", device.name);
    c->ops.name = c->name;
    c->head = (rh_backend){.ops = &c->ops, .exact = exact, .threads = omp_get_num_procs(), .bf16 = true};
    const rh_status status = set_up(c, err);
    if (status) {
        backend_free(&c->head);
        return status == RH_ENOMEM ? rh_hinted(status, err, "too little of the GPU's memory is free; nvidia-smi shows who has it") : status;
    }
    *out = &c->head;
    return RH_OK;
}
