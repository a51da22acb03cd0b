#include "base/clock.h"
#include "base/rng.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

/* What the device reaches at best, so that a speed can be given as a share of it. Each measurement grows until one call
 * is long enough to be timed; then the fastest of a few is taken, for other work only ever makes it slower. */

enum { CALLS = 4, BATCHES = 5, READ_MOST = 1 << 30, PRODUCT_MOST = 8192, ROUNDS_MOST = 1 << 16, PATTERN = 1 << 20 };
static const double LONG_ENOUGH = 1e-3; /* seconds */

typedef struct limit {
    rh_cuda *c;
    uint8_t *data;      /* [bytes], random bf16 in ±[0.5, 1): zeros would multiply faster, for they take less power */
    int64_t bytes;
    int32_t blocks;
} limit;

typedef struct limit_work {
    const char *call;
    int (*start)(const limit *l, int64_t size); /* a code as fail.c has it */
    double (*amount)(const limit *l, int64_t size);
    int64_t least, most;
} limit_work;

static int start_read(const limit *l, int64_t size)
{
    const rh_cuda_read_args a = {.in = l->data, .out = l->data, .bytes = size, .blocks = l->blocks};
    return rh_cuda_read(l->c->stream, &a);
}
static double read_amount(const limit *l, int64_t size)
{
    (void)l;
    return (double)size;
}

static rh_cuda_multiply_args multiply_args(const limit *l, int64_t size)
{
    return (rh_cuda_multiply_args){.out = l->data, .blocks = l->blocks, .rounds = (int32_t)size};
}
static int start_multiply(const limit *l, int64_t size)
{
    const rh_cuda_multiply_args a = multiply_args(l, size);
    return rh_cuda_multiply(l->c->stream, &a);
}
static double multiply_amount(const limit *l, int64_t size)
{
    const rh_cuda_multiply_args a = multiply_args(l, size);
    return rh_cuda_multiply_flops(&a);
}

/* C [size, size] float32 = A B of bf16, as large products are computed. The three lie in data one after another. */
static int start_product(const limit *l, int64_t size)
{
    const int n = (int)size;
    const float one = 1, zero = 0;
    const uint8_t *a = l->data, *b = a + 2 * size * size;
    uint8_t *c = l->data + 4 * size * size;
    return -(int)cublasGemmEx(l->c->blas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a, CUDA_R_16BF, n, b, CUDA_R_16BF, n, &zero, c,
                              CUDA_R_32F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}
static double product_amount(const limit *l, int64_t size)
{
    (void)l;
    return 2.0 * (double)size * (double)size * (double)size;
}

/* Seconds a call of the work takes, of `calls` in a row. */
static rh_status time_calls(double *seconds, const limit *l, const limit_work *w, int64_t size, int calls, rh_error *err)
{
    const double begun = rh_seconds();
    for (int i = 0; i < calls; i++) RH_CUDA_TRY(w->start(l, size), w->call, err);
    RH_CUDA_TRY(cudaStreamSynchronize(l->c->stream), "cudaStreamSynchronize", err);
    *seconds = (rh_seconds() - begun) / calls;
    return RH_OK;
}

/* 10^9 of the work's amounts a second */
static rh_status best_rate(double *out, const limit *l, const limit_work *w, rh_error *err)
{
    int64_t size = w->least;
    double seconds = 0, best = 0;
    RH_TRY(time_calls(&seconds, l, w, size, 1, err)); /* the first loads code */
    for (;; size *= 2) {
        RH_TRY(time_calls(&seconds, l, w, size, 1, err));
        if (seconds >= LONG_ENOUGH || size * 2 > w->most) break;
    }
    for (int i = 0; i < BATCHES; i++) {
        RH_TRY(time_calls(&seconds, l, w, size, seconds < LONG_ENOUGH * 16 ? CALLS : 1, err));
        const double rate = w->amount(l, size) / seconds * 1e-9;
        if (seconds > 0 && rate > best) best = rate;
    }
    *out = best;
    return RH_OK;
}

/* The pattern, and then what is there once more behind it, until all is full. */
static rh_status fill(const limit *l, rh_error *err)
{
    uint8_t *half;
    RH_TRY(rh_cuda_stage_next(l->c, &half, PATTERN, err));
    for (size_t i = 0; i < PATTERN / 2; i++)
        ((uint16_t *)half)[i] = (uint16_t)(0x3f00 | (rh_random_u64(1, 0, i) & 0x807f));
    RH_TRY(rh_cuda_stage_send(l->c, l->data, PATTERN, err));
    for (int64_t at = PATTERN; at < l->bytes; at *= 2) {
        const int64_t n = l->bytes - at < at ? l->bytes - at : at;
        RH_CUDA_TRY(cudaMemcpyAsync(l->data + at, l->data, (size_t)n, cudaMemcpyDeviceToDevice, l->c->stream), "cudaMemcpyAsync", err);
    }
    return RH_OK;
}

static rh_status measure(rh_machine_limits *out, const limit *l, rh_error *err)
{
    int64_t widest = 256; /* of square products that data has room for */
    while (8 * (2 * widest) * (2 * widest) <= l->bytes && 2 * widest <= PRODUCT_MOST) widest *= 2;
    const limit_work read = {"rh_cuda_read", start_read, read_amount, PATTERN, l->bytes};
    const limit_work multiply = {"rh_cuda_multiply", start_multiply, multiply_amount, 16, ROUNDS_MOST};
    const limit_work product = {"cublasGemmEx", start_product, product_amount, 256, widest};
    RH_TRY(fill(l, err));
    RH_TRY(best_rate(&out->read_gbs, l, &read, err));
    RH_TRY(best_rate(&out->f32_gflops, l, &multiply, err));
    return best_rate(&out->bf16_gflops, l, &product, err); /* last: it writes into data */
}

/* Takes up to a GiB for as long as it measures: less beside a large model, at least what no cache holds. */
rh_status rh_cuda_op_limits(rh_backend *be, rh_machine_limits *out, rh_error *err)
{
    rh_cuda *c = rh_cuda_of(be);
    limit l = {.c = c, .bytes = READ_MOST};
    size_t left = 0, all = 0;
    int processors = 0;
    *out = (rh_machine_limits){0};
    RH_TRY(rh_cuda_wait(be, err));
    RH_CUDA_TRY(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0), "cudaDeviceGetAttribute", err);
    RH_CUDA_TRY(cudaMemGetInfo(&left, &all), "cudaMemGetInfo", err);
    while (l.bytes > (1 << 28) && (size_t)l.bytes > left / 2) l.bytes /= 2;
    l.blocks = processors * 8;
    rh_status status = rh_cuda_alloc(&l.data, (size_t)l.bytes, err);
    if (!status) status = measure(out, &l, err);
    (void)cudaFree(l.data);
    return status;
}
