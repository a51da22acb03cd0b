/* moments.c - running mean and squared deviations per coordinate.
 *
 * Adding x of weight w (Welford):        n += w, δ = x - mean, mean += δ w/n, m2 += w δ (x - mean)
 * Merging two runs A and B (Chan et al.): δ = mean_B - mean_A,
 *     mean = mean_A + δ n_B/n,  m2 = m2_A + m2_B + δ² n_A n_B/n. */
#include "algebra/algebra.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

rh_status rh_moments_new(rh_moments *out, int32_t d, rh_error *err)
{
    rh_moments m = {.d = d};
    m.mean = rh_calloc((size_t)d, sizeof *m.mean);
    m.m2 = rh_calloc((size_t)d, sizeof *m.m2);
    if (!m.mean || !m.m2) {
        rh_moments_free(&m);
        return rh_fail_nomem(err);
    }
    *out = m;
    return RH_OK;
}

void rh_moments_add(rh_moments *m, const float *x, double weight)
{
    if (!(weight > 0)) return;
    m->n += weight;
    double share = weight / m->n;
    for (int32_t j = 0; j < m->d; j++) {
        double delta = x[j] - m->mean[j];
        m->mean[j] += delta * share;
        m->m2[j] += weight * delta * (x[j] - m->mean[j]);
    }
}

void rh_moments_merge(rh_moments *m, const rh_moments *other)
{
    if (other->n == 0) return;
    double n = m->n + other->n, share = other->n / n;
    for (int32_t j = 0; j < m->d; j++) {
        double delta = other->mean[j] - m->mean[j];
        m->mean[j] += delta * share;
        m->m2[j] += other->m2[j] + delta * delta * m->n * share;
    }
    m->n = n;
}

void rh_moments_free(rh_moments *m)
{
    if (!m) return;
    free(m->mean);
    free(m->m2);
    *m = (rh_moments){0};
}
