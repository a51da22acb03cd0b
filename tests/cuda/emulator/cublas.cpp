/* cublas.cpp - cuBLAS' products by OpenBLAS: values of 16 bits become float first, sums are float. */
#include <cublas_v2.h>

#include <cblas.h>

#include <vector>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/state.h"

struct cublasContext { cudaStream_t stream; };

namespace emu {

struct operand {
    const void *p;
    cudaDataType type;
    int rows, cols, ld; /* column by column */
};

static size_t element(cudaDataType t) { return t == CUDA_R_32F ? 4 : 2; }

static void check_operand(const operand &m, const char *name)
{
    if (m.rows > 0 && m.cols > 0)
        check_device(m.p, ((size_t)m.ld * (size_t)(m.cols - 1) + (size_t)m.rows) * element(m.type), name);
}

/* The matrix as float, without gaps: itself, or `room`. */
static const float *as_float(const operand &m, std::vector<float> &room, int *ld)
{
    *ld = m.ld;
    if (m.type == CUDA_R_32F) return (const float *)m.p;
    *ld = m.rows;
    room.resize((size_t)m.rows * (size_t)m.cols);
    for (size_t c = 0; c < (size_t)m.cols; c++)
        for (size_t r = 0; r < (size_t)m.rows; r++) {
            const uint16_t u = ((const uint16_t *)m.p)[c * (size_t)m.ld + r];
            room[c * (size_t)m.rows + r] =
                m.type == CUDA_R_16BF ? __bfloat162float(__ushort_as_bfloat16(u)) : __half2float(__ushort_as_half(u));
        }
    return room.data();
}

struct product {
    cublasOperation_t ta, tb;
    int m, n, k, ldc;
    float alpha, beta;
    operand a, b;
    float *c;

    void run() const
    {
        std::vector<float> room_a, room_b;
        int lda, ldb;
        check_operand(a, "cuBLAS' A");
        check_operand(b, "cuBLAS' B");
        check_operand({c, CUDA_R_32F, m, n, ldc}, "cuBLAS' C");
        device().counts.gemms++;
        const float *fa = as_float(a, room_a, &lda), *fb = as_float(b, room_b, &ldb);
        cblas_sgemm(CblasColMajor, ta == CUBLAS_OP_N ? CblasNoTrans : CblasTrans,
                    tb == CUBLAS_OP_N ? CblasNoTrans : CblasTrans, m, n, k, alpha, fa, lda, fb, ldb, beta, c, ldc);
    }
};

static cublasStatus_t issue_product(cublasHandle_t h, const product &p)
{
    if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
    const int a_rows = p.ta == CUBLAS_OP_N ? p.m : p.k, b_rows = p.tb == CUBLAS_OP_N ? p.k : p.n;
    if (p.m < 0 || p.n < 0 || p.k < 0 || p.a.ld < (a_rows > 1 ? a_rows : 1) || p.b.ld < (b_rows > 1 ? b_rows : 1) ||
        p.ldc < (p.m > 1 ? p.m : 1))
        return CUBLAS_STATUS_INVALID_VALUE;
    return issue(h->stream, [p] { p.run(); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

static operand shaped(const void *p, cudaDataType type, cublasOperation_t t, int rows, int cols, int ld)
{
    return t == CUBLAS_OP_N ? operand{p, type, rows, cols, ld} : operand{p, type, cols, rows, ld};
}

} // namespace emu

using namespace emu;

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    if (capturing()) return CUBLAS_STATUS_ALLOC_FAILED;
    *handle = new cublasContext{NULL};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int *version)
{
    (void)handle;
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    check_device(workspace, bytes, "cublasSetWorkspace");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    (void)mode;
    return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode)
{
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const float *alpha, const float *A, int lda, const float *B, int ldb, const float *beta,
                           float *C, int ldc)
{
    return issue_product(handle, {ta, tb, m, n, k, ldc, *alpha, *beta, shaped(A, CUDA_R_32F, ta, m, k, lda),
                                  shaped(B, CUDA_R_32F, tb, k, n, ldb), C});
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                            const void *alpha, const void *A, cudaDataType a_type, int lda, const void *B,
                            cudaDataType b_type, int ldb, const void *beta, void *C, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
    (void)compute;
    (void)algo;
    if (a_type != b_type || c_type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    return issue_product(handle, {ta, tb, m, n, k, ldc, *(const float *)alpha, *(const float *)beta,
                                  shaped(A, a_type, ta, m, k, lda), shaped(B, b_type, tb, k, n, ldb), (float *)C});
}

const char *cublasGetStatusName(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR: return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown status";
}

const char *cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }
