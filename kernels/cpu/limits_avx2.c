#include <immintrin.h>

#include "kernels/cpu/limits.h"

enum { CHAINS = 12 }; /* of 16 registers */

static float sum8(__m256 v)
{
    float s[8], sum = 0;
    _mm256_storeu_ps(s, v);
    for (int i = 0; i < 8; i++) sum += s[i];
    return sum;
}

static double f32(int64_t rounds, float *sink)
{
    __m256 acc[CHAINS], x = _mm256_set1_ps(*sink), y = _mm256_set1_ps(0.5f);
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_fmadd_ps(acc[i], y, x);
    for (int i = 0; i < CHAINS; i++) *sink += sum8(acc[i]);
    return CHAINS * 8 * 2.0;
}

static double none(int64_t rounds, float *sink)
{
    (void)rounds;
    (void)sink;
    return 0;
}

static uint64_t read_sum(const uint64_t *p, size_t n)
{
    __m256i s[4] = { { 0 } };
    for (size_t i = 0; i < n; i += 16)
        for (size_t j = 0; j < 4; j++)
            s[j] = _mm256_add_epi64(s[j], _mm256_loadu_si256((const void *)(p + i + 4 * j)));
    uint64_t out[4];
    _mm256_storeu_si256((void *)out, _mm256_add_epi64(_mm256_add_epi64(s[0], s[1]), _mm256_add_epi64(s[2], s[3])));
    return out[0] + out[1] + out[2] + out[3];
}

const rh_cpu_peaks rh_peaks_avx2 = { f32, none, none, read_sum };
