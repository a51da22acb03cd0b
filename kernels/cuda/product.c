/* out_i [n, rows_i] (+)= x w_i^T (+ bias_i)
 *
 *   n <= RH_CUDA_FEW   rh_cuda_matmul reads the packed weights as they are: memory is the limit
 *   up to twice that   the same twice, where weights would have to be expanded: to write and read them as bf16 moves
 *                      eight times what reading four bits twice does
 *   more               cuBLAS, in bf16 with float32 sums: x is rounded once, the weight expanded tile by tile into scratch
 *                      (rows of bf16 are used where they lie). Of float32 weights, and of all in exact mode, float32.
 *
 * The matrices are row-major and cuBLAS' are not, so what it is told is out^T = (w^T)^T x^T. */
#include <assert.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ops.h"

typedef struct gemm_args {
    cublasHandle_t blas;
    const void *w, *x;  /* w [rows, cols], its rows ld_w apart; x [n, cols] */
    float *out;         /* rows ld_out apart */
    int32_t n, rows, cols, ld_w, ld_out, add, bf16, unused;
} gemm_args;

/* A launcher like those of kernels.h; the handle works on the context's one stream. */
static int gemm(void *stream, const void *args)
{
    const gemm_args *a = args;
    const float one = 1, beta = a->add ? 1 : 0;
    const cudaDataType_t type = a->bf16 ? CUDA_R_16BF : CUDA_R_32F;
    (void)stream;
    return -(int)cublasGemmEx(a->blas, CUBLAS_OP_T, CUBLAS_OP_N, a->rows, a->n, a->cols, &one, a->w, type, a->ld_w, a->x, type,
                              a->cols, &beta, a->out, CUDA_R_32F, a->ld_out, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

static bool in_bf16(const rh_cuda *c, const rh_cuda_matrix *w) { return !c->head.exact && w->type != RH_F32; }
static size_t element(bool bf16) { return bf16 ? 2 : sizeof(float); }

/* Does the product read the weight's own memory? */
static bool in_place(const rh_cuda_matrix *w, bool bf16) { return w->type == (bf16 ? RH_BF16 : RH_F32); }

static int32_t tile_rows(const rh_cuda_matrix *w, bool bf16)
{
    const size_t fit = RH_CUDA_TILE / ((size_t)w->cols * element(bf16));
    return fit < 1 ? 1 : fit < (size_t)w->rows ? (int32_t)fit : w->rows;
}

/* ---- many rows ----------------------------------------------------------------------------------- */

static size_t rounded_bytes(const rh_cuda *c, int32_t n, const rh_cuda_target *targets, int32_t n_targets)
{
    for (int32_t i = 0; i < n_targets; i++)
        if (in_bf16(c, targets[i].w)) return rh_round_up((size_t)n * (size_t)targets[i].w->cols * 2, 256);
    return 0;
}

/* Calls of rh_cuda_matmul; 0: cuBLAS' affair. */
static int32_t passes(const rh_cuda *c, int32_t n, const rh_cuda_target *targets, int32_t n_targets)
{
    if (n <= RH_CUDA_FEW) return 1;
    for (int32_t i = 0; i < n_targets; i++)
        if (in_place(targets[i].w, in_bf16(c, targets[i].w))) return 0;
    return n <= 2 * RH_CUDA_FEW ? 2 : 0;
}

size_t rh_cuda_product_bytes(const rh_cuda *c, int32_t n, const rh_cuda_target *targets, int32_t n_targets)
{
    size_t most = 0;
    if (passes(c, n, targets, n_targets)) return 0;
    for (int32_t i = 0; i < n_targets; i++) {
        const rh_cuda_matrix *w = targets[i].w;
        const bool bf16 = in_bf16(c, w);
        const size_t tile = in_place(w, bf16) ? 0 : (size_t)tile_rows(w, bf16) * (size_t)w->cols * element(bf16);
        if (tile > most) most = tile;
    }
    return rounded_bytes(c, n, targets, n_targets) + most;
}

static void expand(rh_cuda *c, const rh_cuda_matrix *w, void *tile, int32_t first, int32_t rows, bool bf16)
{
    rh_cuda_expand_args *a = RH_CUDA_APPEND(c, rh_cuda_expand);
    if (!a) return;
    a->w = *w;
    a->out = tile;
    a->first = first;
    a->rows = rows;
    a->bf16 = bf16;
}

static void multiply(rh_cuda *c, const void *x, int32_t n, const rh_cuda_target *t, int32_t first, int32_t rows, const void *w,
                     int32_t ld_w, bool bf16)
{
    gemm_args *a = rh_cuda_append(c, gemm, "cublasGemmEx", sizeof *a);
    if (!a) return;
    a->blas = c->blas;
    a->w = w;
    a->x = x;
    a->out = t->out + first;
    a->n = n;
    a->rows = rows;
    a->cols = t->w->cols;
    a->ld_w = ld_w;
    a->ld_out = t->w->rows;
    a->add = t->add;
    a->bf16 = bf16;
}

static void add_bias(rh_cuda *c, int32_t n, const rh_cuda_target *t)
{
    rh_cuda_bias_args *a = t->bias ? RH_CUDA_APPEND(c, rh_cuda_bias) : NULL;
    if (!a) return;
    a->out = t->out;
    a->bias = t->bias;
    a->n = n;
    a->rows = t->w->rows;
}

static void one_of_many(rh_cuda *c, const void *x, int32_t n, const rh_cuda_target *t, uint8_t *tile, bool bf16)
{
    const rh_cuda_matrix *w = t->w;
    const int32_t step = in_place(w, bf16) ? w->rows : tile_rows(w, bf16);
    for (int32_t first = 0; first < w->rows; first += step) {
        const int32_t rows = w->rows - first < step ? w->rows - first : step;
        if (in_place(w, bf16)) multiply(c, x, n, t, first, rows, w->data, (int32_t)(w->row_bytes / (int64_t)element(bf16)), bf16);
        else {
            expand(c, w, tile, first, rows, bf16);
            multiply(c, x, n, t, first, rows, tile, w->cols, bf16);
        }
    }
    add_bias(c, n, t);
}

static void many(rh_cuda *c, const float *x, int32_t n, const rh_cuda_target *targets, int32_t n_targets, uint8_t *scratch)
{
    const size_t rounded = rounded_bytes(c, n, targets, n_targets);
    rh_cuda_round_args *a = rounded ? RH_CUDA_APPEND(c, rh_cuda_round) : NULL;
    if (a) {
        a->x = x;
        a->out = scratch;
        a->n = (int64_t)n * targets[0].w->cols;
    }
    for (int32_t i = 0; i < n_targets; i++) {
        const bool bf16 = in_bf16(c, targets[i].w);
        one_of_many(c, bf16 ? (const void *)scratch : x, n, &targets[i], scratch + rounded, bf16);
    }
}

/* ---- few ----------------------------------------------------------------------------------------- */

/* Rows first .. first + n - 1. */
static void few(rh_cuda *c, const float *x, int32_t first, int32_t n, const rh_cuda_target *targets, int32_t n_targets)
{
    rh_cuda_matmul_args *a = RH_CUDA_APPEND(c, rh_cuda_matmul);
    if (!a) return;
    a->n = n;
    a->cols = targets[0].w->cols;
    a->x = x + (size_t)first * (size_t)a->cols;
    a->n_products = n_targets;
    for (int32_t i = 0; i < n_targets; i++) {
        a->product[i].w = *targets[i].w;
        a->product[i].bias = targets[i].bias;
        a->product[i].out = targets[i].out + (size_t)first * (size_t)targets[i].w->rows;
        a->product[i].add = targets[i].add;
    }
}

void rh_cuda_products(rh_cuda *c, const float *x, int32_t n, const rh_cuda_target *targets, int32_t n_targets, uint8_t *scratch)
{
    const int32_t times = passes(c, n, targets, n_targets);
    if (!times) many(c, x, n, targets, n_targets, scratch);
    for (int32_t i = 0; i < times; i++) few(c, x, n * i / times, n * (i + 1) / times - n * i / times, targets, n_targets);
}

rh_status rh_cuda_op_matmul(rh_backend *be, const rh_buf *x, int32_t n, const rh_matmul_target *targets, int32_t n_targets,
                            rh_error *err)
{
    enum { TOGETHER = 3 };
    rh_cuda *c = rh_cuda_of(be);
    RH_TRY(rh_cuda_report(c, err));
    for (int32_t first = 0, k; first < n_targets && n; first += k) {
        rh_cuda_target together[TOGETHER];
        uint8_t *scratch = NULL;
        k = n_targets - first < TOGETHER ? n_targets - first : TOGETHER;
        for (int32_t i = 0; i < k; i++) {
            const rh_matmul_target *t = &targets[first + i];
            assert(t->w->m.cols == targets[0].w->m.cols);
            assert((size_t)n * (size_t)t->w->m.rows * sizeof(float) <= t->out->bytes);
            together[i] = (rh_cuda_target){&t->w->m, t->bias ? rh_cuda_floats(t->bias) : NULL, rh_cuda_floats(t->out), t->add};
        }
        assert((size_t)n * (size_t)together[0].w->cols * sizeof(float) <= x->bytes);
        const size_t bytes = rh_cuda_product_bytes(c, n, together, k);
        if (bytes) RH_TRY(rh_cuda_scratch(c, &scratch, bytes, err));
        rh_cuda_products(c, rh_cuda_floats(x), n, together, k, scratch);
    }
    c->rows = n;
    return rh_cuda_report(c, err);
}
