/* resample.c - samples, halves and bootstraps as functions of (seed, stream, item). */
#include <stdlib.h>

#include "algebra/statistics.h"
#include "base/mem.h"
#include "base/rng.h"

static int compare_int64(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* Item i, the first i are seen: it takes place j of the reservoir, j uniform in [0, i], if there
 * is one (Vitter 1985). */
int64_t rh_reservoir(int64_t *picked, int64_t keep, int64_t n, uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t j = i < keep ? i : (int64_t)(rh_random_unit(seed, stream, (uint64_t)i) * (double)(i + 1));
        if (j < keep) picked[j] = i;
    }
    int64_t count = n < keep ? n : keep;
    if (count > 0) qsort(picked, (size_t)count, sizeof *picked, compare_int64);
    return count;
}

typedef struct draw { uint64_t value; int32_t item; } draw;

static int compare_draws(const void *x, const void *y)
{
    const draw *a = x, *b = y;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    return (a->item > b->item) - (a->item < b->item);
}

rh_status rh_choose_bits(uint8_t *bits, const int32_t *items, int32_t n, int32_t m, uint64_t seed,
                         uint64_t stream, rh_error *err)
{
    draw *draws = rh_calloc((size_t)n, sizeof *draws);
    if (!draws) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) draws[i] = (draw){rh_random_u64(seed, stream, (uint64_t)items[i]), items[i]};
    if (n > 0) qsort(draws, (size_t)n, sizeof *draws, compare_draws);
    for (int32_t i = 0; i < m && i < n; i++) bits[draws[i].item >> 3] |= (uint8_t)(1u << (draws[i].item & 7));
    free(draws);
    return RH_OK;
}

/* P(count > j) from the largest j down: 1 - e^-1 Σ_{i<=j} 1/i!. */
int32_t rh_bootstrap_count(uint64_t seed, uint64_t stream, uint64_t item)
{
    static const double at_most[] = {0.36787944117144233, 0.73575888234288467, 0.91969860292860584, 0.98101184312384626,
                                     0.99634015317265634, 0.99940581518241833, 0.99991675885070193, 0.99998975080331248,
                                     0.9999988747974149};
    double u = rh_random_unit(seed, stream, item);
    int32_t count = 0;
    while (count < (int32_t)(sizeof at_most / sizeof *at_most) && u >= at_most[count]) count++;
    return count;
}
