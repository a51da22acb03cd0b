#include "algebra/pursuit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "algebra/unit.h"
#include "base/mem.h"

struct rh_pursuit {
    const float *v;
    int32_t d, n, max;
    bool nonnegative;
    float *parts;      /* [max, d] */
    double *gram;      /* [max, max] of the parts */
    double *target;    /* [max] part·v */
    double *c;         /* [max] */
    int32_t *used;     /* [max] parts whose coefficient is free, the others are 0 */
    int32_t n_used;
    double *a, *z;     /* [max, max], [max] of one solution */
    float *residual;   /* [d] */
    double residual_norm;
};

static void subtract(rh_pursuit *p)
{
    double square = 0;
    for (int32_t j = 0; j < p->d; j++) {
        double r = p->v[j];
        for (int32_t i = 0; i < p->n; i++) r -= p->c[i] * p->parts[(size_t)i * (size_t)p->d + (size_t)j];
        p->residual[j] = (float)r;
        square += r * r;
    }
    p->residual_norm = sqrt(square);
}

rh_status rh_pursuit_new(rh_pursuit **out, const float *v, int32_t d, int32_t max, bool nonnegative, rh_error *err)
{
    const size_t n = (size_t)max;
    rh_pursuit *p = rh_calloc(1, sizeof *p);
    if (!p) return rh_fail_nomem(err);
    *p = (rh_pursuit){ .v = v, .d = d, .max = max, .nonnegative = nonnegative };
    p->parts = rh_calloc(n * (size_t)d, sizeof *p->parts);
    p->gram = rh_calloc(n * n, sizeof *p->gram);
    p->a = rh_calloc(n * n, sizeof *p->a);
    p->target = rh_calloc(n, sizeof *p->target);
    p->c = rh_calloc(n, sizeof *p->c);
    p->z = rh_calloc(n, sizeof *p->z);
    p->used = rh_calloc(n, sizeof *p->used);
    p->residual = rh_calloc((size_t)d, sizeof *p->residual);
    if (!p->parts || !p->gram || !p->a || !p->target || !p->c || !p->z || !p->used || !p->residual) {
        rh_pursuit_free(p);
        return rh_fail_nomem(err);
    }
    subtract(p);
    *out = p;
    return RH_OK;
}

void rh_pursuit_free(rh_pursuit *p)
{
    if (!p) return;
    free(p->parts);
    free(p->gram);
    free(p->a);
    free(p->target);
    free(p->c);
    free(p->z);
    free(p->used);
    free(p->residual);
    free(p);
}

double rh_pursuit_coefficient(const rh_pursuit *p, int32_t i) { return p->c[i]; }
const float *rh_pursuit_residual(const rh_pursuit *p) { return p->residual; }
double rh_pursuit_residual_norm(const rh_pursuit *p) { return p->residual_norm; }

/* z [n_used]: least squares over the used parts, from G z = t. */
static rh_status solve(rh_pursuit *p, rh_error *err)
{
    const lapack_int n = p->n_used;
    for (int32_t i = 0; i < n; i++) {
        p->z[i] = p->target[p->used[i]];
        for (int32_t j = 0; j < n; j++) p->a[i * n + j] = p->gram[(size_t)p->used[i] * (size_t)p->max + (size_t)p->used[j]];
    }
    lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, p->a, n);
    if (info > 0) return rh_fail(err, RH_EVALUE, "the parts depend on each other");
    RH_TRY(rh_lapack_status(info, "the sum", err));
    /* Of G = L Lᵀ the last pivot is what is left of a part once the others are taken from it. */
    const double left = p->a[(n - 1) * n + n - 1], all = p->gram[(size_t)p->used[n - 1] * (size_t)p->max + (size_t)p->used[n - 1]];
    if (left * left < 1e-10 * all) return rh_fail(err, RH_EVALUE, "the parts depend on each other");
    return rh_lapack_status(LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', n, 1, p->a, n, p->z, n), "the sum", err);
}

/* Goes from c towards z until a coefficient is 0, and leaves out the parts that are. False: z was reached. */
static bool step_back(rh_pursuit *p)
{
    double reach = 1;
    int32_t kept = 0, first = -1;
    for (int32_t i = 0; i < p->n_used; i++) {
        const double from = p->c[p->used[i]];
        if (p->z[i] > 0) continue;
        const double t = from > 0 ? from / (from - p->z[i]) : 0;
        if (t < reach || first < 0) first = i;
        if (t < reach) reach = t;
    }
    for (int32_t i = 0; i < p->n_used; i++) p->c[p->used[i]] += reach * (p->z[i] - p->c[p->used[i]]);
    if (first < 0) return false;
    p->c[p->used[first]] = 0;
    for (int32_t i = 0; i < p->n_used; i++) {
        const int32_t part = p->used[i];
        if (p->c[part] > 0) p->used[kept++] = part;
        else p->c[part] = 0;
    }
    p->n_used = kept;
    return kept > 0;
}

static rh_status fit(rh_pursuit *p, rh_error *err)
{
    do {
        RH_TRY(solve(p, err));
        if (p->nonnegative) continue;
        for (int32_t i = 0; i < p->n_used; i++) p->c[p->used[i]] = p->z[i];
    } while (p->nonnegative && step_back(p));
    return RH_OK;
}

rh_status rh_pursuit_add(rh_pursuit *p, const float *part, rh_error *err)
{
    float *own = p->parts + (size_t)p->n * (size_t)p->d;
    if (p->n == p->max) return rh_fail(err, RH_ELIMIT, "there is room for %d parts", p->max);
    memcpy(own, part, (size_t)p->d * sizeof *own);
    for (int32_t i = 0; i <= p->n; i++)
        p->gram[(size_t)i * (size_t)p->max + (size_t)p->n] = p->gram[(size_t)p->n * (size_t)p->max + (size_t)i] =
            rh_dot(own, p->parts + (size_t)i * (size_t)p->d, p->d);
    p->target[p->n] = rh_dot(own, p->v, p->d);
    p->c[p->n] = 0;
    p->used[p->n_used++] = p->n;
    rh_status status = fit(p, err);
    if (status) {
        p->n_used--; /* the first solution failed: nothing else was touched */
        return status;
    }
    p->n++;
    subtract(p);
    return RH_OK;
}
