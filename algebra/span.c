/* span.c - the subspace of some vectors, by QR with column pivoting (Businger and Golub).
 *
 * A P = Q R with |R_11| >= |R_22| >= …: column k of Q is what the k-th chosen vector adds to
 * those before it, and |R_kk| how much. A small |R_kk| says that the rest is dependent. */
#include "algebra/algebra.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static const double RANK_TOLERANCE = 1e-6; /* float32 inputs are rounded at 6e-8 */

static rh_status lapack_status(lapack_int info, rh_error *err)
{
    if (info == 0) return RH_OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return rh_fail_nomem(err);
    return rh_fail(err, RH_EVALUE, "a vector of the span is not finite");
}

/* Columns of a [n, d] row by row are columns in LAPACK's order. */
static double *copy_columns(const float *const *v, int32_t n, int32_t d)
{
    if (n > 0 && (size_t)d > SIZE_MAX / sizeof(double) / (size_t)n) return NULL;
    double *a = rh_calloc((size_t)n * (size_t)d, sizeof *a);
    if (!a) return NULL;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < d; j++) a[(size_t)i * d + j] = v[i][j];
    return a;
}

static int32_t rank_of(const double *a, int32_t k_max, int32_t d)
{
    double largest = fabs(a[0]);
    int32_t rank = 0;
    while (rank < k_max && fabs(a[(size_t)rank * d + rank]) > RANK_TOLERANCE * largest) rank++;
    return rank;
}

rh_status rh_span_new(rh_span *out, const float *const *v, int32_t n, int32_t d, rh_error *err)
{
    rh_status status = RH_OK;
    double *a = NULL, *tau = NULL;
    lapack_int *pivot = NULL;
    rh_span span = {.d = d};

    if (n < 0 || d < 1) return rh_fail(err, RH_EVALUE, "a span needs vectors");
    if (n > RH_SPAN_MAX)
        return rh_fail(err, RH_ELIMIT, "a span of %d vectors; at most %d", (int)n, RH_SPAN_MAX);
    int32_t k_max = n < d ? n : d;
    a = copy_columns(v, n, d);
    tau = rh_calloc((size_t)k_max + 1, sizeof *tau);
    pivot = rh_calloc((size_t)n + 1, sizeof *pivot);
    if (!a || !tau || !pivot) { status = rh_fail_nomem(err); goto done; }
    if (n > 0) {
        status = lapack_status(LAPACKE_dgeqp3(LAPACK_COL_MAJOR, d, n, a, d, pivot, tau), err);
        if (status) goto done;
        span.rank = rank_of(a, k_max, d);
    }
    span.basis = rh_calloc((size_t)span.rank * (size_t)d, sizeof *span.basis);
    if (!span.basis) { status = rh_fail_nomem(err); goto done; }
    if (span.rank > 0) {
        status = lapack_status(LAPACKE_dorgqr(LAPACK_COL_MAJOR, d, span.rank, span.rank, a, d, tau), err);
        if (status) goto done;
    }
    for (size_t i = 0; i < (size_t)span.rank * (size_t)d; i++) span.basis[i] = (float)a[i];
    *out = span;
    span.basis = NULL;
done:
    free(a);
    free(tau);
    free(pivot);
    free(span.basis);
    return status;
}

void rh_span_free(rh_span *s)
{
    if (!s) return;
    free(s->basis);
    *s = (rh_span){0};
}

/* out = sum_k (v·b_k) b_k. All coefficients are known before anything is written: out may be v. */
void rh_span_project(float *out, const float *v, const rh_span *s)
{
    double c[RH_SPAN_MAX]; /* 32 KiB of stack: no allocation, so nothing to fail */
    int32_t d = s->d;
    for (int32_t k = 0; k < s->rank; k++) c[k] = rh_dot(v, s->basis + (size_t)k * d, d);
    for (int32_t j = 0; j < d; j++) {
        double sum = 0;
        for (int32_t k = 0; k < s->rank; k++) sum += c[k] * s->basis[(size_t)k * d + j];
        out[j] = (float)sum;
    }
}
