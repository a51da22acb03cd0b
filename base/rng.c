#include "base/rng.h"

#include <math.h>

#define WEYL UINT64_C(0x9E3779B97F4A7C15) /* 2^64 / golden ratio, odd */

/* SplitMix64's finaliser (Steele, Lea and Flood 2014; constants by Stafford). */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Each (seed, stream) starts the Weyl sequence at a point of its own. */
uint64_t rh_random_u64(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint64_t start = mix(mix(seed + WEYL) + (stream + 1) * UINT64_C(0xD1B54A32D192ED03));
    return mix(start + (counter + 1) * WEYL);
}

double rh_random_unit(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (double)(rh_random_u64(seed, stream, counter) >> 11) * 0x1p-53;
}

/* sqrt(-2 ln u1) cos(2 pi u2), u1 in (0, 1]; takes the draws 2 counter and 2 counter + 1. */
double rh_random_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    double u1 = 1.0 - rh_random_unit(seed, stream, 2 * counter);
    double u2 = rh_random_unit(seed, stream, 2 * counter + 1);
    return sqrt(-2.0 * log(u1)) * cos(6.283185307179586476925 * u2);
}
