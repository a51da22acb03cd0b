#include <immintrin.h>

#include "kernels/cpu/limits.h"

enum { CHAINS = 12 }; /* hides the latency of two units; more would not be unrolled */

static double f32(int64_t rounds, float *sink)
{
    __m512 acc[CHAINS], x = _mm512_set1_ps(*sink), y = _mm512_set1_ps(0.5f);
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_fmadd_ps(acc[i], y, x);
    for (int i = 0; i < CHAINS; i++) *sink += _mm512_reduce_add_ps(acc[i]);
    return CHAINS * 16 * 2.0;
}

static double bf16(int64_t rounds, float *sink)
{
    __m512 acc[CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi32((int)*sink), y = (__m512bh)_mm512_set1_epi32(0x3c003c00);
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_dpbf16_ps(acc[i], x, y);
    for (int i = 0; i < CHAINS; i++) *sink += _mm512_reduce_add_ps(acc[i]);
    return CHAINS * 32 * 2.0;
}

static double int8(int64_t rounds, float *sink)
{
    __m512i acc[CHAINS], x = _mm512_set1_epi8((char)*sink), y = _mm512_set1_epi8(1);
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_epi32(i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_dpbusd_epi32(acc[i], x, y);
    for (int i = 0; i < CHAINS; i++) *sink += (float)_mm512_reduce_add_epi32(acc[i]);
    return CHAINS * 64 * 2.0;
}

static uint64_t read_sum(const uint64_t *p, size_t n)
{
    __m512i s[4] = { { 0 } };
    for (size_t i = 0; i < n; i += 32)
        for (size_t j = 0; j < 4; j++)
            s[j] = _mm512_xor_si512(s[j], _mm512_loadu_si512(p + i + 8 * j));
    uint64_t out[8], sum = 0; /* added unsigned: the total wraps */
    _mm512_storeu_si512(out, _mm512_xor_si512(_mm512_xor_si512(s[0], s[1]), _mm512_xor_si512(s[2], s[3])));
    for (int i = 0; i < 8; i++) sum += out[i];
    return sum;
}

const rh_cpu_peaks rh_peaks_avx512 = { f32, bf16, int8, read_sum };
