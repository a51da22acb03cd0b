/* products.c - many weighted sums, and many scores, at once: BLAS. */
#include <cblas.h>

#include "algebra/statistics.h"

void rh_weighted_sums(double *out, const double *w, const double *x, int32_t n, int32_t k, int32_t d)
{
    if (n > 0 && k > 0)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, d, n, 1, w, k, x, d, 1, out, d);
}

void rh_scores(double *out, const double *x, const double *v, int32_t n, int32_t k, int32_t d)
{
    if (n > 0 && k > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, k, d, 1, x, d, v, d, 0, out, k);
}
