/* rng.h - random numbers as a function of (seed, stream, counter): no hidden state, so any
 * row can be drawn on any thread or machine. SplitMix64's finaliser over a Weyl sequence. */
#ifndef RH_BASE_RNG_H
#define RH_BASE_RNG_H

#include <stdint.h>

uint64_t rh_random_u64(uint64_t seed, uint64_t stream, uint64_t counter);
double rh_random_unit(uint64_t seed, uint64_t stream, uint64_t counter);   /* [0, 1) */
double rh_random_normal(uint64_t seed, uint64_t stream, uint64_t counter); /* Box-Muller */

#endif
