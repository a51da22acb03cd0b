/* The screen's panels, AVX2; twin in kernel_generic.c. The pairs of four vpmaddubsw, at most 127 * 258 together,
 * fit 16 bits (cpu.h): one vpmaddwd widens for all of them. */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/cpu.h"

INLINE __m256i four(const uint8_t *u)
{
    int32_t w;
    __builtin_memcpy(&w, u, sizeof w);
    return _mm256_set1_epi32(w);
}

/* Rows 8 half .. 8 half + 7 that may exceed their level. */
INLINE unsigned above(__m256i sum, const rh_screen_panel *p, const float *base, const float *gain, rh_screen_x x,
                      float floor, int half)
{
    const int r = 8 * half;
    __m256 whole = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, _mm256_loadu_si256((const void *)(p->offset + r))));
    __m256 most = _mm256_mul_ps(_mm256_mul_ps(whole, _mm256_loadu_ps(p->scale + r)), _mm256_set1_ps(x.scale));
    most = _mm256_fmadd_ps(_mm256_loadu_ps(p->norm + r), _mm256_set1_ps(x.error), most);
    most = _mm256_fmadd_ps(_mm256_loadu_ps(p->error + r), _mm256_set1_ps(x.norm), most);
    __m256 level = _mm256_fmadd_ps(_mm256_loadu_ps(gain + r), _mm256_set1_ps(floor), _mm256_loadu_ps(base + r));
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(most, level, _CMP_NLT_UQ)) << r;
}

/* Products of columns k .. k + 15 of rows 0 .. 7 and 8 .. 15 with u, by twos. */
INLINE void sixteen(__m256i sum[2], const int8_t *codes, const uint8_t *u)
{
    __m256i pairs[2];
    UNROLLED
    for (int i = 0; i < 4; i++) {
        const __m256i x = four(u + 4 * i);
        UNROLLED
        for (int h = 0; h < 2; h++) {
            const __m256i p = _mm256_maddubs_epi16(x, _mm256_loadu_si256((const void *)(codes + 64 * i + 32 * h)));
            pairs[h] = i ? _mm256_add_epi16(pairs[h], p) : p;
        }
    }
    UNROLLED
    for (int h = 0; h < 2; h++) sum[h] = _mm256_add_epi32(sum[h], _mm256_madd_epi16(pairs[h], _mm256_set1_epi16(1)));
}

INLINE void tile(uint16_t *out, const int8_t *codes, const rh_screen_panel *p, const float *base, const float *gain,
                 const uint8_t *u, const rh_screen_x *x, const float *floor, int n, int32_t wide)
{
    __m256i sum[4][2];
    UNROLLED
    for (int t = 0; t < n; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    for (int32_t k = 0; k < wide; k += 16, codes += 256) {
        UNROLLED
        for (int t = 0; t < n; t++) sixteen(sum[t], codes, u + (size_t)t * (size_t)wide + k);
    }
    UNROLLED
    for (int t = 0; t < n; t++)
        out[t] = (uint16_t)(above(sum[t][0], p, base, gain, x[t], floor[t], 0) |
                            above(sum[t][1], p, base, gain, x[t], floor[t], 1));
}

void rh_screen_avx2(RH_SCREEN_PARAMS)
{
    int t = 0;
    for (; t + 4 <= n; t += 4) tile(out + t, codes, p, base, gain, u + (size_t)t * (size_t)wide, x + t, floor + t, 4, wide);
    for (; t < n; t++) tile(out + t, codes, p, base, gain, u + (size_t)t * (size_t)wide, x + t, floor + t, 1, wide);
}
