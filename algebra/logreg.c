/* logreg.c - L2 logistic regression by Newton's method.
 *
 *     f(w,b) = Σ_i log(1 + exp(-y_i m_i)) + l2/2 ‖w‖²,  m_i = w·x_i + b
 *     ∇f = Σ_i (p_i - t_i) (x_i, 1) + (l2 w, 0),  H = Σ_i p_i(1-p_i) (x_i,1)(x_i,1)ᵀ + diag(l2, …, l2, 0)
 *     with p_i = 1/(1 + exp(-m_i)), t_i = 1 or 0.
 *
 * The features are centred, which changes b alone. With fewer samples than dimensions w lies in
 * the rows' space: X = RᵀQᵀ (a QR of Xᵀ), and with w = Qu everything is a problem in the n
 * coordinates u with the same penalty, for ‖w‖ = ‖u‖. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/fit.h"
#include "algebra/unit.h"
#include "base/mem.h"

enum { BLOCK = 128, MAX_STEPS = 500 };
static const double DONE = 1e-9; /* ‖step‖/‖w‖; the next one would be about its square */

typedef struct problem {
    size_t n;
    int32_t p;               /* features and the constant 1, which is the last */
    const double *x;         /* [n, p] */
    const uint8_t *positive; /* [n] */
    double l2;
    double *w, *step, *trial, *gradient; /* [p] */
    double *m;               /* [n] */
    double *h;               /* [p, p] upper */
    double *rows;            /* [BLOCK, p] */
} problem;

static double log1p_exp(double m) { return m > 0 ? m + log1p(exp(-m)) : log1p(exp(m)); }
static double logistic(double m) { return m > 0 ? 1 / (1 + exp(-m)) : exp(m) / (1 + exp(m)); }

/* f(w); q->m is left at w's. */
static double value(problem *q, const double *w)
{
    double sum = 0;
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)q->n, q->p, 1, q->x, q->p, w, 1, 0, q->m, 1);
    for (size_t i = 0; i < q->n; i++) sum += log1p_exp(q->positive[i] ? -q->m[i] : q->m[i]);
    for (int32_t j = 0; j < q->p - 1; j++) sum += q->l2 / 2 * w[j] * w[j];
    return sum;
}

/* Gradient and H at q->w, with q->m set. */
static void derivatives(problem *q)
{
    size_t p = (size_t)q->p;
    memset(q->h, 0, p * p * sizeof *q->h);
    for (size_t j = 0; j < p; j++) q->gradient[j] = j + 1 < p ? q->l2 * q->w[j] : 0;
    for (size_t start = 0; start < q->n; start += BLOCK) {
        size_t k = q->n - start < BLOCK ? q->n - start : BLOCK;
        for (size_t i = 0; i < k; i++) {
            const double *x = q->x + (start + i) * p;
            double m = q->m[start + i], prob = logistic(m), other = logistic(-m);
            double residual = q->positive[start + i] ? -other : prob, root = sqrt(prob * other);
            for (size_t j = 0; j < p; j++) {
                q->gradient[j] += residual * x[j];
                q->rows[i * p + j] = root * x[j];
            }
        }
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, q->p, (int)k, 1, q->rows, q->p, 1, q->h, q->p);
    }
    for (size_t j = 0; j + 1 < p; j++) q->h[j * p + j] += q->l2;
}

/* step = -H⁻¹∇f; a diagonal is added if rounding has made H indefinite. h is kept in the lower
 * triangle's place of nobody: it is made again after each failure. */
static rh_status newton_step(problem *q, rh_error *err)
{
    size_t p = (size_t)q->p;
    double largest = 0, ridge = 0;
    for (int tries = 0; tries < 12; tries++) {
        derivatives(q);
        for (size_t j = 0; j < p; j++) {
            if (q->h[j * p + j] > largest) largest = q->h[j * p + j];
            q->step[j] = -q->gradient[j];
        }
        for (size_t j = 0; j < p; j++) q->h[j * p + j] += ridge;
        lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', q->p, q->h, q->p);
        if (info == 0)
            return rh_lapack_status(LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', q->p, 1, q->h, q->p, q->step, q->p),
                                    "the regression", err);
        if (info < 0) return rh_lapack_status(info, "the regression", err);
        ridge = ridge > 0 ? ridge * 100 : largest * 1e-14;
    }
    return rh_fail(err, RH_EVALUE, "the regression has no solution in numbers");
}

static double norm(const double *v, int32_t n) { return cblas_dnrm2(n, v, 1); }

/* Along the step, halved until f falls (Armijo). *moved: the share taken, 0 if f cannot fall further. */
static double walk(problem *q, double *f)
{
    double slope = cblas_ddot(q->p, q->gradient, 1, q->step, 1);
    for (double t = 1; t > 1e-12; t /= 2) {
        for (int32_t j = 0; j < q->p; j++) q->trial[j] = q->w[j] + t * q->step[j];
        double next = value(q, q->trial);
        if (next <= *f + 1e-4 * t * slope + 1e-13 * fabs(*f)) {
            memcpy(q->w, q->trial, (size_t)q->p * sizeof *q->w);
            *f = next;
            return t;
        }
    }
    return 0;
}

static rh_status minimise(problem *q, rh_error *err)
{
    double f = value(q, q->w);
    for (int i = 0; i < MAX_STEPS; i++) {
        RH_TRY(newton_step(q, err));
        double size = norm(q->step, q->p - 1);
        if (!isfinite(size)) break;
        double taken = walk(q, &f);
        if (size <= DONE * norm(q->w, q->p - 1) || (size == 0 && taken > 0)) return RH_OK;
        if (taken == 0) break;
    }
    return rh_hinted(rh_fail(err, RH_EVALUE, "the regression does not settle"),
                     err, "a larger l2 steadies it; the features are taken as they are, so l2 is in their units");
}

/* ---- features ------------------------------------------------------------------------------ */

/* x [n, width] ← rows, centred, and room for the constant if width > d */
static void centre(double *x, size_t width, const float *rows, const double *mean, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++) x[i * width + j] = (double)rows[i * d + j] - mean[j];
}

static rh_status solve_features(double *w, double *x, const uint8_t *positive, size_t n, int32_t features, double l2,
                                rh_error *err)
{
    size_t p = (size_t)features + 1;
    problem q = {.n = n, .p = features + 1, .x = x, .positive = positive, .l2 = l2};
    double *vectors = rh_calloc(4, p * sizeof *vectors);
    q.m = rh_calloc(n, sizeof *q.m);
    q.h = rh_calloc(p, p * sizeof *q.h);
    q.rows = rh_calloc(BLOCK, p * sizeof *q.rows);
    rh_status status = vectors && q.m && q.h && q.rows ? RH_OK : rh_fail_nomem(err);
    if (!status) {
        q.w = vectors;
        q.step = vectors + p;
        q.trial = vectors + 2 * p;
        q.gradient = vectors + 3 * p;
        for (size_t i = 0; i < n; i++) x[i * p + p - 1] = 1;
        status = minimise(&q, err);
    }
    if (!status) memcpy(w, q.w, (size_t)features * sizeof *w);
    free(vectors);
    free(q.m);
    free(q.h);
    free(q.rows);
    return status;
}

/* n < d: by the n coordinates of the rows' space. */
static rh_status solve_few(double *w, const float *rows, const double *mean, const uint8_t *positive, size_t n,
                           int32_t d, double l2, rh_error *err)
{
    lapack_int k = (lapack_int)n;
    size_t p = n + 1;
    double *q = rh_calloc(n, (size_t)d * sizeof *q), *tau = rh_calloc(n, sizeof *tau);
    double *x = rh_calloc(n, p * sizeof *x);
    rh_status status = q && tau && x ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    centre(q, (size_t)d, rows, mean, n, (size_t)d); /* rows here are columns to LAPACK: Xᵀ */
    status = rh_lapack_status(LAPACKE_dgeqrf(LAPACK_COL_MAJOR, d, k, q, d, tau), "the regression", err);
    if (status) goto done;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) x[i * p + j] = q[i * (size_t)d + j];
    status = solve_features(w, x, positive, n, k, l2, err); /* w [n] = u, the rest 0 */
    if (!status)
        status = rh_lapack_status(LAPACKE_dormqr(LAPACK_COL_MAJOR, 'L', 'N', d, 1, k, q, d, tau, w, d),
                                  "the regression", err);
done:
    free(q);
    free(tau);
    free(x);
    return status;
}

static rh_status solve_many(double *w, const float *rows, const double *mean, const uint8_t *positive, size_t n,
                            int32_t d, double l2, rh_error *err)
{
    double *x = rh_calloc(n, ((size_t)d + 1) * sizeof *x);
    if (!x) return rh_fail_nomem(err);
    centre(x, (size_t)d + 1, rows, mean, n, (size_t)d);
    rh_status status = solve_features(w, x, positive, n, d, l2, err);
    free(x);
    return status;
}

rh_status rh_fit_logreg(float *out, const float *rows, const uint8_t *positive, size_t n, int32_t d, double l2,
                        rh_error *err)
{
    size_t n_positive = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) n_positive += positive[i] != 0;
    if (n_positive == 0 || n_positive == n) return rh_fail(err, RH_EVALUE, "a class has no samples");
    if (n > INT32_MAX) return rh_fail(err, RH_ELIMIT, "%zu samples are too many", n);
    double *mean = rh_calloc((size_t)d, sizeof *mean), *w = rh_calloc((size_t)d, sizeof *w);
    rh_status status = mean && w ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < (size_t)d; j++) {
            mean[j] += rows[i * (size_t)d + j];
            finite &= isfinite(rows[i * (size_t)d + j]) != 0;
        }
    for (int32_t j = 0; j < d; j++) mean[j] /= (double)n;
    if (!finite)
        status = rh_fail(err, RH_EVALUE, "the samples hold a number that is not finite");
    else
        status = n < (size_t)d ? solve_few(w, rows, mean, positive, n, d, l2, err)
                               : solve_many(w, rows, mean, positive, n, d, l2, err);
    if (!status) status = rh_unit_out(out, w, d, err);
done:
    free(mean);
    free(w);
    return status;
}
