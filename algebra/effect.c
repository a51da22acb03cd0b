/* effect.c - effect size, AUC, quantiles, p-values: see statistics.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/statistics.h"

void rh_class_moments_add(rh_class_moments *m, double x, int cls)
{
    double delta = x - m->mean[cls];
    m->n[cls] += 1;
    m->mean[cls] += delta / m->n[cls];
    m->ss[cls] += delta * (x - m->mean[cls]);
}

double rh_cohen_d(const rh_class_moments *m, int32_t n, double *sd)
{
    double gap = 0, weight = 0, ss = 0, freedom = 0;
    for (int32_t i = 0; i < n; i++) {
        double a = m[i].n[0], b = m[i].n[1];
        ss += m[i].ss[0] + m[i].ss[1];
        freedom += (a > 0 ? a - 1 : 0) + (b > 0 ? b - 1 : 0);
        if (a == 0 || b == 0) continue;
        double w = a * b / (a + b);
        gap += w * (m[i].mean[0] - m[i].mean[1]);
        weight += w;
    }
    double s = freedom > 0 ? sqrt(ss / freedom) : NAN;
    if (sd) *sd = s;
    return weight > 0 && s > 0 ? gap / weight / s : NAN;
}

/* ---- AUC ------------------------------------------------------------------------------------------ */

/* Bits of a float as an unsigned number in the same order; -0 and 0 are equal. */
static uint32_t ordered(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* By bits 1..32, eight at a time: what is sorted ends where it began. */
static void radix_sort(uint64_t *a, uint64_t *b, int32_t n)
{
    for (int pass = 0; pass < 4; pass++) {
        int32_t at[257] = {0};
        int shift = 1 + 8 * pass;
        for (int32_t i = 0; i < n; i++) at[(a[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) at[i + 1] += at[i];
        for (int32_t i = 0; i < n; i++) b[at[a[i] >> shift & 255]++] = a[i];
        uint64_t *swap = a;
        a = b;
        b = swap;
    }
}

void rh_auc_add(double *wins, double *pairs, const float *score, const uint8_t *cls, int32_t n, uint64_t *scratch)
{
    double below = 0, won = 0, positives = 0; /* negatives with a smaller score */
    for (int32_t i = 0; i < n; i++) scratch[i] = (uint64_t)ordered(score[i]) << 1 | (cls[i] != 0);
    radix_sort(scratch, scratch + n, n);
    for (int32_t i = 0; i < n;) {
        double p = 0, q = 0;
        uint64_t key = scratch[i] >> 1;
        for (; i < n && scratch[i] >> 1 == key; i++) {
            if (scratch[i] & 1) q++;
            else p++;
        }
        won += p * (below + q / 2);
        below += q;
        positives += p;
    }
    *wins += won;
    *pairs += positives * below;
}

/* ---- distributions --------------------------------------------------------------------------------- */

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

double rh_quantile(double *x, int32_t n, double q)
{
    if (n <= 0) return NAN;
    qsort(x, (size_t)n, sizeof *x, compare);
    double at = q * (n - 1);
    int32_t i = (int32_t)at;
    return i + 1 < n ? x[i] + (at - i) * (x[i + 1] - x[i]) : x[n - 1];
}

double rh_p_value(double observed, const double *null, int32_t n)
{
    int32_t above = 0;
    if (isnan(observed)) return NAN;
    /* Sums in another order must not decide a tie. */
    for (int32_t i = 0; i < n; i++) above += null[i] >= observed - 1e-9;
    return (1.0 + above) / (n + 1.0);
}

void rh_comoments_add(rh_comoments *m, double x, double y)
{
    double dx = x - m->mean_x, dy = y - m->mean_y;
    m->n += 1;
    m->mean_x += dx / m->n;
    m->mean_y += dy / m->n;
    m->xx += dx * (x - m->mean_x);
    m->yy += dy * (y - m->mean_y);
    m->xy += dx * (y - m->mean_y);
}

void rh_comoments_merge(rh_comoments *m, const rh_comoments *other, bool within)
{
    double n = m->n + other->n, dx = other->mean_x - m->mean_x, dy = other->mean_y - m->mean_y;
    if (other->n == 0) return;
    double between = within ? 0 : m->n * other->n / n;
    m->xx += other->xx + between * dx * dx;
    m->yy += other->yy + between * dy * dy;
    m->xy += other->xy + between * dx * dy;
    m->mean_x += dx * other->n / n;
    m->mean_y += dy * other->n / n;
    m->n = n;
}

double rh_correlation(const rh_comoments *m)
{
    return m->xx > 0 && m->yy > 0 ? m->xy / sqrt(m->xx) / sqrt(m->yy) : NAN;
}
