/* fit.c - principal component of differences, Fisher's discriminant. (logreg.c has
 * the logistic regression.) */
#include "algebra/fit.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/unit.h"
#include "base/mem.h"

enum { BLOCK = 128 };

rh_status rh_unit_out(float *out, const double *v, int32_t d, rh_error *err)
{
    double largest = 0, square = 0;
    for (int32_t j = 0; j < d; j++) {
        if (!isfinite(v[j])) return rh_fail(err, RH_EVALUE, "the samples hold a number that is not finite");
        if (fabs(v[j]) > largest) largest = fabs(v[j]);
    }
    if (!(largest > 0)) return rh_fail(err, RH_EVALUE, "there is no direction: it comes out as zero");
    for (int32_t j = 0; j < d; j++) square += v[j] / largest * (v[j] / largest);
    double scale = 1 / (largest * sqrt(square));
    for (int32_t j = 0; j < d; j++) out[j] = (float)(v[j] * scale);
    return RH_OK;
}

rh_status rh_lapack_status(lapack_int info, const char *what, rh_error *err)
{
    if (info == 0) return RH_OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR) return rh_fail_nomem(err);
    return rh_fail(err, RH_EVALUE, "%s has no solution in numbers (LAPACK says %d)", what, (int)info);
}

/* ---- pca ---------------------------------------------------------------------------------- */

/* y [d] = positive - negative - mean */
static void difference(double *y, const float *rows, size_t i, int32_t d, const double *mean)
{
    const float *p = rows + 2 * i * (size_t)d, *q = p + d;
    for (int32_t j = 0; j < d; j++) y[j] = (double)p[j] - (double)q[j] - mean[j];
}

/* Largest eigenvalue of a symmetric matrix [n, n] (its upper triangle; destroyed) and its vector. */
static rh_status top_eigen(double *value, double *vector, double *a, lapack_int n, rh_error *err)
{
    lapack_int found = 0, support[2];
    double *values = rh_calloc((size_t)n, sizeof *values);
    if (!values) return rh_fail_nomem(err);
    /* Row-major upper is column-major lower: no transposed copy. */
    lapack_int info = LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', n, a, n, 0, 0, n, n, 0, &found, values,
                                     vector, n, support);
    *value = values[0];
    free(values);
    return rh_lapack_status(info, "the principal component", err);
}

/* By the matrix of inner products [n, n]: for fewer pairs than dimensions. v = Yᵀu. */
static rh_status pca_few(double *value, double *v, const float *rows, size_t n, int32_t d, const double *mean,
                         rh_error *err)
{
    rh_status status = RH_OK;
    double *y = rh_calloc(n, (size_t)d * sizeof *y), *gram = rh_calloc(n, n * sizeof *gram);
    double *u = rh_calloc(n, sizeof *u);
    if (!y || !gram || !u) status = rh_fail_nomem(err);
    if (!status) {
        for (size_t i = 0; i < n; i++) difference(y + i * (size_t)d, rows, i, d, mean);
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)n, d, 1, y, d, 0, gram, (int)n);
        status = top_eigen(value, u, gram, (lapack_int)n, err);
    }
    if (!status) cblas_dgemv(CblasRowMajor, CblasTrans, (int)n, d, 1, y, d, u, 1, 0, v, 1);
    free(y);
    free(gram);
    free(u);
    return status;
}

/* By the matrix of outer products [d, d], summed in blocks. */
static rh_status pca_many(double *value, double *v, const float *rows, size_t n, int32_t d, const double *mean,
                          rh_error *err)
{
    rh_status status = RH_OK;
    double *y = rh_calloc(BLOCK, (size_t)d * sizeof *y), *outer = rh_calloc((size_t)d, (size_t)d * sizeof *outer);
    if (!y || !outer) status = rh_fail_nomem(err);
    for (size_t start = 0; start < n && !status; start += BLOCK) {
        size_t k = n - start < BLOCK ? n - start : BLOCK;
        for (size_t i = 0; i < k; i++) difference(y + i * (size_t)d, rows, start + i, d, mean);
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, d, (int)k, 1, y, d, 1, outer, d);
    }
    if (!status) status = top_eigen(value, v, outer, d, err);
    free(y);
    free(outer);
    return status;
}

/* Does v point against most pairs? (Repeng's rule; the mean difference decides a draw.) */
static bool points_back(const double *v, const float *rows, size_t n, int32_t d)
{
    size_t lower = 0, higher = 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float *p = rows + 2 * i * (size_t)d, *q = p + d;
        double dot = 0;
        for (int32_t j = 0; j < d; j++) dot += v[j] * ((double)p[j] - (double)q[j]);
        lower += dot < 0;
        higher += dot > 0;
        sum += dot;
    }
    return lower == higher ? sum < 0 : lower > higher;
}

rh_status rh_fit_pca(float *out, const float *rows, size_t n, int32_t d, bool center, rh_error *err)
{
    static const double SAME = 1e-26; /* of the differences' squares: what float64 leaves of nothing */
    rh_status status = RH_OK;
    double value = 0, square = 0;
    if (n < 1) return rh_fail(err, RH_EVALUE, "there are no pairs");
    double *mean = rh_calloc((size_t)d, sizeof *mean), *v = rh_calloc((size_t)d, sizeof *v);
    if (!mean || !v) {
        status = rh_fail_nomem(err);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        const float *p = rows + 2 * i * (size_t)d, *q = p + d;
        for (int32_t j = 0; j < d; j++) {
            double delta = (double)p[j] - (double)q[j];
            mean[j] += delta;
            square += delta * delta;
        }
    }
    for (int32_t j = 0; j < d; j++) mean[j] = center ? mean[j] / (double)n : 0;
    if (!isfinite(square)) {
        status = rh_fail(err, RH_EVALUE, "the samples hold a number that is not finite");
        goto done;
    }
    status = n <= (size_t)d ? pca_few(&value, v, rows, n, d, mean, err) : pca_many(&value, v, rows, n, d, mean, err);
    if (status) goto done;
    if (!(value > SAME * square)) {
        status = rh_fail(err, RH_EVALUE, "the pairs have %s", square > 0 ? "all the same difference: nothing varies around its mean"
                                                                         : "no difference");
        if (square > 0) rh_hint(err, "center=false keeps the mean, and dim is that difference");
        goto done;
    }
    if (points_back(v, rows, n, d))
        for (int32_t j = 0; j < d; j++) v[j] = -v[j];
    status = rh_unit_out(out, v, d, err);
done:
    free(mean);
    free(v);
    return status;
}

/* ---- lda ---------------------------------------------------------------------------------- */

static rh_status singular(rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_EVALUE, "the scatter within the classes cannot be inverted: too few samples for its directions"),
                     err, "shrink=0.1 (any number above 0) makes it invertible; dim needs no inverse");
}

/* a ← its Cholesky factor; v ← a⁻¹v. */
static rh_status solve(double *v, double *a, lapack_int d, rh_error *err)
{
    static const double WORST = 1e-14; /* reciprocal condition: below, the answer is rounding */
    double condition = 0;
    double norm = LAPACKE_dlansy(LAPACK_COL_MAJOR, '1', 'L', d, a, d);
    lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', d, a, d);
    if (info > 0) return singular(err);
    RH_TRY(rh_lapack_status(info, "the discriminant", err));
    RH_TRY(rh_lapack_status(LAPACKE_dpocon(LAPACK_COL_MAJOR, 'L', d, a, d, norm, &condition), "the discriminant", err));
    if (!(condition > WORST)) return singular(err);
    return rh_lapack_status(LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', d, 1, a, d, v, d), "the discriminant", err);
}

rh_status rh_fit_lda(float *out, const rh_scatter *s, double shrink, rh_error *err)
{
    size_t d = (size_t)s->d;
    double n = s->n[0] + s->n[1], trace = 0;
    if (!(s->n[0] > 0) || !(s->n[1] > 0)) return rh_fail(err, RH_EVALUE, "a class has no samples");
    for (size_t j = 0; j < d; j++) trace += s->s[j * d + j] / n;
    if (!isfinite(trace)) return rh_fail(err, RH_EVALUE, "the samples hold a number that is not finite");
    if (!(trace > 0)) {
        return rh_hinted(rh_fail(err, RH_EVALUE, "nothing varies within the classes"),
                         err, "give more than one text a class, or use dim");
    }
    rh_status status = RH_OK;
    double *a = rh_calloc(d, d * sizeof *a), *v = rh_calloc(d, sizeof *v);
    if (!a || !v) status = rh_fail_nomem(err);
    if (!status) {
        for (size_t i = 0; i < d; i++) {
            for (size_t j = i; j < d; j++) a[i * d + j] = (1 - shrink) * s->s[i * d + j] / n;
            a[i * d + i] += shrink * trace / (double)d;
            v[i] = s->mean[i] - s->mean[d + i];
        }
        status = solve(v, a, s->d, err);
    }
    if (!status) status = rh_unit_out(out, v, s->d, err);
    free(a);
    free(v);
    return status;
}
