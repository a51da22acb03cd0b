/* avx2.h - what the AVX2 loops over floats share. */
#ifndef RH_KERNELS_CPU_AVX2_H
#define RH_KERNELS_CPU_AVX2_H

#include <immintrin.h>

#include "kernels/dtype.h"

#define INLINE static inline __attribute__((always_inline))

/* Before a loop over running sums: unrolled late, the sums would stay in memory. */
#ifdef __clang__
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 8")
#endif

INLINE float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE __m256 floats8(const uint8_t *p, rh_dtype type)
{
    if (type == RH_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i h = _mm_loadu_si128((const void *)p);
    return type == RH_F16 ? _mm256_cvtph_ps(h) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* The last n < 8 of a row, and zeros. */
INLINE __m256 floats_left(const uint8_t *p, rh_dtype type, int n)
{
    uint8_t copy[32] = { 0 };
    __builtin_memcpy(copy, p, (size_t)n * (type == RH_F32 ? 4 : 2));
    return floats8(copy, type);
}

#endif
