#include "probes/auto_pick.h"

#include <math.h>

static bool dominates(const rh_knee_point *a, const rh_knee_point *b)
{
    return a->value >= b->value && a->cost <= b->cost && (a->value > b->value || a->cost < b->cost);
}

int32_t rh_knee(rh_knee_point *const *points, int32_t n, double least)
{
    double most = 0, dearest = 0, best = -INFINITY;
    int32_t knee = -1;
    for (int32_t i = 0; i < n; i++)
        if (!isfinite(points[i]->value) || !isfinite(points[i]->cost)) points[i]->healthy = false;
    for (int32_t i = 0; i < n; i++) {
        rh_knee_point *p = points[i];
        p->frontier = p->healthy && p->value > least;
        for (int32_t j = 0; p->frontier && j < n; j++)
            if (points[j]->healthy && dominates(points[j], p)) p->frontier = false;
        if (!p->frontier) continue;
        most = fmax(most, p->value);
        dearest = fmax(dearest, p->cost);
    }
    for (int32_t i = 0; i < n; i++) {
        if (!points[i]->frontier) continue;
        double above = 2 * points[i]->value / most - (dearest > 0 ? points[i]->cost / dearest : 0);
        if (above > best || (above == best && points[i]->cost < points[knee]->cost)) {
            best = above;
            knee = i;
        }
    }
    return knee;
}

void rh_wilson(double *lo, double *hi, int64_t k, int64_t n)
{
    const double z = 1.959964;
    *lo = 0;
    *hi = 1;
    if (n <= 0) return;
    double p = (double)k / (double)n, zz = z * z / (double)n;
    double middle = p + zz / 2, half = z * sqrt(p * (1 - p) / (double)n + zz / (4 * (double)n));
    *lo = k == 0 ? 0 : (middle - half) / (1 + zz);
    *hi = k == n ? 1 : (middle + half) / (1 + zz);
}

/* ln of n over k */
static double ln_choose(int64_t n, int64_t k)
{
    return lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1);
}

double rh_luck(int64_t k, int64_t n, int64_t l, int64_t m)
{
    double sum = 0, all = ln_choose(n + m, k + l);
    if (n <= 0 || m <= 0) return 1;
    for (int64_t i = k; i <= n && i <= k + l; i++)
        if (k + l - i <= m) sum += exp(ln_choose(n, i) + ln_choose(m, k + l - i) - all);
    return fmin(sum, 1);
}
